//! A reader that was written from FORMAT.md alone gives back what `asof` gives back: nothing is in the journal that the
//! page does not say.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use asof_journal::storage::Layout;
use asof_tests::edit::Editor;
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::second_reader::SecondReader;
use asof_tests::site::{Site, Synced};
use asof_tests::{golden, oracle, tree};
use data_encoding::BASE64;
use serde_json::Value;

/// Edits a round.
const EDITS: usize = 60;
/// Edits of one line in a row: more than a delta may be deep.
const IN_A_ROW: usize = 24;

#[test]
fn a_reader_made_from_the_format_alone_restores_the_same() {
    let Some(reader) = found() else { return };
    let site = Site::new();
    let mut random = Random::for_test(20_261_128);
    let agent = site.start();
    tree::build(&site.root, &mut random);
    let mut instants = vec![take(&site, "the tree")];
    large_files(&site.root, &mut random);
    instants.push(take(&site, "large files, and holes"));
    one_line_at_a_time(&site);
    instants.push(take(&site, "edited line by line"));
    fs::rename(site.root.join("prose"), site.root.join("prose, renamed")).must("a rename");
    fs::remove_file(site.root.join("holes")).must("a deletion");
    instants.push(take(&site, "renamed and deleted"));
    let mut editor = Editor::new(&site.root, random);
    editor.round(EDITS);
    instants.push(take(&site, "edited"));
    editor.round(EDITS);
    agent.kill9();

    torn(&site, &mut Random::new(1));
    agree(&site, &reader, &instants, "killed, with a torn tail");
    let agent = site.start();
    instants.push(take(&site, "another agent"));
    editor.round(EDITS);
    instants.push(take(&site, "edited again"));
    agree(&site, &reader, &instants[3..], "a torn segment, and another");
    agent.kill9();
    torn(&site, &mut Random::new(2));
    site.start().terminate();
    agree(&site, &reader, &instants, "two torn segments, then a sealed one");
    stray(&site);
    agree(&site, &reader, &instants, "segments of another journal among them");
}

#[test]
fn a_reader_made_from_the_format_alone_answers_as_golden_journals_do() {
    let Some(reader) = found() else { return };
    reader.check_checksums();
    for dir in fs::read_dir(golden::directory()).must("golden journals").flatten() {
        let answers = fs::read_to_string(dir.path().join("answers.txt")).must("answers");
        let trees: Vec<&str> = answers.lines().filter_map(|line| line.strip_prefix("  tree ")).collect();
        // What a policy left of an instant is compared by `compacted_reader`: here it would depend on how markers are written.
        let whole = whole_instants(&answers);
        let listed = reader.list(&dir.path().join("journal"), 1..=trees.len() as u64);
        let mut differ = Vec::new();
        for (seq, expected) in (1..).zip(&trees) {
            let text = as_text(&listed, seq);
            if whole[seq as usize - 1] && blake3::hash(text.as_bytes()).to_hex()[..16] != **expected {
                differ.push(seq);
            }
        }
        let (_, newest) = answers.split_once("\ntree at seq:").must("the newest tree");
        let (_, newest) = newest.split_once('\n').must("its lines");
        let newest = newest.split("\n\n").next().must("its end");
        for (expected, said) in newest.lines().zip(as_text(&listed, trees.len() as u64).lines()) {
            assert_eq!(said, expected, "{}", dir.path().display());
        }
        assert_eq!(differ, Vec::<u64>::new(), "{}: trees as of these differ", dir.path().display());
    }
}

/// Of each instant in the answers, whether nothing of it went.
fn whole_instants(answers: &str) -> Vec<bool> {
    let mut whole = Vec::new();
    for line in answers.lines() {
        if line.starts_with("  tree ") {
            whole.push(true);
        } else if line.starts_with("  something went")
            && let Some(last) = whole.last_mut()
        {
            *last = false;
        }
    }
    assert!(whole.iter().filter(|whole| **whole).count() > 100, "hardly anything is whole");
    whole
}

fn found() -> Option<SecondReader> {
    SecondReader::find().map_err(|why| eprintln!("skipped: {why}")).ok()
}

fn take(site: &Site, name: &str) -> (Synced, PathBuf) {
    (site.take(name), site.newest_copy())
}

/// Both readers give back every instant as it was, by sequence number and by time in turn.
#[track_caller]
fn agree(site: &Site, reader: &SecondReader, instants: &[(Synced, PathBuf)], when: &str) {
    let mut used = [0; 4];
    for (number, (synced, copy)) in instants.iter().enumerate() {
        let at = if number % 2 == 0 { &synced.at } else { &synced.instant };
        let which = format!("{when}: {at}");
        let (target, restored) = (site.fresh("extracted"), site.restore(&site.root, at));
        let said = reader.extract(&site.journal, &site.root, at, &target).must(&which);
        assert_eq!(said["seq"].as_u64(), Some(synced.seq), "{which}: {said}");
        oracle::assert_same(copy, &target, format!("{which}, by the second reader"));
        oracle::assert_same(&restored, &target, format!("{which}, both readers"));
        for (sum, field) in used.iter_mut().zip(["packs", "deltas", "deepest", "lists"]) {
            *sum += said[field].as_u64().must(field);
        }
        for done in [&target, &restored] {
            asof_tests::site::remove(done);
        }
    }
    println!("{when}: {} instants; packs, deltas, depths, lists: {used:?}", instants.len());
    assert!(used.iter().all(|sum| *sum > 0), "something of the format was not there to be read: {used:?}");
}

/// Content that takes several blocks, lists of extents and holes.
fn large_files(root: &Path, random: &mut Random) {
    fs::write(root.join("noise"), random.bytes(3 << 20)).must("noise");
    fs::write(root.join("prose"), random.text(200_000)).must("prose");
    let mut holes = File::create(root.join("holes")).must("holes");
    for part in 1..60 {
        holes.seek(SeekFrom::Start(part << 20)).must("a hole");
        holes.write_all(&random.bytes(5000)).must("data between holes");
    }
    holes.set_len(100 << 20).must("a hole at the end");
}

/// Each edit is another version, most of them a delta; every third is saved as editors do.
fn one_line_at_a_time(site: &Site) {
    let path = site.root.join("prose");
    for edit in 0..IN_A_ROW {
        let mut text = fs::read(&path).must(path.display());
        let at = (edit * 7919) % text.len();
        text.splice(at..at, format!("\nedit {edit}\n").into_bytes());
        if edit % 3 == 0 {
            let beside = site.root.join(".prose.tmp");
            fs::write(&beside, &text).must(beside.display());
            fs::rename(&beside, &path).must(path.display());
        } else {
            fs::write(&path, &text).must(path.display());
        }
        site.sync();
    }
}

/// What a power cut leaves behind the end: half of a frame, and bytes of something else.
#[track_caller]
fn torn(site: &Site, random: &mut Random) {
    let dir = Layout::new(&site.journal).segments();
    let open: Vec<PathBuf> = fs::read_dir(&dir)
        .must(dir.display())
        .map(|entry| entry.must(dir.display()).path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "open"))
        .collect();
    let newest = open.iter().max().must("a segment that was open");
    let bytes = fs::read(newest).must(newest.display());
    let is_frame = |at: &usize| bytes[*at..].starts_with(b"aSoF");
    let frame = (0..bytes.len()).step_by(8).rfind(is_frame).must("a frame");
    let mut file = OpenOptions::new().append(true).open(newest).must(newest.display());
    file.write_all(&bytes[frame..frame + 30]).must("half of a frame");
    file.write_all(&random.bytes(1000)).must("noise");
}

/// Puts segments of another journal among those there are: under numbers of their own, which nothing here has, and under others.
#[track_caller]
fn stray(site: &Site) {
    let here = Layout::new(&site.journal).segments();
    let numbers = |dir: &Path| fs::read_dir(dir).must(dir.display()).count();
    let (other, most) = (Site::new(), numbers(&here));
    let there = Layout::new(&other.journal).segments();
    while !there.is_dir() || numbers(&there) < most + 2 {
        fs::write(other.root.join("file"), format!("{most}")).must("a file");
        other.start().terminate();
    }
    for entry in fs::read_dir(&there).must(there.display()) {
        let from = entry.must(there.display());
        let to = here.join(from.file_name());
        if !to.exists() {
            fs::copy(from.path(), to).must("cp");
        }
        fs::copy(from.path(), here.join("0000000000009999.seg")).must("cp");
    }
}

/// A tree as the golden answers write it.
fn as_text(listed: &[Value], seq: u64) -> String {
    let mut out = String::new();
    for entry in listed.iter().filter(|entry| entry["at"].as_u64() == Some(seq)) {
        let path = bytes_of(entry, "path");
        if path == b"/" {
            continue;
        }
        let gone = if entry["gone"] == true { " gone" } else { "" };
        // Writing to a String does not fail.
        let _ = write!(out, "{} node:{}{gone}", path.escape_ascii(), entry["node"]);
        if entry["since"].is_u64() {
            let text = |field: &str| entry[field].as_str().must(field).to_owned();
            let mode = text("mode");
            let mode = u32::from_str_radix(&mode, 8).must(mode);
            let _ = write!(
                out,
                " since seq:{} {} {mode:o} {}:{} size {} mtime {} ctime {} rdev {} {}{}",
                entry["since"],
                text("kind"),
                entry["uid"],
                entry["gid"],
                entry["size"],
                entry["mtime_ns"],
                entry["ctime_ns"],
                entry["rdev"],
                text("quality"),
                if entry["racy"] == true { " racy" } else { "" }
            );
            for xattr in entry["xattrs"].as_array().into_iter().flatten() {
                let value =
                    BASE64.decode(xattr["value_b64"].as_str().must("a value").as_bytes()).must("base64");
                let _ = write!(out, " {}={}", bytes_of(xattr, "name").escape_ascii(), value.escape_ascii());
            }
            let digest = || text("blake3")[..16].to_owned();
            let _ = match entry["content"].as_str() {
                Some("none") => write!(out, " no content"),
                Some("unread") => write!(out, " unread {}", entry["errno"]),
                Some("thinned") => write!(out, " thinned"),
                Some("inline") => write!(out, " inline {}", digest()),
                _ => write!(out, " bytes {} holes {}", digest(), entry["holes"]),
            };
        }
        out.push('\n');
    }
    out
}

/// A field of bytes: as text, or beside it in base64.
fn bytes_of(entry: &Value, field: &str) -> Vec<u8> {
    match entry[format!("{field}_b64")].as_str() {
        Some(encoded) => BASE64.decode(encoded.as_bytes()).must(encoded),
        None => entry[field].as_str().must(field).as_bytes().to_vec(),
    }
}

//! The reader that was written from FORMAT.md alone reads a compacted journal as the library does, and gives back nothing
//! wrong at any instant, kept or not.

use std::collections::BTreeMap;

use asof_journal::append::Limits;
use asof_journal::compact::Eagerness;
use asof_journal::reader::Reader;
use asof_journal::retention::{Ladder, Policy};
use asof_journal::types::{Content, Extent};
use asof_journal::view::View;
use asof_tests::desk::{Desk, Shown, clock};
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::second_reader::SecondReader;

/// Segments of a few commits.
const LIMITS: Limits = Limits { segment_bytes_max: 16 << 10, segment_age_ns_max: 6 * 3_600 * 1_000_000_000 };
/// Commits.
const STEPS: u64 = 200;
/// Every so many commits are compared.
const EACH: usize = 7;

const THINNED: &str = "thinned";
/// A name that is kept, of a node whose first versions went.
const NO_VERSION: &str = "no version";

#[test]
fn a_reader_made_from_the_format_alone_reads_what_was_compacted() {
    let reader = match SecondReader::find() {
        Ok(reader) => reader,
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("journal");
    let mut desk = Desk::open(&dir, 0, LIMITS);
    let mut random = Random::for_test(8);
    let mut now = live(&mut desk, &mut random);
    for _ in 0..2 {
        let ladder = Ladder::parse(&["all for 1 days", "1 hour for 5 days", "1 day"]).must("a ladder");
        let policy = Policy::of(ladder, 2 * 24 * 60);
        let wall = clock(now).wall;
        let done = desk.journal.compactor.compact(&policy, &[], Eagerness::Anything, usize::MAX, wall);
        let done = done.must("compaction");
        assert!(done.runs > 0 && done.versions > 0, "{done:?}");
        now += live(&mut desk, &mut random);
    }
    let shown = desk.close();

    let library = Reader::open(&dir).must("the journal");
    assert_eq!(library.report().damage, []);
    let seqs = shown.iter().step_by(EACH).map(|shown| shown.seq.0);
    let listed = reader.list(&dir, seqs);
    let (mut known, mut unknown) = (0, 0);
    for Shown { seq, files } in shown.iter().step_by(EACH) {
        let mut said = BTreeMap::new();
        for entry in
            listed.iter().filter(|entry| entry["at"].as_u64() == Some(seq.0) && entry["gone"] != true)
        {
            if entry["kind"] == "file" {
                let unknown = if entry["content"] == "thinned" { THINNED } else { NO_VERSION };
                let digest = entry["blake3"].as_str().unwrap_or(unknown).to_owned();
                said.insert(entry["path"].as_str().must("a path").to_owned(), digest);
            }
        }
        let view = library.view(*seq);
        let mut expected = BTreeMap::new();
        for path in said.keys().chain(files.keys()) {
            expected.extend(told(&view, path).map(|told| (path.clone(), told)));
        }
        assert_eq!(said, expected, "{seq}");
        for (path, digest) in said {
            if [THINNED, NO_VERSION].contains(&digest.as_str()) {
                unknown += 1;
                continue;
            }
            let content = files.get(&path).must(&path);
            assert_eq!(digest, blake3::hash(content).to_hex().as_str(), "{seq}: {path}");
            known += 1;
        }
    }
    println!("{} instants, one of {EACH}: {known} files right, {unknown} not known any more", shown.len());
    assert!(known > 0);
}

/// Edits, atomic saves, renames, links and deletions over some weeks; gives the seconds that passed.
fn live(desk: &mut Desk, random: &mut Random) -> i64 {
    let mut passed = 0;
    let count = desk.shown.len();
    let dir = format!("/d{count}");
    desk.mkdir(&dir);
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for step in 0..STEPS {
        let some = random.below(files.len().max(1) as u64) as usize;
        match (random.below(10), files.get_mut(some)) {
            (0 | 1, _) | (_, None) => {
                let (path, content) = (format!("{dir}/f{step}"), random.text(200 + step as usize * 20));
                desk.write(&path, &content);
                files.push((path, content));
            }
            (2, Some((path, _))) => {
                let to = format!("{dir}/r{step}");
                desk.rename(path, &to);
                *path = to;
            }
            (3, Some((path, _))) => {
                desk.remove(path);
                files.swap_remove(some);
            }
            (form, Some((path, content))) => {
                let at = random.below(content.len() as u64 + 1) as usize;
                content.splice(at..at, format!("edit {step}\n").into_bytes());
                match form {
                    4..7 => desk.save(path, content),
                    _ => desk.write(path, content),
                }
            }
        }
        let pause = random.below(2 * 3600) as i64;
        desk.pass(pause);
        desk.commit();
        passed += pause + 1;
    }
    passed
}

/// The digest of what a path held as the library has it, or why it has none; `None` where nothing is there.
fn told(view: &View<'_>, path: &str) -> Option<String> {
    let entry = view.resolve(path.as_bytes()).must(path)?;
    let Some(at) = view.version(entry.node).must(path) else { return Some(NO_VERSION.into()) };
    let mut hasher = blake3::Hasher::new();
    match &at.version.content {
        Content::Thinned => return Some(THINNED.into()),
        Content::Inline(bytes) => {
            hasher.update(bytes);
        }
        _ => {
            for extent in view.extents(&at.version).must(path) {
                let Extent::Block { id, .. } = extent else { panic!("{extent:?}") };
                hasher.update(&view.block(id).must(path));
            }
        }
    }
    Some(hasher.finalize().to_hex().to_string())
}

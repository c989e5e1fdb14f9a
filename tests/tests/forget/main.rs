//! `asof forget`: nothing of what was forgotten is found in any byte of the journal, stored or decompressed, and everything else is
//! given back as before.

mod faults;
mod programs;

use std::collections::BTreeSet;
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::forget::{FoundPath, Order, survey};
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{BlockId, Content, Kind, NodeId, Seq};
use asof_tests::desk::{Desk, Shown};
use asof_tests::leavings::{blocks_of, found_in, found_in_blocks};
use asof_tests::life::assert_sound;
use asof_tests::must::Must;
use asof_tests::specimen::{content_of, read_dir, text};

/// Segments of a few commits.
const LIMITS: Limits = Limits { segment_bytes_max: 24 << 10, segment_age_ns_max: 6 * 3_600 * 1_000_000_000 };
/// What no content and no name has by chance.
const SECRET: &[u8] = b"Kq7rZ0vTnW3xYb9LmEo5sHdP";
const NAME: &str = "wJ4uGc8RfQ1zXtA6";

/// A text that has the secret in it, again and again.
fn secret_text(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = text(len, seed);
    for at in (0..bytes.len().saturating_sub(SECRET.len())).step_by(2_000) {
        bytes[at..at + SECRET.len()].copy_from_slice(SECRET);
    }
    bytes
}

fn edited(mut bytes: Vec<u8>, n: usize) -> Vec<u8> {
    let at = bytes.len() / 2;
    bytes.splice(at..at, format!("line {n}\n").into_bytes());
    bytes
}

/// What was lived through, and what of it is secret.
struct Lived {
    desk: Desk,
    /// Blocks of the secret's versions.
    blocks: BTreeSet<BlockId>,
}

impl Lived {
    /// Takes down the blocks of what stands at a path now.
    fn note(&mut self, path: &str) {
        let view = self.desk.journal.head.view();
        let entry = view.resolve(path.as_bytes()).must(path).must(path);
        let version = view.version(entry.node).must(path).must(path).version;
        self.blocks.extend(blocks_of(&version.content));
    }

    /// Saves a secret in every way in which content is stored.
    fn live(dir: &Path) -> Lived {
        let mut lived = Lived { desk: Desk::open(dir, 0, LIMITS), blocks: BTreeSet::new() };
        let desk = &mut lived.desk;
        desk.mkdir("/d");
        desk.mkdir("/d/e");
        desk.commit();
        let path = |end: &str| format!("/d/{NAME}{end}");
        // Others, before, between and behind, that are cut and packed with it.
        for n in 0..6 {
            desk.write(&format!("/d/e/plain{n}"), &text(700 + n * 900, n as u64));
        }
        desk.commit();
        let small = [SECRET, b" in the version itself"].concat();
        desk.write(&path("-inline"), &small);
        desk.write("/d/e/beside", &text(2_000, 90));
        desk.write(&path("-packed"), &secret_text(5_000, 91));
        desk.commit();
        let mut large = secret_text(600_000, 92);
        desk.write(&path("-large"), &large);
        desk.commit();
        // Neighbours that are deltas of it, under names of their own: they stay.
        let mut shared = text(150_000, 93);
        shared[70_000..70_000 + SECRET.len()].copy_from_slice(SECRET);
        desk.write(&path("-base"), &shared);
        desk.commit();
        lived.note(&path("-inline"));
        for end in ["-packed", "-large", "-base"] {
            lived.note(&path(end));
        }
        let desk = &mut lived.desk;
        for n in 0..5 {
            desk.write(&format!("/d/e/plain{n}"), &text(800 + n * 900, 40 + n as u64));
            large = edited(large, n);
            desk.write(&path("-large"), &large);
            desk.write(&path("-packed"), &edited(secret_text(5_000, 91), n));
            desk.commit();
        }
        lived.note(&path("-large"));
        lived.note(&path("-packed"));
        let desk = &mut lived.desk;
        // The same node without the secret, under another name: a delta of what goes.
        shared[70_000..70_000 + SECRET.len()].fill(b'x');
        desk.write(&path("-base"), &shared);
        desk.commit();
        desk.rename(&path("-base"), "/d/e/cleaned");
        desk.commit();
        for n in 0..20 {
            shared = edited(shared, n);
            desk.write("/d/e/cleaned", &shared);
            desk.commit();
        }
        // Renamed, deleted, saved as editors do, below a directory that goes.
        desk.rename(&path("-inline"), &path("-renamed"));
        desk.commit();
        desk.save(&path("-packed"), &secret_text(6_000, 94));
        desk.commit();
        lived.note(&path("-packed"));
        let desk = &mut lived.desk;
        desk.mkdir(&path(".d"));
        desk.mkdir(&path(".d/inner"));
        desk.write(&path(".d/inner/deep"), &secret_text(3_000, 95));
        desk.commit();
        lived.note(&path(".d/inner/deep"));
        let desk = &mut lived.desk;
        desk.remove_dir(&path(".d"));
        desk.remove(&path("-large"));
        desk.commit();
        for n in 0..4 {
            desk.write(&format!("/d/e/plain{n}"), &text(900 + n * 900, 60 + n as u64));
            desk.commit();
        }
        lived
    }
}

/// The paths of the secret, one by one.
fn secret_paths() -> Vec<String> {
    ["-inline", "-packed", "-large", "-base", "-renamed", ".d"]
        .iter()
        .map(|end| format!("/d/{NAME}{end}"))
        .collect()
}

fn is_secret(path: &str) -> bool {
    path.contains(NAME)
}

/// Everything but the secret is as it was, at every instant, and nothing says that something went there.
fn judge(reader: &Reader, shown: &[Shown], gone: &dyn Fn(&Shown, &str) -> bool, what: &str) {
    for state in shown {
        let at = |path: &str| format!("{what}: {path} at {}", state.seq);
        let around = reader.thinned_around(state.seq).must(what);
        assert!(around.is_none(), "{what}: {} is not whole", state.seq);
        let view = reader.view(state.seq);
        let mut expected = BTreeSet::new();
        for (path, content) in state.files.iter().filter(|(path, _)| !gone(state, path)) {
            expected.insert(path.clone());
            let bytes = content_of(reader, path, state.seq).must(at(path)).must(at(path));
            assert!(bytes == *content, "{}: {} bytes instead of {}", at(path), bytes.len(), content.len());
        }
        let mut found = BTreeSet::new();
        let mut dirs = vec![(Vec::new(), NodeId::ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            for entry in view.list(dir).must(what) {
                let path = [path.as_slice(), b"/", &entry.name].concat();
                match entry.kind {
                    Kind::Dir => dirs.push((path, entry.node)),
                    _ => drop(found.insert(String::from_utf8_lossy(&path).into_owned())),
                }
            }
        }
        assert_eq!(found, expected, "{what}: at {}", state.seq);
    }
}

/// Neither content nor name is found, whichever way one looks.
fn assert_gone(dir: &Path, blocks: &BTreeSet<BlockId>, what: &str) {
    let found = found_in(dir, &[SECRET, NAME.as_bytes()]);
    assert_eq!(found, [] as [String; 0], "{what}");
    let reader = Reader::open(dir).must(what);
    let ids: Vec<BlockId> = blocks.iter().copied().collect();
    assert_eq!(found_in_blocks(&reader, &ids, &[SECRET]), 0, "{what}");
}

fn as_refs(paths: &[String]) -> Vec<&str> {
    paths.iter().map(String::as_str).collect()
}

#[test]
fn nothing_of_a_secret_is_found_and_everything_else_is_as_before() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let Lived { mut desk, blocks } = Lived::live(&dir);
    let (content, name) = (found_in(&dir, &[SECRET]), found_in(&dir, &[NAME.as_bytes()]));
    assert!(content.len() > 5 && name.len() > 5, "{content:?} {name:?}");
    let ids: Vec<BlockId> = blocks.iter().copied().collect();
    let reader = Reader::open(&dir).must("the journal");
    assert!(found_in_blocks(&reader, &ids, &[SECRET]) > 5, "{} blocks", ids.len());
    judge(&reader, &desk.shown, &|_, _| false, "before");
    drop(reader);

    let shown = desk.shown.clone();
    let done = desk.forget(&as_refs(&secret_paths()), None).must("forgetting");
    println!("{done:?}");
    assert!(done.left == 0 && done.waiting == 0 && done.damage.is_empty(), "{done:?}");
    assert!(done.outcome.versions > 10 && done.outcome.bindings > 8 && done.outcome.blocks > 5, "{done:?}");
    assert_gone(&dir, &blocks, "while it is open");
    judge(&Reader::open(&dir).must("the journal"), &shown, &|_, path| is_secret(path), "while it is open");

    // It is written on, and everything holds for whoever opens it next, with or without its index.
    desk.write("/d/e/after", b"what came after");
    desk.commit();
    let shown = desk.close();
    assert_gone(&dir, &blocks, "closed");
    assert_sound(&dir, "closed");
    judge(&Reader::open(&dir).must("the journal"), &shown, &|_, path| is_secret(path), "closed");
    let told = Reader::open(&dir).must("the journal").forgotten().must("what was forgotten");
    assert_eq!((told.len(), told[0].what.by, told[0].what.paths), (1, 1000, 6), "{told:?}");
    assert_eq!(told[0].done.must("its end").1, done.outcome, "{told:?}");
    std::fs::remove_dir_all(Layout::new(&dir).index()).must("the index");
    judge(&Reader::open(&dir).must("the journal"), &shown, &|_, path| is_secret(path), "without an index");
    let desk = Desk::open(&dir, 100_000, LIMITS);
    assert!(desk.journal.report.damage.is_empty(), "{:?}", desk.journal.report);
    desk.close();
    assert_sound(&dir, "with an index made anew");
    assert_gone(&dir, &blocks, "with an index made anew");
    let told = Reader::open(&dir).must("the journal").forgotten().must("what was forgotten");
    assert_eq!(told.len(), 1, "{told:?}");
}

/// A directory means all below it.
#[test]
fn a_directory_goes_with_all_that_was_ever_below_it() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, LIMITS);
    desk.mkdir("/keep");
    desk.mkdir(&format!("/{NAME}"));
    desk.mkdir(&format!("/{NAME}/in"));
    desk.write("/keep/a", &text(3_000, 1));
    desk.write(&format!("/{NAME}/in/x"), &secret_text(3_000, 2));
    desk.commit();
    // It leaves, and what is below it shows under another name from then on.
    desk.rename_dir(&format!("/{NAME}/in"), "/keep/in");
    desk.commit();
    desk.write("/keep/in/x", b"clean now");
    desk.commit();
    desk.rename_dir(&format!("/{NAME}"), "/keep/renamed");
    desk.write("/keep/renamed/later", &text(2_000, 3));
    desk.commit();
    let shown = desk.shown.clone();
    let done = desk.forget(&[&format!("/{NAME}")], None).must("forgetting");
    assert!(done.left == 0, "{done:?}");
    desk.close();
    // What was saved while the file lay there and stood until it was moved is reached by the new name: it stays.
    judge(&Reader::open(&dir).must("it"), &shown, &|_, path| is_secret(path), "a directory");
    assert_eq!(found_in(&dir, &[NAME.as_bytes()]), [] as [String; 0]);
    assert!(!found_in(&dir, &[SECRET]).is_empty(), "the version that was moved out is still there");
    assert_sound(&dir, "a directory");
    let reader = Reader::open(&dir).must("it");
    let order = Order { paths: vec![b"/keep/in/x".to_vec()], ..Order::default() };
    let found = survey(&reader, &order).must("what would go");
    assert_eq!((found.versions, found.paths.len()), (2, 1), "{found:?}");
    drop(reader);
    let mut desk = Desk::open(&dir, 1_000, LIMITS);
    desk.forget(&["/keep/in/x"], None).must("forgetting");
    desk.close();
    assert_eq!(found_in(&dir, &[SECRET]), [] as [String; 0]);
    assert_sound(&dir, "all of it");
}

/// What goes is listed by the names that it had below what is forgotten, whatever it was called when it came.
#[test]
fn what_goes_for_a_renamed_directory_is_listed_by_the_name_that_was_asked_for() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, LIMITS);
    desk.mkdir("/o");
    desk.write("/o/key", b"s1");
    desk.commit();
    desk.rename_dir("/o", "/nn");
    desk.commit();
    desk.write("/nn/key", b"s2-secret");
    desk.commit();
    desk.write("/nn/key", b"s3");
    let last = desk.commit();
    let reader = Reader::open(&dir).must("it");
    let listed = |paths: &[&str], before: Option<Seq>| {
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let found = survey(&reader, &Order { paths, before, ..Order::default() }).must("what would go");
        let of = |one: &FoundPath| (String::from_utf8_lossy(&one.path).into_owned(), one.versions, one.bytes);
        (found.versions, found.paths.iter().map(of).collect::<Vec<_>>())
    };
    let line = |path: &str, versions: u64, bytes: u64| (path.to_owned(), versions, bytes);
    assert_eq!(listed(&["/nn"], None), (2, vec![line("/nn", 0, 0), line("/nn/key", 2, 11)]));
    // The names stay.
    assert_eq!(listed(&["/nn"], Some(last)), (1, vec![line("/nn/key", 1, 9)]));
    // The first version stood under both names.
    let both = vec![line("/nn", 0, 0), line("/nn/key", 3, 13), line("/o", 0, 0), line("/o/key", 1, 2)];
    assert_eq!(listed(&["/nn", "/o"], None), (3, both));
    // Its one record stands below both.
    let found = survey(&reader, &Order { paths: vec![b"/o/key".to_vec()], ..Order::default() });
    let found = found.must("what would go");
    assert_eq!((found.versions, found.bindings, found.also), (0, 0, vec![b"/nn/key".to_vec()]));
    drop(reader);
    desk.close();
}

#[test]
fn before_a_time_only_what_was_over_then_goes() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, LIMITS);
    desk.write("/other", &text(3_000, 1));
    desk.write("/giant", &secret_text(20_000, 2));
    desk.commit();
    desk.write("/giant", &secret_text(21_000, 3));
    desk.commit();
    desk.write("/giant", &text(22_000, 4));
    let from = desk.commit();
    desk.write("/giant", &text(23_000, 5));
    desk.commit();
    let shown = desk.shown.clone();
    let done = desk.forget(&["/giant"], Some(from)).must("forgetting");
    assert_eq!((done.left, done.outcome.versions, done.outcome.bindings), (0, 2, 0), "{done:?}");
    desk.close();
    assert_eq!(found_in(&dir, &[SECRET]), [] as [String; 0]);
    assert_sound(&dir, "before a time");
    let reader = Reader::open(&dir).must("it");
    // That something was there is no version.
    for (before, versions) in [(Some(from), 0), (None, 2)] {
        let order = Order { paths: vec![b"/giant".to_vec()], before, ..Order::default() };
        let found = survey(&reader, &order).must("what would go");
        assert_eq!(found.versions, versions, "{found:?}");
        assert_eq!(found.paths.iter().map(|path| path.versions).sum::<u64>(), versions, "{found:?}");
    }
    for state in &shown {
        assert!(content_of(&reader, "/other", state.seq).must("it").as_ref() == state.files.get("/other"));
        let content = if state.seq < from { None } else { state.files.get("/giant") };
        let found = reader.view(state.seq).resolve(b"/giant").must("it");
        let version = found.map(|entry| reader.view(state.seq).version(entry.node).must("it"));
        match content {
            None => {
                let content = version.flatten().must("a marker").version.content;
                assert_eq!(content, Content::Thinned, "{}", state.seq);
            }
            Some(content) => {
                assert!(content_of(&reader, "/giant", state.seq).must("it").as_ref() == Some(content));
            }
        }
    }
}

#[test]
fn what_has_the_same_content_keeps_it_and_is_named() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, LIMITS);
    let (large, small) = (secret_text(20_000, 1), [SECRET, b"small"].concat());
    desk.write("/large", &large);
    desk.write("/small", &small);
    desk.commit();
    desk.write("/copy of large", &large);
    desk.write("/copy of small", &small);
    desk.commit();
    desk.link("/large", "/link");
    desk.commit();
    let shown = desk.shown.clone();
    let order = Order { paths: vec![b"/large".to_vec(), b"/small".to_vec()], ..Order::default() };
    let found = survey(&Reader::open(&dir).must("it"), &order).must("what would go");
    assert_eq!(found.also, [b"/link".to_vec()], "{found:?}");
    assert_eq!(found.elsewhere, [b"/copy of small".to_vec()], "the other one stays with its link: {found:?}");
    assert_eq!(found.live.len(), 2, "{found:?}");
    let done = desk.forget(&["/large", "/small"], None).must("forgetting");
    assert_eq!(done.left, 0, "{done:?}");
    desk.close();
    judge(&Reader::open(&dir).must("it"), &shown, &|_, path| ["/large", "/small"].contains(&path), "copies");
    assert_sound(&dir, "copies");
    assert!(!found_in(&dir, &[SECRET]).is_empty());
    let order = Order { paths: vec![b"/link".to_vec()], ..Order::default() };
    let found = survey(&Reader::open(&dir).must("it"), &order).must("what would go");
    assert_eq!(found.elsewhere, [b"/copy of large".to_vec()], "{found:?}");
}

/// A killed writer leaves a segment without a footer, which its successor tells the end of.
#[test]
fn what_a_killed_writer_left_goes_too() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let Lived { desk, blocks } = Lived::live(&dir);
    let shown = desk.drop_dead();
    for round in 0..2u64 {
        let mut desk = Desk::open(&dir, 10_000 + round as i64 * 100, LIMITS);
        let node = format!("/{NAME}{round}");
        desk.write(&node, &secret_text(4_000, 200 + round));
        desk.write(&format!("/after{round}"), &text(4_000, 300 + round));
        desk.commit();
        drop(desk.drop_dead());
    }
    // Bytes of a commit that was torn.
    let newest = read_dir(&Layout::new(&dir).segments()).into_keys().next_back().must("a segment");
    let path = Layout::new(&dir).segments().join(newest);
    let torn = [std::fs::read(&path).must("it"), SECRET.repeat(40)].concat();
    std::fs::write(&path, torn).must("it");
    let mut desk = Desk::open(&dir, 20_000, LIMITS);
    desk.write("/again", b"again");
    desk.commit();
    let mut paths = secret_paths();
    paths.extend((0..2).map(|round| format!("/{NAME}{round}")));
    let done = desk.forget(&as_refs(&paths), None).must("forgetting");
    assert_eq!(done.left, 0, "{done:?}");
    desk.close();
    assert_gone(&dir, &blocks, "killed");
    assert_sound(&dir, "killed");
    judge(&Reader::open(&dir).must("it"), &shown, &|_, path| is_secret(path), "killed");
}

/// Whoever reads while it is forgotten reads on; the files are there as long, and that is said.
#[test]
fn a_reader_of_before_keeps_the_old_files_and_is_named() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let Lived { mut desk, blocks } = Lived::live(&dir);
    let shown = desk.shown.clone();
    let reader = Reader::open(&dir).must("a reader");
    let done = desk.forget(&as_refs(&secret_paths()), None).must("forgetting");
    assert!(done.left == 0 && done.waiting > 0, "{done:?}");
    let waits = desk.journal.compactor.waits_for().must("somebody");
    assert_eq!(waits.pid, std::process::id());
    judge(&reader, &shown, &|_, _| false, "a reader of before");
    // As long as it is on disk it is not said to be gone.
    let again = desk.finish_forgetting().must("going on");
    assert_eq!((again.waiting, again.segments), (done.waiting, 0), "{again:?}");
    drop(reader);
    assert_eq!(desk.finish_forgetting().must("going on").waiting, 0);
    assert_gone(&dir, &blocks, "read to the end");
    desk.close();
}

/// The newest `Seq` is never among what a plan takes: whoever forgets nothing changes nothing.
#[test]
fn what_was_never_there_is_forgotten_without_a_change() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, LIMITS);
    desk.write("/a", &text(3_000, 1));
    let seq: Seq = desk.commit();
    let done = desk.forget(&["/never"], None).must("forgetting");
    assert_eq!((done.segments, done.left, done.outcome.versions), (0, 0, 0), "{done:?}");
    assert!(desk.journal.compactor.forgetting().must("the file").is_none());
    let shown = desk.close();
    assert!(shown.iter().any(|state| state.seq == seq));
    judge(&Reader::open(&dir).must("it"), &shown, &|_, _| false, "nothing");
}

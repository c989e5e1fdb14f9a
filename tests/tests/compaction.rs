//! Compaction on real journals: what is kept answers as before, what went says so, and nothing wrong is ever given back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use asof_journal::compact::Eagerness;
use asof_journal::error::Error;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::storage::{Layout, Storage};
use asof_journal::verify::{Options, verify};
use asof_tests::desk::{Desk, Shown, clock};
use asof_tests::life::{DAY, LIMITS, Life, assert_sound, bytes_of, judge, judge_by, policy};
use asof_tests::must::Must;
use asof_tests::random::{Random, seed_given};
use asof_tests::specimen::{content_of, copy_journal, read_dir};
use asof_tests::torture::Fate;
use asof_tests::torture::case::{Index, copy_dir, put_on_medium};
use asof_tests::torture::medium::{Fault, Medium};

/// Histories that are lived through.
const SEEDS: u64 = 2;

#[test]
fn what_is_kept_is_exact_and_what_went_says_so() {
    let first = seed_given().unwrap_or(1);
    for seed in first..first + SEEDS {
        let tmp = tempfile::tempdir().must("a temporary directory");
        let dir = tmp.path().join("j");
        let what = |stage: &str| format!("seed {seed}, {stage}");
        let policy = policy(1);
        let mut life = Life::begin(&dir, seed);
        life.live(60, 350);
        let before = bytes_of(&dir);
        let done = life.compact(&policy, Eagerness::Anything);
        assert!(
            done.runs > 0 && done.versions > 100 && done.damage.is_empty(),
            "{}: {done:?}",
            what("first")
        );
        let after = bytes_of(&dir);
        assert!(after < before, "{}: {before} bytes became {after}", what("first"));
        let judged = judge(&dir, &life.desk.shown, &policy, &what("after the first"));
        assert!(judged.exact > 50 && judged.thinned > 50 && judged.markers > 50, "{seed}: {judged:?}");
        assert_sound(&dir, &what("after the first"));

        // It is written on, and compacted again when more has aged.
        life.live(30, 150);
        let again = life.compact(&policy, Eagerness::Anything);
        assert!(again.damage.is_empty(), "{}: {again:?}", what("second"));
        judge(&dir, &life.desk.shown, &policy, &what("after the second"));
        let shown = life.desk.close();
        assert_sound(&dir, &what("closed"));

        // The index follows from the segments.
        std::fs::remove_dir_all(Layout::new(&dir).index()).must("the index");
        let judged = judge(&dir, &shown, &policy, &what("without an index"));
        let mut desk = Desk::open(&dir, 95 * DAY, LIMITS);
        assert!(desk.journal.report.damage.is_empty(), "{:?}", desk.journal.report);
        desk.write("/after", b"what came after");
        desk.commit();
        desk.close();
        assert_sound(&dir, &what("written on"));
        println!("seed {seed}: {before} bytes became {after}; {done:?}; {again:?}; {judged:?}");
    }
}

/// A segment without a footer ends where the one behind it says: both go, and never that one alone.
#[test]
fn what_a_killed_writer_left_is_compacted_with_what_follows_it() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let policy = policy(1);
    let mut random = Random::new(5);
    let segments = Layout::new(&dir).segments();
    let mut desk = Desk::open(&dir, 0, LIMITS);
    for life in 0..4 {
        let file = format!("/f{life}");
        for _ in 0..150 {
            desk.write(&file, &random.bytes(600));
            desk.commit();
            desk.pass(1200);
        }
        let newest = read_dir(&segments).into_keys().next_back().must("a segment");
        let mut torn = std::fs::read(segments.join(&newest)).must("it");
        torn.extend(random.bytes(300));
        std::fs::write(segments.join(&newest), torn).must("it");
        desk = desk.killed(&dir, LIMITS);
    }
    desk.pass(60 * DAY);
    desk.mkdir("/last");
    desk.commit();
    let shown = desk.shown.clone();
    let before = read_dir(&segments);
    let (newest, _) = before.iter().next_back().must("a segment");
    let wall = clock(75 * DAY).wall;
    let compactor = &desk.journal.compactor;
    let done = compactor.compact(&policy, &[], Eagerness::Anything, usize::MAX, wall).must("compaction");
    assert!(done.damage.is_empty() && done.versions > 300, "{done:?}");
    let after = read_dir(&segments);
    let left: Vec<_> = before.keys().filter(|name| after.contains_key(*name) && *name != newest).collect();
    assert!(left.is_empty(), "{left:?} of {} stayed: {done:?}", before.len());
    let judged = judge(&dir, &shown, &policy, "killed");
    assert!(judged.exact >= 8 && judged.thinned > 500, "{judged:?}");
    assert_sound(&dir, "killed");
    desk.close();
    std::fs::remove_dir_all(Layout::new(&dir).index()).must("the index");
    judge(&dir, &shown, &policy, "killed, without an index");
    assert_sound(&dir, "killed, without an index");
}

/// Compacting what was compacted changes nothing.
#[test]
fn to_compact_again_changes_nothing() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = tmp.path().join("j");
    let mut life = Life::begin(&dir, 77);
    life.live(60, 300);
    life.compact(&policy(1), Eagerness::WorthIt);
    let again = life.compact(&policy(1), Eagerness::WorthIt);
    assert_eq!((again.versions, again.bindings), (0, 0), "{again:?}");
}

/// Whether everything is done instead of a sample.
fn is_exhaustive() -> bool {
    std::env::var("ASOF_COMPACTION").is_ok_and(|value| value == "all")
}

/// A journal that is to be compacted, and the media that copies of it are put on.
struct Old {
    tmp: tempfile::TempDir,
    dir: PathBuf,
    shown: Vec<Shown>,
    now: i64,
}

impl Old {
    fn new(seed: u64) -> Old {
        let tmp = tempfile::tempdir().must("a temporary directory");
        let dir = tmp.path().join("old");
        let mut life = Life::begin(&dir, seed);
        life.live(20, 60);
        // A segment without a footer, which ends where the one behind it says.
        life.desk = life.desk.killed(&dir, LIMITS);
        life.live(20, 60);
        let now = life.now;
        let shown = life.desk.close();
        Old { tmp, dir, shown, now }
    }

    fn open(&self, medium: &Medium, dir: &Path, what: &str) -> Journal {
        Journal::open_on(medium.storage(), dir, &clock(self.now + 60), LIMITS).must(what)
    }

    fn judge(&self, storage: Arc<dyn Storage>, dir: &Path, what: &str) {
        let reader = Reader::open_on(storage, dir).must(what);
        judge_by(&reader, &self.shown, &policy(1), what);
    }

    /// Ends the process at an operation of a compaction, or fails it, and judges everything that follows. Gives whether the
    /// operation came.
    fn case(&self, number: u64, fault: Fault, index: Index, fate: Option<Fate>) -> bool {
        let what = format!("{fault:?} at operation {number}, index {index:?}, {fate:?}");
        let (medium, dir) = put_on_medium(&self.dir, self.tmp.path(), number);
        let before = dir.with_extension("index");
        let _ = std::fs::remove_dir_all(&before);
        copy_dir(&Layout::new(&dir).index(), &before);
        let journal = self.open(&medium, &dir, &what);
        journal.head.connect(None);
        let operations = medium.operations();
        medium.fail_at(operations + number, fault);
        let wall = clock(self.now + 60).wall;
        let compact = |journal: &Journal| {
            journal.compactor.compact(&policy(1), &[], Eagerness::Anything, usize::MAX, wall)
        };
        let done = compact(&journal);
        let came = medium.operations() > operations + number;
        medium.heal();
        if fault == Fault::End {
            drop(journal);
            match fate {
                Some(fate) => medium.power_cut(fate),
                None => medium.restart(),
            }
            index.leave(&dir, &before);
            self.judge(medium.storage(), &dir, &format!("{what}, read"));
            let journal = self.open(&medium, &dir, &what);
            assert!(journal.report.damage.is_empty(), "{what}: {:?}", journal.report);
            self.judge(medium.storage(), &dir, &format!("{what}, opened"));
            compact(&journal).must(&what);
        } else {
            // Nothing has ended: it is tried again.
            assert!(
                done.is_err() || !came || done.as_ref().is_ok_and(|done| done.runs > 0),
                "{what}: {done:?}"
            );
            self.judge(medium.storage(), &dir, &format!("{what}, read"));
            compact(&journal).must(&what);
        }
        self.judge(medium.storage(), &dir, &format!("{what}, compacted"));
        assert_eq!(medium.violations(), [] as [String; 0], "{what}");
        // What is on the medium, as a directory that everything can be asked of.
        let flat = dir.with_extension("flat");
        let _ = std::fs::remove_dir_all(&flat);
        copy_journal(&self.dir, &flat, false);
        std::fs::remove_dir_all(Layout::new(&flat).segments()).must(&what);
        std::fs::create_dir(Layout::new(&flat).segments()).must(&what);
        for (name, bytes) in medium.files(&Layout::new(&dir).segments()) {
            std::fs::write(Layout::new(&flat).segments().join(name), bytes).must(&what);
        }
        assert_sound(&flat, &what);
        came
    }
}

/// Copies the index of an open journal: anew where it tidied something away meanwhile.
/// Every step of a compaction, and everything that can happen there: nothing that is kept is lost, and it comes to its end later.
#[test]
fn a_compaction_that_ends_or_fails_anywhere_loses_nothing() {
    let old = Old::new(seed_given().unwrap_or(5));
    let all = is_exhaustive();
    let ends = [
        (Fault::End, Index::AsItIs, None),
        (Fault::End, Index::AsItWas, None),
        (Fault::End, Index::AsItIs, Some(Fate::Nothing)),
        (Fault::End, Index::AsItWas, Some(Fate::Mixed)),
        (Fault::End, Index::Gone, Some(Fate::Sectors)),
        (Fault::Io, Index::AsItIs, None),
        (Fault::Full, Index::AsItIs, None),
    ];
    let (mut cases, mut number) = (0, 0);
    loop {
        let mut came = false;
        for (at, (fault, index, fate)) in ends.iter().enumerate() {
            // Here each step gets two of them, and each of them every few steps.
            if all || (number as usize * 2 + at) % ends.len() < 2 {
                came |= old.case(number, *fault, *index, *fate);
                cases += 1;
            }
        }
        if !came {
            break;
        }
        number += 1;
    }
    println!("{cases} cases at {number} operations of a compaction");
    assert!(number > 10, "only {number} operations");
}

/// What a journal gives of every path at every instant; `None` is nothing there, or nothing that is known.
fn readings(dir: &Path, shown: &[Shown], paths: &[&String]) -> Vec<Result<Option<Vec<u8>>, String>> {
    let reader = Reader::open(dir).must(dir.display());
    let read = |state: &Shown, path: &str| match content_of(&reader, path, state.seq) {
        Ok(bytes) => Ok(bytes),
        Err(error @ (Error::DamagedBlock { .. } | Error::MissingBlock { .. })) => Err(error.to_string()),
        Err(error) => panic!("{path} at {}: {error}", state.seq),
    };
    shown.iter().flat_map(|state| paths.iter().map(|path| read(state, path)).collect::<Vec<_>>()).collect()
}

/// A byte of a sealed segment is wrong before it is compacted: what could be read can be read, what could not be read is not made
/// to look right, and it stays named.
#[test]
fn damage_that_was_there_before_is_named_and_never_copied() {
    let seed = seed_given().unwrap_or(9);
    let old = Old::new(seed);
    let segments = read_dir(&Layout::new(&old.dir).segments());
    let last = segments.keys().next_back().must("a segment").clone();
    let places: Vec<(&String, usize)> = segments
        .iter()
        .filter(|(name, _)| **name != last)
        .flat_map(|(name, bytes)| (0..bytes.len()).map(move |at| (name, at)))
        .collect();
    let shown: Vec<Shown> = old.shown.iter().step_by(7).cloned().collect();
    let mut paths: Vec<&String> = shown.iter().flat_map(|state| state.files.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let cases = if is_exhaustive() { 600 } else { 40 };
    let mut random = Random::new(seed);
    let (mut named, mut alone, mut failing, mut gone, mut compacted) = (0, 0, 0, 0, 0);
    for case in 0..cases {
        let (name, at) = places[random.below(places.len() as u64) as usize];
        let what = format!("seed {seed}, case {case}: byte {at} of {name}");
        let dir = old.tmp.path().join("damaged");
        let _ = std::fs::remove_dir_all(&dir);
        copy_journal(&old.dir, &dir, case % 2 == 0);
        let mut bytes = segments[name].clone();
        bytes[at] ^= 1 << random.below(8);
        let path = Layout::new(&dir).segments().join(name);
        std::fs::write(&path, &bytes).must(&what);

        let before = readings(&dir, &shown, &paths);
        let journal = Journal::open(&dir, &clock(old.now + 60), LIMITS).must(&what);
        let wall = clock(old.now + 60).wall;
        let compact =
            || journal.compactor.compact(&policy(1), &[], Eagerness::Anything, usize::MAX, wall).must(&what);
        let done = compact();
        named += u64::from(!done.damage.is_empty());
        // What is damaged stays by itself.
        alone += u64::from(!done.damage.is_empty() && done.versions > 0);
        compacted += done.runs;
        compact();
        drop(journal);

        let reader = Reader::open(&dir).must(&what);
        let states = shown.iter().flat_map(|state| paths.iter().map(move |path| (state, *path)));
        let mut broken = 0;
        for ((state, path), (was, is)) in states.zip(before.iter().zip(readings(&dir, &shown, &paths))) {
            let at = format!("{what}: {path} at {}", state.seq);
            let is_whole = reader.thinned_around(state.seq).must(&at).is_none();
            match (was, is) {
                (Ok(was), Ok(is)) if *was == is => {}
                // What a marker says that nobody knows any more.
                (_, Ok(None)) if !is_whole => gone += 1,
                (Ok(_), Ok(None)) => panic!("{at} is gone without a word"),
                (Ok(was), Ok(Some(is))) => {
                    panic!("{at}: {} bytes instead of {:?}", is.len(), was.as_ref().map(Vec::len));
                }
                (Ok(_), Err(error)) => panic!("{at} could be read: {error}"),
                (Err(_), Err(_)) => broken += 1,
                // Another copy of the block may be the one that is left: its bytes are right.
                (Err(_), Ok(is)) => assert!(is.as_ref() == state.files.get(path), "{at} was made up"),
            }
        }
        failing += broken;
        let found = verify(&dir, &Options { deep: true, ..Options::default() }, &|_| true).must(&what);
        if broken > 0 {
            assert!(
                !found.is_sound().must(&what),
                "{what}: {broken} cannot be read, and the check finds nothing"
            );
        }
        if !done.damage.is_empty() {
            let is_there = path.exists() && std::fs::read(&path).must(&what) == bytes;
            assert!(is_there, "{what}: the damaged segment is not as it was: {done:?}");
        }
    }
    println!(
        "{cases} damaged journals: {compacted} runs compacted, {named} times damage was met and named, {alone} times something \
         went beside it; {failing} readings failed before and after, {gone} went by the policy"
    );
    assert!(named > cases / 8 && alone > named / 2 && gone > 50, "{named}, {alone}, {gone}");
}

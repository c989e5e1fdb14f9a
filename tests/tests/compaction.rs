//! Compaction on real journals: what is kept answers as before, what went says so, and nothing wrong is ever given back.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use asof_journal::append::Limits;
use asof_journal::compact::{Compacted, Eagerness};
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::retention::{Ladder, Policy, survey};
use asof_journal::storage::{Layout, Storage};
use asof_journal::types::{Content, Kind};
use asof_journal::verify::{Options, verify};
use asof_tests::desk::{Desk, Shown, clock};
use asof_tests::must::Must;
use asof_tests::random::{Random, seed_given};
use asof_tests::specimen::{content_of, copy_journal, read_dir, text};
use asof_tests::torture::Fate;
use asof_tests::torture::medium::{Fault, Medium};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Histories that are lived through.
const SEEDS: u64 = 2;
/// Segments of a few commits.
const LIMITS: Limits = Limits { segment_bytes_max: 16 << 10, segment_age_ns_max: 6 * 3_600 * 1_000_000_000 };

fn policy(immutable_days: u64) -> Policy {
    let ladder = Ladder::parse(&["all for 2 days", "10 minutes for 7 days", "1 hour for 30 days", "1 day"]);
    Policy::of(ladder.must("a ladder"), immutable_days * 24 * 60)
}

/// A life of a few directories of files, and what every commit of it must show.
struct Life {
    desk: Desk,
    random: Random,
    now: i64,
    files: Vec<String>,
    texts: BTreeMap<String, Vec<u8>>,
    dirs: Vec<String>,
    count: u64,
}

impl Life {
    fn begin(dir: &Path, seed: u64) -> Life {
        let mut desk = Desk::open(dir, 0, LIMITS);
        let dirs = vec![String::new(), "/a".to_string(), "/a/b".to_string()];
        desk.mkdir("/a");
        desk.mkdir("/a/b");
        desk.commit();
        Life {
            desk,
            random: Random::new(seed),
            now: 0,
            files: Vec::new(),
            texts: BTreeMap::new(),
            dirs,
            count: 0,
        }
    }

    fn new_path(&mut self) -> String {
        self.count += 1;
        let dir = self.dirs[self.random.below(self.dirs.len() as u64) as usize].clone();
        format!("{dir}/f{}", self.count)
    }

    fn forget(&mut self, path: &str) {
        self.files.retain(|file| file != path);
        self.texts.remove(path);
    }

    fn some_file(&mut self) -> Option<String> {
        let at = self.random.below(self.files.len().max(1) as u64) as usize;
        self.files.get(at).cloned()
    }

    fn edited(&mut self, path: &str) -> Vec<u8> {
        let mut text = self.texts.get(path).cloned().unwrap_or_default();
        let at = self.random.below(text.len() as u64 + 1) as usize;
        let line = format!("edit {}\n", self.random.below(1 << 40));
        text.splice(at..at, line.into_bytes());
        self.texts.insert(path.to_string(), text.clone());
        text
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=2 => {
                let path = self.new_path();
                let len = match self.random.below(8) {
                    0 => 10,
                    1 if self.count.is_multiple_of(16) => 100_000,
                    _ => 900 + self.random.below(4_000) as usize,
                };
                let content = text(len, self.count + 7);
                self.desk.write(&path, &content);
                self.texts.insert(path.clone(), content);
                self.files.push(path);
            }
            3..=10 => {
                let Some(path) = self.some_file() else { return };
                let content = self.edited(&path);
                self.desk.write(&path, &content);
            }
            11..=14 => {
                let Some(path) = self.some_file() else { return };
                let content = self.edited(&path);
                self.desk.save(&path, &content);
            }
            15 | 16 => {
                // As editors do: a temporary file takes the name.
                let Some(path) = self.some_file() else { return };
                let temporary = format!("{path}.tmp");
                let content = self.edited(&path);
                self.desk.write(&temporary, &content);
                self.desk.commit();
                self.desk.remove(&path);
                self.desk.rename(&temporary, &path);
            }
            17 => {
                let Some(path) = self.some_file() else { return };
                let to = self.new_path();
                let content = self.texts.get(&path).cloned().unwrap_or_default();
                self.desk.rename(&path, &to);
                self.forget(&path);
                self.texts.insert(to.clone(), content);
                self.files.push(to);
            }
            18 => {
                let Some(path) = self.some_file() else { return };
                self.desk.remove(&path);
                self.forget(&path);
            }
            _ => {
                let name = format!("/a/b{}", self.random.below(3));
                let from = self.dirs[2].clone();
                if name == from {
                    return;
                }
                self.desk.rename_dir(&from, &name);
                self.dirs[2] = name.clone();
                let inside = format!("{from}/");
                for file in &mut self.files {
                    if let Some(rest) = file.clone().strip_prefix(&inside) {
                        let to = format!("{name}/{rest}");
                        if let Some(text) = self.texts.remove(file) {
                            self.texts.insert(to.clone(), text);
                        }
                        *file = to;
                    }
                }
            }
        }
    }

    /// Lives for so many days, mostly in sessions.
    fn live(&mut self, days: i64, commits: usize) {
        let end = self.now + days * DAY;
        for n in 0..commits {
            let left = (end - self.now).max(0);
            let pause = match self.random.below(4) {
                0 => left / (commits - n) as i64 * 2,
                _ => self.random.below(5 * MINUTE as u64) as i64,
            };
            self.now += pause;
            self.desk.pass(pause);
            for _ in 0..=self.random.below(3) {
                self.step();
            }
            self.now += 1;
            self.desk.write("/clock", format!("{}", self.now).as_bytes());
            self.desk.commit();
        }
        let left = (end - self.now).max(0);
        self.now += left;
        self.desk.pass(left);
        self.desk.write("/clock", format!("{}", self.now).as_bytes());
        self.desk.commit();
    }

    fn compact(&mut self, policy: &Policy, eagerness: Eagerness) -> Compacted {
        let wall = clock(self.now).wall;
        self.desk.journal.compactor.compact(policy, &[], eagerness, usize::MAX, wall).must("compaction")
    }
}

/// What was judged.
#[derive(Debug, Default)]
struct Judged {
    exact: u64,
    thinned: u64,
    markers: u64,
}

/// Compares every state with what the journal says of it. What is wrong, or is gone without a word, is a violation.
fn judge(dir: &Path, shown: &[Shown], policy: &Policy, what: &str) -> Judged {
    judge_by(&Reader::open(dir).must(what), shown, policy, what)
}

fn judge_by(reader: &Reader, shown: &[Shown], policy: &Policy, what: &str) -> Judged {
    let clock = survey::clock(reader).must(what);
    let keeper = survey::keeper(reader, &clock, policy).must(what);
    let mut judged = Judged::default();
    for state in shown {
        let around = reader.thinned_around(state.seq).must(what);
        let exact = around.is_none();
        if keeper.is_kept(policy.union(), state.seq) {
            assert!(
                exact,
                "{what}: {} is kept by the policy, and the journal says that it is not",
                state.seq
            );
        }
        match exact {
            true => judged.exact += 1,
            false => judged.thinned += 1,
        }
        compare(reader, state, exact, &mut judged, what);
    }
    judged
}

fn compare(reader: &Reader, state: &Shown, exact: bool, judged: &mut Judged, what: &str) {
    let view = reader.view(state.seq);
    let at = |path: &str| format!("{what}: {path} at {}", state.seq);
    for (path, content) in &state.files {
        let found = view.resolve(path.as_bytes()).must(at(path));
        let Some(entry) = found else {
            assert!(!exact, "{} is not there", at(path));
            judged.markers += 1;
            continue;
        };
        let Some(version) = view.version(entry.node).must(at(path)) else {
            assert!(!exact, "{} has no version", at(path));
            continue;
        };
        if version.version.content == Content::Thinned {
            assert!(!exact, "{} is thinned", at(path));
            judged.markers += 1;
            continue;
        }
        let bytes = content_of(reader, path, state.seq).must(at(path)).must(at(path));
        assert!(bytes == *content, "{}: {} bytes instead of {}", at(path), bytes.len(), content.len());
    }
    // Nothing may be there that was not.
    let mut dirs = vec![(Vec::new(), asof_journal::types::NodeId::ROOT)];
    while let Some((path, dir)) = dirs.pop() {
        for entry in view.list(dir).must(what) {
            let path = [path.as_slice(), b"/", &entry.name].concat();
            match entry.kind {
                Kind::Dir => dirs.push((path, entry.node)),
                _ => {
                    let path = String::from_utf8_lossy(&path).into_owned();
                    assert!(state.files.contains_key(&path), "{} was not there", at(&path));
                }
            }
        }
    }
}

fn assert_sound(dir: &Path, what: &str) {
    let options = Options { deep: true, ..Options::default() };
    let found = verify(dir, &options, &|_| true).must(what);
    assert!(
        found.is_sound().must(what) && found.notes.is_empty(),
        "{what}: {:?} {:?} {:?} {:?}",
        found.places,
        found.lost,
        found.notes,
        found.index
    );
}

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

fn bytes_of(dir: &Path) -> u64 {
    let segments = std::fs::read_dir(Layout::new(dir).segments()).must("the segments");
    segments.flatten().map(|entry| entry.metadata().map_or(0, |meta| meta.len())).sum()
}

/// A journal that is to be compacted, and the media that copies of it are put on.
struct Old {
    tmp: tempfile::TempDir,
    dir: PathBuf,
    shown: Vec<Shown>,
    now: i64,
}

/// What becomes of the index when the process ends.
#[derive(Clone, Copy, Debug)]
enum Index {
    AsItIs,
    /// What was on disk before the compaction.
    AsItWas,
    Gone,
}

impl Old {
    fn new(seed: u64) -> Old {
        let tmp = tempfile::tempdir().must("a temporary directory");
        let dir = tmp.path().join("old");
        let mut life = Life::begin(&dir, seed);
        life.live(40, 120);
        let now = life.now;
        let shown = life.desk.close();
        Old { tmp, dir, shown, now }
    }

    /// Puts a copy on a medium of its own, all of it durable.
    fn put(&self, seed: u64) -> (Medium, PathBuf) {
        let root = self.tmp.path();
        let dir = root.join("case");
        let _ = std::fs::remove_dir_all(&dir);
        copy_journal(&self.dir, &dir, true);
        let medium = Medium::new(root, seed);
        let storage = medium.storage();
        let layout = Layout::new(&dir);
        for place in [dir.clone(), layout.segments()] {
            storage.create_dir(&place).must("a directory");
            for (name, bytes) in read_dir(&place) {
                let mut file = storage.create(&place.join(&name)).must("a file");
                file.append(&bytes).must("its bytes");
                file.sync().must("its bytes");
            }
            storage.sync_dir(&place).must("a directory");
        }
        storage.sync_dir(root).must("a directory");
        (medium, dir)
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
        let (medium, dir) = self.put(number);
        let before = dir.with_extension("index");
        let _ = std::fs::remove_dir_all(&before);
        let journal = self.open(&medium, &dir, &what);
        journal.head.connect(None);
        copy_dir(&Layout::new(&dir).index(), &before);
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
            let index_dir = Layout::new(&dir).index();
            match index {
                Index::AsItIs => {}
                Index::AsItWas => {
                    std::fs::remove_dir_all(&index_dir).must(&what);
                    copy_dir(&before, &index_dir);
                }
                Index::Gone => std::fs::remove_dir_all(&index_dir).must(&what),
            }
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
fn copy_dir(from: &Path, to: &Path) {
    loop {
        std::fs::create_dir_all(to).must(to.display());
        let mut entries = std::fs::read_dir(from).must(from.display()).flatten();
        let failed = entries
            .find_map(|entry| std::fs::copy(entry.path(), to.join(entry.file_name())).err().zip(Some(entry)));
        match failed {
            None => return,
            Some((error, _)) if error.kind() == ErrorKind::NotFound => {
                std::fs::remove_dir_all(to).must(to.display());
            }
            Some((error, entry)) => panic!("{}: {error}", entry.path().display()),
        }
    }
}

/// Every step of a compaction, and everything that can happen there: nothing that is kept is lost, and it comes to its end later.
#[test]
fn a_compaction_that_ends_or_fails_anywhere_loses_nothing() {
    let old = Old::new(seed_given().unwrap_or(5));
    let all = std::env::var("ASOF_COMPACTION").is_ok_and(|value| value == "all");
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

//! A life of files over months, for what retention makes of a journal: edited, saved, renamed and removed in sessions, with pauses
//! of hours between them; and the judge of what is left of it.

use std::collections::BTreeMap;
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::compact::{Compacted, Eagerness};
use asof_journal::reader::Reader;
use asof_journal::retention::{Ladder, Policy, survey};
use asof_journal::storage::Layout;
use asof_journal::types::{Content, Kind, NodeId};
use asof_journal::verify::{Options, verify};

use crate::desk::{Desk, Shown, clock};
use crate::must::Must;
use crate::random::Random;
use crate::specimen::{content_of, text};

const MINUTE: i64 = 60;
/// Seconds of a day.
pub const DAY: i64 = 24 * 60 * MINUTE;
/// Segments of a few commits.
pub const LIMITS: Limits =
    Limits { segment_bytes_max: 16 << 10, segment_age_ns_max: 6 * 3_600 * 1_000_000_000 };

/// A short ladder, and a window in which nothing goes.
pub fn policy(immutable_days: u64) -> Policy {
    let ladder = Ladder::parse(&["all for 2 days", "10 minutes for 7 days", "1 hour for 30 days", "1 day"]);
    Policy::of(ladder.must("a ladder"), immutable_days * 24 * 60)
}

/// A life of a few directories of files, and what every commit of it must show.
pub struct Life {
    /// Who writes, and what every commit showed.
    pub desk: Desk,
    random: Random,
    /// Seconds since it began.
    pub now: i64,
    files: Vec<String>,
    texts: BTreeMap<String, Vec<u8>>,
    dirs: Vec<String>,
    count: u64,
}

impl Life {
    /// Begins one in a new journal.
    pub fn begin(dir: &Path, seed: u64) -> Life {
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
    pub fn live(&mut self, days: i64, commits: usize) {
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

    /// Compacts as of now.
    pub fn compact(&mut self, policy: &Policy, eagerness: Eagerness) -> Compacted {
        let wall = clock(self.now).wall;
        self.desk.journal.compactor.compact(policy, &[], eagerness, usize::MAX, wall).must("compaction")
    }
}

/// What was judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// States that are said to be whole.
    pub exact: u64,
    /// States of which something is said to have gone.
    pub thinned: u64,
    /// Places that say so themselves.
    pub markers: u64,
}

/// Compares every state with what the journal says of it. What is wrong, or is gone without a word, is a violation.
pub fn judge(dir: &Path, shown: &[Shown], policy: &Policy, what: &str) -> Judged {
    judge_by(&Reader::open(dir).must(what), shown, policy, what)
}

/// The same with a reader that is there.
pub fn judge_by(reader: &Reader, shown: &[Shown], policy: &Policy, what: &str) -> Judged {
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
    let mut dirs = vec![(Vec::new(), NodeId::ROOT)];
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

/// A deep check finds nothing at all.
pub fn assert_sound(dir: &Path, what: &str) {
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

/// Bytes of all segments.
pub fn bytes_of(dir: &Path) -> u64 {
    let segments = std::fs::read_dir(Layout::new(dir).segments()).must("the segments");
    segments.flatten().map(|entry| entry.metadata().map_or(0, |meta| meta.len())).sum()
}

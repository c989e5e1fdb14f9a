//! Years of a workstation, written through the library with a clock of their own: saves, sessions, nights and reboots.
//!
//! One thread, seeded. What the files hold follows from few numbers, which lie on disk (`files`), so that memory does not grow
//! with years; what the journal must answer is asked while the answer is known (`questions`). What is held for long lies together: spread
//! between what the journal allocates, each of it would keep a page of the allocator.

mod changes;
mod day;
mod files;
mod questions;
mod unsynced;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use asof_journal::append::{Limits, Mark as Committed};
use asof_journal::ingest::Ingest;
use asof_journal::open::Journal;
use asof_journal::storage::{Layout, OsStorage};
use asof_journal::types::{
    ClockReading, Content, Gap, GapReason, Group, Instant, Kind, Mark, MarkCause, NodeId, Op,
};

pub use self::questions::{Answer, Question, answer};

use self::day::{DAY, Deed};
use self::files::{File, Lines, Sort};
use self::questions::Questions;
use self::unsynced::Unsynced;
use crate::must::Must;
use crate::pen::{BEGINNING, Pen, version};
use crate::random::Random;

/// The first midnight on the pen's clock, UTC; a Wednesday begins.
const FIRST_MIDNIGHT: i64 = DAY - BEGINNING % DAY;
/// Segments are older before they end than the agent's: with each of them the index is put on disk, which takes most of the time of
/// years in which nothing is waited for.
const LIMITS: Limits = Limits { segment_bytes_max: 64 << 20, segment_age_ns_max: 2 * 3_600_000_000_000 };
/// The agent writes a mark when the last one is so long ago.
const MARK_EVERY: i64 = 60;
/// Content of the first capture that is committed at once.
const CAPTURED_AT_ONCE: usize = 4 << 20;
/// Files of a project.
const PROJECT_FILES: u64 = 800;
/// Databases of programs that run all day.
const DATABASES: usize = 6;
/// What is put aside of a log stays for so many days.
const LOGS: usize = 7;
/// Files and names that changed last, of which questions are asked.
const RECENT: usize = 256;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Files at the beginning.
    pub files: u64,
    /// Saves a day, over all days of a week.
    pub saves_a_day: u64,
    /// Where the choices start.
    pub seed: u64,
}

/// A workstation that is simulated.
pub struct Years {
    layout: Layout,
    dir: PathBuf,
    pen: Option<Pen>,
    random: Random,
    scale: Scale,
    /// Days that have passed.
    pub days: u64,
    /// Versions written so far.
    pub versions: u64,
    /// Batches written so far.
    pub commits: u64,
    newest: Committed,
    dirs: Vec<Directory>,
    projects: Vec<Project>,
    files: Vec<Option<File>>,
    lines: Lines,
    free: Vec<u32>,
    notes: Vec<u32>,
    documents: Vec<u32>,
    settings: Vec<u32>,
    databases: Vec<u32>,
    /// The object file of each file that was built.
    objects: Vec<Option<u32>>,
    downloads: VecDeque<u32>,
    logs: VecDeque<u32>,
    temporary: VecDeque<(i64, u32)>,
    recent: VecDeque<u32>,
    gone: VecDeque<Vec<u8>>,
    names: u32,
    pending: Vec<Pending>,
    touched: BTreeSet<u32>,
    questions: Questions,
}

struct Directory {
    parent: u32,
    name: String,
    node: NodeId,
}

struct Project {
    dirs: Vec<u32>,
    files: Vec<u32>,
}

/// A group on its way: operations, and the content of a version that they lead to.
struct Pending {
    ops: Vec<Op>,
    content: Option<(NodeId, Option<NodeId>, Vec<u8>)>,
}

/// Places that are always there, by their numbers.
const HOME: u32 = 2;
const NOTES: u32 = 4;
const DOCUMENTS: u32 = 5;
const DOWNLOADS: u32 = 6;
const SETTINGS: u32 = 7;
const LOG: u32 = 8;
const TEMPORARY: u32 = 9;
const SOURCES: u32 = 3;

impl Years {
    /// Makes the journal, and captures everything for the first time.
    pub fn begin(dir: &Path, scale: Scale) -> Years {
        let random = Random::new(scale.seed);
        let pen = Pen::open_on(Arc::new(Unsynced(OsStorage)), dir, FIRST_MIDNIGHT, LIMITS);
        let mut years = Years {
            layout: Layout::new(dir),
            dir: dir.to_path_buf(),
            pen: Some(pen),
            random,
            scale,
            days: 0,
            versions: 0,
            commits: 0,
            newest: Committed::default(),
            dirs: vec![Directory { parent: 0, name: String::new(), node: NodeId::ROOT }],
            projects: Vec::new(),
            files: Vec::new(),
            lines: Lines::new(),
            free: Vec::new(),
            notes: Vec::new(),
            documents: Vec::new(),
            settings: Vec::new(),
            databases: Vec::new(),
            objects: Vec::new(),
            downloads: VecDeque::new(),
            logs: VecDeque::new(),
            temporary: VecDeque::new(),
            recent: VecDeque::new(),
            gone: VecDeque::new(),
            names: 0,
            pending: Vec::new(),
            touched: BTreeSet::new(),
            questions: Questions::default(),
        };
        years.first_capture();
        years
    }

    /// The journal, for whatever looks after it.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.pen().journal
    }

    /// The clocks now.
    pub fn clock(&mut self) -> ClockReading {
        self.pen().clock()
    }

    /// Where the journal is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is known for certain, of all sorts: at most `count`.
    pub fn questions(&mut self, count: usize) -> Vec<Question> {
        self.questions.choose(count, &mut self.random)
    }

    /// Bytes in the segments.
    pub fn segment_bytes(&self) -> u64 {
        let dir = self.layout.segments();
        let files = std::fs::read_dir(&dir).must(dir.display()).flatten();
        files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// Ends in good order.
    pub fn close(mut self) {
        self.mark(MarkCause::Stopped);
        if let Some(pen) = self.pen.take() {
            pen.close();
        }
    }

    fn pen(&mut self) -> &mut Pen {
        self.pen.as_mut().must("a journal that is open")
    }

    fn first_capture(&mut self) {
        self.pen().seconds = FIRST_MIDNIGHT + 8 * 3600;
        for (parent, name) in [
            (0, "home"),
            (1, "u"),
            (HOME, "src"),
            (HOME, "notes"),
            (HOME, "documents"),
            (HOME, "downloads"),
            (HOME, ".config"),
            (HOME, "log"),
            (HOME, "tmp"),
        ] {
            self.mkdir(parent, name.into());
        }
        let files = self.scale.files;
        let sources = files * 94 / 100;
        for _ in 0..sources.div_ceil(PROJECT_FILES) {
            self.new_project(sources.min(PROJECT_FILES));
        }
        for _ in 0..files.div_ceil(50) {
            let file = self.make(DOCUMENTS, Sort::Document);
            self.documents.push(file);
        }
        for _ in 0..files.div_ceil(100) {
            let file = self.make(NOTES, Sort::Note);
            self.notes.push(file);
        }
        for _ in 0..files.div_ceil(50) {
            let file = self.make(SETTINGS, Sort::Settings);
            self.settings.push(file);
        }
        for _ in 0..DATABASES {
            let file = self.make(SETTINGS, Sort::Database);
            self.databases.push(file);
        }
        for _ in 0..files.div_ceil(100) {
            let file = self.make(DOWNLOADS, Sort::Fixed);
            self.downloads.push_back(file);
        }
        let log = self.make(LOG, Sort::Log);
        self.logs.push_back(log);
        self.mark(MarkCause::Reconciled);
    }

    /// Lives through one day.
    pub fn day(&mut self) {
        let midnight = FIRST_MIDNIGHT + self.days as i64 * DAY;
        let mut plan = day::plan(self.days, self.scale.saves_a_day, &mut self.random);
        self.days += 1;
        if self.days == 1 {
            // The first capture took place this morning.
            plan.deeds.retain(|(at, _)| midnight + at > self.newest_second());
        } else if plan.boots {
            self.boot(midnight + plan.begins);
        }
        let mut sessions = BTreeMap::new();
        let mut deeds = plan.deeds.into_iter().peekable();
        let mut mark_due = (midnight + plan.begins).max(self.newest_second()) + MARK_EVERY;
        while mark_due < midnight + plan.ends {
            let deed = deeds.peek().map_or(i64::MAX, |(at, _)| midnight + at);
            let temporary = self.temporary.front().map_or(i64::MAX, |(at, _)| *at);
            let now = deed.min(temporary).min(mark_due);
            self.ask(now);
            while let Some((_, deed)) = deeds.next_if(|(at, _)| midnight + at <= now) {
                self.does(deed, now, &mut sessions);
            }
            while let Some((_, file)) = self.temporary.front().copied().filter(|(at, _)| *at <= now) {
                self.temporary.pop_front();
                self.delete(file);
            }
            // Much at once is committed in between, a second each.
            let pen = self.pen();
            pen.seconds = pen.seconds.max(now - 1);
            if now >= mark_due {
                mark_due = now + MARK_EVERY;
                self.mark(MarkCause::Idle);
            } else {
                self.commit();
            }
        }
    }

    fn newest_second(&self) -> i64 {
        self.newest.instant.0 / 1_000_000_000 - BEGINNING
    }

    /// Off in the evening, on in the morning: another boot, and a gap that says so.
    fn boot(&mut self, now: i64) {
        self.mark(MarkCause::Stopped);
        let stopped = self.newest.instant;
        let Some(pen) = self.pen.take() else { return };
        let boot = pen.boot.checked_add(1).unwrap_or(1);
        pen.close();
        let mut pen = Pen::open_on(Arc::new(Unsynced(OsStorage)), &self.dir, now, LIMITS);
        pen.boot = boot;
        pen.booted = now - 30;
        let until = pen.clock().wall;
        self.pen = Some(pen);
        let gap = Gap {
            scope: b"/home/u".to_vec(),
            from: stopped,
            until,
            reason: GapReason::AgentDown,
            detail: String::new(),
        };
        self.pending.push(Pending { ops: vec![Op::Gap(gap)], content: None });
        self.mark(MarkCause::Reconciled);
    }

    fn does(&mut self, deed: Deed, now: i64, sessions: &mut BTreeMap<u16, Vec<u32>>) {
        match deed {
            Deed::Source { session } => {
                let files = match sessions.get(&session) {
                    Some(files) => files.clone(),
                    None => {
                        let files = self.work();
                        sessions.insert(session, files.clone());
                        files
                    }
                };
                if let Some(file) = self.random.pick(&files).copied() {
                    let replaced = self.random.below(10) < 6;
                    self.save(file, replaced);
                }
            }
            Deed::Burst { files } => {
                let project = self.random.below(self.projects.len() as u64) as usize;
                let some =
                    self.projects.get(project).map(|project| project.files.clone()).unwrap_or_default();
                for file in self.random.take(&some, usize::from(files)) {
                    self.save(file, false);
                }
            }
            Deed::Note => self.save_one(|years| &years.notes, true),
            Deed::Document { session } => {
                let choose = |years: &mut Years| years.one_of(|years| &years.documents);
                let files = sessions.entry(session).or_insert_with(|| choose(self).into_iter().collect());
                if let Some(file) = files.first().copied() {
                    self.save(file, true);
                }
            }
            Deed::Build { session, files } => {
                let sources = sessions.get(&session).cloned().unwrap_or_default();
                for source in self.random.take(&sources, usize::from(files)) {
                    self.build(source);
                }
            }
            Deed::Database => self.save_one(|years| &years.databases, false),
            Deed::Settings => self.save_one(|years| &years.settings, false),
            Deed::Log => {
                if let Some(log) = self.logs.back().copied() {
                    self.save(log, false);
                }
            }
            Deed::Rotate => {
                if let Some(log) = self.logs.back().copied() {
                    self.rename(log);
                }
                let log = self.make(LOG, Sort::Log);
                self.logs.push_back(log);
                if self.logs.len() > LOGS
                    && let Some(oldest) = self.logs.pop_front()
                {
                    self.delete(oldest);
                }
            }
            Deed::Download => {
                let file = self.make(DOWNLOADS, Sort::Fixed);
                self.downloads.push_back(file);
            }
            Deed::Temporary => {
                let file = self.make(TEMPORARY, Sort::Temporary);
                let until = now + 2 + self.random.below(30) as i64;
                self.temporary.push_back((until, file));
            }
            Deed::Create => {
                let project = self.random.below(self.projects.len() as u64) as usize;
                let dir =
                    self.projects.get(project).and_then(|project| self.random.pick(&project.dirs).copied());
                let Some(dir) = dir else { return };
                let file = self.make(dir, Sort::Source);
                if let Some(project) = self.projects.get_mut(project) {
                    project.files.insert(0, file);
                }
            }
            Deed::Rename => {
                let some = self.work();
                if let Some(file) = some.first().copied() {
                    self.rename(file);
                }
            }
            Deed::Delete if self.random.below(4) == 0 => {
                if let Some(file) = self.downloads.pop_front() {
                    self.delete(file);
                }
            }
            Deed::Delete => {
                let project = self.random.below(self.projects.len() as u64) as usize;
                let Some(project) = self.projects.get_mut(project) else { return };
                let at = self.random.below(project.files.len() as u64) as usize;
                if project.files.len() > 1 {
                    let file = project.files.swap_remove(at);
                    self.delete(file);
                }
            }
            Deed::RenameDirectory => self.rename_directory(),
            Deed::Replace => self.replace_project(),
        }
    }

    /// Asks what is known before the next change, at `now`.
    fn ask(&mut self, now: i64) {
        let newest = self.newest;
        let (grid, count) =
            self.questions.due(self.newest_second() + BEGINNING, now + BEGINNING, &mut self.random);
        for _ in 0..count {
            let (path, expected) = match self.random.below(8) {
                0 => match self.gone.back() {
                    // A name may have been given again; names here are not.
                    Some(path) => (path.clone(), None),
                    None => continue,
                },
                choice => {
                    let recent = self.recent.get(self.random.below(self.recent.len() as u64) as usize);
                    let any = self.random.below(self.files.len() as u64) as u32;
                    let number = if choice < 5 { recent.copied().unwrap_or(any) } else { any };
                    let Some(file) = self.files.get(number as usize).and_then(Option::as_ref) else {
                        continue;
                    };
                    let digest = questions::digest(&file.content(&self.lines));
                    (self.path(file), Some(digest))
                }
            };
            self.questions.keep(Question { path, seq: newest.seq, wall: newest.instant, grid, expected });
        }
    }

    /// Commits what was done, and says that everything up to now is covered.
    fn mark(&mut self, cause: MarkCause) {
        let covered_through = self.pen().clock().wall;
        self.commit_with(Some(Mark { covered_through, cause }));
    }

    fn commit(&mut self) {
        self.commit_with(None);
    }

    fn commit_with(&mut self, mark: Option<Mark>) {
        let pending = std::mem::take(&mut self.pending);
        let touched = std::mem::take(&mut self.touched);
        let pen = self.pen.as_mut().must("a journal that is open");
        let wall = Instant(pen.clock().wall.0 + 500_000_000);
        let head = pen.head();
        let mut ingest = Ingest::new(&head);
        let submit = |ingest: &mut Ingest<'_>, ops| {
            let group = Group { ops, hinted: Some(wall), read: Some(wall) };
            ingest.submit(group).must("a group");
        };
        let random = &mut self.random;
        let mut at = |kind, content, size, node: NodeId| {
            let mut version = version(kind, content);
            version.meta.size = size;
            version.meta.mtime = Instant(wall.0 - random.below(900_000_000) as i64);
            version.meta.ctime = version.meta.mtime;
            version.meta.ino = 5_000_000 + node.0;
            Op::Version { node, version }
        };
        for Pending { mut ops, content } in pending {
            if let Some((node, previous, bytes)) = content {
                let before = previous.map(|node| head.view().version(node).must("the version before"));
                let before = before.flatten().map(|at| at.version);
                let stored = ingest.store(&mut &bytes[..], before.as_ref()).must("content");
                ops.push(at(Kind::File, stored.content, stored.size, node));
                self.versions += 1;
            }
            submit(&mut ingest, ops);
        }
        for dir in touched.into_iter().filter(|dir| *dir != 0) {
            let node = self.dirs.get(dir as usize).must("a directory").node;
            submit(&mut ingest, vec![at(Kind::Dir, Content::None, 4096, node)]);
        }
        if let Some(mark) = mark {
            submit(&mut ingest, vec![Op::Mark(mark)]);
        }
        ingest.flush().must("a flush");
        drop(ingest);
        if let Some(newest) = pen.commit() {
            self.newest = newest;
            self.commits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use asof_journal::reader::Reader;

    use super::*;

    #[test]
    fn days_are_lived_and_every_question_has_its_answer() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("journal");
        let scale = Scale { files: 500, saves_a_day: 300, seed: 4 };
        let mut years = Years::begin(&dir, scale);
        for _ in 0..9 {
            years.day();
        }
        let questions = years.questions(200);
        let boots = years.pen().boot;
        assert!(boots > 1, "it was off at night now and then");
        assert!((2000..5000).contains(&(years.versions - scale.files)), "{}", years.versions);
        years.close();
        let reader = Reader::open(&dir).unwrap();
        assert_eq!(reader.report().damage, []);
        for interval in [7 * 86_400, 86_400, 3600, 600] {
            assert!(questions.iter().any(|question| question.grid == interval), "{interval}");
        }
        for question in &questions {
            assert_eq!(answer(&reader, question), Answer::Right, "{question:?}");
        }
        assert!(questions.iter().any(|question| question.expected.is_none()));
    }
}

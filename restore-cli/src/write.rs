//! Carries a restore plan out: what is in the way goes, then directories, then files by several workers, then metadata of
//! files that stay, further names, what else goes, and the metadata of directories from the bottom up.
//!
//! Everything is done relative to directory descriptors and without following a symlink, so that nothing outside of
//! the base is touched. Replaces and deletes exactly what the plan has seen. Every file has a temporary name until it is
//! complete. Nothing is synced: a restore survives a crash of the process file by file, and a power cut as far as the
//! filesystem's own writeback went.

mod clone;
mod dirs;
mod kept;
mod lease;
mod meta;
mod node;
mod swap;
mod temporary;

use std::collections::HashSet;
use std::ffi::OsString;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use rustix::io::Errno;

use crate::args::Overwrite;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::plan::{PlanNode, Problem, RestorePlan};
use crate::source::Source;

use dirs::{DirState, Dirs};

pub(crate) use dirs::open_base;
use swap::Writers;
use temporary::Names;
pub(crate) use temporary::{is_leftover, left_aside};

/// Files that a worker takes at a time: at least so many, and then up to the end of their directory.
const RUN_MIN: usize = 64;
/// A larger directory is shared by several workers.
const RUN_MAX: usize = 1024;
/// Problems and remarks under way to the thread that prints; a worker waits when there are more.
const EVENTS_MAX: usize = 1024;
/// How often progress is reported.
const TICK: Duration = Duration::from_millis(100);

/// How to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// What to do with what exists already; `None` is for a target that was empty.
    pub(crate) overwrite: Option<Overwrite>,
    /// How many threads write.
    pub(crate) workers: usize,
    /// Whether the base was there before, so that it may hold something.
    pub(crate) base_existed: bool,
    /// Whether the plan says what is replaced; else what exists decides.
    pub(crate) in_place: bool,
    /// What happens to what a program has open for writing.
    pub(crate) writers: Writers,
}

impl Options {
    /// How to write into a target of one's own.
    pub(crate) fn aside(overwrite: Option<Overwrite>, workers: usize, base_existed: bool) -> Options {
        Options { overwrite, workers, base_existed, in_place: false, writers: Writers::Ignored }
    }

    /// How to write into the live tree, as the plan says.
    pub(crate) fn in_place(overwrite: Option<Overwrite>, workers: usize) -> Options {
        let writers =
            if overwrite == Some(Overwrite::Always) { Writers::Ignored } else { Writers::Respected };
        let overwrite = Some(Overwrite::Always);
        Options { overwrite, workers, base_existed: true, in_place: true, writers }
    }
}

/// What was done, or has been so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Directories created or merged into.
    pub(crate) dirs: u64,
    /// Regular files written.
    pub(crate) files: u64,
    /// Symlinks written.
    pub(crate) symlinks: u64,
    /// Fifos and devices made.
    pub(crate) specials: u64,
    /// Further names linked.
    pub(crate) hardlinks: u64,
    /// Bytes of content that are in place, holes included.
    pub(crate) bytes: u64,
    /// What existed already and was left as it was.
    pub(crate) skipped: u64,
    /// Problems named.
    pub(crate) problems: u64,
    /// Entries made where there was none.
    pub(crate) created: u64,
    /// Entries that took the place of what was planned to be replaced.
    pub(crate) overwritten: u64,
    /// Entries deleted.
    pub(crate) deleted: u64,
    /// Entries that stayed and got other metadata.
    pub(crate) metadata: u64,
    /// Files that share their content with the live ones.
    pub(crate) cloned: u64,
}

/// What the thread that prints hears.
#[derive(Debug)]
pub(crate) enum Event {
    /// So much has been done.
    Progress(Counts),
    /// Something is missing or incomplete.
    Problem(Problem),
    /// Something that holds for the whole restore, said once.
    Remark(&'static str),
}

/// Counts that workers share.
#[derive(Default)]
struct Tally {
    dirs: AtomicU64,
    files: AtomicU64,
    symlinks: AtomicU64,
    specials: AtomicU64,
    hardlinks: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    problems: AtomicU64,
    created: AtomicU64,
    overwritten: AtomicU64,
    deleted: AtomicU64,
    metadata: AtomicU64,
    cloned: AtomicU64,
}

impl Tally {
    fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            dirs: read(&self.dirs),
            files: read(&self.files),
            symlinks: read(&self.symlinks),
            specials: read(&self.specials),
            hardlinks: read(&self.hardlinks),
            bytes: read(&self.bytes),
            skipped: read(&self.skipped),
            problems: read(&self.problems),
            created: read(&self.created),
            overwritten: read(&self.overwritten),
            deleted: read(&self.deleted),
            metadata: read(&self.metadata),
            cloned: read(&self.cloned),
        }
    }
}

fn add(count: &AtomicU64, amount: u64) {
    count.fetch_add(amount, Ordering::Relaxed);
}

/// What all threads of one restore share.
struct Shared<'a> {
    source: &'a dyn Source,
    plan: &'a RestorePlan,
    options: Options,
    names: Names,
    me: meta::Me,
    tally: Tally,
    /// Which nodes are there, so that further names can be linked to them.
    written: Vec<AtomicBool>,
    remarks: Mutex<HashSet<&'static str>>,
    /// Whether it is worth trying to clone live files.
    clones: AtomicBool,
    /// Set where going on would only repeat the same failure for every file.
    stop: AtomicBool,
    fatal: Mutex<Option<Errno>>,
    events: Sender<Event>,
}

impl Shared<'_> {
    fn problem(&self, path: Vec<u8>, error: String) {
        add(&self.tally.problems, 1);
        // The receiver outlives the workers.
        let _ = self.events.send(Event::Problem(Problem { path, error }));
    }

    fn remark(&self, text: &'static str) {
        let is_new = self.remarks.lock().map(|mut said| said.insert(text)).unwrap_or(false);
        if is_new {
            let _ = self.events.send(Event::Remark(text));
        }
    }

    /// Whether the whole restore has to end: the target is full or cannot be written at all.
    fn note_fatal(&self, errno: Errno) {
        if matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::ROFS) {
            self.stop.store(true, Ordering::Relaxed);
            if let Ok(mut fatal) = self.fatal.lock() {
                fatal.get_or_insert(errno);
            }
        }
    }

    /// Notes that a node is there: written, or left because `--overwrite` says so.
    fn is_there(&self, node: usize) {
        if let Some(written) = self.written.get(node) {
            written.store(true, Ordering::Relaxed);
        }
    }

    fn has_been_written(&self, node: u32) -> bool {
        self.written.get(node as usize).is_some_and(|written| written.load(Ordering::Relaxed))
    }

    /// In place: counts an entry by what was there before.
    fn count_change(&self, replaces: bool) {
        if !self.options.in_place {
            return;
        }
        add(if replaces { &self.tally.overwritten } else { &self.tally.created }, 1);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || interrupt::requested()
    }
}

/// A name that says what it is, for a directory that is not yet `target`.
pub(crate) fn temporary_name(target: &[u8]) -> OsString {
    OsString::from_vec(Names::new().aside(target))
}

/// Carries the plan out in the directory `base`. `tell` hears of progress and of every problem, on this thread.
///
/// Errors: `Interrupted`, and `Io` where the target is full or read-only; what is in place by then is complete,
/// file by file. Anything else that goes wrong is a problem of one path.
pub(crate) fn carry_out(
    source: &dyn Source,
    plan: &RestorePlan,
    base: BorrowedFd<'_>,
    options: Options,
    tell: &mut dyn FnMut(Event, &Counts),
) -> Result<Counts> {
    let (events, heard) = crossbeam_channel::bounded(EVENTS_MAX);
    let shared = Shared {
        source,
        plan,
        options,
        names: Names::new(),
        me: meta::Me::new(),
        tally: Tally::default(),
        written: plan.nodes.iter().map(|_| AtomicBool::new(false)).collect(),
        remarks: Mutex::default(),
        clones: AtomicBool::new(true),
        stop: AtomicBool::new(false),
        fatal: Mutex::default(),
        events,
    };
    let shared = &shared;
    thread::scope(|scope| {
        let work = scope.spawn(move || all_phases(shared, base));
        loop {
            match heard.recv_timeout(TICK) {
                Ok(event) => tell(event, &shared.tally.counts()),
                Err(RecvTimeoutError::Timeout) => {
                    let counts = shared.tally.counts();
                    tell(Event::Progress(counts), &counts);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if work.is_finished() && heard.is_empty() {
                break;
            }
        }
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(shared.tally.counts())
}

fn all_phases(shared: &Shared<'_>, base: BorrowedFd<'_>) -> Result<()> {
    let result = phases(shared, base);
    // Wakes the thread that prints, which otherwise waits for its next tick.
    let _ = shared.events.send(Event::Progress(shared.tally.counts()));
    result
}

fn phases(shared: &Shared<'_>, base: BorrowedFd<'_>) -> Result<()> {
    let mut dirs = Dirs::new(shared.plan, base);
    kept::delete(shared, &mut dirs, true);
    verdict(shared)?;
    let states = dirs::create(shared, base)?;
    write_nodes(shared, base, &states)?;
    verdict(shared)?;
    kept::touch(shared, &mut dirs);
    verdict(shared)?;
    node::link_all(shared, &mut dirs, &states);
    verdict(shared)?;
    kept::delete(shared, &mut dirs, false);
    verdict(shared)?;
    dirs::finish(shared, base, &states);
    verdict(shared)
}

fn verdict(shared: &Shared<'_>) -> Result<()> {
    if interrupt::requested() {
        return Err(Error::Interrupted);
    }
    let fatal = shared.fatal.lock().ok().and_then(|fatal| *fatal);
    match fatal {
        Some(errno) => {
            let path = if shared.options.in_place { "the live tree" } else { "the target" };
            Err(Error::Io { path: path.to_owned(), action: "writing", source: errno.into() })
        }
        None => Ok(()),
    }
}

/// Writes every node once; each worker takes runs of neighbours.
fn write_nodes(shared: &Shared<'_>, base: BorrowedFd<'_>, states: &[DirState]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let runs = runs(&shared.plan.nodes);
    thread::scope(|scope| {
        for _ in 0..shared.options.workers.clamp(1, runs.len().max(1)) {
            scope.spawn(|| {
                let mut dirs = Dirs::new(shared.plan, base);
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(run) else {
                        break;
                    };
                    for index in run.clone() {
                        if shared.is_over() {
                            return;
                        }
                        node::restore(shared, &mut dirs, states, index);
                    }
                }
            });
        }
    });
    Ok(())
}

/// What a worker takes at a time: whole directories where that is not too much.
fn runs(nodes: &[PlanNode]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for end in 1..=nodes.len() {
        let whole = nodes.get(end).is_none_or(|next| next.dir != nodes[end - 1].dir);
        if whole && end - start >= RUN_MIN || end - start >= RUN_MAX || end == nodes.len() {
            runs.push(start..end);
            start = end;
        }
    }
    runs
}

#[cfg(test)]
mod tests;

//! The event source directly on inotify: a watch descriptor stands for a directory, a removed one costs a moment.
//!
//! Owns the queue: reading it, in order, in bounded portions; what events mean is in `events`, adding and removing
//! watches in `walk`, what has to be looked at later in `again`. Nothing outside this directory names the inotify crate.
//!
//! Everything happens in the order of the queue. A new directory is watched, and walked for what was made in it before,
//! before the next event is looked at; what the kernel queues meanwhile is read into a backlog, so that its queue does
//! not overflow. The kernel alone says what is where: a watch is added through the directory above, which is known by
//! its own watch, and adding a watch again gives the same descriptor. So a descriptor that comes back tells which
//! directory has a name now, and what was believed is put right.

mod again;
mod dirs;
mod events;
mod renames;
mod tree;
mod walk;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::inotify::{EventMask, Inotify, Watches};
use asof_journal::view::is_below;

use super::cover::Cover;
use super::{EventSource, Hint, HintSink, Next, SourceOptions, WatchError, What, limit_text};
use again::Postponed;
use renames::{Place, Renames};
use tree::{Tree, Wd};

/// Bytes read from the queue at a time: some 2,000 events.
const READ_BYTES: usize = 64 * 1024;
/// Events handled before the thread looks for commands again.
const PORTION: usize = 512;
/// Events that were read and wait while a large tree is walked; with more the kernel has to keep them, and may overflow.
/// About 64 bytes each.
const BACKLOG_MAX: usize = 1 << 18;
/// Watches added or removed before the queue is read again: removing one queues an event itself.
const STEPS_MAX: usize = 64;
/// How long the thread waits after events for more of them. Where a program makes thousands of files it would be woken
/// for each otherwise, and wake others: that took three times the processor time and the program's place on it.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a queue is when the system does not say.
const QUEUE_DEFAULT: usize = 16_384;

/// A root, by the descriptor of its watch.
#[derive(Debug)]
struct Top {
    /// Its mount and device; others are entered only where the rules say so.
    filesystem: (u64, u64),
    /// Whether what is below it is watched too: not with cookies.
    recursive: bool,
}

/// An event that was read and not handled yet.
#[derive(Debug)]
struct Queued {
    wd: Wd,
    mask: EventMask,
    cookie: u32,
    /// Empty where it is the directory itself.
    name: Box<[u8]>,
}

/// What a look into the kernel's queue gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// So many events.
    Some(usize),
    /// Nothing: the queue is empty.
    Empty,
    /// The backlog is full.
    Full,
}

/// The event source directly on inotify.
pub(crate) struct InotifySource {
    inotify: Inotify,
    watches: Watches,
    buffer: Vec<u8>,
    backlog: VecDeque<Queued>,
    /// The most events that the kernel's queue can hold.
    queue_max: usize,
    /// Steps since the queue was read last.
    steps: usize,
    tree: Tree,
    tops: HashMap<Wd, Top>,
    renames: Renames,
    /// Directories that could not be reached, because something above them has moved on.
    postponed: Vec<Postponed>,
    /// When they were tried last.
    retried: Instant,
    /// Places that directories have by what events told, and where the kernel was not asked.
    unsure: Vec<Place>,
    /// Directories that are open while what is in the backlog is handled; open ones keep a filesystem busy.
    open: VecDeque<(Wd, Arc<OwnedFd>)>,
    cover: Arc<Cover>,
    options: SourceOptions,
    sink: Box<dyn HintSink>,
    /// Whether the queue cannot be read any more.
    dead: bool,
}

impl std::fmt::Debug for InotifySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InotifySource").field("watches", &self.tree.len()).finish_non_exhaustive()
    }
}

impl InotifySource {
    /// Opens a queue; hints go to `sink` from the thread that owns the source.
    pub(crate) fn create(options: SourceOptions, sink: impl HintSink) -> Result<InotifySource, WatchError> {
        let inotify = Inotify::init().map_err(|source| match source.raw_os_error() {
            Some(libc::EMFILE) => WatchError::InstancesReached,
            _ => WatchError::Refused { path: "inotify".into(), source },
        })?;
        let watches = inotify.watches();
        Ok(InotifySource {
            inotify,
            watches,
            buffer: vec![0; READ_BYTES],
            backlog: VecDeque::new(),
            queue_max: queue_max(),
            steps: 0,
            tree: Tree::default(),
            tops: HashMap::new(),
            renames: Renames::default(),
            postponed: Vec::new(),
            unsure: Vec::new(),
            retried: Instant::now(),
            open: VecDeque::new(),
            cover: Arc::default(),
            options,
            sink: Box::new(sink),
            dead: false,
        })
    }

    fn alive(&self) -> Result<(), WatchError> {
        if self.dead { Err(WatchError::Stopped) } else { Ok(()) }
    }

    /// Reads one portion of the kernel's queue into the backlog.
    fn read(&mut self) -> Result<Read, WatchError> {
        self.alive()?;
        self.steps = 0;
        if self.backlog.len() >= BACKLOG_MAX {
            return Ok(Read::Full);
        }
        match self.inotify.read_events(&mut self.buffer) {
            Ok(events) => {
                let before = self.backlog.len();
                self.backlog.extend(events.map(|event| Queued {
                    wd: event.wd.get_watch_descriptor_id(),
                    mask: event.mask,
                    cookie: event.cookie,
                    name: event.name.map(OsStrExt::as_bytes).unwrap_or_default().into(),
                }));
                Ok(Read::Some(self.backlog.len() - before))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Empty),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Read::Some(0)),
            Err(error) => {
                tracing::error!(%error, "the event queue cannot be read");
                self.dead = true;
                Err(WatchError::Stopped)
            }
        }
    }

    /// Reads everything that is queued now: until the queue is empty, or as many events as it can hold were read.
    /// `handle`: make room in the backlog where that is full.
    fn read_all(&mut self, handle: bool) -> Result<(), WatchError> {
        let mut read = 0;
        while read <= self.queue_max {
            match self.read()? {
                Read::Some(events) => read += events,
                Read::Full if handle => self.handle_some(PORTION),
                Read::Empty | Read::Full => return Ok(()),
            }
        }
        Ok(())
    }

    /// A watch was added or removed: now and then the queue is read, so that it does not overflow.
    fn step(&mut self) {
        self.steps += 1;
        if self.steps >= STEPS_MAX {
            // Where it cannot be read any more the next command says so.
            let _ = self.read_all(false);
        }
    }

    fn handle_some(&mut self, max: usize) {
        for _ in 0..max {
            let Some(event) = self.backlog.pop_front() else { return };
            self.handle(event);
        }
    }

    fn hint(&mut self, path: Vec<u8>, what: What) {
        self.sink.hint(Hint { path, what });
    }

    fn is_left_out(&self, path: &[u8], dir: bool) -> bool {
        let is_cookie = self.options.cookies.as_ref().is_some_and(|cookies| is_below(path, cookies));
        !is_cookie && self.options.rules.leave_out(path, Some(dir))
    }

    /// Something cannot be watched, and nothing of it is seen.
    fn unseen(&mut self, path: Vec<u8>, error: &io::Error) {
        let limit = error.raw_os_error() == Some(libc::ENOSPC);
        let text = if limit { limit_text() } else { error.to_string() };
        self.hint(path, What::SourceError { text, limit });
    }

    /// Whether nothing was left for when the queue is empty.
    fn is_settled(&self) -> bool {
        self.postponed.is_empty() && self.unsure.is_empty() && self.tree.displaced().next().is_none()
    }
}

/// How many events a new queue can hold.
fn queue_max() -> usize {
    let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap_or_default();
    text.trim().parse().unwrap_or(QUEUE_DEFAULT)
}

impl EventSource for InotifySource {
    fn watch(&mut self, root: &Path) -> Result<(), WatchError> {
        self.alive()?;
        let watched = self.watch_tree(root);
        self.open.clear();
        watched
    }

    fn watch_cookies(&mut self, dir: &Path) -> Result<(), WatchError> {
        self.alive()?;
        self.watch_top(dir, false)
    }

    fn unwatch(&mut self, root: &Path) -> Result<(), WatchError> {
        self.alive()?;
        if let Some((wd, rest)) = self.locate(root)
            && rest.is_empty()
        {
            self.depart(wd);
        }
        Ok(())
    }

    fn apply_rules(&mut self) -> Result<(), WatchError> {
        self.alive()?;
        self.apply_rules_everywhere();
        self.open.clear();
        Ok(())
    }

    fn barrier(&mut self) -> Result<(), WatchError> {
        self.read_all(true)?;
        // What is queued from here on is nobody's who waits.
        let waiting = self.backlog.len();
        self.handle_some(waiting);
        self.alive()
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.inotify.as_fd())
    }

    fn handle_events(&mut self) -> Result<Next, WatchError> {
        let read = if self.backlog.is_empty() { self.read()? } else { Read::Full };
        self.handle_some(PORTION);
        self.alive()?;
        if !self.backlog.is_empty() {
            return Ok(Next::Now);
        }
        self.open.clear();
        if read != Read::Empty {
            return Ok(Next::After(PAUSE));
        }
        if self.is_settled() {
            return Ok(Next::Readable);
        }
        self.settle_places();
        self.retry_postponed();
        self.open.clear();
        Ok(Next::After(PAUSE))
    }

    fn cover(&self) -> Arc<Cover> {
        self.cover.clone()
    }
}

#[cfg(test)]
mod tests;

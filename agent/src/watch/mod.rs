//! Hints that something under a root may have changed, and the thread that owns where they come from.
//!
//! Owns the vocabulary of hints, the [`EventSource`] seam and the barrier. A hint is never the truth: what it names
//! has to be looked at. Does not look, does not wait for things to settle, does not list directories.
//!
//! The source is owned by a thread of its own and takes commands through a channel, because a source may take as
//! long as it likes (notify answers nothing while events keep coming), and its callers have deadlines. A source that
//! has no thread of its own to read events is given this one for that too.

mod cover;
mod inotify;
mod notify;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::rules::SharedRules;
pub(crate) use cover::{Cover, Uncovered};

/// Commands that wait for the watch thread; whoever sends one more waits for room.
const COMMANDS_MAX: usize = 1024;

/// How long the watch thread may take for what it is asked: a tree of millions of directories is watched in less.
const ASK_MAX: Duration = Duration::from_secs(120);
/// How often whoever waits for it looks whether it is still there.
const ASK_SLICE: Duration = Duration::from_secs(1);

/// Something that may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Absolute path that it concerns, as bytes; empty for [`What::Overflow`].
    pub path: Vec<u8>,
    /// What is said to have happened.
    pub what: What,
}

/// What is said to have happened at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A new name: created, or a hard link.
    Appeared {
        /// Whether it is a directory, with who knows what in it already.
        dir: bool,
    },
    /// Something was renamed to this path; it may be a directory.
    MovedTo {
        /// From where, when that was watched too.
        from: Option<Vec<u8>>,
    },
    /// Something was renamed away from this path; a root itself too.
    MovedFrom,
    /// The name was deleted; a root itself too.
    Gone,
    /// Content was written or cut.
    Written,
    /// A descriptor that could write was closed.
    Closed,
    /// Mode, owner, times, link count, attributes or ACLs changed.
    Attributes,
    /// The filesystem below the path was unmounted.
    Unmounted,
    /// Hints were lost, nobody knows which.
    Overflow,
    /// The source could not do something, and does not see what is at or below the path (everything, where that is
    /// empty).
    SourceError {
        /// What it said.
        text: String,
        /// Whether a limit of the system was reached, so that nothing new is watched until it is raised.
        limit: bool,
    },
}

impl What {
    /// Whether a name came or went, which changes the times of its directory.
    pub(crate) fn changes_names(&self) -> bool {
        matches!(self, What::Appeared { .. } | What::MovedTo { .. } | What::MovedFrom | What::Gone)
    }
}

/// Takes hints, on the source's thread.
pub(crate) trait HintSink: Send + 'static {
    /// Takes one hint; must neither block nor call the source.
    fn hint(&mut self, hint: Hint);
}

impl<F: FnMut(Hint) + Send + 'static> HintSink for F {
    fn hint(&mut self, hint: Hint) {
        self(hint);
    }
}

/// Why something is not watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The user's limit of watches is reached.
    #[error("{}: {}", path.display(), limit_text())]
    LimitReached {
        /// What could not be watched, with everything after it.
        path: PathBuf,
    },
    /// The user's limit of watching programs is reached.
    #[error("the limit of inotify instances is reached; raise it: sysctl fs.inotify.max_user_instances=1024")]
    InstancesReached,
    /// The path is not there.
    #[error("{}: not there", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot be watched: {source}", path.display())]
    Refused {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The source is dead: it panicked or was shut down.
    #[error("the event source has stopped")]
    Stopped,
}

/// What is said where the limit of watches is reached, with what helps.
fn limit_text() -> String {
    let now = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    let now: u64 = now.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(524_288);
    let more = now.saturating_mul(2);
    format!("the limit of inotify watches is reached; raise it: sysctl fs.inotify.max_user_watches={more}")
}

/// Which event source is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The one that suits.
    #[default]
    Auto,
    /// The notify crate.
    Notify,
    /// inotify itself.
    Inotify,
}

impl Backend {
    /// What configurations call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Backend::Auto => "auto",
            Backend::Notify => "notify",
            Backend::Inotify => "inotify",
        }
    }

    /// The one that configurations call so.
    pub(crate) fn named(name: &str) -> Option<Backend> {
        [Backend::Auto, Backend::Notify, Backend::Inotify].into_iter().find(|known| known.as_str() == name)
    }
}

/// Makes the event source that is asked for.
pub(crate) fn create(
    backend: Backend,
    options: SourceOptions,
    sink: impl HintSink,
) -> Result<Box<dyn EventSource>, WatchError> {
    match backend {
        Backend::Notify => Ok(Box::new(notify::NotifySource::create(options, sink)?)),
        Backend::Auto | Backend::Inotify => Ok(Box::new(inotify::InotifySource::create(options, sink)?)),
    }
}

/// What a source is made with.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceOptions {
    /// What is left out: events of it are dropped first thing.
    pub rules: Arc<SharedRules>,
    /// Absolute path whose events are let through all the same: the cookies of the journal.
    pub cookies: Option<Vec<u8>>,
}

/// When a source wants to handle events again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once, when the commands that wait are carried out.
    Now,
    /// When so much time has passed, whether events come or not.
    After(Duration),
    /// When [`EventSource::readable`] tells of events.
    Readable,
}

/// Where hints come from.
///
/// An implementation delivers to the [`HintSink`] it was made with. Its methods may take long; [`WatchHandle`] has the
/// deadlines.
pub(crate) trait EventSource: Send {
    /// Watches a directory with everything below it, now and in the future. Watching it again is no error.
    ///
    /// Errors below the root arrive as [`What::SourceError`] hints.
    fn watch(&mut self, root: &Path) -> Result<(), WatchError>;

    /// Watches the one directory in which cookies are left.
    fn watch_cookies(&mut self, dir: &Path) -> Result<(), WatchError>;

    /// Stops watching what was watched by that path. Not being watched is no error.
    fn unwatch(&mut self, root: &Path) -> Result<(), WatchError>;

    /// Returns when every event that the system had queued before the call was delivered, and the directories that
    /// those events named are watched.
    fn barrier(&mut self) -> Result<(), WatchError>;

    /// Stops watching what the rules leave out now, and watches what they no longer leave out. For a source that
    /// watches both anyway there is nothing to do.
    fn apply_rules(&mut self) -> Result<(), WatchError> {
        Ok(())
    }

    /// What tells that events wait, where the source has no thread of its own to read them.
    fn readable(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Handles a bounded portion of the events that wait, and says when it is to be called again.
    fn handle_events(&mut self) -> Result<Next, WatchError> {
        Ok(Next::Readable)
    }

    /// What listings can be spared; nothing, unless the source says so.
    fn cover(&self) -> Arc<Cover> {
        Arc::default()
    }
}

/// Says that a barrier was not reached in time, or that the source is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BarrierExpired {
    /// The time ran out; the source is busy.
    #[error("the event source did not answer in time")]
    Deadline,
    /// No barrier will ever be reached again: the source is dead.
    #[error("the event source has stopped")]
    Stopped,
}

enum Command {
    Watch(PathBuf, Sender<Result<(), WatchError>>),
    WatchCookies(PathBuf, Sender<Result<(), WatchError>>),
    Unwatch(PathBuf, Sender<Result<(), WatchError>>),
    ApplyRules(Sender<Result<(), WatchError>>),
    Barrier(Sender<Result<(), WatchError>>),
    Stop,
}

/// The way to the thread that owns the source; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct WatchHandle {
    link: Arc<RwLock<Link>>,
}

/// The thread that commands go to; another one where that has died.
#[derive(Clone, Debug)]
struct Link {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    cover: Arc<Cover>,
    /// The thread, once it runs.
    tid: Arc<AtomicI32>,
    /// How many wait for an answer.
    asked: Arc<AtomicUsize>,
}

/// The thread that owns the source; stops it when dropped, and waits for that only in [`WatchThread::stop`].
#[derive(Debug)]
pub(crate) struct WatchThread {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WatchThread {
    /// Gives a source a thread of its own.
    pub(crate) fn spawn(source: Box<dyn EventSource>) -> io::Result<(WatchThread, WatchHandle)> {
        let (commands, queue) = bounded(COMMANDS_MAX);
        let wake = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (cover, woken) = (source.cover(), wake.clone());
        let tid: Arc<AtomicI32> = Arc::default();
        let own = tid.clone();
        let thread = thread::Builder::new().name("asofd-watch".to_string()).spawn(move || {
            own.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
            serve(source, &queue, &woken);
        })?;
        let (commands_in, asked) = (commands.clone(), Arc::default());
        let link = Link { commands: commands_in, wake: wake.clone(), cover, tid, asked };
        let handle = WatchHandle { link: Arc::new(RwLock::new(link)) };
        Ok((WatchThread { commands, wake, thread: Some(thread) }, handle))
    }

    /// Stops the source and waits until it is gone, which may take as long as the source is busy.
    pub(crate) fn stop(mut self) {
        let _ = self.commands.send(Command::Stop);
        tell(&self.wake);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        let _ = self.commands.try_send(Command::Stop);
        tell(&self.wake);
    }
}

/// Tells the thread to look at its commands; a count that is at its limit tells the same.
fn tell(wake: &OwnedFd) {
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

impl WatchHandle {
    /// Watches a root; returns when everything below it is watched, however long that takes.
    pub(crate) fn watch(&self, root: &Path) -> Result<(), WatchError> {
        self.ask(|reply| Command::Watch(root.to_path_buf(), reply))
    }

    /// Watches the directory of the cookies.
    pub(crate) fn watch_cookies(&self, dir: &Path) -> Result<(), WatchError> {
        self.ask(|reply| Command::WatchCookies(dir.to_path_buf(), reply))
    }

    /// Stops watching a root.
    pub(crate) fn unwatch(&self, root: &Path) -> Result<(), WatchError> {
        self.ask(|reply| Command::Unwatch(root.to_path_buf(), reply))
    }

    /// Has the source watch by the rules that are in force now.
    pub(crate) fn apply_rules(&self) -> Result<(), WatchError> {
        self.ask(Command::ApplyRules)
    }

    /// What listings can be spared.
    pub(crate) fn cover(&self) -> Arc<Cover> {
        self.link().cover
    }

    /// Has commands go to another thread from now on; all clones follow.
    pub(crate) fn replace(&self, by: &WatchHandle) {
        let link = by.link();
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Whether the thread is gone, however it went.
    pub(crate) fn has_ended(&self) -> bool {
        let tid = self.link().tid.load(Ordering::Relaxed);
        tid != 0 && !Path::new("/proc/self/task").join(tid.to_string()).exists()
    }

    /// Whether somebody waits for the thread to do something that may take long.
    pub(crate) fn is_asked(&self) -> bool {
        self.link().asked.load(Ordering::Relaxed) > 0
    }

    fn link(&self) -> Link {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until everything queued in the source before the call is delivered and its watches are added.
    #[cfg(test)]
    pub(crate) fn barrier(&self, deadline: Duration) -> Result<(), BarrierExpired> {
        self.begin_barrier()?.wait(deadline)
    }

    /// Begins a barrier without waiting for it.
    pub(crate) fn begin_barrier(&self) -> Result<PendingBarrier, BarrierExpired> {
        let (reply, answer) = bounded(1);
        // A full queue means that a thousand callers wait already: the deadline of this one would pass too.
        let link = self.link();
        match link.commands.try_send(Command::Barrier(reply)) {
            Ok(()) => {
                tell(&link.wake);
                Ok(PendingBarrier { answer })
            }
            Err(error) if error.is_full() => Err(BarrierExpired::Deadline),
            Err(_) => Err(BarrierExpired::Stopped),
        }
    }

    /// Waits for an answer: as long as that takes, but not for a thread that is gone, was replaced, or does not answer
    /// at all.
    fn ask(&self, command: impl FnOnce(Sender<Result<(), WatchError>>) -> Command) -> Result<(), WatchError> {
        let (reply, answer) = bounded(1);
        let link = self.link();
        link.commands.send(command(reply)).map_err(|_| WatchError::Stopped)?;
        tell(&link.wake);
        link.asked.fetch_add(1, Ordering::Relaxed);
        let mut waited = Duration::ZERO;
        let answered = loop {
            match answer.recv_timeout(ASK_SLICE) {
                Ok(answered) => break answered,
                Err(RecvTimeoutError::Disconnected) => break Err(WatchError::Stopped),
                Err(RecvTimeoutError::Timeout) => waited += ASK_SLICE,
            }
            let replaced = !Arc::ptr_eq(&self.link().asked, &link.asked);
            if replaced || self.has_ended() || waited >= ASK_MAX {
                break Err(WatchError::Stopped);
            }
        };
        link.asked.fetch_sub(1, Ordering::Relaxed);
        answered
    }
}

/// A barrier under way; may be given up by dropping it.
#[derive(Debug)]
pub(crate) struct PendingBarrier {
    answer: Receiver<Result<(), WatchError>>,
}

impl PendingBarrier {
    /// Waits for it at most that long; may be called again after [`BarrierExpired::Deadline`].
    pub(crate) fn wait(&self, deadline: Duration) -> Result<(), BarrierExpired> {
        match self.answer.recv_timeout(deadline) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(BarrierExpired::Stopped),
            Err(RecvTimeoutError::Timeout) => Err(BarrierExpired::Deadline),
        }
    }
}

/// Carries commands out, and reads events where the source needs that, until told to stop or until nobody can send any
/// more.
fn serve(mut source: Box<dyn EventSource>, queue: &Receiver<Command>, wake: &OwnedFd) {
    let mut next = Next::Readable;
    loop {
        if let Err(error) = wait(&*source, wake, next) {
            tracing::error!(%error, "the event source cannot be waited for");
            return;
        }
        if !carry_out(&mut *source, queue) {
            return;
        }
        next = match source.handle_events() {
            Ok(next) => next,
            Err(_) => return, // it has said why; whoever asks for anything is told that it has stopped
        };
    }
}

/// Waits until there is a command, or it is time for events.
fn wait(source: &dyn EventSource, wake: &OwnedFd, next: Next) -> io::Result<()> {
    let mut waiting = vec![PollFd::new(wake, PollFlags::IN)];
    let timeout = match next {
        Next::Now => Some(Duration::ZERO),
        Next::After(pause) => Some(pause),
        Next::Readable => {
            waiting.extend(source.readable().map(|events| PollFd::from_borrowed_fd(events, PollFlags::IN)));
            None
        }
    };
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    match rustix::event::poll(&mut waiting, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if waiting.first().is_some_and(|wake| !wake.revents().is_empty()) {
        // Before commands are taken: one that comes now is told of anew.
        let mut count = [0; 8];
        let _ = rustix::io::read(wake.as_fd(), &mut count);
    }
    Ok(())
}

/// Carries out the commands that wait; says whether more may come.
fn carry_out(source: &mut dyn EventSource, queue: &Receiver<Command>) -> bool {
    // Barriers that wait already share one: each began before it.
    let mut barriers = Vec::new();
    loop {
        match queue.try_recv() {
            Ok(Command::Watch(root, reply)) => drop(reply.send(source.watch(&root))),
            Ok(Command::WatchCookies(dir, reply)) => drop(reply.send(source.watch_cookies(&dir))),
            Ok(Command::Unwatch(root, reply)) => drop(reply.send(source.unwatch(&root))),
            Ok(Command::ApplyRules(reply)) => drop(reply.send(source.apply_rules())),
            Ok(Command::Barrier(reply)) => barriers.push(reply),
            Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
            Err(TryRecvError::Empty) => break,
        }
    }
    if !barriers.is_empty() {
        let reached = source.barrier().is_ok();
        for reply in barriers {
            let _ = reply.send(if reached { Ok(()) } else { Err(WatchError::Stopped) });
        }
    }
    true
}

#[cfg(test)]
mod tests;

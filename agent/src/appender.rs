//! The appender thread: takes submissions, commits them in groups, tells what is durable.
//!
//! Owns the one writer of the journal. A commit that fails is tried again with everything that it held: nothing
//! submitted is lost while the process lives. Whoever submits more waits; but where there is no room, everything that is
//! still on its way is taken in, so that nobody waits for a disk to be emptied. [`Room`] sees to it that it is little.

mod usage;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use asof_journal::Error;
use asof_journal::append::Appender;
use asof_journal::head::{Head, Sink, Submission};
use asof_journal::types::Instant;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock::Clock;
use crate::room::{Lack, Room};
use usage::Usage;

/// Submissions that wait for the appender; each holds a pack and 1 MiB of blocks at most, and mostly far less.
const QUEUE_MAX: usize = 16;
/// A group commit is written when it holds this much.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// How long a failed commit waits before it is tried again, and how often room is looked for where there is none.
const RETRY: Duration = Duration::from_secs(2);

/// The running thread.
pub(crate) struct AppendThread {
    thread: thread::JoinHandle<Appender>,
    head: Arc<Head>,
    /// Whether a commit that fails is the last one.
    ending: Arc<AtomicBool>,
}

/// Why the last commit failed; `None` once one succeeded. Shared, because the appender never waits for the loop, which
/// may be waiting for it.
pub(crate) type Failure = Arc<Mutex<Option<String>>>;

/// The wall clock of the oldest hint that was not captured yet, for the batches to carry; 0 stands for none.
pub(crate) type OldestHint = Arc<AtomicI64>;

impl AppendThread {
    /// Starts it and connects the journal's head to it.
    pub(crate) fn spawn(
        appender: Appender,
        head: Arc<Head>,
        clock: Arc<dyn Clock>,
        oldest: OldestHint,
        (journal, room): (PathBuf, Arc<Room>),
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<(AppendThread, Failure)> {
        let (sender, queue): (Sender<Submission>, Receiver<Submission>) = bounded(QUEUE_MAX);
        let sink: Sink = Box::new(move |submission| sender.send(submission).map_err(|_| ()));
        head.connect(Some(sink));
        let failure = Failure::default();
        let told = failure.clone();
        let ending = Arc::<AtomicBool>::default();
        let server = Server {
            appender,
            queue,
            ending: ending.clone(),
            waiting: VecDeque::new(),
            clock,
            oldest,
            failure: told,
            room,
            usage: Usage::new(journal),
            looked_ns: 0,
            everybody_has_gone: false,
            wake,
        };
        let thread = thread::Builder::new().name("asofd-append".to_string()).spawn(move || server.serve())?;
        Ok((AppendThread { thread, head, ending }, failure))
    }

    /// Refuses further submissions, lets the rest be committed, and gives the appender back.
    pub(crate) fn stop(self) -> Option<Appender> {
        self.ending.store(true, Ordering::Relaxed);
        self.head.connect(None);
        self.thread.join().ok()
    }
}

struct Server<W> {
    appender: Appender,
    queue: Receiver<Submission>,
    ending: Arc<AtomicBool>,
    /// What came while there was no room.
    waiting: VecDeque<Submission>,
    clock: Arc<dyn Clock>,
    oldest: OldestHint,
    failure: Failure,
    room: Arc<Room>,
    usage: Usage,
    looked_ns: u64,
    everybody_has_gone: bool,
    wake: W,
}

impl<W: Fn()> Server<W> {
    fn serve(mut self) -> Appender {
        self.look_for_room();
        while let Some(first) = self.next() {
            let mut next = Some(first);
            // A mark ends its batch: its `Seq` and the batch's instant mean the same state.
            let mut closed = false;
            while let Some(submission) = next.take() {
                closed = submission.is_barrier();
                self.appender.stage(submission);
                if !closed && self.appender.staged_bytes() < COMMIT_BYTES_MAX {
                    next = self.waiting.pop_front().or_else(|| self.queue.try_recv().ok());
                }
            }
            self.commit(closed);
        }
        self.say_last_words();
        self.appender
    }

    /// What is to be staged next; `None` once everybody has gone. Looks for room meanwhile, where there is none.
    fn next(&mut self) -> Option<Submission> {
        while !self.everybody_has_gone {
            if let Some(submission) = self.waiting.pop_front() {
                return Some(submission);
            }
            let received = match self.room.lack() {
                None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => {
                    self.look_for_room_again();
                    self.queue.recv_timeout(RETRY)
                }
            };
            match received {
                Ok(submission) => return Some(submission),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// Commits what is staged, however often that takes, unless everybody has gone.
    fn commit(&mut self, mut closed: bool) {
        loop {
            let hint = Some(self.oldest.load(Ordering::Relaxed)).filter(|&ns| ns != 0).map(Instant);
            let bytes = self.appender.staged_bytes() as u64;
            let failed = self.appender.commit(&self.clock.now(), hint).err();
            let is_full = matches!(failed, Some(Error::Full { .. }));
            let text = failed.as_ref().filter(|_| !is_full).map(ToString::to_string);
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = text;
            let Some(error) = failed else {
                self.usage.add(bytes);
                if self.room.lack().is_none() {
                    self.look_for_room();
                }
                (self.wake)();
                return;
            };
            if is_full {
                self.room.tell(Some(Lack::Disk));
                (self.wake)();
                if !self.take_in_everything() {
                    return;
                }
                self.look_for_room_again();
                continue;
            }
            (self.wake)();
            if self.ending.load(Ordering::Relaxed) {
                // Whoever closes the appender tries once more.
                return;
            }
            tracing::error!(%error, "a commit failed; it is tried again, and nothing is lost meanwhile");
            // What else is submitted joins the next try while there is room for it.
            if closed || !self.waiting.is_empty() || self.appender.staged_bytes() >= COMMIT_BYTES_MAX {
                thread::park_timeout(RETRY);
                continue;
            }
            match self.queue.recv_timeout(RETRY) {
                Ok(submission) => {
                    closed = submission.is_barrier();
                    self.appender.stage(submission);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Waits for the next try, and lets nobody else wait. Gives `false` where everybody has gone.
    fn take_in_everything(&mut self) -> bool {
        let until = std::time::Instant::now() + RETRY;
        loop {
            match self.queue.recv_deadline(until) {
                Ok(submission) => self.waiting.push_back(submission),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => {
                    self.everybody_has_gone = true;
                    return false;
                }
            }
        }
    }

    /// The same as [`Server::look_for_room`], but not all the time.
    fn look_for_room_again(&mut self) {
        let now_ns = self.clock.monotonic_ns();
        if now_ns.saturating_sub(self.looked_ns) >= RETRY.as_nanos() as u64 {
            self.looked_ns = now_ns;
            self.look_for_room();
        }
    }

    /// Finds out whether there is room, and tells.
    fn look_for_room(&mut self) {
        let is_over = matches!(self.room.lack(), Some(Lack::Quota(_)));
        let lack = match (self.appender.look_for_room(), self.room.bytes_max()) {
            (false, _) => Some(Lack::Disk),
            (true, Some(most)) if self.usage.is_over(most, is_over) => Some(Lack::Quota(most)),
            (true, _) => None,
        };
        if self.room.tell(lack) {
            (self.wake)();
        }
    }

    /// At the end, with no room to the last: what is not durable was acknowledged to nobody and is given up, but for the
    /// gaps, which say so.
    fn say_last_words(&mut self) {
        if !self.everybody_has_gone {
            return;
        }
        let gaps = self.waiting.drain(..).flat_map(|submission| submission.gaps()).collect();
        match self.appender.last_words(&self.clock.now(), gaps) {
            Ok(_) => {
                tracing::warn!("the journal had no room for everything: what was not durable is given up")
            }
            // The next start does: it knows through when everything was covered.
            Err(error) => tracing::warn!(%error, "the journal had no room even for the gap"),
        }
    }
}

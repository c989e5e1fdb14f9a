//! The appender thread: takes submissions, commits them in groups, tells what is durable.
//!
//! Owns the one writer of the journal. A commit that fails is tried again with everything that it held: nothing
//! submitted is lost while the process lives, and whoever submits more waits.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use asof_journal::append::Appender;
use asof_journal::head::{Head, Sink, Submission};
use asof_journal::types::Instant;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock::Clock;

/// Submissions that wait for the appender; each holds at most about one pack.
const QUEUE_MAX: usize = 64;
/// A group commit is written when it holds this much.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// How long a failed commit waits before it is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The running thread.
pub(crate) struct AppendThread {
    thread: thread::JoinHandle<Appender>,
    head: Arc<Head>,
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
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<(AppendThread, Failure)> {
        let (sender, queue): (Sender<Submission>, Receiver<Submission>) = bounded(QUEUE_MAX);
        let sink: Sink = Box::new(move |submission| sender.send(submission).map_err(|_| ()));
        head.connect(Some(sink));
        let failure = Failure::default();
        let told = failure.clone();
        let thread = thread::Builder::new()
            .name("asofd-append".to_string())
            .spawn(move || Server { appender, queue, clock, oldest, failure: told, wake }.serve())?;
        Ok((AppendThread { thread, head }, failure))
    }

    /// Refuses further submissions, lets the rest be committed, and gives the appender back.
    pub(crate) fn stop(self) -> Option<Appender> {
        self.head.connect(None);
        self.thread.join().ok()
    }
}

struct Server<W> {
    appender: Appender,
    queue: Receiver<Submission>,
    clock: Arc<dyn Clock>,
    oldest: OldestHint,
    failure: Failure,
    wake: W,
}

impl<W: Fn()> Server<W> {
    fn serve(mut self) -> Appender {
        while let Ok(first) = self.queue.recv() {
            let mut next = Some(first);
            // A mark ends its batch: its `Seq` and the batch's instant mean the same state.
            let mut closed = false;
            while let Some(submission) = next.take() {
                closed = submission.is_barrier();
                self.appender.stage(submission);
                if !closed && self.appender.staged_bytes() < COMMIT_BYTES_MAX {
                    next = self.queue.try_recv().ok();
                }
            }
            self.commit(closed);
        }
        self.appender
    }

    /// Commits what is staged, however often that takes, unless everybody has gone.
    fn commit(&mut self, mut closed: bool) {
        loop {
            let hint = Some(self.oldest.load(Ordering::Relaxed)).filter(|&ns| ns != 0).map(Instant);
            let failed = self.appender.commit(&self.clock.now(), hint).err();
            let text = failed.as_ref().map(ToString::to_string);
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = text;
            (self.wake)();
            let Some(error) = failed else { return };
            tracing::error!(%error, "a commit failed; it is tried again, and nothing is lost meanwhile");
            // What else is submitted joins the next try while there is room for it.
            if closed || self.appender.staged_bytes() >= COMMIT_BYTES_MAX {
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
}

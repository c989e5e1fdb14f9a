//! The appender thread: takes submissions, commits them in groups, tells what is durable.
//!
//! Owns the one writer of the journal. A commit that fails is tried again with everything that it held: nothing
//! submitted is lost while the process lives, and whoever submits more waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::Duration;

use asof_journal::append::{Appender, Mark};
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

/// What the appender tells.
#[derive(Debug)]
pub(crate) enum Appended {
    /// Everything up to the mark survives a power cut.
    Durable(Mark),
    /// A commit failed and will be tried again; what the system said.
    Failed(String),
}

/// The running thread.
pub(crate) struct AppendThread {
    thread: thread::JoinHandle<Appender>,
    head: Arc<Head>,
}

/// The wall clock of the oldest hint that was not captured yet, for the batches to carry; 0 stands for none.
pub(crate) type OldestHint = Arc<AtomicI64>;

impl AppendThread {
    /// Starts it and connects the journal's head to it.
    pub(crate) fn spawn(
        appender: Appender,
        head: Arc<Head>,
        clock: Arc<dyn Clock>,
        oldest: OldestHint,
        tell: impl Fn(Appended) + Send + 'static,
    ) -> std::io::Result<AppendThread> {
        let (sender, queue): (Sender<Submission>, Receiver<Submission>) = bounded(QUEUE_MAX);
        let sink: Sink = Box::new(move |submission| sender.send(submission).map_err(|_| ()));
        head.connect(Some(sink));
        let thread = thread::Builder::new()
            .name("asofd-append".to_string())
            .spawn(move || serve(appender, &queue, &*clock, &oldest, &tell))?;
        Ok(AppendThread { thread, head })
    }

    /// Refuses further submissions, lets the rest be committed, and gives the appender back.
    pub(crate) fn stop(self) -> Option<Appender> {
        self.head.connect(None);
        self.thread.join().ok()
    }
}

fn serve(
    mut appender: Appender,
    queue: &Receiver<Submission>,
    clock: &dyn Clock,
    oldest: &AtomicI64,
    tell: &dyn Fn(Appended),
) -> Appender {
    while let Ok(first) = queue.recv() {
        let mut next = Some(first);
        while let Some(submission) = next.take() {
            let barrier = submission.is_barrier();
            appender.stage(submission);
            if !barrier && appender.staged_bytes() < COMMIT_BYTES_MAX {
                next = queue.try_recv().ok();
            }
        }
        commit(&mut appender, queue, clock, oldest, tell);
    }
    appender
}

/// Commits what is staged, however often that takes, unless everybody has gone.
fn commit(
    appender: &mut Appender,
    queue: &Receiver<Submission>,
    clock: &dyn Clock,
    oldest: &AtomicI64,
    tell: &dyn Fn(Appended),
) {
    loop {
        let hint = Some(oldest.load(Ordering::Relaxed)).filter(|&ns| ns != 0).map(Instant);
        match appender.commit(&clock.now(), hint) {
            Ok(Some(mark)) => return tell(Appended::Durable(mark)),
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "a commit failed; it is tried again, and nothing is lost meanwhile");
                tell(Appended::Failed(error.to_string()));
            }
        }
        // What else is submitted joins the next try while there is room for it.
        if appender.staged_bytes() < COMMIT_BYTES_MAX {
            match queue.recv_timeout(RETRY) {
                Ok(submission) => appender.stage(submission),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        } else {
            thread::park_timeout(RETRY);
        }
    }
}

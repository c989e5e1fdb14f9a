//! `sync`, and the marks of the agent's own: a cookie through the watcher's queue, then what is dirty, then a mark.
//!
//! A `sync` never scans what no hint named: when the cookie comes back, every hint before it has come too.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use asof_journal::control::Answer;
use asof_journal::types::{Instant, Mark, MarkCause, Op};

use super::{Agent, Reconcile};
use crate::control::ControlRequest;
use crate::health::Trouble;
use crate::settle::Scan;

/// How long a cookie may take to come back before it is written again.
const COOKIE_RETRY_NS: u64 = 10_000_000_000;
/// How long looks that have to be repeated are waited for: what something else takes the name of each time has no end.
const REPEATED_NS: u64 = 2_000_000_000;

/// A `sync`, or a mark of the agent's own, on its way.
pub(super) struct PendingSync {
    pub(super) cookie: Vec<u8>,
    /// When it was written: everything before is covered once it is done.
    pub(super) written: Instant,
    pub(super) written_ns: u64,
    /// Number of the hint that it came back as.
    pub(super) came_back: Option<u64>,
    /// When that was.
    pub(super) came_back_ns: u64,
    pub(super) deadline_ns: Option<u64>,
    pub(super) cause: MarkCause,
    /// What is noted with the mark.
    pub(super) note: Option<Op>,
    pub(super) reply: Option<ControlRequest>,
}

impl Agent {
    /// Writes a cookie: when its event comes back, everything before it has come too.
    pub(super) fn begin_sync(
        &mut self,
        cause: MarkCause,
        note: Option<Op>,
        timeout_ns: Option<u64>,
        reply: Option<ControlRequest>,
    ) {
        let now_ns = self.clock.monotonic_ns();
        let mut sync = PendingSync {
            cookie: Vec::new(),
            written: self.clock.now().wall,
            written_ns: now_ns,
            came_back: None,
            came_back_ns: 0,
            deadline_ns: timeout_ns.map(|timeout_ns| now_ns.saturating_add(timeout_ns)),
            cause,
            note,
            reply,
        };
        self.write_cookie(&mut sync);
        self.syncs.push(sync);
    }

    fn write_cookie(&mut self, sync: &mut PendingSync) {
        self.cookies += 1;
        sync.cookie = format!("sync-{}-{}", std::process::id(), self.cookies).into_bytes();
        sync.written_ns = self.clock.monotonic_ns();
        let path = self.layout.cookies().join(std::ffi::OsStr::from_bytes(&sync.cookie));
        match std::fs::File::create(&path).and_then(|cookie| cookie.metadata()) {
            Ok(metadata) => {
                // By the kernel's own clock for change times, which is a tick behind: a change from now on has a
                // change time that is not before this one.
                let stamp =
                    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec());
                sync.written = sync.written.min(Instant(stamp));
                // The event is queued; the name is not needed any more.
                let _ = std::fs::remove_file(&path);
            }
            Err(error) => self.trouble(Trouble::Journal(format!("{}: {error}", path.display()))),
        }
    }

    /// Moves every `sync` on: from cookie to drained, from drained to a mark.
    pub(super) fn advance_syncs(&mut self) {
        let now_ns = self.clock.monotonic_ns();
        let mut waiting = Vec::new();
        for mut sync in std::mem::take(&mut self.syncs) {
            let mut state = self.dirty.lock();
            // What came before the cookie is known to the loop first.
            if sync.came_back.is_none()
                && !state.has_more_beside()
                && let Some(no) = state.cookies.remove(&sync.cookie)
            {
                let repeated = self.repeated.filter(|(at_ns, _)| *at_ns >= sync.written_ns);
                let no = repeated.map_or(no, |(_, repeated)| no.max(repeated));
                sync.came_back = Some(no);
                sync.came_back_ns = now_ns;
                // Nothing tells of changes there: it is looked at for whoever asks.
                for path in self.health.unwatched().filter(|_| sync.reply.is_some()) {
                    state.settle.scan(now_ns, path, Scan::Recursive, no);
                }
                state.settle.hasten(no);
            }
            let drained = sync.came_back.is_some_and(|no| state.settle.drained_through(no));
            drop(state);
            let compared =
                matches!(self.reconcile, Reconcile::Done | Reconcile::Submitted(..)) && self.is_configured();
            let given_up = sync.reply.as_ref().is_some_and(|request| request.reply.is_closed());
            if drained && compared {
                // Nothing is covered in a root that is not the one that is watched.
                self.look_at_roots();
            }
            let seen = !self.health.has(|known| *known == Trouble::Stalled);
            if drained && compared && seen && !self.is_a_root_missing() {
                self.mark(sync);
            } else if given_up {
                // Nobody waits for the answer any more.
            } else if sync.deadline_ns.is_some_and(|deadline_ns| now_ns >= deadline_ns) {
                self.time_out(sync);
            } else {
                if sync.came_back.is_none() && now_ns.saturating_sub(sync.written_ns) > COOKIE_RETRY_NS {
                    self.write_cookie(&mut sync);
                }
                waiting.push(sync);
            }
        }
        self.syncs.append(&mut waiting);
        if self.syncs.is_empty() {
            // Cookies of those who gave up.
            self.dirty.lock().cookies.clear();
        }
    }

    /// A look at something that was asked for before is to be repeated, and got a number of its own.
    pub(super) fn wait_for_repeated(&mut self, now_ns: u64, no: u64) {
        // A cookie may have come back that nobody has looked at yet.
        self.repeated = Some((now_ns, no));
        let comparing = matches!(self.reconcile, Reconcile::Wanted(_) | Reconcile::Running(..));
        let compared_ns = self.compared_ns;
        let waits = |sync: &&mut PendingSync| {
            comparing || now_ns.saturating_sub(sync.came_back_ns.max(compared_ns)) < REPEATED_NS
        };
        for sync in self.syncs.iter_mut().filter(|sync| sync.came_back.is_some()).filter(waits) {
            sync.came_back = Some(no);
        }
    }

    fn mark(&mut self, sync: PendingSync) {
        // What it was when it was asked for may have changed.
        if let Some(why) = sync.note.as_ref().and_then(|note| self.objection(note)) {
            return self.fail(sync, why, false);
        }
        let mark = Op::Mark(Mark { covered_through: sync.written, cause: sync.cause });
        match self.submit(sync.note.iter().cloned().chain([mark]).collect()) {
            Some(seq) => self.marks.push_back((seq, sync)),
            None => self.fail(sync, "the journal cannot be written; see the log of asofd".to_string(), false),
        }
    }

    fn time_out(&mut self, sync: PendingSync) {
        let pending = self.dirty.lock().settle.pending();
        let error = match (sync.came_back, &self.reconcile) {
            (_, Reconcile::Wanted(_) | Reconcile::Running(..)) => {
                "not done in time: everything under the roots is being compared; try again with a longer --timeout"
                    .to_string()
            }
            (None, _) => "not done in time: the event source did not give the cookie back".to_string(),
            (Some(_), _) => format!("not done in time: {pending} changes are still being captured"),
        };
        self.fail(sync, error, true);
    }

    fn fail(&mut self, sync: PendingSync, error: String, timed_out: bool) {
        if let Some(request) = sync.reply {
            let _ = request.reply.send(Answer::Failed { error, timed_out });
        }
    }
}

/// Cookies of an agent that did not get to remove them.
pub(super) fn remove_cookies(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
}

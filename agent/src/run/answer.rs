//! Requests from outside: what the agent says of itself, and `sync`.

use asof_journal::control::{Answer, Request, Status};
use asof_journal::types::MarkCause;

use super::{Agent, Reconcile};
use crate::control::ControlRequest;
use crate::status;

impl Agent {
    pub(super) fn request(&mut self, request: ControlRequest) {
        match request.request {
            Request::Status => {
                let answer = self.status();
                let _ = request.reply.send(Answer::Status(Box::new(answer)));
            }
            Request::Sync { .. } if self.room.lack().is_some() => self.refuse_sync(request),
            Request::Sync { timeout_ms } => {
                let timeout_ns = (timeout_ms > 0).then(|| timeout_ms.saturating_mul(1_000_000));
                self.begin_sync(MarkCause::Sync, timeout_ns, Some(request));
            }
        }
    }

    fn status(&self) -> Status {
        let now_ns = self.clock.monotonic_ns();
        let state = self.dirty.lock();
        let pending = state.settle.pending() as u64;
        let oldest = state.settle.oldest_pending();
        let stretched =
            state.settle.stretched(now_ns).map(|(path, _)| String::from_utf8_lossy(path).into_owned());
        let stretched = stretched.collect();
        drop(state);
        status::Facts {
            config: &self.config,
            layout: &self.layout,
            head: &self.head,
            tally: &self.tally,
            hints: self.dirty.hints(),
            durable: self.durable,
            pending,
            lag_ms: oldest.map_or(0, |(_, first_ns)| now_ns.saturating_sub(first_ns) / 1_000_000),
            gaps: self.gaps_before,
            started: self.started,
            comparing: !matches!(self.reconcile, Reconcile::Done),
            health: &self.health,
            stretched,
            rpo: self.delays.summary(now_ns),
            scrub: self.scrub.progress(),
            checked_bytes: self.scrub.checked(),
        }
        .status()
    }
}

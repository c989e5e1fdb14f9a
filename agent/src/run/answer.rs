//! Requests from outside: what the agent says of itself, `sync`, and notes that come with one.

use std::sync::PoisonError;

use asof_journal::compact::Eagerness;
use asof_journal::control::{Answer, Forget, PathBytes, Request, RestoreBegin, Runaway, Status};
use asof_journal::forget::Order;
use asof_journal::retention::runaway::Runaway as Over;
use asof_journal::types::{MarkCause, Seq, is_plain_path};

use super::{Agent, Reconcile};
use crate::config;
use crate::control::ControlRequest;
use crate::retain::Retainer;
use crate::status;

/// Runaways that a status names.
const RUNAWAYS_MAX: usize = 16;

impl Agent {
    pub(super) fn request(&mut self, request: ControlRequest) {
        match request.request {
            Request::Status => {
                let answer = self.status();
                let _ = request.reply.send(Answer::Status(Box::new(answer)));
            }
            Request::Configuration => {
                let text = config::keys(&self.config);
                let _ = request.reply.send(Answer::Configuration { text });
            }
            Request::Retain { all } => {
                let eagerness = if all { Eagerness::Anything } else { Eagerness::WorthIt };
                self.retain(request, |retainer, request| retainer.ask(eagerness, request));
            }
            Request::Forget(ref forget) => {
                let order = order_of(forget);
                self.retain(request, |retainer, request| retainer.ask_to_forget(order, request));
            }
            Request::Sync { timeout_ms }
            | Request::Hold { timeout_ms, .. }
            | Request::Release { timeout_ms, .. }
            | Request::Mark { timeout_ms, .. }
            | Request::RestoreBegin(RestoreBegin { timeout_ms, .. })
            | Request::RestoreEnd { timeout_ms, .. } => self.sync_for(request, timeout_ms),
        }
    }

    /// Has the retention policy applied, or something forgotten, now.
    fn retain(
        &mut self,
        request: ControlRequest,
        ask: impl FnOnce(&mut Retainer, ControlRequest) -> Result<(), ControlRequest>,
    ) {
        let refused = if self.stopping.is_some() {
            Some((request, "asofd is stopping"))
        } else if self.head.index_failed() {
            Some((
                request,
                "the index of the journal refused a write; asofd opens it anew within minutes, try again then",
            ))
        } else {
            let queued = ask(&mut self.retainer, request);
            queued.err().map(|request| (request, "others wait for the same already; try again later"))
        };
        match refused {
            Some((request, why)) => {
                let error = format!("not done: {why}");
                let _ = request.reply.send(Answer::Failed { error, timed_out: false });
            }
            None => self.retain_on(self.clock.monotonic_ns(), self.room.lack().is_none()),
        }
    }

    fn sync_for(&mut self, request: ControlRequest, timeout_ms: u64) {
        if self.room.lack().is_some() {
            return self.refuse_sync(request);
        }
        let timeout_ns = (timeout_ms > 0).then(|| timeout_ms.saturating_mul(1_000_000));
        match self.note_of(&request.request) {
            Ok(note) => self.begin_sync(MarkCause::Sync, note, timeout_ns, Some(request)),
            Err(error) => drop(request.reply.send(Answer::Failed { error, timed_out: false })),
        }
    }

    /// What eats more than its budget, with what can be done about it.
    fn runaways(&self, now_ns: u64) -> Vec<Runaway> {
        let Some(budget) = self.config.retention.budget_per_day else { return Vec::new() };
        let mut churn = self.tally.churn.lock().unwrap_or_else(PoisonError::into_inner);
        let over = churn.over(budget, now_ns);
        let told = over.iter().take(RUNAWAYS_MAX);
        let proposals = |one: &Over| one.proposals().map(Vec::from).unwrap_or_default();
        told.map(|one| Runaway::new(&one.path, one.bytes, proposals(one))).collect()
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
            runaways: self.runaways(now_ns),
            rpo: self.delays.summary(now_ns),
            retention: self.retainer.status(self.clock.now().wall),
            scrub: self.scrub.progress(),
            checked_bytes: self.scrub.checked(),
        }
        .status()
    }
}

/// What is to be forgotten; `None` where only what was begun is to be gone on with.
fn order_of(forget: &Forget) -> Option<Order> {
    let paths = forget.paths.iter().filter(|path| is_plain_path(&path.0));
    let paths: Vec<Vec<u8>> = paths.map(|PathBytes(path)| path.clone()).collect();
    let Forget { before, by, record_names, .. } = *forget;
    (!paths.is_empty()).then_some(Order { paths, before: before.map(Seq), by, record_names })
}

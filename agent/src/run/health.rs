//! The loop and what is wrong: conditions begin and end, the journal and the state say so, and what nothing tells of
//! is looked at from time to time.

use std::sync::PoisonError;

use asof_journal::Error;
use asof_journal::types::{Gap, GapReason, Instant, Op};

use super::{Agent, Reconcile, TICK_NS, Why};
use crate::health::{Missing, Trouble};
use crate::retain::Leisure;
use crate::scrub::Scrubbed;
use crate::settle::Scan;
use crate::status;
use crate::watch::Backend;

/// A process that did not run for so long was stopped; less is an ordinary machine under load.
const STOPPED_NS: u64 = 5_000_000_000;

/// Ticks without a hint, while a cookie is awaited, after which the source counts as dead; a tick is about a second.
const SILENT_TICKS_MAX: u32 = 15;

impl Why {
    /// The gaps that it is until then.
    fn gaps(&self, until: Instant) -> Vec<Op> {
        let Some(reason) = self.reason else { return Vec::new() };
        let gap = |scope: &Vec<u8>| {
            let (scope, from, detail) = (scope.clone(), self.since, self.detail.clone());
            Op::Gap(Gap { scope, from, until, reason, detail })
        };
        self.scopes.iter().map(gap).collect()
    }
}

impl Agent {
    /// Notes that something is wrong; the journal gets an open gap where changes may be missed meanwhile.
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        let (now, now_ns) = (self.clock.now().wall, self.clock.monotonic_ns());
        let words = trouble.words();
        let polled = match &trouble {
            Trouble::Unwatched(path, _) => Some(path.clone()),
            _ => None,
        };
        let since = match trouble {
            // It is noticed some time after it happened.
            Trouble::RootMissing(..) | Trouble::Hidden(..) => self.unseen(GapReason::RootMissing).since,
            Trouble::Full(_, since) => since,
            _ => now,
        };
        let known = self.health.has(|known| known.is_same(&trouble));
        let is_wrong = trouble.degrades() || matches!(trouble, Trouble::Configuration(_));
        let Some(ops) = self.health.begin(trouble, since, now_ns, &self.config.root_bytes()) else { return };
        if !known && is_wrong {
            tracing::warn!("{words}");
        } else if !known {
            tracing::info!("{words}");
        }
        self.submit_gaps(ops);
        if let Some(path) = polled {
            // What came before it was noticed.
            self.scan_soon(&path);
        }
    }

    /// Notes that something is over.
    pub(super) fn over(&mut self, is_over: impl Fn(&Trouble) -> bool) {
        if !self.health.has(&is_over) {
            return;
        }
        for trouble in self.health.troubles().filter(|trouble| is_over(trouble)) {
            tracing::info!("over: {}", trouble.words());
        }
        let ops = self.health.end(is_over, self.clock.now().wall);
        self.submit_gaps(ops);
    }

    fn submit_gaps(&mut self, ops: Vec<Op>) {
        self.gaps_before +=
            ops.iter().filter(|op| matches!(op, Op::Gap(gap) if !gap.is_open())).count() as u64;
        if !ops.is_empty() {
            self.submit(ops);
        }
    }

    pub(super) fn scan_soon(&mut self, path: &[u8]) {
        let now_ns = self.clock.monotonic_ns();
        let mut state = self.dirty.lock();
        state.last_no += 1;
        let no = state.last_no;
        state.settle.scan(now_ns, path, Scan::Recursive, no);
    }

    /// Looks at what nothing tells of, as often as is configured.
    pub(super) fn poll_unseen(&mut self) {
        let now_ns = self.clock.monotonic_ns();
        let Some(every) = self.config.poll_every else { return };
        for path in self.health.take_polls(now_ns, u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)) {
            let refused =
                |known: &Trouble| matches!(known, Trouble::RootMissing(at, Missing::Refused) if *at == path);
            if self.health.has(refused) {
                self.over(refused);
                self.compare_again();
            } else {
                self.scan_soon(&path);
            }
        }
    }

    /// Whether there is nothing else to do.
    fn is_idle(&self) -> bool {
        let pending = self.dirty.lock().settle.pending();
        matches!(self.reconcile, Reconcile::Done)
            && pending == 0
            && !self.worker_busy
            && self.checked_ns.is_some()
            && self.stopping.is_none()
    }

    /// Lets the scrub read on while there is nothing else to do.
    pub(super) fn scrub_on(&mut self, now_ns: u64) {
        let idle = self.is_idle();
        self.scrub.tick(idle, now_ns, self.config.scrub_per_day);
    }

    /// Lets what is no longer kept go, while there is nothing else to do or somebody asks.
    pub(super) fn retain_on(&mut self, now_ns: u64, has_room: bool) {
        if self.stopping.is_some() {
            return self.retainer.end();
        }
        let able = has_room && !self.head.index_failed();
        let leisure = Leisure { idle: self.is_idle(), able };
        let roots = self.config.root_bytes();
        self.retainer.tick(leisure, now_ns, &self.config.retention, &roots);
    }

    /// Takes note of what a step of the scrub found.
    pub(super) fn scrubbed(&mut self, scrubbed: Scrubbed) {
        self.scrub.done(scrubbed.bytes);
        match (scrubbed.damaged, scrubbed.example) {
            (0, _) => self.over(|known| matches!(known, Trouble::Damage(..))),
            (places, Some(example)) => self.trouble(Trouble::Damage(places, example)),
            (_, None) => {}
        }
    }

    /// Compares everything as often as is configured: nothing should differ that no event announced.
    pub(super) fn check_ourselves(&mut self) {
        let (now_ns, idle) = (self.clock.monotonic_ns(), matches!(self.reconcile, Reconcile::Done));
        let Some(every) = self.config.reconcile_every else { return };
        let is_due = self
            .checked_ns
            .is_some_and(|checked_ns| u128::from(now_ns.saturating_sub(checked_ns)) >= every.as_nanos());
        if !is_due || !idle {
            return;
        }
        let roots = self.config.root_bytes();
        let there = |root: &Vec<u8>| {
            !self.health.has(|known| known.is_same(&Trouble::RootMissing(root.clone(), Missing::Gone)))
        };
        if self.checks.try_send(roots.into_iter().filter(there).collect()).is_ok() {
            self.checked_ns = None;
        }
    }

    /// Whether the source is alive: a cookie that is awaited comes back, or hints do.
    pub(super) fn listen_to_source(&mut self) {
        let no = self.dirty.lock().last_no;
        let awaited = self.syncs.iter().any(|sync| sync.came_back.is_none());
        if no != self.heard_no || !awaited || self.watch.is_asked() {
            self.silent_ticks = 0;
            self.heard_no = no;
        } else {
            self.silent_ticks += 1;
        }
        // By ticks and not by time: while the whole process was stopped nobody could have answered.
        if self.silent_ticks >= SILENT_TICKS_MAX || self.watch.has_ended() {
            self.trouble(Trouble::SourceDead);
            self.renew_source(GapReason::WatcherStalled);
        }
    }

    /// Makes another event source in place of the one there is, and compares everything.
    fn renew_source(&mut self, reason: GapReason) {
        self.silent_ticks = 0;
        match super::once::watch(self.config.backend, &self.rules, &self.layout, &self.dirty, &self.clock) {
            Ok((thread, handle)) => {
                // The old one ends by itself, if it can.
                drop(std::mem::replace(&mut self.watch_thread, thread));
                self.watch.replace(&handle);
                for root in self.config.roots.clone() {
                    self.watch_root(&root);
                }
            }
            Err(error) => {
                for root in self.config.root_bytes() {
                    self.trouble(Trouble::Unwatched(root, error.to_string()));
                }
            }
        }
        self.want_reconcile(self.unseen(reason));
        self.write_cookies_again();
    }

    /// Cookies may be among what was lost.
    fn write_cookies_again(&mut self) {
        for sync in &mut self.syncs {
            sync.written_ns = 0;
        }
    }

    /// What came beside the hints: an overflow, errors of the source, filesystems that went.
    pub(super) fn look_beside(&mut self) {
        let mut state = self.dirty.lock();
        let overflowed = std::mem::take(&mut state.overflowed);
        let troubles = std::mem::take(&mut state.troubles);
        let unmounted = std::mem::take(&mut state.unmounted);
        drop(state);
        for trouble in troubles {
            let everything = trouble.path.is_empty();
            let scopes = if everything { self.config.root_bytes() } else { vec![trouble.path] };
            for scope in scopes {
                self.trouble(Trouble::Unwatched(scope, trouble.text.clone()));
            }
        }
        for path in unmounted {
            self.unmounted(&path);
        }
        if overflowed {
            tracing::info!("the event queue overflowed; everything is compared, and a gap is recorded");
            status::count_overflow(&self.tally);
            if self.config.backend == Backend::Notify {
                // It has no way to make sure of watches that it takes to be there.
                self.renew_source(GapReason::QueueOverflow);
            } else {
                // The watches there are stay: to remove them all would overflow the queue again, with one event each.
                self.want_reconcile(self.unseen(GapReason::QueueOverflow));
                self.write_cookies_again();
            }
        }
    }

    /// What went unseen below all roots, at the earliest since everything was last known to be covered.
    pub(super) fn unseen(&self, reason: GapReason) -> Why {
        let since = self.head.covered_through().unwrap_or(self.durable.instant);
        Why { reason: Some(reason), since, scopes: self.config.root_bytes(), detail: String::new() }
    }

    /// Something that another thread had noted is over.
    pub(super) fn recovered(&mut self, trouble: &Trouble) {
        if *trouble == Trouble::Stalled && self.health.has(|known| known.is_same(trouble)) {
            // What was listed without a barrier is being listed again; until now it may have been incomplete.
            let why = self.unseen(GapReason::WatcherStalled);
            self.record_gaps(&why, self.clock.now().wall);
        }
        self.over(|known| known.is_same(trouble));
        // What is listed again now belongs to what was asked for before.
        let mut state = self.dirty.lock();
        let no = state.last_no;
        state.settle.hasten(no);
        for sync in self.syncs.iter_mut().filter(|sync| sync.came_back.is_some()) {
            sync.came_back = Some(no);
        }
    }

    /// Records that nobody saw what happened before this start. It stands in the order where that ends: behind everything
    /// that the agent before this one recorded, before everything that this one finds, whatever the clock says.
    pub(super) fn begin_gaps(&mut self) {
        let Reconcile::Wanted(why) = &self.reconcile else { return };
        let ops = why.gaps(Gap::OPEN);
        if !ops.is_empty() {
            self.submit(ops);
        }
    }

    /// The gaps that something was, now that it is over.
    pub(super) fn gaps_of(&mut self, why: &Why, until: Instant) -> Vec<Op> {
        let ops = why.gaps(until);
        self.gaps_before += ops.len() as u64;
        ops
    }

    pub(super) fn record_gaps(&mut self, why: &Why, until: Instant) {
        let ops = self.gaps_of(why, until);
        if !ops.is_empty() {
            self.submit(ops);
        }
    }

    /// Ends what is open in the journal and no longer lasts, beside what is `ended` anyway: everything is compared now.
    pub(super) fn end_open_gaps(&mut self, ended: &[Op]) -> Vec<Op> {
        let until = self.clock.now().wall;
        let gaps = match self.head.view().all_gaps() {
            Ok(gaps) => gaps,
            Err(error) => {
                tracing::error!(%error, "the gaps of the journal cannot be read");
                return Vec::new();
            }
        };
        let is_ended = |gap: &Gap| ended.iter().any(|op| matches!(op, Op::Gap(end) if end.supersedes(gap)));
        let left =
            gaps.into_iter().filter(|gap| gap.is_open() && !is_ended(gap) && !self.health.explains(gap));
        let ops: Vec<Op> = left.map(|gap| Op::Gap(Gap { until: until.max(gap.from), ..gap })).collect();
        self.gaps_before += ops.len() as u64;
        ops
    }

    pub(super) fn want_reconcile(&mut self, why: Why) {
        let earlier = match &self.reconcile {
            Reconcile::Wanted(known) | Reconcile::Running(known, _) => Some(known.clone()),
            Reconcile::Submitted(..) | Reconcile::Done => None,
        };
        let Some(known) = earlier else {
            self.reconcile = Reconcile::Wanted(why);
            return;
        };
        // Both in one: what the wider of them concerns, since the earlier of them.
        let (mut wide, narrow) =
            if known.reason.is_some() && why.reason.is_none() { (known, why) } else { (why, known) };
        if narrow.reason.is_some() {
            wide.since = wide.since.min(narrow.since);
            wide.scopes.extend(narrow.scopes);
            wide.scopes.sort();
            wide.scopes.dedup();
        }
        self.reconcile = Reconcile::Wanted(wide);
    }

    /// The loop waited for `waited_ns`, and would have waited for a second at most: if it was much longer, the whole
    /// process was stopped. Its time asleep with the machine does not count.
    pub(super) fn note_pause(&mut self, waited_ns: u64) {
        if waited_ns < STOPPED_NS || !self.started {
            return;
        }
        let until = self.clock.now().wall;
        let since = Instant(until.0.saturating_sub_unsigned(waited_ns).saturating_sub(TICK_NS));
        tracing::info!(
            seconds = waited_ns / 1_000_000_000,
            "asofd was stopped, and goes on; a gap is recorded"
        );
        let detail = "asofd was stopped by a signal".to_string();
        let why = Why { since, detail, ..self.unseen(GapReason::AgentDown) };
        self.record_gaps(&why, until);
    }

    /// Ends at once where the journal is not at its path any more: what is captured would be in no journal that anybody reads.
    pub(super) fn look_at_journal(&mut self) {
        if matches!(self.lock.make_sure(), Err(Error::Replaced { .. })) {
            self.stopping = Some(0);
        }
    }

    /// How far the appender has come, and whether it can write: it tells by waking the loop, and waits for nobody.
    pub(super) fn look_at_appender(&mut self) {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if failure.is_some() {
            self.look_at_journal();
        }
        match failure {
            Some(text) => self.trouble(Trouble::Journal(text)),
            None => self.over(|known| matches!(known, Trouble::Journal(_))),
        }
        let place = self.head.watermarks().durable;
        if place.seq > self.durable.seq {
            self.durable(place);
        }
    }
}

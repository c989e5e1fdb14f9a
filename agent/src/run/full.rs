//! No room for the journal: capture pauses with a gap, and goes on by itself when there is room again.
//!
//! Owns what the loop does about it. Whether there is room is found out by the appender (`appender.rs`), and what reads
//! waits by itself (`room.rs`). What was submitted goes into the journal's reserve, the gap among it.

use asof_journal::control::Answer;
use asof_journal::types::{Instant, MarkCause};

use super::sync::PendingSync;
use super::{Agent, Reconcile};
use crate::control::ControlRequest;
use crate::health::Trouble;
use crate::room::Lack;

/// How the loop ends, and what comes then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process ends.
    ForGood,
    /// The journal is to be opened anew: its index takes no more.
    ToBeginAgain,
}

/// An index that takes no more is a reason to begin again after so long a time, where it has not to do with room.
const AGAIN_AFTER_NS: u64 = 60_000_000_000;

impl Agent {
    /// Whether there is room, and what follows if that is news.
    pub(super) fn look_at_room(&mut self) {
        let known = self.health.troubles().find_map(|trouble| match trouble {
            Trouble::Full(lack, since) => Some((*lack, *since)),
            _ => None,
        });
        match (self.room.lack(), known) {
            (Some(lack), known) => {
                self.comparing_after_full = false;
                if known.is_none_or(|(known, _)| known != lack) {
                    self.no_room(lack, known.map(|(_, since)| since));
                }
            }
            (None, Some(_)) if !self.comparing_after_full => {
                tracing::info!("there is room for the journal again; everything is compared");
                self.comparing_after_full = true;
                if self.head.index_failed() {
                    self.begin_again();
                } else {
                    self.compare_again();
                }
            }
            _ => {}
        }
    }

    /// Begins the pause: the gap lasts since the oldest change that is not durable.
    fn no_room(&mut self, lack: Lack, since: Option<Instant>) {
        let now = self.clock.now().wall;
        let oldest = Instant(self.oldest.load(std::sync::atomic::Ordering::Relaxed));
        let since = since.unwrap_or(if oldest.0 == 0 { now } else { oldest.min(now) });
        self.trouble(Trouble::Full(lack, since));
        let failed: Vec<PendingSync> = std::mem::take(&mut self.syncs);
        for request in failed.into_iter().filter_map(|sync| sync.reply) {
            self.refuse_sync(request);
        }
    }

    /// Nothing is durable that is not captured, and nothing is captured now.
    pub(super) fn refuse_sync(&self, request: ControlRequest) {
        let why = self.health.troubles().find(|trouble| matches!(trouble, Trouble::Full(..)));
        let why = why.map_or_else(|| "the journal has no room".to_string(), Trouble::words);
        let _ = request.reply.send(Answer::Failed { error: format!("not done: {why}"), timed_out: false });
    }

    /// Everything was compared, and there was room to the end: the pause is over.
    pub(super) fn end_of_pause(&mut self) {
        if self.comparing_after_full && self.room.lack().is_none() {
            self.comparing_after_full = false;
            self.over(|known| matches!(known, Trouble::Full(..)));
        }
    }

    /// Whether an index that takes no more is due to be opened anew: what it lacks is in memory until then.
    pub(super) fn look_at_index(&mut self) {
        let ran_ns = self.clock.monotonic_ns().saturating_sub(self.begun_ns);
        if self.head.index_failed() && self.room.lack().is_none() && ran_ns >= AGAIN_AFTER_NS {
            self.begin_again();
        }
    }

    fn begin_again(&mut self) {
        if self.stopping.is_none() {
            tracing::warn!("the index refused a write; nothing is lost, and the journal is opened anew");
            self.ended = Ended::ToBeginAgain;
            self.stop();
        }
    }

    /// Begins the end in good order: what is dirty is captured, where there is room, and a mark is written.
    pub(super) fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        let compared = matches!(self.reconcile, Reconcile::Done | Reconcile::Submitted(..));
        let has_room = !self.health.has(|known| matches!(known, Trouble::Full(..)));
        match has_room || self.ended == Ended::ToBeginAgain {
            true => tracing::info!("stopping: what is dirty is captured first"),
            false => tracing::info!("stopping without room for the journal: the gap stays open"),
        }
        // A reconcile is given up: the next start compares everything anyway.
        self.stop.store(!compared || !has_room, std::sync::atomic::Ordering::Relaxed);
        self.stopping = Some(self.clock.monotonic_ns().saturating_add(super::DRAIN_MAX_NS));
        if compared && has_room {
            self.begin_sync(MarkCause::Stopped, None, Some(super::DRAIN_MAX_NS), None);
        }
    }
}

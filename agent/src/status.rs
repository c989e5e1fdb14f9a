//! What the agent says of itself: the status that `asof status` shows, and the words for what is wrong.

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;

use asof_journal::append::Mark as Place;
use asof_journal::blocks::occupied;
use asof_journal::control::{self, Counters, State, Status};
use asof_journal::head::Head;
use asof_journal::recovery::RecoveryReport;
use asof_journal::scrub::{self, Progress};
use asof_journal::storage::Layout;
use asof_journal::types::Seq;

use crate::config::Config;
use crate::health::{Health, Trouble};
use crate::pool::{Tally, count};

/// Problems that a status names one by one.
const PROBLEMS_MAX: usize = 64;

/// Everything that a status is made of.
pub(crate) struct Facts<'f> {
    pub config: &'f Config,
    pub layout: &'f Layout,
    pub head: &'f Head,
    pub tally: &'f Tally,
    pub hints: u64,
    pub durable: Place,
    pub pending: u64,
    pub lag_ms: u64,
    pub gaps: u64,
    pub started: bool,
    pub comparing: bool,
    pub health: &'f Health,
    pub stretched: Vec<String>,
    pub runaways: Vec<control::Runaway>,
    pub rpo: control::Rpo,
    pub retention: control::Retention,
    pub scrub: Progress,
    pub checked_bytes: u64,
}

impl Facts<'_> {
    /// The status.
    pub(crate) fn status(self) -> Status {
        let is_full = self.health.has(|trouble| matches!(trouble, Trouble::Full(..)));
        let state = match (self.started, self.comparing || self.health.has(Trouble::degrades)) {
            (false, _) if is_full => State::Degraded,
            (false, _) => State::Starting,
            (true, false) => State::Protecting,
            (true, true) => State::Degraded,
        };
        let mut problems: Vec<String> = self.problems();
        if self.started && self.comparing && !is_full {
            problems.push("hints were lost; everything under the roots is being compared".to_string());
        }
        let durable = (self.durable.seq > Seq::ZERO)
            .then(|| control::Place { instant: self.durable.instant.to_rfc3339(), seq: self.durable.seq.0 });
        let roots = self.roots();
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            state,
            pid: Some(std::process::id()),
            roots,
            durable,
            lag_ms: self.lag_ms,
            pending: self.pending,
            gaps: self.gaps + self.health.open_gaps() + get(&self.tally.gaps),
            journal_bytes: occupied(self.layout.dir()).unwrap_or(0),
            journal: self.layout.dir().display().to_string(),
            covered_through: self.head.covered_through().map(|instant| instant.to_rfc3339()),
            missed_by_events: get(&self.tally.missed_by_events),
            problems,
            stretched: self.stretched,
            runaways: self.runaways,
            rpo: self.rpo,
            retention: Some(self.retention),
            oldest_unchecked: self.scrub.oldest_unchecked.map(|instant| instant.to_rfc3339()),
            checked_bytes: self.checked_bytes,
            counters: Counters {
                hints: self.hints,
                directories_listed: get(&self.tally.directories_listed),
                directories_reconciled: get(&self.tally.directories_reconciled),
                directories_checked: get(&self.tally.directories_checked),
                files_read: get(&self.tally.files_read),
                bytes_read: get(&self.tally.bytes_read),
                versions: get(&self.tally.versions),
                groups: self.head.watermarks().queued.0,
                overflows: get(&self.tally.overflows),
            },
        }
    }

    /// What is wrong, for people; of much of it the beginning.
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.health.troubles().take(PROBLEMS_MAX).map(Trouble::words).collect();
        let more = self.health.troubles().count() - problems.len();
        if more > 0 {
            problems.push(format!("and {more} more; see the log"));
        }
        problems
    }

    fn is_unseen(&self, root: &[u8]) -> bool {
        self.health.has(|trouble| match trouble {
            Trouble::RootMissing(path, _) | Trouble::Unwatched(path, _) => path == root,
            _ => false,
        })
    }

    fn roots(&self) -> Vec<control::Root> {
        let view = self.head.view();
        let since =
            |path: &[u8]| view.resolve(path).ok()?.and_then(|entry| self.head.instant_of(entry.since));
        let of = |path: &std::path::PathBuf| {
            let bytes = path.as_os_str().as_bytes();
            control::Root {
                path: path.display().to_string(),
                watched: !self.is_unseen(bytes),
                since: since(bytes).map(|instant| instant.to_rfc3339()),
            }
        };
        self.config.roots.iter().map(of).collect()
    }
}

/// Logs what opening the journal found.
pub(crate) fn report_recovery(head: &Head, report: &RecoveryReport) {
    if let Some(why) = &report.rebuilt {
        tracing::info!(why, "the index was rebuilt from the segments");
    }
    if report.tail.torn_bytes > 0 {
        tracing::info!(
            bytes = report.tail.torn_bytes,
            "the log ended in a torn tail, which was never durable"
        );
    }
    // Where the index does not tell what is known, everything is news.
    let new = scrub::unknown(head, &report.damage).unwrap_or_else(|_| report.damage.clone());
    if new.len() < report.damage.len() {
        tracing::info!(places = report.damage.len() - new.len(), "known damage in the journal");
    }
    for damage in &new {
        tracing::error!(
            file = %damage.path.display(), offset = damage.at.offset, what = damage.what,
            "damage in the journal; everything that does not depend on it is still there"
        );
    }
}

/// Counts an overflow of the event queue.
pub(crate) fn count_overflow(tally: &Tally) {
    count(&tally.overflows, 1);
}

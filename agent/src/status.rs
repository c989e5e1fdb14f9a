//! What the agent says of itself: the status that `asof status` shows, and the words for what is wrong.

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;

use asof_journal::append::Mark as Place;
use asof_journal::blocks::occupied;
use asof_journal::control::{self, Counters, State, Status};
use asof_journal::head::Head;
use asof_journal::recovery::RecoveryReport;
use asof_journal::storage::Layout;
use asof_journal::types::Seq;

use crate::config::Config;
use crate::pool::{Tally, count};
use crate::run::Trouble;

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
    pub troubles: &'f [Trouble],
    pub stretched: Vec<String>,
}

impl Facts<'_> {
    /// The status.
    pub(crate) fn status(self) -> Status {
        let state = match (self.started, self.comparing || !self.troubles.is_empty()) {
            (false, _) => State::Starting,
            (true, false) => State::Protecting,
            (true, true) => State::Degraded,
        };
        let mut problems: Vec<String> = self.troubles.iter().map(words).collect();
        if self.started && self.comparing {
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
            gaps: self.gaps + get(&self.tally.gaps),
            journal_bytes: occupied(self.layout.dir()).unwrap_or(0),
            journal: self.layout.dir().display().to_string(),
            covered_through: self.head.covered_through().map(|instant| instant.to_rfc3339()),
            problems,
            stretched: self.stretched,
            counters: Counters {
                hints: self.hints,
                directories_listed: get(&self.tally.directories_listed),
                directories_reconciled: get(&self.tally.directories_reconciled),
                files_read: get(&self.tally.files_read),
                bytes_read: get(&self.tally.bytes_read),
                versions: get(&self.tally.versions),
                groups: self.head.watermarks().queued.0,
                overflows: get(&self.tally.overflows),
            },
        }
    }

    fn roots(&self) -> Vec<control::Root> {
        let missing: Vec<Vec<u8>> = self.troubles.iter().filter_map(missing_root).collect();
        let view = self.head.view();
        let since =
            |path: &[u8]| view.resolve(path).ok()?.and_then(|entry| self.head.instant_of(entry.since));
        let of = |path: &std::path::PathBuf| {
            let bytes = path.as_os_str().as_bytes();
            control::Root {
                path: path.display().to_string(),
                watched: !missing.iter().any(|gone| gone == bytes),
                since: since(bytes).map(|instant| instant.to_rfc3339()),
            }
        };
        self.config.roots.iter().map(of).collect()
    }
}

/// The root that is not there, if that is what is wrong.
pub(crate) fn missing_root(trouble: &Trouble) -> Option<Vec<u8>> {
    match trouble {
        Trouble::RootMissing(path) => Some(path.clone()),
        _ => None,
    }
}

/// What is wrong, and what helps.
pub(crate) fn words(trouble: &Trouble) -> String {
    let lossy = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    match trouble {
        Trouble::RootMissing(path) => {
            format!("{}: the root is not there; it is protected again when it is back", lossy(path))
        }
        Trouble::Unwatched(path, text) if path.is_empty() => text.clone(),
        Trouble::Unwatched(path, text) => format!("{}: not seen: {text}", lossy(path)),
        Trouble::Journal(text) => format!("the journal cannot be written: {text}"),
        Trouble::Stalled => "the event source does not answer in time".to_string(),
    }
}

/// Logs what opening the journal found.
pub(crate) fn report_recovery(report: &RecoveryReport) {
    if let Some(why) = &report.rebuilt {
        tracing::info!(why, "the index was rebuilt from the segments");
    }
    if report.tail.torn_bytes > 0 {
        tracing::info!(
            bytes = report.tail.torn_bytes,
            "the log ended in a torn tail, which was never durable"
        );
    }
    for damage in &report.damage {
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

//! The failure that a drill supposes to have happened when it began, and what was lost by it.

use std::ffi::OsStr;

use asof_journal::types::Instant;
use serde::Deserialize;

use super::{At, Draft, Drill, Scratch, Stamp, Tried, bring};
use crate::drill::scenario::Prepared;

/// How things were at the failure.
pub(crate) struct Failure {
    /// When it was.
    pub(crate) at: Instant,
    /// How old the oldest change was that was not durable, ms.
    lost_ms: Option<u64>,
}

/// What `asof --json status` says, as far as it matters.
#[derive(Deserialize)]
struct Status {
    state: String,
    #[serde(default)]
    durable: Option<Durable>,
    #[serde(default)]
    lag_ms: u64,
}

#[derive(Deserialize)]
struct Durable {
    instant: Stamp,
}

/// Supposes that everything is lost now: asks how things are, and then has everything made durable where an agent runs,
/// so that what is compared is as new as can be.
pub(super) fn suppose(drill: &Drill<'_>, scratch: &Scratch, draft: &mut Draft) -> Tried<Failure> {
    let at = draft.started.0;
    let mut status: Option<Status> = None;
    let journal = drill.session.journal();
    let words = [OsStr::new("status")];
    bring::ask(scratch, journal, "how things are", &words, &mut draft.report.commands, &mut |value| {
        status = serde_json::from_value(value).ok();
    })?;
    let Some(status) = status else { return Ok(Failure { at, lost_ms: None }) };
    let runs = status.state != "stopped";
    let age =
        |durable: &Durable| u64::try_from(at.0.saturating_sub(durable.instant.0.0).max(0) / 1_000_000).ok();
    let lost_ms = match runs {
        true => Some(status.lag_ms),
        false => status.durable.as_ref().and_then(age),
    };
    if runs && drill.spec.when.at == At::Latest {
        let words = ["sync", "--timeout", "60s"].map(OsStr::new);
        let ran = bring::ask(
            scratch,
            journal,
            "make everything durable",
            &words,
            &mut draft.report.commands,
            &mut |_| {},
        )?;
        if !ran.is_well() {
            draft
                .report
                .warnings
                .push("not everything could be made durable: what is newer is not compared".to_owned());
        }
    }
    Ok(Failure { at, lost_ms })
}

impl Failure {
    /// The age of the newest recovered change at the failure, in ms: how far back whoever recovers is thrown. For an instant
    /// before the failure it is how long nobody had looked by then.
    pub(super) fn rpo(&self, prepared: &Prepared, drill: &Drill<'_>) -> Result<u64, &'static str> {
        if drill.spec.when.at == At::Latest && prepared.is_newest {
            return self.lost_ms.ok_or("the journal does not say how far it is durable");
        }
        if drill.spec.when.at == At::Latest {
            let age = self.at.0.saturating_sub(prepared.moment.instant.0).max(0);
            return u64::try_from(age / 1_000_000).map_err(|_| "the clock is off");
        }
        let day = std::time::Duration::from_nanos(1);
        let gaps = drill
            .gaps(&prepared.moment, day, &prepared.chosen.paths)
            .map_err(|_| "gaps could not be read")?;
        let asked = prepared.moment.asked.max(prepared.moment.instant);
        let ages = gaps.iter().map(|gap| asked.0.saturating_sub(gap.from.0.0).max(0) / 1_000_000);
        u64::try_from(ages.max().unwrap_or(0)).map_err(|_| "the clock is off")
    }
}

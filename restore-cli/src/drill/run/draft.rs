//! A report that is being filled in, with the clocks that it needs.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant as Stopwatch;

use asof_journal::types::Instant;
use uuid::Uuid;

use super::{Assertion, Findings, Name, Outcome, Prepared, Report, Spec, Stamp, Target, assert, ms};
use crate::drill::bring::Brought;
use crate::drill::child;
use crate::drill::report::{self, AsOf, Coverage, Share};

/// So many commands for the same thing stand in a report that went well, and so many that did not: a large sample takes
/// thousands.
const COMMANDS_MAX: usize = 50;
/// So many warnings.
const WARNINGS_MAX: usize = 100;

/// The report so far.
pub(crate) struct Draft {
    /// The report.
    pub(crate) report: Report,
    /// When the drill began.
    pub(crate) started: Stamp,
    began: Stopwatch,
    requested: Option<Stopwatch>,
}

impl Draft {
    /// Of a drill that begins now.
    pub(super) fn new(spec: &Spec, file: &Path, text: &str, journal: &Path, journal_id: &str) -> Draft {
        let started = now();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = variable("USER").or_else(|| variable("LOGNAME"));
        let identity = report::Identity {
            report_id: Uuid::new_v4().to_string(),
            drill: spec.name.clone(),
            file: Some(Name::new(file.as_os_str().as_bytes())),
            file_hash: Some(blake3::hash(text.as_bytes()).to_hex().to_string()),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            user: user.unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw())),
            asof_version: env!("CARGO_PKG_VERSION").to_owned(),
            journal_id: journal_id.to_owned(),
            journal: Name::new(journal.as_os_str().as_bytes()),
        };
        // From a UUID, because that is random; JSON readers keep 53 bits of a number.
        let seed = spec.seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().1 & ((1 << 53) - 1));
        let report = Report {
            schema: report::SCHEMA.to_owned(),
            identity,
            chain: report::Link::default(),
            outcome: Outcome::Inconclusive,
            why: String::new(),
            scenario: spec.scenario.as_str().to_owned(),
            seed,
            selection: report::Selection::default(),
            instant: AsOf { requested: spec.when.at.to_string(), ..AsOf::default() },
            times: report::Times {
                started,
                requested: None,
                failure: None,
                newest_recovered: None,
                first_byte: None,
                restored: None,
                verified: None,
                ended: started,
            },
            durations: report::Durations::default(),
            bytes: 0,
            bytes_per_second: None,
            rto: Target::new(spec.targets.rto.map(|rto| rto.ms()), None),
            rpo: Target::new(spec.targets.rpo.map(|rpo| rpo.ms()), None),
            counts: report::Counts::default(),
            coverage: Coverage::default(),
            gaps: Vec::new(),
            assertions: Vec::new(),
            evidence: Vec::new(),
            commands: Vec::new(),
            commands_left_out: 0,
            cost: report::Cost::default(),
            clean_up: Vec::new(),
            hooks: Vec::new(),
            warnings: Vec::new(),
        };
        Draft { report, started, began: Stopwatch::now(), requested: None }
    }

    fn since(&self, when: Stopwatch) -> u64 {
        ms(when.saturating_duration_since(self.began))
    }

    /// Everything is chosen.
    pub(super) fn selected(&mut self, prepared: &Prepared) {
        self.report.selection = prepared.chosen.selection.clone();
        self.report.instant.resolved = Some(Stamp(prepared.moment.instant));
        self.report.instant.seq = Some(prepared.moment.seq.0);
    }

    /// From here on RTO counts.
    pub(super) fn requested(&mut self) {
        let request = Stopwatch::now();
        self.requested = Some(request);
        self.report.times.requested = Some(now());
        self.report.durations.requested_ms = Some(self.since(request));
    }

    /// Everything came that comes.
    pub(super) fn restored(&mut self, brought: &Brought) {
        let ended = brought.ended.unwrap_or_else(Stopwatch::now);
        let requested = self.requested.unwrap_or(self.began);
        let durations = &mut self.report.durations;
        durations.restoring_ms = ms(ended.saturating_duration_since(requested));
        durations.restored_ms = Some(ms(ended.saturating_duration_since(self.began)));
        durations.first_byte_ms =
            brought.first_byte.map(|first| ms(first.saturating_duration_since(self.began)));
        let stamp = |when: Stopwatch| {
            let ago = i64::try_from(when.elapsed().as_nanos()).unwrap_or(0);
            Stamp(Instant(now().0.0.saturating_sub(ago)))
        };
        self.report.times.restored = Some(stamp(ended));
        self.report.times.first_byte = brought.first_byte.map(stamp);
        self.report.bytes = brought.bytes;
        let took = brought.first_byte.map(|first| ended.saturating_duration_since(first).as_secs_f64());
        let rate = took.filter(|took| *took > 0.0).map(|took| brought.bytes as f64 / took);
        // All that came at once is as fast as the whole restore.
        let whole = durations.restoring_ms.max(1) as f64 / 1000.0;
        self.report.bytes_per_second =
            (brought.bytes > 0).then(|| rate.unwrap_or(f64::MAX).min(brought.bytes as f64 / whole) as u64);
    }

    /// Everything was compared.
    pub(super) fn verified(&mut self, findings: &Findings, brought: &Brought) {
        let verified = Stopwatch::now();
        self.report.times.verified = Some(now());
        let verified_ms = self.since(verified);
        self.report.durations.verified_ms = Some(verified_ms);
        self.report.durations.verifying_ms =
            verified_ms.saturating_sub(self.report.durations.restored_ms.unwrap_or(verified_ms));
        self.report.counts = report::Counts { torn: brought.torn, ..findings.counts };
    }

    /// What was measured beside its targets.
    pub(super) fn measured(
        &mut self,
        spec: &Spec,
        rpo_ms: Option<u64>,
        prepared: &Prepared,
        failure: Instant,
    ) {
        let requested = self.report.durations.requested_ms;
        let rto = self
            .report
            .durations
            .verified_ms
            .zip(requested)
            .map(|(verified, from)| verified.saturating_sub(from));
        self.report.rto = Target::new(spec.targets.rto.map(|rto| rto.ms()), rto);
        self.report.rpo = Target::new(spec.targets.rpo.map(|rpo| rpo.ms()), rpo_ms);
        let failure = prepared.failure.unwrap_or(failure);
        self.report.times.failure = Some(Stamp(failure));
        self.report.times.newest_recovered = rpo_ms.map(|ms| {
            let ns = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            Stamp(Instant(failure.0.saturating_sub(ns)))
        });
        self.report.instant.resolved = Some(Stamp(prepared.moment.instant));
        self.report.instant.seq = Some(prepared.moment.seq.0);
    }

    /// How much was ever drilled.
    pub(super) fn covered(&mut self, paths: (u64, u64), days: (u64, u64)) {
        let share = |(drilled, total)| Share { drilled, total };
        self.report.coverage = Coverage { paths: share(paths), history_days: share(days) };
    }

    /// Takes the verdicts in, and makes one of them.
    pub(super) fn judged(&mut self, assertions: Vec<Assertion>) {
        let report = &mut self.report;
        report.outcome = assertions.iter().map(|of| of.outcome).fold(Outcome::Pass, Outcome::and);
        let first = assertions.iter().find(|of| of.outcome == report.outcome && of.outcome != Outcome::Pass);
        report.why = match first {
            Some(of) => format!("{}: {}", of.name, of.message),
            None => crate::output::counted(assertions.len() as u64, "assertion") + " held",
        };
        report.assertions = assertions;
    }

    /// Nothing can be told.
    pub(super) fn unjudged(&mut self, spec: &Spec, why: &str) {
        self.judged(assert::unjudged(spec, why));
        self.report.outcome = Outcome::Inconclusive;
        self.report.why = why.to_owned();
    }

    /// The drill is over.
    pub(super) fn end(&mut self) {
        bound(&mut self.report);
        self.report.times.ended = now();
        self.report.durations.total_ms = self.since(Stopwatch::now());
        self.report.cost.peak_memory_bytes = child::peak_memory("self");
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let ms = spent.tv_sec.saturating_mul(1000).saturating_add(spent.tv_nsec / 1_000_000);
        self.report.cost.cpu_ms = u64::try_from(ms).ok();
    }
}

/// Leaves out what nobody reads: a report has to stay small, however much was drilled.
fn bound(report: &mut Report) {
    let before = report.commands.len();
    let mut met = HashMap::new();
    report.commands.retain(|command| {
        let times = met.entry((command.what.clone(), command.status == Some(0))).or_insert(0);
        *times += 1;
        *times <= COMMANDS_MAX
    });
    report.commands_left_out = (before - report.commands.len()) as u64;
    let more = report.warnings.len().saturating_sub(WARNINGS_MAX);
    if more > 0 {
        report.warnings.truncate(WARNINGS_MAX);
        report.warnings.push(format!("and {more} more warnings"));
    }
}

/// What the clock shows.
pub(crate) fn now() -> Stamp {
    Stamp(Instant(chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::sample;

    #[test]
    fn a_report_stays_small_and_keeps_what_went_wrong() {
        let mut report = sample::report(1);
        let command = report.commands[0].clone();
        let of = |what: &str, status| report::Command {
            what: what.into(),
            status: Some(status),
            ..command.clone()
        };
        report.commands = (0..3_000).map(|at| of("restore", i32::from(at == 2_999))).collect();
        report.commands.push(of("assertion", 0));
        report.warnings = (0..1_000).map(|at| format!("warning {at}")).collect();
        bound(&mut report);
        assert_eq!((report.commands.len(), report.commands_left_out), (52, 2_949));
        let last: Vec<_> =
            report.commands.iter().rev().take(2).map(|of| (of.what.as_str(), of.status)).collect();
        assert_eq!(last, [("assertion", Some(0)), ("restore", Some(1))]);
        assert_eq!((report.warnings.len(), report.warnings[100].as_str()), (101, "and 900 more warnings"));
    }
}

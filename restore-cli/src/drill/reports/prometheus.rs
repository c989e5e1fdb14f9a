//! A report as a text file for the collector of Prometheus' node exporter: what a monitor alerts on.
//!
//! The exposition format 0.0.4, by its own encoder. Help texts depend on nothing, because the collector refuses files that
//! describe one metric differently.

use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

use super::words;
use crate::drill::report::{Outcome, Share, Stamp, Target};
use crate::drill::store::{Kept, Past};
use crate::errors::{Error, Result};

/// On every line: which drill, of which journal.
const LABELS: [&str; 2] = ["drill", "journal"];

/// The file. `past` tells of the last success.
pub(super) fn render(this: &Kept, past: &Past) -> Result<String> {
    encode(this, past).map_err(|error| Error::failed(format!("the Prometheus file: {error}"), ""))
}

fn encode(this: &Kept, past: &Past) -> prometheus::Result<String> {
    let report = &this.report;
    let drill = words::tame(&report.identity.drill);
    let labels = [drill.as_str(), report.identity.journal_id.as_str()];
    let mut page = Page { registry: Registry::new(), labels };

    let run = report.times.ended;
    page.gauge(
        "last_run_timestamp_seconds",
        "When the drill ended last, in seconds since 1970.",
        seconds_of(run),
    )?;
    let own = (report.outcome == Outcome::Pass).then_some(run);
    let before = past.of(&report.identity.drill).filter(|kept| kept.report.outcome == Outcome::Pass);
    let success = own.into_iter().chain(before.map(|kept| kept.report.times.ended)).max();
    let help = "When the drill last ended with all assertions holding, in seconds since 1970; absent before the first time.";
    page.optional("last_success_timestamp_seconds", help, success.map(seconds_of))?;

    let outcomes = page.vector("outcome", "1 for how the drill ended last, 0 for the others.", "outcome")?;
    for outcome in [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive] {
        let value = if outcome == report.outcome { 1.0 } else { 0.0 };
        outcomes.with_label_values(&[labels[0], labels[1], outcome.as_str()]).set(value);
    }
    let assertions = page.vector("assertions", "How many assertions of the last run ended so.", "outcome")?;
    for outcome in [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive] {
        let count = report.assertions.iter().filter(|assertion| assertion.outcome == outcome).count();
        assertions.with_label_values(&[labels[0], labels[1], outcome.as_str()]).set(count as f64);
    }

    let total = seconds(report.durations.total_ms);
    page.gauge("duration_seconds", "How long the last run took from its request to its end.", total)?;
    page.target("rto", "From the request until everything was verified", report.rto)?;
    page.target("rpo", "The age of the newest recovered change at the failure", report.rpo)?;
    page.gauge("restored_bytes", "Content that the last run restored.", report.bytes as f64)?;

    let counts = page.vector("paths", "How many paths of the last run were found so.", "found")?;
    for (found, count) in words::counts(&report.counts) {
        counts.with_label_values(&[labels[0], labels[1], &found.replace(' ', "_")]).set(count as f64);
    }
    page.share("paths_drilled", "The protected paths that were ever drilled", report.coverage.paths)?;
    page.share(
        "history_drilled",
        "The days of history that were ever drilled",
        report.coverage.history_days,
    )?;
    let peak = report.cost.peak_memory_bytes.map(|bytes| bytes as f64);
    page.optional("peak_memory_bytes", "The largest resident set of the last run.", peak)?;

    let number = report.chain.number as f64;
    page.gauge("report_number", "The number of the last report in the chain of its journal.", number)?;
    let help = "In how many places the chain of reports is broken: reports that were removed or changed.";
    page.gauge("chain_breaks", help, past.breaks.len() as f64)?;
    TextEncoder::new().encode_to_string(&page.registry.gather())
}

/// Metrics of one drill.
struct Page<'l> {
    registry: Registry,
    labels: [&'l str; 2],
}

impl Page<'_> {
    /// One that is told by a further label.
    fn vector(&self, name: &str, help: &str, label: &str) -> prometheus::Result<GaugeVec> {
        let gauge =
            GaugeVec::new(Opts::new(format!("asof_drill_{name}"), help), &[LABELS[0], LABELS[1], label])?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let gauge = GaugeVec::new(Opts::new(format!("asof_drill_{name}"), help), &LABELS)?;
        self.registry.register(Box::new(gauge.clone()))?;
        gauge.with_label_values(&self.labels).set(value);
        Ok(())
    }

    /// Nothing where nothing is known: an absent value cannot be mistaken for a good one.
    fn optional(&mut self, name: &str, help: &str, value: Option<f64>) -> prometheus::Result<()> {
        value.map_or(Ok(()), |value| self.gauge(name, help, value))
    }

    fn target(&mut self, name: &str, help: &str, target: Target) -> prometheus::Result<()> {
        self.optional(&format!("{name}_seconds"), &format!("{help}."), target.measured_ms.map(seconds))?;
        let help = format!("{help}: what is wanted at most.");
        self.optional(&format!("{name}_target_seconds"), &help, target.target_ms.map(seconds))
    }

    fn share(&mut self, name: &str, help: &str, share: Share) -> prometheus::Result<()> {
        self.optional(&format!("{name}_ratio"), &format!("{help}, of all, between 0 and 1."), share.ratio())
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn seconds_of(stamp: Stamp) -> f64 {
    // To the millisecond, which a double holds.
    (stamp.0.0.div_euclid(1_000_000)) as f64 / 1000.0
}

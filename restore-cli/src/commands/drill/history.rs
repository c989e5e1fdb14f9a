//! `drill history`: the drills that were run on a journal, newest first, and whether their reports are those that were written.

use serde::Serialize;

use crate::args::DrillHistoryArgs;
use crate::drill::report::{Coverage, Name, Outcome, Stamp, Target};
use crate::drill::reports::{measured, percent, time};
use crate::drill::store::{self, Kept, Store};
use crate::errors::{Error, Result};
use crate::output::{Output, Paint, escape};
use crate::session::Session;

/// A drill in JSON.
#[derive(Serialize)]
struct Line<'r> {
    number: u64,
    report_id: &'r str,
    drill: &'r str,
    scenario: &'r str,
    started: Stamp,
    ended: Stamp,
    outcome: Outcome,
    why: &'r str,
    rto: Target,
    rpo: Target,
    bytes: u64,
    coverage: Coverage,
    hash: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_hash: Option<&'r str>,
    file: Name,
}

/// A place where the chain does not hold, in JSON.
#[derive(Serialize)]
struct Broken<'b> {
    broken_at: u64,
    what: &'b str,
}

/// Lists them.
pub(crate) fn run(session: &Session, args: &DrillHistoryArgs, out: &mut Output) -> Result<()> {
    let state = args.state.clone().map_or_else(store::default_state, Ok)?;
    let store = Store::new(&state, &session.reader()?.info()?.uuid);
    let past = store.past()?;
    let wanted = |kept: &&Kept| args.drill.as_ref().is_none_or(|drill| *drill == kept.report.identity.drill);
    let count = args.count.unwrap_or(usize::MAX);
    let mut shown = 0;
    for kept in past.reports.iter().rev().filter(wanted).take(count) {
        print(kept, out)?;
        shown += 1;
    }
    let dir = escape(std::os::unix::ffi::OsStrExt::as_bytes(store.dir().as_os_str()));
    if shown == 0 && past.breaks.is_empty() {
        out.note(&format!("no drill was run yet, as far as {dir} tells"));
    }
    for at in &past.breaks {
        match out.is_json() {
            true => out.object(&Broken { broken_at: at.number, what: &at.what })?,
            false => out.problem(&at.what),
        }
    }
    match past.breaks.len() {
        0 => Ok(()),
        breaks => Err(Error::assertion(
            format!("the chain of reports is broken in {}", crate::output::counted(breaks as u64, "place")),
            format!(
                "what is in {dir} is not what drills wrote; take the reports from a backup of it, or from where copies went"
            ),
        )),
    }
}

fn print(kept: &Kept, out: &mut Output) -> Result<()> {
    let report = &kept.report;
    if out.is_json() {
        return out.object(&Line {
            number: report.chain.number,
            report_id: &report.identity.report_id,
            drill: &report.identity.drill,
            scenario: &report.scenario,
            started: report.times.started,
            ended: report.times.ended,
            outcome: report.outcome,
            why: &report.why,
            rto: report.rto,
            rpo: report.rpo,
            bytes: report.bytes,
            coverage: report.coverage,
            hash: &kept.hash,
            previous_hash: report.chain.previous_hash.as_deref(),
            file: Name::new(std::os::unix::ffi::OsStrExt::as_bytes(kept.file.as_os_str())),
        });
    }
    let outcome = painted(report.outcome, out);
    out.line(&format!(
        "{:>5}  {}  {outcome}  {}  {}  RTO {}  RPO {}  paths drilled {}",
        report.chain.number,
        time(report.times.started),
        escape(report.identity.drill.as_bytes()),
        escape(report.scenario.as_bytes()),
        measured(report.rto),
        measured(report.rpo),
        percent(report.coverage.paths)
    ))?;
    match report.outcome {
        Outcome::Pass => Ok(()),
        Outcome::Fail | Outcome::Inconclusive => {
            out.line(&format!("       {}", escape(report.why.as_bytes())))
        }
    }
}

/// An outcome of always the same width.
pub(super) fn painted(outcome: Outcome, out: &Output) -> String {
    let paint = match outcome {
        Outcome::Pass => Paint::Green,
        Outcome::Fail => Paint::Red,
        Outcome::Inconclusive => Paint::Yellow,
    };
    out.paint(paint, &format!("{:12}", outcome.as_str()))
}

//! From what a drill found to what each assertion says of it.
//!
//! Owns the words of the verdicts. Measures and compares nothing, but for the commands of assertions, which are run here.

mod command;
mod compared;
mod measured;

use std::time::Instant as Stopwatch;

use super::bring::Brought;
use super::compare::{Finding, Findings};
use super::report;
use super::report::{Assertion, Gap, Outcome, Target};
use super::scratch::Scratch;
use super::spec::{Assert, Spec};
use super::stop::Tried;
use crate::output::escape;

/// So many single findings stand in a report.
const DETAILS_MAX: usize = 50;

/// What there is to judge.
pub(crate) struct Case<'c> {
    /// What was asked for.
    pub(crate) spec: &'c Spec,
    /// Where programs run.
    pub(crate) scratch: &'c Scratch,
    /// What came back.
    pub(crate) brought: &'c Brought,
    /// How it compares.
    pub(crate) findings: &'c Findings,
    /// Why the oracle does not know more.
    pub(crate) remarks: &'c [String],
    /// Gaps within the window of each `no-gap`, in the order of the assertions.
    pub(crate) gaps: &'c dyn Fn(std::time::Duration) -> Tried<Vec<Gap>>,
    /// Against its target.
    pub(crate) rto: Target,
    /// Against its target.
    pub(crate) rpo: Target,
    /// Why it could not be measured.
    pub(crate) rpo_unknown: &'c str,
    /// How long ago the last drill of this name succeeded, ms, and whether there was any of this name.
    pub(crate) last_success: LastSuccess,
}

/// The last drill of a name in which everything else held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastSuccess {
    /// There was no drill of that name before.
    First,
    /// There were drills, and none succeeded; the first was so many milliseconds ago.
    Never(u64),
    /// So many milliseconds ago.
    Ago(u64),
}

/// Judges all assertions in the order of the file, and what the restore said of itself where nothing else speaks of it.
pub(crate) fn judge(case: &Case<'_>, commands: &mut Vec<report::Command>) -> Tried<Vec<Assertion>> {
    let mut judged: Vec<Assertion> = Vec::new();
    for assert in &case.spec.asserts {
        let started = Stopwatch::now();
        let mut verdict = match assert {
            Assert::Content { least } => compared::content(case, *least),
            Assert::Paths { absent, least } => compared::paths(case, absent, *least),
            Assert::Metadata { least } => compared::metadata(case, *least),
            Assert::NoGap { window } => measured::no_gap((case.gaps)(window.0)?, window.0),
            Assert::Rto {} => measured::target("rto", case.rto, "nothing was restored and verified"),
            Assert::Rpo {} => measured::target("rpo", case.rpo, case.rpo_unknown),
            Assert::LastSuccessAge { max } => measured::last_success(case.last_success, *max),
            Assert::Command { command, timeout, cwd } => {
                command::run(case, command, *timeout, cwd.as_deref(), commands)?
            }
        };
        verdict.ms = super::child::ms(started.elapsed());
        judged.push(verdict);
    }
    let told = judged.iter().any(|verdict| {
        verdict.outcome == Outcome::Fail && matches!(verdict.kind.as_str(), "content" | "paths")
    });
    if let (Some(failure), false, true) =
        (case.brought.failures.first(), told, case.findings_excuse_nothing())
    {
        let mut verdict = verdict("restore", Outcome::Fail, failure.clone());
        verdict.details = case.brought.failures.clone();
        judged.push(limited(verdict));
    }
    judged.extend(case.unasked());
    number(&mut judged);
    Ok(judged)
}

impl Case<'_> {
    /// What no drill passes with, whatever its file asserts: something that was chosen is nowhere, or wrong bytes came back.
    fn unasked(&self) -> Vec<Assertion> {
        let asserts = |kinds: &[&str]| self.spec.asserts.iter().any(|assert| kinds.contains(&assert.kind()));
        let findings = self.findings;
        let mut told = Vec::new();
        if !findings.nowhere.is_empty() {
            let what = "the journal has nothing of what was selected there as of that instant";
            let first = findings.nowhere.first().map(|path| escape(path)).unwrap_or_default();
            let lost = findings.missing.iter().any(|(path, _)| findings.nowhere.contains(path));
            let outcome = if lost { Outcome::Fail } else { Outcome::Inconclusive };
            let said = lost && asserts(&["content", "paths"]);
            if !said {
                let paths =
                    findings.nowhere.iter().map(|path| (path.clone(), "is not in the journal".to_owned()));
                told.push(with_findings(verdict("selection", outcome, format!("{first}: {what}")), paths));
            }
        }
        if let (Some((path, what)), false) = (findings.differing.first(), asserts(&["content"])) {
            let message = format!("{} {what}", escape(path));
            told.push(with_findings(
                verdict("content", Outcome::Fail, message),
                findings.differing.iter().cloned(),
            ));
        }
        told
    }

    /// Whether everything that the restore refused counts.
    fn findings_excuse_nothing(&self) -> bool {
        self.brought.refused.is_empty() || !self.findings.refused.is_empty()
    }
}

/// What all assertions of a drill come to that had to end early.
pub(crate) fn unjudged(spec: &Spec, why: &str) -> Vec<Assertion> {
    let mut all: Vec<Assertion> = spec
        .asserts
        .iter()
        .map(|assert| verdict(assert.kind(), Outcome::Inconclusive, why.to_owned()))
        .collect();
    number(&mut all);
    all
}

/// A verdict without findings.
pub(crate) fn verdict(kind: &str, outcome: Outcome, message: String) -> Assertion {
    Assertion {
        kind: kind.to_owned(),
        name: kind.to_owned(),
        outcome,
        message,
        details: Vec::new(),
        details_left_out: 0,
        ms: 0,
    }
}

/// One with the paths that it is about.
fn with_findings(mut of: Assertion, findings: impl IntoIterator<Item = Finding>) -> Assertion {
    of.details.extend(findings.into_iter().map(|(path, what)| format!("{} {what}", escape(&path))));
    limited(of)
}

fn limited(mut of: Assertion) -> Assertion {
    of.details_left_out += of.details.len().saturating_sub(DETAILS_MAX) as u64;
    of.details.truncate(DETAILS_MAX);
    of
}

/// Gives those of one kind different names.
pub(crate) fn number(all: &mut [Assertion]) {
    let mut met = std::collections::HashMap::new();
    for assertion in all {
        let times = met.entry(assertion.kind.clone()).or_insert(0u32);
        *times += 1;
        if *times > 1 {
            assertion.name = format!("{}-{times}", assertion.kind);
        }
    }
}

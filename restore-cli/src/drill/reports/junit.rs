//! A report as JUnit XML, for CI systems: a suite for the drill, a case for each assertion.
//!
//! What does not hold is a `failure`. What could not be told is an `error`, not `skipped`: most systems show skipped cases
//! as a success, which is what a drill that could not tell must never be.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::words;
use crate::drill::report::{Assertion, Outcome, Report};
use crate::drill::store::Kept;
use crate::errors::{Error, Result};

/// The document.
pub(super) fn render(this: &Kept) -> Result<String> {
    let report = &this.report;
    let took = Duration::from_millis(report.durations.total_ms);
    let started = report.times.started.0.to_utc();
    let mut suite = TestSuite::new(words::tame(&report.identity.drill));
    suite.set_time(took).set_timestamp(started);
    for (name, value) in properties(this) {
        suite.add_property(Property::new(name, value));
    }
    let told = report.assertions.iter().fold(Outcome::Pass, |all, assertion| all.and(assertion.outcome));
    if report.assertions.is_empty() || told != report.outcome {
        // The assertions alone would say something else.
        let verdict = Assertion {
            kind: "verdict".into(),
            name: "verdict".into(),
            outcome: report.outcome,
            message: report.why.clone(),
            details: Vec::new(),
            details_left_out: 0,
            ms: 0,
        };
        suite.add_test_case(case(report, &verdict));
    }
    for assertion in &report.assertions {
        suite.add_test_case(case(report, assertion));
    }
    let output = output(report);
    if !output.is_empty() {
        suite.set_system_out(output);
    }
    if !report.warnings.is_empty() {
        let warnings: Vec<String> = report.warnings.iter().map(|warning| words::tame(warning)).collect();
        suite.set_system_err(warnings.join("\n"));
    }
    let mut document = Document::new("asof drill");
    document.set_time(took).set_timestamp(started).add_test_suite(suite);
    document.to_string().map_err(|error| Error::failed(format!("the JUnit report: {error}"), ""))
}

fn case(report: &Report, assertion: &Assertion) -> TestCase {
    let message = words::tame(&assertion.message);
    let mut status = match assertion.outcome {
        Outcome::Pass => TestCaseStatus::success(),
        Outcome::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Inconclusive => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let found = findings(assertion);
    if assertion.outcome != Outcome::Pass {
        status.set_message(message.as_str()).set_type(assertion.outcome.as_str());
        let mut text = message.clone();
        for line in &found {
            text.push('\n');
            text.push_str(line);
        }
        status.set_description(text);
    }
    let mut case = TestCase::new(words::tame(&assertion.name), status);
    case.set_classname(format!("drill.{}", words::tame(&report.identity.drill)));
    case.set_time(Duration::from_millis(assertion.ms));
    if assertion.outcome == Outcome::Pass {
        case.set_system_out([&[message], &found[..]].concat().join("\n"));
    }
    case
}

fn findings(assertion: &Assertion) -> Vec<String> {
    let mut found: Vec<String> = assertion.details.iter().map(|detail| words::tame(detail)).collect();
    if assertion.details_left_out > 0 {
        found.push(format!("and {} more", words::number(assertion.details_left_out)));
    }
    found
}

fn properties(this: &Kept) -> Vec<(&'static str, String)> {
    let Kept { report, hash, .. } = this;
    let milliseconds = |ms: Option<u64>| ms.map(|ms| ms.to_string());
    let mut properties = vec![
        ("report_id", report.identity.report_id.clone()),
        ("report_number", report.chain.number.to_string()),
        ("report_hash", hash.clone()),
        ("host", words::tame(&report.identity.host)),
        ("asof_version", report.identity.asof_version.clone()),
        ("journal_id", report.identity.journal_id.clone()),
        ("scenario", words::tame(&report.scenario)),
        ("seed", report.seed.to_string()),
        ("instant", words::instant(report)),
        ("selection", words::selection(report)),
        ("outcome", report.outcome.as_str().to_owned()),
    ];
    let figures = [
        ("rto_ms", milliseconds(report.rto.measured_ms)),
        ("rto_target_ms", milliseconds(report.rto.target_ms)),
        ("rpo_ms", milliseconds(report.rpo.measured_ms)),
        ("rpo_target_ms", milliseconds(report.rpo.target_ms)),
        ("previous_report_hash", report.chain.previous_hash.clone()),
    ];
    properties.extend(figures.into_iter().filter_map(|(name, value)| Some((name, value?))));
    properties
}

/// What programs printed.
fn output(report: &Report) -> String {
    let mut text = String::new();
    for command in &report.commands {
        text.push_str(&format!("$ {}\n", words::command_line(command)));
        for line in words::lines(&command.output) {
            text.push_str(&line);
            text.push('\n');
        }
        text.push_str(&format!("({})\n", words::ending(command)));
    }
    if let Some(more) = words::more_commands(report) {
        text.push_str(&format!("{more}\n"));
    }
    text
}

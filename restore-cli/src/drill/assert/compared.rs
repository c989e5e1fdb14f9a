//! Content, paths and metadata against the oracle: pure but for a look at whether something is absent.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::super::compare::Finding;
use super::super::report::{Assertion, Outcome};
use super::super::spec::{Assert, Percent};
use super::{Case, verdict, with_findings};
use crate::output::{counted, escape};
use crate::path;

/// Whether what came back has the bytes that the oracle knows.
pub(super) fn content(case: &Case<'_>, least: Percent) -> Assertion {
    let found = case.findings;
    let mut wrong: Vec<Finding> = found.differing.iter().chain(&found.refused).cloned().collect();
    if !asserts(case, "paths") {
        wrong.extend(found.missing.iter().cloned());
    }
    let share = Share { known: found.compared.len() as u64, unknown: &found.unknown_content, least };
    share.judge(
        case,
        "content",
        wrong,
        "file",
        "has the bytes that the oracle knows",
        "have the bytes that the oracle knows",
    )
}

/// Whether exactly those paths came back that the oracle knows.
pub(super) fn paths(case: &Case<'_>, absent: &[PathBuf], least: Percent) -> Assertion {
    let found = case.findings;
    let mut wrong: Vec<Finding> = found.missing.iter().chain(&found.extra).cloned().collect();
    if !asserts(case, "content") {
        wrong.extend(found.refused.iter().cloned());
    }
    let mut elsewhere = None;
    for path in absent {
        let bytes = path::absolute(path.as_os_str().as_bytes(), b"/");
        match case.brought.place_of(&bytes) {
            Some(place) if place.symlink_metadata().is_ok() => {
                wrong.push((bytes, "is restored and must be absent".to_owned()));
            }
            Some(_) => {}
            None => elsewhere = Some(bytes),
        }
    }
    let share = Share { known: found.placed, unknown: &found.unknown_paths, least };
    let mut told = share.judge(
        case,
        "paths",
        wrong,
        "path",
        "is what the oracle knows",
        "are exactly those that the oracle knows",
    );
    if let (Some(path), Outcome::Pass) = (elsewhere, told.outcome) {
        told.outcome = Outcome::Inconclusive;
        told.message = format!("{} is to be absent, and lies in nothing that was restored", escape(&path));
    }
    told
}

/// Whether the metadata is that which the oracle knows.
pub(super) fn metadata(case: &Case<'_>, least: Percent) -> Assertion {
    let found = case.findings;
    let share = Share { known: found.described, unknown: &found.unknown_metadata, least };
    let told = "have the metadata that the oracle knows";
    share.judge(
        case,
        "metadata",
        found.metadata.clone(),
        "path",
        "has the metadata that the oracle knows",
        told,
    )
}

fn asserts(case: &Case<'_>, kind: &str) -> bool {
    case.spec.asserts.iter().map(Assert::kind).any(|other| other == kind)
}

/// How much the oracle knows.
struct Share<'s> {
    known: u64,
    unknown: &'s [Vec<u8>],
    least: Percent,
}

impl Share<'_> {
    fn judge(
        &self,
        case: &Case<'_>,
        kind: &str,
        wrong: Vec<Finding>,
        noun: &str,
        one: &str,
        many: &str,
    ) -> Assertion {
        let unknown = self.unknown.len() as u64;
        if !wrong.is_empty() {
            let first =
                wrong.first().map(|(path, what)| format!("{} {what}", escape(path))).unwrap_or_default();
            let more = match wrong.len() {
                1 => String::new(),
                more => format!(", and {} more", more - 1),
            };
            return with_findings(verdict(kind, Outcome::Fail, format!("{first}{more}")), wrong);
        }
        let spared = case.findings.spared;
        if self.known == 0 && unknown == 0 && spared > 0 {
            let message =
                format!("nothing else was chosen than {} with planted damage", counted(spared, "path"));
            return verdict(kind, Outcome::Pass, message);
        }
        let all = self.known + unknown;
        let why = case.remarks.first().map(|remark| format!(" ({remark})")).unwrap_or_default();
        let unknown_findings = || {
            self.unknown
                .iter()
                .map(|path| (path.clone(), "is known to no oracle as of that instant".to_owned()))
        };
        if self.known == 0 {
            let message = format!("no oracle knows what was selected as of that instant{why}");
            return with_findings(verdict(kind, Outcome::Inconclusive, message), unknown_findings());
        }
        if (self.known as f64) < all as f64 * self.least.0 / 100.0 {
            let message = format!(
                "the oracle knows {} of {all} as of that instant, less than {} %{why}",
                self.known, self.least.0
            );
            return with_findings(verdict(kind, Outcome::Inconclusive, message), unknown_findings());
        }
        let is = if self.known == 1 { one } else { many };
        let left = if unknown == 0 { String::new() } else { format!("; no oracle knows {unknown} more") };
        verdict(kind, Outcome::Pass, format!("{} {is}{left}", counted(self.known, noun)))
    }
}

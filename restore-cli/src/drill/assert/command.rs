//! A program that is run in what was restored, with a limit.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::child::{self, Program};
use super::super::report;
use super::super::report::{Assertion, Outcome};
use super::super::spec::Length;
use super::super::stop::Tried;
use super::measured::shown;
use super::{Case, verdict};
use crate::output::escape;
use crate::path;

const KIND: &str = "command";

/// Runs it: status 0 is well, anything else is not.
pub(super) fn run(
    case: &Case<'_>,
    words: &[String],
    limit: Length,
    cwd: Option<&Path>,
    commands: &mut Vec<report::Command>,
) -> Tried<Assertion> {
    let directory = match directory(case, cwd) {
        Ok(directory) => directory,
        Err((outcome, why)) => return Ok(verdict(KIND, outcome, why)),
    };
    let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
    let program =
        Program { what: "assertion".to_owned(), argv, directory: Some(&directory), limit: Some(limit.0) };
    let ran = child::run(case.scratch, program, &mut |_| {})?;
    let line = words.iter().map(|word| escape(word.as_bytes())).collect::<Vec<_>>().join(" ");
    let outcome = match (&ran.not_started, ran.is_well()) {
        // Nothing is said of what was restored by a program that is not there.
        (Some(_), _) => Outcome::Inconclusive,
        (None, true) => Outcome::Pass,
        (None, false) => Outcome::Fail,
    };
    let message = match ran.command.timed_out {
        true => format!("`{line}` was killed with all its children after {}", shown(limit.ms())),
        false => format!("`{line}` {}", ran.how()),
    };
    let mut told = verdict(KIND, outcome, message);
    if outcome != Outcome::Pass {
        let lines: Vec<&str> = ran.command.output.lines().collect();
        told.details = lines.iter().rev().take(10).rev().map(|line| escape(line.as_bytes())).collect();
    }
    commands.push(ran.command);
    Ok(told)
}

/// Where it runs: the directory that is named, else the one that was restored, else what everything was restored into.
fn directory(case: &Case<'_>, cwd: Option<&Path>) -> Result<PathBuf, (Outcome, String)> {
    let Some(cwd) = cwd else {
        let mut places = case.brought.places.values();
        return match (places.next(), places.next()) {
            (Some(only), None) if only.is_dir() => Ok(only.clone()),
            (Some(_), _) => Ok(case.scratch.path().join(super::super::run::RESTORED)),
            (None, _) => Err((Outcome::Inconclusive, "nothing was restored that it could run in".to_owned())),
        };
    };
    let bytes = path::absolute(cwd.as_os_str().as_bytes(), b"/");
    let shown = escape(&bytes);
    match case.brought.place_of(&bytes) {
        Some(place) if place.is_dir() => Ok(place),
        Some(_) => {
            Err((Outcome::Fail, format!("{shown}, where it should run, did not come back as a directory")))
        }
        None => Err((
            Outcome::Inconclusive,
            format!("{shown}, where it should run, lies in nothing that was restored"),
        )),
    }
}

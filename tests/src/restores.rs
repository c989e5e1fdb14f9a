//! Restores in place and undos as suites ask for them, and what these say.

use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use crate::must::Must;
use crate::site::{Asof, Output, Site, arguments};

/// `asof --json restore PATH --at AT --in-place --yes`, and more.
pub fn back(site: &Site, path: &Path, at: &str, further: &[&str]) -> Asof {
    let mut all = arguments(&[&"--json", &"restore", &path, &"--at", &at, &"--in-place", &"--yes"]);
    all.extend(further.iter().map(OsString::from));
    site.asof(all)
}

/// `asof --json undo --yes`, and more.
pub fn undo(site: &Site, further: &[&str]) -> Asof {
    let mut all = arguments(&[&"--json", &"undo", &"--yes"]);
    all.extend(further.iter().map(OsString::from));
    site.asof(all)
}

/// The last line of what a restore says.
#[track_caller]
pub fn summary(output: &Output) -> Value {
    let last = output.json_lines().pop().must("a summary");
    assert_eq!(last["type"], "summary", "{last}");
    last
}

/// The first line of a type.
#[track_caller]
pub fn line(output: &Output, of_type: &str) -> Value {
    output.json_lines().into_iter().find(|line| line["type"] == of_type).must(of_type)
}

/// The names of the entries that a restore had to leave, sorted.
#[track_caller]
pub fn left(output: &Output) -> Vec<String> {
    let name =
        |line: &Value| line["path"].as_str().map(|path| path.rsplit('/').next().unwrap_or(path).to_owned());
    let mut named: Vec<String> = output
        .json_lines()
        .iter()
        .filter(|line| line["type"] == "problem")
        .map(|line| name(line).must("a path"))
        .collect();
    named.sort();
    named
}

//! Tests of the forms: each is read by a reader that is not ours (`tests/reports/check.py`), and says what the report says.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::*;
use crate::drill::report::{Outcome, Report};
use crate::drill::sample;

/// The newest of so many days.
fn newest(days: u64) -> (Kept, Past) {
    let past = sample::past(days);
    (past.reports.last().unwrap().clone(), past)
}

/// A report by itself, as it would be kept.
fn kept(report: Report) -> Kept {
    let hash = store::hash(&store::encode(&report).unwrap());
    Kept { report, hash, file: "x".into() }
}

fn project(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

/// What a reader of others found in a text, or its faults.
fn read(form: &str, text: &str) -> std::result::Result<Value, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report");
    std::fs::write(&file, text).unwrap();
    // The packages of the system are beside its own Python.
    let mut command = Command::new("/usr/bin/python3");
    command.arg(project("tests/reports/check.py")).arg(form);
    if form == "json" {
        command.arg(project("packaging/drills/report.schema.json"));
    }
    let output = command.arg(&file).output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn json(report: &Report) -> String {
    String::from_utf8(store::encode(report).unwrap()).unwrap()
}

#[test]
fn reports_are_as_their_schema_says_and_the_schema_says_nothing_else() {
    for day in [1, 7, 11] {
        read("json", &json(&sample::report(day))).unwrap();
    }
    read("json", &json(&sample::wicked())).unwrap();
    let mut chained = sample::report(2);
    chained.chain.previous_hash = Some(store::hash(b"1"));
    read("json", &json(&chained)).unwrap();
}

#[test]
fn what_is_not_a_report_is_not_taken_for_one_by_the_schema() {
    let good: Value = serde_json::to_value(sample::wicked()).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // Every field that is there is either wanted, or one of those that may be absent.
    let mut wrong = Vec::new();
    for field in fields(&good) {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(&field);
        wrong.push((format!("without {field}"), without));
        let mut other = good.clone();
        other[&field] = Value::Bool(true);
        wrong.push((format!("{field} is true"), other));
    }
    for (pointer, value) in [
        ("/outcome", Value::from("maybe")),
        ("/schema", Value::from("asof-drill-report/2")),
        ("/times/started", Value::from("2026-11-28T03:00:00Z")),
        ("/assertions/0/outcome", Value::from("PASS")),
        ("/counts/matched", Value::from(-1)),
        ("/evidence/0/blake3", Value::from("abc")),
        ("/identity/drill", Value::from("")),
        ("/commands/0/argv", Value::Array(Vec::new())),
        ("/hooks/0/event", Value::from("end")),
    ] {
        let mut other = good.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        wrong.push((pointer.to_owned(), other));
    }
    // One call of the reader for each would take a minute: the fields are asked for in one list.
    let bad = wrong.iter().step_by(7).chain(wrong.iter().rev().take(9));
    for (what, value) in bad {
        assert!(read("json", &value.to_string()).is_err(), "{what} is taken");
    }
    let mut unknown = good.clone();
    unknown["counts"]["surplus"] = Value::from(1);
    assert!(read("json", &unknown.to_string()).unwrap_err().contains("strictly: counts"));
}

#[test]
fn junit_has_a_case_for_each_assertion() {
    for report in [sample::report(1), sample::report(7), sample::report(11), sample::wicked()] {
        let found = read("junit", &junit::render(&kept(report.clone())).unwrap()).unwrap();
        let cases = found["cases"].as_array().unwrap();
        assert_eq!(cases.len(), report.assertions.len());
        for (case, assertion) in cases.iter().zip(&report.assertions) {
            let ended = match assertion.outcome {
                Outcome::Pass => "pass",
                Outcome::Fail => "failure",
                Outcome::Inconclusive => "error",
            };
            assert_eq!(case["ended"], ended, "{case}");
            assert_eq!(case["name"], words::tame(&assertion.name).as_str());
            if assertion.outcome != Outcome::Pass {
                assert_eq!(case["message"], words::tame(&assertion.message).as_str());
            }
        }
    }
}

#[test]
fn junit_is_never_green_where_the_drill_is_not() {
    for outcome in [Outcome::Fail, Outcome::Inconclusive] {
        for with_assertions in [true, false] {
            let mut report = sample::report(1);
            report.outcome = outcome;
            report.why = "nothing was selected".into();
            if !with_assertions {
                report.assertions.clear();
            }
            let found = read("junit", &junit::render(&kept(report)).unwrap()).unwrap();
            let first = &found["cases"][0];
            assert_eq!(first["name"], "verdict");
            assert_eq!(first["message"], "nothing was selected");
            assert_ne!(first["ended"], "pass");
        }
    }
}

/// The value of a metric, by one of its labels where it has more.
fn metric(found: &Value, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    let samples = found["metrics"].get(format!("asof_drill_{name}"))?.as_array().unwrap();
    let has = |sample: &&Value| label.is_none_or(|(label, value)| sample["labels"][label] == value);
    samples.iter().find(has).map(|sample| sample["value"].as_f64().unwrap())
}

#[test]
fn prometheus_gets_the_last_success_and_every_figure() {
    let (this, past) = newest(11);
    let found = read("prometheus", &prometheus::render(&this, &past).unwrap()).unwrap();
    let get = |name, label| metric(&found, name, label);
    let success = past.reports[9].report.times.ended.0.0 as f64 / 1e9;
    assert!((get("last_success_timestamp_seconds", None).unwrap() - success).abs() < 0.01);
    let run = this.report.times.ended.0.0 as f64 / 1e9;
    assert!((get("last_run_timestamp_seconds", None).unwrap() - run).abs() < 0.01);
    assert_eq!(get("outcome", Some(("outcome", "inconclusive"))), Some(1.0));
    assert_eq!(get("outcome", Some(("outcome", "pass"))), Some(0.0));
    // What was not measured is absent, not zero.
    assert_eq!(get("rto_seconds", None), None);
    assert_eq!(get("rto_target_seconds", None), Some(10.0));
    assert_eq!(get("paths", Some(("found", "matched"))), Some(842.0));
    assert_eq!(get("paths_drilled_ratio", None), Some(0.11));
    assert_eq!(get("chain_breaks", None), Some(0.0));

    let (this, past) = newest(2);
    let found = read("prometheus", &prometheus::render(&this, &past).unwrap()).unwrap();
    let rto = this.report.rto.measured_ms.unwrap() as f64 / 1000.0;
    assert_eq!(metric(&found, "rto_seconds", None), Some(rto));
    // A drill that never succeeded has no time of success.
    let mut failed = sample::report(7);
    failed.identity.drill = "another".into();
    let found = read("prometheus", &prometheus::render(&kept(failed), &past).unwrap()).unwrap();
    assert_eq!(metric(&found, "last_success_timestamp_seconds", None), None);
}

#[test]
fn prometheus_labels_hold_any_name() {
    let wicked = sample::wicked();
    let found =
        read("prometheus", &prometheus::render(&kept(wicked.clone()), &Past::default()).unwrap()).unwrap();
    let labels = &found["metrics"]["asof_drill_report_number"][0]["labels"];
    assert_eq!(labels["drill"], words::tame(&wicked.identity.drill).as_str());
}

/// Leaves a page in the directory `ASOF_PAGES`, where there is one, for a person to look at.
fn show(name: &str, page: &str) {
    if let Some(dir) = std::env::var_os("ASOF_PAGES") {
        std::fs::write(Path::new(&dir).join(name), page).unwrap();
    }
}

#[test]
fn the_page_is_sound_and_needs_nothing_else() {
    for days in [1, 2, 7, 11, 40, 300] {
        let (this, past) = newest(days);
        let page = html::render(&this, &past);
        show(&format!("{days}.html"), &page);
        let found = read("html", &page).unwrap();
        let text = found["text"].as_str().unwrap();
        let verdict = words::verdict(this.report.outcome);
        assert_eq!(found["title"], format!("{verdict}: workstation-weekly").as_str());
        for wanted in [verdict, "RTO", "RPO", "Coverage", &this.hash, &words::time(this.report.times.started)]
        {
            assert!(text.contains(wanted), "{days}: no {wanted}");
        }
        for kept in &past.reports {
            assert!(text.contains(&words::minute(kept.report.times.started)));
        }
    }
}

#[test]
fn names_are_nothing_but_names_in_a_page() {
    let mut past = sample::past(3);
    past.breaks.push(store::chain::Break { number: 2, what: "<b>report 2</b> is gone".into() });
    let wicked = kept(sample::wicked());
    let page = html::render(&wicked, &past);
    show("names.html", &page);
    let found = read("html", &page).unwrap();
    assert!(
        !page.contains("<script") && !page.contains("<b>") && !page.contains("<i>"),
        "markup got through"
    );
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}') && !page.contains('\u{7}'));
    let text = found["text"].as_str().unwrap();
    for wanted in
        ["<script>alert('x')</script>", "The chain of reports is broken", "and 17 more", "still open"]
    {
        assert!(text.contains(wanted), "no {wanted}");
    }
}

#[test]
fn a_page_that_runs_or_fetches_something_would_be_noticed() {
    let (this, past) = newest(2);
    let page = html::render(&this, &past);
    for (place, with) in [
        ("</main>", "<script>1</script></main>"),
        ("</main>", "<img src=\"http://x.invalid/\"></main>"),
        ("</main>", "<p onclick=\"x()\">y</p></main>"),
        ("</style>", "a{background:url(http://x.invalid)}</style>"),
        ("</main>", "</div></main>"),
    ] {
        assert!(page.contains(place));
        assert!(read("html", &page.replacen(place, with, 1)).is_err(), "{with}");
    }
}

#[test]
fn markdown_says_it_all_and_names_stay_names() {
    let (this, past) = newest(7);
    let text = markdown::render(&this, &past);
    for wanted in
        ["# Failed: workstation-weekly", "**FAIL**", "| RTO, request to verified | ", "## Before", &this.hash]
    {
        assert!(text.contains(wanted), "no {wanted} in\n{text}");
    }
    let text = markdown::render(&kept(sample::wicked()), &past);
    // Within a fence everything is text; the fence is longer than what is in it.
    let outside: Vec<&str> = text.split("````").step_by(2).collect();
    assert!(
        outside.len() > 1
            && outside.iter().all(|part| !part.contains("<script") && !part.contains("](http:")),
        "{text}"
    );
    // No row has more cells than its head.
    for table in text.split("\n\n").filter(|block| block.contains("\n|---")) {
        let rows = table.lines().filter(|line| line.starts_with('|'));
        let cells: Vec<usize> = rows.map(|row| row.replace("\\|", "").matches('|').count()).collect();
        assert!(cells.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
    }
    assert!(text.contains("Left behind"));
}

fn all_in(dir: &Path) -> ReportFiles {
    ReportFiles {
        json: Some(dir.join("r.json")),
        junit: Some(dir.join("r.xml")),
        prometheus: Some(dir.join("r.prom")),
        markdown: Some(dir.join("r.md")),
        html: Some(dir.join("r.html")),
    }
}

#[test]
fn every_form_is_written_as_a_whole_and_replaces_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = all_in(dir.path());
    let (this, past) = newest(3);
    for _ in 0..2 {
        assert!(write_all(&this, &past, &wanted).is_empty());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5, "nothing that was written aside is left");
    assert_eq!(store::hash(&std::fs::read(dir.path().join("r.json")).unwrap()), this.hash);
    let mode = std::fs::metadata(dir.path().join("r.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "the collector is another user");
    // One that cannot be written keeps the others from nothing.
    std::fs::remove_file(dir.path().join("r.xml")).unwrap();
    std::fs::create_dir(dir.path().join("r.xml")).unwrap();
    let (this, past) = newest(4);
    let failed = write_all(&this, &past, &wanted);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].to_string().contains("r.xml"));
    assert_eq!(store::hash(&std::fs::read(dir.path().join("r.json")).unwrap()), this.hash);
}

#[test]
fn places_that_cannot_take_a_report_are_refused_before_the_drill() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    std::fs::create_dir_all(journal.join("segments")).unwrap();
    let html = |path: &Path| ReportFiles { html: Some(path.to_owned()), ..ReportFiles::default() };
    let refused = |path: &Path| check(&html(path), &journal).map_err(|error| error.to_string());
    assert_eq!(refused(&dir.path().join("new.html")), Ok(()));
    std::fs::write(dir.path().join("old.html"), "old").unwrap();
    assert_eq!(refused(&dir.path().join("old.html")), Ok(()));
    std::os::unix::fs::symlink("old.html", dir.path().join("link.html")).unwrap();
    std::os::unix::fs::symlink(&journal, dir.path().join("way")).unwrap();
    for (path, why) in [
        (dir.path().to_owned(), "a directory"),
        (dir.path().join("link.html"), "a symlink"),
        ("/dev/null".into(), "a device"),
        (journal.join("segments/r.html"), "may not go into the journal"),
        (dir.path().join("way/r.html"), "may not go into the journal"),
        (dir.path().join("none/r.html"), "looking at its directory"),
    ] {
        let said = refused(&path).unwrap_err();
        assert!(said.contains(why), "{}: {said}", path.display());
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("old.html")).unwrap(), "old");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let mut wanted = all_in(Path::new("/file"));
    let said = DrillReports {
        html: Some("/said.html".into()),
        report: Some("/said.json".into()),
        ..DrillReports::default()
    };
    prefer(&mut wanted, &said);
    let paths: Vec<&Path> = files(&wanted).map(|(_, path)| path.as_path()).collect();
    let expected = ["/said.json", "/file/r.xml", "/file/r.prom", "/file/r.md", "/said.html"];
    assert_eq!(paths, expected.map(Path::new));
}

#[test]
fn the_drills_that_come_along_are_sound() {
    let mut found = 0;
    for entry in std::fs::read_dir(project("packaging/drills")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let (spec, _) = crate::drill::spec::Spec::read(&path).unwrap();
            assert_eq!(Some(spec.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
            found += 1;
        }
    }
    assert_eq!(found, 3);
}

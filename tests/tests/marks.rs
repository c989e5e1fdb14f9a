//! Instants that people name: `mark`, `--at mark:NAME`, and what is said where there is none.

use std::fs;

use asof_journal::storage::Layout;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use serde_json::Value;

fn put(site: &Site, name: &str, content: &str) {
    let path = site.root.join(name);
    fs::write(&path, content).must(path.display());
}

#[track_caller]
fn cat(site: &Site, name: &str, at: &str) -> String {
    site.asof(arguments(&[&"cat", &site.root.join(name), &"--at", &at])).exits(0).text()
}

#[track_caller]
fn mark(site: &Site, name: &str) -> Value {
    site.asof(["--json", "mark", name]).exits(0).json()
}

#[test]
fn a_name_stands_for_exactly_the_state_at_the_call() {
    let site = Site::new();
    let agent = site.start();
    put(&site, "a", "one");
    let first = mark(&site, "before the move");
    put(&site, "a", "two");
    let text = site.asof(["mark", "grün-v1.2"]).exits(0).text();
    assert!(text.contains("mark:grün-v1.2") && text.contains("seq:"), "{text}");
    put(&site, "a", "three");
    site.sync();

    let check = || {
        assert_eq!(cat(&site, "a", "mark:before the move"), "one");
        assert_eq!(cat(&site, "a", first["at"].as_str().must("at")), "one");
        assert_eq!(cat(&site, "a", first["instant"].as_str().must("instant")), "one");
        assert_eq!(cat(&site, "a", first["mark"].as_str().must("mark")), "one");
        assert_eq!(cat(&site, "a", "mark:grün-v1.2"), "two");
        let with_time = format!("{}@mark:before the move", site.root.join("a").display());
        assert_eq!(site.asof(["cat", &with_time]).exits(0).text(), "one");
        let restored = site.restore(&site.root, "mark:grün-v1.2");
        assert_eq!(fs::read_to_string(restored.join("a")).must("a file"), "two");
        let changes = site.asof(["diff", "--from", "mark:before the move", "--to", "mark:grün-v1.2"]);
        assert!(changes.exits(0).text().contains("/a"));

        let listed = site.asof(["--json", "mark"]).exits(0).json_lines();
        let names: Vec<&str> = listed.iter().filter_map(|line| line["name"].as_str()).collect();
        assert_eq!(names, ["before the move", "grün-v1.2"]);
        assert_eq!(listed[0], first);
        let text = site.asof(["mark"]).exits(0).text();
        assert!(text.lines().next().is_some_and(|line| line.ends_with("mark:before the move")), "{text}");
    };
    check();
    agent.terminate();
    check();
    fs::remove_dir_all(Layout::new(&site.journal).index()).must("the index");
    check();
    // A new writer makes the index anew.
    let agent = site.start();
    check();
    agent.terminate();
    site.asof(["verify", "--deep"]).exits(0);
}

#[test]
fn a_name_is_given_once() {
    let site = Site::new();
    let agent = site.start();
    put(&site, "a", "one");
    let first = mark(&site, "v1");
    put(&site, "a", "two");
    let error = site.asof(["mark", "v1"]).exits(1).stderr;
    assert!(error.contains("already") && error.contains(first["at"].as_str().must("at")), "{error}");
    assert!(error.contains(first["instant"].as_str().must("instant")), "says when: {error}");
    assert_eq!(cat(&site, "a", "mark:v1"), "one");
    agent.terminate();
    let agent = site.start();
    site.asof(["mark", "v1"]).exits(1);
    mark(&site, "V1");
    agent.terminate();
    assert_eq!(site.asof(["--json", "mark"]).exits(0).json_lines().len(), 2);
}

#[test]
fn marks_are_in_the_log_of_directories() {
    let site = Site::new();
    let agent = site.start();
    put(&site, "a", "one");
    let first = mark(&site, "v1");
    put(&site, "a", "two");
    site.sync();
    agent.terminate();
    for lines in [
        site.asof(["--json", "log"]).exits(0).json_lines(),
        site.asof(arguments(&[&"--json", &"log", &site.root])).exits(0).json_lines(),
    ] {
        let at = lines.iter().position(|line| line["what"] == "mark").must("the mark");
        assert_eq!((&lines[at]["name"], &lines[at]["seq"]), (&Value::from("v1"), &first["seq"]));
        let is_of_a = |line: &Value| line["path"].as_str().is_some_and(|path| path.ends_with("/a"));
        assert!(lines[..at].iter().any(is_of_a) && lines[at..].iter().any(is_of_a), "between the two");
    }
    let file = site.asof(arguments(&[&"--json", &"log", &site.root.join("a")])).exits(0).json_lines();
    assert!(file.iter().all(|line| line["what"] != "mark"), "a file has its own history");
}

#[test]
fn what_is_no_mark_is_said_with_what_helps() {
    let site = Site::new();
    let agent = site.start();
    put(&site, "a", "one");
    let root = site.root.display().to_string();
    let unknown = |name: &str| site.asof(["ls", &root, "--at", &format!("mark:{name}")]).exits(5).stderr;
    assert!(unknown("v1").contains("mark NAME"));
    for name in ["before-the-move", "before-the-merge", "release"] {
        mark(&site, name);
    }
    let error = unknown("before-the-mvoe");
    assert!(error.contains("did you mean mark:before-the-move or"), "{error}");
    assert!(error.contains(" mark"), "{error}");
    let error = unknown("xyz");
    assert!(!error.contains("did you mean") && error.contains(" mark"), "{error}");

    for name in ["", "a/b", "a@b", "a\nb", " a", &"x".repeat(256)] {
        let error = site.asof(["mark", name]).exits(2).stderr;
        assert!(error.contains("cannot name an instant"), "{error}");
        assert!(!error.trim_end().contains('\n') || error.contains("next:"), "{error:?}");
        site.asof(["ls", &root, "--at", &format!("mark:{name}")]).exits(2);
    }
    assert_eq!(site.asof(["--json", "mark"]).exits(0).json_lines().len(), 3);
    agent.terminate();
    let error = site.asof(["mark", "another"]).exits(1).stderr;
    assert!(error.contains("no asofd is running") && error.contains("asofd run"), "{error}");
    site.asof(["ls", &root, "--at", "mark:release"]).exits(0);
}

//! What came and went before it could be read: the journal says that it existed and was not captured.

use std::fs;
use std::path::Path;

use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use serde_json::Value;

#[track_caller]
fn log(site: &Site, path: &Path) -> Vec<Value> {
    site.asof(arguments(&[&"--json", &"log", &path])).exits(0).json_lines()
}

fn of<'l>(lines: &'l [Value], what: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["what"] == what).collect()
}

/// The agent sees everything at once, afterwards: nothing of it can be read in between.
fn unseen(agent: &asof_tests::agent::Agent, change: impl FnOnce()) {
    agent.freeze();
    change();
    agent.resume();
}

#[test]
fn a_file_that_came_and_went_is_in_the_log_of_its_name_and_of_its_directory() {
    let site = Site::new();
    let agent = site.start();
    let (path, dir) = (site.root.join("brief"), site.root.join("brief-dir"));
    unseen(&agent, || {
        fs::write(&path, "never read").must("write");
        fs::remove_file(&path).must("rm");
        fs::create_dir(&dir).must("mkdir");
        fs::remove_dir(&dir).must("rmdir");
    });
    site.sync();
    for asked in [&path, &site.root] {
        let lines = log(&site, asked);
        let vanished: Vec<&Value> =
            of(&lines, "vanished").into_iter().filter(|line| line["kind"] == "file").collect();
        assert_eq!(vanished.len(), 1, "{lines:?}");
        assert_eq!(
            (&vanished[0]["quality"], vanished[0]["path"].as_str()),
            (&"unread".into(), path.to_str())
        );
    }
    assert_eq!(log(&site, &dir)[0]["kind"], "dir");
    let shown = site.asof(arguments(&[&"log", &path])).exits(0).text();
    assert!(shown.contains("existed, not captured"), "{shown}");
    site.asof(arguments(&[&"cat", &path])).exits(5);

    // The name goes on: what comes there next is captured, and its history reaches back.
    fs::write(&path, "read").must("write");
    let synced = site.sync();
    assert_eq!(site.asof(arguments(&[&"cat", &path, &"--at", &synced.at])).exits(0).stdout, b"read");
    assert_eq!(of(&log(&site, &path), "vanished").len(), 1);
    agent.terminate();
}

#[test]
fn what_a_file_held_last_is_missed_when_it_goes_or_is_replaced_unread() {
    let site = Site::new();
    let (gone, replaced) = (site.root.join("gone"), site.root.join("replaced"));
    for path in [&gone, &replaced] {
        fs::write(path, "first").must("write");
    }
    let agent = site.start();
    site.sync();
    unseen(&agent, || {
        fs::write(&gone, "second").must("write");
        fs::remove_file(&gone).must("rm");
        fs::write(&replaced, "second").must("write");
        fs::write(site.root.join("new"), "third").must("write");
        fs::rename(site.root.join("new"), &replaced).must("mv");
    });
    let synced = site.sync();
    let lines = log(&site, &gone);
    assert_eq!(lines[0]["what"], "deleted", "{lines:?}");
    assert_eq!(lines[0]["quality"], "unread", "{lines:?}");
    for asked in [&replaced, &site.root] {
        let lines = log(&site, asked);
        let vanished = of(&lines, "vanished");
        assert_eq!(vanished.len(), 1, "{lines:?}");
        assert_eq!(vanished[0]["path"].as_str(), replaced.to_str());
    }
    assert_eq!(site.asof(arguments(&[&"cat", &replaced, &"--at", &synced.at])).exits(0).stdout, b"third");
    agent.terminate();
}

#[test]
fn what_was_renamed_or_read_in_time_is_not_missed() {
    let site = Site::new();
    let agent = site.start();
    let path = site.root.join("saved");
    for round in 0..30 {
        let save = || {
            fs::write(site.root.join("saved.tmp"), format!("round {round}")).must("write");
            fs::rename(site.root.join("saved.tmp"), &path).must("mv");
        };
        if round % 3 == 0 {
            unseen(&agent, save)
        } else {
            save()
        }
        site.sync();
    }
    fs::remove_file(&path).must("rm");
    site.sync();
    let lines = log(&site, &site.root);
    assert_eq!(of(&lines, "vanished").len(), 0, "{lines:?}");
    assert!(of(&lines, "deleted").iter().all(|line| line["quality"].is_null()), "{lines:?}");
    agent.terminate();
}

#[test]
fn a_storm_of_brief_files_is_counted_and_costs_little() {
    const FILES: u64 = 10_000;
    let site = Site::new();
    let agent = site.start();
    site.sync();
    let before = site.segment_bytes();
    for number in 0..FILES {
        let path = site.root.join(format!("brief-{number}"));
        fs::write(&path, "x").must("write");
        fs::remove_file(&path).must("rm");
    }
    site.sync();
    let lines = log(&site, &site.root);
    let counted = |line: &&Value| {
        let detail = line["detail"].as_str()?;
        detail.strip_prefix("about ")?.split(' ').next()?.parse::<u64>().ok()
    };
    let vanished = of(&lines, "vanished");
    let unnamed: u64 = vanished.iter().filter_map(counted).sum();
    let named = vanished.iter().filter(|line| line["detail"].is_null()).count() as u64;
    let captured = of(&lines, "created").len() as u64;
    eprintln!("{captured} captured, {named} named, {unnamed} counted, {} lines", vanished.len());
    assert!(named + unnamed > 0, "none was too brief: this test shows nothing");
    if site.counter("overflows") == 0 {
        // A file that is captured while its deletion is on its way may be counted twice.
        assert!((captured + named + unnamed).abs_diff(FILES) <= FILES / 100);
    }
    let cost = site.segment_bytes() - before;
    assert!(cost < FILES * 256, "{cost} bytes for {FILES} files");
    agent.terminate();
}

#[test]
fn a_full_directory_that_was_captured_and_goes_is_no_gap() {
    let site = Site::new();
    let dir = site.root.join("full");
    fs::create_dir(&dir).must(dir.display());
    for number in 0..300 {
        fs::write(dir.join(format!("file-{number}")), "x").must(dir.display());
    }
    let agent = site.start();
    site.sync();
    let gaps = site.status()["gaps"].as_u64();
    fs::remove_dir_all(&dir).must(dir.display());
    site.sync();
    assert_eq!(site.status()["gaps"].as_u64(), gaps, "everything in it had been captured");
    agent.terminate();
}

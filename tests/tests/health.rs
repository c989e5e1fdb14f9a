//! What goes wrong is named while it lasts, leaves a gap, and is over without a restart.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asof_tests::agent::Agent;
use asof_tests::filesystem::{Filesystem, Mount, run};
use asof_tests::inject::{can_end_threads, end_thread, thread_named};
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::wait::{PATIENCE, eventually};
use serde_json::Value;

fn configured(site: &Site, text: &str) -> Agent {
    let path = site.path("config.toml");
    fs::write(&path, format!("{text}\n[[root]]\npath = '{}'\n", site.root.display())).must(path.display());
    Agent::start_configured(site, &path)
}

fn put(path: &Path, content: &str) {
    fs::write(path, content).must(path.display());
}

fn missed(site: &Site) -> u64 {
    site.status()["missed_by_events"].as_u64().must("missed_by_events")
}

fn checked(site: &Site) -> u64 {
    site.counter("directories_checked")
}

/// Waits until a check that begins after now has ended.
fn after_a_check(site: &Site, directories: u64) {
    let before = checked(site);
    eventually(PATIENCE, "two checks", || (checked(site) >= before + 2 * directories).then_some(()));
}

/// The gaps that a restore of the newest state would name.
fn gaps_at(site: &Site, path: &Path) -> Vec<String> {
    let to = site.fresh("planned");
    let planned = site.asof(arguments(&[&"restore", &path, &"--to", &to, &"--dry-run"])).run();
    planned.stderr.lines().filter(|line| line.contains("gap at")).map(String::from).collect()
}

#[test]
fn the_check_finds_what_no_event_announced_and_nothing_else() {
    let site = Site::new();
    fs::create_dir_all(site.root.join("a/b")).must("mkdir");
    let file = site.root.join("a/b/file");
    put(&file, "content");
    let agent = configured(&site, "reconcile_every = '1s'");
    agent.protecting(&site);
    for round in 0..200 {
        put(&site.root.join(format!("a/new-{round}")), "x");
        put(&file, &format!("content {round}"));
        fs::create_dir_all(site.root.join(format!("d-{round}/e"))).must("mkdir");
        fs::remove_dir_all(site.root.join(format!("d-{round}"))).must("rm");
        if round % 3 == 0 {
            fs::remove_file(site.root.join(format!("a/new-{round}"))).must("rm");
        }
    }
    site.sync();
    after_a_check(&site, 3);
    assert_eq!(missed(&site), 0, "{}", agent.log());
    // The kernel says nothing of this one.
    let flagged = Command::new("chattr").arg("+d").arg(&file).status();
    if !flagged.is_ok_and(|status| status.success()) {
        println!("skipped: chattr is missing, or this filesystem has no flags");
        return;
    }
    eventually(PATIENCE, "the check to find it", || (missed(&site) == 1).then_some(()));
    site.take("after the check");
    after_a_check(&site, 3);
    assert_eq!(missed(&site), 1, "it is captured: the next check finds nothing");
    site.check_all("the agent runs");
    let _ = Command::new("chattr").arg("-d").arg(&file).status();
    agent.terminate();
}

#[test]
fn a_source_whose_thread_died_is_made_anew_and_the_time_is_a_gap() {
    if !can_end_threads() {
        println!("skipped: threads cannot be ended on this kind of machine");
        return;
    }
    for (backend, thread) in [("inotify", "asofd-watch"), ("notify", "notify-rs inoti")] {
        let site = Site::new();
        put(&site.root.join("before"), "seen");
        let agent = configured(&site, &format!("backend = '{backend}'"));
        agent.protecting(&site);
        let first = site.sync();
        agent.allow("the event source");
        let tid = thread_named(agent.pid(), thread).must(format!("thread {thread}"));
        end_thread(tid);
        let dir = site.root.join("made/meanwhile");
        fs::create_dir_all(&dir).must(dir.display());
        put(&dir.join("file"), "nobody tells of it");
        // It asks for a cookie, which does not come back from a dead thread.
        let synced = site.asof(["--json", "sync", "--timeout", "90s"]).exits(0).json();
        let at = synced["at"].as_str().must("at").to_string();
        agent.protecting(&site);
        let restored = site.restore(&dir.join("file"), &at);
        assert_eq!(fs::read(&restored).must("restored"), b"nobody tells of it");
        put(&dir.join("later"), "seen by the new one");
        site.take("after");
        site.check_all("the agent runs");
        assert!(first.seq > 0 && site.status()["gaps"].as_u64() > Some(1), "{}", site.status());
        agent.terminate();
    }
}

#[test]
fn a_process_that_was_stopped_leaves_a_gap() {
    let site = Site::new();
    let agent = site.start();
    let synced = site.sync();
    let before = site.status()["gaps"].as_u64();
    agent.freeze();
    put(&site.root.join("file"), "first");
    let frozen = std::time::Instant::now();
    // Longer than an ordinary machine under load holds anybody up.
    eventually(PATIENCE, "some seconds", || (frozen.elapsed() > Duration::from_secs(7)).then_some(()));
    put(&site.root.join("file"), "second");
    agent.resume();
    site.take("after");
    eventually(PATIENCE, "the gap", || (site.status()["gaps"].as_u64() > before).then_some(()));
    let log = agent.log();
    assert!(log.contains("was stopped, and goes on"), "{log}");
    let _ = synced;
    site.check_all("the agent runs");
    agent.terminate();
}

#[test]
fn an_empty_place_where_a_filesystem_is_missing_deletes_nothing() {
    let site = Site::new();
    put(&site.root.join("file"), "precious");
    let agent = site.start();
    let synced = site.sync();
    agent.terminate();
    // As a mount point looks when nothing is mounted: another directory, and empty.
    let aside = site.path("aside");
    fs::rename(&site.root, &aside).must("mv");
    fs::create_dir(&site.root).must("mkdir");
    let agent = Agent::start(&site, &[]);
    agent.allow("is its filesystem not mounted");
    let status = eventually(PATIENCE, "the agent to say so", || {
        let status = site.status();
        let said = status["problems"].to_string().contains("is its filesystem not mounted");
        (said && status["state"] == "degraded").then_some(status)
    });
    assert_eq!(status["roots"][0]["watched"], Value::Bool(false), "{status}");
    let listed = site.asof(arguments(&[&"ls", &site.root])).exits(0);
    assert!(listed.text().contains("file"), "nothing is deleted: {}", listed.text());
    eventually(PATIENCE, "a restore to name the gap", || {
        let gaps = gaps_at(&site, &site.root);
        gaps.iter().any(|gap| gap.contains("root was missing")).then_some(())
    });
    fs::remove_dir(&site.root).must("rmdir");
    fs::rename(&aside, &site.root).must("mv");
    agent.protecting(&site);
    put(&site.root.join("file"), "more precious");
    site.take("mounted again");
    site.check_all("the agent runs");
    let kept: Vec<OsString> = arguments(&[&"cat", &site.root.join("file"), &"--at", &synced.at]);
    assert_eq!(site.asof(kept).exits(0).stdout, b"precious");
    agent.terminate();
}

#[test]
fn an_agent_whose_journal_is_taken_away_ends_and_touches_no_other() {
    for is_replaced in [false, true] {
        let site = Site::new();
        put(&site.root.join("file"), "content");
        let agent = site.start();
        let (synced, moved) = (site.sync(), site.path("moved"));
        // It sees what was done to the journal when another one is there already.
        agent.freeze();
        fs::rename(&site.journal, &moved).must("mv");
        let other = is_replaced.then(|| {
            let other = site.start();
            other.protecting(&site);
            other
        });
        put(&site.root.join("file"), "changed since");
        agent.resume();
        let (status, log) = agent.ends();
        assert_eq!(status, 1, "{log}");
        assert!(log.contains("was removed, moved or replaced while it was being written to"), "{log}");
        match other {
            None => assert!(!site.journal.exists(), "nothing was made at the old path"),
            Some(other) => {
                site.take("the journal of another");
                site.check_newest("the first agent has ended");
                other.terminate();
                let verified = site.asof(["verify", "--deep"]).exits(0);
                assert!(!verified.text().contains("another journal"), "{}", verified.text());
            }
        }
        // What was durable is in the one that was moved.
        let _ = fs::remove_dir_all(&site.journal);
        fs::rename(&moved, &site.journal).must("mv");
        let kept = site.asof(arguments(&[&"cat", &site.root.join("file"), &"--at", &synced.at])).exits(0);
        assert_eq!(kept.text(), "content");
    }
}

#[test]
fn an_agent_that_cannot_write_ends_all_the_same_when_it_is_told_to() {
    let mount = match Mount::new(Filesystem::Xfs) {
        Ok(mount) => mount,
        Err(why) => return println!("skipped: {why}"),
    };
    let mut site = Site::new();
    site.journal = mount.point().join("journal");
    let agent = site.start();
    site.sync();
    // As if the disk were gone: whatever is written or read there from now on fails.
    if let Err(why) = run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(mount.point())) {
        return println!("skipped: {why}");
    }
    put(&site.root.join("file"), "nowhere to go");
    eventually(PATIENCE, "a commit to fail", || agent.log().contains("a commit failed").then_some(()));
    let (status, log) = agent.ends_when_told();
    assert_eq!(status, 1, "{log}");
    assert!(log.contains("Input/output error"), "{log}");
}

//! Bad input, wrong places, forbidden files: a clear word, the exit status of the contract, and nothing is lost.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asof_journal::storage::Layout;
use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::tree::has_program;
use asof_tests::wait::{PATIENCE, eventually, quiet};

/// Nobody, on Debian and nearly everywhere.
const NOBODY: u32 = 65534;

fn write(path: impl AsRef<Path>, content: &str) {
    fs::write(&path, content).must(path.as_ref().display());
}

/// An agent with roots of the test's choice.
fn start_on(site: &Site, roots: &[&Path]) -> Agent {
    let roots: Vec<OsString> =
        roots.iter().flat_map(|root| ["--root".into(), OsString::from(root)]).collect();
    Agent::start_with(site, Command::new(&site.programs.asofd), &roots)
}

#[test]
fn a_missing_root_is_named_and_the_others_are_protected() {
    let site = Site::new();
    write(site.root.join("file"), "kept");
    let missing = site.path("missing");
    let agent = start_on(&site, &[&site.root, &missing]);
    agent.allow("missing");
    let status = agent.in_state(&site, "degraded");
    let told = status.to_string();
    assert!(told.contains("missing"), "the status names the root that is missing: {told}");
    assert!(status["gaps"].as_u64() > Some(0), "{told}");
    let synced = site.sync();
    let kept = site.asof(arguments(&[&"cat", &site.root.join("file"), &"--at", &synced.at])).exits(0);
    assert_eq!(kept.stdout, b"kept");
    agent.terminate();
}

#[test]
fn a_root_inside_the_journal_is_refused() {
    let site = Site::new();
    let inside = site.journal.join("inside");
    fs::create_dir_all(&inside).must("mkdir");
    for root in [&inside, &site.journal] {
        let agent = start_on(&site, &[root]);
        let status = refuses(agent);
        assert_eq!(status.0, 1, "{}", status.1);
        assert!(status.1.contains(&*root.to_string_lossy()), "the refusal names the root: {}", status.1);
    }
}

/// Waits for an agent to end by itself: its exit status and what it said.
#[track_caller]
fn refuses(agent: Agent) -> (i32, String) {
    let ended = agent.ends();
    assert!(!ended.1.contains("panicked at"), "{}", ended.1);
    ended
}

#[test]
fn a_journal_inside_the_root_does_not_feed_back() {
    let mut site = Site::new();
    site.journal = site.root.join(".local/state/asof");
    fs::create_dir_all(site.root.join(".local/state")).must("mkdir");
    write(site.root.join("file"), "kept");
    write(site.root.join(".local/state/other"), "kept too");
    let agent = site.start();
    site.sync();
    let before = (site.counter("groups"), site.counter("files_read"), site.counter("directories_listed"));
    for _ in 0..20 {
        site.sync();
    }
    quiet(Duration::from_millis(500));
    let after = (site.counter("groups"), site.counter("files_read"), site.counter("directories_listed"));
    assert!(after.0 - before.0 <= 21, "20 syncs write 20 marks and no more: {before:?} to {after:?}");
    assert_eq!((before.1, before.2), (after.1, after.2), "the journal's own files are not looked at");
    let synced = site.sync();
    // What is restored is the root without the journal.
    let target = tempfile::tempdir().must("a target outside the root");
    let restored = target.path().join("restored");
    site.asof(arguments(&[&"restore", &site.root, &"--at", &synced.at, &"--to", &restored])).exits(0);
    assert_eq!(fs::read(restored.join("file")).must("file"), b"kept");
    assert_eq!(fs::read(restored.join(".local/state/other")).must("other"), b"kept too");
    assert!(!restored.join(".local/state/asof").exists(), "the journal is not in the journal");
    agent.terminate();
}

#[test]
fn an_unknown_format_version_is_refused_by_both_and_nothing_is_touched() {
    let site = Site::new();
    write(site.root.join("file"), "kept");
    let agent = site.start();
    site.sync();
    agent.terminate();
    let (manifest, copy) =
        (Layout::new(&site.journal).manifest(), Layout::new(&site.journal).manifest_copy());
    let original = fs::read_to_string(&manifest).must(manifest.display());
    let mut json: serde_json::Value = serde_json::from_str(&original).must("journal.json");
    let fields = json.as_object_mut().must("an object");
    let name = ["format", "format_version", "version"].into_iter().find(|name| fields.contains_key(*name));
    let name = name.must(format!("the format version in {original}"));
    fields.insert(name.into(), 999_999.into());
    // What a newer program writes is whole, and stands in both places; how it checks that is its own affair.
    fields.remove("check").must(format!("the checksum in {original}"));
    for path in [&manifest, &copy] {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o600));
        write(path, &json.to_string());
    }

    let segments = site.segment_bytes();
    let refused = site.asof(arguments(&[&"ls", &site.root])).exits(1);
    assert!(refused.stderr.contains("journal.json"), "{}", refused.stderr);
    let (status, log) = refuses(Agent::start(&site, &[]));
    assert_eq!(status, 1, "{log}");
    assert_eq!(site.segment_bytes(), segments);
    assert_eq!(fs::read_to_string(&manifest).must("journal.json"), json.to_string());

    for path in [&manifest, &copy] {
        write(path, &original);
    }
    let kept = site.asof(arguments(&[&"cat", &site.root.join("file")])).exits(0);
    assert_eq!(kept.stdout, b"kept", "with the version put right everything is there");
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    let site = Site::new();
    let agent = site.start();
    let (status, log) = refuses(Agent::start(&site, &[]));
    assert_eq!(status, 11, "{log}");
    write(site.root.join("file"), "captured by the first");
    let synced = site.sync();
    let kept = site.asof(arguments(&[&"cat", &site.root.join("file"), &"--at", &synced.at])).exits(0);
    assert_eq!(kept.stdout, b"captured by the first");
    agent.terminate();
}

#[test]
fn what_the_command_cannot_reach() {
    let site = Site::new();
    let nowhere = site.path("no-journal");
    for verb in ["status", "log", "ls", "sync"] {
        let mut command = Command::new(&site.programs.asof);
        let output = command.arg("--journal").arg(&nowhere).arg(verb).output().must("asof");
        assert_eq!(output.status.code(), Some(10), "{verb} without a journal: {output:?}");
        assert!(!nowhere.exists(), "{verb} must not make a journal");
    }

    let file = site.root.join("file");
    write(&file, "kept");
    let agent = site.start();
    let synced = site.sync();
    let never = site.root.join("never");
    for path in [never.as_path(), Path::new("/never/captured"), &site.path("beside")] {
        site.asof(arguments(&[&"cat", &path])).exits(5);
        let target = site.fresh("target");
        site.asof(arguments(&[&"restore", &path, &"--to", &target])).exits(5);
        assert!(!target.exists(), "nothing is made for a path that is not there");
    }
    for early in ["2001-01-01T00:00:00Z", "@1", "seq:0"] {
        site.asof(arguments(&[&"ls", &site.root, &"--at", &early])).exits(5);
        site.asof(arguments(&[&"cat", &file, &"--at", &early])).exits(5);
    }
    let wrong: [&[&str]; 6] = [
        &[],
        &["no-such-verb"],
        &["--no-such-flag"],
        &["cat"],
        &["restore"],
        &["ls", "--at", "at no time at all"],
    ];
    for arguments in wrong {
        site.asof(arguments).exits(2);
    }
    // A directory has no bytes; a target that holds something is not written into.
    site.asof(arguments(&[&"cat", &site.root, &"--at", &synced.at])).exits(1);
    let taken = site.fresh("taken");
    write(&taken, "somebody's");
    site.asof(arguments(&[&"restore", &file, &"--at", &synced.at, &"--to", &taken])).exits(1);
    assert_eq!(fs::read(&taken).must("taken"), b"somebody's");
    // A reader that goes away is no failure.
    let piped = format!(
        "set -o pipefail; '{}' --journal '{}' log | true",
        site.programs.asof.display(),
        site.journal.display()
    );
    assert!(Command::new("bash").args(["-c", &piped]).status().must("bash").success());

    agent.terminate();
    site.asof(["sync"]).exits(1);
}

#[test]
fn an_unreadable_file_is_a_gap_and_the_rest_goes_on() {
    let site = Site::new();
    let (closed, open) = (site.root.join("closed"), site.root.join("open"));
    write(&closed, "not to be read yet");
    write(&open, "read");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).must("chmod");
    let mut command = Command::new(&site.programs.asofd);
    if rustix::process::geteuid().is_root() {
        // Root reads everything, so the agent runs as nobody; what is built may lie where nobody may look.
        if !has_program("setpriv") {
            eprintln!("skipped: as root this needs setpriv");
            return;
        }
        let program = site.path("asofd");
        fs::copy(&site.programs.asofd, &program).must("copying asofd");
        fs::create_dir(&site.journal).must("mkdir");
        for path in [&site.journal, &site.root, &closed, &open] {
            chown(path, Some(NOBODY), Some(NOBODY)).must(path.display());
        }
        let as_nobody = |program: &Path| {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
            command
        };
        if !as_nobody(&program).arg("--help").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: nobody may not reach {}", program.display());
            return;
        }
        command = as_nobody(&program);
    }
    let agent = Agent::start_with(&site, command, &["--root".into(), site.root.clone().into()]);
    agent.allow("closed");
    eventually(PATIENCE, "the first capture to be over", || {
        let status = site.asof(["--json", "status"]).run();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        matches!(status["state"].as_str(), Some("protecting" | "degraded")).then_some(())
    });
    let synced = site.sync();
    let cat =
        |path: &Path, at: &str, status| site.asof(arguments(&[&"cat", &path, &"--at", &at])).exits(status);
    assert_eq!(cat(&open, &synced.at, 0).stdout, b"read");
    assert!(site.status()["gaps"].as_u64() > Some(0), "{}", site.status());
    let refused = site.asof(arguments(&[&"cat", &closed, &"--at", &synced.at])).run();
    assert_ne!(refused.status, 0, "bytes that were never read cannot be given");
    assert!(refused.stdout.is_empty());
    // The rest is restored, the missing bytes are named, the status says that it is not all.
    let target = site.fresh("partly");
    let partly =
        site.asof(arguments(&[&"restore", &site.root, &"--at", &synced.at, &"--to", &target])).exits(3);
    assert!(partly.stderr.contains("closed"), "{}", partly.stderr);
    assert_eq!(fs::read(target.join("open")).must("open"), b"read");

    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).must("chmod");
    let synced = site.sync();
    assert_eq!(cat(&closed, &synced.at, 0).stdout, b"not to be read yet");
    agent.terminate();
}

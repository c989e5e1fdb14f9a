//! Hazards of closed doors: what the agent may not look at.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::tree::has_program;
use asof_tests::wait::quiet;

use crate::place::{Outcome, Place, make_dir, put};

/// Nobody, on Debian and nearly everywhere.
const NOBODY: u32 = 65534;

/// A directory that the agent may not read: named in status, a gap, and the rest goes on.
pub(crate) fn unreadable(place: &Place) -> Outcome {
    if !has_program("setpriv") {
        return Outcome::Skipped("as root this needs setpriv".into());
    }
    let site = Site::below(place.mount.point());
    let (closed, beside) = (site.root.join("closed"), site.root.join("beside"));
    for dir in [&closed, &beside] {
        make_dir(dir);
        put(dir.join("file"), "at first");
    }
    let program = site.path("asofd");
    fs::copy(&site.programs.asofd, &program).must("copying asofd");
    fs::create_dir_all(&site.journal).must("mkdir");
    for path in [&site.journal, &site.root, &closed, &beside] {
        chown(path, Some(NOBODY), Some(NOBODY)).must(path.display());
    }
    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
        command
    };
    if !as_nobody(&program).arg("--help").output().is_ok_and(|output| output.status.success()) {
        return Outcome::Skipped(format!("nobody may not reach {}", program.display()));
    }
    let agent = Agent::start_with(&site, as_nobody(&program), &["--root".into(), site.root.clone().into()]);
    agent.allow("closed");
    agent.protecting(&site);
    let cat = |path: &Path, at: &str| site.asof(arguments(&[&"cat", &path, &"--at", &at])).exits(0).stdout;
    let first = site.sync();
    assert_eq!(cat(&closed.join("file"), &first.at), b"at first");
    let gaps = site.status()["gaps"].as_u64();

    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).must("chmod");
    put(closed.join("file"), "behind a closed door");
    put(closed.join("new"), "behind a closed door");
    make_dir(closed.join("sub"));
    put(closed.join("sub/file"), "behind a closed door");
    put(beside.join("file"), "goes on");
    let synced = site.sync();
    assert_eq!(cat(&beside.join("file"), &synced.at), b"goes on");
    assert_eq!(cat(&closed.join("file"), &first.at), b"at first");
    let status = site.status();
    assert!(status["gaps"].as_u64() > gaps, "what cannot be read is a gap: {status}");
    // Nobody tries again and again.
    let counters = || ["groups", "directories_listed", "files_read"].map(|name| site.counter(name));
    let before = counters();
    quiet(Duration::from_secs(3));
    let after = counters();
    let more: u64 = after.iter().zip(before).map(|(after, before)| after - before).sum();
    assert!(more <= 6, "no storm of tries: {before:?} to {after:?}");

    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).must("chmod");
    let opened = site.take("readable again");
    assert_eq!(cat(&closed.join("new"), &opened.at), b"behind a closed door");
    put(closed.join("file"), "watched again");
    put(closed.join("sub/file"), "watched for the first time");
    site.take("protected again");
    site.check_all("the agent runs");
    agent.terminate();
    Outcome::Met
}

//! Hazards of roots and borders: mounts, subvolumes, roots that come and go, the journal in a root, closed doors.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asof_tests::agent::Agent;
use asof_tests::filesystem::{Filesystem, run, unmount};
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::wait::{PATIENCE, eventually, quiet};

use crate::place::{Outcome, Place, make_dir, put};

/// Something mounted by the test; unmounted when dropped.
struct Over<'p>(&'p Path);

impl<'p> Over<'p> {
    fn mount(point: &'p Path) -> Result<Over<'p>, String> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "asof-tests"]).arg(point))?;
        Ok(Over(point))
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        unmount(self.0);
    }
}

/// What lies below a mount is out of sight, which is not the same as deleted.
pub(crate) fn mounted_over(place: &Place) -> Outcome {
    let dir = place.path("dir");
    make_dir(dir.join("inner"));
    put(dir.join("file"), "below the mount");
    put(dir.join("inner/file"), "below the mount, too");
    put(place.path("beside"), "goes on");
    let before = place.exact("before");
    {
        let over = Over::mount(&dir);
        if let Err(error) = &over {
            return Outcome::Skipped(error.clone());
        }
        put(dir.join("above"), "on another filesystem");
        put(place.path("beside"), "written meanwhile");
        let during = place.site.sync();
        assert_eq!(place.cat(&place.path("beside"), &during), b"written meanwhile");
        assert_eq!(place.cat(&dir.join("inner/file"), &during), b"below the mount, too");
        place.is_gone(&dir.join("above"), &during);
        // A reconcile with the mount in place.
        place.while_stopped(|| put(place.path("beside"), "written while down"));
        let during = place.site.sync();
        assert_eq!(place.cat(&place.path("beside"), &during), b"written while down");
        assert_eq!(place.cat(&dir.join("file"), &during), b"below the mount");
        place.is_gone(&dir.join("above"), &during);
    }
    let deleted = place.history(&place.dir()).into_iter().filter(|line| line["what"] == "deleted").count();
    assert_eq!(deleted, 0, "nothing was deleted");
    assert_eq!(place.cat(&dir.join("file"), &before), b"below the mount");
    Outcome::Met
}

/// As long as something is mounted over a protected directory, status says so.
pub(crate) fn mounted_over_is_named(place: &Place) -> Outcome {
    let dir = place.path("dir");
    make_dir(&dir);
    put(dir.join("file"), "below the mount");
    place.exact("before");
    let gaps = place.site.status()["gaps"].as_u64();
    place.agent().allow("dir");
    let over = Over::mount(&dir);
    if let Err(error) = &over {
        return Outcome::Skipped(error.clone());
    }
    let name = dir.to_string_lossy().into_owned();
    let is_named = || place.site.status()["problems"].to_string().contains(&name);
    eventually(PATIENCE, "status to name it", || is_named().then_some(()));
    put(dir.join("above"), "on another filesystem");
    let during = place.site.sync();
    place.is_gone(&dir.join("above"), &during);
    assert_eq!(place.cat(&dir.join("file"), &during), b"below the mount");
    drop(over);
    eventually(PATIENCE, "that to be over", || (!is_named()).then_some(()));
    let status = place.agent().protecting(&place.site);
    assert!(status["gaps"].as_u64() > gaps, "the time below the mount is a gap: {status}");
    put(dir.join("file"), "in sight again");
    place.exact("unmounted");
    Outcome::Met
}

pub(crate) fn deleted_and_recreated(place: &Place) -> Outcome {
    let site = Site::below(place.mount.point());
    make_dir(site.root.join("sub"));
    put(site.root.join("sub/before"), "in the first root");
    let agent = site.start();
    agent.allow("the root is not there");
    let first = site.take("the first root");
    for round in 0..3 {
        fs::remove_dir_all(&site.root).must(site.root.display());
        let status = agent.in_state(&site, "degraded").to_string();
        assert!(status.contains(&*site.root.to_string_lossy()), "status names the root: {status}");
        make_dir(site.root.join("sub"));
        put(site.root.join("sub/after"), format!("in root {round}"));
        agent.protecting(&site);
        put(site.root.join("sub/later"), format!("seen by an event in root {round}"));
        site.take(&format!("recreated {round}"));
    }
    // So quick that nobody saw it missing.
    for round in 0..3 {
        fs::remove_dir_all(&site.root).must(site.root.display());
        make_dir(site.root.join("sub"));
        put(site.root.join("sub/quick"), format!("{round}"));
        quiet(Duration::from_millis(1500));
    }
    agent.protecting(&site);
    put(site.root.join("sub/quick too"), "after all");
    site.take("recreated at once");
    site.check_all("the agent runs");
    let kept =
        site.asof(["cat", &format!("{}@{}", site.root.join("sub/before").display(), first.at)]).exits(0);
    assert_eq!(kept.stdout, b"in the first root");
    agent.terminate();
    Outcome::Met
}

pub(crate) fn moved_away_and_back(place: &Place) -> Outcome {
    let site = Site::below(place.mount.point());
    make_dir(site.root.join("sub"));
    put(site.root.join("sub/file"), "at first");
    let agent = site.start();
    agent.allow("the root is not there");
    site.take("before");
    let gaps = site.status()["gaps"].as_u64();
    let away = site.path("away");
    fs::rename(&site.root, &away).must("away");
    agent.in_state(&site, "degraded");
    put(away.join("sub/file"), "written while away");
    put(away.join("sub/new"), "made while away");
    fs::rename(&away, &site.root).must("back");
    agent.protecting(&site);
    site.take("back");
    assert!(site.status()["gaps"].as_u64() > gaps, "the time away is a gap");
    put(site.root.join("sub/file"), "written after it came back");
    site.take("watched again");
    // Another directory in its place, and the first one back in turn.
    fs::rename(&site.root, &away).must("away");
    make_dir(&site.root);
    put(site.root.join("other"), "in another directory of that name");
    eventually_protecting(&agent, &site);
    site.take("another directory");
    fs::rename(&site.root, site.path("other")).must("the other away");
    fs::rename(&away, &site.root).must("the first back");
    eventually_protecting(&agent, &site);
    put(site.root.join("sub/file"), "at last");
    site.take("the first again");
    site.check_all("the agent runs");
    agent.terminate();
    Outcome::Met
}

/// After a look at the roots, which is made about once a second, and whatever follows from it.
fn eventually_protecting(agent: &Agent, site: &Site) {
    quiet(Duration::from_millis(1500));
    agent.protecting(site);
}

/// A journal in the root it protects must not capture itself.
pub(crate) fn journal_inside(place: &Place) -> Outcome {
    let mut site = Site::below(place.mount.point());
    site.journal = site.root.join(".local/state/asof");
    make_dir(site.root.join(".local/state"));
    put(site.root.join("file"), "kept");
    let agent = site.start();
    site.sync();
    let counters = || ["groups", "files_read", "directories_listed"].map(|name| site.counter(name));
    let before = counters();
    for _ in 0..10 {
        site.sync();
    }
    let after = counters();
    assert!(after[0] - before[0] <= 11, "10 syncs write 10 marks and no more: {before:?} to {after:?}");
    assert_eq!(before[1..], after[1..], "the journal's own files are not looked at");
    // Under another name it is the journal still.
    let bind = site.root.join("bind");
    make_dir(&bind);
    let bound = run(Command::new("mount").arg("--bind").args([&site.journal, &bind])).is_ok();
    put(site.root.join("file"), "kept too");
    let synced = site.sync();
    if bound {
        unmount(&bind);
    }
    let target = tempfile::tempdir().must("a target outside the root");
    let restored = target.path().join("restored");
    site.asof(arguments(&[&"restore", &site.root, &"--at", &synced.at, &"--to", &restored])).exits(0);
    assert_eq!(fs::read(restored.join("file")).must("file"), b"kept too");
    assert!(!restored.join(".local/state/asof").exists() && !restored.join("bind/segments").exists());
    agent.terminate();
    Outcome::Met
}

/// The journal has a second path below the root, from the start: a bind mount.
pub(crate) fn journal_bound_inside(place: &Place) -> Outcome {
    let site = Site::below(place.mount.point());
    let bind = site.root.join("bind");
    for dir in [&bind, &site.journal] {
        make_dir(dir);
    }
    if let Err(why) = run(Command::new("mount").arg("--bind").args([&site.journal, &bind])) {
        return Outcome::Skipped(why);
    }
    let over = Over(&bind);
    let agent = site.start();
    put(site.root.join("file"), "kept");
    site.asof(["sync", "--timeout", "20s"]).exits(0);
    let synced = site.sync();
    let listed = site.asof(arguments(&[&"--json", &"ls", &"-R", &site.root, &"--at", &synced.at])).exits(0);
    assert!(!listed.text().contains("segments"), "the journal is not in the journal: {}", listed.text());
    agent.terminate();
    drop(over);
    Outcome::Met
}

/// A nested subvolume is another filesystem in all but its mount: what is in it is protected, or said not to be.
pub(crate) fn subvolumes(place: &Place) -> Outcome {
    if place.filesystem() != Filesystem::Btrfs {
        return Outcome::Skipped("btrfs only".into());
    }
    let subvolume = place.path("nested");
    run(Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(&subvolume)).must("a subvolume");
    put(subvolume.join("inside"), "in a subvolume");
    put(place.path("beside"), "beside it");
    // The same inode numbers on both sides: identities must not be mixed up.
    for number in 0..20 {
        put(place.path(format!("outer-{number}")), format!("outer {number}"));
        put(subvolume.join(format!("inner-{number}")), format!("inner {number}"));
    }
    let synced = place.site.sync();
    assert_eq!(place.cat(&place.path("beside"), &synced), b"beside it");
    for number in 0..20 {
        let bytes = place.cat(&place.path(format!("outer-{number}")), &synced);
        assert_eq!(bytes, format!("outer {number}").into_bytes());
    }
    let inside = place.site.asof(arguments(&[&"cat", &subvolume.join("inside"), &"--at", &synced.at])).run();
    let status = place.site.status().to_string();
    let named = status.contains(&*subvolume.to_string_lossy());
    assert!(inside.stdout == b"in a subvolume" || named, "neither protected nor named in status: {status}");
    run(Command::new("btrfs").args(["-q", "subvolume", "delete"]).arg(&subvolume)).must("its removal");
    place.exact("the subvolume is gone");
    Outcome::Met
}

//! Hazards of identity and time stamps: numbers that are given out again, times that lie, changes beside the content.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asof_tests::filesystem::{Filesystem, run};
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::tree::{has_program, set_mtime};
use asof_tests::wait::quiet;
use rustix::fs::XattrFlags;

use crate::place::{Outcome, Place, is_full, make_dir, put};

/// ext4 gives a removed file's number to the next one.
pub(crate) fn inode_reuse(place: &Place) -> Outcome {
    let rounds = if is_full() { 200 } else { 50 };
    let path = place.path("again");
    let mut numbers = BTreeSet::new();
    let mut kept = Vec::new();
    for round in 0..rounds {
        let _ = fs::remove_file(&path);
        put(&path, format!("{round:03}"));
        // The same size and modification time each time: only the identity tells them apart.
        set_mtime(&path, 1_700_000_000, 0);
        numbers.insert(fs::metadata(&path).must("stat").ino());
        kept.push((place.site.sync(), format!("{round:03}")));
    }
    let nodes: BTreeSet<u64> = place.history(&path).iter().filter_map(|line| line["node"].as_u64()).collect();
    println!("{}: {rounds} files had {} inode numbers", place.filesystem(), numbers.len());
    assert_eq!(nodes.len(), rounds, "as many identities as files");
    for (at, content) in kept.iter().step_by(7) {
        assert_eq!(place.cat(&path, at), content.as_bytes(), "at {}", at.at);
    }
    // While the agent is down; the number may well be the same.
    let before = place.node(&path, &place.site.sync());
    place.while_stopped(|| {
        fs::remove_file(&path).must("remove");
        put(&path, "new");
        set_mtime(&path, 1_700_000_000, 0);
    });
    let down = place.exact("recreated while down");
    assert_ne!(place.node(&path, &down), before);
    // A directory, too.
    let dir = place.path("dir");
    for round in 0..20 {
        let _ = fs::remove_dir_all(&dir);
        make_dir(&dir);
        put(dir.join("inside"), format!("round {round}"));
    }
    place.exact("a directory recreated");
    Outcome::Met
}

/// A write to a file of the lower layer makes another inode; it is the same file for its owner.
pub(crate) fn copy_up(place: &Place) -> Outcome {
    if place.filesystem() != Filesystem::Overlay {
        return Outcome::Skipped("overlay only".into());
    }
    let mut site = Site::below(&place.mount.beside());
    site.root = place.mount.from_lower();
    let agent = site.start();
    let before = site.take("all in the lower layer");
    let node = |name: &str, at: &str| {
        let path = site.root.join(name);
        let listed = site.asof(arguments(&[&"--json", &"ls", &path, &"--at", &at])).exits(0).json_lines();
        listed.first().and_then(|line| line["node"].as_u64()).must(name)
    };
    let file = site.root.join("file");
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b", and more"))
        .must("append");
    fs::set_permissions(site.root.join("dir/other"), fs::Permissions::from_mode(0o600)).must("chmod");
    let after = site.take("copied up");
    site.check_all("the agent runs");
    for name in ["file", "dir", "dir/other"] {
        assert_eq!(node(name, &before.at), node(name, &after.at), "{name} is the same after its copy-up");
    }
    agent.terminate();
    let agent = site.start();
    site.sync();
    assert_eq!(site.counter("files_read"), 0, "a restart reads nothing");
    fs::rename(&file, site.root.join("renamed")).must("rename");
    put(site.root.join("renamed"), "in the upper layer");
    fs::remove_file(site.root.join("dir/other")).must("a whiteout");
    site.take("renamed, removed");
    fs::remove_dir_all(site.root.join("dir")).must("a whiteout");
    make_dir(site.root.join("dir"));
    put(site.root.join("dir/new"), "in an opaque directory");
    site.take("recreated");
    site.check_all("the agent runs");
    agent.terminate();
    Outcome::Met
}

fn rewrite_with_old_time(path: &Path, bytes: &[u8]) {
    let meta = fs::metadata(path).must(path.display());
    assert_eq!(meta.len(), bytes.len() as u64);
    put(path, bytes);
    set_mtime(path, meta.mtime(), meta.mtime_nsec());
}

pub(crate) fn forged_times(place: &Place) -> Outcome {
    let path = place.path("forged");
    put(&path, "one");
    let one = place.exact("first");
    rewrite_with_old_time(&path, b"two");
    let two = place.exact("same size, same time");
    place.while_stopped(|| rewrite_with_old_time(&path, b"six"));
    let six = place.exact("the same while down");
    place.while_killed(|| rewrite_with_old_time(&path, b"ten"));
    let ten = place.exact("the same while dead");
    for (at, bytes) in [(&one, b"one"), (&two, b"two"), (&six, b"six"), (&ten, b"ten")] {
        assert_eq!(place.cat(&path, at), bytes, "at {}", at.at);
    }
    for (seconds, nanoseconds) in [(-1, 999_999_999), (4_102_444_800, 1), (0, 0)] {
        set_mtime(&path, seconds, nanoseconds);
        set_mtime(&place.dir(), seconds, nanoseconds);
        place.exact("another time");
    }
    // Renaming a directory leaves the change times of what is in it.
    make_dir(place.path("dir"));
    put(place.path("dir/file"), "one");
    place.site.sync();
    fs::rename(place.path("dir"), place.path("moved")).must("rename");
    rewrite_with_old_time(&place.path("moved/file"), b"two");
    place.exact("moved and forged");
    Outcome::Met
}

/// A look that only attributes were the reason for comes when the content was written too and its hint has not arrived yet:
/// it finds size and modification time as they were.
pub(crate) fn forged_behind_attributes(place: &Place) -> Outcome {
    let rounds = if is_full() { 60 } else { 8 };
    // Fewer in a directory than those for which it would be listed as a whole.
    let paths: Vec<_> =
        (0..1600).map(|n| place.path(format!("dir-{}", n / 100)).join(format!("file-{n}"))).collect();
    for path in &paths {
        make_dir(path.parent().must("a directory"));
        put(path, "round 00");
    }
    place.exact("before");
    for round in 1..=rounds {
        for path in &paths {
            let mode = if round % 2 == 0 { 0o644 } else { 0o600 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).must(path.display());
        }
        for path in &paths {
            rewrite_with_old_time(path, format!("round {round:02}").as_bytes());
        }
        place.exact(&format!("round {round}"));
    }
    Outcome::Met
}

/// Written, given its old time back, and renamed before anybody has looked.
pub(crate) fn forged_and_renamed(place: &Place) -> Outcome {
    for name in ["renamed", "renamed over", "linked", "unlinked"] {
        put(place.path(name), "old");
    }
    put(place.path("over"), "to be replaced");
    fs::hard_link(place.path("unlinked"), place.path("its other name")).must("link");
    quiet(Duration::from_millis(100));
    place.exact("before");
    rewrite_with_old_time(&place.path("renamed"), b"NEW");
    fs::rename(place.path("renamed"), place.path("new name")).must("rename");
    rewrite_with_old_time(&place.path("renamed over"), b"NEW");
    fs::rename(place.path("renamed over"), place.path("over")).must("rename");
    rewrite_with_old_time(&place.path("linked"), b"NEW");
    fs::hard_link(place.path("linked"), place.path("second name")).must("link");
    rewrite_with_old_time(&place.path("unlinked"), b"NEW");
    fs::remove_file(place.path("unlinked")).must("remove");
    place.exact("written and renamed at once");
    Outcome::Met
}

pub(crate) fn attributes(place: &Place) -> Outcome {
    let (file, dir) = (place.path("file"), place.path("dir"));
    put(&file, "stays");
    make_dir(&dir);
    // Read at leisure: a file that is read right after it was written is read again at its next change.
    quiet(Duration::from_millis(100));
    place.exact("before");
    let read = place.site.counter("files_read");
    let set = |path: &Path, value: &[u8]| {
        rustix::fs::lsetxattr(path, "user.note", value, XattrFlags::empty()).map_err(std::io::Error::from)
    };
    if let Err(error) = set(&file, b"first") {
        return Outcome::Skipped(format!("xattrs: {error}"));
    }
    set(&dir, b"on a directory").must("setxattr");
    place.exact("xattrs");
    set(&file, &[7; 500]).must("setxattr");
    place.exact("a longer value");
    rustix::fs::lremovexattr(&file, "user.note").must("removexattr");
    place.exact("removed");
    if has_program("setfacl") {
        let acl = |what: &str, path: &Path| run(Command::new("setfacl").args(["-m", what]).arg(path)).is_ok();
        if acl("u:12345:rw-,g:54321:r--", &file) && acl("d:u:12345:rwx,u:12345:r-x", &dir) {
            place.exact("ACLs");
            put(dir.join("inherits"), "the default ACL");
            place.exact("an inherited ACL");
        }
    } else {
        println!("skipped in part: setfacl is not installed");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).must("chmod");
    chown(&dir, Some(12345), Some(54321)).must("chown");
    place.exact("mode and owner");
    let read = place.site.counter("files_read") - read;
    // Where the kernel does not tell who writes, what is recent is read again.
    let tells = place.filesystem() != Filesystem::Overlay;
    assert!(read <= 1 || !tells, "attributes are not content: {read} files read for one that was made");
    place.while_stopped(|| {
        set(&file, b"set while down").must("setxattr");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).must("chmod");
    });
    place.exact("while down");
    Outcome::Met
}

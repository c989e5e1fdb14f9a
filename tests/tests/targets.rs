//! Targets that are full, read-only, on other filesystems, or able to share blocks: a clear word, nothing half, and the same
//! bytes whichever way they come.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use asof_tests::files::{names, write};
use asof_tests::filesystem::{Filesystem, Mount};
use asof_tests::full::Filler;
use asof_tests::must::Must;
use asof_tests::oracle;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments, remove};
use asof_tests::tree::{has_program, set_mtime};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// A filesystem of its own; says why where there can be none.
fn mounted(filesystem: Filesystem, bytes: u64) -> Option<Mount> {
    match Mount::of_size(filesystem, bytes) {
        Ok(mount) => Some(mount),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

/// Files of which each is too large for what is left on a full filesystem.
fn fill(root: &Path, seed: u64) {
    let mut random = Random::new(seed);
    for number in 0..12 {
        write(root.join(format!("file-{number}")), random.bytes(300_000));
    }
}

#[test]
fn a_full_target_gets_a_clear_word_and_nothing_half() {
    let Some(mount) = mounted(Filesystem::Ext4, 48 * MIB) else { return };
    let site = Site::new();
    fill(&site.root, 1);
    let agent = site.start();
    let then = site.take("then");
    agent.terminate();
    let filler = Filler::fill(mount.point());
    filler.give_back(MIB);
    for target in ["new", "there"] {
        let target = mount.point().join(target);
        if target.ends_with("there") {
            fs::create_dir(&target).must("there");
        }
        let restore = |further: &[&str]| {
            let mut all = arguments(&[&"restore", &site.root, &"--at", &then.at, &"--to", &target]);
            all.extend(further.iter().map(std::ffi::OsString::from));
            site.asof(all)
        };
        let full = restore(&[]).exits(1);
        assert!(
            full.stderr.contains("No space left") && full.stderr.contains("make room"),
            "{}",
            full.stderr
        );
        let is_new = target.ends_with("new");
        assert_eq!(target.exists(), !is_new, "nothing incomplete has the name of the target");
        for name in if is_new { Vec::new() } else { names(&target) } {
            let known = fs::read(site.root.join(&name)).must(&name);
            assert!(fs::read(target.join(&name)).must(&name) == known, "{name} is half");
        }
        filler.give_back(12 * MIB);
        restore(if is_new { &[] } else { &["--overwrite", "if-changed"] }).exits(0);
        oracle::assert_same(&site.newest_copy(), &target, "with room again");
        assert!(
            names(mount.point()).iter().all(|name| !name.starts_with(".asof-")),
            "{:?}",
            names(mount.point())
        );
        remove(&target);
        filler.fill_up();
        filler.give_back(MIB);
    }
}

#[test]
fn a_live_tree_without_room_stays_whole_and_can_be_finished_and_taken_back() {
    let Some(mount) = mounted(Filesystem::Ext4, 48 * MIB) else { return };
    let mut site = Site::new();
    site.root = mount.point().join("root");
    fs::create_dir(&site.root).must("root");
    fill(&site.root, 1);
    let agent = site.start();
    let then = site.take("then");
    let then_copy = site.newest_copy();
    fill(&site.root, 2);
    site.take("now");
    let now_copy = site.newest_copy();
    let filler = Filler::fill(mount.point());
    let in_place = || {
        let all =
            arguments(&[&"restore", &site.root, &"--at", &then.at, &"--in-place", &"--exact", &"--yes"]);
        site.asof(all)
    };
    let full = in_place().exits(1);
    assert!(full.stderr.contains("No space left"), "{}", full.stderr);
    for name in names(&site.root) {
        let found = fs::read(site.root.join(&name)).must(&name);
        let is = |copy: &Path| fs::read(copy.join(&name)).must(&name) == found;
        assert!(is(&then_copy) || is(&now_copy), "{name} is half");
    }
    filler.empty();
    site.asof(["undo", "--yes"]).exits(0);
    oracle::assert_same(&now_copy, &site.root, "taken back");
    in_place().exits(0);
    oracle::assert_same(&then_copy, &site.root, "finished");
    agent.terminate();
}

#[test]
fn a_target_that_is_read_only_is_named() {
    let Some(mount) = mounted(Filesystem::Tmpfs, 16 * MIB) else { return };
    let site = Site::new();
    write(site.root.join("file"), b"content");
    let agent = site.start();
    let then = site.sync();
    agent.terminate();
    let there = mount.point().join("there");
    fs::create_dir(&there).must("there");
    let remount = |how: &str| {
        let mut command = std::process::Command::new("mount");
        let status =
            command.args(["-o", &format!("remount,{how}")]).arg(mount.point()).status().must("mount");
        assert!(status.success());
    };
    remount("ro");
    for (target, further) in [(mount.point().join("new"), &[][..]), (there, &["--overwrite", "always"])] {
        let mut all = arguments(&[&"restore", &site.root, &"--at", &then.at, &"--to", &target]);
        all.extend(further.iter().map(std::ffi::OsString::from));
        let refused = site.asof(all).exits(1);
        let said = &refused.stderr;
        assert!(said.contains("Read-only file system") && said.contains("writable filesystem"), "{said}");
    }
    remount("rw");
}

#[test]
fn what_the_live_file_still_holds_is_shared_and_checked() {
    for filesystem in [Filesystem::Xfs, Filesystem::Btrfs, Filesystem::Ext4] {
        let Some(mount) = mounted(filesystem, 1 << 30) else { return };
        let mut site = Site::new();
        site.root = mount.point().join("root");
        fs::create_dir(&site.root).must("root");
        let at = |name: &str| site.root.join(name);
        let mut random = Random::new(3);
        write(at("same"), random.bytes(5 << 20));
        write(at("forged"), random.bytes(3 << 20));
        write(at("changed"), random.bytes(3 << 20));
        for name in ["same", "forged", "changed"] {
            set_mtime(&at(name), 1_700_000_000, 0);
        }
        let sparse = OpenOptions::new().create_new(true).write(true).open(at("sparse")).must("sparse");
        sparse.write_all_at(&random.bytes(1 << 20), 8 << 20).must("sparse");
        sparse.set_len(20 << 20).must("sparse");
        drop(sparse);
        let agent = site.start();
        let then = site.take("then");
        write(at("changed"), b"now");
        site.sync();
        agent.terminate();
        // Nobody has seen this, and it looks as if nothing had happened but for the change time.
        let forged = OpenOptions::new().write(true).open(at("forged")).must("forged");
        forged.write_all_at(b"wrong", 1_000_000).must("forged");
        drop(forged);
        set_mtime(&at("forged"), 1_700_000_000, 0);

        let target = mount.point().join("target");
        let all = arguments(&[&"--json", &"restore", &site.root, &"--at", &then.at, &"--to", &target]);
        let said = site.asof(all).exits(0).json_lines().pop().must("a summary");
        oracle::assert_same(&site.newest_copy(), &target, filesystem);
        let shares = filesystem != Filesystem::Ext4;
        assert_eq!(said["cloned"], Value::from(if shares { 2 } else { 0 }), "{filesystem}: {said}");
        let elsewhere = site.restore(&site.root, &then.at);
        oracle::assert_same(&site.newest_copy(), &elsewhere, "to another filesystem");
        assert!(
            fs::metadata(target.join("sparse")).must("sparse").blocks() * 512 < 3 << 20,
            "holes stay holes"
        );
    }
}

#[test]
fn what_is_restored_inherits_no_acl_of_the_target() {
    if !has_program("setfacl") {
        println!("skipped: setfacl is not installed");
        return;
    }
    let site = Site::new();
    fs::create_dir(site.root.join("dir")).must("dir");
    for name in ["file", "dir/file"] {
        write(site.root.join(name), b"content");
    }
    let agent = site.start();
    let then = site.take("then");
    agent.terminate();
    let target = site.path("target");
    fs::create_dir(&target).must("target");
    let mut command = std::process::Command::new("setfacl");
    assert!(command.args(["-d", "-m", "u:10106:rwx"]).arg(&target).status().must("setfacl").success());
    let (dir, file) = (site.root.join("dir"), site.root.join("file"));
    site.asof(arguments(&[&"restore", &dir, &file, &"--at", &then.at, &"--to", &target])).exits(0);
    let copy = site.newest_copy();
    for name in ["file", "dir"] {
        oracle::assert_same(&copy.join(name), &target.join(name), name);
    }
}

//! Plans carried out in temporary directories, also in hostile ones.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use asof_journal::types::{Extent, Instant, Kind};

use super::*;
use crate::plan::{Item, Shape, plan};
use crate::source::memory::Memory;

fn restore(tree: &Memory, to: &Path, overwrite: Option<Overwrite>) -> (Counts, Vec<Problem>) {
    let entry = tree.resolve(b"/r").unwrap().unwrap();
    let item = Item { path: b"/r".to_vec(), name: b"r".to_vec(), entry };
    let plan = plan(tree, &Shape::IsBase(item), 2);
    assert_eq!(plan.problems, []);
    let base = open_base(to).unwrap();
    let options = Options::aside(overwrite, 2, overwrite.is_some());
    let mut problems = Vec::new();
    let counts = carry_out(tree, &plan, base.as_fd(), options, &mut |event, _| {
        if let Event::Problem(problem) = event {
            problems.push(problem);
        }
    });
    problems.sort_by(|one, other| one.path.cmp(&other.path));
    (counts.unwrap(), problems)
}

/// Every name below a directory; temporary ones would be among them.
fn names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = String::from_utf8_lossy(entry.file_name().as_bytes()).into_owned();
        if entry.file_type().unwrap().is_dir() {
            names.extend(self::names(&entry.path()).into_iter().map(|below| format!("{name}/{below}")));
        }
        names.push(name);
    }
    names.sort();
    names
}

fn mtime(path: &Path) -> i64 {
    let meta = fs::symlink_metadata(path).unwrap();
    meta.mtime() * 1_000_000_000 + meta.mtime_nsec()
}

#[test]
fn everything_comes_back_as_it_was() {
    let mut tree = Memory::new();
    let big: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    tree.file("/r/big", &big);
    tree.file("/r/one-block", &big[..5000]);
    tree.file("/r/d/inline", b"small");
    tree.file("/r/d/empty", b"");
    tree.file("/r/d/readonly", b"r");
    tree.edit("/r/d/readonly", |version| version.meta.mode = 0o400);
    tree.file("/r/d/setuid", b"s");
    tree.edit("/r/d/setuid", |version| version.meta.mode = 0o4755);
    tree.edit("/r/d", |version| {
        version.meta.mode = 0o500;
        version.meta.mtime = Instant(-1_500_000_001);
    });
    tree.symlink("/r/link", b"/nowhere/\xff");
    tree.special("/r/fifo", Kind::Fifo);
    tree.link("/r/big", "/r/d/again");
    let dir = tempfile::tempdir().unwrap();
    let (counts, problems) = restore(&tree, dir.path(), None);
    let at = |name: &str| dir.path().join(name);
    assert_eq!(problems, []);
    let expected = Counts {
        dirs: 2,
        files: 6,
        symlinks: 1,
        specials: 1,
        hardlinks: 1,
        bytes: 705_007,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(fs::read(at("big")).unwrap(), big);
    assert_eq!(fs::read(at("one-block")).unwrap(), &big[..5000]);
    assert_eq!(fs::read(at("d/inline")).unwrap(), b"small");
    assert_eq!(fs::read(at("d/empty")).unwrap(), b"");
    assert_eq!(fs::read_link(at("link")).unwrap().as_os_str().as_bytes(), b"/nowhere/\xff");
    assert!(fs::symlink_metadata(at("fifo")).unwrap().file_type().is_fifo());
    for (name, mode) in
        [("big", 0o644), ("d/readonly", 0o400), ("d/setuid", 0o4755), ("d", 0o500), ("fifo", 0o644)]
    {
        let found = fs::symlink_metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name}: {found:o}");
    }
    for name in ["big", "one-block", "d/empty", "link", "fifo", ""] {
        assert_eq!(mtime(&at(name)), 1_600_000_000_123_456_789, "{name}");
    }
    assert_eq!(mtime(&at("d")), -1_500_000_001);
    let ino = |name| fs::metadata(at(name)).unwrap().ino();
    assert_eq!(ino("big"), ino("d/again"));
    assert!(names(dir.path()).iter().all(|name| !name.contains(".asof-")), "{:?}", names(dir.path()));
    fs::set_permissions(at("d"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn holes_stay_holes() {
    let mut tree = Memory::new();
    let block = tree.block_of(&[1; 4096]);
    const HOLE: u64 = 8 << 20;
    tree.extents_file("/r/sparse", vec![Extent::Hole { len: HOLE }, block, Extent::Hole { len: HOLE }]);
    tree.extents_file("/r/only-hole", vec![Extent::Hole { len: HOLE }]);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(restore(&tree, dir.path(), None).1, []);
    let sparse = fs::metadata(dir.path().join("sparse")).unwrap();
    assert_eq!(sparse.len(), 2 * HOLE + 4096);
    assert!(sparse.blocks() * 512 < 1 << 20, "{}", sparse.blocks());
    let bytes = fs::read(dir.path().join("sparse")).unwrap();
    assert!(
        bytes.iter().enumerate().all(|(at, &b)| b == u8::from((HOLE..HOLE + 4096).contains(&(at as u64))))
    );
    assert_eq!(fs::metadata(dir.path().join("only-hole")).unwrap().len(), HOLE);
}

#[test]
fn attributes_come_back_and_their_failure_is_named() {
    let mut tree = Memory::new();
    tree.file("/r/f", b"x");
    tree.edit("/r/f", |version| {
        version.meta.mode = 0o444;
        version.meta.xattrs = vec![(b"user.colour".to_vec(), b"red".to_vec())];
    });
    tree.file("/r/g", b"x");
    tree.edit("/r/g", |version| version.meta.xattrs = vec![(b"nonsense.colour".to_vec(), b"red".to_vec())]);
    let dir = tempfile::tempdir_in(".").unwrap();
    let (counts, problems) = restore(&tree, dir.path(), None);
    assert_eq!(counts.files, 2);
    let mut value = [0; 8];
    let length = rustix::fs::getxattr(dir.path().join("f"), "user.colour", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"red");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, b"/r/g");
}

#[test]
fn damage_leaves_out_one_file_and_nothing_of_it() {
    let mut tree = Memory::new();
    tree.file("/r/good", &[1; 300_000]);
    tree.file("/r/bad-small", &[2; 1000]);
    tree.file("/r/bad-large", &[3; 600_000]);
    tree.link("/r/bad-large", "/r/bad-too");
    tree.damage("/r/bad-small");
    tree.damage("/r/bad-large");
    let dir = tempfile::tempdir().unwrap();
    let (counts, problems) = restore(&tree, dir.path(), None);
    assert_eq!(names(dir.path()), ["good"]);
    assert_eq!((counts.files, counts.problems), (1, 3));
    assert_eq!(problems[0].path, b"/r/bad-large");
    assert!(problems[0].error.contains("damaged"), "{}", problems[0].error);
}

#[test]
fn nothing_follows_a_symlink_out_of_the_target() {
    let mut tree = Memory::new();
    tree.file("/r/d/f", b"restored");
    tree.file("/r/g", b"restored");
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(outside.path().join("g"), b"precious").unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    symlink(outside.path().join("g"), dir.path().join("g")).unwrap();
    let (counts, problems) = restore(&tree, dir.path(), Some(Overwrite::Always));
    assert_eq!(names(outside.path()), ["g"]);
    assert_eq!(fs::read(outside.path().join("g")).unwrap(), b"precious");
    assert_eq!(fs::read(dir.path().join("g")).unwrap(), b"restored");
    assert!(!fs::symlink_metadata(dir.path().join("g")).unwrap().is_symlink());
    assert_eq!((counts.files, problems.len()), (1, 1));
    assert_eq!(problems[0].path, b"/r/d");
}

#[test]
fn each_way_to_overwrite_does_what_it_says() {
    let mut tree = Memory::new();
    tree.file("/r/same", b"12345");
    tree.file("/r/touched", b"12345");
    tree.file("/r/new", b"12345");
    tree.link("/r/same", "/r/same-too");
    let cases = [
        (Overwrite::Never, ["11111", "22222", "12345"]),
        (Overwrite::IfChanged, ["11111", "12345", "12345"]),
        (Overwrite::Always, ["12345", "12345", "12345"]),
    ];
    for (overwrite, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("same"), b"11111").unwrap();
        fs::write(at("touched"), b"22222").unwrap();
        fs::write(at("mine"), b"mine").unwrap();
        let captured = std::time::UNIX_EPOCH + Duration::from_nanos(1_600_000_000_123_456_789);
        fs::File::options().write(true).open(at("same")).unwrap().set_modified(captured).unwrap();
        assert_eq!(restore(&tree, dir.path(), Some(overwrite)).1, []);
        let found = ["same", "touched", "new"].map(|name| fs::read_to_string(at(name)).unwrap());
        assert_eq!(found, expected, "{overwrite:?}");
        assert_eq!(names(dir.path()), ["mine", "new", "same", "same-too", "touched"]);
        assert_eq!(fs::metadata(at("same")).unwrap().ino(), fs::metadata(at("same-too")).unwrap().ino());
        // Again: links that are there already are no problem.
        assert_eq!(restore(&tree, dir.path(), Some(overwrite)).1, []);
        assert_eq!(names(dir.path()).len(), 5);
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_is_left_and_named() {
    let mut tree = Memory::new();
    tree.file("/r/f", b"x");
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("f")).unwrap();
    let (_, problems) = restore(&tree, dir.path(), Some(Overwrite::Always));
    assert_eq!(problems.len(), 1);
    assert_eq!(names(dir.path()), ["f"]);
}

#[test]
fn many_directories_need_few_descriptors() {
    let mut tree = Memory::new();
    for outer in 0..20 {
        for inner in 0..20 {
            tree.file(&format!("/r/{outer}/{inner}/deep/f"), b"x");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (counts, problems) = restore(&tree, dir.path(), None);
    assert_eq!((problems.len(), counts.files, counts.dirs), (0, 400, 821));
}

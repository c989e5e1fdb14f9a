//! Tests on a real filesystem.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

use asof_journal::content::Piece;

use super::*;
use crate::testdir::TestDir;

fn open(dir: &TestDir) -> (OsFs, RootHandle, DirHandle) {
    let os = OsFs::new();
    let root = os.open_root(dir.path()).expect("root");
    let handle = os.open_dir(&root, b"").expect("dir");
    (os, root, handle)
}

fn bytes(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

#[test]
fn listing_gives_names_as_bytes_and_again_from_the_beginning() {
    let dir = TestDir::create();
    let odd = b"odd\xff\nname".to_vec();
    fs::write(dir.join(bytes(&odd)), "x").expect("write");
    fs::create_dir(dir.join("sub")).expect("mkdir");
    for number in 0..3000 {
        fs::write(dir.join(format!("file-with-a-rather-long-name-{number:05}")), "").expect("write");
    }
    let (os, _, handle) = open(&dir);
    for _ in 0..2 {
        let entries = os.list(&handle).expect("list");
        let names: HashSet<_> = entries.iter().map(|entry| entry.name.clone()).collect();
        assert_eq!((entries.len(), names.len()), (3002, 3002));
        assert!(names.contains(&odd));
        let sub = entries.iter().find(|entry| entry.name == b"sub").expect("sub");
        assert!(matches!(sub.kind_hint, Some(Kind::Dir) | None));
    }
    let stat = os.stat(&handle, &odd).expect("stat");
    assert_eq!((stat.kind, stat.size, stat.nlink), (Kind::File, 1, 1));
}

#[test]
fn stat_agrees_with_the_standard_library() {
    use std::os::unix::fs::MetadataExt;
    let dir = TestDir::create();
    fs::write(dir.join("f"), vec![7; 5000]).expect("write");
    fs::set_permissions(dir.join("f"), fs::Permissions::from_mode(0o4751)).expect("chmod");
    symlink("nowhere", dir.join("link")).expect("symlink");
    let (os, _, handle) = open(&dir);
    let stat = os.stat(&handle, b"f").expect("stat");
    let expected = fs::metadata(dir.join("f")).expect("metadata");
    assert_eq!((stat.mode, stat.size, stat.ino), (0o4751, 5000, expected.ino()));
    assert_eq!((stat.dev, stat.uid, stat.blocks), (expected.dev(), expected.uid(), expected.blocks()));
    assert_eq!(stat.mtime.0, expected.mtime() * 1_000_000_000 + expected.mtime_nsec());
    assert_eq!(stat.ctime.0, expected.ctime() * 1_000_000_000 + expected.ctime_nsec());
    assert_eq!(os.stat(&handle, b"link").expect("stat").kind, Kind::Symlink);
    assert_eq!(os.readlink(&handle, b"link").expect("readlink"), b"nowhere");
    let own = os.stat_dir(&handle).expect("stat");
    assert_eq!((own.kind, own.mnt_id), (Kind::Dir, stat.mnt_id));
    let missing = os.stat(&handle, b"missing").expect_err("missing");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_no_single_name_is_refused() {
    let dir = TestDir::create();
    let (os, _, handle) = open(&dir);
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
        let error = os.stat(&handle, name).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn no_symlink_is_followed_below_the_root() {
    let dir = TestDir::create();
    fs::create_dir_all(dir.join("root/real/deep")).expect("mkdir");
    fs::create_dir(dir.join("outside")).expect("mkdir");
    symlink("real", dir.join("root/link")).expect("symlink");
    symlink(dir.join("outside"), dir.join("root/out")).expect("symlink");
    let os = OsFs::new();
    let root = os.open_root(&dir.join("root")).expect("root");
    os.open_dir(&root, b"real/deep").expect("a real path");
    for path in [&b"link/deep"[..], b"link", b"out", b"..", b"real/../../outside", b"/etc"] {
        assert!(os.open_dir(&root, path).is_err(), "{path:?}");
        assert!(open_stepwise(root.fd.as_fd(), path, DIR_FLAGS).is_err(), "stepwise {path:?}");
    }
    open_stepwise(root.fd.as_fd(), b"real/deep", DIR_FLAGS).expect("stepwise");
    open_stepwise(root.fd.as_fd(), b"", DIR_FLAGS).expect("stepwise");
    assert!(os.open_root(&dir.join("root/link")).is_err(), "a root is no symlink");
}

#[test]
fn paths_become_relative_to_their_root() {
    let dir = TestDir::create();
    let os = OsFs::new();
    let root = os.open_root(dir.path()).expect("root");
    let path = dir.path().as_os_str().as_bytes();
    assert_eq!(root.relative(path), Some(&b""[..]));
    assert_eq!(root.relative(&[path, b"/a/b"].concat()), Some(&b"a/b"[..]));
    assert_eq!(root.relative(&[path, b"x/a"].concat()), None);
    let slash = os.open_root(Path::new("/")).expect("root");
    assert_eq!(slash.relative(b"/"), Some(&b""[..]));
    assert_eq!(slash.relative(b"/etc/x"), Some(&b"etc/x"[..]));
}

#[test]
fn a_fifo_is_named_and_not_opened() {
    let dir = TestDir::create();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), FileType::Fifo, mode, 0).expect("mkfifo");
    symlink("fifo", dir.join("link")).expect("symlink");
    let (os, _, handle) = open(&dir);
    for (name, kind) in [(&b"fifo"[..], Kind::Fifo), (b"link", Kind::Symlink)] {
        let error = os.open_file(&handle, name).expect_err("no file");
        assert_eq!(NotRegular::kind_in(&error), Some(kind));
    }
    let error = os.open_file(&handle, b"missing").expect_err("no file");
    assert_eq!(NotRegular::kind_in(&error), None);
}

#[test]
fn every_creation_has_its_own_identity() {
    let dir = TestDir::create();
    let (os, _, handle) = open(&dir);
    let mut identities = HashSet::new();
    let mut inodes = HashSet::new();
    for _ in 0..200 {
        fs::write(dir.join("f"), "x").expect("write");
        let stat = os.stat(&handle, b"f").expect("stat");
        inodes.insert(stat.ino);
        let identity = os.identity(&handle, b"f", &stat).expect("identity");
        assert_eq!(identity, os.identity(&handle, b"f", &stat).expect("identity"), "the same twice");
        identities.insert(identity);
        fs::remove_file(dir.join("f")).expect("rm");
    }
    assert_eq!(identities.len(), 200, "{} inode numbers", inodes.len());
}

#[test]
fn an_identity_survives_rename_and_is_the_same_from_inside() {
    let dir = TestDir::create();
    fs::create_dir(dir.join("a")).expect("mkdir");
    let (os, root, handle) = open(&dir);
    let before = os.stat(&handle, b"a").expect("stat");
    let identity = os.identity(&handle, b"a", &before).expect("identity");
    fs::rename(dir.join("a"), dir.join("b")).expect("mv");
    let after = os.stat(&handle, b"b").expect("stat");
    assert_eq!(identity, os.identity(&handle, b"b", &after).expect("identity"));
    let inside = os.open_dir(&root, b"b").expect("child");
    let own = os.stat_dir(&inside).expect("stat");
    assert_eq!(identity, os.identity_dir(&inside, &own).expect("identity"));
    symlink("b", dir.join("link")).expect("symlink");
    let link = os.stat(&handle, b"link").expect("stat");
    assert_ne!(identity, os.identity(&handle, b"link", &link).expect("identity"), "not followed");
}

#[test]
fn another_filesystem_has_another_identity() {
    let dir = TestDir::create();
    let (os, _, handle) = open(&dir);
    let here = os.identity_dir(&handle, &os.stat_dir(&handle).expect("stat")).expect("identity");
    let root = os.open_root(Path::new("/")).expect("root");
    let slash = os.open_dir(&root, b"").expect("dir");
    let stat = os.stat(&slash, b"proc").expect("stat");
    let proc = os.identity(&slash, b"proc", &stat).expect("identity");
    assert_ne!(here.filesystem, proc.filesystem);
}

#[test]
fn attributes_are_all_read_in_order() {
    let dir = TestDir::create();
    fs::write(dir.join("f"), "x").expect("write");
    fs::create_dir(dir.join("d")).expect("mkdir");
    let (os, root, handle) = open(&dir);
    assert_eq!(os.xattrs(&handle, b"f").expect("xattrs"), Vec::new());
    let flags = rustix::fs::XattrFlags::empty();
    // ext4 keeps 4 KiB of attributes: the list outgrows the first buffer, and so does one value.
    let large = vec![b'v'; 900];
    let mut expected = Vec::new();
    for number in 0..14 {
        let name = format!("user.a-name-long-enough-to-fill-the-list-{number:02}");
        let value = if number == 7 { large.clone() } else { vec![b'0'; number] };
        for file in ["f", "d"] {
            if let Err(error) = rustix::fs::setxattr(dir.join(file), name.as_str(), &value, flags) {
                println!("skipped: this filesystem takes no user attributes: {error}");
                return;
            }
        }
        expected.push((name.into_bytes(), value));
    }
    assert_eq!(os.xattrs(&handle, b"f").expect("xattrs"), expected);
    assert_eq!(os.xattrs(&handle, b"d").expect("xattrs"), expected);
    let inside = os.open_dir(&root, b"d").expect("child");
    assert_eq!(os.xattrs_dir(&inside).expect("xattrs"), expected);
    symlink("f", dir.join("link")).expect("symlink");
    assert_eq!(os.xattrs(&handle, b"link").expect("xattrs"), Vec::new(), "not followed");
}

fn read_all(file: &mut RegularFile) -> (Vec<u8>, u64) {
    let mut buffer = [0; 10_000];
    let (mut content, mut holes) = (Vec::new(), 0);
    loop {
        match file.next(&mut buffer).expect("read") {
            Piece::Data(count) => content.extend_from_slice(&buffer[..count]),
            Piece::Hole(length) => {
                holes += length;
                content.resize(content.len() + length as usize, 0);
            }
            Piece::End => return (content, holes),
        }
    }
}

#[test]
fn holes_are_found_and_the_bytes_are_right() {
    let dir = TestDir::create();
    let file = fs::File::create(dir.join("sparse")).expect("create");
    file.write_all_at(&[1; 5000], 1 << 20).expect("write");
    file.write_all_at(&[2; 5000], 3 << 20).expect("write");
    file.set_len(4 << 20).expect("truncate");
    fs::File::create(dir.join("empty")).expect("create").set_len(1 << 20).expect("truncate");
    fs::write(dir.join("full"), vec![3; 70_000]).expect("write");
    fs::write(dir.join("none"), "").expect("write");
    let (os, _, handle) = open(&dir);
    for (name, has_holes) in [("sparse", true), ("empty", true), ("full", false), ("none", false)] {
        for keep in [true, false] {
            let mut file = os.open_file(&handle, name.as_bytes()).expect("open");
            file.keep_cache(keep);
            let (content, holes) = read_all(&mut file);
            assert_eq!(content, fs::read(dir.join(name)).expect("read"), "{name}");
            assert!(has_holes || holes == 0, "{name}");
            if has_holes && holes == 0 {
                println!("skipped: this filesystem does not tell the holes of {name}");
            }
        }
    }
    let (_, holes) = read_all(&mut os.open_file(&handle, b"sparse").expect("open"));
    assert!(holes == 0 || holes > 3 << 20, "{holes}");
}

/// On ext4 attributes that do not fit into the inode have a block of their own, which counts like the file's.
#[test]
fn a_hole_is_found_where_other_blocks_make_up_for_it() {
    let dir = TestDir::create();
    let path = dir.join("punched");
    fs::write(&path, vec![5; 3 * 4096]).expect("write");
    let file = fs::File::options().write(true).open(&path).expect("open");
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    let attribute = rustix::fs::fsetxattr(&file, "user.large", &[7; 2000], rustix::fs::XattrFlags::empty());
    if rustix::fs::fallocate(&file, flags, 4096, 4096).is_err() || attribute.is_err() {
        println!("skipped: this filesystem makes no holes, or takes no large attributes");
        return;
    }
    file.sync_all().expect("sync");
    let (os, _, handle) = open(&dir);
    let (content, holes) = read_all(&mut os.open_file(&handle, b"punched").expect("open"));
    assert_eq!(content, fs::read(&path).expect("read"));
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).expect("seek");
    assert_eq!(
        holes,
        if hole == 4096 { 4096 } else { 0 },
        "of {} blocks",
        file.metadata().expect("stat").blocks()
    );
}

#[test]
fn reading_leaves_no_access_time() {
    use std::os::unix::fs::MetadataExt;
    let dir = TestDir::create();
    fs::write(dir.join("f"), "content").expect("write");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let times = fs::FileTimes::new().set_accessed(old);
    fs::File::options().append(true).open(dir.join("f")).expect("open").set_times(times).expect("touch");
    let (os, _, handle) = open(&dir);
    let mut file = os.open_file(&handle, b"f").expect("open");
    read_all(&mut file);
    assert_eq!(fs::metadata(dir.join("f")).expect("metadata").atime(), 1_000_000_000);
}

#[test]
fn where_files_cannot_be_cloned_that_is_learnt_once() {
    let dir = TestDir::create();
    fs::write(dir.join("f"), "content").expect("write");
    // A directory of another filesystem: no clone can be there.
    let clones = Clones::open(Path::new("/proc")).expect("open");
    let file = fs::File::open(dir.join("f")).expect("open");
    for _ in 0..2 {
        assert!(clones.of(file.as_fd(), 7).is_ok_and(|clone| clone.is_none()));
    }
    assert!(clones.refused.lock().is_ok_and(|refused| refused.contains(&7)));
}

#[test]
fn writers_are_known_by_descriptor_and_gone_with_it() {
    let dir = TestDir::create();
    fs::write(dir.join("f"), "content").expect("write");
    let (os, _, handle) = open(&dir);
    let file = os.open_file(&handle, b"f").expect("open");
    assert_eq!(file.writers(), Writers::None);
    let writer = fs::File::options().append(true).open(dir.join("f")).expect("open");
    assert_eq!(file.writers(), Writers::Some);
    drop(writer);
    assert_eq!(file.writers(), Writers::None);
}

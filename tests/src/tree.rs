//! Makes hostile trees: every name, size, type and attribute that a filesystem allows and software trips over.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::must::Must;
use crate::random::Random;

/// Names that have broken programs before.
const NAMES: [&[u8]; 16] = [
    b"raw-\xff\xfe\x80",
    b"new\nline",
    b" lead and trail ",
    b"-rf",
    b"*?[x]{a,b}",
    b"tab\tand\x01control\x7f",
    b"'quote\"`$HOME`\\",
    "\u{e9}t\u{e9} \u{1f4be}".as_bytes(),
    "e\u{301}te\u{301}".as_bytes(),
    b"at@10:00",
    b"...",
    b"..hidden",
    b"%s%n",
    b"CON",
    b"#ino",
    b"~backup~",
];

/// Sizes around every border of the store: inline (512), block (256 KiB), chunk (16 and 64 KiB), page.
const SIZES: [usize; 17] = [
    0,
    1,
    511,
    512,
    513,
    4095,
    4096,
    4097,
    16 * 1024,
    64 * 1024 + 1,
    256 * 1024 - 1,
    256 * 1024,
    256 * 1024 + 1,
    512 * 1024 + 1,
    1 << 20,
    (3 << 20) + 17,
    (5 << 20) - 1,
];

/// What could not be made here, and why; for the test's output.
#[derive(Clone, Debug, Default)]
pub struct LeftOut(pub Vec<String>);

/// Fills an existing empty directory; about 400 entries and 30 MB. The same seed gives the same tree.
///
/// What needs root or a filesystem feature is left out where it is not to be had, and named in the result.
pub fn build(root: &Path, random: &mut Random) -> LeftOut {
    let mut left_out = LeftOut::default();
    names(&root.join("names"), random);
    sizes(&root.join("sizes"), random);
    sparse(&root.join("sparse"));
    links(root);
    special(&root.join("special"), &mut left_out);
    deep(&root.join("deep"), random);
    crowd(&root.join("crowd"), random);
    attributes(&root.join("attributes"), random, &mut left_out);
    modes(&root.join("modes"), &mut left_out);
    times(root);
    if !left_out.0.is_empty() {
        println!("the tree leaves out: {}", left_out.0.join("; "));
    }
    left_out
}

fn make_dir(path: &Path) {
    fs::create_dir_all(path).must(path.display());
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).must(path.display());
}

fn names(dir: &Path, random: &mut Random) {
    make_dir(dir);
    for name in NAMES {
        write(&dir.join(OsStr::from_bytes(name)), name);
        let inner = dir.join("dirs").join(OsStr::from_bytes(name));
        make_dir(&inner);
        write(&inner.join(OsStr::from_bytes(name)), &random.bytes(20));
    }
    for byte in [b'n', 0xfe] {
        let longest = [byte; 255];
        write(&dir.join(OsStr::from_bytes(&longest)), b"as long as a name can be");
        make_dir(&dir.join("dirs").join(OsStr::from_bytes(&longest)));
    }
    // A name that is another's prefix, with every byte that can come right after it in an index.
    for name in [&b"a"[..], b"a\x01", b"a\n", b"a.b", b"a\xff"] {
        write(&dir.join("dirs").join(OsStr::from_bytes(name)), name);
    }
}

fn sizes(dir: &Path, random: &mut Random) {
    make_dir(dir);
    for size in SIZES {
        write(&dir.join(format!("noise-{size}")), &random.bytes(size));
        write(&dir.join(format!("text-{size}")), &random.text(size));
    }
    // The same bytes again, and nearly the same.
    let mut near = random.text(1 << 20);
    write(&dir.join("twin-1"), &near);
    write(&dir.join("twin-2"), &near);
    near.splice(500_000..500_000, *b"inserted");
    write(&dir.join("twin-3"), &near);
    write(&dir.join("zeros"), &vec![0; 300_000]);
}

fn sparse(dir: &Path) {
    make_dir(dir);
    let make = |name: &str, len: u64, data: &[(u64, &[u8])]| {
        let path = dir.join(name);
        let file = File::create(&path).must(path.display());
        file.set_len(len).must(path.display());
        for (offset, bytes) in data {
            file.write_all_at(bytes, *offset).must(path.display());
        }
    };
    make("all-hole", 10 << 20, &[]);
    make("all-hole-odd", 5_000_001, &[]);
    make("huge", 1 << 40, &[(1 << 39, b"in the middle of a TiB")]);
    make("middle", 8 << 20, &[(0, &[1; 4096]), (4 << 20, &[2; 8192]), ((8 << 20) - 4096, &[3; 4096])]);
    make("tail-hole", (1 << 20) + 1, &[(0, &[4; 65536])]);
    // Zeros that are written are data.
    make("zeros-between", 4 << 20, &[(1 << 20, &[0; 65536]), (2 << 20, &[5; 100])]);
}

fn links(root: &Path) {
    let dir = root.join("links");
    make_dir(&dir);
    write(&dir.join("original"), b"one file, four names");
    fs::hard_link(dir.join("original"), dir.join("second")).must("hard link");
    fs::hard_link(dir.join("original"), root.join("third, elsewhere")).must("hard link");
    fs::hard_link(dir.join("original"), root.join("names").join("fourth")).must("hard link");
    fs::hard_link(root.join("sizes/noise-262145"), dir.join("large too")).must("hard link");
    let long = "t/".repeat(1500);
    let targets: [(&str, &[u8]); 8] = [
        ("relative", b"original"),
        ("up", b"../names/-rf"),
        ("dangling", b"not/there"),
        ("absolute", b"/etc/passwd"),
        ("root", b"/"),
        ("itself", b"itself"),
        ("raw", b"\xff\n"),
        ("long", long.as_bytes()),
    ];
    for (name, target) in targets {
        symlink(OsStr::from_bytes(target), dir.join(name)).must(name);
    }
    symlink("..", dir.join("loop")).must("loop");
    fs::hard_link(dir.join("dangling"), dir.join("dangling, second name")).must("hard link to a symlink");
}

fn special(dir: &Path, left_out: &mut LeftOut) {
    make_dir(dir);
    rustix::fs::mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).must("fifo");
    fs::hard_link(dir.join("fifo"), dir.join("fifo, second name")).must("hard link to a fifo");
    if !rustix::process::geteuid().is_root() {
        left_out.0.push("devices: not root".into());
        return;
    }
    // /dev/full and a loop device number: reading from neither does harm, should anybody do it.
    for (name, kind, device) in [
        ("char", FileType::CharacterDevice, rustix::fs::makedev(1, 7)),
        ("block", FileType::BlockDevice, rustix::fs::makedev(7, 250)),
    ] {
        if let Err(error) = rustix::fs::mknodat(CWD, dir.join(name), kind, Mode::from_raw_mode(0o600), device)
        {
            left_out.0.push(format!("{name} device: {error}"));
        }
    }
}

fn deep(dir: &Path, random: &mut Random) {
    let mut path = dir.to_path_buf();
    for level in 0..40 {
        path.push(format!("{level:02}-{}", "d".repeat(40)));
        make_dir(&path);
        if level % 8 == 7 {
            write(&path.join("here"), &random.text(100 + level));
        }
    }
    make_dir(&dir.join("empty/emptier/emptiest"));
}

fn crowd(dir: &Path, random: &mut Random) {
    // More than the 128 changed children at which a directory is read as a whole.
    make_dir(dir);
    for number in 0..150 {
        let len = random.below(900) as usize;
        write(&dir.join(format!("file-{number:03}")), &random.text(len));
    }
}

fn attributes(dir: &Path, random: &mut Random, left_out: &mut LeftOut) {
    make_dir(&dir.join("dir"));
    let file = dir.join("file");
    write(&file, b"with attributes");
    let large = random.bytes(1000);
    let values: [(&str, &[u8]); 4] =
        [("user.text", b"text"), ("user.nul", b"a\0b\0"), ("user.empty", b""), ("user.large", &large)];
    for path in [&file, &dir.join("dir")] {
        for (name, value) in values {
            if let Err(error) = rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
                left_out.0.push(format!("xattr {name}: {error}"));
            }
        }
    }
    if rustix::process::geteuid().is_root() {
        symlink("file", dir.join("link")).must("link");
        let owned = dir.join("capable, and somebody's");
        write(&owned, b"#!/bin/sh\n");
        chown(&owned, Some(12345), Some(54321)).must("chown");
        lchown(dir.join("link"), Some(12345), Some(54321)).must("lchown");
        chown(dir.join("dir"), Some(12345), Some(54321)).must("chown");
        // cap_net_bind_service, effective. The kernel drops it at chown: a restore must keep the order.
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let rooted: [(&PathBuf, &str, &[u8]); 3] = [
            (&owned, "security.capability", &capability),
            (&file, "trusted.asof", b"root only"),
            (&dir.join("link"), "trusted.asof", b"on a symlink"),
        ];
        for (path, name, value) in rooted {
            if let Err(error) = rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
                left_out.0.push(format!("{name}: {error}"));
            }
        }
    } else {
        left_out.0.push("owners, capabilities, trusted xattrs: not root".into());
    }
    if has_program("setfacl") {
        for (arguments, path) in
            [("u:12345:rw-,g:54321:r-x", file), ("d:u:12345:rwx,u:12345:r-x", dir.join("dir"))]
        {
            let done =
                Command::new("setfacl").args(["-m", arguments]).arg(&path).stderr(Stdio::null()).status();
            if !done.must("setfacl").success() {
                left_out.0.push(format!("ACL {arguments}: refused here"));
            }
        }
    } else {
        left_out.0.push("ACLs: setfacl is not installed".into());
    }
}

fn modes(dir: &Path, left_out: &mut LeftOut) {
    make_dir(dir);
    for mode in [0o4755, 0o2755, 0o6711, 0o1644, 0o400, 0o777, 0o604] {
        let path = dir.join(format!("file-{mode:04o}"));
        write(&path, b"mode");
        fs::set_permissions(&path, Permissions::from_mode(mode)).must(path.display());
    }
    for mode in [0o1777, 0o2775, 0o700, 0o555] {
        let path = dir.join(format!("dir-{mode:04o}"));
        make_dir(&path);
        write(&path.join("inside"), b"mode");
        fs::set_permissions(&path, Permissions::from_mode(mode)).must(path.display());
    }
    if rustix::process::geteuid().is_root() {
        let path = dir.join("dir-0000");
        make_dir(&path);
        write(&path.join("file-0000"), b"nobody but root");
        fs::set_permissions(path.join("file-0000"), Permissions::from_mode(0o000)).must(path.display());
        fs::set_permissions(&path, Permissions::from_mode(0o000)).must(path.display());
    } else {
        left_out.0.push("mode 000: not root".into());
    }
}

/// Times that are easily rounded, clamped or taken for unsigned; last, since making entries moves a directory's time.
fn times(root: &Path) {
    let times = [
        (-1, 999_999_999),
        (-86_400 * 365 * 20, 1),
        (0, 0),
        (0, 1),
        (4_102_444_800, 123_456_789),
        (1, 999_999_999),
    ];
    for (index, entry) in
        ["links", "names", "sizes", "special", "names/dirs", "deep/empty"].iter().enumerate()
    {
        let dir = root.join(entry);
        let mut children: Vec<PathBuf> =
            fs::read_dir(&dir).must(dir.display()).map(|child| child.must(dir.display()).path()).collect();
        children.sort();
        for (number, child) in children.iter().enumerate() {
            let (seconds, nanoseconds) = times[(index + number) % times.len()];
            set_mtime(child, seconds, nanoseconds);
        }
        set_mtime(&dir, times[index].0, times[index].1);
    }
}

/// Sets the modification time of an entry itself (a symlink is not followed).
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    try_set_mtime(path, seconds, nanoseconds).must(path.display());
}

/// The same where the entry may be gone.
pub fn try_set_mtime(path: &Path, seconds: i64, nanoseconds: i64) -> std::io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether a program is on the path.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;

    #[test]
    fn the_same_seed_gives_the_same_tree() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for root in [&a, &b] {
            fs::create_dir(root).unwrap();
            build(root, &mut Random::new(11));
        }
        let told: Vec<_> =
            oracle::compare(&a, &b).into_iter().filter(|d| d.what != oracle::What::Mtime).collect();
        assert_eq!(told, []);
        let census = oracle::census(&a);
        assert!(census.files > 200 && census.dirs > 60 && census.others > 10, "{census:?}");
        crate::site::remove(dir.path());
    }
}

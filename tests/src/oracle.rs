//! The oracle: says in words where two trees differ, in any byte or attribute that a restore must give back.
//!
//! Knows nothing of asof: it looks at two directories with `lstat`, `listxattr`, `SEEK_HOLE` and `read`. What nobody can
//! give back is not compared: inode numbers, change and access times, the size of a directory, sockets' contents.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;

use crate::filesystem::{XFS, is_on};
use crate::must::Must;

/// A restored sparse file may occupy this much more than its original: metadata blocks and preallocation.
const HOLE_SLACK_BYTES: u64 = 64 * 1024;
/// The same on xfs, which preallocates more.
const HOLE_SLACK_BYTES_XFS: u64 = 1024 * 1024;

/// One place where two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Below the roots of both trees; empty for the roots themselves.
    pub path: PathBuf,
    /// Which attribute.
    pub what: What,
    /// How it is, in the first and in the second tree.
    pub how: String,
}

/// The attributes that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// In the first tree only.
    Missing,
    /// In the second tree only.
    Extra,
    /// File, directory, symlink, ...
    Type,
    /// Permission bits with setuid, setgid and sticky.
    Mode,
    /// Owner or group.
    Owner,
    /// Size in bytes of a file.
    Size,
    /// Modification time in nanoseconds.
    Mtime,
    /// Extended attributes, POSIX ACLs among them.
    Xattrs,
    /// What a symlink says.
    Target,
    /// Major and minor number.
    Device,
    /// Which names are one file.
    HardLinks,
    /// What a sparse file leaves out.
    Holes,
    /// The bytes.
    Content,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.as_os_str().is_empty() { Path::new(".") } else { &self.path };
        write!(f, "{path:?}: {:?}: {}", self.what, self.how)
    }
}

/// Compares two trees (or two single files) completely; the first is how it should be.
///
/// Panics where either cannot be read: no verdict is possible then.
pub fn compare(expected: &Path, actual: &Path) -> Vec<Difference> {
    let (expected, actual) = (Tree::read(expected), Tree::read(actual));
    let mut differences = Vec::new();
    for (path, one) in &expected.entries {
        match actual.entries.get(path) {
            None => differences.push(Difference {
                path: path.clone(),
                what: What::Missing,
                how: format!("a {} is not there", kind(&one.meta)),
            }),
            Some(other) => compare_entry(&expected, &actual, path, one, other, &mut differences),
        }
    }
    for (path, other) in &actual.entries {
        if !expected.entries.contains_key(path) {
            differences.push(Difference {
                path: path.clone(),
                what: What::Extra,
                how: format!("a {} that should not be there", kind(&other.meta)),
            });
        }
    }
    differences
}

/// Stops the test where two trees differ, with the first differences in words.
#[track_caller]
pub fn assert_same(expected: &Path, actual: &Path, when: impl fmt::Display) {
    let differences = compare(expected, actual);
    if !differences.is_empty() {
        let shown: Vec<String> =
            differences.iter().take(20).map(|difference| format!("  {difference}")).collect();
        panic!(
            "{when}: {} differences between {} and {}:\n{}",
            differences.len(),
            expected.display(),
            actual.display(),
            shown.join("\n")
        );
    }
}

/// What a tree amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Regular files, each name of a hard link counted.
    pub files: u64,
    /// Directories, the top one included.
    pub dirs: u64,
    /// Everything else.
    pub others: u64,
    /// Sum of the sizes of the regular files.
    pub bytes: u64,
}

/// Counts a tree.
pub fn census(root: &Path) -> Census {
    let mut census = Census::default();
    for entry in Tree::read(root).entries.values() {
        match kind(&entry.meta) {
            "file" => {
                census.files += 1;
                census.bytes += entry.meta.len();
            }
            "directory" => census.dirs += 1,
            _ => census.others += 1,
        }
    }
    census
}

/// One tree as `lstat` shows it.
struct Tree {
    root: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
    /// First name in order of every inode with several names below the root.
    first_names: BTreeMap<(u64, u64), PathBuf>,
}

struct Entry {
    meta: Metadata,
}

impl Tree {
    fn read(root: &Path) -> Tree {
        let mut tree =
            Tree { root: root.to_path_buf(), entries: BTreeMap::new(), first_names: BTreeMap::new() };
        let mut queue = vec![PathBuf::new()];
        while let Some(path) = queue.pop() {
            let full = tree.full(&path);
            let meta = fs::symlink_metadata(&full).must(full.display());
            if meta.is_dir() {
                for child in fs::read_dir(&full).must(full.display()) {
                    queue.push(path.join(child.must(full.display()).file_name()));
                }
            }
            tree.entries.insert(path, Entry { meta });
        }
        for (path, entry) in &tree.entries {
            if !entry.meta.is_dir() && entry.meta.nlink() > 1 {
                let inode = (entry.meta.dev(), entry.meta.ino());
                tree.first_names.entry(inode).or_insert_with(|| path.clone());
            }
        }
        tree
    }

    fn full(&self, path: &Path) -> PathBuf {
        // Joining an empty path would add a slash, which follows a symlink and refuses a file.
        if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// The first name of the inode that an entry is.
    fn first_name<'a>(&'a self, path: &'a Path, entry: &Entry) -> &'a Path {
        self.first_names.get(&(entry.meta.dev(), entry.meta.ino())).map_or(path, PathBuf::as_path)
    }
}

fn compare_entry(
    expected: &Tree,
    actual: &Tree,
    path: &Path,
    one: &Entry,
    other: &Entry,
    differences: &mut Vec<Difference>,
) {
    let mut differ = |what, how| differences.push(Difference { path: path.to_path_buf(), what, how });
    let (a, b) = (&one.meta, &other.meta);
    let (full_a, full_b) = (expected.full(path), actual.full(path));
    if kind(a) != kind(b) {
        differ(What::Type, format!("{} became {}", kind(a), kind(b)));
        return;
    }
    if a.mode() & 0o7777 != b.mode() & 0o7777 {
        differ(What::Mode, format!("{:04o} became {:04o}", a.mode() & 0o7777, b.mode() & 0o7777));
    }
    if (a.uid(), a.gid()) != (b.uid(), b.gid()) {
        differ(What::Owner, format!("{}:{} became {}:{}", a.uid(), a.gid(), b.uid(), b.gid()));
    }
    if (a.mtime(), a.mtime_nsec()) != (b.mtime(), b.mtime_nsec()) {
        let (from, to) = ((a.mtime(), a.mtime_nsec()), (b.mtime(), b.mtime_nsec()));
        differ(What::Mtime, format!("{}.{:09} became {}.{:09}", from.0, from.1, to.0, to.1));
    }
    let (xattrs_a, xattrs_b) =
        (xattrs(&full_a).must(full_a.display()), xattrs(&full_b).must(full_b.display()));
    if xattrs_a != xattrs_b {
        differ(What::Xattrs, format!("{} became {}", show_xattrs(&xattrs_a), show_xattrs(&xattrs_b)));
    }
    let (first_a, first_b) = (expected.first_name(path, one), actual.first_name(path, other));
    if first_a != first_b {
        differ(What::HardLinks, format!("was one file with {first_a:?}, became one with {first_b:?}"));
    }
    match kind(a) {
        "symlink" => {
            let (to_a, to_b) = (
                fs::read_link(&full_a).must(full_a.display()),
                fs::read_link(&full_b).must(full_b.display()),
            );
            if to_a != to_b {
                differ(What::Target, format!("{to_a:?} became {to_b:?}"));
            }
        }
        "character device" | "block device" if a.rdev() != b.rdev() => {
            differ(What::Device, format!("{:#x} became {:#x}", a.rdev(), b.rdev()));
        }
        "file" if a.len() != b.len() => differ(What::Size, format!("{} became {}", a.len(), b.len())),
        // Each file once, however many names it has.
        "file" if first_a == path && first_b == path => {
            if let Some(offset) = first_different_byte(&full_a, &full_b) {
                differ(What::Content, format!("the first different byte is at {offset} of {}", a.len()));
            }
            if let Some(how) = compare_holes(&full_a, a, &full_b, b) {
                differ(What::Holes, how);
            }
        }
        _ => {}
    }
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_symlink() {
        "symlink"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_char_device() {
        "character device"
    } else {
        "block device"
    }
}

/// Extended attributes of the entry itself (symlinks are not followed), by name.
pub fn xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::llistxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), value.as_mut_slice())?;
        value.truncate(length);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

fn show_xattrs(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let shown: Vec<String> = xattrs
        .iter()
        .map(|(name, value)| {
            let start = &value[..value.len().min(24)];
            format!("{}={:?} ({} bytes)", name.escape_ascii(), start.escape_ascii().to_string(), value.len())
        })
        .collect();
    format!("[{}]", shown.join(", "))
}

fn first_different_byte(a: &Path, b: &Path) -> Option<u64> {
    let (file_a, file_b) = (File::open(a).must(a.display()), File::open(b).must(b.display()));
    let (mut buffer_a, mut buffer_b) = (vec![0; 128 * 1024], vec![0; 128 * 1024]);
    // Where neither has data both read as zero: a hole of a TiB costs nothing.
    let mut ranges = data_ranges(&file_a).must(a.display());
    ranges.extend(data_ranges(&file_b).must(b.display()));
    ranges.sort_unstable();
    let mut done = 0;
    for (start, end) in ranges {
        let mut offset = start.max(done);
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer_a.len());
            let length_a = read_full(&file_a, &mut buffer_a[..wanted], offset).must(a.display());
            let length_b = read_full(&file_b, &mut buffer_b[..wanted], offset).must(b.display());
            let (part_a, part_b) = (&buffer_a[..length_a], &buffer_b[..length_b]);
            if part_a != part_b {
                let same = part_a.iter().zip(part_b).take_while(|(x, y)| x == y).count();
                return Some(offset + same as u64);
            }
            if length_a == 0 {
                break;
            }
            offset += length_a as u64;
        }
        done = done.max(end);
    }
    None
}

fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A restored file must not be fatter than its original, and on the same filesystem it must have the same holes.
fn compare_holes(path_a: &Path, a: &Metadata, path_b: &Path, b: &Metadata) -> Option<String> {
    let (occupied_a, occupied_b) = (a.blocks() * 512, b.blocks() * 512);
    // xfs gives a file that grows blocks beyond its end in advance. What grows over them is data first, and may be a hole
    // later without any change of the file.
    let grows_in_advance = is_on(path_a, XFS);
    let slack = if grows_in_advance { HOLE_SLACK_BYTES_XFS } else { HOLE_SLACK_BYTES };
    if occupied_a < a.len() && occupied_b > occupied_a + slack {
        return Some(format!("{occupied_a} bytes occupied became {occupied_b} of {}", a.len()));
    }
    // Within one block there is no hole to keep.
    let block = a.blksize().max(4096);
    if grows_in_advance || a.dev() != b.dev() || a.len() <= block {
        return None;
    }
    let (data_a, data_b) = (
        data_blocks(path_a, block).must(path_a.display()),
        data_blocks(path_b, block).must(path_b.display()),
    );
    (data_a != data_b).then(|| format!("data in blocks {data_a:?} became {data_b:?}"))
}

/// Where a file has data, in filesystem blocks, as half-open ranges that do not touch.
fn data_blocks(path: &Path, block: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut blocks: Vec<(u64, u64)> = Vec::new();
    for (start, end) in data_ranges(&File::open(path)?)? {
        let (first, last) = (start / block, end.div_ceil(block));
        match blocks.last_mut() {
            Some(before) if before.1 >= first => before.1 = last,
            _ => blocks.push((first, last)),
        }
    }
    Ok(blocks)
}

/// Where a file has data, in bytes, as half-open ranges.
pub fn data_ranges(file: &File) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ranges.push((start, at));
    }
}

/// Every path below a root as bytes, the root itself left out; in order.
pub fn paths_below(root: &Path) -> Vec<Vec<u8>> {
    let entries = Tree::read(root).entries;
    entries.into_keys().map(|path| path.into_os_string().into_vec()).filter(|path| !path.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::copy;
    use crate::random::Random;
    use crate::tree;
    use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
    use std::process::Command;

    /// A small tree with one of everything, and a faithful copy of it.
    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(a.join("sub/deeper")).unwrap();
        fs::write(a.join("file"), b"twelve bytes").unwrap();
        fs::write(a.join("sub/one"), vec![7; 300_000]).unwrap();
        fs::hard_link(a.join("sub/one"), a.join("sub/two")).unwrap();
        fs::write(a.join("apart"), b"same").unwrap();
        fs::write(a.join("alike"), b"same").unwrap();
        symlink("nowhere", a.join("link")).unwrap();
        rustix::fs::mknodat(CWD, a.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let sparse = File::create(a.join("sparse")).unwrap();
        sparse.set_len(1 << 20).unwrap();
        sparse.write_all_at(&[1; 4096], 512 << 10).unwrap();
        drop(sparse);
        for path in ["file", "sub"] {
            rustix::fs::lsetxattr(a.join(path), "user.note", b"v\0w", XattrFlags::empty()).unwrap();
        }
        copy(&a, &b);
        (dir, a, b)
    }

    /// Gives an entry back the mtime that an operation on it moved, so that only the attribute under test differs.
    fn keeping_mtimes(paths: &[PathBuf], operation: impl FnOnce()) {
        let before: Vec<Metadata> = paths.iter().map(|path| fs::symlink_metadata(path).unwrap()).collect();
        operation();
        for (path, meta) in paths.iter().zip(before) {
            set_mtime(path, meta.mtime(), meta.mtime_nsec());
        }
    }

    fn set_mtime(path: &Path, tv_sec: i64, tv_nsec: i64) {
        let time = Timespec { tv_sec, tv_nsec };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }

    /// Changes one thing in the copy and checks that exactly this is found.
    #[track_caller]
    fn finds(change: impl FnOnce(&Path), path: &str, what: What) {
        let (_dir, a, b) = pair();
        assert_eq!(compare(&a, &b), []);
        let touched = [b.join(path), b.join(path).parent().unwrap().to_path_buf()];
        let kept: Vec<PathBuf> = touched.into_iter().filter(|path| path.symlink_metadata().is_ok()).collect();
        if what == What::Mtime {
            change(&b);
        } else if what == What::Missing {
            keeping_mtimes(&kept[1..], || change(&b));
        } else {
            keeping_mtimes(&kept, || change(&b));
        }
        let found = compare(&a, &b);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_path(), found[0].what), (Path::new(path), what), "{found:?}");
    }

    fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!("skipped in part: needs root");
        }
        root
    }

    #[test]
    fn a_missing_entry() {
        finds(|b| fs::remove_file(b.join("file")).unwrap(), "file", What::Missing);
        finds(|b| fs::remove_dir(b.join("sub/deeper")).unwrap(), "sub/deeper", What::Missing);
    }

    #[test]
    fn an_extra_entry() {
        finds(|b| fs::write(b.join("new"), b"").unwrap(), "new", What::Extra);
    }

    #[test]
    fn another_type() {
        let swap = |b: &Path| {
            fs::remove_file(b.join("pipe")).unwrap();
            fs::write(b.join("pipe"), b"").unwrap();
        };
        finds(swap, "pipe", What::Type);
    }

    #[test]
    fn another_mode() {
        let chmod = |mode| move |b: &Path| fs::set_permissions(b, fs::Permissions::from_mode(mode)).unwrap();
        finds(|b| chmod(0o640)(&b.join("file")), "file", What::Mode);
        finds(|b| chmod(0o4644)(&b.join("file")), "file", What::Mode);
        finds(|b| chmod(0o700)(&b.join("sub/deeper")), "sub/deeper", What::Mode);
        finds(|b| chmod(0o606)(&b.join("pipe")), "pipe", What::Mode);
    }

    #[test]
    fn another_owner() {
        if is_root() {
            finds(|b| chown(b.join("file"), Some(12345), None).unwrap(), "file", What::Owner);
            finds(|b| chown(b.join("sub/deeper"), None, Some(12345)).unwrap(), "sub/deeper", What::Owner);
            finds(|b| lchown(b.join("link"), Some(12345), None).unwrap(), "link", What::Owner);
        }
    }

    #[test]
    fn another_size() {
        finds(|b| fs::write(b.join("file"), b"twelve byte").unwrap(), "file", What::Size);
    }

    #[test]
    fn another_mtime_by_a_nanosecond_or_before_1970() {
        for path in ["file", "sub/deeper", "link", "pipe"] {
            let one_ns = |b: &Path| {
                let meta = fs::symlink_metadata(b.join(path)).unwrap();
                set_mtime(&b.join(path), meta.mtime(), (meta.mtime_nsec() + 1) % 1_000_000_000);
            };
            finds(one_ns, path, What::Mtime);
        }
        finds(|b| set_mtime(&b.join("file"), -1, 5), "file", What::Mtime);
    }

    #[test]
    fn other_xattrs() {
        let set = |path: &Path, name: &str, value: &[u8]| {
            rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
        };
        finds(|b| set(&b.join("file"), "user.note", b"v\0x"), "file", What::Xattrs);
        finds(|b| set(&b.join("file"), "user.more", b""), "file", What::Xattrs);
        finds(|b| rustix::fs::lremovexattr(b.join("sub"), "user.note").unwrap(), "sub", What::Xattrs);
        if is_root() {
            finds(|b| set(&b.join("link"), "trusted.note", b"1"), "link", What::Xattrs);
        }
    }

    #[test]
    fn an_acl() {
        if !tree::has_program("setfacl") {
            eprintln!("skipped: setfacl is not installed");
            return;
        }
        // The mask that comes with an ACL is kept equal to the group bits, so that the mode stays.
        let acl = |b: &Path| {
            let done = Command::new("setfacl")
                .args(["-m", "u:12345:r--,m::r--"])
                .arg(b.join("file"))
                .status()
                .unwrap();
            assert!(done.success());
        };
        finds(acl, "file", What::Xattrs);
    }

    #[test]
    fn another_target() {
        let retarget = |b: &Path| {
            let meta = fs::symlink_metadata(b.join("link")).unwrap();
            fs::remove_file(b.join("link")).unwrap();
            symlink("nowherf", b.join("link")).unwrap();
            set_mtime(&b.join("link"), meta.mtime(), meta.mtime_nsec());
        };
        finds(retarget, "link", What::Target);
    }

    #[test]
    fn another_device() {
        if !is_root() {
            return;
        }
        let (_dir, a, b) = pair();
        let make = |path: PathBuf, minor| {
            let device = rustix::fs::makedev(1, minor);
            rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, device).unwrap();
            set_mtime(&path, 1, 1);
            set_mtime(path.parent().unwrap(), 1, 1);
        };
        make(a.join("null"), 3);
        make(b.join("null"), 5);
        let found = compare(&a, &b);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].what, What::Device);
    }

    #[test]
    fn hard_links_broken_and_made() {
        let break_link = |b: &Path| {
            let meta = fs::metadata(b.join("sub/two")).unwrap();
            fs::remove_file(b.join("sub/two")).unwrap();
            copy(&b.join("sub/one"), &b.join("sub/two"));
            set_mtime(&b.join("sub/two"), meta.mtime(), meta.mtime_nsec());
        };
        finds(break_link, "sub/two", What::HardLinks);
        let make_link = |b: &Path| {
            fs::remove_file(b.join("apart")).unwrap();
            fs::hard_link(b.join("alike"), b.join("apart")).unwrap();
        };
        let (_dir, a, b) = pair();
        keeping_mtimes(std::slice::from_ref(&b), || make_link(&b));
        let meta = fs::metadata(a.join("apart")).unwrap();
        set_mtime(&a.join("alike"), meta.mtime(), meta.mtime_nsec());
        set_mtime(&b.join("alike"), meta.mtime(), meta.mtime_nsec());
        let found = compare(&a, &b);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_path(), found[0].what), (Path::new("apart"), What::HardLinks));
    }

    #[test]
    fn holes_filled_and_punched() {
        let fill = |b: &Path| {
            let file = File::options().write(true).open(b.join("sparse")).unwrap();
            file.write_all_at(&[0; 200 * 1024], 0).unwrap();
            file.sync_all().unwrap();
        };
        finds(fill, "sparse", What::Holes);
        let fill_a_little = |b: &Path| {
            let file = File::options().write(true).open(b.join("sparse")).unwrap();
            file.write_all_at(&[0; 1], 8192).unwrap();
        };
        finds(fill_a_little, "sparse", What::Holes);
    }

    #[test]
    fn one_byte_first_middle_last() {
        for (path, offset) in [("file", 0), ("file", 11), ("sub/one", 150_000), ("sub/one", 299_999)] {
            let flip = |b: &Path| {
                let file = File::options().write(true).open(b.join(path)).unwrap();
                file.write_all_at(b"!", offset).unwrap();
            };
            finds(flip, path, What::Content);
        }
    }

    #[test]
    fn the_root_itself_and_single_files() {
        finds(|b| set_mtime(b, 5, 5), "", What::Mtime);
        let (_dir, a, b) = pair();
        assert_eq!(compare(&a.join("file"), &b.join("file")), []);
        assert_eq!(
            compare(&a.join("file"), &b.join("link")).first().map(|difference| difference.what),
            Some(What::Type)
        );
    }

    #[test]
    fn a_hostile_tree_equals_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&a).unwrap();
        tree::build(&a, &mut Random::new(3));
        copy(&a, &b);
        assert_eq!(compare(&a, &b), []);
        crate::site::remove(dir.path());
    }
}

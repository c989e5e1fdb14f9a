//! The seam to what is protected: listing, `stat`, identities, attributes and content, one directory at a time.
//!
//! Owns every read of a protected tree. Never writes there, never follows a symlink below a root, never opens
//! anything but directories and regular files for reading, and moves no access time where the system allows that.
//! Knows nothing of the journal's content or of events.

mod clone;
mod file;
mod identity;

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use asof_journal::types::{Identity, Instant, Kind, Metadata};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use clone::Clones;
pub(crate) use file::{RegularFile, Writers};
use identity::{Filesystem, Habits};

/// Bytes of directory entries taken from the kernel at a time; a name of 255 bytes fits 200 times.
const LIST_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes first given to `listxattr` and `getxattr`; most answers are empty or shorter.
const XATTR_BUFFER_BYTES: usize = 512;
/// The longest value and the longest list that there can be (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_BYTES_MAX: usize = 65_536;
/// How often `openat2` is tried again when renames elsewhere made it give up (`EAGAIN`).
const OPEN_TRIES_MAX: usize = 16;
/// `STATX_MNT_ID_UNIQUE` (Linux 6.8): a mount id that is not given out again.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// What the agent needs from the filesystems it protects.
///
/// Names are single components, as bytes; an empty name or one with a slash or NUL is refused with `InvalidInput`.
pub(crate) trait SourceFs: Send + Sync {
    /// Opens a root by its absolute path. The last component must be a directory and no symlink.
    fn open_root(&self, path: &Path) -> io::Result<RootHandle>;

    /// Opens a directory below a root by its path relative to the root; empty means the root itself.
    ///
    /// A symlink, `..` or absolute path anywhere in it is refused (`ELOOP`, `EXDEV`, `ENOTDIR`).
    fn open_dir(&self, root: &RootHandle, relative: &[u8]) -> io::Result<DirHandle>;

    /// Lists a directory from its beginning, in the filesystem's order, without `.` and `..`.
    fn list(&self, dir: &DirHandle) -> io::Result<Vec<DirEntry>>;

    /// Tells what an entry is; one system call; a symlink is not followed.
    fn stat(&self, dir: &DirHandle, name: &[u8]) -> io::Result<Stat>;

    /// Tells what the directory itself is.
    fn stat_dir(&self, dir: &DirHandle) -> io::Result<Stat>;

    /// Gives the identity of an entry whose `stat` was just taken.
    fn identity(&self, dir: &DirHandle, name: &[u8], stat: &Stat) -> io::Result<Identity>;

    /// Gives the identity of the directory itself.
    fn identity_dir(&self, dir: &DirHandle, stat: &Stat) -> io::Result<Identity>;

    /// Reads all extended attributes of an entry, sorted by name; ACLs are among them. None where there can be none.
    fn xattrs(&self, dir: &DirHandle, name: &[u8]) -> io::Result<Xattrs>;

    /// Reads all extended attributes of the directory itself.
    fn xattrs_dir(&self, dir: &DirHandle) -> io::Result<Xattrs>;

    /// Opens a regular file for reading; for anything else gives the [`NotRegular`] error without opening it.
    fn open_file(&self, dir: &DirHandle, name: &[u8]) -> io::Result<RegularFile>;

    /// Clones a file whose `stat` was just taken, as it is at one point in time; `None` where that is not possible.
    ///
    /// Forces the file's dirty pages to be written out.
    fn clone_file(&self, file: &RegularFile, stat: &Stat) -> io::Result<Option<RegularFile>>;

    /// Whether a store through a mapping moves the change time of a file with that `stat`.
    fn stores_stamp(&self, stat: &Stat) -> bool;

    /// Reads the target of a symlink.
    fn readlink(&self, dir: &DirHandle, name: &[u8]) -> io::Result<Vec<u8>>;
}

/// Extended attributes, sorted by name: (name, value).
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A root: the point below which no symlink is followed.
#[derive(Debug)]
pub(crate) struct RootHandle {
    fd: OwnedFd,
    path: PathBuf,
}

impl RootHandle {
    /// The path relative to the root of an absolute path at or below it, as [`SourceFs::open_dir`] takes it.
    pub(crate) fn relative<'a>(&self, absolute: &'a [u8]) -> Option<&'a [u8]> {
        let rest = absolute.strip_prefix(self.path.as_os_str().as_bytes())?;
        match rest.strip_prefix(b"/") {
            Some(relative) => Some(relative),
            // The root `/` ends in the slash that others are followed by.
            None if rest.is_empty() || self.path == Path::new("/") => Some(rest),
            None => None,
        }
    }
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct DirHandle {
    fd: OwnedFd,
    /// What mount and device the directory is on; asked for once, when an identity needs it.
    place: OnceLock<Place>,
}

impl DirHandle {
    fn new(fd: OwnedFd) -> DirHandle {
        DirHandle { fd, place: OnceLock::new() }
    }

    fn place(&self) -> io::Result<Place> {
        if let Some(place) = self.place.get() {
            return Ok(*place);
        }
        let place = stat_fd(self.fd.as_fd())?.place();
        Ok(*self.place.get_or_init(|| place))
    }
}

impl AsFd for DirHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One entry of a listing; a hint of what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DirEntry {
    /// The name.
    pub name: Vec<u8>,
    /// Its kind, where the filesystem keeps it in the directory.
    pub kind_hint: Option<Kind>,
    /// The inode number that the directory gives; for a mount point that of the directory underneath.
    pub ino: u64,
}

/// What `statx` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Permission bits (`07777`), without the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Instant,
    /// Change time.
    pub ctime: Instant,
    /// Birth time, where the filesystem keeps one.
    pub btime: Option<Instant>,
    /// Inode number.
    pub ino: u64,
    /// Device that the filesystem reports for it; differs within one mount on btrfs and overlayfs.
    pub dev: u64,
    /// Number of names.
    pub nlink: u32,
    /// Device number of a device node, 0 otherwise.
    pub rdev: u64,
    /// Mount it was reached through: unique since boot from Linux 6.8 on, and then not the number in mountinfo.
    pub mnt_id: u64,
    /// Blocks of 512 bytes that it occupies.
    pub blocks: u64,
}

impl Stat {
    /// The same in the journal's terms.
    pub(crate) fn metadata(&self, xattrs: Xattrs) -> Metadata {
        Metadata {
            kind: self.kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            ctime: self.ctime,
            size: self.size,
            ino: self.ino,
            rdev: self.rdev,
            xattrs,
        }
    }

    fn place(&self) -> Place {
        Place { mnt_id: self.mnt_id, dev: self.dev }
    }

    fn from_statx(statx: &Statx) -> io::Result<Stat> {
        let mode = u32::from(statx.stx_mode);
        let kind = kind_of(FileType::from_raw_mode(mode)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("file type {mode:o} is not known"))
        })?;
        let has = |flag| StatxFlags::from_bits_retain(statx.stx_mask).contains(flag);
        Ok(Stat {
            kind,
            mode: mode & 0o7777,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            mtime: instant(statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec),
            ctime: instant(statx.stx_ctime.tv_sec, statx.stx_ctime.tv_nsec),
            btime: has(StatxFlags::BTIME).then(|| instant(statx.stx_btime.tv_sec, statx.stx_btime.tv_nsec)),
            ino: statx.stx_ino,
            dev: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            nlink: statx.stx_nlink,
            rdev: rustix::fs::makedev(statx.stx_rdev_major, statx.stx_rdev_minor),
            mnt_id: statx.stx_mnt_id,
            blocks: statx.stx_blocks,
        })
    }
}

/// The mount and device that something is on: what a filesystem's identity is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    mnt_id: u64,
    dev: u64,
}

/// Says that a name is no regular file; the inner error of what [`SourceFs::open_file`] gives then.
#[derive(Debug, thiserror::Error)]
#[error("not a regular file but a {}", kind.as_str())]
pub(crate) struct NotRegular {
    /// What it is.
    pub kind: Kind,
}

impl NotRegular {
    /// Tells what a name is when an error says that it is no regular file.
    pub(crate) fn kind_in(error: &io::Error) -> Option<Kind> {
        Some(error.get_ref()?.downcast_ref::<NotRegular>()?.kind)
    }
}

/// The filesystems of this machine.
#[derive(Debug, Default)]
pub(crate) struct OsFs {
    /// One entry per mount and device seen; a machine has dozens.
    filesystems: Mutex<HashMap<Place, Filesystem>>,
    clones: Option<Clones>,
}

impl OsFs {
    /// Starts with nothing remembered.
    pub(crate) fn new() -> OsFs {
        OsFs::default()
    }

    /// Lets files that do not hold still be cloned in a directory, where its filesystem can do that.
    pub(crate) fn with_clones_in(self, dir: &Path) -> io::Result<OsFs> {
        Ok(OsFs { clones: Some(Clones::open(dir)?), ..self })
    }
}

impl SourceFs for OsFs {
    fn open_root(&self, path: &Path) -> io::Result<RootHandle> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(RootHandle { fd, path: path.to_path_buf() })
    }

    fn open_dir(&self, root: &RootHandle, relative: &[u8]) -> io::Result<DirHandle> {
        let relative = if relative.is_empty() { b"." } else { relative };
        without_noatime_if_refused(DIR_FLAGS, |flags| open_beneath(root.fd.as_fd(), relative, flags))
            .map(DirHandle::new)
    }

    fn list(&self, dir: &DirHandle) -> io::Result<Vec<DirEntry>> {
        // The handle may have been listed before.
        rustix::fs::seek(dir, SeekFrom::Start(0))?;
        let mut buffer: Vec<MaybeUninit<u8>> = vec![MaybeUninit::uninit(); LIST_BUFFER_BYTES];
        let mut raw = RawDir::new(dir, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            entries.push(DirEntry {
                name: name.to_vec(),
                kind_hint: kind_of(entry.file_type()),
                ino: entry.ino(),
            });
        }
        Ok(entries)
    }

    fn stat(&self, dir: &DirHandle, name: &[u8]) -> io::Result<Stat> {
        let name = component(name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Stat::from_statx(&rustix::fs::statx(dir, name.as_c_str(), flags, stat_mask())?)
    }

    fn stat_dir(&self, dir: &DirHandle) -> io::Result<Stat> {
        stat_fd(dir.as_fd())
    }

    fn identity(&self, dir: &DirHandle, name: &[u8], stat: &Stat) -> io::Result<Identity> {
        let name = component(name)?;
        let filesystem = self.filesystem(stat.place(), || identity::filesystem_of_entry(dir, &name, stat))?;
        let (handle, way) = identity::handle(dir.as_fd(), &name, stat, filesystem.way)?;
        if way != filesystem.way {
            self.remember_way(stat.place(), way);
        }
        Ok(Identity { filesystem: filesystem.bytes, handle })
    }

    fn identity_dir(&self, dir: &DirHandle, stat: &Stat) -> io::Result<Identity> {
        let filesystem = self.filesystem(stat.place(), || identity::filesystem_of_open(dir.as_fd(), stat))?;
        let (handle, way) = identity::handle(dir.as_fd(), c"", stat, filesystem.way)?;
        if way != filesystem.way {
            self.remember_way(stat.place(), way);
        }
        Ok(Identity { filesystem: filesystem.bytes, handle })
    }

    fn xattrs(&self, dir: &DirHandle, name: &[u8]) -> io::Result<Xattrs> {
        let name = component(name)?;
        let mut path = proc_path(dir.as_fd());
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        read_xattrs(
            |buffer| rustix::fs::llistxattr(path.as_slice(), buffer),
            |attribute, buffer| rustix::fs::lgetxattr(path.as_slice(), attribute, buffer),
        )
    }

    fn xattrs_dir(&self, dir: &DirHandle) -> io::Result<Xattrs> {
        read_xattrs(
            |buffer| rustix::fs::flistxattr(dir, buffer),
            |attribute, buffer| rustix::fs::fgetxattr(dir, attribute, buffer),
        )
    }

    fn open_file(&self, dir: &DirHandle, name: &[u8]) -> io::Result<RegularFile> {
        let name = component(name)?;
        // O_PATH opens no device and waits for no FIFO: only when fstat says that this very inode is a regular
        // file is it opened for reading. Opening by name after a stat would leave a moment in which the name can
        // become a device.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let pinned = rustix::fs::openat(dir, name.as_c_str(), flags, Mode::empty())?;
        let stat = stat_fd(pinned.as_fd())?;
        if stat.kind != Kind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NotRegular { kind: stat.kind }));
        }
        let path = proc_path(pinned.as_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
        let fd = without_noatime_if_refused(flags, |flags| {
            Ok(rustix::fs::open(path.as_slice(), flags, Mode::empty())?)
        })?;
        Ok(RegularFile::new(fd, &stat, self.habits(stat.place()).leases_tell))
    }

    fn clone_file(&self, file: &RegularFile, stat: &Stat) -> io::Result<Option<RegularFile>> {
        let Some(clones) = &self.clones else { return Ok(None) };
        let Some(clone) = clones.of(file.as_fd(), stat.dev)? else { return Ok(None) };
        let stat = stat_fd(clone.as_fd())?;
        Ok(Some(RegularFile::new(clone, &stat, false)))
    }

    fn stores_stamp(&self, stat: &Stat) -> bool {
        self.habits(stat.place()).stores_stamp
    }

    fn readlink(&self, dir: &DirHandle, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = component(name)?;
        Ok(rustix::fs::readlinkat(dir, name.as_c_str(), Vec::new())?.into_bytes())
    }
}

impl OsFs {
    fn filesystem(
        &self,
        place: Place,
        find: impl FnOnce() -> io::Result<Filesystem>,
    ) -> io::Result<Filesystem> {
        if let Some(known) = self.filesystems.lock().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return Ok(known.clone());
        }
        let found = find()?;
        let mut known = self.filesystems.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(place).or_insert(found).clone())
    }

    /// What is known of the filesystem; it was asked for an identity before anything is read.
    fn habits(&self, place: Place) -> Habits {
        let known = self.filesystems.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&place).map_or_else(Habits::default, |filesystem| filesystem.habits)
    }

    fn remember_way(&self, place: Place, way: identity::Way) {
        let mut known = self.filesystems.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filesystem) = known.get_mut(&place) {
            filesystem.way = way;
        }
    }
}

/// How directories are opened: for listing, and `O_NOATIME` so that listing leaves no trace.
const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOATIME)
    .union(OFlags::CLOEXEC);

/// Opens with `O_NOATIME`, and without it where only the owner may say so (`EPERM`).
fn without_noatime_if_refused(
    flags: OFlags,
    mut open: impl FnMut(OFlags) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    match open(flags) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(flags.difference(OFlags::NOATIME)),
        other => other,
    }
}

/// Opens a path below a directory; no component may be a symlink or lead out.
fn open_beneath(root: BorrowedFd<'_>, relative: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..OPEN_TRIES_MAX {
        match rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve) {
            // A rename somewhere on the way: the kernel asks to be asked again.
            Err(Errno::AGAIN) => {}
            // Before Linux 5.6, or filtered in a container.
            Err(Errno::NOSYS) => return open_stepwise(root, relative, flags),
            other => return Ok(other?),
        }
    }
    open_stepwise(root, relative, flags)
}

/// Does what [`open_beneath`] does, one component at a time.
fn open_stepwise(root: BorrowedFd<'_>, relative: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    if relative.starts_with(b"/") {
        return Err(Errno::XDEV.into());
    }
    let mut current: Option<OwnedFd> = None;
    for part in relative.split(|byte| *byte == b'/') {
        if part.is_empty() || part == b"." {
            continue;
        }
        if part == b".." {
            return Err(Errno::XDEV.into());
        }
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = current.as_ref().map_or(root, AsFd::as_fd);
        current = Some(rustix::fs::openat(dir, part, step, Mode::empty())?);
    }
    let dir = current.as_ref().map_or(root, AsFd::as_fd);
    Ok(rustix::fs::openat(dir, ".", flags, Mode::empty())?)
}

/// Refuses what is no single component of a path.
fn component(name: &[u8]) -> io::Result<CString> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("not the name of an entry: {}", OsStr::from_bytes(name).display()),
        ));
    }
    CString::new(name).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// The path by which `/proc` offers an open file again.
fn proc_path(fd: BorrowedFd<'_>) -> Vec<u8> {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes()
}

fn stat_mask() -> StatxFlags {
    StatxFlags::BASIC_STATS
        | StatxFlags::BTIME
        | StatxFlags::MNT_ID
        | StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE)
}

/// Tells what an open file or directory is.
pub(crate) fn stat_fd(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Stat::from_statx(&rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, stat_mask())?)
}

fn instant(seconds: i64, nanoseconds: u32) -> Instant {
    Instant(seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanoseconds)))
}

fn kind_of(file_type: FileType) -> Option<Kind> {
    Some(match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Unknown => return None,
    })
}

/// Lists attributes and gets each; for most files that is one call that gives nothing.
fn read_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Xattrs> {
    let names = match read_growing(list) {
        Ok(names) if names.is_empty() => return Ok(Vec::new()),
        Ok(names) => names,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match read_growing(|buffer| get(name, buffer)) {
            Ok(value) => attributes.push((name.to_vec(), value)),
            // Removed since it was listed; or listed but not there to be read, as some security modules do.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    attributes.sort();
    Ok(attributes)
}

/// Calls with a small buffer, and where that is too small with the largest that the kernel can fill.
fn read_growing(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0_u8; XATTR_BUFFER_BYTES];
    match call(&mut small) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut large = vec![0; XATTR_BYTES_MAX];
    let length = call(&mut large)?;
    large.truncate(length);
    large.shrink_to_fit();
    Ok(large)
}

#[cfg(test)]
mod tests;

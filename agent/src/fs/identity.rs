//! Identities: which filesystem, and which inode of it in a way that is never used again.
//!
//! Owns the bytes of both parts. They are stored in the journal and compared there, so they never change meaning:
//! each begins with a tag that says how it was found.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use asof_journal::types::Kind;
use rustix::fs::{Mode, OFlags};

use super::{DIR_FLAGS, DirHandle, Stat, stat_fd, without_noatime_if_refused};
use crate::sys::{self, HandleKind};

/// The filesystem's uuid follows.
const BY_UUID: u8 = 1;
/// `f_type` (4 bytes, little-endian) and `f_fsid` (8 bytes, as in memory) follow: derived from the uuid on the large filesystems.
const BY_FSID: u8 = 2;
/// The device number (8 bytes, little-endian) follows: weak, another filesystem may have it after the next boot.
const BY_DEVICE: u8 = 3;

/// In place of a handle type: inode number and birth time follow (two times 8 bytes, little-endian).
const INO_AND_BIRTH: i32 = i32::MIN;
/// In place of a handle type: only the inode number follows; weak, it is given out again.
const INO_ONLY: i32 = i32::MIN + 1;

/// btrfs: its uuid ioctl names the filesystem, its `f_fsid` the subvolume too.
const BTRFS_SUPER_MAGIC: u32 = 0x9123_683E;
const OVERLAYFS_SUPER_MAGIC: u32 = 0x794c_7630;
const TMPFS_MAGIC: u32 = 0x0102_1994;

/// How handles are had from a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `name_to_handle_at` as it is.
    Openable,
    /// With `AT_HANDLE_FID`.
    IdentityOnly,
    /// It has none.
    Inode,
}

/// What is remembered of a filesystem.
#[derive(Clone, Debug)]
pub(super) struct Filesystem {
    /// The first part of every identity on it.
    pub(super) bytes: Vec<u8>,
    /// What worked last; the next file starts there.
    pub(super) way: Way,
    /// What it does otherwise than others.
    pub(super) habits: Habits,
}

/// What a filesystem tells of those who write to its files, as measured on Linux 6.18.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Habits {
    /// A lease is refused as long as a file is open or mapped for writing. Not on overlayfs: a mapping holds the file
    /// of the layer below, of which the overlay's own knows nothing.
    pub(super) leases_tell: bool,
    /// A first store through a mapping moves the change time. Not always on tmpfs: there a page that was read through
    /// the mapping before can be written without the kernel's notice.
    pub(super) stores_stamp: bool,
}

impl Habits {
    fn of(magic: u32) -> Habits {
        Habits { leases_tell: magic != OVERLAYFS_SUPER_MAGIC, stores_stamp: magic != TMPFS_MAGIC }
    }
}

impl Default for Habits {
    fn default() -> Habits {
        Habits { leases_tell: true, stores_stamp: true }
    }
}

/// Finds the filesystem of an entry.
pub(super) fn filesystem_of_entry(dir: &DirHandle, name: &CStr, stat: &Stat) -> io::Result<Filesystem> {
    let place = dir.place()?;
    let same_mount = place.mnt_id == stat.mnt_id;
    // Within one mount only a directory can be elsewhere (a btrfs subvolume); overlayfs reports other devices for
    // files that are not directories, and they are on the overlay all the same.
    if same_mount && (place.dev == stat.dev || stat.kind != Kind::Dir) {
        let dir_stat = Stat { dev: place.dev, mnt_id: place.mnt_id, ..*stat };
        return filesystem_of_open(dir.as_fd(), &dir_stat);
    }
    if stat.kind == Kind::Dir {
        let child = without_noatime_if_refused(DIR_FLAGS, |flags| {
            Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
        });
        match child {
            Ok(child) => {
                still_there(&child, stat)?;
                return filesystem_of_open(child.as_fd(), stat);
            }
            // It cannot be listed, but its filesystem can be named without that.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    still_there(&pinned, stat)?;
    filesystem_of_open(pinned.as_fd(), stat)
}

/// Refuses with `NotFound` where a name has come to mean something on another filesystem since its stat.
fn still_there(opened: &OwnedFd, stat: &Stat) -> io::Result<()> {
    match stat_fd(opened.as_fd())?.place() == stat.place() {
        true => Ok(()),
        false => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

/// Finds the filesystem that an open file is on; `stat` gives the device number for want of anything better.
pub(super) fn filesystem_of_open(fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<Filesystem> {
    let status = rustix::fs::fstatfs(fd)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "magic numbers have 32 bits; the field's type differs by platform"
    )]
    let magic = status.f_type as u32;
    let fsid = sys::filesystem_id(&status);
    let mut bytes = Vec::with_capacity(17);
    // An O_PATH descriptor takes no ioctl (EBADF); that is an error like the filesystem's having no uuid.
    let uuid = match magic {
        BTRFS_SUPER_MAGIC => None,
        _ => sys::filesystem_uuid(fd).ok().filter(|uuid| uuid.iter().any(|byte| *byte != 0)),
    };
    if let Some(uuid) = uuid {
        bytes.push(BY_UUID);
        bytes.extend_from_slice(&uuid);
    } else if fsid != [0; 8] {
        bytes.push(BY_FSID);
        bytes.extend_from_slice(&magic.to_le_bytes());
        bytes.extend_from_slice(&fsid);
    } else {
        bytes.push(BY_DEVICE);
        bytes.extend_from_slice(&stat.dev.to_le_bytes());
    }
    Ok(Filesystem { bytes, way: Way::Openable, habits: Habits::of(magic) })
}

/// Gives the second part of an identity, and the way that it was found; begins with `way`.
pub(super) fn handle(
    dir: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    mut way: Way,
) -> io::Result<(Vec<u8>, Way)> {
    loop {
        let (kind, next) = match way {
            Way::Openable => (HandleKind::Openable, Way::IdentityOnly),
            Way::IdentityOnly => (HandleKind::IdentityOnly, Way::Inode),
            Way::Inode => return Ok((inode_bytes(stat), way)),
        };
        match sys::name_to_handle(dir, name, kind) {
            Ok(handle) => {
                let mut bytes = handle.handle_type.to_le_bytes().to_vec();
                bytes.extend_from_slice(&handle.bytes);
                return Ok((bytes, way));
            }
            Err(error) => match error.raw_os_error() {
                // No handles of this kind here; or a kernel that does not know the flag; or a filter that forbids.
                Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOVERFLOW) => {
                    way = next
                }
                _ => return Err(error),
            },
        }
    }
}

fn inode_bytes(stat: &Stat) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    match stat.btime {
        Some(birth) => {
            bytes.extend_from_slice(&INO_AND_BIRTH.to_le_bytes());
            bytes.extend_from_slice(&stat.ino.to_le_bytes());
            bytes.extend_from_slice(&birth.0.to_le_bytes());
        }
        None => {
            bytes.extend_from_slice(&INO_ONLY.to_le_bytes());
            bytes.extend_from_slice(&stat.ino.to_le_bytes());
        }
    }
    bytes
}

//! Owner, permissions, attributes and times of what was just created.
//!
//! The order matters: the owner before the permissions, because a change of owner takes set-user-ID away; attributes
//! before the permissions, because those may forbid their own owner to write; ACLs after the permissions, because
//! those are part of them.

use std::os::fd::{AsRawFd, BorrowedFd};

use asof_journal::types::{Instant, Metadata};
use rustix::fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

/// Set-user-ID and set-group-ID: worth nothing, or harmful, under another owner.
const SET_ID: u32 = 0o6000;
/// The kernel gives no longer list of names.
const XATTR_NAMES_MAX: usize = 64 * 1024;
/// The ACL that decides over access.
pub(super) const ACL_ACCESS: &str = "system.posix_acl_access";
/// The ACL that what is created in a directory inherits.
pub(super) const ACL_DEFAULT: &str = "system.posix_acl_default";

/// Said once where owners cannot be set.
pub(super) const OWNER_REMARK: &str = "owners are left as they are: only root can give files to others";
/// Said once where attributes of the system cannot be set.
pub(super) const XATTR_REMARK: &str =
    "attributes of the system (security.*, trusted.*) are left out: only root can set them";

/// Who runs this.
#[derive(Clone, Copy, Debug)]
pub(super) struct Me {
    /// Effective user.
    pub(super) uid: u32,
    /// Effective group.
    pub(super) gid: u32,
}

impl Me {
    /// Asks the system.
    pub(super) fn new() -> Me {
        Me { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// Whether this is root, as far as that says what is permitted.
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }
}

/// What the system would not do, although it concerns one file only.
#[derive(Default)]
pub(super) struct Complaints {
    /// Remarks that hold for the whole restore.
    pub(super) remarks: Vec<&'static str>,
    /// What is wrong with this one.
    pub(super) problems: Vec<String>,
}

impl Complaints {
    fn refused(&mut self, what: &str, errno: Errno) {
        self.problems.push(format!("{what} could not be set: {errno}"));
    }
}

/// Something that can be given an owner, permissions and attributes.
#[derive(Clone, Copy)]
pub(super) enum Handle<'f> {
    /// An open file or directory.
    Open(BorrowedFd<'f>),
    /// A node opened with `O_PATH`; its permissions and attributes are reached through `/proc`.
    Path(BorrowedFd<'f>),
}

impl Handle<'_> {
    fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => fs::fchown(fd, uid, gid),
            Handle::Path(fd) => fs::chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH),
        }
    }

    fn chmod(&self, mode: u32) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => fs::fchmod(fd, Mode::from_raw_mode(mode)),
            Handle::Path(fd) => fs::chmod(proc_path(fd), Mode::from_raw_mode(mode)),
        }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Handle::Open(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Handle::Path(fd) => fs::setxattr(proc_path(fd), name, value, XattrFlags::empty()),
        }
    }
}

fn proc_path(fd: &BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// What a node is to have.
pub(super) struct Wanted<'m> {
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Permission bits; `None` for a symlink, which has none.
    pub(super) mode: Option<u32>,
    /// Attributes, ACLs among them.
    pub(super) xattrs: &'m [(Vec<u8>, Vec<u8>)],
}

impl<'m> Wanted<'m> {
    /// What a directory or special file is to have.
    pub(super) fn of(meta: &'m Metadata) -> Wanted<'m> {
        Wanted { uid: meta.uid, gid: meta.gid, mode: Some(meta.mode & 0o7777), xattrs: &meta.xattrs }
    }
}

/// What a node has.
#[derive(Clone, Copy)]
pub(super) struct Present {
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Permission bits.
    pub(super) mode: u32,
}

impl Present {
    /// From what `fstat` says.
    pub(super) fn of(stat: &fs::Stat) -> Present {
        Present { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 }
    }
}

/// Gives a node what it is to have, and asks the system for nothing that it has already.
pub(super) fn apply(
    me: Me,
    handle: Handle<'_>,
    wanted: &Wanted<'_>,
    present: Present,
    said: &mut Complaints,
) {
    let is_owned = own(me, handle, wanted, present, said);
    let (acls, plain): (Vec<_>, Vec<_>) = wanted.xattrs.iter().partition(|(name, _)| is_acl(name));
    for (name, value) in plain {
        set_xattr(me, handle, name, value, said);
    }
    if let Some(mode) = wanted.mode {
        let mode = if is_owned { mode } else { mode & !SET_ID };
        // A change of owner may have taken set-user-ID away meanwhile.
        let is_set = mode == present.mode && mode & SET_ID == 0;
        if !is_set && let Err(errno) = handle.chmod(mode) {
            said.refused("its permissions", errno);
        }
    }
    for (name, value) in acls {
        set_xattr(me, handle, name, value, said);
    }
}

/// Takes away what users may set and is not wanted: the attributes of something that was there before.
pub(super) fn strip(open: BorrowedFd<'_>, wanted: &[(Vec<u8>, Vec<u8>)]) {
    // Most have none, and this many bytes are not worth asking for.
    if !matches!(fs::flistxattr_query(open), Ok(length) if length > 0) {
        return;
    }
    let mut names = vec![0; XATTR_NAMES_MAX];
    let Ok(length) = fs::flistxattr(open, &mut names[..]) else { return };
    for name in names.get(..length).unwrap_or_default().split(|&byte| byte == 0) {
        let is_ours = name.starts_with(b"user.") || is_acl(name);
        if is_ours && !wanted.iter().any(|(known, _)| known == name) {
            // One that stays shows in the next comparison.
            let _ = fs::fremovexattr(open, name);
        }
    }
}

fn is_acl(name: &[u8]) -> bool {
    name == ACL_ACCESS.as_bytes() || name == ACL_DEFAULT.as_bytes()
}

/// Whether the node belongs to whom it is to belong to.
fn own(me: Me, handle: Handle<'_>, wanted: &Wanted<'_>, present: Present, said: &mut Complaints) -> bool {
    let uid = (wanted.uid != present.uid).then(|| Uid::from_raw_unchecked(wanted.uid));
    let gid = (wanted.gid != present.gid).then(|| Gid::from_raw_unchecked(wanted.gid));
    if uid.is_none() && gid.is_none() {
        return true;
    }
    match handle.chown(uid, gid) {
        Ok(()) => true,
        Err(Errno::PERM) if !me.is_root() => {
            said.remarks.push(OWNER_REMARK);
            // A group that one belongs to may be given nevertheless.
            gid.is_some() && handle.chown(None, gid).is_ok() && uid.is_none()
        }
        Err(errno) => {
            said.refused("its owner", errno);
            false
        }
    }
}

fn set_xattr(me: Me, handle: Handle<'_>, name: &[u8], value: &[u8], said: &mut Complaints) {
    match handle.set_xattr(name, value) {
        Ok(()) => {}
        Err(Errno::PERM)
            if !me.is_root() && (name.starts_with(b"security.") || name.starts_with(b"trusted.")) =>
        {
            said.remarks.push(XATTR_REMARK);
        }
        Err(errno) => said.refused(&format!("its attribute {}", crate::output::escape(name)), errno),
    }
}

/// The times to set: access as it is, modification as captured.
pub(super) fn times(mtime: Instant) -> Timestamps {
    const NS: i64 = 1_000_000_000;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.0.div_euclid(NS), tv_nsec: mtime.0.rem_euclid(NS) },
    }
}

/// The modification time that `stat` shows.
pub(super) fn mtime(stat: &fs::Stat) -> Instant {
    let ns = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Instant(stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(ns))
}

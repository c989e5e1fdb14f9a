//! Content that is shared with the live file instead of written, where that still has it.
//!
//! A filesystem that can (btrfs, xfs) gives the new file the blocks of the live one at once. What it gave is read back and
//! checked against the ids of the version, block by block, like everything that is restored; the live file may have been
//! written to meanwhile, the clone may not.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use asof_journal::types::{Extent, Version};
use rustix::fs::{self, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Shared, add};
use crate::live::Seen;
use crate::plan::PlanNode;

/// Below this it is no gain to look for the live file (measured: cloning and checking 512 MiB takes half the time and half
/// the processor that writing them takes, and no room).
const CLONED_BYTES_MIN: u64 = 1 << 20;
/// How the live file is opened: a fifo in its place does not hold us up.
const LIVE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// Zeros to compare a hole with.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Whether the content of `file`, which is empty and open for reading, too, is now that of the version. If not, it is
/// empty again.
///
/// Errors: it cannot be made empty again.
pub(super) fn from_live(
    shared: &Shared<'_>,
    file: &OwnedFd,
    node: &PlanNode,
    version: &Version,
) -> Result<bool, Errno> {
    if node.size < CLONED_BYTES_MIN || !shared.clones.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let Some(live) = open_live(shared, node, version) else { return Ok(false) };
    match fs::ioctl_ficlone(file, &live) {
        Ok(()) => {}
        Err(errno) => {
            // Neither this filesystem nor this pair of filesystems will do it for the next file.
            if matches!(errno, Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::INVAL) {
                shared.clones.store(false, Ordering::Relaxed);
            }
            return Ok(false);
        }
    }
    if is_version(shared, file, version) == Some(true) {
        add(&shared.tally.cloned, 1);
        return Ok(true);
    }
    fs::ftruncate(file, 0)?;
    Ok(false)
}

/// The live file, if it looks exactly as the version was captured.
fn open_live(shared: &Shared<'_>, node: &PlanNode, version: &Version) -> Option<OwnedFd> {
    let path = shared.source.live_path(node.node).ok().flatten()?;
    let path = Path::new(OsStr::from_bytes(&path));
    let live = fs::openat2(fs::CWD, path, LIVE, Mode::empty(), ResolveFlags::NO_SYMLINKS).ok()?;
    let seen = Seen::of(&fs::fstat(&live).ok()?);
    let meta = &version.meta;
    let is_same = (seen.kind, seen.size, seen.mtime, seen.ctime, seen.inode.1)
        == (meta.kind, meta.size, meta.mtime, meta.ctime, meta.ino);
    is_same.then_some(live)
}

/// Whether a file has the bytes of a version, told by the ids of its blocks; `None` where that cannot be said.
fn is_version(shared: &Shared<'_>, file: &OwnedFd, version: &Version) -> Option<bool> {
    let mut at = 0;
    let mut buffer = Vec::new();
    for extent in shared.source.extents(version).ok()? {
        if crate::interrupt::requested() {
            return None;
        }
        match extent {
            Extent::Hole { len } => {
                let end = at + len;
                while at < end {
                    let piece = usize::try_from(end - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
                    let found = read_at(file, &mut buffer, piece, at)?;
                    if Some(found) != ZEROS.get(..piece) {
                        return Some(false);
                    }
                    at += piece as u64;
                }
            }
            Extent::Block { id, len } => {
                let found = read_at(file, &mut buffer, len as usize, at)?;
                if shared.source.id_of(found)? != id {
                    return Some(false);
                }
                at += u64::from(len);
            }
            Extent::List { .. } => return None,
        }
    }
    Some(at == version.meta.size)
}

fn read_at<'b>(file: &OwnedFd, buffer: &'b mut Vec<u8>, len: usize, at: u64) -> Option<&'b [u8]> {
    buffer.resize(len, 0);
    let mut filled = 0;
    while filled < len {
        match rustix::io::pread(file, buffer.get_mut(filled..)?, at + filled as u64) {
            Ok(0) => return None,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    buffer.get(..len)
}

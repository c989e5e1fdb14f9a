//! Clones of files that do not hold still: an exact point in time, where the journal's filesystem can give one.
//!
//! Owns the unlinked files that hold the clones, and the knowledge where there is no use in trying. Cloning makes the
//! kernel write out what is dirty in the file, so callers ask only after a read that was torn.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Makes clones in a directory, which never show there.
#[derive(Debug)]
pub(super) struct Clones {
    dir: OwnedFd,
    /// Devices whose files cannot be cloned here: another filesystem, or one that shares no blocks.
    pub(super) refused: Mutex<HashSet<u64>>,
}

impl Clones {
    /// Clones will be in that directory.
    pub(super) fn open(dir: &Path) -> io::Result<Clones> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(dir, flags, Mode::empty())?;
        Ok(Clones { dir, refused: Mutex::default() })
    }

    /// A clone of an open file of that device; `None` where there can be none.
    pub(super) fn of(&self, file: BorrowedFd<'_>, dev: u64) -> io::Result<Option<OwnedFd>> {
        if self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&dev) {
            return Ok(None);
        }
        match self.try_clone(file) {
            Ok(clone) => Ok(Some(clone)),
            // EINVAL and EISDIR also stand for O_TMPFILE on filesystems that do not know it.
            Err(
                Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::ISDIR,
            ) => {
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(dev);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn try_clone(&self, file: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let clone = rustix::fs::openat(self.dir.as_fd(), ".", flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::ioctl_ficlone(&clone, file)?;
        Ok(clone)
    }
}

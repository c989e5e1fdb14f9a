//! The names that files have until they are complete.
//!
//! A name is `.asof-`, eight hexadecimal digits of this process, `~` and a number, so that what a killed restore left
//! behind can be recognised. What exists is never opened, only created anew.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{self, AtFlags};
use std::os::fd::AsFd;

/// Gives every temporary file of one restore its own name.
pub(super) struct Names {
    prefix: String,
    next: AtomicU64,
}

impl Names {
    /// Names that another process is unlikely to use. A clash is found by `O_EXCL` and named, never overwritten.
    pub(super) fn new() -> Names {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
        let mark = std::process::id().rotate_left(16) ^ clock;
        Names { prefix: format!(".asof-{mark:08x}~"), next: AtomicU64::new(0) }
    }

    /// A name that was not given before.
    pub(super) fn next(&self) -> Vec<u8> {
        format!("{}{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }
}

/// Something that exists under a temporary name, and goes away unless it is kept.
pub(super) struct Temporary {
    dir: Rc<OwnedFd>,
    name: Vec<u8>,
    is_kept: bool,
}

impl Temporary {
    /// Takes responsibility for a name that was just created.
    pub(super) fn new(dir: Rc<OwnedFd>, name: Vec<u8>) -> Temporary {
        Temporary { dir, name, is_kept: false }
    }

    /// The directory.
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The name.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// It has its final name now.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed keeps a name that says what it is.
            let _ = fs::unlinkat(&*self.dir, self.name.as_slice(), AtFlags::empty());
        }
    }
}

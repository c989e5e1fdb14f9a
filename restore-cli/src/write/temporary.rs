//! The names that things have until they are complete, and what a killed restore left under them.
//!
//! A name says which process gave it (`asof_journal::temporary`): what is left over by one that is gone can be told from
//! what one at work needs. What exists is never opened, only created anew.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use asof_journal::temporary;
use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

/// How a directory is opened to be listed.
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Gives every temporary file of one restore its own name.
pub(super) struct Names {
    prefix: String,
    next: AtomicU64,
}

impl Names {
    /// Names of this process. A clash is found by `O_EXCL` and named, never overwritten.
    pub(super) fn new() -> Names {
        let pid = std::process::id();
        let started = started(pid).unwrap_or_default();
        Names { prefix: temporary::Temporary::front(pid, started), next: AtomicU64::new(0) }
    }

    /// A name that was not given before.
    pub(super) fn next(&self) -> Vec<u8> {
        format!("{}{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed)).into_bytes()
    }

    /// The name of a directory that is to become `target`.
    pub(super) fn aside(&self, target: &[u8]) -> Vec<u8> {
        format!("{}{}", self.prefix, mark(target)).into_bytes()
    }
}

/// Tells the directories of different targets apart (FNV-1a).
fn mark(target: &[u8]) -> String {
    let hash = target.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("t{hash:016x}")
}

/// When a process started, in ticks since the boot; `None` where there is none, or the system does not tell.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything, also brackets.
    let after = stat.iter().rposition(|&b| b == b')')? + 2;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    rest.split(' ').nth(19)?.parse().ok()
}

/// Whether a name is one that a restore gave which is no longer running.
pub(crate) fn is_leftover(name: &[u8]) -> bool {
    left_by(name).is_some()
}

/// What follows the `~` in a name that nobody needs any more.
fn left_by(name: &[u8]) -> Option<&str> {
    let told = temporary::Temporary::parse(name)?;
    // Without /proc nobody can say who is gone.
    let is_gone = started(std::process::id()).is_some() && started(told.pid) != Some(told.started);
    is_gone.then_some(told.rest)
}

/// Removes the files that killed restores left in a directory in which they wrote. A file there never was anything else:
/// what they replace, they replace by renaming over it.
pub(super) fn sweep(dir: BorrowedFd<'_>) {
    let Ok(open) = fs::openat(dir, ".", LIST, Mode::empty()) else { return };
    let Ok(entries) = Dir::read_from(&open) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if is_leftover(name.to_bytes()) {
            // A directory stays: `unlinkat` does not remove one.
            let _ = fs::unlinkat(&open, name, AtFlags::empty());
        }
    }
}

/// The directories beside `target` that killed restores were to make it of.
pub(crate) fn left_aside(parent: &std::path::Path, target: &[u8]) -> Vec<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mark = mark(target);
    let is_of_target = |entry: &std::fs::DirEntry| left_by(entry.file_name().as_bytes()) == Some(&*mark);
    let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let all = entries.flatten().filter(|entry| is_of_target(entry) && is_dir(entry));
    all.map(|entry| entry.path()).collect()
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
            if let Err(Errno::ISDIR) = fs::unlinkat(&*self.dir, self.name.as_slice(), AtFlags::empty()) {
                let _ = fs::unlinkat(&*self.dir, self.name.as_slice(), AtFlags::REMOVEDIR);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_at_work_needs_is_not_left_over() {
        let mine = Names::new();
        assert!(!is_leftover(&mine.next()) && !is_leftover(&mine.aside(b"t")));
        // No process has the first id since another instant than it has it.
        for name in [&b".asof-1.ffffffffffff~0"[..], b".asof-7fffffff.1~12", b".asof-7fffffff.1~t00"] {
            assert!(is_leftover(name), "{}", name.escape_ascii());
        }
        for name in
            [&b".asof-7fffffff~0"[..], b".asof-7fffffff.1~", b".asof-7fffffff.1~a/b", b"asof", b".asof-x.1~0"]
        {
            assert!(!is_leftover(name), "{}", name.escape_ascii());
        }
    }
}

//! Whether somebody has a file open for writing: what std and rustix do not offer, a lease.
//!
//! The kernel refuses a read lease on a file that is open for writing, or mapped so. Unsafe code, and nothing else.

#![expect(unsafe_code, reason = "leases and the signal that breaks them have no safe wrapper")]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{self, Mode, OFlags};

/// How a file is opened to be asked about.
const ASK: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Whether somebody can write to a file through a descriptor or a mapping; `false` also where the system does not tell
/// (files of other owners, filesystems without leases).
pub(super) fn is_being_written(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    // SAFETY: SIGIO may be ignored, and nothing in this program waits for it. By default it ends the process, and it is
    // sent where somebody opens the file for writing while the lease is held.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    let Ok(file) = fs::openat(dir, name, ASK, Mode::empty()) else { return false };
    // SAFETY: the descriptor is open for the duration of the call, which takes integers only. Closing it ends the lease.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    taken != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

//! What rustix does not offer: file handles, filesystem uuids and ids, leases, the I/O priority of a thread.
//!
//! Owns every unsafe block of the crate. Knows nothing of what the results are used for; `fs` does.

#![expect(unsafe_code, reason = "a few system calls and one field have no safe wrapper")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The greatest handle that the kernel gives out (`MAX_HANDLE_SZ`).
pub(crate) const HANDLE_BYTES_MAX: usize = 128;

/// `FS_IOC_GETFSUUID`: `_IOR(0x15, 0, struct fsuuid2)`, Linux 6.9.
const FS_IOC_GETFSUUID: libc::Ioctl = 0x8011_1500_u32 as libc::Ioctl;

/// Which handles are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandleKind {
    /// Handles that could be opened again: what filesystems with NFS export have.
    Openable,
    /// Handles that only identify (`AT_HANDLE_FID`, Linux 6.5): overlayfs has no others.
    IdentityOnly,
}

/// A file handle: the kernel's name for an inode that it never gives to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHandle {
    /// The filesystem's own tag for the layout of the bytes.
    pub handle_type: i32,
    /// The bytes; opaque.
    pub bytes: Vec<u8>,
}

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct HandleBuffer {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    f_handle: [u8; HANDLE_BYTES_MAX],
}

/// Gives the handle of an entry of a directory; a symlink is not followed.
///
/// `EOPNOTSUPP` where the filesystem has none of that kind, `EINVAL` where the kernel does not know the kind.
pub(crate) fn name_to_handle(dir: BorrowedFd<'_>, name: &CStr, kind: HandleKind) -> io::Result<FileHandle> {
    let mut buffer = HandleBuffer {
        handle_bytes: HANDLE_BYTES_MAX as libc::c_uint,
        handle_type: 0,
        f_handle: [0; HANDLE_BYTES_MAX],
    };
    let mut mount_id: libc::c_int = 0;
    let mut flags = 0;
    if kind == HandleKind::IdentityOnly {
        flags |= libc::AT_HANDLE_FID;
    }
    if name.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    // SAFETY: the descriptor is open for the duration of the call, `name` is terminated by NUL, `buffer` starts
    // with the two fields of `struct file_handle` and says truthfully how many bytes follow them, and `mount_id`
    // is a c_int; the kernel writes to the latter two only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw mut buffer,
            &raw mut mount_id,
            flags,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let length = (buffer.handle_bytes as usize).min(HANDLE_BYTES_MAX);
    Ok(FileHandle {
        handle_type: buffer.handle_type,
        bytes: buffer.f_handle.get(..length).unwrap_or_default().to_vec(),
    })
}

/// Gives the uuid of the filesystem that an open file or directory is on.
///
/// `ENOTTY` where the kernel or the filesystem has none to give.
pub(crate) fn filesystem_uuid(file: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    #[repr(C)]
    struct Uuid2 {
        len: u8,
        uuid: [u8; 16],
    }
    let mut answer = Uuid2 { len: 0, uuid: [0; 16] };
    // SAFETY: the descriptor is open for the duration of the call, and `answer` has the size (17 bytes) that is
    // part of the request number; the kernel writes nothing else.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_GETFSUUID, &raw mut answer) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let length = usize::from(answer.len).min(answer.uuid.len());
    Ok(answer.uuid.get(..length).unwrap_or_default().to_vec())
}

/// Gives the two words of `f_fsid`, which rustix keeps to itself, as they lie in memory.
pub(crate) fn filesystem_id(status: &rustix::fs::StatFs) -> [u8; 8] {
    // SAFETY: `f_fsid` is a `repr(C)` struct of two c_int and nothing else: eight initialized bytes without padding.
    // That the sizes are equal is checked when this is compiled.
    unsafe { std::mem::transmute(status.f_fsid) }
}

/// Asks for a read lease on an open file and gives it back at once: `true` where the kernel refused because somebody
/// has the file open for writing, or has it mapped so that it can be written to.
///
/// While the lease is held (measured: under 2 us), whoever opens the file for writing waits for it, or gets `EAGAIN` with
/// `O_NONBLOCK`. [`ignore_lease_breaks`] must have been called. Errors: `EACCES` where the file is somebody else's and
/// the process lacks `CAP_LEASE`, `EINVAL` where the filesystem has no leases or they are switched off.
pub(crate) fn is_read_lease_refused(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: the descriptor is open for the duration of both calls, which take integers only.
    let refused = unsafe {
        let taken = libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK);
        let error = io::Error::last_os_error();
        if taken == 0 {
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
            return Ok(false);
        }
        error
    };
    match refused.raw_os_error() {
        Some(libc::EAGAIN) => Ok(true),
        _ => Err(refused),
    }
}

/// Lets the signal pass unheard by which the kernel asks for a lease back: it would end the process.
pub(crate) fn ignore_lease_breaks() {
    // SAFETY: no handler is installed, so nothing of this process runs in a signal's context.
    unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    }
}

/// Lets the rest of the machine go before the calling thread: `nice` as nice(1) has it, and with `io_last` the last of
/// the eight best-effort I/O priorities. What the system refuses stays as it is; it is a courtesy.
pub(crate) fn lower_thread_priority(nice: i32, io_last: bool) {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_BEST_EFFORT_LAST: libc::c_int = 2 << 13 | 7;
    // SAFETY: both calls take integers only; 0 stands for the calling thread, on Linux for `setpriority` too.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice);
        if io_last {
            libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_BEST_EFFORT_LAST);
        }
    }
}

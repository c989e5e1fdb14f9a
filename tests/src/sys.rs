//! The system calls that need `unsafe`: waiting for a child together with what it used, stores through a mapping.

#![expect(
    unsafe_code,
    reason = "wait4 is the only call that tells one child's peak memory, and no safe wrapper has it; a shared mapping \
              is unsafe in every wrapper, because others may change it"
)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::Child;
use std::ptr::{self, NonNull};

use crate::must::Must;

/// What a child process was when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; 128 plus the signal where a signal ended it.
    pub status: i32,
    /// The most memory that it, or a descendant that it waited for, had resident at one time, in bytes.
    pub rss_bytes_max: u64,
}

/// Waits for a child of this process to end.
///
/// Takes the child, so that nobody waits for it a second time.
pub fn wait_with_usage(child: Child) -> io::Result<Ended> {
    let pid = i32::try_from(child.id()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live, writable, correctly aligned places of the types that wait4 fills.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: rusage is plain numbers, all zeros are a valid value of it, and wait4 succeeded.
    let usage = unsafe { usage.assume_init() };
    let status =
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    // Linux counts ru_maxrss in KiB.
    Ok(Ended { status, rss_bytes_max: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024 })
}

/// A file mapped shared and writable, as databases and editors do it; dropped, it is unmapped.
pub struct Mapping {
    start: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and only `&mut self` stores into it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes, which must be there; the file need not stay open.
    pub fn new(file: &File, len: usize) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing that is mapped already is touched; the descriptor is open.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start).map(|start| Mapping { start, len }).ok_or(io::ErrorKind::OutOfMemory.into())
    }

    /// Stores bytes; what would lie beyond the mapping, or beyond the end that the file has by now, is left out.
    ///
    /// By way of `/proc/self/mem`: it is a store to the mapped page like any other, but where somebody has cut the file
    /// off meanwhile it fails, and does not end the process with SIGBUS.
    pub fn store(&mut self, at: usize, bytes: &[u8]) {
        let at = at.min(self.len);
        let count = bytes.len().min(self.len - at);
        let memory = File::options().write(true).open("/proc/self/mem").must("/proc/self/mem");
        let address = self.start.as_ptr() as u64 + at as u64;
        match memory.write_at(&bytes[..count], address) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EFAULT)) => {}
            Err(error) => panic!("a store to a mapping: {error}"),
        }
    }

    /// `msync`: what was stored is written to the file's medium.
    pub fn sync(&self) -> io::Result<()> {
        // SAFETY: the range is the one that mmap gave.
        match unsafe { libc::msync(self.start.as_ptr(), self.len, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that mmap gave, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_mapping_stores_into_its_file_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [b'.'; 5000]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut mapping = Mapping::new(&file, 5000).unwrap();
        mapping.store(4998, b"xyz");
        mapping.sync().unwrap();
        drop((mapping, file));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[4996..]), (5000, &b"..xy"[..]));
    }

    #[test]
    fn tells_status_and_memory() {
        let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let ended = wait_with_usage(child).unwrap();
        assert_eq!(ended.status, 7);
        assert!(ended.rss_bytes_max > 100 * 1024, "{ended:?}");
        let child = Command::new("sh").args(["-c", "kill -9 $$"]).spawn().unwrap();
        assert_eq!(wait_with_usage(child).unwrap().status, 137);
    }
}

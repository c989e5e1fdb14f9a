//! The system calls that need `unsafe`: waiting for a child together with what it used.

#![expect(
    unsafe_code,
    reason = "wait4 is the only call that tells one child's peak memory, and no safe wrapper has it"
)]

use std::io;
use std::mem::MaybeUninit;
use std::process::Child;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

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

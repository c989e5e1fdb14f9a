//! Ctrl-C and requests to terminate, as a flag that long work looks at.
//!
//! The one module of this crate with unsafe code. Does nothing in the handler but set the flag.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The same number on every Linux architecture.
const SIGINT: i32 = 2;
/// The same number on every Linux architecture.
const SIGTERM: i32 = 15;

#[expect(unsafe_code, reason = "the standard library has no way to catch a signal")]
unsafe extern "C" {
    /// signal(2) of the C library that std links already.
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
}

extern "C" fn note(_number: i32) {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// From now on the signals set the flag instead of ending the process.
#[expect(unsafe_code, reason = "the standard library has no way to catch a signal")]
pub(crate) fn catch() {
    for number in [SIGINT, SIGTERM] {
        // SAFETY: both numbers are signals that may be caught, and the handler does one atomic store, which is
        // async-signal-safe. A refusal leaves the default, which ends the process: nothing to check.
        unsafe { signal(number, note) };
    }
}

/// The same for the loss of the terminal, unless whoever started the process wants it to outlive that (`nohup`).
#[expect(unsafe_code, reason = "the standard library has no way to catch a signal")]
pub(crate) fn catch_hangup() {
    // SAFETY: as in `catch`; the second call gives back the disposition that the first one found.
    unsafe {
        let before = libc::signal(libc::SIGHUP, note as *const () as libc::sighandler_t);
        if before == libc::SIG_IGN {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
    }
}

/// Asks the work under way to end, as a signal would.
pub(crate) fn request() {
    REQUESTED.store(true, Ordering::Relaxed);
}

/// Forgets a request that work has heeded.
pub(crate) fn forget() {
    REQUESTED.store(false, Ordering::Relaxed);
}

/// Waits, but no longer than until a signal comes.
pub(crate) fn pause(duration: std::time::Duration) {
    // What cannot be waited for is not waited for: whoever asks again looks at the time.
    let _ = rustix::event::Timespec::try_from(duration).map(|time| rustix::event::poll(&mut [], Some(&time)));
}

/// Whether a signal came.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

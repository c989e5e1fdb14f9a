//! Faults that no program makes by itself: one thread of a process ends, and the others go on.
//!
//! Owns the system calls for it. By `ptrace`, because signals end whole processes.

#![expect(unsafe_code, reason = "ptrace has no safe interface")]

use std::fs;
use std::io;

use crate::must::Must;

/// Finds the thread of a process that has a name (15 bytes of it are kept).
pub fn thread_named(pid: u32, name: &str) -> Option<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let is_it = |tid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).find(is_it)
}

/// Whether threads can be ended on this machine by [`end_thread`].
pub fn can_end_threads() -> bool {
    cfg!(target_arch = "x86_64")
}

/// Ends a thread as if the kernel had: nothing is unwound, nothing is told.
#[cfg(target_arch = "x86_64")]
pub fn end_thread(tid: i32) {
    /// Bytes of the `syscall` instruction.
    const SYSCALL_BYTES: u64 = 2;
    let check = |result: libc::c_long, what: &str| {
        if result < 0 {
            panic!("{what}: {}", io::Error::last_os_error());
        }
    };
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the requests take no memory of ours but `regs`, which outlives them and has the type that they fill;
    // `waitpid` fills `status`.
    unsafe {
        check(libc::ptrace(libc::PTRACE_SEIZE, tid, none, none), "attaching to the thread");
        check(libc::ptrace(libc::PTRACE_INTERRUPT, tid, none, none), "interrupting the thread");
        let mut status = 0;
        check(libc::waitpid(tid, &raw mut status, libc::__WALL).into(), "waiting for the thread");
        let mut regs: libc::user_regs_struct = std::mem::zeroed();
        check(libc::ptrace(libc::PTRACE_GETREGS, tid, none, &raw mut regs), "reading its registers");
        // It waits in a system call: the instruction before where it is is made again, as `exit`.
        regs.rip -= SYSCALL_BYTES;
        regs.rax = libc::SYS_exit.unsigned_abs();
        regs.orig_rax = u64::MAX;
        regs.rdi = 0;
        check(libc::ptrace(libc::PTRACE_SETREGS, tid, none, &raw mut regs), "writing its registers");
        check(libc::ptrace(libc::PTRACE_DETACH, tid, none, none), "letting it go");
    }
    crate::wait::eventually(crate::wait::PATIENCE, "the thread to end", || {
        (!fs::exists(format!("/proc/{tid}")).must("looking for the thread")).then_some(())
    });
}

/// Ends a thread; not on this kind of machine.
#[cfg(not(target_arch = "x86_64"))]
pub fn end_thread(_: i32) {
    panic!("threads can be ended on x86-64 only: ask can_end_threads first");
}

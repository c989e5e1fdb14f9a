//! What a running process has used so far, as the kernel counts it: processor, memory, writes, system calls.
//!
//! Looks from outside and changes nothing in the process; counting its system calls slows it down.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::must::Must;
use crate::tree::has_program;
use crate::wait::{PATIENCE, eventually, quiet};

/// What threads call where they wait for each other: how often depends on who is faster, not on what there is to do.
const WAITING: [&str; 2] = ["futex", "sched_yield"];

/// What a process has used since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time of all its threads, in the kernel and outside, in seconds.
    pub cpu_seconds: f64,
    /// What it has resident now.
    pub rss_bytes: u64,
    /// The most that it had resident at one time.
    pub rss_bytes_max: u64,
    /// Bytes that it passed to `write` and its kin.
    pub written_bytes: u64,
    /// Bytes that it made the kernel write to a medium, or will.
    pub stored_bytes: u64,
    /// Calls of `read` and its kin.
    pub reads: u64,
    /// Calls of `write` and its kin.
    pub writes: u64,
}

impl Usage {
    /// Of a process that is there.
    #[track_caller]
    pub fn of(pid: u32) -> Usage {
        let text = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).must(path)
        };
        let (stat, status, io) = (text("stat"), text("status"), text("io"));
        // The second field is the program's name in parentheses, with anything in it.
        let after_name = stat.rsplit_once(") ").must("the name in stat").1;
        let ticks = |field: usize| -> u64 {
            let value = after_name.split_whitespace().nth(field - 3).must("a field of stat");
            value.parse().must("a number in stat")
        };
        let kib = |name: &str| number_after(&status, name) * 1024;
        Usage {
            cpu_seconds: (ticks(14) + ticks(15)) as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: kib("VmRSS:"),
            rss_bytes_max: kib("VmHWM:"),
            written_bytes: number_after(&io, "wchar:"),
            stored_bytes: number_after(&io, "write_bytes:"),
            reads: number_after(&io, "syscr:"),
            writes: number_after(&io, "syscw:"),
        }
    }

    /// Waits until a process uses no processor for a while: what it had begun is done.
    #[track_caller]
    pub fn wait_for_idle(pid: u32, patience: Duration) {
        let mut before = Usage::of(pid).cpu_seconds;
        eventually(patience, format!("process {pid} to be idle"), || {
            quiet(Duration::from_secs(2));
            let now = Usage::of(pid).cpu_seconds;
            // Looking at the clock every second is idle, too.
            let is_idle = now - before < 0.02;
            before = now;
            is_idle.then_some(())
        });
    }
}

/// The number that follows a line's first word.
#[track_caller]
fn number_after(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).must(name);
    line.split_whitespace().next().must(name).parse().must(name)
}

/// How many system calls a process makes, from here until [`Calls::end`].
pub struct Calls {
    pid: u32,
    by: By,
}

enum By {
    Strace { tracer: Child, summary: PathBuf },
    Kernel { before: Usage },
}

/// System calls that were counted.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// By name; all under one name where nothing tells them apart.
    pub calls: BTreeMap<String, u64>,
}

impl Calls {
    /// How they are counted on this machine, in words.
    pub fn how() -> &'static str {
        if has_program("strace") {
            "system calls by strace"
        } else {
            "reads and writes by /proc, strace is not installed"
        }
    }

    /// Begins to count those of all threads; what strace writes goes to a fresh file at `summary`.
    #[track_caller]
    pub fn begin(pid: u32, summary: &Path) -> Calls {
        if !has_program("strace") {
            return Calls { pid, by: By::Kernel { before: Usage::of(pid) } };
        }
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-U", "calls,name", "-p", &pid.to_string(), "-o"]).arg(summary);
        let said = summary.with_extension("said");
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said).must(said.display()));
        let mut tracer = strace.spawn().must("strace");
        eventually(PATIENCE, "strace to hold every thread", || {
            if let Some(status) = tracer.try_wait().must("strace") {
                panic!("strace ended with {status}: {}", fs::read_to_string(&said).unwrap_or_default());
            }
            tracers(pid).iter().all(|by| *by == tracer.id()).then_some(())
        });
        Calls { pid, by: By::Strace { tracer, summary: summary.into() } }
    }

    /// What was counted.
    #[track_caller]
    pub fn end(self) -> Counted {
        match self.by {
            By::Kernel { before } => {
                let now = Usage::of(self.pid);
                let calls = now.reads + now.writes - before.reads - before.writes;
                Counted { calls: BTreeMap::from([("read and write".to_string(), calls)]) }
            }
            By::Strace { mut tracer, summary } => {
                let id = i32::try_from(tracer.id()).ok().and_then(Pid::from_raw).must("strace's id");
                rustix::process::kill_process(id, Signal::INT).must("ending strace");
                tracer.wait().must("strace");
                Counted::from_summary(&fs::read_to_string(&summary).must(summary.display()))
            }
        }
    }
}

impl Counted {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// All that do something.
    pub fn without_waiting(&self) -> u64 {
        let does_something = |name: &str| !WAITING.contains(&name);
        self.calls.iter().filter(|(name, _)| does_something(name)).map(|(_, count)| count).sum()
    }

    /// The most frequent ones for people, `each` standing for so many of the things they were made for.
    pub fn most_frequent(&self, count: usize, each: f64) -> String {
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let show = |(name, count): &(&String, &u64)| format!("{name} {:.1}", **count as f64 / each);
        calls.iter().take(count).map(show).collect::<Vec<_>>().join(", ")
    }

    /// Reads lines of a count and a name between rules of dashes; the sum at the end is left out.
    fn from_summary(text: &str) -> Counted {
        let mut calls = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(Ok(count)), Some(name)) = (words.next().map(str::parse), words.next())
                && name != "total"
            {
                calls.insert(name.to_string(), count);
            }
        }
        Counted { calls }
    }
}

/// Who traces each thread of a process; 0 is nobody.
fn tracers(pid: u32) -> Vec<u32> {
    let threads = format!("/proc/{pid}/task");
    let of = |thread: PathBuf| {
        let status = fs::read_to_string(thread.join("status")).ok()?;
        u32::try_from(number_after(&status, "TracerPid:")).ok()
    };
    // A thread may end while they are listed.
    fs::read_dir(&threads).must(threads).flatten().filter_map(|thread| of(thread.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured() {
        let before = Usage::of(std::process::id());
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), [7; 100_000]).unwrap();
        let mut sum = 0_u64;
        while Usage::of(std::process::id()).cpu_seconds < before.cpu_seconds + 0.02 {
            sum = sum.wrapping_mul(3) + 1;
        }
        let after = Usage::of(std::process::id());
        assert!(after.cpu_seconds > before.cpu_seconds, "{after:?} {sum}");
        assert!(after.written_bytes >= before.written_bytes + 100_000 && after.writes > before.writes);
        assert!(after.rss_bytes > 0 && after.rss_bytes_max >= after.rss_bytes);
    }

    #[test]
    fn system_calls_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "while read line; do :; done"]).stdin(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let calls = Calls::begin(child.id(), &dir.path().join("summary"));
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), &[b'\n'; 200]).unwrap();
        // The shell reads byte by byte.
        eventually(PATIENCE, "the shell to have read everything", || {
            (Usage::of(child.id()).reads >= 200).then_some(())
        });
        let counted = calls.end();
        assert!((150..500).contains(&counted.total()), "{counted:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_summary_is_read_and_its_sum_left_out() {
        let text = "    calls syscall\n--------- ----------------\n      12 read\n       3 futex\n\
                    --------- ----------------\n       15 total\n";
        let counted = Counted::from_summary(text);
        assert_eq!((counted.total(), counted.without_waiting()), (15, 12));
        assert_eq!(counted.most_frequent(1, 4.0), "read 3.0");
    }
}

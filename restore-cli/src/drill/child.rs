//! Programs that a drill runs: `asof` itself, the commands of assertions.
//!
//! Owns their process groups: nothing that was started here is left behind, whatever ends the drill. Judges nothing.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant as Stopwatch};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::report;
use super::report::Name;
use super::scratch::Scratch;
use super::stop::{Stop, Tried};
use crate::errors::Error;
use crate::interrupt;
use crate::output::escape;

/// So much of the end of what a program printed goes into the report.
const TAIL_BYTES: usize = 2048;
/// No line of output is taken for longer.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// So many words of a command line stand in a report: a restore of a sample names thousands of files.
const WORDS_MAX: usize = 64;
/// How often it is looked at whether a program is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked at how much scratch space is taken.
const SPACE_EVERY: Duration = Duration::from_millis(500);
/// What a program that has ended printed is waited for so long: a process that left the group may hold the pipe.
const DRAIN: Duration = Duration::from_secs(1);
/// Lines that are waiting to be looked at.
const QUEUE: usize = 1024;

/// A program to be run.
pub(crate) struct Program<'p> {
    /// What for.
    pub(crate) what: String,
    /// Its words.
    pub(crate) argv: Vec<OsString>,
    /// Where.
    pub(crate) directory: Option<&'p Path>,
    /// It is killed after so long.
    pub(crate) limit: Option<Duration>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// For the report.
    pub(crate) command: report::Command,
    /// Why it could not be started.
    pub(crate) not_started: Option<String>,
}

impl Ran {
    /// Whether it ended with status 0.
    pub(crate) fn is_well(&self) -> bool {
        self.command.status == Some(0)
    }

    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        match (&self.not_started, self.command.timed_out, self.command.status, self.command.signal) {
            (Some(why), ..) => why.clone(),
            (_, true, ..) => "was killed at its time limit".to_owned(),
            (_, _, Some(status), _) => format!("ended with status {status}"),
            (_, _, _, Some(signal)) => format!("was ended by signal {signal}"),
            _ => "ended in an unknown way".to_owned(),
        }
    }
}

/// Where a line came from.
enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// Runs a program to its end, hands each line of its standard output to `each`, and kills whatever of its group is left.
/// Its temporary files are made in the scratch space, which it may not outgrow.
///
/// Errors: interrupted; no scratch space left.
pub(crate) fn run(scratch: &Scratch, program: Program<'_>, each: &mut dyn FnMut(&[u8])) -> Tried<Ran> {
    let started = Stopwatch::now();
    let mut child = match spawn(scratch, &program) {
        Ok(child) => child,
        Err(error) => {
            let why = format!("could not be started: {error}");
            return Ok(Ran { command: told(&program, started, String::new()), not_started: Some(why) });
        }
    };
    let lines = listen(&mut child);
    let mut tail = Tail::default();
    let mut timed_out = false;
    let ended = watch(scratch, &program, &child, &lines, started, &mut tail, each);
    // The group lives as long as its leader is not waited for, so that the number means nobody else.
    kill_group(&child);
    let status = child.wait();
    match ended {
        Ok(Ended::ByItself) => {}
        Ok(Ended::AtItsLimit) => timed_out = true,
        Err(stop) => return Err(stop),
    }
    let drained = Stopwatch::now();
    while let Ok(piece) = lines.recv_timeout(DRAIN.saturating_sub(drained.elapsed())) {
        tail.take(piece, each);
    }
    let mut command = told(&program, started, tail.text());
    command.timed_out = timed_out;
    if let Ok(status) = status {
        (command.status, command.signal) = (status.code(), status.signal());
    }
    Ok(Ran { command, not_started: None })
}

fn spawn(scratch: &Scratch, program: &Program<'_>) -> std::io::Result<Child> {
    let mut words = program.argv.iter();
    let mut command = Command::new(words.next().map_or(OsStr::new(""), OsString::as_os_str));
    command.args(words).env("TMPDIR", scratch.temporary()).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(directory) = program.directory {
        command.current_dir(directory);
    }
    command.spawn()
}

fn told(program: &Program<'_>, started: Stopwatch, output: String) -> report::Command {
    report::Command {
        what: program.what.clone(),
        argv: program.argv.iter().take(WORDS_MAX).map(|word| escape(word.as_bytes())).collect(),
        argv_left_out: program.argv.len().saturating_sub(WORDS_MAX) as u64,
        directory: program.directory.map(|directory| Name::new(directory.as_os_str().as_bytes())),
        status: None,
        signal: None,
        timed_out: false,
        ms: ms(started.elapsed()),
        output,
    }
}

/// A length of time in whole milliseconds.
pub(crate) fn ms(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

enum Ended {
    ByItself,
    AtItsLimit,
}

fn watch(
    scratch: &Scratch,
    program: &Program<'_>,
    child: &Child,
    lines: &Receiver<Piece>,
    started: Stopwatch,
    tail: &mut Tail,
    each: &mut dyn FnMut(&[u8]),
) -> Tried<Ended> {
    let mut looked_at_space = Stopwatch::now();
    let mut looked_at_memory: Option<Stopwatch> = None;
    loop {
        match lines.recv_timeout(LOOK_EVERY) {
            Ok(piece) => tail.take(piece, each),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => interrupt::pause(LOOK_EVERY / 4),
        }
        if interrupt::requested() {
            return Err(Stop::Error(Error::Interrupted));
        }
        if has_ended(child) {
            return Ok(Ended::ByItself);
        }
        if looked_at_memory.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            scratch.note_memory(peak_memory(&child.id().to_string()));
            looked_at_memory = Some(Stopwatch::now());
        }
        if program.limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Ok(Ended::AtItsLimit);
        }
        if looked_at_space.elapsed() >= SPACE_EVERY {
            scratch.check()?;
            looked_at_space = Stopwatch::now();
        }
    }
}

/// The largest resident set of a process so far; `self` is this one.
pub(crate) fn peak_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    pid(child).is_none_or(|pid| !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None)))
}

/// Kills what is left of a program's process group. The program itself must not have been waited for.
pub(crate) fn kill_group(child: &Child) {
    if let Some(pid) = pid(child) {
        // Nobody left is as good.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

fn listen(child: &mut Child) -> Receiver<Piece> {
    let (to, from) = bounded(QUEUE);
    if let Some(out) = child.stdout.take() {
        let to: Sender<Piece> = to.clone();
        std::thread::spawn(move || forward(BufReader::<ChildStdout>::new(out), &to, Piece::Out));
    }
    if let Some(err) = child.stderr.take() {
        std::thread::spawn(move || forward(BufReader::<ChildStderr>::new(err), &to, Piece::Err));
    }
    from
}

fn forward(mut from: impl BufRead, to: &Sender<Piece>, kind: fn(Vec<u8>) -> Piece) {
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        if to.send(kind(line)).is_err() {
            return;
        }
    }
}

/// The end of what was printed.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take(&mut self, piece: Piece, each: &mut dyn FnMut(&[u8])) {
        let line = match &piece {
            Piece::Out(line) => {
                each(line.strip_suffix(b"\n").unwrap_or(line));
                line
            }
            Piece::Err(line) => line,
        };
        let line = line.get(line.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
        self.0.extend_from_slice(line);
        if self.0.len() > 2 * TAIL_BYTES {
            self.0.drain(..self.0.len() - TAIL_BYTES);
        }
    }

    fn text(&self) -> String {
        let from = self.0.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(self.0.get(from..).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str], limit: Option<Duration>) -> Program<'static> {
        let argv = words.iter().map(Into::into).collect();
        Program { what: "a test".into(), argv, directory: None, limit }
    }

    #[test]
    fn output_status_and_signal_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path(), None).unwrap();
        let mut lines = Vec::new();
        let script = "echo one; echo two >&2; echo $TMPDIR; exit 3";
        let ran = run(&scratch, program(&["sh", "-c", script], None), &mut |line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        })
        .unwrap();
        assert_eq!(lines, ["one", scratch.temporary().to_str().unwrap()]);
        assert_eq!((ran.command.status, ran.is_well()), (Some(3), false));
        assert!(ran.command.output.contains("two"));
        let ran = run(&scratch, program(&["sh", "-c", "kill -9 $$"], None), &mut |_| {}).unwrap();
        assert_eq!(ran.command.signal, Some(9));
        let ran = run(&scratch, program(&["/no/such/program"], None), &mut |_| {}).unwrap();
        assert!(ran.how().contains("could not be started"));
    }

    #[test]
    fn a_long_command_line_is_not_kept_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path(), None).unwrap();
        let words: Vec<String> = (0..5_000).map(|word| word.to_string()).collect();
        let words: Vec<&str> = std::iter::once("true").chain(words.iter().map(String::as_str)).collect();
        let ran = run(&scratch, program(&words, None), &mut |_| {}).unwrap();
        assert_eq!(
            (ran.command.argv.len(), ran.command.argv_left_out),
            (WORDS_MAX, 5_001 - WORDS_MAX as u64)
        );
    }

    #[test]
    fn what_hangs_is_killed_with_its_children_and_so_is_what_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path(), None).unwrap();
        let alive = |pid: &str| Path::new("/proc").join(pid.trim()).join("exe").exists();
        for (script, limit, timed_out) in [
            ("sleep 600 & echo $!; wait", Some(Duration::from_millis(300)), true),
            ("sleep 600 >/dev/null 2>&1 & echo $!", None, false),
        ] {
            let mut child = String::new();
            let ran = run(&scratch, program(&["sh", "-c", script], limit), &mut |line| {
                child = String::from_utf8(line.to_vec()).unwrap();
            })
            .unwrap();
            assert_eq!(ran.command.timed_out, timed_out);
            let gone = (0..500).any(|_| {
                interrupt::pause(Duration::from_millis(10));
                !alive(&child)
            });
            assert!(gone, "{script}: {child} is still there");
        }
    }
}

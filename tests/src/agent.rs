//! A real `asofd` as a child process: started, asked, stopped, frozen, killed; its log is held to be quiet.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::must::Must;
use crate::site::Site;
use crate::wait::{PATIENCE, eventually};

/// A running agent. Dropped, it is killed; its log must hold no warning or error that was not announced.
pub struct Agent {
    child: RefCell<Child>,
    log: PathBuf,
    allowed: RefCell<Vec<String>>,
    over: bool,
}

impl Agent {
    /// Starts `asofd run` on a site's journal and root with further arguments, and does not wait for anything.
    #[track_caller]
    pub fn start(site: &Site, further: &[&str]) -> Agent {
        let mut arguments: Vec<OsString> = vec!["--root".into(), site.root.clone().into()];
        arguments.extend(further.iter().map(Into::into));
        Agent::start_with(site, Command::new(&site.programs.asofd), &arguments)
    }

    /// Starts `asofd run` on a site's journal with a configuration file, and does not wait for anything.
    #[track_caller]
    pub fn start_configured(site: &Site, config: &Path) -> Agent {
        let arguments = ["--config".into(), config.as_os_str().to_os_string()];
        Agent::start_with(site, Command::new(&site.programs.asofd), &arguments)
    }

    /// Starts the agent by a command line of the caller's making, to which `run --journal DIR` and `arguments` are added.
    /// `ASOF_TEST_LOG` says what it logs, for whoever looks for the cause of a failure (`asofd=trace`: every hint).
    #[track_caller]
    pub fn start_with(site: &Site, mut command: Command, arguments: &[OsString]) -> Agent {
        let log = site.fresh("agent-log");
        command.arg("run").arg("--journal").arg(&site.journal).args(arguments);
        // No configuration of this machine's takes part.
        if !arguments.iter().any(|argument| argument == "--config") {
            command.env("ASOF_CONFIG", "/dev/null");
        }
        command.env("NO_COLOR", "1").env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some(filter) = std::env::var_os("ASOF_TEST_LOG") {
            command.env("RUST_LOG", filter);
        }
        command.stderr(File::create(&log).must(log.display()));
        let child = command.spawn().must(format!("{command:?}"));
        Agent { child: RefCell::new(child), log, allowed: RefCell::default(), over: false }
    }

    /// Waits until the agent says that it protects everything; gives the status.
    #[track_caller]
    pub fn protecting(&self, site: &Site) -> Value {
        self.in_state(site, "protecting")
    }

    /// The same, where there is more to compare than a test has.
    #[track_caller]
    pub fn protecting_within(&self, site: &Site, patience: Duration) -> Value {
        self.in_state_within(site, "protecting", patience)
    }

    /// Waits until the agent is in a state; gives the status.
    #[track_caller]
    pub fn in_state(&self, site: &Site, state: &str) -> Value {
        self.in_state_within(site, state, PATIENCE)
    }

    #[track_caller]
    fn in_state_within(&self, site: &Site, state: &str, patience: Duration) -> Value {
        eventually(
            patience,
            format!("the agent to be {state}; its log so far:\n{}", self.log_path().display()),
            || {
                if let Some(status) = self.exited() {
                    panic!("the agent ended by itself with {status}:\n{}", self.log());
                }
                let output = site.asof(["--json", "status"]).run();
                let status: Value = serde_json::from_slice(&output.stdout).ok()?;
                (status["state"] == state && status["pid"].as_u64() == Some(u64::from(self.pid())))
                    .then_some(status)
            },
        )
    }

    /// Lets warnings and errors pass that contain a text.
    pub fn allow(&self, text: &str) {
        self.allowed.borrow_mut().push(text.into());
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_path(&self) -> &Path {
        &self.log
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        !self.over && self.exited().is_none()
    }

    fn exited(&self) -> Option<ExitStatus> {
        self.child.borrow_mut().try_wait().must("waiting for the agent")
    }

    /// Waits until the agent ends by itself; gives its exit status and its log, which is not checked.
    #[track_caller]
    pub fn ends(mut self) -> (i32, String) {
        let status = eventually(PATIENCE, "the agent to end", || self.exited());
        self.over = true;
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), self.log())
    }

    /// SIGTERM, where it cannot end in good order; as for [`Agent::ends`].
    #[track_caller]
    pub fn ends_when_told(self) -> (i32, String) {
        self.signal(Signal::TERM);
        self.ends()
    }

    /// SIGTERM; it must end with status 0 and have logged no trouble.
    #[track_caller]
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = eventually(PATIENCE, "the agent to stop after SIGTERM", || self.exited());
        self.over = true;
        assert!(status.success(), "after SIGTERM the agent ended with {status}:\n{}", self.log());
        self.check_log();
    }

    /// SIGKILL: nothing is drained, nothing is said.
    #[track_caller]
    pub fn kill9(mut self) {
        self.kill_and_wait();
        self.check_log();
    }

    /// SIGHUP: it reads its configuration again; returns when it has said so.
    #[track_caller]
    pub fn reload(&self) {
        self.reload_and_hear("the configuration was read again");
    }

    /// SIGHUP with a configuration that is not sound; returns when the agent has said so.
    #[track_caller]
    pub fn reload_in_vain(&self) {
        self.reload_and_hear("the configuration could not be read again");
    }

    #[track_caller]
    fn reload_and_hear(&self, words: &str) {
        let told = |log: &str| log.matches(words).count();
        let before = told(&self.log());
        self.signal(Signal::HUP);
        eventually(PATIENCE, words, || (told(&self.log()) > before).then_some(()));
    }

    /// SIGSTOP: it sees nothing until [`Agent::resume`].
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).must("a process id");
        rustix::process::kill_process(pid, signal).must("signalling the agent");
    }

    fn kill_and_wait(&mut self) {
        let mut child = self.child.borrow_mut();
        let _ = child.kill();
        let _ = child.wait();
        self.over = true;
    }

    /// Stops the test where the log has a warning or error that was not announced.
    #[track_caller]
    pub fn check_log(&self) {
        let log = self.log();
        let trouble: Vec<&str> = troubles(&log)
            .filter(|line| !self.allowed.borrow().iter().any(|allowed| line.contains(allowed.as_str())))
            .collect();
        assert!(
            trouble.is_empty(),
            "the agent's log has trouble that was not expected:\n{}",
            trouble.join("\n")
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !self.over {
            self.kill_and_wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the agent's log ---\n{}", self.log());
        }
    }
}

/// Lines of a log at level WARN or ERROR, and panics.
pub fn troubles(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| {
        let level = line.split_whitespace().take(2).any(|word| word == "WARN" || word == "ERROR");
        level || line.contains("panicked at")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_from_talk() {
        let log = "2026-11-22T09:00:00Z  INFO asofd: an ERROR that is only mentioned\n\
                   2026-11-22T09:00:01Z  WARN asofd: hm\n\
                   2026-11-22T09:00:02Z ERROR asofd: oh\n\
                   thread 'main' panicked at src/x.rs:1:1:\n";
        assert_eq!(troubles(log).count(), 3);
    }
}

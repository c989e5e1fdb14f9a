//! A tree, a journal and an agent of the drill's own, in scratch space: where things may be encrypted, killed and lied to.
//!
//! Owns the process of the agent: it ends with the drill. Judges nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Stopwatch};

use asof_journal::reader::{Moment, Reader};
use asof_journal::types::{Instant, Seq};
use rustix::process::{Pid, Signal};
use serde::Deserialize;

use super::{Particular, Prepared};
use crate::drill::bring::{self, Top};
use crate::drill::child;
use crate::drill::ledger::Ledger;
use crate::drill::observe::Seen;
use crate::drill::oracle::Oracle;
use crate::drill::report::Stamp;
use crate::drill::run::{Draft, Drill};
use crate::drill::scratch::Scratch;
use crate::drill::select::Chosen;
use crate::drill::stop::{Stop, Tried, inconclusive};
use crate::drill::walk;
use crate::errors::Error;
use crate::interrupt;
use crate::output::escape;

/// The directory that the drill itself works in, at the top of the tree.
pub(super) const WORK: &str = "asof-drill-work";
/// A large tree is captured within this time, or the machine is not up to it.
const READY_WITHIN: Duration = Duration::from_secs(1800);
/// How often an agent that is starting is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// An agent that was asked to stop has made everything durable by then.
const STOP_WITHIN: Duration = Duration::from_secs(120);
/// The tree, what the journal takes of it, and what is restored of it.
const ROOM_TIMES: u64 = 3;
/// A journal is never smaller.
const JOURNAL_BYTES: u64 = 64 << 20;

/// The tree with its agent.
pub(super) struct Lab<'l> {
    /// The protected tree.
    pub(super) root: PathBuf,
    /// Its journal.
    pub(super) journal: PathBuf,
    scratch: &'l Scratch,
    agent: Option<Child>,
    chosen: Chosen,
}

/// What `asof --json sync` gives.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Synced {
    /// When.
    pub(super) instant: Stamp,
    /// Its place in the order.
    pub(super) seq: u64,
}

impl<'l> Lab<'l> {
    /// Fills a tree with what was chosen, restored from the live journal.
    pub(super) fn fill(
        drill: &Drill<'_>,
        moment: &Moment,
        scratch: &'l Scratch,
        draft: &mut Draft,
        ledger: &mut Ledger,
    ) -> Tried<Lab<'l>> {
        let chosen = drill.choose(moment, ledger)?;
        if chosen.tops.is_empty() {
            return inconclusive(
                "nothing was selected: the journal has none of it, so there is no tree to work on",
            );
        }
        scratch.room_for(chosen.bytes.saturating_mul(ROOM_TIMES).saturating_add(JOURNAL_BYTES))?;
        let root = scratch.make("lab/root")?;
        let at = moment.seq.to_string();
        let live = drill.session.journal();
        let brought = bring::restore(scratch, live, &at, &chosen.tops, &root, &mut draft.report.commands)?;
        for (path, why) in brought.refused.iter().take(3) {
            draft.report.warnings.push(format!("{} is not in the working copy: {why}", escape(path)));
        }
        let journal = scratch.path().join("lab/journal");
        Ok(Lab { root, journal, scratch, agent: None, chosen })
    }

    /// Starts the agent with variables in its environment, and waits until it protects everything.
    pub(super) fn start(&mut self, variables: &[(&str, OsString)]) -> Tried<()> {
        let program = program()?;
        let log = self.scratch.path().join("lab/agent.log");
        let failed = |source| {
            Stop::Inconclusive(format!(
                "{}: could not be started: {source}",
                escape(program.as_os_str().as_bytes())
            ))
        };
        let log_to = File::options().create(true).append(true).open(&log).map_err(failed)?;
        let mut command = Command::new(&program);
        command.arg("run").arg("--journal").arg(&self.journal).arg("--root").arg(&self.root);
        command.env("ASOF_CONFIG", "/dev/null").env("TMPDIR", self.scratch.temporary()).env("NO_COLOR", "1");
        command
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_to)
            .process_group(0);
        for (name, value) in variables {
            command.env(name, value);
        }
        self.agent = Some(command.spawn().map_err(failed)?);
        self.wait_until_it_protects(&log)
    }

    fn wait_until_it_protects(&mut self, log: &Path) -> Tried<()> {
        let started = Stopwatch::now();
        let last = |log: &Path| {
            let text = fs::read_to_string(log).unwrap_or_default();
            text.lines().last().map(|line| format!(": {}", escape(line.as_bytes()))).unwrap_or_default()
        };
        while started.elapsed() < READY_WITHIN {
            self.scratch.check()?;
            if interrupt::requested() {
                return Err(Stop::Error(Error::Interrupted));
            }
            if let Some(agent) = &mut self.agent
                && let Ok(Some(status)) = agent.try_wait()
            {
                return inconclusive(format!("the scratch agent ended with {status}{}", last(log)));
            }
            let mut protects = false;
            let words = [OsStr::new("status")];
            bring::ask(self.scratch, &self.journal, "is it ready", &words, &mut Vec::new(), &mut |value| {
                protects = value.get("state").and_then(serde_json::Value::as_str) == Some("protecting");
            })?;
            if protects {
                return Ok(());
            }
            interrupt::pause(ASK_EVERY);
        }
        inconclusive(format!("the scratch agent did not protect everything in time{}", last(log)))
    }

    /// Has everything made durable.
    pub(super) fn sync(&self, draft: &mut Draft) -> Tried<Synced> {
        let mut synced = None;
        let words = ["sync", "--timeout", "10m"].map(OsStr::new);
        let commands = &mut draft.report.commands;
        let ran = bring::ask(
            self.scratch,
            &self.journal,
            "make everything durable",
            &words,
            commands,
            &mut |value| {
                synced = serde_json::from_value(value).ok();
            },
        )?;
        match synced {
            Some(synced) => Ok(synced),
            None => inconclusive(format!("`asof sync` of the scratch agent {}", ran.how())),
        }
    }

    /// Looks at the whole tree, and hashes it.
    pub(super) fn observe(&self) -> Tried<BTreeMap<Vec<u8>, Seen>> {
        let mut paths = Vec::new();
        let mut seen = BTreeMap::new();
        let mut failed = None;
        walk::walk(&self.root, &|_, _| false, &mut |path| paths.push(path), &mut |path, error| {
            failed.get_or_insert_with(|| (path.to_path_buf(), error));
        });
        walk::observe_all(paths, &mut |path, look| match look {
            Ok(Some(found)) => {
                seen.insert(walk::into_bytes(path), found);
            }
            Ok(None) => {}
            Err(error) => {
                failed.get_or_insert((path, error));
            }
        });
        match failed {
            _ if interrupt::requested() => Err(Stop::Error(Error::Interrupted)),
            Some((path, error)) => inconclusive(format!("{}: {error}", escape(path.as_os_str().as_bytes()))),
            None => Ok(seen),
        }
    }

    /// The directory that the drill works in.
    pub(super) fn work(&self) -> Tried<PathBuf> {
        let dir = self.root.join(WORK);
        fs::create_dir_all(&dir).map_err(|source| failed(&dir, source))?;
        Ok(dir)
    }

    /// Asks the agent to end, and waits for it.
    pub(super) fn stop(&mut self) -> Tried<()> {
        let Some(mut agent) = self.agent.take() else { return Ok(()) };
        if let Some(pid) = i32::try_from(agent.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let asked = Stopwatch::now();
        while asked.elapsed() < STOP_WITHIN && !interrupt::requested() {
            if matches!(agent.try_wait(), Ok(Some(_))) {
                return Ok(());
            }
            interrupt::pause(ASK_EVERY / 4);
        }
        end(&mut agent);
        match interrupt::requested() {
            true => Err(Stop::Error(Error::Interrupted)),
            false => inconclusive("the scratch agent did not end when it was asked to"),
        }
    }

    /// Kills the agent: nothing is drained. Whether it was there to be killed.
    pub(super) fn kill(&mut self) -> bool {
        let Some(mut agent) = self.agent.take() else { return false };
        let was_there = matches!(agent.try_wait(), Ok(None));
        end(&mut agent);
        was_there
    }

    /// What is to be restored of it, and what that had been.
    pub(super) fn prepared(mut self, at: &Synced, oracle: Oracle, particular: Particular) -> Tried<Prepared> {
        self.kill();
        let root = self.root.as_os_str().as_bytes().to_vec();
        let moment = Reader::open(&self.journal)?.at_seq(Seq(at.seq))?;
        let Some(moment) = moment else {
            return inconclusive(format!(
                "the scratch journal does not have seq:{}, which its agent had acknowledged",
                at.seq
            ));
        };
        let selection = std::mem::take(&mut self.chosen.selection);
        let chosen = Chosen {
            tops: vec![Top { path: root.clone(), is_dir: true }],
            paths: [root.clone()].into(),
            is_trees: true,
            counts: false,
            bytes: self.chosen.bytes,
            selection,
        };
        Ok(Prepared {
            journal: self.journal.clone(),
            at: format!("seq:{}", at.seq),
            moment,
            is_newest: true,
            chosen,
            oracle,
            excused: Default::default(),
            failure: None,
            rpo: Some(Err("the scenario has no failure in it")),
            lab_root: Some(root),
            particular,
        })
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn end(agent: &mut Child) {
    child::kill_group(agent);
    let _ = agent.wait();
}

/// The agent: named by `ASOFD`, else beside this program, else found by its name.
fn program() -> Tried<PathBuf> {
    if let Some(named) = std::env::var_os("ASOFD").filter(|named| !named.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join("asofd")));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|dir| dir.join("asofd"));
    match beside.into_iter().chain(on_path).find(|path| path.is_file()) {
        Some(program) => Ok(program),
        None => inconclusive("asofd is neither beside asof nor in PATH: set ASOFD to it"),
    }
}

/// Writes a file anew.
pub(super) fn put(path: &Path, text: &str) -> Tried<()> {
    let write = || File::create(path)?.write_all(text.as_bytes());
    write().map_err(|source| failed(path, source))
}

/// An error of the working copy.
pub(super) fn failed(path: &Path, source: std::io::Error) -> Stop {
    Stop::Error(Error::Io {
        path: escape(path.as_os_str().as_bytes()),
        action: "changing the working copy",
        source,
    })
}

/// So long between two instants, in ms.
pub(super) fn ms_between(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.0.saturating_sub(from.0).max(0) / 1_000_000).unwrap_or(0)
}

//! From the start of the process to its end: the journal's lock, the control socket, and the loop, once or more often.
//!
//! Where there is no room to open the journal it is not opened, and nothing is lost for that: this waits, says so to
//! whoever asks, and begins when there is room.

use std::sync::Arc;
use std::time::Duration;

use asof_journal::control::{self, Answer, Counters, Request, State, Status};
use asof_journal::open::WriterLock;
use asof_journal::reader::Reader;
use asof_journal::reserve::has_room_to_open;
use asof_journal::storage::Layout;
use crossbeam_channel::{RecvTimeoutError, bounded};

use super::full::Ended;
use super::once::{Life, once};
use super::{EVENTS_MAX, RunError};
use crate::clock::OsClock;
use crate::config::{self, Config, Loaded, RunArgs};
use crate::control::{Control, ControlEvent, ControlRequest};
use crate::rules::Rules;

/// How often room is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs the agent until it is told to stop.
pub(crate) fn run(mut loaded: Loaded, args: RunArgs) -> Result<(), RunError> {
    let clock = OsClock::open().map_err(|source| RunError::System { what: "the clocks", source })?;
    let layout = Layout::new(&loaded.config.journal);
    let lock = WriterLock::take(&loaded.config.journal)?;
    let (requests_in, requests) = bounded(EVENTS_MAX);
    let mut control = Some(Control::start(&layout, requests_in)?);
    let mut life = Life { args, clock: Arc::new(clock), lock, requests, waited: String::new() };
    loop {
        if !has_room_to_open(layout.dir()) {
            match life.wait_for_room(loaded) {
                Some(reloaded) => loaded = reloaded,
                None => break,
            }
        }
        let mut bye = || drop(control.take());
        let ended = once(&life, loaded.clone(), &mut bye);
        life.waited.clear();
        match ended {
            Ok((Ended::ForGood, _)) => break,
            Ok((Ended::ToBeginAgain, config)) => loaded = with(loaded, config),
            // The disk filled up in this moment, or a quota leaves no room: the journal is as it was.
            Err(RunError::Journal(error)) if !has_room_to_open(layout.dir()) => {
                tracing::warn!(%error, "the journal could not be opened for want of room");
            }
            Err(error) => return Err(error),
        }
    }
    drop(control);
    tracing::info!("stopped");
    Ok(())
}

/// What was in force at the end of a run.
fn with(loaded: Loaded, config: Config) -> Loaded {
    match Rules::of(config.policy.clone(), config.file_bytes_max) {
        Ok(rules) => Loaded { config, rules, warnings: Vec::new(), notes: Vec::new(), ..loaded },
        // They were made of the same before.
        Err(_) => loaded,
    }
}

impl Life {
    /// Waits until there is room; `None` where the agent is told to stop before.
    fn wait_for_room(&mut self, mut loaded: Loaded) -> Option<Loaded> {
        let dir = loaded.config.journal.clone();
        let words = format!(
            "{}: its filesystem is full (or a disk quota is used up), and the journal cannot be opened for writing: \
             nothing is captured; make room there, and asofd begins by itself. Everything that was durable can be \
             restored meanwhile",
            dir.display()
        );
        tracing::warn!("{words}");
        self.waited = "the filesystem of the journal was full when asofd was started".to_string();
        loop {
            match self.requests.recv_timeout(LOOK_EVERY) {
                Ok(ControlEvent::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(ControlEvent::Reload) => loaded = self.read_again(loaded),
                Ok(ControlEvent::Request(ControlRequest { request, reply })) => {
                    let _ = reply.send(match request {
                        Request::Status => Answer::Status(Box::new(status(&loaded.config, &words))),
                        Request::Configuration => {
                            Answer::Configuration { text: config::keys(&loaded.config) }
                        }
                        Request::Sync { .. }
                        | Request::Mark { .. }
                        | Request::Hold { .. }
                        | Request::Release { .. }
                        | Request::Retain { .. }
                        | Request::Forget(_)
                        | Request::RestoreBegin(_)
                        | Request::RestoreEnd { .. } => {
                            Answer::Failed { error: format!("not done: {words}"), timed_out: false }
                        }
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if has_room_to_open(&dir) {
                tracing::info!("there is room for the journal; asofd begins");
                return Some(loaded);
            }
        }
    }

    fn read_again(&self, loaded: Loaded) -> Loaded {
        match config::load(&self.args) {
            Ok(read) if read.config.journal == loaded.config.journal => {
                read.log();
                tracing::info!("the configuration was read again and is in force once there is room");
                read
            }
            Ok(_) => {
                tracing::warn!("the configuration could not be read again: it names another journal");
                loaded
            }
            Err(error) => {
                tracing::error!("the configuration could not be read again and stays as it was: {error}");
                loaded
            }
        }
    }
}

/// What can be said before the journal is open: what it says of itself, if it can be read.
fn status(config: &Config, problem: &str) -> Status {
    let info = Reader::open(&config.journal).and_then(|reader| reader.info()).ok();
    let root = |path: &std::path::PathBuf| control::Root {
        path: path.display().to_string(),
        watched: false,
        since: None,
    };
    let head = info.as_ref().and_then(|info| info.head);
    Status {
        state: State::Degraded,
        pid: Some(std::process::id()),
        roots: config.roots.iter().map(root).collect(),
        durable: head.map(|head| control::Place { instant: head.instant.to_rfc3339(), seq: head.seq.0 }),
        lag_ms: 0,
        pending: 0,
        gaps: info.as_ref().map_or(0, |info| info.gaps),
        journal_bytes: info.as_ref().map_or(0, |info| info.bytes),
        journal: config.journal.display().to_string(),
        covered_through: info.and_then(|info| info.covered_through).map(|instant| instant.to_rfc3339()),
        missed_by_events: 0,
        oldest_unchecked: None,
        checked_bytes: 0,
        problems: vec![problem.to_string()],
        stretched: Vec::new(),
        runaways: Vec::new(),
        rpo: control::Rpo::default(),
        retention: None,
        counters: Counters::default(),
    }
}

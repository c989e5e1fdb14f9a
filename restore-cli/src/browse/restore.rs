//! Restoring from the browser: where to, the plan, the outcome. The work itself is that of `asof restore`.
//!
//! The dialog is pure. [`run`] is the one way to the verb: what it asks for is in [`Request::arguments`] alone.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use asof_journal::types::{Instant, Seq};
use chrono::Local;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::Effect;
use crate::args::RestoreArgs;
use crate::commands;
use crate::output::{Captured, Output, escape};
use crate::path;
use crate::session::Session;

/// What is to be restored, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The absolute path.
    pub(super) path: Vec<u8>,
    /// As of which place.
    pub(super) at: Seq,
    /// The target, as for `--to`; `None` is back to where it was, as for `--in-place`.
    pub(super) to: Option<PathBuf>,
}

impl Request {
    /// What is said of it afterwards.
    pub(super) fn record(&self) -> String {
        let to = self.to.as_ref().map(|to| format!("to {}", escape(to.as_os_str().as_bytes())));
        format!("{} as of {} {}", escape(&self.path), self.at, to.unwrap_or_else(|| "in place".to_owned()))
    }

    /// The same as a command line would say it.
    fn arguments(&self, dry_run: bool) -> RestoreArgs {
        RestoreArgs {
            paths: vec![OsString::from_vec(self.path.clone())],
            at: Some(self.at.to_string()),
            to: self.to.clone(),
            in_place: self.to.is_none(),
            exact: false,
            overwrite: None,
            dry_run,
            // The plan was shown, and the user said so.
            yes: self.to.is_none(),
            no_undo: false,
            strict: false,
            prefer: None,
            workers: None,
        }
    }
}

/// Plans a restore, or carries it out; what the verb says goes to `said`. Tells whether all went well.
pub(super) fn run(session: &Session, request: &Request, dry_run: bool, said: &Captured) -> bool {
    // A restore changes it for the rest of the process, which is not over here.
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    let mut out = Output::captured(said);
    let result = commands::restore::run(session, &request.arguments(dry_run), &mut out);
    let result = result.and_then(|()| out.flush());
    if let Err(error) = &result {
        // What was said before the failure still counts.
        let _ = out.flush();
        out.error(error);
    }
    rustix::process::umask(umask);
    result.is_ok()
}

/// How far the dialog has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The target is typed.
    Target,
    /// The plan is made.
    Planning,
    /// The plan is shown.
    Plan {
        /// What the verb said.
        lines: Vec<String>,
        /// Whether it can be carried out.
        is_good: bool,
    },
    /// It is carried out.
    Running,
    /// What came of it is shown.
    Outcome {
        /// What the verb said.
        lines: Vec<String>,
        /// Whether all went well.
        is_good: bool,
    },
    /// It was asked to end, and has not ended yet.
    Stopping,
    /// The dialog is left.
    Over,
}

/// The target that a text names; a home directory is meant as shells mean it.
fn target(text: &str) -> PathBuf {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (text.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text),
    }
}

/// The dialog.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dialog {
    /// What is to be restored.
    pub(super) path: Vec<u8>,
    /// As of which place.
    pub(super) at: Seq,
    /// The target as it is typed.
    pub(super) target: String,
    /// Whether it goes back to where it was, and not to the target.
    pub(super) in_place: bool,
    /// How far it has come.
    pub(super) stage: Stage,
    /// The first line on the screen.
    pub(super) scroll: usize,
    /// What was said last by a restore under way.
    pub(super) under_way: Option<String>,
}

impl Dialog {
    /// Asks for a target; offers the thing's own name in a new directory below the current one.
    pub(super) fn new(path: Vec<u8>, at: Seq, when: Option<Instant>) -> Dialog {
        let name = escape(path::name(&path)).replace(|c: char| c == '\\' || c.is_control(), "_");
        let when = when.map_or_else(
            || at.to_string().replace(':', "-"),
            |when| when.to_utc().with_timezone(&Local).format("%Y-%m-%d-%H%M%S").to_string(),
        );
        Dialog {
            path,
            at,
            target: format!("./restored-{when}/{name}"),
            in_place: false,
            stage: Stage::Target,
            scroll: 0,
            under_way: None,
        }
    }

    fn request(&self) -> Request {
        Request { path: self.path.clone(), at: self.at, to: (!self.in_place).then(|| target(&self.target)) }
    }

    /// Takes what planning or restoring said.
    pub(super) fn hear(&mut self, lines: Vec<String>, is_good: bool) {
        (self.scroll, self.under_way) = (0, None);
        self.stage = match self.stage {
            Stage::Planning => Stage::Plan { lines, is_good },
            _ => Stage::Outcome { lines, is_good },
        };
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Effect> {
        match (&mut self.stage, key.code) {
            (Stage::Planning | Stage::Running, KeyCode::Esc) => {
                self.stage = Stage::Stopping;
                return Some(Effect::Stop);
            }
            (Stage::Stopping, _) => {}
            (_, KeyCode::Esc) => self.stage = Stage::Over,
            (Stage::Target, KeyCode::Tab) => self.in_place = !self.in_place,
            // What is typed is the target's.
            (Stage::Target, KeyCode::Char(_) | KeyCode::Backspace) if self.in_place => {}
            (Stage::Target, KeyCode::Char('u')) if key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.target.clear();
            }
            (Stage::Target, KeyCode::Char(c)) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.target.push(c);
            }
            (Stage::Target, KeyCode::Backspace) => drop(self.target.pop()),
            (Stage::Target, KeyCode::Enter) if self.in_place || !self.target.is_empty() => {
                self.stage = Stage::Planning;
                return Some(Effect::Plan(self.request()));
            }
            (Stage::Plan { .. }, KeyCode::Backspace | KeyCode::Char('e')) => self.stage = Stage::Target,
            (Stage::Plan { is_good: true, .. }, KeyCode::Enter | KeyCode::Char('y')) => {
                self.stage = Stage::Running;
                return Some(Effect::Restore(self.request()));
            }
            (Stage::Outcome { .. }, KeyCode::Enter | KeyCode::Char('q')) => self.stage = Stage::Over,
            (Stage::Plan { lines, .. } | Stage::Outcome { lines, .. }, code) => {
                let last = lines.len().saturating_sub(1);
                match code {
                    KeyCode::Down | KeyCode::Char('j') => self.scroll = (self.scroll + 1).min(last),
                    KeyCode::PageDown | KeyCode::Char(' ') => self.scroll = (self.scroll + 10).min(last),
                    KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
                    KeyCode::PageUp | KeyCode::Char('b') => self.scroll = self.scroll.saturating_sub(10),
                    _ => {}
                }
            }
            _ => {}
        }
        None
    }
}

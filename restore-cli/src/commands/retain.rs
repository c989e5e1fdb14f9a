//! `retain`: what a retention policy would take out of the past, what that frees, and what could no longer be asked.
//!
//! Owns the words, and which policy is meant; what it would do is the journal's business. Only `apply` removes anything.

mod apply;
mod report;

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use asof_journal::control::{Answer, Request};
use asof_journal::reader::Reader;
use asof_journal::retention::config::{self, Written};
use asof_journal::retention::effect::{Scope, effect};
use asof_journal::retention::survey::{self, Terms};
use asof_journal::retention::{Ladder, Policy};

use crate::args::RetainArgs;
use crate::client::Client;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, as_of, escape};
use crate::session::{self, Session, no_such_path};

use report::Report;

/// So many paths are named unless said otherwise.
const PATHS_SHOWN: usize = 20;

/// How long an agent may take to say which policy it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a policy comes from.
pub(super) enum Source {
    /// The command line.
    Proposed,
    /// The running agent.
    Agent,
    /// A configuration file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

/// Applies the policy, or says what would go.
pub(crate) fn run(session: &Session, args: &RetainArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    if !args.dry_run {
        return apply::run(session, args, out);
    }
    let (written, source) = policy(session, args)?;
    let below = match &args.path {
        Some(path) => Some(session.path(path, Some(crate::timespec::TimeSpec::Now))?.0),
        None => None,
    };
    let reader = session.reader()?;
    let moment = session.moment(reader, None, out)?;
    out.note(&as_of(&moment));
    let policy = ready(reader, written)?;
    let clock = survey::clock(reader)?;
    let keeper = survey::keeper(reader, &clock, &policy)?;
    let holds = reader.held_paths()?;
    let mut terms = Terms::new(&keeper, &policy, &holds);
    let scope = Scope { below: below.as_deref(), paths_max: shown_max(args.count) };
    let found = effect(reader, &mut terms, scope, &mut || !interrupt::requested())?;
    let found = found.ok_or(Error::Ended)?;
    let seen = &found.total;
    if let Some(below) = below.filter(|_| {
        seen.versions_dropped + seen.kept.total() + seen.bindings_dropped + seen.bindings_kept == 0
    }) {
        // A slip of the pen is not taken for "nothing would go".
        return Err(no_such_path(&below, &moment));
    }
    Report { out, reader, policy: &policy, keeper: &keeper, source: &source }.print(&found)
}

/// How many paths are named; `None`: all.
pub(super) fn shown_max(count: Option<usize>) -> Option<usize> {
    match count {
        None => Some(PATHS_SHOWN),
        Some(0) => None,
        count => count,
    }
}

/// The policy that is meant, as it is written.
fn policy(session: &Session, args: &RetainArgs) -> Result<(Written, Source)> {
    if !args.keep.is_empty() {
        let ladder = Ladder::parse(&args.keep).map_err(|error| {
            Error::usage(
                format!("--keep: {}", escape(error.to_string().as_bytes())),
                "asof help retain   (says how steps are written)",
            )
        })?;
        // Beside the ladder everything is as it is in force.
        let (in_force, _) = in_force(session)?;
        let written = Written { keep: ladder, rules: Vec::new(), roots: Vec::new(), ..in_force };
        return Ok((written, Source::Proposed));
    }
    match &args.policy {
        Some(path) => Ok((read(path)?, Source::File(path.clone()))),
        None => in_force(session),
    }
}

/// The policy of the agent that runs, else of the configuration that one would take.
fn in_force(session: &Session) -> Result<(Written, Source)> {
    let Some(mut agent) = Client::connect(session.journal())? else { return configured() };
    match agent.ask(&Request::Configuration, Some(PATIENCE))? {
        Some(Answer::Configuration { text }) => {
            let written = config::parse(&text).map_err(|refused| {
                let what =
                    format!("what asofd says of its configuration: {}", escape(refused.what.as_bytes()));
                Error::failed(what, "use the same version of asof and asofd")
            })?;
            Ok((written, Source::Agent))
        }
        Some(_) => {
            Err(Error::failed("asofd answered something else", "use the same version of asof and asofd"))
        }
        None => {
            let what = "asofd did not say which policy it has";
            Err(Error::failed(what, "--policy FILE takes the one in a configuration file"))
        }
    }
}

/// The policy of the configuration file.
fn configured() -> Result<(Written, Source)> {
    match session::configuration() {
        Some(path) => Ok((read(&path)?, Source::File(path))),
        None => Ok((Written::default(), Source::Default)),
    }
}

fn read(path: &Path) -> Result<Written> {
    let shown = escape(path.as_os_str().as_bytes());
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: shown.clone(),
        action: "reading the configuration",
        source,
    })?;
    let mut written = config::parse(&text).map_err(|refused| {
        let (line, what) = (refused.line(&text), escape(refused.what.as_bytes()));
        Error::failed(format!("{shown}:{line}: {what}"), "`asofd check-config` checks all of a configuration")
    })?;
    // As the agent knows roots: by where they are.
    for (root, _) in &mut written.roots {
        let named = PathBuf::from(std::ffi::OsString::from_vec(root.clone()));
        if let Ok(real) = std::fs::canonicalize(named) {
            *root = real.into_os_string().into_vec();
        }
    }
    Ok(written)
}

/// The policy for the roots that the journal has.
fn ready(reader: &Reader, written: Written) -> Result<Policy> {
    let roots = reader.view(reader.head()).policy()?.roots;
    let roots: Vec<Vec<u8>> = roots.into_iter().map(|root| root.path).collect();
    Policy::new(&written, &roots).map_err(|error| {
        let what = format!("retention.rule.patterns: {}", escape(error.to_string().as_bytes()));
        Error::failed(what, "`asofd check-config` checks all of a configuration")
    })
}

//! `drill list`: the drills that there are, and how each ended last.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_journal::Error as JournalError;
use asof_journal::places::Surroundings;
use asof_journal::types::Instant;
use serde::Serialize;

use super::history::painted;
use crate::args::DrillListArgs;
use crate::drill::report::{Name, Outcome, Stamp};
use crate::drill::reports::{duration, time};
use crate::drill::spec::Spec;
use crate::drill::store::{self, Kept, Past, Store};
use crate::errors::{Error, Result};
use crate::output::{Output, counted, escape};
use crate::session::Session;

/// Drills of the machine.
const SYSTEM: &str = "/etc/asof/drills";

/// A drill in JSON.
#[derive(Serialize)]
struct Line {
    drill: String,
    /// Absent where it was run, and its file is in none of the directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<Stamp>,
}

#[derive(Serialize)]
struct Last {
    number: u64,
    ended: Stamp,
    age_seconds: i64,
    outcome: Outcome,
    why: String,
}

/// Lists them.
pub(crate) fn run(session: &Session, args: &DrillListArgs, out: &mut Output) -> Result<()> {
    let journal = match session.reader() {
        Ok(reader) => Some(reader.info()?.uuid),
        // Files are files without a journal, too; none of them was run then.
        Err(Error::Journal(JournalError::NoJournal { .. })) => None,
        Err(error) => return Err(error),
    };
    let now = Stamp(Instant(session.now().timestamp_nanos_opt().unwrap_or_default()));
    let (files, mut unread) = files(&directories(&args.dirs), out)?;
    let mut states = States { journal, past: BTreeMap::new() };
    let given = args.state.clone().map_or_else(store::default_state, Ok)?;
    states.load(&given)?;
    let mut lines = Vec::new();
    for file in files {
        let spec = match Spec::read(&file) {
            Ok((spec, _)) => spec,
            Err(error) => {
                out.problem(&error.to_string());
                unread += 1;
                continue;
            }
        };
        let state = args.state.clone().or(spec.state).unwrap_or_else(|| given.clone());
        let past = states.load(&state)?;
        lines.push(line(&spec.name, Some((&file, spec.scenario.as_str())), past, now));
    }
    lines.extend(without_a_file(states.load(&given)?, &lines, now));
    lines.sort_by(|one, other| one.drill.cmp(&other.drill));
    if lines.is_empty() && unread == 0 {
        out.note("there are no drills: `asof drill init FILE` writes one");
    }
    for line in &lines {
        print(line, out)?;
    }
    match unread {
        0 => Ok(()),
        unread => Err(Error::Advised {
            what: format!("{} could not be read; each is named above", counted(unread, "drill")),
            next: "`asof drill init` writes a drill with every key explained".into(),
            status: 3,
        }),
    }
}

/// Past drills by state directory, each read once.
struct States {
    journal: Option<String>,
    past: BTreeMap<PathBuf, Past>,
}

impl States {
    fn load(&mut self, state: &Path) -> Result<&Past> {
        let past = match (&self.journal, self.past.contains_key(state)) {
            (Some(journal), false) => Store::new(state, journal).past()?,
            _ => Past::default(),
        };
        Ok(self.past.entry(state.to_owned()).or_insert(past))
    }
}

/// Where drills are when nobody says.
fn directories(given: &[PathBuf]) -> Vec<(PathBuf, bool)> {
    if !given.is_empty() {
        return given.iter().map(|dir| (dir.clone(), true)).collect();
    }
    let variable = |name: &str| std::env::var_os(name);
    let surroundings = Surroundings { is_root: rustix::process::geteuid().is_root(), variable: &variable };
    let own = surroundings.config().map(|config| (config.with_file_name("drills"), false));
    let system = (PathBuf::from(SYSTEM), false);
    let mut all: Vec<_> = own.into_iter().chain([system]).collect();
    all.dedup();
    all
}

/// The files in some directories, by name. One that nobody asked for by name may be absent.
fn files(directories: &[(PathBuf, bool)], out: &mut Output) -> Result<(Vec<PathBuf>, u64)> {
    let (mut files, mut unread) = (Vec::new(), 0);
    for (dir, is_asked_for) in directories {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_asked_for => continue,
            Err(error) => {
                out.problem(&format!("{}: listing it: {error}", escape(dir.as_os_str().as_bytes())));
                unread += 1;
                continue;
            }
        };
        for entry in entries.filter_map(std::result::Result::ok) {
            let path = entry.path();
            if path.extension() == Some(OsStr::new("toml")) && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok((files, unread))
}

fn line(drill: &str, file: Option<(&Path, &'static str)>, past: &Past, now: Stamp) -> Line {
    let runs = || past.of(drill).map(|kept| &kept.report);
    let last = runs().next_back().map(|report| Last {
        number: report.chain.number,
        ended: report.times.ended,
        age_seconds: (now.0.0 - report.times.ended.0.0) / 1_000_000_000,
        outcome: report.outcome,
        why: report.why.clone(),
    });
    let passed = runs().rfind(|report| report.outcome == Outcome::Pass);
    Line {
        drill: drill.to_owned(),
        file: file.map(|(file, _)| Name::new(file.as_os_str().as_bytes())),
        scenario: file.map(|(_, scenario)| scenario),
        last,
        last_success: passed.map(|report| report.times.ended),
    }
}

/// Drills that were run, and are in none of the directories.
fn without_a_file(past: &Past, known: &[Line], now: Stamp) -> Vec<Line> {
    let mut names: Vec<&str> =
        past.reports.iter().map(|Kept { report, .. }| report.identity.drill.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| known.iter().all(|line| line.drill != *name));
    names.into_iter().map(|name| line(name, None, past, now)).collect()
}

fn print(line: &Line, out: &mut Output) -> Result<()> {
    if out.is_json() {
        return out.object(line);
    }
    let drill = escape(line.drill.as_bytes());
    let file =
        line.file.as_ref().map_or_else(|| "(run from elsewhere)".to_owned(), |file| escape(&file.bytes()));
    let Some(last) = &line.last else {
        return out.line(&format!("{:12}  {drill}  {file}", "never run"));
    };
    let ago = u64::try_from(last.age_seconds).map_or_else(
        |_| format!("at {}, which is yet to come", time(last.ended)),
        |seconds| match seconds {
            0 => "just now".to_owned(),
            seconds => format!("{} ago", duration(seconds.saturating_mul(1000))),
        },
    );
    let success = match (last.outcome, line.last_success) {
        (Outcome::Pass, _) => String::new(),
        (_, Some(success)) => format!(", passed last on {}", time(success)),
        (_, None) => ", never passed".to_owned(),
    };
    out.line(&format!("{}  {drill}  {ago}{success}  {file}", painted(last.outcome, out)))
}

//! What every verb needs first: which journal, what time it is, which path and which moment are meant.
//!
//! Prints warnings about times through [`Output`]; answers nothing itself.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_journal::places::Surroundings;
use asof_journal::reader::{Moment, Reader};
use asof_journal::storage::Layout;
use asof_journal::types::{Instant, Kind, MarkName, Seq};
use asof_journal::view::Entry;
use chrono::{DateTime, Local, NaiveDate};

use crate::content::whole_around;
use crate::errors::{Error, Result};
use crate::output::{Output, escape, local};
use crate::path;
use crate::source::Source;
use crate::suggest::{Suggestion, quoted};
use crate::timespec::{self, TimeError, TimeSpec};

/// How alike two names are, between 0 and 1, for one to be meant by the other.
const LIKENESS_MIN: f64 = 0.75;
/// So many names are suggested at most.
const NEAREST_MAX: usize = 3;

/// One run of `asof`.
pub(crate) struct Session {
    journal: PathBuf,
    named: Named,
    now: DateTime<Local>,
    reader: OnceCell<Reader>,
}

/// Who said where the journal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The command line.
    Flag,
    /// `ASOF_JOURNAL`.
    Environment,
    /// The configuration file of the agent.
    Configuration,
    /// Nobody.
    Nobody,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Named::Flag => "named by --journal",
            Named::Environment => "named by ASOF_JOURNAL",
            Named::Configuration => "named by the configuration of asofd",
            Named::Nobody => "where it is when nothing else is said",
        })
    }
}

impl Session {
    /// Finds out where the journal is, and reads the clock once. `journal` is the one on the command line.
    pub(crate) fn new(journal: Option<PathBuf>) -> Result<Session> {
        let in_environment = || std::env::var_os("ASOF_JOURNAL").filter(|dir| !dir.is_empty());
        let (journal, named) = match (journal, in_environment()) {
            (Some(journal), _) => (journal, Named::Flag),
            (None, Some(journal)) => (PathBuf::from(journal), Named::Environment),
            (None, None) => default_journal()?,
        };
        Ok(Session { journal, named, now: Local::now(), reader: OnceCell::new() })
    }

    /// The journal directory.
    pub(crate) fn journal(&self) -> &Path {
        &self.journal
    }

    /// The day that it is here.
    pub(crate) fn today(&self) -> NaiveDate {
        self.now.date_naive()
    }

    /// What the clock showed when the run began.
    pub(crate) fn now(&self) -> &DateTime<Local> {
        &self.now
    }

    /// Who said where the journal is.
    pub(crate) fn named(&self) -> Named {
        self.named
    }

    /// Opens the journal for reading; once, so that everything in one run is answered from one state.
    pub(crate) fn reader(&self) -> Result<&Reader> {
        if self.reader.get().is_none() {
            let _ = self.reader.set(self.fresh_reader()?);
        }
        self.reader.get().ok_or_else(|| Error::failed("the journal could not be opened", ""))
    }

    /// Opens the journal once more, for whoever follows what is added to it.
    pub(crate) fn fresh_reader(&self) -> Result<Reader> {
        Ok(Reader::open(&self.journal)?)
    }

    /// The same run with a journal that is opened again when it is read.
    pub(crate) fn again(&self) -> Session {
        Session { journal: self.journal.clone(), named: self.named, now: self.now, reader: OnceCell::new() }
    }

    /// Begins a command that a message suggests: it names the journal where the user did.
    pub(crate) fn command(&self, verb: &str) -> Suggestion {
        let journal = (self.named == Named::Flag).then_some(self.journal.as_path());
        Suggestion::new(journal, verb, &self.now)
    }

    /// The command that starts an agent on the journal, with the roots that it has, if it has any.
    pub(crate) fn start_agent(&self) -> String {
        if self.named == Named::Configuration {
            return "asofd run".to_owned();
        }
        let journal = quoted(self.journal.as_os_str().as_bytes());
        let is_there = Layout::new(&self.journal).manifest().exists();
        let reader = if is_there { self.reader().ok() } else { None };
        let policy = reader.and_then(|reader| reader.view(reader.head()).policy().ok()).unwrap_or_default();
        let mut roots: Vec<String> = policy.roots.iter().map(|root| quoted(&root.path)).collect();
        if roots.is_empty() {
            roots.push("DIR".to_owned());
        }
        format!("asofd run --journal {journal} --root {}", roots.join(" --root "))
    }

    /// What the text of an option says.
    pub(crate) fn time(&self, text: &str) -> Result<TimeSpec> {
        timespec::parse(text, &self.now).map_err(time_error)
    }

    /// What the text of an option says, where there is one.
    pub(crate) fn optional_time(&self, text: Option<&str>) -> Result<Option<TimeSpec>> {
        text.map(|text| self.time(text)).transpose()
    }

    /// The absolute path that an argument means, and the time that it may carry (`PATH@TIME`).
    /// With `time` given elsewhere, an `@` is part of the path.
    pub(crate) fn path(
        &self,
        argument: &OsStr,
        time: Option<TimeSpec>,
    ) -> Result<(Vec<u8>, Option<TimeSpec>)> {
        let bytes = argument.as_bytes();
        let (bytes, time) = match time {
            Some(time) => (bytes, Some(time)),
            None => match timespec::split_path(bytes, &self.now).map_err(time_error)? {
                Some((bytes, time)) => (bytes, Some(time)),
                None => (bytes, None),
            },
        };
        if bytes.first() == Some(&b'/') {
            return Ok((path::absolute(bytes, b"/"), time));
        }
        let current = std::env::current_dir().map_err(|source| Error::Io {
            path: escape(bytes),
            action: "finding the current directory",
            source,
        })?;
        Ok((path::absolute(bytes, current.as_os_str().as_bytes()), time))
    }

    /// Refuses what is no directory where the argument says that it is one: `file/` names nothing, as for the kernel.
    /// `timed` says whether a time is given elsewhere, so that an `@` is part of the path.
    pub(crate) fn check_kind(&self, argument: &OsStr, timed: bool, kind: Kind) -> Result<()> {
        let bytes = argument.as_bytes();
        let path = match timespec::split_path(bytes, &self.now) {
            Ok(Some((path, _))) if !timed => path,
            _ => bytes,
        };
        if kind == Kind::Dir || !(path.ends_with(b"/") || path.ends_with(b"/.")) {
            return Ok(());
        }
        let what = format!("{} is no directory but a {}", escape(path), kind.as_str());
        Err(Error::not_reachable(what, "leave out the slash at its end"))
    }

    /// The place in the journal that a time means; `None` is the newest.
    pub(crate) fn moment(&self, reader: &Reader, time: Option<TimeSpec>, out: &mut Output) -> Result<Moment> {
        let moment = match time.unwrap_or(TimeSpec::Now) {
            TimeSpec::Now => return self.at_seq(reader, reader.head()),
            TimeSpec::Seq(seq) => self.at_seq(reader, seq),
            TimeSpec::Mark(name) => self.at_mark(reader, &name),
            TimeSpec::Instant(instant) => self.at_instant(reader, instant, out),
        }?;
        if let Some(around) = reader.thinned_around(moment.seq)? {
            let whole = whole_around(&around);
            out.warn(&format!("not everything of {} is kept, by the retention policy{whole}", moment.seq));
        }
        Ok(moment)
    }

    fn at_instant(&self, reader: &Reader, instant: Instant, out: &mut Output) -> Result<Moment> {
        let Some(resolved) = reader.at_instant(instant)? else {
            let first = reader.info()?.first;
            let what = format!("{} is before the first capture", local(instant));
            let next = match first {
                Some(first) => {
                    format!(
                        "give a later time: the first capture is of {} (--at {})",
                        local(first.instant),
                        first.seq
                    )
                }
                None => format!("the journal is empty; start the agent: {}", self.start_agent()),
            };
            return Err(Error::not_reachable(what, next));
        };
        if self.now.timestamp_nanos_opt().is_some_and(|now| instant.0 > now) {
            out.warn(&format!("{} is yet to come; this is the newest there is", local(instant)));
        }
        for other in &resolved.others {
            let seq = other.seq;
            out.warn(&format!(
                "the clock showed {} more than once; {seq} is the other reading",
                local(instant)
            ));
        }
        Ok(resolved.moment)
    }

    fn at_seq(&self, reader: &Reader, seq: Seq) -> Result<Moment> {
        if let Some(moment) = reader.at_seq(seq)? {
            return Ok(moment);
        }
        let head = reader.head();
        if head == Seq::ZERO {
            let start = format!("start the agent: {}", self.start_agent());
            return Err(Error::not_reachable("nothing has been captured yet", start));
        }
        Err(Error::not_reachable(format!("{seq} is not in the journal"), format!("it holds seq:1 to {head}")))
    }

    fn at_mark(&self, reader: &Reader, name: &MarkName) -> Result<Moment> {
        if let Some(moment) = reader.mark(name)? {
            return Ok(moment);
        }
        let marks = reader.marks()?;
        let mut nearest: Vec<(f64, &str)> = marks
            .iter()
            .map(|mark| mark.name.as_str())
            .map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &name.as_str().to_lowercase()), known))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        nearest.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let shown = |name: &str| format!("mark:{}", escape(name.as_bytes()));
        let names: Vec<String> = nearest.iter().take(NEAREST_MAX).map(|(_, name)| shown(name)).collect();
        let next = match (marks.len(), names.is_empty()) {
            (0, _) => format!("{} NAME   (names the present instant)", self.command("mark").text()),
            (_, true) => {
                format!("{}   (lists the {} that there are)", self.command("mark").text(), marks.len())
            }
            (_, false) => {
                format!("did you mean {}?\n{}   (lists all)", names.join(" or "), self.command("mark").text())
            }
        };
        Err(Error::not_reachable(format!("there is no {}", shown(name.as_str())), next))
    }
}

/// The entry at a path, or the error that says that there is none.
pub(crate) fn entry_at(source: &dyn Source, path: &[u8], moment: &Moment) -> Result<Entry> {
    source.resolve(path)?.ok_or_else(|| no_such_path(path, moment))
}

/// Says that nothing is known at a path; why, and what helps, is found out at the edge.
pub(crate) fn no_such_path(path: &[u8], moment: &Moment) -> Error {
    Error::NoSuchPath { path: path.to_vec(), moment: Box::new(*moment) }
}

fn time_error(error: TimeError) -> Error {
    let next = match &error {
        TimeError::NotATime { .. } => {
            "say it like 14:05, 'yesterday 14:00', '10 minutes ago', 2026-11-22 or '2026-11-22 14:05'; all forms: asof --help"
        }
        TimeError::Mark { .. } => "`asof mark` lists the marks that there are",
        TimeError::OutOfRange { .. } => "give a time between 1678 and 2261",
        TimeError::Repeated { .. } | TimeError::Skipped { .. } => {
            "give one of the two, in the form in which they stand there"
        }
    };
    Error::usage(error.to_string(), next)
}

/// The journal where neither a flag nor the environment names one: the one that the agent would use.
fn default_journal() -> Result<(PathBuf, Named)> {
    let variable = |name: &str| std::env::var_os(name);
    let surroundings = Surroundings { is_root: rustix::process::geteuid().is_root(), variable: &variable };
    if let Some(journal) = configuration().map(|config| configured_journal(&config)).transpose()?.flatten() {
        return Ok((journal, Named::Configuration));
    }
    surroundings.journal().map(|journal| (journal, Named::Nobody)).ok_or_else(|| {
        Error::usage("neither XDG_STATE_HOME nor HOME is set", "name the journal with --journal DIR")
    })
}

/// The configuration file that the agent reads; `None` where there is none.
pub(crate) fn configuration() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    let surroundings = Surroundings { is_root: rustix::process::geteuid().is_root(), variable: &variable };
    let named = std::env::var_os("ASOF_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| surroundings.config().filter(|path| path.exists()))
}

/// The journal that a configuration file of the agent names. Everything else in it is the agent's to judge.
fn configured_journal(config: &Path) -> Result<Option<PathBuf>> {
    let shown = || escape(config.as_os_str().as_bytes());
    let text = std::fs::read_to_string(config).map_err(|source| Error::Io {
        path: shown(),
        action: "reading the configuration",
        source,
    })?;
    journal_in(&text).map_err(|error| {
        let what = format!("{}: {}", shown(), error.message());
        Error::failed(what, "`asofd check-config` says where; or name the journal with --journal DIR")
    })
}

/// The journal that the text of a configuration names.
pub(crate) fn journal_in(text: &str) -> std::result::Result<Option<PathBuf>, toml::de::Error> {
    let table: toml::Table = text.parse()?;
    let journal = table.get("journal").and_then(toml::Value::as_str).map(PathBuf::from);
    Ok(journal.filter(|path| path.is_absolute()))
}

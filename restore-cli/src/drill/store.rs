//! The reports of past drills: a file each, numbered from 1 for each journal, in a directory of their own.
//!
//! Owns the names and the form of that directory, and that nothing in it is ever written twice. A report holds the hash of
//! the file of the one before, and `head.json` that of the newest; `chain` says where that does not fit. Whoever owns the
//! directory can make a whole chain anew: what proves more is a hash that was noted elsewhere.

pub(crate) mod chain;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::drill::aside::{self, Existing};
use crate::drill::report::{Link, Report};
use crate::errors::{Error, Result};
use crate::output::escape;
use chain::{Break, Found};

/// The newest report as the store remembers it.
const HEAD: &str = "head.json";
/// Held while a report is added.
const LOCK: &str = "lock";
/// Where the reports are, within the directory of a journal.
const REPORTS: &str = "reports";
/// A report is some kilobytes; what is larger than this is none.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// The reports of one journal.
pub(crate) struct Store {
    dir: PathBuf,
}

/// What a store holds, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// The reports that can be read, oldest first, without what fills only a report's own page.
    pub(crate) reports: Vec<Kept>,
    /// Where the chain is broken, by number.
    pub(crate) breaks: Vec<Break>,
}

/// A report that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// What it says.
    pub(crate) report: Report,
    /// BLAKE3 of its file.
    pub(crate) hash: String,
    /// Its file.
    pub(crate) file: PathBuf,
}

/// The newest report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) hash: String,
}

/// Where reports and all else that drills remember are when nobody says: `$XDG_STATE_HOME/asof-drills`, else
/// `~/.local/state/asof-drills`; for root `/var/lib/asof-drills`.
pub(crate) fn default_state() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name);
    let surroundings = asof_journal::places::Surroundings {
        is_root: rustix::process::geteuid().is_root(),
        variable: &variable,
    };
    let journal = surroundings.journal().ok_or_else(|| {
        Error::usage("neither XDG_STATE_HOME nor HOME is set", "name a directory with --state DIR")
    })?;
    Ok(journal.with_file_name("asof-drills"))
}

impl Store {
    /// The store of a journal below a state directory. Nothing is made yet.
    pub(crate) fn new(state: &Path, journal_id: &str) -> Store {
        Store { dir: state.join(journal_id) }
    }

    /// The directory of this journal, where whoever else remembers something about its drills may have files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory, for its owner alone. Errors: others may write to it, so that nothing in it proves anything.
    pub(crate) fn prepare(&self) -> Result<()> {
        let reports = self.dir.join(REPORTS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&reports)
            .map_err(|source| aside::error(&reports, "making the directory of reports", source))?;
        for dir in [&reports, &self.dir] {
            let meta = fs::metadata(dir).map_err(|source| aside::error(dir, "looking at it", source))?;
            let shown = escape(std::os::unix::ffi::OsStrExt::as_bytes(dir.as_os_str()));
            if meta.mode() & 0o022 != 0 {
                let what = format!("{shown}: others may write to it, so that reports in it prove nothing");
                return Err(Error::failed(what, format!("chmod go-w {shown}")));
            }
            let own = rustix::process::geteuid().as_raw();
            if meta.uid() != own && own != 0 {
                return Err(Error::failed(
                    format!("{shown}: it is another user's"),
                    "run the drill as that user, or name another directory with --state DIR",
                ));
            }
        }
        Ok(())
    }

    /// Adds a report: gives it its number and the hash of the one before, and makes it durable.
    pub(crate) fn append(&self, mut report: Report) -> Result<Kept> {
        self.prepare()?;
        let lock = self.dir.join(LOCK);
        let held = File::options().create(true).append(true).open(&lock);
        let held = held.map_err(|source| aside::error(&lock, "opening it", source))?;
        // Another drill holds it for the time of two small writes.
        flock(&held, FlockOperation::LockExclusive)
            .map_err(|source| aside::error(&lock, "waiting for it", source.into()))?;
        report.chain = self.next()?;
        let file = self.file(report.chain.number);
        let bytes = encode(&report)?;
        aside::write(&file, &bytes, 0o600, Existing::Keep)?;
        let hash = hash(&bytes);
        let head = Head { number: report.chain.number, hash: hash.clone() };
        aside::write(&self.dir.join(HEAD), &encode(&head)?, 0o600, Existing::Replace)?;
        Ok(Kept { report, hash, file })
    }

    /// All reports, and where the chain is broken. A store that is not there is empty.
    pub(crate) fn past(&self) -> Result<Past> {
        let found = self.found()?;
        let breaks = chain::check(&found, self.head()?.as_ref());
        let reports = found.into_values().filter_map(|found| match found {
            Found::Report(kept) => Some(*kept),
            Found::Unreadable { .. } => None,
        });
        Ok(Past { reports: reports.collect(), breaks })
    }

    /// What the next report links to: what the head says, or the file after it that a crash kept from being the head.
    fn next(&self) -> Result<Link> {
        let head = self.head()?;
        let numbers = self.numbers()?;
        let newest = numbers.last().copied().unwrap_or(0);
        match head {
            Some(head) if head.number >= newest => {
                Ok(Link { number: head.number + 1, previous_hash: Some(head.hash) })
            }
            _ if newest == 0 => Ok(Link { number: 1, previous_hash: None }),
            _ => {
                let file = self.file(newest);
                let bytes = fs::read(&file).map_err(|source| aside::error(&file, "reading it", source))?;
                Ok(Link { number: newest + 1, previous_hash: Some(hash(&bytes)) })
            }
        }
    }

    fn found(&self) -> Result<BTreeMap<u64, Found>> {
        let mut found = BTreeMap::new();
        for number in self.numbers()? {
            found.insert(number, self.read(number));
        }
        Ok(found)
    }

    fn read(&self, number: u64) -> Found {
        let file = self.file(number);
        let bytes = match fs::metadata(&file) {
            Ok(meta) if meta.len() > REPORT_BYTES_MAX => Err("it is too large for a report".to_owned()),
            _ => fs::read(&file).map_err(|error| error.to_string()),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(why) => return Found::Unreadable { hash: None, why },
        };
        let hash = hash(&bytes);
        match serde_json::from_slice(&bytes) {
            Ok(report) => Found::Report(Box::new(Kept { report: lighter(report), hash, file })),
            Err(error) => Found::Unreadable { hash: Some(hash), why: error.to_string() },
        }
    }

    /// The numbers of the reports that there are, sorted.
    fn numbers(&self) -> Result<Vec<u64>> {
        let dir = self.dir.join(REPORTS);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(aside::error(&dir, "listing it", source)),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| aside::error(&dir, "listing it", source))?;
            numbers.extend(entry.file_name().to_str().and_then(number_of));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn head(&self) -> Result<Option<Head>> {
        let file = self.dir.join(HEAD);
        match fs::read(&file) {
            // A head that says nothing is one that is not there: the files tell then, and `chain` says so.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(aside::error(&file, "reading it", source)),
        }
    }

    fn file(&self, number: u64) -> PathBuf {
        self.dir.join(REPORTS).join(format!("{number:08}.json"))
    }
}

impl Past {
    /// The reports of one drill, oldest first.
    pub(crate) fn of<'p>(&'p self, drill: &'p str) -> impl DoubleEndedIterator<Item = &'p Kept> {
        self.reports.iter().filter(move |kept| kept.report.identity.drill == drill)
    }
}

/// A report without its long lists: of thousands of past ones, all are in memory at once.
fn lighter(mut report: Report) -> Report {
    for assertion in &mut report.assertions {
        assertion.details = Vec::new();
    }
    let Report { evidence, commands, clean_up, hooks, warnings, gaps, .. } = &mut report;
    (*evidence, *commands, *clean_up) = (Vec::new(), Vec::new(), Vec::new());
    (*hooks, *warnings, *gaps) = (Vec::new(), Vec::new(), Vec::new());
    report
}

/// JSON as it is kept and as it is handed out.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::failed(format!("the report could not be written: {error}"), ""))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The hash of a file's bytes, in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The number in the name of a report.
fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    (format!("{number:08}") == digits).then_some(number)
}

#[cfg(test)]
mod tests;

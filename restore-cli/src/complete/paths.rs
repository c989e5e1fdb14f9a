//! Paths out of the journal as candidates: what a directory had at the time on the command line, and what it once had.
//!
//! Opens the journal once. Without one, or where anything fails, there are no candidates.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use asof_journal::fate::{self, Ended, Fate};
use asof_journal::types::{Kind, NodeId};
use asof_journal::view::{Entry, View};
use clap_complete::CompletionCandidate;

use crate::errors::Result;
use crate::output::Output;
use crate::path;
use crate::session::Session;
use crate::timespec::{self, TimeSpec};

/// Nobody looks through more than so many.
const CANDIDATES_MAX: usize = 10_000;

/// Times that people say.
const TIMES: [&str; 3] = ["now", "yesterday", "10 minutes ago"];
/// What begins the name of an instant.
const MARK: &[u8] = b"mark:";

/// Whether the journal had any: it is paths then that are being completed.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Whether the journal had candidates in this run.
pub(super) fn were_found() -> bool {
    FOUND.load(Ordering::Relaxed)
}

/// The paths that begin with what is typed. `words` are those of the whole line.
pub(super) fn candidates(typed: &OsStr, words: &[OsString]) -> Vec<CompletionCandidate> {
    let found = Typing::new(words).paths(typed.as_bytes()).unwrap_or_default();
    FOUND.fetch_or(!found.is_empty(), Ordering::Relaxed);
    found.into_iter().map(|path| CompletionCandidate::new(OsString::from_vec(path))).collect()
}

/// The times that begin with what is typed: words, and the names that instants have.
pub(super) fn times(typed: &OsStr, words: &[OsString]) -> Vec<CompletionCandidate> {
    let typed = typed.as_bytes();
    let mut times: Vec<Vec<u8>> = TIMES.iter().map(|word| word.as_bytes().to_vec()).collect();
    if MARK.starts_with(typed) || typed.starts_with(MARK) {
        times.extend(Typing::new(words).marks().unwrap_or_default());
    }
    times.retain(|time| time.starts_with(typed));
    times.into_iter().map(|time| CompletionCandidate::new(OsString::from_vec(time))).collect()
}

/// What the rest of the line says.
struct Typing {
    journal: Option<PathBuf>,
    /// The times that the paths are looked for at.
    times: Vec<String>,
    /// A path that carries a time, as in PATH@TIME.
    timed: Vec<Vec<u8>>,
    /// Whether what is gone is wanted at a given time, too.
    with_gone: bool,
}

impl Typing {
    fn new(words: &[OsString]) -> Typing {
        let verb = words.iter().skip(1).find(|word| !word.as_bytes().starts_with(b"-"));
        let verb = verb.map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let mut typing = Typing {
            journal: None,
            times: Vec::new(),
            timed: Vec::new(),
            with_gone: matches!(verb.as_str(), "log" | "explain"),
        };
        // The last word is the one that is being typed.
        let mut words = words.iter().take(words.len().saturating_sub(1)).peekable();
        while let Some(word) = words.next() {
            let word = word.as_bytes();
            let (option, value) =
                match word.iter().position(|&b| b == b'=').filter(|_| word.starts_with(b"--")) {
                    Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]))),
                    None => (word, None),
                };
            let mut value = || value.or_else(|| words.next().map(OsString::as_os_str));
            match option {
                b"--journal" => typing.journal = value().map(PathBuf::from).or(typing.journal.take()),
                b"--at" | b"--until" | b"--from" => {
                    typing.times.extend(value().map(|time| time.to_string_lossy().into_owned()));
                }
                b"--to" if verb == "diff" => {
                    typing.times.extend(value().map(|time| time.to_string_lossy().into_owned()));
                }
                b"--deleted" => typing.with_gone = true,
                word if word.contains(&b'@') => typing.timed.push(word.to_vec()),
                _ => {}
            }
        }
        typing
    }

    /// The names that instants have, as times.
    fn marks(self) -> Result<Vec<Vec<u8>>> {
        let session = Session::new(self.journal)?;
        let marks = session.reader()?.marks()?;
        Ok(marks.iter().map(|mark| [MARK, mark.name.as_str().as_bytes()].concat()).collect())
    }

    fn paths(self, typed: &[u8]) -> Result<Vec<Vec<u8>>> {
        let session = Session::new(self.journal.clone())?;
        let mut times = Vec::new();
        for time in &self.times {
            times.push(session.time(time)?);
        }
        if times.is_empty() {
            let now = session.now();
            let carried = self.timed.iter().find_map(|word| timespec::split_path(word, now).ok().flatten());
            times.extend(carried.map(|(_, time)| time));
        }
        let with_gone = self.with_gone || times.is_empty();
        if times.is_empty() {
            times.push(TimeSpec::Now);
        }
        // What is typed stays as it is: the directory part is looked up, the rest of the name is found.
        let cut = typed.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        let (dir, begun) = typed.split_at(cut);
        let looked_up = absolute(dir);
        let reader = session.reader()?;
        let mut out = Output::silent();
        let mut found = Vec::new();
        for time in times {
            let moment = session.moment(reader, Some(time), &mut out)?;
            for entry in entries(&reader.view(moment.seq), &looked_up, with_gone)? {
                if entry.name.starts_with(begun) && path::is_name(&entry.name) && found.len() < CANDIDATES_MAX
                {
                    let slash: &[u8] = if entry.kind == Kind::Dir { b"/" } else { b"" };
                    found.push([dir, &entry.name, slash].concat());
                }
            }
        }
        // PATH@TIME, where what follows the sign may be the name of an instant.
        if found.is_empty()
            && let Some(at) = typed.iter().rposition(|&b| b == b'@')
            && let (path, Some(begun)) = (&typed[..=at], typed.get(at + 1..))
            && (MARK.starts_with(begun) || begun.starts_with(MARK))
        {
            let marks = reader.marks()?.into_iter();
            let marks = marks.map(|mark| [MARK, mark.name.as_str().as_bytes()].concat());
            found.extend(marks.filter(|mark| mark.starts_with(begun)).map(|mark| [path, &mark].concat()));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// The directory that is meant by what is typed before the last slash.
fn absolute(dir: &[u8]) -> Vec<u8> {
    let current = std::env::current_dir().unwrap_or_default();
    let home = std::env::var_os("HOME").unwrap_or_default();
    match dir.strip_prefix(b"~/") {
        Some(below) => path::absolute(&path::join(home.as_bytes(), below), b"/"),
        None => path::absolute(dir, current.as_os_str().as_bytes()),
    }
}

/// What a directory has, and where it is wanted what it once had, also if it is gone itself.
fn entries(view: &View<'_>, dir: &[u8], with_gone: bool) -> Result<Vec<Entry>> {
    let node: NodeId = match fate::fate(view, dir)? {
        Fate::There(entry) if entry.kind == Kind::Dir => entry.node,
        Fate::Ended(Ended { last: Some((node, Kind::Dir)), .. }) if with_gone => node,
        _ => return Ok(Vec::new()),
    };
    let mut entries = view.list(node)?;
    if with_gone {
        entries.extend(view.list_deleted(node)?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_which_journal_and_which_times() {
        let typing = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            Typing::new(&words)
        };
        let one = typing("asof --journal /j ls --at -10m /x");
        assert_eq!(
            (one.journal, one.times, one.with_gone),
            (Some("/j".into()), vec!["-10m".to_owned()], false)
        );
        let two = typing("asof diff --from=14:00 --to 15:00 /");
        assert_eq!(two.times, ["14:00", "15:00"]);
        let restore = typing("asof restore a@14:00 --to /t b");
        assert_eq!((restore.times, restore.timed), (vec![], vec![b"a@14:00".to_vec()]));
        assert!(typing("asof ls --deleted /").with_gone && typing("asof log /x").with_gone);
        // What is being typed is no time yet.
        assert!(typing("asof ls --at").times.is_empty());
    }

    #[test]
    fn what_is_typed_names_a_directory() {
        assert_eq!(absolute(b"/a/b/"), b"/a/b");
        assert_eq!(absolute(b"/a/../c/"), b"/c");
        let current = std::env::current_dir().unwrap();
        assert_eq!(absolute(b""), current.as_os_str().as_bytes());
    }
}

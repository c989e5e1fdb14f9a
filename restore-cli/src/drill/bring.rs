//! Restoring with the program itself, as a user would: real command lines, real exit statuses, real times.
//!
//! Owns how many commands it takes and where things lie afterwards. Compares nothing.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Instant as Stopwatch;

use serde::Deserialize;

use super::child::{Program, Ran, run};
use super::observe::Seen;
use super::report;
use super::report::Name;
use super::scratch::Scratch;
use super::stop::{Stop, Tried};
use super::walk::{self, below};
use crate::errors::Error;
use crate::interrupt;
use crate::output::escape;
use crate::path;

/// Single files that each get their place; more are restored some at a time.
const SINGLE_MAX: usize = 8;
/// Words of one command take no more than this; the kernel takes 2 MiB with the environment.
const WORDS_BYTES_MAX: usize = 512 * 1024;

/// What is to be restored: the path that it had, and whether it was a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    /// The path.
    pub(crate) path: Vec<u8>,
    /// Whether it was a directory.
    pub(crate) is_dir: bool,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// Where what was asked for lies now, by the path that it had.
    pub(crate) places: BTreeMap<Vec<u8>, PathBuf>,
    /// The top of a working copy: what was below it has the paths that it was alive with.
    pub(crate) lab_root: Option<Vec<u8>>,
    /// What could not be restored, and why.
    pub(crate) refused: BTreeMap<Vec<u8>, String>,
    /// Commands that did not end with status 0, in words.
    pub(crate) failures: Vec<String>,
    /// Content that was written.
    pub(crate) bytes: u64,
    /// Files whose version is torn.
    pub(crate) torn: u64,
    /// When content was first seen to have come.
    pub(crate) first_byte: Option<Stopwatch>,
    /// When all had come.
    pub(crate) ended: Option<Stopwatch>,
}

/// A line of `restore --json`, as far as it matters.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Progress {
        bytes: u64,
    },
    Problem {
        #[serde(flatten)]
        name: Name,
        error: String,
    },
    Summary {
        bytes: u64,
        torn: u64,
    },
    #[serde(other)]
    Other,
}

/// The program on a journal, with its words.
pub(crate) fn asof(journal: &Path, words: &[&OsStr]) -> Tried<Vec<OsString>> {
    let me = std::env::current_exe().map_err(|source| Error::Io {
        path: "/proc/self/exe".to_owned(),
        action: "finding the program itself",
        source,
    })?;
    let mut argv: Vec<OsString> = vec![me.into(), "--journal".into(), journal.into(), "--json".into()];
    argv.extend(words.iter().map(Into::into));
    Ok(argv)
}

/// Runs the program and takes its output as JSON Lines.
pub(crate) fn ask(
    scratch: &Scratch,
    journal: &Path,
    what: &str,
    words: &[&OsStr],
    commands: &mut Vec<report::Command>,
    each: &mut dyn FnMut(serde_json::Value),
) -> Tried<Ran> {
    let argv = asof(journal, words)?;
    let program = Program { what: what.to_owned(), argv, directory: None, limit: None };
    let ran = run(scratch, program, &mut |line| {
        if let Ok(value) = serde_json::from_slice(line) {
            each(value);
        }
    })?;
    commands.push(ran.command.clone());
    Ok(ran)
}

/// Restores as of a time into a directory of the scratch space, which must be empty: each thing below it under the path
/// that it had, but many single files some at a time.
pub(crate) fn restore(
    scratch: &Scratch,
    journal: &Path,
    at: &str,
    tops: &[Top],
    into: &Path,
    commands: &mut Vec<report::Command>,
) -> Tried<Brought> {
    let mut brought = Brought::default();
    let (dirs, files): (Vec<&Top>, Vec<&Top>) = tops.iter().partition(|top| top.is_dir);
    for dir in dirs {
        let place = below(into, &dir.path);
        make_parent(&place)?;
        brought.one(scratch, journal, at, &[dir], &place, commands)?;
        brought.places.insert(dir.path.clone(), place);
    }
    if files.len() <= SINGLE_MAX {
        for file in files {
            let place = below(into, &file.path);
            make_parent(&place)?;
            brought.one(scratch, journal, at, &[file], &place, commands)?;
            brought.places.insert(file.path.clone(), place);
        }
    } else {
        for (number, batch) in batches(&files).into_iter().enumerate() {
            let place = into.join(format!("batch-{number}"));
            make(&place)?;
            brought.one(scratch, journal, at, &batch, &place, commands)?;
            for file in batch {
                brought.places.insert(file.path.clone(), below(&place, path::name(&file.path)));
            }
        }
    }
    brought.ended = Some(Stopwatch::now());
    Ok(brought)
}

/// Files with different names go into one directory together.
fn batches<'t>(files: &[&'t Top]) -> Vec<Vec<&'t Top>> {
    struct Batch<'t> {
        names: HashSet<&'t [u8]>,
        files: Vec<&'t Top>,
        bytes: usize,
    }
    let mut batches: Vec<Batch<'t>> = Vec::new();
    for file in files {
        let (name, bytes) = (path::name(&file.path), file.path.len() + 9);
        let fits = |batch: &Batch<'_>| batch.bytes + bytes <= WORDS_BYTES_MAX && !batch.names.contains(name);
        match batches.iter_mut().find(|batch| fits(batch)) {
            Some(batch) => {
                batch.names.insert(name);
                batch.files.push(file);
                batch.bytes += bytes;
            }
            None => batches.push(Batch { names: HashSet::from([name]), files: vec![file], bytes }),
        }
    }
    batches.into_iter().map(|batch| batch.files).collect()
}

impl Brought {
    fn one(
        &mut self,
        scratch: &Scratch,
        journal: &Path,
        at: &str,
        tops: &[&Top],
        to: &Path,
        commands: &mut Vec<report::Command>,
    ) -> Tried<()> {
        let paths = tops.iter().map(|top| OsStr::from_bytes(&top.path));
        let options = ["restore", "--at", at, "--to"].into_iter().map(OsStr::new);
        let words: Vec<&OsStr> = options.chain([to.as_os_str(), OsStr::new("--")]).chain(paths).collect();
        let argv = asof(journal, &words)?;
        let program = Program { what: "restore".to_owned(), argv, directory: None, limit: None };
        let ran = run(scratch, program, &mut |line| self.hear(line))?;
        if !ran.is_well() {
            let told = ran.command.output.lines().find(|line| line.starts_with("asof: ")).unwrap_or_default();
            self.failures.push(format!(
                "`asof restore` {}{}{told}",
                ran.how(),
                if told.is_empty() { "" } else { ": " }
            ));
            // Nothing of it came, and it did not say of which path that is so.
            if ran.command.status != Some(3) {
                let why = told.strip_prefix("asof: ").unwrap_or("the command failed");
                for top in tops {
                    self.refused.entry(top.path.clone()).or_insert_with(|| why.to_owned());
                }
            }
        }
        commands.push(ran.command);
        Ok(())
    }

    fn hear(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Line::Progress { bytes }) if bytes > 0 => {
                self.first_byte.get_or_insert_with(Stopwatch::now);
            }
            Ok(Line::Problem { name, error }) => {
                self.refused.insert(name.bytes(), error);
            }
            Ok(Line::Summary { bytes, torn, .. }) => {
                if bytes > 0 {
                    self.first_byte.get_or_insert_with(Stopwatch::now);
                }
                self.bytes += bytes;
                self.torn += torn;
            }
            _ => {}
        }
    }

    /// Looks at everything that lies where it was restored to, and reads it, by the path that it had; those once more of
    /// which SHA-256 is wanted.
    pub(crate) fn look(&self, wants_sha256: &dyn Fn(&[u8]) -> bool) -> Tried<BTreeMap<Vec<u8>, Seen>> {
        let mut there = BTreeMap::new();
        let mut failed = None;
        for (top, place) in &self.places {
            let mut paths = Vec::new();
            walk::walk(place, &|_, _| false, &mut |path| paths.push(path), &mut |path, error| {
                failed.get_or_insert_with(|| (path.to_path_buf(), error));
            });
            let prefix = place.as_os_str().len();
            walk::observe_all(paths, &mut |path, look| {
                let mut original = top.clone();
                original.extend_from_slice(path.as_os_str().as_bytes().get(prefix..).unwrap_or_default());
                match look {
                    Ok(Some(mut seen)) => {
                        if seen.is_file() && wants_sha256(&original) && !interrupt::requested() {
                            match super::observe::sha256(&path) {
                                Ok(hash) => seen.sha256 = Some(hash),
                                Err(error) => {
                                    failed.get_or_insert((path, error));
                                    return;
                                }
                            }
                        }
                        there.insert(original, seen);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        failed.get_or_insert((path, error));
                    }
                }
            });
        }
        if interrupt::requested() {
            return Err(Stop::Error(Error::Interrupted));
        }
        match failed {
            None => Ok(there),
            Some((path, error)) => {
                let shown = escape(path.as_os_str().as_bytes());
                Err(Stop::Inconclusive(format!("what was restored cannot be read: {shown}: {error}")))
            }
        }
    }

    /// Where a path of the past lies now; `None` where it was not asked for.
    pub(crate) fn place_of(&self, path: &[u8]) -> Option<PathBuf> {
        let inside =
            self.lab_root.as_ref().map(|root| path::join(root, path.strip_prefix(b"/").unwrap_or(path)));
        let path = inside.as_deref().unwrap_or(path);
        let (top, place) = self.places.iter().find(|(top, _)| asof_journal::view::is_below(path, top))?;
        let mut bytes = place.as_os_str().as_bytes().to_vec();
        bytes.extend_from_slice(path.get(if top == b"/" { 0 } else { top.len() }..).unwrap_or_default());
        Some(PathBuf::from(OsString::from_vec(bytes)))
    }
}

fn make_parent(place: &Path) -> Tried<()> {
    place.parent().map_or(Ok(()), make)
}

fn make(dir: &Path) -> Tried<()> {
    std::fs::create_dir_all(dir).map_err(|source| {
        let path = escape(dir.as_os_str().as_bytes());
        Stop::Error(Error::Io { path, action: "making a directory in scratch space", source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_go_into_different_batches_and_no_batch_is_too_long() {
        let names = ["/a/x", "/b/x", "/c/x", "/a/y", "/b/y", "/a/z"];
        let tops: Vec<Top> =
            names.iter().map(|name| Top { path: name.as_bytes().to_vec(), is_dir: false }).collect();
        let split = batches(&tops.iter().collect::<Vec<_>>());
        assert_eq!(split.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1]);
        let long: Vec<Top> = (0..400)
            .map(|number| Top { path: format!("/{}/{number}", "d".repeat(4000)).into_bytes(), is_dir: false })
            .collect();
        let split = batches(&long.iter().collect::<Vec<_>>());
        assert_eq!(split.iter().map(Vec::len).sum::<usize>(), 400);
        assert!(split.len() > 2);
    }
}

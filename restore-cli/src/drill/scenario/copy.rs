//! A copy of a journal without its index, beside an agent that may be writing to it.
//!
//! Reads the live journal only. Shares blocks with it where the filesystem can; never names: what is done to the copy
//! stays there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_journal::storage::{Layout, create_private_dir};

use crate::drill::scratch::Scratch;
use crate::drill::stop::{Stop, Tried, inconclusive};
use crate::errors::Error;
use crate::interrupt;
use crate::output::escape;

/// So often the list of segments is read again: a segment is sealed now and then.
const LOOKS_MAX: usize = 20;

/// Copies manifest and segments into the scratch space; gives the copy.
pub(super) fn copy(journal: &Path, scratch: &Scratch) -> Tried<PathBuf> {
    let (from, to) = (Layout::new(journal), Layout::new(scratch.path().join("journal")));
    let bytes = names(&from)?
        .iter()
        .filter_map(|name| from.segments().join(name).metadata().ok())
        .map(|meta| meta.len())
        .sum();
    scratch.room_for(bytes)?;
    for dir in [to.dir(), &to.segments()] {
        create_private_dir(dir).map_err(|source| failed(dir, source))?;
    }
    for (one, other) in [(from.manifest(), to.manifest()), (from.manifest_copy(), to.manifest_copy())] {
        file(&one, &other)?;
    }
    // Until nothing new is there: a segment that was sealed meanwhile has another name.
    let mut met = BTreeSet::new();
    for _ in 0..LOOKS_MAX {
        let new: Vec<OsString> = names(&from)?.difference(&met).cloned().collect();
        if new.is_empty() {
            return Ok(to.dir().to_path_buf());
        }
        for name in new {
            if interrupt::requested() {
                return Err(Stop::Error(Error::Interrupted));
            }
            scratch.check()?;
            file(&from.segments().join(&name), &to.segments().join(&name))?;
            met.insert(name);
        }
    }
    inconclusive("the journal changed all the time while it was copied")
}

/// The names of all segments.
pub(super) fn names(layout: &Layout) -> Tried<BTreeSet<OsString>> {
    let dir = layout.segments();
    let entries = fs::read_dir(&dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|source| failed(&dir, source))?;
    let names = entries.into_iter().map(|entry| entry.file_name());
    Ok(names.filter(|name| Layout::parse_segment(name).is_some()).collect())
}

/// Copies a file that may have gone meanwhile.
fn file(from: &Path, to: &Path) -> Tried<()> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed(from, source)),
    }
}

pub(super) fn failed(path: &Path, source: io::Error) -> Stop {
    Stop::Error(Error::Io {
        path: escape(path.as_os_str().as_bytes()),
        action: "copying the journal",
        source,
    })
}

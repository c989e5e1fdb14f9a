//! What a restore in place will do: the state that is wanted, the newest that the journal knows, and what is on disk.
//!
//! Three trees are walked at once. Nothing is planned to be replaced or deleted that the journal does not hold as it is on
//! disk; what it does not hold is named and left. Taking a restore back is the same with a fourth tree, the state that
//! the restore had left: only what differs there is touched. Writes nothing.

mod judge;
mod settle;
mod walk;
mod walked;

use std::os::fd::BorrowedFd;

use super::RestorePlan;
use crate::args::Overwrite;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::source::Source;

/// What is to be brought back, and what may be done for that.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'s> {
    /// The state that is wanted.
    pub(crate) wanted: &'s dyn Source,
    /// The newest state that the journal knows.
    pub(crate) now: &'s dyn Source,
    /// The state that a restore had left, where that is taken back.
    pub(crate) left: Option<&'s dyn Source>,
    /// Absolute paths, each with all below it.
    pub(crate) paths: &'s [Vec<u8>],
    /// Whether what is not there in the wanted state is deleted.
    pub(crate) exact: bool,
    /// What to do with what exists and differs; the default replaces it.
    pub(crate) overwrite: Option<Overwrite>,
    /// How many threads compare.
    pub(crate) workers: usize,
}

/// A number of entries, and the bytes of the regular files among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// Entries of directories.
    pub(crate) entries: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a plan will do, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preview {
    /// What is not there now.
    pub(crate) created: Amount,
    /// What is there with other content, or as another sort of thing; the bytes are the new ones.
    pub(crate) overwritten: Amount,
    /// What goes away.
    pub(crate) deleted: Amount,
    /// Only mode, owner, times or attributes differ.
    pub(crate) metadata: u64,
    /// What is as it is wanted.
    pub(crate) unchanged: u64,
    /// What differs and is left, because `--overwrite` says so.
    pub(crate) left: u64,
}

impl Preview {
    /// Whether there is nothing to do.
    pub(crate) fn is_nothing(&self) -> bool {
        self.created.entries + self.overwritten.entries + self.deleted.entries + self.metadata == 0
    }
}

/// A plan whose base is `/`, and what it will do.
pub(crate) struct InPlacePlan {
    /// The plan.
    pub(crate) plan: RestorePlan,
    /// The same counted.
    pub(crate) preview: Preview,
    /// Everything that it touches lies below one of these: what was asked for, or the topmost directory made for it.
    pub(crate) tops: Vec<Vec<u8>>,
}

/// Plans a restore in place below `base`, which stands for `/`.
///
/// What cannot be said of a path, and what is left for its safety, becomes a problem of that path. Errors: `Interrupted`,
/// and those of the journal where not even the paths that were asked for can be looked up.
pub(crate) fn plan(base: BorrowedFd<'_>, wish: &Wish<'_>) -> Result<InPlacePlan> {
    let walked = walk::walk(base, wish)?;
    let judged = judge::all(base, wish, &walked);
    if interrupt::requested() {
        return Err(Error::Interrupted);
    }
    Ok(settle::settle(wish, walked, judged))
}

#[cfg(test)]
mod tests;

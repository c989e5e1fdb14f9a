//! A directory's entries with what a moment did to them, out of the journal a page at a time: a directory may have any number.
//!
//! Owns how far a listing has come. Two states of the directory are gone through side by side in the order of names.

use std::collections::HashSet;

use asof_journal::reader::Reader;
use asof_journal::types::{NodeId, Seq};
use asof_journal::view::{Entry, Page};

use super::data::{Mark, Row};
use crate::errors::Result;

/// Names that are looked at at once.
pub(super) const PAGE_NAMES: usize = 2000;

/// A listing on its way.
#[derive(Debug, Default)]
pub(super) struct Lister {
    /// The directory before the moment, and after it, where it was there.
    pub(super) then: Option<(NodeId, Seq)>,
    pub(super) now: Option<(NodeId, Seq)>,
    /// Names that the moment touched.
    pub(super) touched: HashSet<Vec<u8>>,
    /// Whether entries are given that went earlier.
    pub(super) gone: bool,
    /// What to say of everything, where the directory itself is not there.
    pub(super) all: Option<Mark>,
    /// The last name that has been passed.
    pub(super) after: Option<Vec<u8>>,
    /// Whether nothing is left.
    pub(super) is_done: bool,
}

impl Lister {
    /// The entries of the next few names, in the order of names.
    pub(super) fn page(&mut self, reader: &Reader, take: &mut dyn FnMut(Row)) -> Result<()> {
        let read = |at: Option<(NodeId, Seq)>, after: Option<&[u8]>| -> Result<Page> {
            Ok(match at {
                Some((node, seq)) => reader.view(seq).list_page(node, after, PAGE_NAMES)?,
                None => Page::default(),
            })
        };
        let (old, new) = (read(self.then, self.after.as_deref())?, read(self.now, self.after.as_deref())?);
        // As far as both have come.
        let until = [&old, &new].into_iter().filter_map(|page| page.until.clone()).min();
        let is_in = |entry: &&Entry| until.as_ref().is_none_or(|until| entry.name <= *until);
        let find = |list: &[Entry], name: &[u8]| {
            list.binary_search_by(|entry| entry.name.as_slice().cmp(name))
                .ok()
                .and_then(|at| list.get(at).map(|entry| entry.node))
        };
        let then = self.then.map_or(Seq::ZERO, |(_, seq)| seq);
        for entry in old.entries.iter().filter(is_in) {
            if find(&new.entries, &entry.name).is_none() {
                take(row(entry, self.all.unwrap_or(Mark::Deleted), then));
            }
        }
        for entry in new.deleted.iter().filter(is_in).filter(|_| self.gone) {
            if find(&old.entries, &entry.name).is_none() {
                take(row(entry, Mark::Gone, entry.since.previous()));
            }
        }
        let now = self.now.map_or(Seq::ZERO, |(_, seq)| seq);
        for entry in new.entries.iter().filter(is_in) {
            let mark = match find(&old.entries, &entry.name) {
                None => Mark::Created,
                Some(node) if node != entry.node || self.touched.contains(&entry.name) => Mark::Modified,
                Some(_) => Mark::Same,
            };
            take(row(entry, mark, now));
        }
        self.is_done = until.is_none();
        self.after = until;
        Ok(())
    }
}

fn row(entry: &Entry, mark: Mark, at: Seq) -> Row {
    Row { name: entry.name.clone(), kind: entry.kind, node: entry.node, mark, at, size: None }
}

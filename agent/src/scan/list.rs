//! Directories that are listed: what is in them against what the journal has bound there.
//!
//! Owns the order in that: opened when their turn comes, and only if they are still the same. What each name is now is
//! for `compare`.

use std::collections::HashMap;
use std::sync::Arc;

use asof_journal::types::{Kind, NodeId, Unbound};
use asof_journal::view::Entry;

use super::compare::Seen;
use super::{
    DEPTH_MAX, GONE_MAX, Gone, Pending, Reason, Result, Root, ScanError, Scanner, Trip, is_gone, join,
};
use crate::fs::DirHandle;
use crate::pool::count;
use crate::run::{Again, Event};
use crate::settle::{Marks, Scan};

/// A directory that is being listed.
struct Open<'o> {
    node: NodeId,
    path: &'o [u8],
    handle: &'o Arc<DirHandle>,
    depth: usize,
}

impl Scanner {
    pub(super) fn list_path(&self, root: &Root, path: &[u8], scan: Scan, trip: &mut Trip<'_>) -> Result<()> {
        if self.is_excluded(path, Some(true)) {
            return Ok(());
        }
        let Some((node, handle)) = self.open_known(root, path, trip)? else { return Ok(()) };
        if scan == Scan::Recursive {
            let at = |source| ScanError::Io { path: path.to_vec(), source };
            let ino = self.fs().stat_dir(&handle).map_err(at)?.ino;
            trip.pending.push(Pending { node, path: path.to_vec(), ino, depth: 0, reason: Reason::Below });
            return Ok(());
        }
        self.list_entries(root, &Open { node, path, handle: &handle, depth: 0 }, Reason::Crowd, trip)
    }

    /// Lists a directory whose turn has come, unless it is not there any more or another one has its path.
    pub(super) fn list(&self, root: &Root, dir: &Pending, trip: &mut Trip<'_>) -> Result<()> {
        if dir.depth > DEPTH_MAX || !self.workshop.may_go_on() {
            return Ok(());
        }
        let handle = match self.open(root, &dir.path) {
            Ok(handle) => Arc::new(handle),
            Err(ScanError::Io { source, .. }) => return self.unreadable(root, &dir.path, &source, trip),
            Err(error) => return Err(error),
        };
        match self.fs().stat_dir(&handle) {
            Ok(stat) if stat.ino == dir.ino => {
                let open = Open { node: dir.node, path: &dir.path, handle: &handle, depth: dir.depth };
                self.list_entries(root, &open, dir.reason, trip)
            }
            Ok(_) => {
                (self.workshop.tell)(Event::Again(Again::Tree(dir.path.clone())));
                Ok(())
            }
            Err(error) => self.unreadable(root, &dir.path, &error, trip),
        }
    }

    /// Compares the entries of a directory with its bindings. With [`Reason::Below`] its subdirectories follow.
    fn list_entries(&self, root: &Root, open: &Open<'_>, reason: Reason, trip: &mut Trip<'_>) -> Result<()> {
        let Open { node: dir, path: dir_path, handle, depth } = *open;
        tracing::trace!(path = %dir_path.escape_ascii(), ?reason, "listed");
        let tally = &self.workshop.tally;
        count(
            if trip.reconciling.is_some() {
                &tally.directories_reconciled
            } else {
                &tally.directories_listed
            },
            1,
        );
        if self.closed.has(dir_path) {
            self.watch_anew(dir_path);
        }
        let entries = match self.list_heeding_tag(dir_path, handle) {
            Ok(entries) => entries,
            Err(error) => return self.unreadable(root, dir_path, &error, trip),
        };
        let bound = self.head().view().list(dir)?;
        let mut bound: HashMap<Vec<u8>, Entry> =
            bound.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        for entry in entries {
            let path = join(dir_path, &entry.name);
            let known = bound.remove(&entry.name);
            if self.is_excluded(&path, entry.kind_hint.map(|kind| kind == Kind::Dir)) {
                self.uncover(known, trip)?;
                continue;
            }
            match self.fs().stat(handle, &entry.name) {
                Ok(stat) if self.is_excluded_after_all(&path, &entry, &stat) => self.uncover(known, trip)?,
                Ok(stat) => {
                    let seen =
                        Seen { dir, handle, name: &entry.name, path: &path, stat: &stat, reason, depth };
                    self.compare(root, &seen, known, trip)?;
                }
                Err(error) if is_gone(&error) => {
                    trip.gone.extend(known.map(|entry| Gone { entry, path, marks: Marks::GONE }));
                }
                // Without the right to look into the directory, its names are all that can be had.
                Err(error) => self.unreadable(root, dir_path, &error, trip)?,
            }
        }
        for (name, entry) in bound {
            let path = join(dir_path, &name);
            if trip.gone.len() >= GONE_MAX {
                // A rename out of here would show as deleted and created: known content, one link less in the history.
                self.unbind(&entry, Unbound::Deleted, trip)?;
                continue;
            }
            trip.gone.push(Gone { entry, path, marks: Marks::GONE });
        }
        self.readable(dir_path);
        Ok(())
    }
}

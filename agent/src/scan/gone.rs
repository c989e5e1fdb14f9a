//! Names that are not there any more: looked at last, in case they turn up elsewhere.
//!
//! Owns the unbinding, and the search for what was written under a name before it went.

use asof_journal::types::{Kind, NodeId, Op, Unbound};
use asof_journal::view::Entry;

use super::compare::same;
use super::{Result, Root, Scanner, Trip, split};
use crate::fs::Stat;
use crate::run::{Again, Event};
use crate::settle::Marks;

/// Files that a name stood for before, looked at for one hint: whoever has an older one open is found by a check.
const FORMER_MAX: usize = 4;

impl Scanner {
    /// Looks at what was gone once more, now that everything else was looked at, and unbinds what still is.
    pub(super) fn bury(&self, root: &Root, trip: &mut Trip<'_>) -> Result<()> {
        while let Some(gone) = trip.gone.pop() {
            if self.is_stopping() {
                return Ok(());
            }
            let view = self.head().view();
            let bound = view.lookup(gone.entry.dir, &gone.entry.name)?;
            if bound.is_none_or(|bound| bound.node != gone.entry.node) {
                continue; // it was found elsewhere meanwhile, or something else has the name
            }
            let (parent, name) = split(&gone.path);
            let there = root
                .handle
                .relative(parent)
                .and_then(|relative| self.fs().open_dir(&root.handle, relative).ok())
                .is_some_and(|dir| self.fs().stat(&dir, name).is_ok());
            if there {
                (self.workshop.tell)(Event::Again(Again::Name(gone.path)));
            } else {
                let lost = gone.entry.kind == Kind::File
                    && gone.marks.any(Marks::LOST.with(Marks::UNREAD))
                    && view.bindings_of(gone.entry.node)?.len() == 1;
                let why = if lost { Unbound::Unread } else { Unbound::Deleted };
                self.unbind(&gone.entry, why, trip)?;
                self.forget_closed(&gone.path);
                let Entry { dir, name, node, kind, .. } = &gone.entry;
                self.look_at_left_behind(root, (*node, *kind), (*dir, name), gone.marks, trip)?;
            }
        }
        Ok(())
    }

    /// A hint named something in a directory that is not there any more.
    pub(super) fn look_at_lost(
        &self,
        root: &Root,
        path: &[u8],
        marks: Marks,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        let view = self.head().view();
        let mut at = (NodeId::ROOT, Kind::Dir);
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            match view.last_bound(at.0, name)? {
                Some(next) if at.1 == Kind::Dir => at = next,
                _ => {
                    tracing::trace!(path = %path.escape_ascii(), ?marks, "leads nowhere");
                    return Ok(());
                }
            }
        }
        match at {
            (node, Kind::File) => self.look_at_other_names(root, node, None, marks, trip),
            _ => Ok(()),
        }
    }

    /// Whether a name stands for what it stood for, and that is as it was.
    pub(super) fn is_unchanged(&self, bound: Option<&Entry>, stat: &Stat) -> Result<bool> {
        let Some(entry) = bound else { return Ok(false) };
        let known = self.head().view().version(entry.node)?;
        Ok(known.is_some_and(|known| same(&known.version, stat)))
    }

    /// A hint says that a name was written to, and it was not: whoever has the file open that the name stood for before
    /// writes under the name that it was opened by. Its other names have no event of that.
    pub(super) fn look_at_former(
        &self,
        root: &Root,
        name: (NodeId, &[u8]),
        marks: Marks,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        if !marks.any(Marks::CONTENT) {
            return Ok(());
        }
        let (dir, name) = name;
        let view = self.head().view();
        let now = view.lookup(dir, name)?.map(|entry| entry.node);
        for (node, kind) in view.nodes_bound(dir, name, FORMER_MAX)? {
            if kind == Kind::File && Some(node) != now {
                self.look_at_other_names(root, node, None, marks, trip)?;
            }
        }
        Ok(())
    }

    /// A name was taken from what had it. Files that live on under further names may have been written under that one, or
    /// below it, and no event of the others tells.
    pub(super) fn look_at_left_behind(
        &self,
        root: &Root,
        former: (NodeId, Kind),
        lost: (NodeId, &[u8]),
        marks: Marks,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        match former {
            (node, Kind::File) => self.look_at_other_names(root, node, Some(lost), marks, trip),
            (node, Kind::Dir) => {
                // Mostly empty by now: what was in it went before it did. Not if it was made anew at once.
                let view = self.head().view();
                for Entry { name, node: below, kind, .. } in view.list(node)? {
                    self.look_at_left_behind(root, (below, kind), (node, &name), Marks::CLOSED, trip)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A file may have been written under a name that is gone now; its other names had no event of that. `lost`: a name that
    /// is just being taken from it.
    fn look_at_other_names(
        &self,
        root: &Root,
        node: NodeId,
        lost: Option<(NodeId, &[u8])>,
        marks: Marks,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        // Once: the other names may be lost too, and would lead back here.
        if !trip.lost.insert(node) {
            return Ok(());
        }
        let view = self.head().view();
        for (dir, name) in view.bindings_of(node)? {
            if lost != Some((dir, &name))
                && let Some(path) = view.path_in(dir, &name)?
            {
                self.look_at_path(root, &path, marks, trip)?;
            }
        }
        Ok(())
    }

    /// Records that a name stands for nothing any more, unless what it stood for is just being found elsewhere.
    pub(super) fn unbind(&self, entry: &Entry, why: Unbound, trip: &mut Trip<'_>) -> Result<()> {
        if self.claims.holds_node(entry.node) {
            // It may be captured under its new name right now: that group says that it moved.
            self.hand_on(trip)?;
            self.claims.wait_for_node(entry.node);
        }
        let _claim = self.claim(entry.dir, &entry.name, None, trip)?;
        let bound = self.head().view().lookup(entry.dir, &entry.name)?;
        if bound.is_none_or(|bound| bound.node != entry.node) {
            return Ok(());
        }
        let op =
            Op::Unbind { dir: entry.dir, name: entry.name.clone(), node: entry.node, kind: entry.kind, why };
        self.submit(vec![op], trip.hinted, trip.ticket).map(|_| ())
    }
}

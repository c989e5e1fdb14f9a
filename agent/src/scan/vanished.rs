//! What came and went before it could be read: the journal says that it existed and was not captured.
//!
//! Owns the decision what is missed and what is only somewhere else. Reads nothing: there is nothing to be read.

use asof_journal::temporary::is_temporary;
use asof_journal::types::{Gap, GapReason, Kind, NodeId, Op, Unbound};

use super::{Result, Root, Scanner, Trip, phantom};
use crate::pool::count;
use crate::run::{Again, Event};
use crate::settle::{Marks, Scan, Work};

impl Scanner {
    /// Lists what a piece of work names. Of the entries that were deleted according to its hints, those that the journal
    /// does not have were missed.
    pub(super) fn list_counting(&self, root: &Root, work: &Work, trip: &mut Trip<'_>) -> Result<()> {
        // Of a directory that went, or went elsewhere, the journal has the entries still: its own line tells.
        let is_there = self.open(root, &work.path).is_ok();
        let known = trip.gone.len();
        self.list_path(root, &work.path, work.scan, trip)?;
        // In a recursive scan the directories that went took entries with them that the journal still has.
        match work.scan {
            Scan::Entries if is_there => {
                let unread = work.deletions.saturating_sub(trip.gone.len().saturating_sub(known) as u64);
                self.crowd_vanished(&work.path, unread, trip)
            }
            _ => Ok(()),
        }
    }

    /// A hint named something that the journal does not know and that is not there any more.
    pub(super) fn look_at_nothing(
        &self,
        root: &Root,
        dir: (NodeId, &[u8]),
        name: &[u8],
        marks: Marks,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        self.look_at_phantom(root, dir, name, marks, trip)?;
        self.look_at_former(root, (dir.0, name), marks, trip)?;
        // What a restore in place replaces has such a name for a moment; the journal holds it.
        match phantom::is_phantom(name) || is_temporary(name) {
            true => Ok(()),
            false => self.missed(dir.0, name, &super::join(dir.1, name), marks, trip),
        }
    }

    /// It has been deleted unread, or was renamed and is read elsewhere.
    fn missed(&self, dir: NodeId, name: &[u8], path: &[u8], marks: Marks, trip: &Trip<'_>) -> Result<()> {
        // A file that was deleted while it is open is hinted at under its old name as long as it is written to.
        let came = Marks::APPEARED.with(Marks::APPEARED_DIR).with(Marks::MOVED_TO).with(Marks::MISSED);
        if !marks.any(came) || self.is_excluded(path, Some(marks.any(Marks::APPEARED_DIR))) {
            return Ok(());
        }
        if marks.any(Marks::LOST.with(Marks::MISSED)) {
            return self.vanished(dir, name, marks, trip);
        }
        if marks.any(Marks::UNREAD) {
            // Deleted, or renamed and captured elsewhere: the hint that tells is on its way.
            (self.workshop.tell)(Event::Again(Again::Missed(path.to_vec())));
        }
        Ok(())
    }

    /// Records that something came and went under a name before it could be read.
    pub(super) fn vanished(&self, dir: NodeId, name: &[u8], marks: Marks, trip: &Trip<'_>) -> Result<()> {
        let kind = if marks.any(Marks::APPEARED_DIR) { Kind::Dir } else { Kind::File };
        // The history of the name goes on behind it.
        let last = self.head().view().last_bound(dir, name)?.filter(|(_, last)| *last == kind);
        let node = last.map_or_else(|| self.head().new_node(), |(node, _)| node);
        let op = Op::Unbind { dir, name: name.to_vec(), node, kind, why: Unbound::Unread };
        self.submit(vec![op], trip.hinted, trip.ticket).map(|_| ())
    }

    /// The same for so many in one directory that their names were not kept: a gap says how many. What
    /// is captured meanwhile and deleted again may be counted twice.
    fn crowd_vanished(&self, dir: &[u8], number: u64, trip: &Trip<'_>) -> Result<()> {
        if number == 0 {
            return Ok(());
        }
        let now = self.workshop.clock.now().wall;
        let gap = Gap {
            scope: dir.to_vec(),
            from: trip.hinted.unwrap_or(now),
            until: now,
            reason: GapReason::VanishedUnread,
            detail: format!("about {number} entries came and went before they could be read"),
        };
        count(&self.workshop.tally.gaps, 1);
        self.submit(vec![Op::Gap(gap)], trip.hinted, trip.ticket).map(|_| ())
    }
}

//! The appender on a full medium: the reserve becomes the next segment, and what does not fit waits.
//!
//! Decides nothing about capture: whoever stages less while [`Appender::is_short`] keeps memory bounded.

use std::path::Path;

use super::{Appender, Mark, Staged};
use crate::error::{IoContext, Result};
use crate::head::Submission;
use crate::index::apply;
use crate::storage::AppendFile;
use crate::types::{ClockReading, Group, Op};

impl Submission {
    /// The gaps among its operations.
    pub fn gaps(&self) -> Vec<Op> {
        gaps_of(&self.groups)
    }
}

fn gaps_of(groups: &[Group]) -> Vec<Op> {
    let ops = groups.iter().flat_map(|group| &group.ops);
    ops.filter(|op| matches!(op, Op::Gap(_))).cloned().collect()
}

impl Appender {
    /// Whether a commit met a full medium, and [`Appender::look_for_room`] has found no room since. Commits go into the
    /// reserve meanwhile as long as they fit, and fail with `Full` once they do not.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Notes that there is no room; gives whether there is a reserve to try it with.
    pub(super) fn runs_short(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.is_short, true);
        first && self.reserve.is_held()
    }

    /// Whether there is room: for what comes next and for another reserve, which is made. Then everything is as before.
    pub fn look_for_room(&mut self) -> bool {
        if !self.is_short {
            return true;
        }
        if !self.reserve.make() {
            return false;
        }
        self.is_short = false;
        if let Some(segment) = self.segment.take_if(|segment| segment.reserved.is_some()) {
            self.seal(segment);
        }
        true
    }

    /// The file of a new segment, and how long it may become if it was the reserve.
    pub(super) fn new_file(&mut self, path: &Path) -> Result<(Box<dyn AppendFile>, Option<u64>)> {
        if self.is_short
            && self.reserve.is_held()
            && let Ok((file, most)) = self.reserve.take(path)
        {
            return Ok((file, Some(most)));
        }
        Ok((self.storage.create(path).context(path)?, None))
    }

    /// Gives up what is staged and was never durable, but for the gaps in it, and those that the caller adds: the end,
    /// when there was no room to the last. Nothing else may be staged afterwards.
    ///
    /// # Errors
    /// As for [`Appender::commit`].
    pub fn last_words(&mut self, clock: &ClockReading, mut gaps: Vec<Op>) -> Result<Option<Mark>> {
        let staged = std::mem::take(&mut self.staged);
        gaps.splice(..0, gaps_of(&staged.groups));
        if gaps.is_empty() {
            return Ok(None);
        }
        let group = Group { ops: gaps, ..Group::default() };
        let mut entries = Vec::new();
        // Under the number that is next in the log: those of what is given up were never used.
        apply::group(self.applied.last_seq.next(), &group, &mut entries);
        self.staged = Staged { groups: vec![group], entries, ..Staged::default() };
        let said = self.commit(clock, None);
        // What could not be said now, the end in good order does not try again.
        self.staged = Staged::default();
        said
    }
}

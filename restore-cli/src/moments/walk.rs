//! Changes and moments out of the journal, newest first and a little at a time: whoever asks says for how long.
//!
//! Reads no further back than it was asked to, and holds one moment at most.

use asof_journal::history::{self, Change, What};
use asof_journal::reader::Reader;
use asof_journal::types::{Instant, Kind, Seq};
use asof_journal::view::{GapAt, is_below};

use super::{Breaks, Grouper, Inside, Limits, Moment, Placed, is_shown};
use crate::errors::Result;

/// What went along with a directory is counted this far.
const COUNTED_MAX: u64 = 200_000;

/// The way back through what happened to a directory and below it.
#[derive(Debug)]
pub(crate) struct Walk {
    dir: Vec<u8>,
    after: Seq,
    reached: Seq,
}

impl Walk {
    /// From `until` back to `after`, which is not part of it.
    pub(crate) fn new(dir: Vec<u8>, after: Seq, until: Seq) -> Walk {
        Walk { dir, after, reached: until }
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.reached <= self.after
    }

    /// What happened after this place has been read.
    pub(crate) fn reached(&self) -> Seq {
        self.reached
    }

    /// Goes on for so long as `wants` says, which is asked between two observations.
    pub(crate) fn read(
        &mut self,
        reader: &Reader,
        wants: &dyn Fn() -> bool,
        take: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let mut failed = None;
        let (after, until) = (self.after, self.reached);
        self.reached = history::below_while(reader, &self.dir, after, until, wants, &mut |change| {
            failed = take(change).err();
            failed.is_none()
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// The moments of a directory.
#[derive(Debug)]
pub(crate) struct Stream {
    walk: Walk,
    grouper: Grouper,
}

impl Stream {
    /// From `until` back to `after`, which is not part of it.
    pub(crate) fn new(dir: Vec<u8>, after: Seq, until: Seq, breaks: Breaks) -> Stream {
        let grouper = Grouper::new(dir.clone(), Limits::default(), breaks);
        Stream { walk: Walk::new(dir, after, until), grouper }
    }

    /// Whether nothing is left.
    pub(crate) fn is_done(&self) -> bool {
        self.walk.is_over()
    }

    /// What happened after this place has been read.
    pub(crate) fn reached(&self) -> Seq {
        self.walk.reached()
    }

    /// Goes on for so long as `wants` says; hands over the moments that got whole.
    pub(crate) fn read(
        &mut self,
        reader: &Reader,
        wants: &dyn Fn() -> bool,
        take: &mut dyn FnMut(Moment) -> Result<()>,
    ) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        let grouper = &mut self.grouper;
        self.walk.read(
            reader,
            wants,
            &mut |change| match grouper.push(&change, inside(reader, &change)?) {
                Some(moment) => take(moment),
                None => Ok(()),
            },
        )?;
        match self.grouper_at_end() {
            Some(moment) => take(moment),
            None => Ok(()),
        }
    }

    fn grouper_at_end(&mut self) -> Option<Moment> {
        if self.walk.is_over() { self.grouper.finish() } else { None }
    }
}

/// The gaps that are shown beside the moments of a directory, in the order in which they began.
pub(crate) fn gaps(reader: &Reader, dir: &[u8]) -> Result<Vec<Placed>> {
    let mut placed = Vec::new();
    for GapAt { gap, begun } in reader.view(reader.head()).gaps_in_order()? {
        if !is_shown(&gap, dir) {
            continue;
        }
        let place = match begun {
            Some(begun) => begun,
            // Recorded when it was over, by an agent that saw it begin: the clock tells.
            None => reader.at_instant(gap.from)?.map_or(Seq::ZERO, |resolved| resolved.moment.seq),
        };
        placed.push(Placed { gap, place });
    }
    placed.sort_by_key(|placed| (placed.place, placed.gap.from));
    Ok(placed)
}

/// What stands between the moments of a directory that has these gaps.
pub(crate) fn breaks(reader: &Reader, gaps: &[Placed], dir: &[u8]) -> Result<Breaks> {
    let mut places: Vec<Seq> = reader.marks()?.iter().map(|mark| mark.moment.seq).collect();
    for restore in reader.restores()? {
        places.push(restore.begun.seq);
        places.extend(restore.done.map(|(moment, _)| moment.seq));
    }
    Ok(Breaks::new(places, gaps, dir))
}

/// What lay below a directory when it went: the history has a word of the directory alone.
fn inside(reader: &Reader, change: &Change) -> Result<Inside> {
    let mut inside = Inside::default();
    if !matches!(&change.what, What::Deleted { kind: Kind::Dir, .. }) {
        return Ok(inside);
    }
    let view = reader.view(change.seq.previous());
    let mut dirs = vec![change.node];
    while let Some(dir) = dirs.pop() {
        for entry in view.list(dir)? {
            match entry.kind {
                Kind::Dir => {
                    inside.dirs += 1;
                    dirs.push(entry.node);
                }
                _ => inside.files += 1,
            }
        }
        if inside.files + inside.dirs >= COUNTED_MAX {
            inside.is_least = !dirs.is_empty();
            break;
        }
    }
    Ok(inside)
}

/// The place before a path began to go away, of which the last bit went at `gone`: its entries may have gone one by one
/// before it went itself. Looks back for so long as `wants` says.
pub(crate) fn before(reader: &Reader, path: &[u8], gone: Seq, wants: &dyn Fn() -> bool) -> Result<Seq> {
    let (mut began, mut at): (Seq, Option<Instant>) = (gone, None);
    let pause = Limits::default().pause_ns.unsigned_abs();
    history::below_while(reader, path, Seq::ZERO, gone, wants, &mut |change| {
        let is_close = at.is_none_or(|at| at.0.abs_diff(change.instant.0) <= pause);
        let went = match &change.what {
            What::Named { .. } => return true,
            What::Deleted { .. } | What::Uncovered => true,
            What::Renamed { .. } => !is_below(&change.path, path),
            _ => false,
        };
        if went && is_close {
            (began, at) = (change.seq, Some(change.instant));
        }
        went && is_close
    })?;
    Ok(began.previous())
}

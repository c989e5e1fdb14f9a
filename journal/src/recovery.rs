//! What opening a journal does after a crash: where the log ends, what is damaged, what the index lacks.
//!
//! Unsynced pages reach the disk in any order, so a bad frame with good ones behind it is an ordinary power cut, if it
//! lies above the durable point that the newest batches attest. Below that point it is damage: reported, never cut away.

use crate::content::codec::Codec;
use crate::error::{Error, Result};
use crate::format::batch::Batch;
use crate::format::frame::{Chain, FrameType};
use crate::index::apply::BatchPlace;
use crate::index::keys::Applied;
use crate::segments::{Damage, FrameWalk, SegmentFile, SegmentSet, Walked, walk_batches};
use crate::types::Position;

/// Where the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Right behind the last batch that counts; the default (segment 0) in a journal without segments.
    pub end: Position,
    /// The chain's value there.
    pub chain: Chain,
    /// Bytes behind it that do not count.
    pub torn_bytes: u64,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Where the log ended.
    pub tail: Tail,
    /// What is not as it was written.
    pub damage: Vec<Damage>,
    /// Batches that the index did not have.
    pub replayed: u64,
    /// Why the index was rebuilt from the segments, if it was.
    pub rebuilt: Option<String>,
}

/// Finds the end of the log.
///
/// # Errors
/// `Io`.
pub fn find_tail(set: &SegmentSet) -> Result<Tail> {
    match set.last() {
        Some(segment) => tail_behind(segment, Known::start_of(segment), None),
        None => Ok(Tail::default()),
    }
}

/// The same without walking what an index has of the newest segment: `last` is the frame of the last batch that the
/// index was made from. Gives the end, and what was met on the way there: all that the index lacks. Where the batch is not
/// found as the index says, everything is walked, and nothing kept.
///
/// # Errors
/// `Io`.
pub fn find_tail_behind(
    set: &SegmentSet,
    applied: &Applied,
    last: Position,
) -> Result<(Tail, Option<Vec<Walked>>)> {
    match set.last() {
        Some(segment) if segment.id == applied.end.segment && holds(segment, applied, last) => {
            // Only what is durable gets into an index.
            let known = Known { end: applied.end.offset, chain: applied.chain, durable: applied.end };
            let mut met = Vec::new();
            let tail = tail_behind(segment, known, Some(&mut met))?;
            met.retain(|walked| match walked {
                Walked::Batch(_, place) => place.end <= tail.end,
                Walked::Damage(damage) => damage.at < tail.end,
            });
            Ok((tail, Some(met)))
        }
        _ => Ok((find_tail(set)?, None)),
    }
}

/// Whether the batch at a place is the last one that an index was made from: it ends where the index ends, and the chain
/// over all frame headers up to there, which hold the checksums of the bodies, has the value that the index says.
fn holds(segment: &SegmentFile, applied: &Applied, last: Position) -> bool {
    let held = || {
        let header = segment.frame_header(last.offset).ok()?;
        let batch = segment.batch(last.offset, &mut Codec::default()).ok()?;
        let end = last.offset + header.frame_len();
        let chain = batch.chain_before.after(&header.encode(segment.header.salt));
        Some(end == applied.end.offset && chain == applied.chain)
    };
    last.segment == segment.id && held().unwrap_or(false)
}

/// How far a segment is known to hold, without a look at it.
#[derive(Clone, Copy)]
struct Known {
    /// Where a batch ends, or the first frame begins.
    end: u64,
    /// The chain's value there.
    chain: Chain,
    /// The greatest durable point that is attested up to there.
    durable: Position,
}

impl Known {
    fn start_of(segment: &SegmentFile) -> Known {
        Known { end: segment.start, chain: segment.first_chain(), durable: segment.header.durable }
    }
}

fn tail_behind(segment: &SegmentFile, known: Known, mut met: Option<&mut Vec<Walked>>) -> Result<Tail> {
    let len = segment.len()?;
    let mut batches: Vec<BatchPlace> = Vec::new();
    let mut first_bad: Vec<u64> = Vec::new();
    let mut durable = known.durable;
    let footer = walk_batches(segment, known.end, known.chain, len, &mut |walked| {
        match &walked {
            Walked::Batch(batch, place) => {
                durable = durable.max(batch.durable);
                batches.push(*place);
            }
            Walked::Damage(damage) => first_bad.push(damage.at.offset),
        }
        if let Some(met) = &mut met {
            met.push(walked);
        }
        Ok(())
    })?;
    // A segment is sealed when everything before the footer is durable.
    let attested = match footer {
        Some(footer) => footer,
        None if durable.segment == segment.id => durable.offset,
        None => segment.start,
    };
    first_bad.retain(|&offset| offset >= attested);
    first_bad.extend(first_bad_body(segment, known, &batches, attested)?);
    let limit = first_bad.into_iter().min().unwrap_or(u64::MAX);
    let last = batches.iter().rev().find(|place| place.end.offset <= limit);
    let (end, chain) = match last {
        Some(place) => (place.end.offset, place.chain),
        None => (known.end, known.chain),
    };
    // Where the batch is damaged that ended at the attested point, the log goes on to it all the same: damage is not
    // cut away.
    let end = end.max(attested);
    let counted = Position { segment: segment.id, offset: end };
    Ok(Tail { end: counted, chain, torn_bytes: torn(segment, end, len) })
}

/// The first content frame above the attested point whose bytes are not all there.
fn first_bad_body(
    segment: &SegmentFile,
    known: Known,
    batches: &[BatchPlace],
    attested: u64,
) -> Result<Option<u64>> {
    // The last batch at or below the attested point: from there on nothing is known to be on the medium.
    let start = batches.iter().rev().find(|place| place.end.offset <= attested);
    let (from, chain) = match start {
        Some(place) => (place.end.offset, place.chain),
        None => (known.end, known.chain),
    };
    let mut walk = FrameWalk::new(segment, from, chain, segment.len()?);
    while let Some(frame) = walk.next_frame()? {
        if frame.header.frame_type == Some(FrameType::Batch) {
            continue;
        }
        match segment.body(frame.offset, &frame.header) {
            Ok(_) => {}
            Err(Error::Corrupt { .. }) => return Ok(Some(frame.offset)),
            // What could not be read now may be whole, and must not be given up.
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Bytes behind the end that are neither a footer nor nothing.
fn torn(segment: &SegmentFile, end: u64, len: u64) -> u64 {
    let sealed = segment.frame_header(end).is_ok_and(|header| header.frame_type == Some(FrameType::Footer));
    if sealed { 0 } else { len.saturating_sub(end) }
}

/// Why an index that has come this far is of no use for this log; `None` where it is of use.
///
/// # Errors
/// `Io`.
pub fn stale(applied: &Applied, set: &SegmentSet, tail: &Tail) -> Result<Option<String>> {
    if applied.end > tail.end {
        return Ok(Some(format!("it knows of {:?}, the log ends at {:?}", applied.end, tail.end)));
    }
    let Some(segment) = set.segments.get(&applied.end.segment) else {
        return Ok(Some(format!("it was made from {}, which is not there", applied.end.segment)));
    };
    let end = set.end(segment)?;
    Ok((applied.end.offset > end).then(|| format!("it knows of more than {end} bytes of {}", segment.id)))
}

/// Visits every batch that counts behind `from`, in the order of the log, and notes what is damaged.
///
/// # Errors
/// `Io`, and those of the visitor.
pub fn replay(
    set: &SegmentSet,
    tail: &Tail,
    from: &Applied,
    damage: &mut Vec<Damage>,
    visit: &mut dyn FnMut(&Batch, &BatchPlace) -> Result<()>,
) -> Result<()> {
    damage.extend(set.damage.iter().cloned());
    for segment in set.segments.range(from.end.segment..).map(|(_, segment)| segment) {
        let (start, chain) = if segment.id == from.end.segment {
            (from.end.offset, from.chain)
        } else {
            (segment.start, segment.first_chain())
        };
        let end = if segment.id == tail.end.segment { tail.end.offset } else { set.end(segment)? };
        walk_batches(segment, start, chain, end, &mut |walked| match walked {
            Walked::Batch(batch, place) => visit(&batch, &place),
            Walked::Damage(found) => {
                damage.push(found);
                Ok(())
            }
        })?;
    }
    Ok(())
}

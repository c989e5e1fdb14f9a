//! What opening a journal does after a crash: where the log ends, what is damaged, what the index lacks.
//!
//! Unsynced pages reach the disk in any order, so a bad frame with good ones behind it is an ordinary power cut, if it
//! lies above the durable point that is attested: by the newest batches, by a footer, by an index of this log. Below
//! that point it is damage: reported, never cut away.

use crate::blocks;
use crate::content::codec::Codec;
use crate::error::{Error, Result};
use crate::format::frame::{Chain, FrameType};
use crate::index::apply::{self, BatchPlace};
use crate::index::db::Db;
use crate::index::keys::{self, Applied, BatchAt};
use crate::index::{Cf, Entry};
use crate::segments::{Damage, FrameWalk, SegmentFile, SegmentSet, Walked, walk_batches};
use crate::storage::Layout;
use crate::types::{Position, SegmentId, Seq};

/// Where the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Right behind the last batch that counts, or at the attested point where damage lies before it; the default
    /// (segment 0) in a journal without segments.
    pub end: Position,
    /// The chain's value there; all zeros where nobody knows it any more.
    pub chain: Chain,
    /// Bytes behind it that do not count.
    pub torn_bytes: u64,
    /// The last `Seq` that was given out, as far as the footer or the index knows: the batch that held it may be damaged.
    pub last_seq: Seq,
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

/// Finds the end of the log. `index` is how far the index has come: only what is durable gets there, so where it is of
/// this log, it attests.
///
/// # Errors
/// `Io`.
pub fn find_tail(set: &SegmentSet, index: Option<&Applied>) -> Result<Tail> {
    let Some(segment) = set.last() else {
        return Ok(Tail::default());
    };
    let here = index.filter(|applied| applied.end.segment == segment.id);
    let tail = tail_of(segment, here, Known::start_of(segment), None)?;
    Ok(Tail { last_seq: tail.last_seq.max(index.map_or(Seq::ZERO, |applied| applied.last_seq)), ..tail })
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
            let known = Known { end: applied.end.offset, chain: Some(applied.chain) };
            let mut met = Vec::new();
            let tail = tail_of(segment, Some(applied), known, Some(&mut met))?;
            met.retain(|walked| match walked {
                Walked::Batch(_, place) => place.end <= tail.end,
                Walked::Damage(damage) => damage.at < tail.end,
                Walked::Orphan(frame) => frame.offset < tail.end.offset,
            });
            Ok((Tail { last_seq: tail.last_seq.max(applied.last_seq), ..tail }, Some(met)))
        }
        _ => Ok((find_tail(set, Some(applied))?, None)),
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
    last.segment == segment.id && segment.header.salt == applied.salt && held().unwrap_or(false)
}

/// How far a segment is known to hold, without a look at it: where a batch ends, or the first frame begins, and the chain's
/// value there.
#[derive(Clone, Copy)]
struct Known {
    end: u64,
    chain: Option<Chain>,
}

impl Known {
    fn start_of(segment: &SegmentFile) -> Known {
        Known { end: segment.start, chain: segment.first_chain() }
    }
}

/// Where the bytes of a segment that count end: what its successor says, else what the tail rule says.
///
/// # Errors
/// `Io`.
pub fn end_of(set: &SegmentSet, segment: &SegmentFile) -> Result<u64> {
    match set.end_as_followed(segment) {
        Some(end) => Ok(end),
        None => Ok(tail_of(segment, None, Known::start_of(segment), None)?.end.offset),
    }
}

/// The end of a segment that nothing is known to follow.
fn tail_of(
    segment: &SegmentFile,
    index: Option<&Applied>,
    known: Known,
    mut kept: Option<&mut Vec<Walked>>,
) -> Result<Tail> {
    let len = segment.len()?;
    let mut batches: Vec<BatchPlace> = Vec::new();
    let mut bad: Vec<u64> = Vec::new();
    let mut durable = segment.header.durable;
    let footer = walk_batches(segment, known.end, known.chain, len, &mut |walked| {
        match &walked {
            Walked::Batch(batch, place) => {
                durable = durable.max(batch.durable);
                batches.push(*place);
            }
            Walked::Damage(damage) => bad.push(damage.at.offset),
            Walked::Orphan(_) => {}
        }
        if let Some(kept) = &mut kept {
            kept.push(walked);
        }
        Ok(())
    })?;
    // Footer and trailer are written after everything before them was synced.
    let (met, mut codec) = (footer, Codec::default());
    let footer = segment.footer(met, &mut codec)?;
    let sealed = match &footer {
        Some((offset, _)) => Some(*offset),
        None => segment.trailer()?.filter(|at| met.is_none_or(|met| met == *at)),
    };
    let index = index.filter(|applied| applied.salt == segment.header.salt);
    let mut attested = if durable.segment == segment.id { durable.offset } else { segment.start };
    attested = attested.max(sealed.unwrap_or(0));
    attested = attested.max(index.map_or(0, |applied| applied.end.offset));
    bad.retain(|&offset| offset >= attested);
    bad.extend(first_bad_body(segment, known, &batches, attested)?);
    // What ends behind the file, if only by what fills its last frame up, was not written to its end.
    let limit = bad.into_iter().min().unwrap_or(len).min(len);
    let last = batches.iter().rev().find(|place| place.end.offset <= limit);
    let (mut end, mut chain) = match last {
        Some(place) => (place.end.offset, place.chain),
        None => (known.end, known.chain.unwrap_or_default()),
    };
    if end < attested {
        // What was durable there is damaged, and stays part of the log.
        end = attested;
        let told = footer.as_ref().filter(|(offset, _)| *offset == attested).map(|(_, footer)| footer.chain);
        let known = index.filter(|applied| applied.end.offset == attested).map(|applied| applied.chain);
        chain = told.or(known).unwrap_or_default();
    }
    let given = footer.as_ref().and_then(|(_, footer)| footer.seqs).map(|seqs| seqs.1);
    let torn_bytes = if sealed.is_some() { 0 } else { torn(segment, end, len) };
    Ok(Tail {
        end: Position { segment: segment.id, offset: end },
        chain,
        torn_bytes,
        last_seq: given.unwrap_or_default(),
    })
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
        Some(place) => (place.end.offset, Some(place.chain)),
        None => (known.end, known.chain),
    };
    let mut walk = FrameWalk::new(segment, from, chain, segment.len()?);
    while let Some(frame) = walk.next_frame()? {
        if frame.offset < attested || frame.header.frame_type == Some(FrameType::Batch) {
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

/// How an index stands to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is of this log, and not ahead of it.
    Fits,
    /// It is of this log and knows more than is there: the end of the log is gone.
    Ahead(String),
    /// It is of no use, and says nothing of this log.
    Foreign(String),
}

/// Finds out whether an index that has come this far is of use for this log.
///
/// # Errors
/// `Io`.
pub fn standing(db: &Db, applied: &Applied, set: &SegmentSet, tail: &Tail) -> Result<Standing> {
    let at = applied.end;
    match set.segments.get(&at.segment) {
        Some(segment) if segment.header.salt != applied.salt => {
            Ok(Standing::Foreign(format!("it was made from another segment of the number {}", at.segment.0)))
        }
        Some(segment) => {
            let end = if at.segment == tail.end.segment { tail.end.offset } else { end_of(set, segment)? };
            if at.offset > end {
                return Ok(Standing::Foreign(format!("it knows of more than {end} bytes of {}", at.segment)));
            }
            let len = segment.len()?;
            Ok(match at.offset > len {
                true => Standing::Ahead(format!(
                    "the index knows {} bytes of {}, and {len} are there",
                    at.offset, at.segment
                )),
                false => Standing::Fits,
            })
        }
        None if at.segment < tail.end.segment => {
            // Not the end of the log: what is missing is named with the segments.
            let told = set.missing().iter().any(|(id, _)| *id == at.segment);
            let why = format!("it was made from {}, which is not there", at.segment);
            Ok(if told { Standing::Fits } else { Standing::Foreign(why) })
        }
        None => match of_this_log(db, set)? {
            true => Ok(Standing::Ahead(format!(
                "the index knows of {} to byte {}, which is not there",
                at.segment, at.offset
            ))),
            false => Ok(Standing::Foreign(format!("it was made from {}, which is not there", at.segment))),
        },
    }
}

/// Whether the newest batch that the index and the segments both know is the same one.
fn of_this_log(db: &Db, set: &SegmentSet) -> Result<bool> {
    let mut known = false;
    db.newest_events(&mut |value| {
        let Ok(batch) = BatchAt::decode(value) else { return false };
        let Some(segment) = set.segments.get(&batch.frame.segment) else { return true };
        let header = segment.frame_header(batch.frame.offset);
        known = header.is_ok_and(|header| header.frame_type == Some(FrameType::Batch));
        false
    })?;
    Ok(known)
}

/// What replaying gives.
#[derive(Clone, Copy, Debug)]
pub struct Replayed {
    /// How far the log goes.
    pub applied: Applied,
    /// How many batches were met.
    pub batches: u64,
}

/// Takes entries.
pub type Sink<'s> = &'s mut dyn FnMut(Vec<Entry>) -> Result<()>;

/// Turns everything that counts behind `from` into entries, in the order of the log, and notes what is damaged.
///
/// # Errors
/// `Io`, and those of the visitor.
pub fn replay(
    set: &SegmentSet,
    tail: &Tail,
    from: &Applied,
    damage: &mut Vec<Damage>,
    visit: Sink<'_>,
) -> Result<Replayed> {
    damage.extend(set.damage.iter().cloned());
    let mut done = Replayed { applied: *from, batches: 0 };
    // An index that has come to a place in the log has everything that was compacted before it.
    let lacks = |segment: &SegmentFile| match segment.is_log() {
        true => segment.id >= from.end.segment,
        false => from.end.segment == SegmentId(0),
    };
    for segment in set.in_order().into_iter().filter(|segment| lacks(segment)) {
        let (start, chain) = if segment.id == from.end.segment {
            (from.end.offset, Some(from.chain))
        } else {
            (segment.start, segment.first_chain())
        };
        let end = if segment.id == tail.end.segment { tail.end.offset } else { end_of(set, segment)? };
        walk_batches(segment, start, chain, end, &mut |walked| done.take(segment, walked, damage, visit))?;
        damage.extend(cut_short(segment, start.max(segment.start), end)?);
    }
    let compacted = set.compacted();
    if from.end.segment == SegmentId(0) && !compacted.is_empty() {
        let (key, value) = (keys::COMPACTED.to_vec(), keys::encode_compacted(&compacted));
        visit(vec![Entry { cf: Cf::Meta, key, value }])?;
    }
    done.finish(tail, visit)
}

/// The same with what was met behind the index on the way to the end of the log.
///
/// # Errors
/// As for [`replay`].
pub fn replay_met(
    set: &SegmentSet,
    tail: &Tail,
    from: &Applied,
    met: Vec<Walked>,
    damage: &mut Vec<Damage>,
    visit: Sink<'_>,
) -> Result<Replayed> {
    damage.extend(set.damage.iter().cloned());
    let mut done = Replayed { applied: *from, batches: 0 };
    if let Some(segment) = set.last() {
        for walked in met {
            done.take(segment, walked, damage, visit)?;
        }
        damage.extend(cut_short(segment, from.end.offset, tail.end.offset)?);
    }
    done.finish(tail, visit)
}

impl Replayed {
    fn take(
        &mut self,
        segment: &SegmentFile,
        walked: Walked,
        damage: &mut Vec<Damage>,
        visit: Sink<'_>,
    ) -> Result<()> {
        match walked {
            Walked::Batch(batch, place) if batch.first_seq <= self.applied.last_seq => {
                // Numbers are given once: what has one again is a copy from elsewhere.
                let what = format!("the batch begins at {}, which was given before", batch.first_seq);
                let len = place.end.offset - place.frame.offset;
                damage.push(Damage { path: segment.path.clone(), at: place.frame, len, what });
                Ok(())
            }
            Walked::Batch(batch, place) => {
                let mut entries = Vec::new();
                self.applied = apply::batch(&self.applied, &batch, &place, &mut entries);
                self.batches += 1;
                visit(entries)
            }
            Walked::Orphan(frame) => {
                let Ok(body) = segment.body(frame.offset, &frame.header) else { return Ok(()) };
                let Some(described) = blocks::describe(frame.offset, &frame.header, &body) else {
                    return Ok(());
                };
                let mut entries = Vec::new();
                apply::blocks_of(segment.id, &described, &mut entries);
                visit(entries)
            }
            Walked::Damage(found) => {
                damage.push(found);
                Ok(())
            }
        }
    }

    fn finish(mut self, tail: &Tail, visit: Sink<'_>) -> Result<Replayed> {
        if tail.last_seq > self.applied.last_seq {
            // Their batches are damaged; the numbers are not given out again.
            let mut entries = Vec::new();
            apply::lost_groups(&self.applied, tail.last_seq.next(), &mut entries);
            self.applied.last_seq = tail.last_seq;
            let (key, value) = (keys::APPLIED.to_vec(), self.applied.encode());
            entries.push(Entry { cf: Cf::Meta, key, value });
            visit(entries)?;
        }
        Ok(self)
    }
}

/// What is missing of a segment that others say goes on to `end`.
fn cut_short(segment: &SegmentFile, start: u64, end: u64) -> Result<Option<Damage>> {
    let len = segment.len()?.max(start);
    if len >= end {
        return Ok(None);
    }
    Ok(Some(Damage {
        path: segment.path.clone(),
        at: Position { segment: segment.id, offset: len },
        len: end - len,
        what: format!("the file ends at {len} and went on to {end}"),
    }))
}

/// The damage that an index tells of that is ahead of its log; `None` where the segment tells of it by itself.
pub fn end_is_gone(set: &SegmentSet, layout: &Layout, applied: &Applied, what: &str) -> Option<Damage> {
    let segment = applied.end.segment;
    let what = format!("{what}; the log ended at {}", applied.last_seq);
    let damage = Damage { path: layout.segment(segment), at: Position { segment, offset: 0 }, len: 0, what };
    (!set.segments.contains_key(&segment)).then_some(damage)
}

/// Whether an error says that bytes are not what they were: the rest can be answered all the same.
pub fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::DamagedBlock { .. } | Error::MissingBlock { .. })
}

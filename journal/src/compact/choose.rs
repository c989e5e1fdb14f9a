//! Which segments are compacted: neighbours in the order of the log that have become old enough for the next step of a ladder.

use std::ops::Range;

use crate::error::Result;
use crate::retention::{JournalClock, Keeper, Policy};
use crate::segments::{SegmentFile, SegmentSet};
use crate::types::{SegmentId, Seq};

/// A run has so many bytes at most, before compaction.
const RUN_BYTES_MAX: u64 = 256 << 20;
/// So many segments of it.
const RUN_SEGMENTS_MAX: usize = 1024;
/// Fewer bytes are left until more have come.
const RUN_BYTES_MIN: u64 = 4 << 20;
/// But for so many segments: each costs a file.
const RUN_SEGMENTS_MIN: usize = 64;

/// What is worth a copy of all that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// What frees at least as much as it writes, so that all compactions together never write more than was captured.
    WorthIt,
    /// Whatever frees anything.
    Anything,
}

/// Whether a run is worth it, where so many of its bytes would go.
pub(super) fn is_worth_it(bytes: u64, going: u64, segments: usize, eagerness: Eagerness) -> bool {
    match eagerness {
        Eagerness::Anything => going > 0 || segments > 1,
        Eagerness::WorthIt => {
            let large = bytes >= RUN_BYTES_MIN || segments >= RUN_SEGMENTS_MIN;
            large && going.saturating_mul(2) >= bytes
        }
    }
}

/// The neighbours among these, each with its bytes and those of them that would go, whose compaction frees the most beyond what it writes:
/// a first capture of which everything stays keeps nothing behind it from being compacted. `None` where none is worth it.
pub(super) fn best_stretch(segments: &[(u64, u64)]) -> Option<Range<usize>> {
    let (mut best, mut best_sum) = (None, 0i128);
    let (mut from, mut sum) = (0, 0i128);
    for (at, (bytes, going)) in segments.iter().enumerate() {
        if sum <= 0 {
            (from, sum) = (at, 0);
        }
        sum += 2 * i128::from(*going) - i128::from(*bytes);
        if sum > best_sum {
            (best, best_sum) = (Some(from..at + 1), sum);
        }
    }
    best
}

/// Runs of neighbours that may be due, the oldest first.
pub(super) fn runs(
    set: &SegmentSet,
    clock: &JournalClock,
    policy: &Policy,
    keeper: &Keeper,
    eagerness: Eagerness,
) -> Result<Vec<Vec<SegmentId>>> {
    let ordered = set.in_order();
    let last_log = set.last().map(|segment| segment.id);
    let mut runs: Vec<Vec<SegmentId>> = Vec::new();
    let (mut bytes, mut open) = (0, false);
    for (at, segment) in ordered.iter().enumerate() {
        let next = ordered.get(at + 1);
        let eligible = Some(segment.id) != last_log && is_sound(set, segment)?;
        let last_seq = last_seq(segment, next.map(|next| next.header.first_seq));
        let due = eligible
            && match eagerness {
                Eagerness::Anything => last_seq <= keeper.now(),
                Eagerness::WorthIt => is_due(segment, last_seq, clock, policy, keeper),
            };
        if !due {
            open = false;
            continue;
        }
        let len = segment.len()?;
        let fits =
            runs.last().is_some_and(|run| run.len() < RUN_SEGMENTS_MAX) && bytes + len <= RUN_BYTES_MAX;
        match runs.last_mut().filter(|_| open && fits) {
            Some(run) => {
                run.push(segment.id);
                bytes += len;
            }
            None => {
                runs.push(vec![segment.id]);
                (bytes, open) = (len, true);
            }
        }
    }
    Ok(runs)
}

/// Whether a segment and the one before it in the log end by their own footers, so that they need no other to say it.
fn is_sound(set: &SegmentSet, segment: &SegmentFile) -> Result<bool> {
    let sealed = |segment: &SegmentFile| -> Result<bool> {
        Ok(segment.header_damage.is_none() && (!segment.is_log() || segment.trailer()?.is_some()))
    };
    let before = set.log_before(segment.id).next();
    let before_sealed = match before {
        Some(before) if segment.is_log() => sealed(before)?,
        _ => true,
    };
    Ok(sealed(segment)? && before_sealed)
}

/// The last `Seq` that a segment may hold.
fn last_seq(segment: &SegmentFile, next: Option<Seq>) -> Seq {
    match segment.header.compacted {
        Some(compacted) => compacted.last_seq,
        None => next.map_or(Seq::MAX, Seq::previous),
    }
}

/// Whether a segment has reached a step of some ladder since it was written.
fn is_due(
    segment: &SegmentFile,
    last_seq: Seq,
    clock: &JournalClock,
    policy: &Policy,
    keeper: &Keeper,
) -> bool {
    // Not all of it may go, and what is left then would soon be looked at again.
    if last_seq > keeper.immutable_after() {
        return false;
    }
    let age = |as_of: Seq| clock.time_of(as_of).0.saturating_sub(clock.time_of(last_seq).0);
    let now = age(keeper.now());
    let before = segment.header.compacted.map_or(0, |compacted| age(compacted.as_of));
    let minute = crate::retention::time::MINUTE_NS;
    policy.ladders().iter().flat_map(|ladder| ladder.zones()).any(|zone| {
        let from = i64::try_from(zone.from_minutes).unwrap_or(i64::MAX).saturating_mul(minute);
        let is_first = segment.header.compacted.is_none() && zone.from_minutes > 0;
        now >= from && (before < from || is_first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_stretch_frees_more_than_it_writes() {
        assert_eq!(best_stretch(&[]), None);
        assert_eq!(best_stretch(&[(100, 40), (100, 50)]), None, "half at the most");
        assert_eq!(best_stretch(&[(1000, 0), (100, 90), (100, 20), (100, 90), (1000, 10)]), Some(1..4));
        assert_eq!(best_stretch(&[(100, 60), (1000, 0), (100, 99)]), Some(2..3));
        assert_eq!(best_stretch(&[(100, 51)]), Some(0..1));
    }
}

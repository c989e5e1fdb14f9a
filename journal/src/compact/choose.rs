//! Which segments are compacted: neighbours in the order of the log that have become old enough for the next step of a ladder.
//!
//! **What a compaction may cost.** All of them together write no more than was captured. Each byte that is captured brings a credit of one
//! byte that may be written. At every step but the last one of a ladder a run must free at least as much as it writes, so that what is
//! written still has a credit of its own length; it pays for the step after. Behind the last step nothing comes that would have
//! to be paid for: there whatever frees enough to be worth its while may spend it.
//!
//! **What.** A segment that a killed writer left has no footer, and ends where the one behind it says: that one goes with it or after it.
//!
//! **When.** A step is left out where the next one comes before a segment has become twice as old: what is written is worth the more,
//! the longer it stays as it is. Runs are long, so that few records lie across the end of one, which could not go.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::plan::Left;
use crate::content::codec::Codec;
use crate::error::Result;
use crate::retention::time::MINUTE_NS;
use crate::retention::{Every, JournalClock, Keeper, Policy};
use crate::segments::{SegmentFile, SegmentSet};
use crate::types::{SegmentId, Seq};

/// A run has so many bytes at most, before compaction.
const RUN_BYTES_MAX: u64 = 128 << 20;
/// So many segments of it.
const RUN_SEGMENTS_MAX: usize = 1024;
/// And so many operations, all of which are held at a time.
const RUN_OPS_MAX: u64 = 40_000;
/// Fewer bytes are left until more have come.
const RUN_BYTES_MIN: u64 = 4 << 20;
/// But for so many segments: each costs a file.
const RUN_SEGMENTS_MIN: usize = 64;
/// Where the interval between kept instants is so long, a run is so many times as long.
const INTERVALS_MIN: u64 = 4;
/// What is ripe waits until it is this part of the journal, or fills a run: each look reads all versions in the index.
const JOURNAL_PART: u64 = 64;
/// An operation takes so many bytes at least, with its content: where no footer counts them.
const OP_BYTES: u64 = 256;
/// Of what is written at the last step, each so many bytes must free one.
const WRITTEN_FOR_ONE: u64 = 4;

/// What is worth a copy of all that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eagerness {
    /// What frees enough for what it writes, so that all compactions together never write more than was captured.
    WorthIt,
    /// Whatever frees anything.
    Anything,
}

/// An age at which a policy lets more go than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The age.
    pub from_minutes: u64,
    /// Between the instants that are kept from then on.
    interval_minutes: u64,
    /// Whether none comes after it.
    is_last: bool,
}

/// The ages that are worth a compaction.
pub(super) fn steps(policy: &Policy) -> Vec<Step> {
    let mut all: BTreeMap<u64, u64> = BTreeMap::new();
    for ladder in policy.ladders() {
        for zone in ladder.zones() {
            let begins = match zone.every {
                Every::Minutes(interval) if zone.from_minutes > 0 => Some((zone.from_minutes, interval)),
                _ => None,
            };
            // Where no other zone follows, nothing is kept from then on.
            let ends = zone.until_minutes.map(|end| (end, 0));
            for (from, interval) in [begins, ends].into_iter().flatten() {
                all.insert(from.max(policy.immutable_minutes()), interval);
            }
        }
    }
    let ages: Vec<(u64, u64)> = all.into_iter().collect();
    let next = |at: usize| ages.get(at + 1).map(|(from, _)| *from);
    let worth = |(at, (from, interval)): (usize, &(u64, u64))| {
        let is_last = next(at).is_none();
        let lasts = next(at).is_none_or(|next| next >= from.saturating_mul(2));
        lasts.then_some(Step { from_minutes: *from, interval_minutes: *interval, is_last })
    };
    ages.iter().enumerate().filter_map(worth).collect()
}

/// Neighbours that are compacted together, if that is worth it.
pub(super) struct Run {
    pub segments: Vec<Arc<SegmentFile>>,
    /// The step that they have reached; `None` where somebody wants whatever can go to go.
    pub step: Option<Step>,
    /// Operations in it, at most.
    pub ops: u64,
}

impl Run {
    /// What a byte that goes outweighs: so many of those that are there.
    fn weight(&self) -> u64 {
        match self.step {
            Some(step) if step.is_last => 1 + WRITTEN_FOR_ONE,
            _ => 2,
        }
    }

    /// Whether it is worth it, where so many of its bytes would go.
    pub(super) fn is_worth_it(&self, bytes: u64, going: u64) -> bool {
        let Some(step) = self.step else { return going > 0 || self.segments.len() > 1 };
        let is_large = bytes >= RUN_BYTES_MIN || self.has_many();
        // Files that stay are put together once.
        is_large && (going.saturating_mul(self.weight()) >= bytes || (step.is_last && self.has_many()))
    }

    /// Some of it.
    pub(super) fn part(&self, range: Range<usize>) -> Run {
        Run { segments: self.segments.get(range).unwrap_or_default().to_vec(), ..*self }
    }

    /// What lies on both sides of a part.
    pub(super) fn beside(&self, range: &Range<usize>) -> Vec<Run> {
        let sides = [0..range.start, range.end..self.segments.len()];
        sides.into_iter().filter(|side| !side.is_empty()).map(|side| self.part(side)).collect()
    }

    fn ends_with(&self, segment: SegmentId) -> bool {
        self.segments.last().is_some_and(|last| last.id == segment)
    }

    /// Without what at its beginning waits for a segment that is not in it.
    pub(super) fn that_can_go(mut self, set: &SegmentSet) -> Result<Run> {
        while let Some(first) = self.segments.first()
            && waits_for(set, first)?.is_some()
        {
            self.segments.remove(0);
        }
        Ok(self)
    }

    /// What lies on both sides of one of its segments.
    pub(super) fn without(&self, segment: SegmentId) -> Vec<Run> {
        let at = self.segments.iter().position(|it| it.id == segment);
        at.map_or_else(Vec::new, |at| self.beside(&(at..at + 1)))
    }

    fn has_many(&self) -> bool {
        self.segments.len() >= RUN_SEGMENTS_MIN
    }

    /// The neighbours among them whose compaction frees the most beyond what it costs, where each has so many bytes and so many of
    /// them would go; `None` where none is worth it.
    pub(super) fn best_stretch(&self, segments: &[(u64, u64)]) -> Option<Range<usize>> {
        self.step.and_then(|_| best_stretch(segments, self.weight()))
    }
}

/// The neighbours that free the most beyond what they cost: a first capture of which everything stays keeps nothing behind it from
/// being compacted.
fn best_stretch(segments: &[(u64, u64)], weight: u64) -> Option<Range<usize>> {
    let (mut best, mut best_sum) = (None, 0i128);
    let (mut from, mut sum) = (0, 0i128);
    for (at, (bytes, going)) in segments.iter().enumerate() {
        if sum <= 0 {
            (from, sum) = (at, 0);
        }
        sum += i128::from(weight) * i128::from(*going) - i128::from(*bytes);
        if sum > best_sum {
            (best, best_sum) = (Some(from..at + 1), sum);
        }
    }
    best
}

/// What decides on when.
pub(super) struct Choice<'c> {
    pub clock: &'c JournalClock,
    pub policy: &'c Policy,
    pub keeper: &'c Keeper,
    pub eagerness: Eagerness,
}

impl Choice<'_> {
    /// Runs of neighbours that are due, the oldest first: what they free stays free the longest. `left` are segments that were left
    /// at the step of that age.
    pub(super) fn runs(&self, set: &SegmentSet, left: &BTreeMap<SegmentId, u64>) -> Result<Vec<Run>> {
        let ordered = set.in_order();
        let last_log = set.last().map(|segment| segment.id);
        let steps = steps(self.policy);
        let mut codec = Codec::default();
        let mut runs: Vec<(Run, bool)> = Vec::new();
        let (mut bytes, mut ops, mut open, mut all_bytes) = (0, 0, false, 0);
        for (at, segment) in ordered.iter().enumerate() {
            let len = segment.len()?;
            all_bytes += len;
            let next = ordered.get(at + 1).map(|next| next.header.first_seq);
            let last_seq = last_seq(segment, next);
            let due = match self.eagerness {
                _ if Some(segment.id) == last_log => None,
                Eagerness::Anything => (last_seq <= self.keeper.now()).then_some(None),
                Eagerness::WorthIt => self
                    .reached(segment, last_seq, &steps)
                    .filter(|step| left.get(&segment.id).is_none_or(|left| *left < step.from_minutes))
                    .map(Some),
            };
            let has_end = due.is_some() && has_end(set, segment)?;
            let Some(step) = due.filter(|_| has_end) else {
                open = false;
                continue;
            };
            let footer = segment.footer(None, &mut codec)?;
            let its_ops = footer.map_or(len / OP_BYTES, |(_, footer)| footer.ops);
            let waits_for = waits_for(set, segment)?;
            match runs.last_mut().filter(|(run, _)| open && run.step == step) {
                Some((run, _))
                    if run.segments.len() < RUN_SEGMENTS_MAX
                        && waits_for.is_none_or(|before| run.ends_with(before))
                        && bytes + len <= RUN_BYTES_MAX
                        && ops + its_ops <= RUN_OPS_MAX =>
                {
                    run.segments.push(Arc::clone(segment));
                    run.ops += its_ops;
                    (bytes, ops) = (bytes + len, ops + its_ops);
                    continue;
                }
                // No more fits into it.
                Some((_, is_full)) => *is_full = true,
                None => {}
            }
            if waits_for.is_some() {
                open = false;
                continue;
            }
            runs.push((Run { segments: vec![Arc::clone(segment)], step, ops: its_ops }, false));
            (bytes, ops, open) = (len, its_ops, true);
        }
        let mut ripe = Vec::new();
        let mut ripe_bytes = 0;
        for (run, is_full) in runs {
            if is_full || self.is_ripe(&run)? {
                ripe_bytes += bytes_of(&run.segments)?;
                ripe.push(run);
            }
        }
        let enough = (all_bytes / JOURNAL_PART).min(RUN_BYTES_MAX);
        if self.eagerness == Eagerness::WorthIt && ripe_bytes < enough {
            ripe.clear();
        }
        Ok(ripe)
    }

    /// Puts parts of runs in the place of these, or leaves them.
    pub(super) fn take_up(&self, parts: Vec<Run>, runs: &mut VecDeque<Run>, left: &mut Left) -> Result<()> {
        for run in parts.into_iter().rev() {
            match self.is_ripe(&run)? {
                true => runs.push_front(run),
                false => left.note(&run),
            }
        }
        Ok(())
    }

    /// Whether a run is long enough.
    fn is_ripe(&self, run: &Run) -> Result<bool> {
        let Some(step) = run.step else { return Ok(!run.segments.is_empty()) };
        let (Some(first), Some(last)) = (run.segments.first(), run.segments.last()) else { return Ok(false) };
        let until = last.header.compacted.map_or(last.header.first_seq, |compacted| compacted.last_seq);
        let from = self.clock.time_of(first.header.first_seq);
        let span = self.clock.time_of(until).0.saturating_sub(from.0);
        let least = nanoseconds(step.interval_minutes.saturating_mul(INTERVALS_MIN));
        Ok(span >= least && (run.has_many() || bytes_of(&run.segments)? >= RUN_BYTES_MIN))
    }

    /// The last step that a segment has reached since it was written.
    fn reached(&self, segment: &SegmentFile, last_seq: Seq, steps: &[Step]) -> Option<Step> {
        // Not all of it may go, and what is left then would soon be looked at again.
        if last_seq > self.keeper.immutable_after() {
            return None;
        }
        let written = self.clock.time_of(last_seq).0;
        let age = |as_of: Seq| self.clock.time_of(as_of).0.saturating_sub(written);
        let now = age(self.keeper.now());
        let reached = steps.iter().rev().find(|step| now >= nanoseconds(step.from_minutes)).copied()?;
        let from = nanoseconds(reached.from_minutes);
        let is_done = segment.header.compacted.is_some_and(|compacted| age(compacted.as_of) >= from);
        (!is_done).then_some(reached)
    }
}

fn nanoseconds(minutes: u64) -> i64 {
    i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(MINUTE_NS)
}

/// What segments take together.
pub(super) fn bytes_of(segments: &[Arc<SegmentFile>]) -> Result<u64> {
    segments.iter().map(|segment| segment.len()).sum()
}

/// Whether it is known where a segment ends: by its footer, or by the segment that follows.
fn has_end(set: &SegmentSet, segment: &SegmentFile) -> Result<bool> {
    let known = !segment.is_log() || segment.trailer()?.is_some() || set.end_as_followed(segment).is_some();
    Ok(known && segment.header_damage.is_none())
}

/// The segment of the log that a segment must not go before: it is not known where that ends but by this one.
fn waits_for(set: &SegmentSet, segment: &SegmentFile) -> Result<Option<SegmentId>> {
    let before = set.log_before(segment.id).next().filter(|_| segment.is_log());
    match before {
        Some(before) if before.header_damage.is_some() || before.trailer()?.is_none() => Ok(Some(before.id)),
        _ => Ok(None),
    }
}

/// The last `Seq` that a segment may hold.
fn last_seq(segment: &SegmentFile, next: Option<Seq>) -> Seq {
    match segment.header.compacted {
        Some(compacted) => compacted.last_seq,
        None => next.map_or(Seq::MAX, Seq::previous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::Ladder;

    #[test]
    fn the_best_stretch_frees_more_than_it_writes() {
        let best = |segments: &[(u64, u64)]| best_stretch(segments, 2);
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[(100, 40), (100, 50)]), None, "half at the most");
        assert_eq!(best(&[(1000, 0), (100, 90), (100, 20), (100, 90), (1000, 10)]), Some(1..4));
        assert_eq!(best(&[(100, 60), (1000, 0), (100, 99)]), Some(2..3));
        assert_eq!(best(&[(100, 51)]), Some(0..1));
        assert_eq!(best_stretch(&[(100, 40), (100, 50)], 5), Some(0..2), "the last time");
    }

    #[test]
    fn a_step_that_the_next_one_follows_soon_is_left_out() {
        const DAY: u64 = 24 * 60;
        let steps_of = |ladder: Ladder| steps(&Policy::of(ladder, 7 * DAY));
        let step = |days: u64, interval_minutes, is_last| Step {
            from_minutes: days * DAY,
            interval_minutes,
            is_last,
        };
        // Every 10 minutes is left out: it would begin at the end of the immutability window, 2 days before the next.
        let expected = vec![step(9, 60, false), step(39, DAY, false), step(404, 7 * DAY, true)];
        assert_eq!(steps_of(Ladder::default()), expected);
        assert_eq!(steps_of(Ladder::everything()), vec![]);
        let ended = Ladder::parse(&["all for 30 days", "1 day for 365 days"]).unwrap();
        assert_eq!(steps_of(ended), vec![step(30, DAY, false), step(395, 0, true)]);
    }
}

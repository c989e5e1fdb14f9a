//! Retention: which instants of the past stay answerable, and which records may go for it.
//!
//! Pure but for `survey`, which reads the index: commits, a policy and timelines go in, verdicts come out. Removes nothing
//! and has no clock; ages are those of the [`JournalClock`].
//!
//! A policy is a set of instants, [`Keeper`] says which. At each of them the whole tree stays exactly as it was, so a record,
//! which is valid from its `Seq` to the next one of its timeline, is kept where one of them lies in between. What a person
//! pinned, the last state before a deletion, what is current, and whatever was so within the immutability window is kept
//! as well. It is garbage collection of a multi-version store under a set of snapshots.
//!
//! A kept instant stays kept for as long as the policy stays the same: intervals are multiples of each other, and their grid
//! is that of the [`JournalClock`], which no clock that is set can move.

mod charge;
pub mod config;
pub mod decide;
pub mod effect;
mod groups;
pub mod ladder;
mod ledger;
pub mod policy;
pub mod runaway;
pub mod survey;
pub mod time;
pub mod top;

#[cfg(test)]
mod tests;

pub use decide::{BindingAt, Ended, State, Verdict, bindings, confine, confine_versions, versions};
pub use ladder::{Every, Ladder, LadderError, Step};
pub use policy::{LadderId, Policy};
pub use time::{JournalClock, JournalTime, Tick};

use crate::types::Seq;

/// Where a record is valid: from its `Seq` to right before the next one of its timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its `Seq`.
    pub from: Seq,
    /// The first `Seq` at which it is no longer valid; `None` where it still is.
    pub until: Option<Seq>,
}

/// Why a record is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is how things are.
    Current,
    /// It was still so within the immutability window.
    Immutable,
    /// It was still so when everything is kept.
    All,
    /// It was so at an instant of the grid of a step.
    Grid {
        /// The step's interval.
        every_minutes: u32,
        /// That instant.
        at: Seq,
    },
    /// It was so at an instant that somebody named.
    Mark(Seq),
    /// Its path is held.
    Held,
    /// It is the last state before a deletion.
    BeforeDeletion,
    /// It is the end of a kept binding.
    End,
}

/// Instants that stay answerable, a stretch of time that one step of a ladder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// What is kept; `None` where nothing is but what special rules keep.
    pub every: Option<Every>,
    /// Its first instant; [`Seq::ZERO`] where it begins with the journal.
    pub from: Seq,
    /// Its last instant.
    pub until: Seq,
    /// How many instants of the grid are in it; those at which nothing was different from the one before are not counted.
    pub instants: u64,
}

/// Which instants stay answerable, as of one.
#[derive(Clone, Debug)]
pub struct Keeper {
    now: Seq,
    /// What ended after this has ended within the immutability window.
    immutable_after: Seq,
    ladders: Vec<Kept>,
    /// Instants that people named, in order.
    named: Vec<Seq>,
}

/// The instants of one ladder.
#[derive(Clone, Debug)]
struct Kept {
    /// From here on every one, by the ladder.
    all_from: Option<Seq>,
    /// Those of the grids, in order, with the interval.
    grid: Vec<(Seq, u32)>,
    stretches: Vec<Stretch>,
}

impl Keeper {
    /// Which instants stay answerable as of `now`, where people named these. Nothing is aged by what was committed later.
    pub fn new(clock: &JournalClock, policy: &Policy, named: &[Seq], now: Seq) -> Keeper {
        let mut named = named.to_vec();
        named.sort_unstable();
        named.dedup();
        let window = clock.seen_at(now).minutes_before(policy.immutable_minutes());
        // What was committed before everything that is known ended before the window, too, if that is as long.
        let immutable_after = clock.seq_at_seen(window).unwrap_or(Seq::ZERO).min(now);
        let ladders = policy.ladders().iter().map(|ladder| kept(clock, ladder, now)).collect();
        Keeper { now, immutable_after, ladders, named }
    }

    /// As of when.
    pub fn now(&self) -> Seq {
        self.now
    }

    /// What ended after this `Seq` ended within the immutability window.
    pub fn immutable_after(&self) -> Seq {
        self.immutable_after
    }

    /// Why a record that is valid there is kept; `None` where nothing keeps it.
    pub fn keeps(&self, ladder: LadderId, span: Span) -> Option<Why> {
        let Some(until) = span.until else { return Some(Why::Current) };
        if until <= span.from {
            return None;
        }
        if until > self.immutable_after {
            return Some(Why::Immutable);
        }
        let ladders = || self.of(ladder);
        if ladders().any(|kept| kept.all_from.is_some_and(|from| until > from)) {
            return Some(Why::All);
        }
        let inside = |at: Seq| span.from <= at && at < until;
        let grid = ladders().find_map(|kept| {
            let first = kept.grid.partition_point(|(at, _)| *at < span.from);
            kept.grid.get(first).filter(|(at, _)| inside(*at))
        });
        if let Some((at, every_minutes)) = grid {
            return Some(Why::Grid { every_minutes: *every_minutes, at: *at });
        }
        let first = self.named.partition_point(|at| *at < span.from);
        self.named.get(first).filter(|at| inside(**at)).map(|at| Why::Mark(*at))
    }

    /// The nearest instants that stay answerable, at or before `at` and at or after it; both are `at` where it is one.
    pub fn nearest_kept(&self, ladder: LadderId, at: Seq) -> (Option<Seq>, Option<Seq>) {
        let exact = self.exact_from(ladder);
        if at >= exact {
            return (Some(at), Some(at));
        }
        let mut before = last_up_to(&self.named, at);
        let mut after = first_from(&self.named, at).unwrap_or(Seq::MAX).min(exact);
        for kept in self.of(ladder) {
            let behind = kept.grid.partition_point(|(known, _)| *known <= at);
            before = before.max(behind.checked_sub(1).and_then(|at| kept.grid.get(at)).map(|(seq, _)| *seq));
            let first = kept.grid.partition_point(|(known, _)| *known < at);
            after = kept.grid.get(first).map_or(after, |(seq, _)| after.min(*seq));
        }
        (before, Some(after).filter(|after| *after <= self.now))
    }

    /// Whether an instant stays answerable.
    pub fn is_kept(&self, ladder: LadderId, at: Seq) -> bool {
        self.nearest_kept(ladder, at).0 == Some(at)
    }

    /// From here on every instant stays answerable.
    pub fn exact_from(&self, ladder: LadderId) -> Seq {
        let by_ladder = self.of(ladder).filter_map(|kept| kept.all_from).min();
        // What was so when the window began, or later, is kept.
        by_ladder.unwrap_or(self.now).min(self.immutable_after).min(self.now)
    }

    /// The stretches of time with what stays answerable in each, the newest first: those of one ladder, of several those of
    /// the first.
    pub fn stretches(&self, ladder: LadderId) -> &[Stretch] {
        self.of(ladder).next().map_or(&[], |kept| kept.stretches.as_slice())
    }

    fn of(&self, ladder: LadderId) -> impl Iterator<Item = &Kept> {
        self.ladders.iter().enumerate().filter(move |(at, _)| ladder.contains(*at)).map(|(_, kept)| kept)
    }
}

fn last_up_to(sorted: &[Seq], at: Seq) -> Option<Seq> {
    let behind = sorted.partition_point(|known| *known <= at);
    sorted.get(behind.checked_sub(1)?).copied()
}

fn first_from(sorted: &[Seq], at: Seq) -> Option<Seq> {
    sorted.get(sorted.partition_point(|known| *known < at)).copied()
}

/// The instants of a ladder as of `now`.
fn kept(clock: &JournalClock, ladder: &Ladder, now: Seq) -> Kept {
    let now_time = clock.time_of(now);
    let mut kept = Kept { all_from: None, grid: Vec::new(), stretches: Vec::new() };
    let mut until = now;
    let mut oldest = Some(0);
    for zone in ladder.zones() {
        oldest = zone.until_minutes;
        let begin = zone.until_minutes.map(|minutes| now_time.minutes_before(minutes).floor());
        let from = begin.and_then(|begin| clock.seq_at(begin)).unwrap_or(Seq::ZERO).min(now);
        let instants = match zone.every {
            Every::All => {
                kept.all_from = Some(from);
                0
            }
            Every::Minutes(every) => {
                let newest = now_time.minutes_before(zone.from_minutes);
                on_grid(clock, every, newest, begin, now, &mut kept.grid)
            }
        };
        // What was in the zone before already is of no more account here.
        if from < until || zone.from_minutes == 0 {
            kept.stretches.push(Stretch { every: Some(zone.every), from, until, instants });
        }
        until = until.min(from);
        if begin.is_some_and(|begin| begin < clock.begin()) {
            break;
        }
    }
    if oldest.is_some() && until > Seq::ZERO {
        kept.stretches.push(Stretch { every: None, from: Seq::ZERO, until, instants: 0 });
    }
    kept.grid.sort_unstable();
    kept.grid.dedup_by_key(|(seq, _)| *seq);
    kept
}

/// Adds the instants at multiples of the interval, from the newest that is not after `newest` back to right after `begin`. Each is
/// the last state that was then.
fn on_grid(
    clock: &JournalClock,
    every_minutes: u64,
    newest: JournalTime,
    begin: Option<JournalTime>,
    now: Seq,
    grid: &mut Vec<(Seq, u32)>,
) -> u64 {
    let every = i64::try_from(every_minutes).unwrap_or(i64::MAX).saturating_mul(time::MINUTE_NS);
    let mut at = newest.0.div_euclid(every).saturating_mul(every);
    let before = grid.len();
    while begin.is_none_or(|begin| at >= begin.0)
        && let Some(seq) = clock.seq_at(JournalTime(at))
    {
        let seq = seq.min(now);
        if grid.len() == before || grid.last().is_some_and(|(known, _)| *known != seq) {
            grid.push((seq, u32::try_from(every_minutes).unwrap_or(u32::MAX)));
        }
        // On to the multiple before that shows another state: nothing happened in between.
        let shown = clock.time_of(seq).0;
        let next = at.saturating_sub(every);
        at = match next > shown {
            true => shown.div_euclid(every).saturating_mul(every).min(next),
            false => next,
        };
        if at == i64::MIN {
            break;
        }
    }
    (grid.len() - before) as u64
}

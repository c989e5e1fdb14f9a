//! The journal's own time: how old something is by what the writer saw pass, whatever the wall clock says.
//!
//! Pure: commits go in, one after the other; times and places come out. Has no clock of its own.
//!
//! Within a clock epoch time passes as its walls say. Between two epochs of one boot the clock was set, which is no time.
//! Between two boots the machine was off for as long as the walls say, if that is a while that can be (at most
//! [`DOWNTIME_MAX_NS`]); else nothing is credited, and everything is only kept longer. So a clock that jumps ages nothing.
//!
//! What has been seen is kept to the minute: the last commit of each. A grid whose instants are whole minutes needs no
//! more, and years fit in memory.
//!
//! **Invariant for whoever removes commits:** the first and the last commit of every epoch must stay, or all times behind
//! them move, and with them the grid by which instants were kept.

use crate::types::{Instant, Seq};

/// Nanoseconds of a minute.
pub const MINUTE_NS: i64 = 60_000_000_000;
/// The longest time between two boots that is taken for time. Longer ones are taken for a clock that was wrong.
pub const DOWNTIME_MAX_NS: i64 = 30 * 24 * 60 * MINUTE_NS;

/// A time of the journal's own: nanoseconds, and the wall clock (UTC) on a machine whose clock was never set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalTime(pub i64);

impl JournalTime {
    /// The whole minute at or before it.
    pub fn floor(self) -> JournalTime {
        JournalTime(self.0.div_euclid(MINUTE_NS).saturating_mul(MINUTE_NS))
    }

    /// So many minutes before it.
    pub fn minutes_before(self, minutes: u64) -> JournalTime {
        let ns = i64::try_from(minutes).unwrap_or(i64::MAX).saturating_mul(MINUTE_NS);
        JournalTime(self.0.saturating_sub(ns))
    }

    /// The minute that it ends or lies in: those up to a whole minute belong to it.
    fn minute(self) -> i64 {
        -(-i128::from(self.0)).div_euclid(i128::from(MINUTE_NS)) as i64
    }
}

/// A commit, as far as time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its clock epoch.
    pub epoch: u32,
    /// The boot that it was written in; needed of the first commit of an epoch only, and `None` where it is not known: then
    /// it is taken for the boot before.
    pub boot: Option<[u8; 16]>,
    /// Its wall clock.
    pub wall: Instant,
    /// Its last `Seq`.
    pub last_seq: Seq,
}

/// Where a minute ended.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seq: Seq,
    time: JournalTime,
}

/// Time between two boots, from a `Seq` on.
#[derive(Clone, Copy, Debug)]
struct Credit {
    from: Seq,
    /// All credits so far.
    total_ns: i64,
}

/// What the commits of a journal say of time.
#[derive(Clone, Debug, Default)]
pub struct JournalClock {
    samples: Vec<Sample>,
    credits: Vec<Credit>,
    last: Option<Tick>,
    /// The boot of the newest epoch whose boot is known.
    boot: Option<[u8; 16]>,
}

impl JournalClock {
    /// A clock that has seen nothing.
    pub fn new() -> JournalClock {
        JournalClock::default()
    }

    /// Takes a commit. They come in the order of their `Seq`; one that does not is left out.
    pub fn push(&mut self, tick: Tick) {
        let Some(last) = self.last else {
            self.samples.push(Sample { seq: tick.last_seq, time: JournalTime(tick.wall.0) });
            (self.last, self.boot) = (Some(tick), tick.boot);
            return;
        };
        if tick.last_seq <= last.last_seq {
            return;
        }
        let passed = tick.wall.0.saturating_sub(last.wall.0).max(0);
        let passed = if tick.epoch == last.epoch {
            passed
        } else {
            let booted = matches!((self.boot, tick.boot), (Some(before), Some(now)) if before != now);
            let credit = if booted && passed <= DOWNTIME_MAX_NS { passed } else { 0 };
            if credit > 0 {
                let total_ns = self.credited().saturating_add(credit);
                self.credits.push(Credit { from: last.last_seq.next(), total_ns });
            }
            self.boot = tick.boot.or(self.boot);
            credit
        };
        let time = JournalTime(self.now().0.saturating_add(passed));
        let sample = Sample { seq: tick.last_seq, time };
        match self.samples.last_mut() {
            Some(newest) if newest.time.minute() == time.minute() => *newest = sample,
            _ => self.add(sample),
        }
        self.last = Some(tick);
    }

    /// A sample more. They take years to come, and twice the room would be held for the rest of them.
    fn add(&mut self, sample: Sample) {
        if self.samples.len() == self.samples.capacity() {
            self.samples.reserve_exact(self.samples.len() / 8 + 1024);
        }
        self.samples.push(sample);
    }

    fn credited(&self) -> i64 {
        self.credits.last().map_or(0, |credit| credit.total_ns)
    }

    /// The time of the newest commit.
    pub fn now(&self) -> JournalTime {
        self.samples.last().map_or(JournalTime::default(), |sample| sample.time)
    }

    /// The newest `Seq`.
    pub fn newest(&self) -> Seq {
        self.samples.last().map_or(Seq::ZERO, |sample| sample.seq)
    }

    /// The time of the first commit, to the minute.
    pub fn begin(&self) -> JournalTime {
        self.samples.first().map_or(JournalTime::default(), |sample| sample.time)
    }

    /// When a `Seq` was committed; up to a minute late, never early, so that nothing seems older than it is.
    pub fn time_of(&self, seq: Seq) -> JournalTime {
        self.sample_of(seq).time
    }

    /// The same without the times between boots: only what the writer saw pass.
    pub fn seen_at(&self, seq: Seq) -> JournalTime {
        let sample = self.sample_of(seq);
        JournalTime(sample.time.0.saturating_sub(self.credit_at(sample.seq)))
    }

    /// The greatest `Seq` at or before a time: exactly for whole minutes, else the one of a minute before at the least.
    /// `None` before the first.
    pub fn seq_at(&self, time: JournalTime) -> Option<Seq> {
        let behind = self.samples.partition_point(|sample| sample.time <= time);
        Some(self.samples.get(behind.checked_sub(1)?)?.seq)
    }

    /// The greatest `Seq` at or before a time that was seen to pass; the one of a minute before at the least.
    pub fn seq_at_seen(&self, seen: JournalTime) -> Option<Seq> {
        let is_before = |sample: &Sample| sample.time.0.saturating_sub(self.credit_at(sample.seq)) <= seen.0;
        let behind = self.samples.partition_point(is_before);
        Some(self.samples.get(behind.checked_sub(1)?)?.seq)
    }

    fn sample_of(&self, seq: Seq) -> Sample {
        let at = self.samples.partition_point(|sample| sample.seq < seq);
        let none = Sample { seq: Seq::ZERO, time: JournalTime::default() };
        self.samples.get(at).or(self.samples.last()).copied().unwrap_or(none)
    }

    fn credit_at(&self, seq: Seq) -> i64 {
        let behind = self.credits.partition_point(|credit| credit.from <= seq);
        behind.checked_sub(1).and_then(|at| self.credits.get(at)).map_or(0, |credit| credit.total_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * MINUTE_NS;

    fn tick(epoch: u32, boot: u8, wall: i64, seq: u64) -> Tick {
        Tick { epoch, boot: Some([boot; 16]), wall: Instant(wall), last_seq: Seq(seq) }
    }

    fn clock(ticks: &[Tick]) -> JournalClock {
        let mut clock = JournalClock::new();
        ticks.iter().for_each(|tick| clock.push(*tick));
        clock
    }

    #[test]
    fn it_is_the_wall_clock_where_that_was_never_set() {
        let clock = clock(&[
            tick(1, 1, 100 * DAY, 3),
            tick(1, 1, 100 * DAY + 90, 5),
            tick(1, 1, 101 * DAY, 9),
            // Off for a night.
            tick(2, 2, 101 * DAY + DAY / 3, 12),
        ]);
        assert_eq!(clock.now(), JournalTime(101 * DAY + DAY / 3));
        assert_eq!(clock.seq_at(JournalTime(100 * DAY)), Some(Seq(3)));
        assert_eq!(clock.seq_at(JournalTime(100 * DAY + MINUTE_NS)), Some(Seq(5)));
        assert_eq!(clock.seq_at(JournalTime(101 * DAY - MINUTE_NS)), Some(Seq(5)));
        assert_eq!(clock.seq_at(JournalTime(101 * DAY)), Some(Seq(9)));
        assert_eq!(clock.seq_at(JournalTime(100 * DAY - MINUTE_NS)), None);
        assert_eq!(clock.time_of(Seq(4)), JournalTime(100 * DAY + 90));
        // The night was not seen.
        assert_eq!(clock.seen_at(Seq(12)), JournalTime(101 * DAY));
        assert_eq!(clock.seq_at_seen(JournalTime(101 * DAY)), Some(Seq(12)));
        assert_eq!(clock.seq_at_seen(JournalTime(101 * DAY - 1)), Some(Seq(5)));
    }

    #[test]
    fn a_clock_that_is_set_makes_no_time() {
        for year in [1, 5, -5, 50] {
            let jump = year * 365 * DAY;
            let clock = clock(&[
                tick(1, 1, 1000 * DAY, 1),
                tick(2, 1, 1000 * DAY + jump, 2),
                tick(2, 1, 1001 * DAY + jump, 3),
                tick(3, 1, 1001 * DAY, 4),
                // The same at a boot.
                tick(4, 2, 1001 * DAY + jump, 5),
                tick(5, 3, 1001 * DAY, 6),
            ]);
            assert_eq!(clock.now(), JournalTime(1001 * DAY), "{year}");
        }
    }

    #[test]
    fn time_between_boots_is_credited_up_to_a_limit() {
        for (off, credited) in [(1, 1), (30, 30), (31, 0), (-1, 0)] {
            let clock = clock(&[tick(1, 1, 1000 * DAY, 1), tick(2, 2, (1000 + off) * DAY, 2)]);
            assert_eq!(clock.now(), JournalTime((1000 + credited) * DAY), "{off}");
        }
        let mut unknown = clock(&[tick(1, 1, 1000 * DAY, 1)]);
        unknown.push(Tick { boot: None, ..tick(2, 2, 1001 * DAY, 2) });
        assert_eq!(unknown.now(), JournalTime(1000 * DAY));
    }

    #[test]
    fn only_the_last_commit_of_a_minute_is_kept_and_whole_minutes_are_exact() {
        let mut clock = JournalClock::new();
        let mut exact = Vec::new();
        for seq in 1..10_000i64 {
            let wall = 7 * DAY + seq * 1_700_000_000;
            clock.push(tick(1, 1, wall, seq as u64));
            exact.push((wall, Seq(seq as u64)));
        }
        assert!(clock.samples.len() < 300);
        for minute in 0..290 {
            let time = 7 * DAY + minute * MINUTE_NS;
            let expected = exact.iter().rev().find(|(wall, _)| *wall <= time).map(|(_, seq)| *seq);
            // The first commit of all is in the minute of those behind it.
            let expected = expected.filter(|_| minute > 0);
            assert_eq!(clock.seq_at(JournalTime(time)), expected, "minute {minute}");
        }
    }

    #[test]
    fn odd_clocks_do_no_harm() {
        let odd = [i64::MIN, i64::MAX, 0, i64::MAX, i64::MIN];
        let mut clock = JournalClock::new();
        for (at, wall) in odd.iter().enumerate() {
            clock.push(tick(at as u32 / 2, at as u8, *wall, at as u64 + 1));
        }
        clock.push(tick(9, 9, 0, 2));
        assert_eq!(clock.newest(), Seq(5));
        let _ =
            (clock.now().floor(), clock.now().minutes_before(u64::MAX), clock.seq_at(JournalTime(i64::MIN)));
    }
}

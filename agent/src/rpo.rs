//! How much of the past would be missing if the machine died now: for every change that was captured, the time from its
//! first hint until it was durable.
//!
//! Pure: no clock of its own. Memory is bounded: one histogram since the start and one for each minute of the last hour,
//! of some 12 KiB each. What a reconcile finds has no hint and does not count.

use asof_journal::control::{Rpo, RpoSpan};
use hdrhistogram::Histogram;

/// Delays are kept in milliseconds, from 1 to a day; a longer one counts as a day.
const DELAY_MAX_MS: u64 = 86_400_000;
/// Significant digits: a figure is right to 1 %.
const DIGITS: u8 = 2;
/// Histograms for the last hour, a minute each.
const MINUTES: usize = 60;

const MS_NS: u64 = 1_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// The delays so far.
#[derive(Debug)]
pub(crate) struct Delays {
    since_start: Histogram<u64>,
    /// The minute that each slot holds, and its delays.
    minutes: Vec<(u64, Histogram<u32>)>,
    /// The greatest delay of each, to the millisecond.
    greatest_ms: (u64, Vec<u64>),
}

impl Delays {
    /// None so far. Fails only where the bounds make no histogram.
    pub(crate) fn new() -> Result<Delays, hdrhistogram::CreationError> {
        let minute = Histogram::new_with_bounds(1, DELAY_MAX_MS, DIGITS)?;
        Ok(Delays {
            since_start: Histogram::new_with_bounds(1, DELAY_MAX_MS, DIGITS)?,
            minutes: vec![(u64::MAX, minute); MINUTES],
            greatest_ms: (0, vec![0; MINUTES]),
        })
    }

    /// A change that was first hinted at then is durable now.
    pub(crate) fn record(&mut self, now_ns: u64, first_ns: u64) {
        let delay_ms = now_ns.saturating_sub(first_ns).div_ceil(MS_NS);
        self.since_start.saturating_record(delay_ms);
        self.greatest_ms.0 = self.greatest_ms.0.max(delay_ms);
        let minute = now_ns / MINUTE_NS;
        let slot = (minute % MINUTES as u64) as usize;
        let (Some((held, delays)), Some(greatest)) =
            (self.minutes.get_mut(slot), self.greatest_ms.1.get_mut(slot))
        else {
            return;
        };
        if *held != minute {
            delays.reset();
            (*held, *greatest) = (minute, 0);
        }
        delays.saturating_record(delay_ms);
        *greatest = (*greatest).max(delay_ms);
    }

    /// What they amount to.
    pub(crate) fn summary(&self, now_ns: u64) -> Rpo {
        let minute = now_ns / MINUTE_NS;
        // The present minute and the 59 before it.
        let recent = |held: u64| held <= minute && minute - held < MINUTES as u64;
        let mut hour = self.since_start.clone();
        hour.reset();
        let mut greatest_ms = 0;
        for ((held, delays), greatest) in self.minutes.iter().zip(&self.greatest_ms.1) {
            // Both have the same bounds, which is all that can be refused.
            if recent(*held) && add(&mut hour, delays) {
                greatest_ms = greatest_ms.max(*greatest);
            }
        }
        Rpo { last_hour: span(&hour, greatest_ms), since_start: span(&self.since_start, self.greatest_ms.0) }
    }
}

fn add(all: &mut Histogram<u64>, one: &Histogram<u32>) -> bool {
    one.iter_recorded()
        .all(|bucket| all.record_n(bucket.value_iterated_to(), bucket.count_at_value().into()).is_ok())
}

fn span(delays: &Histogram<u64>, max_ms: u64) -> RpoSpan {
    // A percentile is the upper end of its bucket, which may lie beyond the greatest delay there was.
    let at = |quantile| if delays.is_empty() { 0 } else { delays.value_at_quantile(quantile).min(max_ms) };
    RpoSpan { count: delays.len(), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), max_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays() -> Delays {
        Delays::new().expect("the bounds are right")
    }

    #[test]
    fn nothing_yet_is_all_zeros() {
        assert_eq!(delays().summary(5 * MINUTE_NS), Rpo::default());
    }

    #[test]
    fn percentiles_are_right_to_a_hundredth_and_the_greatest_exactly() {
        let mut delays = delays();
        for ms in 1..=1000 {
            delays.record(MINUTE_NS, MINUTE_NS - ms * MS_NS);
        }
        let rpo = delays.summary(MINUTE_NS);
        assert_eq!(rpo.last_hour, rpo.since_start);
        let RpoSpan { count, p50_ms, p95_ms, p99_ms, max_ms } = rpo.since_start;
        assert_eq!((count, max_ms), (1000, 1000));
        for (found, expected) in [(p50_ms, 500u64), (p95_ms, 950), (p99_ms, 990)] {
            assert!(found >= expected && found <= expected + expected / 100 + 1, "{found} for {expected}");
        }
    }

    #[test]
    fn parts_of_a_millisecond_count_as_one_and_ages_as_a_day() {
        let mut delays = delays();
        delays.record(1, 0);
        assert_eq!(delays.summary(1).since_start.p50_ms, 1);
        delays.record(u64::MAX, 0);
        let since_start = delays.summary(u64::MAX).since_start;
        assert_eq!(since_start.count, 2);
        assert!(since_start.p99_ms >= DELAY_MAX_MS);
    }

    #[test]
    fn the_last_hour_forgets_and_the_start_does_not() {
        let mut delays = delays();
        let at = |minute: u64| minute * MINUTE_NS;
        delays.record(at(100), at(100) - 7000 * MS_NS);
        delays.record(at(130), at(130) - 20 * MS_NS);
        let seen = |delays: &Delays, minute| {
            let RpoSpan { count, max_ms, .. } = delays.summary(at(minute)).last_hour;
            (count, max_ms)
        };
        assert_eq!(seen(&delays, 159), (2, 7000));
        assert_eq!(seen(&delays, 160), (1, 20));
        assert_eq!(seen(&delays, 190), (0, 0));
        delays.record(at(160), at(160) - 30 * MS_NS);
        assert_eq!(seen(&delays, 160), (2, 30), "its slot is used again");
        let since_start = delays.summary(at(10_000)).since_start;
        assert_eq!((since_start.count, since_start.max_ms), (3, 7000));
    }
}

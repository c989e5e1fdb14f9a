//! Instants for people: pure, prints nothing.

use asof_journal::reader::Moment;
use asof_journal::types::Instant;
use chrono::{Local, SecondsFormat};

/// An instant in local time, to the nanosecond, with its offset.
pub(crate) fn local(instant: Instant) -> String {
    instant.to_utc().with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Nanos, false)
}

/// An instant in local time to the second, for sentences that have a `Seq` beside them.
pub(crate) fn brief(instant: Instant) -> String {
    instant.to_utc().with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The sentence that names what a time turned out to be: in local time, in UTC and as a place in the order.
pub(crate) fn as_of(moment: &Moment) -> String {
    format!("as of {} ({}, {})", local(moment.instant), moment.instant.to_rfc3339(), moment.seq)
}

#[cfg(test)]
mod tests {
    use asof_journal::types::Seq;

    use super::*;

    #[test]
    fn every_answer_names_both_clocks_and_the_place() {
        let instant = Instant(1_700_000_000_000_000_001);
        let moment = Moment { seq: Seq(7), instant, epoch: 1, asked: instant };
        let text = as_of(&moment);
        assert!(text.contains("2023-11-14T22:13:20.000000001Z"), "{text}");
        assert!(text.contains("seq:7"), "{text}");
    }
}

//! Instants for people: pure, prints nothing.

use asof_journal::reader::Moment;
use asof_journal::types::Instant;
use chrono::{DateTime, Local, NaiveDate, SecondsFormat};

/// An instant in local time, to the nanosecond, with its offset.
pub(crate) fn local(instant: Instant) -> String {
    instant.to_utc().with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Nanos, false)
}

/// A time as people say it, to the second: without the date where that is `today`.
pub(crate) fn clock(instant: Instant, today: Option<NaiveDate>) -> String {
    said(&instant.to_utc().with_timezone(&Local), today)
}

/// From when to when, as people say it: what both have in common is said once.
pub(crate) fn span(from: Instant, to: Instant, today: Option<NaiveDate>) -> String {
    let (from, to) = (from.to_utc().with_timezone(&Local), to.to_utc().with_timezone(&Local));
    let text = said(&from, today);
    match said(&to, Some(from.date_naive())) {
        end if end == said(&from, Some(from.date_naive())) => text,
        end => format!("{text} to {end}"),
    }
}

fn said(time: &DateTime<Local>, today: Option<NaiveDate>) -> String {
    let form = if today == Some(time.date_naive()) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    time.format(form).to_string()
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
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn the_date_is_said_where_it_is_not_plain() {
        let noon = Local.with_ymd_and_hms(2026, 11, 28, 12, 0, 0).unwrap();
        let at = |seconds: i64| Instant(noon.timestamp_nanos_opt().unwrap() + seconds * 1_000_000_000);
        let (today, other) = (Some(noon.date_naive()), NaiveDate::from_ymd_opt(2026, 11, 27));
        assert_eq!(span(at(0), at(2), today), "12:00:00 to 12:00:02");
        assert_eq!(span(at(0), Instant(at(0).0 + 5), today), "12:00:00");
        assert_eq!(span(at(0), at(2), other), "2026-11-28 12:00:00 to 12:00:02");
        assert_eq!(span(at(0), at(86_400), None), "2026-11-28 12:00:00 to 2026-11-29 12:00:00");
        assert_eq!(clock(at(7), today), "12:00:07");
    }

    #[test]
    fn every_answer_names_both_clocks_and_the_place() {
        let instant = Instant(1_700_000_000_000_000_001);
        let moment = Moment { seq: Seq(7), instant, epoch: 1, asked: instant };
        let text = as_of(&moment);
        assert!(text.contains("2023-11-14T22:13:20.000000001Z"), "{text}");
        assert!(text.contains("seq:7"), "{text}");
    }
}

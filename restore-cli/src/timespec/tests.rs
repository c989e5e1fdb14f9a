//! Every form of a time, and the hours that clocks repeat or skip.

use chrono::{FixedOffset, Utc};

use super::*;

/// Central European Time in 2026: forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC.
/// `shift` moves both changes, so that they can be brought to the end of a day.
#[derive(Clone, Debug, PartialEq)]
struct Cet {
    shift: i64,
}

const FORWARD: i64 = 1_774_746_000;
const BACK: i64 = 1_792_890_000;

impl TimeZone for Cet {
    type Offset = CetOffset;

    fn from_offset(offset: &CetOffset) -> Cet {
        Cet { shift: offset.shift }
    }

    fn offset_from_local_date(&self, _: &NaiveDate) -> MappedLocalTime<CetOffset> {
        unreachable!("times are asked for, never dates")
    }

    fn offset_from_local_datetime(&self, shown: &NaiveDateTime) -> MappedLocalTime<CetOffset> {
        let fits = |hours: i64| {
            let utc = *shown - TimeDelta::hours(hours);
            (self.hours(&utc) == hours).then(|| self.offset(hours))
        };
        match (fits(2), fits(1)) {
            (Some(summer), Some(winter)) => MappedLocalTime::Ambiguous(summer, winter),
            (Some(only), None) | (None, Some(only)) => MappedLocalTime::Single(only),
            (None, None) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, _: &NaiveDate) -> CetOffset {
        unreachable!("times are asked for, never dates")
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> CetOffset {
        self.offset(self.hours(utc))
    }
}

impl Cet {
    fn hours(&self, utc: &NaiveDateTime) -> i64 {
        let seconds = utc.and_utc().timestamp();
        if (FORWARD + self.shift..BACK + self.shift).contains(&seconds) { 2 } else { 1 }
    }

    fn offset(&self, hours: i64) -> CetOffset {
        CetOffset { seconds: i32::try_from(hours).unwrap() * 3600, shift: self.shift }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct CetOffset {
    seconds: i32,
    shift: i64,
}

impl Offset for CetOffset {
    fn fix(&self) -> FixedOffset {
        FixedOffset::east_opt(self.seconds).unwrap()
    }
}

fn cet(utc: &str) -> DateTime<Cet> {
    shifted(utc, 0)
}

fn shifted(utc: &str, shift: i64) -> DateTime<Cet> {
    utc.parse::<DateTime<Utc>>().unwrap().with_timezone(&Cet { shift })
}

/// 22 November 2026, 15:30:40.25 in Berlin.
fn now() -> DateTime<Cet> {
    cet("2026-11-22T14:30:40.25Z")
}

fn at(utc: &str) -> Result<TimeSpec, TimeError> {
    Ok(TimeSpec::Instant(Instant(utc.parse::<DateTime<Utc>>().unwrap().timestamp_nanos_opt().unwrap())))
}

#[test]
fn exact_forms_are_exact_to_the_nanosecond() {
    for (text, utc) in [
        ("2026-11-22T14:05:06.123456789Z", "2026-11-22T14:05:06.123456789Z"),
        ("2026-11-22T14:05:06+01:00", "2026-11-22T13:05:06Z"),
        ("2026-11-22 14:05:06-05:30", "2026-11-22T19:35:06Z"),
        ("2026-11-22t14:05:06z", "2026-11-22T14:05:06Z"),
        (" 2026-11-22T14:05:06Z ", "2026-11-22T14:05:06Z"),
        ("@1700000000", "2023-11-14T22:13:20Z"),
        ("@1700000000.5", "2023-11-14T22:13:20.5Z"),
        ("@1700000000.0000000019", "2023-11-14T22:13:20.000000001Z"),
        ("@0", "1970-01-01T00:00:00Z"),
        ("@-1.5", "1969-12-31T23:59:58.5Z"),
    ] {
        assert_eq!(parse(text, &now()), at(utc), "{text}");
    }
    assert_eq!(parse("seq:123", &now()), Ok(TimeSpec::Seq(Seq(123))));
    assert_eq!(parse("seq:0", &now()), Ok(TimeSpec::Seq(Seq(0))));
    assert_eq!(parse("now", &now()), Ok(TimeSpec::Now));
    assert_eq!(parse("NOW", &now()), Ok(TimeSpec::Now));
}

#[test]
fn what_a_script_was_given_it_can_give_back() {
    let given = Instant(1_795_357_840_250_000_001);
    assert_eq!(parse(&given.to_rfc3339(), &now()), Ok(TimeSpec::Instant(given)));
}

#[test]
fn zoneless_forms_are_local() {
    for (text, utc) in [
        ("2026-11-22 14:05", "2026-11-22T13:05:00Z"),
        ("2026-11-22T14:05", "2026-11-22T13:05:00Z"),
        ("2026-11-22  14:05", "2026-11-22T13:05:00Z"),
        ("2026-11-22 14:05:06", "2026-11-22T13:05:06Z"),
        ("2026-11-22 14:05:06.5", "2026-11-22T13:05:06.5Z"),
        ("2026-07-01 14:05", "2026-07-01T12:05:00Z"),
        ("14:05", "2026-11-22T13:05:00Z"),
        ("9:05", "2026-11-22T08:05:00Z"),
        ("14:05:06.25", "2026-11-22T13:05:06.25Z"),
        ("00:00", "2026-11-21T23:00:00Z"),
        ("2026-11-22", "2026-11-22T22:59:59.999999999Z"),
        ("2026-07-01", "2026-07-01T21:59:59.999999999Z"),
        ("yesterday", "2026-11-21T22:59:59.999999999Z"),
        ("Yesterday", "2026-11-21T22:59:59.999999999Z"),
        ("yesterday 14:00", "2026-11-21T13:00:00Z"),
        ("YESTERDAY 14:00:01.5", "2026-11-21T13:00:01.5Z"),
    ] {
        assert_eq!(parse(text, &now()), at(utc), "{text}");
    }
}

#[test]
fn today_is_the_local_day_and_not_that_of_utc() {
    let after_midnight = cet("2026-11-21T23:30:00Z");
    assert_eq!(parse("00:15", &after_midnight), at("2026-11-21T23:15:00Z"));
    assert_eq!(parse("yesterday 14:00", &after_midnight), at("2026-11-21T13:00:00Z"));
    let west = "2026-01-01T02:00:00Z".parse::<DateTime<Utc>>().unwrap();
    let west = west.with_timezone(&FixedOffset::west_opt(5 * 3600).unwrap());
    assert_eq!(parse("yesterday", &west), at("2025-12-31T04:59:59.999999999Z"));
}

#[test]
fn lengths_before_now_go_by_the_clock() {
    for (text, utc) in [
        ("10 minutes ago", "2026-11-22T14:20:40.25Z"),
        ("1 minute ago", "2026-11-22T14:29:40.25Z"),
        ("10min ago", "2026-11-22T14:20:40.25Z"),
        ("-10m", "2026-11-22T14:20:40.25Z"),
        ("2h ago", "2026-11-22T12:30:40.25Z"),
        ("2 Hours Ago", "2026-11-22T12:30:40.25Z"),
        ("1h30m ago", "2026-11-22T13:00:40.25Z"),
        ("-1h 30m", "2026-11-22T13:00:40.25Z"),
        ("30 sec ago", "2026-11-22T14:30:10.25Z"),
        ("-250ms", "2026-11-22T14:30:40Z"),
        ("1 day ago", "2026-11-21T14:30:40.25Z"),
        ("-2w", "2026-11-08T14:30:40.25Z"),
        ("0s ago", "2026-11-22T14:30:40.25Z"),
    ] {
        assert_eq!(parse(text, &now()), at(utc), "{text}");
    }
    // 24 hours, although the clocks were set back in between.
    assert_eq!(parse("1 day ago", &cet("2026-10-25T12:00:00Z")), at("2026-10-24T12:00:00Z"));
}

#[test]
fn what_is_no_time_is_said_to_be_none() {
    for text in [
        "",
        " ",
        "@",
        "@x",
        "@1.",
        "@.5",
        "@1.x",
        "@1e9",
        "@+5",
        "seq:",
        "seq:-1",
        "seq:1.5",
        "seq: 1",
        "seq:x",
        "tomorrow",
        "10",
        "-10",
        "-",
        "10m",
        "ago",
        " ago",
        "m ago",
        "10 fortnights ago",
        "10 minutesago",
        "-10 m ago",
        "1.5h ago",
        "2026-11",
        "2026-1-2",
        "2026-13-01",
        "2026-02-30",
        "26-11-22",
        "2026-11-22 ",
        "2026-11-22 25:00",
        "2026-11-22 14",
        "2026-11-22 14:60",
        "2026-11-22 14:5",
        "14:05:6",
        "14:05:60",
        "14:05:06.",
        "14:05:06,5",
        "24:00",
        "14:05pm",
        "1:2:3:4",
        "+14:05",
        "-4:05",
        "2026-11-22T14:05Z",
        "yesterday x",
        "yesterdays",
        "nowish",
        "１４:05",
        "é",
        "ééago",
        "2026-11-22T",
    ] {
        // A date with a trailing blank is trimmed, and is a date.
        let expected = text == "2026-11-22 ";
        assert_eq!(parse(text, &now()).is_ok(), expected, "{text:?}");
        if !expected {
            assert!(matches!(parse(text, &now()), Err(TimeError::NotATime { .. })), "{text:?}");
        }
    }
}

#[test]
fn what_is_too_far_away_is_said_to_be_so() {
    for text in [
        "@99999999999",
        "@99999999999999999999999",
        "-99999999999d",
        "4000000000 weeks ago",
        "2500-01-01",
        "1500-01-01 00:00",
        "9999-12-31T23:59:59Z",
    ] {
        assert!(
            matches!(parse(text, &now()), Err(TimeError::OutOfRange { .. })),
            "{text:?}: {:?}",
            parse(text, &now())
        );
    }
}

#[test]
fn marks_are_taken_by_name() {
    let mark = |name: &str| TimeSpec::Mark(MarkName::new(name).unwrap());
    assert_eq!(parse("mark:before", &now()), Ok(mark("before")));
    assert_eq!(parse(" mark:10 minutes ago ", &now()), Ok(mark("10 minutes ago")));
    for text in ["mark:", "mark:a/b", "mark:a@b", "mark: a"] {
        assert!(matches!(parse(text, &now()), Err(TimeError::Mark { .. })), "{text}");
    }
}

#[test]
fn a_repeated_hour_is_refused_with_both_readings() {
    for text in ["2026-10-25 02:30", "2026-10-25 02:00", "2026-10-25 02:59:59.9"] {
        assert!(matches!(parse(text, &now()), Err(TimeError::Repeated { .. })), "{text}");
    }
    let Err(TimeError::Repeated { first, second, .. }) = parse("2026-10-25 02:30", &now()) else { panic!() };
    assert_eq!((first.as_str(), second.as_str()), ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"));
    // Either can be given back.
    assert_eq!(parse(&first, &now()), at("2026-10-25T00:30:00Z"));
    assert_eq!(parse(&second, &now()), at("2026-10-25T01:30:00Z"));
    // The edges are no question.
    assert_eq!(parse("2026-10-25 01:59:59", &now()), at("2026-10-24T23:59:59Z"));
    assert_eq!(parse("2026-10-25 03:00", &now()), at("2026-10-25T02:00:00Z"));
    // Nor are words that mean that hour.
    assert!(matches!(parse("02:30", &cet("2026-10-25T12:00:00Z")), Err(TimeError::Repeated { .. })));
    assert!(matches!(
        parse("yesterday 02:30", &cet("2026-10-26T12:00:00Z")),
        Err(TimeError::Repeated { .. })
    ));
}

#[test]
fn a_skipped_hour_is_refused_with_both_readings() {
    for text in ["2026-03-29 02:00", "2026-03-29 02:59:59"] {
        assert!(matches!(parse(text, &now()), Err(TimeError::Skipped { .. })), "{text}");
    }
    let Err(TimeError::Skipped { first, second, .. }) = parse("2026-03-29 02:30", &now()) else { panic!() };
    assert_eq!((first.as_str(), second.as_str()), ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"));
    assert_eq!(parse("2026-03-29 01:59:59", &now()), at("2026-03-29T00:59:59Z"));
    assert_eq!(parse("2026-03-29 03:00", &now()), at("2026-03-29T01:00:00Z"));
}

#[test]
fn a_day_whose_last_hour_is_repeated_or_skipped_still_has_one_end() {
    // Both changes moved so that they happen at local midnight: back from 24:00 to 23:00, forward from 23:00 to 24:00.
    let back = -3 * 3600;
    let repeated = shifted("2026-11-22T12:00:00Z", back);
    assert_eq!(parse("2026-10-24", &repeated), at("2026-10-24T22:59:59.999999999Z"));
    let forward = -3 * 3600;
    let skipped = shifted("2026-11-22T12:00:00Z", forward);
    assert_eq!(parse("2026-03-28", &skipped), at("2026-03-28T21:59:59.999999999Z"));
}

#[test]
fn a_path_may_carry_its_time() {
    let split = |text: &'static str| split_path(text.as_bytes(), &cet("2026-11-22T14:30:40.25Z"));
    let seq = |n| TimeSpec::Seq(Seq(n));
    assert_eq!(split("a/b@seq:5"), Ok(Some((&b"a/b"[..], seq(5)))));
    assert_eq!(split("a@b@seq:5"), Ok(Some((&b"a@b"[..], seq(5)))));
    assert_eq!(split("a@now"), Ok(Some((&b"a"[..], TimeSpec::Now))));
    assert_eq!(split("a@14:05").unwrap().unwrap().0, b"a");
    assert_eq!(split("a@-10m").unwrap().unwrap().0, b"a");
    assert_eq!(split("a@10 minutes ago").unwrap().unwrap().0, b"a");
    let seconds = TimeSpec::Instant(Instant(1_700_000_000_000_000_000));
    assert_eq!(split("a@@1700000000"), Ok(Some((&b"a"[..], seconds))));
    for path in [
        "a",
        "",
        "@",
        "a@",
        "@seq:5",
        "user@example.org",
        "a@b/c",
        "a@1700000000",
        "@@1700000000",
        "a@2x.png",
    ] {
        let whole = split(path).unwrap();
        // What is left of `@@1700000000` would be a path named `@`'s left side: there is none.
        assert_eq!(whole, None, "{path}");
    }
    assert_eq!(split("a@mark:x y"), Ok(Some((&b"a"[..], TimeSpec::Mark(MarkName::new("x y").unwrap())))));
    assert!(matches!(split("a@mark:"), Err(TimeError::Mark { .. })));
    assert!(matches!(split("a@2026-03-29 02:30"), Err(TimeError::Skipped { .. })));
    assert_eq!(split_path(b"a@\xff", &now()), Ok(None));
    assert_eq!(split_path(b"\xff@seq:5", &now()), Ok(Some((&b"\xff"[..], seq(5)))));
}

#[test]
fn durations_need_a_unit() {
    assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
    assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
    assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(duration("1h 30m"), Some(Duration::from_secs(5400)));
    assert_eq!(duration("0"), Some(Duration::ZERO));
    for text in ["", "5", "s", "-5s", "5 parsecs", "1.5s", "99999999999s"] {
        assert_eq!(duration(text), None, "{text}");
    }
}

//! From the text of a time to an instant or a place in the order: pure.
//!
//! The clock and the time zone arrive as an argument. Knows nothing of a journal: which `Seq` an instant means is
//! decided elsewhere.
//!
//! What the forms mean exactly:
//!
//! | form | instant |
//! |---|---|
//! | RFC 3339 (`2026-11-22T14:05:06.5+01:00`), `@1700000000[.5]` | that instant, to the nanosecond |
//! | `seq:123` | no instant at all: a place in the order |
//! | `mark:NAME` | none either: the place in the order that somebody named |
//! | `2026-11-22 14:05`, `14:05`, `yesterday 14:05` | the start of that minute, local time; `14:05` is today's |
//! | `2026-11-22 14:05:06[.5]` | that second or fraction, local time |
//! | `2026-11-22`, `yesterday` | the last nanosecond of that day, local time |
//! | `10 minutes ago`, `-10m`, `1h30m ago` | so much before now by the clock; a day is 24 hours, a week 7 days |

use std::time::Duration;

use asof_journal::types::{BadMarkName, Instant, MarkName, Seq};
use chrono::{
    DateTime, Days, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone,
};

/// What the text of a time says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeSpec {
    /// A reading of the wall clock.
    Instant(Instant),
    /// A place in the order.
    Seq(Seq),
    /// A place in the order that has this name.
    Mark(MarkName),
    /// The newest there is.
    Now,
}

/// Why a text is not a usable time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    /// It has no known form.
    #[error("`{text}` is not a time")]
    NotATime {
        /// The text.
        text: String,
    },
    /// It names a mark that there cannot be.
    #[error("`{text}` names no mark: {why}")]
    Mark {
        /// The text.
        text: String,
        /// Why there cannot be one of that name.
        why: BadMarkName,
    },
    /// It lies outside of the years 1677 to 2262.
    #[error("`{text}` is too far from now to be an instant in nanoseconds")]
    OutOfRange {
        /// The text.
        text: String,
    },
    /// The clocks were set back, so that they showed it twice.
    #[error("`{text}` happened twice, because the clocks were set back: {first} or {second}")]
    Repeated {
        /// The text.
        text: String,
        /// The earlier reading, RFC 3339.
        first: String,
        /// The later reading, RFC 3339.
        second: String,
    },
    /// The clocks were set forward, so that they never showed it.
    #[error("`{text}` never happened, because the clocks were set forward: {first} or {second}")]
    Skipped {
        /// The text.
        text: String,
        /// The earlier reading, RFC 3339.
        first: String,
        /// The later reading, RFC 3339.
        second: String,
    },
}

/// What a text says, read at `now`, whose time zone is the local one.
pub(crate) fn parse<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Result<TimeSpec, TimeError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(TimeSpec::Now);
    }
    if let Some(number) = text.strip_prefix("seq:") {
        return plain_number(number).map(|n| TimeSpec::Seq(Seq(n))).ok_or_else(|| not_a_time(text));
    }
    if let Some(name) = text.strip_prefix("mark:") {
        return match MarkName::new(name) {
            Ok(name) => Ok(TimeSpec::Mark(name)),
            Err(why) => Err(TimeError::Mark { text: text.to_owned(), why }),
        };
    }
    if let Some(number) = text.strip_prefix('@') {
        return unix(number)
            .ok_or_else(|| not_a_time(text))?
            .map(TimeSpec::Instant)
            .ok_or_else(|| out_of_range(text));
    }
    if let Ok(exact) = DateTime::parse_from_rfc3339(text) {
        return instant(&exact, text);
    }
    if let Some(ago) = ago(text) {
        let ago = ago.and_then(|ago| TimeDelta::from_std(ago).ok()).ok_or_else(|| out_of_range(text))?;
        let then = now.clone().checked_sub_signed(ago).ok_or_else(|| out_of_range(text))?;
        return instant(&then, text);
    }
    local(text, now)
}

/// Splits `PATH@TIME` at its last `@`. `None` where what follows is no time, so that the whole is a path.
/// `PATH@@1700000000` is a path and a count of seconds.
///
/// Errors: what follows has the form of a time, but cannot be used as one.
pub(crate) fn split_path<'p, Tz: TimeZone>(
    path: &'p [u8],
    now: &DateTime<Tz>,
) -> Result<Option<(&'p [u8], TimeSpec)>, TimeError> {
    let Some(at) = path.iter().rposition(|&b| b == b'@') else {
        return Ok(None);
    };
    for split in [Some(at), at.checked_sub(1).filter(|&before| path[before] == b'@')].into_iter().flatten() {
        let (head, tail) = (&path[..split], &path[split + 1..]);
        let Ok(text) = std::str::from_utf8(tail) else {
            continue;
        };
        if head.is_empty() {
            continue;
        }
        match parse(text, now) {
            Ok(time) => return Ok(Some((head, time))),
            Err(TimeError::NotATime { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A length of time such as `30s`, `5m`, `500ms` or `1h 30m`; `0` needs no unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    length(text)?
}

fn not_a_time(text: &str) -> TimeError {
    TimeError::NotATime { text: text.to_owned() }
}

fn out_of_range(text: &str) -> TimeError {
    TimeError::OutOfRange { text: text.to_owned() }
}

fn instant<Tz: TimeZone>(time: &DateTime<Tz>, text: &str) -> Result<TimeSpec, TimeError> {
    time.timestamp_nanos_opt().map(|ns| TimeSpec::Instant(Instant(ns))).ok_or_else(|| out_of_range(text))
}

/// Digits only: no sign, no blanks.
fn plain_number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Nanoseconds of a decimal fraction; what is finer is cut off.
fn fraction(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (mut ns, mut unit) = (0, 100_000_000);
    for digit in digits.bytes().take(9) {
        ns += u32::from(digit - b'0') * unit;
        unit /= 10;
    }
    Some(ns)
}

/// Seconds since 1970. The outer `None`: no such form; the inner: too large.
fn unix(text: &str) -> Option<Option<Instant>> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (seconds, ns) = match text.split_once('.') {
        Some((seconds, digits)) => (seconds, fraction(digits)?),
        None => (text, 0),
    };
    if seconds.is_empty() || !seconds.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let Ok(seconds) = seconds.parse::<u64>() else {
        return Some(None);
    };
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    Some(i64::try_from(if negative { -total } else { total }).ok().map(Instant))
}

/// `10 minutes ago` and `-10m`. The outer `None`: no such form; the inner: too large.
fn ago(text: &str) -> Option<Option<Duration>> {
    if let Some(rest) = text.strip_prefix('-') {
        return length(rest);
    }
    let cut = text.len().checked_sub(3)?;
    let (rest, word) = (text.get(..cut)?, text.get(cut..)?);
    if !word.eq_ignore_ascii_case("ago") || !rest.ends_with(char::is_whitespace) {
        return None;
    }
    length(rest.trim_end())
}

/// Numbers with units, added up. The outer `None`: no such form; the inner: too large.
fn length(text: &str) -> Option<Option<Duration>> {
    let mut rest = text.trim_start();
    let mut sum = Some(Duration::ZERO);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return None;
        }
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (word, after) = after.split_at(letters);
        let unit = unit(word)?;
        let part = number.parse::<u32>().ok().and_then(|n| unit.checked_mul(n));
        sum = sum.and_then(|sum| sum.checked_add(part?));
        rest = after.trim_start();
    }
    Some(sum)
}

fn unit(word: &str) -> Option<Duration> {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    Some(match word.to_ascii_lowercase().as_str() {
        "ms" => Duration::from_millis(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Duration::from_secs(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_secs(MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Duration::from_secs(HOUR),
        "d" | "day" | "days" => Duration::from_secs(DAY),
        "w" | "week" | "weeks" => Duration::from_secs(7 * DAY),
        _ => return None,
    })
}

/// The forms without a zone.
fn local<Tz: TimeZone>(text: &str, now: &DateTime<Tz>) -> Result<TimeSpec, TimeError> {
    let zone = now.timezone();
    let today = now.naive_local().date();
    // `yesterday` has a `t` of its own, a date has none.
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let parts = text.split_once(' ').or_else(|| text.split_once(['T', 't']).filter(|_| is_number));
    let (day, time) = match parts {
        Some((day, time)) => (Some(day), Some(time.trim_start())),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let day = match day {
        None => Some(today),
        Some(word) if word.eq_ignore_ascii_case("yesterday") => today.checked_sub_days(Days::new(1)),
        Some(word) => date(word),
    };
    let day = day.ok_or_else(|| not_a_time(text))?;
    match time {
        Some(time) => {
            let time = clock(time).ok_or_else(|| not_a_time(text))?;
            instant(&only_reading(&zone, day.and_time(time), text)?, text)
        }
        None => instant(&end_of(&zone, day).ok_or_else(|| out_of_range(text))?, text),
    }
}

/// `YYYY-MM-DD`, every digit there.
fn date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    let year = i32::try_from(plain_number(year)?).ok()?;
    let month = u32::try_from(plain_number(month)?).ok()?;
    NaiveDate::from_ymd_opt(year, month, u32::try_from(plain_number(day)?).ok()?)
}

/// `HH:MM[:SS[.fraction]]`.
fn clock(text: &str) -> Option<NaiveTime> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
    let two_digits = |part: &str, least: usize| -> Option<u32> {
        if part.len() < least || part.len() > 2 { None } else { u32::try_from(plain_number(part)?).ok() }
    };
    let (second, ns) = match second {
        None => (0, 0),
        Some(second) => match second.split_once('.') {
            Some((second, digits)) => (two_digits(second, 2)?, fraction(digits)?),
            None => (two_digits(second, 2)?, 0),
        },
    };
    NaiveTime::from_hms_nano_opt(two_digits(hour, 1)?, two_digits(minute, 2)?, second, ns)
}

/// The one instant at which local clocks showed this.
fn only_reading<Tz: TimeZone>(
    zone: &Tz,
    shown: NaiveDateTime,
    text: &str,
) -> Result<DateTime<Tz>, TimeError> {
    let (mut readings, repeated) = match zone.from_local_datetime(&shown) {
        MappedLocalTime::Single(time) => return Ok(time),
        MappedLocalTime::Ambiguous(one, other) => (vec![one, other], true),
        MappedLocalTime::None => (skipped_readings(zone, shown), false),
    };
    readings.sort_by_key(|time| time.timestamp());
    let mut readings = readings.iter().map(DateTime::to_rfc3339);
    let (Some(first), Some(second)) = (readings.next(), readings.next()) else {
        return Err(out_of_range(text));
    };
    let text = text.to_owned();
    Err(if repeated {
        TimeError::Repeated { text, first, second }
    } else {
        TimeError::Skipped { text, first, second }
    })
}

/// What a skipped time would be by the offsets before and after the change.
fn skipped_readings<Tz: TimeZone>(zone: &Tz, shown: NaiveDateTime) -> Vec<DateTime<Tz>> {
    let day = TimeDelta::days(1);
    [shown.checked_sub_signed(day), shown.checked_add_signed(day)]
        .into_iter()
        .flatten()
        .filter_map(|near| zone.offset_from_local_datetime(&near).latest())
        .map(|offset| {
            let seconds = i64::from(offset.fix().local_minus_utc());
            zone.from_utc_datetime(&(shown - TimeDelta::seconds(seconds)))
        })
        .collect()
}

/// The last nanosecond of a day. A repeated last hour is no question: the later one ends the day. Where the day
/// ends early (its last hour was skipped), the minute before the change does.
fn end_of<Tz: TimeZone>(zone: &Tz, day: NaiveDate) -> Option<DateTime<Tz>> {
    const MINUTES_SKIPPED_AT_MOST: i64 = 24 * 60;
    let end = day.and_time(NaiveTime::from_hms_nano_opt(23, 59, 59, 999_999_999)?);
    (0..MINUTES_SKIPPED_AT_MOST).find_map(|minutes| {
        zone.from_local_datetime(&end.checked_sub_signed(TimeDelta::minutes(minutes))?).latest()
    })
}

#[cfg(test)]
mod tests;

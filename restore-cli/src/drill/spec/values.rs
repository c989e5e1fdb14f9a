//! The values of keys: how many, how long, how much, as of when. Each says what it wants where it is something else.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::timespec;

/// How many files at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sample {
    /// So many of 100.
    Percent(f64),
    /// So many.
    Count(u64),
}

impl Sample {
    /// How many of so many; at least one where there is one.
    pub(crate) fn of(self, candidates: usize) -> usize {
        match self {
            Sample::Count(count) => usize::try_from(count).unwrap_or(usize::MAX).min(candidates),
            Sample::Percent(percent) => {
                ((candidates as f64 * percent / 100.0 - 1e-9).ceil().max(0.0) as usize).min(candidates)
            }
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sample::Percent(percent) => write!(f, "{percent} % at random"),
            Sample::Count(count) => write!(f, "{count} at random"),
        }
    }
}

impl<'de> Deserialize<'de> for Sample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Sample, D::Error> {
        const WANTED: &str = "a number of files above 0, or a text like \"1%\"";
        let value = toml::Value::deserialize(deserializer)?;
        let sample = match &value {
            toml::Value::Integer(count) => {
                u64::try_from(*count).ok().filter(|count| *count > 0).map(Sample::Count)
            }
            toml::Value::String(text) => text
                .trim()
                .strip_suffix('%')
                .and_then(|percent| percent.trim().parse().ok())
                .filter(|percent| *percent > 0.0 && *percent <= 100.0)
                .map(Sample::Percent),
            _ => None,
        };
        sample.ok_or_else(|| de::Error::custom(format!("sample has to be {WANTED}")))
    }
}

/// The instant that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum At {
    /// The newest there is.
    #[default]
    Latest,
    /// At random within so long before now.
    RandomWithin(Duration, String),
    /// What `--at` takes.
    Time(String),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Latest => f.write_str("latest"),
            At::RandomWithin(_, text) | At::Time(text) => f.write_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<At, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "latest" {
            return Ok(At::Latest);
        }
        if let Some(within) = text.strip_prefix("random-within") {
            let length = timespec::duration(within).filter(|length| !length.is_zero());
            let wanted = || {
                de::Error::custom(format!(
                    "`{text}`: say random-within with a length of time, such as random-within 30d"
                ))
            };
            return length.ok_or_else(wanted).map(|length| At::RandomWithin(length, text.clone()));
        }
        match timespec::parse(&text, &chrono::Local::now()) {
            Ok(_) => Ok(At::Time(text)),
            Err(error) => {
                Err(de::Error::custom(format!("{error}; say latest, a time, mark:NAME or random-within 30d")))
            }
        }
    }
}

/// A share in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) f64);

impl Default for Percent {
    fn default() -> Percent {
        Percent(100.0)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Percent, D::Error> {
        let text = String::deserialize(deserializer)?;
        let percent = text.trim().strip_suffix('%').and_then(|percent| percent.trim().parse().ok());
        percent.filter(|percent| *percent > 0.0 && *percent <= 100.0).map(Percent).ok_or_else(|| {
            de::Error::custom(format!("`{text}`: say a share of more than nothing, such as \"95%\""))
        })
    }
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) Duration);

impl Default for Length {
    fn default() -> Length {
        Length(Duration::from_secs(24 * 3600))
    }
}

impl Length {
    /// In milliseconds.
    pub(crate) fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Length, D::Error> {
        let text = String::deserialize(deserializer)?;
        timespec::duration(&text).filter(|length| !length.is_zero()).map(Length).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is no length of time: say 30s, 10m, 2h or 8d"))
        })
    }
}

/// So many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Bytes, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let bytes = match &value {
            toml::Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            toml::Value::String(text) => size(text),
            _ => None,
        };
        bytes.filter(|bytes| *bytes > 0).map(Bytes).ok_or_else(|| {
            de::Error::custom("max_bytes has to be a number of bytes, or a text like \"20 GiB\"")
        })
    }
}

/// Digits and a unit; K, M, G and T are powers of 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// How far a clock is off, forward or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockOffset(pub(crate) i64);

impl<'de> Deserialize<'de> for ClockOffset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<ClockOffset, D::Error> {
        let text = String::deserialize(deserializer)?;
        let trimmed = text.trim();
        let (sign, length) = match trimmed.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        let seconds = timespec::duration(length).and_then(|length| i64::try_from(length.as_secs()).ok());
        seconds
            .filter(|seconds| (1..=100 * 365 * 86_400).contains(seconds))
            .map(|seconds| ClockOffset(sign * seconds))
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "`{text}`: say how far the clock is off, such as \"-400d\" or \"+2h\""
                ))
            })
    }
}

//! `verify`: whether the journal is sound, what damage there is and what it costs; `--repair` mends what can be mended.
//!
//! Owns the words, the pace and the clock; what is checked and how is the journal's business.

mod live;
mod report;

use std::sync::Mutex;
use std::time::{Duration, Instant as Stopwatch};

use asof_journal::repair::repair;
use asof_journal::storage::Layout;
use asof_journal::types::{ClockReading, Instant};
use asof_journal::verify::{Options, verify};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::args::VerifyArgs;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::Output;
use crate::session::Session;

use report::Report;

/// Where the kernel tells which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A pause is never longer than this, so that an interruption is soon heard.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Checks the journal.
pub(crate) fn run(session: &Session, args: &VerifyArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    let rate = args.rate.as_deref().map(rate).transpose()?;
    let started = Stopwatch::now();
    let deep = args.deep || args.repair;
    if deep {
        out.start_progress(segment_bytes(session.journal()));
    }
    let pace = Pace { bar: out.bar(), rate, begun: Stopwatch::now(), done: Mutex::new(0) };
    let pace = |bytes: u64| pace.go_on(bytes);
    let options = Options { deep, ..Options::default() };
    if args.repair {
        let clock = Clock::open()?;
        let repaired =
            repair(session.journal(), &options, &|| clock.now(), &mut |path| live::open(path), &pace);
        out.end_progress();
        return Report { out, started }.repaired(&repaired?);
    }
    let found = verify(session.journal(), &options, &pace);
    out.end_progress();
    let found = found?;
    Report { out, started }.found(&found)?;
    if found.stopped { Err(Error::Stopped) } else { report::verdict(&found) }
}

/// Sets the pace of reading, and shows it.
struct Pace {
    bar: indicatif::ProgressBar,
    /// Bytes a second.
    rate: Option<u64>,
    begun: Stopwatch,
    done: Mutex<u64>,
}

impl Pace {
    fn go_on(&self, bytes: u64) -> bool {
        self.bar.inc(bytes);
        let mut done = self.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *done += bytes;
        let Some(rate) = self.rate else { return !interrupt::requested() };
        // Held while waiting: all threads share the rate.
        let due = Duration::from_secs_f64(*done as f64 / rate as f64);
        loop {
            let early = due.saturating_sub(self.begun.elapsed());
            if early.is_zero() || interrupt::requested() {
                return !interrupt::requested();
            }
            // Nobody wakes it: the pause is what is asked for.
            std::thread::park_timeout(early.min(PAUSE_MAX));
        }
    }
}

/// Bytes a second: a number, perhaps with K, M or G (powers of 1024), `iB` or `B`, and `/s`.
fn rate(text: &str) -> Result<u64> {
    let wrong = || {
        let what = format!("`{text}` is not a rate");
        Error::usage(what, "say bytes a second, such as 50M or 500000")
    };
    let plain = text.trim().strip_suffix("/s").unwrap_or(text.trim());
    let digits = plain.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = plain.split_at_checked(digits).ok_or_else(wrong)?;
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|rate| *rate > 0).ok_or_else(wrong)
}

/// About how much there is to read.
fn segment_bytes(journal: &std::path::Path) -> u64 {
    let Ok(names) = std::fs::read_dir(Layout::new(journal).segments()) else { return 0 };
    names.flatten().filter_map(|name| Some(name.metadata().ok()?.len())).sum()
}

/// The machine's clocks, for what is written into the journal.
pub(crate) struct Clock {
    boot_id: [u8; 16],
}

impl Clock {
    pub(crate) fn open() -> Result<Clock> {
        let failed =
            |source| Error::Io { path: BOOT_ID.into(), action: "reading which boot this is", source };
        let text = std::fs::read_to_string(BOOT_ID).map_err(failed)?;
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        let id = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
        let boot_id = id.and_then(|id| <[u8; 16]>::try_from(id).ok());
        boot_id
            .map(|boot_id| Clock { boot_id })
            .ok_or_else(|| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, "not a uuid")))
    }

    pub(crate) fn now(&self) -> ClockReading {
        let ns = |time: Timespec| time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec);
        ClockReading {
            wall: Instant(ns(clock_gettime(ClockId::Realtime))),
            boottime_ns: u64::try_from(ns(clock_gettime(ClockId::Boottime))).unwrap_or(0),
            boot_id: self.boot_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_a_second_with_units_or_without() {
        for (text, expected) in
            [("500000", 500_000), ("50M", 50 << 20), ("1 GiB/s", 1 << 30), ("3KiB", 3072), ("7B", 7)]
        {
            assert_eq!(rate(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "0", "M", "-1", "5X", "99999999999G"] {
            assert_eq!(rate(wrong).unwrap_err().exit_status(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_clock_knows_the_boot() {
        let clock = Clock::open().unwrap();
        assert_ne!(clock.boot_id, [0; 16]);
        assert!(clock.now().wall.0 > 1_577_836_800_000_000_000);
    }
}

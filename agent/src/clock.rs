//! The clocks: the one place where the agent asks what time it is.
//!
//! Owns the trait that tests replace. Does not compare, convert or remember times; what order things have is never
//! taken from here.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use asof_journal::types::{ClockReading, Instant};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Where the kernel tells which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Tells the time.
pub(crate) trait Clock: Send + Sync {
    /// Reads the wall clock, the time since boot and the boot id together.
    fn now(&self) -> ClockReading;

    /// Reads `CLOCK_MONOTONIC` in nanoseconds: what delays are measured with.
    fn monotonic_ns(&self) -> u64;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsClock {
    boot_id: [u8; 16],
}

impl OsClock {
    /// Opens the machine's clocks; fails where `/proc` does not tell the boot id.
    pub(crate) fn open() -> io::Result<OsClock> {
        let text = std::fs::read_to_string(BOOT_ID)?;
        let boot_id = parse_boot_id(text.trim()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{BOOT_ID}: not a uuid: {text:?}"))
        })?;
        Ok(OsClock { boot_id })
    }
}

impl Clock for OsClock {
    fn now(&self) -> ClockReading {
        let boottime = clock_gettime(ClockId::Boottime);
        ClockReading {
            wall: wall(SystemTime::now()),
            boottime_ns: unsigned_ns(boottime),
            boot_id: self.boot_id,
        }
    }

    fn monotonic_ns(&self) -> u64 {
        unsigned_ns(clock_gettime(ClockId::Monotonic))
    }
}

/// The wall clock. Asked through the C library, which is where a drill or a test can have it be off for this program alone;
/// rustix asks the kernel past it.
pub(crate) fn wall(now: SystemTime) -> Instant {
    let ns = |length: std::time::Duration| i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => Instant(ns(since)),
        Err(before) => Instant(-ns(before.duration())),
    }
}

fn unsigned_ns(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Reads a uuid in its usual form: 32 hexadecimal digits, dashes anywhere.
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
    let mut id = [0_u8; 16];
    for byte in &mut id {
        let high = digits.next()??;
        let low = digits.next()??;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_ids_are_read_and_anything_else_is_refused() {
        let id = parse_boot_id("00112233-4455-6677-8899-aabbccddeeff").expect("a uuid");
        assert_eq!(id[..3], [0, 0x11, 0x22]);
        assert_eq!(id[15], 0xff);
        assert_eq!(parse_boot_id(""), None);
        assert_eq!(parse_boot_id("00112233-4455-6677-8899-aabbccddeef"), None);
        assert_eq!(parse_boot_id("00112233-4455-6677-8899-aabbccddeeff0"), None);
        assert_eq!(parse_boot_id("g0112233-4455-6677-8899-aabbccddeeff"), None);
    }

    #[test]
    fn a_wall_clock_before_the_epoch_is_negative() {
        let second = std::time::Duration::from_secs(1);
        assert_eq!(wall(UNIX_EPOCH + second), Instant(1_000_000_000));
        assert_eq!(wall(UNIX_EPOCH - second), Instant(-1_000_000_000));
    }

    #[test]
    fn the_clocks_move_forward_and_keep_the_boot() {
        let clock = OsClock::open().expect("clocks");
        let (first, second) = (clock.now(), clock.now());
        assert!(first.boottime_ns > 0 && second.boottime_ns >= first.boottime_ns);
        assert!(first.wall.0 > 1_577_836_800_000_000_000, "later than 2020");
        assert_eq!(first.boot_id, second.boot_id);
        assert_ne!(first.boot_id, [0; 16]);
    }
}

//! Reading one regular file, front to back, with its holes.
//!
//! Owns the position. Decides nothing about consistency; `capture` does.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use asof_journal::content::Piece;
use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::{Stat, stat_fd};
use crate::sys;

/// Files up to this size stay in the page cache in any case.
const KEEP_BYTES_MAX: u64 = 1024 * 1024;
/// How much is read before it is dropped from the page cache.
const DROP_EVERY_BYTES: u64 = 8 * 1024 * 1024;
/// A file that changed more recently may have dirty pages (the kernel writes them back after 30 s, looked at every
/// 5 s), and dropping those would force them out.
const DROP_QUIET_NS: i64 = 60 * 1_000_000_000;

/// No filesystem has smaller holes.
const HOLE_BYTES_MIN: u64 = 4096;

/// Who may be writing to an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Nobody has it open for writing, or mapped so.
    None,
    /// Somebody does.
    Some,
    /// The kernel does not tell: it is somebody else's file, or the filesystem is one where that cannot be known.
    Unknown,
}

/// A regular file open for reading.
#[derive(Debug)]
pub(crate) struct RegularFile {
    fd: OwnedFd,
    position: u64,
    /// End of the data that `position` is in, in a file that has holes.
    data_end: u64,
    /// Whether holes are looked for.
    sparse: bool,
    /// From where on what was read is still in the page cache; `None` where it is to stay.
    cached_from: Option<u64>,
    droppable: bool,
    /// Whether a lease that is granted means that nobody can write.
    leases_tell: bool,
}

impl AsFd for RegularFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl RegularFile {
    pub(super) fn new(fd: OwnedFd, stat: &Stat, leases_tell: bool) -> RegularFile {
        let wall = clock_gettime(ClockId::Realtime);
        let wall_ns = wall.tv_sec.saturating_mul(1_000_000_000).saturating_add(wall.tv_nsec);
        // Blocks count what holds the file together too (attributes, extents): they may be enough for all of it and there
        // is a hole all the same.
        let sparse = stat.blocks.saturating_mul(512) < stat.size
            || stat.size > HOLE_BYTES_MIN && has_hole(fd.as_fd(), stat.size);
        RegularFile {
            fd,
            position: 0,
            data_end: 0,
            sparse,
            cached_from: None,
            droppable: stat.size > KEEP_BYTES_MAX && wall_ns.saturating_sub(stat.ctime.0) > DROP_QUIET_NS,
            leases_tell,
        }
    }

    /// Tells what the open file is now.
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        stat_fd(self.fd.as_fd())
    }

    /// Asks whether somebody can write to the file at this moment, through a descriptor or a mapping.
    ///
    /// This takes a lease for a moment, which may hold somebody up who opens the file just then: not to be asked for
    /// files that have been quiet for long.
    pub(crate) fn writers(&self) -> Writers {
        match sys::is_read_lease_refused(self.fd.as_fd()) {
            Ok(true) => Writers::Some,
            Ok(false) if self.leases_tell => Writers::None,
            Ok(false) | Err(_) => Writers::Unknown,
        }
    }

    /// Says whether what is read may stay in the page cache; it does unless told otherwise.
    ///
    /// Dropping concerns files over 1 MiB that have not changed for a minute: the kernel starts writing out what is
    /// dirty in the range, and nobody's data is to be forced out.
    pub(crate) fn keep_cache(&mut self, keep: bool) {
        self.cached_from = (!keep && self.droppable).then_some(self.position);
    }

    /// Reads the next piece; `buf` must not be empty.
    pub(crate) fn next(&mut self, buf: &mut [u8]) -> io::Result<Piece> {
        let mut limit = buf.len();
        if self.sparse
            && self.position >= self.data_end
            && let Some(hole) = self.find_data()?
        {
            return Ok(hole);
        }
        if self.sparse {
            limit = limit.min(usize::try_from(self.data_end - self.position).unwrap_or(usize::MAX));
        }
        let window = buf.get_mut(..limit).unwrap_or_default();
        let count = loop {
            match rustix::io::pread(&self.fd, &mut *window, self.position) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if count == 0 {
            self.drop_cached(0);
            return Ok(Piece::End);
        }
        self.position += count as u64;
        self.drop_cached(DROP_EVERY_BYTES);
        Ok(Piece::Data(count))
    }

    /// Finds the data at or after the position. Gives the hole before it, or the end of the file.
    fn find_data(&mut self) -> io::Result<Option<Piece>> {
        match rustix::fs::seek(&self.fd, SeekFrom::Data(self.position)) {
            Ok(start) => {
                match rustix::fs::seek(&self.fd, SeekFrom::Hole(start)) {
                    Ok(end) if end > start => self.data_end = end,
                    // It changed in between, or knows no holes: read on plainly, that is always right.
                    Ok(_) | Err(Errno::NXIO | Errno::INVAL) => self.sparse = false,
                    Err(error) => return Err(error.into()),
                }
                let hole = start.saturating_sub(self.position);
                self.position = self.position.max(start);
                Ok((hole > 0).then_some(Piece::Hole(hole)))
            }
            // No data from here on: what is left is a hole.
            Err(Errno::NXIO) => {
                let size = self.stat()?.size;
                let hole = size.saturating_sub(self.position);
                if hole == 0 {
                    self.drop_cached(0);
                    return Ok(Some(Piece::End));
                }
                self.position = size;
                Ok(Some(Piece::Hole(hole)))
            }
            Err(Errno::INVAL | Errno::NOTSUP) => {
                self.sparse = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Drops what was read from the page cache once it is more than `least` bytes.
    fn drop_cached(&mut self, least: u64) {
        let Some(from) = self.cached_from else { return };
        let length = self.position.saturating_sub(from);
        if length <= least {
            return;
        }
        // Advice: where it is refused, nothing is lost but memory.
        let _ = rustix::fs::fadvise(&self.fd, from, NonZeroU64::new(length), Advice::DontNeed);
        self.cached_from = Some(self.position);
    }
}

/// Whether a file has a hole before its end; not where the filesystem does not tell.
fn has_hole(fd: BorrowedFd<'_>, size: u64) -> bool {
    rustix::fs::seek(fd, SeekFrom::Hole(0)).is_ok_and(|hole| hole < size)
}

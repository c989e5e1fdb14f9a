//! A consistent read of one regular file.
//!
//! Owns the order stat, ask for writers, read, stat, the number of tries and the label of what came out. Does not know
//! what becomes of the bytes: a sink consumes them. Decides nothing about when; `settle` and `reread` do.

use std::io;

use asof_journal::content::{Piece, Source};
use asof_journal::types::{Instant, Quality};

use crate::clock::Clock;
use crate::fs::{DirHandle, NotRegular, RegularFile, SourceFs, Stat, Writers};

/// How often a file is read that keeps changing under the read.
const TRIES_MAX: u32 = 3;
/// A change time this close to the read may be given to a later change too: kernel clocks tick every 1 to 10 ms.
const RACY_NS: u64 = 10_000_000;
/// Nobody is still writing to a file whose change time is older than this: a write moves it when it begins, and a store
/// through a mapping when the page was written out since, which the kernel does after 30 s, looking every 5 s.
const QUIET_NS: i64 = 60_000_000_000;
/// A larger file is not read again while somebody has it open and its change time is the same: an idle disk image of
/// many gigabytes would be read all day.
const REREAD_BYTES_MAX: u64 = 4 << 20;

impl Source for RegularFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        self.next(buffer)
    }
}

/// What hints say of who writes to the file. Where it matters the kernel is asked; where that does not tell, this counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The last hint was that it was closed or came by rename.
    Unlikely,
    /// Hints say nothing of it.
    Unknown,
    /// It was written and not closed since.
    MaybeActive,
}

/// What reading leaves behind in the page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageCache {
    /// It stays: the file was just written, or somebody uses it.
    Keep,
    /// Large files that have been quiet are dropped again: first captures and reconciles.
    Drop,
}

/// How a file is captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaptureOptions {
    /// What is known about writers.
    pub writer: Writer,
    /// The change time of the version before, where that is of this file and not clean.
    pub doubted: Option<Instant>,
    /// Whether it is read only because of that doubt.
    pub reread: bool,
    /// What happens to the page cache.
    pub page_cache: PageCache,
}

/// What a capture gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured<T> {
    /// What the file was before the read whose bytes were kept.
    pub stat: Stat,
    /// What the sink made of the bytes.
    pub content: T,
    /// How far they can be trusted.
    pub quality: Quality,
    /// Whether a later change could carry the same change time.
    pub racy: bool,
    /// When the read began.
    pub read_at: Instant,
}

/// Why a capture gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError<E> {
    /// The name is there, but it is something else now.
    #[error(transparent)]
    NotRegular(NotRegular),
    /// The system refused to open or to stat it; `NotFound` where it is gone.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is long, still open for writing, and seems to be what it was: to be looked at later.
    #[error("still open for writing")]
    StillOpen,
    /// The sink failed; a failed read arrives here too, through the sink.
    #[error("{0}")]
    Sink(E),
}

/// Reads a file until one read saw no change, three times at most. After a torn read a clone is taken instead, where the
/// filesystem can give one.
///
/// The sink is called once a try and has to begin anew each time: what it made of an earlier try is dropped.
pub(crate) fn capture<T, E>(
    fs: &dyn SourceFs,
    clock: &dyn Clock,
    dir: &DirHandle,
    name: &[u8],
    options: CaptureOptions,
    sink: &mut dyn FnMut(&mut dyn Source) -> Result<T, E>,
) -> Result<Captured<T>, CaptureError<E>> {
    let mut tries = 0;
    loop {
        tries += 1;
        // By name each time: a file that was replaced meanwhile is read in its new form.
        let mut file = fs.open_file(dir, name).map_err(open_error)?;
        if options.page_cache == PageCache::Drop {
            file.keep_cache(false);
        }
        let read_at = clock.now().wall;
        let before = file.stat().map_err(CaptureError::Unreadable)?;
        // Asked after the first stat and before the read: whoever begins to write after this moves the change time, so
        // that the second stat tells; whoever had begun before is still there.
        let writers = asks(&options, &before, read_at).then(|| file.writers());
        if options.reread
            && writers == Some(Writers::Some)
            && before.size > REREAD_BYTES_MAX
            && options.doubted == Some(before.ctime)
        {
            return Err(CaptureError::StillOpen);
        }
        let racy = is_racy(before.ctime, read_at);
        let content = sink(&mut file).map_err(CaptureError::Sink)?;
        let after = file.stat().map_err(CaptureError::Unreadable)?;
        if !differs(&before, &after) {
            let quality = quality(options.writer, writers, is_recent(before.ctime, read_at));
            return Ok(Captured { stat: before, content, quality, racy, read_at });
        }
        // Only now: a clone makes the kernel write the file out.
        if let Some(captured) = capture_clone(fs, clock, &file, sink)? {
            return Ok(captured);
        }
        if tries >= TRIES_MAX {
            return Ok(Captured { stat: before, content, quality: Quality::Torn, racy, read_at });
        }
    }
}

/// Captures a clone of an open file: no write can tear that. A store through a mapping still can, so it is clean only
/// where there is no writer.
fn capture_clone<T, E>(
    fs: &dyn SourceFs,
    clock: &dyn Clock,
    file: &RegularFile,
    sink: &mut dyn FnMut(&mut dyn Source) -> Result<T, E>,
) -> Result<Option<Captured<T>>, CaptureError<E>> {
    let read_at = clock.now().wall;
    // From before the clone: where the file changes in between, its change time says so at the next look.
    let stat = file.stat().map_err(CaptureError::Unreadable)?;
    let writers = file.writers();
    let mut clone = match fs.clone_file(file, &stat) {
        Ok(Some(clone)) => clone,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::debug!(%error, "a file that does not hold still could not be cloned");
            return Ok(None);
        }
    };
    let content = sink(&mut clone).map_err(CaptureError::Sink)?;
    let quality = if writers == Writers::None { Quality::Clean } else { Quality::Provisional };
    Ok(Some(Captured { stat, content, quality, racy: is_racy(stat.ctime, read_at), read_at }))
}

/// Whether the kernel is asked for writers: where there may be one. Files that have been quiet are left alone, because
/// the question holds up whoever opens the file for writing at that moment.
fn asks(options: &CaptureOptions, before: &Stat, read_at: Instant) -> bool {
    options.writer == Writer::MaybeActive || options.doubted.is_some() || is_recent(before.ctime, read_at)
}

/// How far a read that saw no change can be trusted.
fn quality(hinted: Writer, writers: Option<Writers>, recent: bool) -> Quality {
    match (writers, hinted) {
        (Some(Writers::Some), _) | (Some(Writers::Unknown), Writer::MaybeActive) => Quality::Provisional,
        (Some(Writers::Unknown), Writer::Unknown) if recent => Quality::Provisional,
        (Some(Writers::None | Writers::Unknown) | None, _) => Quality::Clean,
    }
}

/// Whether somebody who changed the file may still be at it; also where the time lies in the future, as after a clock
/// step.
fn is_recent(ctime: Instant, read_at: Instant) -> bool {
    read_at.0.saturating_sub(ctime.0) < QUIET_NS
}

fn open_error<E>(error: io::Error) -> CaptureError<E> {
    match NotRegular::kind_in(&error) {
        Some(kind) => CaptureError::NotRegular(NotRegular { kind }),
        None => CaptureError::Unreadable(error),
    }
}

/// Whether something changed between two stats; times are compared for being the same, never for order.
fn differs(before: &Stat, after: &Stat) -> bool {
    (before.ctime, before.size, before.ino) != (after.ctime, after.size, after.ino)
}

/// Whether a change after the read could carry the change time from before it; also where that lies in the future,
/// as after a clock step.
fn is_racy(ctime: Instant, read_at: Instant) -> bool {
    ctime > read_at || ctime.0.abs_diff(read_at.0) < RACY_NS
}

#[cfg(test)]
mod tests;

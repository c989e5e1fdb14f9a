//! A consistent read of one regular file.
//!
//! Owns the order stat, read, stat, the number of tries and the label of what came out. Does not know what becomes of
//! the bytes: a sink consumes them. Decides nothing about when; `settle` does.

use std::io;

use asof_journal::content::{Piece, Source};
use asof_journal::types::{Instant, Quality};

use crate::clock::Clock;
use crate::fs::{DirHandle, NotRegular, RegularFile, SourceFs, Stat};

/// How often a file is read that keeps changing under the read.
const TRIES_MAX: u32 = 3;
/// A change time this close to the read may be given to a later change too: kernel clocks tick every 1 to 10 ms.
const RACY_NS: u64 = 10_000_000;

impl Source for RegularFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        self.next(buffer)
    }
}

/// What the caller knows of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The last hint was that it was closed or came by rename; or it has been quiet for long.
    Unlikely,
    /// It was written and not closed since, as far as hints tell.
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
    /// The sink failed; a failed read arrives here too, through the sink.
    #[error("{0}")]
    Sink(E),
}

/// Reads a file until one read saw no change, three times at most.
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
        let content = sink(&mut file).map_err(CaptureError::Sink)?;
        let after = file.stat().map_err(CaptureError::Unreadable)?;
        let changed = differs(&before, &after);
        if changed && tries < TRIES_MAX {
            continue;
        }
        let quality = match (changed, options.writer) {
            (true, _) => Quality::Torn,
            (false, Writer::MaybeActive) => Quality::Provisional,
            (false, Writer::Unlikely) => Quality::Clean,
        };
        let racy = is_racy(before.ctime, read_at);
        return Ok(Captured { stat: before, content, quality, racy, read_at });
    }
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

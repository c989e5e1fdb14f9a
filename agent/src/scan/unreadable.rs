//! What is there and may not be looked at: named once, looked at again when there is a reason, and over when it can be.
//!
//! Owns which directories those are. The gap that lasts is the loop's.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use asof_journal::types::{Gap, GapReason, Op};
use asof_journal::view::is_below;

use super::{Result, Root, Scanner, Trip, is_gone};
use crate::health::Trouble;
use crate::pool::count;
use crate::run::Event;

/// Directories that are remembered; beyond, each look at one is a gap of a moment, and the next comparison finds what
/// can be read again.
const CLOSED_MAX: usize = 256;

/// Directories that cannot be listed.
#[derive(Debug, Default)]
pub(super) struct Closed {
    any: AtomicBool,
    dirs: Mutex<BTreeSet<Vec<u8>>>,
}

impl Closed {
    /// Whether the directory is one of them; costs next to nothing where there is none.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.any.load(Ordering::Relaxed) && self.lock().contains(path)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one. `Some(true)` where it is new, `None` where there are too many.
    fn insert(&self, path: &[u8]) -> Option<bool> {
        let mut dirs = self.lock();
        if dirs.iter().any(|known| is_below(path, known)) {
            return Some(false);
        }
        if dirs.len() >= CLOSED_MAX {
            return None;
        }
        self.any.store(true, Ordering::Relaxed);
        Some(dirs.insert(path.to_vec()))
    }

    fn remove(&self, path: &[u8]) -> bool {
        let mut dirs = self.lock();
        let was = dirs.remove(path);
        self.any.store(!dirs.is_empty(), Ordering::Relaxed);
        was
    }
}

impl Scanner {
    /// A directory cannot be looked at; `path` is it, or is below it. The rest goes on.
    pub(super) fn unreadable(
        &self,
        root: &Root,
        path: &[u8],
        error: &io::Error,
        trip: &Trip<'_>,
    ) -> Result<()> {
        if is_gone(error) {
            return Ok(());
        }
        let scope = self.topmost_closed(root, path);
        match self.closed.insert(scope) {
            Some(true) => {
                (self.workshop.tell)(Event::Trouble(Trouble::Unreadable(scope.to_vec(), error.to_string())));
                Ok(())
            }
            Some(false) => Ok(()),
            None => self.moment(scope, error, trip),
        }
    }

    /// A directory was listed: if it could not be before, that is over.
    pub(super) fn readable(&self, path: &[u8]) {
        if self.closed.has(path) && self.closed.remove(path) {
            (self.workshop.tell)(Event::Recovered(Trouble::Unreadable(path.to_vec(), String::new())));
        }
    }

    /// A directory that could not be listed is gone.
    pub(super) fn forget_closed(&self, path: &[u8]) {
        if !self.closed.any.load(Ordering::Relaxed) {
            return;
        }
        let below: Vec<Vec<u8>> =
            self.closed.lock().iter().filter(|known| is_below(known, path)).cloned().collect();
        for known in below {
            self.readable(&known);
        }
    }

    /// The first directory on the way that cannot be opened.
    fn topmost_closed<'p>(&self, root: &Root, path: &'p [u8]) -> &'p [u8] {
        let ends = (root.path.len() + 1..path.len()).filter(|&at| path.get(at) == Some(&b'/'));
        let mut above = ends.filter_map(|at| path.get(..at));
        above.find(|dir| self.open(root, dir).is_err()).unwrap_or(path)
    }

    fn moment(&self, path: &[u8], error: &io::Error, trip: &Trip<'_>) -> Result<()> {
        tracing::info!(path = %path.escape_ascii(), %error, "cannot be looked at; a gap is recorded");
        let now = self.workshop.clock.now().wall;
        let from = trip.hinted.unwrap_or(now);
        let (scope, detail) = (path.to_vec(), error.to_string());
        let gap = Gap { scope, from, until: now, reason: GapReason::Unreadable, detail };
        count(&self.workshop.tally.gaps, 1);
        self.submit(vec![Op::Gap(gap)], trip.hinted, trip.ticket).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_is_new_once_and_what_is_below_it_never() {
        let closed = Closed::default();
        assert!(!closed.has(b"/r/d"));
        assert_eq!(closed.insert(b"/r/d"), Some(true));
        assert_eq!(closed.insert(b"/r/d"), Some(false));
        assert_eq!(closed.insert(b"/r/d/e"), Some(false));
        assert!(closed.has(b"/r/d") && !closed.has(b"/r/d/e"));
        assert!(closed.remove(b"/r/d") && !closed.remove(b"/r/d"));
        assert!(!closed.any.load(Ordering::Relaxed));
        for number in 0..CLOSED_MAX {
            assert_eq!(closed.insert(format!("/r/{number}").as_bytes()), Some(true));
        }
        assert_eq!(closed.insert(b"/r/one-more"), None);
    }
}

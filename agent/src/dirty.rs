//! Where hints meet the main loop: the dirty map behind a lock, and what concerns no single path.
//!
//! The event source's thread only ever takes the lock for one hint; it never waits for work, and nothing is dropped:
//! what the map cannot hold one by one it holds as scans.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::clock::Clock;
use crate::settle::Settle;
use crate::watch::{Hint, HintSink, What};

/// Errors of the source that are remembered one by one until the main loop takes them.
const ERRORS_MAX: usize = 64;

/// Something that the source could not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceTrouble {
    /// What it does not see, with everything below; empty for everything.
    pub path: Vec<u8>,
    /// What it said.
    pub text: String,
}

/// The dirty map and what came beside it.
pub(crate) struct State {
    /// The dirty map.
    pub settle: Settle,
    /// Number of the newest hint.
    pub last_no: u64,
    /// Cookies that came back: file name to the number of its hint.
    pub cookies: BTreeMap<Vec<u8>, u64>,
    /// Hints were lost since the main loop looked last.
    pub overflowed: bool,
    /// What the source could not do since the main loop looked last.
    pub troubles: Vec<SourceTrouble>,
    /// Where a filesystem was unmounted since the main loop looked last.
    pub unmounted: Vec<Vec<u8>>,
}

impl State {
    /// Whether there is something beside the hints that the main loop has not taken yet.
    pub(crate) fn has_more_beside(&self) -> bool {
        self.overflowed || !self.troubles.is_empty() || !self.unmounted.is_empty()
    }
}

/// The dirty map, shared by the source's thread and the main loop.
pub(crate) struct Dirty {
    state: Mutex<State>,
    wake: Sender<()>,
    hints: AtomicU64,
}

impl Dirty {
    /// An empty map, and what tells the main loop that something came.
    pub(crate) fn new(settle: Settle) -> (Arc<Dirty>, Receiver<()>) {
        let (wake, woken) = bounded(1);
        let state = State {
            settle,
            last_no: 0,
            cookies: BTreeMap::new(),
            overflowed: false,
            troubles: Vec::new(),
            unmounted: Vec::new(),
        };
        (Arc::new(Dirty { state: Mutex::new(state), wake, hints: AtomicU64::new(0) }), woken)
    }

    /// The map, locked; the source waits meanwhile, so it is held for moments only.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hints that came since the start.
    pub(crate) fn hints(&self) -> u64 {
        self.hints.load(Ordering::Relaxed)
    }

    /// Tells the main loop to look.
    pub(crate) fn wake(&self) {
        match self.wake.try_send(()) {
            // One that was not taken yet says the same.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

/// Takes hints on the source's thread.
pub(crate) struct Intake {
    dirty: Arc<Dirty>,
    clock: Arc<dyn Clock>,
    /// The directory of the cookies, with a slash behind.
    cookies: Vec<u8>,
}

impl Intake {
    /// Takes hints into `dirty`; what happens in `cookies` is no change but an answer.
    pub(crate) fn new(dirty: Arc<Dirty>, clock: Arc<dyn Clock>, mut cookies: Vec<u8>) -> Intake {
        cookies.push(b'/');
        Intake { dirty, clock, cookies }
    }
}

impl HintSink for Intake {
    fn hint(&mut self, hint: Hint) {
        let now_ns = self.clock.monotonic_ns();
        let mut state = self.dirty.lock();
        state.last_no += 1;
        let no = state.last_no;
        tracing::trace!(no, path = %hint.path.escape_ascii(), what = ?hint.what, "hint");
        if let Some(cookie) = hint.path.strip_prefix(self.cookies.as_slice()) {
            if matches!(hint.what, What::Appeared { .. }) {
                state.cookies.insert(cookie.to_vec(), no);
            }
        } else {
            self.dirty.hints.fetch_add(1, Ordering::Relaxed);
            match hint.what {
                What::Overflow => state.overflowed = true,
                What::SourceError { text, .. } => {
                    // Too many to name: then it is everything that may not be seen.
                    let crowded = state.troubles.len() >= ERRORS_MAX;
                    if crowded {
                        state.troubles.clear();
                    }
                    let path = if crowded { Vec::new() } else { hint.path };
                    state.troubles.push(SourceTrouble { path, text });
                }
                What::Unmounted if state.unmounted.len() < ERRORS_MAX => state.unmounted.push(hint.path),
                // The table of mounts is looked at every second all the same.
                What::Unmounted => {}
                _ => {
                    state.settle.hint(now_ns, hint, no);
                }
            }
        }
        drop(state);
        self.dirty.wake();
    }
}

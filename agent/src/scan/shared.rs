//! Directories that several threads list: each takes one and gives back what it found in it.

use std::sync::{Condvar, Mutex, PoisonError};

use super::Pending;

/// The directories still to be listed.
pub(super) struct Shared {
    state: Mutex<SharedState>,
    changed: Condvar,
}

struct SharedState {
    dirs: Vec<Pending>,
    busy: usize,
    given_up: bool,
}

impl Shared {
    pub(super) fn new(dirs: Vec<Pending>) -> Shared {
        Shared { state: Mutex::new(SharedState { dirs, busy: 0, given_up: false }), changed: Condvar::new() }
    }

    /// The next directory; `None` when all are listed. The caller gives back, even if nothing.
    pub(super) fn take(&self) -> Option<Pending> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.given_up {
                return None;
            }
            if let Some(dir) = state.dirs.pop() {
                state.busy += 1;
                return Some(dir);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn give(&self, dirs: impl Iterator<Item = Pending>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.dirs.extend(dirs);
        state.busy -= 1;
        self.changed.notify_all();
    }

    pub(super) fn give_up(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).given_up = true;
        self.changed.notify_all();
    }
}

//! What is left to be listed of a directory that appeared: between the event source, which has it watched, and whoever
//! lists it.
//!
//! Owns the proof that a listing can be spared. The source says of a directory, after its watch is in place, whether
//! there was anything in it then; from then on every name in it has an event, and every directory in it a hint of its
//! own ([`crate::watch::What::Appeared`]). A directory of which the source says nothing has to be listed with
//! everything below it. Never holds for what was renamed, for what comes after lost hints, or for a comparison.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Directories remembered of each of two generations; the older is forgotten when the younger has so many. What is
/// forgotten is listed with everything below it. About 100 bytes each.
const DIRECTORIES_MAX: usize = 8192;

/// How much of a directory that appeared has to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uncovered {
    /// Everything below it: nobody knows when it was watched.
    Tree,
    /// Its own entries: directories among them have hints of their own.
    Entries,
    /// Nothing: it was empty when its watch was in place, or it was listed since.
    Nothing,
}

/// Directories that were watched and announced, by device and inode.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    directories: HashMap<(u64, u64), Watched>,
    by_watch: HashMap<i32, (u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    watch: i32,
    uncovered: Uncovered,
}

impl Cover {
    /// A directory has its watch, and a hint says so now. `empty`: nothing was in it after that.
    pub(super) fn announce(&self, watch: i32, inode: (u64, u64), empty: bool) {
        let mut state = self.lock();
        if state.young.directories.len() >= DIRECTORIES_MAX {
            state.old = std::mem::take(&mut state.young);
        }
        state.old.forget_inode(inode);
        state.young.forget_inode(inode);
        let uncovered = if empty { Uncovered::Nothing } else { Uncovered::Entries };
        state.young.directories.insert(inode, Watched { watch, uncovered });
        state.young.by_watch.insert(watch, inode);
    }

    /// A watch is gone; its inode may be given to another directory.
    pub(super) fn forget(&self, watch: i32) {
        let mut state = self.lock();
        state.young.forget_watch(watch);
        state.old.forget_watch(watch);
    }

    /// Events were lost.
    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    /// What is to be listed of a directory that a hint says appeared. Asked before it is opened: the answer holds for a
    /// listing that begins later, and whoever gets it does list.
    pub(crate) fn take(&self, inode: (u64, u64)) -> Uncovered {
        let mut state = self.lock();
        let State { young, old } = &mut *state;
        match young.directories.get_mut(&inode).or_else(|| old.directories.get_mut(&inode)) {
            Some(watched) => std::mem::replace(&mut watched.uncovered, Uncovered::Nothing),
            None => Uncovered::Tree,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    fn forget_watch(&mut self, watch: i32) {
        if let Some(inode) = self.by_watch.remove(&watch) {
            self.directories.remove(&inode);
        }
    }

    fn forget_inode(&mut self, inode: (u64, u64)) {
        if let Some(watched) = self.directories.remove(&inode) {
            self.by_watch.remove(&watched.watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_announced_is_covered_and_it_is_listed_once() {
        let cover = Cover::default();
        assert_eq!(cover.take((1, 5)), Uncovered::Tree);
        assert_eq!(cover.take((1, 5)), Uncovered::Tree, "asking covers nothing");
        cover.announce(7, (1, 5), true);
        assert_eq!(cover.take((1, 5)), Uncovered::Nothing);
        cover.announce(8, (1, 6), false);
        assert_eq!(cover.take((1, 6)), Uncovered::Entries);
        assert_eq!(cover.take((1, 6)), Uncovered::Nothing);
        assert_eq!(cover.take((2, 6)), Uncovered::Tree, "of another device");
    }

    #[test]
    fn an_inode_that_is_used_again_is_not_covered_by_what_it_was() {
        let cover = Cover::default();
        cover.announce(7, (1, 5), true);
        cover.forget(7);
        assert_eq!(cover.take((1, 5)), Uncovered::Tree);
        cover.announce(8, (1, 5), true);
        cover.announce(9, (1, 5), false);
        cover.forget(8);
        assert_eq!(cover.take((1, 5)), Uncovered::Entries, "the newer watch holds");
        cover.announce(10, (1, 6), true);
        cover.clear();
        assert_eq!(cover.take((1, 6)), Uncovered::Tree);
    }

    #[test]
    fn it_is_bounded_and_the_newest_are_covered() {
        let cover = Cover::default();
        for inode in 0..5 * DIRECTORIES_MAX as u64 {
            cover.announce(inode as i32, (1, inode), true);
        }
        let state = cover.lock();
        assert!(state.young.directories.len() + state.old.directories.len() <= 2 * DIRECTORIES_MAX);
        assert!(state.young.by_watch.len() + state.old.by_watch.len() <= 2 * DIRECTORIES_MAX);
        drop(state);
        assert_eq!(cover.take((1, 0)), Uncovered::Tree);
        assert_eq!(cover.take((1, 4 * DIRECTORIES_MAX as u64)), Uncovered::Nothing);
    }
}

//! What events mean: hints, and changes of the tree of watched directories.
//!
//! Events are handled in the order of the queue, each to its end. Hints name the path that a thing had at that place of
//! the queue.

use ::inotify::EventMask;

use super::renames::{Place, SelfMoved};
use super::tree::{Moved, Wd};
use super::walk::{Outcome, Why};
use super::{InotifySource, Queued};
use crate::watch::What;

/// Places that wait to be looked at until the queue is empty; with so many it is done at once.
const UNSURE_MAX: usize = 1024;

impl InotifySource {
    pub(super) fn handle(&mut self, event: Queued) {
        let Queued { wd, mask, cookie, name } = event;
        if mask.contains(EventMask::Q_OVERFLOW) {
            self.renames.clear();
            self.cover.clear();
            self.hint(Vec::new(), What::Overflow);
            self.repair();
        } else if mask.contains(EventMask::IGNORED) {
            self.ended(wd);
        } else if !self.tree.contains(wd) {
            // Queued before the watch was removed.
        } else if name.is_empty() {
            self.own(wd, mask);
        } else {
            self.named(wd, &name, mask, cookie);
        }
    }

    /// Something happened to a name in a directory.
    fn named(&mut self, wd: Wd, name: &[u8], mask: EventMask, cookie: u32) {
        let dir = mask.contains(EventMask::ISDIR);
        let Some(path) = self.tree.path_in(wd, name) else { return };
        let left_out = self.is_left_out(&path, dir);
        let what = if mask.contains(EventMask::CREATE) {
            if dir {
                self.renames.forget(&Place::new(wd, name));
                if !left_out && self.created(wd, name, &path) {
                    return;
                }
            }
            What::Appeared { dir }
        } else if mask.contains(EventMask::MOVED_FROM) {
            let from = (!left_out).then(|| path.clone());
            self.renames.from(cookie, dir, Place::new(wd, name), from);
            What::MovedFrom
        } else if mask.contains(EventMask::MOVED_TO) {
            let from = self.renames.to(cookie, dir, Place::new(wd, name));
            if dir && !left_out {
                // Watched first, so that the hint stands for everything that was there before.
                self.arrive(wd, name, Why::MovedIn);
            }
            What::MovedTo { from }
        } else if mask.contains(EventMask::DELETE) {
            if dir {
                // Its watch ends with an event of its own; the name may be another directory's already.
                self.renames.forget(&Place::new(wd, name));
            }
            What::Gone
        } else if mask.contains(EventMask::CLOSE_WRITE) {
            What::Closed
        } else if mask.contains(EventMask::MODIFY) {
            What::Written
        } else {
            What::Attributes
        };
        if !left_out {
            self.hint(path, what);
            return;
        }
        if what.changes_names()
            && let Some(above) = self.tree.path(wd)
            && !self.is_left_out(&above, true)
        {
            // The directory's own times changed with the name, and the kernel sends nothing of that.
            self.hint(above, What::Attributes);
        }
        if dir {
            self.tree.leave_out_below(wd);
        }
    }

    /// A directory was made; says whether a hint of it was given already.
    fn created(&mut self, wd: Wd, name: &[u8], path: &[u8]) -> bool {
        match self.arrive(wd, name, Why::Created) {
            Outcome::New => true,
            Outcome::Known(found) => {
                let announced = self.tree.is_announced(found);
                self.tree.announce(found);
                announced
            }
            Outcome::Nothing => {
                tracing::trace!(path = %path.escape_ascii(), "a new directory is not to be watched");
                false
            }
        }
    }

    /// Something happened to a watched directory itself. The directory above tells the same of all but roots.
    fn own(&mut self, wd: Wd, mask: EventMask) {
        let top = self.tops.contains_key(&wd);
        if mask.contains(EventMask::MOVE_SELF) && !top {
            self.moved(wd);
            return;
        }
        let what = if mask.contains(EventMask::DELETE_SELF) {
            What::Gone
        } else if mask.contains(EventMask::MOVE_SELF) {
            What::MovedFrom
        } else if mask.contains(EventMask::UNMOUNT) {
            // Every directory on it says so; the root stands for all.
            What::Unmounted
        } else {
            What::Attributes
        };
        if top && let Some(path) = self.tree.path(wd) {
            self.hint(path, what);
        }
    }

    /// A directory says that it was renamed.
    fn moved(&mut self, wd: Wd) {
        let Some(place) = self.tree.last_place(wd).map(|(parent, name)| Place::new(parent, name)) else {
            return;
        };
        match self.renames.moved(&place) {
            SelfMoved::Known => {}
            SelfMoved::Away => self.depart(wd),
            SelfMoved::To(to) => {
                let path = self.tree.path_in(to.parent, &to.name);
                let left_out = path.is_none_or(|path| self.is_left_out(&path, true));
                if left_out || self.tree.move_to(wd, to.parent, &to.name) == Moved::Below {
                    self.depart(wd);
                } else {
                    self.look_at_left_out(wd);
                    self.unsure.push(to);
                    if self.unsure.len() >= UNSURE_MAX {
                        self.settle_places();
                    }
                }
            }
        }
    }
}

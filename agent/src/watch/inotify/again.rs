//! What is looked at again: directories that could not be reached, places that are in doubt, what rules or lost events
//! left unwatched.
//!
//! Nothing here knows more than the walk finds; it says where to walk, and when to give up.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::InotifySource;
use super::dirs::{self, is_gone};
use super::renames::Place;
use super::tree::Wd;
use super::walk::{Frame, Outcome, Why, join};

/// When directories that could not be reached are tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(20);
/// How often: for some seconds. Then they are reported as not seen.
const RETRIES_MAX: u32 = 200;
/// Directories that wait for that; one more is reported at once.
const POSTPONED_MAX: usize = 4096;
/// A name, or all names, in a directory that could not be reached.
#[derive(Debug)]
pub(super) struct Postponed {
    pub parent: Wd,
    pub name: Option<Box<[u8]>>,
    pub tries: u32,
}

impl InotifySource {
    pub(super) fn postpone(&mut self, postponed: Postponed) {
        let path = self.tree.path_in(postponed.parent, postponed.name.as_deref().unwrap_or_default());
        let Some(path) = path else { return };
        let known = |other: &Postponed| (other.parent, &other.name) == (postponed.parent, &postponed.name);
        if self.postponed.iter().any(known) {
            return;
        }
        if postponed.tries >= RETRIES_MAX || self.postponed.len() >= POSTPONED_MAX {
            self.unseen(path, &io::Error::other("it could not be reached by its path"));
            return;
        }
        self.postponed.push(postponed);
    }

    /// Everything queued was handled: places that two directories claimed, or that only events told of, are looked at.
    pub(super) fn settle_places(&mut self) {
        let displaced: Vec<Wd> = self.tree.displaced().collect();
        let lost: Vec<Place> = displaced
            .iter()
            .filter_map(|wd| self.tree.last_place(*wd))
            .map(|(parent, name)| Place::new(parent, name))
            .collect();
        for Place { parent, name } in lost {
            self.arrive(parent, &name, Why::Created);
        }
        for Place { parent, name } in std::mem::take(&mut self.unsure) {
            let believed = self.tree.at(parent, &name);
            let found = self.arrive(parent, &name, Why::Created);
            if let Some(believed) = believed
                && found != Outcome::Known(believed)
            {
                self.depart(believed);
            }
        }
        // Whoever has no place now is gone, or where nobody watches.
        for wd in displaced {
            if self.tree.place(wd).is_none() {
                self.depart(wd);
            }
        }
    }

    /// Tries directories again that were not where their path led; meanwhile events may have told where they are.
    pub(super) fn retry_postponed(&mut self) {
        if self.postponed.is_empty() || self.retried.elapsed() < RETRY_AFTER {
            return;
        }
        self.retried = Instant::now();
        for Postponed { parent, name, tries } in std::mem::take(&mut self.postponed) {
            if !self.tree.contains(parent) {
                continue; // it is gone; where it turns up again it is walked
            }
            match name {
                Some(name) => drop(self.arrive_after(parent, &name, Why::Created, tries + 1)),
                None => self.walk_again(parent, tries + 1),
            }
        }
    }

    /// Events were lost: whatever is not watched, or not where it is believed to be, is found.
    pub(super) fn repair(&mut self) {
        for top in self.recursive_tops() {
            let opened = self.open_node(top).and_then(|dir| dirs::open_entry(dir.as_fd(), b"."));
            match opened.and_then(|dir| self.walk_all(top, dir, Why::Lost)) {
                // What could not be watched was reported.
                Ok(_) => {}
                // Whoever owns the roots looks whether they are there.
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    if let Some(path) = self.tree.path(top) {
                        self.unseen(path, &error);
                    }
                }
            }
        }
    }

    fn recursive_tops(&self) -> Vec<Wd> {
        self.tops.iter().filter(|(_, top)| top.recursive).map(|(wd, _)| *wd).collect()
    }

    /// Watches what is not watched below a directory in which something was left out.
    fn walk_again(&mut self, wd: Wd, tries: u32) {
        let opened = self.open_node(wd).and_then(|dir| dirs::open_entry(dir.as_fd(), b"."));
        let listed = opened.and_then(|dir| Ok((dirs::list(dir.as_fd())?, dir)));
        match listed {
            Ok((listing, dir)) => {
                let mut names = listing.dirs;
                names.retain(|name| self.tree.at(wd, name).is_none());
                let Some(path) = self.tree.path(wd) else { return };
                let _ = self.walk(Some(Frame { wd, path, dir: Some(Arc::new(dir)), names }), Why::Created);
            }
            Err(error) if is_gone(&error) => self.postpone(Postponed { parent: wd, name: None, tries }),
            Err(error) => {
                if let Some(path) = self.tree.path(wd) {
                    self.unseen(path, &error);
                }
            }
        }
    }

    /// A directory has another path: what the rules left out in it they may not leave out there.
    pub(super) fn look_at_left_out(&mut self, moved: Wd) {
        for wd in self.tree.take_left_out(moved) {
            self.walk_again(wd, 0);
        }
    }

    /// The rules are new: what they leave out is not watched any more, and what they no longer leave out is.
    pub(super) fn apply_rules_everywhere(&mut self) {
        for top in self.recursive_tops() {
            let Some(path) = self.tree.path(top) else { continue };
            let mut stack = vec![(top, path)];
            while let Some((wd, path)) = stack.pop() {
                let children: Vec<(Wd, Vec<u8>)> =
                    self.tree.children(wd).map(|(child, name)| (child, join(&path, name))).collect();
                for (child, path) in children {
                    let elsewhere =
                        self.tree.is_elsewhere(child) && self.options.rules.one_file_system(&path);
                    if elsewhere || self.is_left_out(&path, true) {
                        self.depart(child);
                        self.tree.leave_out_below(wd);
                    } else {
                        stack.push((child, path));
                    }
                }
            }
            self.look_at_left_out(top);
        }
    }
}

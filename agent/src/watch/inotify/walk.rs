//! Adding and removing watches: one directory by its name, a tree by walking it, a tree that departs.
//!
//! Per directory: watch by name, then open, then make sure by the open descriptor that both are the same directory, then
//! list. What is made in it before the watch is listed, what is made later has an event. (On btrfs a directory that is
//! opened before does not show what is made after.) The directory above is opened by its path and made sure of by its own
//! watch: a path may lead elsewhere by now.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ::inotify::WatchMask;
use asof_journal::view::is_below;

use super::again::Postponed;
use super::dirs::{self, is_gone};
use super::tree::{Moved, NONE, Wd};
use super::{InotifySource, Top};
use crate::fs::stat_fd;
use crate::watch::{WatchError, What};

/// How often a directory is tried whose name changes hands while it is being watched.
const SWAPS_MAX: usize = 8;
/// Directories that are open at one time in a walk, and as many that are kept open between events.
const OPEN_MAX: usize = 32;

/// What is watched of a directory: everything but what reading it does.
pub(super) const EVENTS: WatchMask = WatchMask::MODIFY
    .union(WatchMask::ATTRIB)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::MOVE)
    .union(WatchMask::CREATE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);
// Not EXCL_UNLINK: what is written under a name that is gone is the content of a file's other names.

/// Why directories are watched, and so who tells of those that are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// One was made: it and every one below it gets a hint, and is covered from then on.
    Created,
    /// One was renamed to a watched place: the hint of that stands for everything below it.
    MovedIn,
    /// The caller asked, and lists afterwards. What is watched already is walked all the same.
    Asked,
    /// Events were lost: both.
    Lost,
}

impl Why {
    /// Whether those that are found get hints.
    fn tells(self) -> bool {
        matches!(self, Why::Created | Why::Lost)
    }

    /// Whether what is watched already is walked too, to find what is missing below it.
    fn repairs(self) -> bool {
        matches!(self, Why::Asked | Why::Lost)
    }
}

/// What became of watching a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is watched now.
    New,
    /// It was watched before.
    Known(Wd),
    /// There is no directory, it is not to be watched, or it cannot be: that was reported.
    Nothing,
}

/// A directory whose own directories are being watched.
pub(super) struct Frame {
    pub wd: Wd,
    pub path: Vec<u8>,
    pub dir: Option<Arc<OwnedFd>>,
    pub names: Vec<Box<[u8]>>,
}

/// How far watching one name came.
enum Entered {
    /// It is watched, and this is to be walked below it.
    Watched(Outcome, Option<Frame>),
    /// It is not to be watched here.
    Not,
    /// Events have to tell first where things are.
    Wait,
}

/// A directory that was found by a name.
struct Found {
    wd: Wd,
    dir: OwnedFd,
    inode: (u64, u64),
    /// Whether it is on another filesystem than its root.
    elsewhere: bool,
    /// Whether a mount begins here.
    mounted: bool,
}

impl InotifySource {
    /// Watches a tree by its absolute path: a new root, or what is at or below one.
    pub(super) fn watch_tree(&mut self, path: &Path) -> Result<(), WatchError> {
        let Some((at, rest)) = self.locate(path) else { return self.watch_top(path, true) };
        let bytes = path.as_os_str().as_bytes();
        if !rest.is_empty() && self.options.rules.one_file_system(bytes) {
            let stat = dirs::open_root(path).and_then(|dir| stat_fd(dir.as_fd()));
            let stat = stat.map_err(|source| refused(path, source))?;
            if self.filesystem_of(at) != Some((stat.mnt_id, stat.dev)) {
                // A root on a filesystem of its own, which the root around it does not enter.
                return self.watch_top(path, true);
            }
        }
        let missing = WatchError::Missing { path: path.to_path_buf() };
        let place = match rest.first() {
            Some(name) => (at, name.clone()),
            None => match self.tree.last_place(at) {
                Some((NONE, _)) | None => return self.watch_top(path, true),
                Some((parent, name)) => (parent, name.into()),
            },
        };
        let (parent, name) = place;
        if self.tree.path_in(parent, &name).is_none_or(|path| self.is_left_out(&path, true)) {
            return Ok(());
        }
        let dir = match self.open_node(parent) {
            Ok(dir) => dir,
            Err(error) if is_gone(&error) => return Err(missing),
            Err(source) => return Err(WatchError::Refused { path: path.to_path_buf(), source }),
        };
        match self.enter(dir.as_fd(), parent, &name, Why::Asked) {
            Ok(Entered::Watched(_, frame)) => self.walk(frame, Why::Asked),
            Ok(Entered::Not) => Ok(()),
            Ok(Entered::Wait) => {
                self.postpone(Postponed { parent, name: Some(name), tries: 0 });
                Ok(())
            }
            Err(error) if is_gone(&error) => Err(missing),
            Err(source) => Err(refused(path, source)),
        }
    }

    /// Watches a root by its path; `recursive`: with everything below it.
    pub(super) fn watch_top(&mut self, path: &Path, recursive: bool) -> Result<(), WatchError> {
        let refused = |source: io::Error| refused(path, source);
        let handle = dirs::open_root(path).map_err(refused)?;
        // By the descriptor: this very directory, whoever has its name by now.
        let wd = self.add(handle.as_fd(), b"").map_err(refused)?;
        let opened = dirs::open_entry(handle.as_fd(), b".").and_then(|dir| {
            let stat = stat_fd(dir.as_fd())?;
            Ok((dir, stat))
        });
        let (dir, stat) = opened.map_err(|error| {
            self.forget_unless_known(wd);
            refused(error)
        })?;
        let bytes = path.as_os_str().as_bytes();
        let before = self.tree.at(NONE, bytes);
        if before != Some(wd) {
            if self.tree.contains(wd) {
                if !recursive {
                    return Ok(()); // a root has it, and its events with it
                }
                return Err(refused(self.alias_of(wd)));
            }
            if let Some(before) = before {
                // Another directory had the path.
                self.depart(before);
            }
            self.tree.insert(wd, NONE, bytes);
        }
        self.tops.insert(wd, Top { filesystem: (stat.mnt_id, stat.dev), recursive });
        if !recursive {
            return Ok(());
        }
        self.walk_all(wd, dir, Why::Asked).map_err(refused)?
    }

    /// Watches everything below an open directory that is watched itself, and forgets what is not there any more.
    pub(super) fn walk_all(&mut self, wd: Wd, dir: OwnedFd, why: Why) -> io::Result<Result<(), WatchError>> {
        let names = dirs::list(dir.as_fd())?.dirs;
        self.drop_children_but(wd, &names);
        let path = self.tree.path(wd).unwrap_or_default();
        Ok(self.walk(Some(Frame { wd, path, dir: Some(Arc::new(dir)), names }), why))
    }

    fn alias_of(&self, wd: Wd) -> io::Error {
        let other = self.tree.path(wd).unwrap_or_default();
        io::Error::other(format!("it is the same directory as {}, which is watched", other.escape_ascii()))
    }

    /// Watches a directory that an event named, with everything below it.
    pub(super) fn arrive(&mut self, parent: Wd, name: &[u8], why: Why) -> Outcome {
        self.arrive_after(parent, name, why, 0)
    }

    pub(super) fn arrive_after(&mut self, parent: Wd, name: &[u8], why: Why, tries: u32) -> Outcome {
        if self.tree.root_of(parent).and_then(|top| self.tops.get(&top)).is_none_or(|top| !top.recursive) {
            return Outcome::Nothing;
        }
        let entered = match self.open_node(parent) {
            Ok(dir) => self.enter(dir.as_fd(), parent, name, why),
            Err(error) if is_gone(&error) => {
                self.postpone(Postponed { parent, name: Some(name.into()), tries });
                return Outcome::Nothing;
            }
            Err(error) => Err(error),
        };
        match entered {
            Ok(Entered::Watched(outcome, frame)) => {
                // Nobody waits for an answer; what could not be watched was reported.
                let _ = self.walk(frame, why);
                outcome
            }
            Ok(Entered::Not) => Outcome::Nothing,
            Ok(Entered::Wait) => {
                self.postpone(Postponed { parent, name: Some(name.into()), tries });
                Outcome::Nothing
            }
            Err(error) => {
                if !is_gone(&error)
                    && let Some(path) = self.tree.path_in(parent, name)
                {
                    self.unseen(path, &error);
                }
                Outcome::Nothing
            }
        }
    }

    /// Watches one directory by its name in an open one.
    fn enter(&mut self, above: BorrowedFd<'_>, parent: Wd, name: &[u8], why: Why) -> io::Result<Entered> {
        let Some(found) = self.find(above, parent, name)? else { return Ok(Entered::Not) };
        let Found { wd, dir, inode, elsewhere, mounted } = found;
        let Some(path) = self.tree.path_in(parent, name) else {
            self.forget_unless_known(wd);
            return Ok(Entered::Not);
        };
        let known = self.tree.contains(wd);
        let mut replaced = false;
        if known && self.tree.place(wd) != Some((parent, name)) {
            if self.tops.contains_key(&wd) {
                return Ok(Entered::Not); // a root has been moved here, and stays one
            }
            if mounted || self.filesystem_of(wd) != self.filesystem_of(parent) {
                // The same directory by another mount has the same watch, which tells of one of them only.
                return Err(self.alias_of(wd));
            }
            if self.tree.move_to(wd, parent, name) == Moved::Below {
                return Ok(Entered::Wait);
            }
            replaced = true;
        } else if !known {
            self.tree.insert(wd, parent, name);
            if elsewhere {
                self.tree.note_elsewhere(wd);
            }
        }
        let mut frame = None;
        if !known || why.repairs() {
            let listing = dirs::list(dir.as_fd())?;
            if !known && why.tells() {
                self.tree.announce(wd);
                self.cover.announce(wd, inode, listing.empty);
                self.hint(path.clone(), What::Appeared { dir: true });
            }
            if why.repairs() {
                self.drop_children_but(wd, &listing.dirs);
            }
            if !listing.dirs.is_empty() {
                frame = Some(Frame { wd, path: path.clone(), dir: Some(Arc::new(dir)), names: listing.dirs });
            }
        }
        if replaced {
            if why.tells() {
                // What was hinted below it may have been looked for where it was.
                self.hint(path, What::MovedTo { from: None });
            }
            self.look_at_left_out(wd);
        }
        Ok(Entered::Watched(if known { Outcome::Known(wd) } else { Outcome::New }, frame))
    }

    /// Adds the watch of a name, and opens what has it; both are the same directory.
    fn find(&mut self, above: BorrowedFd<'_>, parent: Wd, name: &[u8]) -> io::Result<Option<Found>> {
        for _ in 0..SWAPS_MAX {
            let wd = self.add(above, name)?;
            let opened = dirs::open_entry(above, name).and_then(|dir| {
                let stat = stat_fd(dir.as_fd())?;
                Ok((dir, stat))
            });
            let (dir, stat) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    self.forget_unless_known(wd);
                    return Err(error);
                }
            };
            let elsewhere = self.filesystem_of(parent) != Some((stat.mnt_id, stat.dev));
            if elsewhere && self.is_kept_to_one(parent, name) {
                self.tree.leave_out_below(parent);
                self.forget_unless_known(wd);
                return Ok(None);
            }
            let same = self.add(dir.as_fd(), b"");
            if matches!(same, Ok(same) if same == wd) {
                let mounted = elsewhere && stat_fd(above)?.mnt_id != stat.mnt_id;
                return Ok(Some(Found { wd, dir, inode: (stat.dev, stat.ino), elsewhere, mounted }));
            }
            self.forget_unless_known(wd);
            self.forget_unless_known(same?);
        }
        // It will have an event when it is done.
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    /// Watches what is below a directory. Gives the first directory at which the limit was reached, as an error.
    pub(super) fn walk(&mut self, first: Option<Frame>, why: Why) -> Result<(), WatchError> {
        let mut stack: Vec<Frame> = first.into_iter().collect();
        let mut limit = Ok(());
        while let Some(frame) = stack.last_mut() {
            let Some(name) = frame.names.pop() else {
                stack.pop();
                continue;
            };
            let (parent, path) = (frame.wd, join(&frame.path, &name));
            let dir = frame.dir.clone();
            if self.is_left_out(&path, true) {
                self.tree.leave_out_below(parent);
                continue;
            }
            let dir = match dir.map_or_else(|| self.open_node(parent), Ok) {
                Ok(dir) => dir,
                Err(error) if is_gone(&error) => {
                    self.postpone(Postponed { parent, name: Some(name), tries: 0 });
                    continue;
                }
                Err(error) => {
                    self.unseen(path, &error);
                    continue;
                }
            };
            match self.enter(dir.as_fd(), parent, &name, why) {
                Ok(Entered::Watched(_, Some(below))) => {
                    stack.push(below);
                    // Open directories are few; one further up is opened again when its turn comes.
                    let far = stack.len().checked_sub(OPEN_MAX + 1);
                    if let Some(far) = far.and_then(|far| stack.get_mut(far)) {
                        far.dir = None;
                    }
                }
                Ok(Entered::Watched(_, None) | Entered::Not) => {}
                Ok(Entered::Wait) => self.postpone(Postponed { parent, name: Some(name), tries: 0 }),
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    if error.raw_os_error() == Some(libc::ENOSPC) && limit.is_ok() {
                        let path = Path::new(OsStr::from_bytes(&path)).to_path_buf();
                        limit = Err(WatchError::LimitReached { path });
                    }
                    if why.tells() {
                        // It is listed with everything below it, since nothing covers it.
                        self.hint(path.clone(), What::Appeared { dir: true });
                    }
                    self.unseen(path, &error);
                }
            }
            self.step();
        }
        limit
    }

    /// Removes the watches of a directory and of everything below it.
    pub(super) fn depart(&mut self, wd: Wd) {
        if !self.tree.contains(wd) {
            return;
        }
        let below = self.tree.remove(wd);
        for gone in std::iter::once(wd).chain(below) {
            self.remove(gone);
            self.step();
        }
        self.open.clear();
    }

    /// A watch has ended by itself, with its directory or with the filesystem.
    pub(super) fn ended(&mut self, wd: Wd) {
        let below = self.tree.remove(wd);
        self.tops.remove(&wd);
        self.cover.forget(wd);
        for gone in below {
            self.remove(gone);
            self.step();
        }
        self.open.retain(|(open, _)| *open != wd);
    }

    fn remove(&mut self, wd: Wd) {
        self.tops.remove(&wd);
        self.cover.forget(wd);
        // It may be gone already.
        let _ = rustix::fs::inotify::remove_watch(self.inotify.as_fd(), wd);
    }

    /// A watch that was added to find out what is where, and is nobody's.
    fn forget_unless_known(&mut self, wd: Wd) {
        if !self.tree.contains(wd) {
            self.remove(wd);
        }
    }

    /// In a walk of what is watched already: what is not there any more, and whose event was lost.
    fn drop_children_but(&mut self, wd: Wd, names: &[Box<[u8]>]) {
        let there: std::collections::HashSet<&[u8]> = names.iter().map(|name| &**name).collect();
        let gone: Vec<Wd> = self
            .tree
            .children(wd)
            .filter(|(_, name)| !there.contains(name))
            .map(|(child, _)| child)
            .collect();
        for child in gone {
            self.depart(child);
        }
    }

    /// Opens a watched directory. By its path, and only if that leads to the very directory that the watch is of.
    pub(super) fn open_node(&mut self, wd: Wd) -> io::Result<Arc<OwnedFd>> {
        if let Some((_, dir)) = self.open.iter().find(|(open, _)| *open == wd) {
            return Ok(dir.clone());
        }
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let top = self.tree.root_of(wd).and_then(|top| self.tree.path(top)).ok_or_else(gone)?;
        let root = dirs::open_root(Path::new(OsStr::from_bytes(&top)))?;
        let dir = dirs::open_below(root, &self.tree.names_below_root(wd).ok_or_else(gone)?)?;
        let there = self.add(dir.as_fd(), b"")?;
        if there != wd {
            self.forget_unless_known(there);
            return Err(gone());
        }
        let dir = Arc::new(dir);
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((wd, dir.clone()));
        Ok(dir)
    }

    /// Adds a watch, or finds the one that there is: of an open directory, or of a name in it.
    ///
    /// `MASK_ADD`: otherwise the kernel empties the mask of one that there is before it sets it anew, and an event of that
    /// moment is lost: 2,768 of 2,000,000 writes beside a thread that did nothing else (Linux 6.18); so, none.
    fn add(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Wd> {
        let mask = EVENTS.union(WatchMask::MASK_ADD);
        let mask = if name.is_empty() { mask } else { mask.union(WatchMask::DONT_FOLLOW) };
        let added = self.watches.add(dirs::proc_path(dir, name), mask)?;
        Ok(added.get_watch_descriptor_id())
    }

    /// Mount and device of the root that a directory is below.
    fn filesystem_of(&self, wd: Wd) -> Option<(u64, u64)> {
        self.tops.get(&self.tree.root_of(wd)?).map(|top| top.filesystem)
    }

    /// Whether other filesystems are left out where a name is.
    fn is_kept_to_one(&self, parent: Wd, name: &[u8]) -> bool {
        self.tree.path_in(parent, name).is_none_or(|path| self.options.rules.one_file_system(&path))
    }

    /// The deepest watched directory on the way to a path, and the names from there on; `None` below no root.
    pub(super) fn locate(&self, path: &Path) -> Option<(Wd, Vec<Box<[u8]>>)> {
        let path = path.as_os_str().as_bytes();
        let tops = self.tops.keys().filter_map(|wd| Some((*wd, self.tree.path(*wd)?)));
        let (top, above) = tops.filter(|(_, top)| is_below(path, top)).max_by_key(|(_, top)| top.len())?;
        let rest = path.get(above.len()..).unwrap_or_default();
        let mut names: std::collections::VecDeque<Box<[u8]>> =
            rest.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(Into::into).collect();
        let mut at = top;
        while let Some(next) = names.front().and_then(|name| self.tree.at(at, name)) {
            at = next;
            names.pop_front();
        }
        Some((at, names.into()))
    }
}

fn refused(path: &Path, source: io::Error) -> WatchError {
    let path = path.to_path_buf();
    match source.raw_os_error() {
        Some(libc::ENOSPC) => WatchError::LimitReached { path },
        _ if is_gone(&source) => WatchError::Missing { path },
        _ => WatchError::Refused { path, source },
    }
}

pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

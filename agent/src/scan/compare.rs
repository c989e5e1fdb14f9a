//! What a name is now: unchanged, changed, moved, linked, replaced or new.
//!
//! Owns that decision and the operations that it leads to. Reads no content: files whose content may differ go to the
//! capture threads.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use asof_journal::types::{Content, Identity, Kind, NodeId, Op, Quality, Unbound, Version};
use asof_journal::view::Entry;

use super::{Pending, Reason, Result, Root, Scanner, Trip, is_gone};
use crate::capture::{CaptureOptions, PageCache, Writer};
use crate::fs::{DirHandle, Stat};
use crate::health::Trouble;
use crate::pool::{Claim, Task};
use crate::run::{Again, Event};
use crate::settle::Marks;
use crate::watch::{Uncovered, WatchError};

/// A name as it was found on disk.
pub(super) struct Seen<'s> {
    /// The directory's node.
    pub(super) dir: NodeId,
    /// The directory, open.
    pub(super) handle: &'s Arc<DirHandle>,
    /// The name.
    pub(super) name: &'s [u8],
    /// The absolute path.
    pub(super) path: &'s [u8],
    /// What it is.
    pub(super) stat: &'s Stat,
    /// Why it is looked at.
    pub(super) reason: Reason,
    /// How deep below where the look began.
    pub(super) depth: usize,
}

/// How a name came to stand for its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// It did before.
    Known,
    /// The node was known under another name, or is so still.
    Renamed,
    /// The node was not known.
    New,
}

/// The node that a name turned out to stand for.
struct Claimed {
    node: NodeId,
    /// Whether it was known before, under this or another name.
    same_node: bool,
    claim: Claim,
}

impl Scanner {
    /// Compares a name with what it stands for in the journal, which is `bound`.
    pub(super) fn compare(
        &self,
        root: &Root,
        seen: &Seen<'_>,
        bound: Option<Entry>,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        let Seen { dir, handle, name, path, stat, reason, .. } = *seen;
        if self.is_elsewhere(root, seen, bound.as_ref(), trip)? {
            return Ok(());
        }
        self.phantoms.found(stat.ino, path);
        let view = self.head().view();
        let before = match &bound {
            Some(entry) => view.version(entry.node)?.map(|at| at.version),
            None => None,
        };
        if let (Some(entry), Some(before)) = (&bound, &before)
            && same(before, stat)
            && !(trip.is_doubtful(before) && wants_reread(reason))
            && !(is_closed(reason) && stat.kind == Kind::File && !self.fs().stores_stamp(stat))
            && !(has_arrived(reason) && stat.kind == Kind::Dir)
        {
            // The inode and its change time are the same: this is the very node, unchanged. Only what is below a
            // directory may differ.
            if stat.kind == Kind::Dir && trip.rewatch && self.came_since_covered(entry, trip) {
                self.watch_anew(path);
            }
            self.descend(seen, entry.node, Came::Known, trip);
            return Ok(());
        }
        let identity = match self.fs().identity(handle, name, stat) {
            Ok(identity) => identity,
            Err(error) if is_gone(&error) => {
                (self.workshop.tell)(Event::Again(Again::Name(path.to_vec())));
                return Ok(());
            }
            Err(error) => return self.unreadable(root, path, &error, trip),
        };
        let claim = self.claim(dir, name, Some(&identity), trip)?;
        // Whoever held the claim may have changed what the name stands for.
        let bound = view.lookup(dir, name)?;
        let known = self.head().find(&identity)?;
        let (node, mut ops) = match (&bound, known) {
            (Some(entry), Some(node)) if entry.node == node && entry.kind == stat.kind => (node, Vec::new()),
            _ => self.take_name(dir, name, stat.kind, bound.as_ref(), known, &identity)?,
        };
        let former = former(&ops);
        if is_lost(reason) && !self.lives_on(former)? {
            say_unread(&mut ops);
        }
        let moved = !ops.is_empty();
        let came = match (moved, known == Some(node)) {
            (false, _) => Came::Known,
            (true, true) => Came::Renamed,
            (true, false) => Came::New,
        };
        if moved && stat.kind == Kind::Dir && trip.rewatch {
            self.watch_anew(path);
        }
        // It could not be listed, and has other attributes now.
        let opened = stat.kind == Kind::Dir && self.closed.has(path);
        let claimed = Claimed { node, same_node: known == Some(node), claim: claim.with_node(node) };
        self.change(seen, claimed, ops, trip)?;
        let came = if opened && came == Came::Known { Came::Renamed } else { came };
        self.descend(seen, node, came, trip);
        match former {
            Some(former) => self.look_at_left_behind(root, former, (dir, name), may_have(reason), trip),
            None => Ok(()),
        }
    }

    /// Whether a file that loses a name here has another one.
    fn lives_on(&self, former: Option<(NodeId, Kind)>) -> Result<bool> {
        match former {
            Some((node, Kind::File)) => Ok(self.head().view().bindings_of(node)?.len() > 1),
            _ => Ok(false),
        }
    }

    /// Puts a directory on the list of those to be listed, where what is below it may differ.
    fn descend(&self, seen: &Seen<'_>, node: NodeId, came: Came, trip: &mut Trip<'_>) {
        if seen.stat.kind != Kind::Dir {
            return;
        }
        let reason = match (seen.reason, came) {
            (Reason::Below, _) | (_, Came::Renamed) => Reason::Below,
            (Reason::Hinted(marks), _) if marks.any(Marks::MOVED_TO) => Reason::Below,
            (Reason::Hinted(marks), Came::Known) if !marks.any(Marks::APPEARED_DIR) => return,
            (Reason::Hinted(_), _) | (Reason::Crowd, Came::New) => {
                match self.watch.cover().take((seen.stat.dev, seen.stat.ino)) {
                    Uncovered::Tree => Reason::Below,
                    Uncovered::Entries => Reason::Level,
                    Uncovered::Nothing => return,
                }
            }
            (Reason::Crowd, Came::Known) | (Reason::Level, _) => return,
        };
        let (path, ino, depth) = (seen.path.to_vec(), seen.stat.ino, seen.depth + 1);
        trip.pending.push(Pending { node, path, ino, depth, reason });
    }

    /// Whether a directory may have been taken in after hints were lost and before that was known: by the listing of a
    /// directory above it, which has nothing watched.
    fn came_since_covered(&self, entry: &Entry, trip: &Trip<'_>) -> bool {
        let covered = trip.reconciling.flatten();
        let came = self.head().instant_of(entry.since);
        covered.is_none_or(|covered| came.is_none_or(|came| came >= covered))
    }

    /// Hints were lost, and with them perhaps the one that had this directory watched. Watched first, listed later.
    pub(crate) fn watch_anew(&self, path: &[u8]) {
        let path = Path::new(OsStr::from_bytes(path));
        match self.watch.watch(path) {
            Ok(()) | Err(WatchError::Missing { .. }) => {}
            Err(error) => {
                let path = path.as_os_str().as_bytes().to_vec();
                (self.workshop.tell)(Event::Trouble(Trouble::Unwatched(path, error.to_string())));
            }
        }
    }

    /// Records what a node is now: at once where there is no content to read, through a capture thread otherwise.
    fn change(&self, seen: &Seen<'_>, claimed: Claimed, ops: Vec<Op>, trip: &mut Trip<'_>) -> Result<()> {
        let Seen { handle, name, path, stat, .. } = *seen;
        let Claimed { node, same_node, claim } = claimed;
        let view = self.head().view();
        let before = view.version(node)?.map(|at| at.version);
        if stat.kind == Kind::File {
            if let Some(before) = &before
                && same_node
                && let Some(version) = self.attributes_only(seen, before, !ops.is_empty(), trip)
            {
                return self.change_version(node, version, ops, trip.hinted, trip.ticket);
            }
            let previous = match before {
                Some(before) => Some(before),
                None => self.predecessor(&ops)?,
            };
            if self.rules.is_too_large(stat.size) {
                let xattrs = self.fs().xattrs(handle, name).unwrap_or_default();
                let content = Content::Unread(libc::EFBIG);
                // As for every content that was not read: nobody may take it for the whole file.
                let version =
                    Version { meta: stat.metadata(xattrs), content, quality: Quality::Torn, racy: false };
                return self.change_version(node, version, ops, trip.hinted, trip.ticket);
            }
            let doubted = previous.as_ref().filter(|version| same_node && version.quality != Quality::Clean);
            let doubted = doubted.map(|version| version.meta.ctime);
            let options = CaptureOptions { doubted, ..options_for(seen.reason) };
            let task = Task {
                dir: handle.clone(),
                name: name.to_vec(),
                path: path.to_vec(),
                node,
                stat: *stat,
                ops,
                previous,
                same_node,
                options,
                hinted: trip.hinted,
                claim,
                ticket: trip.ticket.clone(),
            };
            return self.capture(task, trip);
        }
        let content = match stat.kind {
            Kind::Symlink => match self.fs().readlink(handle, name) {
                Ok(target) => Content::Inline(target),
                Err(error) if is_gone(&error) => {
                    (self.workshop.tell)(Event::Again(Again::Name(path.to_vec())));
                    return Ok(());
                }
                Err(error) => Content::Unread(error.raw_os_error().unwrap_or(0)),
            },
            _ => Content::None,
        };
        let xattrs = self.fs().xattrs(handle, name).unwrap_or_default();
        let version = Version { meta: stat.metadata(xattrs), content, quality: Quality::Clean, racy: false };
        self.change_version(node, version, ops, trip.hinted, trip.ticket)
    }

    /// The new version of a file of which only the attributes can have changed, so that its content need not be read:
    /// it was renamed, or a hint said so, and size and modification time are the same.
    ///
    /// It is racy: the content may have been written between that hint and this look, and its modification time put back.
    /// The hint that tells so comes later, and finds a change time that the journal knows already.
    fn attributes_only(
        &self,
        seen: &Seen<'_>,
        before: &Version,
        renamed: bool,
        trip: &Trip<'_>,
    ) -> Option<Version> {
        let Seen { handle, name, stat, reason, .. } = *seen;
        let only_attributes = match reason {
            Reason::Hinted(marks) => !marks.any(Marks::CONTENT.with(Marks::MISSED)),
            // While hints come, one of content may wait under the old name. After downtime size and time are all there is.
            Reason::Below => renamed && trip.reconciling.is_some(),
            Reason::Crowd | Reason::Level => false,
        };
        let same_content =
            (before.meta.size, before.meta.mtime, before.meta.ino) == (stat.size, stat.mtime, stat.ino);
        if !only_attributes || !same_content || trip.is_unsettled(before) {
            return None;
        }
        let xattrs = self.fs().xattrs(handle, name).ok()?;
        Some(Version { meta: stat.metadata(xattrs), racy: true, ..before.clone() })
    }

    /// What a directory is now.
    pub(super) fn dir_version(&self, dir: &DirHandle, stat: &Stat) -> Version {
        let xattrs = self.fs().xattrs_dir(dir).unwrap_or_default();
        Version { meta: stat.metadata(xattrs), content: Content::None, quality: Quality::Clean, racy: false }
    }

    /// What the node that a bind succeeds was last.
    fn predecessor(&self, ops: &[Op]) -> Result<Option<Version>> {
        let succeeded = ops.iter().find_map(|op| match op {
            Op::Bind { succeeds, .. } => *succeeds,
            _ => None,
        });
        match succeeded {
            Some(node) => Ok(self.head().view().version(node)?.map(|at| at.version)),
            None => Ok(None),
        }
    }

    /// The operations that make a name stand for what has it now, and the node that this is.
    pub(super) fn take_name(
        &self,
        dir: NodeId,
        name: &[u8],
        kind: Kind,
        bound: Option<&Entry>,
        known: Option<NodeId>,
        identity: &Identity,
    ) -> Result<(NodeId, Vec<Op>)> {
        let view = self.head().view();
        let mut ops = Vec::new();
        let known = match known {
            // A node has one kind for life; an identity that comes back with another one is a new node.
            Some(node) if view.version(node)?.is_none_or(|at| at.version.meta.kind == kind) => Some(node),
            _ => None,
        };
        let last = view.last_bound(dir, name)?;
        let mut exchanged = None;
        for (old_dir, old_name) in known.map(|node| view.bindings_of(node)).transpose()?.unwrap_or_default() {
            let Some(node) = known else { break };
            match self.now_at(old_dir, &old_name, kind)? {
                Some(there) if there == *identity => continue, // a further name of the same node
                Some(there) => {
                    // RENAME_EXCHANGE: what had this name has the other one now.
                    let swapped = bound.filter(|bound| bound.kind == kind);
                    if let (Some(bound), Some(other)) = (swapped, self.head().find(&there)?)
                        && bound.node == other
                    {
                        exchanged = Some((old_dir, old_name.clone(), other));
                    }
                }
                None => {}
            }
            ops.push(Op::Unbind { dir: old_dir, name: old_name, node, kind, why: Unbound::Moved });
        }
        if let Some(entry) = bound {
            let why = if exchanged.is_some() { Unbound::Moved } else { Unbound::Deleted };
            ops.push(Op::Unbind { dir, name: name.to_vec(), node: entry.node, kind: entry.kind, why });
        }
        let node = known.unwrap_or_else(|| self.head().new_node());
        let succeeds =
            last.filter(|(last, last_kind)| *last != node && *last_kind == kind && kind == Kind::File);
        let succeeds = succeeds.map(|(last, _)| last).filter(|_| exchanged.is_none());
        ops.push(Op::Bind { dir, name: name.to_vec(), node, kind, succeeds });
        if let Some((dir, name, node)) = exchanged {
            ops.push(Op::Bind { dir, name, node, kind, succeeds: None });
        }
        if known.is_none() {
            ops.push(Op::Identify { node, identity: identity.clone() });
        }
        Ok((node, ops))
    }

    /// What a name that the journal knows stands for on disk now; `None` where there is nothing.
    fn now_at(&self, dir: NodeId, name: &[u8], kind: Kind) -> Result<Option<Identity>> {
        let Some(path) = self.head().view().path_of(dir)? else { return Ok(None) };
        // Every component is opened without following symlinks, as below a root.
        let Ok(top) = self.fs().open_root(std::path::Path::new("/")) else { return Ok(None) };
        let relative = top.relative(&path).unwrap_or_default();
        let Ok(handle) = self.fs().open_dir(&top, relative) else { return Ok(None) };
        let Ok(stat) = self.fs().stat(&handle, name) else { return Ok(None) };
        if stat.kind != kind {
            return Ok(None);
        }
        Ok(self.fs().identity(&handle, name, &stat).ok())
    }
}

/// Whether the version was made of this very state: the kernel moves the change time with every change.
pub(super) fn same(before: &Version, stat: &Stat) -> bool {
    let meta = &before.meta;
    (meta.ino, meta.ctime, meta.kind) == (stat.ino, stat.ctime, stat.kind)
        && (stat.kind != Kind::File || meta.size == stat.size)
}

/// Whether there is a reason to read such a version again now: content may have changed, or the agent was away.
fn wants_reread(reason: Reason) -> bool {
    match reason {
        Reason::Hinted(marks) => {
            marks.any(Marks::WRITTEN.with(Marks::CLOSED).with(Marks::MOVED_TO).with(Marks::REREAD))
        }
        Reason::Crowd | Reason::Below | Reason::Level => true,
    }
}

/// Whether a hint says that a writer closed it: where stores through a mapping leave no change time, that is all there is
/// to be seen of them.
fn is_closed(reason: Reason) -> bool {
    matches!(reason, Reason::Hinted(marks) if marks.any(Marks::CLOSED))
}

/// Whether a hint says that something came to have the name: one that was made where another one was removed a moment
/// before may have its inode number, and its change time where the clock has not moved on.
fn has_arrived(reason: Reason) -> bool {
    matches!(reason, Reason::Hinted(marks) if marks.any(Marks::ARRIVED))
}

/// What had the name until now was not read since it was written.
fn say_unread(ops: &mut [Op]) {
    for op in ops {
        if let Op::Unbind { kind: Kind::File, why: why @ Unbound::Deleted, .. } = op {
            *why = Unbound::Unread;
        }
    }
}

/// What had the name until now, and does not go on under the other half of an exchange.
fn former(ops: &[Op]) -> Option<(NodeId, Kind)> {
    ops.iter().find_map(|op| match op {
        Op::Unbind { node, kind: kind @ (Kind::File | Kind::Dir), why: Unbound::Deleted, .. } => {
            Some((*node, *kind))
        }
        _ => None,
    })
}

/// What may have happened to the file that had the name before: it lost a name, and it was written where hints say so, or
/// do not say.
fn may_have(reason: Reason) -> Marks {
    match reason {
        Reason::Hinted(marks) if !marks.any(Marks::CONTENT.with(Marks::LOST)) => Marks::ATTRIBUTES,
        Reason::Hinted(_) | Reason::Crowd | Reason::Below | Reason::Level => Marks::CLOSED,
    }
}

/// Whether what had the name before was written and not read since.
fn is_lost(reason: Reason) -> bool {
    matches!(reason, Reason::Hinted(marks) if marks.any(Marks::LOST))
}

fn options_for(reason: Reason) -> CaptureOptions {
    let (writer, page_cache) = match reason {
        Reason::Hinted(marks) if marks.any(Marks::CLOSED.with(Marks::MOVED_TO)) => {
            (Writer::Unlikely, PageCache::Keep)
        }
        Reason::Hinted(marks) if marks.any(Marks::WRITTEN) => (Writer::MaybeActive, PageCache::Keep),
        Reason::Hinted(_) | Reason::Crowd | Reason::Level => (Writer::Unknown, PageCache::Keep),
        Reason::Below => (Writer::Unknown, PageCache::Drop),
    };
    let reread = matches!(reason, Reason::Hinted(marks) if marks == Marks::REREAD);
    CaptureOptions { writer, doubted: None, reread, page_cache }
}

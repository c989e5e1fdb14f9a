//! What is met on disk and left out: uncovered where the journal has it bound, noted where only the disk tells.
//!
//! Owns the look at `CACHEDIR.TAG`, at other filesystems, and at roots that are protected no longer. By which rule
//! something is left out is `rules`' to say.

use std::io;
use std::sync::Arc;

use asof_journal::content::Piece;
use asof_journal::rules::{CACHEDIR_SIGNATURE, CACHEDIR_TAG};
use asof_journal::types::{Kind, NodeId, Op, Unbound};
use asof_journal::view::{Entry, is_below};

use super::check::Checked;
use super::compare::Seen;
use super::{Pending, Reason, Result, Root, Scanner, Trip, join};
use crate::fs::{DirEntry, DirHandle, Stat};
use crate::health::Trouble;
use crate::pool::Ticket;
use crate::run::Event;

impl Scanner {
    /// Whether a path is left out; `dir` says whether it is a directory, where that is known.
    pub(super) fn is_excluded(&self, path: &[u8], dir: Option<bool>) -> bool {
        self.rules.leave_out(path, dir)
    }

    /// The same, where a listing did not tell what the name is, or something else by now.
    pub(super) fn is_excluded_after_all(&self, path: &[u8], entry: &DirEntry, stat: &Stat) -> bool {
        entry.kind_hint != Some(stat.kind) && self.is_excluded(path, Some(stat.kind == Kind::Dir))
    }

    /// Records that a name is not protected any more, if it was.
    pub(super) fn uncover(&self, bound: Option<Entry>, trip: &mut Trip<'_>) -> Result<()> {
        match bound {
            Some(entry) => self.unbind(&entry, Unbound::Uncovered, trip),
            None => Ok(()),
        }
    }

    /// Lists a directory, and notes first whether it has a tag.
    pub(super) fn list_heeding_tag(&self, path: &[u8], dir: &DirHandle) -> io::Result<Vec<DirEntry>> {
        let entries = self.fs().list(dir)?;
        let tagged = self.rules.heeds_tag(path)
            && entries.iter().any(|entry| entry.name == CACHEDIR_TAG)
            && self.has_tag(dir);
        match self.rules.set_tagged(path, tagged) {
            // Until now hints of what is in it were dropped.
            true if !tagged => self.fs().list(dir),
            _ => Ok(entries),
        }
    }

    /// A hint may have named a tag: where it has come or gone, its directory is compared anew with everything below.
    pub(super) fn look_at_tag(
        &self,
        root: &Root,
        dir: (NodeId, &[u8]),
        name: &[u8],
        handle: &DirHandle,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        if name != CACHEDIR_TAG {
            return Ok(());
        }
        let (node, path) = dir;
        let tagged = self.rules.heeds_tag(path) && self.has_tag(handle);
        if !self.rules.set_tagged(path, tagged) {
            return Ok(());
        }
        tracing::info!(path = %path.escape_ascii(), tagged, "what a CACHEDIR.TAG leaves out changed");
        if !tagged {
            self.watch_anew(path);
        }
        match self.fs().stat_dir(handle) {
            Ok(stat) => {
                trip.pending.push(Pending {
                    node,
                    path: path.to_vec(),
                    ino: stat.ino,
                    depth: 0,
                    reason: Reason::Below,
                });
                Ok(())
            }
            Err(error) => self.unreadable(root, path, &error, trip),
        }
    }

    fn has_tag(&self, dir: &DirHandle) -> bool {
        let Ok(mut file) = self.fs().open_file(dir, CACHEDIR_TAG) else { return false };
        let mut begin = [0; CACHEDIR_SIGNATURE.len()];
        let mut filled = 0;
        while let Some(rest) = begin.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.next(rest) {
                Ok(Piece::Data(len)) if len > 0 => filled += len,
                _ => return false,
            }
        }
        begin == CACHEDIR_SIGNATURE
    }

    /// Whether a name leads out of what is protected: to the journal, or to another filesystem.
    ///
    /// What is bound under the name of another filesystem stays: it is hidden, not gone; unless it is what was captured
    /// of that very filesystem while it was not left out.
    pub(super) fn is_elsewhere(
        &self,
        root: &Root,
        seen: &Seen<'_>,
        bound: Option<&Entry>,
        trip: &mut Trip<'_>,
    ) -> Result<bool> {
        let Seen { handle, name, path, stat, .. } = *seen;
        let is_dir = stat.kind == Kind::Dir;
        if is_dir && (stat.dev, stat.ino) == self.journal {
            return Ok(true);
        }
        if !self.is_on_another_filesystem(path, stat, (root.mnt_id, root.dev)) {
            if is_dir {
                self.rules.set_mount(path, false);
            }
            return Ok(false);
        }
        if self.rules.leads_to_root(path) {
            return Ok(true); // that root is compared for itself
        }
        let mut hides = bound.is_some();
        if let Some(entry) = bound
            && let Ok(identity) = self.fs().identity(handle, name, stat)
            && self.head().find(&identity)? == Some(entry.node)
        {
            self.unbind(entry, Unbound::Uncovered, trip)?;
            hides = false;
        }
        self.rules.set_mount(path, !hides);
        if stat.mnt_id == root.mnt_id {
            // On one mount and another device: a subvolume, which may be a copy of everything.
            let text = "a subvolume of its own, which one_file_system leaves out".to_string();
            (self.workshop.tell)(Event::Trouble(Trouble::Uncovered(path.to_vec(), text)));
        }
        Ok(true)
    }

    /// Whether a path is on another mount or device than its root, and that is left out.
    pub(super) fn is_on_another_filesystem(&self, path: &[u8], stat: &Stat, root: (u64, u64)) -> bool {
        let (mnt_id, dev) = root;
        let elsewhere = stat.mnt_id != mnt_id || stat.kind == Kind::Dir && stat.dev != dev;
        elsewhere && self.rules.one_file_system(path)
    }

    /// The same questions for a comparison that only looks.
    pub(super) fn is_left_out(&self, root: &Checked, path: &[u8], stat: &Stat) -> bool {
        let is_dir = stat.kind == Kind::Dir;
        let is_journal = is_dir && (stat.dev, stat.ino) == self.journal;
        is_journal
            || self.is_on_another_filesystem(path, stat, root.place())
            || self.is_excluded(path, Some(is_dir))
    }

    /// Opens what becomes a root while the agent runs, watched first. What is in it is for a scan.
    pub(crate) fn take_in_root(&self, path: &[u8], ticket: &Arc<Ticket>) -> Result<Root> {
        self.watch_anew(path);
        self.open_root(path, ticket)
    }

    /// Records that what is below a root is not protected any more, but for what is below one of `kept`.
    pub(crate) fn uncover_root(&self, path: &[u8], kept: &[Vec<u8>], ticket: &Arc<Ticket>) -> Result<()> {
        let Some(entry) = self.head().view().resolve(path)? else { return Ok(()) };
        let mut pending = vec![(path.to_vec(), entry)];
        while let Some((path, entry)) = pending.pop() {
            if kept.contains(&path) {
                continue;
            }
            if entry.node != NodeId::ROOT && !kept.iter().any(|root| is_below(root, &path)) {
                self.uncover_at_once(&entry, ticket)?;
            } else if entry.kind == Kind::Dir {
                let below = self.head().view().list(entry.node)?;
                pending.extend(below.into_iter().map(|entry| (join(&path, &entry.name), entry)));
            }
        }
        Ok(())
    }

    fn uncover_at_once(&self, entry: &Entry, ticket: &Arc<Ticket>) -> Result<()> {
        self.claims.wait_for_node(entry.node);
        let _claim = self.claims.claim(entry.dir, &entry.name, None);
        let bound = self.head().view().lookup(entry.dir, &entry.name)?;
        if bound.is_none_or(|bound| bound.node != entry.node) {
            return Ok(());
        }
        let Entry { dir, name, node, kind, .. } = entry.clone();
        let op = Op::Unbind { dir, name, node, kind, why: Unbound::Uncovered };
        self.submit(vec![op], None, ticket).map(|_| ())
    }
}

//! The comparison that only looks: what differs from the journal although no hint said so.
//!
//! Owns the walk and the question whether something still differs. Records nothing: what differs becomes a hint, and
//! goes the ordinary way.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use asof_journal::types::{Instant, Kind, NodeId, Quality, Version};
use asof_journal::view::Entry;

use super::compare::same;
use super::{DEPTH_MAX, Pending, Reason, Result, ScanError, Scanner, is_gone, join, split};
use crate::fs::{DirHandle, RootHandle, Stat};
use crate::pool::count;

/// Something that differs from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Inode number and change time that it had; `None` where it was not there.
    seen: Option<(u64, Instant)>,
    /// Whether it is only read again, because the last read was not the last word.
    pub is_reread: bool,
}

/// A root as it is checked.
pub(crate) struct Checked {
    handle: RootHandle,
    mnt_id: u64,
    dev: u64,
}

impl Checked {
    /// Its mount and its device.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.mnt_id, self.dev)
    }
}

impl Scanner {
    /// Compares everything below a root with the journal, and gives what differs, directory by directory.
    pub(crate) fn check(&self, path: &[u8], found: &mut dyn FnMut(&Checked, Vec<Suspect>)) -> Result<()> {
        let at = |source| ScanError::Io { path: path.to_vec(), source };
        let handle = self.fs().open_root(Path::new(OsStr::from_bytes(path))).map_err(at)?;
        let stat = self.fs().open_dir(&handle, b"").and_then(|dir| self.fs().stat_dir(&dir)).map_err(at)?;
        let Some(entry) = self.head().view().resolve(path)? else { return Ok(()) };
        let root = Checked { handle, mnt_id: stat.mnt_id, dev: stat.dev };
        let mut pending = vec![Pending {
            node: entry.node,
            path: path.to_vec(),
            ino: stat.ino,
            depth: 0,
            reason: Reason::Below,
        }];
        while let Some(dir) = pending.pop() {
            if self.is_stopping() {
                return Ok(());
            }
            let suspects = self.check_dir(&root, &dir, &mut pending)?;
            if !suspects.is_empty() {
                found(&root, suspects);
            }
        }
        Ok(())
    }

    fn check_dir(&self, root: &Checked, dir: &Pending, pending: &mut Vec<Pending>) -> Result<Vec<Suspect>> {
        let mut suspects = Vec::new();
        let Ok((handle, stat)) = self.open_checked(root, &dir.path) else {
            return Ok(suspects); // gone or closed; its directory's entry tells
        };
        if stat.ino != dir.ino || dir.depth > DEPTH_MAX {
            return Ok(suspects);
        }
        let view = self.head().view();
        let own = view.version(dir.node)?.map(|at| at.version);
        suspects.extend(suspect(&dir.path, own.as_ref(), &stat));
        count(&self.workshop.tally.directories_checked, 1);
        let Ok(entries) = self.fs().list(&handle) else { return Ok(suspects) };
        let bound = view.list(dir.node)?;
        let mut bound: HashMap<Vec<u8>, Entry> =
            bound.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        for entry in entries {
            let known = bound.remove(&entry.name);
            let path = join(&dir.path, &entry.name);
            let stat = match self.fs().stat(&handle, &entry.name) {
                Ok(stat) => stat,
                Err(_) => continue,
            };
            if self.is_left_out(root, &path, &stat) {
                continue;
            }
            let version = match &known {
                Some(known) => view.version(known.node)?.map(|at| at.version),
                None => None,
            };
            // A directory tells of itself when its turn comes.
            let own_turn = stat.kind == Kind::Dir && version.is_some();
            if !own_turn {
                suspects.extend(suspect(&path, version.as_ref(), &stat));
            } else if let Some(known) = known {
                pending.push(Pending {
                    node: known.node,
                    path,
                    ino: stat.ino,
                    depth: dir.depth + 1,
                    reason: Reason::Below,
                });
            }
        }
        for name in bound.into_keys() {
            let path = join(&dir.path, &name);
            if !self.is_excluded(&path, None) && self.stat_checked(root, &path).is_none() {
                suspects.push(Suspect { path, seen: None, is_reread: false });
            }
        }
        Ok(suspects)
    }

    /// Whether it is now what it was when it was suspected, and the journal still has it otherwise.
    pub(crate) fn still_differs(&self, root: &Checked, suspect: &Suspect) -> Result<bool> {
        let now = self.stat_checked(root, &suspect.path);
        if now.map(|stat| (stat.ino, stat.ctime)) != suspect.seen {
            return Ok(false);
        }
        let view = self.head().view();
        let known = view.resolve(&suspect.path)?;
        let Some(stat) = now else { return Ok(known.is_some()) };
        let node: Option<NodeId> = known.map(|entry| entry.node);
        let version = node.map(|node| view.version(node)).transpose()?.flatten();
        Ok(version.is_none_or(|known| !same(&known.version, &stat)))
    }

    fn open_checked(&self, root: &Checked, path: &[u8]) -> io::Result<(Arc<DirHandle>, Stat)> {
        let relative = root.handle.relative(path).unwrap_or_default();
        let dir = self.fs().open_dir(&root.handle, relative)?;
        let stat = self.fs().stat_dir(&dir)?;
        Ok((Arc::new(dir), stat))
    }

    fn stat_checked(&self, root: &Checked, path: &[u8]) -> Option<Stat> {
        let (parent, name) = split(path);
        if root.handle.relative(path).is_some_and(<[u8]>::is_empty) {
            return self.open_checked(root, path).ok().map(|(_, stat)| stat);
        }
        let (dir, _) = self.open_checked(root, parent).ok()?;
        match self.fs().stat(&dir, name) {
            Ok(stat) => Some(stat),
            Err(error) if is_gone(&error) => None,
            Err(_) => None,
        }
    }

    pub(crate) fn count_missed(&self, by: u64) {
        count(&self.workshop.tally.missed_by_events, by);
    }

    /// Whether the agent ends.
    pub(crate) fn ends(&self) -> bool {
        self.workshop.stop.load(Ordering::Relaxed)
    }
}

fn suspect(path: &[u8], known: Option<&Version>, stat: &Stat) -> Option<Suspect> {
    let seen = Some((stat.ino, stat.ctime));
    let is_same = known.is_some_and(|known| same(known, stat));
    let is_reread = is_same && known.is_some_and(|known| known.quality != Quality::Clean);
    (!is_same || is_reread).then(|| Suspect { path: path.to_vec(), seen, is_reread })
}

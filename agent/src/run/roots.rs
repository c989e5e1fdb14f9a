//! The roots while the agent runs: watched, there, on their filesystem, and still the directories that were compared.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use asof_journal::types::GapReason;
use asof_journal::view::is_below;

use super::{Agent, Reconcile, Why};
use crate::health::{Missing, Trouble};
use crate::mounts::{Mount, Mounts};
use crate::watch::WatchError;

/// What a root is when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RootSeen {
    pub(super) dev: u64,
    ino: u64,
}

/// Looks at a directory; `None` where there is none.
pub(super) fn look_at(path: &Path) -> Option<RootSeen> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    metadata.is_dir().then(|| RootSeen { dev: metadata.dev(), ino: metadata.ino() })
}

pub(super) fn open_mounts() -> Option<Mounts> {
    Mounts::open()
        .inspect_err(|error| tracing::warn!(%error, "what is mounted below the roots is not known"))
        .ok()
}

impl Agent {
    pub(super) fn watch_root(&mut self, root: &Path) {
        let path = root.as_os_str().as_bytes().to_vec();
        match self.watch.watch(root) {
            Ok(()) => {}
            Err(WatchError::Missing { .. }) => self.trouble(Trouble::RootMissing(path, Missing::Gone)),
            Err(error) => self.trouble(Trouble::Unwatched(path, error.to_string())),
        }
    }

    /// Whether the roots are what they were when they were compared. A root that is deleted while the agent has it
    /// open sends no event, and another directory may have its path since.
    pub(super) fn look_at_roots(&mut self) {
        let roots = self.config.roots.clone();
        for (root, known) in roots.iter().zip(self.roots_seen.clone()) {
            let (Some(known), now) = (known, look_at(root)) else { continue };
            let missing = match now {
                Some(now) if now == known => continue,
                // A filesystem of its own is never deleted and made anew at one path: it was mounted over or unmounted.
                Some(now) if now.dev != known.dev => Missing::Unmounted,
                _ => Missing::Gone,
            };
            let path = root.as_os_str().as_bytes().to_vec();
            if !self.is_missing(&path) {
                // It may go on at another path, whose changes are not this root's.
                let _ = self.watch.unwatch(root);
            }
            self.trouble(Trouble::RootMissing(path, missing));
        }
    }

    fn is_missing(&self, root: &[u8]) -> bool {
        self.health.has(|known| matches!(known, Trouble::RootMissing(path, why) if path == root && *why != Missing::Refused))
    }

    /// Roots that are back, or are new directories: watched again, and compared.
    pub(super) fn bring_roots_back(&mut self) {
        if !matches!(self.reconcile, Reconcile::Done) {
            return;
        }
        let roots = self.config.roots.clone();
        let seen = self.roots_seen.clone();
        for (root, known) in roots.iter().zip(seen) {
            let path = root.as_os_str().as_bytes();
            if !self.is_missing(path) || !self.is_ready(root, known) {
                continue;
            }
            // The source may hold on to the directory that had the path before.
            let _ = self.watch.unwatch(root);
            self.watch_root(root);
            self.compare_again();
        }
    }

    /// Compares everything; what went unseen is a gap already.
    pub(super) fn compare_again(&mut self) {
        let why = Why { reason: None, scopes: Vec::new(), ..self.unseen(GapReason::RootMissing) };
        self.want_reconcile(why);
    }

    /// The roots that can be compared now; what is wrong with the others is noted.
    pub(super) fn roots_to_compare(&mut self) -> Vec<Vec<u8>> {
        let roots = self.config.roots.clone();
        let mut seen = self.roots_seen.clone();
        seen.resize(roots.len(), None);
        let mut ready = Vec::new();
        for (root, seen) in roots.iter().zip(&mut seen) {
            let path = root.as_os_str().as_bytes().to_vec();
            if self.is_ready(root, *seen) {
                *seen = look_at(root);
                ready.push(path);
            } else if self.is_hollow(root) {
                self.trouble(Trouble::RootMissing(path, Missing::Empty));
            } else if seen.is_none() {
                self.trouble(Trouble::RootMissing(path, Missing::Gone));
            }
        }
        self.roots_seen = seen;
        ready
    }

    /// Whether a root is there, can be listed, is on the filesystem that it was on, and does not look like a place
    /// where that is missing.
    fn is_ready(&self, root: &Path, known: Option<RootSeen>) -> bool {
        let Some(now) = look_at(root) else { return false };
        known.is_none_or(|known| known.dev == now.dev)
            && std::fs::read_dir(root).is_ok()
            && !self.is_hollow(root)
    }

    /// Whether a root is an empty directory and was another one, with something in it: the place where a filesystem is
    /// to be mounted looks like that. What it held is then not taken as deleted.
    pub(super) fn is_hollow(&self, root: &Path) -> bool {
        let view = self.head.view();
        let Ok(Some(entry)) = view.resolve(root.as_os_str().as_bytes()) else { return false };
        let Ok(Some(known)) = view.version(entry.node) else { return false };
        let is_other = look_at(root).is_some_and(|now| now.ino != known.version.meta.ino);
        let is_empty = std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_none());
        is_other && is_empty && view.list(entry.node).is_ok_and(|entries| !entries.is_empty())
    }

    /// After a comparison: roots that were missing and were part of it are protected again.
    pub(super) fn welcome_roots(&mut self) {
        let back: Vec<Vec<u8>> = self
            .config
            .roots
            .iter()
            .zip(&self.roots_seen)
            .filter(|(root, seen)| seen.is_some() && look_at(root) == **seen && !self.is_hollow(root))
            .map(|(root, _)| root.as_os_str().as_bytes().to_vec())
            .collect();
        self.over(|known| match known {
            Trouble::RootMissing(path, why) => *why != Missing::Refused && back.contains(path),
            _ => false,
        });
    }

    pub(super) fn is_a_root_missing(&self) -> bool {
        // One that was missing from the start is no reason to hold everybody up.
        let roots = self.config.roots.iter().zip(&self.roots_seen);
        roots.into_iter().any(|(root, known)| known.is_some() && look_at(root) != *known)
    }

    /// What is mounted below the roots, if that changed: what it hides is unavailable, not deleted.
    pub(super) fn look_at_mounts(&mut self) {
        let Some(mounts) = &mut self.mounts else { return };
        match mounts.poll() {
            Ok(false) => {}
            Ok(true) => self.mounts_changed(),
            Err(error) => {
                tracing::warn!(%error, "what is mounted below the roots is not known any more");
                self.mounts = None;
            }
        }
    }

    /// Compares what is mounted with what is known of it.
    pub(super) fn mounts_changed(&mut self) {
        let Some(mounts) = &self.mounts else { return };
        let mut there = Vec::new();
        let mut networks = Vec::new();
        for root in self.config.root_bytes() {
            let counts = |mount: &&Mount| {
                let at = &mount.at;
                let is_kept_to = self.rules.one_file_system(at) && !self.rules.leads_to_root(at);
                is_kept_to && !self.rules.leave_out(at, Some(true))
            };
            there.extend(mounts.below(&root).filter(counts).cloned());
            networks.extend(mounts.network(&root).map(|kind| (root.clone(), kind.to_string())));
        }
        let is_there = |path: &Vec<u8>| there.iter().any(|mount| mount.at == *path);
        let gone: Vec<Vec<u8>> = self
            .health
            .troubles()
            .filter_map(|trouble| match trouble {
                Trouble::Hidden(path, _) | Trouble::Uncovered(path, _) => Some(path.clone()),
                _ => None,
            })
            .filter(|path| !is_there(path) && !is_subvolume(path))
            .collect();
        for path in gone {
            self.unhidden(&path);
        }
        for mount in there {
            let known = self.health.has(|known| match known {
                Trouble::Hidden(path, _) | Trouble::Uncovered(path, _) => *path == mount.at,
                _ => false,
            });
            if known {
                continue;
            }
            let what = format!("a filesystem ({})", mount.kind);
            let hides = self.head.view().resolve(&mount.at).ok().flatten();
            let hides =
                hides.is_some_and(|entry| self.head.view().list(entry.node).is_ok_and(|l| !l.is_empty()));
            self.trouble(match hides {
                true => Trouble::Hidden(mount.at, what),
                false => Trouble::Uncovered(mount.at, format!("{what} of its own is mounted there")),
            });
        }
        for (root, kind) in networks {
            self.trouble(Trouble::Network(root, kind));
        }
    }

    /// What was hidden is there again; it may have been changed by another way meanwhile.
    fn unhidden(&mut self, path: &[u8]) {
        // Watches of directories outlive their being hidden, but not what was mounted there.
        let is_it = |known: &Trouble| matches!(known, Trouble::Hidden(at, _) | Trouble::Uncovered(at, _) if at == path);
        self.over(is_it);
        self.scan_soon(path);
    }

    /// The source says that a filesystem was unmounted: its watches are gone with it.
    pub(super) fn unmounted(&mut self, path: &[u8]) {
        let roots = self.config.root_bytes();
        if let Some(root) = roots.iter().find(|root| is_below(root, path)) {
            self.trouble(Trouble::RootMissing(root.clone(), Missing::Unmounted));
        } else if roots.iter().any(|root| is_below(path, root)) {
            self.mounts_changed();
            self.scan_soon(path);
        }
    }
}

/// Whether there is a directory on another device than the one that it is in: a subvolume, which is no mount.
fn is_subvolume(path: &[u8]) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let above = path.parent().and_then(look_at);
    above.zip(look_at(path)).is_some_and(|(above, here)| above.dev != here.dev)
}

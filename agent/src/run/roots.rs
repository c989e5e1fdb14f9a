//! The roots while the agent runs: watched, there, and still the directories that were compared.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Agent, Trouble};
use crate::watch::WatchError;

impl Agent {
    pub(super) fn watch_root(&mut self, root: &Path) {
        let path = root.as_os_str().as_bytes().to_vec();
        match self.watch.watch(root) {
            Ok(()) => self.troubles.retain(|known| *known != Trouble::RootMissing(path.clone())),
            Err(WatchError::Missing { .. }) => self.trouble(Trouble::RootMissing(path)),
            Err(error) => self.trouble(Trouble::Unwatched(path, error.to_string())),
        }
    }

    /// Whether the roots are what they were when they were compared. A root that is deleted while the agent has it
    /// open sends no event, and another directory may have its path since.
    pub(super) fn look_at_roots(&mut self) {
        let roots = self.config.roots.clone();
        for (root, known) in roots.iter().zip(self.root_inodes.clone()) {
            if known.is_some() && inode_of(root) != known {
                self.trouble(Trouble::RootMissing(root.as_os_str().as_bytes().to_vec()));
            }
        }
    }

    pub(super) fn is_a_root_missing(&self) -> bool {
        // One that was missing from the start is no reason to hold everybody up.
        let roots = self.config.roots.iter().zip(&self.root_inodes);
        roots.into_iter().any(|(root, known)| known.is_some() && inode_of(root) != *known)
    }
}

/// Device and inode of a directory, if it is there.
pub(super) fn inode_of(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

//! What is left out of what lies below the roots: the policy's rules, and what only looking at the disk tells.
//!
//! Owns that decision for hints, watches and listings alike, and what was found on disk for it: directories with a
//! `CACHEDIR.TAG`, and where other filesystems begin. What patterns mean is in [`asof_journal::rules`]. Looks at nothing
//! itself.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use asof_journal::rules::{CACHEDIR_TAG, PatternError};
use asof_journal::types::{LeftOut, Place, Policy};

/// Places of other filesystems that are recorded; the policy names no more, what is left out is left out all the same.
const MOUNTS_MAX: usize = 1024;

/// The rules in force at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// What was made of which: no other rules ever have the same number.
    number: u64,
    patterns: asof_journal::rules::Rules,
    policy: Policy,
    file_bytes_max: Option<u64>,
}

impl Rules {
    /// The rules of a policy. Files longer than `file_bytes_max` are recorded without their content.
    ///
    /// # Errors
    /// The first pattern that means nothing.
    pub(crate) fn of(policy: Policy, file_bytes_max: Option<u64>) -> Result<Rules, PatternError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let patterns = asof_journal::rules::Rules::new(&policy)?;
        Ok(Rules { number: NEXT.fetch_add(1, Ordering::Relaxed), patterns, policy, file_bytes_max })
    }

    /// Leaves out the given absolute paths, with everything below them.
    #[cfg(test)]
    pub(crate) fn new(excludes: Vec<Vec<u8>>) -> Rules {
        let left_out = excludes.into_iter().map(|path| LeftOut { path, what: Place::Journal }).collect();
        Rules::of(Policy { left_out, ..Policy::default() }, None).unwrap_or_default()
    }

    /// Whether a path is left out by the policy. `dir` says whether it is a directory, where that is known; some
    /// rules hold for directories only, and where it is not known they do not hold.
    pub(crate) fn leaves_out(&self, path: &[u8], dir: Option<bool>) -> bool {
        self.patterns.leaves_out(path, dir)
    }

    /// The pattern that leaves out everything below a root, if one does.
    pub(crate) fn leaves_out_everything(&self, root: &[u8]) -> Option<&str> {
        self.patterns.leaves_out_everything(root)
    }

    /// What is protected, as the journal records it.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// What was found on disk and decides what is left out.
#[derive(Debug, Default)]
struct Found {
    /// Directories with a valid `CACHEDIR.TAG`: all in them but the tag is left out.
    tagged: HashSet<Vec<u8>>,
    /// Directories below roots on which another filesystem is mounted, where that is left out.
    mounts: BTreeSet<Vec<u8>>,
}

/// The rules as threads share them: replaced as a whole when the configuration is read again.
#[derive(Debug, Default)]
pub(crate) struct SharedRules {
    current: RwLock<Arc<Rules>>,
    found: RwLock<Found>,
}

/// The directory that was asked about last by this thread: names come in runs.
#[derive(Default)]
struct Last {
    rules: u64,
    dir: Vec<u8>,
    left_out: bool,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

impl SharedRules {
    /// Begins with these.
    pub(crate) fn new(rules: Rules) -> Arc<SharedRules> {
        Arc::new(SharedRules { current: RwLock::new(Arc::new(rules)), found: RwLock::default() })
    }

    /// The rules in force now.
    pub(crate) fn current(&self) -> Arc<Rules> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts others in force. What was found on disk is found again where it still counts.
    pub(crate) fn replace(&self, rules: Rules) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Whether a path is left out now, by the policy or by a tag; see [`Rules::leaves_out`]. Asked for every hint and
    /// every name that is listed: allocates nothing for a further name of the same directory.
    pub(crate) fn leave_out(&self, path: &[u8], dir: Option<bool>) -> bool {
        let rules = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if self.is_in_tagged(&rules, path) {
            return true;
        }
        let Some(slash) = path.iter().rposition(|&b| b == b'/').filter(|slash| *slash > 0) else {
            return rules.leaves_out(path, dir);
        };
        let parent = path.get(..slash).unwrap_or_default();
        let is_parent_out = LAST.with_borrow_mut(|last| {
            if last.rules != rules.number || last.dir != parent {
                last.left_out = rules.leaves_out(parent, Some(true));
                last.rules = rules.number;
                last.dir.clear();
                last.dir.extend_from_slice(parent);
            }
            last.left_out
        });
        is_parent_out || rules.patterns.leaves_out_entry(path, dir)
    }

    /// Whether other filesystems are left out where a path lies.
    pub(crate) fn one_file_system(&self, path: &[u8]) -> bool {
        self.current().patterns.one_file_system(path)
    }

    /// Whether a path is a root, or a root lies below it.
    pub(crate) fn leads_to_root(&self, path: &[u8]) -> bool {
        self.current().patterns.is_root_or_above(path)
    }

    /// Whether a file of that length is recorded without its content.
    pub(crate) fn is_too_large(&self, bytes: u64) -> bool {
        let rules = self.current.read().unwrap_or_else(PoisonError::into_inner);
        rules.file_bytes_max.is_some_and(|most| bytes > most)
    }

    /// Whether a directory is left out, but for its tag, if it has a valid one.
    pub(crate) fn heeds_tag(&self, dir: &[u8]) -> bool {
        self.current().patterns.heeds_cachedir_tag(dir)
    }

    /// Notes whether a directory has a valid tag. Whether that is news.
    pub(crate) fn set_tagged(&self, dir: &[u8], tagged: bool) -> bool {
        if self.found().tagged.contains(dir) == tagged {
            return false;
        }
        let mut found = self.found_mut();
        if tagged { found.tagged.insert(dir.to_vec()) } else { found.tagged.remove(dir) }
    }

    /// Notes whether another filesystem, which is left out, is mounted on a directory.
    pub(crate) fn set_mount(&self, dir: &[u8], mounted: bool) {
        if self.found().mounts.contains(dir) == mounted {
            return;
        }
        let mut found = self.found_mut();
        if !mounted {
            found.mounts.remove(dir);
        } else if found.mounts.len() < MOUNTS_MAX {
            found.mounts.insert(dir.to_vec());
        }
    }

    /// What is protected now, as the journal records it, with what was found on disk.
    pub(crate) fn policy(&self) -> Policy {
        let rules = self.current();
        let mut policy = rules.policy().clone();
        let found = self.found();
        let counts =
            |path: &&Vec<u8>| rules.patterns.root_of(path).is_some() && rules.patterns.one_file_system(path);
        let mounts = found.mounts.iter().filter(counts);
        policy
            .left_out
            .extend(mounts.map(|path| LeftOut { path: path.clone(), what: Place::OtherFilesystem }));
        policy
    }

    /// Whether a path lies in a directory with a tag, and is not the tag.
    fn is_in_tagged(&self, rules: &Rules, path: &[u8]) -> bool {
        let found = self.found();
        if found.tagged.is_empty() {
            return false;
        }
        let mut dir = path;
        while let Some(slash) = dir.iter().rposition(|&b| b == b'/').filter(|slash| *slash > 0) {
            let name = dir.get(slash + 1..).unwrap_or_default();
            dir = dir.get(..slash).unwrap_or_default();
            let is_tag = name == CACHEDIR_TAG && dir.len() + 1 + name.len() == path.len();
            if !is_tag && found.tagged.contains(dir) && rules.patterns.heeds_cachedir_tag(dir) {
                return true;
            }
        }
        false
    }

    fn found(&self) -> RwLockReadGuard<'_, Found> {
        self.found.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn found_mut(&self) -> RwLockWriteGuard<'_, Found> {
        self.found.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! Files that were made without a name (`O_TMPFILE`) and got one later: the kernel keeps naming them `#` and their inode
//! number in what it says of writes, in the directory where they were opened.
//!
//! Owns which name such a file has got since. Looks at nothing on disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use asof_journal::types::NodeId;

use super::{Result, Root, Scanner, Trip, join};
use crate::settle::Marks;

/// Files without a name that are remembered; with one more the others are forgotten, and what is written to them after
/// they got their name is found by the next comparison.
const PHANTOMS_MAX: usize = 4096;

/// Inode numbers that were named so, with the path that the file has got, if it has.
#[derive(Debug, Default)]
pub(super) struct Phantoms {
    any: AtomicBool,
    named: Mutex<HashMap<u64, Option<Vec<u8>>>>,
}

impl Phantoms {
    /// Notes that such a name was heard of; gives the path that the file has got.
    fn heard(&self, ino: u64) -> Option<Vec<u8>> {
        self.any.store(true, Ordering::Relaxed);
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= PHANTOMS_MAX && !named.contains_key(&ino) {
            named.clear();
        }
        named.entry(ino).or_default().clone()
    }

    /// Notes that an inode was found at a path: it may be one of those.
    pub(super) fn found(&self, ino: u64, path: &[u8]) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = named.get_mut(&ino) {
            *known = Some(path.to_vec());
        }
    }
}

impl Scanner {
    /// A hint named something that is not there. If it is the name of a file that had none, the file may have one now.
    pub(super) fn look_at_phantom(
        &self,
        root: &Root,
        dir: (NodeId, &[u8]),
        name: &[u8],
        marks: Marks,
        trip: &mut Trip<'_>,
    ) -> Result<()> {
        let Some(ino) = phantom_ino(name) else { return Ok(()) };
        let (node, dir_path) = dir;
        if let Some(path) = self.phantoms.heard(ino) {
            return self.look_at_path(root, &path, marks, trip);
        }
        // It was heard of for the first time after it got its name: most are linked where they were opened.
        let view = self.head().view();
        for entry in view.list(node)? {
            let known = view.version(entry.node)?;
            if known.is_some_and(|known| known.version.meta.ino == ino) {
                let path = join(dir_path, &entry.name);
                self.phantoms.found(ino, &path);
                return self.look_at_path(root, &path, marks, trip);
            }
        }
        Ok(())
    }
}

/// Whether hints give a file without a name that one.
pub(super) fn is_phantom(name: &[u8]) -> bool {
    phantom_ino(name).is_some()
}

/// The inode number that a name of that form stands for.
fn phantom_ino(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"#")?;
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hash_and_a_number_is_such_a_name() {
        assert_eq!(phantom_ino(b"#1234"), Some(1234));
        for name in [&b"1234"[..], b"#", b"#12x", b"#+1", b"##1", b"#99999999999999999999999"] {
            assert_eq!(phantom_ino(name), None, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_name_is_remembered_for_inodes_that_were_heard_of() {
        let phantoms = Phantoms::default();
        phantoms.found(7, b"/r/early");
        assert_eq!(phantoms.heard(7), None);
        phantoms.found(7, b"/r/f");
        assert_eq!(phantoms.heard(7), Some(b"/r/f".to_vec()));
        for ino in 100..100 + PHANTOMS_MAX as u64 * 2 {
            phantoms.heard(ino);
        }
        assert!(phantoms.named.lock().expect("lock").len() <= PHANTOMS_MAX);
    }
}

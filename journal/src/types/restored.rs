//! What is noted of a restore into the live tree: that it began, and how it ended.
//!
//! The `Seq` of the note that it began is the restore's id, and stands for the state right before it.

use super::Seq;

/// A note about a restore into the live tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restore {
    /// One is about to begin.
    Begun(RestoreBegun),
    /// It has ended.
    Done {
        /// The restore: the `Seq` at which it was noted that it began.
        id: Seq,
        /// What it did.
        outcome: RestoreOutcome,
    },
}

/// What a restore is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreBegun {
    /// The state that is restored.
    pub at: Seq,
    /// What is restored: absolute paths, for which [`is_plain_path`] holds.
    pub paths: Vec<Vec<u8>>,
    /// Whether what was not there then is deleted.
    pub exact: bool,
    /// The restore that this one takes back.
    pub undoes: Option<Seq>,
}

/// What a restore did, in entries of directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// Entries that were not there before.
    pub created: u64,
    /// Entries that were replaced or changed.
    pub overwritten: u64,
    /// Entries that were deleted.
    pub deleted: u64,
    /// Entries that could not be restored as asked.
    pub failed: u64,
    /// Bytes of content that were written.
    pub bytes: u64,
}

/// Whether it is an absolute path whose components are names that a directory can hold: without `.`, `..`, NUL, a doubled
/// slash or one at the end. `/` itself is one.
pub fn is_plain_path(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    path == b"/" || path.strip_prefix(b"/").is_some_and(|rest| rest.split(|&b| b == b'/').all(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_hold_names_only() {
        for path in [&b"/"[..], b"/a", b"/a/b\xff\n", b"/.../..a"] {
            assert!(is_plain_path(path), "{}", path.escape_ascii());
        }
        for path in [&b""[..], b"a", b"//", b"/a/", b"/a//b", b"/.", b"/a/../b", b"/a\0"] {
            assert!(!is_plain_path(path), "{}", path.escape_ascii());
        }
    }
}

//! What is protected, and what is left out of that.

/// What is protected from one `Seq` on, and by which rules something below it is left out. What they mean is in
/// [`crate::rules`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Policy {
    /// The roots by path. One may lie below another: it is protected once, by its own rules.
    pub roots: Vec<RootPolicy>,
    /// Patterns for every root, in gitignore syntax.
    pub excludes: Vec<String>,
    /// Places that are left out whatever the patterns say.
    pub left_out: Vec<LeftOut>,
}

/// A root and its own rules.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RootPolicy {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Patterns for this root, after those for every root.
    pub excludes: Vec<String>,
    /// Whether other filesystems mounted below it are left out.
    pub one_file_system: bool,
    /// Whether directories with a valid `CACHEDIR.TAG` are left out, but for the tag.
    pub cachedir_tag: bool,
}

/// A place that is left out with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// What is there.
    pub what: Place,
}

/// What is at a place that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Place {
    /// The journal itself.
    Journal = 0,
    /// Another filesystem, under a root that keeps to its own.
    OtherFilesystem = 1,
}

impl Place {
    /// The place that a byte on disk stands for.
    pub fn from_byte(byte: u8) -> Option<Place> {
        Some(match byte {
            0 => Place::Journal,
            1 => Place::OtherFilesystem,
            _ => return None,
        })
    }
}

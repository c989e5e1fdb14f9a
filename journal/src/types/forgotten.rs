//! What is noted of a forgetting: who had something taken out of all history, when, and how much it was; not what it was called,
//! unless that is asked for.

use super::Seq;

/// A note about a forgetting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// One is about to begin.
    Begun(ForgetBegun),
    /// It has come to its end.
    Done {
        /// The forgetting: the `Seq` at which it was noted that it began.
        id: Seq,
        /// What went.
        outcome: ForgetOutcome,
    },
}

/// What is about to be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgetBegun {
    /// Who asked for it: a user id.
    pub by: u32,
    /// How many paths were named.
    pub paths: u64,
    /// The roots that they lie in.
    pub roots: Vec<Vec<u8>>,
    /// What was so from here on stays; `None`: nothing does.
    pub before: Option<Seq>,
    /// The paths themselves, where that was asked for; [`super::is_plain_path`] holds for them.
    pub names: Vec<Vec<u8>>,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgetOutcome {
    /// Records of names.
    pub bindings: u64,
    /// Versions.
    pub versions: u64,
    /// Blocks of content.
    pub blocks: u64,
}

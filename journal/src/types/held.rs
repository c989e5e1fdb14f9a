//! What is held: it stays, whatever the retention policy says.

use super::{Instant, MarkName};

/// What can be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// An absolute path (no `.`, `..` or doubled slashes) with everything below it.
    Path(Vec<u8>),
    /// The instant that has this name.
    Mark(MarkName),
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What is held.
    pub what: Held,
    /// Until when, by the clock that the hold was noted by; `None`: until it is released.
    pub until: Option<Instant>,
}

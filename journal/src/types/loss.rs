//! What is known to be lost: places of the journal that were found damaged, and when that was noted.

use super::{Instant, Position, Seq};

/// Something in the journal that is known to be damaged or gone. It is noted once, so that a later look can tell what is
/// new from what is known. Noting changes no byte of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What it is.
    pub lost: Lost,
    /// When it was noted.
    pub noted: Instant,
    /// What did not hold, for people.
    pub what: String,
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// Bytes of a segment; what they held may be elsewhere by now.
    Bytes {
        /// Where they begin.
        at: Position,
        /// How many; 0 stands for the whole segment, which may not even be there.
        len: u64,
    },
    /// Groups that no batch holds any more.
    Groups {
        /// The first.
        first: Seq,
        /// The last.
        last: Seq,
    },
}

impl Lost {
    /// Whether a place in a segment is part of it.
    pub fn covers(&self, place: Position) -> bool {
        match *self {
            Lost::Bytes { at, .. } if at.segment != place.segment => false,
            Lost::Bytes { len: 0, .. } => true,
            Lost::Bytes { at, len } => at.offset <= place.offset && place.offset - at.offset < len,
            Lost::Groups { .. } => false,
        }
    }
}

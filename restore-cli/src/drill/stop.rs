//! Why a drill ends before its assertions are judged.

use crate::errors::Error;

/// What a step of a drill gives.
pub(crate) type Tried<T> = std::result::Result<T, Stop>;

/// A drill that cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Nothing can be told, and why.
    Inconclusive(String),
    /// There is no drill at all: it is not said well, there is no journal, somebody interrupted it.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Error(error.into())
    }
}

/// Ends a drill as inconclusive.
pub(crate) fn inconclusive<T>(why: impl Into<String>) -> Tried<T> {
    Err(Stop::Inconclusive(why.into()))
}

//! How a harness fails: at once, with the place and the reason in one line.
//!
//! For tests and tools around them only; the product returns its errors.

use std::fmt::{Debug, Display};

/// Takes the value out or stops the test, saying what was being done.
pub trait Must<T> {
    /// The value; panics with `what` and the error otherwise.
    fn must(self, what: impl Display) -> T;
}

impl<T, E: Debug> Must<T> for Result<T, E> {
    #[track_caller]
    fn must(self, what: impl Display) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
}

impl<T> Must<T> for Option<T> {
    #[track_caller]
    fn must(self, what: impl Display) -> T {
        match self {
            Some(value) => value,
            None => panic!("{what}: nothing there"),
        }
    }
}

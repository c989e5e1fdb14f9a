//! Names that people give to instants.

use std::fmt;

/// A name that somebody gave to an instant: 1 to 255 bytes of UTF-8 without control characters, `/` and `@`, and with no
/// white space at either end, so that `PATH@mark:NAME` can be told apart and read on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MarkName(String);

/// Why a text cannot name an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMarkName {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has {bytes} bytes, and a name has {} at most", MarkName::BYTES_MAX)]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character is not allowed.
    #[error("it holds {character:?}: control characters, / and @ are not allowed")]
    Character {
        /// The first such character.
        character: char,
    },
    /// White space at an end would be lost where times are read.
    #[error("it begins or ends with white space")]
    Blank,
}

impl MarkName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// The name that a text is.
    ///
    /// # Errors
    /// Where it can name no instant.
    pub fn new(text: &str) -> Result<MarkName, BadMarkName> {
        if text.is_empty() {
            return Err(BadMarkName::Empty);
        }
        if text.len() > MarkName::BYTES_MAX {
            return Err(BadMarkName::TooLong { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|c| c.is_control() || matches!(c, '/' | '@')) {
            return Err(BadMarkName::Character { character });
        }
        if text.trim() != text {
            return Err(BadMarkName::Blank);
        }
        Ok(MarkName(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MarkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_single_lines_that_a_path_cannot_be_taken_for() {
        for name in ["a", "before the move", "v1.2-rc3", "grün", "now", "-10m", &"x".repeat(255)] {
            assert_eq!(MarkName::new(name).map(|name| name.as_str().to_owned()), Ok(name.to_owned()));
        }
        assert_eq!(MarkName::new(""), Err(BadMarkName::Empty));
        assert_eq!(MarkName::new(&"ü".repeat(128)), Err(BadMarkName::TooLong { bytes: 256 }));
        for (name, character) in
            [("a/b", '/'), ("a@b", '@'), ("a\nb", '\n'), ("\0", '\0'), ("a\u{9b}b", '\u{9b}')]
        {
            assert_eq!(MarkName::new(name), Err(BadMarkName::Character { character }));
        }
        for name in [" a", "a ", "\u{2003}a"] {
            assert_eq!(MarkName::new(name), Err(BadMarkName::Blank), "{name:?}");
        }
    }
}

//! Which names and paths a GLOB takes: pure.
//!
//! A GLOB without a slash is compared with names, one with slashes with the end of the path below the place that is
//! searched; a slash in front means the whole of that path, one behind directories only.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use asof_journal::find::Names;
use asof_journal::types::Kind;
use globset::{GlobBuilder, GlobMatcher};

use crate::errors::{Error, Result};
use crate::output::escape;

/// A GLOB.
pub(super) struct Pattern {
    /// What every name that is taken begins with, and whether that is all of it.
    front: Vec<u8>,
    is_whole: bool,
    /// What takes names; `None` where every name is taken, or the front says it all.
    name: Option<GlobMatcher>,
    /// What takes paths below the place that is searched, where names do not say it all.
    path: Option<GlobMatcher>,
    dirs_only: bool,
}

impl Pattern {
    /// The pattern that a text is.
    pub(super) fn new(glob: &OsStr, ignore_case: bool) -> Result<Pattern> {
        let bytes = glob.as_bytes();
        let dirs_only = bytes.ends_with(b"/");
        let trimmed = bytes.strip_suffix(b"/").unwrap_or(bytes);
        if trimmed.is_empty() || trimmed.ends_with(b"/") {
            return Err(unusable(bytes, "it names nothing", "give a name or a pattern, such as '*.txt'"));
        }
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'{' | b'}' | b'\\');
        let is_literal = !trimmed.iter().any(special);
        let last = trimmed.rsplit(|&byte| byte == b'/').next().unwrap_or(trimmed);
        if is_literal && !ignore_case && last.len() == trimmed.len() {
            // The bytes themselves, whatever they are.
            return Ok(Pattern { front: last.to_vec(), is_whole: true, name: None, path: None, dirs_only });
        }
        let Ok(text) = std::str::from_utf8(trimmed) else {
            let why = "patterns are UTF-8";
            return Err(unusable(bytes, why, "put ? where a byte is that is no UTF-8"));
        };
        let build = |glob: &str, separate: bool| -> Result<GlobMatcher> {
            let built =
                GlobBuilder::new(glob).literal_separator(separate).case_insensitive(ignore_case).build();
            let built = built.map_err(|error| {
                unusable(
                    bytes,
                    &error.kind().to_string(),
                    "put a backslash before a character that means itself",
                )
            })?;
            Ok(built.compile_matcher())
        };
        // Brackets and braces may reach over slashes; then the last name does not stand alone.
        let stands_alone = last.len() == trimmed.len() || is_balanced(last);
        let name = match std::str::from_utf8(last) {
            Ok(last) if stands_alone && last != "**" => Some(build(last, false)?),
            _ => None,
        };
        let path = match text.strip_prefix('/') {
            Some(rest) => Some(build(rest, true)?),
            None if text.contains('/') => Some(build(&format!("**/{text}"), true)?),
            None => None,
        };
        let (front, is_whole) = match stands_alone && !ignore_case {
            true => {
                (last.iter().take_while(|byte| !special(byte)).copied().collect(), !last.iter().any(special))
            }
            false => (Vec::new(), false),
        };
        Ok(Pattern { front, is_whole, name, path, dirs_only })
    }

    /// The names among which all are that can be taken.
    pub(super) fn names(&self) -> Names<'_> {
        if self.is_whole { Names::Exactly(&self.front) } else { Names::From(&self.front) }
    }

    /// Whether a name can be taken.
    pub(super) fn takes_name(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_none_or(|glob| glob.is_match(Path::new(OsStr::from_bytes(name))))
    }

    /// Whether something at an absolute path at `below` or below it is taken.
    pub(super) fn takes(&self, path: &[u8], below: &[u8], kind: Kind) -> bool {
        if self.dirs_only && kind != Kind::Dir {
            return false;
        }
        let below = below.strip_suffix(b"/").unwrap_or(below);
        let rest = path.strip_prefix(below).and_then(|rest| rest.strip_prefix(b"/"));
        match (&self.path, rest) {
            (None, _) => true,
            (Some(glob), Some(rest)) => glob.is_match(Path::new(OsStr::from_bytes(rest))),
            (Some(_), None) => false,
        }
    }
}

/// Whether every bracket and brace is closed, and none that was not opened.
fn is_balanced(part: &[u8]) -> bool {
    let mut open = Vec::new();
    let mut bytes = part.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'[' | b'{' => open.push(*byte),
            b']' if open.pop() != Some(b'[') => return false,
            b'}' if open.pop() != Some(b'{') => return false,
            _ => {}
        }
    }
    open.is_empty()
}

fn unusable(glob: &[u8], why: &str, next: &str) -> Error {
    Error::usage(format!("`{}` is no pattern: {why}", escape(glob)), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(glob: &str) -> Pattern {
        Pattern::new(OsStr::new(glob), false).unwrap()
    }

    /// Whether a path below a place is taken, asked as the search asks.
    fn takes(pattern: &Pattern, path: &str, below: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
        let wanted = match pattern.names() {
            Names::Exactly(exactly) => name == exactly,
            Names::From(front) => name.starts_with(front),
        };
        wanted && pattern.takes_name(name) && pattern.takes(path.as_bytes(), below.as_bytes(), Kind::File)
    }

    #[test]
    fn a_glob_takes_what_it_says_and_nothing_else() {
        for (glob, taken, not) in [
            ("a.txt", &["/a.txt", "/x/y/a.txt"][..], &["/a.txt2", "/xa.txt", "/A.txt", "/a.txt/x"][..]),
            ("*.rs", &["/a.rs", "/x/.rs", "/x/a b.rs"], &["/a.rsx", "/rs", "/a.rs/b"]),
            ("a?c*", &["/abc", "/x/axcd"], &["/ac", "/xabc"]),
            ("[ab]*.{c,h}", &["/a.c", "/x/bcd.h"], &["/c.c", "/a.x"]),
            ("\\*", &["/*"], &["/a"]),
            ("src/*.rs", &["/src/a.rs", "/x/y/src/a.rs"], &["/src/x/a.rs", "/xsrc/a.rs", "/a.rs"]),
            ("/src/*.rs", &["/src/a.rs"], &["/x/src/a.rs", "/src/x/a.rs"]),
            ("src/**/a.rs", &["/src/a.rs", "/p/src/x/y/a.rs"], &["/srcx/a.rs"]),
            ("src/**", &["/src/a", "/x/src/b/c"], &["/src", "/x"]),
            ("{a/b,c}", &["/a/b", "/x/a/b", "/c"], &["/b", "/a"]),
            ("x/a.txt", &["/x/a.txt", "/y/x/a.txt"], &["/a.txt", "/yx/a.txt"]),
            ("a**", &["/a", "/abc"], &["/b"]),
        ] {
            let pattern = pattern(glob);
            for path in taken {
                assert!(takes(&pattern, path, "/"), "{glob} takes {path}");
            }
            for path in not {
                assert!(!takes(&pattern, path, "/"), "{glob} does not take {path}");
            }
        }
    }

    #[test]
    fn paths_are_those_below_the_place() {
        assert!(takes(&pattern("/a"), "/p/q/a", "/p/q"));
        assert!(!takes(&pattern("/a"), "/p/q/x/a", "/p/q"));
        assert!(takes(&pattern("q/a"), "/p/q/q/a", "/p/q"));
        assert!(!takes(&pattern("q/a"), "/p/q/a", "/p/q"), "only what lies below is compared");
        assert!(takes(&pattern("a"), "/p/a", "/p/a"));
    }

    #[test]
    fn the_front_that_all_names_have_is_looked_up() {
        let names = |glob: &str| match pattern(glob).names() {
            Names::Exactly(name) => format!("={}", String::from_utf8_lossy(name)),
            Names::From(front) => format!("^{}", String::from_utf8_lossy(front)),
        };
        for (glob, expected) in [
            ("a.txt", "=a.txt"),
            ("report*.odt", "^report"),
            ("*.rs", "^"),
            ("src/lib*", "^lib"),
            ("src/lib.rs", "=lib.rs"),
            ("a\\*", "^a"),
            ("{a/b,c}", "^"),
            ("[a/b]c", "^"),
            ("x/**", "^"),
        ] {
            assert_eq!(names(glob), expected, "{glob}");
        }
        let ignoring = Pattern::new(OsStr::new("Report.odt"), true).unwrap();
        assert_eq!(ignoring.names(), Names::From(b""));
        assert!(ignoring.takes_name(b"rEPORT.ODT") && !ignoring.takes_name(b"report"));
    }

    #[test]
    fn names_of_any_bytes_are_looked_for_as_they_are() {
        let odd = Pattern::new(OsStr::from_bytes(b"caf\xe9"), false).unwrap();
        assert_eq!(odd.names(), Names::Exactly(b"caf\xe9"));
        assert!(pattern("caf?").takes_name(b"caf\xe9"), "? is a byte");
        assert!(pattern("*").takes_name(b"\xff\n"));
    }

    #[test]
    fn a_slash_at_the_end_means_directories() {
        let dirs = pattern("src/");
        assert!(dirs.takes(b"/x/src", b"/", Kind::Dir) && !dirs.takes(b"/x/src", b"/", Kind::File));
        assert_eq!(dirs.names(), Names::Exactly(b"src"));
    }

    #[test]
    fn what_is_no_pattern_is_a_usage_error() {
        for glob in [&b""[..], b"/", b"a//", b"[a", b"{a", b"a}*", b"*\xff", b"[z-a]"] {
            let error = Pattern::new(OsStr::from_bytes(glob), false).err();
            assert_eq!(error.map(|error| error.exit_status()), Some(2), "{}", glob.escape_ascii());
        }
    }
}

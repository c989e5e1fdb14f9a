//! Names for people and for JSON: pure, prints nothing.

use std::fmt::Write;

use asof_journal::types::Kind;
use serde::Serialize;

/// A path or name as people see it: what would move the cursor, hide text or is no UTF-8 is written as an escape,
/// and a backslash is doubled, so that the text says exactly which bytes there are.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            escape_char(c, &mut text);
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A line of a file's content as people see it: like [`escape`], but a backslash is one, and a tab goes to the next of
/// the columns that stand four apart.
pub(crate) fn content_line(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    let mut column = 0;
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => text.extend(std::iter::repeat_n(' ', 4 - column % 4)),
                '\\' => text.push('\\'),
                c => escape_char(c, &mut text),
            }
            column = if c == '\t' { 0 } else { column + 1 };
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether people see exactly these bytes when they are printed as they are.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    !text.chars().any(|c| c.is_control() || is_invisible(c))
}

fn escape_char(c: char, text: &mut String) {
    match c {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        '\r' => text.push_str("\\r"),
        c if c.is_ascii_control() => {
            let _ = write!(text, "\\x{:02x}", u32::from(c));
        }
        c if c.is_control() || is_invisible(c) => {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
        }
        c => text.push(c),
    }
}

/// Characters that turn the direction of text around or show nothing, with which one name can pass for another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// JSON that no terminal obeys: what is not escaped already and would move the cursor or hide text stands as `\\uXXXX`,
/// which means the same.
pub(crate) fn json(line: String) -> String {
    let is_loud = |c: char| c.is_control() || is_invisible(c);
    if !line.contains(is_loud) {
        return line;
    }
    let mut tame = String::with_capacity(line.len() + 16);
    // Only strings hold such characters, and none of them is beyond the first plane.
    for c in line.chars() {
        match is_loud(c) {
            true => {
                let _ = write!(tame, "\\u{:04x}", u32::from(c));
            }
            false => tame.push(c),
        }
    }
    tame
}

/// A path in JSON: as text, and in base64 beside it where the bytes are no UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PathFields {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

impl PathFields {
    /// The fields of a path.
    pub(crate) fn new(path: &[u8]) -> PathFields {
        let (path, path_b64) = Self::pair(path);
        PathFields { path, path_b64 }
    }

    /// Text, and base64 where the text does not say it all.
    pub(crate) fn pair(path: &[u8]) -> (String, Option<String>) {
        match std::str::from_utf8(path) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (String::from_utf8_lossy(path).into_owned(), Some(data_encoding::BASE64.encode(path))),
        }
    }
}

/// What a kind is called in a sentence.
pub(crate) fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Dir => "directory",
        Kind::CharDevice | Kind::BlockDevice => "device",
        other => other.as_str(),
    }
}

/// So many of something: its first word becomes a plural where there is not one.
pub(crate) fn counted(number: u64, what: &str) -> String {
    if number == 1 {
        return format!("{number} {what}");
    }
    match what.split_once(' ') {
        Some((first, rest)) => format!("{number} {first}s {rest}"),
        None => format!("{number} {what}s"),
    }
}

/// Type and permissions in the ten letters of `ls -l`.
pub(crate) fn mode_string(kind: Kind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        Kind::File => '-',
        Kind::Dir => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let cases: &[(&[u8], &str)] = &[
            (b"plain name", "plain name"),
            ("Größe ⏱".as_bytes(), "Größe ⏱"),
            (b"a\nb\tc\r", "a\\nb\\tc\\r"),
            (b"\x1b[31mred\x7f", "\\x1b[31mred\\x7f"),
            (b"back\\slash", "back\\\\slash"),
            (b"caf\xe9.txt", "caf\\xe9.txt"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("a\u{202e}txt.exe".as_bytes(), "a\\u{202e}txt.exe"),
            ("c1\u{9b}".as_bytes(), "c1\\u{9b}"),
            (b"", ""),
        ];
        for (bytes, expected) in cases {
            assert_eq!(escape(bytes), *expected);
        }
    }

    #[test]
    fn base64_stands_beside_what_is_no_utf8_only() {
        let text = serde_json::to_string(&PathFields::new(b"/a\n")).unwrap();
        assert_eq!(text, r#"{"path":"/a\n"}"#);
        let bytes = serde_json::to_string(&PathFields::new(b"/\xff")).unwrap();
        assert_eq!(bytes, "{\"path\":\"/\u{fffd}\",\"path_b64\":\"L/8=\"}");
    }

    #[test]
    fn modes_read_like_those_of_ls() {
        assert_eq!(mode_string(Kind::File, 0o644), "-rw-r--r--");
        assert_eq!(mode_string(Kind::Dir, 0o1777), "drwxrwxrwt");
        assert_eq!(mode_string(Kind::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode_string(Kind::File, 0o2640), "-rw-r-S---");
        assert_eq!(mode_string(Kind::Symlink, 0o777), "lrwxrwxrwx");
    }
}

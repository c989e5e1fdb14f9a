//! The lines of a patch: pure, and as git writes and reads them.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices_deadline, group_diff_ops};

use crate::output::is_plain;

/// A larger file gets a remark instead of lines.
pub(crate) const LARGEST: u64 = 16 * 1024 * 1024;
/// A file with a zero byte among so many first ones is binary, as git sees it.
const BINARY_PROBE_BYTES: usize = 8000;
/// After so long one file's patch is finished with whatever is known, correct but longer than need be.
const PATCH_TIME_MAX: Duration = Duration::from_secs(5);
/// Unchanged lines around those that changed.
const CONTEXT: usize = 3;

/// What stands before the hunks. Paths are relative.
pub(super) struct Header<'p> {
    /// Path and mode before.
    pub(super) old: Option<(&'p [u8], &'static str)>,
    /// Path and mode after.
    pub(super) new: Option<(&'p [u8], &'static str)>,
    /// Whether there are no hunks because the content is the same.
    pub(super) is_content_same: bool,
}

impl Header<'_> {
    /// `diff --git` and the lines that say what happened to name and mode; empty where nothing did.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        match (self.old, self.new) {
            (None, Some((_, mode))) => line(&mut lines, &[b"new file mode ", mode.as_bytes()]),
            (Some((_, mode)), None) => line(&mut lines, &[b"deleted file mode ", mode.as_bytes()]),
            (Some((from, before)), Some((to, after))) => {
                if before != after {
                    line(&mut lines, &[b"old mode ", before.as_bytes()]);
                    line(&mut lines, &[b"new mode ", after.as_bytes()]);
                }
                if from != to {
                    if self.is_content_same {
                        line(&mut lines, &[b"similarity index 100%"]);
                    }
                    line(&mut lines, &[b"rename from ", &quoted(b"", from)]);
                    line(&mut lines, &[b"rename to ", &quoted(b"", to)]);
                }
            }
            (None, None) => {}
        }
        if lines.is_empty() {
            return lines;
        }
        [self.first_line(), lines].concat()
    }

    /// The line that begins a file.
    pub(super) fn first_line(&self) -> Vec<u8> {
        let old = self.old.or(self.new).map_or(&b""[..], |(path, _)| path);
        let new = self.new.or(self.old).map_or(&b""[..], |(path, _)| path);
        let mut first = Vec::new();
        // git needs no quotes around a blank here; GNU patch finds no names without.
        let name = |prefix, path: &[u8]| match path.contains(&b' ') {
            true => in_quotes(prefix, path),
            false => quoted(prefix, path),
        };
        line(&mut first, &[b"diff --git ", &name(b"a/", old), b" ", &name(b"b/", new)]);
        first
    }

    /// The two lines that begin the hunks.
    pub(super) fn names(&self) -> Vec<u8> {
        let name = |prefix, side: Option<(&[u8], _)>| {
            side.map_or(b"/dev/null".to_vec(), |(path, _)| {
                let mut name = quoted(prefix, path);
                // Without it, what follows a blank would not be taken for a part of the name.
                if path.contains(&b' ') {
                    name.push(b'\t');
                }
                name
            })
        };
        let mut lines = Vec::new();
        line(&mut lines, &[b"--- ", &name(b"a/", self.old)]);
        line(&mut lines, &[b"+++ ", &name(b"b/", self.new)]);
        lines
    }
}

fn line(lines: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        lines.extend_from_slice(part);
    }
    lines.push(b'\n');
}

/// A path with a prefix: as it is where people can read it, else in quotes with the escapes of C.
fn quoted(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    if is_plain(path) && !path.iter().any(|b| matches!(b, b'"' | b'\\')) {
        return [prefix, path].concat();
    }
    in_quotes(prefix, path)
}

fn in_quotes(prefix: &[u8], path: &[u8]) -> Vec<u8> {
    let mut text = String::from("\"");
    text.push_str(&String::from_utf8_lossy(prefix));
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes);
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                _ if is_plain(bytes.as_bytes()) => text.push(c),
                _ => octal(&mut text, bytes.as_bytes()),
            }
        }
        octal(&mut text, chunk.invalid());
    }
    text.push('"');
    text.into_bytes()
}

fn octal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "\\{byte:03o}");
    }
}

/// Whether git would take it for binary.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(BINARY_PROBE_BYTES).any(|&b| b == 0)
}

/// The hunks that make one content into the other; empty where both are the same.
pub(super) fn hunks(old: &[u8], new: &[u8]) -> Vec<u8> {
    let split = |bytes| -> Vec<&[u8]> { <[u8]>::split_inclusive(bytes, |&b| b == b'\n').collect() };
    let (old, new) = (split(old), split(new));
    let deadline = Instant::now() + PATCH_TIME_MAX;
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let mut lines = Vec::new();
    for group in group_diff_ops(ops, CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let before = span(first.old_range().start..last.old_range().end);
        let after = span(first.new_range().start..last.new_range().end);
        line(&mut lines, &[b"@@ -", before.as_bytes(), b" +", after.as_bytes(), b" @@"]);
        for op in &group {
            hunk_lines(&mut lines, op, &old, &new);
        }
    }
    lines
}

fn hunk_lines(lines: &mut Vec<u8>, op: &DiffOp, old: &[&[u8]], new: &[&[u8]]) {
    let mut put = |sign: u8, of: &[&[u8]], range: Range<usize>| {
        for text in of.get(range).unwrap_or_default() {
            lines.push(sign);
            lines.extend_from_slice(text);
            if !text.ends_with(b"\n") {
                lines.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        }
    };
    if op.tag() == DiffTag::Equal {
        return put(b' ', old, op.old_range());
    }
    put(b'-', old, op.old_range());
    put(b'+', new, op.new_range());
}

/// A range of lines as a hunk's header has it: counted from 1, the line before where it is empty.
fn span(range: Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        len => format!("{},{len}", range.start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_git_does() {
        for (path, expected) in [
            (&b"plain name"[..], &b"a/plain name"[..]),
            ("Größe".as_bytes(), "a/Größe".as_bytes()),
            (b"a\"b\\c", b"\"a/a\\\"b\\\\c\""),
            (b"tab\there\n", b"\"a/tab\\there\\n\""),
            (b"caf\xe9", b"\"a/caf\\351\""),
            ("x\u{202e}y ä".as_bytes(), "\"a/x\\342\\200\\256y ä\"".as_bytes()),
            (b"\x1b[0m", b"\"a/\\033[0m\""),
        ] {
            assert_eq!(quoted(b"a/", path), expected);
        }
    }

    #[test]
    fn hunks_say_lines_as_they_are() {
        assert_eq!(
            hunks(b"a\nb\n", b"a\nc\xff"),
            b"@@ -1,2 +1,2 @@\n a\n-b\n+c\xff\n\\ No newline at end of file\n"
        );
        assert_eq!(hunks(b"", b"a\rb\r\n"), b"@@ -0,0 +1 @@\n+a\rb\r\n");
        assert_eq!(hunks(b"a", b""), b"@@ -1 +0,0 @@\n-a\n\\ No newline at end of file\n");
        assert_eq!(hunks(b"same\n", b"same\n"), b"");
        assert_eq!(hunks(b"x\r", b"x\r\n"), b"@@ -1 +1 @@\n-x\r\n\\ No newline at end of file\n+x\r\n");
    }
}

//! Bytes as lines for a terminal: text, hexadecimal, differences. Pure.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::data::{Preview, Tone};
use crate::output::content_line;

/// So much of a file is shown.
pub(super) const SHOWN_BYTES: usize = 64 * 1024;
/// Larger files are not compared here.
pub(super) const COMPARED_BYTES_MAX: u64 = 512 * 1024;
/// A file with a zero byte among so many first ones is binary, as git sees it.
const BINARY_PROBE_BYTES: usize = 8000;
/// So much of a binary file is shown.
const HEX_BYTES: usize = 4096;
/// Bytes in a line of hexadecimal: 34 columns, so that it fits half of 80.
const HEX_ROW: usize = 8;
/// Somebody waits for it.
const COMPARING_TIME_MAX: Duration = Duration::from_millis(300);
/// Unchanged lines around changed ones.
const CONTEXT: usize = 3;

impl Preview {
    /// One line that the browser says.
    pub(super) fn aside(text: impl Into<String>) -> Preview {
        Preview { lines: vec![(Tone::Aside, text.into())] }
    }

    /// A further line that the browser says.
    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.lines.push((Tone::Aside, text.into()));
    }
}

/// Whether bytes are no text.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(BINARY_PROBE_BYTES).any(|&b| b == 0)
}

/// The first bytes of a file of `size` bytes.
pub(super) fn content(bytes: &[u8], size: u64) -> Preview {
    if bytes.is_empty() {
        return Preview::aside("empty");
    }
    let mut preview = if is_binary(bytes) { hex(bytes, size) } else { text(bytes) };
    let shown = if is_binary(bytes) { bytes.len().min(HEX_BYTES) } else { bytes.len() } as u64;
    if shown < size {
        preview.say(format!("... {} bytes more: `asof cat` gives all", size - shown));
    }
    preview
}

fn text(bytes: &[u8]) -> Preview {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Preview { lines: bytes.split(|&b| b == b'\n').map(|line| (Tone::Plain, content_line(line))).collect() }
}

fn hex(bytes: &[u8], size: u64) -> Preview {
    let mut preview = Preview::aside(format!("binary, {size} bytes"));
    for (row, piece) in bytes.chunks(HEX_ROW).take(HEX_BYTES / HEX_ROW).enumerate() {
        let pairs: String = piece.iter().map(|b| format!("{b:02x} ")).collect();
        let letters: String = piece
            .iter()
            .map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '.' })
            .collect();
        let width = HEX_ROW * 3;
        preview.lines.push((Tone::Plain, format!("{:06x}  {pairs:width$} {letters}", row * HEX_ROW)));
    }
    preview
}

/// The lines that differ, with some around them.
pub(super) fn difference(old: &[u8], new: &[u8]) -> Preview {
    if old == new {
        return Preview::aside("the same content");
    }
    if is_binary(old) || is_binary(new) {
        return Preview::aside(format!("binary, {} and {} bytes, which differ", old.len(), new.len()));
    }
    let diff = TextDiff::configure().timeout(COMPARING_TIME_MAX).diff_lines(old, new);
    let mut preview = Preview::default();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        preview.say(hunk.header().to_string());
        for change in hunk.iter_changes() {
            let line = change.value();
            let line = content_line(line.strip_suffix(b"\n").unwrap_or(line));
            preview.lines.push(match change.tag() {
                ChangeTag::Delete => (Tone::Removed, format!("-{line}")),
                ChangeTag::Insert => (Tone::Added, format!("+{line}")),
                ChangeTag::Equal => (Tone::Plain, format!(" {line}")),
            });
        }
    }
    preview
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(preview: &Preview) -> Vec<&str> {
        preview.lines.iter().map(|(_, line)| line.as_str()).collect()
    }

    #[test]
    fn text_is_shown_line_by_line_and_obeyed_nowhere() {
        assert_eq!(lines(&content(b"one\n\ttwo\x1b[2J\n", 13)), ["one", "    two\\x1b[2J"]);
        assert_eq!(lines(&content(b"", 0)), ["empty"]);
        let cut = content(b"abc\n", 1000);
        assert_eq!(lines(&cut).last(), Some(&"... 996 bytes more: `asof cat` gives all"));
    }

    #[test]
    fn what_is_no_text_is_shown_in_hexadecimal() {
        let preview = content(b"\x7fELF\0\x01 ABCDE", 12);
        assert_eq!(
            lines(&preview),
            [
                "binary, 12 bytes",
                "000000  7f 45 4c 46 00 01 20 41  .ELF.. A",
                "000008  42 43 44 45              BCDE"
            ]
        );
        let large = content(&[0; 10_000], 10_000);
        assert_eq!(large.lines.len(), 1 + HEX_BYTES / HEX_ROW + 1);
    }

    #[test]
    fn a_difference_shows_what_came_and_went() {
        let preview = difference(b"a\nb\nc\n", b"a\nB\x07\nc\n");
        assert_eq!(lines(&preview), ["@@ -1,3 +1,3 @@", " a", "-b", "+B\\x07", " c"]);
        assert_eq!(preview.lines[2].0, Tone::Removed);
        assert_eq!(lines(&difference(b"x", b"x")), ["the same content"]);
        assert_eq!(lines(&difference(b"\0", b"x")), ["binary, 1 and 1 bytes, which differ"]);
    }
}

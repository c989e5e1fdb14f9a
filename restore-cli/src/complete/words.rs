//! The words of a command line that somebody is still typing: pure.

/// A line up to the cursor. The last word is the one that is being typed; it is empty after a blank.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The words without their quotes.
    pub(super) words: Vec<Vec<u8>>,
    /// Where the last word begins in the line.
    pub(super) last_at: usize,
    /// The quote that is open at its end.
    pub(super) quote: Option<u8>,
}

/// Takes a line apart as a shell does. Quotes may be open; nothing is expanded.
pub(super) fn split(line: &[u8]) -> Line {
    let mut parsed = Line::default();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied().enumerate().peekable();
    let mut start = line.len();
    while let Some((at, byte)) = bytes.next() {
        if word.is_none() && !byte.is_ascii_whitespace() {
            start = at;
        }
        match byte {
            b' ' | b'\t' | b'\n' => parsed.words.extend(word.take()),
            b'\\' => word.get_or_insert_default().extend(bytes.next().map(|(_, byte)| byte)),
            b'\'' => {
                let word = word.get_or_insert_default();
                parsed.quote = Some(b'\'');
                for (_, byte) in bytes.by_ref() {
                    if byte == b'\'' {
                        parsed.quote = None;
                        break;
                    }
                    word.push(byte);
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                parsed.quote = Some(b'"');
                while let Some((_, byte)) = bytes.next() {
                    if byte == b'"' {
                        parsed.quote = None;
                        break;
                    }
                    // In these quotes a backslash means itself before most.
                    let is_escape = byte == b'\\'
                        && bytes.peek().is_some_and(|(_, next)| matches!(next, b'"' | b'\\' | b'$' | b'`'));
                    word.extend(if is_escape { bytes.next().map(|(_, byte)| byte) } else { Some(byte) });
                }
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    parsed.last_at = if word.is_some() { start } else { line.len() };
    parsed.words.push(word.unwrap_or_default());
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_apart_as_in_a_shell() {
        for (line, words, last_at) in [
            ("asof ls ", &["asof", "ls", ""][..], 8),
            ("asof ls", &["asof", "ls"], 5),
            ("asof cat my\\ fi", &["asof", "cat", "my fi"], 9),
            ("asof cat 'my fi", &["asof", "cat", "my fi"], 9),
            ("asof cat 'my file' x", &["asof", "cat", "my file", "x"], 19),
            ("a \"b \\\" $c \\d\"e f", &["a", "b \" $c \\de", "f"], 16),
            ("a --at '10 minutes ago' /x@y:z", &["a", "--at", "10 minutes ago", "/x@y:z"], 24),
            ("", &[""], 0),
            ("a '' ", &["a", "", ""], 5),
            ("a x\\", &["a", "x"], 2),
        ] {
            let parsed = split(line.as_bytes());
            let expected: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!((parsed.words, parsed.last_at), (expected, last_at), "{line}");
        }
        for (line, quote) in
            [("a 'b", Some(b'\'')), ("a \"b", Some(b'"')), ("a 'b' \"c\" d", None), ("a\\'", None)]
        {
            assert_eq!(split(line.as_bytes()).quote, quote, "{line}");
        }
    }
}

//! What bash needs: the lines that make it ask, and candidates of any bytes in the form that it reads.
//!
//! Clap's own adapter knows text only, takes the words as bash cuts them, and quotes nothing.

use std::ffi::OsString;
use std::io::{Error, Result, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap_complete::engine::{CompletionCandidate, complete};
use clap_complete::env::EnvCompleter;

use super::paths;
use super::words::{Line, split};

/// The line up to the cursor.
const LINE: &str = "_ASOF_LINE";
/// The part of its last word that bash replaces by a candidate.
const WORD: &str = "_ASOF_WORD";

/// Candidates are separated by zeros; the first says whether they are paths (bash quotes those) or words as they are.
const SCRIPT: &str = r#"_asof() {
    local -a found=()
    mapfile -d '' -t found < <(_ASOF_LINE="${COMP_LINE:0:COMP_POINT}" _ASOF_WORD="$2" @VARIABLE@=bash @COMPLETER@ -- asof 2>/dev/null)
    COMPREPLY=("${found[@]:1}")
    if [[ ${found[0]-} == words ]]; then compopt +o filenames 2>/dev/null; fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:] ]]; then compopt -o nospace 2>/dev/null; fi
    return 0
}
complete -o filenames -o bashdefault -o nosort -F _asof @COMMAND@
"#;

/// The line that is being completed; `None` where bash was not told to hand it over.
pub(super) fn line() -> Option<Line> {
    std::env::var_os(LINE).map(|line| split(line.as_bytes()))
}

/// The shell.
pub(super) struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        command: &str,
        completer: &str,
        to: &mut dyn Write,
    ) -> Result<()> {
        let quoted = |word: &str| crate::suggest::quoted(word.as_bytes());
        let script = SCRIPT.replace("@VARIABLE@", variable).replace("@COMMAND@", &quoted(command));
        to.write_all(script.replace("@COMPLETER@", &quoted(completer)).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        words: Vec<OsString>,
        current_dir: Option<&Path>,
        to: &mut dyn Write,
    ) -> Result<()> {
        let last = words.len().checked_sub(1).ok_or_else(|| Error::other("no words"))?;
        let typed = words.get(last).map(|word| word.as_bytes().to_vec()).unwrap_or_default();
        let found = complete(command, words, last, current_dir)?;
        let values = found.iter().map(CompletionCandidate::get_value);
        let mut found: Vec<Vec<u8>> = values.map(|value| value.as_bytes().to_vec()).collect();
        // Options in the way of names help nobody who has typed none.
        if !typed.starts_with(b"-") && found.iter().any(|word| !word.starts_with(b"-")) {
            found.retain(|word| !word.starts_with(b"-"));
        }
        let is_verb = |word: &[u8]| command.get_subcommands().any(|verb| verb.get_name().as_bytes() == word);
        let are_words =
            found.iter().all(|word| word.starts_with(b"-") || (!paths::were_found() && is_verb(word)));
        let piece = Piece::being_typed(&typed);
        // In a name that is not there any more bash would take these for the beginning of an expansion.
        let is_doubtful = found.iter().any(|word| word.iter().any(|b| matches!(b, b'$' | b'`')));
        to.write_all(if are_words || is_doubtful { b"words\0" } else { b"paths\0" })?;
        for word in found {
            if is_doubtful {
                let Some(rest) = word.strip_prefix(typed.as_slice()) else { continue };
                to.write_all(&[piece.typed.as_slice(), &escaped(rest, piece.quote)].concat())?;
            } else {
                let Some(rest) = word.strip_prefix(piece.before.as_slice()) else { continue };
                to.write_all(rest)?;
            }
            to.write_all(b"\0")?;
        }
        Ok(())
    }
}

/// The part of a word that bash replaces by a candidate: it cuts words at `:`, `=` and `@`, and after a quote.
#[derive(Default)]
struct Piece {
    /// What the word has before that, without quotes.
    before: Vec<u8>,
    /// The part as it was typed.
    typed: Vec<u8>,
    /// The quote that is open.
    quote: Option<u8>,
}

impl Piece {
    fn being_typed(word: &[u8]) -> Piece {
        let (Some(line), Some(typed)) = (std::env::var_os(LINE), std::env::var_os(WORD)) else {
            return Piece::default();
        };
        let (line, typed) = (line.as_bytes(), typed.as_bytes().to_vec());
        let parsed = split(line);
        let last = line.get(parsed.last_at..).unwrap_or_default();
        let before = last.strip_suffix(typed.as_slice()).unwrap_or_default();
        let before = split(before).words.pop().filter(|before| word.starts_with(before)).unwrap_or_default();
        Piece { before, typed, quote: parsed.quote }
    }
}

/// Bytes as they are typed on within quotes or without.
fn escaped(bytes: &[u8], quote: Option<u8>) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + 8);
    for &byte in bytes {
        let is_safe = byte.is_ascii_alphanumeric() || byte >= 0x80 || b"/._-+,%".contains(&byte);
        match (quote, byte) {
            (Some(b'\''), b'\'') => text.extend_from_slice(b"'\\''"),
            (Some(b'"'), b'"' | b'\\' | b'$' | b'`') => text.extend([b'\\', byte]),
            (Some(_), _) => text.push(byte),
            (None, b'\n') => text.extend_from_slice(b"$'\\n'"),
            (None, _) if is_safe => text.push(byte),
            (None, _) => text.extend([b'\\', byte]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_on_keeps_to_the_quotes_that_are_open() {
        for (bytes, quote, expected) in [
            (&b"a b$c'd"[..], None, &b"a\\ b\\$c\\'d"[..]),
            (b"a\nb", None, b"a$'\\n'b"),
            (b"a b$c'd", Some(b'\''), b"a b$c'\\''d"),
            (b"a b$c\"d", Some(b'"'), b"a b\\$c\\\"d"),
            (b"caf\xe9", None, b"caf\xe9"),
        ] {
            assert_eq!(escaped(bytes, quote), expected);
        }
    }
}

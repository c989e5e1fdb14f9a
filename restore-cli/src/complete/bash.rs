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

/// Candidates are separated by zeros; the first says whether they are paths (bash quotes those) or words.
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
        to.write_all(if are_words { b"words\0" } else { b"paths\0" })?;
        let before = before_word(&typed);
        for word in found {
            if let Some(rest) = word.strip_prefix(before.as_slice()) {
                to.write_all(rest)?;
                to.write_all(b"\0")?;
            }
        }
        Ok(())
    }
}

/// What the typed word has before the part that bash replaces: bash cuts words at `:`, `=` and `@`, and after a quote.
fn before_word(typed: &[u8]) -> Vec<u8> {
    let (Some(line), Some(word)) = (std::env::var_os(LINE), std::env::var_os(WORD)) else {
        return Vec::new();
    };
    let line = line.as_bytes();
    let last = line.get(split(line).last_at..).unwrap_or_default();
    let before = last.strip_suffix(word.as_bytes()).unwrap_or_default();
    split(before).words.pop().filter(|before| typed.starts_with(before)).unwrap_or_default()
}

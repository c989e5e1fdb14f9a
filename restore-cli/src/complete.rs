//! Completion in the shell: verbs and options by clap, paths out of the journal as of the time on the command line.
//!
//! A shell runs the command with `COMPLETE` set. Whatever goes wrong then goes wrong in silence: somebody is typing.
//! Reads the journal as every verb does, and writes nothing but candidates.

mod bash;
mod paths;
mod words;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use clap::CommandFactory;
use clap_complete::env::{Elvish, Fish, Shells, Zsh};
use clap_complete::{ArgValueCompleter, CompleteEnv};

use crate::args::Cli;
use bash::Bash;

/// The variable by which a shell asks.
const VARIABLE: &str = "COMPLETE";

/// The words of the command line that is being completed, without their quotes.
static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Answers a shell that asks for candidates, or for the lines that make it ask. `false` where none did.
pub(crate) fn answered() -> bool {
    let Some(shell) = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty() && shell != "0") else {
        return false;
    };
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let typed = arguments.iter().position(|word| word == "--").map(|at| at + 1);
    let is_asked = typed.is_some_and(|at| at < arguments.len());
    if let Some(at) = typed.filter(|_| is_asked) {
        // Bash hands over the line, because the words that it makes of it are cut at `:`, `=` and `@`.
        if shell == "bash"
            && let Some(line) = bash::line()
        {
            arguments.truncate(at);
            arguments.extend(line.words.iter().map(|word| OsString::from_vec(word.clone())));
        }
        let _ = WORDS.set(arguments.get(at..).unwrap_or_default().to_vec());
    }
    let shells = Shells(&[&Bash, &Elvish, &Fish, &Zsh]);
    let current = std::env::current_dir().ok();
    let done = CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .shells(shells)
        .try_complete(arguments, current.as_deref());
    if let Err(error) = done
        && !is_asked
    {
        let _ = error.print();
    }
    true
}

/// Completes a TIME argument.
pub(crate) fn time() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| paths::times(current, WORDS.get().map_or(&[], Vec::as_slice)))
}

/// Completes a PATH argument.
pub(crate) fn path() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        paths::candidates(current, WORDS.get().map_or(&[], Vec::as_slice))
    })
}

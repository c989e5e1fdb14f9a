//! Commands that messages suggest: ready to be copied into a shell, and meaning what the message says there.
//!
//! Owns how a word is quoted. Decides nothing about what is suggested, and prints nothing.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use asof_journal::types::{Instant, Seq};
use chrono::{DateTime, Local};
use shell_quote::{Bash, Sh};

use crate::output::is_plain;
use crate::timespec;

/// One `asof` command under construction.
pub(crate) struct Suggestion {
    line: String,
    verb: String,
    now: DateTime<Local>,
    /// Whether a path in it would be read as PATH@TIME if no time stood beside it.
    doubtful: bool,
    timed: bool,
}

impl Suggestion {
    /// Begins a command. `journal` is the one to name, where the user had to name it.
    pub(crate) fn new(journal: Option<&Path>, verb: &str, now: &DateTime<Local>) -> Suggestion {
        let mut line = "asof".to_owned();
        if let Some(journal) = journal {
            line.push_str(" --journal ");
            line.push_str(&quoted(journal.as_os_str().as_bytes()));
        }
        line.push(' ');
        line.push_str(verb);
        Suggestion { line, verb: verb.to_owned(), now: *now, doubtful: false, timed: false }
    }

    /// Adds a word as it is.
    pub(crate) fn word(mut self, word: &str) -> Suggestion {
        self.line.push(' ');
        self.line.push_str(word);
        self
    }

    /// Adds a word of any bytes.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Suggestion {
        let word = quoted(bytes);
        self.word(&word)
    }

    /// Adds a PATH.
    pub(crate) fn path(mut self, path: &[u8]) -> Suggestion {
        self.doubtful |= !matches!(timespec::split_path(path, &self.now), Ok(None));
        self.bytes(path)
    }

    /// Adds the time.
    pub(crate) fn at(mut self, seq: Seq) -> Suggestion {
        self.timed = true;
        self.word(&format!("--at {seq}"))
    }

    /// Adds the time, where no `Seq` stands for it.
    pub(crate) fn instant(mut self, instant: Instant) -> Suggestion {
        self.timed = true;
        self.word(&format!("--at {}", instant.to_rfc3339()))
    }

    /// The command.
    pub(crate) fn text(self) -> String {
        let Suggestion { mut line, verb, doubtful, timed, .. } = self;
        if doubtful && !timed {
            line.push_str(if verb == "log" { " --until now" } else { " --at now" });
        }
        line
    }
}

/// A word for a shell: as it is where that is safe, in single quotes where people can read it, else in the form with
/// escapes (`$'...'`) that bash, zsh and ksh read. No terminal obeys what is in it.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let text = match is_plain(bytes) {
        true if Sh::quote_vec(bytes) == bytes => bytes.to_vec(),
        true => {
            let text = String::from_utf8_lossy(bytes);
            format!("'{}'", text.replace('\'', "'\\''")).into_bytes()
        }
        false => Bash::quote_vec(bytes),
    };
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn words_are_quoted_for_people_where_that_says_it_all() {
        for (word, expected) in [
            (&b"/home/ada/notes.txt"[..], "/home/ada/notes.txt"),
            (b"/home/ada/my notes.txt", "'/home/ada/my notes.txt'"),
            (b"it's", "'it'\\''s'"),
            (b"", "''"),
            (b"a\\b", "'a\\b'"),
            ("Größe".as_bytes(), "Größe"),
            (b"a\nb\x1b[31m", "$'a\\nb\\e[31m'"),
            (b"caf\xe9", "$'caf\\xE9'"),
            ("x\u{202e}y".as_bytes(), "$'x\\xE2\\x80\\xAEy'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn a_shell_reads_every_word_back() {
        let mut every: Vec<u8> = (1..=255).collect();
        every.extend_from_slice("'\"$HOME `id` \u{202e} ünder".as_bytes());
        for word in [every.as_slice(), b"~", b"-n", b"a'b\\'c", b"$(id)", b"x!y", b" ", b"*", b"a=b"] {
            let script = format!("printf %s {}", quoted(word));
            let out = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(out.stdout, word, "{script}");
        }
    }

    #[test]
    fn a_command_names_the_journal_and_keeps_an_at_sign_in_its_path() {
        let now = Local::now();
        let plain = Suggestion::new(None, "ls", &now).word("-l").path(b"/a b").at(Seq(7)).text();
        assert_eq!(plain, "asof ls -l '/a b' --at seq:7");
        let named = Suggestion::new(Some(Path::new("/j x")), "log", &now).path(b"/mail@now").text();
        assert_eq!(named, "asof --journal '/j x' log /mail@now --until now");
        let cat = Suggestion::new(None, "cat", &now).path(b"/mail@14:05").text();
        assert_eq!(cat, "asof cat /mail@14:05 --at now");
        let user = Suggestion::new(None, "cat", &now).path(b"/ada@example.org").text();
        assert_eq!(user, "asof cat /ada@example.org");
    }
}

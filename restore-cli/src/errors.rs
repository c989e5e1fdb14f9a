//! What can go wrong in `asof`, and what each failure means for the exit status and the next step.
//!
//! Owns the crate's error type and the exit statuses that scripts rely on. Prints nothing.

use std::io;

use asof_journal::Error as JournalError;
use asof_journal::reader::Moment;

use crate::output::{as_of, escape};

/// The crate's result.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What ends a verb early, or makes it less than complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line asks for something that has no meaning.
    #[error("{what}")]
    Usage {
        /// What happened and where.
        what: String,
        /// What to do next.
        next: String,
    },
    /// It could not be done.
    #[error("{what}")]
    Failed {
        /// What happened and where.
        what: String,
        /// What to do next.
        next: String,
    },
    /// The journal cannot say: before the first capture, no such path then, or inside a gap under `--strict`.
    #[error("{what}")]
    NotReachable {
        /// What happened and where.
        what: String,
        /// What to do next.
        next: String,
    },
    /// The journal has nothing at a path at that time.
    #[error("{}: the journal has nothing there {}", escape(path), as_of(moment))]
    NoSuchPath {
        /// The absolute path.
        path: Vec<u8>,
        /// The time.
        moment: Box<Moment>,
    },
    /// A version without bytes.
    #[error("{}: {why}", escape(path))]
    NoContent {
        /// The absolute path.
        path: Vec<u8>,
        /// Why there are none.
        why: String,
    },
    /// Any other with its next step, as commands that can be copied.
    #[error("{what}")]
    Advised {
        /// What happened and where.
        what: String,
        /// What to do next, a line each.
        next: String,
        /// The exit status of the error that it was.
        status: u8,
    },
    /// What was to be checked does not hold.
    #[error("{what}")]
    Assertion {
        /// What does not hold.
        what: String,
        /// What to do next.
        next: String,
    },
    /// Whether something holds could not be told.
    #[error("{what}")]
    Inconclusive {
        /// What could not be told, and why.
        what: String,
        /// What to do next.
        next: String,
    },
    /// The rest was done; each problem has been named already.
    #[error("partly done: {problems} could not be restored as asked; each is named above")]
    Partly {
        /// How many.
        problems: u64,
    },
    /// Old segments stay as they are.
    #[error("partly done: what lies at {places} damaged places stays as it is; each is named above")]
    NotAll {
        /// How many places.
        places: u64,
    },
    /// Something of what was to be forgotten is still there.
    #[error("partly done: {what}")]
    NotForgotten {
        /// What is still there, and why.
        what: String,
        /// What to do next.
        next: String,
    },
    /// Ctrl-C, or a request to terminate.
    #[error("interrupted")]
    Interrupted,
    /// The same during a check, which found what it has said until then.
    #[error("interrupted: what is said above is what was found until then")]
    Stopped,
    /// A request to terminate while nothing was under way that could be left half done.
    #[error("ended by a signal")]
    Ended,
    /// Whoever read the output has seen enough.
    #[error("the output was closed")]
    OutputClosed,
    /// The output could not be written.
    #[error("writing the output: {0}")]
    Output(#[source] io::Error),
    /// The system refused an operation on a file.
    #[error("{path}: {action}: {source}")]
    Io {
        /// The file, ready for printing.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The journal could not answer.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Error {
    /// A usage error with its next step.
    pub(crate) fn usage(what: impl Into<String>, next: impl Into<String>) -> Error {
        Error::Usage { what: what.into(), next: next.into() }
    }

    /// A failure with its next step.
    pub(crate) fn failed(what: impl Into<String>, next: impl Into<String>) -> Error {
        Error::Failed { what: what.into(), next: next.into() }
    }

    /// Something that was checked and does not hold, with its next step.
    pub(crate) fn assertion(what: impl Into<String>, next: impl Into<String>) -> Error {
        Error::Assertion { what: what.into(), next: next.into() }
    }

    /// Something that the journal cannot say, with its next step.
    pub(crate) fn not_reachable(what: impl Into<String>, next: impl Into<String>) -> Error {
        Error::NotReachable { what: what.into(), next: next.into() }
    }

    /// The exit status that scripts get.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Error::OutputClosed => 0,
            Error::Failed { .. } | Error::NoContent { .. } | Error::Output(_) | Error::Io { .. } => 1,
            Error::Usage { .. } => 2,
            Error::Partly { .. }
            | Error::NotAll { .. }
            | Error::NotForgotten { .. }
            | Error::Inconclusive { .. } => 3,
            Error::Assertion { .. } => 4,
            Error::NotReachable { .. } | Error::NoSuchPath { .. } => 5,
            Error::Advised { status, .. } => *status,
            Error::Interrupted | Error::Stopped | Error::Ended => 130,
            Error::Journal(JournalError::NoJournal { .. }) => 10,
            Error::Journal(JournalError::Locked { .. }) => 11,
            Error::Journal(_) => 1,
        }
    }

    /// What to do next, where there is something to say.
    pub(crate) fn next_step(&self) -> Option<String> {
        match self {
            Error::Usage { next, .. }
            | Error::Failed { next, .. }
            | Error::Advised { next, .. }
            | Error::Assertion { next, .. }
            | Error::Inconclusive { next, .. }
            | Error::NotForgotten { next, .. }
            | Error::NotReachable { next, .. } => Some(next.clone()).filter(|next| !next.is_empty()),
            Error::Interrupted => Some(
                "what was restored so far is complete, file by file; the same command again carries on (with `--overwrite \
                 if-changed` into a directory that was there before)"
                    .into(),
            ),
            Error::Journal(error) => journal_next_step(error).map(str::to_owned),
            Error::Io { source, .. } => io_next_step(source).map(str::to_owned),
            // What helps with these is found out at the edge.
            Error::NoSuchPath { .. } | Error::NoContent { .. } => None,
            Error::Partly { .. } | Error::NotAll { .. } | Error::Stopped | Error::Ended | Error::OutputClosed | Error::Output(_) => {
                None
            }
        }
    }
}

fn journal_next_step(error: &JournalError) -> Option<&'static str> {
    Some(match error {
        JournalError::Unsupported { .. } => "use the version of asof that wrote the journal, or a newer one",
        JournalError::MissingBlock { .. } | JournalError::DamagedBlock { .. } => {
            "an earlier or later version of the file may be whole: `asof log PATH` lists them"
        }
        JournalError::Corrupt { .. } => {
            "keep the journal as it is, and try another time or path: damage is local"
        }
        JournalError::Full { .. } => "make room on that medium and try again",
        JournalError::FullTemporary { .. } => "set TMPDIR to a directory with room and try again",
        JournalError::Index { .. } => {
            "the index is derived from the segments: move it away and it is rebuilt"
        }
        JournalError::Io { source, .. } => return io_next_step(source),
        _ => return None,
    })
}

fn io_next_step(source: &io::Error) -> Option<&'static str> {
    Some(match source.kind() {
        io::ErrorKind::PermissionDenied => "run as the user who owns it, or as root",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, then run again with `--overwrite if-changed` to carry on"
        }
        io::ErrorKind::ReadOnlyFilesystem => "choose a target on a writable filesystem",
        io::ErrorKind::NotFound => "check the path",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_that_scripts_rely_on() {
        let journal = |error| Error::Journal(error).exit_status();
        assert_eq!(Error::failed("", "").exit_status(), 1);
        assert_eq!(Error::usage("", "").exit_status(), 2);
        assert_eq!(Error::Partly { problems: 1 }.exit_status(), 3);
        assert_eq!(Error::assertion("", "").exit_status(), 4);
        assert_eq!(Error::not_reachable("", "").exit_status(), 5);
        assert_eq!(Error::Interrupted.exit_status(), 130);
        assert_eq!(Error::OutputClosed.exit_status(), 0);
        assert_eq!(journal(JournalError::NoJournal { path: "/x".into() }), 10);
        assert_eq!(journal(JournalError::Locked { path: "/x".into() }), 11);
        assert_eq!(journal(JournalError::Poisoned { cause: String::new() }), 1);
    }
}

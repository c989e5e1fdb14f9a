//! What an error says beside what happened: which command helps, with the journal and the path in it.
//!
//! Errors are made where nothing of this is known; here they get it, once, at the edge. Prints nothing.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use asof_journal::Error as JournalError;

use crate::args::Verb;
use crate::errors::Error;
use crate::missing;
use crate::output::escape;
use crate::session::Session;

/// The same error, with its next step in commands that can be copied.
pub(crate) fn complete(session: &Session, verb: &Verb, error: Error) -> Error {
    let status = error.exit_status();
    let advised = |what: String, next: Vec<String>| Error::Advised { what, next: next.join("\n"), status };
    match &error {
        Error::NoSuchPath { path, moment } => match missing::advice(session, verb, path, moment) {
            Ok(advice) => advised(advice.what, advice.next),
            // What can be said needs more of the journal than the error did.
            Err(_) => error,
        },
        Error::NoContent { path, .. } => {
            advised(error.to_string(), vec![session.command("log").path(path).text()])
        }
        Error::Journal(JournalError::NoJournal { path }) => {
            let named = session.named();
            let start = format!("{}   (starts the agent, which makes it)", session.start_agent());
            let other = "where there is one elsewhere, name it: --journal DIR, or ASOF_JOURNAL".to_owned();
            advised(format!("no journal at {} ({named})", shown(path)), vec![start, other])
        }
        Error::Journal(JournalError::Locked { path }) => {
            let what = format!("another asofd writes to {}", shown(path));
            let tell =
                format!("{}   (names its process: stop it, and try again)", session.command("status").text());
            advised(what, vec![tell])
        }
        Error::Journal(JournalError::Io { path, source })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            let owner = owner(path).map_or_else(
                || "a journal is its owner's: run asof as that user, or as root".to_owned(),
                |uid| format!("it belongs to user {uid}: run asof as that user, or as root"),
            );
            advised(format!("{}: {source}", shown(path)), vec![owner])
        }
        _ => error,
    }
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// Whose it is, or whose the nearest directory above it is that this user may look at.
fn owner(path: &Path) -> Option<u32> {
    path.ancestors().find_map(|path| std::fs::metadata(path).ok()).map(|meta| meta.uid())
}

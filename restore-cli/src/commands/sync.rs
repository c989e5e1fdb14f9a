//! `sync`: returns when every change made before the call is durable.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use asof_journal::Error as JournalError;
use asof_journal::control::{Answer, Request};
use asof_journal::storage::Layout;

use crate::args::SyncArgs;
use crate::client::Client;
use crate::errors::{Error, Result};
use crate::output::{Output, escape};
use crate::session::Session;
use crate::timespec;

/// How much longer than asked the answer is waited for: the agent knows best what it is waiting for.
const SLACK: Duration = Duration::from_secs(2);

/// Asks the agent, and prints the place that it gives.
pub(crate) fn run(session: &Session, args: &SyncArgs, out: &mut Output) -> Result<()> {
    let Some(timeout) = timespec::duration(&args.timeout) else {
        let what = format!("`{}` is not a duration", args.timeout);
        return Err(Error::usage(what, "give a number with a unit: 30s, 5m, 500ms; 0 is without limit"));
    };
    let journal = session.journal();
    let Some(mut client) = Client::connect(journal)? else {
        return Err(no_agent(session));
    };
    let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let patience = if timeout.is_zero() { None } else { timeout.checked_add(SLACK) };
    match client.ask(&Request::Sync { timeout_ms }, patience)? {
        Some(Answer::Synced(synced)) if out.is_json() => out.object(&synced),
        Some(Answer::Synced(synced)) => out.line(&format!("{}  {}", synced.instant, synced.at)),
        Some(Answer::Failed { timed_out: true, .. }) | None => {
            let what = format!("not everything was durable within {}", args.timeout);
            let status = session.command("status").text();
            Err(Error::failed(
                what,
                format!("{status}   (shows what is pending)\nor wait longer: --timeout 10m"),
            ))
        }
        Some(Answer::Failed { error, .. }) => Err(Error::failed(error, "see the log of asofd")),
        Some(Answer::Status(_)) => {
            Err(Error::failed("asofd answered something else", "use the same version of asof and asofd"))
        }
    }
}

/// Nobody is there who could do it.
pub(crate) fn no_agent(session: &Session) -> Error {
    let journal = session.journal();
    if !Layout::new(journal).manifest().exists() {
        return JournalError::NoJournal { path: journal.to_path_buf() }.into();
    }
    let shown = escape(journal.as_os_str().as_bytes());
    let what = format!("no asofd is running on {shown}, so nothing can be made durable");
    Error::failed(what, format!("{}   (starts one)", session.start_agent()))
}

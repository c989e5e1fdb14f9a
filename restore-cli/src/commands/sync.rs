//! `sync`: returns when every change made before the call is durable.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use asof_journal::Error as JournalError;
use asof_journal::control::{Answer, Request, Synced};
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
    let synced =
        ask(session, &args.timeout, "see the log of asofd", |timeout_ms| Request::Sync { timeout_ms })?;
    match out.is_json() {
        true => out.object(&synced),
        false => out.line(&format!("{}  {}", synced.instant, synced.at)),
    }
}

/// Has the agent make everything durable, and do what else the request says: `request` makes it of a timeout in
/// milliseconds. `refused` is what to do next where the agent does not want to.
pub(crate) fn ask(
    session: &Session,
    timeout: &str,
    refused: &str,
    request: impl Fn(u64) -> Request,
) -> Result<Synced> {
    let Some(length) = timespec::duration(timeout) else {
        let what = format!("`{timeout}` is not a duration");
        return Err(Error::usage(what, "give a number with a unit: 30s, 5m, 500ms; 0 is without limit"));
    };
    let Some(mut client) = Client::connect(session.journal())? else {
        return Err(no_agent(session));
    };
    let timeout_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let patience = if length.is_zero() { None } else { length.checked_add(SLACK) };
    match client.ask(&request(timeout_ms), patience)? {
        Some(Answer::Synced(synced)) => Ok(synced),
        Some(Answer::Failed { timed_out: true, .. }) | None => {
            let what = format!("not everything was durable within {timeout}");
            let status = session.command("status").text();
            Err(Error::failed(
                what,
                format!("{status}   (shows what is pending)\nor wait longer: --timeout 10m"),
            ))
        }
        Some(Answer::Failed { error, .. }) => Err(Error::failed(error, refused)),
        Some(
            Answer::Status(_) | Answer::Configuration { .. } | Answer::Retained(_) | Answer::Forgotten(_),
        ) => Err(Error::failed("asofd answered something else", "use the same version of asof and asofd")),
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

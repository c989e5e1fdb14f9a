//! `mark`: gives this instant a name, or lists the names that there are.

use asof_journal::control::Request;
use asof_journal::types::MarkName;
use serde::Serialize;

use crate::args::MarkArgs;
use crate::errors::{Error, Result};
use crate::output::{Output, escape, local};
use crate::session::Session;

/// One name in JSON.
#[derive(Serialize)]
struct Line<'l> {
    name: &'l str,
    /// `--at` takes it, as `mark:NAME`.
    mark: String,
    instant: String,
    seq: u64,
    at: String,
}

/// Names the instant, or lists.
pub(crate) fn run(session: &Session, args: &MarkArgs, out: &mut Output) -> Result<()> {
    match &args.name {
        Some(name) => name_it(session, name, &args.timeout, out),
        None => list(session, out),
    }
}

fn name_it(session: &Session, text: &str, timeout: &str, out: &mut Output) -> Result<()> {
    let name = MarkName::new(text).map_err(|why| {
        let what = format!("`{}` cannot name an instant: {why}", escape(text.as_bytes()));
        Error::usage(what, "choose another name, such as before-the-upgrade")
    })?;
    let synced =
        super::sync::ask(session, timeout, "`asof mark` lists the names that there are", |timeout_ms| {
            Request::Mark { name: name.as_str().to_owned(), timeout_ms }
        })?;
    let (instant, seq, at) = (synced.instant, synced.seq, synced.at);
    if out.is_json() {
        return out.object(&Line { name: name.as_str(), mark: format!("mark:{name}"), instant, seq, at });
    }
    out.line(&format!("{instant}  {at}  mark:{}", escape(name.as_str().as_bytes())))
}

fn list(session: &Session, out: &mut Output) -> Result<()> {
    let reader = session.reader()?;
    let marks = reader.marks()?;
    if marks.is_empty() {
        out.note("no instant has a name yet: `asof mark NAME` names the present one");
    }
    for mark in marks {
        let (name, seq) = (mark.name.as_str(), mark.moment.seq);
        if out.is_json() {
            let instant = mark.moment.instant.to_rfc3339();
            let at = seq.to_string();
            out.object(&Line { name, mark: format!("mark:{name}"), instant, seq: seq.0, at })?;
        } else {
            let (instant, seq) = (local(mark.moment.instant), seq.to_string());
            out.line(&format!("{instant}  {seq:<12}  mark:{}", escape(name.as_bytes())))?;
        }
    }
    Ok(())
}

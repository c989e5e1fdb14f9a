//! `hold` and `release`: what the retention policy must never take, and what it may again.
//!
//! Owns the words and the check of what is meant; the agent notes it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use asof_journal::control::{HeldName, PathBytes, Request, Synced};
use asof_journal::landmarks::Holding;
use asof_journal::types::{Held, Instant, MarkName};
use serde::Serialize;

use crate::args::{HoldArgs, ReleaseArgs};
use crate::errors::{Error, Result};
use crate::output::{Output, PathFields, escape, local};
use crate::session::Session;
use crate::timespec::TimeSpec;

/// In front of the name of an instant.
const MARK: &[u8] = b"mark:";

/// One hold in JSON, or one that was released.
#[derive(Serialize)]
struct Line {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    path: Option<PathFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    held: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    instant: String,
    seq: u64,
    at: String,
}

/// Holds something, or lists what is held.
pub(crate) fn hold(session: &Session, args: &HoldArgs, out: &mut Output) -> Result<()> {
    let Some(what) = &args.what else { return list(session, out) };
    let what = meant(session, what)?;
    let until = args.until.as_deref().map(|text| end(session, text)).transpose()?;
    let synced = super::sync::ask(
        session,
        &args.timeout,
        "`asof find` and `asof mark` tell what there is",
        |timeout_ms| Request::Hold { what: name(&what), until_ns: until.map(|until| until.0), timeout_ms },
    )?;
    print(&what, true, until, synced, out)
}

/// Holds something no longer.
pub(crate) fn release(session: &Session, args: &ReleaseArgs, out: &mut Output) -> Result<()> {
    let what = meant(session, &args.what)?;
    let synced = super::sync::ask(session, &args.timeout, "`asof hold` lists what is held", |timeout_ms| {
        Request::Release { what: name(&what), timeout_ms }
    })?;
    print(&what, false, None, synced, out)
}

/// What an argument means: a path, or `mark:NAME`. A file of such a name is `./mark:NAME`.
fn meant(session: &Session, argument: &OsStr) -> Result<Held> {
    let Some(text) = argument.as_bytes().strip_prefix(MARK) else {
        return Ok(Held::Path(session.path(argument, Some(TimeSpec::Now))?.0));
    };
    let shown = escape(text);
    let text = std::str::from_utf8(text).map_err(|_| "it is no UTF-8".to_owned());
    let name = text.and_then(|text| MarkName::new(text).map_err(|why| why.to_string()));
    name.map(Held::Mark).map_err(|why| {
        Error::usage(
            format!("`{shown}` cannot name an instant: {why}"),
            "`asof mark` lists the names that there are",
        )
    })
}

/// The end of a hold. Errors: it is no time to come.
fn end(session: &Session, text: &str) -> Result<Instant> {
    let now = session.now().timestamp_nanos_opt().unwrap_or_default();
    match session.time(text)? {
        TimeSpec::Instant(until) if until.0 > now => Ok(until),
        _ => {
            let what = format!("--until {}: that is no time to come", escape(text.as_bytes()));
            Err(Error::usage(
                what,
                "say until when, such as 2030-01-01; without --until a hold lasts until `asof release`",
            ))
        }
    }
}

fn name(what: &Held) -> HeldName {
    match what {
        Held::Path(path) => HeldName::Path(PathBytes(path.clone())),
        Held::Mark(name) => HeldName::Mark(name.as_str().to_owned()),
    }
}

fn line(what: &Held, held: bool, until: Option<Instant>, instant: String, seq: u64) -> Line {
    let (path, mark) = match what {
        Held::Path(path) => (Some(PathFields::new(path)), None),
        Held::Mark(name) => (None, Some(format!("mark:{name}"))),
    };
    let until = until.map(|until| until.to_rfc3339());
    Line { path, mark, held, until, instant, seq, at: format!("seq:{seq}") }
}

fn shown(what: &Held) -> String {
    match what {
        Held::Path(path) => escape(path),
        Held::Mark(name) => format!("mark:{}", escape(name.as_str().as_bytes())),
    }
}

fn print(what: &Held, held: bool, until: Option<Instant>, synced: Synced, out: &mut Output) -> Result<()> {
    if out.is_json() {
        return out.object(&line(what, held, until, synced.instant, synced.seq));
    }
    let done = match (held, until) {
        (true, Some(until)) => format!("held until {}", local(until)),
        (true, None) => "held".to_owned(),
        (false, _) => "released".to_owned(),
    };
    out.line(&format!("{}  {}  {done}: {}", synced.instant, synced.at, shown(what)))
}

fn list(session: &Session, out: &mut Output) -> Result<()> {
    let holds = session.reader()?.holds()?;
    if holds.is_empty() {
        out.note("nothing is held: `asof hold PATH` keeps all that PATH ever was");
    }
    for Holding { what, since, until } in holds {
        if out.is_json() {
            out.object(&line(&what, true, until, since.instant.to_rfc3339(), since.seq.0))?;
            continue;
        }
        let until = until.map_or(String::new(), |until| format!("  until {}", local(until)));
        let seq = since.seq.to_string();
        out.line(&format!("{}  {seq:<12}  {}{until}", local(since.instant), shown(&what)))?;
    }
    Ok(())
}

//! `log`: the history of a path, of a directory, or of everything, newest first.

mod moments;

use asof_journal::history::{self, Change, What};
use asof_journal::reader::{Moment, Reader};
use asof_journal::types::{Kind, Quality, Seq};
use serde::Serialize;

use crate::args::LogArgs;
use crate::errors::{Error, Result};
use crate::output::{Output, PathFields, as_of, escape, local};
use crate::session::{Session, no_such_path};
use crate::source::{AtSeq, Source};
use crate::timespec::TimeSpec;

/// One change in JSON.
#[derive(Serialize)]
struct Line {
    instant: String,
    seq: u64,
    #[serde(flatten)]
    path: PathFields,
    node: u64,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predecessor: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Of an instant that somebody named.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_b64: Option<String>,
}

/// Prints what happened.
pub(crate) fn run(session: &Session, args: &LogArgs, out: &mut Output) -> Result<()> {
    let until = session.optional_time(args.until.as_deref())?;
    let since = session.optional_time(args.since.as_deref())?;
    let (path, until) = match &args.path {
        Some(path) => session.path(path, until)?,
        None => (b"/".to_vec(), until),
    };
    let reader = session.reader()?;
    let until = session.moment(reader, until, out)?;
    let after = after(session, reader, since, out)?;
    out.note(&as_of(&until));
    let mut left = args.count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let by_moments = args.moments || !(args.all || out.is_json());
    match of_one(reader, &path, &until)? {
        Some(_) if args.moments => {
            let what = format!("{} is no directory, and moments are those of a directory", escape(&path));
            Err(Error::usage(what, format!("{}   (its versions)", session.command("log").path(&path).text())))
        }
        None if by_moments => {
            let asked = moments::Asked { reader, path: &path, after, until, count: left };
            moments::run(session, &asked, out)
        }
        Some(changes) => {
            let wanted = changes.iter().filter(|change| change.seq > after && change.seq <= until.seq);
            for change in wanted.take(usize::try_from(left).unwrap_or(usize::MAX)) {
                print(change, out)?;
            }
            Ok(())
        }
        None => {
            let mut failed = None;
            history::below(reader, &path, after, until.seq, &mut |change| {
                failed = print(&change, out).err();
                left -= 1;
                left > 0 && failed.is_none()
            })?;
            failed.map_or(Ok(()), Err)
        }
    }
}

/// The history of one thing; `None` where the path is, or was, a directory.
fn of_one(reader: &Reader, path: &[u8], until: &Moment) -> Result<Option<Vec<Change>>> {
    if path == b"/" {
        return Ok(None);
    }
    if let Some(entry) = AtSeq::new(reader, until).resolve(path)? {
        if entry.kind == Kind::Dir {
            return Ok(None);
        }
        return Ok(Some(history::of_path(reader, path, until.seq)?));
    }
    let changes = history::of_path(reader, path, until.seq)?;
    if changes.is_empty() {
        return Err(no_such_path(path, until));
    }
    let was_dir = changes.iter().any(|change| change.what == What::Created { kind: Kind::Dir });
    Ok(if was_dir { None } else { Some(changes) })
}

/// The place that `--since` leaves out with everything before; a time before the first capture leaves out nothing.
pub(super) fn after(
    session: &Session,
    reader: &Reader,
    since: Option<TimeSpec>,
    out: &mut Output,
) -> Result<Seq> {
    match since {
        None | Some(TimeSpec::Seq(Seq::ZERO)) => Ok(Seq::ZERO),
        Some(TimeSpec::Instant(_)) => match session.moment(reader, since, out) {
            Ok(moment) => Ok(moment.seq),
            Err(Error::NotReachable { .. }) => Ok(Seq::ZERO),
            Err(error) => Err(error),
        },
        Some(_) => Ok(session.moment(reader, since, out)?.seq),
    }
}

fn print(change: &Change, out: &mut Output) -> Result<()> {
    if out.is_json() { out.object(&line(change)) } else { out.line(&text(change)) }
}

fn word(what: &What) -> &'static str {
    match what {
        What::Created { .. } => "created",
        What::Replaced { .. } => "replaced",
        What::Modified { .. } => "modified",
        What::Attributes => "attributes",
        What::Renamed { .. } => "renamed",
        What::Deleted { .. } => "deleted",
        What::Vanished { .. } | What::Crowd { .. } => "vanished",
        What::Damaged { .. } => "damaged",
        What::Uncovered => "uncovered",
        What::Thinned { .. } => "thinned",
        What::Named { .. } => "mark",
        What::Linked => "linked",
    }
}

fn standing(quality: Quality, unread: bool) -> &'static str {
    if unread { "unread" } else { quality.as_str() }
}

fn line(change: &Change) -> Line {
    let mut line = Line {
        instant: change.instant.to_rfc3339(),
        seq: change.seq.0,
        path: PathFields::new(&change.path),
        node: change.node.0,
        what: word(&change.what),
        kind: None,
        size: None,
        quality: None,
        predecessor: None,
        detail: None,
        name: None,
        from: None,
        from_b64: None,
    };
    match &change.what {
        What::Created { kind } => line.kind = Some(kind.as_str()),
        What::Replaced { predecessor } => line.predecessor = Some(predecessor.0),
        What::Modified { size, quality, unread } => {
            (line.size, line.quality) = (Some(*size), Some(standing(*quality, *unread)));
        }
        What::Renamed { from } => {
            let (text, base64) = PathFields::pair(from);
            (line.from, line.from_b64) = (Some(text), base64);
        }
        What::Deleted { kind, unread } => {
            line.kind = Some(kind.as_str());
            line.quality = unread.then_some("unread");
        }
        What::Vanished { kind } => (line.kind, line.quality) = (Some(kind.as_str()), Some("unread")),
        What::Crowd { detail } => (line.quality, line.detail) = (Some("unread"), Some(detail.clone())),
        What::Damaged { detail } => line.detail = Some(detail.clone()),
        What::Named { name } => line.name = Some(name.to_string()),
        What::Thinned { kind } => line.kind = Some(kind.as_str()),
        What::Attributes | What::Uncovered | What::Linked => {}
    }
    line
}

fn text(change: &Change) -> String {
    let more = match &change.what {
        What::Created { kind: Kind::File } => String::new(),
        What::Created { kind } => format!("  ({})", kind.as_str()),
        What::Modified { size, quality: Quality::Clean, unread: false } => format!("  ({size} bytes)"),
        What::Modified { size, quality, unread } => {
            format!("  ({size} bytes, {})", standing(*quality, *unread))
        }
        What::Renamed { from } => format!("  (from {})", escape(from)),
        What::Uncovered => "  (no longer protected)".to_owned(),
        What::Thinned { .. } => {
            "  (from here to the next line not kept: the retention policy, or `asof forget`)".to_owned()
        }
        What::Deleted { unread: true, .. } => "  (what it held last was not captured)".to_owned(),
        What::Vanished { kind: Kind::File } => "  (existed, not captured)".to_owned(),
        What::Vanished { kind } => format!("  ({} existed, not captured)", kind.as_str()),
        What::Crowd { detail } | What::Damaged { detail } => format!("  ({})", escape(detail.as_bytes())),
        What::Named { name } => format!("  (mark:{})", escape(name.as_str().as_bytes())),
        What::Replaced { .. } | What::Attributes | What::Deleted { unread: false, .. } | What::Linked => {
            String::new()
        }
    };
    let (instant, seq) = (local(change.instant), change.seq.to_string());
    format!("{instant}  {seq:<12}  {:<10}  {}{more}", word(&change.what), escape(&change.path))
}

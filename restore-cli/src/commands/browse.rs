//! `browse`: a directory through time on the whole terminal. Decides where to begin; the rest is the browser's.

use std::ffi::OsStr;

use asof_journal::fate::{Fate, fate};
use asof_journal::reader::{Moment, Reader};
use asof_journal::types::Kind;

use crate::args::BrowseArgs;
use crate::browse::{self, Start};
use crate::errors::{Error, Result};
use crate::output::Output;
use crate::path;
use crate::session::{Session, no_such_path};

/// Shows the browser.
pub(crate) fn run(session: &Session, args: &BrowseArgs, out: &mut Output) -> Result<()> {
    if out.is_json() {
        let next =
            "`asof --json log --moments PATH` lists the moments, `asof --json ls PATH --at T` a directory";
        return Err(Error::usage("browse draws, and has no JSON", next));
    }
    if !browse::is_there() {
        let what = "browse needs a terminal on stdin and stdout (and TERM to name one)";
        let next = "`asof log PATH` lists the moments, and `asof ls PATH --at T` a directory as of one";
        return Err(Error::usage(what, next));
    }
    let at = session.optional_time(args.at.as_deref())?;
    let (path, at) = session.path(args.path.as_deref().unwrap_or(OsStr::new(".")), at)?;
    let reader = session.fresh_reader()?;
    let end = session.moment(&reader, at, out)?;
    let start = match start(&reader, &path, end)? {
        Some(start) => start,
        // Nobody asked for the current directory by name: all there is, then.
        None if args.path.is_none() => Start { dir: b"/".to_vec(), name: None, end },
        None => return Err(no_such_path(&path, &end)),
    };
    browse::run(session, reader, start, out)
}

/// The directory that a path is, or lies in, now or before.
fn start(reader: &Reader, path: &[u8], end: Moment) -> Result<Option<Start>> {
    let kind = match fate(&reader.view(end.seq), path)? {
        Fate::There(entry) => entry.kind,
        Fate::Ended(ended) => match ended.last {
            Some((_, kind)) => kind,
            None => return Ok(None),
        },
        Fate::Never { .. } => return Ok(None),
    };
    Ok(Some(match kind {
        Kind::Dir => Start { dir: path.to_vec(), name: None, end },
        _ => Start { dir: path::parent(path).to_vec(), name: Some(path::name(path).to_vec()), end },
    }))
}

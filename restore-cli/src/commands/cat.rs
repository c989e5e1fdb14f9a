//! `cat`: the bytes of a file as of a time, to stdout.

use asof_journal::quality;
use asof_journal::reader::Moment;
use asof_journal::types::{Content, Kind, Quality, Version};
use asof_journal::verify::tells_of_damage;
use asof_journal::view::Entry;

use crate::args::CatArgs;
use crate::content;
use crate::errors::{Error, Result};
use crate::output::{Output, as_of, escape, noun};
use crate::path;
use crate::session::{Session, no_such_path};
use crate::source::{AtSeq, Source};

/// Symlinks followed before the path is given up, as in the kernel.
const HOPS_MAX: u32 = 40;

/// Prints the bytes of a file.
pub(crate) fn run(session: &Session, args: &CatArgs, out: &mut Output) -> Result<()> {
    let at = session.optional_time(args.at.as_deref())?;
    let (asked, at) = session.path(&args.path, at)?;
    let reader = session.reader()?;
    let moment = session.moment(reader, at, out)?;
    out.note(&as_of(&moment));
    let source = AtSeq::new(reader, &moment);
    let (path, entry) = follow(&source, &asked, &moment)?;
    let shown = escape(&path);
    session.check_kind(&args.path, args.at.is_some(), entry.kind)?;
    if entry.kind != Kind::File {
        let what = format!("{shown} is no file but a {} {}", noun(entry.kind), as_of(&moment));
        let list = session.command("ls").word("-l").path(&path).at(moment.seq).text();
        return Err(Error::failed(what, list));
    }
    let Some(found) = source.version(entry.node)? else {
        let what = format!("{shown} was seen but never captured");
        return Err(Error::not_reachable(what, session.command("log").path(&path).text()));
    };
    for gap in source.gaps(&path)? {
        out.warn(&super::restore::gap_text(&gap));
    }
    if let Some(doubt) = doubt(&found.version) {
        out.warn(&format!("{shown} {doubt}"));
    }
    let mut printed = 0;
    let streamed = content::stream(&source, &found.version, &path, &mut |piece| {
        printed += piece.len() as u64;
        out.bytes(piece)
    });
    streamed.map_err(|error| match error {
        Error::Journal(error) if tells_of_damage(&error) => {
            let what =
                format!("{shown}: {error}; the {printed} bytes before that are right, and were printed");
            let (log, verify) = (session.command("log").path(&path), session.command("verify"));
            let next = format!("{}   (other versions)\n{}   (all damage)", log.text(), verify.text());
            Error::failed(what, next)
        }
        other => other,
    })
}

/// Why the bytes may not be one state of the file. What was never read has none, and says so itself.
fn doubt(version: &Version) -> Option<&'static str> {
    match version.quality {
        _ if quality::is_unread(version) => None,
        Quality::Clean => None,
        Quality::Provisional => {
            Some("was open for writing while it was captured; this may not be how it was left (provisional)")
        }
        Quality::Torn => Some("kept changing while it was captured; this may be a mix of states (torn)"),
    }
}

/// The entry that a path leads to when symlinks are followed as they pointed then, and its path without them.
fn follow(source: &dyn Source, asked: &[u8], moment: &Moment) -> Result<(Vec<u8>, Entry)> {
    let mut asked = asked.to_vec();
    for _ in 0..=HOPS_MAX {
        match step(source, &asked, moment)? {
            Step::There(entry) => return Ok((asked, entry)),
            Step::Elsewhere(path) => asked = path,
        }
    }
    let what = format!("{}: more than {HOPS_MAX} symlinks in a row", escape(&asked));
    Err(Error::failed(what, "name the file itself"))
}

enum Step {
    There(Entry),
    Elsewhere(Vec<u8>),
}

/// Goes down a path to its end, or to the first symlink, which gives another path.
fn step(source: &dyn Source, asked: &[u8], moment: &Moment) -> Result<Step> {
    let mut here = source.resolve(b"/")?.ok_or_else(|| no_such_path(asked, moment))?;
    let mut above = b"/".to_vec();
    let mut names = asked.split(|&b| b == b'/').filter(|name| !name.is_empty());
    while let Some(name) = names.next() {
        here = source.lookup(here.node, name)?.ok_or_else(|| no_such_path(asked, moment))?;
        if here.kind == Kind::Symlink {
            let found = source.version(here.node)?.ok_or_else(|| no_such_path(asked, moment))?;
            let Content::Inline(mut target) = found.version.content else {
                return Err(no_such_path(asked, moment));
            };
            for rest in names {
                target.push(b'/');
                target.extend_from_slice(rest);
            }
            return Ok(Step::Elsewhere(path::absolute(&target, &above)));
        }
        above = path::join(&above, name);
    }
    Ok(Step::There(here))
}

#[cfg(test)]
mod tests {
    use asof_journal::types::{Instant, Seq};

    use super::*;
    use crate::source::memory::Memory;

    #[test]
    fn symlinks_lead_where_they_led_then() {
        let mut tree = Memory::new();
        tree.file("/r/d/file", b"x");
        tree.symlink("/r/rel", b"d/file");
        tree.symlink("/r/abs", b"/r/rel");
        tree.symlink("/r/dir", b"./d/../d");
        tree.symlink("/r/loop", b"loop");
        tree.symlink("/r/out", b"/etc/passwd");
        let moment = Moment { seq: Seq(1), instant: Instant(0), epoch: 0, asked: Instant(0) };
        for path in ["/r/d/file", "/r/rel", "/r/abs", "/r/dir/file"] {
            let (real, entry) = follow(&tree, path.as_bytes(), &moment).unwrap();
            assert_eq!((real.as_slice(), entry.kind), (&b"/r/d/file"[..], Kind::File), "{path}");
        }
        assert_eq!(follow(&tree, b"/r/loop", &moment).unwrap_err().exit_status(), 1);
        assert_eq!(follow(&tree, b"/r/out", &moment).unwrap_err().exit_status(), 5);
        assert_eq!(follow(&tree, b"/r/absent", &moment).unwrap_err().exit_status(), 5);
    }
}

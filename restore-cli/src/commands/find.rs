//! `find`: paths by name, over time: what is there, what is gone, and what changed since.

mod pattern;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use asof_journal::find::{self, Gone, Search, Sighting};
use asof_journal::quality;
use asof_journal::reader::{Moment, Reader};
use asof_journal::temporary::is_temporary;
use asof_journal::types::{Seq, Unbound, Version};
use asof_journal::view::is_below;
use serde::Serialize;

use self::pattern::Pattern;
use super::log::after;
use crate::args::FindArgs;
use crate::errors::{Error, Result};
use crate::output::{Output, Paint, PathFields, as_of, escape, local};
use crate::session::{Session, no_such_path};

/// So many are sorted by path before any is printed; more are printed in heaps of so many, each sorted.
const SORTED_MAX: usize = 50_000;
/// So many are told apart with the command that brings each back; of more, the one that went last.
const HINTS_MAX: usize = 3;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It was there.
    Present,
    /// It had been deleted.
    Deleted,
    /// It had another name by then.
    Moved,
    /// It was no longer protected.
    Uncovered,
    /// What came after it went by the retention policy.
    Thinned,
}

/// One answer in JSON.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    path: PathFields,
    kind: &'static str,
    node: u64,
    state: State,
    /// A time at which it was there as this line says: `--at` takes it.
    at: String,
    /// Since when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<Place>,
    /// The last time at which it was there; `at` says the same, also where several things happened at one instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Place>,
    /// The name that it had instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to_b64: Option<String>,
    /// When it changed last: came, got other content or attributes, or went.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
    instant: String,
    seq: u64,
}

/// A place in the journal.
#[derive(Serialize)]
struct Place {
    instant: String,
    seq: u64,
}

/// Something that was found.
struct Hit {
    sighting: Sighting,
    version: Option<Version>,
    changed: Seq,
}

impl Hit {
    fn state(&self) -> State {
        match self.sighting.gone {
            None => State::Present,
            Some(Gone::Unbound(Unbound::Moved)) => State::Moved,
            Some(Gone::Unbound(Unbound::Uncovered) | Gone::WithDirectory(Unbound::Uncovered)) => {
                State::Uncovered
            }
            Some(Gone::Unbound(Unbound::Thinned) | Gone::WithDirectory(Unbound::Thinned)) => State::Thinned,
            Some(_) => State::Deleted,
        }
    }
}

/// Prints what is found.
pub(crate) fn run(session: &Session, args: &FindArgs, out: &mut Output) -> Result<()> {
    let pattern = Pattern::new(&args.glob, args.ignore_case)?;
    let at = session.optional_time(args.at.as_deref())?;
    let since = session.optional_time(args.changed_since.as_deref())?;
    let (below, at) = match &args.path {
        Some(path) => session.path(path, at)?,
        None => (b"/".to_vec(), at),
    };
    let reader = session.reader()?;
    let moment = session.moment(reader, at, out)?;
    let since = match since {
        Some(since) => Some(after(session, reader, Some(since), out)?),
        None => None,
    };
    if since.is_some_and(|since| since > moment.seq) {
        let what = format!("--changed-since is later than the time that is looked at, {}", moment.seq);
        return Err(Error::usage(what, "give a later --at, or none for now"));
    }
    out.note(&as_of(&moment));
    let mut finder =
        Finder { reader, args, moment, since, hits: Vec::new(), shown: 0, hidden: 0, back: Vec::new() };
    let mut search = Search::new(reader, moment.seq);
    find::names(reader, pattern.names(), &mut |name, dir| {
        if pattern.takes_name(name)
            && let Some(sighting) = search.last_seen(dir, name)?
            && is_below(&sighting.path, &below)
            && pattern.takes(&sighting.path, &below, sighting.entry.kind)
            && !(sighting.gone.is_some() && is_temporary(name))
        {
            finder.found(sighting, out)?;
        }
        Ok::<bool, Error>(true)
    })?;
    finder.print(out)?;
    if finder.shown == 0 && finder.hidden == 0 && reader.view(moment.seq).resolve(&below)?.is_none() {
        // A slip of the pen is not taken for "nothing there".
        return Err(no_such_path(&below, &moment));
    }
    finder.say_more(session, out)
}

struct Finder<'f> {
    reader: &'f Reader,
    args: &'f FindArgs,
    moment: Moment,
    since: Option<Seq>,
    hits: Vec<Hit>,
    shown: u64,
    /// What is gone and was not asked for.
    hidden: u64,
    /// What is gone, and was there at that place: the newest few.
    back: Vec<(Vec<u8>, Seq)>,
}

impl Finder<'_> {
    fn found(&mut self, sighting: Sighting, out: &mut Output) -> Result<()> {
        let view = self.reader.view(sighting.last);
        let mut at = view.version(sighting.entry.node)?;
        if let Some(at) = &mut at {
            at.version.quality = quality::by_now(self.reader, sighting.entry.node, at)?;
        }
        let changed = match sighting.gone {
            Some(_) => sighting.last.next(),
            None => at.as_ref().map_or(Seq::ZERO, |at| at.seq).max(sighting.entry.since),
        };
        if self.since.is_some_and(|since| changed <= since) {
            return Ok(());
        }
        self.hits.push(Hit { sighting, version: at.map(|at| at.version), changed });
        if self.hits.len() >= SORTED_MAX { self.print(out) } else { Ok(()) }
    }

    fn print(&mut self, out: &mut Output) -> Result<()> {
        let mut hits = std::mem::take(&mut self.hits);
        hits.sort_by(|one, other| {
            let (one, other) = (&one.sighting, &other.sighting);
            one.path.cmp(&other.path).then(other.last.cmp(&one.last))
        });
        // Directories that had the same path one after the other: what was there last counts.
        hits.dedup_by(|later, kept| later.sighting.path == kept.sighting.path);
        for hit in hits {
            if hit.sighting.gone.is_some() && !self.args.deleted {
                self.hidden += 1;
                continue;
            }
            self.shown += 1;
            match out.is_json() {
                true => out.object(&self.line(&hit)?)?,
                false => out.line(&self.text(&hit, out)?)?,
            }
            if matches!(hit.state(), State::Deleted | State::Uncovered) && hit.version.is_some() {
                self.back.push((hit.sighting.path, hit.sighting.last));
                if self.back.len() > 2 * HINTS_MAX {
                    self.keep_newest();
                }
            }
        }
        Ok(())
    }

    fn keep_newest(&mut self) {
        self.back.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
        // One more than is shown says that there are more.
        self.back.truncate(HINTS_MAX + 1);
    }

    fn place(&self, seq: Seq) -> Result<Option<Place>> {
        let moment = self.reader.at_seq(seq)?;
        Ok(moment.map(|moment| Place { instant: moment.instant.to_rfc3339(), seq: seq.0 }))
    }

    /// Where something is that moved away.
    fn moved_to(&self, hit: &Hit) -> Result<Option<Vec<u8>>> {
        match hit.state() {
            State::Moved => Ok(self.reader.view(self.moment.seq).path_of(hit.sighting.entry.node)?),
            _ => Ok(None),
        }
    }

    fn line(&self, hit: &Hit) -> Result<Line> {
        let Sighting { entry, path, last, gone } = &hit.sighting;
        let moved = self.moved_to(hit)?.map(|path| PathFields::pair(&path));
        let (moved_to, moved_to_b64) = moved.map_or((None, None), |(text, base64)| (Some(text), base64));
        let is_gone = gone.is_some();
        let meta = hit.version.as_ref().map(|version| &version.meta);
        Ok(Line {
            path: PathFields::new(path),
            kind: entry.kind.as_str(),
            node: entry.node.0,
            state: hit.state(),
            at: last.to_string(),
            gone: if is_gone { self.place(last.next())? } else { None },
            last: if is_gone { self.place(*last)? } else { None },
            moved_to,
            moved_to_b64,
            changed: self.place(hit.changed)?,
            size: meta.map(|meta| meta.size),
            mode: meta.map(|meta| format!("{:04o}", meta.mode & 0o7777)),
            mtime: meta.map(|meta| meta.mtime.to_rfc3339()),
            quality: hit.version.as_ref().map(quality::word),
            instant: self.moment.instant.to_rfc3339(),
            seq: self.moment.seq.0,
        })
    }

    fn text(&self, hit: &Hit, out: &Output) -> Result<String> {
        let Sighting { path, last, .. } = &hit.sighting;
        let word = match hit.state() {
            State::Present => return Ok(escape(path)),
            State::Deleted => "deleted".to_owned(),
            State::Thinned => "not kept since".to_owned(),
            State::Uncovered => "no longer protected".to_owned(),
            State::Moved => match self.moved_to(hit)? {
                Some(to) => format!("moved to {}", escape(&to)),
                None => "moved, and gone since".to_owned(),
            },
        };
        let gone =
            self.reader.at_seq(last.next())?.map_or(String::new(), |at| format!(" {}", local(at.instant)));
        let shown = out.paint(Paint::Red, &escape(path));
        Ok(format!("{shown}  ({word}{gone}; there until {last})"))
    }

    /// What helps on: how to bring back what is gone, and that something is.
    fn say_more(&mut self, session: &Session, out: &mut Output) -> Result<()> {
        self.keep_newest();
        let there_are_more = self.back.len() > HINTS_MAX;
        let told = if there_are_more { 1 } else { HINTS_MAX };
        let roots = self.reader.view(self.reader.head()).policy()?.roots;
        for (path, last) in self.back.iter().take(told) {
            // Where its place is free, and what is done there can be taken back, it belongs there.
            let is_protected = roots.iter().any(|root| is_below(path, &root.path));
            let place = if is_protected && is_free(path) { "--in-place" } else { "--to TARGET" };
            let back = session.command("restore").path(path).at(*last).word(place).text();
            out.note(&format!("back with: {back}"));
        }
        if self.hidden > 0 {
            let what =
                if self.shown == 0 { "nothing of that name is there" } else { "more of that name was there" };
            out.note(&format!(
                "{what}; {} gone: --deleted shows when and where it was last",
                count(self.hidden)
            ));
        } else if self.shown == 0 {
            out.note("nothing found");
        }
        Ok(())
    }
}

/// Whether nothing is at a place now, and something can be.
fn is_free(path: &[u8]) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    // A file where a directory would have to be is another kind of error.
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn count(many: u64) -> String {
    if many == 1 { "1 is".to_owned() } else { format!("{many} are") }
}

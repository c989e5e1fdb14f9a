//! The history of a directory by moments, with the gaps between them.

use std::cell::Cell;

use asof_journal::landmarks::Named;
use asof_journal::reader::{Moment as AsOf, Reader};
use asof_journal::types::{Gap, Seq};
use chrono::NaiveDate;
use serde::Serialize;

use crate::errors::Result;
use crate::moments::{self, Did, Moment, Placed, Stream, sentence};
use crate::output::{Output, PathFields, clock, escape, span};
use crate::session::Session;

/// A line in JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Moment {
        from: String,
        to: String,
        first_seq: u64,
        last_seq: u64,
        /// The `--at` that shows the state just before; absent where there was nothing before.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        counts: Counts,
        below: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        below_b64: Option<String>,
        parts: Vec<Part>,
    },
    /// An instant that has a name.
    Mark { name: String, instant: String, seq: u64 },
    Gap {
        from: String,
        /// Absent while it lasts.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        reason: &'static str,
        #[serde(flatten)]
        path: PathFields,
        places: u64,
    },
}

/// How many paths came to what.
#[derive(Serialize)]
struct Counts {
    total: u64,
    deleted: u64,
    moved_away: u64,
    created: u64,
    changed: u64,
    renamed: u64,
    brief: u64,
    vanished: u64,
    crowds: u64,
    uncovered: u64,
    damaged: u64,
}

/// The paths that the same became of.
#[derive(Serialize)]
struct Part {
    what: &'static str,
    files: u64,
    dirs: u64,
    /// Whether there are more than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    below: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    below_b64: Option<String>,
}

/// What is to be listed.
pub(super) struct Asked<'r> {
    /// The journal.
    pub(super) reader: &'r Reader,
    /// The directory.
    pub(super) path: &'r [u8],
    /// What happened up to here is left out.
    pub(super) after: Seq,
    /// What happened after this is left out.
    pub(super) until: AsOf,
    /// So many moments at most.
    pub(super) count: u64,
}

/// Prints the moments, the newest first.
pub(super) fn run(session: &Session, asked: &Asked<'_>, out: &mut Output) -> Result<()> {
    let mut gaps = moments::gaps(asked.reader, asked.path)?;
    let since = asked.reader.at_seq(asked.after)?.map(|moment| moment.instant);
    gaps.retain(|Placed { gap, .. }| {
        gap.from <= asked.until.asked && since.is_none_or(|since| gap.until > since)
    });
    let breaks = moments::breaks(asked.reader, &gaps, asked.path)?;
    let mut marks = asked.reader.marks()?;
    marks.retain(|mark| mark.moment.seq > asked.after && mark.moment.seq <= asked.until.seq);
    let mut stream = Stream::new(asked.path.to_vec(), asked.after, asked.until.seq, breaks);
    let mut listing = Listing { path: asked.path, today: session.today(), gaps, marks, out };
    let left = Cell::new(asked.count);
    let mut newest: Option<Moment> = None;
    stream.read(asked.reader, &|| left.get() > 0, &mut |moment| {
        listing.until(Some(&moment))?;
        listing.moment(&moment)?;
        left.set(left.get() - 1);
        newest.get_or_insert(moment);
        Ok(())
    })?;
    if stream.is_done() && left.get() > 0 {
        listing.until(None)?;
    }
    match newest {
        Some(newest) => hint(session, asked, &newest, out),
        None => {
            out.note(&format!("nothing happened at or below {} in that time", escape(asked.path)));
            Ok(())
        }
    }
}

/// Says how to see what was there before the newest moment.
fn hint(session: &Session, asked: &Asked<'_>, newest: &Moment, out: &mut Output) -> Result<()> {
    let before = newest.before();
    if before > Seq::ZERO && asked.reader.view(before).resolve(asked.path)?.is_some() {
        let when = clock(newest.first.instant, Some(session.today()));
        let command = session.command("ls").path(asked.path).at(before).text();
        out.note(&format!("just before {when}: {command}"));
    }
    Ok(())
}

struct Listing<'o> {
    path: &'o [u8],
    today: NaiveDate,
    /// Those that have no line yet, in the order of their beginnings.
    gaps: Vec<Placed>,
    /// The same, of instants that have names.
    marks: Vec<Named>,
    out: &'o mut Output,
}

impl Listing<'_> {
    fn moment(&mut self, moment: &Moment) -> Result<()> {
        if self.out.is_json() {
            return self.out.object(&line(moment));
        }
        let when = span(moment.first.instant, moment.last.instant, Some(self.today));
        let before = match moment.before() {
            Seq::ZERO => String::new(),
            before => format!("  (before: --at {before})"),
        };
        self.out.line(&format!("{when}: {}{before}", sentence(moment, self.path)))
    }

    /// What stands behind a moment, or all that is left.
    fn until(&mut self, moment: Option<&Moment>) -> Result<()> {
        let last = moment.map(|moment| moment.last);
        while let Some(mark) = self.marks.pop_if(|mark| last.is_none_or(|last| mark.moment.seq >= last.seq)) {
            self.gaps_since(Some(mark.moment.seq))?;
            self.mark(&mark)?;
        }
        self.gaps_since(last.map(|last| last.seq))
    }

    fn mark(&mut self, mark: &Named) -> Result<()> {
        let name = mark.name.to_string();
        let Named { moment, .. } = mark;
        if self.out.is_json() {
            return self.out.object(&Line::Mark {
                name,
                instant: moment.instant.to_rfc3339(),
                seq: moment.seq.0,
            });
        }
        let when = clock(moment.instant, Some(self.today));
        let name = escape(name.as_bytes());
        self.out.line(&format!("{when}: mark {name}  (--at mark:{name})"))
    }

    /// The gaps that began at a place or after it, or all that are left.
    fn gaps_since(&mut self, since: Option<Seq>) -> Result<()> {
        let from = since.map_or(0, |since| self.gaps.partition_point(|placed| placed.place < since));
        let gaps: Vec<Gap> = self.gaps.split_off(from).into_iter().map(|placed| placed.gap).collect();
        // The same for several places is one line.
        for same in gaps.chunk_by(|one, other| one.reason == other.reason).rev() {
            self.gap(same)?;
        }
        Ok(())
    }

    fn gap(&mut self, gaps: &[Gap]) -> Result<()> {
        let (Some(first), Some(until)) = (gaps.first(), gaps.iter().map(|gap| gap.until).max()) else {
            return Ok(());
        };
        let mut scopes: Vec<&[u8]> = gaps.iter().map(|gap| gap.scope.as_slice()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let common = moments::common(&scopes);
        let is_open = until == Gap::OPEN;
        if self.out.is_json() {
            return self.out.object(&Line::Gap {
                from: first.from.to_rfc3339(),
                to: (!is_open).then(|| until.to_rfc3339()),
                reason: first.reason.as_str(),
                path: PathFields::new(&common),
                places: scopes.len() as u64,
            });
        }
        let when = match is_open {
            true => format!("{} until now", clock(first.from, Some(self.today))),
            false => span(first.from, until, Some(self.today)),
        };
        let shown = moments::relative(&common, self.path, false);
        let place = match scopes.len() {
            1 if asof_journal::view::is_below(self.path, &common) => String::new(),
            1 => format!(": {shown}"),
            many => format!(": {many} places below {shown}"),
        };
        self.out.line(&format!("{when}: gap, {}{place}", first.reason.as_str()))
    }
}

fn line(moment: &Moment) -> Line {
    let (below, below_b64) = PathFields::pair(&moment.below());
    let parts = moment.parts.iter().map(|part| {
        let (below, below_b64) = PathFields::pair(&part.below);
        let at_least = part.is_least;
        Part { what: part.did.word(), files: part.files, dirs: part.dirs, at_least, below, below_b64 }
    });
    Line::Moment {
        from: moment.first.instant.to_rfc3339(),
        to: moment.last.instant.to_rfc3339(),
        first_seq: moment.first.seq.0,
        last_seq: moment.last.seq.0,
        before: (moment.before() > Seq::ZERO).then(|| moment.before().to_string()),
        counts: Counts {
            total: moment.total(),
            deleted: moment.count(Did::Deleted),
            moved_away: moment.count(Did::MovedAway),
            created: moment.count(Did::Created),
            changed: moment.count(Did::Changed),
            renamed: moment.count(Did::Renamed),
            brief: moment.count(Did::Brief),
            vanished: moment.count(Did::Vanished),
            crowds: moment.count(Did::Crowd),
            uncovered: moment.count(Did::Uncovered),
            damaged: moment.count(Did::Damaged),
        },
        below,
        below_b64,
        parts: parts.collect(),
    }
}

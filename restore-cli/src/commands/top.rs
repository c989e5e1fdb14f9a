//! `top`: what takes the space in the journal, by path, by what is new, by age.
//!
//! Owns the words; the sums are the journal's business.

use asof_journal::retention::JournalTime;
use asof_journal::retention::survey;
use asof_journal::retention::time::{JournalClock, MINUTE_NS};
use asof_journal::retention::top::{By, Taken, Top, Wanted, top};
use asof_journal::types::Seq;
use indicatif::HumanBytes;
use serde::Serialize;

use super::retain::shown_max;
use crate::args::{TopArgs, TopBy};
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, PathFields, as_of, counted, escape};
use crate::session::{Session, no_such_path};

const DAY_MINUTES: u64 = 24 * 60;
/// What came within so many days is new.
const NEW_DAYS: u64 = 7;
/// Ages that are told apart, in days.
const AGES_DAYS: [u64; 4] = [1, 7, 30, 365];

/// One line of `top --json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    /// A path. Without `path`: all that are not told apart.
    Path {
        #[serde(flatten)]
        path: Option<PathFields>,
        bytes: u64,
        versions: u64,
        bytes_per_day: u64,
    },
    /// What was written within so many days, and not within those of the line before. Without `days`: before all that.
    Age {
        #[serde(skip_serializing_if = "Option::is_none")]
        days: Option<u64>,
        bytes: u64,
        versions: u64,
    },
    /// Everything together.
    Summary {
        by: &'static str,
        paths: u64,
        bytes: u64,
        versions: u64,
        unreferenced_bytes: u64,
        lists_unreadable: u64,
        instant: String,
        seq: u64,
    },
}

/// Prints what takes the space.
pub(crate) fn run(session: &Session, args: &TopArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    let below = match &args.path {
        Some(path) => Some(session.path(path, Some(crate::timespec::TimeSpec::Now))?.0),
        None => None,
    };
    let reader = session.reader()?;
    let moment = session.moment(reader, None, out)?;
    out.note(&as_of(&moment));
    let clock = survey::clock(reader)?;
    let ages = AGES_DAYS.map(|days| days * DAY_MINUTES);
    let since = clock.now().minutes_before(NEW_DAYS * DAY_MINUTES);
    let by = match args.by {
        TopBy::Path => By::Path { after: Seq::ZERO },
        TopBy::Churn => By::Path { after: clock.seq_at(since).unwrap_or(Seq::ZERO) },
        TopBy::Age => By::Age(&ages),
    };
    let wanted = Wanted { by, below: below.as_deref(), paths_max: shown_max(args.count) };
    let found = top(reader, &clock, wanted, &mut || !interrupt::requested())?.ok_or(Error::Ended)?;
    if let Some(below) = below.filter(|_| found.total.versions == 0)
        && reader.view(moment.seq).resolve(&below)?.is_none()
    {
        // A slip of the pen is not taken for "nothing".
        return Err(no_such_path(&below, &moment));
    }
    match args.by {
        TopBy::Age => print_ages(&found, out)?,
        TopBy::Path => print_paths(&found, &|taken| days(&clock, taken), out)?,
        TopBy::Churn => {
            // Of a younger journal all is new.
            let whole = days_from(&clock, since.max(clock.begin()));
            print_paths(&found, &|_| whole, out)?;
        }
    }
    summary(&found, args.by, &moment, out)
}

fn print_paths(found: &Top, days: &dyn Fn(&Taken) -> f64, out: &mut Output) -> Result<()> {
    for one in &found.paths {
        let taken = &one.taken;
        let bytes_per_day = (taken.bytes as f64 / days(taken)) as u64;
        if out.is_json() {
            let path = one.path.as_deref().map(PathFields::new);
            let (bytes, versions) = (taken.bytes, taken.versions);
            out.object(&Line::Path { path, bytes, versions, bytes_per_day })?;
            continue;
        }
        let path = match &one.path {
            Some(path) => escape(path),
            None => "(other paths together)".to_owned(),
        };
        let (bytes, a_day) = (HumanBytes(taken.bytes).to_string(), HumanBytes(bytes_per_day).to_string());
        let versions = counted(taken.versions, "version");
        out.line(&format!("{bytes:>12}  {versions:>16}  {a_day:>12} a day  {path}"))?;
    }
    let hidden = found.paths_all.saturating_sub(found.paths.len() as u64);
    if hidden > 0 {
        out.note(&format!("{} more: -n 0 names all", counted(hidden, "path")));
    }
    Ok(())
}

fn print_ages(found: &Top, out: &mut Output) -> Result<()> {
    for (at, taken) in found.ages.iter().enumerate() {
        let days = AGES_DAYS.get(at).copied();
        if out.is_json() {
            out.object(&Line::Age { days, bytes: taken.bytes, versions: taken.versions })?;
            continue;
        }
        let age = match (days, AGES_DAYS.last()) {
            (Some(days), _) => format!("the last {}", counted(days, "day")),
            (None, last) => format!("before the last {}", counted(last.copied().unwrap_or(0), "day")),
        };
        let (bytes, versions) = (HumanBytes(taken.bytes).to_string(), counted(taken.versions, "version"));
        out.line(&format!("{bytes:>12}  {versions:>16}  {age}"))?;
    }
    Ok(())
}

fn summary(found: &Top, by: TopBy, moment: &asof_journal::reader::Moment, out: &mut Output) -> Result<()> {
    let by = match by {
        TopBy::Path => "path",
        TopBy::Churn => "churn",
        TopBy::Age => "age",
    };
    if out.is_json() {
        return out.object(&Line::Summary {
            by,
            paths: found.paths_all,
            bytes: found.total.bytes,
            versions: found.total.versions,
            unreferenced_bytes: found.unreferenced,
            lists_unreadable: found.unreadable,
            instant: moment.instant.to_rfc3339(),
            seq: moment.seq.0,
        });
    }
    let (bytes, versions) =
        (HumanBytes(found.total.bytes).to_string(), counted(found.total.versions, "version"));
    let what = if by == "churn" { "new within 7 days, in all" } else { "in all" };
    out.line(&format!("{bytes:>12}  {versions:>16}  {what}"))?;
    if found.unreferenced > 0 {
        let bytes = HumanBytes(found.unreferenced);
        out.note(&format!(
            "{bytes} more are content that no version refers to by itself, such as bases of differences"
        ));
    }
    if found.unreadable > 0 {
        out.warn(&format!(
            "{} could not be read; what they refer to is not counted: `asof verify --deep` says more",
            counted(found.unreadable, "list of blocks of a large file")
        ));
    }
    Ok(())
}

/// How many days a path has taken space for, one at least.
fn days(clock: &JournalClock, taken: &Taken) -> f64 {
    let first = taken.span.map_or(Seq::ZERO, |(first, _)| first);
    days_from(clock, clock.time_of(first))
}

fn days_from(clock: &JournalClock, from: JournalTime) -> f64 {
    let ns = clock.now().0.saturating_sub(from.0);
    (ns as f64 / (MINUTE_NS as f64 * DAY_MINUTES as f64)).max(1.0)
}

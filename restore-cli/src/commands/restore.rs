//! `restore --to`: from paths and a time to a plan, and from the plan to files. `--in-place` is in `in_place.rs`.

pub(crate) mod in_place;
pub(crate) mod preview;
mod report;
mod target;

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant as Stopwatch;

use asof_journal::reader::{Moment, Reader};
use asof_journal::types::{Gap, Instant};

use crate::args::{Prefer, RestoreArgs};
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, as_of, escape, local};
use crate::path;
use crate::plan::{self, Item, RestorePlan};
use crate::session::{Session, entry_at};
use crate::source::{AtSeq, CleanFirst, Source};
use crate::timespec::TimeSpec;
use crate::write::{self, Options};

use report::Report;
use target::Target;

/// More workers than this meet in the same directories more than they help.
const WORKERS_MAX: usize = 8;
/// While one worker decodes, another can write.
const WORKERS_MIN: usize = 2;

/// Restores, or prints what would be restored.
pub(crate) fn run(session: &Session, args: &RestoreArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    let Some(to) = &args.to else {
        return in_place::run(session, args, out);
    };
    let started = Stopwatch::now();
    let (paths, at) = paths(session, args)?;
    let Found { moment, source, items } = look_up(session, args, &paths, at, out)?;
    let target = Target::choose(to, items, args.overwrite)?;
    target.check_place(session.journal(), &paths, args.overwrite)?;
    let workers = workers(args.workers);
    let preferred = preferred(&source, args.prefer);
    let plan = plan::plan(&*preferred, &target.shape, workers);
    if interrupt::requested() {
        return Err(Error::Interrupted);
    }
    let mut report = Report::new(out, &source, moment, started);
    if args.dry_run {
        return report.dry_run(&plan, to.as_os_str().as_bytes());
    }
    carry_out(&*preferred, &plan, &target, args, &mut report)
}

/// The versions that the user wants to have.
fn preferred<'s>(source: &'s AtSeq<'_>, prefer: Option<Prefer>) -> Box<dyn Source + 's> {
    match prefer {
        None => Box::new(*source),
        Some(Prefer::Clean) => Box::new(CleanFirst(source)),
    }
}

fn carry_out(
    source: &dyn Source,
    plan: &RestorePlan,
    target: &Target,
    args: &RestoreArgs,
    report: &mut Report<'_>,
) -> Result<()> {
    let written = target.create()?;
    let base = write::open_base(&written)?;
    // Files are created with the permissions that they shall have, which need no second call then.
    rustix::process::umask(rustix::fs::Mode::empty());
    let options = Options::aside(args.overwrite, workers(args.workers), target.base_existed);
    report.begin(plan);
    let result = write::carry_out(source, plan, base.as_fd(), options, &mut |event, counts| {
        report.hear(event, counts, plan);
    });
    report.out.end_progress();
    let result = result.and_then(|counts| target.reveal(&written).map(|()| counts));
    if let (Err(_), Some(left)) = (&result, target.left_at(&written)) {
        report.out.warn(&format!("what was restored before that is in {}", target::shown(left)));
    }
    report.finish(plan, result?)
}

/// How many threads compare and write.
pub(crate) fn workers(asked: Option<u8>) -> usize {
    let cpus = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
    asked.map_or(cpus.clamp(WORKERS_MIN, WORKERS_MAX), usize::from)
}

/// The absolute paths, and the one time that all of them mean.
fn paths(session: &Session, args: &RestoreArgs) -> Result<(Vec<Vec<u8>>, Option<TimeSpec>)> {
    let at = session.optional_time(args.at.as_deref())?;
    let mut paths = Vec::with_capacity(args.paths.len());
    let mut times = Vec::with_capacity(args.paths.len());
    for argument in &args.paths {
        let (path, time) = session.path(argument, at.clone())?;
        paths.push(path);
        times.push(time);
    }
    let first = times.first().cloned().flatten();
    if times.iter().any(|time| *time != first) {
        let what = "the paths carry different times";
        return Err(Error::usage(
            what,
            "give one time for all with --at, or restore them one after the other",
        ));
    }
    Ok((paths, first))
}

/// What was asked for, as it was at the time.
struct Found<'r> {
    moment: Moment,
    source: AtSeq<'r>,
    items: Vec<Item>,
}

/// Looks up what was asked for, says as of when, and names the gaps that concern it.
fn look_up<'r>(
    session: &'r Session,
    args: &RestoreArgs,
    paths: &[Vec<u8>],
    at: Option<TimeSpec>,
    out: &mut Output,
) -> Result<Found<'r>> {
    let reader = session.reader()?;
    let moment = session.moment(reader, at, out)?;
    out.note(&as_of(&moment));
    let source = AtSeq::new(reader, &moment);
    let items = items(&source, paths, &moment)?;
    for (argument, item) in args.paths.iter().zip(&items) {
        session.check_kind(argument, args.at.is_some(), item.entry.kind)?;
    }
    check_gaps(reader, &source, paths, args.strict, out)?;
    Ok(Found { moment, source, items })
}

fn items(source: &dyn Source, paths: &[Vec<u8>], moment: &Moment) -> Result<Vec<Item>> {
    let mut items = Vec::with_capacity(paths.len());
    for path in paths {
        let entry = entry_at(source, path, moment)?;
        items.push(Item { path: path.clone(), name: path::name(path).to_vec(), entry });
    }
    Ok(items)
}

/// Names the gaps that concern the paths; under `--strict` they end the restore before it begins.
fn check_gaps(
    reader: &Reader,
    source: &dyn Source,
    paths: &[Vec<u8>],
    strict: bool,
    out: &mut Output,
) -> Result<()> {
    let mut first = None;
    for path in paths {
        for gap in source.gaps(path)? {
            if !strict {
                out.warn(&gap_text(&gap));
            }
            first.get_or_insert(gap);
        }
    }
    match first {
        Some(gap) if strict => Err(Error::not_reachable(gap_text(&gap), outside(reader, &gap)?)),
        _ => Ok(()),
    }
}

/// The times that are next to a gap.
fn outside(reader: &Reader, gap: &Gap) -> Result<String> {
    let (before, after) = (Instant(gap.from.0.saturating_sub(1)), Instant(gap.until.0.saturating_add(1)));
    let mut next = Vec::new();
    if reader.at_instant(before)?.is_some() {
        next.push(format!("before it: --at {}", local(before)));
    }
    if !gap.is_open() {
        next.push(format!("after it: --at {}", local(after)));
    }
    next.push("or leave --strict out to restore what is known".to_owned());
    Ok(next.join("\n"))
}

/// A gap for people.
pub(crate) fn gap_text(gap: &Gap) -> String {
    let detail =
        if gap.detail.is_empty() { String::new() } else { format!(" ({})", escape(gap.detail.as_bytes())) };
    let until = match gap.is_open() {
        true => "and not known to be over".to_string(),
        false => format!("to {}", local(gap.until)),
    };
    format!(
        "gap at {} from {} {until}: {}{detail}; what is known may be older",
        escape(&gap.scope),
        local(gap.from),
        gap.reason.as_str(),
    )
}

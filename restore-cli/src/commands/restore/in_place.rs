//! `restore --in-place`, and what `undo` and others share with it: the agent's part, the plan, the writing.
//!
//! Prints nothing but what the verb itself says; [`plan`] and [`carry_out`] say nothing at all.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant as Stopwatch};

use asof_journal::Error as JournalError;
use asof_journal::control::{Answer, Outcome, PathBytes, Request, RestoreBegin};
use asof_journal::reader::{Moment, Reader};
use asof_journal::storage::Layout;
use asof_journal::types::Seq;

use super::preview;
use super::report::Report;
use super::{look_up, paths, preferred, workers};
use crate::args::{Overwrite, Prefer, RestoreArgs};
use crate::client::Client;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, escape};
use crate::plan::in_place::{self, InPlacePlan, Wish};
use crate::session::Session;
use crate::source::AtSeq;
use crate::write::{self, Counts, Event, Options};

/// How long the agent may take until the present state is durable.
const SYNC: Duration = Duration::from_secs(600);
/// The end of a restore is asked for again after so long a time without an answer: a user who has enough is heard between.
const END_EACH: Duration = Duration::from_secs(20);
/// How long the end of a restore is asked for in all.
const END_ALL: Duration = Duration::from_secs(1800);
/// How long an agent may be away that is being started again.
const AGENT_AWAY: Duration = Duration::from_secs(15);
/// The least time from one question to the next.
const END_PAUSE: Duration = Duration::from_millis(250);
/// Said while that goes on.
const WAITING: &str = "everything is restored; waiting for asofd to note the end (Ctrl-C ends the wait, and `asof undo` works all the same)";

/// What is to be restored in place.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Absolute paths, each with all below it.
    pub(crate) paths: Vec<Vec<u8>>,
    /// The state that is wanted.
    pub(crate) at: Moment,
    /// Whether what was not there then is deleted.
    pub(crate) exact: bool,
    /// What to do with what exists and differs; the default replaces it.
    pub(crate) overwrite: Option<Overwrite>,
    /// Which versions to take.
    pub(crate) prefer: Option<Prefer>,
    /// How many threads compare and write.
    pub(crate) workers: usize,
    /// The restore that this one takes back.
    pub(crate) takes_back: Option<TakenBack>,
}

/// A restore that is to be taken back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenBack {
    /// Its id.
    pub(crate) id: Seq,
    /// A state in which it had ended, and nothing else after it.
    pub(crate) left: Seq,
}

/// Whether the restore is recorded, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// By the agent, without which nothing is done.
    Kept,
    /// Not at all.
    None,
}

/// What a restore in place did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// What was done.
    pub(crate) counts: Counts,
    /// Its id, where it is recorded: the state before it.
    pub(crate) id: Option<Seq>,
    /// Whether its end is recorded, too.
    pub(crate) is_end_recorded: bool,
}

/// Has the agent make the present state durable, so that a reader opened afterwards knows it. Where no record is kept,
/// no agent need run.
pub(crate) fn settle_live(session: &Session, record: Record) -> Result<()> {
    match Client::connect(session.journal())? {
        Some(client) => ask(client, &Request::Sync { timeout_ms: millis(SYNC) }).map(|_| ()),
        None if record == Record::None => Ok(()),
        None => Err(no_agent(session)),
    }
}

/// Plans a restore in place; `reader` was opened after [`settle_live`].
///
/// What is left for its safety is among the problems of the plan. Errors: as for looking things up in the journal, and
/// `Interrupted`.
pub(crate) fn plan(reader: &Reader, job: &Job) -> Result<InPlacePlan> {
    let base = write::open_base(Path::new("/"))?;
    let wanted = AtSeq::new(reader, &job.at);
    let wanted = preferred(&wanted, job.prefer);
    let now = at(reader, reader.head())?;
    let left = job.takes_back.map(|taken| at(reader, taken.left)).transpose()?;
    in_place::plan(
        base.as_fd(),
        &Wish {
            wanted: &*wanted,
            now: &now,
            left: left.as_ref().map(|left| left as _),
            paths: &job.paths,
            exact: job.exact,
            overwrite: job.overwrite,
            workers: job.workers,
        },
    )
}

/// Carries a plan out, between a record of its beginning and one of its end. `tell` hears of progress and problems.
///
/// What is on disk is looked at again before it is replaced or deleted. Errors: the agent could not make the present state
/// durable (nothing was done then); `Interrupted`, and `Io` where there is no room or nothing can be written: what was
/// done until then is complete, file by file, and can be taken back.
pub(crate) fn carry_out(
    session: &Session,
    reader: &Reader,
    job: &Job,
    planned: &InPlacePlan,
    record: Record,
    tell: &mut dyn FnMut(Event, &Counts),
) -> Result<Done> {
    let id = match record {
        Record::Kept => Some(begin(session, job, &planned.tops)?),
        Record::None => None,
    };
    let base = write::open_base(Path::new("/"))?;
    let wanted = AtSeq::new(reader, &job.at);
    let wanted = preferred(&wanted, job.prefer);
    // Files are created with the permissions that they shall have, which need no second call then.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    let options = Options::in_place(job.overwrite, job.workers);
    let counts = write::carry_out(&*wanted, &planned.plan, base.as_fd(), options, tell);
    rustix::process::umask(mask);
    let counts = counts?;
    let failed = planned.plan.problems.len() as u64 + counts.problems;
    let is_end_recorded = id.is_some_and(|id| {
        end(session, id, &counts, failed, &mut || {
            tell(Event::Remark(WAITING), &counts);
        })
    });
    Ok(Done { counts, id, is_end_recorded })
}

/// The journal as of a `Seq` that is known to be there.
fn at(reader: &Reader, seq: Seq) -> Result<AtSeq<'_>> {
    match reader.at_seq(seq)? {
        Some(moment) => Ok(AtSeq::new(reader, &moment)),
        None => Err(Error::not_reachable(format!("{seq} is not in the journal"), "let asofd run first")),
    }
}

fn begin(session: &Session, job: &Job, tops: &[Vec<u8>]) -> Result<Seq> {
    let Some(client) = Client::connect(session.journal())? else { return Err(no_agent(session)) };
    let request = Request::RestoreBegin(RestoreBegin {
        at: job.at.seq.0,
        paths: tops.iter().cloned().map(PathBytes).collect(),
        exact: job.exact,
        undoes: job.takes_back.map(|taken| taken.id.0),
        timeout_ms: millis(SYNC),
    });
    ask(client, &request).map(Seq)
}

/// Has the agent note that a restore has ended. It may be busy, or about to be started again: it is asked again and again,
/// until the time is up or the user does not want to wait. Gives whether it is noted.
fn end(session: &Session, id: Seq, counts: &Counts, failed: u64, waits: &mut dyn FnMut()) -> bool {
    let outcome = Outcome {
        created: counts.created,
        overwritten: counts.overwritten + counts.metadata,
        deleted: counts.deleted,
        failed,
        bytes: counts.bytes,
    };
    let (started, mut seen) = (Stopwatch::now(), Stopwatch::now());
    loop {
        let asked = Stopwatch::now();
        if let Ok(Some(client)) = Client::connect(session.journal()) {
            seen = asked;
            let request = Request::RestoreEnd { id: id.0, outcome, timeout_ms: millis(END_EACH) };
            if ask_within(client, &request, END_EACH).is_ok() {
                return true;
            }
        }
        // It may have noted it, and nobody was there to hear the answer.
        if is_ended(session, id) {
            return true;
        }
        let is_gone = seen.elapsed() > AGENT_AWAY;
        if interrupt::requested() || is_gone || started.elapsed() > END_ALL {
            return false;
        }
        waits();
        interrupt::pause(END_PAUSE.saturating_sub(asked.elapsed()));
    }
}

fn is_ended(session: &Session, id: Seq) -> bool {
    let restores = session.fresh_reader().and_then(|reader| Ok(reader.restores()?)).unwrap_or_default();
    restores.iter().any(|restore| restore.begun.seq == id && restore.done.is_some())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Asks for something that is done once everything is durable; gives its `Seq`.
fn ask(client: Client, request: &Request) -> Result<u64> {
    ask_within(client, request, SYNC)
}

/// The same, for an answer that takes so long at most.
fn ask_within(mut client: Client, request: &Request, time: Duration) -> Result<u64> {
    match client.ask(request, Some(time + Duration::from_secs(2)))? {
        Some(Answer::Synced(synced)) => Ok(synced.seq),
        Some(Answer::Failed { error, timed_out: false }) => Err(Error::failed(
            format!("the present state cannot be made durable: {error}"),
            "see the log of asofd",
        )),
        Some(Answer::Failed { .. }) | None => {
            let what = format!("the present state was not durable within {} s", time.as_secs());
            Err(Error::failed(what, "`asof status` shows what is pending"))
        }
        Some(_) => {
            Err(Error::failed("asofd answered something else", "use the same version of asof and asofd"))
        }
    }
}

fn no_agent(session: &Session) -> Error {
    if !Layout::new(session.journal()).manifest().exists() {
        return JournalError::NoJournal { path: session.journal().to_path_buf() }.into();
    }
    let shown = escape(std::os::unix::ffi::OsStrExt::as_bytes(session.journal().as_os_str()));
    let what = format!("no asofd is running on {shown}, so the present state cannot be made durable first");
    let start = format!("{}   (starts one)", session.start_agent());
    let other = "or bring things back elsewhere with --to; --no-undo goes ahead in place, without a way back";
    Error::failed(what, format!("{start}\n{other}"))
}

/// `restore --in-place`.
pub(super) fn run(session: &Session, args: &RestoreArgs, out: &mut Output) -> Result<()> {
    let (paths, time) = paths(session, args)?;
    if time.is_none() {
        let what = "restore --in-place needs a time";
        return Err(Error::usage(
            what,
            "say as of when: --at TIME, or PATH@TIME; `asof log PATH` shows what happened",
        ));
    }
    let consent = preview::Consent::of(out, args.yes, args.dry_run, "restore --in-place")?;
    let record = if args.no_undo { Record::None } else { Record::Kept };
    // A dry run does without an agent: what it cannot know then, it says of each file.
    settle_live(session, if args.dry_run { Record::None } else { record })?;
    let started = Stopwatch::now();
    let reader = session.reader()?;
    let found = look_up(session, args, &paths, time, out)?;
    let job = Job {
        paths,
        at: found.moment,
        exact: args.exact,
        overwrite: args.overwrite,
        prefer: args.prefer,
        workers: workers(args.workers),
        takes_back: None,
    };
    let planned = plan(reader, &job)?;
    run_planned(session, reader, &job, &planned, Way { record, consent, started }, out)
}

/// How a plan comes to be carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// Whether it is recorded.
    pub(crate) record: Record,
    /// Who has agreed.
    pub(crate) consent: preview::Consent,
    /// When the command began.
    pub(crate) started: Stopwatch,
}

/// Shows a plan, asks, and carries it out.
pub(crate) fn run_planned(
    session: &Session,
    reader: &Reader,
    job: &Job,
    planned: &InPlacePlan,
    way: Way,
    out: &mut Output,
) -> Result<()> {
    let Way { record, consent, started } = way;
    let source = AtSeq::new(reader, &job.at);
    preview::show(out, planned, consent)?;
    let mut report = Report::new(out, &source, job.at, started);
    if consent == preview::Consent::DryRun || planned.preview.is_nothing() {
        let is_undo = job.takes_back.is_some();
        return report.planned_in_place(planned, consent == preview::Consent::DryRun, is_undo);
    }
    preview::ask(report.out, planned, consent)?;
    report.begin(&planned.plan);
    let done = carry_out(session, reader, job, planned, record, &mut |event, counts| {
        report.hear(event, counts, &planned.plan);
    });
    report.out.end_progress();
    if interrupt::requested() && record == Record::Kept && done.is_err() {
        report.out.note("what was done until now can be taken back with `asof undo`");
    }
    let done = done?;
    if done.id.is_some() && !done.is_end_recorded {
        report.out.warn(
            "asofd has not noted that the restore has ended: for `asof undo`, what changes until the next restore counts as \
             its own",
        );
    }
    report.finish_in_place(planned, &done, job.takes_back.is_some())
}

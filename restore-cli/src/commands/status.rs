//! `status`: what is protected, since when, and how far behind.

use asof_journal::control::{Answer, Counters, Place, Request, Retention, Root, Rpo, RpoSpan, State, Status};
use asof_journal::reader::{Moment, Reader};
use asof_journal::scrub::Scrub;
use asof_journal::storage::Layout;
use asof_journal::types::RootPolicy;
use serde::Serialize;

use crate::client::Client;
use crate::errors::{Error, Result};
use crate::output::{Output, escape, is_plain};
use crate::session::Session;
use crate::source::{AtSeq, Source};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// An agent that does not say how it is within this time is named as a problem, and the journal is asked instead.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for one that is stopped (SIGSTOP): it will hardly answer, unless it is just being resumed.
const PATIENCE_STOPPED: Duration = Duration::from_millis(500);

/// Prints how things are: from the agent, or from the journal where none is running.
pub(crate) fn run(session: &Session, out: &mut Output) -> Result<()> {
    let mut answered = false;
    let status = match Client::connect(session.journal())? {
        Some(mut client) => match client.ask(&Request::Status, Some(patience(&client)))? {
            Some(Answer::Status(status)) => {
                answered = true;
                *status
            }
            Some(Answer::Failed { error, .. }) => {
                return Err(Error::failed(error, "see the log of asofd"));
            }
            Some(
                Answer::Configuration { .. } | Answer::Synced(_) | Answer::Retained(_) | Answer::Forgotten(_),
            ) => {
                return Err(Error::failed("asofd answered something else", "upgrade both"));
            }
            None => unanswered(&client, from_journal(session, session.reader()?)?),
        },
        None => from_journal(session, session.reader()?)?,
    };
    let unended = unended(session);
    match out.is_json() {
        true => out.object(&Line { status: &status, restore_without_end: unended }),
        false => {
            for_people(&status, answered, out)?;
            match unended {
                Some(place) => out.line(&format!(
                    "restore    in place, begun at {} (seq:{}), without an end: under way, or interrupted, and `asof undo` \
                     takes it back",
                    place.instant, place.seq
                )),
                None => Ok(()),
            }
        }
    }
}

/// What the agent says of itself, and what the journal adds.
#[derive(Serialize)]
struct Line<'s> {
    #[serde(flatten)]
    status: &'s Status,
    /// Where the newest restore in place began, where no end of it was noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_without_end: Option<Place>,
}

/// The newest restore in place, where it has no end. A journal that cannot be read says nothing of it; the rest is said all
/// the same.
fn unended(session: &Session) -> Option<Place> {
    let restores = session.reader().ok()?.restores().ok()?;
    let newest = restores.last().filter(|restore| restore.done.is_none())?;
    Some(Place { instant: newest.begun.instant.to_rfc3339(), seq: newest.begun.seq.0 })
}

fn patience(client: &Client) -> Duration {
    if client.is_agent_stopped() { PATIENCE_STOPPED } else { PATIENCE }
}

/// What the journal says, with the remark that there is an agent that does not answer.
fn unanswered(client: &Client, from_journal: Status) -> Status {
    let why = match client.is_agent_stopped() {
        true => {
            "it is stopped (SIGSTOP): resume it with SIGCONT; what happens meanwhile waits in the kernel's queue"
        }
        false => "see its log",
    };
    let problem = format!("asofd does not answer; this is what the journal says. {why}");
    Status { state: State::Degraded, pid: client.agent_pid(), problems: vec![problem], ..from_journal }
}

fn from_journal(session: &Session, reader: &Reader) -> Result<Status> {
    let info = reader.info()?;
    let scrub = Scrub::open(&Layout::new(session.journal())).progress()?;
    let mut problems = vec!["asofd is not running: nothing is captured now".to_owned()];
    if scrub.damage > 0 {
        let places = scrub.damage;
        problems.push(format!(
            "the scrub found {places} damaged places in the journal: `asof verify --deep` says what that costs"
        ));
    }
    let roots = match &info.head {
        Some(head) => roots(reader, head)?,
        None => Vec::new(),
    };
    Ok(Status {
        state: State::Stopped,
        pid: None,
        roots,
        durable: info.head.map(|head| Place { instant: head.instant.to_rfc3339(), seq: head.seq.0 }),
        lag_ms: 0,
        pending: 0,
        gaps: info.gaps,
        journal_bytes: info.bytes,
        journal: String::from_utf8_lossy(session.journal().as_os_str().as_bytes()).into_owned(),
        covered_through: info.covered_through.map(|instant| instant.to_rfc3339()),
        missed_by_events: 0,
        problems,
        stretched: Vec::new(),
        runaways: Vec::new(),
        oldest_unchecked: scrub.oldest_unchecked.map(|instant| instant.to_rfc3339()),
        checked_bytes: 0,
        rpo: Rpo::default(),
        retention: None,
        counters: Counters::default(),
    })
}

fn roots(reader: &Reader, head: &Moment) -> Result<Vec<Root>> {
    let source = AtSeq::new(reader, head);
    let policy = reader.view(head.seq).policy()?;
    let mut roots = Vec::with_capacity(policy.roots.len());
    for RootPolicy { path, .. } in policy.roots {
        let since = match source.resolve(&path)? {
            Some(entry) => reader.at_seq(entry.since)?.map(|moment| moment.instant.to_rfc3339()),
            None => None,
        };
        roots.push(Root { path: String::from_utf8_lossy(&path).into_owned(), watched: false, since });
    }
    Ok(roots)
}

fn for_people(status: &Status, answered: bool, out: &mut Output) -> Result<()> {
    let state = match status.state {
        State::Starting => "starting: the first reconcile is under way",
        State::Protecting => "protecting",
        State::Degraded => "degraded",
        State::Stopped => "stopped",
    };
    let pid = status.pid.map(|pid| format!(" (asofd {pid})")).unwrap_or_default();
    out.line(&format!("state      {state}{pid}"))?;
    out.line(&format!("journal    {} ({})", escape(status.journal.as_bytes()), bytes(status.journal_bytes)))?;
    for root in &status.roots {
        let since = root.since.as_deref().unwrap_or("not captured yet");
        let watched = if root.watched || !answered { "" } else { ", not watched" };
        out.line(&format!("root       {} (since {since}{watched})", escape(root.path.as_bytes())))?;
    }
    match &status.durable {
        Some(place) => out.line(&format!("durable    {} (seq:{})", place.instant, place.seq))?,
        None => out.line("durable    nothing yet")?,
    }
    if let Some(covered) = &status.covered_through {
        out.line(&format!("covered    through {covered}"))?;
    }
    match answered {
        true => out.line(&format!("lag        {} ms, {} changes pending", status.lag_ms, status.pending))?,
        false => out.line("lag        not known: nobody says what is not captured yet")?,
    }
    if status.rpo.since_start.count > 0 {
        out.line(&format!("rpo        last hour: {}", span(&status.rpo.last_hour)))?;
        out.line(&format!("           since the start: {}", span(&status.rpo.since_start)))?;
    }
    out.line(&format!("gaps       {}", status.gaps))?;
    if let Some(since) = &status.oldest_unchecked {
        let read = match status.checked_bytes {
            0 => String::new(),
            checked => format!("; {} checked since the start", bytes(checked)),
        };
        out.line(&format!("checked    everything since {since}{read}"))?;
    }
    if status.missed_by_events > 0 {
        out.line(&format!(
            "missed     {} by events, found by a check; its log names them",
            status.missed_by_events
        ))?;
    }
    for file in &status.stretched {
        let file = escape(file.as_bytes());
        out.line(&format!("stretched  {file} (large and written all the time: captured less often)"))?;
    }
    for runaway in &status.runaways {
        let (path, bytes) = (escape(runaway.path_bytes()), bytes(runaway.bytes));
        out.line(&format!("runaway    {path} ({bytes} new in the last 24 hours)"))?;
        for proposal in &runaway.proposals {
            let place = if proposal.starts_with('[') { "at its end" } else { "before its first table" };
            out.line(&format!("           in the configuration, {place}:"))?;
            // It is meant to be pasted; what the agent writes there has nothing to escape.
            for line in proposal.lines() {
                let plain = is_plain(line.as_bytes());
                let line = if plain { line.to_owned() } else { escape(line.as_bytes()) };
                out.line(&format!("               {line}"))?;
            }
        }
    }
    if let Some(retention) = &status.retention {
        for line in retention_lines(retention) {
            out.line(&line)?;
        }
    }
    for problem in &status.problems {
        out.line(&format!("problem    {}", escape(problem.as_bytes())))?;
    }
    Ok(())
}

/// How the retention policy is applied, for people.
fn retention_lines(retention: &Retention) -> Vec<String> {
    let Some(looked) = &retention.looked else { return Vec::new() };
    let mut lines = Vec::new();
    lines.push(match &retention.compacted {
        Some(compacted) => format!(
            "retention  last looked {looked}, last compacted {compacted}; {} freed since the start",
            bytes(retention.freed_bytes)
        ),
        None => format!("retention  last looked {looked}; nothing went since the start"),
    });
    if retention.waiting > 0 {
        let reader = retention.reader.map_or(String::new(), |reader| {
            format!(": process {} has had the journal open for {} s", reader.pid, reader.seconds)
        });
        lines.push(format!(
            "           {} old segments wait for readers, a day at most{reader}",
            retention.waiting
        ));
    }
    if retention.short_of_room > 0 {
        lines.push("           old segments could not be compacted for want of room".to_owned());
    }
    for place in &retention.damage {
        lines.push(format!("           not compacted for damage: {}", escape(place.as_bytes())));
    }
    lines
}

/// How long changes took from the first hint to durable, for people.
fn span(span: &RpoSpan) -> String {
    let RpoSpan { count, p50_ms, p95_ms, p99_ms, max_ms } = span;
    if *count == 0 {
        return "no changes".to_owned();
    }
    format!("{count} changes durable in {p50_ms} ms (half), {p95_ms} (95 %), {p99_ms} (99 %), {max_ms} (all)")
}

/// A size for people.
fn bytes(bytes: u64) -> String {
    format!("{}", indicatif::HumanBytes(bytes))
}

//! `forget`: takes paths out of all history, or lists what was forgotten.
//!
//! Owns what is shown before, the question, and the words after it; what goes and how is the journal's business, and is done by a
//! running agent or on its own.

mod report;

use std::path::Path;
use std::time::Duration;

use asof_journal::Error as JournalError;
use asof_journal::append::Limits;
use asof_journal::control::{Answer, Forget, Forgotten, OldReader, PathBytes, Request};
use asof_journal::forget::{Found, Order, forget, survey, unknown};
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::Held;
use indicatif::HumanBytes;

use crate::args::ForgetArgs;
use crate::client::Client;
use crate::commands::restore::preview::{self, Consent};
use crate::commands::verify::Clock;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, counted, escape, local};
use crate::session::Session;
use crate::timespec::TimeSpec;

/// How often, and how long each time, readers of the old segments are waited for.
const WAITS: u32 = 20;
const WAIT: Duration = Duration::from_millis(250);

/// Forgets paths, goes on with what was begun, or lists what was forgotten.
pub(crate) fn run(session: &Session, args: &ForgetArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    if !Layout::new(session.journal()).manifest().exists() {
        return Err(JournalError::NoJournal { path: session.journal().to_path_buf() }.into());
    }
    if args.paths.is_empty() {
        if args.finish {
            let (done, by_agent) = carry_out(session, None)?;
            return report::done(&done, by_agent, session, out);
        }
        return report::list(session, out);
    }
    let consent = match args.dry_run {
        true => Consent::DryRun,
        false => {
            preview::consent_to(out, args.yes, "forget", "takes paths out of the past for good", "--dry-run")?
        }
    };
    let (order, found) = {
        // Nothing of the old segments is kept from going by whoever wants it gone.
        let reader = session.fresh_reader()?;
        let order = order(session, &reader, args, out)?;
        // A slip of the pen is not taken for what is forgotten already.
        let unknown = unknown(&reader, &order)?;
        if !unknown.is_empty() {
            return Err(nothing(session, &unknown, ""));
        }
        let found = survey(&reader, &order)?;
        (order, found)
    };
    if found.versions + found.bindings == 0 {
        if order.before.is_none() && !found.also.is_empty() {
            return Err(named_otherwise(session, &order, &found));
        }
        let when = if order.before.is_some() { " that was over by then" } else { "" };
        return Err(nothing(session, &order.paths, when));
    }
    refuse_held(session, &found)?;
    report::beforehand(&order, &found, consent == Consent::DryRun, out)?;
    match consent {
        Consent::DryRun => return Ok(()),
        Consent::Asked => preview::confirm(out, &sentence(&order, &found), "nothing was forgotten")?,
        Consent::Given => {}
    }
    let (done, by_agent) = carry_out(session, Some(&order))?;
    report::done(&done, by_agent, session, out)
}

/// What the arguments mean.
fn order(session: &Session, reader: &Reader, args: &ForgetArgs, out: &mut Output) -> Result<Order> {
    let mut paths = Vec::new();
    for argument in &args.paths {
        let path = session.path(argument, Some(TimeSpec::Now))?.0;
        if path == b"/" {
            let what = "/ is everything: a journal as a whole is forgotten by removing it";
            return Err(Error::usage(what, "name what is to be forgotten"));
        }
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    let before = match session.optional_time(args.before.as_deref())? {
        Some(time) => {
            let moment = session.moment(reader, Some(time), out)?;
            out.note(&format!("what stood at {} ({}) and later stays", local(moment.instant), moment.seq));
            Some(moment.seq)
        }
        None => None,
    };
    let by = rustix::process::getuid().as_raw();
    Ok(Order { paths, before, by, record_names: args.record_names })
}

fn nothing(session: &Session, paths: &[Vec<u8>], when: &str) -> Error {
    let paths: Vec<String> = paths.iter().map(|path| escape(path)).collect();
    let what = format!("the journal has nothing{when} at {}", paths.join(", "));
    let next = format!(
        "{}   (finds names over time; a path is meant as it was named then)",
        session.command("find").word("GLOB --deleted").text()
    );
    Error::not_reachable(what, next)
}

/// What was renamed with a directory above it has one record of its name, below all names of that directory.
fn named_otherwise(session: &Session, order: &Order, found: &Found) -> Error {
    let list = |paths: &[Vec<u8>]| paths.iter().map(|path| escape(path)).collect::<Vec<_>>().join(", ");
    let what = format!(
        "nothing was forgotten: all of {} can be reached as {} as well",
        list(&order.paths),
        list(&found.also)
    );
    let all = order.paths.iter().chain(&found.also);
    let forget = all.fold(session.command("forget"), |line, path| line.path(path)).text();
    Error::failed(what, format!("{forget}   (forgets it under all these names)"))
}

/// What is held stays until somebody says that it need not.
fn refuse_held(session: &Session, found: &Found) -> Result<()> {
    let held: Vec<&[u8]> = found
        .held
        .iter()
        .filter_map(|holding| match &holding.what {
            Held::Path(path) => Some(path.as_slice()),
            Held::Mark(_) => None,
        })
        .collect();
    let Some(first) = held.first() else { return Ok(()) };
    let release: Vec<String> = held.iter().map(|path| session.command("release").path(path).text()).collect();
    Err(Error::failed(format!("nothing was forgotten: {} is held", escape(first)), release.join("\n")))
}

fn sentence(order: &Order, found: &Found) -> String {
    let until = if order.before.is_some() { " before that time" } else { "" };
    format!(
        "{} of {}, {} with all their names{until} would go for good, out of all history: no copy is kept",
        counted(found.versions, "version"),
        counted(found.paths.len() as u64, "path"),
        HumanBytes(found.bytes),
    )
}

/// Has the agent do it, or does it here where none runs.
fn carry_out(session: &Session, order: Option<&Order>) -> Result<(Forgotten, bool)> {
    match Client::connect(session.journal())? {
        Some(mut client) => ask(&mut client, order).map(|done| (done, true)),
        None => here(session.journal(), order).map(|done| (done, false)),
    }
}

fn ask(client: &mut Client, order: Option<&Order>) -> Result<Forgotten> {
    let forget = order.map_or_else(Forget::default, |order| Forget {
        paths: order.paths.iter().cloned().map(PathBytes).collect(),
        before: order.before.map(|before| before.0),
        by: order.by,
        record_names: order.record_names,
    });
    let finish = "asof forget --finish   (goes on with what was begun; asofd does so when it starts)";
    let answer = client.ask(&Request::Forget(forget), None);
    let answer = answer.map_err(|error| Error::failed(error.to_string(), finish))?;
    match answer {
        Some(Answer::Forgotten(forgotten)) => Ok(forgotten),
        Some(Answer::Failed { error, .. }) => Err(Error::failed(error, finish)),
        Some(_) | None => {
            Err(Error::failed("asofd answered something else", "use the same version of asof and asofd"))
        }
    }
}

fn here(dir: &Path, order: Option<&Order>) -> Result<Forgotten> {
    let clock = Clock::open()?;
    let journal = Journal::open(dir, &clock.now(), Limits::default())?;
    let Journal { head, mut appender, compactor, .. } = journal;
    let result = forget((&head, &mut appender, &compactor), order, &|| clock.now());
    let result = result.and_then(|mut done| {
        for _ in 0..WAITS {
            if done.waiting == 0 || interrupt::requested() {
                break;
            }
            interrupt::pause(WAIT);
            done.waiting = compactor.remove_old()?;
        }
        Ok(done)
    });
    appender.close(&clock.now())?;
    let done = result?;
    let reader = compactor.waits_for().filter(|_| done.waiting > 0);
    let reader = reader.map(|awaited| OldReader { pid: awaited.pid, seconds: awaited.age.as_secs() });
    Ok(Forgotten { reader, ..Forgotten::from(&done) })
}

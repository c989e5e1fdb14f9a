//! `retain` without `--dry-run`: applies the policy, through a running agent or on its own.
//!
//! Owns the question before it and the words after it; what goes and how is the journal's business.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use asof_journal::Error as JournalError;
use asof_journal::append::Limits;
use asof_journal::compact::{Compacted, Eagerness};
use asof_journal::control::{Answer, OldReader, Request, Retained};
use asof_journal::open::Journal;
use asof_journal::retention::Policy;
use asof_journal::retention::effect::{Scope, effect};
use asof_journal::retention::survey::{self, Terms};
use asof_journal::storage::Layout;
use asof_journal::types::Seq;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::args::RetainArgs;
use crate::client::Client;
use crate::commands::restore::preview;
use crate::commands::verify::Clock;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, counted, escape};
use crate::session::Session;

/// What was done, in JSON.
#[derive(Serialize)]
struct Line<'l> {
    r#type: &'static str,
    /// Whether asofd did it.
    by_agent: bool,
    #[serde(flatten)]
    retained: &'l Retained,
    freed_bytes: u64,
}

/// Applies the policy.
pub(super) fn run(session: &Session, args: &RetainArgs, out: &mut Output) -> Result<()> {
    let layout = Layout::new(session.journal());
    if !layout.manifest().exists() {
        return Err(JournalError::NoJournal { path: session.journal().to_path_buf() }.into());
    }
    let consent =
        preview::consent_to(out, args.yes, "retain", "takes versions out of the past for good", "--dry-run")?;
    if consent == preview::Consent::Asked {
        let sentence = beforehand(session)?;
        preview::confirm(out, &sentence, "nothing was removed")?;
    }
    let agent = Client::connect(session.journal())?;
    let by_agent = agent.is_some();
    let retained = match agent {
        Some(mut client) => ask(&mut client, args.all)?,
        None => here(session.journal(), args.all)?,
    };
    say(&retained, by_agent, out)
}

/// What the policy of the configuration would take, in a sentence.
fn beforehand(session: &Session) -> Result<String> {
    let reader = session.reader()?;
    let (written, _) = super::in_force(session)?;
    let policy = super::ready(reader, written)?;
    let clock = survey::clock(reader)?;
    let keeper = survey::keeper(reader, &clock, &policy)?;
    let holds = reader.held_paths()?;
    let mut terms = Terms::new(&keeper, &policy, &holds);
    let scope = Scope { below: None, paths_max: Some(0) };
    let found =
        effect(reader, &mut terms, scope, &mut || !interrupt::requested())?.ok_or(Error::Interrupted)?;
    let total = &found.total;
    Ok(format!(
        "up to {} of {} would go for good, which frees up to {} (asof retain --dry-run names them)",
        total.versions_dropped,
        counted(total.versions_dropped + total.kept.total(), "version"),
        HumanBytes(total.bytes),
    ))
}

/// Has the agent do it. It goes on where nobody waits any more.
fn ask(client: &mut Client, all: bool) -> Result<Retained> {
    match client.ask(&Request::Retain { all }, None)? {
        Some(Answer::Retained(retained)) => Ok(retained),
        Some(Answer::Failed { error, .. }) => Err(Error::failed(error, "see the log of asofd")),
        Some(_) | None => {
            Err(Error::failed("asofd answered something else", "use the same version of asof and asofd"))
        }
    }
}

/// Does it without an agent. Errors: another writer holds the journal.
fn here(dir: &Path, all: bool) -> Result<Retained> {
    let (written, _) = super::configured()?;
    let clock = Clock::open()?;
    let mut journal = Journal::open(dir, &clock.now(), Limits::default())?;
    let sealed = match all {
        true => journal.compactor.seal_here(&mut journal.appender),
        false => Ok(None),
    };
    let result =
        sealed.map_err(Error::from).and_then(|as_of| apply(&journal, &written, &clock, (all, as_of)));
    let Journal { head, appender, .. } = journal;
    head.connect(None);
    appender.close(&clock.now())?;
    result
}

fn apply(
    journal: &Journal,
    written: &asof_journal::retention::config::Written,
    clock: &Clock,
    (all, as_of): (bool, Option<Seq>),
) -> Result<Retained> {
    let roots = journal.head.view().policy()?.roots.into_iter().map(|root| root.path).collect::<Vec<_>>();
    let policy = Policy::new(written, &roots).map_err(|error| {
        let what = format!("retention.rule.patterns: {}", escape(error.to_string().as_bytes()));
        Error::failed(what, "`asofd check-config` checks all of a configuration")
    })?;
    let holds = journal.head.held_paths()?;
    let eagerness = if all { Eagerness::Anything } else { Eagerness::WorthIt };
    let go_on = &mut |_: &Compacted| !interrupt::requested();
    let done =
        journal.compactor.compact_while(&policy, &holds, eagerness, (as_of, clock.now().wall), go_on)?;
    let reader = journal.compactor.waits_for();
    Ok(Retained {
        segments: done.segments,
        bytes_before: done.bytes_before,
        bytes_after: done.bytes_written,
        versions: done.versions,
        bindings: done.bindings,
        blocks: done.blocks,
        waiting: done.waiting,
        reader: reader.map(|awaited| OldReader { pid: awaited.pid, seconds: awaited.age.as_secs() }),
        short_of_room: done.short_of_room,
        damage: done
            .damage
            .iter()
            .map(|damage| {
                let file = String::from_utf8_lossy(damage.path.as_os_str().as_bytes()).into_owned();
                format!("{file} at offset {}: {}", damage.at.offset, damage.what)
            })
            .collect(),
    })
}

fn say(retained: &Retained, by_agent: bool, out: &mut Output) -> Result<()> {
    let freed_bytes = retained.bytes_before.saturating_sub(retained.bytes_after);
    if out.is_json() {
        out.object(&Line { r#type: "retained", by_agent, retained, freed_bytes })?;
    } else if retained.segments == 0 {
        out.line("nothing went")?;
    } else {
        out.line(&format!(
            "{} and {} went; {} of {} became {}",
            counted(retained.versions, "version"),
            counted(retained.bindings, "change of a name"),
            counted(retained.segments, "segment"),
            HumanBytes(retained.bytes_before),
            HumanBytes(retained.bytes_after),
        ))?;
    }
    if retained.waiting > 0 {
        let reader = retained.reader.map_or(String::new(), |reader| {
            format!(": process {} has had the journal open for {} s", reader.pid, reader.seconds)
        });
        let waiting = counted(retained.waiting, "old segment");
        out.note(&format!("{waiting} stay until nobody reads them any more, for a day at most{reader}"));
    }
    if retained.short_of_room > 0 {
        let runs = counted(retained.short_of_room, "run of segments");
        out.warn(&format!(
            "{runs} stayed as they were: what is kept of them is written first, and there is no room"
        ));
    }
    for place in &retained.damage {
        let place = escape(place.as_bytes());
        out.problem(&format!(
            "{place}: what lies there stays as it is; `asof verify --deep` says what it costs"
        ));
    }
    if interrupt::requested() {
        return Err(Error::Interrupted);
    }
    match retained.damage.len() as u64 {
        0 => Ok(()),
        places => Err(Error::NotAll { places }),
    }
}

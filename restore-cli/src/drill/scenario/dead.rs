//! The agent is killed in the middle of work. What it had acknowledged has to come back exactly, without it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asof_journal::reader::{Moment, Reader};
use asof_journal::types::Instant;

use super::lab::{Lab, WORK, ms_between, put};
use super::{Particular, Prepared};
use crate::drill::assert::verdict;
use crate::drill::ledger::{Ledger, drawn};
use crate::drill::oracle::Oracle;
use crate::drill::report::Outcome;
use crate::drill::run::{Draft, Drill, now};
use crate::drill::scratch::Scratch;
use crate::drill::stop::Tried;
use crate::interrupt;
use crate::output::counted;
use crate::path;

/// Rounds of work that are acknowledged before the last one.
const ROUNDS: u64 = 3;
/// Files that a round touches.
const FILES: u64 = 20;
/// The agent dies so long after the last acknowledgement at most.
const WORK_MS_MAX: u64 = 400;
/// Between two files of the work that goes on until the end.
const PACE: Duration = Duration::from_millis(2);

/// Works, has that acknowledged, works on and kills the agent.
pub(super) fn prepare(
    drill: &Drill<'_>,
    moment: &Moment,
    scratch: &Scratch,
    draft: &mut Draft,
    ledger: &mut Ledger,
    seed: u64,
) -> Tried<Prepared> {
    let mut lab = Lab::fill(drill, moment, scratch, draft, ledger)?;
    lab.start(&[])?;
    let work = lab.work()?;
    for round in 0..ROUNDS {
        edit(&work, round)?;
        lab.sync(draft)?;
    }
    edit(&work, ROUNDS)?;
    let synced = lab.sync(draft)?;
    let expected = lab.observe()?;

    let stop = AtomicBool::new(false);
    let alive = Duration::from_millis(30 + drawn(seed, "how long the agent lives", WORK_MS_MAX));
    let (written, killed, failure) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&work, &stop));
        interrupt::pause(alive);
        let killed = lab.kill();
        let failure = now().0;
        stop.store(true, Ordering::Relaxed);
        (writer.join().unwrap_or_default(), killed, failure)
    });
    let before = written.iter().filter(|(_, at)| *at <= failure).count() as u64;
    let newest = newest_recovered(&lab.journal, &lab.root, &written)?.unwrap_or(synced.instant.0);
    let told = match killed {
        true => verdict(
            "agent-dead",
            Outcome::Pass,
            format!("the agent was killed after {} that nobody had acknowledged", counted(before, "change")),
        ),
        false => verdict("agent-dead", Outcome::Inconclusive, "the agent had ended by itself".to_owned()),
    };
    let mut prepared = lab.prepared(&synced, Oracle::told(expected), Particular::Told(vec![told]))?;
    prepared.failure = Some(failure);
    prepared.rpo = Some(Ok(ms_between(newest, failure)));
    Ok(prepared)
}

/// A round of work as programs do it: files anew, appended to, saved by renaming, deleted.
fn edit(work: &Path, round: u64) -> Tried<()> {
    for number in 0..FILES {
        let path = work.join(format!("file-{number}"));
        let text =
            format!("round {round} of file {number}\n").repeat(usize::try_from(number * 40 + 1).unwrap_or(1));
        match (number + round) % 4 {
            0 => put(&path, &text)?,
            1 => {
                let aside = work.join(format!(".file-{number}.new"));
                put(&aside, &text)?;
                std::fs::rename(&aside, &path).map_err(|source| super::lab::failed(&path, source))?;
            }
            2 => put(&work.join(format!("round-{round}-{number}")), &text)?,
            _ => {
                // It may never have been there.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
    Ok(())
}

/// Writes file after file until it is told to stop; says when each was whole.
fn write_on(work: &Path, stop: &AtomicBool) -> Vec<(Vec<u8>, Instant)> {
    let mut written = Vec::new();
    for number in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("late-{number:06}");
        if put(&work.join(&name), &format!("late {number}\n")).is_ok() {
            written.push((name.into_bytes(), now().0));
        }
        interrupt::pause(PACE);
    }
    written
}

/// When the newest file was written that nobody had acknowledged and that is there all the same.
fn newest_recovered(journal: &Path, root: &Path, written: &[(Vec<u8>, Instant)]) -> Tried<Option<Instant>> {
    let reader = Reader::open(journal)?;
    let view = reader.view(reader.head());
    let dir = path::join(std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()), WORK.as_bytes());
    let Some(dir) = view.resolve(&dir)? else { return Ok(None) };
    let there: std::collections::BTreeSet<Vec<u8>> =
        view.list(dir.node)?.into_iter().map(|entry| entry.name).collect();
    Ok(written.iter().rev().find(|(name, _)| there.contains(name)).map(|(_, at)| *at))
}

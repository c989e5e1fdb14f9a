//! `undo`: takes the last restore in place back that has not been taken back.
//!
//! Owns which restore that is. How it is taken back is how anything is restored in place, with the state that the restore
//! had left as a fourth tree: what differs from that by now was changed since, and is left.

use std::collections::HashSet;
use std::time::Instant as Stopwatch;

use asof_journal::landmarks::Restored;
use asof_journal::types::Seq;

use super::restore::in_place::{Job, Record, TakenBack, run_job, settle_live};
use super::restore::preview::Consent;
use super::restore::workers;
use crate::args::UndoArgs;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, escape, local};
use crate::session::Session;

/// Takes the last restore back, or prints what that would do.
pub(crate) fn run(session: &Session, args: &UndoArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    let started = Stopwatch::now();
    let consent = Consent::of(out, args.yes, args.dry_run, "undo")?;
    settle_live(session, if args.dry_run { Record::None } else { Record::Kept })?;
    let reader = session.reader()?;
    let restores = reader.restores()?;
    let Some(index) = last_to_undo(&restores) else {
        let what = match restores.is_empty() {
            true => "there is nothing to undo: nothing was ever restored in place",
            false => "there is nothing to undo: every restore in place has been taken back",
        };
        return Err(Error::failed(
            what,
            "`asof log PATH` shows what happened; `asof restore PATH --at T --in-place` goes \
                                        to any time",
        ));
    };
    let Some(restore) = restores.get(index) else {
        return Err(Error::failed("there is nothing to undo", ""));
    };
    out.note(&said_of(restore));
    let next = restores.get(index + 1).map(|next| next.begun.seq);
    let left = left_by(restore, next, reader.head());
    let job = Job {
        paths: restore.what.paths.clone(),
        at: restore.begun,
        exact: false,
        overwrite: args.overwrite,
        prefer: None,
        workers: workers(args.workers),
        takes_back: Some(TakenBack { id: restore.begun.seq, left }),
    };
    run_job(session, reader, &job, Record::Kept, consent, started, out)
}

/// The place of the newest restore that is not itself an undo, and was not taken back. An undo that was interrupted took
/// nothing back as a whole, and can be done again.
pub(crate) fn last_to_undo(restores: &[Restored]) -> Option<usize> {
    let done = restores.iter().filter(|restore| restore.done.is_some());
    let undone: HashSet<Seq> = done.filter_map(|restore| restore.what.undoes).collect();
    restores.iter().rposition(|restore| restore.what.undoes.is_none() && !undone.contains(&restore.begun.seq))
}

/// The state that a restore had left: at its end, or before the next one, if its end was never noted.
fn left_by(restore: &Restored, next: Option<Seq>, head: Seq) -> Seq {
    match (&restore.done, next) {
        (Some((done, _)), _) => done.seq,
        (None, Some(next)) => next,
        (None, None) => head,
    }
}

fn said_of(restore: &Restored) -> String {
    let shown: Vec<String> = restore.what.paths.iter().take(3).map(|path| escape(path)).collect();
    let more = restore.what.paths.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let ended = if restore.done.is_some() { "" } else { ", which was interrupted" };
    format!(
        "undo: the restore of {}{more} at {} ({}){ended}",
        shown.join(", "),
        local(restore.begun.instant),
        restore.begun.seq
    )
}

#[cfg(test)]
mod tests {
    use asof_journal::reader::Moment;
    use asof_journal::types::{Instant, RestoreBegun, RestoreOutcome};

    use super::*;

    fn restore(seq: u64, undoes: Option<u64>, is_done: bool) -> Restored {
        let moment = |seq| Moment { seq: Seq(seq), instant: Instant(0), epoch: 0, asked: Instant(0) };
        Restored {
            begun: moment(seq),
            what: RestoreBegun {
                at: Seq(1),
                paths: vec![b"/p".to_vec()],
                exact: false,
                undoes: undoes.map(Seq),
            },
            done: is_done.then(|| (moment(seq + 1), RestoreOutcome::default())),
        }
    }

    #[test]
    fn undo_walks_back_over_what_is_not_undone_yet() {
        let (first, second) = (restore(10, None, true), restore(20, None, true));
        assert_eq!(last_to_undo(&[]), None);
        assert_eq!(last_to_undo(&[first.clone(), second.clone()]), Some(1));
        let undone = restore(30, Some(20), true);
        assert_eq!(last_to_undo(&[first.clone(), second.clone(), undone.clone()]), Some(0));
        let all = [first.clone(), second.clone(), undone, restore(40, Some(10), true)];
        assert_eq!(last_to_undo(&all), None);
        let later = [first.clone(), restore(20, Some(10), true), restore(30, None, true)];
        assert_eq!(last_to_undo(&later), Some(2));
    }

    #[test]
    fn what_was_interrupted_is_there_to_be_undone() {
        let (first, broken) = (restore(10, None, true), restore(20, None, false));
        assert_eq!(last_to_undo(&[first.clone(), broken.clone()]), Some(1));
        let half = restore(30, Some(20), false);
        assert_eq!(last_to_undo(&[first, broken.clone(), half]), Some(1), "an undo that did not end");
        assert_eq!(left_by(&broken, Some(Seq(30)), Seq(50)), Seq(30));
        assert_eq!(left_by(&broken, None, Seq(50)), Seq(50));
    }
}

//! `undo`: takes the last restore in place back that has not been taken back, or what an undo before has left of it.
//!
//! Owns which restore that is. How it is taken back is how anything is restored in place, with the state that the restore
//! had left as a fourth tree: what differs from that by now was changed since, and is left.

use std::collections::HashSet;
use std::time::Instant as Stopwatch;

use asof_journal::landmarks::Restored;
use asof_journal::types::Seq;

use super::restore::in_place::{Job, Record, TakenBack, Way, plan, run_planned, settle_live};
use super::restore::preview::Consent;
use super::restore::workers;
use crate::args::UndoArgs;
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Output, escape, local};
use crate::plan::in_place::InPlacePlan;
use crate::session::Session;

/// Takes the last restore back, or prints what that would do.
pub(crate) fn run(session: &Session, args: &UndoArgs, out: &mut Output) -> Result<()> {
    interrupt::catch();
    let started = Stopwatch::now();
    let consent = Consent::of(out, args.yes, args.dry_run, "undo")?;
    settle_live(session, if args.dry_run { Record::None } else { Record::Kept })?;
    let reader = session.reader()?;
    let restores = reader.restores()?;
    let mut before = restores.len();
    while let Some((index, standing)) =
        last_to_undo(restores.get(..before).unwrap_or_default(), &restores, args.next)
    {
        let Some(restore) = restores.get(index) else { break };
        let next = restores.get(index + 1).map(|next| next.begun.seq);
        let job = Job {
            paths: restore.what.paths.clone(),
            at: restore.begun,
            exact: false,
            overwrite: args.overwrite,
            prefer: None,
            workers: workers(args.workers),
            takes_back: Some(TakenBack {
                id: restore.begun.seq,
                left: left_by(restore, next, reader.head()),
            }),
        };
        let planned = plan(reader, &job)?;
        if is_over(&planned, args.next) {
            before = index;
            continue;
        }
        out.note(&said_of(restore, standing));
        let way = Way { record: Record::Kept, consent, started };
        return run_planned(session, reader, &job, &planned, way, out);
    }
    let what = match restores.is_empty() {
        true => "there is nothing to undo: nothing was ever restored in place",
        false => "there is nothing to undo: every restore in place has been taken back",
    };
    Err(Error::failed(
        what,
        "`asof log PATH` shows what happened; `asof restore PATH --at T --in-place` goes to any time",
    ))
}

/// How a restore stands that is to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As it was left.
    Whole,
    /// An undo has taken it back, and left something.
    Partly,
}

/// The place of the newest of some restores that is not itself an undo, and was not taken back; `all` says what was. An undo
/// that was interrupted took nothing back as a whole, and one that left something has not come to its end: both are done
/// again. With `accepts_left`, what one left is left for good.
fn last_to_undo(some: &[Restored], all: &[Restored], accepts_left: bool) -> Option<(usize, Standing)> {
    let done = || all.iter().filter_map(|undo| Some((undo.what.undoes?, &undo.done.as_ref()?.1)));
    let whole: HashSet<Seq> =
        done().filter(|(_, outcome)| outcome.failed == 0 || accepts_left).map(|(id, _)| id).collect();
    let partly: HashSet<Seq> = done().map(|(id, _)| id).collect();
    let index = some
        .iter()
        .rposition(|restore| restore.what.undoes.is_none() && !whole.contains(&restore.begun.seq))?;
    let is_partly = some.get(index).is_some_and(|restore| partly.contains(&restore.begun.seq));
    Some((index, if is_partly { Standing::Partly } else { Standing::Whole }))
}

/// Whether nothing is left of a restore that would have to be taken back, since it came back otherwise; with `accepts_left`
/// also where nothing can be.
fn is_over(planned: &InPlacePlan, accepts_left: bool) -> bool {
    let is_back = planned.plan.problems.is_empty() && planned.preview.left == 0;
    planned.preview.is_nothing() && (is_back || accepts_left)
}

/// The state that a restore had left: at its end, or before the next one, if its end was never noted.
fn left_by(restore: &Restored, next: Option<Seq>, head: Seq) -> Seq {
    match (&restore.done, next) {
        (Some((done, _)), _) => done.seq,
        (None, Some(next)) => next,
        (None, None) => head,
    }
}

fn said_of(restore: &Restored, standing: Standing) -> String {
    let shown: Vec<String> = restore.what.paths.iter().take(3).map(|path| escape(path)).collect();
    let more = restore.what.paths.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let ended = match (&restore.done, standing) {
        (None, _) => {
            ", of which no end was noted: it was interrupted, or is under way; what changed since then counts as its own"
        }
        (Some(_), Standing::Partly) => ": what an undo before has left",
        (Some(_), Standing::Whole) => "",
    };
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

    fn last(restores: &[Restored]) -> Option<usize> {
        last_to_undo(restores, restores, false).map(|(index, _)| index)
    }

    #[test]
    fn undo_walks_back_over_what_is_not_undone_yet() {
        let (first, second) = (restore(10, None, true), restore(20, None, true));
        assert_eq!(last(&[]), None);
        assert_eq!(last(&[first.clone(), second.clone()]), Some(1));
        let undone = restore(30, Some(20), true);
        assert_eq!(last(&[first.clone(), second.clone(), undone.clone()]), Some(0));
        let all = [first.clone(), second.clone(), undone, restore(40, Some(10), true)];
        assert_eq!(last(&all), None);
        let later = [first.clone(), restore(20, Some(10), true), restore(30, None, true)];
        assert_eq!(last(&later), Some(2));
    }

    #[test]
    fn what_was_interrupted_is_there_to_be_undone() {
        let (first, broken) = (restore(10, None, true), restore(20, None, false));
        assert_eq!(last(&[first.clone(), broken.clone()]), Some(1));
        let half = restore(30, Some(20), false);
        assert_eq!(last(&[first, broken.clone(), half]), Some(1), "an undo that did not end");
        assert_eq!(left_by(&broken, Some(Seq(30)), Seq(50)), Seq(30));
        assert_eq!(left_by(&broken, None, Seq(50)), Seq(50));
    }

    #[test]
    fn what_an_undo_left_is_next_until_it_is_taken_back_or_left_for_good() {
        let (first, second) = (restore(10, None, true), restore(20, None, true));
        let mut undo = restore(30, Some(20), true);
        if let Some((_, outcome)) = &mut undo.done {
            outcome.failed = 2;
        }
        let all = [first, second, undo, restore(40, Some(20), true)];
        let (left, finished) = (&all[..3], &all[..]);
        assert_eq!(last_to_undo(left, left, false), Some((1, Standing::Partly)));
        assert_eq!(last_to_undo(left, left, true), Some((0, Standing::Whole)), "left for good");
        assert_eq!(
            last_to_undo(&left[..1], left, false),
            Some((0, Standing::Whole)),
            "nothing was left of it"
        );
        assert_eq!(last_to_undo(finished, finished, false), Some((0, Standing::Whole)));
    }
}

//! Names of instants and notes about restores, naively: by looking through every group there was.

use asof_journal::reader::Reader;
use asof_journal::types::{Held, Hold, MarkName, Op, Restore, RestoreBegun, RestoreOutcome, Seq};

use super::history::{History, same};

/// Compares the names that instants have, and the restores that were noted.
///
/// # Errors
/// In words, where they differ.
pub fn compare(history: &History, reader: &Reader) -> Result<(), String> {
    let said = |error: asof_journal::Error| error.to_string();
    let expected = marks(history);
    let seen: Vec<(MarkName, Seq)> =
        reader.marks().map_err(said)?.into_iter().map(|mark| (mark.name, mark.moment.seq)).collect();
    same("the named instants", &seen, &expected)?;
    for (name, seq) in &expected {
        let seen = reader.mark(name).map_err(said)?.map(|moment| moment.seq);
        same(&format!("what {name} names"), &seen, &Some(*seq))?;
    }
    let seen: Vec<Noted> = reader
        .restores()
        .map_err(said)?
        .into_iter()
        .map(|restore| {
            let done = restore.done.map(|(moment, outcome)| (moment.seq, outcome));
            (restore.begun.seq, restore.what, done)
        })
        .collect();
    same("the restores", &seen, &restores(history))?;
    let seen: Vec<(Seq, Held)> =
        reader.holds().map_err(said)?.into_iter().map(|hold| (hold.since.seq, hold.what)).collect();
    same("the holds", &seen, &holds(history))
}

/// What is held: of the notes about each the newest counts.
fn holds(history: &History) -> Vec<(Seq, Held)> {
    let mut holds: Vec<(Seq, Held)> = Vec::new();
    for (seq, op) in history.groups().flat_map(|(seq, group)| group.ops.iter().map(move |op| (seq, op))) {
        let (Op::Hold(Hold { what, .. }) | Op::Release(what)) = op else { continue };
        holds.retain(|(_, known)| known != what);
        if matches!(op, Op::Hold(_)) {
            holds.push((seq, what.clone()));
        }
    }
    holds
}

/// A restore: its id, what it was to do, when and how it ended.
type Noted = (Seq, RestoreBegun, Option<(Seq, RestoreOutcome)>);

fn marks(history: &History) -> Vec<(MarkName, Seq)> {
    let mut marks: Vec<(MarkName, Seq)> = Vec::new();
    for (seq, op) in history.groups().flat_map(|(seq, group)| group.ops.iter().map(move |op| (seq, op))) {
        let Op::Name(name) = op else { continue };
        if !marks.iter().any(|(known, _)| known == name) {
            marks.push((name.clone(), seq));
        }
    }
    marks
}

fn restores(history: &History) -> Vec<Noted> {
    let notes = || {
        let ops = history.groups().flat_map(|(seq, group)| group.ops.iter().map(move |op| (seq, op)));
        ops.filter_map(|(seq, op)| match op {
            Op::Restore(note) => Some((seq, note)),
            _ => None,
        })
    };
    let begun = notes().filter_map(|(seq, note)| match note {
        Restore::Begun(what) => Some((seq, what.clone())),
        Restore::Done { .. } => None,
    });
    begun
        .map(|(seq, what)| {
            let done = notes().find_map(|(at, note)| match note {
                Restore::Done { id, outcome } if *id == seq && at > seq => Some((at, *outcome)),
                _ => None,
            });
            (seq, what, done)
        })
        .collect()
}

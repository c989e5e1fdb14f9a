//! What the journal knows beside the tree: instants that people named, restores into the live tree, and what is held.
//!
//! Reads the index only, and the clock of the journal for holds that end; whether a name may be given is for whoever gives it.

use crate::error::Result;
use crate::format::op::{take_forgotten, take_held, take_hold, take_restore};
use crate::format::wire::{Malformed, whole};
use crate::index::Cf;
use crate::index::keys;
use crate::reader::{Moment, moment_of};
use crate::records::Records;
use crate::retention::survey::clock_of;
use crate::types::{
    ForgetBegun, ForgetOutcome, Forgotten, Held, Hold, Instant, MarkName, Restore, RestoreBegun,
    RestoreOutcome, Seq,
};

/// An instant that somebody named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: MarkName,
    /// What it names.
    pub moment: Moment,
}

/// A restore into the live tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Right before it: the state as of then is what it found. `begun.seq` is the restore's id.
    pub begun: Moment,
    /// What it was about to do.
    pub what: RestoreBegun,
    /// How it ended, and when that was noted, which is behind everything that it did; `None` where it was never noted.
    pub done: Option<(Moment, RestoreOutcome)>,
}

/// A forgetting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgot {
    /// When it began; `begun.seq` is its id.
    pub begun: Moment,
    /// What is told of it.
    pub what: ForgetBegun,
    /// When it came to its end, and what went; `None` where that was never noted.
    pub done: Option<(Moment, ForgetOutcome)>,
}

/// Something that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What.
    pub what: Held,
    /// When that was noted.
    pub since: Moment,
    /// Until when, by the clock that it was noted by.
    pub until: Option<Instant>,
}

/// The `Seq` that a name stands for. A name is given once; should it have been given again, the first time counts.
pub(crate) fn seq_of(records: &Records, name: &MarkName) -> Result<Option<Seq>> {
    let prefix = keys::named_name(name);
    let Some((key, _)) = records.store.ceiling(Cf::Named, &prefix, &prefix)? else { return Ok(None) };
    let (_, seq) = keys::parse_named(&key).map_err(records.index_damage(Cf::Named))?;
    Ok(Some(seq))
}

/// All names, in the order in which they were given.
pub(crate) fn marks(records: &Records) -> Result<Vec<Named>> {
    let damage = records.index_damage(Cf::Named);
    let mut marks: Vec<Named> = Vec::new();
    let mut scan = records.store.scan(Cf::Named, &[])?;
    while let Some((key, _)) = scan.item() {
        let (name, seq) = keys::parse_named(key).map_err(&damage)?;
        let is_known = marks.last().is_some_and(|known| known.name == name);
        if !is_known && let Some(moment) = moment_of(records, seq)? {
            marks.push(Named { name, moment });
        }
        scan.advance()?;
    }
    marks.sort_by_key(|mark| mark.moment.seq);
    Ok(marks)
}

/// All restores, the oldest first.
pub(crate) fn restores(records: &Records) -> Result<Vec<Restored>> {
    let damage = records.index_damage(Cf::Restore);
    let mut restores: Vec<Restored> = Vec::new();
    let mut scan = records.store.scan(Cf::Restore, &[])?;
    while let Some((key, value)) = scan.item() {
        let decoded = || -> std::result::Result<_, Malformed> {
            Ok((keys::parse_seq(key)?, whole(value, take_restore)?))
        };
        let (seq, note) = decoded().map_err(&damage)?;
        if let Some(moment) = moment_of(records, seq)? {
            match note {
                Restore::Begun(what) => restores.push(Restored { begun: moment, what, done: None }),
                Restore::Done { id, outcome } => {
                    let of = restores.iter_mut().find(|restore| restore.begun.seq == id);
                    if let Some(restore) = of.filter(|restore| restore.done.is_none()) {
                        restore.done = Some((moment, outcome));
                    }
                }
            }
        }
        scan.advance()?;
    }
    Ok(restores)
}

/// What was forgotten, the oldest first.
pub(crate) fn forgotten(records: &Records) -> Result<Vec<Forgot>> {
    let damage = records.index_damage(Cf::Forgotten);
    let mut all: Vec<Forgot> = Vec::new();
    let mut scan = records.store.scan(Cf::Forgotten, &[])?;
    while let Some((key, value)) = scan.item() {
        let decoded = || -> std::result::Result<_, Malformed> {
            Ok((keys::parse_seq(key)?, whole(value, take_forgotten)?))
        };
        let (seq, note) = decoded().map_err(&damage)?;
        if let Some(moment) = moment_of(records, seq)? {
            match note {
                Forgotten::Begun(what) => all.push(Forgot { begun: moment, what, done: None }),
                Forgotten::Done { id, outcome } => {
                    if let Some(of) = all.iter_mut().find(|one| one.begun.seq == id) {
                        of.done = Some((moment, outcome));
                    }
                }
            }
        }
        scan.advance()?;
    }
    Ok(all)
}

/// What is held, the oldest hold first. What was held anew counts from then on.
///
/// A hold ends when as much of the journal's own time has passed as was said: a clock that jumps ahead ends none.
pub(crate) fn holds(records: &Records) -> Result<Vec<Holding>> {
    let damage = records.index_damage(Cf::Hold);
    let mut holds: Vec<Holding> = Vec::new();
    let mut scan = records.store.scan(Cf::Hold, &[])?;
    while let Some((key, value)) = scan.item() {
        let decoded = || -> std::result::Result<_, Malformed> {
            let note = match value.split_first() {
                Some((&keys::HELD, value)) => whole(value, take_hold)?,
                // A hold that is over already.
                Some((&keys::RELEASED, value)) => {
                    Hold { what: whole(value, take_held)?, until: Some(Instant(i64::MIN)) }
                }
                _ => return Err(Malformed("unknown note about a hold")),
            };
            Ok((keys::parse_seq(key)?, note))
        };
        let (seq, Hold { what, until }) = decoded().map_err(&damage)?;
        holds.retain(|known| known.what != what);
        if until != Some(Instant(i64::MIN))
            && let Some(since) = moment_of(records, seq)?
        {
            holds.push(Holding { what, since, until });
        }
        scan.advance()?;
    }
    if holds.iter().any(|holding| holding.until.is_some()) {
        let clock = clock_of(records)?;
        holds.retain(|Holding { since, until, .. }| {
            let passed = clock.now().0.saturating_sub(clock.time_of(since.seq).0);
            until.is_none_or(|until| passed < until.0.saturating_sub(since.instant.0))
        });
    }
    Ok(holds)
}

/// The paths that are held.
pub(crate) fn held_paths(records: &Records) -> Result<Vec<Vec<u8>>> {
    let paths = holds(records)?.into_iter().filter_map(|holding| match holding.what {
        Held::Path(path) => Some(path),
        Held::Mark(_) => None,
    });
    Ok(paths.collect())
}

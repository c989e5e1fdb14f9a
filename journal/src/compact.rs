//! Compaction: what a policy lets go leaves the segments; what stays is copied into new ones that take their place.
//!
//! The segments stay the only truth: nothing goes but by being left out of a compacted segment. In order, so that a crash at any
//! step leaves a journal in which everything that is kept is found:
//!
//! 1. `choose` and `decide`: what is left of a run of neighbouring segments, by their timelines in the index; `plan` holds several.
//! 2. `live`: which blocks of them anybody still refers to; nothing new may refer to them meanwhile.
//! 3. `write`: a new segment under a temporary name. Every block is decoded and checked against its id before it is copied. Synced,
//!    renamed, the directory synced: from there on the old segments are void.
//! 4. `swap`: the index follows, and is put on disk.
//! 5. `retire`: the old files go once no reader that began before has a use for them.

mod choose;
mod decide;
mod live;
mod plan;
mod purge;
mod retire;
mod seal;
pub(crate) mod swap;
mod write;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, IoContext, Result};
use crate::head::Head;
use crate::index::Cf;
use crate::index::db::Db;
use crate::index::keys::{self, Applied};
use crate::landmarks;
use crate::retention::survey::{KnownClock, Terms};
use crate::retention::{Keeper, Policy};
use crate::segments::{Damage, SegmentFile, SegmentSet};
use crate::storage::{Layout, Storage};
use crate::types::{Instant, Position, SegmentId, Seq};

use choose::{Choice, Run};
use decide::Refusal;
use plan::{Batch, Left, Plan, Planned};

pub use choose::Eagerness;
pub use purge::{Note, Purged};
pub use retire::{Awaited, Pin};
pub(crate) use seal::on_one_thread;

/// How long compaction waits for those who have looked up blocks that may go.
const USERS_WAIT: Duration = Duration::from_secs(30);

/// What following a compaction may take of the index: a table and a log of it.
const INDEX_BYTES_MIN: u64 = 4 << 20;

/// What one compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Runs of segments that were replaced by one each.
    pub runs: u64,
    /// Segments that were replaced.
    pub segments: u64,
    /// Bytes of these.
    pub bytes_before: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Versions that went.
    pub versions: u64,
    /// Bindings that went.
    pub bindings: u64,
    /// Blocks that went.
    pub blocks: u64,
    /// Deltas that got another base, or none.
    pub rebased: u64,
    /// What was found damaged: these segments stay as they are, and what lies beside them is compacted without them.
    pub damage: Vec<Damage>,
    /// Old segments that still wait for readers.
    pub waiting: u64,
    /// Runs that were left for want of room: what stays of them is written before what goes is removed.
    pub short_of_room: u64,
}

/// A look through the segments, and what it did.
struct Look {
    set: SegmentSet,
    /// What is durable is looked at as of then.
    now: Seq,
    wall: Instant,
    done: Compacted,
    /// What lies beside damage that came to light while a run was written.
    beside: Vec<Run>,
}

/// Takes segments of a journal that is open for writing apart and puts what is kept together again.
pub struct Compactor {
    head: Arc<Head>,
    storage: Arc<dyn Storage>,
    layout: Layout,
    journal: uuid::Uuid,
    retired: Mutex<retire::Retired>,
    left: Mutex<Left>,
    clock: Mutex<KnownClock>,
    /// The `Seq` with which the last segment was begun so that the one before it could be looked at.
    sealed: Mutex<Option<Seq>>,
}

impl Compactor {
    pub(crate) fn new(
        head: Arc<Head>,
        storage: Arc<dyn Storage>,
        layout: Layout,
        journal: uuid::Uuid,
    ) -> Compactor {
        Compactor {
            head,
            storage,
            layout,
            journal,
            retired: Mutex::default(),
            left: Mutex::default(),
            clock: Mutex::default(),
            sealed: Mutex::default(),
        }
    }

    /// Compacts what is worth it, as of what is durable now; so many runs at most. `holds` are paths of which everything stays.
    ///
    /// # Errors
    /// `Io`, `Full`, `Index`. What was done before an error stands.
    pub fn compact(
        &self,
        policy: &Policy,
        holds: &[Vec<u8>],
        eagerness: Eagerness,
        runs_max: usize,
        wall: Instant,
    ) -> Result<Compacted> {
        self.compact_while(policy, holds, eagerness, (None, wall), &mut |done| done.runs < runs_max as u64)
    }

    /// The same as of a `Seq` that was durable, and for as long as `go_on` says: it is asked before each run, and told what was done
    /// until then.
    ///
    /// # Errors
    /// As for [`Compactor::compact`].
    pub fn compact_while(
        &self,
        policy: &Policy,
        holds: &[Vec<u8>],
        eagerness: Eagerness,
        (as_of, wall): (Option<Seq>, Instant),
        go_on: &mut dyn FnMut(&Compacted) -> bool,
    ) -> Result<Compacted> {
        retire::clear(&*self.storage, &self.layout)?;
        let set = self.segments()?;
        let waiting = self.remove_retired(&set)?;
        let set = if waiting == 0 && !set.superseded.is_empty() { self.segments()? } else { set };
        let durable = self.head.watermarks().durable.seq;
        let now = as_of.map_or(durable, |as_of| as_of.min(durable));
        let done = Compacted { waiting, ..Compacted::default() };
        let mut look = Look { set, now, wall, done, beside: Vec::new() };
        if self.head.index_failed() {
            return Ok(look.done);
        }
        let records = self.head.records();
        let mut known = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        known.read_on(records)?;
        let clock = &known.clock;
        let named: Vec<Seq> = landmarks::marks(records)?.iter().map(|mark| mark.moment.seq).collect();
        let keeper = Keeper::new(clock, policy, &named, now);
        let mut terms = Terms::new(&keeper, policy, holds);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.begin(records.store.db(), policy, holds, &named)?;
        let choice = Choice { clock, policy, keeper: &keeper, eagerness };
        let mut runs: VecDeque<Run> = choice.runs(&look.set, &left.segments)?.into();
        'look: while !runs.is_empty() {
            let mut batch = Batch::default();
            while runs.front().is_some_and(|run| batch.takes(run))
                && let Some(run) = runs.pop_front()
            {
                if !go_on(&look.done) {
                    break 'look;
                }
                let plan = self.plan(&mut look, run, &mut terms)?;
                if let Some(planned) = plan.planned {
                    batch.add(self.head.records(), planned)?;
                }
                plan.left.iter().for_each(|run| left.note(run));
                choice.take_up(plan.rest, &mut runs, &mut left)?;
            }
            if batch.is_empty() {
                break;
            }
            let goes_on = self.replace(&mut look, batch, go_on)?;
            choice.take_up(std::mem::take(&mut look.beside), &mut runs, &mut left)?;
            if !goes_on {
                break;
            }
        }
        left.write(records.store.db(), &look.set)?;
        Ok(look.done)
    }

    /// Removes old files that no reader needs any more, and gives how many are left; for when there is nothing else to do.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove_old(&self) -> Result<u64> {
        self.remove_retired(&self.segments()?)
    }

    /// The reader that old files have waited for the longest; `None` where they wait for nobody.
    pub fn waits_for(&self) -> Option<Awaited> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).oldest(&self.layout)
    }

    /// Removes old files that neither a reader nor the index needs any more; gives how many are left.
    fn remove_retired(&self, set: &SegmentSet) -> Result<u64> {
        if !set.superseded.is_empty() && !self.tell_index(set)? {
            return Ok(set.superseded.len() as u64);
        }
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.remove(&*self.storage, &self.layout, set)
    }

    /// Tells the index of compacted segments that it does not know of: something failed between the naming of one and the end of its
    /// compaction. Gives `false` where the index cannot follow; then it is made anew at the next start.
    fn tell_index(&self, set: &SegmentSet) -> Result<bool> {
        let Some(db) = self.head.records().store.db().filter(|_| !self.head.index_failed()) else {
            return Ok(false);
        };
        if told(db)?.is_some_and(|told| told == set.compacted()) {
            return Ok(true);
        }
        // Of a directory this may be asked again: what a failure left undone of it is not forgotten, as pages of a file are.
        let dir = self.layout.segments();
        self.storage.sync_dir(&dir).context(&dir)?;
        let applied = db.applied()?.unwrap_or_default();
        if !catch_up(db, &applied, set)? {
            self.head.give_up_index();
            return Ok(false);
        }
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).note(&self.layout);
        Ok(true)
    }

    fn segments(&self) -> Result<SegmentSet> {
        SegmentSet::open(&*self.storage, &self.layout, self.journal)
    }

    /// What is to be compacted of a run.
    fn plan(&self, look: &mut Look, run: Run, terms: &mut Terms<'_>) -> Result<Plan> {
        let records = self.head.records();
        let mut decide = |segments: &[Arc<SegmentFile>]| match decide::decide(
            records, terms, &look.set, segments, look.now,
        ) {
            Ok(decided) => Ok(Ok(decided)),
            Err(Refusal::Damaged(damage)) => Ok(Err(damage)),
            Err(Refusal::Error(error)) => Err(error),
        };
        let run = run.that_can_go(&look.set)?;
        if run.segments.is_empty() {
            return Ok(Plan::default());
        }
        let mut decided = match decide(&run.segments)? {
            Ok(decided) => decided,
            Err(damage) => {
                let rest = run.without(damage.at.segment);
                look.done.damage.push(damage);
                return Ok(Plan { rest, ..Plan::default() });
            }
        };
        if decided.commits.is_empty() {
            return Ok(Plan::leave(run));
        }
        let (bytes, going) = (choose::bytes_of(&run.segments)?, decided.all_going());
        if run.is_worth_it(bytes, going) {
            return Ok(Plan { planned: Some(Planned { run, decided, bytes, going }), ..Plan::default() });
        }
        // What little goes of some of it does not hold the rest back.
        let lens = |segment: &Arc<SegmentFile>| Ok((segment.len()?, decided.going_of(segment.id)));
        let segments = run.segments.iter().map(lens).collect::<Result<Vec<_>>>()?;
        let Some(best) = run.best_stretch(&segments) else { return Ok(Plan::leave(run)) };
        let mut plan = Plan { rest: run.beside(&best), ..Plan::default() };
        let chosen = run.part(best).that_can_go(&look.set)?;
        if chosen.segments.is_empty() {
            return Ok(plan);
        }
        if chosen.segments.len() < run.segments.len() {
            // It was whole a moment ago.
            let Ok(of_these) = decide(&chosen.segments)? else { return Ok(plan) };
            decided = of_these;
        }
        let (bytes, going) = (choose::bytes_of(&chosen.segments)?, decided.all_going());
        match chosen.is_worth_it(bytes, going) {
            true => plan.planned = Some(Planned { run: chosen, decided, bytes, going }),
            false => plan.left = Some(chosen),
        }
        Ok(plan)
    }

    /// Replaces the runs of a batch, one after the other. Gives `false` where nothing more can be done now.
    fn replace(
        &self,
        look: &mut Look,
        batch: Batch,
        go_on: &mut dyn FnMut(&Compacted) -> bool,
    ) -> Result<bool> {
        // What was submitted before, and may stand on such a block, is in the index once it is durable.
        let quiet = self.head.begin_departure(batch.blocks.ids(), USERS_WAIT)
            && self.head.wait_durable(self.head.watermarks().queued, USERS_WAIT);
        let result = match quiet {
            true => self.replace_quietly(look, batch, go_on),
            false => Ok(false),
        };
        self.head.end_departure();
        result
    }

    fn replace_quietly(
        &self,
        look: &mut Look,
        batch: Batch,
        go_on: &mut dyn FnMut(&Compacted) -> bool,
    ) -> Result<bool> {
        let marked = match batch.blocks.mark(self.head.records()) {
            Ok(marked) => marked,
            Err(error) => {
                let Some(damage) = damage_of(&error, &look.set, &self.layout) else { return Err(error) };
                look.done.damage.push(damage);
                return Ok(false);
            }
        };
        for (at, (planned, ids)) in batch.runs.into_iter().zip(marked).enumerate() {
            if at > 0 && !go_on(&look.done) {
                return Ok(false);
            }
            if !self.has_room(planned.bytes.saturating_sub(planned.going)) {
                look.done.short_of_room += 1;
                continue;
            }
            let Planned { run, decided, bytes, .. } = planned;
            let written = match self.write(&run.segments, &decided, &ids, look.now, look.wall) {
                Ok(written) => written,
                Err(Refusal::Damaged(damage)) => {
                    look.beside.extend(run.without(damage.at.segment));
                    look.done.damage.push(damage);
                    continue;
                }
                Err(Refusal::Error(error)) => return Err(error),
            };
            self.swap(&look.set, &run.segments, &written)?;
            let done = &mut look.done;
            done.runs += 1;
            done.segments += run.segments.len() as u64;
            done.bytes_before += bytes;
            done.bytes_written += written.bytes;
            done.versions += decided.versions;
            done.bindings += decided.bindings;
            done.blocks += written.blocks_gone;
            done.rebased += written.rebased;
            look.set = self.segments()?;
            look.done.waiting = self.remove_retired(&look.set)?;
        }
        Ok(true)
    }

    /// Whether there is room for so many bytes and what the index needs beside them. The reserve is a file of its own, which
    /// nothing here touches.
    fn has_room(&self, bytes: u64) -> bool {
        let space = self.storage.space(self.layout.dir());
        space.map_or(true, |space| space.available >= bytes.saturating_add(INDEX_BYTES_MIN))
    }

    fn write(
        &self,
        run: &[Arc<SegmentFile>],
        decided: &decide::Decided,
        ids: &live::Ids,
        now: Seq,
        wall: Instant,
    ) -> std::result::Result<write::Written, Refusal> {
        // Before the old segments are void: an index that ends in one of them would be of another log.
        self.head.flush_index();
        if self.head.index_failed() {
            let what = "it could not be put on disk; it is made anew at the next start".to_string();
            return Err(Error::Index { path: self.layout.index(), what }.into());
        }
        let id = self.head.new_segment();
        let stands_for = crate::format::segment::Compacted { last_seq: decided.last_seq, as_of: now };
        let target = write::Target {
            storage: &*self.storage,
            layout: &self.layout,
            journal: *self.journal.as_bytes(),
            id,
            created: wall,
            stands_for,
        };
        write::write(self.head.records(), &target, run, decided, ids)
    }

    fn swap(&self, set: &SegmentSet, run: &[Arc<SegmentFile>], written: &write::Written) -> Result<()> {
        let new = SegmentFile::open(&*self.storage, self.layout.segment(written.id), written.id)?;
        let Some(db) = self.head.records().store.db() else { return Ok(()) };
        let mut compacted: Vec<SegmentId> = set.compacted();
        compacted.retain(|id| !run.iter().any(|old| old.id == *id));
        compacted.push(written.id);
        compacted.sort_unstable();
        swap::apply(db, set, run, &new, &compacted)?;
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).note(&self.layout);
        Ok(())
    }
}

/// The damage that an error tells of.
fn damage_of(error: &Error, set: &SegmentSet, layout: &Layout) -> Option<Damage> {
    let (at, what) = match error {
        Error::DamagedBlock { position, what, .. } => (*position, what.clone()),
        Error::MissingBlock { .. } => (Position::default(), error.to_string()),
        Error::Corrupt { path, offset, what } => {
            let segment = set.segments.values().find(|segment| segment.path == *path)?;
            (Position { segment: segment.id, offset: *offset }, what.clone())
        }
        _ => return None,
    };
    Some(Damage { path: layout.segment(at.segment), at, len: 0, what })
}

/// The compacted segments that an index is made from; `None` where that does not decode.
fn told(db: &Db) -> Result<Option<Vec<SegmentId>>> {
    match db.get(Cf::Meta, keys::COMPACTED)? {
        Some(value) => Ok(keys::decode_compacted(&value).ok()),
        None => Ok(Some(Vec::new())),
    }
}

/// Whether everything that an index may name is there: what was compacted since is, as long as the old segments are.
///
/// # Errors
/// `Index`.
pub(crate) fn is_backed(db: &Db, set: &SegmentSet) -> Result<bool> {
    let Some(known) = told(db)? else { return Ok(false) };
    Ok(set.compacted().iter().filter(|id| !known.contains(id)).all(|id| {
        let old = set.segments.get(id).map_or(&[][..], |segment| &segment.header.supersedes);
        old.iter().all(|old| set.superseded.contains_key(old))
    }))
}

/// Brings an index up to compacted segments that it was not told of: the process ended between the two.
///
/// Gives `false` where that cannot be done, because old segments are gone already: then the index is of no use.
///
/// # Errors
/// `Io`, `Index`.
pub(crate) fn catch_up(db: &Db, applied: &Applied, set: &SegmentSet) -> Result<bool> {
    let there = set.compacted();
    let Some(known) = told(db)? else { return Ok(false) };
    if known.iter().any(|id| !there.contains(id) && !set.superseded.contains_key(id)) {
        return Ok(false);
    }
    let mut all: Vec<SegmentId> = known.clone();
    for id in there.iter().filter(|id| !known.contains(id)) {
        let Some(new) = set.segments.get(id) else { return Ok(false) };
        // What the index has not come to yet, it cannot have from the old ones.
        let whole = new.header.compacted.is_some_and(|compacted| compacted.last_seq <= applied.last_seq);
        let old: Option<Vec<Arc<SegmentFile>>> =
            new.header.supersedes.iter().map(|old| set.superseded.get(old).cloned()).collect();
        let Some(old) = old.filter(|_| whole) else { return Ok(false) };
        all.retain(|id| !new.header.supersedes.contains(id));
        all.push(*id);
        all.sort_unstable();
        swap::apply(db, set, &old, new, &all)?;
    }
    Ok(true)
}

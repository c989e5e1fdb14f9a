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
pub(crate) mod swap;
mod write;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::head::Head;
use crate::index::Cf;
use crate::index::db::Db;
use crate::index::keys::{self, Applied};
use crate::landmarks;
use crate::retention::survey::{KnownClock, Terms};
use crate::retention::{Keeper, Policy};
use crate::segments::{Damage, SegmentFile, SegmentSet};
use crate::storage::{Layout, Storage};
use crate::types::{Instant, SegmentId, Seq};

use choose::{Choice, Run};
use plan::{Batch, Left, Plan, Planned};

pub use choose::Eagerness;
pub use purge::{Note, Purged};
pub use retire::{Awaited, Pin};

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
    /// What was found damaged: its segments stay as they are until that is mended or noted.
    pub damage: Vec<Damage>,
    /// Old segments that still wait for readers.
    pub waiting: u64,
    /// Runs that were left for want of room: what stays of them is written before what goes is removed.
    pub short_of_room: u64,
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
    /// Why a forgetting ended before it was over.
    unfinished: Mutex<Option<String>>,
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
            unfinished: Mutex::default(),
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
        self.compact_while(policy, holds, eagerness, wall, &mut |done| done.runs < runs_max as u64)
    }

    /// The same for as long as `go_on` says: it is asked before each run, and told what was done until then.
    ///
    /// # Errors
    /// As for [`Compactor::compact`].
    pub fn compact_while(
        &self,
        policy: &Policy,
        holds: &[Vec<u8>],
        eagerness: Eagerness,
        wall: Instant,
        go_on: &mut dyn FnMut(&Compacted) -> bool,
    ) -> Result<Compacted> {
        let mut done = Compacted::default();
        retire::clear(&*self.storage, &self.layout)?;
        let mut set = self.segments()?;
        done.waiting = self.remove_retired(&set)?;
        if done.waiting == 0 && !set.superseded.is_empty() {
            set = self.segments()?;
        }
        if self.head.index_failed() {
            return Ok(done);
        }
        let now = self.head.watermarks().durable.seq;
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
        let mut runs: VecDeque<Run> = choice.runs(&set, &left.segments)?.into();
        'look: while !runs.is_empty() {
            let mut batch = Batch::default();
            while !batch.is_full()
                && let Some(run) = runs.pop_front()
            {
                if !go_on(&done) {
                    break 'look;
                }
                let plan = self.plan(&set, run, &mut terms, now, &mut done)?;
                if let Some(planned) = plan.planned {
                    batch.add(self.head.records(), planned)?;
                }
                plan.left.iter().for_each(|run| left.note(run));
                for run in plan.rest.into_iter().rev() {
                    match choice.is_ripe(&run)? {
                        true => runs.push_front(run),
                        false => left.note(&run),
                    }
                }
            }
            if batch.is_empty() {
                break;
            }
            if !self.replace(&mut set, batch, now, wall, &mut done, go_on)? {
                break;
            }
        }
        left.write(records.store.db(), &set)?;
        Ok(done)
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

    fn remove_retired(&self, set: &SegmentSet) -> Result<u64> {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.remove(&*self.storage, &self.layout, set)
    }

    fn segments(&self) -> Result<SegmentSet> {
        SegmentSet::open(&*self.storage, &self.layout, self.journal)
    }

    /// What is to be compacted of a run.
    fn plan(
        &self,
        set: &SegmentSet,
        run: Run,
        terms: &mut Terms<'_>,
        now: Seq,
        done: &mut Compacted,
    ) -> Result<Plan> {
        let records = self.head.records();
        let mut decide =
            |segments: &[Arc<SegmentFile>]| match decide::decide(records, terms, set, segments, now) {
                Ok(decided) => Ok(Some(decided)),
                Err(decide::Refusal::Damaged(damage)) => {
                    done.damage.push(damage);
                    Ok(None)
                }
                Err(decide::Refusal::Error(error)) => Err(error),
            };
        let Some(mut decided) = decide(&run.segments)? else { return Ok(Plan::default()) };
        if decided.commits.is_empty() {
            return Ok(Plan::leave(run));
        }
        let (bytes, going) = (choose::bytes_of(&run.segments)?, decided.all_going());
        if run.is_worth_it(bytes, going) {
            let planned = Planned { segments: run.segments, decided, bytes, going };
            return Ok(Plan { planned: Some(planned), ..Plan::default() });
        }
        // What little goes of some of it does not hold the rest back.
        let lens = |segment: &Arc<SegmentFile>| Ok((segment.len()?, decided.going_of(segment.id)));
        let segments = run.segments.iter().map(lens).collect::<Result<Vec<_>>>()?;
        let Some(best) = run.best_stretch(&segments) else { return Ok(Plan::leave(run)) };
        let mut plan = Plan { rest: run.beside(&best), ..Plan::default() };
        let chosen = run.part(best);
        if chosen.segments.len() < run.segments.len() {
            let Some(of_these) = decide(&chosen.segments)? else { return Ok(plan) };
            decided = of_these;
        }
        let (bytes, going) = (choose::bytes_of(&chosen.segments)?, decided.all_going());
        match chosen.is_worth_it(bytes, going) {
            true => plan.planned = Some(Planned { segments: chosen.segments, decided, bytes, going }),
            false => plan.left = Some(chosen),
        }
        Ok(plan)
    }

    /// Replaces the runs of a batch, one after the other. Gives `false` where nothing more can be done now.
    fn replace(
        &self,
        set: &mut SegmentSet,
        batch: Batch,
        now: Seq,
        wall: Instant,
        done: &mut Compacted,
        go_on: &mut dyn FnMut(&Compacted) -> bool,
    ) -> Result<bool> {
        // What was submitted before, and may stand on such a block, is in the index once it is durable.
        let quiet = self.head.begin_departure(batch.blocks.ids(), USERS_WAIT)
            && self.head.wait_durable(self.head.watermarks().queued, USERS_WAIT);
        let result = match quiet {
            true => self.replace_quietly(set, batch, now, wall, done, go_on),
            false => Ok(false),
        };
        self.head.end_departure();
        result
    }

    fn replace_quietly(
        &self,
        set: &mut SegmentSet,
        batch: Batch,
        now: Seq,
        wall: Instant,
        done: &mut Compacted,
        go_on: &mut dyn FnMut(&Compacted) -> bool,
    ) -> Result<bool> {
        let marked = match batch.blocks.mark(self.head.records()) {
            Ok(marked) => marked,
            Err(error) => {
                let all: Vec<_> = batch.runs.iter().flat_map(|planned| planned.segments.clone()).collect();
                let Some(damage) = damage_of(&error, &all) else { return Err(error) };
                done.damage.push(damage);
                return Ok(false);
            }
        };
        for (at, (planned, ids)) in batch.runs.into_iter().zip(marked).enumerate() {
            if at > 0 && !go_on(done) {
                return Ok(false);
            }
            if !self.has_room(planned.bytes.saturating_sub(planned.going)) {
                done.short_of_room += 1;
                continue;
            }
            let Planned { segments, decided, bytes, .. } = planned;
            let written = match self.write(&segments, &decided, &ids, now, wall) {
                Ok(written) => written,
                Err(error) => {
                    let Some(damage) = damage_of(&error, &segments) else { return Err(error) };
                    done.damage.push(damage);
                    continue;
                }
            };
            self.swap(set, &segments, &written)?;
            done.runs += 1;
            done.segments += segments.len() as u64;
            done.bytes_before += bytes;
            done.bytes_written += written.bytes;
            done.versions += decided.dropped.len() as u64;
            done.bindings += decided.bindings;
            done.blocks += written.blocks_gone;
            done.rebased += written.rebased;
            *set = self.segments()?;
            done.waiting = self.remove_retired(set)?;
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
    ) -> Result<write::Written> {
        // Before the old segments are void: an index that ends in one of them would be of another log.
        self.head.flush_index();
        if self.head.index_failed() {
            let what = "it could not be put on disk; it is made anew at the next start".to_string();
            return Err(Error::Index { path: self.layout.index(), what });
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

/// The damage that an error tells of, if it is in one of these segments.
fn damage_of(error: &Error, run: &[Arc<SegmentFile>]) -> Option<Damage> {
    let (at, what) = match error {
        Error::DamagedBlock { position, what, .. } => (*position, what.clone()),
        Error::Corrupt { path, offset, what } => {
            let segment = run.iter().find(|segment| segment.path == *path)?;
            (crate::types::Position { segment: segment.id, offset: *offset }, what.clone())
        }
        Error::MissingBlock { id } => {
            let first = run.first()?;
            let at = crate::types::Position { segment: first.id, offset: 0 };
            return Some(Damage {
                path: first.path.clone(),
                at,
                len: 0,
                what: format!("a block that it needs, {id:?}, is missing"),
            });
        }
        _ => return None,
    };
    let path = run.iter().find(|segment| segment.id == at.segment).or(run.first())?.path.clone();
    Some(Damage { path, at, len: 0, what })
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

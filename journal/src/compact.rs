//! Compaction: what a policy lets go leaves the segments; what stays is copied into new ones that take their place.
//!
//! The segments stay the only truth: nothing goes but by being left out of a compacted segment. In order, so that a crash at any
//! step leaves a journal in which everything that is kept is found:
//!
//! 1. `decide`: what is left of a run of neighbouring segments, by their timelines in the index.
//! 2. `live`: which blocks of the run anybody still refers to; nothing new may refer to them meanwhile.
//! 3. `write`: a new segment under a temporary name. Every block is decoded and checked against its id before it is copied. Synced,
//!    renamed, the directory synced: from there on the old segments are void.
//! 4. `swap`: the index follows, and is put on disk.
//! 5. `retire`: the old files go once no reader that began before has a use for them.

mod choose;
mod decide;
mod live;
mod purge;
mod retire;
pub(crate) mod swap;
mod write;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::head::Head;
use crate::index::Cf;
use crate::index::db::Db;
use crate::index::keys::{self, Applied};
use crate::landmarks;
use crate::retention::survey::{Terms, clock_of};
use crate::retention::{Keeper, Policy};
use crate::segments::{Damage, SegmentFile, SegmentSet};
use crate::storage::{Layout, Storage};
use crate::types::{Instant, SegmentId, Seq};

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
}

impl Compactor {
    pub(crate) fn new(
        head: Arc<Head>,
        storage: Arc<dyn Storage>,
        layout: Layout,
        journal: uuid::Uuid,
    ) -> Compactor {
        Compactor { head, storage, layout, journal, retired: Mutex::default() }
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
        let clock = clock_of(records)?;
        let named: Vec<Seq> = landmarks::marks(records)?.iter().map(|mark| mark.moment.seq).collect();
        let keeper = Keeper::new(&clock, policy, &named, now);
        let mut terms = Terms::new(&keeper, policy, holds);
        for run in choose::runs(&set, &clock, policy, &keeper, eagerness)? {
            if !go_on(&done) {
                break;
            }
            // Others may have gone into a compacted segment meanwhile.
            if !run.iter().all(|id| set.segments.contains_key(id)) {
                continue;
            }
            let segments: Vec<Arc<SegmentFile>> =
                run.iter().filter_map(|id| set.segments.get(id).cloned()).collect();
            self.run(&set, &segments, &mut terms, now, eagerness, wall, &mut done)?;
            set = self.segments()?;
            done.waiting = self.remove_retired(&set)?;
        }
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

    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        set: &SegmentSet,
        run: &[Arc<SegmentFile>],
        terms: &mut Terms<'_>,
        now: Seq,
        eagerness: Eagerness,
        wall: Instant,
        done: &mut Compacted,
    ) -> Result<()> {
        let records = self.head.records();
        let decide =
            |run: &[Arc<SegmentFile>], terms: &mut Terms<'_>, done: &mut Compacted| match decide::decide(
                records, terms, set, run, now,
            ) {
                Ok(decided) => Ok(Some(decided)),
                Err(decide::Refusal::Damaged(damage)) => {
                    done.damage.push(damage);
                    Ok(None)
                }
                Err(decide::Refusal::Error(error)) => Err(error),
            };
        let Some(mut decided) = decide(run, terms, done)? else { return Ok(()) };
        if decided.commits.is_empty() {
            return Ok(());
        }
        let mut run = run;
        if eagerness == Eagerness::WorthIt {
            let going = |segment: &Arc<SegmentFile>| {
                Ok((segment.len()?, decided.going.get(&segment.id).copied().unwrap_or(0)))
            };
            let segments = run.iter().map(going).collect::<Result<Vec<_>>>()?;
            let Some(best) = choose::best_stretch(&segments) else { return Ok(()) };
            if best.len() < run.len() {
                run = run.get(best).unwrap_or_default();
                let Some(of_these) = decide(run, terms, done)? else { return Ok(()) };
                decided = of_these;
            }
        }
        let before: u64 = run.iter().map(|segment| segment.len()).sum::<Result<u64>>()?;
        if !choose::is_worth_it(before, decided.bytes_going, run.len(), eagerness) {
            return Ok(());
        }
        if !self.has_room(before.saturating_sub(decided.bytes_going)) {
            done.short_of_room += 1;
            return Ok(());
        }
        let ids = live::candidates(records, run, &decided)?;
        // What was submitted before, and may stand on such a block, is in the index once it is durable.
        let quiet = self.head.begin_departure(ids.keys().copied(), USERS_WAIT)
            && self.head.wait_durable(self.head.watermarks().queued, USERS_WAIT);
        if !quiet {
            self.head.end_departure();
            return Ok(());
        }
        let written = live::mark(records, ids, &decided, run)
            .and_then(|ids| self.write(run, &decided, &ids, now, wall).map(|written| (written, ids)));
        let written = match written {
            Ok((written, _)) => written,
            Err(error) => {
                self.head.end_departure();
                return match damage_of(&error, run) {
                    Some(damage) => {
                        done.damage.push(damage);
                        Ok(())
                    }
                    None => Err(error),
                };
            }
        };
        let swapped = self.swap(set, run, &written);
        self.head.end_departure();
        swapped?;
        done.runs += 1;
        done.segments += run.len() as u64;
        done.bytes_before += before;
        done.bytes_written += written.bytes;
        done.versions += decided.dropped.len() as u64;
        done.bindings += decided.bindings;
        done.blocks += written.blocks_gone;
        done.rebased += written.rebased;
        Ok(())
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

//! Checks a journal: the skeleton of every segment, the links between them, the index against the log, that every
//! version can be read; with `deep` also every byte of every body. Says what is damaged and what that costs.
//!
//! Judges by the segments alone: it makes entries of its own out of them and asks the index nothing. Changes nothing,
//! needs no lock, and has no clock and no terminal: whoever calls hears how far it is and sets the pace.

mod affected;
pub(crate) mod bodies;
mod index;
mod names;
mod structure;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::format::op::take_loss;
use crate::format::wire::Take;
use crate::index::Cf;
use crate::index::db::Db;
use crate::index::keys::{self, Applied, BatchAt, Located};
use crate::index::store::Store;
use crate::manifest::Manifest;
use crate::reader::{self, Reader};
use crate::records::Records;
use crate::recovery::{self, Standing};
use crate::segments::{Damage, SegmentFile, SegmentSet};
use crate::storage::{Layout, OsStorage};
use crate::types::{BlockId, Instant, Loss, Lost, Position, SegmentId, Seq};

pub use affected::Affected;
pub use index::{Differences, IndexState};
pub use structure::Counts;

/// More threads than this wait for the medium.
const THREADS_MAX: usize = 8;

/// What to check.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether every body is read.
    pub deep: bool,
    /// Threads that read; at least one.
    pub threads: usize,
    /// What an earlier look found, which need not be found again.
    pub known_bad: Bad,
}

impl Default for Options {
    fn default() -> Options {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Options { deep: false, threads, known_bad: Bad::default() }
    }
}

/// Hears how many bytes more were read, and may wait; `false` ends the check.
pub type Pace<'p> = &'p (dyn Fn(u64) -> bool + Sync);

/// What does not hold, before it is known what that costs.
#[derive(Clone, Debug, Default)]
pub struct Bad {
    pub(crate) damage: Vec<Damage>,
    pub(crate) notes: Vec<Damage>,
    /// Frames that cannot be read, with the reason.
    pub(crate) frames: BTreeMap<Position, String>,
    /// Single blocks of frames that can.
    pub(crate) blocks: BTreeMap<(Position, BlockId), String>,
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where and what.
    pub damage: Damage,
    /// Since when it is known; `None` where it is new.
    pub known: Option<Instant>,
}

/// Groups that no batch holds any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostGroups {
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
    /// When the group before them was committed; `None` where they are the first.
    pub after: Option<Instant>,
    /// When the group after them was committed; `None` where they are the last.
    pub before: Option<Instant>,
    /// Since when it is known; `None` where it is new.
    pub known: Option<Instant>,
}

/// What was found, and what it is made of.
pub struct Verification {
    reader: Reader,
    bad: Bad,
    losses: Vec<Loss>,
    unreadable: HashMap<BlockId, Arc<str>>,
    /// Whether anything is affected, once somebody has looked.
    any_affected: OnceLock<bool>,
    /// What is damaged, by place.
    pub places: Vec<Place>,
    /// What is not as it was meant to be, and costs nothing.
    pub notes: Vec<Damage>,
    /// Groups that are lost.
    pub lost: Vec<LostGroups>,
    /// How the index is.
    pub index: IndexState,
    /// What was counted.
    pub counts: Counts,
    /// Bytes behind the end of the log that a power cut left; ordinary.
    pub torn_bytes: u64,
    /// Bytes that are to be read by a deep check.
    pub bytes: u64,
    /// Whether every body was read.
    pub deep: bool,
    /// Whether it was ended before its end.
    pub stopped: bool,
    /// The journal.
    pub journal: PathBuf,
}

/// Checks the journal in a directory.
///
/// # Errors
/// `NoJournal`, `Unsupported`, `Io`; `Corrupt` only where nothing can be answered at all.
pub fn verify(dir: &Path, options: &Options, pace: Pace<'_>) -> Result<Verification> {
    let layout = Layout::new(dir);
    let storage = Arc::new(OsStorage);
    let manifest = Manifest::open(&*storage, &layout)?;
    let scratch = reader::scratch()?;
    // The index before the segments, as for every reader.
    let index = open_index(&layout, scratch.path());
    let set = SegmentSet::open(&*storage, &layout, manifest.uuid)?;
    let mut bad = options.known_bad.clone();
    let (index, told) = judge(index, &set)?;
    bad.damage.extend(manifest.damage.clone());

    let reader = Reader::from_segments(storage, layout.clone(), manifest, &set, told.as_ref(), scratch)?;
    let mut segments = Vec::new();
    for segment in set.segments.values() {
        let end = match reader.report().tail.end {
            tail if tail.segment == segment.id => tail.offset,
            _ => recovery::end_of(&set, segment)?,
        };
        segments.push((segment.clone(), end));
    }
    let mut found = Verification {
        bad: Bad::default(),
        losses: losses(reader.records())?,
        unreadable: HashMap::new(),
        any_affected: OnceLock::new(),
        places: Vec::new(),
        notes: Vec::new(),
        lost: Vec::new(),
        index: IndexState::Missing,
        counts: Counts::default(),
        torn_bytes: reader.report().tail.torn_bytes,
        bytes: segments.iter().map(|(segment, end)| end.saturating_sub(segment.start)).sum(),
        deep: options.deep,
        stopped: false,
        journal: dir.to_path_buf(),
        reader,
    };
    found.lost = lost_groups(&found.reader, &found.losses)?;
    for (segment, end) in &segments {
        structure::check(&set, segment, *end, &mut bad, &mut found.counts)?;
    }
    if options.deep {
        found.stopped = !deep(found.reader.records(), &segments, options.threads, &mut bad, pace)?;
    }
    bad.damage.extend(found.reader.report().damage.iter().cloned());
    if let (IndexState::Ahead(what), Some(applied)) = (&index.0, &told) {
        bad.damage.extend(recovery::end_is_gone(&set, &layout, applied, what));
    }
    found.bad = bad;
    found.judge_blocks(&set)?;
    found.places_and_notes();
    found.index = compare_index(&found, index, told)?;
    Ok(found)
}

/// How an index is, and the index where it can be compared.
type Judged = (IndexState, Option<Db>);
type Opened = std::result::Result<(Db, Applied), IndexState>;

fn open_index(layout: &Layout, log_dir: &Path) -> Opened {
    if !layout.index().exists() {
        return Err(IndexState::Missing);
    }
    let opened = Db::open_read_only(&layout.index(), log_dir);
    match opened.and_then(|db| db.applied().map(|applied| (db, applied))) {
        Ok((db, Some(applied))) => Ok((db, applied)),
        // Nothing was ever put on disk: it is behind by everything.
        Ok((db, None)) => Ok((db, Applied::default())),
        Err(error) => Err(IndexState::Unusable(error.to_string())),
    }
}

/// How the index stands to the log, and how far it attests it.
fn judge(index: Opened, set: &SegmentSet) -> Result<(Judged, Option<Applied>)> {
    let (db, applied) = match index {
        Ok(opened) => opened,
        Err(state) => return Ok(((state, None), None)),
    };
    if applied == Applied::default() {
        return Ok(((IndexState::Sound { behind: 0 }, Some(db)), None));
    }
    let tail = recovery::find_tail(set, Some(&applied))?;
    let standing = match recovery::standing(&db, &applied, set, &tail) {
        Ok(standing) => standing,
        Err(error) => return Ok(((index::refusal(error)?, None), None)),
    };
    Ok(match standing {
        Standing::Fits => ((IndexState::Sound { behind: 0 }, Some(db)), Some(applied)),
        Standing::Ahead(what) => ((IndexState::Ahead(what), None), Some(applied)),
        Standing::Foreign(why) => ((IndexState::Unusable(why), None), None),
    })
}

fn compare_index(found: &Verification, index: Judged, told: Option<Applied>) -> Result<IndexState> {
    let (state, Some(db)) = index else { return Ok(index.0) };
    if !state.is_sound() {
        return Ok(state);
    }
    let applied = told.unwrap_or_default();
    let records = found.reader.records();
    let behind = batches_after(records, applied.last_seq)?;
    let excuses = index::Excuses {
        applied,
        behind: found.reader.end() > applied.end,
        lost: &found.lost,
        damaged: !found.places.is_empty(),
    };
    Ok(match index::compare(&Store::new(Some(db)), &records.store, &excuses) {
        Ok(differences) if differences == Differences::default() => IndexState::Sound { behind },
        Ok(differences) => IndexState::Differs(differences),
        Err(error) => index::refusal(error)?,
    })
}

fn batches_after(records: &Records, seq: Seq) -> Result<u64> {
    let mut scan = records.store.scan(Cf::Event, &[])?;
    scan.seek(&keys::seq(seq.next()))?;
    let mut count = 0;
    while scan.item().is_some() {
        count += 1;
        scan.advance()?;
    }
    Ok(count)
}

/// What was noted of losses so far.
pub(crate) fn losses(records: &Records) -> Result<Vec<Loss>> {
    let damage = records.index_damage(Cf::Loss);
    let mut scan = records.store.scan(Cf::Loss, &[])?;
    let mut losses = Vec::new();
    while let Some((_, value)) = scan.item() {
        losses.push(take_loss(&mut Take::new(value)).map_err(&damage)?);
        scan.advance()?;
    }
    Ok(losses)
}

/// The jumps in the sequence of the batches.
fn lost_groups(reader: &Reader, losses: &[Loss]) -> Result<Vec<LostGroups>> {
    let records = reader.records();
    let damage = records.index_damage(Cf::Event);
    let known = |first: Seq, last: Seq| {
        let of = |loss: &&Loss| match loss.lost {
            Lost::Groups { first: from, last: to } => from <= first && last <= to,
            Lost::Bytes { .. } => false,
        };
        losses.iter().find(of).map(|loss| loss.noted)
    };
    let mut lost = Vec::new();
    let mut before: (Seq, Option<Instant>) = (Seq::ZERO, None);
    let mut scan = records.store.scan(Cf::Event, &[])?;
    while let Some((key, value)) = scan.item() {
        let last = keys::parse_seq(key).map_err(&damage)?;
        let batch = BatchAt::decode(value).map_err(&damage)?;
        if batch.first_seq > before.0.next() {
            let (first, last) = (before.0.next(), batch.first_seq.previous());
            let known = known(first, last);
            lost.push(LostGroups { first, last, after: before.1, before: Some(batch.wall), known });
        }
        before = (last, Some(batch.wall));
        scan.advance()?;
    }
    if reader.head() > before.0 {
        let (first, last) = (before.0.next(), reader.head());
        lost.push(LostGroups { first, last, after: before.1, before: None, known: known(first, last) });
    }
    Ok(lost)
}

/// Reads every body of all segments, several at a time. Gives whether it came to the end.
fn deep(
    records: &Records,
    segments: &[(Arc<SegmentFile>, u64)],
    threads: usize,
    bad: &mut Bad,
    pace: Pace<'_>,
) -> Result<bool> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found: Mutex<Vec<(usize, bodies::Found)>> = Mutex::default();
    let work = || -> Result<()> {
        while let Some((segment, end)) = segments.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut at = segment.start;
            let of_segment = bodies::check_segment(records, segment, *end, &mut |reached| {
                let more = reached.saturating_sub(at);
                at = reached.max(at);
                if !pace(more) {
                    stop.store(true, Ordering::Relaxed);
                }
                !stop.load(Ordering::Relaxed)
            })?;
            let place = segments.iter().position(|(other, _)| other.id == segment.id).unwrap_or(0);
            found.lock().unwrap_or_else(PoisonError::into_inner).push((place, of_segment));
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    };
    let threads = threads.clamp(1, THREADS_MAX).min(segments.len().max(1));
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut results = vec![work()];
        for other in others {
            // A panic of a worker is one of this thread.
            results.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results.into_iter().collect::<Result<()>>()
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(place, _)| *place);
    for (_, of_segment) in found {
        let why = |at: Position| {
            let of = |damage: &&Damage| damage.at == at;
            of_segment.damage.iter().find(of).map_or(String::new(), |damage| damage.what.clone())
        };
        bad.frames.extend(of_segment.frames.iter().map(|at| (*at, why(*at))));
        bad.blocks.extend(of_segment.blocks.iter().map(|(at, id)| ((*at, *id), why(*at))));
        bad.damage.extend(of_segment.damage);
    }
    Ok(!stop.load(Ordering::Relaxed))
}

impl Verification {
    /// Whether nothing is damaged or lost, but what is known and costs nothing any more.
    ///
    /// # Errors
    /// Those of [`Verification::affected`].
    pub fn is_sound(&self) -> Result<bool> {
        let known = self.places.iter().all(|place| place.known.is_some());
        if !known || !self.lost.is_empty() || !self.index.is_sound() {
            return Ok(false);
        }
        if let Some(any) = self.any_affected.get() {
            return Ok(!any);
        }
        let mut any = false;
        self.affected(&mut |_| {
            any = true;
            false
        })?;
        Ok(!self.any_affected.get_or_init(|| any))
    }

    /// The reader that was made out of the segments.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What does not hold, for another look.
    pub fn bad(&self) -> &Bad {
        &self.bad
    }

    /// Blocks that cannot be read, in no order, each with the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = (&BlockId, &str)> {
        self.unreadable.iter().map(|(id, why)| (id, &**why))
    }

    /// Finds the blocks that cannot be read: those in bad frames and missing segments, and all that are deltas on them.
    fn judge_blocks(&mut self, set: &SegmentSet) -> Result<()> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Block);
        let mut deltas: Vec<(BlockId, BlockId)> = Vec::new();
        let mut scan = records.store.scan(Cf::Block, &[])?;
        while let Some((key, value)) = scan.item() {
            let located = Located::decode(value).map_err(&damage)?;
            let Ok(id) = <[u8; 16]>::try_from(key).map(BlockId) else {
                scan.advance()?;
                continue;
            };
            let at = located.frame;
            let mut why = self.bad.frames.get(&at).or_else(|| self.bad.blocks.get(&(at, id))).cloned();
            if !set.segments.contains_key(&at.segment) {
                why = Some(format!("{} is not there", at.segment));
            }
            if let Some((base, depth)) = located.base {
                let below = crate::blocks::Locate::locate(records, base)?;
                match below {
                    None => why = Some(format!("the block {base} that it builds on is not in the journal")),
                    Some(below) if below.depth() >= depth => {
                        why = Some("its chain of deltas does not get shorter".into());
                    }
                    Some(_) => deltas.push((id, base)),
                }
            }
            if let Some(why) = why {
                let why = match why.is_empty() {
                    true => "damaged".to_string(),
                    false => why,
                };
                self.unreadable.insert(id, format!("{} at offset {}: {why}", at.segment, at.offset).into());
            }
            scan.advance()?;
        }
        // Chains get shorter towards the bottom, so this ends.
        while !self.unreadable.is_empty() {
            let before = self.unreadable.len();
            deltas.retain(|(id, base)| {
                let Some(why) = self.unreadable.get(base).cloned() else { return true };
                self.unreadable.entry(*id).or_insert(why);
                false
            });
            if self.unreadable.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Every damaged place once, in order, with what is known of it.
    fn places_and_notes(&mut self) {
        let mut places: BTreeMap<(SegmentId, u64, PathBuf), Damage> = BTreeMap::new();
        for damage in &self.bad.damage {
            let key = (damage.at.segment, damage.at.offset, damage.path.clone());
            places.entry(key).or_insert_with(|| damage.clone());
        }
        let known = |damage: &Damage| {
            let of = |loss: &&Loss| loss.lost.covers(damage.at);
            self.losses.iter().find(of).map(|loss| loss.noted)
        };
        self.places = places.into_values().map(|damage| Place { known: known(&damage), damage }).collect();
        self.notes = self.bad.notes.clone();
    }
}

/// Whether an error means that the journal is damaged, so that a check is what tells more.
pub fn tells_of_damage(error: &Error) -> bool {
    recovery::is_damage(error) || matches!(error, Error::Index { .. })
}

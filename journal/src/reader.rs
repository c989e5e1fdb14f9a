//! A journal opened for reading: beside a living agent, after it died, on a read-only medium.
//!
//! Takes no lock and writes nothing into the journal. What the index lacks is overlaid from the segments; where there
//! is no usable index, a private temporary one is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blocks::{Block, Locate, occupied};
use crate::compact::{self, Pin};
use crate::error::{Error, IoContext, Result};
use crate::format::wire::Malformed;
use crate::index::Cf;
use crate::index::db::Db;
use crate::index::keys::{self, Applied, BatchAt, StateThen};
use crate::index::rebuild::Builder;
use crate::index::store::Store;
use crate::landmarks::{self, Forgot, Holding, Named, Restored};
use crate::manifest::Manifest;
use crate::records::Records;
use crate::recovery::{self, RecoveryReport, Standing, Tail};
use crate::segments::{SegmentSet, Walked};
use crate::storage::{Layout, OsStorage, Storage};
use crate::types::{BlockId, Instant, MarkName, Seq};
use crate::view::View;

/// Without an index, a log up to this size is overlaid in memory; a longer one gets a temporary index.
const OVERLAY_LOG_MAX: u64 = 8 << 20;

/// A temporary index that could not be made where there is less than this failed for want of room.
const TEMPORARY_ROOM_MIN: u64 = 4 << 20;
/// Where there is mostly room when the disk is full.
const IN_MEMORY: &str = "/dev/shm";

/// A journal opened for reading; `Sync`, so that several threads can restore from it.
pub struct Reader {
    records: Records,
    manifest: Manifest,
    applied: Applied,
    report: RecoveryReport,
    /// What was there when it was opened stays there.
    _pin: Option<Pin>,
    /// RocksDB's own log, and the temporary index where there is one; removed when dropped.
    _scratch: tempfile::TempDir,
}

/// One reading of a time: which `Seq` it is, and in which clock epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The greatest `Seq` committed at or before the time, in that epoch.
    pub seq: Seq,
    /// The wall clock of the batch that committed it.
    pub instant: Instant,
    /// The clock epoch; a new one starts at every boot and at every step of the wall clock.
    pub epoch: u32,
    /// The time that was asked for, which may lie well behind `instant`: gaps concern this one.
    pub asked: Instant,
}

/// The nearest moments of which everything is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// The last one before.
    pub before: Option<Moment>,
    /// The first one after.
    pub after: Option<Moment>,
}

/// What a time turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The reading that is used.
    pub moment: Moment,
    /// Further readings, where the wall clock showed the time more than once (it had been set back).
    pub others: Vec<Moment>,
}

/// What the journal says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The journal's uuid, hyphenated.
    pub uuid: String,
    /// When it was created.
    pub created: Instant,
    /// Format version.
    pub format: u32,
    /// Bytes that it occupies on disk (`st_blocks`), index included.
    pub bytes: u64,
    /// Gaps recorded so far.
    pub gaps: u64,
    /// Through when everything is covered; `None` before the first mark.
    pub covered_through: Option<Instant>,
    /// The newest committed place; `None` in an empty journal.
    pub head: Option<Moment>,
    /// The first committed place.
    pub first: Option<Moment>,
}

impl Reader {
    /// Opens the journal in a directory, without a lock, beside a writer or without one.
    ///
    /// # Errors
    /// `NoJournal`, `Unsupported`, `Io`, `Corrupt` (only where nothing can be answered at all).
    pub fn open(dir: &Path) -> Result<Reader> {
        Self::open_on(Arc::new(OsStorage), dir)
    }

    /// The same on another storage, for tests that fail, tear and reorder what is written.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn open_on(storage: Arc<dyn Storage>, dir: &Path) -> Result<Reader> {
        let layout = Layout::new(dir);
        let manifest = Manifest::open(&*storage, &layout)?;
        let scratch = scratch()?;
        // Before the index: what that names is not removed from then on.
        let pin = Pin::take(&layout);

        // The index before the segments: it then never knows of a segment that the list does not have.
        let index = open_index(&layout, scratch.path());
        let set = SegmentSet::open(&*storage, &layout, manifest.uuid)?;
        let mut report = RecoveryReport::default();
        let opened = match usable(&layout, index, &set, &mut report)? {
            Ok(usable) => Some(usable),
            Err(why) => {
                report.tail = recovery::find_tail(&set, None)?;
                report.rebuilt = Some(why);
                None
            }
        };
        let reader = Self::from_parts(storage, layout, manifest, &set, report, opened, scratch)?;
        Ok(Reader { _pin: pin, ..reader })
    }

    /// Reads the segments alone. `told` is how far an index of this log has come, which attests that far.
    pub(crate) fn from_segments(
        storage: Arc<dyn Storage>,
        layout: Layout,
        manifest: Manifest,
        set: &SegmentSet,
        told: Option<&Applied>,
        scratch: tempfile::TempDir,
    ) -> Result<Reader> {
        let rebuilt = Some("the segments alone are asked".to_string());
        let tail = recovery::find_tail(set, told)?;
        let report = RecoveryReport { tail, rebuilt, ..RecoveryReport::default() };
        Self::from_parts(storage, layout, manifest, set, report, None, scratch)
    }

    fn from_parts(
        storage: Arc<dyn Storage>,
        layout: Layout,
        manifest: Manifest,
        set: &SegmentSet,
        mut report: RecoveryReport,
        opened: Option<Usable>,
        scratch: tempfile::TempDir,
    ) -> Result<Reader> {
        let (db, from, met) = match opened {
            Some(Usable { db, applied, met }) => (Some(db), applied, met),
            None => {
                let (db, from) = temporary_index(set, &mut report, scratch.path())?;
                (db, from, None)
            }
        };
        let again = Again {
            storage: storage.clone(),
            layout: layout.clone(),
            journal: manifest.uuid,
            tail: report.tail,
            dir: scratch.path().join("second"),
        };
        let store = Store::with_rebuild(db, Box::new(move || again.index()));
        let applied = overlay(&store, set, &mut report, from, met)?;
        let misplaced = set.misplaced(&layout);
        let records = Records::new(store, storage, layout, manifest.id_key, misplaced);
        Ok(Reader { records, manifest, applied, report, _pin: None, _scratch: scratch })
    }

    /// What opening found: damage, a torn tail, an index that was of no use.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// What the journal says of itself.
    ///
    /// # Errors
    /// `Io`, `Index`.
    pub fn info(&self) -> Result<Info> {
        let head = self.at_seq(self.applied.last_seq)?;
        Ok(Info {
            uuid: self.manifest.uuid.to_string(),
            created: self.manifest.created,
            format: self.manifest.format,
            bytes: occupied(self.records.layout().dir())?,
            gaps: self.applied.gaps,
            covered_through: self.applied.covered_through,
            head,
            first: self.at_seq(Seq(1))?,
        })
    }

    /// The newest `Seq` that the reader can see.
    pub fn head(&self) -> Seq {
        self.applied.last_seq
    }

    /// What a wall clock time means; `None` where it lies before the first capture.
    ///
    /// It is read in the latest clock epoch that contains it, else in the one with the greatest end before it.
    ///
    /// # Errors
    /// `Index`.
    pub fn at_instant(&self, time: Instant) -> Result<Option<Resolved>> {
        let store = &self.records.store;
        let mut containing = Vec::new();
        let mut before: Option<Moment> = None;
        let mut next = Some(0u32);
        // From epoch to epoch that there is, not by counting: a number is only as good as where it comes from.
        while let Some(from) = next {
            let Some(entry) = store.ceiling(Cf::Clock, &[], &from.to_be_bytes())? else { break };
            let (epoch, first) = keys::parse_clock(&entry.0).map_err(self.records.index_damage(Cf::Clock))?;
            next = epoch.checked_add(1);
            let prefix = epoch.to_be_bytes();
            let at = |wall| -> Result<Option<(Seq, Instant)>> {
                clock_entry(self, store.floor(Cf::Clock, &prefix, &keys::clock(epoch, wall))?)
            };
            let Some((seq, last)) = at(Instant(i64::MAX))? else {
                continue;
            };
            if last <= time {
                let moment = Moment { seq, instant: last, epoch, asked: time };
                if before.is_none_or(|known| known.instant <= last) {
                    before = Some(moment);
                }
                if last == time {
                    containing.push(moment);
                }
            } else if first <= time
                && let Some((seq, instant)) = at(time)?
            {
                containing.push(Moment { seq, instant, epoch, asked: time });
            }
        }
        let moment = containing.pop().or(before);
        Ok(moment.map(|moment| Resolved { moment, others: containing }))
    }

    /// The instant at which a `Seq` was committed; `None` where there is no such `Seq` (0, or after the newest).
    ///
    /// # Errors
    /// `Index`.
    pub fn at_seq(&self, seq: Seq) -> Result<Option<Moment>> {
        moment_of(&self.records, seq)
    }

    /// Where something of the states at a `Seq` may have gone by the retention policy: the nearest moments before and
    /// after it of which everything is left. `None` where everything is left of this one.
    ///
    /// # Errors
    /// `Index`.
    pub fn thinned_around(&self, seq: Seq) -> Result<Option<Around>> {
        let (store, damage) = (&self.records.store, self.records.index_damage(Cf::Event));
        let decode = |entry: (Vec<u8>, Vec<u8>)| -> std::result::Result<(Seq, BatchAt), Malformed> {
            Ok((keys::parse_seq(&entry.0)?, BatchAt::decode(&entry.1)?))
        };
        let whole = |last: Seq, at: Seq, state: StateThen| match state {
            StateThen::Whole => true,
            StateThen::Kept => at == last,
            StateThen::Thinned => false,
        };
        let Some(entry) = store.ceiling(Cf::Event, &[], &keys::seq(seq))? else { return Ok(None) };
        let (last, batch) = decode(entry).map_err(&damage)?;
        if whole(last, seq, batch.state) {
            return Ok(None);
        }
        let (mut before, mut at) = (None, seq.previous());
        while at > Seq::ZERO {
            let Some(entry) = store.floor(Cf::Event, &[], &keys::seq(at))? else { break };
            let (last, batch) = decode(entry).map_err(&damage)?;
            if whole(last, last, batch.state) {
                before = self.at_seq(last)?;
                break;
            }
            at = last.previous();
        }
        let (mut after, mut at) = (None, seq.next());
        while let Some(entry) = store.ceiling(Cf::Event, &[], &keys::seq(at))? {
            let (last, batch) = decode(entry).map_err(&damage)?;
            match batch.state {
                StateThen::Whole => after = self.at_seq(batch.first_seq)?,
                StateThen::Kept => after = self.at_seq(last)?,
                StateThen::Thinned => {
                    at = last.next();
                    continue;
                }
            }
            break;
        }
        Ok(Some(Around { before, after }))
    }

    /// The moment that somebody gave that name; `None` where nobody did.
    ///
    /// # Errors
    /// `Index`.
    pub fn mark(&self, name: &MarkName) -> Result<Option<Moment>> {
        match landmarks::seq_of(&self.records, name)? {
            Some(seq) => self.at_seq(seq),
            None => Ok(None),
        }
    }

    /// The moments that have names, the oldest first.
    ///
    /// # Errors
    /// `Index`.
    pub fn marks(&self) -> Result<Vec<Named>> {
        landmarks::marks(&self.records)
    }

    /// The restores into the live tree, the oldest first.
    ///
    /// # Errors
    /// `Index`.
    pub fn restores(&self) -> Result<Vec<Restored>> {
        landmarks::restores(&self.records)
    }

    /// What is held, the oldest hold first.
    ///
    /// # Errors
    /// `Index`.
    pub fn holds(&self) -> Result<Vec<Holding>> {
        landmarks::holds(&self.records)
    }

    /// What was forgotten, the oldest first.
    ///
    /// # Errors
    /// `Index`.
    pub fn forgotten(&self) -> Result<Vec<Forgot>> {
        landmarks::forgotten(&self.records)
    }

    /// The paths that are held, with everything below them.
    ///
    /// # Errors
    /// `Index`.
    pub fn held_paths(&self) -> Result<Vec<Vec<u8>>> {
        landmarks::held_paths(&self.records)
    }

    /// The journal as of a `Seq`.
    pub fn view(&self, seq: Seq) -> View<'_> {
        self.records.view(seq)
    }

    /// The plain bytes of a block, checked against its id. Decoded packs and blocks are kept in a small cache,
    /// so that neighbours cost nothing: read in the order of [`Reader::locality`].
    ///
    /// # Errors
    /// `MissingBlock`, `DamagedBlock`, `Io`.
    pub fn block(&self, id: BlockId) -> Result<Block> {
        self.records.block(id)
    }

    /// The id that a block with these plain bytes has in this journal.
    pub fn id_of(&self, plain: &[u8]) -> BlockId {
        self.manifest.id_key.id(plain).short()
    }

    /// The journal as of a moment, with the gaps of the time that was asked for.
    pub fn view_at(&self, moment: &Moment) -> View<'_> {
        self.records.view(moment.seq).asked_for(moment.asked)
    }

    /// A key that sorts blocks by where they lie in the segments; `None` for a block that is not there.
    ///
    /// # Errors
    /// `Index`.
    pub fn locality(&self, id: BlockId) -> Result<Option<(u64, u64)>> {
        Ok(self.records.locate(id)?.map(|located| (located.frame.segment.0, located.frame.offset)))
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// How far the log goes.
    pub(crate) fn end(&self) -> crate::types::Position {
        self.applied.end
    }
}

/// What an index is made of, once the first one has turned out to be damaged.
struct Again {
    storage: Arc<dyn Storage>,
    layout: Layout,
    journal: uuid::Uuid,
    tail: Tail,
    dir: PathBuf,
}

impl Again {
    fn index(&self) -> Result<Db> {
        let set = SegmentSet::open(&*self.storage, &self.layout, self.journal)?;
        Ok(build_index(&set, &self.tail, &self.dir, &mut Vec::new())?.0)
    }
}

/// A temporary directory. Where the usual place is full, as the one of the journal may be, memory takes the little that
/// is written.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    let usual = std::env::temp_dir();
    let make = |dir: &Path| tempfile::Builder::new().prefix("asof-index-").tempdir_in(dir);
    match make(&usual) {
        Err(error) if crate::reserve::is_full(&error) => {
            make(Path::new(IN_MEMORY)).map_err(|_| Error::FullTemporary { path: usual })
        }
        made => made.context(&usual),
    }
}

/// The moment at which a `Seq` was committed.
pub(crate) fn moment_of(records: &Records, seq: Seq) -> Result<Option<Moment>> {
    if seq == Seq::ZERO {
        return Ok(None);
    }
    let Some((_, value)) = records.store.ceiling(Cf::Event, &[], &keys::seq(seq))? else {
        return Ok(None);
    };
    let batch = BatchAt::decode(&value).map_err(records.index_damage(Cf::Event))?;
    Ok((batch.first_seq <= seq).then_some(Moment {
        seq,
        instant: batch.wall,
        epoch: batch.epoch,
        asked: batch.wall,
    }))
}

fn clock_entry(reader: &Reader, entry: Option<(Vec<u8>, Vec<u8>)>) -> Result<Option<(Seq, Instant)>> {
    let damage = reader.records.index_damage(Cf::Clock);
    let decode = |(key, value): (Vec<u8>, Vec<u8>)| -> std::result::Result<_, Malformed> {
        Ok((keys::parse_seq(&value)?, keys::parse_clock(&key)?.1))
    };
    entry.map(decode).transpose().map_err(damage)
}

fn open_index(layout: &Layout, log_dir: &Path) -> std::result::Result<(Db, Applied), String> {
    if !layout.index().join("CURRENT").exists() {
        return Err("there is no index".into());
    }
    let db = Db::open_read_only(&layout.index(), log_dir).map_err(|error| error.to_string())?;
    match db.applied() {
        Ok(Some(applied)) => Ok((db, applied)),
        Ok(None) => Err("the index is empty".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// An index of this log, and what was met behind it on the way to the end, where everything was kept.
struct Usable {
    db: Db,
    applied: Applied,
    met: Option<Vec<Walked>>,
}

/// The index, where it is of this log, and where the log ends; else why it is of no use.
fn usable(
    layout: &Layout,
    index: std::result::Result<(Db, Applied), String>,
    set: &SegmentSet,
    report: &mut RecoveryReport,
) -> Result<std::result::Result<Usable, String>> {
    let (db, applied) = match index {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let mut last = None;
    // One that cannot be read is found out below.
    let _ = db.newest_events(&mut |value| {
        last = BatchAt::decode(value).ok();
        false
    });
    let met;
    (report.tail, met) = match last {
        Some(last) => recovery::find_tail_behind(set, &applied, last.frame)?,
        None => (recovery::find_tail(set, Some(&applied))?, None),
    };
    let standing = match recovery::standing(&db, &applied, set, &report.tail) {
        Ok(standing) => standing,
        Err(Error::Index { what, .. }) => return Ok(Err(what)),
        Err(error) => return Err(error),
    };
    Ok(match standing {
        Standing::Fits => match compact::is_backed(&db, set) {
            Ok(true) => Ok(Usable { db, applied, met }),
            Ok(false) => Err("it was made from segments that were compacted since".into()),
            Err(Error::Index { what, .. }) => Err(what),
            Err(error) => return Err(error),
        },
        Standing::Ahead(what) => {
            crate::open::ahead(layout, set, report, &applied, &what);
            Ok(Usable { db, applied, met: None })
        }
        Standing::Foreign(why) => Err(why),
    })
}

/// An index of one's own for a long log without one; a short log needs none.
fn temporary_index(
    set: &SegmentSet,
    report: &mut RecoveryReport,
    scratch: &Path,
) -> Result<(Option<Db>, Applied)> {
    let mut log = 0;
    for segment in set.segments.values() {
        log += segment.len()?;
    }
    if log <= OVERLAY_LOG_MAX {
        return Ok((None, Applied::default()));
    }
    let built = build_index(set, &report.tail, &scratch.join("index"), &mut report.damage);
    let (db, applied) = built.map_err(|error| match crate::storage::OsStorage.space(scratch) {
        Ok(space) if space.available < TEMPORARY_ROOM_MIN => {
            Error::FullTemporary { path: scratch.to_path_buf() }
        }
        _ => error,
    })?;
    Ok((Some(db), applied))
}

/// Builds an index at `dir` out of everything that the log holds.
pub(crate) fn build_index(
    set: &SegmentSet,
    tail: &Tail,
    dir: &Path,
    damage: &mut Vec<crate::segments::Damage>,
) -> Result<(Db, Applied)> {
    let mut builder = Builder::create(dir)?;
    let done = recovery::replay(set, tail, &Applied::default(), damage, &mut |entries| builder.add(entries))?;
    Ok((builder.finish()?, done.applied))
}

/// Overlays what the index does not have yet.
fn overlay(
    store: &Store,
    set: &SegmentSet,
    report: &mut RecoveryReport,
    from: Applied,
    met: Option<Vec<Walked>>,
) -> Result<Applied> {
    let (tail, mut damage, mut all) = (report.tail, Vec::new(), Vec::new());
    let mut collect = |entries: Vec<crate::index::Entry>| {
        all.extend(entries);
        Ok(())
    };
    let done = match met {
        Some(met) => recovery::replay_met(set, &tail, &from, met, &mut damage, &mut collect)?,
        None => recovery::replay(set, &tail, &from, &mut damage, &mut collect)?,
    };
    // All at once: sorting is cheaper than finding a place for each.
    store.overlay(all);
    report.replayed = done.batches;
    // What a temporary index was made of has been looked at.
    if report.rebuilt.is_none() || from == Applied::default() {
        report.damage.extend(damage);
    }
    Ok(done.applied)
}

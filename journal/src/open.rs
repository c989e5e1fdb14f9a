//! Opening a journal for writing: lock, recover, bring the index up to date, hand out the two halves of the writer.

use std::fs::{Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::append::{Appender, Limits, Mark, Start};
use crate::compact::{self, Compactor};
use crate::error::{Error, IoContext, Result};
use crate::format::segment::Predecessor;
use crate::head::Head;
use crate::index::db::Db;
use crate::index::keys::Applied;
use crate::index::store::Store;
use crate::manifest::Manifest;
use crate::reader::build_index;
use crate::records::Records;
use crate::recovery::{self, RecoveryReport, Standing, Tail};
use crate::segments::SegmentSet;
use crate::storage::{Layout, OsStorage, Storage};
use crate::types::{ClockReading, SegmentId};

/// A journal opened for writing.
pub struct Journal {
    /// The half that all threads share.
    pub head: Arc<Head>,
    /// The half that one thread owns.
    pub appender: Appender,
    /// What opening found and did.
    pub report: RecoveryReport,
    /// What takes away what is no longer kept; for a thread of its own.
    pub compactor: Compactor,
}

impl Journal {
    /// Opens the journal in a directory for writing; makes one where there is none.
    ///
    /// # Errors
    /// `Locked`, `Unsafe`, `Unsupported`, `Corrupt`, `Full`, `Io`, `Index`.
    pub fn open(dir: &Path, clock: &ClockReading, limits: Limits) -> Result<Journal> {
        Self::open_on(Arc::new(OsStorage), dir, clock, limits)
    }

    /// The same on another storage, for tests that fail, tear and reorder what is written.
    ///
    /// # Errors
    /// As for [`Journal::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        clock: &ClockReading,
        limits: Limits,
    ) -> Result<Journal> {
        Self::open_with(storage, &WriterLock::take(dir)?, clock, limits)
    }

    /// The same for somebody who has the lock, and may keep it for another time.
    ///
    /// # Errors
    /// As for [`Journal::open`], but for `Locked`; `Replaced` where the lock is not that of the directory any more.
    pub fn open_locked(lock: &WriterLock, clock: &ClockReading, limits: Limits) -> Result<Journal> {
        Self::open_with(Arc::new(OsStorage), lock, clock, limits)
    }

    pub(crate) fn open_with(
        storage: Arc<dyn Storage>,
        lock: &WriterLock,
        clock: &ClockReading,
        limits: Limits,
    ) -> Result<Journal> {
        let (lock, layout) = (lock.clone(), lock.layout.clone());
        lock.make_sure()?;
        let manifest = match Manifest::open(&*storage, &layout) {
            Err(Error::NoJournal { .. }) => Manifest::create(&*storage, &layout, clock)?,
            other => other?,
        };
        manifest.keep_copy(&*storage, &layout)?;
        storage.create_dir(&layout.segments()).context(layout.segments())?;
        crate::storage::create_private_dir(&layout.cookies()).context(layout.cookies())?;

        settle(&*storage, &layout)?;
        let set = SegmentSet::open(&*storage, &layout, manifest.uuid)?;
        let mut report = RecoveryReport { damage: manifest.damage.clone(), ..RecoveryReport::default() };
        let (db, from) = open_index(&layout, &set, &mut report)?;
        let applied = catch_up(&db, &set, &mut report, from)?;

        let left_open = left_open(&*storage, &layout)?;
        // A number that was given out is not given again, also where its file is gone.
        let given = set.greatest_id().max(left_open.iter().max().copied()).max(Some(report.tail.end.segment));
        let next_segment = SegmentId(given.map_or(1, |id| id.0 + 1));
        let records = Records::new(
            Store::new(Some(db)),
            storage.clone(),
            layout.clone(),
            manifest.id_key,
            set.misplaced(&layout),
        );
        let durable = Mark { seq: applied.last_seq, instant: applied.wall };
        let head = Arc::new(Head::new(records, manifest.id_key, applied.next_node, next_segment, durable));
        let compactor = Compactor::new(head.clone(), storage.clone(), layout.clone(), manifest.uuid);
        let appender = Appender::new(Start {
            storage,
            layout,
            journal: *manifest.uuid.as_bytes(),
            limits,
            head: head.clone(),
            applied,
            tail: Predecessor { end: report.tail.end, chain: report.tail.chain },
            left_open,
            lock,
        });
        Ok(Journal { head, appender, report, compactor })
    }
}

/// The right to write to a journal: one process has it at a time. Clones are the same lock, given back with the last.
#[derive(Clone, Debug)]
pub struct WriterLock {
    layout: Layout,
    /// The device and the inode of its file.
    place: (u64, u64),
    _file: Arc<std::fs::File>,
}

impl WriterLock {
    /// Takes the lock of the journal in a directory, which is made where there is none; the kernel gives it back when
    /// the process ends, however it ends.
    ///
    /// # Errors
    /// `Locked`, `Unsafe`, `Full`, `Io`.
    pub fn take(dir: &Path) -> Result<WriterLock> {
        let layout = Layout::new(dir);
        crate::storage::create_private_dir(dir).context(dir)?;
        crate::private::make_sure(&layout)?;
        let file = lock_writer(&layout)?;
        let place = place_of(&file.metadata().context(layout.lock())?);
        Ok(WriterLock { layout, place, _file: Arc::new(file) })
    }

    /// Makes sure that its path still leads to the journal that was locked: to another one, whatever is made by path would do harm.
    /// Where nobody can say, it does.
    ///
    /// # Errors
    /// `Replaced`.
    pub fn make_sure(&self) -> Result<()> {
        let is_replaced = match std::fs::metadata(self.layout.lock()) {
            Ok(there) => place_of(&there) != self.place,
            Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        match is_replaced {
            true => Err(Error::Replaced { path: self.layout.dir().to_path_buf() }),
            false => Ok(()),
        }
    }
}

/// What tells a file from all others, whatever it is called.
fn place_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn lock_writer(layout: &Layout) -> Result<std::fs::File> {
    let path = layout.lock();
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).context(&path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: layout.dir().to_path_buf() }),
        Err(error) => Err(error).context(&path),
    }
}

/// Makes everything durable that this writer is going to rely on. A killed writer leaves batches that are read, and that
/// no power cut was asked to spare: what is taken for the log is attested as durable by the next segment, and a `sync`
/// answers for it.
fn settle(storage: &dyn Storage, layout: &Layout) -> Result<()> {
    let dir = layout.segments();
    let names = storage.list(&dir).context(&dir)?;
    let segments =
        || names.iter().filter_map(|name| Layout::parse_segment(name).map(|parsed| (parsed, name)));
    let newest = segments().map(|((id, _), _)| id).max();
    // One with its final name was synced before it got it, or its successor says where it ends.
    for (_, name) in segments().filter(|((id, open), _)| *open || Some(*id) == newest) {
        let path = dir.join(name);
        storage.settle(&path).context(&path)?;
    }
    for manifest in [layout.manifest(), layout.manifest_copy()] {
        match storage.settle(&manifest) {
            // One that is missing was reported.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.context(&manifest)?,
        }
    }
    for dir in [&dir, layout.dir()] {
        storage.sync_dir(dir).context(dir)?;
    }
    Ok(())
}

/// The index, or a new one where it is missing, damaged, or of another log; and where the log ends.
fn open_index(layout: &Layout, set: &SegmentSet, report: &mut RecoveryReport) -> Result<(Db, Applied)> {
    let path = layout.index();
    let why = if path.join("CURRENT").exists() {
        match Db::open(&path).and_then(|db| db.applied().map(|applied| (db, applied))) {
            Ok((db, Some(applied))) => {
                report.tail = recovery::find_tail(set, Some(&applied))?;
                match recovery::standing(&db, &applied, set, &report.tail)? {
                    Standing::Fits if compact::catch_up(&db, &applied, set)? => return Ok((db, applied)),
                    Standing::Fits => "it was made from segments that were compacted since".to_string(),
                    Standing::Ahead(what) => {
                        ahead(layout, set, report, &applied, &what);
                        return Ok((db, applied));
                    }
                    Standing::Foreign(why) => why,
                }
            }
            // Nothing was ever flushed: everything is replayed.
            Ok((db, None)) => {
                report.tail = recovery::find_tail(set, None)?;
                return Ok((db, Applied::default()));
            }
            Err(error) => error.to_string(),
        }
    } else if set.segments.is_empty() {
        return Ok((Db::open(&path)?, Applied::default()));
    } else {
        "there was none".to_string()
    };
    report.tail = recovery::find_tail(set, None)?;
    report.rebuilt = Some(why);
    let applied = rebuild(layout, set, report)?;
    Ok((Db::open(&path)?, applied))
}

/// The end of the log is gone, as an index of it tells: what comes next goes on where that was.
pub(crate) fn ahead(
    layout: &Layout,
    set: &SegmentSet,
    report: &mut RecoveryReport,
    applied: &Applied,
    what: &str,
) {
    report.damage.extend(recovery::end_is_gone(set, layout, applied, what));
    report.tail = Tail {
        end: applied.end,
        chain: applied.chain,
        last_seq: report.tail.last_seq.max(applied.last_seq),
        ..report.tail
    };
}

/// Makes the index anew out of the segments.
pub(crate) fn rebuild(layout: &Layout, set: &SegmentSet, report: &mut RecoveryReport) -> Result<Applied> {
    let path = layout.index();
    // The old one goes only when the new one is whole: what looks like damage may have been a full disk.
    let (new, old) = (layout.new_index(), layout.old_index());
    remove_dir(&new)?;
    let (db, applied) = build_index(set, &report.tail, &new, &mut report.damage)?;
    drop(db);
    remove_dir(&old)?;
    match std::fs::rename(&path, &old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context(&path),
        _ => {}
    }
    std::fs::rename(&new, &path).context(&path)?;
    remove_dir(&old)?;
    Ok(applied)
}

fn remove_dir(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(dir),
        _ => Ok(()),
    }
}

/// Brings the index up to the end of the log.
fn catch_up(db: &Db, set: &SegmentSet, report: &mut RecoveryReport, from: Applied) -> Result<Applied> {
    let (tail, mut damage) = (report.tail, Vec::new());
    let done = recovery::replay(set, &tail, &from, &mut damage, &mut |entries| db.write(&entries))?;
    report.replayed = done.batches;
    if report.rebuilt.is_none() {
        report.damage.extend(damage);
    }
    Ok(done.applied)
}

/// Segments that carry the name of an open one: left by a writer that did not get to seal them.
fn left_open(storage: &dyn Storage, layout: &Layout) -> Result<Vec<SegmentId>> {
    let dir = layout.segments();
    let names = storage.list(&dir).context(&dir)?;
    Ok(names
        .iter()
        .filter_map(|name| Layout::parse_segment(name))
        .filter(|(_, open)| *open)
        .map(|(id, _)| id)
        .collect())
}

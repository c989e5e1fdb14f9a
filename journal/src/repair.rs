//! Mends what can be mended of a damaged journal, and notes what cannot.
//!
//! No committed byte is changed and nothing is cut away. What is taken again is appended as any other content; a later
//! copy of a block counts before an earlier one, in the index and in every rebuild. What stays damaged is noted in the
//! log itself, so that a later look can tell what is new.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use crate::append::{ContentFrame, Limits};
use crate::content::Source;
use crate::content::codec::Codec;
use crate::content::hash::IdKey;
use crate::error::Result;
use crate::format::frame::Encoding;
use crate::head::{Sink, Submission};
use crate::ingest::{self, IngestError};
use crate::manifest::Manifest;
use crate::open::{self, Journal, WriterLock};
use crate::recovery::{self, RecoveryReport, Tail};
use crate::segments::SegmentSet;
use crate::storage::{Layout, OsStorage};
use crate::types::{BlockId, ClockReading, FullId, Group, Loss, Lost, NodeId, Op, Seq};
use crate::verify::{self, IndexState, Options, Pace, Verification};
use crate::view::VersionAt;

/// What is taken again is committed when it holds this much.
const COMMIT_BYTES: usize = 4 << 20;
/// Losses in one group; more go into further groups.
const LOSSES_OF_A_GROUP: usize = 1024;

/// Gives a live file as a source, with its size; `None` where there is no regular file at the path.
pub type Live<'l> = &'l mut dyn FnMut(&[u8]) -> std::io::Result<Option<(u64, Box<dyn Source>)>>;

/// What was done.
pub struct Repaired {
    /// What was found before.
    pub found: Verification,
    /// How it is now; nothing was read again that was found bad before.
    pub left: Verification,
    /// Why the index was made anew, where it was.
    pub index: Option<String>,
    /// Blocks that were taken again from live files.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Places and ranges that are noted as damaged from now on.
    pub noted: u64,
}

/// Checks every byte of a journal and mends it. `clock` is read before each commit.
///
/// # Errors
/// `Locked` where an agent writes; else as for [`verify::verify`] and for opening a journal.
pub fn repair(
    dir: &Path,
    options: &Options,
    clock: &dyn Fn() -> ClockReading,
    live: Live<'_>,
    pace: Pace<'_>,
) -> Result<Repaired> {
    let layout = Layout::new(dir);
    Manifest::open(&layout)?;
    let lock = WriterLock::take(dir)?;
    let found = verify::verify(dir, &Options { deep: true, ..options.clone() }, pace)?;
    Manifest::open(&layout)?.mend()?;
    // One that knows of more than is there first tells the log so, by where that goes on.
    let is_ahead = matches!(found.index, IndexState::Ahead(_));
    let mut index = None;
    if !is_ahead {
        index = mend_index(&layout, &found)?;
    }
    let key = Manifest::open(&layout)?.id_key;
    let storage = Arc::new(OsStorage);
    let journal = Journal::open_with(storage, &lock, &clock(), Limits::default())?;
    let mut bench = Bench::new(journal, key, clock);
    bench.take_again(&found, live)?;
    bench.note_losses(&found)?;
    let Bench { blocks, bytes, noted, journal, .. } = bench;
    journal.head.connect(None);
    journal.appender.close(&clock())?;
    drop(journal.head);
    if is_ahead {
        index = mend_index(&layout, &found)?;
    }
    let again = Options { deep: false, threads: options.threads, known_bad: found.bad().clone() };
    let left = verify::verify(dir, &again, pace)?;
    drop(lock);
    Ok(Repaired { found, left, index, blocks, bytes, noted })
}

/// Makes the index anew where it says something else than the log.
fn mend_index(layout: &Layout, found: &Verification) -> Result<Option<String>> {
    let why = match &found.index {
        IndexState::Sound { .. } => return Ok(None),
        IndexState::Missing => "there was none".to_string(),
        IndexState::Unusable(why) | IndexState::Ahead(why) => why.clone(),
        IndexState::Differs(differences) => differences.first.clone(),
    };
    let manifest = Manifest::open(layout)?;
    let set = SegmentSet::open(&OsStorage, layout, manifest.uuid)?;
    if set.segments.is_empty() {
        return Ok(None);
    }
    let tail = recovery::find_tail(&set, None)?;
    let last_seq = tail.last_seq.max(found.reader().report().tail.last_seq);
    let mut report = RecoveryReport { tail: Tail { last_seq, ..tail }, ..RecoveryReport::default() };
    open::rebuild(layout, &set, &mut report)?;
    Ok(Some(why))
}

/// A journal opened for mending, on one thread.
struct Bench<'c> {
    journal: Journal,
    submitted: mpsc::Receiver<Submission>,
    key: IdKey,
    clock: &'c dyn Fn() -> ClockReading,
    codec: Codec,
    frames: Vec<ContentFrame>,
    staged: usize,
    blocks: u64,
    bytes: u64,
    noted: u64,
}

impl<'c> Bench<'c> {
    fn new(journal: Journal, key: IdKey, clock: &'c dyn Fn() -> ClockReading) -> Bench<'c> {
        let (sender, submitted) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Box::new(move |submission| {
            sender.lock().unwrap_or_else(PoisonError::into_inner).send(submission).map_err(|_| ())
        });
        journal.head.connect(Some(sink));
        Bench {
            journal,
            submitted,
            key,
            clock,
            codec: Codec::default(),
            frames: Vec::new(),
            staged: 0,
            blocks: 0,
            bytes: 0,
            noted: 0,
        }
    }

    fn submit(&mut self, groups: Vec<Group>) -> Result<()> {
        self.staged = 0;
        let frames = std::mem::take(&mut self.frames);
        if frames.is_empty() && groups.is_empty() {
            return Ok(());
        }
        self.journal.head.submit_with(frames, groups)?;
        while let Ok(submission) = self.submitted.try_recv() {
            self.journal.appender.stage(submission);
        }
        self.journal.appender.commit(&(self.clock)(), None)?;
        Ok(())
    }

    /// Takes blocks that cannot be read from the files that hold them still: those of which the newest version needs one
    /// and that have its size. What is taken is what the id stands for, whatever else is in the file by now.
    fn take_again(&mut self, found: &Verification, live: Live<'_>) -> Result<()> {
        let mut wanted: HashSet<BlockId> = found.unreadable().map(|(id, _)| *id).collect();
        let mut files: BTreeMap<Vec<u8>, NodeId> = BTreeMap::new();
        let missing = found.affected_and_missing(&mut |affected| {
            if affected.until.is_none() {
                files.insert(affected.path, affected.node);
            }
            true
        })?;
        wanted.extend(missing);
        let mut window = Vec::new();
        for (path, node) in files {
            if wanted.is_empty() {
                break;
            }
            let Some(VersionAt { version, .. }) = found.reader().view(Seq::MAX).version(node)? else {
                continue;
            };
            // One file that cannot be opened or read costs itself only.
            let Ok(Some((size, mut source))) = live(&path) else { continue };
            if size != version.meta.size {
                continue;
            }
            let mut failed = None;
            let read = ingest::cut(&mut window, &mut *source, &mut |_, plain| {
                let full = self.key.id(plain);
                let id = full.short();
                if wanted.remove(&id)
                    && let Err(error) = self.keep(full, plain)
                {
                    failed = Some(error);
                }
                Ok(id)
            });
            if let Some(error) = failed {
                return Err(error);
            }
            match read {
                Ok(_) | Err(IngestError::Source(_)) => {}
                Err(IngestError::Journal(error)) => return Err(error),
            }
        }
        self.submit(Vec::new())
    }

    fn keep(&mut self, full: FullId, plain: &[u8]) -> Result<()> {
        let (encoding, payload) = self.codec.encode(plain)?;
        let (payload, members) = (payload.to_vec(), vec![(full, plain.len() as u32)]);
        self.staged += payload.len();
        self.blocks += 1;
        self.bytes += plain.len() as u64;
        debug_assert_ne!(encoding, Encoding::Delta, "it stands for itself");
        self.frames.push(ContentFrame { pack: false, encoding, base: None, members, payload });
        if self.staged >= COMMIT_BYTES { self.submit(Vec::new()) } else { Ok(()) }
    }

    /// Notes what is damaged or lost and was not known.
    fn note_losses(&mut self, found: &Verification) -> Result<()> {
        let noted = (self.clock)().wall;
        let mut ops = Vec::new();
        for place in found.places.iter().filter(|place| place.known.is_none()) {
            let damage = &place.damage;
            // The manifest has been written again, and has no place in the log.
            if damage.at.segment.0 == 0 {
                continue;
            }
            let lost = Lost::Bytes { at: damage.at, len: damage.len };
            ops.push(Op::Loss(Loss { lost, noted, what: damage.what.clone() }));
        }
        for lost in found.lost.iter().filter(|lost| lost.known.is_none()) {
            let lost = Lost::Groups { first: lost.first, last: lost.last };
            ops.push(Op::Loss(Loss { lost, noted, what: String::new() }));
        }
        self.noted += ops.len() as u64;
        while !ops.is_empty() {
            let later = ops.split_off(ops.len().min(LOSSES_OF_A_GROUP));
            let group = Group { ops: std::mem::replace(&mut ops, later), ..Group::default() };
            self.submit(vec![group])?;
        }
        Ok(())
    }
}

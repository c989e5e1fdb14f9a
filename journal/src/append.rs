//! The single writer: stages what is submitted, commits it as batches, seals segments, keeps the index behind it.
//!
//! A failed write or fsync is never retried on the same file: the kernel has marked the pages clean. The segment is
//! given up, and what was not durable is written again into a new one.

mod room;

use std::sync::Arc;

use crate::blocks::pack_table;
use crate::content::codec::Codec;
use crate::error::{Error, IoContext, Result};
use crate::format::batch::{Batch, BlockFrame};
use crate::format::frame::{self, Chain, Encoding, FrameType, HEADER_LEN};
use crate::format::segment::{Footer, Predecessor, SegmentHeader, encode_trailer};
use crate::head::{Head, Submission};
use crate::index::Entry;
use crate::index::apply::{self, BatchPlace};
use crate::index::keys::Applied;
use crate::open::WriterLock;
use crate::reserve::Reserve;
use crate::storage::{AppendFile, Layout, Storage};
use crate::types::{BlockId, ClockReading, FullId, Instant, MarkCause, Op, Position, SegmentId, Seq};

/// A batch shorter than this is not worth compressing.
const COMPRESS_MIN: usize = 128;
/// The index is put on disk after this many bytes of operations, and when a segment is sealed.
const INDEX_FLUSH_BYTES: u64 = 4 << 20;
/// When things have come to rest, fewer will do: what is not on disk, every reader has to replay.
const INDEX_FLUSH_AT_REST_BYTES: u64 = 256 << 10;

/// What RocksDB may need for a flush beside the bytes that are flushed.
const INDEX_FLUSH_ROOM: u64 = 1 << 20;

/// When a segment is sealed and a new one begun.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a segment; default 64 MiB.
    pub segment_bytes_max: u64,
    /// Age of a segment, in ns of the boot clock; default 15 minutes.
    pub segment_age_ns_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { segment_bytes_max: 64 << 20, segment_age_ns_max: 15 * 60 * 1_000_000_000 }
    }
}

/// Content on its way into a frame.
#[derive(Clone, Debug)]
pub struct ContentFrame {
    /// Whether it is a pack.
    pub pack: bool,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// The base, where it is a delta, and how many deltas lie below.
    pub base: Option<(BlockId, u8)>,
    /// The blocks with their plain lengths.
    pub members: Vec<(FullId, u32)>,
    /// The encoded blocks.
    pub payload: Vec<u8>,
}

impl ContentFrame {
    fn body(&self) -> Vec<u8> {
        match (self.pack, self.members.first()) {
            (false, Some((id, _))) => [&id.0[..], &self.payload].concat(),
            _ => [pack_table(&self.members), self.payload.clone()].concat(),
        }
    }

    fn raw_len(&self) -> u32 {
        self.members.iter().map(|(_, len)| len).sum()
    }
}

/// The segment that is being written to.
struct OpenSegment {
    id: SegmentId,
    path: std::path::PathBuf,
    file: Box<dyn AppendFile>,
    /// Where it was the reserve: how long it may become. It is sealed when there is room again, and not before.
    reserved: Option<u64>,
    salt: u32,
    opened_ns: u64,
    end: u64,
    chain: Chain,
    hasher: blake3::Hasher,
    frames: Vec<(u8, u64)>,
    ops: u64,
    seqs: Option<(Seq, Seq)>,
    walls: Option<(Instant, Instant)>,
}

/// What has been submitted and is not durable yet.
#[derive(Default)]
struct Staged {
    frames: Vec<ContentFrame>,
    groups: Vec<crate::types::Group>,
    entries: Vec<Entry>,
    bytes: usize,
    /// Whether it begins a new segment.
    begins_segment: bool,
}

/// A place that was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The last `Seq`.
    pub seq: Seq,
    /// The wall clock of the batch that committed it.
    pub instant: Instant,
}

/// The single writer of a journal.
pub struct Appender {
    storage: Arc<dyn Storage>,
    layout: Layout,
    journal: [u8; 16],
    limits: Limits,
    head: Arc<Head>,
    applied: Applied,
    /// The end of the log when no segment is open.
    tail: Predecessor,
    /// Files that still carry the name of an open segment although nothing is appended to them any more.
    left_open: Vec<SegmentId>,
    segment: Option<OpenSegment>,
    durable: Position,
    staged: Staged,
    codec: Codec,
    unflushed: u64,
    reserve: Reserve,
    /// There was no room for a commit, and nobody has found any since.
    is_short: bool,
    /// Held until the writer is dropped.
    lock: WriterLock,
}

/// Where a writer begins.
pub(crate) struct Start {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) layout: Layout,
    pub(crate) journal: [u8; 16],
    pub(crate) limits: Limits,
    pub(crate) head: Arc<Head>,
    pub(crate) applied: Applied,
    pub(crate) tail: Predecessor,
    pub(crate) left_open: Vec<SegmentId>,
    pub(crate) lock: WriterLock,
}

impl Appender {
    pub(crate) fn new(start: Start) -> Appender {
        Appender {
            reserve: Reserve::open(start.storage.clone(), start.layout.clone()),
            is_short: false,
            storage: start.storage,
            layout: start.layout,
            journal: start.journal,
            limits: start.limits,
            head: start.head,
            applied: start.applied,
            tail: start.tail,
            left_open: start.left_open,
            segment: None,
            durable: start.tail.end,
            staged: Staged::default(),
            codec: Codec::default(),
            unflushed: 0,
            lock: start.lock,
        }
    }

    /// Takes over what was submitted; nothing is written yet.
    pub fn stage(&mut self, submission: Submission) {
        let frames: usize = submission.frames.iter().map(|frame| frame.payload.len()).sum();
        let ops: usize = submission.entries.iter().map(|entry| entry.value.len() + 32).sum();
        self.staged.bytes += frames + ops;
        self.staged.frames.extend(submission.frames);
        self.staged.groups.extend(submission.groups);
        self.staged.entries.extend(submission.entries);
        self.staged.begins_segment |= submission.begins_segment;
    }

    /// The clock of the last commit.
    pub(crate) fn last_clock(&self) -> ClockReading {
        let Applied { wall, boottime_ns, boot_id, .. } = self.applied;
        ClockReading { wall, boottime_ns, boot_id }
    }

    /// Roughly how many bytes the next commit would write.
    pub fn staged_bytes(&self) -> usize {
        self.staged.bytes
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.staged.groups.is_empty() && self.staged.frames.is_empty()
    }

    /// Writes what is staged as one batch and makes it durable. What it says afterwards survives a power cut.
    ///
    /// On failure everything stays staged, and the segment is given up; a later call begins a new one.
    ///
    /// # Errors
    /// `Full`, `Io`, `Replaced`. An `Index` error is no reason to fail: the index is derived, and is given up instead.
    pub fn commit(
        &mut self,
        clock: &ClockReading,
        complete_through: Option<Instant>,
    ) -> Result<Option<Mark>> {
        if self.is_empty() {
            return Ok(None);
        }
        self.lock.make_sure()?;
        if std::mem::take(&mut self.staged.begins_segment) {
            // One that lies in the reserve has no other to follow it.
            match self.segment.take() {
                Some(segment) if segment.reserved.is_none() => self.seal(segment),
                other => self.segment = other,
            }
        }
        let begun = self.segment.is_some();
        let committed = match self.try_commit(clock, complete_through) {
            Err(Error::Full { .. }) if self.runs_short() => self.try_commit(clock, complete_through),
            // On a full medium a new segment would fail too.
            Err(error) if begun && !matches!(error, Error::Full { .. }) => {
                self.try_commit(clock, complete_through)
            }
            other => other,
        };
        committed.map(Some)
    }

    fn try_commit(&mut self, clock: &ClockReading, complete_through: Option<Instant>) -> Result<Mark> {
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.begin_segment(clock)?,
        };
        let (epoch, wall) = apply::next_clock(&self.applied, clock.wall, clock.boottime_ns, clock.boot_id);
        let mut bytes = Vec::with_capacity(self.staged.bytes + 4096);
        let chain_start = segment.chain;
        let mut chain = chain_start;
        let mut table: Vec<(u8, u64)> = Vec::new();
        let mut blocks = Vec::with_capacity(self.staged.frames.len());
        for content in &self.staged.frames {
            let offset = segment.end + bytes.len() as u64;
            let frame_type = if content.pack { FrameType::Pack } else { FrameType::Block };
            let body = content.body();
            let header = frame::append(
                &mut bytes,
                frame_type,
                content.encoding,
                content.raw_len(),
                &body,
                segment.salt,
            );
            chain = chain.after(&header);
            table.push((frame_type as u8, segment.end + bytes.len() as u64 - offset));
            blocks.push(BlockFrame {
                offset,
                stored_len: body.len() as u32,
                encoding: content.encoding,
                base: content.base,
                pack: content.pack,
                members: content.members.iter().map(|(id, len)| (id.short(), *len)).collect(),
            });
        }
        let batch = Batch {
            first_seq: self.applied.last_seq.next(),
            clock: ClockReading { wall, ..*clock },
            epoch,
            complete_through,
            durable: self.durable,
            chain_start,
            chain_before: chain,
            next_node: self.head.next_node(),
            blocks,
            groups: std::mem::take(&mut self.staged.groups),
            left: None,
        };
        let frame_offset = segment.end + bytes.len() as u64;
        let header = match self.append_batch(&mut bytes, &batch, segment.salt) {
            Ok(header) => header,
            Err(error) => {
                self.staged.groups = batch.groups;
                self.segment = Some(segment);
                return Err(error);
            }
        };
        let chain = chain.after(&header);
        table.push((FrameType::Batch as u8, segment.end + bytes.len() as u64 - frame_offset));
        if segment.reserved.is_some_and(|most| segment.end + bytes.len() as u64 > most) {
            // What is smaller still has its place there.
            self.staged.groups = batch.groups;
            let path = segment.path.clone();
            self.segment = Some(segment);
            return Err(Error::Full { path });
        }

        let written = segment.file.append(&bytes).context(&segment.path);
        if written.is_ok() {
            self.head.publish_written(Mark { seq: batch.last_seq(), instant: wall });
        }
        if let Err(error) = written.and_then(|()| segment.file.sync().context(&segment.path)) {
            self.staged.groups = batch.groups;
            self.give_up(segment);
            return Err(error);
        }
        segment.hasher.update(&bytes);
        segment.end += bytes.len() as u64;
        segment.chain = chain;
        segment.frames.extend(table);
        segment.ops += batch.groups.iter().map(|group| group.ops.len() as u64).sum::<u64>();
        segment.seqs = Some((segment.seqs.map_or(batch.first_seq, |seqs| seqs.0), batch.last_seq()));
        segment.walls = Some((segment.walls.map_or(wall, |walls| walls.0), wall));
        let at = |offset| Position { segment: segment.id, offset };
        let place = BatchPlace { frame: at(frame_offset), end: at(segment.end), salt: segment.salt, chain };
        self.durable = place.end;
        self.tail = Predecessor { end: place.end, chain };
        let mark = Mark { seq: batch.last_seq(), instant: wall };
        let staged = std::mem::take(&mut self.staged);
        self.index(&batch, &place, staged);
        self.head.publish_durable(mark);
        self.flush_index_if_worth_it(&batch);

        let full = segment.end >= self.limits.segment_bytes_max;
        let old = clock.boottime_ns.saturating_sub(segment.opened_ns) >= self.limits.segment_age_ns_max;
        if (full || old) && segment.reserved.is_none() {
            self.seal(segment);
        } else {
            self.segment = Some(segment);
        }
        Ok(mark)
    }

    /// Ends a segment after a failure: nothing is ever written to it again. What lies behind its last durable batch is
    /// void, and on a full medium the space is needed.
    fn give_up(&mut self, segment: OpenSegment) {
        if segment.seqs.is_none() && segment.frames.is_empty() {
            let _ = self.storage.remove(&segment.path);
        } else {
            let _ = self.storage.truncate(&segment.path, segment.end);
            self.left_open.push(segment.id);
        }
    }

    fn append_batch(&mut self, bytes: &mut Vec<u8>, batch: &Batch, salt: u32) -> Result<[u8; HEADER_LEN]> {
        let plain = batch.encode();
        // Nobody could read it again. Whoever submits commits long before this; it is said aloud instead of lost.
        if plain.len() > frame::BODY_MAX as usize {
            let what = format!("a batch of {} bytes, {} at most", plain.len(), frame::BODY_MAX);
            return Err(Error::Codec { what });
        }
        let (encoding, body) = match plain.len() {
            len if len < COMPRESS_MIN => (Encoding::Raw, plain.as_slice()),
            _ => self.codec.encode(&plain)?,
        };
        Ok(frame::append(bytes, FrameType::Batch, encoding, plain.len() as u32, body, salt))
    }

    /// Brings the index up to the batch. Only what is durable gets here: the index can be behind, never ahead.
    fn index(&mut self, batch: &Batch, place: &BatchPlace, staged: Staged) {
        let mut placed = Vec::with_capacity(batch.blocks.len() + 4);
        apply::places(batch, place, &mut placed);
        self.applied = apply::advance(&self.applied, batch, place);
        placed.push(Entry {
            cf: crate::index::Cf::Meta,
            key: crate::index::keys::APPLIED.to_vec(),
            value: self.applied.encode(),
        });
        self.head.index(&staged.entries, placed);
        self.unflushed +=
            staged.bytes as u64 - staged.frames.iter().map(|f| f.payload.len() as u64).sum::<u64>();
    }

    fn flush_index_if_worth_it(&mut self, batch: &Batch) {
        let rests = |op: &Op| matches!(op, Op::Mark(mark) if mark.cause != MarkCause::Sync);
        let at_rest = batch.groups.iter().flat_map(|group| &group.ops).any(rests);
        let enough = if at_rest { INDEX_FLUSH_AT_REST_BYTES } else { INDEX_FLUSH_BYTES };
        if self.unflushed >= enough {
            self.flush_index();
        }
    }

    fn flush_index(&mut self) {
        // Without room it would fail, and RocksDB take no more afterwards. Meanwhile nothing is captured, so that what
        // is not on disk does not grow.
        if !self.is_short && self.reserve.leaves(self.unflushed + INDEX_FLUSH_ROOM) {
            self.unflushed = 0;
            self.head.flush_index();
        }
    }

    /// Begins a segment: synced with its directory before the first record.
    fn begin_segment(&mut self, clock: &ClockReading) -> Result<OpenSegment> {
        let id = self.head.new_segment();
        let mut salt = [0; 4];
        getrandom::fill(&mut salt).map_err(std::io::Error::from).context("/dev/urandom")?;
        let header = SegmentHeader {
            journal: self.journal,
            id,
            salt: u32::from_le_bytes(salt),
            created: clock.wall,
            first_seq: self.applied.last_seq.next(),
            compacted: None,
            supersedes: Vec::new(),
            predecessor: (self.tail.end.segment != SegmentId(0)).then_some(self.tail),
            durable: self.durable,
        };
        let bytes = header.encode();
        let path = self.layout.open_segment(id);
        let (mut file, reserved) = self.new_file(&path)?;
        let begun = file.append(&bytes).and_then(|()| file.sync()).context(&path);
        let dir = self.layout.segments();
        if let Err(error) = begun.and_then(|()| self.storage.sync_dir(&dir).context(&dir)) {
            // It holds no record, so nothing is lost with it, and a full disk does not fill with empty segments.
            let _ = self.storage.remove(&path);
            return Err(error);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        for id in std::mem::take(&mut self.left_open) {
            self.retire(id);
        }
        Ok(OpenSegment {
            id,
            path,
            file,
            reserved,
            salt: header.salt,
            opened_ns: clock.boottime_ns,
            end: bytes.len() as u64,
            chain: header.predecessor.map(|p| p.chain).unwrap_or_default(),
            hasher,
            frames: Vec::new(),
            ops: 0,
            seqs: None,
            walls: None,
        })
    }

    /// Gives a segment that is no longer appended to its final name. Its successor says where it ends.
    fn retire(&self, id: SegmentId) {
        let (from, to) = (self.layout.open_segment(id), self.layout.segment(id));
        // A segment under its old name is read all the same, so a failure here costs nothing but beauty.
        let _ = self.storage.rename(&from, &to);
        let _ = self.storage.make_read_only(&to);
    }

    /// Ends a segment: footer, sync, name, directory. On failure it stays without a footer, which readers can do without.
    fn seal(&mut self, mut segment: OpenSegment) {
        let footer = Footer {
            frames: std::mem::take(&mut segment.frames),
            seqs: segment.seqs,
            walls: segment.walls,
            ops: segment.ops,
            chain: segment.chain,
            hash: *segment.hasher.finalize().as_bytes(),
        };
        let plain = footer.encode();
        let mut bytes = Vec::new();
        if let Ok((encoding, body)) = self.codec.encode(&plain) {
            frame::append(&mut bytes, FrameType::Footer, encoding, plain.len() as u32, body, segment.salt);
            bytes.extend_from_slice(&encode_trailer(segment.end));
            let sealed = segment.file.append(&bytes).and_then(|()| segment.file.sync());
            if segment.reserved.is_some() {
                let footer = if sealed.is_ok() { bytes.len() as u64 } else { 0 };
                let _ = self.storage.truncate(&segment.path, segment.end + footer);
            }
            if sealed.is_ok() {
                self.retire(segment.id);
                let _ = self.storage.sync_dir(&self.layout.segments());
            } else {
                self.left_open.push(segment.id);
            }
        }
        self.flush_index();
        if !self.is_short && !self.reserve.is_held() {
            self.reserve.make();
        }
    }

    /// Commits, seals the open segment and puts the index on disk: the end in good order.
    ///
    /// # Errors
    /// As for [`Appender::commit`].
    pub fn close(mut self, clock: &ClockReading) -> Result<()> {
        self.lock.make_sure()?;
        self.commit(clock, None)?;
        if let Some(segment) = self.segment.take() {
            self.seal(segment);
        }
        self.flush_index();
        Ok(())
    }

    /// The newest place that survives a power cut.
    pub fn durable(&self) -> Mark {
        Mark { seq: self.applied.last_seq, instant: self.applied.wall }
    }

    /// How far the log has come.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }
}

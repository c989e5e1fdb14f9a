//! A compacted segment: the blocks that stay, decoded and checked, and the commits of which something is left.
//!
//! It gets its name when it is whole and durable, and not before: what a crash leaves has a name that nobody reads.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::decide::{Decided, Refusal};
use super::live::Ids;
use crate::blocks::{Locate, pack_table};
use crate::content::codec::Codec;
use crate::error::{Error, IoContext, Result};
use crate::format::batch::{Batch, BlockFrame, encode_left};
use crate::format::frame::{self, Chain, Encoding, FrameType};
use crate::format::segment::{Compacted, Footer, SegmentHeader, encode_trailer};
use crate::records::Records;
use crate::segments::{Damage, SegmentFile};
use crate::storage::{AppendFile, Layout, Storage};
use crate::types::{BlockId, FullId, Instant, Position, SegmentId};

/// A pack holds this much.
const PACK_BYTES: usize = 256 << 10;
/// Longer blocks get frames of their own.
const PACKED_MAX: usize = 96 << 10;
/// What is written at once.
const WRITE_BYTES: usize = 1 << 20;
/// What is left of so many commits, or so many groups, shares a frame.
const COMMITS_A_FRAME: usize = 512;
const GROUPS_A_FRAME: usize = 4096;

/// What is to be written.
pub(super) struct Target<'t> {
    pub storage: &'t dyn Storage,
    pub layout: &'t Layout,
    pub journal: [u8; 16],
    pub id: SegmentId,
    pub created: Instant,
    pub stands_for: Compacted,
}

/// What was written.
pub(super) struct Written {
    pub id: SegmentId,
    pub bytes: u64,
    pub blocks_gone: u64,
    pub rebased: u64,
}

struct Writer<'w> {
    target: &'w Target<'w>,
    records: &'w Records,
    path: PathBuf,
    file: Box<dyn AppendFile>,
    salt: u32,
    out: Vec<u8>,
    /// Where `out` begins.
    at: u64,
    chain: Chain,
    hasher: blake3::Hasher,
    table: Vec<(u8, u64)>,
    codec: Codec,
    blocks: Vec<BlockFrame>,
    pack: Vec<u8>,
    pack_members: Vec<(FullId, u32)>,
    depths: HashMap<BlockId, u8>,
    rebased: u64,
}

/// Writes the segment that takes the place of a run. A block that cannot be copied is `Damaged`, in the segment where it lies.
pub(super) fn write(
    records: &Records,
    target: &Target<'_>,
    run: &[Arc<SegmentFile>],
    decided: &Decided,
    ids: &Ids,
) -> std::result::Result<Written, Refusal> {
    let path = target.layout.new_segment(target.id);
    let written = write_file(records, target, &path, run, decided, ids);
    if written.is_err() {
        let _ = target.storage.remove(&path);
    }
    written
}

fn write_file(
    records: &Records,
    target: &Target<'_>,
    path: &std::path::Path,
    run: &[Arc<SegmentFile>],
    decided: &Decided,
    ids: &Ids,
) -> std::result::Result<Written, Refusal> {
    let mut salt = [0; 4];
    getrandom::fill(&mut salt).map_err(std::io::Error::from).context("/dev/urandom")?;
    let header = SegmentHeader {
        journal: target.journal,
        id: target.id,
        salt: u32::from_le_bytes(salt),
        created: target.created,
        first_seq: decided.first_seq,
        compacted: Some(target.stands_for),
        supersedes: run.iter().map(|segment| segment.id).collect(),
        predecessor: None,
        durable: Position::default(),
    };
    let bytes = header.encode();
    let file = target.storage.create(path).context(path)?;
    let mut writer = Writer {
        target,
        records,
        path: path.to_path_buf(),
        file,
        salt: header.salt,
        out: bytes,
        at: 0,
        chain: Chain::default(),
        hasher: blake3::Hasher::new(),
        table: Vec::new(),
        codec: Codec::default(),
        blocks: Vec::new(),
        pack: Vec::new(),
        pack_members: Vec::new(),
        depths: HashMap::new(),
        rebased: 0,
    };
    writer.content(run, decided, ids)?;
    writer.commits(&decided.commits)?;
    Ok(writer.finish(decided, ids)?)
}

impl Writer<'_> {
    fn offset(&self) -> u64 {
        self.at + self.out.len() as u64
    }

    fn write_out(&mut self) -> Result<()> {
        self.hasher.update(&self.out);
        self.file.append(&self.out).context(&self.path)?;
        self.at += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    fn frame(&mut self, frame_type: FrameType, encoding: Encoding, raw_len: u32, body: &[u8]) -> Result<u64> {
        let offset = self.offset();
        let header = frame::append(&mut self.out, frame_type, encoding, raw_len, body, self.salt);
        self.chain = self.chain.after(&header);
        self.table.push((frame_type as u8, self.offset() - offset));
        if self.out.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(offset)
    }

    /// Copies the blocks that stay, in the order in which they lay.
    fn content(
        &mut self,
        run: &[Arc<SegmentFile>],
        decided: &Decided,
        ids: &Ids,
    ) -> std::result::Result<(), Refusal> {
        let mut done: HashSet<BlockId> = HashSet::new();
        for (segment, frame) in &decided.frames {
            for (slot, (id, _)) in frame.members.iter().enumerate() {
                // Of several copies the index names one.
                let place = Position { segment: *segment, offset: frame.offset };
                let located = match ids.get(id) {
                    Some(true) => self.records.locate(*id)?,
                    _ => None,
                };
                let named = located.is_some_and(|located| {
                    located.frame == place && located.slot.unwrap_or(0) as usize == slot
                });
                if named && done.insert(*id) {
                    self.block(run, *segment, frame, *id, ids)
                        .map_err(|error| refused(error, run, place, frame))?;
                }
            }
        }
        Ok(self.finish_pack()?)
    }

    fn block(
        &mut self,
        run: &[Arc<SegmentFile>],
        segment: SegmentId,
        frame: &BlockFrame,
        id: BlockId,
        ids: &Ids,
    ) -> Result<()> {
        // Decoded, and compared with its id: what is damaged never gets a valid frame.
        let plain = self.records.block(id)?;
        let full = self.records.full_id(&plain);
        let Some((base, _)) = frame.base else {
            if plain.len() <= PACKED_MAX {
                return self.pack(full, &plain);
            }
            let payload = payload_of(run, segment, frame)?;
            return self.single(full, plain.len() as u32, frame.encoding, None, &payload);
        };
        match self.base_left(base, ids)? {
            // It is the same one: the delta is as good as it was.
            Some((left, depth)) if left == base => {
                let payload = payload_of(run, segment, frame)?;
                self.single(full, plain.len() as u32, Encoding::Delta, Some((base, depth + 1)), &payload)
            }
            left => {
                self.rebased += 1;
                if let Some((base, depth)) = left {
                    let below = self.records.block(base)?;
                    if let Some(payload) = self.codec.encode_delta(&plain, &below)? {
                        let payload = payload.to_vec();
                        let base = Some((base, depth + 1));
                        return self.single(full, plain.len() as u32, Encoding::Delta, base, &payload);
                    }
                }
                if plain.len() <= PACKED_MAX {
                    return self.pack(full, &plain);
                }
                let (encoding, payload) = self.codec.encode(&plain)?;
                let payload = payload.to_vec();
                self.single(full, plain.len() as u32, encoding, None, &payload)
            }
        }
    }

    /// The nearest block down a chain of deltas that is left, and how many deltas are below it then.
    fn base_left(&self, base: BlockId, ids: &Ids) -> Result<Option<(BlockId, u8)>> {
        let mut at = Some(base);
        for _ in 0..=crate::format::batch::DEPTH_MAX {
            let Some(id) = at else { return Ok(None) };
            let Some(located) = self.records.locate(id)? else { return Ok(None) };
            match ids.get(&id) {
                Some(true) => return Ok(Some((id, self.depths.get(&id).copied().unwrap_or(0)))),
                None => return Ok(Some((id, located.depth()))),
                Some(false) => at = located.base.map(|(base, _)| base),
            }
        }
        Ok(None)
    }

    fn pack(&mut self, full: FullId, plain: &[u8]) -> Result<()> {
        if self.pack.len() + plain.len() > PACK_BYTES {
            self.finish_pack()?;
        }
        self.pack.extend_from_slice(plain);
        self.pack_members.push((full, plain.len() as u32));
        self.depths.insert(full.short(), 0);
        Ok(())
    }

    fn finish_pack(&mut self) -> Result<()> {
        if self.pack_members.is_empty() {
            return Ok(());
        }
        let members = std::mem::take(&mut self.pack_members);
        let plain = std::mem::take(&mut self.pack);
        let (encoding, payload) = self.codec.encode(&plain)?;
        let body = [pack_table(&members).as_slice(), payload].concat();
        let offset = self.frame(FrameType::Pack, encoding, plain.len() as u32, &body)?;
        let members = members.iter().map(|(id, len)| (id.short(), *len)).collect();
        let stored_len = body.len() as u32;
        self.blocks.push(BlockFrame { offset, stored_len, encoding, base: None, pack: true, members });
        Ok(())
    }

    fn single(
        &mut self,
        full: FullId,
        raw_len: u32,
        encoding: Encoding,
        base: Option<(BlockId, u8)>,
        payload: &[u8],
    ) -> Result<()> {
        let body = [&full.0[..], payload].concat();
        let offset = self.frame(FrameType::Block, encoding, raw_len, &body)?;
        self.depths.insert(full.short(), base.map_or(0, |(_, depth)| depth));
        let members = vec![(full.short(), raw_len)];
        let stored_len = body.len() as u32;
        self.blocks.push(BlockFrame { offset, stored_len, encoding, base, pack: false, members });
        Ok(())
    }

    /// Writes what is left of the commits; the first frame of them names all blocks.
    fn commits(&mut self, commits: &[Batch]) -> Result<()> {
        let mut rest = commits;
        while !rest.is_empty() {
            let (mut taken, mut groups) = (0, 0);
            while taken < rest.len() && taken < COMMITS_A_FRAME && (taken == 0 || groups < GROUPS_A_FRAME) {
                groups += rest.get(taken).map_or(0, |commit| commit.groups.len());
                taken += 1;
            }
            let (now, later) = rest.split_at(taken);
            rest = later;
            let mut now = now.to_vec();
            if let Some(first) = now.first_mut() {
                first.blocks = std::mem::take(&mut self.blocks);
                first.chain_before = self.chain;
            }
            let plain = encode_left(&now);
            if plain.len() > frame::BODY_MAX as usize {
                let what = format!("what is left of {taken} commits takes {} bytes", plain.len());
                return Err(Error::Codec { what });
            }
            let (encoding, body) = self.codec.encode(&plain)?;
            let body = body.to_vec();
            self.frame(FrameType::Batch, encoding, plain.len() as u32, &body)?;
        }
        Ok(())
    }

    fn finish(mut self, decided: &Decided, ids: &Ids) -> Result<Written> {
        self.write_out()?;
        let (first, last) = (decided.commits.first(), decided.commits.last());
        let footer = Footer {
            frames: std::mem::take(&mut self.table),
            seqs: Some((decided.first_seq, decided.last_seq)),
            walls: first.zip(last).map(|(first, last)| (first.clock.wall, last.clock.wall)),
            ops: decided
                .commits
                .iter()
                .flat_map(|commit| &commit.groups)
                .map(|group| group.ops.len() as u64)
                .sum(),
            chain: self.chain,
            hash: *self.hasher.finalize().as_bytes(),
        };
        let end = self.at;
        let plain = footer.encode();
        let mut bytes = Vec::new();
        let (encoding, body) = self.codec.encode(&plain)?;
        frame::append(&mut bytes, FrameType::Footer, encoding, plain.len() as u32, body, self.salt);
        bytes.extend_from_slice(&encode_trailer(end));
        self.file.append(&bytes).context(&self.path)?;
        self.file.sync().context(&self.path)?;
        let to = self.target.layout.segment(self.target.id);
        self.target.storage.make_read_only(&self.path).context(&self.path)?;
        self.target.storage.rename(&self.path, &to).context(&to)?;
        let dir = self.target.layout.segments();
        self.target.storage.sync_dir(&dir).context(&dir)?;
        Ok(Written {
            id: self.target.id,
            bytes: end + bytes.len() as u64,
            blocks_gone: ids.values().filter(|stays| !**stays).count() as u64,
            rebased: self.rebased,
        })
    }
}

/// Why a block in a frame was not copied.
fn refused(error: Error, run: &[Arc<SegmentFile>], at: Position, frame: &BlockFrame) -> Refusal {
    let what = match &error {
        Error::DamagedBlock { position, what, .. } if *position == at => what.clone(),
        Error::DamagedBlock { .. } | Error::MissingBlock { .. } | Error::Corrupt { .. } => {
            format!("what it stands on: {error}")
        }
        _ => return Refusal::Error(error),
    };
    match run.iter().find(|segment| segment.id == at.segment) {
        Some(segment) => {
            let (path, len) = (segment.path.clone(), frame::HEADER_LEN as u64 + u64::from(frame.stored_len));
            Refusal::Damaged(Damage { path, at, len, what })
        }
        None => Refusal::Error(error),
    }
}

/// The payload of a frame with one block, as it is stored.
fn payload_of(run: &[Arc<SegmentFile>], segment: SegmentId, frame: &BlockFrame) -> Result<Vec<u8>> {
    let id = frame.members.first().map(|(id, _)| *id).unwrap_or(BlockId([0; 16]));
    let file = run.iter().find(|file| file.id == segment).ok_or(Error::MissingBlock { id })?;
    let (_, body) = file.frame(frame.offset, frame.stored_len)?;
    Ok(body.get(32..).unwrap_or_default().to_vec())
}

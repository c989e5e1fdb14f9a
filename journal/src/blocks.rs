//! Blocks out of segments: located, read, decoded, checked against their ids.
//!
//! Every block that leaves this module has the bytes that its id stands for, also when it only serves as a base:
//! zstd with a wrong base gives wrong bytes without an error.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::content::codec::Codec;
use crate::content::hash::IdKey;
use crate::error::{Error, IoContext, Result};
use crate::format::batch::{BlockFrame, DEPTH_MAX};
use crate::format::frame::{Encoding, FrameType, Header};
use crate::format::wire::{Malformed, Put, Take};
use crate::index::keys::Located;
use crate::segments::SegmentFile;
use crate::storage::{Layout, Storage};
use crate::types::{BlockId, FullId, Position, SegmentId};

/// Decoded frames kept, by count and by size.
const CACHE_FRAMES: usize = 64;
const CACHE_BYTES: usize = 12 << 20;
/// Segment files kept open.
const OPEN_SEGMENTS: usize = 64;

/// Finds out where a block lies.
pub trait Locate {
    /// The place of a block; `None` where the journal does not have it.
    ///
    /// # Errors
    /// Those of the index.
    fn locate(&self, id: BlockId) -> Result<Option<Located>>;
}

/// The plain bytes of a block; cheap to clone, shares the decoded pack that it comes from.
#[derive(Clone)]
pub struct Block {
    frame: Arc<Decoded>,
    range: Range<usize>,
}

impl Block {
    /// A block of these bytes that comes from no journal, for whoever stands in for one.
    pub fn plain(bytes: Vec<u8>) -> Block {
        let range = 0..bytes.len();
        Block { frame: Arc::new(Decoded { members: Vec::new(), bytes }), range }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.frame.bytes[self.range.clone()]
    }
}

/// A decoded frame: the plain bytes of its blocks one behind the other.
pub(crate) struct Decoded {
    pub(crate) members: Vec<(FullId, Range<usize>)>,
    pub(crate) bytes: Vec<u8>,
}

/// Reads blocks; shared by threads.
pub struct BlockReader {
    storage: Arc<dyn Storage>,
    layout: Layout,
    key: IdKey,
    /// Segments whose files are not where their numbers put them.
    misplaced: HashMap<SegmentId, PathBuf>,
    files: Mutex<VecDeque<Arc<SegmentFile>>>,
    cache: Mutex<Cache>,
    codecs: Mutex<Vec<Codec>>,
}

#[derive(Default)]
struct Cache {
    frames: VecDeque<(Position, Arc<Decoded>)>,
    bytes: usize,
}

impl Cache {
    fn get(&mut self, at: Position) -> Option<Arc<Decoded>> {
        let i = self.frames.iter().position(|(position, _)| *position == at)?;
        let hit = self.frames.remove(i)?;
        let frame = hit.1.clone();
        self.frames.push_front(hit);
        Some(frame)
    }

    fn put(&mut self, at: Position, frame: Arc<Decoded>) {
        self.bytes += frame.bytes.len();
        self.frames.push_front((at, frame));
        while self.frames.len() > CACHE_FRAMES || self.bytes > CACHE_BYTES && self.frames.len() > 1 {
            if let Some((_, dropped)) = self.frames.pop_back() {
                self.bytes -= dropped.bytes.len();
            }
        }
    }
}

impl BlockReader {
    /// Reads blocks of the journal at `layout`.
    pub fn new(storage: Arc<dyn Storage>, layout: Layout, key: IdKey) -> BlockReader {
        BlockReader {
            storage,
            layout,
            key,
            misplaced: HashMap::new(),
            files: Mutex::default(),
            cache: Mutex::default(),
            codecs: Mutex::default(),
        }
    }

    /// The same, with what is known of files under wrong names.
    #[must_use]
    pub fn with_misplaced(mut self, misplaced: Vec<(SegmentId, PathBuf)>) -> BlockReader {
        self.misplaced = misplaced.into_iter().collect();
        self
    }

    /// Lets go of every open file and of everything that was read.
    pub(crate) fn clear(&self) {
        lock(&self.files).clear();
        *lock(&self.cache) = Cache::default();
    }

    /// An open segment.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    pub fn segment(&self, id: SegmentId) -> Result<Arc<SegmentFile>> {
        let mut files = lock(&self.files);
        if let Some(i) = files.iter().position(|file| file.id == id) {
            let file = files.remove(i).unwrap_or_else(|| files[0].clone());
            files.push_front(file.clone());
            return Ok(file);
        }
        drop(files);
        let path = self.misplaced.get(&id).cloned().unwrap_or_else(|| self.layout.segment(id));
        let file = match SegmentFile::open(&*self.storage, path, id) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                SegmentFile::open(&*self.storage, self.layout.open_segment(id), id)?
            }
            other => other?,
        };
        let file = Arc::new(file);
        let mut files = lock(&self.files);
        files.push_front(file.clone());
        files.truncate(OPEN_SEGMENTS);
        Ok(file)
    }

    /// The id of a block with these plain bytes.
    pub(crate) fn id(&self, plain: &[u8]) -> FullId {
        self.key.id(plain)
    }

    /// The plain bytes of a block.
    ///
    /// # Errors
    /// `MissingBlock`, `DamagedBlock`, `Io`, and those of the index.
    pub fn read(&self, id: BlockId, index: &dyn Locate) -> Result<Block> {
        let located = index.locate(id)?.ok_or(Error::MissingBlock { id })?;
        match self.read_at(id, &located, index) {
            // Its segment, or one that it stands on, was compacted since the index was asked.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let located = index.locate(id)?.ok_or(Error::MissingBlock { id })?;
                self.read_at(id, &located, index)
            }
            read => read,
        }
    }

    fn read_at(&self, id: BlockId, located: &Located, index: &dyn Locate) -> Result<Block> {
        let damaged =
            |what: &str| Error::DamagedBlock { id, position: located.frame, what: what.to_string() };
        let cached = lock(&self.cache).get(located.frame);
        let frame = match cached {
            Some(frame) => frame,
            None => {
                let frame = Arc::new(self.decode(id, located, index)?);
                lock(&self.cache).put(located.frame, frame.clone());
                frame
            }
        };
        let slot = located.slot.unwrap_or(0) as usize;
        let (full, range) = frame.members.get(slot).cloned().ok_or_else(|| damaged("not in its pack"))?;
        let block = Block { frame, range };
        if full.short() != id || self.key.id(&block) != full {
            return Err(damaged("the bytes do not match the id"));
        }
        Ok(block)
    }

    fn decode(&self, id: BlockId, located: &Located, index: &dyn Locate) -> Result<Decoded> {
        let damaged = |what: String| Error::DamagedBlock { id, position: located.frame, what };
        let base = match located.base {
            None => None,
            Some((base, depth)) => {
                let below = index.locate(base)?.ok_or(Error::MissingBlock { id: base })?;
                // Strictly decreasing, so that no damage can send a reader in circles.
                if depth > DEPTH_MAX || below.depth() >= depth {
                    return Err(damaged("its chain of deltas does not get shorter".into()));
                }
                Some(self.read_at(base, &below, index)?)
            }
        };
        let segment = self.segment(located.frame.segment)?;
        let (header, body) = match segment.frame(located.frame.offset, located.stored_len) {
            Ok(frame) => frame,
            Err(Error::Corrupt { what, .. }) => return Err(damaged(what)),
            Err(error) => return Err(error),
        };
        if header.encoding != located.encoding {
            return Err(damaged("it is not encoded as the index says".into()));
        }
        let mut codec = lock(&self.codecs).pop().unwrap_or_default();
        let decoded = match header.frame_type {
            Some(FrameType::Block) => {
                decode_block(&body, located.encoding, located.raw_len, base.as_deref(), &mut codec)
            }
            Some(FrameType::Pack) => decode_pack(&body, header.encoding, header.raw_len, &mut codec),
            _ => Err("no block lies there".into()),
        };
        lock(&self.codecs).push(codec);
        decoded.map_err(damaged)
    }
}

/// What is wrong with a frame of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All its blocks are lost.
    Frame(String),
    /// One block is not what its id stands for.
    Block(BlockId, String),
    /// It is sound, and the block that it is a delta on cannot be read.
    Base,
}

impl BlockReader {
    /// Decodes a frame of content whose checksum holds, and checks every block in it against its id and against what
    /// its batch says (`described`). Keeps what came out: the next delta may need it.
    ///
    /// # Errors
    /// `Io`, and those of the index.
    pub(crate) fn check(
        &self,
        at: Position,
        header: &Header,
        body: &[u8],
        described: Option<&BlockFrame>,
        index: &dyn Locate,
        codec: &mut Codec,
    ) -> Result<Option<Fault>> {
        if let Some(described) = described {
            let pack = header.frame_type == Some(FrameType::Pack);
            if (described.stored_len, described.encoding, described.pack)
                != (header.stored_len, header.encoding, pack)
            {
                return Ok(Some(Fault::Frame("the frame is not what its batch says".into())));
            }
        }
        let base = match (header.encoding, described.and_then(|described| described.base)) {
            (Encoding::Delta, Some((base, _))) => match self.read(base, index) {
                Ok(block) => Some(block),
                Err(Error::MissingBlock { .. } | Error::DamagedBlock { .. }) => return Ok(Some(Fault::Base)),
                Err(error) => return Err(error),
            },
            // Nobody knows its base, and nothing refers to it.
            (Encoding::Delta, None) => return Ok(None),
            _ => None,
        };
        let decoded = match header.frame_type {
            Some(FrameType::Block) => {
                decode_block(body, header.encoding, header.raw_len, base.as_deref(), codec)
            }
            _ => decode_pack(body, header.encoding, header.raw_len, codec),
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(what) => return Ok(Some(Fault::Frame(what))),
        };
        for (slot, (full, range)) in decoded.members.iter().enumerate() {
            let plain = decoded.bytes.get(range.clone()).unwrap_or_default();
            let named = described.map(|described| described.members.get(slot));
            if self.key.id(plain) != *full {
                return Ok(Some(Fault::Block(full.short(), "the bytes do not match the id".into())));
            }
            if named.is_some_and(|named| named != Some(&(full.short(), plain.len() as u32))) {
                let what = "the block is not the one that its batch names";
                return Ok(Some(Fault::Block(full.short(), what.into())));
            }
        }
        lock(&self.cache).put(at, Arc::new(decoded));
        Ok(None)
    }
}

fn decode_block(
    body: &[u8],
    encoding: Encoding,
    raw_len: u32,
    base: Option<&[u8]>,
    codec: &mut Codec,
) -> std::result::Result<Decoded, String> {
    let (id, stored) = body.split_first_chunk::<32>().ok_or("block cut short")?;
    let mut bytes = Vec::with_capacity(raw_len as usize);
    codec.decode(encoding, stored, raw_len as usize, base, &mut bytes)?;
    Ok(Decoded { members: vec![(FullId(*id), 0..bytes.len())], bytes })
}

pub(crate) fn decode_pack(
    body: &[u8],
    encoding: Encoding,
    raw_len: u32,
    codec: &mut Codec,
) -> std::result::Result<Decoded, String> {
    let (members, payload) = take_pack_table(body)?;
    let mut ranges = Vec::with_capacity(members.len());
    let mut end = 0usize;
    for (id, len) in members {
        let start = end;
        end = end.checked_add(len as usize).ok_or("its blocks do not fill the pack")?;
        ranges.push((id, start..end));
    }
    if end != raw_len as usize {
        return Err("its blocks do not fill the pack".into());
    }
    let mut bytes = Vec::with_capacity(end);
    codec.decode(encoding, payload, end, None, &mut bytes)?;
    Ok(Decoded { members: ranges, bytes })
}

/// The ids and plain lengths of a pack's blocks, and the payload behind them.
type PackTable<'b> = (Vec<(FullId, u32)>, &'b [u8]);

/// Takes the front of a pack's body apart.
fn take_pack_table(body: &[u8]) -> std::result::Result<PackTable<'_>, String> {
    let mut take = Take::new(body);
    let mut table = || {
        let count = take.count(33)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            members.push((FullId(take.array()?), take.uint32()?));
        }
        Ok(members)
    };
    let members = table().map_err(|error: Malformed| error.to_string())?;
    Ok((members, take.rest()))
}

/// What a batch would say of a frame of content, out of the frame alone; `None` for a delta, whose base only its batch
/// names, and for what is no content.
pub fn describe(offset: u64, header: &Header, body: &[u8]) -> Option<BlockFrame> {
    let pack = match header.frame_type {
        Some(FrameType::Block) => false,
        Some(FrameType::Pack) => true,
        _ => return None,
    };
    let members = match pack {
        true => take_pack_table(body).ok()?.0,
        false => vec![(FullId(*body.first_chunk()?), header.raw_len)],
    };
    (header.encoding != Encoding::Delta).then(|| BlockFrame {
        offset,
        stored_len: header.stored_len,
        encoding: header.encoding,
        base: None,
        pack,
        members: members.iter().map(|(id, len)| (id.short(), *len)).collect(),
    })
}

/// The front of a pack's body: the ids and lengths of its blocks.
pub fn pack_table(members: &[(FullId, u32)]) -> Vec<u8> {
    let mut table = Vec::with_capacity(4 + members.len() * 35);
    table.put_uint(members.len() as u64);
    for (id, len) in members {
        table.put_raw(&id.0);
        table.put_uint(u64::from(*len));
    }
    table
}

/// The bytes that a journal occupies on disk, its index included. What is only kept free for it does not count.
///
/// # Errors
/// `Io`; a file that vanishes meanwhile counts as nothing.
pub fn occupied(journal: &std::path::Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let layout = crate::storage::Layout::new(journal);
    let kept = [layout.reserve(), layout.new_reserve()];
    let mut total = 0;
    let mut stack = vec![journal.to_path_buf()];
    while let Some(dir) = stack.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.context(&dir)?,
        };
        for entry in entries {
            let entry = entry.context(&dir)?;
            let Ok(meta) = entry.metadata() else { continue };
            if kept.contains(&entry.path()) {
                continue;
            }
            total += meta.blocks() * 512;
            if meta.is_dir() {
                stack.push(entry.path());
            }
        }
    }
    Ok(total)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

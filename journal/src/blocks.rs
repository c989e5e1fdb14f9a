//! Blocks out of segments: located, read, decoded, checked against their ids.
//!
//! Every block that leaves this module has the bytes that its id stands for, also when it only serves as a base:
//! zstd with a wrong base gives wrong bytes without an error.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, PoisonError};

use crate::content::codec::Codec;
use crate::content::hash::IdKey;
use crate::error::{Error, IoContext, Result};
use crate::format::batch::DEPTH_MAX;
use crate::format::frame::{Encoding, FrameType};
use crate::format::wire::{Put, Take};
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
            files: Mutex::default(),
            cache: Mutex::default(),
            codecs: Mutex::default(),
        }
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
        let file = match SegmentFile::open(&*self.storage, self.layout.segment(id), id) {
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

    /// The plain bytes of a block.
    ///
    /// # Errors
    /// `MissingBlock`, `DamagedBlock`, `Io`, and those of the index.
    pub fn read(&self, id: BlockId, index: &dyn Locate) -> Result<Block> {
        let located = index.locate(id)?.ok_or(Error::MissingBlock { id })?;
        self.read_at(id, &located, index)
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
            Some(FrameType::Block) => decode_block(&body, located, base.as_deref(), &mut codec),
            Some(FrameType::Pack) => decode_pack(&body, header.encoding, header.raw_len, &mut codec),
            _ => Err("no block lies there".into()),
        };
        lock(&self.codecs).push(codec);
        decoded.map_err(damaged)
    }
}

fn decode_block(
    body: &[u8],
    located: &Located,
    base: Option<&[u8]>,
    codec: &mut Codec,
) -> std::result::Result<Decoded, String> {
    let (id, stored) = body.split_first_chunk::<32>().ok_or("block cut short")?;
    let mut bytes = Vec::with_capacity(located.raw_len as usize);
    codec.decode(located.encoding, stored, located.raw_len as usize, base, &mut bytes)?;
    Ok(Decoded { members: vec![(FullId(*id), 0..bytes.len())], bytes })
}

pub(crate) fn decode_pack(
    body: &[u8],
    encoding: Encoding,
    raw_len: u32,
    codec: &mut Codec,
) -> std::result::Result<Decoded, String> {
    let mut take = Take::new(body);
    let count = take.count(33).map_err(|e| e.to_string())?;
    let mut members = Vec::with_capacity(count);
    let mut end = 0usize;
    for _ in 0..count {
        let id = FullId(take.array().map_err(|e| e.to_string())?);
        let start = end;
        end += take.uint32().map_err(|e| e.to_string())? as usize;
        members.push((id, start..end));
    }
    if end != raw_len as usize {
        return Err("its blocks do not fill the pack".into());
    }
    let mut bytes = Vec::with_capacity(end);
    codec.decode(encoding, take.rest(), end, None, &mut bytes)?;
    Ok(Decoded { members, bytes })
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

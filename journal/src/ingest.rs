//! File content into frames: chunked, hashed, deduplicated, compressed, collected into packs. One per capture thread.
//!
//! A block is only referred to once it is submitted, or in the same submission, so that nothing committed ever points
//! at what is not there.

use std::collections::HashMap;
use std::io;

use crate::append::ContentFrame;
use crate::blocks::{Block, Locate};
use crate::content::codec::Codec;
use crate::content::extents::TreeBuilder;
use crate::content::{BLOCK_MAX, INLINE_MAX, Piece, Source, chunker};
use crate::error::{Error, Result};
use crate::format::batch::DEPTH_MAX;
use crate::format::frame::Encoding;
use crate::head::{Head, Use};
use crate::types::{BlockId, Content, Extent, FullId, Group, Op, Seq, Version};

/// A pack is sent off when it holds this much.
const PACK_BYTES: usize = 256 << 10;
/// Longer blocks get frames of their own: a pack gains them nothing, and reading one would decode its neighbours.
const PACKED_MAX: usize = 96 << 10;
/// How much of a file is in memory at once.
const WINDOW: usize = 2 * BLOCK_MAX;
/// A predecessor with more extents than this gives no bases for deltas: 64 GiB, and 60 MB of memory.
const PREDECESSOR_EXTENTS_MAX: usize = 1 << 20;
/// Frames of a file that is still being read are sent off when they hold this much: memory does not grow with files.
const FRAMES_BYTES_MAX: usize = 1 << 20;
/// What waits for a pack to fill is bounded as well, by number and by size.
const GROUPS_MAX: usize = 4096;
const GROUPS_BYTES_MAX: usize = 1 << 20;

/// What went wrong while content was taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The file could not be read.
    #[error(transparent)]
    Source(#[from] io::Error),
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] Error),
}

/// What became of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where they are now.
    pub content: Content,
    /// How many there were.
    pub size: u64,
}

/// Takes in content; owned by one thread.
pub struct Ingest<'h> {
    head: &'h Head,
    codec: Codec,
    window: Vec<u8>,
    pack: Vec<u8>,
    pack_members: Vec<(FullId, u32)>,
    /// Blocks that are in the pack or in a frame, and not submitted yet.
    waiting: HashMap<BlockId, ()>,
    frames: Vec<ContentFrame>,
    frame_bytes: usize,
    groups: Vec<Group>,
    group_bytes: usize,
    /// While blocks that were looked up are not referred to yet by what is submitted.
    in_use: Option<Use<'h>>,
    /// Bytes that were stored since somebody asked.
    fresh_bytes: u64,
}

impl<'h> Ingest<'h> {
    /// Takes in content for the journal of `head`.
    pub fn new(head: &'h Head) -> Ingest<'h> {
        Ingest {
            head,
            codec: Codec::default(),
            window: Vec::new(),
            pack: Vec::new(),
            pack_members: Vec::new(),
            waiting: HashMap::new(),
            frames: Vec::new(),
            frame_bytes: 0,
            groups: Vec::new(),
            group_bytes: 0,
            in_use: None,
            fresh_bytes: 0,
        }
    }

    /// Bytes that were stored for new content since this was asked last; those in packs before they are compressed.
    pub fn take_fresh_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.fresh_bytes)
    }

    /// Reads a source to its end and keeps what the journal does not have. `previous` is what the file was before:
    /// blocks that replace others of it are stored as deltas.
    ///
    /// # Errors
    /// `Source` from the file, `Journal` from the journal. Blocks that were kept before a failure do no harm.
    pub fn store(
        &mut self,
        source: &mut dyn Source,
        previous: Option<&Version>,
    ) -> std::result::Result<Stored, IngestError> {
        if self.in_use.is_none() {
            self.in_use = Some(self.head.use_blocks());
        }
        let mut window = std::mem::take(&mut self.window);
        let stored = self.store_through(&mut window, source, previous);
        window.clear();
        self.window = window;
        stored
    }

    fn store_through(
        &mut self,
        window: &mut Vec<u8>,
        source: &mut dyn Source,
        previous: Option<&Version>,
    ) -> std::result::Result<Stored, IngestError> {
        let mut bases: Option<Bases<'h>> = None;
        cut(window, source, &mut |offset, plain| {
            let Some(offset) = offset else { return self.keep(plain, &mut |_| Ok(None)) };
            let mut known = match bases.take() {
                Some(known) => known,
                None => Bases::of(self.head, previous)?,
            };
            let kept = self.keep(plain, &mut |id| known.find(offset, id));
            bases = Some(known);
            kept
        })
    }

    /// Keeps a block, unless the journal has it.
    fn keep(
        &mut self,
        plain: &[u8],
        base: &mut dyn FnMut(BlockId) -> Result<Option<Base>>,
    ) -> Result<BlockId> {
        let full = self.head.id(plain);
        let id = full.short();
        let base = base(id)?;
        if self.waiting.contains_key(&id) || self.head.has_block(id)? {
            return Ok(id);
        }
        if let Some(base) = base
            && let Some(payload) = self.codec.encode_delta(plain, &base.block)?
        {
            let payload = payload.to_vec();
            self.add_frame(full, plain.len(), Encoding::Delta, Some((base.id, base.depth + 1)), payload);
        } else if plain.len() > PACKED_MAX {
            let (encoding, payload) = self.codec.encode(plain)?;
            let payload = payload.to_vec();
            self.add_frame(full, plain.len(), encoding, None, payload);
        } else {
            if self.pack.len() + plain.len() > PACK_BYTES {
                self.finish_pack()?;
            }
            self.fresh_bytes += plain.len() as u64;
            self.pack.extend_from_slice(plain);
            self.pack_members.push((full, plain.len() as u32));
        }
        self.waiting.insert(id, ());
        if self.frame_bytes >= FRAMES_BYTES_MAX {
            // Before anything that refers to them; the groups follow with the file they belong to.
            self.frame_bytes = 0;
            self.head.submit_with(std::mem::take(&mut self.frames), Vec::new())?;
        }
        Ok(id)
    }

    fn add_frame(
        &mut self,
        id: FullId,
        len: usize,
        encoding: Encoding,
        base: Option<(BlockId, u8)>,
        payload: Vec<u8>,
    ) {
        self.fresh_bytes += payload.len() as u64;
        self.frame_bytes += payload.len();
        self.frames.push(ContentFrame {
            pack: false,
            encoding,
            base,
            members: vec![(id, len as u32)],
            payload,
        });
    }

    fn finish_pack(&mut self) -> Result<()> {
        if self.pack_members.is_empty() {
            return Ok(());
        }
        let (encoding, payload) = self.codec.encode(&self.pack)?;
        let payload = payload.to_vec();
        self.frame_bytes += payload.len();
        let members = std::mem::take(&mut self.pack_members);
        self.frames.push(ContentFrame { pack: true, encoding, base: None, members, payload });
        self.pack.clear();
        Ok(())
    }

    /// Submits a group that refers to content taken in before, as soon as a pack is full; [`Ingest::flush`] hastens it.
    /// Gives the last `Seq` where that happened now.
    ///
    /// # Errors
    /// Those of [`Head::submit`].
    pub fn submit(&mut self, group: Group) -> Result<Option<Seq>> {
        self.group_bytes += group.ops.iter().map(weight).sum::<usize>();
        self.groups.push(group);
        // Frames wait for the pack that groups beside them may need; both are bounded.
        let full = self.groups.len() >= GROUPS_MAX || self.group_bytes >= GROUPS_BYTES_MAX;
        if full || self.frame_bytes >= PACK_BYTES / 2 {
            return self.flush();
        }
        Ok(None)
    }

    /// Submits everything that waits, and gives the last `Seq`; `None` where nothing waited.
    ///
    /// # Errors
    /// Those of [`Head::submit`].
    pub fn flush(&mut self) -> Result<Option<Seq>> {
        self.finish_pack()?;
        if self.frames.is_empty() && self.groups.is_empty() {
            self.in_use = None;
            return Ok(None);
        }
        let frames = std::mem::take(&mut self.frames);
        let groups = std::mem::take(&mut self.groups);
        self.frame_bytes = 0;
        self.group_bytes = 0;
        let last = self.head.submit_with(frames, groups)?;
        // Cleared only now: a block is either waiting here or pending there.
        self.waiting.clear();
        self.in_use = None;
        Ok(Some(last))
    }
}

/// Gets a block with its place in the file, or a list of extents, which has none; gives its id.
pub(crate) type Keep<'k> = &'k mut dyn FnMut(Option<u64>, &[u8]) -> Result<BlockId>;

/// Reads a source to its end and cuts it as files are cut. `keep` gets every block, and every list of extents, with the
/// place of a block in the file and `None` for a list, and gives its id.
///
/// # Errors
/// `Source` from the file, `Journal` from `keep`.
pub(crate) fn cut(
    window: &mut Vec<u8>,
    source: &mut dyn Source,
    keep: Keep<'_>,
) -> std::result::Result<Stored, IngestError> {
    window.clear();
    let mut next = fill(window, source)?;
    if next == Piece::End && window.len() <= INLINE_MAX {
        return Ok(Stored { size: window.len() as u64, content: Content::Inline(window.clone()) });
    }
    let mut tree = TreeBuilder::default();
    let mut size = 0u64;
    loop {
        let whole = next == Piece::End && size == 0 && window.len() <= BLOCK_MAX;
        let mut start = 0;
        // Up to the last BLOCK_MAX bytes a cut could depend on what is read next.
        while start < window.len() && (window.len() - start >= BLOCK_MAX || !matches!(next, Piece::Data(_))) {
            let rest = &window[start..];
            let len = if whole { rest.len() } else { chunker::cut(&rest[..rest.len().min(BLOCK_MAX)]) };
            let chunk = &rest[..len];
            let id = keep(Some(size), chunk)?;
            let extent = Extent::Block { id, len: len as u32 };
            tree.push(extent, &mut |list| keep(None, list))?;
            start += len;
            size += len as u64;
        }
        window.drain(..start);
        match next {
            Piece::End => break,
            Piece::Hole(len) => {
                tree.push(Extent::Hole { len }, &mut |list| keep(None, list))?;
                size += len;
            }
            Piece::Data(_) => {}
        }
        next = fill(window, source)?;
    }
    let top = tree.finish(&mut |list| keep(None, list))?;
    Ok(Stored { content: Content::Extents(top), size })
}

/// Roughly what an operation takes in a batch: attributes and inline content are what can be large.
fn weight(op: &Op) -> usize {
    let Op::Version { version, .. } = op else { return 64 };
    let xattrs: usize = version.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
    128 + INLINE_MAX + xattrs
}

/// Fills the window; gives what stopped it: a hole, the end, or `Data` where the window is full.
fn fill(window: &mut Vec<u8>, source: &mut dyn Source) -> io::Result<Piece> {
    let mut len = window.len();
    window.resize(WINDOW, 0);
    let stop = loop {
        if len == WINDOW {
            break Piece::Data(len);
        }
        match source.read(&mut window[len..])? {
            Piece::Data(read) => len += read,
            other => break other,
        }
    };
    window.truncate(len);
    Ok(stop)
}

/// A block that a delta can stand on.
struct Base {
    id: BlockId,
    depth: u8,
    block: Block,
}

/// The blocks of what the file was before, by their place in it.
struct Bases<'h> {
    head: &'h Head,
    /// Start of each block, and the block.
    blocks: Vec<(u64, BlockId)>,
    places: HashMap<BlockId, u64>,
    /// How far the new content is shifted against the old, as the last common block shows.
    shift: i64,
}

impl<'h> Bases<'h> {
    fn of(head: &'h Head, previous: Option<&Version>) -> Result<Bases<'h>> {
        let mut bases = Bases { head, blocks: Vec::new(), places: HashMap::new(), shift: 0 };
        let Some(previous) = previous else {
            return Ok(bases);
        };
        let extents = match head.view().extents(previous) {
            Ok(extents) if extents.len() <= PREDECESSOR_EXTENTS_MAX => extents,
            // Without the old lists there are no deltas; the new content is stored whole.
            Ok(_) | Err(Error::MissingBlock { .. } | Error::DamagedBlock { .. } | Error::Io { .. }) => {
                return Ok(bases);
            }
            Err(error) => return Err(error),
        };
        let mut at = 0;
        for extent in extents {
            if let Extent::Block { id, .. } = extent {
                bases.blocks.push((at, id));
                bases.places.entry(id).or_insert(at);
            }
            at += extent.len();
        }
        Ok(bases)
    }

    /// The base for a new block at `offset`: the old block that lies there, once the shift is taken off.
    fn find(&mut self, offset: u64, id: BlockId) -> Result<Option<Base>> {
        if let Some(&place) = self.places.get(&id) {
            self.shift = offset as i64 - place as i64;
            return Ok(None);
        }
        let old = (offset as i64).saturating_sub(self.shift).max(0) as u64;
        let at = self.blocks.partition_point(|(start, _)| *start <= old);
        let Some(&(_, id)) = self.blocks.get(at.saturating_sub(1)) else {
            return Ok(None);
        };
        let Some(located) = self.head.records().locate(id)? else {
            return Ok(None);
        };
        if located.depth() >= DEPTH_MAX || self.head.departs(id) {
            return Ok(None);
        }
        match self.head.records().block(id) {
            Ok(block) => Ok(Some(Base { id, depth: located.depth(), block })),
            // A damaged base is no base; what is new is stored whole, and the scrub names the damage.
            Err(Error::MissingBlock { .. } | Error::DamagedBlock { .. } | Error::Io { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

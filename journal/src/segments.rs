//! Segment files as they are read: frames at positions, the walk from batch to batch; in `segments/` the set of segments
//! there is, and what can be read without a header.
//!
//! Knows nothing of the index. What is damaged is reported with its place, never skipped in silence.

mod salvage;
mod set;

use std::path::PathBuf;
use std::sync::Arc;

use crate::content::codec::Codec;
use crate::error::{Error, IoContext, Result};
use crate::format::FORMAT;
use crate::format::batch::Batch;
use crate::format::frame::{ALIGN, Chain, Encoding, FrameType, HEADER_LEN, Header, UNKNOWN_FRAME};
use crate::format::segment::{Footer, HEADER_MAX, OTHER_FORMAT, SegmentHeader, TRAILER_LEN, decode_trailer};
use crate::format::wire::Malformed;
use crate::index::apply::BatchPlace;
use crate::index::keys::BatchAt;
use crate::storage::{ReadFile, Storage};
use crate::types::{Instant, Position, SegmentId, Seq};

pub use set::SegmentSet;

/// How much a walk reads at once: it hops from header to header, and small frames share a read.
const READ_AHEAD: usize = 64 << 10;
/// How much it reads behind a frame that was longer than this: most of what follows would be passed over too.
const READ_HEADER: usize = 4 << 10;

/// A segment opened for reading.
pub struct SegmentFile {
    /// Its number.
    pub id: SegmentId,
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: SegmentHeader,
    /// Where the first frame begins.
    pub start: u64,
    /// What is wrong with the header, where its frames could be found without it.
    pub header_damage: Option<String>,
    file: Arc<dyn ReadFile>,
}

impl SegmentFile {
    /// Opens a segment.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where it is none, or another one; `Unsupported` where it has another format.
    pub fn open(storage: &dyn Storage, path: PathBuf, id: SegmentId) -> Result<SegmentFile> {
        let segment = Self::open_whatever(storage, path, id)?;
        if segment.header.id != id {
            return Err(segment.corrupt(0, format!("the header says {}", segment.header.id)));
        }
        Ok(segment)
    }

    /// The same, whichever segment it says that it is.
    fn open_whatever(storage: &dyn Storage, path: PathBuf, id: SegmentId) -> Result<SegmentFile> {
        let file = storage.open(&path).context(&path)?;
        let mut bytes = vec![0; 4096];
        let len = file.read_at(&mut bytes, 0).context(&path)?;
        bytes.truncate(len);
        if SegmentHeader::decode(&bytes) == Err(Malformed("bytes cut short")) {
            bytes.resize(HEADER_MAX, 0);
            let len = file.read_at(&mut bytes, 0).context(&path)?;
            bytes.truncate(len);
        }
        match SegmentHeader::decode(&bytes) {
            Ok((header, start)) => Ok(SegmentFile { id, path, header, start, header_damage: None, file }),
            Err(OTHER_FORMAT) => Err(Error::Unsupported { path, what: OTHER_FORMAT.0.into(), known: FORMAT }),
            Err(Malformed(what)) => Self::without_header(path, id, file, what),
        }
    }

    /// A segment whose header says nothing: its frames tell the salt, and where they begin.
    fn without_header(
        path: PathBuf,
        id: SegmentId,
        file: Arc<dyn ReadFile>,
        what: &str,
    ) -> Result<SegmentFile> {
        let Some((salt, start)) = salvage::salt(&*file).context(&path)? else {
            return Err(Error::Corrupt { path, offset: 0, what: what.into() });
        };
        let header = SegmentHeader {
            journal: [0; 16],
            id,
            salt,
            created: Instant(0),
            first_seq: Seq::ZERO,
            compacted: None,
            supersedes: Vec::new(),
            predecessor: None,
            durable: Position::default(),
        };
        Ok(SegmentFile { id, path, header, start, header_damage: Some(what.into()), file })
    }

    /// Whether it was appended to as things happened; else compaction wrote it.
    pub fn is_log(&self) -> bool {
        self.header.compacted.is_none()
    }

    /// The same file once more.
    fn reopened(&self) -> SegmentFile {
        SegmentFile {
            id: self.id,
            path: self.path.clone(),
            header: self.header.clone(),
            start: self.start,
            header_damage: self.header_damage.clone(),
            file: self.file.clone(),
        }
    }

    /// Reads up to the buffer's length at an offset; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.file.read_at(buffer, offset).context(&self.path)
    }

    /// The length of the file now.
    ///
    /// # Errors
    /// `Io`.
    pub fn len(&self) -> Result<u64> {
        self.file.len().context(&self.path)
    }

    /// Whether the file holds no frame.
    ///
    /// # Errors
    /// `Io`.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? <= self.start)
    }

    fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.clone(), offset, what: what.into() }
    }

    /// The header of the frame at an offset.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where no frame of this segment begins there.
    pub fn frame_header(&self, offset: u64) -> Result<Header> {
        let mut bytes = [0; HEADER_LEN];
        let len = self.file.read_at(&mut bytes, offset).context(&self.path)?;
        if len < HEADER_LEN {
            return Err(self.corrupt(offset, "the file ends within a frame header"));
        }
        Header::decode(&bytes, self.header.salt).map_err(|e| self.corrupt(offset, e.0))
    }

    /// Refuses a long frame that cannot be there, before room is made for it.
    fn has(&self, offset: u64, len: u64) -> Result<()> {
        let there = len <= READ_AHEAD as u64 || offset.saturating_add(len) <= self.len()?;
        if there { Ok(()) } else { Err(self.corrupt(offset, "the file ends within a frame")) }
    }

    /// The body of the frame at an offset, checked.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where the bytes are not those that were written.
    pub fn body(&self, offset: u64, header: &Header) -> Result<Vec<u8>> {
        self.has(offset, u64::from(header.stored_len))?;
        let mut body = vec![0; header.stored_len as usize];
        let len = self.file.read_at(&mut body, offset + HEADER_LEN as u64).context(&self.path)?;
        if len < body.len() || !header.matches(&body, self.header.salt) {
            return Err(self.corrupt(offset, "frame body checksum does not match"));
        }
        Ok(body)
    }

    /// Header and body of a frame whose body length is known, in one read.
    ///
    /// # Errors
    /// As for [`SegmentFile::frame_header`] and [`SegmentFile::body`].
    pub fn frame(&self, offset: u64, stored_len: u32) -> Result<(Header, Vec<u8>)> {
        self.has(offset, u64::from(stored_len))?;
        let mut bytes = vec![0; HEADER_LEN + stored_len as usize];
        let len = self.file.read_at(&mut bytes, offset).context(&self.path)?;
        bytes.truncate(len);
        let Some((head, body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(self.corrupt(offset, "the file ends within a frame header"));
        };
        let header = Header::decode(head, self.header.salt).map_err(|e| self.corrupt(offset, e.0))?;
        if !header.matches(body, self.header.salt) {
            return Err(self.corrupt(offset, "frame body checksum does not match"));
        }
        bytes.drain(..HEADER_LEN);
        Ok((header, bytes))
    }

    /// The batch in the frame at an offset of a log; in a compacted segment, the first commit of which something is left there.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where there is no whole batch.
    pub fn batch(&self, offset: u64, codec: &mut Codec) -> Result<Batch> {
        let first = self.batches(offset, codec)?.into_iter().next();
        first.ok_or_else(|| self.corrupt(offset, "not a batch"))
    }

    /// The batch that an index names.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where it is not there.
    pub fn batch_at(&self, at: &BatchAt, codec: &mut Codec) -> Result<Batch> {
        let batches = self.batches(at.frame.offset, codec)?;
        let named = batches.into_iter().find(|batch| batch.first_seq == at.first_seq);
        named.ok_or_else(|| self.corrupt(at.frame.offset, "not the batch that the index names"))
    }

    /// The batches in the frame at an offset: one in a log, and what is left of several in a compacted segment.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where there is no whole batch.
    pub fn batches(&self, offset: u64, codec: &mut Codec) -> Result<Vec<Batch>> {
        let header = self.frame_header(offset)?;
        if header.frame_type != Some(FrameType::Batch) {
            return Err(self.corrupt(offset, "not a batch"));
        }
        let body = self.body(offset, &header)?;
        if header.encoding == Encoding::Raw {
            return Batch::decode_all(&body).map_err(|e| self.corrupt(offset, e.0));
        }
        let mut plain = Vec::new();
        codec
            .decode(header.encoding, &body, header.raw_len as usize, None, &mut plain)
            .map_err(|what| self.corrupt(offset, what))?;
        Batch::decode_all(&plain).map_err(|e| self.corrupt(offset, e.0))
    }

    /// The chain's value before the first frame; `None` where a damaged header does not tell.
    pub fn first_chain(&self) -> Option<Chain> {
        match (self.header.predecessor, &self.header_damage) {
            (Some(predecessor), _) => Some(predecessor.chain),
            (None, None) => Some(Chain::default()),
            (None, Some(_)) => None,
        }
    }

    /// Where the footer begins, as the trailer says; `None` where the file does not end in a trailer that can be right.
    ///
    /// # Errors
    /// `Io`.
    pub fn trailer(&self) -> Result<Option<u64>> {
        let len = self.len()?;
        let mut trailer = [0; TRAILER_LEN];
        let told = match len.checked_sub(TRAILER_LEN as u64) {
            Some(at) if self.read_at(&mut trailer, at)? == TRAILER_LEN => decode_trailer(&trailer),
            _ => None,
        };
        let room = (HEADER_LEN + TRAILER_LEN) as u64;
        let can_be =
            |at: &u64| *at >= self.start && at.is_multiple_of(ALIGN) && at.saturating_add(room) <= len;
        Ok(told.filter(can_be))
    }

    /// Where the footer begins, as the trailer or a walk (`met`) says, and what it says; `None` where the segment has
    /// none that holds.
    ///
    /// # Errors
    /// `Io`.
    pub fn footer(&self, met: Option<u64>, codec: &mut Codec) -> Result<Option<(u64, Footer)>> {
        let told = self.trailer()?;
        for offset in [told, met].into_iter().flatten() {
            match self.footer_at(offset, codec) {
                Ok(footer) => return Ok(Some((offset, footer))),
                Err(Error::Corrupt { .. } | Error::Unsupported { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn footer_at(&self, offset: u64, codec: &mut Codec) -> Result<Footer> {
        let header = self.frame_header(offset)?;
        if header.frame_type != Some(FrameType::Footer) {
            return Err(self.corrupt(offset, "not a footer"));
        }
        let body = self.body(offset, &header)?;
        let mut plain = Vec::new();
        codec
            .decode(header.encoding, &body, header.raw_len as usize, None, &mut plain)
            .map_err(|what| self.corrupt(offset, what))?;
        Footer::decode(&plain).map_err(|e| self.corrupt(offset, e.0))
    }
}

/// Something in a segment that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where.
    pub at: Position,
    /// How many bytes of the file are concerned; 0 where it is all of them.
    pub len: u64,
    /// What does not hold.
    pub what: String,
}

/// A frame as a walk meets it.
#[derive(Clone, Copy, Debug)]
pub struct FrameAt {
    /// Where it begins.
    pub offset: u64,
    /// Its header.
    pub header: Header,
    /// The chain's value before it; `None` behind damage, until a batch tells it.
    pub chain: Option<Chain>,
    /// The chain's value behind it.
    pub chain_after: Option<Chain>,
}

/// Hops from frame header to frame header.
pub struct FrameWalk<'s> {
    segment: &'s SegmentFile,
    offset: u64,
    end: u64,
    chain: Option<Chain>,
    ahead: Vec<u8>,
    ahead_at: u64,
    /// Whether the last frame was longer than what is worth reading along.
    hopped: bool,
    /// Where the walk met the footer.
    pub footer: Option<u64>,
    /// What could not be passed over by its own header.
    pub damage: Vec<Damage>,
}

impl<'s> FrameWalk<'s> {
    /// Starts at an offset with the chain's value there, if it is known; ends at `end`, at a footer, or where nothing
    /// follows.
    pub fn new(segment: &'s SegmentFile, offset: u64, chain: Option<Chain>, end: u64) -> FrameWalk<'s> {
        FrameWalk {
            segment,
            offset,
            end,
            chain,
            ahead: Vec::new(),
            ahead_at: 0,
            hopped: false,
            footer: None,
            damage: Vec::new(),
        }
    }

    /// Sets the chain's value behind the frame that was given last: a batch behind damage tells it.
    pub fn resume_chain(&mut self, chain: Chain) {
        self.chain = Some(chain);
    }

    fn header_bytes(&mut self, offset: u64) -> Result<Option<[u8; HEADER_LEN]>> {
        let within = |at: u64, len: usize| offset >= at && offset + HEADER_LEN as u64 <= at + len as u64;
        if !within(self.ahead_at, self.ahead.len()) {
            self.ahead.resize(if self.hopped { READ_HEADER } else { READ_AHEAD }, 0);
            let len = self.segment.read_at(&mut self.ahead, offset)?;
            self.ahead.truncate(len);
            self.ahead_at = offset;
        }
        let start = (offset - self.ahead_at) as usize;
        Ok(self.ahead.get(start..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()).copied())
    }

    /// The next frame; `None` at the end. Damage is noted and passed over, if a valid header follows it.
    ///
    /// # Errors
    /// `Io`.
    pub fn next_frame(&mut self) -> Result<Option<FrameAt>> {
        let mut bad: Option<(u64, &'static str)> = None;
        while self.offset + HEADER_LEN as u64 <= self.end {
            let Some(bytes) = self.header_bytes(self.offset)? else {
                break;
            };
            match Header::decode(&bytes, self.segment.header.salt) {
                Ok(header) => {
                    if let Some((from, what)) = bad {
                        self.note(from, what);
                    }
                    if header.frame_type == Some(FrameType::Footer) {
                        self.footer = Some(self.offset);
                        return Ok(None);
                    }
                    let chain = self.chain;
                    self.chain = chain.map(|chain| chain.after(&bytes));
                    let frame = FrameAt { offset: self.offset, header, chain, chain_after: self.chain };
                    self.offset += header.frame_len();
                    self.hopped = header.frame_len() > READ_HEADER as u64;
                    return Ok(Some(frame));
                }
                // Written by a program that knows more: not damage, and nothing that may be passed over.
                Err(UNKNOWN_FRAME) => {
                    return Err(Error::Unsupported {
                        path: self.segment.path.clone(),
                        what: UNKNOWN_FRAME.0.into(),
                        known: FORMAT,
                    });
                }
                Err(Malformed(what)) => {
                    bad.get_or_insert((self.offset, what));
                    self.chain = None;
                    self.offset += ALIGN;
                }
            }
        }
        if let Some((from, what)) = bad {
            self.note(from, what);
        }
        Ok(None)
    }

    fn note(&mut self, offset: u64, what: &str) {
        let at = Position { segment: self.segment.id, offset };
        let len = self.offset.saturating_sub(offset).max(1);
        self.damage.push(Damage { path: self.segment.path.clone(), at, len, what: what.to_string() });
    }
}

/// What a walk over the batches of a segment meets.
pub enum Walked {
    /// A batch that holds.
    Batch(Box<Batch>, BatchPlace),
    /// A frame of content that no batch speaks of: the batch behind it is damaged, or was never written.
    Orphan(FrameAt),
    /// Something that does not hold.
    Damage(Damage),
}

/// Visits the batches of a segment from an offset on. The chain ties each to the frames before it; a break is
/// reported, and the batches behind it count all the same. Gives the place of the footer, if the walk came to it.
///
/// # Errors
/// `Io`, and those of the visitor.
pub fn walk_batches(
    segment: &SegmentFile,
    from: u64,
    chain: Option<Chain>,
    end: u64,
    visit: &mut dyn FnMut(Walked) -> Result<()>,
) -> Result<Option<u64>> {
    let mut codec = Codec::default();
    let mut walk = FrameWalk::new(segment, from, chain, end);
    let mut reported = 0;
    let mut content: Vec<FrameAt> = Vec::new();
    while let Some(frame) = walk.next_frame()? {
        for damage in walk.damage.get(reported..).unwrap_or_default() {
            visit(Walked::Damage(damage.clone()))?;
        }
        reported = walk.damage.len();
        match frame.header.frame_type {
            Some(FrameType::Batch) => {}
            Some(FrameType::Block | FrameType::Pack) => {
                content.push(frame);
                continue;
            }
            _ => continue,
        }
        let at = Position { segment: segment.id, offset: frame.offset };
        let mut damaged = |what: String, len: u64| {
            visit(Walked::Damage(Damage { path: segment.path.clone(), at, len, what }))
        };
        let batches = match segment.batches(frame.offset, &mut codec) {
            Ok(batches) => batches,
            Err(Error::Corrupt { what, .. }) => {
                damaged(what, frame.header.frame_len())?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(batch) = batches.first() else { continue };
        if frame.chain.is_some_and(|chain| chain != batch.chain_before) {
            damaged("the chain of frame headers is broken before this batch".into(), HEADER_LEN as u64)?;
        }
        let bytes = frame.header.encode(segment.header.salt);
        let chain = batch.chain_before.after(&bytes);
        walk.resume_chain(chain);
        for orphan in unlisted(std::mem::take(&mut content), batch) {
            visit(Walked::Orphan(orphan))?;
        }
        let end = Position { segment: segment.id, offset: frame.offset + frame.header.frame_len() };
        let place = BatchPlace { frame: at, end, salt: segment.header.salt, chain };
        for batch in batches {
            visit(Walked::Batch(Box::new(batch), place))?;
        }
    }
    for damage in walk.damage.get(reported..).unwrap_or_default() {
        visit(Walked::Damage(damage.clone()))?;
    }
    for orphan in content {
        visit(Walked::Orphan(orphan))?;
    }
    Ok(walk.footer)
}

/// The content frames that a batch behind them does not list.
fn unlisted(content: Vec<FrameAt>, batch: &Batch) -> Vec<FrameAt> {
    if content.iter().map(|frame| frame.offset).eq(batch.blocks.iter().map(|block| block.offset)) {
        return Vec::new();
    }
    let listed: std::collections::HashSet<u64> = batch.blocks.iter().map(|block| block.offset).collect();
    content.into_iter().filter(|frame| !listed.contains(&frame.offset)).collect()
}

//! Segment files as they are read: frames at positions, the walk from batch to batch, the set of segments there is.
//!
//! Knows nothing of the index. What is damaged is reported with its place, never skipped in silence.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::content::codec::Codec;
use crate::error::{Error, IoContext, Result};
use crate::format::FORMAT;
use crate::format::batch::Batch;
use crate::format::frame::{ALIGN, Chain, Encoding, FrameType, HEADER_LEN, Header, UNKNOWN_FRAME};
use crate::format::segment::{HEADER_MAX, LOG_HEADER_MAX, SegmentHeader};
use crate::format::wire::Malformed;
use crate::index::apply::BatchPlace;
use crate::storage::{Layout, ReadFile, Storage};
use crate::types::{Position, SegmentId};

/// How much a walk reads at once: it hops from header to header, and small frames share a read.
const READ_AHEAD: usize = 64 << 10;

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
    file: Arc<dyn ReadFile>,
}

impl SegmentFile {
    /// Opens a segment.
    ///
    /// # Errors
    /// `Io`; `Corrupt` or `Unsupported` where its header does not decode.
    pub fn open(storage: &dyn Storage, path: PathBuf, id: SegmentId) -> Result<SegmentFile> {
        let file = storage.open(&path).context(&path)?;
        let mut bytes = vec![0; 4096];
        let len = file.read_at(&mut bytes, 0).context(&path)?;
        bytes.truncate(len);
        if SegmentHeader::decode(&bytes) == Err(Malformed("bytes cut short")) {
            bytes.resize(HEADER_MAX, 0);
            let len = file.read_at(&mut bytes, 0).context(&path)?;
            bytes.truncate(len);
        }
        let (header, start) = SegmentHeader::decode(&bytes).map_err(|Malformed(what)| match what {
            "segment of a newer format" => {
                Error::Unsupported { path: path.clone(), what: what.into(), known: FORMAT }
            }
            _ => Error::Corrupt { path: path.clone(), offset: 0, what: what.into() },
        })?;
        if header.id != id {
            let what = format!("the header says {}", header.id);
            return Err(Error::Corrupt { path, offset: 0, what });
        }
        Ok(SegmentFile { id, path, header, start, file })
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

    /// The batch in the frame at an offset.
    ///
    /// # Errors
    /// `Io`; `Corrupt` where there is no whole batch.
    pub fn batch(&self, offset: u64, codec: &mut Codec) -> Result<Batch> {
        let header = self.frame_header(offset)?;
        if header.frame_type != Some(FrameType::Batch) {
            return Err(self.corrupt(offset, "not a batch"));
        }
        let body = self.body(offset, &header)?;
        if header.encoding == Encoding::Raw {
            return Batch::decode(&body).map_err(|e| self.corrupt(offset, e.0));
        }
        let mut plain = Vec::new();
        codec
            .decode(header.encoding, &body, header.raw_len as usize, None, &mut plain)
            .map_err(|what| self.corrupt(offset, what))?;
        Batch::decode(&plain).map_err(|e| self.corrupt(offset, e.0))
    }

    /// The chain's value before the first frame.
    pub fn first_chain(&self) -> Chain {
        self.header.predecessor.map(|p| p.chain).unwrap_or_default()
    }
}

/// Something in a segment that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where.
    pub at: Position,
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
    /// Where the footer begins that the walk ended at.
    pub footer: Option<u64>,
    /// What could not be passed over by its own header.
    pub damage: Vec<Damage>,
}

impl<'s> FrameWalk<'s> {
    /// Starts at an offset with the chain's value there; ends at `end`, at a footer, or where nothing follows.
    pub fn new(segment: &'s SegmentFile, offset: u64, chain: Chain, end: u64) -> FrameWalk<'s> {
        FrameWalk {
            segment,
            offset,
            end,
            chain: Some(chain),
            ahead: Vec::new(),
            ahead_at: 0,
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
            self.ahead.resize(READ_AHEAD, 0);
            let len = self.segment.file.read_at(&mut self.ahead, offset).context(&self.segment.path)?;
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
        self.damage.push(Damage { path: self.segment.path.clone(), at, what: what.to_string() });
    }
}

/// A batch and where it lies, or what is wrong with it.
pub enum Walked {
    /// A batch that holds.
    Batch(Box<Batch>, BatchPlace),
    /// Something that does not.
    Damage(Damage),
}

/// Visits the batches of a segment from an offset on. The chain ties each to the frames before it; a break is
/// reported, and the batches behind it count all the same. Gives where the footer begins, where it ended at one.
///
/// # Errors
/// `Io`, and those of the visitor.
pub fn walk_batches(
    segment: &SegmentFile,
    from: u64,
    chain: Chain,
    end: u64,
    visit: &mut dyn FnMut(Walked) -> Result<()>,
) -> Result<Option<u64>> {
    let mut codec = Codec::default();
    let mut walk = FrameWalk::new(segment, from, chain, end);
    let mut reported = 0;
    while let Some(frame) = walk.next_frame()? {
        for damage in &walk.damage[reported..] {
            visit(Walked::Damage(damage.clone()))?;
        }
        reported = walk.damage.len();
        if frame.header.frame_type != Some(FrameType::Batch) {
            continue;
        }
        let at = Position { segment: segment.id, offset: frame.offset };
        let mut damaged =
            |what: String| visit(Walked::Damage(Damage { path: segment.path.clone(), at, what }));
        let batch = match segment.batch(frame.offset, &mut codec) {
            Ok(batch) => batch,
            Err(Error::Corrupt { what, .. }) => {
                damaged(what)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        if frame.chain.is_some_and(|chain| chain != batch.chain_before) {
            damaged("the chain of frame headers is broken before this batch".into())?;
        }
        let bytes = frame.header.encode(segment.header.salt);
        let chain = batch.chain_before.after(&bytes);
        walk.resume_chain(chain);
        let end = Position { segment: segment.id, offset: frame.offset + frame.header.frame_len() };
        visit(Walked::Batch(Box::new(batch), BatchPlace { frame: at, end, chain }))?;
    }
    for damage in &walk.damage[reported..] {
        visit(Walked::Damage(damage.clone()))?;
    }
    Ok(walk.footer)
}

/// The segments that there are, in order.
pub struct SegmentSet {
    /// The segments by number.
    pub segments: BTreeMap<SegmentId, Arc<SegmentFile>>,
    /// Files that look like segments and cannot be opened as such.
    pub damage: Vec<Damage>,
    /// Files that were never more than the beginning of a segment: the power was cut, or the disk full, before the
    /// header was there. No record was ever in them.
    pub unbegun: Vec<SegmentId>,
}

impl SegmentSet {
    /// Opens every segment of the journal with that uuid; one that belongs to another is reported and left out.
    ///
    /// # Errors
    /// `Io`; `Unsupported` where one has a newer format.
    pub fn open(storage: &dyn Storage, layout: &Layout, journal: uuid::Uuid) -> Result<SegmentSet> {
        let dir = layout.segments();
        let mut set = SegmentSet { segments: BTreeMap::new(), damage: Vec::new(), unbegun: Vec::new() };
        for name in storage.list(&dir).context(&dir)? {
            let Some((id, _)) = Layout::parse_segment(&name) else {
                continue;
            };
            let path = dir.join(&name);
            match SegmentFile::open(storage, path.clone(), id) {
                Ok(segment) if segment.header.journal != *journal.as_bytes() => {
                    let what = "the segment belongs to another journal".to_string();
                    set.damage.push(Damage { path, at: Position { segment: id, offset: 0 }, what });
                }
                Ok(segment) => {
                    set.segments.insert(id, Arc::new(segment));
                }
                // Sealed between the listing and the opening.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    let segment = SegmentFile::open(storage, layout.segment(id), id)?;
                    set.segments.insert(id, Arc::new(segment));
                }
                Err(Error::Corrupt { offset, what, .. }) => {
                    if storage.open(&path).and_then(|file| file.len()).context(&path)? <= LOG_HEADER_MAX {
                        set.unbegun.push(id);
                    }
                    set.damage.push(Damage { path, at: Position { segment: id, offset }, what });
                }
                Err(error) => return Err(error),
            }
        }
        set.excuse_unbegun();
        Ok(set)
    }

    /// A header is synced before the first record follows it, so a file that is no longer than one and holds none is an
    /// ordinary end, unless another segment attests that there was more.
    fn excuse_unbegun(&mut self) {
        let headers = self.segments.values().map(|segment| &segment.header);
        let attested: Vec<SegmentId> =
            headers.filter_map(|header| header.predecessor).map(|before| before.end.segment).collect();
        self.unbegun.retain(|id| !attested.contains(id));
        let unbegun = &self.unbegun;
        self.damage.retain(|damage| !unbegun.contains(&damage.at.segment));
    }

    /// Where the bytes of a segment that count end: what its successor says, else where the file ends.
    ///
    /// # Errors
    /// `Io`.
    pub fn end(&self, segment: &SegmentFile) -> Result<u64> {
        let after = (std::ops::Bound::Excluded(segment.id), std::ops::Bound::Unbounded);
        let successor = self.segments.range(after).next().and_then(|(_, next)| next.header.predecessor);
        match successor.map(|predecessor| predecessor.end) {
            Some(end) if end.segment == segment.id => Ok(end.offset),
            // Given up before anything in it was durable: what it holds was written again elsewhere.
            Some(end) if end.segment < segment.id => Ok(segment.start),
            _ => segment.len(),
        }
    }

    /// The newest segment.
    pub fn last(&self) -> Option<&Arc<SegmentFile>> {
        self.segments.last_key_value().map(|(_, segment)| segment)
    }
}

//! Reads every body of a segment in order and once: checksums, decoding, ids, padding, and the hash of the whole file.
//!
//! The same for `verify --deep`, which goes through all segments, and for the scrub, which does a little at a time.

use std::collections::HashMap;

use crate::blocks::Fault;
use crate::content::codec::Codec;
use crate::error::{Error, Result};
use crate::format::batch::BlockFrame;
use crate::format::frame::{FrameType, HEADER_LEN};
use crate::records::Records;
use crate::segments::{Damage, FrameAt, FrameWalk, SegmentFile};
use crate::types::{BlockId, Position};

/// How much of a file is read at once.
const WINDOW: usize = 1 << 20;

/// A segment in the course of being read.
pub(crate) struct Bodies<'r> {
    records: &'r Records,
    segment: &'r SegmentFile,
    codec: Codec,
    window: Vec<u8>,
    window_at: u64,
    /// Where the window ends, and where the hash does.
    hasher: Option<(blake3::Hasher, u64)>,
    found: Found,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Places that are not as they were written.
    pub(crate) damage: Vec<Damage>,
    /// Frames whose blocks cannot be read.
    pub(crate) frames: Vec<Position>,
    /// Blocks whose bytes are not what their ids stand for, with their frames.
    pub(crate) blocks: Vec<(Position, BlockId)>,
}

impl Found {
    /// The blocks that were found to be unreadable, as the batches of the segment name them.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn lost_blocks(&self, segment: &SegmentFile, codec: &mut Codec) -> Result<Vec<BlockId>> {
        let mut lost: Vec<BlockId> = self.blocks.iter().map(|(_, id)| *id).collect();
        if self.frames.is_empty() {
            return Ok(lost);
        }
        let mut walk = FrameWalk::new(segment, segment.start, None, segment.len()?);
        while let Some(frame) = walk.next_frame()? {
            if frame.header.frame_type != Some(FrameType::Batch) {
                continue;
            }
            let Ok(batch) = segment.batch(frame.offset, codec) else { continue };
            let is_bad = |block: &&BlockFrame| self.frames.iter().any(|at| at.offset == block.offset);
            lost.extend(
                batch.blocks.iter().filter(is_bad).flat_map(|block| &block.members).map(|(id, _)| *id),
            );
        }
        Ok(lost)
    }
}

impl<'r> Bodies<'r> {
    pub(crate) fn new(records: &'r Records, segment: &'r SegmentFile) -> Bodies<'r> {
        let (codec, window) = (Codec::default(), Vec::new());
        Bodies { records, segment, codec, window, window_at: 0, hasher: None, found: Found::default() }
    }

    /// Hashes the file from its beginning along with the reading.
    fn hashing_to(mut self, end: u64) -> Bodies<'r> {
        self.hasher = Some((blake3::Hasher::new(), end));
        self
    }

    /// Checks everything from `from`, the end of a batch or the first frame, to `end`. After each batch `pace` hears
    /// where that ends, and may say that it is enough. Gives where to go on, `None` where `end` was reached.
    ///
    /// # Errors
    /// `Io`, `Index`.
    pub(crate) fn check(
        &mut self,
        from: u64,
        end: u64,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<u64>> {
        let segment = self.segment;
        let mut walk = FrameWalk::new(segment, from, None, end);
        let mut content: Vec<FrameAt> = Vec::new();
        while let Some(frame) = walk.next_frame()? {
            match frame.header.frame_type {
                Some(FrameType::Batch) => {
                    let next = self.commit(&std::mem::take(&mut content), &frame)?;
                    if !pace(next) {
                        self.found.damage.append(&mut walk.damage);
                        return Ok(Some(next));
                    }
                }
                Some(FrameType::Block | FrameType::Pack) => content.push(frame),
                _ => {}
            }
        }
        self.found.damage.append(&mut walk.damage);
        self.contents(&content, &HashMap::new())?;
        pace(end);
        Ok(None)
    }

    pub(crate) fn finish(self) -> Found {
        self.found
    }

    /// Checks the frames of one commit, which its batch describes.
    fn commit(&mut self, content: &[FrameAt], batch: &FrameAt) -> Result<u64> {
        let next = batch.offset + batch.header.frame_len();
        let described = match self.segment.batch(batch.offset, &mut self.codec) {
            Ok(batch) => batch.blocks.into_iter().map(|block| (block.offset, block)).collect(),
            Err(Error::Corrupt { what, .. }) => {
                self.note(batch.offset, batch.header.frame_len(), what);
                HashMap::new()
            }
            Err(error) => return Err(error),
        };
        self.contents(content, &described)?;
        self.padding(batch)?;
        Ok(next)
    }

    fn contents(&mut self, content: &[FrameAt], described: &HashMap<u64, BlockFrame>) -> Result<()> {
        for frame in content {
            self.content(frame, described.get(&frame.offset))?;
            self.padding(frame)?;
        }
        Ok(())
    }

    fn content(&mut self, frame: &FrameAt, described: Option<&BlockFrame>) -> Result<()> {
        let (segment, salt) = (self.segment, self.segment.header.salt);
        let at = Position { segment: segment.id, offset: frame.offset };
        let len = frame.header.stored_len as usize;
        let records = self.records;
        let mut codec = std::mem::take(&mut self.codec);
        let body = self.bytes(frame.offset + HEADER_LEN as u64, len)?;
        let fault = match body.len() == len && frame.header.matches(body, salt) {
            false => Some(Fault::Frame("frame body checksum does not match".into())),
            true => records.blocks.check(at, &frame.header, body, described, records, &mut codec)?,
        };
        self.codec = codec;
        match fault {
            None => {}
            // Its own bytes are sound; where the base is damaged, that is what is noted.
            Some(Fault::Base) => {}
            Some(Fault::Frame(what)) => {
                self.found.frames.push(at);
                self.note(frame.offset, frame.header.frame_len(), what);
            }
            Some(Fault::Block(id, what)) => {
                self.found.blocks.push((at, id));
                self.note(frame.offset, frame.header.frame_len(), what);
            }
        }
        Ok(())
    }

    /// What fills a frame up is zero, and nothing but the hash of the file covers it.
    fn padding(&mut self, frame: &FrameAt) -> Result<()> {
        let used = HEADER_LEN as u64 + u64::from(frame.header.stored_len);
        let padding = frame.header.frame_len() - used;
        let at = frame.offset + used;
        if self.bytes(at, padding as usize)?.iter().any(|&byte| byte != 0) {
            self.note(at, padding, "what fills up the frame is not zero; nothing depends on it".into());
        }
        Ok(())
    }

    fn note(&mut self, offset: u64, len: u64, what: String) {
        let at = Position { segment: self.segment.id, offset };
        self.found.damage.push(Damage { path: self.segment.path.clone(), at, len, what });
    }

    /// Bytes of the file; fewer only at its end. Offsets only grow, and every byte is read once.
    fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        while self.window_at + (self.window.len() as u64) < offset + len as u64 {
            self.drop_before(offset);
            let end = self.window_at + self.window.len() as u64;
            // Without a hash nobody needs what lies in between.
            let end = match (&self.hasher, self.window.is_empty()) {
                (None, true) => end.max(offset),
                _ => end,
            };
            if self.window.is_empty() {
                self.window_at = end;
            }
            let old = self.window.len();
            self.window.resize(old + WINDOW.max(len), 0);
            let read = self.segment.read_at(self.window.get_mut(old..).unwrap_or_default(), end)?;
            self.window.truncate(old + read);
            if let Some((hasher, hash_end)) = &mut self.hasher {
                let wanted = hash_end.saturating_sub(end).min(read as u64) as usize;
                hasher.update(self.window.get(old..old + wanted).unwrap_or_default());
            }
            if read == 0 {
                break;
            }
        }
        self.drop_before(offset.min(self.window_at));
        let start = (offset.saturating_sub(self.window_at) as usize).min(self.window.len());
        let end = (start + len).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }

    fn drop_before(&mut self, offset: u64) {
        let gone = (offset.saturating_sub(self.window_at) as usize).min(self.window.len());
        self.window.drain(..gone);
        self.window_at += gone as u64;
    }

    /// The hash of the file up to where it was to be hashed.
    fn hash(&mut self) -> Result<Option<[u8; 32]>> {
        let Some((_, end)) = self.hasher else { return Ok(None) };
        self.bytes(end, 0)?;
        let read_to = self.window_at + self.window.len() as u64;
        Ok(self.hasher.as_ref().filter(|_| read_to >= end).map(|(hasher, _)| *hasher.finalize().as_bytes()))
    }
}

/// Checks a whole segment up to where it counts: every body, and where it is sealed the hash of the file.
///
/// # Errors
/// `Io`, `Index`.
pub(crate) fn check_segment(
    records: &Records,
    segment: &SegmentFile,
    end: u64,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<Found> {
    let footer = segment.footer(None, &mut Codec::default())?;
    let mut bodies = Bodies::new(records, segment);
    if let Some((offset, _)) = &footer {
        bodies = bodies.hashing_to(*offset);
    }
    let mut head = vec![0; segment.start as usize];
    let read = segment.read_at(&mut head, 0)?;
    head.truncate(read);
    // A power cut may leave it without what fills it up.
    if segment.header_damage.is_none() && !segment.header.encode().starts_with(&head) {
        bodies.note(0, segment.start, "what fills up the header is not zero; nothing depends on it".into());
    }
    let stopped = bodies.check(segment.start, end, pace)?.is_some();
    let sound = bodies.found.damage.is_empty() && segment.header_damage.is_none();
    if let (Some((offset, footer)), true, false) = (footer, sound, stopped)
        && bodies.hash()? != Some(footer.hash)
    {
        bodies.note(offset, 1, "the hash of the file is not that of its footer".into());
    }
    Ok(bodies.finish())
}

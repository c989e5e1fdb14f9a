//! The two ends of a segment file: its header and its footer.

use crate::format::frame::{ALIGN, Chain};
use crate::format::wire::{Malformed, Put, Result, Take};
use crate::types::{Instant, Position, SegmentId, Seq};

/// First bytes of every segment file.
const MAGIC: [u8; 8] = *b"asofSEG\n";
/// Last bytes of a sealed segment file.
const END_MAGIC: [u8; 8] = *b"asofEND\n";
/// A segment of a format that this program does not know: not damage, and nothing to read all the same.
pub const OTHER_FORMAT: Malformed = Malformed("segment of another format");
/// Magic, format version, length of what follows.
const PREFIX_LEN: usize = 16;
/// A header is never longer; `supersedes` is the only part that grows.
pub const HEADER_MAX: usize = 64 << 10;
/// A header that supersedes nothing is never longer.
pub const HEADER_BYTES_USUAL: u64 = 160;
/// Bytes of the trailer that follows the footer frame: where that frame begins, and the end magic.
pub const TRAILER_LEN: usize = 16;

/// Appended to as things happened.
const KIND_LOG: u8 = 0;
/// Written by compaction out of older segments.
const KIND_COMPACTED: u8 = 1;

/// What a compacted segment stands for: all that is left of a stretch of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The last `Seq` of the stretch.
    pub last_seq: Seq,
    /// The newest `Seq` when it was decided what stays.
    pub as_of: Seq,
}

/// The segment before, and how far it counts: what lies beyond is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Where its accepted bytes end.
    pub end: Position,
    /// The chain's value there.
    pub chain: Chain,
}

/// What a segment says of itself at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The journal that it belongs to.
    pub journal: [u8; 16],
    /// Its number.
    pub id: SegmentId,
    /// Start value of every checksum in it; random, so that foreign frames never fit.
    pub salt: u32,
    /// When it was created.
    pub created: Instant,
    /// The first `Seq` that it may hold.
    pub first_seq: Seq,
    /// Of a compacted one, what it stands for.
    pub compacted: Option<Compacted>,
    /// Segments that it replaces (compaction).
    pub supersedes: Vec<SegmentId>,
    /// The segment before; `None` for the first of a journal.
    pub predecessor: Option<Predecessor>,
    /// The durable point that was known when it was created.
    pub durable: Position,
}

impl SegmentHeader {
    /// The header's bytes, a multiple of 8 long.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(128);
        body.put_raw(&self.journal);
        body.put_uint(self.id.0);
        body.put_raw(&self.salt.to_le_bytes());
        body.put_u8(if self.compacted.is_some() { KIND_COMPACTED } else { KIND_LOG });
        body.put_time(self.created);
        body.put_uint(self.first_seq.0);
        if let Some(compacted) = self.compacted {
            body.put_uint(compacted.last_seq.0);
            body.put_uint(compacted.as_of.0);
        }
        body.put_uint(self.supersedes.len() as u64);
        for id in &self.supersedes {
            body.put_uint(id.0);
        }
        match &self.predecessor {
            None => body.put_u8(0),
            Some(predecessor) => {
                body.put_u8(1);
                body.put_uint(predecessor.end.segment.0);
                body.put_uint(predecessor.end.offset);
                body.put_raw(&predecessor.chain.0);
            }
        }
        body.put_uint(self.durable.segment.0);
        body.put_uint(self.durable.offset);

        let mut out = Vec::with_capacity(PREFIX_LEN + body.len() + 12);
        out.put_raw(&MAGIC);
        out.put_raw(&super::FORMAT.to_le_bytes());
        out.put_raw(&(body.len() as u32).to_le_bytes());
        out.put_raw(&body);
        let crc = crc32c::crc32c(&out);
        out.put_raw(&crc.to_le_bytes());
        out.resize(out.len().next_multiple_of(ALIGN as usize), 0);
        out
    }

    /// Decodes a header from the first bytes of a file, and says where the first frame begins.
    ///
    /// # Errors
    /// Where they are not the start of a segment, or of one with a format that this program does not know.
    pub fn decode(bytes: &[u8]) -> Result<(SegmentHeader, u64)> {
        let mut take = Take::new(bytes);
        if take.array::<8>()? != MAGIC {
            return Err(Malformed("not a segment of an asof journal"));
        }
        let format = u32::from_le_bytes(take.array()?);
        let len = u32::from_le_bytes(take.array()?) as usize;
        if len > HEADER_MAX {
            return Err(Malformed("segment header too long"));
        }
        let body = take.raw(len)?;
        if crc32c::crc32c(&bytes[..PREFIX_LEN + len]) != u32::from_le_bytes(take.array()?) {
            return Err(Malformed("segment header checksum does not match"));
        }
        // Only behind the checksum, which has this place in every format: a flipped bit makes no other one.
        if format != super::FORMAT {
            return Err(OTHER_FORMAT);
        }
        let start = (PREFIX_LEN + len + 4).next_multiple_of(ALIGN as usize) as u64;
        Ok((Self::decode_body(body)?, start))
    }

    fn decode_body(body: &[u8]) -> Result<SegmentHeader> {
        let mut take = Take::new(body);
        let journal = take.array()?;
        let id = SegmentId(take.uint()?);
        let salt = u32::from_le_bytes(take.array()?);
        let kind = take.u8()?;
        let created = take.time()?;
        let first_seq = Seq(take.uint()?);
        let compacted = match kind {
            KIND_LOG => None,
            KIND_COMPACTED => Some(Compacted { last_seq: Seq(take.uint()?), as_of: Seq(take.uint()?) }),
            _ => return Err(Malformed("unknown kind of segment")),
        };
        let count = take.count(1)?;
        let supersedes = (0..count).map(|_| take.uint().map(SegmentId)).collect::<Result<_>>()?;
        let predecessor = match take.u8()? {
            0 => None,
            1 => Some(Predecessor {
                end: Position { segment: SegmentId(take.uint()?), offset: take.uint()? },
                chain: Chain(take.array()?),
            }),
            _ => return Err(Malformed("unknown form of predecessor")),
        };
        let durable = Position { segment: SegmentId(take.uint()?), offset: take.uint()? };
        take.finish()?;
        Ok(SegmentHeader {
            journal,
            id,
            salt,
            created,
            first_seq,
            compacted,
            supersedes,
            predecessor,
            durable,
        })
    }
}

/// What a sealed segment says of itself at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Type byte and length of every frame before the footer, in order.
    pub frames: Vec<(u8, u64)>,
    /// The `Seq` range, inclusive; `None` where the segment holds no group.
    pub seqs: Option<(Seq, Seq)>,
    /// Wall clocks of its first and last batch.
    pub walls: Option<(Instant, Instant)>,
    /// How many operations it holds.
    pub ops: u64,
    /// The chain's value before the footer.
    pub chain: Chain,
    /// BLAKE3 of everything before the footer frame.
    pub hash: [u8; 32],
}

impl Footer {
    /// The payload's bytes, before compression.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.frames.len() * 4);
        out.put_raw(&self.hash);
        out.put_raw(&self.chain.0);
        out.put_uint(self.ops);
        match (self.seqs, self.walls) {
            (Some(seqs), Some(walls)) => {
                out.put_u8(1);
                out.put_uint(seqs.0.0);
                out.put_uint(seqs.1.0);
                out.put_time(walls.0);
                out.put_time(walls.1);
            }
            _ => out.put_u8(0),
        }
        out.put_uint(self.frames.len() as u64);
        for (frame_type, len) in &self.frames {
            out.put_u8(*frame_type);
            out.put_uint(*len / ALIGN);
        }
        out
    }

    /// Decodes a payload.
    ///
    /// # Errors
    /// Where the bytes are no footer.
    pub fn decode(bytes: &[u8]) -> Result<Footer> {
        let mut take = Take::new(bytes);
        let hash = take.array()?;
        let chain = Chain(take.array()?);
        let ops = take.uint()?;
        let (seqs, walls) = match take.u8()? {
            0 => (None, None),
            1 => (Some((Seq(take.uint()?), Seq(take.uint()?))), Some((take.time()?, take.time()?))),
            _ => return Err(Malformed("unknown form of footer")),
        };
        let count = take.count(2)?;
        let mut frames = Vec::with_capacity(count.min(65_536));
        for _ in 0..count {
            let frame_type = take.u8()?;
            let len = take.uint()?.checked_mul(ALIGN).ok_or(Malformed("frame length out of range"))?;
            frames.push((frame_type, len));
        }
        take.finish()?;
        Ok(Footer { frames, seqs, walls, ops, chain, hash })
    }
}

/// The last bytes of a sealed segment, pointing at its footer frame.
pub fn encode_trailer(footer_offset: u64) -> [u8; TRAILER_LEN] {
    let mut bytes = [0; TRAILER_LEN];
    bytes[..8].copy_from_slice(&footer_offset.to_le_bytes());
    bytes[8..].copy_from_slice(&END_MAGIC);
    bytes
}

/// Where the footer frame begins, if these are the last bytes of a sealed segment.
pub fn decode_trailer(bytes: &[u8; TRAILER_LEN]) -> Option<u64> {
    let mut offset = [0; 8];
    offset.copy_from_slice(&bytes[..8]);
    (bytes[8..] == END_MAGIC).then(|| u64::from_le_bytes(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            journal: [5; 16],
            id: SegmentId(7),
            salt: 0xdead_beef,
            created: Instant(123_456_789_012),
            first_seq: Seq(17),
            compacted: Some(Compacted { last_seq: Seq(30), as_of: Seq(99) }),
            supersedes: vec![SegmentId(1), SegmentId(2)],
            predecessor: Some(Predecessor {
                end: Position { segment: SegmentId(6), offset: 8192 },
                chain: Chain([4; 16]),
            }),
            durable: Position { segment: SegmentId(6), offset: 4096 },
        }
    }

    #[test]
    fn a_header_comes_back_and_every_changed_byte_is_found() {
        let bytes = header().encode();
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header(), bytes.len() as u64)));
        let padding = SegmentHeader { supersedes: vec![], ..header() }.encode();
        assert!(SegmentHeader::decode(&padding).is_ok());
        for at in 0..bytes.len() - 8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(SegmentHeader::decode(&bad).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() - 8 {
            assert!(SegmentHeader::decode(&bytes[..len]).is_err(), "prefix {len}");
        }
    }

    /// A single bit in the format number once made a reader refuse the whole journal as one of another.
    #[test]
    fn a_flipped_bit_in_the_format_is_damage_and_another_format_is_not() {
        let good = header().encode();
        let mut flipped = good.clone();
        flipped[9] ^= 0x40;
        assert_eq!(SegmentHeader::decode(&flipped), Err(Malformed("segment header checksum does not match")));
        let mut newer = good;
        newer[8] = 99;
        let end = PREFIX_LEN + u32::from_le_bytes([newer[12], newer[13], newer[14], newer[15]]) as usize;
        let crc = crc32c::crc32c(&newer[..end]);
        newer[end..end + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&newer), Err(OTHER_FORMAT));
        let usual = SegmentHeader {
            supersedes: Vec::new(),
            compacted: None,
            id: SegmentId(u64::MAX),
            first_seq: Seq::MAX,
            created: Instant(i64::MIN),
            predecessor: Some(Predecessor {
                end: Position { segment: SegmentId(u64::MAX), offset: u64::MAX },
                chain: Chain([4; 16]),
            }),
            durable: Position { segment: SegmentId(u64::MAX), offset: u64::MAX },
            ..header()
        };
        assert!(usual.encode().len() as u64 <= HEADER_BYTES_USUAL, "{}", usual.encode().len());
    }

    #[test]
    fn a_footer_and_its_trailer_come_back() {
        let footer = Footer {
            frames: vec![(1, 64), (3, 4096)],
            seqs: Some((Seq(1), Seq(9))),
            walls: Some((Instant(-5), Instant(7))),
            ops: 12,
            chain: Chain([8; 16]),
            hash: [9; 32],
        };
        assert_eq!(Footer::decode(&footer.encode()), Ok(footer));
        assert_eq!(decode_trailer(&encode_trailer(4242)), Some(4242));
        assert_eq!(decode_trailer(&[0; 16]), None);
    }
}

//! Frames: the self-describing, checksummed records that a segment is made of.
//!
//! A frame is a 24-byte header and a body, padded with zeroes to a multiple of 8. Both checksums are CRC32C that
//! starts from the segment's salt, so that a frame of another segment, or of an older use of the same disk blocks,
//! is never taken for one of this segment.

use crate::format::wire::{Malformed, Result};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"aSoF";
/// Bytes of a frame header.
pub const HEADER_LEN: usize = 24;
/// Frames start at multiples of this.
pub const ALIGN: u64 = 8;
/// No body is longer: a pack or block is bounded by its raw size, a batch by the group commit limit.
pub const BODY_MAX: u32 = 64 << 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// One block.
    Block = 1,
    /// Many small blocks compressed as one.
    Pack = 2,
    /// A commit.
    Batch = 3,
    /// The end of a sealed segment.
    Footer = 5,
}

impl FrameType {
    fn from_byte(byte: u8) -> Option<FrameType> {
        Some(match byte {
            1 => FrameType::Block,
            2 => FrameType::Pack,
            3 => FrameType::Batch,
            5 => FrameType::Footer,
            _ => return None,
        })
    }
}

/// How a body's payload is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encoding {
    /// Plain bytes.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
    /// One zstd frame with a base block as its prefix.
    Delta = 2,
}

impl Encoding {
    /// The encoding that a byte on disk stands for.
    pub fn from_byte(byte: u8) -> Option<Encoding> {
        Some(match byte {
            0 => Encoding::Raw,
            1 => Encoding::Zstd,
            2 => Encoding::Delta,
            _ => return None,
        })
    }
}

/// What decoding a frame of a type says that a newer program wrote and that must not be passed over.
pub const UNKNOWN_FRAME: Malformed = Malformed("frame of an unknown type that must not be passed over");

/// Readers that do not know the type may pass over the frame; without the flag they must refuse the segment.
const FLAG_SKIPPABLE: u8 = 0x80;
const ENCODING_MASK: u8 = 0x03;

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame holds; `None` for a skippable type that this program does not know.
    pub frame_type: Option<FrameType>,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// Bytes of the body as stored, without padding.
    pub stored_len: u32,
    /// Bytes of the payload once decoded.
    pub raw_len: u32,
    /// Salted CRC32C of the body.
    pub body_crc: u32,
}

impl Header {
    /// The header of a frame with this body.
    pub fn of(frame_type: FrameType, encoding: Encoding, raw_len: u32, body: &[u8], salt: u32) -> Header {
        Header {
            frame_type: Some(frame_type),
            encoding,
            stored_len: body.len() as u32,
            raw_len,
            body_crc: crc32c::crc32c_append(salt, body),
        }
    }

    /// Bytes from the start of this frame to the start of the next.
    pub fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.stored_len).next_multiple_of(ALIGN)
    }

    /// The header's bytes in a segment with this salt.
    pub fn encode(&self, salt: u32) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4] = self.frame_type.map_or(0, |t| t as u8);
        bytes[5] = self.encoding as u8;
        // Byte 6 is the cipher suite (0: none), byte 7 is reserved.
        bytes[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c_append(salt, &bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes a header of a segment with this salt.
    ///
    /// # Errors
    /// Where these bytes are no header of this segment, or one that this program must not pass over.
    pub fn decode(bytes: &[u8; HEADER_LEN], salt: u32) -> Result<Header> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[0..4] != MAGIC {
            return Err(Malformed("no frame begins here"));
        }
        if crc32c::crc32c_append(salt, &bytes[..20]) != word(20) {
            return Err(Malformed("frame header checksum does not match"));
        }
        let frame_type = FrameType::from_byte(bytes[4]);
        if frame_type.is_none() && bytes[5] & FLAG_SKIPPABLE == 0 {
            return Err(UNKNOWN_FRAME);
        }
        if bytes[6] != 0 {
            return Err(Malformed("frame is encrypted with an unknown suite"));
        }
        let encoding = Encoding::from_byte(bytes[5] & ENCODING_MASK).ok_or(Malformed("unknown encoding"))?;
        let header =
            Header { frame_type, encoding, stored_len: word(8), raw_len: word(12), body_crc: word(16) };
        if header.stored_len > BODY_MAX || header.raw_len > BODY_MAX {
            return Err(Malformed("frame length out of range"));
        }
        Ok(header)
    }

    /// Whether these are the body's bytes.
    pub fn matches(&self, body: &[u8], salt: u32) -> bool {
        body.len() == self.stored_len as usize && crc32c::crc32c_append(salt, body) == self.body_crc
    }
}

/// Appends a frame to `out` and gives its header's bytes, which the chain runs over.
pub fn append(
    out: &mut Vec<u8>,
    frame_type: FrameType,
    encoding: Encoding,
    raw_len: u32,
    body: &[u8],
    salt: u32,
) -> [u8; HEADER_LEN] {
    let header = Header::of(frame_type, encoding, raw_len, body, salt).encode(salt);
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(ALIGN as usize), 0);
    header
}

/// Hash chain over frame headers: it ties a batch to the frames before it.
///
/// The headers hold the body checksums, so the chain covers the bodies without reading them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub [u8; 16]);

impl Chain {
    /// The chain's value after one more header.
    pub fn after(self, header: &[u8; HEADER_LEN]) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(header);
        let mut value = [0; 16];
        value.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Chain(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_of_a_header_is_found() {
        let good = Header::of(FrameType::Block, Encoding::Zstd, 9000, b"body", 7).encode(7);
        assert!(Header::decode(&good, 7).is_ok());
        assert!(Header::decode(&good, 8).is_err(), "another segment's salt");
        for bit in 0..HEADER_LEN * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad, 7).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn unknown_types_are_passed_over_only_where_the_flag_says_so() {
        let mut bytes = Header::of(FrameType::Block, Encoding::Raw, 0, b"", 0).encode(0);
        bytes[4] = 77;
        let seal = |bytes: &mut [u8; HEADER_LEN]| {
            let crc = crc32c::crc32c_append(0, &bytes[..20]);
            bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        };
        seal(&mut bytes);
        assert!(Header::decode(&bytes, 0).is_err());
        bytes[5] |= FLAG_SKIPPABLE;
        seal(&mut bytes);
        assert_eq!(Header::decode(&bytes, 0).map(|h| h.frame_type), Ok(None));
    }

    #[test]
    fn frames_are_aligned() {
        for len in 0..20 {
            let mut out = Vec::new();
            append(&mut out, FrameType::Block, Encoding::Raw, len, &vec![1; len as usize], 3);
            assert_eq!(out.len() % 8, 0);
            let mut header = [0; HEADER_LEN];
            header.copy_from_slice(&out[..HEADER_LEN]);
            assert_eq!(Header::decode(&header, 3).map(|h| h.frame_len()), Ok(out.len() as u64));
        }
    }
}

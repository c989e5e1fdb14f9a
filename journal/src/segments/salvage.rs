//! The salt of a segment whose header is damaged, out of the frames that follow it.
//!
//! A CRC is a bijection of its start value: a frame header, which ends in its own checksum, tells the salt that the
//! checksum started from. The body's checksum, which starts from the same salt, confirms it. So a damaged segment header
//! costs the header, and not 64 MiB of frames.

use std::io;

use crate::format::frame::{ALIGN, HEADER_LEN, Header, MAGIC};
use crate::storage::ReadFile;

/// CRC32C, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// How much is searched at once.
const WINDOW: usize = 1 << 20;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut state = i as u32;
        let mut bit = 0;
        while bit < 8 {
            state = if state & 1 == 1 { (state >> 1) ^ POLYNOMIAL } else { state >> 1 };
            bit += 1;
        }
        table[i] = state;
        i += 1;
    }
    table
}

/// The value that a CRC32C over these bytes started from, where `crc` is what came out.
fn start_of(bytes: &[u8], crc: u32) -> u32 {
    let mut state = !crc;
    for byte in bytes.iter().rev() {
        // The highest byte of each entry occurs once, so it tells which entry was used.
        let entry = TABLE.iter().position(|entry| entry >> 24 == state >> 24).unwrap_or(0);
        state = ((state ^ TABLE[entry]) << 8) | (entry as u32 ^ u32::from(*byte));
    }
    !state
}

/// The salt of a segment and where the first frame begins that tells it; `None` where no frame is whole.
pub(super) fn salt(file: &dyn ReadFile) -> io::Result<Option<(u32, u64)>> {
    let len = file.len()?;
    let mut window = Vec::new();
    let mut at = 0u64;
    while at + HEADER_LEN as u64 <= len {
        window.resize(WINDOW, 0);
        let read = file.read_at(&mut window, at)?;
        window.truncate(read);
        let mut offset = 0;
        while let Some(bytes) = window.get(offset..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
            if bytes.starts_with(&MAGIC)
                && let Some(salt) = confirmed(file, bytes, at + offset as u64, len)?
            {
                return Ok(Some((salt, at + offset as u64)));
            }
            offset += ALIGN as usize;
        }
        if offset == 0 {
            break;
        }
        at += offset as u64;
    }
    Ok(None)
}

/// The salt that a frame header tells, where its body says the same.
fn confirmed(
    file: &dyn ReadFile,
    bytes: &[u8; HEADER_LEN],
    offset: u64,
    len: u64,
) -> io::Result<Option<u32>> {
    let crc = u32::from_le_bytes([bytes[20], bytes[21], bytes[22], bytes[23]]);
    let salt = start_of(&bytes[..20], crc);
    let Ok(header) = Header::decode(bytes, salt) else { return Ok(None) };
    let body_at = offset + HEADER_LEN as u64;
    if header.frame_type.is_none() || body_at + u64::from(header.stored_len) > len {
        return Ok(None);
    }
    let mut body = vec![0; header.stored_len as usize];
    let read = file.read_at(&mut body, body_at)?;
    // An empty body confirms nothing.
    Ok((read == body.len() && !body.is_empty() && header.matches(&body, salt)).then_some(salt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::{Encoding, FrameType};

    #[test]
    fn a_frame_header_tells_the_salt_that_it_was_made_with() {
        for salt in [0, 1, 0xdead_beef, u32::MAX, 0x8000_0001] {
            let header = Header::of(FrameType::Pack, Encoding::Zstd, 77, b"some body", salt).encode(salt);
            let crc = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
            assert_eq!(start_of(&header[..20], crc), salt);
        }
    }
}

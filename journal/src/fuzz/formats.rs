//! What stands in a segment file: headers, frames, batches, groups, footers.

use asof_fuzz::Random;

use super::{target, values};
use crate::format::batch::Batch;
use crate::format::frame::{self, FrameType, HEADER_LEN, Header};
use crate::format::op::{
    put_extents, put_gap, put_group, put_policy, put_version, take_extents, take_gap, take_group,
    take_policy, take_version,
};
use crate::format::segment::{Footer, SegmentHeader, TRAILER_LEN, decode_trailer, encode_trailer};
use crate::format::wire::{Result, Take};
use crate::storage::Layout;
use crate::types::{Instant, SegmentId};

/// Flips one to three bits, which CRC32C always finds in what is no longer than these.
fn flip(bytes: &mut [u8], random: &mut Random) {
    let before = bytes.to_vec();
    while bytes == before {
        for _ in 0..=random.below(3) {
            let bit = random.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// Decodes with a function that takes from a slice; everything must be taken.
fn whole<T>(bytes: &[u8], take: impl Fn(&mut Take<'_>) -> Result<T>) -> Result<T> {
    let mut rest = Take::new(bytes);
    let value = take(&mut rest)?;
    rest.finish().map(|()| value)
}

/// A target of a pair of `put` and `take`: both ways round.
fn both_ways<T: PartialEq + std::fmt::Debug>(
    name: &str,
    make: impl Fn(&mut Random) -> T,
    put: impl Fn(&mut Vec<u8>, &T),
    take: impl Fn(&mut Take<'_>) -> Result<T>,
) {
    let encode = |value: &T| {
        let mut bytes = Vec::new();
        put(&mut bytes, value);
        bytes
    };
    let valid = |random: &mut Random| {
        let value = make(random);
        let bytes = encode(&value);
        assert_eq!(whole(&bytes, &take), Ok(value), "a value comes back");
        bytes
    };
    let check = |bytes: &[u8]| match whole(bytes, &take) {
        Ok(value) => {
            assert_eq!(whole(&encode(&value), &take), Ok(value), "what was decoded comes back");
            true
        }
        Err(_) => false,
    };
    target(name, &valid, &check).run();
}

#[test]
fn versions() {
    both_ways("version", values::version, put_version, take_version);
}

#[test]
fn gaps() {
    both_ways("gap", values::gap, put_gap, take_gap);
}

#[test]
fn policies() {
    both_ways("policy", values::policy, put_policy, take_policy);
}

#[test]
fn extents() {
    both_ways("extents", values::extents, |out, extents| put_extents(out, extents), take_extents);
}

#[test]
fn groups() {
    for wall in [0, 1_700_000_000_123_456_789, -5, i64::MIN, i64::MAX].map(Instant) {
        both_ways(
            "group",
            |random| values::group(random, wall),
            |out, group| put_group(out, group, wall),
            |take| take_group(take, wall),
        );
        if wall == Instant(1_700_000_000_123_456_789) {
            // What a writer does with times that lie after the batch: they count as now.
            let mut random = Random::new(3);
            let mut group = values::group(&mut random, wall);
            (group.hinted, group.read) = (Some(Instant(i64::MAX)), Some(Instant(i64::MIN)));
            let mut bytes = Vec::new();
            put_group(&mut bytes, &group, wall);
            assert!(whole(&bytes, |take| take_group(take, wall)).is_ok());
        }
    }
}

#[test]
fn batches() {
    both_ways(
        "batch",
        values::batch,
        |out, batch| out.extend(batch.encode()),
        |take| {
            let batch = Batch::decode(take.rest());
            take.raw(take.rest().len())?;
            batch
        },
    );
}

#[test]
fn footers() {
    both_ways(
        "footer",
        values::footer,
        |out, footer| out.extend(footer.encode()),
        |take| {
            let footer = Footer::decode(take.rest());
            take.raw(take.rest().len())?;
            footer
        },
    );
}

#[test]
fn trailers() {
    let valid = |random: &mut Random| {
        let offset = random.number();
        let bytes = encode_trailer(offset);
        assert_eq!(decode_trailer(&bytes), Some(offset));
        bytes.to_vec()
    };
    let check = |bytes: &[u8]| {
        let Some(offset) = bytes.first_chunk::<TRAILER_LEN>().and_then(decode_trailer) else { return false };
        encode_trailer(offset) == bytes[..TRAILER_LEN]
    };
    target("trailer", &valid, &check).run();
}

/// Puts the checksum of a segment header right.
pub(super) fn mend_segment_header(bytes: &mut [u8]) {
    let Some(len) = bytes.get(12..16).and_then(|len| len.first_chunk::<4>()) else { return };
    let end = (u32::from_le_bytes(*len) as usize).saturating_add(16);
    if end.saturating_add(4) <= bytes.len() {
        let crc = crc32c::crc32c(&bytes[..end]).to_le_bytes();
        bytes[end..end + 4].copy_from_slice(&crc);
    }
}

#[test]
fn segment_headers() {
    let valid = |random: &mut Random| {
        let header = values::segment_header(random);
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok((header, bytes.len() as u64)));
        let len = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize + 20;
        let mut bad = bytes.clone();
        flip(&mut bad[..len], random);
        assert!(SegmentHeader::decode(&bad).is_err(), "flipped bits are found");
        bytes
    };
    let check = |bytes: &[u8]| match SegmentHeader::decode(bytes) {
        Ok((header, _)) => {
            assert_eq!(SegmentHeader::decode(&header.encode()).map(|(header, _)| header), Ok(header));
            true
        }
        Err(_) => false,
    };
    let mend = |bytes: &mut Vec<u8>| mend_segment_header(bytes);
    asof_fuzz::Target { mend: &mend, ..target("segment-header", &valid, &check) }.run();
}

/// Puts the checksum of a frame header right.
pub(super) fn mend_frame_header(header: &mut [u8], salt: u32) {
    if let Some(header) = header.first_chunk_mut::<HEADER_LEN>() {
        let crc = crc32c::crc32c_append(salt, &header[..20]);
        header[20..].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn frames() {
    const SALT: u32 = 0x1234_5678;
    const TYPES: [FrameType; 4] = [FrameType::Block, FrameType::Pack, FrameType::Batch, FrameType::Footer];
    let valid = |random: &mut Random| {
        let body = random.some_bytes(200);
        let mut bytes = Vec::new();
        let (frame_type, encoding, raw) =
            (random.pick(&TYPES), values::encoding(random), values::length(random));
        frame::append(&mut bytes, frame_type, encoding, raw, &body, SALT);
        let decoded = bytes.first_chunk().map(|header| Header::decode(header, SALT));
        assert_eq!(decoded, Some(Ok(Header::of(frame_type, encoding, raw, &body, SALT))));
        let mut bad = bytes.clone();
        flip(&mut bad[..HEADER_LEN], random);
        assert!(bad.first_chunk().is_some_and(|header| Header::decode(header, SALT).is_err()));
        if !body.is_empty() {
            let mut bad = body.clone();
            flip(&mut bad, random);
            assert!(!Header::of(frame_type, encoding, raw, &body, SALT).matches(&bad, SALT));
        }
        bytes
    };
    let check = |bytes: &[u8]| {
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_LEN>() else { return false };
        let Ok(header) = Header::decode(header, SALT) else { return false };
        assert!(header.frame_len() >= HEADER_LEN as u64 && header.frame_len().is_multiple_of(frame::ALIGN));
        if header.frame_type.is_some() {
            assert_eq!(Header::decode(&header.encode(SALT), SALT), Ok(header));
        }
        // Whether the body fits or not, asking is no harm.
        let _ = header.matches(body, SALT);
        true
    };
    let mend = |bytes: &mut Vec<u8>| mend_frame_header(bytes, SALT);
    asof_fuzz::Target { mend: &mend, ..target("frame", &valid, &check) }.run();
}

#[test]
fn segment_names() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let layout = Layout::new("/j");
    let valid = |random: &mut Random| {
        let id = SegmentId(random.number() % 9_999_999_999_999_999 + 1);
        let path = if random.one_in(2) { layout.segment(id) } else { layout.open_segment(id) };
        let name = path.file_name().unwrap_or_default();
        assert_eq!(Layout::parse_segment(name).map(|(id, _)| id), Some(id));
        name.as_bytes().to_vec()
    };
    let check = |bytes: &[u8]| {
        let Some((id, open)) = Layout::parse_segment(OsStr::from_bytes(bytes)) else { return false };
        let path = if open { layout.open_segment(id) } else { layout.segment(id) };
        assert_eq!(path.file_name().map(OsStr::as_bytes), Some(bytes), "one name for a segment");
        true
    };
    target("segment-name", &valid, &check).run();
}

//! What blocks are decoded from: zstd, deltas, packs, also those that claim to be enormous.

use std::sync::LazyLock;

use asof_fuzz::{Memory, Random, Target};
use zstd::zstd_safe::{CCtx, CParameter};

use super::target;
use crate::blocks::{decode_pack, pack_table};
use crate::content::BLOCK_MAX;
use crate::content::codec::Codec;
use crate::format::frame::Encoding;
use crate::types::FullId;

/// What decoding may cost: the bytes that the frame says come out, not those that the compressed data would like to.
/// zstd's own contexts are C and measured apart.
const CODEC: Memory = Memory { fixed: 2 * BLOCK_MAX + (64 << 10), per_byte: 8 };

/// An input: one byte of encoding, three of the length that comes out, one of the base's length in units of 1 KiB.
fn split(bytes: &[u8]) -> Option<(Encoding, usize, usize, &[u8])> {
    let (head, stored) = bytes.split_first_chunk::<5>()?;
    let raw_len = u32::from_le_bytes([head[1], head[2], head[3], 0]) as usize;
    Some((Encoding::from_byte(head[0])?, raw_len, usize::from(head[4]) << 10, stored))
}

/// What deltas stand on: the front of this.
static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| Random::new(9).text(BLOCK_MAX));

#[test]
fn compressed_blocks_and_deltas() {
    let valid = |random: &mut Random| {
        let mut codec = Codec::default();
        let base_len = random.below(64) << 10;
        let plain = match random.below(3) {
            0 => random.some_bytes(2000),
            1 => {
                let len = random.below(30_000);
                random.text(len)
            }
            _ => {
                let mut edited = BASE[..base_len].to_vec();
                let at = random.below(edited.len() + 1);
                edited.splice(at..at, *b"an edit");
                edited
            }
        };
        let mut out = Vec::new();
        let (encoding, base_len, stored) = match codec.encode_delta(&plain, &BASE[..base_len]) {
            Ok(Some(stored)) => (Encoding::Delta, base_len, stored.to_vec()),
            _ => match codec.encode(&plain) {
                Ok((encoding, stored)) => (encoding, 0, stored.to_vec()),
                Err(error) => panic!("{error}"),
            },
        };
        let prefix = (encoding == Encoding::Delta).then_some(&BASE[..base_len]);
        assert_eq!(codec.decode(encoding, &stored, plain.len(), prefix, &mut out), Ok(()));
        assert!(out == plain, "a block comes back");
        let mut input = vec![encoding as u8];
        input.extend_from_slice(&(plain.len() as u32).to_le_bytes()[..3]);
        input.push((base_len >> 10) as u8);
        input.extend_from_slice(&stored);
        input
    };
    let check = |bytes: &[u8]| {
        let Some((encoding, raw_len, base_len, stored)) = split(bytes) else { return false };
        if raw_len > BLOCK_MAX {
            return false;
        }
        let prefix = (encoding == Encoding::Delta).then_some(&BASE[..base_len]);
        let mut out = b"before".to_vec();
        let decoded = Codec::default().decode(encoding, stored, raw_len, prefix, &mut out);
        if decoded.is_ok() {
            assert!(out.len() == 6 + raw_len && out.starts_with(b"before"));
        }
        decoded.is_ok()
    };
    Target { memory: CODEC, ..target("codec", &valid, &check) }.run();
}

/// A bomb: zstd data of some kilobytes that says it is, and would become, far more than the frame says.
#[test]
fn bombs_cost_no_more_than_the_frame_says() {
    let mut bombs = Vec::new();
    for (len, window_log) in [(64usize << 20, 17), (64 << 20, 27), (256 << 20, 30)] {
        let zeroes = vec![0u8; len];
        let mut context = CCtx::create();
        let mut bomb = vec![0; 1 << 20];
        let set = context
            .set_parameter(CParameter::CompressionLevel(1))
            .and_then(|_| context.set_parameter(CParameter::WindowLog(window_log)))
            .and_then(|_| context.set_parameter(CParameter::ContentSizeFlag(window_log == 17)))
            .and_then(|_| context.compress2(&mut bomb, &zeroes));
        let Ok(compressed) = set else { panic!("window of {window_log}") };
        bomb.truncate(compressed);
        assert!(compressed < 64 << 10, "{compressed}");
        bombs.push(bomb);
    }
    let valid = |random: &mut Random| random.pick(&bombs);
    let check = |bytes: &[u8]| {
        let mut codec = Codec::default();
        let before = codec.decoder_bytes();
        let mut accepted = false;
        for raw_len in [0, 1, 4096, BLOCK_MAX] {
            let mut out = Vec::new();
            accepted |= codec.decode(Encoding::Zstd, bytes, raw_len, None, &mut out).is_ok();
            assert!(out.capacity() <= raw_len.max(64), "{} bytes for {raw_len}", out.capacity());
        }
        // The window is the output itself: zstd keeps none of its own, whatever the data asks for.
        assert!(codec.decoder_bytes() <= before + (256 << 10), "{} bytes of zstd", codec.decoder_bytes());
        accepted || bombs.iter().any(|bomb| bomb == bytes)
    };
    Target { memory: Memory { fixed: 2 * BLOCK_MAX, per_byte: 1 }, ..target("bomb", &valid, &check) }.run();
}

/// A pack as it lies in a frame: one byte of encoding, three of the length that comes out, then the body.
#[test]
fn packs() {
    let valid = |random: &mut Random| {
        let mut codec = Codec::default();
        let count = random.below(9);
        let blocks: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let len = random.below(3000);
                random.text(len)
            })
            .collect();
        let members: Vec<(FullId, u32)> =
            blocks.iter().map(|block| (FullId(random.array()), block.len() as u32)).collect();
        let plain = blocks.concat();
        let (encoding, stored) = match codec.encode(&plain) {
            Ok((encoding, stored)) => (encoding, stored.to_vec()),
            Err(error) => panic!("{error}"),
        };
        let body = [pack_table(&members), stored].concat();
        let mut fresh = Codec::default();
        match decode_pack(&body, encoding, plain.len() as u32, &mut fresh) {
            Ok(decoded) => assert!(decoded.bytes == plain && decoded.members.len() == count),
            Err(error) => panic!("a pack does not come back: {error}"),
        }
        let mut input = vec![encoding as u8];
        input.extend_from_slice(&(plain.len() as u32).to_le_bytes()[..3]);
        input.extend_from_slice(&body);
        input
    };
    let check = |bytes: &[u8]| {
        let Some((head, body)) = bytes.split_first_chunk::<4>() else { return false };
        let Some(encoding) = Encoding::from_byte(head[0]) else { return false };
        let raw_len = u32::from_le_bytes([head[1], head[2], head[3], 0]).min(BLOCK_MAX as u32);
        let Ok(decoded) = decode_pack(body, encoding, raw_len, &mut Codec::default()) else { return false };
        for (_, range) in &decoded.members {
            assert!(decoded.bytes.get(range.clone()).is_some(), "a block outside of its pack");
        }
        true
    };
    Target { memory: CODEC, ..target("pack", &valid, &check) }.run();
}

//! Compression: raw, zstd, or zstd with the block before as its prefix (a delta).
//!
//! zstd with a wrong base gives wrong bytes without an error, so whoever decodes checks the block's id afterwards.

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use crate::error::{Error, Result};
use crate::format::frame::Encoding;

/// Where size per second of two cores is best on source trees; see ARCHITECTURE.md for the figures.
const LEVEL: i32 = 3;

/// Contexts and a buffer, kept between blocks: making them anew costs more than compressing a block.
///
/// Deltas take a fresh context each: in the safe interface a prefix must outlive the context that refers to it.
pub struct Codec {
    compress: CCtx<'static>,
    decompress: DCtx<'static>,
    buffer: Vec<u8>,
}

impl Default for Codec {
    fn default() -> Self {
        Codec { compress: CCtx::create(), decompress: DCtx::create(), buffer: Vec::new() }
    }
}

impl Codec {
    /// Compresses, unless that does not make it shorter.
    ///
    /// # Errors
    /// `Codec`, when zstd is out of memory.
    pub fn encode<'a>(&'a mut self, plain: &'a [u8]) -> Result<(Encoding, &'a [u8])> {
        self.buffer.resize(zstd_safe::compress_bound(plain.len()), 0);
        let len = compress(&mut self.compress, &mut self.buffer, plain).map_err(refused)?;
        Ok(if len < plain.len() { (Encoding::Zstd, &self.buffer[..len]) } else { (Encoding::Raw, plain) })
    }

    /// Compresses against a base; `None` where that leaves more than half, because then the base is of little use
    /// and a chain is not worth it.
    ///
    /// # Errors
    /// `Codec`, when zstd is out of memory.
    pub fn encode_delta(&mut self, plain: &[u8], base: &[u8]) -> Result<Option<&[u8]>> {
        self.buffer.resize(zstd_safe::compress_bound(plain.len()), 0);
        let mut context = CCtx::create();
        context.ref_prefix(base).map_err(refused)?;
        let len = compress(&mut context, &mut self.buffer, plain).map_err(refused)?;
        Ok((len < plain.len() / 2).then(|| &self.buffer[..len]))
    }

    /// Appends the plain bytes to `out`.
    ///
    /// # Errors
    /// What does not hold, in words; the caller knows the block and adds where it lies.
    pub fn decode(
        &mut self,
        encoding: Encoding,
        stored: &[u8],
        raw_len: usize,
        base: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        let start = out.len();
        let len = match (encoding, base) {
            (Encoding::Raw, None) => {
                out.extend_from_slice(stored);
                Ok(stored.len())
            }
            (Encoding::Zstd, None) => {
                out.resize(start + raw_len, 0);
                self.decompress.decompress(&mut out[start..], stored)
            }
            (Encoding::Delta, Some(base)) => {
                out.resize(start + raw_len, 0);
                let mut context = DCtx::create();
                context.ref_prefix(base).and_then(|_| context.decompress(&mut out[start..], stored))
            }
            _ => return Err("a delta without a base, or a base without a delta".into()),
        };
        match len {
            Ok(len) if len == raw_len => Ok(()),
            Ok(len) => Err(format!("decoded to {len} bytes instead of {raw_len}")),
            Err(code) => Err(zstd_safe::get_error_name(code).to_string()),
        }
    }
}

#[cfg(test)]
impl Codec {
    /// Bytes that zstd has for decoding; its allocations are not Rust's.
    pub(crate) fn decoder_bytes(&self) -> usize {
        self.decompress.sizeof()
    }
}

fn compress(context: &mut CCtx<'_>, out: &mut [u8], plain: &[u8]) -> zstd_safe::SafeResult {
    context.set_parameter(CParameter::CompressionLevel(LEVEL))?;
    context.compress2(out, plain)
}

fn refused(code: zstd_safe::ErrorCode) -> Error {
    Error::Codec { what: zstd_safe::get_error_name(code).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: usize) -> Vec<u8> {
        (0..lines)
            .flat_map(|i| format!("{i}: fn f{}() -> u{} {{ }}\n", i * 7919 % 1000, i % 64).into_bytes())
            .collect()
    }

    fn decode(
        encoding: Encoding,
        stored: &[u8],
        len: usize,
        base: Option<&[u8]>,
    ) -> std::result::Result<Vec<u8>, String> {
        let mut out = Vec::new();
        Codec::default().decode(encoding, stored, len, base, &mut out).map(|()| out)
    }

    #[test]
    fn what_is_compressed_comes_back() -> Result<()> {
        let mut codec = Codec::default();
        for plain in [text(5000), text(1), b"x".to_vec(), Vec::new(), (0..=255).collect()] {
            let (encoding, stored) = codec.encode(&plain)?;
            assert!(stored.len() <= plain.len());
            assert_eq!(decode(encoding, stored, plain.len(), None), Ok(plain.clone()));
        }
        Ok(())
    }

    #[test]
    fn a_delta_of_a_small_edit_is_small_even_at_the_far_end_of_two_full_blocks() -> Result<()> {
        let base = text(12_000)[..super::super::BLOCK_MAX].to_vec();
        for at in [0, base.len() / 2, base.len() - 10] {
            let mut plain = base.clone();
            plain[at..at + 4].copy_from_slice(b"EDIT");
            let mut codec = Codec::default();
            let Some(stored) = codec.encode_delta(&plain, &base)? else { panic!("no delta at {at}") };
            assert!(stored.len() < 200, "{} bytes at {at}", stored.len());
            assert_eq!(decode(Encoding::Delta, stored, plain.len(), Some(&base)), Ok(plain));
        }
        Ok(())
    }

    #[test]
    fn a_useless_base_gives_no_delta() -> Result<()> {
        let noise: Vec<u8> = (0..4096u64).map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[0]).collect();
        assert!(Codec::default().encode_delta(&noise, b"unrelated")?.is_none());
        Ok(())
    }

    #[test]
    fn damaged_bytes_are_an_error_or_other_bytes_but_never_a_panic() -> Result<()> {
        let plain = text(300);
        let mut codec = Codec::default();
        let stored = codec.encode(&plain)?.1.to_vec();
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 0x55;
            let _ = decode(Encoding::Zstd, &bad, plain.len(), None);
        }
        assert!(decode(Encoding::Zstd, &stored, plain.len() + 1, None).is_err());
        assert!(decode(Encoding::Delta, &stored, plain.len(), None).is_err());
        Ok(())
    }
}

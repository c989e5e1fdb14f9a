//! The primitive encodings: variable-length integers, byte strings, times.
//!
//! Integers are LEB128 (unsigned) or zigzag LEB128 (signed); byte strings carry their length in front.

use crate::types::Instant;

/// Bytes that do not decode; says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// The module's result.
pub type Result<T> = std::result::Result<T, Malformed>;

/// Appends primitive values to a byte vector.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// An unsigned integer, LEB128.
    fn put_uint(&mut self, value: u64);
    /// An unsigned integer with a tag of two bits below it, LEB128 of up to 66 bits.
    fn put_tagged(&mut self, value: u64, tag: u8);
    /// A signed integer, zigzag LEB128.
    fn put_int(&mut self, value: i64);
    /// Bytes as they are; the reader knows how many.
    fn put_raw(&mut self, bytes: &[u8]);
    /// Bytes with their length in front.
    fn put_bytes(&mut self, bytes: &[u8]);
    /// A time as seconds and nanoseconds: whole seconds are common and compress well.
    fn put_time(&mut self, time: Instant);
}

const NANOS: i64 = 1_000_000_000;

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_uint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_tagged(&mut self, value: u64, tag: u8) {
        let (rest, first) = (value >> 5, ((value & 31) << 2) as u8 | tag & 3);
        match rest {
            0 => self.push(first),
            _ => {
                self.push(first | 0x80);
                self.put_uint(rest);
            }
        }
    }

    fn put_int(&mut self, value: i64) {
        self.put_uint(((value << 1) ^ (value >> 63)) as u64);
    }

    fn put_raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_uint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn put_time(&mut self, time: Instant) {
        self.put_int(time.0.div_euclid(NANOS));
        self.put_uint(time.0.rem_euclid(NANOS) as u64);
    }
}

/// Takes primitive values from the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    rest: &'a [u8],
}

/// Decodes bytes that hold one value and nothing behind it.
///
/// # Errors
/// Those of `take`, and where bytes are left over.
pub fn whole<'a, T>(bytes: &'a [u8], take: impl FnOnce(&mut Take<'a>) -> Result<T>) -> Result<T> {
    let mut rest = Take::new(bytes);
    let value = take(&mut rest)?;
    rest.finish()?;
    Ok(value)
}

impl<'a> Take<'a> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Take<'a> {
        Take { rest: bytes }
    }

    /// What has not been taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails unless everything has been taken.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("trailing bytes")) }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8> {
        let (&first, rest) = self.rest.split_first().ok_or(Malformed("value cut short"))?;
        self.rest = rest;
        Ok(first)
    }

    /// An unsigned integer, LEB128 of at most ten bytes.
    pub fn uint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed("integer too large"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("integer too long"))
    }

    /// An unsigned integer and the tag of two bits below it.
    pub fn tagged(&mut self) -> Result<(u64, u8)> {
        let first = self.u8()?;
        let rest = if first & 0x80 == 0 { 0 } else { self.uint()? };
        if rest >> 59 != 0 {
            return Err(Malformed("integer too large"));
        }
        Ok((rest << 5 | u64::from(first & 0x7f) >> 2, first & 3))
    }

    /// An unsigned integer that must fit 32 bits.
    pub fn uint32(&mut self) -> Result<u32> {
        u32::try_from(self.uint()?).map_err(|_| Malformed("integer exceeds 32 bits"))
    }

    /// A signed integer, zigzag LEB128.
    pub fn int(&mut self) -> Result<i64> {
        let value = self.uint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of things that occupy at least `each` bytes: never more than the rest can hold.
    pub fn count(&mut self, each: usize) -> Result<usize> {
        let count = usize::try_from(self.uint()?).map_err(|_| Malformed("count too large"))?;
        if count > self.rest.len() / each.max(1) {
            return Err(Malformed("count exceeds the bytes there are"));
        }
        Ok(count)
    }

    /// The next `len` bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8]> {
        if len > self.rest.len() {
            return Err(Malformed("bytes cut short"));
        }
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.count(1)?;
        self.raw(len)
    }

    /// A time.
    pub fn time(&mut self) -> Result<Instant> {
        let seconds = self.int()?;
        let nanos = self.uint()?;
        if nanos >= NANOS as u64 {
            return Err(Malformed("nanoseconds out of range"));
        }
        // The first second that there is begins before the first nanosecond: only the sum has to fit.
        let ns = i128::from(seconds) * i128::from(NANOS) + i128::from(nanos);
        i64::try_from(ns).map(Instant).map_err(|_| Malformed("time out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_at_every_boundary() {
        for value in (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            bytes.put_uint(value);
            bytes.put_int(value as i64);
            bytes.put_tagged(value, 2);
            let mut take = Take::new(&bytes);
            assert_eq!(take.uint(), Ok(value));
            assert_eq!(take.int(), Ok(value as i64));
            assert_eq!(take.tagged(), Ok((value, 2)));
            assert_eq!(take.finish(), Ok(()));
        }
    }

    /// `i64::MIN` is what a file gets whose time lies before 1677, as tmpfs and btrfs allow: a batch that held it was written
    /// and could not be read.
    #[test]
    fn times_before_1970_and_at_the_ends_come_back() {
        for ns in [0, -1, 1, i64::MIN, i64::MIN + 1, i64::MIN + NANOS, i64::MAX, -NANOS, NANOS - 1] {
            let mut bytes = Vec::new();
            bytes.put_time(Instant(ns));
            assert_eq!(Take::new(&bytes).time(), Ok(Instant(ns)), "{ns}");
        }
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        assert!(Take::new(&[0x80]).uint().is_err());
        assert!(Take::new(&[0xff; 10]).uint().is_err());
        assert!(Take::new(&[0xff; 11]).uint().is_err());
        assert!(Take::new(&[5, 1, 2]).bytes().is_err());
        assert!(Take::new(&[200, 1]).count(1).is_err());
        assert!(Take::new(&[1]).finish().is_err());
    }
}

//! A seeded source of choices that likes the ends of ranges: that is where decoders go wrong.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source that starts from a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The source of one input of a run: any input can be made again without those before it.
    pub fn nth(seed: u64, n: u64) -> Random {
        let mut random = Random(seed ^ n.wrapping_mul(0xd134_2543_de82_ef95));
        random.bits();
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.bits().checked_rem(end as u64).unwrap_or(0) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of some.
    ///
    /// # Panics
    /// Of none.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        match from.get(at) {
            Some(item) => item.clone(),
            None => panic!("one of nothing"),
        }
    }

    /// A number that is often small, often next to a power of two, and sometimes anything.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX - self.below(3) as u64,
            2 | 3 => self.below(300) as u64,
            4 | 5 => (1u64 << self.below(64)).wrapping_add(self.below(3) as u64).wrapping_sub(1),
            6 => self.bits() >> self.below(64),
            _ => self.bits(),
        }
    }

    /// The same as a signed number.
    pub fn signed(&mut self) -> i64 {
        let number = self.number() as i64;
        match self.below(4) {
            0 => number.wrapping_neg(),
            1 => i64::MIN.wrapping_add(self.below(2_000_000_000) as i64),
            _ => number,
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// As many bytes as an array has.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.fill_with(|| self.bits() as u8);
        array
    }

    /// Bytes of any length below `end`.
    pub fn some_bytes(&mut self, end: usize) -> Vec<u8> {
        let len = self.below(end);
        self.bytes(len)
    }

    /// Bytes that compress, as text does.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = ["return ", "struct ", "{\n", "}\n", "offset", " = ", "mask;", "0x"];
        let mut text = Vec::with_capacity(len + 24);
        while text.len() < len {
            text.extend_from_slice(self.pick(&WORDS).as_bytes());
            if self.one_in(4) {
                text.extend_from_slice(format!("{:x} ", self.below(4096)).as_bytes());
            }
        }
        text.truncate(len);
        text
    }
}

//! A seeded source of choices: the same seed gives the same tree and the same edits on every machine.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source that starts from a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The seed for a test: its own, or `ASOF_TEST_SEED` to try another. Prints it, so that a failure can be repeated.
    pub fn for_test(default_seed: u64) -> Random {
        let seed = seed_given().unwrap_or(default_seed);
        println!("ASOF_TEST_SEED={seed}");
        Random(seed)
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
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits().checked_rem(end).unwrap_or(0)
    }

    /// One of some; `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.below(from.len() as u64) as usize;
        from.get(index)
    }

    /// Takes `count` different ones, in random order; all of them where there are fewer.
    pub fn take<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut rest = from.to_vec();
        let mut taken = Vec::new();
        while taken.len() < count && !rest.is_empty() {
            let index = self.below(rest.len() as u64) as usize;
            taken.push(rest.swap_remove(index));
        }
        taken
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// Lines of words, about as compressible as source code; exactly `len` bytes.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 24] = [
            "struct", "return", "static", "const", "unsigned", "register", "offset", "shift", "mask",
            "buffer", "index", "device", "if", "else", "while", "0x", "clock", "power", "reset", "enable",
            "status", "{", "}", ";",
        ];
        let mut text = Vec::with_capacity(len + 64);
        while text.len() < len {
            for _ in 0..(2 + self.below(9)) {
                let word = WORDS[self.below(WORDS.len() as u64) as usize];
                text.extend_from_slice(word.as_bytes());
                text.extend_from_slice(format!("_{:x} ", self.below(4096)).as_bytes());
            }
            text.push(b'\n');
        }
        text.truncate(len);
        text
    }
}

/// The seed in `ASOF_TEST_SEED`, if there is one.
pub fn seed_given() -> Option<u64> {
    std::env::var("ASOF_TEST_SEED").ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert_eq!(a.bytes(1000), b.bytes(1000));
        assert_eq!(a.text(1000), b.text(1000));
        assert_ne!(Random::new(7).bits(), Random::new(8).bits());
    }

    #[test]
    fn lengths_are_exact_and_nothing_is_taken_twice() {
        let mut random = Random::new(1);
        for len in [0, 1, 7, 8, 9, 513] {
            assert_eq!(random.bytes(len).len(), len);
            assert_eq!(random.text(len).len(), len);
        }
        let mut taken = random.take(&[1, 2, 3], 9);
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}

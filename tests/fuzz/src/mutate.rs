//! How a valid input is broken.

use crate::Random;

/// No input grows beyond this.
const LEN_MAX: usize = 1 << 20;

/// Changes an input in one to eight places. `words` are what means something to its decoder; `other` is a second valid
/// input, of which pieces may be taken.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    let most = 1 << random.below(4);
    for _ in 0..=random.below(most) {
        once(bytes, other, words, random);
    }
    bytes.truncate(LEN_MAX);
}

fn once(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(15) {
        0..=2 => flip(bytes, at, random),
        3 => replace(bytes, at, 1, &[random.pick(&[0, 1, 2, 0x7f, 0x80, 0xff, b'/', b'"', b'@'])]),
        4 => drop(bytes.drain(range(bytes.len(), random))),
        5 => {
            let piece = bytes[range(bytes.len(), random)].to_vec();
            replace(bytes, at, 0, &piece);
        }
        6 => {
            let piece = bytes[range(bytes.len(), random)].to_vec();
            replace(bytes, at, piece.len(), &piece);
        }
        7 => replace(bytes, at, 0, &random.some_bytes(20)),
        8 => bytes.truncate(at),
        9 | 10 => {
            // Where a length or a count may stand: another number of the same kind.
            let end = bytes.iter().skip(at).take(9).take_while(|byte| **byte >= 0x80).count() + 1;
            replace(bytes, at, end, &variable(random.number()));
        }
        11 => {
            let width = random.pick(&[1, 2, 4, 8]);
            let number = random.number().to_le_bytes();
            replace(bytes, at, width, &number[..width]);
        }
        12 | 13 if !words.is_empty() => {
            let word = random.pick(words);
            let over = if random.one_in(2) { word.len() } else { 0 };
            replace(bytes, at, over, word);
        }
        _ => {
            let piece = &other[range(other.len(), random)];
            let over = if random.one_in(2) { piece.len() } else { 0 };
            replace(bytes, at, over, piece);
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Puts `piece` at a place, over so many bytes.
fn replace(bytes: &mut Vec<u8>, at: usize, over: usize, piece: &[u8]) {
    let end = (at + over).min(bytes.len());
    bytes.splice(at..end, piece.iter().copied());
}

/// A piece of something, seldom a long one.
fn range(len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(len + 1);
    let most = if random.one_in(8) { len } else { 32 };
    start..(start + random.below(most + 1)).min(len)
}

/// LEB128, as most formats here have their numbers.
fn variable(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

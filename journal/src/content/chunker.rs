//! Where a long file is cut: FastCDC with 16, 64 and 256 KiB.
//!
//! The crate is pinned and golden vectors hold it to its cut points, because a moved cut point breaks no journal but
//! stores again what was stored already.

use fastcdc::v2020::FastCDC;

use super::BLOCK_MAX;

const MIN: usize = 16 << 10;
const AVERAGE: usize = 64 << 10;

/// How many bytes at the front of `window` are the next chunk.
///
/// `window` holds at least [`BLOCK_MAX`] bytes unless the data ends with it; only then is the cut independent of how
/// the data was read.
pub fn cut(window: &[u8]) -> usize {
    if window.len() <= MIN {
        return window.len();
    }
    let chunker = FastCDC::new(window, MIN, AVERAGE, BLOCK_MAX);
    let (_, end) = chunker.cut(0, window.len());
    end.clamp(1, window.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*: the same bytes for ever.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        (0..len)
            .map(|_| {
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
            })
            .collect()
    }

    fn cuts(mut data: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        while !data.is_empty() {
            let len = cut(&data[..data.len().min(BLOCK_MAX)]);
            cuts.push(len);
            data = &data[len..];
        }
        cuts
    }

    #[test]
    fn golden_cut_points() {
        assert_eq!(cuts(&noise(600_000)), GOLDEN);
    }

    #[test]
    fn chunks_stay_within_their_limits_and_find_themselves_again_after_an_insertion() {
        let data = noise(4 << 20);
        let before = cuts(&data);
        assert_eq!(before.iter().sum::<usize>(), data.len());
        assert!(before[..before.len() - 1].iter().all(|len| (MIN..=BLOCK_MAX).contains(len)));

        let mut edited = data.clone();
        edited.splice(1_000_000..1_000_000, *b"inserted");
        let after = cuts(&edited);
        let common = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(common > before.len() / 2, "{common} of {}", before.len());
    }

    const GOLDEN: [usize; 8] = [92_783, 30_828, 85_001, 143_402, 32_738, 105_704, 91_723, 17_821];
}

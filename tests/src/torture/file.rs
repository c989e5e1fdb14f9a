//! One file of the hostile medium: what is read of it, and which bytes of that a power cut may take.

use std::ops::Range;

use crate::random::Random;

/// The least that a disk writes at once.
const SECTOR: usize = 512;
/// What the kernel writes at once.
const PAGE: usize = 4096;

/// What becomes at a power cut of bytes and names that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are lost.
    Nothing,
    /// They are there: the cache was written out a moment before.
    Everything,
    /// Up to some byte they are there, then they are not.
    Prefix,
    /// Some sectors of 512 bytes are there.
    Sectors,
    /// Some pages of 4 KiB are there.
    Pages,
    /// Another one for each file.
    Mixed,
}

impl Fate {
    /// All that there are.
    pub const ALL: [Fate; 6] =
        [Fate::Nothing, Fate::Everything, Fate::Prefix, Fate::Sectors, Fate::Pages, Fate::Mixed];
}

/// Bytes that were written and are not certain to be on the medium.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loose {
    range: Range<usize>,
    /// Whether a sync would make them certain; not after one that failed.
    dirty: bool,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    bytes: Vec<u8>,
    loose: Vec<Loose>,
    /// How it was before it was cut to a length, which is not certain to have reached the medium.
    uncut: Option<(Vec<u8>, Vec<Loose>)>,
    failed: Option<&'static str>,
}

impl Inode {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What failed on it; nothing may be written after that.
    pub(super) fn failed(&self) -> Option<&'static str> {
        self.failed
    }

    pub(super) fn fail(&mut self, what: &'static str) {
        self.failed = Some(what);
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.loose.push(Loose { range: start..self.bytes.len(), dirty: true });
    }

    /// Everything that is dirty is certain from now on.
    pub(super) fn sync(&mut self) {
        self.loose.retain(|loose| !loose.dirty);
        self.uncut = None;
    }

    /// The kernel has marked the pages clean: they are read, and nobody writes them out any more.
    pub(super) fn sync_fails(&mut self) {
        for loose in &mut self.loose {
            loose.dirty = false;
        }
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.uncut.get_or_insert_with(|| (self.bytes.clone(), self.loose.clone()));
        self.bytes.truncate(len);
        self.loose = clip(std::mem::take(&mut self.loose), self.bytes.len());
    }

    /// The memory forgets what it has of the file: bytes whose sync failed are now what the medium has.
    pub(super) fn forget_cache(&mut self, random: &mut Random) {
        for loose in self.loose.extract_if(.., |loose| !loose.dirty) {
            let fill = Fill::Zeros;
            tear(&mut self.bytes, &loose.range, SECTOR, random, &fill);
        }
    }

    /// Decides what is there after a power cut. `stale` is what may lie where nothing was written.
    pub(super) fn power_cut(&mut self, fate: Fate, random: &mut Random, stale: &[Vec<u8>]) {
        if let Some((bytes, loose)) = self.uncut.take()
            && random.below(2) == 0
        {
            (self.bytes, self.loose) = (bytes, loose);
        }
        let fate = match fate {
            Fate::Mixed => Fate::ALL[random.below(Fate::ALL.len() as u64 - 1) as usize],
            other => other,
        };
        let certain = self.certain_len();
        let loose = std::mem::take(&mut self.loose);
        let fill = Fill::choose(random, stale);
        match fate {
            Fate::Everything => {}
            Fate::Nothing => self.lose(certain, &loose, random, &fill),
            Fate::Prefix => {
                let len = certain + random.below((self.bytes.len() - certain) as u64 + 1) as usize;
                self.lose(len, &clip(loose.clone(), certain), random, &fill);
            }
            Fate::Sectors | Fate::Pages | Fate::Mixed => {
                let unit = if fate == Fate::Pages { PAGE } else { SECTOR };
                for loose in &loose {
                    tear(&mut self.bytes, &loose.range, unit, random, &fill);
                }
                if random.below(3) == 0 {
                    let len = certain + random.below((self.bytes.len() - certain) as u64 + 1) as usize;
                    self.bytes.truncate(len);
                }
            }
        }
        self.failed = None;
    }

    /// Loses all loose bytes below `len`, and everything behind it.
    fn lose(&mut self, len: usize, loose: &[Loose], random: &mut Random, fill: &Fill) {
        self.bytes.truncate(len);
        for loose in clip(loose.to_vec(), len) {
            fill.put(&mut self.bytes, &loose.range, random);
        }
    }

    /// The length below which some byte is certain.
    fn certain_len(&self) -> usize {
        let mut len = self.bytes.len();
        for loose in self.loose.iter().rev() {
            if loose.range.end == len {
                len = loose.range.start;
            }
        }
        len
    }
}

/// The part of loose bytes below a length.
fn clip(loose: Vec<Loose>, len: usize) -> Vec<Loose> {
    let clipped = loose.into_iter().map(|loose| Loose {
        range: loose.range.start.min(len)..loose.range.end.min(len),
        dirty: loose.dirty,
    });
    clipped.filter(|loose| !loose.range.is_empty()).collect()
}

/// Loses some of the units that a range touches.
fn tear(bytes: &mut [u8], range: &Range<usize>, unit: usize, random: &mut Random, fill: &Fill) {
    for start in (range.start / unit * unit..range.end).step_by(unit) {
        if random.below(2) == 0 {
            let lost = start.max(range.start)..(start + unit).min(range.end);
            fill.put(bytes, &lost, random);
        }
    }
}

/// What lies on the medium where bytes did not reach it.
enum Fill {
    Zeros,
    Noise,
    /// What some file of this medium has at the same place: blocks are used again.
    Stale(Vec<u8>),
}

impl Fill {
    fn choose(random: &mut Random, stale: &[Vec<u8>]) -> Fill {
        match (random.below(4), random.pick(stale)) {
            (0, _) => Fill::Noise,
            (1, Some(other)) => Fill::Stale(other.clone()),
            _ => Fill::Zeros,
        }
    }

    fn put(&self, bytes: &mut [u8], range: &Range<usize>, random: &mut Random) {
        let end = range.end.min(bytes.len());
        let at = range.start.min(end)..end;
        match self {
            Fill::Zeros => bytes[at].fill(0),
            Fill::Noise => {
                let noise = random.bytes(at.len());
                bytes[at].copy_from_slice(&noise);
            }
            Fill::Stale(other) => {
                for place in at {
                    bytes[place] = other.get(place).copied().unwrap_or(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(fate: Fate, file: &Inode, seed: u64) -> Vec<u8> {
        let mut file = file.clone();
        file.power_cut(fate, &mut Random::new(seed), &[]);
        file.bytes
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_may_go_in_any_order() {
        let mut file = Inode::default();
        file.append(&[1; 700]);
        file.sync();
        file.append(&[2; 9000]);
        assert_eq!(file.bytes().len(), 9700);
        assert_eq!(after(Fate::Nothing, &file, 1), [1; 700]);
        assert_eq!(after(Fate::Everything, &file, 1), file.bytes());
        let mut reordered = 0;
        for seed in 0..50 {
            for fate in Fate::ALL {
                let bytes = after(fate, &file, seed);
                assert!(bytes.len() <= 9700 && bytes.starts_with(&[1; 700]), "{fate:?} {seed}");
                let late = bytes.iter().rposition(|&byte| byte == 2).unwrap_or(0);
                reordered += usize::from(
                    bytes[700.min(bytes.len())..]
                        .iter()
                        .position(|&b| b != 2)
                        .is_some_and(|first| 700 + first < late),
                );
            }
        }
        assert!(reordered > 50, "{reordered}");
    }

    #[test]
    fn no_later_sync_makes_up_for_one_that_failed() {
        let mut file = Inode::default();
        file.append(&[1; 600]);
        file.sync_fails();
        file.append(&[2; 600]);
        file.sync();
        assert_eq!(file.bytes(), [[1; 600], [2; 600]].concat(), "it is read all the same");
        let lost = (0..20).map(|seed| after(Fate::Nothing, &file, seed));
        for bytes in lost {
            assert!(bytes.len() == 1200 && bytes[..600] != [1; 600] && bytes[600..] == [2; 600]);
        }
        let torn = (0..20).filter(|&seed| {
            let mut file = file.clone();
            file.forget_cache(&mut Random::new(seed));
            file.bytes[..600] != [1; 600]
        });
        assert!(torn.count() > 5);
    }

    #[test]
    fn a_cut_may_not_have_happened() {
        let mut file = Inode::default();
        file.append(&[1; 2000]);
        file.sync();
        file.truncate(100);
        assert_eq!(file.bytes().len(), 100);
        let lens: std::collections::BTreeSet<usize> =
            (0..20).map(|seed| after(Fate::Sectors, &file, seed).len()).collect();
        assert_eq!(lens, [100, 2000].into());
        file.sync();
        assert_eq!(after(Fate::Nothing, &file, 3).len(), 100);
    }
}

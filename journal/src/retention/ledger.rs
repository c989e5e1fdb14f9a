//! Who is charged for which blocks: references go in, stored bytes a group come out, in bounded memory.
//!
//! Owns the way through the index of blocks. Blocks are told apart by the first 8 bytes of their ids, which are as good as
//! random: of a hundred million, two have the same with a chance of 1 in 4,000. Where there are too many references for the memory, those
//! to the upper part of all ids are left for another pass.

use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::Located;
use crate::records::Records;
use crate::types::BlockId;

/// References that are held at a time, in bytes.
const BYTES_MAX: usize = 88 << 20;
/// No base.
const NONE: u32 = u32::MAX;

/// A block that is charged.
#[derive(Clone, Copy, Debug)]
struct Charged {
    prefix: u64,
    /// Who is charged: of several the lowest number.
    group: u32,
    /// The place of its base among the charged ones.
    base: u32,
}

/// References to blocks within a part of all ids.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The part: from this prefix on,
    from: u64,
    /// and up to before this one.
    until: Option<u64>,
    /// Blocks that nobody is charged for, since something that stays needs them.
    free: Vec<u64>,
    charged: Vec<Charged>,
    bytes_max: usize,
}

/// What a block costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    /// Who is charged.
    pub(super) group: u32,
    /// Bytes stored for it alone, or its plain bytes where it shares a pack.
    pub(super) bytes: u32,
    /// Whether it shares a pack.
    pub(super) packed: bool,
    /// Whether a block that nobody is charged for is a delta on it, directly or by others.
    pub(super) is_base: bool,
}

/// What the blocks of a part are in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Stored bytes of packs, and the plain bytes in them.
    pub(super) pack_stored: u64,
    pub(super) pack_plain: u64,
    /// Stored bytes of blocks alone that nothing refers to, and plain bytes of those in packs.
    pub(super) unreferenced: u64,
    pub(super) unreferenced_packed: u64,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger::with_bytes(BYTES_MAX)
    }

    fn with_bytes(bytes_max: usize) -> Ledger {
        // As much as there may be at once: room that is not used costs nothing, and nothing is ever copied to grow.
        let free = Vec::with_capacity(bytes_max / size_of::<u64>());
        let charged = Vec::with_capacity(bytes_max / size_of::<Charged>());
        Ledger { from: 0, until: None, free, charged, bytes_max }
    }

    /// Something that stays refers to the block.
    pub(super) fn free(&mut self, id: BlockId) {
        let prefix = prefix(&id.0);
        if self.is_mine(prefix) && self.free.last() != Some(&prefix) {
            self.make_room();
            if self.is_mine(prefix) {
                self.free.push(prefix);
            }
        }
    }

    /// Something of the group refers to the block.
    pub(super) fn charge(&mut self, id: BlockId, group: u32) {
        let prefix = prefix(&id.0);
        let again = self.charged.last().is_some_and(|last| (last.prefix, last.group) == (prefix, group));
        if self.is_mine(prefix) && !again {
            self.make_room();
            if self.is_mine(prefix) {
                self.charged.push(Charged { prefix, group, base: NONE });
            }
        }
    }

    /// Whether nobody is charged for anything, in this part or in another.
    pub(super) fn charges_nothing(&self) -> bool {
        self.charged.is_empty() && self.until.is_none()
    }

    fn is_mine(&self, prefix: u64) -> bool {
        prefix >= self.from && self.until.is_none_or(|until| prefix < until)
    }

    fn is_full(&self, bytes_max: usize) -> bool {
        self.free.len() * size_of::<u64>() + self.charged.len() * size_of::<Charged>() >= bytes_max
    }

    fn make_room(&mut self) {
        if !self.is_full(self.bytes_max) {
            return;
        }
        self.tidy();
        // The upper half goes until there is room for a while.
        while self.is_full(self.bytes_max / 4 * 3) {
            let middle = match self.charged.len() > self.free.len() / 2 {
                true => self.charged.get(self.charged.len() / 2).map(|charged| charged.prefix),
                false => self.free.get(self.free.len() / 2).copied(),
            };
            let Some(middle) = middle.filter(|middle| *middle > self.from) else { break };
            self.until = Some(middle);
            self.free.truncate(self.free.partition_point(|prefix| *prefix < middle));
            self.charged.truncate(self.charged.partition_point(|charged| charged.prefix < middle));
        }
    }

    fn tidy(&mut self) {
        self.free.sort_unstable();
        self.free.dedup();
        self.charged.sort_unstable_by_key(|charged| (charged.prefix, charged.group));
        self.charged.dedup_by_key(|charged| charged.prefix);
        let mut free = self.free.iter().peekable();
        self.charged.retain(|charged| {
            while free.next_if(|prefix| **prefix < charged.prefix).is_some() {}
            free.peek() != Some(&&charged.prefix)
        });
    }

    /// Ends a pass: says what each charged block costs. Says whether there is a part left for another pass.
    pub(super) fn settle(
        &mut self,
        records: &Records,
        sums: &mut Sums,
        pay: &mut dyn FnMut(Cost),
    ) -> Result<bool> {
        self.tidy();
        let damage = records.index_damage(Cf::Block);
        let mut bytes: Vec<u32> = vec![0; self.charged.len()];
        let mut needed = Vec::new();
        let mut scan = records.store.scan(Cf::Block, &[])?;
        scan.seek(&self.from.to_be_bytes())?;
        let (mut free, mut charged) = (0, 0);
        while let Some((key, value)) = scan.item() {
            let prefix = prefix(key);
            if self.until.is_some_and(|until| prefix >= until) {
                break;
            }
            while self.free.get(free).is_some_and(|known| *known < prefix) {
                free += 1;
            }
            while self.charged.get(charged).is_some_and(|known| known.prefix < prefix) {
                charged += 1;
            }
            let located = Located::decode(value).map_err(&damage)?;
            let (stored, plain) = (u64::from(located.stored_len), u64::from(located.raw_len));
            if located.slot == Some(0) {
                sums.pack_stored += stored;
            }
            if located.slot.is_some() {
                sums.pack_plain += plain;
            }
            let base = located.base.and_then(|(base, _)| self.place(base));
            if self.free.get(free) == Some(&prefix) {
                needed.extend(base);
            } else if let Some(mine) = self.charged.get_mut(charged).filter(|mine| mine.prefix == prefix) {
                mine.base = base.unwrap_or(NONE);
                if let Some(bytes) = bytes.get_mut(charged) {
                    *bytes = match located.slot {
                        Some(_) => located.raw_len | PACKED,
                        None => located.stored_len,
                    };
                }
            } else if located.slot.is_some() {
                sums.unreferenced_packed += plain;
            } else {
                sums.unreferenced += stored;
            }
            scan.advance()?;
        }
        let is_base = self.bases(needed);
        for (at, charged) in self.charged.iter().enumerate() {
            let bytes = bytes.get(at).copied().unwrap_or(0);
            pay(Cost {
                group: charged.group,
                bytes: bytes & !PACKED,
                packed: bytes & PACKED != 0,
                is_base: is_base.get(at).copied().unwrap_or(false),
            });
        }
        self.free.clear();
        self.charged.clear();
        let next = self.until.take();
        self.from = next.unwrap_or(u64::MAX);
        Ok(next.is_some())
    }

    /// Which charged blocks others need as their base, beginning with those that are needed.
    fn bases(&self, needed: Vec<u32>) -> Vec<bool> {
        let mut is_base = vec![false; self.charged.len()];
        for mut at in needed {
            while let Some(known) = is_base.get_mut(at as usize).filter(|known| !**known) {
                *known = true;
                at = self.charged.get(at as usize).map_or(NONE, |charged| charged.base);
            }
        }
        is_base
    }

    fn place(&self, id: BlockId) -> Option<u32> {
        let prefix = prefix(&id.0);
        let at = self.charged.binary_search_by_key(&prefix, |charged| charged.prefix).ok()?;
        u32::try_from(at).ok()
    }
}

/// Says of a length that the block shares a pack; no body is so long.
const PACKED: u32 = 1 << 31;

fn prefix(id: &[u8]) -> u64 {
    id.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn id(n: u64) -> BlockId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        BlockId(id)
    }

    #[test]
    fn more_than_fits_takes_several_passes_and_each_block_is_charged_once() {
        let mut ledger = Ledger::with_bytes(4096);
        let mut paid: BTreeMap<u64, u32> = BTreeMap::new();
        let mut passes = 0;
        loop {
            for n in 0..1000u64 {
                ledger.charge(id(n), (n % 7) as u32 + 3);
                ledger.charge(id(n), (n % 7) as u32 + 1);
                if n % 3 == 0 {
                    ledger.free(id(n));
                }
            }
            ledger.tidy();
            assert!(!ledger.is_full(4096));
            for charged in &ledger.charged {
                assert_eq!(paid.insert(charged.prefix, charged.group), None);
            }
            passes += 1;
            ledger.free.clear();
            ledger.charged.clear();
            match ledger.until.take() {
                Some(next) => ledger.from = next,
                None => break,
            }
        }
        assert!(passes > 3, "{passes}");
        let expected: BTreeMap<u64, u32> =
            (0..1000u64).filter(|n| n % 3 != 0).map(|n| (prefix(&id(n).0), (n % 7) as u32 + 1)).collect();
        assert_eq!(paid, expected);
    }

    #[test]
    fn what_is_needed_is_so_with_all_below() {
        let mut ledger = Ledger::new();
        for n in 0..10 {
            ledger.charge(id(n), 0);
        }
        ledger.tidy();
        // A chain from 2 to 5, and one from 7 to 8.
        for (from, to) in [(2, 3), (3, 4), (4, 5), (7, 8)] {
            ledger.charged[from].base = to;
        }
        let is_base = ledger.bases(vec![3, 4, 2]);
        let marked: BTreeSet<usize> = (0..10).filter(|at| is_base[*at]).collect();
        assert_eq!(marked, BTreeSet::from([2, 3, 4, 5]));
    }
}

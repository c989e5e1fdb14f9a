//! Long files as a tree of extent lists, built while the file is read.
//!
//! A list ends where a block id says so (1 in 256), not after a fixed count: a chunk more at the front of a file
//! then changes the list it is in and the path above it, instead of every list behind it.

use crate::error::Result;
use crate::format::op::put_extents;
use crate::types::{BlockId, Extent};

use super::INLINE_MAX;

/// A list ends at the latest after this many extents.
const LIST_MAX: usize = 1024;
/// A list is at least this long, so that a run of boundary ids does not make a tree of twigs.
const LIST_MIN: usize = 16;

/// Collects the extents of one file and folds them into lists.
#[derive(Default)]
pub struct TreeBuilder {
    /// The unfinished list of each level; level 0 holds holes and blocks.
    levels: Vec<Vec<Extent>>,
}

impl TreeBuilder {
    /// Adds the next extent of the file. `store` keeps the bytes of a list as a block and gives its id.
    ///
    /// # Errors
    /// Those of `store`.
    pub fn push(&mut self, extent: Extent, store: &mut dyn FnMut(&[u8]) -> Result<BlockId>) -> Result<()> {
        self.push_at(0, extent, store)
    }

    fn push_at(
        &mut self,
        level: usize,
        extent: Extent,
        store: &mut dyn FnMut(&[u8]) -> Result<BlockId>,
    ) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let list = &mut self.levels[level];
        list.push(extent);
        if list.len() >= LIST_MAX || list.len() >= LIST_MIN && ends_list(&extent) {
            self.fold(level, store)?;
        }
        Ok(())
    }

    /// Turns the unfinished list of a level into one extent of the level above.
    fn fold(&mut self, level: usize, store: &mut dyn FnMut(&[u8]) -> Result<BlockId>) -> Result<()> {
        let list = std::mem::take(&mut self.levels[level]);
        let len = list.iter().map(Extent::len).sum();
        let mut bytes = Vec::with_capacity(list.len() * 20);
        put_extents(&mut bytes, &list);
        let id = store(&bytes)?;
        self.push_at(level + 1, Extent::List { id, len }, store)
    }

    /// The top of the tree: extents whose encoding fits into a version.
    ///
    /// # Errors
    /// Those of `store`.
    pub fn finish(mut self, store: &mut dyn FnMut(&[u8]) -> Result<BlockId>) -> Result<Vec<Extent>> {
        let mut level = 0;
        loop {
            let above_is_empty =
                self.levels[level.min(self.levels.len())..].iter().skip(1).all(Vec::is_empty);
            let Some(list) = self.levels.get_mut(level) else {
                return Ok(Vec::new());
            };
            if above_is_empty {
                let mut bytes = Vec::new();
                put_extents(&mut bytes, list);
                if bytes.len() <= INLINE_MAX || list.len() <= 1 {
                    return Ok(std::mem::take(list));
                }
            }
            if !list.is_empty() {
                self.fold(level, store)?;
            }
            level += 1;
        }
    }
}

/// Whether a list may end after this extent.
fn ends_list(extent: &Extent) -> bool {
    match extent {
        Extent::Hole { .. } => false,
        Extent::Block { id, .. } | Extent::List { id, .. } => id.0[15] == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::hash::IdKey;
    use crate::format::op::take_extents;
    use crate::format::wire::Take;
    use std::collections::HashMap;

    type Lists = HashMap<BlockId, Vec<u8>>;

    fn build(extents: &[Extent], lists: &mut Lists) -> Vec<Extent> {
        let mut store = |bytes: &[u8]| {
            let id = IdKey([0; 32]).id(bytes).short();
            lists.insert(id, bytes.to_vec());
            Ok(id)
        };
        let mut builder = TreeBuilder::default();
        for extent in extents {
            assert!(builder.push(*extent, &mut store).is_ok());
        }
        builder.finish(&mut store).unwrap_or_default()
    }

    fn flatten(top: &[Extent], lists: &Lists, out: &mut Vec<Extent>) {
        for extent in top {
            match extent {
                Extent::List { id, len } => {
                    let inner = take_extents(&mut Take::new(&lists[id])).unwrap_or_default();
                    assert_eq!(inner.iter().map(Extent::len).sum::<u64>(), *len);
                    flatten(&inner, lists, out);
                }
                other => out.push(*other),
            }
        }
    }

    fn blocks(count: u64, seed: u64) -> Vec<Extent> {
        (0..count)
            .map(|i| {
                let id = IdKey([1; 32]).id(&(i ^ seed << 40).to_le_bytes()).short();
                if i % 97 == 13 {
                    Extent::Hole { len: 4096 * (i + 1) }
                } else {
                    Extent::Block { id, len: 65_536 }
                }
            })
            .collect()
    }

    #[test]
    fn trees_of_every_size_flatten_to_what_went_in() {
        for count in [0, 1, 2, 15, 16, 17, 26, 27, 255, 256, 1024, 1025, 5000, 100_000] {
            let extents = blocks(count, 0);
            let mut lists = Lists::new();
            let top = build(&extents, &mut lists);
            let mut encoded = Vec::new();
            put_extents(&mut encoded, &top);
            assert!(encoded.len() <= INLINE_MAX, "{count}: top of {} bytes", encoded.len());
            let mut flat = Vec::new();
            flatten(&top, &lists, &mut flat);
            assert_eq!(flat, extents, "{count}");
        }
    }

    #[test]
    fn a_block_more_in_front_of_ten_gigabytes_costs_kilobytes() {
        let before = blocks(160_000, 0);
        let mut lists = Lists::new();
        build(&before, &mut lists);
        let known: Vec<BlockId> = lists.keys().copied().collect();
        let mut after = before;
        after.splice(5..5, blocks(3, 9));
        build(&after, &mut lists);
        let new: usize =
            lists.iter().filter(|(id, _)| !known.contains(id)).map(|(_, bytes)| bytes.len()).sum();
        assert!(new < 64 << 10, "{new} bytes of lists");
    }
}

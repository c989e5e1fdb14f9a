//! Which blocks of some runs anybody still refers to: versions that stay, lists in their trees, and deltas elsewhere.
//!
//! Holds the blocks of the runs, and the lists that were looked into; every version of the journal is looked at once for all of them.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::decide::Decided;
use crate::blocks::Locate;
use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::Located;
use crate::reachable::{each_block, each_version};
use crate::records::Records;
use crate::segments::SegmentFile;
use crate::types::{BlockId, Content, Loss, NodeId, SegmentId, Seq};
use crate::verify::losses;

/// Blocks that lie in a run, and whether they stay.
pub(super) type Ids = HashMap<BlockId, bool>;

/// The blocks that lie in a run: of those that it has copies of, the index may have taken later ones.
pub(super) fn candidates(records: &Records, run: &[Arc<SegmentFile>], decided: &Decided) -> Result<Ids> {
    let in_run: HashSet<_> = run.iter().map(|segment| segment.id).collect();
    let mut ids = Ids::new();
    for (_, frame) in &decided.frames {
        for (id, _) in &frame.members {
            if records.locate(*id)?.is_some_and(|located| in_run.contains(&located.frame.segment)) {
                ids.insert(*id, false);
            }
        }
    }
    Ok(ids)
}

/// Whether a block cannot be read and lies where something was noted as lost; one that was written again lies elsewhere.
fn is_lost(records: &Records, losses: &[Loss], id: BlockId) -> bool {
    let noted = |located: Located| losses.iter().any(|loss| loss.lost.covers(located.frame));
    !losses.is_empty()
        && records.locate(id).is_ok_and(|at| at.is_some_and(noted))
        && records.block(id).is_err()
}

/// The blocks of several runs, each by the number of its run.
#[derive(Default)]
pub(super) struct Blocks {
    ids: HashMap<BlockId, (u32, bool)>,
    runs: HashMap<SegmentId, u32>,
    dropped: Vec<Dropped>,
}

/// Versions that go, and between which `Seq`s they are.
struct Dropped {
    within: RangeInclusive<Seq>,
    versions: HashSet<(NodeId, Seq)>,
}

impl Blocks {
    /// Adds those of a run.
    pub(super) fn add(
        &mut self,
        records: &Records,
        run: &[Arc<SegmentFile>],
        decided: &Decided,
    ) -> Result<()> {
        let number = self.dropped.len() as u32;
        self.runs.extend(run.iter().map(|segment| (segment.id, number)));
        self.ids.extend(candidates(records, run, decided)?.into_keys().map(|id| (id, (number, false))));
        let within = decided.first_seq..=decided.last_seq;
        self.dropped.push(Dropped { within, versions: decided.dropped.clone() });
        Ok(())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = BlockId> + '_ {
        self.ids.keys().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    fn goes(&self, node: NodeId, seq: Seq) -> bool {
        let of = |it: &Dropped| it.within.contains(&seq) && it.versions.contains(&(node, seq));
        self.dropped.iter().any(of)
    }

    fn stays(&mut self, id: BlockId) {
        if let Some((_, stays)) = self.ids.get_mut(&id) {
            *stays = true;
        }
    }

    /// Marks those that stay: one look at all versions, and one at all blocks.
    pub(super) fn mark(mut self, records: &Records) -> Result<Vec<Ids>> {
        if !self.ids.is_empty() {
            self.mark_versions(records)?;
            self.mark_bases(records)?;
        }
        let mut runs: Vec<Ids> = self.dropped.iter().map(|_| Ids::new()).collect();
        for (id, (number, stays)) in self.ids {
            if let Some(ids) = runs.get_mut(number as usize) {
                ids.insert(id, stays);
            }
        }
        Ok(runs)
    }

    fn mark_versions(&mut self, records: &Records) -> Result<()> {
        let mut lists: HashSet<BlockId> = HashSet::new();
        let losses = losses(records)?;
        each_version(records, &mut |node, seq, version| {
            if let Content::Extents(extents) = &version.content
                && !self.goes(node, seq)
            {
                // A list that cannot be read may name anything: nothing goes until it is mended, or noted as lost.
                each_block(records, extents, &mut |id, is_list| {
                    self.stays(id);
                    is_list && lists.insert(id) && !is_lost(records, &losses, id)
                })?;
            }
            Ok(())
        })
    }

    /// What stays in a run and stands on something that goes gets another base; what lies elsewhere cannot.
    fn mark_bases(&mut self, records: &Records) -> Result<()> {
        let damage = records.index_damage(Cf::Block);
        let mut scan = records.store.scan(Cf::Block, &[])?;
        while let Some((_, value)) = scan.item() {
            let located = Located::decode(value).map_err(&damage)?;
            if let Some((base, _)) = located.base
                && let Some((number, stays)) = self.ids.get_mut(&base)
                && self.runs.get(&located.frame.segment) != Some(number)
            {
                *stays = true;
            }
            scan.advance()?;
        }
        Ok(())
    }
}

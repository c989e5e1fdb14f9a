//! Which blocks of a run anybody still refers to: versions that stay, lists in their trees, and deltas elsewhere.
//!
//! Holds the blocks of the run, and the lists that were looked into; every version of the journal is looked at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::decide::Decided;
use crate::blocks::Locate;
use crate::error::{Error, Result};
use crate::format::op::{take_extents, take_version};
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Located};
use crate::records::Records;
use crate::segments::SegmentFile;
use crate::types::{BlockId, Content, Extent, NodeId};

/// No tree of extents is deeper.
const DEPTH_MAX: usize = 12;

/// Blocks that lie in the run, and whether they stay.
pub(super) type Ids = HashMap<BlockId, bool>;

/// The blocks that lie in the run: of those that it has copies of, the index may have taken later ones.
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

/// Marks those that stay.
pub(super) fn mark(
    records: &Records,
    mut ids: Ids,
    decided: &Decided,
    run: &[Arc<SegmentFile>],
) -> Result<Ids> {
    if ids.is_empty() {
        return Ok(ids);
    }
    let damage = records.index_damage(Cf::Version);
    let mut lists: HashSet<BlockId> = HashSet::new();
    let mut scan = records.store.scan(Cf::Version, &[])?;
    while let Some((key, value)) = scan.item() {
        let version = whole(value, take_version).map_err(&damage)?;
        if let Content::Extents(extents) = &version.content {
            let node = NodeId(keys::parse_seq(key).map_err(&damage)?.0);
            let seq = keys::parse_node_seq(key).map_err(&damage)?;
            if !decided.dropped.contains(&(node, seq)) {
                mark_extents(records, extents, 0, &mut ids, &mut lists)?;
            }
        }
        scan.advance()?;
    }
    // What stays in the run and stands on something that goes gets another base; what lies elsewhere cannot.
    let in_run: HashSet<_> = run.iter().map(|segment| segment.id).collect();
    let damage = records.index_damage(Cf::Block);
    let mut scan = records.store.scan(Cf::Block, &[])?;
    while let Some((_, value)) = scan.item() {
        let located = Located::decode(value).map_err(&damage)?;
        if let Some((base, _)) = located.base
            && !in_run.contains(&located.frame.segment)
            && let Some(stays) = ids.get_mut(&base)
        {
            *stays = true;
        }
        scan.advance()?;
    }
    Ok(ids)
}

fn mark_extents(
    records: &Records,
    extents: &[Extent],
    depth: usize,
    ids: &mut Ids,
    lists: &mut HashSet<BlockId>,
) -> Result<()> {
    for extent in extents {
        match *extent {
            Extent::Hole { .. } => {}
            Extent::Block { id, .. } => {
                if let Some(stays) = ids.get_mut(&id) {
                    *stays = true;
                }
            }
            Extent::List { id, .. } => {
                if let Some(stays) = ids.get_mut(&id) {
                    *stays = true;
                }
                if !lists.insert(id) {
                    continue;
                }
                let nested = |what: &str| Error::DamagedBlock {
                    id,
                    position: crate::types::Position::default(),
                    what: what.to_string(),
                };
                if depth >= DEPTH_MAX {
                    return Err(nested("lists of extents nested too deeply"));
                }
                // A list that cannot be read may name anything: then nothing of the run goes.
                let block = records.block(id)?;
                let inner = whole(&block, take_extents).map_err(|error| nested(error.0))?;
                mark_extents(records, &inner, depth + 1, ids, lists)?;
            }
        }
    }
    Ok(())
}

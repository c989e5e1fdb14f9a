//! Which blocks of content only what is forgotten refers to.
//!
//! Holds those that may go, and the lists that were looked into; every version of the journal is looked at once.

use std::collections::{HashMap, HashSet};

use super::plan::Plan;
use crate::error::{Error, Result};
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Located};
use crate::reachable::{each_block, each_version};
use crate::records::Records;
use crate::types::{BlockId, Content};

/// Blocks that may go.
#[derive(Default)]
pub(crate) struct Purge {
    pub blocks: HashSet<BlockId>,
}

impl Purge {
    /// All blocks of the versions that go, whoever else refers to them.
    ///
    /// # Errors
    /// `Index`, `Io`.
    pub(crate) fn of(records: &Records, plan: &Plan) -> Result<Purge> {
        let damage = records.index_damage(Cf::Version);
        let mut purge = Purge::default();
        for (node, seq) in &plan.versions {
            let Some(value) = records.store.get(Cf::Version, &keys::version(*node, *seq))? else { continue };
            let version = whole(&value, take_version).map_err(&damage)?;
            if let Content::Extents(extents) = &version.content {
                // What cannot be read tells of no blocks; it goes with its list.
                match each_block(records, extents, &mut |id, _| purge.blocks.insert(id)) {
                    Err(Error::MissingBlock { .. } | Error::DamagedBlock { .. }) => {}
                    other => other?,
                }
            }
        }
        Ok(purge)
    }

    /// Lets those stay that a version refers to which stays.
    ///
    /// # Errors
    /// `Index`, `Io`; `MissingBlock`, `DamagedBlock` where a list of extents that stays cannot be read: it may name anything.
    pub(crate) fn spare(&mut self, records: &Records, plan: &Plan) -> Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let mut lists: HashSet<BlockId> = HashSet::new();
        let blocks = &mut self.blocks;
        each_version(records, &mut |node, seq, version| {
            if let Content::Extents(extents) = &version.content
                && !plan.versions.contains(&(node, seq))
            {
                each_block(records, extents, &mut |id, is_list| {
                    blocks.remove(&id);
                    !is_list || lists.insert(id)
                })?;
            }
            Ok(())
        })
    }
}

/// The deltas that stand on one of these blocks, by it.
///
/// # Errors
/// `Index`.
pub(crate) fn dependents(
    records: &Records,
    blocks: &HashSet<BlockId>,
) -> Result<HashMap<BlockId, Vec<BlockId>>> {
    let mut dependents: HashMap<BlockId, Vec<BlockId>> = HashMap::new();
    if blocks.is_empty() {
        return Ok(dependents);
    }
    let damage = records.index_damage(Cf::Block);
    let mut scan = records.store.scan(Cf::Block, &[])?;
    while let Some((key, value)) = scan.item() {
        let located = Located::decode(value).map_err(&damage)?;
        if let Some((base, _)) = located.base
            && blocks.contains(&base)
            && let Ok(id) = <[u8; 16]>::try_from(key)
        {
            dependents.entry(base).or_default().push(BlockId(id));
        }
        scan.advance()?;
    }
    Ok(dependents)
}

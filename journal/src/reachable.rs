//! What the versions of a journal refer to: each of them, and each block of its content, lists in its tree among them.
//!
//! Visits only; what that means for a block is for those to say who ask.

use crate::error::{Error, Result};
use crate::format::op::{take_extents, take_version};
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys;
use crate::records::Records;
use crate::types::{BlockId, Extent, NodeId, Seq, Version};

/// No tree of extents is deeper.
const DEPTH_MAX: usize = 12;

/// Visits every version of the journal.
///
/// # Errors
/// `Index`, and those of the visitor.
pub(crate) fn each_version(
    records: &Records,
    visit: &mut dyn FnMut(NodeId, Seq, &Version) -> Result<()>,
) -> Result<()> {
    let damage = records.index_damage(Cf::Version);
    let mut scan = records.store.scan(Cf::Version, &[])?;
    while let Some((key, value)) = scan.item() {
        let version = whole(value, take_version).map_err(&damage)?;
        let node = NodeId(keys::parse_seq(key).map_err(&damage)?.0);
        visit(node, keys::parse_node_seq(key).map_err(&damage)?, &version)?;
        scan.advance()?;
    }
    Ok(())
}

/// Visits the blocks of content, lists too; the visitor says of a list whether it is to be looked into.
///
/// # Errors
/// `Index`, `Io`; `MissingBlock`, `DamagedBlock` where a list cannot be read.
pub(crate) fn each_block(
    records: &Records,
    extents: &[Extent],
    visit: &mut dyn FnMut(BlockId, bool) -> bool,
) -> Result<()> {
    each_block_below(records, extents, 0, visit)
}

fn each_block_below(
    records: &Records,
    extents: &[Extent],
    depth: usize,
    visit: &mut dyn FnMut(BlockId, bool) -> bool,
) -> Result<()> {
    for extent in extents {
        match *extent {
            Extent::Hole { .. } => {}
            Extent::Block { id, .. } => {
                visit(id, false);
            }
            Extent::List { id, .. } => {
                if !visit(id, true) {
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
                let block = records.block(id)?;
                let inner = whole(&block, take_extents).map_err(|error| nested(error.0))?;
                each_block_below(records, &inner, depth + 1, visit)?;
            }
        }
    }
    Ok(())
}

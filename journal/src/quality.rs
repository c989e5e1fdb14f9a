//! What is known of a version by now: whether a later read confirmed it, and which version before it was clean.
//!
//! Owns the meaning of quality across versions. Reads the index only, never content.

use crate::error::Result;
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound, Linked};
use crate::reader::Reader;
use crate::types::{Content, NodeId, Quality, Seq, Version};
use crate::view::VersionAt;

/// Predecessors that are followed back; atomic saves without one clean version in between are fewer.
const PREDECESSORS_MAX: usize = 10_000;
/// Newer versions with the same content that are looked at for a confirmation.
const CONFIRMATIONS_MAX: usize = 64;

/// The quality of a version as it is known now: a later clean read that found the same bytes confirms them, also for
/// the time before it.
///
/// # Errors
/// `Index`.
pub fn by_now(reader: &Reader, node: NodeId, at: &VersionAt) -> Result<Quality> {
    let recorded = at.version.quality;
    let mut seq = at.seq;
    for _ in 0..CONFIRMATIONS_MAX {
        if recorded == Quality::Clean || is_unread(&at.version) {
            break;
        }
        let Some(newer) = next_newer(reader, node, seq)? else { break };
        if newer.version.content != at.version.content || newer.version.meta.size != at.version.meta.size {
            break;
        }
        if newer.version.quality == Quality::Clean {
            return Ok(Quality::Clean);
        }
        seq = newer.seq;
    }
    Ok(recorded)
}

/// The newest clean version at or before `at` of a file, or of what it continues (atomic saves); `None` where there is
/// none. A version that was confirmed later counts as clean.
///
/// # Errors
/// `Index`.
pub fn last_clean(reader: &Reader, node: NodeId, at: Seq) -> Result<Option<VersionAt>> {
    let mut next = Some((node, at));
    for _ in 0..PREDECESSORS_MAX {
        let Some((node, at)) = next else { break };
        if let Some(found) = last_clean_of(reader, node, at)? {
            return Ok(Some(found));
        }
        next = predecessor(reader, node, at)?;
    }
    Ok(None)
}

/// Whether the content of a version was never read.
pub fn is_unread(version: &Version) -> bool {
    matches!(version.content, Content::Unread(_))
}

/// The word for how far a version can be trusted: that of its quality, or `unread` where there are no bytes.
pub fn word(version: &Version) -> &'static str {
    match version.content {
        Content::Unread(_) => "unread",
        Content::Thinned => "thinned",
        _ => version.quality.as_str(),
    }
}

fn last_clean_of(reader: &Reader, node: NodeId, at: Seq) -> Result<Option<VersionAt>> {
    let records = reader.records();
    let damage = records.index_damage(Cf::Version);
    let mut scan = records.store.scan(Cf::Version, &keys::node(node))?;
    scan.seek(&keys::version(node, at))?;
    while let Some((key, value)) = scan.item() {
        let seq = keys::parse_node_seq(key).map_err(&damage)?;
        let mut found = VersionAt { seq, version: whole(value, take_version).map_err(&damage)? };
        let has_content = !is_unread(&found.version) && found.version.content != Content::Thinned;
        if has_content && by_now(reader, node, &found)? == Quality::Clean {
            found.version.quality = Quality::Clean;
            return Ok(Some(found));
        }
        scan.advance()?;
    }
    Ok(None)
}

/// The version of a node that follows the one of `seq`.
fn next_newer(reader: &Reader, node: NodeId, seq: Seq) -> Result<Option<VersionAt>> {
    let records = reader.records();
    let found = records.store.floor(Cf::Version, &keys::node(node), &keys::version(node, seq.next()))?;
    let Some((key, value)) = found else { return Ok(None) };
    let damage = records.index_damage(Cf::Version);
    let version = whole(&value, take_version).map_err(&damage)?;
    Ok(Some(VersionAt { seq: keys::parse_node_seq(&key).map_err(&damage)?, version }))
}

/// The node that a node last took a name over from, and up to when that had it.
fn predecessor(reader: &Reader, node: NodeId, at: Seq) -> Result<Option<(NodeId, Seq)>> {
    let records = reader.records();
    let (link_damage, binding_damage) = (records.index_damage(Cf::Link), records.index_damage(Cf::Binding));
    let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
    scan.seek(&keys::version(node, at))?;
    while let Some((key, value)) = scan.item() {
        let seq = keys::parse_node_seq(key).map_err(&link_damage)?;
        let Linked { dir, name, lost } = Linked::decode(value).map_err(&link_damage)?;
        if lost.is_none()
            && let Some(value) = records.store.get(Cf::Binding, &keys::binding(dir, &name, seq))?
            && let Bound::To { succeeds: Some(before), .. } =
                Bound::decode(&value).map_err(&binding_damage)?
        {
            return Ok(Some((before, seq.previous())));
        }
        scan.advance()?;
    }
    Ok(None)
}

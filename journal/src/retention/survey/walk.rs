//! Every timeline of a journal, one after the other, in the order of its keys.

use std::collections::HashSet;

use crate::error::Result;
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound, Linked};
use crate::index::store::Scan;
use crate::records::Records;
use crate::retention::{BindingAt, Ended, State};
use crate::types::{BlockId, Content, Extent, Kind, NodeId, Seq, Unbound};

/// Records of a timeline that are held at a time; of a longer one the newest come first.
const RECORDS_MAX: usize = 262_144;
/// References of versions that are held at a time.
const REFERRED_MAX: usize = 524_288;
/// So many keys are stepped over before a cursor seeks.
const STEPS_BEFORE_SEEK: usize = 8;

/// What versions refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referred {
    /// A block of content.
    Block(BlockId),
    /// A block with a list of further extents.
    List(BlockId),
}

/// Records of one name, the newest last.
#[derive(Debug)]
pub struct NameRecords<'w> {
    /// The directory.
    pub dir: NodeId,
    /// The name.
    pub name: &'w [u8],
    /// The records.
    pub timeline: &'w [BindingAt],
    /// A node that the name stood for.
    pub node: NodeId,
    /// Whether it stood for a directory at any time.
    pub is_dir: bool,
}

/// Records of one node, the newest last.
#[derive(Debug)]
pub struct NodeRecords<'w> {
    /// The node.
    pub node: NodeId,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// The names that it got and lost, the newest first.
    pub links: &'w [(Seq, Linked)],
    /// Where its versions begin.
    pub timeline: &'w [Seq],
    /// How it ended, or that a newer part of its timeline follows on this one.
    pub ended: Ended,
    /// Whether this is the newest part.
    pub is_newest: bool,
    markers: &'w [bool],
    inline: &'w [u32],
    referred: &'w [Referred],
    /// Where the references of each version end.
    ends: &'w [usize],
}

impl NodeRecords<'_> {
    /// What the version at that place of the timeline refers to.
    pub fn referred(&self, at: usize) -> &[Referred] {
        // Versions come newest first, and so do their references.
        let at = self.timeline.len().saturating_sub(at + 1);
        let end = self.ends.get(at).copied().unwrap_or(0);
        let begin = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.referred.get(begin..end).unwrap_or_default()
    }

    /// Whether the version only says that something was there, which went.
    pub fn is_marker(&self, at: usize) -> bool {
        let at = self.timeline.len().saturating_sub(at + 1);
        self.markers.get(at).copied().unwrap_or(false)
    }

    /// Bytes that stand in the version itself.
    pub fn inline_bytes(&self, at: usize) -> u32 {
        let at = self.timeline.len().saturating_sub(at + 1);
        self.inline.get(at).copied().unwrap_or(0)
    }

    /// The name that it got or lost last.
    pub fn last_name(&self) -> Option<(NodeId, &[u8])> {
        self.links.first().map(|(_, linked)| (linked.dir, linked.name.as_slice()))
    }
}

/// Visits the bindings of every name, for so long as the visitor says `true`.
///
/// # Errors
/// `Index`, and those of the visitor.
pub(crate) fn each_name(
    records: &Records,
    visit: &mut dyn FnMut(&NameRecords<'_>) -> Result<bool>,
) -> Result<()> {
    let damage = records.index_damage(Cf::Binding);
    let mut scan = records.store.scan(Cf::Binding, &[])?;
    let (mut name, mut timeline) = (Vec::new(), Vec::new());
    let (mut node, mut is_dir) = (NodeId::ROOT, false);
    let mut pass = |name: &[u8], timeline: &mut Vec<BindingAt>, node, is_dir| -> Result<bool> {
        let Some((dir, name)) = name.split_first_chunk().filter(|_| !timeline.is_empty()) else {
            return Ok(true);
        };
        timeline.reverse();
        let dir = NodeId(u64::from_be_bytes(*dir));
        let more = visit(&NameRecords { dir, name, timeline, node, is_dir })?;
        timeline.clear();
        Ok(more)
    };
    while let Some((key, value)) = scan.item() {
        let (of, seq) = keys::parse_binding(key).map_err(&damage)?;
        let front = key.get(..8 + of.len()).unwrap_or_default();
        if front != name || timeline.len() >= RECORDS_MAX {
            if !pass(&name, &mut timeline, node, is_dir)? {
                return Ok(());
            }
            is_dir &= front == name;
            name.clear();
            name.extend_from_slice(front);
        }
        let bound = Bound::decode(value).map_err(&damage)?;
        let (Bound::To { node: of, kind, .. } | Bound::Gone { node: of, kind, .. }) = bound;
        node = of;
        is_dir |= kind == Kind::Dir;
        timeline.push(BindingAt { seq, state: State::of(&bound) });
        scan.advance()?;
    }
    pass(&name, &mut timeline, node, is_dir).map(drop)
}

/// The records of a node that have been read.
#[derive(Default)]
struct Gathered {
    timeline: Vec<Seq>,
    markers: Vec<bool>,
    inline: Vec<u32>,
    referred: Vec<Referred>,
    ends: Vec<usize>,
    is_dir: bool,
}

impl Gathered {
    fn take(&mut self, seq: Seq, value: &[u8]) -> std::result::Result<(), crate::format::wire::Malformed> {
        let version = whole(value, take_version)?;
        self.is_dir |= version.meta.kind == Kind::Dir;
        let mut inline = 0;
        self.markers.push(version.content == Content::Thinned);
        match version.content {
            Content::Inline(bytes) => inline = u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Content::Extents(extents) => self.referred.extend(extents.iter().filter_map(referred)),
            Content::None | Content::Unread(_) | Content::Thinned => {}
        }
        self.timeline.push(seq);
        self.inline.push(inline);
        self.ends.push(self.referred.len());
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.timeline.len() >= RECORDS_MAX || self.referred.len() >= REFERRED_MAX
    }

    fn clear(&mut self) {
        self.timeline.clear();
        self.markers.clear();
        self.inline.clear();
        self.referred.clear();
        self.ends.clear();
        self.is_dir = false;
    }
}

/// The block that an extent needs.
pub(crate) fn referred(extent: &Extent) -> Option<Referred> {
    match *extent {
        Extent::Hole { .. } => None,
        Extent::Block { id, .. } => Some(Referred::Block(id)),
        Extent::List { id, .. } => Some(Referred::List(id)),
    }
}

/// Visits the versions of every node, with the names that it had, for so long as the visitor says `true`.
///
/// # Errors
/// `Index`, and those of the visitor.
pub(crate) fn each_node(
    records: &Records,
    visit: &mut dyn FnMut(&NodeRecords<'_>) -> Result<bool>,
) -> Result<()> {
    let damage = records.index_damage(Cf::Version);
    let mut versions = records.store.scan(Cf::Version, &[])?;
    let mut links_scan = records.store.scan(Cf::Link, &[])?;
    let (mut links, mut gathered) = (Vec::new(), Gathered::default());
    let mut node: Option<NodeId> = None;
    // The oldest version of the part before, which is newer.
    let mut newer: Option<Seq> = None;
    let mut pass =
        |node: Option<NodeId>, newer, links: &[(Seq, Linked)], gathered: &mut Gathered| -> Result<bool> {
            let Some(node) = node.filter(|_| !gathered.timeline.is_empty()) else { return Ok(true) };
            gathered.timeline.reverse();
            let ended = match newer {
                Some(newer) => Ended::Replaced(newer),
                None => ended(records, node, links)?,
            };
            let more = visit(&NodeRecords {
                node,
                is_dir: gathered.is_dir,
                links,
                timeline: &gathered.timeline,
                ended,
                is_newest: newer.is_none(),
                markers: &gathered.markers,
                inline: &gathered.inline,
                referred: &gathered.referred,
                ends: &gathered.ends,
            })?;
            gathered.clear();
            Ok(more)
        };
    while let Some((key, value)) = versions.item() {
        let of = NodeId(keys::parse_seq(key).map_err(&damage)?.0);
        if node != Some(of) {
            if !pass(node, newer, &links, &mut gathered)? {
                return Ok(());
            }
            (node, newer) = (Some(of), None);
            links_of(records, &mut links_scan, of, &mut links)?;
        } else if gathered.is_full() {
            let oldest = gathered.timeline.last().copied();
            if !pass(node, newer, &links, &mut gathered)? {
                return Ok(());
            }
            newer = oldest;
        }
        let seq = keys::parse_node_seq(key).map_err(&damage)?;
        gathered.take(seq, value).map_err(&damage)?;
        versions.advance()?;
    }
    pass(node, newer, &links, &mut gathered).map(drop)
}

/// The names that a node got and lost, the newest first, from a cursor that only goes forwards.
fn links_of(
    records: &Records,
    scan: &mut Scan<'_>,
    node: NodeId,
    links: &mut Vec<(Seq, Linked)>,
) -> Result<()> {
    let damage = records.index_damage(Cf::Link);
    links.clear();
    let front = node.0.to_be_bytes();
    let mut steps = 0;
    while scan.item().is_some_and(|(key, _)| key < front.as_slice()) {
        steps += 1;
        match steps > STEPS_BEFORE_SEEK {
            true => scan.seek(&front)?,
            false => scan.advance()?,
        }
    }
    while let Some((key, value)) = scan.item().filter(|(key, _)| key.starts_with(&front)) {
        let seq = keys::parse_node_seq(key).map_err(&damage)?;
        if links.len() < RECORDS_MAX {
            links.push((seq, Linked::decode(value).map_err(&damage)?));
        }
        scan.advance()?;
    }
    Ok(())
}

/// How a node ended, by the names that it got and lost, the newest first.
///
/// # Errors
/// `Index`.
pub(crate) fn ended(records: &Records, node: NodeId, links: &[(Seq, Linked)]) -> Result<Ended> {
    // The newest of each name counts. What never had a name was bound by what is damaged now, if at all.
    let mut seen = HashSet::new();
    let has_name = links
        .iter()
        .any(|(_, linked)| seen.insert((linked.dir, linked.name.as_slice())) && linked.lost.is_none());
    let Some((seq, last)) = links.first().filter(|_| node != NodeId::ROOT && !has_name) else {
        return Ok(Ended::NotYet);
    };
    let damage = records.index_damage(Cf::Binding);
    let value = records.store.get(Cf::Binding, &keys::binding(last.dir, &last.name, *seq))?;
    let bound = value.map(|value| Bound::decode(&value)).transpose().map_err(damage)?;
    Ok(match bound {
        Some(Bound::To { node: other, .. }) if other != node => Ended::Replaced(*seq),
        // What took the name went by the policy: the end of a name that stays is no deletion.
        Some(Bound::Gone { why: Unbound::Thinned, .. }) => Ended::Replaced(*seq),
        _ => Ended::Deleted(*seq),
    })
}

/// The names that a node got and lost, the newest first.
///
/// # Errors
/// `Index`.
pub(crate) fn links_of_node(records: &Records, node: NodeId) -> Result<Vec<(Seq, Linked)>> {
    let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
    let mut links = Vec::new();
    links_of(records, &mut scan, node, &mut links)?;
    Ok(links)
}

//! What forgetting would take, beforehand: which paths, how much, and where it would still be found afterwards.
//!
//! Reads only.

use std::collections::{BTreeMap, HashSet};

use super::blocks::Purge;
use super::order::Order;
use super::plan::{Plan, Planner};
use super::spans::{END, Spans};
use super::ways::{Way, Ways, during};
use crate::error::{Error, Result};
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound};
use crate::landmarks::Holding;
use crate::reachable::{each_block, each_version};
use crate::reader::{Moment, Reader};
use crate::records::Records;
use crate::types::{BlockId, Content, Held, Kind, NodeId, Seq, Version};
use crate::view::{is_below, related};

/// So many places where it would still be found are named.
const ELSEWHERE_MAX: usize = 10;

/// What would be forgotten.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Paths as they were named, with what would go of each.
    pub paths: Vec<FoundPath>,
    /// Versions that would go.
    pub versions: u64,
    /// Records of names that would go.
    pub bindings: u64,
    /// Bytes of content that these versions had, each counted whole.
    pub bytes: u64,
    /// The first instant at which anything of it was there.
    pub first: Option<Moment>,
    /// The newest record of it.
    pub last: Option<Moment>,
    /// Paths by which some of it can be reached as well: there it stays.
    pub also: Vec<Vec<u8>>,
    /// Other paths that have, or had, the same content: there it stays.
    pub elsewhere: Vec<Vec<u8>>,
    /// Paths that are there now: they would be captured anew.
    pub live: Vec<Vec<u8>>,
    /// What is held of it.
    pub held: Vec<Holding>,
    /// Whether a pattern in the journal's record of the configuration names it.
    pub in_patterns: bool,
}

/// One path that would be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundPath {
    /// The path.
    pub path: Vec<u8>,
    /// Versions that would go.
    pub versions: u64,
    /// Bytes that these had.
    pub bytes: u64,
    /// Since when it was there.
    pub since: Seq,
}

/// Those of the paths of an order at which the journal never had anything.
///
/// # Errors
/// `Index`.
pub fn unknown(reader: &Reader, order: &Order) -> Result<Vec<Vec<u8>>> {
    let planner = Planner::new(reader.records(), reader.head(), END);
    let mut unknown = Vec::new();
    for path in &order.paths {
        if !planner.knows(path)? {
            unknown.push(path.clone());
        }
    }
    Ok(unknown)
}

/// What would go if that were forgotten now.
///
/// # Errors
/// `Index`, `Io`.
pub fn survey(reader: &Reader, order: &Order) -> Result<Found> {
    let records = reader.records();
    let plan = Plan::new(records, order, reader.head())?;
    let mut found =
        Found { versions: plan.versions_going(), bindings: plan.bindings.len() as u64, ..Found::default() };
    let (mut first, mut last) = (Seq::MAX, Seq::ZERO);
    let mut span = |seq: Seq| (first, last) = (first.min(seq), last.max(seq));
    let is_meant = |path: &[u8]| order.paths.iter().any(|meant| is_below(path, meant));
    let planner = Planner::new(records, reader.head(), END);
    let ways = Ways::new(&planner);
    let mut listing = Listing { planner: &planner, ways, is_meant: &is_meant, paths: BTreeMap::new() };
    let mut names: BTreeMap<(NodeId, &[u8]), HashSet<Seq>> = BTreeMap::new();
    for (dir, name, seq) in &plan.bindings {
        span(*seq);
        names.entry((*dir, name.as_slice())).or_default().insert(*seq);
    }
    for ((dir, name), seqs) in names {
        listing.name(dir, name, &seqs)?;
    }
    let mut nodes: BTreeMap<NodeId, HashSet<Seq>> = BTreeMap::new();
    for (node, seq) in plan.versions.difference(&plan.thinned) {
        span(*seq);
        nodes.entry(*node).or_default().insert(*seq);
    }
    let (damage, mut inline) = (records.index_damage(Cf::Version), HashSet::new());
    for (node, seqs) in nodes {
        let mut versions = Vec::with_capacity(seqs.len());
        for lasting in planner.versions_of(node)?.into_iter().filter(|version| seqs.contains(&version.seq)) {
            let key = keys::version(node, lasting.seq);
            let Some(value) = records.store.get(Cf::Version, &key)? else { continue };
            let version = whole(&value, take_version).map_err(&damage)?;
            let bytes = if version.meta.kind == Kind::File { version.meta.size } else { 0 };
            found.bytes += bytes;
            if let Content::Inline(bytes) = version.content
                && !bytes.is_empty()
            {
                inline.insert(bytes);
            }
            versions.push((lasting.seq, lasting.spans(), bytes));
        }
        listing.versions(node, &versions)?;
    }
    let Listing { paths, mut ways, .. } = listing;
    found.paths = paths.into_values().collect();
    if first <= last {
        (found.first, found.last) = (reader.at_seq(first)?, reader.at_seq(last)?);
    }
    for node in &plan.kept {
        if found.also.len() >= ELSEWHERE_MAX {
            break;
        }
        for way in ways.of_node(*node)?.into_iter().filter(|way| !is_meant(&way.path)) {
            if !found.also.contains(&way.path) {
                found.also.push(way.path);
            }
        }
    }
    found.also.sort();
    found.elsewhere = elsewhere(reader, &plan, &inline, &is_meant)?;
    found.elsewhere.retain(|path| !found.also.contains(path));
    let now = reader.view(reader.head());
    if order.before.is_none() {
        for path in &order.paths {
            if now.resolve(path)?.is_some() {
                found.live.push(path.clone());
            }
        }
    }
    found.held = reader.holds()?;
    found.held.retain(|holding| match &holding.what {
        Held::Path(held) => order.paths.iter().any(|path| related(held, path)),
        Held::Mark(_) => false,
    });
    let policy = now.policy()?;
    let names: Vec<&[u8]> =
        order.paths.iter().filter_map(|path| path.rsplit(|b| *b == b'/').next()).collect();
    let mut patterns = policy.excludes.iter().chain(policy.roots.iter().flat_map(|root| &root.excludes));
    found.in_patterns = patterns.any(|pattern| names.iter().any(|name| contains(pattern.as_bytes(), name)));
    Ok(found)
}

/// What would go, path by path.
struct Listing<'l, 'r> {
    planner: &'l Planner<'r>,
    ways: Ways<'l, 'r>,
    is_meant: &'l dyn Fn(&[u8]) -> bool,
    paths: BTreeMap<Vec<u8>, FoundPath>,
}

impl Listing<'_, '_> {
    /// Names the paths at which these records of a name were.
    fn name(&mut self, dir: NodeId, name: &[u8], seqs: &HashSet<Seq>) -> Result<()> {
        let all = self.meant(|ways| ways.of_name(dir, name, &Spans::of(0, END)))?;
        for record in self.planner.of_name(dir, name)?.iter().filter(|record| seqs.contains(&record.seq)) {
            let spans = match record.bound {
                Bound::To { .. } => record.spans(),
                // That a name is gone is told of where it was until then.
                Bound::Gone { .. } => Spans::of(record.seq.0, record.seq.0.saturating_add(1)),
            };
            for way in during(&all, &spans, record.seq) {
                self.path(way, record.seq);
            }
        }
        Ok(())
    }

    /// Counts these versions of a node at each path that it had meanwhile.
    fn versions(&mut self, node: NodeId, versions: &[(Seq, Spans, u64)]) -> Result<()> {
        let all = self.meant(|ways| ways.of_node(node))?;
        for (seq, spans, bytes) in versions {
            let mut counted: Vec<&[u8]> = Vec::new();
            for way in during(&all, spans, *seq) {
                let one = self.path(way, *seq);
                if !counted.contains(&way.path.as_slice()) {
                    one.versions += 1;
                    one.bytes += bytes;
                    counted.push(&way.path);
                }
            }
        }
        Ok(())
    }

    /// Those of the ways that lie in what is to be forgotten.
    fn meant(&mut self, find: impl FnOnce(&mut Ways<'_, '_>) -> Result<Vec<Way>>) -> Result<Vec<Way>> {
        let mut ways = find(&mut self.ways)?;
        ways.retain(|way| (self.is_meant)(&way.path));
        Ok(ways)
    }

    fn path(&mut self, way: &Way, since: Seq) -> &mut FoundPath {
        let one = self.paths.entry(way.path.clone()).or_insert_with(|| FoundPath {
            path: way.path.clone(),
            since,
            ..FoundPath::default()
        });
        one.since = one.since.min(since);
        one
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// Paths that are not meant and have versions with some of the same content.
fn elsewhere(
    reader: &Reader,
    plan: &Plan,
    inline: &HashSet<Vec<u8>>,
    is_meant: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<Vec<u8>>> {
    let records = reader.records();
    let blocks = Purge::of(records, plan)?.blocks;
    let mut paths: Vec<Vec<u8>> = Vec::new();
    if blocks.is_empty() && inline.is_empty() {
        return Ok(paths);
    }
    // Lists that have none of the blocks: they are looked into once.
    let mut without: HashSet<BlockId> = HashSet::new();
    let mut seen: HashSet<NodeId> = HashSet::new();
    each_version(records, &mut |node, seq, version| {
        let known = paths.len() >= ELSEWHERE_MAX || seen.contains(&node);
        if known
            || plan.versions.contains(&(node, seq))
            || !shares(records, version, &blocks, inline, &mut without)?
        {
            return Ok(());
        }
        seen.insert(node);
        if let Some(path) = reader.view(seq).path_of(node)?
            && !is_meant(&path)
        {
            paths.push(path);
        }
        Ok(())
    })?;
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn shares(
    records: &Records,
    version: &Version,
    blocks: &HashSet<BlockId>,
    inline: &HashSet<Vec<u8>>,
    without: &mut HashSet<BlockId>,
) -> Result<bool> {
    let extents = match &version.content {
        Content::Inline(bytes) => return Ok(inline.contains(bytes)),
        Content::Extents(extents) => extents,
        _ => return Ok(false),
    };
    let (mut shares, mut lists) = (false, Vec::new());
    let looked = each_block(records, extents, &mut |id, is_list| {
        shares |= blocks.contains(&id);
        let look = is_list && !shares && !without.contains(&id);
        if look {
            lists.push(id);
        }
        look
    });
    match looked {
        Err(Error::MissingBlock { .. } | Error::DamagedBlock { .. }) => {}
        other => other?,
    }
    if !shares {
        without.extend(lists);
    }
    Ok(shares)
}

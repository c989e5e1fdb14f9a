//! The journal as of one `Seq`: resolve, list, read.
//!
//! Owns every answer to "what was there at T". Writes nothing, prints nothing, knows no clock.

use std::collections::HashSet;

use crate::blocks::Block;
use crate::error::{Error, Result};
use crate::format::op::{take_extents, take_gap, take_policy, take_version};
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound, Linked};
use crate::index::store::Scan;
use crate::records::Records;
use crate::temporary::is_temporary;
use crate::types::{BlockId, Content, Extent, Gap, Instant, Kind, NodeId, Policy, Seq, Unbound, Version};

/// No tree is deeper: the kernel's own limit on a path is 4,096 bytes, a name takes two of them.
const PATH_DEPTH_MAX: usize = 2048;
/// How many keys of one name are stepped over before the cursor seeks to the next name.
const STEPS_BEFORE_SEEK: usize = 4;
/// No tree of extents is deeper: 8 levels of at least 16 entries and 1 in 256 boundaries exceed any file.
const EXTENT_DEPTH_MAX: usize = 12;

/// The journal as of one [`Seq`]; cheap to make and to copy.
#[derive(Clone, Copy)]
pub struct View<'r> {
    records: &'r Records,
    seq: Seq,
    asked: Option<Instant>,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory.
    pub dir: NodeId,
    /// The entry's name.
    pub name: Vec<u8>,
    /// What it names.
    pub node: NodeId,
    /// The node's kind.
    pub kind: Kind,
    /// Since when the name stands for this node; for a deleted entry, since when it is gone.
    pub since: Seq,
}

/// A gap with its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapAt {
    /// The gap, as far as it is known by now.
    pub gap: Gap,
    /// Where it was recorded while it lasted; `None` where that was done when it was over, and its times alone say where it
    /// belongs.
    pub begun: Option<Seq>,
}

/// Some of the names that a directory ever had, in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Those that it has.
    pub entries: Vec<Entry>,
    /// Those that it has no longer, as [`View::list_deleted`] gives them.
    pub deleted: Vec<Entry>,
    /// The last name that was looked at, to go on behind it; `None` at the end.
    pub until: Option<Vec<u8>>,
}

/// A version with its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionAt {
    /// From when on the node is this.
    pub seq: Seq,
    /// What it is.
    pub version: Version,
}

impl<'r> View<'r> {
    pub(crate) fn new(records: &'r Records, seq: Seq) -> View<'r> {
        View { records, seq, asked: None }
    }

    /// The same view, asked for by a wall clock time: gaps are looked up for that instant, which may lie well behind
    /// the last commit before it.
    pub fn asked_for(self, instant: Instant) -> View<'r> {
        View { asked: Some(instant), ..self }
    }

    /// The `Seq` that the view stands at.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The entry at an absolute path (`/a/b`, no `.` or `..`), with no symlink followed; `None` where there was none.
    /// The path `/` gives node 0 under an empty name.
    ///
    /// # Errors
    /// `Index`.
    pub fn resolve(&self, path: &[u8]) -> Result<Option<Entry>> {
        let mut at = Entry {
            dir: NodeId::ROOT,
            name: Vec::new(),
            node: NodeId::ROOT,
            kind: Kind::Dir,
            since: Seq::ZERO,
        };
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            if at.kind != Kind::Dir {
                return Ok(None);
            }
            match self.lookup(at.node, name)? {
                Some(entry) => at = entry,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The newest binding of a name, at or before the view, bound or gone.
    pub(crate) fn binding(&self, dir: NodeId, name: &[u8]) -> Result<Option<(Seq, Bound)>> {
        let prefix = keys::binding_name(dir, name);
        let found = self.records.store.ceiling(Cf::Binding, &prefix, &keys::binding(dir, name, self.seq))?;
        let Some((key, value)) = found else {
            return Ok(None);
        };
        let damage = self.records.index_damage(Cf::Binding);
        let (_, seq) = keys::parse_binding(&key).map_err(&damage)?;
        Ok(Some((seq, Bound::decode(&value).map_err(&damage)?)))
    }

    /// The entry of that name in a directory.
    ///
    /// # Errors
    /// `Index`.
    pub fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<Entry>> {
        Ok(match self.binding(dir, name)? {
            Some((since, Bound::To { node, kind, .. })) => {
                Some(Entry { dir, name: name.to_vec(), node, kind, since })
            }
            Some((_, Bound::Gone { .. })) | None => None,
        })
    }

    /// The node that the name stands for, or stood for last.
    ///
    /// # Errors
    /// `Index`.
    pub fn last_bound(&self, dir: NodeId, name: &[u8]) -> Result<Option<(NodeId, Kind)>> {
        Ok(self.binding(dir, name)?.map(|(_, bound)| match bound {
            Bound::To { node, kind, .. } | Bound::Gone { node, kind, .. } => (node, kind),
        }))
    }

    /// The nodes that a name has stood for, the newest first, so many at most.
    ///
    /// # Errors
    /// `Index`.
    pub fn nodes_bound(&self, dir: NodeId, name: &[u8], max: usize) -> Result<Vec<(NodeId, Kind)>> {
        let damage = self.records.index_damage(Cf::Binding);
        let mut scan = self.records.store.scan(Cf::Binding, &keys::binding_name(dir, name))?;
        scan.seek(&keys::binding(dir, name, self.seq))?;
        let mut nodes: Vec<(NodeId, Kind)> = Vec::new();
        while let Some((_, value)) = scan.item() {
            let (Bound::To { node, kind, .. } | Bound::Gone { node, kind, .. }) =
                Bound::decode(value).map_err(&damage)?;
            if nodes.len() >= max {
                break;
            }
            if !nodes.contains(&(node, kind)) {
                nodes.push((node, kind));
            }
            scan.advance()?;
        }
        Ok(nodes)
    }

    /// The entries of a directory in byte order of their names.
    ///
    /// # Errors
    /// `Index`.
    pub fn list(&self, dir: NodeId) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.newest_bindings(dir, &mut |name, since, bound| {
            if let Bound::To { node, kind, .. } = bound {
                entries.push(Entry { dir, name: name.to_vec(), node, kind, since });
            }
        })?;
        Ok(entries)
    }

    /// The names that the directory once had and has no longer, with the node each last stood for; without those that
    /// a restore gave in passing.
    ///
    /// # Errors
    /// `Index`.
    pub fn list_deleted(&self, dir: NodeId) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.newest_bindings(dir, &mut |name, since, bound| {
            if let Bound::Gone { node, kind, .. } = bound
                && !is_temporary(name)
            {
                entries.push(Entry { dir, name: name.to_vec(), node, kind, since });
            }
        })?;
        Ok(entries)
    }

    /// The entries of a directory, and the names of which it is not known any more what they stood for: that went by the
    /// retention policy.
    ///
    /// # Errors
    /// `Index`.
    pub fn list_with_thinned(&self, dir: NodeId) -> Result<(Vec<Entry>, Vec<Vec<u8>>)> {
        let (mut entries, mut thinned) = (Vec::new(), Vec::new());
        self.newest_bindings(dir, &mut |name, since, bound| match bound {
            Bound::To { node, kind, .. } => {
                entries.push(Entry { dir, name: name.to_vec(), node, kind, since });
            }
            Bound::Gone { why: Unbound::Thinned, .. } => thinned.push(name.to_vec()),
            Bound::Gone { .. } => {}
        })?;
        Ok((entries, thinned))
    }

    /// The same and [`View::list`] of the next so many names behind one that the directory ever had: for a directory of
    /// any size, without waiting for all of it.
    ///
    /// # Errors
    /// `Index`.
    pub fn list_page(&self, dir: NodeId, after: Option<&[u8]>, names: usize) -> Result<Page> {
        let mut page = Page::default();
        page.until = self.bindings_behind(dir, after, names, &mut |name, since, bound| match bound {
            Bound::To { node, kind, .. } => {
                page.entries.push(Entry { dir, name: name.to_vec(), node, kind, since });
            }
            Bound::Gone { node, kind, .. } if !is_temporary(name) => {
                page.deleted.push(Entry { dir, name: name.to_vec(), node, kind, since });
            }
            Bound::Gone { .. } => {}
        })?;
        Ok(page)
    }

    fn newest_bindings(&self, dir: NodeId, visit: &mut dyn FnMut(&[u8], Seq, Bound)) -> Result<()> {
        self.bindings_behind(dir, None, usize::MAX, visit).map(drop)
    }

    /// Visits what so many names stand for; gives the last of them where there may be more.
    fn bindings_behind(
        &self,
        dir: NodeId,
        after: Option<&[u8]>,
        mut names: usize,
        visit: &mut dyn FnMut(&[u8], Seq, Bound),
    ) -> Result<Option<Vec<u8>>> {
        let damage = self.records.index_damage(Cf::Binding);
        let mut scan = self.records.store.scan(Cf::Binding, &keys::binding_dir(dir))?;
        if let Some(after) = after {
            scan.seek(&keys::after_binding_name(dir, after))?;
        }
        let mut last: Option<Vec<u8>> = None;
        while let Some((key, value)) = scan.item() {
            let (name, seq) = keys::parse_binding(key).map_err(&damage)?;
            let name = name.to_vec();
            if last.as_ref() != Some(&name) {
                if names == 0 {
                    return Ok(last);
                }
                names -= 1;
                last = Some(name.clone());
            }
            if seq > self.seq {
                // Too new: on to the newest that is old enough, of this name or the next.
                scan.seek(&keys::binding(dir, &name, self.seq))?;
                continue;
            }
            visit(&name, seq, Bound::decode(value).map_err(&damage)?);
            skip_name(&mut scan, dir, &name)?;
        }
        Ok(None)
    }

    /// What the node is; `None` for the placeholder directories above the roots, and for what was never captured.
    ///
    /// # Errors
    /// `Index`.
    pub fn version(&self, node: NodeId) -> Result<Option<VersionAt>> {
        let found =
            self.records.store.ceiling(Cf::Version, &keys::node(node), &keys::version(node, self.seq))?;
        let Some((key, value)) = found else {
            return Ok(None);
        };
        let damage = self.records.index_damage(Cf::Version);
        let version = whole(&value, take_version).map_err(&damage)?;
        Ok(Some(VersionAt { seq: keys::parse_node_seq(&key).map_err(&damage)?, version }))
    }

    /// The names that the node has: directory and name of each.
    ///
    /// # Errors
    /// `Index`.
    pub fn bindings_of(&self, node: NodeId) -> Result<Vec<(NodeId, Vec<u8>)>> {
        let damage = self.records.index_damage(Cf::Link);
        let mut scan = self.records.store.scan(Cf::Link, &keys::node(node))?;
        scan.seek(&keys::version(node, self.seq))?;
        let mut seen: Vec<Linked> = Vec::new();
        while let Some((_, value)) = scan.item() {
            let linked = Linked::decode(value).map_err(&damage)?;
            if !seen.iter().any(|known| known.dir == linked.dir && known.name == linked.name) {
                seen.push(linked);
            }
            scan.advance()?;
        }
        Ok(seen
            .into_iter()
            .filter(|linked| linked.lost.is_none())
            .map(|linked| (linked.dir, linked.name))
            .collect())
    }

    /// An absolute path that the node has; `None` where it has none.
    ///
    /// # Errors
    /// `Index`.
    pub fn path_of(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        if node == NodeId::ROOT {
            return Ok(Some(b"/".to_vec()));
        }
        // A directory has one name at most. Of the names of a file, some may lie in directories that have none any more.
        for (dir, name) in self.bindings_of(node)? {
            if let Some(path) = self.path_in(dir, &name)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The absolute path of a directory.
    fn path_of_dir(&self, dir: NodeId) -> Result<Option<Vec<u8>>> {
        let mut names = Vec::new();
        let mut at = dir;
        while at != NodeId::ROOT {
            let Some((dir, name)) = self.bindings_of(at)?.into_iter().next() else {
                return Ok(None);
            };
            names.push(name);
            at = dir;
            if names.len() > PATH_DEPTH_MAX {
                return Ok(None);
            }
        }
        if names.is_empty() {
            return Ok(Some(b"/".to_vec()));
        }
        Ok(Some(names.iter().rev().flat_map(|name| [b"/", name.as_slice()].concat()).collect()))
    }

    /// Since when a directory has no path by its way up as that is, and why: the way may lead below one that had lost
    /// its name long before, so it is since the newest change to any name on it. `None` where it was never another one.
    pub(crate) fn way_lost(&self, dir: NodeId) -> Result<Option<(Seq, Unbound)>> {
        let damage = self.records.index_damage(Cf::Link);
        let (mut at, mut passed) = (dir, HashSet::new());
        // What ends nowhere has moved there.
        let (mut since, mut why) = (Seq::ZERO, Unbound::Moved);
        while passed.len() < PATH_DEPTH_MAX && passed.insert(at) {
            let newest = keys::version(at, self.seq);
            let Some((key, value)) = self.records.store.ceiling(Cf::Link, &keys::node(at), &newest)? else {
                break;
            };
            since = since.max(keys::parse_node_seq(&key).map_err(&damage)?);
            match self.bindings_of(at)?.into_iter().next() {
                Some((above, _)) => at = above,
                None => {
                    why = Linked::decode(&value).map_err(&damage)?.lost.unwrap_or(why);
                    break;
                }
            }
        }
        Ok((since > Seq::ZERO).then_some((since, why)))
    }

    /// The absolute path of an entry; `None` where its directory has none.
    ///
    /// # Errors
    /// `Index`.
    pub fn path_in(&self, dir: NodeId, name: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.path_of_dir(dir)?.map(|mut path| {
            if path != b"/" {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            path
        }))
    }

    /// The gaps that concern the path (or something below or above it) and contain the view's instant.
    ///
    /// # Errors
    /// `Index`.
    pub fn gaps(&self, path: &[u8]) -> Result<Vec<Gap>> {
        let instant = match self.asked {
            Some(instant) => instant,
            None => match crate::reader::moment_of(self.records, self.seq)? {
                Some(moment) => moment.instant,
                None => return Ok(Vec::new()),
            },
        };
        let mut gaps = self.all_gaps()?;
        gaps.retain(|gap| gap.from <= instant && instant <= gap.until && related(&gap.scope, path));
        Ok(gaps)
    }

    /// Every gap recorded so far, whenever it was recorded: a gap is known only after it. One that was recorded as
    /// open and is over now has its end.
    ///
    /// # Errors
    /// `Index`.
    pub fn all_gaps(&self) -> Result<Vec<Gap>> {
        Ok(self.gaps_in_order()?.into_iter().map(|known| known.gap).collect())
    }

    /// The same with where they began in the order, in the order in which they were recorded first.
    ///
    /// # Errors
    /// `Index`.
    pub fn gaps_in_order(&self) -> Result<Vec<GapAt>> {
        let damage = self.records.index_damage(Cf::Gap);
        let mut gaps: Vec<GapAt> = Vec::new();
        // Few at a time: conditions that last, not moments.
        let mut open: Vec<usize> = Vec::new();
        let mut scan = self.records.store.scan(Cf::Gap, &[])?;
        while let Some((key, value)) = scan.item() {
            let gap = whole(value, take_gap).map_err(&damage)?;
            match open.iter().position(|&at| gap.supersedes(&gaps[at].gap)) {
                Some(known) => {
                    let at = if gap.is_open() { open[known] } else { open.swap_remove(known) };
                    gaps[at].gap = gap;
                }
                None => {
                    let mut begun = None;
                    if gap.is_open() {
                        open.push(gaps.len());
                        begun = Some(keys::parse_seq(key).map_err(&damage)?);
                    }
                    gaps.push(GapAt { gap, begun });
                }
            }
            scan.advance()?;
        }
        Ok(gaps)
    }

    /// What was protected.
    ///
    /// # Errors
    /// `Index`.
    pub fn policy(&self) -> Result<Policy> {
        match self.records.store.floor(Cf::Policy, &[], &keys::seq(self.seq))? {
            Some((_, value)) => whole(&value, take_policy).map_err(self.records.index_damage(Cf::Policy)),
            None => Ok(Policy::default()),
        }
    }

    /// The extents of a version flattened, in file order: holes and blocks only.
    /// Not for `Content::Inline`: a caller has those bytes in hand.
    ///
    /// # Errors
    /// Those of [`View::block`], for the blocks that hold lists.
    pub fn extents(&self, version: &Version) -> Result<Vec<Extent>> {
        let mut flat = Vec::new();
        if let Content::Extents(extents) = &version.content {
            self.flatten(extents, 0, &mut flat)?;
        }
        Ok(flat)
    }

    fn flatten(&self, extents: &[Extent], depth: usize, flat: &mut Vec<Extent>) -> Result<()> {
        for extent in extents {
            let Extent::List { id, len } = *extent else {
                flat.push(*extent);
                continue;
            };
            let damaged = |what: &str| Error::DamagedBlock {
                id,
                position: crate::types::Position::default(),
                what: what.to_string(),
            };
            if depth >= EXTENT_DEPTH_MAX {
                return Err(damaged("lists of extents nested too deeply"));
            }
            let block = self.block(id)?;
            let inner = whole(&block, take_extents).map_err(|e| damaged(e.0))?;
            let covered = inner.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.len()));
            if covered != Some(len) {
                return Err(damaged("a list of extents of the wrong length"));
            }
            self.flatten(&inner, depth + 1, flat)?;
        }
        Ok(())
    }

    /// The plain bytes of a block, checked against its id.
    ///
    /// # Errors
    /// `MissingBlock`, `DamagedBlock`, `Io`, `Index`.
    pub fn block(&self, id: BlockId) -> Result<Block> {
        self.records.block(id)
    }
}

/// Moves a cursor on bindings behind all those of a name.
fn skip_name(scan: &mut Scan<'_>, dir: NodeId, name: &[u8]) -> Result<()> {
    let prefix = keys::binding_name(dir, name);
    for _ in 0..STEPS_BEFORE_SEEK {
        scan.advance()?;
        if !scan.item().is_some_and(|(key, _)| key.starts_with(&prefix)) {
            return Ok(());
        }
    }
    scan.seek(&keys::after_binding_name(dir, name))
}

/// Whether one of two absolute paths lies at or below the other.
pub fn related(a: &[u8], b: &[u8]) -> bool {
    is_below(a, b) || is_below(b, a)
}

/// Whether the absolute path `inner` is `outer` or lies below it.
pub fn is_below(inner: &[u8], outer: &[u8]) -> bool {
    let outer = outer.strip_suffix(b"/").unwrap_or(outer);
    match inner.strip_prefix(outer) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_related_by_whole_components() {
        assert!(is_below(b"/a/b", b"/a"));
        assert!(is_below(b"/a", b"/a"));
        assert!(is_below(b"/a", b"/"));
        assert!(is_below(b"/", b"/"));
        assert!(!is_below(b"/ab", b"/a"));
        assert!(related(b"/a", b"/a/b") && !related(b"/a/x", b"/a/b"));
    }
}

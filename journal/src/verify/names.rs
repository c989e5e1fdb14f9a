//! Which paths a node had, and when: what a person needs to know of a version that cannot be restored.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::{self, Bound, Linked};
use crate::records::Records;
use crate::types::{NodeId, Seq};

/// No tree is deeper.
const DEPTH_MAX: usize = 2048;
/// Directories whose paths are remembered.
const REMEMBERED_MAX: usize = 65_536;
/// Paths of one node over all time; who renames a directory more often gets the oldest of them.
const PATHS_MAX: usize = 10_000;

/// A path that a node had for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: Vec<u8>,
    /// From this `Seq` on.
    pub(super) from: Seq,
    /// Up to this one, which is not part of it any more; [`Seq::MAX`] where it has the path still.
    pub(super) until: Seq,
}

/// Finds paths of nodes over all time.
pub(super) struct Names<'r> {
    records: &'r Records,
    dirs: HashMap<NodeId, Rc<Vec<Named>>>,
}

impl<'r> Names<'r> {
    pub(super) fn new(records: &'r Records) -> Names<'r> {
        Names { records, dirs: HashMap::new() }
    }

    /// Every path of a node with its time, the parts that follow each other as one.
    pub(super) fn of(&mut self, node: NodeId) -> Result<Vec<Named>> {
        self.paths(node, 0)
    }

    fn dir(&mut self, node: NodeId, depth: usize) -> Result<Rc<Vec<Named>>> {
        if let Some(known) = self.dirs.get(&node) {
            return Ok(known.clone());
        }
        let paths = match node {
            NodeId::ROOT => vec![Named { path: Vec::new(), from: Seq::ZERO, until: Seq::MAX }],
            _ if depth > DEPTH_MAX => Vec::new(),
            _ => self.paths(node, depth)?,
        };
        if self.dirs.len() >= REMEMBERED_MAX {
            self.dirs.clear();
        }
        let paths = Rc::new(paths);
        self.dirs.insert(node, paths.clone());
        Ok(paths)
    }

    fn paths(&mut self, node: NodeId, depth: usize) -> Result<Vec<Named>> {
        let mut found: BTreeMap<Vec<u8>, Vec<(Seq, Seq)>> = BTreeMap::new();
        let mut count = 0;
        for (dir, name) in self.entries(node)? {
            for (from, until) in self.spans(node, dir, &name)? {
                for above in self.dir(dir, depth + 1)?.iter() {
                    let (from, until) = (from.max(above.from), until.min(above.until));
                    if from >= until || count >= PATHS_MAX {
                        continue;
                    }
                    count += 1;
                    let path = [above.path.as_slice(), b"/", name.as_slice()].concat();
                    found.entry(path).or_default().push((from, until));
                }
            }
        }
        let mut paths = Vec::new();
        for (path, spans) in found {
            for (from, until) in joined(spans) {
                paths.push(Named { path: path.clone(), from, until });
            }
        }
        Ok(paths)
    }

    /// The directories and names that the node has had.
    fn entries(&self, node: NodeId) -> Result<Vec<(NodeId, Vec<u8>)>> {
        let damage = self.records.index_damage(Cf::Link);
        let mut scan = self.records.store.scan(Cf::Link, &keys::node(node))?;
        let mut entries = Vec::new();
        while let Some((_, value)) = scan.item() {
            let Linked { dir, name, .. } = Linked::decode(value).map_err(&damage)?;
            entries.push((dir, name));
            scan.advance()?;
        }
        entries.sort_unstable();
        entries.dedup();
        Ok(entries)
    }

    /// When a name stood for the node.
    fn spans(&self, node: NodeId, dir: NodeId, name: &[u8]) -> Result<Vec<(Seq, Seq)>> {
        let damage = self.records.index_damage(Cf::Binding);
        let mut scan = self.records.store.scan(Cf::Binding, &keys::binding_name(dir, name))?;
        let (mut spans, mut until) = (Vec::new(), Seq::MAX);
        while let Some((key, value)) = scan.item() {
            let (_, from) = keys::parse_binding(key).map_err(&damage)?;
            if matches!(Bound::decode(value).map_err(&damage)?, Bound::To { node: to, .. } if to == node) {
                spans.push((from, until));
            }
            until = from;
            scan.advance()?;
        }
        Ok(spans)
    }
}

/// Spans in order, those that follow each other as one.
pub(super) fn joined(mut spans: Vec<(Seq, Seq)>) -> Vec<(Seq, Seq)> {
    spans.sort_unstable();
    let mut joined: Vec<(Seq, Seq)> = Vec::new();
    for (from, until) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => joined.push((from, until)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_follow_each_other_are_one() {
        let spans = |list: &[(u64, u64)]| list.iter().map(|&(a, b)| (Seq(a), Seq(b))).collect::<Vec<_>>();
        assert_eq!(joined(spans(&[(5, 9), (1, 3), (3, 5), (12, 20)])), spans(&[(1, 9), (12, 20)]));
        assert_eq!(joined(spans(&[(1, 9), (2, 3)])), spans(&[(1, 9)]));
    }
}

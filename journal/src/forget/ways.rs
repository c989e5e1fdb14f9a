//! The paths that a name or a node had, and when: by what people know it. Reads only.

use std::collections::HashMap;
use std::rc::Rc;

use super::plan::Planner;
use super::spans::{END, Spans};
use crate::error::Result;
use crate::types::{NodeId, Seq};

/// No way up has more names.
const DEPTH_MAX: usize = 4096;

/// A path, and when it led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub path: Vec<u8>,
    pub spans: Spans,
}

/// Looks up paths; those of directories are remembered.
pub(super) struct Ways<'p, 'r> {
    planner: &'p Planner<'r>,
    dirs: HashMap<NodeId, Rc<Vec<Way>>>,
}

impl<'p, 'r> Ways<'p, 'r> {
    pub(super) fn new(planner: &'p Planner<'r>) -> Ways<'p, 'r> {
        Ways { planner, dirs: HashMap::new() }
    }

    /// The paths that a name in a directory had during that.
    pub(super) fn of_name(&mut self, dir: NodeId, name: &[u8], during: &Spans) -> Result<Vec<Way>> {
        self.below(dir, name, during, 0)
    }

    /// The paths that a node ever had.
    pub(super) fn of_node(&mut self, node: NodeId) -> Result<Vec<Way>> {
        self.up(node, 0)
    }

    fn below(&mut self, dir: NodeId, name: &[u8], during: &Spans, depth: usize) -> Result<Vec<Way>> {
        let mut ways = Vec::new();
        for way in self.of_dir(dir, depth)?.iter() {
            let spans = way.spans.and(during);
            if !spans.is_empty() {
                ways.push(Way { path: [&way.path, b"/".as_slice(), name].concat(), spans });
            }
        }
        Ok(ways)
    }

    fn up(&mut self, node: NodeId, depth: usize) -> Result<Vec<Way>> {
        let mut ways = Vec::new();
        let mut names: Vec<_> = self.planner.names_of(node)?.into_iter().collect();
        names.sort_unstable();
        for (dir, name) in names {
            let mut bound = Spans::default();
            for record in self.planner.of_name(dir, &name)?.iter().filter(|record| record.is_to(node)) {
                bound.add(&record.spans());
            }
            ways.extend(self.below(dir, &name, &bound, depth + 1)?);
        }
        Ok(ways)
    }

    fn of_dir(&mut self, dir: NodeId, depth: usize) -> Result<Rc<Vec<Way>>> {
        if dir == NodeId::ROOT {
            return Ok(Rc::new(vec![Way { path: Vec::new(), spans: Spans::of(0, END) }]));
        }
        if let Some(known) = self.dirs.get(&dir) {
            return Ok(known.clone());
        }
        // Nothing is in itself, whatever damage says.
        self.dirs.insert(dir, Rc::default());
        if depth < DEPTH_MAX {
            let ways = Rc::new(self.up(dir, depth)?);
            self.dirs.insert(dir, ways);
        }
        Ok(self.dirs.get(&dir).cloned().unwrap_or_default())
    }
}

/// Those of the ways that led there during that; where none did, the last one before it, or else the first.
pub(super) fn during<'w>(ways: &'w [Way], spans: &Spans, at: Seq) -> Vec<&'w Way> {
    let there: Vec<&Way> = ways.iter().filter(|way| way.spans.meets(spans)).collect();
    if !there.is_empty() {
        return there;
    }
    let first = |way: &&Way| way.spans.first();
    let before = ways.iter().filter(|way| way.spans.first().is_some_and(|from| from <= at.0));
    before.max_by_key(first).or_else(|| ways.iter().min_by_key(first)).into_iter().collect()
}

//! What goes when paths are forgotten: which records of names, which versions, and which notes that name them.
//!
//! A record goes where all that it can still be reached by is forgotten: at each instant at which its way up leads to `/`, that way
//! is one of the paths, or lies below one. What can be reached some other way stays, whole.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::order::Order;
use super::spans::{END, Spans};
use crate::error::Result;
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound, Linked};
use crate::records::Records;
use crate::types::{
    Content, Gap, Held, Hold, Kind, Metadata, NodeId, Op, Restore, RestoreBegun, Seq, Version,
};
use crate::view::is_below;

/// No way up has more names.
const DEPTH_MAX: usize = 4096;
/// A shorter name is no secret: it may stand in any text.
const TOLD_NAME_MIN: usize = 3;

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The paths as they were given.
    pub paths: Vec<Vec<u8>>,
    /// What is noted from here on stays.
    pub limit: Seq,
    /// Records of names: directory, name and when.
    pub bindings: HashSet<(NodeId, Vec<u8>, Seq)>,
    /// Versions.
    pub versions: HashSet<(NodeId, Seq)>,
    /// Those of them of which a marker says that something was there: the name stays.
    pub markers: HashSet<(NodeId, Seq)>,
    /// Those of them that were no more than markers.
    pub thinned: HashSet<(NodeId, Seq)>,
    /// Nodes of which nothing stays.
    pub nodes: HashSet<NodeId>,
    /// Nodes that can be reached some other way; not for long.
    pub kept: BTreeSet<NodeId>,
}

/// What a name stood for, from when until when.
pub(super) struct Record {
    pub seq: Seq,
    pub until: u64,
    pub bound: Bound,
}

impl Record {
    pub(super) fn spans(&self) -> Spans {
        Spans::of(self.seq.0, self.until)
    }

    pub(super) fn is_to(&self, node: NodeId) -> bool {
        matches!(self.bound, Bound::To { node: to, .. } if to == node)
    }
}

/// A version, from when until when it was the newest.
pub(super) struct Lasting {
    pub seq: Seq,
    pub until: u64,
    /// Whether it only says that something was there.
    pub is_marker: bool,
}

impl Lasting {
    pub(super) fn spans(&self) -> Spans {
        Spans::of(self.seq.0, self.until)
    }
}

/// Looks up what is needed for a plan.
pub(super) struct Planner<'r> {
    records: &'r Records,
    /// What came later is not looked at.
    through: Seq,
    limit: u64,
    reach: HashMap<NodeId, Spans>,
}

impl Plan {
    /// What goes of everything up to `through`.
    ///
    /// # Errors
    /// `Index`.
    pub(crate) fn new(records: &Records, order: &Order, through: Seq) -> Result<Plan> {
        let limit = order.before.map_or(END, |before| before.0);
        Planner::new(records, through, limit).plan(order)
    }

    /// How many versions go; markers are none.
    pub(crate) fn versions_going(&self) -> u64 {
        self.versions.len().saturating_sub(self.thinned.len()) as u64
    }

    /// Whether nothing goes.
    pub(crate) fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.versions.is_empty() && self.nodes.is_empty()
    }

    /// Puts two plans together.
    pub(crate) fn add(&mut self, other: Plan) {
        self.bindings.extend(other.bindings);
        self.versions.extend(other.versions);
        self.markers.extend(other.markers);
        self.thinned.extend(other.thinned);
        self.nodes.extend(other.nodes);
        self.limit = self.limit.max(other.limit);
        self.kept.clear();
    }

    /// What came meanwhile of what nothing stays of: versions of nodes without a name, and that a name is gone which stood for nothing.
    ///
    /// # Errors
    /// `Index`.
    pub(crate) fn late(&self, records: &Records, through: Seq) -> Result<Plan> {
        let mut late = Plan { paths: self.paths.clone(), limit: self.limit, ..Plan::default() };
        let planner = Planner::new(records, Seq::MAX, END);
        for node in &self.nodes {
            let mut is_named = false;
            for (dir, name) in planner.names_of(*node)? {
                let records = planner.of_name(dir, &name)?;
                is_named |=
                    records.iter().any(|record| record.is_to(*node) && !self.has(dir, &name, record.seq));
            }
            if !is_named {
                let later = planner.versions_of(*node)?.into_iter().filter(|version| version.seq > through);
                late.versions.extend(later.map(|version| (*node, version.seq)));
                late.nodes.insert(*node);
            }
        }
        let names: HashSet<(NodeId, &[u8])> =
            self.bindings.iter().map(|(dir, name, _)| (*dir, name.as_slice())).collect();
        for (dir, name) in names {
            let mut stands = false;
            for record in planner.of_name(dir, name)? {
                match record.bound {
                    _ if self.has(dir, name, record.seq) => {}
                    Bound::To { .. } => stands = true,
                    Bound::Gone { .. } if stands => stands = false,
                    Bound::Gone { .. } if record.seq > through => {
                        late.bindings.insert((dir, name.to_vec(), record.seq));
                    }
                    Bound::Gone { .. } => {}
                }
            }
        }
        if late.versions.is_empty() && late.bindings.is_empty() {
            late.nodes.clear();
        }
        Ok(late)
    }

    fn has(&self, dir: NodeId, name: &[u8], seq: Seq) -> bool {
        self.bindings.contains(&(dir, name.to_vec(), seq))
    }

    /// Whether an operation does not stay as it is.
    pub(crate) fn touches(&self, seq: Seq, op: &Op) -> bool {
        match op {
            Op::Bind { succeeds: Some(before), .. } if self.nodes.contains(before) => true,
            Op::Gap(gap) if self.tells(gap.detail.as_bytes()) => true,
            Op::Restore(Restore::Begun(begun)) => begun.paths.iter().any(|path| self.names(seq, path)),
            op => !self.stays(seq, op),
        }
    }

    fn stays(&self, seq: Seq, op: &Op) -> bool {
        match op {
            Op::Bind { dir, name, .. } | Op::Unbind { dir, name, .. } => !self.has(*dir, name, seq),
            Op::Version { node, version } => {
                let is_marker = version.content == Content::Thinned && self.markers.contains(&(*node, seq));
                is_marker || !self.versions.contains(&(*node, seq))
            }
            Op::Identify { node, .. } => !self.nodes.contains(node),
            Op::Hold(Hold { what: Held::Path(path), .. }) | Op::Release(Held::Path(path)) => {
                !self.names(seq, path)
            }
            Op::Gap(gap) => !self.names(seq, &gap.scope),
            _ => true,
        }
    }

    /// What is left of an operation; `None` where nothing is.
    pub(crate) fn left_of(&self, seq: Seq, op: &Op) -> Option<Op> {
        if !self.stays(seq, op) {
            return match op {
                Op::Version { node, version } if self.markers.contains(&(*node, seq)) => {
                    let meta = Metadata { xattrs: Vec::new(), size: 0, ..version.meta.clone() };
                    let version = Version { content: Content::Thinned, racy: false, meta, ..version.clone() };
                    Some(Op::Version { node: *node, version })
                }
                _ => None,
            };
        }
        Some(match op {
            Op::Bind { succeeds: Some(before), dir, name, node, kind } if self.nodes.contains(before) => {
                Op::Bind { dir: *dir, name: name.clone(), node: *node, kind: *kind, succeeds: None }
            }
            Op::Gap(gap) if self.tells(gap.detail.as_bytes()) => {
                Op::Gap(Gap { detail: String::new(), ..gap.clone() })
            }
            Op::Restore(Restore::Begun(begun)) if begun.paths.iter().any(|path| self.names(seq, path)) => {
                let paths: Vec<_> =
                    begun.paths.iter().filter(|path| !self.names(seq, path)).cloned().collect();
                if paths.is_empty() {
                    return None;
                }
                Op::Restore(Restore::Begun(RestoreBegun { paths, ..begun.clone() }))
            }
            op => op.clone(),
        })
    }

    /// Whether a path that was noted then is one of those that go, or lies below one.
    fn names(&self, seq: Seq, path: &[u8]) -> bool {
        seq < self.limit && self.paths.iter().any(|gone| is_below(path, gone))
    }

    /// Whether a text tells the name of what goes.
    fn tells(&self, text: &[u8]) -> bool {
        let names = self.paths.iter().filter_map(|path| path.rsplit(|&byte| byte == b'/').next());
        names
            .filter(|name| name.len() >= TOLD_NAME_MIN)
            .any(|name| text.windows(name.len()).any(|part| part == name))
    }
}

/// A name in a directory.
type Name = (NodeId, Vec<u8>);

impl<'r> Planner<'r> {
    /// Looks at what came up to `through`; what was so from `limit` on stays.
    pub(super) fn new(records: &'r Records, through: Seq, limit: u64) -> Planner<'r> {
        Planner { records, through, limit, reach: HashMap::new() }
    }

    /// Whether anything was ever at a path.
    pub(super) fn knows(&self, path: &[u8]) -> Result<bool> {
        let mut names = BTreeMap::new();
        self.place(path, &mut names)?;
        for ((dir, name), spans) in &names {
            if self.of_name(*dir, name)?.iter().any(|record| record.spans().meets(spans)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All records of a name that count, the oldest first.
    pub(super) fn of_name(&self, dir: NodeId, name: &[u8]) -> Result<Vec<Record>> {
        let damage = self.records.index_damage(Cf::Binding);
        let mut newest_first = Vec::new();
        let mut scan = self.records.store.scan(Cf::Binding, &keys::binding_name(dir, name))?;
        while let Some((key, value)) = scan.item() {
            let (_, seq) = keys::parse_binding(key).map_err(&damage)?;
            newest_first.push((seq, Bound::decode(value).map_err(&damage)?));
            scan.advance()?;
        }
        Ok(self.timeline(newest_first))
    }

    fn timeline(&self, newest_first: Vec<(Seq, Bound)>) -> Vec<Record> {
        let mut until = END;
        let mut records: Vec<Record> = Vec::with_capacity(newest_first.len());
        for (seq, bound) in newest_first.into_iter().filter(|(seq, _)| *seq <= self.through) {
            records.push(Record { seq, until, bound });
            until = seq.0;
        }
        records.reverse();
        records
    }

    /// The names that a directory ever had an entry of.
    fn names_in(&self, dir: NodeId) -> Result<Vec<Vec<u8>>> {
        let damage = self.records.index_damage(Cf::Binding);
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut scan = self.records.store.scan(Cf::Binding, &keys::binding_dir(dir))?;
        while let Some((key, _)) = scan.item() {
            let (name, _) = keys::parse_binding(key).map_err(&damage)?;
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_vec());
            }
            scan.advance()?;
        }
        Ok(names)
    }

    /// The names that a node ever had.
    pub(super) fn names_of(&self, node: NodeId) -> Result<HashSet<Name>> {
        let damage = self.records.index_damage(Cf::Link);
        let mut names = HashSet::new();
        let mut scan = self.records.store.scan(Cf::Link, &keys::node(node))?;
        while let Some((_, value)) = scan.item() {
            let Linked { dir, name, .. } = Linked::decode(value).map_err(&damage)?;
            names.insert((dir, name));
            scan.advance()?;
        }
        Ok(names)
    }

    /// The versions of a node, the oldest first.
    pub(super) fn versions_of(&self, node: NodeId) -> Result<Vec<Lasting>> {
        let damage = self.records.index_damage(Cf::Version);
        let (mut versions, mut until) = (Vec::new(), END);
        let mut scan = self.records.store.scan(Cf::Version, &keys::node(node))?;
        while let Some((key, value)) = scan.item() {
            let version = whole(value, take_version).map_err(&damage)?;
            let seq = keys::parse_node_seq(key).map_err(&damage)?;
            if seq <= self.through {
                versions.push(Lasting { seq, until, is_marker: version.content == Content::Thinned });
                until = seq.0;
            }
            scan.advance()?;
        }
        versions.reverse();
        Ok(versions)
    }

    /// When a directory could be reached from `/`, by records that are not among those that go.
    fn reach_of(
        &self,
        dir: NodeId,
        gone: &Plan,
        known: &mut HashMap<NodeId, Spans>,
        depth: usize,
    ) -> Result<Spans> {
        if dir == NodeId::ROOT {
            return Ok(Spans::of(0, END));
        }
        if let Some(reach) = known.get(&dir) {
            return Ok(reach.clone());
        }
        // Nothing is in itself, whatever damage says.
        known.insert(dir, Spans::default());
        let mut reach = Spans::default();
        if depth < DEPTH_MAX {
            for (above, name) in self.names_of(dir)? {
                for record in self.of_name(above, &name)? {
                    if record.is_to(dir) && !gone.has(above, &name, record.seq) {
                        reach.add(&record.spans().and(&self.reach_of(above, gone, known, depth + 1)?));
                    }
                }
            }
        }
        known.insert(dir, reach.clone());
        Ok(reach)
    }

    fn reach(&mut self, dir: NodeId) -> Result<Spans> {
        let mut known = std::mem::take(&mut self.reach);
        let reach = self.reach_of(dir, &Plan::default(), &mut known, 0);
        self.reach = known;
        reach
    }

    fn plan(&mut self, order: &Order) -> Result<Plan> {
        let mut plan = Plan { paths: order.paths.clone(), limit: Seq(self.limit), ..Plan::default() };
        let mut names: BTreeMap<Name, Spans> = BTreeMap::new();
        for path in &order.paths {
            self.place(path, &mut names)?;
        }
        let nodes = self.spread(&mut names)?;
        for ((dir, name), forgotten) in &names {
            self.decide(*dir, name, forgotten, &mut plan)?;
        }
        let mut left = HashMap::new();
        for node in nodes {
            // When it can still be reached, and when it has a name.
            let (mut reach, mut named) = (Spans::default(), Spans::default());
            for (dir, name) in self.names_of(node)? {
                for record in self.of_name(dir, &name)? {
                    if record.is_to(node) && !plan.has(dir, &name, record.seq) {
                        let seen = record.spans().and(&self.reach_of(dir, &plan, &mut left, 0)?);
                        named.add(&seen);
                        // Until then the name tells nothing of what it stood for.
                        let over = names.get(&(dir, name.clone())).filter(|_| self.limit != END);
                        reach.add(&over.map_or_else(|| seen.clone(), |forgotten| seen.without(forgotten)));
                    }
                }
            }
            let (mut all, mut is_marked) = (true, false);
            for version in self.versions_of(node)? {
                let (span, this) = (version.spans(), (node, version.seq));
                if version.seq.0 >= self.limit || span.meets(&reach) {
                    (all, is_marked) = (false, false);
                    continue;
                }
                let marks = !is_marked && span.meets(&named);
                is_marked |= marks;
                // A marker stays one.
                if version.is_marker && marks {
                    continue;
                }
                plan.versions.insert(this);
                if marks {
                    plan.markers.insert(this);
                }
                if version.is_marker {
                    plan.thinned.insert(this);
                }
            }
            if !reach.is_empty() {
                plan.kept.insert(node);
            } else if all {
                plan.nodes.insert(node);
            }
        }
        Ok(plan)
    }

    /// Finds the name at a path, wherever its directory was at the times at which the path led there.
    fn place(&self, path: &[u8], names: &mut BTreeMap<Name, Spans>) -> Result<()> {
        let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
        let Some((last, above)) = parts.split_last() else { return Ok(()) };
        let mut dirs: BTreeMap<NodeId, Spans> = BTreeMap::from([(NodeId::ROOT, Spans::of(0, self.limit))]);
        for part in above {
            let mut next: BTreeMap<NodeId, Spans> = BTreeMap::new();
            for (dir, spans) in &dirs {
                for record in self.of_name(*dir, part)? {
                    let Bound::To { node, kind: Kind::Dir, .. } = record.bound else { continue };
                    let there = record.spans().and(spans);
                    if !there.is_empty() {
                        next.entry(node).or_default().add(&there);
                    }
                }
            }
            dirs = next;
        }
        for (dir, spans) in dirs {
            names.entry((dir, last.to_vec())).or_default().add(&spans);
        }
        Ok(())
    }

    /// Goes down from the names that were found; gives every node that was met.
    fn spread(&mut self, names: &mut BTreeMap<Name, Spans>) -> Result<HashSet<NodeId>> {
        let mut nodes = HashSet::new();
        let mut dirs: HashMap<NodeId, Spans> = HashMap::new();
        let mut todo: Vec<Name> = names.keys().cloned().collect();
        while let Some((dir, name)) = todo.pop() {
            let forgotten = names.get(&(dir, name.clone())).cloned().unwrap_or_default();
            for record in self.of_name(dir, &name)? {
                let (node, kind) = match record.bound {
                    Bound::To { node, kind, .. } | Bound::Gone { node, kind, .. } => (node, kind),
                };
                let there = record.spans().and(&forgotten);
                if there.is_empty() {
                    continue;
                }
                nodes.insert(node);
                if kind != Kind::Dir || !matches!(record.bound, Bound::To { .. }) {
                    continue;
                }
                let of_dir = dirs.entry(node).or_default();
                let mut grew = of_dir.add(&there);
                // What came below it when it could not be reached any more goes with it.
                let mut spans = of_dir.clone();
                if self.reach(node)?.without(&spans).is_empty() {
                    spans.add(&Spans::of(0, self.limit));
                    grew |= dirs.entry(node).or_default().add(&spans);
                }
                if !grew {
                    continue;
                }
                for inner in self.names_in(node)? {
                    let inner = (node, inner);
                    if names.entry(inner.clone()).or_default().add(&spans) {
                        todo.push(inner);
                    }
                }
            }
        }
        Ok(nodes)
    }

    /// Decides on the records of a name that was forgotten for so long.
    fn decide(&mut self, dir: NodeId, name: &[u8], forgotten: &Spans, plan: &mut Plan) -> Result<()> {
        let reach = self.reach(dir)?;
        let is_dead = reach.without(forgotten).is_empty();
        // Whether the name stands for something by a record that stays.
        let mut stands = false;
        for record in self.of_name(dir, name)? {
            let at = record.seq.0;
            let dead_here = is_dead && at < self.limit;
            let goes = match record.bound {
                Bound::To { .. } => {
                    let seen = record.spans().and(&reach);
                    seen.without(forgotten).is_empty() && (seen.meets(forgotten) || dead_here)
                }
                Bound::Gone { .. } => !stands && (forgotten.contains(at) || dead_here),
            };
            if goes {
                plan.bindings.insert((dir, name.to_vec(), record.seq));
            } else {
                stands = matches!(record.bound, Bound::To { .. });
            }
        }
        Ok(())
    }
}

//! A naive history: the whole tree as it was at every `Seq`, one copy for each, and what a reader must say of it.
//!
//! Owns the comparison of a journal with what was submitted to it. Knows no format, no index and no storage: a state is
//! two maps, and a question is answered by looking through them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use asof_journal::reader::Reader;
use asof_journal::types::{Content, Extent, Group, Kind, NodeId, Op, Seq, Unbound, Version};
use asof_journal::view::View;

/// What a name of a directory stands for, or stood for last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The node.
    pub node: NodeId,
    /// Its kind.
    pub kind: Kind,
    /// Since when.
    pub since: Seq,
    /// Why it is gone; `None` where it is there.
    pub gone: Option<Unbound>,
}

/// A version and its bytes.
#[derive(Clone, Debug)]
pub struct Known {
    /// Since when.
    pub since: Seq,
    /// What was submitted.
    pub version: Version,
    /// The bytes of its content.
    pub bytes: Rc<Vec<u8>>,
}

/// The tree at one `Seq`.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Every name that there is or was, by directory.
    pub names: BTreeMap<(NodeId, Vec<u8>), Name>,
    /// Every node that has a version.
    pub versions: BTreeMap<NodeId, Known>,
}

impl State {
    /// The names that are there.
    pub fn there(&self) -> impl Iterator<Item = (&(NodeId, Vec<u8>), &Name)> {
        self.names.iter().filter(|(_, name)| name.gone.is_none())
    }

    /// The names that a node has.
    pub fn names_of(&self, node: NodeId) -> BTreeSet<(NodeId, Vec<u8>)> {
        self.there().filter(|(_, name)| name.node == node).map(|(key, _)| key.clone()).collect()
    }

    /// Whether a directory is, or lies below, another one.
    pub fn is_within(&self, dir: NodeId, above: NodeId) -> bool {
        let mut at = dir;
        while at != above {
            match self.names_of(at).into_iter().next() {
                Some((dir, _)) => at = dir,
                None => return false,
            }
        }
        true
    }

    /// The path of a name; `None` where its directory has none.
    pub fn path(&self, dir: NodeId, name: &[u8]) -> Option<Vec<u8>> {
        let mut path = [b"/", name].concat();
        let mut at = dir;
        while at != NodeId::ROOT {
            let (dir, name) = self.names_of(at).into_iter().next()?;
            path = [b"/", name.as_slice(), &path].concat();
            at = dir;
        }
        Some(path)
    }

    /// Drops what does not count: an unbind of a name that stands for another node by now, or for none.
    fn drop_stale(&self, group: &mut Group) {
        group.ops.retain(|op| match op {
            Op::Unbind { dir, name, node, why, .. } => match self.names.get(&(*dir, name.clone())) {
                Some(bound) if bound.gone.is_none() => bound.node == *node,
                _ => *why == Unbound::Unread,
            },
            _ => true,
        });
    }

    fn apply(&mut self, seq: Seq, op: &Op, bytes: &Rc<Vec<u8>>) {
        let mut set = |dir: &NodeId, name: &Vec<u8>, node: &NodeId, kind: &Kind, gone| {
            let bound = Name { node: *node, kind: *kind, since: seq, gone };
            self.names.insert((*dir, name.clone()), bound);
        };
        match op {
            Op::Bind { dir, name, node, kind, .. } => set(dir, name, node, kind, None),
            Op::Unbind { dir, name, node, kind, why } => set(dir, name, node, kind, Some(*why)),
            Op::Version { node, version } => {
                let known = Known { since: seq, version: version.clone(), bytes: bytes.clone() };
                self.versions.insert(*node, known);
            }
            Op::Identify { .. }
            | Op::Gap(_)
            | Op::Policy(_)
            | Op::Mark(_)
            | Op::Loss(_)
            | Op::Name(_)
            | Op::Restore(_)
            | Op::Hold(_)
            | Op::Release(_)
            | Op::Forgotten(_) => {}
        }
    }
}

/// Everything that was submitted, in order.
#[derive(Clone, Default)]
pub struct History {
    /// The state behind each group; the first is `Seq` 1.
    states: Vec<Rc<State>>,
    groups: Vec<Rc<Group>>,
}

impl History {
    /// The last `Seq`.
    pub fn last(&self) -> Seq {
        Seq(self.states.len() as u64)
    }

    /// The tree at a `Seq`.
    pub fn state(&self, seq: Seq) -> Rc<State> {
        match (seq.0 as usize).min(self.states.len()).checked_sub(1) {
            Some(at) => self.states[at].clone(),
            None => Rc::default(),
        }
    }

    /// The newest tree.
    pub fn newest(&self) -> Rc<State> {
        self.state(Seq::MAX)
    }

    /// The groups with their `Seq`s, the oldest first.
    pub fn groups(&self) -> impl DoubleEndedIterator<Item = (Seq, &Group)> {
        self.groups.iter().enumerate().map(|(at, group)| (Seq(at as u64 + 1), &**group))
    }

    /// Adds a group; `bytes` is the content of the version in it. Gives the `Seq` that it must get.
    pub fn push(&mut self, mut group: Group, bytes: Vec<u8>) -> Seq {
        let mut state = (*self.newest()).clone();
        state.drop_stale(&mut group);
        let seq = self.last().next();
        let bytes = Rc::new(bytes);
        for op in &group.ops {
            state.apply(seq, op, &bytes);
        }
        self.states.push(Rc::new(state));
        self.groups.push(Rc::new(group));
        seq
    }

    /// Forgets what came after a `Seq`.
    pub fn truncate(&mut self, seq: Seq) {
        self.states.truncate(seq.0 as usize);
        self.groups.truncate(seq.0 as usize);
    }

    /// Compares a reader with the tree at a `Seq`, in everything that a view answers. An error says what differs.
    pub fn compare(&self, reader: &Reader, seq: Seq) -> Result<(), String> {
        let (view, state) = (reader.view(seq), self.state(seq));
        let compared = self.compare_view(&view, &state).and_then(|()| compare_contents(&view, &state));
        compared.map_err(|what| format!("at {seq} of {}: {what}", self.last()))
    }

    /// The same of a view and a tree, but for the bytes of files.
    ///
    /// # Errors
    /// In words, what differs.
    pub fn compare_view(&self, view: &View<'_>, state: &State) -> Result<(), String> {
        let newest = self.newest();
        compare_names(view, state, &newest)?;
        compare_nodes(view, state, &newest)
    }
}

fn compare_names(view: &View<'_>, state: &State, newest: &State) -> Result<(), String> {
    let dirs = newest.names.values().filter(|name| name.kind == Kind::Dir).map(|name| name.node);
    for dir in dirs.chain([NodeId::ROOT]).collect::<BTreeSet<_>>() {
        let listed = said(view.list(dir))?.into_iter().map(|entry| (entry, false));
        let deleted = said(view.list_deleted(dir))?.into_iter().map(|entry| (entry, true));
        let mut seen: Vec<_> = listed
            .chain(deleted)
            .map(|(entry, gone)| (entry.name, entry.node, entry.kind, entry.since, gone))
            .collect();
        seen.sort();
        let within = state.names.range((dir, Vec::new())..(NodeId(dir.0 + 1), Vec::new()));
        let expected: Vec<_> = within
            .map(|((_, name), at)| (name.clone(), at.node, at.kind, at.since, at.gone.is_some()))
            .collect();
        same(&format!("the names of {dir}"), &seen, &expected)?;
    }
    for (dir, name) in newest.names.keys() {
        let Some(path) = state.path(*dir, name) else { continue };
        let bound = state.names.get(&(*dir, name.clone()));
        let there = bound.filter(|bound| bound.gone.is_none());
        let seen = said(view.resolve(&path))?.map(|entry| (entry.node, entry.kind, entry.since));
        let expected = there.map(|bound| (bound.node, bound.kind, bound.since));
        same(&String::from_utf8_lossy(&path), &seen, &expected)?;
        let seen = said(view.last_bound(*dir, name))?;
        same("what was bound last", &seen, &bound.map(|bound| (bound.node, bound.kind)))?;
    }
    Ok(())
}

fn compare_nodes(view: &View<'_>, state: &State, newest: &State) -> Result<(), String> {
    let bound = newest.names.values().map(|name| name.node);
    for node in bound.chain(newest.versions.keys().copied()).collect::<BTreeSet<_>>() {
        let names = said(view.bindings_of(node))?;
        let expected = state.names_of(node);
        same(&format!("the names of {node}"), &names.iter().cloned().collect(), &expected)?;
        same("names are told once", &names.len(), &expected.len())?;
        let path = said(view.path_of(node))?;
        let paths: Vec<_> = expected.iter().filter_map(|(dir, name)| state.path(*dir, name)).collect();
        if !path.as_ref().map_or(paths.is_empty(), |path| paths.contains(path)) {
            return Err(format!("{node} has the path {path:?} and should have one of {paths:?}"));
        }
        let known = state.versions.get(&node);
        let version = said(view.version(node))?;
        let seen = version.as_ref().map(|at| (at.seq, &at.version));
        same(&format!("the version of {node}"), &seen, &known.map(|known| (known.since, &known.version)))?;
    }
    Ok(())
}

fn compare_contents(view: &View<'_>, state: &State) -> Result<(), String> {
    for (node, known) in &state.versions {
        let bytes =
            content(view, &known.version).map_err(|error| format!("the content of {node}: {error}"))?;
        if bytes != *known.bytes {
            return Err(format!("{node} has wrong bytes: {} for {}", bytes.len(), known.bytes.len()));
        }
    }
    Ok(())
}

/// The bytes of a version.
fn content(view: &View<'_>, version: &Version) -> Result<Vec<u8>, String> {
    if let Content::Inline(bytes) = &version.content {
        return Ok(bytes.clone());
    }
    let mut bytes = Vec::new();
    for extent in said(view.extents(version))? {
        match extent {
            Extent::Block { id, .. } => bytes.extend_from_slice(&said(view.block(id))?),
            Extent::Hole { len } => bytes.resize(bytes.len() + len as usize, 0),
            Extent::List { .. } => return Err("a list in flattened extents".into()),
        }
    }
    Ok(bytes)
}

fn said<T>(result: asof_journal::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// An error where two things that should be the same are not.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, expected: &T) -> Result<(), String> {
    match seen == expected {
        true => Ok(()),
        false => Err(format!("{what}: {seen:?}, expected {expected:?}")),
    }
}

//! The watched directories as a tree: which watch descriptor stands for which name in which other one.
//!
//! Pure, no I/O. Owns names (each once), places and paths. Knows nothing of events: whoever reads them says what moved.
//!
//! A rename is a change of one node, whatever lies below it; a path is made by walking up. Nothing is found by path
//! but by going down name by name.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// A watch descriptor. The kernel counts up from 1 and begins anew only after 2^31, so that what its queue still says
/// of a watch that is gone never meets a newer one.
pub(super) type Wd = i32;

/// What no watch is called: the parent of a root.
pub(super) const NONE: Wd = 0;

/// Has its place no more, and is not known to have another one yet.
const DISPLACED: u8 = 1;
/// A hint told that it came to be.
const ANNOUNCED: u8 = 1 << 1;
/// Is on another filesystem than its root.
const ELSEWHERE: u8 = 1 << 2;

#[derive(Debug)]
struct Node {
    parent: Wd,
    first_child: Wd,
    next: Wd,
    previous: Wd,
    /// Its name in `parent`; of a root the absolute path.
    name: Box<[u8]>,
    flags: u8,
}

/// What became of moving a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// It has the place.
    Done,
    /// The place is below the node itself, as far as is known; nothing was changed.
    Below,
}

/// The tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: HashMap<Wd, Node>,
    /// Nodes by parent and name, hashed from what the nodes hold.
    places: HashTable<Wd>,
    hasher: RandomState,
    /// Directories in which another one was left out by the rules.
    left_out: HashSet<Wd>,
    /// Nodes whose place another one took.
    displaced: HashSet<Wd>,
}

impl Tree {
    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn contains(&self, wd: Wd) -> bool {
        self.nodes.contains_key(&wd)
    }

    /// The place of a node, unless another one took it.
    pub(super) fn place(&self, wd: Wd) -> Option<(Wd, &[u8])> {
        let node = self.nodes.get(&wd)?;
        (node.flags & DISPLACED == 0).then_some((node.parent, &node.name))
    }

    /// The place that a node has, or had when another one took it.
    pub(super) fn last_place(&self, wd: Wd) -> Option<(Wd, &[u8])> {
        self.nodes.get(&wd).map(|node| (node.parent, &*node.name))
    }

    /// The node at a place.
    pub(super) fn at(&self, parent: Wd, name: &[u8]) -> Option<Wd> {
        let hash = self.hash(parent, name);
        self.places.find(hash, |wd| self.has_place(*wd, parent, name)).copied()
    }

    /// The root that a node is below.
    pub(super) fn root_of(&self, wd: Wd) -> Option<Wd> {
        let mut at = wd;
        loop {
            match self.nodes.get(&at)?.parent {
                NONE => return Some(at),
                parent => at = parent,
            }
        }
    }

    /// Whether a node is another one or below it.
    pub(super) fn is_below(&self, wd: Wd, above: Wd) -> bool {
        let mut at = wd;
        while let Some(node) = self.nodes.get(&at) {
            if at == above {
                return true;
            }
            at = node.parent;
        }
        false
    }

    /// The absolute path of a node.
    pub(super) fn path(&self, wd: Wd) -> Option<Vec<u8>> {
        self.path_in(wd, b"")
    }

    /// The absolute path of a name in a node; of the node itself where the name is empty.
    pub(super) fn path_in(&self, wd: Wd, name: &[u8]) -> Option<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::with_capacity(16);
        let mut at = wd;
        while at != NONE {
            let node = self.nodes.get(&at)?;
            names.push(&node.name);
            at = node.parent;
        }
        let mut path =
            Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum::<usize>() + name.len());
        for part in names.into_iter().rev().chain([name]).filter(|part| !part.is_empty()) {
            if !path.is_empty() && !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        Some(path)
    }

    /// The names that lead from its root to a node.
    pub(super) fn names_below_root(&self, wd: Wd) -> Option<Vec<&[u8]>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = wd;
        loop {
            let node = self.nodes.get(&at)?;
            if node.parent == NONE {
                names.reverse();
                return Some(names);
            }
            names.push(&node.name);
            at = node.parent;
        }
    }

    pub(super) fn children(&self, wd: Wd) -> impl Iterator<Item = (Wd, &[u8])> {
        let mut next = self.nodes.get(&wd).map_or(NONE, |node| node.first_child);
        std::iter::from_fn(move || {
            let (child, node) = (next, self.nodes.get(&next)?);
            next = node.next;
            Some((child, &*node.name))
        })
    }

    /// A node and everything below it, what is above before what is below.
    pub(super) fn subtree(&self, wd: Wd) -> Vec<Wd> {
        let mut found = Vec::new();
        if self.contains(wd) {
            found.push(wd);
        }
        let mut at = 0;
        while let Some(above) = found.get(at).copied() {
            at += 1;
            found.extend(self.children(above).map(|(child, _)| child));
        }
        found
    }

    /// Adds a node that is not in the tree yet. Whatever had the place loses it.
    pub(super) fn insert(&mut self, wd: Wd, parent: Wd, name: &[u8]) {
        debug_assert!(!self.contains(wd), "a watch has one node");
        let node =
            Node { parent, first_child: NONE, next: NONE, previous: NONE, name: name.into(), flags: 0 };
        self.nodes.insert(wd, node);
        self.link(wd);
        self.take_place(wd);
    }

    /// Gives a node another place. Whatever had that loses it.
    pub(super) fn move_to(&mut self, wd: Wd, parent: Wd, name: &[u8]) -> Moved {
        if self.is_below(parent, wd) {
            return Moved::Below;
        }
        self.leave_place(wd);
        self.unlink(wd);
        if let Some(node) = self.nodes.get_mut(&wd) {
            node.parent = parent;
            if *node.name != *name {
                node.name = name.into();
            }
        }
        self.link(wd);
        self.take_place(wd);
        Moved::Done
    }

    /// Forgets a node with everything below it; gives what was below it.
    pub(super) fn remove(&mut self, wd: Wd) -> Vec<Wd> {
        let mut below = self.subtree(wd);
        if below.is_empty() {
            return below;
        }
        for gone in &below {
            self.leave_place(*gone);
        }
        self.unlink(wd);
        for gone in &below {
            self.nodes.remove(gone);
            self.left_out.remove(gone);
        }
        below.remove(0);
        self.give_back();
        below
    }

    pub(super) fn is_announced(&self, wd: Wd) -> bool {
        self.nodes.get(&wd).is_some_and(|node| node.flags & ANNOUNCED != 0)
    }

    pub(super) fn announce(&mut self, wd: Wd) {
        if let Some(node) = self.nodes.get_mut(&wd) {
            node.flags |= ANNOUNCED;
        }
    }

    pub(super) fn is_elsewhere(&self, wd: Wd) -> bool {
        self.nodes.get(&wd).is_some_and(|node| node.flags & ELSEWHERE != 0)
    }

    pub(super) fn note_elsewhere(&mut self, wd: Wd) {
        if let Some(node) = self.nodes.get_mut(&wd) {
            node.flags |= ELSEWHERE;
        }
    }

    /// Remembers that a directory in this one was left out.
    pub(super) fn leave_out_below(&mut self, wd: Wd) {
        self.left_out.insert(wd);
    }

    /// Takes those directories at or below a node in which others were left out.
    pub(super) fn take_left_out(&mut self, below: Wd) -> Vec<Wd> {
        let mut taken: Vec<Wd> =
            self.left_out.iter().copied().filter(|wd| self.is_below(*wd, below)).collect();
        taken.sort_unstable();
        for wd in &taken {
            self.left_out.remove(wd);
        }
        taken
    }

    /// Nodes whose place another one took, and that have no other one yet.
    pub(super) fn displaced(&self) -> impl Iterator<Item = Wd> {
        self.displaced.iter().copied()
    }

    fn hash(&self, parent: Wd, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    fn has_place(&self, wd: Wd, parent: Wd, name: &[u8]) -> bool {
        self.nodes.get(&wd).is_some_and(|node| node.parent == parent && *node.name == *name)
    }

    fn take_place(&mut self, wd: Wd) {
        let Some(node) = self.nodes.get_mut(&wd) else { return };
        node.flags &= !DISPLACED;
        let (parent, name) = (node.parent, node.name.clone());
        if let Some(other) = self.at(parent, &name) {
            self.leave_place(other);
            if let Some(node) = self.nodes.get_mut(&other) {
                node.flags |= DISPLACED;
            }
            self.displaced.insert(other);
        }
        let hash = self.hash(parent, &name);
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.places.insert_unique(hash, wd, |wd| {
            nodes.get(wd).map_or(0, |node| hasher.hash_one((node.parent, &*node.name)))
        });
    }

    fn leave_place(&mut self, wd: Wd) {
        self.displaced.remove(&wd);
        let Some(node) = self.nodes.get(&wd) else { return };
        let hash = self.hash(node.parent, &node.name);
        if let Ok(entry) = self.places.find_entry(hash, |found| *found == wd) {
            entry.remove();
        }
    }

    fn link(&mut self, wd: Wd) {
        let Some(parent) = self.nodes.get(&wd).map(|node| node.parent) else { return };
        let next = match self.nodes.get_mut(&parent) {
            Some(parent) => std::mem::replace(&mut parent.first_child, wd),
            None => NONE,
        };
        if let Some(next) = self.nodes.get_mut(&next) {
            next.previous = wd;
        }
        if let Some(node) = self.nodes.get_mut(&wd) {
            (node.previous, node.next) = (NONE, next);
        }
    }

    fn unlink(&mut self, wd: Wd) {
        let Some(node) = self.nodes.get(&wd) else { return };
        let (parent, previous, next) = (node.parent, node.previous, node.next);
        if let Some(previous) = self.nodes.get_mut(&previous) {
            previous.next = next;
        } else if let Some(parent) = self.nodes.get_mut(&parent) {
            parent.first_child = next;
        }
        if let Some(next) = self.nodes.get_mut(&next) {
            next.previous = previous;
        }
    }

    /// Tables that have grown for a tree that is gone are made small again.
    fn give_back(&mut self) {
        if self.nodes.capacity() > 1024 && self.nodes.len() < self.nodes.capacity() / 8 {
            self.nodes.shrink_to(self.nodes.len() * 2);
            let (nodes, hasher) = (&self.nodes, &self.hasher);
            self.places.shrink_to(nodes.len() * 2, |wd| {
                nodes.get(wd).map_or(0, |node| hasher.hash_one((node.parent, &*node.name)))
            });
        }
    }
}

#[cfg(test)]
mod tests;

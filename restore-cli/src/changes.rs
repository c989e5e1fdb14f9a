//! What differs between two trees: names, kinds, content, attributes, and which names moved.
//!
//! Compares references to content, never content itself. Prints nothing.

use std::collections::{HashMap, HashSet};

use asof_journal::Result;
use asof_journal::types::{Kind, NodeId, Version};
use asof_journal::view::Entry;

use crate::path;
use crate::source::Source;

/// How something differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It is in the later tree only.
    Added,
    /// It is in the earlier tree only.
    Removed,
    /// Its content differs.
    Modified,
    /// Its content is the same; mode, owner, times or attributes differ.
    Attributes,
    /// Another sort of thing has its name.
    Type,
    /// The same node had another path.
    Renamed {
        /// The path before.
        from: Vec<u8>,
    },
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The path, in the later tree where it is there.
    pub(crate) path: Vec<u8>,
    /// How it differs.
    pub(crate) difference: Difference,
    /// The node in the earlier tree.
    pub(crate) before: Option<(NodeId, Kind)>,
    /// The node in the later tree.
    pub(crate) after: Option<(NodeId, Kind)>,
}

/// A name that one tree has and the other has not, or not for this node.
struct Loose {
    path: Vec<u8>,
    entry: Entry,
    /// The loose directory that it lies in.
    parent: Option<usize>,
    /// The loose name in the other tree that stands for the same node.
    twin: Option<usize>,
    /// The loose name in the other tree that has the same path.
    opposite: Option<usize>,
}

/// Both trees below `path`, compared; `None` where neither has the path. The result is in the order of paths.
pub(crate) fn between(before: &dyn Source, after: &dyn Source, path: &[u8]) -> Result<Option<Vec<Changed>>> {
    let (old, new) = (before.resolve(path)?, after.resolve(path)?);
    if old.is_none() && new.is_none() {
        return Ok(None);
    }
    let mut work = Comparison { before, after, removed: Vec::new(), added: Vec::new(), found: Vec::new() };
    work.pair(path.to_vec(), old, new)?;
    work.settle()?;
    work.found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Some(work.found))
}

struct Comparison<'s> {
    before: &'s dyn Source,
    after: &'s dyn Source,
    removed: Vec<Loose>,
    added: Vec<Loose>,
    found: Vec<Changed>,
}

impl Comparison<'_> {
    /// Compares what two trees have at one path, and below.
    fn pair(&mut self, path: Vec<u8>, old: Option<Entry>, new: Option<Entry>) -> Result<()> {
        let mut pending = vec![(path, old, new)];
        // A directory has one place; in a damaged journal it may lie within itself.
        let mut met = HashSet::new();
        while let Some((path, old, new)) = pending.pop() {
            match (old, new) {
                (Some(old), Some(new)) if old.node == new.node => {
                    self.versions(&path, &old, &new)?;
                    if new.kind == Kind::Dir && met.insert(new.node) {
                        pending.extend(self.children(&path, old.node, new.node)?);
                    }
                }
                (old, new) => {
                    let is_pair = old.is_some() && new.is_some();
                    let (left, right) = (self.removed.len(), self.added.len());
                    if let Some(entry) = old {
                        let opposite = is_pair.then_some(right);
                        loosen(self.before, &mut self.removed, path.clone(), entry, opposite)?;
                    }
                    if let Some(entry) = new {
                        let opposite = is_pair.then_some(left);
                        loosen(self.after, &mut self.added, path, entry, opposite)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The entries of both directories, by name.
    #[expect(clippy::type_complexity, reason = "the arguments of `pair`, and named nowhere else")]
    fn children(
        &self,
        path: &[u8],
        old: NodeId,
        new: NodeId,
    ) -> Result<Vec<(Vec<u8>, Option<Entry>, Option<Entry>)>> {
        let mut pairs = Vec::new();
        let mut old = self.before.list(old)?.into_iter().peekable();
        let mut new = self.after.list(new)?.into_iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(pairs),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(one), Some(other)) => one.name.cmp(&other.name),
            };
            let left = if order.is_le() { old.next() } else { None };
            let right = if order.is_ge() { new.next() } else { None };
            let name = left.as_ref().or(right.as_ref()).map(|entry| entry.name.clone()).unwrap_or_default();
            pairs.push((path::join(path, &name), left, right));
        }
    }

    /// Compares what two nodes are, without their names and without what lies below.
    fn versions(&mut self, path: &[u8], old: &Entry, new: &Entry) -> Result<()> {
        let (one, other) = (self.before.version(old.node)?, self.after.version(new.node)?);
        if old.node == new.node && one.as_ref().map(|v| v.seq) == other.as_ref().map(|v| v.seq) {
            return Ok(());
        }
        let difference = match (&one, &other) {
            (None, None) => None,
            (Some(one), Some(other)) => differ(&one.version, &other.version),
            (None, Some(_)) | (Some(_), None) => Some(Difference::Attributes),
        };
        if let Some(difference) = difference {
            self.push(path, difference, Some(old), Some(new));
        }
        Ok(())
    }

    fn push(&mut self, path: &[u8], difference: Difference, old: Option<&Entry>, new: Option<&Entry>) {
        let brief = |entry: &Entry| (entry.node, entry.kind);
        let (before, after) = (old.map(brief), new.map(brief));
        self.found.push(Changed { path: path.to_vec(), difference, before, after });
    }

    /// Decides which loose names are one node that moved, which are one name with another node, and which are
    /// simply gone or new.
    fn settle(&mut self) -> Result<()> {
        let (mut removed, mut added) = (std::mem::take(&mut self.removed), std::mem::take(&mut self.added));
        marry(&mut removed, &mut added);
        for new in &added {
            let old = new.twin.and_then(|twin| removed.get(twin));
            let opposite = new.opposite.and_then(|index| removed.get(index)).filter(|old| old.twin.is_none());
            match (old, opposite) {
                (Some(old), _) => {
                    if !is_implied(old, new) {
                        let difference = Difference::Renamed { from: old.path.clone() };
                        self.push(&new.path, difference, Some(&old.entry), Some(&new.entry));
                    }
                    self.versions(&new.path, &old.entry, &new.entry)?;
                }
                (None, Some(old)) if old.entry.kind != new.entry.kind => {
                    self.push(&new.path, Difference::Type, Some(&old.entry), Some(&new.entry));
                }
                (None, Some(old)) => self.versions(&new.path, &old.entry, &new.entry)?,
                (None, None) => self.push(&new.path, Difference::Added, None, Some(&new.entry)),
            }
        }
        for old in removed.iter().filter(|old| old.twin.is_none()) {
            let is_told =
                old.opposite.and_then(|index| added.get(index)).is_some_and(|new| new.twin.is_none());
            if !is_told {
                self.push(&old.path, Difference::Removed, Some(&old.entry), None);
            }
        }
        Ok(())
    }
}

/// Gathers a name and, below a directory, everything in it.
fn loosen(
    source: &dyn Source,
    all: &mut Vec<Loose>,
    path: Vec<u8>,
    entry: Entry,
    opposite: Option<usize>,
) -> Result<()> {
    let first = all.len();
    all.push(Loose { path, entry, parent: None, twin: None, opposite });
    let mut next = first;
    let mut met = HashSet::new();
    while let Some(loose) = all.get(next) {
        if loose.entry.kind == Kind::Dir && met.insert(loose.entry.node) {
            let path = loose.path.clone();
            for entry in source.list(loose.entry.node)? {
                let path = path::join(&path, &entry.name);
                all.push(Loose { path, entry, parent: Some(next), twin: None, opposite: None });
            }
        }
        next += 1;
    }
    Ok(())
}

/// Finds the names that stand for the same node in both trees, and those below replaced directories that stand for
/// the same path.
fn marry(removed: &mut [Loose], added: &mut [Loose]) {
    let mut places: HashMap<NodeId, Vec<usize>> = HashMap::new();
    for (index, old) in removed.iter().enumerate().rev() {
        places.entry(old.entry.node).or_default().push(index);
    }
    for (index, new) in added.iter_mut().enumerate() {
        if let Some(twin) = places.get_mut(&new.entry.node).and_then(Vec::pop) {
            new.twin = Some(twin);
            if let Some(old) = removed.get_mut(twin) {
                old.twin = Some(index);
            }
        }
    }
    let mut paths: HashMap<&[u8], usize> = HashMap::new();
    let mut opposites = Vec::new();
    for (index, old) in removed.iter().enumerate().filter(|(_, old)| old.twin.is_none()) {
        paths.insert(&old.path, index);
    }
    for (index, new) in added.iter().enumerate().filter(|(_, new)| new.twin.is_none()) {
        if let Some(&old) = paths.get(new.path.as_slice()) {
            opposites.push((old, index));
        }
    }
    for (old, new) in opposites {
        if let Some(old) = removed.get_mut(old) {
            old.opposite = Some(new);
        }
        if let Some(new) = added.get_mut(new) {
            new.opposite = Some(old);
        }
    }
}

/// Whether the name moved only because the directory that it lies in did.
fn is_implied(old: &Loose, new: &Loose) -> bool {
    // The same name in the same directory: a name that both trees have.
    let same_dir = old.entry.dir == new.entry.dir && old.entry.name == new.entry.name;
    same_dir && old.parent.is_some() && new.parent.is_some()
}

/// How two versions differ.
fn differ(one: &Version, other: &Version) -> Option<Difference> {
    if one.meta.kind != other.meta.kind {
        return Some(Difference::Type);
    }
    if one.content != other.content {
        return Some(Difference::Modified);
    }
    let (a, b) = (&one.meta, &other.meta);
    // A directory's time says that a name in it came or went, and that name has a line of its own.
    let is_time_same = a.mtime == b.mtime || a.kind == Kind::Dir;
    let is_same = (a.mode, a.uid, a.gid, a.rdev, &a.xattrs) == (b.mode, b.uid, b.gid, b.rdev, &b.xattrs);
    if is_same && is_time_same { None } else { Some(Difference::Attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::memory::Memory;

    fn compared(before: &Memory, after: &Memory) -> Vec<String> {
        let changes = between(before, after, b"/").unwrap().unwrap();
        let show = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        changes
            .iter()
            .map(|changed| match &changed.difference {
                Difference::Renamed { from } => {
                    format!("renamed {} -> {}", show(from), show(&changed.path))
                }
                other => format!("{other:?} {}", show(&changed.path)).to_lowercase(),
            })
            .collect()
    }

    fn tree() -> Memory {
        let mut tree = Memory::new();
        tree.file("/r/a", b"one");
        tree.file("/r/b", b"two");
        tree.file("/r/d/x", b"three");
        tree.file("/r/d/e/y", b"four");
        tree
    }

    #[test]
    fn equal_trees_have_no_differences() {
        assert_eq!(compared(&tree(), &tree()), [""; 0]);
    }

    #[test]
    fn names_come_and_go_and_change() {
        let (before, mut after) = (tree(), tree());
        after.remove("/r/a");
        after.file("/r/n/new", b"");
        after.write("/r/b", b"other");
        after.edit("/r/d/x", |version| version.meta.mode = 0o600);
        assert_eq!(
            compared(&before, &after),
            ["removed /r/a", "modified /r/b", "attributes /r/d/x", "added /r/n", "added /r/n/new"]
        );
    }

    #[test]
    fn a_time_tells_of_a_file_and_not_of_a_directory() {
        let (before, mut after) = (tree(), tree());
        after.edit("/r/d", |version| version.meta.mtime.0 += 1);
        after.edit("/r/a", |version| version.meta.mtime.0 += 1);
        assert_eq!(compared(&before, &after), ["attributes /r/a"]);
    }

    #[test]
    fn an_atomic_save_is_a_modification() {
        let (before, mut after) = (tree(), tree());
        after.remove("/r/a");
        after.file("/r/a", b"one, saved");
        assert_eq!(compared(&before, &after), ["modified /r/a"]);
        after.remove("/r/a");
        after.file("/r/a", b"one");
        assert_eq!(compared(&before, &after), [""; 0], "the same content and metadata under a new node");
    }

    #[test]
    fn a_renamed_directory_is_one_line() {
        let (before, mut after) = (tree(), tree());
        after.rename("/r/d", "/r/moved");
        after.write("/r/moved/e/y", b"changed too");
        assert_eq!(compared(&before, &after), ["renamed /r/d -> /r/moved", "modified /r/moved/e/y"]);
    }

    #[test]
    fn a_file_that_left_a_removed_directory_was_renamed() {
        let (before, mut after) = (tree(), tree());
        after.rename("/r/d/e/y", "/r/saved");
        after.remove("/r/d");
        assert_eq!(
            compared(&before, &after),
            ["removed /r/d", "removed /r/d/e", "removed /r/d/x", "renamed /r/d/e/y -> /r/saved"]
        );
    }

    #[test]
    fn an_exchange_is_two_renames() {
        let (before, mut after) = (tree(), tree());
        after.rename("/r/a", "/r/t");
        after.rename("/r/b", "/r/a");
        after.rename("/r/t", "/r/b");
        assert_eq!(compared(&before, &after), ["renamed /r/b -> /r/a", "renamed /r/a -> /r/b"]);
    }

    #[test]
    fn another_kind_under_a_name_is_said_to_be_so() {
        let (before, mut after) = (tree(), tree());
        after.remove("/r/a");
        after.symlink("/r/a", b"b");
        assert_eq!(compared(&before, &after), ["type /r/a"]);
    }

    #[test]
    fn a_further_name_is_an_addition() {
        let (before, mut after) = (tree(), tree());
        after.link("/r/a", "/r/z");
        assert_eq!(compared(&before, &after), ["added /r/z"]);
    }

    #[test]
    fn a_path_that_neither_tree_has_is_no_comparison() {
        assert_eq!(between(&tree(), &tree(), b"/nowhere").unwrap(), None);
    }
}

//! The history of a path and of everything, naively: by looking at the trees before and after each group.
//!
//! Owns what the lines of a history must be. It follows the words of `asof_journal::history`, not its code: there are no
//! keys and no cursors, only whole trees.

use std::collections::BTreeSet;

use asof_journal::history::{self, What};
use asof_journal::reader::Reader;
use asof_journal::types::{Group, Kind, NodeId, Op, Quality, Seq, Unbound, Version};

use super::history::{History, State, same};

/// A line: when, which node, under which path, what.
type Line = (Seq, NodeId, Vec<u8>, What);

/// Compares the history of everything, and that of every path that there ever was.
///
/// # Errors
/// In words, where it differs.
pub fn compare(history: &History, reader: &Reader) -> Result<(), String> {
    let mut seen: Vec<Line> = Vec::new();
    history::below(reader, b"/", Seq::ZERO, Seq::MAX, &mut |change| {
        seen.push((change.seq, change.node, change.path, change.what));
        true
    })
    .map_err(|error| error.to_string())?;
    if !seen.is_sorted_by(|a, b| a.0 >= b.0) {
        return Err("the history of everything is not newest first".into());
    }
    seen.sort();
    let mut expected: Vec<Line> =
        history.groups().flat_map(|(seq, group)| of_group(history, seq, group)).collect();
    let names = |(seq, group): (Seq, &Group)| {
        let of = |op: &Op| match op {
            Op::Name(name) => Some((seq, NodeId::ROOT, b"/".to_vec(), What::Named { name: name.clone() })),
            _ => None,
        };
        group.ops.iter().filter_map(of).collect::<Vec<Line>>()
    };
    expected.extend(history.groups().flat_map(names));
    expected.sort();
    same("the history of everything", &seen, &expected)?;
    let newest = history.newest();
    for (dir, name) in newest.names.keys() {
        let Some(path) = newest.path(*dir, name) else { continue };
        let seen = history::of_path(reader, &path, Seq::MAX).map_err(|error| error.to_string())?;
        let seen: BTreeSet<Line> =
            seen.into_iter().map(|change| (change.seq, change.node, change.path, change.what)).collect();
        let expected = of_name(history, *dir, name);
        same(&format!("the history of {}", String::from_utf8_lossy(&path)), &seen, &expected)?;
    }
    Ok(())
}

fn of_group(history: &History, seq: Seq, group: &Group) -> Vec<Line> {
    let (before, after) = (history.state(seq.previous()), history.state(seq));
    let mut lines = Vec::new();
    let mut add = |node: NodeId, dir: NodeId, name: &[u8], what: What| {
        lines.extend(after.path(dir, name).map(|path| (seq, node, path, what)));
    };
    for op in &group.ops {
        match op {
            Op::Bind { dir, name, node, kind, succeeds } => {
                let had_names = !before.names_of(*node).is_empty();
                add(*node, *dir, name, arrival(&before, group, *node, *kind, *succeeds, had_names));
            }
            Op::Unbind { dir, name, node, kind, why } => {
                let taken_over = group
                    .ops
                    .iter()
                    .any(|op| matches!(op, Op::Bind { dir: to, name: new, .. } if (to, new) == (dir, name)));
                let had = before.there().any(|(key, at)| *key == (*dir, name.clone()) && at.node == *node);
                match departure(*why, had, *kind) {
                    Some(What::Deleted { unread: false, .. }) if taken_over => {}
                    Some(what) => add(*node, *dir, name, what),
                    None => {}
                }
            }
            Op::Version { node, version } => {
                let old = before.versions.get(node).map(|known| &known.version);
                let arrives = group.ops.iter().any(|op| matches!(op, Op::Bind { node: n, .. } if n == node));
                let Some(what) = difference(version, old) else { continue };
                // That it was created says that it has content.
                if arrives && old.is_none() {
                    continue;
                }
                for (dir, name) in after.names_of(*node) {
                    add(*node, dir, &name, what.clone());
                }
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
    lines
}

/// The history of a name: each node that it stood for while it did, and on through the names it came from.
fn of_name(history: &History, dir: NodeId, name: &[u8]) -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    let mut followed = BTreeSet::new();
    let mut pending = vec![(dir, name.to_vec(), history.last())];
    while let Some((dir, name, until)) = pending.pop() {
        if !followed.insert((dir, name.clone(), until)) {
            continue;
        }
        let mut add = |seq: Seq, node: NodeId, what: What| {
            lines.extend(history.state(seq).path(dir, &name).map(|path| (seq, node, path, what)));
        };
        let mut end = until;
        while let Some(at) = history.state(end).names.get(&(dir, name.clone())).cloned() {
            let (seq, before) = (at.since, history.state(at.since.previous()));
            if let Some(why) = at.gone {
                let had = before.there().any(|(key, old)| *key == (dir, name.clone()) && old.node == at.node);
                if let Some(what) = departure(why, had, at.kind) {
                    add(seq, at.node, what);
                }
            } else {
                for (when, group) in history.groups().filter(|(when, _)| *when >= seq && *when <= end) {
                    let versions = group.ops.iter().filter_map(|op| match op {
                        Op::Version { node, version } if *node == at.node => Some(version),
                        _ => None,
                    });
                    let old = history.state(when.previous());
                    let old = old.versions.get(&at.node).map(|known| &known.version);
                    for what in versions.filter_map(|version| difference(version, old)) {
                        add(when, at.node, what);
                    }
                }
                let Some((_, group)) = history.groups().find(|(when, _)| *when == seq) else { break };
                let succeeds = group.ops.iter().find_map(|op| match op {
                    Op::Bind { dir: to, name: new, succeeds, .. } if *to == dir && *new == name => *succeeds,
                    _ => None,
                });
                let was_named = history.groups().any(|(when, group)| when < seq && names(group, at.node));
                add(seq, at.node, arrival(&before, group, at.node, at.kind, succeeds, was_named));
                if let Some((from, old)) = moved_from(group, at.node) {
                    pending.push((from, old, seq.previous()));
                }
            }
            end = seq.previous();
        }
    }
    lines
}

/// Whether a group gave a node a name or took one from it.
fn names(group: &Group, node: NodeId) -> bool {
    group
        .ops
        .iter()
        .any(|op| matches!(op, Op::Bind { node: n, .. } | Op::Unbind { node: n, .. } if *n == node))
}

fn moved_from(group: &Group, node: NodeId) -> Option<(NodeId, Vec<u8>)> {
    group.ops.iter().find_map(|op| match op {
        Op::Unbind { dir, name, node: n, why: Unbound::Moved, .. } if *n == node => {
            Some((*dir, name.clone()))
        }
        _ => None,
    })
}

fn arrival(
    before: &State,
    group: &Group,
    node: NodeId,
    kind: Kind,
    succeeds: Option<NodeId>,
    had_names: bool,
) -> What {
    match (moved_from(group, node), succeeds) {
        (Some((dir, name)), _) => What::Renamed { from: before.path(dir, &name).unwrap_or(name) },
        (None, Some(predecessor)) => What::Replaced { predecessor },
        (None, None) if had_names => What::Linked,
        (None, None) => What::Created { kind },
    }
}

fn departure(why: Unbound, had: bool, kind: Kind) -> Option<What> {
    match why {
        Unbound::Moved => None,
        Unbound::Deleted => Some(What::Deleted { kind, unread: false }),
        Unbound::Uncovered => Some(What::Uncovered),
        Unbound::Unread if had => Some(What::Deleted { kind, unread: true }),
        Unbound::Unread => Some(What::Vanished { kind }),
        Unbound::Thinned => Some(What::Thinned { kind }),
    }
}

/// What people see of a new version.
fn difference(new: &Version, old: Option<&Version>) -> Option<What> {
    let content = |version: &Version| (version.content.clone(), version.meta.size);
    match old {
        Some(old) if content(old) == content(new) => {
            let seen = |version: &Version| {
                let meta = &version.meta;
                let time = (meta.kind != Kind::Dir).then_some(meta.mtime);
                (meta.mode, meta.uid, meta.gid, meta.xattrs.clone(), time)
            };
            (seen(old) != seen(new)).then_some(What::Attributes)
        }
        None if new.meta.kind != Kind::File => None,
        Some(_) if new.meta.kind == Kind::Dir => None,
        _ => Some(What::Modified { size: new.meta.size, quality: Quality::Clean, unread: false }),
    }
}

//! The history of one path: back through its renames, and through atomic saves by their `succeeds` links.
//!
//! Owns which names are followed. What a version or a departure means is said where all histories are.

use std::collections::{BTreeSet, HashSet};

use super::{Change, What, departure, version_change};
use crate::error::Result;
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound, Linked};
use crate::reader::Reader;
use crate::temporary::is_temporary;
use crate::types::{Instant, Kind, NodeId, Seq, Unbound, Version};
use crate::view::VersionAt;

/// The history of one path, newest first: through renames, and through atomic saves by their `succeeds` links.
/// `path` is as named at `at`, or as it was last named before. Empty where the path was never captured.
///
/// # Errors
/// `Index`.
pub fn of_path(reader: &Reader, path: &[u8], at: Seq) -> Result<Vec<Change>> {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let Some(slash) = trimmed.iter().rposition(|&b| b == b'/') else {
        return Ok(Vec::new());
    };
    let (parent, name) = (&trimmed[..slash], &trimmed[slash + 1..]);
    let Some(dir) = directory_then_or_before(reader, parent, at)? else {
        return Ok(Vec::new());
    };
    let mut trace = Trace { reader, found: BTreeSet::new(), names: HashSet::new() };
    trace.name(dir, name, at)?;
    let mut changes = Vec::with_capacity(trace.found.len());
    for (seq, node, dir, name, what) in trace.found.into_iter().rev() {
        let instant = reader.at_seq(seq)?.map_or(Instant(0), |moment| moment.instant);
        let Some(path) = reader.view(seq).path_in(dir, &name)? else {
            continue;
        };
        changes.push(Change { seq, instant, path, node, what });
    }
    Ok(changes)
}

/// The directory at a path, as of `at`; where it is gone, the one that was there last.
fn directory_then_or_before(reader: &Reader, path: &[u8], at: Seq) -> Result<Option<NodeId>> {
    let view = reader.view(at);
    let mut dir = NodeId::ROOT;
    for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        match view.last_bound(dir, name)? {
            Some((node, Kind::Dir)) => dir = node,
            _ => return Ok(None),
        }
    }
    Ok(Some(dir))
}

/// Follows a name back through time.
struct Trace<'r> {
    reader: &'r Reader,
    /// Ordered by `Seq`; what happened, to which node, under which name.
    found: BTreeSet<(Seq, NodeId, NodeId, Vec<u8>, What)>,
    /// Names that were followed, with the `Seq` from which on backwards.
    names: HashSet<(NodeId, Vec<u8>, Seq)>,
}

impl Trace<'_> {
    /// Everything that the name stood for up to `until`, and what that was before it had the name.
    fn name(&mut self, dir: NodeId, name: &[u8], until: Seq) -> Result<()> {
        let mut pending = vec![(dir, name.to_vec(), until)];
        while let Some((dir, name, until)) = pending.pop() {
            if !self.names.insert((dir, name.clone(), until)) {
                continue;
            }
            let mut end = until;
            let mut bindings = self.bindings(dir, &name, until)?.into_iter().peekable();
            while let Some((seq, bound)) = bindings.next() {
                match bound {
                    Bound::Gone { node, why, kind } => {
                        let had =
                            matches!(bindings.peek(), Some((_, Bound::To { node: had, .. })) if *had == node);
                        let why = if self.went_aside(node, seq)? { Unbound::Deleted } else { why };
                        self.ended(seq, node, dir, &name, departure(why, had, kind));
                    }
                    Bound::To { node, kind, succeeds } => {
                        self.versions(node, seq, end, dir, &name)?;
                        if let Some(origin) = self.started(seq, node, kind, succeeds, dir, &name)? {
                            pending.push(origin);
                        }
                    }
                }
                end = seq.previous();
            }
        }
        Ok(())
    }

    fn bindings(&self, dir: NodeId, name: &[u8], until: Seq) -> Result<Vec<(Seq, Bound)>> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Binding);
        let mut scan = records.store.scan(Cf::Binding, &keys::binding_name(dir, name))?;
        scan.seek(&keys::binding(dir, name, until))?;
        let mut bindings = Vec::new();
        while let Some((key, value)) = scan.item() {
            let (_, seq) = keys::parse_binding(key).map_err(&damage)?;
            bindings.push((seq, Bound::decode(value).map_err(&damage)?));
            scan.advance()?;
        }
        Ok(bindings)
    }

    fn ended(&mut self, seq: Seq, node: NodeId, dir: NodeId, name: &[u8], what: Option<What>) {
        if let Some(what) = what {
            self.found.insert((seq, node, dir, name.to_vec(), what));
        }
    }

    /// Notes how the name came to stand for the node; gives the name to follow further back, if it had another.
    fn started(
        &mut self,
        seq: Seq,
        node: NodeId,
        kind: Kind,
        succeeds: Option<NodeId>,
        dir: NodeId,
        name: &[u8],
    ) -> Result<Option<(NodeId, Vec<u8>, Seq)>> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Link);
        let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
        scan.seek(&keys::version(node, seq))?;
        let mut moved_from = None;
        let mut older = false;
        while let Some((key, value)) = scan.item() {
            let at = keys::parse_node_seq(key).map_err(&damage)?;
            let linked = Linked::decode(value).map_err(&damage)?;
            // Until a restore gave it its name it had none to speak of.
            let is_passing = is_temporary(&linked.name);
            older |= at < seq && !is_passing;
            if at == seq && linked.lost == Some(Unbound::Moved) && !is_passing {
                moved_from = Some((linked.dir, linked.name));
            }
            if older {
                break;
            }
            scan.advance()?;
        }
        let before = seq.previous();
        let what = match (&moved_from, succeeds) {
            (Some((from_dir, from_name)), _) => {
                let from = self.reader.view(before).path_in(*from_dir, from_name)?;
                What::Renamed { from: from.unwrap_or_else(|| from_name.clone()) }
            }
            (None, Some(predecessor)) => What::Replaced { predecessor },
            (None, None) if older => What::Linked,
            (None, None) => What::Created { kind },
        };
        if let Some(predecessor) = succeeds
            && self.lost_unread(predecessor, seq, dir, name)?
        {
            self.found.insert((seq, predecessor, dir, name.to_vec(), What::Vanished { kind }));
        }
        self.found.insert((seq, node, dir, name.to_vec(), what));
        Ok(moved_from.map(|(dir, name)| (dir, name, before)))
    }

    /// Whether a node got a name at that `Seq` that a restore gives to what goes away.
    fn went_aside(&self, node: NodeId, seq: Seq) -> Result<bool> {
        self.any_link(node, seq, &|linked| linked.lost.is_none() && is_temporary(&linked.name))
    }

    /// Whether a node lost that name at that `Seq` with something unread in it.
    fn lost_unread(&self, node: NodeId, seq: Seq, dir: NodeId, name: &[u8]) -> Result<bool> {
        self.any_link(node, seq, &|linked| {
            linked.lost == Some(Unbound::Unread) && linked.dir == dir && linked.name == name
        })
    }

    /// Whether a node got or lost a name at that `Seq` that is such a one.
    fn any_link(&self, node: NodeId, seq: Seq, is_such: &dyn Fn(&Linked) -> bool) -> Result<bool> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Link);
        let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
        scan.seek(&keys::version(node, seq))?;
        while let Some((key, value)) = scan.item() {
            if keys::parse_node_seq(key).map_err(&damage)? != seq {
                break;
            }
            if is_such(&Linked::decode(value).map_err(&damage)?) {
                return Ok(true);
            }
            scan.advance()?;
        }
        Ok(false)
    }

    /// The versions of a node within an interval, and in the group that gave it the name.
    fn versions(&mut self, node: NodeId, from: Seq, until: Seq, dir: NodeId, name: &[u8]) -> Result<()> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Version);
        let mut scan = records.store.scan(Cf::Version, &keys::node(node))?;
        scan.seek(&keys::version(node, until))?;
        let mut newer: Option<(Seq, Version)> = None;
        while let Some((key, value)) = scan.item() {
            let seq = keys::parse_node_seq(key).map_err(&damage)?;
            let version = whole(value, take_version).map_err(&damage)?;
            if let Some((at, newer)) = newer.take() {
                self.note_version(at, node, newer, Some(&version), dir, name)?;
            }
            if seq < from {
                return Ok(());
            }
            newer = Some((seq, version));
            scan.advance()?;
        }
        if let Some((at, first)) = newer {
            self.note_version(at, node, first, None, dir, name)?;
        }
        Ok(())
    }

    fn note_version(
        &mut self,
        seq: Seq,
        node: NodeId,
        version: Version,
        before: Option<&Version>,
        dir: NodeId,
        name: &[u8],
    ) -> Result<()> {
        let at = VersionAt { seq, version };
        if let Some(what) = version_change(self.reader, node, &at, before)? {
            self.found.insert((seq, node, dir, name.to_vec(), what));
        }
        Ok(())
    }
}

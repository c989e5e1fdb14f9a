//! History across versions: of a path through renames and atomic saves, of a directory, of everything.

mod back;

use std::collections::{BTreeSet, HashMap, HashSet};

use back::Back;

use crate::content::codec::Codec;
use crate::error::{Error, Result};
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, BatchAt, Bound, Linked};
use crate::quality;
use crate::reader::Reader;
use crate::types::{
    Content, Gap, GapReason, Group, Instant, Kind, MarkName, NodeId, Op, Quality, Seq, Unbound, Version,
};
use crate::view::{VersionAt, is_below};

/// Paths of directories that are remembered on the way back; with more, all are looked up again.
const PATHS_KEPT_MAX: usize = 65_536;

/// One line of a path's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the order.
    pub seq: Seq,
    /// When it was committed.
    pub instant: Instant,
    /// The absolute path that it happened to, as named then.
    pub path: Vec<u8>,
    /// The node.
    pub node: NodeId,
    /// What happened.
    pub what: What,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It came to be: a new node under a new name.
    Created {
        /// The node's kind.
        kind: Kind,
    },
    /// Another node took over the name and continues its history (atomic save).
    Replaced {
        /// The node before.
        predecessor: NodeId,
    },
    /// It was named something else before.
    Renamed {
        /// The absolute path before.
        from: Vec<u8>,
    },
    /// A further name of the same node (hard link).
    Linked,
    /// It has new content.
    Modified {
        /// Size in bytes.
        size: u64,
        /// How far the content can be trusted, as far as is known by now.
        quality: Quality,
        /// Whether there are no bytes: they could not be read.
        unread: bool,
    },
    /// Only mode, owner, times or attributes are new.
    Attributes,
    /// The name is gone.
    Deleted {
        /// The node's kind.
        kind: Kind,
        /// Whether what it held last was never read.
        unread: bool,
    },
    /// The name came and went, or was taken over, before what it stood for was read: it existed and was not captured.
    Vanished {
        /// The node's kind.
        kind: Kind,
    },
    /// The same for so many names of a directory that they were only counted.
    Crowd {
        /// How many, in words.
        detail: String,
    },
    /// It is no longer protected, and may be there still.
    Uncovered,
    /// What it was from here to the next line went by the retention policy.
    Thinned {
        /// The node's kind.
        kind: Kind,
    },
    /// Somebody gave the instant a name; nothing changed.
    Named {
        /// The name.
        name: MarkName,
    },
    /// What happened cannot be told: the batch that says it is damaged.
    Damaged {
        /// Where, and what does not hold.
        detail: String,
    },
}

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
            older |= at < seq;
            if at == seq && linked.lost == Some(Unbound::Moved) {
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

    /// Whether a node lost that name at that `Seq` with something unread in it.
    fn lost_unread(&self, node: NodeId, seq: Seq, dir: NodeId, name: &[u8]) -> Result<bool> {
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Link);
        let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
        scan.seek(&keys::version(node, seq))?;
        while let Some((key, value)) = scan.item() {
            if keys::parse_node_seq(key).map_err(&damage)? != seq {
                break;
            }
            let linked = Linked::decode(value).map_err(&damage)?;
            if linked.lost == Some(Unbound::Unread) && linked.dir == dir && linked.name == name {
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

/// What it means that a name is gone, which stood for the node until then (`had`) or never did.
fn departure(why: Unbound, had: bool, kind: Kind) -> Option<What> {
    match why {
        Unbound::Deleted => Some(What::Deleted { kind, unread: false }),
        Unbound::Unread if had => Some(What::Deleted { kind, unread: true }),
        Unbound::Unread => Some(What::Vanished { kind }),
        Unbound::Uncovered => Some(What::Uncovered),
        // The name that it moved to tells it.
        Unbound::Moved => None,
        Unbound::Thinned => Some(What::Thinned { kind }),
    }
}

/// What a version changed; `None` where people see no difference (a change time alone, a quality alone).
fn version_change(
    reader: &Reader,
    node: NodeId,
    at: &VersionAt,
    before: Option<&Version>,
) -> Result<Option<What>> {
    let version = &at.version;
    if version.content == Content::Thinned {
        return Ok(Some(What::Thinned { kind: version.meta.kind }));
    }
    let same_content = before
        .is_some_and(|before| before.content == version.content && before.meta.size == version.meta.size);
    if same_content {
        return Ok(before.filter(|before| !same_attributes(before, version)).map(|_| What::Attributes));
    }
    let shown = match before {
        None => version.meta.kind == Kind::File,
        Some(_) => version.meta.kind != Kind::Dir,
    };
    if !shown {
        return Ok(None);
    }
    let (quality, unread) = (quality::by_now(reader, node, at)?, quality::is_unread(version));
    Ok(Some(What::Modified { size: version.meta.size, quality, unread }))
}

fn same_attributes(before: &Version, version: &Version) -> bool {
    let (old, new) = (&before.meta, &version.meta);
    (old.mode, old.uid, old.gid, &old.xattrs) == (new.mode, new.uid, new.gid, &new.xattrs)
        && (new.kind == Kind::Dir || old.mtime == new.mtime)
}

/// Everything that happened to a directory and below it (`/` for everything) after `after` and up to `until`,
/// newest first, also what left it for a name elsewhere, with the names that were given to instants meanwhile. The visitor
/// returns `false` to stop.
///
/// # Errors
/// `Index`, `Io`, `Corrupt`.
pub fn below(
    reader: &Reader,
    path: &[u8],
    after: Seq,
    until: Seq,
    visit: &mut dyn FnMut(Change) -> bool,
) -> Result<()> {
    below_while(reader, path, after, until, &|| true, visit).map(drop)
}

/// The same for so long as `wants` says, which is asked between two groups, also where none of them concerns the path.
/// At least one group is looked at. Gives how far it has come: what happened after that place has been visited, and
/// going on with it as `until` gives the rest. It is `after` when nothing is left.
///
/// No batch is looked up or read before it is its turn.
///
/// # Errors
/// `Index`, `Io`, `Corrupt`.
pub fn below_while(
    reader: &Reader,
    path: &[u8],
    after: Seq,
    until: Seq,
    wants: &dyn Fn() -> bool,
    visit: &mut dyn FnMut(Change) -> bool,
) -> Result<Seq> {
    let mut paths: HashMap<NodeId, Option<Vec<u8>>> = HashMap::new();
    let mut is_first = true;
    for batch in (Back { reader, after, until }) {
        let batch = batch?;
        let segment = reader.records().blocks.segment(batch.frame.segment);
        let decoded = segment.and_then(|segment| segment.batch_at(&batch, &mut Codec::default()));
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error) if is_lost(&error) => {
                // One damaged batch costs its own lines.
                let what = What::Damaged { detail: error.to_string() };
                let (seq, instant) = (batch.first_seq, batch.wall);
                if !visit(Change { seq, instant, path: path.to_vec(), node: NodeId::ROOT, what }) {
                    return Ok(seq.previous().max(after));
                }
                is_first = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        for (seq, group) in decoded.numbered().rev().filter(|(seq, _)| *seq > after && *seq <= until) {
            // One at least, however long it took to read it: whoever goes on gets further.
            if !std::mem::take(&mut is_first) && !wants() {
                return Ok(seq);
            }
            // Directories that move change the paths below them.
            if paths.len() >= PATHS_KEPT_MAX
                || group.ops.iter().any(|op| {
                    matches!(op, Op::Bind { kind: Kind::Dir, .. } | Op::Unbind { kind: Kind::Dir, .. })
                })
            {
                paths.clear();
            }
            let view = reader.view(seq);
            for op in group.ops.iter().rev() {
                let (at, node, what) = match op {
                    Op::Gap(Gap { scope, reason: GapReason::VanishedUnread, detail, .. }) => {
                        let node = view.resolve(scope)?.map_or(NodeId::ROOT, |entry| entry.node);
                        (scope.as_slice(), node, What::Crowd { detail: detail.clone() })
                    }
                    Op::Name(name) => (path, NodeId::ROOT, What::Named { name: name.clone() }),
                    _ => continue,
                };
                let change = Change { seq, instant: decoded.clock.wall, path: at.to_vec(), node, what };
                if is_below(&change.path, path) && !visit(change) {
                    return Ok(seq.previous());
                }
            }
            for (node, dir, name, what) in group_changes(reader, seq, group)? {
                let parent = match paths.get(&dir) {
                    Some(known) => known.clone(),
                    None => {
                        let found = view.path_of(dir)?;
                        paths.insert(dir, found.clone());
                        found
                    }
                };
                let Some(mut full) = parent else { continue };
                if full != b"/" {
                    full.push(b'/');
                }
                full.extend_from_slice(&name);
                let change = Change { seq, instant: decoded.clock.wall, path: full, node, what };
                let left = matches!(&change.what, What::Renamed { from } if is_below(from, path));
                if (left || is_below(&change.path, path)) && !visit(change) {
                    return Ok(seq.previous());
                }
            }
        }
    }
    Ok(after)
}

/// A node, the directory and name that something happened to it under, and what.
type Named = (NodeId, NodeId, Vec<u8>, What);

/// What a group did, one line for each node and name.
fn group_changes(reader: &Reader, seq: Seq, group: &Group) -> Result<Vec<Named>> {
    let view = reader.view(seq);
    let earlier = reader.view(seq.previous());
    let mut changes = Vec::new();
    for op in &group.ops {
        match op {
            Op::Bind { dir, name, node, kind, succeeds } => {
                let moved = group.ops.iter().find_map(|op| match op {
                    Op::Unbind { dir, name, node: gone, why: Unbound::Moved, .. } if gone == node => {
                        Some((*dir, name))
                    }
                    _ => None,
                });
                let what = match (moved, succeeds) {
                    (Some((from_dir, from_name)), _) => What::Renamed {
                        from: earlier.path_in(from_dir, from_name)?.unwrap_or_else(|| from_name.clone()),
                    },
                    (None, Some(predecessor)) => What::Replaced { predecessor: *predecessor },
                    (None, None) if !earlier.bindings_of(*node)?.is_empty() => What::Linked,
                    (None, None) => What::Created { kind: *kind },
                };
                changes.push((*node, *dir, name.clone(), what));
            }
            Op::Unbind { dir, name, node, why, kind } => {
                let replaced = group
                    .ops
                    .iter()
                    .any(|op| matches!(op, Op::Bind { dir: d, name: n, .. } if d == dir && n == name));
                let had = earlier.lookup(*dir, name)?.is_some_and(|bound| bound.node == *node);
                match departure(*why, had, *kind) {
                    // That it was replaced says that it is gone, but not that something was lost with it.
                    Some(What::Deleted { unread: true, .. }) if replaced => {
                        changes.push((*node, *dir, name.clone(), What::Vanished { kind: *kind }));
                    }
                    Some(What::Deleted { .. }) if replaced => {}
                    Some(what) => changes.push((*node, *dir, name.clone(), what)),
                    None => {}
                }
            }
            Op::Version { node, version } => {
                let bound = group.ops.iter().any(|op| matches!(op, Op::Bind { node: n, .. } if n == node));
                let before = earlier.version(*node)?.map(|at| at.version);
                let at = VersionAt { seq, version: version.clone() };
                let Some(what) = version_change(reader, *node, &at, before.as_ref())? else {
                    continue;
                };
                // That it came to be says that it has content, unless there is something to say of that.
                let plain = matches!(what, What::Modified { quality: Quality::Clean, unread: false, .. });
                if bound && before.is_none() && plain {
                    continue;
                }
                for (dir, name) in view.bindings_of(*node)? {
                    changes.push((*node, dir, name, what.clone()));
                }
            }
            Op::Identify { .. }
            | Op::Gap(_)
            | Op::Policy(_)
            | Op::Mark(_)
            | Op::Loss(_)
            | Op::Name(_)
            | Op::Restore(_) => {}
        }
    }
    changes.reverse();
    Ok(changes)
}

/// Whether an error says that a batch is not there or not what it was.
fn is_lost(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn batches(reader: &Reader, after: Seq, until: Seq) -> Result<Vec<BatchAt>> {
    let records = reader.records();
    let damage = records.index_damage(Cf::Event);
    let mut scan = records.store.scan(Cf::Event, &[])?;
    scan.seek(&keys::seq(after.next()))?;
    let mut batches = Vec::new();
    while let Some((_, value)) = scan.item() {
        let batch = BatchAt::decode(value).map_err(&damage)?;
        if batch.first_seq > until {
            break;
        }
        batches.push(batch);
        scan.advance()?;
    }
    Ok(batches)
}

/// The groups after `after` and up to `until`, oldest first, with the instant each was committed at.
///
/// # Errors
/// `Index`, `Io`, `Corrupt`.
pub fn groups(
    reader: &Reader,
    after: Seq,
    until: Seq,
    visit: &mut dyn FnMut(Seq, Instant, &Group) -> bool,
) -> Result<()> {
    for batch in batches(reader, after, until)? {
        let segment = reader.records().blocks.segment(batch.frame.segment)?;
        let decoded = segment.batch_at(&batch, &mut Codec::default())?;
        for (seq, group) in decoded.numbered().filter(|(seq, _)| *seq > after && *seq <= until) {
            if !visit(seq, decoded.clock.wall, group) {
                return Ok(());
            }
        }
    }
    Ok(())
}

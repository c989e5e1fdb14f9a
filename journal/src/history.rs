//! History across versions: of a path through renames and atomic saves, of a directory, of everything.

mod back;
mod trace;

use std::collections::HashMap;

use back::Back;

use crate::content::codec::Codec;
use crate::error::{Error, Result};
use crate::index::Cf;
use crate::index::keys::{self, BatchAt};
use crate::quality;
use crate::reader::Reader;
use crate::temporary::is_temporary;
use crate::types::{
    Content, Gap, GapReason, Group, Instant, Kind, MarkName, NodeId, Op, Quality, Seq, Unbound, Version,
};
use crate::view::{VersionAt, View, is_below};

pub use trace::of_path;

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
                if is_passing(reader, dir, &name)? {
                    continue;
                }
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

/// Whether a name is one that a restore gave and that is not there any more: nothing that somebody did. What still has such
/// a name was left by a restore that was killed, or is what others changed under its hands.
fn is_passing(reader: &Reader, dir: NodeId, name: &[u8]) -> Result<bool> {
    Ok(is_temporary(name) && reader.view(reader.head()).lookup(dir, name)?.is_none())
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
                // Until a restore gave it its name it had none to speak of.
                let moved = moved.filter(|(_, name)| !is_temporary(name));
                let what = match (moved, succeeds) {
                    (Some((from_dir, from_name)), _) => What::Renamed {
                        from: earlier.path_in(from_dir, from_name)?.unwrap_or_else(|| from_name.clone()),
                    },
                    (None, Some(predecessor)) => What::Replaced { predecessor: *predecessor },
                    (None, None) if had_a_name(&earlier, *node)? => What::Linked,
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
                // A restore lets something go away under such a name, which tells nothing.
                let goes_aside = |op: &Op| matches!(op, Op::Bind { node: bound, name, .. } if bound == node && is_temporary(name));
                let why = if group.ops.iter().any(goes_aside) { Unbound::Deleted } else { *why };
                match departure(why, had, *kind) {
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
            | Op::Restore(_)
            | Op::Hold(_)
            | Op::Release(_)
            | Op::Forgotten(_) => {}
        }
    }
    changes.reverse();
    Ok(changes)
}

/// Whether a node had a name, other than one that a restore gave in passing.
fn had_a_name(earlier: &View<'_>, node: NodeId) -> Result<bool> {
    Ok(earlier.bindings_of(node)?.iter().any(|(_, name)| !is_temporary(name)))
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

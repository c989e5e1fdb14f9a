//! What became of a path: there, gone since when and why, or never there; and what it is held by.
//!
//! Owns the answers behind "why is this not there?". Judges no rule and prints nothing.

use crate::error::Result;
use crate::index::keys::Bound;
use crate::reader::Reader;
use crate::types::{Kind, NodeId, Seq, Unbound};
use crate::view::{Entry, View};

/// What became of a path, as of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    There(Entry),
    /// It, or a directory above it, was there and is not any more.
    Ended(Ended),
    /// The first `len` bytes of the path were never there.
    Never {
        /// Length of the part of the path that has no name.
        len: usize,
    },
}

/// The end of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Length of the part of the path that ended: all of it, or a directory above it.
    pub len: usize,
    /// From when on it is gone.
    pub seq: Seq,
    /// Why.
    pub why: Unbound,
    /// What it stood for last.
    pub node: NodeId,
    /// The kind of that.
    pub kind: Kind,
    /// What the whole path stood for when it was there last; `None` where it was not there even then.
    pub last: Option<(NodeId, Kind)>,
}

/// Tells what became of an absolute path (no `.` or `..`).
///
/// # Errors
/// `Index`.
pub fn fate(view: &View<'_>, path: &[u8]) -> Result<Fate> {
    let mut at =
        Entry { dir: NodeId::ROOT, name: Vec::new(), node: NodeId::ROOT, kind: Kind::Dir, since: Seq::ZERO };
    let mut ended: Option<Ended> = None;
    let mut end = 0;
    for name in path.split(|&b| b == b'/') {
        let start = end;
        end = start + name.len() + 1;
        if name.is_empty() {
            continue;
        }
        let bound = match at.kind {
            Kind::Dir => view.binding(at.node, name)?,
            _ => None,
        };
        let (since, node, kind, why) = match bound {
            Some((since, Bound::To { node, kind, .. })) => (since, node, kind, None),
            Some((since, Bound::Gone { node, kind, why })) => (since, node, kind, Some(why)),
            None if ended.is_some() => {
                if let Some(ended) = &mut ended {
                    ended.last = None;
                }
                break;
            }
            None => return Ok(Fate::Never { len: end - 1 }),
        };
        if let (Some(why), None) = (why, &ended) {
            ended = Some(Ended { len: end - 1, seq: since, why, node, kind, last: None });
        }
        at = Entry { dir: at.node, name: name.to_vec(), node, kind, since };
        if let Some(ended) = &mut ended {
            ended.last = Some((node, kind));
        }
    }
    Ok(ended.map_or(Fate::There(at), Fate::Ended))
}

/// The first `Seq` after `after` at which something was bound at an absolute path, as far as its directories were
/// named the same then as they are at the end of the journal, or were last. `None` where nothing was.
///
/// # Errors
/// `Index`.
pub fn next_bound(reader: &Reader, path: &[u8], after: Seq) -> Result<Option<Seq>> {
    let head = reader.view(reader.head());
    let mut dir = NodeId::ROOT;
    let mut first: Option<Seq> = None;
    for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
        let Some((node, _)) = head.last_bound(dir, name)? else { return Ok(None) };
        // A name is there from when all of its path is: the latest of the beginnings after `after`.
        if let Some(seq) = first_bound_after(reader, dir, name, after)? {
            first = first.max(Some(seq));
        } else if reader.view(after).lookup(dir, name)?.is_none() {
            return Ok(None);
        }
        dir = node;
    }
    Ok(first)
}

/// The first `Seq` after `after` at which a name got bound.
fn first_bound_after(reader: &Reader, dir: NodeId, name: &[u8], after: Seq) -> Result<Option<Seq>> {
    let mut found = None;
    let mut at = reader.head();
    while let Some((seq, bound)) = reader.view(at).binding(dir, name)? {
        if seq <= after {
            break;
        }
        if matches!(bound, Bound::To { .. }) {
            found = Some(seq);
        }
        at = seq.previous();
    }
    Ok(found)
}

/// When the first hint of what happened at a `Seq` came; `None` where a comparison found it.
///
/// # Errors
/// `Index`, `Io`, `Corrupt`.
pub fn hinted_at(reader: &Reader, seq: Seq) -> Result<Option<crate::types::Instant>> {
    let mut hinted = None;
    crate::history::groups(reader, seq.previous(), seq, &mut |_, _, group| {
        hinted = group.hinted;
        false
    })?;
    Ok(hinted)
}

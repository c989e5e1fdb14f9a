//! Text patches in git's form: what `git apply` and `patch -p1` need to make one tree's files into the other's.
//!
//! Compares files by path, because that is what a patch can say. What it cannot say (binary and very large content,
//! owners, directories, special files) becomes a remark. Prints nothing.

mod text;

use std::collections::HashMap;

use asof_journal::types::{Content, Kind, NodeId, Version};
use asof_journal::view::Entry;

use crate::content;
use crate::errors::{Error, Result};
use crate::path;
use crate::source::Source;

pub(crate) use text::LARGEST;

/// The owner may execute it: the one permission that git knows.
const EXECUTABLE: u32 = 0o100;

/// What a patch has on one path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stanza {
    /// Lines for `git apply`.
    Text(Vec<u8>),
    /// Why there are none.
    Remark(String),
}

/// Both trees, and the directory that the patch is applied in.
pub(crate) struct Patch<'s> {
    before: &'s dyn Source,
    after: &'s dyn Source,
    base: Vec<u8>,
}

/// A path that differs: absolute, with what each tree has there that is no directory.
struct Pair {
    path: Vec<u8>,
    old: Option<Entry>,
    new: Option<Entry>,
}

/// A file or symlink as a patch sees it.
struct Side<'p> {
    path: &'p [u8],
    version: Version,
}

impl<'s> Patch<'s> {
    /// A patch of everything at and below a path. It is applied in that path where that is a directory in each tree that
    /// has it, else in the directory that it lies in.
    pub(crate) fn new(before: &'s dyn Source, after: &'s dyn Source, path: &[u8]) -> Result<Patch<'s>> {
        let (old, new) = (before.resolve(path)?, after.resolve(path)?);
        let is_dir = old.iter().chain(&new).all(|entry| entry.kind == Kind::Dir);
        let base = if is_dir { path } else { path::parent(path) };
        Ok(Patch { before, after, base: base.to_vec() })
    }

    /// The directory that the patch is applied in.
    pub(crate) fn base(&self) -> &[u8] {
        &self.base
    }

    /// What the patch has on each path at and below one, in the order of paths.
    pub(crate) fn stanzas(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Stanza)>> {
        let pairs = self.differing(path)?;
        let renamed = Renamed::find(&pairs);
        let mut stanzas = Vec::with_capacity(pairs.len());
        for (index, pair) in pairs.iter().enumerate() {
            if renamed.is_source(index) {
                continue;
            }
            let source = renamed.source_of(index).and_then(|from| pairs.get(from));
            let Some(stanza) = self.stanza(pair, source)? else { continue };
            // What is neither a rename nor new content is a name that goes and one that comes.
            if let (Stanza::Remark(_), Some(source)) = (&stanza, source)
                && let Some(gone) = self.stanza(source, None)?
            {
                stanzas.push((source.path.clone(), gone));
            }
            stanzas.push((pair.path.clone(), stanza));
        }
        stanzas.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(stanzas)
    }

    /// Gathers what differs at a path and below.
    fn differing(&self, path: &[u8]) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        let mut pending = vec![(path.to_vec(), self.before.resolve(path)?, self.after.resolve(path)?)];
        while let Some((path, old, new)) = pending.pop() {
            let dir = |entry: &Option<Entry>| entry.as_ref().filter(|e| e.kind == Kind::Dir).map(|e| e.node);
            let (old_dir, new_dir) = (dir(&old), dir(&new));
            self.children(&path, old_dir, new_dir, &mut pending)?;
            let (old, new) = (old.filter(|e| e.kind != Kind::Dir), new.filter(|e| e.kind != Kind::Dir));
            if self.is_other(old.as_ref(), new.as_ref())? {
                pairs.push(Pair { path, old, new });
            }
        }
        pairs.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(pairs)
    }

    fn is_other(&self, old: Option<&Entry>, new: Option<&Entry>) -> Result<bool> {
        match (old, new) {
            (None, None) => Ok(false),
            (Some(old), Some(new)) if old.node == new.node => {
                let seq = |source: &dyn Source| source.version(old.node).map(|found| found.map(|at| at.seq));
                Ok(seq(self.before)? != seq(self.after)?)
            }
            _ => Ok(true),
        }
    }

    /// The entries of both directories, by name.
    fn children(
        &self,
        path: &[u8],
        old: Option<NodeId>,
        new: Option<NodeId>,
        pairs: &mut Vec<(Vec<u8>, Option<Entry>, Option<Entry>)>,
    ) -> Result<()> {
        let list = |source: &dyn Source, dir: Option<NodeId>| match dir {
            Some(dir) => source.list(dir),
            None => Ok(Vec::new()),
        };
        let mut old = list(self.before, old)?.into_iter().peekable();
        let mut new = list(self.after, new)?.into_iter().peekable();
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
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

    /// What the patch says of a path; `from` is the one that it was renamed from.
    fn stanza(&self, pair: &Pair, from: Option<&Pair>) -> Result<Option<Stanza>> {
        let (old_path, old) = match from {
            Some(from) => (&from.path, &from.old),
            None => (&pair.path, &pair.old),
        };
        let (old_path, new_path) = (self.relative(old_path), self.relative(&pair.path));
        let (old, new) = (side(self.before, old, old_path)?, side(self.after, &pair.new, new_path)?);
        let (old, new) = match (old, new) {
            (Known::Remark(why), _) | (_, Known::Remark(why)) => return Ok(Some(Stanza::Remark(why))),
            (Known::Absent, Known::Absent) => return Ok(None),
            (Known::Absent, Known::There(new)) => (None, Some(new)),
            (Known::There(old), Known::Absent) => (Some(old), None),
            (Known::There(old), Known::There(new)) => (Some(old), Some(new)),
        };
        let is_other = matches!((&old, &new), (Some(old), Some(new)) if kind(old) != kind(new));
        if !is_other {
            return self.lines(&pair.path, old.as_ref(), new.as_ref());
        }
        // A file that became a symlink is one that goes and one that comes.
        let gone = self.lines(&pair.path, old.as_ref(), None)?;
        let come = self.lines(&pair.path, None, new.as_ref())?;
        Ok(match (gone, come) {
            (Some(Stanza::Text(gone)), Some(Stanza::Text(come))) => Some(Stanza::Text([gone, come].concat())),
            (Some(remark @ Stanza::Remark(_)), _) | (_, Some(remark @ Stanza::Remark(_))) => Some(remark),
            (one, other) => one.or(other),
        })
    }

    /// The header and the hunks.
    fn lines(&self, path: &[u8], old: Option<&Side<'_>>, new: Option<&Side<'_>>) -> Result<Option<Stanza>> {
        let mode = |side: &Side<'_>| git_mode(&side.version);
        let is_content_same = matches!((old, new), (Some(old), Some(new))
            if old.version.content == new.version.content && old.version.meta.size == new.version.meta.size);
        let mut header = text::Header { old: None, new: None, is_content_same };
        header.old = old.map(|side| (side.path, mode(side)));
        header.new = new.map(|side| (side.path, mode(side)));
        if is_content_same {
            let text = header.text();
            return Ok((!text.is_empty()).then_some(Stanza::Text(text)));
        }
        let bytes = |source: &dyn Source, side: Option<&Side<'_>>| match side {
            Some(side) => content::whole(source, &side.version, path, LARGEST),
            None => Ok(Some(Vec::new())),
        };
        let (old, new) = match (bytes(self.before, old), bytes(self.after, new)) {
            (Err(Error::NoContent { why, .. }), _) | (_, Err(Error::NoContent { why, .. })) => {
                return Ok(Some(Stanza::Remark(why)));
            }
            (old, new) => (old?, new?),
        };
        let (Some(old), Some(new)) = (old, new) else {
            return Ok(Some(Stanza::Remark(format!("larger than {} MiB: no text", LARGEST >> 20))));
        };
        if text::is_binary(&old) || text::is_binary(&new) {
            return Ok(Some(Stanza::Remark(format!("binary: {} and {} bytes", old.len(), new.len()))));
        }
        let mut lines = header.text();
        let hunks = text::hunks(&old, &new);
        if !hunks.is_empty() {
            // Where only hunks follow, the line that says so has not been written yet.
            if lines.is_empty() {
                lines = header.first_line();
            }
            lines.extend_from_slice(&header.names());
            lines.extend_from_slice(&hunks);
        }
        Ok((!lines.is_empty()).then_some(Stanza::Text(lines)))
    }

    fn relative<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        let rest = path.strip_prefix(self.base.as_slice()).unwrap_or(path);
        rest.strip_prefix(b"/").unwrap_or(rest)
    }
}

/// What is at a path.
enum Known<'p> {
    Absent,
    There(Side<'p>),
    Remark(String),
}

fn side<'p>(source: &dyn Source, entry: &Option<Entry>, path: &'p [u8]) -> Result<Known<'p>> {
    let Some(entry) = entry else { return Ok(Known::Absent) };
    if !matches!(entry.kind, Kind::File | Kind::Symlink) {
        return Ok(Known::Remark(format!("a {}", entry.kind.as_str())));
    }
    Ok(match source.version(entry.node)? {
        Some(found) if matches!(found.version.content, Content::Unread(_)) => {
            Known::Remark("its content was not captured".to_owned())
        }
        Some(found) => Known::There(Side { path, version: found.version }),
        None => Known::Remark("it was never captured".to_owned()),
    })
}

fn kind(side: &Side<'_>) -> Kind {
    side.version.meta.kind
}

/// The mode that git would note.
fn git_mode(version: &Version) -> &'static str {
    match version.meta.kind {
        Kind::Symlink => "120000",
        _ if version.meta.mode & EXECUTABLE != 0 => "100755",
        _ => "100644",
    }
}

/// Which of the names that come are names that go, by the node that they stand for.
struct Renamed {
    from: HashMap<usize, usize>,
    sources: HashMap<usize, usize>,
}

impl Renamed {
    fn find(pairs: &[Pair]) -> Renamed {
        let mut gone: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (index, pair) in pairs.iter().enumerate().rev() {
            if let (Some(old), None) = (&pair.old, &pair.new) {
                gone.entry(old.node).or_default().push(index);
            }
        }
        let (mut from, mut sources) = (HashMap::new(), HashMap::new());
        for (index, pair) in pairs.iter().enumerate() {
            if let (None, Some(new)) = (&pair.old, &pair.new)
                && matches!(new.kind, Kind::File | Kind::Symlink)
                && let Some(source) = gone.get_mut(&new.node).and_then(Vec::pop)
            {
                from.insert(index, source);
                sources.insert(source, index);
            }
        }
        Renamed { from, sources }
    }

    fn source_of(&self, index: usize) -> Option<usize> {
        self.from.get(&index).copied()
    }

    fn is_source(&self, index: usize) -> bool {
        self.sources.contains_key(&index)
    }
}

#[cfg(test)]
mod tests;

//! Steps of a history, as seeds and shrinking generators make them: small numbers that mean something in any tree.
//!
//! Owns what a step does to the newest state: which operations it submits and which bytes. Numbers choose among what
//! is there, so that every step can be taken anywhere; one that means nothing there is passed over.

use std::io;

use asof_journal::content::{Piece, Source};
use asof_journal::types::{
    Content, Held, Hold, Instant, Kind, MarkName, Metadata, NodeId, Op, Quality, Restore, RestoreBegun,
    RestoreOutcome, Seq, Unbound, Version,
};

use super::history::State;
use crate::must::Must;
use crate::random::Random;

/// Names that a directory can have: few, so that they meet.
const NAMES: u8 = 7;
/// Lengths of files around every limit of how content is kept: inline, one block, packed or alone, cut.
const LENGTHS: [usize; 10] = [0, 1, 300, 512, 513, 3000, 20_000, 100_000, 262_145, 600_000];

/// What a file's bytes become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// New ones, of about that length: a number in a list of lengths.
    Fresh(u8, u16),
    /// The old ones with a few in the middle changed: a delta.
    Edited(u16),
    /// New ones with a hole between them.
    Sparse(u16),
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new file at a name of a directory.
    Create(u8, u8, Bytes),
    /// A new directory.
    MakeDir(u8, u8),
    /// A new symlink.
    Symlink(u8, u8),
    /// A file gets other bytes.
    Write(u8, Bytes),
    /// A node gets another mode.
    Attributes(u8),
    /// A file gets a further name.
    Link(u8, u8, u8),
    /// An entry gets another name, in another directory perhaps; what has the name loses it.
    Rename(u8, u8, u8),
    /// Two entries exchange their names.
    Exchange(u8, u8),
    /// A new node takes an entry's name over and continues it, as editors save.
    Save(u8, Bytes),
    /// A name is gone: deleted, no longer protected, or unread.
    Unbind(u8, u8),
    /// A name that was never seen came and went.
    Vanish(u8, u8),
    /// Somebody tells late that a node lost a name that another one has by now.
    Stale(u8),
    /// Somebody names the instant.
    Name(u8),
    /// A note that a restore begins, or that one has ended, which may never have begun.
    Restore(u8, u8),
    /// What was submitted is committed, so many tenths of a second later.
    Commit(u8),
    /// The wall clock is set by so many seconds.
    SetClock(i16),
    /// The machine was started again: another boot.
    Boot,
}

impl Step {
    /// A random one; every third commits.
    pub fn random(random: &mut Random) -> Step {
        let small = |random: &mut Random| random.below(256) as u8;
        let (a, b, c) = (small(random), small(random), small(random));
        let bytes = Bytes::random(random);
        match random.below(32) {
            0..4 => Step::Create(a, b, bytes),
            4..6 => Step::MakeDir(a, b),
            6 => Step::Symlink(a, b),
            7..11 => Step::Write(a, bytes),
            11 => Step::Attributes(a),
            12 => Step::Link(a, b, c),
            13..15 => Step::Rename(a, b, c),
            15 => Step::Exchange(a, b),
            16 => Step::Save(a, bytes),
            17..19 => Step::Unbind(a, b),
            19 => Step::Vanish(a, b),
            20 => Step::Name(a),
            21 => Step::Restore(a, b),
            _ => Step::Commit(a),
        }
    }
}

impl Bytes {
    fn random(random: &mut Random) -> Bytes {
        let seed = random.below(1 << 16) as u16;
        match random.below(10) {
            0..5 => Bytes::Fresh(random.below(256) as u8, seed),
            5..9 => Bytes::Edited(seed),
            _ => Bytes::Sparse(seed),
        }
    }

    /// The pieces of the content, where `before` is what the file held.
    pub fn pieces(self, before: &[u8]) -> Pieces {
        match self {
            Bytes::Fresh(length, seed) => {
                // Long ones are rare: they take time and show little more.
                let length = length % 32;
                let at = if length < 20 {
                    length % 7
                } else if length < 29 {
                    7
                } else {
                    length % 3 + 7
                };
                let mut random = Random::new(u64::from(seed));
                let len = LENGTHS.get(usize::from(at)).copied().unwrap_or(0);
                Pieces::of(vec![Part::Data(random.text(len))])
            }
            Bytes::Edited(seed) => {
                let mut bytes = before.to_vec();
                let at = usize::from(seed) % (bytes.len() + 1);
                bytes.splice(at..at, format!("edit {seed}\n").into_bytes());
                Pieces::of(vec![Part::Data(bytes)])
            }
            Bytes::Sparse(seed) => {
                let mut random = Random::new(u64::from(seed));
                let front = random.text(700);
                Pieces::of(vec![Part::Data(front), Part::Hole(1 << 20), Part::Data(random.text(5000))])
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Part {
    Data(Vec<u8>),
    Hole(u64),
}

/// Content as a file with holes gives it.
pub struct Pieces {
    parts: std::collections::VecDeque<Part>,
}

impl Pieces {
    fn of(parts: Vec<Part>) -> Pieces {
        Pieces { parts: parts.into() }
    }

    /// All of it, holes as zeros.
    pub fn flat(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                Part::Data(data) => bytes.extend_from_slice(data),
                Part::Hole(len) => bytes.resize(bytes.len() + *len as usize, 0),
            }
        }
        bytes
    }
}

impl Source for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        loop {
            match self.parts.front_mut() {
                None => return Ok(Piece::End),
                Some(Part::Hole(len)) => {
                    let len = *len;
                    self.parts.pop_front();
                    return Ok(Piece::Hole(len));
                }
                Some(Part::Data(data)) if data.is_empty() => drop(self.parts.pop_front()),
                Some(Part::Data(data)) => {
                    let len = data.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&data[..len]);
                    data.drain(..len);
                    return Ok(Piece::Data(len));
                }
            }
        }
    }
}

/// What a step comes to: operations on names, and the version that follows them.
pub(super) struct Act {
    pub(super) ops: Vec<Op>,
    pub(super) write: Option<Write>,
}

/// A version that is to be submitted.
pub(super) struct Write {
    pub(super) node: NodeId,
    pub(super) kind: Kind,
    pub(super) bytes: Option<Bytes>,
    pub(super) mode: u32,
}

/// An entry of the tree: directory, name, node, kind.
type Entry = (NodeId, Vec<u8>, NodeId, Kind);

/// What there is to choose from.
struct Choice<'s> {
    state: &'s State,
    entries: Vec<Entry>,
}

impl Choice<'_> {
    fn entry(&self, number: u8) -> Option<Entry> {
        self.entries.get(usize::from(number) % self.entries.len().max(1)).cloned()
    }

    fn file(&self, number: u8) -> Option<Entry> {
        let files: Vec<_> = self.entries.iter().filter(|entry| entry.3 == Kind::File).collect();
        files.get(usize::from(number) % files.len().max(1)).map(|entry| (*entry).clone())
    }

    fn dir(&self, number: u8) -> NodeId {
        let dirs: Vec<NodeId> =
            self.entries.iter().filter(|entry| entry.3 == Kind::Dir).map(|entry| entry.2).collect();
        let at = usize::from(number) % (dirs.len() + 1);
        dirs.get(at).copied().unwrap_or(NodeId::ROOT)
    }

    /// Takes a name from whatever has it; gives the node that had it, unless that is a directory with something in it.
    fn make_room(&self, dir: NodeId, name: &[u8], ops: &mut Vec<Op>) -> Option<Option<NodeId>> {
        let Some(bound) = self.state.names.get(&(dir, name.to_vec())).filter(|bound| bound.gone.is_none())
        else {
            return Some(None);
        };
        if bound.kind == Kind::Dir {
            return None;
        }
        ops.push(unbind(&(dir, name.to_vec(), bound.node, bound.kind), Unbound::Deleted));
        Some(Some(bound.node))
    }
}

fn unbind(entry: &Entry, why: Unbound) -> Op {
    let (dir, name, node, kind) = entry.clone();
    Op::Unbind { dir, name, node, kind, why }
}

fn bind(dir: NodeId, name: &[u8], node: NodeId, kind: Kind, succeeds: Option<NodeId>) -> Op {
    Op::Bind { dir, name: name.to_vec(), node, kind, succeeds }
}

/// One of the few names; the shorter ones are the front of the longer ones, and one has a byte that sorts below all.
fn name(number: u8) -> Vec<u8> {
    match number % NAMES {
        6 => b"a\x01".to_vec(),
        n => vec![b'a'; usize::from(n) + 1],
    }
}

/// What a step does to a tree; `None` where it means nothing there. `new` gives ids of new nodes.
pub(super) fn act(step: Step, state: &State, new: &mut dyn FnMut() -> NodeId) -> Option<Act> {
    let entries = state.there().map(|((dir, name), at)| (*dir, name.clone(), at.node, at.kind)).collect();
    let choice = Choice { state, entries };
    let mut ops = Vec::new();
    let version = |node, kind, bytes| Some(Write { node, kind, bytes, mode: 0o644 });
    let write = match step {
        Step::Create(dir, at, _) | Step::MakeDir(dir, at) | Step::Symlink(dir, at) => {
            let (dir, name) = (choice.dir(dir), name(at));
            let before = choice.make_room(dir, &name, &mut ops)?;
            let node = new();
            let (kind, bytes) = match step {
                Step::Create(_, _, bytes) => (Kind::File, Some(bytes)),
                Step::MakeDir(..) => (Kind::Dir, None),
                _ => (Kind::Symlink, Some(Bytes::Fresh(2, u16::from(at)))),
            };
            ops.push(bind(dir, &name, node, kind, before));
            version(node, kind, bytes)
        }
        Step::Write(file, bytes) => {
            let (_, _, node, kind) = choice.file(file)?;
            version(node, kind, Some(bytes))
        }
        Step::Attributes(entry) => {
            let (_, _, node, kind) = choice.entry(entry)?;
            Some(Write { node, kind, bytes: None, mode: 0o600 + u32::from(entry % 8) })
        }
        Step::Link(file, dir, at) => {
            let (_, _, node, kind) = choice.file(file)?;
            let (dir, name) = (choice.dir(dir), name(at));
            if choice.make_room(dir, &name, &mut ops)? == Some(node) {
                return None;
            }
            ops.push(bind(dir, &name, node, kind, None));
            None
        }
        Step::Rename(entry, dir, at) => {
            let from = choice.entry(entry)?;
            let (dir, name) = (choice.dir(dir), name(at));
            if from.3 == Kind::Dir && state.is_within(dir, from.2) {
                return None;
            }
            ops.push(unbind(&from, Unbound::Moved));
            let before = choice.make_room(dir, &name, &mut ops)?;
            if before == Some(from.2) {
                return None;
            }
            ops.push(bind(dir, &name, from.2, from.3, before));
            None
        }
        Step::Exchange(one, other) => {
            let (one, other) = (choice.entry(one)?, choice.entry(other)?);
            let inside = |a: &Entry, b: &Entry| a.3 == Kind::Dir && state.is_within(b.0, a.2);
            if one.2 == other.2 || inside(&one, &other) || inside(&other, &one) {
                return None;
            }
            ops.extend([unbind(&one, Unbound::Moved), unbind(&other, Unbound::Moved)]);
            ops.push(bind(one.0, &one.1, other.2, other.3, None));
            ops.push(bind(other.0, &other.1, one.2, one.3, None));
            None
        }
        Step::Save(file, bytes) => {
            let old = choice.file(file)?;
            ops.push(unbind(&old, Unbound::Deleted));
            let node = new();
            ops.push(bind(old.0, &old.1, node, Kind::File, Some(old.2)));
            version(node, Kind::File, Some(bytes))
        }
        Step::Unbind(entry, why) => {
            let entry = choice.entry(entry)?;
            let why = [Unbound::Deleted, Unbound::Uncovered, Unbound::Unread][usize::from(why) % 3];
            ops.push(unbind(&entry, why));
            None
        }
        Step::Vanish(dir, at) => {
            let (dir, name) = (choice.dir(dir), name(at));
            if state.names.get(&(dir, name.clone())).is_some_and(|bound| bound.gone.is_none()) {
                return None;
            }
            ops.push(unbind(&(dir, name, new(), Kind::File), Unbound::Unread));
            None
        }
        Step::Stale(entry) => {
            let (dir, name, _, kind) = choice.entry(entry)?;
            ops.push(unbind(&(dir, name, new(), kind), Unbound::Deleted));
            None
        }
        Step::Name(number) => {
            // Few, so that some are given twice.
            let text = ["a", "a b", "b", "a\u{301}"][usize::from(number) % 4];
            let name = MarkName::new(text).must("a name");
            let held = if number % 8 < 4 {
                Held::Mark(name.clone())
            } else {
                Held::Path(vec![b'/', b'a' + number % 3])
            };
            match number % 5 {
                0 | 1 => ops.push(Op::Hold(Hold { what: held, until: None })),
                2 => ops.push(Op::Release(held)),
                _ => ops.push(Op::Name(name)),
            }
            None
        }
        Step::Restore(at, number) => {
            let (seq, number) = (Seq(u64::from(at)), u64::from(number));
            ops.push(Op::Restore(match number % 2 {
                0 => Restore::Begun(RestoreBegun {
                    at: seq,
                    paths: vec![b"/".to_vec(), [b"/", name(at).as_slice()].concat()],
                    exact: number % 4 == 0,
                    undoes: Some(Seq(number % 16)).filter(|id| *id != Seq::ZERO),
                }),
                _ => Restore::Done {
                    id: Seq(number % 32),
                    outcome: RestoreOutcome { created: number, ..RestoreOutcome::default() },
                },
            }));
            None
        }
        Step::Commit(_) | Step::SetClock(_) | Step::Boot => return None,
    };
    Some(Act { ops, write })
}

/// A version of a node that is `kind`.
pub(super) fn version(kind: Kind, mode: u32, content: Content, size: u64, stamp: u64) -> Version {
    let time = Instant(1_600_000_000_000_000_000 + stamp as i64);
    Version {
        meta: Metadata {
            kind,
            mode,
            uid: 1,
            gid: 2,
            mtime: time,
            ctime: time,
            size,
            ino: stamp,
            rdev: 0,
            xattrs: vec![(b"user.stamp".to_vec(), stamp.to_be_bytes().to_vec())],
        },
        content,
        quality: Quality::Clean,
        racy: false,
    }
}

//! Keys and values of the index as bytes. Keys are big-endian, so that their byte order is their order.
//!
//! A `Seq` that is stored inverted (all bits flipped) puts the newest first: "the newest at or before T" is then the
//! first key at or after the inverted T.

use crate::format::batch::take_body_len;
use crate::format::frame::{Chain, Encoding};
use crate::format::op::take_kind;
use crate::format::wire::{Malformed, Put, Result, Take, whole};
use crate::types::{BlockId, Identity, Instant, Kind, MarkName, NodeId, Position, SegmentId, Seq, Unbound};

/// Where a block lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The frame.
    pub frame: Position,
    /// Bytes of the frame's body.
    pub stored_len: u32,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// The base, where it is a delta, and how many deltas lie below.
    pub base: Option<(BlockId, u8)>,
    /// Which block of a pack it is; `None` where the frame holds one block.
    pub slot: Option<u32>,
    /// Its plain length.
    pub raw_len: u32,
}

impl Located {
    /// How many deltas must be decoded below this block.
    pub fn depth(&self) -> u8 {
        self.base.map_or(0, |(_, depth)| depth)
    }

    /// The value's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.put_uint(self.frame.segment.0);
        out.put_uint(self.frame.offset);
        out.put_uint(u64::from(self.stored_len));
        out.put_uint(u64::from(self.raw_len));
        out.put_uint(self.slot.map_or(0, |slot| u64::from(slot) + 1));
        out.put_u8(self.encoding as u8);
        if let Some((base, depth)) = &self.base {
            out.put_raw(&base.0);
            out.put_u8(*depth);
        }
        out
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// Where the bytes are no location.
    pub fn decode(bytes: &[u8]) -> Result<Located> {
        let mut take = Take::new(bytes);
        let frame = Position { segment: SegmentId(take.uint()?), offset: take.uint()? };
        let stored_len = take_body_len(&mut take)?;
        let raw_len = take_body_len(&mut take)?;
        let slot = take.uint32()?.checked_sub(1);
        let encoding = Encoding::from_byte(take.u8()?).ok_or(Malformed("unknown encoding"))?;
        let base = match encoding {
            Encoding::Delta => Some((BlockId(take.array()?), take.u8()?)),
            Encoding::Raw | Encoding::Zstd => None,
        };
        take.finish()?;
        Ok(Located { frame, stored_len, encoding, base, slot, raw_len })
    }
}

/// What a name stands for from a `Seq` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It stands for a node.
    To {
        /// The node.
        node: NodeId,
        /// The node's kind.
        kind: Kind,
        /// The node that it continues for people.
        succeeds: Option<NodeId>,
    },
    /// It stands for nothing any more.
    Gone {
        /// What it stood for.
        node: NodeId,
        /// The node's kind.
        kind: Kind,
        /// Why.
        why: Unbound,
    },
}

impl Bound {
    /// The value's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        match self {
            Bound::To { node, kind, succeeds } => {
                out.put_u8(0);
                out.put_u8(*kind as u8);
                out.put_uint(node.0);
                out.put_uint(succeeds.unwrap_or_default().0);
            }
            Bound::Gone { node, kind, why } => {
                out.put_u8(1 + *why as u8);
                out.put_u8(*kind as u8);
                out.put_uint(node.0);
            }
        }
        out
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// Where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Bound> {
        whole(bytes, Bound::take)
    }

    fn take(take: &mut Take<'_>) -> Result<Bound> {
        let tag = take.u8()?;
        let kind = take_kind(take)?;
        let node = NodeId(take.uint()?);
        match tag.checked_sub(1) {
            None => {
                let succeeds = Some(NodeId(take.uint()?)).filter(|node| *node != NodeId::ROOT);
                Ok(Bound::To { node, kind, succeeds })
            }
            Some(why) => {
                let why = Unbound::from_byte(why).ok_or(Malformed("unknown form of binding"))?;
                Ok(Bound::Gone { node, kind, why })
            }
        }
    }
}

/// A name that a node got or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// Whether it got the name; otherwise it lost it, for this reason.
    pub lost: Option<Unbound>,
    /// The directory.
    pub dir: NodeId,
    /// The name.
    pub name: Vec<u8>,
}

impl Linked {
    /// The value's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.name.len() + 8);
        out.put_u8(self.lost.map_or(0, |why| 1 + why as u8));
        out.put_uint(self.dir.0);
        out.put_raw(&self.name);
        out
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// Where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Linked> {
        let mut take = Take::new(bytes);
        let lost = match take.u8()?.checked_sub(1) {
            None => None,
            Some(why) => Some(Unbound::from_byte(why).ok_or(Malformed("unknown form of link"))?),
        };
        Ok(Linked { lost, dir: NodeId(take.uint()?), name: take.rest().to_vec() })
    }
}

/// Where a batch lies, and when it was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAt {
    /// The frame.
    pub frame: Position,
    /// Its first `Seq`, or the first that it stands for in a compacted segment.
    pub first_seq: Seq,
    /// Its wall clock.
    pub wall: Instant,
    /// Its clock epoch.
    pub epoch: u32,
    /// What is left of the state then.
    pub state: StateThen,
}

/// How much of the states that a commit led to is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StateThen {
    /// All of them.
    Whole = 0,
    /// Something of what was then may have gone by the retention policy.
    Thinned = 1,
    /// The last of them; what came and went before it may have gone.
    Kept = 2,
}

impl BatchAt {
    /// The value's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        out.put_uint(self.frame.segment.0);
        out.put_uint(self.frame.offset);
        out.put_uint(self.first_seq.0);
        out.put_time(self.wall);
        out.put_uint(u64::from(self.epoch));
        out.put_u8(self.state as u8);
        out
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// Where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<BatchAt> {
        whole(bytes, |take| {
            Ok(BatchAt {
                frame: Position { segment: SegmentId(take.uint()?), offset: take.uint()? },
                first_seq: Seq(take.uint()?),
                wall: take.time()?,
                epoch: take.uint32()?,
                state: match take.u8()? {
                    0 => StateThen::Whole,
                    1 => StateThen::Thinned,
                    2 => StateThen::Kept,
                    _ => return Err(Malformed("unknown state of a batch")),
                },
            })
        })
    }
}

/// How far an index has come, and what the writer needs to go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Right after the last batch.
    pub end: Position,
    /// The salt of the segment that it lies in: tells an index of this log from one of a copy that went other ways.
    pub salt: u32,
    /// The chain's value there.
    pub chain: Chain,
    /// The last `Seq`.
    pub last_seq: Seq,
    /// The last batch's clock epoch.
    pub epoch: u32,
    /// The last batch's wall clock.
    pub wall: Instant,
    /// The last batch's boot clock.
    pub boottime_ns: u64,
    /// The last batch's boot.
    pub boot_id: [u8; 16],
    /// The first node id that is not in use.
    pub next_node: NodeId,
    /// Through when everything is covered.
    pub covered_through: Option<Instant>,
    /// Gaps so far that are over.
    pub gaps: u64,
}

impl Applied {
    /// The value's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        out.put_uint(self.end.segment.0);
        out.put_uint(self.end.offset);
        out.put_raw(&self.salt.to_le_bytes());
        out.put_raw(&self.chain.0);
        out.put_uint(self.last_seq.0);
        out.put_uint(u64::from(self.epoch));
        out.put_time(self.wall);
        out.put_uint(self.boottime_ns);
        out.put_raw(&self.boot_id);
        out.put_uint(self.next_node.0);
        out.put_u8(u8::from(self.covered_through.is_some()));
        out.put_time(self.covered_through.unwrap_or_default());
        out.put_uint(self.gaps);
        out
    }

    /// Decodes a value.
    ///
    /// # Errors
    /// Where the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Applied> {
        whole(bytes, Applied::take)
    }

    fn take(take: &mut Take<'_>) -> Result<Applied> {
        let applied = Applied {
            end: Position { segment: SegmentId(take.uint()?), offset: take.uint()? },
            salt: u32::from_le_bytes(take.array()?),
            chain: Chain(take.array()?),
            last_seq: Seq(take.uint()?),
            epoch: take.uint32()?,
            wall: take.time()?,
            boottime_ns: take.uint()?,
            boot_id: take.array()?,
            next_node: NodeId(take.uint()?),
            covered_through: (take.u8()? != 0).then_some(()).map(|()| take.time()).transpose()?,
            gaps: 0,
        };
        if applied.covered_through.is_none() {
            take.time()?;
        }
        Ok(Applied { gaps: take.uint()?, ..applied })
    }
}

/// The key of the meta column family that says how far the index has come.
pub const APPLIED: &[u8] = b"applied";
/// The key of the meta column family that says which compacted segments the index is made from.
pub const COMPACTED: &[u8] = b"compacted";

/// The key of the meta column family that says which segments were not worth a compaction.
pub const LEFT: &[u8] = b"left";

/// The value of [`COMPACTED`].
pub fn encode_compacted(segments: &[SegmentId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + segments.len() * 4);
    out.put_uint(segments.len() as u64);
    for id in segments {
        out.put_uint(id.0);
    }
    out
}

/// Decodes the value of [`COMPACTED`].
///
/// # Errors
/// Where the bytes are none.
pub fn decode_compacted(bytes: &[u8]) -> Result<Vec<SegmentId>> {
    whole(bytes, |take| {
        let count = take.count(1)?;
        (0..count).map(|_| take.uint().map(SegmentId)).collect()
    })
}

/// A directory's bindings.
pub fn binding_dir(dir: NodeId) -> Vec<u8> {
    dir.0.to_be_bytes().to_vec()
}

/// All bindings of one name, newest first; names hold no NUL, which ends them here.
pub fn binding_name(dir: NodeId, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(17 + name.len());
    key.extend_from_slice(&dir.0.to_be_bytes());
    key.extend_from_slice(name);
    key.push(0);
    key
}

/// One binding, and the first key for "newest at or before `seq`".
pub fn binding(dir: NodeId, name: &[u8], seq: Seq) -> Vec<u8> {
    let mut key = binding_name(dir, name);
    key.extend_from_slice(&(!seq.0).to_be_bytes());
    key
}

/// Right behind all bindings of a name.
pub fn after_binding_name(dir: NodeId, name: &[u8]) -> Vec<u8> {
    let mut key = binding_name(dir, name);
    if let Some(last) = key.last_mut() {
        *last = 1;
    }
    key
}

/// The name and `Seq` of a binding's key.
///
/// # Errors
/// Where the bytes are no such key.
pub fn parse_binding(key: &[u8]) -> Result<(&[u8], Seq)> {
    let rest = key.get(8..).ok_or(Malformed("binding key cut short"))?;
    let (name, seq) = rest.split_at(rest.len().checked_sub(9).ok_or(Malformed("binding key cut short"))?);
    Ok((name, inverted_seq(&seq[1..])?))
}

/// All directories that have had an entry of that name; names hold no NUL, which ends them here.
pub fn filename_name(name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 9);
    key.extend_from_slice(name);
    key.push(0);
    key
}

/// That a directory has had an entry of that name.
pub fn filename(name: &[u8], dir: NodeId) -> Vec<u8> {
    let mut key = filename_name(name);
    key.extend_from_slice(&dir.0.to_be_bytes());
    key
}

/// The name and the directory of such a key.
///
/// # Errors
/// Where the bytes are no such key.
pub fn parse_filename(key: &[u8]) -> Result<(&[u8], NodeId)> {
    let end = key.len().checked_sub(9).ok_or(Malformed("key of a file name cut short"))?;
    let (name, dir) = key.split_at(end);
    match dir {
        [0, dir @ ..] => Ok((name, NodeId(parse_seq(dir)?.0))),
        _ => Err(Malformed("a file name without an end")),
    }
}

/// Everything about a node, newest first.
pub fn node(node: NodeId) -> Vec<u8> {
    node.0.to_be_bytes().to_vec()
}

/// A version, and the first key for "newest at or before `seq`".
pub fn version(node: NodeId, seq: Seq) -> Vec<u8> {
    [node.0.to_be_bytes(), (!seq.0).to_be_bytes()].concat()
}

/// A link; `n` is the operation's place in its group, inverted like the `Seq` so that the newest comes first.
pub fn link(node: NodeId, seq: Seq, n: u16) -> Vec<u8> {
    let mut key = version(node, seq);
    key.extend_from_slice(&(!n).to_be_bytes());
    key
}

/// The `Seq` of a version's or a link's key.
///
/// # Errors
/// Where the bytes are no such key.
pub fn parse_node_seq(key: &[u8]) -> Result<Seq> {
    inverted_seq(key.get(8..16).ok_or(Malformed("node key cut short"))?)
}

/// A `Seq` in ascending order.
pub fn seq(seq: Seq) -> Vec<u8> {
    seq.0.to_be_bytes().to_vec()
}

/// A gap, a loss or a note about a restore; `n` is the operation's place in its group.
pub fn gap(at: Seq, n: u16) -> Vec<u8> {
    let mut key = seq(at);
    key.extend_from_slice(&n.to_be_bytes());
    key
}

/// In front of what is held from then on.
pub const HELD: u8 = 1;
/// In front of what is held no longer.
pub const RELEASED: u8 = 0;

/// All times at which a name was given to an instant; names hold no NUL, which ends them here.
pub fn named_name(name: &MarkName) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.as_str().len() + 9);
    key.extend_from_slice(name.as_str().as_bytes());
    key.push(0);
    key
}

/// A name given to an instant; the oldest comes first.
pub fn named(name: &MarkName, seq: Seq) -> Vec<u8> {
    let mut key = named_name(name);
    key.extend_from_slice(&seq.0.to_be_bytes());
    key
}

/// The name and `Seq` of the key of a named instant.
///
/// # Errors
/// Where the bytes are no such key.
pub fn parse_named(key: &[u8]) -> Result<(MarkName, Seq)> {
    let (name, seq) = key.split_at(key.len().checked_sub(9).ok_or(Malformed("key of a name cut short"))?);
    let name = std::str::from_utf8(name).map_err(|_| Malformed("a name of an instant that is no UTF-8"))?;
    let name = MarkName::new(name).map_err(|_| Malformed("not a name that an instant can have"))?;
    match seq[0] {
        0 => Ok((name, parse_seq(&seq[1..])?)),
        _ => Err(Malformed("a name of an instant without an end")),
    }
}

/// The `Seq` at the front of an event's, gap's or policy's key, or in a clock entry's value.
///
/// # Errors
/// Where the bytes are too short.
pub fn parse_seq(bytes: &[u8]) -> Result<Seq> {
    Take::new(bytes).array().map(|bytes| Seq(u64::from_be_bytes(bytes)))
}

/// A clock entry. Walls before 1970 sort before those after: the sign bit is flipped.
pub fn clock(epoch: u32, wall: Instant) -> Vec<u8> {
    let mut key = epoch.to_be_bytes().to_vec();
    key.extend_from_slice(&((wall.0 as u64) ^ (1 << 63)).to_be_bytes());
    key
}

/// The epoch and wall clock of a clock entry's key.
///
/// # Errors
/// Where the bytes are no such key.
pub fn parse_clock(key: &[u8]) -> Result<(u32, Instant)> {
    let mut take = Take::new(key);
    let epoch = u32::from_be_bytes(take.array()?);
    Ok((epoch, Instant((u64::from_be_bytes(take.array()?) ^ (1 << 63)) as i64)))
}

/// An identity.
pub fn identity(identity: &Identity) -> Vec<u8> {
    let mut key = Vec::with_capacity(40);
    key.put_bytes(&identity.filesystem);
    key.put_raw(&identity.handle);
    key
}

fn inverted_seq(bytes: &[u8]) -> Result<Seq> {
    Take::new(bytes).array().map(|bytes| Seq(!u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bindings_sort_by_name_then_newest_first() {
        let dir = NodeId(3);
        let mut keys = [
            binding(dir, b"a\x01", Seq(5)),
            binding(dir, b"b", Seq(1)),
            binding(dir, b"a", Seq(2)),
            binding(dir, b"a", Seq(9)),
            binding(NodeId(2), b"z", Seq(1)),
            binding(dir, b"ab", Seq(1)),
        ];
        keys.sort();
        let order: Vec<_> = keys[1..].iter().map(|key| parse_binding(key)).collect();
        assert_eq!(
            order,
            [
                Ok((&b"a"[..], Seq(9))),
                Ok((b"a", Seq(2))),
                Ok((b"a\x01", Seq(5))),
                Ok((b"ab", Seq(1))),
                Ok((b"b", Seq(1)))
            ]
        );
        assert!(after_binding_name(dir, b"a") > binding(dir, b"a", Seq::ZERO));
        assert!(after_binding_name(dir, b"a") <= binding(dir, b"a\x01", Seq::MAX));
    }

    #[test]
    fn file_names_sort_by_name_and_those_with_a_front_stand_together() {
        let mut keys = [
            filename(b"ab", NodeId(1)),
            filename(b"a", NodeId(9)),
            filename(b"b", NodeId(0)),
            filename(b"a\x01", NodeId(3)),
            filename(b"a", NodeId(2)),
        ];
        keys.sort();
        let order: Vec<_> = keys.iter().map(|key| parse_filename(key).unwrap()).collect();
        assert_eq!(
            order,
            [
                (&b"a"[..], NodeId(2)),
                (b"a", NodeId(9)),
                (b"a\x01", NodeId(3)),
                (b"ab", NodeId(1)),
                (b"b", NodeId(0))
            ]
        );
        assert_eq!(keys.iter().filter(|key| key.starts_with(&filename_name(b"a"))).count(), 2);
    }

    #[test]
    fn names_of_instants_sort_by_name_and_then_oldest_first() {
        let name = |text| MarkName::new(text).unwrap();
        let mut keys = [
            named(&name("a b"), Seq(1)),
            named(&name("a"), Seq(9)),
            named(&name("b"), Seq(3)),
            named(&name("a"), Seq(2)),
        ];
        keys.sort();
        let order: Vec<_> = keys.iter().map(|key| parse_named(key).unwrap()).collect();
        assert_eq!(
            order,
            [(name("a"), Seq(2)), (name("a"), Seq(9)), (name("a b"), Seq(1)), (name("b"), Seq(3))]
        );
        assert!(
            keys[2].starts_with(&named_name(&name("a b"))) && !keys[2].starts_with(&named_name(&name("a")))
        );
    }

    #[test]
    fn values_come_back() {
        let located = Located {
            frame: Position { segment: SegmentId(3), offset: 1 << 25 },
            stored_len: 99,
            encoding: Encoding::Delta,
            base: Some((BlockId([1; 16]), 3)),
            slot: None,
            raw_len: 4096,
        };
        assert_eq!(Located::decode(&located.encode()), Ok(located));
        for bound in [
            Bound::To { node: NodeId(5), kind: Kind::Dir, succeeds: None },
            Bound::To { node: NodeId(5), kind: Kind::File, succeeds: Some(NodeId(1)) },
            Bound::Gone { node: NodeId(5), kind: Kind::Fifo, why: Unbound::Moved },
            Bound::Gone { node: NodeId(6), kind: Kind::File, why: Unbound::Unread },
        ] {
            assert_eq!(Bound::decode(&bound.encode()), Ok(bound));
        }
        let linked = Linked { lost: Some(Unbound::Uncovered), dir: NodeId(1), name: b"x\xff".to_vec() };
        assert_eq!(Linked::decode(&linked.encode()), Ok(linked));
        for covered_through in [None, Some(Instant(-3))] {
            let applied = Applied {
                end: Position { segment: SegmentId(1), offset: 2 },
                last_seq: Seq(3),
                gaps: 4,
                covered_through,
                ..Applied::default()
            };
            assert_eq!(Applied::decode(&applied.encode()), Ok(applied));
        }
        for wall in [Instant(i64::MIN), Instant(-1), Instant(0), Instant(i64::MAX)] {
            assert_eq!(parse_clock(&clock(7, wall)), Ok((7, wall)));
        }
        assert!(clock(7, Instant(-1)) < clock(7, Instant(0)));
    }
}

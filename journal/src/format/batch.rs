//! The batch: a commit. It carries operations, and a table of the blocks written since the batch before.

use crate::format::frame::{BODY_MAX, Chain, Encoding};
use crate::format::op::{put_group, take_group};
use crate::format::wire::{Malformed, Put, Result, Take};
use crate::types::{BlockId, ClockReading, Group, Instant, NodeId, Position, SegmentId, Seq};

/// Longest chain of deltas: a block is never more than this many decodings away from its bytes.
pub const DEPTH_MAX: u8 = 16;

/// A frame of content as the batch after it describes it, so that neither rebuild nor liveness reads bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFrame {
    /// Where the frame begins in its segment.
    pub offset: u64,
    /// Bytes of its body.
    pub stored_len: u32,
    /// How the payload is encoded.
    pub encoding: Encoding,
    /// The base, where it is a delta, and how many deltas lie below.
    pub base: Option<(BlockId, u8)>,
    /// Whether it is a pack; a pack may hold a single block.
    pub pack: bool,
    /// The blocks with their plain lengths, in the order in which they lie in the payload.
    pub members: Vec<(BlockId, u32)>,
}

/// A commit, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `Seq` of the first group; the others follow one by one. In a compacted segment the first that it stands for.
    pub first_seq: Seq,
    /// The clocks when it was written.
    pub clock: ClockReading,
    /// The clock epoch.
    pub epoch: u32,
    /// The oldest hint that was not captured yet; `None` where there was none.
    pub complete_through: Option<Instant>,
    /// The durable point that was known when it was written.
    pub durable: Position,
    /// The chain's value right after the batch before.
    pub chain_start: Chain,
    /// The chain's value right before this batch's own header.
    pub chain_before: Chain,
    /// The first node id that is not in use.
    pub next_node: NodeId,
    /// The content frames since the batch before.
    pub blocks: Vec<BlockFrame>,
    /// The groups, in order.
    pub groups: Vec<Group>,
    /// In a compacted segment, what is left of the commit.
    pub left: Option<Left>,
}

/// What compaction left of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The last `Seq` of the commit. What lies between this and the commit left before it, it stands for.
    pub last_seq: Seq,
    /// The `Seq` of each group that is left.
    pub seqs: Vec<Seq>,
    /// Whether everything is left of the state that the commit led to.
    pub kept: bool,
    /// Whether nothing is missing but what was forgotten: then the states in between are left, too.
    pub whole: bool,
}

/// The payload is that of a compacted segment: what is left of several commits.
const FLAG_LEFT: u64 = 1;
const LEFT_KEPT: u8 = 1;
const LEFT_BOOT: u8 = 2;
const LEFT_WHOLE: u8 = 4;

const BLOCK: u8 = 0;
const PACK: u8 = 1;

impl Batch {
    /// `Seq` of the last group; one before the first where there is none.
    pub fn last_seq(&self) -> Seq {
        if let Some(left) = &self.left {
            return left.last_seq;
        }
        Seq((self.first_seq.0 + self.groups.len() as u64).saturating_sub(1))
    }

    /// The groups with their `Seq`.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (Seq, &Group)> {
        let left = self.left.as_ref().map(|left| left.seqs.as_slice());
        self.groups.iter().enumerate().map(move |(i, group)| {
            let one_by_one = Seq(self.first_seq.0 + i as u64);
            (left.and_then(|seqs| seqs.get(i)).copied().unwrap_or(one_by_one), group)
        })
    }

    /// The payload's bytes, before compression.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.groups.len() * 128);
        out.put_uint(0); // flags: an unknown one is refused
        out.put_uint(self.first_seq.0);
        out.put_time(self.clock.wall);
        out.put_uint(self.clock.boottime_ns);
        out.put_raw(&self.clock.boot_id);
        out.put_uint(u64::from(self.epoch));
        match self.complete_through {
            None => out.put_u8(0),
            Some(time) => {
                out.put_u8(1);
                out.put_time(time);
            }
        }
        out.put_uint(self.durable.segment.0);
        out.put_uint(self.durable.offset);
        out.put_raw(&self.chain_start.0);
        out.put_raw(&self.chain_before.0);
        out.put_uint(self.next_node.0);
        put_block_frames(&mut out, &self.blocks);
        out.put_uint(self.groups.len() as u64);
        for group in &self.groups {
            put_group(&mut out, group, self.clock.wall);
        }
        out
    }

    /// Decodes a payload: one batch of a log, or what compaction left of several.
    ///
    /// # Errors
    /// Where the bytes are none that this program understands.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Batch>> {
        match Take::new(bytes).uint()? {
            FLAG_LEFT => decode_left(bytes),
            _ => Ok(vec![Batch::decode(bytes)?]),
        }
    }

    /// Decodes the payload of a batch in a log.
    ///
    /// # Errors
    /// Where the bytes are no batch that this program understands.
    pub fn decode(bytes: &[u8]) -> Result<Batch> {
        let mut take = Take::new(bytes);
        if take.uint()? != 0 {
            return Err(Malformed("batch with an unknown flag"));
        }
        let first_seq = Seq(take.uint()?);
        let wall = take.time()?;
        let clock = ClockReading { wall, boottime_ns: take.uint()?, boot_id: take.array()? };
        let epoch = take.uint32()?;
        let complete_through = match take.u8()? {
            0 => None,
            1 => Some(take.time()?),
            _ => return Err(Malformed("unknown form of complete_through")),
        };
        let durable = Position { segment: SegmentId(take.uint()?), offset: take.uint()? };
        let chain_start = Chain(take.array()?);
        let chain_before = Chain(take.array()?);
        let next_node = NodeId(take.uint()?);
        let blocks = take_block_frames(&mut take)?;
        let count = take.count(3)?;
        if first_seq == Seq::ZERO || first_seq.0.checked_add(count as u64).is_none() {
            return Err(Malformed("sequence number out of range"));
        }
        let mut groups = Vec::with_capacity(count.min(65_536));
        for _ in 0..count {
            groups.push(take_group(&mut take, wall)?);
        }
        take.finish()?;
        Ok(Batch {
            first_seq,
            clock,
            epoch,
            complete_through,
            durable,
            chain_start,
            chain_before,
            next_node,
            blocks,
            groups,
            left: None,
        })
    }
}

/// The payload of what compaction left of several commits in a row. Blocks, the next node and the points of the chain are those of
/// the first.
pub fn encode_left(commits: &[Batch]) -> Vec<u8> {
    let mut out =
        Vec::with_capacity(256 + commits.iter().map(|commit| 32 + commit.groups.len() * 64).sum::<usize>());
    let Some(first) = commits.first() else { return out };
    out.put_uint(FLAG_LEFT);
    out.put_uint(first.durable.segment.0);
    out.put_uint(first.durable.offset);
    out.put_raw(&first.chain_before.0);
    out.put_uint(first.next_node.0);
    put_block_frames(&mut out, &first.blocks);
    out.put_uint(first.first_seq.0);
    out.put_uint(commits.len() as u64);
    let mut boot_id = None;
    for commit in commits {
        let same_boot = boot_id == Some(commit.clock.boot_id);
        let kept = commit.left.as_ref().is_some_and(|left| left.kept);
        let whole = commit.left.as_ref().is_some_and(|left| left.whole);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.put_u8(flag(kept, LEFT_KEPT) | flag(!same_boot, LEFT_BOOT) | flag(whole, LEFT_WHOLE));
        out.put_uint(commit.last_seq().0.wrapping_sub(commit.first_seq.0));
        out.put_time(commit.clock.wall);
        out.put_uint(commit.clock.boottime_ns);
        if !same_boot {
            out.put_raw(&commit.clock.boot_id);
            boot_id = Some(commit.clock.boot_id);
        }
        out.put_uint(u64::from(commit.epoch));
        out.put_uint(commit.groups.len() as u64);
        let mut before = commit.first_seq.0;
        for (seq, group) in commit.numbered() {
            out.put_uint(seq.0.wrapping_sub(before));
            before = seq.0;
            put_group(&mut out, group, commit.clock.wall);
        }
    }
    out
}

fn decode_left(bytes: &[u8]) -> Result<Vec<Batch>> {
    let out_of_range = Malformed("sequence number out of range");
    let mut take = Take::new(bytes);
    take.uint()?;
    let durable = Position { segment: SegmentId(take.uint()?), offset: take.uint()? };
    let chain_before = Chain(take.array()?);
    let next_node = NodeId(take.uint()?);
    let mut blocks = take_block_frames(&mut take)?;
    let mut first_seq = Seq(take.uint()?);
    let count = take.count(6)?;
    if count == 0 || first_seq == Seq::ZERO {
        return Err(out_of_range);
    }
    let (mut commits, mut boot_id) = (Vec::with_capacity(count.min(4096)), None);
    for _ in 0..count {
        let flags = take.u8()?;
        if flags & !(LEFT_KEPT | LEFT_BOOT | LEFT_WHOLE) != 0 {
            return Err(Malformed("batch with an unknown flag"));
        }
        let last_seq = first_seq.0.checked_add(take.uint()?).map(Seq).ok_or(out_of_range)?;
        let wall = take.time()?;
        let boottime_ns = take.uint()?;
        if flags & LEFT_BOOT != 0 {
            boot_id = Some(take.array()?);
        }
        let boot_id = boot_id.ok_or(Malformed("a commit of no boot"))?;
        let epoch = take.uint32()?;
        let count = take.count(4)?;
        let (mut groups, mut seqs) =
            (Vec::with_capacity(count.min(4096)), Vec::with_capacity(count.min(4096)));
        let mut seq = first_seq;
        for n in 0..count {
            let step = take.uint()?;
            seq = seq.0.checked_add(step).map(Seq).ok_or(out_of_range)?;
            if seq > last_seq || n > 0 && step == 0 {
                return Err(out_of_range);
            }
            seqs.push(seq);
            groups.push(take_group(&mut take, wall)?);
        }
        commits.push(Batch {
            first_seq,
            clock: ClockReading { wall, boottime_ns, boot_id },
            epoch,
            complete_through: None,
            durable,
            chain_start: Chain::default(),
            chain_before,
            next_node,
            blocks: std::mem::take(&mut blocks),
            groups,
            left: Some(Left { last_seq, seqs, kept: flags & LEFT_KEPT != 0, whole: flags & LEFT_WHOLE != 0 }),
        });
        first_seq = Seq(last_seq.0.checked_add(1).ok_or(out_of_range)?);
    }
    take.finish()?;
    Ok(commits)
}

fn put_block_frames(out: &mut Vec<u8>, blocks: &[BlockFrame]) {
    out.put_uint(blocks.len() as u64);
    let mut before = 0;
    for block in blocks {
        out.put_uint(block.offset.wrapping_sub(before));
        before = block.offset;
        put_block_frame(out, block);
    }
}

fn take_block_frames(take: &mut Take<'_>) -> Result<Vec<BlockFrame>> {
    let count = take.count(4)?;
    let mut blocks = Vec::with_capacity(count.min(4096));
    let mut offset = 0u64;
    for _ in 0..count {
        offset = offset.wrapping_add(take.uint()?);
        blocks.push(take_block_frame(take, offset)?);
    }
    Ok(blocks)
}

fn put_block_frame(out: &mut Vec<u8>, block: &BlockFrame) {
    out.put_u8(if block.pack { PACK } else { BLOCK });
    out.put_u8(block.encoding as u8);
    out.put_uint(u64::from(block.stored_len));
    if let Some((base, depth)) = block.base {
        out.put_raw(&base.0);
        out.put_u8(depth);
    }
    if block.pack {
        out.put_uint(block.members.len() as u64);
    }
    for (id, len) in &block.members {
        out.put_raw(&id.0);
        out.put_uint(u64::from(*len));
    }
}

fn take_block_frame(take: &mut Take<'_>, offset: u64) -> Result<BlockFrame> {
    let pack = match take.u8()? {
        BLOCK => false,
        PACK => true,
        _ => return Err(Malformed("unknown kind of block frame")),
    };
    let encoding = Encoding::from_byte(take.u8()?).ok_or(Malformed("unknown encoding of a block"))?;
    let stored_len = take_body_len(take)?;
    let base = match encoding {
        Encoding::Delta => Some((BlockId(take.array()?), take.u8()?)),
        Encoding::Raw | Encoding::Zstd => None,
    };
    if base.is_some_and(|(_, depth)| depth == 0 || depth > DEPTH_MAX) {
        return Err(Malformed("chain of deltas out of range"));
    }
    if pack && base.is_some() {
        return Err(Malformed("a pack is no delta"));
    }
    let count = if pack { take.count(17)? } else { 1 };
    let mut members = Vec::with_capacity(count.min(65_536));
    for _ in 0..count {
        members.push((BlockId(take.array()?), take_body_len(take)?));
    }
    Ok(BlockFrame { offset, stored_len, encoding, base, pack, members })
}

/// The length of a body or of what is in it: whoever reads it makes so much room.
pub(crate) fn take_body_len(take: &mut Take<'_>) -> Result<u32> {
    Some(take.uint32()?).filter(|len| *len <= BODY_MAX).ok_or(Malformed("length out of range"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::format::op::tests::sample_group;

    pub(crate) fn sample() -> Batch {
        Batch {
            first_seq: Seq(10),
            clock: ClockReading { wall: Instant(5_000_000_000), boottime_ns: 9, boot_id: [3; 16] },
            epoch: 2,
            complete_through: Some(Instant(4)),
            durable: Position { segment: SegmentId(1), offset: 4096 },
            chain_start: Chain([1; 16]),
            chain_before: Chain([2; 16]),
            next_node: NodeId(99),
            blocks: vec![
                BlockFrame {
                    offset: 200,
                    stored_len: 100,
                    encoding: Encoding::Zstd,
                    base: None,
                    pack: true,
                    members: vec![(BlockId([1; 16]), 600), (BlockId([2; 16]), 0)],
                },
                BlockFrame {
                    offset: 400,
                    stored_len: 50,
                    encoding: Encoding::Delta,
                    base: Some((BlockId([1; 16]), 16)),
                    pack: false,
                    members: vec![(BlockId([4; 16]), 262_144)],
                },
            ],
            groups: vec![Group { hinted: None, ..sample_group() }, Group::default()],
            left: None,
        }
    }

    #[test]
    fn a_batch_comes_back() {
        let batch = sample();
        assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
        assert_eq!(batch.last_seq(), Seq(11));
    }

    #[test]
    fn what_is_left_of_commits_comes_back() {
        let left = |first: u64, last: u64, seqs: &[u64], kept: bool, boot: u8| {
            let groups = seqs.iter().map(|_| Group { hinted: None, ..sample_group() }).collect();
            Batch {
                first_seq: Seq(first),
                clock: ClockReading {
                    wall: Instant(5_000_000_000 + first as i64),
                    boottime_ns: 9,
                    boot_id: [boot; 16],
                },
                complete_through: None,
                chain_start: Chain::default(),
                blocks: if first == 3 { sample().blocks } else { Vec::new() },
                groups,
                left: Some(Left {
                    last_seq: Seq(last),
                    seqs: seqs.iter().copied().map(Seq).collect(),
                    kept,
                    whole: kept && last > 9,
                }),
                ..sample()
            }
        };
        let commits = vec![
            left(3, 9, &[3, 7], true, 1),
            left(10, 900, &[], false, 1),
            left(901, 901, &[901], false, 2),
            left(902, 905, &[902, 905], true, 2),
        ];
        let bytes = encode_left(&commits);
        assert_eq!(Batch::decode_all(&bytes), Ok(commits.clone()));
        assert_eq!(Batch::decode_all(&sample().encode()), Ok(vec![sample()]));
        assert!(Batch::decode(&bytes).is_err(), "not for a log");
        assert_eq!(commits[0].numbered().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [3, 7]);
        for len in 0..bytes.len() {
            assert!(Batch::decode_all(&bytes[..len]).is_err(), "prefix of {len}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let _ = Batch::decode_all(&bad);
            }
        }
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        let bytes = sample().encode();
        for len in 0..bytes.len() {
            assert!(Batch::decode(&bytes[..len]).is_err(), "prefix of {len}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                let _ = Batch::decode(&bad);
            }
        }
    }

    #[test]
    fn lengths_that_no_frame_can_have_are_refused() {
        let mut batch = sample();
        batch.blocks[0].stored_len = BODY_MAX + 1;
        assert!(Batch::decode(&batch.encode()).is_err());
        batch.blocks[0].stored_len = BODY_MAX;
        batch.blocks[0].members[0].1 = BODY_MAX;
        assert!(Batch::decode(&batch.encode()).is_ok());
        batch.blocks[0].members[0].1 = u32::MAX;
        assert!(Batch::decode(&batch.encode()).is_err());
    }

    #[test]
    fn delta_chains_out_of_range_are_refused() {
        for depth in [0, DEPTH_MAX + 1] {
            let mut batch = sample();
            batch.blocks[1].base = Some((BlockId([1; 16]), depth));
            assert!(Batch::decode(&batch.encode()).is_err(), "depth {depth}");
        }
    }
}

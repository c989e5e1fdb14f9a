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
    /// `Seq` of the first group; the others follow one by one.
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
}

const BLOCK: u8 = 0;
const PACK: u8 = 1;

impl Batch {
    /// `Seq` of the last group; one before the first where there is none.
    pub fn last_seq(&self) -> Seq {
        Seq((self.first_seq.0 + self.groups.len() as u64).saturating_sub(1))
    }

    /// The groups with their `Seq`.
    pub fn numbered(&self) -> impl DoubleEndedIterator<Item = (Seq, &Group)> {
        self.groups.iter().enumerate().map(|(i, group)| (Seq(self.first_seq.0 + i as u64), group))
    }

    /// The payload's bytes, before compression.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.groups.len() * 128);
        out.put_uint(0); // flags: none are defined, and an unknown one is refused
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
        out.put_uint(self.blocks.len() as u64);
        let mut before = 0;
        for block in &self.blocks {
            out.put_uint(block.offset.wrapping_sub(before));
            before = block.offset;
            put_block_frame(&mut out, block);
        }
        out.put_uint(self.groups.len() as u64);
        for group in &self.groups {
            put_group(&mut out, group, self.clock.wall);
        }
        out
    }

    /// Decodes a payload.
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
        let count = take.count(4)?;
        let mut blocks = Vec::with_capacity(count.min(4096));
        let mut offset = 0u64;
        for _ in 0..count {
            offset = offset.wrapping_add(take.uint()?);
            blocks.push(take_block_frame(&mut take, offset)?);
        }
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
        })
    }
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
        }
    }

    #[test]
    fn a_batch_comes_back() {
        let batch = sample();
        assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
        assert_eq!(batch.last_seq(), Seq(11));
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

//! The skeleton of each segment, from header to header: batches, the frames that they name, links, footers.
//!
//! Reads no content. What a walk over the batches finds by itself is noted by whoever replays them.

use std::collections::HashMap;

use super::Bad;
use crate::content::codec::Codec;
use crate::error::{Error, Result};
use crate::format::batch::BlockFrame;
use crate::format::frame::{Chain, FrameType, HEADER_LEN, Header};
use crate::format::segment::{Footer, TRAILER_LEN};
use crate::segments::{Damage, FrameWalk, SegmentFile, SegmentSet};
use crate::types::Position;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segments that are there.
    pub segments: u64,
    /// Bytes of them that count.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
    /// Batches that hold.
    pub batches: u64,
}

/// Looks at the skeleton of a segment up to where it counts.
pub(super) fn check(
    set: &SegmentSet,
    segment: &SegmentFile,
    end: u64,
    bad: &mut Bad,
    counts: &mut Counts,
) -> Result<()> {
    let mut codec = Codec::default();
    let mut walk = FrameWalk::new(segment, segment.start, segment.first_chain(), end);
    let mut content: HashMap<u64, Header> = HashMap::new();
    let mut frames: Vec<(u8, u64)> = Vec::new();
    let (mut chain, mut whole, mut reached) = (segment.first_chain(), true, segment.start);
    let (mut ops, mut seqs) = (0, None);
    while let Some(frame) = walk.next_frame()? {
        counts.frames += 1;
        chain = frame.chain_after;
        reached = frame.offset + frame.header.frame_len();
        let Some(frame_type) = frame.header.frame_type else { continue };
        frames.push((frame_type as u8, frame.header.frame_len()));
        if frame_type != FrameType::Batch {
            content.insert(frame.offset, frame.header);
            continue;
        }
        let batches = match segment.batches(frame.offset, &mut codec) {
            Ok(batches) => batches,
            Err(Error::Corrupt { .. }) => {
                whole = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(batch) = batches.first() else { continue };
        counts.batches += 1;
        let link = batch.chain_before.after(&frame.header.encode(segment.header.salt));
        walk.resume_chain(link);
        chain = Some(link);
        for batch in &batches {
            ops += batch.groups.iter().map(|group| group.ops.len() as u64).sum::<u64>();
            if !batch.groups.is_empty() || batch.left.is_some() {
                seqs = Some((seqs.map_or(batch.first_seq, |(first, _)| first), batch.last_seq()));
            }
        }
        for block in &batch.blocks {
            if content.get(&block.offset).is_none_or(|header| !is_as_named(block, header)) {
                bad.frames.insert(
                    Position { segment: segment.id, offset: block.offset },
                    "the frame that its batch names is not there".to_string(),
                );
            }
        }
        content.clear();
    }
    whole &= walk.damage.is_empty() && reached == end;
    counts.segments += 1;
    counts.bytes += end.min(segment.len()?);
    if whole {
        link(set, segment, end, chain, bad);
    }
    let found = Walked { frames, ops, seqs, chain: chain.filter(|_| whole) };
    footer(segment, end, walk.footer, &found, bad)
}

struct Walked {
    frames: Vec<(u8, u64)>,
    ops: u64,
    seqs: Option<(crate::types::Seq, crate::types::Seq)>,
    /// `None` where something in the segment is damaged.
    chain: Option<Chain>,
}

fn is_as_named(block: &BlockFrame, header: &Header) -> bool {
    let pack = header.frame_type == Some(FrameType::Pack);
    (block.stored_len, block.encoding, block.pack) == (header.stored_len, header.encoding, pack)
}

/// Whether the segment that follows was linked to this one as it is.
fn link(set: &SegmentSet, segment: &SegmentFile, end: u64, chain: Option<Chain>, bad: &mut Bad) {
    let Some(next) = set.next_in_log(segment) else { return };
    let told =
        next.header.predecessor.filter(|told| told.end == Position { segment: segment.id, offset: end });
    if let (Some(told), Some(chain)) = (told, chain)
        && told.chain != chain
        && told.chain != Chain::default()
    {
        bad.damage.push(Damage {
            path: next.path.clone(),
            at: Position { segment: next.id, offset: 0 },
            len: next.start,
            what: format!("it follows another {} than this one", segment.id),
        });
    }
}

fn fills_up_with_zeroes(segment: &SegmentFile, offset: u64) -> Result<bool> {
    let Ok(header) = segment.frame_header(offset) else { return Ok(true) };
    let used = (HEADER_LEN as u64) + u64::from(header.stored_len);
    let mut padding = vec![0; header.frame_len().saturating_sub(used) as usize];
    segment.read_at(&mut padding, offset + used)?;
    Ok(padding.iter().all(|&byte| byte == 0))
}

/// Compares a footer with what it is the footer of. One that does not hold is a remark: a power cut while a segment is
/// sealed leaves such a one, and nothing depends on it.
fn footer(segment: &SegmentFile, end: u64, met: Option<u64>, found: &Walked, bad: &mut Bad) -> Result<()> {
    let (len, told) = (segment.len()?, segment.trailer()?);
    let mut note = |offset: u64, what: &str| {
        let at = Position { segment: segment.id, offset };
        let what = format!("{what}; nothing depends on it");
        bad.notes.push(Damage {
            path: segment.path.clone(),
            at,
            len: len.saturating_sub(offset).max(1),
            what,
        });
    };
    let Some((offset, footer)) = segment.footer(met, &mut Codec::default())? else {
        let begun =
            segment.frame_header(end).is_ok_and(|header| header.frame_type == Some(FrameType::Footer));
        if told == Some(end) || begun {
            note(end, "the footer is not whole");
        }
        return Ok(());
    };
    if !fills_up_with_zeroes(segment, offset)? {
        note(offset, "what fills up the footer is not zero");
    }
    if told != Some(offset) {
        note(len.saturating_sub(TRAILER_LEN as u64), "the trailer is not whole");
    }
    let Walked { frames, ops, seqs, chain: Some(chain) } = found else { return Ok(()) };
    let Footer { frames: told_frames, seqs: told_seqs, ops: told_ops, chain: told_chain, .. } = &footer;
    // A commit of content alone has no group, and its place in the range is the next group's.
    let same_seqs = told_seqs.map(|told| told.1) == seqs.map(|seqs| seqs.1) || seqs.is_none();
    if offset == end && ((told_frames, told_ops, told_chain) != (frames, ops, chain) || !same_seqs) {
        bad.damage.push(Damage {
            path: segment.path.clone(),
            at: Position { segment: segment.id, offset },
            len: len - offset,
            what: "the footer speaks of other frames than there are".into(),
        });
    }
    Ok(())
}

//! What a batch means for the index. Pure: the same batch at the same place always gives the same entries.

use super::keys::{self, Applied, BatchAt, Bound, Linked, Located, StateThen};
use super::{Cf, Entry};
use crate::format::batch::{Batch, BlockFrame};
use crate::format::frame::Chain;
use crate::format::op::{
    put_forgotten, put_gap, put_held, put_hold, put_loss, put_policy, put_restore, put_version,
};
use crate::types::{Gap, GapReason, Group, Instant, Op, Position, SegmentId, Seq};

/// Where a batch lies in its segment, and the chain's value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPlace {
    /// Where its frame begins.
    pub frame: Position,
    /// Where the next frame begins.
    pub end: Position,
    /// The segment's salt.
    pub salt: u32,
    /// The chain's value there.
    pub chain: Chain,
}

/// The entries of a group's operations: everything that does not depend on where the batch lies.
pub fn group(seq: Seq, group: &Group, out: &mut Vec<Entry>) {
    for (n, op) in group.ops.iter().enumerate() {
        // A group has few operations; the place only orders links and gaps of one node within it.
        op_entries(seq, n.min(usize::from(u16::MAX)) as u16, op, out);
    }
}

fn op_entries(seq: Seq, n: u16, op: &Op, out: &mut Vec<Entry>) {
    match op {
        Op::Bind { dir, name, node, kind, succeeds } => {
            let bound = Bound::To { node: *node, kind: *kind, succeeds: *succeeds };
            out.push(Entry { cf: Cf::Binding, key: keys::binding(*dir, name, seq), value: bound.encode() });
            // The same entry whenever the name is bound there again.
            out.push(Entry { cf: Cf::Filename, key: keys::filename(name, *dir), value: Vec::new() });
            let linked = Linked { lost: None, dir: *dir, name: name.clone() };
            out.push(Entry { cf: Cf::Link, key: keys::link(*node, seq, n), value: linked.encode() });
        }
        Op::Unbind { dir, name, node, kind, why } => {
            let bound = Bound::Gone { node: *node, kind: *kind, why: *why };
            out.push(Entry { cf: Cf::Binding, key: keys::binding(*dir, name, seq), value: bound.encode() });
            let linked = Linked { lost: Some(*why), dir: *dir, name: name.clone() };
            out.push(Entry { cf: Cf::Link, key: keys::link(*node, seq, n), value: linked.encode() });
        }
        Op::Version { node, version } => {
            let mut value = Vec::with_capacity(96);
            put_version(&mut value, version);
            out.push(Entry { cf: Cf::Version, key: keys::version(*node, seq), value });
        }
        Op::Identify { node, identity } => {
            out.push(Entry { cf: Cf::Identity, key: keys::identity(identity), value: keys::node(*node) });
        }
        Op::Gap(gap) => {
            let mut value = Vec::new();
            put_gap(&mut value, gap);
            out.push(Entry { cf: Cf::Gap, key: keys::gap(seq, n), value });
        }
        Op::Policy(policy) => {
            let mut value = Vec::new();
            put_policy(&mut value, policy);
            out.push(Entry { cf: Cf::Policy, key: keys::seq(seq), value });
        }
        Op::Loss(loss) => {
            let mut value = Vec::new();
            put_loss(&mut value, loss);
            out.push(Entry { cf: Cf::Loss, key: keys::gap(seq, n), value });
        }
        Op::Name(name) => {
            out.push(Entry { cf: Cf::Named, key: keys::named(name, seq), value: Vec::new() });
        }
        Op::Restore(restore) => {
            let mut value = Vec::new();
            put_restore(&mut value, restore);
            out.push(Entry { cf: Cf::Restore, key: keys::gap(seq, n), value });
        }
        Op::Hold(hold) => {
            let mut value = vec![keys::HELD];
            put_hold(&mut value, hold);
            out.push(Entry { cf: Cf::Hold, key: keys::gap(seq, n), value });
        }
        Op::Release(held) => {
            let mut value = vec![keys::RELEASED];
            put_held(&mut value, held);
            out.push(Entry { cf: Cf::Hold, key: keys::gap(seq, n), value });
        }
        Op::Forgotten(forgotten) => {
            let mut value = Vec::new();
            put_forgotten(&mut value, forgotten);
            out.push(Entry { cf: Cf::Forgotten, key: keys::gap(seq, n), value });
        }
        Op::Mark(_) => {}
    }
}

/// The entries that say where the batch and its blocks lie.
pub fn places(batch: &Batch, place: &BatchPlace, out: &mut Vec<Entry>) {
    for frame in &batch.blocks {
        blocks_of(place.frame.segment, frame, out);
    }
    // A commit without groups is no commit, unless they went: then the time at which it was is still known.
    let state = match &batch.left {
        None if batch.groups.is_empty() => return,
        None => StateThen::Whole,
        Some(left) if left.whole => StateThen::Whole,
        Some(left) if left.kept => StateThen::Kept,
        Some(_) => StateThen::Thinned,
    };
    let at = BatchAt {
        frame: place.frame,
        first_seq: batch.first_seq,
        wall: batch.clock.wall,
        epoch: batch.epoch,
        state,
    };
    out.push(Entry { cf: Cf::Event, key: keys::seq(batch.last_seq()), value: at.encode() });
    out.push(Entry {
        cf: Cf::Clock,
        key: keys::clock(batch.epoch, batch.clock.wall),
        value: keys::seq(batch.last_seq()),
    });
}

/// The entries of the blocks in a frame of content.
pub fn blocks_of(segment: SegmentId, frame: &BlockFrame, out: &mut Vec<Entry>) {
    for (slot, (id, raw_len)) in frame.members.iter().enumerate() {
        let located = Located {
            frame: Position { segment, offset: frame.offset },
            stored_len: frame.stored_len,
            encoding: frame.encoding,
            base: frame.base,
            slot: frame.pack.then_some(slot as u32),
            raw_len: *raw_len,
        };
        out.push(Entry { cf: Cf::Block, key: id.0.to_vec(), value: located.encode() });
    }
}

/// How far an index has come once it has the batch.
pub fn advance(before: &Applied, batch: &Batch, place: &BatchPlace) -> Applied {
    // Only the log is gone on with.
    let (end, salt, chain) = match batch.left {
        None => (place.end, place.salt, place.chain),
        Some(_) => (before.end, before.salt, before.chain),
    };
    let mut after = Applied {
        end,
        salt,
        chain,
        last_seq: before.last_seq.max(batch.last_seq()),
        epoch: batch.epoch,
        wall: batch.clock.wall,
        boottime_ns: batch.clock.boottime_ns,
        boot_id: batch.clock.boot_id,
        next_node: before.next_node.max(batch.next_node),
        ..*before
    };
    for op in batch.groups.iter().flat_map(|group| &group.ops) {
        match op {
            // One that lasts counts when it is over.
            Op::Gap(gap) if !gap.is_open() => after.gaps += 1,
            Op::Mark(mark) => after.covered_through = after.covered_through.max(Some(mark.covered_through)),
            _ => {}
        }
    }
    after
}

/// Everything that the batch means for the index, the new [`Applied`] included.
pub fn batch(before: &Applied, batch: &Batch, place: &BatchPlace, out: &mut Vec<Entry>) -> Applied {
    lost_groups(before, batch.first_seq, out);
    for (seq, members) in batch.numbered() {
        group(seq, members, out);
    }
    places(batch, place, out);
    let after = advance(before, batch, place);
    out.push(Entry { cf: Cf::Meta, key: keys::APPLIED.to_vec(), value: after.encode() });
    after
}

/// The entry for groups that no batch holds, where the next batch begins at `next`: an open gap of everything, which
/// ends once everything has been compared again. Sequence numbers are given out one by one, so a jump is a loss.
pub fn lost_groups(before: &Applied, next: Seq, out: &mut Vec<Entry>) {
    let first = before.last_seq.next();
    if next <= first {
        return;
    }
    let last = next.previous();
    let gap = Gap {
        scope: b"/".to_vec(),
        from: before.wall,
        until: Gap::OPEN,
        reason: GapReason::Damaged,
        detail: format!(
            "{first} to {last} are lost: what they said is as it was before, or as it was seen later"
        ),
    };
    let mut value = Vec::new();
    put_gap(&mut value, &gap);
    out.push(Entry { cf: Cf::Gap, key: keys::gap(last, u16::MAX), value });
}

/// The clock epoch of a batch written at `wall` and `boottime_ns`, and the wall clock that it carries.
///
/// An epoch starts at every boot and whenever wall minus boot clock moves by more than a second; within one, walls
/// strictly increase.
pub fn next_clock(before: &Applied, wall: Instant, boottime_ns: u64, boot_id: [u8; 16]) -> (u32, Instant) {
    if before.last_seq == Seq::ZERO {
        return (1, wall);
    }
    let offset = |wall: Instant, boottime: u64| i128::from(wall.0) - i128::from(boottime);
    let moved = offset(wall, boottime_ns) - offset(before.wall, before.boottime_ns);
    if boot_id != before.boot_id || moved.abs() > 1_000_000_000 {
        return (before.epoch + 1, wall);
    }
    (before.epoch, Instant(wall.0.max(before.wall.0.saturating_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::tests::sample;
    use crate::format::op::take_gap;
    use crate::format::wire::Take;

    #[test]
    fn every_operation_leaves_its_entries() {
        let place = BatchPlace {
            frame: Position { segment: SegmentId(1), offset: 800 },
            end: Position { segment: SegmentId(1), offset: 1200 },
            salt: 7,
            chain: Chain([6; 16]),
        };
        let mut entries = Vec::new();
        let before = Applied { last_seq: sample().first_seq.previous(), ..Applied::default() };
        let applied = batch(&before, &sample(), &place, &mut entries);
        let count = |cf| entries.iter().filter(|entry| entry.cf == cf).count();
        assert_eq!(Cf::ALL.map(count), [3, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 2, 3, 2, 1]);
        assert_eq!((applied.last_seq, applied.gaps), (Seq(11), 1));
        assert_eq!(applied.covered_through, Some(Instant(77)));
    }

    #[test]
    fn a_jump_of_the_sequence_is_an_open_gap_of_everything() {
        let before = Applied { last_seq: Seq(3), wall: Instant(50), ..Applied::default() };
        for (next, lost) in [(3, false), (4, false), (5, true), (9, true)] {
            let mut entries = Vec::new();
            lost_groups(&before, Seq(next), &mut entries);
            assert_eq!(entries.len(), usize::from(lost), "next is {next}");
            for entry in entries {
                let gap = take_gap(&mut Take::new(&entry.value)).expect("a gap");
                assert_eq!((gap.reason, gap.from, gap.is_open()), (GapReason::Damaged, Instant(50), true));
                assert_eq!(keys::parse_seq(&entry.key), Ok(Seq(next - 1)));
            }
        }
    }

    #[test]
    fn clock_epochs_start_at_boots_and_steps_and_walls_increase_within_them() {
        let second = 1_000_000_000;
        let before = Applied {
            last_seq: Seq(1),
            epoch: 4,
            wall: Instant(100 * second),
            boottime_ns: 50 * second as u64,
            boot_id: [1; 16],
            ..Applied::default()
        };
        let at = |wall: i64, boot: i64, id| {
            next_clock(&before, Instant(wall * second), (boot * second) as u64, [id; 16])
        };
        assert_eq!(at(101, 51, 1), (4, Instant(101 * second)), "an ordinary second later");
        assert_eq!(at(101, 51, 2), (5, Instant(101 * second)), "another boot");
        assert_eq!(at(50, 51, 1), (5, Instant(50 * second)), "set back");
        assert_eq!(at(200, 51, 1), (5, Instant(200 * second)), "set forward");
        assert_eq!(at(100, 50, 1), (4, Instant(100 * second + 1)), "the same instant");
        assert_eq!(at(100, 51, 1), (4, Instant(100 * second + 1)), "set back by one second exactly");
    }
}

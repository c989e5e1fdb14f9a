//! Random values of everything that is encoded.

use asof_fuzz::Random;

use crate::format::batch::{Batch, BlockFrame, DEPTH_MAX};
use crate::format::frame::{BODY_MAX, Chain, Encoding};
use crate::format::segment::{Compacted, Footer, Predecessor, SegmentHeader};
use crate::types::{
    BlockId, ClockReading, Content, Extent, ForgetBegun, ForgetOutcome, Forgotten, Gap, GapReason, Group,
    Held, Hold, Identity, Instant, Kind, LeftOut, Loss, Lost, Mark, MarkCause, MarkName, Metadata, NodeId,
    Op, Place, Policy, Position, Quality, Restore, RestoreBegun, RestoreOutcome, RootPolicy, SegmentId, Seq,
    Unbound, Version,
};

pub(super) const KINDS: [Kind; 7] =
    [Kind::File, Kind::Dir, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];
pub(super) const REASONS: [Unbound; 5] =
    [Unbound::Deleted, Unbound::Moved, Unbound::Uncovered, Unbound::Unread, Unbound::Thinned];
const GAPS: [GapReason; 11] = [
    GapReason::AgentDown,
    GapReason::QueueOverflow,
    GapReason::Unwatched,
    GapReason::Unreadable,
    GapReason::RootMissing,
    GapReason::WatcherStalled,
    GapReason::VanishedUnread,
    GapReason::Starting,
    GapReason::Unmounted,
    GapReason::JournalFull,
    GapReason::Damaged,
];

pub(super) fn instant(random: &mut Random) -> Instant {
    Instant(random.signed())
}

pub(super) fn position(random: &mut Random) -> Position {
    Position { segment: SegmentId(random.number()), offset: random.number() }
}

/// A node; few of them, so that operations meet.
pub(super) fn node(random: &mut Random) -> NodeId {
    NodeId(if random.one_in(8) { random.number() } else { random.below(6) as u64 })
}

pub(super) fn name(random: &mut Random) -> Vec<u8> {
    let mut name = match random.below(4) {
        0 => random.some_bytes(40),
        _ => random.pick(&[&b"a"[..], b"b", b"ab", b"a\x01", b"\xff", b"...", b" "]).to_vec(),
    };
    name.retain(|byte| !matches!(byte, 0 | b'/'));
    if matches!(name.as_slice(), b"" | b"." | b"..") { b"x".to_vec() } else { name }
}

pub(super) fn path(random: &mut Random) -> Vec<u8> {
    (0..=random.below(3)).flat_map(|_| [b"/".to_vec(), name(random)].concat()).collect()
}

pub(super) fn text(random: &mut Random) -> String {
    let len = random.below(30);
    String::from_utf8_lossy(&random.text(len)).into_owned()
}

pub(super) fn some<T>(random: &mut Random, end: usize, mut one: impl FnMut(&mut Random) -> T) -> Vec<T> {
    (0..random.below(end)).map(|_| one(random)).collect()
}

pub(super) fn block_id(random: &mut Random) -> BlockId {
    BlockId(if random.one_in(2) { [random.below(4) as u8; 16] } else { random.array() })
}

pub(super) fn extents(random: &mut Random) -> Vec<Extent> {
    some(random, 6, |random| match random.below(3) {
        0 => Extent::Hole { len: random.number() >> 1 },
        1 => Extent::Block { id: block_id(random), len: random.number() as u32 },
        _ => Extent::List { id: block_id(random), len: random.number() >> 1 },
    })
}

pub(super) fn version(random: &mut Random) -> Version {
    let attribute = |random: &mut Random| (random.some_bytes(20), random.some_bytes(40));
    Version {
        meta: Metadata {
            kind: random.pick(&KINDS),
            mode: random.number() as u32,
            uid: random.number() as u32,
            gid: random.number() as u32,
            mtime: instant(random),
            ctime: instant(random),
            size: random.number(),
            ino: random.number(),
            rdev: random.number(),
            xattrs: some(random, 3, attribute),
        },
        content: match random.below(5) {
            0 => Content::None,
            1 => Content::Inline(random.some_bytes(100)),
            2 => Content::Extents(extents(random)),
            3 => Content::Thinned,
            _ => Content::Unread(random.signed() as i32),
        },
        quality: random.pick(&[Quality::Clean, Quality::Provisional, Quality::Torn]),
        racy: random.one_in(2),
    }
}

pub(super) fn gap(random: &mut Random) -> Gap {
    Gap {
        scope: path(random),
        from: instant(random),
        until: if random.one_in(3) { Gap::OPEN } else { instant(random) },
        reason: random.pick(&GAPS),
        detail: text(random),
    }
}

pub(super) fn policy(random: &mut Random) -> Policy {
    let root = |random: &mut Random| RootPolicy {
        path: path(random),
        excludes: some(random, 3, text),
        one_file_system: random.one_in(2),
        cachedir_tag: random.one_in(2),
    };
    let place = |random: &mut Random| LeftOut {
        path: path(random),
        what: random.pick(&[Place::Journal, Place::OtherFilesystem]),
    };
    Policy { roots: some(random, 3, root), excludes: some(random, 3, text), left_out: some(random, 3, place) }
}

fn loss(random: &mut Random) -> Loss {
    let lost = match random.one_in(2) {
        true => Lost::Bytes {
            at: Position { segment: SegmentId(random.number()), offset: random.number() },
            len: random.number(),
        },
        false => Lost::Groups { first: Seq(random.number()), last: Seq(random.number()) },
    };
    Loss { lost, noted: instant(random), what: text(random) }
}

/// A name that an instant can have; few of them, so that they meet.
pub(super) fn mark_name(random: &mut Random) -> MarkName {
    let random_text: String =
        text(random).chars().filter(|c| !c.is_control() && !matches!(c, '/' | '@')).collect();
    let text = match random.below(4) {
        0 => random_text.trim(),
        n => ["a", "a b", "b"][n - 1],
    };
    match MarkName::new(text).or_else(|_| MarkName::new("x")) {
        Ok(name) => name,
        Err(error) => panic!("{error}"),
    }
}

fn restore(random: &mut Random) -> Restore {
    match random.one_in(2) {
        true => Restore::Begun(RestoreBegun {
            at: Seq(random.number()),
            paths: some(random, 4, |random| if random.one_in(8) { b"/".to_vec() } else { path(random) }),
            exact: random.one_in(2),
            undoes: Some(Seq(random.below(5) as u64)).filter(|id| *id != Seq::ZERO),
        }),
        false => Restore::Done {
            id: Seq(random.below(5) as u64),
            outcome: RestoreOutcome {
                created: random.number(),
                overwritten: random.number(),
                deleted: random.number(),
                failed: random.number(),
                bytes: random.number(),
            },
        },
    }
}

fn forgotten(random: &mut Random) -> Forgotten {
    match random.one_in(2) {
        true => Forgotten::Begun(ForgetBegun {
            by: random.number() as u32,
            paths: random.number(),
            roots: some(random, 3, path),
            before: Some(Seq(random.number())).filter(|before| *before != Seq::ZERO),
            names: some(random, 3, path),
        }),
        false => Forgotten::Done {
            id: Seq(random.number()),
            outcome: ForgetOutcome {
                bindings: random.number(),
                versions: random.number(),
                blocks: random.number(),
            },
        },
    }
}

fn held(random: &mut Random) -> Held {
    match random.one_in(2) {
        true => Held::Path(path(random)),
        false => Held::Mark(mark_name(random)),
    }
}

pub(super) fn op(random: &mut Random) -> Op {
    match random.below(16) {
        0..=3 => Op::Bind {
            dir: node(random),
            name: name(random),
            node: node(random),
            kind: random.pick(&KINDS),
            succeeds: Some(node(random)).filter(|node| *node != NodeId::ROOT),
        },
        4 => Op::Unbind {
            dir: node(random),
            name: name(random),
            node: node(random),
            kind: random.pick(&KINDS),
            why: random.pick(&REASONS),
        },
        5 | 6 => Op::Version { node: node(random), version: version(random) },
        7 => Op::Identify {
            node: node(random),
            identity: Identity { filesystem: random.some_bytes(20), handle: random.some_bytes(20) },
        },
        8 => Op::Gap(gap(random)),
        9 => Op::Loss(loss(random)),
        10 => Op::Name(mark_name(random)),
        11 => Op::Restore(restore(random)),
        12 => Op::Hold(Hold {
            what: held(random),
            until: Some(instant(random)).filter(|until| random.one_in(2) && until.0 != i64::MAX),
        }),
        13 => Op::Release(held(random)),
        14 => Op::Forgotten(forgotten(random)),
        _ if random.one_in(2) => Op::Policy(policy(random)),
        _ => Op::Mark(Mark {
            covered_through: instant(random),
            cause: random.pick(&[
                MarkCause::Idle,
                MarkCause::Sync,
                MarkCause::Reconciled,
                MarkCause::Stopped,
            ]),
        }),
    }
}

/// A group whose times are whole milliseconds before `wall`, which is what a batch keeps of them.
pub(super) fn group(random: &mut Random, wall: Instant) -> Group {
    let time = |random: &mut Random| -> Option<Instant> {
        let ago = (random.number() >> 1) as i64 / 1_000_000 * 1_000_000;
        (!random.one_in(3)).then_some(wall.0.checked_sub(ago).map(Instant)).flatten()
    };
    Group { hinted: time(random), read: time(random), ops: some(random, 8, op) }
}

pub(super) fn chain(random: &mut Random) -> Chain {
    Chain(random.array())
}

pub(super) fn encoding(random: &mut Random) -> Encoding {
    random.pick(&[Encoding::Raw, Encoding::Zstd, Encoding::Delta])
}

pub(super) fn length(random: &mut Random) -> u32 {
    (random.number() % (u64::from(BODY_MAX) + 1)) as u32
}

pub(super) fn block_frame(random: &mut Random) -> BlockFrame {
    let encoding = encoding(random);
    let base =
        (encoding == Encoding::Delta).then(|| (block_id(random), 1 + random.below(DEPTH_MAX.into()) as u8));
    let pack = base.is_none() && random.one_in(2);
    let count = if pack { random.below(5) } else { 1 };
    BlockFrame {
        offset: random.number(),
        stored_len: length(random),
        encoding,
        base,
        pack,
        members: (0..count).map(|_| (block_id(random), length(random))).collect(),
    }
}

pub(super) fn batch(random: &mut Random) -> Batch {
    let wall = instant(random);
    Batch {
        first_seq: Seq((random.number() >> 1).max(1)),
        clock: ClockReading { wall, boottime_ns: random.number(), boot_id: random.array() },
        epoch: random.number() as u32,
        complete_through: random.one_in(2).then(|| instant(random)),
        durable: position(random),
        chain_start: chain(random),
        chain_before: chain(random),
        next_node: NodeId(random.number()),
        blocks: some(random, 4, block_frame),
        groups: some(random, 5, |random| group(random, wall)),
        left: None,
    }
}

pub(super) fn segment_header(random: &mut Random) -> SegmentHeader {
    SegmentHeader {
        journal: random.array(),
        id: SegmentId(random.number()),
        salt: random.bits() as u32,
        created: instant(random),
        first_seq: Seq(random.number()),
        compacted: random
            .one_in(2)
            .then(|| Compacted { last_seq: Seq(random.number()), as_of: Seq(random.number()) }),
        supersedes: some(random, 4, |random| SegmentId(random.number())),
        predecessor: random.one_in(2).then(|| Predecessor { end: position(random), chain: chain(random) }),
        durable: position(random),
    }
}

pub(super) fn footer(random: &mut Random) -> Footer {
    let ranges = random
        .one_in(2)
        .then(|| ((Seq(random.number()), Seq(random.number())), (instant(random), instant(random))));
    Footer {
        frames: some(random, 20, |random| (random.bits() as u8, (random.number() >> 3) << 3)),
        seqs: ranges.map(|(seqs, _)| seqs),
        walls: ranges.map(|(_, walls)| walls),
        ops: random.number(),
        chain: chain(random),
        hash: random.array(),
    }
}

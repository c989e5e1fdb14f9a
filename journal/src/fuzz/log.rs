//! Whole journals whose checksums are right and whose contents are not: opened and read through and through.
//!
//! An input is a list of records, from which segments are put together with right checksums and a right chain. So a
//! changed byte reaches what lies behind them: recovery, the overlay, views, histories, blocks.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use asof_fuzz::{Memory, Random, Target};

use super::{target, values};
use crate::blocks::pack_table;
use crate::content::hash::IdKey;
use crate::find;
use crate::format::batch::{Batch, BlockFrame};
use crate::format::frame::{self, Chain, Encoding, FrameType, HEADER_LEN};
use crate::format::segment::{Predecessor, SegmentHeader};
use crate::history;
use crate::reader::Reader;
use crate::storage::Layout;
use crate::types::{ClockReading, Content, Extent, Instant, Kind, NodeId, Op, Position, SegmentId, Seq};
use crate::view::View;

const KEY: IdKey = IdKey([7; 32]);
const JOURNAL: [u8; 16] = [9; 16];
const SALT: u32 = 77;
/// Directories and nodes that are looked at in one view.
const LOOKED_AT_MAX: usize = 60;
/// Segments of a journal.
const SEGMENTS_MAX: u64 = 4;

/// Records: a kind, a length of two bytes, so many bytes.
const BATCH: u8 = 0;
const BLOCK: u8 = 1;
const PACK: u8 = 2;
const RAW: u8 = 3;
const SEGMENT: u8 = 4;
const FOOTER: u8 = 5;

fn record(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(payload.len().min(65_535) as u16).to_le_bytes());
    out.extend_from_slice(&payload[..payload.len().min(65_535)]);
}

/// Segments being put together.
struct Assembly {
    segments: Vec<Vec<u8>>,
    chain: Chain,
    /// Where the last batch ended, and the chain's value there.
    accepted: Predecessor,
}

impl Assembly {
    fn of(mut records: &[u8]) -> Assembly {
        let accepted =
            Predecessor { end: Position { segment: SegmentId(0), offset: 0 }, chain: Chain::default() };
        let mut assembly = Assembly { segments: Vec::new(), chain: Chain::default(), accepted };
        assembly.segment(&[]);
        while let Some((head, rest)) = records.split_first_chunk::<3>() {
            let len = usize::from(u16::from_le_bytes([head[1], head[2]])).min(rest.len());
            assembly.add(head[0], &rest[..len]);
            records = &rest[len..];
        }
        assembly
    }

    fn add(&mut self, kind: u8, payload: &[u8]) {
        match kind {
            BATCH => self.frame(FrameType::Batch, payload.len() as u32, payload),
            BLOCK => self.frame(FrameType::Block, payload.len().saturating_sub(32) as u32, payload),
            PACK => self.frame(FrameType::Pack, raw_len(payload), payload),
            FOOTER => self.frame(FrameType::Footer, payload.len() as u32, payload),
            SEGMENT if (self.segments.len() as u64) < SEGMENTS_MAX => self.segment(payload),
            RAW => self.last().extend_from_slice(payload),
            _ => {}
        }
    }

    fn last(&mut self) -> &mut Vec<u8> {
        match self.segments.len() {
            0 => panic!("there is a first segment"),
            len => &mut self.segments[len - 1],
        }
    }

    fn end(&mut self) -> Position {
        Position { segment: SegmentId(self.segments.len() as u64), offset: self.last().len() as u64 }
    }

    fn frame(&mut self, frame_type: FrameType, raw_len: u32, body: &[u8]) {
        let header = frame::append(self.last(), frame_type, Encoding::Raw, raw_len, body, SALT);
        self.chain = self.chain.after(&header);
        if frame_type == FrameType::Batch {
            self.accepted = Predecessor { end: self.end(), chain: self.chain };
        }
    }

    /// Begins a segment; a payload moves the end that it names for the one before.
    fn segment(&mut self, payload: &[u8]) {
        let mut predecessor = self.accepted;
        if let Some(moved) = payload.first_chunk::<8>() {
            predecessor.end.offset = predecessor.end.offset.wrapping_add(u64::from_le_bytes(*moved));
        }
        let header = SegmentHeader {
            journal: JOURNAL,
            id: SegmentId(self.segments.len() as u64 + 1),
            salt: SALT,
            created: Instant(1),
            first_seq: Seq(1),
            compacted: None,
            supersedes: Vec::new(),
            predecessor: (predecessor.end.segment != SegmentId(0)).then_some(predecessor),
            durable: self.accepted.end,
        };
        self.chain = header.predecessor.map(|before| before.chain).unwrap_or_default();
        self.segments.push(header.encode());
    }
}

/// What a pack's table says that its blocks are long.
fn raw_len(body: &[u8]) -> u32 {
    let mut take = crate::format::wire::Take::new(body);
    let count = take.count(33).unwrap_or(0);
    (0..count)
        .map_while(|_| take.array::<32>().and_then(|_| take.uint32()).ok())
        .fold(0u32, |sum, len| sum.saturating_add(len))
        .min(frame::BODY_MAX)
}

/// A journal of a few batches that fit each other.
fn valid(random: &mut Random) -> Vec<u8> {
    let mut records = Vec::new();
    let (mut seq, mut wall) = (1, 1_700_000_000_000_000_000);
    for n in 0..=random.below(4) {
        if n > 0 && random.one_in(4) {
            record(&mut records, SEGMENT, &[]);
        }
        let mut blocks: Vec<BlockFrame> = Vec::new();
        for _ in 0..random.below(3) {
            let mut assembly = Assembly::of(&records);
            let offset = assembly.end().offset;
            let plain: Vec<Vec<u8>> = (0..=random.below(2)).map(|_| random.some_bytes(60)).collect();
            let pack = plain.len() > 1;
            let table: Vec<_> = plain.iter().map(|plain| (KEY.id(plain), plain.len() as u32)).collect();
            let body = match pack {
                true => [pack_table(&table), plain.concat()].concat(),
                false => [&table[0].0.0[..], &plain[0]].concat(),
            };
            record(&mut records, if pack { PACK } else { BLOCK }, &body);
            let members = table.iter().map(|(id, len)| (id.short(), *len)).collect();
            let (stored_len, encoding) = (body.len() as u32, Encoding::Raw);
            blocks.push(BlockFrame { offset, stored_len, encoding, base: None, pack, members });
        }
        let assembly = Assembly::of(&records);
        wall += random.below(5_000_000_000) as i64;
        let clock = ClockReading { wall: Instant(wall), boottime_ns: wall as u64, boot_id: [1; 16] };
        let known: Vec<Extent> = blocks
            .iter()
            .flat_map(|frame| frame.members.iter().map(|(id, len)| Extent::Block { id: *id, len: *len }))
            .collect();
        let mut groups = values::some(random, 4, |random| values::group(random, clock.wall));
        for op in groups.iter_mut().flat_map(|group| &mut group.ops) {
            match op {
                Op::Bind { dir, node, kind, .. } => {
                    // A tree that can be walked: low numbers are directories, and lie in lower ones.
                    *node = NodeId(node.0.max(1));
                    *dir = NodeId(dir.0 % node.0);
                    *kind = if node.0 < 4 { Kind::Dir } else { Kind::File };
                }
                Op::Version { version, .. } if random.one_in(2) => {
                    version.content = Content::Extents(known.clone());
                }
                _ => {}
            }
        }
        let batch = Batch {
            first_seq: Seq(seq),
            clock,
            epoch: 1 + n as u32 / 2,
            complete_through: None,
            durable: assembly.accepted.end,
            chain_start: assembly.accepted.chain,
            chain_before: assembly.chain,
            next_node: NodeId(100),
            blocks,
            groups,
            left: None,
        };
        seq += batch.groups.len() as u64;
        record(&mut records, BATCH, &batch.encode());
    }
    records
}

/// Where journals are laid out: in memory, where that can be had.
fn scratch() -> tempfile::TempDir {
    match tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()) {
        Ok(dir) => dir,
        Err(error) => panic!("{error}"),
    }
}

/// Puts a journal where there was another one.
fn lay_out(dir: &Path, records: &[u8]) {
    let layout = Layout::new(dir);
    let key = data_encoding::HEXLOWER.encode(&KEY.0);
    let uuid = uuid::Uuid::from_bytes(JOURNAL);
    let manifest = format!(
        "{{\"format\":{},\"uuid\":\"{uuid}\",\"created_unix_ns\":0,\"id_key\":\"{key}\"}}",
        crate::format::FORMAT
    );
    let made = fs::create_dir_all(layout.segments()).and_then(|()| fs::write(layout.manifest(), manifest));
    let mut segments = Assembly::of(records).segments.into_iter();
    let written = made.and_then(|()| {
        (1..=SEGMENTS_MAX).map(|id| layout.segment(SegmentId(id))).try_for_each(|path| {
            match segments.next() {
                Some(bytes) => fs::write(path, bytes),
                None => fs::remove_file(path)
                    .or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }),
            }
        })
    });
    if let Err(error) = written {
        panic!("{}: {error}", dir.display());
    }
}

/// Reads everything in every way; errors are answers, too.
fn read_everything(reader: &Reader) {
    let _ = reader.info();
    for mark in reader.marks().into_iter().flatten() {
        let _ = reader.mark(&mark.name);
    }
    let _ = reader.restores();
    let head = reader.head();
    for time in [i64::MIN, 0, 1_700_000_000_000_000_000, 1_700_000_003_000_000_000, i64::MAX] {
        if let Ok(Some(resolved)) = reader.at_instant(Instant(time)) {
            assert!(resolved.moment.seq <= head, "a moment after the newest");
        }
    }
    find_everything(reader);
    let mut paths = Vec::new();
    for seq in [Seq::ZERO, Seq(1), Seq(2), Seq(5), head, Seq::MAX] {
        let _ = reader.at_seq(seq);
        let view = reader.view(seq);
        let _ = (view.gaps(b"/a"), view.all_gaps(), view.policy());
        let mut nodes = vec![(NodeId::ROOT, b"".to_vec())];
        let mut at = 0;
        while let Some((dir, path)) = nodes.get(at).cloned() {
            at += 1;
            look_at(&view, dir);
            let listed = [view.list(dir), view.list_deleted(dir)];
            for entry in listed.into_iter().flatten().flatten() {
                let below = [path.as_slice(), b"/", &entry.name].concat();
                if nodes.len() < LOOKED_AT_MAX {
                    nodes.push((entry.node, below.clone()));
                }
                if paths.len() < LOOKED_AT_MAX && !paths.contains(&below) {
                    paths.push(below);
                }
            }
        }
    }
    for path in &paths {
        let _ = history::of_path(reader, path, Seq::MAX);
        let _ = reader.view(head).resolve(path);
    }
    let mut changes = 0;
    let _ = history::below(reader, b"/", Seq::ZERO, Seq::MAX, &mut |_| {
        changes += 1;
        changes < 1000
    });
}

/// Looks for every name, as of a few times.
fn find_everything(reader: &Reader) {
    let mut searches: Vec<_> =
        [Seq(1), Seq(3), reader.head(), Seq::MAX].map(|seq| (seq, find::Search::new(reader, seq))).into();
    let mut looked_at = 0;
    let _ = find::names(reader, find::Names::From(b""), &mut |name, dir| {
        for (seq, search) in &mut searches {
            if let Ok(Some(sighting)) = search.last_seen(dir, name) {
                assert!(sighting.last <= *seq, "seen after the time that was asked for");
            }
        }
        looked_at += 1;
        Ok::<bool, crate::error::Error>(looked_at < LOOKED_AT_MAX)
    });
}

fn look_at(view: &View<'_>, node: NodeId) {
    let _ = (view.path_of(node), view.bindings_of(node));
    let Ok(Some(at)) = view.version(node) else { return };
    let Ok(extents) = view.extents(&at.version) else { return };
    for extent in extents.iter().take(LOOKED_AT_MAX) {
        if let Extent::Block { id, .. } = extent
            && let Ok(block) = view.block(*id)
        {
            assert_eq!(KEY.id(&block).short(), *id, "wrong bytes");
        }
    }
}

#[test]
fn journals_with_right_checksums_and_wrong_contents() {
    let tmp = scratch();
    let made = |random: &mut Random| {
        let records = valid(random);
        lay_out(tmp.path(), &records);
        match Reader::open(tmp.path()) {
            Ok(reader) => assert_eq!(reader.report().damage, [], "a journal without damage"),
            Err(error) => panic!("{error}"),
        }
        records
    };
    let check = |records: &[u8]| {
        lay_out(tmp.path(), records);
        let Ok(reader) = Reader::open(tmp.path()) else { return false };
        read_everything(&reader);
        reader.head() > Seq::ZERO && reader.report().damage.is_empty()
    };
    let memory = Memory { fixed: 4 << 20, per_byte: 1000 };
    Target { memory, ..target("journal", &made, &check) }.run();
}

/// One segment in which any byte may be wrong, the checksums of its headers right again.
#[test]
fn segments_with_any_byte_wrong() {
    let tmp = scratch();
    let path = Layout::new(tmp.path()).segment(SegmentId(1));
    let made = |random: &mut Random| {
        let mut records = valid(random);
        // One segment is enough here.
        while Assembly::of(&records).segments.len() > 1 {
            records = valid(random);
        }
        Assembly::of(&records).segments.concat()
    };
    let mend = |bytes: &mut Vec<u8>| {
        super::formats::mend_segment_header(bytes);
        let mut at = 0;
        while let Some(found) =
            bytes.get(at..).and_then(|rest| rest.windows(4).position(|w| w == frame::MAGIC))
        {
            at += found;
            super::formats::mend_frame_header(&mut bytes[at..], SALT);
            at += HEADER_LEN.min(bytes.len() - at);
        }
    };
    let check = |bytes: &[u8]| {
        lay_out(tmp.path(), &[]);
        if let Err(error) = fs::write(&path, bytes) {
            panic!("{}: {error}", path.display());
        }
        let Ok(reader) = Reader::open(tmp.path()) else { return false };
        read_everything(&reader);
        reader.head() > Seq::ZERO && reader.report().damage.is_empty()
    };
    let memory = Memory { fixed: 4 << 20, per_byte: 1000 };
    Target { memory, mend: &mend, ..target("segment", &made, &check) }.run();
}

/// The number of a clock epoch was counted up to, which for a great one takes for ever.
#[test]
fn a_great_epoch_is_not_counted_up_to() {
    let tmp = scratch();
    let mut records = Vec::new();
    let group = crate::types::Group { ops: vec![values::op(&mut Random::new(1))], hinted: None, read: None };
    for (n, epoch) in [3, u32::MAX - 1, u32::MAX].into_iter().enumerate() {
        let assembly = Assembly::of(&records);
        let wall = Instant(1000 + n as i64);
        let batch = Batch {
            first_seq: Seq(1 + n as u64),
            clock: ClockReading { wall, boottime_ns: 0, boot_id: [1; 16] },
            epoch,
            complete_through: None,
            durable: assembly.accepted.end,
            chain_start: assembly.accepted.chain,
            chain_before: assembly.chain,
            next_node: NodeId(9),
            blocks: Vec::new(),
            groups: vec![group.clone()],
            left: None,
        };
        record(&mut records, BATCH, &batch.encode());
    }
    lay_out(tmp.path(), &records);
    let found = Reader::open(tmp.path()).and_then(|reader| reader.at_instant(Instant(1001)));
    match found {
        Ok(Some(resolved)) => {
            assert_eq!((resolved.moment.seq, resolved.moment.epoch), (Seq(2), u32::MAX - 1));
        }
        other => panic!("{other:?}"),
    }
}

//! A long history written straight into segments, as fast as the disk takes it: a journal to measure on.
//!
//! Everything is encoded by the library and holds (checksums, chain, ids, footers), but there is no index, no sync and no
//! agent. The first capture of every tenth version's file, then edits all over the tree, as a workstation makes them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::blocks::pack_table;
use asof_journal::content::hash::IdKey;
use asof_journal::format::batch::{Batch, BlockFrame};
use asof_journal::format::frame::{self, Chain, Encoding, FrameType};
use asof_journal::format::segment::{Footer, Predecessor, SegmentHeader, encode_trailer};
use asof_journal::manifest::Manifest;
use asof_journal::storage::{Layout, OsStorage};
use asof_journal::types::{
    BlockId, ClockReading, Content, Extent, FullId, Group, Identity, Instant, Kind, Metadata, NodeId, Op,
    Position, Quality, SegmentId, Seq, Version,
};

use crate::must::Must;
use crate::random::Random;

/// Versions of a file, the first one included.
const VERSIONS_EACH: u64 = 10;
/// Files of a directory.
const FILES_EACH: u64 = 50;
/// Groups of a batch while everything is captured for the first time, and later.
const CAPTURED_AT_ONCE: u64 = 1000;
const EDITED_AT_ONCE: u64 = 64;
/// Blocks of a pack.
const PACKED: usize = 64;
/// Nanoseconds from one batch to the next, if nobody wants it otherwise.
const BETWEEN_NS: i64 = 10_000_000;

/// A journal that is being written.
pub struct Bulk {
    layout: Layout,
    journal: [u8; 16],
    key: IdKey,
    random: Random,
    segment: Option<Open>,
    tail: Predecessor,
    next_segment: SegmentId,
    next_seq: Seq,
    wall: i64,
    between_ns: i64,
    /// Files that there are; their nodes follow those of the directories.
    files: u64,
    dirs: u64,
    /// Versions written so far.
    pub versions: u64,
}

struct Open {
    id: SegmentId,
    file: BufWriter<File>,
    salt: u32,
    end: u64,
    chain: Chain,
    hasher: blake3::Hasher,
    frames: Vec<(u8, u64)>,
    ops: u64,
    first: (Seq, Instant),
    last: (Seq, Instant),
}

impl Bulk {
    /// Makes a journal that will have about so many versions, ten of a file.
    pub fn create(dir: &Path, versions: u64) -> Bulk {
        Bulk::with_files(dir, (versions / VERSIONS_EACH).max(1))
    }

    /// Makes a journal of so many files.
    pub fn with_files(dir: &Path, files: u64) -> Bulk {
        let layout = Layout::new(dir);
        fs::create_dir_all(dir).must(dir.display());
        let wall = 1_700_000_000_000_000_000;
        let clock = ClockReading { wall: Instant(wall), boottime_ns: 1, boot_id: [1; 16] };
        let manifest = Manifest::create(&OsStorage, &layout, &clock).must("a journal");
        let tail = Predecessor { end: Position::default(), chain: Chain::default() };
        Bulk {
            layout,
            journal: *manifest.uuid.as_bytes(),
            key: manifest.id_key,
            random: Random::new(1),
            segment: None,
            tail,
            next_segment: SegmentId(1),
            next_seq: Seq(1),
            wall,
            between_ns: BETWEEN_NS,
            files,
            dirs: files.div_ceil(FILES_EACH),
            versions: 0,
        }
    }

    /// Lets so many versions take so many days.
    pub fn pace(&mut self, versions: u64, days: u64) {
        let batches = (versions / EDITED_AT_ONCE).max(1);
        self.between_ns = i64::try_from(days * 86_400_000_000_000 / batches).must("a pace");
    }

    /// Writes the first capture, then edits until there are so many versions.
    pub fn fill(&mut self, versions: u64) {
        let binds: Vec<Group> = (1..=self.dirs).map(|dir| self.directory(dir)).collect();
        for groups in binds.chunks(CAPTURED_AT_ONCE as usize) {
            self.commit(Vec::new(), groups.to_vec());
        }
        for start in (0..self.files).step_by(CAPTURED_AT_ONCE as usize) {
            self.batch((start..self.files.min(start + CAPTURED_AT_ONCE)).map(|file| (file, true)));
        }
        while self.versions < versions {
            self.edit(EDITED_AT_ONCE.min(versions - self.versions));
        }
    }

    /// Writes a batch of edits of files all over the tree.
    pub fn edit(&mut self, versions: u64) {
        let files: Vec<u64> = (0..versions).map(|_| self.random.below(self.files)).collect();
        self.batch(files.into_iter().map(|file| (file, false)));
    }

    /// Bytes of the segment that is open.
    pub fn open_bytes(&self) -> u64 {
        self.segment.as_ref().map_or(0, |segment| segment.end)
    }

    /// The `Seq` of the newest group.
    pub fn newest_seq(&self) -> Seq {
        self.next_seq.previous()
    }

    /// A directory as the journal names it.
    pub fn directory_name(dir: u64) -> String {
        format!("/d{dir}")
    }

    /// A file as the journal names it.
    pub fn file_name(file: u64) -> String {
        format!("{}/file{file}.c", Bulk::directory_name(1 + file / FILES_EACH))
    }

    /// Makes everything written so far readable for others.
    pub fn flush(&mut self) {
        if let Some(segment) = &mut self.segment {
            segment.file.flush().must("a segment");
        }
    }

    fn directory(&mut self, dir: u64) -> Group {
        let (node, name) = (NodeId(dir), Bulk::directory_name(dir)[1..].into());
        let bind = Op::Bind { dir: NodeId::ROOT, name, node, kind: Kind::Dir, succeeds: None };
        Group { ops: vec![bind, self.version(node, Kind::Dir, Content::None, 4096)], ..Group::default() }
    }

    fn version(&mut self, node: NodeId, kind: Kind, content: Content, size: u64) -> Op {
        let time = Instant(self.wall - self.random.below(1_000_000_000) as i64);
        let meta = Metadata {
            kind,
            mode: 0o644,
            uid: 1000,
            gid: 1000,
            mtime: time,
            ctime: time,
            size,
            ino: 5_000_000 + node.0,
            rdev: 0,
            xattrs: Vec::new(),
        };
        Op::Version { node, version: Version { meta, content, quality: Quality::Clean, racy: false } }
    }

    /// One batch of versions: of each file, and whether it is its first.
    fn batch(&mut self, files: impl Iterator<Item = (u64, bool)>) {
        let (mut frames, mut packed): (Vec<Piece>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        let mut groups = Vec::new();
        for (file, is_first) in files {
            let node = NodeId(self.dirs + 1 + file);
            let form = self.random.below(8);
            let len = 100 + self.random.below(200) as usize;
            let plain = self.random.bytes(len);
            let id = self.key.id(&plain);
            let content = match form {
                // A quarter is so small that it stands in the version.
                0 | 1 => Content::Inline(plain),
                form => {
                    let block = Extent::Block { id: id.short(), len: len as u32 };
                    // A first version lies in a pack with its neighbours; what replaces one has a frame of its own.
                    if is_first || form == 2 {
                        packed.push(plain);
                    } else {
                        frames.push(Piece { members: vec![(id, len as u32)], plain, pack: false });
                    }
                    Content::Extents(vec![block])
                }
            };
            let version = self.version(node, Kind::File, content, len as u64);
            let mut ops = Vec::with_capacity(3);
            if is_first {
                let dir = NodeId(1 + file / FILES_EACH);
                let name = format!("file{file}.c").into_bytes();
                ops.push(Op::Bind { dir, name, node, kind: Kind::File, succeeds: None });
                let handle = [&1u32.to_le_bytes()[..], &node.0.to_le_bytes()].concat();
                ops.push(Op::Identify { node, identity: Identity { filesystem: vec![1; 17], handle } });
            }
            ops.push(version);
            let read = Some(Instant(self.wall));
            groups.push(Group { ops, hinted: read, read });
            self.versions += 1;
        }
        for blocks in packed.chunks(PACKED) {
            let members = blocks.iter().map(|plain| (self.key.id(plain), plain.len() as u32)).collect();
            frames.push(Piece { members, plain: blocks.concat(), pack: true });
        }
        self.commit(frames, groups);
    }

    fn commit(&mut self, frames: Vec<Piece>, groups: Vec<Group>) {
        self.wall += self.between_ns;
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.begin(),
        };
        let (chain_start, mut chain) = (segment.chain, segment.chain);
        let mut bytes = Vec::with_capacity(64 << 10);
        let mut blocks = Vec::with_capacity(frames.len());
        for content in frames {
            let frame_type = if content.pack { FrameType::Pack } else { FrameType::Block };
            let body = content.body();
            let start = bytes.len() as u64;
            let raw_len = content.plain.len() as u32;
            let header = frame::append(&mut bytes, frame_type, Encoding::Raw, raw_len, &body, segment.salt);
            chain = chain.after(&header);
            segment.frames.push((frame_type as u8, bytes.len() as u64 - start));
            blocks.push(BlockFrame {
                offset: segment.end + start,
                stored_len: body.len() as u32,
                encoding: Encoding::Raw,
                base: None,
                pack: content.pack,
                members: content
                    .members
                    .iter()
                    .map(|(id, len)| (id.short(), *len))
                    .collect::<Vec<(BlockId, u32)>>(),
            });
        }
        let boottime_ns = (self.wall - 1_600_000_000_000_000_000) as u64;
        let batch = Batch {
            first_seq: self.next_seq,
            clock: ClockReading { wall: Instant(self.wall), boottime_ns, boot_id: [1; 16] },
            epoch: 1,
            complete_through: None,
            durable: self.tail.end,
            chain_start,
            chain_before: chain,
            next_node: NodeId(self.dirs + self.files + 1),
            blocks,
            groups,
            left: None,
        };
        let plain = batch.encode();
        let packed = zstd::bulk::compress(&plain, 3).must("zstd");
        let (encoding, body) =
            if packed.len() < plain.len() { (Encoding::Zstd, &packed) } else { (Encoding::Raw, &plain) };
        let start = bytes.len() as u64;
        let header =
            frame::append(&mut bytes, FrameType::Batch, encoding, plain.len() as u32, body, segment.salt);
        segment.frames.push((FrameType::Batch as u8, bytes.len() as u64 - start));
        segment.file.write_all(&bytes).must("a segment");
        segment.hasher.update(&bytes);
        segment.end += bytes.len() as u64;
        segment.chain = chain.after(&header);
        segment.ops += batch.groups.iter().map(|group| group.ops.len() as u64).sum::<u64>();
        segment.last = (batch.last_seq(), batch.clock.wall);
        if segment.first.0 == Seq::ZERO {
            segment.first = (batch.first_seq, batch.clock.wall);
        }
        let end = Position { segment: segment.id, offset: segment.end };
        self.tail = Predecessor { end, chain: segment.chain };
        self.next_seq = batch.last_seq().next();
        if segment.end >= Limits::default().segment_bytes_max {
            self.seal(segment);
        } else {
            self.segment = Some(segment);
        }
    }

    fn begin(&mut self) -> Open {
        let id = self.next_segment;
        self.next_segment = SegmentId(id.0 + 1);
        let header = SegmentHeader {
            journal: self.journal,
            id,
            salt: self.random.bits() as u32,
            created: Instant(self.wall),
            first_seq: self.next_seq,
            compacted: None,
            supersedes: Vec::new(),
            predecessor: (self.tail.end.segment != SegmentId(0)).then_some(self.tail),
            durable: self.tail.end,
        };
        let bytes = header.encode();
        let path = self.layout.open_segment(id);
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(&path).must(path.display()));
        file.write_all(&bytes).must(path.display());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        let none = (Seq::ZERO, Instant(0));
        Open {
            id,
            file,
            salt: header.salt,
            end: bytes.len() as u64,
            chain: self.tail.chain,
            hasher,
            frames: Vec::new(),
            ops: 0,
            first: none,
            last: none,
        }
    }

    fn seal(&mut self, mut segment: Open) {
        let footer = Footer {
            frames: std::mem::take(&mut segment.frames),
            seqs: Some((segment.first.0, segment.last.0)),
            walls: Some((segment.first.1, segment.last.1)),
            ops: segment.ops,
            chain: segment.chain,
            hash: *segment.hasher.finalize().as_bytes(),
        };
        let plain = footer.encode();
        let body = zstd::bulk::compress(&plain, 3).must("zstd");
        let mut bytes = Vec::new();
        frame::append(&mut bytes, FrameType::Footer, Encoding::Zstd, plain.len() as u32, &body, segment.salt);
        bytes.extend_from_slice(&encode_trailer(segment.end));
        segment.file.write_all(&bytes).and_then(|()| segment.file.flush()).must("a segment");
        let (from, to) = (self.layout.open_segment(segment.id), self.layout.segment(segment.id));
        fs::rename(&from, &to).must(to.display());
    }
}

/// Content on its way into a frame.
struct Piece {
    members: Vec<(FullId, u32)>,
    plain: Vec<u8>,
    pack: bool,
}

impl Piece {
    fn body(&self) -> Vec<u8> {
        match (self.pack, self.members.first()) {
            (false, Some((id, _))) => [&id.0[..], &self.plain].concat(),
            _ => [pack_table(&self.members), self.plain.clone()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use asof_journal::reader::Reader;

    use super::*;

    #[test]
    fn what_is_written_in_bulk_is_a_journal_without_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut bulk = Bulk::create(dir.path(), 5000);
        bulk.fill(5000);
        bulk.flush();
        let reader = Reader::open(dir.path()).unwrap();
        assert_eq!(reader.report().damage, []);
        assert_eq!(reader.report().tail.torn_bytes, 0);
        let view = reader.view(reader.head());
        for file in [0, 77, 499] {
            let entry = view.resolve(Bulk::file_name(file).as_bytes()).unwrap().unwrap();
            let at = view.version(entry.node).unwrap().unwrap();
            for extent in view.extents(&at.version).unwrap() {
                let Extent::Block { id, len } = extent else { panic!("{extent:?}") };
                assert_eq!(view.block(id).unwrap().len(), len as usize);
            }
        }
        assert_eq!(view.list(NodeId(1)).unwrap().len(), 50);
    }
}

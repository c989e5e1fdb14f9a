//! A tree in memory in the place of a journal, with faults on demand.

use asof_journal::blocks::Block;
use std::collections::{BTreeMap, HashMap, HashSet};

use asof_journal::reader::Around;
use asof_journal::types::{
    BlockId, Content, Extent, Gap, Instant, Kind, Metadata, NodeId, Position, Quality, Seq, Version,
};
use asof_journal::view::{Entry, VersionAt};
use asof_journal::{Error, Result};

use super::Source;

/// Files up to this size are inline, as in the journal.
const INLINE_MAX: usize = 512;

/// A tree and its blocks.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    entries: BTreeMap<(u64, Vec<u8>), (NodeId, Kind)>,
    versions: HashMap<NodeId, VersionAt>,
    /// The clean version before, of the nodes that have one.
    cleans: HashMap<NodeId, VersionAt>,
    blocks: HashMap<BlockId, Block>,
    damaged: HashSet<BlockId>,
    /// Whether some of it is not kept.
    pub(crate) is_thinned: bool,
    next_node: u64,
    next_seq: u64,
    next_block: u64,
}

impl Memory {
    /// An empty `/`.
    pub(crate) fn new() -> Memory {
        Memory { next_node: 1, ..Memory::default() }
    }

    fn split(path: &str) -> (&str, &str) {
        let (dir, name) = path.rsplit_once('/').unwrap();
        (if dir.is_empty() { "/" } else { dir }, name)
    }

    fn dir_id(&mut self, path: &str) -> NodeId {
        if path == "/" {
            return NodeId::ROOT;
        }
        match self.resolve(path.as_bytes()).unwrap() {
            Some(entry) => entry.node,
            None => self.add(path, Kind::Dir, Content::None, 0),
        }
    }

    fn add(&mut self, path: &str, kind: Kind, content: Content, size: u64) -> NodeId {
        let (dir, name) = Self::split(path);
        let dir = self.dir_id(dir);
        let node = NodeId(self.next_node);
        self.next_node += 1;
        self.entries.insert((dir.0, name.as_bytes().to_vec()), (node, kind));
        let mode = match kind {
            Kind::Dir => 0o755,
            Kind::Symlink => 0o777,
            _ => 0o644,
        };
        let meta = Metadata {
            kind,
            mode,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            mtime: Instant(1_600_000_000_123_456_789),
            ctime: Instant(0),
            size,
            ino: 0,
            rdev: 0,
            xattrs: Vec::new(),
        };
        self.set(node, Version { meta, content, quality: Quality::Clean, racy: false });
        node
    }

    fn set(&mut self, node: NodeId, version: Version) {
        self.next_seq += 1;
        self.versions.insert(node, VersionAt { seq: Seq(self.next_seq), version });
    }

    fn content(&mut self, bytes: &[u8]) -> Content {
        if bytes.len() <= INLINE_MAX {
            return Content::Inline(bytes.to_vec());
        }
        Content::Extents(bytes.chunks(256 * 1024).map(|piece| self.block_of(piece)).collect())
    }

    /// Stores a block and gives the extent that names it.
    pub(crate) fn block_of(&mut self, bytes: &[u8]) -> Extent {
        self.next_block += 1;
        let id = BlockId(u128::from(self.next_block).to_be_bytes());
        self.blocks.insert(id, Block::plain(bytes.to_vec()));
        Extent::Block { id, len: u32::try_from(bytes.len()).unwrap() }
    }

    /// A directory, with those above it.
    pub(crate) fn dir(&mut self, path: &str) {
        self.dir_id(path);
    }

    /// So many directories below each other.
    pub(crate) fn dig(&mut self, path: &str, depth: usize) {
        let mut dir = self.dir_id(path);
        let like = self.versions[&dir].version.clone();
        for _ in 0..depth {
            let node = NodeId(self.next_node);
            self.next_node += 1;
            self.entries.insert((dir.0, b"d".to_vec()), (node, Kind::Dir));
            self.set(node, like.clone());
            dir = node;
        }
    }

    /// A new node with these bytes.
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) {
        let content = self.content(bytes);
        self.add(path, Kind::File, content, bytes.len() as u64);
    }

    /// A new node with these extents.
    pub(crate) fn extents_file(&mut self, path: &str, extents: Vec<Extent>) {
        let size = extents.iter().map(Extent::len).sum();
        self.add(path, Kind::File, Content::Extents(extents), size);
    }

    /// New bytes for an existing node.
    pub(crate) fn write(&mut self, path: &str, bytes: &[u8]) {
        let content = self.content(bytes);
        self.edit(path, |version| {
            version.content = content;
            version.meta.size = bytes.len() as u64;
        });
    }

    /// A symlink.
    pub(crate) fn symlink(&mut self, path: &str, target: &[u8]) {
        self.add(path, Kind::Symlink, Content::Inline(target.to_vec()), target.len() as u64);
    }

    /// A fifo, socket or device.
    pub(crate) fn special(&mut self, path: &str, kind: Kind) {
        self.add(path, kind, Content::None, 0);
    }

    /// A further name.
    pub(crate) fn link(&mut self, existing: &str, path: &str) {
        let entry = self.resolve(existing.as_bytes()).unwrap().unwrap();
        let (dir, name) = Self::split(path);
        let dir = self.dir_id(dir);
        self.entries.insert((dir.0, name.as_bytes().to_vec()), (entry.node, entry.kind));
    }

    /// An entry with whatever name, also one that is none.
    pub(crate) fn hostile(&mut self, dir: &str, name: &[u8], entry_of: &str) {
        let entry = self.resolve(entry_of.as_bytes()).unwrap().unwrap();
        let dir = self.dir_id(dir);
        self.entries.insert((dir.0, name.to_vec()), (entry.node, entry.kind));
    }

    /// Takes a name away.
    pub(crate) fn remove(&mut self, path: &str) {
        let (dir, name) = Self::split(path);
        let dir = self.dir_id(dir);
        self.entries.remove(&(dir.0, name.as_bytes().to_vec())).unwrap();
    }

    /// Gives a node another name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        self.link(from, to);
        self.remove(from);
    }

    /// A new version of a node.
    pub(crate) fn edit(&mut self, path: &str, change: impl FnOnce(&mut Version)) {
        let node = self.resolve(path.as_bytes()).unwrap().unwrap().node;
        let mut version = self.versions[&node].version.clone();
        change(&mut version);
        // A number that no other history of the same node has.
        self.next_seq += 1000;
        self.set(node, version);
    }

    /// Makes a file one of that quality and with that content, and what it was until now the last clean version.
    pub(crate) fn spoil(&mut self, path: &str, quality: Quality, content: Content) {
        let node = self.resolve(path.as_bytes()).unwrap().unwrap().node;
        self.cleans.insert(node, self.versions[&node].clone());
        self.edit(path, |version| (version.quality, version.content) = (quality, content));
    }

    /// Forgets what a node is.
    pub(crate) fn forget(&mut self, path: &str) {
        let node = self.resolve(path.as_bytes()).unwrap().unwrap().node;
        self.versions.remove(&node);
    }

    /// Damages every block of a file.
    pub(crate) fn damage(&mut self, path: &str) {
        let node = self.resolve(path.as_bytes()).unwrap().unwrap().node;
        let Content::Extents(extents) = &self.versions[&node].version.content else { panic!("no blocks") };
        for extent in extents {
            if let Extent::Block { id, .. } = extent {
                self.damaged.insert(*id);
            }
        }
    }
}

impl Source for Memory {
    fn around(&self) -> Result<Option<Around>> {
        Ok(self.is_thinned.then_some(Around { before: None, after: None }))
    }

    fn resolve(&self, path: &[u8]) -> Result<Option<Entry>> {
        let root = NodeId::ROOT;
        let mut here = Entry { dir: root, name: Vec::new(), node: root, kind: Kind::Dir, since: Seq(1) };
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            let Some(next) = self.lookup(here.node, name)? else {
                return Ok(None);
            };
            here = next;
        }
        Ok(Some(here))
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<Entry>> {
        let found = self.entries.get(&(dir.0, name.to_vec()));
        Ok(found.map(|&(node, kind)| Entry { dir, name: name.to_vec(), node, kind, since: Seq(1) }))
    }

    fn list(&self, dir: NodeId) -> Result<Vec<Entry>> {
        let range = self.entries.range((dir.0, Vec::new())..(dir.0 + 1, Vec::new()));
        Ok(range
            .map(|((_, name), &(node, kind))| Entry { dir, name: name.clone(), node, kind, since: Seq(1) })
            .collect())
    }

    fn list_deleted(&self, _: NodeId) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn version(&self, node: NodeId) -> Result<Option<VersionAt>> {
        Ok(self.versions.get(&node).cloned())
    }

    fn last_clean(&self, node: NodeId) -> Result<Option<VersionAt>> {
        let now = self.versions.get(&node).filter(|at| at.version.quality == Quality::Clean);
        Ok(now.or(self.cleans.get(&node)).cloned())
    }

    fn instant_of(&self, seq: Seq) -> Result<Option<Instant>> {
        Ok(Some(Instant(seq.0 as i64)))
    }

    fn path_of(&self, _: NodeId) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn live_path(&self, _: NodeId) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn id_of(&self, _: &[u8]) -> Option<BlockId> {
        None
    }

    fn gaps(&self, _: &[u8]) -> Result<Vec<Gap>> {
        Ok(Vec::new())
    }

    fn extents(&self, version: &Version) -> Result<Vec<Extent>> {
        match &version.content {
            Content::Extents(extents) => Ok(extents.clone()),
            _ => Ok(Vec::new()),
        }
    }

    fn block(&self, id: BlockId) -> Result<Block> {
        if self.damaged.contains(&id) {
            return Err(Error::DamagedBlock {
                id,
                position: Position::default(),
                what: "a test says so".into(),
            });
        }
        self.blocks.get(&id).cloned().ok_or(Error::MissingBlock { id })
    }

    fn locality(&self, id: BlockId) -> Result<Option<(u64, u64)>> {
        Ok(Some((1, u128::from_be_bytes(id.0) as u64)))
    }
}

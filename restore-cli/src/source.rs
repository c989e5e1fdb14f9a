//! What the verbs ask of the journal at one instant, as a seam.
//!
//! [`AtSeq`] is the journal; tests put a tree in memory in its place. Adds nothing to the answers.

#[cfg(test)]
pub(crate) mod memory;

use asof_journal::Result;
use asof_journal::blocks::Block;
use asof_journal::reader::{Moment, Reader};
use asof_journal::types::{BlockId, Extent, Gap, NodeId, Version};
use asof_journal::view::{Entry, VersionAt, View};

/// A tree as of one instant, and the blocks behind it. Several threads ask at once.
pub(crate) trait Source: Sync {
    /// The entry at an absolute path, with no symlink followed.
    fn resolve(&self, path: &[u8]) -> Result<Option<Entry>>;
    /// The entry of that name in a directory.
    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<Entry>>;
    /// The entries of a directory in byte order of their names.
    fn list(&self, dir: NodeId) -> Result<Vec<Entry>>;
    /// The names that the directory once had and has no longer.
    fn list_deleted(&self, dir: NodeId) -> Result<Vec<Entry>>;
    /// What the node is.
    fn version(&self, node: NodeId) -> Result<Option<VersionAt>>;
    /// An absolute path that the node has.
    fn path_of(&self, node: NodeId) -> Result<Option<Vec<u8>>>;
    /// The gaps that concern the path and contain the instant.
    fn gaps(&self, path: &[u8]) -> Result<Vec<Gap>>;
    /// The extents of a version flattened, in file order.
    fn extents(&self, version: &Version) -> Result<Vec<Extent>>;
    /// The plain bytes of a block, checked against its id.
    fn block(&self, id: BlockId) -> Result<Block>;
    /// A key that sorts blocks by where they lie.
    fn locality(&self, id: BlockId) -> Result<Option<(u64, u64)>>;
}

/// The journal as of one `Seq`.
#[derive(Clone, Copy)]
pub(crate) struct AtSeq<'r> {
    reader: &'r Reader,
    view: View<'r>,
}

impl<'r> AtSeq<'r> {
    /// The journal as of a moment.
    pub(crate) fn new(reader: &'r Reader, moment: &Moment) -> AtSeq<'r> {
        AtSeq { reader, view: reader.view_at(moment) }
    }
}

impl Source for AtSeq<'_> {
    fn resolve(&self, path: &[u8]) -> Result<Option<Entry>> {
        self.view.resolve(path)
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<Entry>> {
        self.view.lookup(dir, name)
    }

    fn list(&self, dir: NodeId) -> Result<Vec<Entry>> {
        self.view.list(dir)
    }

    fn list_deleted(&self, dir: NodeId) -> Result<Vec<Entry>> {
        self.view.list_deleted(dir)
    }

    fn version(&self, node: NodeId) -> Result<Option<VersionAt>> {
        self.view.version(node)
    }

    fn path_of(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        self.view.path_of(node)
    }

    fn gaps(&self, path: &[u8]) -> Result<Vec<Gap>> {
        self.view.gaps(path)
    }

    fn extents(&self, version: &Version) -> Result<Vec<Extent>> {
        self.view.extents(version)
    }

    fn block(&self, id: BlockId) -> Result<Block> {
        self.reader.block(id)
    }

    fn locality(&self, id: BlockId) -> Result<Option<(u64, u64)>> {
        self.reader.locality(id)
    }
}

//! What the verbs ask of the journal at one instant, as a seam.
//!
//! [`AtSeq`] is the journal; tests put a tree in memory in its place. Adds nothing to the answers.

mod clean;
#[cfg(test)]
pub(crate) mod memory;

use asof_journal::Result;
use asof_journal::blocks::Block;
use asof_journal::quality;
use asof_journal::reader::{Around, Moment, Reader};
use asof_journal::types::{BlockId, Extent, Gap, Instant, NodeId, Quality, Seq, Version};
use asof_journal::view::{Entry, VersionAt, View};

pub(crate) use clean::CleanFirst;

/// The version of a node that is taken, and how it was chosen.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    /// The version.
    pub(crate) at: VersionAt,
    /// Why this one.
    pub(crate) choice: Choice,
}

/// How a version was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It is what the node was.
    AsItWas,
    /// It is older and clean; what the node was is this.
    Older(&'static str),
    /// A clean one was asked for, and there is none.
    NoneClean,
}

/// A tree as of one instant, and the blocks behind it. Several threads ask at once.
pub(crate) trait Source: Sync {
    /// The entry at an absolute path, with no symlink followed.
    fn resolve(&self, path: &[u8]) -> Result<Option<Entry>>;
    /// The entry of that name in a directory.
    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<Entry>>;
    /// The entries of a directory in byte order of their names.
    fn list(&self, dir: NodeId) -> Result<Vec<Entry>>;
    /// The same, and the names of which it is not known any more what they stood for.
    fn list_with_thinned(&self, dir: NodeId) -> Result<(Vec<Entry>, Vec<Vec<u8>>)> {
        Ok((self.list(dir)?, Vec::new()))
    }
    /// The names that the directory once had and has no longer.
    fn list_deleted(&self, dir: NodeId) -> Result<Vec<Entry>>;
    /// What the node is, with the quality that is known of it by now.
    fn version(&self, node: NodeId) -> Result<Option<VersionAt>>;
    /// The version that is to be taken of the node, and why.
    fn picked(&self, node: NodeId) -> Result<Option<Picked>> {
        Ok(self.version(node)?.map(|at| Picked { at, choice: Choice::AsItWas }))
    }
    /// The newest clean version of the node up to the instant, or of what it continues.
    fn last_clean(&self, node: NodeId) -> Result<Option<VersionAt>>;
    /// When a `Seq` was committed.
    fn instant_of(&self, seq: Seq) -> Result<Option<Instant>>;
    /// The nearest moments of which everything is kept, where that is not so of this one: then a name that is not there may
    /// have been.
    fn around(&self) -> Result<Option<Around>> {
        Ok(None)
    }
    /// An absolute path that the node has.
    fn path_of(&self, node: NodeId) -> Result<Option<Vec<u8>>>;
    /// An absolute path that the node has now, as far as the journal knows.
    fn live_path(&self, node: NodeId) -> Result<Option<Vec<u8>>>;
    /// The id that a block with these bytes has; `None` where ids do not come from bytes.
    fn id_of(&self, plain: &[u8]) -> Option<BlockId>;
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

    fn list_with_thinned(&self, dir: NodeId) -> Result<(Vec<Entry>, Vec<Vec<u8>>)> {
        self.view.list_with_thinned(dir)
    }

    fn around(&self) -> Result<Option<Around>> {
        self.reader.thinned_around(self.view.seq())
    }

    fn list_deleted(&self, dir: NodeId) -> Result<Vec<Entry>> {
        self.view.list_deleted(dir)
    }

    fn version(&self, node: NodeId) -> Result<Option<VersionAt>> {
        let Some(mut at) = self.view.version(node)? else { return Ok(None) };
        if at.version.quality != Quality::Clean {
            at.version.quality = quality::by_now(self.reader, node, &at)?;
        }
        Ok(Some(at))
    }

    fn last_clean(&self, node: NodeId) -> Result<Option<VersionAt>> {
        quality::last_clean(self.reader, node, self.view.seq())
    }

    fn instant_of(&self, seq: Seq) -> Result<Option<Instant>> {
        Ok(self.reader.at_seq(seq)?.map(|moment| moment.instant))
    }

    fn path_of(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        self.view.path_of(node)
    }

    fn live_path(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        self.reader.view(self.reader.head()).path_of(node)
    }

    fn id_of(&self, plain: &[u8]) -> Option<BlockId> {
        Some(self.reader.id_of(plain))
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

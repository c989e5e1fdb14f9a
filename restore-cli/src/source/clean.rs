//! A tree in which every file is as it last was whole: `restore --prefer clean`.
//!
//! Owns the choice between a version that cannot be trusted and an older one that can. Changes nothing else.

use asof_journal::Result;
use asof_journal::blocks::Block;
use asof_journal::quality;
use asof_journal::reader::Around;
use asof_journal::types::{BlockId, Extent, Gap, Instant, Kind, NodeId, Quality, Seq, Version};
use asof_journal::view::{Entry, VersionAt};

use super::{Choice, Picked, Source};

/// Another source, with clean versions where it has any.
pub(crate) struct CleanFirst<'s>(pub(crate) &'s dyn Source);

impl Source for CleanFirst<'_> {
    fn resolve(&self, path: &[u8]) -> Result<Option<Entry>> {
        self.0.resolve(path)
    }

    fn lookup(&self, dir: NodeId, name: &[u8]) -> Result<Option<Entry>> {
        self.0.lookup(dir, name)
    }

    fn list(&self, dir: NodeId) -> Result<Vec<Entry>> {
        self.0.list(dir)
    }

    fn list_with_thinned(&self, dir: NodeId) -> Result<(Vec<Entry>, Vec<Vec<u8>>)> {
        self.0.list_with_thinned(dir)
    }

    fn around(&self) -> Result<Option<Around>> {
        self.0.around()
    }

    fn list_deleted(&self, dir: NodeId) -> Result<Vec<Entry>> {
        self.0.list_deleted(dir)
    }

    fn version(&self, node: NodeId) -> Result<Option<VersionAt>> {
        Ok(self.picked(node)?.map(|picked| picked.at))
    }

    fn picked(&self, node: NodeId) -> Result<Option<Picked>> {
        let Some(at) = self.0.version(node)? else { return Ok(None) };
        let unread = quality::is_unread(&at.version);
        if at.version.meta.kind != Kind::File || (at.version.quality == Quality::Clean && !unread) {
            return Ok(Some(Picked { at, choice: Choice::AsItWas }));
        }
        Ok(Some(match self.0.last_clean(node)? {
            Some(older) => Picked { at: older, choice: Choice::Older(quality::word(&at.version)) },
            None => Picked { at, choice: Choice::NoneClean },
        }))
    }

    fn last_clean(&self, node: NodeId) -> Result<Option<VersionAt>> {
        self.0.last_clean(node)
    }

    fn instant_of(&self, seq: Seq) -> Result<Option<Instant>> {
        self.0.instant_of(seq)
    }

    fn path_of(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        self.0.path_of(node)
    }

    fn live_path(&self, node: NodeId) -> Result<Option<Vec<u8>>> {
        self.0.live_path(node)
    }

    fn id_of(&self, plain: &[u8]) -> Option<BlockId> {
        self.0.id_of(plain)
    }

    fn gaps(&self, path: &[u8]) -> Result<Vec<Gap>> {
        self.0.gaps(path)
    }

    fn extents(&self, version: &Version) -> Result<Vec<Extent>> {
        self.0.extents(version)
    }

    fn block(&self, id: BlockId) -> Result<Block> {
        self.0.block(id)
    }

    fn locality(&self, id: BlockId) -> Result<Option<(u64, u64)>> {
        self.0.locality(id)
    }
}

//! What readers and the writer share: the index with its overlay, and the blocks that it points at.

use std::path::PathBuf;
use std::sync::Arc;

use crate::blocks::{Block, BlockReader, Locate};
use crate::content::hash::IdKey;
use crate::error::{Error, Result};
use crate::format::wire::Malformed;
use crate::index::Cf;
use crate::index::keys::Located;
use crate::index::store::Store;
use crate::storage::{Layout, Storage};
use crate::types::{BlockId, FullId, SegmentId, Seq};
use crate::view::View;

/// The index and the blocks of one journal.
pub struct Records {
    /// The index.
    pub(crate) store: Store,
    /// The blocks.
    pub(crate) blocks: BlockReader,
    layout: Layout,
}

impl Records {
    pub(crate) fn new(
        store: Store,
        storage: Arc<dyn Storage>,
        layout: Layout,
        key: IdKey,
        misplaced: Vec<(SegmentId, PathBuf)>,
    ) -> Records {
        let blocks = BlockReader::new(storage, layout.clone(), key).with_misplaced(misplaced);
        Records { store, blocks, layout }
    }

    /// The journal as of a `Seq`.
    pub fn view(&self, seq: Seq) -> View<'_> {
        View::new(self, seq)
    }

    /// The plain bytes of a block, checked against its id.
    ///
    /// # Errors
    /// `MissingBlock`, `DamagedBlock`, `Io`, `Index`.
    pub fn block(&self, id: BlockId) -> Result<Block> {
        self.blocks.read(id, self)
    }

    /// The whole id of a block with these plain bytes.
    pub(crate) fn full_id(&self, plain: &[u8]) -> FullId {
        self.blocks.id(plain)
    }

    /// Gives a value that does not decode the place that it comes from.
    pub(crate) fn index_damage(&self, cf: Cf) -> impl Fn(Malformed) -> Error + '_ {
        move |error| Error::Index { path: self.layout.index(), what: format!("{}: {error}", cf.name()) }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl Locate for Records {
    fn locate(&self, id: BlockId) -> Result<Option<Located>> {
        let Some(value) = self.store.get(Cf::Block, &id.0)? else {
            return Ok(None);
        };
        Located::decode(&value).map(Some).map_err(self.index_damage(Cf::Block))
    }
}

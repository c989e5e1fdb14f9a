//! Paths that records are counted for: a number each, without holding a path.
//!
//! A path is that of the name that a node had last, so that the many nodes of a file that is saved atomically are one. Names are
//! known by their hash until somebody wants to see them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::{self, Linked};
use crate::reader::Reader;
use crate::types::NodeId;

/// So many paths are told apart; what is beyond is counted as one.
const GROUPS_MAX: usize = 250_000;
/// The group of everything beyond.
pub(super) const OTHERS: u32 = 0;

/// Numbers for names.
#[derive(Debug)]
pub(super) struct Groups<T> {
    known: HashMap<u64, u32>,
    /// The hash of each, a node that had the name, and what is counted.
    pub(super) all: Vec<(u64, NodeId, T)>,
}

impl<T: Default> Groups<T> {
    pub(super) fn new() -> Groups<T> {
        Groups { known: HashMap::new(), all: vec![(0, NodeId::ROOT, T::default())] }
    }

    /// The number of a name that the node had.
    pub(super) fn number(&mut self, dir: NodeId, name: &[u8], node: NodeId) -> u32 {
        let hash = hash(dir, name);
        if let Some(known) = self.known.get(&hash) {
            return *known;
        }
        match u32::try_from(self.all.len()) {
            Ok(number) if self.all.len() < GROUPS_MAX => {
                self.known.insert(hash, number);
                self.all.push((hash, node, T::default()));
                number
            }
            _ => OTHERS,
        }
    }

    /// What is counted for a number.
    pub(super) fn of(&mut self, number: u32) -> Option<&mut T> {
        self.all.get_mut(number as usize).map(|(_, _, counted)| counted)
    }
}

fn hash(dir: NodeId, name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (dir, name).hash(&mut hasher);
    hasher.finish()
}

/// The path of a group: by its last name, in the directory as that is named now or was named last. `None` where it has none.
///
/// # Errors
/// `Index`.
pub(super) fn path_of(reader: &Reader, wanted: u64, node: NodeId) -> Result<Option<Vec<u8>>> {
    let records = reader.records();
    let damage = records.index_damage(Cf::Link);
    let mut scan = records.store.scan(Cf::Link, &keys::node(node))?;
    while let Some((key, value)) = scan.item() {
        let Linked { dir, name, .. } = Linked::decode(value).map_err(&damage)?;
        if hash(dir, &name) == wanted {
            let seq = keys::parse_node_seq(key).map_err(&damage)?;
            let now = reader.view(reader.head()).path_in(dir, &name)?;
            // Its directory may be gone: as it was when it had the name.
            let path = match now {
                Some(path) => Some(path),
                None => reader.view(seq.previous()).path_in(dir, &name)?,
            };
            return Ok(path.or(reader.view(seq).path_in(dir, &name)?));
        }
        scan.advance()?;
    }
    Ok(None)
}

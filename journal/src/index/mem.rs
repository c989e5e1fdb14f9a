//! The entries that RocksDB does not have yet, in memory and in order.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Cf, Entry};

/// One sorted map a column family.
#[derive(Default)]
pub struct Mem {
    maps: [BTreeMap<Vec<u8>, Vec<u8>>; Cf::ALL.len()],
    bytes: usize,
}

impl Mem {
    /// Adds entries; the later of two with the same key counts.
    pub fn insert(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            let key_len = entry.key.len();
            self.bytes += key_len + entry.value.len();
            if let Some(old) = self.maps[entry.cf as usize].insert(entry.key, entry.value) {
                self.bytes = self.bytes.saturating_sub(key_len + old.len());
            }
        }
    }

    /// Drops an entry, if it still has that value: what came later stays.
    pub fn remove(&mut self, entry: &Entry) {
        let map = &mut self.maps[entry.cf as usize];
        if map.get(&entry.key) == Some(&entry.value) {
            map.remove(&entry.key);
            self.bytes = self.bytes.saturating_sub(entry.key.len() + entry.value.len());
        }
    }

    /// The value of a key.
    pub fn get(&self, cf: Cf, key: &[u8]) -> Option<&Vec<u8>> {
        self.maps[cf as usize].get(key)
    }

    /// The first entry at or after a key.
    pub fn ceiling(&self, cf: Cf, key: &[u8]) -> Option<(&Vec<u8>, &Vec<u8>)> {
        self.maps[cf as usize].range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).next()
    }

    /// The last entry at or before a key.
    pub fn floor(&self, cf: Cf, key: &[u8]) -> Option<(&Vec<u8>, &Vec<u8>)> {
        self.maps[cf as usize].range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
    }

    /// The entries whose keys begin with `prefix`, in order.
    pub fn with_prefix(&self, cf: Cf, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.maps[cf as usize]
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Roughly how many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

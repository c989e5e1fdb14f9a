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
        if self.maps.iter().all(BTreeMap::is_empty) {
            return self.fill(entries);
        }
        for entry in entries {
            let key_len = entry.key.len();
            self.bytes += key_len + entry.value.len();
            if let Some(old) = self.maps[entry.cf as usize].insert(entry.key, entry.value) {
                self.bytes = self.bytes.saturating_sub(key_len + old.len());
            }
        }
    }

    /// The same where there is nothing yet: a map that is made of all its entries sorts them once.
    fn fill(&mut self, entries: impl IntoIterator<Item = Entry>) {
        let mut entries_of: [Vec<(Vec<u8>, Vec<u8>)>; Cf::ALL.len()] = Default::default();
        for entry in entries {
            entries_of[entry.cf as usize].push((entry.key, entry.value));
        }
        for (map, entries) in self.maps.iter_mut().zip(entries_of) {
            // Of equal keys it keeps the last, as inserting one after the other does.
            *map = entries.into_iter().collect();
            self.bytes += map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_counts_however_entries_arrive() {
        let entry = |key: u8, value: &[u8]| Entry { cf: Cf::Meta, key: vec![key], value: value.to_vec() };
        let entries = [entry(2, b"old"), entry(1, b"one"), entry(2, b"newer"), entry(2, b"new")];
        let (mut at_once, mut one_by_one) = (Mem::default(), Mem::default());
        at_once.insert(entries.clone());
        for entry in entries {
            one_by_one.insert([entry]);
        }
        for mem in [&at_once, &one_by_one] {
            assert_eq!(mem.get(Cf::Meta, &[2]).map(Vec::as_slice), Some(&b"new"[..]));
            assert_eq!(mem.with_prefix(Cf::Meta, &[]).len(), 2);
            assert_eq!(mem.bytes(), 1 + 3 + 1 + 3);
        }
    }
}

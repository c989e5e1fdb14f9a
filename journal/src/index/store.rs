//! The index as readers see it: RocksDB, and over it the entries that it does not have yet.
//!
//! Memory is always asked before RocksDB. An entry moves from memory to RocksDB by being written there first and
//! dropped here afterwards, so in this order nothing can be missed in between.
//!
//! Where RocksDB finds itself damaged, a reader's store makes another one out of the segments, once, and goes on there.

use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use rocksdb::DBRawIterator;

use super::db::Db;
use super::mem::Mem;
use super::{Cf, Entry};
use crate::error::{Error, Result};

/// Makes an index anew, of everything that the first one and the overlay hold.
pub type Rebuild = Box<dyn Fn() -> Result<Db> + Send + Sync>;

/// RocksDB with an overlay.
#[derive(Default)]
pub struct Store {
    db: Option<Db>,
    mem: RwLock<Mem>,
    rebuild: Option<Rebuild>,
    rebuilding: Mutex<()>,
    /// What took the place of the first one.
    second: OnceLock<Db>,
}

impl Store {
    /// An index with an empty overlay; without a `Db` the overlay is everything.
    pub fn new(db: Option<Db>) -> Store {
        Store { db, ..Store::default() }
    }

    /// The same, which makes itself another index where the first one is damaged. For readers only: nothing that is written
    /// gets into the second one.
    pub fn with_rebuild(db: Option<Db>, rebuild: Rebuild) -> Store {
        Store { db, rebuild: Some(rebuild), ..Store::default() }
    }

    fn current(&self) -> Option<&Db> {
        self.second.get().or(self.db.as_ref())
    }

    /// The index that takes the place of one that refused, if there may be one.
    fn instead(&self, refused: &Db, error: Error) -> Result<&Db> {
        let (Some(rebuild), Error::Index { .. }) = (&self.rebuild, &error) else { return Err(error) };
        let _alone = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        match self.second.get() {
            Some(second) if std::ptr::eq(second, refused) => Err(error),
            Some(second) => Ok(second),
            None => {
                let made = rebuild()?;
                Ok(self.second.get_or_init(|| made))
            }
        }
    }

    /// Asks RocksDB, and another one where that is damaged.
    fn ask<T>(&self, question: impl Fn(&Db) -> Result<Option<T>>) -> Result<Option<T>> {
        let Some(db) = self.current() else { return Ok(None) };
        match question(db) {
            Err(error) => question(self.instead(db, error)?),
            answer => answer,
        }
    }

    /// The RocksDB part.
    pub fn db(&self) -> Option<&Db> {
        self.db.as_ref()
    }

    /// Adds entries to the overlay.
    pub fn overlay(&self, entries: impl IntoIterator<Item = Entry>) {
        write(&self.mem).insert(entries);
    }

    /// Drops entries from the overlay that RocksDB has now.
    pub fn forget(&self, entries: &[Entry]) {
        let mut mem = write(&self.mem);
        for entry in entries {
            mem.remove(entry);
        }
    }

    /// Roughly how many bytes the overlay holds.
    pub fn overlay_bytes(&self) -> usize {
        read(&self.mem).bytes()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Index`.
    pub fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(value) = read(&self.mem).get(cf, key) {
            return Ok(Some(value.clone()));
        }
        self.ask(|db| db.get(cf, key))
    }

    /// The first entry at or after `key` whose key begins with `prefix`.
    ///
    /// # Errors
    /// `Index`.
    pub fn ceiling(&self, cf: Cf, prefix: &[u8], key: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mem = read(&self.mem).ceiling(cf, key).map(|(k, v)| (k.clone(), v.clone()));
        let mem = mem.filter(|(k, _)| k.starts_with(prefix));
        let db = self.ask(|db| {
            let mut iterator = db.iterator(cf, prefix)?;
            iterator.seek(key);
            item(db, &iterator, prefix)
        })?;
        Ok(match (mem, db) {
            (Some(mem), Some(db)) => Some(if db.0 < mem.0 { db } else { mem }),
            (mem, db) => mem.or(db),
        })
    }

    /// The last entry at or before `key` whose key begins with `prefix`.
    ///
    /// # Errors
    /// `Index`.
    pub fn floor(&self, cf: Cf, prefix: &[u8], key: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mem = read(&self.mem).floor(cf, key).map(|(k, v)| (k.clone(), v.clone()));
        let mem = mem.filter(|(k, _)| k.starts_with(prefix));
        let db = self.ask(|db| {
            let mut iterator = db.iterator(cf, prefix)?;
            iterator.seek_for_prev(key);
            item(db, &iterator, prefix)
        })?;
        Ok(match (mem, db) {
            (Some(mem), Some(db)) => Some(if db.0 > mem.0 { db } else { mem }),
            (mem, db) => mem.or(db),
        })
    }

    /// A cursor over the entries whose keys begin with `prefix`, placed on the first.
    ///
    /// # Errors
    /// `Index`.
    pub fn scan(&self, cf: Cf, prefix: &[u8]) -> Result<Scan<'_>> {
        let mem = read(&self.mem).with_prefix(cf, prefix);
        let mut scan =
            Scan { store: self, cf, prefix: prefix.to_vec(), mem, at: 0, below: None, last: Vec::new() };
        if let Some(db) = self.current() {
            scan.below = Some((db, db.iterator(cf, prefix)?));
            scan.seek_below(prefix)?;
        }
        Ok(scan)
    }
}

fn item(db: &Db, iterator: &DBRawIterator<'_>, prefix: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    match iterator.item() {
        Some((key, value)) => Ok(key.starts_with(prefix).then(|| (key.to_vec(), value.to_vec()))),
        None => db.check(iterator).map(|()| None),
    }
}

/// A cursor over one prefix of one column family.
pub struct Scan<'s> {
    store: &'s Store,
    cf: Cf,
    prefix: Vec<u8>,
    mem: Vec<(Vec<u8>, Vec<u8>)>,
    at: usize,
    below: Option<(&'s Db, DBRawIterator<'s>)>,
    /// The key that was left last, to go on behind it in another index.
    last: Vec<u8>,
}

impl Scan<'_> {
    /// The entry that the cursor is on; `None` behind the last.
    pub fn item(&self) -> Option<(&[u8], &[u8])> {
        let mem = self.mem.get(self.at).map(|(key, value)| (key.as_slice(), value.as_slice()));
        let db = self.db_item();
        match (mem, db) {
            (Some(mem), Some(db)) => Some(if db.0 < mem.0 { db } else { mem }),
            (mem, db) => mem.or(db),
        }
    }

    fn db_item(&self) -> Option<(&[u8], &[u8])> {
        self.below.as_ref()?.1.item().filter(|(key, _)| key.starts_with(&self.prefix))
    }

    /// Moves to the next key.
    ///
    /// # Errors
    /// `Index`.
    pub fn advance(&mut self) -> Result<()> {
        let mem = self.mem.get(self.at).map(|(key, _)| key.as_slice());
        let db = self.db_item().map(|(key, _)| key);
        let (step_mem, step_db) = match (mem, db) {
            (Some(mem), Some(db)) => (mem <= db, db <= mem),
            (mem, db) => (mem.is_some(), db.is_some()),
        };
        self.at += usize::from(step_mem);
        if step_db && let Some((db, iterator)) = &mut self.below {
            if self.store.rebuild.is_some() {
                self.last.clear();
                self.last.extend_from_slice(iterator.key().unwrap_or_default());
            }
            iterator.next();
            if let Err(error) = checked(db, iterator) {
                let mut behind = std::mem::take(&mut self.last);
                behind.push(0);
                self.replace(error, &behind)?;
            }
        }
        Ok(())
    }

    /// Moves to the first key at or after `key`; never backwards.
    ///
    /// # Errors
    /// `Index`.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.at += self.mem[self.at.min(self.mem.len())..].partition_point(|(k, _)| k.as_slice() < key);
        self.seek_below(key)
    }

    fn seek_below(&mut self, key: &[u8]) -> Result<()> {
        let Some((db, iterator)) = &mut self.below else { return Ok(()) };
        iterator.seek(key);
        match checked(db, iterator) {
            Err(error) => self.replace(error, key),
            Ok(()) => Ok(()),
        }
    }

    /// Goes on at a key in the index that takes the place of the damaged one.
    fn replace(&mut self, error: Error, key: &[u8]) -> Result<()> {
        let Some((refused, _)) = &self.below else { return Err(error) };
        let db = self.store.instead(refused, error)?;
        let mut iterator = db.iterator(self.cf, &self.prefix)?;
        iterator.seek(key);
        checked(db, &iterator)?;
        self.below = Some((db, iterator));
        Ok(())
    }
}

fn checked(db: &Db, iterator: &DBRawIterator<'_>) -> Result<()> {
    if iterator.valid() { Ok(()) } else { db.check(iterator) }
}

fn read(lock: &RwLock<Mem>) -> std::sync::RwLockReadGuard<'_, Mem> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write(lock: &RwLock<Mem>) -> std::sync::RwLockWriteGuard<'_, Mem> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::IoContext;

    fn entry(key: &str, value: &str) -> Entry {
        Entry { cf: Cf::Meta, key: key.into(), value: value.into() }
    }

    fn owned(item: Option<(&String, &&str)>) -> Option<(Vec<u8>, Vec<u8>)> {
        item.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
    }

    /// Every split of a few keys between RocksDB, the overlay and both reads like one sorted map.
    #[test]
    fn overlay_and_database_read_as_one() -> Result<()> {
        let dir = tempfile::tempdir().context("tmp")?;
        let store = Store::new(Some(Db::open(dir.path())?));
        for split in 0..3usize.pow(4) {
            let mut model = BTreeMap::new();
            for (i, name) in ["a1", "a2", "a3", "b1"].iter().enumerate() {
                let key = format!("{split:02}{name}");
                let place = split / 3usize.pow(i as u32) % 3;
                if place > 0
                    && let Some(db) = store.db()
                {
                    db.write([&entry(&key, "old")])?;
                }
                if place < 2 {
                    store.overlay([entry(&key, "new")]);
                }
                model.insert(key, if place < 2 { "new" } else { "old" });
            }
            let (prefix, end) = (format!("{split:02}a"), format!("{split:02}b"));
            let mut seen = Vec::new();
            let mut scan = store.scan(Cf::Meta, prefix.as_bytes())?;
            while let Some((key, value)) = scan.item() {
                seen.push((key.to_vec(), value.to_vec()));
                scan.advance()?;
            }
            let expected: Vec<_> =
                model.range(prefix.clone()..end.clone()).filter_map(|item| owned(Some(item))).collect();
            assert_eq!(seen, expected, "split {split}");
            for probe in ["a0", "a1", "a2", "a25", "a3", "a4"].map(|name| format!("{split:02}{name}")) {
                let after = owned(model.range(probe.clone()..end.clone()).next());
                assert_eq!(
                    store.ceiling(Cf::Meta, prefix.as_bytes(), probe.as_bytes())?,
                    after,
                    "at {probe}"
                );
                let before = owned(model.range(..=probe.clone()).next_back());
                assert_eq!(store.floor(Cf::Meta, prefix.as_bytes(), probe.as_bytes())?, before, "at {probe}");
            }
        }
        Ok(())
    }
}

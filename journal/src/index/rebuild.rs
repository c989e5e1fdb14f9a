//! A new index out of the segments, through sorted table files.
//!
//! Memory is bounded: entries are collected up to a limit, sorted, and put aside as one run. In the end the runs are merged
//! into tables that do not overlap, so that RocksDB has nothing to compact and a reader few tables to open.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::db::{Db, Table, TableOptions};
use super::{Cf, Entry};
use crate::error::{Error, IoContext, Result};
use crate::format::frame::BODY_MAX;

/// Entries are put aside when they occupy this much.
const RUN_BYTES: usize = 64 << 20;
/// Runs are merged when there are so many, because each takes a descriptor and a buffer. What comes later overlaps the
/// tables that they become.
const RUNS_MAX: usize = 200;
/// What is read of a run at once.
const RUN_BUFFER: usize = 128 << 10;
/// A table holds so many bytes of entries.
const TABLE_BYTES: usize = 64 << 20;

/// Collects entries and writes them as tables.
pub struct Builder {
    dir: PathBuf,
    db: Db,
    collected: [Collected; Cf::ALL.len()],
    bytes: usize,
    runs: Vec<Run>,
    files: usize,
}

/// Entries of one column family one behind the other, and where each is.
#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// An entry that was collected.
#[derive(Clone, Copy)]
struct Item {
    /// [`front_of`] the key: for most keys all there is to compare.
    front: u128,
    at: usize,
    key_len: u32,
    value_len: u32,
}

/// A sorted run on disk: the entries of all column families, one family behind the other.
struct Run {
    path: PathBuf,
    items: [u64; Cf::ALL.len()],
}

/// The first bytes of a key as a number that sorts as they do.
fn front_of(key: &[u8]) -> u128 {
    let mut front = [0; 16];
    let len = key.len().min(16);
    front[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(front)
}

impl Collected {
    fn add(&mut self, key: &[u8], value: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let (key_len, value_len) = (key.len() as u32, value.len() as u32);
        self.items.push(Item { front: front_of(key), at, key_len, value_len });
        key.len() + value.len() + size_of::<Item>()
    }

    fn entry(&self, item: &Item) -> (&[u8], &[u8]) {
        let (key_len, value_len) = (item.key_len as usize, item.value_len as usize);
        self.bytes[item.at..item.at + key_len + value_len].split_at(key_len)
    }

    /// The entries by key; of two with the same key the one added later.
    fn sorted(&mut self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut items = std::mem::take(&mut self.items);
        let key = |item: &Item| self.entry(item).0;
        items.sort_unstable_by(|a, b| {
            a.front.cmp(&b.front).then_with(|| key(a).cmp(key(b))).then(a.at.cmp(&b.at))
        });
        self.items = items;
        let this = &*self;
        this.items.iter().enumerate().filter_map(move |(n, item)| {
            let (key, value) = this.entry(item);
            let next = this.items.get(n + 1).map(|next| this.entry(next).0);
            (next != Some(key)).then_some((key, value))
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }
}

impl Builder {
    /// Starts a new index at `dir`, which must not exist or be empty.
    ///
    /// # Errors
    /// `Index`, `Io`.
    pub fn create(dir: &Path) -> Result<Builder> {
        crate::storage::create_private_dir(dir).context(dir)?;
        Ok(Builder {
            dir: dir.to_path_buf(),
            db: Db::create_for_tables(dir)?,
            collected: Default::default(),
            bytes: 0,
            runs: Vec::new(),
            files: 0,
        })
    }

    /// Adds entries; of two with the same key the one added later counts.
    ///
    /// # Errors
    /// `Index`, `Io`.
    pub fn add(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<()> {
        for entry in entries {
            self.bytes += self.collected[entry.cf as usize].add(&entry.key, &entry.value);
        }
        if self.bytes >= RUN_BYTES { self.put_aside() } else { Ok(()) }
    }

    fn new_file(&mut self, suffix: &str) -> PathBuf {
        self.files += 1;
        self.dir.join(format!("{}.{suffix}", self.files))
    }

    /// Writes what was collected as a run.
    fn put_aside(&mut self) -> Result<()> {
        let path = self.new_file("run");
        let mut file = BufWriter::with_capacity(RUN_BUFFER, File::create_new(&path).context(&path)?);
        let mut items = [0; Cf::ALL.len()];
        for (collected, items) in self.collected.iter_mut().zip(&mut items) {
            for (key, value) in collected.sorted() {
                let lengths = [(key.len() as u32).to_le_bytes(), (value.len() as u32).to_le_bytes()];
                let written = file.write_all(lengths.as_flattened()).and_then(|()| file.write_all(key));
                written.and_then(|()| file.write_all(value)).context(&path)?;
                *items += 1;
            }
            collected.clear();
        }
        file.flush().context(&path)?;
        self.bytes = 0;
        self.runs.push(Run { path, items });
        if self.runs.len() >= RUNS_MAX { self.merge() } else { Ok(()) }
    }

    /// Turns the runs into tables, and RocksDB takes them in.
    fn merge(&mut self) -> Result<()> {
        let runs = std::mem::take(&mut self.runs);
        let mut sources = runs.iter().map(Source::open).collect::<Result<Vec<_>>>()?;
        for cf in Cf::ALL {
            let mut heads = BinaryHeap::with_capacity(sources.len());
            for (number, (source, run)) in sources.iter_mut().zip(&runs).enumerate() {
                source.left = run.items[cf as usize];
                let mut head = Head { front: 0, key: Vec::new(), run: number };
                if source.next(&mut head)? {
                    heads.push(head);
                }
            }
            let options = TableOptions::of(cf);
            let mut tables = Tables::of(self, cf, &options);
            let mut last: Option<Vec<u8>> = None;
            while let Some(mut head) = heads.peek_mut() {
                let source = &mut sources[head.run];
                // Of equal keys the newest run's comes first, and is the one that counts.
                if last.as_ref() != Some(&head.key) {
                    tables.put(&head.key, &source.value)?;
                    let last = last.get_or_insert_default();
                    last.clear();
                    last.extend_from_slice(&head.key);
                }
                if !source.next(&mut head)? {
                    PeekMut::pop(head);
                }
            }
            tables.finish()?;
        }
        for run in &runs {
            std::fs::remove_file(&run.path).context(&run.path)?;
        }
        Ok(())
    }

    /// Writes out what is left and gives the index.
    ///
    /// # Errors
    /// `Index`, `Io`.
    pub fn finish(mut self) -> Result<Db> {
        if self.runs.is_empty() {
            let mut collected = std::mem::take(&mut self.collected);
            for (cf, collected) in Cf::ALL.into_iter().zip(&mut collected) {
                let options = TableOptions::of(cf);
                let mut tables = Tables::of(&mut self, cf, &options);
                for (key, value) in collected.sorted() {
                    tables.put(key, value)?;
                }
                tables.finish()?;
            }
        } else {
            self.put_aside()?;
            self.merge()?;
        }
        self.db.flush()?;
        Ok(self.db)
    }
}

/// A run that is read from its beginning to its end.
struct Source {
    path: PathBuf,
    file: BufReader<File>,
    /// Entries of the present column family that were not read yet.
    left: u64,
    value: Vec<u8>,
}

impl Source {
    fn open(run: &Run) -> Result<Source> {
        let file = File::open(&run.path).context(&run.path)?;
        let file = BufReader::with_capacity(RUN_BUFFER, file);
        Ok(Source { path: run.path.clone(), file, left: 0, value: Vec::new() })
    }

    /// Reads the next entry of the column family; `false` where there is none.
    fn next(&mut self, head: &mut Head) -> Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let mut lengths = [[0; 4]; 2];
        let mut read = |buffer: &mut [u8]| self.file.read_exact(buffer).context(&self.path);
        read(lengths.as_flattened_mut())?;
        let [key_len, value_len] = lengths.map(u32::from_le_bytes);
        if key_len.max(value_len) > BODY_MAX {
            let what = "a run of the new index is not as it was written".to_string();
            return Err(Error::Corrupt { path: self.path.clone(), offset: 0, what });
        }
        head.key.resize(key_len as usize, 0);
        read(&mut head.key)?;
        head.front = front_of(&head.key);
        self.value.resize(value_len as usize, 0);
        read(&mut self.value)?;
        Ok(true)
    }
}

/// The entry that a run is at: the greatest is the one with the least key, of the newest run.
#[derive(PartialEq, Eq)]
struct Head {
    front: u128,
    key: Vec<u8>,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        let key = || other.key.cmp(&self.key);
        other.front.cmp(&self.front).then_with(key).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Tables of one column family, one behind the other in the order of their keys.
struct Tables<'b> {
    builder: &'b mut Builder,
    cf: Cf,
    options: &'b TableOptions,
    table: Option<(Table<'b>, usize)>,
    written: Vec<PathBuf>,
}

impl<'b> Tables<'b> {
    fn of(builder: &'b mut Builder, cf: Cf, options: &'b TableOptions) -> Tables<'b> {
        Tables { builder, cf, options, table: None, written: Vec::new() }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let (table, bytes) = match &mut self.table {
            Some(table) => table,
            none => {
                let path = self.builder.new_file("tbl");
                self.written.push(path.clone());
                none.insert((Table::create(self.options, path)?, 0))
            }
        };
        table.put(key, value)?;
        *bytes += key.len() + value.len();
        if *bytes >= TABLE_BYTES { self.end_table() } else { Ok(()) }
    }

    fn end_table(&mut self) -> Result<()> {
        match self.table.take() {
            Some((table, _)) => table.finish(),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<()> {
        self.end_table()?;
        self.builder.db.ingest(self.cf, self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cf: Cf, key: u32, value: &str) -> Entry {
        Entry {
            cf,
            key: format!("a key that is longer than sixteen bytes {key:08}").into(),
            value: value.into(),
        }
    }

    /// Entries in several runs, and in one, read back as one sorted map; of equal keys the last one counts.
    #[test]
    fn runs_are_merged_and_the_last_of_equal_keys_counts() -> Result<()> {
        for runs in [1, 2, 7] {
            let tmp = tempfile::tempdir().context("tmp")?;
            let dir = tmp.path().join("index");
            let mut builder = Builder::create(&dir)?;
            for run in 0..runs {
                for n in 0..1000u32 {
                    let key = n.wrapping_mul(2_654_435_761) % 1500;
                    let value = format!("{run} {n}");
                    builder
                        .add([entry(Cf::Binding, key, &value), entry(Cf::Version, n * 10 + run, &value)])?;
                }
                if run + 1 < runs {
                    builder.put_aside()?;
                }
            }
            let db = builder.finish()?;
            let mut expected = std::collections::BTreeMap::new();
            for run in 0..runs {
                for n in 0..1000u32 {
                    let key = entry(Cf::Binding, n.wrapping_mul(2_654_435_761) % 1500, "").key;
                    expected.insert(key, format!("{run} {n}").into_bytes());
                }
            }
            for (key, value) in &expected {
                assert_eq!(db.get(Cf::Binding, key)?.as_ref(), Some(value));
            }
            let store = crate::index::store::Store::new(Some(db));
            let count = |cf| -> Result<usize> {
                let (mut scan, mut count) = (store.scan(cf, &[])?, 0);
                while scan.item().is_some() {
                    count += 1;
                    scan.advance()?;
                }
                Ok(count)
            };
            assert_eq!(count(Cf::Binding)?, expected.len());
            assert_eq!(count(Cf::Version)?, 1000 * runs as usize);
            let left: Vec<_> =
                std::fs::read_dir(&dir).context(&dir)?.flatten().map(|e| e.file_name()).collect();
            assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".run")), "{left:?}");
        }
        Ok(())
    }
}

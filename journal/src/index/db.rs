//! RocksDB, and nothing but RocksDB: options, opening, reading, writing, flushing.
//!
//! Its own write-ahead log is off: the segments are the log. All column families flush together, so that what is on
//! disk is the index as of one batch. Measured: with the log on, read-only opens beside a writer missed whole batches
//! (a flush purges a log during the open); without it, none did.

use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily,
    ColumnFamilyDescriptor, CompactOptions, DB, DBCompactionStyle, DBCompressionType, DBRawIterator,
    LogLevel, Options, ReadOptions, SstFileWriter, WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::{Cf, Entry, keys};
use crate::error::{Error, IoContext, Result};
use crate::index::keys::Applied;

/// Decoded index blocks kept in memory, for all column families together.
const CACHE_BYTES: usize = 24 << 20;
/// Entries that are not on disk yet, for all column families together.
const WRITE_BUFFERS_BYTES: usize = 16 << 20;
/// The same for one column family.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Table files kept open by the writer; readers need them all, so that none is deleted under them.
const OPEN_FILES_MAX: i32 = 256;
/// Opening beside a writer can meet a file that was compacted away a moment ago.
const OPEN_TRIES: usize = 8;

/// An open index.
pub struct Db {
    db: DB,
    path: PathBuf,
}

impl Db {
    /// Opens or creates an index for writing.
    ///
    /// # Errors
    /// `Index`: damaged, or held by another writer. `Io`, `Full`.
    pub fn open(path: &Path) -> Result<Db> {
        crate::storage::create_private_dir(path).context(path)?;
        check_families(path)?;
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(OPEN_FILES_MAX);
        options.set_max_background_jobs(2);
        options.set_atomic_flush(true);
        options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let families = Cf::ALL.map(|cf| ColumnFamilyDescriptor::new(cf.name(), cf_options(cf, &cache)));
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|e| refused(path, &e))?;
        Ok(Db { db, path: path.to_path_buf() })
    }

    /// Opens an index for reading, beside a writer or without one. Its own log goes to `log_dir`: nothing is written
    /// into the journal.
    ///
    /// # Errors
    /// `Index`, after a few tries.
    pub fn open_read_only(path: &Path, log_dir: &Path) -> Result<Db> {
        let mut options = options();
        options.set_max_open_files(-1);
        // Else each column family starts sixteen threads for its few tables: most of what a short command does.
        options.set_max_file_opening_threads(1);
        // For compactions, of which a reader has none.
        options.set_skip_stats_update_on_db_open(true);
        options.set_db_log_dir(log_dir);
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let mut last = None;
        for _ in 0..OPEN_TRIES {
            let families =
                Cf::ALL.map(|cf| ColumnFamilyDescriptor::new(cf.name(), with_tables(&table_options(&cache))));
            match DB::open_cf_descriptors_read_only(&options, path, families, false) {
                Ok(db) => {
                    return Ok(Db { db, path: path.to_path_buf() });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(Error::Index {
            path: path.to_path_buf(),
            what: last.map_or_else(String::new, |error| error.to_string()),
        })
    }

    /// Makes an index that takes in tables and nothing else for now: it does not compact meanwhile.
    ///
    /// # Errors
    /// `Index`.
    pub(super) fn create_for_tables(path: &Path) -> Result<Db> {
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_atomic_flush(true);
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let families = Cf::ALL.map(|cf| {
            let mut options = cf_options(cf, &cache);
            options.set_disable_auto_compactions(true);
            ColumnFamilyDescriptor::new(cf.name(), options)
        });
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|e| refused(path, &e))?;
        Ok(Db { db, path: path.to_path_buf() })
    }

    fn family(&self, cf: Cf) -> Result<&ColumnFamily> {
        self.db.cf_handle(cf.name()).ok_or_else(|| Error::Index {
            path: self.path.clone(),
            what: format!("column family {} is missing", cf.name()),
        })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `Index`.
    pub fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family(cf)?, key).map_err(|e| refused(&self.path, &e))
    }

    /// An iterator that does not leave `prefix`; it is not positioned yet.
    ///
    /// # Errors
    /// `Index`.
    pub fn iterator(&self, cf: Cf, prefix: &[u8]) -> Result<DBRawIterator<'_>> {
        let mut options = ReadOptions::default();
        if let Some(end) = after_prefix(prefix) {
            options.set_iterate_upper_bound(end);
        }
        Ok(self.db.raw_iterator_cf_opt(self.family(cf)?, options))
    }

    /// What an iterator that has become invalid says: the end, or an error.
    ///
    /// # Errors
    /// `Index`.
    pub fn check(&self, iterator: &DBRawIterator<'_>) -> Result<()> {
        iterator.status().map_err(|e| refused(&self.path, &e))
    }

    /// Visits the values of `event`, the newest first, as long as the visitor says `true`.
    ///
    /// # Errors
    /// `Index`.
    pub fn newest_events(&self, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
        let mut iterator = self.iterator(Cf::Event, &[])?;
        iterator.seek_to_last();
        while let Some(value) = iterator.value() {
            if !visit(value) {
                return Ok(());
            }
            iterator.prev();
        }
        self.check(&iterator)
    }

    /// How far the index has come; `None` where it is new.
    ///
    /// # Errors
    /// `Index`, also where its own record does not decode.
    pub fn applied(&self) -> Result<Option<Applied>> {
        let Some(value) = self.get(Cf::Meta, keys::APPLIED)? else {
            return Ok(None);
        };
        Applied::decode(&value)
            .map(Some)
            .map_err(|e| Error::Index { path: self.path.clone(), what: format!("meta: {e}") })
    }

    /// Adds entries, all or none. They survive the death of the process only after [`Db::flush`].
    ///
    /// # Errors
    /// `Index`.
    pub fn write<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) -> Result<()> {
        let families = Cf::ALL.map(|cf| self.family(cf));
        let mut batch = WriteBatch::default();
        for entry in entries {
            match &families[entry.cf as usize] {
                Ok(family) => batch.put_cf(family, &entry.key, &entry.value),
                Err(_) => return self.family(entry.cf).map(|_| ()),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(|e| refused(&self.path, &e))
    }

    /// Takes entries away, all or none.
    ///
    /// # Errors
    /// `Index`.
    pub fn delete(&self, keys: &[(Cf, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (cf, key) in keys {
            batch.delete_cf(self.family(*cf)?, key);
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(batch, &options).map_err(|e| refused(&self.path, &e))
    }

    /// Puts everything written so far on disk, as of one moment.
    ///
    /// # Errors
    /// `Index`.
    pub fn flush(&self) -> Result<()> {
        let families = Cf::ALL.iter().map(|cf| self.family(*cf)).collect::<Result<Vec<_>>>()?;
        let mut options = rocksdb::FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families, &options).map_err(|e| refused(&self.path, &e))
    }

    /// Writes all tables anew, so that no file has what was taken away.
    ///
    /// # Errors
    /// `Index`.
    pub fn clean(&self) -> Result<()> {
        self.flush()?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(true);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for cf in Cf::ALL {
            self.db.compact_range_cf_opt(self.family(cf)?, None::<&[u8]>, None::<&[u8]>, &options);
        }
        self.db.wait_for_compact(&WaitForCompactOptions::default()).map_err(|e| refused(&self.path, &e))?;
        // The manifest names the first and the last key of every table that there was; it is written anew with each change, and
        // files that nobody needs any more go with the next flush.
        let value = self.get(Cf::Meta, keys::COMPACTED)?.unwrap_or_else(|| keys::encode_compacted(&[]));
        self.write(&[Entry { cf: Cf::Meta, key: keys::COMPACTED.to_vec(), value }])?;
        self.flush()
    }

    /// Takes in sorted table files of a column family; they are moved, not copied.
    ///
    /// # Errors
    /// `Index`.
    pub fn ingest(&self, cf: Cf, files: Vec<PathBuf>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = rocksdb::IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db
            .ingest_external_file_cf_opts(self.family(cf)?, &options, files)
            .map_err(|e| refused(&self.path, &e))
    }
}

/// How the tables of a column family are written.
pub(super) struct TableOptions(Options);

impl TableOptions {
    /// Those of a column family.
    pub(super) fn of(cf: Cf) -> TableOptions {
        TableOptions(cf_options(cf, &Cache::new_lru_cache(1 << 20)))
    }
}

/// A table file for [`Db::ingest`] that is being written, in the order of its keys and without doubles.
pub(super) struct Table<'o> {
    writer: SstFileWriter<'o>,
    path: PathBuf,
}

impl<'o> Table<'o> {
    /// Begins a table.
    ///
    /// # Errors
    /// `Index`.
    pub(super) fn create(options: &'o TableOptions, path: PathBuf) -> Result<Table<'o>> {
        let writer = SstFileWriter::create(&options.0);
        writer.open(&path).map_err(|e| refused(&path, &e))?;
        Ok(Table { writer, path })
    }

    /// Adds an entry behind those before.
    ///
    /// # Errors
    /// `Index`.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value).map_err(|e| refused(&self.path, &e))
    }

    /// Ends the table.
    ///
    /// # Errors
    /// `Index`.
    pub(super) fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(|e| refused(&self.path, &e))
    }
}

fn options() -> Options {
    // The manifest is written anew with each change, some 100 bytes a table: it names keys of tables that are gone.
    let mut options =
        Options::default().get_options_from_string("max_manifest_space_amp_pct=0").unwrap_or_default();
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_max_manifest_file_size(1);
    // The default of 4 MiB would be most of a young index.
    options.set_manifest_preallocation_size(64 << 10);
    options
}

/// For whoever writes tables.
fn cf_options(cf: Cf, cache: &Cache) -> Options {
    let mut table = table_options(cache);
    // Keys that are hashes, or handles: there is little in them to compress.
    let scattered = matches!(cf, Cf::Block | Cf::Identity);
    if scattered {
        // A writer asks mostly for what is not there: is this block known, is this inode? A reader asks for what is
        // there, and would read all of a filter for a single answer.
        table.set_bloom_filter(10.0, false);
        table.set_partition_filters(true);
    }
    let mut options = with_tables(&table);
    if matches!(cf, Cf::Event | Cf::Clock) {
        // Keys in the order of time: by levels, tables that lie behind each other are moved and never merged, so that each
        // flush would leave one for ever.
        options.set_compaction_style(DBCompactionStyle::Universal);
    }
    options.set_compression_type(if scattered { DBCompressionType::None } else { DBCompressionType::Zstd });
    // The fastest level: entries are short and alike, and a rebuild compresses them all.
    options.set_compression_options(-14, -1, 0, 0);
    options
}

fn table_options(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    // What is read for one key does not grow with the table.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_format_version(5);
    table.set_block_size(16 << 10);
    table
}

fn with_tables(table: &BlockBasedOptions) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_write_buffer_number(2);
    options
}

/// Refuses an index that was made before a column family was thought of: that family would be empty, not complete.
fn check_families(path: &Path) -> Result<()> {
    if !path.join("CURRENT").exists() {
        return Ok(());
    }
    let known = DB::list_cf(&Options::default(), path).map_err(|e| refused(path, &e))?;
    match Cf::ALL.iter().find(|cf| !known.iter().any(|name| name == cf.name())) {
        Some(cf) => Err(Error::Index {
            path: path.to_path_buf(),
            what: format!("it has no column family {}", cf.name()),
        }),
        None => Ok(()),
    }
}

/// The first key behind all keys that begin with `prefix`; `None` where there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

fn refused(path: &Path, error: &rocksdb::Error) -> Error {
    Error::Index { path: path.to_path_buf(), what: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_from_before_a_column_family_is_refused() -> Result<()> {
        let dir = tempfile::tempdir().context("tmp")?;
        drop(Db::open(dir.path())?);
        drop(Db::open(dir.path())?);
        let mut db = DB::open_cf(&Options::default(), dir.path(), Cf::ALL.map(Cf::name)).unwrap();
        db.drop_cf(Cf::Named.name()).unwrap();
        drop(db);
        assert!(matches!(Db::open(dir.path()), Err(Error::Index { what, .. }) if what.contains("named")));
        Ok(())
    }

    #[test]
    fn prefixes_end_where_they_should() {
        assert_eq!(after_prefix(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
        assert_eq!(after_prefix(&[]), None);
    }
}

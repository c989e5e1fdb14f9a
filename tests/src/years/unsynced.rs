//! A storage that waits for nothing: years would take hours of that, and no power is cut here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use asof_journal::reserve::Space;
use asof_journal::storage::{AppendFile, OsStorage, ReadFile, Storage};

/// The real storage, but that nothing is waited for until it is on the medium.
pub(super) struct Unsynced(pub(super) OsStorage);

struct UnsyncedFile(Box<dyn AppendFile>);

impl AppendFile for UnsyncedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Storage for Unsynced {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(UnsyncedFile(self.0.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.0.open(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        self.0.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.0.truncate(path, len)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn settle(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        self.0.make_read_only(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.0.space(dir)
    }
}

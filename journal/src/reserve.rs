//! The reserve: a file without bytes and with blocks, kept for the moment when the medium is full.
//!
//! It becomes the next segment by a change of its name, and what is appended then needs no new block: nobody else can
//! have taken the room meanwhile, as they could if a file of so many bytes were deleted.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::storage::{AppendFile, Layout, OsStorage, Storage};

/// The most that is kept: a commit of the agent's that met the full disk (5 MiB), a full queue behind it (16 submissions
/// of up to 1.3 MiB), what capture threads hold, the gap, a footer. What does not fit stays in memory.
const RESERVE_BYTES_MAX: u64 = 32 << 20;
/// The least: a header, a batch with the gap, a footer, each in blocks of its own.
const RESERVE_BYTES_MIN: u64 = 256 << 10;
/// It takes no more of its filesystem than this part.
const RESERVE_PART: u64 = 8;

/// The room of a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Of all of it.
    pub total: u64,
    /// What this process may still use. Quotas are not in it.
    pub available: u64,
}

/// The reserve of one journal.
pub(crate) struct Reserve {
    storage: Arc<dyn Storage>,
    layout: Layout,
    is_held: bool,
}

impl Reserve {
    /// Takes over the reserve that there is, or makes one where there is room.
    pub(crate) fn open(storage: Arc<dyn Storage>, layout: Layout) -> Reserve {
        let mut reserve = Reserve { storage, layout, is_held: false };
        let left = reserve.storage.allocated(&reserve.layout.reserve());
        reserve.is_held = left.is_ok_and(|bytes| bytes >= reserve.bytes());
        reserve.make();
        reserve
    }

    /// Whether there is one.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// How large one is on this filesystem.
    fn bytes(&self) -> u64 {
        let total = self.storage.space(self.layout.dir()).map_or(0, |space| space.total);
        (total / RESERVE_PART).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
    }

    /// Whether there is room for so many bytes beside the reserve, as far as anybody can tell.
    pub(crate) fn leaves(&self, bytes: u64) -> bool {
        self.storage.space(self.layout.dir()).map_or(true, |space| space.available >= bytes)
    }

    /// Makes one if there is none; gives whether there is room: for the reserve, and for as much again, so that what
    /// has been full is not full again at once.
    ///
    /// A medium that can make none (no `fallocate`) counts as one with room, where it has space.
    pub(crate) fn make(&mut self) -> bool {
        let bytes = self.bytes();
        let wanted = if self.is_held { bytes } else { 2 * bytes };
        // Asked first: to allocate what there is and give it back would fail others in between.
        if self.storage.space(self.layout.dir()).is_ok_and(|space| space.available < wanted) {
            return false;
        }
        // A quota shows in no other way than that it refuses.
        let (reserve, probe) = (self.layout.reserve(), self.layout.new_reserve());
        let probed = self.storage.allocate(&probe, bytes);
        let made = match (probed, self.is_held) {
            (Ok(()), false) => self.storage.allocate(&reserve, bytes),
            (probed, _) => probed,
        };
        let _ = self.storage.remove(&probe);
        match made {
            Ok(()) => self.is_held = true,
            Err(error) if is_full(&error) => return false,
            // It can do without.
            Err(_) => {}
        }
        true
    }

    /// Gives the reserve another name, to be appended to, and how many bytes that may be. There is none afterwards.
    pub(crate) fn take(&mut self, name: &Path) -> io::Result<(Box<dyn AppendFile>, u64)> {
        self.is_held = false;
        let reserve = self.layout.reserve();
        let taken = self.storage.allocated(&reserve).and_then(|bytes| {
            self.storage.rename(&reserve, name)?;
            Ok((self.storage.open_to_append(name)?, bytes))
        });
        if taken.is_err() {
            // Then at least its blocks are there for the ordinary way.
            let _ = self.storage.remove(&reserve);
        }
        taken
    }
}

/// Whether an error says that there is no room, or that a quota leaves none.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether there is room to open a journal for writing: RocksDB makes files of its own before anything is asked of it.
///
/// `true` where the system does not tell.
pub fn has_room_to_open(journal: &Path) -> bool {
    /// A manifest, options and a log of RocksDB's, twice, and what catching up may flush.
    const OPEN_BYTES: u64 = 2 << 20;
    let probe = Layout::new(journal).new_reserve();
    let space = OsStorage.space(journal);
    let bytes = space.as_ref().map_or(OPEN_BYTES, |space| OPEN_BYTES.min(space.total / RESERVE_PART));
    if space.is_ok_and(|space| space.available < bytes) {
        return false;
    }
    let probed = OsStorage.allocate(&probe, bytes);
    let _ = OsStorage.remove(&probe);
    !probed.is_err_and(|error| is_full(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_has_blocks_and_no_bytes_and_becomes_a_file_that_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut reserve = Reserve::open(Arc::new(OsStorage), layout.clone());
        assert!(reserve.is_held(), "there is room here for a test");
        let bytes = reserve.bytes();
        let meta = std::fs::metadata(layout.reserve()).unwrap();
        assert_eq!(meta.len(), 0);
        assert!(OsStorage.allocated(&layout.reserve()).unwrap() >= bytes);
        assert!(!layout.new_reserve().exists());

        let again = Reserve::open(Arc::new(OsStorage), layout.clone());
        assert!(again.is_held());

        let name = dir.path().join("segment");
        let (mut file, capacity) = reserve.take(&name).unwrap();
        assert!(capacity >= bytes && !reserve.is_held() && !layout.reserve().exists());
        file.append(&[7; 5000]).unwrap();
        file.sync().unwrap();
        assert!(OsStorage.allocated(&name).unwrap() >= bytes, "appending uses what is allocated");
        OsStorage.truncate(&name, 5000).unwrap();
        assert!(OsStorage.allocated(&name).unwrap() < bytes / 2, "the rest is given back");
        assert_eq!(std::fs::read(&name).unwrap(), [7; 5000]);
        assert!(reserve.make() && reserve.is_held());
    }

    #[test]
    fn a_storage_that_can_make_none_has_room() {
        struct Plain(OsStorage);
        impl Storage for Plain {
            fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
                self.0.create(path)
            }
            fn open(&self, path: &Path) -> io::Result<Arc<dyn crate::storage::ReadFile>> {
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
            fn sync_dir(&self, dir: &Path) -> io::Result<()> {
                self.0.sync_dir(dir)
            }
            fn make_read_only(&self, path: &Path) -> io::Result<()> {
                self.0.make_read_only(path)
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::open(Arc::new(Plain(OsStorage)), Layout::new(dir.path()));
        assert!(!reserve.is_held() && reserve.make());
    }
}

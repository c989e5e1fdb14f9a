//! The one seam to the operating system: where the journal's files are, and how they are read and written.
//!
//! File names are made and parsed here and nowhere else. Tests put a hostile [`Storage`] in the place of
//! [`OsStorage`] to fail, tear and reorder what is written.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use crate::reserve::Space;
use crate::types::SegmentId;

/// Where everything is in a journal directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of the journal at `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Layout {
        Layout { dir: dir.into() }
    }

    /// The journal directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Format, uuid and id key.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join("journal.json")
    }

    /// The same once more, for when the first is damaged.
    pub fn manifest_copy(&self) -> PathBuf {
        self.dir.join("journal.json.copy")
    }

    /// How far the scrub has come.
    pub fn scrub(&self) -> PathBuf {
        self.dir.join("scrub.json")
    }

    /// Locked by the one writer.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("writer.lock")
    }

    /// The segments: the truth.
    pub fn segments(&self) -> PathBuf {
        self.dir.join("segments")
    }

    /// RocksDB, derived from the segments.
    pub fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    /// The index that a rebuilt one replaces, until it is removed.
    pub fn old_index(&self) -> PathBuf {
        self.dir.join("index.old")
    }

    /// An index that is being rebuilt; it takes the index's place when it is whole.
    pub fn new_index(&self) -> PathBuf {
        self.dir.join("index.new")
    }

    /// What is to be forgotten, until it is.
    pub fn forgetting(&self) -> PathBuf {
        self.dir.join("forgetting")
    }

    /// Room that is kept for when there is none.
    pub fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// The same while it is made sure of.
    pub fn new_reserve(&self) -> PathBuf {
        self.dir.join("reserve.new")
    }

    /// Where `sync` leaves its cookies.
    pub fn cookies(&self) -> PathBuf {
        self.dir.join("cookies")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// A segment that is no longer written to.
    pub fn segment(&self, id: SegmentId) -> PathBuf {
        self.segments().join(format!("{:016}.seg", id.0))
    }

    /// The segment that is being written to.
    pub fn open_segment(&self, id: SegmentId) -> PathBuf {
        self.segments().join(format!("{:016}.open", id.0))
    }

    /// A segment that compaction is writing: read by nobody, and without meaning after a crash.
    pub fn new_segment(&self, id: SegmentId) -> PathBuf {
        self.segments().join(format!("{:016}.new", id.0))
    }

    /// Whether a name is that of a segment that compaction was writing.
    pub fn is_new_segment(name: &OsStr) -> bool {
        name.to_str()
            .and_then(|name| name.strip_suffix(".new"))
            .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Where running readers have their pins.
    pub fn readers(&self) -> PathBuf {
        self.dir.join("readers")
    }

    /// The segment that a file name stands for, and whether it may still be written to.
    pub fn parse_segment(name: &OsStr) -> Option<(SegmentId, bool)> {
        let (stem, suffix) = name.to_str()?.split_once('.')?;
        let open = match suffix {
            "seg" => false,
            "open" => true,
            _ => return None,
        };
        if stem.len() != 16 || !stem.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        stem.parse().ok().filter(|&id| id > 0).map(|id| (SegmentId(id), open))
    }
}

/// A file that is only ever appended to.
pub trait AppendFile: Send {
    /// Appends all of the bytes. After it returns they survive the death of this process, not a power cut.
    ///
    /// # Errors
    /// What the system said; some of the bytes may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far survive a power cut. After a failure the file must not be written again:
    /// the kernel has marked the pages clean.
    ///
    /// # Errors
    /// What the system said.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read at positions.
pub trait ReadFile: Send + Sync {
    /// Reads up to the buffer's length; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// What the system said.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length of the file now.
    ///
    /// # Errors
    /// What the system said.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is nothing in it.
    ///
    /// # Errors
    /// What the system said.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// What the journal needs of the operating system for its manifest and its segments.
pub trait Storage: Send + Sync {
    /// Makes a directory that only its owner can enter, with those above it; one that exists is left as it is. The
    /// names of those that were made survive a power cut when it returns.
    ///
    /// # Errors
    /// What the system said.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that must not exist yet, mode 0600.
    ///
    /// # Errors
    /// What the system said.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the system said.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>>;

    /// The names in a directory.
    ///
    /// # Errors
    /// What the system said.
    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>>;

    /// Gives a file another name in the same directory, in one step.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file away.
    ///
    /// # Errors
    /// What the system said.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Cuts a file that is not written any more to a length.
    ///
    /// # Errors
    /// What the system said.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Makes the names in a directory survive a power cut.
    ///
    /// # Errors
    /// What the system said.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes what another process may have written to a file survive a power cut, and forgets what the memory has of it,
    /// so that what is read from then on is what is on the medium.
    ///
    /// # Errors
    /// What the system said. The file is then as uncertain as before; once it is settled, it is certain.
    fn settle(&self, path: &Path) -> io::Result<()>;

    /// Takes everybody's permission to write to a file, and to read it but for its owner's.
    ///
    /// # Errors
    /// What the system said.
    fn make_read_only(&self, path: &Path) -> io::Result<()>;

    /// Makes an empty file, mode 0600, with so many bytes allocated behind its end: appending them needs no new block.
    /// What was there before is gone, and on failure nothing is there.
    ///
    /// # Errors
    /// What the system said; `Unsupported` where the medium cannot do that.
    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let _ = (path, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes that a file occupies.
    ///
    /// # Errors
    /// What the system said; `Unsupported` where that is not known.
    fn allocated(&self, path: &Path) -> io::Result<u64> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a file that exists, to append to it.
    ///
    /// # Errors
    /// What the system said; `Unsupported` where [`Storage::allocate`] is.
    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The room of the filesystem that a directory is on.
    ///
    /// # Errors
    /// What the system said; `Unsupported` where that is not known.
    fn space(&self, dir: &Path) -> io::Result<Space> {
        let _ = dir;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The real one.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsStorage;

impl Storage for OsStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        create_private_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(len)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        file.sync_data()?;
        // Pages whose write-out failed count as clean: they would be read for ever, and are on no medium.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(0o400))
    }

    fn allocate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        let allocated = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes);
        let allocated = allocated.map_err(io::Error::from).and_then(|()| file.sync_all());
        if allocated.is_err() {
            let _ = std::fs::remove_file(path);
        }
        allocated
    }

    fn allocated(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::symlink_metadata(path)?.blocks() * 512)
    }

    fn open_to_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let space = rustix::fs::statvfs(dir)?;
        // Root may use what is kept back for it.
        let free = if rustix::process::geteuid().is_root() { space.f_bfree } else { space.f_bavail };
        Ok(Space {
            total: space.f_blocks.saturating_mul(space.f_frsize),
            available: free.saturating_mul(space.f_frsize),
        })
    }
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl ReadFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Makes a directory that only its owner can enter, with those above it; one that exists is left as it is. The names of
/// those that were made survive a power cut when it returns: nothing that is synced in them would be found without.
///
/// # Errors
/// What the system said.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    let made: Vec<&Path> =
        path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists()).collect();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for dir in made {
        let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match File::open(above).and_then(|above| above.sync_all()) {
            // Whoever may make a name in a directory may not always open it.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Writes a small file so that after a power cut it is there whole or not at all.
///
/// # Errors
/// What the system said.
pub fn write_atomically(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // What a crash left of an earlier try.
    match storage.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = storage.create(&temporary)?;
    file.append(bytes)?;
    file.sync()?;
    storage.rename(&temporary, path)?;
    match path.parent() {
        Some(dir) => storage.sync_dir(dir),
        None => Ok(()),
    }
}

/// Reads a small file whole: so many bytes of it at most.
///
/// # Errors
/// What the system said; `InvalidData` where it is longer.
pub fn read_whole(storage: &dyn Storage, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = storage.open(path)?;
    let mut bytes = vec![0; bytes_max + 1];
    let len = file.read_at(&mut bytes, 0)?;
    if len > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "much longer than such a file can be"));
    }
    bytes.truncate(len);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_parsed_as_they_are_made() {
        let layout = Layout::new("/j");
        for id in [1, 17, 9_999_999_999_999_999] {
            let id = SegmentId(id);
            let name = |path: PathBuf| path.file_name().map(OsStr::to_owned).unwrap_or_default();
            assert_eq!(Layout::parse_segment(&name(layout.segment(id))), Some((id, false)));
            assert_eq!(Layout::parse_segment(&name(layout.open_segment(id))), Some((id, true)));
        }
        for other in ["0000000000000000.seg", "1.seg", "0000000000000001.tmp", "x", "000000000000000a.seg"] {
            assert_eq!(Layout::parse_segment(OsStr::new(other)), None, "{other}");
        }
    }
}

//! Files that programs keep open or mapped while other things happen to them.
//!
//! Owns the handles. A store through a mapping is seen by nobody before the last unmap, so all mappings go at
//! [`Held::rest`]; what is written through an open file has events, and those stay open for as long as there is room.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::random::Random;
use crate::sys::Mapping;

/// Open files at a time.
const FILES_MAX: usize = 8;
/// Mappings at a time.
const MAPPINGS_MAX: usize = 4;
/// No more of a file is mapped.
const MAPPED_BYTES_MAX: u64 = 64 * 1024;

/// What is held.
#[derive(Default)]
pub(super) struct Held {
    files: Vec<(File, PathBuf)>,
    mappings: Vec<(Mapping, usize, PathBuf)>,
}

impl Held {
    /// Stores into a file through a mapping that is gone at once, with or without `msync`.
    pub(super) fn map(&mut self, path: &Path, random: &mut Random, sync: bool) -> io::Result<()> {
        let (mut mapping, len) = new_mapping(path)?;
        store(&mut mapping, len, random);
        if sync {
            mapping.sync()?;
            store(&mut mapping, len, random);
        }
        Ok(())
    }

    /// Stores into a file through a mapping that stays.
    pub(super) fn map_and_keep(&mut self, path: &Path, random: &mut Random) -> io::Result<()> {
        let (mut mapping, len) = new_mapping(path)?;
        store(&mut mapping, len, random);
        if self.mappings.len() >= MAPPINGS_MAX {
            self.mappings.remove(0);
        }
        self.mappings.push((mapping, len, path.to_path_buf()));
        Ok(())
    }

    /// Stores through some mapping that is still there, and says of what, by the name that it had then.
    pub(super) fn store_again(&mut self, random: &mut Random) -> Option<PathBuf> {
        let which = random.below(self.mappings.len() as u64) as usize;
        let (mapping, len, path) = self.mappings.get_mut(which)?;
        store(mapping, *len, random);
        Some(path.clone())
    }

    /// Writes to a file and keeps it open.
    pub(super) fn open_and_keep(&mut self, path: &Path, random: &mut Random) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        write(&file, random)?;
        self.keep(file, path);
        Ok(())
    }

    /// Writes to some file that is still open, whatever its name is now, and says to which.
    pub(super) fn write_again(&mut self, random: &mut Random) -> Option<io::Result<String>> {
        let which = random.below(self.files.len() as u64) as usize;
        if which >= self.files.len() {
            return None;
        }
        let (file, path) = self.files.swap_remove(which);
        if !is_still_named(&file) {
            return None;
        }
        if let Err(error) = write(&file, random) {
            return Some(Err(error));
        }
        // Half of them stay open.
        let stays = random.below(2) == 0;
        let line = format!("{path:?}{}", if stays { "" } else { " and closed" });
        if stays {
            self.files.push((file, path));
        }
        Some(Ok(line))
    }

    /// Makes a file without a name, gives it one, and closes it at once.
    pub(super) fn nameless(&mut self, dir: &Path, name: &Path, random: &mut Random) -> io::Result<()> {
        link_nameless(dir, name, random).map(drop)
    }

    /// The same, but the file stays open.
    pub(super) fn nameless_and_keep(
        &mut self,
        dir: &Path,
        name: &Path,
        random: &mut Random,
    ) -> io::Result<()> {
        let file = link_nameless(dir, name, random)?;
        self.keep(file, name);
        Ok(())
    }

    /// Lets go of everything whose changes would not be seen before.
    pub(super) fn rest(&mut self) {
        self.mappings.clear();
    }

    fn keep(&mut self, file: File, path: &Path) {
        if self.files.len() >= FILES_MAX {
            self.files.remove(0);
        }
        self.files.push((file, path.to_path_buf()));
    }
}

/// Whether the name that a file was opened by is its only one. What is written through a name that is gone is nobody's
/// event where its directory is gone too, or was moved out of the root (`hazards`: written through a lost name).
fn is_still_named(file: &File) -> bool {
    let now = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let same_file = |path: PathBuf| {
        let (there, open) = (std::fs::symlink_metadata(path).ok()?, file.metadata().ok()?);
        Some((there.dev(), there.ino()) == (open.dev(), open.ino()) && open.nlink() == 1)
    };
    now.ok().and_then(same_file).unwrap_or(false)
}

fn write(file: &File, random: &mut Random) -> io::Result<()> {
    let len = random.below(3000) as usize + 1;
    let at = random.below(file.metadata()?.len().min(1 << 20) + 1);
    file.write_all_at(&random.text(len), at)
}

fn link_nameless(dir: &Path, name: &Path, random: &mut Random) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(dir, flags, Mode::from_raw_mode(0o644))?);
    let len = random.below(20_000) as usize;
    file.write_all_at(&random.text(len), 0)?;
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, from, CWD, name, AtFlags::SYMLINK_FOLLOW)?;
    file.write_all_at(b"after the link", len as u64)?;
    Ok(file)
}

fn new_mapping(path: &Path) -> io::Result<(Mapping, usize)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let len = file.metadata()?.len().min(MAPPED_BYTES_MAX) as usize;
    if len == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((Mapping::new(&file, len)?, len))
}

fn store(mapping: &mut Mapping, len: usize, random: &mut Random) {
    let at = random.below(len as u64) as usize;
    let bytes = random.bytes(40);
    mapping.store(at, &bytes);
}

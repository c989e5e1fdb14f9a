//! Live files as a source of content, for what is taken again: regular files only, read with their holes.
//!
//! Follows no symlink and opens nothing that is no regular file.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use asof_journal::content::{Piece, Source};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;

/// The file at a path with its size; `None` where there is no regular file.
pub(super) fn open(path: &[u8]) -> io::Result<Option<(u64, Box<dyn Source>)>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let place = match opened {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = rustix::fs::fstat(&place)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let again = format!("/proc/self/fd/{}", place.as_raw_fd());
    let fd = rustix::fs::open(Path::new(&again), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (size, blocks) =
        (u64::try_from(stat.st_size).unwrap_or(0), u64::try_from(stat.st_blocks).unwrap_or(0));
    let sparse = blocks.saturating_mul(512) < size;
    Ok(Some((size, Box::new(LiveFile { fd, size, position: 0, data_end: 0, sparse }))))
}

struct LiveFile {
    fd: OwnedFd,
    size: u64,
    position: u64,
    /// End of the data that `position` is in, in a file that has holes.
    data_end: u64,
    sparse: bool,
}

impl LiveFile {
    /// Finds the data at or after the position; gives the hole before it.
    fn hole(&mut self) -> io::Result<Option<u64>> {
        let start = match rustix::fs::seek(&self.fd, SeekFrom::Data(self.position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => self.size.max(self.position),
            Err(errno) => return Err(errno.into()),
        };
        let hole = start.saturating_sub(self.position);
        self.position = start;
        self.data_end = match rustix::fs::seek(&self.fd, SeekFrom::Hole(start)) {
            Ok(end) => end,
            Err(Errno::NXIO) => start,
            Err(errno) => return Err(errno.into()),
        };
        Ok((hole > 0).then_some(hole))
    }
}

impl Source for LiveFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        let mut most = buffer.len();
        if self.sparse {
            if self.position >= self.data_end
                && let Some(hole) = self.hole()?
            {
                return Ok(Piece::Hole(hole));
            }
            most =
                most.min(usize::try_from(self.data_end - self.position.min(self.data_end)).unwrap_or(most));
        }
        let window = buffer.get_mut(..most).unwrap_or_default();
        loop {
            match rustix::io::pread(&self.fd, &mut *window, self.position) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(0) => return Ok(Piece::End),
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(Piece::Data(count));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn pieces(path: &Path) -> Vec<(bool, u64)> {
        let (_, mut source) = open(path.as_os_str().as_bytes()).unwrap().unwrap();
        let (mut buffer, mut pieces) = (vec![0; 64 << 10], Vec::<(bool, u64)>::new());
        loop {
            let (is_hole, len) = match source.read(&mut buffer).unwrap() {
                Piece::End => return pieces,
                Piece::Hole(len) => (true, len),
                Piece::Data(len) => (false, len as u64),
            };
            match pieces.last_mut() {
                Some(last) if last.0 == is_hole => last.1 += len,
                _ => pieces.push((is_hole, len)),
            }
        }
    }

    #[test]
    fn files_are_read_with_their_holes_and_nothing_else_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, vec![7; 200_000]).unwrap();
        assert_eq!(pieces(&plain), [(false, 200_000)]);
        let sparse = dir.path().join("sparse");
        let file = std::fs::File::create(&sparse).unwrap();
        file.write_all_at(&[1; 65_536], 1 << 20).unwrap();
        file.set_len(3 << 20).unwrap();
        let total: u64 = pieces(&sparse).iter().map(|(_, len)| len).sum();
        assert_eq!(total, 3 << 20);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&plain, &link).unwrap();
        for other in [&link, dir.path(), &dir.path().join("absent")] {
            assert!(open(other.as_os_str().as_bytes()).unwrap().is_none(), "{}", other.display());
        }
    }
}

//! Directories by descriptor: opened from a root on, listed for what is below them.
//!
//! Paths may be longer than the kernel takes in one piece. No symlink is followed below a root, and nothing but
//! directories is opened. Knows nothing of watches.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

/// The most bytes of a path that are resolved in one call; the kernel takes 4,096 with the NUL.
const PIECE_BYTES_MAX: usize = 4000;
/// Bytes of directory entries taken from the kernel at a time.
const LIST_BUFFER_BYTES: usize = 32 * 1024;
/// How often a resolution is tried again that a rename elsewhere disturbed (`EAGAIN`).
const RESOLVE_TRIES_MAX: usize = 16;

/// A handle on a directory that was not opened for reading.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a directory held when it was listed.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Names of its directories, and of what may be one where the filesystem does not say.
    pub dirs: Vec<Box<[u8]>>,
    /// Whether there was nothing at all in it.
    pub empty: bool,
}

/// Opens a root by its absolute path.
pub(super) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, HANDLE, Mode::empty())?)
}

/// Opens what the names lead to from a root.
pub(super) fn open_below(root: OwnedFd, names: &[&[u8]]) -> io::Result<OwnedFd> {
    let mut current = root;
    let mut piece = Vec::new();
    for name in names {
        if !piece.is_empty() {
            if piece.len() + 1 + name.len() > PIECE_BYTES_MAX {
                current = resolve(current.as_fd(), &piece)?;
                piece.clear();
            } else {
                piece.push(b'/');
            }
        }
        piece.extend_from_slice(name);
    }
    if piece.is_empty() { Ok(current) } else { resolve(current.as_fd(), &piece) }
}

fn resolve(dir: BorrowedFd<'_>, piece: &[u8]) -> io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RESOLVE_TRIES_MAX {
        match rustix::fs::openat2(dir, piece, HANDLE, Mode::empty(), how) {
            Err(Errno::AGAIN) => {}
            // Before Linux 5.6, or filtered in a container.
            Err(Errno::NOSYS) => break,
            other => return Ok(other?),
        }
    }
    let mut current: Option<OwnedFd> = None;
    for name in piece.split(|byte| *byte == b'/') {
        let above = current.as_ref().map_or(dir, AsFd::as_fd);
        current = Some(rustix::fs::openat(above, name, HANDLE, Mode::empty())?);
    }
    current.ok_or_else(|| Errno::NOENT.into())
}

/// Opens a directory's entry to be listed; anything but a directory is refused.
pub(super) fn open_entry(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may say so.
        Err(Errno::PERM) => Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?),
        other => Ok(other?),
    }
}

/// Lists a directory that was just opened.
pub(super) fn list(dir: BorrowedFd<'_>) -> io::Result<Listing> {
    let mut buffer: Vec<MaybeUninit<u8>> = vec![MaybeUninit::uninit(); LIST_BUFFER_BYTES];
    let mut raw = RawDir::new(dir, &mut buffer);
    let mut listing = Listing { dirs: Vec::new(), empty: true };
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        listing.empty = false;
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            listing.dirs.push(name.into());
        }
    }
    Ok(listing)
}

/// The path by which `/proc` offers an open directory again, or an entry of it.
pub(super) fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let mut path = format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    PathBuf::from(OsString::from_vec(path))
}

/// Whether an error says that something is not there, or is no directory any more. (`EXDEV`: a rename led out of the root
/// while a path was resolved.)
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ESTALE | libc::EXDEV))
}

//! Saves as programs make them, step by step: the names that they use on the way and the order of their renames.
//!
//! Owns no choice of what is saved or when. What is left behind between the steps is what the program leaves behind.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A program with a way of saving of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `backupcopy=no`: the old file is renamed to `f~`, a new `f` written, `f~` removed.
    VimByRename,
    /// `backupcopy=yes`: the old file is copied to `f~`, `f` overwritten in place, `f~` removed.
    VimInPlace,
    /// Autosaves to `#f#`, renames `f` to `f~` and keeps that, writes `f`, removes `#f#`.
    Emacs,
    /// `sed -i`: a temporary file beside it, renamed over it.
    Sed,
    /// Locks with `.~lock.f#`, writes a temporary file, renames that over it, unlocks.
    LibreOffice,
}

/// Saves `bytes` as the new content of an existing file.
pub(super) fn save(program: Program, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    let write_new = |to: &Path| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        // In pieces, as stdio does it.
        for piece in bytes.chunks(4096) {
            file.write_all(piece)?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    match program {
        Program::VimByRename => {
            let backup = beside(path, b"", b"~")?;
            fs::rename(path, &backup)?;
            write_new(path)?;
            fs::remove_file(backup)
        }
        Program::VimInPlace => {
            let backup = beside(path, b"", b"~")?;
            fs::copy(path, &backup)?;
            let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
            file.write_all(bytes)?;
            drop(file);
            fs::remove_file(backup)
        }
        Program::Emacs => {
            let (autosave, backup) = (beside(path, b"#", b"#")?, beside(path, b"", b"~")?);
            fs::write(&autosave, bytes)?;
            fs::rename(path, backup)?;
            write_new(path)?;
            fs::remove_file(autosave)
        }
        Program::Sed => {
            let temporary = beside(path, b"sed", b"Xq1")?;
            write_new(&temporary)?;
            fs::rename(temporary, path)
        }
        Program::LibreOffice => {
            let (lock, temporary) = (beside(path, b".~lock.", b"#")?, beside(path, b"lu", b".tmp")?);
            fs::write(&lock, b",me,here,22.11.2026 14:05,file:///home/me;")?;
            write_new(&temporary)?;
            fs::rename(temporary, path)?;
            fs::remove_file(lock)
        }
    }
}

/// A name made of another one, which has to be free: programs would choose another, and so does whoever tries again.
fn beside(path: &Path, before: &[u8], after: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut made = OsString::new();
    for part in [before, name, after] {
        made.push(OsStr::from_bytes(part));
    }
    let beside = path.with_file_name(made);
    // A name that would be too long is refused here, before anything is half done.
    match fs::symlink_metadata(&beside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(beside),
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

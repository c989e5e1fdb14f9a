//! Who may touch a journal: its owner. Checked before anything is written, and put right where that is safe.
//!
//! A journal holds everything that its owner ever had in a file; and whoever can write to it decides what a restore
//! gives back.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, IoContext, Result};
use crate::storage::Layout;

/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// The sticky bit: others may add names, and rename or remove none but their own.
const STICKY: u32 = 0o1000;

/// Refuses a journal directory that is somebody else's or that others can write, and a place where others could put
/// another in its stead. Then takes every right that group and others still have in it.
///
/// Directories above it may be writable for a group: many systems give each user one of their own.
///
/// # Errors
/// `Unsafe`, with what helps; `Io`.
pub(crate) fn make_sure(layout: &Layout) -> Result<()> {
    let dir = fs::canonicalize(layout.dir()).context(layout.dir())?;
    let meta = fs::metadata(&dir).context(&dir)?;
    let owner = rustix::process::geteuid().as_raw();
    if meta.uid() != owner {
        let what = format!(
            "it belongs to user {}, and this is user {owner}: run asofd as its owner, or use another directory",
            meta.uid()
        );
        return Err(Error::Unsafe { path: dir, what });
    }
    if meta.mode() & OTHERS_WRITE != 0 {
        let what = format!(
            "others can write to it (mode {:04o}); if nobody has, run: chmod 700 {}",
            meta.mode() & 0o7777,
            dir.display()
        );
        return Err(Error::Unsafe { path: dir, what });
    }
    for above in dir.ancestors().skip(1) {
        let mode = fs::metadata(above).context(above)?.mode();
        if mode & 0o002 != 0 && mode & STICKY == 0 {
            let what = format!(
                "everybody can write to it (mode {:04o}), and so replace the journal below it; run: chmod o-w {}",
                mode & 0o7777,
                above.display()
            );
            return Err(Error::Unsafe { path: above.to_path_buf(), what });
        }
    }
    // The index was made by RocksDB, with whatever rights the umask left.
    for dir in [dir, layout.segments(), layout.cookies(), layout.index()] {
        tighten(&dir)?;
    }
    Ok(())
}

/// Takes the rights of group and others from a directory and from what is in it.
fn tighten(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.context(dir)?,
    };
    take_rights(dir)?;
    for entry in entries {
        let path = entry.context(dir)?.path();
        let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
        if !is_link {
            take_rights(&path)?;
        }
    }
    Ok(())
}

fn take_rights(path: &Path) -> Result<()> {
    let mode = match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.context(path)?.mode(),
    };
    if mode & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7700)).context(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_write_is_refused_and_the_words_say_what_helps() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("journal");
        fs::create_dir(&dir).unwrap();
        for (mode, refused) in [(0o777, true), (0o770, true), (0o755, false), (0o700, false)] {
            with_mode(&dir, mode);
            match make_sure(&Layout::new(&dir)) {
                Err(Error::Unsafe { what, .. }) => {
                    assert!(refused && what.contains("chmod 700 "), "{mode:o}: {what}");
                }
                other => {
                    other.unwrap();
                    assert!(!refused, "{mode:o}");
                    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
                }
            }
        }
        for (mode, refused) in [(0o777, true), (0o1777, false), (0o775, false)] {
            with_mode(above.path(), mode);
            assert_eq!(make_sure(&Layout::new(&dir)).is_err(), refused, "above: {mode:o}");
        }
    }

    #[test]
    fn what_was_readable_is_not_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::create_dir_all(layout.index()).unwrap();
        let table = layout.index().join("000001.sst");
        fs::write(&table, "names").unwrap();
        with_mode(&layout.index(), 0o755);
        with_mode(&table, 0o644);
        std::os::unix::fs::symlink("/nowhere", dir.path().join("link")).unwrap();
        make_sure(&layout).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&layout.index()), mode(&table)), (0o700, 0o600));
    }
}

//! Random edits, the way people and programs make them: in place, by rename, by exchange, of files and directories.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, XattrFlags};

use crate::random::Random;
use crate::tree::set_mtime;

/// Files of this name are left alone: too large for tools that read holes.
pub const LEAVE_ALONE: &str = "huge";

/// What one edit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds to the end.
    Append,
    /// Writes over some bytes in the middle, in place.
    Overwrite,
    /// Adds bytes in the middle, rewriting the file in place.
    Insert,
    /// Cuts the end off, or all of it.
    Truncate,
    /// Makes the file longer by a hole.
    Extend,
    /// Makes a hole in the middle.
    Punch,
    /// Writes a new file beside it and renames that over it, as editors save.
    AtomicSave,
    /// Gives a file another name, maybe in another directory.
    Rename,
    /// Gives a directory another name, maybe in another directory.
    RenameDir,
    /// Swaps two names in one step.
    Exchange,
    /// Removes a file.
    Delete,
    /// Removes a directory with everything below.
    DeleteDir,
    /// Removes a file and makes another of the same name.
    Recreate,
    /// Makes a new file.
    Create,
    /// Makes directories below each other with a file in each, at once.
    CreateDirs,
    /// Gives a file one more name.
    HardLink,
    /// Makes or replaces a symlink.
    Symlink,
    /// Sets permission bits.
    Chmod,
    /// Sets an extended attribute.
    SetXattr,
    /// Sets only the modification time, of a file or directory.
    Touch,
}

/// All edits.
pub const EDITS: [Edit; 20] = [
    Edit::Append,
    Edit::Overwrite,
    Edit::Insert,
    Edit::Truncate,
    Edit::Extend,
    Edit::Punch,
    Edit::AtomicSave,
    Edit::Rename,
    Edit::RenameDir,
    Edit::Exchange,
    Edit::Delete,
    Edit::DeleteDir,
    Edit::Recreate,
    Edit::Create,
    Edit::CreateDirs,
    Edit::HardLink,
    Edit::Symlink,
    Edit::Chmod,
    Edit::SetXattr,
    Edit::Touch,
];

/// Makes random edits below a root.
pub struct Editor {
    root: PathBuf,
    random: Random,
    made: u64,
}

struct Listing {
    files: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
}

impl Editor {
    /// An editor of the tree at `root`.
    pub fn new(root: &Path, random: Random) -> Editor {
        Editor { root: root.to_path_buf(), random, made: 0 }
    }

    /// Makes `count` edits, each kind about equally often; says what it did, a line each.
    pub fn round(&mut self, count: usize) -> Vec<String> {
        let mut story = Vec::new();
        // What the filesystem refuses (a directory into itself, a name too long) is tried again otherwise.
        for _ in 0..count * 20 {
            if story.len() == count {
                break;
            }
            let edit = EDITS[self.random.below(EDITS.len() as u64) as usize];
            if let Some(Ok(line)) = self.make(edit) {
                story.push(line);
            }
        }
        story
    }

    /// Makes one edit; `None` where there is nothing to make it on.
    pub fn make(&mut self, edit: Edit) -> Option<std::io::Result<String>> {
        let listing = list(&self.root);
        self.made += 1;
        let new_name = format!("new-{}-{:x}", self.made, self.random.below(4096));
        let dir = self.random.pick(&listing.dirs)?.clone();
        let file = self.random.pick(&listing.files).cloned();
        let new = dir.join(&new_name);
        Some(match edit {
            Edit::Create | Edit::CreateDirs => self.create(edit, &new).map(|()| format!("{edit:?} {new:?}")),
            Edit::RenameDir | Edit::DeleteDir => {
                let dirs: Vec<PathBuf> =
                    listing.dirs.iter().filter(|path| **path != self.root).cloned().collect();
                let from = self.random.pick(&dirs)?.clone();
                if edit == Edit::RenameDir {
                    fs::rename(&from, &new).map(|()| format!("{edit:?} {from:?} to {new:?}"))
                } else if holds_much(&from) {
                    return None;
                } else {
                    fs::remove_dir_all(&from).map(|()| format!("{edit:?} {from:?}"))
                }
            }
            Edit::Rename => {
                let from = file?;
                fs::rename(&from, &new).map(|()| format!("{edit:?} {from:?} to {new:?}"))
            }
            Edit::HardLink => {
                let from = file?;
                fs::hard_link(&from, &new).map(|()| format!("{edit:?} {from:?} as {new:?}"))
            }
            Edit::Exchange => {
                let (all, from) = ([listing.files, listing.dirs].concat(), file?);
                let with = self.random.pick(&all)?.clone();
                rustix::fs::renameat_with(CWD, &from, CWD, &with, RenameFlags::EXCHANGE)
                    .map(|()| format!("{edit:?} {from:?} and {with:?}"))
                    .map_err(Into::into)
            }
            Edit::Symlink => {
                symlink(self.random.bits().to_string(), &new).map(|()| format!("{edit:?} {new:?}"))
            }
            Edit::Touch => {
                let path = if self.random.below(2) == 0 { dir } else { file? };
                let (seconds, nanoseconds) =
                    (self.random.below(4_000_000_000) as i64 - 500_000_000, self.random.below(1_000_000_000));
                set_mtime(&path, seconds, nanoseconds as i64);
                Ok(format!("{edit:?} {path:?}"))
            }
            _ => {
                let path = file?;
                self.change(edit, &path).map(|()| format!("{edit:?} {path:?}"))
            }
        })
    }

    fn create(&mut self, edit: Edit, new: &Path) -> std::io::Result<()> {
        if edit == Edit::Create {
            let len = self.random.below(100_000) as usize;
            return fs::write(new, self.random.text(len));
        }
        // Each file is made at once after its directory: the watcher cannot be there yet.
        let mut path = new.to_path_buf();
        for level in 0..4 {
            fs::create_dir(&path)?;
            for number in 0..3 {
                let len = self.random.below(3000) as usize;
                fs::write(path.join(format!("level-{level}-{number}")), self.random.text(len))?;
            }
            path.push("below");
        }
        Ok(())
    }

    fn change(&mut self, edit: Edit, path: &Path) -> std::io::Result<()> {
        let len = fs::metadata(path)?.len();
        let at = self.random.below(len + 1);
        let few = self.random.below(2000) as usize + 1;
        let open = || OpenOptions::new().write(true).open(path);
        match edit {
            Edit::Append => {
                let text = self.random.text(few);
                OpenOptions::new().append(true).open(path)?.write_all(&text)
            }
            Edit::Overwrite => open()?.write_all_at(&self.random.bytes(few), at),
            Edit::Insert => {
                let mut bytes = fs::read(path)?;
                let at = at as usize;
                bytes.splice(at..at, self.random.text(few));
                fs::write(path, bytes)
            }
            Edit::Truncate if self.random.below(4) == 0 => File::create(path).map(drop),
            Edit::Truncate => open()?.set_len(at),
            Edit::Extend => open()?.set_len(len + self.random.below(1 << 20)),
            Edit::Punch => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(rustix::fs::fallocate(open()?, flags, at, 65_536)?)
            }
            Edit::AtomicSave => {
                let mut bytes = fs::read(path)?;
                bytes.extend_from_slice(&self.random.text(few));
                let beside = path.with_file_name(format!(".save-{}", self.made));
                fs::write(&beside, bytes)?;
                fs::rename(&beside, path)
            }
            Edit::Delete => fs::remove_file(path),
            Edit::Recreate => {
                fs::remove_file(path)?;
                fs::write(path, self.random.text(few))
            }
            Edit::Chmod => {
                let mode = [0o600, 0o644, 0o755, 0o4711, 0o440][self.random.below(5) as usize];
                fs::set_permissions(path, Permissions::from_mode(mode))
            }
            Edit::SetXattr => {
                let value = self.random.bytes(few.min(500));
                Ok(rustix::fs::lsetxattr(path, "user.edited", &value, XattrFlags::empty())?)
            }
            _ => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }
}

/// More than a third of the tree: deleting that would leave too little for the rounds to come.
fn holds_much(dir: &Path) -> bool {
    let listing = list(dir);
    listing.files.len() + listing.dirs.len() > 120
}

fn list(root: &Path) -> Listing {
    let mut listing = Listing { files: Vec::new(), dirs: vec![root.to_path_buf()] };
    let mut next = 0;
    while let Some(dir) = listing.dirs.get(next).cloned() {
        next += 1;
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        let mut children: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        // The directory's own order depends on the filesystem's hash seed.
        children.sort();
        for child in children {
            match fs::symlink_metadata(&child) {
                Ok(meta) if meta.is_dir() => listing.dirs.push(child),
                Ok(meta)
                    if meta.is_file()
                        && child.file_name() != Some(OsStr::from_bytes(LEAVE_ALONE.as_bytes())) =>
                {
                    listing.files.push(child);
                }
                _ => {}
            }
        }
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::copy;
    use crate::{oracle, tree};

    #[test]
    fn every_edit_can_be_made_and_changes_something() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for number in 0..40 {
            let sub = root.join(format!("dir-{}/below", number % 10));
            fs::create_dir_all(&sub).unwrap();
            fs::write(sub.join(number.to_string()), Random::new(number).text(100_000)).unwrap();
        }
        let mut editor = Editor::new(&root, Random::new(5));
        for (number, edit) in EDITS.into_iter().enumerate() {
            let before = dir.path().join(format!("before-{number}"));
            copy(&root, &before);
            // A mode may be set to what it is already.
            let changes =
                |made: &std::io::Result<String>| made.is_ok() && !oracle::compare(&before, &root).is_empty();
            let made = (0..100).find_map(|_| editor.make(edit).filter(changes));
            assert!(made.is_some(), "{edit:?} changed nothing in a hundred tries");
        }
    }

    #[test]
    fn a_round_has_as_many_edits_as_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        tree::build(dir.path(), &mut Random::new(6));
        let mut editor = Editor::new(dir.path(), Random::new(6));
        assert_eq!(editor.round(200).len(), 200);
        crate::site::remove(dir.path());
    }
}

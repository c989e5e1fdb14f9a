//! Random edits, the way people and programs make them: in place, by rename, by exchange, of files and directories.

mod held;
mod kind;
mod save;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::fs::{CWD, FallocateFlags, FileType, Mode, RenameFlags, XattrFlags};

use crate::must::Must;
use crate::random::Random;
use crate::tree::try_set_mtime;
use held::Held;
pub use kind::{EDITS, Edit, Program};

/// Files of this name are left alone: too large for tools that read holes.
pub const LEAVE_ALONE: &str = "huge";
/// A tree with more files and directories than this is cut back before anything is added.
const ENTRIES_MAX: usize = 700;
/// No path is longer, so that it fits into a system call (4,095) also in a copy and where it is restored to. What lies
/// deeper is another matter (`hazards`: paths beyond PATH_MAX).
const PATH_BYTES_MAX: usize = 3800;
/// How deep directories are made at once.
const DEEP_PATH_BYTES: usize = 2600;

/// Files whose names begin so have forged times, and keep their names: to whoever was away, a file that was renamed
/// and a file that was renamed, written and given its old time back look the same.
const FORGED: &str = "forged-";

/// Files that got one more name since the last freeze point. Nothing but names is changed of them until then: what is
/// written through a name that is gone again before anybody looked has no event at the names that stay.
#[derive(Clone, Default)]
pub struct FreshLinks(Arc<Mutex<HashSet<(u64, u64)>>>);

impl FreshLinks {
    /// Everybody has looked.
    pub fn clear(&self) {
        self.0.lock().must("the fresh links").clear();
    }

    fn add(&self, path: &Path) -> io::Result<()> {
        let meta = fs::symlink_metadata(path)?;
        self.0.lock().must("the fresh links").insert((meta.dev(), meta.ino()));
        Ok(())
    }

    fn has(&self, path: &Path) -> bool {
        let inode = fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
        inode.is_ok_and(|inode| self.0.lock().must("the fresh links").contains(&inode))
    }
}

/// Makes random edits below a root.
pub struct Editor {
    root: PathBuf,
    /// Where trees go that are moved out of the root, if anywhere.
    outside: Option<PathBuf>,
    random: Random,
    made: u64,
    held: Held,
    fresh: FreshLinks,
    /// Kinds of edits to choose from.
    kinds: Vec<Edit>,
}

struct Listing {
    files: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
    symlinks: Vec<PathBuf>,
}

impl Editor {
    /// An editor of the tree at `root`.
    pub fn new(root: &Path, random: Random) -> Editor {
        let kinds = EDITS.to_vec();
        let (held, fresh) = (Held::default(), FreshLinks::default());
        Editor { root: root.to_path_buf(), outside: None, random, made: 0, held, fresh, kinds }
    }

    /// The same, which knows the fresh links of others that edit the same tree.
    #[must_use]
    pub fn with_links(self, fresh: &FreshLinks) -> Editor {
        Editor { fresh: fresh.clone(), ..self }
    }

    /// The same, which moves trees to a directory outside and back.
    #[must_use]
    pub fn with_outside(self, outside: &Path) -> Editor {
        Editor { outside: Some(outside.to_path_buf()), ..self }
    }

    /// The same, which maps no file: there are filesystems where nobody is told of a store through a mapping.
    #[must_use]
    pub fn without_mappings(mut self) -> Editor {
        let maps =
            |edit: &Edit| matches!(edit, Edit::MapStore | Edit::MapSync | Edit::MapKeep | Edit::MapAgain);
        self.kinds.retain(|edit| !maps(edit));
        self
    }

    /// Makes `count` edits, each kind about equally often; says what it did, a line each.
    pub fn round(&mut self, count: usize) -> Vec<String> {
        let mut story = Vec::new();
        self.edits(count, &mut |line| story.push(line));
        story
    }

    /// The same, told as it happens.
    pub fn edits(&mut self, count: usize, tell: &mut dyn FnMut(String)) {
        let mut made = 0;
        // What the filesystem refuses (a directory into itself, a name too long) is tried again otherwise.
        for _ in 0..count * 20 {
            if made == count {
                break;
            }
            let edit = self.kinds[self.random.below(self.kinds.len() as u64) as usize];
            if let Some(Ok(line)) = self.make(edit) {
                tell(line);
                made += 1;
            }
        }
        self.held.rest();
        // Alone, everybody has looked when the round is over; together, whoever has them look clears it.
        if Arc::strong_count(&self.fresh.0) == 1 {
            self.fresh.clear();
        }
    }

    /// Makes one edit; `None` where there is nothing to make it on.
    pub fn make(&mut self, edit: Edit) -> Option<io::Result<String>> {
        let listing = list(&self.root);
        // A tree that has grown large is cut back, so that a long run stays as quick as a short one.
        let edit =
            if listing.files.len() + listing.dirs.len() > ENTRIES_MAX { Edit::DeleteDir } else { edit };
        self.made += 1;
        let new_name = format!("new-{}-{:x}", self.made, self.random.below(4096));
        let dir = self.random.pick(&listing.dirs)?.clone();
        let new = dir.join(&new_name);
        if len(&new) + 600 > PATH_BYTES_MAX {
            return None;
        }
        let whole = match edit {
            Edit::Create
            | Edit::CreateDirs
            | Edit::RawNames
            | Edit::DeepDirs
            | Edit::Burst
            | Edit::ShortLived => Some(self.create(edit, &new).map(|()| format!("{edit:?} {new:?}"))),
            Edit::Nameless => {
                Some(self.held.nameless(&dir, &new, &mut self.random).map(|()| format!("{edit:?} {new:?}")))
            }
            Edit::NamelessKeep => Some(
                self.held
                    .nameless_and_keep(&dir, &new, &mut self.random)
                    .map(|()| format!("{edit:?} {new:?}")),
            ),
            Edit::RenameDir
            | Edit::DeleteDir
            | Edit::RecreateDir
            | Edit::MoveOut
            | Edit::MoveIn
            | Edit::EditOutside => {
                return self.change_dir(edit, &listing, &new);
            }
            Edit::Symlink => {
                let target = self.random.bits().to_string();
                Some(symlink(target, &new).map(|()| format!("{edit:?} {new:?}")))
            }
            Edit::ReplaceSymlink => {
                let path = self.random.pick(&listing.symlinks)?.clone();
                let target = self.random.bits().to_string();
                let replaced = symlink(target, &new).and_then(|()| fs::rename(&new, &path));
                Some(replaced.map(|()| format!("{edit:?} {path:?}")))
            }
            Edit::Forge if self.random.below(3) == 0 => {
                let path = dir.join(format!("{FORGED}{new_name}"));
                let len = self.random.below(5000) as usize;
                Some(fs::write(&path, self.random.text(len)).map(|()| format!("{edit:?} new {path:?}")))
            }
            Edit::MapAgain => {
                return self.held.store_again(&mut self.random).map(|path| Ok(format!("{edit:?} {path:?}")));
            }
            Edit::WriteAgain => {
                let written = self.held.write_again(&mut self.random)?;
                Some(written.map(|line| format!("{edit:?} {line}")))
            }
            _ => None,
        };
        if whole.is_some() {
            return whole;
        }
        let file = self.random.pick(&listing.files).cloned();
        match edit {
            Edit::Chmod | Edit::SetXattr | Edit::RemoveXattr | Edit::SetAcl | Edit::Chown | Edit::Touch => {
                let path = if self.random.below(3) == 0 { dir } else { file? };
                if self.fresh.has(&path) {
                    return None;
                }
                Some(self.attribute(edit, &path).map(|()| format!("{edit:?} {path:?}")))
            }
            Edit::Forge => {
                let forged: Vec<PathBuf> = listing.files.into_iter().filter(|path| is_forged(path)).collect();
                let path = self.random.pick(&forged)?.clone();
                Some(self.change(edit, &path).map(|()| format!("{edit:?} {path:?}")))
            }
            Edit::Rename | Edit::RenameOver | Edit::HardLink | Edit::Exchange => {
                self.name(edit, file?, &listing, &new)
            }
            _ => {
                let path = file?;
                let refused = matches!(edit, Edit::Save(_) | Edit::ChangeType) && is_forged(&path);
                if refused || edit != Edit::Delete && self.fresh.has(&path) {
                    return None;
                }
                Some(self.change(edit, &path).map(|()| format!("{edit:?} {path:?}")))
            }
        }
    }

    fn change_dir(&mut self, edit: Edit, listing: &Listing, new: &Path) -> Option<io::Result<String>> {
        let dirs: Vec<PathBuf> = listing.dirs.iter().filter(|path| **path != self.root).cloned().collect();
        match edit {
            Edit::MoveIn | Edit::EditOutside => {
                let outside = self.outside.clone()?;
                let mut trees: Vec<PathBuf> =
                    fs::read_dir(&outside).ok()?.flatten().map(|entry| entry.path()).collect();
                trees.sort();
                let tree = self.random.pick(&trees)?.clone();
                let there = list(&tree);
                if edit == Edit::MoveIn {
                    if depth(&there, &tree) + len(new) > PATH_BYTES_MAX {
                        return None;
                    }
                    return Some(fs::rename(&tree, new).map(|()| format!("{edit:?} {tree:?} as {new:?}")));
                }
                let file = self.random.pick(&there.files)?.clone();
                // What happens outside to a file with a name inside is nobody's event.
                if fs::metadata(&file).ok()?.nlink() > 1 {
                    return None;
                }
                let edit =
                    *self.random.pick(&[Edit::Append, Edit::Delete, Edit::AtomicSave, Edit::Recreate])?;
                return Some(self.change(edit, &file).map(|()| format!("outside: {edit:?} {file:?}")));
            }
            _ => {}
        }
        let from = self.random.pick(&dirs)?.clone();
        if edit == Edit::RenameDir && depth(listing, &from) + len(new) > PATH_BYTES_MAX {
            return None;
        }
        let done = match edit {
            Edit::RenameDir => fs::rename(&from, new).map(|()| format!("{edit:?} {from:?} to {new:?}")),
            // That would leave too little for the rounds to come.
            _ if holds_much(&from) => return None,
            Edit::MoveOut => {
                let to = self.outside.clone()?.join(new.file_name()?);
                fs::rename(&from, &to).map(|()| format!("{edit:?} {from:?} to {to:?}"))
            }
            Edit::RecreateDir => fs::remove_dir_all(&from).and_then(|()| {
                fs::create_dir(&from)?;
                fs::write(from.join("anew"), self.random.text(100))?;
                fs::create_dir(from.join("level"))?;
                fs::write(from.join("level/level-0-0"), self.random.text(100))?;
                Ok(format!("{edit:?} {from:?}"))
            }),
            _ => fs::remove_dir_all(&from).map(|()| format!("{edit:?} {from:?}")),
        };
        Some(done)
    }

    fn name(
        &mut self,
        edit: Edit,
        from: PathBuf,
        listing: &Listing,
        new: &Path,
    ) -> Option<io::Result<String>> {
        let others = match edit {
            Edit::Exchange => [&listing.files[..], &listing.dirs].concat(),
            _ => listing.files.clone(),
        };
        let with = self.random.pick(&others)?.clone();
        if is_forged(&from) || is_forged(&with) || depth(listing, &with) + len(&from) > PATH_BYTES_MAX {
            return None;
        }
        let done = match edit {
            Edit::Rename => fs::rename(&from, new).map(|()| format!("{edit:?} {from:?} to {new:?}")),
            Edit::HardLink => self
                .fresh
                .add(&from)
                .and_then(|()| fs::hard_link(&from, new))
                .map(|()| format!("{edit:?} {from:?} as {new:?}")),
            Edit::RenameOver if from == with => return None,
            Edit::RenameOver => fs::rename(&from, &with).map(|()| format!("{edit:?} {from:?} over {with:?}")),
            _ => rustix::fs::renameat_with(CWD, &from, CWD, &with, RenameFlags::EXCHANGE)
                .map(|()| format!("{edit:?} {from:?} and {with:?}"))
                .map_err(Into::into),
        };
        Some(done)
    }

    fn create(&mut self, edit: Edit, new: &Path) -> io::Result<()> {
        match edit {
            Edit::Create => {
                let len = self.random.below(100_000) as usize;
                fs::write(new, self.random.text(len))
            }
            Edit::ShortLived => {
                fs::write(new, self.random.text(100))?;
                fs::remove_file(new)
            }
            Edit::Burst => {
                fs::create_dir(new)?;
                (0..140)
                    .try_for_each(|number| fs::write(new.join(number.to_string()), number.to_string()))?;
                // What stays is not much.
                (0..135).try_for_each(|number| fs::remove_file(new.join(number.to_string())))
            }
            Edit::RawNames => {
                let dir = new.with_file_name(OsStr::from_bytes(
                    &[&b"raw\xff\n"[..], &self.made.to_le_bytes().map(|byte| byte | 0x80)].concat(),
                ));
                fs::create_dir(&dir)?;
                fs::write(dir.join(OsStr::from_bytes(b"\xff\xfe")), self.random.text(50))?;
                fs::write(dir.join(OsStr::from_bytes(b"new\nline")), self.random.text(50))?;
                fs::write(dir.join(OsStr::from_bytes(&[0xfd; 255])), self.random.text(50))
            }
            Edit::DeepDirs => {
                let mut path = new.to_path_buf();
                fs::create_dir(&path)?;
                while path.as_os_str().len() < DEEP_PATH_BYTES {
                    path.push("d".repeat(200));
                    fs::create_dir(&path)?;
                }
                fs::write(path.join("deepest"), self.random.text(50))
            }
            _ => {
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
        }
    }

    fn attribute(&mut self, edit: Edit, path: &Path) -> io::Result<()> {
        match edit {
            Edit::Chmod => {
                let modes = match fs::metadata(path)?.is_dir() {
                    true => [0o700, 0o755, 0o750, 0o1777, 0o2775],
                    false => [0o600, 0o644, 0o755, 0o4711, 0o440],
                };
                let mode = modes[self.random.below(5) as usize];
                fs::set_permissions(path, Permissions::from_mode(mode))
            }
            Edit::SetXattr => {
                let value_len = self.random.below(500) as usize;
                let value = self.random.bytes(value_len);
                Ok(rustix::fs::lsetxattr(path, "user.edited", &value, XattrFlags::empty())?)
            }
            Edit::RemoveXattr => Ok(rustix::fs::lremovexattr(path, "user.edited")?),
            Edit::SetAcl => {
                let user = self.random.below(60_000) as u32;
                let acl = access_list(user, self.random.below(8) as u16);
                Ok(rustix::fs::lsetxattr(path, "system.posix_acl_access", &acl, XattrFlags::empty())?)
            }
            Edit::Chown => {
                let (user, group) = (self.random.below(60_000) as u32, self.random.below(60_000) as u32);
                std::os::unix::fs::lchown(path, Some(user), Some(group))
            }
            _ => {
                let (seconds, nanoseconds) =
                    (self.random.below(4_000_000_000) as i64 - 500_000_000, self.random.below(1_000_000_000));
                try_set_mtime(path, seconds, nanoseconds as i64)
            }
        }
    }

    fn change(&mut self, edit: Edit, path: &Path) -> io::Result<()> {
        let meta = fs::metadata(path)?;
        let len = meta.len();
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
            Edit::Save(program) => {
                let mut bytes = fs::read(path)?;
                bytes.truncate(100_000);
                bytes.extend_from_slice(&self.random.text(few));
                save::save(program, path, &bytes)
            }
            Edit::Forge => {
                fs::write(path, self.random.text(len as usize))?;
                try_set_mtime(path, meta.mtime(), meta.mtime_nsec())
            }
            Edit::MapStore => self.held.map(path, &mut self.random, false),
            Edit::MapSync => self.held.map(path, &mut self.random, true),
            Edit::MapKeep => self.held.map_and_keep(path, &mut self.random),
            Edit::OpenKeep => self.held.open_and_keep(path, &mut self.random),
            Edit::Delete => fs::remove_file(path),
            Edit::Recreate => {
                fs::remove_file(path)?;
                fs::write(path, self.random.text(few))
            }
            Edit::ChangeType => {
                fs::remove_file(path)?;
                match self.random.below(3) {
                    0 => fs::create_dir(path)
                        .and_then(|()| fs::write(path.join("inside"), self.random.text(few))),
                    1 => symlink("elsewhere", path),
                    // Under a name of its own: another writer that takes it for the file would wait for a reader.
                    _ => {
                        let fifo =
                            path.with_file_name(format!("fifo-{}-{:x}", self.made, self.random.below(4096)));
                        Ok(rustix::fs::mknodat(CWD, fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?)
                    }
                }
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

fn len(path: &Path) -> usize {
    path.as_os_str().len()
}

/// How many bytes the longest path below a directory has more than the directory's own.
fn depth(listing: &Listing, dir: &Path) -> usize {
    let below = listing.dirs.iter().chain(&listing.files).filter(|path| path.starts_with(dir));
    below.map(|path| len(path) - len(dir)).max().unwrap_or(0)
}

fn is_forged(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(FORGED.as_bytes()))
}

/// A POSIX access list as its extended attribute holds it: owner, one more user, group, mask, others.
fn access_list(user: u32, permissions: u16) -> Vec<u8> {
    const NOBODY_IN_PARTICULAR: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, NOBODY_IN_PARTICULAR),
        (0x02, permissions, user),
        (0x04, 4, NOBODY_IN_PARTICULAR),
        (0x10, 7, NOBODY_IN_PARTICULAR),
        (0x20, 4, NOBODY_IN_PARTICULAR),
    ];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// More than a third of the tree: deleting that would leave too little for the rounds to come.
fn holds_much(dir: &Path) -> bool {
    let listing = list(dir);
    listing.files.len() + listing.dirs.len() > 120
}

fn list(root: &Path) -> Listing {
    let mut listing = Listing { files: Vec::new(), dirs: vec![root.to_path_buf()], symlinks: Vec::new() };
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
                Ok(meta) if meta.is_symlink() => listing.symlinks.push(child),
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
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let mut editor = Editor::new(&root, Random::new(5)).with_outside(&outside);
        for (number, edit) in EDITS.into_iter().enumerate() {
            let before = dir.path().join(format!("before-{number}"));
            copy(&root, &before);
            if edit == Edit::Chown && !rustix::process::geteuid().is_root() {
                eprintln!("skipped in part: needs root");
                continue;
            }
            // A mode may be set to what it is already.
            let changes = |made: &io::Result<String>| {
                made.is_ok() && (edit == Edit::EditOutside || !oracle::compare(&before, &root).is_empty())
            };
            editor.fresh.clear();
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
        assert!(list(dir.path()).files.len() < ENTRIES_MAX);
        crate::site::remove(dir.path());
    }
}

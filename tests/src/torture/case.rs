//! One step of something long, on a medium: a copy of a journal that is put there, and what becomes of its index when the process
//! ends.

use std::fs;
use std::path::{Path, PathBuf};

use asof_journal::storage::Layout;

use super::medium::Medium;
use crate::must::Must;
use crate::specimen::{copy_journal, read_dir};

/// What becomes of the index when the process ends.
#[derive(Clone, Copy, Debug)]
pub enum Index {
    /// What the process wrote.
    AsItIs,
    /// What was on disk before the step.
    AsItWas,
    /// Nothing is left.
    Gone,
}

impl Index {
    /// Makes it so; `before` is a copy of the index from before.
    pub fn leave(self, journal: &Path, before: &Path) {
        let index = Layout::new(journal).index();
        match self {
            Index::AsItIs => {}
            Index::AsItWas => {
                fs::remove_dir_all(&index).must(index.display());
                copy_dir(before, &index);
            }
            Index::Gone => fs::remove_dir_all(&index).must(index.display()),
        }
    }
}

/// Puts a copy of a journal on a medium of its own below `root`, all of it durable.
pub fn put_on_medium(journal: &Path, root: &Path, seed: u64) -> (Medium, PathBuf) {
    let dir = root.join("case");
    let _ = fs::remove_dir_all(&dir);
    copy_journal(journal, &dir, true);
    let medium = Medium::new(root, seed);
    let storage = medium.storage();
    for place in [dir.clone(), Layout::new(&dir).segments()] {
        storage.create_dir(&place).must("a directory");
        for (name, bytes) in read_dir(&place) {
            let mut file = storage.create(&place.join(&name)).must("a file");
            file.append(&bytes).must("its bytes");
            file.sync().must("its bytes");
        }
        storage.sync_dir(&place).must("a directory");
    }
    storage.sync_dir(root).must("a directory");
    (medium, dir)
}

/// Copies the files of a directory.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).must(to.display());
    for entry in fs::read_dir(from).must(from.display()).flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).must(entry.path().display());
    }
}

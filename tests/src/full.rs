//! A filesystem that is filled to the brim, and emptied again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::must::Must;

/// What is left after large pieces is taken by smaller ones, down to this.
const PIECES: [usize; 3] = [1 << 20, 64 << 10, 1 << 10];

/// A file that has all the room there was.
pub struct Filler {
    path: PathBuf,
}

impl Filler {
    /// Fills the filesystem of a directory: nothing fits any more.
    #[track_caller]
    pub fn fill(dir: &Path) -> Filler {
        let filler = Filler { path: dir.join("filler") };
        filler.fill_up();
        filler
    }

    /// Takes what has become free since.
    #[track_caller]
    pub fn fill_up(&self) {
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.path).must(self.path.display());
        for piece in PIECES {
            let bytes = vec![7; piece];
            loop {
                match file.write_all(&bytes).and_then(|()| file.sync_all()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{}: {error}", self.path.display()),
                }
            }
        }
    }

    /// Gives so many bytes back.
    #[track_caller]
    pub fn give_back(&self, bytes: u64) {
        let file = OpenOptions::new().write(true).open(&self.path).must(self.path.display());
        let len = file.metadata().must("filler").len();
        file.set_len(len.saturating_sub(bytes)).and_then(|()| file.sync_all()).must("filler");
    }

    /// Gives everything back.
    #[track_caller]
    pub fn empty(self) {
        fs::remove_file(&self.path).must(self.path.display());
        let dir = self.path.parent().must("a directory");
        File::open(dir).and_then(|dir| dir.sync_all()).must(dir.display());
    }
}

//! Files as suites write and read them in one word each. A failure panics with the path.

use std::fs;
use std::path::Path;

use crate::must::Must;

/// Writes a file into a directory that exists.
#[track_caller]
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    fs::write(&path, content).must(path.as_ref().display());
}

/// The text of a file.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).must(path.as_ref().display())
}

/// Makes a directory with all above it.
#[track_caller]
pub fn make(path: impl AsRef<Path>) {
    fs::create_dir_all(&path).must(path.as_ref().display());
}

/// What is in a directory, sorted.
#[track_caller]
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).must(dir.display());
    let mut names: Vec<String> =
        entries.map(|entry| entry.must("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

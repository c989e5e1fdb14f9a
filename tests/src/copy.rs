//! Faithful copies of trees to compare with later: `cp -a`, and the holes exactly as they were.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::must::Must;
use crate::oracle;
use crate::tree::set_mtime;

/// Copies a tree or file to a place where nothing is yet.
///
/// Panics where that fails or where the copy is not the same in every byte and attribute.
#[track_caller]
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg("--").args([from, to]).status().must("cp");
    assert!(done.success(), "cp -a {} failed", from.display());
    // cp makes holes of zeros that were written into a sparse file, and data of a hole at the end (coreutils 9.1).
    let differences = oracle::compare(from, to);
    if differences.is_empty() {
        return;
    }
    for difference in differences {
        let below = |root: &Path| {
            if difference.path.as_os_str().is_empty() { root.into() } else { root.join(&difference.path) }
        };
        assert_eq!(difference.what, oracle::What::Holes, "a copy made by cp -a differs: {difference}");
        rewrite(&below(from), &below(to));
    }
    oracle::assert_same(from, to, "a copy");
}

/// Writes the copy anew: data exactly where the original has data, holes where it has holes.
fn rewrite(from: &Path, to: &Path) {
    let (original, copied) =
        (File::open(from).must(from.display()), File::options().write(true).open(to).must(to.display()));
    let meta = fs::metadata(from).must(from.display());
    copied.set_len(0).must(to.display());
    copied.set_len(meta.len()).must(to.display());
    for (start, end) in oracle::data_ranges(&original).must(from.display()) {
        let mut bytes = vec![0; usize::try_from(end - start).must("a range that fits into memory")];
        original.read_exact_at(&mut bytes, start).must(from.display());
        copied.write_all_at(&bytes, start).must(to.display());
    }
    drop(copied);
    set_mtime(to, meta.mtime(), meta.mtime_nsec());
}

/// Copies a journal with the modes that one has; an archive may have lost them.
pub fn with_modes(from: &Path, to: &Path) {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().mode(0o700).create(to).must(to.display());
    for entry in fs::read_dir(from).must(from.display()) {
        let entry = entry.must(from.display());
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            with_modes(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).must(to.display());
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).must(to.display());
        }
    }
}

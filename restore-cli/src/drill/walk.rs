//! Looking at many paths of the live filesystem: walking trees, and observing with several threads.
//!
//! Reads only. What is to be left out is the caller's to say.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::observe::{Seen, observe};
use crate::interrupt;
use crate::path;

/// More threads than this wait for the same disk.
const THREADS_MAX: usize = 4;
/// So many paths are handed to the threads at a time.
const CHUNK: usize = 2048;

/// What a look at a path gave.
pub(crate) type Look = io::Result<Option<Seen>>;

/// The paths of a tree, itself first, directories before what is in them. `skip` gets the path and whether it is a
/// directory, and says what is left out with everything below. A directory that cannot be read is handed to `refused`.
pub(crate) fn walk(
    top: &Path,
    skip: &dyn Fn(&[u8], bool) -> bool,
    each: &mut dyn FnMut(PathBuf),
    refused: &mut dyn FnMut(&Path, io::Error),
) {
    let mut open = vec![top.to_path_buf()];
    while let Some(next) = open.pop() {
        if interrupt::requested() {
            return;
        }
        let is_dir = match next.symlink_metadata() {
            Ok(meta) => meta.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                refused(&next, error);
                continue;
            }
        };
        if skip(next.as_os_str().as_bytes(), is_dir) {
            continue;
        }
        if is_dir {
            match entries(&next) {
                Ok(mut below) => {
                    below.sort_unstable_by(|one, other| other.cmp(one));
                    open.extend(below);
                }
                Err(error) => refused(&next, error),
            }
        }
        each(next);
    }
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

/// Looks at paths with several threads, and hands over what was found in the order of the paths, some at a time.
pub(crate) fn observe_all(paths: impl IntoIterator<Item = PathBuf>, each: &mut dyn FnMut(PathBuf, Look)) {
    let mut paths = paths.into_iter().peekable();
    while paths.peek().is_some() && !interrupt::requested() {
        let chunk: Vec<PathBuf> = paths.by_ref().take(CHUNK).collect();
        for (path, look) in chunk.iter().zip(observe_chunk(&chunk)) {
            each(path.clone(), look);
        }
    }
}

fn observe_chunk(chunk: &[PathBuf]) -> Vec<Look> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, THREADS_MAX);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = chunk.get(at) else { return found };
            if interrupt::requested() {
                return found;
            }
            found.push((at, observe(path, true)));
        }
    };
    let mut all: Vec<(usize, Look)> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        all.extend(helpers.into_iter().filter_map(|helper| helper.join().ok()).flatten());
        all
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, look)| look).collect()
}

/// A path of bytes as the standard library wants it.
pub(crate) fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// The bytes of a path.
pub(crate) fn into_bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}

/// Where a path of the past lies below a directory that everything was restored into.
pub(crate) fn below(dir: &Path, path: &[u8]) -> PathBuf {
    let mut bytes = dir.as_os_str().as_bytes().to_vec();
    path::push(&mut bytes, path.strip_prefix(b"/").unwrap_or(path));
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_has_everything_but_what_is_left_out_and_observing_keeps_the_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/b/c", "a/d", "skipped/e", "f"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let mut paths = Vec::new();
        let skip = |path: &[u8], is_dir: bool| is_dir && path.ends_with(b"/skipped");
        walk(dir.path(), &skip, &mut |path| paths.push(path), &mut |path, error| panic!("{path:?}: {error}"));
        let names: Vec<_> =
            paths.iter().map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["", "a", "a/b", "a/b/c", "a/d", "f"]);
        let mut kinds = Vec::new();
        observe_all(paths, &mut |_, look| kinds.push(look.unwrap().unwrap().kind));
        assert_eq!(kinds, ["dir", "dir", "dir", "file", "file", "file"]);
    }

    #[test]
    fn a_path_of_the_past_lies_below_the_directory() {
        assert_eq!(below(Path::new("/s"), b"/home/a"), Path::new("/s/home/a"));
    }
}

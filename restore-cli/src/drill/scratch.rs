//! Scratch space: a directory of the drill's own, whose room is known before, whose size is watched, and which is gone
//! afterwards.
//!
//! Removes nothing but what was made in it: symlinks are removed, never followed.

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant as Stopwatch};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::report::{CleanUp, Name};
use super::stop::{Tried, inconclusive};
use crate::errors::{Error, Result};
use crate::output::escape;

/// What scratch directories are called.
const PREFIX: &str = "asof-drill-";
/// Locked as long as the drill runs; the lock goes with the process.
const LOCK: &str = "lock";
/// A program that was killed has gone by then.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked at whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Room that is left to others, and for what cannot be known before.
const SPARE_BYTES: u64 = 16 << 20;

/// A scratch directory. Dropped, it is removed.
pub(crate) struct Scratch {
    dir: Option<TempDir>,
    path: PathBuf,
    limit: Option<u64>,
    free_before: u64,
    peak: Cell<u64>,
    memory: Cell<Option<u64>>,
    _lock: File,
}

impl Scratch {
    /// Makes one in a directory, no larger than `limit`.
    pub(crate) fn create(parent: &Path, limit: Option<u64>) -> Result<Scratch> {
        let io = |action: &'static str| {
            move |source| Error::Io { path: escape(parent.as_os_str().as_bytes()), action, source }
        };
        let dir =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent).map_err(io("making scratch space"))?;
        let lock = File::create(dir.path().join(LOCK)).map_err(io("making scratch space"))?;
        lock.lock().map_err(io("locking scratch space"))?;
        let path = dir.path().to_path_buf();
        fs::create_dir(path.join("tmp")).map_err(io("making scratch space"))?;
        let free_before = free(&path).map_err(io("asking for room"))?;
        Ok(Scratch {
            dir: Some(dir),
            path,
            limit,
            free_before,
            peak: Cell::new(0),
            memory: Cell::new(None),
            _lock: lock,
        })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where programs make their temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Makes a directory in it.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|source| Error::Io {
            path: escape(path.as_os_str().as_bytes()),
            action: "making a directory in scratch space",
            source,
        })?;
        Ok(path)
    }

    /// Ends the drill where so many bytes more do not fit.
    pub(crate) fn room_for(&self, bytes: u64) -> Tried<()> {
        let shown = |bytes| indicatif::HumanBytes(bytes).to_string();
        let place = escape(self.path.parent().unwrap_or(&self.path).as_os_str().as_bytes());
        let used = self.used();
        if let Some(limit) = self.limit
            && used.saturating_add(bytes) > limit
        {
            return inconclusive(format!(
                "the drill needs {} of scratch space, and max_bytes is {}",
                shown(used.saturating_add(bytes)),
                shown(limit)
            ));
        }
        let free = free(&self.path).unwrap_or(self.free_before);
        if bytes.saturating_add(SPARE_BYTES) > free {
            return inconclusive(format!(
                "the drill needs {} of scratch space, and {place} has room for {}",
                shown(bytes.saturating_add(SPARE_BYTES)),
                shown(free)
            ));
        }
        Ok(())
    }

    /// Ends the drill where more is taken than may be, or nothing is left for others.
    pub(crate) fn check(&self) -> Tried<()> {
        let free = free(&self.path).unwrap_or(self.free_before);
        if free < SPARE_BYTES / 4 {
            return inconclusive("there is no room left where scratch space is");
        }
        let Some(limit) = self.limit else { return Ok(()) };
        // Others take room, too: only where it may have been the drill, it is counted.
        if self.free_before.saturating_sub(free) > limit && self.used() > limit {
            let limit = indicatif::HumanBytes(limit);
            return inconclusive(format!("the drill took more scratch space than max_bytes, {limit}"));
        }
        Ok(())
    }

    /// Bytes that it takes on disk.
    pub(crate) fn used(&self) -> u64 {
        let used = occupied(&self.path);
        self.peak.set(self.peak.get().max(used));
        used
    }

    /// The most that it was seen to take.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.get()
    }

    /// Takes note of the resident set of a program that works in it.
    pub(crate) fn note_memory(&self, bytes: Option<u64>) {
        self.memory.set(self.memory.get().max(bytes));
    }

    /// The largest resident set of those that were seen.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory.get()
    }

    /// What it may take.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Removes it, and says what became of it.
    pub(crate) fn remove(mut self) -> CleanUp {
        self.used();
        self.remove_now()
    }

    fn remove_now(&mut self) -> CleanUp {
        if let Some(dir) = self.dir.take() {
            let _ = dir.keep();
        }
        let result = remove_all(&self.path);
        CleanUp {
            what: "scratch space".to_owned(),
            path: Name::new(self.path.as_os_str().as_bytes()),
            removed: result.is_ok(),
            why: result.err().map(|error| error.to_string()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.dir.is_some() {
            self.remove_now();
        }
    }
}

/// Removes what drills that were killed have left in a directory.
pub(crate) fn remove_left(parent: &Path) -> Vec<CleanUp> {
    let me = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let left =
        entries.filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())).filter(|entry| {
            let is_mine = entry.path().symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == me);
            // Without a lock it is only just being made.
            let lock = File::open(entry.path().join(LOCK));
            is_mine && lock.is_ok_and(|lock| lock.try_lock().is_ok())
        });
    left.map(|entry| {
        let path = entry.path();
        end_programs_of(&path);
        let result = remove_all(&path);
        CleanUp {
            what: "scratch space that a killed drill left".to_owned(),
            path: Name::new(path.as_os_str().as_bytes()),
            removed: result.is_ok(),
            why: result.err().map(|error| error.to_string()),
        }
    })
    .collect()
}

/// Ends what works in a scratch directory: agents, and restores into it. Whoever started them was killed.
fn end_programs_of(scratch: &Path) {
    let inside: Vec<u8> = [scratch.as_os_str().as_bytes(), b"/"].concat();
    let mut ended = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let (Some(pid), true) = (pid, works_in(&line, &inside)) else { continue };
        // One that has gone by now is as good.
        if rustix::process::kill_process(pid, Signal::KILL).is_ok() {
            ended.push(process.path().join("cmdline"));
        }
    }
    // Until it has gone, it may make files. One that nobody has waited for yet has no words any more.
    let asked = Stopwatch::now();
    let is_there = |line: &PathBuf| fs::read(line).is_ok_and(|line| works_in(&line, &inside));
    while asked.elapsed() < GONE_WITHIN && ended.iter().any(is_there) {
        crate::interrupt::pause(LOOK_EVERY);
    }
}

/// Whether a command line is that of an agent whose journal lies inside, or of a restore to there.
fn works_in(line: &[u8], inside: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.split(|&byte| byte == 0).collect();
    let program = words.first().map_or(&b""[..], |program| crate::path::name(program));
    let takes = |option: &[u8]| {
        words
            .windows(2)
            .any(|pair| matches!(pair, [key, value] if *key == option && value.starts_with(inside)))
    };
    match program {
        b"asofd" => takes(b"--journal"),
        b"asof" => takes(b"--to") || takes(b"--journal"),
        _ => false,
    }
}

/// Removes scratch space, the lock last: where something cannot be removed yet, the next drill tries again.
fn remove_all(path: &Path) -> io::Result<()> {
    let mut failed = None;
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = match is_dir {
            _ if entry.file_name() == LOCK => Ok(()),
            true => remove_tree(&entry.path()),
            false => fs::remove_file(entry.path()),
        };
        if let Err(error) = removed {
            failed = Some(error);
        }
    }
    match failed {
        Some(error) => Err(error),
        None => remove_tree(path),
    }
}

/// Removes a tree, also one whose directories keep their owner out.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        Ok(()) => Ok(()),
    }
}

/// Gives the owner back the right to empty directories. Files keep their modes: they may have other names.
fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Bytes that a tree takes on disk.
fn occupied(dir: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

fn free(path: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(path)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::super::stop::Stop;
    use super::*;

    #[test]
    fn it_is_gone_afterwards_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "stays").unwrap();
        let scratch = Scratch::create(dir.path(), None).unwrap();
        let closed = scratch.make("a/closed").unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, closed.join("link")).unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        let path = scratch.path().to_path_buf();
        let told = scratch.remove();
        assert!(told.removed && !path.exists() && outside.exists(), "{told:?}");
        let scratch = Scratch::create(dir.path(), None).unwrap();
        let path = scratch.path().to_path_buf();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_killed_drills_left_goes_and_what_runs_stays() {
        let dir = tempfile::tempdir().unwrap();
        let running = Scratch::create(dir.path(), None).unwrap();
        let left = dir.path().join("asof-drill-left");
        fs::create_dir_all(left.join("deep")).unwrap();
        File::create(left.join(LOCK)).unwrap();
        fs::create_dir(dir.path().join("asof-drill-beginning")).unwrap();
        let told = remove_left(dir.path());
        assert_eq!(told.len(), 1);
        assert!(
            !left.exists() && running.path().exists() && dir.path().join("asof-drill-beginning").exists()
        );
    }

    #[test]
    fn what_could_not_be_removed_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("asof-drill-left");
        fs::create_dir_all(left.join("deep")).unwrap();
        File::create(left.join(LOCK)).unwrap();
        // As where somebody goes on writing to it until it is looked at for the second time.
        let stop = std::sync::atomic::AtomicBool::new(false);
        let told = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = fs::create_dir(left.join("deep/more"));
                    let _ = fs::write(left.join("deep/more/file"), "x");
                }
            });
            let told = remove_left(dir.path());
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            told
        });
        assert_eq!(told.len(), 1);
        assert_eq!(left.exists(), left.join(LOCK).exists(), "what is left can be found again");
        remove_left(dir.path());
        assert!(!left.exists());
    }

    #[test]
    fn only_programs_of_asof_that_work_inside_are_ended() {
        let line = |words: &[&str]| words.join("\0").into_bytes();
        for (words, is_it) in [
            (&["/usr/bin/asofd", "run", "--journal", "/s/d/lab/journal"][..], true),
            (
                &[
                    "/usr/bin/asof",
                    "--journal",
                    "/j",
                    "--json",
                    "restore",
                    "--to",
                    "/s/d/restored/x",
                    "--",
                    "/x",
                ],
                true,
            ),
            (&["/usr/bin/asof", "--journal", "/j", "restore", "--to", "/s/other"], false),
            (&["vi", "--journal", "/s/d/lab/journal"], false),
            (&["/usr/bin/asof", "drill", "/s/d/x"], false),
            (&[], false),
        ] {
            assert_eq!(works_in(&line(words), b"/s/d/"), is_it, "{words:?}");
        }
    }

    #[test]
    fn room_is_asked_for_before_and_the_limit_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path(), Some(1 << 20)).unwrap();
        assert!(scratch.room_for(1 << 10).is_ok());
        assert!(
            matches!(scratch.room_for(2 << 20), Err(Stop::Inconclusive(why)) if why.contains("max_bytes"))
        );
        assert!(matches!(scratch.room_for(u64::MAX), Err(Stop::Inconclusive(_))));
        let scratch = Scratch::create(dir.path(), None).unwrap();
        assert!(
            matches!(scratch.room_for(1 << 60), Err(Stop::Inconclusive(why)) if why.contains("room for"))
        );
        assert!(scratch.check().is_ok());
    }
}

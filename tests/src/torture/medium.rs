//! A medium that keeps what it promised and nothing else: the hostile stand-in for [`Storage`].
//!
//! Owns files and directories in memory, with what of them is certain to survive a power cut and what is not. Takes
//! every operation as the real storage would, counts those that change something, and fails, cuts or kills at the one
//! it was told to. Knows nothing of journals.
//!
//! What it may do at a power cut is what filesystems may do: bytes that were not synced are there or not, in any
//! order, by sectors of 512 bytes or pages of 4 KiB, or up to any byte; where they are not, there are zeros, or what lay
//! on the medium before. The length of a file may have grown without its bytes. Names that were made, changed or taken
//! away are kept or lost each for itself until their directory is synced; a rename happens or does not, as a whole.
//! Bytes whose sync failed are *clean*: they are read as if they were there, and no later sync makes them so.
//!
//! Not modelled: a directory whose sync failed forgets nothing (filesystems stop altogether when they cannot write their
//! own records), and bytes that were synced never change.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use asof_journal::storage::{AppendFile, ReadFile, Storage};

use super::file::{Fate, Inode};
use crate::random::Random;

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine, or the process, ends in the middle of it: nothing after it has an effect.
    End,
    /// `EIO`; of an append, some bytes may have been written.
    Io,
    /// `ENOSPC`; of an append, some bytes may have been written.
    Full,
}

/// A medium; clones are the same one.
#[derive(Clone)]
pub struct Medium {
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    files: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Directory>,
    operations: u64,
    /// What goes wrong at which operation.
    faults: BTreeMap<u64, Fault>,
    /// An interval of operations in which there is no room.
    full: std::ops::Range<u64>,
    /// The process, or the machine, has ended.
    ended: bool,
    violations: Vec<String>,
    trace: Vec<String>,
}

#[derive(Default)]
struct Directory {
    live: BTreeMap<OsString, usize>,
    safe: BTreeMap<OsString, usize>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Add(OsString, usize),
    Rename(OsString, OsString, usize),
    Remove(OsString),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<OsString, usize>) {
        match self {
            Change::Add(name, file) => drop(names.insert(name.clone(), *file)),
            Change::Remove(name) => drop(names.remove(name)),
            Change::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

/// How an operation goes.
enum Gate {
    /// As it should.
    Go,
    /// In the middle of it everything ends.
    Ends,
    Fails(io::Error),
}

impl Medium {
    /// An empty medium on which `root` is there; the seed decides every fate.
    pub fn new(root: &Path, seed: u64) -> Medium {
        let state = State {
            random: Random::new(seed),
            files: Vec::new(),
            dirs: BTreeMap::from([(root.to_path_buf(), Directory::default())]),
            operations: 0,
            faults: BTreeMap::new(),
            full: 0..0,
            ended: false,
            violations: Vec::new(),
            trace: Vec::new(),
        };
        Medium { state: Arc::new(Mutex::new(state)) }
    }

    /// The same as the seam that the journal wants.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations that changed something, or were to, since the beginning.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Has something go wrong at the operation of that number, counted from 0.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.lock().faults.insert(operation, fault);
    }

    /// Has no room at those operations.
    pub fn fill(&self, operations: std::ops::Range<u64>) {
        self.lock().full = operations;
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.full = 0..0;
    }

    /// Whether the process, or the machine, has ended at a [`Fault::End`].
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Ends the process here, between two operations.
    pub fn end(&self) {
        self.lock().ended = true;
    }

    /// The process is gone and another one may begin: what was written is still read, nothing else has changed.
    pub fn restart(&self) {
        self.lock().ended = false;
    }

    /// The power was cut and is there again: decides what is on the medium now.
    pub fn power_cut(&self, fate: Fate) {
        let mut state = self.lock();
        let State { random, files, dirs, .. } = &mut *state;
        let stale: Vec<Vec<u8>> = files.iter().map(|file| file.bytes().to_vec()).collect();
        for file in files.iter_mut() {
            file.power_cut(fate, random, &stale);
        }
        for dir in dirs.values_mut() {
            let kept_percent = match fate {
                Fate::Nothing => 0,
                Fate::Everything => 100,
                _ => [0, 50, 100][random.below(3) as usize],
            };
            for change in std::mem::take(&mut dir.pending) {
                if random.below(100) < kept_percent {
                    change.apply(&mut dir.safe);
                }
            }
            dir.live = dir.safe.clone();
        }
        state.trace.push(format!("power cut, {fate:?}"));
        state.ended = false;
    }

    /// Promises that were broken by whoever wrote: what was written or synced again after a failure.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// Every operation so far, for people.
    pub fn trace(&self) -> String {
        self.lock().trace.join("\n")
    }

    /// The names in a directory as they are read now, with the bytes of each.
    pub fn files(&self, dir: &Path) -> BTreeMap<OsString, Vec<u8>> {
        let state = self.lock();
        let Some(dir) = state.dirs.get(dir) else { return BTreeMap::new() };
        dir.live.iter().map(|(name, file)| (name.clone(), state.files[*file].bytes().to_vec())).collect()
    }
}

fn not_found() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

impl State {
    /// Counts an operation and says how it goes. Room is wanted for what makes something new.
    fn begin(&mut self, what: &str, path: &Path, wants_room: bool) -> io::Result<Gate> {
        if self.ended {
            return Err(io::Error::other("the process has ended"));
        }
        let number = self.operations;
        self.operations += 1;
        let fault = match self.faults.remove(&number) {
            None if wants_room && self.full.contains(&number) => Some(Fault::Full),
            other => other,
        };
        let name = path.file_name().unwrap_or(OsStr::new("/")).to_string_lossy();
        let how = fault.map_or(String::new(), |fault| format!(": {fault:?}"));
        self.trace.push(format!("{number} {what} {name}{how}"));
        Ok(match fault {
            None => Gate::Go,
            Some(Fault::End) => {
                self.ended = true;
                Gate::Ends
            }
            Some(Fault::Io) => Gate::Fails(io::Error::from_raw_os_error(libc::EIO)),
            Some(Fault::Full) => Gate::Fails(io::Error::from_raw_os_error(libc::ENOSPC)),
        })
    }

    /// Does something all or nothing: it is done, or fails, or everything ends before or after it.
    fn all_or_nothing(
        &mut self,
        gate: Gate,
        act: impl FnOnce(&mut State) -> io::Result<()>,
    ) -> io::Result<()> {
        match gate {
            Gate::Go => act(self),
            Gate::Fails(error) => Err(error),
            Gate::Ends => {
                if self.random.below(2) == 0 {
                    act(self)?;
                }
                Err(io::Error::other("everything ends"))
            }
        }
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.dirs.get_mut(path).ok_or_else(not_found)
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut Directory, OsString)> {
        let name = path.file_name().ok_or_else(not_found)?.to_os_string();
        Ok((self.dir(path.parent().unwrap_or(Path::new("/")))?, name))
    }

    fn find(&mut self, path: &Path) -> io::Result<usize> {
        let (dir, name) = self.parent(path)?;
        dir.live.get(&name).copied().ok_or_else(not_found)
    }

    fn change(&mut self, dir: &Path, change: Change) -> io::Result<()> {
        let dir = self.dir(dir)?;
        change.apply(&mut dir.live);
        dir.pending.push(change);
        Ok(())
    }

    fn hold_to_promise(&mut self, file: usize, what: &str) {
        if let Some(failed) = self.files[file].failed() {
            self.violations.push(format!("{what} after {failed} of the same file"));
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

impl Storage for Medium {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.dirs.contains_key(path) {
            return Ok(());
        }
        let gate = state.begin("create directory", path, true)?;
        state.all_or_nothing(gate, |state| {
            for dir in path.ancestors() {
                state.dirs.entry(dir.to_path_buf()).or_default();
            }
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.lock();
        let (dir, name) = state.parent(path)?;
        if dir.live.contains_key(&name) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let gate = state.begin("create", path, true)?;
        let file = state.files.len();
        state.files.push(Inode::default());
        state.all_or_nothing(gate, |state| state.change(parent_of(path), Change::Add(name, file)))?;
        Ok(Box::new(Handle { medium: self.clone(), path: path.to_path_buf(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = self.lock().find(path)?;
        Ok(Arc::new(Handle { medium: self.clone(), path: path.to_path_buf(), file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.lock().dir(dir)?.live.keys().cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.find(from)?;
        let gate = state.begin("rename", from, false)?;
        let (_, old) = state.parent(from)?;
        let (_, new) = state.parent(to)?;
        state.all_or_nothing(gate, |state| state.change(parent_of(from), Change::Rename(old, new, file)))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.find(path)?;
        let gate = state.begin("remove", path, false)?;
        let (_, name) = state.parent(path)?;
        state.all_or_nothing(gate, |state| state.change(parent_of(path), Change::Remove(name)))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.find(path)?;
        let gate = state.begin("truncate", path, false)?;
        state.all_or_nothing(gate, |state| {
            state.files[file].truncate(len as usize);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.dir(dir)?;
        let gate = state.begin("sync directory", dir, false)?;
        state.all_or_nothing(gate, |state| {
            let dir = state.dir(dir)?;
            dir.safe = dir.live.clone();
            dir.pending.clear();
            Ok(())
        })
    }

    fn settle(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.find(path)?;
        let gate = state.begin("settle", path, false)?;
        if let Gate::Fails(_) = gate {
            state.files[file].sync_fails();
        }
        state.all_or_nothing(gate, |state| {
            let State { files, random, .. } = state;
            files[file].sync();
            files[file].forget_cache(random);
            Ok(())
        })
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.find(path)?;
        let gate = state.begin("make read-only", path, false)?;
        state.all_or_nothing(gate, |_| Ok(()))
    }
}

/// A file that was opened; it stays the same file whatever becomes of its name.
struct Handle {
    medium: Medium,
    path: PathBuf,
    file: usize,
}

impl AppendFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.medium.lock();
        let gate = state.begin("append", &self.path, true)?;
        state.hold_to_promise(self.file, "an append");
        let written = match gate {
            Gate::Go => bytes.len(),
            _ => state.random.below(bytes.len() as u64 + 1) as usize,
        };
        state.files[self.file].append(&bytes[..written]);
        match gate {
            Gate::Go => Ok(()),
            Gate::Ends => Err(io::Error::other("everything ends")),
            Gate::Fails(error) => {
                state.files[self.file].fail("a failed append");
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.medium.lock();
        let gate = state.begin("sync", &self.path, false)?;
        state.hold_to_promise(self.file, "a sync");
        if let Gate::Fails(_) = gate {
            state.files[self.file].sync_fails();
            state.files[self.file].fail("a failed sync");
        }
        let file = self.file;
        state.all_or_nothing(gate, |state| {
            state.files[file].sync();
            Ok(())
        })
    }
}

impl ReadFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.medium.lock();
        let bytes = state.files[self.file].bytes();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.medium.lock().files[self.file].bytes().len() as u64)
    }
}

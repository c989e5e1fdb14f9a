//! Old segments that were compacted: their files go once no reader that may need them is left.
//!
//! A reader holds a pin: a file in `readers/` that it has locked since before it looked at the index. A lock goes with its
//! process, however that ends, so a pin that nobody holds is removed. One that began before a compaction keeps the old segments;
//! for a day at most, so that a forgotten reader does not fill the disk.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::error::{IoContext, Result};
use crate::segments::SegmentSet;
use crate::storage::{Layout, Storage};

/// How long a reader is waited for.
const PIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a running reader needs is not removed while it holds this.
pub struct Pin {
    path: PathBuf,
    _file: File,
}

impl Pin {
    /// Takes a pin on a journal; `None` where that is not possible: on a medium that nobody writes to nothing is removed either.
    pub(crate) fn take(layout: &Layout) -> Option<Pin> {
        let dir = layout.readers();
        if !dir.exists() {
            crate::storage::create_private_dir(&dir).ok()?;
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).ok()?;
        let path = dir.join(format!("{}-{:016x}", std::process::id(), u64::from_le_bytes(random)));
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let _ = std::fs::remove_file(&path);
            return None;
        }
        // A pin that was taken for left behind between the two holds nothing.
        let same = std::fs::metadata(&path).ok().zip(file.metadata().ok());
        let held = same.is_some_and(|(named, open)| named.ino() == open.ino());
        held.then_some(Pin { path, _file: file })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes what a crash left of compactions that did not come to their end.
pub(super) fn clear(storage: &dyn Storage, layout: &Layout) -> Result<()> {
    let dir = layout.segments();
    for name in storage.list(&dir).context(&dir)? {
        if Layout::is_new_segment(&name) {
            let path = dir.join(name);
            storage.remove(&path).context(&path)?;
        }
    }
    Ok(())
}

/// Old files, and the readers that they wait for.
#[derive(Default)]
pub(super) struct Retired {
    /// Pins that were held when the index was told of a compaction.
    awaited: HashSet<OsString>,
    /// Whether old files were looked for at all.
    looked: bool,
}

impl Retired {
    /// Notes who may still need what was just replaced.
    pub(super) fn note(&mut self, layout: &Layout) {
        self.awaited.extend(held(&layout.readers()));
        self.looked = true;
    }

    /// Removes the files of segments that were compacted, unless somebody is waited for; gives how many are left.
    pub(super) fn remove(&mut self, storage: &dyn Storage, layout: &Layout, set: &SegmentSet) -> Result<u64> {
        if set.superseded.is_empty() {
            return Ok(0);
        }
        if !self.looked {
            // Left by a process that ended meanwhile.
            self.note(layout);
        }
        let held = held(&layout.readers());
        self.awaited.retain(|pin| held.contains(pin));
        if !self.awaited.is_empty() {
            return Ok(set.superseded.len() as u64);
        }
        for segment in set.superseded.values() {
            storage.remove(&segment.path).context(&segment.path)?;
        }
        let dir = layout.segments();
        storage.sync_dir(&dir).context(&dir)?;
        Ok(0)
    }

    /// The one that has been waited for the longest.
    pub(super) fn oldest(&self, layout: &Layout) -> Option<Awaited> {
        let awaited = self.awaited.iter().filter_map(|name| {
            let pid = name.to_str()?.split_once('-')?.0.parse().ok()?;
            let taken = std::fs::metadata(layout.readers().join(name)).ok()?.modified().ok()?;
            Some(Awaited { pid, age: taken.elapsed().unwrap_or_default() })
        });
        awaited.max_by_key(|awaited| awaited.age)
    }
}

/// A reader that old files wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// Its process.
    pub pid: u32,
    /// How long it has had the journal open.
    pub age: Duration,
}

/// The pins that are held and waited for; those that nobody holds are removed.
fn held(dir: &Path) -> HashSet<OsString> {
    let Ok(entries) = std::fs::read_dir(dir) else { return HashSet::new() };
    let mut held = HashSet::new();
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(file) = File::open(&path) else { continue };
        let taken = file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => drop(std::fs::remove_file(&path)),
            Err(_) if taken.elapsed().is_ok_and(|age| age > PIN_MAX) => {}
            Err(_) => drop(held.insert(entry.file_name())),
        }
    }
    held
}

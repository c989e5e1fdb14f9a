//! Real power cuts: a journal on a real filesystem in a file, the file cloned at a moment, the clone mounted.
//!
//! Owns the stack of filesystems and what a cut of it is. Needs root, loop devices and a filesystem with reflinks, which
//! it makes; an error says what is missing.
//!
//! # What is simulated
//!
//! Three filesystems lie in each other: an xfs (the *outer* one) holds the image of another xfs (the *cache*), which
//! holds the image of the *device*, an ext4, xfs or btrfs with the journal. A clone (`FICLONE`) of a file is atomic: the
//! kernel locks the file, waits for what is being written to it, and writes its dirty pages out first.
//!
//! - [`Cut::Device`] clones the device's image. It holds every write that the journal's filesystem had sent to its
//!   device, and none that was still in memory: the power was cut, and the device had written out all that it took.
//!   What this shows is whether files, names and lengths were synced.
//! - [`Cut::Cache`] clones the image of the cache. Loop devices write through the page cache of the filesystem that they
//!   lie on (no direct I/O), and turn a flush of the device into an `fsync` of the image. So it holds what the device was
//!   told to flush, and of the rest whatever the kernel happened to write out: the device had a volatile cache, which
//!   is lost, in an order that nobody knows. What this shows is whether flushes were asked for and waited for.
//!
//! Not simulated: sectors that are torn, a device that lies about flushes, and filesystems other than these. A mount
//! replays the filesystem's own log, as after a real cut.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::filesystem::{Filesystem, Mount, run, unmount};
use crate::must::Must;

/// The images are sparse: what is written counts, not this.
const DEVICE_BYTES: u64 = 768 << 20;
const CACHE_BYTES: u64 = 2 << 30;

/// What is lost at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The memory of the machine.
    Device,
    /// The same, and the volatile cache of the device.
    Cache,
}

/// A journal's filesystem whose power can be cut.
pub struct Stack {
    filesystem: Filesystem,
    // Dropped in this order: what lies in another filesystem before that.
    device: Mounted,
    cache: Mounted,
    outer: Mount,
    cuts: AtomicU64,
}

/// An image that is mounted; dropped, it is unmounted, and its directory goes.
pub struct Mounted {
    point: PathBuf,
    _dir: TempDir,
}

impl Mounted {
    /// Mounts an image. One that was cloned has the same name as the one it came from, which xfs wants to be told.
    fn new(image: &Path, filesystem: Filesystem) -> Result<Mounted, String> {
        let dir = TempDir::with_prefix("asof-cut-").map_err(|error| error.to_string())?;
        let point = dir.path().join("mounted");
        fs::create_dir(&point).map_err(|error| error.to_string())?;
        let options = if filesystem == Filesystem::Xfs { "loop,nouuid" } else { "loop" };
        let mut mount = Command::new("mount");
        mount.args(["-t", filesystem.name(), "-o", options]).arg(image).arg(&point);
        run(&mut mount)?;
        Ok(Mounted { point, _dir: dir })
    }

    /// Where it is.
    pub fn point(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.point);
    }
}

/// A device as a cut left it, mounted.
pub struct AfterCut {
    // Dropped in this order.
    device: Mounted,
    _cache: Option<Mounted>,
    image: PathBuf,
}

impl AfterCut {
    /// Where it is.
    pub fn point(&self) -> &Path {
        self.device.point()
    }
}

impl Drop for AfterCut {
    fn drop(&mut self) {
        // Its blocks are given back when the loop device lets it go.
        if let Err(error) = fs::remove_file(&self.image) {
            eprintln!("{}: {error}", self.image.display());
        }
    }
}

/// The state of a device at a moment, not mounted yet.
#[must_use]
pub struct Clone {
    image: PathBuf,
    cut: Cut,
    filesystem: Filesystem,
}

impl Stack {
    /// Makes the three filesystems; an error says why there can be none here.
    pub fn new(filesystem: Filesystem) -> Result<Stack, String> {
        let outer = Mount::new(Filesystem::Xfs)?;
        let cache = make(&outer.point().join("cache"), Filesystem::Xfs, CACHE_BYTES)?;
        let device = make(&cache.point.join("device"), filesystem, DEVICE_BYTES)?;
        Ok(Stack { filesystem, device, cache, outer, cuts: AtomicU64::new(0) })
    }

    /// Where the journal's filesystem is mounted.
    pub fn point(&self) -> &Path {
        &self.device.point
    }

    /// Clones what is there now. When it returns the moment has passed.
    pub fn cut(&self, cut: Cut) -> io::Result<Clone> {
        let number = self.cuts.fetch_add(1, Ordering::Relaxed);
        let (below, name) = match cut {
            Cut::Device => (self.cache.point.as_path(), "device"),
            Cut::Cache => (self.outer.point(), "cache"),
        };
        let image = below.join(format!("{name}-{number}"));
        let (from, to) = (File::open(below.join(name))?, File::create_new(&image)?);
        rustix::fs::ioctl_ficlone(&to, &from)?;
        Ok(Clone { image, cut, filesystem: self.filesystem })
    }
}

impl Clone {
    /// Mounts it: the machine has power again.
    pub fn mount(self) -> Result<AfterCut, String> {
        let Clone { image, cut, filesystem } = self;
        let cache = match cut {
            Cut::Device => None,
            Cut::Cache => Some(Mounted::new(&image, Filesystem::Xfs)?),
        };
        let device = match &cache {
            None => Mounted::new(&image, filesystem)?,
            Some(cache) => Mounted::new(&cache.point.join("device"), filesystem)?,
        };
        Ok(AfterCut { device, _cache: cache, image })
    }
}

fn make(image: &Path, filesystem: Filesystem, bytes: u64) -> Result<Mounted, String> {
    File::create(image).and_then(|file| file.set_len(bytes)).must(image.display());
    let (program, arguments): (_, &[&str]) = match filesystem {
        Filesystem::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
        Filesystem::Btrfs => ("mkfs.btrfs", &["-q"]),
        _ => ("mkfs.xfs", &["-q"]),
    };
    run(Command::new(program).args(arguments).arg(image))?;
    Mounted::new(image, filesystem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// The stand-in for the hardware is itself put to the test: it loses what nobody synced, and keeps what somebody did.
    #[test]
    fn what_was_not_synced_is_lost_and_what_was_is_there() {
        let stack = match Stack::new(Filesystem::Ext4) {
            Ok(stack) => stack,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        };
        let write = |name: &str, sync: bool| {
            let mut file = File::create(stack.point().join(name)).unwrap();
            file.write_all(&[7; 10_000]).unwrap();
            if sync {
                file.sync_all().unwrap();
                File::open(stack.point()).unwrap().sync_all().unwrap();
            }
        };
        write("synced", true);
        write("not-synced", false);
        for cut in [Cut::Device, Cut::Cache] {
            let after = stack.cut(cut).unwrap().mount().unwrap();
            assert_eq!(fs::read(after.point().join("synced")).unwrap(), [7; 10_000], "{cut:?}");
            let lost = fs::read(after.point().join("not-synced")).unwrap_or_default();
            assert_ne!(lost, [7; 10_000], "{cut:?}: what was not synced is there all the same");
        }
    }
}

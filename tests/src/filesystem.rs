//! Real filesystems for one test: made in a file, mounted, and taken down again at the end, also after a panic.
//!
//! Owns the images, mounts and loop devices that it makes, and no others. Needs root; where that or a program is
//! missing it says so, and the test that wanted it says why it is skipped.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::must::Must;
use crate::wait::quiet;

/// The image is sparse: what is written counts, not this.
const IMAGE_BYTES: u64 = 4 << 30;

/// How long a filesystem may stay busy after the last program on it has ended.
const BUSY_MAX: Duration = Duration::from_secs(20);

/// The filesystems that people keep their files on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filesystem {
    /// In a loop file.
    Ext4,
    /// In a loop file; shares blocks.
    Xfs,
    /// In a loop file; shares blocks, has subvolumes.
    Btrfs,
    /// In memory.
    Tmpfs,
    /// A layer over another, both on one ext4.
    Overlay,
}

impl Filesystem {
    /// Its name, as `mount -t` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
            Filesystem::Btrfs => "btrfs",
            Filesystem::Tmpfs => "tmpfs",
            Filesystem::Overlay => "overlay",
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mounted filesystem of its own.
pub struct Mount {
    filesystem: Filesystem,
    bytes: u64,
    point: PathBuf,
    /// What is mounted, in order.
    mounted: Vec<PathBuf>,
    dir: TempDir,
}

impl Mount {
    /// Makes and mounts one below the temporary directory; an error says why there can be none here.
    pub fn new(filesystem: Filesystem) -> Result<Mount, String> {
        Mount::of_size(filesystem, IMAGE_BYTES)
    }

    /// The same with so many bytes, to be filled.
    pub fn of_size(filesystem: Filesystem, bytes: u64) -> Result<Mount, String> {
        if !rustix::process::geteuid().is_root() {
            return Err(format!("{filesystem}: mounting needs root"));
        }
        let dir = TempDir::with_prefix("asof-fs-").must("a temporary directory");
        // Another user must reach what is below in the tests that need one.
        open_to_all(dir.path());
        let point = dir.path().join("mounted");
        fs::create_dir(&point).must(point.display());
        let mut mount = Mount { filesystem, bytes, point, mounted: Vec::new(), dir };
        mount.build()?;
        Ok(mount)
    }

    /// What it is.
    pub fn filesystem(&self) -> Filesystem {
        self.filesystem
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// A directory on the filesystem below, for an overlay; on the one that holds the images otherwise.
    pub fn beside(&self) -> PathBuf {
        match self.filesystem {
            Filesystem::Overlay => self.dir.path().join("base"),
            _ => self.dir.path().to_path_buf(),
        }
    }

    /// A directory of an overlay that came from the lower layer; holds `file` and `dir/other`.
    pub fn from_lower(&self) -> PathBuf {
        self.point.join("from-lower")
    }

    fn build(&mut self) -> Result<(), String> {
        let point = self.point.clone();
        match self.filesystem {
            Filesystem::Ext4 => self.image("mkfs.ext4", &["-q", "-F", "-i", "8192"], &point)?,
            Filesystem::Xfs => self.image("mkfs.xfs", &["-q"], &point)?,
            Filesystem::Btrfs => self.image("mkfs.btrfs", &["-q"], &point)?,
            Filesystem::Tmpfs => {
                let options = format!("size={},mode=755", self.bytes);
                self.mount(&["-t", "tmpfs", "-o", &options, "asof-tests"], &point)?
            }
            Filesystem::Overlay => {
                let base = self.dir.path().join("base");
                fs::create_dir(&base).must(base.display());
                self.image("mkfs.ext4", &["-q", "-F", "-i", "8192"], &base)?;
                for layer in ["lower", "upper", "work"] {
                    fs::create_dir(base.join(layer)).must(layer);
                }
                // Before it is a layer: afterwards nobody may change it.
                let below = base.join("lower/from-lower");
                fs::create_dir_all(below.join("dir")).must(below.display());
                fs::write(below.join("file"), "in the lower layer").must("file");
                fs::write(below.join("dir/other"), "in the lower layer, too").must("other");
                let at = base.display();
                let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
                self.mount(&["-t", "overlay", "-o", &options, "asof-tests"], &point)?;
            }
        }
        open_to_all(&self.point);
        Ok(())
    }

    fn image(&mut self, make: &str, arguments: &[&str], point: &Path) -> Result<(), String> {
        let image = self.dir.path().join("image");
        File::create(&image).and_then(|file| file.set_len(self.bytes)).must(image.display());
        run(Command::new(make).args(arguments).arg(&image))?;
        let image = image.to_string_lossy().into_owned();
        // The loop device goes away by itself when its last mount does.
        self.mount(&["-o", "loop", &image], point)
    }

    fn mount(&mut self, arguments: &[&str], point: &Path) -> Result<(), String> {
        run(Command::new("mount").args(arguments).arg(point))?;
        self.mounted.push(point.to_path_buf());
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        for point in self.mounted.iter().rev() {
            unmount(point);
        }
    }
}

/// Unmounts; waits a while for those that are just ending there, and then takes the name away all the same.
pub fn unmount(point: &Path) {
    let start = Instant::now();
    loop {
        let Err(error) = run(Command::new("umount").arg(point)) else { return };
        if start.elapsed() > BUSY_MAX {
            eprintln!("{}: still busy, unmounted lazily: {error}", point.display());
            let _ = run(Command::new("umount").arg("-l").arg(point));
            return;
        }
        quiet(Duration::from_millis(50));
    }
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).must(dir.display());
}

/// Runs a program to its end; an error says what it said.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// How `statfs` names overlayfs.
pub const OVERLAYFS: i64 = 0x794c_7630;
/// How `statfs` names xfs.
pub const XFS: i64 = 0x5846_5342;

/// Whether a path lies on the filesystem that `statfs` names so.
pub fn is_on(path: &Path, magic: i64) -> bool {
    rustix::fs::statfs(path).must(path.display()).f_type == magic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_gone_afterwards() {
        for filesystem in [Filesystem::Ext4, Filesystem::Tmpfs, Filesystem::Overlay] {
            let mount = match Mount::new(filesystem) {
                Ok(mount) => mount,
                Err(why) => {
                    eprintln!("skipped: {why}");
                    return;
                }
            };
            let point = mount.point().to_path_buf();
            fs::write(point.join("file"), "there").unwrap();
            let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
            let name = point.to_string_lossy().into_owned();
            assert!(mounts().contains(&format!("{name} ")));
            drop(mount);
            assert!(!mounts().contains(&format!("{name} ")) && !point.exists());
        }
    }
}

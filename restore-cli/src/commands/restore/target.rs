//! What TARGET means, and whether it may be written to.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use asof_journal::types::Kind;

use crate::args::Overwrite;
use crate::errors::{Error, Result};
use crate::output::escape;
use crate::plan::{Item, Shape};
use crate::write;

/// Where things go.
#[derive(Debug)]
pub(super) struct Target {
    /// The directory that everything is written in.
    pub(super) base: PathBuf,
    /// How things lie in it.
    pub(super) shape: Shape,
    /// Whether it was there before.
    pub(super) base_existed: bool,
}

impl Target {
    /// Decides what TARGET is, and refuses one that holds something already, unless told what to do with that.
    pub(super) fn choose(to: &Path, mut items: Vec<Item>, overwrite: Option<Overwrite>) -> Result<Target> {
        let there = look(to)?;
        let is_dir = there.as_ref().is_some_and(Metadata::is_dir);
        if there.as_ref().is_some_and(Metadata::is_symlink) {
            let what = format!("{}: the target is a symlink", shown(to));
            return Err(Error::failed(what, "name what it points to; restores follow no symlinks"));
        }
        let single = if items.len() == 1 { items.pop() } else { None };
        match single {
            Some(item) if item.entry.kind == Kind::Dir => {
                require_room(to, there.as_ref(), overwrite)?;
                Ok(Target { base: to.to_path_buf(), shape: Shape::IsBase(item), base_existed: is_dir })
            }
            Some(item) if is_dir => {
                let inside = to.join(std::ffi::OsStr::from_bytes(&item.name));
                require_free(&inside, overwrite)?;
                Ok(Target { base: to.to_path_buf(), shape: Shape::InBase(vec![item]), base_existed: true })
            }
            Some(mut item) => {
                require_free(to, overwrite)?;
                let (Some(name), Some(parent)) = (to.file_name(), to.parent()) else {
                    return Err(Error::usage(
                        format!("{}: no file can have this name", shown(to)),
                        "name a file",
                    ));
                };
                item.name = name.as_bytes().to_vec();
                let base = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                let base_existed = base.is_dir();
                Ok(Target { base: base.to_path_buf(), shape: Shape::InBase(vec![item]), base_existed })
            }
            None => {
                require_names(&items)?;
                require_room(to, there.as_ref(), overwrite)?;
                Ok(Target { base: to.to_path_buf(), shape: Shape::InBase(items), base_existed: is_dir })
            }
        }
    }

    /// Refuses a target that is where the paths are or that the journal is in, told by what is on disk.
    ///
    /// Elsewhere below a protected root a restore is harmless: it is captured like anything else.
    pub(super) fn check_place(
        &self,
        journal: &Path,
        paths: &[Vec<u8>],
        overwrite: Option<Overwrite>,
    ) -> Result<()> {
        let base = real(&self.base);
        if let Ok(journal) = fs::canonicalize(journal)
            && base.starts_with(&journal)
        {
            let what = format!("{}: the target lies in the journal", shown(&self.base));
            return Err(Error::failed(what, "name a target outside of it: what lies there is asofd's"));
        }
        if !matches!(overwrite, Some(Overwrite::IfChanged | Overwrite::Always)) {
            return Ok(());
        }
        let places: Vec<PathBuf> = match &self.shape {
            Shape::IsBase(_) => vec![base],
            Shape::InBase(items) => {
                items.iter().map(|item| base.join(std::ffi::OsStr::from_bytes(&item.name))).collect()
            }
        };
        let live = |place: &PathBuf| paths.iter().any(|path| path == place.as_os_str().as_bytes());
        match places.iter().find(|place| live(place)) {
            Some(place) => {
                let what = format!(
                    "{}: this is where it is now, and --to would overwrite it for good",
                    shown(place)
                );
                Err(Error::failed(
                    what,
                    "say --in-place: that leaves what the journal does not hold, and can be undone",
                ))
            }
            None => Ok(()),
        }
    }

    /// Creates what is written into: the base itself where it is there, else a directory beside it that becomes the
    /// base when everything is in it. Nothing incomplete ever has the target's name then, and the files in it need no
    /// temporary names of their own (measured: a quarter of the time).
    pub(super) fn create(&self) -> Result<PathBuf> {
        if self.base_existed {
            return Ok(self.base.clone());
        }
        let context = |source| Error::Io { path: shown(&self.base), action: "creating the target", source };
        let parent = match self.base.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(context)?;
        let name = self.base.file_name().unwrap_or_default().as_bytes();
        for left in write::left_aside(parent, name) {
            // What a killed restore to the same target had got to. What cannot be removed keeps a name that says so.
            let _ = fs::remove_dir_all(&left);
        }
        let mode = match self.shape {
            Shape::IsBase(_) => 0o700,
            Shape::InBase(_) => 0o777,
        };
        let aside = parent.join(write::temporary_name(name));
        DirBuilder::new().mode(mode).create(&aside).map_err(context)?;
        Ok(aside)
    }

    /// Gives the directory that was written into the target's name.
    pub(super) fn reveal(&self, written: &Path) -> Result<()> {
        if self.base_existed {
            return Ok(());
        }
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let renamed = match renameat_with(CWD, written, CWD, &self.base, RenameFlags::NOREPLACE) {
            // The filesystem knows no such rename; a directory never replaces one that is not empty.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(written, &self.base),
            other => other.map_err(io::Error::from),
        };
        renamed.map_err(|source| Error::Io {
            path: shown(&self.base),
            action: "giving the restored directory its name",
            source,
        })
    }

    /// Where the incomplete result of a restore that ended early is, if it is not in the target itself.
    pub(super) fn left_at<'p>(&self, written: &'p Path) -> Option<&'p Path> {
        (!self.base_existed).then_some(written)
    }
}

/// The path without symlinks, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for above in path.ancestors() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        if let Ok(real) = fs::canonicalize(above) {
            return missing.iter().rev().fold(real, |path, name| path.join(name));
        }
        missing.extend(above.file_name());
    }
    path.to_path_buf()
}

pub(super) fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}

/// What is at a path, without following a symlink there.
fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(Some(there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path: shown(path), action: "looking at the target", source }),
    }
}

/// A directory is to be restored here: nothing, or an empty directory, or permission to mix.
fn require_room(to: &Path, there: Option<&Metadata>, overwrite: Option<Overwrite>) -> Result<()> {
    let Some(there) = there else { return Ok(()) };
    if !there.is_dir() {
        let what = format!("{}: the target is no directory", shown(to));
        return Err(Error::failed(
            what,
            "name another target, or move it away: nothing is deleted for a restore",
        ));
    }
    let context = |source| Error::Io { path: shown(to), action: "listing the target", source };
    let is_empty = fs::read_dir(to).map_err(context)?.next().is_none();
    if is_empty || overwrite.is_some() {
        return Ok(());
    }
    Err(Error::failed(format!("{}: the target directory is not empty", shown(to)), OPTIONS))
}

/// A file is to be restored here.
fn require_free(path: &Path, overwrite: Option<Overwrite>) -> Result<()> {
    match look(path)? {
        Some(there) if there.is_dir() => {
            let what = format!("{}: a directory is in the place of the file", shown(path));
            Err(Error::failed(what, "name another target: nothing is deleted for a restore"))
        }
        Some(_) if overwrite.is_none() => {
            Err(Error::failed(format!("{} exists already", shown(path)), OPTIONS))
        }
        _ => Ok(()),
    }
}

const OPTIONS: &str =
    "name another target, or say what to do with what exists: --overwrite never, if-changed or always";

/// Several things go inside one directory, so each needs a name of its own.
fn require_names(items: &[Item]) -> Result<()> {
    let mut names = HashSet::new();
    for item in items {
        let path = escape(&item.path);
        if item.name.is_empty() {
            return Err(Error::usage(format!("{path} has no name to be restored under"), "restore it alone"));
        }
        if !names.insert(&item.name) {
            let what = format!("two of the paths are named {}", escape(&item.name));
            return Err(Error::usage(what, "restore them to different targets"));
        }
    }
    Ok(())
}

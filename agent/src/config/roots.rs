//! The roots of a configuration: found on disk, freed of symlinks, sorted, each with its own rules.
//!
//! Owns what is said of roots that are missing, no directories, in each other or in the journal, and to which root an
//! absolute path among the patterns belongs. Looks at the disk, changes nothing.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use asof_journal::types::RootPolicy;
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::error::{ConfigError, Warning};
use super::file::{File, FileRoot, Pattern};

/// The roots as they were found.
pub(super) struct Found {
    /// None inside another, unless on another filesystem; sorted.
    pub(super) top: Vec<PathBuf>,
    /// All of them, sorted by path.
    all: Vec<Named>,
    pub(super) warnings: Vec<Warning>,
    pub(super) notes: Vec<String>,
}

/// A root that was named.
struct Named {
    /// Its path, free of symlinks as far as it exists.
    path: PathBuf,
    /// As it was named.
    named: PathBuf,
    /// Its rules in the file, where it has any.
    table: Option<FileRoot>,
}

/// Finds the roots that flags or, where there are none, the file name.
pub(super) fn find(flags: &[PathBuf], file: &File, journal: &Path) -> Result<Found, ConfigError> {
    let named: Vec<PathBuf> = match flags {
        [] => file.roots.iter().map(|root| root.path.clone()).collect(),
        flags => flags.to_vec(),
    };
    if named.is_empty() {
        return Err(ConfigError::Nothing { what: "root", flag: "--root" });
    }
    let mut found = Found { top: Vec::new(), all: Vec::new(), warnings: Vec::new(), notes: Vec::new() };
    for path in &named {
        found.look_at(path, named.len() > 1, journal)?;
    }
    if found.all.iter().all(|root| !root.path.exists())
        && let Some(root) = found.all.first()
    {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(ConfigError::Root { path: root.named.clone(), source });
    }
    for table in file.roots.iter().filter(|root| root.table) {
        let Ok(path) = resolve(&table.path) else { continue };
        let Some(root) = found.all.iter_mut().find(|root| root.path == path) else { continue };
        if root.table.replace(table.clone()).is_some() {
            return Err(ConfigError::RootTwice { path: table.path.clone() });
        }
    }
    // In path order an outer root comes before what is below it.
    found.all.sort_by(|one, other| one.path.cmp(&other.path));
    for root in &found.all {
        let one_file_system = |outer: &Path| {
            let outer = found.all.iter().find(|root| root.path == outer)?;
            outer.table.as_ref()?.one_file_system
        };
        match found.top.iter().rev().find(|outer| root.path.starts_with(outer)) {
            // Another filesystem below a root that keeps to its own is not protected by that.
            Some(within)
                if one_file_system(within).unwrap_or(file.one_file_system)
                    && filesystem_of(&root.path) != filesystem_of(within) =>
            {
                found.top.push(root.path.clone());
            }
            Some(within) => {
                let (root, within) = (root.path.clone(), within.clone());
                found.warnings.push(Warning::NestedRoot { root, within });
            }
            None => found.top.push(root.path.clone()),
        }
    }
    Ok(found)
}

impl Found {
    fn look_at(&mut self, named: &Path, one_of_several: bool, journal: &Path) -> Result<(), ConfigError> {
        let refused = |source| ConfigError::Root { path: named.to_path_buf(), source };
        let link = fs::symlink_metadata(named).is_ok_and(|metadata| metadata.is_symlink());
        let in_journal =
            || ConfigError::RootInJournal { root: named.to_path_buf(), journal: journal.to_path_buf() };
        let path = match fs::canonicalize(named) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && link => {
                let target = fs::read_link(named).map_err(refused)?;
                return Err(ConfigError::RootDangling { path: named.to_path_buf(), target });
            }
            // One of several may come later, like a disk that is plugged in: the others are protected meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && one_of_several => {
                let path = resolve(named).map_err(refused)?;
                if path.starts_with(journal) {
                    return Err(in_journal());
                }
                path
            }
            other => {
                let path = other.map_err(refused)?;
                if !fs::metadata(&path).map_err(refused)?.is_dir() {
                    return Err(ConfigError::RootNotDirectory { path: named.to_path_buf() });
                }
                if is_inside(&path, journal)? {
                    return Err(in_journal());
                }
                path
            }
        };
        if link {
            let (named, path) = (named.display(), path.display());
            self.notes
                .push(format!("root {named} is a symlink; {path} is protected, wherever it leads later"));
        }
        if self.all.iter().any(|known| known.path == path) {
            self.warnings.push(Warning::Repeated { root: named.to_path_buf() });
        } else {
            self.all.push(Named { path, named: named.to_path_buf(), table: None });
        }
        Ok(())
    }

    /// The rules of each root, as the journal records them.
    pub(super) fn policies(&mut self, file: &File) -> Vec<RootPolicy> {
        let mut policies = Vec::with_capacity(self.all.len());
        for at in 0..self.all.len() {
            let Some(root) = self.all.get(at) else { continue };
            let path = root.path.as_os_str().as_bytes().to_vec();
            let table = root.table.clone();
            let (one_file_system, cachedir_tag) =
                table.as_ref().map_or((None, None), |table| (table.one_file_system, table.cachedir_tag));
            let patterns = table.map(|table| table.exclude).unwrap_or_default();
            policies.push(RootPolicy {
                path,
                excludes: patterns.iter().map(|pattern| self.localize(pattern)).collect(),
                one_file_system: one_file_system.unwrap_or(file.one_file_system),
                cachedir_tag: cachedir_tag.unwrap_or(file.cachedir_tag),
            });
        }
        policies
    }

    /// A pattern as rules take it: one that is an absolute path gets the path that its root has without symlinks.
    pub(super) fn localize(&mut self, pattern: &Pattern) -> String {
        let text = &pattern.text;
        let (negation, path) = text.strip_prefix('!').map_or(("", text.as_str()), |path| ("!", path));
        let slash = if path.ends_with('/') { "/" } else { "" };
        let literal = Path::new(path);
        if !literal.is_absolute() || self.is_covered(literal) {
            return text.clone();
        }
        let as_named = self
            .all
            .iter()
            .find_map(|root| literal.strip_prefix(&root.named).ok().map(|below| root.path.join(below)));
        // Only the directory is resolved: a symlink itself can be left out, and is not followed.
        let resolved = as_named.or_else(|| {
            let dir = resolve(literal.parent()?).ok()?;
            Some(dir.join(literal.file_name()?)).filter(|path| self.is_covered(path))
        });
        if let Some(resolved) = resolved.as_ref().and_then(|path| path.to_str()) {
            return format!("{negation}{}{slash}", resolved.trim_end_matches('/'));
        }
        let relative = literal.strip_prefix("/").unwrap_or(literal);
        let means_elsewhere = relative.components().count() > 1
            && fs::symlink_metadata(literal).is_ok()
            && self.all.iter().all(|root| fs::symlink_metadata(root.path.join(relative)).is_err());
        if means_elsewhere {
            self.warnings.push(Warning::ExcludeOutside { pattern: text.clone() });
        }
        text.clone()
    }

    fn is_covered(&self, path: &Path) -> bool {
        self.all.iter().any(|root| path.starts_with(&root.path))
    }

    /// Where a pattern that rules spoke of stands in the file: the key that it is under, and itself.
    pub(super) fn pattern(&mut self, file: &File, text: &str) -> (&'static str, Pattern) {
        let of_roots: Vec<Pattern> = self
            .all
            .iter()
            .filter_map(|root| root.table.as_ref())
            .flat_map(|table| table.exclude.clone())
            .collect();
        for (key, patterns) in [("exclude", &file.exclude), ("root.exclude", &of_roots)] {
            for pattern in patterns {
                if pattern.text == text || self.localize(pattern) == text {
                    return (key, pattern.clone());
                }
            }
        }
        // Patterns come from the file only; together they may be too much where none is for itself.
        let line = file.exclude.first().map_or(1, |pattern| pattern.line);
        ("exclude", Pattern { text: text.to_owned(), line })
    }
}

/// Makes a path absolute and free of symlinks as far as it exists; the rest is taken as it is.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        match fs::canonicalize(existing) {
            Ok(mut resolved) => {
                resolved.extend(missing.iter().rev());
                return Ok(resolved);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A symlink to nowhere is there all the same, and `..` after what is missing means nothing.
                let last = existing.components().next_back();
                let (Some(Component::Normal(name)), Some(parent)) = (last, existing.parent()) else {
                    return Err(error);
                };
                if fs::symlink_metadata(existing).is_ok() {
                    return Err(error);
                }
                missing.push(name.to_os_string());
                existing = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The mount and the device that a directory is on; `None` where it is not there.
fn filesystem_of(path: &Path) -> Option<(u64, u32, u32)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, path, flags, StatxFlags::MNT_ID)
        .ok()
        .map(|statx| (statx.stx_mnt_id, statx.stx_dev_major, statx.stx_dev_minor))
}

/// Whether a directory is another one or lies below it: by path, and by identity where bind mounts give it a second
/// path.
fn is_inside(path: &Path, outer: &Path) -> Result<bool, ConfigError> {
    if path.starts_with(outer) {
        return Ok(true);
    }
    let identity = match fs::metadata(outer) {
        Ok(metadata) => (metadata.dev(), metadata.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => {
            return Err(ConfigError::Journal { path: outer.to_path_buf(), source });
        }
    };
    for above in path.ancestors() {
        let metadata =
            fs::metadata(above).map_err(|source| ConfigError::Root { path: above.to_path_buf(), source })?;
        if (metadata.dev(), metadata.ino()) == identity {
            return Ok(true);
        }
    }
    Ok(false)
}

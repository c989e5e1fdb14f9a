//! The agent's configuration: a TOML file, flags over it, and what has to hold before anything starts.
//!
//! Owns the keys, their defaults and their limits. Creates nothing, watches nothing.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::settle::Timings;
use crate::watch::Backend;

/// The agent of asof: captures every file change under its roots into a journal, as it happens.
#[derive(Debug, Parser)]
#[command(name = "asofd", version)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What asofd does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Protects the roots, in the foreground, until SIGTERM or SIGINT.
    Run(RunArgs),
}

/// Flags of `asofd run`; each wins over the configuration file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// The journal; created if there is none
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// A directory to protect, with everything below it; repeatable
    #[arg(long = "root", value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// A TOML file with the same and more
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines look on stderr
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The configuration file. Paths are absolute; a key that is not listed here is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// The journal directory. No default: the flag or this has to name one.
    journal: Option<PathBuf>,
    /// Directories to protect. No default: flags or this have to name at least one; flags replace the list.
    roots: Vec<PathBuf>,
    /// Absolute paths below the roots that are left out, with everything below them. Default: none.
    exclude: Vec<PathBuf>,
    /// `text` (default) or `json`.
    log_format: Option<LogFormat>,
    /// Threads that read files. Default: the number of processors, 4 at most; minimum 1; 0 means the default.
    workers: usize,
    /// Where events come from: `auto` (default), `notify` or `inotify`.
    backend: Backend,
    /// When changes are captured.
    settle: FileSettle,
}

/// The table `[settle]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileSettle {
    /// From a file's being closed, coming or going to its capture. Milliseconds; default 20; minimum 0: at once.
    closed_ms: u64,
    /// From the last write to a capture while nobody closes. Milliseconds; default 200; minimum 0: at once.
    quiet_ms: u64,
    /// From the first change to its capture, whatever comes in between. Milliseconds; default 2000; minimum 100; 0 is
    /// refused.
    max_delay_ms: u64,
    /// The same for large files that are written all the time. Milliseconds; default 30000; minimum `max_delay_ms`; 0
    /// means `max_delay_ms`: no stretching.
    stretch_max_ms: u64,
    /// Changed entries of one directory over which it is compared as a whole. Default 128; minimum 1; 0 is refused.
    children_max: usize,
    /// Changed entries in all over which whole directories are compared: bounds memory, about 300 bytes each.
    /// Default 65536; minimum 1024; 0 is refused.
    entries_max: usize,
}

impl Default for FileSettle {
    fn default() -> FileSettle {
        let timings = Timings::default();
        FileSettle {
            closed_ms: timings.closed_ms,
            quiet_ms: timings.quiet_ms,
            max_delay_ms: timings.max_delay_ms,
            stretch_max_ms: timings.stretch_max_ms,
            children_max: timings.children_max,
            entries_max: timings.entries_max,
        }
    }
}

/// What the agent runs with; everything checked, every path absolute and free of symlinks as far as it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The journal directory; need not exist yet.
    pub journal: PathBuf,
    /// What is protected: at least one, none inside another, sorted.
    pub roots: Vec<PathBuf>,
    /// What is left out; the journal is among it where it lies below a root.
    pub exclude: Vec<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// When changes are captured.
    pub settle: Timings,
    /// Threads that read files.
    pub workers: usize,
    /// Where events come from.
    pub backend: Backend,
}

impl Config {
    /// The roots as bytes.
    pub(crate) fn root_bytes(&self) -> Vec<Vec<u8>> {
        self.roots.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect()
    }

    /// What is left out, as bytes.
    pub(crate) fn exclude_bytes(&self) -> Vec<Vec<u8>> {
        self.exclude.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect()
    }
}

/// A checked configuration, and what is odd about it without being wrong.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// To be logged once logging works.
    pub warnings: Vec<Warning>,
}

/// Something odd in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// A root is named twice or lies below another one; it is protected by that.
    NestedRoot {
        /// The root left out.
        root: PathBuf,
        /// The one that covers it.
        within: PathBuf,
    },
    /// A path is left out that is below no root.
    ExcludeOutside {
        /// The path.
        path: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NestedRoot { root, within } => {
                write!(f, "root {} is protected by root {} already", root.display(), within.display())
            }
            Warning::ExcludeOutside { path } => {
                write!(f, "{} is excluded but below no root", path.display())
            }
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no TOML, or has a key or value that is not known.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and where; names the key.
        what: String,
    },
    /// A value is outside its limits.
    #[error("{key} is {value}, but has to be at least {minimum}")]
    TooSmall {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The least it may be.
        minimum: u64,
    },
    /// Something has to be named and is not.
    #[error("no {what}: name one with {flag} or in the configuration file")]
    Nothing {
        /// What is missing.
        what: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// A path in the configuration file is relative to nothing.
    #[error("{key} {} is not absolute", path.display())]
    Relative {
        /// The key.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A root cannot be had.
    #[error("root {}: {source}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A root is something else.
    #[error("root {} is not a directory", path.display())]
    RootNotDirectory {
        /// The root.
        path: PathBuf,
    },
    /// A root is the journal or inside it: it would capture itself for ever.
    #[error("root {} lies inside the journal {}; move the journal or name another root", root.display(), journal.display())]
    RootInJournal {
        /// The root.
        root: PathBuf,
        /// The journal.
        journal: PathBuf,
    },
    /// The place of the journal cannot be looked at.
    #[error("journal {}: {source}", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ConfigError {
    /// The exit status that it calls for: 2 where the command line lacks something, else 1.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            ConfigError::Nothing { .. } => 2,
            _ => 1,
        }
    }
}

/// Reads the file where there is one, lays the flags over it and checks everything.
pub(crate) fn load(args: &RunArgs) -> Result<Loaded, ConfigError> {
    let file = match &args.config {
        Some(path) => read_file(path)?,
        None => File::default(),
    };
    absolute("journal", file.journal.iter())?;
    absolute("root", file.roots.iter())?;
    absolute("exclude", file.exclude.iter())?;
    let settle = timings(&file.settle)?;
    let journal = args
        .journal
        .clone()
        .or(file.journal)
        .ok_or(ConfigError::Nothing { what: "journal", flag: "--journal" })?;
    let journal =
        resolve(&journal).map_err(|source| ConfigError::Journal { path: journal.clone(), source })?;
    let named = if args.roots.is_empty() { file.roots } else { args.roots.clone() };
    if named.is_empty() {
        return Err(ConfigError::Nothing { what: "root", flag: "--root" });
    }
    let mut warnings = Vec::new();
    let roots = roots(&named, &journal, &mut warnings)?;
    let exclude = excludes(&file.exclude, &journal, &roots, &mut warnings)?;
    let workers = match file.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(4),
        workers => workers,
    };
    let log_format = args.log_format.or(file.log_format).unwrap_or_default();
    Ok(Loaded {
        config: Config { journal, roots, exclude, log_format, settle, workers, backend: file.backend },
        warnings,
    })
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    toml::from_str(&text).map_err(|error: toml::de::Error| ConfigError::Malformed {
        path: path.to_path_buf(),
        what: error.to_string(),
    })
}

fn timings(file: &FileSettle) -> Result<Timings, ConfigError> {
    at_least("settle.max_delay_ms", file.max_delay_ms, 100)?;
    at_least("settle.children_max", file.children_max as u64, 1)?;
    at_least("settle.entries_max", file.entries_max as u64, 1024)?;
    let stretch_max_ms = match file.stretch_max_ms {
        0 => file.max_delay_ms,
        stretch_max_ms => stretch_max_ms,
    };
    at_least("settle.stretch_max_ms", stretch_max_ms, file.max_delay_ms)?;
    Ok(Timings {
        closed_ms: file.closed_ms,
        directory_ms: Timings::default().directory_ms.min(file.closed_ms),
        quiet_ms: file.quiet_ms,
        max_delay_ms: file.max_delay_ms,
        stretch_max_ms,
        children_max: file.children_max,
        entries_max: file.entries_max,
    })
}

fn at_least(key: &'static str, value: u64, minimum: u64) -> Result<(), ConfigError> {
    if value < minimum { Err(ConfigError::TooSmall { key, value, minimum }) } else { Ok(()) }
}

fn absolute<'a>(key: &'static str, mut paths: impl Iterator<Item = &'a PathBuf>) -> Result<(), ConfigError> {
    match paths.find(|path| !path.is_absolute()) {
        Some(path) => Err(ConfigError::Relative { key, path: path.clone() }),
        None => Ok(()),
    }
}

/// Checks the roots and leaves out those that another one covers.
fn roots(
    named: &[PathBuf],
    journal: &Path,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let mut resolved = Vec::new();
    let mut missing = Vec::new();
    for path in named {
        let refused = |source| ConfigError::Root { path: path.clone(), source };
        let root = match fs::canonicalize(path) {
            // One of several may come later, like a disk that is plugged in: the others are protected meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.len() > 1 => {
                missing.push(resolve(path).map_err(refused)?);
                continue;
            }
            other => other.map_err(refused)?,
        };
        let metadata =
            fs::metadata(&root).map_err(|source| ConfigError::Root { path: path.clone(), source })?;
        if !metadata.is_dir() {
            return Err(ConfigError::RootNotDirectory { path: path.clone() });
        }
        if is_inside(&root, journal)? {
            return Err(ConfigError::RootInJournal { root: path.clone(), journal: journal.to_path_buf() });
        }
        resolved.push(root);
    }
    if let (true, Some(path)) = (resolved.is_empty(), missing.first()) {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(ConfigError::Root { path: path.clone(), source });
    }
    if let Some(root) = missing.iter().find(|root| root.starts_with(journal)) {
        return Err(ConfigError::RootInJournal { root: root.clone(), journal: journal.to_path_buf() });
    }
    resolved.append(&mut missing);
    // In path order an outer root comes before what is below it.
    resolved.sort();
    let mut roots: Vec<PathBuf> = Vec::new();
    for root in resolved {
        match roots.iter().find(|outer| root.starts_with(outer)) {
            Some(within) => {
                let within = within.clone();
                warnings.push(Warning::NestedRoot { root, within });
            }
            None => roots.push(root),
        }
    }
    Ok(roots)
}

/// Resolves what is left out, and adds the journal where it lies below a root.
fn excludes(
    named: &[PathBuf],
    journal: &Path,
    roots: &[PathBuf],
    warnings: &mut Vec<Warning>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let is_covered = |path: &Path| roots.iter().any(|root| path.starts_with(root));
    let mut exclude = Vec::new();
    for path in named {
        // Only the directory is resolved: a symlink itself can be left out, and is not followed.
        let resolved = match (path.parent(), path.file_name()) {
            (Some(dir), Some(name)) => resolve(dir).map(|dir| dir.join(name)),
            _ => resolve(path),
        };
        let resolved = resolved.map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        match is_covered(&resolved) {
            true => exclude.push(resolved),
            false => warnings.push(Warning::ExcludeOutside { path: path.clone() }),
        }
    }
    if is_covered(journal) {
        exclude.push(journal.to_path_buf());
    }
    exclude.sort();
    exclude.dedup();
    Ok(exclude)
}

/// Makes a path absolute and free of symlinks as far as it exists; the rest is taken as it is.
fn resolve(path: &Path) -> io::Result<PathBuf> {
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

#[cfg(test)]
mod tests;

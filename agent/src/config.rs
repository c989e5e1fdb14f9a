//! The agent's configuration: a TOML file, flags over it, and what has to hold before anything starts.
//!
//! Owns what the agent runs with and the order in which it is found out. The keys are in `config/file.rs`, what is said of
//! roots in `config/roots.rs`. Creates nothing, watches nothing.

mod error;
mod file;
mod roots;
mod show;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use asof_journal::places::Surroundings;
use asof_journal::retention::config::Written;
use asof_journal::types::{LeftOut, Place, Policy};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::rules::Rules;
use crate::settle::Timings;
use crate::watch::Backend;
pub(crate) use error::{ConfigError, Warning};
use file::File;
pub(crate) use show::{keys, show};

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
    /// Protects the roots, in the foreground, until SIGTERM or SIGINT; SIGHUP reads the configuration again.
    Run(RunArgs),
    /// Prints the configuration that `run` would use with the same flags, every key with its value, and what is wrong
    /// with it. Exit status: 0 it is sound, 1 it is not, 2 something has to be named and is not.
    CheckConfig(RunArgs),
}

/// Flags of `asofd run`; each wins over the configuration file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// The journal; created if there is none [default: `journal` in the configuration, else where asof looks:
    /// $XDG_STATE_HOME/asof, for root /var/lib/asof]
    #[arg(long, value_name = "DIR", env = "ASOF_JOURNAL")]
    pub journal: Option<PathBuf>,
    /// A directory to protect, with everything below it; repeatable. Replaces the roots of the configuration; one that
    /// is described there keeps its rules
    #[arg(long = "root", value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// A TOML file with the same and more [default, where it exists: $XDG_CONFIG_HOME/asof/config.toml, for root
    /// /etc/asof/config.toml]
    #[arg(long, value_name = "FILE", env = "ASOF_CONFIG")]
    pub config: Option<PathBuf>,
    /// How log lines look on stderr
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the agent runs with; everything checked, every path absolute and free of symlinks as far as it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The journal directory; need not exist yet.
    pub journal: PathBuf,
    /// What is watched and compared: at least one, none inside another but on a filesystem that is left out there,
    /// sorted.
    pub roots: Vec<PathBuf>,
    /// What is protected, and what is left out of it; the journal is among it where it lies below a root. Names also
    /// roots that lie in others.
    pub policy: Policy,
    /// Longer files are recorded without their content. Bytes; `None` is no limit.
    pub file_bytes_max: Option<u64>,
    /// With so many bytes the journal takes no more, and capture pauses. `None` is as many as there is room for.
    pub journal_bytes_max: Option<u64>,
    /// From one comparison of everything to the next; default 1 h, minimum 1 s. `None`: never for its own sake.
    pub reconcile_every: Option<Duration>,
    /// From one look at directories that cannot be watched to the next; default 30 s, minimum 1 s. `None`: never.
    pub poll_every: Option<Duration>,
    /// Percent of the sealed segments that are read and checked a day; default 3, minimum 1. `None`: none.
    pub scrub_per_day: Option<u64>,
    /// What is kept of the past; roots free of symlinks, as everywhere here.
    pub retention: Written,
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
}

/// A checked configuration, and what is odd about it without being wrong.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Its rules, ready.
    pub rules: Rules,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// To be logged once logging works.
    pub warnings: Vec<Warning>,
    /// Worth a word, and nothing odd.
    pub notes: Vec<String>,
}

impl Loaded {
    /// Logs what is worth a word about it.
    pub(crate) fn log(&self) {
        for note in &self.notes {
            tracing::info!("{note}");
        }
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// Reads the file where there is one, lays the flags over it and checks everything.
pub(crate) fn load(args: &RunArgs) -> Result<Loaded, ConfigError> {
    let variable = |name: &str| std::env::var_os(name);
    let surroundings = Surroundings { is_root: rustix::process::geteuid().is_root(), variable: &variable };
    let file = match &args.config {
        Some(path) => File::read(path)?,
        None => match surroundings.config().filter(|path| path.exists()) {
            Some(path) => File::read(&path)?,
            None => File::default(),
        },
    };
    let journal = args.journal.clone().or_else(|| file.journal.clone()).or_else(|| surroundings.journal());
    let journal = journal.ok_or(ConfigError::Nothing { what: "journal", flag: "--journal" })?;
    let journal =
        roots::resolve(&journal).map_err(|source| ConfigError::Journal { path: journal.clone(), source })?;
    let mut found = roots::find(&args.roots, &file, &journal)?;
    let excludes = file.exclude.iter().map(|pattern| found.localize(pattern)).collect();
    let mut policy = Policy { roots: found.policies(&file), excludes, left_out: Vec::new() };
    let path = journal.as_os_str().as_bytes().to_vec();
    if found.top.iter().any(|root| journal.starts_with(root)) {
        policy.left_out.push(LeftOut { path, what: Place::Journal });
    }
    let rules = Rules::of(policy.clone(), file.file_bytes_max).map_err(|error| {
        let (key, pattern) = found.pattern(&file, &error.pattern);
        file.bad_pattern(&pattern, key, error.what)
    })?;
    for root in &policy.roots {
        if let Some(pattern) = rules.leaves_out_everything(&root.path) {
            let (key, pattern) = found.pattern(&file, pattern);
            let root = root.path.escape_ascii();
            return Err(file.bad_pattern(&pattern, key, format!("leaves out everything below root {root}")));
        }
    }
    let mut retention = file.retention;
    for (path, _) in &mut retention.roots {
        let named = PathBuf::from(std::ffi::OsStr::from_bytes(path));
        if let Ok(resolved) = roots::resolve(&named) {
            *path = resolved.as_os_str().as_bytes().to_vec();
        }
    }
    let workers = match file.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(4),
        workers => workers,
    };
    let config = Config {
        journal,
        roots: found.top,
        policy,
        file_bytes_max: file.file_bytes_max,
        journal_bytes_max: file.journal_bytes_max,
        reconcile_every: file.reconcile_every,
        poll_every: file.poll_every,
        scrub_per_day: file.scrub_per_day,
        retention,
        log_format: args.log_format.or(file.log_format).unwrap_or_default(),
        settle: file.settle,
        workers,
        backend: file.backend,
    };
    Ok(Loaded { config, rules, file: file.path, warnings: found.warnings, notes: found.notes })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

//! What is wrong with a configuration, and what is odd about it.
//!
//! Owns the words. Decides nothing.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Something odd in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// A root is named twice.
    Repeated {
        /// The root.
        root: PathBuf,
    },
    /// A root lies below another one; it is protected by that.
    NestedRoot {
        /// The root.
        root: PathBuf,
        /// The one that covers it.
        within: PathBuf,
    },
    /// A path is left out that is below no root.
    ExcludeOutside {
        /// The pattern.
        pattern: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Repeated { root } => write!(f, "root {} is named more than once", root.display()),
            Warning::NestedRoot { root, within } => write!(
                f,
                "root {} is protected by root {} already; below it only its own rules hold",
                root.display(),
                within.display()
            ),
            Warning::ExcludeOutside { pattern } => write!(
                f,
                "{pattern} is excluded but below no root: it is taken as relative to each root, where nothing has that \
                 name"
            ),
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
    /// The file is no TOML, or has a key or value that is not known or outside its limits.
    #[error("{}:{line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong; names the key.
        what: String,
    },
    /// Something has to be named and is not.
    #[error("no {what}: name one with {flag} or in the configuration file")]
    Nothing {
        /// What is missing.
        what: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// A root cannot be had.
    #[error("root {}: {source}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A root is a symlink that leads nowhere.
    #[error("root {} is a symlink to {}, which is not there", path.display(), target.display())]
    RootDangling {
        /// The root.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A root is something else.
    #[error("root {} is not a directory; name the directory that it is in", path.display())]
    RootNotDirectory {
        /// The root.
        path: PathBuf,
    },
    /// A root has two tables.
    #[error("root {} has more than one [[root]]; one of them has to go", path.display())]
    RootTwice {
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

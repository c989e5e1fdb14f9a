//! What can go wrong in the journal, by kind, with the place it went wrong at.
//!
//! Owns the crate's one error type. Callers match on the variants, never on texts.

use std::io;
use std::path::{Path, PathBuf};

use crate::types::{BlockId, Position};

/// What can go wrong in the journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no journal at this place.
    #[error("no journal at {path}")]
    NoJournal {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process writes to the journal.
    #[error("another asofd writes to {path}")]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The journal was removed, moved or replaced under its writer: what the writer has open is nobody's journal any more.
    #[error("{path} was removed, moved or replaced while it was being written to")]
    Replaced {
        /// Where it was.
        path: PathBuf,
    },
    /// The journal was written by a program that knows more than this one.
    #[error("{path}: {what} is not known to this program (it knows format {known})")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not known.
        what: String,
        /// The newest format that this program knows.
        known: u32,
    },
    /// Bytes on disk are not what they were when written.
    #[error("{path} at offset {offset}: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What does not hold.
        what: String,
    },
    /// A block that something refers to is not in the journal.
    #[error("block {id} is not in the journal")]
    MissingBlock {
        /// The block.
        id: BlockId,
    },
    /// The bytes of a block are not those it is named by.
    #[error("block {id} in {position} is damaged: {what}")]
    DamagedBlock {
        /// The block.
        id: BlockId,
        /// Where it lies.
        position: Position,
        /// What does not hold.
        what: String,
    },
    /// Somebody else could read what is in the journal, or decide what it gives back.
    #[error("{path}: {what}")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Why it is refused, and what helps.
        what: String,
    },
    /// The medium is full, or a quota is used up.
    #[error("{path}: no space left")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The temporary directory is full: a reader needs some of it, and more where the journal has no index of use.
    #[error("{path}: no space left in the temporary directory; nothing is wrong with the journal")]
    FullTemporary {
        /// The temporary directory.
        path: PathBuf,
    },
    /// An earlier write or fsync failed; nothing more is written through this handle.
    #[error("the writer stopped after an earlier failure: {cause}")]
    Poisoned {
        /// The earlier failure.
        cause: String,
    },
    /// It is held, or something below or above it is.
    #[error("{path}: something of it is held")]
    Held {
        /// The path.
        path: PathBuf,
    },
    /// Something is under way that this would have to wait for.
    #[error("{what}")]
    Busy {
        /// What.
        what: String,
    },
    /// The system refused an operation on a file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// RocksDB refused an operation; the index can be rebuilt from the segments.
    #[error("index {path}: {what}")]
    Index {
        /// The index directory.
        path: PathBuf,
        /// What RocksDB said.
        what: String,
    },
    /// A codec refused to compress; a bug or out of memory.
    #[error("compression failed: {what}")]
    Codec {
        /// What it said.
        what: String,
    },
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Gives an I/O error the path it happened at.
pub trait IoContext<T> {
    /// Names the file that the operation was on.
    fn context(self, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn context(self, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| {
            let source = error.into();
            let path = path.as_ref().to_path_buf();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { path },
                _ => Error::Io { path, source },
            }
        })
    }
}

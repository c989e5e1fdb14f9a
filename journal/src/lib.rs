//! The store of asof: an append-only journal of versioned, deduplicated blocks, and an index over it.
//!
//! Knows no clock, no watcher, no terminal and no async: time and data arrive as arguments.
//!
//! Reading starts at [`reader::Reader`], writing at [`open::Journal`], the words at [`types`].

pub mod append;
pub mod blocks;
pub mod compact;
pub mod content;
pub mod control;
pub mod error;
pub mod fate;
pub mod find;
pub mod forget;
pub mod format;
#[cfg(test)]
mod fuzz;
pub mod head;
pub mod history;
pub mod index;
pub mod ingest;
pub mod landmarks;
pub mod manifest;
pub mod open;
pub mod places;
mod private;
pub mod quality;
mod reachable;
pub mod reader;
pub mod records;
pub mod recovery;
pub mod repair;
pub mod reserve;
pub mod retention;
pub mod rules;
pub mod scrub;
pub mod segments;
pub mod storage;
pub mod temporary;
pub mod types;
pub mod verify;
pub mod view;

pub use error::{Error, Result};

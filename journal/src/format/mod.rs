//! Bytes on disk to values and back: pure, no I/O, no panics on input.
//!
//! `FORMAT.md` describes every byte that these modules read and write.

pub mod batch;
pub mod frame;
pub mod op;
pub mod segment;
pub mod wire;

/// The format version that this program writes, and the only one that it reads: 0 was what it grew from, and promised nothing.
pub const FORMAT: u32 = 1;

//! A journal tortured: seeded operations on the real writer, over a medium that keeps what it promised and nothing else.
//!
//! [`medium`] is the hostile storage, [`step`] what is done, [`desk`] the writer that does it, [`history`] what must be
//! there afterwards.

pub mod clocks;
pub mod desk;
mod file;
pub mod history;
pub mod medium;
pub mod step;

pub use file::Fate;

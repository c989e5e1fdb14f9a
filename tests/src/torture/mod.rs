//! A journal tortured: seeded operations on the real writer, over a medium that keeps what it promised and nothing else.
//!
//! [`medium`] is the hostile storage, [`step`] what is done, [`desk`] the writer that does it, [`history`] what must be
//! there afterwards, [`life`] runs one seed with a crash at one operation and judges what is found.

pub mod case;
pub mod changes;
pub mod clocks;
pub mod desk;
mod file;
pub mod finds;
pub mod history;
pub mod landmarks;
pub mod life;
pub mod medium;
pub mod step;

pub use file::Fate;

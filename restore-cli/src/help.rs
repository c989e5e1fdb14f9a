//! The texts of `asof help VERB` and `asof VERB --help`: what a manual page has, a file a verb.
//!
//! Words only; which options there are is in `args.rs`, and clap puts both together. `ABOUT` stands before the options,
//! `MORE` after them.

pub(crate) mod browse;
pub(crate) mod cat;
pub(crate) mod diff;
pub(crate) mod drill;
pub(crate) mod explain;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod hold;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod mark;
pub(crate) mod release;
pub(crate) mod restore;
pub(crate) mod retain;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod taken;
pub(crate) mod top;
pub(crate) mod undo;
pub(crate) mod verify;

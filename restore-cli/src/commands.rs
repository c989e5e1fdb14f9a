//! The verbs, one file each: from options to an answer.

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
pub(crate) mod restore;
pub(crate) mod retain;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod top;
pub(crate) mod undo;
pub(crate) mod verify;

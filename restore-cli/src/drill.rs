//! Recovery drills: a restore that is tested before it is needed, with a verdict and evidence.
//!
//! Owns what a drill leaves behind: its report in every form, the chain of past reports, who is told. Nothing here touches
//! the live tree or writes to the live journal.

pub(crate) mod aside;
pub(crate) mod hooks;
pub(crate) mod report;
pub(crate) mod reports;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod spec;
pub(crate) mod store;

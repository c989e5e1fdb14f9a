//! Recovery drills: a restore that is tested before it is needed, with a verdict and evidence.
//!
//! Owns what a drill does and what it leaves behind. Restores through the program itself, as its users do; nothing here
//! touches the live tree or writes to the live journal.

mod aside;
mod assert;
mod bring;
mod child;
mod compare;
pub(crate) mod hooks;
mod ledger;
pub(crate) mod observe;
pub(crate) mod oracle;
pub(crate) mod report;
pub(crate) mod reports;
pub(crate) mod run;
#[cfg(test)]
pub(crate) mod sample;
mod scenario;
mod scratch;
mod select;
pub(crate) mod spec;
mod stop;
pub(crate) mod store;
pub(crate) mod walk;
pub(crate) mod witness;

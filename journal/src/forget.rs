//! Forgetting: a path is taken out of all history, its content and its names.
//!
//! Owns what goes (`plan`), which blocks of content only that refers to (`blocks`), what it would mean beforehand (`survey`), and the
//! file that remembers what was begun (`order`). The segments are rewritten by `compact/purge.rs`.

mod blocks;
mod order;
mod plan;
mod spans;
mod survey;
mod ways;

pub(crate) use blocks::{Purge, dependents};
pub use order::Order;
pub(crate) use order::Pending;
pub(crate) use plan::Plan;
pub use survey::{Found, FoundPath, survey, unknown};

use crate::append::Appender;
use crate::compact::{Compactor, Purged, on_one_thread};
use crate::error::Result;
use crate::head::Head;
use crate::types::{ClockReading, Group};

/// Forgets on one thread: for whoever has the journal open for writing and no appender at work.
///
/// # Errors
/// As for [`Compactor::forget`].
pub fn forget(
    (head, appender, compactor): (&Head, &mut Appender, &Compactor),
    order: Option<&Order>,
    clock: &dyn Fn() -> ClockReading,
) -> Result<Purged> {
    on_one_thread(head, appender, clock, |begin| {
        let note = &mut |op| begin(Group { ops: vec![op], ..Group::default() });
        compactor.forget(order, clock().wall, note)
    })
}

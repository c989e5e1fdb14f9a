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

use std::sync::{Mutex, PoisonError, mpsc};

use crate::append::Appender;
use crate::compact::{Compactor, Purged};
use crate::error::Result;
use crate::head::{Head, Sink, Submission};
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
    let (sender, submitted) = mpsc::channel::<Submission>();
    let sender = Mutex::new(sender);
    let sink: Sink = Box::new(move |submission| {
        sender.lock().unwrap_or_else(PoisonError::into_inner).send(submission).map_err(|_| ())
    });
    head.connect(Some(sink));
    let done = compactor.forget(order, clock().wall, &mut |op| {
        let seq = head.submit_in_new_segment(vec![Group { ops: vec![op], ..Group::default() }])?;
        while let Ok(submission) = submitted.try_recv() {
            appender.stage(submission);
        }
        appender.commit(&clock(), None)?;
        Ok(seq)
    });
    head.connect(None);
    done
}

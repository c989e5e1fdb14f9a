//! Sealing: the segment that is being written to stays as it is, so whoever wants all of it looked at has a new one begun.

use std::sync::{Mutex, PoisonError, mpsc};

use super::{Compactor, USERS_WAIT};
use crate::append::Appender;
use crate::content::codec::Codec;
use crate::error::Result;
use crate::head::{Head, Sink, Submission};
use crate::types::{ClockReading, Group, Seq};

/// Commits a group in a new segment, and gives its `Seq`.
pub(crate) type Begin<'b> = &'b mut dyn FnMut(Group) -> Result<Seq>;

impl Compactor {
    /// Has a new segment begun beside an appender at work, so that whatever is durable lies in sealed ones. Gives the last `Seq` in
    /// those; `None` where there is no room.
    ///
    /// # Errors
    /// `Io`, `Index`, `Poisoned`.
    pub fn seal(&self) -> Result<Option<Seq>> {
        self.seal_by(&mut |group| {
            let seq = self.head.submit_in_new_segment(vec![group])?;
            self.head.wait_durable(seq, USERS_WAIT);
            Ok(seq)
        })
    }

    /// The same for whoever has the journal open for writing and no appender at work. Of time nothing passes by it.
    ///
    /// # Errors
    /// As for [`Compactor::seal`]; `Full`.
    pub fn seal_here(&self, appender: &mut Appender) -> Result<Option<Seq>> {
        let clock = appender.last_clock();
        on_one_thread(&self.head, appender, &|| clock, |begin| self.seal_by(begin))
    }

    fn seal_by(&self, begin: Begin<'_>) -> Result<Option<Seq>> {
        let mut sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_room(0) {
            return Ok(None);
        }
        let set = self.segments()?;
        let Some(last) = set.last() else { return Ok(None) };
        // One without operations is what a call of before began.
        let footer = last.footer(None, &mut Codec::default())?;
        let has_something = footer.is_none_or(|(_, footer)| footer.ops > 0);
        if has_something && *sealed != Some(self.head.watermarks().durable.seq) {
            *sealed = Some(begin(Group::default())?);
        }
        let set = self.segments()?;
        Ok(set.last().map(|last| last.header.first_seq.previous()))
    }
}

/// Has something done that begins segments, where no appender is at work on a thread of its own.
pub(crate) fn on_one_thread<T>(
    head: &Head,
    appender: &mut Appender,
    clock: &dyn Fn() -> ClockReading,
    work: impl FnOnce(Begin<'_>) -> T,
) -> T {
    let (sender, submitted) = mpsc::channel::<Submission>();
    let sender = Mutex::new(sender);
    let sink: Sink = Box::new(move |submission| {
        sender.lock().unwrap_or_else(PoisonError::into_inner).send(submission).map_err(|_| ())
    });
    head.connect(Some(sink));
    let done = work(&mut |group| {
        let seq = head.submit_in_new_segment(vec![group])?;
        while let Ok(submission) = submitted.try_recv() {
            appender.stage(submission);
        }
        appender.commit(&clock(), None)?;
        Ok(seq)
    });
    head.connect(None);
    done
}

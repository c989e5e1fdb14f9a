//! What was written and may not have been read yet when its name changes: a rename shows nothing of it.
//!
//! A rename moves the change time, and a program may put the old modification time back: then only the hints of the old
//! name tell that there is something to be read.

use super::{Marks, Scan, Settle, WorkId, parent};

impl Settle {
    /// Whether hints of content of a path wait or are in flight, as far as is known one by one.
    pub(super) fn may_be_written(&self, path: &[u8]) -> bool {
        let waiting = self.covering(path).and_then(|id| self.entries.get(&id));
        let waiting = waiting.is_some_and(|entry| match &*entry.path == path {
            true => entry.marks.any(Marks::CONTENT) || entry.written,
            false => entry.written,
        });
        waiting || self.is_written_in_flight(path)
    }

    fn is_written_in_flight(&self, path: &[u8]) -> bool {
        let mut at = Some(path);
        while let Some(dir) = at {
            let flight = self.flying.get(dir).and_then(|id| self.in_flight.get(id));
            if flight.is_some_and(|flight| flight.written) {
                return true;
            }
            at = parent(dir);
        }
        false
    }

    /// Notes of what was just renamed to a path that its content is to be read.
    pub(super) fn mark_written(&mut self, id: WorkId, path: &[u8]) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if &*entry.path == path {
            entry.marks = entry.marks.with(Marks::CLOSED);
        } else if entry.scan == Scan::Recursive {
            entry.written = true;
        } else if let Some(arrival) = entry.arrivals.iter_mut().rev().find(|arrival| &*arrival.path == path) {
            // It is the last one, but where it was renamed there before.
            arrival.marks = arrival.marks.with(Marks::CLOSED);
        }
    }
}

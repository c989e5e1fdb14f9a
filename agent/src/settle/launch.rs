//! What is due goes out: with what it was renamed to, and not before what it waits for.

use std::sync::Arc;

use super::{Flight, Marks, Scan, Settle, Work, WorkId};

impl Settle {
    /// Takes an entry, and what covers the new name of what was renamed away from it. Where that waits for work in
    /// flight, the entry waits for the same.
    pub(super) fn take_with_targets(&mut self, id: WorkId, taken: &mut Vec<Work>) {
        let mut chain = vec![id];
        let mut blocked_by = None;
        let mut next = 0;
        while let Some(id) = chain.get(next).copied() {
            next += 1;
            let target = self
                .entries
                .get(&id)
                .and_then(|entry| entry.renamed_to.as_deref())
                .and_then(|to| self.covering(to))
                .filter(|target| !chain.contains(target));
            let Some(target) = target else { continue };
            match self.entries.get(&target).and_then(|entry| entry.held_by) {
                Some(flight) => blocked_by = Some(flight),
                None => chain.push(target),
            }
        }
        match blocked_by {
            Some(flight) => {
                for id in chain {
                    self.hold(id, flight);
                }
            }
            None => {
                for id in chain {
                    self.launch(id, taken);
                }
            }
        }
    }

    fn hold(&mut self, id: WorkId, flight: WorkId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.held_by = Some(flight);
        self.due.remove(&(entry.due_ns, id));
        self.held.entry(flight).or_default().push(id);
    }

    fn launch(&mut self, id: WorkId, taken: &mut Vec<Work>) {
        let Some(entry) = self.remove(id) else { return };
        let hinted = entry.scan != Scan::No || entry.marks.are_hinted();
        let written = entry.written || entry.marks.any(Marks::CONTENT);
        let mut arrivals = entry.arrivals;
        if entry.written {
            // Which of them is not known.
            for arrival in &mut arrivals {
                arrival.marks = arrival.marks.with(Marks::CLOSED);
            }
        }
        let path = Arc::clone(&entry.path);
        let (first_no, first_ns) = (entry.first_no, entry.first_ns);
        let flight = Flight { path, written, first_no, first_ns, hinted };
        self.oldest.insert((entry.first_no, id));
        self.flying.insert(Arc::clone(&entry.path), id);
        self.in_flight.insert(id, flight);
        taken.push(Work {
            id,
            path: entry.path,
            marks: entry.marks,
            from: entry.from,
            scan: entry.scan,
            deletions: entry.deletions,
            arrivals,
            first_no,
            first_ns,
            last_no: entry.last_no,
        });
    }
}

//! What is dirty, since when, and when it is due: the bounded map between hints and work.
//!
//! Pure: no I/O, and no clock of its own; `now_ns` is any clock that never goes back. Loses no hint: over a limit
//! entries collapse into "scan this directory", never into nothing.
//!
//! Invariants:
//! - A hint is *covered* by its own path's entry, by a waiting scan of its directory, or by a waiting recursive scan
//!   above it. An entry in flight covers nothing that comes after it was taken.
//! - A path has at most one waiting entry and one in flight; the waiting one is not taken before the other is released.
//! - Waiting entries number at most `entries_max` and those that wait for work in flight.
//! - Every operation costs O(log n) amortized, whatever order paths come in.

mod again;
mod collapse;
mod launch;
mod work;
mod written;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use asof_journal::temporary::is_temporary;

use crate::watch::{Hint, What};
pub(crate) use work::{Arrival, Marks, Scan, Work, WorkId};

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;
/// Renames and new directories remembered inside scans, all together; beyond, the scan becomes recursive.
const ARRIVALS_MAX: usize = 4096;
/// Files whose captures are stretched; one more is captured at the usual pace.
const STRETCHED_MAX: usize = 1024;
/// When things are due, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timings {
    /// After a file was closed, came or went, in milliseconds.
    pub closed_ms: u64,
    /// After a directory came, in milliseconds.
    pub directory_ms: u64,
    /// After the last write while nobody closes, in milliseconds.
    pub quiet_ms: u64,
    /// After the first hint, whatever comes later, in milliseconds.
    pub max_delay_ms: u64,
    /// The same for stretched files, in milliseconds.
    pub stretch_max_ms: u64,
    /// Dirty entries of one directory; over it they become one scan of the directory.
    pub children_max: usize,
    /// Dirty entries in all; over it the fullest directories become scans.
    pub entries_max: usize,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            closed_ms: 20,
            directory_ms: 5,
            quiet_ms: 200,
            max_delay_ms: 2_000,
            stretch_max_ms: 30_000,
            children_max: 128,
            entries_max: 65_536,
        }
    }
}

/// A waiting entry.
#[derive(Debug)]
struct Entry {
    path: Arc<[u8]>,
    marks: Marks,
    from: Option<Vec<u8>>,
    /// Where it was last renamed to: that has to be looked at first.
    renamed_to: Option<Arc<[u8]>>,
    scan: Scan,
    /// Whether hints of content of what is below it became part of the scan.
    written: bool,
    deletions: u64,
    arrivals: Vec<Arrival>,
    first_no: u64,
    first_ns: u64,
    last_no: u64,
    /// When it would be due if there were no limits to that.
    settled_ns: u64,
    /// When it is due; its key in the queue unless it is held.
    due_ns: u64,
    /// The work in flight that it waits for.
    held_by: Option<WorkId>,
}

#[derive(Debug)]
struct Flight {
    path: Arc<[u8]>,
    /// Whether something there may have been written.
    written: bool,
    first_no: u64,
    first_ns: u64,
    hinted: bool,
}

/// The dirty map.
#[derive(Debug)]
pub(crate) struct Settle {
    timings: Timings,
    roots: Vec<Arc<[u8]>>,
    next_id: u64,
    entries: HashMap<WorkId, Entry>,
    by_path: HashMap<Arc<[u8]>, WorkId>,
    /// Entries without a scan, by directory; roots are nobody's.
    children: HashMap<Arc<[u8]>, HashSet<WorkId>>,
    /// Entries that are not held, by when they are due.
    due: BTreeSet<(u64, WorkId)>,
    /// Entries and work in flight, by their oldest hint.
    oldest: BTreeSet<(u64, WorkId)>,
    in_flight: HashMap<WorkId, Flight>,
    flying: HashMap<Arc<[u8]>, WorkId>,
    /// Entries that wait for work in flight.
    held: HashMap<WorkId, Vec<WorkId>>,
    stretched: HashMap<Arc<[u8]>, u64>,
    /// Entries whose oldest hint has a lower number are due at once.
    hastened_below: u64,
    /// Waiting recursive scans.
    recursive: usize,
    /// Arrivals in waiting entries.
    arrivals: usize,
    /// Entries merged into others since the start: what tests bound the cost of collapsing by.
    merged: u64,
}

impl Settle {
    /// Begins with nothing dirty; hints outside the roots are not taken.
    pub(crate) fn new(timings: Timings, roots: impl IntoIterator<Item = Vec<u8>>) -> Settle {
        Settle {
            timings,
            roots: roots.into_iter().map(Arc::from).collect(),
            next_id: 1,
            entries: HashMap::new(),
            by_path: HashMap::new(),
            children: HashMap::new(),
            due: BTreeSet::new(),
            oldest: BTreeSet::new(),
            in_flight: HashMap::new(),
            flying: HashMap::new(),
            held: HashMap::new(),
            stretched: HashMap::new(),
            hastened_below: 0,
            recursive: 0,
            arrivals: 0,
            merged: 0,
        }
    }

    /// Takes a hint; numbers never go back. Gives `false` for what is not about one path under a root (an overflow, an
    /// error, an unmount), which the caller answers otherwise.
    pub(crate) fn hint(&mut self, now_ns: u64, hint: Hint, hint_no: u64) -> bool {
        let (mark, delay_ms) = match hint.what {
            What::Appeared { dir: false } => (Marks::APPEARED, self.timings.closed_ms),
            What::Appeared { dir: true } => (Marks::APPEARED_DIR, self.timings.directory_ms),
            What::MovedTo { .. } => (Marks::MOVED_TO, self.timings.closed_ms),
            What::MovedFrom => (Marks::MOVED_FROM, self.timings.closed_ms),
            What::Gone => (Marks::GONE, self.timings.closed_ms),
            What::Written => (Marks::WRITTEN, self.timings.quiet_ms),
            What::Closed => (Marks::CLOSED, self.timings.closed_ms),
            What::Attributes => (Marks::ATTRIBUTES, self.timings.closed_ms),
            What::Unmounted | What::Overflow | What::SourceError { .. } => return false,
        };
        if self.root_of(&hint.path).is_none() {
            return false;
        }
        let from = match hint.what {
            What::MovedTo { from } => from,
            _ => None,
        };
        let path: Arc<[u8]> = Arc::from(hint.path);
        if let Some(source) = from.as_deref().and_then(|from| self.by_path.get(from))
            && let Some(entry) = self.entries.get_mut(source)
        {
            entry.renamed_to = Some(Arc::clone(&path));
        }
        // What was written under the old name is to be read under the new one; of what came from elsewhere nobody knows.
        let written = mark == Marks::MOVED_TO && from.as_deref().is_none_or(|from| self.may_be_written(from));
        let settled_ns = now_ns.saturating_add(delay_ms.saturating_mul(MS));
        let id = match self.covering(&path) {
            Some(id) => id,
            None => self.insert(Arc::clone(&path), now_ns, hint_no, settled_ns),
        };
        self.add(id, hint_no, settled_ns, Arc::clone(&path), mark, from);
        if written {
            self.mark_written(id, &path);
        }
        self.keep_bounds(now_ns, id);
        true
    }

    /// Asks for a comparison of a directory, due at once, as if a hint of that number had named it.
    pub(crate) fn scan(&mut self, now_ns: u64, path: &[u8], scan: Scan, hint_no: u64) {
        let id = match self.covering(path) {
            Some(id) => id,
            None => self.insert(Arc::from(path), now_ns, hint_no, now_ns),
        };
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.last_no = entry.last_no.max(hint_no);
        entry.settled_ns = entry.settled_ns.min(now_ns);
        let wanted = match &*entry.path == path {
            true => scan,
            // The entry above compares the path's own entry, but not what is in it.
            false if entry.scan == Scan::Recursive || scan == Scan::No => entry.scan,
            false => {
                let id = self.insert(Arc::from(path), now_ns, hint_no, now_ns);
                self.widen(id, scan);
                self.keep_bounds(now_ns, id);
                return;
            }
        };
        self.widen(id, wanted);
        self.schedule(id);
        self.keep_bounds(now_ns, id);
    }

    /// Takes what is due, at most `max` and the new names that belong to old ones among them. Each piece is in flight
    /// until it is released.
    ///
    /// Order: what was renamed in, then what appeared or was written, then what is gone or was renamed away: a rename's
    /// new name is never taken later than its old one.
    pub(crate) fn take_due(&mut self, now_ns: u64, max: usize) -> Vec<Work> {
        let mut taken = Vec::new();
        while taken.len() < max {
            match self.due.first() {
                Some((due_ns, id)) if *due_ns <= now_ns => {
                    let id = *id;
                    self.take_with_targets(id, &mut taken);
                }
                _ => break,
            }
        }
        taken.sort_by_key(|work| (work.class(), work.first_no));
        taken
    }

    /// Ends a piece of work: what came for its path in the meantime may be due now. Gives when the first hint of it came,
    /// if there was one.
    pub(crate) fn release(&mut self, id: WorkId) -> Option<u64> {
        let flight = self.in_flight.remove(&id)?;
        self.flying.remove(&flight.path);
        self.oldest.remove(&(flight.first_no, id));
        for held in self.held.remove(&id).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(&held) {
                entry.held_by = None;
                self.due.insert((entry.due_ns, held));
            }
        }
        flight.hinted.then_some(flight.first_ns)
    }

    /// Captures a path no sooner than that, or `stretch_max_ms` after its first hint: for large files that are written
    /// all the time. Gives `false` where too many are stretched already.
    pub(crate) fn stretch(&mut self, now_ns: u64, path: &[u8], until_ns: u64) -> bool {
        if self.stretched.len() >= STRETCHED_MAX {
            self.stretched.retain(|_, until| *until > now_ns);
        }
        if self.stretched.len() >= STRETCHED_MAX && !self.stretched.contains_key(path) {
            return false;
        }
        self.stretched.insert(Arc::from(path), until_ns);
        if let Some(id) = self.by_path.get(path).copied() {
            self.schedule(id);
        }
        true
    }

    /// What is stretched now, and until when.
    pub(crate) fn stretched(&self, now_ns: u64) -> impl Iterator<Item = (&[u8], u64)> {
        self.stretched
            .iter()
            .filter(move |(_, until)| **until > now_ns)
            .map(|(path, until)| (&**path, *until))
    }

    /// When something will be due next; `None` where nothing waits but for a release.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due_ns, _)| *due_ns)
    }

    /// Number and time of the oldest hint that is waiting or in flight.
    pub(crate) fn oldest_pending(&self) -> Option<(u64, u64)> {
        let (first_no, id) = self.oldest.first()?;
        let first_ns = match self.entries.get(id) {
            Some(entry) => entry.first_ns,
            None => self.in_flight.get(id)?.first_ns,
        };
        Some((*first_no, first_ns))
    }

    /// Makes everything due at once whose oldest hint has at most this number, now and if it merges later.
    pub(crate) fn hasten(&mut self, through_no: u64) {
        let below = through_no.saturating_add(1);
        if below <= self.hastened_below {
            return;
        }
        let from = (self.hastened_below, WorkId(0));
        self.hastened_below = below;
        let ids: Vec<WorkId> = self.oldest.range(from..(below, WorkId(0))).map(|(_, id)| *id).collect();
        for id in ids {
            self.schedule(id);
        }
    }

    /// Whether every hint up to this number was taken and released.
    pub(crate) fn drained_through(&self, hint_no: u64) -> bool {
        self.oldest.first().is_none_or(|(first_no, _)| *first_no > hint_no)
    }

    /// Entries waiting and in flight.
    pub(crate) fn pending(&self) -> usize {
        self.entries.len() + self.in_flight.len()
    }

    /// The longest root that a path is at or below.
    fn root_of(&self, path: &[u8]) -> Option<&Arc<[u8]>> {
        self.roots
            .iter()
            .filter(|root| match path.strip_prefix(&***root) {
                Some(rest) => rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/"),
                None => false,
            })
            .max_by_key(|root| root.len())
    }

    /// The waiting entry that covers what happens to a path.
    fn covering(&self, path: &[u8]) -> Option<WorkId> {
        if let Some(id) = self.by_path.get(path) {
            return Some(*id);
        }
        let scan_of = |path: &[u8]| {
            let id = self.by_path.get(path)?;
            Some((*id, self.entries.get(id)?.scan))
        };
        let mut above = parent(path)?;
        if let Some((id, Scan::Entries | Scan::Recursive)) = scan_of(above) {
            return Some(id);
        }
        if self.recursive == 0 {
            return None;
        }
        loop {
            above = parent(above)?;
            if let Some((id, Scan::Recursive)) = scan_of(above) {
                return Some(id);
            }
        }
    }

    fn insert(&mut self, path: Arc<[u8]>, now_ns: u64, hint_no: u64, settled_ns: u64) -> WorkId {
        let id = WorkId(self.next_id);
        self.next_id += 1;
        self.by_path.insert(Arc::clone(&path), id);
        self.oldest.insert((hint_no, id));
        let held_by = self.flying.get(&path).copied();
        match held_by {
            Some(flight) => self.held.entry(flight).or_default().push(id),
            None => drop(self.due.insert((settled_ns, id))),
        }
        self.count_child(id, &path);
        self.entries.insert(
            id,
            Entry {
                path,
                marks: Marks::default(),
                from: None,
                renamed_to: None,
                scan: Scan::No,
                written: false,
                deletions: 0,
                arrivals: Vec::new(),
                first_no: hint_no,
                first_ns: now_ns,
                last_no: hint_no,
                settled_ns,
                due_ns: settled_ns,
                held_by,
            },
        );
        id
    }

    /// Counts an entry without a scan among the children of its directory.
    fn count_child(&mut self, id: WorkId, path: &[u8]) {
        if let Some(dir) = self.countable_parent(path) {
            match self.children.get_mut(dir) {
                Some(children) => drop(children.insert(id)),
                None => drop(self.children.insert(Arc::from(dir), HashSet::from([id]))),
            }
        }
    }

    /// The directory among whose children an entry counts; what is above a root is not ours to scan.
    fn countable_parent<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let dir = parent(path)?;
        self.root_of(dir).map(|_| dir)
    }

    /// Adds a hint to the entry that covers it.
    fn add(
        &mut self,
        id: WorkId,
        hint_no: u64,
        settled_ns: u64,
        path: Arc<[u8]>,
        mark: Marks,
        from: Option<Vec<u8>>,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.last_no = entry.last_no.max(hint_no);
        entry.settled_ns = match mark {
            // Neither is a reason to wait longer, or to stop waiting for a writer.
            Marks::ATTRIBUTES => entry.settled_ns.max(settled_ns),
            Marks::APPEARED_DIR => entry.settled_ns.min(settled_ns),
            _ if entry.marks.any(Marks::APPEARED_DIR) => entry.settled_ns.min(settled_ns),
            _ => settled_ns,
        };
        let marks = mark.only(Marks::ARRIVED);
        if entry.path == path {
            entry.marks = entry.marks.then(mark);
            if mark == Marks::MOVED_TO {
                entry.from = from;
            }
        } else if mark.any(Marks::CONTENT) {
            entry.written = true;
        } else if mark == Marks::GONE {
            entry.deletions += u64::from(counts(&path));
        } else if !marks.is_empty() && entry.scan != Scan::Recursive {
            self.remember_arrival(id, Arrival { path, from, marks });
        }
        self.schedule(id);
    }

    fn remember_arrival(&mut self, id: WorkId, arrival: Arrival) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        // Repeated renames to one name (atomic saves) come one after the other.
        if let Some(last) = entry.arrivals.last_mut().filter(|last| last.path == arrival.path) {
            last.from = arrival.from.or(last.from.take());
            last.marks = last.marks.with(arrival.marks);
            return;
        }
        if self.arrivals >= ARRIVALS_MAX {
            self.widen(id, Scan::Recursive);
            return;
        }
        entry.arrivals.push(arrival);
        self.arrivals += 1;
    }

    /// Makes an entry a scan of at least that extent.
    fn widen(&mut self, id: WorkId, scan: Scan) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if scan <= entry.scan {
            return;
        }
        if entry.scan == Scan::No {
            let path = Arc::clone(&entry.path);
            self.uncount(id, &path);
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.scan = scan;
        if scan == Scan::Recursive {
            self.recursive += 1;
            self.arrivals -= entry.arrivals.len();
            entry.arrivals = Vec::new();
        }
    }

    fn uncount(&mut self, id: WorkId, path: &[u8]) {
        let Some(dir) = parent(path) else { return };
        if let Some(children) = self.children.get_mut(dir) {
            children.remove(&id);
            if children.is_empty() {
                self.children.remove(dir);
            }
        }
    }

    /// Works out when an entry is due, and puts it there in the queue.
    fn schedule(&mut self, id: WorkId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let latest_ns = entry.first_ns.saturating_add(self.timings.max_delay_ms.saturating_mul(MS));
        let mut due_ns = entry.settled_ns.min(latest_ns);
        if let Some(until_ns) = self.stretched.get(&entry.path) {
            let stretched_ns = entry.first_ns.saturating_add(self.timings.stretch_max_ms.saturating_mul(MS));
            due_ns = due_ns.max((*until_ns).min(stretched_ns));
        }
        if entry.first_no < self.hastened_below {
            due_ns = 0;
        }
        if entry.held_by.is_none() && due_ns != entry.due_ns {
            self.due.remove(&(entry.due_ns, id));
            self.due.insert((due_ns, id));
        }
        entry.due_ns = due_ns;
    }

    /// Takes an entry out of every table.
    fn remove(&mut self, id: WorkId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.by_path.remove(&entry.path);
        if entry.held_by.is_none() {
            self.due.remove(&(entry.due_ns, id));
        }
        self.oldest.remove(&(entry.first_no, id));
        self.arrivals -= entry.arrivals.len();
        match entry.scan {
            Scan::No => self.uncount(id, &entry.path),
            Scan::Entries => {}
            Scan::Recursive => self.recursive -= 1,
        }
        Some(entry)
    }
}

/// Whether it is a loss that something under that name went unread: what a restore has in passing is none.
fn counts(path: &[u8]) -> bool {
    !is_temporary(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
}

/// The directory that a path is in; `None` for `/`.
fn parent(path: &[u8]) -> Option<&[u8]> {
    if path == b"/" {
        return None;
    }
    match path.iter().rposition(|byte| *byte == b'/')? {
        0 => path.get(..1),
        slash => path.get(..slash),
    }
}

#[cfg(test)]
mod tests;

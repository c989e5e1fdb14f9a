//! The limits of the dirty map: over them entries collapse into scans, never into nothing.

use std::sync::Arc;

use super::{Arrival, MS, Marks, Scan, Settle, Timings, WorkId, counts, parent};

/// Depths below a root to which entries collapse, one after the other, until there are few enough.
const COLLAPSE_DEPTHS: [usize; 6] = [12, 8, 4, 2, 1, 0];

impl Settle {
    /// Works by other timings and limits from now on, and takes hints below these roots.
    pub(crate) fn configure(&mut self, timings: Timings, roots: impl IntoIterator<Item = Vec<u8>>) {
        self.timings = timings;
        self.roots = roots.into_iter().map(Arc::from).collect();
        // Which directories count depends on the roots.
        self.children.clear();
        let single: Vec<(WorkId, Arc<[u8]>)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.scan == Scan::No)
            .map(|(id, entry)| (*id, Arc::clone(&entry.path)))
            .collect();
        for (id, path) in single {
            self.count_child(id, &path);
        }
    }

    /// Whether something waits or is in flight that concerns the path: itself, an entry of it, or a scan above it.
    /// Looks through everything in flight.
    pub(crate) fn is_dirty(&self, path: &[u8]) -> bool {
        let concerns = |flight: &super::Flight| {
            let below =
                path.strip_prefix(&*flight.path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
            below || &*flight.path == b"/" || parent(&flight.path) == Some(path)
        };
        self.covering(path).is_some()
            || self.children.contains_key(path)
            || self.in_flight.values().any(concerns)
    }

    /// Collapses what has grown over a limit by the entry that was just touched.
    pub(super) fn keep_bounds(&mut self, now_ns: u64, touched: WorkId) {
        let dir = self.entries.get(&touched).and_then(|entry| parent(&entry.path)).map(Arc::from);
        if let Some(dir) = dir {
            let dir: Arc<[u8]> = dir;
            if self.children.get(&dir).is_some_and(|children| children.len() > self.timings.children_max) {
                self.collapse_children(now_ns, &dir);
            }
        }
        if self.entries.len() > self.timings.entries_max {
            self.shrink(now_ns);
        }
    }

    /// Makes the waiting children of a directory one scan of it. Those that wait for work in flight stay.
    fn collapse_children(&mut self, now_ns: u64, dir: &Arc<[u8]>) {
        let Some(children) = self.children.get(dir) else {
            return;
        };
        let mut ids: Vec<WorkId> = children.iter().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.merge(now_ns, id, dir, Scan::Entries);
        }
    }

    /// Merges an entry into a scan of a directory above it; one that is held stays.
    fn merge(&mut self, now_ns: u64, id: WorkId, dir: &Arc<[u8]>, scan: Scan) {
        if self.entries.get(&id).is_none_or(|entry| entry.held_by.is_some()) {
            return;
        }
        let Some(merged) = self.remove(id) else {
            return;
        };
        self.merged += 1;
        let settled_ns = now_ns.saturating_add(self.timings.closed_ms.saturating_mul(MS));
        let target = match self.by_path.get(dir) {
            Some(target) => *target,
            None => self.insert(Arc::clone(dir), merged.first_ns, merged.first_no, settled_ns),
        };
        self.widen(target, scan);
        let Some(entry) = self.entries.get_mut(&target) else {
            return;
        };
        if merged.first_no < entry.first_no {
            self.oldest.remove(&(entry.first_no, target));
            self.oldest.insert((merged.first_no, target));
            entry.first_no = merged.first_no;
        }
        entry.first_ns = entry.first_ns.min(merged.first_ns);
        entry.last_no = entry.last_no.max(merged.last_no);
        entry.deletions +=
            merged.deletions + u64::from(merged.marks.any(Marks::GONE) && counts(&merged.path));
        entry.written |= merged.written;
        let marks = merged.marks.only(Marks::ARRIVED);
        if marks.is_empty() {
            entry.written |= merged.marks.any(Marks::CONTENT);
        } else if entry.scan != Scan::Recursive {
            let marks = marks.with(merged.marks.only(Marks::CONTENT));
            self.remember_arrival(target, Arrival { path: merged.path, from: merged.from, marks });
        }
        self.schedule(target);
    }

    /// Brings the number of entries down to three quarters of the limit: first the fullest directories become scans,
    /// then whatever is deepest becomes recursive scans, in the end one of each root.
    fn shrink(&mut self, now_ns: u64) {
        let goal = self.timings.entries_max / 4 * 3;
        let mut dirs: Vec<(usize, Arc<[u8]>)> = self
            .children
            .iter()
            .filter(|(_, children)| children.len() > 1)
            .map(|(dir, children)| (children.len(), Arc::clone(dir)))
            .collect();
        dirs.sort_unstable();
        while self.entries.len() > goal {
            let Some((_, dir)) = dirs.pop() else { break };
            self.collapse_children(now_ns, &dir);
        }
        for depth in COLLAPSE_DEPTHS {
            if self.entries.len() <= goal {
                return;
            }
            let mut deep: Vec<(WorkId, Arc<[u8]>)> = self
                .entries
                .iter()
                .filter_map(|(id, entry)| {
                    let root = self.root_of(&entry.path)?.len();
                    Some((*id, Arc::from(ancestor(&entry.path, root, depth)?)))
                })
                .collect();
            deep.sort_unstable();
            for (id, dir) in deep {
                self.merge(now_ns, id, &dir, Scan::Recursive);
            }
        }
    }
}

/// The directory so many components below a root of that length, where the path lies deeper than that.
pub(super) fn ancestor(path: &[u8], root: usize, depth: usize) -> Option<&[u8]> {
    // The root `/` ends in its slash; others are followed by one.
    let start = if root == 1 { 1 } else { root + 1 };
    if start >= path.len() {
        return None;
    }
    if depth == 0 {
        return path.get(..root);
    }
    let rest = path.get(start..)?;
    let (end, _) = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(depth - 1)?;
    path.get(..start + end)
}

//! Which files are to be read again because their newest version is not clean, and when.
//!
//! Pure: no I/O, and no clock of its own. A file with a writer moves no hint when the writer is gone without a trace, nor
//! when it stores through a mapping, so doubtful files are looked at by schedule: soon at first, ever more seldom as
//! long as nothing becomes of it. What does not fit is found by the next reconcile.

use std::collections::{BTreeSet, HashMap};

use asof_journal::types::NodeId;

/// How long after the first doubtful version a file is read again.
const FIRST_NS: u64 = 1_000_000_000;
/// The delay doubles with every further one, up to this.
const DELAY_MAX_NS: u64 = 60_000_000_000;
/// Files that are remembered; one more waits for its next hint or the next reconcile.
const ENTRIES_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it is due; once it was handed out, when it is forgotten.
    due_ns: u64,
    delay_ns: u64,
    /// Handed out, and nothing came of it yet.
    asked: bool,
}

/// The schedule.
#[derive(Debug, Default)]
pub(crate) struct Rereads {
    entries: HashMap<NodeId, Entry>,
    due: BTreeSet<(u64, NodeId)>,
}

impl Rereads {
    /// A version of the file that was just recorded, or found again, is not clean. Gives `false` where there are too many
    /// already.
    pub(crate) fn doubtful(&mut self, now_ns: u64, node: NodeId) -> bool {
        let known = self.entries.get(&node).copied();
        if known.is_none() && self.entries.len() >= ENTRIES_MAX {
            return false;
        }
        let delay_ns = match known {
            None => FIRST_NS,
            // It is written all the time; what hints led to does not hasten or delay the next look.
            Some(entry) if !entry.asked => return true,
            Some(entry) => entry.delay_ns.saturating_mul(2).min(DELAY_MAX_NS),
        };
        self.put(node, Entry { due_ns: now_ns.saturating_add(delay_ns), delay_ns, asked: false });
        true
    }

    /// Its newest version is clean.
    pub(crate) fn clean(&mut self, node: NodeId) {
        if let Some(entry) = self.entries.remove(&node) {
            self.due.remove(&(entry.due_ns, node));
        }
    }

    /// Takes what is due, at most `max`. A file that turns out to be gone or clean by another way is forgotten after a
    /// while.
    pub(crate) fn take_due(&mut self, now_ns: u64, max: usize) -> Vec<NodeId> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(&(due_ns, node)) = self.due.first().filter(|(due_ns, _)| *due_ns <= now_ns) else {
                break;
            };
            let Some(entry) = self.entries.get(&node).copied() else {
                self.due.remove(&(due_ns, node));
                continue;
            };
            if entry.asked {
                self.clean(node);
                continue;
            }
            taken.push(node);
            let due_ns = now_ns.saturating_add(entry.delay_ns).saturating_add(DELAY_MAX_NS);
            self.put(node, Entry { due_ns, asked: true, ..entry });
        }
        taken
    }

    fn put(&mut self, node: NodeId, entry: Entry) {
        if let Some(before) = self.entries.insert(node, entry) {
            self.due.remove(&(before.due_ns, node));
        }
        self.due.insert((entry.due_ns, node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const FILE: NodeId = NodeId(7);

    /// When the file is handed out, looked at twice a second, where every look finds it doubtful.
    fn times(rereads: &mut Rereads, until_s: u64) -> Vec<u64> {
        let mut times = Vec::new();
        for half in 0..2 * until_s {
            let now_ns = half * S / 2;
            for node in rereads.take_due(now_ns, 10) {
                times.push(now_ns / S);
                assert!(rereads.doubtful(now_ns, node));
            }
        }
        times
    }

    #[test]
    fn looks_become_seldom_and_do_not_end() {
        let mut rereads = Rereads::default();
        assert!(rereads.doubtful(0, FILE));
        assert_eq!(times(&mut rereads, 250), [1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }

    #[test]
    fn versions_by_hints_in_between_change_nothing() {
        let mut rereads = Rereads::default();
        for ms in 0..900 {
            rereads.doubtful(ms * 1_000_000, FILE);
        }
        assert_eq!(rereads.take_due(S, 10), [FILE]);
    }

    #[test]
    fn what_is_clean_is_not_looked_at_and_begins_anew() {
        let mut rereads = Rereads::default();
        rereads.doubtful(0, FILE);
        times(&mut rereads, 60);
        rereads.clean(FILE);
        assert_eq!(rereads.take_due(1000 * S, 10), []);
        rereads.doubtful(1000 * S, FILE);
        assert_eq!(rereads.take_due(1001 * S, 10), [FILE]);
    }

    #[test]
    fn what_nothing_is_heard_of_is_forgotten() {
        let mut rereads = Rereads::default();
        rereads.doubtful(0, FILE);
        assert_eq!(rereads.take_due(S, 10), [FILE]);
        assert_eq!(rereads.take_due(1000 * S, 10), []);
        assert!(rereads.entries.is_empty() && rereads.due.is_empty());
    }

    #[test]
    fn there_is_a_limit_in_number_and_at_a_time() {
        let mut rereads = Rereads::default();
        for number in 0..ENTRIES_MAX as u64 {
            assert!(rereads.doubtful(0, NodeId(number)));
        }
        assert!(!rereads.doubtful(0, NodeId(u64::MAX)), "one more than fits");
        assert!(rereads.doubtful(0, NodeId(3)), "known already");
        assert_eq!(rereads.take_due(S, 10).len(), 10);
        assert_eq!(rereads.take_due(S, usize::MAX).len(), ENTRIES_MAX - 10);
        rereads.clean(NodeId(0));
        assert!(rereads.doubtful(S, NodeId(u64::MAX)));
    }
}

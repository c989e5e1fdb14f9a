//! Looks that no hint asks for: at files that are not clean, and at what was not there when it was looked at.

use std::sync::Arc;

use super::{MS, Marks, Settle};

impl Settle {
    /// Asks for another look at a file whose newest version is not clean, due at once. Where hints of it wait, what they
    /// lead to is enough.
    pub(crate) fn reread(&mut self, now_ns: u64, path: &[u8], no: u64) {
        if self.covering(path).is_none() {
            self.note(now_ns, path, Marks::REREAD, now_ns, no);
        }
    }

    /// A hint said that something is there, and it was not there any more. What became of it, the next hint says, and
    /// where none comes, nobody does.
    pub(crate) fn missed(&mut self, now_ns: u64, path: &[u8], no: u64) {
        let settled_ns = now_ns.saturating_add(self.timings.quiet_ms.saturating_mul(MS));
        self.note(now_ns, path, Marks::MISSED, settled_ns, no);
    }

    fn note(&mut self, now_ns: u64, path: &[u8], mark: Marks, settled_ns: u64, no: u64) {
        if self.root_of(path).is_none() {
            return;
        }
        let path: Arc<[u8]> = Arc::from(path);
        let id = match self.covering(&path) {
            Some(id) => id,
            None => self.insert(Arc::clone(&path), now_ns, no, settled_ns),
        };
        self.add(id, no, settled_ns, path, mark, None);
        self.keep_bounds(now_ns, id);
    }
}

//! Versions that are not clean are looked at again: when by the schedule in `reread`, where by the newest state.

use asof_journal::types::NodeId;

use super::Agent;

/// Files looked at again in one go; what is due besides waits for the next.
const REREADS_AT_ONCE: usize = 256;

impl Agent {
    /// A version was recorded, or found again, that is not clean.
    pub(super) fn doubtful(&mut self, node: NodeId) {
        let now_ns = self.clock.monotonic_ns();
        if !self.rereads.doubtful(now_ns, node) {
            tracing::debug!(%node, "too many files are doubtful; this one waits for a hint or the next reconcile");
        }
    }

    /// Has doubtful files looked at that are due, under the names that they have now.
    pub(super) fn look_at_doubtful(&mut self) {
        let now_ns = self.clock.monotonic_ns();
        for node in self.rereads.take_due(now_ns, REREADS_AT_ONCE) {
            let path = match self.head.view().path_of(node) {
                Ok(Some(path)) => path,
                Ok(None) => {
                    self.rereads.clean(node); // it has no name any more
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%node, %error, "a doubtful file could not be looked up");
                    continue;
                }
            };
            let mut state = self.dirty.lock();
            state.last_no += 1;
            let no = state.last_no;
            state.settle.reread(now_ns, &path, no);
        }
    }
}

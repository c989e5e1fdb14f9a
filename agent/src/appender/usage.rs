//! How large the journal is, for a limit of its size: measured now and then, counted in between.

use std::path::PathBuf;

use asof_journal::blocks::occupied;

/// The index grows beside what is counted: after so many bytes everything is measured.
const MEASURE_BYTES: u64 = 8 << 20;
/// A journal that was too large has room again when so much of its limit is free, so that it is not full at once.
const FREE_PART: u64 = 64;

/// The size of a journal.
pub(super) struct Usage {
    journal: PathBuf,
    measured: Option<u64>,
    since: u64,
}

impl Usage {
    pub(super) fn new(journal: PathBuf) -> Usage {
        Usage { journal, measured: None, since: 0 }
    }

    /// Counts what was written.
    pub(super) fn add(&mut self, bytes: u64) {
        self.since += bytes;
    }

    /// Whether the journal has as many bytes as it may have; `before` is whether it had.
    pub(super) fn is_over(&mut self, most: u64, before: bool) -> bool {
        if let Some(measured) = self.measured
            && !before
            && self.since < MEASURE_BYTES
            && measured + self.since < most
        {
            return false;
        }
        // What cannot be measured does not stop capture.
        let measured = occupied(&self.journal).unwrap_or(0);
        self.measured = Some(measured);
        self.since = 0;
        let free = if before { most / FREE_PART } else { 0 };
        measured + free >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdir::TestDir;

    #[test]
    fn a_journal_is_too_large_until_some_of_its_limit_is_free() {
        let dir = TestDir::create();
        let mut usage = Usage::new(dir.path().to_path_buf());
        let most = 64 << 20;
        std::fs::write(dir.join("segment"), vec![7; 1 << 20]).expect("write");
        assert!(!usage.is_over(most, false));
        usage.add(70 << 20);
        assert!(!usage.is_over(most, false), "it was counted wrongly, and is measured");
        assert!(usage.is_over(1 << 20, false));
        assert!(usage.is_over((1 << 20) + 8192, true), "too little is free");
        assert!(!usage.is_over(2 << 20, true));
    }
}

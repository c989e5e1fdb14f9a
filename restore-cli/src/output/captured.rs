//! What a verb says, kept as lines: bounded, so that a plan of a million files does not fill memory.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// So many of the first lines are kept.
const FIRST_MAX: usize = 2000;
/// So many of the last ones.
const LAST_MAX: usize = 200;

/// Lines that were written, shared with whoever writes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Captured(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    first: Vec<String>,
    last: VecDeque<String>,
    left_out: usize,
    /// What has no end of line yet.
    open: Vec<u8>,
}

impl Captured {
    /// The lines so far; between the first and the last ones it says how many are left out.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = lines.first.clone();
        if lines.left_out > 0 {
            all.push(format!("... {} lines more ...", lines.left_out));
        }
        all.extend(lines.last.iter().cloned());
        all
    }

    /// The newest line.
    pub(crate) fn newest(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.last.back().or(lines.first.last()).cloned()
    }
}

impl Lines {
    fn push(&mut self, line: String) {
        if self.first.len() < FIRST_MAX {
            self.first.push(line);
            return;
        }
        self.last.push_back(line);
        if self.last.len() > LAST_MAX {
            self.last.pop_front();
            self.left_out += 1;
        }
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut lines.open);
                lines.push(String::from_utf8_lossy(&line).into_owned());
            } else {
                lines.open.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::*;

    #[test]
    fn data_and_remarks_stay_in_order_and_are_bounded() {
        let captured = Captured::default();
        let mut out = Output::captured(&captured);
        out.note("one");
        out.line("two").unwrap();
        out.warn("three");
        assert_eq!(captured.lines(), ["one", "two", "asof: warning: three"]);
        for n in 0..10_000 {
            out.line(&n.to_string()).unwrap();
        }
        let lines = captured.lines();
        assert_eq!(lines.len(), FIRST_MAX + 1 + LAST_MAX);
        assert_eq!(lines.last().map(String::as_str), Some("9999"));
        assert_eq!(captured.newest().as_deref(), Some("9999"));
        assert_eq!(lines[FIRST_MAX], format!("... {} lines more ...", 10_003 - FIRST_MAX - LAST_MAX));
    }
}

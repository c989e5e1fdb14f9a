//! Whether the reports of a journal are those that were written: pure.
//!
//! Each report holds the hash of the one before, and the head that of the newest. What was edited does not fit what comes
//! after it; what was removed leaves a number without a file.

use std::collections::BTreeMap;

use super::{Head, Kept};

/// What a file of the store turned out to be.
#[derive(Debug)]
pub(crate) enum Found {
    /// A report.
    Report(Box<Kept>),
    /// Something else.
    Unreadable {
        /// BLAKE3 of its bytes, where they could be read.
        hash: Option<String>,
        /// Why it is no report.
        why: String,
    },
}

impl Found {
    fn hash(&self) -> Option<&str> {
        match self {
            Found::Report(kept) => Some(&kept.hash),
            Found::Unreadable { hash, .. } => hash.as_deref(),
        }
    }
}

/// A place where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    /// The report that it concerns.
    pub(crate) number: u64,
    /// What is wrong, in one sentence.
    pub(crate) what: String,
}

/// Every break, by number.
pub(crate) fn check(found: &BTreeMap<u64, Found>, head: Option<&Head>) -> Vec<Break> {
    let mut breaks = Vec::new();
    let mut say = |number: u64, what: String| breaks.push(Break { number, what });
    let newest = found.keys().next_back().copied().unwrap_or(0);
    let last = newest.max(head.map_or(0, |head| head.number));
    let mut before: Option<u64> = None;
    for (&number, this) in found {
        removed(before.map_or(1, |before| before + 1), number, &mut say);
        match this {
            Found::Unreadable { why, .. } => say(number, format!("report {number} cannot be read: {why}")),
            Found::Report(kept) => {
                let link = &kept.report.chain;
                if link.number != number {
                    say(number, format!("report {number} says that it is report {}", link.number));
                }
                // Without the file before, nothing is left to compare with; that it is gone is said already.
                let previous = number.checked_sub(1).and_then(|number| found.get(&number));
                let fits = match (previous, &link.previous_hash) {
                    (Some(previous), Some(hash)) => previous.hash().is_none_or(|previous| previous == hash),
                    (Some(_), None) => false,
                    (None, hash) => number > 1 || hash.is_none(),
                };
                match (fits, previous) {
                    (true, _) => {}
                    (false, Some(_)) => {
                        let before = number - 1;
                        say(
                            before,
                            format!("report {before} was changed: report {number} has another hash of it"),
                        );
                    }
                    (false, None) => say(number, "report 1 says that there was one before it".to_owned()),
                }
            }
        }
        before = Some(number);
    }
    removed(newest + 1, last + 1, &mut say);
    match head {
        Some(head) => {
            let this = found.get(&head.number).and_then(Found::hash);
            if this.is_some_and(|hash| hash != head.hash) && !said_of(&breaks, head.number) {
                let what = format!("report {} was changed after it was written", head.number);
                breaks.push(Break { number: head.number, what });
            }
            // One more than the head is a drill that was ended between two writes.
            if newest > head.number + 1 {
                let what = format!("the head says that report {} is the newest", head.number);
                breaks.push(Break { number: newest, what });
            }
        }
        // The first report is written before the head.
        None if newest > 1 => {
            breaks.push(Break {
                number: newest,
                what: "the head, which knows the newest report, is gone".into(),
            });
        }
        None => {}
    }
    breaks.sort_by_key(|at| at.number);
    breaks
}

/// Says of a run of numbers, as far as there is one, that their reports are gone.
fn removed(from: u64, until: u64, say: &mut impl FnMut(u64, String)) {
    match until.saturating_sub(from) {
        0 => {}
        1 => say(from, format!("report {from} is gone")),
        _ => say(from, format!("reports {from} to {} are gone", until - 1)),
    }
}

fn said_of(breaks: &[Break], number: u64) -> bool {
    breaks.iter().any(|at| at.number == number)
}

//! A copy of the journal whose newest segment has lost its end, as after a power cut.

use std::fs::File;
use std::path::Path;

use asof_journal::reader::{Moment, Reader};
use asof_journal::storage::Layout;
use asof_journal::types::Instant;

use super::copy::{failed, names};
use crate::drill::ledger::drawn;
use crate::drill::stop::{Tried, inconclusive};

/// How much is cut off at most, one after the other, until something that counted is gone.
const CUTS: [u64; 5] = [64, 1 << 10, 16 << 10, 256 << 10, 4 << 20];

/// What is left of a journal whose end was cut off.
pub(super) struct Torn {
    /// The newest moment.
    pub(super) head: Moment,
    /// Through when everything was captured then: what was written later may have been in what is gone.
    pub(super) covered_through: Instant,
}

/// Cuts the end off the newest segment. `whole` is the journal that was copied.
pub(super) fn tear(copy: &Path, whole: &Reader, seed: u64) -> Tried<Torn> {
    let layout = Layout::new(copy);
    let newest =
        names(&layout)?.into_iter().filter_map(|name| Some((Layout::parse_segment(&name)?.0, name))).max();
    let Some((_, name)) = newest else {
        return inconclusive("the journal has no segment that could be torn");
    };
    let path = layout.segments().join(name);
    let file = File::options().write(true).open(&path).map_err(|source| failed(&path, source))?;
    let mut length = file.metadata().map_err(|source| failed(&path, source))?.len();
    for most in CUTS {
        length = length.saturating_sub(1 + drawn(seed, "cut", most - 1));
        file.set_len(length).map_err(|source| failed(&path, source))?;
        let torn = Reader::open(copy)?;
        if torn.head() < whole.head() {
            return match (torn.at_seq(torn.head())?, torn.info()?.covered_through) {
                (Some(head), Some(covered_through)) => Ok(Torn { head, covered_through }),
                _ => {
                    inconclusive("what is left of the journal was written before its first capture was over")
                }
            };
        }
        if length == 0 {
            break;
        }
    }
    inconclusive("nothing that counts could be cut off the newest segment")
}

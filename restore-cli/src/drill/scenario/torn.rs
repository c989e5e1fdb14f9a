//! A copy of the journal whose newest segment has lost its end, as after a power cut.

use std::fs::File;
use std::path::Path;

use asof_journal::reader::{Moment, Reader};
use asof_journal::storage::Layout;

use super::copy::{failed, names};
use crate::drill::ledger::drawn;
use crate::drill::stop::{Tried, inconclusive};

/// How much is cut off at most, one after the other, until something that counted is gone.
const CUTS: [u64; 5] = [64, 1 << 10, 16 << 10, 256 << 10, 4 << 20];

/// Cuts the end off the newest segment; gives the newest moment that is left. `whole` is the journal that was copied.
pub(super) fn tear(copy: &Path, whole: &Reader, seed: u64) -> Tried<Moment> {
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
            return match torn.at_seq(torn.head())? {
                Some(head) => Ok(head),
                None => inconclusive("the journal has one batch only, and that is torn"),
            };
        }
        if length == 0 {
            break;
        }
    }
    inconclusive("nothing that counts could be cut off the newest segment")
}

//! Fuzz targets: every decoder of the journal against valid, broken and arbitrary bytes.
//!
//! What holds of any input: no panic, memory in proportion to its length, and what was decoded comes back when it is
//! encoded again. Inputs that once failed are in `tests/corpus`. See `tests/fuzz` for the loop.

mod content;
mod control;
mod formats;
mod index;
mod log;
mod rules;
mod values;

use asof_fuzz::{Memory, Target};

#[global_allocator]
static MEMORY: asof_fuzz::Counting = asof_fuzz::Counting;

/// What a decoded value may cost: the widest value for the fewest bytes is an operation of four.
const DECODED: Memory = Memory { fixed: 256 << 10, per_byte: 200 };

/// A target whose inputs need no mending and whose decoder knows no words.
fn target<'t>(
    name: &'t str,
    valid: &'t dyn Fn(&mut asof_fuzz::Random) -> Vec<u8>,
    check: &'t dyn Fn(&[u8]) -> bool,
) -> Target<'t> {
    Target { name, valid, mend: &|_| {}, check, memory: DECODED, words: &[] }
}

//! Fuzzing on a stable toolchain: valid inputs are made, broken, put right up to the checksums, and given to a decoder.
//!
//! Owns the loop, the choice of inputs, the measure of memory, and what is said of a failure. Knows no format: each
//! package keeps its targets beside its decoders, as tests. What no random byte gets past (a checksum, a count, a
//! compressed body), a changed valid input does.

mod memory;
mod mutate;
mod random;
mod run;

pub use memory::Counting;
pub use random::Random;
pub use run::{Memory, Target};

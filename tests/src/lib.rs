//! What the tests of the whole need: an oracle that compares trees, and real processes.

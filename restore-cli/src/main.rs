//! `asof`, the command: reconstructs any path as of any moment out of a journal.

fn main() {}

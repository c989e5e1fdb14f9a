//! `asofd`, the agent: captures every file change under its roots into a journal, as it happens.

fn main() {}

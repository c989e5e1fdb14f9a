//! `asof help undo`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Takes the last restore in place back: files are as they were just before it, what it created is gone, what it deleted is \
there again. Only paths that the restore changed are touched. What was changed since is left and named. Run again, it takes \
the restore before that back. An undo is in the history like any restore, and can be taken back itself.";

/// After the options.
pub(crate) const MORE: &str = "\
Examples:
  asof undo -n                what would it do?
  asof undo
  asof undo --yes --overwrite always      also what was changed since

Exit status:
  0 done; 1 there is nothing to take back, no asofd is running, or it was not
  confirmed; 3 partly done: each path that was left is named; 10 no journal
  there

See also: asof help restore, asof help log";

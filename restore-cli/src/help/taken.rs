//! The page of `asof help top`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Tells what takes the space in the journal: stored bytes and versions of each path, the largest first; with --by churn what \
came new in the last 7 days, with --by age how much is how old.";

/// After the options.
pub(crate) const MORE: &str = "\
Each piece of content is charged once, to the path that it was written for
first; a file that was renamed or saved anew is one path, the last one. Bytes
are as they are stored: compressed, as differences, without what was there
already. Content in packs counts with its share of all packs. What no version
refers to any more is told apart.

Examples:
  asof top
  asof top ~/work --by churn -n 5     what grows here?
  asof --json top --by age

Exit status:
  0 done; 5 nothing has been captured yet; 10 no journal there

See also: asof help retain, asof help status";

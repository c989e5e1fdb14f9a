//! The page of `asof help explain`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Says why a path is there as of a time, or is not: captured, excluded and by which rule, deleted and between which \
instants, renamed to what, in a gap and why nobody looked, not yet created, thinned by the retention policy, unreadable, \
below no root. It asks the journal \
only, and names the command to go on with.";

/// After the options.
pub(crate) const MORE: &str = "\
Examples:
  asof explain ~/work/target          why is this not captured?
  asof explain notes.txt --at 14:00   was it there?

The verdicts in JSON: captured, excluded, deleted, moved, gap,
not_yet_created, thinned, unreadable, not_protected, root_missing,
never_seen.

Exit status:
  0 whatever the answer is; 5 the time is before the first capture; 10 no
  journal there

See also: asof help log, asof help status, asofd check-config";

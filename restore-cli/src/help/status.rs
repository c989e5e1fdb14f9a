//! The page of `asof help status`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Tells whether things are as they should be: what is protected and since when, how old the oldest change is that is not \
captured yet, what is wrong, how large the journal is. It asks asofd; where none is running or none answers it says so, \
and what the journal knows.";

/// After the options.
pub(crate) const MORE: &str = "\
States:
  starting     asofd compares everything; changes are captured already
  protecting   every root is watched, and nothing is wrong
  degraded     something is not protected as it should be: the lines that
               begin with `problem` say what, and what helps
  stopped      no asofd is running: nothing is captured now, and everything
               that was captured can be restored

Examples:
  asof status
  asof --json status | jq .state

Exit status:
  0 also where the state is not `protecting`; 10 where there is no journal

See also: asof help explain, asof help verify";

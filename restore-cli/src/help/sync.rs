//! The page of `asof help sync`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Returns when every change that was made before the call is durable in the journal, and prints an instant that --at takes: \
it shows exactly that state. It reads no directory, and takes some milliseconds where little is pending.";

/// After the options.
pub(crate) const MORE: &str = "\
Examples:
  before=$(asof sync | cut -d' ' -f1); ./risky.sh; asof diff --from \"$before\"
                              what has a program changed?
  asof --json sync            {\"instant\":...,\"seq\":N,\"at\":\"seq:N\"}

Exit status:
  0 everything before the call is durable; 1 it is not (no asofd is running,
  no room, the time was up): nothing is promised; 10 no journal there

See also: asof help mark, asof help status";

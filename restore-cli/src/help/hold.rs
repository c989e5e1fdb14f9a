//! The page of `asof help hold`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Keeps all that a path and everything below it ever was, whatever the retention policy says, or the instant that has a name. \
Everything that was changed before the call is captured first; that takes a running asofd. Without an argument it lists \
what is held.";

/// After the options.
pub(crate) const MORE: &str = "\
A hold lasts until `asof release`, or until a time. That is measured by the
time that the agent sees pass: a clock that jumps ahead ends no hold. What the
policy took before does not come back. The last hold of a path counts. A file
that is called mark:x is held as ./mark:x.

Examples:
  asof hold ~/thesis
  asof hold ~/contract.odt --until 2036-12-31
  asof hold mark:before-the-upgrade
  asof hold                           what is held?

Exit status:
  0 done; 1 no asofd is running, there never was such a path or mark, or not
  everything could be made durable; 2 a time that is not to come; 10 no
  journal there

See also: asof help release, asof help retain, asof help mark";

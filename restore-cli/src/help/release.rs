//! The page of `asof help release`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Ends a hold: from then on the retention policy counts again for that path, or for the instant of that name. That takes a \
running asofd.";

/// After the options.
pub(crate) const MORE: &str = "\
A path is released as it was held: to hold a directory and release a file in
it is not possible. An instant that has a name stays also without a hold.

Examples:
  asof release ~/thesis
  asof release mark:before-the-upgrade

Exit status:
  0 done; 1 no asofd is running, it is not held, or not everything could be
  made durable; 10 no journal there

See also: asof help hold, asof help retain";

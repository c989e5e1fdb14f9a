//! The page of `asof help mark`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Gives this instant a name: `--at mark:NAME` means it from then on. Everything that was changed before the call is captured \
first, so that the name stands for exactly this state; that takes a running asofd. Without NAME it lists the names that \
there are.";

/// After the options.
pub(crate) const MORE: &str = "\
A name is given once and stays. It has 1 to 255 bytes, no `/` and no `@`.

Examples:
  asof mark before-the-upgrade
  asof diff --from mark:before-the-upgrade
  asof restore ~/work --at mark:before-the-upgrade --to /tmp/work
  asof mark                           which names are there?

Exit status:
  0 done; 1 no asofd is running, the name is taken, or not everything could be
  made durable; 2 no instant can have such a name; 10 no journal there

See also: asof help sync, asof help log";

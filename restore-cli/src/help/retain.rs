//! The page of `asof help retain`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Says what a retention policy would take out of the past, without doing it: which paths lose versions and why the others stay, \
what that frees, and which instants could no longer be asked for. The policy is that of the configuration of asofd, or one \
that is proposed with --keep or --policy.";

/// After the options.
pub(crate) const MORE: &str = "\
Steps:
  A policy is a ladder of steps, the finest first: `all for 2 days`, then `10
  minutes for 7 days`, and so on; a last step without `for` holds for ever.
  Of each interval the state at its end stays, so that at every instant that
  is kept the whole tree is exactly as it was. Intervals are minutes, hours,
  days or weeks, and each is a multiple of the one before. The default is
  `all for 2 days`, `10 minutes for 7 days`, `1 hour for 30 days`, `1 day for
  365 days`, `1 week`.

  Never taken: what is current, the last state before a deletion, what was so
  at an instant that has a name (`asof mark`), and everything that was still
  so in the last 7 days (`immutable` in the configuration). Age is what the
  agent saw pass: a clock that jumps ages nothing.

Figures:
  Bytes are those stored for content that nothing kept refers to. Part of it
  may serve as the base of differences that stay: that is told apart, since it
  goes only once those are stored anew, which costs some of it. Content in
  packs counts with its share of all packs. What the records themselves take
  is not counted.

Examples:
  asof retain --dry-run
  asof retain --dry-run --keep 'all for 7 days' '1 day for 365 days'
  asof retain --dry-run ~/build -n 5

Exit status:
  0 done; 2 a step that makes no sense; 5 nothing has been captured yet; 10 no
  journal there

See also: asof help top, asof help mark, asofd check-config";

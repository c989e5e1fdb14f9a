//! The page of `asof help retain`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Applies the retention policy of the configuration of asofd: what it does not keep leaves the journal for good. A running asofd \
does that by itself, a little at a time, when there is nothing else to do; this does it at once. With --dry-run it says what \
would go instead, by that policy or by one that is proposed with --keep or --policy: which paths lose versions and why the \
others stay, what that frees, and which instants could no longer be asked for.";

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
  at an instant that has a name (`asof mark`), what is held (`asof hold`), and
  everything that was still so in the last 7 days (`immutable` in the
  configuration). Age is what the agent saw pass: a clock that jumps ages
  nothing.

Applying:
  A running asofd does it, also where asof is ended meanwhile; without one
  asof does it itself. Old segments of the journal are written anew without
  what goes, where that frees as much as it writes, or any at all with --all.
  The segment that is being written stays until it is sealed; --all has it
  sealed first, so that what --dry-run names goes at once, but for a record
  whose end lies in another run of segments (of 128 MiB): that goes another
  time.
  A crash at any moment loses nothing that is kept. Segments with damage in
  them stay as they are, and so do those that something still reads, for a day
  at most. It asks first; without a terminal it takes --yes.

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
  asof retain --yes --all

Exit status:
  0 done; 2 a step that makes no sense, or nobody to ask; 3 damage kept some
  segments as they are; 5 nothing has been captured yet; 10 no journal there;
  11 another writer holds it

See also: asof help top, asof help hold, asof help mark, asofd check-config";

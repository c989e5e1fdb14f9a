//! The page of `asof --help`.

/// What the command is for.
pub(crate) const ABOUT: &str = "\
Gives back any file, directory or tree as of any moment since asofd began to capture it: what was deleted, overwritten \
or broken, under the name that it had then. Asking changes nothing, and needs no running asofd.

Something is lost? Three steps:

  asof log DIR                              when did it happen?
  asof ls -l DIR --at '10 minutes ago'      was it whole then?
  asof restore DIR --at '10 minutes ago' --to /tmp/found";

/// What every verb has in common, for `-h`.
pub(crate) const SHORT: &str = "\
`asof help VERB` has the whole page of a verb, with examples; `asof --help` tells how paths and times are said.";

/// What every verb has in common.
pub(crate) const MORE: &str = "\
Paths:
  PATH is said as paths are said now: absolute, or relative to the current
  directory, as it was named at that time. It need not exist any more. Any
  byte is allowed. PATH@TIME says both at once: `asof cat
  notes.txt@yesterday`. Where a path has an `@` itself and what follows could
  be a time, give the time with --at, then the path is taken as it is.

Times:
  14:05                       today; local time, as everything without a zone
  2026-11-22 14:05[:06.5]     that minute, second or fraction
  2026-11-22                  the end of that day
  yesterday                   its end
  yesterday 14:00             that minute of it
  10 minutes ago, 2h ago      so much before now; also -10m
  now                         the newest there is
  2026-11-22T14:05:06+01:00   RFC 3339, to the nanosecond
  @1700000000                 seconds since 1970
  seq:123                     a place in the order, as every answer names it
  mark:NAME                   the instant that `asof mark NAME` named

  A time means the newest that was durable at it. An hour that the clocks skip
  or show twice is refused, with both readings. Every answer says which
  instant it is of, on stderr.

Output:
  Data goes to stdout, everything else to stderr. --json prints one object, or
  one a line; times are UTC with nanoseconds, and `path_b64` stands beside
  `path` where the bytes are not UTF-8. Names that could mislead a terminal
  are printed with escapes. A closed pipe is success. NO_COLOR=1 takes the
  colours away.

Exit status:
  0    done
  1    an error: it says what happened, where, and what to do next
  2    the command line is not understood
  3    partly done, each problem named; a drill is inconclusive
  4    the journal is damaged; a drill failed
  5    not reachable: before the first capture, no such path then, or in a
       gap with --strict
  10   no journal there
  11   another writer holds the journal
  130  interrupted

Files and environment:
  ASOF_JOURNAL                the journal, where --journal does not say
  ~/.config/asof/config.toml  the configuration of asofd, which may name the
                              journal; for root /etc/asof/config.toml
  ~/.local/state/asof         the journal otherwise; for root /var/lib/asof
  TMPDIR                      where a reader keeps what it needs for a moment

See also: asofd --help, asof help restore";

//! The page of `asof help undo`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Takes the last `asof restore --in-place` back that has not been taken back: what it created goes away, what it overwrote \
or deleted comes back. What was changed since the restore is left and named. A restore that was interrupted can be taken \
back, too.";

/// After the options.
pub(crate) const MORE: &str = "\
It shows what it will do and asks, like the restore; `-y` does not ask, and
is needed where there is no terminal, and with --json. Run again, it takes
the restore before that back; where it had to leave something (status 3), it
tries that again first, until it is back or --next leaves it for good.

An undo is in the history like any restore; the `seq:N` that it prints is the
state before it, to go back to with `asof restore PATH --at seq:N --in-place`.

Examples:
  asof undo -n                      what would it do?
  asof undo
  asof undo --overwrite always      also what was changed since the restore
  asof undo --next                  leave that, take back the one before

With --json, a line each: `plan` (with -n), `preview`, `progress`, `problem`,
and at the end `summary`.

Exit status:
  0 done; 1 nothing to undo, no asofd is running, or the answer was no;
  2 nobody could be asked; 3 partly done, each problem named; 10 no journal
  there; 130 interrupted

See also: asof help restore, asof help log";

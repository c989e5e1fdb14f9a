//! The page of `asof help restore`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Brings files, directories and whole trees back as of a time: content, holes, mode, owner (where that is permitted), times \
to the nanosecond, extended attributes, ACLs, symlinks, hard links, fifos, devices (as root). With --to nothing that exists \
is touched unless --overwrite says so, nothing is deleted, and nothing is written outside of TARGET. With --in-place \
things go back to where they were, and `asof undo` takes that back.";

/// After the options.
pub(crate) const MORE: &str = "\
Where it goes:
  One PATH: TARGET is the restored thing itself, a file or a directory. Where
  PATH is a file and TARGET an existing directory, it goes inside. Several
  PATHs: TARGET is a directory, and each goes inside under its own name. A
  directory that was not there gets its name when everything is in it; files
  are written aside and renamed. So an interrupted restore leaves nothing half
  done, and the same command (with `--overwrite if-changed` where TARGET was
  there before) finishes it.

In place:
  What differs is replaced, what is gone is made again; --exact also deletes
  what is below PATH now and was not then. The plan is shown first, and you
  are asked; -y does not ask, and is needed where there is no terminal, and
  with --json. asofd makes the present state durable before anything changes;
  without asofd say --no-undo to go ahead all the same. What the journal does
  not hold as it is now (not captured yet, left out by a rule) is never
  replaced or deleted but named, and so is what a program has open for
  writing (unless --overwrite always); the status is 3 then.

What is not whole:
  A file that was being written while it was captured is restored as it was
  captured, and counted in a warning; `--prefer clean` takes its newest
  version that is whole instead, and names it. Where asofd did not look at
  that time (a gap), what is known may be older: a warning says so, with
  --strict it is an error. Damaged content is left out and named, the rest is
  restored, and the status is 3.

Examples:
  asof restore notes.txt --at '10 minutes ago' --to notes.then
  asof restore ~/work@14:00 --to /tmp/work
  asof restore ~/work --at 14:00 --to /tmp/work -n | less     what would it be?
  asof restore a.txt b.txt --at yesterday --to /tmp/both
  asof restore src --at '20 minutes ago' --in-place --exact -n
  asof restore src --at '20 minutes ago' --in-place --exact; asof undo
  asof restore ~ --at '2026-11-22 18:00' --to /mnt/new-disk/me

With --json, a line each: `plan` (with -n), `preview` (in place), `progress`,
`problem`, `older`, and at the end `summary`.

Exit status:
  0 done; 1 the target is not free, writing failed, or in place no asofd is
  running or the answer was no; 3 partly done, each problem named; 5 no such
  path then (the message says when it was there), or a gap with --strict; 10
  no journal there; 130 interrupted

See also: asof help log, asof help ls, asof help undo, asof help explain";

//! The page of `asof help find`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Finds paths by name, over time, below PATH or everywhere: what is there at a time, with --deleted also what once was there and \
is gone, with the last time at which it was there. It looks names up and reads no tree, so that a long history costs no more \
than a short one.";

/// After the options.
pub(crate) const MORE: &str = "\
GLOB knows `*`, `?`, `[...]` and `{a,b}`. It is compared with names; where it
has a `/`, with the end of the path below PATH: `**` stands for any
directories, a `/` in front for the whole path below PATH, one at the end for
directories only. Quote it, or the shell replaces it by what is there now.

Examples:
  asof find report.odt --deleted      where was it, and when?
  asof find '*.rs' ~/src --changed-since 14:00
  asof find 'src/**/test_*.py' --at yesterday

Exit status:
  0 done, also where nothing is found; 5 PATH was not there then; 10 no
  journal there

See also: asof help log, asof help ls, asof help restore";

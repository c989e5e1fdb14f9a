//! The page of `asof help ls`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Lists a directory as it was at a time: now, where none is given. With --deleted also what once was there and is gone by \
that time, with the place in the order since when. A directory that is gone can be listed as of when it was there.";

/// After the options.
pub(crate) const MORE: &str = "\
Examples:
  asof ls -l ~/work --at 'yesterday 18:00'
  asof ls -lR ~/work@-2h              the whole tree
  asof ls --deleted ~/work            what is missing from it?
  asof ls -l ~/notes.txt@09:00        one file: its size and time then

With -l: mode, owner, group, size, modification time, and what is not clean:
`provisional` (it was being written while it was captured), `torn` (it kept
changing), `unread` (it could not be read).

Exit status:
  0 done; 5 no such path then (the message says when it was there); 10 no
  journal there

See also: asof help log, asof help cat, asof help restore";

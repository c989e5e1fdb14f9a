//! The page of `asof help log`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Shows what happened, the newest first: to a file, through renames and the way in which editors save; to a directory and \
everything below it; or, without PATH, to everything. A path that is gone has its history all the same.";

/// After the options.
pub(crate) const MORE: &str = "\
A directory, or everything, is told by moments: bursts of changes, each with
the --at that shows the state just before it:
  14:02:11 to 14:02:13: 412 files deleted below src/  (before: --at seq:1041)
A moment ends where nothing changed for 10 seconds, after 5 minutes, and where
an instant has a name or a gap begins; names and gaps have lines of their own.
`asof browse` shows the same on the whole terminal.

The history of a file, and with --all that of a directory, is told by single
changes. Each line has the instant, its place in the order (--at takes
either), what happened, and the path as it was named then:
  created, modified, attributes, renamed, linked (a further name), deleted
  replaced     another file took over the name, as when an editor saves
  vanished     it came and went before it could be read
  uncovered    it is not protected any more, and may be there still
  damaged      that part of the journal cannot be read

Examples:
  asof log notes.txt                  every version of a file
  asof log ~/work --since -1h         what happened there in the last hour
  asof log ~/work -n 20               the newest 20 moments
  asof log ~/work --all -n 20         the newest 20 changes
  asof --json log --moments ~/work    moments for a script
  asof log --since 14:00 --until 14:10

Exit status:
  0 done; 5 nothing of that name was ever captured; 10 no journal there

See also: asof help find, asof help diff, asof help ls";

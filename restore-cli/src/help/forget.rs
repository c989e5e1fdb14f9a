//! The page of `asof help forget`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Takes paths out of all history, for good: a secret that was saved by mistake, a giant. Content and names go, of every version that \
the journal has of them and of everything that was ever below them. It says what would go and asks first. What else the journal \
holds is given back as before, at every instant. Without a PATH it lists what was forgotten: when, by whom, and how much.";

/// After the options.
pub(crate) const MORE: &str = "\
Paths:
  A PATH is meant as it was named at any time; it need not be there now. Where
  the journal never had anything at one of them, nothing at all goes. What
  was renamed is found under both names: what can still be reached by another
  path stays there, and is named beforehand, so that it can be forgotten as
  well. So are other paths that have the same content: the bytes stay with
  them. A file that is there now is captured anew with its next change: move
  it away first, or leave it out (`exclude` in the configuration; the journal
  keeps a record of the configuration, so a pattern with the name in it is
  found there).

  With --before, what stood at that time and later stays, and so do the names;
  that something was there before is still told, and not what.

What is kept of it:
  A note that something was forgotten: when, by which user, in which roots,
  how many paths, versions and names. The names themselves only with
  --record-names. `asof explain` tells of the note where it has nothing else
  to say. What is held is not forgotten (`asof release`); an instant that has
  a name (`asof mark`) will not have it either.

How:
  A running asofd does it; without one asof does it itself. Every segment that
  tells of it is written anew without it, then the old ones are removed, and
  the index is written anew. Where readers or want of room kept it from its end,
  --finish goes on, as after an error of the disk; after a crash asofd does so
  when it starts. Readers that opened the journal before keep the old segments
  on disk for as long as they run, a day at most. What the disk itself still
  has of removed files, copies and backups of the journal, logs, and links and
  texts elsewhere that name it are not reached.

Examples:
  asof forget ~/project/.env
  asof forget --dry-run ~/Downloads/image.iso
  asof forget ~/vm/disk.img --before '3 days ago' --yes
  asof forget

Exit status:
  0 done; 1 it is held; 2 nobody to ask; 3 some of it is still there, and why;
  5 the journal has nothing there; 10 no journal there; 11 another writer
  holds it

See also: asof help find, asof help release, asof help retain, asof help verify";

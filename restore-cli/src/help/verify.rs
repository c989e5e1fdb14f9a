//! The page of `asof help verify`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Checks the journal: structure and links, the index, and whether every version has its content. That takes seconds, beside \
a running asofd and on a read-only medium too, and writes nothing. It names the damaged places, and which paths cannot \
be restored exactly from when to when.";

/// After the options.
pub(crate) const MORE: &str = "\
With --deep every byte is read and checked as well. With --repair, while no
asofd runs, content is taken again from files that hold it still, a wrong
index is made anew, and what stays lost is noted, so that the next check tells
new damage from known. No committed byte is changed.

Examples:
  asof verify
  asof verify --deep --rate 50M       every byte, at 50 MiB a second at most
  asof verify --repair

Exit status:
  0 sound; 4 damaged; 10 no journal there; 11 asofd is running (with
  --repair); 130 interrupted: what was said is what was found until then

See also: asof help status";

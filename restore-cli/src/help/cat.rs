//! The page of `asof help cat`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Writes the bytes of a file as of a time to stdout. Symlinks are followed as they pointed then. Every block is checked \
before it is written; where one is damaged, the output ends with what is right before it, and the status says so.";

/// After the options.
pub(crate) const MORE: &str = "\
Examples:
  asof cat notes.txt --at '10 minutes ago'
  asof cat notes.txt@yesterday | diff - notes.txt
  asof cat photo.jpg@seq:4711 > found.jpg

Exit status:
  0 done; 1 it is no file, was not read, or is damaged; 5 no such path then
  (the message says when it was there); 10 no journal there

See also: asof help restore, asof help diff";

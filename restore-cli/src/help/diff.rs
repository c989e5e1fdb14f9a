//! The page of `asof help diff`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Shows what differs between two times: which names came, went, moved or changed. Whether content is the same is known \
without reading it, so that large trees are compared quickly. With -p as a text patch in git's form.";

/// After the options.
pub(crate) const MORE: &str = "\
Patches:
  Paths in a patch are relative to PATH, or to the directory that PATH lies in
  where that is a file. So
    asof diff -p ~/work --from 14:00 > changes.patch
    cd /tmp/copy && git apply changes.patch    (or patch -p1 < changes.patch)
  makes of the state of 14:00 that of now; `patch -p1 -R` goes back. Created,
  deleted and renamed files, symlinks, and whether a file may be executed are
  in it. What no patch can say is in lines that begin with `#`: binary
  content, files over 16 MiB, other attributes, directories, special files.
  Whoever applies the patch passes over them.

Examples:
  asof diff ~/work --from '1h ago'
  asof diff --from 14:00 --to 14:10        everything, in ten minutes
  asof diff -p notes.txt --from yesterday

Exit status:
  0 done, also where nothing differs; 2 --from is after --to; 5 the path was
  there at neither time; 10 no journal there

See also: asof help log, asof help restore";

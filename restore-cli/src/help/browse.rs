//! The page of `asof help browse`.

/// Before the options.
pub(crate) const ABOUT: &str = "\
Shows a directory through time on the whole terminal: the moments in which something happened as a chart, the directory \
as of the selected one with what that moment did to it, a preview, and what changed. Restores from there, with the plan \
shown first. A directory that is gone can be given, and entered.";

/// After the options.
pub(crate) const MORE: &str = "\
The keys are on the screen, and ? explains them:
  left right       the moment before, after; PageUp PageDown ten; Home End
  up down          entries; Enter into a directory, Backspace up
  /                a part of a name, through time; n N older, newer
  d                content, what this moment changed, what changed since
  D                what was deleted earlier, too
  t                the timeline of this directory alone
  r                restore the entry as of this moment: asks where to (Tab:
                   in place, which asof undo takes back), and shows the plan
  R                up to now
  q                leave

Examples:
  asof browse                         the current directory
  asof browse ~/work                  also when it is gone
  asof browse ~/work --at \"yesterday 14:00\"

Without a terminal, `asof log` lists the moments and `asof ls --at` shows a
directory as of one.

Exit status:
  0 done; 2 no terminal; 5 no such path; 10 no journal there; 130 ended by a
  signal

See also: asof help log, asof help ls, asof help restore";

//! A moment in words: pure. Names are ready for a terminal.

use super::{Did, Moment, Part};
use crate::output::escape;

/// What happened: `412 files deleted below src/, 3 created`. Paths are relative to the directory that the moment is of.
pub(crate) fn sentence(moment: &Moment, dir: &[u8]) -> String {
    let mut text = String::new();
    let mut place: &[u8] = dir;
    for part in &moment.parts {
        if !text.is_empty() {
            text.push_str(", ");
        }
        let is_first = text.is_empty();
        text.push_str(&told(part, dir, place, is_first));
        if part.total() > 1 {
            place = &part.below;
        }
    }
    if text.is_empty() { "names changed and changed back".to_owned() } else { text }
}

fn told(part: &Part, dir: &[u8], place: &[u8], is_first: bool) -> String {
    let verb = verb(part.did);
    match part.did {
        Did::Crowd => return format!("{verb} in {}", relative(&part.below, dir, true)),
        Did::Damaged => return verb.to_owned(),
        _ => {}
    }
    if part.total() == 1 {
        return format!("{} {verb}", relative(&part.below, dir, part.dirs == 1));
    }
    let count = match (part.files, part.dirs) {
        (files, 0) if is_first => format!("{files} files"),
        (files, 0) => files.to_string(),
        (0, dirs) => plural(dirs, "directory", "directories"),
        (files, dirs) => {
            format!("{} and {}", plural(files, "file", "files"), plural(dirs, "directory", "directories"))
        }
    };
    let count = if part.is_least { format!("more than {count}") } else { count };
    // The place is said once, and again where it is another one.
    match part.below == place {
        true => format!("{count} {verb}"),
        false => format!("{count} {verb} below {}", relative(&part.below, dir, true)),
    }
}

fn verb(did: Did) -> &'static str {
    match did {
        Did::Deleted => "deleted",
        Did::MovedAway => "moved away",
        Did::Created => "created",
        Did::Changed => "changed",
        Did::Renamed => "renamed",
        Did::Brief => "created and deleted again",
        Did::Vanished => "gone before it was read",
        Did::Crowd => "many came and went before they were read",
        Did::Uncovered => "no longer protected",
        Did::Damaged => "what happened is lost: the journal is damaged here",
    }
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A path as people see it from a directory; a directory ends in a slash.
pub(crate) fn relative(path: &[u8], dir: &[u8], is_dir: bool) -> String {
    let outer = dir.strip_suffix(b"/").unwrap_or(dir);
    let rest = path.strip_prefix(outer).filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let mut text = match rest {
        // Everything has no shorter name than its absolute one.
        Some(rest) if !outer.is_empty() => escape(rest.strip_prefix(b"/").unwrap_or(rest)),
        _ => escape(path),
    };
    if text.is_empty() {
        text.push('.');
    }
    if is_dir && !text.ends_with('/') {
        text.push('/');
    }
    text
}

//! `diff`: what changed between two times, as a list or as a text patch.

use std::time::Duration;

use asof_journal::reader::Moment;
use asof_journal::types::{Kind, NodeId};
use serde::Serialize;
use similar::TextDiff;

use crate::args::DiffArgs;
use crate::changes::{self, Changed, Difference};
use crate::content;
use crate::errors::{Error, Result};
use crate::output::{Output, Paint, PathFields, as_of, escape};
use crate::session::{Session, no_such_path};
use crate::source::{AtSeq, Source};

/// A larger file gets one line in a patch.
const PATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A file with a zero byte among so many first ones is binary, as git sees it.
const BINARY_PROBE_BYTES: usize = 8000;
/// After so long one file's patch is finished with whatever is known, correct but longer than need be.
const PATCH_TIME_MAX: Duration = Duration::from_secs(5);

/// One change in JSON.
#[derive(Serialize)]
struct Line {
    change: &'static str,
    #[serde(flatten)]
    path: PathFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind_before: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    from_instant: String,
    from_seq: u64,
    instant: String,
    seq: u64,
}

/// Both sides of a comparison.
struct Sides<'r> {
    before: AtSeq<'r>,
    after: AtSeq<'r>,
    from: Moment,
    to: Moment,
}

/// Prints what changed.
pub(crate) fn run(session: &Session, args: &DiffArgs, out: &mut Output) -> Result<()> {
    let from = session.time(&args.from)?;
    let to = session.optional_time(args.to.as_deref())?;
    let (path, to) = match &args.path {
        Some(path) => session.path(path, to)?,
        None => (b"/".to_vec(), to),
    };
    let reader = session.reader()?;
    let from = session.moment(&reader, Some(from), out)?;
    let to = session.moment(&reader, to, out)?;
    if from.seq > to.seq {
        let what = format!("--from ({}) is after --to ({})", from.seq, to.seq);
        return Err(Error::usage(what, "exchange the two"));
    }
    out.note(&format!("from: {}", as_of(&from)));
    out.note(&format!("to:   {}", as_of(&to)));
    let sides = Sides { before: AtSeq::new(&reader, &from), after: AtSeq::new(&reader, &to), from, to };
    let Some(changes) = changes::between(&sides.before, &sides.after, &path)? else {
        return Err(no_such_path(&path, &to));
    };
    for changed in &changes {
        print(&sides, args, changed, out)?;
    }
    Ok(())
}

fn print(sides: &Sides<'_>, args: &DiffArgs, changed: &Changed, out: &mut Output) -> Result<()> {
    let patch = if args.patch { patch(sides, changed)? } else { None };
    if out.is_json() {
        return out.object(&line(sides, changed, patch));
    }
    match patch {
        Some(patch) => out.bytes(&patch),
        None => {
            let text = text(changed, out);
            out.line(&text)
        }
    }
}

fn word(difference: &Difference) -> &'static str {
    match difference {
        Difference::Added => "added",
        Difference::Removed => "removed",
        Difference::Modified => "modified",
        Difference::Attributes => "attributes",
        Difference::Type => "type",
        Difference::Renamed { .. } => "renamed",
    }
}

fn line(sides: &Sides<'_>, changed: &Changed, patch: Option<Vec<u8>>) -> Line {
    let from = match &changed.difference {
        Difference::Renamed { from } => Some(PathFields::pair(from)),
        _ => None,
    };
    let (from, from_b64) = from.map_or((None, None), |(text, base64)| (Some(text), base64));
    Line {
        change: word(&changed.difference),
        path: PathFields::new(&changed.path),
        from,
        from_b64,
        kind_before: changed.before.map(|(_, kind)| kind.as_str()),
        kind: changed.after.map(|(_, kind)| kind.as_str()),
        patch: patch.map(|patch| String::from_utf8_lossy(&patch).into_owned()),
        from_instant: sides.from.instant.to_rfc3339(),
        from_seq: sides.from.seq.0,
        instant: sides.to.instant.to_rfc3339(),
        seq: sides.to.seq.0,
    }
}

fn text(changed: &Changed, out: &Output) -> String {
    let paint = match changed.difference {
        Difference::Added => Paint::Green,
        Difference::Removed => Paint::Red,
        _ => Paint::Yellow,
    };
    let word = out.paint(paint, &format!("{:<10}", word(&changed.difference)));
    let path = escape(&changed.path);
    match (&changed.difference, changed.before, changed.after) {
        (Difference::Renamed { from }, ..) => format!("{word}  {} -> {path}", escape(from)),
        (Difference::Type, Some((_, before)), Some((_, after))) => {
            format!("{word}  {path} ({} -> {})", before.as_str(), after.as_str())
        }
        _ => format!("{word}  {path}"),
    }
}

/// The text patch of a change; `None` where the change has no text.
fn patch(sides: &Sides<'_>, changed: &Changed) -> Result<Option<Vec<u8>>> {
    let is_file = |side: Option<(NodeId, Kind)>| side.is_none_or(|(_, kind)| kind == Kind::File);
    let has_text =
        matches!(changed.difference, Difference::Added | Difference::Removed | Difference::Modified);
    if !has_text || !is_file(changed.before) || !is_file(changed.after) {
        return Ok(None);
    }
    let old = bytes(&sides.before, changed.before, &changed.path)?;
    let new = bytes(&sides.after, changed.after, &changed.path)?;
    let header = |letter: &str, side: Option<(NodeId, Kind)>| match side {
        Some(_) => format!("{letter}{}", escape(&changed.path)),
        None => "/dev/null".to_owned(),
    };
    let patch =
        unified(old.as_deref(), new.as_deref(), &header("a", changed.before), &header("b", changed.after));
    // An empty file that came or went has a line of its own, and no lines in it.
    Ok(Some(patch).filter(|patch| !patch.is_empty()))
}

/// The bytes of one side; empty where the side has none, `None` where they are too many.
fn bytes(source: &dyn Source, side: Option<(NodeId, Kind)>, path: &[u8]) -> Result<Option<Vec<u8>>> {
    let Some((node, _)) = side else {
        return Ok(Some(Vec::new()));
    };
    match source.version(node)? {
        Some(found) => content::whole(source, &found.version, path, PATCH_BYTES_MAX),
        None => Ok(Some(Vec::new())),
    }
}

/// A unified diff, or the one line that stands for it.
fn unified(old: Option<&[u8]>, new: Option<&[u8]>, old_name: &str, new_name: &str) -> Vec<u8> {
    let (Some(old), Some(new)) = (old, new) else {
        return format!("Large files {old_name} and {new_name} differ\n").into_bytes();
    };
    if is_binary(old) || is_binary(new) {
        return format!("Binary files {old_name} and {new_name} differ\n").into_bytes();
    }
    let diff = TextDiff::configure().timeout(PATCH_TIME_MAX).diff_lines(old, new);
    let mut patch = Vec::new();
    // Hunk by hunk, because the whole at once replaces what is no UTF-8.
    for hunk in diff.unified_diff().iter_hunks() {
        if patch.is_empty() {
            patch = format!("--- {old_name}\n+++ {new_name}\n").into_bytes();
        }
        // Writing to a Vec does not fail.
        let _ = hunk.to_writer(&mut patch);
    }
    patch
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(BINARY_PROBE_BYTES).any(|&b| b == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_patch_and_binary_one_line() {
        let patch = unified(Some(b"a\nb\n"), Some(b"a\nc\xff"), "a/x", "b/x");
        assert_eq!(
            patch,
            b"--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\xff\n\\ No newline at end of file\n"
        );
        assert_eq!(unified(Some(b"a\0"), Some(b""), "a/x", "b/x"), b"Binary files a/x and b/x differ\n");
        assert_eq!(unified(None, Some(b""), "a/x", "b/x"), b"Large files a/x and b/x differ\n");
    }
}

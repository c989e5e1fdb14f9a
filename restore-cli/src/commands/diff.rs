//! `diff`: what changed between two times, as a list or as a text patch.

use std::collections::{BTreeMap, BTreeSet};

use asof_journal::reader::Moment;
use asof_journal::view::is_below;
use serde::Serialize;

use crate::args::DiffArgs;
use crate::changes::{self, Changed, Difference};
use crate::errors::{Error, Result};
use crate::output::{Output, Paint, PathFields, as_of, escape};
use crate::patch::{Patch, Stanza};
use crate::session::{Session, no_such_path};
use crate::source::AtSeq;
use crate::suggest::quoted;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_b64: Option<String>,
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
    let from = session.moment(reader, Some(from), out)?;
    let to = session.moment(reader, to, out)?;
    if from.seq > to.seq {
        let what = format!("--from ({}) is after --to ({})", from.seq, to.seq);
        return Err(Error::usage(what, "exchange the two"));
    }
    out.note(&format!("from: {}", as_of(&from)));
    out.note(&format!("to:   {}", as_of(&to)));
    let sides = Sides { before: AtSeq::new(reader, &from), after: AtSeq::new(reader, &to), from, to };
    let Some(changes) = changes::between(&sides.before, &sides.after, &path)? else {
        return Err(no_such_path(&path, &to));
    };
    if args.patch {
        return patch(&sides, &path, &changes, out);
    }
    changes.iter().try_for_each(|changed| match out.is_json() {
        true => out.object(&line(&sides, changed, None)),
        false => {
            let text = text(changed, out);
            out.line(&text)
        }
    })
}

/// Prints a patch; what it cannot say stands between its parts, in lines that whoever applies it passes over.
fn patch(sides: &Sides<'_>, path: &[u8], changes: &[Changed], out: &mut Output) -> Result<()> {
    let patch = Patch::new(&sides.before, &sides.after, path)?;
    if !out.is_json() && !changes.is_empty() {
        out.note(&format!("to apply it: cd {} && patch -p1", quoted(patch.base())));
    }
    let mut stanzas: BTreeMap<Vec<u8>, Vec<Stanza>> = BTreeMap::new();
    for (path, stanza) in patch.stanzas(path)? {
        stanzas.entry(path).or_default().push(stanza);
    }
    if out.is_json() {
        let told: BTreeSet<&[u8]> = changes.iter().map(|changed| changed.path.as_slice()).collect();
        return changes.iter().try_for_each(|changed| {
            let own = own_stanzas(changed, &told, &mut stanzas);
            out.object(&line(sides, changed, (!own.is_empty()).then_some(own)))
        });
    }
    let mut changes = changes.iter().peekable();
    for (path, stanzas) in stanzas {
        while let Some(changed) = changes.next_if(|changed| changed.path < path) {
            remark(changed, None, out)?;
        }
        let told: Vec<&Changed> =
            std::iter::from_fn(|| changes.next_if(|changed| changed.path == path)).collect();
        for stanza in stanzas {
            match (stanza, told.first()) {
                (Stanza::Text(text), _) => out.bytes(&text)?,
                (Stanza::Remark(why), Some(changed)) => remark(changed, Some(&why), out)?,
                (Stanza::Remark(why), None) => out.line(&format!("# {}  ({why})", escape(&path)))?,
            }
        }
    }
    changes.try_for_each(|changed| remark(changed, None, out))
}

/// A line that no program takes for a part of the patch.
fn remark(changed: &Changed, why: Option<&str>, out: &mut Output) -> Result<()> {
    let why = why.map(|why| format!("  ({why})")).unwrap_or_default();
    let text = text(changed, out);
    out.line(&format!("# {text}{why}"))
}

/// Takes what a patch has on the path of a change; of one that moved also what it has on the path before, and on what
/// lies below either and has no line of its own.
fn own_stanzas(
    changed: &Changed,
    told: &BTreeSet<&[u8]>,
    stanzas: &mut BTreeMap<Vec<u8>, Vec<Stanza>>,
) -> Vec<u8> {
    let mut own = Vec::new();
    if let Difference::Renamed { from } = &changed.difference {
        for dir in [from, &changed.path] {
            let below = stanzas.range(dir.clone()..).map(|(path, _)| path);
            let below = below.take_while(|path| path.starts_with(dir));
            own.extend(below.filter(|path| is_below(path, dir) && !told.contains(path.as_slice())).cloned());
        }
    }
    own.push(changed.path.clone());
    let mut text = Vec::new();
    for path in own {
        for stanza in stanzas.remove(&path).unwrap_or_default() {
            match stanza {
                Stanza::Text(lines) => text.extend_from_slice(&lines),
                Stanza::Remark(why) => {
                    text.extend_from_slice(format!("# {}  ({why})\n", escape(&path)).as_bytes());
                }
            }
        }
    }
    text
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
    let patch = patch.as_deref().map(PathFields::pair);
    let (patch, patch_b64) = patch.map_or((None, None), |(text, base64)| (Some(text), base64));
    Line {
        change: word(&changed.difference),
        path: PathFields::new(&changed.path),
        from,
        from_b64,
        kind_before: changed.before.map(|(_, kind)| kind.as_str()),
        kind: changed.after.map(|(_, kind)| kind.as_str()),
        patch,
        patch_b64,
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

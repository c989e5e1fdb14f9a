//! What `forget` says: beforehand, afterwards, and of what was forgotten earlier.

use asof_journal::control::Forgotten;
use asof_journal::forget::{Found, Order};
use asof_journal::landmarks::Forgot;
use asof_journal::storage::Layout;
use indicatif::HumanBytes;
use serde::Serialize;

use crate::errors::{Error, Result};
use crate::output::{Output, PathFields, counted, escape, local};
use crate::session::Session;

/// So many paths are named; a dry run names all.
const PATHS_SHOWN: usize = 20;

#[derive(Serialize)]
struct PathLine {
    r#type: &'static str,
    #[serde(flatten)]
    path: PathFields,
    versions: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct PlanLine {
    r#type: &'static str,
    versions: u64,
    bindings: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    also_reached_as: Vec<PathFields>,
    same_content: Vec<PathFields>,
    live: Vec<PathFields>,
    in_patterns: bool,
}

#[derive(Serialize)]
struct DoneLine<'l> {
    r#type: &'static str,
    /// Whether asofd did it.
    by_agent: bool,
    #[serde(flatten)]
    forgotten: &'l Forgotten,
}

#[derive(Serialize)]
struct NoteLine {
    r#type: &'static str,
    instant: String,
    seq: u64,
    by: u32,
    paths: u64,
    roots: Vec<PathFields>,
    names: Vec<PathFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bindings: Option<u64>,
}

fn fields(paths: &[Vec<u8>]) -> Vec<PathFields> {
    paths.iter().map(|path| PathFields::new(path)).collect()
}

/// What would go, and what would not: as data for a dry run, else for whoever is asked.
pub(super) fn beforehand(order: &Order, found: &Found, is_dry: bool, out: &mut Output) -> Result<()> {
    if out.is_json() {
        if !is_dry {
            return Ok(());
        }
        for one in &found.paths {
            let path = PathFields::new(&one.path);
            out.object(&PathLine { r#type: "path", path, versions: one.versions, bytes: one.bytes })?;
        }
        let at = |moment: Option<asof_journal::reader::Moment>| moment.map(|at| at.instant.to_rfc3339());
        return out.object(&PlanLine {
            r#type: "plan",
            versions: found.versions,
            bindings: found.bindings,
            bytes: found.bytes,
            first: at(found.first),
            last: at(found.last),
            also_reached_as: fields(&found.also),
            same_content: fields(&found.elsewhere),
            live: fields(&found.live),
            in_patterns: found.in_patterns,
        });
    }
    let most = if is_dry { usize::MAX } else { PATHS_SHOWN };
    for one in found.paths.iter().take(most) {
        let (versions, bytes) = (counted(one.versions, "version"), HumanBytes(one.bytes));
        say(out, is_dry, &format!("{}  {versions}, {bytes}", escape(&one.path)))?;
    }
    if let Some(more) = found.paths.len().checked_sub(most).filter(|more| *more > 0) {
        say(out, is_dry, &format!("... and {} (--dry-run names all)", counted(more as u64, "path more")))?;
    }
    let span = match (found.first, found.last) {
        (Some(first), Some(last)) => format!(", from {} to {}", local(first.instant), local(last.instant)),
        _ => String::new(),
    };
    let total = format!(
        "{} and {} of {}{span}",
        counted(found.versions, "version"),
        counted(found.bindings, "record of names"),
        counted(found.paths.len() as u64, "path"),
    );
    say(out, is_dry, &total)?;
    for path in &found.also {
        out.warn(&format!("part of it can be reached as {} as well, and stays there", escape(path)));
    }
    for path in &found.elsewhere {
        out.warn(&format!(
            "{} has the same content, which stays there: the bytes are still found",
            escape(path)
        ));
    }
    for path in &found.live {
        let path = escape(path);
        out.warn(&format!(
            "{path} is there now: it is captured anew unless it is moved away, or left out (`exclude` in the configuration)"
        ));
    }
    if found.in_patterns {
        out.warn("a pattern of the configuration has the name in it, and the journal's record of the configuration keeps it");
    }
    if order.record_names {
        out.note("the note about this will name the paths");
    }
    Ok(())
}

fn say(out: &mut Output, is_data: bool, text: &str) -> Result<()> {
    if is_data {
        return out.line(text);
    }
    out.note(text);
    Ok(())
}

/// What was done. Errors: it has not come to its end.
pub(super) fn done(done: &Forgotten, by_agent: bool, session: &Session, out: &mut Output) -> Result<()> {
    if out.is_json() {
        out.object(&DoneLine { r#type: "forgotten", by_agent, forgotten: done })?;
    } else {
        out.line(&format!(
            "{}, {} and {} went; {} written anew",
            counted(done.versions, "version"),
            counted(done.bindings, "record of names"),
            counted(done.blocks, "block of content"),
            counted(done.segments, "segment"),
        ))?;
    }
    for place in &done.damage {
        let place = escape(place.as_bytes());
        out.problem(&format!("{place}: damaged, so nobody can say what lies there; it stays as it is"));
    }
    let finish = session.command("forget").word("--finish").text();
    if done.left > 0 {
        let why = if done.short_of_room { "there is no room to write it anew" } else { "of damage in it" };
        let what = format!("{} still has some of it: {why}", counted(done.left, "segment"));
        return Err(Error::NotForgotten { what, next: format!("{finish}   (goes on, once that is mended)") });
    }
    if done.waiting > 0 {
        let reader = done.reader.map_or_else(String::new, |reader| {
            format!(": process {} has had the journal open for {} s", reader.pid, reader.seconds)
        });
        let what = format!("{} still lies on disk for readers{reader}", counted(done.waiting, "old segment"));
        let next =
            format!("end that process, then: {finish}   (asofd does it by itself; after a day in any case)");
        return Err(Error::NotForgotten { what, next });
    }
    Ok(())
}

/// What was forgotten earlier.
pub(super) fn list(session: &Session, out: &mut Output) -> Result<()> {
    let reader = session.reader()?;
    let all = reader.forgotten()?;
    if all.is_empty() {
        out.note("nothing was forgotten");
    }
    let is_begun = Layout::new(session.journal()).forgetting().exists();
    for (at, forgot) in all.iter().enumerate() {
        let begun = is_begun && at + 1 == all.len();
        line(forgot, reader, begun, out)?;
    }
    if is_begun {
        let finish = session.command("forget").word("--finish").text();
        out.warn(&format!("one has not come to its end: {finish}   (goes on with it)"));
    }
    Ok(())
}

fn line(forgot: &Forgot, reader: &asof_journal::reader::Reader, begun: bool, out: &mut Output) -> Result<()> {
    let (what, at) = (&forgot.what, forgot.begun);
    let before = what.before.and_then(|before| reader.at_seq(before).ok().flatten());
    if out.is_json() {
        return out.object(&NoteLine {
            r#type: "forgotten",
            instant: at.instant.to_rfc3339(),
            seq: at.seq.0,
            by: what.by,
            paths: what.paths,
            roots: fields(&what.roots),
            names: fields(&what.names),
            before: before.map(|before| before.instant.to_rfc3339()),
            finished: forgot.done.is_some(),
            versions: forgot.done.map(|(_, outcome)| outcome.versions),
            bindings: forgot.done.map(|(_, outcome)| outcome.bindings),
        });
    }
    let list = |paths: &[Vec<u8>]| paths.iter().map(|path| escape(path)).collect::<Vec<_>>().join(", ");
    let which = match (what.names.is_empty(), what.roots.is_empty()) {
        (false, _) => list(&what.names),
        (true, false) => format!("{} in {}", counted(what.paths, "path"), list(&what.roots)),
        (true, true) => counted(what.paths, "path"),
    };
    let before = before.map_or_else(String::new, |before| format!(", before {}", local(before.instant)));
    let went = match (forgot.done, begun) {
        (Some((_, outcome)), _) => format!(": {} went", counted(outcome.versions, "version")),
        (None, true) => ": not at its end yet".to_owned(),
        (None, false) => ": gone on with later".to_owned(),
    };
    let seq = at.seq.to_string();
    out.line(&format!("{}  {seq:<12}  by user {}: {which}{before}{went}", local(at.instant), what.by))
}

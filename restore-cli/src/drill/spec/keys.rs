//! Which keys a drill may have: a slip of the pen is refused with what was meant and where it stands.

use toml::de::{DeTable, DeValue};

/// A word this near to a known key is taken for a slip of the pen (Jaro-Winkler, as clap does for flags).
const NEAR: f64 = 0.7;

/// The tables, the empty name for what is in none, and their keys.
const TABLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "assert",
            "clock_offset",
            "hooks",
            "max_bytes",
            "name",
            "oracle",
            "reports",
            "scenario",
            "scratch",
            "seed",
            "state",
            "targets",
            "what",
            "when",
        ],
    ),
    ("what", &["everything", "paths", "sample"]),
    ("when", &["at"]),
    ("oracle", &["live", "max_age", "sums", "witness"]),
    ("targets", &["rpo", "rto"]),
    ("hooks", &["failure", "start", "success"]),
    ("reports", &["html", "json", "junit", "markdown", "prometheus"]),
];

/// The keys that an assertion of a kind has besides `kind`.
const ASSERTS: &[(&str, &[&str])] = &[
    ("content", &["least"]),
    ("paths", &["absent", "least"]),
    ("metadata", &["least"]),
    ("no-gap", &["window"]),
    ("rto", &[]),
    ("rpo", &[]),
    ("last-success-age", &["max"]),
    ("command", &["command", "cwd", "timeout"]),
];

/// The line of a place in a text, from 1.
pub(super) fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

/// Refuses text that is no TOML, and keys that there are not.
pub(super) fn check(text: &str) -> Result<(), String> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(1, |span| line(text, span.start));
        format!("line {at}: {}", error.message())
    })?;
    let top = table.get_ref();
    for (name, known) in TABLES {
        let table = if name.is_empty() {
            Some(top)
        } else {
            top.get(*name).and_then(|value| value.get_ref().as_table())
        };
        if let Some(table) = table {
            knows(text, name, table, known)?;
        }
    }
    let asserts = top.get("assert").and_then(|value| value.get_ref().as_array());
    for value in asserts.into_iter().flat_map(|list| list.iter()) {
        if let Some(table) = value.get_ref().as_table() {
            assert(text, table, line(text, value.span().start))?;
        }
    }
    Ok(())
}

fn assert(text: &str, table: &DeTable<'_>, at: usize) -> Result<(), String> {
    let kind = table.get("kind").and_then(|value| match value.get_ref() {
        DeValue::String(kind) => Some(kind.as_ref()),
        _ => None,
    });
    let kinds: Vec<&str> = ASSERTS.iter().map(|(kind, _)| *kind).collect();
    let Some(kind) = kind else {
        return Err(format!("line {at}: assert.kind is missing; there are {}", kinds.join(", ")));
    };
    let Some((_, more)) = ASSERTS.iter().find(|(known, _)| *known == kind) else {
        let at = table.get("kind").map_or(at, |value| line(text, value.span().start));
        return Err(format!(
            "line {at}: assert.kind = \"{kind}\": there is no such kind; {}",
            meant(kind, &kinds)
        ));
    };
    let mut known = vec!["kind"];
    known.extend_from_slice(more);
    knows(text, "assert", table, &known)
}

fn knows(text: &str, name: &str, table: &DeTable<'_>, known: &[&str]) -> Result<(), String> {
    for key in table.keys() {
        let word = key.get_ref().as_ref();
        if !known.contains(&word) {
            let dot = if name.is_empty() { "" } else { "." };
            let at = line(text, key.span().start);
            return Err(format!("line {at}: unknown key {name}{dot}{word}; {}", meant(word, known)));
        }
    }
    Ok(())
}

fn meant(word: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(known, word), known))
        .filter(|(near, _)| *near >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => format!("there are {}", known.join(", ")),
    }
}

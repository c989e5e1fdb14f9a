//! Where in a history an attack begins: many files that become unreadable and get one new ending, in one go.
//!
//! Knows nothing but what `asof log` and `asof cat` say. The order of the journal decides, not the clock.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Deserialize;

use crate::drill::bring;
use crate::drill::child::{Program, run};
use crate::drill::report::{Name, Stamp};
use crate::drill::run::Draft;
use crate::drill::scratch::Scratch;
use crate::drill::stop::Tried;

/// So many files with one new ending are an attack.
const VICTIMS_MIN: usize = 3;
/// Changes of victims before the first of them has its new name: so many are looked into.
const LOOKED_INTO_MAX: usize = 64;
/// What came longer before the first new name is not of the attack.
const BEFORE_NS: i64 = 600 * 1_000_000_000;
/// Of what is looked into, so much.
const HEAD_BYTES: usize = 16 * 1024;
/// Fewer bytes say nothing of how random they are.
const HEAD_BYTES_MIN: usize = 200;
/// How far the bytes of a file are from random ones of the same number, in bits a byte; text is 2 and more away.
const SHORT_OF_RANDOM: f64 = 0.6;

/// What the search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The last place before the attack.
    At(u64),
    /// There is no attack.
    Nothing,
}

/// A line of `asof log --json`.
#[derive(Clone, Debug, Deserialize)]
struct Change {
    instant: Stamp,
    seq: u64,
    node: u64,
    what: String,
    #[serde(flatten)]
    name: Name,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    from_b64: Option<String>,
}

impl Change {
    fn from(&self) -> Option<Vec<u8>> {
        let name = Name { path: self.from.clone()?, path_b64: self.from_b64.clone() };
        Some(name.bytes())
    }
}

/// The last place in the history of a tree before many of its files were encrypted.
pub(super) fn hunt(journal: &Path, root: &Path, scratch: &Scratch, draft: &mut Draft) -> Tried<Found> {
    let mut changes: Vec<Change> = Vec::new();
    let words = [OsStr::new("log"), OsStr::new("--all"), root.as_os_str()];
    bring::ask(
        scratch,
        journal,
        "the history, for an attack in it",
        &words,
        &mut draft.report.commands,
        &mut |value| {
            changes.extend(serde_json::from_value::<Change>(value));
        },
    )?;
    changes.sort_by_key(|change| change.seq);
    let Some(first) = first_victims(&changes) else { return Ok(Found::Nothing) };
    let mut earliest = first.seq;
    // What a victim became before the first of them had its new name.
    let candidates = changes.iter().rev().filter(|change| {
        change.what == "modified"
            && change.seq <= first.seq
            && first.nodes.contains_key(&change.node)
            && change.instant.0.0 >= first.instant.0.0.saturating_sub(BEFORE_NS)
    });
    for change in candidates.take(LOOKED_INTO_MAX) {
        let path = change.name.bytes();
        let now = head(journal, &path, change.seq, scratch)?;
        let before = head(journal, &path, change.seq.saturating_sub(1), scratch)?;
        if is_random(&now) && !is_random(&before) {
            earliest = earliest.min(change.seq);
        }
    }
    Ok(Found::At(earliest.saturating_sub(1)))
}

/// The files that got one new ending, and the first of them.
struct Victims {
    nodes: HashMap<u64, ()>,
    seq: u64,
    instant: Stamp,
}

/// The largest group of files that got the same ending in addition to their names.
fn first_victims(changes: &[Change]) -> Option<Victims> {
    let mut endings: BTreeMap<Vec<u8>, Vec<&Change>> = BTreeMap::new();
    let gone: std::collections::HashSet<Vec<u8>> =
        changes.iter().filter(|change| change.what == "deleted").map(|change| change.name.bytes()).collect();
    for change in changes {
        let path = change.name.bytes();
        let ending = match change.what.as_str() {
            "renamed" => {
                change.from().and_then(|from| path.strip_prefix(from.as_slice()).map(<[u8]>::to_vec))
            }
            // A rename that was seen as a file that went and one that came.
            "created" => path.iter().rposition(|&byte| byte == b'.').and_then(|dot| {
                let (stem, ending) = path.split_at_checked(dot)?;
                gone.contains(stem).then(|| ending.to_vec())
            }),
            _ => None,
        };
        if let Some(ending) = ending.filter(|ending| ending.first() == Some(&b'.') && ending.len() > 1) {
            endings.entry(ending).or_default().push(change);
        }
    }
    let group = endings.into_values().max_by_key(Vec::len).filter(|group| group.len() >= VICTIMS_MIN)?;
    let first = group.iter().min_by_key(|change| change.seq)?;
    let nodes = group.iter().map(|change| (change.node, ())).collect();
    Some(Victims { nodes, seq: first.seq, instant: first.instant })
}

/// The first bytes of a file at a place.
fn head(journal: &Path, path: &[u8], seq: u64, scratch: &Scratch) -> Tried<Vec<u8>> {
    let at = format!("seq:{seq}");
    let words =
        [OsStr::new("cat"), OsStr::new("--at"), OsStr::new(&at), OsStr::new("--"), OsStr::from_bytes(path)];
    let argv = bring::asof(journal, &words)?;
    let program =
        Program { what: "a file, for an attack in it".to_owned(), argv, directory: None, limit: None };
    let mut bytes = Vec::new();
    run(scratch, program, &mut |line| {
        if bytes.len() < HEAD_BYTES {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
    })?;
    bytes.truncate(HEAD_BYTES);
    Ok(bytes)
}

/// Whether bytes are as mixed as random ones.
fn is_random(bytes: &[u8]) -> bool {
    if bytes.len() < HEAD_BYTES_MIN {
        return false;
    }
    let mut counts = [0u32; 256];
    for &byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let n = bytes.len() as f64;
    let shannon: f64 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| -(f64::from(count) / n) * (f64::from(count) / n).log2())
        .sum();
    // So few bytes cannot have all 8 bits each (Miller and Madow's correction for the 256 values there are).
    let random = (8.0 - 255.0 / (2.0 * n * std::f64::consts::LN_2)).min(n.log2());
    shannon > random - SHORT_OF_RANDOM
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(seq: u64, node: u64, what: &str, path: &str, from: Option<&str>) -> Change {
        let instant = Stamp(asof_journal::types::Instant(seq as i64));
        let name = Name::new(path.as_bytes());
        Change { instant, seq, node, what: what.into(), name, from: from.map(str::to_owned), from_b64: None }
    }

    #[test]
    fn ciphertext_is_told_from_text_and_code() {
        let key = blake3::hash(b"key");
        for length in [200, 256, 1000, 10_000] {
            let mut random = vec![0; length];
            blake3::Hasher::new_keyed(key.as_bytes()).finalize_xof().fill(&mut random);
            assert!(is_random(&random), "{length}");
            let text: Vec<u8> = include_bytes!("hunt.rs").iter().copied().cycle().take(length).collect();
            assert!(!is_random(&text), "{length}");
        }
        assert!(!is_random(b"short"));
    }

    #[test]
    fn honest_renames_are_no_attack_and_one_ending_for_many_is() {
        let mut changes = vec![
            change(1, 1, "created", "/t/a", None),
            change(2, 2, "created", "/t/b", None),
            change(3, 1, "renamed", "/t/a.bak", Some("/t/a")),
            change(4, 2, "renamed", "/t/c", Some("/t/b")),
            change(5, 3, "created", "/t/d.txt", None),
        ];
        assert!(first_victims(&changes).is_none());
        for node in 10..14 {
            let (new, old) = (format!("/t/{node}.locked"), format!("/t/{node}"));
            changes.push(change(node, node, "renamed", &new, Some(&old)));
        }
        let found = first_victims(&changes).unwrap();
        assert_eq!((found.seq, found.nodes.len()), (10, 4));
        // The same where the rename was seen as two things.
        let halves: Vec<Change> = (10..14)
            .flat_map(|node| {
                let (new, old) = (format!("/t/{node}.locked"), format!("/t/{node}"));
                [change(node, node, "deleted", &old, None), change(node, 100 + node, "created", &new, None)]
            })
            .collect();
        assert_eq!(first_victims(&halves).unwrap().seq, 10);
    }
}

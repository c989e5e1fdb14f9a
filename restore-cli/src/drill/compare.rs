//! What came back against what an oracle knows: pure.
//!
//! Owns which difference counts as what. Whether that is good enough is for the assertions.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::Seen;
use super::oracle::{Oracle, Standing};
use super::report::Counts;
use crate::output::escape;
use crate::path;

/// What was restored, and what was wanted.
pub(crate) struct Restored<'r> {
    /// What lies where it was restored to, by the path that it had.
    pub(crate) there: &'r BTreeMap<Vec<u8>, Seen>,
    /// What the restore said it could not do, and why.
    pub(crate) refused: &'r BTreeMap<Vec<u8>, String>,
    /// What was chosen: the tops of trees, or single files.
    pub(crate) chosen: &'r BTreeSet<Vec<u8>>,
    /// Damage that the drill planted, which the journal named: these must not come back, or come back right.
    pub(crate) excused: &'r BTreeSet<Vec<u8>>,
    /// Whether owners could be set.
    pub(crate) owners: bool,
}

/// A path and what is to be said of it.
pub(crate) type Finding = (Vec<u8>, String);

/// All differences, in byte order of the paths.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The bytes are others than those that the oracle knows.
    pub(crate) differing: Vec<Finding>,
    /// The journal has it and could not give it back.
    pub(crate) refused: Vec<Finding>,
    /// The oracle knows it, and it is not there.
    pub(crate) missing: Vec<Finding>,
    /// It is there, and the oracle knows that it was not.
    pub(crate) extra: Vec<Finding>,
    /// Its metadata is other than what the oracle knows.
    pub(crate) metadata: Vec<Finding>,
    /// Chosen or restored, and no oracle knows its content.
    pub(crate) unknown_content: Vec<Vec<u8>>,
    /// No oracle knows whether it was there.
    pub(crate) unknown_paths: Vec<Vec<u8>>,
    /// No oracle knows its metadata.
    pub(crate) unknown_metadata: Vec<Vec<u8>>,
    /// Chosen, and neither restored nor refused.
    pub(crate) nowhere: Vec<Vec<u8>>,
    /// Files and symlinks whose bytes were compared.
    pub(crate) compared: BTreeSet<Vec<u8>>,
    /// Paths with planted damage that did not come back.
    pub(crate) spared: u64,
    /// Paths whose being there was compared.
    pub(crate) placed: u64,
    /// Paths whose metadata was compared.
    pub(crate) described: u64,
    /// For the report.
    pub(crate) counts: Counts,
}

/// Compares.
pub(crate) fn compare(restored: &Restored<'_>, oracle: &Oracle) -> Findings {
    let mut findings = Findings::default();
    let mut all: BTreeSet<&[u8]> = restored.there.keys().map(Vec::as_slice).collect();
    all.extend(oracle.all().map(|(path, _)| path));
    all.extend(oracle.names());
    all.extend(restored.chosen.iter().map(Vec::as_slice));
    all.extend(restored.refused.keys().map(Vec::as_slice));
    for path in all {
        one(path, restored, oracle, &mut findings);
    }
    links(restored, oracle, &mut findings);
    let count = |list: &Vec<Finding>| list.len() as u64;
    findings.counts = Counts {
        restored: restored.there.len() as u64,
        differing: count(&findings.differing),
        missing: count(&findings.missing) + count(&findings.refused),
        extra: count(&findings.extra),
        metadata_differences: count(&findings.metadata),
        without_oracle: findings.unknown_content.len() as u64,
        ..findings.counts
    };
    findings
}

fn one(path: &[u8], restored: &Restored<'_>, oracle: &Oracle, findings: &mut Findings) {
    let known = oracle.get(path);
    let there = restored.there.get(path);
    let is_certain = known.is_some_and(|known| known.standing == Standing::Certain);
    if known.is_some()
        || oracle.has_name(path)
        || restored.chosen.contains(path)
        || there.is_some() && !oracle.knows_names_of(path::parent(path))
    {
        findings.counts.expected += 1;
    }
    if there.is_none() && restored.chosen.contains(path) && !restored.refused.contains_key(path) {
        findings.nowhere.push(path.to_vec());
    }
    if let Some(why) = restored.refused.get(path) {
        if restored.excused.contains(path) {
            findings.spared += u64::from(there.is_none());
        } else {
            findings.refused.push((path.to_vec(), format!("could not be restored: {why}")));
            findings.compared.insert(path.to_vec());
        }
        // What was written in spite of it must be right all the same.
        if there.is_none() {
            return;
        }
    }
    match (known, there) {
        (None, None) if oracle.has_name(path) && !restored.excused.contains(path) => {
            findings.placed += 1;
            findings.missing.push((path.to_vec(), "is missing: there was something of that name".to_owned()));
        }
        (None, None) => {
            findings.unknown_paths.push(path.to_vec());
            // Nobody knows what it was, so nobody knows that it has no content.
            findings.unknown_content.push(path.to_vec());
        }
        (Some(known), None) => match is_certain || oracle.knows_names_of(path::parent(path)) {
            _ if restored.excused.contains(path) => {}
            true => {
                findings.placed += 1;
                findings
                    .missing
                    .push((path.to_vec(), format!("is missing: it was a {} there", known.seen.kind)));
            }
            false => {
                findings.unknown_paths.push(path.to_vec());
                if !known.seen.is_dir() {
                    findings.unknown_content.push(path.to_vec());
                }
            }
        },
        (None, Some(seen)) => {
            let knows_names = oracle.knows_names_of(path::parent(path));
            match (knows_names, oracle.has_name(path)) {
                (true, false) => {
                    findings.placed += 1;
                    let what = format!("was not there, and a {} is restored", seen.kind);
                    findings.extra.push((path.to_vec(), what));
                    return;
                }
                (true, true) => findings.placed += 1,
                (false, _) => findings.unknown_paths.push(path.to_vec()),
            }
            findings.unknown_metadata.push(path.to_vec());
            if !seen.is_dir() {
                findings.unknown_content.push(path.to_vec());
            }
        }
        (Some(known), Some(seen)) => {
            findings.placed += 1;
            both(path, &known.seen, is_certain, seen, restored.owners, findings);
        }
    }
}

fn both(path: &[u8], known: &Seen, is_certain: bool, seen: &Seen, owners: bool, findings: &mut Findings) {
    let same = known.same_content(seen);
    // A list of hashes follows symlinks, so it says nothing of one.
    let is_certain = is_certain && (known.is_described() || seen.kind != "symlink");
    if !(known.is_dir() && seen.is_dir()) {
        match (same, is_certain) {
            (true, _) => findings.counts.matched += 1,
            (false, true) => findings.differing.push((path.to_vec(), difference(known, seen))),
            (false, false) => findings.unknown_content.push(path.to_vec()),
        }
        if same || is_certain {
            findings.compared.insert(path.to_vec());
        }
    }
    if !known.is_described() {
        findings.unknown_metadata.push(path.to_vec());
        return;
    }
    let differences = known.metadata_differences(seen, owners);
    match (differences.is_empty(), is_certain) {
        (true, _) => findings.described += 1,
        (false, true) => {
            findings.described += 1;
            findings.metadata.push((path.to_vec(), differences.join("; ")));
        }
        (false, false) => findings.unknown_metadata.push(path.to_vec()),
    }
}

/// A file with several names: the chosen path above them, the source that knows it, its inode.
type Key<'p> = (&'p [u8], usize, &'p str);
/// The names of each.
type Groups<'p> = BTreeMap<Key<'p>, BTreeSet<&'p [u8]>>;

/// Which names were one file, and which are: within what one restore brought, and among names that one source knows.
fn links(restored: &Restored<'_>, oracle: &Oracle, findings: &mut Findings) {
    let (mut were, mut are) = (Groups::new(), Groups::new());
    let mut both = Vec::new();
    for (path, known) in oracle.all() {
        let Some(there) = restored.there.get(path) else { continue };
        let is_counted = known.seen.nlink.is_some() && there.nlink.is_some();
        let has_others = known.seen.inode.is_some() || there.inode.is_some();
        if known.standing != Standing::Certain || !is_counted || !has_others {
            continue;
        }
        let Some(top) = top_of(restored.chosen, path) else { continue };
        let was = known.seen.inode.as_deref().map(|inode| (top, known.source, inode));
        let is = there.inode.as_deref().map(|inode| (top, known.source, inode));
        if let Some(was) = was {
            were.entry(was).or_default().insert(path);
        }
        if let Some(is) = is {
            are.entry(is).or_default().insert(path);
        }
        both.push((path, was, is));
    }
    let mut found: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for (path, was, is) in both {
        let (before, now) = (others(&were, was, path), others(&are, is, path));
        if before != now {
            let what = format!("is {}, and was {}", one_with(&now), one_with(&before));
            found.insert(path.to_vec(), what);
        }
    }
    for (path, what) in &mut findings.metadata {
        if let Some(more) = found.remove(path.as_slice()) {
            what.push_str("; ");
            what.push_str(&more);
        }
    }
    findings.metadata.extend(found);
    findings.metadata.sort();
}

/// The other names of a file.
fn others(groups: &Groups<'_>, key: Option<Key<'_>>, path: &[u8]) -> Vec<String> {
    let names = key.and_then(|key| groups.get(&key)).into_iter().flatten();
    names.filter(|other| **other != path).map(|other| escape(other)).collect()
}

fn one_with(names: &[String]) -> String {
    match names {
        [] => "a file of its own".to_owned(),
        [one] => format!("one file with {one}"),
        [one, more @ ..] => format!("one file with {one} and {} more", more.len()),
    }
}

/// The chosen path that a path lies at or below.
fn top_of<'c>(chosen: &'c BTreeSet<Vec<u8>>, path: &[u8]) -> Option<&'c [u8]> {
    let mut above = path;
    loop {
        if let Some(top) = chosen.get(above) {
            return Some(top);
        }
        let next = path::parent(above);
        if next == above {
            return None;
        }
        above = next;
    }
}

fn difference(known: &Seen, seen: &Seen) -> String {
    let short = |hash: &Option<String>| {
        hash.as_deref().and_then(|hash| hash.get(..16)).unwrap_or("no hash").to_owned()
    };
    if known.kind != seen.kind {
        return format!("is a {} and was a {}", seen.kind, known.kind);
    }
    if !known.is_file() {
        return "points elsewhere".to_owned();
    }
    if !known.is_described() {
        let (kind, is, was) = match &known.sha256 {
            Some(_) => ("SHA-256", &seen.sha256, &known.sha256),
            None => ("BLAKE3", &seen.blake3, &known.blake3),
        };
        return format!("has other bytes: {kind} {}..., and the list has {}...", short(is), short(was));
    }
    format!(
        "has other bytes: {} bytes, BLAKE3 {}..., and the oracle knows {} bytes, {}...",
        seen.size,
        short(&seen.blake3),
        known.size,
        short(&known.blake3)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> Seen {
        let blake3 = Some(blake3::hash(content.as_bytes()).to_hex().to_string());
        Seen {
            kind: "file".into(),
            mode: "0644".into(),
            size: content.len() as u64,
            blake3,
            ..Seen::default()
        }
    }

    fn dir() -> Seen {
        Seen { kind: "dir".into(), mode: "0755".into(), ..Seen::default() }
    }

    fn map(entries: &[(&str, Seen)]) -> BTreeMap<Vec<u8>, Seen> {
        entries.iter().map(|(path, seen)| (path.as_bytes().to_vec(), seen.clone())).collect()
    }

    fn found(there: &[(&str, Seen)], known: &[(&str, Seen)], refused: &[&str], excused: &[&str]) -> Findings {
        let set = |paths: &[&str]| paths.iter().map(|path| path.as_bytes().to_vec()).collect::<BTreeSet<_>>();
        let refused = refused.iter().map(|path| (path.as_bytes().to_vec(), "damaged".to_owned())).collect();
        let there = map(there);
        let (chosen, excused) = (set(&["/t"]), set(excused));
        let restored =
            Restored { there: &there, refused: &refused, chosen: &chosen, excused: &excused, owners: true };
        compare(&restored, &Oracle::told(map(known)))
    }

    fn names(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|(path, _)| std::str::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn each_difference_is_counted_as_what_it_is_and_as_nothing_else() {
        let known = [("/t", dir()), ("/t/a", file("a")), ("/t/b", file("b"))];
        let same = found(&known, &known, &[], &[]);
        assert_eq!((same.counts.matched, same.counts.expected, same.compared.len()), (2, 3, 2));
        assert_eq!((same.placed, same.described), (3, 3));
        let other = found(&[("/t", dir()), ("/t/a", file("A")), ("/t/b", file("b"))], &known, &[], &[]);
        assert_eq!(names(&other.differing), ["/t/a"]);
        assert!(other.missing.is_empty() && other.extra.is_empty() && other.metadata.is_empty());
        let missing = found(&known[..2], &known, &[], &[]);
        assert_eq!(names(&missing.missing), ["/t/b"]);
        assert!(missing.differing.is_empty() && missing.refused.is_empty());
        let extra = found(&[&known[..], &[("/t/c", file("c"))]].concat(), &known, &[], &[]);
        assert_eq!(names(&extra.extra), ["/t/c"]);
        assert_eq!(extra.counts.expected, 3, "nobody expects what is too much");
        let mode = Seen { mode: "0600".into(), ..file("b") };
        let meta = found(&[("/t", dir()), ("/t/a", file("a")), ("/t/b", mode)], &known, &[], &[]);
        assert_eq!(names(&meta.metadata), ["/t/b"]);
        assert!(meta.differing.is_empty());
    }

    #[test]
    fn what_the_restore_refused_is_told_apart_from_what_it_did_not_know() {
        let known = [("/t", dir()), ("/t/a", file("a"))];
        let refused = found(&known[..1], &known, &["/t/a"], &[]);
        assert_eq!(
            (names(&refused.refused), refused.missing.len(), refused.counts.missing),
            (vec!["/t/a"], 0, 1)
        );
        let planted = found(&known[..1], &known, &["/t/a"], &["/t/a"]);
        assert!(planted.refused.is_empty() && planted.missing.is_empty() && planted.spared == 1);
        let wrong = found(&[("/t", dir()), ("/t/a", file("A"))], &known, &["/t/a"], &["/t/a"]);
        assert_eq!(names(&wrong.differing), ["/t/a"], "wrong bytes are never excused");
    }

    #[test]
    fn a_name_is_known_where_its_directory_is_though_nobody_knows_what_it_was() {
        let mut oracle = Oracle::told(map(&[("/t", dir()), ("/t/a", file("a"))]));
        oracle.forget_content_of(b"/t/a");
        let look = |there: &[(&str, Seen)]| {
            let there = map(there);
            let (refused, chosen) = (BTreeMap::new(), BTreeSet::from([b"/t".to_vec()]));
            let excused = BTreeSet::new();
            let restored = Restored {
                there: &there,
                refused: &refused,
                chosen: &chosen,
                excused: &excused,
                owners: true,
            };
            compare(&restored, &oracle)
        };
        let there = look(&[("/t", dir()), ("/t/a", file("b"))]);
        assert_eq!((there.placed, there.unknown_content.len(), there.extra.len()), (2, 1, 0));
        assert_eq!(names(&look(&[("/t", dir())]).missing), ["/t/a"]);
    }

    #[test]
    fn names_of_one_file_have_to_be_names_of_one_file_again() {
        let linked = |inode: &str| Seen { nlink: Some(2), inode: Some(inode.into()), ..file("x") };
        let alone = || Seen { nlink: Some(1), ..file("x") };
        let tree = |a: Seen, b: Seen, c: Seen| [("/t", dir()), ("/t/a", a), ("/t/b", b), ("/t/c", c)];
        let was = tree(linked("1:7"), linked("1:7"), alone());
        assert!(found(&tree(linked("9:1"), linked("9:1"), alone()), &was, &[], &[]).metadata.is_empty());
        let apart = found(&tree(alone(), alone(), alone()), &was, &[], &[]);
        assert_eq!(names(&apart.metadata), ["/t/a", "/t/b"]);
        assert_eq!(apart.metadata[0].1, "is a file of its own, and was one file with /t/b");
        assert_eq!((apart.counts.metadata_differences, apart.counts.differing), (2, 0));
        let other = found(&tree(linked("9:1"), alone(), linked("9:1")), &was, &[], &[]);
        assert_eq!(names(&other.metadata), ["/t/a", "/t/b", "/t/c"]);
        // A name outside of what was restored is nobody's loss, and a witness that did not count says nothing.
        let half = tree(linked("1:7"), alone(), alone());
        assert!(found(&tree(alone(), alone(), alone()), &half, &[], &[]).metadata.is_empty());
        let uncounted = tree(file("x"), file("x"), file("x"));
        assert!(found(&was, &uncounted, &[], &[]).metadata.is_empty());
    }

    #[test]
    fn what_nobody_knows_is_neither_right_nor_wrong() {
        let nobody = found(&[("/t", dir()), ("/t/a", file("a"))], &[], &[], &[]);
        assert_eq!(
            (nobody.unknown_content.len(), nobody.unknown_paths.len(), nobody.compared.len()),
            (1, 2, 0)
        );
        assert!(nobody.differing.is_empty() && nobody.extra.is_empty());
        let nothing = found(&[], &[], &[], &[]);
        assert_eq!(
            (&nothing.unknown_paths, &nothing.unknown_content),
            (&vec![b"/t".to_vec()], &vec![b"/t".to_vec()])
        );
    }
}

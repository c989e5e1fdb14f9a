//! What the past was, by those who do not depend on the journal: witnesses, and the live tree where it is unchanged since.
//!
//! Owns when such a source may be believed. A file whose change time lies before an instant was at that instant what it was
//! when somebody looked later; what somebody saw earlier holds as long as the file on disk has the same times. A directory above it that changed since may have been another one then, so a difference below it proves nothing,
//! while equal bytes are equal bytes.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_journal::reader::Moment;
use asof_journal::rules::Rules;
use asof_journal::temporary::is_temporary;
use asof_journal::types::Instant;

use super::observe::Seen;
use super::report::{Evidence, Name};
use super::spec::{At, OracleSpec, SumSpec};
use super::walk::{self, Look, as_path};
use super::witness::{self, Header, TICK_NS};
use crate::output::{counted, escape, local};
use crate::path;

mod sums;

/// What witness files in a directory end in.
pub(crate) const ENDING: &str = "witness";

/// How far something that an oracle says holds for the instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It changed since: it says nothing.
    Void,
    /// It is unchanged, and a directory above it changed: equal is equal, and different proves nothing.
    Likely,
    /// It was exactly that.
    Certain,
}

/// What an oracle says of a path.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// What it was.
    pub(crate) seen: Seen,
    /// How far that holds.
    pub(crate) standing: Standing,
    /// Which source says so: inodes of two say nothing of each other.
    pub(crate) source: usize,
}

/// What all sources together say.
#[derive(Default)]
pub(crate) struct Oracle {
    known: BTreeMap<Vec<u8>, Known>,
    /// What it rests on.
    pub(crate) evidence: Vec<Evidence>,
    /// Why something does not count that was named.
    pub(crate) remarks: Vec<String>,
}

/// Which paths are wanted of the oracle.
pub(crate) enum Wanted<'w> {
    /// These and all below.
    Trees(&'w [Vec<u8>]),
    /// These alone.
    Paths(&'w std::collections::BTreeSet<Vec<u8>>),
}

impl Wanted<'_> {
    fn has(&self, path: &[u8]) -> bool {
        match self {
            Wanted::Trees(tops) => tops.iter().any(|top| asof_journal::view::is_below(path, top)),
            Wanted::Paths(paths) => paths.contains(path),
        }
    }
}

/// What an oracle is made for.
pub(crate) struct Case<'c> {
    /// The instant that is restored.
    pub(crate) moment: &'c Moment,
    /// The journal that it is one of.
    pub(crate) journal: &'c str,
    /// What the policy leaves out then.
    pub(crate) rules: &'c Rules,
    /// What is wanted.
    pub(crate) wanted: Wanted<'c>,
    /// What the clock shows.
    pub(crate) now: Instant,
    /// The instant in the words of the drill; absent where it is another one than those say.
    pub(crate) at: Option<&'c At>,
}

impl Oracle {
    /// One that is told what there was, all of it, such as by whoever made it.
    pub(crate) fn told(known: impl IntoIterator<Item = (Vec<u8>, Seen)>) -> Oracle {
        let certain = |(path, seen)| (path, Known { seen, standing: Standing::Certain, source: 0 });
        let known: BTreeMap<Vec<u8>, Known> = known.into_iter().map(certain).collect();
        let evidence = known.first_key_value().map(|(top, _)| {
            digest("working copy, hashed before", top, known.iter().map(|(path, known)| (path, &known.seen)))
        });
        Oracle { known, evidence: evidence.into_iter().collect(), remarks: Vec::new() }
    }

    /// Asks witnesses, and then the live tree for what they do not know.
    pub(crate) fn ask(spec: &OracleSpec, case: &Case<'_>) -> Oracle {
        let mut oracle = Oracle::default();
        for path in oracle.choose(spec, case) {
            oracle.add_witness(&path, case);
        }
        if spec.live {
            oracle.add_live(case);
        }
        for list in &spec.sums {
            oracle.add_sums(list, spec, case);
        }
        oracle
    }

    /// As after a write to it.
    #[cfg(test)]
    pub(crate) fn forget_content_of(&mut self, path: &[u8]) {
        if let Some(known) = self.known.get_mut(path) {
            known.standing = Standing::Void;
        }
    }

    /// What is known of a path.
    pub(crate) fn get(&self, path: &[u8]) -> Option<&Known> {
        self.known.get(path).filter(|known| known.standing != Standing::Void)
    }

    /// All that is known, in byte order of the paths.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&[u8], &Known)> {
        self.known
            .iter()
            .filter(|(_, known)| known.standing != Standing::Void)
            .map(|(path, known)| (path.as_slice(), known))
    }

    /// Whether something of that name was there, though it is not known what: it was written to, and its directory was not.
    pub(crate) fn has_name(&self, path: &[u8]) -> bool {
        self.known.contains_key(path) && self.knows_names_of(path::parent(path))
    }

    /// The paths of which the name alone is known.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        let void = self.known.iter().filter(|(_, known)| known.standing == Standing::Void);
        void.map(|(path, _)| path.as_slice()).filter(|path| self.has_name(path))
    }

    /// Whether exactly those names that are known were in a directory.
    pub(crate) fn knows_names_of(&self, dir: &[u8]) -> bool {
        self.get(dir).is_some_and(|known| known.seen.is_dir() && known.standing == Standing::Certain)
    }

    /// The witnesses that say something of the instant, the best first: that of the instant itself, else the first one after.
    fn choose(&mut self, spec: &OracleSpec, case: &Case<'_>) -> Vec<PathBuf> {
        let mut exact = None;
        let mut later: Option<(Instant, PathBuf)> = None;
        let mut earlier: Option<(Instant, PathBuf)> = None;
        for path in files(&spec.witness, &mut self.remarks) {
            let shown = escape(path.as_os_str().as_bytes());
            let header = match witness::header(&path) {
                Ok(header) => header,
                Err(error) => {
                    self.remarks.push(format!("{shown} is of no use: {error}"));
                    continue;
                }
            };
            if let Some(why) =
                too_old(header.instant.0, spec, case.now).or_else(|| foreign(&header, case.journal))
            {
                self.remarks.push(format!("{shown} does not count: {why}"));
                continue;
            }
            let at = header.instant.0;
            if is_exact(&header, case.moment) {
                exact = Some(path);
            } else if at > case.moment.instant && later.as_ref().is_none_or(|(best, _)| at < *best) {
                later = Some((at, path));
            } else if at <= case.moment.instant && earlier.as_ref().is_none_or(|(best, _)| at > *best) {
                earlier = Some((at, path));
            }
        }
        exact.into_iter().chain([later, earlier].into_iter().flatten().map(|(_, path)| path)).collect()
    }

    fn add_witness(&mut self, path: &Path, case: &Case<'_>) {
        let (mut found, mut changed_dirs) = (BTreeMap::new(), Vec::new());
        let header = witness::header(path).ok();
        let exact = header.as_ref().is_some_and(|header| is_exact(header, case.moment));
        let earlier = header.is_some_and(|header| header.instant.0 <= case.moment.instant);
        let mut since = 0;
        let read = witness::read(path, &mut |line| {
            let path = line.name.bytes();
            let holds = match (exact, earlier) {
                (true, _) => true,
                (false, true) => is_still(&path, &line.seen),
                (false, false) => is_unchanged(&line.seen, case.moment.instant),
            };
            let is_void = line.changed || !holds;
            since += u64::from(is_void && !exact);
            if is_void && line.seen.is_dir() {
                changed_dirs.push(path.clone());
            }
            if case.wanted.has(&path) {
                found.insert(path, (line.seen, is_void));
            }
        });
        match read {
            Ok((_, evidence)) => {
                if since > 0 {
                    let shown = escape(path.as_os_str().as_bytes());
                    let at = evidence.made.map_or(String::new(), |at| format!(" of {}", local(at.0)));
                    let when = if earlier { "changed since" } else { "changed between the instant and it" };
                    self.remarks.push(format!("{shown}{at}: {since} of its paths {when}"));
                }
                self.evidence.push(evidence);
                self.merge(found, &changed_dirs, exact, case.rules);
            }
            Err(error) => {
                self.remarks.push(format!("{} is of no use: {error}", escape(path.as_os_str().as_bytes())))
            }
        }
    }

    /// Looks at the live tree.
    fn add_live(&mut self, case: &Case<'_>) {
        let mut paths = Vec::new();
        let mut remarks = Vec::new();
        match case.wanted {
            Wanted::Trees(tops) => {
                let skip = |path: &[u8], is_dir: bool| is_left_out(case.rules, path, is_dir);
                let mut refused = |path: &Path, error: io::Error| {
                    remarks.push(format!("{}: {error}", escape(path.as_os_str().as_bytes())))
                };
                for top in tops {
                    walk::walk(as_path(top), &skip, &mut |path| paths.push(path), &mut refused);
                }
            }
            Wanted::Paths(wanted) => paths.extend(wanted.iter().map(|path| as_path(path).to_path_buf())),
        }
        self.remarks.append(&mut remarks);
        let (mut found, mut changed_dirs) = (BTreeMap::new(), Vec::new());
        if let Wanted::Paths(wanted) = case.wanted {
            changed_dirs = changed_above(wanted, case);
        }
        walk::observe_all(paths, &mut |path, look: Look| {
            let Ok(Some(seen)) = look else { return };
            let path = walk::into_bytes(path);
            let is_void = !is_unchanged(&seen, case.moment.instant);
            if is_void && seen.is_dir() {
                changed_dirs.push(path.clone());
            }
            found.insert(path, (seen, is_void));
        });
        let counted =
            || found.iter().filter(|(_, (_, is_void))| !is_void).map(|(path, (seen, _))| (path, seen));
        if let Some((first, _)) = counted().next() {
            let top = case.rules.root_of(first).unwrap_or(first).to_vec();
            self.evidence.push(digest("live tree, where it is unchanged since", &top, counted()));
        }
        self.merge(found, &changed_dirs, false, case.rules);
    }

    /// Takes in a list of hashes. Of the instant itself it says what was there; else equal is equal, and different or not
    /// there proves nothing.
    fn add_sums(&mut self, list: &SumSpec, spec: &OracleSpec, case: &Case<'_>) {
        let shown = escape(list.file.as_os_str().as_bytes());
        let modified = || list.file.metadata().and_then(|meta| meta.modified());
        let of = |time: std::time::SystemTime| {
            let since = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            Instant(i64::try_from(since).unwrap_or(i64::MAX))
        };
        let read = modified().and_then(|time| Ok((of(time), sums::read(list)?)));
        let (made, found) = match read {
            Ok(found) => found,
            Err(error) => return self.remarks.push(format!("{shown} is of no use: {error}")),
        };
        if let Some(why) = too_old(made, spec, case.now) {
            return self.remarks.push(format!("{shown} does not count: {why}"));
        }
        let exact = list.at.as_ref().is_some_and(|at| case.at == Some(at));
        let standing = if exact { Standing::Certain } else { Standing::Likely };
        let source = self.evidence.len() + 1;
        let (mut taken, mut newer) = (0, 0);
        for (path, seen) in found.files {
            if !case.wanted.has(&path) || is_left_out(case.rules, &path, false) {
                continue;
            }
            // A directory that is known to the last name did not have this one.
            let is_of_another =
                !exact && !self.known.contains_key(&path) && self.knows_names_of(path::parent(&path));
            if is_of_another {
                newer += 1;
                continue;
            }
            taken += 1;
            match self.known.get(&path) {
                Some(known) if known.standing >= standing => {}
                _ => {
                    self.known.insert(path, Known { seen, standing, source });
                }
            }
        }
        if newer > 0 {
            self.remarks.push(format!("{shown}: {} in it had not been there", counted(newer, "name")));
        }
        if taken > 0 {
            let what = format!("list of hashes, {}", list.hash.name());
            let path = Name::new(list.file.as_os_str().as_bytes());
            let made = Some(super::report::Stamp(made));
            self.evidence.push(Evidence { what, path, blake3: found.blake3, bytes: found.bytes, made });
        }
    }

    /// Whether a list of hashes has SHA-256 of a path.
    pub(crate) fn wants_sha256(&self, path: &[u8]) -> bool {
        self.known.get(path).is_some_and(|known| known.seen.sha256.is_some())
    }

    /// Takes in what a source says, where it stands better than what is known.
    fn merge(
        &mut self,
        found: BTreeMap<Vec<u8>, (Seen, bool)>,
        changed_dirs: &[Vec<u8>],
        exact: bool,
        rules: &Rules,
    ) {
        let source = self.evidence.len();
        let changed: std::collections::HashSet<&[u8]> = changed_dirs.iter().map(Vec::as_slice).collect();
        for (path, (seen, is_void)) in found {
            if seen.kind == "socket" || is_temporary(path::name(&path)) {
                continue;
            }
            let standing = match (is_void, exact) {
                (true, _) => Standing::Void,
                (false, true) => Standing::Certain,
                (false, false) if above(&path, rules).any(|dir| changed.contains(dir)) => Standing::Likely,
                (false, false) => Standing::Certain,
            };
            match self.known.get(&path) {
                Some(known) if known.standing >= standing => {}
                _ => {
                    self.known.insert(path, Known { seen, standing, source });
                }
            }
        }
    }
}

/// What was seen on disk, as evidence: a hash of all paths with the hashes of their content, as `PATH NUL HASH NEWLINE`.
fn digest<'s>(what: &str, top: &[u8], seen: impl Iterator<Item = (&'s Vec<u8>, &'s Seen)>) -> Evidence {
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    for (path, seen) in seen {
        hasher
            .update(path)
            .update(b"\0")
            .update(seen.blake3.as_deref().unwrap_or_default().as_bytes())
            .update(b"\n");
        bytes += seen.size;
    }
    let (path, blake3) = (Name::new(top), hasher.finalize().to_hex().to_string());
    Evidence { what: what.to_owned(), path, blake3, bytes, made: None }
}

/// The directories above a path, the nearest first, up to its root, which is a place by its path and no other.
fn above<'p>(path: &'p [u8], rules: &Rules) -> impl Iterator<Item = &'p [u8]> {
    let root = rules.root_of(path).map_or(1, <[u8]>::len);
    let mut next = path::parent(path);
    std::iter::from_fn(move || {
        let this = next;
        next = path::parent(this);
        (this.len() > root).then_some(this)
    })
}

/// The directories above paths that changed since the instant.
fn changed_above(paths: &std::collections::BTreeSet<Vec<u8>>, case: &Case<'_>) -> Vec<Vec<u8>> {
    let mut dirs: BTreeMap<&[u8], bool> = BTreeMap::new();
    for dir in paths.iter().flat_map(|path| above(path, case.rules)) {
        dirs.entry(dir).or_insert_with(|| {
            let seen = super::observe::observe(as_path(dir), false);
            !matches!(seen, Ok(Some(seen)) if is_unchanged(&seen, case.moment.instant))
        });
    }
    dirs.into_iter().filter(|(_, changed)| *changed).map(|(dir, _)| dir.to_vec()).collect()
}

/// Whether something was at an instant what it was when it was looked at later.
pub(crate) fn is_unchanged(seen: &Seen, instant: Instant) -> bool {
    seen.ctime_ns.saturating_add(TICK_NS) <= instant.0
}

/// Whether something on disk still has the times that an earlier look saw, so that nothing was done to it since.
fn is_still(path: &[u8], seen: &Seen) -> bool {
    super::observe::observe(as_path(path), false).is_ok_and(|now| {
        now.is_some_and(|now| {
            (&now.kind, now.size, now.mtime_ns, now.ctime_ns)
                == (&seen.kind, seen.size, seen.mtime_ns, seen.ctime_ns)
        })
    })
}

/// Whether the policy, or what the journal never has, leaves something out.
pub(crate) fn is_left_out(rules: &Rules, path: &[u8], is_dir: bool) -> bool {
    is_temporary(path::name(path)) || rules.leaves_out(path, Some(is_dir))
}

fn is_exact(header: &Header, moment: &Moment) -> bool {
    match header.seq {
        Some(seq) => seq == moment.seq.0,
        None => header.instant.0 == moment.instant,
    }
}

fn too_old(made: Instant, spec: &OracleSpec, now: Instant) -> Option<String> {
    let most = spec.max_age?;
    let age = now.0.saturating_sub(made.0);
    let is_old = u128::try_from(age).is_ok_and(|age| age > most.0.as_nanos());
    is_old.then(|| {
        let days = |ns: u128| ns as f64 / 86_400e9;
        let age = days(u128::try_from(age).unwrap_or(0));
        format!("it is {age:.2} days old, and oracle.max_age is {:.2}", days(most.0.as_nanos()))
    })
}

fn foreign(header: &Header, journal: &str) -> Option<String> {
    let other = header.journal.as_deref().filter(|named| *named != journal)?;
    Some(format!("it is a witness of another journal, {}", escape(other.as_bytes())))
}

/// The files that are named, and those in directories that are.
pub(super) fn files(named: &[PathBuf], remarks: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let before = files.len();
        files.extend(entries.filter(|path| path.extension().is_some_and(|ending| ending == ENDING)));
        if files.len() == before {
            let shown = escape(path.as_os_str().as_bytes());
            remarks.push(format!("no witness is in {shown}: `asof drill witness --to {shown}` writes one"));
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests;

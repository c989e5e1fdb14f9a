//! What a policy leaves out below its roots, and by which rule: one answer for the agent that captures and for the
//! command that explains.
//!
//! Pure: a path and what it is go in, a verdict comes out. Reads nothing; what only the disk or the tree can tell
//! (a `CACHEDIR.TAG`, where another filesystem begins) its callers find out.
//!
//! - Patterns are those of gitignore: those for every root first, then the root's own, and the last that matches
//!   counts. What is below a directory that is left out is left out, whatever matches it.
//! - A pattern with a slash in front is anchored at the root. Where it begins with the path of a root, it means that
//!   place in that root and nothing in others.
//! - Of roots within roots the innermost one's rules hold. A named root is never left out itself, nor is a directory
//!   on the way to it (other entries of such a directory are).

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};

use crate::types::{LeftOut, Place, Policy};
use crate::view::is_below;

/// The name of the file that marks a directory as a cache (<https://bford.info/cachedir/>).
pub const CACHEDIR_TAG: &[u8] = b"CACHEDIR.TAG";
/// What such a file begins with; without it, the name means nothing.
pub const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Names that no honest pattern has in common, to find out whether patterns leave out everything.
const PROBES: [&[u8]; 4] = [b"q", b"Z9.k", b".7_", b"\xc3\xa9-"];

/// A pattern that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {what}")]
pub struct PatternError {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub what: String,
}

/// The rules of a policy, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    sections: Vec<Section>,
    left_out: Vec<LeftOut>,
    /// Whether a root lies in another.
    nested: bool,
}

/// A root and what holds below it, down to the next root.
#[derive(Clone, Debug)]
struct Section {
    root: Vec<u8>,
    patterns: Gitignore,
    /// The patterns in order: as they are matched, and as they were written.
    forms: Vec<(String, String)>,
    one_file_system: bool,
    cachedir_tag: bool,
}

/// Why a path is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'r, 'p> {
    /// What the rule is about: the path or a directory above it.
    pub path: &'p [u8],
    /// The rule.
    pub rule: Rule<'r>,
}

/// A rule by which something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule<'r> {
    /// A pattern of the configuration.
    Pattern {
        /// As it was written.
        text: &'r str,
        /// The root whose own it is; `None` for a pattern of every root.
        root: Option<&'r [u8]>,
    },
    /// A place that is left out in any case.
    Place(Place),
}

impl Rules {
    /// Makes the rules of a policy ready.
    ///
    /// # Errors
    /// The first pattern that means nothing.
    pub fn new(policy: &Policy) -> Result<Rules, PatternError> {
        let paths: Vec<&[u8]> = policy.roots.iter().map(|root| root.path.as_slice()).collect();
        let mut sections = Vec::with_capacity(paths.len());
        for root in &policy.roots {
            let mut patterns = GitignoreBuilder::new("");
            patterns.allow_unclosed_class(false);
            let mut forms = Vec::new();
            let own = root.excludes.iter().map(|text| (Some(Path::new(OsStr::from_bytes(&root.path))), text));
            for (from, text) in policy.excludes.iter().map(|text| (None, text)).chain(own) {
                let refused = |what: String| PatternError { pattern: text.clone(), what };
                check(text).map_err(|what| refused(what.to_string()))?;
                let Some(form) = anchored(text, &root.path, &paths) else { continue };
                patterns.add_line(from.map(PathBuf::from), &form).map_err(|error| refused(reason(&error)))?;
                forms.push((form.trim_end().to_owned(), text.clone()));
            }
            let patterns = patterns.build().map_err(|error| PatternError {
                pattern: policy.excludes.iter().chain(&root.excludes).cloned().collect::<Vec<_>>().join(" "),
                what: reason(&error),
            })?;
            sections.push(Section {
                root: root.path.clone(),
                patterns,
                forms,
                one_file_system: root.one_file_system,
                cachedir_tag: root.cachedir_tag,
            });
        }
        let nested = paths.iter().any(|one| paths.iter().any(|other| one != other && is_below(one, other)));
        Ok(Rules { sections, left_out: policy.left_out.clone(), nested })
    }

    /// The innermost root that a path is at or below.
    pub fn root_of(&self, path: &[u8]) -> Option<&[u8]> {
        self.section(path).map(|section| section.root.as_slice())
    }

    /// Whether other filesystems are left out where the path lies.
    pub fn one_file_system(&self, path: &[u8]) -> bool {
        self.section(path).is_none_or(|section| section.one_file_system)
    }

    /// Whether a directory is left out, but for its tag, when it has a valid `CACHEDIR.TAG`. A root never is, nor
    /// what leads to one: they were named.
    pub fn heeds_cachedir_tag(&self, dir: &[u8]) -> bool {
        self.section(dir).is_some_and(|section| section.cachedir_tag && section.root != dir)
            && !self.leads_to_root(dir)
    }

    /// Whether a path is a root, or a root lies below it.
    pub fn is_root_or_above(&self, path: &[u8]) -> bool {
        self.sections.iter().any(|section| is_below(&section.root, path))
    }

    /// Whether a path is left out: [`Rules::verdict`] without the reason.
    pub fn leaves_out(&self, path: &[u8], dir: Option<bool>) -> bool {
        self.verdict(path, dir).is_some()
    }

    /// Whether an entry of a directory is left out, where the directory is known not to be.
    pub fn leaves_out_entry(&self, path: &[u8], dir: Option<bool>) -> bool {
        if self.nested {
            return self.leaves_out(path, dir);
        }
        if self.left_out.iter().any(|place| is_below(path, &place.path)) {
            return true;
        }
        let Some(section) = self.section(path).filter(|section| !section.patterns.is_empty()) else {
            return false;
        };
        let relative = path.get(section.start()..).filter(|relative| !relative.is_empty());
        relative.is_some_and(|relative| {
            matched(&section.patterns, Path::new(OsStr::from_bytes(relative)), dir).is_some()
        })
    }

    /// The rule by which a path is left out, itself or with a directory above it; `None` where it is not, and below no
    /// root. `dir` says whether the path is a directory, where that is known.
    pub fn verdict<'p>(&self, path: &'p [u8], dir: Option<bool>) -> Option<Verdict<'_, 'p>> {
        if let Some(place) = self.left_out.iter().find(|place| is_below(path, &place.path)) {
            let end = place.path.len().min(path.len());
            return Some(Verdict { path: &path[..end], rule: Rule::Place(place.what) });
        }
        let section = self.section(path)?;
        let (end, glob) = self.walk(section, path, dir)?;
        let root = glob.from().map(|root| root.as_os_str().as_bytes());
        Some(Verdict { path: &path[..end], rule: Rule::Pattern { text: section.written(glob).1, root } })
    }

    /// Whether patterns leave out everything below a root, and the last of those that do. Where a negation follows
    /// it, that is taken as meant.
    pub fn leaves_out_everything(&self, root: &[u8]) -> Option<&str> {
        let section = self.sections.iter().find(|section| section.root == root)?;
        let mut last = None;
        for probe in PROBES {
            let probe = Path::new(OsStr::from_bytes(probe));
            for dir in [false, true] {
                match section.patterns.matched(probe, dir) {
                    Match::Ignore(glob) => last = Some(glob),
                    Match::None | Match::Whitelist(_) => return None,
                }
            }
        }
        let (at, text) = section.written(last?);
        let negated = section.forms.iter().skip(at).any(|(form, _)| form.starts_with('!'));
        (!negated).then_some(text)
    }

    fn section(&self, path: &[u8]) -> Option<&Section> {
        let below = self.sections.iter().filter(|section| is_below(path, &section.root));
        below.max_by_key(|section| section.root.len())
    }

    /// Whether a root lies below the path.
    fn leads_to_root(&self, path: &[u8]) -> bool {
        self.sections.iter().any(|section| section.root != path && is_below(&section.root, path))
    }

    /// From the root down, the first that a pattern leaves out: how much of the path it is, and the pattern.
    fn walk<'r>(&'r self, section: &'r Section, path: &[u8], dir: Option<bool>) -> Option<(usize, &'r Glob)> {
        if section.patterns.is_empty() {
            return None;
        }
        let start = section.start();
        // A directory on the way to a root is not left out, but what is in it and not on the way is.
        let mut held = None;
        let mut end = start;
        while end < path.len() {
            end = path[end..].iter().position(|&b| b == b'/').map_or(path.len(), |at| end + at);
            if let Some(glob) = held
                && !self.leads_to_root(&path[..end])
            {
                return Some((end, glob));
            }
            let relative = Path::new(OsStr::from_bytes(&path[start..end]));
            let is_dir = if end < path.len() { Some(true) } else { dir };
            if let Some(glob) = matched(&section.patterns, relative, is_dir) {
                if !self.leads_to_root(&path[..end]) {
                    return Some((end, glob));
                }
                held = Some(glob);
            }
            end += 1;
        }
        None
    }
}

impl Section {
    /// Where the path relative to the root begins in a path below it.
    fn start(&self) -> usize {
        match self.root.as_slice() {
            b"/" => 1,
            root => root.len() + 1,
        }
    }

    /// Where a pattern stands, and how it was written.
    fn written<'s>(&'s self, glob: &'s Glob) -> (usize, &'s str) {
        let form = glob.original().trim_end();
        match self.forms.iter().rposition(|(known, _)| known == form) {
            Some(at) => (at, self.forms.get(at).map_or(form, |(_, written)| written)),
            None => (0, form),
        }
    }
}

/// The pattern that leaves out a path for itself. Where it is not known whether it is a directory, both must be left
/// out: a hint may be dropped only if nothing depends on it.
fn matched<'g>(patterns: &'g Gitignore, relative: &Path, dir: Option<bool>) -> Option<&'g Glob> {
    let ask = |dir| match patterns.matched(relative, dir) {
        Match::Ignore(glob) => Some(glob),
        Match::None | Match::Whitelist(_) => None,
    };
    match dir {
        Some(dir) => ask(dir),
        None => ask(true).and(ask(false)),
    }
}

/// Says what is wrong with a pattern that the syntax allows and that means nothing here.
fn check(text: &str) -> Result<(), &'static str> {
    if text.starts_with('#') {
        return Err("a comment means nothing here; for a name that begins with # write \\#");
    }
    let meant = text.strip_prefix('!').unwrap_or(text).trim_end();
    if meant.trim_matches('/').is_empty() {
        return Err("names nothing");
    }
    if text.contains(['\n', '\0']) {
        return Err("holds a line break or a NUL");
    }
    Ok(())
}

/// The form in which a pattern is matched below a root; `None` where it means a place in another root only.
fn anchored<'t>(text: &'t str, root: &[u8], roots: &[&[u8]]) -> Option<Cow<'t, str>> {
    let (negation, pattern) = match text.strip_prefix('!') {
        Some(pattern) => ("!", pattern),
        None => ("", text),
    };
    if !pattern.starts_with('/') {
        return Some(Cow::Borrowed(text));
    }
    let place = pattern.strip_suffix('/').unwrap_or(pattern);
    if is_below(place.as_bytes(), root) {
        let root_len = if root == b"/" { 0 } else { root.len() };
        return Some(match pattern.get(root_len..) {
            // The root itself: everything in it.
            None | Some("" | "/") => Cow::Owned(format!("{negation}/**")),
            Some(below) => Cow::Owned(format!("{negation}{below}")),
        });
    }
    match roots.iter().any(|other| is_below(place.as_bytes(), other)) {
        true => None,
        false => Some(Cow::Borrowed(text)),
    }
}

fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;

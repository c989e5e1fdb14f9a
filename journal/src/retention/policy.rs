//! The retention policy in force: which ladder a path has.
//!
//! Pure. Patterns are those of [`crate::rules`], with the same matcher; here they do not leave anything out, but say what a
//! ladder is for.

use super::config::Written;
use super::ladder::Ladder;
use crate::rules::{PatternError, Rules};
use crate::types::{self, RootPolicy};
use crate::view::is_below;

/// So many different ladders there are at most.
pub const LADDERS_MAX: usize = 63;

/// One ladder of a policy, or several: then what any of them keeps is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LadderId(u64);

impl LadderId {
    /// None: the beginning of a union.
    pub const NONE: LadderId = LadderId(0);

    fn one(at: usize) -> LadderId {
        LadderId(1 << at.min(LADDERS_MAX))
    }

    /// Both.
    #[must_use]
    pub fn union(self, other: LadderId) -> LadderId {
        LadderId(self.0 | other.0)
    }

    /// Whether the ladder of that number is among them.
    pub fn contains(self, at: usize) -> bool {
        at <= LADDERS_MAX && self.0 & (1 << at) != 0
    }
}

/// What is kept, and for which paths.
#[derive(Clone, Debug)]
pub struct Policy {
    ladders: Vec<Ladder>,
    rules: Vec<(Matcher, LadderId)>,
    /// Roots with a ladder of their own.
    roots: Vec<(Vec<u8>, LadderId)>,
    immutable_minutes: u64,
}

/// The patterns of a rule.
#[derive(Clone, Debug)]
struct Matcher {
    /// Below the roots, to which patterns with a slash in front belong.
    below: Rules,
    /// Below none of them: what was protected once.
    elsewhere: Rules,
}

impl Policy {
    /// Makes what was written ready for the roots that there are.
    ///
    /// # Errors
    /// The first pattern that means nothing.
    pub fn new(written: &Written, roots: &[Vec<u8>]) -> Result<Policy, PatternError> {
        let mut ladders: Vec<Ladder> = vec![written.keep.clone()];
        let mut id = |ladder: &Ladder| match ladders.iter().position(|known| known == ladder) {
            Some(at) => LadderId::one(at),
            None if ladders.len() < LADDERS_MAX => {
                ladders.push(ladder.clone());
                LadderId::one(ladders.len() - 1)
            }
            // More are refused where they are read.
            None => LadderId::one(0),
        };
        let mut rules = Vec::with_capacity(written.rules.len());
        for rule in &written.rules {
            let matcher = |paths: &[Vec<u8>]| {
                let root = |path: &Vec<u8>| RootPolicy { path: path.clone(), ..RootPolicy::default() };
                let roots = paths.iter().map(root).collect();
                Rules::new(&types::Policy { roots, excludes: rule.patterns.clone(), left_out: Vec::new() })
            };
            let matcher = Matcher { below: matcher(roots)?, elsewhere: matcher(&[b"/".to_vec()])? };
            rules.push((matcher, id(&rule.keep)));
        }
        let roots = written.roots.iter().map(|(path, keep)| (path.clone(), id(keep))).collect();
        Ok(Policy { ladders, rules, roots, immutable_minutes: written.immutable_minutes })
    }

    /// The policy that has one ladder for everything.
    pub fn of(ladder: Ladder, immutable_minutes: u64) -> Policy {
        Policy { ladders: vec![ladder], rules: Vec::new(), roots: Vec::new(), immutable_minutes }
    }

    /// The ladder, where there is only one: then no path has to be known.
    pub fn single(&self) -> Option<LadderId> {
        (self.ladders.len() == 1).then(|| LadderId::one(0))
    }

    /// All of them together: what directories have.
    pub fn union(&self) -> LadderId {
        (0..self.ladders.len()).map(LadderId::one).fold(LadderId::NONE, LadderId::union)
    }

    /// The ladder of an absolute path that is no directory: of the first rule that matches it or a directory above it, else of the
    /// innermost root that has one, else the one for everything.
    pub fn ladder_of(&self, path: &[u8]) -> LadderId {
        if let Some(single) = self.single() {
            return single;
        }
        let rule = self.rules.iter().find(|(matcher, _)| matcher.takes(path));
        let root = || {
            let above = self.roots.iter().filter(|(root, _)| is_below(path, root));
            above.max_by_key(|(root, _)| root.len()).map(|(_, id)| *id)
        };
        rule.map(|(_, id)| *id).or_else(root).unwrap_or(LadderId::one(0))
    }

    /// The ladders, in the order of their numbers; the first is the one for everything.
    pub fn ladders(&self) -> &[Ladder] {
        &self.ladders
    }

    /// Each ladder with its number.
    pub fn numbered(&self) -> impl Iterator<Item = (LadderId, &Ladder)> {
        self.ladders.iter().enumerate().map(|(at, ladder)| (LadderId::one(at), ladder))
    }

    /// For so long nothing goes, by what the writer saw pass.
    pub fn immutable_minutes(&self) -> u64 {
        self.immutable_minutes
    }
}

impl Matcher {
    fn takes(&self, path: &[u8]) -> bool {
        match self.below.root_of(path) {
            Some(_) => self.below.leaves_out(path, Some(false)),
            None => self.elsewhere.leaves_out(path, Some(false)),
        }
    }
}

/// Whether a path is held: it or a directory above it is.
pub fn is_held(path: &[u8], holds: &[Vec<u8>]) -> bool {
    holds.iter().any(|held| is_below(path, held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::config::WrittenRule;

    fn ladder(texts: &[&str]) -> Ladder {
        Ladder::parse(texts).expect("a ladder")
    }

    fn policy(rules: &[(&[&str], &[&str])], roots: &[(&str, &[&str])]) -> Policy {
        let rule = |(patterns, keep): &(&[&str], &[&str])| WrittenRule {
            patterns: patterns.iter().map(ToString::to_string).collect(),
            keep: ladder(keep),
        };
        let written = Written {
            rules: rules.iter().map(rule).collect(),
            roots: roots.iter().map(|(path, keep)| (path.as_bytes().to_vec(), ladder(keep))).collect(),
            ..Written::default()
        };
        Policy::new(&written, &[b"/home/u".to_vec(), b"/srv".to_vec()]).expect("a policy")
    }

    #[test]
    fn the_first_rule_counts_then_the_root_then_the_rest() {
        let policy = policy(
            &[(&["*.iso", "/home/u/build/**"], &["1 day"]), (&["/keep", "*.tex"], &["all"])],
            &[("/srv", &["1 hour"]), ("/srv/deep", &["1 week"])],
        );
        let of = |path: &str| {
            let id = policy.ladder_of(path.as_bytes());
            let (_, ladder) = policy.numbered().find(|(known, _)| *known == id).expect("one");
            ladder.steps()[0].to_string()
        };
        assert_eq!(of("/home/u/a.txt"), "all for 2 days");
        assert_eq!(of("/home/u/x/disk.iso"), "1 day");
        assert_eq!(of("/home/u/build/x/a.tex"), "1 day", "the first rule counts");
        assert_eq!(of("/home/u/a.tex"), "all");
        assert_eq!(of("/home/u/keep/b"), "all", "anchored at the root");
        assert_eq!(of("/home/u/x/keep/b"), "all for 2 days");
        assert_eq!(of("/srv/b"), "1 hour");
        assert_eq!(of("/srv/deep/b"), "1 week", "the innermost root");
        assert_eq!(of("/srv/deep/b.iso"), "1 day", "rules before roots");
        assert_eq!(of("/once/protected.iso"), "1 day", "also what is below no root");
        assert_eq!(of("/once/b"), "all for 2 days");
        assert_eq!(policy.ladders().len(), 5);
        assert!(policy.single().is_none());
        assert!((0..5).all(|at| policy.union().contains(at)));
    }

    #[test]
    fn equal_ladders_are_one() {
        let policy = policy(
            &[(
                &["*.iso"],
                &[
                    "all for 2 days",
                    "10 minutes for 7 days",
                    "1 hour for 30 days",
                    "1 day for 365 days",
                    "1 week",
                ],
            )],
            &[],
        );
        assert!(policy.single().is_some());
        assert_eq!(policy.ladder_of(b"/x.iso"), policy.union());
    }

    #[test]
    fn what_is_held_is_so_with_all_below() {
        let holds = [b"/a/b".to_vec()];
        assert!(is_held(b"/a/b", &holds) && is_held(b"/a/b/c", &holds));
        assert!(!is_held(b"/a/bc", &holds) && !is_held(b"/a", &holds));
    }
}

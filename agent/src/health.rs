//! What is not as it should be, since when, and what the journal has to say of it: pure, no I/O, no clock.
//!
//! Owns the conditions that last, their limits, and the gaps that they are in the journal: open while they last, closed
//! when they are over. Does not find out whether anything is wrong and mends nothing; whoever does tells it.

use asof_journal::types::{Gap, GapReason, Instant, Op};
use asof_journal::view::is_below;

use crate::room::Lack;

/// Scopes of one root that are not watched; with one more it is the whole root.
const UNWATCHED_MAX: usize = 64;
/// Conditions in all; with one more the oldest of its kind is not named any more, and its gap stays open until the
/// next start.
const CONDITIONS_MAX: usize = 1024;

/// Something that is not as it should be, as long as it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A root is not there, or is not what was captured.
    RootMissing(Vec<u8>, Missing),
    /// Nothing tells of changes at a path and below; it is looked at again and again.
    Unwatched(Vec<u8>, String),
    /// A directory cannot be listed.
    Unreadable(Vec<u8>, String),
    /// Another filesystem hides what is below a path.
    Hidden(Vec<u8>, String),
    /// A filesystem below a root was never protected.
    Uncovered(Vec<u8>, String),
    /// A root is on a filesystem that other machines change, which sends no events of that.
    Network(Vec<u8>, String),
    /// The journal cannot be written.
    Journal(String),
    /// It has no room, since then: nothing is captured.
    Full(Lack, Instant),
    /// The event source did not answer in time.
    Stalled,
    /// The event source died; another one is watching, and everything is being compared.
    SourceDead,
    /// The configuration could not be read again; what was in force stays.
    Configuration(String),
    /// So many places of the journal are damaged; one of them.
    Damage(usize, String),
}

/// Why a root cannot be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// There is no directory at its path, or another one than the one that was captured.
    Gone,
    /// Another filesystem has its path.
    Unmounted,
    /// It is empty, and another directory than the one that was captured.
    Empty,
    /// It could not be opened, or not be compared to the end.
    Refused,
}

impl Trouble {
    /// Whether two are the same condition, whatever was said of it.
    pub(crate) fn is_same(&self, other: &Trouble) -> bool {
        let same_kind = std::mem::discriminant(self) == std::mem::discriminant(other);
        same_kind && self.scope() == other.scope()
    }

    /// The path that it concerns with everything below; `None` for everything.
    pub(crate) fn scope(&self) -> Option<&[u8]> {
        match self {
            Trouble::RootMissing(path, _)
            | Trouble::Unwatched(path, _)
            | Trouble::Unreadable(path, _)
            | Trouble::Hidden(path, _)
            | Trouble::Uncovered(path, _)
            | Trouble::Network(path, _) => Some(path),
            Trouble::Journal(_) | Trouble::Full(..) | Trouble::Stalled | Trouble::SourceDead => None,
            Trouble::Configuration(_) | Trouble::Damage(..) => None,
        }
    }

    /// Whether something that should be protected is not, so that the state is `degraded`. The others are as the
    /// system or the configuration has them: they are named, and where something is hidden there is a gap.
    pub(crate) fn degrades(&self) -> bool {
        match self {
            Trouble::RootMissing(..) | Trouble::Unwatched(..) | Trouble::Unreadable(..) => true,
            Trouble::Journal(_) | Trouble::Full(..) | Trouble::Stalled | Trouble::SourceDead => true,
            Trouble::Damage(..) => true,
            Trouble::Hidden(..) | Trouble::Uncovered(..) | Trouble::Network(..) => false,
            Trouble::Configuration(_) => false,
        }
    }

    /// The gap that lasts as long as it; `None` where changes are not lost, or where another one says so.
    fn gap(&self) -> Option<(&[u8], GapReason, String)> {
        Some(match self {
            Trouble::RootMissing(path, Missing::Unmounted) => (path, GapReason::Unmounted, String::new()),
            Trouble::RootMissing(path, _) => (path, GapReason::RootMissing, String::new()),
            Trouble::Unwatched(path, text) => (path, GapReason::Unwatched, text.clone()),
            Trouble::Unreadable(path, text) => (path, GapReason::Unreadable, text.clone()),
            Trouble::Hidden(path, text) => (path, GapReason::Unmounted, text.clone()),
            // It concerns everything that is protected, whatever that will be.
            Trouble::Full(lack, _) => (b"/", GapReason::JournalFull, lack.as_str().to_string()),
            Trouble::Uncovered(..) | Trouble::Network(..) | Trouble::Configuration(_) => return None,
            // What was not seen meanwhile is known when it is over.
            Trouble::Journal(_) | Trouble::Stalled | Trouble::SourceDead | Trouble::Damage(..) => {
                return None;
            }
        })
    }

    /// What is wrong, and what helps.
    pub(crate) fn words(&self) -> String {
        let lossy = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match self {
            Trouble::RootMissing(path, Missing::Gone) => {
                format!("{}: the root is not there; it is protected again when it is back", lossy(path))
            }
            Trouble::RootMissing(path, Missing::Unmounted) => format!(
                "{}: another filesystem is mounted there than the one that was captured; the root is protected again \
                 when that is back. If the new one is meant, restart asofd",
                lossy(path)
            ),
            Trouble::RootMissing(path, Missing::Empty) => format!(
                "{}: an empty directory, not the one that was captured; is its filesystem not mounted? It is compared \
                 when something is in it",
                lossy(path)
            ),
            Trouble::RootMissing(path, Missing::Refused) => format!(
                "{}: the root could not be compared; the log says why. It is tried again when it can be listed",
                lossy(path)
            ),
            Trouble::Unwatched(path, text) if path.is_empty() => text.clone(),
            Trouble::Unwatched(path, text) => {
                format!("{}: not watched, looked at from time to time: {text}", lossy(path))
            }
            Trouble::Unreadable(path, text) => {
                format!(
                    "{}: cannot be read: {text}; let asofd read it, or leave it out with exclude",
                    lossy(path)
                )
            }
            Trouble::Hidden(path, text) => format!(
                "{}: {text} is mounted there; what it hides is unavailable, and what is in it is not protected",
                lossy(path)
            ),
            Trouble::Uncovered(path, text) => format!("{}: not protected: {text}", lossy(path)),
            Trouble::Network(path, text) => format!(
                "{}: on {text}: changes that other machines make are seen at the next comparison only",
                lossy(path)
            ),
            Trouble::Journal(text) => format!("the journal cannot be written: {text}"),
            Trouble::Full(lack, since) => {
                format!("nothing is captured since {}: {}", since.to_rfc3339(), lack.words())
            }
            Trouble::SourceDead => {
                "the event source died; another one has taken its place, and everything is compared"
                    .to_string()
            }
            Trouble::Configuration(text) => {
                format!("the configuration could not be read again and stays as it was: {text}")
            }
            Trouble::Damage(places, example) => format!(
                "the journal is damaged, places: {places} ({example}): `asof verify --deep` says what that costs; stop \
                 asofd and run `asof verify --repair` to mend what can be mended"
            ),
            Trouble::Stalled => "the event source does not answer in time".to_string(),
        }
    }
}

#[derive(Clone, Debug)]
struct Condition {
    trouble: Trouble,
    since: Instant,
    polled_ns: u64,
}

impl Condition {
    fn gap(&self, until: Instant) -> Option<Op> {
        let (scope, reason, detail) = self.trouble.gap()?;
        Some(Op::Gap(Gap { scope: scope.to_vec(), from: self.since, until, reason, detail }))
    }
}

/// Everything that is wrong now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    conditions: Vec<Condition>,
}

impl Health {
    /// Notes that something is wrong. Gives what the journal has to say of it; `None` where that is known already.
    pub(crate) fn begin(
        &mut self,
        trouble: Trouble,
        since: Instant,
        now_ns: u64,
        roots: &[Vec<u8>],
    ) -> Option<Vec<Op>> {
        let mut ops = Vec::new();
        let trouble = match trouble {
            Trouble::Unwatched(path, text) => self.widened(path, text, since, roots, &mut ops)?,
            other => other,
        };
        if let Some(known) = self.conditions.iter_mut().find(|known| known.trouble.is_same(&trouble)) {
            known.trouble = trouble;
            return (!ops.is_empty()).then_some(ops);
        }
        let condition = Condition { trouble, since, polled_ns: now_ns };
        ops.extend(condition.gap(Gap::OPEN));
        if self.conditions.len() >= CONDITIONS_MAX {
            let kind = std::mem::discriminant(&condition.trouble);
            let oldest =
                self.conditions.iter().position(|known| std::mem::discriminant(&known.trouble) == kind);
            self.conditions.remove(oldest.unwrap_or(0));
        }
        self.conditions.push(condition);
        Some(ops)
    }

    /// What is not watched as one scope, where there are too many below one root. `None` where a scope above has it.
    fn widened(
        &mut self,
        path: Vec<u8>,
        text: String,
        since: Instant,
        roots: &[Vec<u8>],
        ops: &mut Vec<Op>,
    ) -> Option<Trouble> {
        let root = roots.iter().find(|root| is_below(&path, root))?.clone();
        if self.unwatched().any(|known| known != path && is_below(&path, known)) {
            return None;
        }
        let below = |known: &Condition, scope: &[u8]| match &known.trouble {
            Trouble::Unwatched(path, _) => is_below(path, scope),
            _ => false,
        };
        let crowded = self.conditions.iter().filter(|known| below(known, &root)).count() >= UNWATCHED_MAX;
        let scope = if crowded { root } else { path };
        // Those below are part of it from now on.
        for part in self.conditions.extract_if(.., |known| below(known, &scope) && !is_at(known, &scope)) {
            ops.extend(part.gap(since));
        }
        Some(Trouble::Unwatched(scope, text))
    }

    /// Notes that it is over. Gives the ends of its gaps.
    pub(crate) fn end(&mut self, is_over: impl Fn(&Trouble) -> bool, until: Instant) -> Vec<Op> {
        self.conditions
            .extract_if(.., |known| is_over(&known.trouble))
            .filter_map(|over| over.gap(until.max(over.since)))
            .collect()
    }

    /// Whether that is wrong now.
    pub(crate) fn has(&self, is_it: impl Fn(&Trouble) -> bool) -> bool {
        self.conditions.iter().any(|known| is_it(&known.trouble))
    }

    /// Everything that is wrong.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.conditions.iter().map(|known| &known.trouble)
    }

    /// Gaps that are open.
    pub(crate) fn open_gaps(&self) -> u64 {
        self.troubles().filter(|trouble| trouble.gap().is_some()).count() as u64
    }

    /// Whether a gap in the journal is that of a condition that lasts.
    pub(crate) fn explains(&self, gap: &Gap) -> bool {
        let of = |known: &Condition| known.gap(Gap::OPEN);
        self.conditions.iter().filter_map(of).any(|op| matches!(op, Op::Gap(own) if own.supersedes(gap)))
    }

    /// What is looked at because nothing tells of changes there.
    pub(crate) fn unwatched(&self) -> impl Iterator<Item = &[u8]> {
        self.troubles().filter_map(|trouble| match trouble {
            Trouble::Unwatched(path, _) => Some(&path[..]),
            _ => None,
        })
    }

    /// What is to be looked at again now: what is not watched, and what could not be read or compared.
    pub(crate) fn take_polls(&mut self, now_ns: u64, every_ns: u64) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for known in &mut self.conditions {
            let (Trouble::Unwatched(path, _) | Trouble::Unreadable(path, _)) = &known.trouble else {
                continue;
            };
            if now_ns.saturating_sub(known.polled_ns) >= every_ns {
                known.polled_ns = now_ns;
                due.push(path.clone());
            }
        }
        due
    }
}

fn is_at(known: &Condition, scope: &[u8]) -> bool {
    known.trouble.scope() == Some(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOTS: [&[u8]; 2] = [b"/r", b"/s"];

    fn begin(health: &mut Health, trouble: Trouble, since: i64) -> Option<Vec<Op>> {
        health.begin(trouble, Instant(since), since.unsigned_abs(), &ROOTS.map(<[u8]>::to_vec))
    }

    fn unwatched(path: &str) -> Trouble {
        Trouble::Unwatched(path.into(), "the limit".into())
    }

    fn gaps(ops: Vec<Op>) -> Vec<(String, i64, i64)> {
        let gap = |op| match op {
            Op::Gap(gap) => Some((String::from_utf8(gap.scope).ok()?, gap.from.0, gap.until.0)),
            _ => None,
        };
        ops.into_iter().filter_map(gap).collect()
    }

    #[test]
    fn a_condition_is_one_gap_from_its_beginning_to_its_end() {
        let mut health = Health::default();
        let ops = begin(&mut health, unwatched("/r/a"), 10).expect("new");
        assert_eq!(gaps(ops), [("/r/a".to_string(), 10, i64::MAX)]);
        assert_eq!(begin(&mut health, unwatched("/r/a"), 20), None, "known already");
        assert_eq!(begin(&mut health, unwatched("/r/a/b"), 20), None, "part of it");
        assert_eq!(begin(&mut health, unwatched("/elsewhere"), 20), None, "no root of ours");
        assert_eq!((health.open_gaps(), health.has(Trouble::degrades)), (1, true));
        let over = health.end(|trouble| trouble.is_same(&unwatched("/r/a")), Instant(30));
        assert_eq!(gaps(over), [("/r/a".to_string(), 10, 30)]);
        assert_eq!((health.open_gaps(), health.troubles().count()), (0, 0));
    }

    #[test]
    fn too_many_scopes_become_their_root_and_no_gap_is_left_open() {
        let mut health = Health::default();
        let mut open = std::collections::BTreeSet::new();
        for number in 0..200 {
            let trouble = unwatched(&format!("/r/{number}"));
            for gap in gaps(begin(&mut health, trouble, number).unwrap_or_default()) {
                match gap.2 {
                    i64::MAX => assert!(open.insert((gap.0, gap.1))),
                    _ => assert!(open.remove(&(gap.0, gap.1))),
                }
            }
        }
        begin(&mut health, unwatched("/s/x"), 500).expect("another root");
        assert_eq!(health.unwatched().collect::<Vec<_>>(), [&b"/r"[..], b"/s/x"]);
        assert_eq!(open.into_iter().collect::<Vec<_>>(), [("/r".to_string(), 64)]);
    }

    #[test]
    fn what_is_not_watched_or_not_readable_is_polled_and_nothing_else() {
        let mut health = Health::default();
        begin(&mut health, unwatched("/r/a"), 0);
        begin(&mut health, Trouble::Unreadable(b"/r/b".to_vec(), "EACCES".into()), 5);
        begin(&mut health, Trouble::RootMissing(b"/s".to_vec(), Missing::Gone), 5);
        begin(&mut health, Trouble::Stalled, 5);
        assert_eq!(health.take_polls(9, 10), Vec::<Vec<u8>>::new());
        assert_eq!(health.take_polls(12, 10), [b"/r/a".to_vec()]);
        assert_eq!(health.take_polls(16, 10), [b"/r/b".to_vec()]);
        assert_eq!(health.take_polls(22, 10), [b"/r/a".to_vec()]);
    }

    #[test]
    fn what_the_system_has_so_is_named_and_degrades_nothing() {
        let mut health = Health::default();
        let ops = begin(&mut health, Trouble::Network(b"/r".to_vec(), "nfs".into()), 0);
        assert_eq!(ops, Some(Vec::new()));
        assert!(!health.has(Trouble::degrades));
        assert_eq!(health.troubles().count(), 1);
    }
}

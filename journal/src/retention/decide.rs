//! What becomes of each record of a timeline: it is kept, or it goes, and where the unknown has to be marked.
//!
//! Pure. A timeline has all records of one name, or of one node, the newest last. To decide again on what is left gives the
//! same.

use super::{Keeper, LadderId, Span, Why};
use crate::index::keys::Bound;
use crate::types::{Seq, Unbound};

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep(Why),
    /// It goes.
    Drop,
    /// It goes, and a marker takes its place: from there to the next record it is not known what was.
    Marker,
}

impl Verdict {
    /// Whether the record stays as it is.
    pub fn keeps(self) -> bool {
        matches!(self, Verdict::Keep(_))
    }
}

/// What a name stands for from one `Seq` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingAt {
    /// From when on.
    pub seq: Seq,
    /// What it is.
    pub state: State,
}

/// What a name stands for, as far as keeping it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A node.
    Present,
    /// Nothing any more.
    Gone {
        /// Whether what was there is gone with the name, which may have been its last state; else it has another name now.
        deleted: bool,
    },
    /// It is not known: something stood here and went.
    Thinned,
}

impl State {
    /// What a binding says.
    pub fn of(bound: &Bound) -> State {
        match bound {
            Bound::To { .. } => State::Present,
            Bound::Gone { why: Unbound::Thinned, .. } => State::Thinned,
            Bound::Gone { why, .. } => State::Gone {
                deleted: match why {
                    Unbound::Deleted | Unbound::Uncovered | Unbound::Unread => true,
                    Unbound::Moved | Unbound::Thinned => false,
                },
            },
        }
    }
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It has a name.
    NotYet,
    /// Another node took its last name then: what it was last is the state before that, and no more.
    Replaced(Seq),
    /// Its last name was deleted then, or is no longer protected.
    Deleted(Seq),
}

/// What stands before the records that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Nothing,
    Absent,
    Present,
}

/// Marks a run of records that go, once and only where something was known before it: where nothing is, or a name is gone, none
/// has to be.
#[derive(Debug)]
struct Run {
    behind: Behind,
    marked: bool,
}

impl Run {
    fn new() -> Run {
        Run { behind: Behind::Nothing, marked: false }
    }

    fn keep(&mut self, why: Why, behind: Behind) -> Verdict {
        *self = Run { behind, marked: false };
        Verdict::Keep(why)
    }

    fn drop(&mut self) -> Verdict {
        if self.behind != Behind::Present || self.marked {
            return Verdict::Drop;
        }
        self.marked = true;
        Verdict::Marker
    }
}

/// What becomes of the bindings of a name. `held` says whether its path is.
///
/// A binding right before a deletion is kept. What ends a kept binding is, too, since a marker would stand there else. A name that
/// is gone is kept only behind something that is kept: where nothing is known, it was not there anyway.
pub fn bindings(keeper: &Keeper, ladder: LadderId, held: bool, timeline: &[BindingAt]) -> Vec<Verdict> {
    let mut run = Run::new();
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(timeline.len());
    for (at, record) in timeline.iter().enumerate() {
        let next = timeline.get(at + 1);
        let kept = || match held {
            true => Some(Why::Held),
            false => keeper.keeps(ladder, Span { from: record.seq, until: next.map(|next| next.seq) }),
        };
        let verdict = match record.state {
            State::Thinned => run.drop(),
            State::Present => {
                let last = matches!(next, Some(BindingAt { state: State::Gone { deleted: true }, .. }));
                match kept().or(last.then_some(Why::BeforeDeletion)) {
                    Some(why) => run.keep(why, Behind::Present),
                    None => run.drop(),
                }
            }
            State::Gone { .. } => {
                let before = at.checked_sub(1);
                let ends =
                    before.and_then(|at| timeline.get(at)).is_some_and(|it| it.state == State::Present)
                        && before.and_then(|at| verdicts.get(at)).is_some_and(|verdict| verdict.keeps());
                let recent = record.seq > keeper.immutable_after();
                let why = match (kept(), run.behind) {
                    (Some(why), _) if recent || why == Why::Immutable || why == Why::Held => Some(why),
                    (_, Behind::Nothing) => None,
                    (Some(why), _) => Some(why),
                    (None, _) => ends.then_some(Why::End),
                };
                match why {
                    Some(why) => run.keep(why, Behind::Absent),
                    None => run.drop(),
                }
            }
        };
        verdicts.push(verdict);
    }
    verdicts
}

/// The same where only some records can go now, those of the segments that are written anew: the others stay, whatever becomes
/// of them later. What goes behind one that stays is marked, so that this one is not taken for what was there then; a name
/// that is gone stays behind it for the same reason.
pub fn confine(timeline: &[BindingAt], verdicts: &mut [Verdict], can_go: &dyn Fn(Seq) -> bool) {
    let mut run = Run::new();
    for (record, verdict) in timeline.iter().zip(verdicts) {
        let stays = verdict.keeps() || !can_go(record.seq);
        match (record.state, stays) {
            (State::Thinned, true) => run.marked = true,
            (State::Present, true) => run = Run { behind: Behind::Present, marked: false },
            (State::Gone { .. }, true) => run = Run { behind: Behind::Absent, marked: false },
            (State::Gone { .. }, false) if run.behind == Behind::Present => {
                *verdict = run.keep(Why::End, Behind::Absent);
            }
            (_, false) => *verdict = run.drop(),
        }
    }
}

/// The same for the versions of a node.
pub fn confine_versions(timeline: &[Seq], verdicts: &mut [Verdict], can_go: &dyn Fn(Seq) -> bool) {
    let mut run = Run::new();
    for (seq, verdict) in timeline.iter().zip(verdicts) {
        match verdict.keeps() || !can_go(*seq) {
            true => run = Run { behind: Behind::Present, marked: false },
            false => *verdict = run.drop(),
        }
    }
}

/// What becomes of the versions of a node. `ladder` is that of all paths that it had, `held` says whether any is. A marker that
/// stands there from before counts as a version: nothing keeps it either, and one takes its place.
pub fn versions(
    keeper: &Keeper,
    ladder: LadderId,
    held: bool,
    timeline: &[Seq],
    ended: Ended,
) -> Vec<Verdict> {
    let mut run = Run::new();
    let mut verdicts = Vec::with_capacity(timeline.len());
    for (at, from) in timeline.iter().copied().enumerate() {
        let next = timeline.get(at + 1).copied();
        let (until, last) = match (next, ended) {
            (Some(next), _) => (Some(next), false),
            (None, Ended::NotYet) => (None, false),
            (None, Ended::Replaced(seq)) => (Some(seq), false),
            (None, Ended::Deleted(seq)) => (Some(seq), true),
        };
        let why = match held {
            true => Some(Why::Held),
            false => keeper.keeps(ladder, Span { from, until }).or(last.then_some(Why::BeforeDeletion)),
        };
        verdicts.push(match why {
            Some(why) => run.keep(why, Behind::Present),
            None => run.drop(),
        });
    }
    verdicts
}

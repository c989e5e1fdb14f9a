//! What is left of a run of segments: which operations stay, and where a marker says that something went.
//!
//! Reads the run and the timelines in the index. Records outside the run stay for now, whatever the policy says of them, and
//! markers are set by what is really left.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::error::Error;
use crate::format::batch::{Batch, BlockFrame, Left};
use crate::format::op::take_version;
use crate::format::wire::whole;
use crate::index::Cf;
use crate::index::keys::{self, Bound};
use crate::records::Records;
use crate::recovery;
use crate::retention::survey::{self, Terms};
use crate::retention::{BindingAt, Ended, LadderId, State, Verdict, bindings, versions};
use crate::segments::{Damage, SegmentFile, SegmentSet, Walked, walk_batches};
use crate::types::{BlockId, Content, Extent, Group, Kind, NodeId, Op, SegmentId, Seq, Unbound, Version};

/// Why a run is not compacted.
pub(super) enum Refusal {
    /// Something in it does not hold.
    Damaged(Damage),
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

/// What is left of a run.
pub(super) struct Decided {
    /// The commits of which something is left; without blocks.
    pub commits: Vec<Batch>,
    /// The first `Seq` of the run.
    pub first_seq: Seq,
    /// The last one.
    pub last_seq: Seq,
    /// Versions that go, markers in their places included.
    pub dropped: HashSet<(NodeId, Seq)>,
    /// How many versions go; markers of before are none.
    pub versions: u64,
    /// How many changes of names go: all that one observation says of a name is one.
    pub bindings: u64,
    /// The frames of content by segment, as their batches describe them.
    pub frames: Vec<(SegmentId, BlockFrame)>,
    /// Roughly how many bytes of each segment go, if nobody outside the run refers to them.
    pub going: HashMap<SegmentId, u64>,
    /// How many operations there were.
    pub ops: u64,
}

impl Decided {
    /// Roughly how many bytes of a segment go.
    pub(super) fn going_of(&self, segment: SegmentId) -> u64 {
        self.going.get(&segment).copied().unwrap_or(0)
    }

    /// The same of all of it.
    pub(super) fn all_going(&self) -> u64 {
        self.going.values().sum()
    }
}

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// It goes, and a marker that names what stood there before takes its place.
    Mark(NodeId, Kind),
}

/// What becomes of the records of a timeline that do not stay. Of those that do nothing is held: over years they are most of it, and
/// all timelines of a run are held at a time.
type Fates = HashMap<Seq, Fate>;

struct Decider<'r, 't, 'p> {
    records: &'r Records,
    terms: &'t mut Terms<'p>,
    run: (Seq, Seq),
    now: Seq,
    names: HashMap<(NodeId, Vec<u8>), Rc<Fates>>,
    nodes: HashMap<NodeId, Rc<NodeFate>>,
}

#[derive(Default)]
struct NodeFate {
    versions: Fates,
    /// Whether anything of the node stays.
    stays: bool,
}

/// A segment of the run, but for content.
struct Part {
    segment: SegmentId,
    /// The batches of the run up to its end.
    batches: usize,
    /// Bytes that records take, and what describes frames.
    records: u64,
    /// Operations in it, and those that are left.
    before: u64,
    after: u64,
}

/// Reads a segment that must be whole: its commits, without what they say of frames, and the frames.
pub(super) fn commits_of(
    set: &SegmentSet,
    segment: &SegmentFile,
    frames: &mut Vec<(SegmentId, BlockFrame)>,
    commits: &mut Vec<Batch>,
) -> Result<(), Refusal> {
    let end = recovery::end_of(set, segment)?;
    let mut damage = None;
    walk_batches(segment, segment.start, segment.first_chain(), end, &mut |walked| {
        match walked {
            Walked::Batch(mut batch, _) => {
                let described = std::mem::take(&mut batch.blocks).into_iter();
                frames.extend(described.map(|frame| (segment.id, frame)));
                // One that only had content on its way is no commit.
                if batch.left.is_some() || !batch.groups.is_empty() {
                    commits.push(*batch);
                }
            }
            Walked::Damage(found) => drop(damage.get_or_insert(found)),
            Walked::Orphan(frame) => {
                let at = crate::types::Position { segment: segment.id, offset: frame.offset };
                let what = "no batch speaks of this frame".to_string();
                let len = frame.header.frame_len();
                damage.get_or_insert(Damage { path: segment.path.clone(), at, len, what });
            }
        }
        Ok(())
    })?;
    damage.map_or(Ok(()), |damage| Err(Refusal::Damaged(damage)))
}

/// Decides what stays of neighbouring segments as of `now`.
pub(super) fn decide(
    records: &Records,
    terms: &mut Terms<'_>,
    set: &SegmentSet,
    run: &[Arc<SegmentFile>],
    now: Seq,
) -> Result<Decided, Refusal> {
    let mut batches = Vec::new();
    let mut frames = Vec::new();
    let mut parts = Vec::with_capacity(run.len());
    for segment in run {
        let frames_before = frames.len();
        commits_of(set, segment, &mut frames, &mut batches)?;
        let of_it = frames.get(frames_before..).unwrap_or_default();
        let content: u64 = of_it.iter().map(|(_, frame): &(_, BlockFrame)| u64::from(frame.stored_len)).sum();
        let records = segment.len()?.saturating_sub(content);
        parts.push(Part { segment: segment.id, batches: batches.len(), records, before: 0, after: 0 });
    }
    let first_seq = run.first().map_or(Seq::ZERO, |segment| segment.header.first_seq);
    let stands_for = run.iter().filter_map(|segment| segment.header.compacted).map(|it| it.last_seq).max();
    let last_seq = batches.iter().map(Batch::last_seq).max().max(stands_for).unwrap_or(first_seq.previous());
    let (names, nodes) = (HashMap::new(), HashMap::new());
    let mut decider = Decider { records, terms, run: (first_seq, last_seq), now, names, nodes };
    Ok(decider.decide(batches, frames, parts)?)
}

impl Decider<'_, '_, '_> {
    fn decide(
        &mut self,
        batches: Vec<Batch>,
        frames: Vec<(SegmentId, BlockFrame)>,
        mut parts: Vec<Part>,
    ) -> crate::error::Result<Decided> {
        let (first_seq, last_seq) = self.run;
        let last_mark = batches
            .iter()
            .flat_map(|batch| batch.numbered())
            .filter(|(_, group)| group.ops.iter().any(|op| matches!(op, Op::Mark(_))))
            .map(|(seq, _)| seq)
            .max();
        let ladders: Vec<LadderId> = self.terms.policy().numbered().map(|(id, _)| id).collect();
        let mut decided = Decided {
            commits: Vec::new(),
            first_seq,
            last_seq,
            dropped: HashSet::new(),
            versions: 0,
            bindings: 0,
            frames,
            going: HashMap::new(),
            ops: 0,
        };
        let (mut going, mut staying): (HashSet<BlockId>, HashSet<BlockId>) = (HashSet::new(), HashSet::new());
        let mut part = parts.iter_mut().peekable();
        let mut from = first_seq;
        let count = batches.len();
        let epochs: Vec<u32> = batches.iter().map(|batch| batch.epoch).collect();
        for (at, batch) in batches.into_iter().enumerate() {
            // Without the edges of an epoch nobody could tell how long it was.
            let other = |at: Option<&u32>| at.is_none_or(|epoch| *epoch != batch.epoch);
            let edge = other(at.checked_sub(1).and_then(|at| epochs.get(at))) || other(epochs.get(at + 1));
            let last = batch.last_seq();
            let was_kept = batch.left.as_ref().is_none_or(|left| left.kept);
            let kept = was_kept && ladders.iter().all(|ladder| self.terms.keeper.is_kept(*ladder, last));
            let (mut groups, mut seqs) = (Vec::new(), Vec::new());
            while part.next_if(|part| part.batches <= at).is_some() {}
            let mut count_ops = |before: usize, after: usize| {
                if let Some(part) = part.peek_mut() {
                    part.before += before as u64;
                    part.after += after as u64;
                }
            };
            for (seq, group) in batch.numbered() {
                let ops = self.left_of(seq, &group.ops, last_mark, &mut decided)?;
                count_ops(group.ops.len(), ops.len());
                for op in &group.ops {
                    let Op::Version { node, version } = op else { continue };
                    let gone = decided.dropped.contains(&(*node, seq));
                    let set = if gone { &mut going } else { &mut staying };
                    set.extend(blocks_of(version));
                }
                if !ops.is_empty() {
                    groups.push(Group { ops, hinted: group.hinted, read: group.read });
                    seqs.push(seq);
                }
            }
            if groups.is_empty() && !kept && !edge && at + 1 < count {
                continue;
            }
            let last_seq = if at + 1 < count { last } else { decided.last_seq };
            let left = Some(Left { last_seq, seqs, kept, whole: false });
            decided.commits.push(Batch { first_seq: from, groups, blocks: Vec::new(), left, ..batch });
            from = last_seq.next();
        }
        let stored = stored_bytes(&decided.frames);
        for (segment, bytes) in going.difference(&staying).filter_map(|id| stored.get(id)) {
            *decided.going.entry(*segment).or_default() += bytes;
        }
        for part in parts {
            decided.ops += part.before;
            let gone = part.before.saturating_sub(part.after);
            *decided.going.entry(part.segment).or_default() += part.records * gone / part.before.max(1);
        }
        Ok(decided)
    }

    /// What is left of the operations of a group.
    fn left_of(
        &mut self,
        seq: Seq,
        ops: &[Op],
        last_mark: Option<Seq>,
        decided: &mut Decided,
    ) -> crate::error::Result<Vec<Op>> {
        let mut left = Vec::with_capacity(ops.len());
        let mut gone: HashSet<(NodeId, &[u8])> = HashSet::new();
        let mut bound: HashSet<NodeId> = HashSet::new();
        for op in ops {
            match op {
                Op::Bind { dir, name, .. } | Op::Unbind { dir, name, .. } => {
                    let fate = self.name(*dir, name)?.get(&seq).copied().unwrap_or(Fate::Keep);
                    match fate {
                        Fate::Keep => {
                            if let Op::Bind { node, .. } = op {
                                bound.insert(*node);
                            }
                            left.push(op.clone());
                        }
                        Fate::Drop | Fate::Mark(..) if !gone.insert((*dir, name)) => {}
                        Fate::Drop | Fate::Mark(..) => {
                            let is_marker = matches!(op, Op::Unbind { why: Unbound::Thinned, .. });
                            decided.bindings += u64::from(!is_marker);
                            if let Fate::Mark(node, kind) = fate {
                                let (dir, name, why) = (*dir, name.clone(), Unbound::Thinned);
                                left.push(Op::Unbind { dir, name, node, kind, why });
                            }
                        }
                    }
                }
                Op::Version { node, version } => {
                    let fate = self.node(*node)?.versions.get(&seq).copied().unwrap_or(Fate::Keep);
                    if fate == Fate::Keep {
                        left.push(op.clone());
                        continue;
                    }
                    let is_new = decided.dropped.insert((*node, seq));
                    decided.versions += u64::from(is_new && version.content != Content::Thinned);
                    // A name that stays does not stand for something that was never captured.
                    if fate != Fate::Drop || bound.contains(node) {
                        let version = Version { content: Content::Thinned, racy: false, ..version.clone() };
                        left.push(Op::Version { node: *node, version });
                    }
                }
                Op::Identify { node, .. } => {
                    if self.node(*node)?.stays {
                        left.push(op.clone());
                    }
                }
                // Idle time is told by the commits that are left.
                Op::Mark(_) => {
                    if Some(seq) == last_mark {
                        left.push(op.clone());
                    }
                }
                Op::Gap(_)
                | Op::Policy(_)
                | Op::Loss(_)
                | Op::Name(_)
                | Op::Restore(_)
                | Op::Hold(_)
                | Op::Release(_)
                | Op::Forgotten(_) => left.push(op.clone()),
            }
        }
        Ok(left)
    }

    /// Whether a record is the run's to take away: it lies in it, and so does its end. One that was still valid behind the run is
    /// part of every state there, of which the segments say that it is whole.
    fn may_go(&self, seq: Seq, until: Option<Seq>) -> bool {
        self.run.0 <= seq && until.is_some_and(|until| until <= self.run.1)
    }

    /// What becomes of the bindings of a name.
    fn name(&mut self, dir: NodeId, name: &[u8]) -> crate::error::Result<Rc<Fates>> {
        let key = (dir, name.to_vec());
        if let Some(known) = self.names.get(&key) {
            return Ok(known.clone());
        }
        let damage = self.records.index_damage(Cf::Binding);
        let mut records: Vec<(Seq, Bound)> = Vec::new();
        let mut scan = self.records.store.scan(Cf::Binding, &keys::binding_name(dir, name))?;
        while let Some((key, value)) = scan.item() {
            let (_, seq) = keys::parse_binding(key).map_err(&damage)?;
            records.push((seq, Bound::decode(value).map_err(&damage)?));
            scan.advance()?;
        }
        records.retain(|(seq, _)| *seq <= self.now);
        records.reverse();
        let is_dir = records.iter().any(|(_, bound)| matches!(bound, Bound::To { kind, .. } | Bound::Gone { kind, .. } if *kind == Kind::Dir));
        let (ladder, held) = self.terms.of(self.records, is_dir, [(dir, name)])?;
        let timeline: Vec<BindingAt> =
            records.iter().map(|(seq, bound)| BindingAt { seq: *seq, state: State::of(bound) }).collect();
        let verdicts = bindings(self.terms.keeper, ladder, held, &timeline);
        let mut fates = HashMap::new();
        // What stands before a record once the others have gone: a node, or nothing that a marker would be needed for.
        let mut before: Option<(NodeId, Kind)> = None;
        for (at, ((seq, bound), verdict)) in records.iter().zip(&verdicts).enumerate() {
            let until = records.get(at + 1).map(|(next, _)| *next);
            let is_gone = matches!(bound, Bound::Gone { why, .. } if *why != Unbound::Thinned);
            // That a name is gone is said where it was there before, and nothing has said so yet.
            let says_so = is_gone
                && before.is_some()
                && self.terms.keeper.keeps(ladder, crate::retention::Span { from: *seq, until }).is_some();
            let fate = if !self.may_go(*seq, until) || verdict.keeps() || says_so {
                Fate::Keep
            } else {
                before.map_or(Fate::Drop, |(node, kind)| Fate::Mark(node, kind))
            };
            before = match (fate, bound) {
                (Fate::Keep, Bound::To { node, kind, .. }) => Some((*node, *kind)),
                _ => None,
            };
            if fate != Fate::Keep {
                fates.insert(*seq, fate);
            }
        }
        let fates = Rc::new(fates);
        self.names.insert(key, fates.clone());
        Ok(fates)
    }

    /// What becomes of the versions of a node.
    fn node(&mut self, node: NodeId) -> crate::error::Result<Rc<NodeFate>> {
        if let Some(known) = self.nodes.get(&node) {
            return Ok(known.clone());
        }
        let damage = self.records.index_damage(Cf::Version);
        let mut records: Vec<(Seq, bool)> = Vec::new();
        let mut is_dir = false;
        let mut scan = self.records.store.scan(Cf::Version, &keys::node(node))?;
        while let Some((key, value)) = scan.item() {
            let version = whole(value, take_version).map_err(&damage)?;
            is_dir |= version.meta.kind == Kind::Dir;
            let seq = keys::parse_node_seq(key).map_err(&damage)?;
            records.push((seq, version.content == Content::Thinned));
            scan.advance()?;
        }
        records.retain(|(seq, _)| *seq <= self.now);
        records.reverse();
        let links = survey::links_of_node(self.records, node)?;
        let names: Vec<(NodeId, &[u8])> =
            links.iter().map(|(_, linked)| (linked.dir, linked.name.as_slice())).collect();
        let (ladder, held) = self.terms.of(self.records, is_dir, names)?;
        let ended = survey::ended(self.records, node, &links)?;
        let timeline: Vec<Seq> = records.iter().map(|(seq, _)| *seq).collect();
        let verdicts = versions(self.terms.keeper, ladder, held, &timeline, ended);
        let mut fate = NodeFate { stays: records.is_empty(), ..NodeFate::default() };
        let mut known = false;
        let end = match ended {
            Ended::NotYet => None,
            Ended::Replaced(seq) | Ended::Deleted(seq) => Some(seq),
        };
        for (at, ((seq, is_marker), verdict)) in records.iter().zip(&verdicts).enumerate() {
            let until = records.get(at + 1).map(|(next, _)| *next).or(end);
            let keeps = !self.may_go(*seq, until) || verdict.keeps();
            let of = match (keeps, known) {
                (true, _) => Fate::Keep,
                (false, true) => Fate::Mark(node, Kind::File),
                (false, false) => Fate::Drop,
            };
            known = keeps && !is_marker;
            if of != Fate::Keep {
                fate.versions.insert(*seq, of);
            }
        }
        fate.stays |= verdicts.iter().any(|verdict| matches!(verdict, Verdict::Keep(_)));
        let fate = Rc::new(fate);
        self.nodes.insert(node, fate.clone());
        Ok(fate)
    }
}

/// The blocks that a version refers to itself.
fn blocks_of(version: &Version) -> impl Iterator<Item = BlockId> + '_ {
    let extents: &[Extent] = match &version.content {
        Content::Extents(extents) => extents,
        _ => &[],
    };
    extents.iter().filter_map(|extent| match extent {
        Extent::Block { id, .. } | Extent::List { id, .. } => Some(*id),
        Extent::Hole { .. } => None,
    })
}

/// Where each block lies, and the stored bytes that it accounts for.
fn stored_bytes(frames: &[(SegmentId, BlockFrame)]) -> HashMap<BlockId, (SegmentId, u64)> {
    let mut stored = HashMap::new();
    for (segment, frame) in frames {
        let raw: u64 = frame.members.iter().map(|(_, len)| u64::from(*len)).sum();
        for (id, len) in &frame.members {
            let share = u64::from(frame.stored_len) * u64::from(*len) / raw.max(1);
            stored.insert(*id, (*segment, share));
        }
    }
    stored
}

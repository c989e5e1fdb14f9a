//! Forgetting: the segments that tell of it are written anew without it, whatever the policy says, and so is the index.
//!
//! The same steps as for a policy, in the same order, so that a crash at any of them loses nothing else; a file remembers what was begun
//! (`forget/order.rs`) until its last trace is gone. Blocks that go may not be referred to anew meanwhile, and a delta that stays gets
//! another base before the one that goes is gone.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::decide::{Decided, Refusal, commits_of};
use super::live::Ids;
use super::{Compactor, USERS_WAIT, live, retire};
use crate::blocks::Locate;
use crate::error::{Error, Result};
use crate::forget::{Order, Pending, Plan, Purge, dependents};
use crate::format::batch::Left;
use crate::recovery;
use crate::segments::{Damage, SegmentFile, SegmentSet, Walked, walk_batches};
use crate::types::{BlockId, ForgetBegun, ForgetOutcome, Forgotten, Group, Instant, Op, SegmentId, Seq};
use crate::view::{is_below, related};

/// Blocks of the segments that are rewritten anyway, and that nothing refers to, go too: as many as this are looked at.
const SUSPECTS_MAX: usize = 1 << 20;
/// Each pass leaves less; what is left then waits for somebody.
const PASSES_MAX: usize = 8;
/// So often it is looked whether anything came meanwhile.
const ROUNDS_MAX: usize = 3;

/// What forgetting did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// What went.
    pub outcome: ForgetOutcome,
    /// Segments that were written anew.
    pub segments: u64,
    /// Old segments whose files are still there, for readers that began before.
    pub waiting: u64,
    /// What was found damaged: its segments stay as they are, with what is to be forgotten in them.
    pub damage: Vec<Damage>,
    /// Segments that still have something to forget: it has not come to its end.
    pub left: u64,
    /// Whether there was not enough room to write them anew.
    pub short_of_room: bool,
}

/// Commits an operation in a new segment, and gives its `Seq` once that is durable.
pub type Note<'n> = &'n mut dyn FnMut(Op) -> Result<Seq>;

/// What a walk through the segments found.
#[derive(Default)]
struct Met {
    /// Segments that have something to forget, the newest first.
    touched: Vec<SegmentId>,
    /// Blocks that lie in those with records that go.
    suspects: HashSet<BlockId>,
    damage: Vec<Damage>,
}

/// What became of a run.
enum Rewritten {
    /// So many blocks went.
    Without(u64),
    /// It has to stay as it is.
    Refused,
    /// It can go with the segment behind it once nobody writes to that.
    Later,
}

impl Compactor {
    /// Notes something in a new segment: whatever was submitted before is in sealed ones, and durable.
    ///
    /// # Errors
    /// `Poisoned`, `Index`; `Full` where it does not become durable in time.
    pub fn note(&self, op: Op) -> Result<Seq> {
        let group = Group { ops: vec![op], ..Group::default() };
        let seq = self.head.submit_in_new_segment(vec![group])?;
        match self.head.wait_durable(seq, USERS_WAIT) {
            true => Ok(seq),
            false => Err(Error::Full { path: self.layout.segments() }),
        }
    }

    /// What was begun to be forgotten and has not come to its end.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    pub fn forgetting(&self) -> Result<Option<Order>> {
        Ok(Pending::read(&*self.storage, &self.layout)?.map(|pending| pending.order))
    }

    /// Forgets what is wanted, and before it what was begun and has not come to its end.
    ///
    /// # Errors
    /// `Held`, `Busy`, `Io`, `Full`, `Index`, `Poisoned`. What was done before an error stands; the rest is done by the next call, or
    /// after a start.
    pub fn forget(&self, order: Option<&Order>, wall: Instant, note: Note<'_>) -> Result<Purged> {
        if self.head.index_failed() {
            let what = "it refused a write; it is made anew at the next start".to_string();
            return Err(Error::Index { path: self.layout.index(), what });
        }
        for path in order.map_or(&[][..], |order| &order.paths) {
            if self.head.held_paths()?.iter().any(|held| related(held, path)) {
                return Err(Error::Held { path: path_of(path) });
            }
        }
        let mut done = Purged::default();
        if let Some(pending) = Pending::read(&*self.storage, &self.layout)? {
            let is_same = order.is_some_and(|order| *order == pending.order);
            self.carry_out(pending, wall, note, &mut done)?;
            if is_same || done.left > 0 {
                return Ok(done);
            }
        }
        match order {
            Some(order) => {
                self.carry_out(
                    Pending { order: order.clone(), ..Pending::default() },
                    wall,
                    note,
                    &mut done,
                )?;
            }
            // What was forgotten before may still lie in old files.
            None => done.waiting = self.remove_old()?,
        }
        Ok(done)
    }

    fn carry_out(
        &self,
        mut pending: Pending,
        wall: Instant,
        note: Note<'_>,
        done: &mut Purged,
    ) -> Result<()> {
        retire::clear(&*self.storage, &self.layout)?;
        self.remove_retired(&self.segments()?)?;
        pending.write(&*self.storage, &self.layout)?;
        let durable = self.head.watermarks().durable.seq;
        let id = note(Op::Forgotten(Forgotten::Begun(self.begun(&pending.order)?)))?;
        if self.sealed_through()? < durable {
            return Err(Error::Full { path: self.layout.segments() });
        }
        let mut outcome = ForgetOutcome::default();
        let mut later = false;
        for round in 0..=ROUNDS_MAX {
            let records = self.head.records();
            let through = self.sealed_through()?;
            let plan = match round {
                0 => Plan::new(records, &pending.order, through)?,
                _ => pending.plan.late(records, through)?,
            };
            if round > 0 && plan.is_empty() && !later {
                break;
            }
            if round == ROUNDS_MAX {
                done.left += 1;
                break;
            }
            if round > 0 {
                note(Op::Forgotten(Forgotten::Done { id, outcome }))?;
            }
            pending.plan.paths.clone_from(&plan.paths);
            pending.plan.add(plan);
            let purged = self.purge(&mut pending, wall, done);
            self.head.end_departure();
            let blocks;
            (blocks, later) = purged?;
            outcome.blocks += blocks;
            outcome.bindings = pending.plan.bindings.len() as u64;
            outcome.versions = pending.plan.versions_going();
            if done.left > 0 && !later {
                break;
            }
        }
        done.outcome.bindings += outcome.bindings;
        done.outcome.versions += outcome.versions;
        done.outcome.blocks += outcome.blocks;
        if done.left == 0 {
            self.clean_index()?;
            note(Op::Forgotten(Forgotten::Done { id, outcome }))?;
            Pending::remove(&*self.storage, &self.layout)?;
        }
        done.waiting = self.remove_retired(&self.segments()?)?;
        Ok(())
    }

    /// What is noted beforehand.
    fn begun(&self, order: &Order) -> Result<ForgetBegun> {
        let mut roots: Vec<Vec<u8>> =
            self.head.view().policy()?.roots.into_iter().map(|root| root.path).collect();
        roots.retain(|root| order.paths.iter().any(|path| is_below(path, root)));
        let names = if order.record_names { order.paths.clone() } else { Vec::new() };
        let paths = order.paths.len() as u64;
        Ok(ForgetBegun { by: order.by, paths, roots, before: order.before, names })
    }

    /// The last `Seq` before the segment that is written to.
    fn sealed_through(&self) -> Result<Seq> {
        let set = self.segments()?;
        Ok(set.last().map_or(Seq::ZERO, |last| last.header.first_seq.previous()))
    }

    /// Rewrites whatever has something of the plan, until nothing has; gives how many blocks went, and whether something goes once
    /// there is a new segment.
    fn purge(&self, pending: &mut Pending, wall: Instant, done: &mut Purged) -> Result<(u64, bool)> {
        let records = self.head.records();
        let mut purge = Purge::of(records, &pending.plan)?;
        purge.blocks.extend(&pending.blocks);
        let met = self.walk(&self.segments()?, &pending.plan, &purge.blocks, true)?;
        purge.blocks.extend(met.suspects);
        // From here on nothing new refers to any of them; what did before is in the index once it is durable.
        let quiet = self.head.begin_departure(purge.blocks.iter().copied(), USERS_WAIT)
            && self.head.wait_durable(self.head.watermarks().queued, USERS_WAIT);
        if !quiet {
            let what = "something is being captured that may share content with what is to be forgotten";
            return Err(Error::Busy { what: what.to_string() });
        }
        purge.spare(records, &pending.plan)?;
        pending.blocks.clone_from(&purge.blocks);
        // Once some of it has gone, the segments alone do not tell all of it any more.
        pending.write(&*self.storage, &self.layout)?;
        let (mut gone, mut later) = (0, false);
        let mut refused: HashSet<SegmentId> = HashSet::new();
        for pass in 0..=PASSES_MAX {
            let set = self.segments()?;
            self.remove_retired(&set)?;
            let set = if set.superseded.is_empty() { set } else { self.segments()? };
            let standing = dependents(records, &purge.blocks)?;
            let mut wanted = purge.blocks.clone();
            wanted.extend(standing.values().flatten());
            let met = self.walk(&set, &pending.plan, &wanted, false)?;
            let new = met.damage.into_iter().filter(|found| !done.damage.contains(found)).collect::<Vec<_>>();
            done.damage.extend(new);
            done.left = met.touched.len() as u64;
            let touched: Vec<SegmentId> =
                met.touched.into_iter().filter(|id| !refused.contains(id)).collect();
            if touched.is_empty() || pass == PASSES_MAX {
                break;
            }
            let mut taken: HashSet<SegmentId> = HashSet::new();
            for id in touched {
                if taken.contains(&id) {
                    continue;
                }
                // What was written meanwhile lies elsewhere.
                let set = self.segments()?;
                let run = run_of(&set, id)?;
                taken.extend(run.iter().map(|segment| segment.id));
                // It went with one before it.
                if run.is_empty() {
                    continue;
                }
                match self.rewrite(&set, run, pending, &purge.blocks, &standing, wall, done)? {
                    Rewritten::Without(blocks) => gone += blocks,
                    kept => {
                        later |= matches!(kept, Rewritten::Later);
                        refused.insert(id);
                    }
                }
            }
        }
        Ok((gone, later))
    }

    /// Looks through every sealed segment for what is to go.
    fn walk(&self, set: &SegmentSet, plan: &Plan, blocks: &HashSet<BlockId>, suspect: bool) -> Result<Met> {
        let mut met = Met::default();
        let last_log = set.last().map(|segment| segment.id);
        let mut ordered = set.in_order();
        ordered.reverse();
        for segment in ordered.into_iter().filter(|segment| Some(segment.id) != last_log) {
            let end = recovery::end_of(set, segment)?;
            // What lies behind the end counts for nothing, and is there all the same.
            let mut is_touched = segment.is_log() && segment.trailer()?.is_none() && segment.len()? > end;
            let (mut has_records, mut members) = (false, Vec::new());
            let mut damage = None;
            walk_batches(segment, segment.start, segment.first_chain(), end, &mut |walked| {
                match walked {
                    Walked::Batch(batch, _) => {
                        let ids =
                            batch.blocks.iter().flat_map(|frame| frame.members.iter().map(|(id, _)| *id));
                        for id in ids {
                            is_touched |= blocks.contains(&id);
                            if suspect {
                                members.push(id);
                            }
                        }
                        has_records |= batch
                            .numbered()
                            .any(|(seq, group)| group.ops.iter().any(|op| plan.touches(seq, op)));
                    }
                    Walked::Damage(found) => drop(damage.get_or_insert(found)),
                    Walked::Orphan(_) => {}
                }
                Ok(())
            })?;
            // Nobody can say what it held.
            met.damage.extend(damage);
            if has_records && met.suspects.len() + members.len() <= SUSPECTS_MAX {
                met.suspects.extend(members);
            }
            if is_touched || has_records {
                met.touched.push(segment.id);
            }
        }
        Ok(met)
    }

    /// Writes a run anew.
    #[allow(clippy::too_many_arguments)]
    fn rewrite(
        &self,
        set: &SegmentSet,
        mut run: Vec<Arc<SegmentFile>>,
        pending: &Pending,
        purged: &HashSet<BlockId>,
        standing: &HashMap<BlockId, Vec<BlockId>>,
        wall: Instant,
        done: &mut Purged,
    ) -> Result<Rewritten> {
        let records = self.head.records();
        let decided = loop {
            let decided = match decide(set, &run, &pending.plan) {
                Ok(decided) => decided,
                Err(Refusal::Damaged(damage)) => {
                    if !done.damage.contains(&damage) {
                        done.damage.push(damage);
                    }
                    return Ok(Rewritten::Refused);
                }
                Err(Refusal::Error(error)) => return Err(error),
            };
            if !decided.commits.is_empty() {
                break decided;
            }
            // It was given up before anything in it counted: it goes with the one that took its place.
            match next_of(set, &run) {
                Some(next) => run.push(next),
                None => return Ok(Rewritten::Later),
            }
        };
        let run = run.as_slice();
        let bytes: u64 = run.iter().map(|segment| segment.len()).sum::<Result<u64>>()?;
        if !self.has_room(bytes) {
            done.short_of_room = true;
            return Ok(Rewritten::Refused);
        }
        let in_run: HashSet<SegmentId> = run.iter().map(|segment| segment.id).collect();
        let mut ids: Ids = live::candidates(records, run, &decided)?;
        let mut blocks = 0;
        for (id, stays) in &mut ids {
            *stays = !purged.contains(id);
            // A delta elsewhere that stands on it is given another base first.
            for above in standing.get(id).into_iter().flatten() {
                let place = records.locate(*above)?;
                *stays |= place.is_some_and(|place| {
                    !in_run.contains(&place.frame.segment) && place.base.is_some_and(|(base, _)| base == *id)
                });
            }
            blocks += u64::from(!*stays);
        }
        // Not to be stood on, wherever they lie.
        for id in purged {
            ids.entry(*id).or_insert(false);
        }
        // Of a policy it is as far as it was.
        let as_of = |segment: &Arc<SegmentFile>| segment.header.compacted.map(|compacted| compacted.as_of);
        let as_of = run.iter().map(|segment| as_of(segment).unwrap_or(decided.first_seq)).min();
        let as_of = as_of.unwrap_or(decided.last_seq).max(decided.last_seq);
        let written = match self.write(run, &decided, &ids, as_of, wall) {
            Ok(written) => written,
            Err(Refusal::Damaged(damage)) => {
                done.damage.push(damage);
                return Ok(Rewritten::Refused);
            }
            Err(Refusal::Error(error)) => return Err(error),
        };
        self.swap(set, run, &written)?;
        done.segments += run.len() as u64;
        Ok(Rewritten::Without(blocks))
    }

    /// Leaves no byte in the index of what was taken out of it, nor in what a rebuild left of one, and keeps no old file open.
    fn clean_index(&self) -> Result<()> {
        self.head.records().blocks.clear();
        for dir in [self.layout.old_index(), self.layout.new_index()] {
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::Io { path: dir, source: error });
                }
                _ => {}
            }
        }
        match self.head.records().store.db() {
            Some(db) => db.clean(),
            None => Ok(()),
        }
    }
}

fn path_of(bytes: &[u8]) -> std::path::PathBuf {
    std::path::PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// A segment, with those before it that need it to say where they end.
fn run_of(set: &SegmentSet, id: SegmentId) -> Result<Vec<Arc<SegmentFile>>> {
    let ordered = set.in_order();
    let Some(mut at) = ordered.iter().position(|segment| segment.id == id) else { return Ok(Vec::new()) };
    let end = at;
    while let Some(before) = at.checked_sub(1).and_then(|before| ordered.get(before)) {
        let needs = ordered.get(at).is_some_and(|segment| segment.is_log())
            && before.is_log()
            && before.trailer()?.is_none();
        if !needs {
            break;
        }
        at -= 1;
    }
    Ok(ordered.get(at..=end).unwrap_or_default().iter().map(|segment| Arc::clone(segment)).collect())
}

/// The segment behind a run; `None` where that is the one that is written to.
fn next_of(set: &SegmentSet, run: &[Arc<SegmentFile>]) -> Option<Arc<SegmentFile>> {
    let last = run.last()?.id;
    let mut behind = set.in_order().into_iter().skip_while(|segment| segment.id != last).skip(1);
    let next = behind.next()?;
    (set.last().map(|last| last.id) != Some(next.id)).then(|| Arc::clone(next))
}

/// What is left of a run without what goes.
fn decide(set: &SegmentSet, run: &[Arc<SegmentFile>], plan: &Plan) -> std::result::Result<Decided, Refusal> {
    let (mut frames, mut batches) = (Vec::new(), Vec::new());
    for segment in run {
        if let Some(what) = segment.header_damage.clone() {
            let at = crate::types::Position { segment: segment.id, offset: 0 };
            return Err(Refusal::Damaged(Damage { path: segment.path.clone(), at, len: 0, what }));
        }
        commits_of(set, segment, &mut frames, &mut batches)?;
    }
    let mut commits: Vec<_> = batches.into_iter().map(|batch| left_of(batch, plan)).collect();
    let first_seq = run.first().map_or(Seq::ZERO, |segment| segment.header.first_seq);
    let stands_for = run.iter().filter_map(|segment| segment.header.compacted).map(|it| it.last_seq).max();
    let last = commits.last().map(crate::format::batch::Batch::last_seq);
    let last_seq = last.max(stands_for).unwrap_or(first_seq.previous());
    // Each stands for what comes behind the one before it.
    let mut from = first_seq;
    for commit in &mut commits {
        commit.first_seq = from;
        from = commit.last_seq().next();
    }
    if let Some(left) = commits.last_mut().and_then(|commit| commit.left.as_mut()) {
        left.last_seq = last_seq;
    }
    Ok(Decided {
        commits,
        first_seq,
        last_seq,
        dropped: HashSet::new(),
        versions: 0,
        bindings: 0,
        frames,
        going: HashMap::new(),
        ops: 0,
    })
}

/// What is left of a commit; its states are as whole as they were.
fn left_of(batch: crate::format::batch::Batch, plan: &Plan) -> crate::format::batch::Batch {
    let last_seq = batch.last_seq();
    let (kept, whole) = batch.left.as_ref().map_or((true, true), |left| (left.kept, left.whole));
    let (mut groups, mut seqs) = (Vec::new(), Vec::new());
    for (seq, group) in batch.numbered() {
        let ops: Vec<Op> = group.ops.iter().filter_map(|op| plan.left_of(seq, op)).collect();
        if !ops.is_empty() || group.ops.is_empty() {
            groups.push(Group { ops, hinted: group.hinted, read: group.read });
            seqs.push(seq);
        }
    }
    let left = Some(Left { last_seq, seqs, kept, whole });
    crate::format::batch::Batch { groups, left, ..batch }
}

impl From<&Purged> for crate::control::Forgotten {
    fn from(purged: &Purged) -> crate::control::Forgotten {
        let ForgetOutcome { bindings, versions, blocks } = purged.outcome;
        let place = |damage: &Damage| {
            let file = damage.path.to_string_lossy();
            format!("{file} at offset {}: {}", damage.at.offset, damage.what)
        };
        crate::control::Forgotten {
            versions,
            bindings,
            blocks,
            segments: purged.segments,
            waiting: purged.waiting,
            reader: None,
            left: purged.left,
            short_of_room: purged.short_of_room,
            damage: purged.damage.iter().map(place).collect(),
        }
    }
}

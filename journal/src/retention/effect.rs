//! What a policy would do to a journal: what goes, what it frees and why the rest stays, path by path.
//!
//! Reads the index, and of large files the blocks with their lists; changes nothing. Memory is bounded by named limits,
//! whatever the journal has.
//!
//! **Estimates.** Bytes are those stored for blocks that nothing kept refers to. Blocks in a pack are counted with their part
//! of all packs together. Of what would be freed, the part that kept blocks are deltas on is told apart: it can go once those are
//! encoded anew, which costs some of it. What records themselves take is not counted.
//!
//! **Markers** of what went before are neither versions nor changes of a name: they are not counted at all.

use super::charge::{Charges, Charging, Within, charge_all, packed_bytes};
use super::decide::{bindings, versions};
use super::groups::{Groups, OTHERS, path_of};
use super::ledger::{Cost, Sums};
use super::survey::{NameRecords, NodeRecords, Terms, each_name};
use super::{State, Verdict, Why};
use crate::error::Result;
use crate::reader::Reader;
use crate::records::Records;
use crate::types::Seq;

/// Why records stay, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// They are how things are.
    pub current: u32,
    /// They were so within the immutability window.
    pub immutable: u32,
    /// They were so when everything is kept.
    pub all: u32,
    /// They were so at an instant of a grid.
    pub grid: u32,
    /// They were so at an instant that has a name.
    pub marks: u32,
    /// Their path is held.
    pub held: u32,
    /// They are the last state before a deletion, or the end of what is kept.
    pub deletions: u32,
}

impl Reasons {
    fn count(&mut self, why: Why) {
        let count = match why {
            Why::Current => &mut self.current,
            Why::Immutable => &mut self.immutable,
            Why::All => &mut self.all,
            Why::Grid { .. } => &mut self.grid,
            Why::Mark(_) => &mut self.marks,
            Why::Held => &mut self.held,
            Why::BeforeDeletion | Why::End => &mut self.deletions,
        };
        *count = count.saturating_add(1);
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        let Reasons { current, immutable, all, grid, marks, held, deletions } = *self;
        [current, immutable, all, grid, marks, held, deletions].into_iter().map(u64::from).sum()
    }
}

/// What becomes of the records of a path, or of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Why versions stay.
    pub kept: Reasons,
    /// Versions that go.
    pub versions_dropped: u64,
    /// Names that stay.
    pub bindings_kept: u64,
    /// Names that go.
    pub bindings_dropped: u64,
    /// Stored bytes that only what goes refers to.
    pub bytes: u64,
    /// Of those, bytes that kept blocks are deltas on.
    pub base_bytes: u64,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEffect {
    /// The path that it had last; `None` for everything that is not told apart.
    pub path: Option<Vec<u8>>,
    /// What becomes of it.
    pub counts: Counts,
}

/// What a policy would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Everything together.
    pub total: Counts,
    /// Paths of which something goes, the most bytes first.
    pub paths: Vec<PathEffect>,
    /// How many paths there are of which something goes.
    pub paths_concerned: u64,
    /// The oldest and the newest version that go.
    pub dropped: Option<(Seq, Seq)>,
    /// Blocks with lists that could not be read: what they refer to is not counted.
    pub unreadable: u64,
}

/// Packed bytes of a group, until it is known what they are worth.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    counts: Counts,
    packed: u64,
    packed_base: u64,
}

/// What to look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'s> {
    /// Only what is at this absolute path or below it. What it shares with others is counted as if those stayed.
    pub below: Option<&'s [u8]>,
    /// So many paths are named at most; `None`: all.
    pub paths_max: Option<usize>,
}

/// What a policy would do to the journal as it is. `go_on` is asked all the time; where it says no, that is the end.
///
/// # Errors
/// `Index`, `Io`; that it was stopped is told as `Ok(None)`.
pub fn effect(
    reader: &Reader,
    terms: &mut Terms<'_>,
    scope: Scope<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Effect>> {
    let records = reader.records();
    let mut within = Within::new(reader, scope.below);
    let mut counting = Counting { terms, records, groups: Groups::new(), effect: Effect::default() };
    let mut stopped = false;
    each_name(records, &mut |name| {
        stopped |= !go_on();
        if !stopped && within.name(name.dir, name.name)? {
            counting.name(name)?;
        }
        Ok(!stopped)
    })?;
    if stopped {
        return Ok(None);
    }
    let Some(charged) = charge_all(reader, &mut within, &mut counting, go_on)? else { return Ok(None) };
    let Counting { groups, mut effect, .. } = counting;
    effect.unreadable = charged.unreadable;
    finish(reader, groups, &charged.sums, scope.paths_max, &mut effect)?;
    Ok(Some(effect))
}

/// What is counted of which path.
struct Counting<'c, 'p> {
    terms: &'c mut Terms<'p>,
    records: &'c Records,
    groups: Groups<Counted>,
    effect: Effect,
}

impl Counting<'_, '_> {
    fn name(&mut self, name: &NameRecords<'_>) -> Result<()> {
        let (ladder, held) = self.terms.of(self.records, name.is_dir, [(name.dir, name.name)])?;
        let verdicts = bindings(self.terms.keeper, ladder, held, name.timeline);
        let number = self.groups.number(name.dir, name.name, name.node);
        if let Some(counted) = self.groups.of(number) {
            let newest = name.timeline.last().map(|record| record.seq);
            for (record, verdict) in name.timeline.iter().zip(&verdicts) {
                let counts = &mut counted.counts;
                match record.state {
                    State::Thinned => {}
                    // How things are is told by the newest record, whatever it says.
                    _ if verdict.keeps() || Some(record.seq) == newest => counts.bindings_kept += 1,
                    _ => counts.bindings_dropped += 1,
                }
            }
        }
        Ok(())
    }

    fn version(&mut self, node: &NodeRecords<'_>, at: usize, verdict: &Verdict, number: u32) {
        let Some(counted) = self.groups.of(number) else { return };
        match verdict {
            Verdict::Keep(why) => counted.counts.kept.count(*why),
            Verdict::Drop | Verdict::Marker => {
                counted.counts.versions_dropped += 1;
                counted.counts.bytes += u64::from(node.inline_bytes(at));
                let Some(seq) = node.timeline.get(at).copied() else { return };
                let (first, last) = self.effect.dropped.unwrap_or((seq, seq));
                self.effect.dropped = Some((first.min(seq), last.max(seq)));
            }
        }
    }
}

impl Charging for Counting<'_, '_> {
    fn node(&mut self, node: &NodeRecords<'_>, is_within: bool, charges: &mut Charges<'_, '_>) -> Result<()> {
        let names = node.links.iter().map(|(_, linked)| (linked.dir, linked.name.as_slice()));
        let verdicts = if is_within {
            let (ladder, held) = self.terms.of(self.records, node.is_dir, names)?;
            versions(self.terms.keeper, ladder, held, node.timeline, node.ended)
        } else {
            vec![Verdict::Keep(Why::Current); node.timeline.len()]
        };
        let number = match node.last_name().filter(|_| is_within) {
            Some((dir, name)) => self.groups.number(dir, name, node.node),
            None => OTHERS,
        };
        // What was kept first is not asked again when it is about what goes: nothing in it does.
        for keeping in [true, false] {
            for (at, verdict) in verdicts.iter().enumerate().filter(|(_, it)| it.keeps() == keeping) {
                charges.version(node, at, (!keeping).then_some(number));
                if is_within && charges.is_first && !node.is_marker(at) {
                    self.version(node, at, verdict, number);
                }
            }
        }
        Ok(())
    }

    fn cost(&mut self, cost: &Cost) {
        let Some(counted) = self.groups.of(cost.group) else { return };
        let bytes = u64::from(cost.bytes);
        let (sum, base) = match cost.packed {
            true => (&mut counted.packed, &mut counted.packed_base),
            false => (&mut counted.counts.bytes, &mut counted.counts.base_bytes),
        };
        *sum += bytes;
        *base += if cost.is_base { bytes } else { 0 };
    }

    fn wants_sums(&self) -> bool {
        false
    }
}

fn finish(
    reader: &Reader,
    mut groups: Groups<Counted>,
    sums: &Sums,
    paths_max: Option<usize>,
    effect: &mut Effect,
) -> Result<()> {
    let mut concerned: Vec<usize> = Vec::new();
    for (at, (_, _, counted)) in groups.all.iter_mut().enumerate() {
        let counts = &mut counted.counts;
        counts.bytes += packed_bytes(counted.packed, sums);
        counts.base_bytes += packed_bytes(counted.packed_base, sums);
        add(&mut effect.total, counts);
        if counts.versions_dropped + counts.bindings_dropped > 0 {
            concerned.push(at);
        }
    }
    effect.paths_concerned = concerned.len() as u64;
    concerned.sort_by_key(|at| {
        let counts = groups.all.get(*at).map(|(_, _, counted)| &counted.counts);
        let key = counts.map(|counts| (counts.bytes, counts.versions_dropped, counts.bindings_dropped));
        (std::cmp::Reverse(key), *at)
    });
    for at in concerned.into_iter().take(paths_max.unwrap_or(usize::MAX)) {
        let Some((hash, node, counted)) = groups.all.get(at) else { continue };
        let path = if at == OTHERS as usize { None } else { path_of(reader, *hash, *node)? };
        effect.paths.push(PathEffect { path, counts: counted.counts });
    }
    Ok(())
}

fn add(total: &mut Counts, counts: &Counts) {
    let (sum, one) = (&mut total.kept, &counts.kept);
    sum.current = sum.current.saturating_add(one.current);
    sum.immutable = sum.immutable.saturating_add(one.immutable);
    sum.all = sum.all.saturating_add(one.all);
    sum.grid = sum.grid.saturating_add(one.grid);
    sum.marks = sum.marks.saturating_add(one.marks);
    sum.held = sum.held.saturating_add(one.held);
    sum.deletions = sum.deletions.saturating_add(one.deletions);
    total.versions_dropped += counts.versions_dropped;
    total.bindings_kept += counts.bindings_kept;
    total.bindings_dropped += counts.bindings_dropped;
    total.bytes += counts.bytes;
    total.base_bytes += counts.base_bytes;
}

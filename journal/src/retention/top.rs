//! What takes the space of a journal: stored bytes by path, by what is new, by age.
//!
//! Reads the index, and of large files the blocks with their lists; changes nothing. Memory is bounded as in `effect`.
//!
//! Each block is charged once: to the path that it was written for first, or to the age of the first version that has it. Blocks in
//! a pack count with their part of all packs together.

use super::charge::{Charges, Charging, Within, charge_all, packed_bytes};
use super::groups::{Groups, OTHERS, path_of};
use super::ledger::{Cost, Sums};
use super::survey::NodeRecords;
use super::time::{JournalClock, JournalTime};
use crate::error::Result;
use crate::reader::Reader;
use crate::types::Seq;

/// What is summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Stored bytes.
    pub bytes: u64,
    /// Versions.
    pub versions: u64,
    /// The first and the last version that counts.
    pub span: Option<(Seq, Seq)>,
}

/// What a path takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTaken {
    /// The path that it had last; `None` for everything that is not told apart.
    pub path: Option<Vec<u8>>,
    /// What it takes.
    pub taken: Taken,
}

/// What takes the space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Everything that counts together.
    pub total: Taken,
    /// Stored bytes that no version refers to: bases, and what waits for compaction. Of the whole journal.
    pub unreferenced: u64,
    /// Paths, the most bytes first.
    pub paths: Vec<PathTaken>,
    /// How many paths there are.
    pub paths_all: u64,
    /// By age, in the order of the ages that were asked for, with everything older last.
    pub ages: Vec<Taken>,
    /// Blocks with lists that could not be read: what they refer to is not counted.
    pub unreadable: u64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum By<'b> {
    /// What each path takes, of versions after a `Seq`.
    Path {
        /// Everything that was there already does not count.
        after: Seq,
    },
    /// What was written within so many minutes, ascending.
    Age(&'b [u64]),
}

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// How it is summed up.
    pub by: By<'w>,
    /// Only what is at this absolute path or below it.
    pub below: Option<&'w [u8]>,
    /// So many paths are named at most; `None`: all.
    pub paths_max: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    taken: Taken,
    packed: u64,
}

impl Counted {
    fn version(&mut self, seq: Seq, inline: u32) {
        let (first, last) = self.taken.span.unwrap_or((seq, seq));
        self.taken.span = Some((first.min(seq), last.max(seq)));
        self.taken.versions += 1;
        self.taken.bytes += u64::from(inline);
    }

    fn finish(&self, sums: &Sums) -> Taken {
        Taken { bytes: self.taken.bytes + packed_bytes(self.packed, sums), ..self.taken }
    }
}

/// What takes the space. `go_on` is asked all the time; where it says no, that is the end.
///
/// # Errors
/// `Index`, `Io`; that it was stopped is told as `Ok(None)`.
pub fn top(
    reader: &Reader,
    clock: &JournalClock,
    wanted: Wanted<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Top>> {
    let ages = match wanted.by {
        By::Path { .. } => Vec::new(),
        By::Age(minutes) => minutes.iter().map(|minutes| clock.now().minutes_before(*minutes)).collect(),
    };
    let by_age = vec![Counted::default(); if ages.is_empty() { 0 } else { ages.len() + 1 }];
    let mut counting = Counting { clock, by: wanted.by, ages, groups: Groups::new(), by_age };
    let mut within = Within::new(reader, wanted.below);
    let Some(charged) = charge_all(reader, &mut within, &mut counting, go_on)? else { return Ok(None) };
    let Counting { groups, by_age, .. } = counting;
    let sums = &charged.sums;
    let mut found = Top { unreadable: charged.unreadable, ..Top::default() };
    found.unreferenced = sums.unreferenced + packed_bytes(sums.unreferenced_packed, sums);
    found.ages = by_age.iter().rev().map(|counted| counted.finish(sums)).collect();
    name_paths(reader, groups, sums, wanted.paths_max, &mut found)?;
    for taken in &found.ages {
        add(&mut found.total, taken);
    }
    Ok(Some(found))
}

/// What is counted of which path or age.
struct Counting<'c> {
    clock: &'c JournalClock,
    by: By<'c>,
    ages: Vec<JournalTime>,
    groups: Groups<Counted>,
    by_age: Vec<Counted>,
}

impl Counting<'_> {
    fn of(&mut self, number: u32) -> Option<&mut Counted> {
        match self.by {
            By::Path { .. } => self.groups.of(number),
            By::Age(_) => self.by_age.get_mut(number as usize),
        }
    }
}

impl Charging for Counting<'_> {
    fn node(&mut self, node: &NodeRecords<'_>, is_within: bool, charges: &mut Charges<'_, '_>) -> Result<()> {
        for (at, seq) in node.timeline.iter().copied().enumerate() {
            let (number, counts) = match self.by {
                By::Path { after } => {
                    let number = match node.last_name().filter(|_| is_within) {
                        Some((dir, name)) => self.groups.number(dir, name, node.node),
                        None => OTHERS,
                    };
                    (number, is_within && seq > after)
                }
                // Older ones have lower numbers: they are charged first.
                By::Age(_) => {
                    let age = age(&self.ages, self.clock.time_of(seq));
                    ((self.ages.len() - age) as u32, is_within)
                }
            };
            if counts
                && charges.is_first
                && let Some(counted) = self.of(number)
            {
                counted.version(seq, node.inline_bytes(at));
            }
            charges.version(node, at, counts.then_some(number));
        }
        Ok(())
    }

    fn cost(&mut self, cost: &Cost) {
        if let Some(counted) = self.of(cost.group) {
            match cost.packed {
                true => counted.packed += u64::from(cost.bytes),
                false => counted.taken.bytes += u64::from(cost.bytes),
            }
        }
    }

    fn wants_sums(&self) -> bool {
        true
    }
}

/// Which of the ages a time is in: 0 is the youngest.
fn age(ages: &[JournalTime], time: JournalTime) -> usize {
    ages.iter().position(|begin| time > *begin).unwrap_or(ages.len())
}

fn name_paths(
    reader: &Reader,
    groups: Groups<Counted>,
    sums: &Sums,
    paths_max: Option<usize>,
    found: &mut Top,
) -> Result<()> {
    let mut taken: Vec<(Taken, usize)> = Vec::new();
    for (at, (_, _, counted)) in groups.all.iter().enumerate() {
        let one = counted.finish(sums);
        add(&mut found.total, &one);
        if one.versions > 0 {
            taken.push((one, at));
        }
    }
    found.paths_all = taken.len() as u64;
    taken.sort_by_key(|(one, at)| (std::cmp::Reverse((one.bytes, one.versions)), *at));
    for (taken, at) in taken.into_iter().take(paths_max.unwrap_or(usize::MAX)) {
        let Some((hash, node, _)) = groups.all.get(at) else { continue };
        let path = if at == OTHERS as usize { None } else { path_of(reader, *hash, *node)? };
        found.paths.push(PathTaken { path, taken });
    }
    Ok(())
}

fn add(total: &mut Taken, one: &Taken) {
    total.bytes += one.bytes;
    total.versions += one.versions;
    total.span = match (total.span, one.span) {
        (Some((first, last)), Some((from, until))) => Some((first.min(from), last.max(until))),
        (known, other) => known.or(other),
    };
}

//! What is about to be compacted, several runs at a time, and what was left because it is not worth it.
//!
//! Runs share one look at all versions. What is held of them is bounded: with what reaches a bound a batch is full.

use std::collections::BTreeMap;

use super::choose::Run;
use super::decide::Decided;
use super::live::Blocks;
use crate::error::Result;
use crate::format::wire::{Malformed, Put, whole};
use crate::index::db::Db;
use crate::index::{Cf, Entry, keys};
use crate::records::Records;
use crate::retention::Policy;
use crate::segments::SegmentSet;
use crate::types::{SegmentId, Seq};

/// Operations that are held at a time, unless one run alone has more.
const OPS_MAX: u64 = 40_000;
/// Blocks of the runs.
const BLOCKS_MAX: usize = 250_000;

/// A run of which it is known what is left.
pub(super) struct Planned {
    pub run: Run,
    pub decided: Decided,
    /// Its bytes.
    pub bytes: u64,
    /// Roughly how many of them go.
    pub going: u64,
}

/// What becomes of a run.
#[derive(Default)]
pub(super) struct Plan {
    /// What is compacted of it.
    pub planned: Option<Planned>,
    /// What is not worth it.
    pub left: Option<Run>,
    /// What was not decided on: it lies beside that.
    pub rest: Vec<Run>,
}

impl Plan {
    pub(super) fn leave(run: Run) -> Plan {
        Plan { left: Some(run), ..Plan::default() }
    }
}

/// Runs that are compacted one after the other.
#[derive(Default)]
pub(super) struct Batch {
    pub runs: Vec<Planned>,
    /// The blocks that lie in them.
    pub blocks: Blocks,
    ops: u64,
}

impl Batch {
    pub(super) fn add(&mut self, records: &Records, planned: Planned) -> Result<()> {
        self.blocks.add(records, &planned.run.segments, &planned.decided)?;
        self.ops += planned.decided.ops;
        self.runs.push(planned);
        Ok(())
    }

    /// Whether one more run may come to it.
    pub(super) fn takes(&self, run: &Run) -> bool {
        self.is_empty() || (self.ops + run.ops <= OPS_MAX && self.blocks.len() < BLOCKS_MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

/// Segments that were left, with the age of the step at which it was: only what is held, marked or written in the policy could
/// make that otherwise before the next step. Noted in the index, so that a machine that is started each day does not decide on all of
/// them each day; an index that is made anew does not have it.
#[derive(Default)]
pub(super) struct Left {
    pub segments: BTreeMap<SegmentId, u64>,
    /// A hash of the terms on which they were left.
    terms: [u8; 32],
    is_read: bool,
    changed: bool,
}

impl Left {
    /// Begins a look on these terms: on others than before everything is looked at again.
    pub(super) fn begin(
        &mut self,
        db: Option<&Db>,
        policy: &Policy,
        holds: &[Vec<u8>],
        named: &[Seq],
    ) -> Result<()> {
        let known = match db.filter(|_| !self.is_read) {
            Some(db) => db.get(Cf::Meta, keys::LEFT)?,
            None => None,
        };
        self.is_read = true;
        // What does not decode is decided on again.
        if let Some((terms, segments)) = known.and_then(|value| decode(&value).ok()) {
            (self.terms, self.segments) = (terms, segments);
        }
        let terms = *blake3::hash(format!("{policy:?} {holds:?} {named:?}").as_bytes()).as_bytes();
        if terms != self.terms {
            (self.terms, self.changed) = (terms, true);
            self.segments.clear();
        }
        Ok(())
    }

    /// Notes what is not worth it.
    pub(super) fn note(&mut self, run: &Run) {
        if let Some(step) = run.step {
            self.changed = true;
            self.segments.extend(run.segments.iter().map(|segment| (segment.id, step.from_minutes)));
        }
    }

    /// Notes it in the index, for those segments that are still there.
    pub(super) fn write(&mut self, db: Option<&Db>, set: &SegmentSet) -> Result<()> {
        let Some(db) = db.filter(|_| self.changed) else { return Ok(()) };
        self.segments.retain(|id, _| set.segments.contains_key(id));
        let mut value = self.terms.to_vec();
        value.put_uint(self.segments.len() as u64);
        for (id, minutes) in &self.segments {
            value.put_uint(id.0);
            value.put_uint(*minutes);
        }
        self.changed = false;
        db.write(&[Entry { cf: Cf::Meta, key: keys::LEFT.to_vec(), value }])
    }
}

type Noted = ([u8; 32], BTreeMap<SegmentId, u64>);

fn decode(bytes: &[u8]) -> std::result::Result<Noted, Malformed> {
    whole(bytes, |take| {
        let mut terms = [0; 32];
        terms.copy_from_slice(take.raw(32)?);
        let count = take.count(2)?;
        let segments = (0..count).map(|_| Ok((SegmentId(take.uint()?), take.uint()?)));
        Ok((terms, segments.collect::<std::result::Result<_, Malformed>>()?))
    })
}

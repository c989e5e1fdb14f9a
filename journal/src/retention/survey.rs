//! All timelines of a journal in the order of the index, and what a policy makes of them.
//!
//! Owns the way over names and nodes, so that whoever shows and whoever applies a policy see the same records with the same
//! terms. Reads only; holds one timeline at a time, of a long one the newest part first.

mod names;
mod walk;

pub use names::Terms;
pub use walk::{NameRecords, NodeRecords, Referred};
pub(crate) use walk::{each_name, each_node, ended, links_of_node, referred};

use crate::content::codec::Codec;
use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::{self, BatchAt};
use crate::landmarks;
use crate::reader::Reader;
use crate::records::Records;
use crate::retention::time::{JournalClock, Tick};
use crate::retention::{Keeper, Policy};
use crate::types::Seq;

/// What the journal's commits say of time, up to the newest.
///
/// # Errors
/// `Index`.
pub fn clock(reader: &Reader) -> Result<JournalClock> {
    clock_of(reader.records())
}

/// The instants that stay answerable as of the newest `Seq`: those of a policy, and those that people named.
///
/// # Errors
/// `Index`.
pub fn keeper(reader: &Reader, clock: &JournalClock, policy: &Policy) -> Result<Keeper> {
    let named: Vec<Seq> = landmarks::marks(reader.records())?.iter().map(|mark| mark.moment.seq).collect();
    Ok(Keeper::new(clock, policy, &named, reader.head()))
}

/// The same for whoever holds the records.
///
/// # Errors
/// `Index`.
pub(crate) fn clock_of(records: &Records) -> Result<JournalClock> {
    let mut known = KnownClock::default();
    known.read_on(records)?;
    Ok(known.clock)
}

/// What commits say of time, for whoever looks again and again: only those that are new are read.
#[derive(Default)]
pub(crate) struct KnownClock {
    pub(crate) clock: JournalClock,
    /// The key of the last one.
    last: Vec<u8>,
}

impl KnownClock {
    /// Reads those that have come since.
    pub(crate) fn read_on(&mut self, records: &Records) -> Result<()> {
        let damage = records.index_damage(Cf::Clock);
        let mut scan = records.store.scan(Cf::Clock, &[])?;
        scan.seek(&self.last)?;
        let mut epoch = match self.last.is_empty() {
            true => None,
            false => Some(keys::parse_clock(&self.last).map_err(&damage)?.0),
        };
        while let Some((key, value)) = scan.item() {
            let (of, wall) = keys::parse_clock(key).map_err(&damage)?;
            let last_seq = keys::parse_seq(value).map_err(&damage)?;
            // Within an epoch it is not asked for.
            let boot = if epoch == Some(of) { None } else { boot_of(records, last_seq)? };
            epoch = Some(of);
            self.clock.push(Tick { epoch: of, boot, wall, last_seq });
            self.last.clear();
            self.last.extend_from_slice(key);
            scan.advance()?;
        }
        Ok(())
    }
}

/// The boot in which a commit was written; `None` where that cannot be read.
fn boot_of(records: &Records, last_seq: Seq) -> Result<Option<[u8; 16]>> {
    let Some((_, value)) = records.store.ceiling(Cf::Event, &[], &keys::seq(last_seq))? else {
        return Ok(None);
    };
    let at = BatchAt::decode(&value).map_err(records.index_damage(Cf::Event))?;
    let segment = records.blocks.segment(at.frame.segment);
    let batch = segment.and_then(|segment| segment.batch_at(&at, &mut Codec::default()));
    // Time that is not known is not credited.
    Ok(batch.ok().map(|batch| batch.clock.boot_id))
}

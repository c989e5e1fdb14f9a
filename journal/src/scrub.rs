//! The scrub: old content is read and checked a little at a time, what was not looked at for the longest time first.
//!
//! Owns the small file that remembers where it is; losing that only means starting over. Knows no clock and no priority:
//! whoever drives it says what time it is, how much, and when it is enough.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::content::codec::Codec;
use crate::error::{Error, IoContext, Result};
use crate::head::Head;
use crate::segments::{Damage, SegmentFile};
use crate::storage::{Layout, OsStorage, Storage, write_atomically};
use crate::types::{Instant, Position, SegmentId};
use crate::verify::bodies::Bodies;
use crate::verify::losses;

/// Damaged places that are remembered one by one; with more the journal is to be verified anyway.
const DAMAGE_MAX: usize = 1000;

/// Where the scrub is.
pub struct Scrub {
    layout: Layout,
    storage: Arc<dyn Storage>,
    state: State,
    /// Segments as they were when they were looked at last.
    known: HashMap<SegmentId, Known>,
}

#[derive(Clone, Copy)]
struct Known {
    created: Instant,
    bytes: u64,
}

/// The file: times are nanoseconds since 1970 in UTC.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// When each segment was checked last.
    checked: BTreeMap<u64, i64>,
    /// The segment that is being checked.
    segment: u64,
    /// How far it is.
    offset: u64,
    /// What was found and is not known to be lost.
    damage: Vec<Spot>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Spot {
    segment: u64,
    offset: u64,
    len: u64,
    what: String,
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Step {
    /// Bytes that were read.
    pub bytes: u64,
    /// What was found that was neither known nor told before.
    pub damage: Vec<Damage>,
    /// Whether there was nothing to check.
    pub idle: bool,
}

/// How far the scrub is, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since when the bytes that were checked the longest time ago have not been: when they were checked last, or
    /// written. `None` where no segment is sealed.
    pub oldest_unchecked: Option<Instant>,
    /// Bytes of all sealed segments.
    pub bytes: u64,
    /// Damaged places that were found and are not known to be lost.
    pub damage: usize,
}

impl Scrub {
    /// Goes on where it was; from the beginning where nobody knows.
    pub fn open(layout: &Layout) -> Scrub {
        let text = std::fs::read(layout.scrub()).unwrap_or_default();
        let state = serde_json::from_slice(&text).unwrap_or_default();
        Scrub { layout: layout.clone(), storage: Arc::new(OsStorage), state, known: HashMap::new() }
    }

    /// Adds what opening the journal found, forgets what was noted as lost since, and gives what is left.
    ///
    /// # Errors
    /// `Index`.
    pub fn begin(&mut self, head: &Head, opening: &[Damage]) -> Result<Vec<Damage>> {
        let losses = losses(head.records())?;
        // The manifest is looked at at every opening.
        self.state.damage.retain(|spot| spot.segment != 0);
        for damage in opening {
            self.note(damage);
        }
        let place = |spot: &Spot| Position { segment: SegmentId(spot.segment), offset: spot.offset };
        self.state.damage.retain(|spot| !losses.iter().any(|loss| loss.lost.covers(place(spot))));
        let damage = |spot: &Spot| Damage {
            path: self.layout.segment(SegmentId(spot.segment)),
            at: place(spot),
            len: spot.len,
            what: spot.what.clone(),
        };
        Ok(self.state.damage.iter().map(damage).collect())
    }

    fn note(&mut self, damage: &Damage) {
        let at = damage.at;
        let known = |spot: &Spot| (spot.segment, spot.offset) == (at.segment.0, at.offset);
        if self.state.damage.len() < DAMAGE_MAX && !self.state.damage.iter().any(known) {
            let what = damage.what.clone();
            let spot = Spot { segment: at.segment.0, offset: at.offset, len: damage.len, what };
            self.state.damage.push(spot);
        }
    }

    /// How far it is.
    ///
    /// # Errors
    /// `Io`.
    pub fn progress(&mut self) -> Result<Progress> {
        let ids = self.sealed()?;
        let mut progress = Progress { damage: self.state.damage.len(), ..Progress::default() };
        for id in ids {
            let Some(known) = self.look_at(id)? else { continue };
            progress.bytes += known.bytes;
            let since = self.since(id, known);
            progress.oldest_unchecked = Some(progress.oldest_unchecked.map_or(since, |old| old.min(since)));
        }
        Ok(progress)
    }

    fn since(&self, id: SegmentId, known: Known) -> Instant {
        self.state.checked.get(&id.0).map_or(known.created, |&ns| Instant(ns))
    }

    /// Checks about so many bytes, a commit at least, as long as `go_on` says so. What it finds damaged is not taken for
    /// stored any more: content that comes again is stored again.
    ///
    /// # Errors
    /// `Io`, `Index`, `Full`.
    pub fn step(
        &mut self,
        head: &Head,
        now: Instant,
        bytes_max: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Step> {
        let mut step = Step::default();
        let ids = self.sealed()?;
        self.state.checked.retain(|id, _| ids.contains(&SegmentId(*id)));
        while step.bytes < bytes_max && go_on() {
            let Some((id, from)) = self.next(&ids, now)? else {
                step.idle = step.bytes == 0;
                break;
            };
            self.segment(head, id, from, now, bytes_max, go_on, &mut step)?;
        }
        let text =
            serde_json::to_vec(&self.state).map_err(std::io::Error::from).context(self.layout.scrub())?;
        write_atomically(&*self.storage, &self.layout.scrub(), &text).context(self.layout.scrub())?;
        Ok(step)
    }

    /// The segment to go on with, and from where: the one under way, else the one whose check is the oldest. One that was
    /// checked now is not checked again in the same step.
    fn next(&mut self, ids: &[SegmentId], now: Instant) -> Result<Option<(SegmentId, u64)>> {
        let under_way = SegmentId(self.state.segment);
        if self.state.offset > 0 && ids.contains(&under_way) {
            return Ok(Some((under_way, self.state.offset)));
        }
        let mut oldest: Option<(Instant, SegmentId)> = None;
        for &id in ids {
            let Some(known) = self.look_at(id)? else { continue };
            let since = self.since(id, known);
            let is_done = self.state.checked.get(&id.0).is_some_and(|&ns| ns >= now.0);
            if !is_done && oldest.is_none_or(|(old, _)| since < old) {
                oldest = Some((since, id));
            }
        }
        Ok(oldest.map(|(_, id)| (id, 0)))
    }

    #[expect(clippy::too_many_arguments, reason = "a step of one segment, split off for its length")]
    fn segment(
        &mut self,
        head: &Head,
        id: SegmentId,
        from: u64,
        now: Instant,
        bytes_max: u64,
        go_on: &dyn Fn() -> bool,
        step: &mut Step,
    ) -> Result<()> {
        let Some((segment, end)) = self.opened(id)? else {
            self.state.checked.insert(id.0, now.0);
            return Ok(());
        };
        let from = from.max(segment.start);
        let mut bodies = Bodies::new(head.records(), &segment);
        let (mut reached, before) = (from, step.bytes);
        let next = bodies.check(from, end, &mut |at| {
            reached = reached.max(at);
            before + (reached - from) < bytes_max && go_on()
        })?;
        step.bytes += reached - from;
        let found = bodies.finish();
        head.distrust(found.lost_blocks(&segment, &mut Codec::default())?);
        let losses = losses(head.records())?;
        let is_unknown = |damage: &Damage| !losses.iter().any(|loss| loss.lost.covers(damage.at));
        let unknown: Vec<Damage> = found.damage.into_iter().filter(is_unknown).collect();
        // What an earlier round found is found again, and is no news.
        let told = |damage: &Damage| {
            let is_it = |spot: &Spot| (spot.segment, spot.offset) == (damage.at.segment.0, damage.at.offset);
            self.state.damage.iter().any(is_it)
        };
        let new: Vec<Damage> = unknown.iter().filter(|damage| !told(damage)).cloned().collect();
        if from <= segment.start {
            self.state.damage.retain(|spot| spot.segment != id.0);
        }
        for damage in &unknown {
            self.note(damage);
        }
        step.damage.extend(new);
        (self.state.segment, self.state.offset) = (id.0, next.unwrap_or(0));
        if next.is_none() {
            self.state.checked.insert(id.0, now.0);
        }
        Ok(())
    }

    /// Segments that are not written any more, in order.
    fn sealed(&self) -> Result<Vec<SegmentId>> {
        let dir = self.layout.segments();
        let names = self.storage.list(&dir).context(&dir)?;
        let of = |name: &std::ffi::OsString| Layout::parse_segment(name).filter(|(_, open)| !open);
        let mut ids: Vec<SegmentId> = names.iter().filter_map(of).map(|(id, _)| id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn look_at(&mut self, id: SegmentId) -> Result<Option<Known>> {
        if let Some(known) = self.known.get(&id) {
            return Ok(Some(*known));
        }
        let known = match SegmentFile::open(&*self.storage, self.layout.segment(id), id) {
            Ok(segment) => Known { created: segment.header.created, bytes: segment.len()? },
            // What is wrong with it is found when it is its turn.
            Err(Error::Corrupt { .. } | Error::Unsupported { .. }) => Known { created: Instant(0), bytes: 0 },
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.known.insert(id, known);
        Ok(Some(known))
    }

    /// A segment and where it ends; `None` where nothing of it counts, or nobody can tell.
    fn opened(&mut self, id: SegmentId) -> Result<Option<(SegmentFile, u64)>> {
        let segment = match SegmentFile::open(&*self.storage, self.layout.segment(id), id) {
            Ok(segment) => segment,
            Err(Error::Corrupt { offset, what, .. }) => {
                self.known.remove(&id);
                self.state.damage.retain(|known| known.segment != id.0);
                self.state.damage.push(Spot { segment: id.0, offset, len: 0, what });
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let dir = self.layout.segments();
        let names = self.storage.list(&dir).context(&dir)?;
        let next = names
            .iter()
            .filter_map(|name| Layout::parse_segment(name))
            .filter(|(other, _)| *other > id)
            .min();
        let told = match next {
            None => None,
            Some((next, open)) => {
                let path = if open { self.layout.open_segment(next) } else { self.layout.segment(next) };
                let opened = SegmentFile::open(&*self.storage, path, next);
                opened.ok().and_then(|next| next.header.predecessor)
            }
        };
        let end = match told {
            Some(told) if told.end.segment == id => Some(told.end.offset),
            Some(told) if told.end.segment < id => None,
            _ => segment.footer(None, &mut Codec::default())?.map(|(offset, _)| offset),
        };
        Ok(end.map(|end| (segment, end)))
    }
}

/// Those of some damaged places that are not known to be lost.
///
/// # Errors
/// `Index`.
pub fn unknown(head: &Head, damage: &[Damage]) -> Result<Vec<Damage>> {
    let losses = losses(head.records())?;
    let is_new = |damage: &&Damage| !losses.iter().any(|loss| loss.lost.covers(damage.at));
    Ok(damage.iter().filter(is_new).cloned().collect())
}

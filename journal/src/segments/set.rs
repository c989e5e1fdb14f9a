//! The segments of a journal as a set: which there are, which should be there, what is wrong with their files.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Damage, SegmentFile, Walked, walk_batches};
use crate::error::{Error, IoContext, Result};
use crate::format::segment::{Compacted, HEADER_BYTES_USUAL, Predecessor};
use crate::storage::{Layout, Storage};
use crate::types::{Position, SegmentId, Seq};

/// How many segments before one without a readable header are searched for its beginning.
const PREDECESSORS_MAX: usize = 4;

/// The segments that there are, in order.
pub struct SegmentSet {
    /// The segments by number.
    pub segments: BTreeMap<SegmentId, Arc<SegmentFile>>,
    /// Files that are not what their names say, cannot be read as segments, or are not there.
    pub damage: Vec<Damage>,
    /// Segments that were compacted into others that are here, and whose files are still there: they hold nothing that counts.
    pub superseded: BTreeMap<SegmentId, Arc<SegmentFile>>,
    /// Files that a crash left before their headers were written, and that no other segment names an end in: ordinary,
    /// and they hold nothing.
    pub unbegun: Vec<SegmentId>,
}

impl SegmentSet {
    /// Opens every segment of the journal with that uuid; one that belongs to another is reported and left out.
    ///
    /// # Errors
    /// `Io`; `Unsupported` where one has another format.
    pub fn open(storage: &dyn Storage, layout: &Layout, journal: uuid::Uuid) -> Result<SegmentSet> {
        let dir = layout.segments();
        let mut names: BTreeMap<SegmentId, Vec<bool>> = BTreeMap::new();
        for name in storage.list(&dir).context(&dir)? {
            if let Some((id, open)) = Layout::parse_segment(&name) {
                names.entry(id).or_default().push(open);
            }
        }
        let mut set = SegmentSet {
            segments: BTreeMap::new(),
            damage: Vec::new(),
            superseded: BTreeMap::new(),
            unbegun: Vec::new(),
        };
        let (mut misnamed, mut short) = (Vec::new(), Vec::new());
        for (id, mut open) in names {
            open.sort_unstable();
            let path =
                if open.first() == Some(&false) { layout.segment(id) } else { layout.open_segment(id) };
            let opened = match SegmentFile::open_whatever(storage, path, id) {
                // Sealed between the listing and the opening.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    SegmentFile::open_whatever(storage, layout.segment(id), id)
                }
                other => other,
            };
            set.take_in(storage, opened, id, journal, &mut misnamed, &mut short)?;
            // Both names may be listed while one is given up for the other.
            let second = layout.open_segment(id);
            if open.len() > 1 && storage.open(&second).is_ok() {
                set.note(second, id, 0, "a second file of a segment; the sealed one counts");
            }
        }
        set.rename(storage, misnamed)?;
        set.excuse(short);
        set.find_predecessors()?;
        set.set_superseded_aside();
        set.note_missing(layout);
        Ok(set)
    }

    /// Takes out what was compacted: a compacted segment got its name only when it was whole and durable.
    fn set_superseded_aside(&mut self) {
        let compacted = self.segments.values().filter(|segment| segment.header.compacted.is_some());
        let superseded: Vec<SegmentId> =
            compacted.flat_map(|segment| segment.header.supersedes.iter().copied()).collect();
        for id in superseded {
            if let Some(segment) = self.segments.remove(&id) {
                self.superseded.insert(id, segment);
            }
        }
        // What is wrong with a file that does not count is no damage.
        let aside = &self.superseded;
        self.damage.retain(|damage| !aside.contains_key(&damage.at.segment));
    }

    fn note(&mut self, path: PathBuf, segment: SegmentId, offset: u64, what: impl Into<String>) {
        self.damage.push(Damage { path, at: Position { segment, offset }, len: 0, what: what.into() });
    }

    fn take_in(
        &mut self,
        storage: &dyn Storage,
        opened: Result<SegmentFile>,
        id: SegmentId,
        journal: uuid::Uuid,
        misnamed: &mut Vec<(SegmentId, PathBuf, SegmentId)>,
        short: &mut Vec<Damage>,
    ) -> Result<()> {
        match opened {
            // Where a header was not durable yet, a power cut may leave what another file had at that place.
            Ok(segment) if segment.header.id != id && is_unbegun(storage, &segment.path)? => {
                let what = format!("the header is that of {}", segment.header.id);
                short.push(Damage {
                    path: segment.path,
                    at: Position { segment: id, offset: 0 },
                    len: 0,
                    what,
                });
            }
            Ok(segment)
                if segment.header_damage.is_none() && segment.header.journal != *journal.as_bytes() =>
            {
                self.note(segment.path, id, 0, "the segment belongs to another journal");
            }
            Ok(segment) if segment.header.id != id => {
                misnamed.push((id, segment.path, segment.header.id));
            }
            Ok(segment) if segment.header_damage.is_some() => {
                let what = segment.header_damage.clone().unwrap_or_default();
                self.damage.push(Damage {
                    path: segment.path.clone(),
                    at: Position { segment: id, offset: 0 },
                    len: segment.start,
                    what: format!("{what}; its frames were found without it"),
                });
                self.segments.insert(id, Arc::new(segment));
            }
            Ok(segment) => {
                self.segments.insert(id, Arc::new(segment));
            }
            // The header is made durable before anything follows it: a shorter file never held a record.
            Err(Error::Corrupt { path, offset, what }) if is_unbegun(storage, &path)? => {
                short.push(Damage { path, at: Position { segment: id, offset }, len: 0, what });
            }
            Err(Error::Corrupt { path, offset, what }) => self.note(path, id, offset, what),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Files that are no longer than a header are ordinary, unless another segment attests that there was more.
    fn excuse(&mut self, short: Vec<Damage>) {
        let headers = self.segments.values().filter_map(|segment| segment.header.predecessor);
        let attested: Vec<SegmentId> = headers.map(|before| before.end.segment).collect();
        for file in short {
            match attested.contains(&file.at.segment) {
                true => self.damage.push(file),
                false => self.unbegun.push(file.at.segment),
            }
        }
    }

    /// Files under the names of other segments count as what they say that they are, where nothing else is that.
    fn rename(
        &mut self,
        storage: &dyn Storage,
        misnamed: Vec<(SegmentId, PathBuf, SegmentId)>,
    ) -> Result<()> {
        for (named, path, id) in misnamed {
            if self.segments.contains_key(&id) {
                self.note(path, named, 0, format!("a copy of {id} under another name; it is left out"));
                continue;
            }
            let segment = SegmentFile::open(storage, path.clone(), id)?;
            self.note(path, named, 0, format!("the file holds {id}: it was renamed; give it its name back"));
            self.segments.insert(id, Arc::new(segment));
        }
        Ok(())
    }

    /// Where a segment without a readable header goes on: its first batch names the chain's value there.
    fn find_predecessors(&mut self) -> Result<()> {
        let lost: Vec<SegmentId> = self
            .segments
            .values()
            .filter(|segment| segment.header_damage.is_some())
            .map(|segment| segment.id)
            .collect();
        for id in lost {
            let Some(segment) = self.segments.get(&id).cloned() else { continue };
            let mut first = None;
            walk_batches(&segment, segment.start, None, segment.len()?, &mut |walked| {
                let Walked::Batch(batch, _) = walked else { return Ok(()) };
                let last_seq = batch.last_seq();
                let is_left = batch.left.is_some();
                let first = first.get_or_insert((batch.chain_start, batch.first_seq, is_left, last_seq));
                first.3 = last_seq;
                Ok(())
            })?;
            let Some((chain, first_seq, is_left, last_seq)) = first else { continue };
            if is_left {
                if let Some(segment) = self.segments.get_mut(&id) {
                    let mut mended = segment.reopened();
                    mended.header.first_seq = first_seq;
                    mended.header.compacted = Some(Compacted { last_seq, as_of: Seq::ZERO });
                    *segment = Arc::new(mended);
                }
                continue;
            }
            let before: Vec<Arc<SegmentFile>> = self.log_before(id).take(PREDECESSORS_MAX).cloned().collect();
            let mut found = None;
            for candidate in before {
                walk_batches(&candidate, candidate.start, None, candidate.len()?, &mut |walked| {
                    if let Walked::Batch(_, place) = walked
                        && place.chain == chain
                    {
                        found = Some(Predecessor { end: place.end, chain });
                    }
                    Ok(())
                })?;
                if found.is_some() {
                    break;
                }
            }
            if let Some(segment) = self.segments.get_mut(&id) {
                let mut mended = segment.reopened();
                mended.header.first_seq = first_seq;
                mended.header.predecessor = found;
                mended.header.durable = found.map_or(Position::default(), |found| found.end);
                *segment = Arc::new(mended);
            }
        }
        Ok(())
    }

    /// Notes the segments that others follow and that are not there.
    fn note_missing(&mut self, layout: &Layout) {
        for (id, after) in self.missing() {
            // One that is there and cannot be read has been noted.
            if !self.damage.iter().any(|damage| damage.at.segment == id) {
                self.note(layout.segment(id), id, 0, format!("the segment is missing; {after} follows it"));
            }
        }
    }

    /// Segments that are not there, or cannot be read, each with one that follows it.
    pub fn missing(&self) -> Vec<(SegmentId, SegmentId)> {
        let mut missing = Vec::new();
        for segment in self.segments.values() {
            let Some(before) = segment.header.predecessor.map(|before| before.end.segment) else { continue };
            let there = self.segments.contains_key(&before) || self.superseded.contains_key(&before);
            if !there && !self.is_compacted(segment) {
                missing.push((before, segment.id));
            }
        }
        missing
    }

    /// Whether what comes before a segment is in a compacted one.
    fn is_compacted(&self, segment: &SegmentFile) -> bool {
        let before = segment.header.first_seq.previous();
        let mut compacted = self.segments.values().filter_map(|segment| segment.header.compacted);
        compacted.any(|compacted| compacted.last_seq == before)
    }

    /// The segments of the log before one, the newest first.
    pub(crate) fn log_before(&self, id: SegmentId) -> impl Iterator<Item = &Arc<SegmentFile>> {
        self.segments.range(..id).rev().map(|(_, segment)| segment).filter(|segment| segment.is_log())
    }

    /// All that count, in the order of what they hold.
    pub fn in_order(&self) -> Vec<&Arc<SegmentFile>> {
        let mut ordered: Vec<_> = self.segments.values().collect();
        ordered.sort_by_key(|segment| (segment.header.first_seq, segment.id));
        ordered
    }

    /// The compacted segments, by number.
    pub fn compacted(&self) -> Vec<SegmentId> {
        self.segments.values().filter(|segment| !segment.is_log()).map(|segment| segment.id).collect()
    }

    /// What the segment that follows says of where this one ends; `None` where it says nothing of it.
    pub fn end_as_followed(&self, segment: &SegmentFile) -> Option<u64> {
        let end = self.next_in_log(segment)?.header.predecessor?.end;
        if end.segment == segment.id {
            return Some(end.offset);
        }
        // Given up before anything in it was durable: what it holds was written again elsewhere.
        (end.segment < segment.id).then_some(segment.start)
    }

    /// The segment of the log that was begun after one of the log, also one that was compacted meanwhile.
    pub fn next_in_log(&self, segment: &SegmentFile) -> Option<&Arc<SegmentFile>> {
        if !segment.is_log() {
            return None;
        }
        let after = (Bound::Excluded(segment.id), Bound::Unbounded);
        let next = |set: &'_ BTreeMap<SegmentId, Arc<SegmentFile>>| {
            set.range(after).find(|(_, segment)| segment.is_log()).map(|(id, _)| *id)
        };
        let id = [next(&self.segments), next(&self.superseded)].into_iter().flatten().min()?;
        self.segments.get(&id).or_else(|| self.superseded.get(&id))
    }

    /// The newest segment of the log.
    pub fn last(&self) -> Option<&Arc<SegmentFile>> {
        self.segments.values().rev().find(|segment| segment.is_log())
    }

    /// The greatest number that a file has, or should have.
    pub fn greatest_id(&self) -> Option<SegmentId> {
        let noted = self.damage.iter().map(|damage| damage.at.segment);
        let files = self.segments.keys().chain(self.superseded.keys());
        files.copied().chain(self.unbegun.iter().copied()).chain(noted).max()
    }

    /// Segments that are not where their numbers put them.
    pub fn misplaced(&self, layout: &Layout) -> Vec<(SegmentId, PathBuf)> {
        let is_misplaced =
            |id: SegmentId, path: &Path| path != layout.segment(id) && path != layout.open_segment(id);
        let misplaced = self.segments.values().filter(|segment| is_misplaced(segment.id, &segment.path));
        misplaced.map(|segment| (segment.id, segment.path.clone())).collect()
    }
}

/// Whether a file is no longer than the header that is written before everything else.
fn is_unbegun(storage: &dyn Storage, path: &Path) -> Result<bool> {
    let len = storage.open(path).and_then(|file| file.len()).context(path)?;
    Ok(len <= HEADER_BYTES_USUAL)
}

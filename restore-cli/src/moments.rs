//! Moments: bursts of changes below a directory, so that people pick an event rather than guess a minute.
//!
//! Owns what belongs together and what is said of it: pure. Changes come newest first, and a moment is given as soon as an
//! older change does not belong to it. What reads them out of the journal is in [`walk`], the words in [`text`].

mod text;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use asof_journal::history::{Change, What};
use asof_journal::types::{Gap, GapReason, Instant, Kind, Seq};
use asof_journal::view::{is_below, related};

pub(crate) use text::{relative, sentence};
pub(crate) use walk::{Stream, Walk, before, breaks, gaps};

/// Where one moment ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// So long a time without a change ends a moment.
    pub(crate) pause_ns: i64,
    /// None is longer, so that continuous work is cut: counted from its newest change back.
    pub(crate) length_ns: i64,
    /// None holds paths of more bytes, so that memory is bounded whatever happened: about 100,000 paths.
    pub(crate) path_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { pause_ns: 10_000_000_000, length_ns: 300_000_000_000, path_bytes: 16 << 20 }
    }
}

/// What a path costs beside its bytes, when they are counted.
const PATH_OVERHEAD: usize = 80;

/// A place in the order, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// The place.
    pub(crate) seq: Seq,
    /// The wall clock then.
    pub(crate) instant: Instant,
}

/// What became of a path in a moment, all of it taken together; in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Did {
    /// It was there before, and is not after.
    Deleted,
    /// It has a name outside of the directory now.
    MovedAway,
    /// It was not there before.
    Created,
    /// It was there before and after.
    Changed,
    /// It had another name before.
    Renamed,
    /// It came and went.
    Brief,
    /// Something under its name came and went, or was lost, before it could be read.
    Vanished,
    /// The same for so many names of a directory that they were only counted.
    Crowd,
    /// It is not protected any more.
    Uncovered,
    /// What happened cannot be told, because the journal is damaged.
    Damaged,
}

impl Did {
    /// The word that JSON has for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Did::Deleted => "deleted",
            Did::MovedAway => "moved_away",
            Did::Created => "created",
            Did::Changed => "changed",
            Did::Renamed => "renamed",
            Did::Brief => "brief",
            Did::Vanished => "vanished",
            Did::Crowd => "crowds",
            Did::Uncovered => "uncovered",
            Did::Damaged => "damaged",
        }
    }
}

/// The paths of a moment that the same became of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// What became of them.
    pub(crate) did: Did,
    /// How many are no directories.
    pub(crate) files: u64,
    /// How many are directories, where that is known.
    pub(crate) dirs: u64,
    /// Whether there are more than were counted.
    pub(crate) is_least: bool,
    /// The deepest path that all of them are, or lie below.
    pub(crate) below: Vec<u8>,
}

impl Part {
    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.files + self.dirs
    }
}

/// What lay below a directory when it went: it took that along, without a word of it in the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    /// What is no directory.
    pub(crate) files: u64,
    /// Directories.
    pub(crate) dirs: u64,
    /// Whether there is more than was counted.
    pub(crate) is_least: bool,
}

/// A burst of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Its first change.
    pub(crate) first: Point,
    /// Its last change.
    pub(crate) last: Point,
    /// What happened, in the order of [`Did`].
    pub(crate) parts: Vec<Part>,
}

impl Moment {
    /// The place just before it.
    pub(crate) fn before(&self) -> Seq {
        self.first.seq.previous()
    }

    /// How many paths something happened to.
    pub(crate) fn total(&self) -> u64 {
        self.parts.iter().map(Part::total).sum()
    }

    /// How many of them this became of.
    pub(crate) fn count(&self, did: Did) -> u64 {
        self.parts.iter().filter(|part| part.did == did).map(Part::total).sum()
    }

    /// The deepest path that everything in it happened to or below.
    pub(crate) fn below(&self) -> Vec<u8> {
        common(&self.parts.iter().map(|part| part.below.as_slice()).collect::<Vec<_>>())
    }
}

/// What stands between two moments, however close they are: instants that somebody gave a name, the beginnings and ends of
/// restores into the live tree, and the beginnings of times that nobody saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaks {
    places: Vec<Seq>,
}

impl Breaks {
    /// What stands right after any of these places, and the gaps among these that a directory has.
    pub(crate) fn new(mut places: Vec<Seq>, gaps: &[Placed], dir: &[u8]) -> Breaks {
        let ends_a_moment =
            |placed: &&Placed| is_shown(&placed.gap, dir) && placed.gap.reason != GapReason::Unreadable;
        places.extend(gaps.iter().filter(ends_a_moment).map(|placed| placed.place));
        places.sort_unstable();
        Breaks { places }
    }

    fn between(&self, older: Point, newer: Point) -> bool {
        let next = self.places.get(self.places.partition_point(|&place| place < older.seq));
        next.is_some_and(|&place| place < newer.seq)
    }
}

/// A gap, and the place in the order right behind which it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The gap.
    pub(crate) gap: Gap,
    /// What happened up to here was seen before it.
    pub(crate) place: Seq,
}

/// Whether a gap is to be shown beside the moments of a directory. What vanished unread is a change, and counted as one.
pub(crate) fn is_shown(gap: &Gap, dir: &[u8]) -> bool {
    gap.reason != GapReason::VanishedUnread && related(&gap.scope, dir)
}

/// What happened to a path, as far as that decides what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Created,
    Changed,
    Renamed,
    Deleted,
    Uncovered,
    /// It got another name; whether that lies outside of the directory.
    Away(bool),
}

/// The newest and the oldest thing that happened to a path in a moment.
#[derive(Clone, Copy, Debug)]
struct Net {
    newest: Step,
    oldest: Step,
    is_dir: bool,
    /// What went along with it.
    inside: Inside,
    /// Whether it went along with a directory, and is counted there.
    is_inside: bool,
}

impl Net {
    /// What became of it; `None` where something else tells it.
    fn did(self) -> Option<Did> {
        Some(match (self.newest, self.oldest) {
            (Step::Deleted, oldest) if self.is_inside && oldest != Step::Created => return None,
            (Step::Deleted, Step::Created) => Did::Brief,
            (Step::Deleted, _) => Did::Deleted,
            (Step::Uncovered, _) => Did::Uncovered,
            (Step::Away(true), _) => Did::MovedAway,
            (Step::Away(false), _) => return None,
            (_, Step::Created) => Did::Created,
            (_, Step::Renamed) => Did::Renamed,
            _ => Did::Changed,
        })
    }
}

/// A moment that is not known to be whole yet.
#[derive(Debug)]
struct Open {
    first: Point,
    last: Point,
    nets: HashMap<Vec<u8>, Net>,
    /// Directories that took something along. What happened to a path below one before that, happened to what went along.
    gone: BTreeSet<Vec<u8>>,
    /// What is told beside that.
    further: BTreeSet<(Did, Vec<u8>, bool)>,
    bytes: usize,
}

/// Puts changes together, the newest first.
#[derive(Debug)]
pub(crate) struct Grouper {
    dir: Vec<u8>,
    limits: Limits,
    breaks: Breaks,
    open: Option<Open>,
}

impl Grouper {
    /// One for a directory.
    pub(crate) fn new(dir: Vec<u8>, limits: Limits, breaks: Breaks) -> Grouper {
        Grouper { dir, limits, breaks, open: None }
    }

    /// Takes the next older change; gives the moment that it does not belong to, which is whole then.
    ///
    /// `inside` is what lay below a directory that went.
    pub(crate) fn push(&mut self, change: &Change, inside: Inside) -> Option<Moment> {
        // A name is no change: it is one of the breaks.
        if let What::Named { .. } = change.what {
            return None;
        }
        let at = Point { seq: change.seq, instant: change.instant };
        let whole = match &self.open {
            Some(open) if !self.belongs(open, at) => self.finish(),
            _ => None,
        };
        let open = self.open.get_or_insert_with(|| Open {
            first: at,
            last: at,
            nets: HashMap::new(),
            gone: BTreeSet::new(),
            further: BTreeSet::new(),
            bytes: 0,
        });
        open.first = at;
        open.note(change, inside, &self.dir);
        whole
    }

    /// What one observation changed is never taken apart.
    fn belongs(&self, open: &Open, at: Point) -> bool {
        let (pause, length) = (self.limits.pause_ns, self.limits.length_ns);
        // Distances, not differences: a clock may have been set back.
        let apart = |newer: Instant| newer.0.abs_diff(at.instant.0);
        open.first.seq == at.seq
            || (apart(open.first.instant) <= pause.unsigned_abs()
                && apart(open.last.instant) <= length.unsigned_abs()
                && open.bytes < self.limits.path_bytes
                && !self.breaks.between(at, open.first))
    }

    /// The moment that no older change belongs to, where there is one.
    pub(crate) fn finish(&mut self) -> Option<Moment> {
        self.open.take().map(Open::close)
    }
}

impl Open {
    fn note(&mut self, change: &Change, inside: Inside, dir: &[u8]) {
        let path = &change.path;
        match &change.what {
            What::Created { kind } => self.step(path, Step::Created, *kind == Kind::Dir),
            What::Linked => self.step(path, Step::Created, false),
            What::Replaced { .. } | What::Modified { .. } | What::Attributes => {
                self.step(path, Step::Changed, false);
            }
            What::Deleted { kind, .. } => {
                self.step(path, Step::Deleted, *kind == Kind::Dir);
                self.take_along(path, inside);
            }
            What::Uncovered => self.step(path, Step::Uncovered, false),
            What::Renamed { from } => {
                let is_here = is_below(path, dir);
                if is_here {
                    self.step(path, Step::Renamed, false);
                }
                if is_below(from, dir) {
                    self.step(from, Step::Away(!is_here), false);
                }
            }
            What::Vanished { kind } => self.further(Did::Vanished, path, *kind == Kind::Dir),
            What::Crowd { .. } => self.further(Did::Crowd, path, true),
            What::Damaged { .. } => self.further(Did::Damaged, path, true),
            // What is not kept is no event.
            What::Named { .. } | What::Thinned { .. } => {}
        }
    }

    fn step(&mut self, path: &[u8], step: Step, is_dir: bool) {
        if let Some(net) = self.nets.get_mut(path) {
            net.oldest = step;
            net.is_dir |= is_dir;
            return;
        }
        self.bytes += path.len() + PATH_OVERHEAD;
        let is_inside = above(&self.gone, path).is_some();
        let newest = if is_inside { Step::Deleted } else { step };
        let net = Net { newest, oldest: step, is_dir, inside: Inside::default(), is_inside };
        self.nets.insert(path.to_vec(), net);
    }

    /// Notes what went along with a directory. Where it was there again later, that is what counts.
    fn take_along(&mut self, path: &[u8], inside: Inside) {
        let Some(net) = self.nets.get_mut(path) else { return };
        let is_last = net.newest == Step::Deleted && !net.is_inside && !self.gone.contains(path);
        if is_last && inside != Inside::default() {
            net.inside = inside;
            self.gone.insert(path.to_vec());
        }
    }

    fn further(&mut self, did: Did, path: &[u8], is_dir: bool) {
        if self.further.insert((did, path.to_vec(), is_dir)) {
            self.bytes += path.len() + PATH_OVERHEAD;
        }
    }

    fn close(mut self) -> Moment {
        self.set_brief_apart();
        let mut parts: BTreeMap<Did, Part> = BTreeMap::new();
        let mut add = |did: Did, path: &[u8], is_dir: bool, inside: Inside| {
            let (files, dirs, is_least) = (0, 0, false);
            let part =
                parts.entry(did).or_insert_with(|| Part { did, files, dirs, is_least, below: path.to_vec() });
            shorten(&mut part.below, path);
            part.files += inside.files + u64::from(!is_dir);
            part.dirs += inside.dirs + u64::from(is_dir);
            part.is_least |= inside.is_least;
        };
        for (path, net) in &self.nets {
            if let Some(did) = net.did() {
                add(did, path, net.is_dir, net.inside);
            }
        }
        for (did, path, is_dir) in &self.further {
            add(*did, path, *is_dir, Inside::default());
        }
        Moment { first: self.first, last: self.last, parts: parts.into_values().collect() }
    }

    /// What came in this moment and went along with a directory was there for a moment only, and is no loss.
    fn set_brief_apart(&mut self) {
        let is_brief = |net: &Net| net.is_inside && net.oldest == Step::Created;
        let brief: Vec<(Vec<u8>, bool)> = self
            .nets
            .iter()
            .filter(|(_, net)| is_brief(net))
            .filter_map(|(path, net)| Some((above(&self.gone, path)?.to_vec(), net.is_dir)))
            .collect();
        for (dir, is_dir) in brief {
            if let Some(net) = self.nets.get_mut(&dir) {
                let count = if is_dir { &mut net.inside.dirs } else { &mut net.inside.files };
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// The topmost of these directories that a path lies below.
fn above<'g>(gone: &'g BTreeSet<Vec<u8>>, path: &[u8]) -> Option<&'g [u8]> {
    if gone.is_empty() {
        return None;
    }
    let mut ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.find_map(|end| gone.get(path.get(..end)?)).map(Vec::as_slice)
}

/// The deepest path that all of these are, or lie below.
pub(crate) fn common(paths: &[&[u8]]) -> Vec<u8> {
    let mut paths = paths.iter();
    let mut common = paths.next().map_or_else(|| b"/".to_vec(), |path| path.to_vec());
    paths.for_each(|path| shorten(&mut common, path));
    common
}

/// Cuts an absolute path down to what is also another one, or above it.
fn shorten(common: &mut Vec<u8>, path: &[u8]) {
    while common.len() > 1 && !is_below(path, common) {
        let slash = common.iter().rposition(|&b| b == b'/').unwrap_or(0);
        common.truncate(slash.max(1));
    }
}

#[cfg(test)]
pub(crate) mod tests;

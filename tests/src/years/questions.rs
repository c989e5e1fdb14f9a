//! What the journal must answer, asked while the answer is known.

use std::collections::VecDeque;

use asof_journal::reader::Reader;
use asof_journal::types::{Content, Extent, Instant, NodeId, Seq};
use asof_journal::view::View;

use crate::random::Random;

/// Intervals at whose multiples a state is kept, the longest first, in seconds; for each, of how many in which one question
/// or more are asked, and how many questions are kept at most.
const GRIDS: [(i64, u64, usize, usize); 5] = [
    (7 * 86_400, 1, 12, 4000),
    (86_400, 1, 5, 4000),
    (3600, 3, 1, 1500),
    (600, 12, 1, 1000),
    (1, 1500, 1, 1500),
];

/// A path at an instant, and what it was.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which.
    pub path: Vec<u8>,
    /// As of when: the newest group there was.
    pub seq: Seq,
    /// When that was committed.
    pub wall: Instant,
    /// The state lasted beyond a multiple of so many seconds.
    pub grid: i64,
    /// A digest of what it held; `None` where it was not there.
    pub expected: Option<[u8; 16]>,
}

impl Question {
    /// Whether the default ladder keeps its instant, as of `now`: everything for 2 days, then every 10 minutes for a week, hourly for 30
    /// days, daily for 365, weekly after.
    pub fn is_promised(&self, now: Instant) -> bool {
        let age = (now.0 - self.wall.0) / 1_000_000_000 / 86_400;
        let steps = [(2, 1), (9, 600), (39, 3600), (404, 86_400), (i64::MAX, 7 * 86_400)];
        steps.iter().find(|(days, _)| age < *days).is_some_and(|(_, interval)| self.grid >= *interval)
    }
}

/// What the journal said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What it was.
    Right,
    /// That it does not know.
    Unknown(String),
    /// Something else.
    Wrong(String),
}

/// Longer paths are not asked for.
const PATH_BYTES_MAX: usize = 96;

/// A question without anything that would have to be allocated for it.
#[derive(Clone, Copy)]
struct Kept {
    path: [u8; PATH_BYTES_MAX],
    path_len: u8,
    seq: Seq,
    wall: Instant,
    expected: Option<[u8; 16]>,
}

/// Questions with answers, bounded.
pub(super) struct Questions {
    asked: [VecDeque<Kept>; GRIDS.len()],
}

impl Default for Questions {
    fn default() -> Questions {
        Questions { asked: GRIDS.map(|(.., most)| VecDeque::with_capacity(most + 1)) }
    }
}

impl Questions {
    /// What the state from `since` to before `until` (seconds since 1970) is asked: of which grid, and how much.
    pub(super) fn due(&self, since: i64, until: i64, random: &mut Random) -> (i64, usize) {
        for (interval, of, count, _) in GRIDS {
            if since.div_euclid(interval) * interval == since
                || since.div_euclid(interval) < (until - 1).div_euclid(interval)
            {
                return (interval, if random.below(of) == 0 { count } else { 0 });
            }
        }
        (1, 0)
    }

    pub(super) fn keep(&mut self, question: Question) {
        let place = GRIDS.iter().position(|(interval, ..)| *interval == question.grid);
        let Some((asked, most)) =
            place.and_then(|place| Some((self.asked.get_mut(place)?, GRIDS.get(place)?.3)))
        else {
            return;
        };
        let mut path = [0; PATH_BYTES_MAX];
        let Some(start) = path.get_mut(..question.path.len()) else { return };
        start.copy_from_slice(&question.path);
        let Question { path: of, seq, wall, expected, .. } = question;
        asked.push_back(Kept { path, path_len: of.len() as u8, seq, wall, expected });
        if asked.len() > most {
            asked.pop_front();
        }
    }

    /// Some of each sort.
    pub(super) fn choose(&self, count: usize, random: &mut Random) -> Vec<Question> {
        let mut chosen = Vec::new();
        for (place, asked) in self.asked.iter().enumerate() {
            let (asked, grid) = (asked.iter().copied().collect::<Vec<Kept>>(), GRIDS[place].0);
            let share = (count - chosen.len()) / (GRIDS.len() - place);
            chosen.extend(random.take(&asked, share).into_iter().map(|kept| {
                let Kept { path, path_len, seq, wall, expected } = kept;
                Question { path: path[..usize::from(path_len)].to_vec(), seq, wall, grid, expected }
            }));
        }
        chosen
    }
}

/// What content is known by.
pub(super) fn digest(content: &[u8]) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(content).as_bytes()[..16]);
    digest
}

/// Asks the journal.
pub fn answer(reader: &Reader, question: &Question) -> Answer {
    let view = reader.view(question.seq);
    match found(&view, &question.path) {
        Err(problem) => Answer::Unknown(problem),
        Ok(found) if found == question.expected => Answer::Right,
        // What came to a name first leaves nothing there when it goes; then the journal says that the instant is not whole.
        Ok(None) if matches!(reader.thinned_around(question.seq), Ok(Some(_))) => {
            Answer::Unknown("not there, and the instant is not whole any more".into())
        }
        Ok(found) => Answer::Wrong(format!("{found:?}")),
    }
}

/// The digest of what a path held, `None` where it was not there.
fn found(view: &View<'_>, path: &[u8]) -> Result<Option<[u8; 16]>, String> {
    let told = |error: asof_journal::error::Error| error.to_string();
    let Some(entry) = view.resolve(path).map_err(told)? else {
        return match is_thinned(view, path).map_err(told)? {
            true => Err("thinned".into()),
            false => Ok(None),
        };
    };
    let at = view.version(entry.node).map_err(told)?.ok_or("no version of it")?;
    let mut hasher = blake3::Hasher::new();
    match &at.version.content {
        Content::Inline(bytes) => {
            hasher.update(bytes);
        }
        Content::Extents(_) => {
            for extent in view.extents(&at.version).map_err(told)? {
                let Extent::Block { id, .. } = extent else { return Err(format!("{extent:?}")) };
                hasher.update(&view.block(id).map_err(told)?);
            }
        }
        other => return Err(format!("{other:?}")),
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Ok(Some(digest))
}

/// Whether a name on the way to a path that is not there is one of which it is not known what it stood for.
fn is_thinned(view: &View<'_>, path: &[u8]) -> asof_journal::error::Result<bool> {
    let mut dir = NodeId::ROOT;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        match view.lookup(dir, name)? {
            Some(entry) => dir = entry.node,
            None => return Ok(view.list_with_thinned(dir)?.1.iter().any(|thinned| thinned == name)),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_promised_at_long_intervals_only() {
        let asked = |grid| Question { path: Vec::new(), seq: Seq(1), wall: Instant(0), grid, expected: None };
        let promised = |grid, days: i64| asked(grid).is_promised(Instant(days * 86_400_000_000_000));
        for (grid, days) in [(1, 2), (600, 9), (3600, 39), (86_400, 404), (7 * 86_400, i64::from(u16::MAX))] {
            assert!(promised(grid, days - 1), "{grid}: {days}");
            assert_eq!(promised(grid, days), grid == 7 * 86_400, "{grid}: {days}");
        }
    }
}

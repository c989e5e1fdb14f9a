//! What a wall clock time means, naively: all commits in a list, and the rule of the format read out loud.

use asof_journal::reader::{Reader, Resolved};
use asof_journal::types::{ClockReading, Instant, Seq};

use super::history::same;

/// One second, in ns: a wall clock that moved by more against the boot clock begins an epoch.
const STEP_NS: i128 = 1_000_000_000;

/// A batch that was committed.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Its last `Seq`.
    pub last: Seq,
    /// The clocks when it was written.
    pub clock: ClockReading,
    /// The instant that was reported.
    pub told: Instant,
}

/// A batch with the wall clock and the epoch that it must have.
#[derive(Clone, Copy, Debug)]
struct Placed {
    last: Seq,
    wall: i64,
    epoch: u32,
}

/// All batches, in order.
#[derive(Clone, Debug, Default)]
pub struct Commits {
    all: Vec<Commit>,
}

impl Commits {
    /// Adds one.
    pub fn add(&mut self, commit: Commit) {
        self.all.push(commit);
    }

    /// Forgets those behind a `Seq`.
    pub fn truncate(&mut self, seq: Seq) {
        self.all.retain(|commit| commit.last <= seq);
    }

    /// The last `Seq` of each.
    pub fn ends(&self) -> impl DoubleEndedIterator<Item = Seq> {
        self.all.iter().map(|commit| commit.last)
    }

    fn placed(&self) -> Vec<Placed> {
        let mut placed: Vec<Placed> = Vec::new();
        let mut before: Option<(Commit, Placed)> = None;
        for commit in &self.all {
            let (wall, boot) = (commit.clock.wall.0, i128::from(commit.clock.boottime_ns));
            let next = match before {
                None => Placed { last: commit.last, wall, epoch: 1 },
                Some((old, at)) => {
                    let ran = boot - i128::from(old.clock.boottime_ns);
                    let moved = i128::from(wall) - i128::from(at.wall) - ran;
                    let another = old.clock.boot_id != commit.clock.boot_id || moved.abs() > STEP_NS;
                    match another {
                        true => Placed { last: commit.last, wall, epoch: at.epoch + 1 },
                        false => Placed { last: commit.last, wall: wall.max(at.wall + 1), epoch: at.epoch },
                    }
                }
            };
            before = Some((*commit, next));
            placed.push(next);
        }
        placed
    }

    /// Compares what a reader says of times: at, just before and just behind every commit.
    ///
    /// # Errors
    /// In words, where it differs.
    pub fn compare(&self, reader: &Reader) -> Result<(), String> {
        let placed = self.placed();
        for (commit, at) in self.all.iter().zip(&placed) {
            same("the instant that was reported", &commit.told, &Instant(at.wall))?;
            let seen = reader.at_seq(at.last).map_err(|error| error.to_string())?;
            let seen = seen.map(|moment| (moment.instant.0, moment.epoch));
            same(&format!("when {} was committed", at.last), &seen, &Some((at.wall, at.epoch)))?;
        }
        let times = placed.iter().flat_map(|at| [at.wall - 1, at.wall, at.wall + 1, at.wall + 700_000_000]);
        for time in times {
            let seen = reader.at_instant(Instant(time)).map_err(|error| error.to_string())?;
            let seen = seen.map(|Resolved { moment, others }| {
                let others: Vec<Seq> = others.iter().map(|other| other.seq).collect();
                (moment.seq, moment.epoch, others)
            });
            same(&format!("what {time} means"), &seen, &meaning(&placed, time))?;
        }
        Ok(())
    }
}

/// The greatest `Seq` with wall <= T in the latest epoch that contains T, else in the one with the greatest end before
/// it; and the readings in the other epochs that contain T.
fn meaning(placed: &[Placed], time: i64) -> Option<(Seq, u32, Vec<Seq>)> {
    let mut epochs: Vec<u32> = placed.iter().map(|at| at.epoch).collect();
    epochs.dedup();
    let of = |epoch: u32| placed.iter().filter(move |at| at.epoch == epoch);
    let until = |epoch: u32| of(epoch).filter(|at| at.wall <= time).map(|at| at.last).max();
    let contains = |epoch: u32| {
        of(epoch).map(|at| at.wall).min().is_some_and(|first| first <= time)
            && of(epoch).map(|at| at.wall).max().is_some_and(|last| time <= last)
    };
    let containing: Vec<u32> = epochs.iter().copied().filter(|&epoch| contains(epoch)).collect();
    if let Some((&latest, earlier)) = containing.split_last() {
        let others = earlier.iter().filter_map(|&epoch| until(epoch)).collect();
        return until(latest).map(|seq| (seq, latest, others));
    }
    let ended = epochs.iter().filter_map(|&epoch| {
        let last = of(epoch).map(|at| at.wall).max()?;
        (last <= time).then_some((last, epoch))
    });
    let (_, epoch) = ended.max()?;
    until(epoch).map(|seq| (seq, epoch, Vec::new()))
}

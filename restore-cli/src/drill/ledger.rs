//! What was drilled already: so that each drill takes what the ones before did not, and a report can say how much there was
//! ever.
//!
//! Owns the file, one a drill and journal, in text: a header of JSON, then a line a path. Knows paths by a hash only.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spec::Sample;

/// The version of the form.
const FORMAT: u32 = 1;
const DAY_NS: i64 = 86_400_000_000_000;

/// The first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    asof_ledger: u32,
    /// What the order of paths is drawn with.
    seed: u64,
    /// How often all paths were through, from 1.
    round: u32,
    passes: Vec<Pass>,
}

/// One drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    /// Its own seed, by which it can be repeated.
    pub(crate) seed: u64,
    /// The place in the journal that it restored.
    pub(crate) seq: u64,
    /// The day of that instant, counted from the epoch, UTC.
    pub(crate) day: i64,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// The round that it was taken in last.
    round: u32,
    /// The pass that it was taken in last, from 1.
    pass: u32,
    /// Whether it was ever compared with an oracle.
    compared: bool,
}

/// All that is known.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    header: Header,
    entries: HashMap<u64, Entry>,
    _lock: Option<File>,
}

/// What a pass takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    /// Indices into the candidates.
    pub(crate) chosen: Vec<usize>,
    /// Whether the ledger takes note: a repeated pass is not a further one.
    pub(crate) counts: bool,
}

impl Ledger {
    /// Opens the ledger of a drill, and keeps others from it. `seed` is for one that does not exist yet.
    pub(crate) fn open(dir: &Path, drill: &str, seed: u64) -> io::Result<Ledger> {
        fs::create_dir_all(dir)?;
        let lock = File::create(dir.join(format!("{drill}.ledger-lock")))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::new(io::ErrorKind::ResourceBusy, "another drill of that name is running")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let file = dir.join(format!("{drill}.ledger"));
        let (header, entries) = match File::open(&file) {
            Ok(from) => read(BufReader::new(from))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Header { asof_ledger: FORMAT, seed, round: 1, passes: Vec::new() }, HashMap::new())
            }
            Err(error) => return Err(error),
        };
        Ok(Ledger { file, header, entries, _lock: Some(lock) })
    }

    /// The pass that was drawn with a seed.
    pub(crate) fn pass_of(&self, seed: u64) -> Option<&Pass> {
        self.header.passes.iter().find(|pass| pass.seed == seed)
    }

    /// Draws from candidates. With a seed that a pass had, the same again; with any other that was asked for, by it alone;
    /// else what comes next, the rest of the round at most, and a new round where none is left.
    pub(crate) fn draw(&mut self, candidates: &[Vec<u8>], sample: Sample, asked: Option<u64>) -> Draw {
        let wanted = sample.of(candidates.len());
        if let Some(seed) = asked {
            let number = self.header.passes.iter().position(|pass| pass.seed == seed).map(|at| at as u32 + 1);
            let chosen = match number {
                Some(number) => {
                    let of_it = |path: &Vec<u8>| {
                        self.entries.get(&key(path)).is_some_and(|entry| entry.pass == number)
                    };
                    (0..candidates.len()).filter(|&at| candidates.get(at).is_some_and(of_it)).collect()
                }
                None => smallest(candidates, (0..candidates.len()).collect(), wanted, seed, 0),
            };
            return Draw { chosen, counts: false };
        }
        let mut left = self.left(candidates);
        if left.is_empty() && !candidates.is_empty() {
            self.header.round += 1;
            left = self.left(candidates);
        }
        Draw { chosen: smallest(candidates, left, wanted, self.header.seed, self.header.round), counts: true }
    }

    fn left(&self, candidates: &[Vec<u8>]) -> Vec<usize> {
        let round = self.header.round;
        let is_left = |path: &Vec<u8>| self.entries.get(&key(path)).is_none_or(|entry| entry.round < round);
        candidates.iter().enumerate().filter(|(_, path)| is_left(path)).map(|(at, _)| at).collect()
    }

    /// Takes note of a drill: what it took, and which of that was compared with an oracle.
    pub(crate) fn note<'p>(
        &mut self,
        seed: u64,
        seq: u64,
        instant_ns: i64,
        taken: impl IntoIterator<Item = (&'p [u8], bool)>,
    ) {
        self.header.passes.push(Pass { seed, seq, day: instant_ns.div_euclid(DAY_NS) });
        let (round, pass) = (self.header.round, self.header.passes.len() as u32);
        for (path, compared) in taken {
            let entry = self.entries.entry(key(path)).or_insert(Entry { round, pass, compared });
            *entry = Entry { round, pass, compared: entry.compared || compared };
        }
    }

    /// How many of these paths were ever compared.
    pub(crate) fn compared<'p>(&self, paths: impl IntoIterator<Item = &'p [u8]>) -> u64 {
        let was = |path: &&[u8]| self.entries.get(&key(path)).is_some_and(|entry| entry.compared);
        paths.into_iter().filter(was).count() as u64
    }

    /// On how many days of history from a first to a last instant there lies one that was restored, and how many there are.
    pub(crate) fn days(&self, first_ns: i64, last_ns: i64) -> (u64, u64) {
        let (first, last) = (first_ns.div_euclid(DAY_NS), last_ns.div_euclid(DAY_NS));
        let days: std::collections::HashSet<i64> = self
            .header
            .passes
            .iter()
            .map(|pass| pass.day)
            .filter(|day| (first..=last).contains(day))
            .collect();
        (days.len() as u64, u64::try_from(last - first + 1).unwrap_or(0))
    }

    /// Writes it: aside, then renamed.
    pub(crate) fn save(&self) -> io::Result<()> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let aside = tempfile::NamedTempFile::new_in(dir)?;
        let mut to = BufWriter::new(aside);
        serde_json::to_writer(&mut to, &self.header)?;
        to.write_all(b"\n")?;
        let mut keys: Vec<(&u64, &Entry)> = self.entries.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| **key);
        for (key, Entry { round, pass, compared }) in keys {
            writeln!(to, "{key:016x} {round} {pass} {}", u8::from(*compared))?;
        }
        let aside = to.into_inner().map_err(io::IntoInnerError::into_error)?;
        aside.as_file().sync_all()?;
        aside.persist(&self.file).map_err(|error| error.error)?;
        Ok(())
    }
}

fn read(mut from: impl BufRead) -> io::Result<(Header, HashMap<u64, Entry>)> {
    let bad =
        || io::Error::new(io::ErrorKind::InvalidData, "it is no ledger of drills, or of a newer version");
    let mut line = String::new();
    from.read_line(&mut line)?;
    let header: Header = serde_json::from_str(&line).map_err(|_| bad())?;
    if header.asof_ledger != FORMAT {
        return Err(bad());
    }
    let mut entries = HashMap::new();
    for line in from.lines() {
        let line = line?;
        let mut words = line.split(' ');
        let mut next = || words.next().ok_or_else(bad);
        let key = u64::from_str_radix(next()?, 16).map_err(|_| bad())?;
        let mut number = || next()?.parse::<u32>().map_err(|_| bad());
        let (round, pass, compared) = (number()?, number()?, number()? != 0);
        entries.insert(key, Entry { round, pass, compared });
    }
    Ok((header, entries))
}

/// What a path is known by.
fn key(path: &[u8]) -> u64 {
    first(&blake3::hash(path))
}

fn first(hash: &blake3::Hash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(hash.as_bytes().get(..8).unwrap_or(&[0; 8]));
    u64::from_le_bytes(bytes)
}

/// The first so many of candidates in an order that a seed and a round decide.
fn smallest(
    candidates: &[Vec<u8>],
    mut left: Vec<usize>,
    wanted: usize,
    seed: u64,
    round: u32,
) -> Vec<usize> {
    let mut keyed = [0; 32];
    keyed
        .iter_mut()
        .zip(seed.to_le_bytes().into_iter().chain(round.to_le_bytes()))
        .for_each(|(to, from)| *to = from);
    let rank =
        |at: &usize| candidates.get(*at).map_or(u64::MAX, |path| first(&blake3::keyed_hash(&keyed, path)));
    if wanted < left.len() {
        left.sort_by_cached_key(rank);
        left.truncate(wanted);
    }
    left.sort_unstable();
    left
}

/// A number between 0 and `most`, inclusive, that a seed decides.
pub(crate) fn drawn(seed: u64, what: &str, most: u64) -> u64 {
    let mut keyed = [0; 32];
    keyed.iter_mut().zip(seed.to_le_bytes()).for_each(|(to, from)| *to = from);
    let number = first(&blake3::keyed_hash(&keyed, what.as_bytes()));
    match most.checked_add(1) {
        // The product's upper half: even to within one part in 2^64.
        Some(range) => ((u128::from(number) * u128::from(range)) >> 64) as u64,
        None => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|number| format!("/file/{number}").into_bytes()).collect()
    }

    fn pass(ledger: &mut Ledger, all: &[Vec<u8>], sample: Sample, seed: u64) -> Vec<usize> {
        let drawn = ledger.draw(all, sample, None);
        assert!(drawn.counts);
        let taken: Vec<&[u8]> = drawn.chosen.iter().map(|&at| all[at].as_slice()).collect();
        ledger.note(seed, 1, 0, taken.into_iter().map(|path| (path, true)));
        drawn.chosen
    }

    #[test]
    fn passes_of_a_percentage_have_everything_once_and_then_begin_again() {
        let dir = tempfile::tempdir().unwrap();
        for count in [1, 19, 20, 100, 103] {
            let all = candidates(count);
            let name = format!("d{count}");
            let mut met = vec![0; count];
            let mut passes = 0;
            while met.contains(&0) {
                // Opened again each time, as by a timer.
                let mut ledger = Ledger::open(dir.path(), &name, 4).unwrap();
                for at in pass(&mut ledger, &all, Sample::Percent(5.0), passes) {
                    met[at] += 1;
                }
                ledger.save().unwrap();
                passes += 1;
                assert!(passes <= 20, "{count}: {met:?}");
            }
            assert!(met.iter().all(|&times| times == 1), "{count}: {met:?}");
            let mut ledger = Ledger::open(dir.path(), &name, 4).unwrap();
            assert_eq!(ledger.compared(all.iter().map(Vec::as_slice)), count as u64);
            assert!(!pass(&mut ledger, &all, Sample::Percent(5.0), 99).is_empty(), "a new round");
        }
    }

    #[test]
    fn new_paths_come_in_and_a_pass_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path(), "d", 1).unwrap();
        let all = candidates(10);
        let first = pass(&mut ledger, &all[..5], Sample::Count(3), 77);
        let rest: Vec<usize> = pass(&mut ledger, &all, Sample::Count(10), 78);
        assert_eq!(rest.len(), 7, "{rest:?}");
        assert!(first.iter().all(|at| !rest.contains(at)));
        ledger.save().unwrap();
        assert_eq!(Ledger::open(dir.path(), "d", 2).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(ledger);
        let mut ledger = Ledger::open(dir.path(), "d", 2).unwrap();
        assert_eq!(ledger.draw(&all, Sample::Count(3), Some(77)), Draw { chosen: first, counts: false });
        let other = ledger.draw(&all, Sample::Count(4), Some(5));
        assert_eq!((other.chosen.len(), other.counts), (4, false));
        assert_eq!(ledger.draw(&all, Sample::Count(4), Some(5)), other);
    }

    #[test]
    fn what_was_not_compared_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path(), "d", 1).unwrap();
        ledger.note(1, 1, 5 * DAY_NS + 1, [(&b"/a"[..], false), (&b"/b"[..], true)]);
        assert_eq!(ledger.compared([&b"/a"[..], &b"/b"[..], &b"/c"[..]]), 1);
        assert_eq!(ledger.days(0, 9 * DAY_NS), (1, 10));
        assert_eq!(ledger.days(6 * DAY_NS, 9 * DAY_NS), (0, 4));
    }

    #[test]
    fn a_file_that_is_no_ledger_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("d.ledger"), "something else\n").unwrap();
        assert!(Ledger::open(dir.path(), "d", 1).is_err());
    }

    #[test]
    fn numbers_are_drawn_within_their_bounds() {
        let all: Vec<u64> = (0..1000).map(|seed| drawn(seed, "x", 9)).collect();
        assert!((0..=9).all(|number| all.contains(&number)) && all.iter().all(|number| *number <= 9));
        assert_eq!(drawn(7, "x", 1 << 40), drawn(7, "x", 1 << 40));
    }
}

//! One life of a journal: steps, a fault or an end at one operation, what is found, more steps, a second end, what is
//! found then.
//!
//! Owns the judgement. What is there is a prefix of what was committed and holds everything that was reported durable;
//! every state opens, for reading and for writing, and shows the bytes of the naive history; an ordinary end is not
//! called damage; the index has never come further than the log; nothing was written after a failure.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use asof_journal::Error;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::Seq;

use tempfile::TempDir;

use super::desk::{Desk, SMALL};
use super::file::Fate;
use super::medium::{Fault, Medium};
use super::step::Step;
use crate::must::Must;
use crate::random::Random;

/// Steps before the first end.
const STEPS_FIRST: usize = 36;
/// Steps after it.
const STEPS_SECOND: usize = 14;
/// Operations within which the second end comes; it comes behind the last step where there are fewer.
const SECOND_WITHIN: u64 = 45;

/// How something ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The machine is without power: what was not synced is anybody's guess.
    PowerCut(Fate),
    /// The process is killed: what it wrote is read by the next one.
    Kill,
}

/// What is to go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides steps and fates.
    pub seed: u64,
    /// The operation in the middle of which the first end comes; behind the last step otherwise.
    pub end_at: Option<u64>,
    /// How it ends first.
    pub end: End,
    /// Operations that fail, with `EIO` or for want of room.
    pub faults: Vec<(u64, Fault)>,
    /// Operations during which there is no room.
    pub full: std::ops::Range<u64>,
}

/// What goes wrong at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The power is cut in the middle of it.
    PowerCut,
    /// The process is killed in the middle of it, and the power cut later.
    Kill,
    /// It fails with `EIO`.
    Io,
    /// It fails for want of room, and so do some after it.
    Full,
    /// It fails with `EIO`, and the power is cut a few operations later.
    IoThenPowerCut,
}

impl Kind {
    /// All that there are.
    pub const ALL: [Kind; 5] = [Kind::PowerCut, Kind::Kill, Kind::Io, Kind::Full, Kind::IoThenPowerCut];
}

impl Plan {
    /// One in which something goes wrong at an operation. The fates of what was not synced take turns.
    pub fn at(kind: Kind, seed: u64, operation: u64) -> Plan {
        let mut random = Random::new(seed ^ operation.rotate_left(32));
        let fate = Fate::ALL[(seed + operation) as usize % Fate::ALL.len()];
        let quiet = Plan { end: End::PowerCut(fate), ..Plan::quiet(seed) };
        match kind {
            Kind::PowerCut => Plan { end_at: Some(operation), ..quiet },
            Kind::Kill => Plan { end_at: Some(operation), end: End::Kill, ..quiet },
            Kind::Io => Plan { faults: vec![(operation, Fault::Io)], ..quiet },
            Kind::Full => Plan { full: operation..operation + 1 + random.below(12), ..quiet },
            Kind::IoThenPowerCut => {
                let end_at = Some(operation + 1 + random.below(6));
                Plan { faults: vec![(operation, Fault::Io)], end_at, ..quiet }
            }
        }
    }

    /// One in which nothing goes wrong but that the power is cut behind the last step.
    pub fn quiet(seed: u64) -> Plan {
        Plan { seed, end_at: None, end: End::PowerCut(Fate::Mixed), faults: Vec::new(), full: 0..0 }
    }
}

/// What a life came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Storage operations before the first end.
    pub operations: u64,
    /// The same with those after it.
    pub operations_in_all: u64,
    /// States that were opened and compared.
    pub states: u64,
    /// Steps that did something.
    pub steps: u64,
    /// Commits that failed.
    pub failures: u64,
    /// Views that were compared in everything.
    pub views: u64,
    /// Groups in the journal at the end.
    pub groups: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} crash states, {} views compared, {} storage operations, {} steps, {} groups, {} failed commits",
            self.states, self.views, self.operations_in_all, self.steps, self.groups, self.failures
        )
    }
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.operations += other.operations;
        self.operations_in_all += other.operations_in_all;
        self.states += other.states;
        self.steps += other.steps;
        self.failures += other.failures;
        self.views += other.views;
        self.groups += other.groups;
    }
}

/// What should not be, with everything that is needed to see it again.
#[derive(Clone, Debug)]
pub struct Violation {
    plan: Plan,
    what: String,
    trace: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  in {:?}\n  storage operations:\n{}", self.what, self.plan, self.trace)
    }
}

/// What becomes of the index at an end. It is derived: whatever it is, nothing may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Index {
    /// As the process left it.
    Kept,
    /// As it was at some time before.
    Older,
    Gone,
}

struct Life<'p> {
    plan: &'p Plan,
    random: Random,
    medium: Medium,
    desk: Desk,
    dir: PathBuf,
    older: PathBuf,
    outcome: Outcome,
    /// The index was there and nobody touched it.
    index_whole: bool,
}

/// Lives one plan.
///
/// # Errors
/// The first thing that should not be.
pub fn live(plan: &Plan) -> Result<Outcome, Box<Violation>> {
    let tmp = quick_dir();
    let dir = tmp.path().join("j");
    let medium = Medium::new(tmp.path(), plan.seed ^ plan.end_at.unwrap_or(0).wrapping_mul(0x9e37_79b9));
    let mut life = Life {
        plan,
        random: Random::new(plan.seed),
        desk: Desk::new(medium.storage(), &dir, SMALL),
        medium: medium.clone(),
        older: tmp.path().join("older"),
        dir,
        outcome: Outcome::default(),
        index_whole: false,
    };
    match life.whole() {
        Ok(()) => Ok(life.outcome),
        Err(what) => Err(Box::new(Violation { plan: plan.clone(), what, trace: medium.trace() })),
    }
}

/// A temporary directory in memory, where there is one: only the derived index and a lock are really on a disk.
pub fn quick_dir() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("asof-life-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).must("a temporary directory")
}

impl Life<'_> {
    fn whole(&mut self) -> Result<(), String> {
        for &(operation, fault) in &self.plan.faults {
            self.medium.fail_at(operation, fault);
        }
        self.medium.fill(self.plan.full.clone());
        if let Some(operation) = self.plan.end_at {
            self.medium.fail_at(operation, Fault::End);
        }
        self.steps(STEPS_FIRST)?;
        self.outcome.operations = self.medium.operations();
        self.end(self.plan.end)?;

        let second = self.medium.operations() + self.random.below(SECOND_WITHIN);
        self.medium.fail_at(second, Fault::End);
        self.steps(STEPS_SECOND)?;
        let fate = Fate::ALL[self.random.below(Fate::ALL.len() as u64) as usize];
        self.end(End::PowerCut(fate))?;

        self.good_order()?;
        self.outcome.operations_in_all = self.medium.operations();
        self.outcome.steps = self.desk.steps;
        self.outcome.failures = self.desk.failures;
        self.outcome.groups = self.desk.history.last().0;
        Ok(())
    }

    /// Opens and takes steps until they are all taken or everything ends.
    fn steps(&mut self, count: usize) -> Result<(), String> {
        if !self.begin()? {
            return Ok(());
        }
        let copy_at = self.random.below(count as u64) as usize;
        for number in 0..count {
            let step = Step::random(&mut self.random);
            let taken = match number % 9 {
                8 => self.desk.record_gap(),
                _ => self.desk.take(step),
            };
            if let Err(error) = taken {
                self.is_excused(&error)?;
            }
            if self.medium.has_ended() {
                break;
            }
            if number == copy_at {
                copy_index(&Layout::new(&self.dir).index(), &self.older);
            }
        }
        self.medium.end();
        Ok(())
    }

    /// Opens for writing, again where a fault was in the way; `false` where everything ended meanwhile.
    fn begin(&mut self) -> Result<bool, String> {
        let whole = std::mem::take(&mut self.index_whole);
        loop {
            match self.desk.open()? {
                Ok(()) => break,
                Err(error) => self.is_excused(&error)?,
            }
            if self.medium.has_ended() {
                return Ok(false);
            }
        }
        if !self.desk.damage.is_empty() {
            return Err(format!("an ordinary end is called damage: {}", self.desk.damage.join(", ")));
        }
        if let Some(why) = self.desk.rebuilt.as_ref().filter(|_| whole) {
            return Err(format!("the index was made anew although it was whole: {why}"));
        }
        Ok(true)
    }

    /// An error is one only where something was told to go wrong.
    fn is_excused(&self, error: &Error) -> Result<(), String> {
        let told = !self.plan.faults.is_empty() || !self.plan.full.is_empty();
        match error {
            Error::Io { .. } | Error::Full { .. } if told || self.medium.has_ended() => Ok(()),
            error => Err(format!("an error that nothing explains: {error}")),
        }
    }

    fn end(&mut self, end: End) -> Result<(), String> {
        self.desk.die();
        self.medium.heal();
        self.index_leads()?;
        let index = match (end, self.random.below(4)) {
            // The next process finds what this one left.
            (End::Kill, _) | (_, 0 | 1) => Index::Kept,
            (_, 2) => Index::Older,
            _ => Index::Gone,
        };
        match end {
            End::PowerCut(fate) => self.medium.power_cut(fate),
            End::Kill => self.medium.restart(),
        }
        self.set_index(index);
        let broken = self.medium.violations();
        if !broken.is_empty() {
            return Err(broken.join(", "));
        }
        self.judge()
    }

    fn index_leads(&self) -> Result<(), String> {
        let Some(applied) = self.desk.index_applied() else { return Ok(()) };
        if applied.end > self.desk.durable_end {
            return Err(format!(
                "the index has come to {:?}, and what is durable ends at {:?}",
                applied.end, self.desk.durable_end
            ));
        }
        Ok(())
    }

    fn set_index(&mut self, fate: Index) {
        let index = Layout::new(&self.dir).index();
        self.index_whole = fate == Index::Kept && index.join("CURRENT").exists();
        if fate != Index::Kept && index.exists() {
            fs::remove_dir_all(&index).must(index.display());
        }
        if fate == Index::Older && self.older.exists() {
            copy_index(&self.older, &index);
        }
    }

    /// What a reader finds before any writer was there again.
    fn judge(&mut self) -> Result<(), String> {
        self.outcome.states += 1;
        let reader = match Reader::open_on(self.medium.storage(), &self.dir) {
            // The power was cut before there was a journal.
            Err(Error::NoJournal { .. }) if self.desk.acknowledged == Seq::ZERO => {
                return self.desk.is_prefix(Seq::ZERO);
            }
            other => other.map_err(|error| format!("a reader cannot open: {error}"))?,
        };
        if !reader.report().damage.is_empty() {
            return Err(format!("an ordinary end is called damage: {:?}", reader.report().damage));
        }
        let found = reader.head();
        self.desk.is_prefix(found)?;
        self.compare(&reader, found)
    }

    /// Compares the newest view and a few others.
    fn compare(&mut self, reader: &Reader, last: Seq) -> Result<(), String> {
        let mut history = self.desk.history.clone();
        history.truncate(last);
        let others = [(); 2].map(|()| Seq(1 + self.random.below(last.0.max(1))));
        for seq in [last].into_iter().chain(others) {
            history.compare(reader, seq)?;
            self.outcome.views += 1;
        }
        Ok(())
    }

    /// A writer goes on and ends in good order; then everything is made anew from the segments alone.
    fn good_order(&mut self) -> Result<(), String> {
        self.begin()?;
        for step in [Step::Create(1, 2, super::step::Bytes::Fresh(5, 77)), Step::Commit(0)] {
            self.desk.take(step).map_err(|error| format!("no fault is left: {error}"))?;
        }
        self.desk.close().map_err(|error| format!("no fault is left: {error}"))?;
        self.set_index(Index::Gone);
        let reader = Reader::open_on(self.medium.storage(), &self.dir)
            .map_err(|error| format!("a reader cannot open: {error}"))?;
        if !reader.report().damage.is_empty() {
            return Err(format!("an end in good order is called damage: {:?}", reader.report().damage));
        }
        super::history::same("the end of the journal", &reader.head(), &self.desk.history.last())?;
        self.compare(&reader, reader.head())?;
        match self.medium.violations() {
            broken if broken.is_empty() => Ok(()),
            broken => Err(broken.join(", ")),
        }
    }
}

/// Copies an index as it lies there; one that is being written may not open afterwards, which is a fate like another.
fn copy_index(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).must(to.display());
    }
    fs::create_dir_all(to).must(to.display());
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        // RocksDB removes files when it likes.
        let _ = fs::copy(entry.path(), to.join(entry.file_name()));
    }
}

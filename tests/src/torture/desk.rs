//! A desk at which steps are taken on a real journal and written down in a naive history at the same time.
//!
//! Owns one writer on one thread: what is submitted is committed when a step says so. Knows what was reported durable.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use asof_journal::append::Limits;
use asof_journal::head::{Sink, Submission};
use asof_journal::index::db::Db;
use asof_journal::index::keys::Applied;
use asof_journal::ingest::{Ingest, IngestError};
use asof_journal::open::Journal;
use asof_journal::storage::{Layout, Storage};
use asof_journal::types::{ClockReading, Content, Gap, GapReason, Group, Instant, Kind, Op, Position, Seq};
use asof_journal::{Error, Result};

use super::clocks::{Commit, Commits};
use super::history::History;
use super::step::{Act, Pieces, Step, Write, act, version};
use crate::must::Must;

/// Small segments, so that a short history has many.
pub const SMALL: Limits = Limits { segment_bytes_max: 12_000, segment_age_ns_max: 40_000_000_000 };

/// The clocks of a machine, as a test turns them.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: i64,
    boot_ns: u64,
    boot: u8,
}

/// A writer and the history of what it was given.
pub struct Desk {
    /// The writer; `None` between an end and the next beginning.
    journal: Option<Journal>,
    submitted: Option<mpsc::Receiver<Submission>>,
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    limits: Limits,
    clocks: Clocks,
    stamp: u64,
    /// What was submitted.
    pub history: History,
    /// The batches that were written.
    pub commits: Commits,
    /// The last `Seq` that was reported durable.
    pub acknowledged: Seq,
    /// Where the log was durable when that was reported: the index may have come this far.
    pub durable_end: Position,
    /// `Seq`s at which a batch ended whose commit failed: it may be there all the same.
    pub tried: Vec<Seq>,
    /// What the last opening said.
    pub damage: Vec<String>,
    /// Why the last opening made the index anew, if it did.
    pub rebuilt: Option<String>,
    /// Steps that did something.
    pub steps: u64,
    /// Commits that failed.
    pub failures: u64,
}

impl Desk {
    /// A desk for the journal at `dir` on a storage; nothing is opened yet.
    pub fn new(storage: Arc<dyn Storage>, dir: &Path, limits: Limits) -> Desk {
        Desk {
            journal: None,
            submitted: None,
            storage,
            dir: dir.to_path_buf(),
            limits,
            clocks: Clocks { wall: 1_700_000_000_000_000_000, boot_ns: 1_000_000_000, boot: 1 },
            stamp: 0,
            history: History::default(),
            commits: Commits::default(),
            acknowledged: Seq::ZERO,
            durable_end: Position::default(),
            tried: Vec::new(),
            damage: Vec::new(),
            rebuilt: None,
            steps: 0,
            failures: 0,
        }
    }

    fn clock(&self) -> ClockReading {
        ClockReading {
            wall: Instant(self.clocks.wall),
            boottime_ns: self.clocks.boot_ns,
            boot_id: [self.clocks.boot; 16],
        }
    }

    fn pass(&mut self, ns: u64) {
        self.clocks.wall += ns as i64;
        self.clocks.boot_ns += ns;
    }

    /// Opens the journal for writing. What is there must be what was submitted, up to some batch at or behind what was
    /// reported durable; the history is cut to it. An error of the journal's is given inside.
    ///
    /// # Errors
    /// In words, where the journal is not what it must be.
    pub fn open(&mut self) -> std::result::Result<Result<()>, String> {
        self.pass(1_000_000_000);
        let journal = match Journal::open_on(self.storage.clone(), &self.dir, &self.clock(), self.limits) {
            Ok(journal) => journal,
            Err(error) => return Ok(Err(error)),
        };
        let (sender, submitted) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Box::new(move |submission| match sender.lock() {
            Ok(sender) => sender.send(submission).map_err(|_| ()),
            Err(_) => Err(()),
        });
        journal.head.connect(Some(sink));
        self.damage = journal.report.damage.iter().map(|damage| format!("{damage:?}")).collect();
        self.rebuilt.clone_from(&journal.report.rebuilt);
        let found = journal.appender.durable().seq;
        self.durable_end = journal.appender.applied().end;
        self.journal = Some(journal);
        self.submitted = Some(submitted);
        self.is_prefix(found)?;
        self.history.truncate(found);
        self.commits.truncate(found);
        self.acknowledged = found;
        self.tried.clear();
        Ok(Ok(()))
    }

    /// Whether a journal that ends at `found` is one that may be found now.
    ///
    /// # Errors
    /// In words, where it is not.
    pub fn is_prefix(&self, found: Seq) -> std::result::Result<(), String> {
        if found < self.acknowledged {
            return Err(format!(
                "{} was reported durable, and the journal ends at {found}",
                self.acknowledged
            ));
        }
        if found != self.acknowledged && !self.tried.contains(&found) {
            return Err(format!(
                "the journal ends at {found}, which is no end of a batch: {} or {:?}",
                self.acknowledged, self.tried
            ));
        }
        Ok(())
    }

    /// The process dies: nothing is committed and nothing is closed. (RocksDB puts what it has on disk all the same.)
    pub fn die(&mut self) {
        self.journal = None;
        self.submitted = None;
    }

    /// Ends in good order.
    ///
    /// # Errors
    /// Those of the last commit.
    pub fn close(&mut self) -> Result<()> {
        self.commit(1)?;
        let clock = self.clock();
        self.submitted = None;
        match self.journal.take() {
            Some(journal) => journal.appender.close(&clock),
            None => Ok(()),
        }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// Those of the journal; of a commit too, after which everything is as it was and may be committed again.
    pub fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Commit(tenths) => return self.commit(1 + u64::from(tenths) * 100_000_000),
            Step::SetClock(seconds) => {
                self.clocks.wall += i64::from(seconds) * 1_000_000_000;
                return Ok(());
            }
            Step::Boot => {
                self.clocks.boot = self.clocks.boot.wrapping_add(1);
                self.clocks.boot_ns = 5_000_000_000;
                return Ok(());
            }
            _ => {}
        }
        let state = self.history.newest();
        let head = &self.journal().head;
        let Some(Act { ops, write }) = act(step, &state, &mut || head.new_node()) else { return Ok(()) };
        self.steps += 1;
        match write {
            None => self.submit(ops),
            Some(write) => self.submit_version(ops, write),
        }
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().must("an open journal")
    }

    fn submit(&mut self, ops: Vec<Op>) -> Result<()> {
        let group = Group { ops, ..Group::default() };
        let given = self.journal().head.submit(vec![group.clone()])?;
        let expected = self.history.push(group, Vec::new());
        assert_eq!(given, expected, "Seqs count groups");
        Ok(())
    }

    fn submit_version(&mut self, mut ops: Vec<Op>, write: Write) -> Result<()> {
        let state = self.history.newest();
        let before = state.versions.get(&write.node);
        // A new node that continues another one is compared with what that held.
        let base = before.or_else(|| {
            let succeeds = ops.iter().find_map(|op| match op {
                Op::Bind { succeeds, .. } => *succeeds,
                _ => None,
            });
            succeeds.and_then(|node| state.versions.get(&node))
        });
        let old = base.map_or(&[][..], |known| known.bytes.as_slice());
        self.stamp += 1;
        let stamp = self.stamp;
        let head = self.journal().head.clone();
        let mut ingest = Ingest::new(&head);
        let (content, size, bytes) = match (write.bytes, before) {
            (None, Some(before)) => {
                (before.version.content.clone(), before.version.meta.size, before.bytes.to_vec())
            }
            (None, None) => (Content::None, 0, Vec::new()),
            (Some(bytes), _) => {
                let mut pieces = bytes.pieces(old);
                let flat = pieces.flat();
                let stored = match write.kind {
                    Kind::Symlink => (Content::Inline(flat.clone()), flat.len() as u64),
                    _ => keep(&mut ingest, &mut pieces, base.map(|known| &known.version))?,
                };
                (stored.0, stored.1, flat)
            }
        };
        ops.push(Op::Version {
            node: write.node,
            version: version(write.kind, write.mode, content, size, stamp),
        });
        let group = Group { ops, ..Group::default() };
        ingest.submit(group.clone())?;
        let given = ingest.flush()?;
        let expected = self.history.push(group, bytes);
        assert!(given.is_none_or(|given| given == expected), "Seqs count groups: {given:?}, {expected}");
        Ok(())
    }

    /// Records a gap, so that what has no names and no versions is among what is committed.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn record_gap(&mut self) -> Result<()> {
        let now = Instant(self.clocks.wall);
        let gap = Gap {
            scope: b"/".to_vec(),
            from: now,
            until: now,
            reason: GapReason::AgentDown,
            detail: String::new(),
        };
        self.submit(vec![Op::Gap(gap)])
    }

    fn commit(&mut self, after_ns: u64) -> Result<()> {
        self.pass(after_ns);
        let clock = self.clock();
        let (Some(journal), Some(submitted)) = (&mut self.journal, &self.submitted) else { return Ok(()) };
        while let Ok(submission) = submitted.try_recv() {
            journal.appender.stage(submission);
        }
        let last = self.history.last();
        match journal.appender.commit(&clock, None) {
            Ok(None) => Ok(()),
            Ok(Some(mark)) => {
                assert_eq!(mark.seq, last, "a commit takes everything that was staged");
                self.acknowledged = mark.seq;
                self.tried.clear();
                self.durable_end = journal.appender.applied().end;
                self.commits.add(Commit { last: mark.seq, clock, told: mark.instant });
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                self.tried.push(last);
                Err(error)
            }
        }
    }

    /// Compares the writer's own newest view, with what is not committed yet: of that it knows names and versions, and
    /// gives no bytes.
    ///
    /// # Errors
    /// In words, where it differs.
    pub fn compare_head(&self) -> std::result::Result<(), String> {
        self.history.compare_view(&self.journal().head.view(), &self.history.newest())
    }

    /// How far the index on disk has come, where there is one that opens.
    pub fn index_applied(&self) -> Option<Applied> {
        let index = Layout::new(&self.dir).index();
        if !index.join("CURRENT").exists() {
            return None;
        }
        let logs = tempfile::tempdir().must("a temporary directory");
        Db::open_read_only(&index, logs.path()).ok()?.applied().ok().flatten()
    }
}

fn keep(
    ingest: &mut Ingest<'_>,
    pieces: &mut Pieces,
    before: Option<&asof_journal::types::Version>,
) -> Result<(Content, u64)> {
    match ingest.store(pieces, before) {
        Ok(stored) => Ok((stored.content, stored.size)),
        Err(IngestError::Journal(error)) => Err(error),
        Err(IngestError::Source(source)) => Err(Error::Io { path: PathBuf::from("memory"), source }),
    }
}

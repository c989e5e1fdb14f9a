//! A journal that is written on one thread, through the library: what is submitted is committed when its owner says so.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use asof_journal::append::{Limits, Mark};
use asof_journal::content::Source;
use asof_journal::head::{Head, Sink, Submission};
use asof_journal::ingest::Ingest;
use asof_journal::open::Journal;
use asof_journal::storage::{OsStorage, Storage};
use asof_journal::types::{
    ClockReading, Content, Group, Instant, Kind, Metadata, NodeId, Op, Quality, Version,
};

use crate::must::Must;

/// When a pen's clock begins, in seconds since 1970.
pub const BEGINNING: i64 = 1_700_000_000;
/// When the first boot began, on the pen's clock.
const BOOTED: i64 = -1000;

/// A writer.
pub struct Pen {
    /// The journal.
    pub journal: Journal,
    submitted: Receiver<Submission>,
    /// Seconds since its clock began; every commit is a second later.
    pub seconds: i64,
    /// Seconds by which the wall clock is wrong.
    pub wrong_by: i64,
    /// Which boot it is.
    pub boot: u8,
    /// When it began, on the clock that `seconds` counts.
    pub booted: i64,
}

impl Pen {
    /// Opens a journal, or makes one.
    pub fn open(dir: &Path, seconds: i64, limits: Limits) -> Pen {
        Pen::open_on(Arc::new(OsStorage), dir, seconds, limits)
    }

    /// The same on another storage.
    pub fn open_on(storage: Arc<dyn Storage>, dir: &Path, seconds: i64, limits: Limits) -> Pen {
        let clock = reading(seconds, 0, 1, BOOTED);
        let journal = Journal::open_on(storage, dir, &clock, limits).must(dir.display());
        let (sender, submitted) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink =
            Box::new(move |submission| sender.lock().map_err(|_| ())?.send(submission).map_err(|_| ()));
        journal.head.connect(Some(sink));
        Pen { journal, submitted, seconds, wrong_by: 0, boot: 1, booted: BOOTED }
    }

    /// The half that captures share.
    pub fn head(&self) -> Arc<Head> {
        self.journal.head.clone()
    }

    /// The clocks now.
    pub fn clock(&self) -> ClockReading {
        reading(self.seconds, self.wrong_by, self.boot, self.booted)
    }

    /// Takes content in and submits what refers to it: `ops`, and the version that they lead to.
    pub fn write(
        &mut self,
        node: NodeId,
        source: &mut dyn Source,
        ops: Vec<Op>,
        version: Version,
    ) -> Version {
        let previous = self.journal.head.view().version(node).must("the version before");
        self.write_after(node, source, ops, version, previous.map(|at| at.version).as_ref())
    }

    /// The same, and what the content replaces is not what the node was.
    pub fn write_after(
        &mut self,
        node: NodeId,
        source: &mut dyn Source,
        mut ops: Vec<Op>,
        mut version: Version,
        previous: Option<&Version>,
    ) -> Version {
        let head = self.head();
        let mut ingest = Ingest::new(&head);
        let stored = ingest.store(source, previous).must("content");
        version.content = stored.content;
        version.meta.size = stored.size;
        ops.push(Op::Version { node, version: version.clone() });
        ingest.submit(Group { ops, ..Group::default() }).must("a group");
        ingest.flush().must("a flush");
        version
    }

    /// Submits operations as one group.
    pub fn submit(&mut self, ops: Vec<Op>) {
        let now = Some(self.clock().wall);
        let group = Group { ops, hinted: now, read: now };
        self.journal.head.submit(vec![group]).must("a group");
    }

    /// Takes over what was submitted, as one batch and no more than that.
    pub fn stage(&mut self) -> usize {
        while let Ok(submission) = self.submitted.try_recv() {
            self.journal.appender.stage(submission);
        }
        self.journal.appender.staged_bytes()
    }

    /// Commits what was submitted, a second later.
    pub fn commit(&mut self) -> Option<Mark> {
        self.stage();
        self.seconds += 1;
        let clock = self.clock();
        self.journal.appender.commit(&clock, Some(clock.wall)).must("a commit")
    }

    /// Commits, seals and ends in good order.
    pub fn close(mut self) {
        self.stage();
        self.seconds += 1;
        let clock = self.clock();
        self.journal.appender.close(&clock).must("the end");
    }
}

fn reading(seconds: i64, wrong_by: i64, boot: u8, booted: i64) -> ClockReading {
    ClockReading {
        wall: Instant((BEGINNING + seconds + wrong_by) * 1_000_000_000),
        boottime_ns: (seconds - booted).unsigned_abs() * 1_000_000_000,
        boot_id: [boot; 16],
    }
}

/// A version of an ordinary sort.
pub fn version(kind: Kind, content: Content) -> Version {
    let meta = Metadata {
        kind,
        mode: if kind == Kind::Dir { 0o755 } else { 0o644 },
        uid: 1000,
        gid: 1000,
        mtime: Instant(BEGINNING * 1_000_000_000 - 1),
        ctime: Instant(BEGINNING * 1_000_000_000 + 5),
        size: match &content {
            Content::Inline(bytes) => bytes.len() as u64,
            _ => 0,
        },
        ino: 12,
        rdev: 0,
        xattrs: Vec::new(),
    };
    Version { meta, content, quality: Quality::Clean, racy: false }
}

//! A journal on one thread for tests: a desk at which operations are submitted and committed when the test says so.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc;

use asof_journal::Result;
use asof_journal::append::Limits;
use asof_journal::head::{Sink, Submission};
use asof_journal::ingest::Ingest;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::types::{
    ClockReading, Content, Extent, Group, Instant, Kind, Metadata, NodeId, Op, Quality, Seq, Version,
};

pub(crate) fn clock(seconds: i64) -> ClockReading {
    ClockReading {
        wall: Instant(1_700_000_000_000_000_000 + seconds * 1_000_000_000),
        boottime_ns: seconds as u64 * 1_000_000_000,
        boot_id: [1; 16],
    }
}

/// A writer on one thread: what is submitted is committed when the test says so.
pub(crate) struct Desk {
    pub(crate) journal: Journal,
    pub(crate) submitted: mpsc::Receiver<Submission>,
    pub(crate) now: i64,
}

impl Desk {
    pub(crate) fn open(dir: &Path, now: i64) -> Result<Desk> {
        Self::open_with(dir, now, Limits::default())
    }

    pub(crate) fn open_with(dir: &Path, now: i64, limits: Limits) -> Result<Desk> {
        let journal = Journal::open(dir, &clock(now), limits)?;
        let (sender, submitted) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Box::new(move |submission| match sender.lock() {
            Ok(sender) => sender.send(submission).map_err(|_| ()),
            Err(_) => Err(()),
        });
        journal.head.connect(Some(sink));
        Ok(Desk { journal, submitted, now })
    }

    pub(crate) fn commit(&mut self) -> Result<Seq> {
        while let Ok(submission) = self.submitted.try_recv() {
            self.journal.appender.stage(submission);
        }
        self.now += 1;
        let mark = self.journal.appender.commit(&clock(self.now), None)?;
        Ok(mark.map_or(Seq::ZERO, |mark| mark.seq))
    }

    /// Binds `name` to a new file below `/` with this content.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<NodeId> {
        let node = self.journal.head.new_node();
        let bind = Op::Bind { dir: NodeId::ROOT, name: name.into(), node, kind: Kind::File, succeeds: None };
        self.write(node, content, vec![bind])?;
        Ok(node)
    }

    pub(crate) fn write(&self, node: NodeId, mut content: &[u8], mut ops: Vec<Op>) -> Result<()> {
        let previous = self.journal.head.view().version(node)?.map(|at| at.version);
        let mut ingest = Ingest::new(&self.journal.head);
        let stored = ingest.store(&mut content, previous.as_ref()).map_err(|error| match error {
            asof_journal::ingest::IngestError::Journal(error) => error,
            asof_journal::ingest::IngestError::Source(error) => panic!("{error}"),
        })?;
        ops.push(Op::Version { node, version: version(stored.content, stored.size) });
        ingest.submit(Group { ops, ..Group::default() })?;
        ingest.flush()?;
        Ok(())
    }
}

pub(crate) fn version(content: Content, size: u64) -> Version {
    Version {
        meta: Metadata {
            kind: Kind::File,
            mode: 0o644,
            uid: 1,
            gid: 2,
            mtime: Instant(3),
            ctime: Instant(4),
            size,
            ino: 5,
            rdev: 0,
            xattrs: Vec::new(),
        },
        content,
        quality: Quality::Clean,
        racy: false,
    }
}

pub(crate) fn content_of(reader: &Reader, path: &str, at: Seq) -> Result<Option<Vec<u8>>> {
    let view = reader.view(at);
    let Some(entry) = view.resolve(path.as_bytes())? else {
        return Ok(None);
    };
    let Some(at) = view.version(entry.node)? else {
        return Ok(None);
    };
    if let Content::Inline(bytes) = &at.version.content {
        return Ok(Some(bytes.clone()));
    }
    let mut bytes = Vec::new();
    for extent in view.extents(&at.version)? {
        match extent {
            Extent::Block { id, .. } => bytes.extend_from_slice(&view.block(id)?),
            Extent::Hole { len } => bytes.resize(bytes.len() + len as usize, 0),
            Extent::List { .. } => panic!("a list in flattened extents"),
        }
    }
    Ok(Some(bytes))
}

/// Bytes that compress a little and repeat nowhere.
pub(crate) fn text(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 24);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("line {state:x}\n").as_bytes());
    }
    out.truncate(len);
    out
}

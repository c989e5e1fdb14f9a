//! The capture threads: read a file consistently, take its content in, submit what was seen.
//!
//! Owns the claims: a name or an inode whose capture is under way is looked at by nobody else until what was seen is
//! part of the newest state. Lists nothing and decides nothing about what is due.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use asof_journal::content::{Piece, Source};
use asof_journal::head::Head;
use asof_journal::ingest::{Ingest, IngestError, Stored};
use asof_journal::retention::runaway::Churn;
use asof_journal::types::{
    Content, Gap, GapReason, Group, Identity, Instant, NodeId, Op, Quality, Seq, Version,
};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::capture::{CaptureError, CaptureOptions, Captured, capture};
use crate::clock::Clock;
use crate::fs::{DirHandle, SourceFs, Stat};
use crate::room::Room;
use crate::run::{Again, Event};

/// Batches that wait for a capture thread; each may hold a directory open.
const QUEUE_MAX: usize = 8;

/// A file that is written while it is captured is hot from this size on.
const HOT_BYTES: u64 = 4 << 20;

/// A file to be captured.
pub(crate) struct Task {
    /// Its directory.
    pub dir: Arc<DirHandle>,
    /// Its name there.
    pub name: Vec<u8>,
    /// Its absolute path, for gaps.
    pub path: Vec<u8>,
    /// The node.
    pub node: NodeId,
    /// What `stat` said when it was found to be due.
    pub stat: Stat,
    /// Operations that become visible together with the new version: names, identity.
    pub ops: Vec<Op>,
    /// What the node, or the one that it succeeds, was before.
    pub previous: Option<Version>,
    /// Whether `previous` is this very node's version, so that an equal one need not be recorded again.
    pub same_node: bool,
    /// How it is read.
    pub options: CaptureOptions,
    /// When the first hint of it came.
    pub hinted: Option<Instant>,
    /// Held until what was seen is part of the newest state.
    pub claim: Claim,
    /// Tells when everything of the same piece of work is done.
    pub ticket: Arc<Ticket>,
}

/// Files of one directory, mostly: they go into packs together, are alike, and are restored together.
pub(crate) type Batch = Vec<Task>;

/// Counts what was done; shared with whoever reports it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Files whose content was read.
    pub files_read: AtomicU64,
    /// Bytes of content read.
    pub bytes_read: AtomicU64,
    /// Versions recorded.
    pub versions: AtomicU64,
    /// Directories listed because hints named them.
    pub directories_listed: AtomicU64,
    /// Directories listed by reconciles of whole roots.
    pub directories_reconciled: AtomicU64,
    /// Directories that checks looked at.
    pub directories_checked: AtomicU64,
    /// Changes that a check found and no event had announced.
    pub missed_by_events: AtomicU64,
    /// Gaps recorded.
    pub gaps: AtomicU64,
    /// Overflows of the event queue.
    pub overflows: AtomicU64,
    /// New bytes by path.
    pub churn: Mutex<Churn>,
}

/// Adds to a count.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Ends a piece of work: when the last holder drops it, it tells the last `Seq` that the work led to.
pub(crate) struct Ticket {
    last_seq: AtomicU64,
    done: Box<dyn Fn(Seq) + Send + Sync>,
}

impl Ticket {
    /// A ticket that calls `done` when nobody holds it any more.
    pub(crate) fn new(done: impl Fn(Seq) + Send + Sync + 'static) -> Arc<Ticket> {
        Arc::new(Ticket { last_seq: AtomicU64::new(0), done: Box::new(done) })
    }

    /// Notes that the work led to a `Seq`.
    pub(crate) fn reached(&self, seq: Seq) {
        self.last_seq.fetch_max(seq.0, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        (self.done)(Seq(self.last_seq.load(Ordering::Relaxed)));
    }
}

/// Names and inodes whose capture is under way.
#[derive(Default)]
pub(crate) struct Claims {
    taken: Mutex<Taken>,
    given_back: Condvar,
}

#[derive(Default)]
struct Taken {
    names: HashSet<(NodeId, Vec<u8>)>,
    identities: HashSet<Identity>,
    /// Nodes that may be getting another name with what is captured.
    nodes: HashSet<NodeId>,
}

impl Taken {
    fn holds(&self, name: &(NodeId, Vec<u8>), identity: Option<&Identity>) -> bool {
        self.names.contains(name) || identity.is_some_and(|identity| self.identities.contains(identity))
    }
}

impl Claims {
    /// Claims a name and an inode, unless somebody has one of them.
    pub(crate) fn try_claim(
        self: &Arc<Self>,
        dir: NodeId,
        name: &[u8],
        identity: Option<&Identity>,
    ) -> Option<Claim> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (dir, name.to_vec());
        if taken.holds(&key, identity) {
            return None;
        }
        Some(self.take(taken, key, identity))
    }

    /// Waits until neither the name nor the inode is claimed, and claims both. The caller has handed on every task of
    /// its own: it may be the one that holds the claim.
    pub(crate) fn claim(self: &Arc<Self>, dir: NodeId, name: &[u8], identity: Option<&Identity>) -> Claim {
        let key = (dir, name.to_vec());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.holds(&key, identity) {
            taken = self.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        self.take(taken, key, identity)
    }

    /// Whether a capture of the node is under way.
    pub(crate) fn holds_node(&self, node: NodeId) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).nodes.contains(&node)
    }

    /// Waits until no capture of the node is under way. The caller has handed on every task of its own.
    pub(crate) fn wait_for_node(&self, node: NodeId) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.nodes.contains(&node) {
            taken = self.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(
        self: &Arc<Self>,
        mut taken: MutexGuard<'_, Taken>,
        key: (NodeId, Vec<u8>),
        identity: Option<&Identity>,
    ) -> Claim {
        taken.names.insert(key.clone());
        if let Some(identity) = identity {
            taken.identities.insert(identity.clone());
        }
        Claim { claims: self.clone(), name: key, identity: identity.cloned(), node: None }
    }
}

/// A claim on a name and an inode; given back when dropped.
pub(crate) struct Claim {
    claims: Arc<Claims>,
    name: (NodeId, Vec<u8>),
    identity: Option<Identity>,
    node: Option<NodeId>,
}

impl Claim {
    /// Claims the node too, which the inode turned out to be.
    pub(crate) fn with_node(mut self, node: NodeId) -> Claim {
        self.claims.taken.lock().unwrap_or_else(PoisonError::into_inner).nodes.insert(node);
        self.node = Some(node);
        self
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = self.claims.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.names.remove(&self.name);
        if let Some(identity) = &self.identity {
            taken.identities.remove(identity);
        }
        if let Some(node) = &self.node {
            taken.nodes.remove(node);
        }
        self.claims.given_back.notify_all();
    }
}

/// What the capture threads need.
#[derive(Clone)]
pub(crate) struct Workshop {
    /// Reads what is protected.
    pub fs: Arc<dyn SourceFs>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The newest state of the journal.
    pub head: Arc<Head>,
    /// Counts.
    pub tally: Arc<Tally>,
    /// Tells the loop.
    pub tell: Arc<dyn Fn(Event) + Send + Sync>,
    /// Set when the agent ends: long work is given up, and the next start does it.
    pub stop: Arc<AtomicBool>,
    /// Whether the journal has room: while it has none nothing is read.
    pub room: Arc<Room>,
}

impl Workshop {
    /// Waits while the journal has no room. Gives `false` where the agent ends.
    pub(crate) fn may_go_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && self.room.wait(&self.stop)
    }
}

/// How much the rest of the machine may be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Captures of what was just changed: a program that writes faster than it is captured keeps its own speed.
    Ordinary,
    /// First captures and reconciles: everything else on the machine goes first.
    Background,
}

/// With two CPUs this leaves a program that unpacks a tree 1.2 times the time that it takes alone, instead of 1.4; what
/// is behind then is made up for when it ends. Of an idle machine nice takes nothing.
const NICE_ORDINARY: i32 = 5;
/// A tenth of what an ordinary thread gets where both want the same CPU.
const NICE_BACKGROUND: i32 = 10;

impl Priority {
    fn as_str(self) -> &'static str {
        match self {
            Priority::Ordinary => "capture",
            Priority::Background => "reconcile",
        }
    }

    /// Gives the calling thread the priority; it cannot be taken back.
    pub(crate) fn apply(self) {
        match self {
            Priority::Ordinary => crate::sys::lower_thread_priority(NICE_ORDINARY, false),
            Priority::Background => crate::sys::lower_thread_priority(NICE_BACKGROUND, true),
        }
    }
}

/// The running capture threads.
pub(crate) struct Pool {
    tasks: Sender<Batch>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Pool {
    /// Starts that many threads.
    pub(crate) fn spawn(workers: usize, priority: Priority, workshop: &Workshop) -> io::Result<Pool> {
        let (tasks, queue) = bounded(QUEUE_MAX);
        let mut threads = Vec::with_capacity(workers);
        for n in 0..workers.max(1) {
            let (workshop, queue): (Workshop, Receiver<Batch>) = (workshop.clone(), queue.clone());
            threads.push(thread::Builder::new().name(format!("asofd-{}-{n}", priority.as_str())).spawn(
                move || {
                    priority.apply();
                    Worker::new(&workshop).serve(&queue);
                },
            )?);
        }
        Ok(Pool { tasks, threads })
    }

    /// Where tasks go; whoever sends one more than fit waits.
    pub(crate) fn tasks(&self) -> Sender<Batch> {
        self.tasks.clone()
    }

    /// Waits until everything that was sent is submitted.
    pub(crate) fn stop(self) {
        drop(self.tasks);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a capture thread ended in a panic");
            }
        }
    }
}

struct Worker<'w> {
    workshop: &'w Workshop,
    ingest: Ingest<'w>,
    /// Held until what they belong to is submitted.
    unsubmitted: Vec<(Claim, Arc<Ticket>)>,
}

impl<'w> Worker<'w> {
    fn new(workshop: &'w Workshop) -> Worker<'w> {
        Worker { workshop, ingest: Ingest::new(&workshop.head), unsubmitted: Vec::new() }
    }

    fn serve(mut self, queue: &Receiver<Batch>) {
        loop {
            // Nothing waits for company while there is nothing else to do.
            let batch = match queue.try_recv() {
                Ok(batch) => batch,
                Err(_) => {
                    self.flush();
                    match queue.recv() {
                        Ok(batch) => batch,
                        Err(_) => return,
                    }
                }
            };
            for task in batch {
                if self.workshop.room.lack().is_some() {
                    // What was read is not held up by what is not.
                    self.flush();
                    if !self.workshop.may_go_on() {
                        continue;
                    }
                }
                self.perform(task);
            }
        }
    }

    fn flush(&mut self) {
        match self.ingest.flush() {
            Ok(last) => self.settle(last.unwrap_or(Seq::ZERO)),
            Err(error) => {
                tracing::error!(%error, "what was captured could not be submitted");
                self.unsubmitted.clear();
            }
        }
    }

    fn settle(&mut self, seq: Seq) {
        for (_, ticket) in self.unsubmitted.drain(..) {
            ticket.reached(seq);
        }
    }

    fn perform(&mut self, task: Task) {
        let Workshop { fs, clock, tally, .. } = self.workshop;
        let workshop = self.workshop;
        let ingest = &mut self.ingest;
        let begun_ns = clock.monotonic_ns();
        let previous = task.previous.as_ref();
        let captured = capture(&**fs, &**clock, &task.dir, &task.name, task.options, &mut |source| {
            ingest.store(&mut Pieces { source, workshop }, previous)
        });
        count(&tally.files_read, 1);
        let fresh_bytes = ingest.take_fresh_bytes();
        if task.previous.is_some() && fresh_bytes > 0 {
            // What is captured for the first time says nothing of how it grows.
            let mut churn = tally.churn.lock().unwrap_or_else(PoisonError::into_inner);
            churn.add(&task.path, fresh_bytes, clock.monotonic_ns());
        }
        match captured {
            Ok(captured) if captured.stat.ino != task.stat.ino => self.look_again(task),
            Ok(captured) => {
                if captured.stat.size >= HOT_BYTES && captured.quality != Quality::Clean {
                    let cost_ns = clock.monotonic_ns().saturating_sub(begun_ns);
                    (self.workshop.tell)(Event::Hot(task.path.clone(), cost_ns));
                }
                if captured.quality != Quality::Clean {
                    (self.workshop.tell)(Event::Doubtful(task.node));
                } else if task.options.doubted.is_some() {
                    (self.workshop.tell)(Event::Clean(task.node));
                }
                self.record(task, captured);
            }
            // Something else has the name now; the hint of that is on its way, but it may be for another path.
            Err(CaptureError::NotRegular(_)) => self.look_again(task),
            Err(CaptureError::StillOpen) => (self.workshop.tell)(Event::Doubtful(task.node)),
            Err(_) if self.workshop.stop.load(Ordering::Relaxed) => drop(task),
            Err(CaptureError::Unreadable(error) | CaptureError::Sink(IngestError::Source(error))) => {
                match error.kind() {
                    io::ErrorKind::NotFound => {
                        (self.workshop.tell)(Event::Again(Again::Missed(task.path.clone())));
                    }
                    // Somebody's lease: the kernel has asked for it back, and gives the file in 45 s at the latest.
                    io::ErrorKind::WouldBlock => self.look_again(task),
                    _ => self.unreadable(task, &error),
                }
            }
            Err(CaptureError::Sink(IngestError::Journal(error))) => {
                tracing::error!(path = %task.path.escape_ascii(), %error, "a capture failed in the journal");
                self.look_again(task);
            }
        }
    }

    fn look_again(&self, task: Task) {
        (self.workshop.tell)(Event::Again(Again::Name(task.path.clone())));
    }

    fn record(&mut self, task: Task, captured: Captured<Stored>) {
        let xattrs = match self.workshop.fs.xattrs(&task.dir, &task.name) {
            Ok(xattrs) => xattrs,
            Err(error) => {
                tracing::debug!(path = %task.path.escape_ascii(), %error, "extended attributes not read");
                Vec::new()
            }
        };
        let mut meta = captured.stat.metadata(xattrs);
        meta.size = captured.content.size;
        let version = Version {
            meta,
            content: captured.content.content,
            quality: captured.quality,
            racy: captured.racy,
        };
        let known = task.same_node && task.ops.is_empty() && task.previous.as_ref() == Some(&version);
        if !known {
            self.submit(task, version, captured.read_at);
        }
    }

    fn submit(&mut self, task: Task, version: Version, read_at: Instant) {
        let mut ops = task.ops;
        ops.push(Op::Version { node: task.node, version });
        let group = Group { ops, hinted: task.hinted, read: Some(read_at) };
        count(&self.workshop.tally.versions, 1);
        self.unsubmitted.push((task.claim, task.ticket));
        match self.ingest.submit(group) {
            Ok(Some(seq)) => self.settle(seq),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "what was captured could not be submitted");
                self.unsubmitted.clear();
            }
        }
    }

    /// Records that there is something whose content is not known: a gap says since when and why.
    fn unreadable(&mut self, mut task: Task, error: &io::Error) {
        let errno = error.raw_os_error().unwrap_or(0);
        let version = Version {
            meta: task.stat.metadata(Vec::new()),
            content: Content::Unread(errno),
            quality: Quality::Torn,
            racy: false,
        };
        if task.same_node && task.previous.as_ref() == Some(&version) {
            return;
        }
        let now = self.workshop.clock.now().wall;
        tracing::info!(path = %task.path.escape_ascii(), %error, "a file cannot be read; a gap is recorded");
        let gap = Gap {
            scope: task.path.clone(),
            from: task.hinted.unwrap_or(now),
            until: now,
            reason: GapReason::Unreadable,
            detail: error.to_string(),
        };
        count(&self.workshop.tally.gaps, 1);
        task.ops.push(Op::Gap(gap));
        self.submit(task, version, now);
    }
}

/// Hands a file's pieces to the journal, and counts the bytes.
struct Pieces<'p> {
    source: &'p mut dyn Source,
    workshop: &'p Workshop,
}

impl Source for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        if !self.workshop.may_go_on() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let piece = self.source.read(buffer)?;
        if let Piece::Data(len) = piece {
            count(&self.workshop.tally.bytes_read, len as u64);
        }
        Ok(piece)
    }
}

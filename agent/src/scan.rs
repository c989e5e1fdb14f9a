//! The directory worker: compares names and directories with the newest state of the journal, and says what differs.
//!
//! Owns the decision what a name is now: unchanged, changed, moved, linked, replaced, new or gone. What differs in
//! content goes to the capture threads; everything else is submitted here. Reads no content.

mod check;
mod compare;
mod gone;
mod left_out;
mod list;
mod phantom;
mod root;
mod shared;
mod unreadable;
mod vanished;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use asof_journal::head::Head;
use asof_journal::types::{Content, Group, Identity, Instant, Kind, NodeId, Op, Quality, Seq, Version};
use asof_journal::view::{Entry, is_below};
use crossbeam_channel::Sender;

use crate::fs::{DirHandle, SourceFs};
use crate::pool::{Batch, Claim, Claims, Priority, Task, Ticket, Workshop, count};
use crate::rules::SharedRules;
use crate::run::{Again, Event};
use crate::settle::{Marks, Scan, Work};
use crate::watch::WatchHandle;
pub(crate) use check::{Checked, Suspect};
use compare::Seen;
use phantom::Phantoms;
pub(crate) use root::Root;
use shared::Shared;
use unreadable::Closed;

/// Names that are gone are looked at last, in case they turn up elsewhere; so many are remembered for that.
const GONE_MAX: usize = 65_536;
/// Files handed to the capture threads together.
const BATCH_MAX: usize = 32;
/// A longer file goes alone, so that small ones do not wait for it.
const BATCHED_BYTES_MAX: u64 = 1 << 20;
/// No tree is deeper; a bind mount of a tree into itself ends here.
const DEPTH_MAX: usize = 1024;

/// Hints of a name that came or went, which changes the times of its directory.
const NAMES: Marks =
    Marks::APPEARED.with(Marks::APPEARED_DIR).with(Marks::MOVED_TO).with(Marks::MOVED_FROM).with(Marks::GONE);

/// Why a name is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A hint named it.
    Hinted(Marks),
    /// Hints named so many entries of its directory that they became one.
    Crowd,
    /// It is in a tree that is compared as a whole.
    Below,
    /// Its directory appeared, and is covered by hints from before this on; so is every directory in it.
    Level,
}

/// An error that ends a piece of work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] asof_journal::Error),
    /// The system refused something without which nothing can be compared.
    #[error("{}: {source}", path.escape_ascii())]
    Io {
        /// Where.
        path: Vec<u8>,
        /// What it said.
        source: io::Error,
    },
    /// The capture threads are gone.
    #[error("the capture threads are gone")]
    Stopped,
}

type Result<T> = std::result::Result<T, ScanError>;

/// Directories in which names came or went, with their nodes.
pub(crate) type Touched = BTreeMap<Vec<u8>, NodeId>;

/// A directory on its way to be listed. It is opened when its turn comes: there can be more than descriptors.
struct Pending {
    node: NodeId,
    path: Vec<u8>,
    ino: u64,
    depth: usize,
    /// [`Reason::Below`] or [`Reason::Level`].
    reason: Reason,
}

/// A name that was bound and is not there any more.
struct Gone {
    entry: Entry,
    path: Vec<u8>,
    /// What hints said of it before.
    marks: Marks,
}

/// What one piece of work carries along.
struct Trip<'t> {
    ticket: &'t Arc<Ticket>,
    hinted: Option<Instant>,
    /// Directories still to be listed with everything below.
    pending: Vec<Pending>,
    gone: Vec<Gone>,
    /// Files that lost a name, and whose other names were looked at for that.
    lost: HashSet<NodeId>,
    /// Files that are not handed to the capture threads yet.
    batch: Batch,
    /// Directories in which a name came or went: their own times changed, and no event says so.
    touched: Touched,
    /// In a reconcile: through when everything was covered before it.
    reconciling: Option<Option<Instant>>,
    /// Whether directories that the journal does not know where they are may lack their watch: hints were lost.
    rewatch: bool,
}

impl Trip<'_> {
    /// Whether a version may not be the last word although inode and change time are the same: it was not read whole,
    /// or a change that nobody saw may have left the same change time.
    fn is_doubtful(&self, before: &Version) -> bool {
        let racy = match self.reconciling {
            // What was covered later than the change time has seen every change with that time.
            Some(Some(covered)) => before.racy && before.meta.ctime >= covered,
            Some(None) | None => before.racy,
        };
        racy || is_uncertain(before)
    }

    /// Whether the content is to be read although only attributes seem to have changed. Where hints are whole, what makes
    /// a version racy has its own hint.
    fn is_unsettled(&self, before: &Version) -> bool {
        if self.reconciling.is_some() { self.is_doubtful(before) } else { is_uncertain(before) }
    }
}

/// Whether the content was not read whole, or while somebody wrote.
fn is_uncertain(version: &Version) -> bool {
    version.quality != Quality::Clean || matches!(version.content, Content::Unread(_))
}

/// The directory worker.
pub(crate) struct Scanner {
    workshop: Workshop,
    tasks: Sender<Batch>,
    /// The same for what reconciles find: the capture threads behind it hold nobody up.
    background: Sender<Batch>,
    claims: Arc<Claims>,
    /// Device and inode of the journal: left out wherever it is met.
    journal: (u64, u64),
    watch: WatchHandle,
    rules: Arc<SharedRules>,
    phantoms: Phantoms,
    closed: Closed,
}

impl Scanner {
    /// A worker that sends files to the capture threads behind `tasks`.
    pub(crate) fn new(
        workshop: Workshop,
        tasks: Sender<Batch>,
        background: Sender<Batch>,
        journal: (u64, u64),
        watch: WatchHandle,
        rules: Arc<SharedRules>,
    ) -> Scanner {
        let claims = Arc::default();
        let (phantoms, closed) = (Phantoms::default(), Closed::default());
        Scanner { workshop, tasks, background, claims, journal, watch, rules, phantoms, closed }
    }

    fn fs(&self) -> &dyn SourceFs {
        &*self.workshop.fs
    }

    fn head(&self) -> &Head {
        &self.workshop.head
    }

    /// Compares everything below a root with the journal, on several threads.
    pub(crate) fn reconcile(
        &self,
        root: &Root,
        threads: usize,
        covered: Option<Instant>,
        rewatch: bool,
        ticket: &Arc<Ticket>,
    ) -> Result<()> {
        let dir = self.open(root, &root.path)?;
        let at = |source| ScanError::Io { path: root.path.clone(), source };
        let ino = self.fs().stat_dir(&dir).map_err(at)?.ino;
        let shared = Shared::new(vec![Pending {
            node: root.node,
            path: root.path.clone(),
            ino,
            depth: 0,
            reason: Reason::Below,
        }]);
        let gone = Mutex::new(Vec::new());
        let failed = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    Priority::Background.apply();
                    let mut trip = self.trip(None, Some(covered), ticket);
                    trip.rewatch = rewatch;
                    while let Some(dir) = shared.take() {
                        let outcome = self.list(root, &dir, &mut trip).and(self.hand_on(&mut trip));
                        shared.give(trip.pending.drain(..));
                        if let Err(error) = outcome {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            shared.give_up();
                        }
                    }
                    gone.lock().unwrap_or_else(PoisonError::into_inner).append(&mut trip.gone);
                });
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut trip = self.trip(None, Some(covered), ticket);
        trip.gone = gone.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Times that change while the tree is compared come with hints, which are looked at afterwards.
        self.bury(root, &mut trip)
    }

    /// Looks at what a piece of work names: the path itself, and whatever of it is to be listed. Gives the directories
    /// to be looked at once this and what came with it is done.
    pub(crate) fn perform(
        &self,
        root: &Root,
        work: &Work,
        hinted: Instant,
        ticket: &Arc<Ticket>,
    ) -> Result<Touched> {
        let mut trip = self.trip(Some(hinted), None, ticket);
        let outcome = self.steps(root, work, &mut trip);
        // What was found before an error is captured all the same.
        self.hand_on(&mut trip)?;
        outcome.map(|()| trip.touched)
    }

    fn steps(&self, root: &Root, work: &Work, trip: &mut Trip<'_>) -> Result<()> {
        if work.marks.is_empty() && work.scan != Scan::No || work.path[..] == root.path[..] {
            self.look_at_dir_itself(root, &work.path, trip)?;
        } else {
            self.look_at_path(root, &work.path, work.marks, trip)?;
        }
        if let Some(from) = &work.from {
            self.look_at_path(root, from, Marks::MOVED_FROM, trip)?;
        }
        // Before the listing: of what was renamed more is known than a listing tells.
        for arrival in &work.arrivals {
            self.look_at_path(root, &arrival.path, arrival.marks, trip)?;
            if let Some(from) = &arrival.from {
                self.look_at_path(root, from, Marks::MOVED_FROM, trip)?;
            }
        }
        if work.scan != Scan::No {
            self.list_counting(root, work, trip)?;
        }
        loop {
            while let Some(dir) = trip.pending.pop() {
                self.list(root, &dir, trip)?;
            }
            self.bury(root, trip)?;
            // Other names of what is gone may be new, or tags.
            if trip.pending.is_empty() {
                return Ok(());
            }
        }
    }

    /// Looks at directories in which names came or went: the kernel changes their times and sends no event of that.
    pub(crate) fn look_at_touched(
        &self,
        root: &Root,
        path: &[u8],
        node: NodeId,
        ticket: &Arc<Ticket>,
    ) -> Result<()> {
        let dir = match self.open(root, path) {
            Ok(dir) => dir,
            // It is gone or cannot be looked at; whoever finds that out records it.
            Err(ScanError::Io { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Ok(stat) = self.fs().stat_dir(&dir) else { return Ok(()) };
        let Ok(identity) = self.fs().identity_dir(&dir, &stat) else { return Ok(()) };
        if self.head().find(&identity)? != Some(node) {
            return Ok(()); // another directory has the path now, perhaps with the same inode number
        }
        self.change_version(node, self.dir_version(&dir, &stat), Vec::new(), None, ticket)
    }

    fn trip<'t>(
        &self,
        hinted: Option<Instant>,
        reconciling: Option<Option<Instant>>,
        ticket: &'t Arc<Ticket>,
    ) -> Trip<'t> {
        Trip {
            ticket,
            hinted,
            pending: Vec::new(),
            gone: Vec::new(),
            lost: HashSet::new(),
            batch: Batch::new(),
            touched: Touched::new(),
            reconciling,
            rewatch: false,
        }
    }

    fn open(&self, root: &Root, path: &[u8]) -> Result<DirHandle> {
        let relative = root.handle.relative(path).unwrap_or_default();
        self.fs()
            .open_dir(&root.handle, relative)
            .map_err(|source| ScanError::Io { path: path.to_vec(), source })
    }

    /// A scan was asked for: the directory's own attributes first, its bindings need no look.
    fn look_at_dir_itself(&self, root: &Root, path: &[u8], trip: &mut Trip<'_>) -> Result<()> {
        if path != root.path {
            return self.look_at_path(root, path, Marks::ATTRIBUTES, trip);
        }
        // By its path, not by what is open: that would be there even when it is deleted.
        let at = |source| ScanError::Io { path: path.to_vec(), source };
        let now = self.fs().open_root(Path::new(OsStr::from_bytes(path))).map_err(at)?;
        let dir = self.fs().open_dir(&now, b"").map_err(at)?;
        let stat = self.fs().stat_dir(&dir).map_err(at)?;
        let known = self.head().view().version(root.node)?;
        if known.is_some_and(|known| known.version.meta.ino != stat.ino) {
            return Err(at(io::Error::from(io::ErrorKind::NotFound))); // another directory took its place
        }
        let version = self.dir_version(&dir, &stat);
        self.change_version(root.node, version, Vec::new(), trip.hinted, trip.ticket)
    }

    /// Looks at one name by its path. Directories above it that the journal does not know are looked at first.
    fn look_at_path(&self, root: &Root, path: &[u8], marks: Marks, trip: &mut Trip<'_>) -> Result<()> {
        tracing::trace!(path = %path.escape_ascii(), ?marks, "looked at");
        if !is_below(path, &root.path) || path == root.path || self.is_excluded(path, None) {
            return Ok(());
        }
        let (parent, name) = split(path);
        let Some((node, handle)) = self.open_known(root, parent, trip)? else {
            return self.look_at_lost(root, path, marks, trip);
        };
        self.look_at_tag(root, (node, parent), name, &handle, trip)?;
        if marks.any(NAMES) {
            // Also where the journal will show no difference: a file that came and went left its mark all the same.
            trip.touched.insert(parent.to_vec(), node);
        }
        match self.fs().stat(&handle, name) {
            Ok(stat) => {
                let bound = self.head().view().lookup(node, name)?;
                if self.is_excluded(path, Some(stat.kind == Kind::Dir)) {
                    return self.uncover(bound, trip);
                }
                if bound.is_none() && marks.any(Marks::LOST) {
                    self.vanished(node, name, marks, trip)?;
                }
                let reason = Reason::Hinted(marks);
                let seen = Seen { dir: node, handle: &handle, name, path, stat: &stat, reason, depth: 0 };
                let written = marks.any(Marks::CONTENT) && self.is_unchanged(bound.as_ref(), &stat)?;
                self.compare(root, &seen, bound, trip)?;
                if written { self.look_at_former(root, (node, name), marks, trip) } else { Ok(()) }
            }
            Err(error) if is_gone(&error) => match self.head().view().lookup(node, name)? {
                Some(entry) => {
                    trip.gone.push(Gone { entry, path: path.to_vec(), marks });
                    Ok(())
                }
                None => self.look_at_nothing(root, (node, parent), name, marks, trip),
            },
            Err(error) => self.unreadable(root, parent, &error, trip),
        }
    }

    /// Opens a directory and gives its node; `None` where it is not there now. Where the journal does not know it yet,
    /// it is taken in with everything below it, and so is whatever is above it and unknown.
    fn open_known(
        &self,
        root: &Root,
        path: &[u8],
        trip: &mut Trip<'_>,
    ) -> Result<Option<(NodeId, Arc<DirHandle>)>> {
        let relative = root.handle.relative(path).unwrap_or_default();
        let handle = match self.fs().open_dir(&root.handle, relative) {
            Ok(handle) => Arc::new(handle),
            Err(error) if is_gone(&error) => {
                self.forget_closed(path);
                return Ok(None);
            }
            Err(error) => {
                self.unreadable(root, path, &error, trip)?;
                return Ok(None);
            }
        };
        if path == root.path {
            return Ok(Some((root.node, handle)));
        }
        if let Some(node) = self.node_of(path, &handle)? {
            return Ok(Some((node, handle)));
        }
        self.look_at_path(root, path, Marks::APPEARED_DIR, trip)?;
        match self.node_of(path, &handle)? {
            Some(node) => Ok(Some((node, handle))),
            None => {
                let stat = self.fs().stat_dir(&handle);
                let protected = stat.is_ok_and(|stat| {
                    !self.is_on_another_filesystem(path, &stat, (root.mnt_id, root.dev))
                        && (stat.dev, stat.ino) != self.journal
                });
                if protected && self.head().view().resolve(path)?.is_some() {
                    // Another directory has the path by now: what was hinted of it is found with it.
                    (self.workshop.tell)(Event::Again(Again::Tree(path.to_vec())));
                }
                Ok(None)
            }
        }
    }

    /// The node of a directory, if that is what the journal has at its path. By identity: one that was deleted and made
    /// anew has the same path, and often the same inode number, and what is in it belongs to another node.
    fn node_of(&self, path: &[u8], handle: &DirHandle) -> Result<Option<NodeId>> {
        let resolved = self.head().view().resolve(path)?;
        let Some(entry) = resolved.filter(|entry| entry.kind == Kind::Dir) else { return Ok(None) };
        let identity = self.fs().stat_dir(handle).and_then(|stat| self.fs().identity_dir(handle, &stat));
        match identity {
            Ok(identity) => Ok((self.head().find(&identity)? == Some(entry.node)).then_some(entry.node)),
            // It goes or cannot be asked; whoever lists it finds out.
            Err(_) => Ok(Some(entry.node)),
        }
    }

    /// Claims a name and an inode. Where somebody else has them, what waits here is handed on first: it may be that.
    fn claim(
        &self,
        dir: NodeId,
        name: &[u8],
        identity: Option<&Identity>,
        trip: &mut Trip<'_>,
    ) -> Result<Claim> {
        if let Some(claim) = self.claims.try_claim(dir, name, identity) {
            return Ok(claim);
        }
        self.hand_on(trip)?;
        Ok(self.claims.claim(dir, name, identity))
    }

    /// Gives a file to the capture threads, with its neighbours if it is small.
    fn capture(&self, task: Task, trip: &mut Trip<'_>) -> Result<()> {
        if task.stat.size > BATCHED_BYTES_MAX {
            return self.queue(trip).send(vec![task]).map_err(|_| ScanError::Stopped);
        }
        trip.batch.push(task);
        if trip.batch.len() >= BATCH_MAX { self.hand_on(trip) } else { Ok(()) }
    }

    fn hand_on(&self, trip: &mut Trip<'_>) -> Result<()> {
        if trip.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut trip.batch);
        self.queue(trip).send(batch).map_err(|_| ScanError::Stopped)
    }

    fn queue(&self, trip: &Trip<'_>) -> &Sender<Batch> {
        if trip.reconciling.is_some() { &self.background } else { &self.tasks }
    }

    /// Whether the agent ends: long work is given up.
    fn is_stopping(&self) -> bool {
        self.workshop.stop.load(Ordering::Relaxed)
    }

    /// Submits a version with the operations before it, unless it says nothing new.
    fn change_version(
        &self,
        node: NodeId,
        version: Version,
        mut ops: Vec<Op>,
        hinted: Option<Instant>,
        ticket: &Arc<Ticket>,
    ) -> Result<()> {
        let before = self.head().view().version(node)?;
        if before.is_none_or(|before| before.version != version) {
            count(&self.workshop.tally.versions, 1);
            ops.push(Op::Version { node, version });
        }
        if ops.is_empty() {
            return Ok(());
        }
        self.submit(ops, hinted, ticket).map(|_| ())
    }

    fn submit(&self, ops: Vec<Op>, hinted: Option<Instant>, ticket: &Arc<Ticket>) -> Result<Seq> {
        let read = Some(self.workshop.clock.now().wall);
        let seq = self.head().submit(vec![Group { ops, hinted, read }])?;
        ticket.reached(seq);
        Ok(seq)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ESTALE | libc::EXDEV))
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if path != b"/" {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The directory and the name of an absolute path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"/", path),
    }
}

#[cfg(test)]
mod tests;

//! The thread of the directory worker: takes jobs from the loop, one at a time, and tells when it is free again.
//!
//! Owns the roots as they are open now, and the barrier before new directories are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use asof_journal::types::{Instant, NodeId};
use asof_journal::view::{is_below, related};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::health::{Missing, Trouble};
use crate::pool::{Priority, Ticket};
use crate::run::{Again, Event, RootsDiff};
use crate::scan::{Root, ScanError, Scanner};
use crate::settle::{Marks, Scan, Work};
use crate::watch::{BarrierExpired, PendingBarrier, WatchError, WatchHandle};

/// How long the event source may take to answer before directories are listed all the same.
const BARRIER_MAX: Duration = Duration::from_secs(2);
/// Directories remembered to be listed again; with one more it is their whole root.
const UNBARRED_MAX: usize = 1024;

/// What the loop asks for.
pub(crate) enum Job {
    /// Look at these; each came to notice at the time beside it. None: look whether the source has answered.
    Works {
        /// What is due.
        works: Vec<Work>,
        /// When each came to notice.
        hinted: Vec<Instant>,
        /// Those that are not watched: that is tried again before they are looked at.
        unwatched: Vec<Vec<u8>>,
    },
    /// Other roots are protected from now on.
    Roots(RootsDiff),
    /// Compare everything below these roots; the others are not there.
    Reconcile {
        /// Their paths.
        roots: Vec<Vec<u8>>,
        /// Through when everything was covered before.
        covered: Option<Instant>,
        /// Whether directories may lack their watch.
        rewatch: bool,
    },
}

/// Starts the thread; jobs go to the sender, one at a time.
pub(crate) fn spawn(
    scanner: Arc<Scanner>,
    watch: WatchHandle,
    threads: usize,
    events: Sender<Event>,
) -> io::Result<(Sender<Job>, thread::JoinHandle<()>)> {
    let (sender, jobs) = bounded(1);
    let worker = Worker {
        scanner,
        watch,
        roots: Vec::new(),
        threads,
        events,
        pending: None,
        unbarred: BTreeSet::new(),
    };
    let thread = thread::Builder::new().name("asofd-scan".to_string()).spawn(move || {
        Priority::Ordinary.apply();
        worker.serve(&jobs);
    })?;
    Ok((sender, thread))
}

struct Worker {
    scanner: Arc<Scanner>,
    watch: WatchHandle,
    roots: Vec<Root>,
    threads: usize,
    events: Sender<Event>,
    /// A barrier that did not come back in time.
    pending: Option<PendingBarrier>,
    /// Directories that were listed without one meanwhile.
    unbarred: BTreeSet<Vec<u8>>,
}

impl Worker {
    fn serve(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Works { works, hinted, unwatched } => {
                    let watched = self.watch_again(unwatched);
                    self.works(works, &hinted);
                    for path in watched {
                        self.tell(Event::Recovered(Trouble::Unwatched(path, String::new())));
                    }
                }
                Job::Roots(diff) => self.change_roots(diff),
                Job::Reconcile { roots, covered, rewatch } => self.reconcile(roots, covered, rewatch),
            }
            self.tell(Event::Idle);
        }
    }

    fn tell(&self, event: Event) {
        // The loop is gone only when the agent ends; the next start compares everything.
        let _ = self.events.send(event);
    }

    /// Tries to watch what could not be watched; gives what is watched now, or gone.
    fn watch_again(&self, unwatched: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let is_watched = |path: &Vec<u8>| {
            let answer = self.watch.watch(Path::new(OsStr::from_bytes(path)));
            matches!(answer, Ok(()) | Err(WatchError::Missing { .. }))
        };
        unwatched.into_iter().filter(is_watched).collect()
    }

    fn reconcile(&mut self, roots: Vec<Vec<u8>>, covered: Option<Instant>, rewatch: bool) {
        let events = self.events.clone();
        let ticket = Ticket::new(move |seq| drop(events.send(Event::Reconciled(seq))));
        if rewatch {
            for root in &roots {
                // Where one has its watch this changes nothing.
                self.scanner.watch_anew(root);
            }
        }
        let barred = self.barrier();
        self.roots.clear();
        for path in roots {
            if !barred {
                remember(&mut self.unbarred, &path, &path);
            }
            let compared = self.scanner.open_root(&path, &ticket).and_then(|root| {
                let compared = self.scanner.reconcile(&root, self.threads, covered, rewatch, &ticket);
                self.roots.push(root);
                compared
            });
            match compared {
                Ok(()) => {}
                Err(ScanError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    self.tell(Event::Trouble(Trouble::RootMissing(path, Missing::Gone)));
                }
                Err(error) => {
                    tracing::error!(root = %path.escape_ascii(), %error, "the comparison of a root ended early");
                    self.tell(Event::Trouble(Trouble::RootMissing(path, Missing::Refused)));
                }
            }
        }
    }

    /// Lets go of roots, watches and opens others. What is in those, and where rules changed, is for scans that follow.
    fn change_roots(&mut self, diff: RootsDiff) {
        let ticket = Ticket::new(|_| {});
        for path in &diff.removed {
            self.roots.retain(|root| root.path != *path);
            // The watches of roots that overlap cannot be told apart: they stay, and what they say is not looked at.
            if !diff.roots.iter().any(|root| related(root, path))
                && let Err(error) = self.watch.unwatch(Path::new(OsStr::from_bytes(path)))
            {
                tracing::warn!(%error, "a root that is protected no longer may still be watched");
            }
            // Below a root that stays it is protected as before.
            if !diff.roots.iter().any(|root| is_below(path, root))
                && let Err(error) = self.scanner.uncover_root(path, &diff.roots, &ticket)
            {
                tracing::error!(root = %path.escape_ascii(), %error, "a root is not marked as protected no longer");
            }
        }
        for path in &diff.added {
            match self.scanner.take_in_root(path, &ticket) {
                Ok(root) => self.roots.push(root),
                Err(error) => {
                    let is_gone = matches!(&error, ScanError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
                    let why = if is_gone { Missing::Gone } else { Missing::Refused };
                    tracing::info!(root = %path.escape_ascii(), %error, "a root could not be opened");
                    self.tell(Event::Trouble(Trouble::RootMissing(path.clone(), why)));
                }
            }
        }
        for path in &diff.changed {
            self.scanner.watch_anew(path);
        }
    }

    fn works(&mut self, works: Vec<Work>, hinted: &[Instant]) {
        if works.is_empty() {
            self.poll();
            return;
        }
        let barred = !works.iter().any(needs_barrier) || self.barrier();
        let mut touched: BTreeMap<Vec<u8>, (NodeId, Arc<Ticket>)> = BTreeMap::new();
        for (work, hinted) in works.iter().zip(hinted) {
            let (events, id) = (self.events.clone(), work.id);
            let ticket = Ticket::new(move |seq| drop(events.send(Event::Processed(id, seq))));
            let Some(root) = root_of(&self.roots, &work.path) else { continue };
            if !barred && needs_barrier(work) {
                remember(&mut self.unbarred, &work.path, &root.path);
            }
            match self.scanner.perform(root, work, *hinted, &ticket) {
                // Once for all that happened in a directory, not once for each.
                Ok(dirs) => touched.extend(dirs.into_iter().map(|(dir, node)| (dir, (node, ticket.clone())))),
                Err(ScanError::Io { source, path }) if source.kind() == io::ErrorKind::NotFound => {
                    if path == root.path {
                        self.tell(Event::Trouble(Trouble::RootMissing(path, Missing::Gone)));
                    }
                }
                Err(error) => {
                    tracing::warn!(path = %work.path.escape_ascii(), %error, "could not be looked at");
                }
            }
        }
        for (dir, (node, ticket)) in touched {
            let Some(root) = root_of(&self.roots, &dir) else { continue };
            if let Err(error) = self.scanner.look_at_touched(root, &dir, node, &ticket) {
                tracing::warn!(path = %dir.escape_ascii(), %error, "could not be looked at");
            }
        }
    }

    /// Everything that was queued in the source is delivered, and the directories that it named are watched.
    ///
    /// While the source does not get to the end of its queue, nothing waits for it: directories are listed all the
    /// same, and once more when it has answered.
    fn barrier(&mut self) -> bool {
        if self.pending.is_some() {
            return self.poll();
        }
        let error = match self.watch.begin_barrier() {
            Ok(barrier) => match barrier.wait(BARRIER_MAX) {
                Ok(()) => return true,
                Err(error) => {
                    self.pending = Some(barrier);
                    error
                }
            },
            Err(error) => error,
        };
        tracing::info!(%error, "directories are listed without a barrier, and once more later");
        self.tell(Event::Trouble(Trouble::Stalled));
        false
    }

    /// Whether the source has answered meanwhile. If so, what was listed without its answer is listed again.
    fn poll(&mut self) -> bool {
        match self.pending.as_ref().map(|barrier| barrier.wait(Duration::ZERO)) {
            None => true,
            Some(Err(BarrierExpired::Deadline)) => false,
            Some(answer) => {
                if let Err(error) = answer {
                    tracing::error!(%error, "the event source is gone");
                }
                self.pending = None;
                for path in std::mem::take(&mut self.unbarred) {
                    self.tell(Event::Again(Again::Tree(path)));
                }
                self.tell(Event::Recovered(Trouble::Stalled));
                true
            }
        }
    }
}

/// The innermost root that a path is below: another filesystem below a root may be a root too.
fn root_of<'r>(roots: &'r [Root], path: &[u8]) -> Option<&'r Root> {
    roots.iter().filter(|root| is_below(path, &root.path)).max_by_key(|root| root.path.len())
}

/// Whether the work lists directories that may just have come into being.
fn needs_barrier(work: &Work) -> bool {
    work.marks.any(Marks::ARRIVED) || work.scan != Scan::No || !work.arrivals.is_empty()
}

/// What came into being before its watch has no event: it is to be looked for once more.
fn remember(unbarred: &mut BTreeSet<Vec<u8>>, path: &[u8], root: &[u8]) {
    if unbarred.len() >= UNBARRED_MAX {
        unbarred.retain(|path| !is_below(path, root));
        unbarred.insert(root.to_vec());
    } else if !unbarred.contains(root) {
        unbarred.insert(path.to_vec());
    }
}

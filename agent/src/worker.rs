//! The thread of the directory worker: takes jobs from the loop, one at a time, and tells when it is free again.
//!
//! Owns the roots as they are open now, and the barrier before new directories are listed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use asof_journal::types::{Instant, NodeId};
use asof_journal::view::is_below;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::pool::Ticket;
use crate::run::{Again, Event, Trouble};
use crate::scan::{Root, ScanError, Scanner};
use crate::settle::{Marks, Scan, Work};
use crate::watch::WatchHandle;

/// How long the event source may take to answer before directories are listed all the same.
const BARRIER_MAX: Duration = Duration::from_secs(5);

/// What the loop asks for.
pub(crate) enum Job {
    /// Look at these; each came to notice at the time beside it.
    Works(Vec<Work>, Vec<Instant>),
    /// Compare everything below all roots; everything was covered through then.
    Reconcile(Option<Instant>),
}

/// Starts the thread; jobs go to the sender, one at a time.
pub(crate) fn spawn(
    scanner: Scanner,
    watch: WatchHandle,
    roots: Vec<Vec<u8>>,
    threads: usize,
    events: Sender<Event>,
) -> io::Result<(Sender<Job>, thread::JoinHandle<()>)> {
    let (sender, jobs) = bounded(1);
    let worker = Worker { scanner, watch, paths: roots, roots: Vec::new(), threads, events };
    let thread = thread::Builder::new().name("asofd-scan".to_string()).spawn(move || worker.serve(&jobs))?;
    Ok((sender, thread))
}

struct Worker {
    scanner: Scanner,
    watch: WatchHandle,
    paths: Vec<Vec<u8>>,
    roots: Vec<Root>,
    threads: usize,
    events: Sender<Event>,
}

impl Worker {
    fn serve(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Works(works, hinted) => self.works(works, &hinted),
                Job::Reconcile(covered) => self.reconcile(covered),
            }
            self.tell(Event::Idle);
        }
    }

    fn tell(&self, event: Event) {
        // The loop is gone only when the agent ends; the next start compares everything.
        let _ = self.events.send(event);
    }

    fn reconcile(&mut self, covered: Option<Instant>) {
        let events = self.events.clone();
        let ticket = Ticket::new(move |seq| drop(events.send(Event::Reconciled(seq))));
        self.barrier();
        self.roots.clear();
        for path in self.paths.clone() {
            let compared = self.scanner.open_root(&path, &ticket).and_then(|root| {
                let compared = self.scanner.reconcile(&root, self.threads, covered, &ticket);
                self.roots.push(root);
                compared
            });
            match compared {
                Ok(()) => {}
                Err(ScanError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    self.tell(Event::Trouble(Trouble::RootMissing(path)));
                }
                Err(error) => {
                    tracing::error!(root = %path.escape_ascii(), %error, "the comparison of a root ended early");
                    self.tell(Event::Trouble(Trouble::Unwatched(path, error.to_string())));
                }
            }
        }
    }

    fn works(&mut self, works: Vec<Work>, hinted: &[Instant]) {
        let barred = !works.iter().any(needs_barrier) || self.barrier();
        let mut touched: BTreeMap<Vec<u8>, (NodeId, Arc<Ticket>)> = BTreeMap::new();
        for (work, hinted) in works.iter().zip(hinted) {
            let (events, id) = (self.events.clone(), work.id);
            let ticket = Ticket::new(move |seq| drop(events.send(Event::Processed(id, seq))));
            let Some(root) = self.roots.iter().find(|root| is_below(&work.path, &root.path)) else {
                continue;
            };
            if !barred && needs_barrier(work) {
                // What came into being before its watch has no event: it is looked for once more, with a barrier.
                self.tell(Event::Again(Again::Tree(work.path.to_vec())));
            }
            match self.scanner.perform(root, work, *hinted, &ticket) {
                // Once for all that happened in a directory, not once for each.
                Ok(dirs) => touched.extend(dirs.into_iter().map(|(dir, node)| (dir, (node, ticket.clone())))),
                Err(ScanError::Io { source, path }) if source.kind() == io::ErrorKind::NotFound => {
                    if path == root.path {
                        self.tell(Event::Trouble(Trouble::RootMissing(path)));
                    }
                }
                Err(error) => {
                    tracing::warn!(path = %work.path.escape_ascii(), %error, "could not be looked at");
                }
            }
        }
        for (dir, (node, ticket)) in touched {
            let Some(root) = self.roots.iter().find(|root| is_below(&dir, &root.path)) else { continue };
            if let Err(error) = self.scanner.look_at_touched(root, &dir, node, &ticket) {
                tracing::warn!(path = %dir.escape_ascii(), %error, "could not be looked at");
            }
        }
    }

    /// Everything that was queued in the source is delivered, and the directories that it named are watched.
    fn barrier(&self) -> bool {
        match self.watch.barrier(BARRIER_MAX) {
            Ok(()) => {
                self.tell(Event::Recovered(Trouble::Stalled));
                true
            }
            Err(error) => {
                tracing::info!(%error, "directories are listed without a barrier, and once more later");
                self.tell(Event::Trouble(Trouble::Stalled));
                false
            }
        }
    }
}

/// Whether the work lists directories that may just have come into being.
fn needs_barrier(work: &Work) -> bool {
    let arrived = Marks::APPEARED_DIR.with(Marks::MOVED_TO);
    work.marks.any(arrived) || work.scan != Scan::No || !work.arrivals.is_empty()
}

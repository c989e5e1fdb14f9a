//! The check on ourselves: everything is compared now and then, and what no event announced is counted.
//!
//! Owns the thread, of the lowest priority, and the proof that something was missed: what differs is asked for again
//! after a barrier, when every event before it has been delivered. Then it is in the dirty map, or was captured, or
//! was never announced.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::dirty::Dirty;
use crate::pool::Priority;
use crate::run::{Again, Event};
use crate::scan::{Checked, Scanner, Suspect};
use crate::watch::WatchHandle;

/// How long the event source may take; what differs after that is captured and not counted.
const BARRIER_MAX: Duration = Duration::from_secs(10);
/// Paths that are named in the log, of one check; the others are counted.
const NAMED_MAX: u64 = 100;

/// What is to be checked: paths of roots.
pub(crate) type Roots = Vec<Vec<u8>>;

/// Starts the thread. It checks everything below the roots that it is sent, and tells when that is done by
/// [`Event::Checked`]; it gives up what is under way when the agent ends.
pub(crate) fn spawn(
    scanner: Arc<Scanner>,
    watch: WatchHandle,
    dirty: Arc<Dirty>,
    events: Sender<Event>,
) -> io::Result<(Sender<Roots>, thread::JoinHandle<()>)> {
    let (jobs, queue) = bounded(1);
    let checker = Checker { scanner, watch, dirty, events, missed: 0 };
    let thread =
        thread::Builder::new().name("asofd-check".to_string()).spawn(move || checker.serve(&queue))?;
    Ok((jobs, thread))
}

struct Checker {
    scanner: Arc<Scanner>,
    watch: WatchHandle,
    dirty: Arc<Dirty>,
    events: Sender<Event>,
    /// In the check under way.
    missed: u64,
}

impl Checker {
    fn serve(mut self, queue: &Receiver<Roots>) {
        Priority::Background.apply();
        while let Ok(roots) = queue.recv() {
            self.missed = 0;
            let scanner = self.scanner.clone();
            for root in roots {
                let found = &mut |root: &Checked, suspects| self.suspected(root, suspects);
                if let Err(error) = scanner.check(&root, found) {
                    tracing::info!(root = %root.escape_ascii(), %error, "a check of a root ended early");
                }
            }
            if self.missed > 0 {
                tracing::info!(
                    missed = self.missed,
                    "changes that no event announced were found and are captured"
                );
            }
            let _ = self.events.send(Event::Checked);
        }
    }

    fn suspected(&mut self, root: &Checked, suspects: Vec<Suspect>) {
        let barrier = self.watch.begin_barrier().and_then(|barrier| barrier.wait(BARRIER_MAX));
        for suspect in suspects {
            if self.scanner.ends() {
                return;
            }
            // In this order: what leaves the map is part of the newest state by then.
            let announced = self.dirty.lock().settle.is_dirty(&suspect.path);
            if announced {
                continue;
            }
            let differs = self.scanner.still_differs(root, &suspect);
            if !suspect.is_reread && barrier.is_ok() && matches!(differs, Ok(true)) {
                self.missed += 1;
                self.scanner.count_missed(1);
                if self.missed <= NAMED_MAX {
                    tracing::info!(path = %suspect.path.escape_ascii(), "missed by events: found by the check");
                }
            }
            let _ = self.events.send(Event::Again(Again::Name(suspect.path)));
        }
    }
}

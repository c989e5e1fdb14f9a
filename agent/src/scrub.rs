//! The thread that reads old content and checks it, a little at a time, while there is nothing else to do.
//!
//! Owns how much a day and when; what is checked, and what is remembered of it, is the journal's business. Runs at the
//! lowest priority, and ends a step early when work comes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use asof_journal::Error;
use asof_journal::head::Head;
use asof_journal::scrub::{Progress, Scrub};
use asof_journal::segments::Damage;
use asof_journal::storage::Layout;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::clock::Clock;
use crate::pool::Priority;
use crate::run::Event;

/// One step reads about so much at most; a commit is read as a whole.
const STEP_BYTES_MAX: u64 = 16 << 20;
/// And waits until it may read so much: each step ends with a small file made durable.
const STEP_BYTES_MIN: u64 = 1 << 20;
const DAY_NS: u128 = 86_400_000_000_000;

/// What the loop has of the scrub.
pub(crate) struct Scrubber {
    jobs: Sender<u64>,
    shared: Arc<Shared>,
    busy: bool,
    /// Bytes that may be read by now; in debt after a step that read more.
    allowance: f64,
    refilled_ns: u64,
}

#[derive(Default)]
struct Shared {
    /// Whether there is work to do: a step ends.
    hurry: AtomicBool,
    /// Bytes that were checked since the start.
    checked: AtomicU64,
    progress: Mutex<Progress>,
}

impl Scrubber {
    /// Starts the thread. It tells of every step by [`Event::Scrubbed`]. `damage` is what opening the journal found.
    pub(crate) fn spawn(
        head: Arc<Head>,
        layout: &Layout,
        clock: Arc<dyn Clock>,
        damage: Vec<Damage>,
        events: Sender<Event>,
    ) -> io::Result<(Scrubber, thread::JoinHandle<()>)> {
        let (jobs, queue) = bounded(1);
        let shared = Arc::<Shared>::default();
        let refilled_ns = clock.monotonic_ns();
        let worker = Worker { scrub: Scrub::open(layout), head, clock, shared: shared.clone(), events };
        let thread = thread::Builder::new()
            .name("asofd-scrub".to_string())
            .spawn(move || worker.serve(&queue, &damage))?;
        // The first step comes with the first idle moment.
        let allowance = STEP_BYTES_MIN as f64;
        Ok((Scrubber { jobs, shared, busy: false, allowance, refilled_ns }, thread))
    }

    /// Lets it read on, if nothing else is to do and it is time to. `per_day` is in percent of all segments.
    pub(crate) fn tick(&mut self, idle: bool, now_ns: u64, per_day: Option<u64>) {
        let Some(percent) = per_day else { return };
        let elapsed = u128::from(now_ns.saturating_sub(self.refilled_ns));
        self.refilled_ns = now_ns;
        let bytes = u128::from(self.progress().bytes);
        let earned = (bytes * u128::from(percent)) as f64 / 100.0 * (elapsed as f64 / DAY_NS as f64);
        // What was earned while there was work is not made up for all at once.
        self.allowance = (self.allowance + earned).min(STEP_BYTES_MAX as f64);
        self.shared.hurry.store(!idle, Ordering::Relaxed);
        if idle && !self.busy && self.allowance >= STEP_BYTES_MIN as f64 {
            self.busy = self.jobs.try_send(self.allowance as u64).is_ok();
        }
    }

    /// Ends the step under way soon: there is work.
    pub(crate) fn hurry(&self) {
        self.shared.hurry.store(true, Ordering::Relaxed);
    }

    /// A step ended, and read so much.
    pub(crate) fn done(&mut self, bytes: u64) {
        self.busy = false;
        self.allowance -= bytes as f64;
    }

    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        *self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that were checked since the start.
    pub(crate) fn checked(&self) -> u64 {
        self.shared.checked.load(Ordering::Relaxed)
    }
}

/// What a step tells the loop.
#[derive(Debug)]
pub(crate) struct Scrubbed {
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// Damaged places that are not known to be lost, all that were found so far.
    pub(crate) damaged: usize,
    /// One of them, for people.
    pub(crate) example: Option<String>,
}

struct Worker {
    scrub: Scrub,
    head: Arc<Head>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    events: Sender<Event>,
}

impl Worker {
    fn serve(mut self, queue: &Receiver<u64>, damage: &[Damage]) {
        Priority::Background.apply();
        // What was found before this start and was mended or noted since is no news.
        let example = match self.scrub.begin(&self.head, damage) {
            Ok(damage) => damage.first().map(words),
            Err(error) => {
                tracing::warn!(%error, "what the scrub found before could not be looked at");
                None
            }
        };
        self.tell(0, example);
        while let Ok(bytes_max) = queue.recv() {
            let (mut read, mut example) = (0, None);
            let hurry = self.shared.clone();
            let go_on = move || !hurry.hurry.load(Ordering::Relaxed);
            match self.scrub.step(&self.head, self.clock.now().wall, bytes_max, &go_on) {
                Ok(step) => {
                    read = step.bytes;
                    for damage in &step.damage {
                        tracing::error!(
                            file = %damage.path.display(), offset = damage.at.offset, what = damage.what,
                            "damage in the journal, found by the scrub; `asof verify --deep` says what it costs"
                        );
                    }
                    example = step.damage.first().map(words);
                }
                Err(error) if is_gone(&error) => {
                    tracing::debug!(%error, "a segment was replaced while the scrub came to it");
                }
                // Who writes to the journal names that; what was read is read again.
                Err(error @ Error::Full { .. }) => {
                    tracing::debug!(%error, "no room to note how far the scrub has come");
                }
                Err(error) => tracing::warn!(%error, "a step of the scrub failed; it is tried again"),
            }
            self.shared.checked.fetch_add(read, Ordering::Relaxed);
            self.tell(read, example);
        }
    }

    fn tell(&mut self, bytes: u64, example: Option<String>) {
        match self.scrub.progress() {
            Ok(progress) => {
                *self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
            }
            Err(error) => tracing::warn!(%error, "how far the scrub is could not be found out"),
        }
        let damaged = self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner).damage;
        let _ = self.events.send(Event::Scrubbed(Scrubbed { bytes, damaged, example }));
    }
}

/// Whether a file is not there any more: compaction has removed it, and the next step does not come to it.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// A damaged place for people.
pub(crate) fn words(damage: &Damage) -> String {
    format!("{} at offset {}: {}", damage.path.display(), damage.at.offset, damage.what)
}

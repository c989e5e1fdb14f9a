//! The thread that applies the retention policy: a little at a time while there is nothing else to do, or at once for whoever asks.
//!
//! Owns when, and what is told of it; what goes and how is the journal's business. Runs at the lowest priority. A run of
//! segments that has begun comes to its end; between two, the thread ends soon.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use asof_journal::compact::{Compacted, Compactor, Eagerness, Purged};
use asof_journal::control::{Answer, OldReader, Retained, Retention};
use asof_journal::forget::Order;
use asof_journal::head::Head;
use asof_journal::retention::Policy;
use asof_journal::retention::config::Written;
use asof_journal::types::{Instant, Seq};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::clock::Clock;
use crate::control::ControlRequest;
use crate::pool::Priority;
use crate::run::Event;
use crate::scrub::words;

/// The first look comes so long after the start: others have enough to do before.
const FIRST_NS: u64 = 5 * 60 * 1_000_000_000;
/// And the next one so long after one that found nothing more to do.
const LOOK_EVERY_NS: u64 = 3_600_000_000_000;
/// Between two runs of segments.
const PAUSE_NS: u64 = 10_000_000_000;
/// In a pause it looks every so often whether it is wanted: so many times.
const PAUSE_STEP: Duration = Duration::from_millis(100);
const PAUSE_STEPS: u32 = 100;
/// How often old segments are looked at that wait for readers.
const OLD_EVERY_NS: u64 = 60_000_000_000;
/// So many may wait for a compaction that they asked for.
const ASKED_MAX: usize = 16;
/// How often, and how long each time, whoever forgets waits for readers of the old segments.
const FORGET_WAITS: u32 = 20;
const FORGET_WAIT: Duration = Duration::from_millis(250);
/// How long it waits for what was submitted before.
const FORGET_PATIENCE: Duration = Duration::from_secs(30);
/// Damaged places that a status names.
const DAMAGE_MAX: usize = 8;

/// What the loop has of the thread.
pub(crate) struct Retainer {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    busy: bool,
    /// When the next look is due.
    due_ns: u64,
    old_ns: u64,
    asked: VecDeque<Asked>,
    /// What is to be forgotten, and for whom; `None`: what was begun before the start.
    forgets: VecDeque<(Option<Order>, Option<ControlRequest>)>,
    /// Whether it is known if old files are still there: a process that ended may have left some.
    knows_old: bool,
    /// Answers that are true once nothing is decided any more by what was so before.
    held_back: Vec<(ControlRequest, Answer)>,
    status: Retention,
    /// When the reader that is waited for opened the journal.
    reader_since: Option<(u32, Instant)>,
}

struct Asked {
    eagerness: Eagerness,
    request: ControlRequest,
    /// What was done for it already.
    so_far: Compacted,
}

#[derive(Default)]
struct Shared {
    /// Whether there is something else to do: what is under way ends with the run that it is at.
    hurry: AtomicBool,
    /// Whether something is held or named since, which is to be looked at before anything more goes.
    again: AtomicBool,
    /// Whether the agent ends.
    ends: AtomicBool,
}

enum Job {
    /// Apply the policy. `seals`: also to what lies in the segment that is being written.
    Apply { policy: Box<(Written, Vec<Vec<u8>>)>, asked: Option<Asked>, seals: bool },
    /// Forget something.
    Forget { order: Option<Order>, request: Option<ControlRequest> },
    /// Remove old segments that no reader needs any more.
    RemoveOld,
}

/// What a job tells the loop.
pub(crate) struct Done {
    result: Result<Compacted, String>,
    asked: Option<Asked>,
    /// Whether it has not come to its end.
    again: bool,
    /// Whether the policy was applied, or only old segments looked at.
    applied: bool,
    reader: Option<(u32, Instant)>,
    /// What was forgotten, and who asked for it.
    forgot: Option<(Result<Purged, String>, Option<ControlRequest>)>,
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Done").field("result", &self.result).finish_non_exhaustive()
    }
}

/// How things are when a look may begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leisure {
    /// Whether there is nothing else to do.
    pub(crate) idle: bool,
    /// Whether the journal has room and its index takes what it is told.
    pub(crate) able: bool,
}

impl Retainer {
    /// Starts the thread. It tells of everything that it did by [`Event::Retained`].
    pub(crate) fn spawn(
        compactor: Compactor,
        head: Arc<Head>,
        clock: Arc<dyn Clock>,
        events: Sender<Event>,
    ) -> io::Result<(Retainer, thread::JoinHandle<()>)> {
        let (jobs, queue) = bounded(1);
        let shared = Arc::<Shared>::default();
        let now_ns = clock.monotonic_ns();
        // One that ended halfway is gone on with.
        let is_begun = compactor.forgetting().unwrap_or_else(|error| {
            tracing::error!(%error, "what was begun to be forgotten cannot be told");
            None
        });
        let forgets = is_begun.map(|_| (None, None)).into_iter().collect();
        let worker = Worker { compactor, head, clock, shared: shared.clone(), events };
        let thread =
            thread::Builder::new().name("asofd-retain".to_string()).spawn(move || worker.serve(&queue))?;
        let retainer = Retainer {
            jobs,
            shared,
            busy: false,
            due_ns: now_ns.saturating_add(FIRST_NS),
            old_ns: now_ns,
            asked: VecDeque::new(),
            forgets,
            knows_old: false,
            held_back: Vec::new(),
            status: Retention::default(),
            reader_since: None,
        };
        Ok((retainer, thread))
    }

    /// Somebody wants the policy applied now. Gives the request back where too many wait already.
    pub(crate) fn ask(
        &mut self,
        eagerness: Eagerness,
        request: ControlRequest,
    ) -> Result<(), ControlRequest> {
        if self.asked.len() >= ASKED_MAX {
            return Err(request);
        }
        self.asked.push_back(Asked { eagerness, request, so_far: Compacted::default() });
        // What is under way for nobody gives way.
        self.shared.hurry.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Somebody wants something forgotten. Gives the request back where too many wait already.
    pub(crate) fn ask_to_forget(
        &mut self,
        order: Option<Order>,
        request: ControlRequest,
    ) -> Result<(), ControlRequest> {
        if self.forgets.len() >= ASKED_MAX {
            return Err(request);
        }
        self.forgets.push_back((order, Some(request)));
        self.shared.hurry.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets it go on with what was asked for, or look by itself if it is time to.
    pub(crate) fn tick(&mut self, leisure: Leisure, now_ns: u64, written: &Written, roots: &[Vec<u8>]) {
        if self.busy {
            if !leisure.idle {
                self.shared.hurry.store(true, Ordering::Relaxed);
            }
            return;
        }
        let policy = || Box::new((written.clone(), roots.to_vec()));
        let job = if let Some((order, request)) = self.forgets.pop_front() {
            Job::Forget { order, request }
        } else if let Some(asked) = self.asked.pop_front() {
            // Without room the segment that is being written has none to follow it.
            let seals = asked.eagerness == Eagerness::Anything && leisure.able;
            Job::Apply { policy: policy(), asked: Some(asked), seals }
        } else if leisure.idle && leisure.able && now_ns >= self.due_ns {
            Job::Apply { policy: policy(), asked: None, seals: false }
        } else if (self.status.waiting > 0 || !self.knows_old)
            && now_ns.saturating_sub(self.old_ns) >= OLD_EVERY_NS
        {
            Job::RemoveOld
        } else {
            return;
        };
        self.old_ns = now_ns;
        self.shared.hurry.store(false, Ordering::Relaxed);
        self.shared.again.store(false, Ordering::Relaxed);
        self.busy = self.jobs.try_send(job).is_ok();
    }

    /// Ends what is under way for nobody with the run that it is at: there is work.
    pub(crate) fn hurry(&self) {
        self.shared.hurry.store(true, Ordering::Relaxed);
    }

    /// Ends what is under way with the run that it is at: the agent ends.
    pub(crate) fn end(&self) {
        self.shared.ends.store(true, Ordering::Relaxed);
    }

    /// Gives an answer that says that something stays from now on: once what was decided before is done.
    pub(crate) fn answer_after(&mut self, request: ControlRequest, answer: Answer) {
        if self.busy {
            self.shared.again.store(true, Ordering::Relaxed);
            self.held_back.push((request, answer));
        } else {
            let _ = request.reply.send(answer);
        }
    }

    /// A job ended.
    pub(crate) fn done(&mut self, done: Done, now_ns: u64, wall: Instant) {
        (self.busy, self.knows_old) = (false, true);
        for (request, answer) in self.held_back.drain(..) {
            let _ = request.reply.send(answer);
        }
        self.reader_since = done.reader;
        if let Some((forgot, request)) = done.forgot {
            return self.forgot(forgot, request, wall);
        }
        let by_itself = done.applied && done.asked.is_none();
        let mut next_ns = LOOK_EVERY_NS;
        let failed = match done.result {
            Ok(compacted) => {
                self.note(&compacted, done.applied, wall);
                if compacted.runs > 0 || done.again {
                    next_ns = PAUSE_NS;
                }
                let mut all = done.asked.as_ref().map(|asked| asked.so_far.clone()).unwrap_or_default();
                add(&mut all, compacted);
                if let Some(asked) = done.asked {
                    if done.again {
                        self.asked.push_front(Asked { so_far: all, ..asked });
                    } else {
                        let _ = asked.request.reply.send(Answer::Retained(self.told(&all, wall)));
                    }
                }
                None
            }
            Err(error) => done.asked.map(|asked| (asked, error)),
        };
        if by_itself {
            self.due_ns = now_ns.saturating_add(next_ns);
        }
        if let Some((asked, error)) = failed {
            let _ = asked.request.reply.send(Answer::Failed { error, timed_out: false });
        }
    }

    fn forgot(&mut self, forgot: Result<Purged, String>, request: Option<ControlRequest>, wall: Instant) {
        let answer = match forgot {
            Ok(purged) => {
                self.status.waiting = purged.waiting;
                Answer::Forgotten(asof_journal::control::Forgotten {
                    reader: self.reader(wall),
                    ..asof_journal::control::Forgotten::from(&purged)
                })
            }
            Err(error) => Answer::Failed { error, timed_out: false },
        };
        if let Some(request) = request {
            let _ = request.reply.send(answer);
        }
    }

    fn note(&mut self, compacted: &Compacted, applied: bool, wall: Instant) {
        let status = &mut self.status;
        status.waiting = compacted.waiting;
        if !applied {
            return;
        }
        status.looked = Some(wall.to_rfc3339());
        status.short_of_room = compacted.short_of_room;
        status.damage = compacted.damage.iter().take(DAMAGE_MAX).map(words).collect();
        if compacted.runs > 0 {
            status.compacted = Some(wall.to_rfc3339());
            status.freed_bytes += compacted.bytes_before.saturating_sub(compacted.bytes_written);
            status.written_bytes += compacted.bytes_written;
            status.versions += compacted.versions;
            status.bindings += compacted.bindings;
        }
    }

    fn told(&self, compacted: &Compacted, wall: Instant) -> Retained {
        Retained { reader: self.reader(wall), ..retained(compacted) }
    }

    fn reader(&self, wall: Instant) -> Option<OldReader> {
        self.reader_since.filter(|_| self.status.waiting > 0).map(|(pid, since)| OldReader {
            pid,
            seconds: u64::try_from(wall.0.saturating_sub(since.0) / 1_000_000_000).unwrap_or(0),
        })
    }

    /// What a status says of it.
    pub(crate) fn status(&self, wall: Instant) -> Retention {
        Retention { reader: self.reader(wall), ..self.status.clone() }
    }
}

/// What was done, for whoever asked.
fn retained(compacted: &Compacted) -> Retained {
    Retained {
        segments: compacted.segments,
        bytes_before: compacted.bytes_before,
        bytes_after: compacted.bytes_written,
        versions: compacted.versions,
        bindings: compacted.bindings,
        blocks: compacted.blocks,
        waiting: compacted.waiting,
        reader: None,
        short_of_room: compacted.short_of_room,
        damage: compacted.damage.iter().map(words).collect(),
    }
}

struct Worker {
    compactor: Compactor,
    head: Arc<Head>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    events: Sender<Event>,
}

impl Worker {
    fn serve(self, queue: &Receiver<Job>) {
        Priority::Background.apply();
        while let Ok(job) = queue.recv() {
            let done = match job {
                Job::Apply { policy, asked, seals } => {
                    let as_of = if seals { self.compactor.seal() } else { Ok(None) };
                    let as_of = as_of.unwrap_or_else(|error| {
                        tracing::warn!(%error, "what lies in the segment that is being written stays for now");
                        None
                    });
                    let eagerness = asked.as_ref().map(|asked| asked.eagerness);
                    let result = self.apply(&policy.0, &policy.1, eagerness, as_of);
                    if let Err(error) = &result {
                        tracing::warn!(error, "the retention policy could not be applied; it is tried again");
                    }
                    Done { asked, applied: true, ..self.done(result) }
                }
                Job::Forget { order, request } => {
                    let forgot = self.forget(order.as_ref());
                    if let Err(error) = &forgot {
                        tracing::warn!(
                            error,
                            "forgetting did not come to its end; `asof forget --finish` goes on with it"
                        );
                    }
                    Done { forgot: Some((forgot, request)), ..self.done(Ok(Compacted::default())) }
                }
                Job::RemoveOld => {
                    let removed = self.compactor.remove_old();
                    let result = removed.map(|waiting| Compacted { waiting, ..Compacted::default() });
                    self.done(result.map_err(|error| error.to_string()))
                }
            };
            let _ = self.events.send(Event::Retained(Box::new(done)));
        }
    }

    fn done(&self, result: Result<Compacted, String>) -> Done {
        let wall = self.clock.now().wall;
        let since = |age: Duration| Instant(wall.0.saturating_sub_unsigned(age.as_nanos() as u64));
        let reader = self.compactor.waits_for().map(|awaited| (awaited.pid, since(awaited.age)));
        let again = self.shared.again.load(Ordering::Relaxed);
        Done { result, asked: None, again, applied: false, reader, forgot: None }
    }

    /// Forgets something, and waits a little for readers that keep the old segments.
    fn forget(&self, order: Option<&Order>) -> Result<Purged, String> {
        let wall = self.clock.now().wall;
        let compactor = &self.compactor;
        // What was seen before is forgotten with the rest.
        self.head.wait_durable(self.head.watermarks().queued, FORGET_PATIENCE);
        let mut done =
            compactor.forget(order, wall, &mut |op| compactor.note(op)).map_err(|error| error.to_string())?;
        for _ in 0..FORGET_WAITS {
            if done.waiting == 0 || self.shared.ends.load(Ordering::Relaxed) {
                break;
            }
            thread::park_timeout(FORGET_WAIT);
            done.waiting = compactor.remove_old().map_err(|error| error.to_string())?;
        }
        tracing::info!(
            versions = done.outcome.versions,
            segments = done.segments,
            waiting = done.waiting,
            left = done.left,
            "something was forgotten: it was taken out of all history"
        );
        Ok(done)
    }

    /// Applies the policy to the end: as eagerly as somebody asked for, or by itself until there is something else to do.
    fn apply(
        &self,
        written: &Written,
        roots: &[Vec<u8>],
        asked: Option<Eagerness>,
        as_of: Option<Seq>,
    ) -> Result<Compacted, String> {
        let policy =
            Policy::new(written, roots).map_err(|error| format!("retention.rule.patterns: {error}"))?;
        let holds = self.head.held_paths().map_err(|error| error.to_string())?;
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let shared = &self.shared;
        let by_itself = asked.is_none();
        let leaves = || is_set(&shared.ends) || is_set(&shared.again) || (by_itself && is_set(&shared.hurry));
        let mut runs = 0;
        let mut go_on = |done: &Compacted| {
            // By itself with a pause between two runs, if there is still nothing else to do.
            if by_itself && done.runs > runs {
                runs = done.runs;
                let mut steps = 0..PAUSE_STEPS;
                while !leaves() && steps.next().is_some() {
                    thread::park_timeout(PAUSE_STEP);
                }
            }
            !leaves()
        };
        let eagerness = asked.unwrap_or(Eagerness::WorthIt);
        let wall = self.clock.now().wall;
        let done = self
            .compactor
            .compact_while(&policy, &holds, eagerness, (as_of, wall), &mut go_on)
            .map_err(|error| error.to_string())?;
        if done.runs > 0 {
            tracing::info!(
                segments = done.segments,
                bytes_before = done.bytes_before,
                bytes_after = done.bytes_written,
                versions = done.versions,
                bindings = done.bindings,
                waiting = done.waiting,
                "the retention policy was applied: what is not kept has left the journal"
            );
        }
        for damage in &done.damage {
            tracing::warn!(
                place = words(damage),
                "an old segment could not be compacted for damage in it, and stays as it is; \
                 `asof verify --deep` says what it costs"
            );
        }
        if done.short_of_room > 0 {
            tracing::info!(runs = done.short_of_room, "there was no room to compact old segments");
        }
        Ok(done)
    }
}

/// Puts what two compactions did together.
fn add(total: &mut Compacted, done: Compacted) {
    total.runs += done.runs;
    total.segments += done.segments;
    total.bytes_before += done.bytes_before;
    total.bytes_written += done.bytes_written;
    total.versions += done.versions;
    total.bindings += done.bindings;
    total.blocks += done.blocks;
    total.rebased += done.rebased;
    // These are as they are now.
    total.damage = done.damage;
    total.waiting = done.waiting;
    total.short_of_room = done.short_of_room;
}

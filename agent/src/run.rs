//! The one loop: what reaches the agent, what it does next, and in which state it is.
//!
//! Reads no file and writes none but cookies; whatever takes time happens on other threads, which answer with an [`Event`]. What
//! it is put together from is in `once`.

mod answer;
mod doubtful;
mod event;
mod full;
mod health;
mod life;
mod notes;
mod once;
mod reload;
mod roots;
mod sync;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asof_journal::append::Mark as Place;
use asof_journal::control::{Answer, Synced};
use asof_journal::head::Head;
use asof_journal::open::WriterLock;
use asof_journal::storage::Layout;
use asof_journal::types::{GapReason, Group, Instant, Mark, MarkCause, Op, Seq};
use crossbeam_channel::{Receiver, Sender, after, select};

use crate::appender::{Failure, OldestHint};
use crate::check;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::ControlEvent;
use crate::dirty::Dirty;
use crate::health::{Health, Trouble};
use crate::mounts::Mounts;
use crate::pool::Tally;
use crate::reread::Rereads;
use crate::retain::Retainer;
use crate::room::Room;
use crate::rpo::Delays;
use crate::rules::SharedRules;
use crate::scrub::Scrubber;
use crate::settle::{Scan, Work, WorkId};
use crate::watch::{Hint, WatchHandle, WatchThread, What};
use crate::worker::Job;
pub(crate) use event::{Again, Event, RunError};
use full::Ended;
pub(crate) use life::run;
use reload::Reload;
pub(crate) use reload::RootsDiff;
use roots::RootSeen;
use sync::{PendingSync, remove_cookies};

/// Events that wait for the loop; whoever has one more waits. The loop never waits for any of them.
const EVENTS_MAX: usize = 4096;
/// Paths looked at in one go: enough to pair renames, few enough to stay responsive.
const WORKS_MAX: usize = 2048;
/// A mark is written after so much idle time, so that it is no gap.
const MARK_EVERY: Duration = Duration::from_secs(60);
/// The kernel's clock for change times is behind the wall clock by up to a tick of its timer.
const TICK_NS: i64 = 10_000_000;
/// How often roots are looked at, and whether an idle mark is due.
const TICK_EVERY_NS: u64 = 900_000_000;
/// How often an event source that did not answer is asked whether it has.
const POLL_NS: u64 = 200_000_000;
/// How long the end in good order may wait for what is dirty.
const DRAIN_MAX_NS: u64 = 20_000_000_000;
/// A capture of a hot file that took a second is followed by so many seconds without one.
const STRETCH_FACTOR: u64 = 9;

/// The agent.
pub(crate) struct Agent {
    config: Config,
    reload: Reload,
    layout: Layout,
    lock: WriterLock,
    clock: Arc<dyn Clock>,
    head: Arc<Head>,
    tally: Arc<Tally>,
    dirty: Arc<Dirty>,
    woken: Receiver<()>,
    requests: Receiver<ControlEvent>,
    events: Receiver<Event>,
    jobs: Sender<Job>,
    watch: WatchHandle,
    watch_thread: WatchThread,
    /// The newest hint when the source was listened to last, and for how many ticks nothing came that was awaited.
    heard_no: u64,
    silent_ticks: u32,
    rules: Arc<SharedRules>,
    oldest: OldestHint,
    worker_busy: bool,
    /// Reconciles asked for and not durable yet; the state is `starting` until the first is.
    reconcile: Reconcile,
    /// What each root was when it was last compared; `None` where it was not there.
    roots_seen: Vec<Option<RootSeen>>,
    /// Whether everything was compared once since the start.
    started: bool,
    /// When the worker last looked whether the source has answered.
    polled_ns: u64,
    ticked_ns: u64,
    /// Why the appender cannot write, if it cannot.
    failure: Failure,
    /// Tells long work to end.
    stop: Arc<AtomicBool>,
    /// Work that is done and not durable yet, by the `Seq` that it waits for.
    undurable: BTreeMap<Seq, Vec<WorkId>>,
    syncs: Vec<PendingSync>,
    /// When a look was last to be repeated, and its number.
    repeated: Option<(u64, u64)>,
    /// When everything was last compared.
    compared_ns: u64,
    /// Files whose newest version is not clean.
    rereads: Rereads,
    delays: Delays,
    /// Marks that are submitted and not durable yet.
    marks: VecDeque<(Seq, PendingSync)>,
    health: Health,
    /// What is mounted where; `None` where the system does not tell.
    mounts: Option<Mounts>,
    durable: Place,
    gaps_before: u64,
    cookies: u64,
    last_mark_ns: u64,
    checks: Sender<check::Roots>,
    scrub: Scrubber,
    retainer: Retainer,
    /// When the last check ended; `None` while one is under way.
    checked_ns: Option<u64>,
    /// Until when the end in good order waits.
    stopping: Option<u64>,
    ended: Ended,
    begun_ns: u64,
    /// Whether the journal has room.
    room: Arc<Room>,
    /// Whether it has again, and everything is being compared for that.
    comparing_after_full: bool,
}

/// Where the comparison of all roots stands.
#[derive(Debug)]
enum Reconcile {
    /// It waits for the directory worker.
    Wanted(Why),
    /// It is under way since then; what changed before is in it, what changed later has hints of its own.
    Running(Why, Instant),
    /// Everything is submitted; it waits for this to be durable.
    Submitted(Seq, Why),
    /// Everything is compared.
    Done,
}

/// What a reconcile answers, and since when something may have gone unseen.
#[derive(Clone, Debug)]
struct Why {
    /// Why changes may have gone unseen; `None` where a gap that lasts says so already.
    reason: Option<GapReason>,
    since: Instant,
    /// What the gaps concern.
    scopes: Vec<Vec<u8>>,
    detail: String,
}

impl Agent {
    /// Records what is protected, watches it, and asks for the first comparison.
    fn begin(&mut self) -> Result<(), RunError> {
        remove_cookies(&self.layout.cookies());
        self.begin_with_policy()?;
        self.begin_gaps();
        for root in self.config.roots.clone() {
            self.watch_root(&root);
        }
        self.mounts_changed();
        self.dispatch();
        Ok(())
    }

    /// The loop.
    fn serve(&mut self) {
        while !self.is_finished() {
            let (timeout, before_ns) = (after(self.next_timer()), self.clock.monotonic_ns());
            let (woken, events) = (self.woken.clone(), self.events.clone());
            let requests = self.requests.clone();
            let event = select! {
                recv(requests) -> event => match event {
                    Ok(event) => Some(Event::Control(event)),
                    Err(_) => return,
                },
                recv(events) -> event => match event {
                    Ok(event) => Some(event),
                    Err(_) => return,
                },
                recv(woken) -> _ => None,
                recv(timeout) -> _ => None,
            };
            self.note_pause(self.clock.monotonic_ns().saturating_sub(before_ns));
            if let Some(event) = event {
                self.event(event);
            }
            self.tick();
            self.look_beside();
            self.look_at_appender();
            self.look_at_room();
            self.release();
            self.look_at_arriving();
            self.advance_syncs();
            self.dispatch();
        }
    }

    /// Gives up everything but the source, which is stopped when nobody uses it any more.
    fn end(self) -> (WatchThread, (Ended, Config)) {
        (self.watch_thread, (self.ended, self.config))
    }

    fn is_finished(&self) -> bool {
        let Some(until_ns) = self.stopping else { return false };
        let waiting = self.syncs.iter().any(|sync| sync.cause == MarkCause::Stopped)
            || self.marks.iter().any(|(_, sync)| sync.cause == MarkCause::Stopped);
        !waiting || self.clock.monotonic_ns() >= until_ns
    }

    /// How long nothing may happen before the loop looks by itself.
    fn next_timer(&self) -> Duration {
        let now_ns = self.clock.monotonic_ns();
        let due = match self.worker_busy {
            true => None,
            false => self.dirty.lock().settle.next_due(),
        };
        let due =
            due.map_or(Duration::from_secs(1), |due_ns| Duration::from_nanos(due_ns.saturating_sub(now_ns)));
        due.clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Control(ControlEvent::Stop) => self.stop(),
            Event::Control(ControlEvent::Reload) => self.reload(),
            Event::Control(ControlEvent::Request(request)) => self.request(request),
            Event::Processed(id, seq) => self.undurable.entry(seq).or_default().push(id),
            Event::Reconciled(seq) => self.reconciled(seq),
            Event::Idle => {
                self.worker_busy = false;
                self.roots_changed();
            }
            Event::Checked => self.checked_ns = Some(self.clock.monotonic_ns()),
            Event::Scrubbed(scrubbed) => self.scrubbed(scrubbed),
            Event::Retained(done) => {
                self.retainer.done(*done, self.clock.monotonic_ns(), self.clock.now().wall);
            }
            Event::Again(again) => self.look_again(again),
            Event::Doubtful(node) => self.doubtful(node),
            Event::Clean(node) => self.rereads.clean(node),
            Event::Hot(path, cost_ns) => self.stretch(&path, cost_ns),
            Event::Trouble(trouble) => self.trouble(trouble),
            Event::Recovered(trouble) => self.recovered(&trouble),
        }
    }

    fn look_again(&mut self, again: Again) {
        let now_ns = self.clock.monotonic_ns();
        let mut state = self.dirty.lock();
        state.last_no += 1;
        let no = state.last_no;
        match again {
            Again::Name(path) => {
                state.settle.hint(now_ns, Hint { path, what: What::Closed }, no);
            }
            Again::Missed(path) => state.settle.missed(now_ns, &path, no),
            Again::Tree(path) => state.settle.scan(now_ns, &path, Scan::Recursive, no),
        }
        drop(state);
        self.wait_for_repeated(now_ns, no);
    }

    /// A large file that is written all the time is captured less often: at most a tenth of the time goes to it.
    fn stretch(&mut self, path: &[u8], cost_ns: u64) {
        let now_ns = self.clock.monotonic_ns();
        let until_ns = now_ns.saturating_add(cost_ns.saturating_mul(STRETCH_FACTOR));
        self.dirty.lock().settle.stretch(now_ns, path, until_ns);
    }

    fn durable(&mut self, place: Place) {
        self.durable = place;
        if let Reconcile::Submitted(seq, why) = &self.reconcile
            && *seq <= place.seq
        {
            let reason = why.reason.map_or("a root is back", GapReason::as_str);
            tracing::info!(reason, "everything under the roots is compared and durable");
            self.reconcile = Reconcile::Done;
            self.started = true;
        }
        while let Some((seq, _)) = self.marks.front()
            && *seq <= place.seq
        {
            let Some((seq, sync)) = self.marks.pop_front() else { break };
            self.last_mark_ns = self.clock.monotonic_ns();
            let Some(request) = sync.reply else { continue };
            // A mark ends its batch, so the batch's instant and its `Seq` mean the same.
            let instant = match place.seq == seq {
                true => place.instant,
                false => self.head.instant_of(seq).unwrap_or(place.instant),
            };
            let synced = Synced { instant: instant.to_rfc3339(), seq: seq.0, at: seq.to_string() };
            let answer = Answer::Synced(synced);
            match sync.note {
                // What goes meanwhile was decided before it.
                Some(Op::Name(_) | Op::Hold(_)) => self.retainer.answer_after(request, answer),
                _ => drop(request.reply.send(answer)),
            }
        }
    }

    /// Gives back what is durable: a path stays dirty until then.
    fn release(&mut self) {
        let later = self.undurable.split_off(&self.durable.seq.next());
        let done = std::mem::replace(&mut self.undurable, later);
        let mut state = self.dirty.lock();
        let now_ns = self.clock.monotonic_ns();
        for (seq, ids) in done {
            let hinted = ids.into_iter().filter_map(|id| state.settle.release(id));
            // What led to nothing was no change.
            hinted.filter(|_| seq > Seq::ZERO).for_each(|first_ns| self.delays.record(now_ns, first_ns));
        }
        let oldest = state.settle.oldest_pending();
        drop(state);
        let wall = oldest.map_or(0, |(_, first_ns)| self.wall_of(first_ns, now_ns).0);
        self.oldest.store(wall, Ordering::Relaxed);
    }

    fn wall_of(&self, then_ns: u64, now_ns: u64) -> Instant {
        let ago = i64::try_from(now_ns.saturating_sub(then_ns)).unwrap_or(i64::MAX);
        Instant(self.clock.now().wall.0.saturating_sub(ago))
    }

    fn reconciled(&mut self, seq: Seq) {
        let Reconcile::Running(why, begun) = &self.reconcile else { return };
        let (why, begun, until) = (why.clone(), *begun, self.clock.now().wall);
        self.compared_ns = self.clock.monotonic_ns();
        self.welcome_roots();
        self.over(|known| *known == Trouble::SourceDead);
        self.end_of_pause();
        let mut ops = self.gaps_of(&why, until);
        if !self.started {
            ops.extend(self.end_open_gaps(&ops));
        }
        ops.push(Op::Mark(Mark { covered_through: begun, cause: MarkCause::Reconciled }));
        let seq = self.submit(ops).unwrap_or(seq).max(seq);
        self.reconcile = Reconcile::Submitted(seq, why);
    }

    fn submit(&mut self, ops: Vec<Op>) -> Option<Seq> {
        match self.head.submit(vec![Group { ops, ..Group::default() }]) {
            Ok(seq) => Some(seq),
            Err(error) => {
                self.trouble(Trouble::Journal(error.to_string()));
                None
            }
        }
    }

    /// Gives the directory worker something to do, if it is free and something is due.
    fn dispatch(&mut self) {
        if self.worker_busy || self.room.lack().is_some() || self.dispatch_roots() {
            return;
        }
        if let Reconcile::Wanted(why) = &self.reconcile {
            let begun = Instant(self.clock.now().wall.0.saturating_sub(TICK_NS));
            let rewatch = why.reason == Some(GapReason::QueueOverflow);
            self.reconcile = Reconcile::Running(why.clone(), begun);
            let roots = self.roots_to_compare();
            let job = Job::Reconcile { roots, covered: self.head.covered_through(), rewatch };
            self.worker_busy = self.jobs.send(job).is_ok();
            return;
        }
        let now_ns = self.clock.monotonic_ns();
        let works: Vec<Work> = self.dirty.lock().settle.take_due(now_ns, WORKS_MAX);
        let stalled = self.health.has(|known| *known == Trouble::Stalled);
        if works.is_empty() && !(stalled && now_ns.saturating_sub(self.polled_ns) >= POLL_NS) {
            return;
        }
        self.polled_ns = now_ns;
        self.scrub.hurry();
        self.retainer.hurry();
        let hinted = works.iter().map(|work| self.wall_of(work.first_ns, now_ns)).collect();
        let is_unwatched = |work: &&Work| self.health.unwatched().any(|path| path == &work.path[..]);
        let unwatched = works.iter().filter(is_unwatched).map(|work| work.path.to_vec()).collect();
        self.worker_busy = self.jobs.send(Job::Works { works, hinted, unwatched }).is_ok();
    }

    /// What is done about once a second, however much else there is to do.
    fn tick(&mut self) {
        let now_ns = self.clock.monotonic_ns();
        if now_ns.saturating_sub(self.ticked_ns) < TICK_EVERY_NS {
            return;
        }
        self.ticked_ns = now_ns;
        self.look_at_journal();
        let idle = now_ns.saturating_sub(self.last_mark_ns) >= MARK_EVERY.as_nanos() as u64;
        let has_room = self.room.lack().is_none();
        if has_room && idle && self.syncs.is_empty() && self.marks.is_empty() {
            self.begin_sync(MarkCause::Idle, None, None, None);
        }
        self.record_policy();
        self.listen_to_source();
        self.look_at_mounts();
        self.look_at_doubtful();
        self.look_at_roots();
        self.bring_roots_back();
        if has_room {
            self.poll_unseen();
            self.check_ourselves();
            self.scrub_on(now_ns);
        }
        self.retain_on(now_ns, has_room);
        self.look_at_index();
    }
}

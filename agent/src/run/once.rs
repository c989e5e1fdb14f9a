//! One run of the loop: what it is put together from, and the order of start and stop.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use asof_journal::Error;
use asof_journal::append::Limits;
use asof_journal::open::{Journal, WriterLock};
use asof_journal::storage::Layout;
use asof_journal::types::{GapReason, Seq};
use crossbeam_channel::{Receiver, bounded};

use super::full::Ended;
use super::reload::Reload;
use super::roots::open_mounts;
use super::{Agent, EVENTS_MAX, Reconcile, RunError, Why};
use crate::appender::{AppendThread, OldestHint};
use crate::check;
use crate::clock::{Clock, OsClock};
use crate::config::{Config, Loaded, RunArgs};
use crate::control::ControlEvent;
use crate::dirty::{Dirty, Intake};
use crate::fs::OsFs;
use crate::health::Health;
use crate::pool::{Pool, Priority, Tally, Workshop};
use crate::reread::Rereads;
use crate::retain::Retainer;
use crate::room::Room;
use crate::rpo::Delays;
use crate::rules::SharedRules;
use crate::scan::Scanner;
use crate::scrub::Scrubber;
use crate::settle::Settle;
use crate::status;
use crate::watch::{self, Backend, SourceOptions, WatchHandle, WatchThread};
use crate::worker;

/// What outlives a run of the loop.
pub(super) struct Life {
    pub(super) args: RunArgs,
    pub(super) clock: Arc<OsClock>,
    pub(super) lock: WriterLock,
    pub(super) requests: Receiver<ControlEvent>,
    /// What is said of the time before the first run: that there was no room to begin.
    pub(super) waited: String,
}

/// Runs the loop until it is told to stop, or has to begin again with the configuration that was in force at the end.
/// `bye` is called when nobody is answered any more.
pub(super) fn once(life: &Life, loaded: Loaded, bye: &mut dyn FnMut()) -> Result<(Ended, Config), RunError> {
    let Loaded { config, rules, .. } = loaded;
    let system = |what| move |source| RunError::System { what, source };
    let clock: Arc<dyn Clock> = life.clock.clone();
    let layout = Layout::new(&config.journal);
    let Journal { head, appender, report, compactor } =
        Journal::open_locked(&life.lock, &clock.now(), Limits::default())?;
    status::report_recovery(&head, &report);
    let applied = *appender.applied();
    let durable = appender.durable();

    let (events_in, events) = bounded(EVENTS_MAX);
    let settle = Settle::new(config.settle.clone(), config.root_bytes());
    let (dirty, woken) = Dirty::new(settle);
    let rules = SharedRules::new(rules);
    let (watch_thread, watch) = watch(config.backend, &rules, &layout, &dirty, &clock)?;
    let oldest: OldestHint = Arc::new(AtomicI64::new(0));
    let (awake, room) = (dirty.clone(), Arc::new(Room::new(config.journal_bytes_max)));
    let told = (config.journal.clone(), room.clone());
    let (append, failure) =
        AppendThread::spawn(appender, head.clone(), clock.clone(), oldest.clone(), told, move || {
            awake.wake()
        })
        .map_err(system("the appender thread"))?;

    let again = events_in.clone();
    let workshop = Workshop {
        fs: Arc::new(OsFs::new().with_clones_in(&config.journal).map_err(system("the journal directory"))?),
        clock: clock.clone(),
        head: head.clone(),
        tally: Arc::new(Tally::default()),
        // The loop may be at its end already; then the next start compares everything anyway.
        tell: Arc::new(move |event| drop(again.send(event))),
        stop: Arc::default(),
        room: room.clone(),
    };
    let pool = |priority| Pool::spawn(config.workers, priority, &workshop);
    let ordinary = pool(Priority::Ordinary).map_err(system("the capture threads"))?;
    let background = pool(Priority::Background).map_err(system("the capture threads"))?;
    let journal_dir = std::fs::metadata(&config.journal).map_err(system("the journal directory"))?;
    let scanner = Scanner::new(
        workshop.clone(),
        ordinary.tasks(),
        background.tasks(),
        (journal_dir.dev(), journal_dir.ino()),
        watch.clone(),
        rules.clone(),
    );
    let scanner = Arc::new(scanner);
    let (checks, checker) = check::spawn(scanner.clone(), watch.clone(), dirty.clone(), events_in.clone())
        .map_err(system("the checking thread"))?;
    let (scrub, scrubber) =
        Scrubber::spawn(head.clone(), &layout, clock.clone(), report.damage, events_in.clone())
            .map_err(system("the scrub's thread"))?;
    let (retainer, retaining) = Retainer::spawn(compactor, head.clone(), clock.clone(), events_in.clone())
        .map_err(system("the thread that applies the retention policy"))?;
    let (jobs, worker) = worker::spawn(scanner, watch.clone(), config.workers, events_in)
        .map_err(system("the directory worker"))?;

    let (reason, since) = match applied.last_seq {
        Seq::ZERO => (GapReason::Starting, clock.now().wall),
        _ => (GapReason::AgentDown, applied.covered_through.unwrap_or(applied.wall)),
    };
    let why = Why { reason: Some(reason), since, scopes: config.root_bytes(), detail: life.waited.clone() };
    let mut agent = Agent {
        last_mark_ns: clock.monotonic_ns(),
        checks,
        scrub,
        retainer,
        checked_ns: Some(clock.monotonic_ns()),
        config,
        reload: Reload::new(life.args.clone()),
        layout,
        lock: life.lock.clone(),
        clock: clock.clone(),
        head,
        tally: workshop.tally.clone(),
        dirty,
        woken,
        requests: life.requests.clone(),
        events,
        jobs,
        watch,
        watch_thread,
        heard_no: 0,
        silent_ticks: 0,
        rules,
        oldest,
        worker_busy: false,
        roots_seen: Vec::new(),
        started: false,
        polled_ns: 0,
        ticked_ns: 0,
        failure,
        stop: workshop.stop.clone(),
        reconcile: Reconcile::Wanted(why),
        undurable: BTreeMap::new(),
        syncs: Vec::new(),
        repeated: None,
        compared_ns: 0,
        rereads: Rereads::default(),
        delays: Delays::new()
            .map_err(|error| RunError::System { what: "the delays", source: std::io::Error::other(error) })?,
        marks: VecDeque::new(),
        health: Health::default(),
        mounts: open_mounts(),
        durable,
        gaps_before: applied.gaps,
        cookies: 0,
        stopping: None,
        ended: Ended::ForGood,
        begun_ns: clock.monotonic_ns(),
        room,
        comparing_after_full: false,
    };
    agent.begin()?;
    agent.serve();
    if let Err(error @ Error::Replaced { .. }) = life.lock.make_sure() {
        leave(&RunError::Journal(error));
    }
    agent.retainer.end();

    // Everything that submits ends before the appender does.
    workshop.stop.store(true, Ordering::Relaxed);
    if agent.ended == Ended::ForGood {
        bye();
    }
    let (watch_thread, ended) = agent.end();
    watch_thread.stop();
    let _ = worker.join();
    let _ = checker.join();
    let _ = scrubber.join();
    let _ = retaining.join();
    ordinary.stop();
    background.stop();
    drop(workshop);
    match append.stop() {
        Some(appender) => appender.close(&clock.now())?,
        None => tracing::error!("the appender ended in a panic"),
    }
    Ok(ended)
}

/// Ends the process where it is. Whatever else is made or removed by path on the way out, the index's last tables and the socket
/// among it, may be that of another asofd by now.
fn leave(error: &RunError) -> ! {
    tracing::error!(
        "{error}; what was captured since is in no journal. Put it back, or start asofd again to begin a new one"
    );
    std::process::exit(error.exit_status().into())
}

fn resolved(layout: &Layout) -> Result<PathBuf, RunError> {
    std::fs::canonicalize(layout.dir())
        .map_err(|source| RunError::System { what: "the journal directory", source })
}

pub(super) fn watch(
    backend: Backend,
    rules: &Arc<SharedRules>,
    layout: &Layout,
    dirty: &Arc<Dirty>,
    clock: &Arc<dyn Clock>,
) -> Result<(WatchThread, WatchHandle), RunError> {
    let cookies = Layout::new(&resolved(layout)?).cookies();
    let below = cookies.as_os_str().as_bytes().to_vec();
    let intake = Intake::new(dirty.clone(), clock.clone(), below.clone());
    let options = SourceOptions { rules: rules.clone(), cookies: Some(below) };
    let source = watch::create(backend, options, intake)?;
    let (thread, handle) =
        WatchThread::spawn(source).map_err(|source| RunError::System { what: "the watch thread", source })?;
    handle.watch_cookies(&cookies)?;
    Ok((thread, handle))
}

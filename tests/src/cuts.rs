//! Power cuts under load: a real agent on a [`Stack`], an outside log of what was acknowledged, and what each cut left.
//!
//! Owns the load, the log and the judgement: every `sync` that was acknowledged before the clone began comes back exactly,
//! by a reader alone and after an agent has recovered the journal; nothing of it is called damage.
//!
//! Three threads: one edits, syncs and writes the log; one edits beside it without a pause, so that there is always
//! something on its way; one cuts, mounts and judges. A `sync` is in the log as soon as it is acknowledged; nobody touches
//! the edited tree until it is copied after that, so the copy is what the acknowledged instant must show. (Not before:
//! reading a file can change where it says that its holes are.)

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::agent::Agent;
use crate::copy;
use crate::edit::Editor;
use crate::filesystem::Filesystem;
use crate::must::Must;
use crate::oracle;
use crate::power::{Cut, Stack};
use crate::random::Random;
use crate::site::{Site, remove};
use crate::wait::{PATIENCE, eventually, quiet};

/// Acknowledged instants whose copies are kept; older ones are forgotten.
const KEPT_MAX: usize = 24;
/// One `sync` in so many is followed by SIGKILL.
const KILL_ONE_IN: u64 = 12;
/// One cut in so many is recovered by an agent, too.
const AGENT_ONE_IN: u64 = 3;
/// A cut comes at the latest so long after the one before was judged.
const CUT_WITHIN_MS: u64 = 300;

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// The journal's filesystem.
    pub filesystem: Filesystem,
    /// How many cuts.
    pub cuts: u64,
    /// Decides edits, and moments as far as they can be decided.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Cuts in which the machine's memory was lost.
    pub device_cuts: u64,
    /// Cuts in which the device's cache was lost, too.
    pub cache_cuts: u64,
    /// Cuts before anything was acknowledged.
    pub early: u64,
    /// `sync`s that were acknowledged.
    pub acknowledged: u64,
    /// Trees that were restored and compared.
    pub compared: u64,
    /// Journals on which an agent went on.
    pub agents: u64,
    /// Times that the agent under load was killed.
    pub kills: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cuts of memory, {} of the device's cache ({} before the first sync), {} syncs acknowledged, {} trees \
             restored and compared, {} journals gone on with, {} kills",
            self.device_cuts,
            self.cache_cuts,
            self.early,
            self.acknowledged,
            self.compared,
            self.agents,
            self.kills
        )
    }
}

/// A `sync` that was acknowledged.
#[derive(Clone)]
struct Acknowledged {
    at: String,
    copy: Arc<Copy>,
}

/// A copy of the tree, once it is made; removed when nobody needs it any more.
#[derive(Default)]
struct Copy(OnceLock<PathBuf>);

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(path) = self.0.get() {
            remove(path);
        }
    }
}

#[derive(Default)]
struct Shared {
    log: Mutex<Vec<Acknowledged>>,
    acknowledged: AtomicU64,
    kills: AtomicU64,
    over: AtomicBool,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Ends the other threads, also where this one panics.
struct Ends<'s>(&'s Shared);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Cuts the power so many times. An error says why there can be no such filesystem here; what should not be panics.
pub fn run(wish: &Wish) -> Result<Outcome, String> {
    let stack = Stack::new(wish.filesystem)?;
    let mut site = Site::new();
    site.journal = stack.point().join("journal");
    let (tracked, noise) = (site.root.join("tracked"), site.root.join("noise"));
    for dir in [&tracked, &noise] {
        fs::create_dir(dir).must(dir.display());
    }
    let (root, shared) = (site.root.clone(), Shared::default());
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| make_noise(&noise, wish.seed, &shared));
        let judge = scope.spawn(|| judge(&stack, &root, wish, &shared));
        live(&site, &tracked, wish.seed, &shared);
        match judge.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    let (acknowledged, kills) = (&shared.acknowledged, &shared.kills);
    Ok(Outcome {
        acknowledged: acknowledged.load(Ordering::Relaxed),
        kills: kills.load(Ordering::Relaxed),
        ..outcome
    })
}

/// Edits without a pause where nobody compares.
fn make_noise(dir: &Path, seed: u64, shared: &Shared) {
    let mut editor = Editor::new(dir, Random::new(seed ^ 1));
    while !shared.is_over() {
        editor.edits(5, &mut drop);
        quiet(Duration::from_millis(5));
    }
}

/// Edits, copies, syncs, and writes down what was acknowledged.
fn live(site: &Site, tracked: &Path, seed: u64, shared: &Shared) {
    let _ends = Ends(shared);
    let mut random = Random::new(seed);
    let mut editor = Editor::new(tracked, Random::new(seed ^ 2));
    let mut agent = site.start();
    while !shared.is_over() {
        editor.edits(1 + random.below(8) as usize, &mut drop);
        let synced = site.sync();
        let acknowledged = Acknowledged { at: synced.at, copy: Arc::default() };
        let mut log = shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(acknowledged.clone());
        let len = log.len();
        let old: Vec<Acknowledged> = log.drain(..len.saturating_sub(KEPT_MAX)).collect();
        drop(log);
        drop(old);
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        let path = site.fresh("copy");
        copy::copy(tracked, &path);
        let _ = acknowledged.copy.0.set(path);
        if random.below(KILL_ONE_IN) == 0 {
            agent.kill9();
            shared.kills.fetch_add(1, Ordering::Relaxed);
            agent = site.start();
        }
    }
    agent.terminate();
}

/// Cuts, mounts and compares until there were enough.
fn judge(stack: &Stack, root: &Path, wish: &Wish, shared: &Shared) -> Outcome {
    let _ends = Ends(shared);
    let mut random = Random::new(wish.seed ^ 3);
    let mut outcome = Outcome::default();
    // Nothing is there to be lost before the agent has begun.
    let acknowledged = || shared.acknowledged.load(Ordering::Relaxed);
    let journal = stack.point().join("journal/journal.json");
    eventually(PATIENCE, "a journal", || (journal.exists() || shared.is_over()).then_some(()));
    for number in 0..wish.cuts {
        quiet(Duration::from_millis(random.below(CUT_WITHIN_MS)));
        // The first of many may come before anything was acknowledged.
        if number > 0 || wish.cuts < 4 {
            eventually(PATIENCE, "an acknowledged sync", || {
                (acknowledged() > 0 || shared.is_over()).then_some(())
            });
        }
        if shared.is_over() {
            break;
        }
        let cut = if random.below(2) == 0 { Cut::Device } else { Cut::Cache };
        let log = shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let clone = stack.cut(cut).must("a clone");
        let after = clone.mount().must(format!("cut {number} of {}", wish.filesystem));
        let count = match cut {
            Cut::Device => &mut outcome.device_cuts,
            Cut::Cache => &mut outcome.cache_cuts,
        };
        *count += 1;
        let name = format!("cut {number} ({cut:?}) on {}, seed {}", wish.filesystem, wish.seed);
        let Some(newest) = log.last() else {
            outcome.early += 1;
            continue;
        };
        let mut site = Site::new();
        site.journal = after.point().join("journal");
        let older = random.pick(&log).unwrap_or(newest);
        for one in [newest, older] {
            compare(&site, root, one, &name);
            outcome.compared += 1;
        }
        if random.below(AGENT_ONE_IN) == 0 {
            go_on(&site, &name);
            outcome.agents += 1;
            compare(&site, root, newest, &format!("{name}, with an agent since"));
            outcome.compared += 1;
        }
    }
    outcome
}

/// Restores what was acknowledged and compares it with the copy.
fn compare(site: &Site, root: &Path, acknowledged: &Acknowledged, name: &str) {
    let target = site.fresh("restored");
    let tracked = root.join("tracked");
    let arguments: [&std::ffi::OsStr; 6] = [
        "restore".as_ref(),
        tracked.as_ref(),
        "--at".as_ref(),
        acknowledged.at.as_ref(),
        "--to".as_ref(),
        target.as_ref(),
    ];
    let output = site.asof(arguments).run();
    assert!(output.status == 0, "{name}: {} was acknowledged: {}", acknowledged.at, output.stderr);
    assert!(!output.stderr.contains("damage"), "{name}: a cut is called damage: {}", output.stderr);
    let copy = eventually(PATIENCE, "the copy of what was acknowledged", || acknowledged.copy.0.get());
    oracle::assert_same(copy, &target, format!("{name}, at {}", acknowledged.at));
    remove(&target);
}

/// An agent recovers the journal, captures something else, and ends in good order.
fn go_on(site: &Site, name: &str) {
    fs::write(site.root.join("after"), name).must("a file");
    let agent: Agent = site.start();
    let synced = site.sync();
    agent.terminate();
    let restored = site.restore(&site.root.join("after"), &synced.at);
    assert_eq!(fs::read(&restored).must("what was restored"), name.as_bytes());
}

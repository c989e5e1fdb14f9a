//! The configuration read again while the agent runs: what differs is put in force, what is the same stays untouched.
//!
//! Owns the order in which that happens. Roots and rules that stay keep their watches and get no gap. What can only be
//! said at a start (the journal, threads, how log lines look) is named and stays as it was.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use asof_journal::types::{Gap, GapReason, Instant, Op, Place, Policy, RootPolicy};
use asof_journal::view::is_below;

use super::Agent;
use super::roots::{RootSeen, look_at};
use crate::config::{self, Config, ConfigError, Loaded, RunArgs};
use crate::health::Trouble;
use crate::rules::Rules;
use crate::worker::Job;

/// What is kept for a reload, and what one has not brought to its end yet.
pub(super) struct Reload {
    /// What the configuration is read again with.
    args: RunArgs,
    /// What the journal says is protected.
    policy: Option<Policy>,
    roots_change: RootsChange,
    arriving: Vec<Arriving>,
}

impl Reload {
    pub(super) fn new(args: RunArgs) -> Reload {
        Reload { args, policy: None, roots_change: RootsChange::None, arriving: Vec::new() }
    }
}

/// Other roots for the directory worker, on their way.
#[derive(Debug, Default)]
enum RootsChange {
    /// It knows them all.
    #[default]
    None,
    /// It is to be told when it is free.
    Wanted(RootsDiff),
    /// It is at it.
    Running,
}

/// What is different about the roots.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootsDiff {
    /// All roots, as they are from now on.
    pub roots: Vec<Vec<u8>>,
    /// Those that are protected no longer, unless another root covers them.
    pub removed: BTreeSet<Vec<u8>>,
    /// Those that are new and can be opened.
    pub added: BTreeSet<Vec<u8>>,
    /// Those whose rules changed: directories in them may lack their watch.
    pub changed: BTreeSet<Vec<u8>>,
}

/// A root that was added, until it is captured for the first time.
#[derive(Debug)]
struct Arriving {
    root: Vec<u8>,
    since: Instant,
    /// The number of its scan.
    no: u64,
}

impl Agent {
    /// Reads the configuration again. One that is not sound changes nothing.
    pub(super) fn reload(&mut self) {
        let loaded = config::load(&self.reload.args).and_then(|loaded| self.with_the_same_journal(loaded));
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let trouble = Trouble::Configuration(error.to_string());
                tracing::error!("{}", trouble.words());
                self.trouble(trouble);
                return;
            }
        };
        self.over(|known| matches!(known, Trouble::Configuration(_)));
        loaded.log();
        let Loaded { config, rules, .. } = loaded;
        self.put_in_force(config, rules);
    }

    /// The journal cannot be another one while the agent runs.
    fn with_the_same_journal(&self, loaded: Loaded) -> Result<Loaded, ConfigError> {
        if loaded.config.journal == self.config.journal {
            return Ok(loaded);
        }
        stays("journal");
        let args = RunArgs { journal: Some(self.config.journal.clone()), ..self.reload.args.clone() };
        config::load(&args)
    }

    fn put_in_force(&mut self, mut config: Config, rules: Rules) {
        if config.workers != self.config.workers {
            stays("workers");
            config.workers = self.config.workers;
        }
        if config.backend != self.config.backend {
            stays("backend");
            config.backend = self.config.backend;
        }
        if config.log_format != self.config.log_format {
            stays("log_format");
            config.log_format = self.config.log_format;
        }
        if config == self.config {
            tracing::info!("the configuration was read again; nothing is different");
            return;
        }
        self.room.set_bytes_max(config.journal_bytes_max);
        let before = std::mem::replace(&mut self.config, config);
        let (roots, old_roots) = (self.config.root_bytes(), before.root_bytes());
        let seen: Vec<(PathBuf, Option<RootSeen>)> =
            before.roots.iter().cloned().zip(self.roots_seen.drain(..)).collect();
        let seen_as =
            |root: &PathBuf| seen.iter().find(|(known, _)| known == root).and_then(|(_, seen)| *seen);
        self.roots_seen = self.config.roots.iter().map(seen_as).collect();

        self.rules.replace(rules);
        if let Err(error) = self.watch.apply_rules() {
            tracing::warn!(%error, "the event source does not know of the new rules; the comparison does");
        }
        self.record_policy();
        self.dirty.lock().settle.configure(self.config.settle.clone(), roots.clone());
        let mut diff = RootsDiff { roots: roots.clone(), ..RootsDiff::default() };
        diff.removed.extend(old_roots.iter().filter(|root| !roots.contains(root)).cloned());
        self.over(|known| {
            known.scope().is_some_and(|scope| diff.removed.iter().any(|root| is_below(scope, root)))
        });
        self.mounts_changed();
        // What is wrong with roots that are not ready is noted; they are compared when they are.
        let ready = self.roots_to_compare();
        for root in roots {
            let added = !old_roots.contains(&root);
            let same = !added && holds_below(&before, &root) == holds_below(&self.config, &root);
            if same || added && !ready.contains(&root) {
                continue;
            }
            self.scan_soon(&root);
            if added {
                let (since, no) = (self.clock.now().wall, self.dirty.lock().last_no);
                self.reload.arriving.push(Arriving { root: root.clone(), since, no });
                diff.added.insert(root);
            } else {
                diff.changed.insert(root);
            }
        }
        tracing::info!(
            added = diff.added.len(),
            removed = diff.removed.len(),
            changed = diff.changed.len(),
            "the configuration was read again and is in force; roots by what is different about them"
        );
        self.change_roots(diff);
    }

    /// Has the worker told of other roots; what waits to be told is told with it.
    pub(super) fn change_roots(&mut self, mut diff: RootsDiff) {
        if let RootsChange::Wanted(earlier) = &self.reload.roots_change {
            diff.removed.extend(earlier.removed.iter().filter(|root| !diff.roots.contains(root)).cloned());
            diff.added.extend(earlier.added.iter().filter(|root| diff.roots.contains(root)).cloned());
            diff.changed.extend(earlier.changed.iter().filter(|root| diff.roots.contains(root)).cloned());
        }
        self.reload.roots_change = RootsChange::Wanted(diff);
    }

    /// Tells the worker of other roots, if there are and it is free; before anything else, which may lie below them.
    pub(super) fn dispatch_roots(&mut self) -> bool {
        match std::mem::take(&mut self.reload.roots_change) {
            RootsChange::Wanted(diff) => {
                self.reload.roots_change = RootsChange::Running;
                self.worker_busy = self.jobs.send(Job::Roots(diff)).is_ok();
                true
            }
            other => {
                self.reload.roots_change = other;
                false
            }
        }
    }

    /// The worker is free again.
    pub(super) fn roots_changed(&mut self) {
        if matches!(self.reload.roots_change, RootsChange::Running) {
            self.reload.roots_change = RootsChange::None;
        }
    }

    /// Whether everything that the configuration asks for has reached the worker.
    pub(super) fn is_configured(&self) -> bool {
        matches!(self.reload.roots_change, RootsChange::None)
    }

    /// Records the time in which an added root was not captured yet, once it is.
    pub(super) fn look_at_arriving(&mut self) {
        if self.reload.arriving.is_empty() || !self.is_configured() {
            return;
        }
        let until = self.clock.now().wall;
        let state = self.dirty.lock();
        let (done, waiting) = std::mem::take(&mut self.reload.arriving)
            .into_iter()
            .partition::<Vec<_>, _>(|arriving| state.settle.drained_through(arriving.no));
        drop(state);
        self.reload.arriving = waiting;
        for Arriving { root: scope, since: from, .. } in done {
            self.gaps_before += 1;
            let (reason, detail) = (GapReason::Starting, String::new());
            self.submit(vec![Op::Gap(Gap { scope, from, until, reason, detail })]);
        }
    }

    /// Records what is protected, if that is not what the journal says.
    pub(super) fn record_policy(&mut self) {
        let policy = self.rules.policy();
        if self.reload.policy.as_ref() != Some(&policy)
            && self.submit(vec![Op::Policy(policy.clone())]).is_some()
        {
            self.reload.policy = Some(policy);
        }
    }

    /// At the start: what the journal says was protected before, and is not any more.
    pub(super) fn begin_with_policy(&mut self) -> Result<(), asof_journal::Error> {
        let before = self.head.view().policy()?;
        for place in before.left_out.iter().filter(|place| place.what == Place::OtherFilesystem) {
            if is_mount(&place.path) {
                self.rules.set_mount(&place.path, true);
            }
        }
        let roots = self.config.root_bytes();
        let removed = top_roots(&before).filter(|root| !roots.contains(root)).collect();
        self.reload.policy = Some(before);
        self.record_policy();
        let diff = RootsDiff { roots, removed, ..RootsDiff::default() };
        if !diff.removed.is_empty() {
            self.change_roots(diff);
        }
        Ok(())
    }
}

/// Names what needs a restart.
fn stays(key: &'static str) {
    tracing::warn!(key, "cannot change while asofd runs and stays as it is; a restart puts it in force");
}

/// Everything that decides what is left out below a root.
fn holds_below(config: &Config, root: &[u8]) -> (Policy, Option<u64>) {
    let mut policy = config.policy.clone();
    policy.roots.retain(|section| is_below(&section.path, root));
    policy.left_out.retain(|place| is_below(&place.path, root));
    (policy, config.file_bytes_max)
}

/// The roots that lie in no other.
fn top_roots(policy: &Policy) -> impl Iterator<Item = Vec<u8>> {
    let is_top = |root: &&RootPolicy| {
        !policy.roots.iter().any(|other| other.path != root.path && is_below(&root.path, &other.path))
    };
    policy.roots.iter().filter(is_top).map(|root| root.path.clone())
}

/// Whether another filesystem begins at a directory, as far as devices tell.
fn is_mount(path: &[u8]) -> bool {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let inner = look_at(path);
    inner.is_some_and(|inner| path.parent().and_then(look_at).is_some_and(|outer| outer.dev != inner.dev))
}

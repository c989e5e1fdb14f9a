//! Where hazards are met: one filesystem with one agent that serves all of them, each in a directory of its own.

use std::cell::{Cell, Ref, RefCell};
use std::fs;
use std::path::{Path, PathBuf};

use asof_tests::agent::Agent;
use asof_tests::filesystem::{Filesystem, Mount};
use asof_tests::must::Must;
use asof_tests::site::{Site, Synced, arguments};
use serde_json::Value;

/// What a check came to; a failure is a panic.
pub(crate) enum Outcome {
    /// The hazard is met.
    Met,
    /// It cannot be tried here; why.
    Skipped(String),
}

/// A filesystem, a site on it and its agent. Dropped in this order: agent, site, filesystem.
pub(crate) struct Place {
    agent: RefCell<Option<Agent>>,
    /// Root, journal and scratch, all on the filesystem.
    pub(crate) site: Site,
    /// The filesystem.
    pub(crate) mount: Mount,
    hazard: Cell<&'static str>,
}

impl Place {
    /// A site on a fresh filesystem, protected.
    pub(crate) fn new(mount: Mount) -> Place {
        let mut site = Site::below(mount.point());
        if mount.filesystem() == Filesystem::Overlay {
            // An overlay is for containers, whose journal is kept elsewhere.
            site.journal = mount.beside().join("journal");
        }
        let agent = site.start();
        Place { agent: RefCell::new(Some(agent)), site, mount, hazard: Cell::new("") }
    }

    /// The filesystem.
    pub(crate) fn filesystem(&self) -> Filesystem {
        self.mount.filesystem()
    }

    /// Makes the directory of a hazard; an agent that did not survive the one before is replaced.
    pub(crate) fn begin(&self, hazard: &'static str) {
        self.hazard.set(hazard);
        if !self.agent.borrow().as_ref().is_some_and(Agent::is_alive) {
            *self.agent.borrow_mut() = None;
            *self.agent.borrow_mut() = Some(self.site.start());
        }
        fs::create_dir(self.dir()).must(self.dir().display());
        self.site.sync();
    }

    /// The directory of the hazard, protected.
    pub(crate) fn dir(&self) -> PathBuf {
        self.site.root.join(self.hazard.get().replace([' ', '/', ','], "-"))
    }

    /// A path in it.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir().join(name)
    }

    /// The agent.
    pub(crate) fn agent(&self) -> Ref<'_, Agent> {
        Ref::map(self.agent.borrow(), |agent| agent.as_ref().must("an agent"))
    }

    /// Stops the agent in good order, does something, and starts it again.
    pub(crate) fn while_stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        self.take_agent().terminate();
        let done = act();
        *self.agent.borrow_mut() = Some(self.site.start());
        done
    }

    /// The same with `kill -9`.
    pub(crate) fn while_killed<T>(&self, act: impl FnOnce() -> T) -> T {
        self.take_agent().kill9();
        let done = act();
        *self.agent.borrow_mut() = Some(self.site.start());
        done
    }

    /// Stops the agent in good order, if it survived.
    pub(crate) fn stop(&self) {
        let agent = self.agent.borrow_mut().take();
        if let Some(agent) = agent {
            agent.terminate();
        }
    }

    /// Takes the agent away for good.
    pub(crate) fn take_agent(&self) -> Agent {
        self.agent.borrow_mut().take().must("an agent")
    }

    /// Syncs and holds the hazard's directory to come back exactly as it is now, now and for ever.
    #[track_caller]
    pub(crate) fn exact(&self, what: &str) -> Synced {
        let name = format!("{}: {what}", self.hazard.get());
        let synced = self.site.take_of(&self.dir(), &name);
        self.site.check_newest("the agent runs");
        synced
    }

    /// The bytes of a file as of an instant.
    #[track_caller]
    pub(crate) fn cat(&self, path: &Path, at: &Synced) -> Vec<u8> {
        self.site.asof(arguments(&[&"cat", &path, &"--at", &at.at])).exits(0).stdout
    }

    /// Holds a path to be nowhere as of an instant.
    #[track_caller]
    pub(crate) fn is_gone(&self, path: &Path, at: &Synced) {
        self.site.asof(arguments(&[&"ls", &path, &"--at", &at.at])).exits(5);
    }

    /// The history of a path, newest first.
    #[track_caller]
    pub(crate) fn history(&self, path: &Path) -> Vec<Value> {
        self.site.asof(arguments(&[&"--json", &"log", &path])).exits(0).json_lines()
    }

    /// The node that a path stands for as of an instant.
    #[track_caller]
    pub(crate) fn node(&self, path: &Path, at: &Synced) -> u64 {
        let line = self.site.asof(arguments(&[&"--json", &"ls", &path, &"--at", &at.at])).exits(0);
        line.json_lines().first().and_then(|line| line["node"].as_u64()).must(format!("a node of {path:?}"))
    }
}

/// Writes a file.
#[track_caller]
pub(crate) fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    fs::write(&path, content).must(path.as_ref().display());
}

/// Makes a directory with those above it.
#[track_caller]
pub(crate) fn make_dir(path: impl AsRef<Path>) {
    fs::create_dir_all(&path).must(path.as_ref().display());
}

/// Whether the long versions of slow checks are wanted.
pub(crate) fn is_full() -> bool {
    std::env::var_os("ASOF_TEST_FULL").is_some()
}

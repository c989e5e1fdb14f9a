//! What the walk hands on: names to compare, directories that go away, and why some of those stay.

use asof_journal::types::NodeId;
use asof_journal::view::Entry;

use crate::live::Seen;
use crate::plan::{Origin, PlanDir, Problem, RestorePlan};

/// What the states have under one name.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    /// What is wanted.
    pub(super) wanted: Option<Entry>,
    /// What the journal has now.
    pub(super) now: Option<Entry>,
    /// What the restore that is taken back had left.
    pub(super) left: Option<Entry>,
}

/// A name that is to be compared with what is on disk.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Index of its directory.
    pub(super) dir: u32,
    /// Its name there.
    pub(super) name: Box<[u8]>,
    /// What is known of it.
    pub(super) states: States,
    /// Whether its directory is there.
    pub(super) is_dir_there: bool,
    /// The removal of its directory, where that goes away.
    pub(super) within: Option<usize>,
    /// The removal of a directory that has its name now.
    pub(super) behind: Option<usize>,
    /// Whether it is a file of a restore that was killed.
    pub(super) is_leftover: bool,
}

/// A directory that goes away, if all in it does.
#[derive(Debug)]
pub(super) struct Removal {
    /// Index of its directory.
    pub(super) dir: u32,
    /// Its name there.
    pub(super) name: Box<[u8]>,
    /// What it was when it was looked at.
    pub(super) seen: Seen,
    /// The removal that it is part of.
    pub(super) within: Option<usize>,
    /// It is in the way of something.
    pub(super) is_early: bool,
    /// Why it stays after all.
    pub(super) blocked: Option<Blocked>,
}

/// Why a directory stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// This has still to be said.
    Named(String),
    /// Of something in it that is named by itself.
    Implied,
}

/// What the walk found.
#[derive(Default)]
pub(super) struct Walked {
    /// The plan with its directories, and what is known to be wrong.
    pub(super) plan: RestorePlan,
    /// Names to compare.
    pub(super) candidates: Vec<Candidate>,
    /// Directories that go away, parents before children.
    pub(super) removals: Vec<Removal>,
    /// Directories that are as they are wanted.
    pub(super) unchanged: u64,
    /// Directories that are left although they differ.
    pub(super) left: u64,
    /// What was asked for, or the topmost directory that is made for it.
    pub(super) tops: Vec<Vec<u8>>,
    /// What is wanted of each directory that belongs to what was asked for, by index.
    pub(super) wanted_nodes: Vec<Option<NodeId>>,
}

impl Walked {
    /// Takes a directory off the list of what goes away, with those that it lies in.
    pub(super) fn block(&mut self, removal: Option<usize>, why: Blocked) {
        let (mut next, mut why) = (removal, why);
        while let Some(found) = next.and_then(|index| self.removals.get_mut(index)) {
            if found.blocked.is_some() {
                break;
            }
            found.blocked = Some(std::mem::replace(&mut why, Blocked::Implied));
            next = found.within;
        }
    }

    /// The outermost directory that goes away with this one.
    pub(super) fn top_of(&self, removal: Option<usize>) -> Option<&Removal> {
        let mut top = self.removals.get(removal?)?;
        while let Some(within) = top.within {
            top = self.removals.get(within)?;
        }
        Some(top)
    }

    /// Whether a directory that was to go away stays.
    pub(super) fn is_stuck(&self, removal: Option<usize>) -> bool {
        removal.and_then(|index| self.removals.get(index)).is_some_and(|removal| removal.blocked.is_some())
    }

    /// Notes a problem of an entry.
    pub(super) fn problem(&mut self, dir: u32, name: &[u8], error: impl Into<String>) {
        let path = self.plan.path_in(dir, name);
        self.plan.problems.push(Problem { path, error: error.into() });
    }

    /// Adds a directory to the plan; gives its index.
    pub(super) fn push_dir(
        &mut self,
        dir: u32,
        name: &[u8],
        node: Option<NodeId>,
        origin: Origin,
        wanted: Option<NodeId>,
    ) -> u32 {
        // One is 4 billion away from the limit; a plan of such a size does not fit into memory.
        let index = u32::try_from(self.plan.dirs.len()).unwrap_or(u32::MAX);
        self.plan.dirs.push(PlanDir { parent: dir, name: name.into(), node, origin });
        self.wanted_nodes.push(wanted);
        index
    }
}

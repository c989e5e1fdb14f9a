//! What the loop reacts to, and why the agent did not run.

use std::io;

use asof_journal::types::{NodeId, Seq};

use crate::control::ControlEvent;
use crate::health::Trouble;
use crate::retain::Done;
use crate::scrub::Scrubbed;
use crate::settle::WorkId;
use crate::watch::WatchError;

/// Everything that the loop reacts to, but for hints, which wait in the dirty map.
#[derive(Debug)]
pub(crate) enum Event {
    /// From outside.
    Control(ControlEvent),
    /// A piece of work led to everything it could, the last being this `Seq`.
    Processed(WorkId, Seq),
    /// The same for a reconcile of all roots.
    Reconciled(Seq),
    /// The directory worker is free again.
    Idle,
    /// Everything was checked; what differed is on its way as [`Event::Again`].
    Checked,
    /// A step of the scrub ended.
    Scrubbed(Scrubbed),
    /// The retention policy was applied as far as it goes.
    Retained(Box<Done>),
    /// Something is to be looked at again.
    Again(Again),
    /// A version of the node is not clean: it is to be looked at again some time.
    Doubtful(NodeId),
    /// The newest version of a node is clean, and the one before was not.
    Clean(NodeId),
    /// A large file is being written while it is captured; the capture took so many nanoseconds.
    Hot(Vec<u8>, u64),
    /// The directory worker could not do something; who watches must know.
    Trouble(Trouble),
    /// That is over.
    Recovered(Trouble),
}

/// Something that is to be looked at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// What a path names, content included.
    Name(Vec<u8>),
    /// What a hint named was not there any more, and nobody knows why yet.
    Missed(Vec<u8>),
    /// A directory with everything below it.
    Tree(Vec<u8>),
}

/// Why the agent did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] asof_journal::Error),
    /// The event source could not be made.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The control socket could not be served.
    #[error(transparent)]
    Control(#[from] crate::control::ControlError),
    /// A thread could not be started, or a clock not be read.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl RunError {
    /// The exit status that scripts get.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            RunError::Journal(asof_journal::Error::Locked { .. }) => 11,
            _ => 1,
        }
    }
}

//! What a plan consists of: values, and the paths that they stand for.

use std::collections::HashMap;

use asof_journal::types::{BlockId, Instant, Kind, NodeId};

use super::{Older, Problem};
use crate::live::Seen;
use crate::path;

/// A directory to create; the first of a plan is the base.
#[derive(Debug)]
pub(crate) struct PlanDir {
    /// Index of its parent; the base's is itself.
    pub(crate) parent: u32,
    /// Its name there.
    pub(crate) name: Box<[u8]>,
    /// Where its metadata comes from; `None` leaves the directory as it is.
    pub(crate) node: Option<NodeId>,
    /// How it comes to be there.
    pub(crate) origin: Origin,
}

/// How a planned directory comes to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is made; in a target that may hold something, one that is there already is merged into.
    Made,
    /// It is there, and is never made. Says whether it is changed for its own sake, not only because of what is in it.
    There {
        /// Its metadata differs.
        differs: bool,
    },
    /// It takes the place of this.
    Replaces(Box<Seen>),
    /// It is there and goes away, with what is planned to go in it.
    Goes,
}

/// Where the bytes of a node come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There are none.
    Empty,
    /// One block is the whole file.
    Block(BlockId),
    /// The version says it.
    Fetch,
    /// It cannot be restored.
    LeftOut,
}

/// A file, symlink, fifo or device to write.
#[derive(Debug)]
pub(crate) struct PlanNode {
    /// Index of its directory.
    pub(crate) dir: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Permission bits.
    pub(crate) mode: u16,
    /// What sort of thing it is.
    pub(crate) kind: Kind,
    /// Whether there are extended attributes to fetch.
    pub(crate) has_xattrs: bool,
    /// Its name there.
    pub(crate) name: Box<[u8]>,
    /// Which node.
    pub(crate) node: NodeId,
    /// Modification time.
    pub(crate) mtime: Instant,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Where its bytes come from.
    pub(crate) body: Body,
    /// In place: exactly this has its name, and nothing else is replaced by it. Else the target decides.
    pub(crate) replaces: Option<Box<Seen>>,
    /// Where its first block lies, to write in that order.
    pub(super) place: (u64, u64),
}

/// A further name of a node that is written once.
#[derive(Debug)]
pub(crate) struct PlanLink {
    /// Index of its directory.
    pub(crate) dir: u32,
    /// Its name there.
    pub(crate) name: Box<[u8]>,
    /// What it names.
    pub(crate) target: LinkTo,
    /// As for a node.
    pub(crate) replaces: Option<Box<Seen>>,
}

/// What a further name is linked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkTo {
    /// Index of a node that is written.
    Node(u32),
    /// Index of something that is there already.
    Kept(u32),
}

/// Something that is there already and stays: it gets a further name, or only its metadata changes.
#[derive(Debug)]
pub(crate) struct PlanKept {
    /// Index of its directory.
    pub(crate) dir: u32,
    /// Its name there.
    pub(crate) name: Box<[u8]>,
    /// Where its metadata comes from; `None` leaves it as it is.
    pub(crate) node: Option<NodeId>,
    /// What it was when it was looked at.
    pub(crate) seen: Seen,
}

/// Something that goes away.
#[derive(Debug)]
pub(crate) struct PlanDeletion {
    /// Index of its directory.
    pub(crate) dir: u32,
    /// Its name there.
    pub(crate) name: Box<[u8]>,
    /// Exactly this, and nothing else.
    pub(crate) seen: Seen,
    /// It is in the way of what is written, so that it goes before that.
    pub(crate) is_early: bool,
}

/// How much a plan holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Directories, the base among them where it is restored.
    pub(crate) dirs: u64,
    /// Regular files.
    pub(crate) files: u64,
    /// Symlinks.
    pub(crate) symlinks: u64,
    /// Fifos and devices.
    pub(crate) specials: u64,
    /// Further names.
    pub(crate) hardlinks: u64,
    /// Bytes of regular files.
    pub(crate) bytes: u64,
    /// Sockets, which are not restored.
    pub(crate) sockets: u64,
    /// Files that kept changing while they were captured, and are taken all the same.
    pub(crate) torn: u64,
    /// Files that may have been written to while they were captured, and are taken all the same.
    pub(crate) provisional: u64,
    /// Files of which an older version is taken, because that is clean.
    pub(crate) older: u64,
    /// Files of which a clean version was asked for, and there is none.
    pub(crate) none_clean: u64,
}

/// What a restore will do.
#[derive(Debug, Default)]
pub(crate) struct RestorePlan {
    /// Directories, parents before children.
    pub(crate) dirs: Vec<PlanDir>,
    /// What is written, in the order in which its content lies in the journal.
    pub(crate) nodes: Vec<PlanNode>,
    /// What is linked after that.
    pub(crate) links: Vec<PlanLink>,
    /// In place: what stays and has a part in it.
    pub(crate) kept: Vec<PlanKept>,
    /// In place: what is deleted, what is in a directory before the directory.
    pub(crate) deletions: Vec<PlanDeletion>,
    /// What is known beforehand to be missing.
    pub(crate) problems: Vec<Problem>,
    /// Of what an older version is taken.
    pub(crate) older: Vec<Older>,
    /// How much it is.
    pub(crate) totals: Totals,
    /// The journal paths of what lies in the base, by name; of the base itself under the empty name.
    pub(super) origins: HashMap<Box<[u8]>, Vec<u8>>,
}

impl RestorePlan {
    /// The path in the journal of an entry of a planned directory.
    pub(crate) fn path_in(&self, dir: u32, name: &[u8]) -> Vec<u8> {
        let mut names = vec![name];
        let mut at = dir;
        while at != 0 {
            let Some(here) = self.dirs.get(at as usize) else {
                break;
            };
            names.push(&here.name);
            at = here.parent;
        }
        let mut names = names.into_iter().rev();
        let mut full = match self.origins.get(&b""[..]) {
            Some(base) => base.clone(),
            None => names.next().and_then(|first| self.origins.get(first)).cloned().unwrap_or_default(),
        };
        for name in names.filter(|name| !name.is_empty()) {
            full = path::join(&full, name);
        }
        full
    }

    /// The path in the journal of a planned directory.
    pub(crate) fn path_of_dir(&self, dir: u32) -> Vec<u8> {
        match self.dirs.get(dir as usize) {
            Some(here) if dir != 0 => self.path_in(here.parent, &here.name),
            _ => self.path_in(0, b""),
        }
    }
}

//! The directories of a restore: making them, and giving them their metadata at the end.
//!
//! They are reached as `reach.rs` does, so that no component is a symlink.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use asof_journal::types::NodeId;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::meta::{self, ACL_ACCESS, ACL_DEFAULT, Complaints, Handle, Present, Wanted};
use super::node::{During, NodeError, Outcome};
use super::temporary::{Temporary, sweep};
use super::{Shared, add, swap, verdict};
use crate::args::Overwrite;
use crate::errors::{Error, Result};
use crate::plan::{Origin, RestorePlan};
use crate::reach::{REACH, Reach};

/// How directories are opened to be given metadata.
const TOUCH: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What became of a planned directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirState {
    /// It was created here, so that nothing of another origin lies in it.
    New,
    /// It was there before.
    Existing {
        /// What is created in it inherits an ACL.
        inherits: bool,
    },
    /// It is not there, or goes away; this has been named, and what belongs into it is left out.
    Failed,
}

/// One worker's way to the directories.
pub(super) struct Dirs<'p> {
    plan: &'p RestorePlan,
    reach: Reach<'p>,
}

impl<'p> Dirs<'p> {
    /// Nothing is open yet but the base.
    pub(super) fn new(plan: &'p RestorePlan, base: BorrowedFd<'p>) -> Dirs<'p> {
        Dirs { plan, reach: Reach::new(base) }
    }

    /// A descriptor to look names up under.
    pub(super) fn reach(&mut self, dir: u32) -> std::result::Result<Rc<OwnedFd>, Errno> {
        self.reach.dir(&self.plan.dirs, dir)
    }
}

/// Makes every directory, for this user alone until [`finish`].
pub(super) fn create(shared: &Shared<'_>, base: BorrowedFd<'_>) -> Result<Vec<DirState>> {
    let mut dirs = Dirs::new(shared.plan, base);
    let mut states = Vec::with_capacity(shared.plan.dirs.len());
    for (index, planned) in (0u32..).zip(&shared.plan.dirs) {
        if shared.is_over() {
            verdict(shared)?;
        }
        let state = if index == 0 {
            base_state(shared, &mut dirs)
        } else {
            match states.get(planned.parent as usize) {
                None | Some(DirState::Failed) => DirState::Failed,
                Some(&parent) => create_one(shared, &mut dirs, index, parent),
            }
        };
        if matches!(state, DirState::Existing { .. }) && !shared.options.in_place {
            let _ = dirs.reach(index).map(|dir| sweep(dir.as_fd()));
        }
        if state != DirState::Failed && planned.node.is_some() {
            add(&shared.tally.dirs, 1);
        }
        states.push(state);
    }
    Ok(states)
}

fn base_state(shared: &Shared<'_>, dirs: &mut Dirs<'_>) -> DirState {
    let inherits = has_default_acl(dirs.reach.base());
    let is_restored = shared.plan.dirs.first().is_some_and(|base| base.node.is_some());
    match (shared.options.base_existed, inherits) {
        (false, false) => DirState::New,
        (false, true) if is_restored && disinherit(dirs, 0).is_ok() => DirState::New,
        _ => DirState::Existing { inherits },
    }
}

fn has_default_acl(dir: BorrowedFd<'_>) -> bool {
    fs::openat(dir, ".", TOUCH, Mode::empty())
        .and_then(|dir| fs::fgetxattr_query(&dir, ACL_DEFAULT))
        .is_ok_and(|length| length > 0)
}

fn create_one(shared: &Shared<'_>, dirs: &mut Dirs<'_>, index: u32, parent: DirState) -> DirState {
    match try_create(shared, dirs, index, parent) {
        Ok(state) => state,
        Err(error) => {
            let mut hint = "";
            if let NodeError::System { errno, .. } = error {
                shared.note_fatal(errno);
                if errno == Errno::NOTDIR || errno == Errno::LOOP {
                    hint = "; something else has that name";
                }
            }
            let error = format!("{error}{hint}; everything below is left out");
            shared.problem(shared.plan.path_of_dir(index), error);
            DirState::Failed
        }
    }
}

fn try_create(shared: &Shared<'_>, dirs: &mut Dirs<'_>, index: u32, parent: DirState) -> Outcome<DirState> {
    const ACTION: &str = "the directory could not be created";
    let planned = shared.plan.dirs.get(index as usize).ok_or(Errno::INVAL).during(ACTION)?;
    let above = dirs.reach(planned.parent).during("the directory above it could not be opened")?;
    match &planned.origin {
        Origin::There { .. } => return existing(dirs, index),
        // Nothing is made in it; it may be gone already.
        Origin::Goes => return Ok(DirState::Failed),
        Origin::Made => match fs::mkdirat(&*above, &*planned.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) if shared.options.overwrite.is_some() => return existing(dirs, index),
            Err(errno) => return Err(errno).during(ACTION),
        },
        Origin::Replaces(seen) => {
            let name = shared.names.next();
            fs::mkdirat(&*above, &name, Mode::RWXU).during(ACTION)?;
            let temporary = Temporary::new(above, name);
            swap::replace(&shared.names, temporary, &planned.name, seen, shared.options.writers)?;
        }
    }
    if parent == (DirState::Existing { inherits: true }) {
        disinherit(dirs, index).during("an inherited ACL could not be removed")?;
    }
    shared.count_change(planned.origin != Origin::Made);
    Ok(DirState::New)
}

fn existing(dirs: &mut Dirs<'_>, index: u32) -> Outcome<DirState> {
    let open = dirs.reach(index).during("the existing directory could not be opened")?;
    Ok(DirState::Existing { inherits: has_default_acl(open.as_fd()) })
}

/// Takes away what a new directory got from the one above, so that nothing in it inherits that.
fn disinherit(dirs: &mut Dirs<'_>, index: u32) -> std::result::Result<(), Errno> {
    let dir = fs::openat(&*dirs.reach(index)?, ".", TOUCH, Mode::empty())?;
    for name in [ACL_DEFAULT, ACL_ACCESS] {
        match fs::fremovexattr(&dir, name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Gives the directories their metadata, children before parents: later nothing is created in them.
pub(super) fn finish(shared: &Shared<'_>, base: BorrowedFd<'_>, states: &[DirState]) {
    let mut dirs = Dirs::new(shared.plan, base);
    let keeps = shared.options.overwrite == Some(Overwrite::Never);
    for index in (0..states.len()).rev() {
        let (Some(&state), Some(planned)) = (states.get(index), shared.plan.dirs.get(index)) else {
            continue;
        };
        let is_kept = keeps && matches!(state, DirState::Existing { .. });
        let (Some(node), Ok(index)) = (planned.node, u32::try_from(index)) else {
            continue;
        };
        if state == DirState::Failed || is_kept {
            continue;
        }
        if let Err(error) = finish_one(shared, &mut dirs, index, state, node) {
            shared.problem(shared.plan.path_of_dir(index), error);
        }
    }
}

fn finish_one(
    shared: &Shared<'_>,
    dirs: &mut Dirs<'_>,
    index: u32,
    state: DirState,
    node: NodeId,
) -> std::result::Result<(), String> {
    let open = dirs
        .reach(index)
        .and_then(|dir| fs::openat(&*dir, ".", TOUCH, Mode::empty()))
        .map_err(|errno| format!("the directory could not be opened for its metadata: {errno}"))?;
    let found =
        shared.source.version(node).map_err(|error| format!("its metadata cannot be read: {error}"))?;
    let Some(found) = found else {
        // A directory above a root: the journal knows its name only, so that an existing one stays as it is.
        if state == DirState::New {
            fs::fchmod(&open, Mode::from_raw_mode(0o755)).map_err(|errno| errno.to_string())?;
        }
        return Ok(());
    };
    let meta = &found.version.meta;
    let present = fs::fstat(&open).map(|stat| Present::of(&stat)).map_err(|errno| errno.to_string())?;
    let mut said = Complaints::default();
    if shared.options.in_place && state != DirState::New {
        let differs = shared.plan.dirs.get(index as usize).map(|dir| &dir.origin);
        if differs == Some(&Origin::There { differs: true }) {
            add(&shared.tally.metadata, 1);
        }
        meta::strip(open.as_fd(), &meta.xattrs);
    }
    meta::apply(shared.me, Handle::Open(open.as_fd()), &Wanted::of(meta), present, &mut said);
    if let Err(errno) = fs::futimens(&open, &meta::times(meta.mtime)) {
        said.problems.push(format!("its times could not be set: {errno}"));
    }
    said.remarks.iter().for_each(|remark| shared.remark(remark));
    if said.problems.is_empty() { Ok(()) } else { Err(said.problems.join("; ")) }
}

/// Opens the base of a restore: the directory itself, never what a symlink in its place points to.
pub(crate) fn open_base(path: &std::path::Path) -> Result<OwnedFd> {
    fs::open(path, REACH, Mode::empty()).map_err(|errno| Error::Io {
        path: crate::output::escape(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())),
        action: "opening the target directory",
        source: errno.into(),
    })
}

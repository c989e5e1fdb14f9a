//! In place: metadata of files that stay, and what goes away.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use asof_journal::types::Metadata;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::Dirs;
use super::meta::{self, Complaints, Handle, Present, Wanted};
use super::node::{During, NodeError, Outcome};
use super::{Shared, add, swap};
use crate::live::Seen;
use crate::plan::PlanKept;

/// How a file is opened to be given metadata: for reading its owner may be denied it.
const TOUCH: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Deletes what is planned to go, before the rest or after it; whatever goes wrong is named here.
pub(super) fn delete(shared: &Shared<'_>, dirs: &mut Dirs<'_>, early: bool) {
    for deletion in shared.plan.deletions.iter().filter(|deletion| deletion.is_early == early) {
        if shared.is_over() {
            return;
        }
        let dir = dirs.reach(deletion.dir).during("its directory could not be opened");
        let writers = shared.options.writers;
        let deleted =
            dir.and_then(|dir| swap::remove(&shared.names, &dir, &deletion.name, &deletion.seen, writers));
        match deleted {
            Ok(()) => add(&shared.tally.deleted, 1),
            Err(error) => report(shared, deletion.dir, &deletion.name, error),
        }
    }
}

/// Gives files that stay the metadata that they are to have.
pub(super) fn touch(shared: &Shared<'_>, dirs: &mut Dirs<'_>) {
    for kept in &shared.plan.kept {
        if shared.is_over() {
            return;
        }
        let Some(node) = kept.node else { continue };
        let found = match shared.source.version(node) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                report(shared, kept.dir, &kept.name, error.into());
                continue;
            }
        };
        let mut said = Complaints::default();
        match touch_one(shared, dirs, kept, &found.version.meta, &mut said) {
            Ok(()) if said.problems.is_empty() => add(&shared.tally.metadata, 1),
            Ok(()) => {
                let path = shared.plan.path_in(kept.dir, &kept.name);
                shared.problem(path, said.problems.join("; "));
            }
            Err(error) => report(shared, kept.dir, &kept.name, error),
        }
        said.remarks.iter().for_each(|remark| shared.remark(remark));
    }
}

fn touch_one(
    shared: &Shared<'_>,
    dirs: &mut Dirs<'_>,
    kept: &PlanKept,
    wanted: &Metadata,
    said: &mut Complaints,
) -> Outcome<()> {
    let dir = dirs.reach(kept.dir).during("its directory could not be opened")?;
    swap::check(dir.as_fd(), &kept.name, &kept.seen)?;
    let open = match fs::openat(&*dir, &*kept.name, TOUCH, Mode::empty()) {
        Err(Errno::ACCESS) => open_unreadable(&dir, kept)?,
        other => other.during("it could not be opened")?,
    };
    let stat = fs::fstat(&open).during("it could not be looked at")?;
    if !kept.seen.is_unwritten(&Seen::of(&stat)) {
        return Err(NodeError::Refused("it changed meanwhile, and is left as it is".into()));
    }
    meta::strip(open.as_fd(), &wanted.xattrs);
    meta::apply(shared.me, Handle::Open(open.as_fd()), &Wanted::of(wanted), Present::of(&stat), said);
    if let Err(errno) = fs::futimens(&open, &meta::times(wanted.mtime)) {
        said.problems.push(format!("its times could not be set: {errno}"));
    }
    Ok(())
}

/// Opens a file that its owner may not read now, which may be why it is restored.
fn open_unreadable(dir: &OwnedFd, kept: &PlanKept) -> Outcome<OwnedFd> {
    const ACTION: &str = "it could not be made readable for its owner";
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(dir, &*kept.name, path, Mode::empty()).during(ACTION)?;
    let stat = fs::fstat(&file).during(ACTION)?;
    if !kept.seen.is_untouched(&Seen::of(&stat)) || kept.seen.names > 1 {
        return Err(NodeError::Refused("it cannot be read by its owner, and is left as it is".into()));
    }
    let proc = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::chmod(&*proc, Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o400)).during(ACTION)?;
    fs::open(&*proc, TOUCH.difference(OFlags::NOFOLLOW), Mode::empty()).during(ACTION)
}

fn report(shared: &Shared<'_>, dir: u32, name: &[u8], error: NodeError) {
    if let NodeError::System { errno, .. } = error {
        shared.note_fatal(errno);
    }
    shared.problem(shared.plan.path_in(dir, name), error.to_string());
}

//! Writes one file, symlink, fifo or device, and links further names.
//!
//! A node that cannot be written completely does not appear: its temporary name goes away again.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use asof_journal::types::{Content, Extent, Kind, Quality, Version};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::dirs::{DirState, Dirs};
use super::meta::{self, ACL_ACCESS, Complaints, Handle, Present, Wanted};
use super::temporary::Temporary;
use super::{Shared, add, clone, swap};
use crate::args::Overwrite;
use crate::live::Seen;
use crate::plan::{Body, LinkTo, PlanLink, PlanNode};

/// For this user alone, until the owner is right.
const PRIVATE: u32 = 0o600;
/// How a file is created: it must not exist, and a symlink in its place is not followed.
const CREATE: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why one node is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeError {
    #[error(transparent)]
    Journal(#[from] asof_journal::Error),
    #[error("{action}: {errno}")]
    System { action: &'static str, errno: Errno },
    #[error("{0}")]
    Refused(String),
    /// As before, and what has the temporary name belongs to somebody.
    #[error("{0}")]
    Kept(String),
    #[error("interrupted")]
    Interrupted,
}

pub(super) type Outcome<T> = Result<T, NodeError>;

pub(super) trait During<T> {
    fn during(self, action: &'static str) -> Outcome<T>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, action: &'static str) -> Outcome<T> {
        self.map_err(|errno| NodeError::System { action, errno })
    }
}

/// What became of a node.
enum Done {
    Written,
    Skipped,
}

/// Whether something may be in the way of a new name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    Taken,
}

/// Writes a node; whatever goes wrong is named here.
pub(super) fn restore(shared: &Shared<'_>, dirs: &mut Dirs<'_>, states: &[DirState], index: usize) {
    let Some(node) = shared.plan.nodes.get(index) else {
        return;
    };
    let Some(&state) = states.get(node.dir as usize) else {
        return;
    };
    if state == DirState::Failed {
        return;
    }
    let mut said = Complaints::default();
    let result = write(shared, dirs, state, node, &mut said);
    said.remarks.iter().for_each(|remark| shared.remark(remark));
    let tally = &shared.tally;
    match result {
        Ok(Done::Written) => {
            shared.is_there(index);
            shared.count_change(node.replaces.is_some());
            match node.kind {
                Kind::File => {
                    add(&tally.files, 1);
                    add(&tally.bytes, node.size);
                }
                Kind::Symlink => add(&tally.symlinks, 1),
                _ => add(&tally.specials, 1),
            }
        }
        Ok(Done::Skipped) => {
            shared.is_there(index);
            add(&tally.skipped, 1);
        }
        Err(NodeError::Interrupted) => return,
        Err(error) => {
            if let NodeError::System { errno, .. } = error {
                shared.note_fatal(errno);
            }
            said.problems.insert(0, error.to_string());
        }
    }
    if !said.problems.is_empty() {
        shared.problem(shared.plan.path_in(node.dir, &node.name), said.problems.join("; "));
    }
}

fn write(
    shared: &Shared<'_>,
    dirs: &mut Dirs<'_>,
    state: DirState,
    node: &PlanNode,
    said: &mut Complaints,
) -> Outcome<Done> {
    let dir = dirs.reach(node.dir).during("its directory could not be opened")?;
    let mut place = Place::Free;
    if let Some(planned) = &node.replaces {
        // Before anything is written; when it is, it is looked at again.
        swap::check(dir.as_fd(), &node.name, planned)?;
    } else if let (Some(overwrite), DirState::Existing { .. }, false) =
        (shared.options.overwrite, state, shared.options.in_place)
    {
        place = match existing(&dir, &node.name)? {
            None => Place::Free,
            Some(stat) if is_left(overwrite, node, &stat)? => return Ok(Done::Skipped),
            Some(_) => Place::Taken,
        };
    }
    let inherits = state == (DirState::Existing { inherits: true });
    // In a tree that has a temporary name itself, names are final at once.
    let is_aside = !shared.options.base_existed && state == DirState::New;
    let name = if is_aside { node.name.to_vec() } else { shared.names.next() };
    let temporary = match node.kind {
        Kind::File => write_file(shared, dir, name, inherits, node, said)?,
        Kind::Symlink => make_symlink(shared, dir, name, node, said)?,
        _ => make_special(shared, dir, name, node, said)?,
    };
    match &node.replaces {
        Some(planned) => {
            swap::replace(&shared.names, temporary, &node.name, planned, shared.options.writers)?
        }
        None if is_aside => temporary.keep(),
        None => put(temporary, &node.name, place)?,
    }
    Ok(Done::Written)
}

fn existing(dir: &Rc<OwnedFd>, name: &[u8]) -> Outcome<Option<fs::Stat>> {
    match fs::statat(&**dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).during("what exists in its place could not be looked at"),
    }
}

fn is_left(overwrite: Overwrite, node: &PlanNode, stat: &fs::Stat) -> Outcome<bool> {
    let there = FileType::from_raw_mode(stat.st_mode);
    Ok(match overwrite {
        Overwrite::Never => true,
        _ if there == FileType::Directory => {
            return Err(NodeError::Refused(
                "a directory has its name in the target; nothing is deleted for it".into(),
            ));
        }
        Overwrite::IfChanged => {
            there == file_type(node.kind)
                && meta::mtime(stat) == node.mtime
                && u64::try_from(stat.st_size) == Ok(node.size)
        }
        Overwrite::Always => false,
    })
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharacterDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

fn version(shared: &Shared<'_>, node: &PlanNode) -> Outcome<Version> {
    match shared.source.version(node.node)? {
        Some(found) => Ok(found.version),
        None => Err(NodeError::Refused("the journal no longer knows it; it was compacted meanwhile".into())),
    }
}

fn write_file(
    shared: &Shared<'_>,
    dir: Rc<OwnedFd>,
    name: Vec<u8>,
    inherits: bool,
    node: &PlanNode,
    said: &mut Complaints,
) -> Outcome<Temporary> {
    let version = match node.body {
        Body::Fetch => Some(version(shared, node)?),
        _ if node.has_xattrs => Some(version(shared, node)?),
        _ => None,
    };
    // The one block of most files is checked before anything is created.
    let block = match node.body {
        Body::Block(id) => Some(shared.source.block(id)?),
        _ => None,
    };
    // Created with its permissions, most files need no further call for them.
    let mode = u32::from(node.mode);
    let is_mine = node.uid == shared.me.uid && node.gid == shared.me.gid;
    let is_simple = is_mine && !node.has_xattrs && mode & 0o7000 == 0;
    let file = fs::openat(
        &*dir,
        name.as_slice(),
        CREATE,
        Mode::from_raw_mode(if is_simple { mode } else { PRIVATE }),
    )
    .during("it could not be created")?;
    let temporary = Temporary::new(dir, name);
    match (block, &version) {
        (Some(block), _) if block.len() as u64 != node.size => {
            return Err(NodeError::Refused(format!(
                "its block has {} bytes instead of {}",
                block.len(),
                node.size
            )));
        }
        (Some(block), _) => write_all(&file, &block, 0)?,
        (None, Some(version)) => {
            let is_cloned = node.body == Body::Fetch
                && clone::from_live(shared, &file, node, version)
                    .during("what was cloned into it is wrong, and could not be taken back")?;
            if !is_cloned {
                write_content(shared, &file, version)?;
            }
        }
        (None, None) => {}
    }
    if inherits {
        let _ = fs::fremovexattr(&file, ACL_ACCESS);
    }
    let present = Present::of(&fs::fstat(&file).during("it could not be looked at")?);
    let xattrs = version.as_ref().map_or(&[][..], |version| &version.meta.xattrs);
    let wanted = Wanted { uid: node.uid, gid: node.gid, mode: Some(mode), xattrs };
    meta::apply(shared.me, Handle::Open(file.as_fd()), &wanted, present, said);
    if let Err(errno) = fs::futimens(&file, &meta::times(node.mtime)) {
        said.problems.push(format!("its times could not be set: {errno}"));
    }
    Ok(temporary)
}

fn write_content(shared: &Shared<'_>, file: &OwnedFd, version: &Version) -> Outcome<()> {
    let mut end = 0;
    let mut ends_in_hole = false;
    match &version.content {
        Content::None => {}
        Content::Inline(bytes) => {
            write_all(file, bytes, 0)?;
            end = bytes.len() as u64;
        }
        Content::Unread(errno) => {
            return Err(NodeError::Refused(crate::content::unread(*errno)));
        }
        Content::Thinned => return Err(NodeError::Refused(crate::content::THINNED.to_owned())),
        Content::Extents(_) => {
            for extent in shared.source.extents(version)? {
                write_extent(shared, file, extent, end)?;
                end += extent.len();
                ends_in_hole = matches!(extent, Extent::Hole { .. });
            }
        }
    }
    let size = version.meta.size;
    if end != size && version.quality == Quality::Clean {
        return Err(NodeError::Refused(format!("its content has {end} bytes instead of {size}")));
    }
    if ends_in_hole {
        fs::ftruncate(file, end).during("its length could not be set")?;
    }
    Ok(())
}

fn write_extent(shared: &Shared<'_>, file: &OwnedFd, extent: Extent, at: u64) -> Outcome<()> {
    if crate::interrupt::requested() {
        return Err(NodeError::Interrupted);
    }
    match extent {
        Extent::Hole { .. } => Ok(()),
        Extent::Block { id, len } => {
            let block = shared.source.block(id)?;
            if block.len() != len as usize {
                return Err(NodeError::Refused(format!(
                    "block {id} has {} bytes instead of {len}",
                    block.len()
                )));
            }
            write_all(file, &block, at)
        }
        Extent::List { id, .. } => {
            Err(NodeError::Refused(format!("block {id} is a list where content belongs")))
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Outcome<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO).during("it could not be written"),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("it could not be written"),
        }
    }
    Ok(())
}

fn make_symlink(
    shared: &Shared<'_>,
    dir: Rc<OwnedFd>,
    name: Vec<u8>,
    node: &PlanNode,
    said: &mut Complaints,
) -> Outcome<Temporary> {
    let version = version(shared, node)?;
    let Content::Inline(target) = &version.content else {
        return Err(NodeError::Refused("the journal does not hold its target".into()));
    };
    fs::symlinkat(target.as_slice(), &*dir, name.as_slice()).during("it could not be created")?;
    let temporary = Temporary::new(dir, name);
    let wanted = Wanted { mode: None, ..Wanted::of(&version.meta) };
    dress(shared, &temporary, &wanted, node, said)?;
    Ok(temporary)
}

fn make_special(
    shared: &Shared<'_>,
    dir: Rc<OwnedFd>,
    name: Vec<u8>,
    node: &PlanNode,
    said: &mut Complaints,
) -> Outcome<Temporary> {
    if node.kind != Kind::Fifo && !shared.me.is_root() {
        return Err(NodeError::Refused("only root can make devices".into()));
    }
    let version = version(shared, node)?;
    let device = if node.kind == Kind::Fifo { 0 } else { version.meta.rdev };
    fs::mknodat(&*dir, name.as_slice(), file_type(node.kind), Mode::from_raw_mode(PRIVATE), device)
        .during("it could not be created")?;
    let temporary = Temporary::new(dir, name);
    dress(shared, &temporary, &Wanted::of(&version.meta), node, said)?;
    Ok(temporary)
}

/// Gives metadata to what must not be opened: a fifo would wait, a device would act, a symlink would lead away.
fn dress(
    shared: &Shared<'_>,
    temporary: &Temporary,
    wanted: &Wanted<'_>,
    node: &PlanNode,
    said: &mut Complaints,
) -> Outcome<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = fs::openat(temporary.dir(), temporary.name(), flags, Mode::empty())
        .during("it could not be opened")?;
    let stat = fs::fstat(&open).during("it could not be looked at")?;
    if FileType::from_raw_mode(stat.st_mode) != file_type(node.kind) {
        return Err(NodeError::Refused("something else took its temporary name".into()));
    }
    meta::apply(shared.me, Handle::Path(open.as_fd()), wanted, Present::of(&stat), said);
    let times = meta::times(node.mtime);
    if let Err(errno) = fs::utimensat(temporary.dir(), temporary.name(), &times, AtFlags::SYMLINK_NOFOLLOW) {
        said.problems.push(format!("its times could not be set: {errno}"));
    }
    Ok(())
}

/// Gives something complete its final name.
fn put(temporary: Temporary, name: &[u8], place: Place) -> Outcome<()> {
    let dir = temporary.dir();
    let flags = if place == Place::Taken { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    match fs::renameat_with(dir, temporary.name(), dir, name, flags) {
        Ok(()) => {
            temporary.keep();
            Ok(())
        }
        // The filesystem knows no such rename. The temporary name goes away when it is dropped.
        Err(Errno::INVAL | Errno::NOSYS) if place == Place::Free => {
            fs::linkat(dir, temporary.name(), dir, name, AtFlags::empty())
                .during("it could not be given its name")
        }
        Err(errno) => Err(errno).during("it could not be given its name"),
    }
}

/// Links every further name.
pub(super) fn link_all(shared: &Shared<'_>, dirs: &mut Dirs<'_>, states: &[DirState]) {
    for link in &shared.plan.links {
        let is_failed = states.get(link.dir as usize).is_none_or(|state| *state == DirState::Failed);
        if is_failed || shared.is_over() {
            continue;
        }
        match link_one(shared, dirs, link) {
            Ok(Done::Written) => {
                add(&shared.tally.hardlinks, 1);
                shared.count_change(link.replaces.is_some());
            }
            Ok(Done::Skipped) => add(&shared.tally.skipped, 1),
            Err(error) => {
                if let NodeError::System { errno, .. } = error {
                    shared.note_fatal(errno);
                }
                shared.problem(shared.plan.path_in(link.dir, &link.name), error.to_string());
            }
        }
    }
}

fn link_one(shared: &Shared<'_>, dirs: &mut Dirs<'_>, link: &PlanLink) -> Outcome<Done> {
    const ACTION: &str = "it could not be linked to the file that it is a further name of";
    let (from_dir, from_name, target) = match link.target {
        LinkTo::Node(index) if !shared.has_been_written(index) => {
            return Err(NodeError::Refused("the file that it is a further name of was not restored".into()));
        }
        LinkTo::Node(index) => {
            let node = shared.plan.nodes.get(index as usize).ok_or(Errno::NOENT).during(ACTION)?;
            (node.dir, &node.name, Some(node))
        }
        LinkTo::Kept(index) => {
            let kept = shared.plan.kept.get(index as usize).ok_or(Errno::NOENT).during(ACTION)?;
            (kept.dir, &kept.name, None)
        }
    };
    let from = dirs.reach(from_dir).during(ACTION)?;
    let dir = dirs.reach(link.dir).during(ACTION)?;
    if let (LinkTo::Kept(index), Some(kept)) = (link.target, target.is_none().then_some(&shared.plan.kept)) {
        let kept = kept.get(index as usize).ok_or(Errno::NOENT).during(ACTION)?;
        match Seen::look(from.as_fd(), from_name).during(ACTION)? {
            // Its metadata may be new by now, its content may not.
            Some(found) if found.inode == kept.seen.inode && found.size == kept.seen.size => {}
            _ => {
                return Err(NodeError::Refused(
                    "the file that it is a further name of changed meanwhile".into(),
                ));
            }
        }
    }
    if let Some(planned) = &link.replaces {
        swap::check(dir.as_fd(), &link.name, planned)?;
        let name = shared.names.next();
        fs::linkat(&*from, &**from_name, &*dir, &name, AtFlags::empty()).during(ACTION)?;
        let temporary = Temporary::new(dir, name);
        swap::replace(&shared.names, temporary, &link.name, planned, shared.options.writers)?;
        return Ok(Done::Written);
    }
    match fs::linkat(&*from, &**from_name, &*dir, &*link.name, AtFlags::empty()) {
        Ok(()) => return Ok(Done::Written),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).during(ACTION),
    }
    let there = existing(&dir, &link.name)?;
    match (shared.options.overwrite, there, target) {
        (None, ..) | (.., None) => Err(Errno::EXIST).during(ACTION),
        (Some(overwrite), Some(there), Some(target)) if is_left(overwrite, target, &there)? => {
            Ok(Done::Skipped)
        }
        (Some(_), there, _) => {
            let first = existing(&from, from_name)?;
            let is_same =
                matches!((first, there), (Some(a), Some(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
            if is_same {
                return Ok(Done::Skipped);
            }
            let name = shared.names.next();
            fs::linkat(&*from, &**from_name, &*dir, &name, AtFlags::empty()).during(ACTION)?;
            put(Temporary::new(dir, name), &link.name, Place::Taken)?;
            Ok(Done::Written)
        }
    }
}

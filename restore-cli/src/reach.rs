//! The way to a planned directory: from the base, one component at a time, and no component may be a symlink.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;

use crate::plan::PlanDir;

/// Descriptors that one worker keeps; the soft limit is 1024 a process on most systems.
const OPEN_MAX: usize = 48;
/// How directories are opened to reach what is in them.
pub(crate) const REACH: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Directories that are open, the newest kept.
pub(crate) struct Reach<'b> {
    base: BorrowedFd<'b>,
    open: HashMap<u32, Rc<OwnedFd>>,
    order: VecDeque<u32>,
}

impl<'b> Reach<'b> {
    /// Nothing is open yet but the base.
    pub(crate) fn new(base: BorrowedFd<'b>) -> Reach<'b> {
        Reach { base, open: HashMap::new(), order: VecDeque::new() }
    }

    /// The base.
    pub(crate) fn base(&self) -> BorrowedFd<'b> {
        self.base
    }

    /// A descriptor to look names up under. However deep the directory is, no more is on the stack.
    pub(crate) fn dir(&mut self, dirs: &[PlanDir], dir: u32) -> Result<Rc<OwnedFd>, Errno> {
        let mut way = Vec::new();
        let mut at = dir;
        let mut from = loop {
            if let Some(open) = self.open.get(&at) {
                break Rc::clone(open);
            }
            match dirs.get(at as usize) {
                Some(planned) if at != 0 => {
                    way.push((at, planned));
                    at = planned.parent;
                }
                _ => break self.keep(at, rustix::io::fcntl_dupfd_cloexec(self.base, 0)?),
            }
        };
        for (index, planned) in way.into_iter().rev() {
            let fd = fs::openat(&*from, &*planned.name, REACH, Mode::empty())?;
            from = self.keep(index, fd);
        }
        Ok(from)
    }

    fn keep(&mut self, dir: u32, fd: OwnedFd) -> Rc<OwnedFd> {
        if self.open.len() >= OPEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        let fd = Rc::new(fd);
        self.open.insert(dir, Rc::clone(&fd));
        self.order.push_back(dir);
        fd
    }
}

//! In place: something complete takes the place of exactly what was planned to be replaced, and what was planned goes away.
//!
//! What has the name is looked at directly before and again when it is out of the way. Where it is something else, or was
//! written to meanwhile, it gets its name back. Nothing is lost that was not seen.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use asof_journal::types::Kind;
use rustix::fs::{self, AtFlags, RenameFlags};
use rustix::io::Errno;

use super::lease::is_being_written;
use super::node::{During, NodeError, Outcome};
use super::temporary::{Names, Temporary};
use crate::live::Seen;

/// Said where somebody was faster.
const CHANGED: &str = "it changed after the plan was made, and is left as it is; plan again";
/// Said where somebody is at it.
const IN_USE: &str =
    "a program has it open for writing, and is left with it; end that program, or say --overwrite always";

/// What may happen to what somebody has open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// It stays.
    Respected,
    /// It is replaced all the same.
    Ignored,
}

/// How a name is given from one thing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Both change names at once.
    Exchange,
    /// For filesystems that do not know that: what is replaced gets a further name first.
    Aside,
}

/// Refuses where something else is at a place than was planned.
pub(super) fn check(dir: BorrowedFd<'_>, name: &[u8], planned: &Seen) -> Outcome<()> {
    match Seen::look(dir, name).during("what exists in its place could not be looked at")? {
        Some(now) if planned.is_untouched(&now) => Ok(()),
        _ => Err(NodeError::Refused(CHANGED.into())),
    }
}

/// Gives something complete the name of what it replaces, which goes away.
pub(super) fn replace(
    names: &Names,
    temporary: Temporary,
    name: &[u8],
    planned: &Seen,
    writers: Writers,
) -> Outcome<()> {
    let mut done = replace_by(Way::Exchange, names, &temporary, name, planned, writers);
    if let Err(NodeError::System { errno: Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP, .. }) = done {
        done = replace_by(Way::Aside, names, &temporary, name, planned, writers);
    }
    if let Err(NodeError::Kept(_)) = done {
        temporary.keep();
    }
    // Else what has the temporary name goes away: what was replaced, or what was to replace it.
    done
}

fn replace_by(
    way: Way,
    names: &Names,
    temporary: &Temporary,
    name: &[u8],
    planned: &Seen,
    writers: Writers,
) -> Outcome<()> {
    const ACTION: &str = "it could not be given its name";
    let dir = temporary.dir();
    check(dir, name, planned)?;
    let mine = Seen::look(dir, temporary.name()).during(ACTION)?.ok_or(Errno::NOENT).during(ACTION)?;
    let aside;
    let old: &[u8] = match way {
        Way::Exchange => {
            fs::renameat_with(dir, temporary.name(), dir, name, RenameFlags::EXCHANGE).during(ACTION)?;
            temporary.name()
        }
        Way::Aside => {
            aside = names.next();
            match fs::linkat(dir, name, dir, &aside, AtFlags::empty()) {
                Ok(()) => {}
                // Not even links: there is nothing left but to trust what was just looked at.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::ISDIR) => {
                    return fs::renameat(dir, temporary.name(), dir, name).during(ACTION);
                }
                Err(errno) => return Err(errno).during(ACTION),
            }
            match Seen::look(dir, &aside) {
                Ok(Some(found)) if planned.is_unwritten(&found) => {}
                _ => {
                    let _ = fs::unlinkat(dir, &aside, AtFlags::empty());
                    return Err(NodeError::Refused(CHANGED.into()));
                }
            }
            if mine.kind == Kind::Dir {
                // A directory replaces no file; the further name keeps what had this one.
                fs::unlinkat(dir, name, AtFlags::empty()).during(ACTION)?;
            }
            if let Err(errno) = fs::renameat(dir, temporary.name(), dir, name) {
                let _ = fs::renameat_with(dir, &aside, dir, name, RenameFlags::NOREPLACE);
                let _ = fs::unlinkat(dir, &aside, AtFlags::empty());
                return Err(errno).during(ACTION);
            }
            &aside
        }
    };
    let why = match Seen::look(dir, old) {
        Ok(Some(found)) if planned.is_unwritten(&found) => {
            let is_in_use = planned.kind == Kind::File
                && planned.names == 1
                && writers == Writers::Respected
                && is_being_written(dir, old);
            match is_in_use {
                false => None,
                true => Some(IN_USE),
            }
        }
        _ => Some(CHANGED),
    };
    let Some(why) = why else {
        return match way {
            Way::Exchange => Ok(()),
            Way::Aside => {
                fs::unlinkat(dir, old, AtFlags::empty()).during("what it replaces could not be removed")
            }
        };
    };
    // What was in the way gets its name back, unless a third one has taken that meanwhile.
    let is_mine = |name: &[u8]| matches!(Seen::look(dir, name), Ok(Some(found)) if found.inode == mine.inode);
    let back = match way {
        Way::Exchange => {
            let back = fs::renameat_with(dir, old, dir, name, RenameFlags::EXCHANGE);
            back.is_ok() && is_mine(old)
        }
        Way::Aside => is_mine(name) && fs::renameat(dir, old, dir, name).is_ok(),
    };
    match back {
        true => Err(NodeError::Refused(why.into())),
        false => {
            let kept = crate::output::escape(old);
            Err(NodeError::Kept(format!(
                "{why}; others changed it again meanwhile, and what they replaced is {kept}"
            )))
        }
    }
}

/// Makes something go away, which is looked at once more when it has another name.
pub(super) fn remove(
    names: &Names,
    dir: &Rc<OwnedFd>,
    name: &[u8],
    planned: &Seen,
    writers: Writers,
) -> Outcome<()> {
    const ACTION: &str = "it could not be deleted";
    let at = dir.as_fd();
    if planned.kind == Kind::Dir {
        return match fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                Err(NodeError::Refused("something is in it that was not planned to go, and is left".into()))
            }
            Err(errno) => Err(errno).during(ACTION),
        };
    }
    match Seen::look(at, name).during("it could not be looked at")? {
        None => return Ok(()),
        Some(now) if planned.is_untouched(&now) => {}
        Some(_) => return Err(NodeError::Refused(CHANGED.into())),
    }
    let aside = names.next();
    match fs::renameat_with(at, name, at, &aside, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => fs::renameat(at, name, at, &aside).during(ACTION)?,
        other => other.during(ACTION)?,
    }
    let why = match Seen::look(at, &aside) {
        Ok(Some(found)) if planned.is_unwritten(&found) => {
            let is_in_use = planned.kind == Kind::File
                && planned.names == 1
                && writers == Writers::Respected
                && is_being_written(at, &aside);
            if !is_in_use {
                return fs::unlinkat(at, &aside, AtFlags::empty()).during(ACTION);
            }
            IN_USE
        }
        _ => CHANGED,
    };
    // Whoever has taken the name meanwhile keeps it.
    match fs::renameat_with(at, &aside, at, name, RenameFlags::NOREPLACE) {
        Ok(()) => Err(NodeError::Refused(why.into())),
        Err(errno) => {
            let kept = crate::output::escape(&aside);
            Err(NodeError::Refused(format!(
                "{why}; its name could not be given back ({errno}), and it is {kept}"
            )))
        }
    }
}

#[cfg(test)]
mod tests;

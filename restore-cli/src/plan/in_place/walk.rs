//! The walk over directories: which are made, which are there, which go away, and what in them is to be compared.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};

use asof_journal::types::{Kind, NodeId};
use asof_journal::view::{Entry, is_below};
use rustix::fs::{self, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::Wish;
use super::judge::same_metadata;
use super::walked::{Blocked, Candidate, Removal, States, Walked};
use crate::args::Overwrite;
use crate::changes;
use crate::content::{THINNED, not_whole};
use crate::errors::{Error, Result};
use crate::interrupt;
use crate::live::{Held, Seen, held};
use crate::path;
use crate::plan::{Origin, Problem};
use crate::reach::Reach;
use crate::source::Source;
use crate::write::is_leftover;

/// How a directory is opened to be listed.
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An entry that is still to be looked at.
struct Todo {
    dir: u32,
    name: Box<[u8]>,
    states: States,
    is_dir_there: bool,
    within: Option<usize>,
}

struct Walk<'w> {
    wish: &'w Wish<'w>,
    /// What is not known of the wanted state, where it is not kept whole.
    not_whole: Option<String>,
    reach: Reach<'w>,
    walked: Walked,
    /// Directories on the way to what was asked for.
    ways: HashMap<(u32, Box<[u8]>), u32>,
    /// Wanted directories met so far.
    met: HashSet<NodeId>,
    pending: Vec<Todo>,
}

/// Walks everything that was asked for.
pub(super) fn walk(base: BorrowedFd<'_>, wish: &Wish<'_>) -> Result<Walked> {
    let mut walk = Walk {
        wish,
        not_whole: wish.wanted.around()?.as_ref().map(not_whole),
        reach: Reach::new(base),
        walked: Walked::default(),
        ways: HashMap::new(),
        met: HashSet::new(),
        pending: Vec::new(),
    };
    walk.walked.plan.origins.insert(Box::default(), b"/".to_vec());
    walk.walked.push_dir(0, b"", None, Origin::There { differs: false }, None);
    let mut paths: Vec<&Vec<u8>> = wish.paths.iter().collect();
    paths.sort();
    paths.dedup();
    for path in &paths {
        if !paths.iter().any(|other| other != path && is_below(path, other)) {
            walk.begin(path)?;
        }
    }
    while let Some(todo) = walk.pending.pop() {
        if interrupt::requested() {
            return Err(Error::Interrupted);
        }
        walk.look(todo);
    }
    Ok(walk.walked)
}

impl Walk<'_> {
    /// Goes to the directory of a path that was asked for.
    fn begin(&mut self, path: &[u8]) -> Result<()> {
        let mut states = States {
            wanted: self.wish.wanted.resolve(b"/")?,
            now: self.wish.now.resolve(b"/")?,
            left: self.wish.left.map(|left| left.resolve(b"/")).transpose()?.flatten(),
        };
        let mut names = path.split(|&b| b == b'/').filter(|name| !name.is_empty()).peekable();
        self.walked.tops.push(path.to_vec());
        if let (Some(why), Some(Kind::Dir)) =
            (&self.not_whole, self.wish.wanted.resolve(path)?.map(|entry| entry.kind))
        {
            self.walked.plan.problems.push(Problem { path: path.to_vec(), error: why.clone() });
        }
        if names.peek().is_none() {
            self.children(0, &states, true, None);
            return Ok(());
        }
        let (mut dir, mut is_there) = (0, true);
        while let Some(name) = names.next() {
            let above = states.now.clone();
            states = self.step(&states, name)?;
            if names.peek().is_none() {
                self.leftovers(dir, above.filter(|_| is_there), name)?;
                self.pending.push(Todo {
                    dir,
                    name: name.into(),
                    states,
                    is_dir_there: is_there,
                    within: None,
                });
                break;
            }
            let seen = if is_there { self.seen(dir, name) } else { Ok(None) };
            let key = (dir, name.into());
            let is_wanted = states.wanted.as_ref().filter(|entry| entry.kind == Kind::Dir);
            let origin = match seen {
                Ok(Some(seen)) if seen.kind == Kind::Dir => Origin::There { differs: false },
                Ok(None) if is_wanted.is_some() => Origin::Made,
                // Neither is it there nor was it: nothing is to be done below it.
                Ok(None) => return Ok(()),
                Ok(Some(seen)) => {
                    let what = seen.kind.as_str();
                    let error = format!(
                        "it is a {what} now, and nothing is restored through that; restore it itself"
                    );
                    self.walked.problem(dir, name, error);
                    return Ok(());
                }
                Err(errno) => {
                    self.walked.problem(dir, name, format!("it could not be looked at: {errno}"));
                    return Ok(());
                }
            };
            let was_there = std::mem::replace(&mut is_there, origin != Origin::Made);
            let node = is_wanted.filter(|_| !is_there).map(|entry| entry.node);
            dir = match self.ways.get(&key) {
                Some(&known) => known,
                None => {
                    let index = self.walked.push_dir(dir, name, node, origin, None);
                    self.ways.insert(key, index);
                    index
                }
            };
            if was_there && !is_there {
                let top = self.walked.plan.path_of_dir(dir);
                self.walked.tops.pop();
                self.walked.tops.push(top);
            }
        }
        Ok(())
    }

    /// What a killed restore of the same path has left beside it.
    fn leftovers(&mut self, dir: u32, above: Option<Entry>, asked: &[u8]) -> Result<()> {
        let Some(above) = above.filter(|above| above.kind == Kind::Dir) else { return Ok(()) };
        for now in self.wish.now.list(above.node)? {
            if is_leftover(&now.name) && now.name != asked {
                let name = now.name.clone().into();
                let states = States { now: Some(now), ..States::default() };
                self.pending.push(Todo { dir, name, states, is_dir_there: true, within: None });
            }
        }
        Ok(())
    }

    fn step(&self, states: &States, name: &[u8]) -> Result<States> {
        let in_dir = |source: Option<&dyn Source>, entry: &Option<Entry>| -> Result<Option<Entry>> {
            match (source, entry) {
                (Some(source), Some(entry)) if entry.kind == Kind::Dir => {
                    Ok(source.lookup(entry.node, name)?)
                }
                _ => Ok(None),
            }
        };
        Ok(States {
            wanted: in_dir(Some(self.wish.wanted), &states.wanted)?,
            now: in_dir(Some(self.wish.now), &states.now)?,
            left: in_dir(self.wish.left, &states.left)?,
        })
    }

    fn seen(&mut self, dir: u32, name: &[u8]) -> std::result::Result<Option<Seen>, Errno> {
        let fd = self.reach.dir(&self.walked.plan.dirs, dir)?;
        Seen::look(fd.as_fd(), name)
    }

    fn look(&mut self, todo: Todo) {
        let wanted = todo.states.wanted.as_ref().map(|entry| entry.kind);
        let is_dir_now = todo.states.now.as_ref().is_some_and(|entry| entry.kind == Kind::Dir);
        if !path::is_name(&todo.name) {
            let error = "this is no file name; the journal may be damaged";
            self.walked.problem(todo.dir, &todo.name, error);
            return self.walked.block(todo.within, Blocked::Implied);
        }
        match wanted {
            Some(Kind::Socket) => self.walked.plan.totals.sockets += 1,
            Some(Kind::Dir) => self.directory(todo),
            Some(_) if is_dir_now && todo.is_dir_there => self.in_the_way(todo),
            Some(_) => self.candidate(todo, None, false),
            None => self.surplus(todo),
        }
    }

    fn candidate(&mut self, todo: Todo, behind: Option<usize>, is_leftover: bool) {
        let Todo { dir, name, states, is_dir_there, within } = todo;
        self.walked.candidates.push(Candidate {
            dir,
            name,
            states,
            is_dir_there,
            within,
            behind,
            is_leftover,
        });
    }

    /// Something that is not wanted. What the journal does not know is none of our business.
    fn surplus(&mut self, todo: Todo) {
        let (is_undo, is_doomed) = (self.wish.left.is_some(), todo.within.is_some());
        let is_leftover = todo.states.now.is_some() && is_leftover(&todo.name);
        let is_restored = is_undo && todo.states.left.is_some();
        if is_undo && is_doomed && !is_restored && !is_leftover {
            if todo.states.now.is_some() {
                let why = "something in it was made since the restore, and is left".to_owned();
                self.walked.block(todo.within, Blocked::Named(why));
            }
            return;
        }
        let is_unwanted = if is_undo { is_restored } else { self.wish.exact || is_doomed };
        if !(is_unwanted || is_leftover) || !todo.is_dir_there {
            return;
        }
        // It may have been there.
        if is_unwanted && !is_leftover && !is_doomed && self.not_whole.is_some() {
            if let Ok(Some(_)) = self.seen(todo.dir, &todo.name) {
                self.walked.problem(todo.dir, &todo.name, MAYBE_THERE);
            }
            return;
        }
        match todo.states.now.as_ref().map(|now| now.kind) {
            None => {
                // An undo knows what it made; what it cannot find in the journal any more is left.
                if let Ok(Some(_)) = self.seen(todo.dir, &todo.name) {
                    self.walked.problem(todo.dir, &todo.name, NOT_KNOWN);
                    self.walked.block(todo.within, Blocked::Implied);
                }
            }
            // Of a killed restore in place, a directory that was to take something's place is empty.
            Some(Kind::Dir) if is_unwanted || self.is_empty_now(&todo.states) => {
                self.removal(todo, false);
            }
            Some(Kind::Dir) => {}
            Some(_) => self.candidate(todo, None, is_leftover),
        }
    }

    fn is_empty_now(&self, states: &States) -> bool {
        let now = states.now.as_ref();
        now.is_some_and(|now| self.wish.now.list(now.node).is_ok_and(|entries| entries.is_empty()))
    }

    /// A directory that goes away, with all that the journal holds of it.
    fn removal(&mut self, todo: Todo, is_early: bool) -> Option<usize> {
        let seen = match self.seen(todo.dir, &todo.name) {
            Ok(None) => return None,
            Ok(Some(seen)) if seen.kind == Kind::Dir => seen,
            found => {
                let error = match found {
                    Ok(_) => "it was a directory when the journal looked last, and is something else now"
                        .to_owned(),
                    Err(errno) => format!("it could not be looked at: {errno}"),
                };
                self.walked.problem(todo.dir, &todo.name, error);
                self.walked.block(todo.within, Blocked::Implied);
                return None;
            }
        };
        let index = self.walked.push_dir(todo.dir, &todo.name, None, Origin::Goes, None);
        let removal = self.walked.removals.len();
        let Todo { dir, name, within, .. } = todo;
        self.walked.removals.push(Removal { dir, name, seen, within, is_early, blocked: None });
        let states = States { wanted: None, ..todo.states };
        let known = self.children(index, &states, true, Some(removal));
        match self.unknown_in(index, &known) {
            Ok(None) => {}
            Ok(Some(name)) => {
                let name = crate::output::escape(&name);
                let why = format!("{name} in it is not in the journal, and is left");
                self.walked.block(Some(removal), Blocked::Named(why));
            }
            Err(errno) => {
                let why = format!("it could not be listed: {errno}");
                self.walked.block(Some(removal), Blocked::Named(why));
            }
        }
        Some(removal)
    }

    /// A name on disk that the journal does not have there.
    fn unknown_in(
        &mut self,
        dir: u32,
        known: &HashSet<Box<[u8]>>,
    ) -> std::result::Result<Option<Vec<u8>>, Errno> {
        let fd = self.reach.dir(&self.walked.plan.dirs, dir)?;
        let open = fs::openat(&*fd, ".", LIST, Mode::empty())?;
        for entry in Dir::read_from(&open)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !known.contains(name) {
                return Ok(Some(name.to_vec()));
            }
        }
        Ok(None)
    }

    /// A directory has the name of a file that is wanted.
    fn in_the_way(&mut self, todo: Todo) {
        let Todo { dir, ref name, .. } = todo;
        match self.seen(dir, name) {
            Ok(Some(seen)) if seen.kind == Kind::Dir => {}
            // The journal's picture is not that of the disk; the comparison says how.
            _ => return self.candidate(todo, None, false),
        }
        let is_undo = self.wish.left.is_some();
        let was_left = todo.states.left.as_ref().is_some_and(|left| left.kind == Kind::Dir);
        let refused = match self.wish.overwrite {
            Some(Overwrite::Never) => {
                self.walked.left += 1;
                return;
            }
            _ if is_undo && !was_left => Some("a directory was made there since the restore, and is left"),
            _ if !is_undo && !self.wish.exact => {
                Some("a directory has its name now; only --exact deletes what was not there then")
            }
            _ => None,
        };
        if let Some(error) = refused {
            let name = name.clone();
            return self.walked.problem(dir, &name, error);
        }
        let (name, states) = (name.clone(), todo.states.clone());
        let behind = self.removal(todo, true);
        let states = States { now: None, left: None, ..states };
        let todo = Todo { dir, name, states, is_dir_there: true, within: None };
        self.candidate(todo, behind, false);
    }

    /// A directory that is wanted.
    fn directory(&mut self, todo: Todo) {
        let Some(wanted) = todo.states.wanted.clone() else { return };
        if !self.met.insert(wanted.node) {
            let error = "the directory lies within itself or in two places; the journal may be damaged";
            return self.walked.problem(todo.dir, &todo.name, error);
        }
        let seen = match todo.is_dir_there.then(|| self.seen(todo.dir, &todo.name)).transpose() {
            Ok(seen) => seen.flatten(),
            Err(errno) => {
                return self.walked.problem(
                    todo.dir,
                    &todo.name,
                    format!("it could not be looked at: {errno}"),
                );
            }
        };
        let (dir, name) = (todo.dir, todo.name.clone());
        let (origin, node) = match seen {
            None if self.is_gone_since(&todo) => return self.gone_since(&todo),
            None => (Origin::Made, Some(wanted.node)),
            Some(seen) if seen.kind == Kind::Dir => {
                let differs = self.differs(&todo.states, &seen);
                (Origin::There { differs }, differs.then_some(wanted.node))
            }
            Some(_) if self.wish.overwrite == Some(Overwrite::Never) => {
                self.walked.left += 1;
                return;
            }
            Some(seen) => match self.refusal(&todo, &seen) {
                Some(error) => return self.walked.problem(dir, &name, error),
                None => (Origin::Replaces(Box::new(seen)), Some(wanted.node)),
            },
        };
        if origin == (Origin::There { differs: false }) {
            self.walked.unchanged += 1;
        }
        let is_there = matches!(origin, Origin::There { .. });
        let index = self.walked.push_dir(dir, &name, node, origin, Some(wanted.node));
        let states = match is_there {
            true => todo.states,
            false => States { now: None, left: None, ..todo.states },
        };
        self.children(index, &states, is_there, None);
    }

    /// Whether the restore had left a directory here that is gone now.
    fn is_gone_since(&self, todo: &Todo) -> bool {
        let was_left = todo.states.left.as_ref().is_some_and(|left| left.kind == Kind::Dir);
        was_left && self.wish.overwrite != Some(Overwrite::Always)
    }

    fn gone_since(&mut self, todo: &Todo) {
        let Some(left) = self.wish.left else { return };
        let path = self.walked.plan.path_in(todo.dir, &todo.name);
        match changes::between(self.wish.wanted, left, &path) {
            Ok(Some(changed)) if changed.is_empty() => {}
            Ok(_) => {
                self.walked.problem(todo.dir, &todo.name, "it was deleted since the restore, and is left so")
            }
            Err(error) => self.walked.problem(todo.dir, &todo.name, error.to_string()),
        }
    }

    /// Why something that is no directory is not replaced by one.
    fn refusal(&mut self, todo: &Todo, seen: &Seen) -> Option<String> {
        let now = match todo.states.now.as_ref().map(|now| self.wish.now.version(now.node)) {
            Some(Ok(Some(now))) => now,
            Some(Err(error)) => return Some(error.to_string()),
            _ => return Some(NOT_KNOWN.to_owned()),
        };
        if self.wish.left.is_some() && self.wish.overwrite != Some(Overwrite::Always) {
            let left = todo.states.left.as_ref().and_then(|left| self.wish.left?.version(left.node).ok()?);
            if !left.is_some_and(|left| super::judge::same(&left.version, &now.version)) {
                return Some(CHANGED_SINCE.to_owned());
            }
        }
        let fd = match self.reach.dir(&self.walked.plan.dirs, todo.dir) {
            Ok(fd) => fd,
            Err(errno) => return Some(format!("its directory could not be opened: {errno}")),
        };
        match held(self.wish.now, fd.as_fd(), &todo.name, seen, &now.version) {
            Ok(Held::Yes) => None,
            Ok(Held::No(why)) => Some(why),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Whether the metadata of a directory that is there is to be set.
    fn differs(&self, states: &States, seen: &Seen) -> bool {
        let version = |source: &dyn Source, entry: &Option<Entry>| {
            entry.as_ref().and_then(|entry| source.version(entry.node).ok().flatten())
        };
        let Some(wanted) = version(self.wish.wanted, &states.wanted) else { return false };
        if self.wish.overwrite == Some(Overwrite::Never) {
            return false;
        }
        if let Some(left) = self.wish.left {
            let is_as_left = version(left, &states.left)
                .is_some_and(|left| same_metadata(&left.version.meta, &wanted.version.meta));
            if is_as_left {
                return false;
            }
        }
        let now = version(self.wish.now, &states.now);
        let now = now.as_ref().map(|now| &now.version.meta).filter(|now| now.kind == Kind::Dir);
        !seen.has_metadata(&wanted.version.meta, now)
    }

    /// Puts all entries of a directory on the list; gives the names that the journal has there now.
    fn children(
        &mut self,
        index: u32,
        states: &States,
        is_there: bool,
        within: Option<usize>,
    ) -> HashSet<Box<[u8]>> {
        let mut names: BTreeMap<Box<[u8]>, States> = BTreeMap::new();
        let mut known = HashSet::new();
        let mut thinned = Vec::new();
        let sources = [
            (Some(self.wish.wanted), &states.wanted),
            (Some(self.wish.now), &states.now),
            (self.wish.left, &states.left),
        ];
        for (which, (source, entry)) in sources.into_iter().enumerate() {
            let (Some(source), Some(entry)) = (source, entry) else { continue };
            if entry.kind != Kind::Dir {
                continue;
            }
            let (entries, unknown) = match source.list_with_thinned(entry.node) {
                Ok(listed) => listed,
                Err(error) => {
                    let path = self.walked.plan.path_of_dir(index);
                    let error = format!("its entries cannot be read: {error}");
                    self.walked.block(within, Blocked::Implied);
                    self.walked.plan.problems.push(Problem { path, error });
                    continue;
                }
            };
            if which == 0 {
                thinned.extend(unknown);
            }
            for entry in entries {
                let name: Box<[u8]> = entry.name.clone().into();
                if which == 1 && within.is_some() {
                    known.insert(name.clone());
                }
                let states = names.entry(name).or_default();
                match which {
                    0 => states.wanted = Some(entry),
                    1 => states.now = Some(entry),
                    _ => states.left = Some(entry),
                }
            }
        }
        // Nobody knows whether it was there, so it is not for us to take away.
        for name in thinned {
            self.walked.problem(index, &name, THINNED);
            self.walked.block(within, Blocked::Implied);
            names.remove(name.as_slice());
        }
        // The last one is looked at first.
        for (name, states) in names.into_iter().rev() {
            self.pending.push(Todo { dir: index, name, states, is_dir_there: is_there, within });
        }
        known
    }
}

/// What the journal does not know is nobody's to take away.
pub(super) const NOT_KNOWN: &str =
    "what is there now is not in the journal (left out by a rule, outside of all roots, or not captured yet)";
/// What may have been there is not deleted for not being known.
const MAYBE_THERE: &str =
    "whether it was there then is not kept, so it is left; `asof explain` names times of which all is kept";
/// Somebody has been at it after the restore that is taken back.
pub(super) const CHANGED_SINCE: &str = "it was changed since the restore, and is left";

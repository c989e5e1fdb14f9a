//! What is to become of one name: what is wanted there beside what is on disk, and whether the journal holds that.
//!
//! Several threads judge at once; nobody decides anything about another name.

use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use asof_journal::types::{Instant, Kind, Metadata, Version};
use asof_journal::view::Entry;

use super::Wish;
use super::walk::{CHANGED_SINCE, NOT_KNOWN};
use super::walked::{Candidate, Walked};
use crate::args::Overwrite;
use crate::interrupt;
use crate::live::{Held, Seen, has_content, held};
use crate::plan::{Filled, PlanNode};
use crate::reach::Reach;
use crate::source::Source;

/// What is to become of a name.
pub(super) enum Verdict {
    /// Nothing.
    Nothing,
    /// It is not there.
    Create,
    /// It is as it is wanted.
    Same(Seen),
    /// Its content is as it is wanted, its metadata is not.
    Touch(Seen),
    /// Something else is there, which the journal holds.
    Replace(Seen),
    /// The journal holds it, and it goes away.
    Delete(Seen),
    /// It differs and is left.
    Left,
    /// It is left for this reason.
    Problem(String),
}

/// A judged name.
pub(super) struct Judged {
    /// What is to become of it.
    pub(super) verdict: Verdict,
    /// What is wanted there.
    pub(super) node: Option<(PlanNode, Filled)>,
}

type Judging<T> = Result<T, String>;

/// Judges every candidate; the result has their order.
pub(super) fn all(base: BorrowedFd<'_>, wish: &Wish<'_>, walked: &Walked) -> Vec<Judged> {
    let candidates = &walked.candidates;
    let run = candidates.len().div_ceil(wish.workers.max(1)).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = candidates
            .chunks(run)
            .map(|some| {
                scope.spawn(move || {
                    let mut judge = Judge { wish, walked, reach: Reach::new(base) };
                    some.iter().map(|candidate| judge.judge(candidate)).collect::<Vec<_>>()
                })
            })
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Vec<Judged>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    })
}

struct Judge<'w> {
    wish: &'w Wish<'w>,
    walked: &'w Walked,
    reach: Reach<'w>,
}

impl Judge<'_> {
    fn judge(&mut self, candidate: &Candidate) -> Judged {
        if interrupt::requested() {
            return Judged { verdict: Verdict::Nothing, node: None };
        }
        let judged = match &candidate.states.wanted {
            None => self.surplus(candidate).map(|verdict| Judged { verdict, node: None }),
            Some(wanted) => self.wanted(candidate, wanted),
        };
        judged.unwrap_or_else(|error| Judged { verdict: Verdict::Problem(error), node: None })
    }

    fn seen(&mut self, candidate: &Candidate) -> Judging<Option<Seen>> {
        if !candidate.is_dir_there || candidate.behind.is_some() {
            return Ok(None);
        }
        let dir = self.dir(candidate)?;
        Seen::look(dir.as_fd(), &candidate.name)
            .map_err(|errno| format!("it could not be looked at: {errno}"))
    }

    fn dir(&mut self, candidate: &Candidate) -> Judging<std::rc::Rc<std::os::fd::OwnedFd>> {
        let dir = self.reach.dir(&self.walked.plan.dirs, candidate.dir);
        dir.map_err(|errno| format!("its directory could not be opened: {errno}"))
    }

    /// What the journal has of what is on disk, where it holds exactly that.
    fn held(&mut self, candidate: &Candidate, seen: &Seen) -> Judging<Result<Version, String>> {
        let now = match &candidate.states.now {
            Some(now) => version(self.wish.now, now)?,
            None => None,
        };
        let Some(now) = now else { return Ok(Err(NOT_KNOWN.to_owned())) };
        let dir = self.dir(candidate)?;
        let held = held(self.wish.now, dir.as_fd(), &candidate.name, seen, &now);
        Ok(match held.map_err(|error| error.to_string())? {
            Held::Yes => Ok(now),
            Held::No(why) => Err(why),
        })
    }

    /// What the restore that is taken back had left there; `None` where nothing is taken back.
    fn left(&self, candidate: &Candidate) -> Judging<Option<Option<Version>>> {
        let Some(left) = self.wish.left else { return Ok(None) };
        match &candidate.states.left {
            Some(entry) => Ok(Some(version(left, entry)?)),
            None => Ok(Some(None)),
        }
    }

    fn is_forced(&self) -> bool {
        self.wish.overwrite == Some(Overwrite::Always)
    }

    fn surplus(&mut self, candidate: &Candidate) -> Judging<Verdict> {
        let Some(seen) = self.seen(candidate)? else { return Ok(Verdict::Nothing) };
        if seen.kind == Kind::Dir {
            return Ok(Verdict::Problem("it is a directory now, which the journal does not know".into()));
        }
        let now = match self.held(candidate, &seen)? {
            Ok(now) => now,
            Err(why) => return Ok(Verdict::Problem(why)),
        };
        if let Some(left) = self.left(candidate)?
            && !candidate.is_leftover
            && !self.is_forced()
            && !left.is_some_and(|left| same(&left, &now))
        {
            return Ok(Verdict::Problem(CHANGED_SINCE.into()));
        }
        Ok(Verdict::Delete(seen))
    }

    fn wanted(&mut self, candidate: &Candidate, wanted: &Entry) -> Judging<Judged> {
        let picked = self.wish.wanted.picked(wanted.node).map_err(|error| error.to_string())?;
        let Some(picked) = picked else { return Err("it was seen but never captured".into()) };
        let left = self.left(candidate)?;
        let is_untouched = matches!(&left, Some(Some(left)) if same(left, &picked.at.version));
        if is_untouched && !candidate.is_behind() {
            return Ok(Judged { verdict: Verdict::Nothing, node: None });
        }
        let mut node = PlanNode::unfilled(candidate.dir, candidate.name.clone(), wanted);
        let filled = node.fill_from(self.wish.wanted, &picked)?;
        let verdict = self.beside(candidate, &picked.at.version, left.as_ref())?;
        Ok(Judged { verdict, node: Some((node, filled)) })
    }

    /// What is wanted beside what is on disk.
    fn beside(
        &mut self,
        candidate: &Candidate,
        wanted: &Version,
        left: Option<&Option<Version>>,
    ) -> Judging<Verdict> {
        let Some(seen) = self.seen(candidate)? else {
            let was_there = matches!(left, Some(Some(_))) && !candidate.is_behind();
            return Ok(match was_there && !self.is_forced() {
                true => Verdict::Problem("it was deleted since the restore, and is left so".into()),
                false => Verdict::Create,
            });
        };
        if seen.kind == Kind::Dir {
            return Ok(Verdict::Problem("a directory that the journal does not know has its name".into()));
        }
        match self.wish.overwrite {
            Some(Overwrite::Never) => return Ok(Verdict::Left),
            Some(Overwrite::IfChanged) if looks_like(&seen, wanted) => return Ok(Verdict::Same(seen)),
            _ => {}
        }
        let held = self.held(candidate, &seen)?;
        let is_same = match &held {
            Ok(now) => same_content(now, wanted),
            Err(_) => looks_like(&seen, wanted) && self.has(candidate, wanted)?,
        };
        if is_same {
            let known = held.as_ref().ok().map(|now| &now.meta);
            let is_all = seen.has_metadata(&wanted.meta, known);
            return Ok(match (is_all, seen.kind) {
                (true, _) => Verdict::Same(seen),
                (false, Kind::File) => self.unless_changed(held.ok(), left, Verdict::Touch(seen)),
                // Small enough to be made anew.
                (false, _) => self.unless_changed(held.ok(), left, Verdict::Replace(seen)),
            });
        }
        Ok(match held {
            Ok(now) => self.unless_changed(Some(now), left, Verdict::Replace(seen)),
            Err(why) => Verdict::Problem(why),
        })
    }

    /// The verdict, unless somebody has been at it since the restore that is taken back.
    fn unless_changed(
        &self,
        now: Option<Version>,
        left: Option<&Option<Version>>,
        verdict: Verdict,
    ) -> Verdict {
        let is_as_left = match (left, now) {
            (None, _) => true,
            (Some(Some(left)), Some(now)) => same(left, &now),
            (Some(_), _) => false,
        };
        match is_as_left || self.is_forced() {
            true => verdict,
            false => Verdict::Problem(CHANGED_SINCE.into()),
        }
    }

    fn has(&mut self, candidate: &Candidate, wanted: &Version) -> Judging<bool> {
        let dir = self.dir(candidate)?;
        let found = has_content(self.wish.wanted, dir.as_fd(), &candidate.name, wanted);
        found.map_err(|error| error.to_string())
    }
}

impl Candidate {
    /// Whether a directory has to make room for it.
    fn is_behind(&self) -> bool {
        self.behind.is_some()
    }
}

fn version(source: &dyn Source, entry: &Entry) -> Judging<Option<Version>> {
    let found = source.version(entry.node).map_err(|error| error.to_string())?;
    Ok(found.map(|found| found.version))
}

/// Whether a file has the size and the modification time of a version.
fn looks_like(seen: &Seen, version: &Version) -> bool {
    let meta = &version.meta;
    meta.kind == Kind::File && (seen.kind, seen.size, seen.mtime) == (meta.kind, meta.size, meta.mtime)
}

/// Whether two versions are one in everything that a restore brings back.
pub(super) fn same(one: &Version, other: &Version) -> bool {
    same_content(one, other) && same_metadata(&one.meta, &other.meta)
}

fn same_content(one: &Version, other: &Version) -> bool {
    let key = |meta: &Metadata| (meta.kind, meta.rdev, if meta.kind == Kind::Dir { 0 } else { meta.size });
    key(&one.meta) == key(&other.meta) && one.content == other.content
}

/// The same of what is no content.
pub(super) fn same_metadata(one: &Metadata, other: &Metadata) -> bool {
    fn key(meta: &Metadata) -> (u32, u32, u32, Instant) {
        (meta.mode & 0o7777, meta.uid, meta.gid, meta.mtime)
    }
    key(one) == key(other) && one.xattrs == other.xattrs
}

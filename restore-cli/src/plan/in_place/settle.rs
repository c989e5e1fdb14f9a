//! From judged names to a plan: which of the names of a file keeps it, which are linked, and which directories can go.
//!
//! Pure; what is on disk and in the journal is known by now.

use std::collections::HashMap;

use asof_journal::types::{Kind, NodeId, Quality};

use super::judge::{Judged, Verdict};
use super::walked::{Blocked, Walked};
use super::{InPlacePlan, Preview, Wish};
use crate::args::Overwrite;
use crate::live::Seen;
use crate::plan::{
    self, Filled, LinkTo, Older, Origin, PlanDeletion, PlanKept, PlanLink, PlanNode, Problem, RestorePlan,
};
use crate::source::Choice;

/// One name of something that is wanted.
struct Member {
    node: PlanNode,
    filled: Filled,
    /// What has the name now.
    seen: Option<Seen>,
    /// Whether that has the content that is wanted, and perhaps the metadata.
    fits: Option<Fit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    All,
    Content,
}

struct Settle<'w> {
    wish: &'w Wish<'w>,
    walked: Walked,
    preview: Preview,
    /// Which wanted node has been given an inode with several names.
    claims: HashMap<(u64, u64), NodeId>,
    /// The wanted node of each link, whose place in the plan is not known yet.
    link_nodes: Vec<Option<NodeId>>,
}

/// Makes the plan.
pub(super) fn settle(wish: &Wish<'_>, mut walked: Walked, judged: Vec<Judged>) -> InPlacePlan {
    let candidates = std::mem::take(&mut walked.candidates);
    for (candidate, judged) in candidates.iter().zip(&judged) {
        if let Verdict::Problem(error) = &judged.verdict {
            walked.problem(candidate.dir, &candidate.name, error.as_str());
            walked.block(candidate.within, Blocked::Implied);
        }
    }
    let preview = Preview { unchanged: walked.unchanged, left: walked.left, ..Preview::default() };
    let mut settle = Settle { wish, walked, preview, claims: HashMap::new(), link_nodes: Vec::new() };
    let mut members: Vec<Member> = Vec::new();
    for (candidate, judged) in candidates.into_iter().zip(judged) {
        if settle.walked.is_stuck(candidate.behind) {
            let error = "the directory that has its name cannot go away, and nothing in it is deleted";
            settle.walked.problem(candidate.dir, &candidate.name, error);
            continue;
        }
        let (seen, fits) = match judged.verdict {
            Verdict::Nothing | Verdict::Problem(_) => continue,
            Verdict::Left => {
                settle.preview.left += 1;
                continue;
            }
            Verdict::Delete(seen) => {
                settle.delete(candidate.dir, candidate.name, seen, candidate.within);
                continue;
            }
            Verdict::Create => (None, None),
            Verdict::Replace(seen) => (Some(seen), None),
            Verdict::Same(seen) => (Some(seen), Some(Fit::All)),
            Verdict::Touch(seen) => (Some(seen), Some(Fit::Content)),
        };
        if let Some((node, filled)) = judged.node {
            members.push(Member { node, filled, seen, fits });
        }
    }
    // Stable, so that the first name of a file is the first that was met.
    members.sort_by_key(|member| member.node.node);
    let mut members = members.into_iter().peekable();
    while let Some(first) = members.next() {
        let mut group = vec![first];
        let node = group.first().map(|member| member.node.node);
        while let Some(next) = members.next_if(|next| Some(next.node.node) == node) {
            group.push(next);
        }
        settle.group(group);
    }
    settle.finish()
}

impl Settle<'_> {
    fn plan(&mut self) -> &mut RestorePlan {
        &mut self.walked.plan
    }

    /// All names of one file that are wanted.
    fn group(&mut self, group: Vec<Member>) {
        let keeper = (0..group.len()).find(|&index| self.can_keep(&group, index));
        match keeper {
            Some(keeper) => self.keep(group, keeper),
            None => self.write(group),
        }
    }

    /// Whether what has this name now can stay, as it is or with other metadata.
    fn can_keep(&mut self, group: &[Member], index: usize) -> bool {
        let Some(Member { node, seen: Some(seen), fits: Some(fits), .. }) = group.get(index) else {
            return false;
        };
        let here =
            group.iter().filter(|member| member.seen.is_some_and(|other| other.inode == seen.inode)).count();
        // A name elsewhere would get the metadata, too, and nobody asked for that.
        if *fits == Fit::Content && here as u64 != seen.names {
            return false;
        }
        seen.names == 1 || *self.claims.entry(seen.inode).or_insert(node.node) == node.node
    }

    fn keep(&mut self, group: Vec<Member>, keeper: usize) {
        let Some(kept) = group.get(keeper) else { return };
        let Some(seen) = kept.seen else { return };
        let is_touched = kept.fits == Some(Fit::Content);
        let is_linked = group.iter().any(|member| member.seen.is_none_or(|other| other.inode != seen.inode));
        let index = self.plan().kept.len() as u32;
        if is_touched || is_linked {
            let (dir, name) = (kept.node.dir, kept.node.name.clone());
            let node = is_touched.then_some(kept.node.node);
            self.plan().kept.push(PlanKept { dir, name, node, seen });
        }
        for (number, member) in group.into_iter().enumerate() {
            match member.seen {
                Some(other) if other.inode == seen.inode && is_touched && number == keeper => {
                    self.preview.metadata += 1;
                }
                Some(other) if other.inode == seen.inode => self.preview.unchanged += 1,
                _ => self.link(member, LinkTo::Kept(index), None),
            }
        }
    }

    fn write(&mut self, group: Vec<Member>) {
        let mut group = group.into_iter();
        let Some(Member { mut node, filled, seen, .. }) = group.next() else { return };
        let bytes = if node.kind == Kind::File { node.size } else { 0 };
        match seen {
            None => self.preview.created.add(bytes),
            Some(_) => self.preview.overwritten.add(bytes),
        }
        self.note(&node, &filled);
        self.changes(node.dir);
        node.replaces = seen.map(Box::new);
        let id = node.node;
        self.plan().nodes.push(node);
        for member in group {
            self.link(member, LinkTo::Node(0), Some(id));
        }
    }

    fn link(&mut self, member: Member, target: LinkTo, node: Option<NodeId>) {
        match member.seen {
            None => self.preview.created.add(0),
            Some(_) => self.preview.overwritten.add(0),
        }
        let PlanNode { dir, name, .. } = member.node;
        self.changes(dir);
        self.plan().links.push(PlanLink { dir, name, target, replaces: member.seen.map(Box::new) });
        self.link_nodes.push(node);
    }

    /// How far what is written can be trusted, and how it was chosen.
    fn note(&mut self, node: &PlanNode, filled: &Filled) {
        let plan = self.plan();
        let path = || plan.path_in(node.dir, &node.name);
        match filled.choice {
            Choice::AsItWas => {}
            Choice::Older(quality) => {
                let older = Older { path: path(), quality, seq: filled.seq };
                plan.older.push(older);
                plan.totals.older += 1;
            }
            Choice::NoneClean => {
                let problem = Problem { path: path(), error: plan::none_clean(filled.quality) };
                plan.problems.push(problem);
                plan.totals.none_clean += 1;
            }
        }
        match filled.quality {
            Quality::Clean => {}
            Quality::Provisional => plan.totals.provisional += 1,
            Quality::Torn => plan.totals.torn += 1,
        }
    }

    fn delete(&mut self, dir: u32, name: Box<[u8]>, seen: Seen, within: Option<usize>) {
        let top = self.walked.top_of(within);
        let is_early = top.is_some_and(|top| top.is_early);
        // What is in the way goes as a whole, or not at all.
        if is_early && top.is_some_and(|top| top.blocked.is_some()) {
            return;
        }
        self.preview.deleted.add(if seen.kind == Kind::File { seen.size } else { 0 });
        self.changes(dir);
        self.plan().deletions.push(PlanDeletion { dir, name, seen, is_early });
    }

    /// Entries of a directory come or go, so that its times are to be set again.
    fn changes(&mut self, dir: u32) {
        let at = dir as usize;
        let wanted = self.walked.wanted_nodes.get(at).copied().flatten();
        if self.wish.overwrite == Some(Overwrite::Never) {
            return;
        }
        if let (Some(dir), Some(node)) = (self.plan().dirs.get_mut(at), wanted) {
            dir.node = Some(node);
        }
    }

    fn finish(mut self) -> InPlacePlan {
        self.remove_dirs();
        for index in 1..self.walked.plan.dirs.len() {
            let Some(dir) = self.walked.plan.dirs.get(index) else { continue };
            let parent = dir.parent;
            match dir.origin {
                Origin::There { differs: true } => self.preview.metadata += 1,
                Origin::There { differs: false } | Origin::Goes => {}
                Origin::Made => {
                    self.preview.created.add(0);
                    self.changes(parent);
                }
                Origin::Replaces(_) => {
                    self.preview.overwritten.add(0);
                    self.changes(parent);
                }
            }
        }
        let plan = &mut self.walked.plan;
        plan::order(&mut plan.nodes);
        let places: HashMap<NodeId, u32> = plan.nodes.iter().map(|node| node.node).zip(0..).collect();
        for (link, node) in plan.links.iter_mut().zip(&self.link_nodes) {
            if let Some(&place) = node.as_ref().and_then(|node| places.get(node)) {
                link.target = LinkTo::Node(place);
            }
        }
        plan.problems.sort_by(|one, other| one.path.cmp(&other.path));
        plan.totals = plan::count(plan);
        self.walked.tops.sort();
        self.walked.tops.dedup();
        InPlacePlan { plan: self.walked.plan, preview: self.preview, tops: self.walked.tops }
    }

    /// Directories that go away, what is in them first.
    fn remove_dirs(&mut self) {
        for index in (0..self.walked.removals.len()).rev() {
            let top = self.walked.top_of(Some(index));
            let is_early = top.is_some_and(|top| top.is_early);
            let is_stuck = is_early && top.is_some_and(|top| top.blocked.is_some());
            let Some(removal) = self.walked.removals.get_mut(index) else { continue };
            let (dir, name, seen) = (removal.dir, std::mem::take(&mut removal.name), removal.seen);
            match removal.blocked.clone() {
                Some(Blocked::Named(why)) => self.walked.problem(dir, &name, why),
                Some(Blocked::Implied) => {}
                None if is_stuck => {}
                None => {
                    self.preview.deleted.add(0);
                    self.changes(dir);
                    self.plan().deletions.push(PlanDeletion { dir, name, seen, is_early });
                }
            }
        }
    }
}

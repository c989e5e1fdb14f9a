//! What a restore will do, computed before anything is written.
//!
//! Asks the journal only, and in [`in_place`] what is on disk, too; knows no clock and no terminal. A file costs about
//! 150 bytes here, so content and attributes stay in the journal until the file is written.

pub(crate) mod in_place;
mod parts;

use std::collections::{HashMap, HashSet};
use std::thread;

use asof_journal::types::{BlockId, Content, Extent, Instant, Kind, NodeId, Quality, Seq, Version};
use asof_journal::view::Entry;

use crate::content::{THINNED, not_whole, unread};
use crate::output::escape;
use crate::path;
use crate::source::{Choice, Picked, Source};

pub(crate) use parts::{
    Body, LinkTo, Origin, PlanDeletion, PlanDir, PlanKept, PlanLink, PlanNode, RestorePlan, Totals,
};

/// Something that cannot be restored as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Its path in the journal.
    pub(crate) path: Vec<u8>,
    /// What is wrong.
    pub(crate) error: String,
}

/// A file that is restored as it was before the time that was asked for, because it was clean then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Older {
    /// Its path in the journal.
    pub(crate) path: Vec<u8>,
    /// What it was at the time that was asked for.
    pub(crate) quality: &'static str,
    /// The version that is taken.
    pub(crate) seq: Seq,
}

/// One thing to restore.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its path in the journal.
    pub(crate) path: Vec<u8>,
    /// Its name in the target.
    pub(crate) name: Vec<u8>,
    /// What the journal has there.
    pub(crate) entry: Entry,
}

/// How the restored things lie in the target.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// The base directory is the restored directory.
    IsBase(Item),
    /// They go inside the base directory, under their names.
    InBase(Vec<Item>),
}

/// Plans the restore of `shape`; `workers` threads ask the journal.
///
/// What the journal cannot say about a node becomes a problem of that node, and the rest is planned.
pub(crate) fn plan(source: &dyn Source, shape: &Shape, workers: usize) -> RestorePlan {
    let mut walk = Walk { source, plan: RestorePlan::default(), seen: HashSet::new(), tops: Vec::new() };
    walk.start(shape);
    walk.all();
    let mut plan = walk.plan;
    let twins = take_twins(&mut plan);
    fill(source, &mut plan, workers);
    order(&mut plan.nodes);
    attach_twins(&mut plan, twins);
    plan.totals = count(&plan);
    plan
}

/// Directory by directory, in the order in which their first blocks lie: neighbours share packs, and two workers in
/// one directory would wait for each other in the kernel (measured: a fifth of the time).
fn order(nodes: &mut [PlanNode]) {
    let mut first: HashMap<u32, (u64, u64)> = HashMap::new();
    for node in nodes.iter() {
        let place = first.entry(node.dir).or_insert(node.place);
        *place = node.place.min(*place);
    }
    nodes.sort_by_cached_key(|node| {
        (first.get(&node.dir).copied().unwrap_or_default(), node.dir, node.place, node.node)
    });
}

/// Gathers names, without looking at what they name.
struct Walk<'s> {
    source: &'s dyn Source,
    plan: RestorePlan,
    /// Directories met so far, each under the path that was asked for: two of those may overlap.
    seen: HashSet<(u32, NodeId)>,
    /// Which of the paths that were asked for each planned directory belongs to.
    tops: Vec<u32>,
}

impl Walk<'_> {
    fn start(&mut self, shape: &Shape) {
        let asked: &[Item] = match shape {
            Shape::IsBase(item) => std::slice::from_ref(item),
            Shape::InBase(items) => items,
        };
        self.look_around(asked);
        let (node, inside) = match shape {
            Shape::IsBase(item) => {
                self.plan.origins.insert(Box::default(), item.path.clone());
                self.seen.insert((0, item.entry.node));
                (Some(item.entry.node), &[][..])
            }
            Shape::InBase(items) => (None, items.as_slice()),
        };
        self.plan.dirs.push(PlanDir { parent: 0, name: Box::default(), node, origin: Origin::Made });
        self.tops.push(0);
        for item in inside {
            self.plan.origins.insert(item.name.clone().into(), item.path.clone());
            self.add(0, item.name.clone(), &item.entry);
        }
    }

    /// Of a time that is not kept whole nobody can name all that was in a directory.
    fn look_around(&mut self, asked: &[Item]) {
        let mut dirs = asked.iter().filter(|item| item.entry.kind == Kind::Dir).peekable();
        if dirs.peek().is_none() {
            return;
        }
        let error = match self.source.around() {
            Ok(None) => return,
            Ok(Some(around)) => not_whole(&around),
            Err(error) => format!("whether all of that time is kept cannot be told: {error}"),
        };
        let problem = |item: &Item| Problem { path: item.path.clone(), error: error.clone() };
        self.plan.problems.extend(dirs.map(problem));
    }

    /// Lists every directory in turn; listing one appends its subdirectories.
    fn all(&mut self) {
        let mut next = 0;
        while let Some(dir) = self.plan.dirs.get(next) {
            let Ok(index) = u32::try_from(next) else {
                break;
            };
            if let Some(node) = dir.node {
                self.list(index, node);
            }
            next += 1;
        }
    }

    fn list(&mut self, dir: u32, node: NodeId) {
        match self.source.list_with_thinned(node) {
            Ok((entries, thinned)) => {
                for entry in entries {
                    self.add(dir, entry.name.clone(), &entry);
                }
                for name in thinned {
                    let path = self.plan.path_in(dir, &name);
                    self.plan.problems.push(Problem { path, error: THINNED.to_owned() });
                }
            }
            Err(error) => {
                let path = self.plan.path_of_dir(dir);
                self.plan
                    .problems
                    .push(Problem { path, error: format!("its entries cannot be read: {error}") });
            }
        }
    }

    fn add(&mut self, dir: u32, name: Vec<u8>, entry: &Entry) {
        let is_asked_for = dir == 0 && self.plan.dirs.first().is_some_and(|base| base.node.is_none());
        let top = match is_asked_for {
            true => u32::try_from(self.plan.dirs.len()).unwrap_or(u32::MAX),
            false => self.tops.get(dir as usize).copied().unwrap_or(0),
        };
        let refused = if !path::is_name(&name) {
            Some("this is no file name; the journal may be damaged")
        } else if entry.kind == Kind::Dir && !self.seen.insert((top, entry.node)) {
            Some("the directory lies within itself or in two places; the journal may be damaged")
        } else if self.plan.dirs.len().max(self.plan.nodes.len()) >= u32::MAX as usize {
            Some("there is more than one plan can hold; restore its parts one by one")
        } else {
            None
        };
        let name = name.into_boxed_slice();
        if let Some(error) = refused {
            let path = self.plan.path_in(dir, &name);
            self.plan.problems.push(Problem { path, error: error.to_owned() });
        } else if entry.kind == Kind::Dir {
            self.plan.dirs.push(PlanDir { parent: dir, name, node: Some(entry.node), origin: Origin::Made });
            self.tops.push(top);
        } else {
            self.plan.nodes.push(PlanNode::unfilled(dir, name, entry));
        }
    }
}

impl PlanNode {
    fn unfilled(dir: u32, name: Box<[u8]>, entry: &Entry) -> PlanNode {
        PlanNode {
            dir,
            uid: 0,
            gid: 0,
            mode: 0,
            kind: entry.kind,
            has_xattrs: false,
            name,
            node: entry.node,
            mtime: Instant(0),
            size: 0,
            body: Body::LeftOut,
            replaces: None,
            place: (0, 0),
        }
    }

    fn fill(&mut self, source: &dyn Source) -> Result<Filled, String> {
        let picked = source.picked(self.node).map_err(|error| error.to_string())?;
        match picked {
            Some(picked) => self.fill_from(source, &picked),
            None => Err("it was seen but never captured".to_owned()),
        }
    }

    fn fill_from(&mut self, source: &dyn Source, picked: &Picked) -> Result<Filled, String> {
        let Version { meta, content, quality, .. } = &picked.at.version;
        self.kind = meta.kind;
        self.uid = meta.uid;
        self.gid = meta.gid;
        self.mode = (meta.mode & 0o7777) as u16;
        self.has_xattrs = !meta.xattrs.is_empty();
        self.mtime = meta.mtime;
        self.size = meta.size;
        let (body, first) = body(content, self.kind, self.size)?;
        if let Some(block) = first {
            self.place = source.locality(block).map_err(|error| error.to_string())?.unwrap_or((0, 0));
        }
        self.body = body;
        Ok(Filled { quality: *quality, choice: picked.choice, seq: picked.at.seq })
    }
}

/// How far what a node was filled with can be trusted, and how it was chosen.
struct Filled {
    quality: Quality,
    choice: Choice,
    seq: Seq,
}

/// Where the bytes come from, and the block to begin with.
fn body(content: &Content, kind: Kind, size: u64) -> Result<(Body, Option<BlockId>), String> {
    match (content, kind) {
        (Content::Unread(errno), _) => Err(unread(*errno)),
        (Content::Thinned, _) => Err(THINNED.to_owned()),
        (_, Kind::Dir) => Err("it is a directory under one name and a file under another".to_owned()),
        (Content::None, Kind::File) if size > 0 => Err("its content was never captured".to_owned()),
        (_, Kind::File) if size == 0 => Ok((Body::Empty, None)),
        (Content::Extents(extents), Kind::File) => match extents.as_slice() {
            &[Extent::Block { id, len }] if u64::from(len) == size => Ok((Body::Block(id), Some(id))),
            all => Ok((Body::Fetch, all.iter().find_map(block_of))),
        },
        _ => Ok((Body::Fetch, None)),
    }
}

fn block_of(extent: &Extent) -> Option<BlockId> {
    match *extent {
        Extent::Hole { .. } => None,
        Extent::Block { id, .. } | Extent::List { id, .. } => Some(id),
    }
}

/// A further name of a node, before the node has its place in the plan.
struct Twin {
    dir: u32,
    name: Box<[u8]>,
    node: NodeId,
}

/// Leaves every node once. Afterwards the nodes stand in the order of their ids, in which the index answers fastest.
fn take_twins(plan: &mut RestorePlan) -> Vec<Twin> {
    plan.nodes.sort_by_key(|node| node.node);
    let mut twins = Vec::new();
    plan.nodes.dedup_by(|later, first| {
        if later.node != first.node {
            return false;
        }
        twins.push(Twin { dir: later.dir, name: std::mem::take(&mut later.name), node: later.node });
        true
    });
    twins
}

/// Asks the journal what every node is, a run of nodes a thread.
fn fill(source: &dyn Source, plan: &mut RestorePlan, workers: usize) {
    let run = plan.nodes.len().div_ceil(workers.max(1)).max(1);
    let verdicts: Vec<Verdicts> = thread::scope(|scope| {
        let threads: Vec<_> =
            plan.nodes.chunks_mut(run).map(|nodes| scope.spawn(move || fill_run(source, nodes))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    for (number, verdict) in verdicts.into_iter().enumerate() {
        plan.totals.torn += verdict.torn;
        plan.totals.provisional += verdict.provisional;
        plan.totals.older += verdict.older.len() as u64;
        plan.totals.none_clean += verdict.none_clean;
        for (index, error) in verdict.problems {
            let Some(node) = plan.nodes.get(number * run + index) else {
                continue;
            };
            let path = plan.path_in(node.dir, &node.name);
            plan.problems.push(Problem { path, error });
        }
        for (index, quality, seq) in verdict.older {
            let Some(node) = plan.nodes.get(number * run + index) else {
                continue;
            };
            let path = plan.path_in(node.dir, &node.name);
            plan.older.push(Older { path, quality, seq });
        }
    }
    plan.problems.sort_by(|one, other| one.path.cmp(&other.path));
    plan.older.sort_by(|one, other| one.path.cmp(&other.path));
    plan.totals.sockets = plan.nodes.iter().filter(|node| node.kind == Kind::Socket).count() as u64;
    plan.nodes.retain(|node| node.body != Body::LeftOut && node.kind != Kind::Socket);
}

#[derive(Default)]
struct Verdicts {
    torn: u64,
    provisional: u64,
    none_clean: u64,
    problems: Vec<(usize, String)>,
    older: Vec<(usize, &'static str, Seq)>,
}

impl Verdicts {
    fn note(&mut self, index: usize, filled: &Filled) {
        match filled.choice {
            Choice::AsItWas => {}
            Choice::Older(quality) => self.older.push((index, quality, filled.seq)),
            Choice::NoneClean => {
                self.none_clean += 1;
                self.problems.push((index, none_clean(filled.quality)));
            }
        }
        match filled.quality {
            Quality::Clean => {}
            Quality::Provisional => self.provisional += 1,
            Quality::Torn => self.torn += 1,
        }
    }
}

fn fill_run(source: &dyn Source, nodes: &mut [PlanNode]) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for (index, node) in nodes.iter_mut().enumerate() {
        if crate::interrupt::requested() {
            break;
        }
        match node.fill(source) {
            Ok(filled) => verdicts.note(index, &filled),
            Err(error) => verdicts.problems.push((index, error)),
        }
    }
    verdicts
}

/// What is said of a file of which a clean version was asked for, and there is none.
fn none_clean(quality: Quality) -> String {
    let quality = quality.as_str();
    format!("no version up to that time is clean; the one of that time is taken ({quality})")
}

/// Links the further names to the nodes, now that those have their places.
fn attach_twins(plan: &mut RestorePlan, twins: Vec<Twin>) {
    let wanted: HashSet<NodeId> = twins.iter().map(|twin| twin.node).collect();
    let mut places = HashMap::with_capacity(wanted.len());
    if !wanted.is_empty() {
        for (index, node) in (0u32..).zip(&plan.nodes) {
            if wanted.contains(&node.node) {
                places.insert(node.node, index);
            }
        }
    }
    for Twin { dir, name, node } in twins {
        match places.get(&node) {
            Some(&target) => {
                plan.links.push(PlanLink { dir, name, target: LinkTo::Node(target), replaces: None });
            }
            None => {
                let path = plan.path_in(dir, &name);
                let error = "it is a further name of a file that cannot be restored".to_owned();
                plan.problems.push(Problem { path, error });
            }
        }
    }
}

fn count(plan: &RestorePlan) -> Totals {
    let mut totals = plan.totals;
    totals.dirs = plan.dirs.iter().filter(|dir| dir.node.is_some()).count() as u64;
    totals.hardlinks = plan.links.len() as u64;
    for node in &plan.nodes {
        match node.kind {
            Kind::File => {
                totals.files += 1;
                totals.bytes = totals.bytes.saturating_add(node.size);
            }
            Kind::Symlink => totals.symlinks += 1,
            _ => totals.specials += 1,
        }
    }
    totals
}

/// One line of a plan for people.
pub(crate) fn describe(kind: &str, path: &[u8], size: Option<u64>) -> String {
    match size {
        Some(size) => format!("{kind:<12} {} ({size} bytes)", escape(path)),
        None => format!("{kind:<12} {}", escape(path)),
    }
}

#[cfg(test)]
mod tests;

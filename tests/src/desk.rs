//! A journal on one thread, through the library: what is done at the desk is committed when the test says so, and what
//! every instant must show is written down beside it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, mpsc};

use asof_journal::append::Limits;
use asof_journal::compact::Purged;
use asof_journal::forget::Order;
use asof_journal::head::{Sink, Submission};
use asof_journal::ingest::Ingest;
use asof_journal::open::Journal;
use asof_journal::types::{
    ClockReading, Content, Group, Instant, Kind, MarkName, Metadata, NodeId, Op, Policy, Quality, RootPolicy,
    Seq, Unbound, Version,
};

use crate::must::Must;

/// What a journal must show as of one `Seq`: every file with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// As of when.
    pub seq: Seq,
    /// Absolute paths with contents.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A clock reading so many seconds after an epoch of its own.
pub fn clock(seconds: i64) -> ClockReading {
    ClockReading {
        wall: Instant(1_700_000_000_000_000_000 + seconds * 1_000_000_000),
        boottime_ns: u64::try_from(seconds).unwrap_or(0) * 1_000_000_000,
        boot_id: [1; 16],
    }
}

/// A writer.
pub struct Desk {
    /// The journal.
    pub journal: Journal,
    submitted: mpsc::Receiver<Submission>,
    now: i64,
    dirs: BTreeMap<String, NodeId>,
    nodes: BTreeMap<String, NodeId>,
    files: BTreeMap<String, Vec<u8>>,
    /// What every commit so far must show.
    pub shown: Vec<Shown>,
}

impl Desk {
    /// Opens a journal, or makes one.
    #[track_caller]
    pub fn open(dir: &Path, now: i64, limits: Limits) -> Desk {
        let journal = Journal::open(dir, &clock(now), limits).must(dir.display());
        let (sender, submitted) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Box::new(move |submission| match sender.lock() {
            Ok(sender) => sender.send(submission).map_err(|_| ()),
            Err(_) => Err(()),
        });
        journal.head.connect(Some(sink));
        let dirs = BTreeMap::from([(String::new(), NodeId::ROOT)]);
        let (nodes, files) = (BTreeMap::new(), BTreeMap::new());
        Desk { journal, submitted, now, dirs, nodes, files, shown: Vec::new() }
    }

    fn place(&self, path: &str) -> (NodeId, Vec<u8>) {
        let (dir, name) = path.rsplit_once('/').must("an absolute path");
        (*self.dirs.get(dir).must(dir), name.as_bytes().to_vec())
    }

    fn submit(&self, ops: Vec<Op>) {
        self.journal.head.submit(vec![Group { ops, ..Group::default() }]).must("submitting");
    }

    /// Lets time pass on the clocks that the journal is told of.
    pub fn pass(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// Says that a path is a root from now on, the only one.
    pub fn protect(&mut self, path: &str) {
        let root = RootPolicy {
            path: path.as_bytes().to_vec(),
            excludes: Vec::new(),
            one_file_system: false,
            cachedir_tag: false,
        };
        self.submit(vec![Op::Policy(Policy { roots: vec![root], ..Policy::default() })]);
    }

    /// Makes a directory.
    pub fn mkdir(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let node = self.journal.head.new_node();
        self.submit(vec![Op::Bind { dir, name, node, kind: Kind::Dir, succeeds: None }]);
        self.dirs.insert(path.into(), node);
    }

    /// Writes a file, a new one where there is none.
    pub fn write(&mut self, path: &str, content: &[u8]) {
        let mut ops = Vec::new();
        let node = match self.nodes.get(path) {
            Some(node) => *node,
            None => {
                let (dir, name) = self.place(path);
                let node = self.journal.head.new_node();
                ops.push(Op::Bind { dir, name, node, kind: Kind::File, succeeds: None });
                node
            }
        };
        self.store(node, content, ops, None);
        self.nodes.insert(path.into(), node);
        let linked: Vec<String> =
            self.nodes.iter().filter(|(_, other)| **other == node).map(|(path, _)| path.clone()).collect();
        for path in linked {
            self.files.insert(path, content.to_vec());
        }
    }

    /// Saves a file as editors do: a new node takes the name.
    pub fn save(&mut self, path: &str, content: &[u8]) {
        let (dir, name) = self.place(path);
        let old = *self.nodes.get(path).must(path);
        let node = self.journal.head.new_node();
        let gone = Op::Unbind { dir, name: name.clone(), node: old, kind: Kind::File, why: Unbound::Deleted };
        let bind = Op::Bind { dir, name, node, kind: Kind::File, succeeds: Some(old) };
        self.store(node, content, vec![gone, bind], Some(old));
        self.nodes.insert(path.into(), node);
        self.files.insert(path.into(), content.to_vec());
    }

    fn store(&self, node: NodeId, mut content: &[u8], mut ops: Vec<Op>, before: Option<NodeId>) {
        let head = &self.journal.head;
        let previous = head.view().version(before.unwrap_or(node)).must("the version before");
        let mut ingest = Ingest::new(head);
        let stored = ingest.store(&mut content, previous.map(|at| at.version).as_ref()).must("storing");
        let version = version(stored.content, stored.size);
        ops.push(Op::Version { node, version });
        ingest.submit(Group { ops, ..Group::default() }).must("submitting");
        ingest.flush().must("submitting");
    }

    /// Renames a file.
    pub fn rename(&mut self, from: &str, to: &str) {
        let ((dir, name), (to_dir, to_name)) = (self.place(from), self.place(to));
        let node = self.nodes.remove(from).must(from);
        let kind = Kind::File;
        self.submit(vec![
            Op::Unbind { dir, name, node, kind, why: Unbound::Moved },
            Op::Bind { dir: to_dir, name: to_name, node, kind, succeeds: None },
        ]);
        self.nodes.insert(to.into(), node);
        let content = self.files.remove(from).must(from);
        self.files.insert(to.into(), content);
    }

    /// Gives a file a further name.
    pub fn link(&mut self, from: &str, to: &str) {
        let (dir, name) = self.place(to);
        let node = *self.nodes.get(from).must(from);
        self.submit(vec![Op::Bind { dir, name, node, kind: Kind::File, succeeds: None }]);
        self.nodes.insert(to.into(), node);
        self.files.insert(to.into(), self.files.get(from).must(from).clone());
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let node = self.nodes.remove(path).must(path);
        self.submit(vec![Op::Unbind { dir, name, node, kind: Kind::File, why: Unbound::Deleted }]);
        self.files.remove(path);
    }

    /// Gives the instant a name.
    pub fn name(&mut self, name: &str) {
        self.submit(vec![Op::Name(MarkName::new(name).must(name))]);
    }

    /// Removes a directory with all that is below it, as one observation.
    pub fn remove_dir(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let node = self.dirs.remove(path).must(path);
        let inside = format!("{path}/");
        self.dirs.retain(|path, _| !path.starts_with(&inside));
        self.nodes.retain(|path, _| !path.starts_with(&inside));
        self.files.retain(|path, _| !path.starts_with(&inside));
        self.submit(vec![Op::Unbind { dir, name, node, kind: Kind::Dir, why: Unbound::Deleted }]);
    }

    /// Renames a directory with all that is below it.
    pub fn rename_dir(&mut self, from: &str, to: &str) {
        let ((dir, name), (to_dir, to_name)) = (self.place(from), self.place(to));
        let node = *self.dirs.get(from).must(from);
        let kind = Kind::Dir;
        self.submit(vec![
            Op::Unbind { dir, name, node, kind, why: Unbound::Moved },
            Op::Bind { dir: to_dir, name: to_name, node, kind, succeeds: None },
        ]);
        fn moved<V>(map: &mut BTreeMap<String, V>, from: &str, to: &str) {
            let inside = format!("{from}/");
            let old = std::mem::take(map);
            map.extend(old.into_iter().map(|(path, value)| match path.strip_prefix(&inside) {
                Some(rest) => (format!("{to}/{rest}"), value),
                None if path == from => (to.to_string(), value),
                None => (path, value),
            }));
        }
        moved(&mut self.dirs, from, to);
        moved(&mut self.nodes, from, to);
        moved(&mut self.files, from, to);
    }

    /// Has paths forgotten.
    pub fn forget(&mut self, paths: &[&str], before: Option<Seq>) -> asof_journal::Result<Purged> {
        let order = Order {
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
            before,
            by: 1000,
            record_names: false,
        };
        self.forget_on(Some(&order))
    }

    /// Goes on with what was begun to be forgotten.
    pub fn finish_forgetting(&mut self) -> asof_journal::Result<Purged> {
        self.forget_on(None)
    }

    fn forget_on(&mut self, order: Option<&Order>) -> asof_journal::Result<Purged> {
        let Desk { journal, submitted, now, .. } = self;
        journal.compactor.forget(order, clock(*now).wall, &mut |op| {
            let group = Group { ops: vec![op], ..Group::default() };
            let seq = journal.head.submit_in_new_segment(vec![group])?;
            while let Ok(submission) = submitted.try_recv() {
                journal.appender.stage(submission);
            }
            *now += 1;
            journal.appender.commit(&clock(*now), None)?;
            Ok(seq)
        })
    }

    /// Commits what was done, and writes down what it must show.
    #[track_caller]
    pub fn commit(&mut self) -> Seq {
        while let Ok(submission) = self.submitted.try_recv() {
            self.journal.appender.stage(submission);
        }
        self.now += 1;
        let mark = self.journal.appender.commit(&clock(self.now), None).must("committing");
        let seq = mark.must("something to commit").seq;
        self.shown.push(Shown { seq, files: self.files.clone() });
        seq
    }

    /// Ends in good order.
    #[track_caller]
    pub fn close(self) -> Vec<Shown> {
        self.journal.appender.close(&clock(self.now)).must("closing");
        self.shown
    }

    /// Ends as a killed process does, and another one goes on where it was.
    #[track_caller]
    #[must_use]
    pub fn killed(self, dir: &Path, limits: Limits) -> Desk {
        let Desk { journal, now, dirs, nodes, files, shown, .. } = self;
        drop(journal);
        Desk { dirs, nodes, files, shown, ..Desk::open(dir, now, limits) }
    }

    /// Ends as a killed process does: nothing more is written.
    pub fn drop_dead(self) -> Vec<Shown> {
        self.shown
    }
}

fn version(content: Content, size: u64) -> Version {
    let meta = Metadata {
        kind: Kind::File,
        mode: 0o644,
        uid: 1,
        gid: 2,
        mtime: Instant(3),
        ctime: Instant(4),
        size,
        ino: 5,
        rdev: 0,
        xattrs: Vec::new(),
    };
    Version { meta, content, quality: Quality::Clean, racy: false }
}

//! A short history of `/home/ada` that is the same every time: ids, clocks and contents are given, nobody watched.
//!
//! Written through the library, for whoever compares what the command prints with what it printed before.

use std::collections::BTreeMap;
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::types::{
    Content, Gap, GapReason, Instant, Kind, Mark, MarkCause, MarkName, NodeId, Op, Policy, Quality,
    RootPolicy, Unbound, Version,
};

use crate::must::Must;
use crate::pen::{Pen, version};

/// The protected directory.
pub const HOME: &str = "/home/ada";

/// Compresses to little and has many blocks: damage of one leaves the others.
const LARGE_LINES: usize = 60_000;

struct Stage {
    pen: Pen,
    nodes: BTreeMap<String, NodeId>,
}

/// Writes the journal. It is closed in good order, with an index.
pub fn write(dir: &Path) {
    let mut stage = open(dir);
    stage.first_capture();
    stage.a_day_at_work();
    stage.the_agent_was_down();
    stage.pen.close();
}

/// The same, and its writer goes on to live: nobody else can write.
pub fn write_and_hold(dir: &Path) -> Pen {
    let mut stage = open(dir);
    stage.first_capture();
    stage.pen
}

fn open(dir: &Path) -> Stage {
    let pen = Pen::open(dir, 0, Limits::default());
    Stage { pen, nodes: BTreeMap::from([(String::new(), NodeId::ROOT)]) }
}

impl Stage {
    fn place(&self, path: &str) -> (NodeId, Vec<u8>) {
        let (dir, name) = path.rsplit_once('/').must("an absolute path");
        // Latin 1 stands for bytes that are no UTF-8.
        (*self.nodes.get(dir).must(dir), name.chars().map(|c| c as u8).collect())
    }

    fn bind(&mut self, path: &str, kind: Kind, succeeds: Option<NodeId>) -> (NodeId, Op) {
        let (dir, name) = self.place(path);
        let node = self.pen.journal.head.new_node();
        self.nodes.insert(path.into(), node);
        (node, Op::Bind { dir, name, node, kind, succeeds })
    }

    fn make(&mut self, path: &str, version: Version) {
        let (node, bind) = self.bind(path, version.meta.kind, None);
        self.pen.submit(vec![bind, Op::Version { node, version }]);
    }

    fn dir(&mut self, path: &str) {
        self.make(path, version(Kind::Dir, Content::None));
    }

    fn file(&mut self, path: &str, mut content: &[u8]) {
        let (node, bind) = self.bind(path, Kind::File, None);
        self.pen.write(node, &mut content, vec![bind], version(Kind::File, Content::None));
    }

    fn rewrite(&mut self, path: &str, mut content: &[u8]) {
        let node = *self.nodes.get(path).must(path);
        self.pen.write(node, &mut content, Vec::new(), version(Kind::File, Content::None));
    }

    /// As editors save: another node takes the name over.
    fn save(&mut self, path: &str, mut content: &[u8]) {
        let old = *self.nodes.get(path).must(path);
        let (dir, name) = self.place(path);
        let gone = Op::Unbind { dir, name, node: old, kind: Kind::File, why: Unbound::Deleted };
        let (node, bind) = self.bind(path, Kind::File, Some(old));
        self.pen.write(node, &mut content, vec![gone, bind], version(Kind::File, Content::None));
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Version)) {
        let node = *self.nodes.get(path).must(path);
        let found = self.pen.journal.head.view().version(node).must("a version").must(path);
        let mut version = found.version;
        change(&mut version);
        self.pen.submit(vec![Op::Version { node, version }]);
    }

    fn unbind(&mut self, path: &str, kind: Kind, why: Unbound) {
        let (dir, name) = self.place(path);
        let node = self.nodes.remove(path).must(path);
        self.pen.submit(vec![Op::Unbind { dir, name, node, kind, why }]);
    }

    fn rename(&mut self, from: &str, to: &str, kind: Kind) {
        let ((dir, name), (to_dir, to_name)) = (self.place(from), self.place(to));
        let node = self.nodes.remove(from).must(from);
        self.nodes.insert(to.into(), node);
        self.pen.submit(vec![
            Op::Unbind { dir, name, node, kind, why: Unbound::Moved },
            Op::Bind { dir: to_dir, name: to_name, node, kind, succeeds: None },
        ]);
    }

    fn mark(&mut self, cause: MarkCause) {
        let covered_through = self.pen.clock().wall;
        self.pen.submit(vec![Op::Mark(Mark { covered_through, cause })]);
        self.pen.commit();
    }

    fn gap(&mut self, seconds: i64, reason: GapReason, detail: &str) {
        let until = self.pen.clock().wall;
        let from = Instant(until.0 - seconds * 1_000_000_000);
        let (scope, detail) = (HOME.as_bytes().to_vec(), detail.to_owned());
        self.pen.submit(vec![Op::Gap(Gap { scope, from, until, reason, detail })]);
    }

    fn first_capture(&mut self) {
        let root = RootPolicy {
            path: HOME.into(),
            excludes: vec!["*.o".into()],
            one_file_system: true,
            cachedir_tag: false,
        };
        self.pen.submit(vec![Op::Policy(Policy {
            roots: vec![root],
            excludes: Vec::new(),
            left_out: Vec::new(),
        })]);
        let (_, above) = self.bind("/home", Kind::Dir, None);
        self.pen.submit(vec![above]);
        for dir in [HOME, "/home/ada/work", "/home/ada/work/src"] {
            self.dir(dir);
        }
        self.file("/home/ada/notes.txt", b"buy milk\ncall Bob\n");
        self.file("/home/ada/work/plan.txt", b"one\ntwo\nthree\n");
        self.file("/home/ada/work/src/main.rs", b"fn main() {}\n");
        self.file("/home/ada/work/run.sh", b"#!/bin/sh\necho run\n");
        self.file("/home/ada/two words.txt", b"two words");
        self.file("/home/ada/caf\u{e9}", b"no UTF-8\n");
        self.file("/home/ada/photo.jpg", b"\xff\xd8\xff\0\0\x01");
        let large: Vec<u8> = (0..LARGE_LINES).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        self.file("/home/ada/large.log", &large);
        self.make("/home/ada/link", version(Kind::Symlink, Content::Inline(b"notes.txt".to_vec())));
        self.make("/home/ada/pipe", version(Kind::Fifo, Content::None));
        self.gap(20, GapReason::Starting, "");
        self.mark(MarkCause::Reconciled);
    }

    fn a_day_at_work(&mut self) {
        self.pen.seconds += 60;
        self.rewrite("/home/ada/notes.txt", b"buy milk\ncall Bob\nwater the plants\n");
        self.pen.commit();
        self.pen.seconds += 60;
        self.save("/home/ada/notes.txt", b"");
        self.pen.commit();
        self.pen.seconds += 60;
        self.rename("/home/ada/work/plan.txt", "/home/ada/work/master plan.txt", Kind::File);
        self.change("/home/ada/work/run.sh", |version| version.meta.mode = 0o755);
        self.rewrite("/home/ada/photo.jpg", b"\xff\xd8\xff\0\0\x02\x03");
        self.pen.commit();
        self.pen.seconds += 60;
        self.unbind("/home/ada/work/src/main.rs", Kind::File, Unbound::Deleted);
        self.unbind("/home/ada/work/src", Kind::Dir, Unbound::Deleted);
        self.pen.commit();
        self.pen.seconds += 60;
        self.file("/home/ada/base.db", b"pages");
        self.change("/home/ada/base.db", |version| version.quality = Quality::Torn);
        let mut secret = version(Kind::File, Content::Unread(13));
        secret.meta.size = 99;
        self.make("/home/ada/secret.key", secret);
        let (dir, name) = self.place("/home/ada/brief.tmp");
        let node = self.pen.journal.head.new_node();
        self.pen.submit(vec![Op::Unbind { dir, name, node, kind: Kind::File, why: Unbound::Unread }]);
        self.mark(MarkCause::Stopped);
    }

    fn the_agent_was_down(&mut self) {
        self.pen.seconds += 3600;
        self.gap(3600, GapReason::AgentDown, "stopped");
        self.file("/home/ada/late.txt", b"late\n");
        self.rename("/home/ada/work", "/home/ada/job", Kind::Dir);
        self.mark(MarkCause::Reconciled);
        self.pen.submit(vec![Op::Name(MarkName::new("after lunch").must("a name"))]);
        self.pen.commit();
    }
}

//! How the tree of a simulated workstation changes: files and directories come, are saved, get other names, go.

use std::collections::BTreeSet;
use std::mem;

use asof_journal::types::{Identity, Kind, NodeId, Op, Unbound};

use super::files::{File, Sort};
use super::{CAPTURED_AT_ONCE, Directory, Pending, Project, RECENT, SOURCES, Years};
use crate::must::Must;

impl Years {
    /// The files of a project that somebody works on for a while; the first ones of a project most often.
    pub(super) fn work(&mut self) -> Vec<u32> {
        let project = self.random.below(self.projects.len() as u64) * self.random.below(100) / 100;
        let Some(project) = self.projects.get(project as usize) else { return Vec::new() };
        let len = project.files.len() as u64;
        let count = 2 + self.random.below(9);
        let some = (0..count).filter_map(|_| {
            let place = self.random.below(1000) * self.random.below(1000) * len / 1_000_000;
            project.files.get(place as usize).copied()
        });
        some.collect()
    }

    pub(super) fn save_one(&mut self, of: fn(&Years) -> &Vec<u32>, replaced: bool) {
        if let Some(file) = self.one_of(of) {
            self.save(file, replaced);
        }
    }

    /// One of some: a few come up all the time, most hardly ever.
    pub(super) fn one_of(&mut self, of: fn(&Years) -> &Vec<u32>) -> Option<u32> {
        let len = of(self).len() as u64;
        let place = self.random.below(len) * self.random.below(100) * self.random.below(100) / 10_000;
        of(self).get(place as usize).copied()
    }

    /// Compiles a source file, to an object file beside it.
    pub(super) fn build(&mut self, source: u32) {
        let Some(dir) = self.files.get(source as usize).and_then(Option::as_ref).map(|file| file.dir) else {
            return;
        };
        let is_one = |number: &u32| {
            let file = self.files.get(*number as usize).and_then(Option::as_ref);
            file.is_some_and(|file| file.sort == Sort::Object && file.dir == dir)
        };
        let known = self.objects.get(source as usize).copied().flatten();
        match known.filter(is_one) {
            Some(object) => self.save(object, true),
            None => {
                let object = self.make(dir, Sort::Object);
                if self.objects.len() <= source as usize {
                    self.objects.resize(self.files.len(), None);
                }
                self.objects[source as usize] = Some(object);
            }
        }
    }

    pub(super) fn mkdir(&mut self, parent: u32, name: String) -> u32 {
        let node = self.pen().journal.head.new_node();
        let dir = self.directory(parent).node;
        let bind = Op::Bind { dir, name: name.clone().into_bytes(), node, kind: Kind::Dir, succeeds: None };
        self.pending.push(Pending { ops: vec![bind, self.identity(node)], content: None });
        self.dirs.push(Directory { parent, name, node });
        let number = self.dirs.len() as u32 - 1;
        self.touched.extend([parent, number]);
        number
    }

    pub(super) fn directory(&self, number: u32) -> &Directory {
        self.dirs.get(number as usize).must("a directory")
    }

    pub(super) fn identity(&self, node: NodeId) -> Op {
        let handle = [&1u32.to_le_bytes()[..], &node.0.to_le_bytes()].concat();
        Op::Identify { node, identity: Identity { filesystem: vec![1; 17], handle } }
    }

    pub(super) fn new_project(&mut self, files: u64) {
        self.names += 1;
        let top = self.mkdir(SOURCES, format!("project{}", self.names));
        let mut dirs = vec![top];
        for part in 0..8 {
            dirs.push(self.mkdir(top, format!("part{part}")));
        }
        let mut made = Vec::new();
        for _ in 0..files {
            let dir = self.random.pick(&dirs).copied().unwrap_or(top);
            made.push(self.make(dir, Sort::Source));
        }
        self.projects.push(Project { dirs, files: made });
    }

    /// Makes a file, of a length that is usual for its sort.
    pub(super) fn make(&mut self, dir: u32, sort: Sort) -> u32 {
        let random = &mut self.random;
        let length = match sort {
            Sort::Source => 20 + random.below(500),
            Sort::Note | Sort::Settings => 20 + random.below(300),
            Sort::Log => 1,
            Sort::Document => 50_000 + random.below(450_000),
            Sort::Database => (256 << 10) + random.below(1 << 20),
            Sort::Object => (8 << 10) + random.below(96 << 10),
            // From 8 KiB to 2 MiB, the shorter the more often.
            Sort::Fixed => (8 << 10) << random.below(9),
            Sort::Temporary => 10 + random.below(200),
        };
        let seed = random.bits();
        let node = self.pen().journal.head.new_node();
        self.names += 1;
        let file = File::new(node, dir, self.names, sort, length as u32, seed);
        let bind = self.bind(&file, None);
        self.write(&file, vec![bind, self.identity(node)], None);
        self.touched.insert(dir);
        let number = match self.free.pop() {
            Some(number) => {
                self.files[number as usize] = Some(file);
                number
            }
            None => {
                self.files.push(Some(file));
                self.files.len() as u32 - 1
            }
        };
        if self.pending_bytes() > CAPTURED_AT_ONCE {
            self.commit();
        }
        number
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.pending
            .iter()
            .filter_map(|pending| pending.content.as_ref())
            .map(|(_, _, bytes)| bytes.len())
            .sum()
    }

    pub(super) fn bind(&self, file: &File, succeeds: Option<NodeId>) -> Op {
        let dir = self.directory(file.dir).node;
        Op::Bind { dir, name: file.name(), node: file.node, kind: Kind::File, succeeds }
    }

    pub(super) fn unbind(&self, file: &File, why: Unbound) -> Op {
        let dir = self.directory(file.dir).node;
        Op::Unbind { dir, name: file.name(), node: file.node, kind: Kind::File, why }
    }

    pub(super) fn write(&mut self, file: &File, ops: Vec<Op>, previous: Option<NodeId>) {
        self.pending.push(Pending { ops, content: Some((file.node, previous, file.content(&self.lines))) });
    }

    /// Edits a file and saves it, as another node or in place.
    pub(super) fn save(&mut self, number: u32, replaced: bool) {
        let Some(mut file) = self.files.get(number as usize).cloned().flatten() else { return };
        file.edit(&self.lines, &mut self.random);
        let old = file.node;
        let mut ops = Vec::new();
        if replaced {
            let gone = self.unbind(&file, Unbound::Deleted);
            file.node = self.pen().journal.head.new_node();
            ops = vec![gone, self.bind(&file, Some(old)), self.identity(file.node)];
            self.touched.insert(file.dir);
        }
        self.write(&file, ops, Some(old));
        self.files[number as usize] = Some(file);
        self.remember(number);
    }

    pub(super) fn remember(&mut self, number: u32) {
        self.recent.push_back(number);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    pub(super) fn delete(&mut self, number: u32) {
        let Some(file) = self.files.get_mut(number as usize).and_then(Option::take) else { return };
        let gone = self.unbind(&file, Unbound::Deleted);
        self.pending.push(Pending { ops: vec![gone], content: None });
        self.lines.remove(&file);
        self.touched.insert(file.dir);
        self.lost(self.path(&file));
        self.free.push(number);
    }

    /// Remembers a path that is not there any more.
    pub(super) fn lost(&mut self, path: Vec<u8>) {
        self.gone.push_back(path);
        if self.gone.len() > RECENT {
            self.gone.pop_front();
        }
    }

    pub(super) fn rename(&mut self, number: u32) {
        let Some(mut file) = self.files.get(number as usize).cloned().flatten() else { return };
        let gone = self.unbind(&file, Unbound::Moved);
        self.lost(self.path(&file));
        file.renamed += 1;
        let bind = self.bind(&file, None);
        self.pending.push(Pending { ops: vec![gone, bind], content: None });
        self.touched.insert(file.dir);
        self.files[number as usize] = Some(file);
        self.remember(number);
    }

    pub(super) fn rename_directory(&mut self) {
        let project = self.random.below(self.projects.len() as u64) as usize;
        let dirs = self.projects.get(project).map(|project| project.dirs.clone()).unwrap_or_default();
        let Some(number) = self.random.pick(&dirs).copied() else { return };
        self.names += 1;
        let name = format!("renamed{}", self.names);
        let parent = self.directory(number).parent;
        let dir = self.directory(parent).node;
        let Some(moved) = self.dirs.get_mut(number as usize) else { return };
        let old = mem::replace(&mut moved.name, name.clone());
        let (node, kind) = (moved.node, Kind::Dir);
        let ops = vec![
            Op::Unbind { dir, name: old.into_bytes(), node, kind, why: Unbound::Moved },
            Op::Bind { dir, name: name.into_bytes(), node, kind, succeeds: None },
        ];
        self.pending.push(Pending { ops, content: None });
        self.touched.insert(parent);
    }

    /// A project is deleted as a whole, and another one is fetched.
    pub(super) fn replace_project(&mut self) {
        let project = self.random.below(self.projects.len() as u64) as usize;
        let Project { dirs, files } = self.projects.swap_remove(project);
        let top = self.directory(dirs.first().copied().must("a directory")).node;
        let (parent, name) =
            (self.directory(SOURCES).node, self.directory(dirs[0]).name.clone().into_bytes());
        let last = files.first().and_then(|file| self.files.get(*file as usize)).and_then(Option::as_ref);
        if let Some(path) = last.map(|file| self.path(file)) {
            self.lost(path);
        }
        let unbind = Op::Unbind { dir: parent, name, node: top, kind: Kind::Dir, why: Unbound::Deleted };
        self.pending.push(Pending { ops: vec![unbind], content: None });
        let count = files.len() as u64;
        let dirs: BTreeSet<u32> = dirs.into_iter().collect();
        for (number, file) in self.files.iter_mut().enumerate() {
            if let Some(file) = file.take_if(|file| dirs.contains(&file.dir)) {
                self.lines.remove(&file);
                self.free.push(number as u32);
            }
        }
        self.touched.insert(SOURCES);
        self.new_project(count.max(1));
    }

    /// A file's path now.
    pub(super) fn path(&self, file: &File) -> Vec<u8> {
        let (mut parts, mut at) = (vec![file.name()], file.dir);
        while at != 0 {
            let dir = self.directory(at);
            parts.push(dir.name.clone().into_bytes());
            at = dir.parent;
        }
        parts.into_iter().rev().flat_map(|part| [b"/".to_vec(), part].concat()).collect()
    }
}

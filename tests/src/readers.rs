//! Many readers beside a writer that seals, flushes and rebuilds all the time: each command sees one `Seq`, and what it
//! says of a `Seq` it says for ever.
//!
//! The writer works through the library, with tiny segments. Each group gives all of the numbered files one number, and
//! moves a pair of files together to the other of two directories, so that a mix of two states shows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Instant as Timer, SystemTime};

use asof_journal::Error;
use asof_journal::append::Limits;
use asof_journal::head::{Sink, Submission};
use asof_journal::ingest::Ingest;
use asof_journal::open::Journal;
use asof_journal::storage::Layout;
use asof_journal::types::{
    ClockReading, Content, Group, Instant, Kind, Metadata, NodeId, Op, Quality, Seq, Unbound, Version,
};

use crate::must::Must;
use crate::random::Random;
use crate::site::{Site, arguments, remove};
use crate::wait::{PATIENCE, eventually};

/// Files that always hold the same number.
const FILES: usize = 8;
/// The protected directory, as far as the journal knows.
const ROOT: &str = "/numbered";
/// A segment is sealed after so many bytes: every few groups.
const SEGMENT_BYTES: u64 = 48 << 10;
/// The index is lost and rebuilt after so many commits.
const REBUILD_EVERY: u64 = 150;
/// Questions about the past are asked about so many instants, so that each is asked again and again.
const INSTANTS: u64 = 24;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Commands at a time.
    pub readers: usize,
    /// Commands of each reader, one after the other.
    pub commands: usize,
    /// Where the choices begin.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Commands by verb.
    pub commands: BTreeMap<&'static str, u64>,
    /// Groups that were committed meanwhile.
    pub groups: u64,
    /// Segments at the end.
    pub segments: u64,
    /// Times that the index was rebuilt.
    pub rebuilds: u64,
    /// Answers that were asked for before and compared.
    pub repeated: u64,
    /// What was wrong, in words.
    pub violations: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands: u64 = self.commands.values().sum();
        let verbs: Vec<String> =
            self.commands.iter().map(|(verb, count)| format!("{verb} {count}")).collect();
        write!(
            f,
            "{commands} commands ({}) beside {} groups in {} segments with {} rebuilds of the index; {} answers compared \
             with earlier ones; {} violations",
            verbs.join(", "),
            self.groups,
            self.segments,
            self.rebuilds,
            self.repeated,
            self.violations.len()
        )
    }
}

/// What writer and readers share.
#[derive(Default)]
struct Shared {
    /// The last number that is durable; number n is `Seq` n + 1.
    durable: AtomicU64,
    /// The last number that was submitted.
    submitted: AtomicU64,
    over: AtomicBool,
    answers: Mutex<HashMap<String, Vec<u8>>>,
    outcome: Mutex<Outcome>,
}

impl Shared {
    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the plan on a fresh site.
pub fn run(site: &Site, plan: &Plan) -> Outcome {
    let shared = Shared::default();
    let mut writer = Writer::begin(&site.journal);
    writer.number(&shared);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !shared.over.load(Ordering::Relaxed) {
                writer.number(&shared);
            }
            writer
        });
        let readers: Vec<_> = (0..plan.readers)
            .map(|number| {
                let (journal, asof) = (&site.journal, &site.programs.asof);
                let place = site.path(format!("reader-{number}"));
                let shared = &shared;
                fs::create_dir(&place).must(place.display());
                scope.spawn(move || {
                    let mut reader = Reader {
                        journal,
                        asof,
                        place,
                        random: Random::new(plan.seed + number as u64),
                        shared,
                    };
                    for _ in 0..plan.commands {
                        reader.ask();
                    }
                })
            })
            .collect();
        let panicked = readers.into_iter().filter_map(|reader| reader.join().err()).count();
        shared.over.store(true, Ordering::Relaxed);
        drop(writing.join().must("the writer"));
        assert_eq!(panicked, 0, "readers ended in a panic");
    });
    let mut outcome = shared.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome.groups = shared.durable.into_inner();
    let segments = Layout::new(&site.journal).segments();
    outcome.segments = fs::read_dir(&segments).must(segments.display()).count() as u64;
    outcome
}

/// The content of a numbered file.
fn content(file: usize, number: u64) -> Vec<u8> {
    // Long enough for a block of its own, with some of it the same in every version.
    let line = format!("file {file} has number {number}\n");
    let mut content = line.repeat(40).into_bytes();
    content.extend_from_slice("the same for ever\n".repeat(30).as_bytes());
    content
}

/// The number that a numbered file holds; an error says what is wrong with it.
fn number_in(file: usize, bytes: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(bytes);
    let number = text.lines().next().and_then(|line| line.rsplit_once(' ')?.1.parse().ok());
    let number = number.ok_or_else(|| format!("file {file} holds no number: {text:.60}"))?;
    match content(file, number) == bytes {
        true => Ok(number),
        false => Err(format!("file {file} says number {number} and holds something else")),
    }
}

/// The directory that the pair is in with a number.
fn side(number: u64) -> &'static str {
    if number.is_multiple_of(2) { "left" } else { "right" }
}

/// What a tree must be, whichever number it shows; gives the number.
fn check_tree(dir: &Path) -> Result<u64, String> {
    let mut numbers = Vec::new();
    for file in 0..FILES {
        let path = dir.join(format!("file-{file}"));
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        numbers.push(number_in(file, &bytes)?);
    }
    let first = numbers.first().copied().unwrap_or(0);
    if numbers.iter().any(|number| *number != first) {
        return Err(format!("a mix of numbers: {numbers:?}"));
    }
    for name in ["one", "two"] {
        for place in ["left", "right"] {
            let is_there = dir.join(place).join(name).exists();
            if is_there != (place == side(first)) {
                return Err(format!("with number {first} {place}/{name} is there: {is_there}"));
            }
        }
    }
    Ok(first)
}

struct Writer {
    journal: Option<(Journal, mpsc::Receiver<Submission>)>,
    dir: std::path::PathBuf,
    begun: (Timer, SystemTime),
    next: u64,
    commits: u64,
    /// Root, left, right, the pair, the files.
    nodes: Vec<NodeId>,
}

impl Writer {
    fn begin(dir: &Path) -> Writer {
        let begun = (Timer::now(), SystemTime::now());
        let mut writer =
            Writer { journal: None, dir: dir.to_path_buf(), begun, next: 0, commits: 0, nodes: Vec::new() };
        writer.open();
        writer
    }

    fn clock(&self) -> ClockReading {
        let since = self.begun.0.elapsed().as_nanos() as u64;
        let wall = self.begun.1.duration_since(SystemTime::UNIX_EPOCH).must("the time").as_nanos() as u64;
        ClockReading { wall: Instant((wall + since) as i64), boottime_ns: since, boot_id: [7; 16] }
    }

    fn open(&mut self) {
        let limits = Limits { segment_bytes_max: SEGMENT_BYTES, ..Limits::default() };
        // A reader that is just being started has this process's lock until it is a program of its own.
        let journal = eventually(PATIENCE, "the lock of the journal", || {
            match Journal::open(&self.dir, &self.clock(), limits) {
                Err(Error::Locked { .. }) => None,
                opened => Some(opened.must("the journal")),
            }
        });
        let (sender, submitted) = mpsc::channel();
        let sender = Mutex::new(sender);
        let sink: Sink = Box::new(move |submission| {
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
            sender.send(submission).map_err(|_| ())
        });
        journal.head.connect(Some(sink));
        self.journal = Some((journal, submitted));
    }

    /// The next number, as one group, durable when it returns. Now and then the index is lost after it.
    fn number(&mut self, shared: &Shared) {
        let number = self.next;
        self.next += 1;
        let clock = self.clock();
        let (journal, submitted) = self.journal.as_mut().must("an open journal");
        let head = journal.head.clone();
        let mut ops = Vec::new();
        if number == 0 {
            self.nodes = (0..5 + FILES).map(|_| head.new_node()).collect();
            ops.extend(made(&self.nodes));
        } else {
            let at = |place: &str| self.nodes[if place == "left" { 1 } else { 2 }];
            for (name, node) in [("one", self.nodes[3]), ("two", self.nodes[4])] {
                let (from, to) = (at(side(number - 1)), at(side(number)));
                let (name, kind) = (name.as_bytes().to_vec(), Kind::File);
                ops.push(Op::Unbind { dir: from, name: name.clone(), node, kind, why: Unbound::Moved });
                ops.push(Op::Bind { dir: to, name, node, kind, succeeds: None });
            }
        }
        let mut ingest = Ingest::new(&head);
        for (file, node) in self.nodes[5..].iter().enumerate() {
            let bytes = content(file, number);
            let previous = head.view().version(*node).must("a version").map(|at| at.version);
            let stored = ingest.store(&mut &bytes[..], previous.as_ref()).must("content");
            ops.push(Op::Version { node: *node, version: version(Kind::File, stored.content, stored.size) });
        }
        ingest.submit(Group { ops, ..Group::default() }).must("a group");
        shared.submitted.store(number, Ordering::SeqCst);
        ingest.flush().must("a group");
        while let Ok(submission) = submitted.try_recv() {
            journal.appender.stage(submission);
        }
        let mark = journal.appender.commit(&clock, None).must("a commit").must("something to commit");
        assert_eq!(mark.seq, Seq(number + 1), "a group is one Seq");
        shared.durable.store(number, Ordering::SeqCst);
        self.commits += 1;
        // The index is not closed while somebody has it.
        drop(ingest);
        drop(head);
        if self.commits.is_multiple_of(REBUILD_EVERY) {
            self.lose_index(shared);
        }
    }

    /// Closes the journal, loses the index, and opens it again: it is rebuilt, beside the readers.
    fn lose_index(&mut self, shared: &Shared) {
        let clock = self.clock();
        let (journal, _) = self.journal.take().must("an open journal");
        let Journal { head, appender, compactor, .. } = journal;
        appender.close(&clock).must("closing");
        drop((head, compactor));
        let current = Layout::new(&self.dir).index().join("CURRENT");
        fs::remove_file(&current).must(current.display());
        self.open();
        let rebuilt = self.journal.as_ref().and_then(|(journal, _)| journal.report.rebuilt.as_ref());
        rebuilt.must("the index to be rebuilt");
        shared.outcome().rebuilds += 1;
    }
}

/// The first group: directories, the pair, the files.
fn made(nodes: &[NodeId]) -> Vec<Op> {
    let bind = |dir: NodeId, name: &str, node: NodeId, kind| Op::Bind {
        dir,
        name: name.as_bytes().to_vec(),
        node,
        kind,
        succeeds: None,
    };
    let root = nodes[0];
    let mut ops = vec![
        bind(NodeId::ROOT, ROOT.trim_start_matches('/'), root, Kind::Dir),
        bind(root, "left", nodes[1], Kind::Dir),
        bind(root, "right", nodes[2], Kind::Dir),
        bind(nodes[1], "one", nodes[3], Kind::File),
        bind(nodes[1], "two", nodes[4], Kind::File),
    ];
    ops.extend(
        nodes[5..]
            .iter()
            .enumerate()
            .map(|(file, node)| bind(root, &format!("file-{file}"), *node, Kind::File)),
    );
    for dir in &nodes[..3] {
        ops.push(Op::Version { node: *dir, version: version(Kind::Dir, Content::None, 0) });
    }
    for node in &nodes[3..5] {
        ops.push(Op::Version {
            node: *node,
            version: version(Kind::File, Content::Inline(b"pair".to_vec()), 4),
        });
    }
    ops
}

fn version(kind: Kind, content: Content, size: u64) -> Version {
    let meta = Metadata {
        kind,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Instant(1_700_000_000_000_000_000),
        ctime: Instant(1_700_000_000_000_000_000),
        size,
        ino: 5,
        rdev: 0,
        xattrs: Vec::new(),
    };
    Version { meta, content, quality: Quality::Clean, racy: false }
}

struct Reader<'r> {
    journal: &'r Path,
    asof: &'r Path,
    place: std::path::PathBuf,
    random: Random,
    shared: &'r Shared,
}

impl Reader<'_> {
    fn ask(&mut self) {
        let before = self.shared.durable.load(Ordering::SeqCst);
        let (verb, checked) = match self.random.below(6) {
            0 => ("ls", self.list(before)),
            1 => {
                let until = self.instant(before);
                ("log", self.same_for_ever(&["--json", "log", "--until", &until]))
            }
            2 => {
                let (one, other) = (self.past(before), self.past(before));
                let (from, to) =
                    (format!("seq:{}", one.min(other) + 1), format!("seq:{}", one.max(other) + 1));
                ("diff", self.same_for_ever(&["--json", "diff", ROOT, "--from", &from, "--to", &to]))
            }
            3 => ("cat", self.cat(before)),
            4 => ("restore", self.restore(before, None)),
            _ => {
                let number = self.past(before);
                ("restore", self.restore(before, Some(number)))
            }
        };
        let mut outcome = self.shared.outcome();
        *outcome.commands.entry(verb).or_default() += 1;
        if let Err(what) = checked {
            outcome.violations.push(format!("{verb}: {what}"));
        }
    }

    /// One of a few numbers of the past, which are asked for again and again.
    fn past(&mut self, durable: u64) -> u64 {
        let step = (durable / INSTANTS).next_power_of_two();
        self.random.below(durable / step + 1) * step
    }

    fn instant(&mut self, durable: u64) -> String {
        format!("seq:{}", self.past(durable) + 1)
    }

    fn run(&self, words: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = std::process::Command::new(self.asof);
        command.arg("--journal").arg(self.journal).args(words).env("TZ", "UTC");
        let output = command.output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => {
                Err(format!("{words:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
            }
        }
    }

    /// An answer about the past: the same bytes as whenever somebody asked before.
    fn same_for_ever(&self, words: &[&str]) -> Result<(), String> {
        let answer = self.run(words)?;
        if answer.is_empty() && words.contains(&"log") {
            return Err(format!("{words:?}: no answer"));
        }
        let mut answers = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.get(&words.join(" ")) {
            Some(before) if *before != answer => Err(format!("{words:?}: another answer than before")),
            Some(_) => {
                self.shared.outcome().repeated += 1;
                Ok(())
            }
            None => {
                answers.insert(words.join(" "), answer);
                Ok(())
            }
        }
    }

    fn list(&mut self, before: u64) -> Result<(), String> {
        let number = self.past(before);
        let at = format!("seq:{}", number + 1);
        let words = ["ls", "-R", ROOT, "--at", &at];
        let listed = String::from_utf8_lossy(&self.run(&words)?).into_owned();
        for place in ["left", "right"] {
            for name in ["one", "two"] {
                let is_there = listed.contains(&format!("{place}/{name}"));
                if is_there != (place == side(number)) {
                    return Err(format!("at number {number} {place}/{name} is there: {is_there}\n{listed}"));
                }
            }
        }
        self.same_for_ever(&words)
    }

    fn cat(&mut self, before: u64) -> Result<(), String> {
        let file = self.random.below(FILES as u64) as usize;
        let bytes = self.run(&["cat", &format!("{ROOT}/file-{file}")])?;
        self.is_new_enough(before, number_in(file, &bytes)?)
    }

    /// What was durable before the command began it must see, and nothing that was not submitted when it ended.
    fn is_new_enough(&self, before: u64, number: u64) -> Result<(), String> {
        let after = self.shared.submitted.load(Ordering::SeqCst);
        match (before..=after).contains(&number) {
            true => Ok(()),
            false => Err(format!("number {number} is shown, where {before} to {after} would be right")),
        }
    }

    fn restore(&mut self, before: u64, number: Option<u64>) -> Result<(), String> {
        let target = self.place.join("restored");
        let mut words = arguments(&[&"restore", &ROOT, &"--to", &target]);
        if let Some(number) = number {
            words.extend(arguments(&[&"--at", &format!("seq:{}", number + 1)]));
        }
        let words: Vec<&str> = words.iter().map(|word| word.to_str().must("a path in UTF-8")).collect();
        self.run(&words)?;
        let seen = check_tree(&target)?;
        remove(&target);
        match number {
            Some(number) if number != seen => Err(format!("number {seen} is shown at number {number}")),
            Some(_) => Ok(()),
            None => self.is_new_enough(before, seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_of_two_states_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        for place in ["left", "right"] {
            fs::create_dir(dir.path().join(place)).unwrap();
        }
        for file in 0..FILES {
            put(&format!("file-{file}"), &content(file, 4));
        }
        put("left/one", b"pair");
        put("left/two", b"pair");
        assert_eq!(check_tree(dir.path()), Ok(4));
        put("file-3", &content(3, 5));
        assert!(check_tree(dir.path()).unwrap_err().contains("mix"));
        put("file-3", &content(2, 4));
        assert!(check_tree(dir.path()).unwrap_err().contains("something else"));
        put("file-3", &content(3, 4));
        fs::rename(dir.path().join("left/two"), dir.path().join("right/two")).unwrap();
        assert!(check_tree(dir.path()).is_err());
    }
}

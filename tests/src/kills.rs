//! `kill -9` again and again while a tree changes: every `sync` that was acknowledged is restored exactly at the end.
//!
//! One writer changes a small tree and asks for a `sync` after each change; what it had then goes into a log outside of
//! the journal. Beside it a storm gives the agent something to do, and the agent is killed at random moments: while it
//! starts, while it rebuilds its index, while it compares everything, while it captures.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use asof_journal::storage::Layout;
use serde_json::Value;

use crate::agent::Agent;
use crate::must::Must;
use crate::random::Random;
use crate::site::{Site, remove};
use crate::wait::quiet;

/// Files of the tree that is checked.
const FILES: u64 = 24;
/// The longest file of it: several blocks.
const FILE_BYTES_MAX: u64 = 700 << 10;
/// One in so many starts finds its index gone.
const INDEX_LOST: u64 = 16;

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often the agent is killed.
    pub kills: u64,
    /// Where the choices begin.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Kills of an agent that had not begun yet: its socket was not there.
    pub killed_opening: u64,
    /// Kills of one that had not compared everything.
    pub killed_comparing: u64,
    /// Kills of one that protected everything.
    pub killed_protecting: u64,
    /// Starts that had to rebuild the index.
    pub rebuilds: u64,
    /// Syncs that were acknowledged.
    pub acknowledged: u64,
    /// Those that were asked for and had no answer.
    pub unanswered: u64,
    /// Acknowledged syncs that did not come back exactly, in words.
    pub lost: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills ({} while opening, {} while comparing, {} while protecting; {} starts without an index): {} \
             acknowledged syncs, all restored; {} without an answer; {} lost",
            self.killed_opening + self.killed_comparing + self.killed_protecting,
            self.killed_opening,
            self.killed_comparing,
            self.killed_protecting,
            self.rebuilds,
            self.acknowledged,
            self.unanswered,
            self.lost.len()
        )
    }
}

/// A sync that was acknowledged.
struct Acknowledged {
    at: String,
    checksum: u64,
}

/// Runs the plan on a fresh site.
pub fn run(site: &Site, plan: &Plan) -> Outcome {
    let mut random = Random::new(plan.seed);
    let (checked, storm) = (site.root.join("checked"), site.root.join("storm"));
    for dir in [&checked, &storm] {
        fs::create_dir(dir).must(dir.display());
    }
    let mut outcome = Outcome::default();
    let over = AtomicBool::new(false);
    let (choices, weather) = (Random::new(random.bits()), Random::new(random.bits()));
    let acknowledged = thread::scope(|scope| {
        let writer = Writer {
            asof: site.programs.asof.clone(),
            journal: site.journal.clone(),
            log: site.path("acknowledged.log"),
        };
        let (tree, until) = (&checked, &over);
        let writing = scope.spawn(move || writer.write_and_sync(tree, choices, until));
        let windy = &storm;
        scope.spawn(move || blow(windy, weather, until));
        for _ in 0..plan.kills {
            one_kill(site, &mut random, &mut outcome);
        }
        over.store(true, Ordering::Relaxed);
        // What it asked for last may wait for an agent that is dead.
        let last = site.start();
        let written = writing.join().must("the writer");
        last.kill9();
        written
    });
    (outcome.acknowledged, outcome.unanswered) = (acknowledged.0.len() as u64, acknowledged.1);
    // In part without an agent, in part beside one.
    let half = acknowledged.0.len() / 2;
    for one in &acknowledged.0[..half] {
        outcome.lost.extend(check(site, &checked, one).err());
    }
    let agent = site.start();
    for one in &acknowledged.0[half..] {
        outcome.lost.extend(check(site, &checked, one).err());
    }
    agent.terminate();
    outcome
}

fn one_kill(site: &Site, random: &mut Random, outcome: &mut Outcome) {
    let index = Layout::new(&site.journal).index();
    if random.below(INDEX_LOST) == 0 && index.exists() {
        fs::remove_dir_all(&index).must(index.display());
        outcome.rebuilds += 1;
    }
    // A socket that is left over is replaced by another one.
    let socket = || {
        let meta = fs::symlink_metadata(Layout::new(&site.journal).socket()).ok()?;
        Some((meta.ino(), meta.ctime(), meta.ctime_nsec()))
    };
    let left = socket();
    let agent = Agent::start(site, &[]);
    // A third in the first moments, the rest at any time of some hundreds of milliseconds.
    let ms = if random.below(3) == 0 { random.below(60) } else { 60 + random.below(900) };
    quiet(Duration::from_millis(ms));
    let has_begun = socket().is_some_and(|now| Some(now) != left);
    let has_compared = agent.log().contains("compared and durable");
    agent.kill9();
    match (has_begun, has_compared) {
        (_, true) => outcome.killed_protecting += 1,
        (true, false) => outcome.killed_comparing += 1,
        (false, false) => outcome.killed_opening += 1,
    }
}

/// Who changes the tree and asks for syncs.
struct Writer {
    asof: PathBuf,
    journal: PathBuf,
    /// The log of what was acknowledged.
    log: PathBuf,
}

impl Writer {
    /// Changes the tree, asks for a sync, notes what it was if that is acknowledged; until it is over. Gives also how
    /// many were not.
    fn write_and_sync(self, dir: &Path, mut random: Random, over: &AtomicBool) -> (Vec<Acknowledged>, u64) {
        let mut log = File::create(&self.log).must(self.log.display());
        let (mut acknowledged, mut unanswered) = (Vec::new(), 0);
        while !over.load(Ordering::Relaxed) {
            for _ in 0..1 + random.below(6) {
                change(dir, &mut random);
            }
            let checksum = checksum(dir);
            match self.sync() {
                Some(at) => {
                    writeln!(log, "{at} {checksum:016x}").must(self.log.display());
                    acknowledged.push(Acknowledged { at, checksum });
                }
                None => unanswered += 1,
            }
        }
        (acknowledged, unanswered)
    }

    /// One sync; `None` where the agent is not there, or is killed before it answers.
    fn sync(&self) -> Option<String> {
        let mut asof = Command::new(&self.asof);
        asof.arg("--journal").arg(&self.journal).args(["--json", "sync", "--timeout", "5s"]);
        let output = asof.stdin(Stdio::null()).output().must("asof sync");
        if !output.status.success() {
            // Nobody there: not all the time of the machine goes into asking.
            quiet(Duration::from_millis(2));
            return None;
        }
        let json: Value = serde_json::from_slice(&output.stdout).must("JSON of sync");
        Some(json["at"].as_str().must("at").to_string())
    }
}

fn change(dir: &Path, random: &mut Random) {
    let path = |number: u64| dir.join(format!("d{}", number % 5)).join(format!("file-{number}"));
    let (one, other) = (path(random.below(FILES)), path(random.below(FILES)));
    for at in [&one, &other] {
        let parent = at.parent().must("a directory");
        fs::create_dir_all(parent).must(parent.display());
    }
    let bytes = match random.below(4) {
        0 => random.below(FILE_BYTES_MAX),
        _ => random.below(4 << 10),
    };
    let content = random.bytes(bytes as usize);
    match random.below(6) {
        0 => drop(fs::remove_file(&one)),
        1 => drop(fs::rename(&one, &other)),
        2 => {
            let new = one.with_extension("new");
            fs::write(&new, content).and_then(|()| fs::rename(&new, &one)).must(one.display());
        }
        3 => {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&one).must(one.display());
            file.write_all(&content).must(one.display());
        }
        _ => fs::write(&one, content).must(one.display()),
    }
}

/// Gives the agent something to do; nobody looks at it afterwards.
fn blow(dir: &Path, mut random: Random, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let sub = dir.join(format!("s{}", random.below(20)));
        let _ = fs::create_dir(&sub);
        for number in 0..random.below(30) {
            let len = random.below(8 << 10) as usize;
            let _ = fs::write(sub.join(format!("f{number}")), random.bytes(len));
        }
        if random.below(3) == 0 {
            let _ = fs::remove_dir_all(&sub);
        }
        quiet(Duration::from_millis(10));
    }
}

/// Of everything below a directory: names, types, modes, times and bytes.
fn checksum(dir: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (path, (meta, content)) in tree(dir) {
        (path.strip_prefix(dir).must("below").to_path_buf(), meta, content).hash(&mut hasher);
    }
    hasher.finish()
}

type Seen = BTreeMap<PathBuf, ((u32, i64, i64), Vec<u8>)>;

fn tree(dir: &Path) -> Seen {
    let mut all = Seen::new();
    let mut queue = vec![dir.to_path_buf()];
    while let Some(path) = queue.pop() {
        let meta = fs::symlink_metadata(&path).must(path.display());
        let mut content = Vec::new();
        if meta.is_dir() {
            let entries = fs::read_dir(&path).must(path.display());
            queue.extend(entries.map(|entry| entry.must(path.display()).path()));
        } else {
            content = fs::read(&path).must(path.display());
        }
        all.insert(path, ((meta.mode(), meta.mtime(), meta.mtime_nsec()), content));
    }
    all
}

fn check(site: &Site, dir: &Path, one: &Acknowledged) -> Result<(), String> {
    let target = site.fresh("acknowledged");
    let mut asof = Command::new(&site.programs.asof);
    asof.arg("--journal")
        .arg(&site.journal)
        .arg("restore")
        .arg(dir)
        .args(["--at", &one.at, "--to"])
        .arg(&target);
    let output = asof.output().must("asof restore");
    if !output.status.success() {
        return Err(format!("{}: {}", one.at, String::from_utf8_lossy(&output.stderr)));
    }
    let found = checksum(&target);
    remove(&target);
    match found == one.checksum {
        true => Ok(()),
        false => Err(format!("{}: {:016x} was acknowledged, {found:016x} comes back", one.at, one.checksum)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_changes_the_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut seen = std::collections::BTreeSet::new();
        let mut is_new = |what: &str| assert!(seen.insert(checksum(dir.path())), "{what}");
        is_new("nothing in it");
        fs::write(&path, "one").unwrap();
        is_new("a file");
        fs::write(&path, "two").unwrap();
        is_new("another content");
        fs::rename(&path, dir.path().join("other")).unwrap();
        is_new("another name");
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        File::options().write(true).open(dir.path().join("other")).unwrap().set_times(times).unwrap();
        is_new("another time");
    }
}

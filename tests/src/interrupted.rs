//! Restores that are interrupted at random moments, by SIGINT and SIGKILL: what is there then is whole, old or new, and the
//! same command again finishes the job; or `undo` takes back what was done.
//!
//! Three ways to restore take turns: to a directory that is not there, over one that has other content, and in place. Both
//! states of the tree are known byte by byte, so that every file that is found can be judged.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use asof_journal::reader::Reader;
use rustix::process::{Pid, Signal};

use crate::copy;
use crate::must::Must;
use crate::oracle;
use crate::random::Random;
use crate::site::{Site, Synced, arguments, remove};
use crate::wait::quiet;

/// Directories of the tree, and files of each.
const DIRS: u64 = 12;
const FILES_EACH: u64 = 14;
/// Inline, one block, and several.
const SIZES: [u64; 4] = [300, 20_000, 200_000, 1_500_000];
/// How a name begins that is not complete yet.
const TEMPORARY: &str = ".asof-";

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often a restore is interrupted.
    pub times: u64,
    /// Where the choices begin.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Restores that were begun, by way and signal.
    pub begun: BTreeMap<String, u64>,
    /// Those that the signal met alive.
    pub interrupted: u64,
    /// Those after which some files were old and some were new.
    pub between: u64,
    /// Those that left something under a temporary name.
    pub left_over: u64,
    /// Those that the same command finished.
    pub repeated: u64,
    /// Those that were taken back.
    pub undone: u64,
    /// What was not as it has to be, in words.
    pub wrong: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.begun {
            write!(f, "{count} {what}, ")?;
        }
        write!(
            f,
            "{} met alive, {} of them between old and new, {} with something under a temporary name; {} finished by the \
             same command, {} taken back by undo; {} wrong",
            self.interrupted,
            self.between,
            self.left_over,
            self.repeated,
            self.undone,
            self.wrong.len()
        )
    }
}

/// How a restore is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    ToNew,
    Over,
    InPlace,
}

const WAYS: [Way; 3] = [Way::ToNew, Way::Over, Way::InPlace];

/// Both states of the tree.
struct States {
    then: Synced,
    then_copy: PathBuf,
    now: Synced,
    now_copy: PathBuf,
}

/// Runs the plan on a fresh site.
pub fn run(site: &Site, plan: &Plan) -> Outcome {
    let mut random = Random::new(plan.seed);
    let mut outcome = Outcome::default();
    let agent = site.start();
    let states = prepare(site, &mut random);
    let mut took = BTreeMap::new();
    for way in WAYS {
        let begun = Instant::now();
        let target = site.fresh("whole");
        start_from(way, &states, &target);
        let status = start(site, way, &states, &target).wait().must("a restore");
        assert!(status.success(), "{way:?} without a signal: {status}");
        took.insert(way, begun.elapsed());
        clean_up(site, way, &states, &target);
    }
    for number in 0..plan.times {
        let way = WAYS[number as usize % WAYS.len()];
        let signal = if random.below(2) == 0 { Signal::INT } else { Signal::KILL };
        let takes_back = way == Way::InPlace && random.below(2) == 0;
        let longest = took.get(&way).copied().unwrap_or_default();
        let delay = longest.mul_f64(random.below(1000) as f64 / 1000.0);
        let named = if signal == Signal::INT { "SIGINT" } else { "SIGKILL" };
        *outcome.begun.entry(format!("{way:?} {named}")).or_default() += 1;
        let wrong = once(site, way, signal, delay, takes_back, &states, &mut outcome);
        outcome
            .wrong
            .extend(wrong.into_iter().map(|what| format!("number {number}, {way:?} {named}: {what}")));
    }
    agent.terminate();
    outcome
}

/// One restore and what follows; says what is wrong.
fn once(
    site: &Site,
    way: Way,
    signal: Signal,
    delay: Duration,
    takes_back: bool,
    states: &States,
    outcome: &mut Outcome,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let target = site.fresh("target");
    start_from(way, states, &target);
    let recorded = restores(site);
    let mut child = start(site, way, states, &target);
    quiet(delay);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).must("a process id");
    let was_alive = child.try_wait().must("a restore").is_none();
    if was_alive {
        rustix::process::kill_process(pid, signal).must("a signal");
    }
    let status = child.wait().must("a restore");
    if let Some(what) = unexpected(status, signal) {
        wrong.push(what);
    }
    let place = if way == Way::InPlace { &site.root } else { &target };
    let ended = judge(place, way, states, &mut wrong);
    let is_interrupted = was_alive && !status.success();
    outcome.interrupted += u64::from(is_interrupted);
    outcome.between += u64::from(is_interrupted && ended.old > 0 && ended.new > 0);
    outcome.left_over += u64::from(has_temporary(&target, place));

    if takes_back && restores(site) > recorded {
        site.asof(["undo", "--yes"]).exits(0);
        compare(&states.now_copy, &site.root, "after the undo", &mut wrong);
        outcome.undone += 1;
    } else if way == Way::ToNew && target.exists() {
        // The signal came too late: a target that appears is complete.
        compare(&states.then_copy, &target, "when it has its name", &mut wrong);
    } else {
        let again = start(site, way, states, &target).wait().must("the repeat");
        if !again.success() {
            wrong.push(format!("the repeat ended with {again}"));
        }
        match way {
            Way::Over => judge_all_restored(&target, states, &mut wrong),
            _ => compare(&states.then_copy, place, "after the repeat", &mut wrong),
        }
        outcome.repeated += 1;
    }
    if has_temporary(&target, place) {
        wrong.push("something has a temporary name still".into());
    }
    clean_up(site, way, states, &target);
    wrong
}

fn unexpected(status: ExitStatus, signal: Signal) -> Option<String> {
    let is_fine = match signal {
        Signal::INT => status.success() || status.code() == Some(130) || status.signal() == Some(2),
        _ => status.success() || status.signal() == Some(9),
    };
    (!is_fine).then(|| format!("the restore ended with {status}"))
}

/// How many restores in place are recorded.
fn restores(site: &Site) -> usize {
    let reader = Reader::open(&site.journal).must("the journal");
    reader.restores().must("the restores").len()
}

fn start(site: &Site, way: Way, states: &States, target: &Path) -> Child {
    let root = &site.root;
    let mut all: Vec<OsString> = arguments(&[&"-q", &"restore", root, &"--at", &states.then.at]);
    all.extend(match way {
        Way::ToNew => arguments(&[&"--to", &target]),
        Way::Over => arguments(&[&"--to", &target, &"--overwrite", &"always"]),
        Way::InPlace => arguments(&[&"--in-place", &"--exact", &"--yes"]),
    });
    let mut command = Command::new(&site.programs.asof);
    command.arg("--journal").arg(&site.journal).args(all);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().must("asof restore")
}

/// What a restore begins with.
fn start_from(way: Way, states: &States, target: &Path) {
    if way == Way::Over {
        copy::copy(&states.now_copy, target);
    }
}

/// Puts everything back for the next one.
fn clean_up(site: &Site, way: Way, states: &States, target: &Path) {
    if way == Way::InPlace {
        let now = arguments(&[
            &"-q",
            &"restore",
            &site.root,
            &"--at",
            &states.now.at,
            &"--in-place",
            &"--exact",
            &"-y",
        ]);
        site.asof(now).exits(0);
    } else if target.exists() {
        remove(target);
    }
}

/// Makes the tree as it is to be restored, and as it is found.
fn prepare(site: &Site, random: &mut Random) -> States {
    for (path, size) in files() {
        let path = site.root.join(path);
        fs::create_dir_all(path.parent().must("a directory")).must(path.display());
        fs::write(&path, random.bytes(size as usize)).must(path.display());
    }
    fs::hard_link(site.root.join("d0/f0"), site.root.join("d1/link")).must("a link");
    std::os::unix::fs::symlink("f1", site.root.join("d0/symlink")).must("a symlink");
    let then = site.sync();
    let then_copy = site.fresh("then");
    copy::copy(&site.root, &then_copy);
    for (number, (path, size)) in files().enumerate() {
        let path = site.root.join(path);
        match number % 5 {
            // What is not there any more, what is there as it was, and what has changed.
            0 => fs::remove_file(&path).must(path.display()),
            1 => {}
            _ => fs::write(&path, random.bytes(size as usize + number)).must(path.display()),
        }
        if number % 7 == 0 {
            let added = path.with_extension("added");
            fs::write(&added, random.bytes(30_000)).must(added.display());
        }
    }
    let now = site.sync();
    let now_copy = site.fresh("now");
    copy::copy(&site.root, &now_copy);
    States { then, then_copy, now, now_copy }
}

fn files() -> impl Iterator<Item = (PathBuf, u64)> {
    (0..DIRS).flat_map(|dir| {
        (0..FILES_EACH).map(move |file| {
            let size = SIZES[((dir + file) % SIZES.len() as u64) as usize];
            (PathBuf::from(format!("d{dir}/f{file}")), size + file)
        })
    })
}

/// How many files are as they were, and how many as they are to be.
#[derive(Default)]
struct Ended {
    old: u64,
    new: u64,
}

/// Looks at every file of a place where a restore has ended in whatever way.
fn judge(place: &Path, way: Way, states: &States, wrong: &mut Vec<String>) -> Ended {
    let mut ended = Ended::default();
    if !place.exists() {
        if way != Way::ToNew {
            wrong.push("the place is gone".into());
        }
        return ended;
    }
    for path in oracle::paths_below(place) {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        let full = place.join(path);
        let is_file = fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_file());
        let is_temporary = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY));
        if !is_file || is_temporary {
            continue;
        }
        let found = fs::read(&full).must(full.display());
        let known = |copy: &Path| fs::read(copy.join(path)).ok();
        let (then, now) = (known(&states.then_copy), known(&states.now_copy));
        let (is_new, is_old) = (then.as_ref() == Some(&found), now.as_ref() == Some(&found));
        match (is_new, is_old, way) {
            (true, true, _) => {}
            (true, false, _) => ended.new += 1,
            (false, true, Way::Over | Way::InPlace) => ended.old += 1,
            _ => wrong.push(format!("{} is neither old nor new: {} bytes", path.display(), found.len())),
        }
    }
    // What is in both states is there, whatever happened.
    for (path, _) in files() {
        let in_both = states.then_copy.join(&path).exists() && states.now_copy.join(&path).exists();
        if in_both && !place.join(&path).exists() {
            wrong.push(format!("{} is gone", path.display()));
        }
    }
    ended
}

/// Over another tree nothing is deleted; all that is restored has to be there.
fn judge_all_restored(place: &Path, states: &States, wrong: &mut Vec<String>) {
    for (path, _) in files() {
        let read = |copy: &Path| fs::read(copy.join(&path)).ok();
        if read(place) != read(&states.then_copy) {
            wrong.push(format!("{} is not restored", path.display()));
        }
    }
}

fn compare(expected: &Path, actual: &Path, when: &str, wrong: &mut Vec<String>) {
    let differences = oracle::compare(expected, actual);
    wrong.extend(differences.iter().take(3).map(|difference| format!("{when}: {difference}")));
}

/// Whether something below a place, or beside a target, has a temporary name.
fn has_temporary(target: &Path, place: &Path) -> bool {
    let beside = fs::read_dir(target.parent().must("a directory")).must("beside the target");
    let is_temporary = |name: &str| name.starts_with(TEMPORARY);
    let mut beside = beside.flatten().map(|entry| entry.file_name());
    let below = |path: Vec<u8>| String::from_utf8_lossy(&path).split('/').any(is_temporary);
    beside.any(|name| is_temporary(&name.to_string_lossy()))
        || place.exists() && oracle::paths_below(place).into_iter().any(below)
}

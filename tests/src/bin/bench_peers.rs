//! asof beside other backup programs on one tree in one run: a table of figures, ratios and targets.
//!
//! Run by `make bench-peers TREE=...`. The page cache is warm for everybody, the steps come in the same order, what
//! earlier steps left to write is written before a clock starts, and nothing that fails or is missing is left out in silence.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use asof_journal::control::State;
use asof_journal::storage::Layout;
use asof_tests::control::Control;
use asof_tests::measure::{Cost, level, peak_memory_of, run, show_bytes, show_seconds};
use asof_tests::must::Must;
use asof_tests::peers::{PEERS, Peer, Place};
use asof_tests::programs::Programs;
use asof_tests::random::Random;
use asof_tests::report::{Column, Extra, report};
use asof_tests::saves::saves;
use asof_tests::site::{occupied_bytes, remove};
use asof_tests::wait::eventually;
use asof_tests::{copy, oracle};

/// Restores of everything of which the fastest counts, for every program alike.
const RESTORES: usize = 3;

/// Saves of one small file for the latency.
const SAVES: usize = 500;

/// The text file that is edited has about this size.
const TEXT_BYTES: u64 = 700_000;

/// Longer than any step may take.
const DEADLINE: Duration = Duration::from_secs(3600);

struct Bench {
    scratch: PathBuf,
    tree: PathBuf,
    text: PathBuf,
    log: PathBuf,
    edits: u32,
    places: u32,
}

fn main() -> ExitCode {
    let Some(tree) = std::env::var_os("TREE")
        .filter(|tree| !tree.is_empty())
        .map(PathBuf::from)
        .filter(|tree| tree.is_dir())
    else {
        eprintln!(
            "say which tree: `make bench-peers TREE=/path/to/linux-source-6.1`; SCRATCH=DIR for where to work"
        );
        return ExitCode::from(2);
    };
    let scratch = std::env::var_os("SCRATCH")
        .filter(|dir| !dir.is_empty())
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("asof-bench-").tempdir_in(&scratch).must(scratch.display());
    let mut bench = Bench::prepare(&tree, dir.path());

    println!("asof:");
    let (asof, extra) = bench.asof();
    let mut columns = vec![asof];
    for peer in PEERS {
        if peer.is_installed() {
            println!("{}: {}", peer.name(), peer.version());
            columns.push(bench.peer(peer));
        } else {
            println!("{}: not installed, not compared", peer.name());
            columns.push(Column {
                name: peer.name().into(),
                problem: Some("not installed".into()),
                ..Column::default()
            });
        }
    }
    report(&columns, &extra);
    let whole = extra.differences == 0
        && columns.iter().all(|column| column.problem.as_deref().is_none_or(|p| p == "not installed"));
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Bench {
    fn prepare(source: &Path, scratch: &Path) -> Bench {
        let tree = scratch.join("tree");
        copy::copy(source, &tree);
        let text = text_file(&tree).unwrap_or_else(|| {
            let path = tree.join("asof-bench-text");
            fs::write(&path, Random::new(1).text(TEXT_BYTES as usize)).must(path.display());
            println!("the tree has no text of 500 to 900 KB: {} was added", path.display());
            path
        });
        let census = oracle::census(&tree);
        println!(
            "{}: {} files, {} directories, {}; edited text: {} ({} bytes)",
            source.display(),
            census.files,
            census.dirs,
            show_bytes(census.bytes as f64),
            text.strip_prefix(&tree).unwrap_or(&text).display(),
            fs::metadata(&text).map_or(0, |meta| meta.len())
        );
        Bench { scratch: scratch.into(), tree, text, log: scratch.join("log"), edits: 0, places: 0 }
    }

    /// A directory that is not there yet.
    fn fresh(&mut self, what: &str) -> PathBuf {
        self.places += 1;
        self.scratch.join(format!("{what}-{}", self.places))
    }

    /// Puts one more line into the middle of the text, in place.
    fn edit(&mut self) {
        self.edits += 1;
        let mut text = fs::read(&self.text).must(self.text.display());
        let middle = text.len() / 2;
        let at = middle + text[middle..].iter().position(|&byte| byte == b'\n').map_or(0, |found| found + 1);
        text.splice(at..at, format!("/* line {} of the bench */\n", self.edits).into_bytes());
        fs::write(&self.text, text).must(self.text.display());
    }

    fn peer(&mut self, peer: Peer) -> Column {
        let mut column = Column { name: peer.name().into(), ..Column::default() };
        let place = Place { store: self.fresh("store"), home: self.fresh("home"), tree: self.tree.clone() };
        fs::create_dir(&place.home).must(place.home.display());
        if let Err(problem) = self.peer_steps(peer, &place, &mut column) {
            println!("  FAILED: {problem}");
            column.problem = Some(problem);
        }
        for dir in [&place.store, &place.home] {
            if dir.exists() {
                remove(dir);
            }
        }
        column
    }

    fn peer_steps(&mut self, peer: Peer, place: &Place, column: &mut Column) -> Result<(), String> {
        level(&self.tree);
        let mut first = Cost::default();
        for mut command in peer.init(place).into_iter().chain([peer.save(place, 1)]) {
            let cost = run(&mut command, &self.log)?;
            first.seconds += cost.seconds;
            first.rss_bytes_max = first.rss_bytes_max.max(cost.rss_bytes_max);
        }
        column.first = told("first capture", first.seconds);
        let mut memory = first.rss_bytes_max;
        let mut generation = 1;
        if peer.has_history() {
            level(&self.tree);
            let cost = run(&mut peer.save(place, 2), &self.log)?;
            column.unchanged = told("no change", cost.seconds);
            memory = memory.max(cost.rss_bytes_max);
            rustix::fs::sync();
            let before = occupied_bytes(&place.store);
            let start = Instant::now();
            self.edit();
            let cost = run(&mut peer.save(place, 3), &self.log)?;
            column.edit = told("one-line edit", start.elapsed().as_secs_f64());
            rustix::fs::sync();
            column.edit_store = Some(occupied_bytes(&place.store) as f64 - before as f64);
            memory = memory.max(cost.rss_bytes_max);
            generation = 3;
        }
        column.memory_save = Some(memory as f64);
        let into = self.fresh("restored");
        let all = best_of(RESTORES, || {
            if into.exists() {
                remove(&into);
            }
            fs::create_dir(&into).must(into.display());
            level(&place.store);
            run(&mut peer.restore_all(place, generation, &into), &self.log)
        })?;
        column.restore_all = told("restore of everything", all.seconds);
        let (expected, found) = (oracle::census(&self.tree), oracle::census(&into));
        remove(&into);
        if (expected.files, expected.bytes) != (found.files, found.bytes) {
            return Err(format!("gave back {} files instead of {}", found.files, expected.files));
        }
        fs::create_dir(&into).must(into.display());
        rustix::fs::sync();
        let one = run(&mut peer.restore_one(place, generation, &self.text, &into), &self.log)?;
        column.restore_one = told("restore of one file", one.seconds);
        remove(&into);
        column.memory_restore = Some(all.rss_bytes_max.max(one.rss_bytes_max) as f64);
        rustix::fs::sync();
        column.store = Some(occupied_bytes(&place.store) as f64);
        Ok(())
    }

    fn asof(&mut self) -> (Column, Extra) {
        let (mut column, mut extra) = (Column { name: "asof".into(), ..Column::default() }, Extra::default());
        let programs = Programs::find();
        let journal = self.fresh("journal");
        let outcome = self.asof_steps(&programs, &journal, &mut column, &mut extra);
        if let Err(problem) = outcome {
            println!("  FAILED: {problem}");
            column.problem = Some(problem);
        }
        if journal.exists() {
            remove(&journal);
        }
        (column, extra)
    }

    fn asof_steps(
        &mut self,
        programs: &Programs,
        journal: &Path,
        column: &mut Column,
        extra: &mut Extra,
    ) -> Result<(), String> {
        let segments = Layout::new(journal).segments();
        let apparent = || -> f64 {
            let files = fs::read_dir(&segments).into_iter().flatten().flatten();
            let lengths = files.map(|file| file.metadata().map_or(0, |meta| meta.len()));
            lengths.sum::<u64>() as f64
        };
        let asof = |arguments: &[&std::ffi::OsStr]| {
            let mut command = Command::new(&programs.asof);
            command.arg("--journal").arg(journal).arg("--json").args(arguments);
            command
        };

        level(&self.tree);
        let start = Instant::now();
        let agent = Daemon::start(programs, journal, &self.tree, &self.log);
        agent.answers(journal);
        run(&mut asof(&["sync".as_ref()]), &self.log)?;
        let first = start.elapsed().as_secs_f64();
        column.first = told("first capture until durable", first);
        let protecting = agent.protecting(journal);
        if protecting > 0.05 {
            println!("  but protecting only {} later", show_seconds(protecting));
        }
        let mut memory = agent.stop()?;

        level(&self.tree);
        let start = Instant::now();
        let agent = Daemon::start(programs, journal, &self.tree, &self.log);
        agent.protecting(journal);
        column.unchanged = told("restart until protecting", start.elapsed().as_secs_f64());

        run(&mut asof(&["sync".as_ref()]), &self.log)?;
        rustix::fs::sync();
        let before = (occupied_bytes(journal) as f64, apparent());
        let start = Instant::now();
        self.edit();
        run(&mut asof(&["sync".as_ref()]), &self.log)?;
        column.edit = told("one-line edit until durable", start.elapsed().as_secs_f64());
        rustix::fs::sync();
        column.edit_store = Some(occupied_bytes(journal) as f64 - before.0);
        extra.edit_segments = Some(apparent() - before.1);

        // The agent stays, as it does in life.
        let restore = |path: &Path, into: &Path| {
            asof(&["restore".as_ref(), path.as_os_str(), "--to".as_ref(), into.as_os_str()])
        };
        let into = self.fresh("restored");
        let all = best_of(RESTORES, || {
            if into.exists() {
                remove(&into);
            }
            level(journal);
            run(&mut restore(&self.tree, &into), &self.log)
        })?;
        column.restore_all = told("restore of everything", all.seconds);
        let differences = oracle::compare(&self.tree, &into);
        for difference in differences.iter().take(10) {
            println!("  DIFFERENCE: {difference}");
        }
        extra.differences = differences.len();
        remove(&into);
        rustix::fs::sync();
        let one = run(&mut restore(&self.text, &into), &self.log)?;
        column.restore_one = told("restore of one file", one.seconds);
        remove_any(&into);
        column.memory_restore = Some(all.rss_bytes_max.max(one.rss_bytes_max) as f64);

        rustix::fs::sync();
        column.store = Some(occupied_bytes(journal) as f64);
        extra.segments = Some(apparent());
        let mut control = Control::connect(&Layout::new(journal).socket())?;
        let saves = saves(&mut control, &self.tree.join("asof-bench-small"), SAVES);
        memory = memory.max(agent.stop()?);
        column.memory_save = Some(memory as f64);
        extra.saves_ms = saves?;
        Ok(())
    }
}

fn told(what: &str, seconds: f64) -> Option<f64> {
    println!("  {what}: {}", show_seconds(seconds));
    Some(seconds)
}

/// The cheapest of several runs: what else a machine does only ever adds. A virtual machine whose memory was taken back
/// while it was idle is a case of that: the first to write a gigabyte pays for it.
fn best_of(runs: usize, mut once: impl FnMut() -> Result<Cost, String>) -> Result<Cost, String> {
    let mut best = once()?;
    for _ in 1..runs {
        let cost = once()?;
        best.seconds = best.seconds.min(cost.seconds);
        best.rss_bytes_max = best.rss_bytes_max.max(cost.rss_bytes_max);
    }
    Ok(best)
}

fn remove_any(path: &Path) {
    if path.is_dir() {
        remove(path);
    } else {
        fs::remove_file(path).must(path.display());
    }
}

/// The text file nearest to 700 KB.
fn text_file(tree: &Path) -> Option<PathBuf> {
    let mut best: Option<(u64, PathBuf)> = None;
    for path in oracle::paths_below(tree) {
        let path = tree.join(Path::new(std::ffi::OsStr::from_bytes(&path)));
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let away = meta.len().abs_diff(TEXT_BYTES);
        if meta.is_file()
            && (500_000..900_000).contains(&meta.len())
            && best.as_ref().is_none_or(|(least, _)| away < *least)
            && fs::read(&path).is_ok_and(|bytes| !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok())
        {
            best = Some((away, path));
        }
    }
    best.map(|(_, path)| path)
}

/// The agent, killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(programs: &Programs, journal: &Path, root: &Path, log: &Path) -> Daemon {
        let mut command = Command::new(&programs.asofd);
        command.arg("run").arg("--journal").arg(journal).arg("--root").arg(root);
        let log = File::options().create(true).append(true).open(log).must(log.display());
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Daemon(command.spawn().must("asofd"))
    }

    /// Waits until its socket takes requests.
    fn answers(&self, journal: &Path) {
        let socket = Layout::new(journal).socket();
        eventually(DEADLINE, "asofd to answer", || Control::connect(&socket).ok()?.status().ok());
    }

    /// Waits until everything is watched; gives how long that took.
    fn protecting(&self, journal: &Path) -> f64 {
        let start = Instant::now();
        let socket = Layout::new(journal).socket();
        eventually(DEADLINE, "asofd to protect", || {
            let status = Control::connect(&socket).ok()?.status().ok()?;
            (status.state == State::Protecting && status.pid == Some(self.0.id())).then_some(())
        });
        start.elapsed().as_secs_f64()
    }

    /// Ends it in good order; gives the most memory that it needed.
    fn stop(mut self) -> Result<u64, String> {
        let memory = peak_memory_of(self.0.id()).ok_or("asofd is gone")?;
        let pid = i32::try_from(self.0.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .ok_or("no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| error.to_string())?;
        let status = self.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(memory) } else { Err(format!("asofd ended with {status}")) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

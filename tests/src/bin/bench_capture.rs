//! What capturing costs and how fast it is: a table of figures beside their targets, from one run.
//!
//! Run by `make bench-capture`. Owns the parts and their sizes. The agent compares nothing by itself while it is measured,
//! so that what it has at the end came from events; each part shows that nothing is missing by a restore and a check.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use asof_journal::storage::Layout;
use asof_tests::agent::Agent;
use asof_tests::bulk::Bulk;
use asof_tests::control::Control;
use asof_tests::figures::Figures;
use asof_tests::measure::{level, percentile, run, show_bytes, show_seconds};
use asof_tests::must::Must;
use asof_tests::oracle;
use asof_tests::process::{Calls, Usage};
use asof_tests::saves::saves;
use asof_tests::settings::{DEADLINE, Settings};
use asof_tests::site::{Site, remove};
use asof_tests::wait::quiet;

/// How long a `sync` may take before the run fails.
const SYNC_MAX: &str = "200s";
/// Directories of one parent: fewer than the agent lists instead of looking at each.
const SIBLINGS: usize = 100;
/// Parents that get the new directories whose cost is counted.
const PARENTS: usize = 10;
/// Rounds of which the cheapest counts: what else the agent does then only ever adds.
const ROUNDS: usize = 3;
/// Threads that make directories at the same time.
const WRITERS: usize = 4;
/// Directories of a round of a writer, one in the other, with a file in all but the first.
const LEVELS: u64 = 4;
/// How many of the watches that a user may have are for their directories: others need some, too. Writers that are so fast
/// that this would not last for a full storm are held back.
const WATCHES_SHARE: f64 = 0.5;
/// The unit test that counts what so many pending changes cost.
const PENDING_TEST: &str = "settle::tests::a_quarter_of_a_million_cost_linear_work_in_any_order";

/// How old the history is that is compacted while saves are measured, and what goes of it.
const HISTORY_DAYS: u64 = 60;
const THINNING: &str = "[retention]\nkeep = [\"all for 1 day\", \"28 days\"]\nimmutable = 0\n";
/// So many saves are measured before it is asked whether compaction still goes on.
const SAVES_AT_ONCE: usize = 20;

/// What the agent logs where its source of events is kept busy; it is a gap until that is over, and nothing is lost.
const STALLED: &str = "the event source does not answer in time";

/// How much there is of everything.
struct Scale {
    unpacked: usize,
    kept: usize,
    gone: usize,
    idle_files: usize,
    idle: Duration,
    beside: [usize; 3],
    new: usize,
    storm: Duration,
    saves: usize,
    /// Versions of a history that is compacted.
    history: u64,
}

const FULL: Scale = Scale {
    unpacked: 3,
    kept: 55_000,
    gone: 5_000,
    idle_files: 100_000,
    idle: Duration::from_secs(60),
    beside: [1_000, 10_000, 100_000],
    new: 1_000,
    storm: Duration::from_secs(30),
    saves: 500,
    history: 1_500_000,
};

/// To try the programs themselves; its figures say nothing.
const SMALL: Scale = Scale {
    unpacked: 1,
    kept: 5_500,
    gone: 500,
    idle_files: 10_000,
    idle: Duration::from_secs(5),
    beside: [1_000, 2_000, 5_000],
    new: 200,
    storm: Duration::from_secs(3),
    saves: 50,
    history: 300_000,
};

struct Bench {
    tree: Option<PathBuf>,
    scale: Scale,
    settings: Settings,
}

/// A part of the run: its name for `PARTS`, what it is, and how it is measured.
type Part = (&'static str, &'static str, fn(&Bench, &mut Figures));

const PARTS: [Part; 8] = [
    ("tar", "unpacking a tree", Bench::unpack),
    ("rm", "removing directories", Bench::remove_directories),
    ("idle", "being idle", Bench::idle),
    ("cost", "new directories beside many", Bench::cost_of_directories),
    ("pending", "pending changes", Bench::pending),
    ("writers", "four writers", Bench::four_writers),
    ("saves", "save to durable", Bench::save),
    ("compaction", "save to durable while old segments are compacted", Bench::save_beside_compaction),
];

fn main() -> ExitCode {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let chosen = given("PARTS").map(|parts| parts.to_string_lossy().into_owned());
    let chosen: Option<HashSet<&str>> = chosen.as_ref().map(|parts| parts.split_whitespace().collect());
    if let Some(unknown) = chosen.iter().flatten().find(|name| PARTS.iter().all(|part| part.0 != **name)) {
        eprintln!("there is no part {unknown:?}; there are: {}", PARTS.map(|part| part.0).join(" "));
        return ExitCode::from(2);
    }
    let bench = Bench {
        tree: given("TREE").map(PathBuf::from).filter(|tree| tree.is_dir()),
        scale: if given("SMALL").is_some() { SMALL } else { FULL },
        settings: Settings::from_environment(),
    };
    let mut figures = Figures::default();
    for (name, what, measure) in PARTS {
        if chosen.as_ref().is_none_or(|chosen| chosen.contains(name)) {
            figures.part(what, |figures| measure(&bench, figures));
        }
    }
    println!(
        "\n{}\nSource of events: {}. Nothing is compared while it is measured. Differences are those between a root and its restore\n\
         as of the last sync; missed by events is what a comparison after that finds.",
        figures.show(),
        bench.settings.backend()
    );
    if figures.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Bench {
    fn unpack(&self, figures: &mut Figures) {
        let Some(tree) = &self.tree else {
            figures.missing(
                "unpacking a tree",
                "no TREE: say `make bench-capture TREE=/path/to/linux-source-6.1`",
            );
            return;
        };
        let scratch = Site::new();
        let (tar, log) = (scratch.path("tree.tar"), scratch.path("log"));
        let mut pack = Command::new("tar");
        pack.arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(tree.parent().unwrap_or(tree))
            .arg(tree.file_name().must("the name of the tree"));
        run(&mut pack, &log).must("tar");
        let unpack = |into: &Path| {
            level(&tar);
            let seconds = run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(into), &log);
            seconds.must("tar").seconds
        };
        let (mut alone, mut watched, mut synced) = (Vec::new(), Vec::new(), Vec::new());
        let mut sums = Sums::default();
        let (mut listed_most, mut memory) = (0.0, 0);
        // The first in a while meets memory that nobody has touched, or that nobody has used for long: it counts for nobody.
        let bare = scratch.fresh("bare");
        fs::create_dir(&bare).must(bare.display());
        println!("  {} the first time, which does not count", show_seconds(unpack(&bare)));
        remove(&bare);
        for _ in 0..self.scale.unpacked {
            let bare = scratch.fresh("bare");
            fs::create_dir(&bare).must(bare.display());
            alone.push(unpack(&bare));
            remove(&bare);

            let site = Site::new();
            let agent = self.settings.start(&site);
            let listed = site.counter("directories_listed");
            watched.push(unpack(&site.root));
            synced.push(timed(|| site.sync_within(SYNC_MAX)).1);
            let made = oracle::census(&site.root).dirs - 1;
            let listed = site.counter("directories_listed") - listed;
            println!(
                "  {} alone, {} watched, durable {} later; {listed} directories listed of {made} made",
                show_seconds(alone.last().copied().unwrap_or_default()),
                show_seconds(watched.last().copied().unwrap_or_default()),
                show_seconds(synced.last().copied().unwrap_or_default())
            );
            listed_most = f64::max(listed_most, listed as f64 / made as f64);
            sums.check(self, &site, &agent);
            memory = memory.max(Usage::of(agent.pid()).rss_bytes_max);
            stop(agent, "unpacking", figures);
        }
        let (alone, watched) = (least(&alone), least(&watched));
        let ratio = |value: f64| format!("{value:.2}");
        figures.told("unpacking alone, fastest", show_seconds(alone));
        figures.told("unpacking into a watched root, fastest", show_seconds(watched));
        figures.at_most("unpacking, watched by alone", 1.5, watched / alone, ratio);
        figures.at_most("unpacked until durable, longest", 10.0, most(&synced), show_seconds);
        figures.at_most("unpacking: directories listed by those made", 1.0, listed_most, ratio);
        sums.tell("unpacking", figures);
        figures.told("unpacking: peak memory of the agent", show_bytes(memory as f64));
    }

    fn remove_directories(&self, figures: &mut Figures) {
        let (site, scale) = (Site::new(), &self.scale);
        make_directories(&site.root.join("kept"), scale.kept);
        let gone = site.root.join("gone");
        make_directories(&gone, scale.gone);
        let agent = self.settings.start(&site);
        site.sync_within(SYNC_MAX);
        let what = format!("rm -rf of {} directories beside {}", scale.gone, scale.kept);
        let log = site.path("log");
        let start = Instant::now();
        let removed = run(Command::new("rm").arg("-rf").arg(&gone), &log).must("rm").seconds;
        site.sync_within(SYNC_MAX);
        let durable = start.elapsed().as_secs_f64();
        figures.told(&format!("{what}: itself"), show_seconds(removed));
        figures.at_most(&format!("{what}: begun until durable"), 5.0, durable, show_seconds);
        figures.at_most(&format!("{what}: overflows"), 0.0, site.counter("overflows") as f64, count);
        let mut sums = Sums::default();
        sums.check(self, &site, &agent);
        sums.tell("rm -rf", figures);
        stop(agent, "rm -rf", figures);
    }

    fn idle(&self, figures: &mut Figures) {
        let (site, files) = (Site::new(), self.scale.idle_files);
        for number in 0..files {
            let dir = site.root.join(format!("dir-{}", number / SIBLINGS));
            if number % SIBLINGS == 0 {
                fs::create_dir(&dir).must(dir.display());
            }
            let file = dir.join(format!("file-{number}"));
            fs::write(&file, format!("content of file {number}\n").repeat(20)).must(file.display());
        }
        let agent = self.settings.start(&site);
        site.sync_within(SYNC_MAX);
        Usage::wait_for_idle(agent.pid(), DEADLINE);
        let before = Usage::of(agent.pid());
        quiet(self.scale.idle);
        let after = Usage::of(agent.pid());
        let what = format!("idle over {files} files");
        let during = format!("{what} for {:.0} s", self.scale.idle.as_secs_f64());
        let cpu = after.cpu_seconds - before.cpu_seconds;
        figures.told(&format!("{during}: processor time"), format!("{:.0} ms", cpu * 1e3));
        figures.told(
            &format!("{during}: writes"),
            format!(
                "{} calls, {}",
                after.writes - before.writes,
                show_bytes((after.written_bytes - before.written_bytes) as f64)
            ),
        );
        let limit = (100 << 20) as f64;
        figures.at_most(&format!("{what}: memory"), limit, after.rss_bytes as f64, show_bytes);
        figures.told(&format!("{what}: peak memory since the start"), show_bytes(after.rss_bytes_max as f64));
        stop(agent, &what, figures);
    }

    fn cost_of_directories(&self, figures: &mut Figures) {
        println!("  counted: {}", Calls::how());
        let costs = self.scale.beside.map(|beside| self.cost_beside(beside, figures));
        let (first, last) = (self.scale.beside[0], self.scale.beside[2]);
        let what = format!("cost per new directory beside {last} by that beside {first}");
        figures.at_most(&what, 1.2, costs[2] / costs[0], |ratio| format!("{ratio:.2}"));
    }

    /// System calls of the agent for each new directory with a file in it, but for those that wait for another thread.
    fn cost_beside(&self, beside: usize, figures: &mut Figures) -> f64 {
        let (site, new) = (Site::new(), self.scale.new);
        let there = make_directories(&site.root, beside);
        let agent = self.settings.start(&site);
        site.sync_within(SYNC_MAX);
        let mut costs = Vec::new();
        for round in 0..ROUNDS {
            Usage::wait_for_idle(agent.pid(), DEADLINE);
            let (listed, start) = (site.counter("directories_listed"), Instant::now());
            let calls = Calls::begin(agent.pid(), &site.fresh("calls"));
            for number in 0..new {
                let dir = there[number % PARENTS].join(format!("new-{round}-{number}"));
                fs::create_dir(&dir).must(dir.display());
                fs::write(dir.join("file"), format!("{round} {number}\n")).must(dir.display());
            }
            site.sync_within(SYNC_MAX);
            let counted = calls.end();
            let each = counted.without_waiting() as f64 / new as f64;
            println!(
                "  beside {beside}, round {round}: {each:.1} each, {:.1} with waiting, in {}, {} listed; {}",
                counted.total() as f64 / new as f64,
                show_seconds(start.elapsed().as_secs_f64()),
                site.counter("directories_listed") - listed,
                counted.most_frequent(8, new as f64)
            );
            costs.push(each);
        }
        let mut sums = Sums::default();
        sums.check(self, &site, &agent);
        let what = format!("{new} new directories with a file each beside {beside}");
        figures.told(
            &format!("{what}: {} each, without waiting", Calls::how()),
            format!("{:.1}", least(&costs)),
        );
        sums.tell(&what, figures);
        stop(agent, &what, figures);
        least(&costs)
    }

    fn pending(&self, figures: &mut Figures) {
        figures.told("262,144 pending changes, either order: linear", format!("counted by {PENDING_TEST}"));
    }

    fn four_writers(&self, figures: &mut Figures) {
        let (site, storm) = (Site::new(), self.scale.storm);
        let agent = self.settings.start(&site);
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").must("the limit of watches");
        let limit: f64 = limit.trim().parse().must("a number");
        let pace = limit * WATCHES_SHARE / FULL.storm.as_secs_f64();
        let made = AtomicU64::new(0);
        let (mut returned, mut in_vain) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            let start = Instant::now();
            for writer in 0..WRITERS {
                let (made, root) = (&made, &site.root);
                scope.spawn(move || {
                    for round in 0_u64.. {
                        while made.load(Ordering::Relaxed) as f64 > start.elapsed().as_secs_f64() * pace {
                            quiet(Duration::from_millis(1));
                        }
                        if start.elapsed() > storm {
                            return;
                        }
                        nest(&root.join(format!("writer-{writer}/round-{round}")));
                        made.fetch_add(LEVELS, Ordering::Relaxed);
                    }
                });
            }
            while start.elapsed() < storm {
                let (given, seconds) = timed(|| site.asof(["sync", "--timeout", "60s", "-q"]).run());
                match given.status {
                    0 => returned.push(seconds),
                    _ => in_vain += 1,
                }
            }
        });
        let ((), seconds) = timed(|| {
            site.sync_within(SYNC_MAX);
        });
        agent.protecting_within(&site, DEADLINE);
        let what = format!("four writers for {:.0} s", storm.as_secs_f64());
        let made = made.into_inner();
        figures
            .told(&format!("{what}: directories made, each but every fourth with a file"), made.to_string());
        let show = |percent| percentile(&returned, percent).map_or("-".into(), show_seconds);
        let times = format!("{}, p50 {}, longest {}", returned.len(), show(50.0), show(100.0));
        figures.told(&format!("{what}: sync returned meanwhile"), times);
        figures.at_most(&format!("{what}: sync that did not return in 60 s"), 0.0, f64::from(in_vain), count);
        figures.told(&format!("{what}: durable after the end"), show_seconds(seconds));
        figures.told(&format!("{what}: overflows"), site.counter("overflows").to_string());
        let mut sums = Sums::default();
        sums.check(self, &site, &agent);
        sums.tell("four writers", figures);
        stop(agent, &what, figures);
    }

    fn save(&self, figures: &mut Figures) {
        let site = Site::new();
        let agent = self.settings.start(&site);
        let mut control = Control::connect(&Layout::new(&site.journal).socket()).must("the agent's socket");
        let taken = saves(&mut control, &site.root.join("small"), self.scale.saves).must("saves");
        let what = format!("{} saves of a small file, close to durable", taken.len());
        let show = |ms: f64| format!("{ms:.1} ms");
        figures.told(&format!("{what}: p50"), percentile(&taken, 50.0).map_or("-".into(), show));
        figures.at_most(&format!("{what}: p99"), 300.0, percentile(&taken, 99.0).unwrap_or(f64::NAN), show);
        stop(agent, &what, figures);
    }
}

impl Bench {
    /// The agent compacts a history of which most goes, and captures meanwhile.
    fn save_beside_compaction(&self, figures: &mut Figures) {
        let site = Site::new();
        let mut bulk = Bulk::with_files(&site.journal, self.scale.history / 10);
        bulk.pace(self.scale.history, HISTORY_DAYS);
        bulk.fill(self.scale.history);
        bulk.flush();
        let agent = self.settings.start_with(&site, THINNING);
        let mut control = Control::connect(&Layout::new(&site.journal).socket()).must("the agent's socket");
        let file = site.root.join("small");
        let alone = saves(&mut control, &file, self.scale.saves).must("saves");
        let asof = Command::new(&site.programs.asof)
            .arg("--journal")
            .arg(&site.journal)
            .args(["--json", "retain", "--yes", "--all"])
            .env("ASOF_CONFIG", site.path("config.toml"))
            .stdout(Stdio::piped())
            .spawn();
        let mut asof = asof.must("asof");
        let mut beside = Vec::new();
        while beside.len() < self.scale.saves && asof.try_wait().must("asof").is_none() {
            beside.extend(saves(&mut control, &file, SAVES_AT_ONCE).must("saves"));
        }
        let done = asof.wait_with_output().must("asof");
        assert!(done.status.success(), "{done:?}");
        let said: serde_json::Value = serde_json::from_slice(&done.stdout).must("what was done");
        figures
            .told("compacted, bytes before", show_bytes(said["bytes_before"].as_f64().unwrap_or(f64::NAN)));
        figures.told("and after", show_bytes(said["bytes_after"].as_f64().unwrap_or(f64::NAN)));
        figures.told("saves alone, and beside it", format!("{}, {}", alone.len(), beside.len()));
        for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
            let of = |taken: &[f64]| percentile(taken, percent).unwrap_or(f64::NAN);
            let (alone, beside) = (of(&alone), of(&beside));
            figures.told(
                &format!("close to durable, {name}: alone, beside it"),
                format!("{alone:.1} ms, {beside:.1} ms"),
            );
            figures.at_most(&format!("{name}: beside it by alone"), 2.0, beside / alone, |ratio| {
                format!("{ratio:.2}")
            });
        }
        stop(agent, "beside compaction", figures);
    }
}

/// What must not be, over several runs.
#[derive(Default)]
struct Sums {
    differences: u64,
    missed: u64,
}

impl Sums {
    /// Restores the root, compares, and has the agent check itself. Nothing may be changing.
    fn check(&mut self, bench: &Bench, site: &Site, agent: &Agent) {
        let synced = site.sync_within(SYNC_MAX);
        let restored = site.restore(&site.root, &synced.at);
        let differences = oracle::compare(&site.root, &restored);
        for difference in differences.iter().take(10) {
            println!("  DIFFERENCE: {difference}");
        }
        self.differences += differences.len() as u64;
        remove(&restored);
        self.missed += bench.settings.missed_by_events(site, agent);
    }

    fn tell(&self, what: &str, figures: &mut Figures) {
        figures.none(&format!("{what}: differences"), self.differences);
        figures.none(&format!("{what}: missed by events"), self.missed);
    }
}

/// Ends an agent. A warning or an error in its log is a failure, but for one that is a figure.
fn stop(agent: Agent, what: &str, figures: &mut Figures) {
    let stalls = agent.log().matches(STALLED).count() as u64;
    if stalls > 0 {
        figures.told(&format!("{what}: times that the source of events did not answer"), stalls.to_string());
    }
    agent.allow(STALLED);
    agent.terminate();
}

/// Makes so many directories below `top`, which may be there, in parents of a hundred; gives the parents.
fn make_directories(top: &Path, count: usize) -> Vec<PathBuf> {
    fs::create_dir_all(top).must(top.display());
    // Parents count, too.
    let parents: Vec<PathBuf> =
        (0..count.div_ceil(SIBLINGS + 1)).map(|n| top.join(format!("parent-{n}"))).collect();
    let mut left = count;
    for parent in &parents {
        fs::create_dir(parent).must(parent.display());
        left -= 1;
        for number in 0..left.min(SIBLINGS) {
            fs::create_dir(parent.join(format!("dir-{number}"))).must(parent.display());
        }
        left -= left.min(SIBLINGS);
    }
    parents
}

/// Makes a directory, and others nested in it with a file each.
fn nest(top: &Path) {
    let mut dir = top.to_path_buf();
    for level in 1..LEVELS {
        dir.push(format!("level-{level}"));
        fs::create_dir_all(&dir).must(dir.display());
        fs::write(dir.join("file"), format!("{}\n", dir.display())).must(dir.display());
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed().as_secs_f64())
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

fn count(value: f64) -> String {
    format!("{value:.0}")
}

//! What people wait for who have lost something, beside the targets: an answer out of a long history, and a tree back.
//!
//! Run by `make bench-restore`. The histories are written by the library (`src/bulk.rs`): always 100,000 files, with ever
//! more versions of each, so that what grows with the history shows. The tree goes through a real agent and comes back
//! beside `cp -a` of the same tree, in the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use asof_journal::append::Limits;
use asof_journal::open::Journal;
use asof_journal::types::{ClockReading, Instant as Wall};
use asof_tests::bulk::Bulk;
use asof_tests::figures::Figures;
use asof_tests::measure::{level, percentile, run, show_bytes, show_seconds};
use asof_tests::must::Must;
use asof_tests::oracle;
use asof_tests::programs::Programs;
use asof_tests::random::Random;
use asof_tests::site::{Site, remove};

/// Files of every history.
const FILES: u64 = 100_000;
/// Versions of the short history, and of the long one.
const VERSIONS: [u64; 2] = [1_000_000, 10_000_000];
/// How long the histories are.
const DAYS: u64 = 730;
/// Memory that a question about all of a history may take.
const MEMORY_MAX: f64 = (200u64 << 20) as f64;
/// Answers of which the middle one counts.
const RUNS: usize = 21;
/// How often the tree is copied and restored; the fastest counts, for both.
const ROUNDS: usize = 5;
/// How long the agent may take for the tree.
const SYNC_MAX: &str = "900s";

/// The same as in the programs that are measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bench {
    files: u64,
    versions: [u64; 2],
    tree: Option<PathBuf>,
    programs: Programs,
    dir: PathBuf,
}

/// What is measured of one history, in seconds.
struct Answers {
    cat: f64,
    find: f64,
}

fn main() -> ExitCode {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let small = given("SMALL").is_some();
    let chosen = given("PARTS");
    let wanted =
        |name: &str| chosen.as_ref().is_none_or(|chosen| chosen.split_whitespace().any(|part| part == name));
    let tmp = tempfile::tempdir().must("a temporary directory");
    let scale = if small { 100 } else { 1 };
    let bench = Bench {
        files: FILES / scale,
        versions: VERSIONS.map(|versions| versions / scale),
        tree: given("TREE").map(PathBuf::from),
        programs: Programs::find(),
        dir: tmp.path().to_path_buf(),
    };
    let mut figures = Figures::default();
    if wanted("answers") {
        figures.part("answers out of a long history", |figures| bench.answers(figures));
    } else if wanted("whole") {
        figures.part("questions about all of a history", |figures| {
            let versions = bench.versions[1];
            bench.whole(&bench.written(versions).0, versions, figures);
        });
    }
    if wanted("tree") {
        figures.part("a tree back", |figures| bench.tree(figures));
    }
    println!(
        "\n{}\nAn answer is a whole run of `asof`, from its start to its end; the page cache is warm unless it says otherwise. \
         The\ninstant is drawn anew for each. Tree: the fastest of {ROUNDS}, in turns; what came back is compared.",
        figures.show()
    );
    if figures.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Bench {
    fn answers(&self, figures: &mut Figures) {
        let [short, long] = self.versions.map(|versions| self.history(versions, figures));
        figures.at_most(
            &format!("cat: {} versions by {}", self.versions[1], self.versions[0]),
            1.3,
            long.cat / short.cat,
            |ratio| format!("{ratio:.2}"),
        );
        let name = format!("find of a name over {} versions, p50", self.versions[1]);
        figures.at_most(&name, 0.2, long.find, show_seconds);
    }

    fn written(&self, versions: u64) -> (PathBuf, Bulk) {
        let dir = self.dir.join(format!("versions-{versions}"));
        let mut bulk = Bulk::with_files(&dir, self.files);
        bulk.pace(versions, DAYS);
        bulk.fill(versions);
        bulk.flush();
        drop(Journal::open(&dir, &clock(), Limits::default()).must("an index"));
        level(&dir);
        (dir, bulk)
    }

    fn history(&self, versions: u64, figures: &mut Figures) -> Answers {
        let (dir, bulk) = self.written(versions);
        let mut random = Random::new(versions);
        let newest = bulk.newest_seq().0;
        let what = |verb: &str| format!("{versions} versions: {verb}, p50 of {RUNS}");

        let mut cat = |cold: bool| {
            let taken: Vec<f64> = (0..RUNS)
                .map(|_| {
                    let at = format!("seq:{}", newest / 2 + random.below(newest / 2));
                    let path = Bulk::file_name(random.below(self.files));
                    if cold {
                        forget(&dir);
                    }
                    let (seconds, said) = self.asof(&dir, &["cat", &path, "--at", &at]);
                    assert!(!said.is_empty(), "{path} had content at {at}");
                    seconds
                })
                .collect();
            percentile(&taken, 50.0).unwrap_or(f64::NAN)
        };
        let warm = cat(false);
        let cold = cat(true);
        level(&dir);
        if versions == self.versions[0] {
            figures.at_most(&what("cat at an instant"), 0.05, warm, show_seconds);
        } else {
            figures.told(&what("cat at an instant"), show_seconds(warm));
        }
        figures.told(&what("the same with nothing of the journal in the page cache"), show_seconds(cold));

        let at = format!("seq:{}", newest / 2);
        let listed: Vec<f64> = (0..5)
            .map(|_| {
                let (seconds, said) = self.asof(&dir, &["ls", "-R", "/", "--at", &at]);
                let lines = said.lines().count() as u64;
                assert!(lines >= self.files, "{lines} entries of {} files", self.files);
                seconds
            })
            .collect();
        let name = format!("{versions} versions: ls -R of {} entries at an instant, p50 of 5", self.files);
        figures.at_most(&name, 1.0, percentile(&listed, 50.0).unwrap_or(f64::NAN), show_seconds);

        let mut find = |pattern: fn(u64) -> String| {
            let taken: Vec<f64> = (0..RUNS)
                .map(|_| {
                    let file = random.below(self.files);
                    let (seconds, said) = self.asof(&dir, &["find", &pattern(file), "/"]);
                    assert!(said.contains(&format!("file{file}.c")), "file{file}.c is found: {said}");
                    seconds
                })
                .collect();
            percentile(&taken, 50.0).unwrap_or(f64::NAN)
        };
        let by_name = find(|file| format!("file{file}.c"));
        let by_glob = find(|file| format!("*{file}.[ch]"));
        figures.told(&what("find of a name"), show_seconds(by_name));
        figures.told(&what("find of a glob that begins with *"), show_seconds(by_glob));
        self.whole(&dir, versions, figures);
        fs::remove_dir_all(&dir).must(dir.display());
        Answers { cat: warm, find: by_name }
    }

    /// Questions for which every version is looked at.
    fn whole(&self, dir: &Path, versions: u64, figures: &mut Figures) {
        let log = self.dir.join("whole.log");
        for (what, verb, seconds_max) in
            [("a dry run of the default policy", &["retain", "--dry-run"][..], 30.0), ("top", &["top"], 60.0)]
        {
            let mut command = Command::new(&self.programs.asof);
            command.arg("--journal").arg(dir).args(verb).env("ASOF_CONFIG", "/dev/null");
            let cost = run(&mut command, &log).must(what);
            let what = format!("{versions} versions: {what}");
            if versions == self.versions[1] {
                figures.at_most(&what, seconds_max, cost.seconds, show_seconds);
                let memory = cost.rss_bytes_max as f64;
                figures.at_most(&format!("{what}, memory"), MEMORY_MAX, memory, show_bytes);
            } else {
                figures.told(&what, show_seconds(cost.seconds));
            }
        }
    }

    fn asof(&self, dir: &Path, arguments: &[&str]) -> (f64, String) {
        let start = Instant::now();
        let done =
            Command::new(&self.programs.asof).arg("--journal").arg(dir).args(arguments).output().must("asof");
        let seconds = start.elapsed().as_secs_f64();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        (seconds, String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// A real tree, restored beside a copy of it.
    fn tree(&self, figures: &mut Figures) {
        let Some(tree) = &self.tree else {
            let how = "no TREE: say `make bench-restore TREE=/path/to/linux-source-6.1`";
            return figures.missing("restore of a tree", how);
        };
        let site = Site::new();
        let log = site.path("log");
        let copy = |to: &Path| {
            let mut copy = Command::new("cp");
            copy.arg("-a").arg("--reflink=never").arg(tree).arg(to);
            run(&mut copy, &log).must("cp").seconds
        };
        let within = site.root.join("tree");
        copy(&within);
        let agent = site.start();
        let at = site.sync_within(SYNC_MAX).at;
        let (mut copied, mut restored) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let to = site.fresh("copied");
            level(tree);
            copied.push(copy(&to));
            remove(&to);

            let to = site.fresh("restored");
            level(&site.journal);
            let mut restore = Command::new(&self.programs.asof);
            restore.arg("--journal").arg(&site.journal).arg("restore").arg(&within).args(["--at", &at]);
            restore.arg("--to").arg(&to);
            restored.push(run(&mut restore, &log).must("asof").seconds);
            let differences = oracle::compare(&within, &to);
            assert!(differences.is_empty(), "what was restored differs: {differences:?}");
            remove(&to);
        }
        agent.terminate();
        let fastest = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
        let (copied, restored) = (fastest(&copied), fastest(&restored));
        figures.told("cp -a of the tree", show_seconds(copied));
        figures.told("asof restore of the tree", show_seconds(restored));
        figures.at_most("restore by cp -a", 2.5, restored / copied, |ratio| format!("{ratio:.2}"));
    }
}

/// Drops what the page cache has of a journal.
fn forget(dir: &Path) {
    for below in ["segments", "index"] {
        for entry in fs::read_dir(dir.join(below)).must(below).flatten() {
            if let Ok(file) = fs::File::open(entry.path()) {
                // What cannot be dropped makes the figure better than it is; nothing else depends on it.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            }
        }
    }
}

fn clock() -> ClockReading {
    ClockReading { wall: Wall(1_800_000_000_000_000_000), boottime_ns: 1, boot_id: [2; 16] }
}

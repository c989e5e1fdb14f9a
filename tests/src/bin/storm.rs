//! Real storms in a watched root: git over many releases of a package, npm, cargo; after each step an exact restore.
//!
//! Run by `make storm`. What needs a tool or a network that is not there is skipped, and it says why. Everything that is
//! made lies in a temporary directory, but for what cargo keeps of downloads.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use asof_tests::agent::Agent;
use asof_tests::measure::{run, show_bytes, table};
use asof_tests::must::Must;
use asof_tests::process::Usage;
use asof_tests::random::Random;
use asof_tests::releases::{self, cargo, git};
use asof_tests::settings::Settings;
use asof_tests::site::{Site, Synced, remove};
use asof_tests::tree::has_program;
use asof_tests::{copy, oracle};

/// How long a `sync` may take before the part fails.
const SYNC_MAX: &str = "200s";

/// How much of everything.
struct Scale {
    releases: usize,
    jumps: usize,
    /// Checkouts between two freeze points.
    checkouts: usize,
    node_dependencies: &'static str,
    node_files_min: u64,
    rust_dependencies: &'static str,
}

const FULL: Scale = Scale {
    releases: 36,
    jumps: 36,
    checkouts: 6,
    node_dependencies: r#""core-js": "3.36.1", "date-fns": "3.6.0", "eslint": "8.57.0", "lodash": "4.17.21",
        "rxjs": "7.8.1", "typescript": "5.4.5", "webpack": "5.91.0""#,
    node_files_min: 10_001,
    rust_dependencies: "anyhow = '1'\nclap = { version = '4', features = ['derive'] }\nitertools = '0.14'\nlog = '0.4'\n\
        rand = '0.9'\nregex = '1'\nsemver = '1'\nserde = { version = '1', features = ['derive'] }\nserde_json = '1'\n\
        tempfile = '3'\nthiserror = '2'\ntoml = '0.9'\nwalkdir = '2'\n",
};

/// To try the program itself.
const SMALL: Scale = Scale {
    releases: 6,
    jumps: 6,
    checkouts: 3,
    node_dependencies: r#""date-fns": "3.6.0", "rxjs": "7.8.1""#,
    node_files_min: 1_000,
    rust_dependencies: "anyhow = '1'\nitertools = '0.14'\nsemver = '1'\n",
};

/// What is removed from `node_modules` by npm.
const NODE_UNINSTALLED: &str = "date-fns";

/// A storm; an error says why it was skipped, a panic that it failed.
type Part = (&'static str, fn(&Scale, &mut Report) -> Result<(), String>);

const PARTS: [Part; 3] = [("git", checkouts), ("npm", packages), ("cargo", builds)];

fn main() -> ExitCode {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let scale = if given("SMALL").is_some() { SMALL } else { FULL };
    let chosen = given("PARTS");
    let mut report = Report { settings: Settings::from_environment(), ..Report::default() };
    let (mut ran, mut failed) = (0, 0);
    for (name, part) in PARTS {
        if chosen.as_ref().is_some_and(|chosen| !chosen.split_whitespace().any(|word| word == name)) {
            continue;
        }
        println!("{name}:");
        match catch_unwind(AssertUnwindSafe(|| part(&scale, &mut report))) {
            Ok(Ok(())) => ran += 1,
            Ok(Err(why)) => {
                println!("  skipped: {why}");
                report.notes.push(format!("{name} was skipped: {why}"));
            }
            Err(_) => {
                failed += 1;
                report.notes.push(format!("{name} FAILED, see above"));
            }
        }
    }
    println!("\n{}", report.show());
    if report.wrong > 0 || failed > 0 || ran == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What all storms together came to.
#[derive(Default)]
struct Report {
    settings: Settings,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    /// Differences, changes that no event announced, gaps where nothing was missed.
    wrong: u64,
}

const HEAD: [&str; 11] = [
    "step",
    "seconds",
    "sync",
    "files",
    "directories",
    "versions",
    "listed",
    "overflows",
    "gaps",
    "missed",
    "differences",
];

impl Report {
    fn show(&self) -> String {
        let head = vec![HEAD.map(String::from).to_vec()];
        let rows: Vec<Vec<String>> = head.into_iter().chain(self.rows.iter().cloned()).collect();
        let mut text = table(&rows);
        text.push_str(&format!(
            "Source of events: {}. Nothing was compared during the storms. Versions, listed directories, overflows and gaps are those of\n\
             the step, in the last row of a part those of all of it; missed is what a comparison found at its end.\n",
            self.settings.backend()
        ));
        for note in &self.notes {
            text.push_str(&format!("{note}\n"));
        }
        text
    }
}

/// A state of the root that must be restorable for ever.
struct Frozen {
    name: String,
    synced: Synced,
    copy: PathBuf,
}

/// One part: a site with a running agent, and the freeze points so far.
struct Storm<'r> {
    name: &'static str,
    site: Site,
    agent: Agent,
    report: &'r mut Report,
    frozen: Vec<Frozen>,
    before: Counters,
}

#[derive(Clone, Copy, Default)]
struct Counters {
    versions: u64,
    listed: u64,
    overflows: u64,
    gaps: u64,
}

impl Counters {
    fn of(site: &Site) -> Counters {
        let status = site.status();
        let counter = |name: &str| status["counters"][name].as_u64().must(format!("{name} in {status}"));
        Counters {
            versions: counter("versions"),
            listed: counter("directories_listed"),
            overflows: counter("overflows"),
            gaps: status["gaps"].as_u64().must(format!("gaps in {status}")),
        }
    }
}

impl<'r> Storm<'r> {
    fn begin(name: &'static str, site: Site, report: &'r mut Report) -> Storm<'r> {
        let agent = report.settings.start(&site);
        let before = Counters::of(&site);
        Storm { name, site, agent, report, frozen: Vec::new(), before }
    }

    /// Runs a command that must succeed; gives its seconds.
    #[track_caller]
    fn run(&self, command: &mut Command) -> f64 {
        run(command, &self.site.path("log")).must(self.name).seconds
    }

    /// What was done in so many seconds is made durable, kept, restored and compared.
    fn freeze(&mut self, name: impl Into<String>, seconds: f64) {
        let name = name.into();
        let (synced, sync_seconds) = timed(|| self.site.sync_within(SYNC_MAX));
        let now = Counters::of(&self.site);
        let copied = self.site.fresh("copy");
        copy::copy(&self.site.root, &copied);
        let census = oracle::census(&copied);
        let frozen = Frozen { name, synced, copy: copied };
        let differences = self.differences(&frozen, &frozen.synced.at);
        let row = [
            format!("{}: {}", self.name, frozen.name),
            format!("{seconds:.2}"),
            format!("{sync_seconds:.2}"),
            census.files.to_string(),
            census.dirs.to_string(),
            (now.versions - self.before.versions).to_string(),
            (now.listed - self.before.listed).to_string(),
            (now.overflows - self.before.overflows).to_string(),
            (now.gaps - self.before.gaps).to_string(),
            "-".into(),
            differences.to_string(),
        ];
        self.tell(row);
        self.before = now;
        self.frozen.push(frozen);
    }

    /// The same after a step that only removed what was durable: nothing can have gone unread, and no gap may say so.
    fn freeze_removed(&mut self, name: &str, seconds: f64) {
        let before = self.before;
        self.freeze(name, seconds);
        let (gaps, overflows) = (self.before.gaps - before.gaps, self.before.overflows - before.overflows);
        if gaps > overflows {
            println!("  WRONG: {gaps} gaps after a removal of what was captured");
            self.report.notes.push(format!("{}: {name}: {gaps} gaps where nothing was missed", self.name));
            self.report.wrong += gaps - overflows;
        }
    }

    /// Every freeze point is restored once more, the agent checks itself, and ends in good order.
    fn end(mut self) {
        let frozen = std::mem::take(&mut self.frozen);
        let (differences, seconds) = timed(|| -> u64 {
            frozen.iter().map(|frozen| self.differences(frozen, &frozen.synced.instant)).sum()
        });
        let missed = self.report.settings.missed_by_events(&self.site, &self.agent);
        self.report.wrong += missed;
        let now = Counters::of(&self.site);
        let mut row = HEAD.map(|_| "-".to_string());
        row[0] = format!("{}: all {} freeze points again", self.name, frozen.len());
        row[1] = format!("{seconds:.2}");
        row[7] = now.overflows.to_string();
        row[8] = now.gaps.to_string();
        row[9] = missed.to_string();
        row[10] = differences.to_string();
        self.tell(row);
        let memory = Usage::of(self.agent.pid()).rss_bytes_max as f64;
        println!("  peak memory of the agent: {}", show_bytes(memory));
        self.agent.terminate();
    }

    fn differences(&mut self, frozen: &Frozen, at: &str) -> u64 {
        let restored = self.site.restore(&self.site.root, at);
        let differences = oracle::compare(&frozen.copy, &restored);
        for difference in differences.iter().take(10) {
            println!("  DIFFERENCE in \"{}\" at {at}: {difference}", frozen.name);
        }
        remove(&restored);
        self.report.wrong += differences.len() as u64;
        differences.len() as u64
    }

    fn tell(&mut self, row: [String; HEAD.len()]) {
        let figures: Vec<String> =
            HEAD.iter().zip(&row).skip(1).map(|(head, value)| format!("{head} {value}")).collect();
        println!("  {}: {}", row[0], figures.join(", "));
        self.report.rows.push(row.to_vec());
    }
}

/// git clone, then every release in order, then at random.
fn checkouts(scale: &Scale, report: &mut Report) -> Result<(), String> {
    needs(&["git", "cargo"])?;
    let site = Site::new();
    let (repository, clone) = (site.path("repository"), site.root.join("clone"));
    let tags = releases::repository(&repository, &site.path("releases"), scale.releases, &site.path("log"))?;
    println!("  a repository of {} releases, {} to {}", tags.len(), tags[0], tags[tags.len() - 1]);
    let mut storm = Storm::begin("git", site, report);
    // Through git's own protocol, as from elsewhere; otherwise it would link to what is there.
    let mut command = git(&storm.site.root);
    command.args(["clone", "--quiet", "--no-local"]).arg(&repository).arg(&clone);
    let seconds = storm.run(&mut command);
    storm.freeze("clone", seconds);
    let mut random = Random::new(45);
    let mut jumps = vec![tags[0].clone(), tags[tags.len() - 1].clone()];
    while jumps.len() < scale.jumps {
        jumps.extend(random.pick(&tags).cloned());
    }
    for (kind, route) in [("in order", &tags), ("at random", &jumps)] {
        for part in route.chunks(scale.checkouts) {
            let mut seconds = 0.0;
            for tag in part {
                seconds += storm.run(git(&clone).args(["checkout", "--quiet", tag]));
            }
            let last = part.last().must("a checkout");
            storm.freeze(format!("{} checkouts {kind}, to {last}", part.len()), seconds);
        }
    }
    storm.end();
    Ok(())
}

/// npm install, uninstall, everything removed, installed again.
fn packages(scale: &Scale, report: &mut Report) -> Result<(), String> {
    needs(&["node", "npm"])?;
    let site = Site::new();
    let (cache, project) = (site.path("npm-cache"), site.root.join("project"));
    let manifest = format!(
        "{{\"name\": \"storm\", \"version\": \"1.0.0\", \"private\": true, \"dependencies\": {{{}}}}}\n",
        scale.node_dependencies
    );
    let npm = |verb: &str, dir: &Path| {
        let mut command = Command::new("npm");
        command.args([verb, "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--cache"]);
        command.arg(&cache).current_dir(dir);
        command
    };
    // Fetched beforehand, so that a network that is not there is no failure, and one that is slow is not measured.
    let before = site.path("before");
    fs::create_dir(&before).must(before.display());
    fs::write(before.join("package.json"), &manifest).must(before.display());
    run(&mut npm("install", &before), &site.path("log"))?;
    remove(&before);

    let mut storm = Storm::begin("npm", site, report);
    fs::create_dir(&project).must(project.display());
    fs::write(project.join("package.json"), &manifest).must(project.display());
    let seconds = storm.run(&mut npm("install", &project));
    let modules = project.join("node_modules");
    let files = oracle::census(&modules).files;
    assert!(files >= scale.node_files_min, "npm has installed only {files} files");
    storm.freeze("install", seconds);
    let seconds = storm.run(npm("uninstall", &project).arg(NODE_UNINSTALLED));
    storm.freeze(format!("uninstall {NODE_UNINSTALLED}"), seconds);
    let seconds = storm.run(Command::new("rm").arg("-rf").arg(&modules));
    storm.freeze_removed("rm -rf node_modules", seconds);
    let seconds = storm.run(&mut npm("install", &project));
    storm.freeze("install again", seconds);
    // Nothing in between: what is removed may still be on its way into the journal.
    let mut seconds = storm.run(Command::new("rm").arg("-rf").arg(&modules));
    seconds += storm.run(&mut npm("install", &project));
    storm.freeze("rm -rf node_modules and install at once", seconds);
    storm.end();
    Ok(())
}

/// cargo build, once more after a touch, cargo clean; the target directory lies in the root.
fn builds(scale: &Scale, report: &mut Report) -> Result<(), String> {
    needs(&["cargo"])?;
    let site = Site::new();
    let manifest = format!(
        "[package]\nname = \"storm\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{}",
        scale.rust_dependencies
    );
    let put = |project: &Path| {
        fs::create_dir_all(project.join("src")).must(project.display());
        fs::write(project.join("Cargo.toml"), &manifest).must(project.display());
        fs::write(project.join("src/main.rs"), "fn main() {}\n").must(project.display());
    };
    let (fetched, project) = (site.path("fetched"), site.root.join("project"));
    put(&fetched);
    run(cargo(&fetched).args(["fetch", "--quiet"]), &site.path("log"))?;

    let mut storm = Storm::begin("cargo", site, report);
    put(&project);
    fs::copy(fetched.join("Cargo.lock"), project.join("Cargo.lock")).must("the lock file");
    let build = |storm: &Storm| storm.run(cargo(&project).args(["build", "--quiet", "--offline"]));
    let seconds = build(&storm);
    assert!(project.join("target/debug/storm").is_file(), "the build lies in the root");
    storm.freeze("build", seconds);
    storm.run(Command::new("touch").arg(project.join("src/main.rs")));
    let seconds = build(&storm);
    storm.freeze("touch and build", seconds);
    let seconds = storm.run(cargo(&project).args(["clean", "--quiet"]));
    storm.freeze_removed("clean", seconds);
    storm.end();
    Ok(())
}

/// Says which programs are missing.
fn needs(programs: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !has_program(program)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not installed: {}", missing.join(", "))) }
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = run();
    (value, start.elapsed().as_secs_f64())
}

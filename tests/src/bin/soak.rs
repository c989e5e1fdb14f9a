//! `make soak`: random histories one after the other until the time is up, each a seed with kills, stops and overflows.
//!
//! Prints a line for each seed and a table at the end; the status is 1 where anything differed. Keeps the sites of
//! seeds that failed and says where, and removes the others.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use asof_tests::filesystem::{Filesystem, Mount};
use asof_tests::measure::table;
use asof_tests::random::Random;
use asof_tests::settings::number;
use asof_tests::site::Site;
use asof_tests::story::{DISTURBANCES, Outcome, Plan, live};

const QUEUE: &str = "/proc/sys/fs/inotify/max_queued_events";
/// A queue so short that ordinary storms overflow it.
const QUEUE_SHORT: u32 = 256;
/// What a filesystem is called that is not made for a seed.
const HERE: &str = "here";
/// Sites of failed seeds that are kept at most; the oldest are the most telling.
const KEPT_MAX: usize = 5;

/// What is wanted, from the environment.
struct Wish {
    minutes: f64,
    seed: u64,
    one: bool,
    backend: Option<String>,
    /// Of every seed; otherwise of those that are odd.
    short_queue: Option<bool>,
    filesystems: Vec<Option<Filesystem>>,
}

fn wish() -> Wish {
    let seed = number("SEED");
    let backend = std::env::var("BACKEND").ok().filter(|text| !text.is_empty());
    let all = [Filesystem::Ext4, Filesystem::Btrfs, Filesystem::Xfs, Filesystem::Tmpfs, Filesystem::Overlay];
    let filesystems = match std::env::var("FILESYSTEM").ok().filter(|text| !text.is_empty()) {
        None => vec![None],
        Some(text) if text == "all" => all.into_iter().map(Some).collect(),
        Some(text) => match all.into_iter().find(|one| one.name() == text) {
            Some(one) => vec![Some(one)],
            None => {
                eprintln!("FILESYSTEM is {text:?}: all, ext4, btrfs, xfs, tmpfs or overlay is wanted");
                std::process::exit(2);
            }
        },
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Wish {
        minutes: number("MINUTES").unwrap_or(30.0),
        seed: seed.unwrap_or_else(|| now.map_or(1, |since| since.as_secs())),
        one: seed.is_some() && number::<f64>("MINUTES").is_none(),
        backend,
        short_queue: number::<u8>("SHORT_QUEUE").map(|wanted| wanted != 0),
        filesystems,
    }
}

/// Makes the queue of events short for agents started from now on; puts it back when dropped. Read by the kernel when
/// an agent starts, for the whole machine: that is why `make soak` wants to be alone on it.
struct ShortQueue(String);

impl ShortQueue {
    fn set() -> Option<ShortQueue> {
        let before = fs::read_to_string(QUEUE).ok()?;
        match fs::write(QUEUE, QUEUE_SHORT.to_string()) {
            Ok(()) => Some(ShortQueue(before)),
            Err(error) => {
                println!("the queue of events keeps its length of {}: {error}", before.trim());
                None
            }
        }
    }
}

impl Drop for ShortQueue {
    fn drop(&mut self) {
        if let Err(error) = fs::write(QUEUE, self.0.trim()) {
            eprintln!("{QUEUE} could not be set back to {}: {error}", self.0.trim());
        }
    }
}

/// What one seed came to.
struct Row {
    seed: u64,
    place: &'static str,
    short: bool,
    outcome: Outcome,
    /// Why there is no outcome.
    failed: Option<String>,
    kept: Option<PathBuf>,
}

fn main() -> ExitCode {
    let wish = wish();
    let is_root = rustix::process::geteuid().is_root();
    if wish.short_queue != Some(false) && !is_root {
        println!("not root: the queue of events keeps its length");
    }
    let (start, limit) = (Instant::now(), Duration::from_secs_f64(wish.minutes * 60.0));
    let mut rows: Vec<Row> = Vec::new();
    for number in 0.. {
        if start.elapsed() >= limit || (wish.one && number > 0) {
            break;
        }
        let filesystem = wish.filesystems[number as usize % wish.filesystems.len()];
        let seed = wish.seed.wrapping_add(number);
        let short = is_root && wish.short_queue.unwrap_or(seed % 2 == 1);
        let row = one(seed, filesystem, short, &wish, &rows);
        println!("{}", line(&row));
        rows.push(row);
    }
    summary(&rows)
}

/// Lives one seed on a site of its own.
fn one(seed: u64, filesystem: Option<Filesystem>, short: bool, wish: &Wish, rows: &[Row]) -> Row {
    let mut random = Random::new(seed);
    let plan = Plan {
        seed,
        freeze_points: 6 + random.below(6) as usize,
        edits: 100 + random.below(400) as usize,
        writers: 1 + random.below(5) as usize,
        disturbances: DISTURBANCES.to_vec(),
        arguments: Vec::new(),
    };
    let place = filesystem.map_or(HERE, Filesystem::name);
    let mut row = Row { seed, place, short, outcome: Outcome::default(), failed: None, kept: None };
    let mount = match filesystem.map(Mount::new).transpose() {
        Ok(mount) => mount,
        Err(why) => {
            row.failed = Some(why);
            return row;
        }
    };
    let mut site = mount.as_ref().map_or_else(Site::new, |mount| Site::below(mount.point()));
    let config = wish.backend.as_ref().map(|backend| {
        let path = site.path("config.toml");
        (path.clone(), fs::write(&path, format!("backend = {backend:?}\n")))
    });
    let plan = match config {
        Some((path, Ok(()))) => {
            Plan { arguments: vec!["--config".into(), path.to_string_lossy().into_owned()], ..plan }
        }
        Some((path, Err(error))) => {
            row.failed = Some(format!("{}: {error}", path.display()));
            return row;
        }
        None => plan,
    };
    let queue = short.then(ShortQueue::set).flatten();
    let lived = catch_unwind(AssertUnwindSafe(|| live(&plan, &site)));
    drop(queue);
    match lived {
        Ok(outcome) => row.outcome = outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            row.failed = Some(text.unwrap_or_else(|| "a panic without a word".into()));
        }
    }
    for difference in &row.outcome.differences {
        println!("seed {seed}: {difference}");
    }
    let failed = row.failed.is_some() || !row.outcome.differences.is_empty();
    if failed && rows.iter().filter(|row| row.kept.is_some()).count() < KEPT_MAX {
        row.kept = match &mount {
            None => Some(site.keep()),
            // The rest goes with its filesystem.
            Some(_) => {
                let kept = std::env::temp_dir().join(format!("seed-{seed}"));
                site.keep_traces(&kept).map(|()| kept).inspect_err(|why| println!("{why}")).ok()
            }
        };
    }
    drop(site);
    drop(mount);
    row
}

fn line(row: &Row) -> String {
    let queue = if row.short { ", short queue" } else { "" };
    let mut text = format!("seed {} on {}{queue}: {}", row.seed, row.place, row.outcome);
    for missed in &row.outcome.missed {
        text.push_str(&format!("\n  {missed}"));
    }
    if let Some(why) = &row.failed {
        text.push_str(&format!("\n  failed: {why}"));
    }
    if let Some(path) = &row.kept {
        text.push_str(&format!("\n  kept in {}", path.display()));
    }
    text
}

fn summary(rows: &[Row]) -> ExitCode {
    let head = [
        "seed",
        "on",
        "operations",
        "freeze points",
        "kills",
        "stops",
        "freezes",
        "overflows",
        "gaps",
        "missed",
        "differences",
    ];
    let mut lines = vec![head.map(String::from).to_vec()];
    let mut sums = [0_u64; 9];
    for row in rows {
        let outcome = &row.outcome;
        let figures = [
            outcome.operations as u64,
            outcome.freeze_points as u64,
            outcome.kills as u64,
            outcome.stops as u64,
            outcome.freezes as u64,
            outcome.overflows,
            outcome.gaps,
            outcome.missed_by_events,
            outcome.differences.len() as u64,
        ];
        let mut cells = vec![row.seed.to_string(), row.place.to_string()];
        cells.extend(figures.iter().map(ToString::to_string));
        if row.failed.is_some() {
            cells.push("failed".into());
        }
        lines.push(cells);
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
    let mut cells = vec!["all".to_string(), rows.len().to_string()];
    cells.extend(sums.iter().map(ToString::to_string));
    lines.push(cells);
    println!("\n{}", table(&lines));
    let bad: Vec<&Row> =
        rows.iter().filter(|row| row.failed.is_some() || !row.outcome.differences.is_empty()).collect();
    for row in &bad {
        let place = if row.place == HERE { String::new() } else { format!(" FILESYSTEM={}", row.place) };
        println!("again: make soak SEED={}{place} SHORT_QUEUE={}", row.seed, u8::from(row.short));
    }
    if bad.is_empty() && !rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

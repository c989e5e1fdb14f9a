//! The two event sources beside each other in one run: start, a creation storm and `rm -rf`, beside more and more watched
//! directories.
//!
//! `SIZES` (numbers of directories, default `1000 5000 20000 60000`), `REMOVED` (default 5000), `STORM` (seconds of four
//! writers, default 10).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use asof_tests::agent::Agent;
use asof_tests::measure::{peak_memory_of, show_bytes, show_seconds, table};
use asof_tests::must::Must;
use asof_tests::site::Site;

const BACKENDS: [&str; 2] = ["notify", "inotify"];

/// How long one sync may take.
const SYNC_MAX: &str = "200s";

/// Directories to a directory, below the top.
const FAN: usize = 100;

/// What one source did beside one number of directories.
struct Run {
    start: f64,
    made: f64,
    listed: u64,
    removed: f64,
    processor: f64,
    overflows: u64,
    memory: f64,
    syncs: usize,
    longest: f64,
}

fn main() {
    let numbers = |name: &str, default: &str| -> Vec<usize> {
        let text = std::env::var(name).unwrap_or_else(|_| default.to_string());
        text.split_whitespace().map(|word| word.parse().must(format!("{name}: {word}"))).collect()
    };
    let sizes = numbers("SIZES", "1000 5000 20000 60000");
    let removed = numbers("REMOVED", "5000").first().copied().unwrap_or(5000);
    let storm = Duration::from_secs(numbers("STORM", "10").first().copied().unwrap_or(10) as u64);
    let mut figures = vec![
        [
            "directories",
            "source",
            "start",
            "made",
            "listed",
            "removed",
            "CPU",
            "overflows",
            "memory",
            "syncs",
            "longest",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let mut ratios =
        vec![["inotify by notify", "start", "made", "removed", "CPU"].map(String::from).to_vec()];
    for size in sizes {
        let runs = BACKENDS.map(|backend| {
            let run = run(backend, size, removed, storm);
            figures.push(vec![
                size.to_string(),
                backend.to_string(),
                show_seconds(run.start),
                show_seconds(run.made),
                run.listed.to_string(),
                show_seconds(run.removed),
                show_seconds(run.processor),
                run.overflows.to_string(),
                show_bytes(run.memory),
                run.syncs.to_string(),
                show_seconds(run.longest),
            ]);
            run
        });
        let [notify, inotify] = &runs;
        let by = |value: fn(&Run) -> f64| format!("{:.2}", value(inotify) / value(notify));
        ratios.push(vec![
            size.to_string(),
            by(|run| run.start),
            by(|run| run.made),
            by(|run| run.removed),
            by(|run| run.processor),
        ]);
    }
    println!("\n{}\n{}", table(&figures), table(&ratios));
    println!(
        "start: from asofd until a sync returned. made: {removed} directories with 2 files each, until a sync returned;\n\
         listed: directories that were listed for that. removed: rm -rf of those, until a sync returned (inf: not in {SYNC_MAX}). CPU: of asofd, for both.\n\
         syncs: one after the other while four writers make directories with files, for {} s; longest: the longest of those.",
        storm.as_secs()
    );
}

fn run(backend: &str, size: usize, removed: usize, seconds: Duration) -> Run {
    let site = Site::new();
    directories(&site.root.join("kept"), size, 0);
    let config = site.path("asofd.toml");
    fs::write(&config, format!("backend = \"{backend}\"\n")).must(config.display());
    let began = Instant::now();
    let agent = Agent::start(&site, &["--config", config.to_str().must("a path in UTF-8")]);
    for expected in ["event source does not answer", "overflow", "not seen"] {
        agent.allow(expected);
    }
    agent.protecting(&site);
    let start = until_durable(&site, began);

    let (listed, before) = (site.counter("directories_listed"), processor_of(agent.pid()));
    let doomed = site.root.join("doomed");
    let began = Instant::now();
    directories(&doomed, removed, 2);
    let made = until_durable(&site, began);
    let listed = site.counter("directories_listed") - listed;

    let began = Instant::now();
    fs::remove_dir_all(&doomed).must(doomed.display());
    let removed = until_durable(&site, began);
    let processor = processor_of(agent.pid()) - before;
    let overflows = site.counter("overflows");
    let memory = peak_memory_of(agent.pid()).unwrap_or(0) as f64;
    let (syncs, longest) = storm(&site, seconds);
    agent.kill9();
    eprintln!(
        "{backend} beside {size}: removed in {}, longest sync {}",
        show_seconds(removed),
        show_seconds(longest)
    );
    Run { start, made, listed, removed, processor, overflows, memory, syncs, longest }
}

/// Seconds from an instant until a sync returned; infinite where it did not in time.
fn until_durable(site: &Site, began: Instant) -> f64 {
    let ended = site.asof(["sync", "--timeout", SYNC_MAX]).run().status == 0;
    if ended { began.elapsed().as_secs_f64() } else { f64::INFINITY }
}

/// So many directories below one, with so many files in each.
fn directories(top: &Path, count: usize, files: usize) {
    for number in 0..count {
        let dir = top.join(format!("{}/{number}", number / FAN));
        fs::create_dir_all(&dir).must(dir.display());
        for file in 0..files {
            let file = dir.join(format!("file-{file}"));
            fs::write(&file, format!("content of {}", file.display())).must(file.display());
        }
    }
}

/// Processor time of the threads that a process has now, in seconds.
fn processor_of(pid: u32) -> f64 {
    let tasks = format!("/proc/{pid}/task");
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(&tasks).must(&tasks).flatten() {
        let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds +=
            stat.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    }
    nanoseconds / 1e9
}

/// Four writers of new directories for a while, and a `sync` after the other beside them: how many, and the longest.
fn storm(site: &Site, duration: Duration) -> (usize, f64) {
    let began = Instant::now();
    let (mut syncs, mut longest) = (0, 0.0_f64);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let top = site.root.join(format!("storm/{writer}"));
            scope.spawn(move || {
                for round in 0.. {
                    if began.elapsed() >= duration {
                        return;
                    }
                    directories(&top.join(round.to_string()), 3, 3);
                }
            });
        }
        while began.elapsed() < duration {
            let asked = Instant::now();
            longest = longest.max(until_durable(site, asked));
            syncs += 1;
        }
    });
    (syncs, longest)
}

//! Much at once: several writers, directories that keep moving, a queue that overflows, an end in the middle of it. Each
//! with each event source.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::Site;
use asof_tests::wait::{PATIENCE, eventually};

const WRITERS: usize = 4;
const STORM: Duration = Duration::from_secs(4);
/// Rounds of one writer: a storm lasts as long as a `sync` in it, and on a fast machine new directories would reach the
/// limit of watches before it ends.
const ROUNDS_MAX: usize = 300;

/// Makes each of the tests one with notify and one with the direct source.
macro_rules! with_each_source {
    ($($test:ident),+ $(,)?) => {
        mod with_notify {
            $(#[test]
            fn $test() {
                super::$test("notify");
            })+
        }
        mod with_inotify {
            $(#[test]
            fn $test() {
                super::$test("inotify");
            })+
        }
    };
}

with_each_source! {
    four_writers_of_new_directories_lose_nothing,
    directories_that_keep_moving_lose_nothing,
    names_that_change_what_they_are_lose_nothing,
    directories_made_anew_at_once_lose_nothing,
    an_overflow_is_a_gap_and_everything_is_found,
    an_end_during_the_first_capture_is_prompt_and_the_next_start_goes_on,
    a_root_that_is_deleted_and_made_anew_is_protected_again,
}

/// Starts an agent with an event source, and does not wait for anything.
fn begin(site: &Site, backend: &str) -> Agent {
    let config = site.path("asofd.toml");
    fs::write(&config, format!("backend = \"{backend}\"\n")).must(config.display());
    Agent::start(site, &["--config", config.to_str().must("a path in UTF-8")])
}

fn start(site: &Site, backend: &str) -> Agent {
    let agent = begin(site, backend);
    agent.protecting(site);
    agent
}

/// Runs a writer on each of a few threads until the time is up, while `beside` is done again and again.
fn storm(write: impl Fn(usize, usize) + Sync, mut beside: impl FnMut()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (write, over) = (&write, &over);
            scope.spawn(move || {
                for round in 0..ROUNDS_MAX {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    write(writer, round);
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < STORM {
            beside();
        }
        over.store(true, Ordering::Relaxed);
    });
}

fn put(path: &Path, content: &str) {
    fs::write(path, content).must(path.display());
}

fn four_writers_of_new_directories_lose_nothing(backend: &str) {
    let site = Site::new();
    let agent = start(&site, backend);
    let write = |writer: usize, round: usize| {
        let mut dir = site.root.join(format!("writer-{writer}/round-{round}"));
        for level in 0..3 {
            dir.push(format!("level-{level}"));
            fs::create_dir_all(&dir).must(dir.display());
            for file in 0..3 {
                put(&dir.join(format!("file-{file}")), &format!("{writer} {round} {level} {file}"));
            }
        }
    };
    if backend == "notify" {
        // While new directories keep coming it may not get to the end of its queue, and then no sync ends.
        agent.allow("the event source does not answer in time");
        storm(write, || {
            let given = site.asof(["--json", "sync", "--timeout", "1s"]).run();
            assert!([0, 1].contains(&given.status), "{}", given.text());
        });
    } else {
        storm(write, || {
            site.sync();
        });
    }
    agent.protecting(&site);
    site.take("after the storm");
    site.check_all("the agent runs");
    agent.terminate();
    site.check_all("the agent was stopped");
}

fn directories_that_keep_moving_lose_nothing(backend: &str) {
    let site = Site::new();
    for writer in 0..WRITERS {
        let dir = site.root.join(format!("here-{writer}/inner"));
        fs::create_dir_all(&dir).must(dir.display());
        for file in 0..20 {
            put(&dir.join(format!("file-{file}")), "old");
        }
    }
    let agent = start(&site, backend);
    let write = |writer: usize, round: usize| {
        let (here, there) =
            (site.root.join(format!("here-{writer}")), site.root.join(format!("there-{writer}")));
        fs::rename(&here, &there).must(here.display());
        put(&there.join(format!("inner/file-{}", round % 20)), &format!("written there in {round}"));
        fs::rename(there.join("inner"), there.join("other")).must(there.display());
        put(&there.join(format!("other/new-{}", round % 7)), &format!("new in {round}"));
        fs::rename(there.join("other"), there.join("inner")).must(there.display());
        fs::rename(&there, &here).must(there.display());
        put(&here.join(format!("inner/file-{}", (round + 3) % 20)), &format!("written here in {round}"));
    };
    storm(write, || {
        site.sync();
    });
    site.take("after the storm");
    site.check_all("the agent runs");
    agent.terminate();
}

fn names_that_change_what_they_are_lose_nothing(backend: &str) {
    let site = Site::new();
    let agent = start(&site, backend);
    let write = |writer: usize, round: usize| {
        let path = site.root.join(format!("thing-{writer}"));
        put(&path, &format!("a file in {round}"));
        let link = site.root.join(format!("link-{writer}-{}", round % 5));
        let _ = fs::remove_file(&link);
        fs::hard_link(&path, &link).must(link.display());
        fs::remove_file(&path).must(path.display());
        fs::create_dir(&path).must(path.display());
        put(&path.join("inside"), &format!("inside in {round}"));
        fs::remove_dir_all(&path).must(path.display());
        std::os::unix::fs::symlink("nowhere", &path).must(path.display());
        fs::remove_file(&path).must(path.display());
    };
    storm(write, || {
        site.sync();
    });
    for writer in 0..WRITERS {
        put(&site.root.join(format!("thing-{writer}")), "a file at last");
    }
    site.take("after the storm");
    site.check_all("the agent runs");
    agent.terminate();
}

/// Path and often inode number are the old ones, and what was hinted in the new one comes while the old one is in flight.
fn directories_made_anew_at_once_lose_nothing(backend: &str) {
    let site = Site::new();
    let agent = start(&site, backend);
    for round in 0..25 {
        for again in 0..3 {
            for number in 0..12 {
                let dir = site.root.join(format!("dir-{number}"));
                let _ = fs::remove_dir_all(&dir);
                fs::create_dir_all(dir.join("level")).must(dir.display());
                put(&dir.join("anew"), &format!("{round} {again}"));
                put(&dir.join("level/file"), &format!("{round} {again} {number}"));
            }
        }
        site.take(&format!("round {round}"));
    }
    site.check_all("the agent runs");
    agent.terminate();
}

fn an_overflow_is_a_gap_and_everything_is_found(backend: &str) {
    let site = Site::new();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").must("the queue's length");
    let limit: usize = limit.trim().parse().must("a number");
    if limit > 100_000 {
        println!("skipped: a queue of {limit} events takes too long to overflow");
        return;
    }
    let agent = start(&site, backend);
    site.sync();
    let gaps = site.status()["gaps"].as_u64();
    agent.freeze();
    for number in 0..limit {
        let file = site.root.join(format!("file-{number}"));
        put(&file, "");
        fs::remove_file(&file).must(file.display());
    }
    let deep = site.root.join("made/while/frozen");
    fs::create_dir_all(&deep).must(deep.display());
    put(&deep.join("file"), "seen by the comparison");
    agent.resume();
    eventually(PATIENCE, "the overflow to be noticed", || (site.counter("overflows") > 0).then_some(()));
    site.take("after the overflow");
    assert!(site.status()["gaps"].as_u64() > gaps, "an overflow is a gap: {}", site.status());
    // What was made while nobody looked is watched now.
    put(&deep.join("later"), "seen by an event");
    site.take("after the next change");
    site.check_all("the agent runs");
    agent.terminate();
}

fn an_end_during_the_first_capture_is_prompt_and_the_next_start_goes_on(backend: &str) {
    let site = Site::new();
    let paths: Vec<PathBuf> =
        (0..4000).map(|n| site.root.join(format!("dir-{}/file-{n}", n % 100))).collect();
    for path in &paths {
        let dir = path.parent().must("a directory");
        fs::create_dir_all(dir).must(dir.display());
        put(path, &format!("{} ", path.display()).repeat(400));
    }
    let agent = begin(&site, backend);
    eventually(PATIENCE, "the capture to begin", || {
        let read = site.asof(["--json", "status"]).run();
        let answered = read.status == 0 && read.json()["counters"]["files_read"].as_u64() > Some(0);
        answered.then_some(())
    });
    let told = Instant::now();
    agent.terminate();
    assert!(told.elapsed() < Duration::from_secs(10), "it took {:?} to end", told.elapsed());
    let agent = start(&site, backend);
    site.take("captured by the second start");
    site.check_all("the agent runs");
    agent.terminate();
}

fn a_root_that_is_deleted_and_made_anew_is_protected_again(backend: &str) {
    let site = Site::new();
    put(&site.root.join("before"), "in the first root");
    let agent = start(&site, backend);
    agent.allow("the root is not there");
    let first = site.sync();
    fs::remove_dir_all(&site.root).must(site.root.display());
    agent.in_state(&site, "degraded");
    fs::create_dir(&site.root).must(site.root.display());
    put(&site.root.join("after"), "in the second root");
    agent.protecting(&site);
    put(&site.root.join("later"), "seen by an event");
    site.take("the second root");
    site.check_all("the agent runs");
    let gaps = site.status()["gaps"].as_u64();
    assert!(gaps > Some(1), "the time without the root is a gap: {gaps:?}");
    let kept = site.asof(["cat", &format!("{}@{}", site.root.join("before").display(), first.at)]).exits(0);
    assert_eq!(kept.stdout, b"in the first root");
    agent.terminate();
}

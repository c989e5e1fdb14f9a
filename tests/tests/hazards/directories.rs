//! Hazards of directories: new, moved, removed and excluded ones, many at once, and queues that are too short for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::Site;
use asof_tests::wait::quiet;

use crate::place::{Outcome, Place, is_full, make_dir, put};

/// `mkdir -p` with three files a level; of what is made before its watch there is no event.
fn new_tree(top: &Path) {
    let mut dir = top.to_path_buf();
    for level in ["a", "b", "c"] {
        dir.push(level);
        make_dir(&dir);
        for file in 0..3 {
            put(dir.join(format!("file-{file}")), format!("{level} {file}"));
        }
    }
}

pub(crate) fn files_in_new_directories(place: &Place) -> Outcome {
    let all = if is_full() { 2000 } else { 400 };
    let dir = place.dir();
    for number in 0..all / 2 {
        new_tree(&dir.join(format!("one-{number}")));
    }
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let dir = &dir;
            scope.spawn(move || {
                for number in 0..all / 8 {
                    new_tree(&dir.join(format!("four-{writer}-{number}")));
                }
            });
        }
    });
    place.agent().allow("the event source does not answer in time");
    place.exact("after the last directory");
    Outcome::Met
}

/// btrfs hides what is made between `opendir` and the watch from whoever lists in that order.
pub(crate) fn made_right_after_the_directory(place: &Place) -> Outcome {
    let mut random = Random::new(1);
    let dirs: Vec<PathBuf> = (0..100).map(|number| place.path(format!("d-{number}"))).collect();
    for dir in &dirs {
        fs::create_dir(dir).must(dir.display());
        quiet(Duration::from_micros(random.below(150)));
        fs::create_dir(dir.join("x")).must(dir.display());
    }
    place.site.sync();
    for dir in &dirs {
        put(dir.join("x/late"), "seen by an event");
    }
    place.exact("late files");
    Outcome::Met
}

pub(crate) fn written_right_after_the_move(place: &Place) -> Outcome {
    for number in 0..50 {
        let from = place.path(format!("d-{number}"));
        fs::create_dir(&from).must(from.display());
        put(from.join("f"), "old");
        put(from.join("g"), "stays");
    }
    place.exact("before the moves");
    for number in 0..50 {
        let (from, to) = (place.path(format!("d-{number}")), place.path(format!("e-{number}")));
        fs::rename(&from, &to).must(from.display());
        put(to.join("f"), "new");
    }
    let moved = place.exact("moved, then written");
    assert_eq!(place.cat(&place.path("e-7/f"), &moved), b"new");
    place.is_gone(&place.path("d-7"), &moved);
    Outcome::Met
}

/// Directories that more than fill the queue of events.
pub(crate) fn forest(place: &Place) -> (PathBuf, usize) {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").must("the queue's length");
    let limit: usize = limit.trim().parse().must("a number");
    (place.site.root.join("forest"), (limit * 5 / 4).clamp(2000, 30_000))
}

/// Listing directories makes events of its own unless they are masked.
pub(crate) fn no_overflow_at_start(place: &Place) -> Outcome {
    let (forest, count) = forest(place);
    // It may be there already, from the overflow.
    place.while_stopped(|| {
        for number in 0..count {
            make_dir(forest.join(number.to_string()));
        }
    });
    place.site.sync();
    assert_eq!(place.site.counter("overflows"), 0, "a start over {count} directories");
    // Without an agent: nobody has to hear of each.
    place.while_stopped(|| fs::remove_dir_all(&forest).must(forest.display()));
    place.is_gone(&forest, &place.site.sync());
    Outcome::Met
}

/// With writers at work notify does not get to the end of its queue; a barrier must not wait for that.
pub(crate) fn barrier_under_load(place: &Place) -> Outcome {
    let storm = Duration::from_secs(if is_full() { 30 } else { 3 });
    let dir = place.dir();
    let start = Instant::now();
    let mut lag_max = 0;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let dir = &dir;
            scope.spawn(move || {
                // Bounded, so that checking does not take longer than the storm.
                for number in 0..1000 * storm.as_secs() / 4 {
                    if start.elapsed() > storm {
                        return;
                    }
                    let new = dir.join(format!("{writer}/{}/{number}", number % 50));
                    make_dir(&new);
                    put(new.join("file"), format!("{writer} {number}"));
                }
            });
        }
        while start.elapsed() < storm {
            lag_max = lag_max.max(place.site.status()["lag_ms"].as_u64().unwrap_or(0));
            quiet(Duration::from_millis(100));
        }
    });
    place.agent().allow("the event source does not answer in time");
    place.agent().protecting(&place.site);
    place.exact("after the storm");
    println!("{}: lag under load at most {lag_max} ms", place.filesystem());
    assert!(lag_max < 15_000, "the lag is bounded: {lag_max} ms");
    Outcome::Met
}

pub(crate) fn excluded(place: &Place) -> Outcome {
    let site = Site::below(place.mount.point());
    let left_out = site.root.join("target");
    make_dir(&left_out);
    put(site.root.join("kept"), "kept");
    let config = site.path("config.toml");
    put(&config, format!("exclude = [{:?}]\n", left_out.to_string_lossy()));
    let agent = Agent::start(&site, &["--config", &config.to_string_lossy()]);
    agent.protecting(&site);
    site.sync();
    let counters = || ["files_read", "versions", "overflows"].map(|name| site.counter(name));
    let before = counters();
    for number in 0..3000 {
        let dir = left_out.join(format!("{}/{}", number % 30, number % 300));
        make_dir(&dir);
        put(dir.join(format!("object-{number}")), vec![1; 100]);
    }
    let synced = site.sync();
    assert_eq!(counters(), before, "files read, versions, overflows: nothing below is looked at");
    site.asof(["ls", &left_out.to_string_lossy(), "--at", &synced.at]).exits(5);
    // What leaves the excluded tree is protected from then on, and the other way round.
    fs::rename(left_out.join("0"), site.root.join("out")).must("moving out");
    fs::rename(site.root.join("kept"), left_out.join("kept")).must("moving in");
    put(site.root.join("out/0/more"), "in a directory that came out");
    let synced = site.sync();
    let out = site.restore(&site.root.join("out"), &synced.at);
    asof_tests::oracle::assert_same(&site.root.join("out"), &out, "moved out of the excluded tree");
    site.asof(["ls", &site.root.join("kept").to_string_lossy(), "--at", &synced.at]).exits(5);
    agent.terminate();
    Outcome::Met
}

/// Over 128 changed entries a directory is compared as a whole.
pub(crate) fn bursts(place: &Place) -> Outcome {
    for (name, count) in [("just-below", 128), ("just-over", 129), ("many", 2000)] {
        let dir = place.path(name);
        make_dir(&dir);
        for number in 0..count {
            put(dir.join(number.to_string()), format!("{name} {number}"));
        }
    }
    place.exact("made at once");
    for (name, count) in [("just-below", 128), ("just-over", 129), ("many", 2000)] {
        for number in 0..count {
            let file = place.path(name).join(number.to_string());
            match number % 3 {
                0 => fs::remove_file(&file).must(file.display()),
                1 => put(&file, format!("changed {number}")),
                _ => fs::rename(&file, file.with_extension("moved")).must(file.display()),
            }
        }
    }
    place.exact("changed at once");
    Outcome::Met
}

pub(crate) fn moved_out_and_in(place: &Place) -> Outcome {
    let (inside, outside) = (place.path("tree"), place.site.path("outside"));
    new_tree(&inside);
    put(inside.join("a/file-0"), "in the root");
    place.exact("before it leaves");
    let node = place.node(&inside.join("a/b/file-1"), &place.site.sync());
    fs::rename(&inside, &outside).must("out");
    let away = place.exact("away");
    place.is_gone(&inside, &away);
    put(outside.join("a/b/file-1"), "written outside");
    put(outside.join("a/b/new"), "made outside");
    fs::remove_file(outside.join("a/file-2")).must("removed outside");
    fs::rename(outside.join("a/b/c"), outside.join("c")).must("moved outside");
    // What is outside is nobody's business, also under a watch that was left behind.
    let quiet_seq = place.exact("still away");
    place.is_gone(&inside, &quiet_seq);
    let reads = place.site.counter("files_read");
    fs::rename(&outside, &inside).must("in");
    let back = place.exact("back");
    assert_eq!(place.cat(&inside.join("a/b/file-1"), &back), b"written outside");
    assert_eq!(place.node(&inside.join("a/b/file-1"), &back), node, "it is the same file still");
    println!(
        "{}: read {} files when it came back",
        place.filesystem(),
        place.site.counter("files_read") - reads
    );
    put(inside.join("c/file-0"), "written after it came back");
    put(inside.join("a/b/later"), "made after it came back");
    place.exact("watched again");
    // At once, without anybody having seen it away.
    for round in 0..20 {
        fs::rename(&inside, &outside).must("out");
        put(outside.join("a/file-0"), format!("round {round}"));
        fs::rename(&outside, &inside).must("in");
        put(inside.join("a/file-1"), format!("round {round}"));
    }
    place.exact("out and in at once");
    Outcome::Met
}

pub(crate) fn crowded(place: &Place) -> Outcome {
    if !is_full() {
        return Outcome::Skipped("slow; ASOF_TEST_FULL=1".into());
    }
    let dir = place.path("crowd");
    make_dir(&dir);
    for number in 0..100_000 {
        fs::File::create(dir.join(format!("entry-{number}"))).must(number);
    }
    let full = place.exact("100,000 entries");
    let listed_before = place.site.counter("directories_listed");
    put(dir.join("entry-50000"), "one of them");
    let changed = place.site.sync();
    assert!(place.site.counter("directories_listed") - listed_before <= 1);
    assert_eq!(place.cat(&dir.join("entry-50000"), &changed), b"one of them");
    assert_eq!(place.cat(&dir.join("entry-50000"), &full), b"");
    fs::remove_dir_all(&dir).must("removing all");
    place.exact("all of them removed");
    Outcome::Met
}

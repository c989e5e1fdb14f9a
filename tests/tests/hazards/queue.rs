//! Hazards of inotify's limits: a queue that is too short for what comes, more directories than may be watched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use asof_tests::agent::Agent;
use asof_tests::filesystem::run;
use asof_tests::must::Must;
use asof_tests::oracle;
use asof_tests::site::{Site, remove};
use asof_tests::wait::{PATIENCE, eventually};

use crate::directories::forest;
use crate::place::{Outcome, Place, is_full, make_dir, put};

/// How many directories the user may watch, in all of the namespace.
const LIMIT: &str = "/proc/sys/user/max_inotify_watches";

pub(crate) fn overflow(place: &Place) -> Outcome {
    let (forest, count) = forest(place);
    let gaps = place.site.status()["gaps"].as_u64();
    let before = place.site.counter("overflows");
    make_dir(&forest);
    place.site.sync();
    place.agent().freeze();
    for number in 0..count {
        fs::create_dir(forest.join(number.to_string())).must(number);
    }
    // Something else changes while nobody looks: in place, by rename, away.
    put(place.path("written"), "while frozen");
    make_dir(place.path("deep/below"));
    put(place.path("deep/below/file"), "while frozen");
    place.agent().resume();
    eventually(PATIENCE, "the overflow to be noticed", || {
        (place.site.counter("overflows") > before).then_some(())
    });
    place.agent().protecting(&place.site);
    let settled = place.exact("after the overflow");
    assert!(place.site.status()["gaps"].as_u64() > gaps, "an overflow is a gap");
    for number in 0..count {
        put(forest.join(number.to_string()).join("touched"), "");
    }
    put(place.path("deep/below/file"), "seen by an event");
    // So many events may overflow the queue once more; what has to be there is the same.
    let touched = place.exact("touched");
    let listed = |at: &str| {
        let path = forest.to_string_lossy().into_owned();
        place.site.asof(["--json", "ls", "-R", &path, "--at", at]).exits(0).text().lines().count()
    };
    assert_eq!(listed(&settled.at), count, "every directory made while frozen is there");
    assert_eq!(listed(&touched.at), 2 * count, "every directory made while frozen is watched");
    Outcome::Met
}

/// A source that looks at all its watches for each directory that goes is busy long after, and its queue overflows.
pub(crate) fn many_removed(place: &Place) -> Outcome {
    let (watched, removed) = if is_full() { (60_000, 5000) } else { (12_000, 4000) };
    let dir = place.dir();
    place.while_stopped(|| {
        for number in 0..watched {
            let side = if number < removed { "goes" } else { "stays" };
            make_dir(dir.join(format!("{side}/{}/{number}", number % 100)));
        }
    });
    place.site.sync();
    let before = place.site.counter("overflows");
    let start = Instant::now();
    fs::remove_dir_all(dir.join("goes")).must("remove");
    let took = start.elapsed();
    let synced = place.site.sync();
    let durable = start.elapsed() - took;
    println!(
        "{}: {removed} of {watched} removed in {took:.1?}, durable {durable:.1?} later",
        place.filesystem()
    );
    assert_eq!(place.site.counter("overflows"), before, "no overflow");
    assert!(durable < Duration::from_secs(5), "durable within 5 s: {durable:.1?}");
    place.is_gone(&dir.join("goes"), &synced);
    place.while_stopped(|| fs::remove_dir_all(dir.join("stays")).must("remove"));
    Outcome::Met
}

/// Runs the agent in a user namespace of its own, where directories can be watched up to a limit of the test's choice.
fn start_limited(site: &Site, watches: u32) -> Result<Agent, String> {
    let set = format!("echo {watches} > {LIMIT} && exec \"$0\" \"$@\"");
    let unshared = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &set]).arg(program);
        command
    };
    run(unshared(&site.programs.asofd).arg("--help"))?;
    // By default every 30 s: a test has no time for that.
    let config = site.path("config.toml");
    put(&config, "poll_every = '3s'\n");
    let arguments = ["--config".into(), config.into(), "--root".into(), site.root.clone().into()];
    Ok(Agent::start_with(site, unshared(&site.programs.asofd), &arguments))
}

/// More directories than may be watched: said with the remedy, polled, and over when there is room again.
pub(crate) fn watch_limit(place: &Place) -> Outcome {
    let site = Site::below(place.mount.point());
    let dirs: Vec<PathBuf> =
        (0..3000).map(|number| site.root.join(format!("{}/{number}", number % 30))).collect();
    for dir in &dirs {
        make_dir(dir);
        put(dir.join("file"), "at first");
    }
    let agent = match start_limited(&site, 2000) {
        Ok(agent) => agent,
        Err(why) => return Outcome::Skipped(why),
    };
    agent.allow("watch");
    agent.allow("limit");
    let status = agent.in_state(&site, "degraded");
    let told = status["problems"].to_string();
    assert!(told.contains("max_user_watches"), "the remedy is the sysctl: {told}");
    assert!(status["gaps"].as_u64() > Some(0), "what is not watched is a gap: {status}");
    site.take("the first capture");
    for (number, dir) in dirs.iter().enumerate() {
        put(dir.join("file"), format!("changed {number}"));
        put(dir.join("new"), format!("new {number}"));
    }
    // No event tells of two thirds of it, so no sync waits for it.
    eventually(2 * PATIENCE, "everything to be polled", || {
        let restored = site.restore(&site.root, &site.sync().at);
        let same = oracle::compare(&site.root, &restored).is_empty();
        remove(&restored);
        same.then_some(())
    });
    site.take("polled");
    for dir in &dirs[1200..] {
        fs::remove_dir_all(dir).must("remove");
    }
    agent.protecting(&site);
    put(dirs[7].join("file"), "seen by an event");
    site.take("fewer directories");
    for dir in &dirs[1200..] {
        make_dir(dir);
        put(dir.join("again"), "made again");
    }
    agent.in_state(&site, "degraded");
    let pid = agent.pid().to_string();
    let raise = format!("echo 100000 > {LIMIT}");
    run(Command::new("nsenter").args(["--user", "--target", &pid, "sh", "-c", &raise]))
        .must("raising the limit");
    agent.protecting(&site);
    for dir in &dirs {
        put(dir.join("last"), "seen by an event");
    }
    site.take("the limit was raised");
    site.check_all("the agent runs");
    agent.terminate();
    Outcome::Met
}

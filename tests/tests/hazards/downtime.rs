//! Hazards of time without an agent, and of a clock that jumps.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use asof_tests::agent::Agent;
use asof_tests::fake_clock::FakeClock;
use asof_tests::filesystem::Filesystem;
use asof_tests::must::Must;
use asof_tests::site::Site;
use asof_tests::tree::set_mtime;

use crate::place::{Outcome, Place, make_dir, put};

/// What changed while nobody watched: moves are known by identity, and only what was written is read.
pub(crate) fn recognised_after_downtime(place: &Place) -> Outcome {
    for number in 0..20 {
        let dir = place.path(format!("tree/{}", number % 4));
        make_dir(&dir);
        put(dir.join(format!("file-{number}")), format!("content of {number}").repeat(100));
    }
    for name in ["renamed", "edited", "forged", "removed", "becomes a dir", "becomes a link", "over", "under"]
    {
        put(place.path(name), format!("this is {name}"));
    }
    make_dir(place.path("becomes a file/inner"));
    put(place.path("becomes a file/inner/file"), "goes");
    let before = place.exact("before");
    let node = |name: &str, at| place.node(&place.path(name), at);
    let gaps = place.site.status()["gaps"].as_u64();
    place.while_stopped(|| {
        fs::rename(place.path("tree"), place.path("moved tree")).must("rename");
        fs::rename(place.path("moved tree/1"), place.path("moved tree/0/one")).must("rename");
        fs::rename(place.path("renamed"), place.path("moved tree/2/renamed")).must("rename");
        fs::rename(place.path("over"), place.path("under")).must("rename");
        fs::remove_file(place.path("removed")).must("remove");
    });
    let renamed = place.site.sync();
    // Where the kernel does not tell who writes, what is recent is read again, also what other hazards left.
    let counts = place.filesystem() != Filesystem::Overlay;
    if counts {
        let counters = ["files_read", "bytes_read"].map(|name| place.site.counter(name));
        assert_eq!(counters, [0, 0], "files and bytes read for what was only moved and removed");
    }
    place.exact("moved while down");
    assert_eq!(node("tree", &before), node("moved tree", &renamed));
    assert_eq!(node("tree/1/file-5", &before), node("moved tree/0/one/file-5", &renamed));
    assert_eq!(node("renamed", &before), node("moved tree/2/renamed", &renamed));
    assert_eq!(node("over", &before), node("under", &renamed));
    place.is_gone(&place.path("removed"), &renamed);
    place.is_gone(&place.path("tree"), &renamed);
    assert!(place.site.status()["gaps"].as_u64() > gaps, "the time without an agent is a gap");

    place.while_killed(|| {
        put(place.path("edited"), "this is changed");
        let meta = fs::metadata(place.path("forged")).must("stat");
        put(place.path("forged"), "THIS IS FORGED"); // the same size
        set_mtime(&place.path("forged"), meta.mtime(), meta.mtime_nsec());
        for name in ["becomes a dir", "becomes a link"] {
            fs::remove_file(place.path(name)).must(name);
        }
        make_dir(place.path("becomes a dir/with"));
        put(place.path("becomes a dir/with/a file"), "new");
        symlink("edited", place.path("becomes a link")).must("symlink");
        fs::remove_dir_all(place.path("becomes a file")).must("remove");
        put(place.path("becomes a file"), "was a directory");
        fs::hard_link(place.path("edited"), place.path("linked")).must("link");
    });
    place.site.sync();
    if counts {
        let read = place.site.counter("files_read");
        assert!((4..=5).contains(&read), "{read} files read for four that have new content");
    }
    let edited = place.exact("edited while dead");
    assert_eq!(place.cat(&place.path("forged"), &edited), b"THIS IS FORGED");
    // What moved while nobody looked is watched where it is now.
    put(place.path("moved tree/0/one/file-5"), "written where it is now");
    put(place.path("becomes a dir/with/more"), "more");
    place.exact("watched again");
    Outcome::Met
}

/// The wall clock goes back an hour between two writes, and forward again, under a running agent.
pub(crate) fn clock_jumps(place: &Place) -> Outcome {
    let site = Site::below(place.mount.point());
    let Some(clock) = FakeClock::new(&site) else {
        return Outcome::Skipped("libfaketime is not installed".into());
    };
    let arguments: Vec<OsString> = vec!["--root".into(), site.root.clone().into()];
    let agent = Agent::start_with(&site, clock.asofd(&site), &arguments);
    agent.protecting(&site);
    let file = site.root.join("file");
    let mut taken = Vec::new();
    for (offset, content) in [
        ("+0", "at first"),
        ("-1h", "an hour back"),
        ("-1h", "and a moment later"),
        ("+0", "forward again"),
        ("+73y", "far ahead"),
        ("+0", "back from there"),
    ] {
        clock.set(offset);
        put(&file, content);
        taken.push((site.take(&format!("{content}, {offset}")), content));
        let shown = &taken.last().must("an instant").0.instant;
        assert_eq!(
            shown.as_str() > "2090",
            offset == "+73y",
            "the agent's clock is off by {offset}: {shown}"
        );
    }
    site.check_all("the agent runs");
    site.check_all("by the other kind of time");
    let seqs: Vec<u64> = taken.iter().map(|(synced, _)| synced.seq).collect();
    assert!(seqs.is_sorted(), "order is by sequence number: {seqs:?}");
    let now = site.asof(["cat", &file.to_string_lossy()]).exits(0).stdout;
    assert_eq!(now, b"back from there", "a clock that was ahead hides nothing");
    let history = site.asof(["--json", "log", &file.to_string_lossy()]).exits(0).json_lines();
    let seqs: Vec<u64> = history.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert!(seqs.is_sorted_by(|newer, older| newer >= older), "newest first: {seqs:?}");
    agent.terminate();
    // Under the true clock again.
    let agent = site.start();
    put(&file, "under the true clock");
    site.take("the true clock");
    site.check_all("the true clock");
    agent.terminate();
    Outcome::Met
}

//! How far versions can be trusted: files with writers, mappings, rewriters; what is clean, and what only seems so.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::sys::Mapping;
use asof_tests::wait::{PATIENCE, eventually, quiet};
use rustix::fs::{CWD, Timespec, Timestamps};
use serde_json::Value;

/// Large enough that a read takes a while, and is many blocks.
const LARGE: usize = 8 << 20;

/// The newest line of `asof log` that says that a file has content: its place and its quality.
#[track_caller]
fn newest(site: &Site, path: &Path) -> (String, String) {
    versions(site, path).into_iter().next().must(format!("a version of {}", path.display()))
}

/// Every version in the log of a path, newest first: its place and its quality.
#[track_caller]
fn versions(site: &Site, path: &Path) -> Vec<(String, String)> {
    let lines = site.asof(arguments(&[&"--json", &"log", &path])).exits(0).json_lines();
    let of = |line: &Value| {
        let quality = line["quality"].as_str()?.to_string();
        Some((format!("seq:{}", line["seq"]), quality))
    };
    lines.iter().filter_map(of).collect()
}

/// What `asof ls --json` calls the quality of a file.
#[track_caller]
fn listed(site: &Site, path: &Path, at: &str) -> String {
    let line = site.asof(arguments(&[&"--json", &"ls", &path, &"--at", &at])).exits(0).json();
    line["quality"].as_str().must(format!("quality in {line}")).to_string()
}

#[track_caller]
fn cat(site: &Site, path: &Path, at: &str) -> Vec<u8> {
    site.asof(arguments(&[&"cat", &path, &"--at", &at])).exits(0).stdout
}

fn open_to_write(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).write(true).read(true).open(path).must(path.display())
}

#[test]
fn while_a_writer_holds_it_a_version_is_provisional_and_clean_once_it_is_closed() {
    let site = Site::new();
    let agent = site.start();
    let path = site.root.join("held");
    let mut file = open_to_write(&path);
    file.write_all(b"half of it").must("write");
    let held = site.sync();
    assert_eq!(newest(&site, &path).1, "provisional");
    assert_eq!(listed(&site, &path, &held.at), "provisional");
    let shown = site.asof(arguments(&[&"ls", &"-l", &path])).exits(0).text();
    assert!(shown.contains("(provisional)"), "{shown}");
    let warned = site.asof(arguments(&[&"cat", &path])).exits(0);
    assert!(warned.stderr.contains("provisional"), "{}", warned.stderr);
    assert_eq!(warned.stdout, b"half of it");

    drop(file);
    let closed = site.sync();
    assert_eq!(listed(&site, &path, &closed.at), "clean");
    // The same bytes were found again, so that those of before are known to be whole now.
    assert_eq!(listed(&site, &path, &held.at), "clean");
    assert_eq!(versions(&site, &path).len(), 1, "confirmed, not modified");
    let shown = site.asof(arguments(&[&"ls", &"-l", &path])).exits(0).text();
    assert!(!shown.contains("(provisional)"), "{shown}");
    assert!(!site.asof(arguments(&[&"cat", &path])).exits(0).stderr.contains("warning"));
    agent.terminate();
}

#[test]
fn a_store_through_a_mapping_is_found_without_any_event() {
    let site = Site::new();
    let agent = site.start();
    let path = site.root.join("mapped");
    let file = open_to_write(&path);
    file.set_len(8192).must("set_len");
    let mut mapping = Mapping::new(&file, 8192).must("mmap");
    drop(file);
    mapping.store(0, b"A");
    let first = site.sync();
    assert_eq!(cat(&site, &path, &first.at)[0], b'A');
    assert_eq!(listed(&site, &path, &first.at), "provisional");

    // The page is dirty already: no event, and no other change time.
    mapping.store(0, b"B");
    eventually(PATIENCE, "the store to be captured", || (cat(&site, &path, "now")[0] == b'B').then_some(()));
    assert_eq!(newest(&site, &path).1, "provisional");

    mapping.store(0, b"C");
    drop(mapping);
    let last = site.sync();
    assert_eq!(cat(&site, &path, &last.at)[0], b'C');
    assert_eq!(listed(&site, &path, &last.at), "clean");
    assert_eq!(cat(&site, &path, &first.at)[0], b'A');
    agent.terminate();
}

#[test]
fn a_store_through_a_mapping_while_the_agent_is_dead_is_found_at_the_next_start() {
    let site = Site::new();
    let agent = site.start();
    let path = site.root.join("mapped");
    let file = open_to_write(&path);
    file.set_len(8192).must("set_len");
    let mut mapping = Mapping::new(&file, 8192).must("mmap");
    drop(file);
    mapping.store(0, b"A");
    let first = site.sync();
    assert_eq!(cat(&site, &path, &first.at)[0], b'A');
    agent.kill9();
    let stamp = |path: &Path| fs::metadata(path).map(|meta| (meta.ctime(), meta.ctime_nsec())).must("stat");
    let before = stamp(&path);
    mapping.store(0, b"B");
    drop(mapping);
    assert_eq!(before, stamp(&path), "nothing tells of the store; else this test shows nothing");

    let agent = site.start();
    let found = site.sync();
    assert_eq!(cat(&site, &path, &found.at)[0], b'B');
    assert_eq!(listed(&site, &path, &found.at), "clean");
    agent.terminate();
}

/// Rewrites a large file with one byte after the other until told to stop.
fn rewrite(path: &Path, stop: &AtomicBool, mut one: impl FnMut(&Path, &[u8])) {
    let mut byte = b'a';
    while !stop.load(Ordering::Relaxed) {
        one(path, &vec![byte; LARGE]);
        byte = if byte == b'z' { b'a' } else { byte + 1 };
    }
}

/// Has a file rewritten until there are some versions of it; every one that is called clean must be of one piece.
fn rewritten(one: impl FnMut(&Path, &[u8]) + Send) {
    let site = Site::new();
    let path = site.root.join("rewritten");
    fs::write(&path, vec![b'-'; LARGE]).must("write");
    let agent = site.start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| rewrite(&path, &stop, one));
        eventually(PATIENCE, "some versions", || (versions(&site, &path).len() >= 6).then_some(()));
        stop.store(true, Ordering::Relaxed);
    });
    let last = site.sync();
    let (mut clean, mut mixed) = (0, 0);
    for (at, quality) in versions(&site, &path) {
        let bytes = cat(&site, &path, &at);
        let whole = bytes.len() == LARGE && bytes.iter().all(|byte| *byte == bytes[0]);
        assert!(whole || quality != "clean", "the version at {at} is a mix and called clean");
        clean += u32::from(quality == "clean");
        mixed += u32::from(!whole);
    }
    eprintln!("{clean} clean, {mixed} mixed");
    assert_eq!(cat(&site, &path, &last.at), fs::read(&path).must("read"));
    assert_eq!(listed(&site, &path, &last.at), "clean");
    agent.terminate();
}

#[test]
fn a_rewriter_that_keeps_its_file_open_makes_no_mix_that_is_called_clean() {
    let mut file = None;
    rewritten(move |path, bytes| {
        let file = file.get_or_insert_with(|| open_to_write(path));
        file.write_all_at(bytes, 0).must("write");
    });
}

#[test]
fn a_rewriter_that_closes_its_file_each_time_makes_no_mix_that_is_called_clean() {
    rewritten(|path, bytes| open_to_write(path).write_all_at(bytes, 0).must("write"));
}

#[test]
fn clean_versions_can_be_preferred() {
    let site = Site::new();
    let (held, fresh, quiet) = (site.root.join("held"), site.root.join("fresh"), site.root.join("quiet"));
    fs::write(&held, "whole").must("write");
    fs::write(&quiet, "quiet").must("write");
    let agent = site.start();
    site.sync();
    let (mut writer, mut first) = (open_to_write(&held), open_to_write(&fresh));
    writer.write_all(b"half of what is to come").must("write");
    first.write_all(b"never whole").must("write");
    let at = site.sync().at;

    let plain = site.fresh("plain");
    let lines = arguments(&[&"--json", &"restore", &site.root, &"--at", &at, &"--to", &plain]);
    let summary = site.asof(lines).exits(0).json_lines().pop().must("a summary");
    assert_eq!((summary["provisional"].as_u64(), summary["older"].as_u64()), (Some(2), Some(0)), "{summary}");
    assert_eq!(fs::read(plain.join("held")).must("held"), b"half of what is to come");

    let target = site.fresh("preferred");
    let command: [&dyn AsRef<std::ffi::OsStr>; 8] =
        [&"--json", &"restore", &site.root, &"--at", &at, &"--prefer", &"clean", &"--to"];
    for dry_run in [true, false] {
        let mut line = arguments(&command);
        line.push(target.clone().into());
        line.extend(dry_run.then(|| "--dry-run".into()));
        // One file has no clean version: it is restored as it is, named, and the status tells.
        let output = site.asof(line).exits(3);
        let lines = output.json_lines();
        let of_type =
            |kind: &str| -> Vec<&Value> { lines.iter().filter(|line| line["type"] == kind).collect() };
        let (older, problems) = (of_type("older"), of_type("problem"));
        assert_eq!((older.len(), problems.len()), (1, 1), "{}", output.text());
        assert!(older[0]["path"].as_str().is_some_and(|path| path.ends_with("/held")), "{}", older[0]);
        assert_eq!(older[0]["quality"], "provisional");
        assert!(older[0]["seq"].as_u64().is_some() && older[0]["instant"].is_string(), "{}", older[0]);
        assert!(problems[0]["path"].as_str().is_some_and(|path| path.ends_with("/fresh")), "{}", problems[0]);
        let summary = lines.last().must("a summary");
        assert_eq!(
            (summary["older"].as_u64(), summary["none_clean"].as_u64()),
            (Some(1), Some(1)),
            "{summary}"
        );
        assert_eq!(target.exists(), !dry_run);
    }
    assert_eq!(fs::read(target.join("held")).must("held"), b"whole");
    assert_eq!(fs::read(target.join("fresh")).must("fresh"), b"never whole");
    assert_eq!(fs::read(target.join("quiet")).must("quiet"), b"quiet");

    drop((writer, first));
    let at = site.sync().at;
    let target = site.fresh("closed");
    let line = arguments(&[&"restore", &site.root, &"--at", &at, &"--prefer", &"clean", &"--to", &target]);
    site.asof(line).exits(0);
    assert_eq!(fs::read(target.join("held")).must("held"), b"half of what is to come");
    agent.terminate();
}

#[test]
fn a_file_with_a_slash_behind_it_is_no_directory() {
    let site = Site::new();
    fs::write(site.root.join("file"), "content").must("write");
    let agent = site.start();
    let with_slash = format!("{}/", site.root.join("file").display());
    let target = site.fresh("target");
    site.asof(["cat", &with_slash]).exits(5);
    site.asof(["ls", &with_slash]).exits(5);
    site.asof(arguments(&[&"restore", &with_slash, &"--to", &target])).exits(5);
    site.asof(["ls", &format!("{}/", site.root.display())]).exits(0);
    agent.terminate();
}

#[test]
fn a_frozen_agent_is_said_to_be_so_and_the_journal_answers() {
    let site = Site::new();
    fs::write(site.root.join("file"), "content").must("write");
    let agent = site.start();
    let synced = site.sync();
    agent.freeze();
    let status = site.status();
    assert_eq!(status["state"], "degraded", "{status}");
    assert_eq!(status["pid"].as_u64(), Some(u64::from(agent.pid())));
    assert!(status["durable"]["seq"].as_u64() >= Some(synced.seq), "{status}");
    assert!(status["problems"][0].as_str().is_some_and(|text| text.contains("does not answer")), "{status}");
    assert!(site.asof(["status"]).exits(0).text().contains("SIGCONT"));
    agent.resume();
    agent.protecting(&site);
    agent.terminate();
}

#[test]
fn reading_leaves_no_trace_and_fifos_are_not_opened() {
    let site = Site::new();
    let (file, dir, fifo) = (site.root.join("file"), site.root.join("dir"), site.root.join("fifo"));
    fs::create_dir(&dir).must("mkdir");
    fs::write(&file, "content").must("write");
    fs::write(dir.join("inner"), "content").must("write");
    rustix::fs::mkfifoat(CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).must("mkfifo");
    // Older than the modification time: whoever reads without care moves it, also under relatime.
    let old = Timestamps {
        last_access: Timespec { tv_sec: 1_000_000_000, tv_nsec: 7 },
        last_modification: Timespec { tv_sec: 1_100_000_000, tv_nsec: 8 },
    };
    let all = [&dir.join("inner"), &file];
    for path in all {
        rustix::fs::utimensat(CWD, path, &old, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).must(path.display());
    }
    let agent = site.start();
    site.sync();
    for path in all {
        let file = OpenOptions::new().append(true).open(path).must("open");
        file.write_all_at(b"", 0).must("nothing");
        rustix::fs::utimensat(CWD, path, &old, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).must(path.display());
    }
    site.sync();
    for path in all {
        let meta = fs::metadata(path).must(path.display());
        assert_eq!((meta.atime(), meta.atime_nsec()), (1_000_000_000, 7), "{}", path.display());
    }
    // Nobody ever had it open for reading: a writer that does not wait is refused.
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    let writer = rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty());
    assert_eq!(writer.err(), Some(rustix::io::Errno::NXIO));
    assert_eq!(cat(&site, &file, "now"), b"content");
    agent.terminate();
}

#[test]
fn the_delay_from_hint_to_durable_is_measured() {
    let site = Site::new();
    fs::write(site.root.join("before"), "found by the first capture").must("write");
    let agent = site.start();
    site.sync();
    let figures = |span: &str| -> Vec<u64> {
        let status = site.status();
        let of = |name: &&str| status["rpo"][span][*name].as_u64().must(format!("{name} in {status}"));
        ["count", "p50_ms", "p95_ms", "p99_ms", "max_ms"].iter().map(of).collect()
    };
    assert_eq!(figures("since_start"), [0; 5], "what a reconcile finds has no hint");
    for number in 1..=20 {
        fs::write(site.root.join(format!("file-{number}")), "content").must("write");
        let synced = std::time::Instant::now();
        site.sync();
        let waited_ms = synced.elapsed().as_millis() as u64;
        let figures = figures("since_start");
        assert!(figures[0] >= number, "one change more: {figures:?}");
        assert!(figures[1..].is_sorted(), "p50 <= p95 <= p99 <= max: {figures:?}");
        assert!(figures[1] >= 1 && figures[4] < 60_000, "{figures:?} while this sync took {waited_ms} ms");
    }
    assert_eq!(figures("last_hour"), figures("since_start"));
    assert!(site.asof(["status"]).exits(0).text().contains("rpo        last hour: "));
    let count = figures("since_start")[0];
    // Nothing happens, also where the agent looks again at what it doubts.
    let held = open_to_write(&site.root.join("held"));
    held.write_all_at(b"x", 0).must("write");
    site.sync();
    let after = figures("since_start")[0];
    assert!(after > count);
    let read = site.counter("files_read");
    eventually(PATIENCE, "a look at the file that is held", || {
        (site.counter("files_read") > read).then_some(())
    });
    site.sync();
    assert_eq!(figures("since_start")[0], after, "a look without a hint is no change");
    drop(held);
    agent.terminate();
}

#[test]
fn hot_files_are_captured_at_the_maximum_delay_and_large_ones_stretch_it() {
    const PIECE: usize = 1 << 20;
    let site = Site::new();
    let (small, large) = (site.root.join("small"), site.root.join("large"));
    fs::write(&large, vec![b'-'; 64 * PIECE]).must("write");
    let config = site.path("config.toml");
    fs::write(&config, "[settle]\nmax_delay_ms = 500\n").must("write");
    let agent = Agent::start(&site, &["--config", &config.to_string_lossy()]);
    agent.protecting(&site);
    let stop = AtomicBool::new(false);
    let started = std::time::Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (small, large) = (open_to_write(&small), open_to_write(&large));
            let mut round = 0u64;
            while !stop.load(Ordering::Relaxed) {
                small.write_all_at(format!("round {round:012}").as_bytes(), 0).must("write");
                let at = round % 64 * PIECE as u64;
                large.write_all_at(&vec![round as u8; PIECE], at).must("write");
                round += 1;
                // Far less than the 200 ms of quiet that would make either of them due.
                quiet(Duration::from_millis(3));
            }
        });
        eventually(PATIENCE, "the large file to be stretched and the small one captured", || {
            let status = site.status();
            let stretched = status["stretched"].as_array().must("stretched");
            let named = |path: &Path| stretched.iter().any(|name| name.as_str() == path.to_str());
            assert!(!named(&small), "{status}");
            (named(&large) && versions(&site, &small).len() >= 8).then_some(())
        });
        let shown = site.asof(["status"]).exits(0).text();
        let named = shown.lines().any(|line| line.starts_with("stretched  ") && line.contains("large"));
        // Between two captures its time may just be over.
        assert!(named || site.status()["stretched"].as_array().is_some_and(Vec::is_empty), "{shown}");
        stop.store(true, Ordering::Relaxed);
    });
    let waited = started.elapsed();
    let last = site.sync();
    let (few, many) = (versions(&site, &large).len(), versions(&site, &small).len());
    eprintln!("{many} versions of the small file and {few} of the large one in {waited:?}");
    assert!(few < many, "{few} versions of the large file, {many} of the small one");
    assert!(few >= 2, "it is captured all the same");
    for path in [&small, &large] {
        assert_eq!(cat(&site, path, &last.at), fs::read(path).must("read"));
        assert_eq!(listed(&site, path, &last.at), "clean");
    }
    agent.terminate();
}

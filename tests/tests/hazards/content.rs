//! Hazards of content: stores that make no event, reads that race with writers, files without a name or without an end.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asof_tests::edit::LEAVE_ALONE;
use asof_tests::must::Must;
use asof_tests::sys::Mapping;
use asof_tests::wait::{PATIENCE, eventually, quiet};

use crate::place::{Outcome, Place, put};

pub(crate) const PAGE: usize = 4096;

pub(crate) fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).must(path.display())
}

/// Stores and msync give no event; the last close does.
pub(crate) fn mapped(place: &Place) -> Outcome {
    for name in ["closed", "kept open", "synced", "never synced"] {
        put(place.path(name), vec![b'.'; 3 * PAGE]);
    }
    place.exact("before the stores");
    for (name, msync) in [("closed", false), ("synced", true)] {
        let file = open(&place.path(name));
        let mut mapping = Mapping::new(&file, 3 * PAGE).must(name);
        drop(file);
        mapping.store(0, b"A");
        mapping.store(2 * PAGE + 5, b"a longer text in the third page");
        if msync {
            mapping.sync().must("msync");
        }
    }
    place.exact("stored and unmapped");
    // Stores while others capture: one right after the munmap of another mapping.
    let file = open(&place.path("never synced"));
    let mut stays = Mapping::new(&file, 3 * PAGE).must("a mapping");
    for round in 0..20_u8 {
        let mut goes = Mapping::new(&file, 3 * PAGE).must("a mapping");
        goes.store(0, &[b'A' + round]);
        drop(goes);
        stays.store(PAGE, &[b'A' + round]);
    }
    drop((stays, file));
    place.exact("two mappings, both gone");
    Outcome::Met
}

/// Versions of a file that is rewritten all the time are uniform, or say that they may not be.
pub(crate) fn torn(place: &Place) -> Outcome {
    const BYTES: usize = 8 << 20;
    let path = place.path("patterns");
    put(&path, vec![b'@'; BYTES]);
    place.site.sync();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = open(&path);
            for round in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let pattern = vec![b'A' + round % 26; BYTES];
                file.write_all_at(&pattern, 0).must("rewriting");
                quiet(Duration::from_millis(u64::from(round) * 7 % 40));
            }
        });
        quiet(Duration::from_secs(3));
        over.store(true, Ordering::Relaxed);
    });
    let last = place.exact("the rewriter is done");
    let (mut clean, mut flagged) = (0, 0);
    for line in place.history(&path).iter().filter(|line| line["what"] == "modified") {
        if line["quality"] != "clean" {
            flagged += 1;
            continue;
        }
        clean += 1;
        let at = format!("seq:{}", line["seq"]);
        let bytes = place.site.asof(["cat", &path.to_string_lossy(), "--at", &at]).exits(0).stdout;
        let first = bytes.first().copied();
        assert!(
            bytes.iter().all(|byte| Some(*byte) == first),
            "a version at {at} is said to be clean and is not: {line}"
        );
    }
    println!("{}: {clean} clean versions, {flagged} flagged", place.filesystem());
    assert!(clean > 0, "the last one is clean");
    let bytes = place.cat(&path, &last);
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "the last version is what the file is");
    Outcome::Met
}

fn quality(place: &Place, path: &Path) -> String {
    let lines = place.site.asof(["--json", "ls", &path.to_string_lossy()]).exits(0).json_lines();
    lines.first().and_then(|line| line["quality"].as_str()).unwrap_or("clean").to_string()
}

/// A version read while somebody holds the file open for writing is provisional, and clean once it is closed.
pub(crate) fn writer_active(place: &Place) -> Outcome {
    let path = place.path("held");
    let mut file = File::create(&path).must("create");
    file.write_all(b"written and not closed").must("write");
    let held = place.site.sync();
    assert_eq!(place.cat(&path, &held), b"written and not closed");
    assert_eq!(quality(place, &path), "provisional");
    drop(file);
    eventually(PATIENCE, "a clean version", || {
        place.site.sync();
        (quality(place, &path) == "clean").then_some(())
    });
    place.exact("closed");
    Outcome::Met
}

/// Who waits for quiet waits for ever here.
pub(crate) fn never_pauses(place: &Place) -> Outcome {
    let path = place.path("log");
    put(&path, "");
    let before = place.site.sync();
    let mut file = OpenOptions::new().append(true).open(&path).must("append");
    let (start, mut lag_max) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(7) {
        file.write_all(b"one line more\n").must("write");
        lag_max = lag_max.max(place.site.status()["lag_ms"].as_u64().unwrap_or(0));
        quiet(Duration::from_millis(100));
    }
    let versions = place.history(&path).iter().filter(|line| line["seq"].as_u64() > Some(before.seq)).count();
    println!("{}: {versions} versions in 7 s, lag at most {lag_max} ms", place.filesystem());
    assert!(versions >= 2, "a file that never pauses is captured at the maximum delay: {versions} versions");
    assert!(lag_max < 5000, "the lag stays bounded: {lag_max} ms");
    drop(file);
    place.exact("closed");
    Outcome::Met
}

pub(crate) fn giant_with_holes(place: &Place) -> Outcome {
    // The name that tools without an eye for holes leave alone.
    let path = place.path(LEAVE_ALONE);
    let file = File::create(&path).must("create");
    file.set_len((1 << 32) + 1).must("2^32 + 1 bytes");
    file.write_all_at(b"at the start", 0).must("write");
    file.write_all_at(b"at the border", (1 << 32) - 12).must("write");
    drop(file);
    let first = place.exact("2^32 bytes and one");
    let file = open(&path);
    file.write_all_at(b"in the middle", 1 << 31).must("write");
    file.set_len((1 << 32) + (1 << 20)).must("longer");
    drop(file);
    let read = place.site.counter("bytes_read");
    place.exact("more of it");
    println!("{}: {} bytes read", place.filesystem(), place.site.counter("bytes_read") - read);
    assert!(place.site.status()["journal_bytes"].as_u64() < Some(1 << 30), "holes take no room");
    fs::remove_file(&path).must("remove");
    let gone = place.exact("removed");
    place.is_gone(&path, &gone);
    let restored = place.site.restore(&path, &first.at);
    assert_eq!(fs::metadata(&restored).must("restored").len(), (1 << 32) + 1);
    fs::remove_file(&restored).must("remove");
    Outcome::Met
}

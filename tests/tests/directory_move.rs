//! Moving a directory costs the same whatever lies below it.

use std::fs;

use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments};

/// What the move of a directory may add to the segments.
const GROWTH_BYTES_MAX: u64 = 4096;

const FILES_A_DIRECTORY: usize = 100;

#[test]
fn a_move_grows_the_segments_by_next_to_nothing() {
    let full = std::env::var_os("ASOF_TEST_FULL").is_some();
    // In full: as many files as Linux 6.1 has.
    let files = if full { 78_579 } else { 20_000 };
    let site = Site::new();
    let mut random = Random::for_test(9);
    let old = site.root.join("old");
    for number in 0..files {
        let dir = old.join(format!("dir-{}", number / FILES_A_DIRECTORY));
        if number % FILES_A_DIRECTORY == 0 {
            fs::create_dir_all(&dir).must(dir.display());
        }
        fs::write(dir.join(format!("file-{number}")), random.text(40)).must(dir.display());
    }
    let agent = site.start();
    let before = site.sync();
    let bytes_before = site.segment_bytes();
    let counters = || (site.counter("files_read"), site.counter("directories_listed"));
    let read_before = counters().0;

    let new = site.root.join("new");
    fs::rename(&old, &new).must("rename");
    let after = site.sync();

    let growth = site.segment_bytes() - bytes_before;
    println!("mv of {files} files: segments/ grew by {growth} bytes");
    assert!(growth <= GROWTH_BYTES_MAX, "segments/ grew by {growth} bytes");
    assert_eq!(counters().0, read_before, "nothing below was read again");

    let last = format!("dir-{}/file-{}", (files - 1) / FILES_A_DIRECTORY, files - 1);
    let here = |path, at: &str, status| site.asof(arguments(&[&"cat", &path, &"--at", &at])).exits(status);
    let bytes = here(old.join(&last), &before.at, 0).stdout;
    assert_eq!(bytes, fs::read(new.join(&last)).must(&last));
    assert_eq!(here(new.join(&last), &after.at, 0).stdout, bytes);
    here(old.join(&last), &after.at, 5);
    here(new.join(&last), &before.at, 5);

    // The watches moved along: a change below is seen under the new name.
    fs::write(new.join(&last), "changed after the move").must(&last);
    let changed = site.sync();
    assert_eq!(here(new.join(&last), &changed.at, 0).stdout, b"changed after the move");
    agent.terminate();
}

//! A line changed in a large text costs a delta, not a copy, whichever way it is saved.

use std::fs;
use std::process::Command;

use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments};

/// What the edit of one line may add to the segments.
const GROWTH_BYTES_MAX: u64 = 4096;

const TEXT_BYTES: usize = 700_000;

#[test]
fn one_line_of_a_large_text() {
    let site = Site::new();
    let file = site.root.join("large.txt");
    let text = Random::for_test(4).text(TEXT_BYTES);
    fs::write(&file, &text).must(file.display());
    let agent = site.start();
    site.sync();
    let mut versions = vec![(site.sync(), text.clone())];

    let mut edit = |name: &str, make: &dyn Fn()| {
        let before = site.segment_bytes();
        make();
        let synced = site.sync();
        let growth = site.segment_bytes() - before;
        println!("{name}: segments/ grew by {growth} bytes");
        assert!(growth <= GROWTH_BYTES_MAX, "{name}: segments/ grew by {growth} bytes");
        versions.push((synced, fs::read(&file).must(file.display())));
    };
    edit("rewritten in place with a line more", &|| {
        let mut lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
        let middle = lines.len() / 2;
        lines.insert(middle, b"one line more\n");
        fs::write(&file, lines.concat()).must(file.display());
    });
    edit("sed -i of a line", &|| {
        let done = Command::new("sed").args(["-i", "100s/.*/another line/"]).arg(&file).status().must("sed");
        assert!(done.success());
    });
    edit("a line appended", &|| {
        use std::io::Write;
        let mut open = fs::OpenOptions::new().append(true).open(&file).must(file.display());
        open.write_all(b"the last line\n").must(file.display());
    });
    edit("the first line removed", &|| {
        let now = fs::read(&file).must(file.display());
        let line = now.iter().position(|&byte| byte == b'\n').must("a line") + 1;
        fs::write(&file, &now[line..]).must(file.display());
    });

    for (synced, bytes) in &versions {
        let kept = site.asof(arguments(&[&"cat", &file, &"--at", &synced.at])).exits(0).stdout;
        assert!(&kept == bytes, "the version at {} is not what it was", synced.at);
    }
    agent.terminate();
}

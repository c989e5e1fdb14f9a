//! Work follows change: `sync` lists what events named, a restart reads only what changed. Counted, not timed.

use std::fs;

use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};

const DIRECTORIES: usize = 1000;

/// A tree that is unpacked at full speed: what appears is listed once at most, and what was empty when it was watched not
/// at all, whatever the order in which events and listings come. Directories with many files are listed once more.
#[test]
fn what_is_unpacked_is_listed_once_and_nothing_is_lost() {
    let site = Site::new();
    let agent = site.start();
    site.sync();
    let listed_before = site.counter("directories_listed");
    let mut made = 0;
    for number in 0..DIRECTORIES {
        let dir = site.root.join(format!("group-{}/sub-{}/dir-{number}", number % 10, number % 50));
        made += dir.ancestors().take_while(|above| !above.exists()).count();
        fs::create_dir_all(&dir).must(dir.display());
        for file in 0..5 {
            fs::write(dir.join(format!("file-{file}")), format!("{number} {file}")).must(dir.display());
        }
    }
    site.take("unpacked");
    let listed = site.counter("directories_listed") - listed_before;
    println!("{listed} directories listed, {made} made");
    assert!(listed <= made as u64, "{listed} directories listed, {made} made");
    site.check_all("the agent runs");
    agent.terminate();
}

#[test]
fn sync_lists_no_more_than_what_changed_and_a_restart_reads_nothing() {
    let site = Site::new();
    for number in 0..DIRECTORIES {
        let dir = site.root.join(format!("group-{}/dir-{number}", number % 10));
        fs::create_dir_all(&dir).must(dir.display());
        fs::write(dir.join("file"), format!("file {number}")).must(dir.display());
    }
    let agent = site.start();
    site.sync();
    let listed_before = site.counter("directories_listed");
    let read_before = site.counter("files_read");
    assert_eq!(read_before, DIRECTORIES as u64, "the first capture reads every file once");

    let changed =
        [3, 500, 999].map(|number| site.root.join(format!("group-{}/dir-{number}/file", number % 10)));
    for file in &changed {
        fs::write(file, "edited").must(file.display());
    }
    let synced = site.sync();
    let listed = site.counter("directories_listed") - listed_before;
    let read = site.counter("files_read") - read_before;
    assert!(listed <= 3, "{listed} directories listed for edits in 3");
    assert!((3..=6).contains(&read), "{read} files read for edits of 3");
    for file in &changed {
        assert_eq!(site.asof(arguments(&[&"cat", &file, &"--at", &synced.at])).exits(0).stdout, b"edited");
    }

    let listed_before = site.counter("directories_listed");
    site.sync();
    site.sync();
    assert_eq!(site.counter("directories_listed"), listed_before, "a sync without changes lists nothing");
    agent.terminate();

    let agent = site.start();
    site.sync();
    assert_eq!(site.counter("files_read"), 0, "a restart over an unchanged tree reads no file");
    agent.terminate();

    fs::write(&changed[0], "edited while stopped").must("edit");
    let agent = site.start();
    site.sync();
    assert_eq!(site.counter("files_read"), 1, "a restart reads only the file that changed");
    agent.terminate();

    // After kill -9 the last captures may be read again, unchanged files may not.
    let agent = site.start();
    agent.kill9();
    let agent = site.start();
    site.sync();
    assert_eq!(site.counter("files_read"), 0, "a restart after kill -9 over an unchanged tree reads no file");
    agent.terminate();
}

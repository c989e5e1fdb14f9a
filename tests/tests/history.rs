//! History follows people: atomic saves by several programs with a rename in between are one unbroken line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_tests::must::Must;
use asof_tests::site::{Site, Synced, arguments};
use asof_tests::tree::has_program;

#[test]
fn saves_of_every_kind_and_a_rename_are_one_history() {
    let site = Site::new();
    let agent = site.start();
    let (old, new) = (site.root.join("notes.txt"), site.root.join("sub/renamed.txt"));
    fs::create_dir(site.root.join("sub")).must("mkdir");
    let mut stages: Vec<(&str, Synced, Vec<u8>, PathBuf)> = Vec::new();
    let mut stage = |name, path: &Path| {
        let synced = site.sync();
        stages.push((name, synced, fs::read(path).must(path.display()), path.to_path_buf()));
    };

    let start = site.sync();
    fs::write(&old, "one\ntwo\nthree\n").must("create");
    stage("created", &old);
    run(Command::new("sed").args(["-i", "s/one/ONE/"]).arg(&old));
    stage("sed -i", &old);
    save_by_rename(&old, "ONE\nTWO\nthree\n");
    stage("written beside and renamed over", &old);
    fs::rename(&old, &new).must("rename");
    stage("renamed", &new);
    save_by_rename(&new, "ONE\nTWO\nTHREE\n");
    stage("saved after the rename", &new);
    if has_program("vim") {
        for (backupcopy, command) in [("yes", "%s/ONE/Uno/"), ("no", "%s/TWO/Due/")] {
            let set = format!("set writebackup nobackup noswapfile backupcopy={backupcopy}");
            run(Command::new("vim")
                .args(["-es", "-u", "NONE", "-c", &set, "-c", command, "-c", "wq"])
                .arg(&new));
            stage(if backupcopy == "yes" { "vim, in place" } else { "vim, by rename" }, &new);
        }
    } else {
        eprintln!("skipped in part: vim is not installed");
    }

    check(&site, &start, &stages, &new);
    agent.terminate();
    check(&site, &start, &stages, &new);
}

/// Every stage left its trace in the log of the newest name, and every stage's bytes are there.
#[track_caller]
fn check(site: &Site, start: &Synced, stages: &[(&str, Synced, Vec<u8>, PathBuf)], newest: &Path) {
    let log = site.asof(arguments(&[&"--json", &"log", &newest])).exits(0);
    let lines = log.json_lines();
    let seqs: Vec<u64> =
        lines.iter().map(|line| line["seq"].as_u64().must(format!("seq in {line}"))).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] >= pair[1]), "newest first: {seqs:?}");
    let mut before = start.seq;
    for (name, synced, bytes, path) in stages {
        let of_stage = seqs.iter().filter(|&&seq| before < seq && seq <= synced.seq).count();
        assert!(
            of_stage > 0,
            "\"{name}\" is missing from the history (seq {before} to {}):\n{}",
            synced.seq,
            log.text()
        );
        let kept = site.asof(arguments(&[&"cat", &path, &"--at", &synced.at])).exits(0).stdout;
        assert_eq!(&kept, bytes, "the bytes of \"{name}\"");
        before = synced.seq;
    }
    let oldest = lines.last().must("a line");
    assert!(
        oldest["path"].as_str().is_some_and(|path| path.ends_with("notes.txt")),
        "it began as notes.txt: {oldest}"
    );
}

fn save_by_rename(path: &Path, content: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, content).must(beside.display());
    fs::rename(&beside, path).must(path.display());
}

#[track_caller]
fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().must(format!("{command:?}"));
    assert!(status.success(), "{command:?}: {status}");
}

//! `undo`: which restore it takes back, what it leaves, and what is next then.

use std::fs;
use std::process::{Command, Stdio};

use asof_journal::landmarks::Restored;
use asof_journal::reader::Reader;
use asof_tests::files::{make, names, read, write};
use asof_tests::must::Must;
use asof_tests::restores::{back, left, line, summary, undo};
use asof_tests::site::Site;
use asof_tests::wait::{PATIENCE, eventually};

#[test]
fn undo_walks_back_over_the_restores_and_says_when_there_are_none() {
    let site = Site::new();
    let file = site.root.join("file");
    let agent = site.start();
    let mut at = Vec::new();
    for content in ["one", "two", "three"] {
        write(&file, content);
        at.push(site.sync().at);
    }
    let none = site.asof(["undo", "--yes"]).exits(1);
    assert!(none.stderr.contains("nothing to undo"), "{}", none.stderr);
    back(&site, &file, &at[0], &[]).exits(0);
    back(&site, &file, &at[1], &[]).exits(0);
    assert_eq!(read(&file), "two");
    let dry = site.asof(["--json", "undo", "--dry-run"]).exits(0);
    assert_eq!(line(&dry, "plan")["action"], "overwrite");
    assert_eq!(read(&file), "two");
    let undone = undo(&site, &[]).exits(0);
    assert_eq!(read(&file), "one");
    // An undo is taken back by going to the state before it.
    let before = summary(&undone)["before"].as_str().must("before").to_string();
    undo(&site, &[]).exits(0);
    assert_eq!(read(&file), "three");
    undo(&site, &[]).exits(1);
    back(&site, &file, &before, &[]).exits(0);
    assert_eq!(read(&file), "two");
    undo(&site, &[]).exits(0);
    assert_eq!(read(&file), "three");
    agent.terminate();
}

#[test]
fn what_was_changed_since_is_left_and_named() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    for name in ["a", "b", "c"] {
        write(at(name), "then");
    }
    make(at("d"));
    write(at("d/in"), "then");
    let agent = site.start();
    let then = site.sync();
    for name in ["a", "b", "c"] {
        write(at(name), "before");
    }
    fs::remove_dir_all(at("d")).must("d");
    write(at("new"), "before");
    back(&site, &site.root, &then.at, &["--exact"]).exits(0);
    assert_eq!(names(&site.root), ["a", "b", "c", "d"]);
    write(at("a"), "since");
    fs::remove_file(at("b")).must("b");
    write(at("new"), "since");
    write(at("d/mine"), "since");
    let partly = undo(&site, &[]).exits(3);
    assert_eq!(left(&partly), ["a", "b", "d", "new"], "{}", partly.stderr);
    assert_eq!(
        (read(at("a")), read(at("new")), read(at("d/mine"))),
        ("since".into(), "since".into(), "since".into())
    );
    assert_eq!(read(at("c")), "before", "the rest is taken back");
    assert!(!at("b").exists() && !at("d/in").exists());
    agent.terminate();

    let agent = site.start();
    back(&site, &at("c"), &then.at, &[]).exits(0);
    write(at("c"), "since");
    undo(&site, &["--overwrite", "always"]).exits(0);
    assert_eq!(read(at("c")), "before", "unless told otherwise");
    agent.terminate();
}

#[test]
fn what_an_undo_left_is_next_until_it_is_back_or_left_for_good() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    for name in ["a", "b", "c"] {
        write(at(name), "one");
    }
    let agent = site.start();
    let one = site.sync();
    for name in ["a", "b", "c"] {
        write(at(name), "two");
    }
    let two = site.sync();
    write(at("c"), "three");
    site.sync();
    // Two restores: c to its second content, then everything to the first.
    back(&site, &at("c"), &two.at, &[]).exits(0);
    back(&site, &site.root, &one.at, &[]).exits(0);
    write(at("a"), "since");
    let partly = undo(&site, &[]).exits(3);
    assert_eq!(left(&partly), ["a"]);
    assert_eq!((read(at("a")), read(at("b")), read(at("c"))), ("since".into(), "two".into(), "two".into()));

    // The same again leaves the same, and does not reach for the restore before.
    let again = site.asof(["undo", "--yes"]).exits(3);
    for said in ["what an undo before has left", "asof undo --overwrite always", "asof undo --next"] {
        assert!(again.stderr.contains(said), "{}", again.stderr);
    }
    assert_eq!(left(&undo(&site, &[]).exits(3)), ["a"]);
    assert_eq!((read(at("a")), read(at("c"))), ("since".into(), "two".into()));
    // Said outright, it comes back; then the restore before is next.
    undo(&site, &["--overwrite", "always"]).exits(0);
    assert_eq!(read(at("a")), "two");
    undo(&site, &[]).exits(0);
    assert_eq!(read(at("c")), "three");
    undo(&site, &[]).exits(1);

    // What is left for good is passed over, and so is what came back by other ways.
    for ended in ["left for good", "back otherwise"] {
        let before = site.sync();
        back(&site, &at("c"), &two.at, &[]).exits(0);
        back(&site, &at("b"), &one.at, &[]).exits(0);
        write(at("b"), "since");
        assert_eq!(left(&undo(&site, &[]).exits(3)), ["b"]);
        let further: &[&str] = match ended {
            "left for good" => &["--next"],
            _ => {
                // Its content and its times: as it was before the restore.
                let before = site.restore(&at("b"), &before.at);
                Command::new("cp").arg("-p").arg(&before).arg(at("b")).status().must("cp");
                &[]
            }
        };
        undo(&site, further).exits(0);
        assert_eq!(read(at("c")), "three", "{ended}");
        undo(&site, &["--next"]).exits(1);
        write(at("b"), "two");
        site.sync();
    }
    agent.terminate();
}

#[test]
fn the_end_of_a_restore_is_noted_by_an_agent_that_was_started_again_meanwhile() {
    let site = Site::new();
    let dir = site.root.join("dir");
    make(&dir);
    for number in 0..2000 {
        write(dir.join(format!("{number}")), "one");
    }
    let agent = site.start();
    let one = site.sync();
    for number in 0..2000 {
        write(dir.join(format!("{number}")), "two");
    }
    site.sync();
    let mut restore = Command::new(&site.programs.asof);
    restore.arg("--journal").arg(&site.journal).args(["restore", "--in-place", "--yes", "--workers", "1"]);
    let restore = restore.args(["--at", &one.at]).arg(&dir).stderr(Stdio::piped()).spawn().must("asof");
    let begun = || Reader::open(&site.journal).must("a reader").restores().must("restores");
    // The agent has answered by then, too.
    eventually(PATIENCE, "the restore to begin", || (read(dir.join("0")) == "one").then_some(()));
    agent.kill9();
    // As long as nobody has noted an end, that is said, with the way back.
    let status = site.asof(["status"]).exits(0).text();
    let noted = |restores: &[Restored]| restores.iter().all(|restore| restore.done.is_some());
    if !noted(&begun()) {
        assert!(status.contains("restore    in place, begun at") && status.contains("asof undo"), "{status}");
        let json = site.asof(["--json", "status"]).exits(0).json();
        assert_eq!(json["restore_without_end"]["seq"], begun()[0].begun.seq.0);
    }
    let agent = site.start();
    let output = restore.wait_with_output().must("asof");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("has not noted"), "{said}");
    assert!(noted(&begun()), "{:?}", begun());
    assert!(!site.asof(["status"]).exits(0).text().contains("restore  "));
    undo(&site, &[]).exits(0);
    assert_eq!(read(dir.join("1999")), "two");
    agent.terminate();
}

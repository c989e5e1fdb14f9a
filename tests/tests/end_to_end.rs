//! The main job: a live tree goes in, every instant comes out, whatever happened to the agent in between.

use std::fs;
use std::path::Path;

use asof_journal::storage::Layout;
use asof_tests::edit::Editor;
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, Synced, arguments};
use asof_tests::{oracle, tree};

/// Edits a round: enough for every kind of edit several times over all rounds.
const EDITS_A_ROUND: usize = 60;

#[test]
fn every_instant_comes_back_whatever_happens_to_the_agent() {
    let site = Site::new();
    let mut random = Random::for_test(20_261_122);
    let agent = site.start();
    tree::build(&site.root, &mut random);
    let first = site.take("the tree made under the running agent");

    let mut editor = Editor::new(&site.root, random);
    let mut edit = |name: &str| {
        let story = editor.round(EDITS_A_ROUND);
        println!("--- {name} ---\n{}", story.join("\n"));
    };
    for round in 1..=3 {
        edit(&format!("round {round}"));
        site.take(&format!("round {round}"));
    }
    site.check_all("the agent runs");
    every_verb(&site, &first, true);

    agent.terminate();
    site.check_all("the agent was stopped");
    every_verb(&site, &first, false);

    edit("while stopped");
    let agent = site.start();
    site.take("made while the agent was stopped");
    edit("before the kill");
    let before_kill = site.take("right before kill -9");
    edit("never synced");
    agent.kill9();
    edit("while dead");
    site.check_all("the agent was killed");
    every_verb(&site, &before_kill, false);

    let gaps = site.status()["gaps"].as_u64();
    let agent = site.start();
    site.take("made while the agent was dead");
    assert!(site.status()["gaps"].as_u64() > gaps, "the time it was dead is a gap");
    site.check_all("the agent is back");
    agent.terminate();
}

#[test]
fn the_index_can_be_lost_at_any_time() {
    let site = Site::new();
    let mut random = Random::for_test(3);
    let agent = site.start();
    tree::build(&site.root, &mut random);
    let first = site.take("the tree");
    Editor::new(&site.root, random).round(EDITS_A_ROUND);
    site.take("edited");
    agent.terminate();

    let index = Layout::new(&site.journal).index();
    fs::remove_dir_all(&index).must(index.display());
    site.check_all("no index, no agent");
    every_verb(&site, &first, false);

    let start = std::time::Instant::now();
    let agent = site.start();
    println!("protecting again, index rebuilt, after {:.2} s", start.elapsed().as_secs_f64());
    assert!(index.is_dir(), "the next start rebuilds the index");
    site.check_all("the index was rebuilt");
    fs::write(site.root.join("after"), "the rebuilt index takes new history").must("after");
    site.take("after the rebuild");
    agent.kill9();
    fs::remove_dir_all(&index).must(index.display());
    let agent = site.start();
    site.check_all("killed, index lost, rebuilt");
    agent.terminate();
}

#[test]
fn an_agent_that_was_frozen_catches_up() {
    let site = Site::new();
    let mut random = Random::for_test(5);
    let agent = site.start();
    tree::build(&site.root, &mut random);
    site.take("the tree");
    agent.freeze();
    Editor::new(&site.root, random).round(EDITS_A_ROUND);
    site.check_all("the agent is frozen");
    agent.resume();
    site.take("edited while frozen");
    site.check_all("the agent is awake");
    agent.terminate();
}

/// Runs every verb once on the instant at which only the hostile tree was there, or anything after it.
#[track_caller]
fn every_verb(site: &Site, synced: &Synced, agent_runs: bool) {
    let status = site.status();
    let running = status["state"] == "protecting";
    assert_eq!(running, agent_runs, "{status}");
    if !agent_runs {
        assert_eq!(status["state"], "stopped", "{status}");
    }
    assert!(status["durable"]["seq"].as_u64() >= Some(synced.seq), "{status}");
    assert!(status["journal_bytes"].as_u64() > Some(0), "{status}");
    site.asof(["status"]).exits(0);
    if agent_runs {
        assert!(site.sync().seq >= synced.seq);
    } else {
        site.asof(["sync"]).exits(1);
    }

    let root = site.root.as_path();
    let at = synced.at.as_str();
    let named = |lines: &[serde_json::Value], what: &str| assert!(!lines.is_empty(), "{what} says nothing");
    named(&site.asof(["--json", "log", "-n", "5"]).exits(0).json_lines(), "log");
    named(
        &site.asof(arguments(&[&"--json", &"log", &root, &"-n", &"5"])).exits(0).json_lines(),
        "log of the root",
    );
    let listed = site.asof(arguments(&[&"--json", &"ls", &root, &"--at", &at])).exits(0).json_lines();
    named(&listed, "ls");
    site.asof(arguments(&[&"ls", &"-l", &root, &"--at", &at])).exits(0);
    let all = site.asof(arguments(&[&"--json", &"ls", &"-R", &root, &"--at", &at])).exits(0).json_lines();
    assert!(all.len() > listed.len(), "ls -R lists what is below");
    named(
        &site
            .asof(arguments(&[&"--json", &"diff", &root, &"--from", &at, &"--to", &"now"]))
            .exits(0)
            .json_lines(),
        "diff",
    );

    let file = some_file(site, at);
    let restored = site.restore(&file, at);
    let bytes = site.asof(arguments(&[&"cat", &file, &"--at", &at])).exits(0).stdout;
    assert_eq!(bytes, fs::read(&restored).must(restored.display()), "cat and restore give the same bytes");
    // As it was named then: by now another directory may have the name of one on the way.
    let mut then = file.clone().into_os_string();
    then.push("@");
    then.push(at);
    site.asof(arguments(&[&"log", &then])).exits(0);
    let target = site.fresh("dry");
    site.asof(arguments(&[&"restore", &root, &"--at", &at, &"--to", &target, &"--dry-run"])).exits(0);
    assert!(!target.exists(), "a dry run writes nothing");
}

/// A regular file that was there at an instant, by way of a restore of the whole root.
#[track_caller]
fn some_file(site: &Site, at: &str) -> std::path::PathBuf {
    let restored = site.restore(&site.root, at);
    let is_plain = |path: &&Vec<u8>| {
        let full = restored.join(as_path(path));
        fs::symlink_metadata(&full)
            .is_ok_and(|meta| meta.is_file() && (1000..1_000_000).contains(&meta.len()))
    };
    let paths = oracle::paths_below(&restored);
    let found = paths.iter().find(is_plain).must("a plain file in the restored tree");
    site.root.join(as_path(found))
}

fn as_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

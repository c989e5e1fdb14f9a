//! The command with and without an agent.

use std::collections::BTreeSet;
use std::fs;

use asof_journal::forget::Order;
use asof_journal::open::Journal;
use asof_journal::storage::Layout;
use asof_journal::types::BlockId;
use asof_tests::desk::clock;
use asof_tests::leavings::found_in;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::specimen::text;
use asof_tests::wait::{PATIENCE, eventually};

use crate::{LIMITS, Lived, NAME, SECRET, as_refs, assert_gone, secret_paths, secret_text};

/// Saves a secret at a site, in a journal that a test writes itself.
fn lived_at(site: &Site) -> BTreeSet<BlockId> {
    let Lived { desk, blocks } = Lived::live(&site.journal);
    desk.close();
    blocks
}

#[test]
fn the_command_shows_asks_does_it_and_tells_of_it() {
    let site = Site::new();
    let blocks = lived_at(&site);
    let paths = secret_paths();
    let before = site.segment_bytes();
    let error = site.asof(["forget"].into_iter().chain(as_refs(&paths))).exits(2).stderr;
    assert!(error.contains("--yes") && error.contains("--dry-run"), "{error}");
    let plan =
        site.asof(["--json", "forget", "--dry-run"].into_iter().chain(as_refs(&paths))).exits(0).json_lines();
    let total = plan.last().must("a plan");
    assert_eq!(total["type"], "plan");
    assert!(total["versions"].as_u64().must("versions") > 10, "{total}");
    assert!(plan.iter().any(|line| line["path"] == paths[2].as_str()), "{plan:?}");
    site.asof(["forget", "--dry-run", "/d/nothing"]).exits(5);
    // Of several paths one that is mistyped is not passed over.
    for how in [&["--yes"][..], &["--dry-run"], &["--yes", "--before", "now"]] {
        let wrong = ["forget", &paths[0], "/d/nothing", "/d/e/none"].into_iter().chain(how.iter().copied());
        let error = site.asof(wrong).exits(5).stderr;
        assert!(error.contains("the journal has nothing at /d/nothing, /d/e/none"), "{error}");
        assert!(!error.contains(NAME), "nothing else is shown: {error}");
    }
    assert_eq!(site.segment_bytes(), before);

    let done = site.asof(["--json", "forget", "--yes"].into_iter().chain(as_refs(&paths))).exits(0).json();
    assert_eq!((done["by_agent"].as_bool(), done["left"].as_u64()), (Some(false), Some(0)), "{done}");
    assert_gone(&site.journal, &blocks, "by the command");
    site.asof(["verify", "--deep"]).exits(0);
    for path in &paths {
        for verb in ["cat", "log", "ls"] {
            site.asof([verb, path]).exits(5);
        }
    }
    let found = site.asof(["find", "*", "/", "--deleted"]).exits(0).text();
    assert!(!found.contains(NAME) && found.contains("plain0"), "{found}");
    let told = site.asof(["--json", "forget"]).exits(0).json_lines();
    assert_eq!(
        (told.len(), told[0]["paths"].as_u64(), told[0]["finished"].as_bool()),
        (1, Some(6), Some(true)),
        "{told:?}"
    );
    assert_eq!(told[0]["names"].as_array().map(Vec::len), Some(0), "{told:?}");
    site.asof(["forget", "--yes", "--record-names", "/d/e/plain5"]).exits(0);
    let told = site.asof(["forget"]).exits(0).text();
    assert!(told.contains("/d/e/plain5") && told.lines().count() == 2, "{told}");
    site.asof(["forget", "--finish"]).exits(0);
}

#[test]
fn what_has_another_name_by_its_directory_is_forgotten_by_the_command_that_is_shown() {
    let site = Site::new();
    let agent = site.start();
    let (old, new) = (site.root.join("old"), site.root.join("new name"));
    fs::create_dir(&old).must("mkdir");
    fs::write(old.join("key"), "hunter2").must("a secret");
    site.sync();
    fs::rename(&old, &new).must("mv");
    site.sync();
    let error = site.asof(arguments(&[&"forget", &"--yes", &old.join("key")])).exits(1).stderr;
    assert!(error.contains("can be reached as"), "{error}");
    let shown = error.lines().find_map(|line| line.trim().strip_prefix("next: ")).must("what to do");
    let line = shown.split("   (").next().must("a command");
    site.shell(&format!("{line} --yes")).exits(0);
    for dir in [&old, &new] {
        site.asof(arguments(&[&"log", &dir.join("key")])).exits(5);
    }
    agent.terminate();
}

#[test]
fn the_agent_forgets_and_captures_on() {
    let site = Site::new();
    let agent = site.start();
    let secret = site.root.join(NAME);
    std::fs::write(&secret, secret_text(5_000, 1)).must("a secret");
    std::fs::write(site.root.join("other"), text(5_000, 2)).must("another");
    let first = site.sync();
    std::fs::write(&secret, secret_text(300_000, 3)).must("a secret");
    site.sync();
    let path = secret.to_str().must("a path");
    site.asof(["hold", path]).exits(0);
    let error = site.asof(["forget", "--yes", path]).exits(1).stderr;
    assert!(error.contains("is held") && error.contains("release"), "{error}");
    site.asof(["release", path]).exits(0);
    let warned = site.asof(["forget", "--dry-run", path]).exits(0).stderr;
    assert!(warned.contains("is there now"), "{warned}");
    std::fs::remove_file(&secret).must("the secret");
    site.sync();
    assert!(!found_in(&site.journal, &[SECRET]).is_empty());
    let done = site.asof(["--json", "forget", "--yes", path]).exits(0).json();
    assert_eq!((done["by_agent"].as_bool(), done["left"].as_u64()), (Some(true), Some(0)), "{done}");
    assert_gone(&site.journal, &BTreeSet::new(), "by the agent");
    // Nothing in the whole journal has it, however it is stored.
    let why = site.asof(["explain", path, "--at", &first.at]).exits(0).text();
    assert!(why.contains("taken out of all history"), "{why}");
    std::fs::write(site.root.join("after"), "after").must("a file");
    let synced = site.sync();
    let restored = site.restore(&site.root.join("after"), &synced.at);
    assert_eq!(std::fs::read(restored).must("the file"), b"after");
    let restored = site.restore(&site.root.join("other"), &first.at);
    assert_eq!(std::fs::read(restored).must("the file"), text(5_000, 2));
    // What is there is forgotten, too, and captured anew when it changes.
    let other = site.root.join("other");
    let done = site.asof(["--json", "forget", "--yes", other.to_str().must("a path")]).exits(0).json();
    assert_eq!(done["left"].as_u64(), Some(0), "{done}");
    std::fs::write(&other, text(6_000, 4)).must("another");
    let synced = site.sync();
    let restored = site.restore(&other, &synced.at);
    assert_eq!(std::fs::read(restored).must("the file"), text(6_000, 4));
    site.asof(["cat", other.to_str().must("a path"), "--at", &first.at]).exits(5);
    // What is there since is kept; that something was there before is said, and not blamed on the policy.
    std::fs::write(&other, text(7_000, 5)).must("another");
    let later = site.sync();
    let path = other.to_str().must("a path");
    site.asof(["forget", "--yes", path, "--before", &later.at]).exits(0);
    let why = site.asof(["explain", path, "--at", &synced.at]).exits(0).text();
    assert!(why.contains("this version was forgotten") && why.contains("taken out of all history"), "{why}");
    let restored = site.restore(&other, &later.at);
    assert_eq!(std::fs::read(restored).must("the file"), text(7_000, 5));
    agent.terminate();
    site.asof(["verify", "--deep"]).exits(0);
    assert_gone(&site.journal, &BTreeSet::new(), "at the end");
}

/// What was begun before an agent starts it goes on with.
#[test]
fn an_agent_finishes_what_was_begun() {
    let site = Site::new();
    let blocks = lived_at(&site);
    let journal = Journal::open(&site.journal, &clock(200_000), LIMITS).must("the journal");
    let paths = secret_paths().into_iter().map(String::into_bytes).collect();
    let order = Order { paths, ..Order::default() };
    // It ends before anything is noted.
    let failed = journal.compactor.forget(Some(&order), clock(200_000).wall, &mut |_| {
        Err(asof_journal::Error::Poisoned { cause: "it ends here".to_string() })
    });
    assert!(failed.is_err(), "{failed:?}");
    drop(journal);
    assert!(Layout::new(&site.journal).forgetting().exists());
    let told = site.asof(["forget"]).exits(0);
    assert!(told.stderr.contains("--finish"), "{}", told.stderr);
    let agent = site.start();
    eventually(PATIENCE, "it is finished", || {
        (!Layout::new(&site.journal).forgetting().exists()).then_some(())
    });
    agent.terminate();
    assert_gone(&site.journal, &blocks, "finished by an agent");
    site.asof(["verify", "--deep"]).exits(0);
}

//! `asof verify` and the scrub, as a user meets them: real programs, a bit flipped in a sealed segment, what is said and
//! done.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use asof_journal::storage::Layout;
use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments};
use asof_tests::wait::{PATIENCE, eventually};
use serde_json::Value;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// Flips a bit of a file's content where it lies in a sealed segment, which holds it as it is: noise.
#[track_caller]
fn flip(site: &Site, content: &[u8]) -> PathBuf {
    let piece = &content[content.len() / 2..content.len() / 2 + 40];
    for entry in fs::read_dir(Layout::new(&site.journal).segments()).must("segments").flatten() {
        let mut bytes = fs::read(entry.path()).must("a segment");
        let Some(at) = bytes.windows(piece.len()).position(|window| window == piece) else { continue };
        bytes[at] ^= 0x04;
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o600)).must("chmod");
        fs::write(entry.path(), bytes).must("a segment");
        return entry.path();
    }
    panic!("the content is in no segment");
}

/// What `verify` with these options says, line by line.
#[track_caller]
fn verify(site: &Site, options: &[&str], status: i32) -> Vec<Value> {
    let all: Vec<&str> = ["--json", "verify"].into_iter().chain(options.iter().copied()).collect();
    site.asof(&all).exits(status).json_lines()
}

fn of<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

/// Names and sizes of everything in a journal but its socket.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).must(dir.display()).flatten() {
        let meta = entry.metadata().must("stat");
        if meta.is_dir() {
            found.extend(listing(&entry.path()));
        } else {
            found.push((entry.path(), meta.len()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_sound_journal_is_sound_beside_an_agent_and_without_one() {
    let site = Site::new();
    fs::write(site.root.join("a"), noise(1, 150_000)).must("a");
    fs::write(site.root.join("b"), "text\n".repeat(5000)).must("b");
    let agent = site.start();
    site.sync();
    for options in [&[][..], &["--deep"], &["--deep", "--rate", "100M"]] {
        let lines = verify(&site, options, 0);
        let summary = of(&lines, "summary")[0];
        assert_eq!(
            (&summary["sound"], &summary["deep"]),
            (&Value::Bool(true), &Value::Bool(!options.is_empty()))
        );
        assert!(summary["batches"].as_u64().must("batches") > 0);
    }
    site.asof(["verify", "--repair"]).exits(11);
    agent.terminate();
    let before = listing(&site.journal);
    let text = site.asof(["verify", "--deep"]).exits(0).text();
    assert!(text.contains("verdict    sound") && text.contains("every byte read"), "{text}");
    assert_eq!(listing(&site.journal), before, "a check writes nothing");
    fs::remove_dir_all(Layout::new(&site.journal).index()).must("the index");
    assert_eq!(of(&verify(&site, &[], 0), "index")[0]["state"], "missing");
    site.asof(["verify", "--rate", "fast"]).exits(2);
}

#[test]
fn a_flipped_bit_is_named_restored_around_and_mended() {
    let site = Site::new();
    let (old, new) = (noise(2, 120_000), noise(3, 120_000));
    let hit = site.root.join("hit");
    fs::write(&hit, &old).must("hit");
    fs::write(site.root.join("beside"), noise(4, 130_000)).must("beside");
    let agent = site.start();
    let first = site.sync();
    fs::write(&hit, &new).must("hit");
    let second = site.sync();
    agent.terminate();

    // The old content: gone from the disk, so nothing brings it back.
    flip(&site, &old);
    verify(&site, &[], 0);
    let lines = verify(&site, &["--deep"], 4);
    let affected = of(&lines, "affected");
    assert_eq!(affected.len(), 1, "{lines:#?}");
    assert_eq!(affected[0]["path"], hit.to_str().must("a path"));
    let (from, until) = (affected[0]["from_seq"].as_u64(), affected[0]["until_seq"].as_u64());
    assert!(from <= Some(first.seq) && until > Some(first.seq) && until <= Some(second.seq), "{affected:?}");
    let text = site.asof(["verify", "--deep"]).exits(4).text();
    assert!(text.contains("damaged    ") && text.contains("affected   ") && text.contains("/hit"), "{text}");

    // The rest restores, and what is left out is named.
    let target = site.fresh("target");
    let partly =
        site.asof(arguments(&[&"restore", &site.root, &"--at", &first.at, &"--to", &target])).exits(3);
    assert!(partly.stderr.contains("/hit: block "), "{partly:?}");
    assert!(!target.join("hit").exists());
    assert_eq!(fs::read(target.join("beside")).must("beside"), noise(4, 130_000));
    let nothing = site.asof(arguments(&[&"cat", &hit, &"--at", &first.at])).exits(1);
    assert_eq!(nothing.stdout, b"");
    assert_eq!(site.asof(arguments(&[&"cat", &hit])).exits(0).stdout, new);

    // It cannot be mended: noted, still named, and known from now on.
    let lines = verify(&site, &["--repair"], 4);
    assert_eq!(of(&lines, "repaired")[0]["blocks"], 0);
    let lines = verify(&site, &["--deep"], 4);
    let damage = of(&lines, "damage");
    assert!(damage.iter().all(|line| line["known_since"].is_string()) && !damage.is_empty(), "{lines:#?}");
    assert_eq!(of(&lines, "affected").len(), 1);

    // The new content is still on the disk.
    flip(&site, &new);
    verify(&site, &["--deep"], 4);
    site.asof(arguments(&[&"cat", &hit])).exits(1);
    let lines = verify(&site, &["--repair"], 4);
    assert_eq!(of(&lines, "repaired")[0]["blocks"], 1, "{lines:#?}");
    assert_eq!(site.asof(arguments(&[&"cat", &hit])).exits(0).stdout, new);
    let lines = verify(&site, &["--deep"], 4);
    assert_eq!(of(&lines, "affected").len(), 1, "only the old content is lost: {lines:#?}");

    // What is known does not trouble the agent, and capture goes on.
    let agent = site.start();
    site.sync();
    assert_eq!(site.status()["state"], "protecting");
    agent.terminate();
}

#[test]
fn the_scrub_finds_damage_says_so_and_content_that_comes_again_is_stored_again() {
    let site = Site::new();
    let content = noise(7, 140_000);
    fs::write(site.root.join("one"), &content).must("one");
    let agent = site.start();
    site.sync();
    agent.terminate();
    assert!(site.status()["oldest_unchecked"].is_string(), "without an agent, too");
    flip(&site, &content);

    let path = site.path("config.toml");
    let config = format!("scrub_per_day = 100000000000\n[[root]]\npath = '{}'\n", site.root.display());
    fs::write(&path, config).must("config");
    let start = || {
        let agent = Agent::start_configured(&site, &path);
        agent.allow("damage in the journal, found by the scrub");
        agent.allow("the journal is damaged, places: ");
        agent
    };
    let agent = start();
    let status = agent.in_state(&site, "degraded");
    let problem = status["problems"][0].as_str().must("a problem");
    assert!(problem.contains("verify --deep") && problem.contains("--repair"), "{status:#}");
    eventually(PATIENCE, "bytes to be counted", || {
        site.status()["checked_bytes"].as_u64().filter(|&n| n > 0)
    });
    assert!(site.asof(["status"]).exits(0).text().contains("checked    everything since"));

    // The journal had it, and has it no more.
    fs::write(site.root.join("two"), &content).must("two");
    site.sync();
    assert_eq!(site.asof(arguments(&[&"cat", &site.root.join("two")])).exits(0).stdout, content);
    agent.terminate();

    // It is remembered, until it is mended; that the content came again has done so.
    let agent = start();
    agent.in_state(&site, "degraded");
    agent.terminate();
    let lines = verify(&site, &["--repair"], 0);
    assert_eq!(of(&lines, "affected").len(), 0, "{lines:#?}");
    let agent = Agent::start_configured(&site, &path);
    agent.protecting(&site);
    site.sync();
    assert_eq!(site.status()["state"], "protecting");
    agent.terminate();
}

//! The journal's disk fills up: nothing that was acknowledged is lost, everything can be read, and capture goes on by
//! itself when there is room.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use asof_journal::storage::Layout;
use asof_tests::agent::Agent;
use asof_tests::filesystem::{Filesystem, Mount};
use asof_tests::full::Filler;
use asof_tests::must::Must;
use asof_tests::process::Usage;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// A site whose journal lies on a filesystem of its own; says why where there can be none.
fn site_on(filesystem: Filesystem, bytes: u64) -> Option<(Site, Mount)> {
    let mount = match Mount::of_size(filesystem, bytes) {
        Ok(mount) => mount,
        Err(why) => {
            println!("skipped: {why}");
            return None;
        }
    };
    let mut site = Site::new();
    site.journal = mount.point().join("journal");
    Some((site, mount))
}

fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).must(path.display());
}

/// Bytes that nothing makes smaller.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(bytes)
}

fn until_full(site: &Site, agent: &Agent) -> Value {
    agent.allow("nothing is captured since");
    agent.allow("the journal had no room");
    let status = agent.in_state(site, "degraded");
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("filesystem of the journal is full") && problems.contains("make room"),
        "{status}"
    );
    status
}

/// What a user sees, as it is said.
fn show(site: &Site, words: &[&str]) {
    let output = site.asof(words).run();
    println!("$ asof {}\n{}{}[exit {}]", words.join(" "), output.text(), output.stderr, output.status);
}

fn everything_is_readable(site: &Site, at: &str) {
    let file = site.root.join("kept");
    site.asof(["status"]).exits(0);
    site.asof(["log", "-n", "3"]).exits(0);
    site.asof(arguments(&[&"ls", &"-R", &site.root, &"--at", &at])).exits(0);
    let cat: Vec<OsString> = arguments(&[&"cat", &file, &"--at", &at]);
    assert_eq!(site.asof(cat).exits(0).stdout, b"acknowledged");
    site.check_all("the disk is full");
}

#[test]
fn a_full_disk_pauses_capture_and_loses_nothing() {
    let Some((site, mount)) = site_on(Filesystem::Ext4, 64 * MIB) else { return };
    put(&site.root.join("kept"), "acknowledged");
    let agent = site.start();
    let kept = site.take("before the disk was full");
    let filler = Filler::fill(mount.point());
    put(&site.root.join("meets it"), noise(256 << 10, 1));
    until_full(&site, &agent);

    // Nothing more is read, whatever comes: memory stays where it is.
    let read = site.counter("bytes_read");
    let memory = Usage::of(agent.pid()).rss_bytes;
    for number in 0..40 {
        put(&site.root.join(format!("while full {number}")), noise(1 << 20, number));
    }
    let refused = site.asof(["sync"]).exits(1);
    assert!(refused.stderr.contains("not done: nothing is captured since"), "{}", refused.stderr);
    assert!(site.counter("bytes_read") <= read + 4 * MIB, "reads go on");
    assert!(Usage::of(agent.pid()).rss_bytes < memory + 32 * MIB, "memory grows");
    everything_is_readable(&site, &kept.at);
    for words in [
        &["status"][..],
        &["log", "-n", "3"],
        &["explain", &site.root.join("while full 1").to_string_lossy()],
    ] {
        show(&site, words);
    }
    // The gap is in the journal already, in the room that was kept for it.
    let explained = site.asof(arguments(&[&"explain", &site.root.join("while full 1")])).run();
    assert!(explained.text().contains("the journal had no room"), "{}{}", explained.text(), explained.stderr);

    filler.empty();
    agent.protecting(&site);
    site.take("there is room again");
    site.check_all("there was room again");
    assert!(agent.log().contains("over: nothing is captured since"), "{}", agent.log());
    let reserve = Layout::new(&site.journal).reserve();
    assert!(reserve.exists(), "the reserve is made anew");
    agent.terminate();
    site.check_all("after the end");
}

#[test]
fn a_full_disk_is_no_reason_not_to_stop_or_not_to_start() {
    let Some((site, mount)) = site_on(Filesystem::Ext4, 64 * MIB) else { return };
    put(&site.root.join("kept"), "acknowledged");
    let agent = site.start();
    let kept = site.take("before");
    // A file larger than all that is left, so that as much as there can be is on its way, and others take the rest.
    put(&site.root.join("large"), noise(100 << 20, 2));
    until_full(&site, &agent);
    let filler = Filler::fill(mount.point());
    agent.terminate();
    show(&site, &["status"]);
    everything_is_readable(&site, &kept.at);
    filler.fill_up();

    let agent = Agent::start(&site, &[]);
    agent.allow("its filesystem is full");
    let status = agent.in_state(&site, "degraded");
    assert!(status["problems"].to_string().contains("asofd begins by itself"), "{status}");
    assert!(status["durable"]["seq"].as_u64() >= Some(kept.seq), "{status}");
    show(&site, &["status"]);
    everything_is_readable(&site, &kept.at);
    site.asof(["sync"]).exits(1);
    agent.terminate();

    let agent = Agent::start(&site, &[]);
    agent.allow("its filesystem is full");
    agent.in_state(&site, "degraded");
    fs::remove_file(site.root.join("large")).must("rm");
    filler.empty();
    agent.protecting(&site);
    put(&site.root.join("after"), "captured");
    site.take("after");
    site.check_all("it has begun by itself");
    agent.terminate();
}

#[test]
fn others_that_take_all_the_room_again_and_again_cost_nothing_that_was_acknowledged() {
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs, Filesystem::Tmpfs] {
        let Some((site, mount)) = site_on(filesystem, 320 * MIB) else { continue };
        put(&site.root.join("kept"), "acknowledged");
        let agent = site.start();
        site.take("before");
        for round in 0..3 {
            let filler = Filler::fill(mount.point());
            put(&site.root.join(format!("round-{round}")), noise(3 << 20, round));
            until_full(&site, &agent);
            filler.fill_up();
            put(&site.root.join(format!("round-{round}-later")), noise(3 << 20, round + 100));
            site.check_newest(format!("{filesystem}: round {round} is full"));
            filler.empty();
            agent.protecting(&site);
            site.take(&format!("after round {round}"));
        }
        site.check_all(filesystem);
        agent.terminate();
        site.check_all(filesystem);
    }
}

#[test]
fn a_full_temporary_directory_is_named_or_done_without() {
    let Some((site, mount)) = site_on(Filesystem::Ext4, 64 * MIB) else { return };
    put(&site.root.join("kept"), "acknowledged");
    let agent = site.start();
    let kept = site.take("before");
    agent.terminate();
    let _filler = Filler::fill(mount.point());
    let read = |site: &Site| {
        let asof = site.asof(arguments(&[&"cat", &site.root.join("kept"), &"--at", &kept.at]));
        asof.with_variable("TMPDIR", mount.point()).run()
    };
    let with_index = read(&site);
    assert_eq!(
        (with_index.status, &with_index.stdout[..]),
        (0, &b"acknowledged"[..]),
        "{}",
        with_index.stderr
    );
}

#[test]
fn a_journal_at_its_limit_pauses_and_goes_on_when_the_limit_is_raised() {
    let site = Site::new();
    let config = site.path("config.toml");
    let limit = |limit: &str| {
        let text = format!("journal_bytes_max = {limit}\n[[root]]\npath = '{}'\n", site.root.display());
        put(&config, text);
    };
    limit("'16 MiB'");
    put(&site.root.join("kept"), "acknowledged");
    let agent = Agent::start_configured(&site, &config);
    agent.protecting(&site);
    let kept = site.take("before");
    agent.allow("journal_bytes_max");
    for number in 0..40 {
        put(&site.root.join(format!("file-{number}")), noise(1 << 20, number));
    }
    let status = agent.in_state(&site, "degraded");
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("journal_bytes_max (16777216 bytes)") && problems.contains("SIGHUP"),
        "{status}"
    );
    let bytes = status["journal_bytes"].as_u64().must("journal_bytes");
    assert!((15 * MIB..40 * MIB).contains(&bytes), "{status}");
    site.asof(["sync"]).exits(1);
    everything_is_readable(&site, &kept.at);
    agent.terminate();

    // A start at the limit: the same, and it does not compare anything before it may.
    let agent = Agent::start_configured(&site, &config);
    agent.allow("journal_bytes_max");
    agent.in_state(&site, "degraded");
    put(&site.root.join("while at the limit"), "waits");
    limit("0");
    agent.reload();
    agent.protecting(&site);
    site.take("raised");
    site.check_all("the limit was raised");
    agent.terminate();
}

#[test]
fn an_index_that_takes_no_more_is_opened_anew_and_nothing_is_lost() {
    let Some((site, mount)) = site_on(Filesystem::Ext4, 96 * MIB) else { return };
    let agent = site.start();
    put(&site.root.join("kept"), "acknowledged");
    let kept = site.take("before");
    // Its directory goes: what RocksDB wants to write next fails, as on a bad disk.
    let index = Layout::new(&site.journal).index();
    fs::rename(&index, site.journal.join("index.gone")).must(index.display());
    let filler = Filler::fill(mount.point());
    put(&site.root.join("meets it"), noise(256 << 10, 1));
    until_full(&site, &agent);
    agent.allow("the index refused a write");
    // Enough operations for a flush once there is room.
    for dir in 0..60 {
        let dir = site.root.join(format!("d{dir}"));
        fs::create_dir(&dir).must(dir.display());
        for file in 0..100 {
            put(&dir.join(format!("{file:0>200}")), "x");
        }
    }
    filler.empty();
    agent.protecting(&site);
    site.take("many names");
    site.check_all("the index is gone");
    everything_is_readable(&site, &kept.at);
    agent.terminate();
    site.check_all("after the end");
    let agent = site.start();
    site.check_all("after another start");
    agent.terminate();
}

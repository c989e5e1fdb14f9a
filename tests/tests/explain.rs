//! `explain`: every answer there is, from the journal alone.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asof_tests::agent::Agent;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use asof_tests::wait::{PATIENCE, eventually, quiet};
use serde_json::Value;

fn write(path: impl AsRef<Path>, content: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().must("a directory")).must(path.display());
    fs::write(path, content).must(path.display());
}

/// The answer, and what people get.
#[track_caller]
fn explain(site: &Site, path: &Path, at: &str, verdict: &str) -> (Value, String) {
    let json = site.asof(arguments(&[&"--json", &"explain", &path, &"--at", &at])).exits(0).json();
    let text = site.asof(arguments(&[&"explain", &path, &"--at", &at])).exits(0).text();
    assert_eq!(json["verdict"], verdict, "{json:#}\n{text}");
    assert!(text.contains(json["text"].as_str().must("text")), "{text}");
    (json, text)
}

/// Gives the command that an answer names to a shell as it stands; it must do what it promises.
#[track_caller]
fn follow(site: &Site, json: &Value) {
    let next = json["next"].as_str().must(format!("a next command in {json}"));
    let target = site.fresh("target").display().to_string();
    site.shell(&next.replace("TARGET", &target)).exits(0);
}

#[test]
fn every_answer_with_the_agent_dead() {
    let site = Site::new();
    let root = &site.root;
    let config = site.path("config.toml");
    let text = |more: &str| {
        format!(
            "exclude = ['*.o', 'target/']\ncachedir_tag = true\nfile_bytes_max = 1000\n[[root]]\npath = '{}'\n\
             exclude = ['*.iso'{more}]\n",
            root.display()
        )
    };
    write(&config, &text(""));
    let (kept, doomed, old) = (root.join("kept"), root.join("dir/doomed"), root.join("old"));
    let odd = root.join(std::ffi::OsStr::from_bytes(b"caf\xe9\n.o"));
    write(&kept, "one");
    write(&doomed, "doomed");
    write(&old, "named old");
    write(&odd, "left out");
    write(root.join("later-excluded/x"), "kept at first");
    write(root.join("large"), &"x".repeat(2000));
    write(root.join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55");
    let agent = Agent::start_configured(&site, &config);
    agent.protecting(&site);
    let first = site.sync();

    write(&kept, "two two");
    fs::remove_dir_all(root.join("dir")).must("rm -r");
    fs::rename(&old, root.join("new")).must("mv");
    write(&config, &text(", '/later-excluded'"));
    agent.reload();
    let second = site.sync();
    write(root.join("late"), "late");
    let third = site.sync();
    agent.kill9();

    // Captured.
    let (json, text) = explain(&site, &kept, &second.at, "captured");
    assert_eq!(json["version"]["quality"], "clean");
    assert_eq!(json["version"]["size"], 7);
    assert!(json["since"]["seq"].as_u64() < json["version"]["seq"].as_u64(), "{json}");
    assert!(text.contains("clean") && text.contains("since"), "{text}");
    follow(&site, &json);
    assert_eq!(explain(&site, &kept, &first.instant, "captured").0["version"]["size"], 3);
    explain(&site, root, &second.at, "captured");

    // Excluded, by every kind of rule.
    let (json, text) = explain(&site, &root.join("a/b.o"), &second.at, "excluded");
    assert_eq!(
        (json["rule"]["pattern"].as_str(), json["rule"]["of"].as_str()),
        (Some("*.o"), Some("global"))
    );
    assert!(text.contains("*.o") && text.contains("every root"), "{text}");
    let (json, text) = explain(&site, &root.join("disk.iso"), &second.at, "excluded");
    assert_eq!(
        (json["rule"]["pattern"].as_str(), json["rule"]["of"].as_str()),
        (Some("*.iso"), Some("root"))
    );
    assert!(text.contains(&*root.to_string_lossy()), "{text}");
    let (json, _) = explain(&site, &root.join("s/target/debug/x"), &second.at, "excluded");
    assert_eq!(json["rule"]["matched"].as_str().map(PathBuf::from), Some(root.join("s/target")));
    assert!(
        explain(&site, &root.join("s/target"), &second.at, "excluded").1.contains("if it was a directory")
    );
    let (json, _) = explain(&site, &root.join("cache/x/y"), &second.at, "excluded");
    assert_eq!(json["rule"]["kind"], "cachedir_tag", "{json}");
    explain(&site, &root.join("cache/CACHEDIR.TAG"), &second.at, "captured");
    let (json, _) = explain(&site, &odd, &second.at, "excluded");
    assert!(json["path_b64"].is_string(), "{json}");
    // It was captured until the rule came, and can be had from then.
    let inside = root.join("later-excluded/x");
    explain(&site, &inside, &first.at, "captured");
    let (json, _) = explain(&site, &inside, &second.at, "excluded");
    assert_eq!(json["version"]["size"], 13, "{json}");
    follow(&site, &json);

    // Deleted, with its directory.
    let (json, text) = explain(&site, &doomed, &second.at, "deleted");
    let (after, before) =
        (json["ended"]["after"].as_str().must("after"), json["ended"]["before"].as_str().must("before"));
    assert!(after <= before && before <= second.instant.as_str(), "{json}");
    assert!(text.contains("dir"), "{text}");
    follow(&site, &json);
    // Another name by then.
    let (json, _) = explain(&site, &old, &second.at, "moved");
    assert_eq!(json["ended"]["moved_to"].as_str().map(PathBuf::from), Some(root.join("new")));
    follow(&site, &json);

    // Not yet created, and never seen.
    let (json, _) = explain(&site, &root.join("late"), &second.at, "not_yet_created");
    assert!(json["first_seen"]["instant"].as_str() > Some(second.instant.as_str()), "{json}");
    assert!(json["first_seen"]["instant"].as_str() <= Some(third.instant.as_str()), "{json}");
    follow(&site, &json);
    follow(&site, &explain(&site, &root.join("never"), &second.at, "never_seen").0);
    follow(&site, &explain(&site, &root.join("kept/below-a-file"), &second.at, "never_seen").0);

    // Below no root.
    for path in
        [Path::new("/"), Path::new("/nowhere/at/all"), &site.path("beside"), root.parent().must("parent")]
    {
        follow(&site, &explain(&site, path, &second.at, "not_protected").0);
    }

    // There, and not to be read.
    let (json, text) = explain(&site, &root.join("large"), &second.at, "unreadable");
    assert!(text.contains("file_bytes_max") && json["version"]["error"].is_string(), "{text}");
    follow(&site, &json);

    // A time and a path that mean nothing.
    site.asof(arguments(&[&"explain", &kept, &"--at", &"2001-01-01T00:00:00Z"])).exits(5);
    site.asof(arguments(&[&"explain", &kept, &"--at", &"at no time"])).exits(2);
    site.asof(["explain"]).exits(2);
    // Without --at it is now; with the path's own time, then.
    assert!(site.asof(arguments(&[&"explain", &kept])).exits(0).text().contains("captured"));
}

#[test]
fn what_happened_while_nobody_looked_is_a_gap() {
    let site = Site::new();
    let (kept, gone) = (site.root.join("kept"), site.root.join("gone"));
    write(&kept, "one");
    write(&gone, "one");
    let agent = site.start();
    let seen = site.sync();
    // What a stop covers is told by the kernel's clock for change times, which is a tick behind: 10 ms at most.
    quiet(Duration::from_millis(100));
    agent.terminate();
    fs::remove_file(&gone).must("rm");
    let while_down = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    let agent = site.start();
    let after = site.sync();
    agent.terminate();
    for path in [&kept, &gone] {
        let (json, text) = explain(&site, path, &while_down, "gap");
        assert_eq!(json["gaps"][0]["reason"], "agent not running", "{json}");
        assert!(json["gaps"][0]["from"].as_str() < json["gaps"][0]["until"].as_str(), "{json}");
        assert!(text.contains("agent not running"), "{text}");
        assert_eq!(json["version"]["size"], 3, "what was last known is said too: {json}");
        follow(&site, &json);
    }
    explain(&site, &kept, &after.at, "captured");
    // It went in the gap, and that is all that can be said.
    let (json, _) = explain(&site, &gone, &after.at, "deleted");
    assert!(json["ended"]["after"].as_str() >= Some(seen.instant.as_str()), "{json}");
    assert!(json["ended"]["after"].as_str() <= Some(while_down.as_str()), "{json}");
    assert!(json["ended"]["before"].as_str() >= Some(while_down.as_str()), "{json}");
}

#[test]
fn a_missing_root_is_told_from_a_missing_file() {
    let site = Site::new();
    let file = site.root.join("file");
    write(&file, "kept");
    let agent = site.start();
    agent.allow("is not there");
    site.sync();
    let away = site.path("away");
    fs::rename(&site.root, &away).must("mv");
    agent.in_state(&site, "degraded");
    let missing = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
    fs::rename(&away, &site.root).must("mv back");
    agent.protecting(&site);
    site.sync();
    agent.terminate();
    let (json, text) = explain(&site, &file, &missing, "root_missing");
    assert!(text.contains("root was missing"), "{text}");
    assert_eq!(json["root"].as_str().map(PathBuf::from).as_deref(), Some(site.root.as_path()));
    eventually(PATIENCE, "the file to be captured as before", || {
        let now = site.asof(arguments(&[&"--json", &"explain", &file])).exits(0).json();
        (now["verdict"] == "captured").then_some(())
    });
}

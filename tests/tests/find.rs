//! `find`: by name over time, with what is gone and when it was there last, and what changed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use asof_journal::storage::Layout;
use asof_tests::must::Must;
use asof_tests::site::{Site, arguments};
use serde_json::Value;

fn put(site: &Site, name: impl AsRef<Path>, content: &str) {
    let path = site.root.join(name);
    fs::create_dir_all(path.parent().must("a directory")).must(path.display());
    fs::write(&path, content).must(path.display());
}

#[track_caller]
fn find(site: &Site, arguments: &[&dyn AsRef<OsStr>]) -> Vec<Value> {
    let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"--json", &"find"];
    all.extend(arguments);
    site.asof(self::arguments(&all)).exits(0).json_lines()
}

/// The paths that were found, below the root.
fn paths(site: &Site, lines: &[Value]) -> Vec<String> {
    let root = format!("{}/", site.root.display());
    let path = |line: &Value| line["path"].as_str().map(|path| path.trim_start_matches(&root).to_owned());
    lines.iter().filter_map(path).collect()
}

#[test]
fn names_are_found_where_they_were_and_are() {
    let site = Site::new();
    for name in ["src/main.rs", "src/lib.rs", "src/deep/er/lib.rs", "doc/lib.md", "Lib.rs"] {
        put(&site, name, name);
    }
    put(&site, OsStr::from_bytes(b"odd/caf\xe9\n.rs"), "odd");
    let agent = site.start();
    let all = site.sync();
    fs::remove_dir_all(site.root.join("src/deep")).must("rm");
    fs::rename(site.root.join("doc"), site.root.join("docs")).must("mv");
    fs::rename(site.root.join("src/main.rs"), site.root.join("src/start.rs")).must("mv");
    let later = site.sync();
    put(&site, "src/lib.rs", "changed");
    put(&site, "src/new.rs", "new");
    site.sync();

    let check = || {
        let found = |arguments: &[&dyn AsRef<OsStr>]| paths(&site, &find(&site, arguments));
        assert_eq!(found(&[&"lib.rs"]), ["src/lib.rs"]);
        assert_eq!(found(&[&"lib.rs", &"--at", &all.at]), ["src/deep/er/lib.rs", "src/lib.rs"]);
        assert_eq!(found(&[&"lib.*"]), ["docs/lib.md", "src/lib.rs"], "under the name that it has now");
        assert_eq!(found(&[&"lib.md", &"--at", &all.instant]), ["doc/lib.md"]);
        assert_eq!(found(&[&"lib.rs", &"-i"]), ["Lib.rs", "src/lib.rs"]);
        assert_eq!(found(&[&"*.rs", &site.root.join("src")]), ["src/lib.rs", "src/new.rs", "src/start.rs"]);
        assert_eq!(found(&[&"src/*.rs"]), ["src/lib.rs", "src/new.rs", "src/start.rs"]);
        assert_eq!(found(&[&"/*.rs", &site.root]), ["Lib.rs"]);
        assert_eq!(found(&[&"src/**/lib.rs", &"--at", &all.at]), ["src/deep/er/lib.rs", "src/lib.rs"]);
        assert_eq!(found(&[&"[do]*/", &site.root]), ["docs", "odd"], "directories only");
        assert_eq!(found(&[&"main.rs"]), [] as [&str; 0]);
        assert_eq!(found(&[&"nowhere"]), [] as [&str; 0]);

        let odd = find(&site, &[&OsStr::from_bytes(b"caf\xe9\n.rs")]);
        let path = odd[0]["path_b64"].as_str().must("base64 of what is no UTF-8");
        let path = data_encoding::BASE64.decode(path.as_bytes()).must("base64");
        assert_eq!(path, site.root.join(OsStr::from_bytes(b"odd/caf\xe9\n.rs")).as_os_str().as_bytes());
        assert_eq!(find(&site, &[&"caf??.rs"]), odd);

        let lib = &find(&site, &[&"lib.rs"])[0];
        assert_eq!(
            (&lib["state"], &lib["kind"], &lib["size"]),
            (&"present".into(), &"file".into(), &7.into())
        );
        assert!(lib["mtime"].is_string() && lib["at"].as_str().is_some_and(|at| at.starts_with("seq:")));

        // What changed since, and nothing else; a name that it got is a change, too.
        assert_eq!(found(&[&"*.rs", &"--changed-since", &later.at]), ["src/lib.rs", "src/new.rs"]);
        assert_eq!(
            found(&[&"*.rs", &"--changed-since", &all.at]),
            ["src/lib.rs", "src/new.rs", "src/start.rs"]
        );
        assert_eq!(found(&[&"*.rs", &"--changed-since", &all.at, &"--at", &later.at]), ["src/start.rs"]);
        assert_eq!(found(&[&"lib.rs", &"--changed-since", &"2001-01-01"]), ["src/lib.rs"]);
        let gone = found(&[&"lib.rs", &"--changed-since", &all.at, &"--deleted"]);
        assert_eq!(gone, ["src/deep/er/lib.rs", "src/lib.rs"]);
        assert_eq!(found(&[&"deep*", &"--changed-since", &later.at, &"--deleted"]), [] as [&str; 0]);
    };
    check();
    agent.terminate();
    check();
    fs::remove_dir_all(Layout::new(&site.journal).index()).must("the index");
    check();
    let agent = site.start();
    agent.terminate();
    check();
    site.asof(["verify", "--deep"]).exits(0);
}

#[test]
fn what_is_gone_comes_back_at_the_time_that_is_given() {
    let site = Site::new();
    put(&site, "papers/2026/letter.odt", "the letter");
    put(&site, "papers/note", "a note");
    put(&site, "kept/letter.odt", "another one");
    let agent = site.start();
    site.sync();
    // In a directory that goes with it, and by itself.
    fs::remove_dir_all(site.root.join("papers")).must("rm");
    site.sync();
    put(&site, "papers/note", "a new note");
    site.sync();
    fs::remove_file(site.root.join("papers/note")).must("rm");
    fs::rename(site.root.join("kept/letter.odt"), site.root.join("kept/old.odt")).must("mv");
    site.sync();
    agent.terminate();

    let lines = find(&site, &[&"letter.odt", &"--deleted"]);
    assert_eq!(paths(&site, &lines), ["kept/letter.odt", "papers/2026/letter.odt"]);
    let moved_to = site.root.join("kept/old.odt").display().to_string();
    assert_eq!((&lines[0]["state"], &lines[0]["moved_to"]), (&"moved".into(), &moved_to.into()));
    assert_eq!(lines[1]["state"], "deleted");
    for (name, content) in [("letter.odt", "the letter"), ("note", "a new note")] {
        let line = find(&site, &[&name, &"--deleted"]).pop().must("a line");
        let (path, at) = (line["path"].as_str().must("path"), line["at"].as_str().must("at"));
        assert_eq!(line["size"], content.len());
        assert_eq!(line["last"]["seq"], at.trim_start_matches("seq:").parse::<u64>().must("a number"));
        assert_eq!(line["gone"]["seq"].as_u64(), line["last"]["seq"].as_u64().map(|last| last + 1));
        assert_eq!(site.asof(["cat", path, "--at", at]).exits(0).text(), content);
        let gone = format!("seq:{}", line["gone"]["seq"]);
        site.asof(["cat", path, "--at", &gone]).exits(5);
    }
    // One line for a path, however many directories there were.
    assert_eq!(paths(&site, &find(&site, &[&"note", &"--deleted"])), ["papers/note"]);
    // Also as of before it went, and of a directory that is gone.
    assert_eq!(paths(&site, &find(&site, &[&"2026", &"--deleted"])), ["papers/2026"]);
    let below = site.root.join("papers/2026");
    assert_eq!(
        paths(&site, &find(&site, &[&"*", &below, &"--deleted"])),
        ["papers/2026", "papers/2026/letter.odt"]
    );
    let at = lines[1]["at"].as_str().must("at");
    let then = find(&site, &[&"letter.odt", &"--deleted", &"--at", &at]);
    assert!(then.iter().all(|line| line["state"] == "present") && then.len() == 2, "{then:?}");

    // People get the command, and it does what it says.
    let output = site.asof(["find", "letter.odt", "--deleted"]).exits(0);
    assert!(output.text().contains("deleted") && output.text().contains("moved to"), "{}", output.text());
    let hint = output.stderr.lines().find_map(|line| line.strip_prefix("back with: asof ")).must("a command");
    // It may name the journal, which the site does, too.
    let hint = &hint[hint.find("restore ").must("the verb")..];
    // Nothing is in its place, in a root: that is where it belongs.
    assert!(hint.ends_with(" --in-place"), "{hint}");
    let agent = site.start();
    site.asof(hint.split(' ').chain(["--yes"])).exits(0);
    let letter = site.root.join("papers/2026/letter.odt");
    assert_eq!(fs::read_to_string(&letter).must("what came back"), "the letter");
    fs::remove_file(&letter).must("rm");
    site.sync();
    agent.terminate();
    // Something has its place by now, or the place of its directory, or it is found in another life of the root.
    let elsewhere = |what: &str| {
        let output = site.asof(["find", "letter.odt", "--deleted"]).exits(0);
        let hint =
            output.stderr.lines().find_map(|line| line.strip_prefix("back with: asof ")).must("a command");
        let hint = hint[hint.find("restore ").must("the verb")..].to_owned();
        assert!(hint.ends_with(" --to TARGET"), "{what}: {hint}");
        let target = site.fresh("back").display().to_string();
        let words: Vec<&str> =
            hint.split(' ').map(|word| if word == "TARGET" { &target } else { word }).collect();
        site.asof(words).exits(0);
        assert_eq!(fs::read_to_string(&target).must("what came back"), "the letter");
    };
    put(&site, "papers/2026/letter.odt", "in the way");
    elsewhere("something has its place");
    fs::remove_dir_all(site.root.join("papers")).must("rm");
    fs::write(site.root.join("papers"), "a file").must("a file");
    elsewhere("a file has the place of its directory");
    fs::remove_file(site.root.join("papers")).must("rm");
    let quiet = site.asof(["find", "note"]).exits(0);
    assert!(quiet.text().is_empty() && quiet.stderr.contains("1 is gone: --deleted"), "{}", quiet.stderr);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let site = Site::new();
    put(&site, "a", "one");
    let agent = site.start();
    let first = site.sync();
    put(&site, "a", "two");
    site.sync();
    agent.terminate();
    let root = site.root.display().to_string();
    for glob in ["", "/", "[a", "{a"] {
        let error = site.asof(["find", glob]).exits(2).stderr;
        assert!(error.contains("is no pattern"), "{error}");
    }
    site.asof(["find"]).exits(2);
    site.asof(["find", "a", &format!("{root}/absent")]).exits(5);
    site.asof(["find", "a", "--at", "soon"]).exits(2);
    site.asof(["find", "a", "--at", "2001-01-01"]).exits(5);
    let error = site.asof(["find", "a", "--at", &first.at, "--changed-since", "now"]).exits(2).stderr;
    assert!(error.contains("--changed-since is later"), "{error}");
    let with_time = format!("{root}@{}", first.at);
    let line = site.asof(["--json", "find", "a", &with_time]).exits(0).json();
    assert_eq!(line["seq"], first.seq);
}

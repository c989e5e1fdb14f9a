//! What an error says to do next is a command that works: every one is given to a shell as it stands.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use asof_tests::must::Must;
use asof_tests::site::{Output, Site, arguments};

fn write(path: impl AsRef<Path>, content: &str) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().must("a directory")).must(path.display());
    fs::write(path, content).must(path.display());
}

/// The lines after `next:`, without what stands behind a command in parentheses.
#[track_caller]
fn next(refused: &Output) -> Vec<String> {
    let (_, next) = refused.stderr.split_once("  next: ").must(format!("a next step in {}", refused.stderr));
    next.lines().map(|line| line.split("   (").next().unwrap_or_default().trim().to_owned()).collect()
}

/// Runs what an error says to do next; every command in it must succeed. Gives what the first prints.
#[track_caller]
fn follow(site: &Site, refused: &Output) -> Output {
    let mut outputs = next(refused).into_iter().map(|line| site.shell(&line).exits(0)).collect::<Vec<_>>();
    outputs.swap_remove(0)
}

#[test]
fn a_path_that_is_not_there_any_more_says_when_it_was_and_gives_it_back() {
    let site = Site::new();
    let odd = site.root.join(OsStr::from_bytes(b"caf\xe9 'n\new\"\x1b[31m $HOME @now"));
    let (gone, named, dir) = (site.root.join("gone file"), site.root.join("old name"), site.root.join("dir"));
    write(&gone, "the content");
    write(&odd, "odd");
    write(&named, "named");
    write(dir.join("sub/inner.txt"), "inner");
    let agent = site.start();
    let before = site.sync();
    fs::remove_file(&gone).must("rm");
    fs::remove_file(&odd).must("rm");
    fs::rename(&named, site.root.join("new name")).must("mv");
    fs::rename(&dir, site.root.join("moved")).must("mv");
    let after = site.sync();
    write(site.root.join("late"), "late");
    site.sync();

    // With the command that was meant, at the time at which it works.
    let target = site.path("a target");
    for (path, content) in [(&gone, "the content"), (&odd, "odd")] {
        let refused = site.asof(arguments(&[&"cat", path, &"--at", &after.at])).exits(5);
        assert!(refused.stderr.contains("it existed from "), "{}", refused.stderr);
        assert!(!refused.stderr.contains('\x1b'), "{}", refused.stderr);
        assert_eq!(follow(&site, &refused).text(), content);
        let to = site.fresh("target $x");
        let refused = site.asof(arguments(&[&"restore", path, &"--to", &to])).exits(5);
        follow(&site, &refused);
        assert_eq!(fs::read_to_string(&to).must(to.display()), content);
    }
    let _ = target;

    // Under the name that it has by then.
    let refused = site.asof(arguments(&[&"cat", &named])).exits(5);
    assert!(
        refused.stderr.contains("renamed to ") && refused.stderr.contains("new name"),
        "{}",
        refused.stderr
    );
    assert_eq!(follow(&site, &refused).text(), "named");
    let refused = site.asof(arguments(&[&"cat", &dir.join("sub/inner.txt")])).exits(5);
    assert!(refused.stderr.contains("moved/sub/inner.txt"), "{}", refused.stderr);
    assert_eq!(follow(&site, &refused).text(), "inner");

    // Later than the time.
    let late = site.root.join("late");
    let refused = site.asof(arguments(&[&"cat", &late, &"--at", &before.at])).exits(5);
    assert!(refused.stderr.contains("first captured at"), "{}", refused.stderr);
    assert_eq!(follow(&site, &refused).text(), "late");
    agent.terminate();
}

#[test]
fn a_path_that_never_was_there_leads_to_the_nearest_one_or_to_the_roots() {
    let site = Site::new();
    write(site.root.join("notes/report.txt"), "report");
    write(site.root.join("notes/old-plan.txt"), "plan");
    write(site.root.join("notes/empty/x"), "x");
    let agent = site.start();
    site.sync();
    fs::remove_file(site.root.join("notes/old-plan.txt")).must("rm");
    site.sync();

    let cat = |path: PathBuf| site.asof(arguments(&[&"cat", &path])).exits(5);
    for (asked, near, content) in [
        ("notes/reprot.txt", "notes/report.txt", "report"),
        ("notes/REPORT.TXT", "notes/report.txt", "report"),
        ("note/report.txt", "notes/report.txt", "report"),
        ("notes/old_plan.txt", "notes/old-plan.txt (deleted)", "plan"),
    ] {
        let refused = cat(site.root.join(asked));
        assert!(refused.stderr.contains(near), "{asked}: {}", refused.stderr);
        assert_eq!(follow(&site, &refused).text(), content, "{asked}");
    }
    let refused = cat(site.root.join("notes/something-else"));
    let listed = follow(&site, &refused).text();
    assert!(listed.contains("report.txt") && listed.contains("old-plan.txt"), "{listed}");
    let refused = cat(site.root.join("notes/report.txt/below"));
    assert!(refused.stderr.contains("is no directory but a file"), "{}", refused.stderr);
    assert_eq!(follow(&site, &refused).text(), "report");
    let refused = cat("/etc/passwd".into());
    assert!(refused.stderr.contains(&*site.root.to_string_lossy()), "names the root: {}", refused.stderr);
    follow(&site, &refused);
    let refused = site.asof(arguments(&[&"cat", &site.root.join("notes")])).exits(1);
    assert!(follow(&site, &refused).text().contains("report.txt"), "a directory is listed");
    agent.terminate();
}

#[test]
fn without_a_journal_or_an_agent_the_command_that_starts_one_is_named() {
    let site = Site::new();
    write(site.root.join("file"), "kept");
    let refused = site.asof(["ls", "/"]).exits(10);
    assert!(refused.stderr.contains("named by --journal"), "{}", refused.stderr);
    let start = next(&refused).swap_remove(0);
    assert!(start.starts_with("asofd run --journal ") && start.ends_with("--root DIR"), "{start}");
    assert_eq!(site.asof(["sync"]).exits(10).stderr, refused.stderr);

    let agent = site.start();
    site.sync();
    agent.terminate();
    let refused = site.asof(["sync"]).exits(1);
    let (journal, root) = (site.journal.display(), site.root.display());
    assert_eq!(next(&refused), [format!("asofd run --journal {journal} --root {root}")]);

    // A journal that the environment names is not named again.
    let ask = format!("ASOF_JOURNAL={journal} asof cat {root}/fiel");
    let refused = site.shell(&ask).exits(5);
    assert_eq!(next(&refused).swap_remove(0), format!("asof cat {root}/file --at seq:{}", head(&site)));
}

fn head(site: &Site) -> u64 {
    site.asof(["--json", "status"]).exits(0).json()["durable"]["seq"].as_u64().must("the newest seq")
}

#[test]
fn times_that_cannot_be_say_which_can() {
    let site = Site::new();
    write(site.root.join("file"), "kept");
    let agent = site.start();
    site.sync();
    let file = site.root.join("file");
    let refused = site.asof(arguments(&[&"cat", &file, &"--at", &"2001-01-01"])).exits(5);
    assert!(next(&refused).swap_remove(0).ends_with("(--at seq:1)"), "{}", refused.stderr);
    let refused = site.asof(arguments(&[&"cat", &file, &"--at", &"yesteday"])).exits(2);
    assert!(refused.stderr.contains("'yesterday 14:00'"), "{}", refused.stderr);
    // The zone is that of the test.
    for (time, both) in [
        ("2026-03-29 02:30", ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"]),
        ("2026-10-25 02:30", ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    ] {
        let line = format!("TZ=Europe/Berlin asof --journal {} ls / --at '{time}'", site.journal.display());
        let refused = site.shell(&line).exits(2);
        assert!(both.iter().all(|one| refused.stderr.contains(one)), "{}", refused.stderr);
    }
    let ahead = site.asof(arguments(&[&"cat", &file, &"--at", &"2199-01-01"])).exits(0);
    assert!(ahead.stderr.contains("yet to come"), "{}", ahead.stderr);
    agent.terminate();
}

#[test]
fn a_gap_that_is_refused_is_named_with_the_times_beside_it() {
    let site = Site::new();
    write(site.root.join("file"), "one");
    let agent = site.start();
    let before = site.sync();
    agent.kill9();
    write(site.root.join("file"), "two");
    let agent = site.start();
    let after = site.sync();
    // The instant between the two lies in the gap: nobody looked.
    let instant = |text: &str| chrono::DateTime::parse_from_rfc3339(text).must(text);
    let (from, to) = (instant(&before.instant), instant(&after.instant));
    let between = (from + (to - from) / 8).to_rfc3339();
    let (file, target) = (site.root.join("file"), site.path("target"));
    let ask =
        |at: &str| site.asof(arguments(&[&"restore", &file, &"--at", &at, &"--to", &target, &"--strict"]));
    let refused = ask(&between).exits(5);
    assert!(refused.stderr.contains("gap at "), "{}", refused.stderr);
    let steps = next(&refused);
    let time = |begin: &str| {
        let line =
            steps.iter().find_map(|line| line.strip_prefix(begin)).must(format!("{begin} in {steps:?}"));
        line.to_owned()
    };
    ask(&time("before it: --at ")).exits(0);
    assert_eq!(fs::read_to_string(&target).must("target"), "one");
    fs::remove_file(&target).must("rm");
    ask(&time("after it: --at ")).exits(0);
    agent.terminate();
}

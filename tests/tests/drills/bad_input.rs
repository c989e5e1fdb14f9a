//! Drills that make no sense, cannot be told, or end early.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use asof_tests::must::Must;
use asof_tests::wait::{PATIENCE, eventually};
use rustix::process::{Pid, Signal};

use crate::ground::Ground;

const TREE: &str = "scenario = 'tree'\nwhat.paths = ['ROOT']\n";

#[test]
fn what_has_no_meaning_is_a_usage_error_that_says_why() {
    let ground = Ground::new();
    for (text, words) in [
        (
            "scenario = 'tree'\n[what]\npath = ['ROOT']",
            &["line 3", "unknown key what.path", "did you mean paths?"][..],
        ),
        (
            "scenario = 'tree'\nwhat = { paths = ['ROOT'], everything = true }",
            &["what.everything", "what.paths", "contradict"],
        ),
        ("scenario = 'file'\nwhat.sample = '0%'", &["sample"]),
        ("scenario = 'tree'\nwhat.paths = ['ROOT']\nscratch = 'ROOT'", &["scratch", "below", "exclude"]),
        ("scenario = 'tree'\nwhat.paths = ['ROOT']\nhooks.start = ['ftp://x']", &["hooks"]),
    ] {
        let ran = ground.run(text, 2);
        for word in words {
            assert!(ran.output.stderr.contains(word), "{text}: {word} in {}", ran.output.stderr);
        }
    }
    let journal = ground.site.journal.to_str().must("UTF-8").to_owned();
    let ran = ground.run(&format!("{TREE}scratch = '{journal}'"), 2);
    assert!(ran.output.stderr.contains("lies in the journal"), "{}", ran.output.stderr);
    let file = ground.site.path("drill.toml");
    fs::write(&file, TREE.replace("ROOT", &ground.root())).must("a drill");
    let inside = format!("{journal}/state");
    let refused = ground.site.asof(["drill", file.to_str().must("UTF-8"), "--state", &inside]).exits(2);
    assert!(refused.stderr.contains("lies in the journal"), "{}", refused.stderr);
    let witness = ground.site.asof(["drill", "witness", "--to", &journal]).exits(2);
    assert!(witness.stderr.contains("lies in the journal"), "{}", witness.stderr);
    ground.site.asof(["drill", "/no/such/drill.toml"]).exits(1);
    ground.site.asof(["drill"]).exits(2);
    let reports = ground.site.path("state");
    assert!(
        !reports.exists() || asof_tests::files::names(&reports).is_empty() || no_reports(&reports),
        "no report of nothing"
    );
}

fn no_reports(state: &Path) -> bool {
    fs::read_dir(state)
        .must("state")
        .flatten()
        .all(|journal| fs::read_dir(journal.path().join("reports")).map_or(0, Iterator::count) == 0)
}

#[test]
fn init_writes_a_drill_that_runs_once_it_has_an_oracle() {
    let ground = Ground::new();
    let file = ground.site.path("new.toml");
    let name = file.to_str().must("UTF-8");
    ground.site.asof(["drill", "init", name]).exits(0);
    ground.site.asof(["drill", "init", name]).exits(1);
    let text = fs::read_to_string(&file).must("the drill");
    assert!(text.contains(&ground.root()), "it names what is protected");
    assert_eq!(ground.site.asof(["drill", "init"]).exits(0).text(), text);
    let ran = ground.run(&text, 0);
    assert_eq!(ran.report["identity"]["drill"], "daily-sample");
}

#[test]
fn an_empty_selection_is_inconclusive_and_so_is_one_without_an_oracle() {
    let ground = Ground::new();
    let ran = ground.run("scenario = 'file'\nwhat = { sample = 5, paths = ['ROOT/nothing'] }", 3);
    assert_eq!(ran.report["outcome"], "inconclusive");
    assert!(ran.report["why"].as_str().must("why").contains("nothing was selected"), "{}", ran.report["why"]);
    let ran = ground.run("scenario = 'tree'\nwhat.paths = ['ROOT/nothing']", 3);
    assert_eq!(ran.that("pass"), [""; 0], "{:?}", ran.outcomes());
    // Whatever is asserted: nothing came back in no time, and was compared with nothing.
    let quick = "targets.rto = '10m'\nassert = [{ kind = 'rto' }, { kind = 'no-gap' }]";
    let ran = ground.run(&format!("scenario = 'tree'\nwhat.paths = ['ROOT/nothing']\n{quick}"), 3);
    assert_eq!(ran.that("inconclusive"), ["selection"], "{:?}", ran.outcomes());
    let content = "assert = [{ kind = 'content' }]";
    let ran =
        ground.run(&format!("scenario = 'tree'\nwhat.paths = ['ROOT/docs', 'ROOT/nothing']\n{content}"), 3);
    assert_eq!(ran.that("inconclusive"), ["content", "selection"], "{:?}", ran.outcomes());
    assert!(ran.message("selection").contains("nothing"), "{}", ran.message("selection"));
    let ran = ground.run(&format!("{TREE}oracle.live = false"), 3);
    assert_eq!(ran.that("inconclusive"), ["content", "paths"]);
    assert!(ran.message("content").contains("no oracle knows"), "{}", ran.message("content"));
    // The live tree is one, where nothing changed since.
    ground.run(TREE, 0);
}

#[test]
fn an_old_witness_is_inconclusive_and_so_is_one_of_another_instant() {
    let ground = Ground::new();
    ground.witness();
    let text = |more: &str| format!("{TREE}[oracle]\nwitness = ['WITNESS']\nlive = false\n{more}");
    ground.run(&text(""), 0);
    let ran = ground.run(&text("max_age = '1ms'"), 3);
    assert!(ran.message("content").contains("oracle.max_age"), "{}", ran.message("content"));
    // Something changed since: the witness is of an instant before the newest one.
    fs::write(ground.site.root.join("docs/1.txt"), "new").must("a file");
    let ran = ground.run(&text(""), 3);
    assert!(ran.message("content").contains("changed since"), "{}", ran.message("content"));
    assert_eq!(ran.count("without_oracle"), 1);
    // A witness of later knows what did not change since an instant.
    let synced = ground.site.sync();
    fs::write(ground.site.root.join("docs/2.txt"), "newer").must("a file");
    ground.witness();
    let at = format!("when.at = '{}'\n", synced.at);
    let ran = ground.run(&text("").replacen("[oracle]", &format!("{at}[oracle]"), 1), 3);
    assert_eq!(ran.count("without_oracle"), 1, "one file changed since: {}", ran.message("content"));
    let least = "[[assert]]\nkind = 'content'\nleast = '90%'\n";
    let ran = ground.run(&(text("").replacen("[oracle]", &format!("{at}[oracle]"), 1) + least), 0);
    assert!(ran.message("content").contains("no oracle knows 1 more"), "{}", ran.message("content"));
}

#[test]
fn scratch_space_that_is_too_small_is_inconclusive() {
    let ground = Ground::new();
    let ran = ground.run(&format!("max_bytes = '16 KiB'\n{TREE}"), 3);
    assert!(ran.report["why"].as_str().must("why").contains("max_bytes"), "{}", ran.report["why"]);
}

#[test]
fn a_monitor_that_cannot_be_reached_is_a_warning() {
    let ground = Ground::new();
    let ran = ground.run(&format!("{TREE}hooks.success = ['http://127.0.0.1:1/ping']"), 0);
    let warnings = ran.report["warnings"].as_array().must("warnings");
    assert!(warnings.iter().any(|of| of.as_str().is_some_and(|of| of.contains("127.0.0.1"))), "{warnings:?}");
}

#[test]
fn an_interrupted_drill_cleans_up_and_keeps_no_report() {
    let ground = Ground::new();
    let text = format!(
        "{TREE}[[assert]]\nkind = 'command'\ncommand = ['sh', '-c', 'touch in-it; sleep 600']\ntimeout = '10m'"
    );
    let file = ground.site.path("long.toml");
    fs::write(&file, text.replace("ROOT", &ground.root())).must("a drill");
    let mut command = Command::new(&ground.site.programs.asof);
    command.arg("--journal").arg(&ground.site.journal).arg("drill").arg(&file);
    command.arg("--state").arg(ground.site.path("state")).env("TMPDIR", ground.scratch());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for signal in signals() {
        let mut child = command.spawn().must("asof drill");
        let in_it = |dir: &Path| -> bool {
            fs::read_dir(dir).must("scratch").flatten().any(|entry| {
                let restored = entry.path().join("restored");
                restored.join(ground.root().trim_start_matches('/')).join("in-it").exists()
            })
        };
        eventually(PATIENCE, "the command to run", || in_it(&ground.scratch()).then_some(()));
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).must("a pid");
        rustix::process::kill_process(pid, signal).must("a signal");
        let status = eventually(PATIENCE, "the drill to end", || child.try_wait().must("asof drill"));
        assert_eq!((status.code(), status.signal()), (Some(130), None));
        let said = std::io::read_to_string(child.stderr.take().must("stderr")).must("stderr");
        assert!(said.contains("its scratch space is removed, and no report of it is kept"), "{said}");
        ground.nothing_is_left();
    }
    assert!(no_reports(&ground.site.path("state")));
}

/// Those that end a drill in order. A hangup does only where whoever runs the tests has not had it ignored.
fn signals() -> Vec<Signal> {
    let status = fs::read_to_string("/proc/self/status").must("status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).must("SigIgn");
    let ignored = u64::from_str_radix(ignored.trim(), 16).must("a mask");
    let mut signals = vec![Signal::INT, Signal::TERM];
    if ignored & 1 == 0 {
        signals.push(Signal::HUP);
    }
    signals
}

/// The scratch agents that work below a directory.
fn agents_below(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").must("/proc").flatten();
    let below = format!("\0--journal\0{}/", dir.display());
    processes
        .filter(|process| {
            let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.split('\0').next().is_some_and(|program| program.ends_with("asofd")) && line.contains(&below)
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn an_agent_of_a_drill_that_was_killed_is_ended_by_the_next() {
    let ground = Ground::new();
    let file = ground.site.path("lab.toml");
    let text = "scenario = 'agent-dead'\nwhat.paths = ['ROOT']".replace("ROOT", &ground.root());
    fs::write(&file, text).must("a drill");
    let mut command = Command::new(&ground.site.programs.asof);
    command.arg("--journal").arg(&ground.site.journal).arg("drill").arg(&file);
    command.arg("--state").arg(ground.site.path("state")).env("TMPDIR", ground.scratch());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().must("asof drill");
    eventually(PATIENCE, "a scratch agent", || (!agents_below(&ground.scratch()).is_empty()).then_some(()));
    child.kill().must("SIGKILL");
    child.wait().must("asof drill");
    let ran = ground.drill(TREE).exits(0).json();
    assert_eq!(ran["clean_up"].as_array().must("clean-up").len(), 2, "{ran}");
    let drills = |name: &String| name.starts_with("asof-drill-");
    assert_eq!(asof_tests::files::names(&ground.scratch()).iter().filter(|name| drills(name)).count(), 0);
    eventually(PATIENCE, "no scratch agent", || agents_below(&ground.scratch()).is_empty().then_some(()));
}

#[test]
fn what_a_killed_drill_left_is_removed_by_the_next() {
    let ground = Ground::new();
    let left = ground.scratch().join("asof-drill-killed");
    fs::create_dir_all(left.join("restored/home")).must("a directory");
    fs::write(left.join("lock"), "").must("a file");
    let ran = ground.run(TREE, 0);
    assert_eq!(ran.report["clean_up"].as_array().must("clean-up").len(), 2);
}

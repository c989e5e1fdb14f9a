//! `asof retain`, `asof hold` and the agent that compacts, on journals that are weeks old by a clock that the test winds:
//! what is kept is given back as it was, what went says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_journal::append::Limits;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::retention::{Ladder, Policy, survey};
use asof_journal::storage::Layout;
use asof_journal::types::{ClockReading, Content, Instant, Seq};
use asof_tests::agent::Agent;
use asof_tests::desk::{Desk, Shown};
use asof_tests::fake_clock::FakeClock;
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::Site;
use asof_tests::specimen::content_of;
use asof_tests::wait::{PATIENCE, eventually};
use serde_json::Value;

const HOUR: i64 = 3600;
const LIMITS: Limits = Limits { segment_bytes_max: 64 << 10, segment_age_ns_max: i64::MAX as u64 };
const STEPS: [&str; 2] = ["all for 1 day", "1 day"];
const RETENTION: &str = "[retention]\nkeep = [\"all for 1 day\", \"1 day\"]\nimmutable = 0\n";

/// Three weeks of hourly writes.
fn lived(site: &Site) -> Vec<Shown> {
    let mut desk = Desk::open(&site.journal, 0, LIMITS);
    let mut random = Random::new(11);
    desk.mkdir("/d");
    for hour in 0..21 * 24 {
        desk.write("/d/a", &random.bytes(1500));
        if hour % 3 == 0 {
            desk.write("/d/b", &random.bytes(1500));
        }
        match hour {
            40 => desk.write("/d/brief", b"it was there for three hours"),
            43 => desk.remove("/d/brief"),
            100 => desk.name("before"),
            _ => {}
        }
        if hour > 40 && hour % 7 == 0 {
            match hour % 2 {
                0 => desk.write("/d/often", &random.bytes(1500)),
                _ if hour > 60 => desk.save("/d/b", &random.bytes(1500)),
                _ => {}
            }
        }
        desk.commit();
        desk.pass(HOUR - 1);
    }
    desk.close()
}

/// A configuration with the ladder of these tests, and the root of the site.
fn configured(site: &Site) -> PathBuf {
    let config = site.fresh("config");
    let text = format!("roots = ['{}']\n{RETENTION}", site.root.display());
    fs::write(&config, text).must(config.display());
    config
}

fn started(site: &Site, config: &Path) -> Agent {
    let agent = Agent::start_configured(site, config);
    agent.protecting(site);
    agent
}

/// How many states are exactly as they were, and how many are said not to be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Judged {
    exact: usize,
    thinned: Vec<Seq>,
}

/// Compares every state: one that the policy keeps is exact, one that is said to be whole too, and nothing is ever wrong.
fn judge(dir: &Path, shown: &[Shown], what: &str) -> Judged {
    let reader = Reader::open(dir).must(what);
    let clock = survey::clock(&reader).must(what);
    let policy = Policy::of(Ladder::parse(&STEPS).must("a ladder"), 0);
    let keeper = survey::keeper(&reader, &clock, &policy).must(what);
    let mut judged = Judged::default();
    for state in shown {
        let exact = reader.thinned_around(state.seq).must(what).is_none();
        assert!(exact || !keeper.is_kept(policy.union(), state.seq), "{what}: {} is not kept", state.seq);
        for (path, content) in &state.files {
            let found = kept_content(&reader, path, state.seq);
            match found {
                Some(found) => assert!(found == *content, "{what}: {path} at {} is wrong", state.seq),
                None => assert!(!exact, "{what}: {path} at {} is missing", state.seq),
            }
        }
        match exact {
            true => judged.exact += 1,
            false => judged.thinned.push(state.seq),
        }
    }
    judged
}

/// What a path held, unless that went.
fn kept_content(reader: &Reader, path: &str, at: Seq) -> Option<Vec<u8>> {
    let view = reader.view(at);
    let entry = view.resolve(path.as_bytes()).must(path)?;
    let version = view.version(entry.node).must(path)?;
    if version.version.content == Content::Thinned {
        return None;
    }
    content_of(reader, path, at).must(path)
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().must(key)
}

fn retain(site: &Site, config: &Path, further: &[&str]) -> Value {
    let asof = site.asof(["--json", "retain", "--yes", "--all"].iter().chain(further));
    asof.with_variable("ASOF_CONFIG", config).exits(0).json()
}

#[test]
fn without_an_agent_it_is_done_here_and_what_went_says_so() {
    let site = Site::new();
    let shown = lived(&site);
    let config = configured(&site);
    let before = site.segment_bytes();

    // Nobody is there to be asked.
    let error = site.asof(["retain"]).with_variable("ASOF_CONFIG", &config).exits(2).stderr;
    assert!(error.contains("--yes") && error.contains("--dry-run"), "{error}");
    assert_eq!(site.segment_bytes(), before);

    let done = retain(&site, &config, &[]);
    assert!(number(&done, "versions") > 300, "{done}");
    assert_eq!(done["by_agent"], false);
    assert!(site.segment_bytes() < before / 2, "{before} became {}", site.segment_bytes());
    let judged = judge(&site.journal, &shown, "after retain");
    assert!(judged.exact > 24 && judged.thinned.len() > 300, "{judged:?}");
    site.asof(["verify", "--deep"]).exits(0);

    // What is asked of an instant in between names its neighbours, and restores tell what is missing.
    let at = judged.thinned[judged.thinned.len() / 2];
    let reader = Reader::open(&site.journal).must("the journal");
    let around = reader.thinned_around(at).must("its neighbours").must("some");
    let near = [around.before.must("one before").seq, around.after.must("one after").seq];
    assert!(near[0] < at && at < near[1]);
    let at = at.to_string();
    let said = site.asof(["ls", "/d", "--at", &at]).exits(0).stderr;
    for seq in near {
        assert!(said.contains(&seq.to_string()), "{said}");
    }
    let why = site.asof(["--json", "explain", "/d/a", "--at", &at]).exits(0).json();
    assert_eq!(number(&why["kept_before"], "seq"), near[0].0, "{why}");
    assert_eq!(number(&why["kept_after"], "seq"), near[1].0, "{why}");
    let target = site.fresh("target");
    let restored = site.asof(["--json", "restore", "/d/a", "--at", &at, "--to"]).with_word(&target).exits(3);
    let summary = restored.json_lines().pop().must("a summary");
    assert_eq!(summary["thinned"]["before"], near[0].to_string());
    assert_eq!(summary["thinned"]["after"], near[1].to_string());
    let first = restored.stderr.lines().next().must("a line");
    assert!(first.contains("not everything of"), "{first}");
    // At its neighbours everything is there, and nothing is said.
    for seq in near {
        let target = site.fresh("target");
        let restored =
            site.asof(["restore", "/d", "--at", &seq.to_string(), "--to"]).with_word(&target).exits(0);
        assert!(!restored.stderr.contains("not everything"), "{}", restored.stderr);
        let state = shown.iter().find(|state| state.seq == seq).must("its state");
        for (path, content) in &state.files {
            let file = target.join(path.strip_prefix("/d/").must(path));
            assert_eq!(&fs::read(&file).must(file.display()), content);
        }
    }
    // What of a thinned instant is kept all the same is given back without a fault.
    let whole = judged.thinned.iter().find(|seq| {
        let state = shown.iter().find(|state| state.seq == **seq).must("its state");
        state.files.contains_key("/d/often") && kept_content(&reader, "/d/often", **seq).is_some()
    });
    let target = site.fresh("target");
    let at = whole.must("an instant").to_string();
    let restored = site.asof(["restore", "/d/often", "--at", &at, "--to"]).with_word(&target).exits(0);
    assert!(restored.stderr.contains("not everything of"), "{}", restored.stderr);

    // Once more changes nothing.
    assert_eq!(number(&retain(&site, &config, &[]), "versions"), 0);
}

#[test]
fn a_writer_keeps_others_out_and_a_journal_that_is_not_there_is_not_made() {
    let site = Site::new();
    let config = configured(&site);
    let asof = || site.asof(["retain", "--yes"]).with_variable("ASOF_CONFIG", &config);
    asof().exits(10);
    assert!(!site.journal.exists());
    let clock = ClockReading { wall: Instant(1_700_000_000_000_000_000), boottime_ns: 0, boot_id: [1; 16] };
    let journal = Journal::open(&site.journal, &clock, LIMITS).must("a journal");
    asof().exits(11);
    drop(journal);
}

#[test]
fn the_agent_does_it_while_others_read_and_tells_who_is_waited_for() {
    let site = Site::new();
    let shown = lived(&site);
    let config = configured(&site);
    let agent = started(&site, &config);
    let old = Reader::open(&site.journal).must("a reader of before");
    let held: BTreeMap<Seq, Vec<u8>> =
        shown.iter().map(|state| (state.seq, state.files["/d/a"].clone())).collect();

    // What would go is said of the policy that the agent has, whatever file would be read without one.
    let foretold = site.asof(["--json", "retain", "--dry-run"]).exits(0).json_lines();
    let policy = foretold.iter().find(|line| line["type"] == "policy").must("the policy");
    assert_eq!((&policy["from"], &policy["keep"]), (&"the running asofd".into(), &STEPS.to_vec().into()));
    let done = retain(&site, &config, &[]);
    assert!(number(&done, "versions") > 300, "{done}");
    assert_eq!(done["by_agent"], true);
    assert!(number(&done, "waiting") > 0, "{done}");
    assert_eq!(number(&done["reader"], "pid"), u64::from(std::process::id()), "{done}");
    let status = site.status();
    assert_eq!(number(&status["retention"]["reader"], "pid"), u64::from(std::process::id()), "{status}");
    assert_eq!(number(&status["retention"], "versions"), number(&done, "versions"));
    let text = site.asof(["status"]).exits(0).text();
    assert!(text.contains("old segments wait for readers"), "{text}");

    // Whoever read before reads on as if nothing had happened.
    for (seq, content) in &held {
        assert_eq!(content_of(&old, "/d/a", *seq).must("a read").as_ref(), Some(content), "{seq}");
    }
    drop(old);
    let judged = judge(&site.journal, &shown, "beside the agent");
    assert!(judged.exact > 24 && judged.thinned.len() > 300, "{judged:?}");
    assert_eq!(number(&retain(&site, &config, &[]), "waiting"), 0);

    // It captures on.
    fs::write(site.root.join("new"), "new").must("a file");
    let synced = site.sync();
    let restored = site.restore(&site.root.join("new"), &synced.at);
    assert_eq!(fs::read(restored).must("the file"), b"new");
    agent.terminate();
    judge(&site.journal, &shown, "after the end");
    site.asof(["verify", "--deep"]).exits(0);
}

#[test]
fn what_is_held_stays_until_it_is_released() {
    let site = Site::new();
    let shown = lived(&site);
    let config = configured(&site);
    let agent = started(&site, &config);
    let error = site.asof(["hold", "/d/nothing"]).exits(1).stderr;
    assert!(error.contains("never had anything at /d/nothing"), "{error}");
    let error = site.asof(["hold", "mark:nothing"]).exits(1).stderr;
    assert!(error.contains("no mark:nothing"), "{error}");
    site.asof(["hold", "/d/a", "--until", "yesterday"]).exits(2);
    site.asof(["release", "/d/a"]).exits(1);
    site.asof(["hold", "/d/a"]).exits(0);
    site.asof(["hold", "mark:before", "--until", "2100-01-01"]).exits(0);
    let held = site.asof(["--json", "hold"]).exits(0).json_lines();
    assert_eq!((held[0]["path"].as_str(), held[1]["mark"].as_str()), (Some("/d/a"), Some("mark:before")));
    assert!(held[1]["until"].as_str().must("an end").starts_with("2100-01-01"), "{held:?}");

    retain(&site, &config, &[]);
    let reader = Reader::open(&site.journal).must("the journal");
    for state in &shown {
        let content = kept_content(&reader, "/d/a", state.seq);
        assert_eq!(content.as_ref(), state.files.get("/d/a"), "held at {}", state.seq);
    }
    let gone = shown.iter().filter(|state| {
        state.files.contains_key("/d/b") && kept_content(&reader, "/d/b", state.seq).is_none()
    });
    assert!(gone.count() > 100, "what is not held goes");
    drop(reader);

    site.asof(["release", "/d/a"]).exits(0);
    let held = site.asof(["--json", "hold"]).exits(0).json_lines();
    assert_eq!(held.len(), 1, "{held:?}");
    let done = retain(&site, &config, &[]);
    assert!(number(&done, "versions") > 300, "{done}");
    judge(&site.journal, &shown, "released");
    agent.terminate();

    // Notes outlive compaction and an index that is made anew.
    fs::remove_dir_all(Layout::new(&site.journal).index()).must("the index");
    let held = site.asof(["--json", "hold"]).exits(0).json_lines();
    assert_eq!(held.len(), 1, "{held:?}");
}

/// Names in the directory of segments that are not among those before.
fn new_segments(journal: &Path, before: &[String], ending: &str) -> usize {
    let names = segments(journal);
    names.iter().filter(|name| name.ends_with(ending) && !before.contains(name)).count()
}

fn segments(journal: &Path) -> Vec<String> {
    let entries = fs::read_dir(Layout::new(journal).segments()).must("the segments");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn an_agent_that_is_killed_meanwhile_loses_nothing_that_is_kept() {
    // Before anything, while the new segment is written, and when it has its name.
    for (at, ending) in [(0, ""), (1, ".new"), (2, ".seg")] {
        let site = Site::new();
        let shown = lived(&site);
        let config = configured(&site);
        let agent = started(&site, &config);
        let before = segments(&site.journal);
        let mut asof = Command::new(&site.programs.asof);
        asof.arg("--journal").arg(&site.journal).args(["retain", "--yes", "--all"]);
        let mut asof = asof.stdout(Stdio::null()).stderr(Stdio::null()).spawn().must("asof");
        if at > 0 {
            let ended = std::cell::Cell::new(false);
            eventually(PATIENCE, ending, || {
                // A step may be over before it is seen; then the kill comes after it.
                ended.set(asof.try_wait().must("asof").is_some());
                (ended.get() || new_segments(&site.journal, &before, ending) > 0).then_some(())
            });
        }
        agent.kill9();
        let _ = asof.wait();
        let what = format!("killed at {ending:?}");
        judge(&site.journal, &shown, &what);

        let agent = started(&site, &config);
        judge(&site.journal, &shown, &format!("{what}, and started again"));
        retain(&site, &config, &[]);
        let judged = judge(&site.journal, &shown, &format!("{what}, and done again"));
        assert!(judged.exact > 24 && judged.thinned.len() > 300, "{what}: {judged:?}");
        agent.terminate();
        site.asof(["verify", "--deep"]).exits(0);
    }
}

/// The year that the agent lives in.
fn year(site: &Site) -> i64 {
    let synced = site.sync();
    synced.instant.get(..4).and_then(|year| year.parse().ok()).must(synced.instant)
}

/// Ages are by the time that the writer has seen pass. A clock that is five years ahead, and right again, makes nothing old.
#[test]
fn a_clock_that_jumps_years_ahead_and_back_makes_nothing_older() {
    let site = Site::new();
    let Some(clock) = FakeClock::new(&site) else {
        println!("skipped: libfaketime is not installed");
        return;
    };
    let shown = lived(&site);
    let config = configured(&site);
    let agent = Agent::start_with(&site, clock.asofd(&site), &["--config".into(), config.clone().into()]);
    agent.protecting(&site);
    // Versions that a ladder of days would leave one of, if they were old.
    let saves = |what: &str| {
        for number in 0..5 {
            fs::write(site.root.join("file"), format!("{what}, {number}")).must("a save");
            site.take(&format!("{what}, {number}"));
        }
    };
    saves("before");
    let done = retain(&site, &config, &[]);
    let at_first = judge(&site.journal, &shown, "the clock is right");
    assert!(at_first.thinned.len() > 300, "{done}: the policy lets nothing go at all: {at_first:?}");
    site.check_all("the clock is right");

    let this_year = year(&site);
    for (offset, years) in [("+5y", 5), ("+0", 0), ("-5y", -5), ("+0", 0)] {
        clock.set(offset);
        saves(offset);
        // Within a day of a year's end, or of its leap days, it may be one more or less.
        assert!((year(&site) - this_year - years).abs() <= 1, "the clock of the agent is not {offset}");
        retain(&site, &config, &[]);
        let judged = judge(&site.journal, &shown, offset);
        assert_eq!(judged, at_first, "{offset}: what was young enough before is not any more");
        site.check_all(offset);
    }
    agent.terminate();

    // Without the agent it is no older, and neither for one that starts with a clock that is ahead.
    retain(&site, &config, &[]);
    assert_eq!(judge(&site.journal, &shown, "no agent"), at_first);
    clock.set("+5y");
    let agent = Agent::start_with(&site, clock.asofd(&site), &["--config".into(), config.clone().into()]);
    agent.protecting(&site);
    retain(&site, &config, &[]);
    assert_eq!(judge(&site.journal, &shown, "started ahead"), at_first);
    site.check_all("started ahead");
    agent.terminate();
    site.asof(["verify", "--deep"]).exits(0);
}

/// What a dry run foretells.
fn foretold(site: &Site, config: &Path, further: &[&str]) -> (u64, u64, Value) {
    let asof = site.asof(["--json", "retain", "--dry-run"].iter().chain(further));
    let lines = asof.with_variable("ASOF_CONFIG", config).exits(0).json_lines();
    let summary = lines.into_iter().find(|line| line["type"] == "summary").must("a summary");
    (number(&summary, "versions_dropped"), number(&summary, "names_dropped"), summary)
}

/// What a dry run says is what goes, to the last change of a name; what went is not told of again.
#[test]
fn what_is_foretold_goes_and_is_foretold_no_more() {
    let site = Site::new();
    lived(&site);
    let config = configured(&site);
    let (versions, names, before) = foretold(&site, &config, &[]);
    assert!(versions > 300 && names > 10, "{before}");
    let done = retain(&site, &config, &[]);
    assert_eq!((number(&done, "versions"), number(&done, "bindings")), (versions, names), "{done} {before}");
    let (versions, names, after) = foretold(&site, &config, &[]);
    assert_eq!((versions, names), (0, 0), "{after}");
    for key in ["versions_kept", "names_kept"] {
        assert_eq!(number(&after, key), number(&before, key), "{after} {before}");
    }
    let (versions, names, all) = foretold(&site, &config, &["--keep", "all"]);
    assert_eq!((versions, names, number(&all, "versions_kept")), (0, 0, number(&after, "versions_kept")));
    let done = retain(&site, &config, &[]);
    assert_eq!((number(&done, "versions"), number(&done, "bindings")), (0, 0), "{done}");
}

/// Also what lies in the segment that is being written.
#[test]
fn all_of_what_is_foretold_goes_while_the_agent_writes() {
    let site = Site::new();
    let config = site.fresh("config");
    let text =
        format!("roots = ['{}']\n[retention]\nkeep = [\"1 day\"]\nimmutable = 0\n", site.root.display());
    fs::write(&config, text).must(config.display());
    let agent = started(&site, &config);
    for number in 0..5 {
        fs::write(site.root.join("file"), format!("version {number}")).must("a save");
        // As editors save.
        fs::write(site.root.join("new"), format!("saved {number}")).must("a save");
        fs::rename(site.root.join("new"), site.root.join("saved")).must("a save");
        site.sync();
    }
    let (versions, names, before) = foretold(&site, &config, &[]);
    assert!(versions >= 8 && names >= 4, "{before}");
    let done = retain(&site, &config, &[]);
    assert_eq!((number(&done, "versions"), number(&done, "bindings")), (versions, names), "{done} {before}");
    let (versions, names, after) = foretold(&site, &config, &[]);
    assert_eq!((versions, names), (0, 0), "{after}");
    // With nothing new no segment is begun.
    let segments = segments(&site.journal);
    let done = retain(&site, &config, &[]);
    assert_eq!((number(&done, "versions"), number(&done, "bindings")), (0, 0), "{done}");
    assert_eq!(self::segments(&site.journal).len(), segments.len(), "{segments:?}");
    agent.terminate();
    site.asof(["verify", "--deep"]).exits(0);
}

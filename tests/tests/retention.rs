//! `asof retain --dry-run` and `asof top`, on journals whose clock the test winds: what would go is counted by hand.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use asof_journal::append::Limits;
use asof_tests::agent::Agent;
use asof_tests::desk::{Desk, clock};
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, arguments};
use serde_json::Value;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Bytes of a version: noise, so that it is stored as it is.
const BYTES: usize = 3000;

fn of<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

fn number(line: &Value, key: &str) -> u64 {
    line[key].as_u64().must(key)
}

/// The line of a path.
fn path<'l>(lines: &'l [Value], path: &str) -> &'l Value {
    lines.iter().find(|line| line["path"] == path).must(path)
}

/// About as many bytes, as the share of a pack may make them.
#[track_caller]
fn about(bytes: u64, versions: u64) {
    let expected = versions * BYTES as u64;
    assert!(bytes >= expected && bytes < expected + expected / 20 + 1000, "{bytes} instead of {expected}");
}

/// Days of hourly writes, saves, a deletion and a name. Gives the walls of the writes of `/d/a`, which are every hour.
fn lived(site: &Site, days: i64) -> Vec<i64> {
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    let mut random = Random::new(7);
    let mut noise = || random.bytes(BYTES);
    desk.mkdir("/d");
    desk.write("/d/saved", &noise());
    desk.write("/d/disk.iso", &noise());
    desk.write("/d/gone", &noise());
    for hour in 0..days * 24 {
        desk.write("/d/a", &noise());
        match hour {
            30 => desk.write("/d/gone", &noise()),
            31 => desk.remove("/d/gone"),
            50 => desk.name("before"),
            60..70 => desk.write("/d/disk.iso", &noise()),
            _ => {}
        }
        if hour % 5 == 1 {
            desk.save("/d/saved", &noise());
        }
        desk.commit();
        desk.pass(HOUR - 1);
    }
    desk.close();
    (0..days * 24).map(|hour| clock(hour * HOUR + 1).wall.0 / 1_000_000_000).collect()
}

/// Of states that began then and lasted to the next, those that a ladder of all for a day and then one a day keeps, without
/// any other rule.
fn kept(walls: &[i64], also: Option<i64>, now: i64) -> u64 {
    let keeps = |at: usize| {
        let Some(until) = walls.get(at + 1) else { return true };
        // Rounded to the minute.
        let day_ago = (now - DAY).div_euclid(60) * 60;
        let midnight = walls[at].div_euclid(DAY) * DAY + if walls[at] % DAY == 0 { 0 } else { DAY };
        *until > day_ago || midnight < *until || also.is_some_and(|also| walls[at] <= also && also < *until)
    };
    (0..walls.len()).filter(|at| keeps(*at)).count() as u64
}

const LADDER: &str = "[retention]\nkeep = [\"all for 1 day\", \"1 day\"]\nimmutable = 0\n";

/// A configuration beside the site.
fn written(site: &Site, text: &str) -> std::path::PathBuf {
    let path = site.fresh("config");
    fs::write(&path, text).must(path.display());
    path
}

#[track_caller]
fn dry_run(site: &Site, text: &str, further: &[&str]) -> Vec<Value> {
    let config = written(site, text);
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"--json", &"retain", &"--dry-run", &"-n", &"0", &"--policy", &config];
    all.extend(further.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    site.asof(arguments(&all)).exits(0).json_lines()
}

#[test]
fn what_would_go_is_what_the_ladder_says_path_by_path() {
    let site = Site::new();
    let walls = lived(&site, 20);
    let lines = dry_run(&site, LADDER, &[]);

    // One state a day before the last day, all within it, and the one that has a name.
    let named = clock(50 * HOUR + 1).wall.0 / 1_000_000_000;
    let now = *walls.last().must("a wall");
    let stay = kept(&walls, Some(named), now);
    let a = path(&lines, "/d/a");
    assert_eq!(
        (number(a, "versions_kept"), number(a, "versions_dropped")),
        (stay, walls.len() as u64 - stay)
    );
    assert_eq!(number(&a["kept"], "marks"), 1);
    assert_eq!(number(&a["kept"], "current"), 1);
    about(number(a, "bytes"), number(a, "versions_dropped"));
    assert_eq!(number(a, "names_dropped"), 0);

    // Saved anew each time: many nodes, one path, and names go with versions.
    let saves: Vec<i64> = std::iter::once(walls[0])
        .chain((0..20 * 24).filter(|hour| hour % 5 == 1).map(|hour| walls[hour]))
        .collect();
    let stay = kept(&saves, Some(named), now);
    let saved = path(&lines, "/d/saved");
    assert_eq!(
        (number(saved, "versions_kept"), number(saved, "versions_dropped")),
        (stay, saves.len() as u64 - stay)
    );
    assert_eq!(number(saved, "names_kept"), number(saved, "versions_kept"));
    about(number(saved, "bytes"), number(saved, "versions_dropped"));

    // Of what was deleted the last state stays, and the one of the midnight before that.
    assert!(lines.iter().all(|line| line["path"] != "/d/gone"), "nothing of it goes");

    let summary = of(&lines, "summary")[0];
    let sum: u64 = of(&lines, "path").iter().map(|line| number(line, "versions_dropped")).sum();
    assert_eq!(number(summary, "versions_dropped"), sum);
    let bytes: Vec<u64> = of(&lines, "path").iter().map(|line| number(line, "bytes")).collect();
    assert!(bytes.is_sorted_by(|one, other| one >= other));
    assert_eq!(number(summary, "bytes"), bytes.iter().sum::<u64>());
    assert_eq!(number(summary, "lists_unreadable"), 0);

    // What could not be asked any more: all but a grid, up to a day ago.
    let stretches = of(&lines, "stretch");
    assert_eq!(stretches.len(), 1);
    assert_eq!((&stretches[0]["every"], number(stretches[0], "from_seq")), (&"1 day".into(), 1));
    let until = chrono_seconds(stretches[0]["until"].as_str().must("until"));
    assert!((until - (now - DAY)).abs() <= HOUR);
    assert_eq!(number(stretches[0], "instants"), 19);

    // Nothing was done.
    site.asof(["cat", "/d/a", "--at", "seq:100"]).exits(0);
    let text = site.asof(["retain", "--dry-run", "--keep", "all"]).exits(0).text();
    assert!(text.contains("nothing would go"), "{text}");
}

fn chrono_seconds(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).must(text).timestamp()
}

#[test]
fn rules_and_roots_have_ladders_of_their_own() {
    let site = Site::new();
    lived(&site, 10);
    let all = dry_run(&site, LADDER, &[]);
    assert!(number(path(&all, "/d/disk.iso"), "versions_dropped") > 0);
    let rule = "[[retention.rule]]\npatterns = [\"*.iso\"]\nkeep = [\"all\"]\n";
    let ruled = dry_run(&site, &format!("{LADDER}{rule}"), &[]);
    assert!(ruled.iter().all(|line| line["path"] != "/d/disk.iso"));
    assert_eq!(path(&ruled, "/d/a"), path(&all, "/d/a"));
    assert_eq!(number(of(&ruled, "policy")[0], "ladders"), 2);
    let root = "[[root]]\npath = \"/d\"\nkeep = [\"all\"]\n";
    let rooted = dry_run(&site, &format!("{LADDER}{root}"), &[]);
    assert!(of(&rooted, "path").is_empty(), "{rooted:?}");
    // By its path alone it is the same, but for what is not asked for.
    let below = dry_run(&site, LADDER, &["/d/a"]);
    assert_eq!(of(&below, "path"), [path(&all, "/d/a")]);
    // Within the window nothing goes.
    let recent = dry_run(&site, &LADDER.replace("immutable = 0", "immutable = \"30 days\""), &[]);
    assert!(of(&recent, "path").is_empty());
    let summary = of(&recent, "summary")[0];
    assert_eq!(number(summary, "versions_dropped") + number(summary, "names_dropped"), 0);
}

#[test]
fn bases_of_what_stays_are_told_apart() {
    let site = Site::new();
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    let mut content = Random::new(3).bytes(100_000);
    for hour in 0..200 {
        content[hour * 400] ^= 1;
        desk.write("/file", &content);
        desk.commit();
        desk.pass(HOUR);
    }
    desk.close();
    let lines = dry_run(&site, LADDER, &[]);
    let file = path(&lines, "/file");
    let (bytes, base) = (number(file, "bytes"), number(file, "base_bytes"));
    assert!(base > 0 && base < bytes, "{base} of {bytes}");
    let text = site.asof(["retain", "--dry-run", "--keep", "1 day"]).exits(0).text();
    assert!(text.contains("bases of differences that stay"), "{text}");
}

#[test]
fn what_takes_the_space_is_told_by_path_by_what_is_new_and_by_age() {
    let site = Site::new();
    let walls = lived(&site, 40);
    let hours = walls.len() as u64;
    let top = |arguments: &[&str]| {
        let all: Vec<&str> =
            ["--json", "top", "-n", "0"].into_iter().chain(arguments.iter().copied()).collect();
        site.asof(all).exits(0).json_lines()
    };
    let lines = top(&[]);
    let a = path(&lines, "/d/a");
    assert_eq!(number(a, "versions"), hours);
    about(number(a, "bytes"), hours);
    about(number(a, "bytes_per_day"), 24);
    about(number(path(&lines, "/d/gone"), "bytes"), 2);
    assert_eq!(lines[0]["path"], "/d/a", "the largest first");
    let total = number(of(&lines, "summary")[0], "bytes");
    assert_eq!(total, of(&lines, "path").iter().map(|line| number(line, "bytes")).sum::<u64>());

    let churn = top(&["--by", "churn"]);
    let new = number(path(&churn, "/d/a"), "versions");
    assert!((7 * 24 - 1..=7 * 24 + 1).contains(&new), "{new}");
    about(number(path(&churn, "/d/a"), "bytes"), new);
    assert!(churn.iter().all(|line| line["path"] != "/d/disk.iso"));

    let ages = top(&["--by", "age"]);
    let days: Vec<Option<u64>> = of(&ages, "age").iter().map(|line| line["days"].as_u64()).collect();
    assert_eq!(days, [Some(1), Some(7), Some(30), Some(365), None]);
    let sum: u64 = of(&ages, "age").iter().map(|line| number(line, "bytes")).sum();
    assert!(sum.abs_diff(total) < 10, "{sum} {total}");
    let month = of(&ages, "age")[2];
    assert!((23 * 24..=24 * 29).contains(&number(month, "versions")), "{month}");
    assert_eq!(number(of(&ages, "age")[4], "versions"), 0);

    let text = site.asof(["top", "/d", "-n", "1"]).exits(0).text();
    assert!(text.contains("/d/a") && text.contains("in all") && !text.contains("/d/saved"), "{text}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let site = Site::new();
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    desk.write("/a", b"one");
    desk.commit();
    desk.close();
    for (steps, part) in [
        (&["1 day for 9 days", "1 hour"][..], "step 2, \"1 hour\": its interval of 1 hour is not longer"),
        (&["all", "1 hour"], "the step before has no end"),
        (&["1 hour for 0 days"], "it lasts no time"),
        (&["sometimes"], "is no length of time"),
    ] {
        let all: Vec<&str> =
            ["retain", "--dry-run", "--keep"].into_iter().chain(steps.iter().copied()).collect();
        let error = site.asof(all).exits(2).stderr;
        assert!(error.contains(part), "{error}");
    }
    let config = written(&site, "[retention]\nkeep = []\n");
    let error = site.asof(arguments(&[&"retain", &"--dry-run", &"--policy", &config])).exits(1).stderr;
    assert!(error.contains(":2: retention.keep: there is no step"), "{error}");
    site.asof(["retain", "--dry-run", "--policy", "/nowhere"]).exits(1);
    site.asof(["retain", "--dry-run", "/absent"]).exits(5);
    site.asof(["top", "/absent"]).exits(5);
    site.asof(["retain"]).exits(2);
    site.asof(["top", "--by", "name"]).exits(2);
}

#[test]
fn what_eats_more_than_its_budget_is_named_with_what_helps() {
    let site = Site::new();
    let (log, quiet) = (site.root.join("app.log"), site.root.join("quiet"));
    let odd = site.root.join(OsStr::from_bytes(b"odd\xff [1].log"));
    let brackets = site.root.join("\"a[1]*\\.log");
    let mut random = Random::new(9);
    fs::write(&log, random.bytes(400_000)).must("a log");
    fs::write(&quiet, random.bytes(400_000)).must("a file");
    fs::write(&odd, b"odd").must("a file");
    fs::write(&brackets, b"brackets").must("a file");
    let path = site.path("config.toml");
    let root = site.root.display();
    let config = |budget: u64| {
        let text = format!("roots = ['{root}']\n[retention]\nbudget_per_day = {budget}\n");
        fs::write(&path, text).must("config");
    };
    config(1_000_000);
    let agent = Agent::start_configured(&site, &path);
    agent.protecting(&site);
    site.sync();
    assert_eq!(
        site.status()["runaways"],
        Value::Array(Vec::new()),
        "what is captured for the first time is no runaway"
    );
    for _ in 0..3 {
        fs::write(&log, random.bytes(400_000)).must("a log");
        fs::write(&odd, random.bytes(380_000)).must("a log");
        fs::write(&brackets, random.bytes(360_000)).must("a log");
        site.sync();
    }
    fs::write(&quiet, random.bytes(400_000)).must("a file");
    site.sync();
    let status = site.status();
    let runaways = status["runaways"].as_array().must("runaways");
    assert_eq!(runaways.len(), 3, "{status:#}");
    assert_eq!(runaways[0]["path"].as_str(), log.to_str());
    let bytes = runaways[0]["bytes"].as_u64().must("bytes");
    assert!((1_200_000..1_300_000).contains(&bytes), "{bytes}");
    let text = site.asof(["status"]).exits(0).text();
    assert!(
        text.contains("runaway ") && text.contains("exclude = [\"") && text.contains("keep = [\"1 day for"),
        "{text}"
    );
    assert_eq!(status["state"], "protecting", "it is named, and nothing is wrong");
    assert_eq!(runaways[0]["path_b64"], Value::Null);
    let odd_b64 = data_encoding::BASE64.encode(odd.as_os_str().as_bytes());
    assert_eq!(runaways[1]["path_b64"].as_str(), Some(odd_b64.as_str()), "{status:#}");
    assert!(text.contains("odd\\xff [1].log ("), "{text}");
    agent.terminate();
    // What is proposed is pasted as it stands.
    let mut proposed: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let shown = line.strip_prefix("               ");
        match (line.contains("in the configuration, "), shown, proposed.last_mut()) {
            (true, ..) => proposed.push((line.to_owned(), String::new())),
            (false, Some(shown), Some((_, all))) => *all = format!("{all}    {shown}\n"),
            _ => {}
        }
    }
    assert_eq!(proposed.len(), 4, "{text}");
    for (where_to, lines) in proposed {
        let is_first = where_to.ends_with("before its first table:");
        assert!(is_first || where_to.ends_with("at its end:"), "{where_to}");
        let own = "[retention]\nkeep = [\"all\"]\n";
        let config =
            written(&site, &if is_first { format!("{lines}{own}") } else { format!("{own}{lines}") });
        let mut asofd = std::process::Command::new(&site.programs.asofd);
        asofd.arg("check-config").arg("--journal").arg(&site.journal).arg("--root").arg(&site.root);
        let checked = asofd.arg("--config").arg(&config).output().must("asofd");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{lines}: {said}");
    }
    // Without a budget none is one.
    config(0);
    let agent = Agent::start_configured(&site, &path);
    agent.protecting(&site);
    for _ in 0..3 {
        fs::write(&log, random.bytes(400_000)).must("a log");
        site.sync();
    }
    assert_eq!(site.status()["runaways"], Value::Array(Vec::new()));
    agent.terminate();
}

#[test]
fn what_large_files_share_is_counted_once() {
    let site = Site::new();
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    // Long enough for lists of lists of blocks.
    let mut content = Random::new(11).bytes(48 << 20);
    for day in 0..4 {
        // One byte that stays changed, and one that only this version has so. With the first alone a version may share every
        // block with those beside it, lists too: where lists end depends on the journal's key.
        content[(day + 1) * 9_000_000] ^= 1;
        content[0] = content[0].wrapping_add(1);
        desk.write("/image", &content);
        desk.commit();
        desk.pass(if day == 0 { 4 * DAY } else { 60 });
    }
    desk.close();
    let size = content.len() as u64;
    let lines = site.asof(["--json", "top"]).exits(0).json_lines();
    let taken = number(path(&lines, "/image"), "bytes");
    assert!(taken >= size && taken < size + size / 20, "{taken} of {size}");
    // The second and third were so for a minute, and go; only what they do not share goes with them.
    let keep = "[retention]\nkeep = [\"1 day\"]\nimmutable = 0\n";
    let lines = dry_run(&site, keep, &[]);
    let image = path(&lines, "/image");
    assert_eq!((number(image, "versions_dropped"), number(image, "versions_kept")), (2, 2), "{image}");
    let bytes = number(image, "bytes");
    assert!(bytes > 0 && bytes < 2 << 20, "{bytes}");
    assert_eq!(number(of(&lines, "summary")[0], "lists_unreadable"), 0);
}

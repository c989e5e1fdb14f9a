//! Names that came and went between two kept instants: at a thinned one nothing is said of them that is not known.

use std::fs;
use std::path::PathBuf;

use asof_journal::append::Limits;
use asof_journal::types::Seq;
use asof_tests::desk::{Desk, Shown};
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::Site;
use serde_json::Value;

const HOUR: i64 = 3600;
const LIMITS: Limits = Limits { segment_bytes_max: 64 << 10, segment_age_ns_max: i64::MAX as u64 };

/// Three weeks of hourly writes. On one day a file is renamed, and another, which came that day, is replaced.
fn lived(site: &Site) -> Vec<Shown> {
    let mut desk = Desk::open(&site.journal, 0, LIMITS);
    let mut random = Random::new(7);
    desk.protect("/d");
    desk.mkdir("/d");
    for hour in 0..21 * 24 {
        desk.write("/d/a", &random.bytes(1500));
        match hour {
            3 => desk.write("/d/old", b"old"),
            50 => desk.write("/d/draft", b"draft"),
            51 => desk.write("/d/over", b"x"),
            53 => desk.rename("/d/draft", "/d/final"),
            54 => desk.save("/d/over", b"y"),
            55 => desk.rename("/d/old", "/d/older"),
            57 => desk.rename("/d/older", "/d/old"),
            _ => {}
        }
        desk.commit();
        desk.pass(HOUR - 1);
    }
    desk.close()
}

/// The state after so many hours.
fn after(shown: &[Shown], is_it: impl Fn(&Shown) -> bool) -> Seq {
    shown.iter().find(|state| is_it(state)).must("a state").seq
}

fn explained(site: &Site, path: &str, at: Seq) -> Value {
    site.asof(["--json", "explain", path, "--at", &at.to_string()]).exits(0).json()
}

/// A journal after the policy was applied, what it showed before, and the configuration.
fn thinned() -> (Site, Vec<Shown>, PathBuf) {
    let site = Site::new();
    let shown = lived(&site);
    let config = site.fresh("config");
    let policy = "[retention]\nkeep = [\"all for 1 day\", \"1 day\"]\nimmutable = 0\n";
    fs::write(&config, format!("roots = ['{}']\n{policy}", site.root.display())).must(config.display());
    let retain = site.asof(["--json", "retain", "--yes", "--all"]);
    let done = retain.with_variable("ASOF_CONFIG", &config).exits(0).json();
    assert!(done["versions"].as_u64().must("a count") > 300, "{done}");
    (site, shown, config)
}

#[test]
fn of_a_name_that_is_not_kept_it_is_not_said_that_it_was_never_there() {
    let (site, shown, _) = thinned();
    let has = |path: &'static str| move |state: &Shown| state.files.contains_key(path);
    let drafted = after(&shown, has("/d/draft"));
    let first = after(&shown, has("/d/over"));
    let away = after(&shown, has("/d/older"));
    for (path, at) in [("/d/draft", drafted), ("/d/over", first), ("/d/older", away), ("/d/old", away)] {
        let why = explained(&site, path, at);
        assert_eq!(why["verdict"], "thinned", "{why}");
        let text = why["text"].as_str().must("a text");
        assert!(text.contains("retention policy") || text.contains("not kept"), "{text}");
        for near in ["kept_before", "kept_after"] {
            let near = why[near]["seq"].as_u64().must("a neighbour").to_string();
            assert!(text.contains(&format!("seq:{near}")), "{text}");
        }
    }
    // At an instant that is whole what is not there was not there.
    let whole = explained(&site, "/d/over", first)["kept_before"]["seq"].as_u64().must("one");
    assert_eq!(explained(&site, "/d/over", Seq(whole))["verdict"], "not_yet_created");
    assert_eq!(explained(&site, "/d/never", Seq(whole))["verdict"], "never_seen");

    let at = first.to_string();
    let error = site.asof(["cat", "/d/over", "--at", &at]).exits(5).stderr;
    assert!(error.contains("nothing of it is kept") && error.contains("explain"), "{error}");
    assert!(!error.contains("first captured"), "{error}");
    let a = site.asof(["cat", "/d/a", "--at", &at]).exits(5).stderr;
    assert!(a.contains("what stood there then is not kept"), "{a}");
}

#[test]
fn a_directory_of_a_thinned_instant_is_restored_in_part() {
    let (site, shown, _) = thinned();
    let first = after(&shown, |state| state.files.contains_key("/d/over"));
    let target = site.fresh("target");
    let words = ["--json", "-q", "restore", "/d", "--at", &first.to_string(), "--to"];
    let restored = site.asof(words).with_word(&target).exits(3);
    let lines = restored.json_lines();
    let named = |line: &&Value| line["type"] == "problem" && line["path"] == "/d";
    let problem = lines.iter().find(named).must("a problem with the directory");
    assert!(problem["error"].as_str().must("a text").contains("more may have been in it"), "{problem}");
    assert!(!target.join("over").exists());

    // No drill can tell what the policy let go from what was lost.
    let drill = site.fresh("drill.toml");
    let text = format!(
        "scenario = 'tree'\nwhat.paths = ['/d']\nwhen.at = '{first}'\ntargets.rto = '10m'\nassert = [{{ kind = 'rto' }}]\n"
    );
    fs::write(&drill, text).must(drill.display());
    let state = site.fresh("state");
    let ran = site.asof(["drill"]).with_word(&drill).with_word("--state").with_word(&state).exits(3);
    assert!(ran.text().contains("is kept, by the retention policy"), "{}", ran.text());
}

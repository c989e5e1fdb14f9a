//! Each kind of assertion holds where it should, and fails by itself where it alone should.

use std::fs;
use std::path::Path;

use asof_tests::must::Must;

use crate::ground::Ground;

/// A drill with every kind of assertion, in which one key may be another.
fn with(change: &[(&str, &str)]) -> String {
    let mut text = r#"
scenario = "tree"
what.paths = ["ROOT"]
when.at = "latest"
[oracle]
witness = ["WITNESS"]
live = false
[targets]
rto = "10m"
rpo = "1h"
[[assert]]
kind = "content"
[[assert]]
kind = "paths"
absent = ["ROOT/never"]
[[assert]]
kind = "metadata"
[[assert]]
kind = "no-gap"
window = "1h"
[[assert]]
kind = "rto"
[[assert]]
kind = "rpo"
[[assert]]
kind = "last-success-age"
max = "1h"
[[assert]]
kind = "command"
command = ["grep", "-q", "text 5", "docs/5.txt"]
timeout = "30s"
"#
    .to_owned();
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

/// Changes the line of a path in a witness.
fn forge(witness: &Path, ending: &str, change: impl Fn(&str) -> String) {
    let text = fs::read_to_string(witness).must("witness");
    let mut met = 0;
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.contains(&format!("{ending}\",\"kind\"")) {
            true => {
                met += 1;
                change(line)
            }
            false => line.to_owned(),
        })
        .collect();
    assert_eq!(met, 1, "{ending} in {text}");
    fs::write(witness, lines.join("\n") + "\n").must("witness");
}

/// A line of a witness that saw other bytes.
fn of_other_bytes(line: &str) -> String {
    let at = line.find("\"blake3\":\"").must("a hash") + 10;
    format!("{}{}{}", &line[..at], "0".repeat(64), &line[at + 64..])
}

#[test]
fn a_drill_of_everything_that_is_as_it_was_passes_and_says_so() {
    let ground = Ground::new();
    ground.witness();
    let ran = ground.run(&with(&[]), 0);
    assert_eq!(ran.that("pass").len(), 8, "{:?}", ran.outcomes());
    let report = &ran.report;
    assert_eq!(report["outcome"], "pass");
    assert_eq!(report["chain"]["number"], 1);
    assert_eq!((ran.count("missing"), ran.count("extra"), ran.count("differing")), (0, 0, 0));
    // 14 files, a symlink; the root and three directories below it.
    assert_eq!((ran.count("matched"), ran.count("restored"), ran.count("expected")), (15, 19, 19));
    assert!(report["bytes"].as_u64() > Some(900_000), "{report}");
    let order = ["requested_ms", "first_byte_ms", "restored_ms", "verified_ms", "total_ms"];
    let times: Vec<u64> = order.iter().map(|key| report["durations"][*key].as_u64().must(*key)).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(report["evidence"][0]["what"], "witness");
    let restores: Vec<_> =
        report["commands"].as_array().must("commands").iter().filter(|of| of["what"] == "restore").collect();
    assert_eq!((restores.len(), &restores[0]["status"]), (1, &serde_json::json!(0)));
    assert_eq!(report["clean_up"][0]["removed"], true);
    assert_eq!(report["coverage"]["paths"], serde_json::json!({"drilled": 14, "total": 14}));
    // The next one is chained to it, and people get a line for each assertion.
    let again = ground.run(&with(&[]), 0);
    assert_eq!(again.report["chain"]["number"], 2);
    assert!(again.report["chain"]["previous_hash"].is_string());
    let file = ground.site.path("drill.toml");
    let state = ground.site.path("state");
    let words = ["drill", file.to_str().must("UTF-8"), "--state", state.to_str().must("UTF-8")];
    let plain = ground.site.asof(words).with_variable("TMPDIR", ground.scratch()).exits(0);
    assert!(
        plain.text().contains("pass  content") && plain.text().contains("drill: pass: 8 assertions held"),
        "{}",
        plain.text()
    );
}

#[test]
fn content_fails_alone_where_a_byte_is_another_than_the_witness_saw() {
    let ground = Ground::new();
    let witness = ground.witness();
    forge(&witness, "docs/3.txt", of_other_bytes);
    let ran = ground.run(&with(&[]), 4);
    assert_eq!((ran.that("fail"), ran.count("differing")), (vec!["content".to_owned()], 1));
    assert!(ran.message("content").contains("docs/3.txt has other bytes"), "{}", ran.message("content"));
    assert_eq!(ran.that("pass").len(), 7);
}

#[test]
fn paths_fail_alone_where_something_is_missing_or_too_much_or_not_absent() {
    let ground = Ground::new();
    let (witness, at) = ground.witness_at();
    let at = format!("when.at = \"{at}\"");
    let text = with(&[("when.at = \"latest\"", &at)]);
    let whole = fs::read_to_string(&witness).must("witness");
    // The witness saw a file more; the journal does not know of it.
    let entries = whole.lines().count() - 2;
    let more = |line: &str| format!("{line}\n{}", line.replace("docs/3.txt", "docs/lost.txt"));
    forge(&witness, "docs/3.txt", more);
    let count = |by: i64| (entries as i64 + by).to_string();
    let mend = |by| {
        let text = fs::read_to_string(&witness).must("witness");
        let text = text.replace(&format!("\"entries\":{entries}"), &format!("\"entries\":{}", count(by)));
        fs::write(&witness, text).must("witness");
    };
    mend(1);
    let ran = ground.run(&text, 4);
    assert_eq!((ran.that("fail"), ran.count("missing")), (vec!["paths".to_owned()], 1));
    assert!(ran.message("paths").contains("docs/lost.txt is missing"), "{}", ran.message("paths"));
    // It saw one less.
    fs::write(&witness, &whole).must("witness");
    let less: Vec<&str> = whole.lines().filter(|line| !line.contains("docs/3.txt")).collect();
    fs::write(&witness, less.join("\n") + "\n").must("witness");
    mend(-1);
    let ran = ground.run(&text, 4);
    assert_eq!((ran.that("fail"), ran.count("extra")), (vec!["paths".to_owned()], 1));
    // All is well, but something was to be absent.
    fs::write(&witness, &whole).must("witness");
    let ran = ground.run(&with(&[("ROOT/never", "ROOT/docs/deep")]), 4);
    assert_eq!(ran.that("fail"), ["paths"]);
    assert!(ran.message("paths").contains("must be absent"), "{}", ran.message("paths"));
}

#[test]
fn metadata_fails_alone_where_a_mode_is_another() {
    let ground = Ground::new();
    let witness = ground.witness();
    forge(&witness, "docs/3.txt", |line| line.replace("\"mode\":\"0644\"", "\"mode\":\"0600\""));
    let ran = ground.run(&with(&[]), 4);
    assert_eq!((ran.that("fail"), ran.count("metadata_differences")), (vec!["metadata".to_owned()], 1));
    assert!(ran.message("metadata").contains("mode 0644 instead of 0600"), "{}", ran.message("metadata"));
}

#[test]
fn metadata_fails_alone_where_names_of_one_file_come_back_as_two() {
    let ground = Ground::new();
    for name in ["twin", "empty/twin"] {
        fs::hard_link(ground.site.root.join("docs/4.txt"), ground.site.root.join(name)).must("a link");
    }
    ground.site.sync();
    let witness = ground.witness();
    ground.run(&with(&[]), 0);
    let text = fs::read_to_string(&witness).must("witness");
    assert_eq!(text.matches("\"nlink\":3,\"inode\":").count(), 3, "{text}");
    let before = fs::read_to_string(&witness).must("witness");
    for name in ["docs/2.txt", "docs/3.txt"] {
        forge(&witness, name, |line| line.replace("\"nlink\":1", "\"nlink\":2,\"inode\":\"1:1\""));
    }
    assert_ne!(before, fs::read_to_string(&witness).must("witness"));
    let ran = ground.run(&with(&[]), 4);
    assert_eq!((ran.that("fail"), ran.count("metadata_differences")), (vec!["metadata".to_owned()], 2));
    assert!(
        ran.message("metadata").contains("is a file of its own, and was one file with"),
        "{}",
        ran.message("metadata")
    );
}

#[test]
fn wrong_bytes_fail_a_drill_that_asserts_nothing_of_bytes() {
    let ground = Ground::new();
    let witness = ground.witness();
    forge(&witness, "docs/3.txt", of_other_bytes);
    let text = "scenario = 'tree'\nwhat.paths = ['ROOT']\ntargets.rto = '10m'\nassert = [{ kind = 'rto' }]\n";
    let ran = ground.run(&format!("{text}[oracle]\nwitness = ['WITNESS']\nlive = false"), 4);
    assert_eq!((ran.that("pass"), ran.that("fail")), (vec!["rto".to_owned()], vec!["content".to_owned()]));
}

#[test]
fn a_list_of_hashes_that_a_workload_wrote_is_an_oracle() {
    let ground = Ground::new();
    let sum = |text: &str| {
        let out =
            std::process::Command::new("sh").arg("-c").arg(text).current_dir(&ground.site.root).output();
        String::from_utf8(out.must("sha256sum").stdout).must("UTF-8")
    };
    ground.site.asof(["mark", "hashed"]).exits(0);
    let list = ground.site.path("witness").join("docs.sha256");
    let whole = sum("find docs -type f -print0 | sort -z | xargs -0 sha256sum");
    assert_eq!(whole.lines().count(), 14, "{whole}");
    fs::write(&list, &whole).must("a list");
    let text = |at: &str, list_at: &str| {
        format!(
            "scenario = 'tree'\nwhat.paths = ['ROOT/docs']\nwhen.at = '{at}'\nassert = [{{ kind = 'content' }}]\n\
             [oracle]\nlive = false\nsums = [{{ file = 'WITNESS/docs.sha256', below = 'ROOT'{list_at} }}]"
        )
    };
    let of_mark = ", at = 'mark:hashed'";
    let ran = ground.run(&text("mark:hashed", of_mark), 0);
    assert_eq!((ran.count("matched"), ran.count("without_oracle")), (14, 0));
    assert_eq!(ran.report["evidence"][0]["what"], "list of hashes, SHA-256");
    // What equals it is proven at any instant; what has changed since is not wrong.
    ground.run(&text("latest", of_mark), 0);
    fs::write(ground.site.root.join("docs/1.txt"), "new").must("a file");
    ground.site.sync();
    let ran = ground.run(&text("latest", of_mark), 3);
    assert_eq!((ran.count("matched"), ran.count("without_oracle")), (13, 1));
    let digit_for = |line: &str| format!("{}{}", if line.starts_with('0') { '1' } else { '0' }, &line[1..]);
    let forged: Vec<String> = whole
        .lines()
        .map(|line| if line.ends_with("/3.txt") { digit_for(line) } else { line.to_owned() })
        .collect();
    fs::write(&list, forged.join("\n") + "\n").must("a list");
    let ran = ground.run(&text("mark:hashed", of_mark), 4);
    assert_eq!((ran.that("fail"), ran.count("differing")), (vec!["content".to_owned()], 1));
    assert!(ran.message("content").contains("has other bytes: SHA-256"), "{}", ran.message("content"));
    // Without its instant it cannot say that anything is wrong.
    ground.run(&text("mark:hashed", ""), 3);
    // It names a file that the journal does not have.
    fs::write(&list, format!("{whole}{}  docs/lost\n", "a".repeat(64))).must("a list");
    let ran = ground.run(&text("mark:hashed", of_mark), 4);
    assert!(ran.message("content").contains("docs/lost is missing"), "{}", ran.message("content"));
    // One that was cut is none.
    fs::write(&list, &whole[..whole.len() - 5]).must("a list");
    let ran = ground.run(&text("mark:hashed", of_mark), 3);
    assert!(ran.message("content").contains("its last line was cut"), "{}", ran.message("content"));
}

#[test]
fn no_gap_fails_alone_where_nobody_watched() {
    let mut ground = Ground::new().without_agent_after(|_| {});
    fs::write(ground.site.root.join("docs/unseen"), "x").must("a file");
    ground.agent = Some(ground.site.start());
    ground.witness();
    let ran = ground.run(&with(&[]), 4);
    assert_eq!(ran.that("fail"), ["no-gap"], "{:?}", ran.outcomes());
    assert!(!ran.report["gaps"].as_array().must("gaps").is_empty());
}

#[test]
fn targets_that_are_missed_fail_alone() {
    let ground = Ground::new();
    ground.witness();
    let ran = ground.run(&with(&[("rto = \"10m\"", "rto = \"1ms\"")]), 4);
    assert_eq!(ran.that("fail"), ["rto"]);
    assert_eq!(ran.report["rto"]["met"], false);
    // While the agent runs and has nothing to do, nothing is lost; once it is gone, what is durable gets old.
    let ran = ground.run(&with(&[("rpo = \"1h\"", "rpo = \"1ms\"")]), 0);
    assert_eq!(ran.report["rpo"]["measured_ms"], 0);
    let ground = ground.without_agent_after(|_| {});
    asof_tests::wait::quiet(std::time::Duration::from_millis(50));
    let ran = ground.run(&with(&[("rpo = \"1h\"", "rpo = \"1ms\"")]), 4);
    assert_eq!(ran.that("fail"), ["rpo"], "{:?}", ran.outcomes());
}

#[test]
fn the_age_of_the_last_success_fails_alone_and_does_not_keep_itself_from_ending() {
    let ground = Ground::new();
    ground.witness();
    ground.run(&with(&[]), 0);
    let short = with(&[("max = \"1h\"", "max = \"1ms\"")]);
    let ran = ground.run(&short, 4);
    assert_eq!(ran.that("fail"), ["last-success-age"]);
    // That one was a success in everything else: it counts for the next.
    let ran = ground.run(&with(&[]), 0);
    assert!(ran.message("last-success-age").contains("ago"), "{}", ran.message("last-success-age"));
}

#[test]
fn a_command_fails_alone_where_it_says_no_or_hangs() {
    let ground = Ground::new();
    ground.witness();
    let ran = ground.run(&with(&[("\"text 5\"", "\"no such text\"")]), 4);
    assert_eq!(ran.that("fail"), ["command"]);
    let hangs = [
        ("\"grep\", \"-q\", \"text 5\", \"docs/5.txt\"", "\"sh\", \"-c\", \"sleep 600 & echo $!; wait\""),
        ("30s", "300ms"),
    ];
    let ran = ground.run(&with(&hangs), 4);
    assert_eq!(ran.that("fail"), ["command"]);
    assert!(
        ran.message("command").contains("was killed with all its children"),
        "{}",
        ran.message("command")
    );
    let commands = ran.report["commands"].as_array().must("commands");
    let hung = commands.iter().find(|of| of["timed_out"] == true).must("a command that timed out");
    let child = hung["output"].as_str().must("output").trim().to_owned();
    assert!(!Path::new("/proc").join(&child).join("exe").exists(), "{child} is still there");
    // A program that is not there says nothing of what was restored.
    let ran = ground.run(&with(&[("\"grep\"", "\"no-such-program-anywhere\"")]), 3);
    assert_eq!(ran.that("inconclusive"), ["command"]);
}

#[test]
fn one_flipped_bit_in_the_sample_fails_and_elsewhere_the_negative_control_still_passes() {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    ground.flip_bit_of("docs/deep/one.big");
    let plain = |path: &str| {
        format!(
            "scenario = 'file'\nwhat.paths = ['ROOT/{path}']\n[oracle]\nwitness = ['WITNESS']\nlive = false"
        )
    };
    let ran = ground.run(&plain("docs/deep/one.big"), 4);
    assert_eq!(ran.that("fail"), ["content"], "{:?}", ran.outcomes());
    assert!(ran.message("content").contains("could not be restored"), "{}", ran.message("content"));
    ground.run(&plain("docs/deep/other.big"), 0);
    let control = plain("docs/deep/other.big").replace("'file'", "'planted-corruption'");
    let ran = ground.run(&control, 0);
    assert_eq!(ran.report["assertions"].as_array().must("assertions").last().must("one")["name"], "detected");
}

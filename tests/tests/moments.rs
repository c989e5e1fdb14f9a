//! `log` of a directory by moments: what people read, what scripts get, and what leads on from there.

use asof_journal::append::Limits;
use asof_tests::desk::Desk;
use asof_tests::site::{Output, Site};

/// A history: a tree, an edit ten minutes later, a deletion ten minutes after that, and the end of a directory.
fn lived(site: &Site) -> Desk {
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    for dir in ["/p", "/p/src", "/p/docs"] {
        desk.mkdir(dir);
    }
    for n in 0..20 {
        desk.write(&format!("/p/src/{n:02}.rs"), b"fn main() {}\n");
    }
    desk.commit();
    desk.pass(600);
    desk.write("/p/docs/notes.txt", b"one\n");
    desk.commit();
    desk.write("/p/docs/notes.txt", b"one\ntwo\n");
    desk.commit();
    desk.pass(600);
    for n in 0..12 {
        desk.remove(&format!("/p/src/{n:02}.rs"));
    }
    desk.commit();
    for n in 0..3 {
        desk.write(&format!("/p/src/new-{n}.rs"), b"");
    }
    desk.commit();
    desk.pass(600);
    desk.remove("/p/docs/notes.txt");
    desk.commit();
    desk.remove_dir("/p/docs");
    desk.commit();
    desk
}

#[track_caller]
fn log(site: &Site, words: &[&str]) -> Output {
    site.asof(words).exits(0)
}

fn lines(output: &Output) -> Vec<String> {
    output.text().lines().map(str::to_owned).collect()
}

const CREATED: &str = "2023-11-14 22:13:21: 20 files and 3 directories created";
const NOTES: &str = "2023-11-14 22:23:22 to 22:23:23: docs/notes.txt created  (before: --at seq:23)";
const DELETED: &str =
    "2023-11-14 22:33:24 to 22:33:25: 12 files deleted below src/, 3 created  (before: --at seq:25)";
const ENDED: &str =
    "2023-11-14 22:43:26 to 22:43:27: 1 file and 1 directory deleted below docs/  (before: --at seq:40)";

#[test]
fn a_directory_is_told_by_moments_newest_first() {
    let site = Site::new();
    lived(&site).close();
    let all = log(&site, &["log", "/p"]);
    assert_eq!(lines(&all), [ENDED, DELETED, NOTES, CREATED]);
    assert!(
        all.stderr.contains("just before 2023-11-14 22:43:26: asof --journal ")
            && all.stderr.contains(" ls /p --at seq:40"),
        "{}",
        all.stderr
    );
    assert_eq!(lines(&log(&site, &["log", "/p", "-n", "2"])), [ENDED, DELETED]);
    assert_eq!(lines(&log(&site, &["log", "/p", "-n", "0"])), [""; 0]);
    assert_eq!(lines(&log(&site, &["log", "/p", "--until", "seq:25"])), [NOTES, CREATED]);
    assert_eq!(lines(&log(&site, &["log", "/p", "--since", "seq:25", "--until", "seq:40"])), [DELETED]);
    let none = log(&site, &["log", "/p/src", "--since", "seq:40"]);
    assert!(
        none.stdout.is_empty() && none.stderr.contains("nothing happened at or below /p/src"),
        "{none:?}"
    );
    // Of everything, paths are absolute.
    let everything = log(&site, &["log", "-n", "2"]);
    let deleted = DELETED.replace("src/", "/p/src/");
    assert_eq!(lines(&everything)[1], deleted);
}

#[test]
fn what_a_moment_names_shows_the_state_before_it() {
    let site = Site::new();
    lived(&site).close();
    let listed = |at: &str, dir: &str| lines(&log(&site, &["ls", dir, "--at", at]));
    assert!(listed("seq:25", "/p/src").contains(&"00.rs".to_owned()));
    assert!(!listed("seq:40", "/p/src").contains(&"00.rs".to_owned()));
    // A directory that is gone has a history and can be entered.
    let gone = log(&site, &["log", "/p/docs"]);
    assert_eq!(lines(&gone)[0], ENDED.replace("docs/", "./").replace(" below ./", ""));
    assert!(gone.stderr.contains(" ls /p/docs --at seq:40"), "{}", gone.stderr);
    assert_eq!(listed("seq:40", "/p/docs"), ["notes.txt"]);
}

#[test]
fn scripts_get_single_changes_or_moments() {
    let site = Site::new();
    lived(&site).close();
    let changes = log(&site, &["--json", "log", "/p"]).json_lines();
    assert_eq!(changes.len(), 23 + 2 + 12 + 3 + 2);
    assert!(changes.iter().all(|line| line["path"].is_string() && line["what"].is_string()));
    assert_eq!((&changes[0]["what"], &changes[0]["kind"]), (&"deleted".into(), &"dir".into()));
    assert_eq!(lines(&log(&site, &["log", "--all", "/p"])).len(), changes.len());
    assert_eq!(lines(&log(&site, &["log", "--all", "/p", "-n", "5"])).len(), 5);
    let moments = log(&site, &["--json", "log", "--moments", "/p"]).json_lines();
    assert_eq!(moments.len(), 4);
    let deleted = &moments[1];
    assert_eq!(deleted["type"], "moment");
    assert_eq!(deleted["from"], "2023-11-14T22:33:24.000000000Z");
    assert_eq!(deleted["to"], "2023-11-14T22:33:25.000000000Z");
    assert_eq!((&deleted["first_seq"], &deleted["last_seq"]), (&26.into(), &40.into()));
    assert_eq!((&deleted["before"], &deleted["below"]), (&"seq:25".into(), &"/p/src".into()));
    let counts = &deleted["counts"];
    assert_eq!(
        (&counts["total"], &counts["deleted"], &counts["created"]),
        (&15.into(), &12.into(), &3.into())
    );
    assert_eq!(deleted["parts"][0]["below"], "/p/src");
    assert_eq!(moments[3].get("before"), None, "nothing was there before");
    assert_eq!(log(&site, &["--json", "log", "--moments", "-n", "1"]).json_lines().len(), 1);
}

#[test]
fn a_file_keeps_its_versions_and_has_no_moments() {
    let site = Site::new();
    lived(&site).close();
    assert_eq!(lines(&log(&site, &["log", "/p/docs/notes.txt"])).len(), 4);
    let refused = site.asof(["log", "--moments", "/p/src/new-0.rs"]).exits(2);
    assert!(refused.stderr.contains("is no directory"), "{}", refused.stderr);
    site.asof(["log", "--moments", "--all", "/p"]).exits(2);
    site.asof(["log", "/nowhere"]).exits(5);
}

#[test]
fn an_instant_with_a_name_stands_between_two_moments() {
    let site = Site::new();
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    desk.write("/a", b"1");
    desk.commit();
    desk.name("before it all");
    desk.commit();
    desk.write("/a", b"2");
    desk.commit();
    desk.close();
    let said = lines(&log(&site, &["log", "/"]));
    assert_eq!(
        said,
        [
            "2023-11-14 22:13:23: /a changed  (before: --at seq:2)",
            "2023-11-14 22:13:22: mark before it all  (--at mark:before it all)",
            "2023-11-14 22:13:21: /a created",
        ]
    );
    let json = log(&site, &["--json", "log", "--moments"]).json_lines();
    assert_eq!(
        (&json[1]["type"], &json[1]["name"], &json[1]["seq"]),
        (&"mark".into(), &"before it all".into(), &2.into())
    );
}

#[test]
fn gaps_stand_between_the_moments() {
    let site = Site::new();
    let agent = site.start();
    // What came to be before a mark and after it is no one moment, however close: the root itself stands apart.
    site.asof(["mark", "all quiet"]).exits(0);
    std::fs::write(site.root.join("seen"), "1").expect("seen");
    site.sync();
    // By the clock, the gap begins where this says that everything is covered: before what was seen was recorded.
    agent.kill9();
    std::fs::write(site.root.join("unseen"), "2").expect("unseen");
    let agent = site.start();
    agent.terminate();
    let root = site.root.to_string_lossy().into_owned();
    let said = lines(&log(&site, &["log", &root]));
    let told: Vec<&str> = said
        .iter()
        .map(|line| line.split_once(": ").map_or("", |(_, told)| told))
        .map(|told| told.split_once("  (").map_or(told, |(told, _)| told))
        .collect();
    let expected = [
        "unseen created",
        "gap, agent not running",
        "seen created",
        "mark all quiet",
        "./ created",
        "gap, first capture was under way",
    ];
    assert_eq!(told, expected, "{said:#?}");
    let json = log(&site, &["--json", "log", "--moments", &root]).json_lines();
    let types: Vec<&str> = json.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(types, ["moment", "gap", "moment", "mark", "moment", "gap"], "{json:#?}");
    assert_eq!((&json[1]["reason"], &json[1]["path"]), (&"agent not running".into(), &root.as_str().into()));
    // What leads on from what was found after the gap is the state that was seen before it.
    let before = json[0]["before"].as_str().expect("a place before what was found");
    assert_eq!(lines(&log(&site, &["ls", &root, "--at", before])), ["seen"]);
}

#[test]
fn names_that_restores_give_in_passing_are_not_told() {
    let site = Site::new();
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    desk.mkdir("/p");
    desk.write("/p/a", b"a");
    desk.write("/p/kept", b"kept");
    desk.commit();
    desk.pass(600);
    // A large file is captured before it has its name, and what goes away before it is gone.
    desk.write("/p/.asof-1f.2a~0", b"large");
    desk.commit();
    desk.rename("/p/.asof-1f.2a~0", "/p/b");
    desk.rename("/p/a", "/p/.asof-1f.2a~1");
    desk.commit();
    desk.remove("/p/.asof-1f.2a~1");
    let before = desk.commit();
    desk.pass(600);
    // This one was left by a restore that was killed.
    desk.write("/p/.asof-1f.2a~2", b"left");
    desk.commit();
    desk.close();
    let until = before.to_string();
    let said = |words: &[&str]| {
        let output = log(&site, words);
        let text = output.text();
        assert!(!text.contains(".asof-"), "{words:?}: {text}");
        text
    };
    let moments = said(&["log", "/p", "--until", &until]);
    assert!(
        moments.contains("a deleted, b created") || moments.contains("1 file deleted, 1 created"),
        "{moments}"
    );
    let all = said(&["log", "/p", "--all", "--until", &until]);
    let told: Vec<String> =
        all.lines().map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(told, ["deleted /p/a", "created /p/b", "created /p/kept", "created /p/a", "created /p (dir)"]);
    let of_b = said(&["log", "/p/b", "--until", &until]);
    assert!(of_b.contains("created") && !of_b.contains("renamed"), "{of_b}");
    assert!(said(&["log", "/p/a", "--until", &until]).contains("deleted"));
    said(&["find", "*", "--deleted", "--at", &until]);
    assert!(said(&["ls", "/p", "--deleted", "--at", &until]).contains('a'));
    for words in [&["log", "/p", "--all"][..], &["find", ".asof-*"], &["ls", "/p"]] {
        let text = log(&site, words).text();
        assert!(text.contains(".asof-1f.2a~2") && !text.contains("~1"), "{words:?}: {text}");
    }
}

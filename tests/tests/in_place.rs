//! Restores into the live tree, and taking them back: what changes, what is left, who is asked, and what is recorded.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use asof_tests::agent::Agent;
use asof_tests::edit::Editor;
use asof_tests::files::{make, names, read, write};
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::restores::{back, line, summary, undo};
use asof_tests::site::{Site, arguments};
use asof_tests::tree::{has_program, set_mtime};
use asof_tests::{oracle, tree};
use serde_json::Value;

#[test]
fn a_hostile_tree_goes_back_and_forth() {
    let site = Site::new();
    let mut random = Random::for_test(20_261_128);
    tree::build(&site.root, &mut random);
    let agent = site.start();
    let first = site.take("the tree");
    let then = site.newest_copy();
    let mut editor = Editor::new(&site.root, random);
    editor.round(80);
    site.take("edited");
    let edited = site.newest_copy();

    let dry = back(&site, &site.root, &first.at, &["--exact", "--dry-run"]).exits(0);
    oracle::assert_same(&edited, &site.root, "a dry run changes nothing");
    // The editor has some of the files open still.
    let done = back(&site, &site.root, &first.at, &["--exact", "--overwrite", "always"]).exits(0);
    oracle::assert_same(&then, &site.root, "restored exactly");
    let (planned, preview, done) = (line(&dry, "preview"), line(&done, "preview"), summary(&done));
    assert_eq!(planned, preview, "the same plan twice");
    for what in ["created", "overwritten", "deleted"] {
        assert_eq!(preview[what]["entries"], done[what], "{what} as planned: {preview}, {done}");
    }
    assert_eq!(preview["metadata"], done["metadata"], "{preview}, {done}");
    let changes = dry.json_lines().iter().filter(|line| line["type"] == "plan").count() as u64;
    let count = |value: &Value| value.as_u64().must("a count");
    let counted: u64 =
        ["created", "overwritten", "deleted", "metadata"].iter().map(|what| count(&done[*what])).sum();
    assert_eq!(changes, counted, "a line for each change");

    let again = back(&site, &site.root, &first.at, &["--exact"]).exits(0);
    assert_eq!(summary(&again)["created"], 0);
    let restored = site.sync();
    undo(&site, &["--overwrite", "always"]).exits(0);
    oracle::assert_same(&edited, &site.root, "taken back");
    // What the restore had made is in the history like anything else.
    let target = site.restore(&site.root, &restored.at);
    oracle::assert_same(&then, &target, "as of the time between");
    site.check_all("after a restore in place and an undo");
    agent.terminate();
}

#[test]
fn nothing_is_done_in_place_that_cannot_be_taken_back_unless_that_is_said() {
    let site = Site::new();
    let file = site.root.join("file");
    write(&file, "then");
    let agent = site.start();
    let then = site.sync();
    write(&file, "captured");
    site.sync();
    agent.terminate();

    let refused = back(&site, &file, &then.at, &[]).exits(1);
    assert!(
        refused.stderr.contains("asofd run --journal") && refused.stderr.contains("--no-undo"),
        "{}",
        refused.stderr
    );
    undo(&site, &[]).exits(1);
    assert_eq!(read(&file), "captured");
    back(&site, &file, &then.at, &["--dry-run"]).exits(0);
    back(&site, &file, &then.at, &["--no-undo"]).exits(0);
    assert_eq!(read(&file), "then");
    // Nobody has captured this: it is the only copy.
    write(&file, "never seen by an agent");
    set_mtime(&file, 1_700_000_000, 0);
    let left = back(&site, &file, &then.at, &["--no-undo"]).exits(3);
    assert!(left.stderr.contains("not in the journal"), "{}", left.stderr);
    back(&site, &file, &then.at, &["--no-undo", "--overwrite", "always"]).exits(3);
    assert_eq!(read(&file), "never seen by an agent");
    let agent = site.start();
    site.sync();
    back(&site, &file, &then.at, &["--no-undo"]).exits(0);
    assert_eq!(read(&file), "then");
    undo(&site, &[]).exits(1);
    agent.terminate();
}

#[test]
fn who_cannot_be_asked_has_to_say_yes() {
    let site = Site::new();
    let file = site.root.join("file");
    write(&file, "then");
    let agent = site.start();
    let then = site.sync();
    write(&file, "now");
    site.sync();
    let restore = ["restore", "--at", &then.at].map(OsString::from);
    let with = |further: &[&str]| {
        let mut all = Vec::from(restore.clone());
        all.push(file.clone().into());
        all.extend(further.iter().map(OsString::from));
        site.asof(all)
    };
    for silent in [with(&["--in-place"]), site.asof(["undo"]), site.asof(["--json", "undo"])] {
        let refused = silent.exits(2);
        assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    }
    with(&[]).exits(2);
    with(&["--in-place", "--to", "/nowhere"]).exits(2);
    with(&["--to", "/nowhere", "--exact"]).exits(2);
    let timeless = site.asof(arguments(&[&"restore", &file, &"--in-place", &"--yes"])).exits(2);
    assert!(timeless.stderr.contains("--at"), "{}", timeless.stderr);
    assert_eq!(read(&file), "now");
    if has_program("script") {
        for (answer, status, content) in [("n", 1, "now"), ("", 1, "now"), ("y", 0, "then")] {
            let command = format!(
                "{} --journal {} restore {} --at {} --in-place",
                site.programs.asof.display(),
                site.journal.display(),
                file.display(),
                then.at
            );
            let typescript = site.fresh("typescript");
            let mut script = Command::new("sh");
            script.args(["-c", "printf '%s\\n' \"$1\" | script -qefc \"$2\" \"$3\"", "sh", answer, &command]);
            let ended = script.arg(&typescript).output().must("script");
            assert_eq!(ended.status.code(), Some(status), "{}", String::from_utf8_lossy(&ended.stdout));
            let shown = String::from_utf8_lossy(&fs::read(&typescript).must("typescript")).into_owned();
            assert!(shown.contains("[y/N]") && shown.contains("1 (4 B) overwritten"), "{shown}");
            assert_eq!(read(&file), content, "after {answer:?}");
        }
    }
    agent.terminate();
}

#[test]
fn files_and_directories_change_places_only_with_exact() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    write(at("file"), "then");
    make(at("dir/sub"));
    write(at("dir/sub/in"), "then");
    symlink("file", at("link")).must("link");
    let agent = site.start();
    let first = site.take("then");
    let then = site.newest_copy();
    fs::remove_file(at("file")).must("file");
    make(at("file/below"));
    write(at("file/below/in"), "now");
    fs::remove_dir_all(at("dir")).must("dir");
    write(at("dir"), "now");
    fs::remove_file(at("link")).must("link");
    make(at("link"));
    site.take("now");
    let now = site.newest_copy();

    let left = back(&site, &site.root, &first.at, &[]).exits(3);
    assert!(left.stderr.contains("--exact"), "{}", left.stderr);
    assert_eq!(read(at("file/below/in")), "now");
    assert_eq!(read(at("dir/sub/in")), "then", "a file is replaced by a directory all the same");
    undo(&site, &[]).exits(0);
    oracle::assert_same(&now, &site.root, "taken back");
    back(&site, &site.root, &first.at, &["--exact"]).exits(0);
    oracle::assert_same(&then, &site.root, "exactly");
    undo(&site, &[]).exits(0);
    oracle::assert_same(&now, &site.root, "taken back again");
    agent.terminate();
}

#[test]
fn links_and_renamed_things_are_put_right() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    make(at("src/deep"));
    write(at("src/deep/f"), "f");
    write(at("a"), "linked");
    fs::hard_link(at("a"), at("b")).must("link");
    write(at("c"), "alone");
    let agent = site.start();
    let first = site.take("then");
    let then = site.newest_copy();
    fs::rename(at("src"), at("renamed")).must("rename");
    fs::rename(at("a"), at("src-a")).must("rename");
    fs::remove_file(at("c")).must("c");
    fs::hard_link(at("b"), at("c")).must("link");
    fs::set_permissions(at("b"), fs::Permissions::from_mode(0o600)).must("chmod");
    site.take("now");
    let now = site.newest_copy();
    back(&site, &site.root, &first.at, &["--exact"]).exits(0);
    oracle::assert_same(&then, &site.root, "exactly");
    undo(&site, &[]).exits(0);
    oracle::assert_same(&now, &site.root, "taken back");
    agent.terminate();
}

#[test]
fn only_what_was_named_is_touched() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    make(at("p/q"));
    for name in ["p/q/one", "p/two", "three"] {
        write(at(name), "then");
    }
    let agent = site.start();
    let then = site.sync();
    for name in ["p/q/one", "p/two", "three"] {
        write(at(name), "now");
    }
    fs::remove_dir_all(at("p/q")).must("q");
    write(at("p/extra"), "now");
    site.sync();
    let one = back(&site, &at("p/q/one"), &then.at, &["--exact"]).exits(0);
    assert_eq!(summary(&one)["created"], 2, "the file and the directory above it");
    assert_eq!(read(at("p/q/one")), "then");
    for name in ["p/two", "three", "p/extra"] {
        assert_eq!(read(at(name)), "now", "{name}");
    }
    let several = site.asof(arguments(&[
        &"--json",
        &"restore",
        &at("three"),
        &at("p/two"),
        &"--at",
        &then.at,
        &"--in-place",
        &"-y",
    ]));
    assert_eq!(summary(&several.exits(0))["overwritten"], 2);
    undo(&site, &[]).exits(0);
    undo(&site, &[]).exits(0);
    assert!(!at("p/q").exists());
    assert_eq!(read(at("three")), "now");
    agent.terminate();
}

#[test]
fn what_no_rule_protects_is_nobody_elses_to_delete() {
    let site = Site::new();
    let config = site.path("asofd.toml");
    write(&config, format!("roots = ['{}']\nexclude = ['*.secret']\n", site.root.display()));
    let at = |name: &str| site.root.join(name);
    write(at("file"), "then");
    let agent = Agent::start_configured(&site, &config);
    agent.protecting(&site);
    let then = site.sync();
    make(at("dir"));
    for name in ["my.secret", "dir/my.secret", "dir/plain"] {
        write(at(name), "only copy");
    }
    site.sync();
    let left = back(&site, &site.root, &then.at, &["--exact"]).exits(3);
    assert!(left.stderr.contains("my.secret"), "{}", left.stderr);
    assert_eq!((read(at("my.secret")), read(at("dir/my.secret"))), ("only copy".into(), "only copy".into()));
    assert!(!at("dir/plain").exists(), "what the journal holds is deleted");
    undo(&site, &[]).exits(0);
    assert_eq!(read(at("dir/plain")), "only copy");
    agent.terminate();
}

#[test]
fn what_a_program_is_writing_is_left_to_it() {
    let site = Site::new();
    let log = site.root.join("log");
    write(&log, "then");
    let agent = site.start();
    let then = site.sync();
    let mut program = OpenOptions::new().append(true).open(&log).must("log");
    std::io::Write::write_all(&mut program, b" and more").must("log");
    site.sync();
    let ino = fs::metadata(&log).must("log").ino();
    let left = back(&site, &log, &then.at, &[]).exits(3);
    assert!(left.stderr.contains("open for writing"), "{}", left.stderr);
    assert_eq!((read(&log), fs::metadata(&log).must("log").ino()), ("then and more".into(), ino));
    assert_eq!(names(&site.root), ["log"]);
    back(&site, &log, &then.at, &["--overwrite", "always"]).exits(0);
    assert_eq!(read(&log), "then");
    drop(program);
    agent.terminate();
}

#[test]
fn overwrite_means_the_same_in_place() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    for name in ["same-size", "longer", "gone"] {
        write(at(name), "then");
        set_mtime(&at(name), 1_700_000_000, 5);
    }
    let agent = site.start();
    let then = site.sync();
    write(at("same-size"), "THEN");
    write(at("longer"), "longer now");
    for name in ["same-size", "longer"] {
        set_mtime(&at(name), 1_700_000_000, 5);
    }
    fs::remove_file(at("gone")).must("gone");
    site.sync();
    let never = summary(&back(&site, &site.root, &then.at, &["--overwrite", "never"]).exits(0));
    assert_eq!((&never["created"], &never["left"]), (&Value::from(1), &Value::from(2)), "{never}");
    assert_eq!((read(at("longer")), read(at("gone"))), ("longer now".into(), "then".into()));
    back(&site, &site.root, &then.at, &["--overwrite", "if-changed"]).exits(0);
    assert_eq!((read(at("longer")), read(at("same-size"))), ("then".into(), "THEN".into()));
    back(&site, &site.root, &then.at, &[]).exits(0);
    assert_eq!(read(at("same-size")), "then");
    agent.terminate();
}

#[test]
fn a_target_where_it_is_now_or_in_the_journal_is_refused() {
    let site = Site::new();
    let at = |name: &str| site.root.join(name);
    make(at("d"));
    write(at("d/f"), "then");
    let agent = site.start();
    let then = site.sync();
    write(at("d/f"), "now");
    site.sync();
    let to = |target: &Path, further: &[&str]| {
        let mut all = arguments(&[&"restore", &at("d"), &"--at", &then.at, &"--to", &target]);
        all.extend(further.iter().map(OsString::from));
        site.asof(all)
    };
    let refused = to(&at("d"), &["--overwrite", "always"]).exits(1);
    assert!(refused.stderr.contains("--in-place"), "{}", refused.stderr);
    symlink(&site.root, site.path("way")).must("link");
    to(&site.path("way").join("d"), &["--overwrite", "if-changed"]).exits(1);
    let refused = to(&site.journal.join("restored"), &[]).exits(1);
    assert!(refused.stderr.contains("journal"), "{}", refused.stderr);
    assert_eq!(read(at("d/f")), "now");
    // Inside a root, also inside itself, it is captured like anything else.
    to(&at("d/old"), &[]).exits(0);
    assert_eq!(read(at("d/old/f")), "then");
    let after = site.sync();
    let target = site.restore(&site.root, &after.at);
    assert_eq!(read(target.join("d/old/f")), "then");
    agent.terminate();
}

#[test]
fn names_that_a_restore_gives_in_passing_do_not_get_into_the_history() {
    let site = Site::new();
    let dir = site.root.join("dir");
    make(&dir);
    for number in 0..200 {
        write(dir.join(format!("{number}")), "one");
    }
    let agent = site.start();
    let first = site.sync();
    for number in 0..200 {
        write(dir.join(format!("{number}")), "two two");
        write(dir.join(format!("more-{number}")), "more");
    }
    site.sync();
    let gaps = site.asof(["--json", "status"]).exits(0).json()["gaps"].clone();
    let done = back(&site, &dir, &first.at, &["--exact"]).exits(0);
    assert_eq!((&summary(&done)["overwritten"], &summary(&done)["deleted"]), (&200.into(), &200.into()));
    undo(&site, &[]).exits(0);
    site.sync();
    assert_eq!(site.asof(["--json", "status"]).exits(0).json()["gaps"], gaps, "nothing went unread");
    agent.terminate();
    let name = dir.join(".asof-1f.2a~7").display().to_string();
    let why = site.asof(["explain", &name]).exits(0).text();
    assert!(why.contains("only restores give such names"), "{why}");
    let dir = dir.display().to_string();
    for words in [
        &["--json", "log", &dir][..],
        &["log", &dir],
        &["--json", "find", ".asof-*", "--deleted"],
        &["ls", &dir, "--deleted"],
    ] {
        let text = site.asof(words).exits(0).text();
        assert!(
            !text.contains(".asof-") && !text.contains("vanished") && !text.contains("came and went"),
            "{text}"
        );
    }
}

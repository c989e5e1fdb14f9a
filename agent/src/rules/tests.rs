//! Tests of what threads are told of the rules.

use asof_journal::types::RootPolicy;

use super::*;

fn policy(excludes: &[&str], cachedir_tag: bool) -> Policy {
    let root = RootPolicy { path: b"/h".to_vec(), excludes: Vec::new(), one_file_system: true, cachedir_tag };
    let excludes = excludes.iter().map(ToString::to_string).collect();
    Policy { roots: vec![root], excludes, left_out: Vec::new() }
}

fn shared(excludes: &[&str], cachedir_tag: bool) -> Arc<SharedRules> {
    SharedRules::new(Rules::of(policy(excludes, cachedir_tag), Some(10)).expect("rules"))
}

#[test]
fn names_of_one_directory_in_a_row_get_the_same_answers_as_each_alone() {
    let rules = shared(&["target/", "*.o", "!keep/"], false);
    for path in
        ["/h/a/x", "/h/a/y.o", "/h/a/target", "/h/target/deep/x", "/h/target/y", "/h/b/x", "/h", "/", "/z"]
    {
        for dir in [None, Some(true), Some(false)] {
            let path = path.as_bytes();
            assert_eq!(rules.leave_out(path, dir), rules.current().leaves_out(path, dir), "{path:?} {dir:?}");
        }
    }
    // Other rules are not answered for by what was remembered of these.
    assert!(rules.leave_out(b"/h/a/y.o", None));
    rules.replace(Rules::of(policy(&["a/"], false), None).expect("rules"));
    assert!(!rules.leave_out(b"/h/y.o", None) && rules.leave_out(b"/h/a/y", None));
    rules.replace(Rules::of(policy(&[], false), None).expect("rules"));
    assert!(!rules.leave_out(b"/h/a/y", None));
}

#[test]
fn in_a_directory_with_a_tag_only_the_tag_counts() {
    let rules = shared(&[], true);
    assert!(rules.set_tagged(b"/h/c", true) && !rules.set_tagged(b"/h/c", true));
    assert!(rules.leave_out(b"/h/c/x", None) && rules.leave_out(b"/h/c/d/CACHEDIR.TAG", None));
    assert!(!rules.leave_out(b"/h/c/CACHEDIR.TAG", None) && !rules.leave_out(b"/h/c", Some(true)));
    assert!(!rules.leave_out(b"/h/cc/x", None));
    // A root was named, whatever tag it has.
    rules.set_tagged(b"/h", true);
    assert!(!rules.leave_out(b"/h/x", None));
    assert!(rules.set_tagged(b"/h/c", false) && !rules.leave_out(b"/h/c/x", None));
    let heedless = shared(&[], false);
    heedless.set_tagged(b"/h/c", true);
    assert!(!heedless.leave_out(b"/h/c/x", None));
}

#[test]
fn other_filesystems_are_part_of_the_policy_where_they_are_left_out() {
    let rules = shared(&[], false);
    rules.set_mount(b"/h/mnt", true);
    rules.set_mount(b"/elsewhere", true);
    let place = LeftOut { path: b"/h/mnt".to_vec(), what: Place::OtherFilesystem };
    assert_eq!(rules.policy().left_out, [place]);
    rules.set_mount(b"/h/mnt", false);
    assert!(rules.policy().left_out.is_empty());
    assert!(!rules.is_too_large(10) && rules.is_too_large(11));
}

/// How long a decision takes; run by hand: `cargo test --release --workspace -- --nocapture how_long`.
#[test]
fn how_long_a_decision_takes() {
    let many: Vec<String> = (0..200).map(|n| format!("pattern-{n}*.ext{n}")).collect();
    let mut excludes = vec!["target/", "node_modules/", "*.o", "*.tmp", "/build", ".cache/", "**/dist/*.map"];
    for (what, extra) in [("7 patterns", 0), ("207 patterns", many.len())] {
        excludes.extend(many.iter().take(extra).map(String::as_str));
        let rules = shared(&excludes, true);
        for path in ["/h/a/b/c/d/e/f/some_file.rs", "/h/p/target/debug/deps/libx.rlib"] {
            let started = std::time::Instant::now();
            let rounds = 20_000_u32;
            let out = (0..rounds).filter(|_| rules.leave_out(path.as_bytes(), None)).count();
            let cached = started.elapsed() / rounds;
            let started = std::time::Instant::now();
            let alone = (0..rounds).filter(|_| rules.current().leaves_out(path.as_bytes(), None)).count();
            println!("{what}, {path}: {cached:?} in a row, {:?} alone", started.elapsed() / rounds);
            assert_eq!(out, alone);
        }
    }
}

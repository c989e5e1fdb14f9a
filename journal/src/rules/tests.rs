//! Tests of what a policy leaves out.

use super::*;
use crate::types::RootPolicy;

fn root(path: &str, excludes: &[&str]) -> RootPolicy {
    RootPolicy {
        path: path.into(),
        excludes: excludes.iter().map(ToString::to_string).collect(),
        one_file_system: true,
        cachedir_tag: true,
    }
}

fn rules(excludes: &[&str], roots: Vec<RootPolicy>) -> Rules {
    let excludes = excludes.iter().map(ToString::to_string).collect();
    Rules::new(&Policy { roots, excludes, left_out: Vec::new() }).unwrap()
}

fn why<'r>(rules: &'r Rules, path: &str, dir: Option<bool>) -> Option<(&'r str, bool, String)> {
    rules.verdict(path.as_bytes(), dir).map(|verdict| match verdict.rule {
        Rule::Pattern { text, root } => {
            (text, root.is_some(), String::from_utf8_lossy(verdict.path).into_owned())
        }
        Rule::Place(_) => panic!("a place"),
    })
}

#[test]
fn patterns_mean_what_they_mean_to_git() {
    let rules = rules(
        &["*.o", "target/", "/top", "doc/*.txt", "a/**/z", "!keep.o"],
        vec![root("/h", &["!*.k", "*.k.o"])],
    );
    let cases: &[(&str, bool, bool)] = &[
        ("/h/x.o", false, true),
        ("/h/deep/er/x.o", false, true),
        ("/h/keep.o", false, false),
        ("/h/target", true, true),
        ("/h/target", false, false),
        ("/h/s/target/x/y", false, true),
        ("/h/top", false, true),
        ("/h/s/top", false, false),
        ("/h/doc/a.txt", false, true),
        ("/h/doc/b/a.txt", false, false),
        ("/h/s/doc/a.txt", false, false),
        ("/h/a/z", false, true),
        ("/h/a/b/c/z", false, true),
        // What lies below something that is left out is left out, whatever matches it.
        ("/h/target/keep.o", false, true),
        ("/h/f.k.o", false, true),
        ("/h", true, false),
        ("/elsewhere/x.o", false, false),
        ("/hx.o", false, false),
    ];
    for (path, dir, expected) in cases {
        assert_eq!(rules.leaves_out(path.as_bytes(), Some(*dir)), *expected, "{path}");
    }
}

#[test]
fn a_verdict_names_the_pattern_its_place_and_what_it_matched() {
    let rules = rules(&["target/", "/h/secret"], vec![root("/h", &["*.iso"])]);
    assert_eq!(why(&rules, "/h/s/target/x", None), Some(("target/", false, "/h/s/target".into())));
    assert_eq!(why(&rules, "/h/d.iso", None), Some(("*.iso", true, "/h/d.iso".into())));
    assert_eq!(why(&rules, "/h/secret/x", None), Some(("/h/secret", false, "/h/secret".into())));
    assert_eq!(why(&rules, "/h/s/secret", None), None);
}

#[test]
fn bytes_that_are_no_utf8_are_matched() {
    let rules = rules(&["*.o", "caf?/"], vec![root("/h", &[])]);
    assert!(rules.leaves_out(b"/h/\xff\xfe.o", Some(false)));
    assert!(rules.leaves_out(b"/h/\xff\n/x.o", Some(false)));
    assert!(rules.leaves_out(b"/h/caf\xe9/x", Some(false)));
    assert!(!rules.leaves_out(b"/h/\xff", Some(true)));
    let long = [b"/h/".to_vec(), vec![b'n'; 253], b".o".to_vec()].concat();
    assert!(rules.leaves_out(&long, None));
}

#[test]
fn where_it_is_not_known_whether_it_is_a_directory_nothing_is_dropped_that_may_count() {
    let rules = rules(&["target/", "cache*", "!cache*/"], vec![root("/h", &[])]);
    assert!(!rules.leaves_out(b"/h/target", None));
    assert!(rules.leaves_out(b"/h/target", Some(true)));
    assert!(!rules.leaves_out(b"/h/cache-d", None));
    assert!(rules.leaves_out(b"/h/cache-d", Some(false)));
    assert!(rules.leaves_out(b"/h/target/x", None));
}

#[test]
fn an_absolute_path_means_that_place_and_a_slash_else_the_root() {
    let roots = || vec![root("/h/u", &[]), root("/srv", &[])];
    let rules = rules(&["/h/u/x", "/tmp", "!/h/u/x/y"], roots());
    assert!(rules.leaves_out(b"/h/u/x", None) && rules.leaves_out(b"/h/u/tmp", None));
    assert!(rules.leaves_out(b"/srv/tmp", None));
    assert!(!rules.leaves_out(b"/srv/h/u/x", None) && !rules.leaves_out(b"/h/u/a/x", None));
    let whole = self::rules(&["/srv/"], roots());
    assert!(whole.leaves_out(b"/srv/x", None) && !whole.leaves_out(b"/h/u/x", None));
    assert_eq!(whole.leaves_out_everything(b"/srv"), Some("/srv/"));
    let slash = self::rules(&["/proc"], vec![root("/", &[])]);
    assert!(slash.leaves_out(b"/proc/1", None) && !slash.leaves_out(b"/a/proc", None));
}

#[test]
fn the_innermost_root_has_its_own_rules_and_the_way_to_it_stays() {
    let rules = rules(&["*.tmp"], vec![root("/h", &["work/", "*.iso"]), root("/h/work/mine", &["*.log"])]);
    for (path, dir, expected) in [
        ("/h/work", true, false),
        ("/h/work/other", false, true),
        ("/h/work/other/deep", false, true),
        ("/h/work/mine", true, false),
        ("/h/work/mine/x.iso", false, false),
        ("/h/work/mine/x.log", false, true),
        ("/h/work/mine/x.tmp", false, true),
        ("/h/x.log", false, false),
    ] {
        assert_eq!(rules.leaves_out(path.as_bytes(), Some(dir)), expected, "{path}");
    }
    assert_eq!(rules.root_of(b"/h/work/mine/x"), Some(&b"/h/work/mine"[..]));
    assert!(!rules.heeds_cachedir_tag(b"/h/work/mine") && !rules.heeds_cachedir_tag(b"/h/work"));
    assert!(rules.heeds_cachedir_tag(b"/h/work/mine/c") && !rules.heeds_cachedir_tag(b"/elsewhere"));
}

#[test]
fn patterns_that_leave_out_everything_are_known() {
    for everything in ["*", "**", "/*", "/**", "?*", "**/*", "*\n".trim()] {
        let rules = rules(&["x", everything], vec![root("/h", &[])]);
        assert_eq!(rules.leaves_out_everything(b"/h"), Some(everything));
    }
    for some in [&["*.o"][..], &["[a-z]*"], &["*/"], &["*", "!*/"], &["*", "!/keep", "y"], &[]] {
        assert_eq!(rules(some, vec![root("/h", &[])]).leaves_out_everything(b"/h"), None, "{some:?}");
    }
    let last = rules(&["!keep", "*"], vec![root("/h", &[])]);
    assert_eq!(last.leaves_out_everything(b"/h"), Some("*"));
}

#[test]
fn patterns_that_mean_nothing_are_refused_by_their_text() {
    for bad in ["", "!", "/", "!/", "#x", "a\nb", "a{b", "[z-a]", "  "] {
        let policy = Policy { roots: vec![root("/h", &[bad])], ..Policy::default() };
        let error = Rules::new(&policy).expect_err(bad);
        assert_eq!(error.pattern, bad);
        assert!(!error.what.is_empty());
    }
}

#[test]
fn places_are_left_out_with_everything_below() {
    let left_out = vec![LeftOut { path: b"/h/j".to_vec(), what: Place::Journal }];
    let rules =
        Rules::new(&Policy { roots: vec![root("/h", &["!j"])], left_out, ..Policy::default() }).unwrap();
    let verdict = rules.verdict(b"/h/j/segments/1", None).unwrap();
    assert_eq!((verdict.path, verdict.rule), (&b"/h/j"[..], Rule::Place(Place::Journal)));
    assert!(!rules.leaves_out(b"/h/jj", None));
}

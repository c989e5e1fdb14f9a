//! What the file of a drill may say, and what is refused.

use super::*;

fn parse(text: &str) -> std::result::Result<Spec, String> {
    Spec::parse(text, "stem")
}

fn refused(text: &str) -> String {
    parse(text).map(|_| ()).unwrap_err()
}

#[test]
fn the_template_is_a_drill() {
    let spec = parse(TEMPLATE).unwrap();
    assert_eq!((spec.name.as_str(), spec.scenario), ("daily-sample", Scenario::File));
    assert_eq!(spec.what.sample, Some(Sample::Percent(1.0)));
    // With everything that is commented out its keys are still those that there are.
    let bare = |line: &'static str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    };
    let all: Vec<&str> = TEMPLATE.lines().map(bare).collect();
    assert!(all.len() > 50 && all.contains(&"kind = \"metadata\""));
    keys::check(&all.join("\n")).unwrap();
}

#[test]
fn a_drill_that_says_little_has_defaults() {
    let spec = parse("scenario = 'tree'\nwhat.paths = ['/a']").unwrap();
    assert_eq!((spec.name.as_str(), spec.when.at, spec.oracle.live), ("stem", At::Latest, true));
    assert_eq!(spec.asserts.iter().map(Assert::kind).collect::<Vec<_>>(), ["content", "paths"]);
}

#[test]
fn unknown_keys_are_named_with_what_was_meant_and_where() {
    let error = refused("scenario = 'tree'\n[what]\npath = ['/a']");
    assert_eq!(error, "line 3: unknown key what.path; did you mean paths?");
    assert!(
        refused("scenario = 'tree'\nscretch = 1")
            .contains("line 2: unknown key scretch; did you mean scratch?")
    );
    let error = refused("scenario = 'tree'\nwhat.paths = ['/a']\n[[assert]]\nkind = 'contents'");
    assert_eq!(error, "line 4: assert.kind = \"contents\": there is no such kind; did you mean content?");
    let error = refused("scenario = 'tree'\nwhat.paths = ['/a']\n[[assert]]\nkind = 'rto'\nmax = '1d'");
    assert!(error.contains("unknown key assert.max"), "{error}");
    assert!(
        refused("scenario = 'trees'\nwhat.paths = ['/a']").contains("unknown variant"),
        "no such scenario"
    );
    assert!(refused("scenario = 'tree").contains("line 1"), "no TOML");
}

#[test]
fn keys_that_contradict_each_other_are_both_named() {
    for (text, one, other) in [
        ("scenario = 'tree'\nwhat = { paths = ['/a'], everything = true }", "what.everything", "what.paths"),
        (
            "scenario = 'index-lost'\nwhat = { sample = 1, everything = true }",
            "what.everything",
            "what.sample",
        ),
        ("scenario = 'everything'\nwhat.paths = ['/a']", "scenario", "what.paths"),
        ("scenario = 'everything'\nwhat.sample = 3", "scenario", "what.sample"),
        ("scenario = 'file'\nwhat.everything = true", "scenario", "what.everything"),
        ("scenario = 'tree'\nwhat.sample = '1%'", "scenario", "what.sample"),
        ("scenario = 'ransomware'\nwhat.paths = ['/a']\nwhen.at = 'mark:x'", "ransomware", "when.at"),
        ("scenario = 'agent-dead'\nwhat.sample = 1", "agent-dead", "what.sample"),
        ("scenario = 'tree'\nwhat.paths = ['/a']\nclock_offset = '1d'", "tree", "clock_offset"),
        ("scenario = 'tree'\nwhat.paths = ['/a']\n[[assert]]\nkind = 'rto'", "rto", "targets.rto"),
        ("scenario = 'tree'\nwhat.paths = ['/a']\n[[assert]]\nkind = 'rpo'", "rpo", "targets.rpo"),
    ] {
        let error = refused(text);
        assert!(error.contains(one) && error.contains(other), "{text}: {error}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for text in [
        "scenario = 'tree'",
        "what.paths = ['/a']",
        "scenario = 'tree'\nwhat.paths = ['a']",
        "scenario = 'file'\nwhat.sample = 0",
        "scenario = 'file'\nwhat.sample = '0%'",
        "scenario = 'file'\nwhat.sample = '101%'",
        "scenario = 'file'\nwhat.sample = 1\nwhen.at = 'sometime'",
        "scenario = 'file'\nwhat.sample = 1\nwhen.at = 'random-within'",
        "scenario = 'file'\nwhat.sample = 1\ntargets.rto = '0'",
        "scenario = 'file'\nwhat.sample = 1\nmax_bytes = 'much'",
        "scenario = 'file'\nwhat.sample = 1\nname = '../x'",
        "scenario = 'file'\nwhat.sample = 1\n[[assert]]\nkind = 'command'\ncommand = []",
        "scenario = 'file'\nwhat.sample = 1\n[[assert]]\nkind = 'content'\nleast = '0%'",
        "scenario = 'wrong-clock'\nwhat.paths = ['/a']\nclock_offset = 'late'",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_sample_is_rounded_up_so_that_all_passes_together_have_everything() {
    assert_eq!(Sample::Percent(1.0).of(100), 1);
    assert_eq!(Sample::Percent(1.0).of(101), 2);
    assert_eq!(Sample::Percent(5.0).of(3), 1);
    assert_eq!(Sample::Percent(1.0).of(0), 0);
    assert_eq!(Sample::Percent(100.0).of(7), 7);
    assert_eq!(Sample::Count(5).of(3), 3);
    for candidates in 1..500 {
        assert!(Sample::Percent(5.0).of(candidates) * 20 >= candidates, "{candidates}");
    }
}

//! Each scenario passes on a sound journal, and touches neither the live tree nor the live journal.

use asof_journal::storage::Layout;
use asof_tests::must::Must;
use asof_tests::random::Random;

use crate::ground::{Ground, Ran, bytes_of};

/// Runs a scenario, which must pass, with the agent at rest: nothing of the tree or of the segments may change.
#[track_caller]
fn passes(text: &str) -> Ran {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    let segments = Layout::new(&ground.site.journal).segments();
    let before = (bytes_of(&ground.site.root), bytes_of(&segments));
    let ran = ground.run(text, 0);
    assert_eq!(ran.report["outcome"], "pass", "{:?}", ran.outcomes());
    assert!(before == (bytes_of(&ground.site.root), bytes_of(&segments)), "something live changed");
    ran
}

fn with_witness(scenario: &str) -> String {
    format!("scenario = '{scenario}'\nwhat.paths = ['ROOT']\n[oracle]\nwitness = ['WITNESS']\n")
}

#[test]
fn one_file() {
    let ran = passes(
        "scenario = 'file'\nwhat.paths = ['ROOT/docs/3.txt', 'ROOT/docs/deep/3.bin']\n[oracle]\nwitness = ['WITNESS']",
    );
    assert_eq!((ran.count("matched"), ran.count("expected")), (2, 2));
}

#[test]
fn everything_to_an_empty_directory() {
    let ran = passes("scenario = 'everything'\n[oracle]\nwitness = ['WITNESS']");
    assert_eq!((ran.count("matched"), ran.count("expected")), (15, 19));
}

#[test]
fn index_lost() {
    let ran = passes(&with_witness("index-lost"));
    assert_eq!(ran.count("matched"), 15);
    let restore = ran.report["commands"]
        .as_array()
        .must("commands")
        .iter()
        .find(|of| of["what"] == "restore")
        .must("a restore");
    let journal = restore["argv"][2].as_str().must("a journal");
    assert!(journal.contains("asof-drill-"), "from the copy: {journal}");
}

#[test]
fn newest_segment_torn() {
    let ground = Ground::new();
    // More than is cut off, and something that may be lost.
    let docs = ground.site.root.join("docs");
    std::fs::write(docs.join("long"), Random::new(1).bytes(64 << 10)).must("a file");
    ground.site.sync();
    std::fs::write(docs.join("last"), "the last change").must("a file");
    let ground = ground.without_agent_after(|ground| {
        ground.witness();
    });
    let text = with_witness("torn-segment") + "[[assert]]\nkind = 'content'\nleast = '80%'";
    let ran = ground.run(&text, 0);
    let head = ground.site.asof(["--json", "status"]).exits(0).json();
    assert!(ran.report["instant"]["seq"].as_u64() < head["durable"]["seq"].as_u64(), "{head}");
}

#[test]
fn planted_corruption_is_found() {
    let ran = passes(&with_witness("planted-corruption"));
    assert!(ran.that("pass").contains(&"detected".to_owned()));
    assert!(ran.count("matched") < 15, "what is damaged does not come back");
}

#[test]
fn ransomware() {
    let ran = passes(
        "scenario = 'ransomware'\nwhat.paths = ['ROOT']\ntargets.rpo = '1m'\n[[assert]]\nkind = 'content'\n[[assert]]\nkind = 'paths'\n[[assert]]\nkind = 'rpo'",
    );
    assert!(ran.that("pass").contains(&"found".to_owned()), "{:?}", ran.outcomes());
}

#[test]
fn agent_dead() {
    let ran = passes(
        "scenario = 'agent-dead'\nwhat.paths = ['ROOT']\ntargets.rpo = '1m'\n[[assert]]\nkind = 'content'\n[[assert]]\nkind = 'paths'\n[[assert]]\nkind = 'metadata'\n[[assert]]\nkind = 'rpo'",
    );
    assert!(ran.that("pass").contains(&"agent-dead".to_owned()), "{:?}", ran.outcomes());
}

#[test]
fn wrong_clock() {
    let has_library = std::fs::read_dir("/usr/lib")
        .must("/usr/lib")
        .flatten()
        .any(|dir| dir.path().join("faketime/libfaketimeMT.so.1").is_file());
    let text = "scenario = 'wrong-clock'\nwhat.paths = ['ROOT']\nclock_offset = '-400d'";
    if !has_library {
        let ran = Ground::new().run(text, 3);
        assert!(ran.report["why"].as_str().must("why").contains("libfaketime"), "{}", ran.report["why"]);
        return;
    }
    for offset in ["-400d", "+2h"] {
        let ran = passes(&text.replace("-400d", offset));
        assert_eq!(ran.that("pass").len(), 6, "{offset}: {:?}", ran.outcomes());
    }
}

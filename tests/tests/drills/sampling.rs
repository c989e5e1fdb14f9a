//! Samples without putting anything back, seeds that repeat, instants.

use std::collections::BTreeMap;

use asof_tests::files::{make, write};
use asof_tests::must::Must;

use crate::ground::{Ground, Ran};

/// What a drill restored, by its command lines.
fn restored(ran: &Ran, root: &str) -> Vec<String> {
    let commands = ran.report["commands"].as_array().must("commands");
    let words = commands.iter().filter(|of| of["what"] == "restore").flat_map(|of| {
        let argv = of["argv"].as_array().must("argv").iter().filter_map(|word| word.as_str());
        argv.skip_while(|word| *word != "--").skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    let mut paths: Vec<String> = words.filter(|word| word.starts_with(root)).collect();
    paths.sort();
    paths
}

#[test]
fn twenty_drills_of_five_percent_check_everything_once() {
    let ground = Ground::new();
    for number in 0..41 {
        // Many of one name, too.
        make(ground.site.root.join(format!("more/{number}")));
        write(ground.site.root.join(format!("more/{number}/same")), format!("{number}"));
    }
    let total = 14 + 41;
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    let mut last = None;
    for pass in 0..20 {
        // Once everything is through, a new round begins.
        if met.len() == total {
            break;
        }
        let ran = ground.run("scenario = 'file'\nwhat.sample = '5%'", 0);
        for path in restored(&ran, &ground.root()) {
            *met.entry(path).or_default() += 1;
        }
        let share = &ran.report["coverage"]["paths"];
        assert_eq!(
            (share["drilled"].as_u64(), share["total"].as_u64()),
            (Some(met.len() as u64), Some(total as u64)),
            "pass {pass}"
        );
        last = Some(ran);
    }
    assert_eq!(met.len(), total, "{met:?}");
    assert!(met.values().all(|&times| times == 1), "{met:?}");
    let last = last.must("a drill");
    assert_eq!(last.report["selection"]["candidates"].as_u64(), Some(total as u64));
    assert_eq!(
        last.report["coverage"]["history_days"]["drilled"].as_u64(),
        last.report["coverage"]["history_days"]["total"].as_u64()
    );
}

#[test]
fn a_seed_takes_the_same_choices_again_and_does_not_count_twice() {
    let ground = Ground::new();
    let text = "scenario = 'file'\nwhat.sample = 4\nwhen.at = 'random-within 1h'\noracle.live = true\n[[assert]]\nkind = 'content'\nleast = '1%'";
    ground.witness();
    let first = ground.end(ground.drill(text), 0);
    let seed = first.report["seed"].as_u64().must("a seed").to_string();
    let second = ground.end(ground.drill(text), 0);
    let again = ground.end(ground.drill(text).with_word("--seed").with_word(&seed), 0);
    let root = ground.root();
    assert_eq!(restored(&again, &root), restored(&first, &root));
    assert_ne!(restored(&second, &root), restored(&first, &root));
    assert_eq!(again.report["instant"]["seq"], first.report["instant"]["seq"]);
    assert_eq!(again.report["coverage"]["paths"]["drilled"], second.report["coverage"]["paths"]["drilled"]);
}

#[test]
fn a_mark_is_an_instant_to_drill_and_one_that_there_is_not_is_inconclusive() {
    let ground = Ground::new();
    ground.site.asof(["mark", "release"]).exits(0);
    let witness = ground.witness();
    std::fs::remove_file(ground.site.root.join("docs/4.txt")).must("a file");
    ground.site.sync();
    let text = "scenario = 'tree'\nwhat.paths = ['ROOT']\nwhen.at = 'mark:release'\n[oracle]\nwitness = ['WITNESS']\nlive = false";
    // The witness is of later, and everything is older than the mark.
    let ran = ground.run(text, 0);
    assert_eq!(ran.count("matched"), 15, "{:?} {}", ran.outcomes(), witness.display());
    let ran = ground.run(&text.replace("mark:release", "mark:relaese"), 3);
    assert!(ran.report["why"].as_str().must("why").contains("mark:relaese"), "{}", ran.report["why"]);
}

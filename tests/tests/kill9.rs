//! A few kills of those that `make kill9` does hundreds of: every acknowledged `sync` comes back exactly.

use asof_tests::kills::{Plan, run};
use asof_tests::random::seed_given;
use asof_tests::site::Site;

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let outcome = run(&Site::new(), &Plan { kills: 10, seed: seed_given().unwrap_or(9) });
    println!("{outcome}");
    assert!(outcome.lost.is_empty(), "{}", outcome.lost.join("\n"));
    assert!(outcome.acknowledged > 0, "little happened: {outcome}");
}

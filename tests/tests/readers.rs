//! Commands beside a writer that seals, flushes and rebuilds: each sees one state, and the past does not change.

use asof_tests::random::seed_given;
use asof_tests::readers::{Plan, run};
use asof_tests::site::Site;

#[test]
fn every_command_sees_one_state_and_the_past_stays_as_it_is() {
    let plan = Plan { readers: 16, commands: 24, seed: seed_given().unwrap_or(4) };
    let outcome = run(&Site::new(), &plan);
    println!("{outcome}");
    assert!(outcome.violations.is_empty(), "{}", outcome.violations.join("\n"));
    assert!(
        outcome.rebuilds > 0 && outcome.segments > 4 && outcome.repeated > 10,
        "little happened: {outcome}"
    );
}

//! The independent oracle: random histories as real programs make them, with every freeze point restored exactly.

use asof_tests::random::seed_given;
use asof_tests::site::Site;
use asof_tests::story::{DISTURBANCES, Plan, live};

/// Lives one history; a failure says which command lives it again alone.
fn history(seed: u64, writers: usize) {
    let seed = seed_given().unwrap_or(seed);
    let plan = Plan {
        seed,
        freeze_points: 7,
        edits: 160,
        writers,
        disturbances: DISTURBANCES.to_vec(),
        arguments: Vec::new(),
    };
    let command = format!(
        "ASOF_TEST_SEED={seed} cargo test --release --workspace --test random_history {} -- --nocapture",
        std::thread::current().name().unwrap_or_default()
    );
    println!("{command}");
    let outcome = live(&plan, &Site::new());
    println!("seed {seed}: {outcome}");
    assert!(
        outcome.freeze_points == plan.freeze_points && outcome.operations > 500,
        "little happened: {outcome}"
    );
    for difference in &outcome.differences {
        println!("{difference}");
    }
    assert!(outcome.differences.is_empty(), "freeze points differ. Again: {command}");
}

#[test]
fn one_writer() {
    history(1, 1);
}

#[test]
fn two_writers() {
    history(2, 2);
}

#[test]
fn three_writers() {
    history(3, 3);
}

#[test]
fn four_writers() {
    history(4, 4);
}

//! A few real power cuts, one on each filesystem; `make power-cuts` makes as many as wanted.

use asof_tests::cuts::{Wish, run};
use asof_tests::filesystem::Filesystem;
use asof_tests::random::seed_given;

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let seed = seed_given().unwrap_or(1);
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs] {
        match run(&Wish { filesystem, cuts: 1, seed }) {
            Ok(outcome) => {
                println!("{filesystem}: {outcome}");
                assert!(outcome.compared > 0, "nothing was compared");
            }
            Err(why) => eprintln!("skipped: {why}"),
        }
    }
}

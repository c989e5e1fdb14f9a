//! A few of the interruptions that `make interrupted` does by the hundred: whole files, old or new, and the same command
//! again finishes the job.

use asof_tests::interrupted::{Plan, run};
use asof_tests::random::seed_given;
use asof_tests::site::Site;

#[test]
fn an_interrupted_restore_leaves_whole_files_and_can_be_finished_or_taken_back() {
    let outcome = run(&Site::new(), &Plan { times: 12, seed: seed_given().unwrap_or(5) });
    println!("{outcome}");
    assert!(outcome.wrong.is_empty(), "{}", outcome.wrong.join("\n"));
    assert!(outcome.interrupted > 0, "little happened: {outcome}");
}

//! Crash states: the journal ends, or is failed, at every storage operation, and what is found afterwards is judged.
//!
//! A few seeds here; `make torture` runs as many as fit. A failure prints the plan and every storage operation.

use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::Seq;
use asof_tests::must::Must;
use asof_tests::random::seed_given;
use asof_tests::torture::Fate;
use asof_tests::torture::desk::{Desk, SMALL};
use asof_tests::torture::life::{Kind, Outcome, Plan, live};
use asof_tests::torture::medium::{Fault, Medium};
use asof_tests::torture::step::{Bytes, Step};

/// Lives every plan of a kind for a seed.
#[track_caller]
fn every_operation(kind: Kind, default_seed: u64) -> Outcome {
    let seed = seed_given().unwrap_or(default_seed);
    let mut sum = must_live(&Plan::quiet(seed));
    let operations = sum.operations;
    for operation in 0..operations {
        sum += must_live(&Plan::at(kind, seed, operation));
    }
    println!("ASOF_TEST_SEED={seed}, {kind:?} at each of {operations} operations: {sum}");
    sum
}

#[track_caller]
fn must_live(plan: &Plan) -> Outcome {
    match live(plan) {
        Ok(outcome) => outcome,
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn the_power_is_cut_at_every_operation() {
    let sum = every_operation(Kind::PowerCut, 1);
    assert!(sum.states > 90 && sum.groups > 400, "little happened: {sum}");
}

#[test]
fn the_process_is_killed_at_every_operation_and_the_power_cut_later() {
    every_operation(Kind::Kill, 2);
}

#[test]
fn every_operation_fails_once() {
    let sum = every_operation(Kind::Io, 3);
    assert!(sum.failures > 10, "little failed: {sum}");
}

#[test]
fn the_medium_is_full_from_every_operation_on() {
    let sum = every_operation(Kind::Full, 4);
    assert!(sum.failures > 10, "little failed: {sum}");
}

#[test]
fn an_operation_fails_and_the_power_is_cut_soon_after() {
    let sum = every_operation(Kind::IoThenPowerCut, 5);
    assert!(sum.failures > 10, "little failed: {sum}");
}

/// A desk with one committed file and one that waits for its commit.
fn waiting(medium: &Medium, dir: &std::path::Path) -> Desk {
    let mut desk = Desk::new(medium.storage(), dir, SMALL);
    desk.open().must("what must be there").must("an opened journal");
    for step in
        [Step::Create(0, 0, Bytes::Fresh(3, 1)), Step::Commit(1), Step::Create(0, 1, Bytes::Fresh(6, 2))]
    {
        desk.take(step).must("a step");
    }
    desk
}

/// Cuts the power, takes the index away, which may hide what the segments have lost, and compares everything.
fn all_is_there_after_a_power_cut(medium: &Medium, dir: &std::path::Path, mut desk: Desk, seed: u64) {
    let acknowledged = desk.acknowledged;
    desk.die();
    medium.power_cut(Fate::Nothing);
    std::fs::remove_dir_all(Layout::new(dir).index()).must("the index");
    desk.open().must(format!("seed {seed}")).must("an opened journal");
    assert_eq!(desk.damage, [] as [String; 0], "seed {seed}");
    assert_eq!(desk.acknowledged, acknowledged, "seed {seed}");
    let reader = Reader::open_on(medium.storage(), dir).must("a reader");
    desk.history.compare(&reader, acknowledged).must(format!("seed {seed}"));
}

/// A writer was killed between its write and its sync. The next one reads the batch: it is in the kernel's memory and
/// nowhere else, until somebody syncs it. What the next one acknowledges stands on it.
#[test]
fn what_a_killed_writer_left_is_synced_before_the_next_one_relies_on_it() {
    for seed in 0..20 {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("j");
        let medium = Medium::new(tmp.path(), seed);
        let mut desk = waiting(&medium, &dir);
        // The write happens; the sync after it does not.
        medium.fail_at(medium.operations() + 1, Fault::End);
        desk.take(Step::Commit(1)).unwrap_err();
        desk.die();
        medium.restart();
        desk.open().unwrap().unwrap();
        desk.record_gap().unwrap();
        desk.take(Step::Commit(1)).unwrap();
        all_is_there_after_a_power_cut(&medium, &dir, desk, seed);
    }
}

/// A sync failed, and the process was killed before it could give the segment up. The batch is read, because the kernel
/// took its pages for clean, and no sync will ever write them out: only what the medium gives may be relied on.
#[test]
fn what_a_failed_sync_left_in_memory_is_not_relied_on() {
    let mut lost = 0;
    for seed in 0..20 {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("j");
        let medium = Medium::new(tmp.path(), seed);
        let mut desk = waiting(&medium, &dir);
        medium.fail_at(medium.operations() + 1, Fault::Io);
        medium.fail_at(medium.operations() + 2, Fault::End);
        desk.take(Step::Commit(1)).unwrap_err();
        desk.die();
        medium.restart();
        desk.open().unwrap().unwrap();
        lost += usize::from(desk.history.last().0 == 1);
        desk.record_gap().unwrap();
        desk.take(Step::Commit(1)).unwrap();
        all_is_there_after_a_power_cut(&medium, &dir, desk, seed);
    }
    assert!(lost > 5, "the batch was there after all in all but {lost}");
}

/// Sectors reach the medium in any order: of a commit that was never synced, the batch may be there and its content not.
/// Nothing attests it, so it is no part of the log, and no damage either.
#[test]
fn a_batch_without_its_content_is_no_part_of_the_log() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..60 {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("j");
        let medium = Medium::new(tmp.path(), seed);
        let mut desk = waiting(&medium, &dir);
        medium.fail_at(medium.operations() + 1, Fault::End);
        desk.take(Step::Commit(1)).unwrap_err();
        desk.die();
        medium.power_cut(Fate::Sectors);
        // The index has not come this far, and what it has come to need not be looked at again.
        std::fs::remove_dir_all(Layout::new(&dir).index()).unwrap();
        desk.open().unwrap().unwrap();
        assert_eq!(desk.damage, [] as [String; 0], "seed {seed}");
        *if desk.acknowledged == Seq(1) { &mut gone } else { &mut there } += 1;
        let reader = Reader::open_on(medium.storage(), &dir).unwrap();
        desk.history.compare(&reader, desk.acknowledged).must(format!("seed {seed}"));
    }
    assert!(there > 5 && gone > 5, "{there} were there, {gone} were not");
}

//! The journal against a naive in-memory history: whatever is done to it, every answer is the naive one.
//!
//! The same answers are wanted of an index that is behind and overlaid, of one that was kept up step by step, of none at
//! all, and of one that was made anew from the segments.

use std::fs;

use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::Seq;
use asof_tests::torture::changes;
use asof_tests::torture::desk::{Desk, SMALL};
use asof_tests::torture::finds;
use asof_tests::torture::landmarks;
use asof_tests::torture::life::quick_dir;
use asof_tests::torture::medium::Medium;
use asof_tests::torture::step::{Bytes, Step};
use proptest::prelude::*;
use proptest::test_runner::Config;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        5 => (any::<u8>(), any::<u16>()).prop_map(|(length, seed)| Bytes::Fresh(length, seed)),
        4 => any::<u16>().prop_map(Bytes::Edited),
        1 => any::<u16>().prop_map(Bytes::Sparse),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (a, b, c) = (any::<u8>(), any::<u8>(), any::<u8>());
    prop_oneof![
        5 => (a, b, bytes()).prop_map(|(dir, name, bytes)| Step::Create(dir, name, bytes)),
        3 => (a, b).prop_map(|(dir, name)| Step::MakeDir(dir, name)),
        1 => (a, b).prop_map(|(dir, name)| Step::Symlink(dir, name)),
        4 => (a, bytes()).prop_map(|(file, bytes)| Step::Write(file, bytes)),
        2 => a.prop_map(Step::Attributes),
        3 => (a, b, c).prop_map(|(file, dir, name)| Step::Link(file, dir, name)),
        5 => (a, b, c).prop_map(|(entry, dir, name)| Step::Rename(entry, dir, name)),
        2 => (a, b).prop_map(|(one, other)| Step::Exchange(one, other)),
        2 => (a, bytes()).prop_map(|(file, bytes)| Step::Save(file, bytes)),
        3 => (a, b).prop_map(|(entry, why)| Step::Unbind(entry, why)),
        1 => (a, b).prop_map(|(dir, name)| Step::Vanish(dir, name)),
        1 => a.prop_map(Step::Stale),
        1 => a.prop_map(Step::Name),
        1 => (a, b).prop_map(|(at, number)| Step::Restore(at, number)),
        6 => a.prop_map(Step::Commit),
        1 => any::<i16>().prop_map(Step::SetClock),
        1 => (-3..3i16).prop_map(Step::SetClock),
        1 => Just(Step::Boot),
    ]
}

/// Every answer at every `Seq`; what is not committed yet is left out.
fn same_answers(desk: &Desk, reader: &Reader, which: &str) -> Result<(), TestCaseError> {
    let mut history = desk.history.clone();
    history.truncate(desk.acknowledged);
    let told =
        |result: Result<(), String>| result.map_err(|what| TestCaseError::fail(format!("{which}: {what}")));
    prop_assert_eq!(reader.head(), history.last());
    prop_assert_eq!(&reader.report().damage, &[]);
    for seq in 0..=history.last().0 {
        told(history.compare(reader, Seq(seq)))?;
    }
    told(changes::compare(&history, reader))?;
    told(landmarks::compare(&history, reader))?;
    told(finds::compare(&history, reader))?;
    told(desk.commits.compare(reader))
}

fn whatever_is_done(steps: &[Step]) -> Result<(), TestCaseError> {
    let tmp = quick_dir();
    let dir = tmp.path().join("j");
    let medium = Medium::new(tmp.path(), 0);
    let open =
        || Reader::open_on(medium.storage(), &dir).map_err(|error| TestCaseError::fail(error.to_string()));
    let mut desk = Desk::new(medium.storage(), &dir, SMALL);
    desk.open().map_err(TestCaseError::fail)?.map_err(|error| TestCaseError::fail(error.to_string()))?;
    for step in steps {
        desk.take(*step).map_err(|error| TestCaseError::fail(format!("{step:?}: {error}")))?;
    }
    // What was submitted is part of the newest view at once.
    desk.compare_head().map_err(TestCaseError::fail)?;
    same_answers(&desk, &open()?, "beside the writer, overlaid")?;
    desk.close().map_err(|error| TestCaseError::fail(error.to_string()))?;
    same_answers(&desk, &open()?, "an index that was kept up")?;
    fs::remove_dir_all(Layout::new(&dir).index()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    same_answers(&desk, &open()?, "no index")?;
    desk.open().map_err(TestCaseError::fail)?.map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(desk.rebuilt.is_some() || desk.history.last() == Seq::ZERO);
    same_answers(&desk, &open()?, "an index made anew")
}

proptest! {
    #![proptest_config(Config {
        // ASOF_MODEL_CASES for more.
        cases: std::env::var("ASOF_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24),
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn every_answer_is_that_of_the_naive_history(steps in prop::collection::vec(step(), 1..70)) {
        whatever_is_done(&steps)?;
    }
}

/// A directory moves below one that has left the tree: what was in it was there until then.
#[test]
fn what_moved_below_a_directory_that_was_gone() {
    let empty = Bytes::Fresh(0, 0);
    let steps = [
        Step::Create(0, 214, empty),
        Step::Create(0, 78, empty),
        Step::MakeDir(0, 156),
        Step::MakeDir(7, 47),
        Step::Link(0, 0, 187),
        Step::MakeDir(202, 0),
        Step::Rename(153, 83, 22),
        Step::MakeDir(253, 8),
        Step::Exchange(78, 201),
        Step::Create(109, 12, empty),
        Step::Symlink(211, 90),
        Step::MakeDir(6, 135),
        Step::Unbind(239, 0),
        Step::Link(0, 7, 14),
        Step::Rename(28, 13, 45),
    ];
    whatever_is_done(&steps).unwrap_or_else(|error| panic!("{error}"));
}

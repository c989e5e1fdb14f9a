//! Forgetting that ends, or fails, at any operation of the medium.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use asof_journal::forget::{Order, forget};
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::BlockId;
use asof_tests::desk::{Shown, clock};
use asof_tests::must::Must;
use asof_tests::random::seed_given;
use asof_tests::specimen::{content_of, copy_journal};
use asof_tests::torture::Fate;
use asof_tests::torture::case::{Index, copy_dir, put_on_medium};
use asof_tests::torture::medium::{Fault, Medium};

use crate::{LIMITS, Lived, assert_gone, assert_sound, is_secret, judge, secret_paths};

/// A journal with a secret, and media that copies of it are put on.
struct Old {
    tmp: tempfile::TempDir,
    dir: PathBuf,
    shown: Vec<Shown>,
    blocks: BTreeSet<BlockId>,
}

fn forget_in(journal: &mut Journal) -> asof_journal::Result<asof_journal::compact::Purged> {
    let paths = secret_paths().into_iter().map(String::into_bytes).collect();
    let order = Order { paths, before: None, by: 7, record_names: false };
    let Journal { head, appender, compactor, .. } = journal;
    forget((head, appender, compactor), Some(&order), &|| clock(200_000))
}

impl Old {
    fn new() -> Old {
        let tmp = tempfile::tempdir().must("a temporary directory");
        let dir = tmp.path().join("old");
        let Lived { desk, blocks } = Lived::live(&dir);
        let shown = desk.close();
        Old { tmp, dir, shown, blocks }
    }

    /// Everything else is as before, whatever of the secret is still there.
    fn judge(&self, medium: &Medium, dir: &Path, what: &str) {
        let reader = Reader::open_on(medium.storage(), dir).must(what);
        for state in &self.shown {
            for (path, content) in state.files.iter().filter(|(path, _)| !is_secret(path)) {
                let bytes = content_of(&reader, path, state.seq).must(what).must(what);
                assert!(bytes == *content, "{what}: {path} at {}", state.seq);
            }
        }
    }

    /// Ends the process at an operation of forgetting, or fails it. Gives whether the operation came.
    fn case(&self, number: u64, fault: Fault, index: Index, fate: Option<Fate>) -> bool {
        let what = format!("{fault:?} at operation {number}, index {index:?}, {fate:?}");
        let (medium, dir) = put_on_medium(&self.dir, self.tmp.path(), number);
        let before = dir.with_extension("index");
        let _ = std::fs::remove_dir_all(&before);
        let open = || Journal::open_on(medium.storage(), &dir, &clock(200_000), LIMITS).must(&what);
        copy_dir(&Layout::new(&dir).index(), &before);
        let mut journal = open();
        let operations = medium.operations();
        medium.fail_at(operations + number, fault);
        let done = forget_in(&mut journal);
        let came = medium.operations() > operations + number;
        medium.heal();
        if fault == Fault::End {
            drop(journal);
            match fate {
                Some(fate) => medium.power_cut(fate),
                None => medium.restart(),
            }
            index.leave(&dir, &before);
            self.judge(&medium, &dir, &format!("{what}, read"));
            journal = open();
            assert!(journal.report.damage.is_empty(), "{what}: {:?}", journal.report);
        } else if done.is_err() {
            // Nobody has ended: it is gone on with at once, unless the log itself failed, which ends the process.
            self.judge(&medium, &dir, &format!("{what}, failed"));
            // There is room again, as an agent finds out.
            journal.appender.look_for_room();
            match forget_in(&mut journal) {
                Ok(done) => assert_eq!((done.left, done.waiting), (0, 0), "{what}: {done:?}"),
                Err(error) => {
                    assert!(matches!(error, asof_journal::Error::Poisoned { .. }), "{what}: {error}");
                    drop(journal);
                    medium.restart();
                    journal = open();
                    assert!(journal.report.damage.is_empty(), "{what}: {:?}", journal.report);
                }
            }
        } else {
            assert!(!came || done.as_ref().is_ok_and(|done| done.segments > 0), "{what}: {done:?}");
        }
        self.judge(&medium, &dir, &format!("{what}, opened"));
        let done = forget_in(&mut journal).must(&what);
        assert_eq!((done.left, done.waiting), (0, 0), "{what}: {done:?}");
        let reader = Reader::open_on(medium.storage(), &dir).must(&what);
        judge(&reader, &self.shown, &|_, path| is_secret(path), &format!("{what}, forgotten"));
        drop(reader);
        let Journal { appender, .. } = journal;
        appender.close(&clock(200_001)).must(&what);
        assert_eq!(medium.violations(), [] as [String; 0], "{what}");
        // What is on the medium, as a directory that everything can be asked of.
        let flat = dir.with_extension("flat");
        let _ = std::fs::remove_dir_all(&flat);
        copy_journal(&self.dir, &flat, false);
        std::fs::remove_dir_all(Layout::new(&flat).segments()).must(&what);
        std::fs::create_dir(Layout::new(&flat).segments()).must(&what);
        for (name, bytes) in medium.files(&Layout::new(&dir).segments()) {
            std::fs::write(Layout::new(&flat).segments().join(name), bytes).must(&what);
        }
        copy_dir(&Layout::new(&dir).index(), &flat.join("index"));
        for (name, bytes) in medium.files(&dir) {
            std::fs::write(flat.join(name), bytes).must(&what);
        }
        assert_gone(&flat, &self.blocks, &what);
        assert_sound(&flat, &what);
        came
    }
}

/// Every step, and everything that can happen there: nothing else is lost, and it comes to its end later.
#[test]
fn forgetting_that_ends_or_fails_anywhere_loses_nothing_else_and_is_finished_later() {
    let old = Old::new();
    let all = std::env::var("ASOF_FORGET").is_ok_and(|value| value == "all");
    let ends = [
        (Fault::End, Index::AsItIs, None),
        (Fault::End, Index::AsItWas, None),
        (Fault::End, Index::AsItIs, Some(Fate::Nothing)),
        (Fault::End, Index::AsItWas, Some(Fate::Mixed)),
        (Fault::End, Index::Gone, Some(Fate::Sectors)),
        (Fault::Io, Index::AsItIs, None),
        (Fault::Full, Index::AsItIs, None),
    ];
    let (mut cases, mut number) = (0, 0);
    let first = seed_given().unwrap_or(0);
    loop {
        let mut came = false;
        for (at, (fault, index, fate)) in ends.iter().enumerate() {
            // Here each step gets one of them, and each of them every few steps.
            if all || (number + first + at as u64).is_multiple_of(ends.len() as u64) {
                came |= old.case(number, *fault, *index, *fate);
                cases += 1;
            }
        }
        if !came {
            break;
        }
        number += 1;
    }
    println!("{cases} cases at {number} operations of forgetting");
    assert!(number > 30, "only {number} operations");
}

//! The end of the log, on both sides of the tail rule: what is an ordinary end, and what is damage.

use std::fs;
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{NodeId, SegmentId, Seq};
use asof_journal::Result;

use crate::desk::{Desk, clock, content_of, text};

/// A journal with three files, a commit each; gives where each commit ended.
fn three_commits(dir: &Path) -> Result<(Desk, Vec<u64>)> {
    let mut desk = Desk::open(dir, 0)?;
    let mut ends = Vec::new();
    for name in ["a", "b", "c"] {
        desk.create(name, &text(900, name.len() as u64 + ends.len() as u64))?;
        desk.commit()?;
        ends.push(desk.journal.appender.applied().end.offset);
    }
    Ok((desk, ends))
}

/// Damage as a reader and a writer report it, and again after the writer has gone on and ended.
fn damage_for_good(dir: &Path) -> Result<[usize; 3]> {
    let read = Reader::open(dir)?.report().damage.len();
    let mut desk = Desk::open(dir, 1000)?;
    let written = desk.journal.report.damage.len();
    desk.create("after", b"x")?;
    desk.commit()?;
    let now = clock(desk.now);
    desk.journal.appender.close(&now)?;
    drop(desk.journal.head);
    fs::remove_dir_all(Layout::new(dir).index()).expect("the index");
    let reader = Reader::open(dir)?;
    assert!(content_of(&reader, "/after", Seq::MAX)?.is_some(), "the writer went on");
    Ok([read, written, reader.report().damage.len()])
}

/// The power was cut while a segment was begun: the file is there, the header is not, or not all of it.
#[test]
fn a_segment_that_was_never_begun_is_no_damage() -> Result<()> {
    for (number, bytes) in
        [vec![], vec![0; 88], vec![0x5a; 136], b"asofSEG\n\0\0\0\0".to_vec()].iter().enumerate()
    {
        let tmp = tempfile::tempdir().expect("a temporary directory");
        let (desk, _) = three_commits(tmp.path())?;
        drop(desk);
        let layout = Layout::new(tmp.path());
        fs::write(layout.open_segment(SegmentId(2)), bytes).expect("a file");
        assert_eq!(damage_for_good(tmp.path())?, [0, 0, 0], "file {number}");
        assert!(layout.segment(SegmentId(3)).exists(), "its number is not used again");
        assert_eq!(Reader::open(tmp.path())?.view(Seq::MAX).list(NodeId::ROOT)?.len(), 4);
    }
    Ok(())
}

/// The other side: one that was longer, or that its successor knows to have held something.
#[test]
fn a_segment_that_held_something_and_has_no_header_is_damage() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (desk, _) = three_commits(tmp.path())?;
    drop(desk);
    let layout = Layout::new(tmp.path());
    fs::write(layout.open_segment(SegmentId(2)), [0; 200]).expect("a file");
    assert_eq!(damage_for_good(tmp.path())?, [1, 1, 1], "longer than any header");

    let tmp = tempfile::tempdir().expect("a temporary directory");
    let limits = Limits { segment_bytes_max: 1000, ..Limits::default() };
    let mut desk = Desk::open_with(tmp.path(), 0, limits)?;
    for (number, name) in ["a", "b", "c"].iter().enumerate() {
        desk.create(name, &text(9000, number as u64))?;
        desk.commit()?;
    }
    drop(desk);
    let layout = Layout::new(tmp.path());
    fs::remove_file(layout.segment(SegmentId(2))).expect("a segment");
    fs::write(layout.segment(SegmentId(2)), [0; 40]).expect("a file");
    fs::remove_dir_all(layout.index()).expect("the index");
    assert_eq!(damage_for_good(tmp.path())?, [1, 1, 1], "its successor names its end");
    Ok(())
}

//! The end of the log, on both sides of the tail rule: what is an ordinary end, and what is damage.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use asof_journal::append::Limits;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::storage::{AppendFile, Layout, OsStorage, ReadFile, Storage};
use asof_journal::types::{NodeId, SegmentId, Seq};
use asof_journal::{Error, Result};

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

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).expect("a segment");
    bytes[at as usize] ^= 0x10;
    fs::remove_file(path).expect("a segment");
    fs::write(path, bytes).expect("a segment");
}

/// Whether a reader and a writer report damage, and a reader again after the writer has gone on and ended.
fn damage_for_good(dir: &Path) -> Result<[bool; 3]> {
    let read = !Reader::open(dir)?.report().damage.is_empty();
    let mut desk = Desk::open(dir, 1000)?;
    let written = !desk.journal.report.damage.is_empty();
    desk.create("after", b"x")?;
    desk.commit()?;
    let now = clock(desk.now);
    desk.journal.appender.close(&now)?;
    drop((desk.journal.head, desk.journal.compactor));
    fs::remove_dir_all(Layout::new(dir).index()).expect("the index");
    let reader = Reader::open(dir)?;
    assert!(content_of(&reader, "/after", Seq::MAX)?.is_some(), "the writer went on");
    Ok([read, written, !reader.report().damage.is_empty()])
}

/// A footer says that everything before it was durable: its last batch is not a torn tail.
#[test]
fn damage_at_the_end_of_a_sealed_segment_is_named_and_never_cut_away() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (desk, ends) = three_commits(tmp.path())?;
    let now = clock(desk.now);
    desk.journal.appender.close(&now)?;
    drop((desk.journal.head, desk.journal.compactor));
    // The last eight bytes of a batch may be padding, which holds nothing.
    flip(&Layout::new(tmp.path()).segment(SegmentId(1)), ends[2] - 9);
    fs::remove_dir_all(Layout::new(tmp.path()).index()).expect("the index");
    assert_eq!(damage_for_good(tmp.path())?, [true; 3]);
    let reader = Reader::open(tmp.path())?;
    assert!(content_of(&reader, "/b", Seq::MAX)?.is_some(), "it costs what depends on it and nothing else");
    Ok(())
}

/// The same byte where the process ended before anything attested that the batch was durable.
#[test]
fn a_bad_last_batch_that_nothing_attests_is_an_ordinary_end() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (desk, ends) = three_commits(tmp.path())?;
    drop(desk);
    flip(&Layout::new(tmp.path()).open_segment(SegmentId(1)), ends[2] - 9);
    fs::remove_dir_all(Layout::new(tmp.path()).index()).expect("the index");
    assert_eq!(damage_for_good(tmp.path())?, [false; 3]);
    assert_eq!(Reader::open(tmp.path())?.view(Seq::MAX).list(NodeId::ROOT)?.len(), 3);
    Ok(())
}

/// One batch earlier: the last one attests that it was durable.
#[test]
fn a_bad_batch_that_the_next_one_attests_is_damage() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (desk, ends) = three_commits(tmp.path())?;
    drop(desk);
    flip(&Layout::new(tmp.path()).open_segment(SegmentId(1)), ends[1] - 9);
    fs::remove_dir_all(Layout::new(tmp.path()).index()).expect("the index");
    assert_eq!(damage_for_good(tmp.path())?, [true; 3]);
    let reader = Reader::open(tmp.path())?;
    assert!(content_of(&reader, "/c", Seq::MAX)?.is_some(), "what lies behind counts");
    Ok(())
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
        assert_eq!(damage_for_good(tmp.path())?, [false; 3], "file {number}");
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
    assert_eq!(damage_for_good(tmp.path())?, [true; 3], "longer than any header");

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
    assert_eq!(damage_for_good(tmp.path())?, [true; 3], "its successor names its end");
    Ok(())
}

/// The real storage, but some bytes of one file cannot be read.
struct Unreadable {
    file: OsString,
    bytes: Range<u64>,
}

struct Refusing {
    file: Arc<dyn ReadFile>,
    bytes: Range<u64>,
}

impl ReadFile for Refusing {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.bytes.end && self.bytes.start < offset + buffer.len() as u64 {
            return Err(io::Error::other("a bad sector"));
        }
        self.file.read_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Storage for Unreadable {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsStorage.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        OsStorage.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let file = OsStorage.open(path)?;
        if path.file_name() != Some(&self.file) {
            return Ok(file);
        }
        Ok(Arc::new(Refusing { file, bytes: self.bytes.clone() }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        OsStorage.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsStorage.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsStorage.remove(path)
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        OsStorage.truncate(path, len)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsStorage.sync_dir(dir)
    }
    fn settle(&self, path: &Path) -> io::Result<()> {
        OsStorage.settle(path)
    }
    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        OsStorage.make_read_only(path)
    }
}

/// What a medium does not give at the moment may be whole: whoever took it for torn would begin the next segment before
/// it, and it would be void for ever.
#[test]
fn bytes_that_cannot_be_read_are_not_taken_for_a_torn_tail() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    desk.create("a", b"1")?;
    desk.commit()?;
    let before = desk.journal.appender.applied().end.offset;
    // Does not compress, so that the walk from header to header does not come near its end.
    let mut state = 1u64;
    let noise: Vec<u8> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    desk.create("b", &noise)?;
    let last = desk.commit()?;
    drop(desk);
    let layout = Layout::new(tmp.path());
    // An index that has come so far attests that it is durable, and then it need not be read.
    std::fs::remove_dir_all(layout.index()).expect("the index");
    let path = layout.open_segment(SegmentId(1));
    let file = path.file_name().expect("a name").to_os_string();
    let storage = Arc::new(Unreadable { file, bytes: before + 150_000..before + 150_001 });
    let opened = Journal::open_on(storage, tmp.path(), &clock(100), Limits::default());
    assert!(matches!(opened, Err(Error::Io { .. })), "the log would end at {before}");
    let reader = Reader::open(tmp.path())?;
    assert_eq!(reader.head(), last);
    assert!(content_of(&reader, "/b", last)?.as_ref() == Some(&noise));
    Ok(())
}

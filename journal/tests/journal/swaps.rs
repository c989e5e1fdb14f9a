//! Frames that are whole and in the wrong place: every checksum holds, and still nothing wrong may be given back.

use std::fs;
use std::path::Path;

use asof_journal::reader::Reader;
use asof_journal::segments::{FrameWalk, SegmentFile};
use asof_journal::storage::{Layout, OsStorage};
use asof_journal::types::{SegmentId, Seq};
use asof_journal::{Error, Result};

use crate::desk::{Desk, clock, content_of};

/// Bytes that do not compress, so that blocks of one length have frames of one length.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..120_000).map(|_| next()).collect()
}

/// Exchanges the first two frames of a segment, which have one length.
fn swap_first_two(path: &Path) -> Result<()> {
    let segment = SegmentFile::open(&OsStorage, path.to_path_buf(), SegmentId(1))?;
    let mut walk = FrameWalk::new(&segment, segment.start, segment.first_chain(), segment.len()?);
    let (one, other) = (walk.next_frame()?.expect("a frame"), walk.next_frame()?.expect("another"));
    let len = one.header.frame_len() as usize;
    assert_eq!(len, other.header.frame_len() as usize, "frames of one length");
    let mut bytes = fs::read(path).expect("the segment");
    let (front, back) = bytes.split_at_mut(other.offset as usize);
    front[one.offset as usize..][..len].swap_with_slice(&mut back[..len]);
    fs::remove_file(path).expect("the segment");
    fs::write(path, bytes).expect("the segment");
    Ok(())
}

#[test]
fn frames_that_changed_places_are_named_and_never_read_for_each_other() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    desk.create("a", &noise(1))?;
    desk.create("b", &noise(2))?;
    desk.commit()?;
    desk.create("c", b"behind them")?;
    desk.commit()?;
    let now = clock(desk.now);
    desk.journal.appender.close(&now)?;
    drop((desk.journal.head, desk.journal.compactor));
    let layout = Layout::new(tmp.path());
    swap_first_two(&layout.segment(SegmentId(1)))?;
    for index in [true, false] {
        if !index {
            fs::remove_dir_all(layout.index()).expect("the index");
        }
        let reader = Reader::open(tmp.path())?;
        // With an index nobody walks over them.
        let damage = reader.report().damage.iter().any(|damage| damage.what.contains("chain"));
        assert_eq!(damage, !index, "{:?}", reader.report().damage);
        for name in ["/a", "/b"] {
            let read = content_of(&reader, name, Seq::MAX);
            assert!(matches!(read, Err(Error::DamagedBlock { .. })), "{name}, index: {index}");
        }
        assert_eq!(content_of(&reader, "/c", Seq::MAX)?, Some(b"behind them".to_vec()), "index: {index}");
    }
    Ok(())
}

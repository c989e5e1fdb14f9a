//! Values at the ends of their ranges: what a filesystem can hold, the journal can.

use std::fs;

use asof_journal::Result;
use asof_journal::content::{Piece, Source};
use asof_journal::ingest::Ingest;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{Content, Extent, Group, Instant, Kind, NodeId, Op, Seq};

use crate::desk::{Desk, content_of, version};

/// tmpfs and btrfs keep times before 1677, which become the least nanosecond that there is. A batch that held one was
/// written, called durable, and could not be read again: everything in it was lost with the index.
#[test]
fn a_time_before_1677_does_not_cost_its_batch() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    desk.create("neighbour", b"in the same batch")?;
    for (name, time) in [("before", i64::MIN), ("after", i64::MAX)] {
        let node = desk.journal.head.new_node();
        let bind = Op::Bind { dir: NodeId::ROOT, name: name.into(), node, kind: Kind::File, succeeds: None };
        let mut version = version(Content::Inline(b"old".to_vec()), 3);
        (version.meta.mtime, version.meta.ctime) = (Instant(time), Instant(time));
        let ops = vec![bind, Op::Version { node, version }];
        desk.journal.head.submit(vec![Group { ops, ..Group::default() }])?;
    }
    desk.commit()?;
    for index in [true, false] {
        if !index {
            fs::remove_dir_all(Layout::new(tmp.path()).index()).expect("the index");
        }
        let reader = Reader::open(tmp.path())?;
        assert_eq!(reader.report().damage, []);
        assert_eq!(content_of(&reader, "/neighbour", Seq::MAX)?.as_deref(), Some(&b"in the same batch"[..]));
        let view = reader.view(Seq::MAX);
        for (path, time) in [("/before", i64::MIN), ("/after", i64::MAX)] {
            let entry = view.resolve(path.as_bytes())?.expect("a file");
            let meta = view.version(entry.node)?.expect("a version").version.meta;
            assert_eq!((meta.mtime, meta.ctime), (Instant(time), Instant(time)), "{path}");
        }
    }
    Ok(())
}

/// A hole, some bytes, the end.
struct Holey(Option<u64>, bool);

impl Source for Holey {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Piece> {
        if let Some(hole) = self.0.take() {
            return Ok(Piece::Hole(hole));
        }
        if std::mem::replace(&mut self.1, true) {
            return Ok(Piece::End);
        }
        buffer[..4].copy_from_slice(b"tail");
        Ok(Piece::Data(4))
    }
}

/// A file can be 8 EiB long (`truncate -s 7E` on tmpfs, xfs, btrfs). Its hole lost its upper two bits on the way to disk.
#[test]
fn a_hole_of_any_length_comes_back() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let holes = [1, (1 << 62) - 1, 1 << 62, 7 << 60, i64::MAX as u64 - 4];
    for (n, hole) in holes.into_iter().enumerate() {
        let node = desk.journal.head.new_node();
        let mut ingest = Ingest::new(&desk.journal.head);
        let stored = ingest.store(&mut Holey(Some(hole), false), None).expect("stored");
        assert_eq!(stored.size, hole + 4);
        let name = format!("f{n}").into_bytes();
        let bind = Op::Bind { dir: NodeId::ROOT, name, node, kind: Kind::File, succeeds: None };
        let version = version(stored.content, stored.size);
        ingest.submit(Group { ops: vec![bind, Op::Version { node, version }], ..Group::default() })?;
        ingest.flush()?;
    }
    desk.commit()?;
    let reader = Reader::open(tmp.path())?;
    let view = reader.view(Seq::MAX);
    for (n, hole) in holes.into_iter().enumerate() {
        let entry = view.resolve(format!("/f{n}").as_bytes())?.expect("a file");
        let extents = view.extents(&view.version(entry.node)?.expect("a version").version)?;
        assert!(matches!(extents[..], [Extent::Hole { len }, Extent::Block { len: 4, .. }] if len == hole));
    }
    Ok(())
}

/// A batch that is too long for a frame was written all the same, called durable, and refused by every reader.
#[test]
fn a_batch_that_nobody_could_read_is_refused_aloud() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    desk.create("before", b"committed")?;
    desk.commit()?;
    let node = desk.journal.head.new_node();
    let mut version = version(Content::None, 0);
    version.meta.xattrs = (0..70).map(|n| (vec![b'a', n], vec![n; 1 << 20])).collect();
    let ops = vec![Op::Version { node, version }];
    desk.journal.head.submit(vec![Group { ops, ..Group::default() }])?;
    assert!(desk.commit().is_err());
    let reader = Reader::open(tmp.path())?;
    assert_eq!((reader.report().damage.len(), reader.head()), (0, Seq(1)));
    assert_eq!(content_of(&reader, "/before", Seq::MAX)?.as_deref(), Some(&b"committed"[..]));
    Ok(())
}

//! Values at the ends of their ranges: what a filesystem can hold, the journal can.

use std::fs;

use asof_journal::Result;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{Content, Group, Instant, Kind, NodeId, Op, Seq};

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

//! When an entry was there last, where the way to it was lost in more than one step.

use std::path::Path;

use asof_journal::Result;
use asof_journal::find::{Gone, Search};
use asof_journal::reader::Reader;
use asof_journal::types::{Group, Kind, NodeId, Op, Seq, Unbound};

use crate::desk::Desk;

fn bind(dir: NodeId, name: &str, node: NodeId, kind: Kind) -> Op {
    Op::Bind { dir, name: name.into(), node, kind, succeeds: None }
}

fn unbind(dir: NodeId, name: &str, node: NodeId, why: Unbound) -> Op {
    Op::Unbind { dir, name: name.into(), node, kind: Kind::Dir, why }
}

/// Commits each group at an instant of its own.
fn write(dir: &Path, groups: Vec<Vec<Op>>) -> Result<Reader> {
    let mut desk = Desk::open(dir, 0)?;
    for ops in groups {
        desk.journal.head.submit(vec![Group { ops, ..Group::default() }])?;
        desk.commit()?;
    }
    Reader::open(dir)
}

/// Last `Seq`, path, and why it is gone.
type Seen = Option<(Seq, String, Option<Gone>)>;

fn last_seen(reader: &Reader, at: u64, dir: NodeId, name: &str) -> Result<Seen> {
    let sighting = Search::new(reader, Seq(at)).last_seen(dir, name.as_bytes())?;
    Ok(sighting.map(|seen| (seen.last, String::from_utf8_lossy(&seen.path).into_owned(), seen.gone)))
}

#[test]
fn what_moved_below_a_directory_that_was_gone_was_there_until_it_moved() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (old, work, file) = (NodeId(101), NodeId(102), NodeId(103));
    for (n, why) in [Unbound::Deleted, Unbound::Uncovered].into_iter().enumerate() {
        let groups = vec![
            vec![bind(NodeId::ROOT, "old", old, Kind::Dir)],
            vec![unbind(NodeId::ROOT, "old", old, why)],
            vec![bind(NodeId::ROOT, "work", work, Kind::Dir)],
            vec![bind(work, "f", file, Kind::File)],
            vec![unbind(NodeId::ROOT, "work", work, Unbound::Moved), bind(old, "work", work, Kind::Dir)],
            vec![bind(NodeId::ROOT, "other", NodeId(104), Kind::Dir)],
        ];
        let reader = write(&tmp.path().join(n.to_string()), groups)?;
        let there = Some((Seq(4), "/work/f".to_owned(), None));
        assert_eq!(last_seen(&reader, 4, work, "f")?, there);
        let gone = Some((Seq(4), "/work/f".to_owned(), Some(Gone::WithDirectory(why))));
        assert_eq!(last_seen(&reader, 5, work, "f")?, gone);
        assert_eq!(last_seen(&reader, 6, work, "f")?, gone);
        assert_eq!(last_seen(&reader, 6, old, "work")?, None, "it never had a path there");
    }
    Ok(())
}

/// Moves are told late by whoever saw one of them: for a while each of two directories lies below the other.
#[test]
fn what_lies_in_a_circle_was_there_until_that_was_closed() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (one, other, file) = (NodeId(101), NodeId(102), NodeId(103));
    let reader = write(
        tmp.path(),
        vec![
            vec![bind(NodeId::ROOT, "one", one, Kind::Dir), bind(NodeId::ROOT, "other", other, Kind::Dir)],
            vec![bind(one, "f", file, Kind::File)],
            vec![unbind(NodeId::ROOT, "one", one, Unbound::Moved), bind(other, "one", one, Kind::Dir)],
            vec![unbind(NodeId::ROOT, "other", other, Unbound::Moved), bind(one, "other", other, Kind::Dir)],
            vec![unbind(other, "one", one, Unbound::Moved), bind(NodeId::ROOT, "two", one, Kind::Dir)],
        ],
    )?;
    let gone = Some(Gone::WithDirectory(Unbound::Moved));
    assert_eq!(last_seen(&reader, 3, one, "f")?, Some((Seq(3), "/other/one/f".to_owned(), None)));
    assert_eq!(last_seen(&reader, 4, one, "f")?, Some((Seq(3), "/other/one/f".to_owned(), gone)));
    assert_eq!(last_seen(&reader, 5, one, "f")?, Some((Seq(5), "/two/f".to_owned(), None)));
    Ok(())
}

//! Quality of versions: what is known of one by now, and which clean one came before.

use asof_journal::Result;
use asof_journal::history::{self, What};
use asof_journal::quality;
use asof_journal::reader::Reader;
use asof_journal::types::{Content, Group, Kind, NodeId, Op, Quality, Seq, Unbound, Version};

use crate::desk::{Desk, version};

#[test]
fn quality_is_what_is_known_of_a_version_by_now() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let head = desk.journal.head.clone();
    let mut say = |node, bytes: &[u8], quality, ops: Vec<Op>| -> Result<Seq> {
        let content = Content::Inline(bytes.to_vec());
        let version = Version { quality, ..version(content, bytes.len() as u64) };
        let ops = ops.into_iter().chain([Op::Version { node, version }]).collect();
        head.submit(vec![Group { ops, ..Group::default() }])?;
        desk.commit()
    };
    let bind = |name: &str, node, succeeds| Op::Bind {
        dir: NodeId::ROOT,
        name: name.into(),
        node,
        kind: Kind::File,
        succeeds,
    };
    let (first, second) = (head.new_node(), head.new_node());
    let clean = say(first, b"whole", Quality::Clean, vec![bind("f", first, None)])?;
    let torn = say(first, b"mixed", Quality::Torn, Vec::new())?;
    // A program saves by renaming another file over it; that is captured while it is still open, and then again.
    let named = say(second, b"half", Quality::Torn, vec![bind("f.tmp", second, None)])?;
    let ops = vec![
        Op::Unbind {
            dir: NodeId::ROOT,
            name: b"f.tmp".into(),
            node: second,
            kind: Kind::File,
            why: Unbound::Moved,
        },
        Op::Unbind {
            dir: NodeId::ROOT,
            name: b"f".into(),
            node: first,
            kind: Kind::File,
            why: Unbound::Deleted,
        },
        bind("f", second, Some(first)),
    ];
    let open = say(second, b"saved", Quality::Provisional, ops)?;
    let closed = say(second, b"saved", Quality::Clean, Vec::new())?;
    let unread = Version { quality: Quality::Torn, ..version(Content::Unread(13), 9) };
    head.submit(vec![Group {
        ops: vec![Op::Version { node: second, version: unread }],
        ..Group::default()
    }])?;
    let last = desk.commit()?;

    let reader = Reader::open(tmp.path())?;
    let by_now = |node, at| -> Result<Quality> {
        let found = reader.view(at).version(node)?.expect("a version");
        quality::by_now(&reader, node, &found)
    };
    assert_eq!(by_now(first, torn)?, Quality::Torn);
    assert_eq!(by_now(second, named)?, Quality::Torn, "what came later has other bytes");
    assert_eq!(by_now(second, open)?, Quality::Clean, "the same bytes were found clean later");
    let last_clean = |node, at| -> Result<Option<Seq>> {
        Ok(quality::last_clean(&reader, node, at)?.map(|found| found.seq))
    };
    assert_eq!(last_clean(first, torn)?, Some(clean));
    assert_eq!(last_clean(second, named)?, None);
    assert_eq!(last_clean(second, open)?, Some(open));
    assert_eq!(last_clean(second, last)?, Some(closed), "what could not be read is not clean");

    let qualities = |changes: &[history::Change]| -> Vec<(Seq, Quality, bool)> {
        let of = |change: &history::Change| match change.what {
            What::Modified { quality, unread, .. } => Some((change.seq, quality, unread)),
            _ => None,
        };
        changes.iter().filter_map(of).collect()
    };
    let expected = [
        (last, Quality::Torn, true),
        (open, Quality::Clean, false),
        (named, Quality::Torn, false),
        (torn, Quality::Torn, false),
        (clean, Quality::Clean, false),
    ];
    assert_eq!(qualities(&history::of_path(&reader, b"/f", Seq::MAX)?), expected);
    let mut all = Vec::new();
    history::below(&reader, b"/", Seq::ZERO, Seq::MAX, &mut |change| {
        all.push(change);
        true
    })?;
    // That a file came to be says that it has content; more is said where that cannot be trusted.
    assert_eq!(qualities(&all), expected[..4]);
    Ok(())
}

#[test]
fn before_an_atomic_save_that_was_never_clean_there_is_the_file_before() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let head = desk.journal.head.clone();
    let old = desk.create("f", b"one")?;
    let clean = desk.commit()?;
    let new = head.new_node();
    let unbind = Op::Unbind {
        dir: NodeId::ROOT,
        name: b"f".into(),
        node: old,
        kind: Kind::File,
        why: Unbound::Deleted,
    };
    let bind =
        Op::Bind { dir: NodeId::ROOT, name: b"f".into(), node: new, kind: Kind::File, succeeds: Some(old) };
    let torn = Version { quality: Quality::Torn, ..version(Content::Inline(b"two".into()), 3) };
    let ops = vec![unbind, bind, Op::Version { node: new, version: torn }];
    head.submit(vec![Group { ops, ..Group::default() }])?;
    let saved = desk.commit()?;
    let reader = Reader::open(tmp.path())?;
    assert_eq!(quality::last_clean(&reader, new, saved)?.map(|found| found.seq), Some(clean));
    Ok(())
}

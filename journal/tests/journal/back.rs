//! History a little at a time: the same as all of it, and no more than was asked for.

use std::cell::Cell;

use asof_journal::Result;
use asof_journal::history::{self, Change, What};
use asof_journal::reader::Reader;
use asof_journal::types::{Kind, NodeId, Op, Seq, Unbound};

use crate::desk::Desk;

/// Batches of one to three groups, with and without an index.
fn journal(dir: &std::path::Path) -> Result<Vec<Change>> {
    let mut desk = Desk::open(dir, 0)?;
    for n in 0..60 {
        for m in 0..=n % 3 {
            desk.create(&format!("{n}-{m}"), format!("{n}").as_bytes())?;
        }
        desk.commit()?;
    }
    drop(desk);
    let reader = Reader::open(dir)?;
    let mut all = Vec::new();
    history::below(&reader, b"/", Seq::ZERO, Seq::MAX, &mut |change| {
        all.push(change);
        true
    })?;
    assert_eq!(all.len(), 120);
    assert!(all.windows(2).all(|pair| pair[0].seq > pair[1].seq));
    Ok(all)
}

#[test]
fn slices_of_any_size_make_up_the_whole() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let all = journal(dir.path())?;
    let reader = Reader::open(dir.path())?;
    for (slice, after, until) in [(0, 0, u64::MAX), (1, 0, 120), (7, 33, 90), (50, 1, 119), (500, 0, 200)] {
        let (mut reached, mut seen, mut slices) = (Seq(until), Vec::new(), 0);
        while reached > Seq(after) {
            let left = Cell::new(slice);
            let wants = || left.replace(left.get() - 1) > 0;
            let until = reached;
            reached = history::below_while(&reader, b"/", Seq(after), until, &wants, &mut |change| {
                seen.push(change);
                true
            })?;
            assert!(reached < until, "every slice gets further");
            slices += 1;
        }
        let wanted: Vec<Change> =
            all.iter().filter(|change| change.seq.0 > after && change.seq.0 <= until).cloned().collect();
        assert_eq!(seen, wanted, "slices of {slice}");
        assert_eq!(slices, wanted.len().div_ceil(slice as usize + 1).max(1), "slices of {slice}");
    }
    Ok(())
}

#[test]
fn nothing_is_looked_at_behind_what_was_asked_for() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    journal(dir.path())?;
    let reader = Reader::open(dir.path())?;
    let asked = Cell::new(0);
    let wants = || {
        asked.set(asked.get() + 1);
        asked.get() < 5
    };
    // Nothing below this path ever happened: the way back ends all the same.
    let mut seen = 0;
    let reached = history::below_while(&reader, b"/nowhere", Seq::ZERO, Seq::MAX, &wants, &mut |_| {
        seen += 1;
        true
    })?;
    assert_eq!((reached, asked.get(), seen), (Seq(115), 5, 0));
    // A visitor that has enough ends it at once, and the rest goes on behind what it saw.
    let reached = history::below_while(&reader, b"/", Seq::ZERO, Seq::MAX, &|| true, &mut |_| false)?;
    assert_eq!(reached, Seq(119));
    Ok(())
}

#[test]
fn what_leaves_a_directory_is_part_of_its_history() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(dir.path(), 0)?;
    let (one, other) = (desk.journal.head.new_node(), desk.journal.head.new_node());
    for (node, name) in [(one, "one"), (other, "other")] {
        let bind = Op::Bind { dir: NodeId::ROOT, name: name.into(), node, kind: Kind::Dir, succeeds: None };
        desk.journal
            .head
            .submit(vec![asof_journal::types::Group { ops: vec![bind], ..Default::default() }])?;
    }
    let node = desk.journal.head.new_node();
    let bind = |dir| Op::Bind { dir, name: b"f".to_vec(), node, kind: Kind::File, succeeds: None };
    desk.write(node, b"x", vec![bind(one)])?;
    desk.commit()?;
    let gone = Op::Unbind { dir: one, name: b"f".to_vec(), node, kind: Kind::File, why: Unbound::Moved };
    desk.journal
        .head
        .submit(vec![asof_journal::types::Group { ops: vec![gone, bind(other)], ..Default::default() }])?;
    desk.commit()?;
    drop(desk);
    let reader = Reader::open(dir.path())?;
    let mut newest = None;
    history::below(&reader, b"/one", Seq::ZERO, Seq::MAX, &mut |change| {
        newest = Some(change);
        false
    })?;
    let newest = newest.expect("a change");
    assert_eq!(
        (newest.path.as_slice(), newest.what),
        (&b"/other/f"[..], What::Renamed { from: b"/one/f".to_vec() })
    );
    Ok(())
}

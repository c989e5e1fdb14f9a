//! Gaps: found by instant and path, open while they last.

use asof_journal::Result;
use asof_journal::reader::Reader;
use asof_journal::types::{Gap, GapReason, Group, Op};

use crate::desk::{Desk, clock};

#[test]
fn gaps_are_found_by_instant_and_path() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 100)?;
    desk.create("a", b"1")?;
    let before = desk.commit()?;
    let gap = Gap {
        scope: b"/home/x".to_vec(),
        from: clock(101).wall,
        until: clock(200).wall,
        reason: GapReason::AgentDown,
        detail: String::new(),
    };
    desk.journal.head.submit(vec![Group { ops: vec![Op::Gap(gap.clone())], ..Group::default() }])?;
    desk.commit()?;
    let reader = Reader::open(tmp.path())?;
    let view = reader.view(before).asked_for(clock(150).wall);
    assert_eq!(view.gaps(b"/home")?, vec![gap.clone()]);
    assert_eq!(view.gaps(b"/home/x/y")?, vec![gap]);
    assert_eq!(view.gaps(b"/home/y")?, vec![]);
    assert_eq!(view.asked_for(clock(300).wall).gaps(b"/home")?, vec![]);
    assert_eq!(reader.info()?.gaps, 1);
    Ok(())
}

#[test]
fn a_gap_that_lasts_is_open_until_it_is_over() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(dir.path(), 0)?;
    let open = Gap {
        scope: b"/home/x".to_vec(),
        from: clock(10).wall,
        until: Gap::OPEN,
        reason: GapReason::Unwatched,
        detail: "the limit".into(),
    };
    let other = Gap { scope: b"/home/y".to_vec(), ..open.clone() };
    for gap in [&open, &other] {
        desk.journal.head.submit(vec![Group { ops: vec![Op::Gap(gap.clone())], ..Group::default() }])?;
    }
    desk.commit()?;
    let reader = Reader::open(dir.path())?;
    let view = reader.view(reader.head()).asked_for(clock(5000).wall);
    assert_eq!((view.gaps(b"/home/x")?, reader.info()?.gaps), (vec![open.clone()], 0));
    let closed = Gap { until: clock(60).wall, ..open.clone() };
    let again = Gap { from: clock(70).wall, ..open.clone() };
    for gap in [&closed, &again] {
        desk.journal.head.submit(vec![Group { ops: vec![Op::Gap(gap.clone())], ..Group::default() }])?;
    }
    desk.commit()?;
    let reader = Reader::open(dir.path())?;
    let view = reader.view(reader.head());
    assert_eq!(view.all_gaps()?, vec![closed.clone(), other, again]);
    assert_eq!(view.asked_for(clock(20).wall).gaps(b"/home/x/f")?, vec![closed]);
    assert_eq!(view.asked_for(clock(65).wall).gaps(b"/home/x/f")?, vec![]);
    assert_eq!(reader.info()?.gaps, 1, "those that are over");
    Ok(())
}

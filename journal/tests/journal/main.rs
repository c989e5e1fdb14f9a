//! The journal as a whole: what is submitted is read back, after every kind of end and from every kind of index.

#![expect(clippy::expect_used, reason = "a test that cannot set itself up has failed")]

mod back;
mod desk;
mod ends;
mod extremes;
mod finds;
mod gaps;
mod pages;
mod quality;
mod swaps;
mod tail;

use std::fs;
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::history::{self, What};
use asof_journal::open::{Journal, WriterLock};
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{ClockReading, Group, Kind, NodeId, Op, Seq, Unbound};
use asof_journal::{Error, Result};
use desk::{Desk, clock, content_of, text};

/// What an instant must show: every name with its content, `None` where it is gone.
type Shown = (Seq, Vec<(&'static str, Option<Vec<u8>>)>);

/// A history with contents of every form; gives what each instant must show.
fn write_history(desk: &mut Desk) -> Result<Vec<Shown>> {
    let sizes = [0, 1, 512, 513, 10_000, 262_144, 262_145, 1_000_000];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut now: Vec<(&'static str, Option<Vec<u8>>)> = Vec::new();
    let mut instants = Vec::new();
    let mut nodes = Vec::new();
    for (name, len) in names.iter().zip(sizes) {
        let bytes = text(len, len as u64);
        nodes.push(desk.create(name, &bytes)?);
        now.push((name, Some(bytes)));
    }
    instants.push((desk.commit()?, now.clone()));
    for round in 0..20u8 {
        for (node, (_, bytes)) in nodes.iter().zip(&mut now) {
            let Some(bytes) = bytes else { continue };
            let at = bytes.len() / 3;
            bytes.splice(at..at, [b'0' + round, b'\n']);
            desk.write(*node, bytes, Vec::new())?;
        }
        instants.push((desk.commit()?, now.clone()));
    }
    let unbind = Op::Unbind {
        dir: NodeId::ROOT,
        name: b"a".to_vec(),
        node: nodes[0],
        kind: Kind::File,
        why: Unbound::Deleted,
    };
    desk.journal.head.submit(vec![Group { ops: vec![unbind], ..Group::default() }])?;
    now[0].1 = None;
    instants.push((desk.commit()?, now));
    Ok(instants)
}

fn assert_history(dir: &Path, instants: &[Shown]) -> Result<()> {
    let reader = Reader::open(dir)?;
    assert_eq!(reader.report().damage, []);
    for (seq, files) in instants {
        for (name, bytes) in files {
            let found = content_of(&reader, &format!("/{name}"), *seq)?;
            assert!(found == *bytes, "{name} at {seq}: {:?} bytes", found.map(|f| f.len()));
        }
        let live = files.iter().filter(|(_, bytes)| bytes.is_some()).count();
        assert_eq!(reader.view(*seq).list(NodeId::ROOT)?.len(), live, "at {seq}");
    }
    Ok(())
}

#[test]
fn every_instant_reads_back_while_open_after_a_close_and_without_an_index() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0)?;
    let instants = write_history(&mut desk)?;
    assert_history(&dir, &instants)?;
    let now = clock(desk.now);
    desk.journal.appender.close(&now)?;
    drop((desk.journal.head, desk.journal.compactor));
    assert_history(&dir, &instants)?;

    fs::remove_dir_all(Layout::new(&dir).index()).expect("the index");
    assert_history(&dir, &instants)?;
    let desk = Desk::open(&dir, 1000)?;
    assert!(desk.journal.report.rebuilt.is_some());
    assert_history(&dir, &instants)
}

#[test]
fn small_edits_are_stored_as_short_deltas() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let mut bytes = text(700_000, 7);
    let node = desk.create("f", &bytes)?;
    desk.commit()?;
    let size = || -> u64 {
        let names = fs::read_dir(Layout::new(tmp.path()).segments()).expect("segments");
        names.map(|entry| entry.expect("a segment").metadata().expect("its size").len()).sum()
    };
    for round in 0..40 {
        let before = size();
        let at = 1000 + round * 15_000;
        bytes.splice(at..at, *b"an edited line\n");
        desk.write(node, &bytes, Vec::new())?;
        desk.commit()?;
        let grown = size() - before;
        // One edit in sixteen ends its chain and stores a chunk whole.
        assert!(grown <= 4096 || grown < 100_000 && round >= 15, "round {round}: {grown} bytes");
    }
    let reader = Reader::open(tmp.path())?;
    assert!(content_of(&reader, "/f", Seq::MAX)? == Some(bytes));
    Ok(())
}

/// Copies a journal as a crash would leave it: the newest segment cut to `len`, the index as it happens to be.
fn crash(from: &Path, to: &Path, len: u64) {
    let copy = |dir: &str| {
        fs::create_dir_all(to.join(dir)).expect("a directory");
        for entry in fs::read_dir(from.join(dir)).expect("a directory") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), to.join(dir).join(entry.file_name())).expect("a copy");
        }
    };
    copy("segments");
    copy("index");
    fs::copy(from.join("journal.json"), to.join("journal.json")).expect("the manifest");
    let last =
        fs::read_dir(to.join("segments")).expect("segments").map(|e| e.expect("a segment").path()).max();
    let file = fs::OpenOptions::new().write(true).open(last.expect("a segment")).expect("the newest");
    file.set_len(len).expect("cut");
}

#[test]
fn a_log_cut_anywhere_shows_exactly_the_batches_that_are_whole() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0)?;
    let mut ends = Vec::new();
    for i in 0..6u64 {
        desk.create(&format!("f{i}"), &text(600 + i as usize * 300, i))?;
        let seq = desk.commit()?;
        ends.push((seq, desk.journal.appender.applied().end.offset));
    }
    let first = ends[0].1;
    let last = ends[5].1;
    let cuts = (first - 40..last)
        .step_by(61)
        .chain(ends.iter().map(|end| end.1))
        .chain(ends.iter().map(|end| end.1 - 1));
    for (i, cut) in cuts.enumerate() {
        let copy = tmp.path().join(format!("c{i}"));
        crash(&dir, &copy, cut);
        // The padding behind a frame carries nothing: without it a batch is whole all the same.
        let whole = ends.iter().filter(|(_, end)| *end <= cut + 7).count();
        if ends.iter().any(|(_, end)| (1..8).contains(&(end - cut.min(*end)))) {
            fs::remove_dir_all(copy).expect("the copy");
            continue;
        }
        let reader = Reader::open(&copy)?;
        assert_eq!(reader.view(Seq::MAX).list(NodeId::ROOT)?.len(), whole, "reader, cut at {cut}");

        // A writer goes on in a new segment, and what it adds is there beside what was whole.
        let mut again = Desk::open(&copy, 100)?;
        assert_eq!(again.journal.report.damage, [], "cut at {cut}");
        again.create("after", &text(5000, 99))?;
        again.commit()?;
        drop(again);
        let reader = Reader::open(&copy)?;
        assert_eq!(reader.view(Seq::MAX).list(NodeId::ROOT)?.len(), whole + 1, "writer, cut at {cut}");
        assert!(content_of(&reader, "/after", Seq::MAX)? == Some(text(5000, 99)));
        fs::remove_dir_all(copy).expect("the copy");
    }
    Ok(())
}

#[test]
fn a_damaged_byte_in_old_history_costs_only_what_depends_on_it() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0)?;
    for i in 0..8u64 {
        // Longer than a pack takes, so that each has a frame of its own.
        desk.create(&format!("f{i}"), &text(120_000, i))?;
        desk.commit()?;
    }
    let now = clock(desk.now);
    desk.journal.appender.close(&now)?;
    drop((desk.journal.head, desk.journal.compactor));
    let segment = Layout::new(&dir).segment(asof_journal::types::SegmentId(1));
    let good = fs::read(&segment).expect("the segment");
    for at in (200..good.len()).step_by(good.len() / 40) {
        let copy = tmp.path().join("c");
        crash(&dir, &copy, good.len() as u64);
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        let damaged = copy.join("segments").join(segment.file_name().expect("a name"));
        fs::remove_file(&damaged).expect("the segment");
        fs::write(&damaged, bad).expect("the segment");
        for index in [true, false] {
            if !index {
                fs::remove_dir_all(copy.join("index")).expect("the index");
            }
            let reader = Reader::open(&copy)?;
            let mut lost = 0;
            for i in 0..8u64 {
                match content_of(&reader, &format!("/f{i}"), Seq::MAX) {
                    Ok(Some(bytes)) => {
                        assert!(bytes == text(120_000, i), "wrong bytes of f{i}, damage at {at}")
                    }
                    Ok(None) | Err(Error::DamagedBlock { .. } | Error::MissingBlock { .. }) => lost += 1,
                    Err(error) => panic!("damage at {at}: {error}"),
                }
            }
            assert!(lost <= 1, "damage at {at} cost {lost} files, index: {index}");
        }
        fs::remove_dir_all(copy).expect("the copy");
    }
    Ok(())
}

#[test]
fn segments_are_sealed_and_a_second_writer_is_refused() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let limits = Limits { segment_bytes_max: 100_000, ..Limits::default() };
    let mut desk = Desk::open_with(tmp.path(), 0, limits)?;
    let mut instants = Vec::new();
    for i in 0..10u64 {
        desk.create(&format!("f{i}"), &text(90_000, i))?;
        instants.push(desk.commit()?);
    }
    assert!(matches!(Journal::open(tmp.path(), &clock(0), limits), Err(Error::Locked { .. })));
    let names = fs::read_dir(Layout::new(tmp.path()).segments()).expect("segments");
    let sealed =
        names.filter(|e| e.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|x| x == "seg"))).count();
    assert!(sealed >= 3, "{sealed} sealed segments");
    let reader = Reader::open(tmp.path())?;
    for (i, seq) in instants.iter().enumerate() {
        assert_eq!(reader.view(*seq).list(NodeId::ROOT)?.len(), i + 1);
    }
    Ok(())
}

#[test]
fn a_writer_whose_journal_was_moved_writes_no_more_and_makes_nothing_at_the_old_path() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let (dir, moved) = (tmp.path().join("j"), tmp.path().join("moved"));
    let mut desk = Desk::open(&dir, 0)?;
    desk.create("a", b"1")?;
    let durable = desk.commit()?;
    fs::rename(&dir, &moved).expect("mv");
    let bytes = |dir: &Path| {
        let files = fs::read_dir(Layout::new(dir).segments()).expect("segments").flatten();
        files.map(|file| file.metadata().expect("a segment").len()).sum::<u64>()
    };
    let before = bytes(&moved);
    desk.create("b", b"2")?;
    assert!(matches!(desk.commit(), Err(Error::Replaced { path }) if path == dir));
    assert!(!dir.exists());
    // The same where another writer begins there; nobody begins with a lock that is not the one at the path either.
    let lock = WriterLock::take(&dir)?;
    assert!(matches!(desk.commit(), Err(Error::Replaced { .. })));
    fs::remove_file(Layout::new(&dir).lock()).expect("rm");
    assert!(matches!(Journal::open_locked(&lock, &clock(0), Limits::default()), Err(Error::Replaced { .. })));
    assert_eq!(bytes(&moved), before);
    assert_eq!(Reader::open(&moved)?.head(), durable);
    Ok(())
}

#[test]
fn times_mean_the_last_commit_before_them_in_the_right_epoch() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 100)?;
    desk.create("a", b"1")?;
    let first = desk.commit()?;
    // The clock is set back by 50 s while the boot clock goes on.
    desk.create("b", b"2")?;
    while let Ok(submission) = desk.submitted.try_recv() {
        desk.journal.appender.stage(submission);
    }
    let back = ClockReading { wall: clock(52).wall, ..clock(102) };
    desk.journal.appender.commit(&back, None)?;
    desk.create("c", b"3")?;
    while let Ok(submission) = desk.submitted.try_recv() {
        desk.journal.appender.stage(submission);
    }
    let later = ClockReading { wall: clock(120).wall, ..clock(170) };
    desk.journal.appender.commit(&later, None)?;

    let reader = Reader::open(tmp.path())?;
    let at = |seconds: i64| reader.at_instant(clock(seconds).wall);
    assert_eq!(at(51)?, None, "before everything");
    assert_eq!(at(60)?.map(|r| (r.moment.seq, r.others.len())), Some((Seq(2), 0)));
    assert_eq!(at(101)?.map(|r| (r.moment.seq, r.others.len())), Some((Seq(2), 1)), "both readings");
    assert_eq!(at(101)?.map(|r| r.others[0].seq), Some(first));
    assert_eq!(at(500)?.map(|r| r.moment.seq), Some(Seq(3)));
    assert_eq!(reader.at_seq(Seq(4))?, None);
    Ok(())
}

#[test]
fn a_path_has_one_history_through_renames_and_atomic_saves() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let head = desk.journal.head.clone();
    let old = desk.create("draft", b"one")?;
    desk.commit()?;
    let rename = |node, from: &str, to: &str, replaced: Option<NodeId>| {
        let file = |name: &str, node, why| Op::Unbind {
            dir: NodeId::ROOT,
            name: name.into(),
            node,
            kind: Kind::File,
            why,
        };
        let mut ops = vec![file(from, node, Unbound::Moved)];
        ops.extend(replaced.map(|gone| file(to, gone, Unbound::Deleted)));
        ops.push(Op::Bind { dir: NodeId::ROOT, name: to.into(), node, kind: Kind::File, succeeds: replaced });
        Group { ops, ..Group::default() }
    };
    head.submit(vec![rename(old, "draft", "final", None)])?;
    desk.commit()?;
    desk.write(old, b"two", Vec::new())?;
    desk.commit()?;
    let new = desk.create(".final.tmp", b"three")?;
    desk.commit()?;
    head.submit(vec![rename(new, ".final.tmp", "final", Some(old))])?;
    desk.commit()?;

    let reader = Reader::open(tmp.path())?;
    let changes = history::of_path(&reader, b"/final", Seq::MAX)?;
    let sizes: Vec<u64> = changes
        .iter()
        .filter_map(|change| match change.what {
            What::Modified { size, .. } => Some(size),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [5, 3, 3], "{changes:#?}");
    assert!(
        changes.iter().any(|change| change.path == b"/draft" && matches!(change.what, What::Created { .. }))
    );
    assert!(changes.is_sorted_by(|a, b| a.seq >= b.seq));
    let mut all = 0;
    history::below(&reader, b"/", Seq::ZERO, Seq::MAX, &mut |_| {
        all += 1;
        true
    })?;
    assert!(all >= 5, "{all}");
    Ok(())
}

/// One thread saw x arrive at a name, another saw what was there before leave; the second is submitted last.
#[test]
fn a_stale_unbind_does_not_take_a_name_from_what_came_after() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let head = desk.journal.head.clone();
    let (x, y) = (desk.create("x", b"x")?, desk.create("y", b"y")?);
    let unbind = |name: &str, node, why| {
        let (dir, kind) = (NodeId::ROOT, Kind::File);
        Op::Unbind { dir, name: name.into(), node, kind, why }
    };
    let bind = |name: &str, node| {
        let (dir, kind) = (NodeId::ROOT, Kind::File);
        Op::Bind { dir, name: name.into(), node, kind, succeeds: None }
    };
    let group = |ops| Group { ops, ..Group::default() };
    // `mv x z; mv y x`, seen from the end.
    head.submit(vec![
        group(vec![unbind("y", y, Unbound::Moved), unbind("x", x, Unbound::Deleted), bind("x", y)]),
        group(vec![unbind("x", x, Unbound::Moved), bind("z", x)]),
    ])?;
    desk.commit()?;
    let reader = Reader::open(tmp.path())?;
    assert_eq!(content_of(&reader, "/x", Seq::MAX)?, Some(b"y".to_vec()));
    assert_eq!(content_of(&reader, "/z", Seq::MAX)?, Some(b"x".to_vec()));
    assert_eq!(content_of(&reader, "/y", Seq::MAX)?, None);
    Ok(())
}

/// A directory with one of a file's names left the tree; the file has its other name all the same.
#[test]
fn a_file_has_a_path_as_long_as_one_of_its_names_has_one() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    let head = desk.journal.head.clone();
    let file = desk.create("f", b"1")?;
    let dir = head.new_node();
    let bind = |above, name: &str, node, kind| Op::Bind {
        dir: above,
        name: name.into(),
        node,
        kind,
        succeeds: None,
    };
    let (name, kind, why) = (b"d".to_vec(), Kind::Dir, Unbound::Deleted);
    let gone = Op::Unbind { dir: NodeId::ROOT, name, node: dir, kind, why };
    let ops = [bind(NodeId::ROOT, "d", dir, Kind::Dir), bind(dir, "g", file, Kind::File), gone];
    for op in ops {
        head.submit(vec![Group { ops: vec![op], ..Group::default() }])?;
    }
    desk.commit()?;
    let reader = Reader::open(tmp.path())?;
    assert_eq!(reader.view(Seq::MAX).path_of(file)?, Some(b"/f".to_vec()));
    assert_eq!(reader.view(Seq::MAX).path_of(dir)?, None);
    Ok(())
}

#[test]
fn an_unknown_format_and_a_missing_journal_are_told_apart() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    assert!(matches!(Reader::open(&tmp.path().join("none")), Err(Error::NoJournal { .. })));
    drop(Desk::open(tmp.path(), 0)?);
    fs::write(tmp.path().join("journal.json"), r#"{"format": 7}"#).expect("the manifest");
    assert!(matches!(Reader::open(tmp.path()), Err(Error::Unsupported { .. })));
    assert!(matches!(
        Journal::open(tmp.path(), &clock(0), Limits::default()),
        Err(Error::Unsupported { .. })
    ));
    Ok(())
}

#[test]
fn segments_without_their_manifest_are_not_begun_anew() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    desk.create("a", b"1")?;
    desk.commit()?;
    drop(desk);
    fs::remove_file(Layout::new(tmp.path()).manifest()).expect("rm");
    assert!(Reader::open(tmp.path()).is_ok(), "its copy is there");
    fs::remove_file(Layout::new(tmp.path()).manifest_copy()).expect("rm");
    let opened = Journal::open(tmp.path(), &clock(10), Limits::default());
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "a new journal would hide the old one");
    assert!(!Layout::new(tmp.path()).manifest().exists());
    Ok(())
}

//! Plans in place over trees in memory and a directory on disk, carried out there.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;
use crate::plan::{Item, Problem, Shape};
use crate::source::memory::Memory;
use crate::write::{Counts, Event, Options, carry_out, open_base};

/// Puts a tree on disk, as an agent has captured it.
fn live(tree: &Memory) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let item =
        Item { path: b"/r".to_vec(), name: b"r".to_vec(), entry: tree.resolve(b"/r").unwrap().unwrap() };
    let plan = crate::plan::plan(tree, &Shape::InBase(vec![item]), 1);
    let base = open_base(dir.path()).unwrap();
    carry_out(tree, &plan, base.as_fd(), Options::aside(None, 1, true), &mut |_, _| {}).unwrap();
    dir
}

struct Outcome {
    preview: Preview,
    counts: Counts,
    problems: Vec<Problem>,
}

/// Plans and carries out, and makes sure that what was planned is what was done.
fn restore(dir: &Path, wish: &Wish<'_>) -> Outcome {
    let base = open_base(dir).unwrap();
    let planned = plan(base.as_fd(), wish).unwrap();
    let mut problems = planned.plan.problems.clone();
    let options = Options::in_place(wish.overwrite, 2);
    let counts = carry_out(wish.wanted, &planned.plan, base.as_fd(), options, &mut |event, _| {
        if let Event::Problem(problem) = event {
            problems.push(problem);
        }
    })
    .unwrap();
    let preview = planned.preview;
    if problems.is_empty() {
        let done = (counts.created, counts.overwritten, counts.deleted, counts.metadata);
        let said =
            (preview.created.entries, preview.overwritten.entries, preview.deleted.entries, preview.metadata);
        assert_eq!(done, said, "created, overwritten, deleted, metadata");
    }
    Outcome { preview, counts, problems }
}

fn wish<'s>(wanted: &'s Memory, now: &'s Memory, paths: &'s [Vec<u8>]) -> Wish<'s> {
    Wish { wanted, now, left: None, paths, exact: false, overwrite: None, workers: 2 }
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

const ALL: [&str; 1] = ["/r"];

fn paths(paths: &[&str]) -> Vec<Vec<u8>> {
    paths.iter().map(|path| path.as_bytes().to_vec()).collect()
}

fn start() -> Memory {
    let mut tree = Memory::new();
    tree.file("/r/a", b"one");
    tree.file("/r/d/b", b"two");
    tree.file("/r/d/e/c", &[7; 3000]);
    tree
}

#[test]
fn what_differs_comes_back_and_the_rest_is_left_alone() {
    let then = start();
    let mut now = then.clone();
    now.write("/r/a", b"changed");
    now.edit("/r/d/b", |version| version.meta.mode = 0o600);
    now.remove("/r/d/e/c");
    now.file("/r/new", b"later");
    let dir = live(&now);
    let kept = fs::metadata(dir.path().join("r/d/b")).unwrap().ino();
    let all = paths(&ALL);
    let Outcome { preview, problems, .. } = restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(problems, []);
    assert_eq!(preview.created, Amount { entries: 1, bytes: 3000 });
    assert_eq!(preview.overwritten, Amount { entries: 1, bytes: 3 });
    assert_eq!(preview.deleted, Amount::default());
    assert_eq!(preview.metadata, 1);
    assert_eq!(read(dir.path(), "r/a"), "one");
    assert_eq!(read(dir.path(), "r/new"), "later");
    let b = fs::metadata(dir.path().join("r/d/b")).unwrap();
    assert_eq!((b.ino(), b.permissions().mode() & 0o7777), (kept, 0o644));

    let Outcome { preview, .. } = restore(dir.path(), &Wish { exact: true, ..wish(&then, &now, &all) });
    assert_eq!((preview.deleted.entries, preview.created.entries), (1, 0));
    assert!(!dir.path().join("r/new").exists());
    let Outcome { preview, counts, .. } =
        restore(dir.path(), &Wish { exact: true, ..wish(&then, &then, &all) });
    assert!(preview.is_nothing(), "{preview:?}");
    assert_eq!((counts.files, preview.unchanged), (0, 6));
}

#[test]
fn what_the_journal_does_not_hold_is_neither_replaced_nor_deleted() {
    let then = start();
    let mut now = then.clone();
    now.write("/r/a", b"known");
    now.file("/r/made", b"known");
    now.file("/r/gone-dir/known", b"known");
    let dir = live(&now);
    for name in ["r/a", "r/made"] {
        fs::write(dir.path().join(name), "nobody has seen this").unwrap();
    }
    fs::write(dir.path().join("r/gone-dir/unknown"), "nor this").unwrap();
    let all = paths(&ALL);
    let Outcome { preview, problems, .. } =
        restore(dir.path(), &Wish { exact: true, ..wish(&then, &now, &all) });
    let named: Vec<&[u8]> = problems.iter().map(|problem| &problem.path[..]).collect();
    assert_eq!(named, [&b"/r/a"[..], b"/r/gone-dir", b"/r/made"], "{problems:?}");
    assert_eq!((preview.overwritten.entries, preview.deleted.entries), (0, 1));
    assert_eq!(read(dir.path(), "r/a"), "nobody has seen this");
    assert_eq!(read(dir.path(), "r/made"), "nobody has seen this");
    assert_eq!(read(dir.path(), "r/gone-dir/unknown"), "nor this");
    assert!(!dir.path().join("r/gone-dir/known").exists(), "what it holds goes");
}

#[test]
fn a_file_that_is_as_it_is_wanted_needs_nobody_to_hold_it() {
    let then = start();
    let dir = live(&then);
    let mut now = then.clone();
    now.write("/r/a", b"what the journal believes");
    let all = paths(&ALL);
    let Outcome { preview, problems, .. } = restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(problems, []);
    assert!(preview.is_nothing(), "{preview:?}");
}

#[test]
fn overwrite_says_what_happens_to_what_differs() {
    let then = start();
    let mut now = then.clone();
    now.write("/r/a", b"ONE");
    now.remove("/r/d/b");
    let dir = live(&now);
    let all = paths(&ALL);
    let never = Wish { overwrite: Some(Overwrite::Never), ..wish(&then, &now, &all) };
    let Outcome { preview, .. } = restore(dir.path(), &never);
    assert_eq!((preview.left, preview.created.entries), (3 - 1, 1), "a and c are left, b is created");
    assert_eq!(read(dir.path(), "r/a"), "ONE");
    let if_changed = Wish { overwrite: Some(Overwrite::IfChanged), ..wish(&then, &now, &all) };
    restore(dir.path(), &if_changed);
    assert_eq!(read(dir.path(), "r/a"), "ONE", "size and time are the same");
    restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(read(dir.path(), "r/a"), "one");
}

#[test]
fn directories_and_files_change_places() {
    let mut then = Memory::new();
    then.file("/r/x", b"file");
    then.file("/r/y/in", b"in");
    let mut now = Memory::new();
    now.file("/r/x/below", b"below");
    now.dir("/r/x/empty");
    now.file("/r/y", b"file now");
    let dir = live(&now);
    let all = paths(&ALL);
    let Outcome { problems, .. } = restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].error.contains("--exact"), "{problems:?}");
    assert_eq!(read(dir.path(), "r/x/below"), "below");
    assert_eq!(read(dir.path(), "r/y/in"), "in");

    let dir = live(&now);
    fs::write(dir.path().join("r/x/unknown"), "u").unwrap();
    let exact = Wish { exact: true, ..wish(&then, &now, &all) };
    let Outcome { problems, .. } = restore(dir.path(), &exact);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(read(dir.path(), "r/x/below"), "below", "all of it goes or nothing");
    fs::remove_file(dir.path().join("r/x/unknown")).unwrap();
    let Outcome { problems, .. } = restore(dir.path(), &exact);
    assert_eq!(problems, []);
    assert_eq!(read(dir.path(), "r/x"), "file");
}

#[test]
fn hard_links_are_put_together_and_taken_apart() {
    let mut then = Memory::new();
    then.file("/r/a", b"same");
    then.link("/r/a", "/r/b");
    then.file("/r/p", b"apart");
    then.file("/r/q", b"apart");
    let mut now = Memory::new();
    now.file("/r/a", b"same");
    now.file("/r/b", b"other");
    now.file("/r/p", b"apart");
    now.link("/r/p", "/r/q");
    let dir = live(&now);
    let ino = |name: &str| fs::metadata(dir.path().join(name)).unwrap().ino();
    let kept = ino("r/a");
    let all = paths(&ALL);
    let Outcome { problems, preview, .. } = restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(problems, []);
    assert_eq!((preview.created.entries, preview.overwritten.entries), (0, 2));
    assert_eq!((ino("r/a"), ino("r/b")), (kept, kept));
    assert_ne!(ino("r/p"), ino("r/q"));
    assert_eq!((read(dir.path(), "r/p"), read(dir.path(), "r/q")), ("apart".into(), "apart".into()));
}

#[test]
fn metadata_of_a_file_that_has_a_name_elsewhere_is_not_changed_there() {
    let mut then = Memory::new();
    then.file("/r/in/a", b"x");
    let mut now = then.clone();
    now.edit("/r/in/a", |version| version.meta.mode = 0o600);
    now.link("/r/in/a", "/r/out");
    let dir = live(&now);
    let inside = paths(&["/r/in"]);
    let Outcome { problems, .. } = restore(dir.path(), &wish(&then, &now, &inside));
    assert_eq!(problems, []);
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("r/in/a"), mode("r/out")), (0o644, 0o600));
}

#[test]
fn one_path_comes_back_with_the_directories_above_it_and_nothing_else() {
    let then = start();
    let mut now = then.clone();
    now.write("/r/a", b"stays");
    now.remove("/r/d");
    let dir = live(&now);
    let one = paths(&["/r/d/e/c"]);
    let Outcome { problems, preview, .. } = restore(dir.path(), &wish(&then, &now, &one));
    assert_eq!(problems, []);
    assert_eq!(preview.created, Amount { entries: 3, bytes: 3000 });
    assert_eq!(read(dir.path(), "r/a"), "stays");
    assert!(!dir.path().join("r/d/b").exists());
    assert_eq!(fs::read(dir.path().join("r/d/e/c")).unwrap(), [7; 3000]);
}

#[test]
fn nothing_is_restored_through_a_symlink() {
    let then = start();
    let outside = tempfile::tempdir().unwrap();
    let dir = live(&then);
    fs::remove_dir_all(dir.path().join("r/d/e")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("r/d/e")).unwrap();
    for what in ["/r", "/r/d/e/c"] {
        let what = paths(&[what]);
        let Outcome { problems, .. } =
            restore(dir.path(), &Wish { exact: true, ..wish(&then, &then, &what) });
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

#[test]
fn taking_back_touches_what_the_restore_changed_and_was_not_changed_since() {
    let then = start();
    let mut before = then.clone();
    before.write("/r/a", b"before");
    before.remove("/r/d/b");
    before.file("/r/made", b"before");
    before.file("/r/other", b"before");
    // An exact restore of `then` has left this, but somebody has written a third file since.
    let mut left = then.clone();
    left.file("/r/other", b"before");
    let mut now = left.clone();
    now.write("/r/d/e/c", b"since");
    let dir = live(&now);
    let all = paths(&ALL);
    let undo = Wish { left: Some(&left), ..wish(&before, &now, &all) };
    let Outcome { problems, .. } = restore(dir.path(), &undo);
    assert_eq!(problems, []);
    assert_eq!(read(dir.path(), "r/a"), "before");
    assert_eq!(read(dir.path(), "r/made"), "before");
    assert!(!dir.path().join("r/d/b").exists());
    assert_eq!(read(dir.path(), "r/d/e/c"), "since", "the restore had not changed it");

    let mut now = left.clone();
    now.write("/r/a", b"since");
    now.write("/r/d/b", b"since");
    let dir = live(&now);
    let Outcome { problems, .. } = restore(dir.path(), &Wish { now: &now, ..undo });
    let named: Vec<&[u8]> = problems.iter().map(|problem| &problem.path[..]).collect();
    assert_eq!(named, [&b"/r/a"[..], b"/r/d/b"], "{problems:?}");
    assert_eq!(read(dir.path(), "r/a"), "since");
    assert_eq!(read(dir.path(), "r/made"), "before");
    let forced = Wish { now: &now, overwrite: Some(Overwrite::Always), ..undo };
    let Outcome { problems, .. } = restore(dir.path(), &forced);
    assert_eq!(problems, []);
    assert_eq!(read(dir.path(), "r/a"), "before");
    assert!(!dir.path().join("r/d/b").exists());
}

#[test]
fn what_was_made_since_keeps_the_directory_that_a_restore_had_made() {
    let mut before = Memory::new();
    before.dir("/r");
    let mut left = before.clone();
    left.file("/r/d/restored", b"r");
    let mut now = left.clone();
    now.file("/r/d/mine", b"m");
    let dir = live(&now);
    let all = paths(&ALL);
    let undo = Wish { left: Some(&left), ..wish(&before, &now, &all) };
    let Outcome { problems, .. } = restore(dir.path(), &undo);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(read(dir.path(), "r/d/mine"), "m");
    assert!(!dir.path().join("r/d/restored").exists());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let mut then = start();
    for name in [&b".."[..], b"a/b", b"", b"x\0y"] {
        then.hostile("/r/d", name, "/r/a");
    }
    let now = start();
    let dir = live(&now);
    let all = paths(&ALL);
    let Outcome { problems, .. } = restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_tree_in_a_circle_ends() {
    let mut then = start();
    then.hostile("/r/d/e", b"again", "/r/d");
    let now = start();
    let dir = live(&now);
    let all = paths(&ALL);
    let Outcome { problems, .. } = restore(dir.path(), &wish(&then, &now, &all));
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn a_tree_without_a_bottom_is_made_and_taken_back() {
    const DEPTH: usize = 10_000;
    let mut before = Memory::new();
    before.dir("/r");
    let mut then = before.clone();
    then.dig("/r", DEPTH);
    let dir = live(&before);
    let all = paths(&ALL);
    let Outcome { problems, preview, .. } = restore(dir.path(), &wish(&then, &before, &all));
    assert_eq!((problems, preview.created.entries), (vec![], DEPTH as u64));
    let undo = Wish { left: Some(&then), ..wish(&before, &then, &all) };
    let Outcome { problems, preview, .. } = restore(dir.path(), &undo);
    assert_eq!((problems, preview.deleted.entries), (vec![], DEPTH as u64));
    assert_eq!(fs::read_dir(dir.path().join("r")).unwrap().count(), 0);
}

#[test]
fn what_may_have_been_there_is_not_deleted_for_not_being_known() {
    let mut then = start();
    then.is_thinned = true;
    let mut now = then.clone();
    now.write("/r/a", b"known");
    now.file("/r/new", b"later");
    now.file("/r/new-dir/in", b"later");
    let dir = live(&now);
    let all = paths(&ALL);
    let exact = Wish { exact: true, ..wish(&then, &now, &all) };
    let Outcome { preview, problems, .. } = restore(dir.path(), &exact);
    let named: Vec<&[u8]> = problems.iter().map(|problem| &problem.path[..]).collect();
    assert_eq!(named, [&b"/r"[..], b"/r/new", b"/r/new-dir"], "{problems:?}");
    assert!(problems[0].error.contains("more may have been in it"), "{problems:?}");
    assert_eq!((preview.overwritten.entries, preview.deleted.entries), (1, 0));
    assert_eq!((read(dir.path(), "r/a"), read(dir.path(), "r/new-dir/in")), ("one".into(), "later".into()));
    // What was asked for and is known was whole: nothing is said of a file.
    let file = paths(&["/r/a"]);
    let Outcome { problems, .. } = restore(dir.path(), &Wish { exact: true, ..wish(&then, &now, &file) });
    assert_eq!(problems, []);
}

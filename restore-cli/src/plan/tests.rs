//! What a plan holds, and what it says beforehand.

use super::*;
use crate::source::CleanFirst;
use crate::source::memory::Memory;

fn item(tree: &Memory, path: &str) -> Item {
    let entry = tree.resolve(path.as_bytes()).unwrap().unwrap();
    Item { path: path.as_bytes().to_vec(), name: path::name(path.as_bytes()).to_vec(), entry }
}

fn planned(tree: &Memory, path: &str) -> RestorePlan {
    plan(tree, &Shape::IsBase(item(tree, path)), 2)
}

fn problems(plan: &RestorePlan) -> Vec<String> {
    plan.problems.iter().map(|problem| String::from_utf8(problem.path.clone()).unwrap()).collect()
}

fn paths(plan: &RestorePlan) -> Vec<String> {
    let path = |dir, name: &[u8]| String::from_utf8(plan.path_in(dir, name)).unwrap();
    plan.nodes.iter().map(|node| path(node.dir, &node.name)).collect()
}

#[test]
fn a_tree_is_counted_and_parents_come_first() {
    let mut tree = Memory::new();
    tree.file("/r/a", &[1; 1000]);
    tree.file("/r/d/e/b", b"small");
    tree.file("/r/d/empty", b"");
    tree.symlink("/r/s", b"a");
    tree.special("/r/fifo", Kind::Fifo);
    tree.special("/r/socket", Kind::Socket);
    let plan = planned(&tree, "/r");
    let expected =
        Totals { dirs: 3, files: 3, symlinks: 1, specials: 1, bytes: 1005, sockets: 1, ..Totals::default() };
    assert_eq!(plan.totals, expected);
    assert_eq!(plan.problems, []);
    assert!((0u32..).zip(&plan.dirs).skip(1).all(|(index, dir)| dir.parent < index));
    assert_eq!(plan.path_of_dir(0), b"/r");
    assert_eq!(plan.path_of_dir(2), b"/r/d/e");
    let mut paths = paths(&plan);
    paths.sort();
    assert_eq!(paths, ["/r/a", "/r/d/e/b", "/r/d/empty", "/r/fifo", "/r/s"]);
}

#[test]
fn files_are_written_in_the_order_of_their_blocks() {
    let mut tree = Memory::new();
    tree.dir("/r");
    for name in ["c", "a", "b"] {
        tree.file(&format!("/r/{name}"), &[7; 2000]);
    }
    tree.rename("/r/c", "/r/zz");
    assert_eq!(paths(&planned(&tree, "/r")), ["/r/zz", "/r/a", "/r/b"]);
}

#[test]
fn a_node_with_several_names_is_written_once() {
    let mut tree = Memory::new();
    tree.file("/r/a", b"x");
    tree.link("/r/a", "/r/d/b");
    tree.link("/r/a", "/r/d/c");
    tree.file("/r/other", &[0; 600]);
    tree.file("/elsewhere", b"y");
    tree.link("/elsewhere", "/r/one-name-in-here");
    let plan = planned(&tree, "/r");
    assert_eq!((plan.totals.files, plan.totals.hardlinks, plan.totals.bytes), (3, 2, 602));
    for link in &plan.links {
        let LinkTo::Node(target) = link.target else { panic!("nothing is kept") };
        assert_eq!(plan.nodes[target as usize].node, tree.resolve(b"/r/a").unwrap().unwrap().node);
    }
}

#[test]
fn what_cannot_be_restored_is_named_beforehand() {
    let mut tree = Memory::new();
    for name in ["good", "unread", "unknown", "gone"] {
        tree.file(&format!("/r/{name}"), b"x");
    }
    tree.edit("/r/unread", |version| version.content = Content::Unread(13));
    tree.link("/r/unread", "/r/unread-too");
    tree.forget("/r/unknown");
    tree.edit("/r/gone", |version| version.content = Content::None);
    let plan = planned(&tree, "/r");
    assert_eq!(paths(&plan), ["/r/good"]);
    assert_eq!(problems(&plan), ["/r/gone", "/r/unknown", "/r/unread", "/r/unread-too"]);
    assert!(plan.problems[2].error.contains("Permission denied"), "{}", plan.problems[2].error);
    assert_eq!(plan.links.len(), 0);
}

#[test]
fn clean_versions_are_taken_where_they_are_preferred() {
    let mut tree = Memory::new();
    for name in ["good", "torn", "provisional", "unread", "never"] {
        tree.file(&format!("/r/{name}"), b"whole");
    }
    tree.symlink("/r/link", b"good");
    let torn = Content::Inline(b"mixed, and longer".to_vec());
    tree.spoil("/r/torn", Quality::Torn, torn.clone());
    tree.spoil("/r/provisional", Quality::Provisional, torn.clone());
    tree.spoil("/r/unread", Quality::Torn, Content::Unread(13));
    tree.edit("/r/never", |version| (version.quality, version.content) = (Quality::Provisional, torn));

    let newest = planned(&tree, "/r");
    assert_eq!((newest.totals.torn, newest.totals.provisional, newest.totals.older), (1, 2, 0));
    assert_eq!((problems(&newest), newest.older), (vec!["/r/unread".to_owned()], vec![]));

    let first = CleanFirst(&tree);
    let plan = plan(&first, &Shape::IsBase(item(&tree, "/r")), 2);
    let older: Vec<(&[u8], &str)> =
        plan.older.iter().map(|older| (older.path.as_slice(), older.quality)).collect();
    assert_eq!(
        older,
        [(&b"/r/provisional"[..], "provisional"), (b"/r/torn", "torn"), (b"/r/unread", "unread")]
    );
    let totals = plan.totals;
    assert_eq!((totals.files, totals.older, totals.none_clean), (5, 3, 1));
    assert_eq!((totals.torn, totals.provisional), (0, 1), "what is taken counts, not what is left");
    assert_eq!(problems(&plan), ["/r/never"], "restored all the same, and named");
    // What is written is what was planned.
    let node = tree.resolve(b"/r/torn").unwrap().unwrap().node;
    let written = first.version(node).unwrap().unwrap();
    assert_eq!(written.version.content, Content::Inline(b"whole".to_vec()));
    assert_eq!(written.seq, plan.older[1].seq);
}

#[test]
fn names_that_lead_out_of_the_target_are_refused() {
    let mut tree = Memory::new();
    tree.file("/r/good", b"x");
    tree.dir("/r/d");
    for name in [&b".."[..], b".", b"a/b", b"", b"/etc", b"nul\0"] {
        tree.hostile("/r", name, "/r/good");
    }
    tree.hostile("/r/d", b"up", "/r");
    tree.hostile("/r/d", b"..", "/r");
    let plan = planned(&tree, "/r");
    assert_eq!(paths(&plan), ["/r/good"]);
    assert_eq!(plan.dirs.len(), 2);
    assert_eq!(plan.problems.len(), 8);
}

#[test]
fn several_paths_keep_their_own_origins() {
    let mut tree = Memory::new();
    tree.file("/x/tree/f", b"1");
    tree.file("/y/g", b"2");
    let shape = Shape::InBase(vec![item(&tree, "/x/tree"), item(&tree, "/y/g")]);
    let plan = plan(&tree, &shape, 1);
    let mut paths = paths(&plan);
    paths.sort();
    assert_eq!(paths, ["/x/tree/f", "/y/g"]);
    assert_eq!(plan.path_of_dir(1), b"/x/tree");
    assert_eq!(plan.dirs[0].node, None);
    assert_eq!(plan.totals.dirs, 1);
}

#[test]
fn a_root_can_be_restored_with_the_directories_above_it_unknown() {
    let mut tree = Memory::new();
    tree.file("/home/u/f", b"1");
    tree.forget("/home");
    let plan = planned(&tree, "/");
    assert_eq!((plan.totals.dirs, plan.totals.files), (3, 1));
    assert_eq!(paths(&plan), ["/home/u/f"]);
}

#[test]
fn a_planned_file_is_small_in_memory() {
    assert!(size_of::<PlanNode>() <= 112, "{}", size_of::<PlanNode>());
}

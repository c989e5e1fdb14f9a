//! The tree alone, and against a naive model of it.

use std::collections::BTreeMap;

use super::super::tests::Random;
use super::*;

fn paths(tree: &Tree) -> BTreeMap<Wd, String> {
    let path = |wd: &Wd| String::from_utf8(tree.path(*wd).expect("a path")).expect("text");
    tree.nodes.keys().map(|wd| (*wd, path(wd))).collect()
}

#[test]
fn paths_follow_a_rename_above_them() {
    let mut tree = Tree::default();
    tree.insert(1, NONE, b"/r");
    tree.insert(2, 1, b"a");
    tree.insert(3, 2, b"b");
    assert_eq!(tree.path_in(3, b"f"), Some(b"/r/a/b/f".to_vec()));
    assert_eq!(tree.move_to(2, 1, b"c"), Moved::Done);
    assert_eq!(tree.path(3), Some(b"/r/c/b".to_vec()));
    assert_eq!((tree.at(1, b"a"), tree.at(1, b"c")), (None, Some(2)));
    assert_eq!(tree.move_to(2, 3, b"x"), Moved::Below, "nothing goes below itself");
    assert_eq!(tree.path(3), Some(b"/r/c/b".to_vec()));
    assert_eq!(tree.names_below_root(3), Some(vec![&b"c"[..], &b"b"[..]]));
    tree.insert(9, NONE, b"/");
    assert_eq!(tree.path_in(9, b"etc"), Some(b"/etc".to_vec()));
}

#[test]
fn who_loses_its_place_keeps_what_is_below_it_until_it_has_another_one() {
    let mut tree = Tree::default();
    tree.insert(1, NONE, b"/r");
    tree.insert(2, 1, b"a");
    tree.insert(3, 2, b"inner");
    tree.insert(4, 1, b"b");
    assert_eq!(tree.move_to(4, 1, b"a"), Moved::Done);
    assert_eq!((tree.at(1, b"a"), tree.place(2), tree.last_place(2)), (Some(4), None, Some((1, &b"a"[..]))));
    assert_eq!(tree.displaced().collect::<Vec<_>>(), [2]);
    assert_eq!(tree.move_to(2, 1, b"b"), Moved::Done);
    assert_eq!(tree.path(3), Some(b"/r/b/inner".to_vec()));
    assert_eq!(tree.displaced().count(), 0);
}

#[test]
fn removing_forgets_everything_below() {
    let mut tree = Tree::default();
    tree.insert(1, NONE, b"/r");
    for wd in 2..2000 {
        tree.insert(wd, wd / 2, wd.to_string().as_bytes());
    }
    tree.leave_out_below(700);
    assert_eq!(tree.remove(2).len(), 1022);
    assert!(tree.contains(3) && !tree.contains(4) && !tree.contains(1024));
    assert_eq!(tree.children(1).map(|(wd, _)| wd).collect::<Vec<_>>(), [3]);
    assert!(tree.remove(2).is_empty());
    tree.remove(1);
    assert_eq!((tree.len(), tree.places.len(), tree.left_out.len()), (0, 0, 0));
}

/// The same in the simplest way: every node with its whole place, moved one by one.
#[test]
fn the_tree_does_what_a_naive_model_does() {
    let mut random = Random::new(7);
    for _ in 0..20 {
        let (mut tree, mut model): (Tree, BTreeMap<Wd, (Wd, String)>) = Default::default();
        tree.insert(1, NONE, b"/r");
        model.insert(1, (NONE, "/r".into()));
        for wd in 2..300 {
            let known: Vec<Wd> = model.keys().copied().collect();
            let one = known[random.below(known.len())];
            let parent = known[random.below(known.len())];
            let name = format!("n{}", random.below(12));
            let free = !model.values().any(|place| *place == (parent, name.clone()));
            match random.below(4) {
                0 | 1 if free => {
                    tree.insert(wd, parent, name.as_bytes());
                    model.insert(wd, (parent, name));
                }
                2 if free && one != 1 => {
                    let mut above = parent;
                    while above != NONE && above != one {
                        above = model[&above].0;
                    }
                    let moved = if above == one { Moved::Below } else { Moved::Done };
                    assert_eq!(tree.move_to(one, parent, name.as_bytes()), moved);
                    if moved == Moved::Done {
                        model.insert(one, (parent, name));
                    }
                }
                3 if one != 1 && random.below(4) == 0 => {
                    tree.remove(one);
                    model.remove(&one);
                    loop {
                        let orphans: Vec<Wd> = model
                            .iter()
                            .filter(|(_, (parent, _))| *parent != NONE && !model.contains_key(parent))
                            .map(|(wd, _)| *wd)
                            .collect();
                        if orphans.is_empty() {
                            break;
                        }
                        model.retain(|wd, _| !orphans.contains(wd));
                    }
                }
                _ => {}
            }
            let expected: BTreeMap<Wd, String> = model
                .iter()
                .map(|(wd, (parent, name))| {
                    let (mut path, mut above) = (name.clone(), *parent);
                    while above != NONE {
                        path = format!("{}/{path}", model[&above].1);
                        above = model[&above].0;
                    }
                    (*wd, path)
                })
                .collect();
            assert_eq!(paths(&tree), expected);
            for (wd, (parent, name)) in &model {
                assert_eq!(tree.at(*parent, name.as_bytes()), Some(*wd));
            }
            assert_eq!(tree.places.len(), model.len());
        }
    }
}

/// Counted, not guessed: what a directory costs beside its name.
#[test]
fn a_directory_costs_little() {
    assert!(size_of::<(Wd, Node)>() <= 48, "{}", size_of::<(Wd, Node)>());
}

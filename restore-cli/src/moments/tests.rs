//! Moments against a naive grouping of random histories, and the words.

use std::collections::{BTreeMap, BTreeSet};

use asof_journal::types::{NodeId, Quality};
use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;

/// A change of a path.
pub(crate) fn change(seq: u64, seconds: i64, path: &str, what: What) -> Change {
    let instant = Instant(seconds * SECOND);
    Change { seq: Seq(seq), instant, path: path.as_bytes().to_vec(), node: NodeId(seq), what }
}

/// A file that came to be.
pub(crate) fn created() -> What {
    What::Created { kind: Kind::File }
}

fn deleted() -> What {
    What::Deleted { kind: Kind::File, unread: false }
}

fn modified() -> What {
    What::Modified { size: 1, quality: Quality::Clean, unread: false }
}

fn grouped(newest_first: &[Change], dir: &str, limits: Limits, breaks: &Breaks) -> Vec<Moment> {
    let mut grouper = Grouper::new(dir.as_bytes().to_vec(), limits, breaks.clone());
    let mut moments: Vec<Moment> =
        newest_first.iter().filter_map(|change| grouper.push(change, Inside::default())).collect();
    moments.extend(grouper.finish());
    moments
}

fn one(newest_first: &[Change], dir: &str) -> Moment {
    let mut moments = grouped(newest_first, dir, Limits::default(), &Breaks::default());
    assert_eq!(moments.len(), 1, "{moments:?}");
    moments.pop().unwrap()
}

#[test]
fn a_deletion_reads_as_people_say_it() {
    let mut changes: Vec<Change> =
        (0..412).map(|n| change(1000 - n, 131, &format!("/r/src/{}/{n}", n % 7), deleted())).collect();
    for n in 0..3 {
        changes.push(change(500 - n, 129, &format!("/r/src/new-{n}"), created()));
    }
    let moment = one(&changes, "/r");
    assert_eq!(sentence(&moment, b"/r"), "412 files deleted below src/, 3 created");
    assert_eq!((moment.before(), moment.last.seq), (Seq(497), Seq(1000)));
    assert_eq!(moment.below(), b"/r/src");
    let elsewhere = one(&[change(2, 1, "/r/a/x", deleted()), change(1, 1, "/r/a/y", deleted())], "/");
    assert_eq!(sentence(&elsewhere, b"/"), "2 files deleted below /r/a/");
}

#[test]
fn one_thing_is_named_and_places_are_told_apart() {
    let dir = |seq, path, what| change(seq, 1, path, what);
    let gone = What::Deleted { kind: Kind::Dir, unread: false };
    let changes = [
        dir(9, "/r/d", gone),
        dir(8, "/r/d/a\x1b[2J", deleted()),
        dir(7, "/r/e/x", created()),
        dir(6, "/r/e/y", created()),
        dir(5, "/r/new", What::Created { kind: Kind::Dir }),
        dir(4, "/r/notes.txt", modified()),
    ];
    assert_eq!(
        sentence(&one(&changes, "/r"), b"/r"),
        "1 file and 1 directory deleted below d/, 2 files and 1 directory created below ./, notes.txt changed"
    );
    assert_eq!(sentence(&one(&changes[1..2], "/r"), b"/r"), "d/a\\x1b[2J deleted");
    assert_eq!(sentence(&one(&changes[0..1], "/r"), b"/r"), "d/ deleted");
    assert_eq!(sentence(&one(&changes[0..1], "/r/d"), b"/r/d"), "./ deleted");
}

#[test]
fn what_went_along_with_a_directory_is_counted_once() {
    let gone = What::Deleted { kind: Kind::Dir, unread: false };
    let told = |inside: (u64, u64), older: &[(&str, What)]| {
        let mut grouper = Grouper::new(b"/r".to_vec(), Limits::default(), Breaks::default());
        let (files, dirs) = inside;
        let is_least = files > 1000;
        grouper.push(&change(100, 1, "/r/d", gone.clone()), Inside { files, dirs, is_least });
        for (n, (path, what)) in older.iter().enumerate() {
            grouper.push(&change(99 - n as u64, 1, path, what.clone()), Inside::default());
        }
        sentence(&grouper.finish().unwrap(), b"/r")
    };
    assert_eq!(told((412, 3), &[]), "412 files and 4 directories deleted below d/");
    assert_eq!(told((0, 0), &[]), "d/ deleted");
    assert_eq!(told((200_000, 0), &[]), "more than 200000 files and 1 directory deleted below d/");
    // One that was changed just before is among them, one that was deleted elsewhere is not.
    assert_eq!(told((412, 3), &[("/r/d/a", modified())]), "412 files and 4 directories deleted below d/");
    let older = [("/r/dx", modified()), ("/r/e", deleted())];
    assert_eq!(told((1, 0), &older), "2 files and 1 directory deleted, dx changed");
    // What came in the same moment was there for a moment only.
    let older =
        [("/r/d/a", modified()), ("/r/d/a", created()), ("/r/d/n", What::Created { kind: Kind::Dir })];
    assert_eq!(
        told((412, 3), &older),
        "411 files and 3 directories deleted below d/, 1 file and 1 directory created and deleted again"
    );
    let older = [("/r/d/a", created()), ("/r/d", What::Created { kind: Kind::Dir })];
    assert_eq!(told((1, 0), &older), "1 file and 1 directory created and deleted again below d/");
}

#[test]
fn what_happened_to_a_path_is_taken_together() {
    let renamed = |from: &str| What::Renamed { from: from.as_bytes().to_vec() };
    let became = |newest_first: &[(&str, What)]| {
        let changes: Vec<Change> = newest_first
            .iter()
            .enumerate()
            .map(|(n, (path, what))| change(100 - n as u64, 1, path, what.clone()))
            .collect();
        sentence(&one(&changes, "/r"), b"/r")
    };
    assert_eq!(became(&[("/r/a", modified()), ("/r/a", created())]), "a created");
    assert_eq!(became(&[("/r/a", modified()), ("/r/a", modified())]), "a changed");
    assert_eq!(became(&[("/r/a", deleted()), ("/r/a", modified())]), "a deleted");
    assert_eq!(became(&[("/r/a", deleted()), ("/r/a", created())]), "a created and deleted again");
    assert_eq!(became(&[("/r/a", created()), ("/r/a", deleted())]), "a changed");
    assert_eq!(became(&[("/r/b", renamed("/r/a"))]), "b renamed");
    assert_eq!(became(&[("/r/b", renamed("/r/a")), ("/r/a", created())]), "b renamed");
    assert_eq!(became(&[("/elsewhere/b", renamed("/r/a"))]), "a moved away");
    assert_eq!(became(&[("/r/b", renamed("/elsewhere/a"))]), "b renamed");
    assert_eq!(became(&[("/r/b", deleted()), ("/r/b", renamed("/r/a"))]), "b deleted");
    let crowd = What::Crowd { detail: "about 9 entries".into() };
    assert_eq!(
        became(&[("/r/d", crowd), ("/r/t", What::Vanished { kind: Kind::File })]),
        "t gone before it was read, many came and went before they were read in d/"
    );
    assert_eq!(became(&[("/r/a", What::Uncovered)]), "a no longer protected");
    assert_eq!(became(&[("/r/a", What::Uncovered), ("/r/a", created())]), "a no longer protected");
}

#[test]
fn pauses_lengths_marks_and_gaps_end_a_moment() {
    let at = |seq, seconds| change(seq, seconds, "/r/a", modified());
    let ends = |changes: &[Change], breaks: &Breaks| -> Vec<u64> {
        grouped(changes, "/r", Limits::default(), breaks).iter().map(|moment| moment.first.seq.0).collect()
    };
    let none = Breaks::default();
    assert_eq!(
        ends(&[at(3, 31), at(2, 21), at(1, 10)], &none),
        [2, 1],
        "ten seconds are no pause, eleven are"
    );
    assert_eq!(ends(&[at(3, 0), at(2, 21), at(1, 20)], &none), [3, 1], "the clock was set back");
    let busy: Vec<Change> = (0..100).map(|n| at(100 - n, 900 - 9 * n as i64)).collect();
    assert_eq!(ends(&busy, &none), [67, 33, 1], "five minutes at most");
    // Wherever the clock says that it began: the order counts.
    let gap = |scope: &str, place, reason| Placed {
        gap: Gap {
            scope: scope.as_bytes().to_vec(),
            from: Instant(0),
            until: Gap::OPEN,
            reason,
            detail: String::new(),
        },
        place: Seq(place),
    };
    let close = [at(3, 3), at(2, 2), at(1, 1)];
    let breaks = |marks: &[u64], gaps: &[Placed]| {
        Breaks::new(marks.iter().map(|&seq| Seq(seq)).collect(), gaps, b"/r/d")
    };
    assert_eq!(ends(&close, &breaks(&[2, 9], &[])), [3, 1], "a mark says that 2 is part of what it names");
    assert_eq!(ends(&close, &breaks(&[3], &[])), [1]);
    assert_eq!(ends(&close, &breaks(&[], &[gap("/r", 2, GapReason::AgentDown)])), [3, 1]);
    for other in [gap("/else", 2, GapReason::AgentDown), gap("/r/d/x", 2, GapReason::Unreadable)] {
        assert_eq!(ends(&close, &breaks(&[], &[other])), [1]);
    }
}

#[test]
fn a_moment_is_bounded_and_an_observation_stays_whole() {
    let limits = Limits { path_bytes: 10 * (PATH_OVERHEAD + 6), ..Limits::default() };
    let changes: Vec<Change> =
        (0..100).map(|n| change(1000 - n / 3, 1, &format!("/r/{n:03}"), created())).collect();
    let moments = grouped(&changes, "/r", limits, &Breaks::default());
    assert!(moments.iter().all(|moment| moment.total() <= 12), "{moments:?}");
    assert_eq!(moments.iter().map(Moment::total).sum::<u64>(), 100);
    assert!(moments.windows(2).all(|pair| pair[0].first.seq > pair[1].last.seq));
}

/// The same by definition: all changes in hand, cut first, each path looked at from its oldest change on.
fn naive(newest_first: &[Change], dir: &[u8], limits: Limits, places: &[Seq]) -> Vec<Moment> {
    let mut groups: Vec<Vec<&Change>> = Vec::new();
    for change in newest_first {
        let goes_on = groups.last().is_some_and(|group| {
            let (newest, oldest) = (group[0], group[group.len() - 1]);
            let near = |other: &Change, most: i64| (other.instant.0 - change.instant.0).abs() <= most;
            let is_apart = places.iter().any(|&place| change.seq <= place && place < oldest.seq);
            let near = near(oldest, limits.pause_ns) && near(newest, limits.length_ns);
            oldest.seq == change.seq || (near && !is_apart)
        });
        match groups.last_mut() {
            Some(group) if goes_on => group.push(change),
            _ => groups.push(vec![change]),
        }
    }
    groups.iter().map(|group| naive_moment(group, dir)).collect()
}

fn naive_moment(group: &[&Change], dir: &[u8]) -> Moment {
    let point = |change: &Change| Point { seq: change.seq, instant: change.instant };
    let mut told: BTreeMap<Did, BTreeSet<(Vec<u8>, bool)>> = BTreeMap::new();
    let paths: BTreeSet<&[u8]> = group
        .iter()
        .flat_map(|change| match &change.what {
            What::Renamed { from } => vec![change.path.as_slice(), from],
            _ => vec![change.path.as_slice()],
        })
        .filter(|path| path.starts_with(&[dir, b"/"].concat()))
        .collect();
    for path in paths {
        // Oldest first: what each change says of the path before it, and after it.
        let mut before: Option<bool> = None;
        let (mut after, mut why, mut arrived, mut is_dir) = (true, Did::Changed, false, false);
        for change in group.iter().rev() {
            let (was, is, did) = match &change.what {
                What::Renamed { from } if from == path => {
                    let is_inside = change.path.starts_with(&[dir, b"/"].concat());
                    (true, false, if is_inside { Did::Renamed } else { Did::MovedAway })
                }
                _ if change.path != path => continue,
                What::Renamed { .. } => (true, true, Did::Renamed),
                What::Created { kind } => {
                    is_dir |= *kind == Kind::Dir;
                    (false, true, Did::Created)
                }
                What::Deleted { kind, .. } => {
                    is_dir |= *kind == Kind::Dir;
                    (true, false, Did::Deleted)
                }
                _ => (true, true, Did::Changed),
            };
            arrived |= before.is_none() && did == Did::Renamed && is;
            before.get_or_insert(was);
            (after, why) = (is, did);
        }
        let did = match (before.unwrap(), after) {
            (_, false) if why == Did::Renamed => continue,
            (_, false) if why == Did::MovedAway => Did::MovedAway,
            (true, false) => Did::Deleted,
            (false, false) => Did::Brief,
            (false, true) => Did::Created,
            (true, true) if arrived => Did::Renamed,
            (true, true) => Did::Changed,
        };
        told.entry(did).or_default().insert((path.to_vec(), is_dir));
    }
    let parts = told.into_iter().map(|(did, paths)| {
        let count = |dirs| paths.iter().filter(|(_, is_dir)| *is_dir == dirs).count() as u64;
        Part {
            did,
            is_least: false,
            files: count(false),
            dirs: count(true),
            below: naive_common(paths.iter().map(|(path, _)| path)),
        }
    });
    Moment { first: point(group[group.len() - 1]), last: point(group[0]), parts: parts.collect() }
}

fn naive_common<'p>(paths: impl Iterator<Item = &'p Vec<u8>>) -> Vec<u8> {
    let split = |path: &Vec<u8>| path.split(|&b| b == b'/').skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let lists: Vec<Vec<Vec<u8>>> = paths.map(split).collect();
    let mut depth = 0;
    while lists.iter().all(|list| list.get(depth).is_some() && list.get(depth) == lists[0].get(depth)) {
        depth += 1;
    }
    match lists[0].get(..depth).unwrap_or_default() {
        [] => b"/".to_vec(),
        names => names.iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect(),
    }
}

fn random_change() -> impl Strategy<Value = (u64, i64, String, What)> {
    let path =
        prop::sample::select(vec!["/r/a", "/r/b", "/r/d", "/r/d/a", "/r/d/b", "/r/d/e/a", "/r/f/a", "/q/a"]);
    let kind = prop::sample::select(vec![Kind::File, Kind::Dir]);
    let what = (0..5, path.clone(), kind).prop_map(|(n, from, kind)| match n {
        0 => What::Created { kind },
        1 => What::Deleted { kind, unread: false },
        2 => What::Renamed { from: from.as_bytes().to_vec() },
        3 => What::Attributes,
        _ => modified(),
    });
    let step = prop_oneof![4 => 0..4i64, 2 => 8..13i64, 1 => 100..200i64, 1 => -20..0i64];
    (0..2u64, step, path.prop_map(str::to_owned), what)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn moments_are_those_of_a_naive_grouping(
        steps in prop::collection::vec(random_change(), 0..60),
        marks in prop::collection::vec(0..80u64, 0..3),
        gaps in prop::collection::vec(0..80u64, 0..3),
    ) {
        let (mut seq, mut now) = (1, 0);
        let mut changes: Vec<Change> = Vec::new();
        for (more, step, path, what) in steps {
            // One observation has one instant.
            if more > 0 {
                (seq, now) = (seq + 1, now + step);
            }
            let is_seen = path.starts_with("/r/") || matches!(&what, What::Renamed { from } if from.starts_with(b"/r/"));
            let is_sound = !matches!(&what, What::Renamed { from } if from == path.as_bytes());
            if is_seen && is_sound {
                changes.push(change(seq, now, &path, what));
            }
        }
        changes.reverse();
        let marks: Vec<Seq> = marks.into_iter().map(Seq).collect();
        let gaps: Vec<Placed> = gaps.into_iter().map(|place| Placed {
            gap: Gap {
                scope: b"/r".to_vec(),
                from: Instant(0),
                until: Gap::OPEN,
                reason: GapReason::AgentDown,
                detail: String::new(),
            },
            place: Seq(place),
        }).collect();
        let breaks = Breaks::new(marks.clone(), &gaps, b"/r");
        let places: Vec<Seq> = marks.into_iter().chain(gaps.iter().map(|gap| gap.place)).collect();
        let seen = grouped(&changes, "/r", Limits::default(), &breaks);
        prop_assert_eq!(seen, naive(&changes, b"/r", Limits::default(), &places));
    }
}

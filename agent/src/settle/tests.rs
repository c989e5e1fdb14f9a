//! Tests of the rules one by one, and a random run against a list of everything that was hinted.

use super::collapse::ancestor;
use super::*;

const ROOT: &str = "/r";

fn settle() -> Settle {
    Settle::new(Timings::default(), [ROOT.as_bytes().to_vec()])
}

fn hint(path: &str, what: What) -> Hint {
    Hint { path: path.as_bytes().to_vec(), what }
}

fn moved(path: &str, from: &str) -> Hint {
    hint(path, What::MovedTo { from: Some(from.as_bytes().to_vec()) })
}

fn paths(work: &[Work]) -> Vec<String> {
    work.iter().map(|work| String::from_utf8_lossy(&work.path).into_owned()).collect()
}

fn take(settle: &mut Settle, at_ms: u64) -> Vec<Work> {
    settle.take_due(at_ms * MS, usize::MAX)
}

#[test]
fn each_kind_of_hint_has_its_delay() {
    for (what, delay_ms) in [
        (What::Closed, 20),
        (What::MovedTo { from: None }, 20),
        (What::Appeared { dir: false }, 20),
        (What::Appeared { dir: true }, 5),
        (What::Written, 200),
        (What::Gone, 20),
        (What::MovedFrom, 20),
        (What::Attributes, 20),
    ] {
        let mut settle = settle();
        assert!(settle.hint(1000 * MS, hint("/r/a", what.clone()), 1));
        assert_eq!(settle.next_due(), Some((1000 + delay_ms) * MS), "{what:?}");
        assert!(take(&mut settle, 1000 + delay_ms - 1).is_empty());
        assert_eq!(take(&mut settle, 1000 + delay_ms).len(), 1);
    }
}

#[test]
fn what_is_not_about_a_path_under_a_root_is_not_taken() {
    let mut settle = settle();
    assert!(!settle.hint(0, hint("", What::Overflow), 1));
    assert!(!settle.hint(0, hint("/r/a", What::Unmounted), 2));
    assert!(!settle.hint(0, hint("/rx/a", What::Written), 3));
    assert!(settle.drained_through(3) && settle.pending() == 0);
}

#[test]
fn writing_waits_for_quiet_but_not_for_ever() {
    let mut settle = settle();
    for number in 0..30 {
        settle.hint(number * 100 * MS, hint("/r/a", What::Written), number + 1);
        if number < 20 {
            assert!(take(&mut settle, number * 100).is_empty(), "{number}");
        }
    }
    let work = take(&mut settle, 2900);
    assert_eq!((work.len(), work[0].first_no, work[0].last_no), (1, 1, 30));
    assert_eq!(settle.next_due(), None);
}

#[test]
fn a_doubtful_file_is_due_at_once_unless_hints_of_it_wait() {
    let mut settle = settle();
    settle.reread(0, b"/r/a", 1);
    settle.reread(0, b"/elsewhere", 2);
    let work = take(&mut settle, 0);
    assert_eq!((paths(&work), work[0].marks), (vec!["/r/a".to_owned()], Marks::REREAD));
    // What is in flight covers nothing that comes later.
    settle.reread(0, b"/r/a", 3);
    assert!(take(&mut settle, 10_000).is_empty());
    settle.release(work[0].id);
    assert_eq!(take(&mut settle, 10_000).len(), 1);
    settle.hint(20_000 * MS, hint("/r/b", What::Written), 4);
    settle.reread(20_000 * MS, b"/r/b", 5);
    assert_eq!(settle.next_due(), Some(20_200 * MS), "it is still being written");
    assert!(take(&mut settle, 20_200)[0].marks.any(Marks::WRITTEN));
}

#[test]
fn order_tells_what_is_lost_unread() {
    let end = |marks: &[Marks]| marks.iter().fold(Marks::default(), |all, mark| all.then(*mark));
    let is = |marks: &[Marks]| {
        let end = end(marks);
        (end.any(Marks::UNREAD), end.any(Marks::LOST))
    };
    use Marks as M;
    assert_eq!(is(&[M::APPEARED, M::WRITTEN, M::CLOSED]), (true, false));
    assert_eq!(is(&[M::APPEARED, M::CLOSED, M::GONE]), (false, true));
    assert_eq!(is(&[M::APPEARED, M::CLOSED, M::MOVED_FROM]), (false, false), "read under its new name");
    assert_eq!(is(&[M::GONE]), (false, false), "what was read is not lost");
    assert_eq!(is(&[M::GONE, M::APPEARED]), (true, false));
    assert_eq!(is(&[M::WRITTEN, M::MOVED_TO]), (true, true), "written, and another renamed over it");
    assert_eq!(is(&[M::MOVED_TO, M::MOVED_TO]), (true, true));
    assert_eq!(is(&[M::MOVED_TO, M::MOVED_FROM, M::MOVED_TO]), (true, false));
    assert_eq!(is(&[M::ATTRIBUTES, M::GONE]), (false, false));
    // What was missed had been there before whatever else is said.
    assert_eq!(is(&[M::MISSED, M::GONE]), (false, true));
    assert_eq!(is(&[M::GONE, M::MISSED]), (false, true));
    assert_eq!(is(&[M::MOVED_FROM, M::MISSED]), (false, false));
    assert_eq!(end(&[M::MOVED_FROM, M::MISSED]), M::MOVED_FROM);
    assert_eq!(is(&[M::MISSED]), (true, false));
}

#[test]
fn what_was_missed_waits_for_the_hint_that_tells() {
    let mut settle = settle();
    settle.missed(0, b"/r/a", 1);
    assert_eq!(settle.next_due(), Some(200 * MS));
    settle.hint(MS, hint("/r/a", What::Gone), 2);
    assert!(take(&mut settle, 21)[0].marks.any(Marks::LOST));
}

#[test]
fn deletions_in_a_crowd_are_counted() {
    let mut settle = Settle::new(Timings { children_max: 3, ..Timings::default() }, [b"/r".to_vec()]);
    for number in 0..10 {
        let path = format!("/r/d/{number}");
        settle.hint(0, hint(&path, What::Appeared { dir: false }), 2 * number + 1);
        settle.hint(0, hint(&path, What::Gone), 2 * number + 2);
    }
    // What a restore has in passing is no loss, before and after the directory became one scan.
    for number in 0..10 {
        let path = format!("/r/e/.asof-1f.2a~{number}");
        settle.hint(0, hint(&path, What::Appeared { dir: false }), 2 * number + 21);
        settle.hint(0, hint(&path, What::Gone), 2 * number + 22);
    }
    let mut work = take(&mut settle, 10_000);
    work.sort_by(|one, other| one.path.cmp(&other.path));
    let told: Vec<_> = work.iter().map(|work| (work.scan, work.deletions)).collect();
    assert_eq!(told, [(Scan::Entries, 10), (Scan::Entries, 0)]);
}

#[test]
fn closing_ends_the_wait_and_attributes_do_not() {
    let mut settle = settle();
    settle.hint(0, hint("/r/a", What::Written), 1);
    settle.hint(10 * MS, hint("/r/a", What::Attributes), 2);
    assert_eq!(settle.next_due(), Some(200 * MS));
    settle.hint(20 * MS, hint("/r/a", What::Closed), 3);
    assert_eq!(settle.next_due(), Some(40 * MS));
}

#[test]
fn hints_for_work_in_flight_wait_for_its_release() {
    let mut settle = settle();
    settle.hint(0, hint("/r/a", What::Closed), 1);
    let first = take(&mut settle, 100);
    settle.hint(150 * MS, hint("/r/a", What::Closed), 2);
    assert!(take(&mut settle, 9000).is_empty());
    assert_eq!((settle.next_due(), settle.pending()), (None, 2));
    assert_eq!(settle.oldest_pending(), Some((1, 0)));
    assert!(!settle.drained_through(1));
    settle.release(first[0].id);
    assert!(settle.drained_through(1) && !settle.drained_through(2));
    let second = take(&mut settle, 9000);
    assert_eq!((second.len(), second[0].first_no), (1, 2));
    settle.release(second[0].id);
    assert!(settle.drained_through(u64::MAX) && settle.pending() == 0);
}

#[test]
fn new_names_are_taken_before_old_ones() {
    let mut settle = settle();
    settle.hint(0, hint("/r/gone", What::Gone), 1);
    settle.hint(0, hint("/r/old", What::MovedFrom), 2);
    settle.hint(0, hint("/r/written", What::Closed), 3);
    settle.hint(0, moved("/r/new", "/r/old"), 4);
    let work = take(&mut settle, 100);
    assert_eq!(paths(&work), ["/r/new", "/r/written", "/r/gone", "/r/old"]);
    assert_eq!(work[0].from.as_deref(), Some(&b"/r/old"[..]));
}

#[test]
fn an_old_name_takes_its_new_one_along_over_the_maximum() {
    let mut settle = settle();
    settle.hint(0, hint("/r/a", What::MovedFrom), 1);
    settle.hint(0, moved("/r/b", "/r/a"), 2);
    settle.hint(0, hint("/r/b", What::MovedFrom), 3);
    settle.hint(10 * MS, moved("/r/c", "/r/b"), 4);
    settle.hint(10 * MS, hint("/r/c", What::Written), 5);
    let work = settle.take_due(20 * MS, 1);
    assert_eq!(paths(&work), ["/r/b", "/r/c", "/r/a"], "one was asked for, and its new names come first");
}

#[test]
fn an_old_name_waits_while_its_new_one_is_in_flight() {
    let mut settle = settle();
    settle.hint(0, hint("/r/new", What::Closed), 1);
    let flying = take(&mut settle, 20);
    settle.hint(30 * MS, hint("/r/old", What::MovedFrom), 2);
    settle.hint(30 * MS, moved("/r/new", "/r/old"), 3);
    assert!(take(&mut settle, 5000).is_empty());
    assert_eq!(settle.next_due(), None, "nobody has to wake up for it");
    settle.release(flying[0].id);
    assert_eq!(paths(&take(&mut settle, 5000)), ["/r/new", "/r/old"]);
}

#[test]
fn exchanged_names_are_taken_together() {
    let mut settle = settle();
    settle.hint(0, hint("/r/a", What::MovedFrom), 1);
    settle.hint(0, moved("/r/b", "/r/a"), 2);
    settle.hint(0, hint("/r/b", What::MovedFrom), 3);
    settle.hint(0, moved("/r/a", "/r/b"), 4);
    assert_eq!(settle.take_due(20 * MS, 1).len(), 2);
}

#[test]
fn hastening_makes_due_what_was_hinted_before_and_nothing_else() {
    let mut settle = settle();
    settle.stretch(0, b"/r/hot", 20_000 * MS);
    settle.hint(0, hint("/r/hot", What::Written), 1);
    settle.hint(0, hint("/r/a", What::Written), 2);
    settle.hint(0, hint("/r/b", What::Written), 3);
    settle.hasten(2);
    assert_eq!(paths(&take(&mut settle, 0)), ["/r/hot", "/r/a"]);
    settle.hint(MS, hint("/r/b", What::Written), 4);
    assert_eq!(settle.next_due(), Some(201 * MS));
    settle.hasten(3);
    settle.hint(MS, hint("/r/b", What::Written), 5);
    assert_eq!(settle.next_due(), Some(0), "later hints do not put it off again");
}

#[test]
fn hastening_reaches_what_waits_for_a_release() {
    let mut settle = settle();
    settle.hint(0, hint("/r/a", What::Closed), 1);
    let first = take(&mut settle, 20);
    settle.hint(30 * MS, hint("/r/a", What::Written), 2);
    settle.hasten(2);
    settle.release(first[0].id);
    assert_eq!(take(&mut settle, 30).len(), 1);
}

#[test]
fn stretched_files_wait_longer_but_not_for_ever() {
    let mut settle = settle();
    assert!(settle.stretch(0, b"/r/hot", 60_000 * MS));
    settle.hint(0, hint("/r/hot", What::Closed), 1);
    assert_eq!(settle.next_due(), Some(30_000 * MS));
    assert_eq!(settle.stretched(1000 * MS).collect::<Vec<_>>(), [(&b"/r/hot"[..], 60_000 * MS)]);
    assert_eq!(settle.stretched(60_000 * MS).count(), 0);
    settle.stretch(0, b"/r/hot", 10 * MS);
    assert_eq!(settle.next_due(), Some(20 * MS));
}

#[test]
fn what_was_written_under_an_old_name_is_read_under_the_new_one() {
    let is_read = |work: &Work| work.marks.any(Marks::CONTENT);
    let of = |works: &[Work], path: &str| {
        works.iter().any(|work| work.path[..] == *path.as_bytes() && is_read(work))
    };
    // It waits still.
    let mut settle = settle();
    settle.hint(0, hint("/r/a", What::Written), 1);
    settle.hint(MS, hint("/r/a", What::MovedFrom), 2);
    settle.hint(MS, moved("/r/b", "/r/a"), 3);
    settle.hint(2 * MS, hint("/r/b", What::MovedFrom), 4);
    settle.hint(2 * MS, moved("/r/c", "/r/b"), 5);
    assert!(of(&take(&mut settle, 300), "/r/c"), "through two names");
    // It is being looked at.
    let mut settle = self::settle();
    settle.hint(0, hint("/r/a", What::Closed), 1);
    let flying = take(&mut settle, 20);
    settle.hint(21 * MS, moved("/r/b", "/r/a"), 2);
    assert!(of(&take(&mut settle, 50), "/r/b"));
    settle.release(flying[0].id);
    // Nothing was written: a rename is a rename.
    settle.hint(100 * MS, moved("/r/d", "/r/never-written"), 3);
    assert!(!of(&take(&mut settle, 150), "/r/d"));
    // From where nobody looks.
    settle.hint(200 * MS, hint("/r/in", What::MovedTo { from: None }), 4);
    assert!(of(&take(&mut settle, 250), "/r/in"));
}

#[test]
fn a_scan_says_of_its_arrivals_whether_something_was_written() {
    for written in [false, true] {
        let mut settle = settle();
        for number in 0..200 {
            settle.hint(0, hint(&format!("/r/d/{number}"), What::MovedFrom), number + 1);
        }
        if written {
            settle.hint(0, hint("/r/d/7", What::Closed), 201);
        }
        for number in 0..200 {
            settle.hint(MS, moved(&format!("/r/e/{number}"), &format!("/r/d/{number}")), 300 + number);
        }
        let works = take(&mut settle, 100);
        let arrivals = works.iter().flat_map(|work| &work.arrivals);
        let read = arrivals.filter(|arrival| arrival.marks.any(Marks::CONTENT)).count();
        assert_eq!(read > 0, written, "{read} are to be read");
    }
}

#[test]
fn many_children_become_one_scan_that_remembers_arrivals() {
    let mut settle = settle();
    settle.hint(0, moved("/r/d/new", "/r/old"), 1);
    settle.hint(0, hint("/r/d/sub", What::Appeared { dir: true }), 2);
    for number in 0..126 {
        settle.hint(MS, hint(&format!("/r/d/{number}"), What::Appeared { dir: false }), 3 + number);
    }
    assert_eq!(settle.pending(), 128);
    settle.hint(2 * MS, hint("/r/d/last", What::Closed), 129);
    assert_eq!(settle.pending(), 1);
    settle.hint(3 * MS, moved("/r/d/later", "/r/x"), 130);
    settle.hint(3 * MS, hint("/r/d/later", What::Closed), 131);
    assert_eq!(settle.pending(), 1);
    let work = take(&mut settle, 23);
    assert_eq!((paths(&work), work[0].scan), (vec!["/r/d".to_string()], Scan::Entries));
    assert_eq!((work[0].first_no, work[0].first_ns, work[0].last_no), (1, 0, 131));
    assert!(work[0].marks.is_empty(), "nothing was said of the directory itself");
    let arrivals: Vec<_> = work[0].arrivals.iter().map(|arrival| &*arrival.path).collect();
    assert_eq!(arrivals, [&b"/r/d/new"[..], b"/r/d/sub", b"/r/d/later"]);
    assert_eq!(work[0].arrivals[0].from.as_deref(), Some(&b"/r/old"[..]));
    settle.hint(24 * MS, hint("/r/d/late", What::Closed), 132);
    assert_eq!(paths(&take(&mut settle, 44)), ["/r/d/late"], "a scan in flight covers nothing new");
}

#[test]
fn a_scan_that_was_asked_for_is_due_at_once() {
    let mut settle = settle();
    settle.hint(0, hint("/r/d", What::Written), 1);
    settle.scan(MS, b"/r/d", Scan::Recursive, 2);
    settle.scan(MS, b"/r/d/e", Scan::Entries, 3);
    settle.scan(MS, b"/r/f", Scan::Entries, 4);
    settle.scan(MS, b"/r/f/g", Scan::Recursive, 5);
    settle.hint(MS, hint("/r/f/g/h/i", What::Written), 6);
    let work = take(&mut settle, 1);
    let extents: Vec<_> = work.iter().map(|work| (&*work.path, work.scan)).collect();
    assert_eq!(extents, [(&b"/r/d"[..], Scan::Recursive), (b"/r/f", Scan::Entries)]);
    let later = take(&mut settle, 201);
    assert_eq!((paths(&later), later[0].scan), (vec!["/r/f/g".to_string()], Scan::Recursive));
}

#[test]
fn a_quarter_of_a_million_cost_linear_work_in_any_order() {
    let count = 262_144_u64;
    let flat = |number: u64| format!("/r/one/{number:06}");
    let few = |number: u64| format!("/r/{:05}/{}", number / 4, number % 4);
    let lone = |number: u64| format!("/r/{:02}/{:06}/x/y", number % 10, number);
    let shapes: [&dyn Fn(u64) -> String; 3] = [&flat, &few, &lone];
    for (shape, name) in shapes.iter().enumerate() {
        for reverse in [false, true] {
            let mut settle = settle();
            for number in 0..count {
                let index = if reverse { count - 1 - number } else { number };
                settle.hint(0, hint(&name(index), What::Written), number + 1);
                assert!(settle.pending() <= 65_536);
            }
            assert!(settle.merged <= count, "shape {shape}: {} merged", settle.merged);
            let work = take(&mut settle, 2000);
            assert!(work.iter().any(|work| work.first_no == 1));
            for work in work {
                settle.release(work.id);
            }
            assert!(settle.drained_through(count) && settle.pending() == 0);
            assert!(settle.by_path.is_empty() && settle.children.is_empty() && settle.due.is_empty());
            assert_eq!((settle.recursive, settle.arrivals), (0, 0));
        }
    }
}

#[test]
fn more_renames_than_are_remembered_make_a_recursive_scan() {
    let mut settle = settle();
    for number in 0..10_000_u64 {
        settle.hint(0, moved(&format!("/r/d/{number}"), "/r/old"), number + 1);
    }
    assert!(settle.arrivals <= ARRIVALS_MAX);
    let work = take(&mut settle, 2000);
    assert_eq!((work.len(), work[0].scan), (1, Scan::Recursive));
    assert_eq!(settle.arrivals, 0);
}

#[test]
fn paths_have_parents_and_ancestors() {
    assert_eq!(parent(b"/a/b"), Some(&b"/a"[..]));
    assert_eq!(parent(b"/a"), Some(&b"/"[..]));
    assert_eq!(parent(b"/"), None);
    assert_eq!(ancestor(b"/r/a/b/c", 2, 1), Some(&b"/r/a"[..]));
    assert_eq!(ancestor(b"/r/a/b/c", 2, 2), Some(&b"/r/a/b"[..]));
    assert_eq!(ancestor(b"/r/a/b/c", 2, 3), None);
    assert_eq!(ancestor(b"/r/a/b/c", 2, 0), Some(&b"/r"[..]));
    assert_eq!(ancestor(b"/r", 2, 0), None);
    assert_eq!(ancestor(b"/a/b", 1, 0), Some(&b"/"[..]));
    assert_eq!(ancestor(b"/a/b", 1, 1), Some(&b"/a"[..]));
}

/// xorshift64*: enough of a random number for a test, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn path(&mut self) -> String {
        let mut path = ROOT.to_string();
        for _ in 0..=self.below(4) {
            path.push_str(&format!("/{}", self.below(5)));
        }
        path
    }
}

/// What the model knows: a hint that no work has covered yet.
struct Open {
    number: u64,
    at_ns: u64,
    path: String,
    arrived: bool,
}

fn covers(work: &Work, open: &Open) -> bool {
    let (path, scanned) = (open.path.as_bytes(), &*work.path);
    let below = path.strip_prefix(scanned).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let named = work.arrivals.iter().any(|arrival| &*arrival.path == path);
    work.first_no <= open.number
        && open.number <= work.last_no
        && match work.scan {
            _ if path == scanned => true,
            Scan::No => false,
            Scan::Entries => parent(path) == Some(scanned) && (!open.arrived || named),
            Scan::Recursive => below,
        }
}

#[test]
fn no_hint_is_lost_or_late_or_taken_twice_at_once() {
    let timings = Timings { children_max: 3, entries_max: 24, ..Timings::default() };
    for seed in 1..=300_u64 {
        let mut random = Random(seed * 0x9E37_79B9_7F4A_7C15);
        let mut settle = Settle::new(timings.clone(), [ROOT.as_bytes().to_vec()]);
        let (mut now_ns, mut number) = (0, 0);
        let mut open: Vec<Open> = Vec::new();
        let mut flying: Vec<Work> = Vec::new();
        for step in 0..1500 {
            now_ns += random.below(40) * MS;
            match random.below(10) {
                0..=5 => {
                    number += 1;
                    let path = random.path();
                    let what = match random.below(8) {
                        0 => What::Appeared { dir: true },
                        1 => What::MovedTo { from: Some(random.path().into_bytes()) },
                        2 => What::MovedFrom,
                        3 => What::Gone,
                        4 => What::Closed,
                        5 => What::Attributes,
                        6 => What::Appeared { dir: false },
                        _ => What::Written,
                    };
                    let arrived = matches!(what, What::Appeared { dir: true } | What::MovedTo { .. });
                    assert!(settle.hint(now_ns, hint(&path, what), number));
                    open.push(Open { number, at_ns: now_ns, path, arrived });
                }
                6 => settle.hasten(number.saturating_sub(random.below(20))),
                7 | 8 => {
                    let max = 1 + random.below(6) as usize;
                    let taken = settle.take_due(now_ns, max);
                    assert!(taken.is_sorted_by_key(Work::class), "seed {seed} step {step}");
                    for work in taken {
                        assert!(
                            flying.iter().all(|other| other.path != work.path),
                            "seed {seed} step {step}"
                        );
                        open.retain(|open| !covers(&work, open));
                        flying.push(work);
                    }
                }
                _ if !flying.is_empty() => {
                    let index = random.below(flying.len() as u64) as usize;
                    settle.release(flying.swap_remove(index).id);
                }
                _ => {}
            }
            assert!(
                settle.entries.len() <= timings.entries_max + flying.len() * 4,
                "seed {seed} step {step}"
            );
            let oldest =
                open.iter().map(|open| open.number).chain(flying.iter().map(|work| work.first_no)).min();
            let known = settle.oldest_pending().map(|(number, _)| number);
            assert!(known <= oldest || oldest.is_none(), "seed {seed} step {step}: {known:?} {oldest:?}");
            assert!(oldest.is_none() || known.is_some(), "seed {seed} step {step}");
            if flying.is_empty() {
                let taken = settle.take_due(now_ns, usize::MAX);
                for work in taken {
                    open.retain(|open| !covers(&work, open));
                    flying.push(work);
                }
                let latest_ns = timings.max_delay_ms * MS;
                let late = open.iter().find(|open| open.at_ns + latest_ns <= now_ns);
                assert!(late.is_none(), "seed {seed} step {step}: {:?}", late.map(|open| &open.path));
            }
        }
        settle.hasten(number);
        while settle.pending() > 0 {
            for work in settle.take_due(now_ns, 3) {
                open.retain(|open| !covers(&work, open));
                flying.push(work);
            }
            assert!(!flying.is_empty(), "seed {seed}: nothing is due and nothing in flight");
            settle.release(flying.remove(0).id);
        }
        assert!(open.is_empty(), "seed {seed}: {:?}", open.iter().map(|open| &open.path).collect::<Vec<_>>());
        assert!(settle.drained_through(number) && settle.held.is_empty() && settle.due.is_empty());
    }
}

//! Damage as a matrix: what is done to a small journal, where, and what must follow. Found, named exactly, never wrong
//! bytes, never a panic, and the rest restores.
//!
//! By default every byte of a small journal and a sample of a larger one; `make corruption` does everything to the small
//! one, a seventh of the bytes of the larger one, and prints how much that is.

#![expect(clippy::expect_used, reason = "a test that cannot set itself up has failed")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use asof_journal::append::Limits;
use asof_journal::format::frame::HEADER_LEN;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::Seq;
use asof_journal::verify::{IndexState, Options, verify};
use asof_tests::desk::{Desk, clock};
use asof_tests::specimen::{Judgement, Size, Specimen, content_of, copy_journal, judge, read_dir};

/// Whether everything is done instead of a sample.
fn is_exhaustive() -> bool {
    std::env::var_os("ASOF_CORRUPTION").is_some_and(|value| value == "all")
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or(20_261_128)
}

/// Runs one case for each number below `count` on a copy of the specimen for each thread.
fn in_parallel(specimen: &Specimen, name: &str, count: usize, case: impl Fn(&Path, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (case, next) = (&case, &next);
            scope.spawn(move || {
                let copy = specimen.copy(&format!("{name}-{thread}"), false);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    case(&copy, number);
                }
                fs::remove_dir_all(&copy).expect("the copy");
            });
        }
    });
}

/// Puts other bytes in the place of a segment for as long as a case lasts.
fn with_segment(journal: &Path, name: &str, bytes: &[u8], good: &[u8], case: impl FnOnce()) {
    let path = Layout::new(journal).segments().join(name);
    fs::write(&path, bytes).expect("the segment");
    case();
    fs::write(&path, good).expect("the segment");
}

/// Where the footer of a sealed segment begins.
fn footer_of(sealed: &[u8]) -> usize {
    let trailer: [u8; 8] = sealed[sealed.len() - 16..sealed.len() - 8].try_into().expect("a trailer");
    u64::from_le_bytes(trailer) as usize
}

/// The bit of a byte that is flipped.
fn bit(place: usize) -> u8 {
    let mut state = seed() ^ (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^= state >> 29;
    1 << (state.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 61)
}

/// Damage of a segment must be said, if only as a remark where it costs nothing.
fn assert_found(judged: &Judgement, what: &str) {
    assert!(!judged.sound || !judged.found.notes.is_empty(), "{what}: not found");
}

fn flips(size: Size, every: usize) {
    let specimen = Specimen::new(size);
    let places: Vec<(String, usize)> = specimen
        .segments
        .iter()
        .flat_map(|(name, bytes)| (0..bytes.len()).map(move |at| (name.clone(), at)))
        .step_by(every)
        .collect();
    let (failing, older) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(&specimen, "flips", places.len(), |copy, number| {
        let (name, at) = &places[number];
        let good = &specimen.segments[name];
        let mut bad = good.clone();
        bad[*at] ^= bit(number);
        let what = format!("{name}, byte {at}, bit mask {:#x}", bit(number));
        with_segment(copy, name, &bad, good, || {
            let judged = judge(copy, &specimen.shown, &what);
            assert_found(&judged, &what);
            failing.fetch_add(judged.failing, Ordering::Relaxed);
            older.fetch_add(judged.older, Ordering::Relaxed);
        });
    });
    println!(
        "{} flips of {} bytes in {} segments (seed {}): {} readings failed and were named, {} showed something older and \
         were named",
        places.len(),
        specimen.segments.values().map(Vec::len).sum::<usize>(),
        specimen.segments.len(),
        seed(),
        failing.into_inner(),
        older.into_inner()
    );
}

#[test]
fn every_flipped_byte_of_a_small_journal_is_found_and_named() {
    flips(Size::Small, 1);
}

#[test]
fn flipped_bytes_of_a_larger_journal_are_found_and_named() {
    // Every byte of it would take hours, and meet the same checks: its frames are only longer.
    flips(Size::Large, if is_exhaustive() { 7 } else { 211 });
}

#[test]
fn a_truncated_segment_is_found_unless_it_is_the_end_of_the_log() {
    let specimen = Specimen::new(Size::Small);
    let last = specimen.segments.keys().next_back().expect("a segment").clone();
    let every = if is_exhaustive() { 1 } else { 11 };
    let cuts: Vec<(String, usize)> = specimen
        .segments
        .iter()
        .flat_map(|(name, bytes)| (0..bytes.len()).step_by(every).map(move |len| (name.clone(), len)))
        .collect();
    in_parallel(&specimen, "cuts", cuts.len(), |copy, number| {
        let (name, len) = &cuts[number];
        let good = &specimen.segments[name];
        let what = format!("{name} cut to {len} of {} bytes", good.len());
        with_segment(copy, name, &good[..*len], good, || {
            if *name != last {
                let judged = judge(copy, &specimen.shown, &what);
                // A segment without a footer is as good.
                if *len < footer_of(good) {
                    assert!(!judged.sound, "{what}: not found");
                } else {
                    assert_eq!(judged.failing + judged.older, 0, "{what}");
                }
                return;
            }
            // Nothing in the log speaks of its end: this is what a power cut leaves.
            let reader = Reader::open(copy).expect("opening");
            let whole: Vec<_> =
                specimen.shown.iter().filter(|shown| shown.seq <= reader.head()).cloned().collect();
            let judged = judge(copy, &whole, &what);
            assert!(judged.sound, "{what}: a power cut is called damage: {:?}", judged.found.places);
        });
    });
    println!("{} truncations", cuts.len());
}

#[test]
fn a_truncated_end_of_the_log_is_found_where_the_index_knows_of_it() {
    let specimen = Specimen::new(Size::Small);
    let (last, good) = specimen.segments.iter().next_back().expect("a segment");
    let copy = specimen.copy("end", true);
    let footer = footer_of(good);
    let every = if is_exhaustive() { 3 } else { good.len() / 12 };
    for len in (0..footer - 8).step_by(every) {
        let what = format!("{last} cut to {len}, with an index");
        with_segment(&copy, last, &good[..len], good, || {
            let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
            assert!(!found.is_sound().expect("verify"), "{what}");
            assert!(!found.lost.is_empty() || !found.places.is_empty(), "{what}: not named");
        });
    }
}

#[test]
fn zeroed_ranges_are_found_and_named() {
    let specimen = Specimen::new(Size::Small);
    let every = if is_exhaustive() { 16 } else { 128 };
    let ranges: Vec<(String, usize, usize)> = specimen
        .segments
        .iter()
        .flat_map(|(name, bytes)| {
            [24, 200, 512, 4096].into_iter().flat_map(move |len| {
                (0..bytes.len()).step_by(every).map(move |at| (name.clone(), at, len.min(bytes.len() - at)))
            })
        })
        .collect();
    in_parallel(&specimen, "zeroes", ranges.len(), |copy, number| {
        let (name, at, len) = &ranges[number];
        let good = &specimen.segments[name];
        let mut bad = good.clone();
        bad[*at..at + len].fill(0);
        if bad == *good {
            return;
        }
        let what = format!("{name}: {len} bytes zeroed at {at}");
        with_segment(copy, name, &bad, good, || {
            let reader = Reader::open(copy).expect("opening");
            let is_last = specimen.segments.keys().next_back() == Some(name);
            let is_end = is_last && at + len == good.len();
            // Without batch and footer nobody knows how far it went.
            let shown: Vec<_> = specimen
                .shown
                .iter()
                .filter(|shown| !is_last || shown.seq <= reader.head())
                .cloned()
                .collect();
            let judged = judge(copy, &shown, &what);
            // Zeroes at the end of the log are what a power cut leaves, and a segment is as good without a footer, or with
            // less than the header of one.
            let footer = footer_of(good);
            let (until, header) = (footer.max(*at), footer + HEADER_LEN);
            let is_footer =
                at + len == good.len() && *at < header && good[*at..until].iter().all(|byte| *byte == 0);
            if !is_end && !is_footer {
                assert_found(&judged, &what);
            }
        });
    });
    println!("{} zeroed ranges", ranges.len());
}

/// What is done to the files of segments, by name.
type Arrangement = (&'static str, fn(&Path, &[String]));

fn swap(dir: &Path, one: &str, other: &str) {
    let aside = dir.join("aside");
    fs::rename(dir.join(one), &aside).expect("renaming");
    fs::rename(dir.join(other), dir.join(one)).expect("renaming");
    fs::rename(aside, dir.join(other)).expect("renaming");
}

const ARRANGEMENTS: [Arrangement; 9] = [
    ("the first segment is missing", |dir, names| fs::remove_file(dir.join(&names[0])).expect("rm")),
    ("a middle segment is missing", |dir, names| fs::remove_file(dir.join(&names[2])).expect("rm")),
    ("two middle segments are missing", |dir, names| {
        fs::remove_file(dir.join(&names[1])).expect("rm");
        fs::remove_file(dir.join(&names[2])).expect("rm");
    }),
    ("two segments are swapped", |dir, names| swap(dir, &names[1], &names[2])),
    ("the first and the last are swapped", |dir, names| swap(dir, &names[0], &names[names.len() - 1])),
    ("a segment is there twice", |dir, names| {
        let copy = dir.join("0000000000000099.seg");
        fs::copy(dir.join(&names[1]), copy).map(drop).expect("cp");
    }),
    ("a segment has taken the place of another", |dir, names| {
        fs::copy(dir.join(&names[1]), dir.join(&names[2])).map(drop).expect("cp");
    }),
    ("a segment is there open and sealed", |dir, names| {
        let open = dir.join(names[1].replace(".seg", ".open"));
        fs::copy(dir.join(&names[1]), open).map(drop).expect("cp");
    }),
    ("a middle segment is all zeroes", |dir, names| {
        let len = fs::metadata(dir.join(&names[2])).expect("stat").len();
        fs::write(dir.join(&names[2]), vec![0; len as usize]).expect("zeroes");
    }),
];

#[test]
fn missing_swapped_and_doubled_segments_are_found_with_an_index_and_without() {
    let specimen = Specimen::new(Size::Small);
    let names: Vec<String> = specimen.segments.keys().cloned().collect();
    assert!(names.len() >= 5, "{} segments", names.len());
    for (what, arrange) in ARRANGEMENTS {
        for with_index in [false, true] {
            let what = format!("{what}, index: {with_index}");
            let copy = specimen.copy("arranged", with_index);
            arrange(&Layout::new(&copy).segments(), &names);
            if with_index {
                // An index from before knows more than the log, which is checked alone.
                let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
                assert!(!found.is_sound().expect("verify"), "{what}: not found");
                assert!(found.index.is_sound(), "{what}: {:?}", found.index);
                continue;
            }
            let judged = judge(&copy, &specimen.shown, &what);
            assert!(!judged.sound, "{what}: not found");
        }
    }
}

#[test]
fn a_missing_last_segment_is_found_where_the_index_knows_of_it_and_its_numbers_are_not_given_again() {
    let specimen = Specimen::new(Size::Small);
    let names: Vec<String> = specimen.segments.keys().cloned().collect();
    let copy = specimen.copy("last", true);
    let last = specimen.shown.last().expect("an instant").seq;
    fs::remove_file(Layout::new(&copy).segments().join(&names[names.len() - 1])).expect("rm");
    let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
    assert!(matches!(found.index, IndexState::Ahead(_)), "{:?}", found.index);
    assert_eq!(found.lost.last().map(|lost| lost.last), Some(last));

    // Whoever writes on gives new numbers, so that what is gone is never taken for what came after.
    let mut desk = Desk::open(&copy, 100, Limits::default());
    assert!(!desk.journal.report.damage.is_empty());
    desk.write("/after", b"what came after");
    let after = desk.commit();
    assert_eq!(after, last.next());
    desk.close();
    fs::remove_dir_all(Layout::new(&copy).index()).expect("the index");
    let reader = Reader::open(&copy).expect("opening");
    assert_eq!(content_of(&reader, "/after", after).expect("reading"), Some(b"what came after".to_vec()));
    let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
    assert!(found.places.iter().any(|place| place.damage.what.contains("missing")), "{:?}", found.places);
}

#[test]
fn whoever_writes_on_changes_no_byte_of_a_damaged_log() {
    let specimen = Specimen::new(Size::Small);
    let mut cases = 0;
    let every = if is_exhaustive() { 31 } else { 409 };
    let places =
        specimen.segments.iter().flat_map(|(name, good)| (0..good.len()).map(move |at| (name, good, at)));
    for (name, good, at) in places.step_by(every) {
        cases += 1;
        let what = format!("{name}, byte {at}");
        let copy = specimen.copy("writes-on", cases % 2 == 0);
        let segments = Layout::new(&copy).segments();
        let mut bad = good.clone();
        bad[at] ^= bit(at);
        fs::write(segments.join(name), &bad).expect("the segment");
        let before = read_dir(&segments);
        let mut desk = Desk::open(&copy, 1_000, Limits::default());
        desk.write("/after", b"what came after");
        let after = desk.commit();
        desk.close();
        for (name, bytes) in before {
            assert!(
                fs::read(segments.join(&name)).expect("a segment") == bytes,
                "{what}: {name} was changed"
            );
        }
        let reader = Reader::open(&copy).expect("opening");
        let found = content_of(&reader, "/after", after).expect("reading");
        assert_eq!(found.as_deref(), Some(&b"what came after"[..]), "{what}");
        drop(reader);
        let deep = Options { deep: true, ..Options::default() };
        let found = verify(&copy, &deep, &|_| true).expect("verify");
        assert!(!found.is_sound().expect("verify") || !found.notes.is_empty(), "{what}: not found any more");
    }
    println!("{cases} damaged logs were written on");
}

/// A log that ends anywhere in what was never attested, also within what fills its last frame up, is written on: what
/// was not written to its end is void then, and neither end nor beginning is called damage.
#[test]
fn a_log_that_ends_anywhere_is_written_on_without_a_trace_of_damage() {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, Limits::default());
    desk.write("/f", &[b'a'; 600]);
    desk.commit();
    let durable = desk.journal.appender.applied().end.offset as usize;
    // Three lengths of content, so that the last frame is filled up by more than nothing.
    for round in 0..3u8 {
        desk.write("/f", &vec![b'b' + round; 20 + 3 * usize::from(round)]);
        desk.commit();
    }
    let shown = desk.drop_dead();
    let (name, good) = read_dir(&Layout::new(&dir).segments()).pop_last().expect("a segment");
    // Five and eight have no common factor: every place within what fills a frame up has its turn.
    for len in (durable..=good.len()).step_by(if is_exhaustive() { 1 } else { 5 }) {
        let what = format!("{name} ends at {len} of {}", good.len());
        let copy = tmp.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_journal(&dir, &copy, false);
        fs::write(Layout::new(&copy).segments().join(&name), &good[..len]).expect("the segment");
        let mut desk = Desk::open(&copy, 1_000, Limits::default());
        let last = desk.journal.appender.applied().last_seq;
        desk.write("/after", b"what came after");
        desk.commit();
        desk.close();
        let counts: Vec<_> = shown.iter().filter(|shown| shown.seq <= last).cloned().collect();
        let judged = judge(&copy, &counts, &what);
        assert!(judged.sound, "{what}: {:?}", judged.found.places);
    }
}

/// Both sides of the tail rule, at every byte of the last batches of a log that nobody sealed.
#[test]
fn a_power_cut_is_not_called_damage_and_damage_is_not_called_a_power_cut() {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let dir = tmp.path().join("j");
    let mut desk = Desk::open(&dir, 0, Limits::default());
    let mut ends = Vec::new();
    for round in 0..4u8 {
        desk.write("/f", &[b'a' + round; 600]);
        desk.write(&format!("/f{round}"), format!("content {round}").repeat(60).as_bytes());
        desk.commit();
        ends.push(desk.journal.appender.applied().end.offset as usize);
    }
    let shown = desk.drop_dead();
    let copy = tmp.path().join("copy");
    copy_journal(&dir, &copy, false);
    let (name, good) = read_dir(&Layout::new(&dir).segments()).pop_last().expect("a segment");
    // The last batch attests that what is before the third was durable; of itself nothing does.
    let attested = ends[2];
    for at in (ends[0]..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[at] ^= bit(at);
        let what = format!("byte {at} of {}", good.len());
        with_segment(&copy, &name, &bad, &good, || {
            let head = Reader::open(&copy).expect("opening").head();
            let counts: Vec<_> = shown.iter().filter(|shown| shown.seq <= head).cloned().collect();
            if at >= attested {
                let judged = judge(&copy, &counts, &what);
                let padding = judged.found.places.iter().all(|place| place.damage.what.contains("fills up"));
                assert!(
                    judged.sound || padding,
                    "{what}: a power cut is called damage: {:?}",
                    judged.found.places
                );
                assert!(counts.len() >= 3, "{what}: durable batches are gone");
            } else {
                let judged = judge(&copy, &shown, &what);
                assert!(!judged.sound, "{what}: damage is called a power cut");
            }
        });
    }
}

#[test]
fn an_index_that_is_damaged_stale_ahead_or_foreign_is_found_and_answers_stay_right() {
    let specimen = Specimen::new(Size::Small);
    let whole = read_dir(&Layout::new(&specimen.journal).index());
    let mut cases = 0;
    for (name, good) in &whole {
        let flips = if is_exhaustive() { 60 } else { 4 };
        for number in 0..=flips {
            let copy = specimen.copy("index", true);
            let path = Layout::new(&copy).index().join(name);
            let what = if number == flips {
                fs::remove_file(&path).expect("rm");
                format!("{name} of the index removed")
            } else if good.is_empty() {
                continue;
            } else {
                let at = (good.len() * (2 * number + 1) / (2 * flips)).min(good.len() - 1);
                let mut bad = good.clone();
                bad[at] ^= bit(at);
                fs::write(&path, bad).expect("the index");
                format!("byte {at} of {name} in the index")
            };
            cases += 1;
            // What does not matter to the answers need not be found; what is said must be right in any case.
            let reader = Reader::open(&copy).expect("opening");
            for shown in &specimen.shown {
                for (path, bytes) in &shown.files {
                    let found = content_of(&reader, path, shown.seq);
                    assert_eq!(found.expect(&what).as_ref(), Some(bytes), "{what}: {path} at {}", shown.seq);
                }
            }
            drop(reader);
            let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
            assert!(found.places.is_empty() && found.lost.is_empty(), "{what}: {:?}", found.places);
            let desk = Journal::open(&copy, &clock(500), Limits::default())
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            drop(desk);
        }
    }
    println!("{cases} damaged indexes");

    // From another copy of the journal that went on by itself.
    let fork = specimen.copy("fork", true);
    let mut desk = Desk::open(&fork, 300, Limits::default());
    desk.write("/fork", b"only in the fork");
    desk.commit();
    desk.close();
    let mine = specimen.copy("mine", true);
    let mut desk = Desk::open(&mine, 300, Limits::default());
    desk.write("/mine", b"only in mine");
    let seq = desk.commit();
    desk.close();
    for (what, from, into) in [("foreign", &fork, &mine), ("stale", &specimen.journal, &mine)] {
        let mixed = specimen.copy("mixed", false);
        fs::remove_dir_all(&mixed).expect("rm");
        copy_journal(into, &mixed, false);
        fs::create_dir_all(Layout::new(&mixed).index()).expect("mkdir");
        for (name, bytes) in read_dir(&Layout::new(from).index()) {
            fs::write(Layout::new(&mixed).index().join(name), bytes).expect("the index");
        }
        let found = verify(&mixed, &Options::default(), &|_| true).expect("verify");
        assert_eq!(found.is_sound().expect("verify"), what == "stale", "{what}: {:?}", found.index);
        let reader = Reader::open(&mixed).expect("opening");
        assert_eq!(content_of(&reader, "/mine", Seq::MAX).expect(what), Some(b"only in mine".to_vec()));
        assert_eq!(content_of(&reader, "/fork", Seq::MAX).expect(what), None, "{what}");
        assert_eq!(reader.head(), seq, "{what}");
    }
}

//! `--repair` through the library: damage at many places of a small journal, with the files of its last instant at hand.

#![expect(clippy::expect_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use asof_journal::Error;
use asof_journal::content::{Piece, Source};
use asof_journal::reader::Reader;
use asof_journal::repair::{Repaired, repair};
use asof_journal::storage::Layout;
use asof_journal::verify::{Options, verify};
use asof_tests::desk::clock;
use asof_tests::specimen::{Size, Specimen, content_of, judge, read_dir};

/// Bytes in memory as a file.
struct Bytes(Vec<u8>, usize);

impl Source for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        let rest = &self.0[self.1..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.1 += len;
        Ok(if len == 0 { Piece::End } else { Piece::Data(len) })
    }
}

fn mend(journal: &Path, files: &BTreeMap<String, Vec<u8>>) -> Repaired {
    let mut live = |path: &[u8]| -> io::Result<Option<(u64, Box<dyn Source>)>> {
        let found = files.get(&*String::from_utf8_lossy(path));
        Ok(found.map(|bytes| (bytes.len() as u64, Box::new(Bytes(bytes.clone(), 0)) as Box<dyn Source>)))
    };
    let options = Options { threads: 1, ..Options::default() };
    repair(journal, &options, &|| clock(5_000), &mut live, &|_| true).expect("repairing")
}

#[test]
fn what_live_files_hold_is_taken_again_and_the_rest_is_known_from_then_on() {
    let specimen = Specimen::new(Size::Small);
    let last = specimen.shown.last().expect("an instant");
    let (mut cases, mut taken, mut mended, mut lost) = (0, 0, 0, 0);
    let places =
        specimen.segments.iter().flat_map(|(name, good)| (0..good.len()).map(move |at| (name, good, at)));
    for (name, good, at) in places.step_by(173) {
        cases += 1;
        let what = format!("{name}, byte {at}");
        let copy = specimen.copy("mended", cases % 3 == 0);
        let segments = Layout::new(&copy).segments();
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(segments.join(name), &bad).expect("the segment");
        let before = read_dir(&segments);
        let first = mend(&copy, &last.files);
        for (name, bytes) in before {
            assert!(
                fs::read(segments.join(&name)).expect("a segment") == bytes,
                "{what}: {name} was changed"
            );
        }
        taken += first.blocks;
        // Everything that is there now can be read, unless what says so is gone itself.
        if first.found.lost.is_empty() {
            let reader = Reader::open(&copy).expect("opening");
            for (path, bytes) in &last.files {
                let found = content_of(&reader, path, last.seq);
                assert_eq!(found.expect(&what).as_ref(), Some(bytes), "{what}: {path}");
            }
        }
        // A look by somebody who knows nothing of the repair finds what it left, and nothing new.
        fs::remove_dir_all(Layout::new(&copy).index()).expect("the index");
        let judged = judge(&copy, &specimen.shown, &format!("{what}, mended"));
        assert!(
            judged.found.places.iter().all(|place| place.known.is_some()),
            "{what}: {:?}",
            judged.found.places
        );
        assert!(judged.found.lost.iter().all(|lost| lost.known.is_some()), "{what}: {:?}", judged.found.lost);
        assert_eq!(judged.sound, first.left.is_sound().expect("verify"), "{what}");
        assert_eq!(
            judged.sound,
            judged.failing + judged.older == 0 && judged.found.lost.is_empty(),
            "{what}"
        );
        if judged.sound {
            mended += 1
        } else {
            lost += 1
        }

        let second = mend(&copy, &last.files);
        assert_eq!((second.blocks, second.noted), (0, 0), "{what}: there was nothing left to do");
    }
    println!(
        "{cases} damaged journals: {mended} mended, {lost} with something lost for good, {taken} blocks taken again"
    );
    assert!(mended > 0 && lost > 0 && taken > 0);
}

#[test]
fn without_live_files_nothing_is_taken_and_all_is_known() {
    let specimen = Specimen::new(Size::Small);
    let (name, good) = specimen.segments.iter().nth(1).expect("a segment");
    let copy = specimen.copy("alone", true);
    let mut bad = good.clone();
    let len = bad.len();
    bad[200..len / 2].fill(0);
    fs::write(Layout::new(&copy).segments().join(name), bad).expect("the segment");
    let mended = mend(&copy, &BTreeMap::new());
    assert_eq!(mended.blocks, 0);
    assert!(mended.noted > 0);
    let found = verify(&copy, &Options { deep: true, ..Options::default() }, &|_| true).expect("verify");
    assert!(!found.is_sound().expect("verify"));
    assert!(found.places.iter().all(|place| place.known.is_some()), "{:?}", found.places);
}

#[test]
fn a_wrong_index_is_made_anew_and_a_writer_is_not_disturbed() {
    let specimen = Specimen::new(Size::Small);
    let copy = specimen.copy("index", true);
    let index = Layout::new(&copy).index();
    for (name, bytes) in read_dir(&index) {
        if name.ends_with(".sst") {
            let mut bad = bytes.clone();
            bad[10] ^= 1;
            fs::write(index.join(&name), bad).expect("the index");
        }
    }
    let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
    assert!(!found.index.is_sound(), "{:?}", found.index);
    assert!(mend(&copy, &BTreeMap::new()).index.is_some());
    let found = verify(&copy, &Options::default(), &|_| true).expect("verify");
    assert!(found.is_sound().expect("verify"), "{:?}", found.index);

    let open = asof_tests::desk::Desk::open(&copy, 9_000, asof_journal::append::Limits::default());
    let refused =
        repair(&copy, &Options::default(), &|| clock(9_001), &mut |_| Ok(None), &|_| true).map(drop);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    drop(open);
}

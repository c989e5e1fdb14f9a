//! The end of the log, found from the beginning of the newest segment and from where an index ends: the same, and cheaper.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asof_journal::Result;
use asof_journal::index::apply::{self, BatchPlace};
use asof_journal::index::keys::Applied;
use asof_journal::manifest::Manifest;
use asof_journal::recovery::{Tail, find_tail, find_tail_behind, replay};
use asof_journal::segments::{SegmentSet, Walked, walk_batches};
use asof_journal::storage::{AppendFile, Layout, OsStorage, ReadFile, Storage};
use asof_journal::types::Seq;

use crate::desk::{Desk, text};

/// Counts the bytes that are read.
#[derive(Default)]
struct Counting(Arc<AtomicU64>);

struct CountingFile(Arc<dyn ReadFile>, Arc<AtomicU64>);

impl ReadFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.0.read_at(buffer, offset)?;
        self.1.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

impl Storage for Counting {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(CountingFile(OsStorage.open(path)?, self.0.clone())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        OsStorage.list(dir)
    }

    fn create(&self, _: &Path) -> io::Result<Box<dyn AppendFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: &Path, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn make_read_only(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn settle(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Every state that an index could be in: how far it had come, and the batch that it had last.
fn states(set: &SegmentSet) -> Result<Vec<(Applied, BatchPlace)>> {
    let segment = set.last().expect("a segment");
    let (mut states, mut applied) = (Vec::new(), Applied::default());
    walk_batches(segment, segment.start, segment.first_chain(), u64::MAX, &mut |walked| {
        if let Walked::Batch(batch, place) = walked {
            applied = apply::advance(&applied, &batch, &place);
            states.push((applied, place));
        }
        Ok(())
    })?;
    Ok(states)
}

#[test]
fn the_end_is_found_from_an_index_as_from_the_beginning_and_little_is_read() -> Result<()> {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let mut desk = Desk::open(tmp.path(), 0)?;
    for n in 0..300 {
        desk.create(&format!("f{n}"), &text(100 + n * 20, n as u64))?;
        desk.commit()?;
    }
    let layout = Layout::new(tmp.path());
    let uuid = Manifest::open(&OsStorage, &layout)?.uuid;
    let storage = Counting::default();
    let whole = states(&SegmentSet::open(&storage, &layout, uuid)?)?;
    let (last, _) = whole[whole.len() - 1];
    let path = layout.open_segment(last.end.segment);
    let bytes = std::fs::read(&path).expect("the segment");

    // Whole; with a tail that was not written to its end; with one whose middle never came; with other bytes behind it.
    let cut = bytes[..bytes.len() - 40].to_vec();
    let mut holed = bytes.clone();
    let at = bytes.len() - 2000;
    holed[at..at + 500].fill(0);
    let more = [&bytes[..], &[7; 333]].concat();
    for (what, content) in [("whole", bytes.clone()), ("cut", cut), ("holed", holed), ("more", more)] {
        std::fs::write(&path, content).expect("written");
        let set = SegmentSet::open(&storage, &layout, uuid)?;
        // What the index knows of sequence numbers is no matter of where the log ends.
        let plain = |tail: Tail| Tail { last_seq: Seq::ZERO, ..tail };
        let expected = plain(find_tail(&set, None)?);
        for (applied, place) in states(&set)?.iter().filter(|(applied, _)| applied.end <= expected.end) {
            let (tail, met) = find_tail_behind(&set, applied, place.frame)?;
            assert_eq!(plain(tail), expected, "{what}");
            let (mut replayed, mut damage) = (0, Vec::new());
            replay(&set, &tail, applied, &mut damage, &mut |_| {
                replayed += 1;
                Ok(())
            })?;
            let met = met.expect("the index is believed");
            let batches = met.iter().filter(|walked| matches!(walked, Walked::Batch(..))).count();
            assert_eq!(
                (batches, met.len() - batches),
                (replayed, damage.len()),
                "{what}: all that a replay finds"
            );
        }
        // What an index of another log would say, or one that is ahead: nothing of it is believed.
        for (applied, place) in &whole {
            let foreign = Applied { salt: applied.salt ^ 1, ..*applied };
            assert!(
                matches!(find_tail_behind(&set, &foreign, place.frame)?, (tail, None) if plain(tail) == expected)
            );
            if applied.end > expected.end {
                continue;
            }
            let mut short = *applied;
            short.end.offset -= 8;
            assert!(
                matches!(find_tail_behind(&set, &short, place.frame)?, (tail, None) if plain(tail) == expected)
            );
        }
    }

    std::fs::write(&path, &bytes).expect("written");
    let set = SegmentSet::open(&storage, &layout, uuid)?;
    let read = |find: &dyn Fn() -> Result<()>| -> Result<u64> {
        let before = storage.0.load(Ordering::Relaxed);
        find()?;
        Ok(storage.0.load(Ordering::Relaxed) - before)
    };
    let all = read(&|| find_tail(&set, None).map(|_| ()))?;
    let (applied, place) = whole[whole.len() - 1];
    let few = read(&|| find_tail_behind(&set, &applied, place.frame).map(|_| ()))?;
    assert!(few < 4096 && all > bytes.len() as u64 / 4, "{few} bytes instead of {all}");
    Ok(())
}

//! What an answer costs does not grow with the history: counted in reads and bytes, which no other load disturbs.
//!
//! One test in a process of its own: the kernel counts for the whole process.

use std::fs;
use std::path::Path;

use asof_journal::append::Limits;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::types::{ClockReading, Content, Extent, Instant, Seq};
use asof_tests::bulk::Bulk;
use asof_tests::must::Must;

const FILES: u64 = 10_000;
/// Versions of the short history, and of the long one.
const VERSIONS: [u64; 2] = [50_000, 1_000_000];
/// What is allowed to grow for each further segment: its header is read.
const SEGMENT_READS: u64 = 1;
const SEGMENT_BYTES: u64 = 4096;

/// What a process has read so far.
#[derive(Clone, Copy, Debug)]
struct Read {
    calls: u64,
    bytes: u64,
}

impl Read {
    fn until_now() -> Read {
        let told = fs::read_to_string("/proc/self/io").must("what was read");
        let value = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name)).must(name.to_owned());
            line.trim().parse().must(name.to_owned())
        };
        Read { calls: value("syscr:"), bytes: value("rchar:") }
    }

    fn since(self, earlier: Read) -> Read {
        Read { calls: self.calls - earlier.calls, bytes: self.bytes - earlier.bytes }
    }
}

/// A history with its index, and how many segments it has.
fn history(dir: &Path, versions: u64) -> u64 {
    let mut bulk = Bulk::with_files(dir, FILES);
    bulk.fill(versions);
    bulk.flush();
    let clock = ClockReading { wall: Instant(1_800_000_000_000_000_000), boottime_ns: 1, boot_id: [2; 16] };
    drop(Journal::open(dir, &clock, Limits::default()).must("an index"));
    fs::read_dir(dir.join("segments")).must("segments").count() as u64
}

/// Opens a journal and reads a file as of a place, as `asof cat` does.
fn answer(dir: &Path, file: u64) -> (Read, bool) {
    let before = Read::until_now();
    let reader = Reader::open(dir).must("a reader");
    let at = Seq(reader.head().0 * 3 / 4);
    let view = reader.view(at);
    let entry = view.resolve(Bulk::file_name(file).as_bytes()).must("a look").must("a file");
    let version = view.version(entry.node).must("a version").must("a version");
    let has_block = match &version.version.content {
        Content::Extents(_) => {
            for extent in view.extents(&version.version).must("extents") {
                let Extent::Block { id, len } = extent else { panic!("{extent:?}") };
                assert_eq!(view.block(id).must("a block").len(), len as usize);
            }
            true
        }
        _ => false,
    };
    drop(reader);
    (Read::until_now().since(before), has_block)
}

/// The most that any of a few answers with content from a block reads.
fn dearest(dir: &Path) -> Read {
    let all: Vec<Read> = (0..40)
        .map(|n| answer(dir, n * 241))
        .filter(|(_, has_block)| *has_block)
        .map(|(read, _)| read)
        .collect();
    assert!(all.len() > 10, "most files have blocks");
    Read {
        calls: all.iter().map(|read| read.calls).max().unwrap_or(0),
        bytes: all.iter().map(|read| read.bytes).max().unwrap_or(0),
    }
}

#[test]
fn what_is_read_for_an_answer_does_not_grow_with_the_history() {
    let tmp = tempfile::tempdir().must("a temporary directory");
    let [(short, few), (long, many)] = VERSIONS.map(|versions| {
        let dir = tmp.path().join(versions.to_string());
        let segments = history(&dir, versions);
        (dearest(&dir), segments)
    });
    println!("{VERSIONS:?} versions in {few} and {many} segments: {short:?} and {long:?}");
    let further = many - few;
    assert!(further > 2, "the long history has more segments");
    let bytes = long.bytes - further * SEGMENT_BYTES;
    assert!(bytes <= short.bytes * 13 / 10, "{short:?} became {long:?} with {further} more segments");
    // A table more or less of each kind that there are many of.
    let calls = long.calls - further * SEGMENT_READS;
    assert!(calls <= short.calls * 13 / 10 + 24, "{short:?} became {long:?} with {further} more segments");
}

//! Tests of captures of files that hold still and of files that do not.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;
use crate::clock::OsClock;
use crate::fs::OsFs;
use crate::testdir::TestDir;

struct Setup {
    dir: TestDir,
    fs: OsFs,
    handle: DirHandle,
    clock: OsClock,
}

fn setup() -> Setup {
    let dir = TestDir::create();
    fs::write(dir.join("f"), "0123456789").expect("write");
    let os = OsFs::new();
    let root = os.open_root(dir.path()).expect("root");
    let handle = os.open_dir(&root, b"").expect("dir");
    Setup { dir, fs: os, handle, clock: OsClock::open().expect("clock") }
}

fn options(writer: Writer) -> CaptureOptions {
    CaptureOptions { writer, doubted: None, reread: false, page_cache: PageCache::Keep }
}

fn read_all(source: &mut dyn Source) -> io::Result<Vec<u8>> {
    let (mut content, mut buffer) = (Vec::new(), [0; 4]);
    loop {
        match source.read(&mut buffer)? {
            Piece::Data(count) => content.extend_from_slice(&buffer[..count]),
            Piece::Hole(length) => content.resize(content.len() + length as usize, 0),
            Piece::End => return Ok(content),
        }
    }
}

impl Setup {
    fn run(
        &self,
        writer: Writer,
        sink: &mut dyn FnMut(&mut dyn Source) -> io::Result<Vec<u8>>,
    ) -> Result<Captured<Vec<u8>>, CaptureError<io::Error>> {
        capture(&self.fs, &self.clock, &self.handle, b"f", options(writer), sink)
    }

    /// Changes the file for certain: the size goes up.
    fn grow(&self) {
        let file = fs::File::options().append(true).open(self.dir.join("f")).expect("open");
        let end = file.metadata().expect("metadata").len();
        file.write_all_at(b"x", end).expect("write");
    }
}

#[test]
fn a_quiet_file_is_clean_at_the_first_try() {
    let setup = setup();
    let mut tries = 0;
    let captured = setup
        .run(Writer::Unlikely, &mut |source| {
            tries += 1;
            read_all(source)
        })
        .expect("captured");
    assert_eq!(
        (captured.content.as_slice(), captured.quality, tries),
        (&b"0123456789"[..], Quality::Clean, 1)
    );
    assert_eq!(captured.stat.size, 10);
    let closed = setup.run(Writer::MaybeActive, &mut read_all).expect("captured");
    assert_eq!(closed.quality, Quality::Clean, "the kernel knows better than hints that nobody writes");
}

#[test]
fn while_somebody_has_it_open_for_writing_it_is_provisional() {
    let setup = setup();
    let label = |writer| setup.run(writer, &mut read_all).expect("captured").quality;
    let reader = fs::File::open(setup.dir.join("f")).expect("open");
    assert_eq!(label(Writer::Unknown), Quality::Clean, "readers do no harm");
    let file = fs::File::options().append(true).open(setup.dir.join("f")).expect("open");
    for writer in [Writer::Unlikely, Writer::Unknown, Writer::MaybeActive] {
        assert_eq!(label(writer), Quality::Provisional, "{writer:?}");
    }
    drop(file);
    assert_eq!(label(Writer::MaybeActive), Quality::Clean);
    drop(reader);
}

#[test]
fn a_file_that_has_been_quiet_is_not_asked_about() {
    let setup = setup();
    let ctime = |seconds: i64| Instant(1_700_000_000_000_000_000 - seconds * 1_000_000_000);
    let stat = |seconds| Stat { ctime: ctime(seconds), ..setup.fs.stat(&setup.handle, b"f").expect("stat") };
    let now = ctime(0);
    assert!(asks(&options(Writer::Unknown), &stat(0), now));
    assert!(asks(&options(Writer::Unlikely), &stat(59), now));
    assert!(asks(&options(Writer::Unknown), &stat(-3600), now), "the clock was set back");
    assert!(!asks(&options(Writer::Unknown), &stat(61), now));
    assert!(asks(&options(Writer::MaybeActive), &stat(61), now));
    let doubted = CaptureOptions { doubted: Some(ctime(61)), ..options(Writer::Unknown) };
    assert!(asks(&doubted, &stat(61), now));
}

#[test]
fn where_the_kernel_does_not_tell_hints_count() {
    let untold = |writer, recent| quality(writer, Some(Writers::Unknown), recent);
    assert_eq!(untold(Writer::Unlikely, true), Quality::Clean);
    assert_eq!(untold(Writer::Unknown, true), Quality::Provisional);
    assert_eq!(untold(Writer::Unknown, false), Quality::Clean);
    assert_eq!(untold(Writer::MaybeActive, false), Quality::Provisional);
    assert_eq!(quality(Writer::Unknown, None, false), Quality::Clean);
}

#[test]
fn a_long_file_that_is_still_open_is_not_read_again_for_doubt_alone() {
    let setup = setup();
    let file = fs::File::options().write(true).open(setup.dir.join("f")).expect("open");
    file.set_len(REREAD_BYTES_MAX + 1).expect("longer");
    let ctime = setup.fs.stat(&setup.handle, b"f").expect("stat").ctime;
    let again = |options: CaptureOptions| {
        let mut reads = 0;
        let captured = capture(&setup.fs, &setup.clock, &setup.handle, b"f", options, &mut |_| {
            reads += 1;
            Ok::<(), io::Error>(())
        });
        (captured.map(|captured| captured.quality), reads)
    };
    let doubted = CaptureOptions { doubted: Some(ctime), reread: true, ..options(Writer::Unknown) };
    assert!(matches!(again(doubted), (Err(CaptureError::StillOpen), 0)));
    let hinted = CaptureOptions { reread: false, ..doubted };
    assert!(matches!(again(hinted), (Ok(Quality::Provisional), 1)), "a hint is a reason to read");
    let changed = CaptureOptions { doubted: Some(Instant(ctime.0 - 1)), ..doubted };
    assert!(matches!(again(changed), (Ok(Quality::Provisional), 1)), "so is another change time");
    drop(file);
    assert!(matches!(again(doubted), (Ok(Quality::Clean), 1)), "and so is that nobody has it open");
}

#[test]
fn a_change_during_the_read_makes_another_try() {
    let setup = setup();
    let mut tries = 0;
    let captured = setup
        .run(Writer::Unlikely, &mut |source| {
            tries += 1;
            if tries == 1 {
                setup.grow();
            }
            read_all(source)
        })
        .expect("captured");
    assert_eq!((captured.content.len(), captured.quality, tries), (11, Quality::Clean, 2));
    assert_eq!(captured.stat.size, 11);
}

#[test]
fn a_file_that_never_holds_still_is_torn() {
    let setup = setup();
    let mut tries = 0;
    let captured = setup
        .run(Writer::Unlikely, &mut |source| {
            tries += 1;
            setup.grow();
            read_all(source)
        })
        .expect("captured");
    assert_eq!((captured.quality, tries), (Quality::Torn, TRIES_MAX));
}

#[test]
fn a_replaced_file_is_read_in_its_new_form() {
    let setup = setup();
    let mut tries = 0;
    let captured = setup
        .run(Writer::Unlikely, &mut |source| {
            tries += 1;
            if tries == 1 {
                setup.grow();
                fs::write(setup.dir.join("new"), "new").expect("write");
                fs::rename(setup.dir.join("new"), setup.dir.join("f")).expect("mv");
            }
            read_all(source)
        })
        .expect("captured");
    assert_eq!((captured.content.as_slice(), captured.quality), (&b"new"[..], Quality::Clean));
}

#[test]
fn what_cannot_be_captured_says_why() {
    let setup = setup();
    let failed = setup.run(Writer::Unlikely, &mut |_| Err(io::Error::other("full")));
    assert!(matches!(failed, Err(CaptureError::Sink(_))));
    fs::remove_file(setup.dir.join("f")).expect("rm");
    let failed = setup.run(Writer::Unlikely, &mut read_all);
    assert!(
        matches!(failed, Err(CaptureError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound)
    );
    fs::create_dir(setup.dir.join("f")).expect("mkdir");
    let failed = setup.run(Writer::Unlikely, &mut read_all);
    assert!(matches!(
        failed,
        Err(CaptureError::NotRegular(NotRegular { kind: asof_journal::types::Kind::Dir }))
    ));
}

#[test]
fn a_change_time_close_to_the_read_or_after_it_is_racy() {
    let ms = |ms: i64| Instant(1_700_000_000_000_000_000 + ms * 1_000_000);
    assert!(is_racy(ms(0), ms(0)));
    assert!(is_racy(ms(0), ms(9)));
    assert!(!is_racy(ms(0), ms(10)));
    assert!(is_racy(ms(50_000), ms(0)));
}

//! Replacing and deleting in a temporary directory, with somebody in the way.

use std::fs::{self as files, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::*;

fn open(dir: &Path) -> Rc<OwnedFd> {
    Rc::new(fs::open(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap())
}

fn seen(dir: &Path, name: &str) -> Seen {
    Seen::look(open(dir).as_fd(), name.as_bytes()).unwrap().unwrap()
}

/// A directory with `old`, and `new` under a temporary name.
fn scene() -> (tempfile::TempDir, Names, Temporary) {
    let dir = tempfile::tempdir().unwrap();
    files::write(dir.path().join("old"), "old").unwrap();
    let names = Names::new();
    let name = names.next();
    files::write(dir.path().join(std::str::from_utf8(&name).unwrap()), "new").unwrap();
    let temporary = Temporary::new(open(dir.path()), name);
    (dir, names, temporary)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = files::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn by(way: Way, names: &Names, temporary: Temporary, planned: &Seen, writers: Writers) -> Outcome<()> {
    let done = replace_by(way, names, &temporary, b"old", planned, writers);
    if let Err(NodeError::Kept(_)) = done {
        temporary.keep();
    }
    done
}

#[test]
fn what_was_planned_is_replaced_and_goes_away() {
    for way in [Way::Exchange, Way::Aside] {
        let (dir, given, temporary) = scene();
        by(way, &given, temporary, &seen(dir.path(), "old"), Writers::Respected).unwrap();
        assert_eq!(files::read(dir.path().join("old")).unwrap(), b"new", "{way:?}");
        assert_eq!(names(dir.path()), ["old"], "{way:?}");
    }
}

#[test]
fn a_file_gives_way_to_a_directory() {
    for way in [Way::Exchange, Way::Aside] {
        let (dir, given, temporary) = scene();
        drop(temporary);
        let name = given.next();
        files::create_dir(dir.path().join(std::str::from_utf8(&name).unwrap())).unwrap();
        let temporary = Temporary::new(open(dir.path()), name);
        by(way, &given, temporary, &seen(dir.path(), "old"), Writers::Respected).unwrap();
        assert!(dir.path().join("old").is_dir(), "{way:?}");
        assert_eq!(names(dir.path()), ["old"], "{way:?}");
    }
}

#[test]
fn what_changed_since_it_was_looked_at_stays() {
    for way in [Way::Exchange, Way::Aside] {
        let (dir, given, temporary) = scene();
        let planned = seen(dir.path(), "old");
        files::write(dir.path().join("old"), "newer than the plan").unwrap();
        let error = by(way, &given, temporary, &planned, Writers::Ignored).unwrap_err();
        assert!(matches!(error, NodeError::Refused(_)), "{way:?}: {error}");
        assert_eq!(files::read(dir.path().join("old")).unwrap(), b"newer than the plan");
        assert_eq!(names(dir.path()), ["old"], "{way:?}");
    }
}

#[test]
fn what_a_program_has_open_for_writing_gets_its_name_back() {
    for way in [Way::Exchange, Way::Aside] {
        let (dir, given, temporary) = scene();
        let planned = seen(dir.path(), "old");
        let writer = OpenOptions::new().append(true).open(dir.path().join("old")).unwrap();
        let error = by(way, &given, temporary, &planned, Writers::Respected).unwrap_err();
        assert!(error.to_string().contains("open for writing"), "{way:?}: {error}");
        let old = files::metadata(dir.path().join("old")).unwrap();
        assert_eq!(old.ino(), planned.inode.1, "{way:?}");
        assert_eq!(names(dir.path()), ["old"], "{way:?}");
        let error = remove(&given, &open(dir.path()), b"old", &seen(dir.path(), "old"), Writers::Respected);
        assert!(error.unwrap_err().to_string().contains("open for writing"));
        assert_eq!(names(dir.path()), ["old"], "{way:?}");
        remove(&given, &open(dir.path()), b"old", &seen(dir.path(), "old"), Writers::Ignored).unwrap();
        assert_eq!(names(dir.path()), [""; 0], "{way:?}");
        drop(writer);
    }
}

#[test]
fn only_what_was_planned_is_deleted() {
    let (dir, given, temporary) = scene();
    drop(temporary);
    let at = open(dir.path());
    let planned = seen(dir.path(), "old");
    files::write(dir.path().join("old"), "changed").unwrap();
    let error = remove(&given, &at, b"old", &planned, Writers::Ignored).unwrap_err();
    assert!(matches!(error, NodeError::Refused(_)), "{error}");
    remove(&given, &at, b"absent", &planned, Writers::Ignored).unwrap();
    files::create_dir(dir.path().join("d")).unwrap();
    files::write(dir.path().join("d/in"), "x").unwrap();
    let error = remove(&given, &at, b"d", &seen(dir.path(), "d"), Writers::Ignored).unwrap_err();
    assert!(error.to_string().contains("not planned to go"), "{error}");
    assert_eq!(names(dir.path()), ["d", "old"]);
}

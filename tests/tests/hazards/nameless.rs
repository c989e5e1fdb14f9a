//! Hazards of files whose names come late, or go early.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use asof_tests::must::Must;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::place::{Outcome, Place, make_dir, put};

/// Writes to a file without a name carry a phantom name; only the link tells of it.
pub(crate) fn nameless_then_linked(place: &Place) -> Outcome {
    let new = |bytes: &[u8]| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(place.dir(), flags, Mode::from_raw_mode(0o644))?);
        file.write_all_at(bytes, 0)?;
        Ok::<File, std::io::Error>(file)
    };
    let link = |file: &File, name: &str| {
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, from, CWD, place.path(name), AtFlags::SYMLINK_FOLLOW).must(name);
    };
    let file = match new(b"all before the link") {
        Ok(file) => file,
        Err(error) => return Outcome::Skipped(format!("O_TMPFILE: {error}")),
    };
    link(&file, "before");
    drop(file);
    let file = new(b"before, ").must("O_TMPFILE");
    link(&file, "after");
    file.write_all_at(b"and after the link", 8).must("write");
    drop(file);
    place.exact("closed");
    let file = new(b"never closed").must("O_TMPFILE");
    link(&file, "open");
    place.exact("linked and still open");
    file.write_all_at(b"WRITTEN LATER", 0).must("write");
    place.exact("written after the link was captured");
    drop(file);
    // Linked, captured, and linked once more: two names of one file.
    let file = new(b"two names").must("O_TMPFILE");
    link(&file, "first");
    link(&file, "second");
    drop(file);
    place.exact("two names");
    Outcome::Met
}

/// A descriptor outlives the name that it was opened by; the file lives on under another one.
pub(crate) fn written_through_a_lost_name(place: &Place) -> Outcome {
    let open = |name: &str| File::options().write(true).open(place.path(name)).must(name);
    for (kept, lost) in [("kept", "lost"), ("kept, too", "taken by another")] {
        put(place.path(kept), "old");
        fs::hard_link(place.path(kept), place.path(lost)).must("link");
    }
    place.site.sync();
    let (one, two) = (open("lost"), open("taken by another"));
    for name in ["lost", "taken by another"] {
        fs::remove_file(place.path(name)).must(name);
    }
    put(place.path("taken by another"), "another file");
    place.exact("the names are gone");
    for file in [&one, &two] {
        file.write_all_at(b"NEW", 0).must("write");
    }
    place.exact("written through names that are gone");
    for file in [&one, &two] {
        file.write_all_at(b"NEWER", 0).must("write");
    }
    drop((one, two));
    place.exact("and closed");
    Outcome::Met
}

/// What came and went before anybody could read it was there all the same.
pub(crate) fn deleted_before_capture(place: &Place) -> Outcome {
    let names: Vec<String> = (0..20).map(|number| format!("short-lived-{number}")).collect();
    for name in &names {
        put(place.path(name), "gone before anybody looks");
        fs::remove_file(place.path(name)).must(name);
    }
    // One that was captured before is not meant.
    put(place.path("lives"), "stays");
    let synced = place.exact("after the last");
    for name in &names {
        place.is_gone(&place.path(name), &synced);
        let history = place.history(&place.path(name));
        assert!(!history.is_empty(), "{name} existed, and the log says nothing of it");
        assert!(
            history.iter().all(|line| line["what"] != "modified"),
            "nobody read it, so there is no content: {history:?}"
        );
    }
    // A directory with everything in it.
    make_dir(place.path("dir/sub"));
    put(place.path("dir/sub/file"), "gone, too");
    fs::remove_dir_all(place.path("dir")).must("remove");
    place.exact("a directory that came and went");
    Outcome::Met
}

//! Hazards of mappings that stay: a store into a page that is dirty already moves no time and makes no event.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use asof_tests::filesystem::Filesystem;
use asof_tests::must::Must;
use asof_tests::site::Synced;
use asof_tests::sys::Mapping;
use asof_tests::wait::quiet;

use crate::content::{PAGE, open};
use crate::place::{Outcome, Place, put};

/// Maps a file, stores A, and has that captured while the mapping lives: an append by somebody else makes the event.
fn stored_and_captured(place: &Place) -> (PathBuf, Mapping, Synced) {
    let path = place.path("mapped");
    put(&path, vec![b'.'; 2 * PAGE]);
    let file = open(&path);
    let mut mapping = Mapping::new(&file, 2 * PAGE).must("a mapping");
    drop(file);
    mapping.store(0, b"A");
    OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"more")).must("append");
    let first = place.site.sync();
    assert_eq!(place.cat(&path, &first).first(), Some(&b'A'));
    // What is read so soon after a change is read again anyway; this is about what is not.
    quiet(Duration::from_millis(50));
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).must("chmod");
    place.site.sync();
    (path, mapping, first)
}

/// Why nobody can know of a mapping there: what is captured then is right by chance, where it was read so soon after a
/// change that it is read again.
fn untold(place: &Place) -> Option<&'static str> {
    (place.filesystem() == Filesystem::Overlay)
        .then_some("overlayfs tells nobody of mappings: neither a lease nor the last unmap does")
}

/// Store A, capture, store B into the page that is dirty already, munmap: only the close says that there is B.
pub(crate) fn mapped_and_stored_again(place: &Place) -> Outcome {
    if let Some(why) = untold(place) {
        return Outcome::Skipped(why.into());
    }
    let (path, mut mapping, first) = stored_and_captured(place);
    mapping.store(0, b"B");
    drop(mapping);
    let second = place.exact("unmapped");
    assert_eq!(place.cat(&path, &second).first(), Some(&b'B'));
    assert_eq!(place.cat(&path, &first).first(), Some(&b'A'));
    Outcome::Met
}

/// The same with kill -9 before the munmap, so that nobody hears of that either: B.
pub(crate) fn mapped_and_killed(place: &Place) -> Outcome {
    if let Some(why) = untold(place) {
        return Outcome::Skipped(why.into());
    }
    let (path, mut mapping, first) = stored_and_captured(place);
    mapping.store(0, b"B");
    place.while_killed(|| drop(mapping));
    let second = place.exact("restarted");
    assert_eq!(place.cat(&path, &second).first(), Some(&b'B'));
    assert_eq!(place.cat(&path, &first).first(), Some(&b'A'));
    Outcome::Met
}

//! Hazards of paths that no system call takes.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use asof_tests::filesystem::run;
use asof_tests::must::Must;
use rustix::fs::{Mode, OFlags};

use crate::place::{Outcome, Place, make_dir, put};

pub(crate) fn beyond_path_max(place: &Place) -> Outcome {
    // 30 levels of 200 bytes; no single path of a system call may be that long.
    let name = "n".repeat(200);
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = place.path("long");
    make_dir(&top);
    let mut dir = rustix::fs::open(&top, flags, Mode::empty()).must("open");
    for level in 0..30 {
        rustix::fs::mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).must("mkdirat");
        dir = rustix::fs::openat(&dir, &name, flags, Mode::empty()).must("openat");
        let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, "file", create, Mode::from_raw_mode(0o644)).must("create");
        File::from(file).write_all(format!("level {level}").as_bytes()).must("write");
    }
    put(place.path("beside"), "goes on");
    place.agent().allow("nnnnnnnn");
    place.agent().allow("File name too long");
    let synced = place.site.sync();
    assert_eq!(place.cat(&place.path("beside"), &synced), b"goes on");
    // Whether what lies too deep is captured or is in a gap: it is not lost in silence, and what can be named is there.
    let mut reached = top.join(&name);
    for level in 0..10 {
        assert_eq!(place.cat(&reached.join("file"), &synced), format!("level {level}").into_bytes());
        reached.push(&name);
    }
    let listed = place.site.asof(["--json", "ls", "-R", &top.to_string_lossy(), "--at", &synced.at]).exits(0);
    let levels = listed.json_lines().iter().filter(|line| line["kind"] == "file").count();
    println!("{}: {levels} of 30 levels captured", place.filesystem());
    let status = place.site.status().to_string();
    assert!(levels == 30 || status.contains("nnnnnnnn"), "what is not captured is named in status: {status}");
    // Out of everybody's way again; `rm` walks by descriptors.
    run(Command::new("rm").arg("-rf").arg(&top)).must("rm");
    let gone = place.exact("removed");
    place.is_gone(&top, &gone);
    place.agent().protecting(&place.site);
    Outcome::Met
}

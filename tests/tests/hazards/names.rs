//! Hazards of names: several of one file, names that change hands, bytes that are no text, paths that are too long.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use asof_tests::must::Must;
use asof_tests::tree::has_program;
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Timespec, Timestamps};

use crate::place::{Outcome, Place, make_dir, put};

pub(crate) fn hard_links(place: &Place) -> Outcome {
    make_dir(place.path("d2"));
    put(place.path("f"), "one");
    fs::hard_link(place.path("f"), place.path("d2/h")).must("link");
    place.exact("linked");
    put(place.path("d2/h"), "written through the other name");
    let written = place.exact("written through the other name");
    assert_eq!(place.cat(&place.path("f"), &written), b"written through the other name");
    // Written through one name and that name gone before anybody looks.
    fs::OpenOptions::new()
        .append(true)
        .open(place.path("d2/h"))
        .and_then(|mut file| file.write_all(b", and more"))
        .must("append");
    fs::remove_file(place.path("d2/h")).must("remove");
    let left = place.exact("the name that was written through is gone");
    assert_eq!(place.cat(&place.path("f"), &left), b"written through the other name, and more");
    // The same, and another file has taken the name: as a program saves that knows nothing of the link.
    fs::hard_link(place.path("f"), place.path("d2/taken")).must("link");
    place.exact("linked again");
    put(place.path("d2/other"), "another file");
    fs::OpenOptions::new()
        .append(true)
        .open(place.path("d2/taken"))
        .and_then(|mut file| file.write_all(b", and still more"))
        .must("append");
    fs::rename(place.path("d2/other"), place.path("d2/taken")).must("rename");
    let left = place.exact("the name that was written through is another file's");
    let whole = b"written through the other name, and more, and still more";
    assert_eq!(place.cat(&place.path("f"), &left), whole);
    // The same, and the directory of that name is another one by then.
    make_dir(place.path("d3/level"));
    fs::hard_link(place.path("f"), place.path("d3/level/h")).must("link");
    place.exact("linked in a directory");
    put(place.path("d3/level/h"), "written in a directory that goes");
    fs::remove_dir_all(place.path("d3")).must("remove");
    make_dir(place.path("d3/level"));
    let left = place.exact("the directory of the name was made anew");
    assert_eq!(place.cat(&place.path("f"), &left), b"written in a directory that goes");
    // Names made and lost in a chain; the last one stands.
    for number in 0..50 {
        let (from, to) = (place.path(format!("chain-{number}")), place.path(format!("chain-{}", number + 1)));
        if number == 0 {
            put(&from, "handed on");
        }
        fs::hard_link(&from, &to).must("link");
        fs::remove_file(&from).must("remove");
    }
    place.exact("handed on by links");
    // A link made while the agent is down has no event at all.
    place.while_stopped(|| {
        fs::hard_link(place.path("f"), place.path("d2/made while down")).must("link");
        put(place.path("d2/made while down"), "written while down");
    });
    let down = place.exact("linked while down");
    assert_eq!(place.cat(&place.path("f"), &down), b"written while down");
    Outcome::Met
}

fn exchange(one: &Path, other: &Path) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
}

pub(crate) fn renames(place: &Place) -> Outcome {
    for name in ["a", "b", "over", "under"] {
        put(place.path(name), format!("this was {name}"));
    }
    for name in ["dir-1", "dir-2"] {
        make_dir(place.path(name).join("inner"));
        put(place.path(name).join("inner/file"), format!("in {name}"));
    }
    let before = place.exact("before");
    let (node_a, node_b) = (place.node(&place.path("a"), &before), place.node(&place.path("b"), &before));
    if let Err(error) = exchange(&place.path("a"), &place.path("b")) {
        return Outcome::Skipped(format!("RENAME_EXCHANGE: {error}"));
    }
    let swapped = place.exact("two files exchanged");
    assert_eq!(place.cat(&place.path("a"), &swapped), b"this was b");
    assert_eq!(place.cat(&place.path("b"), &swapped), b"this was a");
    assert_eq!(
        (place.node(&place.path("a"), &swapped), place.node(&place.path("b"), &swapped)),
        (node_b, node_a)
    );
    fs::rename(place.path("over"), place.path("under")).must("rename over");
    let over = place.exact("renamed over another");
    assert_eq!(place.cat(&place.path("under"), &over), b"this was over");
    assert_eq!(place.cat(&place.path("under"), &swapped), b"this was under");
    exchange(&place.path("dir-1"), &place.path("dir-2")).must("exchange");
    put(place.path("dir-1/inner/file"), "written after the exchange");
    place.exact("two directories exchanged, then written");
    exchange(&place.path("a"), &place.path("dir-1")).must("exchange");
    put(place.path("a/inner/new"), "in what was a file's name");
    place.exact("a file and a directory exchanged");
    // An even number of times: everything is as it was, and nothing may be lost on the way.
    for round in 0..40 {
        exchange(&place.path("dir-2"), &place.path("a")).must("exchange");
        put(place.path("a/inner/file"), format!("round {round}"));
    }
    place.exact("exchanged again and again");
    Outcome::Met
}

#[track_caller]
fn run(command: &mut Command) {
    asof_tests::filesystem::run(command).must("a program");
}

/// As programs save: sed; vim both ways, the real one too where there is one; emacs; LibreOffice.
pub(crate) fn atomic_saves(place: &Place) -> Outcome {
    let path = place.path("text");
    put(&path, "one\ntwo\nthree\n");
    let mut saves = vec![(place.exact("created"), fs::read(&path).must("text"))];
    let mut save = |what: &str, act: &dyn Fn()| {
        act();
        saves.push((place.exact(what), fs::read(&path).must("text")));
    };
    save("sed -i", &|| run(Command::new("sed").args(["-i", "s/one/ONE/"]).arg(&path)));
    save("vim, backupcopy=no", &|| {
        let backup = place.path("text~");
        fs::rename(&path, &backup).must("rename");
        put(&path, "ONE\nby vim\n");
        fs::remove_file(&backup).must("remove");
    });
    save("vim, backupcopy=yes", &|| {
        let backup = place.path("text~");
        fs::copy(&path, &backup).must("copy");
        put(&path, "ONE\nby vim, in place\n");
        fs::remove_file(&backup).must("remove");
    });
    save("emacs", &|| {
        put(place.path("#text#"), "autosaved");
        fs::rename(&path, place.path("text~")).must("rename");
        put(&path, "by emacs\n");
        fs::remove_file(place.path("#text#")).must("remove");
    });
    save("LibreOffice", &|| {
        let (lock, temporary) = (place.path(".~lock.text#"), place.path("lu1234.tmp"));
        put(&lock, "me");
        put(&temporary, "by an office\n");
        fs::rename(&temporary, &path).must("rename");
        fs::remove_file(&lock).must("remove");
    });
    save("link and unlink", &|| {
        let temporary = place.path("handed-over");
        put(&temporary, "by link\n");
        fs::remove_file(&path).must("remove");
        fs::hard_link(&temporary, &path).must("link");
        fs::remove_file(&temporary).must("remove");
    });
    if has_program("vim") {
        for backupcopy in ["yes", "no"] {
            save(&format!("the real vim, backupcopy={backupcopy}"), &|| {
                let set = format!("set writebackup nobackup noswapfile backupcopy={backupcopy}");
                let edit = format!("normal Goby the real vim, {backupcopy}");
                let mut vim = Command::new("vim");
                run(vim.args(["-es", "-u", "NONE", "-c", &set, "-c", &edit, "-c", "wq"]).arg(&path));
            });
        }
    } else {
        println!("skipped in part: vim is not installed");
    }
    for (at, bytes) in &saves {
        assert_eq!(&place.cat(&path, at), bytes, "at {}", at.at);
    }
    // One history, not one for each inode.
    let history = place.history(&path);
    let seqs: Vec<u64> = history.iter().filter_map(|line| line["seq"].as_u64()).collect();
    for pair in saves.windows(2) {
        let (from, to) = (pair[0].0.seq, pair[1].0.seq);
        assert!(
            seqs.iter().any(|seq| (from + 1..=to).contains(seq)),
            "a save between {from} and {to}: {seqs:?}"
        );
    }
    Outcome::Met
}

pub(crate) fn raw_names(place: &Place) -> Outcome {
    let long = [0xfe_u8; 255];
    let names: [&[u8]; 7] = [b"\xff", b"new\nline", b"\xff\xfe\n\x01", b" ", b"-rf", b"a\\b\"'", &long];
    for (number, name) in names.iter().enumerate() {
        let dir = place.path(OsStr::from_bytes(name));
        make_dir(&dir);
        for inner in names {
            put(dir.join(OsStr::from_bytes(inner)), format!("{number}"));
        }
    }
    place.exact("made");
    for name in names {
        let dir = place.path(OsStr::from_bytes(name));
        fs::rename(dir.join(OsStr::from_bytes(name)), dir.join("moved \u{fffd}")).must("rename");
        put(dir.join(OsStr::from_bytes(b"more \xff")), "more");
    }
    let moved = place.path(OsStr::from_bytes(b"moved\n\xff"));
    fs::rename(place.path(OsStr::from_bytes(b"\xff")), &moved).must("rename");
    put(moved.join("later"), "after the move");
    place.exact("moved");
    Outcome::Met
}

pub(crate) fn symlinks(place: &Place) -> Outcome {
    let listed = place.site.counter("directories_listed");
    symlink("/", place.path("everything")).must("symlink");
    symlink(".", place.path("itself")).must("symlink");
    symlink("..", place.path("above")).must("symlink");
    symlink("/proc/self/fd/0", place.path("mine")).must("symlink");
    make_dir(place.path("dir"));
    symlink("../everything/etc", place.path("dir/through")).must("symlink");
    place.exact("made");
    let more = place.site.counter("directories_listed") - listed;
    assert!(more <= 10, "no symlink is followed: {more} directories listed");
    // A name that turns from a directory into a symlink and back.
    for round in 0..20 {
        let path = place.path("turns");
        make_dir(&path);
        put(path.join("inside"), format!("round {round}"));
        fs::remove_dir_all(&path).must("remove");
        symlink("/etc", &path).must("symlink");
        if round < 19 {
            fs::remove_file(&path).must("remove");
        }
    }
    place.exact("a directory's name became a symlink");
    let replaced = place.path("replaced");
    symlink("first", &replaced).must("symlink");
    place.site.sync();
    let beside = place.path("beside");
    symlink("second", &beside).must("symlink");
    fs::rename(&beside, &replaced).must("rename");
    place.exact("a symlink renamed over another");
    Outcome::Met
}

pub(crate) fn special_files(place: &Place) -> Outcome {
    let fifo = place.path("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o640), 0).must("mkfifo");
    // Like /dev/full: reading it never ends.
    for (name, device) in [("zero", rustix::fs::makedev(1, 5)), ("watchdog", rustix::fs::makedev(10, 130))] {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, place.path(name), FileType::CharacterDevice, mode, device).must(name);
    }
    let _socket = std::os::unix::net::UnixListener::bind(place.path("s"));
    let read = place.path("read by nobody");
    put(&read, "content");
    // Access times a day ago, which `relatime` would move at the next read.
    let day = Timespec { tv_sec: 1_700_000_000, tv_nsec: 5 };
    let times = Timestamps { last_access: day, last_modification: day };
    rustix::fs::utimensat(CWD, &read, &times, AtFlags::empty()).must("utimensat");
    place.site.sync();
    place.while_stopped(|| ());
    place.site.sync();
    let atime = fs::metadata(&read).must("stat").atime();
    assert_eq!(atime, day.tv_sec, "capture does not count as access");
    let bytes = place.site.asof(["cat", &read.to_string_lossy()]).exits(0).stdout;
    assert_eq!(bytes, b"content");
    // What may be connected to now is not given back: only what else is there is compared.
    fs::remove_file(place.path("s")).must("remove");
    place.exact("fifo and devices");
    fs::remove_file(&fifo).must("remove");
    put(&fifo, "a file where a fifo was");
    fs::remove_file(place.path("zero")).must("remove");
    make_dir(place.path("zero"));
    place.exact("they became something else");
    Outcome::Met
}

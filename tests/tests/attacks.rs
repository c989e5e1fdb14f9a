//! What somebody could try with a restore: symlinks swapped into its way, names from a journal that lead elsewhere or
//! speak to the terminal, and trees without a bottom. Nothing outside of the target changes, and nothing falls over.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use asof_journal::append::Limits;
use asof_journal::storage::Layout;
use asof_journal::types::{Content, Group, Instant, Kind, Metadata, NodeId, Op, Quality, Version};
use asof_tests::desk::Desk;
use asof_tests::files::write;
use asof_tests::must::Must;
use asof_tests::site::{Output, Site, arguments};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};

/// Directories that are swapped, each with so many files.
const SWAPPED: usize = 4;
const FILES_EACH: usize = 40;
/// Restores that are raced against.
const ROUNDS: usize = 12;
/// Directories below each other.
const DEPTH: usize = 10_000;

/// Swaps directories of a tree with symlinks that lead outside, as fast as it can, until told to stop.
fn swap_again_and_again(tree: &Path, outside: &Path, until: &AtomicBool, swaps: &AtomicU64) {
    let links: Vec<PathBuf> = (0..SWAPPED).map(|dir| tree.with_extension(format!("link-{dir}"))).collect();
    for link in &links {
        symlink(outside, link).must("a symlink");
    }
    while !until.load(Ordering::Relaxed) {
        for (dir, link) in links.iter().enumerate() {
            let dir = tree.join(format!("d{dir}"));
            // There and back: both exist all the time, only one of them under the name.
            for _ in 0..2 {
                if renameat_with(CWD, link, CWD, &dir, RenameFlags::EXCHANGE).is_ok() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    for (dir, link) in links.iter().enumerate() {
        let dir = tree.join(format!("d{dir}"));
        if fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_symlink()) {
            renameat_with(CWD, link, CWD, &dir, RenameFlags::EXCHANGE).must("the last swap");
        }
        let _ = fs::remove_file(link);
    }
}

fn fill(root: &Path, content: &str) {
    for dir in 0..SWAPPED {
        let dir = root.join(format!("d{dir}"));
        fs::create_dir_all(dir.join("below")).must(dir.display());
        for file in 0..FILES_EACH {
            write(dir.join(format!("f{file}")), content);
            write(dir.join(format!("below/f{file}")), content);
        }
    }
}

/// What must not change: a directory with names that the restored tree has, too.
fn outside(site: &Site) -> PathBuf {
    let outside = site.path("outside");
    fs::create_dir_all(outside.join("below")).must("outside");
    for file in 0..FILES_EACH / 2 {
        write(outside.join(format!("f{file}")), "outside");
        write(outside.join(format!("below/f{file}")), "outside");
    }
    outside
}

#[track_caller]
fn is_untouched(outside: &Path) {
    let mut files = 0;
    for dir in [outside.to_path_buf(), outside.join("below")] {
        for entry in fs::read_dir(&dir).must(dir.display()) {
            let path = entry.must("an entry").path();
            if path.is_file() {
                assert_eq!(fs::read_to_string(&path).must(path.display()), "outside", "{}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, FILES_EACH / 2 * 2, "nothing came and nothing went");
}

#[test]
fn symlinks_that_are_swapped_into_a_target_lead_nowhere() {
    let site = Site::new();
    fill(&site.root, "restored");
    let outside = outside(&site);
    let agent = site.start();
    let then = site.sync();
    agent.terminate();
    let target = site.restore(&site.root, &then.at);
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut refused = 0;
    thread::scope(|scope| {
        scope.spawn(|| swap_again_and_again(&target, &outside, &over, &swaps));
        for _ in 0..ROUNDS {
            let all = arguments(&[
                &"restore",
                &site.root,
                &"--at",
                &then.at,
                &"--to",
                &target,
                &"--overwrite",
                &"always",
            ]);
            let output = site.asof(all).run();
            assert!([0, 3].contains(&output.status), "status {}: {}", output.status, output.stderr);
            refused += usize::from(output.status == 3);
            is_untouched(&outside);
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("{} swaps during {ROUNDS} restores, {refused} of which left something out", swaps.into_inner());
    is_untouched(&outside);
}

#[test]
fn symlinks_that_are_swapped_into_the_live_tree_lead_nowhere() {
    let site = Site::new();
    fill(&site.root, "then");
    let outside = outside(&site);
    let agent = site.start();
    let then = site.sync();
    fill(&site.root, "now");
    fill(&site.root, "now, and more");
    write(site.root.join("d0/extra"), "goes with --exact");
    site.sync();
    agent.terminate();
    let (over, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut left = 0;
    thread::scope(|scope| {
        // The links beside the root: nothing that is swapped lies in the root when nothing is swapped.
        scope.spawn(|| swap_again_and_again(&site.root, &outside, &over, &swaps));
        for _ in 0..ROUNDS {
            let all = arguments(&[
                &"restore",
                &site.root,
                &"--at",
                &then.at,
                &"--in-place",
                &"--exact",
                &"--yes",
                &"--no-undo",
            ]);
            let output = site.asof(all).run();
            assert!([0, 3].contains(&output.status), "status {}: {}", output.status, output.stderr);
            left += usize::from(output.status == 3);
            is_untouched(&outside);
        }
        over.store(true, Ordering::Relaxed);
    });
    println!(
        "{} swaps during {ROUNDS} restores in place, {left} of which left something",
        swaps.into_inner()
    );
    let all = arguments(&[
        &"restore",
        &site.root,
        &"--at",
        &then.at,
        &"--in-place",
        &"--exact",
        &"--yes",
        &"--no-undo",
    ]);
    site.asof(all).exits(0);
    is_untouched(&outside);
    for dir in 0..SWAPPED {
        for file in 0..FILES_EACH {
            let file = site.root.join(format!("d{dir}/below/f{file}"));
            assert_eq!(fs::read_to_string(&file).must(file.display()), "then");
        }
    }
    let everything = fs::read_dir(site.root.join("d0")).must("d0").count();
    assert_eq!(everything, FILES_EACH + 1, "nothing is left over");
}

/// Names that no directory can hold, and names that a terminal would obey.
const IMPOSSIBLE: [&[u8]; 6] = [b"..", b".", b"../../escaped", b"/tmp/escaped", b"a/b", b"nul\0nul"];
const LOUD: [&[u8]; 5] = [
    b"\x1b[2J\x1b[31mred",
    b"\x1b]0;title\x07",
    b"new\nline\rback",
    b"\xc2\x9bcsi",
    "\u{202e}txt.exe".as_bytes(),
];

/// A journal in which `dir` has names of the attacker's choice.
fn hostile_journal(journal: &Path, dir: &Path, names: &[&[u8]]) {
    let mut desk = Desk::open(journal, 0, Limits::default());
    let mut path = String::new();
    for name in dir.to_str().must("a path in UTF-8").split('/').skip(1) {
        path = format!("{path}/{name}");
        desk.mkdir(&path);
    }
    desk.write(&format!("{path}/good"), b"good");
    desk.commit();
    let head = &desk.journal.head;
    let dir = head.view().resolve(path.as_bytes()).must("the directory").must("the directory").node;
    for name in names {
        let node = head.new_node();
        let content = Content::Inline(b"evil".to_vec());
        let bind = Op::Bind { dir, name: name.to_vec(), node, kind: Kind::File, succeeds: None };
        let ops = vec![bind, Op::Version { node, version: file(content, 4) }];
        head.submit(vec![Group { ops, ..Group::default() }]).must("submitting");
    }
    desk.commit();
    desk.close();
}

fn file(content: Content, size: u64) -> Version {
    let meta = Metadata {
        kind: Kind::File,
        mode: 0o4755,
        uid: 12_345,
        gid: 12_345,
        mtime: Instant(3),
        ctime: Instant(4),
        size,
        ino: 5,
        rdev: 0,
        xattrs: Vec::new(),
    };
    Version { meta, content, quality: Quality::Clean, racy: false }
}

/// Nothing that a terminal obeys; line ends and the escapes of JSON are all there is.
#[track_caller]
fn is_tame(output: &Output) {
    for (what, text) in [("stdout", output.text()), ("stderr", output.stderr.clone())] {
        let bad = text.chars().find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert_eq!(bad, None, "{what}: {}", text.escape_debug());
    }
}

#[test]
fn names_that_lead_elsewhere_or_speak_to_the_terminal_are_harmless() {
    for (kind, names) in [("impossible", &IMPOSSIBLE[..]), ("loud", &LOUD[..])] {
        for has_index in [true, false] {
            let site = Site::new();
            let dir = site.path("prison/tree");
            hostile_journal(&site.journal, &dir, names);
            if !has_index {
                let index = Layout::new(&site.journal).index();
                fs::remove_dir_all(&index).must(index.display());
            }
            let when = format!("{kind} names, index: {has_index}");
            fs::create_dir_all(site.path("prison")).must("mkdir");
            let target = site.path("prison/target");
            let all = arguments(&[&"restore", &dir, &"--at", &"now", &"--to", &target]);
            let restored = site.asof(all).run();
            let in_place = arguments(&[
                &"restore",
                &dir,
                &"--at",
                &"now",
                &"--in-place",
                &"--exact",
                &"--yes",
                &"--no-undo",
            ]);
            let in_place = site.asof(in_place).run();
            for output in [&restored, &in_place] {
                assert!(
                    [0, 1, 3, 5].contains(&output.status),
                    "{when}: {}: {}",
                    output.status,
                    output.stderr
                );
                is_tame(output);
            }
            let mut found: Vec<String> = below(&site.path("prison"));
            found.retain(|path| !path.ends_with("good"));
            match kind {
                "loud" => assert_eq!(found.len(), 2 + 2 * names.len(), "{when}: {found:?}"),
                _ => {
                    assert!(found.iter().all(|path| path == "tree" || path == "target"), "{when}: {found:?}")
                }
            }
            for escaped in [site.path("escaped"), "/tmp/escaped".into(), site.path("prison/escaped")] {
                assert!(!escaped.exists(), "{when}: {}", escaped.display());
            }
            let name = |name: &[u8]| dir.join(std::ffi::OsStr::from_bytes(name));
            let mut questions: Vec<Vec<OsString>> = vec![
                arguments(&[&"ls", &"-lR", &dir]),
                arguments(&[&"ls", &"--deleted", &dir]),
                arguments(&[&"log"]),
                arguments(&[&"log", &dir]),
                arguments(&[&"diff", &"--from", &"seq:1", &"-p"]),
                arguments(&[&"restore", &dir, &"--at", &"now", &"--to", &site.path("dry"), &"-n"]),
                arguments(&[&"status"]),
                arguments(&[&"verify"]),
            ];
            for loud in names.iter().filter(|name| !name.contains(&0)) {
                questions.push(arguments(&[&"log", &name(loud)]));
                questions.push(arguments(&[&"explain", &name(loud), &"--at", &"now"]));
            }
            for question in questions {
                let output = site.asof(&question).run();
                assert!((0..=5).contains(&output.status), "{when}, {question:?}: {}", output.stderr);
                is_tame(&output);
                let mut json = vec![OsString::from("--json")];
                json.extend(question);
                is_tame(&site.asof(&json).run());
            }
        }
    }
}

/// Paths below a directory, in no order, with the bytes that are no UTF-8 replaced.
fn below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(here) = pending.pop() {
        for entry in fs::read_dir(&here).must(here.display()) {
            let path = entry.must("an entry").path();
            if path.is_dir() {
                pending.push(path.clone());
            }
            found.push(path.strip_prefix(dir).must("below").to_string_lossy().into_owned());
        }
    }
    found
}

/// Whether there is a file at the bottom.
fn has_bottom(top: &Path, file: &str) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut at: OwnedFd = rustix::fs::open(top, flags, Mode::empty()).must("the top");
    for _ in 0..DEPTH {
        match openat(&at, "d", flags, Mode::empty()) {
            Ok(next) => at = next,
            Err(_) => return false,
        }
    }
    openat(&at, file, OFlags::RDONLY, Mode::empty()).is_ok()
}

/// Removes a tree of any depth with one descriptor: what is below comes up step by step.
fn fill_in(top: &Path) {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let top: OwnedFd = rustix::fs::open(top, flags, Mode::empty()).must("the top");
    while let Ok(dir) = openat(&top, "d", flags, Mode::empty()) {
        let _ = unlinkat(&dir, "file", AtFlags::empty());
        let up = renameat_with(&dir, "d", &top, "up", RenameFlags::empty());
        unlinkat(&top, "d", AtFlags::REMOVEDIR).must("a directory that holds one other at most");
        if up.is_err() {
            break;
        }
        renameat_with(&top, "up", &top, "d", RenameFlags::empty()).must("up");
    }
}

/// A journal in which `dir` is empty first, and then has a file below so many directories.
fn deep_journal(journal: &Path, dir: &Path) {
    let mut desk = Desk::open(journal, 0, Limits::default());
    let mut path = String::new();
    for name in dir.to_str().must("a path in UTF-8").split('/').skip(1) {
        path = format!("{path}/{name}");
        desk.mkdir(&path);
    }
    desk.commit();
    let head = &desk.journal.head;
    let mut dir = head.view().resolve(path.as_bytes()).must("the directory").must("the directory").node;
    for _ in 0..DEPTH {
        let node = head.new_node();
        let bind = Op::Bind { dir, name: b"d".to_vec(), node, kind: Kind::Dir, succeeds: None };
        head.submit(vec![Group { ops: vec![bind], ..Group::default() }]).must("submitting");
        dir = node;
    }
    let (node, kind) = (head.new_node(), Kind::File);
    let bind = Op::Bind { dir, name: b"file".to_vec(), node, kind, succeeds: None };
    let version = Op::Version { node, version: file(Content::Inline(b"deep".to_vec()), 4) };
    head.submit(vec![Group { ops: vec![bind, version], ..Group::default() }]).must("submitting");
    desk.commit();
    desk.close();
}

#[test]
fn a_tree_without_a_bottom_is_restored_shown_and_deleted() {
    let site = Site::new();
    let top = site.path("prison/top");
    fs::create_dir_all(&top).must("top");
    deep_journal(&site.journal, &top);
    let empty = format!("seq:{}", top.components().count() - 1);
    let target = site.path("target");
    // The owner of the file may not be set by everybody; nothing else is in the way.
    site.asof(arguments(&[&"restore", &top, &"--at", &"now", &"--to", &target])).exits(0);
    assert!(has_bottom(&target, "file"), "restored to a directory");
    fill_in(&target);
    let in_place = |at: &str| {
        let all =
            arguments(&[&"restore", &top, &"--at", &at, &"--in-place", &"--exact", &"--yes", &"--no-undo"]);
        site.asof(all).exits(0);
    };
    in_place("now");
    assert!(has_bottom(&top, "file"), "restored in place");
    in_place("now");
    in_place(&empty);
    assert_eq!(fs::read_dir(&top).must("top").count(), 0, "deleted exactly");

    let lines = |output: &Output| output.stdout.iter().filter(|&&byte| byte == b'\n').count();
    let listed = site.asof(arguments(&[&"ls", &"-R", &top, &"--at", &"now"])).exits(0);
    assert_eq!(lines(&listed), DEPTH + 1);
    let differs = site.asof(arguments(&[&"diff", &top, &"--from", &empty, &"--to", &"now"])).exits(0);
    assert_eq!(lines(&differs), DEPTH + 1);
}

#[test]
fn the_root_of_all_is_no_name() {
    // Node 0 is `/`; a journal that binds it below itself has no bottom either.
    let site = Site::new();
    let dir = site.path("prison");
    let mut desk = Desk::open(&site.journal, 0, Limits::default());
    let mut path = String::new();
    for name in dir.to_str().must("a path in UTF-8").split('/').skip(1) {
        path = format!("{path}/{name}");
        desk.mkdir(&path);
    }
    desk.write(&format!("{path}/good"), b"good");
    desk.commit();
    let head = &desk.journal.head;
    let inner = head.view().resolve(path.as_bytes()).must("the directory").must("the directory").node;
    for (name, node) in [(&b"again"[..], inner), (b"root", NodeId::ROOT)] {
        let bind = Op::Bind { dir: inner, name: name.to_vec(), node, kind: Kind::Dir, succeeds: None };
        head.submit(vec![Group { ops: vec![bind], ..Group::default() }]).must("submitting");
    }
    desk.commit();
    desk.close();
    for verb in [
        arguments(&[&"restore", &dir, &"--at", &"now", &"--to", &site.path("target")]),
        arguments(&[&"restore", &dir, &"--at", &"now", &"--in-place", &"--yes", &"--no-undo"]),
        arguments(&[&"ls", &"-R", &dir]),
        arguments(&[&"diff", &dir, &"--from", &"seq:1"]),
        arguments(&[&"verify"]),
    ] {
        let output = site.asof(&verb).run();
        assert!((0..=5).contains(&output.status), "{verb:?}: {}: {}", output.status, output.stderr);
    }
}

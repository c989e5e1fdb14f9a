//! A patch of `asof diff -p` on the tree of before gives the tree of after, by `git apply` and by `patch -p1`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Site, Synced, arguments};
use asof_tests::tree::has_program;

/// Instants of one history; each is compared with several later ones.
const ROUNDS: usize = 10;
/// Edits between two of them.
const EDITS: u64 = 12;

/// Names of every sort that a patch has to quote, or must not.
const NAMES: [&[u8]; 14] = [
    b"plain",
    b"with blank",
    b"two  blanks ",
    b"quote\"and\\back",
    b"tab\there",
    b"new\nline",
    b"caf\xe9",
    "Größe".as_bytes(),
    "hidden\u{202e}".as_bytes(),
    b"a b/",
    b"-dash",
    b"\x1b[31m",
    b"b",
    b"#remark",
];

/// What a patch can say of a tree: files with content and whether they may be executed, symlinks with their targets.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    File(Vec<u8>, bool),
    Symlink(PathBuf),
}

fn said(dir: &Path) -> BTreeMap<PathBuf, Said> {
    let mut all = BTreeMap::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(&at).must(at.display()) {
            let path = entry.must("an entry").path();
            let meta = fs::symlink_metadata(&path).must(path.display());
            let name = path.strip_prefix(dir).must("below").to_path_buf();
            if meta.is_dir() {
                pending.push(path);
            } else if meta.is_symlink() {
                all.insert(name, Said::Symlink(fs::read_link(&path).must("readlink")));
            } else {
                let may_run = meta.permissions().mode() & 0o100 != 0;
                all.insert(name, Said::File(fs::read(&path).must(path.display()), may_run));
            }
        }
    }
    all
}

/// A writer who does everything that a patch can say.
struct Hand {
    random: Random,
    root: PathBuf,
}

impl Hand {
    fn name(&mut self) -> PathBuf {
        let mut path = PathBuf::new();
        for _ in 0..=self.random.below(2) {
            let name = NAMES[self.random.below(NAMES.len() as u64) as usize];
            path.push(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)));
        }
        self.root.join(path)
    }

    fn lines(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..self.random.below(40) {
            let line: &[u8] = match self.random.below(8) {
                0 => b"--- a/plain\n",
                1 => b"# remark\r\n",
                2 => b"lone \r return\n",
                3 => b"\xff\xfe no text\n",
                4 => b"\n",
                5 => b"@@ -1 +1 @@\n",
                _ => b"",
            };
            text.extend_from_slice(line);
            if line.is_empty() {
                text.extend_from_slice(format!("line {}\n", self.random.below(30)).as_bytes());
            }
        }
        if self.random.below(3) == 0 {
            text.pop();
        }
        text
    }

    fn clear(path: &Path) {
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).must(path.display());
        } else if path.symlink_metadata().is_ok() {
            fs::remove_file(path).must(path.display());
        }
    }

    /// Makes the directory above a path, over whatever is in the way.
    fn make_way(&self, path: &Path) {
        let above: Vec<&Path> =
            path.ancestors().skip(1).take_while(|dir| dir.starts_with(&self.root)).collect();
        for dir in above.iter().rev() {
            if dir.is_symlink() || !dir.is_dir() {
                Self::clear(dir);
                fs::create_dir(dir).must(dir.display());
            }
        }
    }

    fn edit(&mut self) {
        let path = self.name();
        match self.random.below(10) {
            0..=2 => {
                self.make_way(&path);
                Self::clear(&path);
                fs::write(&path, self.lines()).must(path.display());
            }
            3 => {
                self.make_way(&path);
                Self::clear(&path);
                symlink(format!("to {}", self.random.below(9)), &path).must("symlink");
            }
            4 => Self::clear(&path),
            5 if path.is_file() && !path.is_symlink() => {
                let mode = if self.random.below(2) == 0 { 0o755 } else { 0o640 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).must("chmod");
            }
            6 | 7 => {
                let to = self.name();
                if path.symlink_metadata().is_ok() && !to.starts_with(&path) && !path.starts_with(&to) {
                    self.make_way(&to);
                    Self::clear(&to);
                    fs::rename(&path, &to).must("mv");
                }
            }
            8 => {
                self.make_way(&path);
                Self::clear(&path);
                fs::write(&path, b"").must(path.display());
            }
            _ if path.is_file() && !path.is_symlink() => {
                let mut text = fs::read(&path).must(path.display());
                text.extend_from_slice(&self.lines());
                fs::write(&path, text).must(path.display());
            }
            _ => {}
        }
    }
}

/// Applies a patch in a directory; whatever the program says is in the failure.
#[track_caller]
fn apply(program: &[&str], patch: &Path, dir: &Path) {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).current_dir(dir).env("GIT_CEILING_DIRECTORIES", "/").env("LC_ALL", "C");
    command.stdin(fs::File::open(patch).must(patch.display())).stderr(Stdio::piped());
    let output = command.output().must(program[0]);
    assert!(
        output.status.success(),
        "{program:?} in {}: {}{}\n{}",
        dir.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&fs::read(patch).must("the patch"))
    );
}

/// The root as of a moment, in a fresh directory.
fn restored(site: &Site, at: &Synced) -> PathBuf {
    let target = site.fresh("tree");
    site.asof(arguments(&[&"restore", &site.root, &"--at", &at.at, &"--to", &target])).exits(0);
    target
}

/// The patch between two moments, as a file.
fn patch(site: &Site, from: &Synced, to: &Synced) -> PathBuf {
    let made =
        site.asof(arguments(&[&"diff", &"-p", &site.root, &"--from", &from.at, &"--to", &to.at])).exits(0);
    let file = site.fresh("patch");
    fs::write(&file, &made.stdout).must(file.display());
    file
}

const GIT: [&str; 4] = ["git", "apply", "-p1", "--whitespace=nowarn"];
const PATCH: [&str; 4] = ["patch", "-p1", "--force", "--silent"];

#[test]
fn a_random_history_can_be_replayed_from_its_patches() {
    if !has_program("git") {
        eprintln!("git is not there: nothing applies the patches");
        return;
    }
    let site = Site::new();
    let mut hand = Hand { random: Random::for_test(5), root: site.root.clone() };
    let agent = site.start();
    let mut moments = vec![(site.sync(), said(&site.root))];
    for _ in 0..ROUNDS {
        for _ in 0..EDITS {
            hand.edit();
        }
        moments.push((site.sync(), said(&site.root)));
    }
    agent.terminate();
    let mut lines = 0;
    for from in 0..moments.len() {
        for to in [from + 1, from + 3].into_iter().filter(|to| *to < moments.len()) {
            let file = patch(&site, &moments[from].0, &moments[to].0);
            let tree = restored(&site, &moments[from].0);
            let text = fs::read(&file).must("the patch");
            lines += text.iter().filter(|b| **b == b'\n').count();
            if moments[from].1 != moments[to].1 {
                apply(&GIT, &file, &tree);
            }
            let (is, must) = (said(&tree), &moments[to].1);
            let wrong: Vec<_> = is.iter().filter(|(name, what)| must.get(*name) != Some(what)).collect();
            let missing: Vec<_> = must.keys().filter(|name| !is.contains_key(*name)).collect();
            assert!(
                wrong.is_empty() && missing.is_empty(),
                "{from} to {to}: {wrong:?}, missing {missing:?}\n{}",
                String::from_utf8_lossy(&text)
            );
        }
    }
    assert!(lines > 500, "there was something to apply: {lines}");
}

#[test]
fn every_case_applies_with_both_programs_and_what_cannot_be_said_is_a_remark() {
    let site = Site::new();
    let put = |name: &str, content: &[u8]| {
        let path = site.root.join(name);
        fs::create_dir_all(path.parent().must("a directory")).must("mkdir");
        fs::write(&path, content).must(path.display());
        path
    };
    put("kept.txt", b"one\ntwo\nthree\n");
    put("no newline", b"one\ntwo");
    put("gone.txt", b"bye\n");
    let run = put("run.sh", b"#!/bin/sh\n");
    let old = put("old name.txt", b"a\nb\nc\nd\n");
    let dir = put("dir/in/it", b"inside\n").parent().must("dir").parent().must("dir").to_path_buf();
    let binary = put("binary", b"\0\x01");
    let large = put("large", &b"0123456789abcde\n".repeat(1 << 20));
    let file = put("kind", b"a file\n");
    let agent = site.start();
    let before = site.sync();
    let tree = restored(&site, &before);
    let second = restored(&site, &before);

    put("kept.txt", b"one\n2\nthree\n");
    put("no newline", b"one\ntwo\n");
    put("new/empty", b"");
    put("new/caf\u{e9}", b"new\n");
    fs::remove_file(site.root.join("gone.txt")).must("rm");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).must("chmod");
    fs::rename(&old, site.root.join("new name.txt")).must("mv");
    fs::rename(&dir, site.root.join("moved")).must("mv");
    symlink("kept.txt", site.root.join("link")).must("symlink");
    let after = site.sync();
    let plain = patch(&site, &before, &after);
    let must = said(&site.root);
    for (program, tree) in [(&GIT, &tree), (&PATCH, &second)] {
        if has_program(program[0]) {
            apply(program, &plain, tree);
            let mut is = said(tree);
            // patch keeps what it was not exactly sure of.
            is.retain(|name, _| name.extension().is_none_or(|extension| extension != "orig"));
            assert!(is == must, "{program:?}\n{}", String::from_utf8_lossy(&fs::read(&plain).must("patch")));
        }
    }

    // What a patch cannot say does not keep the rest from being applied.
    fs::write(&binary, b"\0\x02\x03").must("write");
    fs::write(&large, b"0123456789abcde\n".repeat((1 << 20) + 1)).must("write");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o600)).must("chmod");
    fs::remove_file(&file).must("rm");
    fs::create_dir(&file).must("mkdir");
    fs::write(file.join("x"), b"x\n").must("write");
    put("kept.txt", b"one\n2\n3\n");
    let last = site.sync();
    let remarks = patch(&site, &after, &last);
    let text = fs::read_to_string(&remarks).must("text");
    assert!(text.contains("\n# modified    ") || text.starts_with("# modified    "), "{text}");
    assert!(text.contains("binary: 2 and 3 bytes") && text.contains("larger than 16 MiB"), "{text}");
    let tree = restored(&site, &after);
    apply(&GIT, &remarks, &tree);
    let mut must = said(&site.root);
    for name in ["binary", "large"] {
        must.remove(Path::new(name));
    }
    let mut is = said(&tree);
    is.retain(|name, _| !["binary", "large"].iter().any(|other| name == Path::new(other)));
    assert_eq!(is.keys().collect::<Vec<_>>(), must.keys().collect::<Vec<_>>());
    assert!(is == must);

    // One file, applied where it lies; and the same in JSON.
    let kept = site.root.join("kept.txt");
    let one =
        site.asof(arguments(&[&"diff", &"-p", &kept, &"--from", &after.at, &"--to", &last.at])).exits(0);
    assert!(one.text().starts_with("diff --git a/kept.txt b/kept.txt\n--- a/kept.txt\n"), "{}", one.text());
    let json = site
        .asof(arguments(&[&"--json", &"diff", &"-p", &kept, &"--from", &after.at, &"--to", &last.at]))
        .exits(0);
    assert_eq!(json.json()["patch"].as_str().must("a patch"), one.text());
    let whole = site
        .asof(arguments(&[&"--json", &"diff", &"-p", &site.root, &"--from", &before.at, &"--to", &after.at]))
        .exits(0);
    let parts: String =
        whole.json_lines().iter().filter_map(|line| line["patch"].as_str().map(str::to_owned)).collect();
    let stanzas = |text: &str| text.lines().filter(|line| line.starts_with("diff --git ")).count();
    assert_eq!(stanzas(&parts), stanzas(&fs::read_to_string(&plain).must("text")), "{parts}");
    agent.terminate();
}

//! The source against the kernel: random changes, read late, compared with what is there; limits in a namespace of
//! their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ::inotify::WatchMask;

use super::*;
use crate::rules::{Rules, SharedRules};
use crate::testdir::TestDir;
use crate::watch::Uncovered;
use asof_journal::types::{Policy, RootPolicy};

/// xorshift64*: the same numbers everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// Hints that came and were not taken.
type Hints = Arc<Mutex<VecDeque<Hint>>>;

struct Site {
    dir: TestDir,
    source: InotifySource,
    hints: Hints,
}

impl Site {
    fn new() -> Site {
        Site::with(SourceOptions::default())
    }

    fn with(options: SourceOptions) -> Site {
        let dir = TestDir::create();
        fs::create_dir(dir.join("root")).expect("mkdir");
        let hints = Hints::default();
        let sink = hints.clone();
        let source = InotifySource::create(options, move |hint| sink.lock().expect("a lock").push_back(hint))
            .expect("a source");
        Site { dir, source, hints }
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn take(&self) -> Vec<Hint> {
        self.hints.lock().expect("a lock").drain(..).collect()
    }

    /// Handles events until there are none, and nothing is left for later.
    fn settle(&mut self) {
        loop {
            let again = self.source.handle_events().expect("alive");
            self.source.retried = Instant::now() - again::RETRY_AFTER;
            if again == Next::Readable && self.source.read().expect("alive") == Read::Empty {
                return;
            }
        }
    }

    /// The watched directories are exactly those that there are, by their paths, and the kernel knows of no others.
    fn check(&mut self, what: &str) {
        let mut expected = BTreeSet::new();
        let mut queue = vec![self.root()];
        while let Some(path) = queue.pop() {
            for entry in fs::read_dir(&path).expect("listed").flatten() {
                if entry.file_type().expect("a type").is_dir() {
                    queue.push(entry.path());
                }
            }
            expected.insert(path);
        }
        let mut found = BTreeSet::new();
        for top in self.source.tops.keys() {
            for wd in self.source.tree.subtree(*top) {
                let path =
                    PathBuf::from(std::ffi::OsString::from_vec(self.source.tree.path(wd).expect("a path")));
                let there = self.source.watches.add(&path, walk::EVENTS);
                let there = there.unwrap_or_else(|error| panic!("{what}: {}: {error}", path.display()));
                assert_eq!(there.get_watch_descriptor_id(), wd, "{what}: {}", path.display());
                found.insert(path);
            }
        }
        assert_eq!(found, expected, "{what}");
        assert_eq!(self.source.tree.len(), expected.len(), "{what}: nothing is left behind");
        assert_eq!(self.kernel_watches(), expected.len(), "{what}: nor in the kernel");
    }

    fn kernel_watches(&self) -> usize {
        let path = format!("/proc/self/fdinfo/{}", self.source.inotify.as_raw_fd());
        let text = fs::read_to_string(path).expect("fdinfo");
        text.lines().filter(|line| line.starts_with("inotify wd:")).count()
    }
}

/// The kernel empties the mask of a watch for a moment when it is added again, unless it is told to add to it, and loses
/// the events of that moment. What somebody else added to the mask shows which of the two was done.
#[test]
fn a_watch_that_is_made_sure_of_is_never_emptied() {
    let mut site = Site::new();
    fs::create_dir(site.root().join("dir")).expect("mkdir");
    site.source.watch(&site.root()).expect("watched");
    let queue = site.source.inotify.as_raw_fd();
    let opens = || {
        let path = format!("/proc/self/fdinfo/{queue}");
        let text = fs::read_to_string(path).expect("fdinfo");
        let masks = text.lines().filter_map(|line| line.split_once(" mask:")?.1.split_once(' '));
        let masks = masks.map(|(mask, _)| u32::from_str_radix(mask, 16).expect("a mask"));
        masks.filter(|mask| mask & WatchMask::OPEN.bits() != 0).count()
    };
    for path in [site.root(), site.root().join("dir")] {
        site.source.watches.add(path, WatchMask::OPEN | WatchMask::MASK_ADD).expect("added");
    }
    assert_eq!(opens(), 2);
    site.source.watch(&site.root()).expect("watched again");
    assert_eq!(opens(), 2, "a watch was replaced");
}

/// Does something with directories and files below a root, as programs do.
struct Changes {
    random: Random,
    root: PathBuf,
    outside: PathBuf,
    written: usize,
    name: &'static str,
}

impl Changes {
    fn new(seed: u64, site: &Site, name: &'static str) -> Changes {
        let outside = site.dir.join(format!("outside-{name}"));
        fs::create_dir(&outside).expect("mkdir");
        Changes { random: Random::new(seed), root: site.root(), outside, written: 0, name }
    }

    fn some_dir(&mut self) -> PathBuf {
        let mut dir = self.root.clone();
        for _ in 0..self.random.below(4) {
            dir.push(format!("d{}", self.random.below(4)));
            if !dir.is_dir() {
                dir.pop();
            }
        }
        dir
    }

    fn some_name(&mut self) -> PathBuf {
        let dir = self.some_dir();
        dir.join(format!("d{}", self.random.below(4)))
    }

    /// One change; most may fail, because something is there or is not.
    fn change(&mut self) {
        match self.random.below(16) {
            0..=3 => drop(fs::create_dir(self.some_name())),
            4 => {
                let path = self.some_name().join(format!("d{}", self.random.below(4))).join("deep");
                let _ = fs::create_dir_all(path);
            }
            5..=7 => {
                let (from, to) = (self.some_name(), self.some_name());
                let _ = fs::rename(from, to);
            }
            8 => {
                let (one, other) = (self.some_name(), self.some_name());
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, one, rustix::fs::CWD, other, flags);
            }
            9 => {
                let (from, to) = (self.some_name(), self.outside.join(format!("o{}", self.random.below(3))));
                let _ = fs::rename(from, to);
            }
            10 => {
                let (from, to) = (self.outside.join(format!("o{}", self.random.below(3))), self.some_name());
                let _ = fs::rename(from, to);
            }
            11 => drop(fs::remove_dir(self.some_name())),
            12 => drop(fs::remove_dir_all(self.some_name())),
            _ => {
                self.written += 1;
                let file = self.some_dir().join(format!("f{}", self.random.below(3)));
                let _ = fs::write(file, format!("{} {}", self.name, self.written));
            }
        }
    }
}

/// What an agent would know that looks only at what hints name and lists only what is not covered.
#[derive(Default)]
struct Known(BTreeMap<PathBuf, String>);

impl Known {
    fn hint(&mut self, hint: &Hint, cover: &Cover, root: &Path) {
        let path = Path::new(std::ffi::OsStr::from_bytes(&hint.path));
        match hint.what {
            What::Appeared { dir: true } => {
                let Ok(metadata) = fs::symlink_metadata(path) else { return };
                let uncovered = cover.take((metadata.dev(), metadata.ino()));
                self.list(path, uncovered);
            }
            What::MovedTo { .. } if path.is_dir() => self.list(path, Uncovered::Tree),
            // Whoever loses hints compares everything; what is watched the source puts right itself.
            What::Overflow => self.list(root, Uncovered::Tree),
            What::SourceError { .. } => panic!("{hint:?}"),
            _ => self.look(path),
        }
    }

    fn look(&mut self, path: &Path) {
        match fs::read_to_string(path) {
            Ok(text) => drop(self.0.insert(path.to_path_buf(), text)),
            Err(_) => drop(self.0.remove(path)),
        }
    }

    fn list(&mut self, dir: &Path, uncovered: Uncovered) {
        if uncovered == Uncovered::Nothing {
            return;
        }
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look(&entry.path());
            } else if uncovered == Uncovered::Tree {
                self.list(&entry.path(), Uncovered::Tree);
            }
        }
    }

    fn check(&self, root: &Path, what: &str) {
        let mut queue = vec![root.to_path_buf()];
        while let Some(path) = queue.pop() {
            for entry in fs::read_dir(&path).expect("listed").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    queue.push(path);
                } else {
                    let text = fs::read_to_string(&path).expect("read");
                    assert_eq!(self.0.get(&path), Some(&text), "{what}: {}", path.display());
                }
            }
        }
    }
}

/// Changes, the source and whoever takes its hints come in any order, each as late as it likes.
#[test]
fn what_is_watched_and_hinted_is_right_however_late_it_is_read() {
    for seed in 0..100 {
        let mut site = Site::new();
        site.source.watch(&site.root()).expect("watched");
        let mut changes = Changes::new(seed, &site, "w");
        let (mut known, cover) = (Known::default(), site.source.cover());
        for round in 0..40 {
            for _ in 0..changes.random.below(12) {
                changes.change();
                match changes.random.below(6) {
                    0 => drop(site.source.read().expect("alive")),
                    1 => {
                        site.source.read().expect("alive");
                        let some = changes.random.below(20);
                        site.source.handle_some(some);
                    }
                    2 => drop(site.source.handle_events().expect("alive")),
                    3 => {
                        site.source.barrier().expect("alive");
                        let hint = site.hints.lock().expect("a lock").pop_front();
                        if let Some(hint) = hint {
                            known.hint(&hint, &cover, &site.root());
                        }
                    }
                    _ => {}
                }
            }
            if changes.random.below(8) == 0 {
                site.settle();
                for hint in site.take() {
                    known.hint(&hint, &cover, &site.root());
                }
                site.check(&format!("seed {seed}, round {round}"));
                known.check(&site.root(), &format!("seed {seed}, round {round}"));
            }
        }
        site.settle();
        for hint in site.take() {
            known.hint(&hint, &cover, &site.root());
        }
        site.check(&format!("seed {seed}"));
        known.check(&site.root(), &format!("seed {seed}"));
    }
}

/// The same with writers that do not wait for anybody.
#[test]
fn what_is_watched_and_hinted_is_right_while_others_change_it() {
    for seed in 0..8 {
        let mut site = Site::new();
        site.source.watch(&site.root()).expect("watched");
        let (mut known, cover) = (Known::default(), site.source.cover());
        let writers: Vec<Changes> = ["one", "two", "three"]
            .into_iter()
            .zip(1..)
            .map(|(name, number)| Changes::new(seed * 10 + number, &site, name))
            .collect();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = writers
                .into_iter()
                .map(|mut changes| {
                    scope.spawn(move || {
                        for _ in 0..3000 {
                            changes.change();
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                for thread in threads {
                    thread.join().expect("written");
                }
                over.store(true, Ordering::Release);
            });
            while !over.load(Ordering::Acquire) {
                site.source.handle_events().expect("alive");
                let hint = site.hints.lock().expect("a lock").pop_front();
                if let Some(hint) = hint {
                    // What the directory worker does first.
                    site.source.barrier().expect("alive");
                    known.hint(&hint, &cover, &site.root());
                }
            }
        });
        site.settle();
        for hint in site.take() {
            known.hint(&hint, &cover, &site.root());
        }
        site.check(&format!("seed {seed}"));
        known.check(&site.root(), &format!("seed {seed}"));
    }
}

#[test]
fn a_directory_that_departs_is_not_watched_any_more_and_one_that_comes_back_is() {
    let mut site = Site::new();
    for number in 0..600 {
        fs::create_dir_all(site.root().join(format!("d/{}/{number}", number % 20))).expect("mkdir");
    }
    site.source.watch(&site.root()).expect("watched");
    assert_eq!(site.kernel_watches(), 622);
    fs::rename(site.root().join("d"), site.dir.join("away")).expect("mv");
    site.settle();
    site.check("gone");
    assert_eq!(site.source.tree.len(), 1);
    fs::write(site.dir.join("away/1/f"), "x").expect("write");
    fs::rename(site.dir.join("away"), site.root().join("back")).expect("mv");
    site.settle();
    site.check("back");
    let hints = site.take();
    let back = site.root().join("back").into_os_string().into_vec();
    assert_eq!(hints.last(), Some(&Hint { path: back, what: What::MovedTo { from: None } }), "{hints:?}");
    assert!(!hints.iter().any(|hint| hint.what == What::Closed), "outside is nobody's business: {hints:?}");
}

#[test]
fn a_rename_costs_the_same_whatever_lies_below() {
    let mut site = Site::new();
    for number in 0..2000 {
        fs::create_dir_all(site.root().join(format!("d/{}/{number}", number % 20))).expect("mkdir");
    }
    site.source.watch(&site.root()).expect("watched");
    let before: BTreeSet<Wd> = site.source.tree.subtree(1).into_iter().collect();
    fs::rename(site.root().join("d"), site.root().join("e")).expect("mv");
    fs::write(site.root().join("e/3/3/f"), "x").expect("write");
    site.settle();
    assert_eq!(site.source.tree.subtree(1).into_iter().collect::<BTreeSet<_>>(), before, "not watched anew");
    let hints = site.take();
    let written = site.root().join("e/3/3/f").into_os_string().into_vec();
    assert!(hints.contains(&Hint { path: written, what: What::Closed }), "{hints:?}");
    site.check("renamed");
}

#[test]
fn what_is_left_out_is_not_watched_and_rules_can_change() {
    let bytes = |path: PathBuf| path.into_os_string().into_vec();
    let mut site = Site::new();
    let root = site.root();
    let rules =
        SharedRules::new(Rules::new(vec![bytes(root.join("target")), bytes(root.join("new/target"))]));
    site.source.options.rules = rules.clone();
    for name in ["target/a/b", "src/a", "target/c"] {
        fs::create_dir_all(root.join(name)).expect("mkdir");
    }
    site.source.watch(&root).expect("watched");
    assert_eq!(site.source.tree.len(), 3, "root, src, src/a");
    fs::create_dir_all(root.join("target/d/e")).expect("mkdir");
    fs::write(root.join("target/d/f"), "x").expect("write");
    fs::create_dir_all(root.join("new/target/x")).expect("mkdir");
    site.settle();
    let seen = |hints: &[Hint], path: PathBuf| hints.iter().any(|hint| hint.path == bytes(path.clone()));
    let hints = site.take();
    assert!(!seen(&hints, root.join("target/d")) && !seen(&hints, root.join("new/target")), "{hints:?}");
    assert_eq!(site.source.tree.len(), 4, "and new");

    // The rule does not hold for it under its other name.
    fs::rename(root.join("new"), root.join("renamed")).expect("mv");
    site.settle();
    assert_eq!(site.source.tree.len(), 6, "and what was left out in it");
    assert!(seen(&site.take(), root.join("renamed/target/x")));

    rules.replace(Rules::new(vec![bytes(root.join("src"))]));
    site.source.apply_rules().expect("alive");
    fs::write(root.join("src/f"), "x").expect("write");
    fs::write(root.join("target/d/f"), "x").expect("write");
    site.settle();
    let hints = site.take();
    assert!(seen(&hints, root.join("target/d/f")) && !seen(&hints, root.join("src/f")), "{hints:?}");
    assert!(seen(&hints, root.join("target/a/b")), "told, so that it is listed: {hints:?}");
    rules.replace(Rules::default());
    site.source.apply_rules().expect("alive");
    site.settle();
    site.check("without rules");
}

#[test]
fn what_lost_events_left_is_repaired_and_what_is_right_stays() {
    let mut site = Site::new();
    for name in ["kept/a", "gone/a", "moved/a"] {
        fs::create_dir_all(site.root().join(name)).expect("mkdir");
    }
    site.source.watch(&site.root()).expect("watched");
    fs::remove_dir_all(site.root().join("gone")).expect("rm -r");
    fs::rename(site.root().join("moved"), site.root().join("kept/here")).expect("mv");
    fs::create_dir_all(site.root().join("new/a")).expect("mkdir");
    fs::create_dir_all(site.root().join("kept/a/new")).expect("mkdir");
    site.source.read().expect("alive");
    site.source.backlog.clear();
    site.source.backlog.push_back(Queued {
        wd: -1,
        mask: EventMask::Q_OVERFLOW,
        cookie: 0,
        name: Box::default(),
    });
    site.settle();
    site.check("repaired");
    let hints = site.take();
    let about =
        |name: &str, what: What| Hint { path: site.root().join(name).into_os_string().into_vec(), what };
    assert_eq!(hints.first(), Some(&Hint { path: Vec::new(), what: What::Overflow }));
    for told in [
        about("new", What::Appeared { dir: true }),
        about("new/a", What::Appeared { dir: true }),
        about("kept/a/new", What::Appeared { dir: true }),
        about("kept/here", What::Appeared { dir: true }),
        about("kept/here/a", What::Appeared { dir: true }),
    ] {
        assert!(hints.contains(&told), "{told:?} is not among {hints:?}");
    }
    assert_eq!(hints.len(), 6, "{hints:?}");
    let missing = site.source.watch(&site.root().join("kept/nothing"));
    assert!(matches!(missing, Err(WatchError::Missing { .. })), "{missing:?}");
    let before: BTreeSet<Wd> = site.source.tree.subtree(1).into_iter().collect();
    site.source.watch(&site.root()).expect("watched");
    site.source.watch(&site.root().join("kept")).expect("watched");
    assert_eq!(
        site.source.tree.subtree(1).into_iter().collect::<BTreeSet<_>>(),
        before,
        "what is right stays"
    );
    assert_eq!(site.take(), [], "whoever asks lists by itself");
}

#[test]
fn paths_longer_than_the_kernel_takes_are_watched() {
    let mut site = Site::new();
    let name = "n".repeat(250);
    let mut dir = fs::File::open(site.root()).expect("open");
    for _ in 0..40 {
        rustix::fs::mkdirat(&dir, name.as_str(), rustix::fs::Mode::RWXU).expect("mkdir");
        dir = fs::File::from(dirs::open_entry(dir.as_fd(), name.as_bytes()).expect("open"));
    }
    site.source.watch(&site.root()).expect("watched");
    assert_eq!(site.source.tree.len(), 41);
    rustix::fs::mkdirat(&dir, "inner", rustix::fs::Mode::RWXU).expect("mkdir");
    let inner = dirs::open_entry(dir.as_fd(), b"inner").expect("open");
    site.settle();
    site.source.open.clear();
    rustix::fs::mkdirat(&inner, "f", rustix::fs::Mode::RWXU).expect("mkdir");
    site.settle();
    assert_eq!(site.source.tree.len(), 43);
    let last = site.take().pop().expect("a hint");
    assert!(last.path.len() > 10_000 && last.path.ends_with(b"/inner/f"));
    // A path that long cannot be removed in one piece.
    let status = Command::new("rm").arg("-rf").arg(site.root()).status().expect("rm");
    assert!(status.success());
}

#[test]
fn a_dead_queue_stops_the_source() {
    let mut site = Site::new();
    site.source.watch(&site.root()).expect("watched");
    // A read that can hold no event fails, as a queue does that cannot be read.
    site.source.buffer = vec![0; 4];
    fs::create_dir(site.root().join("d")).expect("mkdir");
    assert!(matches!(site.source.handle_events(), Err(WatchError::Stopped)));
    assert!(matches!(site.source.barrier(), Err(WatchError::Stopped)));
    assert!(matches!(site.source.watch(&site.root()), Err(WatchError::Stopped)));
}

#[test]
fn barriers_end_while_directories_keep_coming() {
    let mut site = Site::new();
    site.source.watch(&site.root()).expect("watched");
    let over = AtomicBool::new(false);
    let root = site.root();
    let (mut barriers, mut longest) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (root, over) = (&root, &over);
            scope.spawn(move || {
                for round in 0.. {
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    let dir = root.join(format!("{writer}/{}/{round}", round / 100));
                    fs::create_dir_all(&dir).expect("mkdir");
                    fs::write(dir.join("f"), "x").expect("write");
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            site.source.barrier().expect("reached");
            longest = longest.max(asked.elapsed());
            barriers += 1;
        }
        over.store(true, Ordering::Release);
        println!("{barriers} barriers, the longest took {longest:?}, {} directories", site.source.tree.len());
    });
    site.settle();
    site.check("after the storm");
    // One that waited for the storm to end would be the only one.
    assert!(barriers > 1, "the longest took {longest:?}");
}

/// Runs one of these tests again in a namespace of its own; says whether it could.
fn again_in_namespace(test: &str, unshare: &[&str], first: &str) -> bool {
    if std::env::var_os("ASOF_TEST_IN_NAMESPACE").is_some() {
        return false;
    }
    let script = format!("{first} && exec \"$0\" --exact --nocapture watch::inotify::tests::{test}");
    let output = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().expect("this program"))
        .env("ASOF_TEST_IN_NAMESPACE", "1")
        .output()
        .expect("unshare");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare:") {
        println!("skipped: namespaces are not to be had here: {said}");
        return true;
    }
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

#[test]
fn at_the_limit_of_watches_every_directory_that_is_not_seen_is_told() {
    let few = "echo 20 > /proc/sys/user/max_inotify_watches";
    if again_in_namespace(
        "at_the_limit_of_watches_every_directory_that_is_not_seen_is_told",
        &["--user", "--map-root-user"],
        few,
    ) {
        return;
    }
    let mut site = Site::new();
    for number in 0..30 {
        fs::create_dir_all(site.root().join(format!("d{number}/inner"))).expect("mkdir");
    }
    let reached = site.source.watch(&site.root()).expect_err("over the limit");
    assert!(matches!(reached, WatchError::LimitReached { .. }), "{reached}");
    let watched: BTreeSet<PathBuf> = site
        .source
        .tree
        .subtree(1)
        .into_iter()
        .map(|wd| PathBuf::from(std::ffi::OsString::from_vec(site.source.tree.path(wd).expect("a path"))))
        .collect();
    assert_eq!(watched.len(), 20);
    let mut unseen = BTreeSet::new();
    for hint in site.take() {
        assert!(matches!(hint.what, What::SourceError { limit: true, .. }), "{hint:?}");
        unseen.insert(PathBuf::from(std::ffi::OsString::from_vec(hint.path)));
    }
    for number in 0..30 {
        for path in [site.root().join(format!("d{number}")), site.root().join(format!("d{number}/inner"))] {
            let told = unseen.contains(&path) || unseen.contains(path.parent().expect("a parent"));
            assert!(watched.contains(&path) != told, "{}: either watched or told", path.display());
        }
    }
    // Later too, and what is tried again when there is room is watched.
    fs::create_dir(site.root().join("late")).expect("mkdir");
    site.settle();
    let hints = site.take();
    let late = site.root().join("late");
    let about = |hint: &&Hint| hint.path == late.as_os_str().as_bytes();
    assert!(
        hints.iter().filter(about).any(|hint| matches!(hint.what, What::SourceError { limit: true, .. }))
    );
    assert!(hints.iter().filter(about).any(|hint| hint.what == What::Appeared { dir: true }), "{hints:?}");
    let full = site.source.watch(&late).expect_err("still full");
    assert!(matches!(full, WatchError::LimitReached { .. }), "{full}");
    let removed = watched.iter().filter(|path| path.ends_with("inner")).take(2);
    for path in removed {
        fs::remove_dir(path).expect("rmdir");
    }
    site.settle();
    site.source.watch(&late).expect("there is room");
    site.take();
    fs::write(late.join("f"), "x").expect("write");
    site.settle();
    assert!(site.take().iter().any(|hint| hint.what == What::Closed));
}

#[test]
fn a_directory_that_may_not_be_read_is_told_and_the_others_are_watched() {
    if again_in_namespace(
        "a_directory_that_may_not_be_read_is_told_and_the_others_are_watched",
        &["--user"],
        "true",
    ) {
        return;
    }
    let mut site = Site::new();
    for name in ["closed/inner", "open/inner"] {
        fs::create_dir_all(site.root().join(name)).expect("mkdir");
    }
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(site.root().join("closed"), mode(0)).expect("chmod");
    site.source.watch(&site.root()).expect("watched");
    assert_eq!(site.source.tree.len(), 3);
    let [hint] = &site.take()[..] else { panic!("one hint") };
    assert_eq!(hint.path, site.root().join("closed").into_os_string().into_vec());
    assert!(matches!(hint.what, What::SourceError { limit: false, .. }), "{hint:?}");
    fs::set_permissions(site.root().join("closed"), mode(0o700)).expect("chmod");
    site.source.watch(&site.root().join("closed")).expect("watched");
    site.settle();
    site.check("opened");
}

#[test]
fn other_mounts_are_not_entered_and_unmounting_is_told() {
    if again_in_namespace(
        "other_mounts_are_not_entered_and_unmounting_is_told",
        &["--user", "--map-root-user", "--mount"],
        "true",
    ) {
        return;
    }
    let mut site = Site::new();
    let run = |program: &str, arguments: &[&str], path: &Path| {
        assert!(Command::new(program).args(arguments).arg(path).status().expect(program).success());
    };
    fs::create_dir(site.root().join("mnt")).expect("mkdir");
    fs::create_dir(site.root().join("d")).expect("mkdir");
    run("mount", &["-t", "tmpfs", "none"], &site.root().join("mnt"));
    fs::create_dir(site.root().join("mnt/inner")).expect("mkdir");
    site.source.watch(&site.root()).expect("watched");
    assert_eq!((site.source.tree.len(), site.kernel_watches()), (2, 2));
    assert_eq!(site.take(), []);
    let mnt = site.root().join("mnt");
    // A root of its own within the root.
    site.source.watch(&mnt).expect("watched");
    assert_eq!(site.source.tree.len(), 4);
    fs::create_dir(mnt.join("later")).expect("mkdir");
    site.settle();
    let later =
        Hint { path: mnt.join("later").into_os_string().into_vec(), what: What::Appeared { dir: true } };
    assert_eq!(site.take(), [later]);
    site.source.watch(&site.root()).expect("again");
    site.source.unwatch(&mnt).expect("unwatched");
    assert_eq!(site.source.tree.len(), 2);
    // Where the rules let other filesystems in, they are part of the root.
    let path = site.root().into_os_string().into_vec();
    let rules = |one_file_system| {
        let root = RootPolicy { path: path.clone(), one_file_system, ..RootPolicy::default() };
        Rules::of(Policy { roots: vec![root], ..Policy::default() }, None).expect("rules")
    };
    site.source.options.rules.replace(rules(false));
    site.source.apply_rules().expect("alive");
    assert_eq!(site.source.tree.len(), 5, "root, d, mnt and what is in it");
    assert_eq!(site.take().len(), 3, "each is told");
    // The same directories once more, under another name: seen under the first one only.
    fs::create_dir(site.root().join("alias")).expect("mkdir");
    run("mount", &["--bind", mnt.to_str().expect("text")], &site.root().join("alias"));
    site.settle();
    site.take();
    let refused = site.source.watch(&site.root().join("alias")).expect_err("the other one has its watch");
    assert!(refused.to_string().contains("root/mnt, which is watched"), "{refused}");
    site.source.watch(&site.root()).expect("the others are");
    let hints = site.take();
    assert!(
        hints.iter().any(|hint| matches!(hint.what, What::SourceError { limit: false, .. })),
        "{hints:?}"
    );
    assert_eq!(site.source.tree.len(), 5);
    run("umount", &[], &site.root().join("alias"));
    site.source.options.rules.replace(rules(true));
    site.source.apply_rules().expect("alive");
    site.settle();
    assert_eq!(site.source.tree.len(), 3, "root, d, alias");
    // A mount as a root, which goes away.
    let mut other = Site::new();
    other.source.watch(&mnt).expect("watched");
    assert_eq!(other.source.tree.len(), 3);
    run("umount", &[], &mnt);
    other.settle();
    let unmounted = Hint { path: mnt.into_os_string().into_vec(), what: What::Unmounted };
    assert_eq!(other.take(), [unmounted]);
    assert_eq!((other.source.tree.len(), other.kernel_watches()), (0, 0));
    assert!(other.source.tops.is_empty());
}

//! The source against the kernel: in `changes` random ones, read late and compared with what is there; in `limits` what
//! the kernel refuses, in a namespace of its own.

mod changes;
mod limits;

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

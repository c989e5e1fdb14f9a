//! What every event source promises, with real events; each test runs with each source.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use crate::rules::Rules;
use crate::testdir::TestDir;

const DEADLINE: Duration = Duration::from_secs(20);

/// Makes each of the tests one with notify and one with the direct source.
macro_rules! with_each_source {
    ($($test:ident),+ $(,)?) => {
        mod with_notify {
            $(#[test]
            fn $test() {
                super::$test(super::Backend::Notify);
            })+
        }
        mod with_inotify {
            $(#[test]
            fn $test() {
                super::$test(super::Backend::Inotify);
            })+
        }
    };
}

with_each_source! {
    every_kind_of_change_is_hinted,
    a_root_that_moves_away_says_so,
    symlinks_are_not_followed,
    excluded_paths_are_dropped_and_cookies_are_not,
    cookies_outside_every_root_arrive,
    watching_again_and_unwatching_twice_are_no_errors_and_what_is_missing_is,
    barriers_deliver_what_was_queued_before_them,
    files_in_new_directories_are_hinted_or_listed,
    rules_that_change_hold_for_what_is_watched_already,
    what_is_written_after_a_rename_has_the_new_path,
    one_root_is_unwatched_and_the_others_are_not,
    what_is_written_under_a_deleted_name_is_hinted,
}

struct Watched {
    dir: TestDir,
    handle: WatchHandle,
    hints: Receiver<Hint>,
    thread: Option<WatchThread>,
}

impl Watched {
    fn start(backend: Backend, options: impl FnOnce(&Path) -> SourceOptions) -> Watched {
        let dir = TestDir::create();
        let (sender, hints) = crossbeam_channel::unbounded();
        let sink = move |hint| drop(sender.send(hint));
        let source = create(backend, options(dir.path()), sink).expect("a source");
        let (thread, handle) = WatchThread::spawn(source).expect("a thread");
        fs::create_dir(dir.join("root")).expect("mkdir");
        handle.watch(&dir.join("root")).expect("watched");
        Watched { dir, handle, hints, thread: Some(thread) }
    }

    /// Everything that was hinted before now, paths relative to the test's directory.
    fn drain(&self) -> Vec<(String, What)> {
        self.handle.barrier(DEADLINE).expect("reached");
        let base = self.dir.path().as_os_str().as_bytes();
        self.hints
            .try_iter()
            .map(|hint| {
                let path = hint.path.strip_prefix(base).unwrap_or(&hint.path);
                (String::from_utf8_lossy(path).into_owned(), hint.what)
            })
            .collect()
    }

    fn path(&self, name: &str) -> Vec<u8> {
        self.dir.join(name).as_os_str().as_bytes().to_vec()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.stop();
        }
    }
}

fn has(hints: &[(String, What)], path: &str, what: What) -> bool {
    hints.contains(&(path.to_string(), what))
}

fn every_kind_of_change_is_hinted(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    let file = watched.dir.join("root/f");
    let mut open = fs::File::create(&file).expect("create");
    assert!(has(&watched.drain(), "/root/f", What::Appeared { dir: false }));
    open.write_all(b"x").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/root/f", What::Written) && !has(&hints, "/root/f", What::Closed), "{hints:?}");
    drop(open);
    assert!(has(&watched.drain(), "/root/f", What::Closed));
    let mode = fs::metadata(&file).expect("metadata").permissions();
    fs::set_permissions(&file, mode).expect("chmod");
    assert!(has(&watched.drain(), "/root/f", What::Attributes));
    fs::read(&file).expect("read");
    fs::read_dir(watched.dir.join("root")).expect("opened").for_each(drop);
    assert_eq!(watched.drain(), [], "reading is no change");
    fs::rename(&file, watched.dir.join("root/g")).expect("mv");
    let hints = watched.drain();
    assert!(has(&hints, "/root/f", What::MovedFrom), "{hints:?}");
    assert!(has(&hints, "/root/g", What::MovedTo { from: Some(watched.path("root/f")) }), "{hints:?}");
    assert_eq!(hints.len(), 2, "{hints:?}");
    fs::write(watched.dir.join("outside"), "x").expect("write");
    fs::rename(watched.dir.join("outside"), watched.dir.join("root/in")).expect("mv");
    assert_eq!(watched.drain(), [("/root/in".to_string(), What::MovedTo { from: None })]);
    fs::rename(watched.dir.join("root/in"), watched.dir.join("out")).expect("mv");
    assert_eq!(watched.drain(), [("/root/in".to_string(), What::MovedFrom)]);
    fs::hard_link(watched.dir.join("root/g"), watched.dir.join("root/h")).expect("ln");
    assert!(has(&watched.drain(), "/root/h", What::Appeared { dir: false }));
    fs::create_dir(watched.dir.join("root/d")).expect("mkdir");
    assert!(has(&watched.drain(), "/root/d", What::Appeared { dir: true }));
    fs::write(watched.dir.join("root/d/x"), "").expect("write");
    assert!(has(&watched.drain(), "/root/d/x", What::Appeared { dir: false }), "watched after the barrier");
    fs::rename(watched.dir.join("root/d"), watched.dir.join("root/e")).expect("mv");
    let hints = watched.drain();
    assert!(has(&hints, "/root/e", What::MovedTo { from: Some(watched.path("root/d")) }), "{hints:?}");
    fs::remove_file(watched.dir.join("root/e/x")).expect("rm");
    assert!(has(&watched.drain(), "/root/e/x", What::Gone));
    fs::remove_dir(watched.dir.join("root/e")).expect("rmdir");
    assert!(has(&watched.drain(), "/root/e", What::Gone));
    let odd = watched.dir.join(Path::new(std::ffi::OsStr::from_bytes(b"root/\xff\n")));
    fs::write(&odd, "").expect("write");
    watched.handle.barrier(DEADLINE).expect("reached");
    assert!(
        watched.hints.try_iter().any(|hint| hint.path == odd.as_os_str().as_bytes()),
        "bytes arrive intact"
    );
    fs::remove_dir_all(watched.dir.join("root")).expect("rm -r");
    assert!(has(&watched.drain(), "/root", What::Gone), "the root itself");
}

fn a_root_that_moves_away_says_so(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    fs::rename(watched.dir.join("root"), watched.dir.join("elsewhere")).expect("mv");
    assert!(has(&watched.drain(), "/root", What::MovedFrom));
}

fn symlinks_are_not_followed(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    fs::create_dir(watched.dir.join("outside")).expect("mkdir");
    std::os::unix::fs::symlink(watched.dir.join("outside"), watched.dir.join("root/link")).expect("symlink");
    watched.drain();
    fs::write(watched.dir.join("outside/f"), "x").expect("write");
    assert_eq!(watched.drain(), []);
}

fn excluded_paths_are_dropped_and_cookies_are_not(backend: Backend) {
    let watched = Watched::start(backend, |base| {
        let bytes = |name: &str| base.join(name).as_os_str().as_bytes().to_vec();
        let rules = SharedRules::new(Rules::new(vec![bytes("root/journal")]));
        SourceOptions { rules, cookies: Some(bytes("root/journal/cookies")) }
    });
    fs::create_dir_all(watched.dir.join("root/journal/cookies")).expect("mkdir");
    watched.handle.watch_cookies(&watched.dir.join("root/journal/cookies")).expect("watched");
    watched.drain();
    fs::write(watched.dir.join("root/journal/segment"), "x").expect("write");
    fs::write(watched.dir.join("root/journal-not"), "").expect("write");
    fs::write(watched.dir.join("root/journal/cookies/1"), "").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/root/journal/cookies/1", What::Closed), "{hints:?}");
    assert!(has(&hints, "/root/journal-not", What::Closed), "{hints:?}");
    assert!(hints.iter().all(|(path, _)| path != "/root/journal/segment"), "{hints:?}");
    fs::rename(watched.dir.join("root/journal/segment"), watched.dir.join("root/s")).expect("mv");
    assert_eq!(watched.drain(), [("/root/s".to_string(), What::MovedTo { from: None })]);
}

fn cookies_outside_every_root_arrive(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    fs::create_dir(watched.dir.join("cookies")).expect("mkdir");
    watched.handle.watch_cookies(&watched.dir.join("cookies")).expect("watched");
    fs::write(watched.dir.join("cookies/1"), "").expect("write");
    assert!(has(&watched.drain(), "/cookies/1", What::Closed));
}

fn watching_again_and_unwatching_twice_are_no_errors_and_what_is_missing_is(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    let root = watched.dir.join("root");
    watched.handle.watch(&root).expect("again");
    let missing = watched.handle.watch(&watched.dir.join("missing"));
    assert!(matches!(missing, Err(WatchError::Missing { .. })), "{missing:?}");
    watched.handle.unwatch(&root).expect("unwatched");
    watched.handle.unwatch(&root).expect("again");
    fs::write(root.join("f"), "").expect("write");
    assert_eq!(watched.drain(), []);
}

fn barriers_deliver_what_was_queued_before_them(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    for number in 0..2000 {
        let name = format!("root/{number}");
        fs::write(watched.dir.join(&name), "").expect("write");
        assert!(has(&watched.drain(), &format!("/{name}"), What::Closed), "{name}");
    }
}

fn rules_that_change_hold_for_what_is_watched_already(backend: Backend) {
    let rules = SharedRules::new(Rules::default());
    let watched = Watched::start(backend, |_| SourceOptions { rules: rules.clone(), cookies: None });
    fs::create_dir_all(watched.dir.join("root/d/inner")).expect("mkdir");
    fs::create_dir_all(watched.dir.join("root/e")).expect("mkdir");
    watched.drain();
    rules.replace(Rules::new(vec![watched.path("root/d")]));
    watched.handle.apply_rules().expect("applied");
    fs::write(watched.dir.join("root/d/inner/f"), "").expect("write");
    fs::write(watched.dir.join("root/e/f"), "").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/root/e/f", What::Closed), "{hints:?}");
    assert!(hints.iter().all(|(path, _)| !path.starts_with("/root/d/")), "{hints:?}");
    rules.replace(Rules::default());
    watched.handle.apply_rules().expect("applied");
    fs::write(watched.dir.join("root/d/inner/f"), "").expect("write");
    assert!(has(&watched.drain(), "/root/d/inner/f", What::Closed));
}

fn what_is_written_after_a_rename_has_the_new_path(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    fs::create_dir_all(watched.dir.join("root/a/inner")).expect("mkdir");
    watched.drain();
    fs::rename(watched.dir.join("root/a"), watched.dir.join("root/b")).expect("mv");
    watched.drain();
    fs::write(watched.dir.join("root/b/inner/f"), "").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/root/b/inner/f", What::Closed), "{hints:?}");
    // Another directory under the old name is another directory.
    fs::create_dir_all(watched.dir.join("root/a/inner")).expect("mkdir");
    watched.drain();
    fs::write(watched.dir.join("root/a/inner/g"), "").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/root/a/inner/g", What::Closed), "{hints:?}");
    assert!(hints.iter().all(|(path, _)| path.starts_with("/root/a/")), "{hints:?}");
}

fn one_root_is_unwatched_and_the_others_are_not(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    let other = watched.dir.join("other/root");
    fs::create_dir_all(&other).expect("mkdir");
    watched.handle.watch(&other).expect("watched");
    watched.handle.unwatch(&watched.dir.join("root")).expect("unwatched");
    fs::write(watched.dir.join("root/f"), "").expect("write");
    fs::write(other.join("f"), "").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/other/root/f", What::Closed), "{hints:?}");
    assert!(hints.iter().all(|(path, _)| path.starts_with("/other/")), "{hints:?}");
    watched.handle.watch(&watched.dir.join("root")).expect("watched again");
    fs::write(watched.dir.join("root/f"), "").expect("write");
    assert!(has(&watched.drain(), "/root/f", What::Closed));
}

/// It may be the content of a file's other names, which have no event.
fn what_is_written_under_a_deleted_name_is_hinted(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    let mut open = fs::File::create(watched.dir.join("root/f")).expect("create");
    fs::hard_link(watched.dir.join("root/f"), watched.dir.join("root/g")).expect("ln");
    fs::remove_file(watched.dir.join("root/f")).expect("rm");
    watched.drain();
    open.write_all(b"x").expect("write");
    let hints = watched.drain();
    assert!(has(&hints, "/root/f", What::Written), "{hints:?}");
}

fn list_below(dir: &Path, found: &mut HashSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list_below(&entry.path(), found);
        } else {
            found.insert(entry.path());
        }
    }
}

fn files_in_new_directories_are_hinted_or_listed(backend: Backend) {
    let watched = Watched::start(backend, |_| SourceOptions::default());
    let root = watched.dir.join("root");
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (root, done) = (root.clone(), Arc::clone(&done));
        thread::spawn(move || {
            let mut files = HashSet::new();
            for number in 0..300 {
                let mut dir = root.join(number.to_string());
                for level in ["a", "b", "c"] {
                    dir.push(level);
                }
                fs::create_dir_all(&dir).expect("mkdir -p");
                for _ in 0..3 {
                    for name in ["1", "2", "3"] {
                        fs::write(dir.join(name), "x").expect("write");
                        files.insert(dir.join(name));
                    }
                    dir.pop();
                }
            }
            done.store(true, Ordering::Release);
            files
        })
    };
    let (mut found, mut barriers, mut hinted) = (HashSet::new(), 0, 0);
    let begun = Instant::now();
    loop {
        // Read before the queue is: what was written by then is hinted by then.
        let last = done.load(Ordering::Acquire);
        if last {
            watched.handle.barrier(DEADLINE).expect("reached");
        }
        let hints: Vec<Hint> = watched.hints.try_iter().collect();
        let new: Vec<&Hint> = hints.iter().filter(|hint| hint.what == What::Appeared { dir: true }).collect();
        if !new.is_empty() {
            watched.handle.barrier(DEADLINE).expect("reached");
            barriers += 1;
        }
        for hint in &new {
            list_below(Path::new(std::ffi::OsStr::from_bytes(&hint.path)), &mut found);
        }
        for hint in &hints {
            assert!(!matches!(hint.what, What::Overflow | What::SourceError { .. }), "{hint:?}");
            hinted += usize::from(hint.what == What::Closed);
            found.insert(PathBuf::from(std::ffi::OsStr::from_bytes(&hint.path)));
        }
        if last && hints.is_empty() {
            break;
        }
    }
    let files = writer.join().expect("written");
    println!("{} files, {hinted} of them hinted, {barriers} barriers, {:?}", files.len(), begun.elapsed());
    let missed: Vec<_> = files.difference(&found).collect();
    assert!(missed.is_empty(), "{} of {} missed: {missed:?}", missed.len(), files.len());
}

/// A source whose barrier takes until it is told to go on.
struct Stuck(Receiver<()>);

impl EventSource for Stuck {
    fn watch(&mut self, root: &Path) -> Result<(), WatchError> {
        Err(WatchError::LimitReached { path: root.to_path_buf() })
    }

    fn watch_cookies(&mut self, _: &Path) -> Result<(), WatchError> {
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) -> Result<(), WatchError> {
        Ok(())
    }

    fn barrier(&mut self) -> Result<(), WatchError> {
        self.0.recv().map_err(|_| WatchError::Stopped)
    }
}

#[test]
fn a_barrier_has_a_deadline_and_waiting_ones_share_a_round() {
    let (go, wait) = bounded(2);
    let (thread, handle) = WatchThread::spawn(Box::new(Stuck(wait))).expect("a thread");
    let first = handle.begin_barrier().expect("begun");
    assert_eq!(first.wait(Duration::from_millis(1)), Err(BarrierExpired::Deadline));
    let later: Vec<_> = (0..10).map(|_| handle.begin_barrier().expect("begun")).collect();
    go.send(()).expect("sent");
    assert_eq!(first.wait(DEADLINE), Ok(()));
    go.send(()).expect("sent");
    assert!(later.iter().all(|barrier| barrier.wait(DEADLINE) == Ok(())));
    let error = handle.watch(Path::new("/x")).expect_err("refused");
    assert!(error.to_string().contains("sysctl fs.inotify.max_user_watches="), "{error}");
    thread.stop();
    assert_eq!(handle.barrier(DEADLINE), Err(BarrierExpired::Stopped));
}

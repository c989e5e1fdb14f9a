//! Random changes, read as late as can be or while they go on: what is watched and hinted is what is there.

use super::*;

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

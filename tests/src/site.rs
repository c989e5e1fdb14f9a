//! A place for one test: a root, a journal, copies of the root at instants, and the command run on them.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use asof_journal::storage::Layout;
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::copy;
use crate::edit::LEAVE_ALONE;
use crate::filesystem::run;
use crate::must::Must;
use crate::oracle;
use crate::programs::Programs;
use crate::tree::has_program;
use crate::wait::{PATIENCE, eventually};

/// A directory of its own for one test; removed at the end, also after a failure.
pub struct Site {
    dir: TempDir,
    kept: bool,
    /// The programs under test.
    pub programs: Programs,
    /// The protected directory.
    pub root: PathBuf,
    /// The journal; made by the first agent.
    pub journal: PathBuf,
    /// Instants that must be restorable for ever, with a copy of the root as it was.
    instants: RefCell<Vec<Taken>>,
    runs: RefCell<u32>,
    checks: Cell<usize>,
}

/// What `sync` gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// RFC 3339.
    pub instant: String,
    /// The sequence number.
    pub seq: u64,
    /// `seq:N`.
    pub at: String,
}

struct Taken {
    synced: Synced,
    /// What was copied: the root, or a directory below.
    path: PathBuf,
    copy: PathBuf,
    name: String,
}

impl Site {
    /// A fresh site with an empty root and no journal yet.
    pub fn new() -> Site {
        Site::below(&std::env::temp_dir())
    }

    /// The same in a directory of the caller's choice: on another filesystem.
    pub fn below(parent: &Path) -> Site {
        let programs = Programs::find();
        let dir = TempDir::with_prefix_in("asof-", parent).must("a temporary directory");
        // Another user must reach what is below in the tests that need one.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).must("chmod");
        let (root, journal) = (dir.path().join("root"), dir.path().join("journal"));
        fs::create_dir(&root).must(root.display());
        Site {
            dir,
            kept: false,
            programs,
            root,
            journal,
            instants: RefCell::default(),
            runs: RefCell::default(),
            checks: Cell::default(),
        }
    }

    /// Keeps everything that the site has when it is dropped; says where it is.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.kept = true;
        self.dir.path().to_path_buf()
    }

    /// Copies the journal and the logs of the agents to a directory that outlives the site.
    ///
    /// # Errors
    /// What `cp` says.
    pub fn keep_traces(&self, to: &Path) -> Result<(), String> {
        let traces =
            fs::read_dir(self.dir.path()).must(self.dir.path().display()).flatten().filter(|entry| {
                let name = entry.file_name();
                name == "journal" || name.to_string_lossy().starts_with("agent-log")
            });
        fs::create_dir_all(to).must(to.display());
        run(Command::new("cp").arg("-a").arg("-t").arg(to).args(traces.map(|entry| entry.path())))
    }

    /// A path inside the site, outside root and journal.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path that was not given out before.
    pub fn fresh(&self, what: &str) -> PathBuf {
        let mut runs = self.runs.borrow_mut();
        *runs += 1;
        self.path(format!("{what}-{runs}"))
    }

    /// Starts the agent and waits until it protects the root.
    #[track_caller]
    pub fn start(&self) -> Agent {
        let agent = Agent::start(self, &[]);
        agent.protecting(self);
        agent
    }

    /// The command on this site's journal; nothing runs before [`Asof::exits`].
    pub fn asof<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Asof {
        let mut command = Command::new(&self.programs.asof);
        command.arg("--journal").arg(&self.journal).args(arguments);
        Asof { command, output: self.fresh("output") }
    }

    /// A line for a shell that finds the programs under test, as people copy one out of a message.
    pub fn shell(&self, line: &str) -> Asof {
        let mut command = Command::new("bash");
        let programs = self.programs.asof.parent().must("a directory of programs");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = [programs.as_os_str(), &path].join(OsStr::new(":"));
        command.arg("-c").arg(line).env("PATH", path);
        Asof { command, output: self.fresh("output") }
    }

    /// `asof --json status`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.asof(["--json", "status"]).exits(0).json()
    }

    /// A counter of the running agent.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        let status = self.status();
        status["counters"][name].as_u64().must(format!("counter {name} in {status}"))
    }

    /// `asof --json sync`.
    #[track_caller]
    pub fn sync(&self) -> Synced {
        self.sync_within("60s")
    }

    /// `asof --json sync --timeout`, where there is more to do than in a test.
    #[track_caller]
    pub fn sync_within(&self, timeout: &str) -> Synced {
        let json = self.asof(["--json", "sync", "--timeout", timeout]).exits(0).json();
        let text = |field: &str| json[field].as_str().must(format!("{field} in {json}")).to_string();
        Synced {
            instant: text("instant"),
            seq: json["seq"].as_u64().must(format!("seq in {json}")),
            at: text("at"),
        }
    }

    /// Syncs, then copies the root: this instant is checked by every later [`Site::check_all`].
    #[track_caller]
    pub fn take(&self, name: &str) -> Synced {
        self.take_of(&self.root, name)
    }

    /// The same of a directory below the root only.
    #[track_caller]
    pub fn take_of(&self, path: &Path, name: &str) -> Synced {
        let synced = self.sync();
        let copy = self.fresh("copy");
        copy::copy(path, &copy);
        self.instants.borrow_mut().push(Taken {
            synced: synced.clone(),
            path: path.to_path_buf(),
            copy,
            name: name.into(),
        });
        synced
    }

    /// The copy that was taken at the newest instant.
    #[track_caller]
    pub fn newest_copy(&self) -> PathBuf {
        self.instants.borrow().last().must("an instant").copy.clone()
    }

    /// Restores a path as of a time into a fresh place and says where.
    #[track_caller]
    pub fn restore(&self, path: &Path, at: &str) -> PathBuf {
        let target = self.fresh("restored");
        let arguments = [
            OsStr::new("restore"),
            path.as_os_str(),
            "--at".as_ref(),
            at.as_ref(),
            "--to".as_ref(),
            target.as_ref(),
        ];
        self.asof(arguments).exits(0);
        target
    }

    /// Restores every instant taken so far, in turn by sequence number and by time, and compares all of it.
    #[track_caller]
    pub fn check_all(&self, when: impl Display) {
        let check = self.checks.replace(self.checks.get() + 1);
        for (number, taken) in self.instants.borrow().iter().enumerate() {
            self.check(taken, (check + number).is_multiple_of(2), &when);
        }
    }

    /// The same for the newest instant only.
    #[track_caller]
    pub fn check_newest(&self, when: impl Display) {
        self.check(self.instants.borrow().last().must("an instant"), true, &when);
    }

    /// The same for the instant that was taken as `number`th, counted from 0.
    #[track_caller]
    pub fn check_number(&self, number: usize, when: impl Display) {
        let check = self.checks.replace(self.checks.get() + 1);
        let instants = self.instants.borrow();
        let taken = instants.get(number).must(format!("instant {number}"));
        self.check(taken, check.is_multiple_of(2), &when);
    }

    #[track_caller]
    fn check(&self, taken: &Taken, by_seq: bool, when: &dyn Display) {
        let at = if by_seq { &taken.synced.at } else { &taken.synced.instant };
        let restored = self.restore(&taken.path, at);
        let which = format!("{when}: instant \"{}\" at {at}", taken.name);
        oracle::assert_same(&taken.copy, &restored, which);
        second_opinion(&taken.copy, &restored);
        remove(&restored);
    }

    /// Bytes in the files of `segments/`, as their names end up: apparent sizes, exact.
    pub fn segment_bytes(&self) -> u64 {
        let dir = Layout::new(&self.journal).segments();
        let mut bytes = 0;
        for file in fs::read_dir(&dir).must(dir.display()) {
            bytes += file.must(dir.display()).metadata().map_or(0, |meta| meta.len());
        }
        bytes
    }
}

impl Default for Site {
    fn default() -> Site {
        Site::new()
    }
}

/// Bytes that a tree occupies on disk, each inode once, as `du` counts.
pub fn occupied_bytes(dir: &Path) -> u64 {
    let mut seen = std::collections::HashSet::new();
    let mut queue = vec![dir.to_path_buf()];
    let mut bytes = 0;
    while let Some(path) = queue.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if seen.insert((meta.dev(), meta.ino())) {
            bytes += meta.blocks() * 512;
        }
        if meta.is_dir() {
            queue.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    bytes
}

impl Drop for Site {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Directories that their owner may not write keep a temporary directory from removing itself.
        if let Err(error) = try_remove(self.dir.path()) {
            eprintln!("{}: {error}", self.dir.path().display());
        }
    }
}

/// Removes a tree, also one with modes that keep its owner out.
pub fn remove(tree: &Path) {
    try_remove(tree).must(tree.display());
}

fn try_remove(tree: &Path) -> std::io::Result<()> {
    fs::remove_dir_all(tree).or_else(|_| {
        Command::new("chmod").args(["-R", "u+rwX", "--"]).arg(tree).status()?;
        fs::remove_dir_all(tree)
    })
}

/// What rsync thinks of two trees that the oracle found the same: it must have nothing to do.
#[track_caller]
fn second_opinion(expected: &Path, actual: &Path) {
    if !has_program("rsync") {
        eprintln!("skipped: rsync is not installed");
        return;
    }
    let slash = |path: &Path| {
        let mut with = path.as_os_str().to_os_string();
        with.push("/");
        with
    };
    let output = Command::new("rsync")
        .args(["-aHAXn", "--checksum", "--delete", "--itemize-changes", "--exclude", LEAVE_ALONE])
        .args([slash(expected), slash(actual)])
        .output()
        .must("rsync");
    assert!(output.status.success(), "rsync: {}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.stdout.is_empty(),
        "rsync sees a difference:\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// One run of the command.
pub struct Asof {
    command: Command,
    output: PathBuf,
}

/// What a run of the command gave.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status.
    pub status: i32,
    /// Data.
    pub stdout: Vec<u8>,
    /// Everything else.
    pub stderr: String,
    line: String,
}

impl Asof {
    /// Runs in another directory.
    #[must_use]
    pub fn in_dir(mut self, dir: &Path) -> Asof {
        self.command.current_dir(dir);
        self
    }

    /// Runs with one more argument.
    #[must_use]
    pub fn with_word(mut self, word: impl AsRef<OsStr>) -> Asof {
        self.command.arg(word);
        self
    }

    /// Runs with a variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl AsRef<OsStr>) -> Asof {
        self.command.env(name, value);
        self
    }

    /// Runs it with a deadline, whatever the status.
    #[track_caller]
    pub fn run(mut self) -> Output {
        let line = format!("{:?}", self.command);
        // To files, not pipes: a full pipe would look like a hang.
        let stderr = self.output.with_extension("err");
        let create = |path: &Path| File::create(path).must(path.display());
        self.command.env("NO_COLOR", "1").env("TZ", "UTC").stdin(Stdio::null());
        self.command.stdout(create(&self.output)).stderr(create(&stderr));
        let mut child = self.command.spawn().must(&line);
        let patience = 4 * PATIENCE;
        let start = std::time::Instant::now();
        let status = eventually(patience + Duration::from_secs(5), &line, || {
            if start.elapsed() > patience {
                let _ = child.kill();
            }
            child.try_wait().must(&line)
        });
        assert!(start.elapsed() < patience, "{line} hung and was killed");
        let output = Output {
            status: status.code().unwrap_or(-1),
            stdout: fs::read(&self.output).must(self.output.display()),
            stderr: String::from_utf8_lossy(&fs::read(&stderr).must(stderr.display())).into_owned(),
            line,
        };
        let _ = (fs::remove_file(&self.output), fs::remove_file(&stderr));
        output
    }

    /// Runs it and holds it to an exit status. Only a failure may leave nothing on stderr unexplained.
    #[track_caller]
    pub fn exits(self, expected: i32) -> Output {
        let output = self.run();
        assert_eq!(
            output.status,
            expected,
            "exit status of {}\nstdout: {}\nstderr: {}",
            output.line,
            String::from_utf8_lossy(&output.stdout[..output.stdout.len().min(2000)]),
            output.stderr
        );
        assert!(!output.stderr.contains("panicked at"), "{}: {}", output.line, output.stderr);
        assert!(expected == 0 || !output.stderr.trim().is_empty(), "{} failed without a word", output.line);
        output
    }
}

impl Output {
    /// Stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Stdout as one JSON object.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).must(format!("{}: JSON in {:?}", self.line, self.text()))
    }

    /// Stdout as JSON Lines.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).must(format!("{}: JSON in {line:?}", self.line));
        self.text().lines().map(parse).collect()
    }
}

/// Arguments of mixed kinds as one list.
pub fn arguments(parts: &[&dyn AsRef<OsStr>]) -> Vec<OsString> {
    parts.iter().map(|part| part.as_ref().to_os_string()).collect()
}

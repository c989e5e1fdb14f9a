//! A tree with a journal, drills on it, and what their reports say.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use asof_journal::reader::Reader;
use asof_journal::segments::SegmentFile;
use asof_journal::storage::{Layout, OsStorage};
use asof_journal::types::{Content, Extent, SegmentId};
use asof_tests::agent::Agent;
use asof_tests::files::{make, write};
use asof_tests::must::Must;
use asof_tests::random::Random;
use asof_tests::site::{Asof, Output, Site};
use serde_json::Value;

/// A site with a small tree that is captured.
pub(crate) struct Ground {
    pub(crate) site: Site,
    /// Where one runs.
    pub(crate) agent: Option<Agent>,
}

/// A drill that ran.
pub(crate) struct Ran {
    pub(crate) output: Output,
    /// The report; null where there is none.
    pub(crate) report: Value,
}

impl Ground {
    /// A tree of a few files, some large enough for blocks of their own.
    pub(crate) fn new() -> Ground {
        let site = Site::new();
        let mut random = Random::new(11);
        make(site.root.join("docs/deep"));
        make(site.root.join("empty"));
        for number in 0..6 {
            write(
                site.root.join(format!("docs/{number}.txt")),
                format!("text {number}\n").repeat(number * 100 + 1),
            );
            write(site.root.join(format!("docs/deep/{number}.bin")), random.bytes(20_000));
        }
        for name in ["one.big", "other.big"] {
            write(site.root.join("docs/deep").join(name), random.bytes(400_000));
        }
        std::os::unix::fs::symlink("../docs", site.root.join("empty/link")).must("a symlink");
        make(site.path("scratch"));
        make(site.path("witness"));
        let agent = site.start();
        let ground = Ground { site, agent: Some(agent) };
        ground.site.sync();
        ground
    }

    /// Does something, and ends the agent then.
    pub(crate) fn without_agent_after(mut self, what: impl FnOnce(&Ground)) -> Ground {
        what(&self);
        self.agent.take().must("an agent").terminate();
        self
    }

    pub(crate) fn root(&self) -> String {
        self.site.root.to_str().must("UTF-8").to_owned()
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.site.path("scratch")
    }

    /// Writes a witness of what is there now; gives its file and the instant for `--at`.
    pub(crate) fn witness_at(&self) -> (PathBuf, String) {
        let to = self.site.path("witness");
        let json =
            self.site.asof(["--json", "drill", "witness", "--to", to.to_str().must("UTF-8")]).exits(0).json();
        (PathBuf::from(json["path"].as_str().must("path")), json["at"].as_str().must("at").to_owned())
    }

    /// The same, where the instant does not matter.
    pub(crate) fn witness(&self) -> PathBuf {
        self.witness_at().0
    }

    /// A drill with a text, in which ROOT, WITNESS and SCRATCH stand for themselves.
    pub(crate) fn drill(&self, text: &str) -> Asof {
        self.named_drill("drill", text)
    }

    pub(crate) fn named_drill(&self, name: &str, text: &str) -> Asof {
        let file = self.site.path(format!("{name}.toml"));
        let place = |path: PathBuf| path.to_str().must("UTF-8").to_owned();
        let text = text.replace("ROOT", &self.root()).replace("WITNESS", &place(self.site.path("witness")));
        fs::write(&file, text.replace("SCRATCH", &place(self.scratch()))).must(file.display());
        let state = place(self.site.path("state"));
        let words = ["--json", "drill", file.to_str().must("UTF-8"), "--state", &state];
        self.site.asof(words).with_variable("TMPDIR", self.scratch())
    }

    /// Runs a drill, holds it to an exit status, and its scratch space to being gone.
    #[track_caller]
    pub(crate) fn run(&self, text: &str, status: i32) -> Ran {
        self.end(self.drill(text), status)
    }

    #[track_caller]
    pub(crate) fn end(&self, drill: Asof, status: i32) -> Ran {
        let output = drill.run();
        let (out, err) = (output.text(), &output.stderr);
        assert_eq!(output.status, status, "stdout: {out}\nstderr: {err}");
        assert!(!err.contains("panicked at"), "{err}");
        self.nothing_is_left();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Ran { output, report }
    }

    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        let left: Vec<_> =
            fs::read_dir(self.scratch()).must("scratch").flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?} is left");
    }

    /// Changes one bit of a block that a file of the tree needs, in the journal. The agent must not run.
    pub(crate) fn flip_bit_of(&self, file: &str) {
        let path = self.site.root.join(file);
        let reader = Reader::open(&self.site.journal).must("the journal");
        let view = reader.view(reader.head());
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let entry = view.resolve(bytes).must(file).must(file);
        let version = view.version(entry.node).must(file).must(file).version;
        assert!(matches!(version.content, Content::Extents(_)), "{file} has blocks");
        let extents = view.extents(&version).must(file);
        let block = extents.iter().find_map(|extent| match extent {
            Extent::Block { id, .. } => Some(*id),
            _ => None,
        });
        let (segment, offset) = reader.locality(block.must("a block")).must(file).must(file);
        let layout = Layout::new(&self.site.journal);
        let id = SegmentId(segment);
        let path =
            [layout.segment(id), layout.open_segment(id)].into_iter().find(|path| path.exists()).must(file);
        let stored = SegmentFile::open(&OsStorage, path.clone(), id)
            .must(file)
            .frame_header(offset)
            .must(file)
            .stored_len;
        let at = offset + 24 + u64::from(stored) / 2;
        let segment = fs::File::options().read(true).write(true).open(&path).must(path.display());
        let mut byte = [0];
        segment.read_exact_at(&mut byte, at).must("a byte");
        segment.write_all_at(&[byte[0] ^ 4], at).must("a byte");
    }
}

impl Ran {
    /// The outcome of each assertion by its name.
    pub(crate) fn outcomes(&self) -> Vec<(String, String)> {
        let all = self.report["assertions"].as_array().must(format!("assertions: {}", self.output.stderr));
        let text = |of: &Value, key: &str| of[key].as_str().must(key).to_owned();
        all.iter().map(|of| (text(of, "name"), text(of, "outcome"))).collect()
    }

    /// The assertions that have an outcome.
    pub(crate) fn that(&self, outcome: &str) -> Vec<String> {
        self.outcomes().into_iter().filter(|(_, other)| other == outcome).map(|(name, _)| name).collect()
    }

    pub(crate) fn message(&self, name: &str) -> String {
        let all = self.report["assertions"].as_array().must("assertions");
        let of = all.iter().find(|of| of["name"] == name).must(name);
        of["message"].as_str().must("message").to_owned()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.report["counts"][name].as_u64().must(name)
    }
}

/// All bytes of a directory, by name.
pub(crate) fn bytes_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.is_symlink() {
            open.extend(fs::read_dir(&path).must(path.display()).flatten().map(|entry| entry.path()));
        } else if path.is_file() && !path.is_symlink() {
            found.push((path.clone(), fs::read(&path).must(path.display())));
        }
    }
    found.sort();
    found
}

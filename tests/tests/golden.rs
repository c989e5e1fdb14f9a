//! Journals of every format there was, opened by the present program: each answers as it always did.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use asof_journal::format::FORMAT;
use asof_journal::reader::Reader;
use asof_journal::types::{Content, Kind, NodeId, Op, Seq};
use asof_tests::must::Must;
use asof_tests::pen::{Pen, version};
use asof_tests::{copy, golden};

/// Every golden journal: its format, and its directory. A released format stays here for ever.
const GOLDEN: &[(u32, &str)] = &[(1, "format-1")];
/// They are in everybody's clone.
const BYTES_MAX: u64 = 400 << 10;

#[test]
fn every_format_has_a_golden_journal_and_every_golden_journal_is_listed() {
    for format in (0..=FORMAT).skip(1) {
        assert!(
            GOLDEN.iter().any(|(known, _)| *known == format),
            "format {format} is released without a golden journal"
        );
    }
    let dir = golden::directory();
    for entry in fs::read_dir(&dir).must(dir.display()).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(
            GOLDEN.iter().any(|(_, listed)| *listed == name),
            "{name} is not listed, so nothing reads it"
        );
    }
    for (_, name) in GOLDEN {
        let bytes: u64 = files(&dir.join(name)).values().map(|bytes| bytes.len() as u64).sum();
        assert!((1..=BYTES_MAX).contains(&bytes), "{name}: {bytes} bytes, {BYTES_MAX} at most");
    }
}

#[test]
fn golden_journals_answer_as_they_always_did() {
    each(|golden| {
        let reader = golden.open();
        assert_eq!(reader.report().rebuilt, None, "the index is used as it is");
        assert_eq!(reader.report().damage, []);
        golden.compare(&reader, "as it is");
    });
}

#[test]
fn golden_journals_answer_the_same_without_an_index() {
    each(|golden| {
        fs::remove_dir_all(golden.journal.join("index")).must("the index");
        golden.compare(&golden.open(), "without an index");
    });
}

#[test]
fn golden_journals_are_read_from_a_read_only_place_and_nothing_is_written() {
    each(|golden| {
        let before = files(&golden.journal);
        set_modes(&golden.journal, 0o500, 0o400);
        golden.compare(&golden.open(), "read-only");
        // Root may write all the same: that nothing changed is what counts.
        assert!(files(&golden.journal) == before, "a reader wrote into the journal");
        set_modes(&golden.journal, 0o700, 0o600);
    });
}

#[test]
fn golden_journals_are_written_to_and_their_past_stays() {
    each(|golden| {
        for index in [true, false] {
            if !index {
                fs::remove_dir_all(golden.journal.join("index")).must("the index");
            }
            let mut pen = Pen::open(&golden.journal, 100_000, asof_journal::append::Limits::default());
            assert_eq!(pen.journal.report.damage, []);
            let node = pen.journal.head.new_node();
            let bind = Op::Bind {
                dir: NodeId::ROOT,
                name: format!("new-{index}").into_bytes(),
                node,
                kind: Kind::File,
                succeeds: None,
            };
            let version = version(Kind::File, Content::Inline(b"new".to_vec()));
            pen.submit(vec![bind, Op::Version { node, version }]);
            pen.commit();
            pen.close();
            let reader = golden.open();
            assert!(reader.head() > golden.head());
            golden.compare(&reader, "written to");
        }
    });
}

struct Golden {
    journal: PathBuf,
    answers: String,
    format: u32,
}

/// Runs a check with a copy of each golden journal.
fn each(check: impl Fn(&Golden)) {
    for (format, name) in GOLDEN {
        let dir = golden::directory().join(name);
        let tmp = tempfile::tempdir().must("a temporary directory");
        let journal = tmp.path().join("journal");
        copy::with_modes(&dir.join("journal"), &journal);
        let answers = fs::read_to_string(dir.join("answers.txt")).must(name);
        check(&Golden { journal, answers, format: *format });
    }
}

impl Golden {
    /// What to do about a difference.
    fn advice() -> &'static str {
        "this format is released: people have such journals, and the program has to read them"
    }

    fn open(&self) -> Reader {
        match Reader::open(&self.journal) {
            Ok(reader) => reader,
            Err(error) => panic!("{error}\n{}", Golden::advice()),
        }
    }

    fn head(&self) -> Seq {
        let first = self.answers.lines().next().and_then(|line| line.strip_prefix("head seq:"));
        Seq(first.and_then(|head| head.parse().ok()).must("the head in the answers"))
    }

    fn compare(&self, reader: &Reader, how: &str) {
        assert!(
            reader.report().damage.is_empty() && reader.head() >= self.head(),
            "{how}: the journal of format {} ends at {} instead of {}: {:?}\n{}",
            self.format,
            reader.head(),
            self.head(),
            reader.report().damage,
            Golden::advice()
        );
        let now = golden::answers(reader, self.head());
        if now == self.answers {
            return;
        }
        let lines = self.answers.lines().zip(now.lines());
        let different: Vec<String> = lines
            .filter(|(then, now)| then != now)
            .take(5)
            .map(|(then, now)| format!("- {then}\n+ {now}"))
            .collect();
        panic!(
            "{how}: the journal of format {} answers otherwise:\n{}\n{}",
            self.format,
            different.join("\n"),
            Golden::advice()
        );
    }
}

/// Every file below a directory, and what is in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut queue = vec![dir.to_path_buf()];
    while let Some(path) = queue.pop() {
        if path.is_dir() {
            queue.extend(fs::read_dir(&path).must(path.display()).flatten().map(|entry| entry.path()));
        } else {
            found.insert(path.clone(), fs::read(&path).must(path.display()));
        }
    }
    found
}

fn set_modes(path: &Path, dir: u32, file: u32) {
    let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).must(path.display());
    if path.is_dir() {
        mode(dir | 0o700);
        for entry in fs::read_dir(path).must(path.display()).flatten() {
            set_modes(&entry.path(), dir, file);
        }
        mode(dir);
    } else {
        mode(file);
    }
}

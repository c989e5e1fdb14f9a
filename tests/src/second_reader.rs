//! The reader in `tests/reader/`, which was written from FORMAT.md alone: found, run, and what it says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::must::Must;

/// A Python that can run the reader. Debian's own comes first, since its packages belong to it.
const PYTHONS: &[&str] = &["/usr/bin/python3", "python3"];

/// The second reader.
pub struct SecondReader {
    python: &'static str,
    script: PathBuf,
}

impl SecondReader {
    /// Finds what it needs.
    ///
    /// # Errors
    /// What is missing.
    pub fn find() -> Result<SecondReader, String> {
        let can = |python: &&str| {
            let tried = Command::new(python).args(["-c", "import zstandard"]).output();
            tried.is_ok_and(|output| output.status.success())
        };
        let python = PYTHONS.iter().copied().find(can);
        let python = python.ok_or("the second reader needs python3 and python3-zstandard")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reader/asof_reader.py");
        Ok(SecondReader { python, script })
    }

    /// Holds its checksums, which are its own, to published values.
    #[track_caller]
    pub fn check_checksums(&self) {
        let mut command = Command::new(self.python);
        command.arg("-B").arg(self.script.with_file_name("checksums.py"));
        let output = command.output().must(format!("{command:?}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(&self, journal: &Path, further: &[&OsStr]) -> Output {
        let mut command = Command::new(self.python);
        command.arg("-B").arg(&self.script).arg(journal).args(further);
        command.output().must(format!("{command:?}"))
    }

    /// Writes what a path was at an instant; gives what the reader says of it.
    ///
    /// # Errors
    /// What it said, where it did not end well.
    pub fn extract(&self, journal: &Path, path: &Path, at: &str, target: &Path) -> Result<Value, String> {
        let further: [&OsStr; 5] =
            ["--at".as_ref(), at.as_ref(), "--to".as_ref(), target.as_os_str(), path.as_os_str()];
        let output = self.run(journal, &[&further[..], &["--check-chain".as_ref()]].concat());
        let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
        match output.status.success() {
            true => Ok(said),
            false => Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Everything that there was, and was gone, at each of some sequence numbers, with digests of contents.
    #[track_caller]
    pub fn list(&self, journal: &Path, seqs: impl Iterator<Item = u64>) -> Vec<Value> {
        let ats: Vec<String> = seqs.map(|seq| format!("--at=seq:{seq}")).collect();
        let mut further: Vec<&OsStr> = vec!["--list".as_ref(), "--deleted".as_ref(), "--digests".as_ref()];
        further.extend(ats.iter().map(OsStr::new));
        let output = self.run(journal, &further);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).must("a line of JSON")).collect()
    }
}

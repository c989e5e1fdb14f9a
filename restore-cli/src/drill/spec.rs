//! The file that says what a drill does: its keys, what they may hold, and which of them contradict each other.
//!
//! Pure but for reading the file: no path in it is looked at, no time is resolved.

mod keys;
mod template;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::errors::{Error, Result};
use crate::output::escape;

pub(crate) use template::TEMPLATE;
pub(crate) use values::{At, Bytes, ClockOffset, Length, Percent, Sample};

/// A program that is run in the restored tree may take so long, unless the drill says.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// A part of the name of a drill that file names are made of.
const NAME_BYTES_MAX: usize = 100;

/// A drill as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// Its name; that of the file, without an ending, where it says nothing.
    #[serde(default)]
    pub(crate) name: String,
    /// What is supposed to have happened.
    pub(crate) scenario: Scenario,
    /// What is restored.
    #[serde(default)]
    pub(crate) what: What,
    /// As of when.
    #[serde(default)]
    pub(crate) when: When,
    /// What restored things are compared with.
    #[serde(default)]
    pub(crate) oracle: OracleSpec,
    /// What is wanted.
    #[serde(default)]
    pub(crate) targets: Targets,
    /// What must hold; `content` and `paths` where there is none.
    #[serde(default, rename = "assert")]
    pub(crate) asserts: Vec<Assert>,
    /// What random choices are drawn with; drawn itself where it is absent.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
    /// The directory that scratch space is made in; `TMPDIR` where it is absent.
    #[serde(default)]
    pub(crate) scratch: Option<PathBuf>,
    /// Scratch space is no larger; as large as there is room where it is absent.
    #[serde(default)]
    pub(crate) max_bytes: Option<Bytes>,
    /// Where reports and what was drilled are kept.
    #[serde(default)]
    pub(crate) state: Option<PathBuf>,
    /// How far the clock of a scratch agent is off, with `scenario = "wrong-clock"`.
    #[serde(default)]
    pub(crate) clock_offset: Option<ClockOffset>,
    /// Who is told.
    #[serde(default)]
    pub(crate) hooks: HookSpec,
    /// Where else the report goes.
    #[serde(default)]
    pub(crate) reports: ReportFiles,
}

/// What is supposed to have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Single files are lost.
    File,
    /// Trees are lost.
    Tree,
    /// All that is protected is lost.
    Everything,
    /// The index of the journal is lost, too.
    IndexLost,
    /// The end of the newest segment is lost, too.
    TornSegment,
    /// A block of the journal is damaged: it has to be found.
    PlantedCorruption,
    /// Everything is encrypted and renamed.
    Ransomware,
    /// The agent was killed in the middle of work.
    AgentDead,
    /// The clock was off while the agent ran.
    WrongClock,
}

impl Scenario {
    /// As in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scenario::File => "file",
            Scenario::Tree => "tree",
            Scenario::Everything => "everything",
            Scenario::IndexLost => "index-lost",
            Scenario::TornSegment => "torn-segment",
            Scenario::PlantedCorruption => "planted-corruption",
            Scenario::Ransomware => "ransomware",
            Scenario::AgentDead => "agent-dead",
            Scenario::WrongClock => "wrong-clock",
        }
    }

    /// Whether it has an agent and a tree of its own under the scratch directory.
    pub(crate) fn has_lab(self) -> bool {
        matches!(self, Scenario::Ransomware | Scenario::AgentDead | Scenario::WrongClock)
    }

    /// Whether it restores from a copy of the journal.
    pub(crate) fn has_copy(self) -> bool {
        matches!(self, Scenario::IndexLost | Scenario::TornSegment | Scenario::PlantedCorruption)
    }
}

/// What is restored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct What {
    /// These, with all below; with `sample` what files are drawn from.
    pub(crate) paths: Vec<PathBuf>,
    /// All that is protected.
    pub(crate) everything: bool,
    /// Files at random.
    pub(crate) sample: Option<Sample>,
}

/// As of when.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct When {
    /// `latest`, a time as `--at` takes it, `mark:NAME`, or `random-within 30d`.
    pub(crate) at: At,
}

/// What restored things are compared with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OracleSpec {
    /// Witness files, or directories of them.
    pub(crate) witness: Vec<PathBuf>,
    /// Lists of hashes that a workload wrote.
    pub(crate) sums: Vec<SumSpec>,
    /// Whether the live tree counts where it is unchanged since.
    pub(crate) live: bool,
    /// Older witnesses do not count.
    pub(crate) max_age: Option<Length>,
}

impl Default for OracleSpec {
    fn default() -> OracleSpec {
        OracleSpec { witness: Vec::new(), sums: Vec::new(), live: true, max_age: None }
    }
}

/// A list of hashes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SumSpec {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// What its hashes are.
    #[serde(default)]
    pub(crate) hash: SumHash,
    /// The instant that it is of, as `when.at` has it. Without one it is not known what a difference means.
    #[serde(default)]
    pub(crate) at: Option<At>,
    /// The directory that relative names in it lie below.
    #[serde(default)]
    pub(crate) below: Option<PathBuf>,
}

/// Hashes that lists consist of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SumHash {
    /// As `sha256sum` writes.
    #[default]
    Sha256,
    /// As `b3sum` writes.
    Blake3,
}

impl SumHash {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SumHash::Sha256 => "SHA-256",
            SumHash::Blake3 => "BLAKE3",
        }
    }

    /// In lists that name the hash on each line.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            SumHash::Sha256 => "SHA256",
            SumHash::Blake3 => "BLAKE3",
        }
    }

    /// What writes such lists.
    pub(crate) fn tool(self) -> &'static str {
        match self {
            SumHash::Sha256 => "sha256sum",
            SumHash::Blake3 => "b3sum",
        }
    }
}

/// What is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Targets {
    /// From the request until everything is verified, at most.
    pub(crate) rto: Option<Length>,
    /// The age of the newest recovered change at the failure, at most.
    pub(crate) rpo: Option<Length>,
}

/// What must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Assert {
    /// What is restored has the bytes that the oracle knows.
    Content {
        /// The oracle has to know so much of what was chosen.
        #[serde(default)]
        least: Percent,
    },
    /// Exactly those paths are there that the oracle knows.
    Paths {
        /// These must not be there.
        #[serde(default)]
        absent: Vec<PathBuf>,
        /// The oracle has to know so much of what was chosen.
        #[serde(default)]
        least: Percent,
    },
    /// Mode, modification time, owner, attributes are those that the oracle knows.
    Metadata {
        /// The oracle has to know so much of what was chosen.
        #[serde(default)]
        least: Percent,
    },
    /// The journal saw everything.
    NoGap {
        /// For so long before the instant.
        #[serde(default)]
        window: Length,
    },
    /// Restored and verified within the target.
    Rto {},
    /// The newest recovered change is no older than the target.
    Rpo {},
    /// The last success is not long ago.
    LastSuccessAge {
        /// So long at most.
        max: Length,
    },
    /// A program says that it is well.
    Command {
        /// Its words.
        command: Vec<String>,
        /// It is killed after so long.
        #[serde(default = "command_timeout")]
        timeout: Length,
        /// In which restored directory, named as it was when it was alive; the one that was restored where it is absent.
        #[serde(default)]
        cwd: Option<PathBuf>,
    },
}

fn command_timeout() -> Length {
    Length(COMMAND_TIMEOUT)
}

impl Assert {
    /// As in the file.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Assert::Content { .. } => "content",
            Assert::Paths { .. } => "paths",
            Assert::Metadata { .. } => "metadata",
            Assert::NoGap { .. } => "no-gap",
            Assert::Rto {} => "rto",
            Assert::Rpo {} => "rpo",
            Assert::LastSuccessAge { .. } => "last-success-age",
            Assert::Command { .. } => "command",
        }
    }
}

/// Who is told, of what.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HookSpec {
    /// When it begins.
    pub(crate) start: Vec<HookTo>,
    /// When it passed.
    pub(crate) success: Vec<HookTo>,
    /// When it did not.
    pub(crate) failure: Vec<HookTo>,
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum HookTo {
    /// An HTTP address.
    Url(String),
    /// A program with its words.
    Command(Vec<String>),
}

/// Files that a report is written to besides those that are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReportFiles {
    /// The report itself.
    pub(crate) json: Option<PathBuf>,
    /// A case for each assertion.
    pub(crate) junit: Option<PathBuf>,
    /// For the text file collector of Prometheus.
    pub(crate) prometheus: Option<PathBuf>,
    /// For people.
    pub(crate) markdown: Option<PathBuf>,
    /// For people, with plots of past drills.
    pub(crate) html: Option<PathBuf>,
}

impl Spec {
    /// Reads a drill.
    ///
    /// Errors: it cannot be read (status 1), or does not say what it should (status 2).
    pub(crate) fn read(path: &Path) -> Result<(Spec, String)> {
        let shown = || escape(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            path: shown(),
            action: "reading the drill",
            source,
        })?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        match Spec::parse(&text, &stem) {
            Ok(spec) => Ok((spec, text)),
            Err(what) => Err(Error::usage(
                format!("{}: {what}", shown()),
                "`asof drill init` writes a drill with every key explained",
            )),
        }
    }

    /// Understands the text of a drill.
    pub(crate) fn parse(text: &str, stem: &str) -> std::result::Result<Spec, String> {
        keys::check(text)?;
        let mut spec: Spec = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| format!("line {}: ", keys::line(text, span.start)));
            format!("{}{}", line.unwrap_or_default(), error.message())
        })?;
        if spec.name.is_empty() {
            spec.name = stem.to_owned();
        }
        if spec.name.len() > NAME_BYTES_MAX
            || spec.name.contains(['/', '\0'])
            || spec.name.starts_with('.')
            || spec.name.is_empty()
        {
            return Err(format!(
                "name: `{}` cannot name files: 1 to {NAME_BYTES_MAX} bytes without a slash",
                spec.name
            ));
        }
        spec.consistent()?;
        if spec.asserts.is_empty() {
            spec.asserts = vec![
                Assert::Content { least: Percent::default() },
                Assert::Paths { absent: Vec::new(), least: Percent::default() },
            ];
        }
        Ok(spec)
    }

    /// Refuses keys that contradict each other, and names both.
    fn consistent(&self) -> std::result::Result<(), String> {
        let What { paths, everything, sample } = &self.what;
        let scenario = self.scenario.as_str();
        let contradict = |one: &str, other: &str, why: &str| {
            Err(format!("{one} and {other} contradict each other: {why}"))
        };
        if *everything && !paths.is_empty() {
            return contradict("what.everything", "what.paths", "everything is more than these paths");
        }
        if *everything && sample.is_some() {
            return contradict(
                "what.everything",
                "what.sample",
                "a sample is less; without both paths and everything it is drawn from all that is protected",
            );
        }
        if self.scenario == Scenario::Everything && (!paths.is_empty() || sample.is_some()) {
            let key = if paths.is_empty() { "what.sample" } else { "what.paths" };
            return contradict("scenario = \"everything\"", key, "everything is restored");
        }
        if !*everything && paths.is_empty() && sample.is_none() && self.scenario != Scenario::Everything {
            return Err("what is to be restored? say what.paths, what.sample or what.everything".to_owned());
        }
        if self.scenario == Scenario::File && *everything {
            return contradict("scenario = \"file\"", "what.everything", "say scenario = \"everything\"");
        }
        if self.scenario == Scenario::Tree && sample.is_some() {
            return contradict(
                "scenario = \"tree\"",
                "what.sample",
                "a sample is single files: say scenario = \"file\"",
            );
        }
        if let Some(relative) = paths.iter().chain(self.absent()).find(|path| !path.is_absolute()) {
            return Err(format!(
                "{}: paths in a drill have to be absolute",
                escape(std::os::unix::ffi::OsStrExt::as_bytes(relative.as_os_str()))
            ));
        }
        if self.scenario.has_lab() && self.when.at != At::Latest {
            return contradict(
                &format!("scenario = \"{scenario}\""),
                "when.at",
                "this scenario finds its instants itself, in a journal of its own",
            );
        }
        if self.scenario.has_lab() && sample.is_some() {
            return contradict(
                &format!("scenario = \"{scenario}\""),
                "what.sample",
                "this scenario works on a copy of trees: say what.paths",
            );
        }
        if self.scenario.has_lab() && self.asserts.iter().any(|assert| matches!(assert, Assert::NoGap { .. }))
        {
            return contradict(
                &format!("scenario = \"{scenario}\""),
                "assert.kind = \"no-gap\"",
                "its journal is its own, and minutes old",
            );
        }
        for list in &self.oracle.sums {
            if let Some(relative) =
                [Some(&list.file), list.below.as_ref()].into_iter().flatten().find(|path| !path.is_absolute())
            {
                return Err(format!(
                    "{}: paths in a drill have to be absolute",
                    escape(std::os::unix::ffi::OsStrExt::as_bytes(relative.as_os_str()))
                ));
            }
            if matches!(list.at, Some(At::Latest | At::RandomWithin(..))) {
                return Err(
                    "oracle.sums.at has to be one instant, such as mark:NAME: a list is of when it was written".to_owned()
                );
            }
        }
        if self.clock_offset.is_some() && self.scenario != Scenario::WrongClock {
            return contradict(
                &format!("scenario = \"{scenario}\""),
                "clock_offset",
                "only the clock of scenario = \"wrong-clock\" is off",
            );
        }
        for (kind, target, key) in
            [("rto", self.targets.rto, "targets.rto"), ("rpo", self.targets.rpo, "targets.rpo")]
        {
            if target.is_none() && self.asserts.iter().any(|assert| assert.kind() == kind) {
                return Err(format!(
                    "assert.kind = \"{kind}\" has nothing to compare with: {key} is missing"
                ));
            }
        }
        for assert in &self.asserts {
            if let Assert::Command { command, .. } = assert
                && command.first().is_none_or(String::is_empty)
            {
                return Err("assert.command is empty: say which program".to_owned());
            }
        }
        Ok(())
    }

    fn absent(&self) -> impl Iterator<Item = &PathBuf> {
        self.asserts.iter().flat_map(|assert| match assert {
            Assert::Paths { absent, .. } => absent.as_slice(),
            _ => &[],
        })
    }
}

#[cfg(test)]
mod tests;

//! The configuration file: which keys there are, what they may hold, and where in the text they stand.
//!
//! Owns the keys, their defaults and limits. Every refusal names the file, the line and the key. Looks at nothing on
//! disk but the file.

use std::fmt::Display;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asof_journal::retention::config::{self as retention, Written};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, LogFormat};
use crate::settle::Timings;
use crate::watch::Backend;

/// Keys at the top of the file.
const KEYS: &[&str] = &[
    "backend",
    "cachedir_tag",
    "exclude",
    "file_bytes_max",
    "journal",
    "journal_bytes_max",
    "log_format",
    "one_file_system",
    "poll_every",
    "reconcile_every",
    "retention",
    "root",
    "roots",
    "scrub_per_day",
    "settle",
    "workers",
];
/// Keys of a table `[[root]]`.
const ROOT_KEYS: &[&str] = &["cachedir_tag", "exclude", "keep", "one_file_system", "path"];
/// Keys of the table `[settle]`.
const SETTLE_KEYS: &[&str] =
    &["children_max", "closed_ms", "entries_max", "max_delay_ms", "quiet_ms", "stretch_max_ms"];

/// A word this near to a known key is taken for a slip of the pen (Jaro-Winkler, as clap does for flags).
const NEAR: f64 = 0.7;
/// The shortest interval of anything that is done again and again.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// A journal needs some room for its index and for what is on its way whatever its limit.
const JOURNAL_BYTES_LEAST: u64 = 16 << 20;

/// The configuration file as it was read. Paths are absolute; a key that is not listed here is refused.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Where it is; `None` where there is none.
    pub(super) path: Option<PathBuf>,
    /// The journal directory. Default: as `asof` finds it.
    pub(super) journal: Option<PathBuf>,
    /// What to protect: the list `roots` and the tables `[[root]]`. No default; flags replace which roots, and a root
    /// that they name keeps the rules that it has here.
    pub(super) roots: Vec<FileRoot>,
    /// Patterns of what is left out below every root, in gitignore syntax. Default: none.
    pub(super) exclude: Vec<Pattern>,
    /// Whether other filesystems mounted below a root are left out, unless the root says. Default: true.
    pub(super) one_file_system: bool,
    /// Whether directories with a valid `CACHEDIR.TAG` are left out but for the tag, unless the root says. Default:
    /// false, as restic and borg have it.
    pub(super) cachedir_tag: bool,
    /// Longer files are recorded without their content. Bytes, or a text like "2 GiB"; default 0: no limit.
    pub(super) file_bytes_max: Option<u64>,
    /// With so many bytes the journal takes no more, and capture pauses with a gap. Bytes, or a text like "20 GiB"; default
    /// 0: as many as its filesystem has room for; minimum 16 MiB.
    pub(super) journal_bytes_max: Option<u64>,
    /// Where events come from: `auto` (default), `notify` or `inotify`.
    pub(super) backend: Backend,
    /// `text` (default) or `json`.
    pub(super) log_format: Option<LogFormat>,
    /// Threads that read files. Default: the number of processors, 4 at most; minimum 1; 0 means the default.
    pub(super) workers: usize,
    /// From one comparison of everything with the journal to the next. Seconds, or a text like "1h"; default 1 h;
    /// minimum 1 s; 0: none but those that a start or a lost event asks for.
    pub(super) reconcile_every: Option<Duration>,
    /// From one look at directories that cannot be watched to the next. Seconds, or a text like "30s"; default 30 s;
    /// minimum 1 s; 0: none.
    pub(super) poll_every: Option<Duration>,
    /// How much of the journal's sealed segments is read and checked a day while there is nothing else to do. Percent, as a
    /// number or a text like "3%"; default 3; minimum 1; 0: none.
    pub(super) scrub_per_day: Option<u64>,
    /// The table `[settle]`.
    pub(super) settle: Timings,
    /// The table `[retention]`, its rules, and the ladders of roots.
    pub(super) retention: Written,
}

impl Default for File {
    fn default() -> File {
        File {
            path: None,
            journal: None,
            roots: Vec::new(),
            exclude: Vec::new(),
            one_file_system: true,
            cachedir_tag: false,
            file_bytes_max: None,
            journal_bytes_max: None,
            backend: Backend::default(),
            log_format: None,
            workers: 0,
            reconcile_every: Some(Duration::from_secs(3600)),
            poll_every: Some(Duration::from_secs(30)),
            scrub_per_day: Some(3),
            settle: Timings::default(),
            retention: Written::default(),
        }
    }
}

/// A root in the file.
#[derive(Clone, Debug)]
pub(super) struct FileRoot {
    /// Its path.
    pub(super) path: PathBuf,
    /// Whether it has a table of its own, with rules.
    pub(super) table: bool,
    /// Patterns for this root, after those for every root. Default: none.
    pub(super) exclude: Vec<Pattern>,
    /// As for all roots, unless said here.
    pub(super) one_file_system: Option<bool>,
    /// As for all roots, unless said here.
    pub(super) cachedir_tag: Option<bool>,
}

/// A pattern and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What was written.
    pub(super) text: String,
    /// The line, from 1.
    pub(super) line: usize,
}

impl File {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
        let document = Document { path, text: &text };
        let table = DeTable::parse(&text)
            .map_err(|error| document.error(error.span().unwrap_or_default(), error.message().to_owned()))?;
        Table { document: &document, name: String::new(), table: table.get_ref() }.file(path)
    }

    /// The error that a pattern at a line makes.
    pub(super) fn bad_pattern(&self, pattern: &Pattern, key: &str, what: impl Display) -> ConfigError {
        ConfigError::Malformed {
            path: self.path.clone().unwrap_or_default(),
            line: pattern.line,
            what: format!("{key}: pattern {:?}: {what}", pattern.text),
        }
    }
}

/// The text of a file, to say where something stands in it.
struct Document<'d> {
    path: &'d Path,
    text: &'d str,
}

impl Document<'_> {
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
    }

    fn error(&self, at: Range<usize>, what: String) -> ConfigError {
        ConfigError::Malformed { path: self.path.to_path_buf(), line: self.line(at.start), what }
    }
}

/// A table of the file, and what stands before its keys: nothing, or its name and a dot.
struct Table<'d> {
    document: &'d Document<'d>,
    name: String,
    table: &'d DeTable<'d>,
}

type Value<'d> = Spanned<DeValue<'d>>;

impl Table<'_> {
    fn file(&self, path: &Path) -> Result<File, ConfigError> {
        self.knows(KEYS)?;
        let defaults = File::default();
        let mut roots = Vec::new();
        for (path, _) in self.list("roots", |value| self.path("roots", value))?.unwrap_or_default() {
            let (exclude, one_file_system, cachedir_tag) = (Vec::new(), None, None);
            roots.push(FileRoot { path, table: false, exclude, one_file_system, cachedir_tag });
        }
        roots.extend(
            self.list("root", |value| self.root(value))?
                .unwrap_or_default()
                .into_iter()
                .map(|(root, _)| root),
        );
        let log_format = self.get("log_format", "\"text\" or \"json\"", |value| match value.as_str() {
            Some("text") => Some(LogFormat::Text),
            Some("json") => Some(LogFormat::Json),
            _ => None,
        })?;
        let backend = self
            .get("backend", "\"auto\", \"notify\" or \"inotify\"", |value| Backend::named(value.as_str()?))?;
        Ok(File {
            path: Some(path.to_path_buf()),
            journal: self.one("journal", |value| self.path("journal", value))?,
            roots,
            exclude: self.patterns("exclude")?,
            one_file_system: self.bool("one_file_system")?.unwrap_or(defaults.one_file_system),
            cachedir_tag: self.bool("cachedir_tag")?.unwrap_or(defaults.cachedir_tag),
            file_bytes_max: self
                .get("file_bytes_max", "a number of bytes, or a text like \"2 GiB\"", bytes)?
                .filter(|most| *most > 0),
            journal_bytes_max: self.journal_bytes_max()?,
            backend: backend.unwrap_or_default(),
            log_format,
            workers: usize::try_from(self.uint("workers", 0)?.unwrap_or(0)).unwrap_or(usize::MAX),
            reconcile_every: self.every("reconcile_every", defaults.reconcile_every)?,
            poll_every: self.every("poll_every", defaults.poll_every)?,
            scrub_per_day: self
                .get("scrub_per_day", "a number of percent, or a text like \"3%\"", percent)?
                .map_or(defaults.scrub_per_day, |percent| Some(percent).filter(|percent| *percent > 0)),
            settle: self.one("settle", |value| self.settle(value))?.unwrap_or(defaults.settle),
            retention: self.retention()?,
        })
    }

    /// What is said of retention; the journal knows how that is read.
    fn retention(&self) -> Result<Written, ConfigError> {
        if let Some(value) = self.table.get("retention") {
            let table = self.table("retention", value)?;
            table.knows(retention::KEYS)?;
            let rules = table.table.get("rule").and_then(|rules| rules.get_ref().as_array());
            for value in rules.into_iter().flat_map(|rules| rules.iter()) {
                self.table("retention.rule", value)?.knows(retention::RULE_KEYS)?;
            }
        }
        retention::written(self.table).map_err(|refused| self.document.error(refused.at, refused.what))
    }

    fn journal_bytes_max(&self) -> Result<Option<u64>, ConfigError> {
        let most = self.get("journal_bytes_max", "a number of bytes, or a text like \"20 GiB\"", bytes)?;
        match (most, self.table.get("journal_bytes_max")) {
            (Some(most), Some(value)) if most > 0 && most < JOURNAL_BYTES_LEAST => {
                let least = JOURNAL_BYTES_LEAST >> 20;
                let what = format!("journal_bytes_max has to be at least {least} MiB, or 0 for no limit");
                Err(self.document.error(value.span(), what))
            }
            (most, _) => Ok(most.filter(|most| *most > 0)),
        }
    }

    fn root(&self, value: &Value<'_>) -> Result<FileRoot, ConfigError> {
        let table = self.table("root", value)?;
        table.knows(ROOT_KEYS)?;
        let Some(path) = table.one("path", |value| table.path("path", value))? else {
            return Err(self
                .document
                .error(value.span(), "root.path is missing: say which directory".into()));
        };
        Ok(FileRoot {
            path,
            table: true,
            exclude: table.patterns("exclude")?,
            one_file_system: table.bool("one_file_system")?,
            cachedir_tag: table.bool("cachedir_tag")?,
        })
    }

    fn settle(&self, value: &Value<'_>) -> Result<Timings, ConfigError> {
        let table = self.table("settle", value)?;
        table.knows(SETTLE_KEYS)?;
        let defaults = Timings::default();
        // From a file's being closed, coming or going to its capture. Milliseconds; default 20; 0: at once.
        let closed_ms = table.uint("closed_ms", 0)?.unwrap_or(defaults.closed_ms);
        // From the first change to its capture, whatever comes in between. Milliseconds; default 2000; minimum 100; 0
        // is refused.
        let max_delay_ms = table.uint("max_delay_ms", 100)?.unwrap_or(defaults.max_delay_ms);
        // The same for large files that are written all the time. Milliseconds; default 30000; minimum `max_delay_ms`;
        // 0 means `max_delay_ms`: no stretching.
        let stretch_max_ms = match table.uint("stretch_max_ms", 0)? {
            None => defaults.stretch_max_ms.max(max_delay_ms),
            Some(0) => max_delay_ms,
            Some(_) => table.uint("stretch_max_ms", max_delay_ms)?.unwrap_or(max_delay_ms),
        };
        let count = |key, default: usize, least| -> Result<usize, ConfigError> {
            let count = table.uint(key, least)?;
            Ok(count.map_or(default, |count| usize::try_from(count).unwrap_or(usize::MAX)))
        };
        Ok(Timings {
            closed_ms,
            directory_ms: defaults.directory_ms.min(closed_ms),
            // From the last write to a capture while nobody closes. Milliseconds; default 200; 0: at once.
            quiet_ms: table.uint("quiet_ms", 0)?.unwrap_or(defaults.quiet_ms),
            max_delay_ms,
            stretch_max_ms,
            // Changed entries of one directory over which it is compared as a whole. Default 128; minimum 1; 0 is
            // refused.
            children_max: count("children_max", defaults.children_max, 1)?,
            // Changed entries in all over which whole directories are compared: bounds memory, about 300 bytes each.
            // Default 65536; minimum 1024; 0 is refused.
            entries_max: count("entries_max", defaults.entries_max, 1024)?,
        })
    }

    /// Refuses keys that there are not.
    fn knows(&self, known: &[&str]) -> Result<(), ConfigError> {
        for key in self.table.keys() {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let nearest = known
                .iter()
                .map(|known| (strsim::jaro_winkler(known, word), known))
                .filter(|(near, _)| *near >= NEAR)
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            let hint = match nearest {
                Some((_, nearest)) => format!("did you mean {}{nearest}?", self.name),
                None => format!("there are {}", known.join(", ")),
            };
            let what = format!("unknown key {}{word}; {hint}", self.name);
            return Err(self.document.error(key.span(), what));
        }
        Ok(())
    }

    fn one<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Value<'_>) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        self.table.get(key).map(read).transpose()
    }

    /// The elements of a list, each with its line.
    fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&Value<'_>) -> Result<T, ConfigError>,
    ) -> Result<Option<Vec<(T, usize)>>, ConfigError> {
        self.one(key, |value| {
            let Some(elements) = value.get_ref().as_array() else {
                let wanted = if key == "root" { "a list of tables: [[root]]" } else { "a list" };
                return Err(self.unwanted(key, value, wanted));
            };
            elements.iter().map(|value| Ok((read(value)?, self.document.line(value.span().start)))).collect()
        })
    }

    fn table<'v>(&'v self, key: &str, value: &'v Value<'_>) -> Result<Table<'v>, ConfigError> {
        match value.get_ref().as_table() {
            Some(table) => Ok(Table { document: self.document, name: format!("{key}."), table }),
            None => Err(self.unwanted(key, value, &format!("a table: [{key}]"))),
        }
    }

    fn get<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.one(key, |value| read(value.get_ref()).ok_or_else(|| self.unwanted(key, value, wanted)))
    }

    fn bool(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.get(key, "true or false", |value| value.as_bool())
    }

    fn uint(&self, key: &str, least: u64) -> Result<Option<u64>, ConfigError> {
        let number = self.get(key, "a whole number, 0 or more", uint)?;
        match (number, self.table.get(key)) {
            (Some(number), Some(value)) if number < least => {
                let what = format!("{}{key} is {number}, but has to be at least {least}", self.name);
                Err(self.document.error(value.span(), what))
            }
            _ => Ok(number),
        }
    }

    fn every(&self, key: &str, default: Option<Duration>) -> Result<Option<Duration>, ConfigError> {
        let every =
            self.get(key, "a number of seconds, or a text like \"30s\", \"10m\" or \"1h\"", duration)?;
        match (every, self.table.get(key)) {
            (None, _) => Ok(default),
            (Some(every), _) if every.is_zero() => Ok(None),
            (Some(every), Some(value)) if every < EVERY_MIN => {
                let what = format!(
                    "{}{key} has to be at least {} s, or 0 for never",
                    self.name,
                    EVERY_MIN.as_secs()
                );
                Err(self.document.error(value.span(), what))
            }
            (every, _) => Ok(every),
        }
    }

    fn path(&self, key: &str, value: &Value<'_>) -> Result<PathBuf, ConfigError> {
        match value.get_ref().as_str().map(PathBuf::from) {
            Some(path) if path.is_absolute() => Ok(path),
            Some(path) => {
                let what = format!("{}{key}: {} is not an absolute path", self.name, path.display());
                Err(self.document.error(value.span(), what))
            }
            None => Err(self.unwanted(key, value, "a text: an absolute path")),
        }
    }

    fn patterns(&self, key: &str) -> Result<Vec<Pattern>, ConfigError> {
        let read = |value: &Value<'_>| match value.get_ref().as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.unwanted(key, value, "a text: a pattern")),
        };
        let patterns = self.list(key, read)?.unwrap_or_default();
        Ok(patterns.into_iter().map(|(text, line)| Pattern { text, line }).collect())
    }

    fn unwanted(&self, key: &str, value: &Value<'_>, wanted: &str) -> ConfigError {
        let found = self.document.text.get(value.span()).unwrap_or_default();
        let found = found.lines().next().unwrap_or_default();
        let (kind, name) = (value.get_ref().type_str(), &self.name);
        let what = format!("{name}{key} has to be {wanted}, and is the {kind} {found}");
        self.document.error(value.span(), what)
    }
}

fn uint(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A duration: seconds, or digits and a unit.
fn duration(value: &DeValue<'_>) -> Option<Duration> {
    if let Some(seconds) = uint(value) {
        return seconds.checked_mul(1_000).map(Duration::from_millis);
    }
    let (number, unit) = number_and_unit(value.as_str()?)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// A size: bytes, or digits and a unit; K, M, G and T are powers of 1024.
fn bytes(value: &DeValue<'_>) -> Option<u64> {
    if let Some(bytes) = uint(value) {
        return Some(bytes);
    }
    let (number, unit) = number_and_unit(value.as_str()?)?;
    let shift = match unit {
        "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Whole percent, with the sign or without it.
fn percent(value: &DeValue<'_>) -> Option<u64> {
    match value.as_str() {
        Some(text) => text.strip_suffix('%')?.trim_end().parse().ok(),
        None => uint(value),
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

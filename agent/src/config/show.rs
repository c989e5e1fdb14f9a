//! The configuration in force as text: what `asofd check-config` prints, itself a configuration file.
//!
//! Pure.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use asof_journal::retention::Ladder;
use asof_journal::retention::ladder::duration;

use super::{Config, Loaded, LogFormat};

/// Every key with its value.
pub(crate) fn show(loaded: &Loaded) -> String {
    let header = match &loaded.file {
        Some(file) => format!("# from {}, and from flags and defaults", file.display()),
        None => "# from flags and defaults; there is no configuration file".to_owned(),
    };
    format!("{header}\n{}", keys(&loaded.config))
}

/// The same without a word of where it is from.
pub(crate) fn keys(config: &Config) -> String {
    let Config {
        journal,
        policy,
        file_bytes_max,
        journal_bytes_max,
        reconcile_every,
        poll_every,
        scrub_per_day,
        retention,
        backend,
        log_format,
        settle,
        workers,
        ..
    } = config;
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{line}");
    };
    line(format!("journal = {}", path(journal)));
    line(format!("exclude = {}", patterns(&policy.excludes)));
    line(format!("file_bytes_max = {}", file_bytes_max.unwrap_or(0)));
    line(format!("journal_bytes_max = {}", journal_bytes_max.unwrap_or(0)));
    line(format!("reconcile_every = {}", every(*reconcile_every)));
    line(format!("poll_every = {}", every(*poll_every)));
    line(format!("scrub_per_day = \"{}%\"", scrub_per_day.unwrap_or(0)));
    line(format!("backend = \"{}\"", backend.as_str()));
    line(format!("log_format = {}", if *log_format == LogFormat::Json { "\"json\"" } else { "\"text\"" }));
    line(format!("workers = {workers}"));
    line("\n[settle]".to_owned());
    line(format!("closed_ms = {}", settle.closed_ms));
    line(format!("quiet_ms = {}", settle.quiet_ms));
    line(format!("max_delay_ms = {}", settle.max_delay_ms));
    line(format!("stretch_max_ms = {}", settle.stretch_max_ms));
    line(format!("children_max = {}", settle.children_max));
    line(format!("entries_max = {}", settle.entries_max));
    line("\n[retention]".to_owned());
    line(format!("keep = {}", ladder(&retention.keep)));
    line(format!("immutable = \"{}\"", duration(retention.immutable_minutes)));
    line(format!("budget_per_day = {}", retention.budget_per_day.unwrap_or(0)));
    for rule in &retention.rules {
        line("\n[[retention.rule]]".to_owned());
        line(format!("patterns = {}", patterns(&rule.patterns)));
        line(format!("keep = {}", ladder(&rule.keep)));
    }
    for root in &policy.roots {
        line("\n[[root]]".to_owned());
        line(format!("path = {}", path(Path::new(std::ffi::OsStr::from_bytes(&root.path)))));
        line(format!("exclude = {}", patterns(&root.excludes)));
        line(format!("one_file_system = {}", root.one_file_system));
        line(format!("cachedir_tag = {}", root.cachedir_tag));
        if let Some((_, keep)) = retention.roots.iter().find(|(path, _)| *path == root.path) {
            line(format!("keep = {}", ladder(keep)));
        }
    }
    text
}

fn string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn path(path: &Path) -> String {
    match path.to_str() {
        Some(text) => string(text),
        None => format!("{} # not UTF-8: only a flag can name it", string(&path.to_string_lossy())),
    }
}

fn ladder(ladder: &Ladder) -> String {
    let steps: Vec<String> = ladder.steps().iter().map(ToString::to_string).collect();
    patterns(&steps)
}

fn patterns(patterns: &[String]) -> String {
    let mut text = String::from("[");
    for pattern in patterns {
        let _ = write!(text, "\n    {},", string(pattern));
    }
    text.push_str(if patterns.is_empty() { "]" } else { "\n]" });
    text
}

fn every(every: Option<Duration>) -> String {
    match every {
        None => "0".to_owned(),
        Some(every) if every.as_millis().is_multiple_of(3_600_000) => {
            format!("\"{}h\"", every.as_secs() / 3600)
        }
        Some(every) if every.subsec_millis() == 0 => format!("\"{}s\"", every.as_secs()),
        Some(every) => format!("\"{}ms\"", every.as_millis()),
    }
}

//! What a program cost: time, memory, bytes on disk; and how such figures are written.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::must::Must;
use crate::sys::wait_with_usage;

/// What one run of a program cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Wall clock.
    pub seconds: f64,
    /// The most memory that it, or a child that it waited for, had resident at one time.
    pub rss_bytes_max: u64,
}

/// Runs a program to its end; an error says what it said where it failed. Its output goes to a file at `log`.
pub fn run(command: &mut Command, log: &Path) -> Result<Cost, String> {
    let line = format!("{command:?}");
    let open = || {
        File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|error| format!("{}: {error}", log.display()))
    };
    command.stdin(Stdio::null()).stdout(open()?).stderr(open()?);
    let start = Instant::now();
    let child = command.spawn().map_err(|error| format!("{line}: {error}"))?;
    let ended = wait_with_usage(child).map_err(|error| format!("{line}: {error}"))?;
    let seconds = start.elapsed().as_secs_f64();
    if ended.status != 0 {
        let said = fs::read_to_string(log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        return Err(format!(
            "{line}: status {}: {}",
            ended.status,
            last.into_iter().rev().collect::<Vec<_>>().join(" / ")
        ));
    }
    Ok(Cost { seconds, rss_bytes_max: ended.rss_bytes_max })
}

/// The most memory that a running process has had resident so far.
pub fn peak_memory_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The most memory that this process has had resident since it last asked.
pub fn peak_memory_since() -> u64 {
    let peak = peak_memory_of(std::process::id()).must("a peak of memory");
    fs::write("/proc/self/clear_refs", "5").must("/proc/self/clear_refs");
    peak
}

/// The same start for everybody: nothing left to write, everything that will be read is in the page cache.
pub fn level(tree: &Path) {
    rustix::fs::sync();
    let mut buffer = vec![0; 1 << 20];
    let mut queue = vec![tree.to_path_buf()];
    while let Some(path) = queue.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            queue.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if meta.is_file()
            && let Ok(mut file) = File::open(&path)
        {
            while file.read(&mut buffer).is_ok_and(|length| length > 0) {}
        }
    }
}

/// The value below which `percent` of the values lie; of an unsorted list. `None` of none.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Bytes for people.
pub fn show_bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1024.0 || unit == "GiB" {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    String::new()
}

/// Seconds for people.
pub fn show_seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

/// A table in Markdown with aligned columns; the first row is its head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0).max(3);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = (0..columns)
            .map(|column| {
                let (value, width) = (cell(row, column), width(column));
                if column == 0 { format!("{value:<width$}") } else { format!("{value:>width$}") }
            })
            .collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if number == 0 {
            let rule = |column| {
                if column == 0 {
                    "-".repeat(width(column))
                } else {
                    format!("{}:", "-".repeat(width(column) - 1))
                }
            };
            text.push_str(&format!("| {} |\n", (0..columns).map(rule).collect::<Vec<_>>().join(" | ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_measured_and_failures_tell_why() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let cost = run(Command::new("sh").args(["-c", "exec sleep 0.05"]), &log).unwrap();
        assert!(cost.seconds >= 0.05 && cost.rss_bytes_max > 0, "{cost:?}");
        let error = run(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"]), &log).unwrap_err();
        assert!(error.contains("status 3") && error.contains("the reason"), "{error}");
        assert!(run(&mut Command::new("/no/such/program"), &log).is_err());
        assert!(peak_memory_of(std::process::id()).unwrap() > 1 << 20);
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=500).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), Some(250.0));
        assert_eq!(percentile(&values, 99.0), Some(495.0));
        assert_eq!(percentile(&values, 100.0), Some(500.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(show_bytes(1023.0), "1023 B");
        assert_eq!(show_bytes(1536.0), "1.5 KiB");
        assert_eq!(show_bytes(3.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0), "3072.0 GiB");
        assert_eq!(show_seconds(0.0123), "12 ms");
        let rows = [vec!["a".to_string(), "b".into()], vec!["long".into(), "1".into()]];
        assert_eq!(table(&rows), "| a    |   b |\n| ---- | --: |\n| long |   1 |\n");
    }
}

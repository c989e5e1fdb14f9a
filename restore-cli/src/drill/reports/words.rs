//! Figures and texts of a report in words, the same in every form: pure.
//!
//! What came from outside (names, what programs printed) cannot move a cursor, turn a line around or end it.

use crate::drill::report::{Command, Counts, Name, Outcome, Report, Share, Stamp, Target};
use crate::output::{content_line, escape};

/// So many words of a command are shown: a restore may name thousands of paths.
const WORDS_MAX: usize = 16;

/// An outcome as a verdict.
pub(crate) fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "Passed",
        Outcome::Fail => "Failed",
        Outcome::Inconclusive => "Inconclusive",
    }
}

/// A length of time, with as much of it as a person wants to know.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..172_800 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    }
}

/// What was measured.
pub(crate) fn measured(target: Target) -> String {
    target.measured_ms.map_or_else(|| "not measured".to_owned(), duration)
}

/// What was measured, beside what is wanted.
pub(crate) fn target(target: Target) -> String {
    let measured = measured(target);
    match target.target_ms {
        Some(wanted) => format!("{measured} (target {})", duration(wanted)),
        None => measured,
    }
}

/// A number with its thousands apart.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A share in percent; never 100 before it is all, never 0 before it is none.
pub(crate) fn percent(share: Share) -> String {
    let Some(ratio) = share.ratio() else { return "nothing to cover".to_owned() };
    let tenths = (ratio * 1000.0).round() as u64;
    let tenths = match tenths {
        0 if share.drilled > 0 => return "under 0.1 %".to_owned(),
        1000.. if share.drilled < share.total => 999,
        tenths => tenths,
    };
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// An instant to the second, in UTC.
pub(crate) fn time(stamp: Stamp) -> String {
    stamp.0.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The same to the minute, for tables that name the zone in their heads.
pub(crate) fn minute(stamp: Stamp) -> String {
    stamp.0.to_utc().format("%Y-%m-%d %H:%M").to_string()
}

/// A path.
pub(crate) fn path(name: &Name) -> String {
    escape(&name.bytes())
}

/// A sentence from elsewhere, on one line.
pub(crate) fn tame(text: &str) -> String {
    content_line(text.as_bytes())
}

/// Lines from elsewhere.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(tame)
}

/// The instant that was asked for and what it meant.
pub(crate) fn instant(report: &Report) -> String {
    let as_of = &report.instant;
    let resolved = as_of.resolved.map(time);
    let seq = as_of.seq.map(|seq| format!("seq:{seq}"));
    let meant: Vec<String> = resolved.into_iter().chain(seq).collect();
    match meant.is_empty() {
        true => format!("{} (not found)", tame(&as_of.requested)),
        false => format!("{} ({})", tame(&as_of.requested), meant.join(", ")),
    }
}

/// What was selected.
pub(crate) fn selection(report: &Report) -> String {
    let selection = &report.selection;
    let below: Vec<String> = selection.below.iter().map(path).collect();
    let of = selection.candidates.map_or(String::new(), |of| format!(" of {}", number(of)));
    let below = if below.is_empty() { String::new() } else { format!(", below {}", below.join(", ")) };
    format!("{}: {} chosen{of}{below}", tame(&selection.what), number(selection.chosen))
}

/// The counts with their names, in the order in which they are read.
pub(crate) fn counts(counts: &Counts) -> [(&'static str, u64); 9] {
    [
        ("expected", counts.expected),
        ("restored", counts.restored),
        ("matched", counts.matched),
        ("differing", counts.differing),
        ("missing", counts.missing),
        ("extra", counts.extra),
        ("metadata differences", counts.metadata_differences),
        ("torn", counts.torn),
        ("without an oracle", counts.without_oracle),
    ]
}

/// How a program ended.
pub(crate) fn ending(command: &crate::drill::report::Command) -> String {
    match (command.timed_out, command.status, command.signal) {
        (true, _, _) => format!("ended after {}: its time was over", duration(command.ms)),
        (_, Some(status), _) => format!("status {status} after {}", duration(command.ms)),
        (_, None, Some(signal)) => format!("ended by signal {signal} after {}", duration(command.ms)),
        (_, None, None) => "did not start".to_owned(),
    }
}

/// Words of a command as a shell would take them: so many as a person reads. The report itself has all.
pub(crate) fn command_line(command: &Command) -> String {
    let argv = &command.argv;
    let words = argv.iter().take(WORDS_MAX).map(|word| crate::suggest::quoted(word.as_bytes()));
    let mut line = words.collect::<Vec<_>>().join(" ");
    let more = argv.len().saturating_sub(WORDS_MAX) as u64 + command.argv_left_out;
    if more > 0 {
        line.push_str(&format!(" ... and {} more words", number(more)));
    }
    tame(&line)
}

/// What is said of commands that are not in the report.
pub(crate) fn more_commands(report: &Report) -> Option<String> {
    match report.commands_left_out {
        0 => None,
        more => Some(format!("{} more commands were run.", number(more))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_say_what_a_person_wants_to_know() {
        let said: Vec<String> = [0, 999, 1_000, 5_260, 60_000, 725_000, 3_600_000, 12_000_000, 200_000_000]
            .map(duration)
            .to_vec();
        let wanted =
            ["0 ms", "999 ms", "1.0 s", "5.2 s", "1 min", "12 min 5 s", "1 h", "3 h 20 min", "2 d 7 h"];
        assert_eq!(said, wanted);
    }

    #[test]
    fn a_share_is_not_all_before_it_is() {
        let said = |drilled, total| percent(Share { drilled, total });
        assert_eq!(said(0, 0), "nothing to cover");
        assert_eq!(said(0, 9), "0.0 %");
        assert_eq!(said(1, 1_000_000), "under 0.1 %");
        assert_eq!(said(999_999, 1_000_000), "99.9 %");
        assert_eq!(said(1, 3), "33.3 %");
        assert_eq!(said(3, 3), "100.0 %");
    }

    #[test]
    fn a_command_with_thousands_of_words_is_not_shown_in_full() {
        let of = |words: usize, argv_left_out| Command {
            argv: (0..words).map(|word| format!("w{word}")).collect(),
            argv_left_out,
            ..crate::drill::sample::report(1).commands.remove(0)
        };
        assert!(command_line(&of(64, 3_936)).ends_with("w14 w15 ... and 3,984 more words"));
        assert_eq!(command_line(&of(3, 0)), "w0 w1 w2");
        assert_eq!(command_line(&of(16, 0)).matches(' ').count(), 15);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(number), ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn what_comes_from_elsewhere_stays_on_its_line() {
        let tamed = tame("a\nb\u{1b}[31m\u{202e}c\t\u{0}");
        assert!(!tamed.chars().any(|c| c.is_control() || c == '\u{202e}'), "{tamed:?}");
    }
}

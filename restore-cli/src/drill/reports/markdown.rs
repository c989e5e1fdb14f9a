//! A report as Markdown, for a pull request, a ticket or a wiki.
//!
//! What comes from outside is text and nothing else: it makes no link, no markup, no new row, and calls nobody by `@`.

use std::fmt::Write;

use super::words;
use crate::drill::report::{Outcome, Report};
use crate::drill::store::{Kept, Past};

/// So many past drills are listed.
const PAST_MAX: usize = 10;

/// The page. Writing to a String does not fail.
pub(super) fn render(this: &Kept, past: &Past) -> String {
    let report = &this.report;
    let mut page = String::new();
    let identity = &report.identity;
    let _ = writeln!(
        page,
        "# {}: {}\n\n**{}**\n",
        words::verdict(report.outcome),
        text(&identity.drill),
        text(&report.why)
    );
    let _ = writeln!(
        page,
        "{} on {} by {}, with asof {}. Report {} of journal {}.\n",
        words::time(report.times.started),
        text(&identity.host),
        text(&identity.user),
        text(&identity.asof_version),
        report.chain.number,
        text(&identity.journal_id)
    );
    for warning in &report.warnings {
        let _ = writeln!(page, "> Warning: {}\n", text(warning));
    }
    assertions(&mut page, report);
    figures(&mut page, report);
    gaps(&mut page, report);
    evidence(&mut page, report);
    commands(&mut page, report);
    clean_up(&mut page, report);
    earlier(&mut page, this, past);
    let _ = writeln!(page, "\n---\n\nReport {}, BLAKE3 {}", text(&identity.report_id), this.hash);
    if let Some(previous) = &report.chain.previous_hash {
        let _ = writeln!(page, "after a report with BLAKE3 {}", text(previous));
    }
    page
}

fn assertions(page: &mut String, report: &Report) {
    if report.assertions.is_empty() {
        return;
    }
    page.push_str("## What was asserted\n\n| | assertion | found |\n|---|---|---|\n");
    for assertion in &report.assertions {
        let mut found = text(&assertion.message);
        for detail in &assertion.details {
            let _ = write!(found, "<br>{}", text(detail));
        }
        if assertion.details_left_out > 0 {
            let _ = write!(found, "<br>and {} more", words::number(assertion.details_left_out));
        }
        let outcome = match assertion.outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "**FAIL**",
            Outcome::Inconclusive => "*inconclusive*",
        };
        let _ = writeln!(page, "| {outcome} | {} | {found} |", text(&assertion.name));
    }
    page.push('\n');
}

fn figures(page: &mut String, report: &Report) {
    page.push_str("## Figures\n\n| | |\n|---|---|\n");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(page, "| {name} | {value} |");
    };
    row("RTO, request to verified", &words::target(report.rto));
    row("RPO, newest change to failure", &words::target(report.rpo));
    row("scenario", &text(&report.scenario));
    row("instant", &text(&words::instant(report)));
    row("selection", &text(&words::selection(report)));
    row("seed", &report.seed.to_string());
    let rate = report.bytes_per_second.map(|rate| format!(", {} a second", words::size(rate)));
    row("restored", &format!("{}{}", words::size(report.bytes), rate.unwrap_or_default()));
    let counts =
        words::counts(&report.counts).map(|(name, count)| format!("{name} {}", words::number(count)));
    row("paths", &counts.join(", "));
    row("ever drilled, of the protected paths", &share(report.coverage.paths));
    row("ever drilled, of the days of history", &share(report.coverage.history_days));
    let durations = &report.durations;
    let times = [
        ("requested", durations.requested_ms),
        ("first byte", durations.first_byte_ms),
        ("restored", durations.restored_ms),
        ("verified", durations.verified_ms),
        ("ended", Some(durations.total_ms)),
    ];
    let times = times.map(|(name, ms)| format!("{name} {}", ms.map_or("never".into(), words::duration)));
    row("after the beginning", &times.join(", "));
    let memory = report.cost.peak_memory_bytes.map(words::size);
    row("memory at most", memory.as_deref().unwrap_or("not measured"));
    page.push('\n');
}

fn share(share: crate::drill::report::Share) -> String {
    format!("{} ({} of {})", words::percent(share), words::number(share.drilled), words::number(share.total))
}

fn gaps(page: &mut String, report: &Report) {
    if report.gaps.is_empty() {
        return;
    }
    page.push_str("## Gaps\n\n| from | to | below | why |\n|---|---|---|---|\n");
    for gap in &report.gaps {
        let to = gap.to.map_or_else(|| "still open".to_owned(), words::time);
        let below = text(&words::path(&gap.below));
        let _ = writeln!(page, "| {} | {to} | {below} | {} |", words::time(gap.from), text(&gap.why));
    }
    page.push('\n');
}

fn evidence(page: &mut String, report: &Report) {
    if report.evidence.is_empty() {
        return;
    }
    page.push_str("## Evidence\n\n| what | where | bytes | BLAKE3 |\n|---|---|---|---|\n");
    for evidence in &report.evidence {
        let path = text(&words::path(&evidence.path));
        let bytes = words::number(evidence.bytes);
        let (what, hash) = (text(&evidence.what), text(&evidence.blake3));
        let _ = writeln!(page, "| {what} | {path} | {bytes} | {hash} |");
    }
    page.push('\n');
}

fn commands(page: &mut String, report: &Report) {
    if report.commands.is_empty() {
        return;
    }
    page.push_str("## Commands\n\n");
    for command in &report.commands {
        let mut block = format!("$ {}\n", words::command_line(command));
        for line in words::lines(&command.output) {
            block.push_str(&line);
            block.push('\n');
        }
        let fence = "`".repeat(longest_run(&block, '`').max(2) + 1);
        let _ = writeln!(
            page,
            "{}: {}\n\n{fence}text\n{block}{fence}\n",
            text(&command.what),
            words::ending(command)
        );
    }
    if let Some(more) = words::more_commands(report) {
        let _ = writeln!(page, "{more}\n");
    }
}

fn clean_up(page: &mut String, report: &Report) {
    let left: Vec<_> = report.clean_up.iter().filter(|piece| !piece.removed).collect();
    if left.is_empty() {
        return;
    }
    page.push_str("## Left behind\n\n");
    for piece in left {
        let why = piece.why.as_deref().map_or(String::new(), |why| format!(": {}", text(why)));
        let _ = writeln!(page, "- {} {}{why}", text(&piece.what), text(&words::path(&piece.path)));
    }
    page.push('\n');
}

fn earlier(page: &mut String, this: &Kept, past: &Past) {
    let before: Vec<&Kept> = past
        .of(&this.report.identity.drill)
        .filter(|kept| kept.report.chain.number != this.report.chain.number)
        .rev()
        .take(PAST_MAX)
        .collect();
    if !before.is_empty() {
        page.push_str(
            "## Before\n\n| | when | RTO | RPO | paths drilled | why |\n|---|---|---|---|---|---|\n",
        );
        for Kept { report, .. } in before {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                report.outcome.as_str(),
                words::time(report.times.started),
                words::measured(report.rto),
                words::measured(report.rpo),
                words::percent(report.coverage.paths),
                text(&report.why)
            );
        }
        page.push('\n');
    }
    for at in &past.breaks {
        let _ = writeln!(page, "> The chain of reports is broken: {}\n", text(&at.what));
    }
}

/// Text that Markdown takes for text.
fn text(text: &str) -> String {
    let tame = words::tame(text);
    let mut escaped = String::with_capacity(tame.len() + 8);
    for c in tame.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("&#64;"),
            // `http://` and `www.` would become links where bare addresses do.
            ':' if escaped.ends_with("http") || escaped.ends_with("https") => escaped.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '{' | '}' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn longest_run(text: &str, of: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == of { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(text("a|b `c` <i>"), "a\\|b \\`c\\` &lt;i&gt;");
        assert_eq!(text("[x](http://y) @z"), "\\[x\\](http&#58;//y) &#64;z");
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(longest_run("a``b````c`", '`'), 4);
        assert_eq!(longest_run("", '`'), 0);
    }
}

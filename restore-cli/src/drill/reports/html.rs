//! A report as one page that needs nothing else: no network, no script; for the screen by day and night, and for paper.
//!
//! Owns the page and its order; `charts` draws the plots, `style.css` has the looks. Whatever is put into the page goes
//! through the templates' escaping.

mod charts;
mod figures;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::words;
use crate::drill::report::{Outcome, Report};
use crate::drill::store::{Kept, Past};

const STYLE: &str = include_str!("html/style.css");
/// Should anything slip into the page all the same, nothing runs and nothing is fetched.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// So many of the latest drills are in the table and in the plots.
const PAST_MAX: usize = 400;

/// The page.
pub(super) fn render(this: &Kept, past: &Past) -> String {
    let report = &this.report;
    let name = words::tame(&report.identity.drill);
    let verdict = words::verdict(report.outcome);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                title { (verdict) ": " (name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(report, &name)) }
                main {
                    (verdict_banner(report))
                    @for warning in &report.warnings { p.warning { strong { "Warning. " } (words::tame(warning)) } }
                    (figures::key(report))
                    (assertions(report))
                    (charts::over_time(&latest(this, past)))
                    (figures::course(report))
                    (figures::details(report))
                    (gaps(report))
                    (evidence(report))
                    (commands(report))
                    (left_behind(report))
                    (all_drills(this, past))
                }
                footer { (foot(this)) }
            }
        }
    };
    page.into_string()
}

fn head(report: &Report, name: &str) -> Markup {
    let identity = &report.identity;
    html! {
        p.kicker { "Recovery drill" }
        h1 { (name) }
        p.byline {
            time datetime=(report.times.started.0.to_rfc3339()) { (words::time(report.times.started)) }
            " on " strong { (words::tame(&identity.host)) }
            " by " (words::tame(&identity.user))
            ", report " (words::number(report.chain.number)) " of its journal"
        }
    }
}

fn verdict_banner(report: &Report) -> Markup {
    html! {
        section.verdict.(class(report.outcome)) aria-label="Verdict" {
            (sign(report.outcome, 44))
            div {
                p.word { (words::verdict(report.outcome)) }
                p.why { (sentence(&words::tame(&report.why))) }
            }
        }
    }
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}

/// The name that the style has for an outcome.
fn class(outcome: Outcome) -> &'static str {
    outcome.as_str()
}

/// A sign that is told by its form, too.
fn sign(outcome: Outcome, size: u32) -> Markup {
    html! {
        svg.sign.(class(outcome)) viewBox="0 0 24 24" width=(size) height=(size) aria-hidden="true" {
            @match outcome {
                Outcome::Pass => {
                    circle cx="12" cy="12" r="11" class="fill" {}
                    path d="M6.5 12.5l3.7 3.7 7.3-8" class="stroke" {}
                }
                Outcome::Fail => {
                    path d="M7.4 1h9.2L23 7.4v9.2L16.6 23H7.4L1 16.6V7.4z" class="fill" {}
                    path d="M8 8l8 8M16 8l-8 8" class="stroke" {}
                }
                Outcome::Inconclusive => {
                    path d="M12 .8L23.2 12 12 23.2.8 12z" class="fill" {}
                    path d="M9.4 9.6a2.6 2.6 0 1 1 3.9 2.3c-.9.5-1.3 1-1.3 1.9M12 16.6v.3" class="stroke" {}
                }
            }
        }
    }
}

/// An outcome with its sign and its word.
fn badge(outcome: Outcome) -> Markup {
    html! { span.badge.(class(outcome)) { (sign(outcome, 16)) (outcome.as_str()) } }
}

fn assertions(report: &Report) -> Markup {
    html! {
        section {
            h2 { "What was asserted" }
            @if report.assertions.is_empty() { p.none { "Nothing was asserted." } }
            @else {
                ul.assertions {
                    @for assertion in &report.assertions {
                        li {
                            (badge(assertion.outcome))
                            div {
                                p.name { (words::tame(&assertion.name)) }
                                p { (sentence(&words::tame(&assertion.message))) }
                                @if !assertion.details.is_empty() {
                                    ul.details {
                                        @for detail in &assertion.details { li { (words::tame(detail)) } }
                                        @if assertion.details_left_out > 0 {
                                            li.more { "and " (words::number(assertion.details_left_out)) " more" }
                                        }
                                    }
                                }
                            }
                            @if assertion.ms > 0 { span.took { (words::duration(assertion.ms)) } }
                        }
                    }
                }
            }
        }
    }
}

fn gaps(report: &Report) -> Markup {
    html! {
        @if !report.gaps.is_empty() {
            section {
                h2 { "Gaps" }
                p.lead { "In these times the journal did not see everything." }
                div.wide { table {
                    thead { tr { th scope="col" { "from" } th scope="col" { "to" } th scope="col" { "below" } th scope="col" { "why" } } }
                    tbody { @for gap in &report.gaps { tr {
                        td { (words::time(gap.from)) }
                        td { @match gap.to { Some(to) => (words::time(to)), None => "still open" } }
                        td.path { (words::path(&gap.below)) }
                        td { (words::tame(&gap.why)) }
                    } } }
                } }
            }
        }
    }
}

fn evidence(report: &Report) -> Markup {
    html! {
        @if !report.evidence.is_empty() {
            section {
                h2 { "Evidence" }
                p.lead { "What the verdict rests on, and what it was when it was read." }
                div.wide { table {
                    thead { tr { th scope="col" { "what" } th scope="col" { "where" } th.number scope="col" { "bytes" } th scope="col" { "BLAKE3" } } }
                    tbody { @for evidence in &report.evidence { tr {
                        td { (words::tame(&evidence.what)) }
                        td.path { (words::path(&evidence.path)) }
                        td.number { (words::number(evidence.bytes)) }
                        td.hash { (words::tame(&evidence.blake3)) }
                    } } }
                } }
            }
        }
    }
}

fn commands(report: &Report) -> Markup {
    html! {
        @if !report.commands.is_empty() {
            section {
                h2 { "Commands" }
                @for command in &report.commands {
                    figure.command {
                        figcaption { (words::tame(&command.what)) ": " (words::ending(command)) }
                        pre {
                            code { span.prompt { "$ " } (words::command_line(command)) "\n" @for line in words::lines(&command.output) { (line) "\n" } }
                        }
                    }
                }
                @if let Some(more) = words::more_commands(report) { p { (more) } }
            }
        }
    }
}

/// Whatever was not cleaned up, and who was not told.
fn left_behind(report: &Report) -> Markup {
    let left = || report.clean_up.iter().filter(|piece| !piece.removed);
    html! {
        @if !report.clean_up.is_empty() || !report.hooks.is_empty() {
            section {
                h2 { "Afterwards" }
                ul.plain {
                    @for piece in left() {
                        li {
                            strong { "Left behind: " } (words::tame(&piece.what)) " " span.path { (words::path(&piece.path)) }
                            @if let Some(why) = &piece.why { " (" (words::tame(why)) ")" }
                        }
                    }
                    @for piece in report.clean_up.iter().filter(|piece| piece.removed) {
                        li { "Removed: " (words::tame(&piece.what)) " " span.path { (words::path(&piece.path)) } }
                    }
                    @for hook in &report.hooks {
                        li {
                            @if hook.done { "Told of the " } @else { strong { "Could not be told of the " } }
                            (words::tame(&hook.event)) ": " span.path { (words::tame(&hook.what)) }
                            " (" (words::tame(&hook.message)) ")"
                        }
                    }
                }
            }
        }
    }
}

/// The drills of the same name, oldest first, with this one.
fn latest<'p>(this: &'p Kept, past: &'p Past) -> Vec<&'p Kept> {
    let others = past.of(&this.report.identity.drill);
    let others = others.filter(|kept| kept.report.chain.number != this.report.chain.number);
    let mut latest: Vec<&Kept> = others.rev().take(PAST_MAX - 1).collect();
    latest.reverse();
    latest.push(this);
    latest
}

fn all_drills(this: &Kept, past: &Past) -> Markup {
    let others = past.reports.iter().filter(|kept| kept.report.chain.number != this.report.chain.number);
    let all: Vec<&Kept> = std::iter::once(this).chain(others.rev()).collect();
    let shown = all.len().min(PAST_MAX);
    html! {
        section.all {
            h2 { "All drills of this journal" }
            @for at in &past.breaks {
                p.warning { strong { "The chain of reports is broken. " } (sentence(&words::tame(&at.what))) }
            }
            div.wide { table {
                thead { tr {
                    th.number scope="col" { "no." } th scope="col" { "when, UTC" } th scope="col" { "drill" } th scope="col" { "scenario" }
                    th scope="col" { "outcome" } th.number scope="col" { "RTO" } th.number scope="col" { "RPO" }
                    th.number scope="col" { "paths drilled" } th scope="col" { "why" }
                } }
                tbody { @for Kept { report, .. } in &all[..shown] { tr {
                    td.number { (words::number(report.chain.number)) }
                    td.when { (words::minute(report.times.started)) }
                    td.drill { (words::tame(&report.identity.drill)) }
                    td { (words::tame(&report.scenario)) }
                    td { (badge(report.outcome)) }
                    td.number { (words::measured(report.rto)) }
                    td.number { (words::measured(report.rpo)) }
                    td.number { (words::percent(report.coverage.paths)) }
                    td.why { (words::tame(&report.why)) }
                } } }
            } }
            @if shown < all.len() {
                p.note { "The " (words::number((all.len() - shown) as u64)) " before these are in " code { "asof drill history" } "." }
            }
        }
    }
}

fn foot(this: &Kept) -> Markup {
    let Kept { report, hash, .. } = this;
    html! {
        dl {
            dt { "Report" } dd.hash { (report.identity.report_id) }
            dt { "BLAKE3 of it" } dd.hash { (hash) }
            @if let Some(previous) = &report.chain.previous_hash { dt { "of the one before" } dd.hash { (words::tame(previous)) } }
            dt { "Journal" } dd { span.hash { (words::tame(&report.identity.journal_id)) } ", " span.path { (words::path(&report.identity.journal)) } }
        }
        p { "asof " (words::tame(&report.identity.asof_version)) ". All times are UTC. This page needs no network." }
    }
}

//! The figures of one drill: the few that count, its course in time, and all the others.

use maud::{Markup, html};

use super::super::words;
use crate::drill::report::{Durations, Report, Share, Target};

/// The few that count.
pub(super) fn key(report: &Report) -> Markup {
    let rate = report.bytes_per_second.map(|rate| format!("{} a second", words::size(rate)));
    let counts = &report.counts;
    html! {
        section.key aria-label="Key figures" {
            (target("RTO", "request to verified", report.rto))
            (target("RPO", "newest change to failure", report.rpo))
            div.figure {
                p.label { "Matched" }
                p.value { (words::number(counts.matched)) span.of { " of " (words::number(counts.matched + counts.differing)) } }
                p.note { "files with the bytes that the oracle knows" }
            }
            div.figure {
                p.label { "Restored" }
                p.value { (words::size(report.bytes)) }
                p.note { (rate.as_deref().unwrap_or("no rate")) }
            }
            (share("Paths ever drilled", report.coverage.paths, "of those protected"))
            (share("History ever drilled", report.coverage.history_days, "days"))
        }
    }
}

fn target(label: &str, note: &str, target: Target) -> Markup {
    let judged = match (target.target_ms, target.met) {
        (Some(wanted), Some(true)) => format!("within {}", words::duration(wanted)),
        (Some(wanted), Some(false)) => format!("over {}", words::duration(wanted)),
        (Some(wanted), None) => format!("target {}", words::duration(wanted)),
        (None, _) => "no target".to_owned(),
    };
    html! {
        div.figure.missed[target.met == Some(false)] {
            p.label { (label) }
            p.value { (words::measured(target)) }
            p.note { strong { (judged) } ", " (note) }
        }
    }
}

fn share(label: &str, share: Share, what: &str) -> Markup {
    let width = share.ratio().unwrap_or(0.0) * 100.0;
    html! {
        div.figure {
            p.label { (label) }
            p.value { (words::percent(share)) }
            svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" {
                rect.track width="100" height="4" {}
                rect.part width=(format!("{width:.2}")) height="4" {}
            }
            p.note { (words::number(share.drilled)) " of " (words::number(share.total)) " " (what) }
        }
    }
}

/// A part of the course of a drill, in milliseconds after its beginning.
#[derive(Debug, PartialEq, Eq)]
struct Phase {
    name: &'static str,
    class: &'static str,
    from: u64,
    until: u64,
}

/// The parts of the course: each ends where the next begins, the last at the end.
fn phases(durations: &Durations) -> Vec<Phase> {
    let marks = [
        ("preparing", "p0", durations.requested_ms),
        ("until the first byte", "p1", durations.first_byte_ms),
        ("restoring", "p2", durations.restored_ms),
        ("verifying", "p3", durations.verified_ms),
        ("the rest", "p4", Some(durations.total_ms)),
    ];
    let mut from = 0;
    let mut phases = Vec::new();
    for (name, class, mark) in marks {
        // What was never reached is part of what came after it.
        let Some(until) = mark.map(|mark| mark.max(from)) else { continue };
        phases.push(Phase { name, class, from, until });
        from = until;
    }
    phases
}

/// From the beginning to the end, as one line in proportion.
pub(super) fn course(report: &Report) -> Markup {
    let durations = &report.durations;
    let total = durations.total_ms.max(1) as f64;
    let parts = phases(durations);
    html! {
        section {
            h2 { "How it went" }
            svg.course viewBox="0 0 1000 28" preserveAspectRatio="none" role="img"
                aria-label=(format!("{} from the beginning to the end", words::duration(durations.total_ms))) {
                @for Phase { class, from, until, .. } in &parts {
                    @let x = *from as f64 / total * 1000.0;
                    @let width = (until - from) as f64 / total * 1000.0;
                    rect.(class) x=(format!("{x:.1}")) width=(format!("{width:.1}")) y="0" height="28" {}
                }
            }
            ul.legend {
                @for Phase { name, class, from, until } in &parts {
                    li {
                        svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" { rect.(class) width="12" height="12" {} }
                        (name) " " strong { (words::duration(until - from)) }
                    }
                }
                li.total { "in all " strong { (words::duration(durations.total_ms)) } }
            }
        }
    }
}

/// All the others.
pub(super) fn details(report: &Report) -> Markup {
    let cost = &report.cost;
    let known = |bytes: Option<u64>| bytes.map_or_else(|| "not measured".to_owned(), words::size);
    html! {
        section.columns {
            div {
                h2 { "What was drilled" }
                dl.pairs {
                    dt { "Scenario" } dd { (words::tame(&report.scenario)) }
                    dt { "Selection" } dd { (words::selection(report)) }
                    dt { "Instant" } dd { (words::instant(report)) }
                    @if let Some(failure) = report.times.failure { dt { "Failure" } dd { (words::time(failure)) } }
                    @if let Some(newest) = report.times.newest_recovered { dt { "Newest change back" } dd { (words::time(newest)) } }
                    dt { "Seed" } dd { (report.seed) }
                    @if let Some(file) = &report.identity.file { dt { "File" } dd.path { (words::path(file)) } }
                }
            }
            div {
                h2 { "What was found" }
                dl.pairs.numbers {
                    @for (name, count) in words::counts(&report.counts) {
                        dt { (name) } dd { (words::number(count)) }
                    }
                }
            }
            div {
                h2 { "What it took" }
                dl.pairs.numbers {
                    dt { "memory at most" } dd { (known(cost.peak_memory_bytes)) }
                    dt { "processor" } dd { (cost.cpu_ms.map_or_else(|| "not measured".to_owned(), words::duration)) }
                    dt { "scratch at most" } dd { (known(cost.scratch_bytes)) }
                    @if let Some(limit) = cost.scratch_limit_bytes { dt { "scratch limit" } dd { (words::size(limit)) } }
                    dt { "restoring" } dd { (words::duration(report.durations.restoring_ms)) }
                    dt { "verifying" } dd { (words::duration(report.durations.verifying_ms)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_of_the_course_ends_where_the_next_begins() {
        let mut durations = Durations {
            requested_ms: Some(100),
            first_byte_ms: Some(150),
            restored_ms: Some(400),
            verified_ms: Some(900),
            total_ms: 1_000,
            ..Durations::default()
        };
        let said = |durations: &Durations| -> Vec<(&str, u64)> {
            phases(durations).iter().map(|phase| (phase.name, phase.until - phase.from)).collect()
        };
        let all = [
            ("preparing", 100),
            ("until the first byte", 50),
            ("restoring", 250),
            ("verifying", 500),
            ("the rest", 100),
        ];
        assert_eq!(said(&durations), all);
        (durations.first_byte_ms, durations.verified_ms) = (None, None);
        assert_eq!(said(&durations), [("preparing", 100), ("restoring", 300), ("the rest", 600)]);
        assert_eq!(said(&Durations { total_ms: 7, ..Durations::default() }), [("the rest", 7)]);
    }
}

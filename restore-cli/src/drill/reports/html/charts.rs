//! RTO, RPO and coverage over past drills, as plots: pure.
//!
//! Axes begin at zero and have units; time runs in proportion. What was not measured is a mark of its own on the axis, and
//! no line is drawn across it. An outcome is told by the form of its mark as well as by its colour.

use std::fmt::Write;

use maud::{Markup, html};

use super::super::words;
use super::class;
use crate::drill::report::{Outcome, Report, Share, Stamp, Target};
use crate::drill::store::Kept;

/// The drawing, in its own units; it is scaled to the page.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 210.0;
/// The plot within it: room for labels on the left, for the names of lines on the right, for dates below.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 176.0;
/// Lines of the grid at most.
const STEPS_MAX: u64 = 5;
/// A target so many times over everything measured would press the line flat: then it is said, not drawn.
const TARGET_FAR: u64 = 4;
/// With more marks than this they are small.
const MARKS_LARGE_MAX: usize = 60;
/// Names of lines stand at least so far apart.
const NAME_APART: f64 = 15.0;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// What may be between two lines of the grid, in milliseconds.
const STEPS: &[u64] = &[
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    30 * DAY,
    100 * DAY,
    365 * DAY,
    1_000 * DAY,
    3_650 * DAY,
];

/// The three plots of one drill, oldest first.
pub(super) fn over_time(drills: &[&Kept]) -> Markup {
    let reports: Vec<&Report> = drills.iter().map(|kept| &kept.report).collect();
    html! {
        section.charts {
            h2 { "Over time" }
            @if reports.len() < 2 { p.lead { "The first drill of this name: the lines begin here." } }
            @else { p.lead { "The last " (words::number(reports.len() as u64)) " drills of this name." } }
            (durations("rto", "RTO", "from the request until everything was verified", &reports, |report| report.rto))
            (durations("rpo", "RPO", "age of the newest recovered change at the failure", &reports, |report| report.rpo))
            (coverage(&reports))
            ul.legend {
                li { "How the drill ended:" }
                @for outcome in [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive] {
                    li { (key(outcome)) (outcome.as_str()) }
                }
                li { "on the axis: not measured" }
            }
        }
    }
}

/// Durations with their targets.
fn durations(id: &str, name: &str, what: &str, reports: &[&Report], of: fn(&Report) -> Target) -> Markup {
    let targets: Vec<Target> = reports.iter().map(|report| of(report)).collect();
    let highest = targets.iter().filter_map(|target| target.measured_ms).max();
    let wanted = targets.iter().filter_map(|target| target.target_ms).max();
    let is_far = |wanted: u64| wanted > highest.unwrap_or(wanted).max(1).saturating_mul(TARGET_FAR);
    let drawn = wanted.filter(|wanted| !is_far(*wanted));
    let (step, top) = scale(highest.unwrap_or(0).max(drawn.unwrap_or(0)));
    let y = |ms: u64| BOTTOM - (ms as f64 / top as f64) * (BOTTOM - TOP);
    let x = across(reports);
    let points: Vec<(f64, Option<f64>)> =
        reports.iter().zip(&targets).map(|(report, target)| (x(report), target.measured_ms.map(y))).collect();
    let summary = summary(name, &targets);
    let target_line =
        drawn.map(|_| steps(reports, &targets, &x, |target| target.target_ms.filter(|ms| *ms <= top).map(y)));
    let last_target = targets.last().and_then(|target| target.target_ms);
    html! {
        figure.chart {
            figcaption { strong { (name) } " " (what) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby=(format!("{id}-title")) {
                title id=(format!("{id}-title")) { (summary) }
                @for at in (0..=top / step).map(|at| at * step) { (grid(y(at), &axis(at))) }
                (dates(reports, &x))
                @if let Some(line) = target_line { path.target d=(line) {} }
                path.line.thin[reports.len() > MARKS_LARGE_MAX] d=(line(&points)) {}
                @for (report, (x, y)) in reports.iter().zip(&points) {
                    (mark(report, *x, *y, reports.len(), &words::measured(of(report))))
                }
                @if let (Some(wanted), Some(_)) = (last_target, drawn) {
                    text.name.target-name x=(RIGHT + 12.0) y=(format!("{:.1}", y(wanted.min(top)) + 4.0)) { "target " (axis(wanted)) }
                }
            }
            @if let (Some(wanted), None) = (last_target, drawn) {
                p.note { "The target, " (words::duration(wanted)) ", is far above what is drawn." }
            }
        }
    }
}

/// What a plot shows, for whoever cannot see it.
fn summary(name: &str, targets: &[Target]) -> String {
    let measured: Vec<u64> = targets.iter().filter_map(|target| target.measured_ms).collect();
    let missed = targets.iter().filter(|target| target.met == Some(false)).count();
    match (measured.iter().min(), measured.iter().max(), measured.last()) {
        (Some(least), Some(most), Some(last)) => format!(
            "{name} of {} drills: {} to {}, the last one {}; {missed} over the target. The table of all drills has the figures.",
            measured.len(),
            words::duration(*least),
            words::duration(*most),
            words::duration(*last)
        ),
        _ => format!("{name}: never measured"),
    }
}

/// How much has ever been drilled.
fn coverage(reports: &[&Report]) -> Markup {
    let x = across(reports);
    let y = |ratio: f64| BOTTOM - ratio * (BOTTOM - TOP);
    let of = |share: fn(&Report) -> Share| -> Vec<(f64, Option<f64>)> {
        reports.iter().map(|report| (x(report), share(report).ratio().map(y))).collect()
    };
    let paths = of(|report| report.coverage.paths);
    let history = of(|report| report.coverage.history_days);
    let last = reports.last().map(|report| report.coverage).unwrap_or_default();
    let ends = |points: &[(f64, Option<f64>)]| points.last().and_then(|(_, y)| *y);
    let (mut paths_at, mut history_at) = (ends(&paths), ends(&history));
    if let (Some(one), Some(other)) = (paths_at, history_at) {
        let (one, other) = apart(one, other);
        (paths_at, history_at) = (Some(one), Some(other));
    }
    let summary = format!(
        "Coverage: {} of the protected paths and {} of the days of history were ever drilled",
        words::percent(last.paths),
        words::percent(last.history_days)
    );
    html! {
        figure.chart {
            figcaption { strong { "Coverage" } " of the protected paths and of the days of history, ever drilled" }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby="coverage-title" {
                title id="coverage-title" { (summary) }
                @for percent in [0_u32, 25, 50, 75, 100] { (grid(y(f64::from(percent) / 100.0), &format!("{percent} %"))) }
                (dates(reports, &x))
                path.line.second d=(line(&history)) {}
                path.line d=(line(&paths)) {}
                @for (report, (x, y)) in reports.iter().zip(&history) {
                    @if let Some(y) = y {
                        rect.point.second x=(format!("{:.1}", x - 2.5)) y=(format!("{:.1}", y - 2.5)) width="5" height="5" {
                            title { (words::time(report.times.started)) ": history " (words::percent(report.coverage.history_days)) }
                        }
                    }
                }
                @for (report, (x, y)) in reports.iter().zip(&paths) {
                    @if let Some(y) = y {
                        circle.point cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3" {
                            title { (words::time(report.times.started)) ": paths " (words::percent(report.coverage.paths)) }
                        }
                    }
                }
                @if let Some(y) = paths_at { text.name x=(RIGHT + 12.0) y=(format!("{:.1}", y + 4.0)) { "paths " (words::percent(last.paths)) } }
                @if let Some(y) = history_at {
                    text.name.second x=(RIGHT + 12.0) y=(format!("{:.1}", y + 4.0)) { "history " (words::percent(last.history_days)) }
                }
            }
        }
    }
}

/// Two heights, moved apart so that the names at them do not lie on one another, and kept within the plot.
fn apart(one: f64, other: f64) -> (f64, f64) {
    let lacking = NAME_APART - (one - other).abs();
    if lacking <= 0.0 {
        return (one, other);
    }
    let half = lacking / 2.0;
    let (one, other) = if one <= other { (one - half, other + half) } else { (one + half, other - half) };
    let below = (one.max(other) - BOTTOM).max(0.0);
    (one - below, other - below)
}

/// The step between the lines of a grid, and the top of its axis: a whole number of steps over everything.
fn scale(highest: u64) -> (u64, u64) {
    let highest = highest.max(1);
    let fits = |step: &&u64| highest.div_ceil(**step) <= STEPS_MAX;
    let step = STEPS.iter().find(fits).copied().unwrap_or_else(|| highest.div_ceil(STEPS_MAX));
    (step, highest.div_ceil(step) * step)
}

/// The name of a line of the grid.
fn axis(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % DAY == 0 => format!("{} d", ms / DAY),
        ms if ms % HOUR == 0 => format!("{} h", ms / HOUR),
        ms if ms % MINUTE == 0 => format!("{} min", ms / MINUTE),
        ms if ms % SECOND == 0 => format!("{} s", ms / SECOND),
        ms if ms < SECOND => format!("{ms} ms"),
        ms => words::duration(ms),
    }
}

/// Where a drill lies between left and right. All at one time lie in the middle.
fn across(reports: &[&Report]) -> impl Fn(&Report) -> f64 + use<> {
    let times = || reports.iter().map(|report| report.times.started.0.0);
    let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
    move |report| {
        let span = (last as f64) - (first as f64);
        if span <= 0.0 {
            return f64::midpoint(LEFT, RIGHT);
        }
        // A little room at both ends, so that no mark lies on the axis.
        let share = (report.times.started.0.0 as f64 - first as f64) / span;
        LEFT + 10.0 + share * (RIGHT - LEFT - 20.0)
    }
}

fn grid(y: f64, label: &str) -> Markup {
    html! {
        line.grid x1=(LEFT) x2=(RIGHT) y1=(format!("{y:.1}")) y2=(format!("{y:.1}")) {}
        text.tick x=(LEFT - 8.0) y=(format!("{:.1}", y + 4.0)) text-anchor="end" { (label) }
    }
}

/// The dates below: first and last drill, and what is between them, as far as there is room.
fn dates(reports: &[&Report], x: &impl Fn(&Report) -> f64) -> Markup {
    const APART: f64 = 104.0;
    let span = match (reports.first(), reports.last()) {
        (Some(first), Some(last)) => last.times.started.0.0.saturating_sub(first.times.started.0.0),
        _ => 0,
    };
    // Where all is of one day, the hour tells more than the date.
    let form = match span / 1_000_000 {
        1..7_200_000 => "%H:%M:%S",
        7_200_000..172_800_000 => "%m-%d %H:%M",
        _ => "%Y-%m-%d",
    };
    let label = |report: &Report| report.times.started.0.to_utc().format(form).to_string();
    let all: Vec<f64> = reports.iter().map(|report| x(report)).collect();
    let (first, last) = (all.first().copied().unwrap_or(LEFT), all.last().copied().unwrap_or(LEFT));
    // Where they would lie evenly, each is given to the drill that is nearest.
    let parts = ((last - first) / APART).floor().max(1.0);
    let mut shown: Vec<(f64, String)> = Vec::new();
    for part in 0..=parts as u32 {
        let wanted = first + (last - first) * f64::from(part) / parts;
        let nearest = reports
            .iter()
            .zip(&all)
            .min_by(|(_, one), (_, other)| (*one - wanted).abs().total_cmp(&(*other - wanted).abs()));
        let Some((report, here)) = nearest else { continue };
        if shown.last().is_none_or(|(before, _)| here - before >= APART * 0.75) {
            shown.push((*here, label(report)));
        }
    }
    html! {
        @for (x, label) in &shown {
            line.tick-mark x1=(format!("{x:.1}")) x2=(format!("{x:.1}")) y1=(BOTTOM) y2=(BOTTOM + 5.0) {}
            text.tick x=(format!("{x:.1}")) y=(BOTTOM + 20.0) text-anchor="middle" { (label) }
        }
    }
}

/// From point to point; a point that is not there ends the line.
fn line(points: &[(f64, Option<f64>)]) -> String {
    let mut path = String::new();
    let mut goes_on = false;
    for (x, y) in points {
        if let Some(y) = y {
            // Writing to a String does not fail.
            let _ = write!(path, "{}{x:.1} {y:.1}", if goes_on { "L" } else { "M" });
        }
        goes_on = y.is_some();
    }
    path
}

/// A target holds from its drill until the next one; the first from the left, the last to the right.
fn steps(
    reports: &[&Report],
    targets: &[Target],
    x: &impl Fn(&Report) -> f64,
    y: impl Fn(&Target) -> Option<f64>,
) -> String {
    let mut path = String::new();
    let mut before = None;
    for (at, target) in targets.iter().enumerate() {
        let height = y(target);
        let to = reports.get(at + 1).map_or(RIGHT, |next| x(next));
        // One line as long as nothing changes, so that its dashes go on.
        match height {
            Some(height) if before == Some(height) => {
                let _ = write!(path, "H{to:.1}");
            }
            Some(height) => {
                let from = if at == 0 { LEFT } else { x(reports[at]) };
                let _ = write!(path, "M{from:.1} {height:.1}H{to:.1}");
            }
            None => {}
        }
        before = height;
    }
    path
}

/// The mark of a drill, with what it stands for.
fn mark(report: &Report, x: f64, y: Option<f64>, among: usize, value: &str) -> Markup {
    let r = if among > MARKS_LARGE_MAX { 2.1 } else { 4.6 };
    let told = title(report.times.started, report.outcome, value);
    html! {
        g.mark.(class(report.outcome)) { title { (told) } (shape(report.outcome, x, y.unwrap_or(BOTTOM), r)) }
    }
}

/// A mark as it is named below the plots.
fn key(outcome: Outcome) -> Markup {
    html! {
        svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true" { g.mark.(class(outcome)) { (shape(outcome, 7.0, 7.0, 4.6)) } }
    }
}

/// The form of a mark.
fn shape(outcome: Outcome, x: f64, at: f64, r: f64) -> Markup {
    html! {
            @match outcome {
                Outcome::Pass => { circle cx=(format!("{x:.1}")) cy=(format!("{at:.1}")) r=(r) {} }
                Outcome::Fail => {
                    path d=(format!("M{:.1} {:.1}l{:.1} {:.1}m0 {:.1}l{:.1} {:.1}", x - r, at - r, 2.0 * r, 2.0 * r, -2.0 * r, -2.0 * r, 2.0 * r)) {}
                }
                Outcome::Inconclusive => {
                    path d=(format!("M{x:.1} {:.1}l{r:.1} {r:.1}l{:.1} {r:.1}l{:.1} {:.1}z", at - r, -r, -r, -r)) {}
                }
            }
    }
}

fn title(at: Stamp, outcome: Outcome, value: &str) -> String {
    format!("{}: {value}, {}", words::time(at), outcome.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_begin_at_zero_and_reach_over_everything() {
        for highest in [0, 1, 7, 999, 1_000, 12_345, 59_999, 3_600_001, 86_400_000 * 400, u64::MAX / 2] {
            let (step, top) = scale(highest);
            assert!(
                top >= highest && top.is_multiple_of(step) && top / step <= STEPS_MAX,
                "{highest}: {step}, {top}"
            );
        }
        assert_eq!(scale(12_345), (5_000, 15_000));
        assert_eq!([0, 200, 5_000, 90_000, 7_200_000].map(axis), ["0", "200 ms", "5 s", "90 s", "2 h"]);
    }

    #[test]
    fn a_line_is_not_drawn_across_what_was_not_measured() {
        assert_eq!(
            line(&[(0.0, Some(1.0)), (1.0, None), (2.0, Some(3.0)), (3.0, Some(4.0))]),
            "M0.0 1.0M2.0 3.0L3.0 4.0"
        );
        assert_eq!(line(&[]), "");
    }

    #[test]
    fn names_of_lines_do_not_lie_on_one_another() {
        for (one, other) in [(100.0, 100.0), (100.0, 104.0), (176.0, 175.0), (20.0, 150.0)] {
            let (a, b) = apart(one, other);
            assert!((a - b).abs() >= NAME_APART - 1e-9 && a.max(b) <= BOTTOM + 1e-9, "{a}, {b}");
            assert_eq!(a <= b, one <= other);
        }
    }
}

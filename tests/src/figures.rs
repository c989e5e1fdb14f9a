//! Figures beside their targets: what was measured, what it may be at most, and whether it is.
//!
//! Nothing that fails or is missing is left out in silence: it has a row that says why.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::measure::table;

/// A table that grows while things are measured; each row is told at once, too.
#[derive(Default)]
pub struct Figures {
    rows: Vec<[String; 4]>,
    failed: bool,
}

impl Figures {
    /// A figure with a target.
    pub fn at_most(&mut self, name: &str, limit: f64, measured: f64, show: impl Fn(f64) -> String) {
        let verdict = if measured <= limit { "met" } else { "NOT MET" };
        self.row(name, format!("at most {}", show(limit)), show(measured), verdict);
    }

    /// A figure that must not be smaller than its target.
    pub fn at_least(&mut self, name: &str, limit: f64, measured: f64, show: impl Fn(f64) -> String) {
        let verdict = if measured >= limit { "met" } else { "NOT MET" };
        self.row(name, format!("at least {}", show(limit)), show(measured), verdict);
    }

    /// Something that must not be there at all: any is a failure of the whole run.
    pub fn none(&mut self, name: &str, measured: u64) {
        self.failed |= measured > 0;
        let verdict = if measured == 0 { "met" } else { "NOT MET" };
        self.row(name, "0".into(), measured.to_string(), verdict);
    }

    /// A figure without a target.
    pub fn told(&mut self, name: &str, measured: impl Into<String>) {
        self.row(name, "-".into(), measured.into(), "-");
    }

    /// A figure that is not there, and why.
    pub fn missing(&mut self, name: &str, why: &str) {
        self.row(name, "-".into(), why.into(), "NOT MEASURED");
    }

    /// Runs a part of the measurement; one that panics fails the run and lets the other parts go on.
    pub fn part(&mut self, name: &str, measure: impl FnOnce(&mut Figures)) {
        println!("{name}:");
        if catch_unwind(AssertUnwindSafe(|| measure(self))).is_err() {
            self.failed = true;
            self.row(name, "-".into(), "FAILED, see above".into(), "NOT MEASURED");
        }
    }

    /// Whether something failed or was lost; a target that is not met is neither.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// All of it in Markdown.
    pub fn show(&self) -> String {
        let head = ["figure", "target", "measured", "met"].map(String::from);
        let rows: Vec<Vec<String>> =
            std::iter::once(&head).chain(&self.rows).map(|row| row.to_vec()).collect();
        table(&rows)
    }

    fn row(&mut self, name: &str, target: String, measured: String, verdict: &str) {
        println!("  {name}: {measured} ({target}): {verdict}");
        self.rows.push([name.into(), target, measured, verdict.into()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::show_seconds;

    #[test]
    fn targets_are_judged_and_failures_are_rows() {
        let mut figures = Figures::default();
        figures.at_most("fast", 2.0, 1.0, show_seconds);
        figures.at_most("slow", 2.0, 3.0, show_seconds);
        figures.at_least("much", 2.0, 2.0, show_seconds);
        figures.at_least("little", 2.0, 1.0, show_seconds);
        figures.none("nothing lost", 0);
        figures.part("good", |figures| figures.told("figure", "7"));
        assert!(!figures.has_failed());
        figures.part("bad", |_| panic!("for the test"));
        figures.missing("other", "no tool");
        assert!(figures.has_failed());
        let shown = figures.show();
        let verdicts: Vec<&str> =
            shown.lines().skip(2).filter_map(|line| line.split('|').rev().nth(1)).map(str::trim).collect();
        assert_eq!(
            verdicts,
            ["met", "NOT MET", "met", "NOT MET", "met", "-", "NOT MEASURED", "NOT MEASURED"],
            "{shown}"
        );
        let mut lost = Figures::default();
        lost.none("lost", 1);
        assert!(lost.has_failed());
    }
}

//! Runaways: paths with more new stored bytes a day than a budget, and what can be done about them.
//!
//! Pure: bytes and times go in. Counts by the hour, over the last 24 of them, for the paths that have the most.

use std::collections::HashMap;

/// Hours that count.
const HOURS: usize = 24;
const HOUR_NS: u64 = 3_600_000_000_000;
/// So many paths are counted; of more, the half with fewer bytes is forgotten.
const PATHS_MAX: usize = 4096;

/// A path that eats more than its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runaway {
    /// The path.
    pub path: Vec<u8>,
    /// New stored bytes within the last 24 hours.
    pub bytes: u64,
}

impl Runaway {
    /// The pattern that means the path and nothing else; `None` where no pattern can: a name that is not UTF-8, or with a line
    /// break.
    pub fn pattern(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.path).ok().filter(|text| !text.contains(['\n', '\r']))?;
        let mut pattern = String::with_capacity(text.len() + 8);
        for (at, letter) in text.char_indices() {
            let ends = at + letter.len_utf8() == text.len();
            if matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\') || (letter == ' ' && ends) {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        Some(pattern)
    }

    /// What to write into the configuration so that it is captured no longer, or that few of its states stay; no terminal obeys it.
    pub fn proposals(&self) -> Option<[String; 2]> {
        let quoted = quoted(&self.pattern()?);
        Some([
            format!("exclude = [{quoted}]"),
            format!("[[retention.rule]]\npatterns = [{quoted}]\nkeep = [\"1 day for 30 days\"]"),
        ])
    }
}

/// A string of a configuration, in which everything is escaped that is not seen as what it is.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            letter if letter.is_alphanumeric() => quoted.push(letter),
            letter => quoted.push_str(&format!("\\U{:08x}", u32::from(letter))),
        }
    }
    quoted.push('"');
    quoted
}

/// New bytes of the last hours by path.
#[derive(Debug, Default)]
pub struct Churn {
    paths: HashMap<Vec<u8>, Day>,
}

/// The bytes of a day by the hour.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    newest_hour: u64,
    hours: [u64; HOURS],
}

impl Day {
    /// Forgets what is a day old.
    fn pass(&mut self, hour: u64) {
        let passed = hour.saturating_sub(self.newest_hour);
        for later in 1..=passed.min(HOURS as u64) {
            if let Some(count) = self.hours.get_mut(((self.newest_hour + later) % HOURS as u64) as usize) {
                *count = 0;
            }
        }
        self.newest_hour = self.newest_hour.max(hour);
    }

    fn sum(&self) -> u64 {
        self.hours.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Churn {
    /// Counts bytes that were stored for a path at a time, in ns of a clock that is never set.
    pub fn add(&mut self, path: &[u8], bytes: u64, now_ns: u64) {
        if bytes == 0 {
            return;
        }
        let hour = now_ns / HOUR_NS;
        if !self.paths.contains_key(path) && self.paths.len() >= PATHS_MAX {
            self.forget(hour);
        }
        let day =
            self.paths.entry(path.to_vec()).or_insert_with(|| Day { newest_hour: hour, ..Day::default() });
        day.pass(hour);
        if let Some(count) = day.hours.get_mut((day.newest_hour % HOURS as u64) as usize) {
            *count = count.saturating_add(bytes);
        }
    }

    /// Forgets the paths with the fewest bytes.
    fn forget(&mut self, hour: u64) {
        let mut sums = Vec::with_capacity(self.paths.len());
        for day in self.paths.values_mut() {
            day.pass(hour);
            sums.push(day.sum());
        }
        sums.sort_unstable();
        let middle = sums.get(sums.len() / 2).copied().unwrap_or(0);
        self.paths.retain(|_, day| day.sum() > middle);
    }

    /// The paths over a budget of the last 24 hours, the worst first.
    pub fn over(&mut self, budget: u64, now_ns: u64) -> Vec<Runaway> {
        let hour = now_ns / HOUR_NS;
        let mut over = Vec::new();
        for (path, day) in &mut self.paths {
            day.pass(hour);
            if day.sum() > budget {
                over.push(Runaway { path: path.clone(), bytes: day.sum() });
            }
        }
        over.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;
    use crate::types::{Policy, RootPolicy};

    #[test]
    fn a_day_passes_by_the_hour() {
        let mut churn = Churn::default();
        for hour in 0..100 {
            churn.add(b"/log", 10, hour * HOUR_NS);
            churn.add(b"/rare", if hour == 50 { 1000 } else { 0 }, hour * HOUR_NS);
        }
        let now = 99 * HOUR_NS;
        assert_eq!(churn.over(239, now), [Runaway { path: b"/log".to_vec(), bytes: 240 }]);
        assert_eq!(churn.over(240, now), []);
        assert_eq!(churn.over(229, now + HOUR_NS)[0].bytes, 230);
        assert_eq!(churn.over(0, now + 200 * HOUR_NS), []);
        let mut churn = Churn::default();
        churn.add(b"/rare", 1000, 50 * HOUR_NS);
        assert_eq!(churn.over(999, 73 * HOUR_NS).len(), 1);
        assert_eq!(churn.over(999, 74 * HOUR_NS).len(), 0);
    }

    #[test]
    fn those_with_the_most_bytes_are_remembered() {
        let mut churn = Churn::default();
        for at in 0..100_000u64 {
            churn.add(format!("/{at}").as_bytes(), 1, at);
            churn.add(b"/big", 50, at);
            churn.add(b"/bigger", 60, at);
            assert!(churn.paths.len() <= PATHS_MAX);
        }
        let over = churn.over(1000, 100_000);
        let paths: Vec<&[u8]> = over.iter().map(|one| one.path.as_slice()).collect();
        assert_eq!(paths, [&b"/bigger"[..], b"/big"]);
        assert_eq!(over[1].bytes, 5_000_000);
    }

    #[test]
    fn what_is_proposed_means_the_path_and_nothing_else() {
        for (path, other) in [
            ("/home/u/vm.img", "/home/u/deep/vm.img"),
            ("/home/u/a*b", "/home/u/axb"),
            ("/home/u/[x]?", "/home/u/xy"),
            ("/home/u/{a,b}\\c ", "/home/u/a"),
            ("/home/u/\"quoted\"", "/home/u/quoted"),
            ("/home/u/'single'", "/home/u/single"),
            ("/home/u/Größe \u{202e}\u{1b}[31m\u{9b}\tx", "/home/u/Größe"),
        ] {
            let runaway = Runaway { path: path.into(), bytes: 1 };
            let [exclude, rule] = runaway.proposals().expect("a proposal");
            let read: toml::Table = exclude.parse().expect("a line of a configuration");
            let pattern = read["exclude"][0].as_str().expect("a pattern").to_owned();
            let written = crate::retention::config::parse(&rule).expect("a rule as it stands");
            assert_eq!(written.rules[0].patterns, std::slice::from_ref(&pattern), "{rule}");
            let loud = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!exclude.contains(loud) && !rule.contains(loud), "{exclude:?} {rule:?}");
            let root = RootPolicy { path: b"/home/u".to_vec(), ..RootPolicy::default() };
            let policy = Policy { roots: vec![root], excludes: vec![pattern], left_out: Vec::new() };
            let rules = Rules::new(&policy).expect("rules");
            assert!(rules.leaves_out(path.as_bytes(), Some(false)), "{path}: {exclude}");
            assert!(!rules.leaves_out(other.as_bytes(), Some(false)), "{other}: {exclude}");
        }
        assert_eq!(Runaway { path: b"/\xff".to_vec(), bytes: 1 }.proposals(), None);
        assert_eq!(Runaway { path: b"/a\nb".to_vec(), bytes: 1 }.proposals(), None);
    }
}

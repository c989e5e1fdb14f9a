//! Ladders: how many states of the past are kept, by how old they are.
//!
//! Owns the steps, their words ("10 minutes for 7 days") and what makes a ladder one. Pure.

use std::fmt;

/// Minutes of an hour, a day and a week.
const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// No interval and no duration is longer: a thousand years.
const MINUTES_MAX: u64 = 1000 * 365 * DAY;
/// A ladder has no more steps.
pub const STEPS_MAX: usize = 16;

/// Which states a step keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Every {
    /// All of them.
    All,
    /// Those at the multiples of so many minutes.
    Minutes(u64),
}

/// A step of a ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// What it keeps.
    pub every: Every,
    /// For how long, in minutes, from where the step before ends; `None` for ever.
    pub lasts_minutes: Option<u64>,
}

impl Step {
    /// Reads a step: `all`, `all for 2 days`, `10 minutes for 7 days`, `1 week`.
    ///
    /// # Errors
    /// Says what is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Step, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (every, lasts) = match words.iter().position(|word| *word == "for") {
            Some(at) => (words.get(..at).unwrap_or_default(), words.get(at + 1..)),
            None => (words.as_slice(), None),
        };
        let every = match every {
            [] => return Err("it does not say what to keep; write \"1 hour for 30 days\" or \"all\"".into()),
            ["all"] => Every::All,
            words => match minutes(&words.join(" "))? {
                0 => return Err("its interval is zero; to keep everything write \"all\"".into()),
                minutes => Every::Minutes(minutes),
            },
        };
        let lasts_minutes = lasts.map(|words| minutes(&words.join(" "))).transpose()?;
        Ok(Step { every, lasts_minutes })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.every {
            Every::All => f.write_str("all")?,
            Every::Minutes(minutes) => f.write_str(&interval(minutes))?,
        }
        match self.lasts_minutes {
            Some(minutes) => write!(f, " for {}", duration(minutes)),
            None => Ok(()),
        }
    }
}

/// Reads a length of time: a number and a unit from minutes to weeks.
///
/// # Errors
/// Says what is wrong with it, and what to write instead.
pub fn minutes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let form = "write a number and minutes, hours, days or weeks, such as \"10 minutes\"";
    if number.is_empty() {
        return Err(format!("{text:?} is no length of time; {form}"));
    }
    let each = match unit.trim_start() {
        "minute" | "minutes" | "min" | "m" => 1,
        "hour" | "hours" | "h" => HOUR,
        "day" | "days" | "d" => DAY,
        "week" | "weeks" | "w" => WEEK,
        "second" | "seconds" | "s" => {
            return Err(format!("{text:?} is in seconds; the shortest is \"1 minute\""));
        }
        "month" | "months" => {
            return Err(format!("{text:?} is not the same each time; write days, such as \"30 days\""));
        }
        "year" | "years" | "y" => {
            return Err(format!("{text:?} is not the same each time; write days, such as \"365 days\""));
        }
        _ => return Err(format!("{text:?} is no length of time; {form}")),
    };
    let minutes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(each));
    minutes
        .filter(|minutes| *minutes <= MINUTES_MAX)
        .ok_or_else(|| format!("{text:?} is too long; leave out \"for ...\" to keep for ever"))
}

fn counted(number: u64, unit: &str) -> String {
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// An interval in words.
pub fn interval(minutes: u64) -> String {
    match minutes {
        minutes if minutes > 0 && minutes.is_multiple_of(WEEK) => counted(minutes / WEEK, "week"),
        minutes => duration(minutes),
    }
}

/// A duration in words: in days where it is whole days.
pub fn duration(minutes: u64) -> String {
    match minutes {
        0 => counted(0, "minute"),
        minutes if minutes.is_multiple_of(DAY) => counted(minutes / DAY, "day"),
        minutes if minutes.is_multiple_of(HOUR) => counted(minutes / HOUR, "hour"),
        minutes => counted(minutes, "minute"),
    }
}

/// Why steps are no ladder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", match .step { Some((at, text)) => format!("step {at}, {text:?}: "), None => String::new() })]
pub struct LadderError {
    /// The step that is wrong, counted from 1, as it was written; `None` where it is all of them.
    pub step: Option<(usize, String)>,
    /// What is wrong with it, and what to write instead.
    pub what: String,
}

/// Steps from the finest to the coarsest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ladder {
    steps: Vec<Step>,
}

/// A step and the ages that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// What is kept.
    pub every: Every,
    /// From this age on, in minutes.
    pub from_minutes: u64,
    /// Up to this one; `None` without end.
    pub until_minutes: Option<u64>,
}

impl Ladder {
    /// Reads a ladder. A kept state has to stay kept as it ages, so each interval is a multiple of the one before.
    ///
    /// # Errors
    /// Names the step that is wrong, and says what to write instead.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Ladder, LadderError> {
        if texts.is_empty() {
            let what = "there is no step, so that nothing would be kept; to keep everything write \"all\"";
            return Err(LadderError { step: None, what: what.into() });
        }
        if texts.len() > STEPS_MAX {
            let what = format!("there are {} steps; {STEPS_MAX} are the most", texts.len());
            return Err(LadderError { step: None, what });
        }
        let mut steps: Vec<Step> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().map(AsRef::as_ref).enumerate() {
            let wrong = |what| LadderError { step: Some((at + 1, text.to_owned())), what };
            let step = Step::parse(text).map_err(wrong)?;
            if let Some(what) = refused(steps.last(), &step) {
                return Err(wrong(what));
            }
            steps.push(step);
        }
        Ok(Ladder { steps })
    }

    /// The ladder that keeps everything.
    pub fn everything() -> Ladder {
        Ladder { steps: vec![Step { every: Every::All, lasts_minutes: None }] }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The steps with the ages that they are for.
    pub fn zones(&self) -> impl Iterator<Item = Zone> {
        let mut from = Some(0u64);
        self.steps.iter().filter_map(move |step| {
            let from_minutes = from?;
            let until_minutes = step.lasts_minutes.map(|lasts| from_minutes.saturating_add(lasts));
            from = until_minutes;
            Some(Zone { every: step.every, from_minutes, until_minutes })
        })
    }
}

impl Default for Ladder {
    /// Everything for 2 days, every 10 minutes for a week, hourly for a month, daily for a year, weekly after.
    fn default() -> Ladder {
        let step = |every, lasts_minutes| Step { every, lasts_minutes };
        Ladder {
            steps: vec![
                step(Every::All, Some(2 * DAY)),
                step(Every::Minutes(10), Some(7 * DAY)),
                step(Every::Minutes(HOUR), Some(30 * DAY)),
                step(Every::Minutes(DAY), Some(365 * DAY)),
                step(Every::Minutes(WEEK), None),
            ],
        }
    }
}

/// What is wrong with a step behind another one.
fn refused(before: Option<&Step>, step: &Step) -> Option<String> {
    if step.lasts_minutes == Some(0) {
        return Some("it lasts no time; write how long, such as \"1 hour for 30 days\"".into());
    }
    let before = before?;
    if before.lasts_minutes.is_none() {
        let ended = Step { lasts_minutes: Some(30 * DAY), ..*before };
        return Some(format!(
            "the step before has no end, so that this one never begins; write {:?} there",
            ended.to_string()
        ));
    }
    let (fine, coarse) = match (before.every, step.every) {
        (_, Every::All) => {
            return Some("\"all\" can be the first step only; write an interval, such as \"1 hour\"".into());
        }
        (Every::All, Every::Minutes(_)) => return None,
        (Every::Minutes(fine), Every::Minutes(coarse)) => (fine, coarse),
    };
    if coarse <= fine {
        let (this, other) = (interval(coarse), interval(fine));
        let twice = Step { every: Every::Minutes(fine.saturating_mul(2)), ..*step };
        return Some(format!(
            "its interval of {this} is not longer than the {other} before; write the finest first, or {:?}",
            twice.to_string()
        ));
    }
    if !coarse.is_multiple_of(fine) {
        let next = Step { every: Every::Minutes(coarse.div_ceil(fine).saturating_mul(fine)), ..*step };
        return Some(format!(
            "{} is no multiple of the {} before, so that what was kept would not stay kept; write {:?}",
            interval(coarse),
            interval(fine),
            next.to_string()
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_written() {
        for (text, every, lasts) in [
            ("all", Every::All, None),
            ("all for 2 days", Every::All, Some(2 * DAY)),
            ("10 minutes for 7 days", Every::Minutes(10), Some(7 * DAY)),
            ("1 hour for 36 hours", Every::Minutes(HOUR), Some(36 * HOUR)),
            ("1 day", Every::Minutes(DAY), None),
            ("2 weeks", Every::Minutes(2 * WEEK), None),
            ("90 minutes for 1 minute", Every::Minutes(90), Some(1)),
        ] {
            let step = Step::parse(text).expect(text);
            assert_eq!(step, Step { every, lasts_minutes: lasts }, "{text}");
            assert_eq!(step.to_string(), text);
        }
        assert_eq!(Step::parse("1h for 2d").expect("short units").to_string(), "1 hour for 2 days");
        assert_eq!(Step::parse("  7   days for 1 week ").expect("spaces").to_string(), "1 week for 7 days");
    }

    #[test]
    fn the_default_is_what_it_says() {
        let texts: Vec<String> = Ladder::default().steps().iter().map(ToString::to_string).collect();
        let said =
            ["all for 2 days", "10 minutes for 7 days", "1 hour for 30 days", "1 day for 365 days", "1 week"];
        assert_eq!(texts, said);
        assert_eq!(Ladder::parse(&said), Ok(Ladder::default()));
        let zones: Vec<(u64, Option<u64>)> = Ladder::default()
            .zones()
            .map(|zone| (zone.from_minutes / DAY, zone.until_minutes.map(|m| m / DAY)))
            .collect();
        assert_eq!(zones, [(0, Some(2)), (2, Some(9)), (9, Some(39)), (39, Some(404)), (404, None)]);
    }

    #[test]
    fn what_is_no_ladder_is_refused_with_the_step_and_what_to_write_instead() {
        for (texts, part) in [
            (vec![], "to keep everything write \"all\""),
            (
                vec!["all for 2 days", "10 minutes for 0 days"],
                "step 2, \"10 minutes for 0 days\": it lasts no time",
            ),
            (
                vec!["1 hour for 2 days", "10 minutes"],
                "step 2, \"10 minutes\": its interval of 10 minutes is not longer",
            ),
            (vec!["1 hour for 2 days", "60 minutes"], "not longer than the 1 hour before"),
            (vec!["10 minutes for 2 days", "25 minutes for 3 days"], "write \"30 minutes for 3 days\""),
            (vec!["all", "1 hour"], "step 2, \"1 hour\": the step before has no end"),
            (vec!["all", "1 hour"], "write \"all for 30 days\" there"),
            (vec!["1 hour for 2 days", "all for 3 days"], "\"all\" can be the first step only"),
            (vec!["0 minutes"], "its interval is zero"),
            (vec!["30 seconds"], "the shortest is \"1 minute\""),
            (vec!["1 month for 2 days"], "\"30 days\""),
            (vec!["1 day for 2 years"], "\"365 days\""),
            (vec!["for 2 days"], "does not say what to keep"),
            (vec![""], "does not say what to keep"),
            (vec!["often"], "\"often\" is no length of time"),
            (vec!["1 hour for ever"], "\"ever\" is no length of time"),
            (vec!["1 hour for"], "\"\" is no length of time"),
            (vec!["99999999999999999999 days"], "too long"),
            (vec!["9999999 weeks"], "too long"),
        ] {
            let error = Ladder::parse(&texts).expect_err("no ladder").to_string();
            assert!(error.contains(part), "{texts:?}: {error}");
        }
        let long: Vec<String> = (0..17).map(|at| format!("{} minutes for 1 day", 1u64 << at)).collect();
        assert!(Ladder::parse(&long).is_err() && Ladder::parse(&long[..16]).is_ok());
    }
}

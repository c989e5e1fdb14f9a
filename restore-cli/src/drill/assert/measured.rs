//! Gaps, durations against targets, and how long ago a drill succeeded: pure.

use std::time::Duration;

use super::super::report::{Assertion, Gap, Outcome, Target};
use super::super::spec::Length;
use super::{LastSuccess, limited, verdict};
use crate::output::{counted, local};

/// Whether the journal saw everything.
pub(super) fn no_gap(gaps: Vec<Gap>, window: Duration) -> Assertion {
    let shown = shown(super::super::child::ms(window));
    if gaps.is_empty() {
        return verdict(
            "no-gap",
            Outcome::Pass,
            format!("the journal saw everything in the {shown} before the instant"),
        );
    }
    let number = counted(gaps.len() as u64, "gap");
    let mut told =
        verdict("no-gap", Outcome::Fail, format!("there is {number} in the {shown} before the instant"));
    if gaps.len() > 1 {
        told.message = format!("there are {number} in the {shown} before the instant");
    }
    told.details = gaps
        .iter()
        .map(|gap| {
            let until = gap.to.map_or("not known to be over".to_owned(), |to| format!("to {}", local(to.0)));
            format!("{}: from {} {until}: {}", gap.below.path, local(gap.from.0), gap.why)
        })
        .collect();
    limited(told)
}

/// Whether something took no longer than is wanted.
pub(super) fn target(kind: &str, measured: Target, unknown: &str) -> Assertion {
    let name = kind.to_uppercase();
    let (Some(wanted), Some(was), Some(met)) = (measured.target_ms, measured.measured_ms, measured.met)
    else {
        return verdict(kind, Outcome::Inconclusive, format!("{name} could not be measured: {unknown}"));
    };
    let (was, wanted) = (shown(was), shown(wanted));
    match met {
        true => verdict(kind, Outcome::Pass, format!("{name} is {was}, within the target of {wanted}")),
        false => verdict(kind, Outcome::Fail, format!("{name} is {was}, over the target of {wanted}")),
    }
}

/// Whether the last success is not too long ago.
pub(super) fn last_success(last: LastSuccess, max: Length) -> Assertion {
    const KIND: &str = "last-success-age";
    let most = shown(max.ms());
    match last {
        LastSuccess::First => verdict(KIND, Outcome::Pass, "this is the first drill of this name".to_owned()),
        LastSuccess::Never(ms) if ms <= max.ms() => {
            let first = shown(ms);
            verdict(
                KIND,
                Outcome::Pass,
                format!("no drill has succeeded yet, and the first was {first} ago, within {most}"),
            )
        }
        LastSuccess::Never(ms) => {
            let first = shown(ms);
            verdict(
                KIND,
                Outcome::Fail,
                format!("no drill has ever succeeded, and the first was {first} ago, over {most}"),
            )
        }
        LastSuccess::Ago(ms) if ms <= max.ms() => verdict(
            KIND,
            Outcome::Pass,
            format!("the last drill that succeeded was {} ago, within {most}", shown(ms)),
        ),
        LastSuccess::Ago(ms) => verdict(
            KIND,
            Outcome::Fail,
            format!("the last drill that succeeded was {} ago, over {most}", shown(ms)),
        ),
    }
}

/// A length of time for people.
pub(super) fn shown(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{}.{:03} s", seconds, ms % 1000),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_judged_and_the_first_drill_of_a_name_has_none() {
        let max = Length(Duration::from_secs(100));
        for (last, outcome) in [
            (LastSuccess::First, Outcome::Pass),
            (LastSuccess::Never(99_999), Outcome::Pass),
            (LastSuccess::Never(100_001), Outcome::Fail),
            (LastSuccess::Ago(100_000), Outcome::Pass),
            (LastSuccess::Ago(100_001), Outcome::Fail),
        ] {
            assert_eq!(last_success(last, max).outcome, outcome, "{last:?}");
        }
    }

    #[test]
    fn a_target_that_was_not_measured_is_inconclusive() {
        assert_eq!(target("rto", Target::new(Some(5), Some(5)), "").outcome, Outcome::Pass);
        assert_eq!(target("rto", Target::new(Some(5), Some(6)), "").outcome, Outcome::Fail);
        assert_eq!(target("rto", Target::new(Some(5), None), "why").outcome, Outcome::Inconclusive);
    }
}

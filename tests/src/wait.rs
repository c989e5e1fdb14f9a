//! Waiting on conditions with a deadline; the only place that lets time pass.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Long enough for a loaded two-core machine, short enough that a hang is noticed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks at a condition until it gives a value.
///
/// Panics after `deadline`, saying what was waited for.
#[track_caller]
pub fn eventually<T>(deadline: Duration, what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {:.1} s in vain: {what}", start.elapsed().as_secs_f64());
        quiet(LOOK_EVERY);
    }
}

/// Lets time pass in which this process does nothing: where quiet itself is what is tested or shown.
pub fn quiet(duration: Duration) {
    // A channel that never delivers: the wait is the timeout.
    let _ = crossbeam_channel::never::<()>().recv_timeout(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_condition_gives() {
        let mut looks = 0;
        let value = eventually(PATIENCE, "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "in vain: never")]
    fn gives_up_at_the_deadline() {
        eventually(Duration::from_millis(1), "never", || None::<()>);
    }
}

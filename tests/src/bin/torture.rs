//! `make torture`: seed after seed, a crash or a fault at every storage operation, until the time is up.
//!
//! Prints a line for each seed and the sums; the status is 1 where anything was not as it must be, and the line says how
//! to live that seed again.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use asof_tests::torture::life::{Kind, Outcome, Plan, live};

/// Violations after which it stops: the first few are the most telling.
const VIOLATIONS_MAX: usize = 5;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            eprintln!("{name} is {text:?}: a number is wanted");
            std::process::exit(2);
        }
    }
}

fn main() -> ExitCode {
    let given = number::<u64>("SEED");
    let minutes = number::<f64>("MINUTES");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let first = given.unwrap_or(now);
    let one = given.is_some() && minutes.is_none();
    let (start, limit) = (Instant::now(), Duration::from_secs_f64(minutes.unwrap_or(30.0) * 60.0));
    let (mut sum, mut seeds, mut violations) = (Outcome::default(), 0_u64, 0);
    while violations < VIOLATIONS_MAX && start.elapsed() < limit && !(one && seeds > 0) {
        let seed = first.wrapping_add(seeds);
        seeds += 1;
        let (of_seed, found) = whole_seed(seed, || start.elapsed() < limit || one);
        println!("seed {seed}: {of_seed}, {} violations", found.len());
        for violation in &found {
            println!("{violation}\n  again: make torture SEED={seed}");
        }
        violations += found.len();
        sum += of_seed;
    }
    println!(
        "{seeds} seeds from {first}: {sum}, {violations} violations, {:.0} s",
        start.elapsed().as_secs_f64()
    );
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything that can go wrong at each operation of a seed, while there is time.
fn whole_seed(seed: u64, mut has_time: impl FnMut() -> bool) -> (Outcome, Vec<String>) {
    let mut found = Vec::new();
    let mut sum = Outcome::default();
    let mut one = |plan: &Plan| match live(plan) {
        Ok(outcome) => {
            sum += outcome;
            Some(outcome)
        }
        Err(violation) => {
            found.push(violation.to_string());
            None
        }
    };
    if let Some(quiet) = one(&Plan::quiet(seed)) {
        for operation in 0..quiet.operations {
            for kind in Kind::ALL {
                if has_time() {
                    one(&Plan::at(kind, seed, operation));
                }
            }
        }
    }
    (sum, found)
}

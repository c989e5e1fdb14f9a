//! `make readers`: the check of readers beside a writer with as many as are asked for, until the time is up.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use asof_tests::readers::{Plan, run};
use asof_tests::settings::number;
use asof_tests::site::Site;

fn main() -> ExitCode {
    let (readers, minutes) = (number("READERS").unwrap_or(50), number("MINUTES").unwrap_or(5.0_f64));
    let mut seed = number("SEED").unwrap_or(1);
    let begun = Instant::now();
    let mut wrong = 0;
    while begun.elapsed() < Duration::from_secs_f64(minutes * 60.0) {
        let outcome = run(&Site::new(), &Plan { readers, commands: 20, seed });
        println!("SEED={seed} {readers} at a time: {outcome}");
        for violation in &outcome.violations {
            println!("    {violation}");
        }
        wrong += outcome.violations.len();
        seed += 1_000;
    }
    println!("{wrong} violations in {:.0} s", begun.elapsed().as_secs_f64());
    ExitCode::from(u8::from(wrong > 0))
}

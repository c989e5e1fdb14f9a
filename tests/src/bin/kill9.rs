//! `make kill9`: `kill -9` of the agent as often as is asked for, with a log of what was acknowledged.

use std::process::ExitCode;
use std::time::Instant;

use asof_tests::kills::{Plan, run};
use asof_tests::settings::number;
use asof_tests::site::Site;

fn main() -> ExitCode {
    let plan = Plan { kills: number("KILLS").unwrap_or(500), seed: number("SEED").unwrap_or(9) };
    let begun = Instant::now();
    let mut site = Site::new();
    let outcome = run(&site, &plan);
    println!("SEED={}: {outcome}; {:.0} s", plan.seed, begun.elapsed().as_secs_f64());
    for lost in &outcome.lost {
        println!("    {lost}");
    }
    if !outcome.lost.is_empty() {
        println!("kept in {}", site.keep().display());
    }
    ExitCode::from(u8::from(!outcome.lost.is_empty()))
}

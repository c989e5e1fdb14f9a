//! `make interrupted`: restores that are interrupted as often as is asked for.

use std::process::ExitCode;
use std::time::Instant;

use asof_tests::interrupted::{Plan, run};
use asof_tests::settings::number;
use asof_tests::site::Site;

fn main() -> ExitCode {
    let plan = Plan { times: number("TIMES").unwrap_or(200), seed: number("SEED").unwrap_or(5) };
    let begun = Instant::now();
    let mut site = Site::new();
    let outcome = run(&site, &plan);
    println!("SEED={}: {outcome}; {:.0} s", plan.seed, begun.elapsed().as_secs_f64());
    for wrong in &outcome.wrong {
        println!("    {wrong}");
    }
    if !outcome.wrong.is_empty() {
        println!("kept in {}", site.keep().display());
    }
    ExitCode::from(u8::from(!outcome.wrong.is_empty()))
}

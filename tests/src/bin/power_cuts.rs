//! `make power-cuts`: real power cuts on ext4, xfs and btrfs, as many as wanted, a third on each.
//!
//! Prints a line for each filesystem and the sum; the status is 1 where anything that was acknowledged is not there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use asof_tests::cuts::{Wish, run};
use asof_tests::filesystem::Filesystem;

const FILESYSTEMS: [Filesystem; 3] = [Filesystem::Ext4, Filesystem::Xfs, Filesystem::Btrfs];

fn number(name: &str) -> Option<u64> {
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
    let cuts = number("CUTS").unwrap_or(200);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = number("SEED").unwrap_or(now);
    let (mut done, mut violations) = (0, 0);
    for (place, filesystem) in FILESYSTEMS.into_iter().enumerate() {
        let share = (cuts + FILESYSTEMS.len() as u64 - 1 - place as u64) / FILESYSTEMS.len() as u64;
        if share == 0 {
            continue;
        }
        let start = Instant::now();
        let wish = Wish { filesystem, cuts: share, seed: seed + place as u64 };
        match catch_unwind(AssertUnwindSafe(|| run(&wish))) {
            Ok(Ok(outcome)) => {
                done += outcome.device_cuts + outcome.cache_cuts;
                println!(
                    "{filesystem}, seed {}: {outcome}, {:.0} s",
                    wish.seed,
                    start.elapsed().as_secs_f64()
                );
            }
            Ok(Err(why)) => {
                println!("{filesystem}: not possible here: {why}");
                violations += 1;
            }
            // The panic has said what.
            Err(_) => {
                println!("{filesystem}, seed {}: VIOLATION, see above", wish.seed);
                violations += 1;
            }
        }
    }
    println!("{done} power cuts, {violations} violations");
    if violations == 0 && done >= cuts { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

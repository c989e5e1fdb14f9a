//! The matrix: everything known that can go wrong between kernel and agent, on every filesystem there is.
//!
//! One function a hazard, one test a filesystem; at the end of each the table so far, to be read or pasted elsewhere.
//! `ASOF_TEST_HAZARD=name` runs only what has the text in its name, `ASOF_TEST_FULL=1` the slow sizes too.

mod content;
mod directories;
mod doors;
mod downtime;
mod identity;
mod long_paths;
mod mapped;
mod nameless;
mod names;
mod place;
mod queue;
mod roots;

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use asof_tests::filesystem::{Filesystem, Mount};
use asof_tests::measure::{show_seconds, table};

use place::{Outcome, Place};

/// A hazard's name, which is its directory's too, and the check.
type Hazard = (&'static str, fn(&Place) -> Outcome);

const HAZARDS: &[Hazard] = &[
    ("files made in a new directory", directories::files_in_new_directories),
    ("opendir before watch", directories::made_right_after_the_directory),
    ("directory renamed", directories::written_right_after_the_move),
    ("queue overflow", queue::overflow),
    ("many directories removed", queue::many_removed),
    ("watch limit", queue::watch_limit),
    ("overflow of our own making", directories::no_overflow_at_start),
    ("barrier under load", directories::barrier_under_load),
    ("excluded trees", directories::excluded),
    ("mmap", content::mapped),
    ("mmap, another store", mapped::mapped_and_stored_again),
    ("mmap, another store, kill -9", mapped::mapped_and_killed),
    ("torn read", content::torn),
    ("is a writer active", content::writer_active),
    ("O_TMPFILE + linkat", nameless::nameless_then_linked),
    ("written through a lost name", nameless::written_through_a_lost_name),
    ("deleted before capture", nameless::deleted_before_capture),
    ("hard links", names::hard_links),
    ("rename over, RENAME_EXCHANGE", names::renames),
    ("atomic save", names::atomic_saves),
    ("inode reuse", identity::inode_reuse),
    ("overlay copy-up", identity::copy_up),
    ("timestamps", identity::forged_times),
    ("timestamps, behind attributes", identity::forged_behind_attributes),
    ("timestamps, renamed at once", identity::forged_and_renamed),
    ("ACLs and xattrs", identity::attributes),
    ("clock jumps", downtime::clock_jumps),
    ("mounts", roots::mounted_over),
    ("mounts, named in status", roots::mounted_over_is_named),
    ("root deleted and recreated", roots::deleted_and_recreated),
    ("root moved away and back", roots::moved_away_and_back),
    ("names", names::raw_names),
    ("symlinks", names::symlinks),
    ("own journal under a root", roots::journal_inside),
    ("own journal bound under a root", roots::journal_bound_inside),
    ("special files", names::special_files),
    ("btrfs subvolumes", roots::subvolumes),
    ("bursts", directories::bursts),
    ("a writer that never pauses", content::never_pauses),
    ("unreadable directory", doors::unreadable),
    ("a file of 2^32 bytes with holes", content::giant_with_holes),
    ("paths beyond PATH_MAX", long_paths::beyond_path_max),
    ("moved out and in again", directories::moved_out_and_in),
    ("while the agent is down", downtime::recognised_after_downtime),
    ("100,000 entries in one directory", directories::crowded),
];

/// Results so far: by hazard and filesystem.
static RESULTS: Mutex<BTreeMap<(usize, Filesystem), String>> = Mutex::new(BTreeMap::new());

#[test]
fn ext4() {
    run(Filesystem::Ext4);
}

#[test]
fn xfs() {
    run(Filesystem::Xfs);
}

#[test]
fn btrfs() {
    run(Filesystem::Btrfs);
}

#[test]
fn tmpfs() {
    run(Filesystem::Tmpfs);
}

#[test]
fn overlay() {
    run(Filesystem::Overlay);
}

/// Meets every hazard on one filesystem, the next also when one fails, and tells of all at the end.
fn run(filesystem: Filesystem) {
    let mount = match Mount::new(filesystem) {
        Ok(mount) => mount,
        Err(why) => {
            println!("skipped: {why}");
            for number in 0..HAZARDS.len() {
                tell(number, filesystem, "skipped".into());
            }
            return;
        }
    };
    let place = Place::new(mount);
    let wanted = std::env::var("ASOF_TEST_HAZARD").unwrap_or_default();
    let mut failed = Vec::new();
    for (number, (name, check)) in HAZARDS.iter().enumerate() {
        if !name.contains(&wanted) {
            continue;
        }
        let start = Instant::now();
        let met = catch_unwind(AssertUnwindSafe(|| {
            place.begin(name);
            let outcome = check(&place);
            place.agent().check_log();
            outcome
        }));
        let took = show_seconds(start.elapsed().as_secs_f64());
        let result = match met {
            Ok(Outcome::Met) => format!("ok {took}"),
            Ok(Outcome::Skipped(why)) => {
                println!("{filesystem}: {name}: skipped: {why}");
                "skipped".to_string()
            }
            Err(_) => {
                failed.push(*name);
                // What is wrong with this one is not to be found again in every one after it.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(place.take_agent())));
                format!("FAILED {took}")
            }
        };
        println!("=== {filesystem}: {name}: {result} ===");
        tell(number, filesystem, result);
    }
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let missed = place.site.status()["missed_by_events"].as_u64().unwrap_or(0);
        println!("{filesystem}: missed_by_events {missed}");
        place.stop();
        place.site.check_all("the agent was stopped");
    }));
    if ended.is_err() {
        failed.push("everything again after the agent was stopped");
    }
    show();
    assert!(failed.is_empty(), "{filesystem}: {failed:?}");
}

fn tell(number: usize, filesystem: Filesystem, result: String) {
    RESULTS.lock().unwrap_or_else(PoisonError::into_inner).insert((number, filesystem), result);
}

/// Prints the table past the capturing of tests' output: it is wanted also where everything is well.
fn show() {
    let results = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut columns: Vec<Filesystem> = results.keys().map(|(_, filesystem)| *filesystem).collect();
    columns.sort();
    columns.dedup();
    let mut rows = vec![vec!["hazard".to_string()]];
    rows[0].extend(columns.iter().map(ToString::to_string));
    for (number, (name, _)) in HAZARDS.iter().enumerate() {
        let mut row = vec![(*name).to_string()];
        row.extend(columns.iter().map(|column| results.get(&(number, *column)).cloned().unwrap_or_default()));
        if row.iter().skip(1).any(|cell| !cell.is_empty()) {
            rows.push(row);
        }
    }
    let _ = writeln!(std::io::stdout(), "\n{}", table(&rows));
}

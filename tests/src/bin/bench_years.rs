//! Years of a workstation in a journal: how large it gets, beside keeping everything, and whether it answers rightly.
//!
//! Run by `make bench-years`. `DAYS`, `FILES` and `SAVES` scale it, `SEED` makes another one, `SVG=FILE` says where the plot goes,
//! `KEEP=DIR` leaves the journal there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use asof_journal::compact::Eagerness;
use asof_journal::open::Journal;
use asof_journal::reader::Reader;
use asof_journal::retention::{Ladder, Policy};
use asof_journal::types::ClockReading;
use asof_tests::figures::Figures;
use asof_tests::measure::{peak_memory_since, show_bytes, show_seconds, table};
use asof_tests::must::Must;
use asof_tests::plot::{Axes, Line, svg};
use asof_tests::settings::number;
use asof_tests::years::{Answer, Scale, Years, answer};

/// The same as in every program of the project.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GIB: f64 = (1u64 << 30) as f64;
/// Bytes that compaction may write for each byte that was captured.
const AMPLIFICATION_MAX: f64 = 1.0;
/// Memory that all of it may take.
const MEMORY_MAX: f64 = (200u64 << 20) as f64;
/// Paths at instants that are compared with what is known.
const QUESTIONS: usize = 1000;

/// What is done to the journal at the end of each day; gives the bytes that were written for it.
type Upkeep = fn(&mut Journal, &ClockReading) -> u64;

/// What the agent does in idle time, with the default ladder.
const UPKEEP: Option<Upkeep> = Some(|journal, clock| {
    let policy = Policy::of(Ladder::default(), 7 * 24 * 60);
    let done = journal.compactor.compact(&policy, &[], Eagerness::WorthIt, usize::MAX, clock.wall);
    let done = done.must("compaction");
    assert_eq!(done.damage, []);
    done.bytes_written
});

fn main() -> ExitCode {
    let days = number("DAYS").unwrap_or(730);
    let scale = Scale {
        files: number("FILES").unwrap_or(100_000),
        saves_a_day: number("SAVES").unwrap_or(5000),
        seed: number("SEED").unwrap_or(1),
    };
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let tmp = tempfile::tempdir().must("a temporary directory");
    let dir = given("KEEP").unwrap_or_else(|| tmp.path().join("journal"));
    let mut figures = Figures::default();
    let start = Instant::now();
    let mut years = Years::begin(&dir, scale);
    let first = years.segment_bytes();
    println!(
        "{} files captured in {}: {}",
        scale.files,
        show_seconds(start.elapsed().as_secs_f64()),
        show_bytes(first as f64)
    );

    let (mut captured, mut compacted, mut last, mut upkeep_time) = (first, 0u64, first, Duration::ZERO);
    let (mut capturing, mut compacting) = (0, 0);
    let (mut kept, mut everything) = (vec![(0.0, first as f64)], vec![(0.0, first as f64)]);
    let mut rows = vec![
        ["day", "versions", "journal", "keeping everything", "written by compaction", "memory", "compacting"]
            .map(String::from)
            .to_vec(),
    ];
    for day in 1..=days {
        years.day();
        captured += years.segment_bytes() - last;
        capturing = capturing.max(peak_memory_since());
        if let Some(upkeep) = UPKEEP {
            let clock = years.clock();
            let start = Instant::now();
            compacted += upkeep(years.journal(), &clock);
            upkeep_time += start.elapsed();
            compacting = compacting.max(peak_memory_since());
        }
        last = years.segment_bytes();
        kept.push((day as f64, last as f64));
        everything.push((day as f64, captured as f64));
        if day % 10 == 0 || day == days {
            let bytes = |bytes: u64| show_bytes(bytes as f64);
            rows.push(vec![
                day.to_string(),
                years.versions.to_string(),
                bytes(last),
                bytes(captured),
                bytes(compacted),
                bytes(capturing),
                bytes(compacting),
            ]);
            println!(
                "  {} ({}, {} of it compaction)",
                rows.last().must("a row").join("  "),
                show_seconds(start.elapsed().as_secs_f64()),
                show_seconds(upkeep_time.as_secs_f64())
            );
        }
    }
    let (versions, commits, now) = (years.versions, years.commits, years.clock().wall);
    let questions = years.questions(QUESTIONS);
    years.close();

    figures.told("days, files, saves a day", format!("{days}, {}, {}", scale.files, scale.saves_a_day));
    figures.told("versions, batches", format!("{versions}, {commits}"));
    figures.told("first capture", show_bytes(first as f64));
    figures.told("keeping everything", show_bytes(captured as f64));
    figures.told(
        "a version, beyond the first capture",
        show_bytes((captured - first) as f64 / (versions - scale.files).max(1) as f64),
    );
    figures.told("journal", show_bytes(last as f64));
    if UPKEEP.is_some() {
        figures.at_most(
            "written by compaction for a byte captured",
            AMPLIFICATION_MAX,
            compacted as f64 / captured as f64,
            |ratio| format!("{ratio:.2}"),
        );
        figures.at_most("memory while compacting, at most", MEMORY_MAX, compacting as f64, show_bytes);
    }
    // With that of the simulation, which holds a few bytes for each file.
    figures.at_most("memory while capturing, at most", MEMORY_MAX, capturing as f64, show_bytes);
    figures.part("answers", |figures| {
        let reader = Reader::open(&dir).must("the journal");
        let (mut right, mut unknown, mut broken, mut wrong) = (0, 0, 0, 0);
        for question in &questions {
            match answer(&reader, question) {
                Answer::Right => right += 1,
                Answer::Unknown(said) if question.is_promised(now) => {
                    broken += 1;
                    eprintln!("not known, although it was to be kept: {question:?}: {said}");
                }
                Answer::Unknown(_) => unknown += 1,
                Answer::Wrong(said) => {
                    wrong += 1;
                    eprintln!("wrong: {question:?}: {said}");
                }
            }
        }
        figures.told("random paths at instants, right", format!("{right} of {}", questions.len()));
        figures.told("not known any more, as the ladder has it", unknown.to_string());
        figures.none("not known, although it was to be kept", broken);
        figures.none("wrong answers", wrong);
    });

    if let Some(file) = given("SVG") {
        let axes = Axes {
            title: &format!("{} files, {} saves a day", scale.files, scale.saves_a_day),
            across: "days",
            every: (days as f64 / 8.0).ceil().max(1.0),
            show_across: |day| format!("{day:.0}"),
            show_up: |bytes| format!("{:.1} GiB", bytes / GIB),
        };
        let mut lines = vec![Line { name: "keeping everything", colour: "#b3541e", points: &everything }];
        if UPKEEP.is_some() {
            lines.push(Line { name: "with the default ladder", colour: "#1f6fb2", points: &kept });
        }
        std::fs::write(&file, svg(&axes, &lines)).must(file.display());
        println!("{}: size over time", file.display());
    }
    println!("\n{}\n{}", table(&rows), figures.show());
    if figures.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

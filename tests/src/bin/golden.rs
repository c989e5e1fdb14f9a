//! Writes the golden journal of the present format, where there is none yet, and its answers.
//!
//! Run by `make golden`. A released format's journal is never written again.

use std::fs;
use std::process::ExitCode;

use asof_journal::format::FORMAT;
use asof_journal::reader::Reader;
use asof_tests::must::Must;
use asof_tests::{copy, golden};

fn main() -> ExitCode {
    let place = golden::directory().join(format!("format-{FORMAT}"));
    if place.exists() {
        eprintln!(
            "{}: it is there. One of a released format stays as it is; one of a format that is not: remove it before",
            place.display()
        );
        return ExitCode::from(2);
    }
    let made = tempfile::tempdir().must("a temporary directory");
    let journal = made.path().join("journal");
    golden::write(&journal);
    // RocksDB's talk, and its options, which a present program brings along.
    for entry in fs::read_dir(journal.join("index")).must("the index").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" || name == "IDENTITY" {
            fs::remove_file(entry.path()).must(entry.path().display());
        }
    }
    fs::remove_file(journal.join("writer.lock")).must("the lock");
    let reader = Reader::open(&journal).must("the journal");
    assert_eq!((&reader.report().damage, &reader.report().rebuilt), (&Vec::new(), &None));
    let answers = golden::answers(&reader, reader.head());
    fs::create_dir_all(&place).must(place.display());
    copy::with_modes(&journal, &place.join("journal"));
    fs::write(place.join("answers.txt"), &answers).must("the answers");
    println!("{}: {} answers, {}", place.display(), answers.lines().count(), reader.head());
    ExitCode::SUCCESS
}

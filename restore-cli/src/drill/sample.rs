//! Reports for tests: plausible ones in a row, and one with everything in it that a rendering could trip over.

use asof_journal::types::Instant;

use super::report::*;
use super::store::{self, Kept, Past};

/// 2026-11-01 03:00 UTC.
const FIRST_NS: i64 = 1_793_502_000_000_000_000;
const DAY_NS: i64 = 86_400_000_000_000;

/// The report of the drill of a day, counted from 1: the seventh fails, the eleventh is inconclusive.
pub(crate) fn report(day: u64) -> Report {
    let started = FIRST_NS + i64::try_from(day).unwrap() * DAY_NS;
    let at = |ms: u64| Stamp(Instant(started + i64::try_from(ms).unwrap() * 1_000_000));
    let outcome = match day {
        7 => Outcome::Fail,
        11 => Outcome::Inconclusive,
        _ => Outcome::Pass,
    };
    let known = outcome != Outcome::Inconclusive;
    let wobble = day * 7_919 % 13;
    let (first_byte, restored, verified) = (310 + 9 * wobble, 3_900 + 260 * wobble, 5_200 + 350 * wobble);
    let rto = Target::new(Some(10_000), known.then_some(verified + if day == 7 { 6_900 } else { 0 }));
    let rpo = Target::new(Some(60_000), known.then_some(180 + 45 * wobble));
    let matched = 842 - u64::from(day == 7);
    let (why, message) = match outcome {
        Outcome::Pass => ("all 4 assertions hold", "842 of 842 files are as the witness saw them"),
        Outcome::Fail => {
            ("2 of 4 assertions do not hold: content, rto", "1 of 842 files is not as the witness saw it")
        }
        Outcome::Inconclusive => {
            ("1 of 4 assertions could not be told: content", "the witness is 41 days old")
        }
    };
    let details = match day {
        7 => vec!["/home/eva/src/lib.rs: BLAKE3 is 9f86d081..., the witness has 2c26b46b...".to_owned()],
        _ => Vec::new(),
    };
    let rto_outcome = if day == 7 { Outcome::Fail } else { Outcome::Pass };
    let assertion = |kind: &str, outcome, message: &str, details: Vec<String>, ms| Assertion {
        kind: kind.to_owned(),
        name: kind.to_owned(),
        outcome,
        message: message.to_owned(),
        details,
        details_left_out: 0,
        ms,
    };
    Report {
        schema: SCHEMA.to_owned(),
        identity: Identity {
            report_id: format!("00000000-0000-4000-8000-{day:012}"),
            drill: "workstation-weekly".into(),
            file: Some(Name::new(b"/etc/asof/drills/workstation-weekly.toml")),
            file_hash: Some(store::hash(b"drill")),
            host: "desk".into(),
            user: "eva".into(),
            asof_version: "0.1.0".into(),
            journal_id: "6a1f2c0e-0000-4000-8000-000000000001".into(),
            journal: Name::new(b"/home/eva/.local/state/asof"),
        },
        chain: Link::default(),
        outcome,
        why: why.to_owned(),
        scenario: "tree".into(),
        seed: 1_000 + day,
        selection: Selection {
            what: "1 % at random".into(),
            below: vec![Name::new(b"/home/eva")],
            candidates: Some(84_200),
            chosen: 842,
        },
        instant: AsOf { requested: "latest".into(), resolved: Some(at(0)), seq: Some(90_000 + day * 731) },
        times: Times {
            started: at(0),
            requested: known.then(|| at(200)),
            failure: None,
            newest_recovered: known.then(|| Stamp(Instant(started - 180_000_000))),
            first_byte: known.then(|| at(first_byte)),
            restored: known.then(|| at(restored)),
            verified: known.then(|| at(verified)),
            ended: at(verified + 400),
        },
        durations: Durations {
            requested_ms: known.then_some(200),
            first_byte_ms: known.then_some(first_byte),
            restored_ms: known.then_some(restored),
            verified_ms: known.then_some(verified),
            total_ms: verified + 400,
            restoring_ms: restored - 250,
            verifying_ms: verified - restored,
        },
        bytes: 41_830_400 + day * 1_024,
        bytes_per_second: known.then_some(41_830_400 * 1_000 / (restored - first_byte)),
        rto,
        rpo,
        counts: Counts {
            expected: 842,
            restored: 842,
            matched,
            differing: 842 - matched,
            metadata_differences: 0,
            ..Counts::default()
        },
        coverage: Coverage {
            paths: Share { drilled: (842 * day).min(84_200), total: 84_200 },
            history_days: Share { drilled: day.div_ceil(2), total: 60 + day },
        },
        gaps: Vec::new(),
        assertions: vec![
            assertion("content", outcome, message, details, 1_310),
            assertion("paths", Outcome::Pass, "842 paths, none missing, none extra", Vec::new(), 12),
            assertion("rto", rto_outcome, "from request to verified", Vec::new(), 0),
            assertion("rpo", Outcome::Pass, "within the target", Vec::new(), 0),
        ],
        evidence: vec![Evidence {
            what: "witness".into(),
            path: Name::new(b"/srv/witness/eva.txt"),
            blake3: store::hash(b"witness"),
            bytes: 6_131_004,
            made: Some(Stamp(Instant(started - DAY_NS))),
        }],
        commands: vec![Command {
            what: "assertion cargo-check".into(),
            argv: vec!["cargo".into(), "check".into(), "--offline".into()],
            argv_left_out: 0,
            directory: Some(Name::new(b"/var/tmp/asof-drill.x/restored")),
            status: Some(0),
            signal: None,
            timed_out: false,
            ms: 812,
            output: String::new(),
        }],
        commands_left_out: 0,
        cost: Cost {
            peak_memory_bytes: Some(61 << 20),
            peak_memory_of_programs_bytes: Some(70 << 20),
            cpu_ms: Some(3_120),
            scratch_bytes: Some(44 << 20),
            scratch_limit_bytes: Some(2 << 30),
        },
        clean_up: vec![CleanUp {
            what: "scratch directory".into(),
            path: Name::new(b"/var/tmp/asof-drill.x"),
            removed: true,
            why: None,
        }],
        hooks: Vec::new(),
        warnings: Vec::new(),
    }
}

/// One with everything in it, and names that no reader may take for markup.
pub(crate) fn wicked() -> Report {
    let script = "<script>alert('x')</script>";
    let mut report = report(7);
    report.identity.drill = format!("a \"quoted\" \\ `name` | {script}\n# HELP evil");
    report.identity.host = "host\u{202e}tsoh".into();
    report.why = format!("{script} ]]> & \u{1b}[31mred\u{7}");
    report.selection.below = vec![Name::new(b"/a/\xff<b>\n|*x*"), Name::new("/ä/🦀".as_bytes())];
    report.gaps = vec![Gap {
        from: report.times.started,
        to: None,
        below: Name::new(b"/a/<i>"),
        why: "no event source &amp;".into(),
    }];
    report.assertions[0].name = format!("content {script}");
    report.assertions[0].message = format!("]]>{script}\u{0}\u{1b}[0m");
    report.assertions[0].details =
        vec![format!("{script}\nsecond line"), "a|b `c` *d* [e](http://f.invalid)".into()];
    report.assertions[0].details_left_out = 17;
    report.assertions[1].outcome = Outcome::Inconclusive;
    report.assertions[1].message = "there is no oracle".into();
    report.commands[0].argv.push(format!("--x={script} | ` \n"));
    report.commands[0].argv_left_out = 3_000;
    report.commands_left_out = 2_700;
    report.commands[0].output = format!("line 1 ```\n{script}\n\u{1b}]0;title\u{7}");
    report.commands[0].status = None;
    report.commands[0].timed_out = true;
    report.commands[0].signal = Some(9);
    report.clean_up[0].removed = false;
    report.clean_up[0].why = Some(format!("{script}: busy"));
    report.warnings = vec![format!("monitor not reached {script}")];
    report.hooks = vec![Hook {
        event: "failure".into(),
        what: "https://monitor.invalid/...".into(),
        done: false,
        ms: 5_000,
        message: script.into(),
    }];
    report
}

/// So many days of drills, as a store gives them back.
pub(crate) fn past(days: u64) -> Past {
    let mut past = Past::default();
    for day in 1..=days {
        let mut report = report(day);
        report.chain.number = day;
        report.chain.previous_hash = past.reports.last().map(|kept: &Kept| kept.hash.clone());
        let hash = store::hash(&store::encode(&report).unwrap());
        past.reports.push(Kept { report, hash, file: format!("{day:08}.json").into() });
    }
    past
}

//! Fuzz targets: what people write on the command line, and what comes back from a socket or a file.

use asof_fuzz::{Memory, Random, Target};
use asof_journal::control::Answer;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, TimeZone, Utc};

use crate::client::parse_answer;
use crate::output::escape;
use crate::path;
use crate::session::journal_in;
use crate::timespec::{self, TimeError, TimeSpec};

#[global_allocator]
static MEMORY: asof_fuzz::Counting = asof_fuzz::Counting;

const SMALL: Memory = Memory { fixed: 16 << 10, per_byte: 64 };
const TIMES: &[&[u8]] = &[
    b"now",
    b"yesterday",
    b" ago",
    b"minutes",
    b"-",
    b"@",
    b"seq:",
    b"mark:",
    b"2026-11-22",
    b"T",
    b"Z",
    b"+01:00",
    b":",
    b".",
    b"23:59:60",
    b"9999-12-31",
    b"0000-01-01",
    b"18446744073709551615",
    b"4294967295w ",
    b"\xe2\x80\x89",
    b"24:00",
    b"\xc5\xbf",
];

fn now(random: &mut Random) -> DateTime<FixedOffset> {
    let offset = random.pick(&[0, 3600, -12 * 3600, 14 * 3600, 20_700]);
    let zone = FixedOffset::east_opt(offset).unwrap();
    let seconds = random.pick(&[0, 1_700_000_000, 1_774_746_000, -8_000_000_000, 9_000_000_000]);
    zone.timestamp_opt(seconds, 7).unwrap()
}

fn time_text(random: &mut Random) -> String {
    let two = |random: &mut Random, end: usize| format!("{:02}", random.below(end));
    let clock = format!("{}:{}", two(random, 24), two(random, 60));
    let date =
        format!("{:04}-{:02}-{:02}", 1700 + random.below(500), 1 + random.below(12), 1 + random.below(28));
    match random.below(10) {
        0 => "now".into(),
        8 => format!("mark:{}", random.pick(&["a", "before the move", "v1.2", "seq:3", "now", "gr\u{fc}n"])),
        1 => format!("seq:{}", random.number()),
        2 => format!("@{}.{}", random.below(2_000_000_000), random.below(1_000_000)),
        3 => format!("{date}T{clock}:{}.{}Z", two(random, 60), random.below(1000)),
        4 => format!("{date} {clock}"),
        5 => clock,
        6 => format!("yesterday {clock}"),
        7 => {
            format!("{} {} ago", random.below(1000), random.pick(&["ms", "seconds", "min", "h", "days", "w"]))
        }
        _ => format!("-{}m", random.below(10_000)),
    }
}

#[test]
fn times() {
    let valid = |random: &mut Random| {
        let text = time_text(random);
        if let Err(error) = timespec::parse(&text, &now(random)) {
            panic!("{text}: {error}");
        }
        text.into_bytes()
    };
    let check = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        timespec::duration(text);
        let mut random = Random::new(bytes.len() as u64);
        let now = now(&mut random);
        match timespec::parse(text, &now) {
            Ok(TimeSpec::Instant(instant)) => {
                // What is printed for people and scripts is a time again, and the same.
                assert_eq!(timespec::parse(&instant.to_rfc3339(), &now), Ok(TimeSpec::Instant(instant)));
                true
            }
            Ok(TimeSpec::Seq(seq)) => {
                assert_eq!(timespec::parse(&seq.to_string(), &now), Ok(TimeSpec::Seq(seq)));
                true
            }
            Ok(TimeSpec::Mark(name)) => {
                let text = format!("mark:{name}");
                assert_eq!(timespec::parse(&text, &now), Ok(TimeSpec::Mark(name)));
                true
            }
            Ok(TimeSpec::Now) => true,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                false
            }
        }
    };
    Target { name: "time", valid: &valid, mend: &|_| {}, check: &check, memory: SMALL, words: TIMES }.run();
}

/// In a zone with daylight saving every local time has one reading, two, or none, and an answer says which.
#[test]
fn times_in_the_local_zone() {
    let valid = |random: &mut Random| {
        let day = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + chrono::Days::new(random.below(365) as u64);
        format!("{day} {:02}:{:02}", random.below(24), random.below(60)).into_bytes()
    };
    let check = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let now = chrono::Local.timestamp_opt(1_780_000_000, 0).unwrap();
        match timespec::parse(text, &now) {
            Ok(_) => true,
            Err(TimeError::Repeated { first, second, .. } | TimeError::Skipped { first, second, .. }) => {
                let read =
                    |text: &str| DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
                assert!(read(&first).unwrap() < read(&second).unwrap(), "{first} {second}");
                read(&first).unwrap().year() < 10_000
            }
            Err(_) => false,
        }
    };
    Target { name: "local-time", valid: &valid, mend: &|_| {}, check: &check, memory: SMALL, words: TIMES }
        .run();
}

#[test]
fn paths_with_a_time() {
    let valid = |random: &mut Random| {
        let mut path =
            random.pick(&[&b"/a/b"[..], b"x", b"../x@y", b"/\xff\n", b"@", b"a@now", b"./"]).to_vec();
        if random.one_in(2) {
            path.push(b'@');
            path.extend(time_text(random).into_bytes());
        }
        path
    };
    let check = |bytes: &[u8]| {
        let now = now(&mut Random::new(1));
        let path = match timespec::split_path(bytes, &now) {
            Ok(Some((path, time))) => {
                assert!(!path.is_empty() && bytes.starts_with(path) && bytes.get(path.len()) == Some(&b'@'));
                let text = std::str::from_utf8(&bytes[path.len() + 1..]).unwrap();
                assert_eq!(timespec::parse(text, &now), Ok(time), "the rest is the time");
                path
            }
            Ok(None) => bytes,
            Err(_) => return false,
        };
        let absolute = path::absolute(path, b"/home/u");
        assert!(absolute.first() == Some(&b'/') && (absolute.len() == 1 || !absolute.ends_with(b"/")));
        let mut names = absolute.split(|&b| b == b'/').skip(1);
        assert!(absolute == b"/" || names.all(|name| path::is_name(name) || name.contains(&0)));
        assert_eq!(path::absolute(&absolute, b"/elsewhere"), absolute, "an absolute path stays");
        assert_eq!(path::join(path::parent(&absolute), path::name(&absolute)), absolute);
        true
    };
    Target { name: "path", valid: &valid, mend: &|_| {}, check: &check, memory: SMALL, words: TIMES }.run();
}

/// Whatever is in a name, what people see is one line, and says exactly which bytes there are.
#[test]
fn names_for_people() {
    let valid = |random: &mut Random| random.some_bytes(30);
    let check = |bytes: &[u8]| {
        let shown = escape(bytes);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        // Nothing but a backslash begins an escape, and a backslash is always one.
        assert!(shown.is_empty() == bytes.is_empty());
        if !shown.contains('\\') {
            assert_eq!(shown.as_bytes(), bytes);
        }
        true
    };
    let words: &[&[u8]] =
        &[b"\x1b[31m", b"\xe2\x80\xae", b"\r", b"\\", b"\\n", b"\xc2\x9b", b"\xf0\x9f\x98\x80"];
    Target { name: "escape", valid: &valid, mend: &|_| {}, check: &check, memory: SMALL, words }.run();
}

/// What whoever listens on the socket says.
#[test]
fn answers_of_the_agent() {
    let valid = |random: &mut Random| {
        let answer = Answer::Failed { error: "x".repeat(random.below(40)), timed_out: random.one_in(2) };
        let mut line = serde_json::to_vec(&answer).unwrap();
        line.push(b'\n');
        assert_eq!(parse_answer(&line[..]).unwrap(), answer);
        line
    };
    let check = |bytes: &[u8]| parse_answer(bytes).is_ok();
    let memory = Memory { fixed: 64 << 10, per_byte: 100 };
    let words: &[&[u8]] =
        &[b"\n", b"{\"answer\":\"status\"", b"[[[[[[[[[[[[[[", b"null", b"1e9", b"\"roots\":["];
    Target { name: "client", valid: &valid, mend: &|_| {}, check: &check, memory, words }.run();
}

/// The agent's configuration, of which this program wants one key.
#[test]
fn configurations_of_the_agent() {
    let valid = |random: &mut Random| {
        let text = format!(
            "workers = {}\njournal = \"/j{}\"\n[settle]\nquiet_ms = 1\n",
            random.below(9),
            random.below(99)
        );
        assert!(journal_in(&text).is_ok_and(|journal| journal.is_some()), "{text}");
        text.into_bytes()
    };
    let check = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        match journal_in(text) {
            Ok(journal) => journal.is_none_or(|journal| journal.is_absolute()),
            Err(_) => false,
        }
    };
    let memory = Memory { fixed: 64 << 10, per_byte: 2000 };
    let words: &[&[u8]] =
        &[b"[[", b"]]", b"\"\"\"", b"x={x={x={x={x={x={", b"[[[[[[[[[[", b"journal = 7\n", b"\\u0000"];
    Target { name: "configured-journal", valid: &valid, mend: &|_| {}, check: &check, memory, words }.run();
}

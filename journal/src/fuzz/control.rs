//! What is said over the control socket, and the manifest: JSON from others.

use asof_fuzz::{Memory, Random, Target};

use super::values;
use crate::control::{
    Answer, HeldName, OldReader, Outcome, PathBytes, Place, Request, RestoreBegin, Retained, Retention, Root,
    Runaway, State, Status, Synced,
};
use crate::format::FORMAT;
use crate::manifest::Manifest;

/// JSON is kept in pieces while it is read: 32 bytes for a digit and a comma.
const JSON: Memory = Memory { fixed: 64 << 10, per_byte: 100 };
const WORDS: &[&[u8]] = &[
    b"{\"request\":\"sync\",\"timeout_ms\":",
    b"{\"request\":\"mark\",\"name\":\"",
    b"\"paths\":[\"L2E=\",\"=\",\"\"]",
    b"\"answer\":\"status\"",
    b"\"request\":",
    b"null",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":",
    b"1e999",
    b"-1",
    b"18446744073709551616",
    b"\\ud800",
    b"\\u0000",
];

fn json<T>(name: &str, make: impl Fn(&mut Random) -> T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let encode = |value: &T| serde_json::to_vec(value).unwrap_or_else(|error| panic!("{error}"));
    let decode = |bytes: &[u8]| serde_json::from_slice::<T>(bytes).ok();
    let valid = |random: &mut Random| {
        let value = make(random);
        let bytes = encode(&value);
        assert_eq!(decode(&bytes), Some(value), "a value comes back");
        assert!(!bytes.contains(&b'\n'), "one line");
        bytes
    };
    let check = |bytes: &[u8]| match decode(bytes) {
        Some(value) => {
            assert_eq!(decode(&encode(&value)), Some(value), "what was decoded comes back");
            true
        }
        None => false,
    };
    Target { name, valid: &valid, mend: &|_| {}, check: &check, memory: JSON, words: WORDS }.run();
}

#[test]
fn requests() {
    json("request", |random| match random.below(10) {
        0 => Request::Status,
        8 => Request::Configuration,
        1 | 2 => Request::Sync { timeout_ms: random.number() },
        3 => Request::Mark { name: values::text(random), timeout_ms: random.number() },
        4 => Request::RestoreBegin(RestoreBegin {
            at: random.number(),
            paths: values::some(random, 4, |random| PathBytes(values::path(random))),
            exact: random.one_in(2),
            undoes: random.one_in(2).then(|| random.number()),
            timeout_ms: random.number(),
        }),
        5 => Request::Hold {
            what: held(random),
            until_ns: random.one_in(2).then(|| random.signed()),
            timeout_ms: random.number(),
        },
        6 => Request::Release { what: held(random), timeout_ms: random.number() },
        7 => Request::Retain { all: random.one_in(2) },
        _ => Request::RestoreEnd {
            id: random.number(),
            outcome: Outcome {
                created: random.number(),
                overwritten: random.number(),
                deleted: random.number(),
                failed: random.number(),
                bytes: random.number(),
            },
            timeout_ms: random.number(),
        },
    });
}

fn held(random: &mut Random) -> HeldName {
    match random.one_in(2) {
        true => HeldName::Path(PathBytes(values::path(random))),
        false => HeldName::Mark(values::text(random)),
    }
}

fn old_reader(random: &mut Random) -> OldReader {
    OldReader { pid: random.bits() as u32, seconds: random.number() }
}

#[test]
fn answers() {
    json("answer", |random| match random.below(4) {
        0 => Answer::Failed { error: values::text(random), timed_out: random.one_in(2) },
        1 => {
            let seq = random.number();
            Answer::Synced(Synced { instant: values::text(random), seq, at: format!("seq:{seq}") })
        }
        2 => Answer::Retained(Retained {
            segments: random.number(),
            bytes_before: random.number(),
            reader: random.one_in(2).then(|| old_reader(random)),
            damage: values::some(random, 2, values::text),
            ..Retained::default()
        }),
        _ => Answer::Status(Box::new(status(random))),
    });
}

fn status(random: &mut Random) -> Status {
    Status {
        state: random.pick(&[State::Starting, State::Protecting, State::Degraded, State::Stopped]),
        pid: random.one_in(2).then(|| random.bits() as u32),
        roots: values::some(random, 3, |random| Root {
            path: values::text(random),
            watched: random.one_in(2),
            since: random.one_in(2).then(|| values::text(random)),
        }),
        durable: random.one_in(2).then(|| Place { instant: values::text(random), seq: random.number() }),
        lag_ms: random.number(),
        pending: random.number(),
        gaps: random.number(),
        journal_bytes: random.number(),
        journal: values::text(random),
        covered_through: random.one_in(2).then(|| values::text(random)),
        missed_by_events: random.number(),
        oldest_unchecked: random.one_in(2).then(|| values::text(random)),
        checked_bytes: random.number(),
        problems: values::some(random, 3, values::text),
        stretched: values::some(random, 3, values::text),
        runaways: values::some(random, 3, |random| Runaway {
            path: values::text(random),
            path_b64: random.one_in(2).then(|| PathBytes(values::text(random).into_bytes())),
            bytes: random.number(),
            proposals: values::some(random, 2, values::text),
        }),
        retention: random.one_in(2).then(|| Retention {
            looked: random.one_in(2).then(|| values::text(random)),
            freed_bytes: random.number(),
            reader: random.one_in(2).then(|| old_reader(random)),
            damage: values::some(random, 2, values::text),
            ..Retention::default()
        }),
        rpo: Default::default(),
        counters: Default::default(),
    }
}

#[test]
fn manifests() {
    let parse = |bytes: &[u8]| Manifest::parse(std::str::from_utf8(bytes).ok()?, "journal.json".into()).ok();
    let valid = |random: &mut Random| {
        let key: [u8; 32] = random.array();
        let key = data_encoding::HEXLOWER.encode(&key);
        let uuid = uuid::Uuid::from_bytes(random.array());
        let text = format!(
            "{{ \"format\": {FORMAT}, \"features\": [], \"uuid\": \"{uuid}\", \"created_unix_ns\": {}, \"id_key\": \"{key}\" }}",
            random.signed()
        );
        assert!(parse(text.as_bytes()).is_some_and(|manifest| manifest.uuid == uuid), "{text}");
        text.into_bytes()
    };
    let check = |bytes: &[u8]| match parse(bytes) {
        Some(manifest) => {
            assert_eq!(manifest.format, FORMAT, "a format that is not known");
            true
        }
        None => false,
    };
    let words: &[&[u8]] =
        &[b"\"features\": [\"encryption\"]", b"\"format\": 1", b"99", b"-1", b"null", b"[[[[[["];
    Target { name: "manifest", valid: &valid, mend: &|_| {}, check: &check, memory: JSON, words }.run();
}

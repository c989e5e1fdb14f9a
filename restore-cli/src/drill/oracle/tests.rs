//! What an oracle believes of whom: witnesses of the instant, of before and after it, the live tree.

use std::collections::BTreeSet;

use asof_journal::types::{Policy, Seq};

use super::super::report::Stamp;
use super::super::witness::{Line, Writer};
use super::*;

/// An instant after everything that a test has written.
fn later() -> Instant {
    Instant(chrono::Utc::now().timestamp_nanos_opt().unwrap() + 60_000_000_000)
}

fn moment(instant: Instant, seq: u64) -> Moment {
    Moment { seq: Seq(seq), instant, epoch: 0, asked: instant }
}

fn ask(spec: &OracleSpec, moment: &Moment, paths: &[&str]) -> Oracle {
    let wanted: BTreeSet<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let rules = Rules::new(&Policy::default()).unwrap();
    let case =
        Case { moment, journal: "j", rules: &rules, wanted: Wanted::Paths(&wanted), now: later(), at: None };
    Oracle::ask(spec, &case)
}

fn witness(dir: &Path, instant: Instant, seq: u64, lines: &[(&str, i64, bool)]) -> PathBuf {
    let path = dir.join(format!("{seq}.{ENDING}"));
    let header = Header::new("j".into(), Stamp(instant), seq, &[b"/".to_vec()]);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    for (path, ctime_ns, changed) in lines {
        let kind = if path.ends_with("dir") { "dir" } else { "file" };
        let seen =
            Seen { kind: kind.into(), ctime_ns: *ctime_ns, blake3: Some("hash".into()), ..Seen::default() };
        writer.add(&Line { name: Name::new(path.as_bytes()), seen, changed: *changed }).unwrap();
    }
    std::fs::write(&path, writer.finish().unwrap().0).unwrap();
    path
}

fn standing(oracle: &Oracle, path: &str) -> Option<Standing> {
    oracle.get(path.as_bytes()).map(|known| known.standing)
}

#[test]
fn the_live_tree_counts_where_it_is_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    let spec = OracleSpec::default();
    let oracle = ask(&spec, &moment(later(), 1), &[file, "/no/such/file"]);
    assert_eq!(standing(&oracle, file), Some(Standing::Certain));
    assert_eq!(standing(&oracle, "/no/such/file"), None);
    // Of an instant before it was written it says nothing.
    let oracle = ask(&spec, &moment(Instant(0), 1), &[file]);
    assert_eq!(standing(&oracle, file), None);
    let oracle = ask(&OracleSpec { live: false, ..spec }, &moment(later(), 1), &[file]);
    assert_eq!(standing(&oracle, file), None);
}

#[test]
fn a_witness_of_the_instant_itself_counts_whatever_the_times_and_one_of_later_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let (at, after) = (Instant(1_000_000_000_000), Instant(2_000_000_000_000));
    let lines = [
        ("/a/file", at.0, false),
        ("/a/written-since", at.0, true),
        ("/b-dir", after.0, false),
        ("/b-dir/file", 5, false),
        ("/old", 5, false),
    ];
    let spec = |path: PathBuf| OracleSpec { witness: vec![path], live: false, ..OracleSpec::default() };
    let paths = ["/a/file", "/a/written-since", "/b-dir", "/b-dir/file", "/old"];
    let exact = ask(&spec(witness(dir.path(), at, 7, &lines)), &moment(at, 7), &paths);
    assert_eq!(standing(&exact, "/a/file"), Some(Standing::Certain));
    assert_eq!(standing(&exact, "/a/written-since"), None, "nobody knows what it was then");
    assert_eq!(exact.evidence.len(), 1);
    let later = ask(&spec(witness(dir.path(), after, 9, &lines)), &moment(at, 7), &paths);
    assert_eq!(standing(&later, "/a/file"), None, "written at the instant or after it");
    assert_eq!(standing(&later, "/old"), Some(Standing::Certain));
    assert_eq!(
        standing(&later, "/b-dir/file"),
        Some(Standing::Likely),
        "the directory may have been another"
    );
    assert!(!later.knows_names_of(b"/b-dir"));
    // One of before the instant says nothing of what is not there any more, and that is said.
    let before = ask(&spec(witness(dir.path(), at, 7, &lines)), &moment(after, 9), &paths);
    assert_eq!(standing(&before, "/old"), None);
    assert!(before.remarks[0].contains("5 of its paths changed since"), "{:?}", before.remarks);
}

#[test]
fn an_earlier_witness_counts_where_the_file_has_the_same_times_still() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let name = path.to_str().unwrap();
    let seen = super::super::observe::observe(&path, true).unwrap().unwrap();
    let at = Instant(seen.ctime_ns + 1_000_000_000);
    let to = dir.path().join("7.witness");
    let header = Header::new("j".into(), Stamp(at), 7, &[b"/".to_vec()]);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    writer.add(&Line { name: Name::new(name.as_bytes()), seen, changed: false }).unwrap();
    std::fs::write(&to, writer.finish().unwrap().0).unwrap();
    let spec = OracleSpec { witness: vec![to], live: false, ..OracleSpec::default() };
    let after = moment(Instant(at.0 + 1_000_000_000), 9);
    assert_eq!(standing(&ask(&spec, &after, &[name]), name), Some(Standing::Certain));
    std::fs::write(&path, "y").unwrap();
    assert_eq!(standing(&ask(&spec, &after, &[name]), name), None);
}

#[test]
fn of_several_witnesses_the_one_of_the_instant_is_taken_and_then_the_next() {
    let dir = tempfile::tempdir().unwrap();
    for seq in [3, 5, 7, 9] {
        witness(dir.path(), Instant(seq * 1_000_000_000_000), seq as u64, &[("/x", 1, false)]);
    }
    let spec = OracleSpec { witness: vec![dir.path().to_path_buf()], live: false, ..OracleSpec::default() };
    let names = |seq: i64| {
        let oracle = ask(&spec, &moment(Instant(seq * 1_000_000_000_000), seq as u64), &["/x"]);
        oracle
            .evidence
            .iter()
            .map(|of| of.path.path.rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(5), ["5.witness", "7.witness", "3.witness"]);
    assert_eq!(names(6), ["7.witness", "5.witness"]);
    assert_eq!(names(10), ["9.witness"]);
}

#[test]
fn an_old_or_foreign_or_broken_witness_is_of_no_use_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = Instant(1_000_000_000_000);
    let path = witness(dir.path(), at, 7, &[("/x", 1, false)]);
    let day = super::super::spec::Length(std::time::Duration::from_secs(86_400));
    let spec =
        OracleSpec { witness: vec![path.clone()], live: false, max_age: Some(day), ..OracleSpec::default() };
    let old = ask(&spec, &moment(at, 7), &["/x"]);
    assert_eq!(standing(&old, "/x"), None);
    assert!(old.remarks[0].contains("max_age"), "{:?}", old.remarks);
    let spec = OracleSpec { max_age: None, ..spec };
    let wanted = BTreeSet::from([b"/x".to_vec()]);
    let rules = Rules::new(&Policy::default()).unwrap();
    let case = Case {
        moment: &moment(at, 7),
        journal: "other",
        rules: &rules,
        wanted: Wanted::Paths(&wanted),
        now: later(),
        at: None,
    };
    assert!(Oracle::ask(&spec, &case).remarks[0].contains("another journal"));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    let broken = ask(&spec, &moment(at, 7), &["/x"]);
    assert_eq!(standing(&broken, "/x"), None);
    assert!(broken.remarks[0].contains("no use"), "{:?}", broken.remarks);
}

#[test]
fn a_list_of_hashes_says_what_was_there_at_its_instant_and_proves_what_equals_it_at_others() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("dir");
    std::fs::create_dir(&tree).unwrap();
    let known = tree.join("known");
    std::fs::write(&known, "x").unwrap();
    let (tree, known) = (tree.to_str().unwrap().to_owned(), known.to_str().unwrap().to_owned());
    let file = dir.path().join("sums");
    let one = "a1".repeat(32);
    std::fs::write(&file, format!("{one}  {known}\n{one}  {tree}/later\n{one}  /gone/file\n")).unwrap();
    let mark = |name: &str| At::Time(format!("mark:{name}"));
    let list = |at| SumSpec { file: file.clone(), hash: Default::default(), at, below: None };
    let spec = |at, live| OracleSpec { sums: vec![list(at)], live, ..OracleSpec::default() };
    let paths = [tree.as_str(), &known, &format!("{tree}/later"), "/gone/file"];
    let wanted: BTreeSet<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
    let rules = Rules::new(&Policy::default()).unwrap();
    let ask = |spec: &OracleSpec, at: Option<&At>| {
        let moment = moment(later(), 1);
        let wanted = Wanted::Paths(&wanted);
        Oracle::ask(spec, &Case { moment: &moment, journal: "j", rules: &rules, wanted, now: later(), at })
    };
    let exact = ask(&spec(Some(mark("m")), false), Some(&mark("m")));
    assert_eq!(standing(&exact, "/gone/file"), Some(Standing::Certain));
    assert_eq!(standing(&exact, &known), Some(Standing::Certain));
    assert!(exact.wants_sha256(b"/gone/file") && exact.evidence[0].what == "list of hashes, SHA-256");
    for (at, when) in [(Some(mark("m")), mark("other")), (None, mark("m")), (Some(mark("m")), At::Latest)] {
        let other = ask(&spec(at, false), Some(&when));
        assert_eq!(standing(&other, "/gone/file"), Some(Standing::Likely), "{when:?}");
    }
    // The live tree knows its file, and that the other name is of later.
    let live = ask(&spec(None, true), None);
    assert_eq!(standing(&live, &known), Some(Standing::Certain));
    assert!(!live.wants_sha256(known.as_bytes()));
    assert_eq!(standing(&live, &format!("{tree}/later")), None);
    assert!(
        live.remarks.iter().any(|remark| remark.contains("1 name in it had not been there")),
        "{:?}",
        live.remarks
    );
    let old = OracleSpec {
        max_age: Some(crate::drill::spec::Length(std::time::Duration::from_secs(1))),
        ..spec(Some(mark("m")), false)
    };
    let old = ask(&old, Some(&mark("m")));
    assert!(old.evidence.is_empty() && old.remarks[0].contains("does not count"), "{:?}", old.remarks);
}

//! Tests of the store: what was done to it from outside is noticed, what a crash leaves is not taken for that.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::drill::sample;

fn store_of(count: u64) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&dir.path().join("state"), "j");
    for number in 1..=count {
        let kept = store.append(sample::report(number)).unwrap();
        assert_eq!(kept.report.chain.number, number);
    }
    (dir, store)
}

fn said(store: &Store) -> Vec<String> {
    store.past().unwrap().breaks.into_iter().map(|at| at.what).collect()
}

#[test]
fn reports_are_a_chain_for_their_owner_alone() {
    let (_dir, store) = store_of(3);
    let past = store.past().unwrap();
    assert_eq!(past.breaks, []);
    let hashes: Vec<_> = past.reports.iter().map(|kept| kept.report.chain.previous_hash.clone()).collect();
    assert_eq!(hashes, [None, Some(past.reports[0].hash.clone()), Some(past.reports[1].hash.clone())]);
    assert_eq!(past.reports[1].hash, hash(&fs::read(&past.reports[1].file).unwrap()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.dir()), 0o700);
    assert_eq!(mode(&past.reports[0].file), 0o600);
    assert_eq!(mode(&store.dir().join(HEAD)), 0o600);
    let names = fs::read_dir(store.dir().join(REPORTS)).unwrap().count();
    assert_eq!(names, 3, "nothing that was written aside is left");
}

#[test]
fn a_store_that_is_not_there_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let past = Store::new(dir.path(), "none").past().unwrap();
    assert!(past.reports.is_empty() && past.breaks.is_empty());
}

#[test]
fn a_report_that_was_edited_is_noticed() {
    for number in 1..=3 {
        let (_dir, store) = store_of(3);
        let text = fs::read_to_string(store.file(number)).unwrap();
        fs::write(store.file(number), text.replacen("\"why\": \"", "\"why\": \"really: ", 1)).unwrap();
        let said = said(&store);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("report {number} was changed")), "{said:?}");
        // What comes later does not heal it, and does not add to it.
        store.append(sample::report(4)).unwrap();
        assert_eq!(store.past().unwrap().breaks.len(), 1);
    }
}

#[test]
fn a_report_that_was_removed_is_noticed() {
    for number in 1..=3 {
        let (_dir, store) = store_of(3);
        fs::remove_file(store.file(number)).unwrap();
        assert_eq!(said(&store), [format!("report {number} is gone")]);
        let next = store.append(sample::report(4)).unwrap();
        assert_eq!(next.report.chain.number, 4);
        assert_eq!(said(&store), [format!("report {number} is gone")]);
    }
    let (_dir, store) = store_of(4);
    fs::remove_file(store.file(3)).unwrap();
    fs::remove_file(store.file(4)).unwrap();
    assert_eq!(said(&store), ["reports 3 to 4 are gone"]);
}

#[test]
fn a_report_that_is_none_any_more_is_noticed() {
    let (_dir, store) = store_of(3);
    fs::write(store.file(2), "{").unwrap();
    let said = said(&store);
    assert!(said.iter().any(|what| what.starts_with("report 2 cannot be read")), "{said:?}");
    assert_eq!(store.past().unwrap().reports.len(), 2);
}

#[test]
fn reports_that_changed_places_are_noticed() {
    let (_dir, store) = store_of(3);
    let (one, two) = (fs::read(store.file(1)).unwrap(), fs::read(store.file(2)).unwrap());
    fs::write(store.file(1), two).unwrap();
    fs::write(store.file(2), one).unwrap();
    let said = said(&store);
    assert!(said.iter().any(|what| what == "report 1 says that it is report 2"), "{said:?}");
}

#[test]
fn a_head_that_is_gone_or_behind_is_noticed() {
    let (_dir, store) = store_of(3);
    let old = fs::read(store.dir().join(HEAD)).unwrap();
    store.append(sample::report(4)).unwrap();
    // As a crash between the two writes leaves it.
    fs::write(store.dir().join(HEAD), &old).unwrap();
    assert!(said(&store).is_empty());
    assert_eq!(store.append(sample::report(5)).unwrap().report.chain.number, 5);
    assert!(said(&store).is_empty());
    fs::write(store.dir().join(HEAD), &old).unwrap();
    assert_eq!(said(&store), ["the head says that report 3 is the newest"]);
    fs::remove_file(store.dir().join(HEAD)).unwrap();
    assert_eq!(said(&store), ["the head, which knows the newest report, is gone"]);
}

#[test]
fn a_directory_that_others_may_write_to_is_refused() {
    let (_dir, store) = store_of(1);
    fs::set_permissions(store.dir(), fs::Permissions::from_mode(0o770)).unwrap();
    let error = store.append(sample::report(2)).unwrap_err();
    assert!(error.to_string().contains("others may write to it"), "{error}");
    assert_eq!(store.past().unwrap().reports.len(), 1);
}

#[test]
fn only_names_that_the_store_gives_are_reports() {
    assert_eq!(number_of("00000012.json"), Some(12));
    for name in ["12.json", "00000000.json", "00000012.json~", "+0000012.json", ".asof-drill-x"] {
        assert_eq!(number_of(name), None, "{name}");
    }
}

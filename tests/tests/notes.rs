//! Notes about restores into the live tree: through the control socket into the journal, and out of it again.

use std::fs;

use asof_journal::control::{Answer, Outcome, PathBytes, Request, RestoreBegin, Synced};
use asof_journal::reader::Reader;
use asof_journal::storage::Layout;
use asof_journal::types::{RestoreOutcome, Seq};
use asof_tests::control::Control;
use asof_tests::must::Must;
use asof_tests::site::Site;

const TIMEOUT_MS: u64 = 60_000;

fn begin(at: u64, paths: &[&[u8]], undoes: Option<u64>) -> Request {
    let paths = paths.iter().map(|path| PathBytes(path.to_vec())).collect();
    Request::RestoreBegin(RestoreBegin { at, paths, exact: true, undoes, timeout_ms: TIMEOUT_MS })
}

fn end(id: u64, created: u64) -> Request {
    let outcome = Outcome { created, ..Outcome::default() };
    Request::RestoreEnd { id, outcome, timeout_ms: TIMEOUT_MS }
}

#[track_caller]
fn noted(control: &mut Control, request: &Request) -> Synced {
    match control.ask(request).must("an answer") {
        Answer::Synced(synced) => synced,
        other => panic!("{request:?}: {other:?}"),
    }
}

#[track_caller]
fn refused(control: &mut Control, request: &Request, why: &str) {
    match control.ask(request).must("an answer") {
        Answer::Failed { error, timed_out: false } => assert!(error.contains(why), "{error}"),
        other => panic!("{request:?}: {other:?}"),
    }
}

#[test]
fn a_restore_is_noted_behind_everything_that_was_there_and_what_it_did() {
    let site = Site::new();
    fs::write(site.root.join("a"), "one").must("a file");
    let agent = site.start();
    let first = site.sync();
    let mut control = Control::connect(&Layout::new(&site.journal).socket()).must("a connection");
    fs::write(site.root.join("a"), "before the restore").must("a file");
    let begun = noted(&mut control, &begin(first.seq, &[b"/home/\xff", b"/"], None));
    fs::write(site.root.join("a"), "one").must("a file");
    let ended = noted(&mut control, &end(begun.seq, 7));
    let again = noted(&mut control, &begin(begun.seq, &[b"/home/\xff"], Some(begun.seq)));
    assert!(first.seq < begun.seq && begun.seq < ended.seq && ended.seq < again.seq);

    refused(&mut control, &end(begun.seq, 1), "has ended already");
    refused(&mut control, &end(first.seq, 1), "no restore began");
    refused(&mut control, &begin(1 << 40, &[b"/a"], None), "is not in the journal");
    refused(&mut control, &begin(first.seq, &[b"/a"], Some(first.seq)), "no restore began");
    refused(&mut control, &begin(first.seq, &[], None), "a restore of nothing");
    for path in [&b"a"[..], b"/a/../b", b"/a//b", b"/a\0"] {
        refused(&mut control, &begin(first.seq, &[path], None), "no plain absolute path");
    }
    // Right before it, and right behind it.
    let path = site.root.join("a");
    let cat =
        |at: &str| site.asof(asof_tests::site::arguments(&[&"cat", &path, &"--at", &at])).exits(0).text();
    assert_eq!(
        (cat(&begun.at), cat(&begun.instant)),
        ("before the restore".into(), "before the restore".into())
    );
    assert_eq!(cat(&ended.at), "one");

    let check = |when: &str| {
        let reader = Reader::open(&site.journal).must("a reader");
        let restores = reader.restores().must("restores");
        let [one, other] = restores.as_slice() else { panic!("{when}: {restores:?}") };
        assert_eq!((one.begun.seq, one.what.at), (Seq(begun.seq), Seq(first.seq)), "{when}");
        assert_eq!(one.what.paths, [b"/home/\xff".to_vec(), b"/".to_vec()], "{when}");
        assert!(one.what.exact && one.what.undoes.is_none(), "{when}");
        let outcome = RestoreOutcome { created: 7, ..RestoreOutcome::default() };
        assert_eq!(one.done.map(|(moment, outcome)| (moment.seq, outcome)), Some((Seq(ended.seq), outcome)));
        assert_eq!((other.begun.seq, other.what.undoes), (Seq(again.seq), Some(Seq(begun.seq))), "{when}");
        assert_eq!(other.done, None, "{when}");
    };
    check("beside the agent");
    agent.terminate();
    check("without it");
    fs::remove_dir_all(Layout::new(&site.journal).index()).must("the index");
    check("without an index");
    site.asof(["verify", "--deep"]).exits(0);
}

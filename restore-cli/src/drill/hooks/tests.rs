//! Tests of the hooks, with a monitor on this machine that answers as it is told.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;
use crate::drill::sample;

const LONG: Duration = Duration::from_secs(60);
/// For what is not going to answer.
const SHORT: Duration = Duration::from_millis(300);

fn about(report: Option<&Report>) -> About<'_> {
    About { drill: "workstation \"weekly\"", report }
}

/// A monitor that takes one request, gives an answer, and hands back the request's first line.
fn monitor(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ping/secret-uuid/fail?rid=1", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let first = lines.next().unwrap_or_default();
        let _headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let _ = (&stream).write_all(answer.as_bytes());
        first
    });
    (url, heard)
}

fn sh(script: &str) -> HookTo {
    HookTo::Command(vec!["/bin/sh".into(), "-c".into(), script.into()])
}

fn tell_sh(script: &str, event: Event, report: Option<&Report>) -> Hook {
    tell_one(&sh(script), event, &about(report), LONG, LONG)
}

#[test]
fn a_monitor_is_asked_once_and_what_is_secret_in_its_address_is_not_repeated() {
    let (url, heard) = monitor("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nOK");
    let hooks = HookSpec { failure: vec![HookTo::Url(url)], ..HookSpec::default() };
    let told = tell(&hooks, Event::of(Outcome::Inconclusive), &about(None));
    assert_eq!(heard.join().unwrap(), "GET /ping/secret-uuid/fail?rid=1 HTTP/1.1");
    assert_eq!(told.len(), 1);
    assert!(told[0].done && told[0].message == "HTTP 200" && told[0].event == "failure", "{told:?}");
    assert!(!told[0].what.contains("secret"), "{}", told[0].what);
    assert_eq!(warnings(&told).count(), 0);
}

#[test]
fn a_monitor_that_refuses_is_a_warning() {
    let (url, heard) =
        monitor("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let told = [tell_one(&HookTo::Url(url), Event::Success, &about(None), LONG, LONG)];
    heard.join().unwrap();
    assert_eq!((told[0].done, told[0].message.as_str()), (false, "HTTP 503"));
    let warning = warnings(&told).next().unwrap();
    assert!(warning.contains("the success of the drill could not be told to http://127.0.0.1"), "{warning}");
}

#[test]
fn a_monitor_that_is_not_there_or_says_nothing_is_a_warning() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for url in [format!("http://{closed}/"), format!("http://{}/", silent.local_addr().unwrap())] {
        let told = tell_one(&HookTo::Url(url), Event::Start, &about(None), SHORT, LONG);
        assert!(!told.done && !told.message.is_empty(), "{told:?}");
    }
}

#[test]
fn a_monitor_with_tls_that_nobody_vouches_for_is_not_reached() {
    // Whatever answers here does not speak TLS: what matters is that a handshake is tried at all.
    let (url, heard) = monitor("no TLS here\r\n\r\n");
    let told =
        tell_one(&HookTo::Url(url.replace("http:", "https:")), Event::Start, &about(None), SHORT, LONG);
    assert!(!told.done, "{told:?}");
    assert!(!heard.join().unwrap().starts_with("GET"));
}

#[test]
fn a_program_finds_the_verdict_in_its_environment_and_the_report_at_its_input() {
    let report = sample::report(7);
    let said = tell_sh(
        "echo $ASOF_DRILL_EVENT \"$ASOF_DRILL_NAME\" $ASOF_DRILL_OUTCOME; grep -c asof-drill-report/1",
        Event::Failure,
        Some(&report),
    );
    assert_eq!(said.message, "status 0: failure workstation \"weekly\" fail; 1");
    assert_eq!((said.done, said.what.as_str()), (true, "/bin/sh"));
    let said = tell_sh("echo ${ASOF_DRILL_OUTCOME-unset}; wc -c", Event::Start, None);
    assert_eq!(said.message, "status 0: unset; 0");
}

#[test]
fn a_program_that_fails_or_is_not_there_is_a_warning() {
    let failed = tell_sh("echo 'no \u{1b}[31mmail' >&2; exit 7", Event::Success, None);
    assert_eq!((failed.done, failed.message.as_str()), (false, "status 7: no \\x1b[31mmail"));
    let absent = HookTo::Command(vec!["/nonexistent/program".into(), "--token=secret".into()]);
    let absent = tell_one(&absent, Event::Success, &about(None), LONG, LONG);
    assert!(!absent.done && absent.message.starts_with("it could not be started"), "{absent:?}");
    assert!(!format!("{absent:?}").contains("secret"));
}

#[test]
fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let told = tell_one(&sh(&script), Event::Start, &about(None), LONG, Duration::from_millis(500));
    assert!(!told.done && told.message.starts_with("it was ended after"), "{told:?}");
    let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // Whoever inherits it may take a moment to bury it.
    let gone = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    while !gone() {
        interrupt::pause(POLL);
    }
}

#[test]
fn addresses_are_checked_before_anything_is_run() {
    for url in ["http://hc.example/x", "https://hc.example:8443/x?y=z"] {
        assert_eq!(check(&HookTo::Url(url.into())), Ok(()));
    }
    for url in ["ftp://x/", "hc.example/x", "http://", "", "https:///x", "mailto:x@y"] {
        assert!(check(&HookTo::Url(url.into())).is_err(), "{url}");
    }
    assert!(check(&HookTo::Command(Vec::new())).is_err());
    assert!(check(&sh("true")).is_ok());
}

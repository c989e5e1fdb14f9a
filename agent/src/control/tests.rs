//! Tests over a real socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::testdir::TestDir;
use asof_journal::control::Synced;

/// Answers syncs with their own timeout until the control thread is gone; forgets what asks for 13.
fn answer_all(layout: &Layout) -> (Control, thread::JoinHandle<()>) {
    let (events, queue) = crossbeam_channel::bounded(1);
    let control = Control::start::<ControlEvent>(layout, events).expect("started");
    let loop_thread = thread::spawn(move || {
        let mut forgotten = Vec::new();
        for event in queue {
            let ControlEvent::Request(ControlRequest { request, reply }) = event else {
                continue;
            };
            match request {
                Request::Sync { timeout_ms: 13 } => forgotten.push(reply),
                Request::Sync { timeout_ms: seq } => {
                    let synced = Synced { instant: String::new(), seq, at: format!("seq:{seq}") };
                    reply.send(Answer::Synced(synced)).expect("somebody waits");
                }
                _ => drop(reply),
            }
        }
    });
    (control, loop_thread)
}

fn ask(stream: &mut BufReader<UnixStream>, line: &str) -> Answer {
    stream.get_mut().write_all(format!("{line}\n").as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_line(&mut answer).expect("read");
    serde_json::from_str(&answer).expect("an answer")
}

fn connect(layout: &Layout) -> BufReader<UnixStream> {
    BufReader::new(UnixStream::connect(layout.socket()).expect("connected"))
}

#[test]
fn requests_are_answered_several_a_connection_and_garbage_refused() {
    let dir = TestDir::create();
    let layout = Layout::new(dir.path());
    let (control, loop_thread) = answer_all(&layout);
    let mode = std::fs::metadata(layout.socket()).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = connect(&layout);
    for seq in 100..103 {
        let answer = ask(&mut stream, &format!("{{\"request\":\"sync\",\"timeout_ms\":{seq},\"new\":1}}"));
        assert!(matches!(answer, Answer::Synced(Synced { seq: answered, .. }) if answered == seq));
    }
    assert!(matches!(ask(&mut stream, "{\"request\":\"dance\"}"), Answer::Failed { .. }));
    assert!(
        matches!(ask(&mut stream, "{\"request\":\"status\"}"), Answer::Failed { .. }),
        "dropped unanswered"
    );
    let answer = ask(&mut stream, "{\"request\":\"sync\",\"timeout_ms\":7}");
    assert!(matches!(answer, Answer::Synced(_)), "the connection lives on");
    drop(control);
    assert!(!layout.socket().exists());
    loop_thread.join().expect("joined");
}

#[test]
fn what_waits_for_an_answer_is_told_of_the_shutdown() {
    let dir = TestDir::create();
    let layout = Layout::new(dir.path());
    let (control, loop_thread) = answer_all(&layout);
    let waiting = {
        let mut stream = connect(&layout);
        thread::spawn(move || ask(&mut stream, "{\"request\":\"sync\",\"timeout_ms\":13}"))
    };
    // An answer to a later request shows that the earlier one may have arrived; either way it is told.
    ask(&mut connect(&layout), "{\"request\":\"sync\",\"timeout_ms\":1}");
    let mut idle = connect(&layout);
    ask(&mut idle, "{\"request\":\"sync\",\"timeout_ms\":1}");
    drop(control);
    assert!(matches!(waiting.join().expect("joined"), Answer::Failed { .. }));
    assert_eq!(idle.read(&mut [0]).expect("closed"), 0);
    loop_thread.join().expect("joined");
}

#[test]
fn lines_and_connections_are_limited() {
    let dir = TestDir::create();
    let layout = Layout::new(dir.path());
    let (control, loop_thread) = answer_all(&layout);
    let mut long = connect(&layout);
    long.get_mut().write_all(&vec![b' '; LINE_BYTES_MAX as usize]).expect("written");
    let mut answer = String::new();
    long.read_line(&mut answer).expect("read");
    assert!(answer.contains(&format!("longer than {LINE_BYTES_MAX}")), "{answer}");
    let mut open = Vec::new();
    while open.len() < CONNECTIONS_MAX {
        let mut stream = connect(&layout);
        // The one before may not be closed yet.
        if stream.get_mut().write_all(b"{\"request\":\"sync\",\"timeout_ms\":1}\n").is_err() {
            continue;
        }
        let mut answer = String::new();
        if stream.read_line(&mut answer).is_ok() && answer.contains("seq:1") {
            open.push(stream);
        }
    }
    let mut refused = String::new();
    connect(&layout).read_line(&mut refused).expect("read");
    assert!(refused.contains("try again"), "{refused}");
    drop(control);
    loop_thread.join().expect("joined");
}

#[test]
fn a_left_over_socket_is_replaced_and_a_file_is_not() {
    let dir = TestDir::create();
    let layout = Layout::new(dir.path());
    drop(std::os::unix::net::UnixListener::bind(layout.socket()).expect("bound"));
    let (control, loop_thread) = answer_all(&layout);
    ask(&mut connect(&layout), "{\"request\":\"sync\",\"timeout_ms\":1}");
    drop(control);
    loop_thread.join().expect("joined");
    std::fs::write(layout.socket(), "precious").expect("write");
    let (events, _queue) = crossbeam_channel::unbounded();
    let error = Control::start::<ControlEvent>(&layout, events).expect_err("refused");
    assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
    assert!(layout.socket().exists());
}

#[test]
fn a_long_path_is_bound_through_its_directory() {
    let dir = TestDir::create();
    let deep = dir.join("x".repeat(120));
    std::fs::create_dir(&deep).expect("mkdir");
    let layout = Layout::new(&deep);
    let (control, loop_thread) = answer_all(&layout);
    let open = File::open(&deep).expect("open");
    let short = format!("/proc/self/fd/{}/agent.sock", open.as_raw_fd());
    let mut stream = BufReader::new(UnixStream::connect(short).expect("connected"));
    assert!(matches!(ask(&mut stream, "{\"request\":\"sync\",\"timeout_ms\":1}"), Answer::Synced(_)));
    drop(control);
    assert!(!layout.socket().exists());
    loop_thread.join().expect("joined");
}

#[test]
fn signals_become_events() {
    let dir = TestDir::create();
    let layout = Layout::new(dir.path());
    let (events, queue) = crossbeam_channel::unbounded();
    let control = Control::start::<ControlEvent>(&layout, events).expect("started");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        // From here on the process survives both: the handlers stay for good.
        rustix::process::kill_process(rustix::process::getpid(), signal).expect("sent");
        let event = queue.recv_timeout(Duration::from_secs(20)).expect("an event");
        assert!(matches!(event, ControlEvent::Stop));
    }
    drop(control);
}

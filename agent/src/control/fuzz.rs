//! Fuzz target: what arrives on a connection, in pieces of any size.

use asof_fuzz::{Memory, Random, Target};
use asof_journal::control::Synced;

use super::*;

/// A line is kept whole and parsed into pieces; a connection has its buffers.
const MEMORY: Memory = Memory { fixed: 512 << 10, per_byte: 200 };
const WORDS: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"{\"request\":\"status\"}\n",
    b"{\"request\":\"sync\",\"timeout_ms\":",
    b"\0",
    b"\xff",
];

/// Whoever sends it waits this long for what comes back; nothing here waits for a clock.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stands in for the main loop: syncs get their own timeout back, other requests are dropped.
async fn answer_syncs(queue: crossbeam_channel::Receiver<ControlEvent>) {
    loop {
        while let Ok(event) = queue.try_recv() {
            if let ControlEvent::Request(ControlRequest { request: Request::Sync { timeout_ms }, reply }) =
                event
            {
                let at = format!("seq:{timeout_ms}");
                let _ = reply.send(Answer::Synced(Synced { instant: String::new(), seq: timeout_ms, at }));
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Sends the input and hangs up; what came back.
async fn talk(input: &[u8]) -> Vec<u8> {
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let (events, queue) = crossbeam_channel::unbounded::<ControlEvent>();
    let (stop, stopped) = watch::channel(false);
    let client = async {
        let (mut reader, mut writer) = ours.into_split();
        let send = async {
            // The other end hangs up on whoever says too much.
            let _ = writer.write_all(input).await;
            drop(writer);
        };
        let mut answers = Vec::new();
        let receive = async {
            let _ = reader.read_to_end(&mut answers).await;
        };
        tokio::join!(send, receive);
        answers
    };
    let answers = tokio::select! {
        (answers, _) = async { tokio::join!(client, converse(theirs, Outlet { events }, stopped)) } => answers,
        () = answer_syncs(queue) => Vec::new(),
        () = tokio::time::sleep(PATIENCE) => panic!("a connection that was hung up on is still open"),
    };
    drop(stop);
    answers
}

#[test]
fn connections() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let valid = |random: &mut Random| {
        let mut input = Vec::new();
        for _ in 0..random.below(4) {
            let request = match random.below(4) {
                0 => Request::Status,
                1 => Request::Mark { name: random.below(9).to_string(), timeout_ms: random.number() },
                _ => Request::Sync { timeout_ms: random.number() },
            };
            input.extend(serde_json::to_vec(&request).expect("a request"));
            input.push(b'\n');
        }
        if random.one_in(20) {
            let len = LINE_BYTES_MAX as usize - 10 + random.below(20);
            input.extend(vec![b' '; len]);
        }
        input
    };
    let check = |input: &[u8]| {
        let answers = runtime.block_on(talk(input));
        let answers: Vec<Answer> = answers
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).expect("every line is an answer"))
            .collect();
        // One answer for each line up to the first that is too long; what follows the last newline is a line, too.
        let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
        let fits = |line: &&&[u8]| {
            line.len() < LINE_BYTES_MAX as usize
                || line.ends_with(b"\n") && line.len() == LINE_BYTES_MAX as usize
        };
        let answered = lines.iter().take_while(fits).count();
        assert_eq!(answers.len(), answered + usize::from(answered < lines.len()), "{} lines", lines.len());
        for (line, answer) in lines.iter().zip(&answers) {
            let understood = serde_json::from_slice::<Request>(line);
            match (understood, answer) {
                (Ok(Request::Sync { timeout_ms }), Answer::Synced(synced)) => {
                    assert_eq!(synced.seq, timeout_ms)
                }
                (Ok(Request::Sync { .. }), _) => panic!("a sync got {answer:?}"),
                (_, Answer::Failed { .. }) => {}
                (understood, answer) => panic!("{understood:?} was answered with {answer:?}"),
            }
        }
        answers.iter().any(|answer| matches!(answer, Answer::Synced(_)))
    };
    Target { name: "connection", valid: &valid, mend: &|_| {}, check: &check, memory: MEMORY, words: WORDS }
        .run();
}

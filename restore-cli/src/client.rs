//! The client side of the control socket: one request, one answer.
//!
//! Knows how to reach the agent and nothing of what its answers mean.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use asof_journal::control::{Answer, Request};
use asof_journal::storage::Layout;
use rustix::fs::{Mode, OFlags};

use crate::errors::{Error, Result};
use crate::output::escape;

/// The longest path that a socket address holds, without its final zero.
const ADDRESS_BYTES_MAX: usize = 107;
/// An answer longer than this is none.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A connection to the agent of one journal.
pub(crate) struct Client {
    stream: UnixStream,
    shown: String,
}

impl Client {
    /// Connects to the agent; `None` where none is running.
    ///
    /// Errors: there is a socket that this user may not use.
    pub(crate) fn connect(journal: &Path) -> Result<Option<Client>> {
        let socket = Layout::new(journal).socket();
        let shown = escape(socket.as_os_str().as_bytes());
        match connect(&socket) {
            Ok(stream) => Ok(Some(Client { stream, shown })),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                    Ok(None)
                }
                _ => Err(Error::Io { path: shown, action: "connecting to asofd", source: error }),
            },
        }
    }

    /// Asks, and waits for the answer so long; `None` waits without limit.
    /// The outer result's `None`: the time ran out.
    pub(crate) fn ask(&mut self, request: &Request, patience: Option<Duration>) -> Result<Option<Answer>> {
        match self.exchange(request, patience) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(None),
                _ => Err(Error::Io { path: self.shown.clone(), action: "talking to asofd", source: error }),
            },
        }
    }

    /// The process at the other end, where the system tells.
    pub(crate) fn agent_pid(&self) -> Option<u32> {
        let peer = rustix::net::sockopt::socket_peercred(&self.stream).ok()?;
        u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
    }

    /// Whether the agent is known to be stopped (SIGSTOP, a debugger), so that it will not answer soon.
    pub(crate) fn is_agent_stopped(&self) -> bool {
        let stat = self.agent_pid().and_then(|pid| std::fs::read(format!("/proc/{pid}/stat")).ok());
        stat.is_some_and(|stat| is_stopped(&stat))
    }

    fn exchange(&mut self, request: &Request, patience: Option<Duration>) -> io::Result<Answer> {
        self.stream.set_read_timeout(patience)?;
        self.stream.set_write_timeout(patience)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line)?;
        parse_answer(&self.stream)
    }
}

/// Reads one line, and what it says.
pub(crate) fn parse_answer(from: impl Read) -> io::Result<Answer> {
    let mut answer = Vec::new();
    BufReader::new(from).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut answer)?;
    if answer.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "asofd hung up before it answered"));
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Whether the text of `/proc/PID/stat` is that of a stopped process: its state follows the name, which may hold
/// anything, also brackets.
fn is_stopped(stat: &[u8]) -> bool {
    let state = stat.iter().rposition(|&b| b == b')').and_then(|end| stat.get(end + 2));
    matches!(state, Some(b'T' | b't'))
}

/// A path that is too long for a socket address is reached through a descriptor of its directory.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    if socket.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return UnixStream::connect(socket);
    }
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    fn serve(listener: UnixListener, answer: Option<&'static str>) {
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "{\"request\":\"sync\",\"timeout_ms\":5}\n");
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                // Holds the connection until the client gives up.
                None => drop(stream.read(&mut [0]).unwrap()),
            }
        });
    }

    const SYNC: Request = Request::Sync { timeout_ms: 5 };

    #[test]
    fn without_a_socket_there_is_no_agent() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Client::connect(dir.path()).unwrap().is_none());
        assert!(Client::connect(&dir.path().join("absent")).unwrap().is_none());
        drop(UnixListener::bind(dir.path().join("agent.sock")).unwrap());
        assert!(Client::connect(dir.path()).unwrap().is_none(), "a socket that nobody listens on");
    }

    #[test]
    fn a_request_gets_its_answer_also_below_a_very_long_path() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let open = std::fs::File::open(&deep).unwrap();
        for (journal, bind_in) in [
            (dir.path().to_path_buf(), dir.path().to_path_buf()),
            (deep, format!("/proc/self/fd/{}", open.as_raw_fd()).into()),
        ] {
            let listener = UnixListener::bind(bind_in.join("agent.sock")).unwrap();
            let answer = "{\"answer\":\"failed\",\"error\":\"e\",\"more\":1}\n";
            serve(listener, Some(answer));
            let mut client = Client::connect(&journal).unwrap().unwrap();
            let answer = client.ask(&SYNC, None).unwrap();
            assert_eq!(answer, Some(Answer::Failed { error: "e".into(), timed_out: false }));
        }
    }

    #[test]
    fn a_stopped_process_is_told_by_its_state() {
        for (stat, stopped) in [
            (&b"12 (asofd) S 1 12"[..], false),
            (b"12 (asofd) T 1 12", true),
            (b"12 (x) T (y)) S 1 12", false),
            (b"12 (x) S (y)) t 1 12", true),
            (b"", false),
            (b"12 (asofd)", false),
        ] {
            assert_eq!(is_stopped(stat), stopped, "{}", stat.escape_ascii());
        }
    }

    #[test]
    fn patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        serve(UnixListener::bind(dir.path().join("agent.sock")).unwrap(), None);
        let mut client = Client::connect(dir.path()).unwrap().unwrap();
        assert_eq!(client.ask(&SYNC, Some(Duration::from_millis(20))).unwrap(), None);
    }

    #[test]
    fn half_an_answer_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        serve(UnixListener::bind(dir.path().join("agent.sock")).unwrap(), Some("{\"answer\":"));
        let mut client = Client::connect(dir.path()).unwrap().unwrap();
        assert_eq!(client.ask(&SYNC, None).unwrap_err().exit_status(), 1);
    }
}

//! One open connection to a running agent, for those who ask it more often than a command can be started.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use asof_journal::control::{Answer, Request, Status};

/// One open connection to the agent.
pub struct Control {
    stream: BufReader<UnixStream>,
}

impl Control {
    /// Connects to the agent at a socket; the error is for people.
    pub fn connect(socket: &Path) -> Result<Control, String> {
        let tell = |error: std::io::Error| format!("{}: {error}", socket.display());
        // A socket's address is 107 bytes at most; through an open directory any path is short.
        let dir = File::open(socket.parent().unwrap_or(socket)).map_err(tell)?;
        let name = socket.file_name().unwrap_or_default();
        let short = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir));
        let stream = UnixStream::connect(Path::new(&short).join(name)).map_err(tell)?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(tell)?;
        Ok(Control { stream: BufReader::new(stream) })
    }

    /// Asks something.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, String> {
        let mut request = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        request.push(b'\n');
        self.stream.get_mut().write_all(&request).map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))
    }

    /// Asks how things are.
    pub fn status(&mut self) -> Result<Status, String> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(*status),
            other => Err(format!("the agent answered {other:?}")),
        }
    }
}

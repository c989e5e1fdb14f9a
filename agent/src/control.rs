//! The control socket and the signals: what reaches the agent from outside while it runs.
//!
//! Owns a thread with a small tokio runtime, the socket file and the limits of what comes in. Answers nothing itself
//! but refusals: requests go to the main loop, which answers each through the sender that comes with it. Whoever
//! starts this holds the journal's writer lock, so that a socket found there is nobody's.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use asof_journal::control::{Answer, Request};
use asof_journal::storage::Layout;
use crossbeam_channel::{Sender, TrySendError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

/// Bytes of one request, its newline included; a longer one is refused and its connection closed. The longest ones name
/// the paths of a restore: a command line of 128 KiB fits.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// Open connections; one more is told so and closed.
const CONNECTIONS_MAX: usize = 64;
/// A connection that says nothing for so long is closed, so that forgotten ones do not use up the limit.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long answers may take to be written, and how long connections have to end at shutdown.
const WRITE_MAX: Duration = Duration::from_secs(2);
/// How long to wait before a full queue of the main loop is tried again.
const QUEUE_RETRY: Duration = Duration::from_millis(5);
/// How long to wait after the system refused a connection (descriptors used up, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Bytes of a socket path that the kernel takes, without the NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct ControlRequest {
    /// What is asked.
    pub request: Request,
    /// Takes the answer; whether anybody still waits for it, `is_closed` tells.
    pub reply: oneshot::Sender<Answer>,
}

/// What reaches the main loop from outside.
#[derive(Debug)]
pub(crate) enum ControlEvent {
    /// Somebody asks something.
    Request(ControlRequest),
    /// SIGTERM or SIGINT: stop in good order. Comes again with every signal.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Why the socket is not served.
#[derive(Debug, thiserror::Error)]
#[error("control socket {}: {source}", path.display())]
pub(crate) struct ControlError {
    /// The socket.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// The running control thread. Dropping it lets answers that were given be written, closes everything, removes the
/// socket, and waits for all of that.
#[derive(Debug)]
pub(crate) struct Control {
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
    path: PathBuf,
}

impl Control {
    /// Binds the socket, takes over SIGTERM, SIGINT and SIGHUP, and serves both on a thread of its own.
    ///
    /// The caller holds the writer lock. Events are turned into the main loop's own kind on the way.
    pub(crate) fn start<E>(layout: &Layout, events: Sender<E>) -> Result<Control, ControlError>
    where
        E: From<ControlEvent> + Send + 'static,
    {
        let path = layout.socket();
        let at = |source| ControlError { path: path.clone(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(at)?;
        let (listener, signals) = {
            let _inside = runtime.enter();
            let listener = bind(&path).map_err(at)?;
            let terminate = signal(SignalKind::terminate()).map_err(at)?;
            let interrupt = signal(SignalKind::interrupt()).map_err(at)?;
            let hangup = signal(SignalKind::hangup()).map_err(at)?;
            (listener, (terminate, interrupt, hangup))
        };
        let (stop, stopped) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("asofd-control".to_string())
            .spawn(move || {
                runtime.block_on(async move {
                    let (mut terminate, mut interrupt, mut hangup) = signals;
                    let outlet = Outlet { events };
                    let on_signal = outlet.clone();
                    tokio::select! {
                        () = serve(listener, outlet, stopped) => {}
                        () = async {
                            loop {
                                let event = tokio::select! {
                                    _ = terminate.recv() => ControlEvent::Stop,
                                    _ = interrupt.recv() => ControlEvent::Stop,
                                    _ = hangup.recv() => ControlEvent::Reload,
                                };
                                if on_signal.send(event).await.is_err() {
                                    break;
                                }
                            }
                            // Nobody listens to signals any more; the connections are still told so.
                            std::future::pending::<()>().await;
                        } => {}
                    }
                });
            })
            .map_err(|source| ControlError { path: path.clone(), source })?;
        Ok(Control { stop, thread: Some(thread), path })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "the control socket was not removed");
        }
    }
}

/// The way to the main loop; never blocks the runtime.
struct Outlet<E> {
    events: Sender<E>,
}

impl<E> Clone for Outlet<E> {
    fn clone(&self) -> Outlet<E> {
        Outlet { events: self.events.clone() }
    }
}

/// Says that the main loop is gone.
struct Gone;

impl<E: From<ControlEvent>> Outlet<E> {
    async fn send(&self, event: ControlEvent) -> Result<(), Gone> {
        let mut event = E::from(event);
        loop {
            event = match self.events.try_send(event) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(Gone),
                Err(TrySendError::Full(event)) => event,
            };
            tokio::time::sleep(QUEUE_RETRY).await;
        }
    }
}

/// Binds the socket with mode 0600; one that is left over is removed, anything else in its place is not.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = if path.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX {
        UnixListener::bind(path)?
    } else {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let dir = File::open(dir)?;
        UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))?
    };
    // Until here the journal's own mode, 0700, keeps others out.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts connections until told to stop; then lets them finish what is answered.
async fn serve<E>(listener: UnixListener, outlet: Outlet<E>, mut stopped: watch::Receiver<bool>)
where
    E: From<ControlEvent> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) if is_ours(&stream) => stream,
            Ok((stream, _)) => {
                let _ = stream.try_write(&encode(&failed("this asofd is another user's".to_string())));
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection was not accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            refuse(stream);
            continue;
        };
        let (outlet, stopped) = (outlet.clone(), stopped.clone());
        connections.spawn(async move {
            let _permit = permit;
            // A connection that breaks is its client's affair.
            let _ = converse(stream, outlet, stopped).await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(WRITE_MAX, async { while connections.join_next().await.is_some() {} }).await;
}

/// Whether the other end is the user that the agent runs as, or root; the modes of directory and socket are not all that
/// keeps others out.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Tells a client that there is no room, if that takes no waiting.
fn refuse(stream: UnixStream) {
    let line = encode(&failed(format!("{CONNECTIONS_MAX} connections are open already; try again")));
    let _ = stream.try_write(&line);
}

/// Serves one connection, request by request.
async fn converse<E>(
    stream: UnixStream,
    outlet: Outlet<E>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()>
where
    E: From<ControlEvent>,
{
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut reader).take(LINE_BYTES_MAX);
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            read = tokio::time::timeout(IDLE_MAX, limited.read_until(b'\n', &mut line)) => {
                if !matches!(read, Ok(Ok(length)) if length > 0) {
                    return Ok(());
                }
            }
        }
        if line.len() as u64 >= LINE_BYTES_MAX && !line.ends_with(b"\n") {
            let answer = failed(format!("a request is longer than {LINE_BYTES_MAX} bytes"));
            return write(&mut writer, &answer).await;
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => ask(&outlet, request, &mut stopped).await,
            Err(error) => failed(format!("the request is not understood: {error}")),
        };
        write(&mut writer, &answer).await?;
    }
}

/// Has the main loop answer a request.
async fn ask<E: From<ControlEvent>>(
    outlet: &Outlet<E>,
    request: Request,
    stopped: &mut watch::Receiver<bool>,
) -> Answer {
    let (reply, mut answer) = oneshot::channel();
    if outlet.send(ControlEvent::Request(ControlRequest { request, reply })).await.is_err() {
        return failed("asofd is stopping".to_string());
    }
    tokio::select! {
        // An answer that is there already is given even when stopping.
        biased;
        answered = &mut answer => answered.unwrap_or_else(|_| failed("asofd is stopping".to_string())),
        _ = stopped.wait_for(|stopped| *stopped) => match answer.try_recv() {
            Ok(answer) => answer,
            Err(_) => failed("asofd is stopping".to_string()),
        },
    }
}

fn failed(error: String) -> Answer {
    Answer::Failed { error, timed_out: false }
}

fn encode(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer cannot be encoded");
        b"{\"answer\":\"failed\",\"error\":\"the answer cannot be encoded\"}".to_vec()
    });
    line.push(b'\n');
    line
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    match tokio::time::timeout(WRITE_MAX, writer.write_all(&encode(answer))).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

//! Who is told that a drill begins, has passed or has not: a monitor by HTTP, or a program.
//!
//! Nothing here decides anything: a monitor that cannot be reached, or a program that fails, is a warning. A request says
//! nothing of the drill but that it is made. What is not a pass is a failure to a monitor, also what could not be told.

use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};

use super::report::{Hook, Outcome, Report};
use super::spec::{HookSpec, HookTo};
use super::store;
use crate::interrupt;
use crate::suggest::quoted;

/// A monitor that has not answered by then is not reached.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A program that has not ended by then is ended.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// The same where somebody has already asked the drill to end, and waits for that.
const COMMAND_TIMEOUT_INTERRUPTED: Duration = Duration::from_secs(10);
/// How often a program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// So much of the end of what a program says is repeated.
const SAID_MAX: u64 = 400;

/// What a hook is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The drill begins.
    Start,
    /// It has passed.
    Success,
    /// It has not.
    Failure,
}

impl Event {
    /// As in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Event::Start => "start",
            Event::Success => "success",
            Event::Failure => "failure",
        }
    }

    /// The end of a drill.
    pub(crate) fn of(outcome: Outcome) -> Event {
        match outcome {
            Outcome::Pass => Event::Success,
            Outcome::Fail | Outcome::Inconclusive => Event::Failure,
        }
    }
}

/// What a program finds in its environment and at its standard input.
pub(crate) struct About<'r> {
    /// The name of the drill.
    pub(crate) drill: &'r str,
    /// The report so far, once there is a verdict.
    pub(crate) report: Option<&'r Report>,
}

/// Tells everybody who is to be told of an event, one after the other. Whoever was not reached is in what comes back.
pub(crate) fn tell(hooks: &HookSpec, event: Event, about: &About) -> Vec<Hook> {
    let whom = match event {
        Event::Start => &hooks.start,
        Event::Success => &hooks.success,
        Event::Failure => &hooks.failure,
    };
    let limit = if interrupt::requested() { COMMAND_TIMEOUT_INTERRUPTED } else { COMMAND_TIMEOUT };
    whom.iter().map(|to| tell_one(to, event, about, PING_TIMEOUT, limit)).collect()
}

/// What a person should know of hooks that came to nothing.
pub(crate) fn warnings(hooks: &[Hook]) -> impl Iterator<Item = String> {
    hooks.iter().filter(|hook| !hook.done).map(|hook| {
        format!("the {} of the drill could not be told to {}: {}", hook.event, hook.what, hook.message)
    })
}

/// Whether an address is one that can be asked, and why not.
pub(crate) fn check(to: &HookTo) -> std::result::Result<(), String> {
    match to {
        HookTo::Url(url) => parse(url).map(|_| ()),
        HookTo::Command(argv) if argv.first().is_none_or(String::is_empty) => {
            Err("an empty command: say which program".to_owned())
        }
        HookTo::Command(_) => Ok(()),
    }
}

fn tell_one(to: &HookTo, event: Event, about: &About, ping: Duration, command: Duration) -> Hook {
    let begun = Instant::now();
    let (what, told) = match to {
        HookTo::Url(url) => (address(url), request(url, ping)),
        HookTo::Command(argv) => (program(argv), run(argv, event, about, command)),
    };
    let (done, message) = match told {
        Ok(message) => (true, message),
        Err(message) => (false, message),
    };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Hook { event: event.as_str().to_owned(), what, done, ms, message }
}

/// The address as it may be shown: what comes after the host is often a secret of its own.
fn address(url: &str) -> String {
    match parse(url) {
        Ok(uri) => {
            let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{}{port}/...", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default())
        }
        Err(_) => "an address that is none".to_owned(),
    }
}

/// The program without its words, which may hold a secret.
fn program(argv: &[String]) -> String {
    argv.first().map(|program| quoted(program.as_bytes())).unwrap_or_default()
}

fn parse(url: &str) -> std::result::Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("no address: {error}"))?;
    let host = uri.host().unwrap_or_default();
    match (uri.scheme_str(), host.is_empty()) {
        (Some("http" | "https"), false) => Ok(uri),
        _ => Err("no address: say http:// or https:// and a host".to_owned()),
    }
}

/// A GET. Everything that any monitor takes, and nothing about the drill that would leave the machine.
fn request(url: &str, timeout: Duration) -> std::result::Result<String, String> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails where there is one already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let uri = parse(url)?;
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .user_agent(concat!("asof/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build();
    match Agent::new_with_config(config).get(uri).call() {
        Ok(answer) => Ok(format!("HTTP {}", answer.status().as_u16())),
        Err(ureq::Error::StatusCode(status)) => Err(format!("HTTP {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a program in a process group of its own, with the report at its standard input.
fn run(
    argv: &[String],
    event: Event,
    about: &About,
    timeout: Duration,
) -> std::result::Result<String, String> {
    let (program, rest) = argv.split_first().ok_or("an empty command")?;
    let failed = |error: io::Error| error.to_string();
    let mut input = tempfile::tempfile().map_err(failed)?;
    if let Some(report) = about.report {
        input.write_all(&store::encode(report).map_err(|error| error.to_string())?).map_err(failed)?;
        input.seek(SeekFrom::Start(0)).map_err(failed)?;
    }
    let said = tempfile::tempfile().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(rest)
        .envs(environment(event, about))
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(said.try_clone().map_err(failed)?))
        .stderr(Stdio::from(said.try_clone().map_err(failed)?))
        .process_group(0);
    let mut child = command.spawn().map_err(|error| format!("it could not be started: {error}"))?;
    let ended = wait(&mut child, timeout);
    let words = last_words(said);
    let words = if words.is_empty() { words } else { format!(": {words}") };
    match ended.map_err(failed)? {
        Some(status) if status.success() => Ok(format!("status 0{words}")),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Err(format!("status {code}{words}")),
            (None, signal) => Err(format!("ended by signal {}{words}", signal.unwrap_or_default())),
        },
        None => Err(format!("it was ended after {} ms{words}", timeout.as_millis())),
    }
}

fn environment(event: Event, about: &About) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(&str, OsString)> = vec![
        ("ASOF_DRILL_EVENT", event.as_str().into()),
        ("ASOF_DRILL_NAME", about.drill.replace('\0', "").into()),
    ];
    if let Some(report) = about.report {
        variables.push(("ASOF_DRILL_OUTCOME", report.outcome.as_str().into()));
        variables.push(("ASOF_DRILL_WHY", report.why.replace('\0', "").into()));
        variables.push(("ASOF_DRILL_REPORT_ID", report.identity.report_id.clone().into()));
    }
    variables
}

/// Waits until the program ends, or ends it with all that it started. `None` is the latter.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    while begun.elapsed() < timeout {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        interrupt::pause(POLL);
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended by itself just now.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.wait().map(|_| None)
}

fn last_words(mut said: std::fs::File) -> String {
    let mut words = Vec::new();
    let length = said.seek(SeekFrom::End(0)).unwrap_or(0);
    let from = length.saturating_sub(SAID_MAX);
    // Nothing depends on what it said.
    let _ = said.seek(SeekFrom::Start(from)).and_then(|_| said.take(SAID_MAX).read_to_end(&mut words));
    let text = String::from_utf8_lossy(&words);
    let text = text.trim();
    crate::output::content_line(text.lines().collect::<Vec<_>>().join("; ").as_bytes())
}

#[cfg(test)]
mod tests;

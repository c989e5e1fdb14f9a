//! Everything that `asof` prints, for people or as JSON; nothing else prints.
//!
//! Data goes to stdout, everything else to stderr. A closed stdout becomes [`Error::OutputClosed`], which is success.

mod captured;
mod escape;
mod time;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::errors::{Error, Result};

pub(crate) use captured::Captured;
pub(crate) use escape::{PathFields, content_line, counted, escape, is_plain, mode_string, noun};
pub(crate) use time::{as_of, brief, clock, local, span};

/// Bytes gathered before a write to stdout.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a word is painted like, where painting is wanted.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    /// Something new.
    Green,
    /// Something gone.
    Red,
    /// Something changed.
    Yellow,
}

/// Where answers go.
pub(crate) struct Output {
    data: io::BufWriter<Box<dyn Write>>,
    notes: Box<dyn Write>,
    json: bool,
    quiet: bool,
    colour: bool,
    bar: ProgressBar,
    terminal: bool,
}

impl Output {
    /// The process's stdout and stderr.
    pub(crate) fn standard(json: bool, quiet: bool) -> Output {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        Output {
            data: io::BufWriter::with_capacity(BUFFER_BYTES, Box::new(io::stdout())),
            notes: Box::new(io::stderr()),
            json,
            quiet,
            colour: wanted && !json && io::stdout().is_terminal(),
            bar: ProgressBar::hidden(),
            terminal: io::stderr().is_terminal(),
        }
    }

    /// One that keeps what is said, in order, for whoever shows it elsewhere.
    pub(crate) fn captured(captured: &Captured) -> Output {
        // Without a buffer, so that data and remarks stay in order.
        let data = io::BufWriter::with_capacity(0, Box::new(captured.clone()) as Box<dyn Write>);
        let (notes, bar) = (Box::new(captured.clone()), ProgressBar::hidden());
        Output { data, notes, json: false, quiet: false, colour: false, bar, terminal: false }
    }

    /// Nowhere, for whoever wants an answer without a word.
    pub(crate) fn silent() -> Output {
        Output {
            data: io::BufWriter::new(Box::new(io::sink())),
            notes: Box::new(io::sink()),
            json: false,
            quiet: true,
            colour: false,
            bar: ProgressBar::hidden(),
            terminal: false,
        }
    }

    /// Any two writers, for tests.
    #[cfg(test)]
    pub(crate) fn new(data: Box<dyn Write>, notes: Box<dyn Write>, json: bool, quiet: bool) -> Output {
        let data = io::BufWriter::with_capacity(BUFFER_BYTES, data);
        Output { data, notes, json, quiet, colour: false, bar: ProgressBar::hidden(), terminal: false }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Raw bytes of data.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.data.write_all(bytes).map_err(output_error)
    }

    /// One line of data for people.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// One object on a line of its own.
    pub(crate) fn object(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).map_err(|error| output_error(error.into()))?;
        self.line(&escape::json(line))
    }

    /// Hands everything written so far to the system.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.data.flush().map_err(output_error)
    }

    /// A remark for people: the instant that was resolved, what was done. Silenced by `-q`, absent under `--json`.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.quiet && !self.json {
            self.say(text);
        }
    }

    /// Something that a person should know although the answer stands. Silenced by `-q`.
    pub(crate) fn warn(&mut self, text: &str) {
        if !self.quiet {
            self.say(&format!("asof: warning: {text}"));
        }
    }

    /// Something that went wrong; never silenced.
    pub(crate) fn problem(&mut self, text: &str) {
        self.say(&format!("asof: {text}"));
    }

    /// How a verb ended, where it did not end well.
    pub(crate) fn error(&mut self, error: &Error) {
        self.bar.finish_and_clear();
        self.say(&format!("asof: {error}"));
        if let Some(next) = error.next_step() {
            // A line each, so that a command can be copied.
            self.say(&format!("  next: {}", next.replace('\n', "\n        ")));
        }
    }

    fn say(&mut self, text: &str) {
        // What was answered before comes before, also where both go to one terminal. A failure shows at the next write.
        let _ = self.data.flush();
        let notes = &mut self.notes;
        // Nobody is left to tell when stderr is closed.
        self.bar.suspend(|| {
            let _ = writeln!(notes, "{text}");
            let _ = notes.flush();
        });
    }

    /// Paints a word where stdout is a terminal and the user did not object.
    pub(crate) fn paint(&self, paint: Paint, word: &str) -> String {
        if !self.colour {
            return word.to_owned();
        }
        let code = match paint {
            Paint::Green => 32,
            Paint::Red => 31,
            Paint::Yellow => 33,
        };
        format!("\x1b[{code}m{word}\x1b[0m")
    }

    /// Shows a bar over so many bytes, on a terminal only.
    pub(crate) fn start_progress(&mut self, bytes: u64) {
        if self.json || self.quiet || !self.terminal {
            return;
        }
        let bar = ProgressBar::new(bytes);
        let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = bar;
    }

    /// The bar, for whoever moves it from other threads; hidden where none is shown.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Moves the bar.
    pub(crate) fn progress(&mut self, bytes: u64, message: String) {
        if !self.bar.is_hidden() {
            self.bar.set_position(bytes);
            self.bar.set_message(message);
        }
    }

    /// Ends without a further attempt to write what stdout did not take.
    pub(crate) fn abandon(self) {
        let (_unwritten_to, _unwritten) = self.data.into_parts();
    }

    /// Takes the bar away.
    pub(crate) fn end_progress(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }
}

fn output_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Error::OutputClosed,
        _ => Error::Output(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let mut out = Output::new(Box::new(Closed), Box::new(io::sink()), false, false);
        out.line("x").unwrap();
        let error = out.flush().unwrap_err();
        assert!(matches!(error, Error::OutputClosed));
        assert_eq!(error.exit_status(), 0);
        out.abandon();
    }
}

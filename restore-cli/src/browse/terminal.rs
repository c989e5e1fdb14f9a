//! The terminal: taken over, and given back as it was, whatever happens but SIGKILL.
//!
//! Owns raw mode and the alternate screen. Draws nothing itself.

use std::io::{self, IsTerminal, Stdout};
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, is_raw_mode_enabled,
};

use crate::errors::{Error, Result};

/// The terminal while the browser has it; dropped, it is as before.
pub(super) struct Screen {
    /// Where to draw.
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
}

/// Whether there is a terminal that can be drawn on.
pub(crate) fn is_there() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

/// Whether it is taken over, and nobody has given it back.
pub(super) fn is_taken() -> bool {
    is_raw_mode_enabled().unwrap_or(false)
}

/// Whether colours are wanted.
pub(super) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn enter() -> Result<Screen> {
        give_back_on_panic();
        enable_raw_mode().map_err(Error::Output)?;
        // From here on every way out gives it back.
        let taken = execute!(io::stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())))
            .map_err(Error::Output);
        taken.map(|terminal| Screen { terminal }).inspect_err(|_| give_back())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, once.
fn give_back() {
    if is_taken() {
        // Nobody is left to tell when the terminal is gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A panic's message is for the terminal as it was.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |what| {
            give_back();
            hook(what);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Says to this test that it runs inside the terminal that it made.
    const INSIDE: &str = "ASOF_TEST_INSIDE_TERMINAL";

    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(INSIDE).is_some() {
            let mut screen = Screen::enter().unwrap();
            screen.terminal.draw(|frame| frame.set_cursor_position((1, 1))).unwrap();
            assert!(is_taken());
            panic!("on purpose");
        }
        let me = std::env::current_exe().unwrap();
        let test = "browse::terminal::tests::a_panic_gives_the_terminal_back";
        let inside = format!("stty -g; {} --exact {test} --nocapture; echo; stty -g", me.display());
        let script = Command::new("script")
            .args(["-q", "-c", &inside, "/dev/null"])
            .envs([(INSIDE, "1"), ("TERM", "xterm"), ("SHELL", "/bin/sh")])
            .stdin(Stdio::null())
            .output();
        let Ok(output) = script else {
            eprintln!("skipped: `script` is not installed, which makes a terminal");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("`{text:?}` is not in {said:?}"));
        assert!(at("\x1b[?1049h") < at("\x1b[?1049l"), "{said:?}");
        assert!(at("\x1b[?1049l") < at("on purpose"), "the message is for the terminal as it was: {said:?}");
        assert!(at("\x1b[?25h") < at("on purpose"), "{said:?}");
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let (before, after) = (lines.next(), lines.next_back());
        assert!(before.is_some_and(|modes| modes.contains(':')), "{said:?}");
        assert_eq!(before, after, "the modes of the terminal are as they were");
    }
}

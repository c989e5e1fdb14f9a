//! The browser: a directory through time on the whole terminal.
//!
//! Owns the loop from keys to pictures. What keys do is in [`model`], what is drawn in [`view`], what is asked of the journal
//! in [`journal`]. Nothing in the loop waits: history is read a slice at a time, and restores have a thread of their own.

mod data;
mod journal;
mod listing;
mod model;
mod preview;
mod restore;
mod search;
mod terminal;
#[cfg(test)]
mod tests;
mod timeline;
mod view;

use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant as Stopwatch};

use asof_journal::reader::{Moment, Reader};
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::Rect;

use crate::errors::{Error, Result};
use crate::interrupt;
use crate::output::{Captured, Output};
use crate::session::Session;

use journal::Journal;
use model::{Effect, Mode, Model};
use restore::Request;
use terminal::Screen;
use view::Theme;

pub(crate) use terminal::is_there;

/// So long history is read before keys are looked at again.
const SLICE: Duration = Duration::from_millis(40);
/// How often signals are looked at while nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// The same while a restore is under way.
const TICK_AT_WORK: Duration = Duration::from_millis(50);

/// Where to begin.
pub(crate) struct Start {
    /// The directory.
    pub(crate) dir: Vec<u8>,
    /// The entry to begin with.
    pub(crate) name: Option<Vec<u8>>,
    /// Where the timeline ends.
    pub(crate) end: Moment,
}

/// Takes the terminal over until the user leaves.
pub(crate) fn run(session: &Session, reader: Reader, start: Start, out: &mut Output) -> Result<()> {
    interrupt::catch();
    let data = Journal::new(session, reader, start.end, start.dir.clone())?;
    let model = Model::new(start.dir, start.name, &data)?;
    let screen = Screen::enter()?;
    let theme = Theme { colour: terminal::wants_colour() };
    let mut browser = Browser { session, screen, model, data, theme, done: Vec::new() };
    let ended = std::thread::scope(|scope| browser.attend(scope));
    let Browser { screen, done, .. } = browser;
    drop(screen);
    // The pictures are gone, what was done stays.
    for line in done {
        out.note(&line);
    }
    ended
}

struct Browser<'e> {
    session: &'e Session,
    screen: Screen,
    model: Model,
    data: Journal<'e>,
    theme: Theme,
    /// What was restored, for after the end.
    done: Vec<String>,
}

/// A plan that is made, or a restore under way.
struct Job<'scope> {
    thread: ScopedJoinHandle<'scope, bool>,
    said: Captured,
    /// For the record, where something is written.
    record: Option<String>,
    /// Whether it was asked to end.
    is_stopped: bool,
}

impl<'e> Browser<'e> {
    fn attend<'scope>(&mut self, scope: &'scope Scope<'scope, 'e>) -> Result<()> {
        let mut job: Option<Job<'scope>> = None;
        loop {
            if let Some(ended) = job.take_if(|job| job.thread.is_finished()) {
                self.finish(ended);
            }
            if interrupt::requested() && job.as_ref().is_none_or(|job| !job.is_stopped) {
                self.leave(job);
                return Err(Error::Ended);
            }
            // A thread that panicked has given it back, and is joined in the next round.
            if terminal::is_taken() {
                self.draw(job.as_ref())?;
            }
            let wait = match (&job, self.model.is_busy()) {
                (_, true) => Duration::ZERO,
                (Some(_), false) => TICK_AT_WORK,
                (None, false) => TICK,
            };
            if event::poll(wait).map_err(Error::Output)? {
                if let Some(effect) = self.hear()? {
                    match effect {
                        Effect::Quit => {
                            self.leave(job);
                            return Ok(());
                        }
                        Effect::Stop => {
                            if let Some(job) = &mut job {
                                job.is_stopped = true;
                                interrupt::request();
                            }
                        }
                        Effect::Plan(request) => job = Some(self.begin(scope, request, true)),
                        Effect::Restore(request) => job = Some(self.begin(scope, request, false)),
                    }
                }
            } else if self.model.is_busy() {
                let started = Stopwatch::now();
                self.model.idle(&mut self.data, &|| started.elapsed() < SLICE);
            }
        }
    }

    fn draw(&mut self, job: Option<&Job<'_>>) -> Result<()> {
        let size = self.screen.terminal.size().map_err(Error::Output)?;
        let rows = view::rows_shown(Rect::new(0, 0, size.width, size.height));
        self.model.fill(&mut self.data, rows);
        if let (Mode::Restore(dialog), Some(job)) = (&mut self.model.mode, job) {
            dialog.under_way = job.said.newest();
        }
        let (model, theme) = (&self.model, self.theme);
        self.screen.terminal.draw(|frame| view::draw(frame, model, theme)).map_err(Error::Output)?;
        Ok(())
    }

    /// Takes the events that are there; whatever is to be done for one ends that. A key acts on what the keys before it
    /// led to, also where that was never drawn.
    fn hear(&mut self) -> Result<Option<Effect>> {
        loop {
            if let Event::Key(key) = event::read().map_err(Error::Output)?
                && key.kind != KeyEventKind::Release
            {
                let effect = self.model.key(key, &mut self.data);
                self.model.fill_again(&mut self.data);
                if effect.is_some() {
                    return Ok(effect);
                }
            }
            if !event::poll(Duration::ZERO).map_err(Error::Output)? {
                return Ok(None);
            }
        }
    }

    fn begin<'scope>(
        &self,
        scope: &'scope Scope<'scope, 'e>,
        request: Request,
        dry_run: bool,
    ) -> Job<'scope> {
        // The journal as it is by now: what is shown may be newer than what the run began with.
        let (session, said) = (self.session.again(), Captured::default());
        let told = said.clone();
        let record = (!dry_run).then(|| request.record());
        let thread = scope.spawn(move || restore::run(&session, &request, dry_run, &told));
        Job { thread, said, record, is_stopped: false }
    }

    /// Takes the outcome of a job that is over.
    fn finish(&mut self, job: Job<'_>) {
        let is_good = job.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if job.is_stopped {
            interrupt::forget();
        }
        if let Some(record) = job.record {
            self.done.push(format!("{record}: {}", job.said.newest().unwrap_or_default()));
        }
        if let Mode::Restore(dialog) = &mut self.model.mode {
            dialog.hear(job.said.lines(), is_good);
        }
    }

    /// Ends a job that is under way, file by file.
    fn leave(&mut self, job: Option<Job<'_>>) {
        if let Some(mut job) = job {
            interrupt::request();
            job.is_stopped = true;
            self.finish(job);
        }
    }
}

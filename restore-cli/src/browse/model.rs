//! The browser's state, and what keys do to it: no terminal, no drawing.
//!
//! Asks the journal through [`Data`] alone, and only for what is on the screen. What takes longer is done a little at a time
//! ([`Model::idle`]).

use asof_journal::types::{Kind, Seq};
use asof_journal::view::is_below;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::data::{Data, Listing, Pane, Preview, Row, Span, Until};
use super::restore::{Dialog, Request, Stage};
use super::search::Search;
use super::timeline::Timeline;
use crate::errors::Result;
use crate::output::escape;
use crate::path;

/// Moments that a page is.
const PAGE: isize = 10;
/// Lines of a preview that a page is.
const PREVIEW_PAGE: usize = 10;

/// What the keys mean at the time.
#[derive(Debug)]
pub(super) enum Mode {
    /// Moving around.
    Browse,
    /// A name is typed.
    Search,
    /// The keys are explained.
    Help,
    /// Something is to be restored.
    Restore(Dialog),
}

/// What somebody outside has to do for a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Leave.
    Quit,
    /// End what is under way.
    Stop,
    /// Find out what a restore would do.
    Plan(Request),
    /// Restore.
    Restore(Request),
}

/// Everything that a screen shows.
#[derive(Debug)]
pub(super) struct Model {
    /// The directory that is shown.
    pub(super) dir: Vec<u8>,
    /// The directory that the timeline is of.
    pub(super) root: Vec<u8>,
    /// The moments.
    pub(super) timeline: Timeline,
    /// The directory's entries.
    pub(super) listing: Listing,
    /// The selected entry.
    pub(super) cursor: usize,
    /// The first entry on the screen.
    pub(super) top: usize,
    /// What the preview is of.
    pub(super) pane: Pane,
    /// The preview.
    pub(super) preview: Preview,
    /// Its first line on the screen.
    pub(super) scroll: usize,
    /// Whether entries are shown that went earlier.
    pub(super) gone: bool,
    /// What keys mean.
    pub(super) mode: Mode,
    /// What is looked for.
    pub(super) search: Search,
    /// Something to be said until the next key.
    pub(super) message: Option<String>,
    /// Entries that fit on the screen.
    rows_shown: usize,
    listed: Option<(Vec<u8>, Span, bool)>,
    previewed: Option<(Vec<u8>, Span, Seq, Pane)>,
    /// The name that the cursor goes to when the directory is listed.
    wanted: Option<Vec<u8>>,
    /// Whether nobody has chosen an entry yet.
    is_fresh: bool,
}

impl Model {
    /// A browser of a directory; `name` is the entry to begin with.
    pub(super) fn new(dir: Vec<u8>, name: Option<Vec<u8>>, data: &dyn Data) -> Result<Model> {
        Ok(Model {
            root: dir.clone(),
            dir,
            timeline: Timeline::new(data.gaps()?),
            listing: Listing::default(),
            cursor: 0,
            top: 0,
            pane: Pane::Content,
            preview: Preview::default(),
            scroll: 0,
            gone: false,
            mode: Mode::Browse,
            search: Search::default(),
            message: None,
            rows_shown: 1,
            listed: None,
            previewed: None,
            is_fresh: name.is_none(),
            wanted: name,
        })
    }

    /// The selected entry.
    pub(super) fn row(&self) -> Option<&Row> {
        self.listing.rows.get(self.cursor)
    }

    /// Whether there is something to do while nobody presses a key.
    pub(super) fn is_busy(&self) -> bool {
        self.listing.is_partial || self.timeline.wants_more() || self.search.is_busy()
    }

    /// Does a part of that. What cannot be read is said, and ends it.
    pub(super) fn idle(&mut self, data: &mut dyn Data, wants: &dyn Fn() -> bool) {
        if let Err(error) = self.go_on(data, wants) {
            self.message = Some(error.to_string());
            self.timeline.give_up();
            self.search.stop();
            self.listing.is_partial = false;
        }
    }

    fn go_on(&mut self, data: &mut dyn Data, wants: &dyn Fn() -> bool) -> Result<()> {
        // What is looked at comes first, once it is known which moment that is.
        let has_moment = self.timeline.current().is_some() || !self.timeline.wants_more();
        if self.listing.is_partial && has_moment {
            self.list_on(data, wants)?;
        } else if self.timeline.wants_more() {
            let timeline = &mut self.timeline;
            let progress = data.older(wants, &mut |moment| timeline.push(moment))?;
            self.timeline.note(progress);
        } else if self.search.is_busy() {
            match self.search.idle(data, wants)? {
                Some(hit) => self.go_to(&hit.path, hit.seq),
                None => self.message = self.search.verdict(),
            }
        }
        Ok(())
    }

    /// Brings everything on a screen of so many entries up to date.
    pub(super) fn fill(&mut self, data: &mut dyn Data, rows_shown: usize) {
        self.rows_shown = rows_shown.max(1);
        self.fill_again(data);
    }

    /// The same on the screen as it was. What cannot be read is said in its place.
    pub(super) fn fill_again(&mut self, data: &mut dyn Data) {
        if let Err(error) = self.try_fill(data) {
            self.message = Some(error.to_string());
        }
    }

    fn try_fill(&mut self, data: &mut dyn Data) -> Result<()> {
        let span = self.timeline.span(data.end());
        let key = (self.dir.clone(), span, self.gone);
        if self.listed.as_ref() != Some(&key) {
            if self.wanted.is_none() {
                self.wanted = self.row().filter(|_| !self.is_fresh).map(|row| row.name.clone());
            }
            let note = data.list(&self.dir, span, self.gone);
            // Asked once: a directory that cannot be read is not read again for every picture.
            self.listing = match note {
                Ok(note) => Listing { rows: Vec::new(), note, is_partial: true },
                Err(error) => Listing { rows: Vec::new(), note: Some(error.to_string()), is_partial: false },
            };
            (self.listed, self.previewed) = (Some(key), None);
            // The first page at once: most directories have no more, and nothing flickers.
            if self.listing.is_partial {
                self.list_on(data, &|| false)?;
            }
        }
        self.show_cursor();
        for row in self.listing.rows.iter_mut().skip(self.top).take(self.rows_shown) {
            if row.size.is_none() && row.kind == Kind::File {
                row.size = data.size(row)?;
            }
        }
        self.fill_preview(data, span)
    }

    /// Reads further entries, and keeps the cursor on the entry that it is on, or is meant to go to.
    fn list_on(&mut self, data: &mut dyn Data, wants: &dyn Fn() -> bool) -> Result<()> {
        let selected = self.row().cloned();
        let mut rows = Vec::new();
        let read = data.rows(wants, &mut |row| rows.push(row));
        self.listing.is_partial = matches!(read, Ok(false));
        let wanted = self.wanted.as_ref().and_then(|name| rows.iter().find(|row| row.name == *name)).cloned();
        self.listing.add(rows);
        // Where nobody has chosen one, it stays where it is.
        let selected = selected.filter(|_| self.wanted.is_none() && !self.is_fresh);
        let goes_to = wanted.as_ref().or(selected.as_ref());
        let found = goes_to.and_then(|row| self.listing.position(row));
        self.cursor = found.unwrap_or(self.cursor);
        if wanted.is_some() || !self.listing.is_partial {
            self.wanted = None;
        }
        if !self.listing.is_partial {
            self.cursor = self.cursor.min(self.listing.rows.len().saturating_sub(1));
        }
        if let Err(error) = read {
            self.listing.note = Some(error.to_string());
        }
        Ok(())
    }

    fn fill_preview(&mut self, data: &dyn Data, span: Span) -> Result<()> {
        let Some(row) = self.listing.rows.get_mut(self.cursor) else {
            (self.preview, self.previewed) = (Preview::default(), None);
            return Ok(());
        };
        let path = path::join(&self.dir, &row.name);
        let key = (path, span, row.at, self.pane);
        if self.previewed.as_ref() == Some(&key) {
            return Ok(());
        }
        let (path, ..) = key;
        row.at = data.whole_at(&path, row)?;
        self.preview = data.preview(&path, row, span, self.pane)?;
        self.scroll = 0;
        self.previewed = Some((path, span, row.at, self.pane));
        Ok(())
    }

    fn show_cursor(&mut self) {
        let last_top = self.listing.rows.len().saturating_sub(self.rows_shown);
        self.top = self.top.min(self.cursor).max((self.cursor + 1).saturating_sub(self.rows_shown));
        self.top = self.top.min(last_top);
    }

    /// Shows what happened to a path at a place.
    pub(super) fn go_to(&mut self, path: &[u8], seq: Seq) {
        self.timeline.seek(seq);
        self.dir = path::parent(path).to_vec();
        self.wanted = Some(path::name(path).to_vec());
        self.listed = None;
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, key: KeyEvent, data: &mut dyn Data) -> Option<Effect> {
        (self.message, self.is_fresh) = (None, false);
        if matches!(key.code, KeyCode::Up | KeyCode::Down | KeyCode::Char('j' | 'k' | 'g' | 'G')) {
            // Whoever moves the cursor does not want it to go elsewhere.
            self.wanted = None;
        }
        self.obey(key, data).unwrap_or_else(|error| {
            self.message = Some(error.to_string());
            None
        })
    }

    fn obey(&mut self, key: KeyEvent, data: &mut dyn Data) -> Result<Option<Effect>> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Ok(Some(Effect::Quit));
        }
        match &mut self.mode {
            Mode::Browse => return self.browse_key(key, data),
            Mode::Search => self.search_key(key, data)?,
            Mode::Help => self.mode = Mode::Browse,
            Mode::Restore(dialog) => {
                let effect = dialog.key(key);
                if matches!(dialog.stage, Stage::Over) {
                    self.mode = Mode::Browse;
                }
                return Ok(effect);
            }
        }
        Ok(None)
    }

    fn browse_key(&mut self, key: KeyEvent, data: &mut dyn Data) -> Result<Option<Effect>> {
        match key.code {
            KeyCode::Char('q') => return Ok(Some(Effect::Quit)),
            // Something that is waited for is given up first.
            KeyCode::Esc if self.timeline.is_seeking() || self.search.is_busy() => {
                self.timeline.stay();
                self.search.stop();
            }
            KeyCode::Esc => return Ok(Some(Effect::Quit)),
            KeyCode::Left | KeyCode::Char('h') => self.timeline.step(1),
            KeyCode::Right | KeyCode::Char('l') => self.timeline.step(-1),
            KeyCode::PageUp => self.timeline.step(PAGE),
            KeyCode::PageDown => self.timeline.step(-PAGE),
            KeyCode::Home => self.timeline.oldest(),
            KeyCode::End => self.timeline.newest(),
            KeyCode::Up | KeyCode::Char('k') => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => {
                self.cursor = (self.cursor + 1).min(self.listing.rows.len().saturating_sub(1));
            }
            KeyCode::Char('g') => self.cursor = 0,
            KeyCode::Char('G') => self.cursor = self.listing.rows.len().saturating_sub(1),
            KeyCode::Char(' ') => self.scroll_by(PREVIEW_PAGE),
            KeyCode::Char('b') => self.scroll = self.scroll.saturating_sub(PREVIEW_PAGE),
            KeyCode::Enter => self.enter(),
            KeyCode::Backspace => self.up(data)?,
            KeyCode::Char('/') => {
                self.search.begin(&self.dir, self.timeline.span(data.end()).after);
                self.mode = Mode::Search;
            }
            KeyCode::Char('n') => self.next_hit(1),
            KeyCode::Char('N') => self.next_hit(-1),
            KeyCode::Char('d') => {
                self.pane = match self.pane {
                    Pane::Content => Pane::SinceBefore,
                    Pane::SinceBefore => Pane::UntilNow,
                    Pane::UntilNow => Pane::Content,
                };
            }
            KeyCode::Char('D') => self.gone = !self.gone,
            KeyCode::Char('t') => self.timeline_of(self.dir.clone(), Until::Same, data)?,
            KeyCode::Char('R') | KeyCode::F(5) => {
                self.timeline_of(self.root.clone(), Until::Newest, data)?;
                self.timeline.newest();
            }
            KeyCode::Char('r') => self.restore(data),
            KeyCode::Char('?') => self.mode = Mode::Help,
            _ => {}
        }
        Ok(None)
    }

    fn scroll_by(&mut self, lines: usize) {
        self.scroll = (self.scroll + lines).min(self.preview.lines.len().saturating_sub(1));
    }

    fn enter(&mut self) {
        let Some(row) = self.row() else { return };
        if row.kind == Kind::Dir {
            self.dir = path::join(&self.dir, &row.name);
            (self.cursor, self.top, self.wanted) = (0, 0, Some(Vec::new()));
        } else {
            self.message = Some("Space and b go through the preview; d compares".to_owned());
        }
    }

    fn up(&mut self, data: &mut dyn Data) -> Result<()> {
        if self.dir == b"/" {
            return Ok(());
        }
        self.wanted = Some(path::name(&self.dir).to_vec());
        self.dir = path::parent(&self.dir).to_vec();
        if !is_below(&self.dir, &self.root) {
            self.timeline_of(self.dir.clone(), Until::Same, data)?;
        }
        Ok(())
    }

    /// A timeline of a directory, at the same place as before.
    fn timeline_of(&mut self, dir: Vec<u8>, until: Until, data: &mut dyn Data) -> Result<()> {
        let seq = self.timeline.span(data.end()).after;
        data.begin(&dir, until)?;
        self.timeline = Timeline::new(data.gaps()?);
        self.timeline.seek(seq);
        self.root = dir;
        self.search = Search::default();
        self.listed = None;
        Ok(())
    }

    fn search_key(&mut self, key: KeyEvent, data: &mut dyn Data) -> Result<()> {
        match key.code {
            KeyCode::Enter => self.mode = Mode::Browse,
            KeyCode::Esc => {
                self.mode = Mode::Browse;
                let (dir, seq) = self.search.cancel();
                (self.dir, self.listed) = (dir, None);
                self.timeline.seek(seq);
            }
            KeyCode::Backspace => {
                self.search.text.pop();
                self.search.start(data)?;
            }
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.search.text.push(c);
                self.search.start(data)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn next_hit(&mut self, older: isize) {
        match self.search.step(older) {
            Some(hit) => self.go_to(&hit.path, hit.seq),
            None => self.message = self.search.verdict(),
        }
    }

    fn restore(&mut self, data: &dyn Data) {
        let span = self.timeline.span(data.end());
        let (path, at) = match self.row() {
            Some(row) => (path::join(&self.dir, &row.name), row.at),
            None => (self.dir.clone(), span.after),
        };
        if path == b"/" {
            self.message = Some("choose something to restore first".to_owned());
            return;
        }
        // The time of the state that is restored, where that is one that the timeline knows.
        let when = self.timeline.current().and_then(|moment| match at {
            at if at == span.after => Some(moment.last.instant),
            at if at == span.before => Some(moment.first.instant),
            _ => None,
        });
        self.mode = Mode::Restore(Dialog::new(path, at, when));
    }

    /// What is said of the entry and the preview of it.
    pub(super) fn preview_title(&self) -> String {
        let name = self.row().map_or(String::new(), |row| escape(&row.name));
        match self.pane {
            Pane::Content => name,
            Pane::SinceBefore => format!("{name}: what this moment changed"),
            Pane::UntilNow => format!("{name}: changed from here until now"),
        }
    }
}

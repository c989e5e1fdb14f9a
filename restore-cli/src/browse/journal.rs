//! The journal behind the browser: the seam's answers out of views and histories.
//!
//! Owns the reader and where going back has come. Draws nothing. Nothing here goes through more history than a named limit
//! allows, so that a key is answered at once.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::time::{Duration, Instant as Stopwatch};

use asof_journal::fate::{Fate, fate};
use asof_journal::history::{self};
use asof_journal::reader::{Moment as AsOf, Reader};
use asof_journal::types::{Content, Kind, NodeId, Seq, Version};
use asof_journal::view::{Page, View};

use super::data::{Data, Hit, Mark, Pane, Preview, Progress, Row, Span, Until};
use super::listing::{Lister, PAGE_NAMES};
use super::preview::{self, COMPARED_BYTES_MAX, SHOWN_BYTES};
use crate::content;
use crate::errors::Result;
use crate::moments::{self, Breaks, Moment, Placed, Stream, Walk};
use crate::output::{clock, escape};
use crate::path;
use crate::session::Session;
use crate::source::{AtSeq, Source};

/// Changes of a moment that are looked at for the marks beside entries.
const MARKED_CHANGES_MAX: usize = 10_000;
/// How long a key may wait for something that is looked up in history.
const LOOKING_TIME_MAX: Duration = Duration::from_millis(300);
/// Names of a directory that its preview shows.
const SHOWN_NAMES: usize = 200;

/// The journal, open, and what is under way in it.
pub(super) struct Journal<'s> {
    session: &'s Session,
    reader: Reader,
    end: AsOf,
    dir: Vec<u8>,
    stream: Stream,
    search: Option<Search>,
    lister: Lister,
}

struct Search {
    text: String,
    walk: Walk,
    last: RefCell<Option<Hit>>,
}

impl<'s> Journal<'s> {
    /// The journal with a timeline that ends at a moment.
    pub(super) fn new(session: &'s Session, reader: Reader, end: AsOf, dir: Vec<u8>) -> Result<Journal<'s>> {
        let stream = Stream::new(dir.clone(), Seq::ZERO, end.seq, Breaks::default());
        let lister = Lister::default();
        let mut journal = Journal { session, reader, end, dir: dir.clone(), stream, search: None, lister };
        journal.begin(&dir, Until::Same)?;
        Ok(journal)
    }

    fn view(&self, seq: Seq) -> View<'_> {
        self.reader.view(seq)
    }

    fn source(&self, seq: Seq) -> AtSeq<'_> {
        AtSeq::new(&self.reader, &AsOf { seq, ..self.end })
    }

    fn dir_at(&self, dir: &[u8], seq: Seq) -> Result<Option<NodeId>> {
        let entry = self.view(seq).resolve(dir)?;
        Ok(entry.filter(|entry| entry.kind == Kind::Dir).map(|entry| entry.node))
    }

    fn progress(&self, is_done: bool, reached: Seq) -> Result<Progress> {
        Ok(Progress { is_done, back_to: self.reader.at_seq(reached)?.map(|moment| moment.instant) })
    }

    /// The names of a directory that a moment touched, or under which it touched something.
    fn touched(&self, dir: &[u8], span: Span) -> Result<HashSet<Vec<u8>>> {
        let mut touched = HashSet::new();
        let mut left = MARKED_CHANGES_MAX;
        history::below(&self.reader, dir, span.before, span.after, &mut |change| {
            touched.insert(path::first_name(&change.path, dir).to_vec());
            left -= 1;
            left > 0
        })?;
        Ok(touched)
    }

    /// A directory that is not there, as it was last.
    fn gone_dir(&self, dir: &[u8], after: Seq) -> Result<(Lister, String)> {
        let Fate::Ended(ended) = fate(&self.view(after), dir)? else {
            return Ok((Lister::default(), "not there yet at this moment".to_owned()));
        };
        // The part of the path that went took the rest along, bit by bit.
        let at = self.whole_before(dir.get(..ended.len).unwrap_or(dir), ended.seq)?;
        let since = self.reader.at_seq(ended.seq)?.map_or(String::new(), |at| clock(at.instant, None));
        let note = format!("gone since {since}; shown as it was last");
        let then = self.dir_at(dir, at)?.map(|node| (node, at));
        Ok((Lister { then, all: Some(Mark::Gone), ..Lister::default() }, note))
    }

    /// The place before the moment that took a path away.
    fn whole_before(&self, path: &[u8], gone: Seq) -> Result<Seq> {
        let started = Stopwatch::now();
        moments::before(&self.reader, path, gone, &|| started.elapsed() < LOOKING_TIME_MAX)
    }

    fn version(&self, node: NodeId, seq: Seq) -> Result<Option<Version>> {
        Ok(self.source(seq).version(node)?.map(|at| at.version))
    }

    /// All bytes of a file, as of two places; empty where it has none. `None` where they are too many.
    fn whole(&self, path: &[u8], at: Option<(NodeId, Seq)>) -> Result<Option<Vec<u8>>> {
        let Some((node, seq)) = at else { return Ok(Some(Vec::new())) };
        match self.version(node, seq)? {
            Some(version) => content::whole(&self.source(seq), &version, path, COMPARED_BYTES_MAX),
            None => Ok(Some(Vec::new())),
        }
    }

    fn file_at(&self, path: &[u8], seq: Seq) -> Result<Option<(NodeId, Seq)>> {
        let entry = self.view(seq).resolve(path)?;
        Ok(entry.filter(|entry| entry.kind == Kind::File).map(|entry| (entry.node, seq)))
    }

    fn compared(
        &self,
        path: &[u8],
        old: Option<(NodeId, Seq)>,
        new: Option<(NodeId, Seq)>,
    ) -> Result<Preview> {
        match (self.whole(path, old)?, self.whole(path, new)?) {
            (Some(old), Some(new)) => Ok(preview::difference(&old, &new)),
            _ => Ok(Preview::aside("too large to be compared here: `asof diff -p` does it")),
        }
    }

    fn file(&self, path: &[u8], row: &Row) -> Result<Preview> {
        let Some(version) = self.version(row.node, row.at)? else {
            return Ok(Preview::aside("it was seen, and never captured"));
        };
        if let Content::Unread(errno) = version.content {
            return Ok(Preview::aside(content::unread(errno)));
        }
        let bytes = content::head(&self.source(row.at), &version, path, SHOWN_BYTES)?;
        Ok(preview::content(&bytes, version.meta.size))
    }

    fn names(&self, row: &Row) -> Result<Preview> {
        // Not all names of a huge directory are looked at to count them.
        let Page { entries, until, .. } = self.view(row.at).list_page(row.node, None, PAGE_NAMES)?;
        let least = if until.is_some() { "at least " } else { "" };
        let mut preview = Preview::aside(format!("directory, {least}{} entries", entries.len()));
        for entry in entries.iter().take(SHOWN_NAMES) {
            let slash = if entry.kind == Kind::Dir { "/" } else { "" };
            preview.lines.push((super::data::Tone::Plain, format!("{}{slash}", escape(&entry.name))));
        }
        if entries.len() > SHOWN_NAMES {
            preview.say(format!("... and {least}{} more", entries.len() - SHOWN_NAMES));
        }
        Ok(preview)
    }
}

impl Data for Journal<'_> {
    fn begin(&mut self, dir: &[u8], until: Until) -> Result<()> {
        if until == Until::Newest {
            self.reader = self.session.fresh_reader()?;
            if let Some(head) = self.reader.at_seq(self.reader.head())? {
                self.end = head;
            }
        }
        self.dir = dir.to_vec();
        let breaks = moments::breaks(&self.reader, &self.gaps()?, dir)?;
        self.stream = Stream::new(dir.to_vec(), Seq::ZERO, self.end.seq, breaks);
        self.search = None;
        Ok(())
    }

    fn older(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Moment)) -> Result<Progress> {
        self.stream.read(&self.reader, wants, &mut |moment| {
            take(moment);
            Ok(())
        })?;
        self.progress(self.stream.is_done(), self.stream.reached())
    }

    fn end(&self) -> Seq {
        self.end.seq
    }

    fn gaps(&self) -> Result<Vec<Placed>> {
        moments::gaps(&self.reader, &self.dir)
    }

    fn list(&mut self, dir: &[u8], span: Span, gone: bool) -> Result<Option<String>> {
        // Nothing of the one before is given, should this one fail.
        self.lister = Lister::default();
        let now = self.dir_at(dir, span.after)?.map(|node| (node, span.after));
        let then = self.dir_at(dir, span.before)?.map(|node| (node, span.before));
        if now.is_none() && then.is_none() {
            let (lister, note) = self.gone_dir(dir, span.after)?;
            self.lister = lister;
            return Ok(Some(note));
        }
        let note = match (now, then) {
            (None, _) => Some("deleted in this moment; shown as it was before".to_owned()),
            (_, None) => Some("created in this moment".to_owned()),
            _ => None,
        };
        let touched = self.touched(dir, span)?;
        self.lister = Lister { then, now, touched, gone, ..Lister::default() };
        Ok(note)
    }

    fn rows(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Row)) -> Result<bool> {
        loop {
            self.lister.page(&self.reader, take)?;
            if self.lister.is_done || !wants() {
                return Ok(self.lister.is_done);
            }
        }
    }

    fn size(&self, row: &Row) -> Result<Option<u64>> {
        let version = self.view(row.at).version(row.node)?;
        Ok(version.map(|at| at.version.meta.size))
    }

    fn whole_at(&self, path: &[u8], row: &Row) -> Result<Seq> {
        match (row.mark, row.kind) {
            // Its entries may have gone one by one before it went itself.
            (Mark::Gone, Kind::Dir) => self.whole_before(path, row.at.next()),
            _ => Ok(row.at),
        }
    }

    fn preview(&self, path: &[u8], row: &Row, span: Span, pane: Pane) -> Result<Preview> {
        let shown = match (row.kind, pane) {
            (Kind::Dir, _) => self.names(row),
            (Kind::Symlink, _) => Ok(match self.version(row.node, row.at)?.map(|version| version.content) {
                Some(Content::Inline(target)) => Preview::aside(format!("symlink to {}", escape(&target))),
                _ => Preview::aside("symlink"),
            }),
            (Kind::File, Pane::Content) => self.file(path, row),
            (Kind::File, Pane::SinceBefore) => {
                self.compared(path, self.file_at(path, span.before)?, self.file_at(path, span.after)?)
            }
            (Kind::File, Pane::UntilNow) => {
                let now = self.file_at(path, self.reader.head())?;
                self.compared(path, Some((row.node, row.at)), now)
            }
            (kind, _) => Ok(Preview::aside(kind.as_str())),
        };
        // What cannot be read is said in its place, and the rest can be looked at.
        Ok(shown.unwrap_or_else(|error| Preview::aside(error.to_string())))
    }

    fn look_for(&mut self, text: &str) -> Result<()> {
        let walk = Walk::new(self.dir.clone(), Seq::ZERO, self.end.seq);
        self.search = Some(Search { text: text.to_lowercase(), walk, last: RefCell::default() });
        Ok(())
    }

    fn hits(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Hit)) -> Result<Progress> {
        let Some(Search { text, walk, last }) = &mut self.search else {
            return Ok(Progress { is_done: true, back_to: None });
        };
        let found = Cell::new(false);
        walk.read(&self.reader, &|| !found.get() && wants(), &mut |change| {
            let name = String::from_utf8_lossy(path::name(&change.path)).to_lowercase();
            if name.contains(text.as_str()) {
                let hit = Hit { seq: change.seq, path: change.path };
                // A file that is written again and again is one hit until another one comes between.
                let is_again = last.borrow().as_ref().is_some_and(|last| *last == hit);
                if !is_again {
                    last.replace(Some(hit.clone()));
                    take(hit);
                    found.set(true);
                }
            }
            Ok(())
        })?;
        let (is_done, reached) = (walk.is_over(), walk.reached());
        self.progress(is_done, reached)
    }
}

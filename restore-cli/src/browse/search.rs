//! Looking for a name through time: what was typed, the hits so far, which one is shown. No terminal, no drawing.

use asof_journal::types::Seq;

use super::data::{Data, Hit, Progress};
use crate::errors::Result;

/// Hits held at most.
const HITS_MAX: usize = 10_000;

/// A search that is typed, under way or over.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// What was typed.
    pub(super) text: String,
    /// Newest first.
    hits: Vec<Hit>,
    /// The hit that is shown.
    shown: Option<usize>,
    /// Whether a hit is waited for.
    is_waiting: bool,
    progress: Progress,
    /// Where it began: the directory and the place.
    origin: (Vec<u8>, Seq),
}

impl Search {
    /// Nothing is typed yet.
    pub(super) fn begin(&mut self, dir: &[u8], seq: Seq) {
        *self = Search { origin: (dir.to_vec(), seq), ..Search::default() };
    }

    /// Looks for what is typed now.
    pub(super) fn start(&mut self, data: &mut dyn Data) -> Result<()> {
        self.hits.clear();
        self.shown = None;
        self.progress = Progress::default();
        self.is_waiting = !self.text.is_empty();
        if self.is_waiting { data.look_for(&self.text) } else { Ok(()) }
    }

    /// Gives up; gives where it began.
    pub(super) fn cancel(&mut self) -> (Vec<u8>, Seq) {
        std::mem::take(self).origin
    }

    /// Does not wait any longer.
    pub(super) fn stop(&mut self) {
        self.is_waiting = false;
    }

    /// Whether somebody waits for a hit.
    pub(super) fn is_busy(&self) -> bool {
        self.is_waiting && !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.progress.is_done || self.hits.len() >= HITS_MAX
    }

    /// Goes on looking; gives the hit that was waited for. The first one is the newest at the place where the search began or
    /// before it; where there is none, the oldest after it.
    pub(super) fn idle(&mut self, data: &mut dyn Data, wants: &dyn Fn() -> bool) -> Result<Option<Hit>> {
        let hits = &mut self.hits;
        self.progress = data.hits(wants, &mut |hit| hits.push(hit))?;
        let next = match self.shown {
            Some(shown) => shown + 1,
            None => self.hits.iter().position(|hit| hit.seq <= self.origin.1).unwrap_or(self.hits.len()),
        };
        let next = match self.shown {
            None if next == self.hits.len() && self.is_over() => next.checked_sub(1),
            _ => Some(next),
        };
        let found = next.and_then(|next| self.hits.get(next)).cloned();
        if found.is_some() {
            (self.shown, self.is_waiting) = (next, false);
        } else if self.is_over() {
            self.is_waiting = false;
        }
        Ok(found)
    }

    /// The next older hit, or newer one, if it is known already.
    pub(super) fn step(&mut self, older: isize) -> Option<Hit> {
        let next = self.shown?.checked_add_signed(older)?;
        match self.hits.get(next) {
            Some(hit) => {
                self.shown = Some(next);
                Some(hit.clone())
            }
            None => {
                self.is_waiting = !self.is_over();
                None
            }
        }
    }

    /// What there is to say when no hit comes.
    pub(super) fn verdict(&self) -> Option<String> {
        if self.text.is_empty() {
            return Some("nothing was looked for: / begins".to_owned());
        }
        if self.is_busy() {
            return None;
        }
        match self.shown {
            None => Some(format!("no name ever contained `{}` here", self.text)),
            Some(0) if self.hits.len() > 1 => None,
            Some(shown) if shown + 1 >= self.hits.len() && self.is_over() => {
                Some("no further hit".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Which hit is shown, of how many so far, and how far it has come; `None` where nothing is looked for.
    pub(super) fn state(&self) -> Option<(usize, usize, Progress)> {
        let shown = self.shown.map_or(0, |shown| shown + 1);
        (!self.text.is_empty()).then_some((shown, self.hits.len(), self.progress))
    }
}

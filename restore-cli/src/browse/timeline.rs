//! The moments that were loaded, which one is selected, and which of them fit on a screen: pure.

use asof_journal::types::{Gap, Seq};

use super::data::{Progress, Span};
use crate::moments::{Moment, Placed};

/// Moments held at most; what is older is reached with `--at`.
pub(super) const MOMENTS_MAX: usize = 20_000;
/// So many are loaded beyond the selected one.
const AHEAD: usize = 400;

/// The moments of a directory, newest first.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    moments: Vec<Moment>,
    selected: usize,
    progress: Progress,
    /// The oldest one is wanted, or one that is at or before a place.
    seeks: Option<Seq>,
    gaps: Vec<Placed>,
}

impl Timeline {
    /// One that nothing is known of yet but the gaps.
    pub(super) fn new(gaps: Vec<Placed>) -> Timeline {
        Timeline { gaps, ..Timeline::default() }
    }

    /// Takes the next older moment.
    pub(super) fn push(&mut self, moment: Moment) {
        if self.moments.len() < MOMENTS_MAX {
            self.moments.push(moment);
        }
    }

    /// Notes how far loading has come, and goes on with a way to an older moment.
    pub(super) fn note(&mut self, progress: Progress) {
        self.progress = progress;
        let Some(seq) = self.seeks else { return };
        if let Some(found) = self.moments.iter().position(|moment| moment.first.seq <= seq) {
            (self.selected, self.seeks) = (found, None);
        } else {
            self.selected = self.moments.len().saturating_sub(1);
            if self.is_complete() {
                self.seeks = None;
            }
        }
    }

    /// Whether nothing more comes.
    pub(super) fn is_complete(&self) -> bool {
        self.progress.is_done || self.moments.len() >= MOMENTS_MAX
    }

    /// Whether older moments exist that are not held here.
    pub(super) fn is_full(&self) -> bool {
        !self.progress.is_done && self.moments.len() >= MOMENTS_MAX
    }

    /// Whether more should be loaded.
    pub(super) fn wants_more(&self) -> bool {
        !self.is_complete() && (self.seeks.is_some() || self.moments.len() < self.selected + AHEAD)
    }

    /// Whether somebody waits for an older moment.
    pub(super) fn is_seeking(&self) -> bool {
        self.seeks.is_some()
    }

    /// Nothing more comes, because it cannot be read.
    pub(super) fn give_up(&mut self) {
        (self.progress.is_done, self.seeks) = (true, None);
    }

    /// Gives up waiting.
    pub(super) fn stay(&mut self) {
        self.seeks = None;
    }

    /// How far loading has come.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Moves towards older moments, or newer ones.
    pub(super) fn step(&mut self, older: isize) {
        self.seeks = None;
        let last = self.moments.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(older).min(last);
    }

    /// To the newest.
    pub(super) fn newest(&mut self) {
        self.seeks = None;
        self.selected = 0;
    }

    /// To the oldest, which may have to be loaded first.
    pub(super) fn oldest(&mut self) {
        self.seek(Seq::ZERO);
    }

    /// To the moment that a place lies in, or the newest before it, which may have to be loaded first.
    pub(super) fn seek(&mut self, seq: Seq) {
        self.seeks = Some(seq);
        self.note(self.progress);
    }

    /// The selected moment.
    pub(super) fn current(&self) -> Option<&Moment> {
        self.moments.get(self.selected)
    }

    /// Its number from the newest, and how many there are so far.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.selected, self.moments.len())
    }

    /// The states before and after the selected moment; `end` where there is none.
    pub(super) fn span(&self, end: Seq) -> Span {
        match self.current() {
            Some(moment) => Span { before: moment.before(), after: moment.last.seq },
            None => Span { before: end, after: end },
        }
    }

    /// The moments that fit into so many columns with the selected one among them, newest first, and the number of the
    /// first of these.
    pub(super) fn window(&self, columns: usize) -> (usize, &[Moment]) {
        let columns = columns.max(1);
        // Pages of half a screen, so that the bars stand still while the selection walks.
        let start = match columns / 2 {
            0 => self.selected,
            half => (self.selected / half).saturating_sub(1) * half,
        };
        let end = (start + columns).min(self.moments.len());
        // Where less is left than fits, the screen is filled with newer ones.
        let start = start.min(end.saturating_sub(columns.min(end)));
        (start, self.moments.get(start..end).unwrap_or_default())
    }

    /// The gap in the coverage that lies between a moment and the one before it, if there is one.
    pub(super) fn gap_before(&self, number: usize) -> Option<&Gap> {
        let until = self.moments.get(number)?.last.seq;
        let from = match self.moments.get(number + 1) {
            Some(older) => older.last.seq,
            None => return None,
        };
        self.gaps.iter().find(|placed| (from..until).contains(&placed.place)).map(|placed| &placed.gap)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use asof_journal::types::{GapReason, Instant};

    use super::*;
    use crate::moments::tests::{change, created};
    use crate::moments::{Breaks, Grouper, Inside, Limits};

    /// A moment of one creation.
    pub(in crate::browse) fn moment(seq: u64, seconds: i64, path: &str) -> Moment {
        let mut grouper = Grouper::new(b"/".to_vec(), Limits::default(), Breaks::default());
        assert!(grouper.push(&change(seq, seconds, path, created()), Inside::default()).is_none());
        grouper.finish().unwrap()
    }

    fn timeline(count: u64) -> Timeline {
        let mut timeline = Timeline::default();
        for n in (1..=count).rev() {
            timeline.push(moment(n * 10, n as i64 * 100, "/r/a"));
        }
        timeline
    }

    fn done() -> Progress {
        Progress { is_done: true, back_to: None }
    }

    #[test]
    fn steps_end_at_both_ends() {
        let mut timeline = timeline(5);
        timeline.step(-3);
        assert_eq!(timeline.position(), (0, 5));
        timeline.step(3);
        timeline.step(10);
        assert_eq!(timeline.position(), (4, 5));
        assert_eq!(timeline.span(Seq(99)), Span { before: Seq(9), after: Seq(10) });
        timeline.newest();
        assert_eq!(timeline.position().0, 0);
        let mut nothing = Timeline::default();
        nothing.step(1);
        assert_eq!(nothing.span(Seq(7)), Span { before: Seq(7), after: Seq(7) });
        assert_eq!(nothing.window(10).1.len(), 0);
    }

    #[test]
    fn the_oldest_is_waited_for() {
        let mut timeline = timeline(3);
        timeline.oldest();
        assert!(timeline.is_seeking() && timeline.wants_more());
        timeline.push(moment(1, 1, "/r/a"));
        timeline.note(Progress::default());
        assert_eq!(timeline.position(), (3, 4));
        timeline.note(done());
        assert!(!timeline.is_seeking() && !timeline.wants_more());
    }

    #[test]
    fn a_place_leads_to_the_moment_that_holds_it() {
        let mut timeline = timeline(5);
        timeline.seek(Seq(35));
        assert_eq!(timeline.current().unwrap().last.seq, Seq(30));
        timeline.seek(Seq(40));
        assert_eq!(timeline.current().unwrap().last.seq, Seq(40));
        assert!(!timeline.is_seeking());
    }

    #[test]
    fn the_selected_moment_is_always_on_the_screen() {
        let mut timeline = timeline(1000);
        for columns in [1, 2, 7, 60] {
            timeline.newest();
            for n in 0..1000 {
                let (start, shown) = timeline.window(columns);
                assert!((start..start + shown.len()).contains(&n), "{n} in {start}+{}", shown.len());
                assert_eq!(shown.len(), columns);
                timeline.step(1);
            }
        }
    }

    #[test]
    fn a_gap_is_marked_where_it_lies() {
        let gap = Gap {
            scope: b"/r".to_vec(),
            from: Instant(210_000_000_000),
            until: Instant(220_000_000_000),
            reason: GapReason::AgentDown,
            detail: String::new(),
        };
        let mut timeline = timeline(4);
        timeline.gaps = vec![Placed { gap, place: Seq(25) }];
        timeline.note(done());
        let marked: Vec<bool> = (0..5).map(|n| timeline.gap_before(n).is_some()).collect();
        assert_eq!(marked, [false, true, false, false, false]);
    }
}

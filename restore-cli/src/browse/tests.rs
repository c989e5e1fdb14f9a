//! The browser over a tree in memory: every key, and what is on the screen then, small and large.

use std::cell::Cell;
use std::collections::VecDeque;

use asof_journal::history::{Change, What};
use asof_journal::types::{Gap, GapReason, Instant, Kind, NodeId, Seq};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;

use super::data::{Data, Hit, Mark, Pane, Preview, Progress, Row, Span, Tone, Until};
use super::model::{Effect, Mode, Model};
use super::restore::Stage;
use super::{preview, view};
use crate::errors::Result;
use crate::moments::tests::change;
use crate::moments::{Breaks, Grouper, Inside, Limits, Moment, Placed};
use crate::path;

const FOREVER: u64 = u64::MAX;
/// Entries of a huge directory.
const MANY: u64 = 100_000;

/// Something that was there from one place on until another one.
struct Thing {
    path: &'static str,
    kind: Kind,
    from: u64,
    until: u64,
    changed: &'static [u64],
}

impl Thing {
    fn is_there(&self, at: Seq) -> bool {
        (self.from..self.until).contains(&at.0)
    }
}

const THINGS: [Thing; 8] = [
    Thing { path: "/r/src", kind: Kind::Dir, from: 1, until: 40, changed: &[] },
    Thing { path: "/r/src/main.rs", kind: Kind::File, from: 2, until: 40, changed: &[20] },
    Thing { path: "/r/src/lib.rs", kind: Kind::File, from: 3, until: 40, changed: &[] },
    Thing { path: "/r/notes.txt", kind: Kind::File, from: 4, until: FOREVER, changed: &[30] },
    Thing { path: "/r/evil\x1b[2J\u{202e}name", kind: Kind::File, from: 5, until: FOREVER, changed: &[] },
    Thing { path: "/r/old", kind: Kind::File, from: 6, until: 10, changed: &[] },
    Thing { path: "/r/link", kind: Kind::Symlink, from: 7, until: FOREVER, changed: &[] },
    Thing { path: "/r/new", kind: Kind::File, from: 41, until: FOREVER, changed: &[] },
];

/// Everything that happened, newest first, a minute between the tens.
fn changes(dir: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for thing in &THINGS {
        let at = |seq: u64, what| change(seq, 1_790_000_000 + seq as i64 / 10 * 60, thing.path, what);
        changes.push(at(thing.from, What::Created { kind: thing.kind }));
        changes.extend(thing.changed.iter().map(|&seq| at(seq, What::Attributes)));
        if thing.until != FOREVER {
            changes.push(at(thing.until, What::Deleted { kind: thing.kind, unread: false }));
        }
    }
    changes.retain(|change| asof_journal::view::is_below(&change.path, dir.as_bytes()));
    changes.sort_by_key(|change| std::cmp::Reverse(change.seq));
    changes
}

/// The journal, in memory; it gives one moment and one hit at a time.
struct Memory {
    end: Seq,
    moments: Vec<Moment>,
    given: usize,
    hits: Vec<Hit>,
    hits_given: usize,
    lists: Cell<usize>,
    rows: VecDeque<Row>,
    given_rows: Cell<usize>,
}

impl Memory {
    fn new() -> Memory {
        let mut memory = Memory {
            end: Seq(41),
            moments: Vec::new(),
            given: 0,
            hits: Vec::new(),
            hits_given: 0,
            lists: Cell::new(0),
            rows: VecDeque::new(),
            given_rows: Cell::new(0),
        };
        memory.begin(b"/r", Until::Same).unwrap();
        memory
    }

    fn things<'t>(&self, dir: &'t [u8]) -> impl Iterator<Item = &'static Thing> + use<'t> {
        THINGS.iter().filter(move |thing| path::parent(thing.path.as_bytes()) == dir)
    }
}

impl Data for Memory {
    fn begin(&mut self, dir: &[u8], until: Until) -> Result<()> {
        if until == Until::Newest {
            self.end = Seq(41);
        }
        let mut grouper = Grouper::new(dir.to_vec(), Limits::default(), Breaks::default());
        let changes = changes(std::str::from_utf8(dir).unwrap());
        self.moments = changes.iter().filter_map(|change| grouper.push(change, Inside::default())).collect();
        self.moments.extend(grouper.finish());
        self.given = 0;
        Ok(())
    }

    fn older(&mut self, _: &dyn Fn() -> bool, take: &mut dyn FnMut(Moment)) -> Result<Progress> {
        if let Some(moment) = self.moments.get(self.given) {
            take(moment.clone());
            self.given += 1;
        }
        Ok(Progress { is_done: self.given >= self.moments.len(), back_to: Some(Instant(0)) })
    }

    fn end(&self) -> Seq {
        self.end
    }

    fn gaps(&self) -> Result<Vec<Placed>> {
        let at = |seconds: i64| Instant((1_790_000_000 + seconds) * 1_000_000_000);
        let (from, until) = (at(130), at(170));
        let reason = GapReason::AgentDown;
        let gap = Gap { scope: b"/r".to_vec(), from, until, reason, detail: String::new() };
        Ok(vec![Placed { gap, place: Seq(20) }])
    }

    fn list(&mut self, dir: &[u8], span: Span, gone: bool) -> Result<Option<String>> {
        self.lists.set(self.lists.get() + 1);
        let mut rows = Vec::new();
        for (number, thing) in self.things(dir).enumerate() {
            let (before, after) = (thing.is_there(span.before), thing.is_there(span.after));
            let touched = THINGS.iter().any(|other| {
                let is_in = |seq: &u64| (span.before.0 + 1..=span.after.0).contains(seq);
                other.path.starts_with(thing.path) && other.changed.iter().any(is_in)
            });
            let (mark, at) = match (before, after) {
                (true, true) if touched => (Mark::Modified, span.after),
                (true, true) => (Mark::Same, span.after),
                (false, true) => (Mark::Created, span.after),
                (true, false) => (Mark::Deleted, span.before),
                (false, false) if gone && thing.until <= span.before.0 => (Mark::Gone, Seq(thing.until - 1)),
                (false, false) => continue,
            };
            let name = path::name(thing.path.as_bytes()).to_vec();
            rows.push(Row { name, kind: thing.kind, node: NodeId(number as u64), mark, at, size: None });
        }
        if dir == b"/r/many" {
            rows.extend((0..MANY).map(|n| {
                let (name, kind) =
                    (format!("{n:06}").into_bytes(), if n % 1000 == 999 { Kind::Dir } else { Kind::File });
                Row { name, kind, node: NodeId(1000 + n), mark: Mark::Same, at: span.after, size: None }
            }));
        }
        rows.sort_by_key(|row| row.name.clone());
        let note = rows.is_empty().then(|| "nothing here".to_owned());
        self.rows = rows.into();
        Ok(note)
    }

    fn rows(&mut self, wants: &dyn Fn() -> bool, take: &mut dyn FnMut(Row)) -> Result<bool> {
        loop {
            self.given_rows.set(self.given_rows.get() + self.rows.len().min(1000));
            self.rows.drain(..self.rows.len().min(1000)).for_each(&mut *take);
            if self.rows.is_empty() || !wants() {
                return Ok(self.rows.is_empty());
            }
        }
    }

    fn size(&self, _: &Row) -> Result<Option<u64>> {
        Ok(Some(4321))
    }

    fn whole_at(&self, _: &[u8], row: &Row) -> Result<Seq> {
        Ok(row.at)
    }

    fn preview(&self, path: &[u8], row: &Row, span: Span, pane: Pane) -> Result<Preview> {
        let path = crate::output::escape(path);
        Ok(match pane {
            Pane::Content => {
                let mut preview = preview::content(format!("{path} at {}\n\x1b[31m", row.at).as_bytes(), 500);
                preview.lines.extend((0..50).map(|n| (Tone::Plain, format!("line {n}"))));
                preview
            }
            Pane::SinceBefore => preview::difference(
                format!("at {}\n", span.before).as_bytes(),
                format!("at {}\n", span.after).as_bytes(),
            ),
            Pane::UntilNow => preview::difference(format!("at {}\n", row.at).as_bytes(), b"now\n"),
        })
    }

    fn look_for(&mut self, text: &str) -> Result<()> {
        let hits = changes("/r")
            .into_iter()
            .filter(|change| String::from_utf8_lossy(path::name(&change.path)).contains(text));
        self.hits = hits.map(|change| Hit { seq: change.seq, path: change.path }).collect();
        self.hits_given = 0;
        Ok(())
    }

    fn hits(&mut self, _: &dyn Fn() -> bool, take: &mut dyn FnMut(Hit)) -> Result<Progress> {
        if let Some(hit) = self.hits.get(self.hits_given) {
            take(hit.clone());
            self.hits_given += 1;
        }
        Ok(Progress { is_done: self.hits_given >= self.hits.len(), back_to: None })
    }
}

/// A browser at a terminal of a size.
struct Desk {
    data: Memory,
    model: Model,
    size: (u16, u16),
}

impl Desk {
    fn new(width: u16, height: u16) -> Desk {
        let data = Memory::new();
        let model = Model::new(b"/r".to_vec(), None, &data).unwrap();
        let mut desk = Desk { data, model, size: (width, height) };
        desk.settle();
        desk
    }

    /// Until nothing is left to do without a key.
    fn settle(&mut self) {
        let rows = view::rows_shown(Rect::new(0, 0, self.size.0, self.size.1));
        self.model.fill(&mut self.data, rows);
        while self.model.is_busy() {
            self.model.idle(&mut self.data, &|| true);
        }
        self.model.fill(&mut self.data, rows);
    }

    fn code(&mut self, code: KeyCode) -> Option<Effect> {
        let effect = self.model.key(KeyEvent::from(code), &mut self.data);
        self.settle();
        effect
    }

    /// Types letters, none of which asks for anything from outside.
    fn keys(&mut self, text: &str) -> &mut Desk {
        for c in text.chars() {
            assert_eq!(self.code(KeyCode::Char(c)), None, "{c}");
        }
        self
    }

    fn press(&mut self, codes: &[KeyCode]) -> &mut Desk {
        for code in codes {
            assert_eq!(self.code(*code), None, "{code:?}");
        }
        self
    }

    fn screen(&self) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(self.size.0, self.size.1)).unwrap();
        terminal.draw(|frame| view::draw(frame, &self.model, view::Theme { colour: true })).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..self.size.0).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..self.size.1).map(row).collect()
    }

    #[track_caller]
    fn shows(&mut self, text: &str) -> &mut Desk {
        let screen = self.screen();
        assert!(screen.iter().any(|line| line.contains(text)), "`{text}` is not in\n{}", screen.join("\n"));
        self
    }

    #[track_caller]
    fn hides(&mut self, text: &str) -> &mut Desk {
        let screen = self.screen();
        assert!(!screen.iter().any(|line| line.contains(text)), "`{text}` is in\n{}", screen.join("\n"));
        self
    }
}

#[test]
fn everything_has_its_place_on_small_and_large_terminals() {
    for size in [(80, 24), (160, 50)] {
        let mut desk = Desk::new(size.0, size.1);
        desk.shows(" asof browse  /r").shows("moment 1 of 5").shows("seq:41");
        desk.shows("2 files and 1 directory deleted below src/, new created");
        desk.shows("- src/").shows("+ new").shows("  link@").shows("4.2K");
        desk.shows("directory").shows("▲").shows("!");
        desk.shows("Enter/Bksp in/up").shows("? help  q quit");
    }
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    for size in [(39, 24), (80, 9), (1, 1), (0, 0)] {
        let desk = Desk::new(size.0, size.1);
        let screen = desk.screen().concat();
        assert!(size.0 < 20 || screen.contains("too small: 40x10 is needed"), "{screen}");
    }
    Desk::new(40, 10).shows("moment 1 of 5").shows("q quit");
}

#[test]
fn moments_are_gone_through_and_the_directory_is_as_it_was() {
    let mut desk = Desk::new(80, 24);
    desk.press(&[KeyCode::Left]).shows("moment 2 of 5").shows("notes.txt changed").shows("~ notes.txt");
    desk.shows("gap: agent not running").hides("+ new").shows("  src/");
    desk.keys("h").shows("moment 3 of 5").shows("~ src/").hides("gap: agent");
    desk.press(&[KeyCode::Home])
        .shows("moment 5 of 5")
        .shows("+ old")
        .shows("6 files and 1 directory created");
    desk.press(&[KeyCode::Right]).keys("l").shows("moment 3 of 5");
    desk.press(&[KeyCode::PageUp]).shows("moment 5 of 5").press(&[KeyCode::PageDown]).shows("moment 1 of 5");
    desk.keys("h").press(&[KeyCode::End]).shows("moment 1 of 5");
}

#[test]
fn what_was_deleted_can_be_entered_and_looked_at() {
    let mut desk = Desk::new(80, 24);
    desk.keys("g").press(&[KeyCode::Enter]).shows(" asof browse  /r/src").shows("- main.rs").shows("1 of 2");
    desk.shows("/r/src/lib.rs at seq:39").press(&[KeyCode::Down]).shows("/r/src/main.rs at seq:39");
    desk.press(&[KeyCode::Backspace]).shows("- src/");
    assert_eq!(desk.model.row().unwrap().name, b"src", "back on what was left");
    desk.press(&[KeyCode::End]).keys("G").shows("5 of 5").keys("kkj");
    assert_eq!(desk.model.cursor, 3);
    desk.hides("x old").keys("D").shows("x old").keys("D").hides("x old");
}

#[test]
fn content_and_both_comparisons_are_shown() {
    let mut desk = Desk::new(80, 24);
    desk.press(&[KeyCode::Left]).keys("G");
    assert_eq!(desk.model.row().unwrap().name, b"notes.txt");
    desk.shows("/r/notes.txt at seq:30").shows("\\x1b[31m").shows("line 3");
    desk.keys("d").shows("notes.txt: what this moment changed").shows("-at seq:29").shows("+at seq:30");
    desk.keys("d").shows("changed from here until now").shows("-at seq:30").shows("+now");
    desk.keys("d").shows("line 3").keys("  ").hides("line 3 ").shows("from line 21 of 53");
    desk.keys("b").shows("from line 11 of 53").press(&[KeyCode::Enter]).shows("d compares");
}

#[test]
fn a_name_is_found_through_time() {
    let mut desk = Desk::new(80, 24);
    desk.keys("/").shows("type a part of a name").keys("main").shows("hit 1 of").shows("/main");
    assert_eq!(desk.model.row().unwrap().name, b"main.rs");
    desk.shows("- main.rs").shows(" asof browse  /r/src").press(&[KeyCode::Enter]);
    desk.keys("n").shows("~ main.rs").shows("moment 3 of 5").keys("n").shows("+ main.rs").shows("hit 3 of 3");
    desk.keys("n").shows("no further hit").keys("N").shows("moment 3 of 5");
    desk.keys("/nowhere").shows("no name ever contained this here");
    desk.press(&[KeyCode::Backspace, KeyCode::Esc]).shows("moment 3 of 5").shows("/r/src");
    assert!(matches!(desk.model.mode, Mode::Browse));
    Desk::new(80, 24).keys("n").shows("/ begins");
}

#[test]
fn a_directory_has_a_timeline_of_its_own() {
    let mut desk = Desk::new(80, 24);
    desk.keys("g").press(&[KeyCode::Enter]).keys("t").shows("moment 1 of 3").shows("/r/src");
    desk.keys("R").shows("moment 1 of 3").press(&[KeyCode::F(5)]).shows("moment 1 of 3");
    desk.press(&[KeyCode::Backspace]).shows("moment 1 of 5").shows("browse  /r ");
    desk.press(&[KeyCode::Backspace]).shows("browse  / ").press(&[KeyCode::Backspace]).shows("browse  / ");
    desk.shows("nothing here").keys("r").shows("choose something to restore first");
}

#[test]
fn the_keys_are_explained() {
    for size in [(80, 24), (160, 50)] {
        let mut desk = Desk::new(size.0, size.1);
        desk.keys("?")
            .shows("into a directory, up")
            .shows("green: mostly creations")
            .keys("x")
            .hides("into a");
    }
}

#[test]
fn a_restore_is_planned_before_it_is_done() {
    for size in [(80, 24), (160, 50)] {
        let mut desk = Desk::new(size.0, size.1);
        desk.keys("gr").shows("restore /r/src as of seq:39").shows("./restored-2026-").shows("/src█");
        let ctrl_u = KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(desk.model.key(ctrl_u, &mut desk.data), None);
        desk.press(&[KeyCode::Enter]).shows("restore /r/src").keys("/tmp/xy").press(&[KeyCode::Backspace]);
        let Some(Effect::Plan(request)) = desk.code(KeyCode::Enter) else { panic!("no plan is made") };
        assert_eq!((&request.path[..], request.at), (&b"/r/src"[..], Seq(39)));
        assert_eq!(request.to.as_deref().and_then(std::path::Path::to_str), Some("/tmp/x"));
        desk.shows("planning ...");
        let told = |desk: &mut Desk, lines: &[&str], is_good| {
            let Mode::Restore(dialog) = &mut desk.model.mode else { panic!("the dialog is left") };
            dialog.hear(lines.iter().map(|line| (*line).to_owned()).collect(), is_good);
        };
        told(&mut desk, &["the target is not empty"], false);
        desk.shows("this cannot be done").press(&[KeyCode::Enter]).keys("e").shows("/tmp/x█");
        assert!(matches!(desk.code(KeyCode::Enter), Some(Effect::Plan(_))));
        let plan: Vec<String> = (0..100).map(|n| format!("file /tmp/x/{n}.")).collect();
        told(&mut desk, &plan.iter().map(String::as_str).collect::<Vec<_>>(), true);
        desk.shows("the plan:").shows("/x/0.").keys("jj").hides("/x/1.").keys("k").shows("/x/1.");
        desk.press(&[KeyCode::PageDown, KeyCode::Down, KeyCode::Up, KeyCode::PageUp]).shows("/x/1.");
        assert_eq!(desk.code(KeyCode::Char('y')), Some(Effect::Restore(request)));
        desk.shows("restoring ...");
        assert_eq!(desk.code(KeyCode::Esc), Some(Effect::Stop));
        desk.shows("stopping ...").keys("qy").press(&[KeyCode::Esc]);
        told(&mut desk, &["interrupted"], false);
        desk.shows("not all of it was done").shows("interrupted").press(&[KeyCode::Enter]);
        assert!(matches!(desk.model.mode, Mode::Browse));
        desk.keys("r").press(&[KeyCode::Esc]);
        assert!(matches!(desk.model.mode, Mode::Browse));
    }
}

#[test]
fn a_restore_goes_back_in_place_where_that_is_chosen() {
    let mut desk = Desk::new(80, 24);
    desk.keys("gr").shows("Tab in place or not").press(&[KeyCode::Tab]).shows("where it was (in place)");
    desk.shows("`asof undo` takes it back").keys("x").press(&[KeyCode::Backspace]).shows("where it was");
    let Some(Effect::Plan(request)) = desk.code(KeyCode::Enter) else { panic!("no plan is made") };
    assert_eq!((&request.path[..], request.to), (&b"/r/src"[..], None));
    let mut desk = Desk::new(80, 24);
    desk.keys("gr").press(&[KeyCode::Tab, KeyCode::Tab]).shows("./restored-").hides("where it was");
}

#[test]
fn every_way_out_leads_out() {
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for start in ["", "/", "?", "r"] {
        let mut desk = Desk::new(80, 24);
        desk.keys(start);
        assert_eq!(desk.model.key(ctrl_c, &mut desk.data), Some(Effect::Quit), "{start}");
    }
    assert_eq!(Desk::new(80, 24).code(KeyCode::Char('q')), Some(Effect::Quit));
    assert_eq!(Desk::new(80, 24).code(KeyCode::Esc), Some(Effect::Quit));
}

/// A key is answered after one page of a directory at most, and the cursor stays on its entry while the rest comes.
#[test]
fn a_huge_directory_is_shown_before_all_of_it_is_read() {
    let mut data = Memory::new();
    let mut model = Model::new(b"/r/many".to_vec(), None, &data).unwrap();
    model.fill(&mut data, 20);
    assert_eq!((data.given_rows.get(), model.listing.is_partial), (1000, true));
    let press = |model: &mut Model, data: &mut Memory, code| {
        assert_eq!(model.key(KeyEvent::from(code), data), None);
        model.fill_again(data);
    };
    for _ in 0..3 {
        press(&mut model, &mut data, KeyCode::Down);
    }
    assert_eq!(data.given_rows.get(), 1000, "keys read nothing further");
    let name = model.row().unwrap().name.clone();
    assert_eq!(name, b"000002", "behind the one directory of the page");
    let mut slices = 0;
    while model.is_busy() {
        let before = data.given_rows.get();
        model.idle(&mut data, &|| false);
        assert!(data.given_rows.get() <= before + 1000);
        model.fill(&mut data, 20);
        assert_eq!(model.row().unwrap().name, name);
        slices += 1;
    }
    assert!(slices >= 99, "{slices}");
    assert_eq!(model.listing.rows.len() as u64, MANY);
    assert!(model.listing.rows[..100].iter().all(|row| row.kind == Kind::Dir));
    assert!(model.listing.rows[100..].windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!(model.cursor, 102);
    // Where another one is wanted, the cursor goes there as soon as it is known.
    model.go_to(b"/r/many/077777", Seq(1));
    model.fill(&mut data, 20);
    assert!(model.row().is_none_or(|row| row.name != b"077777"));
    while model.is_busy() {
        model.idle(&mut data, &|| false);
        model.fill(&mut data, 20);
    }
    assert_eq!(model.row().unwrap().name, b"077777");
    let pages = data.given_rows.get() as u64 / 1000;
    assert_eq!(pages, 2 * MANY / 1000 + 1, "read once each time, beside the page before a moment was known");
}

#[test]
fn a_picture_costs_nothing_while_nothing_changes() {
    let mut desk = Desk::new(80, 24);
    let lists = desk.data.lists.get();
    for _ in 0..10 {
        desk.settle();
    }
    assert_eq!(desk.data.lists.get(), lists);
}

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let code = prop_oneof![
        8 => prop::sample::select("hjklgGdDtRrnN/?eyb q.xain".chars().map(KeyCode::Char).collect::<Vec<_>>()),
        4 => prop::sample::select(vec![
            KeyCode::Left, KeyCode::Right, KeyCode::Up, KeyCode::Down, KeyCode::Home, KeyCode::End, KeyCode::Enter,
            KeyCode::Backspace, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Esc, KeyCode::F(5), KeyCode::Tab,
        ]),
    ];
    code.prop_map(KeyEvent::from)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn whatever_is_typed_there_is_a_picture_that_no_terminal_obeys(
        keys in prop::collection::vec(any_key(), 0..60),
        sizes in prop::collection::vec((1..200u16, 1..60u16), 1..6),
    ) {
        let mut desk = Desk::new(80, 24);
        for (number, key) in keys.into_iter().enumerate() {
            let effect = desk.model.key(key, &mut desk.data);
            if let (Some(Effect::Plan(_) | Effect::Restore(_) | Effect::Stop), Mode::Restore(dialog)) = (effect, &mut desk.model.mode) {
                dialog.hear(vec!["done".into(); 30], number % 3 > 0);
            }
            desk.size = sizes[number % sizes.len()];
            desk.settle();
            for line in desk.screen() {
                prop_assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
            }
            if let Mode::Restore(dialog) = &desk.model.mode {
                prop_assert!(dialog.stage != Stage::Over);
            }
            prop_assert!(desk.model.cursor < desk.model.listing.rows.len().max(1));
        }
    }
}

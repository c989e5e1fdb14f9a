//! The model as a picture: where everything goes on a screen, and how it looks. Changes nothing, asks nobody.

mod chart;
mod popup;

use asof_journal::types::Kind;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::{Block, Widget};

use super::data::{Mark, Row, Tone};
use super::model::{Mode, Model};
use crate::moments::{Moment, sentence};
use crate::output::{escape, local, span};

/// Smaller terminals get a sentence instead.
const WIDTH_MIN: u16 = 40;
const HEIGHT_MIN: u16 = 10;
/// From this height on everything has its rows; below, the header, the chart and the keys make room.
const HEIGHT_ROOMY: u16 = 16;
/// Columns of a size.
const SIZE_WIDTH: u16 = 6;

/// The keys, as they stand at the bottom; the first of these lines goes where there is room for one.
const KEYS: [&str; 2] = [
    "←→ moment  PgUp/Dn ten  Home/End first/newest  ↑↓ entry  Enter/Bksp in/up",
    "/ search n/N  d compare  D gone  t timeline  r restore  R now  ? help  q quit",
];

/// The same where the terminal is narrow.
const KEYS_NARROW: [&str; 2] =
    ["←→ moment  ↑↓ entry  Enter/Bksp in/up", "? help  q quit  r restore  / search"];
/// From this width on there is room for all keys.
const WIDTH_ROOMY: u16 = 80;

/// Colours, or none where they are not wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// Whether there are colours.
    pub(super) colour: bool,
}

impl Theme {
    fn paint(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn aside(self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new().add_modifier(Modifier::DIM) }
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn mark(self, mark: Mark) -> Style {
        match mark {
            Mark::Same => Style::new(),
            Mark::Created => self.paint(Color::Green),
            Mark::Modified => self.paint(Color::Yellow),
            Mark::Deleted => self.paint(Color::Red),
            Mark::Gone => self.aside(),
        }
    }
}

/// Where everything goes.
struct Areas {
    header: Rect,
    chart: Rect,
    list: Rect,
    preview: Rect,
    keys: Rect,
}

impl Areas {
    /// `None` where there is not enough room.
    fn of(area: Rect) -> Option<Areas> {
        if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
            return None;
        }
        let is_roomy = area.height >= HEIGHT_ROOMY;
        let (header, keys) = if is_roomy { (3, 2) } else { (2, 1) };
        let chart = match area.height {
            40.. => 10,
            30.. => 8,
            24.. => 6,
            HEIGHT_ROOMY.. => 4,
            _ => 3,
        };
        let body = area.height - header - chart - keys;
        let list = (area.width * 2 / 5).max(18);
        let row = |y, height| Rect { y: area.y + y, height, ..area };
        let middle = row(header + chart, body);
        Some(Areas {
            header: row(0, header),
            chart: row(header, chart),
            list: Rect { width: list, ..middle },
            preview: Rect { x: middle.x + list, width: middle.width - list, ..middle },
            keys: row(header + chart + body, keys),
        })
    }
}

/// How many entries fit on a screen.
pub(super) fn rows_shown(area: Rect) -> usize {
    Areas::of(area).map_or(1, |areas| usize::from(areas.list.height.saturating_sub(2)))
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let Some(areas) = Areas::of(area) else {
        let text = format!("too small: {WIDTH_MIN}x{HEIGHT_MIN} is needed, q leaves");
        put(buffer, area, 0, &text, Style::new());
        return;
    };
    header(buffer, areas.header, model, theme);
    chart::draw(buffer, areas.chart, model, theme);
    list(buffer, areas.list, model, theme);
    preview(buffer, areas.preview, model, theme);
    keys(buffer, areas.keys, model, theme);
    popup::draw(buffer, area, model, theme);
}

/// Puts one line into a row of an area, cut where the area ends.
fn put(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    if row < area.height && area.width > 0 {
        buffer.set_stringn(area.x, area.y + row, text, usize::from(area.width), style);
    }
}

/// The same, at the right edge.
fn put_right(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    let width = u16::try_from(text.chars().count()).unwrap_or(u16::MAX).min(area.width);
    put(buffer, Rect { x: area.x + area.width - width, width, ..area }, row, text, style);
}

fn header(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let bar = Rect { height: 1, ..area };
    buffer.set_style(bar, theme.selected());
    put(buffer, bar, 0, &format!(" asof browse  {}", escape(&model.dir)), theme.selected());
    let (number, count) = model.timeline.position();
    let more = if model.timeline.is_complete() && !model.timeline.is_full() { "" } else { "+" };
    if count > 0 {
        put_right(buffer, bar, 0, &format!(" moment {} of {count}{more} ", number + 1), theme.selected());
    }
    let Some(moment) = model.timeline.current() else {
        let text = match model.timeline.is_complete() {
            true => "the journal knows of nothing that happened here",
            false => "looking for what happened here ...",
        };
        put(buffer, area, 1, &format!(" {text}"), theme.aside());
        return;
    };
    put(buffer, area, 1, &format!(" {}", time_of(moment)), theme.strong());
    let mut text = String::from(" ");
    let mut style = Style::new();
    if let Some(gap) = model.timeline.gap_before(number) {
        let until = if gap.is_open() { "now".to_owned() } else { clock(gap.until) };
        text.push_str(&format!("! gap: {}, {} to {until}; ", gap.reason.as_str(), clock(gap.from)));
        style = theme.paint(Color::Yellow);
    }
    text.push_str(&sentence(moment, &model.root));
    put(buffer, area, 2, &text, style);
}

/// Local time, UTC, and the place in the order.
fn time_of(moment: &Moment) -> String {
    let utc = moment.last.instant.to_utc().format("%H:%M:%SZ");
    let span = span(moment.first.instant, moment.last.instant, None);
    format!("{span} ({utc})  {}", moment.last.seq)
}

fn clock(instant: asof_journal::types::Instant) -> String {
    let text = local(instant);
    // 2026-11-28T14:02:11.000000000+01:00: the day and the minute.
    text.get(5..16).map_or(text.clone(), |text| text.replace('T', " "))
}

fn list(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let title = match model.listing.rows.len() {
        0 => " entries ".to_owned(),
        count if model.listing.is_partial => format!(" {} of {count} so far ... ", model.cursor + 1),
        count => format!(" {} of {count} ", model.cursor + 1),
    };
    let block = Block::bordered().title(title).border_style(theme.aside());
    let inner = block.inner(area);
    block.render(area, buffer);
    if model.listing.rows.is_empty() {
        let empty = if model.listing.is_partial { "reading ..." } else { "empty" };
        let text = model.listing.note.as_deref().unwrap_or(empty);
        put(buffer, inner, 0, text, theme.aside());
        return;
    }
    for (row, (number, entry)) in (0..inner.height).zip(model.listing.rows.iter().enumerate().skip(model.top))
    {
        let line = Rect { y: inner.y + row, height: 1, ..inner };
        list_row(buffer, line, entry, theme);
        if number == model.cursor {
            buffer.set_style(line, theme.selected());
        }
    }
    // In the lower edge, where no entry is hidden by it.
    if let Some(note) = &model.listing.note {
        let edge = Rect { x: area.x + 2, y: area.y + area.height - 1, width: area.width - 4, height: 1 };
        put(buffer, edge, 0, &format!(" {note} "), theme.paint(Color::Yellow));
    }
}

fn list_row(buffer: &mut Buffer, area: Rect, row: &Row, theme: Theme) {
    let style = theme.mark(row.mark);
    put(buffer, area, 0, &row.mark.letter().to_string(), style.add_modifier(Modifier::BOLD));
    let tail = match row.kind {
        Kind::Dir => "/",
        Kind::Symlink => "@",
        Kind::File => "",
        _ => "|",
    };
    let name = Rect { x: area.x + 2, width: area.width.saturating_sub(SIZE_WIDTH + 3), ..area };
    put(buffer, name, 0, &format!("{}{tail}", escape(&row.name)), style);
    if let Some(size) = row.size {
        put_right(buffer, area, 0, &short(size), style);
    }
}

fn preview(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let block = Block::bordered().title(format!(" {} ", model.preview_title())).border_style(theme.aside());
    let inner = block.inner(area);
    block.render(area, buffer);
    let shown = model.preview.lines.iter().skip(model.scroll);
    for (row, (tone, line)) in (0..inner.height).zip(shown) {
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Added => theme.paint(Color::Green),
            Tone::Removed => theme.paint(Color::Red),
            Tone::Aside => theme.aside(),
        };
        put(buffer, inner, row, line, style);
    }
    if model.scroll > 0 {
        let edge = Rect { y: area.y + area.height - 1, height: 1, ..area };
        let last = model.preview.lines.len();
        put_right(buffer, edge, 0, &format!(" from line {} of {last} ", model.scroll + 1), theme.aside());
    }
}

fn keys(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let lines = if area.width < WIDTH_ROOMY { KEYS_NARROW } else { KEYS };
    for (row, line) in (0..area.height).zip(lines.iter().rev().take(usize::from(area.height)).rev()) {
        put(buffer, area, row, &format!(" {line}"), theme.aside());
    }
    if let Some((text, style)) = said(model, theme) {
        let line = Rect { height: 1, ..area };
        put(buffer, line, 0, &" ".repeat(usize::from(area.width)), Style::new());
        put(buffer, line, 0, &format!(" {text}"), style);
    }
}

/// What takes the place of the first line of keys.
fn said(model: &Model, theme: Theme) -> Option<(String, Style)> {
    let back_to = |progress: super::data::Progress| {
        progress.back_to.map_or(String::new(), |back_to| format!(" back to {}", clock(back_to)))
    };
    let hits = model.search.state().map(|(shown, count, progress)| {
        let state = match progress.is_done {
            true if count == 0 => "no name ever contained this here".to_owned(),
            true => format!("hit {shown} of {count}"),
            false if model.search.is_busy() => format!("searching{} ...", back_to(progress)),
            false => format!("hit {shown} of {count} so far,{}", back_to(progress)),
        };
        format!("/{}   {state}   n older  N newer", escape(model.search.text.as_bytes()))
    });
    if let Mode::Search = model.mode {
        let text = hits.map_or_else(
            || "/   type a part of a name; Enter stays, Esc goes back".to_owned(),
            |hits| format!("{hits}  Enter stays, Esc goes back"),
        );
        return Some((text, theme.strong()));
    }
    if let Some(message) = &model.message {
        return Some((message.clone(), theme.strong()));
    }
    if model.timeline.is_seeking() {
        let text = format!("loading older moments{} ... Esc stops", back_to(model.timeline.progress()));
        return Some((text, theme.strong()));
    }
    hits.map(|hits| (hits, theme.strong()))
}

/// A number of bytes in at most five columns.
fn short(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["", "K", "M", "G", "T", "P"] {
        if value < 1000.0 {
            let decimals = usize::from(!unit.is_empty() && value < 9.95);
            return format!("{value:.decimals$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.0}E")
}

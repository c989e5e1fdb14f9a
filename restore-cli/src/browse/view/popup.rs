//! What lies over the screen: the keys explained, and the dialog of a restore.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Block, Clear, Widget};

use super::super::model::{Mode, Model};
use super::super::restore::{Dialog, Stage};
use super::{Theme, put};
use crate::output::escape;

const HELP: [&str; 18] = [
    "left right   h l     the moment before, after",
    "PageUp PageDown      ten moments",
    "Home End             the first moment, the newest",
    "up down   k j  g G   entries",
    "Enter Backspace      into a directory, up",
    "/  then  n N         search a name through time; older, newer hit",
    "d                    content, what this moment changed, what changed",
    "                     since",
    "Space b              through the preview",
    "D                    show what was deleted earlier",
    "t                    the timeline of this directory alone",
    "r                    restore the entry as of this moment",
    "R F5                 up to now",
    "q Esc Ctrl-C         leave",
    "",
    "+ came in this moment   ~ changed   - went   x went earlier",
    "! in the chart: nobody watched for some time before this moment",
    "red bars: mostly deletions; green: mostly creations",
];

/// Draws what lies over the screen, if anything does.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    match &model.mode {
        Mode::Browse | Mode::Search => {}
        Mode::Help => {
            let inner = frame(buffer, area, (72, 20), " keys; any key goes back ");
            for (row, line) in (0..).zip(HELP) {
                put(buffer, inner, row, line, Style::new());
            }
        }
        Mode::Restore(dialog) => restore(buffer, area, dialog, theme),
    }
}

/// A box in the middle, as large as fits; gives its inside.
fn frame(buffer: &mut Buffer, area: Rect, (width, height): (u16, u16), title: &str) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    let block = Block::bordered().title(title.to_owned());
    let inner = block.inner(place);
    block.render(place, buffer);
    Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner }
}

fn restore(buffer: &mut Buffer, area: Rect, dialog: &Dialog, theme: Theme) {
    let title = format!(" restore {} as of {} ", escape(&dialog.path), dialog.at);
    let size = (area.width.saturating_sub(6), area.height.saturating_sub(4).max(8));
    let (size, lines, keys) = match &dialog.stage {
        Stage::Target => {
            ((size.0, 8), &[][..], "Enter shows the plan  Tab in place or not  Ctrl-U clears  Esc back")
        }
        Stage::Planning => (size, &[][..], "planning ... Esc stops"),
        Stage::Plan { lines, is_good: true } => {
            (size, &lines[..], "Enter or y restores   e changes the target   Esc goes back   up down")
        }
        Stage::Plan { lines, is_good: false } => {
            (size, &lines[..], "this cannot be done   e changes the target   Esc goes back")
        }
        Stage::Running => (size, &[][..], "restoring ... Esc stops it, file by file"),
        Stage::Stopping => (size, &[][..], "stopping ..."),
        Stage::Outcome { lines, .. } => (size, &lines[..], "Enter goes back   up down"),
        Stage::Over => return,
    };
    let inner = frame(buffer, area, size, &title);
    put(buffer, inner, 0, "to:", theme.strong());
    let target = Rect { x: inner.x + 4, width: inner.width.saturating_sub(4), ..inner };
    let typed = match dialog.in_place {
        true => "where it was (in place)".to_owned(),
        false => escape(dialog.target.as_bytes()),
    };
    let cursor = if dialog.stage == Stage::Target { "█" } else { "" };
    // The end of what is typed is what people look at.
    let skip = (typed.chars().count() + 1).saturating_sub(usize::from(target.width));
    let end: String = typed.chars().skip(skip).collect();
    put(buffer, target, 0, &format!("{end}{cursor}"), Style::new());
    let heading = match &dialog.stage {
        Stage::Target if dialog.in_place => "what differs there is replaced; `asof undo` takes it back",
        Stage::Target => "nothing that exists is touched: a target that is not empty is refused",
        Stage::Plan { .. } => "the plan:",
        Stage::Outcome { is_good: true, .. } => "done:",
        Stage::Outcome { is_good: false, .. } => "not all of it was done:",
        _ => "",
    };
    put(buffer, inner, 2, heading, theme.strong());
    let body = Rect { y: inner.y + 3, height: inner.height.saturating_sub(5), ..inner };
    let shown = lines.iter().skip(dialog.scroll).flat_map(|line| wrapped(line, usize::from(body.width)));
    for (row, line) in (0..body.height).zip(shown) {
        put(buffer, body, row, &line, Style::new());
    }
    if let Some(line) = &dialog.under_way {
        put(buffer, body, 0, line, Style::new());
    }
    put(buffer, inner, inner.height.saturating_sub(1), keys, theme.aside());
}

/// A line in pieces that fit: what is cut off could be what matters.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    match letters.chunks(width.max(1)).map(|piece| piece.iter().collect()).collect::<Vec<String>>() {
        pieces if pieces.is_empty() => vec![String::new()],
        pieces => pieces,
    }
}

//! The moments as bars along time: one column or a few a moment, the height the number of changes on a logarithmic scale.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::super::model::Model;
use super::{Theme, clock, put};
use crate::moments::{Did, Moment};

/// Columns of the scale.
const SCALE_WIDTH: u16 = 6;
/// The scale ends here at least, so that a few single changes do not look like a storm.
const SCALE_MIN: u64 = 10;
/// Columns of a moment, where there are few.
const BAR_WIDTH_MAX: usize = 3;
/// Heights of a cell.
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// From this height on there is a row for times.
const HEIGHT_WITH_TIMES: u16 = 4;
/// Columns of a time: `11-28 14:02`.
const TIME_WIDTH: u16 = 11;

/// Draws the chart.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let timeline = &model.timeline;
    let times = u16::from(area.height >= HEIGHT_WITH_TIMES);
    let bars = Rect {
        x: area.x + SCALE_WIDTH,
        width: area.width.saturating_sub(SCALE_WIDTH + 1),
        height: area.height.saturating_sub(1 + times),
        ..area
    };
    let columns = usize::from(bars.width);
    let (selected, count) = timeline.position();
    let width = match timeline.is_complete() {
        true => (columns / count.max(1)).clamp(1, BAR_WIDTH_MAX),
        false => 1,
    };
    let (start, shown) = timeline.window(columns / width);
    let most = shown.iter().map(|moment| moment.total()).max().unwrap_or(0).max(SCALE_MIN);
    scale(buffer, area, bars.height, most, theme);
    let axis = bars.y + bars.height;
    for x in bars.x..bars.x + bars.width {
        buffer.set_string(x, axis, "─", theme.aside());
    }
    let mut label_ends = bars.x + bars.width;
    for (number, moment) in (start..).zip(shown) {
        let from_right = u16::try_from((number - start + 1) * width).unwrap_or(u16::MAX);
        let x = (bars.x + bars.width).saturating_sub(from_right).max(bars.x);
        let is_selected = number == selected;
        let style = style(moment, is_selected, theme);
        let thick = u16::try_from(width).unwrap_or(1).saturating_sub(1).max(1);
        bar(buffer, Rect { x, width: thick, ..bars }, height(moment, most, bars.height), style);
        let (mark, style) = match (is_selected, timeline.gap_before(number).is_some()) {
            (true, _) => ("▲", theme.strong()),
            (false, true) => ("!", theme.paint(Color::Yellow).add_modifier(Modifier::BOLD)),
            (false, false) => ("─", theme.aside()),
        };
        buffer.set_string(x, axis, mark, style);
        // Times from the newest on, as many as fit beside each other; each ends below its bar.
        if times == 1 && x + 1 >= bars.x + TIME_WIDTH && x < label_ends {
            let place = Rect { x: x + 1 - TIME_WIDTH, y: axis + 1, width: TIME_WIDTH, height: 1 };
            put(buffer, place, 0, &clock(moment.last.instant), theme.aside());
            label_ends = place.x.saturating_sub(3);
        }
    }
}

/// The numbers at the left: the greatest at the top, one at the bottom, and what lies between them.
fn scale(buffer: &mut Buffer, area: Rect, rows: u16, most: u64, theme: Theme) {
    for row in 0..rows {
        // The count whose bar ends at the top of this row.
        let part = f64::from(rows - row) / f64::from(rows);
        let count = ((1.0 + most as f64).powf(part) - 1.0).round().max(1.0);
        let text = format!("{:>5}", super::short(count as u64));
        put(buffer, Rect { width: SCALE_WIDTH, ..area }, row, &text, theme.aside());
    }
}

/// The height of a moment in eighths of a row.
fn height(moment: &Moment, most: u64, rows: u16) -> usize {
    let part = (1.0 + moment.total() as f64).ln() / (1.0 + most as f64).ln();
    let eighths = f64::from(rows) * 8.0 * part;
    (eighths.round() as usize).clamp(1, usize::from(rows) * 8)
}

fn bar(buffer: &mut Buffer, area: Rect, mut eighths: usize, style: Style) {
    for row in (area.y..area.y + area.height).rev() {
        let piece = eighths.min(8);
        let text = EIGHTHS.get(piece).copied().unwrap_or(" ");
        for x in area.x..area.x + area.width {
            buffer.set_string(x, row, text, style);
        }
        eighths -= piece;
    }
}

/// Red where most was deleted, green where most was created.
fn style(moment: &Moment, is_selected: bool, theme: Theme) -> Style {
    let half = moment.total().div_ceil(2);
    let (deleted, created) = (moment.count(Did::Deleted), moment.count(Did::Created));
    if is_selected {
        return if theme.colour {
            Style::new().fg(Color::White).add_modifier(Modifier::BOLD)
        } else {
            theme.strong()
        };
    }
    match () {
        () if !theme.colour => theme.aside(),
        () if deleted >= half => theme.paint(Color::Red),
        () if created >= half => theme.paint(Color::Green),
        () => theme.paint(Color::Blue),
    }
}

//! A plot of lines over time as SVG, written by hand: readable on its own, without a script or a font of its own.

use std::fmt::Write as _;

/// A line: what it shows, its colour, its points.
pub struct Line<'l> {
    /// Stands at its end.
    pub name: &'l str,
    /// As CSS has it.
    pub colour: &'l str,
    /// From left to right.
    pub points: &'l [(f64, f64)],
}

/// What stands at the axes.
pub struct Axes<'a> {
    /// Above everything.
    pub title: &'a str,
    /// Below the horizontal axis.
    pub across: &'a str,
    /// Distance of the marks of the horizontal axis, and what stands at one.
    pub every: f64,
    /// Says what stands at a mark of the horizontal axis.
    pub show_across: fn(f64) -> String,
    /// Says what stands at a mark of the vertical axis.
    pub show_up: fn(f64) -> String,
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 55.0;

/// The picture.
pub fn svg(axes: &Axes<'_>, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let (across, up) = (most(|point| point.0), most(|point| point.1));
    let step = round_step(up / 5.0);
    let top = (up / step).ceil() * step;
    let x = |value: f64| LEFT + value / across * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);

    let mut out = String::new();
    // Writing to a String does not fail.
    let mut tell = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    tell(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    ));
    tell(format!(
        "<text x=\"{LEFT}\" y=\"28\" font-size=\"16\" fill=\"#111\">{}</text>",
        escaped(axes.title)
    ));
    let mut mark = 0.0;
    while mark <= top * 1.0001 {
        let (from, to, at) = (LEFT, WIDTH - RIGHT, y(mark));
        tell(format!("<line x1=\"{from}\" x2=\"{to}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>"));
        let (left, below, said) = (LEFT - 8.0, at + 4.0, escaped(&(axes.show_up)(mark)));
        tell(format!("<text x=\"{left}\" y=\"{below:.1}\" text-anchor=\"end\">{said}</text>"));
        mark += step;
    }
    let mut mark = 0.0;
    while mark <= across * 1.0001 {
        let (at, low) = (x(mark), HEIGHT - BOTTOM);
        tell(format!(
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{low}\" y2=\"{}\" stroke=\"#999\"/>",
            low + 5.0
        ));
        let said = escaped(&(axes.show_across)(mark));
        tell(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{said}</text>", low + 20.0));
        mark += axes.every;
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    tell(format!(
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 12.0,
        escaped(axes.across)
    ));
    let mut names: Vec<(f64, &Line<'_>)> = Vec::new();
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        let points: Vec<String> =
            line.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        tell(format!(
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\" points=\"{}\"/>",
            line.colour,
            points.join(" ")
        ));
        names.extend(line.points.last().map(|(_, value)| (y(*value), line)));
    }
    // Names that would stand on each other are moved apart.
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = TOP;
    for (at, line) in names {
        let (at, last) = (at.max(free), line.points.last().map_or(0.0, |point| point.1));
        free = at + 34.0;
        let left = WIDTH - RIGHT + 10.0;
        tell(format!(
            "<text x=\"{left}\" y=\"{:.1}\" fill=\"{}\">{}<tspan x=\"{left}\" dy=\"15\" fill=\"#333\">{}</tspan></text>",
            at + 2.0,
            line.colour,
            escaped(line.name),
            escaped(&(axes.show_up)(last))
        ));
    }
    tell("</svg>".into());
    out
}

/// The next number of 1, 2 or 5 and zeroes.
fn round_step(at_least: f64) -> f64 {
    let power = 10f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= at_least * 0.9999)
        .unwrap_or(power)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_in_the_picture_and_names_apart() {
        let axes = Axes {
            title: "a < b",
            across: "days",
            every: 5.0,
            show_across: |day| format!("{day:.0}"),
            show_up: |value| format!("{value:.0} GiB"),
        };
        let (one, other) = ([(0.0, 0.0), (10.0, 100.0)], [(0.0, 0.0), (10.0, 99.0)]);
        let lines = [
            Line { name: "one", colour: "#06c", points: &one },
            Line { name: "other", colour: "#c40", points: &other },
        ];
        let svg = svg(&axes, &lines);
        assert!(
            svg.contains("a &lt; b")
                && svg.contains("100 GiB")
                && svg.contains("points=\"80.0,425.0 770.0,50.0\""),
            "{svg}"
        );
        assert!(svg.contains("y=\"52.0\"") && svg.contains("y=\"86.0\""), "{svg}");
        assert_eq!([0.3, 7.0, 10.0, 13.0].map(round_step), [0.5, 10.0, 10.0, 20.0]);
    }
}

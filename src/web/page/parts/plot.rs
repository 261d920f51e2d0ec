//! Pictures of points and lines with two axes, as SVG text: the page would be larger with a view of each element. All places are
//! in percent of the picture, so that it takes the width it gets and its letters keep their size.

use super::axis::Axis;

/// The part of the picture that the axes enclose, in percent; its left end is chosen.
const RIGHT: f64 = 97.0;
const TOP: f64 = 6.0;
const HEIGHT: f64 = 71.0;

/// A picture while it is put together.
pub struct Plot {
    left: f64,
    across: Axis,
    up: Axis,
    /// Lines and points in a square of 100 units, which is stretched; and what is not stretched.
    inside: String,
    over: String,
}

impl Plot {
    /// With grid lines and ticks; `left` percent of its width are for the vertical axis.
    pub fn new(across: Axis, up: Axis, left: f64) -> Self {
        let mut plot = Self { left, across, up, inside: String::new(), over: String::new() };
        for (y, text) in plot.up.ticks.clone() {
            let at = plot.y(y);
            plot.inside += &format!("<path class=\"grid-line\" d=\"M0 {:.2}h100\"/>", 100.0 * (1.0 - plot.up.place(y)));
            plot.over += &format!(
                "<text class=\"tick\" x=\"{:.1}%\" y=\"{at:.2}%\" dy=\"5\" text-anchor=\"end\">{text}</text>",
                left - 1.0
            );
        }
        for (x, text) in plot.across.ticks.clone() {
            plot.over += &format!(
                "<text class=\"tick across\" x=\"{:.2}%\" y=\"{:.0}%\" dy=\"18\">{text}</text>",
                plot.x(x),
                TOP + HEIGHT
            );
        }
        plot
    }

    /// The place of a number, in percent of the whole picture.
    fn x(&self, x: f64) -> f64 {
        self.left + (RIGHT - self.left) * self.across.place(x)
    }

    fn y(&self, y: f64) -> f64 {
        TOP + HEIGHT * (1.0 - self.up.place(y))
    }

    fn path(&mut self, points: impl Iterator<Item = (f64, f64)>, class: &str, joined: bool) {
        let mut d = String::new();
        for (i, (x, y)) in points.enumerate() {
            let (x, y) = (100.0 * self.across.place(x), 100.0 * (1.0 - self.up.place(y)));
            let (pen, end) = match (joined, i) {
                (true, 0) => ('M', ""),
                (true, _) => ('L', ""),
                _ => ('M', "h0"),
            };
            d += &format!("{pen}{x:.2} {y:.2}{end}");
        }
        self.inside += &format!("<path class=\"{class}\" d=\"{d}\"/>");
    }

    /// A line through points.
    pub fn line(&mut self, points: impl Iterator<Item = (f64, f64)>, class: &str) {
        self.path(points, class, true);
    }

    /// A dot at each point.
    pub fn dots(&mut self, points: impl Iterator<Item = (f64, f64)>, class: &str) {
        self.path(points, class, false);
    }

    /// Words above a point.
    pub fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.over += &format!(
            "<text class=\"{class}\" x=\"{:.2}%\" y=\"{:.2}%\" dy=\"-7\">{}</text>",
            self.x(x),
            self.y(y),
            escaped(text)
        );
    }

    /// The picture; `below` is the name of the horizontal axis, `says` is what it shows, for those who do not see it.
    pub fn svg(self, says: &str, below: &str, class: &str) -> String {
        let (left, width) = (self.left, RIGHT - self.left);
        format!(
            "<svg class=\"plot {class}\" role=\"img\" aria-label=\"{}\"><svg x=\"{left}%\" y=\"{TOP}%\" width=\"{width}%\" height=\"{HEIGHT}%\" \
             viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\">{}</svg>{}<text class=\"tick\" x=\"{:.0}%\" y=\"97%\" text-anchor=\"middle\">{}</text></svg>",
            escaped(says),
            self.inside,
            self.over,
            left + width / 2.0,
            escaped(below),
        )
    }
}

/// A text inside HTML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_their_numbers_are() {
        let mut plot = Plot::new(Axis::whole(0.0, 10.0, 2), Axis::around([0.0, 1.0].into_iter(), 2), 10.0);
        plot.line([(0.0, 0.0), (10.0, 1.0)].into_iter(), "line");
        plot.dots([(5.0, 0.5)].into_iter(), "dots");
        let svg = plot.svg("a <line>", "x", "");
        assert!(svg.contains("d=\"M0.00 100.00L100.00 0.00\"") && svg.contains("d=\"M50.00 50.00h0\""), "{svg}");
        assert!(svg.contains("aria-label=\"a &lt;line&gt;\""));
    }
}

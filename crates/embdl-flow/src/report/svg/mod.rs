//! A small writer of SVG: shapes by position and CSS class, so that the page's style sheet decides about colour.

mod scale;

use core::fmt::Write as _;

pub(super) use scale::{Scale, linear_domain, log_domain};

use super::format::escape;

/// Width of an average character of a wide sans-serif font, relative to the font size: too much room is better than
/// overlapping text.
const CHARACTER: f64 = 0.61;

/// How much wider bold text is.
const BOLD: f64 = 1.15;

/// Which part of a text stands at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing of fixed size in user units, which are pixels at the size it is designed for.
#[derive(Debug)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    head: String,
    body: String,
}

impl Svg {
    /// An empty drawing with what a screen reader says about it.
    pub(super) fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let head = format!("<title>{}</title><desc>{}</desc>", escape(title), escape(description));
        Self { width, height, head, body: String::new() }
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            coordinate(from.0),
            coordinate(from.1),
            coordinate(to.0),
            coordinate(to.1),
        );
    }

    /// `corner` is the upper left one.
    pub(super) fn rect(&mut self, corner: (f64, f64), size: (f64, f64), class: &str) {
        self.rect_faded(corner, size, class, 1.0);
    }

    /// A rectangle whose fill has an opacity of its own.
    pub(super) fn rect_faded(
        &mut self,
        corner: (f64, f64),
        size: (f64, f64),
        class: &str,
        opacity: f64,
    ) {
        let fade = if opacity < 1.0 {
            format!(" fill-opacity=\"{:.3}\"", opacity.max(0.0))
        } else {
            String::new()
        };
        let _ = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"{fade}/>",
            coordinate(corner.0),
            coordinate(corner.1),
            coordinate(size.0.max(0.0)),
            coordinate(size.1.max(0.0)),
        );
    }

    /// A dot that says `title` when pointed at.
    pub(super) fn dot(&mut self, center: (f64, f64), radius: f64, class: &str, title: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"><title>{}</title></circle>",
            coordinate(center.0),
            coordinate(center.1),
            coordinate(radius),
            escape(title),
        );
    }

    /// A line through all points; nothing for fewer than two.
    pub(super) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        if points.len() < 2 {
            return;
        }
        let points: Vec<String> =
            points.iter().map(|&(x, y)| format!("{},{}", coordinate(x), coordinate(y))).collect();
        let _ =
            writeln!(self.body, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    /// Text with its baseline at `at`.
    pub(super) fn text(&mut self, at: (f64, f64), text: &str, anchor: Anchor, class: &str) {
        self.text_turned(at, text, anchor, class, 0.0);
    }

    /// Text turned by `degrees` clockwise around `at`.
    pub(super) fn text_turned(
        &mut self,
        at: (f64, f64),
        text: &str,
        anchor: Anchor,
        class: &str,
        degrees: f64,
    ) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y) = (coordinate(at.0), coordinate(at.1));
        let turn = if degrees == 0.0 {
            String::new()
        } else {
            format!(" transform=\"rotate({} {x} {y})\"", coordinate(degrees))
        };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}{turn}>{}</text>",
            escape(text)
        );
    }

    /// The element.
    pub(super) fn finish(self) -> String {
        let (width, height) = (coordinate(self.width), coordinate(self.height));
        format!(
            "<svg role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">{}\n{}</svg>\n",
            self.head, self.body
        )
    }
}

/// About how wide a text is; no font is at hand to measure it.
#[expect(clippy::cast_precision_loss, reason = "texts are short")]
pub(super) fn text_width(text: &str, font_size: f64) -> f64 {
    text.chars().count() as f64 * font_size * CHARACTER
}

/// About how wide a bold text is.
pub(super) fn bold_width(text: &str, font_size: f64) -> f64 {
    BOLD * text_width(text, font_size)
}

/// One decimal, none where it is zero, and never "NaN" or "inf", which would spoil the drawing.
fn coordinate(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-1e5, 1e5) } else { 0.0 };
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".into(),
        Some(whole) => whole.into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short_and_finite() {
        assert_eq!(coordinate(1.0), "1");
        assert_eq!(coordinate(-0.04), "0");
        assert_eq!(coordinate(2.25), "2.2");
        assert_eq!(coordinate(f64::NAN), "0");
        assert_eq!(coordinate(f64::INFINITY), "0");
        assert_eq!(coordinate(1e300), "100000");
    }

    #[test]
    fn text_is_escaped() {
        let mut svg = Svg::new(10.0, 10.0, "a<b", "\"");
        svg.text((1.0, 2.0), "<x>", Anchor::End, "tick");
        let text = svg.finish();
        assert!(text.contains("<title>a&lt;b</title><desc>&quot;</desc>"), "{text}");
        assert!(text.contains(">&lt;x&gt;</text>"), "{text}");
    }
}

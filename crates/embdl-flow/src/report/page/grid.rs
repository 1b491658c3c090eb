//! HTML tables.

use core::fmt::Write as _;

use super::super::format::escape;

/// Head and kind of a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    head: &'static str,
    class: &'static str,
}

impl Column {
    /// A word or two.
    pub(super) fn text(head: &'static str) -> Self {
        Self { head, class: "" }
    }

    /// Words that wrap.
    pub(super) fn words(head: &'static str) -> Self {
        Self { head, class: " class=\"words\"" }
    }

    /// Digits, right aligned.
    pub(super) fn number(head: &'static str) -> Self {
        Self { head, class: " class=\"number\"" }
    }

    /// A digest or a command.
    pub(super) fn code(head: &'static str) -> Self {
        Self { head, class: " class=\"code\"" }
    }
}

/// A table under construction; cells are text and get escaped.
#[derive(Debug)]
pub(super) struct Grid<const N: usize> {
    columns: [Column; N],
    rows: String,
}

impl<const N: usize> Grid<N> {
    pub(super) fn new(columns: &[Column; N]) -> Self {
        Self { columns: *columns, rows: String::new() }
    }

    pub(super) fn row(&mut self, cells: &[String; N]) {
        self.classed(cells, "");
    }

    /// A row that sums the others up.
    pub(super) fn total(&mut self, cells: &[String; N]) {
        self.classed(cells, " class=\"total\"");
    }

    /// A row that something is wrong with.
    pub(super) fn bad(&mut self, cells: &[String; N]) {
        self.classed(cells, " class=\"bad\"");
    }

    fn classed(&mut self, cells: &[String; N], class: &str) {
        let _ = write!(self.rows, "<tr{class}>");
        for (column, cell) in self.columns.iter().zip(cells) {
            let _ = write!(self.rows, "<td{}>{}</td>", column.class, escape(cell));
        }
        self.rows.push_str("</tr>\n");
    }

    /// The table, in a box that scrolls where the screen is narrow.
    pub(super) fn finish(self) -> String {
        let heads: String = self
            .columns
            .iter()
            .map(|column| format!("<th scope=\"col\"{}>{}</th>", column.class, escape(column.head)))
            .collect();
        format!(
            "<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n",
            self.rows
        )
    }
}

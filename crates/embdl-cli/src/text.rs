//! Small pieces of text that several commands print.

use anyhow::{Context, Result};
use serde::Serialize;

/// Aligned columns: numbers to the right, but for the first column, and text to the left; widths follow the content.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let is_number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let is_right = |column: usize| {
        let mut cells =
            rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty());
        column > 0 && cells.all(is_number)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            if is_right(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

/// An error and its causes in one line, each thing said once: many errors already quote their cause.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Prints `value` as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value).context("writing JSON")?);
    Ok(())
}

/// "1.6 MiB", "23.4 KiB", "17 B".
#[expect(clippy::cast_precision_loss, reason = "sizes for people")]
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.2} MiB", count as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["conv1", "7", "dense, f32"]), row(["fc", "1234", "sparse"])];
        assert_eq!(
            columns(&["layer", "bytes", "encoding"], &rows),
            "layer  bytes  encoding\nconv1      7  dense, f32\nfc      1234  sparse\n"
        );
    }

    #[test]
    fn causes_are_said_once() {
        let quoted = anyhow::anyhow!("bad tensor").context("node a: bad tensor (see the book)");
        assert_eq!(
            causes(&quoted.context("importing a.onnx")),
            "importing a.onnx: node a: bad tensor (see the book)"
        );
        let plain = anyhow::anyhow!("no such file").context("reading b.onnx");
        assert_eq!(causes(&plain), "reading b.onnx: no such file");
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([bytes(17), bytes(2048), bytes(3 << 20)], ["17 B", "2.0 KiB", "3.00 MiB"]);
    }
}

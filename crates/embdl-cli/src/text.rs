//! Small pieces of text that several commands print.

use anyhow::{Context, Result};
use serde::Serialize;

/// Aligned columns: the first to the left, the others to the right; widths follow the content.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
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
        let rows = vec![vec!["conv1".into(), "7".into()], vec!["fc".into(), "1234".into()]];
        assert_eq!(
            columns(&["layer", "bytes"], &rows),
            "layer  bytes\nconv1      7\nfc      1234\n"
        );
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([bytes(17), bytes(2048), bytes(3 << 20)], ["17 B", "2.0 KiB", "3.00 MiB"]);
    }
}

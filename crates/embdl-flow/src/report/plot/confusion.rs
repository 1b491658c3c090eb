//! Which classes are taken for which.

use super::super::format::{shortened, thousands};
use super::super::svg::{Anchor, Svg, text_width};

/// With more classes than this the matrix cannot be read.
pub(in super::super) const MOST_CLASSES: usize = 24;

const WIDTH: f64 = 760.0;
const FONT: f64 = 12.0;
const AXES: &str = "true ↓  predicted →";

/// A heat map of counts: hits muted, mistakes coloured by the root of their count. Rows are true classes. The matrix
/// must have at most [`MOST_CLASSES`] rows.
#[expect(clippy::cast_precision_loss, reason = "they become positions and shades")]
pub(in super::super) fn confusion(matrix: &[Vec<u64>], classes: &[String]) -> String {
    let n = matrix.len();
    let names: Vec<String> = (0..n).map(|i| shortened(&class(classes, i), 16)).collect();
    let longest = names.iter().map(|name| text_width(name, FONT)).fold(20.0, f64::max);
    let left = (longest + 16.0).max(text_width(AXES, FONT) + 10.0);
    let top = 34.0 + longest * 0.75;
    let cell = ((WIDTH - left - 64.0) / n.max(1) as f64).clamp(18.0, 52.0);
    let row_height = cell.min(36.0);
    let height = top + row_height * n as f64 + 34.0;
    let worst = mistakes(matrix).map(|(_, _, count)| count).max().unwrap_or(0).max(1) as f64;
    let end = left + cell * n as f64;

    let description: Vec<String> = confusions(matrix, classes, 5)
        .iter()
        .map(|mistake| format!("{} {} taken for {}", mistake.count, mistake.truth, mistake.guess))
        .collect();
    let mut svg = Svg::new(
        (end + 64.0).max(320.0),
        height,
        "Confusion matrix",
        &format!("Most frequent mistakes: {}", description.join(", ")),
    );
    svg.text((left - 8.0, top - 8.0), AXES, Anchor::End, "axis-label");
    svg.text((end + 58.0, top - 8.0), "recall", Anchor::End, "axis-label");
    for (i, name) in names.iter().enumerate() {
        let x = left + cell * (i as f64 + 0.5) + 4.0;
        svg.text_turned((x, top - 8.0), name, Anchor::Start, "tick", -45.0);
        let y = top + row_height * (i as f64 + 0.5) + 4.0;
        svg.text((left - 8.0, y), name, Anchor::End, "tick");
    }
    for (i, row) in matrix.iter().enumerate() {
        let y = top + row_height * i as f64;
        for (j, &count) in row.iter().take(n).enumerate() {
            let corner = (left + cell * j as f64 + 0.75, y + 0.75);
            let size = (cell - 1.5, row_height - 1.5);
            let shade = (count as f64 / worst).sqrt();
            let class = if i == j { "hit" } else { "mistake" };
            svg.rect(corner, size, "cell");
            if i == j {
                svg.rect(corner, size, class);
            } else if count > 0 {
                svg.rect_faded(corner, size, class, 0.08 + 0.92 * shade);
            }
            if count > 0 && text_width(&count.to_string(), 11.0) < cell {
                let class = match (i == j, shade > 0.62) {
                    (true, _) => "count hit-count",
                    (false, true) => "count on-mistake",
                    (false, false) => "count",
                };
                let at = (corner.0 + size.0 / 2.0, corner.1 + size.1 / 2.0 + 4.0);
                svg.text(at, &count.to_string(), Anchor::Middle, class);
            }
        }
        let all: u64 = row.iter().sum();
        let hits = row.get(i).copied().unwrap_or(0);
        let recall = if all > 0 { percent1(hits, all) } else { "–".into() };
        let y = y + row_height / 2.0 + 4.0;
        svg.text((end + 58.0, y), &recall, Anchor::End, "value");
    }
    if text_width("100.0%", 11.0) < cell {
        let y = top + row_height * n as f64 + 20.0;
        svg.text((left - 8.0, y), "precision", Anchor::End, "axis-label");
        for j in 0..n {
            let all: u64 = matrix.iter().filter_map(|row| row.get(j)).sum();
            let hits = matrix[j].get(j).copied().unwrap_or(0);
            let text = if all > 0 { percent1(hits, all) } else { "–".into() };
            svg.text((left + cell * (j as f64 + 0.5), y), &text, Anchor::Middle, "count");
        }
    }
    svg.finish()
}

/// Images of one class that were taken for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Confusion {
    pub(in super::super) truth: String,
    pub(in super::super) guess: String,
    pub(in super::super) count: String,
    pub(in super::super) share: String,
}

/// The most frequent mistakes, at most `most`.
pub(in super::super) fn confusions(
    matrix: &[Vec<u64>],
    classes: &[String],
    most: usize,
) -> Vec<Confusion> {
    let mut all: Vec<(usize, usize, u64)> = mistakes(matrix).collect();
    all.sort_by_key(|&(_, _, count)| core::cmp::Reverse(count));
    all.into_iter()
        .take(most)
        .map(|(i, j, count)| Confusion {
            truth: class(classes, i),
            guess: class(classes, j),
            count: thousands(count),
            share: percent1(count, matrix[i].iter().sum()),
        })
        .collect()
}

fn mistakes(matrix: &[Vec<u64>]) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
    matrix.iter().enumerate().flat_map(|(i, row)| {
        row.iter()
            .enumerate()
            .filter(move |&(j, &count)| i != j && count > 0)
            .map(move |(j, &count)| (i, j, count))
    })
}

fn class(classes: &[String], index: usize) -> String {
    classes.get(index).cloned().unwrap_or_else(|| format!("class {index}"))
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn percent1(part: u64, whole: u64) -> String {
    format!("{:.1}%", 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_frequent_mistakes_come_first() {
        let matrix = vec![vec![5, 1, 0], vec![3, 6, 1], vec![0, 0, 9]];
        let classes = vec!["cat".to_string(), "dog".to_string()];
        let found = confusions(&matrix, &classes, 2);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].truth.as_str(), found[0].guess.as_str()), ("dog", "cat"));
        assert_eq!((found[0].count.as_str(), found[0].share.as_str()), ("3", "30.0%"));
        assert_eq!(found[1].guess, "dog");
        assert_eq!(class(&classes, 2), "class 2");
    }
}

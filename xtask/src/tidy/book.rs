//! The book's table of contents names every page, and every page that it names is there.
use super::{Finding, TextFile, finding};

const FOLDER: &str = "docs/src/";
const CONTENTS: &str = "docs/src/SUMMARY.md";

/// Checks the table of contents against the pages.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let Some(contents) = files.iter().find(|file| file.path == CONTENTS) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut named = Vec::new();
    for (index, line) in contents.text.lines().enumerate() {
        for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = format!("{FOLDER}{}", link.trim_start_matches("./"));
            if !files.iter().any(|file| file.path == path) {
                findings.push(finding(CONTENTS, index, format!("there is no {path}")));
            }
            named.push(path);
        }
    }
    for page in
        files.iter().filter(|file| file.path.starts_with(FOLDER) && file.path.ends_with(".md"))
    {
        if page.path != CONTENTS && !named.contains(&page.path) {
            findings.push(finding(&page.path, 0, format!("{CONTENTS} does not name this page")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_and_pages_agree() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [
            file(CONTENTS, "# Summary\n\n- [A](a.md)\n- [B](./b.md)\n"),
            file("docs/src/a.md", ""),
            file("docs/src/c/d.md", ""),
        ];
        let found = check(&files);
        let places: Vec<(&str, usize)> = found.iter().map(|f| (f.file.as_str(), f.line)).collect();
        assert_eq!(places, [(CONTENTS, 4), ("docs/src/c/d.md", 1)]);
        assert!(check(&files[1..]).is_empty(), "without a book there is nothing to check");
    }
}

//! No path of one person's machine in a tracked file.
use super::source::is_word;
use super::{Finding, TextFile, finding};

/// Folders at the root of a file system that a path of one machine starts with.
const ROOTS: [&str; 5] = ["home", "root", "work", "tmp", "Users"];

/// Checks one file.
pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for name in ROOTS {
            let path = format!("/{name}/");
            let is_found = line.match_indices(&path).any(|(at, _)| {
                // Within a longer path or an address it is somebody else's folder.
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| is_word(c) || "/.-}~*)>".contains(c))
            });
            if is_found {
                findings.push(finding(
                    &file.path,
                    index,
                    format!("`{path}…` is a path of one machine"),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_paths_are_found_and_others_are_not() {
        let check_line = |text: String| check(&TextFile { path: "a.md".into(), text }).len();
        for name in ROOTS {
            assert_eq!(check_line(format!("cd /{name}/me/x")), 1);
            assert_eq!(check_line(format!("\"/{name}/me\"")), 1);
            for before in ["https://example.org", "$HOME", "target", "..", "${X}"] {
                assert_eq!(check_line(format!("{before}/{name}/me")), 0, "{before}");
            }
        }
        assert_eq!(check_line("and/or/both".into()), 0);
    }
}

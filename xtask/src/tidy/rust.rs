//! Rules on Rust files: a header, a length, reasons for `unsafe`, nothing unfinished, no printing in libraries.
use super::source::{Source, words};
use super::{Finding, finding};

/// The longest a file may be, tests apart.
const MAX_LINES: usize = 800;
/// Crates that hold no `unsafe` at all, and say so in every root.
const SAFE: [&str; 11] = [
    "crates/embdl-graph/",
    "crates/embdl-onnx/",
    "crates/embdl-data/",
    "crates/embdl-train/",
    "crates/embdl-compress/",
    "crates/embdl-flow/",
    "crates/embdl-cli/",
    "crates/embdl-bench/",
    "crates/embdl-slots/",
    "crates/rt-wgpu/",
    "xtask/",
];
/// Packages that speak to a person, and so may print.
const SPEAKING: [&str; 2] = ["crates/embdl-cli/", "xtask/"];

/// Checks one file; `path` is from the root.
pub(super) fn check(path: &str, source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    header(path, source, &mut findings);
    length(path, source, &mut findings);
    for line in 0..source.code.len() {
        safety(path, source, line, &mut findings);
        unfinished(path, source, line, &mut findings);
        printing(path, source, line, &mut findings);
    }
    findings
}

fn header(path: &str, source: &Source<'_>, findings: &mut Vec<Finding>) {
    let first = source.lines.first().copied().unwrap_or_default();
    let Some(sentence) = first.strip_prefix("//! ") else {
        findings.push(finding(
            path,
            0,
            "the first line is no `//!` sentence that says the subject of the file",
        ));
        return;
    };
    if is_crate_root(path) && !(sentence.trim_end().ends_with('.') && sentence.contains(' ')) {
        findings.push(finding(
            path,
            0,
            "a crate root opens with a whole sentence, ended by a full stop",
        ));
    }
    let is_root_of_safe =
        is_crate_root(path) && SAFE.iter().any(|package| path.starts_with(package));
    if is_root_of_safe && !source.code.iter().any(|line| line.contains("#![forbid(unsafe_code)]")) {
        findings.push(finding(
            path,
            0,
            "this crate is one without unsafe: `#![forbid(unsafe_code)]` is missing",
        ));
    }
}

fn length(path: &str, source: &Source<'_>, findings: &mut Vec<Finding>) {
    let lines = source.is_test.iter().filter(|&&is_test| !is_test).count();
    if lines > MAX_LINES && !is_test_file(path) {
        let message =
            format!("{lines} lines without tests; split what is over {MAX_LINES} by subject");
        findings.push(finding(path, 0, message));
    }
}

fn safety(path: &str, source: &Source<'_>, line: usize, findings: &mut Vec<Finding>) {
    for at in words(&source.code[line], "unsafe") {
        let rest = source.code[line][at + "unsafe".len()..].trim_start();
        // The brace may stand on the next line; `unsafe fn`, `unsafe impl` and `unsafe extern` are the compiler's and clippy's.
        let next = source.code.get(line + 1).map_or("", |next| next.trim_start());
        let is_block = rest.starts_with('{') || (rest.is_empty() && next.starts_with('{'));
        if is_block && !has_reason(source, line) {
            findings.push(finding(path, line, "an unsafe block without `// SAFETY:` just above"));
        }
    }
}

/// Whether a `SAFETY:` comment stands on this line, or above it within the same statement.
fn has_reason(source: &Source<'_>, line: usize) -> bool {
    if source.comments[line].contains("SAFETY:") {
        return true;
    }
    for above in (0..line).rev() {
        if source.comments[above].contains("SAFETY:") {
            return true;
        }
        let code = source.code[above].trim();
        let is_comment = code.is_empty() && !source.comments[above].is_empty();
        let is_attribute = code.starts_with("#[");
        let continues = !code.is_empty() && !code.ends_with([';', '{', '}']);
        if !(is_comment || is_attribute || continues) {
            return false;
        }
    }
    false
}

fn unfinished(path: &str, source: &Source<'_>, line: usize, findings: &mut Vec<Finding>) {
    for name in ["todo", "unimplemented", "dbg"] {
        for at in words(&source.code[line], name) {
            if source.code[line][at + name.len()..].starts_with('!') {
                findings.push(finding(path, line, format!("`{name}!` is for unfinished work")));
            }
        }
    }
    for at in words(&source.code[line], "static") {
        if source.code[line][at..].starts_with("static mut ") {
            findings.push(finding(
                path,
                line,
                "`static mut` cannot be used soundly; use an atomic or a lock",
            ));
        }
    }
}

fn printing(path: &str, source: &Source<'_>, line: usize, findings: &mut Vec<Finding>) {
    if !is_library(path) || source.is_test[line] {
        return;
    }
    for name in ["println", "print"] {
        for at in words(&source.code[line], name) {
            if source.code[line][at + name.len()..].starts_with('!') {
                findings.push(finding(
                    path,
                    line,
                    format!("`{name}!` in a library; return it, or log by tracing"),
                ));
            }
        }
    }
}

/// Whether the file is the root of a library or of a program.
fn is_crate_root(path: &str) -> bool {
    path.ends_with("src/lib.rs") || path.ends_with("src/main.rs") || is_program_root(path)
}

fn is_program_root(path: &str) -> bool {
    path.split_once("src/bin/")
        .is_some_and(|(_, rest)| !rest.contains('/') || rest.ends_with("/main.rs"))
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether the file is part of a library, hence of somebody else's program.
fn is_library(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && !path.contains("/src/bin/")
        && !path.ends_with("src/main.rs")
        && !is_test_file(path)
        && !SPEAKING.iter().any(|package| path.starts_with(package))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "crates/embdl-core/src/plan.rs";

    /// The findings of a file whose header is right, as `line: message`.
    fn check_text(path: &str, text: &str) -> Vec<String> {
        let text = format!("//! A sentence.\n{text}");
        check(path, &Source::new(&text))
            .iter()
            .map(|f| format!("{}: {}", f.line, f.message))
            .collect()
    }

    fn assert_one(path: &str, text: &str, line: usize, part: &str) {
        let found = check_text(path, text);
        assert_eq!(found.len(), 1, "{found:?} in {text}");
        assert!(found[0].starts_with(&format!("{line}: ")) && found[0].contains(part), "{found:?}");
    }

    #[test]
    fn a_file_opens_with_its_subject() {
        let found = check(MODULE, &Source::new("use core::fmt;\n//! Late.\n"));
        assert_eq!((found.len(), found[0].line), (1, 1));
        assert!(check_text(MODULE, "").is_empty());
        let root = check("crates/rt-arm/src/lib.rs", &Source::new("//! Kernels\n"));
        assert!(root[0].message.contains("whole sentence"));
    }

    #[test]
    fn a_safe_crate_says_so_in_each_root() {
        assert_one("crates/embdl-graph/src/lib.rs", "", 1, "forbid(unsafe_code)");
        assert_one("crates/embdl-bench/src/bin/runner.rs", "", 1, "forbid(unsafe_code)");
        assert!(check_text("crates/embdl-graph/src/lib.rs", "#![forbid(unsafe_code)]").is_empty());
        assert!(check_text("crates/embdl-graph/src/graph.rs", "").is_empty());
        assert!(check_text("crates/rt-arm/src/lib.rs", "").is_empty());
        // A comment that names the attribute is not the attribute.
        assert_one("xtask/src/main.rs", "// #![forbid(unsafe_code)]", 1, "forbid(unsafe_code)");
    }

    #[test]
    fn a_file_has_at_most_800_lines_without_its_tests() {
        let body = "fn f() {}\n".repeat(MAX_LINES);
        assert_one(MODULE, &body, 1, "801 lines");
        let tests = format!("#[cfg(test)]\nmod tests {{\n{body}}}\n");
        assert!(check_text(MODULE, &tests).is_empty());
        assert!(check_text("tests/src/gemm.rs", &body).is_empty());
        assert!(check_text("crates/embdl-core/tests/format.rs", &body).is_empty());
    }

    #[test]
    fn an_unsafe_block_has_its_reason_just_above() {
        assert_one(MODULE, "fn f() {\n    unsafe { g() }\n}", 3, "SAFETY");
        assert_one(
            MODULE,
            "// SAFETY: far away\nfn h() {}\nfn f() {\n    let x = unsafe { g() };\n}",
            5,
            "SAFETY",
        );
        assert_one(MODULE, "// SAFETY: a.\nunsafe { g() };\nunsafe { g() };", 4, "SAFETY");
        assert_one(MODULE, "let x =\n    unsafe\n    { g() };", 3, "SAFETY");
        for good in [
            "// SAFETY: checked above.\nunsafe { g() }",
            "// SAFETY: checked,\n// by two conditions.\nlet x = unsafe { g() };",
            "// SAFETY: checked above.\n#[expect(lint)]\nlet x =\n    h(unsafe { g() });",
            "let x = unsafe { g() }; // SAFETY: checked above.",
            "let text = \"unsafe { g() }\"; // unsafe { g() }",
            "unsafe fn g() {}\nunsafe impl Send for T {}",
        ] {
            assert!(check_text(MODULE, good).is_empty(), "{good}");
        }
    }

    #[test]
    fn nothing_unfinished_stays() {
        assert_one(MODULE, "fn f() { todo!() }", 2, "todo");
        assert_one(MODULE, "fn f() { unimplemented!(\"x\") }", 2, "unimplemented");
        assert_one("tests/src/lib.rs", "fn f() { dbg!(1); }", 2, "dbg");
        assert_one(MODULE, "static mut X: u8 = 0;", 2, "static mut");
        assert!(check_text(MODULE, "// todo!()\nfn todo() {}\nlet todo = \"todo!()\";").is_empty());
    }

    #[test]
    fn libraries_do_not_print() {
        let text = "fn f() { println!(\"x\"); }";
        assert_one(MODULE, text, 2, "println");
        assert_one("crates/embdl-bench/src/record.rs", "print!(\"x\")", 2, "print");
        for speaking in [
            "crates/embdl-cli/src/test.rs",
            "crates/embdl-core/examples/embed.rs",
            "crates/embdl-core/build.rs",
            "crates/embdl-core/tests/a.rs",
            "tests/src/lib.rs",
        ] {
            assert!(check_text(speaking, text).is_empty(), "{speaking}");
        }
        assert!(check_text(MODULE, &format!("#[cfg(test)]\nmod tests {{\n{text}\n}}")).is_empty());
        assert!(check_text(MODULE, "eprintln!(\"x\");\nwriteln!(f)?;").is_empty());
    }
}

//! Rules on Cargo.toml files: who may depend on whom, a reason for every dependency, one place for versions and lints.
use super::{Finding, TextFile, finding};
use toml::{Table, Value};

/// What each of our packages may depend on, of our packages. Development dependencies are checked for runtimes and xtask only.
const ALLOWED: [(&str, &[&str]); 24] = [
    ("embdl-core", &[]),
    ("embdl-graph", &["embdl-core"]),
    ("embdl-onnx", &["embdl-core", "embdl-graph"]),
    ("embdl-vendor", &["embdl-core", "embdl-graph"]),
    ("embdl-weights", &["embdl-core", "embdl-graph"]),
    ("embdl-data", &["embdl-core"]),
    ("embdl-train", &["embdl-core", "embdl-graph", "embdl-data"]),
    ("embdl-compress", &["embdl-core", "embdl-graph", "embdl-data"]),
    (
        "embdl-bench",
        &[
            "embdl-core",
            "embdl-data",
            "embdl-file",
            "embdl-slots",
            "embdl-threads",
            "rt-atom",
            "rt-arm",
            "rt-jetson",
            "rt-wgpu",
            "rt-myriad",
        ],
    ),
    ("embdl-slots", &[]),
    (
        "embdl-flow",
        &[
            "embdl-core",
            "embdl-graph",
            "embdl-onnx",
            "embdl-data",
            "embdl-train",
            "embdl-compress",
            "embdl-bench",
        ],
    ),
    (
        "embdl-cli",
        &[
            "embdl-flow",
            "embdl-core",
            "embdl-graph",
            "embdl-onnx",
            "embdl-vendor",
            "embdl-weights",
            "embdl-data",
            "embdl-train",
            "embdl-compress",
            "embdl-bench",
            "embdl-file",
            "rt-atom",
            "rt-arm",
            "rt-jetson",
            "rt-myriad",
            "rt-wgpu",
        ],
    ),
    ("embdl-testkit", &[]),
    ("embdl-threads", &["embdl-core"]),
    ("embdl-file", &["embdl-core"]),
    ("rt-atom", &["embdl-core", "embdl-threads"]),
    ("rt-arm", &["embdl-core", "embdl-threads"]),
    ("rt-myriad", &["embdl-core"]),
    ("rt-jetson", &["embdl-core"]),
    ("rt-wgpu", &["embdl-core"]),
    ("embdl-ptx", &[]),
    ("standin-cuda", &["embdl-ptx"]),
    ("xtask", &[]),
    (
        "embdl-tests",
        &[
            "embdl-flow",
            "embdl-core",
            "embdl-graph",
            "embdl-onnx",
            "embdl-vendor",
            "embdl-weights",
            "embdl-data",
            "embdl-train",
            "embdl-compress",
            "embdl-bench",
            "embdl-cli",
            "embdl-testkit",
            "embdl-threads",
            "rt-atom",
            "rt-arm",
            "rt-myriad",
            "rt-wgpu",
            "rt-jetson",
            "standin-cuda",
        ],
    ),
];
/// How many entries in a row one comment may give the reason for.
const ENTRIES_A_COMMENT: usize = 4;

/// Checks all manifests of the workspace.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("Cargo.toml")) {
        // A package outside the workspace, such as the fuzz targets, keeps its own rules.
        if file.path.contains("/fuzz/") || file.path.starts_with("xtask/peers/") {
            continue;
        }
        match file.text.parse::<Table>() {
            Err(error) => {
                findings.push(finding(&file.path, 0, format!("is no TOML: {}", error.message())))
            }
            Ok(table) if file.path == "Cargo.toml" => reasons(file, &table, &mut findings),
            Ok(table) => package(file, &table, &mut findings),
        }
    }
    findings
}

/// Every outside dependency of the workspace has a comment that says what it is for.
fn reasons(file: &TextFile, table: &Table, findings: &mut Vec<Finding>) {
    let dependencies = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let is_ours = |name: &str| {
        dependencies.and_then(|all| all.get(name)).is_some_and(|entry| entry.get("path").is_some())
    };
    let (mut is_inside, mut covered) = (false, 0);
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            is_inside = line == "[workspace.dependencies]";
            covered = 0;
        } else if line.starts_with('#') {
            covered = ENTRIES_A_COMMENT;
        } else if line.is_empty() {
            covered = 0;
        } else if let (true, Some((name, _))) = (is_inside, line.split_once(" = ")) {
            if !is_ours(name) && covered == 0 {
                findings.push(finding(
                    &file.path,
                    index,
                    format!("`{name}` has no comment that says what it is for"),
                ));
            }
            covered = covered.saturating_sub(1);
        }
    }
}

fn package(file: &TextFile, table: &Table, findings: &mut Vec<Finding>) {
    let Some(name) = table.get("package").and_then(|package| package.get("name")?.as_str()) else {
        findings.push(finding(&file.path, 0, "has no package name"));
        return;
    };
    let Some((_, allowed)) = ALLOWED.iter().find(|(package, _)| *package == name) else {
        let message =
            format!("`{name}` is new: say what it may depend on, in xtask/src/tidy/manifests.rs");
        findings.push(finding(&file.path, 0, message));
        return;
    };
    let inherits = |key: &str| {
        table.get(key).and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true))
    };
    if !inherits("lints") {
        findings.push(finding(&file.path, 0, "does not take the lints of the workspace"));
    }
    for (kind, dependency, entry) in dependencies(table) {
        let line = line_of(&file.text, dependency);
        let is_ours = ALLOWED.iter().any(|(package, _)| *package == dependency);
        if is_ours && !may_depend(name, allowed, kind, dependency) {
            findings.push(finding(
                &file.path,
                line,
                format!("`{name}` must not depend on `{dependency}` ({kind})"),
            ));
        }
        if entry.get("workspace") != Some(&Value::Boolean(true)) {
            findings.push(finding(
                &file.path,
                line,
                format!("`{dependency}`: its version belongs in the root manifest"),
            ));
        }
    }
}

fn may_depend(name: &str, allowed: &[&str], kind: &str, dependency: &str) -> bool {
    if kind != "dev-dependencies" {
        return allowed.contains(&dependency);
    }
    match name {
        "xtask" | "embdl-testkit" => false,
        _ if name.starts_with("rt-") => {
            allowed.contains(&dependency) || ["embdl-testkit", "embdl-ptx"].contains(&dependency)
        }
        _ => true,
    }
}

/// The kind, the name and the entry of every dependency, those for one platform included.
fn dependencies(table: &Table) -> Vec<(&'static str, &str, &Value)> {
    let platforms =
        table.get("target").and_then(Value::as_table).into_iter().flat_map(|all| all.values());
    let mut found = Vec::new();
    for place in core::iter::once(table).chain(platforms.filter_map(Value::as_table)) {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, entry) in place.get(kind).and_then(Value::as_table).into_iter().flatten() {
                found.push((kind, name.as_str(), entry));
            }
        }
    }
    found
}

fn line_of(text: &str, dependency: &str) -> usize {
    let names_it = |line: &str| {
        let rest = line.trim_start_matches('[').trim_start();
        rest.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    text.lines().position(names_it).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(path: &str, text: &str) -> Vec<String> {
        let files = [TextFile { path: path.into(), text: text.into() }];
        check(&files).iter().map(|f| format!("{}: {}", f.line, f.message)).collect()
    }

    fn manifest(name: &str, rest: &str) -> Vec<String> {
        check_one(
            "crates/x/Cargo.toml",
            &format!("package.name = '{name}'\nlints.workspace = true\n{rest}"),
        )
    }

    #[test]
    fn a_runtime_depends_on_the_core_alone() {
        assert!(manifest("rt-arm", "[dependencies]\nembdl-core.workspace = true").is_empty());
        for forbidden in ["embdl-graph", "embdl-onnx", "embdl-train", "embdl-compress", "rt-atom"] {
            for kind in [
                "dependencies",
                "build-dependencies",
                "dev-dependencies",
                "target.'cfg(unix)'.dependencies",
            ] {
                let found = manifest("rt-arm", &format!("[{kind}]\n{forbidden}.workspace = true"));
                assert_eq!(found.len(), 1, "{forbidden} in {kind}: {found:?}");
                assert!(
                    found[0].starts_with("4: ") && found[0].contains("must not depend"),
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn the_test_kit_is_for_tests() {
        assert!(
            manifest("rt-arm", "[dev-dependencies]\nembdl-testkit.workspace = true").is_empty()
        );
        assert_eq!(manifest("rt-arm", "[dependencies]\nembdl-testkit.workspace = true").len(), 1);
    }

    #[test]
    fn xtask_depends_on_none_of_ours() {
        assert_eq!(manifest("xtask", "[dev-dependencies]\nembdl-core.workspace = true").len(), 1);
        assert!(manifest("xtask", "[dependencies]\nclap.workspace = true").is_empty());
    }

    #[test]
    fn versions_and_lints_have_one_place() {
        let found = manifest("rt-arm", "[dependencies]\nserde = '1'");
        assert!(found.len() == 1 && found[0].contains("root manifest"), "{found:?}");
        let found = check_one("crates/x/Cargo.toml", "package.name = 'rt-arm'");
        assert!(found.len() == 1 && found[0].contains("lints"), "{found:?}");
        assert!(manifest("rt-unheard-of", "")[0].contains("is new"));
        assert!(check_one("tests/fuzz/Cargo.toml", "package.name = 'fuzz'").is_empty());
    }

    #[test]
    fn every_dependency_has_a_reason() {
        let root =
            |text: &str| check_one("Cargo.toml", &format!("[workspace.dependencies]\n{text}"));
        assert!(root("ours = { path = 'crates/ours' }\n\n# Logs.\na = '1'\nb = '1'").is_empty());
        assert_eq!(root("a = '1'"), ["2: `a` has no comment that says what it is for"]);
        assert_eq!(root("# Logs.\na = '1'\nb = '1'\nc = '1'\nd = '1'\ne = '1'").len(), 1);
        assert_eq!(root("# Logs.\n\na = '1'").len(), 1);
        assert!(check_one("Cargo.toml", "[profile.dev]\na = '1'").is_empty());
    }

    #[test]
    fn every_allowed_package_is_in_the_table_itself() {
        for (name, allowed) in &ALLOWED {
            for other in *allowed {
                assert!(ALLOWED.iter().any(|(package, _)| package == other), "{name} → {other}");
            }
        }
    }
}

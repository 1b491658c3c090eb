//! The grammar of kernel names, with the words that docs/src/kernels.md lists.
use super::source::{Source, is_word, words};
use super::{Finding, TextFile, finding};
use std::collections::{BTreeMap, BTreeSet};

/// The page that lists the words.
const PAGE: &str = "docs/src/kernels.md";

/// The words that a kernel's name may be made of. A list is empty, and not checked, where the page does not have it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grammar {
    ops: BTreeSet<String>,
    data: BTreeSet<String>,
    isas: BTreeSet<String>,
    /// The kernels that the page names, each with its line, counted from 0.
    kernels: BTreeMap<String, usize>,
}

impl Grammar {
    /// Reads the tables of the page: the words of `op` and `isa` stand in the rows of these names, the data words in a column.
    pub(super) fn read(files: &[TextFile]) -> Self {
        let page = files.iter().find(|file| file.path == PAGE);
        let mut grammar = Self::default();
        let mut heading = String::new();
        for (index, line) in page.map_or("", |page| &page.text).lines().enumerate() {
            let Some(row) = line.trim().strip_prefix('|') else {
                heading.clear();
                continue;
            };
            let (first, rest) = row.split_once('|').unwrap_or((row, ""));
            if heading.is_empty() {
                heading = first.trim().to_lowercase();
            } else if heading == "part" {
                match first.trim() {
                    "`op`" => grammar.ops.extend(quoted(rest)),
                    "`isa`" => grammar.isas.extend(quoted(rest)),
                    _ => {}
                }
            } else if heading == "data word" {
                grammar.data.extend(quoted(first));
            } else {
                let kernels = quoted(row).filter(|word| word.contains("__"));
                grammar.kernels.extend(kernels.map(|kernel| (kernel, index)));
            }
        }
        grammar
    }

    /// Checks that every kernel of the page is in the source of a runtime.
    pub(super) fn check_page(&self, runtimes: &[Source<'_>]) -> Vec<Finding> {
        let is_there = |kernel: &str| {
            // Profiles name kernels in strings, so literals count as well as functions.
            let mut lines = runtimes.iter().flat_map(|source| &source.lines);
            lines.any(|line| words(line, kernel).next().is_some())
        };
        let missing = self.kernels.iter().filter(|(kernel, _)| !is_there(kernel));
        missing
            .map(|(kernel, &index)| finding(PAGE, index, format!("no runtime has `{kernel}`")))
            .collect()
    }

    /// Checks the functions of a file that have `__` in their names.
    pub(super) fn check(&self, path: &str, source: &Source<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, line) in source.code.iter().enumerate() {
            for at in words(line, "fn") {
                let rest = line[at + 2..].trim_start();
                let name: String = rest.chars().take_while(|&c| is_word(c)).collect();
                if let (true, Err(message)) = (name.contains("__"), self.parse(&name)) {
                    findings.push(finding(path, index, format!("kernel name `{name}`: {message}")));
                }
            }
        }
        findings
    }

    /// `<op>_<lhs>_<rhs>[_<act>]_<MR>x<NR>[c<KR>]__<isa>`.
    fn parse(&self, name: &str) -> Result<(), String> {
        let (stem, isa) = name.split_once("__").unwrap_or((name, ""));
        if isa.is_empty() || isa.contains("__") || !is_known(&self.isas, isa) {
            return Err(format!("`{isa}` is no instruction set of {PAGE}"));
        }
        let mut words: Vec<&str> = stem.split('_').collect();
        let last = words.pop().unwrap_or_default();
        if !is_tile(last) {
            return Err(format!("`{last}` is no tile such as 4x8c4"));
        }
        let first_data = words.iter().position(|word| self.is_data(word));
        let (op, data) = words.split_at(first_data.unwrap_or(words.len()));
        let op = op.join("_");
        if op.is_empty() || !is_known(&self.ops, &op) {
            return Err(format!("`{op}` is no operator of {PAGE}"));
        }
        if data.len() < 2 || !self.is_data(data[1]) {
            return Err(format!("two data words of {PAGE} name what comes in"));
        }
        if data.len() > 3 {
            return Err("more than one word between the data words and the tile".into());
        }
        if !self.kernels.is_empty() && !self.kernels.contains_key(name) {
            return Err(format!("{PAGE} does not name it"));
        }
        Ok(())
    }

    fn is_data(&self, word: &str) -> bool {
        if self.data.is_empty() {
            // Without the page: letters, a number of bits, perhaps a letter, such as f32, qc8w, bsrw.
            let bits = word.trim_start_matches(|c: char| c.is_ascii_lowercase());
            return word == "bsrw"
                || (bits.len() < word.len() && bits.starts_with(|c: char| c.is_ascii_digit()));
        }
        self.data.contains(word)
    }
}

fn is_known(list: &BTreeSet<String>, word: &str) -> bool {
    list.is_empty() || list.contains(word)
}

/// The words that a piece of a page sets as code.
fn quoted(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// `<MR>x<NR>[c<KR>]`.
fn is_tile(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((mr, rest)) = word.split_once('x') else { return false };
    let (nr, kr) = rest.split_once('c').unwrap_or((rest, "1"));
    is_number(mr) && is_number(nr) && is_number(kr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar() -> Grammar {
        let text = "# Kernels\n\n| part | meaning |\n|---|---|\n| `op` | `gemm` (all), `depthwise` |\n\
                    | `MR` | rows |\n| `isa` | `sse41`, `neon` |\n\n| data word | meaning |\n|---|---|\n\
                    | `f32` | x |\n| `qu8` | y |\n| `qc8w` | z |\n";
        Grammar::read(&[TextFile { path: PAGE.into(), text: text.into() }])
    }

    #[test]
    fn reads_the_words_from_the_page() {
        let Grammar { ops, data, isas, kernels } = grammar();
        assert_eq!(ops.into_iter().collect::<Vec<_>>(), ["depthwise", "gemm"]);
        assert_eq!(data.into_iter().collect::<Vec<_>>(), ["f32", "qc8w", "qu8"]);
        assert_eq!(isas.into_iter().collect::<Vec<_>>(), ["neon", "sse41"]);
        assert!(kernels.is_empty());
    }

    #[test]
    fn accepts_names_of_the_grammar() {
        for name in [
            "gemm_qu8_qc8w_4x8__sse41",
            "gemm_qu8_qc8w_relu_6x8c4__neon",
            "depthwise_f32_f32_1x8__sse41",
        ] {
            assert_eq!(grammar().parse(name), Ok(()), "{name}");
            assert_eq!(Grammar::default().parse(name), Ok(()), "{name} without the page");
        }
    }

    #[test]
    fn refuses_what_the_grammar_does_not_have() {
        for (name, part) in [
            ("gemm_qu8_qc8w_4x8__avx9", "instruction set"),
            ("gemm_qu8_qc8w_4x8__", "instruction set"),
            ("gemm_qu8_qc8w_4x8__sse41__neon", "instruction set"),
            ("gemm_qu8_qc8w__sse41", "`qc8w` is no tile"),
            ("gemm_qu8_qc8w_4x__sse41", "`4x` is no tile"),
            ("gemmm_qu8_qc8w_4x8__sse41", "`gemmm` is no operator"),
            ("qu8_qc8w_4x8__sse41", "`` is no operator"),
            ("gemm_qu8_fast_4x8__sse41", "two data words"),
            ("gemm_qu8_4x8__sse41", "two data words"),
            ("gemm_qu8_qc8w_very_fast_4x8__sse41", "more than one word"),
        ] {
            let error = grammar().parse(name).unwrap_err();
            assert!(error.contains(part), "{name}: {error}");
        }
    }

    #[test]
    fn only_functions_with_two_underscores_are_kernels() {
        let text =
            "fn f32_4x8() {}\nlet x: __m128i = a__b();\n// fn bad__name()\nfn bad__name() {}\n";
        let found = grammar().check("crates/rt-arm/src/a.rs", &Source::new(text));
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn the_page_and_the_runtimes_name_the_same_kernels() {
        let text = "| job | `neon` |\n|---|---|\n| a | `gemm_f32_f32_4x8__neon` |\n| b | `gemm_f32_f32_1x8__neon` |\n";
        let grammar = Grammar::read(&[TextFile { path: PAGE.into(), text: text.into() }]);
        let source =
            Source::new("fn gemm_f32_f32_4x8__neon() {}\nfn gemm_f32_f32_8x8__neon() {}\n");
        let found = grammar.check("crates/rt-arm/src/a.rs", &source);
        assert_eq!(found.len(), 1);
        assert!(found[0].line == 2 && found[0].message.contains("does not name it"), "{found:?}");
        let found = grammar.check_page(&[source]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].line == 4 && found[0].message.contains("gemm_f32_f32_1x8__neon"),
            "{found:?}"
        );
    }
}

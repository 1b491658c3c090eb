//! The grammar of kernel names, with the words that docs/src/kernels.md lists.
use super::source::{Source, is_word, words};
use super::{Finding, TextFile, finding};
use std::collections::BTreeSet;

/// The page that lists the words.
const PAGE: &str = "docs/src/kernels.md";

/// The words that a kernel's name may be made of. A list is empty, and not checked, where the page does not have it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grammar {
    ops: BTreeSet<String>,
    data: BTreeSet<String>,
    isas: BTreeSet<String>,
}

impl Grammar {
    /// Reads the tables of the page: one that is headed `op`, one `data word`, one `isa`, with the words as code in the first column.
    pub(super) fn read(files: &[TextFile]) -> Self {
        let page = files.iter().find(|file| file.path == PAGE);
        let mut grammar = Self::default();
        let mut heading = String::new();
        for line in page.map_or("", |page| &page.text).lines() {
            let Some(row) = line.trim().strip_prefix('|') else {
                heading.clear();
                continue;
            };
            let cell = row.split('|').next().unwrap_or_default().trim();
            if heading.is_empty() {
                heading = cell.to_lowercase();
                continue;
            }
            let list = match heading.as_str() {
                "op" => &mut grammar.ops,
                "data word" => &mut grammar.data,
                "isa" => &mut grammar.isas,
                _ => continue,
            };
            list.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
        grammar
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

    /// `<op>_<lhs>[_<rhs>][_<act>][_<MR>x<NR>[c<KR>]]__<isa>`; one data word where the operator has one operand, a tile for a GEMM.
    fn parse(&self, name: &str) -> Result<(), String> {
        let (stem, isa) = name.split_once("__").unwrap_or((name, ""));
        if isa.is_empty() || isa.contains("__") || !is_known(&self.isas, isa) {
            return Err(format!("`{isa}` is no instruction set of {PAGE}"));
        }
        let mut words: Vec<&str> = stem.split('_').collect();
        let tile = words.pop_if(|word| is_tile(word));
        let first_data = words.iter().position(|word| self.is_data(word));
        let (op, data) = words.split_at(first_data.unwrap_or(words.len()));
        let op = op.join("_");
        if op.is_empty() || !is_known(&self.ops, &op) {
            return Err(format!("`{op}` is no operator of {PAGE}"));
        }
        if let Some(word) = data.iter().find(|word| !self.is_data(word)) {
            return Err(format!(
                "`{word}` is neither a data word of {PAGE} nor a tile such as 4x8c4"
            ));
        }
        if data.is_empty() || data.len() > 3 {
            return Err(format!(
                "{} data words; one to three name the operands and the result",
                data.len()
            ));
        }
        if op == "gemm" && (tile.is_none() || data.len() < 2) {
            return Err("a gemm names both operands and its tile".into());
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
        let text = "# Kernels\n\n| op | what |\n|---|---|\n| `gemm` | x |\n| `maxpool` | y |\n| `dw_conv` | z |\n\n\
                    | data word | what |\n|---|---|\n| `f32`, `qu8` | x |\n| `qc8w` | y |\n\n\
                    | isa | what |\n|:--|---|\n| `sse41` | x |\n| `neon` | y |\n";
        Grammar::read(&[TextFile { path: PAGE.into(), text: text.into() }])
    }

    #[test]
    fn reads_the_words_from_the_page() {
        let grammar = grammar();
        assert_eq!(grammar.ops.len() + grammar.data.len() + grammar.isas.len(), 8);
        assert!(grammar.data.contains("qu8") && grammar.isas.contains("neon"));
    }

    #[test]
    fn accepts_names_of_the_grammar() {
        for name in [
            "gemm_qu8_qc8w_4x8__sse41",
            "gemm_qu8_qc8w_f32_6x8c4__neon",
            "maxpool_qu8__neon",
            "dw_conv_f32_f32_1x8__sse41",
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
            ("gemm_qu8_qc8w__sse41", "tile"),
            ("gemm_qu8_qc8w_4x__sse41", "`4x` is neither"),
            ("gemm_qu8_fast_4x8__sse41", "`fast` is neither"),
            ("gemmm_qu8_qc8w_4x8__sse41", "`gemmm` is no operator"),
            ("qu8_qc8w_4x8__sse41", "`` is no operator"),
            ("maxpool__neon", "0 data words"),
            ("maxpool_f32_f32_f32_f32__neon", "4 data words"),
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
}

//! Which loops the table has, how they are told from others, and the cores that each is for.
use super::listing::Loop;

/// An instruction that multiplies and adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    /// `fmla` of four floats.
    Floats,
    /// `fmla` of eight halves.
    Halves,
    /// `smull` and `smlal` of eight bytes.
    Bytes,
    /// `smlal` of four words of 16 bits.
    Words,
    /// `sdot`.
    Sdot,
    /// `usmmla`.
    Usmmla,
}

impl Product {
    /// Whether an instruction is one.
    pub(super) fn is(self, text: &str) -> bool {
        let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
        let result = operands.split(',').next().unwrap_or_default();
        let is_long = ["smull", "smull2", "smlal", "smlal2"].contains(&name);
        match self {
            Self::Floats => name == "fmla" && result.ends_with(".4s"),
            Self::Halves => name == "fmla" && result.ends_with(".8h"),
            Self::Bytes => is_long && result.ends_with(".8h"),
            Self::Words => is_long && result.ends_with(".4s"),
            Self::Sdot => name == "sdot",
            Self::Usmmla => name == "usmmla",
        }
    }

    /// Products of one instruction.
    pub(super) const fn count(self) -> usize {
        match self {
            Self::Floats | Self::Words => 4,
            Self::Halves | Self::Bytes => 8,
            Self::Sdot => 16,
            Self::Usmmla => 32,
        }
    }
}

/// A row of the table for each of its cores.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// In Markdown.
    pub(super) title: &'static str,
    /// A part of the mangled name of the function.
    pub(super) function: &'static str,
    pub(super) product: Product,
    /// By LLVM's names.
    pub(super) cores: &'static [&'static str],
    /// Tells the loop from others of the function: by its product instructions, and all.
    pub(super) which: fn(usize, &Loop) -> bool,
}

const CORES: &[&str] = &["cortex-a53", "cortex-a55", "cortex-a57", "cortex-a72"];
const DOTPROD_CORES: &[&str] = &["cortex-a55", "cortex-a76"];
const I8MM_CORES: &[&str] = &["cortex-a510", "neoverse-n2"];

/// Cores for which the goal is set: the others are in order, or a model of LLVM stands in for theirs.
pub(super) const OUT_OF_ORDER: [&str; 2] = ["cortex-a57", "cortex-a72"];

/// Instructions of a name.
fn count(found: &Loop, name: &str) -> usize {
    found.instructions.iter().filter(|text| text.split(' ').next() == Some(name)).count()
}

/// The table's rows, in order.
pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        title: "`gemm_f32_f32_6x16__neon`, `conv_f32_f32_6x16__neon`, the products of `winograd_f32_f32`",
        function: "gemm3f32",
        product: Product::Floats,
        cores: CORES,
        which: |products, _| products == 96,
    },
    Kernel {
        title: "the same, one row",
        function: "gemm3f32",
        product: Product::Floats,
        cores: CORES,
        which: |products, found| products == 64 && found.instructions.len() == 82,
    },
    Kernel {
        title: "`depthwise_f32_f32_4x8__neon`, 3x3, stride 1",
        function: "depthwise_f32",
        product: Product::Floats,
        cores: CORES,
        which: |products, _| products == 27,
    },
    Kernel {
        title: "`gemm_qu8_qc8w_4x4c16__neon`, weights to 127",
        function: "gemm4neon",
        product: Product::Bytes,
        cores: CORES,
        which: |products, found| products == 2 * count(found, "sadalp"),
    },
    Kernel {
        title: "the same, weights to 63",
        function: "gemm4neon",
        product: Product::Bytes,
        cores: CORES,
        which: |products, found| products == 4 * count(found, "sadalp"),
    },
    Kernel {
        title: "the same, weights to 31",
        function: "gemm4neon",
        product: Product::Bytes,
        cores: CORES,
        which: |products, found| products == 8 * count(found, "sadalp"),
    },
    Kernel {
        title: "`winograd_qu8_qc8w_4x8__neon`",
        function: "conv_q8",
        product: Product::Words,
        cores: CORES,
        which: |_, _| true,
    },
    Kernel {
        title: "`gemm_qu8_ellw_1x16c128__neon`",
        function: "ell_q8",
        product: Product::Bytes,
        cores: CORES,
        which: |products, found| products == 2 * count(found, "sadalp"),
    },
    Kernel {
        title: "`gemm_f32_f16_6x16__fp16`, `conv_f32_f16_6x16__fp16`",
        function: "gemm3f16",
        product: Product::Halves,
        cores: DOTPROD_CORES,
        which: |products, _| products == 48,
    },
    Kernel {
        title: "`gemm_qu8_qc8w_8x8c4__dotprod`",
        function: "gemm7dotprod",
        product: Product::Sdot,
        cores: DOTPROD_CORES,
        which: |_, _| true,
    },
    Kernel {
        title: "`gemm_qu8_ellw_1x16c128__dotprod`",
        function: "3ell7dotprod",
        product: Product::Sdot,
        cores: DOTPROD_CORES,
        which: |_, _| true,
    },
    Kernel {
        title: "`gemm_qu8_qc8w_8x8c8__i8mm`",
        function: "gemm4i8mm",
        product: Product::Usmmla,
        cores: I8MM_CORES,
        which: |_, _| true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_told_by_name_and_width() {
        let all = [
            Product::Floats,
            Product::Halves,
            Product::Bytes,
            Product::Words,
            Product::Sdot,
            Product::Usmmla,
        ];
        let is =
            |text: &str| all.into_iter().filter(|product| product.is(text)).collect::<Vec<_>>();
        assert_eq!(is("fmla v1.4s, v0.4s, v2.s[0]"), [Product::Floats]);
        assert_eq!(is("fmla v16.8h, v0.8h, v4.h[7]"), [Product::Halves]);
        assert_eq!(is("smlal2 v17.8h, v1.16b, v2.16b"), [Product::Bytes]);
        assert_eq!(is("smlal v17.4s, v1.4h, v2.h[1]"), [Product::Words]);
        assert_eq!(is("sdot v1.4s, v2.16b, v3.4b[0]"), [Product::Sdot]);
        assert_eq!(is("usmmla v1.4s, v2.16b, v3.16b"), [Product::Usmmla]);
        assert_eq!(is("sadalp v24.4s, v17.8h"), []);
    }
}

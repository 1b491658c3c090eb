//! Every operator that is read, once: its versions, what it becomes, its limits, and the function that reads it. The
//! table of docs/src/operators.md is written from here.

use tract_onnx::pb::NodeProto;

use crate::error::NodeError;
use crate::import::Importer;
use crate::import::fold::{self, Fold};

/// Reads a node into the graph.
type Import = for<'a> fn(&mut Importer<'a>, &'a NodeProto) -> Result<(), NodeError>;

/// An operator that is read.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Operator {
    /// ONNX name.
    pub name: &'static str,
    /// The versions of the operator that are known: operator sets in which its definition changed.
    pub since: &'static [i64],
    /// What the graph has for it.
    pub becomes: &'static str,
    /// What is not read.
    pub limits: &'static str,
    pub(crate) import: Option<Import>,
    /// How it is computed where all its inputs are constant.
    pub(crate) fold: Option<Fold>,
}

impl core::fmt::Debug for Operator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Operator").field("name", &self.name).finish_non_exhaustive()
    }
}

const fn op(
    name: &'static str,
    since: &'static [i64],
    import: Import,
    becomes: &'static str,
    limits: &'static str,
) -> Operator {
    Operator { name, since, becomes, limits, import: Some(import), fold: None }
}

/// An operator that is only computed on constants.
const fn only_fold(
    name: &'static str,
    since: &'static [i64],
    fold: Fold,
    limits: &'static str,
) -> Operator {
    Operator { name, since, becomes: "a constant", limits, import: None, fold: Some(fold) }
}

impl Operator {
    const fn folds(self, fold: Fold) -> Self {
        Self { fold: Some(fold), ..self }
    }
}

const INTEGERS: &str = "of constants only";

/// All operators, by family.
const OPERATORS: &[Operator] = &[
    op("Conv", &[1, 11, 22], |own, node| own.conv(node), "conv2d", "two dimensions; weight and bias constant"),
    op("Gemm", &[7, 9, 11, 13], |own, node| own.gemm(node), "dense; `alpha` and `beta` are multiplied in", "`B` and `C` constant, `C` one value or one for each output; `transA` = 0"),
    op("MatMul", &[1, 9, 13], |own, node| own.mat_mul(node), "dense; over more than `[n, features]` a conv2d of one tap", "times a constant matrix"),
    op("BatchNormalization", &[7, 9, 14, 15], |own, node| own.batch_normalization(node), "part of the layer before it, else a depthwise conv2d of one tap", "`training_mode` = 0, `spatial` = 1"),
    op("Add", &[7, 13, 14], |own, node| own.add(node), "add; with a constant: part of a layer, or a depthwise conv2d of one tap", "two activations of one shape; or a constant, one value or one for each index of one dimension").folds(fold::binary),
    op("Sub", &[7, 13, 14], |own, node| own.sub(node), "like Add", "like Add").folds(fold::binary),
    op("Mul", &[7, 13, 14], |own, node| own.mul(node), "mul; silu or hard-swish where it is `x` times its gate; with a constant like Add", "two activations of one shape, or one element a channel against a map; or a constant like Add's").folds(fold::binary),
    op("Div", &[7, 13, 14], |own, node| own.div(node), "like Mul with a constant", "by a constant").folds(fold::binary),
    op("Neg", &[6, 13], |own, node| own.neg(node), "a factor of the layer before or behind", "").folds(fold::unary),
    op("Sum", &[6, 8, 13], |own, node| own.sum(node), "add", "activations of one shape").folds(fold::binary),
    op("Min", &[6, 8, 12, 13], |own, node| own.bound(node), "clip, or like Clip", "of an activation and one number").folds(fold::binary),
    op("Max", &[6, 8, 12, 13], |own, node| own.bound(node), "clip, or like Clip", "of an activation and one number").folds(fold::binary),
    op("Relu", &[6, 13, 14], |own, node| own.relu(node), "epilogue of the Conv, Gemm, MatMul or Add before it, else relu", ""),
    op("Clip", &[6, 11, 12, 13], |own, node| own.clip(node), "like Relu for 0 to 6 and 0 to infinity; hard-sigmoid behind a sum with a constant; else clip", "bounds constant"),
    op("Sigmoid", &[6, 13], |own, node| own.unary(node), "sigmoid", ""),
    op("HardSigmoid", &[6, 22], |own, node| own.unary(node), "hard-sigmoid", ""),
    op("HardSwish", &[14, 22], |own, node| own.unary(node), "hard-swish", ""),
    op("Swish", &[24], |own, node| own.unary(node), "silu", "`alpha` = 1"),
    op("Tanh", &[6, 13], |own, node| own.unary(node), "tanh", ""),
    op("LeakyRelu", &[6, 16], |own, node| own.unary(node), "leaky-relu", ""),
    op("Elu", &[6, 22], |own, node| own.unary(node), "elu", ""),
    op("PRelu", &[7, 9, 16], |own, node| own.prelu(node), "prelu", "slope constant, one value or one for each index of one dimension"),
    op("MaxPool", &[1, 8, 10, 11, 12, 22], |own, node| own.pool(node), "max-pool", "two dimensions; indices are not given; pads smaller than the window"),
    op("AveragePool", &[7, 10, 11, 19, 22], |own, node| own.pool(node), "average-pool", "two dimensions; pads smaller than the window"),
    op("GlobalAveragePool", &[1, 22], |own, node| own.global_pool(node), "global-average-pool", "two dimensions"),
    op("GlobalMaxPool", &[1, 22], |own, node| own.global_pool(node), "max-pool", "two dimensions"),
    op("ReduceMean", &[1, 11, 13, 18], |own, node| own.reduce(node), "global-average-pool", "axes constant, at least one, not the batch"),
    op("ReduceMax", &[1, 11, 12, 13, 18, 20], |own, node| own.reduce(node), "max-pool", "like ReduceMean").folds(fold::reduce),
    op("ReduceSum", &[1, 11, 13], |own, node| own.reduce(node), "global-average-pool and a factor", "like ReduceMean").folds(fold::reduce),
    op("LRN", &[1, 13], |own, node| own.lrn(node), "lrn", "two dimensions"),
    op("Softmax", &[1, 11, 13], |own, node| own.softmax(node), "softmax", "not over the batch; before opset 13 over all dimensions from `axis` on"),
    op("Concat", &[4, 11, 13], |own, node| own.concat(node), "concat", "not along the batch; all activations or all constants").folds(fold::concat),
    op("Flatten", &[1, 9, 11, 13, 21, 23, 24, 25], |own, node| own.flatten(node), "flatten", "`axis` = 1").folds(fold::flatten),
    op("Reshape", &[5, 13, 14, 19, 21, 23, 24, 25], |own, node| own.reshape(node), "reshape, or another view of the same value", "shape constant; the batch stays").folds(fold::reshape),
    op("Squeeze", &[1, 11, 13, 21, 23, 24, 25], |own, node| own.squeeze(node), "like Reshape", "the batch stays").folds(fold::squeeze),
    op("Unsqueeze", &[1, 11, 13, 21, 23, 24, 25], |own, node| own.unsqueeze(node), "like Reshape", "the batch stays first").folds(fold::unsqueeze),
    op("Transpose", &[1, 13, 21, 23, 24, 25], |own, node| own.transpose(node), "another view; a transpose where a reader needs another order than memory has", "the batch stays first").folds(fold::transpose),
    op("Slice", &[1, 10, 11, 13], |own, node| own.slice(node), "a depthwise conv2d that picks", "bounds constant; the batch stays whole; steps above 0").folds(fold::slice),
    op("Split", &[2, 11, 13, 18], |own, node| own.split(node), "a depthwise conv2d that picks, for each part", "sizes constant; not the batch"),
    op("Pad", &[2, 11, 13, 18, 19, 21, 23, 24, 25], |own, node| own.pad(node), "pads of the Conv or pooling behind it, else pad", "zeros around height and width"),
    op("Resize", &[10, 11, 13, 18, 19], |own, node| own.resize(node), "resize", "height and width; sizes, or factors that give whole numbers; nearest or linear; coordinates half_pixel, align_corners, asymmetric; `nearest_mode` round_prefer_floor, floor for asymmetric"),
    op("Upsample", &[7, 9, 10], |own, node| own.resize(node), "resize", "like Resize"),
    op("Dropout", &[7, 10, 12, 13, 22], |own, node| own.dropout(node), "nothing", "the mask is not read; `training_mode` = 0"),
    op("Identity", &[1, 13, 14, 16, 19, 21, 23, 24, 25], |own, node| own.identity(node), "nothing", ""),
    op("Cast", &[6, 9, 13, 19, 21, 23, 24, 25, 28], |own, node| own.cast(node), "nothing", "activations to FLOAT; constants to FLOAT, INT64, INT32, BOOL").folds(fold::cast),
    op("QuantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28], |own, node| own.quantize_linear(node), "levels of a value", "UINT8 and INT8; one scale for an activation; no blocks"),
    op("DequantizeLinear", &[10, 13, 19, 21, 23, 24, 25, 28], |own, node| own.dequantize_linear(node), "the integer form of a weight, or the value that was quantized", "like QuantizeLinear; of an activation with the scale and zero point of its QuantizeLinear"),
    op("Shape", &[1, 13, 15, 19, 21, 23, 24, 25], |own, node| own.shape(node), "a constant", "an open batch counts as 1").folds(fold::shape),
    op("Size", &[1, 13, 19, 21, 23, 24, 25], |own, node| own.size(node), "a constant", "like Shape").folds(fold::size),
    only_fold("Constant", &[1, 9, 11, 12, 13, 19, 21, 23, 24, 25], fold::constant, "no strings, not sparse"),
    only_fold("ConstantOfShape", &[9, 20, 21, 23, 24, 25], fold::constant_of_shape, ""),
    only_fold("Gather", &[1, 11, 13], fold::gather, INTEGERS),
    only_fold("Range", &[11, 27], fold::range, "integers"),
    only_fold("Expand", &[8, 13], fold::expand, INTEGERS),
    only_fold("Where", &[9, 16], fold::choose, INTEGERS),
    only_fold("Equal", &[7, 11, 13, 19], fold::binary, INTEGERS),
    only_fold("Less", &[7, 9, 13], fold::binary, INTEGERS),
    only_fold("LessOrEqual", &[12, 16], fold::binary, INTEGERS),
    only_fold("Greater", &[7, 9, 13], fold::binary, INTEGERS),
    only_fold("GreaterOrEqual", &[12, 16], fold::binary, INTEGERS),
    only_fold("And", &[7], fold::binary, INTEGERS),
    only_fold("Or", &[7], fold::binary, INTEGERS),
    only_fold("Not", &[1], fold::unary, INTEGERS),
    only_fold("Mod", &[10, 13, 28], fold::binary, "of constants only"),
    only_fold("Pow", &[7, 12, 13, 15], fold::binary, INTEGERS),
    only_fold("Abs", &[6, 13], fold::unary, INTEGERS),
    only_fold("Sqrt", &[6, 13], fold::unary, INTEGERS),
    only_fold("Floor", &[6, 13], fold::unary, INTEGERS),
    only_fold("Ceil", &[6, 13], fold::unary, INTEGERS),
    only_fold("Round", &[11, 22], fold::unary, INTEGERS),
    only_fold("Exp", &[6, 13], fold::unary, INTEGERS),
    only_fold("Log", &[6, 13], fold::unary, INTEGERS),
    only_fold("Reciprocal", &[6, 13], fold::unary, INTEGERS),
    only_fold("ReduceProd", &[1, 11, 13, 18], fold::reduce, "of constants only"),
    only_fold("ReduceMin", &[1, 11, 12, 13, 18, 20], fold::reduce, "of constants only"),
];

/// All operators that are read.
#[must_use]
pub const fn operators() -> &'static [Operator] {
    OPERATORS
}

pub(crate) fn find(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|operator| operator.name == name)
}

/// The table of operators as the book has it.
#[must_use]
pub fn operator_table() -> String {
    let mut table = "| operator | versions | becomes | limits |\n|---|---|---|---|\n".to_owned();
    for operator in OPERATORS {
        let versions: Vec<String> = operator.since.iter().map(i64::to_string).collect();
        let Operator { name, becomes, limits, .. } = operator;
        table += &format!("| {name} | {} | {becomes} | {limits} |\n", versions.join(", "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_stands_once_with_ascending_versions() {
        for (at, operator) in OPERATORS.iter().enumerate() {
            let same = OPERATORS.iter().position(|other| other.name == operator.name);
            assert_eq!(same, Some(at), "{}", operator.name);
            assert!(operator.since.is_sorted() && !operator.since.is_empty(), "{}", operator.name);
            assert!(operator.import.is_some() || operator.fold.is_some(), "{}", operator.name);
        }
    }

    #[test]
    fn the_book_has_the_table() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/operators.md");
        let book = std::fs::read_to_string(&path).expect("the page of the book");
        let marks = [
            "<!-- operators: written by `EMBDL_BLESS=1 cargo test -p embdl-onnx` -->\n",
            "<!-- end of operators -->",
        ];
        let start = book.find(marks[0]).expect("the mark before the table") + marks[0].len();
        let end = book.find(marks[1]).expect("the mark behind the table");
        if std::env::var_os("EMBDL_BLESS").is_some() {
            let fresh = [&book[..start], &operator_table(), &book[end..]].concat();
            std::fs::write(&path, fresh).expect("the page can be written");
        } else {
            assert_eq!(&book[start..end], operator_table(), "run with EMBDL_BLESS=1");
        }
    }
}

//! Operators that work element by element.

use embdl_core::exec::Weightless;
use embdl_core::op::Unary;
use embdl_core::quant::{Quant, Requant, thresholds};
use embdl_core::runtime::RuntimeError;

use super::Lowering;
use crate::draft::{Constants, Draft};
use crate::kernels::{
    DEQUANTIZE, MAP_LEVELS, MAP_WORDS, PAIRS_F32, PAIRS_Q8, Params, QUANTIZE, levels_word,
};

/// Functions of `pairs_f32` and `pairs_q8`.
const SUM: usize = 0;
const PRODUCT: usize = 1;
const SLOPES: usize = 2;

/// Functions of `map_words` beside those of [`Unary`].
const BOUND: usize = 0;
const RELU_I32: usize = 8;
const SCALE_I32: usize = 9;

impl<'l> Lowering<'_, 'l> {
    pub(super) fn pointwise(&self, work: &Weightless) -> Result<Draft<'l>, RuntimeError> {
        let count = self.to().shape.len();
        match work {
            Weightless::ClampF32((low, high)) => {
                self.words("clamp_f32_f32_1x1__wgsl", BOUND, [*low, *high])
            }
            Weightless::UnaryF32(unary) => {
                let (function, numbers) = function(*unary);
                self.words("unary_f32_f32_1x1__wgsl", function, numbers)
            }
            Weightless::ReluI32 => self.words("relu_qs32_qs32_1x1__wgsl", RELU_I32, [0.0; 2]),
            Weightless::DequantizeI32(scale) => {
                self.words("dequantize_qs32_f32_1x1__wgsl", SCALE_I32, [*scale, 0.0])
            }
            Weightless::ClampU8((low, high)) => {
                let level = |level: u8| level.clamp(*low, (*high).max(*low));
                self.levels("clamp_qu8_qu8_1x4__wgsl", &core::array::from_fn(|at| level(index(at))))
            }
            Weightless::MapU8(table) => self.levels("map_qu8_qu8_1x4__wgsl", table),
            Weightless::Quantize(quant) => self.quantize(*quant),
            Weightless::DequantizeU8(quant) => {
                let [input, out] = self.ends()?;
                let params = Params::new()
                    .counts([input, out, count, usize::from(quant.zero_point)])
                    .floats([quant.scale]);
                let (jobs, none) = (count.div_ceil(4), Constants::None);
                Ok(Draft::linear("dequantize_qu8_f32_1x4__wgsl", DEQUANTIZE, jobs, params, none))
            }
            Weightless::AddF32(bounds) => {
                self.pair_f32("add_f32_f32_1x1__wgsl", SUM, [count, count], *bounds)
            }
            Weightless::MulF32(rows) => {
                let rows = [rows.sample, rows.row];
                self.pair_f32("mul_f32_f32_1x1__wgsl", PRODUCT, rows, (0.0, 0.0))
            }
            Weightless::PReluF32(slopes) => self.slopes_f32(slopes),
            Weightless::AddU8(requant) => {
                let levels = levels_word(requant.zero_point, requant.min, requant.max);
                let params = self
                    .pair([count, count], SUM, requant.shift as usize)?
                    .integers([requant.lhs_multiplier, requant.rhs_multiplier])
                    .integers([requant.lhs_zero_point.into(), requant.rhs_zero_point.into()])
                    .counts([levels]);
                Ok(pair_q8("add_qu8_qu8_1x4__wgsl", count, params, Constants::None))
            }
            Weightless::MulU8(rows, product) => {
                let Requant { multipliers, shift, zero_point, min, max } = &product.requant;
                let multiplier = multipliers.first().copied().unwrap_or(0);
                let params = self
                    .pair([rows.sample, rows.row], PRODUCT, *shift as usize)?
                    .integers([multiplier, 0])
                    .integers([product.lhs_zero_point.into(), product.rhs_zero_point.into()])
                    .counts([levels_word(*zero_point, *min, *max)]);
                Ok(pair_q8("mul_qu8_qu8_1x4__wgsl", count, params, Constants::None))
            }
            Weightless::PReluU8(requant) => {
                let channels = requant.negative.len();
                let params = self
                    .pair([count, channels], SLOPES, requant.shift as usize)?
                    .integers([requant.positive, 0])
                    .integers([requant.input_zero_point.into(), 0])
                    .counts([levels_word(requant.zero_point, 0, 255)]);
                let slopes = requant.negative.iter().map(|slope| slope.cast_unsigned()).collect();
                let constants = Constants::Ready(slopes);
                Ok(pair_q8("prelu_qu8_qu8_1x4__wgsl", count, params, constants))
            }
            _ => unreachable!("operators that are not element by element are made elsewhere"),
        }
    }

    /// A function of each word.
    fn words(
        &self,
        name: &'static str,
        function: usize,
        numbers: [f32; 2],
    ) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let count = self.to().shape.len();
        let params = Params::new().counts([input, out, count, function]).floats(numbers);
        Ok(Draft::linear(name, MAP_WORDS, count, params, Constants::None))
    }

    /// A table of levels, word by word.
    fn levels(&self, name: &'static str, table: &[u8; 256]) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let count = self.to().shape.len().div_ceil(4);
        let params = Params::new().counts([input, out, count]);
        let constants = Constants::Ready(table_words(table));
        Ok(Draft::linear(name, MAP_LEVELS, count, params, constants))
    }

    fn quantize(&self, quant: Quant) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let count = self.to().shape.len();
        let zero_point = usize::from(quant.zero_point);
        let params = Params::new().counts([input, out, count, zero_point]);
        let thresholds = thresholds(quant).map(i32::cast_unsigned);
        let constants = Constants::Ready(thresholds.to_vec());
        let jobs = count.div_ceil(4);
        Ok(Draft::linear("quantize_f32_qu8_1x4__wgsl", QUANTIZE, jobs, params, constants))
    }

    /// Places of both inputs and of the result, and how the second input lies under the first.
    fn pair(
        &self,
        [sample, row]: [usize; 2],
        function: usize,
        shift: usize,
    ) -> Result<Params, RuntimeError> {
        let [input, out] = self.ends()?;
        let other = self.word_of(*self.node.inputs.get(1).unwrap_or(&self.node.inputs[0]))?;
        let count = self.to().shape.len();
        Ok(Params::new().counts([input, other, out, count, sample, row, function, shift]))
    }

    fn pair_f32(
        &self,
        name: &'static str,
        function: usize,
        [sample, row]: [usize; 2],
        (low, high): (f32, f32),
    ) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let other = self.word_of(self.node.inputs[1])?;
        let count = self.to().shape.len();
        let params = Params::new()
            .counts([input, other, out, count, sample, row, function])
            .floats([low, high]);
        Ok(Draft::linear(name, PAIRS_F32, count, params, Constants::None))
    }

    fn slopes_f32(&self, slopes: &[f32]) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let count = self.to().shape.len();
        let params = Params::new()
            .counts([input, input, out, count, count, slopes.len(), SLOPES])
            .floats([0.0, 0.0]);
        let constants = Constants::Ready(slopes.iter().map(|slope| slope.to_bits()).collect());
        Ok(Draft::linear("prelu_f32_f32_1x1__wgsl", PAIRS_F32, count, params, constants))
    }
}

fn pair_q8<'l>(
    name: &'static str,
    count: usize,
    params: Params,
    constants: Constants<'l>,
) -> Draft<'l> {
    Draft::linear(name, PAIRS_Q8, count.div_ceil(4), params, constants)
}

/// Number and attributes of a function in `map_words`.
fn function(unary: Unary) -> (usize, [f32; 2]) {
    match unary {
        Unary::Clip { min, max } => (BOUND, [min, max]),
        Unary::Sigmoid => (1, [0.0; 2]),
        Unary::HardSigmoid { alpha, beta } => (2, [alpha, beta]),
        Unary::HardSwish => (3, [0.0; 2]),
        Unary::Silu => (4, [0.0; 2]),
        Unary::Tanh => (5, [0.0; 2]),
        Unary::LeakyRelu { alpha } => (6, [alpha, 0.0]),
        Unary::Elu { alpha } => (7, [alpha, 0.0]),
    }
}

/// A table as words, the first level lowest.
pub(super) fn table_words(table: &[u8; 256]) -> Vec<u32> {
    let (words, _) = table.as_chunks::<4>();
    words.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect()
}

fn index(at: usize) -> u8 {
    u8::try_from(at).expect("a table has 256 entries")
}

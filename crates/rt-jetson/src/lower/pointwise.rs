//! Operators that work element by element.

use embdl_core::exec::Weightless;
use embdl_core::op::Unary;
use embdl_core::quant::{Quant, thresholds};
use embdl_core::runtime::RuntimeError;

use super::Lowering;
use super::stage::{levels, of_levels};
use crate::draft::{Constants, Draft, Parts, count};
use crate::kernels::{DEQUANTIZE, MAP_LEVELS, MAP_WORDS, PAIRS_F32, PAIRS_Q8, QUANTIZE};
use crate::params::{
    Dequantize, MapLevels, MapWords, PAIR_PRODUCT, PAIR_SLOPES, PAIR_SUM, PairsF32, PairsQ8,
    Quantize, function as functions,
};

impl<'l> Lowering<'_, 'l> {
    pub(super) fn pointwise(&self, work: Weightless) -> Result<Draft<'l>, RuntimeError> {
        match work {
            Weightless::ClampF32((low, high)) => {
                self.words("clamp_f32_f32_1x1__sm62", functions::BOUND, [low, high])
            }
            Weightless::UnaryF32(unary) => {
                let (function, numbers) = function(unary);
                self.words("unary_f32_f32_1x1__sm62", function, numbers)
            }
            Weightless::ReluI32 => {
                self.words("relu_qs32_qs32_1x1__sm62", functions::RELU_I32, [0.0; 2])
            }
            Weightless::DequantizeI32(scale) => {
                let numbers = [scale, 0.0];
                self.words("dequantize_qs32_f32_1x1__sm62", functions::SCALE_I32, numbers)
            }
            Weightless::ClampU8((low, high)) => {
                let table = core::array::from_fn(|at| index(at).clamp(low, high.max(low)));
                self.levels("clamp_qu8_qu8_1x4__sm62", table)
            }
            Weightless::MapU8(table) => self.levels("map_qu8_qu8_1x4__sm62", *table),
            Weightless::Quantize(quant) => self.quantize(quant),
            Weightless::DequantizeU8(quant) => {
                let [input, out] = self.ends()?;
                let params = Dequantize {
                    input,
                    out,
                    count: count(self.to().shape.len())?,
                    zero_point: quant.zero_point.into(),
                    scale: quant.scale,
                    unused: 0,
                };
                Draft::new("dequantize_qu8_f32_1x4__sm62", DEQUANTIZE, &params, None)
            }
            Weightless::AddF32((low, high)) => {
                let params = PairsF32 { function: PAIR_SUM, low, high, ..self.pair_f32()? };
                Draft::new("add_f32_f32_1x1__sm62", PAIRS_F32, &params, None)
            }
            Weightless::MulF32(rows) => {
                let (sample, row) = (count(rows.sample)?, count(rows.row)?);
                let function = PAIR_PRODUCT;
                let params = PairsF32 { function, sample, row, ..self.pair_f32()? };
                Draft::new("mul_f32_f32_1x1__sm62", PAIRS_F32, &params, None)
            }
            Weightless::PReluF32(slopes) => {
                let row = count(slopes.len())?;
                let (slopes, rhs) = self.numbers(slopes);
                let params = PairsF32 { rhs, row, function: PAIR_SLOPES, ..self.pair_f32()? };
                Draft::new("prelu_f32_f32_1x1__sm62", PAIRS_F32, &params, Some(slopes))
            }
            Weightless::AddU8(requant) => {
                let levels = (requant.min, requant.max);
                let params = PairsQ8 {
                    function: PAIR_SUM,
                    lhs_multiplier: requant.lhs_multiplier,
                    rhs_multiplier: requant.rhs_multiplier,
                    lhs_zero: requant.lhs_zero_point.into(),
                    rhs_zero: requant.rhs_zero_point.into(),
                    stage: of_levels(requant.shift, requant.zero_point, levels),
                    ..self.pair_q8()?
                };
                Draft::new("add_qu8_qu8_1x4__sm62", PAIRS_Q8, &params, None)
            }
            Weightless::MulU8(rows, product) => {
                let params = PairsQ8 {
                    sample: count(rows.sample)?,
                    row: count(rows.row)?,
                    function: PAIR_PRODUCT,
                    lhs_multiplier: product.requant.multipliers.first().copied().unwrap_or(0),
                    lhs_zero: product.lhs_zero_point.into(),
                    rhs_zero: product.rhs_zero_point.into(),
                    stage: levels(&product.requant),
                    ..self.pair_q8()?
                };
                Draft::new("mul_qu8_qu8_1x4__sm62", PAIRS_Q8, &params, None)
            }
            Weightless::PReluU8(requant) => {
                let row = count(requant.negative.len())?;
                let (slopes, rhs) = self.numbers(requant.negative);
                let params = PairsQ8 {
                    rhs,
                    row,
                    function: PAIR_SLOPES,
                    lhs_multiplier: requant.positive,
                    lhs_zero: requant.input_zero_point.into(),
                    stage: of_levels(requant.shift, requant.zero_point, (0, 255)),
                    ..self.pair_q8()?
                };
                Draft::new("prelu_qu8_qu8_1x4__sm62", PAIRS_Q8, &params, Some(slopes))
            }
            _ => unreachable!("operators that are not element by element are made elsewhere"),
        }
    }

    /// A function of each word.
    fn words(
        &self,
        name: &'static str,
        function: u32,
        [a, b]: [f32; 2],
    ) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let params = MapWords { input, out, count: count(self.to().shape.len())?, function, a, b };
        Draft::new(name, MAP_WORDS, &params, None)
    }

    /// A table of levels.
    fn levels(&self, name: &'static str, table: [u8; 256]) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let (table, address) = self.numbers(table.to_vec());
        let count = count(self.to().shape.len())?;
        let params = MapLevels { input, table: address, out, count, unused: 0 };
        Draft::new(name, MAP_LEVELS, &params, Some(table))
    }

    fn quantize(&self, quant: Quant) -> Result<Draft<'l>, RuntimeError> {
        let [input, out] = self.ends()?;
        let (keys, thresholds) = self.numbers(thresholds(quant).to_vec());
        let count = count(self.to().shape.len())?;
        let params =
            Quantize { input, thresholds, out, count, zero_point: quant.zero_point.into() };
        Draft::new("quantize_f32_qu8_1x4__sm62", QUANTIZE, &params, Some(keys))
    }

    /// Constants that are ready, and their address.
    pub(super) fn numbers<T: bytemuck::Pod>(&self, numbers: Vec<T>) -> (Constants<'l>, u64) {
        let mut parts = Parts::default();
        let part = parts.take(size_of_val(&numbers[..]));
        let constants = self.places.constants(
            &parts,
            Box::new(move |bytes| {
                let numbers = bytemuck::cast_slice(&numbers);
                bytes[..numbers.len()].copy_from_slice(numbers);
                Ok(())
            }),
        );
        let address = constants.at(&part);
        (constants, address)
    }

    /// Both inputs, element by element, and the result.
    fn pair_f32(&self) -> Result<PairsF32, RuntimeError> {
        let [lhs, out] = self.ends()?;
        let rhs = self.address_of(*self.node.inputs.get(1).unwrap_or(&self.node.inputs[0]))?;
        let count = count(self.to().shape.len())?;
        Ok(PairsF32 { lhs, rhs, out, count, sample: count, row: count, ..PairsF32::default() })
    }

    fn pair_q8(&self) -> Result<PairsQ8, RuntimeError> {
        let PairsF32 { lhs, rhs, out, count, .. } = self.pair_f32()?;
        Ok(PairsQ8 { lhs, rhs, out, count, sample: count, row: count, ..PairsQ8::default() })
    }
}

/// Number and attributes of a function.
fn function(unary: Unary) -> (u32, [f32; 2]) {
    match unary {
        Unary::Clip { min, max } => (functions::BOUND, [min, max]),
        Unary::Sigmoid => (functions::SIGMOID, [0.0; 2]),
        Unary::HardSigmoid { alpha, beta } => (functions::HARD_SIGMOID, [alpha, beta]),
        Unary::HardSwish => (functions::HARD_SWISH, [0.0; 2]),
        Unary::Silu => (functions::SILU, [0.0; 2]),
        Unary::Tanh => (functions::TANH, [0.0; 2]),
        Unary::LeakyRelu { alpha } => (functions::LEAKY_RELU, [alpha, 0.0]),
        Unary::Elu { alpha } => (functions::ELU, [alpha, 0.0]),
    }
}

fn index(at: usize) -> u8 {
    u8::try_from(at).expect("a table has 256 entries")
}

//! Dense layers of few samples, whose weights stay compressed on the device.

use core::ops::Range;

use embdl_core::model::Layout;
use embdl_core::op::Activation;
use embdl_core::runtime::RuntimeError;
use half::f16;

use super::forms::{ENTRY_STEP, Form, form};
use super::product::elements;
use super::stage::Finish;
use super::{BLOCK, Lowering, width};
use crate::cost::Counts;
use crate::counts::Counted;
use crate::draft::{Constants, Draft, Parts, count};
use crate::kernels::{
    Kernel, ROWS_CODE4_F32, ROWS_CODE4_Q8, ROWS_CODE4_Q8_DP4A, ROWS_CODE8_F32, ROWS_F16, ROWS_F32,
    ROWS_Q8, ROWS_Q8_DP4A, ROWS_SPARSE_F32, ROWS_SPARSE_Q8,
};
use crate::params::{RowsF32, RowsQ8};

/// Samples that read each weight once; from twice as many on a product of matrices is expected to be faster.
const FEW: usize = 4;
/// Entries of a codebook of 8 bits, and of one of 4.
const BOOK8: usize = 256;
const BOOK4: usize = 16;

/// Rows to be filled, and where the parts of their constants are.
#[derive(Clone)]
struct Rows {
    form: Form,
    n: usize,
    k: usize,
    row_bytes: usize,
    weights: Range<usize>,
    columns: Range<usize>,
    bounds: Range<usize>,
    book: Range<usize>,
    bias: Range<usize>,
    multipliers: Range<usize>,
}

impl Rows {
    /// What `counts` of dense rows become: sparse ones multiply entries only.
    fn counts(&self, counts: Counts, samples: usize) -> Counts {
        match self.form {
            Form::Sparse => {
                let entries = (self.columns.len() / 2) as u64;
                Counts { macs: entries.saturating_mul(samples as u64), ..counts }
            }
            _ => counts,
        }
    }
}

impl<'l> Lowering<'_, 'l> {
    pub(super) fn dense(&self) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let weight = self.needed_weight()?;
        let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
        let activation = self.node.op.activation();
        let stage = self.integer_stage(weight, n, activation)?;
        let samples = self.from().shape.dim(0);
        let are_few = samples < 2 * FEW;
        let form = form(weight, stage.is_some(), are_few, self.options.weights);
        if form == Form::Dense && !are_few {
            return self.dense_product(activation);
        }
        Ok(vec![match stage {
            Some((quant, stage)) => {
                let finish = Finish::new(&stage);
                self.rows_q8(form, [n, k, samples], quant.zero_point, finish)?
            }
            None => {
                let is_half = form == Form::Dense && self.choices.half_weights;
                let form = if is_half { Form::Half } else { form };
                self.rows_f32(form, [n, k, samples], activation)?
            }
        }])
    }

    fn rows_f32(
        &self,
        form: Form,
        [n, k, samples]: [usize; 3],
        activation: Activation,
    ) -> Result<Draft<'l>, RuntimeError> {
        let book = match form {
            Form::Dense | Form::Half => 0,
            Form::Code4 => BOOK4 * 4,
            Form::Code8 | Form::Sparse => BOOK8 * 4,
        };
        let bias = if self.node.bias.is_some() { n * 4 } else { 0 };
        let (parts, rows) = self.rows(form, [n, k], false, [book, bias, 0])?;
        let (lowering, filled) = (*self, rows.clone());
        let constants = self
            .places
            .constants(&parts, Box::new(move |bytes| lowering.fill_rows_f32(&filled, bytes)));
        let [input, out] = self.ends()?;
        let (low, high) = activation.bounds();
        let params = RowsF32 {
            input,
            weights: constants.at(&rows.weights),
            columns: constants.at(&rows.columns),
            bounds: constants.at(&rows.bounds),
            book: constants.at(&rows.book),
            bias: constants.at(&rows.bias),
            out,
            samples: count(samples)?,
            n: count(n)?,
            k: count(k)?,
            row_bytes: count(rows.row_bytes)?,
            input_stride: count(k)?,
            out_stride: count(n)?,
            width: width(&[k], &[input], 16),
            low,
            high,
            unused: 0,
        };
        let params = RowsF32 { weights: at_least(&constants, params.weights), ..params };
        let (name, kernel): (_, Kernel<RowsF32>) = match form {
            Form::Dense => ("gemm_f32_f32_4x16c128__sm62", ROWS_F32),
            Form::Half => ("gemm_f32_f16_4x16c256__sm62", ROWS_F16),
            Form::Code8 => ("gemm_f32_cb8w_4x16c128__sm62", ROWS_CODE8_F32),
            Form::Code4 => ("gemm_f32_cb4w_4x16c256__sm62", ROWS_CODE4_F32),
            Form::Sparse => ("gemm_f32_bsrw_4x4c128__sm62", ROWS_SPARSE_F32),
        };
        let counts = rows.counts(params.counts(), samples);
        Draft::counting(name, kernel, &params, Some(constants), counts)
    }

    fn rows_q8(
        &self,
        form: Form,
        [n, k, samples]: [usize; 3],
        zero_point: u8,
        finish: Finish,
    ) -> Result<Draft<'l>, RuntimeError> {
        let book = if form == Form::Code4 { BOOK4 } else { 0 };
        let ends = [book, n * 4, finish.multiplier_bytes(n)];
        let (parts, rows) = self.rows(form, [n, k], true, ends)?;
        let (lowering, filled, stage) = (*self, rows.clone(), finish.stage);
        let constants = self.places.constants(
            &parts,
            Box::new(move |bytes| {
                let sums = lowering.fill_rows_q8(&filled, bytes)?;
                let bias = bytemuck::cast_slice_mut(&mut bytes[filled.bias.clone()]);
                lowering.fill_folded_bias(&sums, zero_point, bias)?;
                finish.fill(bytemuck::cast_slice_mut(&mut bytes[filled.multipliers.clone()]));
                Ok(())
            }),
        );
        let [input, out] = self.ends()?;
        let params = RowsQ8 {
            input,
            weights: at_least(&constants, constants.at(&rows.weights)),
            columns: constants.at(&rows.columns),
            bounds: constants.at(&rows.bounds),
            book: constants.at(&rows.book),
            bias: constants.at(&rows.bias),
            multipliers: constants.at(&rows.multipliers),
            out,
            samples: count(samples)?,
            n: count(n)?,
            k: count(k)?,
            row_bytes: count(rows.row_bytes)?,
            input_stride: count(k)?,
            out_stride: count(n)?,
            width: if k.is_multiple_of(16) { width(&[], &[input], 16) } else { 1 },
            stage,
        };
        let (name, kernel): (_, Kernel<RowsQ8>) = match (form, self.choices.dp4a) {
            (Form::Code4, false) => ("gemm_qu8_cb4w_4x16c512__sm62", ROWS_CODE4_Q8),
            (Form::Code4, true) => ("gemm_qu8_cb4w_4x16c512__dp4a", ROWS_CODE4_Q8_DP4A),
            (Form::Sparse, _) => ("gemm_qu8_bsrw_4x4c128__sm62", ROWS_SPARSE_Q8),
            (_, false) => ("gemm_qu8_qc8w_4x16c512__sm62", ROWS_Q8),
            (_, true) => ("gemm_qu8_qc8w_4x16c512__dp4a", ROWS_Q8_DP4A),
        };
        let counts = rows.counts(params.counts(), samples);
        Draft::counting(name, kernel, &params, Some(constants), counts)
    }

    /// Where the parts of rows go, of which codebook, bias and multipliers take so many bytes.
    fn rows(
        &self,
        form: Form,
        [n, k]: [usize; 2],
        is_quantized: bool,
        [book, bias, multipliers]: [usize; 3],
    ) -> Result<(Parts, Rows), RuntimeError> {
        let row_bytes = form.row_bytes(k, is_quantized);
        let entries = if form == Form::Sparse { self.padded_entries([n, k])? } else { 0 };
        let mut parts = Parts::default();
        let weights = parts.take(elements(&[n, row_bytes])?.max(entries));
        let columns = parts.take(elements(&[entries, 2])?);
        let bounds = parts.take(if form == Form::Sparse { n * 8 } else { 0 });
        let book = parts.take(book);
        let bias = parts.take(bias);
        let multipliers = parts.take(multipliers);
        let rows =
            Rows { form, n, k, row_bytes, weights, columns, bounds, book, bias, multipliers };
        Ok((parts, rows))
    }

    /// Entries of all sparse rows, each filled up.
    fn padded_entries(&self, [n, k]: [usize; 2]) -> Result<usize, RuntimeError> {
        let mut counts = vec![0_usize; n];
        let counted =
            self.needed_weight()?.for_each_entry(|position, _| counts[position as usize / k] += 1);
        counted.map_err(|source| self.undecodable(source))?;
        Ok(counts.iter().map(|count| count.next_multiple_of(ENTRY_STEP)).sum())
    }

    fn fill_rows_f32(&self, rows: &Rows, bytes: &mut [u8]) -> Result<(), RuntimeError> {
        let weight = self.needed_weight()?;
        match rows.form {
            Form::Dense => {
                let stride = rows.row_bytes / 4;
                let slots: &mut [f32] = bytemuck::cast_slice_mut(&mut bytes[rows.weights.clone()]);
                self.each_float(rows.k, |row, at, value| slots[row * stride + at] = value)?;
            }
            Form::Half => {
                let stride = rows.row_bytes / 2;
                let slots: &mut [u16] = bytemuck::cast_slice_mut(&mut bytes[rows.weights.clone()]);
                let mut all_fit = true;
                self.each_float(rows.k, |row, at, value| {
                    let half = f16::from_f32(value);
                    all_fit &= half.is_finite();
                    slots[row * stride + at] = half.to_bits();
                })?;
                self.need_halves(all_fit)?;
            }
            Form::Code8 | Form::Code4 | Form::Sparse => {
                let book = weight.symbols_f32().map_err(|source| self.undecodable(source))?;
                let slots: &mut [f32] = bytemuck::cast_slice_mut(&mut bytes[rows.book.clone()]);
                for (slot, value) in slots.iter_mut().zip(book) {
                    *slot = value;
                }
                if rows.form == Form::Sparse {
                    #[expect(clippy::cast_possible_truncation, reason = "codes of at most 8 bits")]
                    self.fill_sparse(rows, bytes, |symbol| symbol as u8, |_, _| ())?;
                } else {
                    self.fill_codes(rows, 0, &mut bytes[rows.weights.clone()], |_, _| ())?;
                }
            }
        }
        self.fill_bias_f32(bytemuck::cast_slice_mut(&mut bytes[rows.bias.clone()]))
    }

    /// All but bias and multipliers; gives the sum of each row's weights.
    fn fill_rows_q8(&self, rows: &Rows, bytes: &mut [u8]) -> Result<Vec<i32>, RuntimeError> {
        let weight = self.needed_weight()?;
        let mut sums = vec![0_i32; rows.n];
        match rows.form {
            Form::Sparse => {
                let value = |symbol| i8::try_from(weight.integer(symbol).unwrap_or(0)).unwrap_or(0);
                let add = |row: usize, symbol| sums[row] += i32::from(value(symbol));
                self.fill_sparse(rows, bytes, |symbol| value(symbol).cast_unsigned(), add)?;
            }
            Form::Code4 => {
                let book = weight.small_codebook().unwrap_or_default();
                for (slot, value) in bytes[rows.book.clone()].iter_mut().zip(&book) {
                    *slot = value.cast_unsigned();
                }
                let zero = book.iter().position(|&value| value == 0).unwrap_or(0);
                #[expect(clippy::cast_possible_truncation, reason = "one of 16")]
                let zero = zero as u8;
                // Where there is no entry the weight is zero, and adds nothing.
                let add = |row: usize, code: u32| {
                    sums[row] += book.get(code as usize).copied().map_or(0, i32::from);
                };
                self.fill_codes(rows, zero, &mut bytes[rows.weights.clone()], add)?;
            }
            Form::Dense | Form::Half | Form::Code8 => {
                let slots = &mut bytes[rows.weights.clone()];
                self.each_integer(rows.k, |row, at, value| {
                    slots[row * rows.row_bytes + at] = value.cast_unsigned();
                    sums[row] += i32::from(value);
                })?;
            }
        }
        Ok(sums)
    }

    /// Codes of a tensor, `zero` where a sparse one has no entry; calls `each(row, code)` for those that the file has.
    fn fill_codes(
        &self,
        rows: &Rows,
        zero: u8,
        slots: &mut [u8],
        mut each: impl FnMut(usize, u32),
    ) -> Result<(), RuntimeError> {
        let weight = self.needed_weight()?;
        let is_small = rows.form == Form::Code4;
        slots.fill(if is_small { zero << 4 | zero } else { zero });
        let mut put = |position: usize, code: u32| {
            let (row, column) = (position / rows.k, position % rows.k);
            #[expect(clippy::cast_possible_truncation, reason = "codes of at most 8 bits")]
            let byte = code as u8;
            if is_small {
                let slot = &mut slots[row * rows.row_bytes + column / 2];
                let shift = column % 2 * 4;
                *slot = *slot & !(15 << shift) | (byte & 15) << shift;
            } else {
                slots[row * rows.row_bytes + column] = byte;
            }
            each(row, code);
        };
        let filled = if weight.layout == Layout::Dense {
            weight.symbol_blocks(BLOCK, |at, symbols| {
                for (position, &symbol) in (at..).zip(symbols) {
                    put(position, symbol);
                }
            })
        } else {
            weight.for_each_entry(|position, symbol| put(position as usize, symbol))
        };
        filled.map_err(|source| self.undecodable(source))
    }

    /// Columns of entries, what `value` makes of their symbols, and where rows begin and end; calls `each(row, symbol)`.
    fn fill_sparse(
        &self,
        rows: &Rows,
        bytes: &mut [u8],
        value: impl Fn(u32) -> u8,
        mut each: impl FnMut(usize, u32),
    ) -> Result<(), RuntimeError> {
        let (mut columns, mut bounds) =
            (vec![0_u16; rows.columns.len() / 2], vec![[0_u32; 2]; rows.n]);
        let values = &mut bytes[rows.weights.clone()];
        let (mut at, mut next) = (0_usize, 0_usize);
        // Begins rows up to, and with, `row`.
        #[expect(clippy::cast_possible_truncation, reason = "entries are counted in 31 bits")]
        let mut begin = |row: usize, at: &mut usize, bounds: &mut [[u32; 2]]| {
            while next <= row {
                *at = at.next_multiple_of(ENTRY_STEP);
                bounds[next] = [*at as u32; 2];
                next += 1;
            }
        };
        let entries = self.needed_weight()?.for_each_entry(|position, symbol| {
            let (row, column) = (position as usize / rows.k, position as usize % rows.k);
            begin(row, &mut at, &mut bounds);
            #[expect(clippy::cast_possible_truncation, reason = "see MAX_SPARSE_COLUMNS")]
            {
                columns[at] = column as u16;
            }
            values[at] = value(symbol);
            at += 1;
            bounds[row][1] += 1;
            each(row, symbol);
        });
        entries.map_err(|source| self.undecodable(source))?;
        begin(rows.n - 1, &mut at, &mut bounds);
        bytes[rows.columns.clone()].copy_from_slice(bytemuck::cast_slice(&columns));
        bytes[rows.bounds.clone()].copy_from_slice(bytemuck::cast_slice(&bounds));
        Ok(())
    }
}

/// An address that is not 0: rows without an entry are read as none, from anywhere.
const fn at_least(constants: &Constants<'_>, address: u64) -> u64 {
    if address == 0 { constants.address } else { address }
}

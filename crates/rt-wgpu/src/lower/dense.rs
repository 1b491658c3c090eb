//! Dense layers: which form their weights keep, and rows in each form.
//!
//! One sample reads every weight once, so the form of the fewest bytes is taken: codes and sparse rows stay as they are and
//! become numbers in the kernel. Several samples make a product of matrices, which reads weights once for 32 of them.

use core::ops::Range;

use embdl_core::encoding::EncodingError;
use embdl_core::exec::for_each_row;
use embdl_core::model::{EncodedTensor, Layout, Scales, Values};
use embdl_core::runtime::{RuntimeError, WeightForm};

use super::Lowering;
use super::convolution::byte;
use super::half_bits::{fits, half};
use super::stage::{Finish, folded_bias};
use crate::draft::{Constants, Draft};
use crate::kernels::{
    Params, ROWS_CODE4_F32, ROWS_CODE4_Q8, ROWS_CODE8_F32, ROWS_F16, ROWS_F32, ROWS_Q8,
    ROWS_SPARSE_F32, ROWS_SPARSE_Q8, Shader,
};

/// Rows of a workgroup.
const ROWS: usize = 8;
/// Elements that exist unpacked at a time.
const BLOCK: usize = 8192;
/// Columns that an entry of a sparse row can have.
const MAX_SPARSE_COLUMNS: usize = 1 << 24;
/// Samples from which on a product of matrices is expected to be faster than rows, whatever their form.
const PRODUCT_SAMPLES: usize = 4;

/// Form of a layer's weights on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Floats, or bytes.
    Dense,
    /// Floats in 16 bits.
    Half,
    /// An index of 8 bits into a codebook for each weight.
    Code8,
    /// An index of 4 bits.
    Code4,
    /// A word for each entry.
    Sparse {
        /// How many there are.
        entries: usize,
    },
}

/// Where the parts of a layer's constants begin, in words.
#[derive(Clone, Copy)]
struct Places {
    /// Entries of sparse rows; for all others words, or vectors of four, that a row has.
    words: usize,
    bias: usize,
    multipliers: usize,
    book: usize,
    len: usize,
}

impl<'l> Lowering<'_, 'l> {
    pub(super) fn dense(&self) -> Result<Vec<Draft<'l>>, RuntimeError> {
        let weight = self.needed_weight()?;
        let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
        let activation = self.node.op.activation();
        let stage = self.integer_stage(weight, n, activation)?;
        let samples = self.from().shape.dim(0);
        let wanted = self.options.weights;
        let form = form(weight, stage.is_some(), samples, wanted, self.buffer_bytes);
        if form == Form::Dense && samples > 1 {
            return self.dense_product(activation);
        }
        let is_half = form == Form::Dense && stage.is_none() && self.half_weights;
        let form = if is_half { Form::Half } else { form };
        let finish = stage.as_ref().map(|(quant, stage)| (quant.zero_point, Finish::new(stage)));
        let [input, out] = self.ends()?;
        let (shader, name) = kernel(form, finish.is_some());
        let is_levels = finish.as_ref().is_some_and(|(_, finish)| finish.is_levels());
        let mut drafts = Vec::new();
        for part in self.row_parts(form, [n, k], finish.is_some())? {
            let places = places(form, [part.len(), k], finish.is_some());
            let start = if is_levels { part.start / 4 } else { part.start };
            let (low, high) = activation.bounds();
            let params = Params::new()
                .counts([input, out + start, k, part.len(), n])
                .counts([places.words, places.bias, places.book])
                .floats([low, high]);
            let params = match &finish {
                None => params,
                Some((zero_point, finish)) => params
                    .counts([finish.stage, finish.shift, finish.levels])
                    .counts([places.multipliers, usize::from(*zero_point)]),
            };
            let (lowering, finish) = (*self, finish.clone());
            let workgroups = part.len().div_ceil(ROWS);
            let rows = Rows { part, k, form, places };
            drafts.push(Draft {
                name,
                shader: shader.sharing(is_levels && samples > 1 && !n.is_multiple_of(4)),
                params,
                constants: Constants::Later {
                    words: places.len,
                    fill: Box::new(move |words| match &finish {
                        None => lowering.fill_rows_f32(&rows, words),
                        Some(finish) => lowering.fill_rows_q8(&rows, finish, words),
                    }),
                },
                workgroups,
                layers: samples,
            });
        }
        Ok(drafts)
    }

    /// The rows of parts that fit a buffer each.
    fn row_parts(
        &self,
        form: Form,
        [n, k]: [usize; 2],
        quantized: bool,
    ) -> Result<Vec<Range<usize>>, RuntimeError> {
        let allowed = self.buffer_bytes;
        let bytes = |rows| places(form, [rows, k], quantized).len.saturating_mul(4);
        let mut width = n;
        while width > 0 && bytes(width) > allowed {
            width = (width / 2) / 32 * 32;
        }
        if width == 0 {
            return Err(RuntimeError::TooLarge { needed: bytes(n), allowed });
        }
        Ok((0..n).step_by(width).map(|first| first..n.min(first + width)).collect())
    }

    fn fill_rows_f32(&self, rows: &Rows, words: &mut [u32]) -> Result<(), RuntimeError> {
        let weight = self.needed_weight()?;
        let Rows { part, k, form, places } = rows;
        let mut all_fit = true;
        let decoded = match form {
            Form::Dense => weight.dequantize_blocks(BLOCK, |at, values| {
                for_each_row(at, values, *k, |row, first, values| {
                    if part.contains(&row) {
                        let at = (row - part.start) * places.words * 4 + first;
                        for (word, value) in words[at..].iter_mut().zip(values) {
                            *word = value.to_bits();
                        }
                    }
                });
            }),
            Form::Half => weight.dequantize_blocks(BLOCK, |at, values| {
                for_each_row(at, values, *k, |row, first, values| {
                    if part.contains(&row) {
                        let start = (row - part.start) * places.words * 8;
                        for (at, &value) in (start + first..).zip(values) {
                            words[at / 2] |= half(value, at);
                            all_fit &= fits(value);
                        }
                    }
                });
            }),
            Form::Code8 | Form::Code4 => {
                let book = weight.symbols_f32().map_err(|source| self.undecodable(source))?;
                for (word, value) in words[places.book..].iter_mut().zip(&book) {
                    *word = value.to_bits();
                }
                rows.fill_codes(weight, 0, words)
            }
            Form::Sparse { .. } => {
                let book = weight.symbols_f32().map_err(|source| self.undecodable(source))?;
                for (word, value) in words[places.book..].iter_mut().zip(&book) {
                    *word = value.to_bits();
                }
                rows.fill_sparse(weight, words, |symbol| symbol & 255)
            }
        };
        decoded.map_err(|source| self.undecodable(source))?;
        self.need_halves(all_fit)?;
        for (row, bias) in self.bias_f32()?.into_iter().enumerate() {
            if part.contains(&row) {
                words[places.bias + row - part.start] = bias.to_bits();
            }
        }
        Ok(())
    }

    fn fill_rows_q8(
        &self,
        rows: &Rows,
        (zero_point, finish): &(u8, Finish),
        words: &mut [u32],
    ) -> Result<(), RuntimeError> {
        let weight = self.needed_weight()?;
        let Rows { part, k, form, places } = rows;
        let mut sums = vec![0_i32; part.len()];
        let decoded = match form {
            Form::Dense | Form::Code8 | Form::Half => {
                weight.decode_i8_blocks(BLOCK, |at, values| {
                    for_each_row(at, values, *k, |row, first, values| {
                        if part.contains(&row) {
                            let row = row - part.start;
                            for (at, &value) in (first..).zip(values) {
                                words[row * places.words * 4 + at / 4] |=
                                    byte(value) << (at % 4 * 8);
                                sums[row] += i32::from(value);
                            }
                        }
                    });
                })
            }
            Form::Code4 => {
                let book = weight.small_codebook().unwrap_or_default();
                for (word, &value) in words[places.book..].iter_mut().zip(&book) {
                    *word = byte(value);
                }
                // Positions behind a row have a code too, so there must be a zero; see `can_take`.
                let zero = book.iter().position(|&value| value == 0).unwrap_or(0);
                rows.fill_codes(weight, zero, words).inspect(|()| {
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let codes = |at: usize| {
                            let word = words[row * places.words + at / 8];
                            (word >> (at % 8 * 4) & 15) as usize
                        };
                        *sum = (0..*k).map(|at| i32::from(book[codes(at)])).sum();
                    }
                })
            }
            Form::Sparse { .. } => rows.fill_sparse(weight, words, |symbol| {
                let value = weight.integer(symbol).unwrap_or(0);
                value.cast_unsigned() & 255
            }),
        };
        decoded.map_err(|source| self.undecodable(source))?;
        let bias = self.bias_i32()?;
        for (row, sum) in part.clone().zip(sums) {
            let bias = bias.get(row).copied().unwrap_or(0);
            // Sparse rows take the zero point off every level.
            let bias = match form {
                Form::Sparse { .. } => bias,
                _ => folded_bias(bias, *zero_point, sum),
            };
            words[places.bias + row - part.start] = bias.cast_unsigned();
            words[places.multipliers + row - part.start] = finish.multiplier(row);
        }
        Ok(())
    }
}

/// Rows to be filled.
struct Rows {
    part: Range<usize>,
    k: usize,
    form: Form,
    places: Places,
}

impl Rows {
    /// Codes of a tensor, `zero` behind its rows and where a sparse one has no entry.
    fn fill_codes(
        &self,
        weight: &EncodedTensor<'_>,
        zero: usize,
        words: &mut [u32],
    ) -> Result<(), EncodingError> {
        let bits = if self.form == Form::Code4 { 4 } else { 8 };
        let in_word = 32 / bits;
        #[expect(clippy::cast_possible_truncation, reason = "codes have at most 8 bits")]
        let zeros = (0..in_word).fold(0, |word, _| word << bits | zero as u32);
        words[..self.part.len() * self.places.words].fill(zeros);
        let mask = (1_u32 << bits) - 1;
        let mut put = |position: usize, code: u32| {
            let (row, column) = (position / self.k, position % self.k);
            if self.part.contains(&row) {
                let word =
                    &mut words[(row - self.part.start) * self.places.words + column / in_word];
                let shift = column % in_word * bits;
                *word = *word & !(mask << shift) | (code & mask) << shift;
            }
        };
        if matches!(weight.layout, Layout::Sparse { .. }) {
            return weight.for_each_entry(|position, symbol| put(position as usize, symbol));
        }
        weight.symbol_blocks(BLOCK, |at, symbols| {
            for (position, &symbol) in (at..).zip(symbols) {
                put(position, symbol);
            }
        })
    }

    /// Where each row begins, then entries with what `value` makes of their symbols.
    fn fill_sparse(
        &self,
        weight: &EncodedTensor<'_>,
        words: &mut [u32],
        value: impl Fn(u32) -> u32,
    ) -> Result<(), EncodingError> {
        let n = self.part.len();
        let (mut filled, mut rows_begun) = (0_u32, 0);
        let (starts, entries) = words.split_at_mut(self.places.words);
        weight.for_each_entry(|position, symbol| {
            let (row, column) = (position as usize / self.k, position as usize % self.k);
            while rows_begun <= row {
                starts[rows_begun] = filled;
                rows_begun += 1;
            }
            #[expect(clippy::cast_possible_truncation, reason = "see MAX_SPARSE_COLUMNS")]
            {
                entries[filled as usize] = (column as u32) << 8 | value(symbol);
            }
            filled += 1;
        })?;
        starts[rows_begun..=n].fill(filled);
        Ok(())
    }
}

/// The form that a weight is given where `wanted` allows it.
fn form(
    weight: &EncodedTensor<'_>,
    quantized: bool,
    samples: usize,
    wanted: WeightForm,
    buffer_bytes: usize,
) -> Form {
    let is_allowed = match wanted {
        WeightForm::Dense => false,
        WeightForm::Compressed => true,
        WeightForm::Auto => samples < PRODUCT_SAMPLES,
    };
    if !is_allowed {
        return Form::Dense;
    }
    let shape = [weight.shape.dim(0), weight.shape.dim(1)];
    let forms = [Form::Sparse { entries: weight.entry_count() }, Form::Code4, Form::Code8];
    let bytes = |form: &Form| places(*form, shape, quantized).len;
    // Sparse rows are not cut into parts.
    let fits = |form: Form| {
        !matches!(form, Form::Sparse { .. }) || bytes(&form).saturating_mul(4) <= buffer_bytes
    };
    let possible =
        forms.into_iter().filter(|&form| can_take(weight, quantized, form) && fits(form));
    // Where Auto chooses, rows of bytes or floats have to be the larger ones by far: their reads are in order.
    let dense = places(Form::Dense, shape, quantized).len;
    possible
        .min_by_key(bytes)
        .filter(|form| wanted == WeightForm::Compressed || bytes(form) <= dense / 4 * 3)
        .unwrap_or(Form::Dense)
}

/// Whether what the file holds can stay as `form`.
fn can_take(weight: &EncodedTensor<'_>, quantized: bool, form: Form) -> bool {
    let has_one_scale = matches!(weight.values, Values::CodebookF32(_))
        || matches!(weight.scales, Scales::PerTensor(_));
    match form {
        Form::Dense => true,
        Form::Half => !quantized,
        Form::Sparse { .. } => {
            !is_dense(weight)
                && weight.entry_count() <= weight.shape.len()
                && weight.shape.dim(1) <= MAX_SPARSE_COLUMNS
                && !matches!(weight.values, Values::F32 | Values::Int { bits: 9.. })
                && (quantized || has_one_scale)
        }
        Form::Code4 if quantized => weight.small_codebook().is_some_and(|book| book.contains(&0)),
        Form::Code4 => match &weight.values {
            Values::CodebookF32(book) => {
                book.len() <= 16 && (is_dense(weight) || book.first() == Some(&0.0))
            }
            _ => false,
        },
        Form::Code8 => match &weight.values {
            Values::CodebookF32(book) => {
                !quantized && (is_dense(weight) || book.first() == Some(&0.0))
            }
            _ => false,
        },
    }
}

fn is_dense(weight: &EncodedTensor<'_>) -> bool {
    weight.layout == Layout::Dense
}

fn places(form: Form, [n, k]: [usize; 2], quantized: bool) -> Places {
    let (words, weights) = match form {
        Form::Dense | Form::Code8 if quantized => {
            let vectors = k.div_ceil(16);
            (vectors, n.saturating_mul(vectors * 4))
        }
        Form::Dense => (k.div_ceil(4), n.saturating_mul(k.div_ceil(4) * 4)),
        Form::Half => (k.div_ceil(8), n.saturating_mul(k.div_ceil(8) * 4)),
        Form::Code8 => (k.div_ceil(4), n.saturating_mul(k.div_ceil(4))),
        Form::Code4 => (k.div_ceil(8), n.saturating_mul(k.div_ceil(8))),
        Form::Sparse { entries } => (n + 1, entries.saturating_add(n + 1)),
    };
    let bias = weights;
    let multipliers = bias.saturating_add(n);
    let book = multipliers.saturating_add(if quantized { n } else { 0 });
    let entries = match form {
        Form::Dense | Form::Half => 0,
        Form::Code4 => 16,
        Form::Code8 | Form::Sparse { .. } => 256,
    };
    // Some kernels read vectors of four words.
    let len = book.saturating_add(entries).saturating_add(3) & !3;
    Places { words, bias, multipliers, book, len }
}

fn kernel(form: Form, quantized: bool) -> (Shader, &'static str) {
    match (form, quantized) {
        (Form::Dense, false) => (ROWS_F32, "gemm_f32_f32_1x8c32__wgsl"),
        (Form::Half, false) => (ROWS_F16, "gemm_f32_f16_1x8c64__wgsl"),
        (Form::Dense | Form::Code8 | Form::Half, true) => (ROWS_Q8, "gemm_qu8_qc8w_1x8c128__wgsl"),
        (Form::Code8, false) => (ROWS_CODE8_F32, "gemm_f32_cb8w_1x8c32__wgsl"),
        (Form::Code4, false) => (ROWS_CODE4_F32, "gemm_f32_cb4w_1x8c64__wgsl"),
        (Form::Code4, true) => (ROWS_CODE4_Q8, "gemm_qu8_cb4w_1x8c64__wgsl"),
        (Form::Sparse { .. }, false) => (ROWS_SPARSE_F32, "gemm_f32_bsrw_1x8c8__wgsl"),
        (Form::Sparse { .. }, true) => (ROWS_SPARSE_Q8, "gemm_qu8_bsrw_1x8c8__wgsl"),
    }
}

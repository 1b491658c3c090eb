//! Which form the weights of a dense layer keep on the device.
//!
//! Few samples read every weight once, so the form of the fewest bytes is taken: codes and sparse rows stay as they are and
//! become numbers in the kernel. Many samples make a product of matrices, which reads weights once for all of them.

use embdl_core::model::{EncodedTensor, Layout, Scales, Values};
use embdl_core::runtime::WeightForm;

/// Columns of a sparse row that 16 bits tell apart.
const MAX_SPARSE_COLUMNS: usize = 1 << 16;
/// Bytes that a row of weights is filled up to: the widest load.
pub(super) const ROW_STEP: usize = 16;
/// Entries that a sparse row is filled up to.
pub(super) const ENTRY_STEP: usize = 4;

/// Form of a layer's weights on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Floats, or bytes.
    Dense,
    /// Floats in 16 bits.
    Half,
    /// An index of 8 bits into a codebook for each weight.
    Code8,
    /// An index of 4 bits.
    Code4,
    /// A column and a code, or a byte, for each entry.
    Sparse,
}

impl Form {
    /// Bytes of a row of `k` weights, where rows have all the same.
    pub(super) const fn row_bytes(self, k: usize, is_quantized: bool) -> usize {
        let bytes = match self {
            Self::Dense if is_quantized => k,
            Self::Dense => k.saturating_mul(4),
            Self::Half => k.saturating_mul(2),
            Self::Code8 => k,
            Self::Code4 => k.div_ceil(2),
            Self::Sparse => 0,
        };
        match bytes.checked_next_multiple_of(ROW_STEP) {
            Some(bytes) => bytes,
            None => usize::MAX,
        }
    }

    /// Bytes of all weights, entries filled up as if every row had to be.
    fn bytes(self, weight: &EncodedTensor<'_>, is_quantized: bool) -> usize {
        let (n, k) = (weight.shape.dim(0), weight.shape.dim(1));
        match self {
            Self::Sparse => weight
                .entry_count()
                .saturating_add(n.saturating_mul(ENTRY_STEP / 2))
                .saturating_mul(3)
                .saturating_add(n.saturating_mul(8)),
            form => n.saturating_mul(form.row_bytes(k, is_quantized)),
        }
    }
}

/// The form that a weight is given where `wanted` allows it for so many samples.
pub(super) fn form(
    weight: &EncodedTensor<'_>,
    is_quantized: bool,
    are_few: bool,
    wanted: WeightForm,
) -> Form {
    let is_allowed = match wanted {
        WeightForm::Dense => false,
        WeightForm::Compressed => true,
        WeightForm::Auto => are_few,
    };
    if !is_allowed {
        return Form::Dense;
    }
    let bytes = |form: &Form| form.bytes(weight, is_quantized);
    let possible = [Form::Sparse, Form::Code4, Form::Code8]
        .into_iter()
        .filter(|&form| can_take(weight, is_quantized, form));
    // Where Auto chooses, rows of bytes or floats have to be the larger ones by far: their reads are in order.
    let dense = bytes(&Form::Dense);
    possible
        .min_by_key(bytes)
        .filter(|form| wanted == WeightForm::Compressed || bytes(form) <= dense / 4 * 3)
        .unwrap_or(Form::Dense)
}

/// Whether what the file holds can stay as `form`.
fn can_take(weight: &EncodedTensor<'_>, is_quantized: bool, form: Form) -> bool {
    let has_one_scale = matches!(weight.values, Values::CodebookF32(_))
        || matches!(weight.scales, Scales::PerTensor(_));
    let is_dense = weight.layout == Layout::Dense;
    match form {
        Form::Dense => true,
        Form::Half => !is_quantized,
        Form::Sparse => {
            !is_dense
                && weight.entry_count() <= weight.shape.len()
                && weight.shape.dim(1) <= MAX_SPARSE_COLUMNS
                && !matches!(weight.values, Values::F32 | Values::Int { bits: 9.. })
                && (is_quantized || has_one_scale)
        }
        // What has no entry needs a code of zero.
        Form::Code4 if is_quantized => {
            weight.small_codebook().is_some_and(|book| is_dense || book.contains(&0))
        }
        Form::Code4 => match &weight.values {
            Values::CodebookF32(book) => {
                book.len() <= 16 && (is_dense || book.first() == Some(&0.0))
            }
            _ => false,
        },
        Form::Code8 => match &weight.values {
            Values::CodebookF32(book) => !is_quantized && (is_dense || book.first() == Some(&0.0)),
            _ => false,
        },
    }
}

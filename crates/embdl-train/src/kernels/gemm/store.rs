//! What becomes of a tile's rows: assigned, added, or finished with bias and bounds.

use pulp::Simd;

/// Where rows of tiles go.
pub(crate) trait Store {
    /// Takes the first `live` elements of `values` as columns `column ..` of row `row`.
    fn store<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        values: &[S::f32s; NV],
        live: usize,
    );
}

/// Replaces each element of `out` by `change(element, value, index of the vector)`.
#[inline(always)]
fn each_vector<S: Simd, const NV: usize>(
    simd: S,
    out: &mut [f32],
    values: &[S::f32s; NV],
    change: impl Fn(S::f32s, S::f32s, usize) -> S::f32s,
) {
    let (whole, rest) = S::as_mut_simd_f32s(out);
    for (v, &value) in values.iter().enumerate() {
        if let Some(out) = whole.get_mut(v) {
            *out = change(*out, value, v);
        } else if v == whole.len() && !rest.is_empty() {
            let changed = change(simd.partial_load_f32s(rest), value, v);
            simd.partial_store_f32s(rest, changed);
        }
    }
}

/// `out[row * stride + column] = clamp(value + bias[column])`.
#[derive(Debug)]
pub(crate) struct Affine<'a> {
    /// Where row 0 begins.
    pub(crate) out: &'a mut [f32],
    /// Distance of rows.
    pub(crate) stride: usize,
    /// One for each column, then at least [`PADDING`] more elements.
    pub(crate) bias: &'a [f32],
    /// Interval of results.
    pub(crate) bounds: (f32, f32),
}

/// Elements that must follow a bias, so that whole vectors of it can be read.
pub(crate) const PADDING: usize = 24;

impl Store for Affine<'_> {
    #[inline(always)]
    fn store<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        values: &[S::f32s; NV],
        live: usize,
    ) {
        let out = &mut self.out[row * self.stride + column..][..live];
        let bias = &S::as_simd_f32s(&self.bias[column..]).0[..NV];
        let (low, high) = (simd.splat_f32s(self.bounds.0), simd.splat_f32s(self.bounds.1));
        each_vector(simd, out, values, |_, value, v| {
            let sum = simd.add_f32s(value, bias[v]);
            // Comparisons, not minimum and maximum: NaN stays NaN.
            let sum = simd.select_f32s(simd.less_than_f32s(sum, low), low, sum);
            simd.select_f32s(simd.less_than_f32s(high, sum), high, sum)
        });
    }
}

/// `out[row * stride + column] = value`.
#[derive(Debug)]
pub(crate) struct Assign<'a> {
    /// Where row 0 begins.
    pub(crate) out: &'a mut [f32],
    /// Distance of rows.
    pub(crate) stride: usize,
}

impl Store for Assign<'_> {
    #[inline(always)]
    fn store<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        values: &[S::f32s; NV],
        live: usize,
    ) {
        let out = &mut self.out[row * self.stride + column..][..live];
        each_vector(simd, out, values, |_, value, _| value);
    }
}

/// `out[row * stride + column] += value`.
#[derive(Debug)]
pub(crate) struct Accumulate<'a> {
    /// Where row 0 begins.
    pub(crate) out: &'a mut [f32],
    /// Distance of rows.
    pub(crate) stride: usize,
}

impl Store for Accumulate<'_> {
    #[inline(always)]
    fn store<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        values: &[S::f32s; NV],
        live: usize,
    ) {
        let out = &mut self.out[row * self.stride + column..][..live];
        each_vector(simd, out, values, |sum, value, _| simd.add_f32s(sum, value));
    }
}

/// `out[rows[row] + column] += value`: what im2col gathers, this puts back.
#[derive(Debug)]
pub(crate) struct Scatter<'a> {
    /// Where offsets point into.
    pub(crate) out: &'a mut [f32],
    /// Offset of each row.
    pub(crate) rows: &'a [usize],
}

impl Store for Scatter<'_> {
    #[inline(always)]
    fn store<S: Simd, const NV: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        values: &[S::f32s; NV],
        live: usize,
    ) {
        let out = &mut self.out[self.rows[row] + column..][..live];
        each_vector(simd, out, values, |sum, value, _| simd.add_f32s(sum, value));
    }
}

//! Filters as the products need them: their spectra, conjugated because a convolution of networks is a correlation.

use std::sync::Arc;

use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftPlannerScalar};

use super::tile::{complex_positions, edge, position};

/// Transforms filters for tiles of one size, in f64, rounded once.
pub(super) struct Filters {
    size: usize,
    plan: Arc<dyn Fft<f64>>,
    scratch: Vec<Complex64>,
    /// Lines of the filter, transformed.
    lines: Vec<Complex64>,
    /// Columns 0 to half the size of the spectrum.
    columns: Vec<Complex64>,
}

impl Filters {
    /// For tiles of `size` rows and columns and filters of up to as many.
    pub(super) fn new(size: usize) -> Self {
        let plan = FftPlannerScalar::new().plan_fft_forward(size);
        let zero = Complex64::default();
        let scratch = vec![zero; plan.get_inplace_scratch_len()];
        let columns = vec![zero; (size / 2 + 1) * size];
        Self { size, plan, scratch, lines: Vec::new(), columns }
    }

    /// Transforms one filter `[kh, kw, ci]` into rows of `ci`: real and imaginary part of each complex position, then the
    /// real positions. Divides by what the transforms of the tiles multiply by.
    pub(super) fn transform(
        &mut self,
        filter: &[f32],
        [kh, kw]: [usize; 2],
        ci: usize,
        out: &mut [f32],
    ) {
        for c in 0..ci {
            self.spectrum(|y, x| filter[(y * kw + x) * ci + c].into(), [kh, kw]);
            self.put(c, ci, out);
        }
    }

    fn spectrum(&mut self, filter: impl Fn(usize, usize) -> f64, [kh, kw]: [usize; 2]) {
        let size = self.size;
        self.lines.clear();
        self.lines.resize(kh * size, Complex64::default());
        for (y, line) in self.lines.chunks_exact_mut(size).enumerate() {
            for (x, slot) in line[..kw].iter_mut().enumerate() {
                slot.re = filter(y, x);
            }
        }
        self.plan.process_with_scratch(&mut self.lines, &mut self.scratch);
        self.columns.fill(Complex64::default());
        for (x, column) in self.columns.chunks_exact_mut(size).enumerate() {
            for (y, slot) in column[..kh].iter_mut().enumerate() {
                *slot = self.lines[y * size + x];
            }
        }
        self.plan.process_with_scratch(&mut self.columns, &mut self.scratch);
    }

    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    #[expect(clippy::cast_possible_truncation, reason = "the one rounding")]
    fn put(&self, c: usize, ci: usize, out: &mut [f32]) {
        let size = self.size;
        let scale = 1.0 / (size * size) as f64;
        let mut put = |row: usize, value: f64| out[row * ci + c] = (value * scale) as f32;
        let mut columns = self.columns.chunks_exact(size);
        let ends =
            [columns.next(), columns.next_back()].map(|column| column.expect("two at least"));
        for (x, column) in (1..).zip(columns) {
            for (y, value) in column.iter().enumerate() {
                put(2 * position(size, x, y), value.re / 2.0);
                put(2 * position(size, x, y) + 1, value.im / 2.0);
            }
        }
        for (last, column) in ends.iter().enumerate() {
            for (y, value) in column.iter().enumerate().take(size / 2).skip(1) {
                put(2 * edge(size, last, y), value.re / 2.0);
                put(2 * edge(size, last, y) + 1, value.im / 2.0);
            }
            let real = 2 * complex_positions(size) + 2 * last;
            put(real, column[0].re);
            put(real + 1, column[size / 2].re);
        }
    }
}

//! What each kernel computes, reads and writes by its parameters, but for its constants, which are counted where they are made.
//!
//! Bytes are counted once, as if caches kept what several blocks read: the least that can be.

use crate::cost::Counts;
use crate::params::{
    DepthwiseF32, DepthwiseQ8, Dequantize, GemmF32, GemmQ8, LEVELS, Lrn, MapLevels, MapWords,
    PAIR_SLOPES, PairsF32, PairsQ8, Params, PoolF32, PoolQ8, Quantize, RowsF32, RowsQ8, Softmax,
    Stage, SumF32, SumQ8, Window,
};

/// Arithmetic of an exponential, and of a division, in multiply-accumulates: instructions of the kernels' own functions, which
/// have no library to call.
const FUNCTION: u64 = 16;
/// Multiply-accumulates to requantize an accumulator.
const REQUANTIZE: u64 = 8;

/// Parameters that say all that their kernel does.
pub(crate) trait Counted: Params {
    /// What a launch does, but for reading constants.
    fn counts(&self) -> Counts;
}

/// A product of extents, which saturates.
pub(crate) fn product(extents: &[u32]) -> u64 {
    extents.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent.into()))
}

/// Elements of `depth` channels of the input that windows at `positions` touch.
fn touched(window: &Window, positions: u64, depth: u64) -> u64 {
    let samples = positions / product(&[window.oh, window.ow]).max(1);
    let all = samples * product(&[window.ih, window.iw]);
    let taps = positions * product(&[window.kh, window.kw]);
    all.min(taps) * depth
}

/// Bytes of a result of an integer layer.
const fn result(stage: &Stage) -> u64 {
    if stage.kind == LEVELS { 1 } else { 4 }
}

/// Elements of `size` bytes that only go elsewhere, `each` operations for every one.
pub(crate) const fn moved(count: u32, size: usize, each: u64) -> Counts {
    self::each(count, each, size as u64, size as u64)
}

/// A kernel that reads `read` bytes, writes `written` bytes, and does `each` for each of `count` elements.
const fn each(count: u32, each: u64, read: u64, written: u64) -> Counts {
    let count = count as u64;
    Counts { macs: count * each, bytes: count * (read + written) }
}

impl Counted for GemmF32 {
    fn counts(&self) -> Counts {
        let positions = u64::from(self.rows);
        let input = touched(&self.window, positions, product(&[self.depth, self.groups]));
        let results = product(&[self.rows, self.n, self.groups]);
        let residual = if self.residual == 0 { 0 } else { results };
        Counts {
            macs: results * u64::from(self.k),
            bytes: 4 * (input + residual + results * u64::from(self.slices)),
        }
    }
}

impl Counted for GemmQ8 {
    fn counts(&self) -> Counts {
        let positions = u64::from(self.rows);
        let input = touched(&self.window, positions, product(&[self.depth, self.groups]));
        let results = product(&[self.rows, self.n, self.groups]);
        let taps = product(&[self.window.kh, self.window.kw, self.depth]);
        // Slices write accumulators, whatever the stage is.
        let each = if self.slices > 1 { 4 } else { result(&self.stage) };
        Counts { macs: results * taps, bytes: input + results * u64::from(self.slices) * each }
    }
}

impl Counted for SumF32 {
    fn counts(&self) -> Counts {
        let results = product(&[self.rows, self.n]);
        let residual = u64::from(self.residual != 0);
        let slices = u64::from(self.slices);
        Counts { macs: results * slices, bytes: 4 * results * (slices + 1 + residual) }
    }
}

impl Counted for SumQ8 {
    fn counts(&self) -> Counts {
        let results = product(&[self.rows, self.n]);
        let slices = u64::from(self.slices);
        Counts {
            macs: results * (slices + REQUANTIZE),
            bytes: results * (4 * slices + result(&self.stage)),
        }
    }
}

impl Counted for DepthwiseF32 {
    fn counts(&self) -> Counts {
        windows(&self.window, self.count, [4, 4])
    }
}

impl Counted for DepthwiseQ8 {
    fn counts(&self) -> Counts {
        let counts = windows(&self.window, self.count, [1, result(&self.stage)]);
        Counts { macs: counts.macs + u64::from(self.count) * REQUANTIZE, ..counts }
    }
}

impl Counted for PoolF32 {
    fn counts(&self) -> Counts {
        windows(&self.window, self.count, [4, 4])
    }
}

impl Counted for PoolQ8 {
    fn counts(&self) -> Counts {
        windows(&self.window, self.count, [1, 1])
    }
}

/// A window over each channel by itself, of elements of so many bytes on either side.
fn windows(window: &Window, count: u32, [read, written]: [u64; 2]) -> Counts {
    let count = u64::from(count);
    let positions = count / u64::from(window.ci).max(1);
    Counts {
        macs: count * product(&[window.kh, window.kw]),
        bytes: read * touched(window, positions, window.ci.into()) + written * count,
    }
}

impl Counted for RowsF32 {
    fn counts(&self) -> Counts {
        Counts {
            macs: product(&[self.samples, self.n, self.k]),
            bytes: 4 * (product(&[self.samples, self.k]) + product(&[self.samples, self.n])),
        }
    }
}

impl Counted for RowsQ8 {
    fn counts(&self) -> Counts {
        let results = product(&[self.samples, self.n]);
        Counts {
            macs: results * (u64::from(self.k) + REQUANTIZE),
            bytes: product(&[self.samples, self.k]) + results * result(&self.stage),
        }
    }
}

impl Counted for Lrn {
    fn counts(&self) -> Counts {
        let window = u64::from(self.before) + u64::from(self.after) + 1;
        each(self.count, window + 2 * FUNCTION, 4, 4)
    }
}

impl Counted for Softmax {
    fn counts(&self) -> Counts {
        let count = product(&[self.rows, self.features]);
        Counts { macs: count * (2 * FUNCTION), bytes: 8 * count }
    }
}

impl Counted for MapWords {
    fn counts(&self) -> Counts {
        each(self.count, FUNCTION, 4, 4)
    }
}

impl Counted for MapLevels {
    fn counts(&self) -> Counts {
        each(self.count, 1, 1, 1)
    }
}

impl Counted for PairsF32 {
    fn counts(&self) -> Counts {
        let rhs = second(self.function, [self.count, self.sample, self.row]);
        Counts { macs: self.count.into(), bytes: 4 * (2 * u64::from(self.count) + rhs) }
    }
}

impl Counted for PairsQ8 {
    fn counts(&self) -> Counts {
        let rhs = second(self.function, [self.count, self.sample, self.row]);
        let count = u64::from(self.count);
        Counts { macs: count * REQUANTIZE, bytes: 2 * count + rhs }
    }
}

/// Elements of the second value of a pair; slopes are constants.
fn second(function: u32, [count, sample, row]: [u32; 3]) -> u64 {
    if function == PAIR_SLOPES { 0 } else { u64::from(count / sample.max(1)) * u64::from(row) }
}

impl Counted for Quantize {
    fn counts(&self) -> Counts {
        // A search among 256.
        each(self.count, 8, 4, 1)
    }
}

impl Counted for Dequantize {
    fn counts(&self) -> Counts {
        each(self.count, 1, 1, 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3x3 window over 8x8 pixels of 4 channels, padded to give as many.
    const WINDOW: Window = Window {
        oh: 8,
        ow: 8,
        ih: 8,
        iw: 8,
        ci: 4,
        kh: 3,
        kw: 3,
        stride_y: 1,
        stride_x: 1,
        dilation_y: 1,
        dilation_x: 1,
        pad_y: 1,
        pad_x: 1,
        pad_bottom: 1,
        pad_right: 1,
    };

    #[test]
    fn products_read_the_input_once_and_write_every_slice() {
        let whole = GemmF32 {
            window: WINDOW,
            rows: 128,
            n: 10,
            k: 36,
            depth: 4,
            groups: 1,
            slices: 1,
            ..GemmF32::default()
        };
        let input = 2 * 8 * 8 * 4;
        let counts = Counts { macs: 128 * 10 * 36, bytes: 4 * (input + 128 * 10) };
        assert_eq!(whole.counts(), counts);
        let sliced = GemmF32 { slices: 3, residual: 256, ..whole };
        assert_eq!(sliced.counts().bytes, 4 * (input + 128 * 10 * 4));
        // A window of one pixel that skips three of four touches a quarter of them.
        let window = Window { oh: 4, ow: 4, kh: 1, kw: 1, stride_y: 2, stride_x: 2, ..WINDOW };
        let skipping = GemmF32 { window, rows: 16, n: 1, k: 4, ..whole };
        assert_eq!(skipping.counts(), Counts { macs: 64, bytes: 4 * (64 + 16) });
    }

    #[test]
    fn levels_are_bytes_and_accumulators_words() {
        let levels = GemmQ8 {
            window: WINDOW,
            rows: 64,
            n: 10,
            k: 9,
            depth: 4,
            groups: 1,
            slices: 1,
            ..GemmQ8::default()
        };
        // By four products at a time, k counts words; products are the same.
        assert_eq!(levels.counts(), Counts { macs: 64 * 10 * 36, bytes: 256 + 640 });
        let stage = Stage { kind: crate::params::ACCUMULATORS, ..Stage::default() };
        assert_eq!(GemmQ8 { stage, ..levels }.counts().bytes, 256 + 4 * 640);
        assert_eq!(GemmQ8 { slices: 2, ..levels }.counts().bytes, 256 + 8 * 640);
        let rows = RowsQ8 { samples: 2, n: 10, k: 100, ..RowsQ8::default() };
        assert_eq!(rows.counts(), Counts { macs: 20 * (100 + REQUANTIZE), bytes: 200 + 20 });
    }

    #[test]
    fn slopes_are_not_read_as_a_second_value() {
        let sum = PairsF32 { count: 12, sample: 12, row: 12, ..PairsF32::default() };
        assert_eq!(sum.counts().bytes, 4 * 36);
        let factors = PairsF32 { sample: 6, row: 2, ..sum };
        assert_eq!(factors.counts().bytes, 4 * (24 + 4));
        let slopes = PairsF32 { function: PAIR_SLOPES, ..factors };
        assert_eq!(slopes.counts().bytes, 4 * 24);
    }

    #[test]
    fn pools_and_depthwise_filters_count_taps() {
        let pool = PoolF32 { window: WINDOW, count: 256, ..PoolF32::default() };
        assert_eq!(pool.counts(), Counts { macs: 256 * 9, bytes: 8 * 256 });
        let filters = DepthwiseQ8 { window: WINDOW, count: 256, ..DepthwiseQ8::default() };
        assert_eq!(filters.counts(), Counts { macs: 256 * (9 + REQUANTIZE), bytes: 2 * 256 });
    }
}

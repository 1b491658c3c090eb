//! What a way to compute a layer is expected to take: which of several is chosen. Only ever compared with each other.

use crate::driver::Facts;

/// Multiply-accumulates of a multiprocessor a clock, on every chip that the kernels are for.
const MACS_PER_CLOCK: f64 = 128.0;
/// From the end of a kernel to the start of the next one, in seconds, in a graph.
const LAUNCH: f64 = 3e-6;
/// Where the driver tells neither clock nor bandwidth: those of a Jetson TX2.
const CLOCK_KHZ: f64 = 1_300_500.0;
const BYTES_PER_SECOND: f64 = 59.7e9;

/// A chip's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    pub(crate) processors: usize,
    macs_per_second: f64,
    bytes_per_second: f64,
}

/// One launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    /// Multiply-accumulates.
    pub(crate) macs: usize,
    /// Bytes read from memory and written to it.
    pub(crate) bytes: usize,
    /// Blocks of threads.
    pub(crate) blocks: usize,
}

impl Speed {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn of(facts: &Facts) -> Self {
        let clock = if facts.clock_khz > 0 { facts.clock_khz as f64 } else { CLOCK_KHZ };
        let known = facts.bytes_per_second;
        Self {
            processors: facts.processors,
            macs_per_second: facts.processors as f64 * MACS_PER_CLOCK * clock * 1e3,
            bytes_per_second: if known > 0.0 { known } else { BYTES_PER_SECOND },
        }
    }

    /// Seconds of launches that follow each other.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn seconds(&self, works: &[Work]) -> f64 {
        let seconds = |work: &Work| {
            // Multiprocessors without a block have nothing to do.
            let share = (work.blocks as f64 / self.processors as f64).clamp(1e-3, 1.0);
            let computing = work.macs as f64 / (self.macs_per_second * share);
            let moving = work.bytes as f64 / self.bytes_per_second;
            LAUNCH + computing.max(moving)
        };
        works.iter().map(seconds).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tx2() -> Speed {
        Speed::of(&Facts {
            capability: (6, 2),
            processors: 2,
            is_integrated: true,
            memory_bytes: 8 << 30,
            clock_khz: 0,
            bytes_per_second: 0.0,
            driver: 10_020,
        })
    }

    #[test]
    fn what_limits_a_launch_is_its_products_or_its_bytes() {
        // 256 products a clock of 1.3005 GHz; 59.7 GB a second.
        let seconds = |macs, bytes, blocks| tx2().seconds(&[Work { macs, bytes, blocks }]);
        let computing = seconds(332_928_000, 1000, 8);
        assert!((computing - 1.003e-3).abs() < 1e-6, "{computing}");
        let moving = seconds(1000, 59_700_000, 8);
        assert!((moving - 1.003e-3).abs() < 1e-6, "{moving}");
        assert!(seconds(332_928_000, 1000, 1) > 1.9 * computing);
    }
}

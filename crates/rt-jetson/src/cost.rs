//! What launches are expected to take: which of several ways to compute a layer is chosen, and what a whole run would take on
//! a chip that is not there. A model of three rates, no measurement.

use crate::driver::Facts;

/// The chip that stands in where a driver tells neither clock nor bandwidth, and that runs are forecast for: 256 lanes that add
/// up one product a clock, at the clock of the mode MAXN, and 128 bits of LPDDR4.
///
/// Source: NVIDIA, Jetson TX2 data sheet and Jetson Linux developer guide.
pub(crate) const JETSON_TX2: Facts = Facts {
    capability: (6, 2),
    processors: 2,
    is_integrated: true,
    memory_bytes: 8 << 30,
    clock_khz: 1_300_500,
    bytes_per_second: 59.7e9,
    driver: 10_020,
};

/// Multiply-accumulates of a multiprocessor a clock, on every chip that the kernels are for.
const MACS_PER_CLOCK: f64 = 128.0;
/// From the end of a kernel to the start of the next one, in seconds, in a graph. An assumption: nothing here was measured.
const LAUNCH: f64 = 3e-6;

/// A chip's speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    pub(crate) processors: usize,
    macs_per_second: f64,
    bytes_per_second: f64,
}

/// What the threads of a launch do, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Multiply-accumulates, and other arithmetic as if it were that.
    pub(crate) macs: u64,
    /// Bytes read from memory and written to it, each once.
    pub(crate) bytes: u64,
}

/// One launch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) counts: Counts,
    /// Multiply-accumulates of one instruction.
    pub(crate) lanes: u64,
    /// Blocks of threads.
    pub(crate) blocks: u64,
}

/// Seconds of a launch, by what takes them. The longer of computing and moving counts; they overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seconds {
    pub(crate) starting: f64,
    pub(crate) computing: f64,
    pub(crate) moving: f64,
}

impl Seconds {
    pub(crate) const fn total(&self) -> f64 {
        self.starting + self.computing.max(self.moving)
    }
}

impl Speed {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn of(facts: &Facts) -> Self {
        let clock = if facts.clock_khz > 0 { facts.clock_khz } else { JETSON_TX2.clock_khz };
        let known = facts.bytes_per_second;
        Self {
            processors: facts.processors,
            macs_per_second: facts.processors as f64 * MACS_PER_CLOCK * clock as f64 * 1e3,
            bytes_per_second: if known > 0.0 { known } else { JETSON_TX2.bytes_per_second },
        }
    }

    /// Seconds of one launch.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn of_launch(&self, work: &Work) -> Seconds {
        // Multiprocessors without a block have nothing to do.
        let share = (work.blocks as f64 / self.processors as f64).clamp(1e-3, 1.0);
        let instructions = work.counts.macs as f64 / work.lanes as f64;
        Seconds {
            starting: LAUNCH,
            computing: instructions / (self.macs_per_second * share),
            moving: work.counts.bytes as f64 / self.bytes_per_second,
        }
    }

    /// Seconds of launches that follow each other.
    pub(crate) fn seconds(&self, works: &[Work]) -> f64 {
        works.iter().map(|work| self.of_launch(work).total()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_a_launch_is_its_products_or_its_bytes() {
        // Where the driver says nothing, 256 products a clock of 1.3005 GHz; 59.7 GB a second.
        let silent = Speed::of(&Facts { clock_khz: 0, bytes_per_second: 0.0, ..JETSON_TX2 });
        assert_eq!(silent, Speed::of(&JETSON_TX2));
        let seconds = |macs, bytes, blocks, lanes| {
            silent.seconds(&[Work { counts: Counts { macs, bytes }, lanes, blocks }])
        };
        let computing = seconds(332_928_000, 1000, 8, 1);
        assert!((computing - 1.003e-3).abs() < 1e-6, "{computing}");
        let moving = seconds(1000, 59_700_000, 8, 1);
        assert!((moving - 1.003e-3).abs() < 1e-6, "{moving}");
        assert!(seconds(332_928_000, 1000, 1, 1) > 1.9 * computing);
        let halves = seconds(332_928_000, 1000, 8, 2);
        assert!((halves - 0.503e-3).abs() < 1e-6, "{halves}");
    }
}

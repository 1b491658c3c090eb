//! What a run would take on a Jetson TX2 that is not there: a model of the chip's rates over what the launches of the runtime's
//! own plan count. No measurement, and nothing was fitted to one.

use embdl_core::model::Model;
use embdl_core::runtime::{LoadOptions, RuntimeError};

use crate::cost::{Counts, JETSON_TX2, Seconds, Speed, Work};
use crate::layout::Layout;
use crate::lower::{Choices, Lowering};

/// What one run counts, and what it would take at least: every launch at the full rate of the lanes or of the memory, whichever
/// is longer, after the gap that follows the launch before it. The host's part is left out: starting a run, waiting for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Kernels, and copies of results.
    pub launches: usize,
    /// Multiply-accumulates that blocks make, what they make beyond the edge of a result included.
    pub macs: u64,
    /// Bytes read from memory and written to it, each once a launch.
    pub bytes: u64,
    /// Bytes that the session would hold: weights, activations, scratch, inputs and results.
    pub memory_bytes: usize,
    /// Seconds between launches.
    pub starting_seconds: f64,
    /// Seconds of launches that compute longer than they move bytes.
    pub computing_seconds: f64,
    /// Seconds of the other launches.
    pub moving_seconds: f64,
}

impl Forecast {
    /// Seconds of a run.
    #[must_use]
    pub const fn seconds(&self) -> f64 {
        self.starting_seconds + self.computing_seconds + self.moving_seconds
    }

    fn add(&mut self, speed: &Speed, work: &Work) {
        self.launches += 1;
        self.macs = self.macs.saturating_add(work.counts.macs);
        self.bytes = self.bytes.saturating_add(work.counts.bytes);
        let Seconds { starting, computing, moving } = speed.of_launch(work);
        self.starting_seconds += starting;
        if computing > moving {
            self.computing_seconds += computing;
        } else {
            self.moving_seconds += moving;
        }
    }
}

/// What a run of the model would take on a Jetson TX2, with `half_weights` as in
/// [`JetsonOptions::half_weights`](crate::JetsonOptions::half_weights). Needs no device and no driver.
///
/// # Errors
/// If a Jetson TX2 could not load the model, but for weights that do not decode or that 16 bits do not hold: they are not
/// looked at.
pub fn jetson_tx2(
    model: &Model<'_>,
    options: &LoadOptions,
    half_weights: bool,
) -> Result<Forecast, RuntimeError> {
    let allowed = options.max_memory_bytes.min(JETSON_TX2.memory_bytes);
    let speed = Speed::of(&JETSON_TX2);
    let choices = Choices { dp4a: false, half_weights, speed };
    let layout = Layout::new(model, options, JETSON_TX2.is_integrated)?;
    let places = layout.nowhere();
    let mut forecast = Forecast::default();
    for resolver in layout.nodes(model) {
        let drafts = Lowering { resolver, options, choices: &choices, places: &places }.drafts()?;
        drafts.iter().for_each(|draft| forecast.add(&speed, &draft.work));
    }
    for &value in &model.outputs {
        // Read on the device and written to memory that the host sees.
        let bytes = 2 * layout.types[value].len_bytes() as u64;
        let copy = Work { counts: Counts { macs: 0, bytes }, lanes: 1, blocks: 1 };
        forecast.add(&speed, &copy);
    }
    let [weights, scratch] = places.counted();
    let parts = [weights, scratch, layout.arena_bytes, layout.pinned_bytes];
    forecast.memory_bytes = parts.iter().fold(0, |sum: usize, &part| sum.saturating_add(part));
    if forecast.memory_bytes > allowed {
        return Err(RuntimeError::TooLarge { needed: forecast.memory_bytes, allowed });
    }
    Ok(forecast)
}

//! How long stages would take, and what the chip would draw and how warm it would get: a model, fitted to published figures.
//!
//! Each stage takes the longer of computing and moving bytes, and a fixed time to start. The rates are fitted to the
//! figures that the book's table shows beside what comes out; nothing here is a measurement.

use crate::blob::{Blob, Params, SHAVES, Stage, StageKind, TensorRef};

/// Rates of the chip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// Multiply-accumulates of a core in a second: 3x3 convolutions.
    pub conv_3x3: f64,
    /// Other convolutions that are no single tap.
    pub conv_other: f64,
    /// Convolutions of a single tap, and fully connected layers.
    pub conv_1x1: f64,
    /// Depthwise convolutions.
    pub depthwise: f64,
    /// Elements of other stages.
    pub elements: f64,
    /// Bytes that the memory moves in a second, for all cores together.
    pub memory_bytes: f64,
    /// Bytes that USB moves in a second.
    pub usb_bytes: f64,
    /// Seconds that a layer or pool takes to start.
    pub start: f64,
    /// Seconds that a bias or activation takes to start: NCSDK, whose figures these are, has them in the layer before.
    pub start_after: f64,
    /// Seconds that an inference takes on the host and on the control cores.
    pub host: f64,
    /// Watts without any core.
    pub idle_watts: f64,
    /// Watts of a core that computes.
    pub core_watts: f64,
    /// Watts of the memory when it moves all that it can.
    pub memory_watts: f64,
    /// Degrees Celsius around the stick.
    pub ambient: f64,
    /// Degrees of the die for each watt, once it does not get warmer any more.
    pub degrees_a_watt: f64,
    /// Seconds in which the die gets to 63 % of that.
    pub warm_up: f64,
    /// Degrees from which on short sleeps, and from which on long sleeps, throttle the chip.
    pub limits: [f64; 2],
    /// Seconds of these sleeps, after every inference.
    pub sleeps: [f64; 2],
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            conv_3x3: 3.4e9,
            conv_other: 2.0e9,
            conv_1x1: 3.4e9,
            depthwise: 0.45e9,
            elements: 0.5e9,
            memory_bytes: 1.7e9,
            usb_bytes: 30e6,
            start: 600e-6,
            start_after: 50e-6,
            host: 2e-3,
            idle_watts: 0.62,
            core_watts: 0.2,
            memory_watts: 0.3,
            ambient: 25.0,
            degrees_a_watt: 16.0,
            warm_up: 120.0,
            limits: [85.0, 95.0],
            sleeps: [0.1, 10.0],
        }
    }
}

/// What one stage, or an inference, costs by the model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Multiply-accumulates.
    pub macs: f64,
    /// Bytes read and written.
    pub bytes: f64,
    /// Seconds.
    pub seconds: f64,
    /// Joules.
    pub joules: f64,
}

impl Cost {
    /// Watts on average.
    #[must_use]
    pub fn watts(&self) -> f64 {
        if self.seconds > 0.0 { self.joules / self.seconds } else { 0.0 }
    }
}

/// The cost of each stage of a blob, whose tensors the reader has checked.
#[must_use]
pub fn costs(blob: &Blob<'_>, model: &CostModel) -> Vec<Cost> {
    blob.stages.iter().map(|stage| stage_cost(stage, model)).collect()
}

/// The cost of an inference with the way to the stick and back, one after the other: frames a second are its inverse.
#[must_use]
pub fn total(blob: &Blob<'_>, model: &CostModel) -> Cost {
    let mut total = Cost::default();
    for cost in costs(blob, model) {
        total.macs += cost.macs;
        total.bytes += cost.bytes;
        total.seconds += cost.seconds;
        total.joules += cost.joules;
    }
    let moved = f64::from(blob.inputs_bytes) + f64::from(blob.outputs_bytes);
    let seconds = model.host + moved / model.usb_bytes;
    total.seconds += seconds;
    total.joules += seconds * model.idle_watts;
    total
}

fn stage_cost(stage: &Stage, model: &CostModel) -> Cost {
    let len = |tensor: Option<&TensorRef>| {
        #[expect(clippy::cast_precision_loss, reason = "element counts of a chip's memory")]
        tensor.and_then(|tensor| tensor.desc.len()).map_or(0.0, |len| len as f64)
    };
    let [input, output, weights] = [0, 1, 2].map(|at| len(stage.buffers.get(at)));
    let channels = stage.buffers.first().map_or(1.0, |tensor| f64::from(tensor.desc.dim(3)));
    let (macs, rate) = match (&stage.params, stage.kind) {
        (Params::Conv(slide, _), kind) => {
            let taps = f64::from(slide.kernel[0]) * f64::from(slide.kernel[1]);
            if kind == StageKind::DEPTH_CONV {
                (output * taps, model.depthwise)
            } else {
                let rate = match slide.kernel {
                    [1, 1] => model.conv_1x1,
                    [3, 3] => model.conv_3x3,
                    _ => model.conv_other,
                };
                (output * taps * channels, rate)
            }
        }
        (_, StageKind::FC) => (weights, model.conv_1x1),
        (Params::Pool(slide, _), _) => {
            let taps = f64::from(slide.kernel[0]) * f64::from(slide.kernel[1]);
            (output * taps, model.elements)
        }
        _ => (output, model.elements),
    };
    let cores = f64::from(stage.shaves.clamp(1, SHAVES));
    let bytes = 2.0 * (input + output + weights);
    let computing = macs / (rate * cores);
    let moving = bytes / model.memory_bytes;
    let is_after = matches!(
        stage.kind,
        StageKind::BIAS | StageKind::BIAS_RELU | StageKind::RELU | StageKind::CLAMP
    );
    let start = if is_after { model.start_after } else { model.start };
    let seconds = start + computing.max(moving);
    let busy = model.core_watts * cores * (computing / seconds).min(1.0);
    let memory = model.memory_watts * (moving / seconds).min(1.0);
    let is_layer = matches!(stage.params, Params::Conv(..)) || stage.kind == StageKind::FC;
    Cost {
        macs: if is_layer { macs } else { 0.0 },
        bytes,
        seconds,
        joules: seconds * (model.idle_watts + busy + memory),
    }
}

/// What comes of inferences one after the other for so many seconds: frames a second in the end, the die's temperature, and how much
/// it is throttled, both highest of the last tenth.
#[must_use]
pub fn steady(cost: &Cost, model: &CostModel, seconds: f64) -> (f64, f64, u8) {
    let mut thermal = Thermal::new(model);
    let (mut passed, mut frames, mut celsius, mut level) = (0.0, 0.0, 0.0_f64, 0);
    // Near its limit the chip goes to and fro: a while of it is looked at.
    let last = 0.9 * seconds;
    while passed < seconds {
        let throttling = thermal.throttling(model);
        let spent = thermal.infer(model, cost);
        if passed >= last {
            frames += 1.0;
            celsius = celsius.max(thermal.celsius());
            level = level.max(throttling);
        }
        // A cost of nothing would never end.
        passed += spent.max(1e-4);
    }
    (frames / (passed - last).max(1e-9), celsius, level)
}

/// The temperature of a die in modelled time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thermal {
    celsius: f64,
}

impl Thermal {
    /// As warm as what is around it.
    #[must_use]
    pub const fn new(model: &CostModel) -> Self {
        Self { celsius: model.ambient }
    }

    /// Degrees Celsius.
    #[must_use]
    pub const fn celsius(&self) -> f64 {
        self.celsius
    }

    /// 0 none, 1 short sleeps, 2 long sleeps.
    #[must_use]
    pub fn throttling(&self, model: &CostModel) -> u8 {
        u8::from(self.celsius >= model.limits[0]) + u8::from(self.celsius >= model.limits[1])
    }

    /// So many seconds at so many watts later.
    pub fn pass(&mut self, model: &CostModel, seconds: f64, watts: f64) {
        let goal = model.ambient + model.degrees_a_watt * watts;
        self.celsius = goal + (self.celsius - goal) * (-seconds / model.warm_up).exp();
    }

    /// An inference, and the sleep that throttling adds; gives its seconds.
    pub fn infer(&mut self, model: &CostModel, cost: &Cost) -> f64 {
        let sleep = match self.throttling(model) {
            0 => 0.0,
            level => model.sleeps[usize::from(level) - 1],
        };
        self.pass(model, cost.seconds, cost.watts());
        self.pass(model, sleep, model.idle_watts);
        cost.seconds + sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_warm_place_costs_is_seen_in_the_end() {
        let cost = Cost { seconds: 0.1, joules: 0.17, ..Cost::default() };
        let at = |ambient| steady(&cost, &CostModel { ambient, ..CostModel::default() }, 1500.0);
        let (fps, celsius, level) = at(25.0);
        assert!(
            (fps - 10.0).abs() < 0.1 && (celsius - 52.2).abs() < 0.1 && level == 0,
            "{fps} {celsius}"
        );
        let (warm, celsius, level) = at(70.0);
        assert!(warm < 8.0 && celsius >= 85.0 && level >= 1, "{warm} {celsius} {level}");
        let (hot, _, level) = at(100.0);
        assert!(hot < 0.2 && level == 2, "{hot} {level}");
    }

    #[test]
    fn a_warm_place_throttles_and_a_cool_one_does_not() {
        let cost = Cost { seconds: 0.1, joules: 0.17, ..Cost::default() };
        for (ambient, level) in [(25.0, 0), (60.0, 1), (95.0, 2)] {
            let model = CostModel { ambient, ..CostModel::default() };
            let mut thermal = Thermal::new(&model);
            for _ in 0..20_000 {
                thermal.infer(&model, &cost);
            }
            // Near its limit the chip goes to and fro.
            let last: Vec<(u8, f64)> = (0..100)
                .map(|_| (thermal.throttling(&model), thermal.infer(&model, &cost)))
                .collect();
            let highest = last.iter().map(|(level, _)| *level).max();
            assert_eq!(highest, Some(level), "{ambient}: {}", thermal.celsius());
            for (level, seconds) in last {
                let sleep = [0.0, 0.1, 10.0][usize::from(level)];
                assert!((seconds - cost.seconds - sleep).abs() < 1e-9, "{level}: {seconds}");
            }
        }
    }
}

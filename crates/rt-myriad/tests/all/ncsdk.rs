//! Graphs of NCSDK 2 on its dialect: a file made by hand, read, shown, and run on the emulated stick as its firmware would.

use std::sync::Arc;

use crate::support::deadlines;
use core::time::Duration;
use embdl_testkit::Random;
use rt_myriad::blob::{NcsdkGraph, Place, StageKind};
use rt_myriad::emulator::{EmulatorConfig, Stick};
use rt_myriad::protocol::Dialect;
use rt_myriad::transport::EmulatedBus;
use rt_myriad::{Choice, Firmware, Myriad, MyriadError, half};

/// Columns and rows of the input, its channels, channels of the convolution, outputs.
const SIDE: usize = 6;
const INPUTS: usize = 3;
const CHANNELS: usize = 8;
const OUTPUTS: usize = 5;

/// The values of a graph: a convolution of 3x3 taps with pads that keep the extent and a ReLU, a fully connected layer, a sigmoid.
struct Net {
    conv: Vec<f32>,
    conv_bias: Vec<f32>,
    dense: Vec<f32>,
    dense_bias: Vec<f32>,
}

fn rounded(values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|x| half::to_f32(half::from_f32(x))).collect()
}

impl Net {
    fn new() -> Self {
        let mut random = Random::new(11);
        let mut values = |count, scale: f32| {
            rounded(random.floats(count).into_iter().map(|x| x * scale).collect())
        };
        Self {
            conv: values(9 * INPUTS * CHANNELS, 0.4),
            conv_bias: values(CHANNELS, 0.2),
            dense: values(SIDE * SIDE * CHANNELS * OUTPUTS, 0.1),
            dense_bias: values(OUTPUTS, 0.5),
        }
    }

    /// What it computes, in 64-bit floats.
    fn run(&self, input: &[f32]) -> Vec<f64> {
        let mut map = Vec::new();
        for y in 0..SIDE {
            for x in 0..SIDE {
                for k in 0..CHANNELS {
                    let mut sum = f64::from(self.conv_bias[k]);
                    for (tap, c) in (0..9).flat_map(|tap| (0..INPUTS).map(move |c| (tap, c))) {
                        let (v, u) = (y + tap / 3, x + tap % 3);
                        if (1..=SIDE).contains(&v) && (1..=SIDE).contains(&u) {
                            let pixel = input[((v - 1) * SIDE + u - 1) * INPUTS + c];
                            let weight = self.conv[(tap * INPUTS + c) * CHANNELS + k];
                            sum += f64::from(pixel) * f64::from(weight);
                        }
                    }
                    map.push(sum.max(0.0));
                }
            }
        }
        let score = |k: usize| {
            let products = map.iter().enumerate();
            let sum: f64 = products.map(|(i, x)| x * f64::from(self.dense[i * OUTPUTS + k])).sum();
            1.0 / (1.0 + (-sum - f64::from(self.dense_bias[k])).exp())
        };
        (0..OUTPUTS).map(score).collect()
    }

    /// The file, as the published ones are laid out.
    fn file(&self) -> Vec<u8> {
        let mut constants: Vec<u8> = Vec::new();
        let mut places = Vec::new();
        for values in [&self.conv, &self.conv_bias, &self.dense, &self.dense_bias] {
            constants.resize(constants.len().next_multiple_of(64), 0);
            places.push(small(constants.len()));
            constants.extend(values.iter().flat_map(|&x| half::from_f32(x).to_le_bytes()));
        }
        constants.resize(constants.len().next_multiple_of(64), 0);
        let map_bytes = 2 * SIDE * SIDE * CHANNELS;
        let work = [0, 0, map_bytes + 320, map_bytes + 320].map(small);

        let map = |side: usize, channels: usize, place: [u32; 2]| {
            let [side, channels] = [side, channels].map(small);
            [side, side, channels, 2 * channels, 2 * channels * side, 2, place[0], place[1], 0, 0]
        };
        let weights = |dims: [usize; 3], place: u32| {
            let [t, c, k] = dims.map(small);
            [t, c, k, 2 * c * k, 2 * k, 2, place, 3, 0, 3]
        };
        let bias = |place: u32| [0, 0, 0, 0, 0, 0, place, 3, 0, 1];
        let flat = SIDE * SIDE * CHANNELS;
        let stages: [(u32, Vec<u32>); 3] = [
            (
                0,
                [
                    &[3, 3, 1, 1, 0, 0, 3, 1][..],
                    &map(SIDE, INPUTS, [0, 1]),
                    &map(SIDE, CHANNELS, [0, 4]),
                    &weights([9, INPUTS, CHANNELS], 0),
                    &bias(1),
                    &[5, 6, 0, 0, 0],
                ]
                .concat(),
            ),
            (
                4,
                [
                    &map(1, flat, [1, 4])[..],
                    &map(1, OUTPUTS, [2, 5]),
                    &weights([1, flat, OUTPUTS], 2),
                    &bias(3),
                    &[5, 9],
                ]
                .concat(),
            ),
            (20, [&map(1, OUTPUTS, [3, 5])[..], &map(1, OUTPUTS, [0, 2]), &[5, 5]].concat()),
        ];
        let mut section: Vec<u32> = vec![3, 0, small(OUTPUTS)];
        for (index, (kind, words)) in stages.iter().enumerate() {
            let end = 4 * (section.len() + 3 + words.len());
            let next = if index + 1 == stages.len() { 0 } else { small(end) };
            section.extend([next, *kind, 0x8000_0000]);
            section.extend(words);
        }
        section[1] = small(4 * section.len());
        let constants_at = (0x50 + 4 * section.len()).next_multiple_of(16);
        let relocations_at = constants_at + 16 + constants.len();
        let tables_at = relocations_at + 20;
        let len = tables_at + 8 * (places.len() + work.len());

        let mut file = vec![0; 0x22];
        [file[2], file[4], file[6], file[0x16], file[0x17]] = [1, 2, 1, 0x10, 1];
        let head = [8708, small(len), 2, 3, 12, 0x50, small(constants_at), small(relocations_at)];
        push(&mut file, &head);
        push(&mut file, &[small(SIDE * SIDE * INPUTS), 0]);
        file.resize(0x50, 0);
        push(&mut file, &section);
        file.resize(constants_at, 0);
        push(&mut file, &[small(16 + constants.len()), 42, 42, 42]);
        file.extend(constants);
        let [first, second] = [8 * places.len(), 8 * work.len()];
        push(&mut file, &[small(len - tables_at + 20), small(tables_at), small(first)]);
        push(&mut file, &[small(tables_at + first), small(second)]);
        for place in places {
            push(&mut file, &[place, 3]);
        }
        for (place, memory) in work.into_iter().zip([4, 4, 5, 5]) {
            push(&mut file, &[place, memory]);
        }
        file
    }
}

fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

fn push(file: &mut Vec<u8>, words: &[u32]) {
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// A host with firmware of a line, and a stick that speaks one.
fn myriad(host: Dialect, stick: Dialect) -> Myriad {
    let config = EmulatorConfig { dialect: stick, ..EmulatorConfig::default() };
    let bus = EmulatedBus::new(vec![Stick::new(config)]);
    let firmware = Firmware::of_bytes(b"firmware".to_vec(), host);
    let wait = Duration::from_millis(if host == stick { 5000 } else { 200 });
    Myriad::on(Arc::new(bus), firmware, &Choice::Any, deadlines(wait)).unwrap()
}

#[test]
fn a_graph_of_mvnccompile_is_read_and_shown() {
    let file = Net::new().file();
    assert!(NcsdkGraph::is(&file));
    let graph = NcsdkGraph::read(&file).unwrap();
    assert_eq!((graph.shaves, graph.input_elements, graph.output_elements), (12, 108, 5));
    let kinds: Vec<StageKind> = graph.stages.iter().map(|stage| stage.kind).collect();
    assert_eq!(kinds, [StageKind::CONV, StageKind::FC, StageKind::SIGMOID]);
    assert_eq!(graph.stages[1].tensors[3].place, Place::Constants(3392));
    let text = graph.to_string();
    for line in [
        "graph 2.3 of NCSDK: 3 stages, 3456 bytes of constants, 960 bytes of intermediate tensors, 12 shaves",
        "conv 3x3 stride 1x1 pad 0,0, then relu | input 6x6x3 | work+0 6x6x8 | const+0 9x3x8 | const+448",
        "fc, then bias | work+0 1x1x288 | work+896 1x1x5 | const+512 1x288x5 | const+3392",
        "sigmoid | work+896 1x1x5 | output 1x1x5",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn the_emulated_firmware_of_ncsdk_runs_it() {
    let net = Net::new();
    let myriad = myriad(Dialect::Ncsdk2, Dialect::Ncsdk2);
    let device = myriad.device(0).unwrap();
    assert_eq!(device.capabilities().option_classes, [1, 1]);
    assert_eq!(device.thermal().unwrap().throttling, 0);
    let file = Arc::new(net.file());
    for _ in 0..3 {
        let graph = device.allocate_ncsdk(&file).unwrap();
        assert!(device.used_memory().unwrap() as usize >= file.len());
        for seed in 0..3 {
            let input = rounded(Random::new(seed).floats(SIDE * SIDE * INPUTS));
            let bytes = input.iter().flat_map(|&x| half::from_f32(x).to_le_bytes()).collect();
            graph.submit(bytes).unwrap();
            let result = graph.result().unwrap();
            let (halves, _) = result.as_chunks::<2>();
            let got: Vec<f32> =
                halves.iter().map(|&half| half::to_f32(u16::from_le_bytes(half))).collect();
            for (got, want) in got.iter().zip(net.run(&input)) {
                // Three roundings of values below 4, and a slope of the sigmoid of at most a quarter.
                assert!((f64::from(*got) - want).abs() < 2e-3, "{got} instead of {want}");
            }
        }
        // Stages are counted as the firmware runs them: biases by themselves.
        let times = graph.stage_times().unwrap();
        assert_eq!(times.len(), graph.stages() as usize);
        assert!(times.iter().all(|&time| time > 0.0));
        assert_eq!(graph.debug().unwrap(), "");
        assert!(!graph.is_running().unwrap());
    }
    assert_eq!(device.used_memory().unwrap(), 0);
}

#[test]
fn graphs_of_the_other_line_and_broken_ones_are_refused() {
    let device = myriad(Dialect::OpenVino2020, Dialect::OpenVino2020).device(0).unwrap();
    let file = Net::new().file();
    let error = device.allocate_ncsdk(&Arc::new(file.clone())).unwrap_err();
    assert!(matches!(error, MyriadError::GraphOfOtherLine { firmware: "OpenVINO", .. }), "{error}");
    // What the host lets through and the firmware does not: a kind whose attributes nobody knows.
    let device = myriad(Dialect::Ncsdk2, Dialect::Ncsdk2).device(0).unwrap();
    let mut unknown = file.clone();
    unknown[0x50 + 16] = 22;
    let error = device.allocate_ncsdk(&Arc::new(unknown)).unwrap_err();
    assert!(matches!(error, MyriadError::Status { status: 1, .. }), "{error}");
    device.allocate_ncsdk(&Arc::new(file.clone())).unwrap();
    for len in 0..file.len() {
        assert!(NcsdkGraph::read(&file[..len]).is_err());
    }
    for at in 0x22..0x50 + 4 * 200 {
        let mut flipped = file.clone();
        flipped[at] ^= 0x81;
        if let Ok(graph) = NcsdkGraph::read(&flipped) {
            let _ = graph.to_string();
            let _ = graph.lower();
        }
    }
}

#[test]
fn a_host_of_one_dialect_does_not_take_the_other_for_it() {
    for (host, stick) in
        [(Dialect::Ncsdk2, Dialect::OpenVino2020), (Dialect::OpenVino2020, Dialect::Ncsdk2)]
    {
        let error = myriad(host, stick).device(0).map(|_| ()).unwrap_err();
        assert!(matches!(error, MyriadError::Link(_)), "{error}");
    }
}

//! VGG-16 in int8, 138 million weights: what loading and running it takes is pinned in bytes.

mod support;

use embdl_core::format::{self, Limits};
use embdl_core::metadata::Metadata;
use embdl_core::model::{
    Coder, EncodedTensor, Layout, Model, Node, Scales, Stream, Value, ValueId, Values,
};
use embdl_core::op::{Activation, Conv2d, Dense, Op, Pool, PoolKind, Window};
use embdl_core::quant::Quant;
use embdl_core::runtime::{LoadOptions, MemoryUse, Runtime, WeightForm};
use embdl_core::tensor::{Shape, TensorMut, TensorRef, ValueType};
use embdl_testkit::{CountingAllocator, Random, peak_bytes};
use embdl_tests::net::{Elements, Net, Store, integers};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Resident memory that VGG-16 may take at 224, its file included.
const ALLOWED_BYTES: u64 = 300 << 20;
/// What reading the file may take: nodes, shapes, scales, no weights.
const READ_BYTES: u64 = 128 << 10;
/// What loading may take beside the session: tables, a block of unpacked weights, the lists of a plan.
const TEMPORARY_BYTES: u64 = 256 << 10;

/// Channels of the convolutions; 0 is pooling. Source: Simonyan and Zisserman 2014, table 1, column D.
const VGG16: [usize; 18] =
    [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0];

/// A network on levels, whose weights are slices of one buffer of bytes.
struct Builder<'a> {
    model: Model<'a>,
    bytes: &'a [u8],
    at: ValueId,
}

impl<'a> Builder<'a> {
    fn value(&mut self, shape: Shape) -> ValueId {
        let kind = ValueType::u8(shape, Quant { scale: 0.05, zero_point: 3 });
        self.model.values.push(Value { name: String::new(), kind });
        self.model.values.len() - 1
    }

    fn tensor(&mut self, shape: Shape, scales: Scales, bits: u8) -> Option<usize> {
        let len = shape.len() * usize::from(bits) / 8;
        let symbols = Stream { coder: Coder::Raw { bits }, bytes: &self.bytes[..len] };
        let (values, layout) = (Values::Int { bits }, Layout::Dense);
        self.model.tensors.push(EncodedTensor {
            shape,
            scales,
            values,
            layout,
            symbols,
            gaps: None,
        });
        Some(self.model.tensors.len() - 1)
    }

    fn node(&mut self, op: Op, weight: Option<Shape>) {
        let shape = self.model.values[self.at].kind.shape;
        let output = op.infer(&[shape], weight).expect("it fits");
        let mut node = Node {
            name: format!("{}{}", op.name(), self.model.nodes.len()),
            op,
            inputs: vec![self.at],
            output: self.value(output),
            weight: None,
            bias: None,
        };
        if let Some(weight) = weight {
            let scales = Scales::PerChannel(vec![0.001; weight.dim(0)]);
            node.weight = self.tensor(weight, scales, 8);
            node.bias = self.tensor(Shape::vector(weight.dim(0)), Scales::None, 16);
        }
        self.at = node.output;
        self.model.nodes.push(node);
    }
}

fn vgg16(bytes: &[u8]) -> Model<'_> {
    let model = Model {
        name: "vgg-16".into(),
        values: Vec::new(),
        nodes: Vec::new(),
        tensors: Vec::new(),
        inputs: vec![0],
        outputs: Vec::new(),
        metadata: Metadata::default(),
    };
    let mut net = Builder { model, bytes, at: 0 };
    net.value(Shape::nhwc(1, 224, 224, 3));
    let activation = Activation::Relu;
    for channels in VGG16 {
        if channels == 0 {
            let window = Window::square(2, 2);
            net.node(Op::Pool(Pool { kind: PoolKind::Max, window, ceil: false }), None);
            continue;
        }
        let depth = net.model.values[net.at].kind.shape.dim(3);
        let window = Window::square(3, 1).padded(1);
        let conv = Op::Conv2d(Conv2d { window, groups: 1, activation });
        net.node(conv, Some(Shape::nhwc(channels, 3, 3, depth)));
    }
    net.node(Op::Flatten, None);
    for features in [4096, 4096, 1000] {
        let inputs = net.model.values[net.at].kind.shape.dim(1);
        net.node(Op::Dense(Dense { activation }), Some(Shape::matrix(features, inputs)));
    }
    net.model.outputs.push(net.at);
    net.model
}

/// Loads the model, and checks what that takes.
fn check(runtime: &dyn Runtime, model: &Model<'_>, file_bytes: u64) {
    // Ways of convolutions that would take more are left.
    let allowed = usize::try_from(ALLOWED_BYTES - file_bytes - TEMPORARY_BYTES).expect("64 bits");
    let options = LoadOptions { max_memory_bytes: allowed, ..LoadOptions::default() };
    let (session, peak) = peak_bytes(|| runtime.load(model, &options));
    let mut session = session.expect("VGG-16 loads");
    let MemoryUse { weight_bytes, arena_bytes, arena_lower_bound_bytes, scratch_bytes } =
        session.memory();
    let name = runtime.name();
    let held = (weight_bytes + arena_bytes + scratch_bytes) as u64;
    assert!(peak >= held, "{name}: {peak} bytes are less than the session says it holds, {held}");
    assert!(peak <= held + TEMPORARY_BYTES, "{name}: {peak} bytes for a session of {held}");
    let total = peak + file_bytes;
    assert!(total <= ALLOWED_BYTES, "{name}: {total} bytes with the file");
    // The largest activations are those of the first two convolutions.
    assert_eq!(arena_lower_bound_bytes, 2 * 224 * 224 * 64, "{name}");
    assert!(arena_bytes * 10 <= arena_lower_bound_bytes * 11, "{name}: {arena_bytes}");
    // The weights, padded to panels, and 8 bytes for each channel; Winograd's weights take eight times as much, which
    // some convolutions choose.
    let transformed = if name == "reference" { 0 } else { 24 << 20 };
    assert!(weight_bytes < 138_344_128 + (1 << 20) + transformed, "{name}: {weight_bytes}");
    // Scalar code would take a minute.
    if name == "atom" {
        let image = vec![7; 224 * 224 * 3];
        let mut scores = vec![0; 1000];
        let (result, peak) =
            peak_bytes(|| session.run(&[TensorRef::U8(&image)], &mut [TensorMut::U8(&mut scores)]));
        result.expect("VGG-16 runs");
        assert_eq!(peak, 0, "{name}: a run allocates");
        assert!(scores.iter().any(|&score| score != scores[0]), "{name}: all scores are alike");
    }
}

#[test]
fn vgg16_loads_and_runs_in_300_mib() {
    // A pattern in which neighbouring rows differ.
    let bytes: Vec<u8> = (0..4096 * 25_088_u32)
        .map(|at| u8::try_from((at.wrapping_mul(2_654_435_761) >> 24) & 255).expect("a byte"))
        .collect();
    let file = format::write(&vgg16(&bytes)).expect("VGG-16 can be written");
    drop(bytes);
    let (model, peak) = peak_bytes(|| format::read(&file, &Limits::default()));
    let model = model.expect("what was written can be read");
    assert!(peak < READ_BYTES, "reading {} bytes takes {peak}", file.len());
    let weights: usize = model
        .nodes
        .iter()
        .filter_map(|node| node.weight)
        .map(|id| model.tensors[id].shape.len())
        .sum();
    assert_eq!(weights, 138_344_128, "the weights of VGG-16");
    // The one with vector code where there is one: they differ in nothing that loading takes but the panels.
    let runtime = support::runtimes().pop().expect("there is always the reference");
    check(&*runtime, &model, file.len() as u64);
}

/// Sparse rows are filled while the weight decodes.
#[test]
fn compressed_rows_exist_once() {
    let mut random = Random::new(16);
    let (shape, input) = (Shape::matrix(512, 2048), Shape::matrix(1, 2048));
    let kind = Elements::U8(Quant { scale: 0.05, zero_point: 3 });
    let values: Vec<i8> = random
        .weights(shape.len(), 127)
        .into_iter()
        .map(|w| if random.integer(0, 9) == 0 { w } else { 0 })
        .collect();
    let mut net = Net::new();
    let from = net.input(input, kind);
    let weight = integers(shape, Scales::PerTensor(0.01), &values, Store::Sparse);
    let op = Op::Dense(Dense { activation: Activation::None });
    let output = net.layer(op, from, weight, None, kind);
    net.output(output);
    let model = net.model();
    let options = LoadOptions { weights: WeightForm::Compressed, ..LoadOptions::default() };
    for runtime in support::runtimes() {
        let (session, peak) = peak_bytes(|| runtime.load(&model, &options));
        let memory = session.expect("it loads").memory();
        let held = (memory.weight_bytes + memory.arena_bytes) as u64;
        assert!(held < 512 * 2048 / 2, "{}: {memory:?} is not sparse", runtime.name());
        // The slice that is being filled, and room at the end of the last piece.
        assert!(peak <= held + (96 << 10), "{}: {peak} bytes for {memory:?}", runtime.name());
    }
}

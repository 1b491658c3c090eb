//! Compressed networks as files hold them, against the same in dense 8-bit weights: time to load and to run, with and without
//! Huffman codes. Convolutions have 6 bits, dense layers a tenth of their weights as indices of 15 values.
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use embdl_core::encoding::encode::{Book, EncodeOptions, WeightData, smallest};
use embdl_core::model::{Scales, Values};
use embdl_core::op::Op;
use embdl_core::runtime::{LoadOptions, Runtime, WeightForm};
use embdl_core::tensor::Shape;

use crate::bench::best;
use crate::networks::{Network, alexnet, lenet_5, lenet_300_100};

/// Prints a line a network, level and kind of weights.
pub(crate) fn run(levels: &[&str], only: &str) {
    let runtime = rt_atom::runtime().expect("an x86 CPU");
    for (name, input, ops) in [
        ("lenet-300-100", &[1, 784][..], lenet_300_100()),
        ("lenet-5", &[1, 28, 28, 1][..], lenet_5()),
        ("alexnet", &[1, 227, 227, 3][..], alexnet()),
    ] {
        let input = Shape::new(input).expect("a shape");
        for kind in ["dense", "raw", "huffman"] {
            let mut network = Network::new(127, 100);
            for (op, weight) in &ops {
                network.push(op, weight, input);
                if kind != "dense" && !weight.is_empty() {
                    compress(&mut network, op, kind == "huffman");
                }
            }
            let model = network.model();
            let weights = model.tensors.iter().map(|tensor| tensor.shape.len()).sum::<usize>();
            let bytes = model.tensors.iter().map(|tensor| {
                tensor.symbols.bytes.len() + tensor.gaps.map_or(0, |gaps| gaps.bytes.len())
            });
            let bytes = bytes.sum::<usize>() as f64;
            for isa in levels.iter().filter(|isa| only.is_empty() || **isa == only) {
                let isa = Some((*isa).to_owned());
                let options = LoadOptions { isa: isa.clone(), ..LoadOptions::default() };
                let load = best(&mut || drop(runtime.load(&model, &options)));
                let load = load.as_nanos() as f64;
                print!(
                    "{name:14} {kind:8} {:11} file {:8.3} MB, load {:9.3} ms, {:7.1} MB/s, {:7.1} Mweights/s",
                    isa.as_deref().unwrap_or_default(),
                    bytes / 1e6,
                    load / 1e6,
                    bytes * 1e3 / load,
                    weights as f64 * 1e3 / load,
                );
                let held = runtime.load(&model, &options).expect("it loads").memory().weight_bytes;
                network.time(
                    &runtime,
                    isa.as_deref().unwrap_or_default(),
                    WeightForm::Auto,
                    &mut |_, run| {
                        let took = best(run).as_nanos() as f64;
                        println!(
                            ", holds {:7.3} MB, runs {:9.2} us",
                            held as f64 / 1e6,
                            took / 1e3
                        );
                    },
                );
            }
        }
    }
}

/// Gives the layer that was added last the weights of a compressed one.
fn compress(network: &mut Network, op: &Op, allow_huffman: bool) {
    let at = network.tensors.len() - 2;
    let shape = network.tensors[at].view().shape;
    let options = EncodeOptions { allow_sparse: true, allow_huffman };
    let random = &mut network.random;
    // Small ones are frequent, as trained ones are.
    let mut level = |limit: i32| (0..3).map(|_| random.integer(-limit, limit)).sum::<i32>() / 3;
    let weight = if matches!(op, Op::Conv2d(_)) {
        let values: Vec<i32> = (0..shape.len()).map(|_| level(31)).collect();
        smallest(shape, Scales::PerTensor(0.002), WeightData::Int(&values), options)
    } else {
        let book: [i8; 16] = [0, -60, -50, -40, -30, -20, -10, -5, 3, 7, 12, 20, 30, 40, 50, 60];
        let mut codes = vec![0; shape.len()];
        for code in &mut codes {
            if random.integer(0, 9) == 0 {
                let far = (0..3).map(|_| random.integer(1, 15)).sum::<i32>() / 3;
                *code = u8::try_from(far).expect("below 16");
            }
        }
        let data = WeightData::Codebook { codes: &codes, book: Book::I8(&book) };
        smallest(shape, Scales::PerTensor(0.002), data, options)
    };
    let weight = weight.expect("values that fit");
    assert!(!matches!(weight.view().values, Values::F32), "integers stay integers");
    network.tensors[at] = weight;
}

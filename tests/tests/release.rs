//! A file's bytes are given back while a model is loaded: all of them, a large layer's piece by piece.

use core::ops::Range;
use std::sync::{Arc, Mutex};

use embdl_core::kernels::Reference;
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::runtime::{LoadOptions, Release, Runtime};
use embdl_core::tensor::Shape;
use embdl_testkit::Random;
use embdl_tests::net::{Elements, Net, floats};

/// The addresses that were given back.
#[derive(Debug, Default)]
struct Given(Mutex<Vec<Range<usize>>>);

impl Release for Given {
    fn release(&self, encoded: &[u8]) {
        let Range { start, end } = encoded.as_ptr_range();
        self.0.lock().unwrap().push(start.addr()..end.addr());
    }
}

#[test]
fn all_bytes_of_a_large_layer_are_given_back_in_pieces() {
    const SIZE: usize = 1024;
    let mut net = Net::new();
    let mut random = Random::new(5);
    let input = net.input(Shape::matrix(1, SIZE), Elements::F32);
    let weight = floats(Shape::matrix(SIZE, SIZE), &random.floats(SIZE * SIZE));
    let bias = floats(Shape::vector(SIZE), &random.floats(SIZE));
    let out = net.layer(
        Op::Dense(Dense { activation: Activation::None }),
        input,
        weight,
        Some(bias),
        Elements::F32,
    );
    net.output(out);
    let model = net.model();

    let given = Arc::new(Given::default());
    let release = Some(Arc::clone(&given) as Arc<dyn Release>);
    let options = LoadOptions { release, ..LoadOptions::default() };
    Reference::runtime().load(&model, &options).unwrap();

    let node = &model.nodes[0];
    for id in [node.weight.unwrap(), node.bias.unwrap()] {
        let bytes = model.tensors[id].symbols.bytes.as_ptr_range();
        let (start, end) = (bytes.start.addr(), bytes.end.addr());
        let given = given.0.lock().unwrap();
        let of: Vec<_> =
            given.iter().filter(|part| part.start >= start && part.end <= end).collect();
        let mut reached = start;
        for part in of.iter().filter(|part| part.len() < end - start) {
            assert!(part.start <= reached, "bytes {reached} to {} are left out", part.start);
            assert!(part.len() < 2 << 20, "{} bytes at once", part.len());
            reached = part.end;
        }
        assert!(id == node.bias.unwrap() || reached > end - (1 << 20), "{of:?}");
        assert_eq!(of.last().map(|part| part.len()), Some(end - start), "the whole at the end");
    }
}

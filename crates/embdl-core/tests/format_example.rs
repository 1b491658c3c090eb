//! The file that docs/src/format.md explains byte by byte is the one that is written.

use core::fmt::Write;

use embdl_core::encoding::encode::{Book, EncodeOptions, WeightData, bias_i32, smallest};
use embdl_core::format::{Limits, read, verify, write};
use embdl_core::metadata::Metadata;
use embdl_core::model::{Model, Node, Scales, Value};
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::quant::Quant;
use embdl_core::tensor::{Shape, ValueType};

/// One dense layer of 3 times 16 weights, mostly zero, from levels to levels.
fn example() -> Vec<u8> {
    let mut codes = [0_u8; 48];
    for (position, code) in [(2, 1), (3, 2), (9, 1), (20, 3), (22, 1), (40, 2)] {
        codes[position] = code;
    }
    let data = WeightData::Codebook { codes: &codes, book: Book::I8(&[0, -64, 32, 127]) };
    let options = EncodeOptions::default();
    let weight = smallest(Shape::matrix(3, 16), Scales::PerTensor(0.0078125), data, options);
    let (weight, bias) = (weight.unwrap(), bias_i32(&[5, -3, 0], options).unwrap());
    let input = Quant { scale: 0.5, zero_point: 0 };
    let output = Quant { scale: 0.25, zero_point: 0 };
    let value = |kind| Value { name: String::new(), kind };
    let model = Model {
        name: "tiny".into(),
        values: vec![
            value(ValueType::u8(Shape::matrix(1, 16), input)),
            value(ValueType::u8(Shape::matrix(1, 3), output)),
        ],
        nodes: vec![Node {
            name: "fc".into(),
            op: Op::Dense(Dense { activation: Activation::Relu }),
            inputs: vec![0],
            output: 1,
            weight: Some(0),
            bias: Some(1),
        }],
        tensors: vec![weight.view(), bias.view()],
        inputs: vec![0],
        outputs: vec![1],
        metadata: Metadata::default(),
    };
    write(&model).unwrap()
}

#[test]
fn the_documented_dump_is_what_is_written() {
    let bytes = example();
    verify(&read(&bytes, &Limits::tiny()).unwrap()).unwrap();
    let mut documented = Vec::new();
    let page = include_str!("../../../docs/src/format.md");
    let table = page.split("<!-- dump -->").nth(1).expect("the page marks the dump");
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let offset = line.split('`').nth(1).expect("a row is offset, bytes, meaning");
        assert_eq!(offset.parse(), Ok(documented.len()), "{line}");
        let field = line.split('`').nth(3).expect("a row is offset, bytes, meaning");
        for byte in field.split_whitespace() {
            documented.push(u8::from_str_radix(byte, 16).expect("two hexadecimal digits"));
        }
    }
    let mut dump = String::new();
    for byte in &bytes {
        write!(dump, "{byte:02x} ").unwrap();
    }
    assert_eq!(documented, bytes, "the file is {dump}");
}

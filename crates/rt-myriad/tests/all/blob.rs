//! Blobs: golden bytes, what the compiler makes, and hostile files.

use core::fmt::Write;
use std::borrow::Cow;

use crate::support::Small;
use embdl_core::metadata::Metadata;
use embdl_core::model::{Coder, EncodedTensor, Layout, Model, Node, Scales, Stream, Value, Values};
use embdl_core::op::{Activation, Dense, Op};
use embdl_core::tensor::{Shape, ValueType};
use proptest::prelude::*;
use rt_myriad::blob::{
    self, Blob, BlobError, Desc, Description, ElementType, Io, Location, Order, Params, Stage,
    StageKind, TensorRef,
};
use rt_myriad::compile::{CompileError, CompileOptions, compile, compile_to_bytes};
use rt_myriad::emulator::{Arithmetic, Program};
use sha2::{Digest, Sha256};

/// One relu from input to output, as it is written down beside the format.
fn relu() -> Blob<'static> {
    let desc = Desc::compact(ElementType::F16, Order::NHWC, &[8, 2, 2, 1]).unwrap();
    let io = |name: &str| Io { name: name.into(), offset: 0, desc: desc.clone() };
    let tensor = |location| TensorRef { desc: desc.clone(), location, offset: 0 };
    Blob {
        inputs: vec![io("input")],
        outputs: vec![io("output")],
        inputs_bytes: 64,
        outputs_bytes: 64,
        batch: 1,
        bss_bytes: 0,
        cmx_slices: 12,
        shaves: 12,
        stages: vec![Stage {
            kind: StageKind::RELU,
            shaves: 12,
            params: Params::Relu { has_bias: false, slope: 0.0 },
            buffers: vec![tensor(Location::Input(0)), tensor(Location::Output(0))],
        }],
        constants: Cow::Borrowed(&[]),
    }
}

#[test]
fn a_blob_of_one_stage_has_the_golden_bytes() {
    let bytes = blob::write(&relu()).unwrap();
    assert_eq!(bytes.len(), 640);
    let mut sha256 = String::new();
    Sha256::digest(&bytes).iter().for_each(|byte| write!(sha256, "{byte:02x}").unwrap());
    assert_eq!(sha256, "1b10030777c175b11bfcee8caa8b7a1de63101b7539c9fcd2b4d07bf4184cc52");
    assert_eq!(blob::read(&bytes).unwrap(), relu());
}

#[test]
fn a_relu_runs() {
    let mut program = Program::new(relu(), Arithmetic::Sums32).unwrap();
    // 1.0 and -1.0 in turns.
    let input = [0x00, 0x3c, 0x00, 0xbc].repeat(16);
    assert_eq!(program.run(&input).unwrap(), [0x00, 0x3c, 0x00, 0x00].repeat(16));
    assert!(program.run(&input[2..]).is_err());
}

#[test]
fn a_compiled_model_reads_back_and_says_what_it_is() {
    let small = Small::new();
    let compiled = compile(&small.model(), &CompileOptions::default()).unwrap();
    let bytes = blob::write(&compiled.blob).unwrap();
    let again = blob::read(&bytes).unwrap();
    // Constants end with the padding of the file.
    let constants = &again.constants[..compiled.blob.constants.len()];
    assert_eq!(constants, &compiled.blob.constants[..]);
    let same = Blob { constants: compiled.blob.constants.clone(), ..again };
    assert_eq!(same, compiled.blob);
    let text = Description(&same).to_string();
    let expected = "\
blob 5.0: 3 stages, 3520 bytes of constants, 1664 bytes of intermediate tensors, 12 shaves, 12 slices
input0 \"picture\"+0 f16 NHWC 1x6x6x4
output0 \"scores\"+0 f16 NC 1x5
   0 conv 3x3 stride 1x1 pad 1,1 | input0+0 f16 NHWC 1x6x6x4 | bss+832 f16 NHWC 1x6x6x8 | const+64 f16 CHW 8x4x9
   1 bias-relu slope 0 | bss+832 f16 NHWC 1x6x6x8 | bss+0 f16 NHWC 1x6x6x8 | const+0 f16 C 8
   2 fc | bss+0 f16 NHWC 1x6x6x8 | output0+0 f16 NC 1x5 | const+640 f16 CHW 5x8x36
";
    assert_eq!(text, expected);
}

#[test]
fn what_does_not_fit_is_an_error_before_any_transfer() {
    let small = Small::new();
    let options = CompileOptions { ddr_bytes: 3000, ..CompileOptions::default() };
    let error = compile(&small.model(), &options).unwrap_err();
    assert!(matches!(error, CompileError::TooLarge { needed: 3472, allowed: 3000, .. }), "{error}");
    assert!(error.to_string().contains("use a smaller network"), "{error}");
    let options = CompileOptions { shaves: 13, ..CompileOptions::default() };
    let error = compile(&small.model(), &options).unwrap_err();
    assert!(matches!(error, CompileError::Shaves { asked: 13 }));
}

/// A fully connected layer with 400 million weights, all of which are one value that takes no bytes.
#[test]
fn huge_weights_are_refused_before_they_are_unpacked() {
    let weight = EncodedTensor {
        shape: Shape::matrix(20_000, 20_000),
        scales: Scales::None,
        values: Values::CodebookF32(vec![0.5]),
        layout: Layout::Dense,
        symbols: Stream { coder: Coder::Raw { bits: 0 }, bytes: &[] },
        gaps: None,
    };
    let value =
        |name: &str| Value { name: name.into(), kind: ValueType::f32(Shape::matrix(1, 20_000)) };
    let model = Model {
        name: "huge".into(),
        values: vec![value("in"), value("out")],
        nodes: vec![Node {
            name: "dense".into(),
            op: Op::Dense(Dense { activation: Activation::None }),
            inputs: vec![0],
            output: 1,
            weight: Some(0),
            bias: None,
        }],
        tensors: vec![weight],
        inputs: vec![0],
        outputs: vec![1],
        metadata: Metadata::default(),
    };
    let error = compile(&model, &CompileOptions::default()).unwrap_err();
    assert!(
        matches!(error, CompileError::TooLarge { needed: 800_000_000, allowed: 335_544_320, .. }),
        "{error}"
    );
}

#[test]
fn truncated_and_other_files_are_refused() {
    let small = Small::new();
    let bytes = compile_to_bytes(&small.model(), &CompileOptions::default()).unwrap();
    for len in 0..bytes.len() {
        let error = blob::read(&bytes[..len]).unwrap_err();
        let expected = matches!(error, BlobError::TooShort { .. } | BlobError::Length { .. });
        assert!(expected, "{len}: {error}");
    }
    let with = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        blob::read(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(with(52, 8708), BlobError::Magic { found: 8708 });
    assert_eq!(with(60, 6), BlobError::Version { found: [6, 0] });
    assert!(matches!(with(92, 0x7fff_ffff), BlobError::TooLarge { .. }));
    assert!(matches!(with(124, 0xffff_ff00), BlobError::Truncated { .. }));
}

proptest! {
    /// Whatever four bytes become, reading ends with an error or with tensors that lie within their memories, and what can be
    /// run runs.
    #[test]
    fn a_changed_word_is_no_danger(at in 52_usize..1200, value in any::<u32>(), bit in 0_u32..32) {
        let small = Small::new();
        let bytes = compile_to_bytes(&small.model(), &CompileOptions::default()).unwrap();
        let at = at.min(bytes.len() - 4);
        let old = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        for value in [value, value % 64, old ^ (1 << bit), old.wrapping_add(1)] {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            let Ok(blob) = blob::read(&bytes) else { continue };
            if blob.bss_bytes > 1 << 20 || blob.inputs_bytes > 1 << 20 {
                continue;
            }
            let input = vec![0; blob.inputs_bytes as usize];
            if let Ok(mut program) = Program::new(blob, Arithmetic::Sums32) {
                program.run(&input).unwrap();
            }
        }
    }

    #[test]
    fn any_bytes_are_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(blob::read(&bytes).is_err());
    }
}

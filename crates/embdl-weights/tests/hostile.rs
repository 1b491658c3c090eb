//! Files that nobody vouches for: an error or a graph, never a panic, never a program that runs, never much memory.

use std::panic::catch_unwind;
use std::path::Path;

use embdl_core::op::{Activation, Conv2d, Window};
use embdl_core::tensor::Shape;
use embdl_graph::{Graph, GraphBuilder};
use embdl_weights::{WeightsError, load};

fn graph() -> Graph {
    let mut b = GraphBuilder::new("tiny", 1);
    let conv = Conv2d { window: Window::square(3, 1), groups: 1, activation: Activation::None };
    let image = b.input("image", Shape::nhwc(1, 3, 3, 2));
    let x = b.conv2d("conv", image, 4, conv).unwrap();
    b.finish(&[x]).unwrap()
}

fn load_bytes(bytes: &[u8]) -> Result<embdl_weights::Loaded, WeightsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.pth");
    std::fs::write(&path, bytes).unwrap();
    load(&mut graph(), &path)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[test]
fn a_pickle_calls_nothing() {
    // What Python would run as os.system("touch FILE").
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let command = format!("touch {}", witness.display());
    for module in ["os", "posix", "builtins"] {
        let len = u32::try_from(command.len()).unwrap().to_le_bytes();
        let call = format!("c{module}\nsystem\nX");
        let bytes =
            [&b"\x80\x02"[..], call.as_bytes(), &len, command.as_bytes(), b"\x85R."].concat();
        assert!(load_bytes(&bytes).is_err());
        assert!(!witness.exists(), "the pickle ran");
    }
}

#[test]
fn damaged_files_are_errors_or_other_numbers() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % bound as u64).unwrap()
    };
    let mut errors = 0;
    for name in ["zip.pth", "legacy.pth", "nested.pt", "tiny.safetensors"] {
        let file = fixture(name);
        for case in 0..300 {
            let mut damaged = file.clone();
            for _ in 0..1 + random(3) {
                let at = random(damaged.len());
                match random(4) {
                    0 => damaged[at] ^= 1 << random(8),
                    1 => damaged[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
                    2 => damaged.truncate(at.max(1)),
                    _ => damaged.insert(at, u8::try_from(random(256)).unwrap()),
                }
            }
            let result = catch_unwind(|| load_bytes(&damaged));
            let result = result.unwrap_or_else(|_| panic!("{name}, case {case} panics"));
            errors += usize::from(result.is_err());
        }
    }
    assert!(errors > 900, "the graph is another one, so that nearly all must be refused: {errors}");
}

#[test]
fn claims_are_checked_before_memory_is_taken() {
    // A header of 2^56 bytes, and one that promises a tensor of 2^60 elements.
    let mut huge = (1_u64 << 56).to_le_bytes().to_vec();
    huge.extend(b"{\"a\":1}");
    assert!(load_bytes(&huge).is_err());
    let header =
        br#"{"conv.weight":{"dtype":"F32","shape":[1073741824,1073741824],"data_offsets":[0,4]}}"#;
    let mut claim = (header.len() as u64).to_le_bytes().to_vec();
    claim.extend(header);
    claim.extend([0; 4]);
    assert!(matches!(load_bytes(&claim), Err(WeightsError::SafeTensors(_))));
    assert!(load_bytes(b"").is_err());
    assert!(matches!(load(&mut graph(), Path::new("no/such/file.pth")), Err(WeightsError::Io(_))));
}

#[test]
fn numbers_that_no_network_has_are_refused() {
    let header = br#"{"conv.weight":{"dtype":"F32","shape":[4,2,3,3],"data_offsets":[0,288]},"conv.bias":{"dtype":"F32","shape":[4],"data_offsets":[288,304]}}"#;
    let file = |element: f32| {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        let floats = (0..76).map(|at| if at == 74 { element } else { 0.5 });
        floats.for_each(|float: f32| file.extend(float.to_le_bytes()));
        file
    };
    assert_eq!(load_bytes(&file(1.0)).unwrap().tensors, 2);
    let error = load_bytes(&file(f32::INFINITY)).unwrap_err();
    assert!(matches!(error, WeightsError::NotFinite { index: 2, .. }), "{error}");
    let text = String::from_utf8_lossy(header).replacen("F32", "I32", 1);
    let mut integers = (text.len() as u64).to_le_bytes().to_vec();
    integers.extend(text.bytes());
    integers.extend([0; 304]);
    assert!(matches!(load_bytes(&integers), Err(WeightsError::ElementType { .. })));
}

//! Damaged and invented files: always a clear error or a valid model, never a panic, never much memory.

mod support;

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use embdl_core::encoding::EncodingError;
use embdl_core::format::{FormatError, HEADER_LEN, Limit, Limits, read, verify, write, write_with};
use embdl_core::format::{VERSION, WriteOptions};
use support::{Random, lenet5, random_model, seal};

/// Reads, and where that succeeds, decodes and writes again: an accepted file is the only form of its model.
fn exercise(file: &[u8], limits: &Limits) -> bool {
    let Ok(model) = read(file, limits) else { return false };
    for tensor in &model.tensors {
        let elements = tensor.shape.len();
        for len in [
            tensor.decode_f32().map(|values| values.len()),
            tensor.decode_i8().map(|values| values.len()),
            tensor.decode_i32().map(|values| values.len()),
            tensor.dequantize().map(|values| values.len()),
            tensor.decode_codes().map(|values| values.len()),
        ] {
            assert!(len.is_err() || len == Ok(elements));
        }
        let entries = tensor.sparse_entries();
        assert!(entries.is_err() || entries.is_ok_and(|e| e.positions.len() == e.codes.len()));
    }
    let has_names = file[6] & 1 == 1;
    let again = write_with(&model, WriteOptions { names: has_names }).expect("what was read");
    assert!(again == file, "another file for the same model");
    true
}

/// Runs `exercise` on `count` files that come from changing valid ones; gives how many were accepted.
fn mutate(count: u64, seed: u64) -> u64 {
    let limits = Limits { max_elements_per_tensor: 1 << 14, ..Limits::tiny() };
    let mut accepted = 0;
    let mut random = Random(seed);
    let mut base = Vec::new();
    for case in 0..count {
        if case % 64 == 0 {
            let model = random_model(&mut Random(seed ^ case));
            base = write(&model.model()).unwrap();
        }
        let mut file = base.clone();
        for _ in 0..1 + random.below(4) {
            // Three of four changes hit the graph, which stands in front.
            let body = file.len() - HEADER_LEN;
            let reach = if random.chance(75) { body.min(80) } else { body };
            let at = HEADER_LEN + random.below(reach.max(1)).min(body.saturating_sub(1));
            match random.below(7) {
                0 | 1 if body > 0 => file[at] ^= 1 << random.below(8),
                2 if body > 0 => file[at] = random.byte(),
                3 if body > 0 => file[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                4 if body > 1 => drop(file.remove(at)),
                5 => file.insert(at, random.byte()),
                _ if body > 1 && random.chance(20) => {
                    file.truncate(HEADER_LEN + random.below(body));
                }
                _ => file[[4, 6][random.below(2)]] ^= 1 << random.below(2),
            }
        }
        seal(&mut file);
        match catch_unwind(AssertUnwindSafe(|| exercise(&file, &limits))) {
            Ok(was_accepted) => accepted += u64::from(was_accepted),
            Err(_) => panic!("seed {seed}, case {case}: {file:02x?}"),
        }
    }
    accepted
}

#[test]
fn mutated_files_are_harmless() {
    let accepted = mutate(20_000, 1);
    assert!(accepted > 200, "the mutations reach only {accepted} valid files");
}

#[test]
#[ignore = "a million cases; run with --release"]
fn a_million_mutated_files_are_harmless() {
    let accepted = mutate(1_000_000, 2);
    assert!(accepted > 10_000, "the mutations reach only {accepted} valid files");
    std::eprintln!("{accepted} of 1000000 were valid");
}

#[test]
fn every_truncation_is_refused() {
    for seed in 0..40 {
        let file = write(&random_model(&mut Random(seed)).model()).unwrap();
        for len in 0..file.len() {
            let mut cut = file[..len].to_vec();
            assert!(read(&cut, &Limits::default()).is_err(), "seed {seed}, {len} bytes");
            if len >= HEADER_LEN {
                seal(&mut cut);
                assert!(read(&cut, &Limits::default()).is_err(), "seed {seed}, sealed {len} bytes");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    for seed in 0..60 {
        let file = write(&random_model(&mut Random(seed)).model()).unwrap();
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, &Limits::default()).is_err(), "seed {seed}, bit {bit}");
            seal(&mut flipped);
            exercise(&flipped, &Limits::tiny());
        }
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(9);
    for _ in 0..20_000 {
        let mut file = vec![0; HEADER_LEN + random.below(200)];
        file[..4].copy_from_slice(b"EMBD");
        let is_newer = random.chance(30);
        (file[4], file[6]) = if is_newer { (2, 2) } else { (1, 0) };
        for byte in &mut file[HEADER_LEN..] {
            *byte = if random.chance(50) { random.byte() % 8 } else { random.byte() };
        }
        seal(&mut file);
        exercise(&file, &Limits::tiny());
    }
}

#[test]
fn headers_are_checked_first() {
    let file = write(&lenet5(&mut Random(1)).model()).unwrap();
    let error = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = file.clone();
        change(&mut changed);
        read(&changed, &Limits::default()).unwrap_err()
    };
    assert_eq!(error(&|f| f.clear()), FormatError::UnexpectedEnd { at: 0, needed: 16 });
    assert_eq!(error(&|f| f.truncate(15)), FormatError::UnexpectedEnd { at: 15, needed: 16 });
    assert_eq!(error(&|f| f[0] = b'X'), FormatError::BadMagic { found: *b"XMBD" });
    assert_eq!(error(&|f| f[4] = 9), FormatError::TooNew { found: 9, supported: VERSION });
    assert_eq!(error(&|f| f[4] = 0), FormatError::VersionZero);
    assert!(matches!(error(&|f| f.push(0)), FormatError::FileLength { .. }));
    assert!(matches!(error(&|f| f[100] ^= 1), FormatError::Checksum { .. }));
    let unknown_flag = |f: &mut Vec<u8>| {
        f[7] = 0x80;
        seal(f);
    };
    assert_eq!(error(&unknown_flag), FormatError::UnknownFlags { flags: 0x8000 });
    let appended = |f: &mut Vec<u8>| {
        f.push(0);
        seal(f);
    };
    assert_eq!(error(&appended), FormatError::TrailingBytes { at: file.len(), left: 1 });
}

/// A file with this body.
fn file(body: &[u8]) -> Vec<u8> {
    let mut file = b"EMBD\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    file.extend(body);
    seal(&mut file);
    file
}

#[test]
fn giant_claims_are_refused() {
    let refuse = |body: &[u8]| read(&file(body), &Limits::default()).unwrap_err();
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let values = refuse(&[&[1][..], &huge].concat());
    assert!(matches!(values, FormatError::LimitExceeded { limit: Limit::Nodes, .. }), "{values}");
    // 4,000 nodes in a file of a few bytes.
    let nodes = refuse(&[1, 0xa0, 0x1f, 2, 1]);
    assert!(matches!(nodes, FormatError::CountTooLarge { what: "values", .. }), "{nodes}");
    // An input of 2^32 - 1 squared.
    let input = refuse(&[&[1, 1, 3][..], &huge, &huge, &[9, 1, 0]].concat());
    assert!(matches!(input, FormatError::LimitExceeded { .. }), "{input}");
    // A dense layer with 2^32 - 1 outputs in a sparse tensor without symbols.
    let dense = refuse(&[&[1, 1, 2, 1, 1, 0][..], &huge, &[0x26], &[0; 40]].concat());
    let limit = Limit::ElementsPerTensor;
    assert!(matches!(dense, FormatError::LimitExceeded { limit: found, .. } if found == limit));
    // A concatenation of 2^32 - 1 values.
    let concat = refuse(&[&[1, 1, 2, 1, 7, 1][..], &huge, &[0; 40]].concat());
    assert!(matches!(concat, FormatError::CountTooLarge { .. }), "{concat}");
    // A name of 2^32 - 1 bytes.
    let mut named = file(&[&[1, 1, 2, 1, 9, 1, 0][..], &huge].concat());
    named[6] = 1;
    seal(&mut named);
    let name = read(&named, &Limits::default()).unwrap_err();
    assert!(matches!(name, FormatError::LimitExceeded { limit: Limit::NameBytes, .. }), "{name}");
}

#[test]
fn the_smallest_file_is_a_softmax() {
    let bytes = file(&[1, 1, 2, 3, 9, 1, 0]);
    let model = read(&bytes, &Limits::tiny()).unwrap();
    assert_eq!(model.nodes.len(), 1);
    assert_eq!(write(&model).unwrap(), bytes);
}

#[test]
fn limits_are_obeyed() {
    let bytes = write(&lenet5(&mut Random(1)).model()).unwrap();
    let exact = Limits {
        max_file_bytes: bytes.len() as u64,
        max_values: 8,
        max_nodes: 7,
        max_tensors: 8,
        max_elements_per_tensor: 400_000,
        max_total_elements: 431_080,
        max_activation_elements: 28 * 28 + 24 * 24 * 20 + 12 * 12 * 20 + 8 * 8 * 50 + 800 * 2 + 510,
        max_name_bytes: 0,
        max_labels: 0,
        max_label_bytes: 0,
    };
    assert!(read(&bytes, &exact).is_ok());
    let tighter: [(Limits, Limit); 7] = [
        (Limits { max_file_bytes: exact.max_file_bytes - 1, ..exact.clone() }, Limit::FileBytes),
        (Limits { max_values: 7, ..exact.clone() }, Limit::Values),
        (Limits { max_nodes: 6, ..exact.clone() }, Limit::Nodes),
        (Limits { max_tensors: 7, ..exact.clone() }, Limit::Tensors),
        (Limits { max_elements_per_tensor: 399_999, ..exact.clone() }, Limit::ElementsPerTensor),
        (Limits { max_total_elements: 431_079, ..exact.clone() }, Limit::TotalElements),
        (
            Limits { max_activation_elements: exact.max_activation_elements - 1, ..exact.clone() },
            Limit::ActivationElements,
        ),
    ];
    for (limits, expected) in tighter {
        let error = read(&bytes, &limits).unwrap_err();
        let FormatError::LimitExceeded { limit, .. } = error else { panic!("{error}") };
        assert_eq!(limit, expected);
    }
}

#[test]
fn damage_inside_streams_is_found_by_verify() {
    let bytes = write(&lenet5(&mut Random(1)).model()).unwrap();
    let mut damaged = bytes.clone();
    // The last stream is the bias of the last layer: floats, of which one becomes a NaN.
    let len = damaged.len();
    damaged[len - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    seal(&mut damaged);
    let model = read(&damaged, &Limits::default()).unwrap();
    assert_eq!(
        verify(&model),
        Err(FormatError::Tensor { tensor: 7, source: EncodingError::NotFinite { position: 9 } })
    );
}

//! idx: round trips, and files that lie.

use std::io::Write;

use embdl_data::idx::{Idx, IdxError, Limits, ReadErrorReason};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

const SHA256_OF_2_BY_3: &str = "99dfdf5208bf6a61c1b88e00d5f7a184fbca64ad4cd2e6f95c3a17f36216a25e";

fn decode(bytes: &[u8]) -> Result<Idx, IdxError> {
    Idx::decode(bytes, &Limits { max_data_bytes: 1 << 20 })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn arrays() -> impl Strategy<Value = Idx> {
    prop::collection::vec(0_usize..6, 1..=4).prop_flat_map(|shape| {
        let len = shape.iter().product::<usize>();
        prop::collection::vec(any::<u8>(), len)
            .prop_map(move |data| Idx::new(shape.clone(), data).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read(idx in arrays()) {
        prop_assert_eq!(&decode(&idx.to_bytes()).unwrap(), &idx);
        prop_assert_eq!(&decode(&idx.to_gzip()).unwrap(), &idx);
    }

    #[test]
    fn accepted_bytes_are_the_only_bytes_of_their_array(
        head in prop::sample::select(vec![vec![], vec![0, 0, 8], vec![0, 0, 8, 1, 0, 0, 0], vec![0x1f, 0x8b, 8]]),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [head, tail].concat();
        if let Ok(idx) = decode(&bytes) {
            prop_assert_eq!(idx.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_harmless(idx in arrays(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (mut plain, mut packed) = (idx.to_bytes(), idx.to_gzip());
        let place = at.index(plain.len());
        plain[place] ^= 1_u8 << bit;
        if let Ok(other) = decode(&plain) {
            prop_assert_eq!(other.to_bytes(), plain);
        }
        let place = at.index(packed.len());
        packed[place] ^= 1_u8 << bit;
        // Gzip carries a checksum, so only bits that hold no content (its time stamp, its system) may flip unseen.
        if let Ok(other) = decode(&packed) {
            prop_assert_eq!(other, idx);
        }
    }
}

#[test]
fn every_shorter_file_is_an_error() {
    let idx = Idx::new(vec![3, 2, 2], (0..12).collect()).unwrap();
    for bytes in [idx.to_bytes(), idx.to_gzip()] {
        for len in 0..bytes.len() {
            let error = decode(&bytes[..len]).unwrap_err();
            let is_truncation = matches!(
                error,
                IdxError::Truncated { .. } | IdxError::Gzip { .. } | IdxError::BadMagic { .. }
            );
            assert!(is_truncation, "{len} of {} bytes: {error}", bytes.len());
        }
    }
}

#[test]
fn headers_that_lie_are_named() {
    let cases: [(&[u8], &str); 8] = [
        (b"\x89PNG....", "not an idx file: starts with [89, 50, 4e, 47]"),
        (b"<!do", "not an idx file: starts with [3c, 21, 64, 6f]"),
        (
            &[0, 0, 13, 1, 0, 0, 0, 0],
            "idx element type 0x0d is not read, only 0x08 (unsigned byte)",
        ),
        (&[0, 0, 8, 0], "idx rank 0 is not in 1..=4"),
        (&[0, 0, 8, 9, 1, 1, 1, 1], "idx rank 9 is not in 1..=4"),
        (
            &[0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255],
            "idx shape [4294967295, 4294967295] claims more than the limit of 1048576 bytes",
        ),
        (&[0, 0, 8, 1, 0, 0, 1, 0, 7], "idx file is truncated: 264 bytes claimed, 9 found"),
        (&[0, 0, 8, 1, 0, 0, 0, 1, 7, 7], "idx file has bytes after its 9 claimed bytes"),
    ];
    for (bytes, message) in cases {
        assert_eq!(decode(bytes).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_product_that_overflows_is_too_large() {
    let mut bytes = vec![0, 0, 8, 4];
    bytes.extend([255; 16]);
    assert!(matches!(decode(&bytes), Err(IdxError::TooLarge { .. })));
    // A dimension of 0 makes the product 0 again, whatever the others claim: an empty array, and nothing is allocated.
    bytes[4..8].fill(0);
    assert_eq!(decode(&bytes).unwrap().data(), []);
}

#[test]
fn a_gzip_bomb_stops_one_byte_after_its_claim() {
    let mut content = vec![0, 0, 8, 1, 0, 0, 0, 4];
    content.resize(content.len() + (64 << 20), 0);
    let bomb = gzip(&content);
    assert!(bomb.len() < 1 << 17);
    assert!(matches!(decode(&bomb), Err(IdxError::TrailingBytes { expected_bytes: 12 })));
}

#[test]
fn a_small_gzip_file_cannot_claim_much() {
    let limits = Limits { max_data_bytes: 1 << 40 };
    let claim = gzip(&[0, 0, 8, 1, 255, 255, 255, 255]);
    let error = Idx::decode(&claim, &limits).unwrap_err();
    let most = claim.len() as u64 * 1032;
    assert!(
        matches!(error, IdxError::Truncated { expected_bytes: 4_294_967_303, found_bytes } if found_bytes == most)
    );
}

#[test]
fn a_damaged_checksum_and_bytes_after_the_stream_are_errors() {
    let idx = Idx::new(vec![2], vec![1, 2]).unwrap();
    let mut packed = idx.to_gzip();
    packed.extend(b"junk");
    assert!(decode(&packed).is_err());
    packed.truncate(packed.len() - 4);
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    assert!(matches!(decode(&packed), Err(IdxError::Gzip { .. })));
}

#[test]
fn a_stream_of_two_members_is_one_file() {
    let idx = Idx::new(vec![5], vec![1, 2, 3, 4, 5]).unwrap();
    let (head, tail) = (&idx.to_bytes()[..7], &idx.to_bytes()[7..]);
    assert_eq!(decode(&[gzip(head), gzip(tail)].concat()).unwrap(), idx);
}

#[test]
fn files_keep_shape_and_checksum_however_they_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let idx = Idx::new(vec![2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
    for name in ["a", "a.gz"] {
        let path = dir.path().join(name);
        idx.write(&path).unwrap();
        let read = Idx::read(&path, &Limits::default()).unwrap();
        assert_eq!(read.shape(), [2, 3]);
        assert_eq!(read.sha256_hex(), idx.sha256_hex());
    }
    // Of the bytes 00 00 08 02 00 00 00 02 00 00 00 03 01 .. 06, by coreutils' sha256sum.
    assert_eq!(idx.sha256_hex(), SHA256_OF_2_BY_3);
    let error = Idx::read(&dir.path().join("none"), &Limits::default()).unwrap_err();
    assert!(matches!(error.reason, ReadErrorReason::Io(_)));
    assert!(error.to_string().contains("none: "), "{error}");
    let small = Limits { max_data_bytes: 0 };
    std::fs::write(dir.path().join("big"), vec![0; 5000]).unwrap();
    let error = Idx::read(&dir.path().join("big"), &small).unwrap_err();
    assert!(matches!(
        error.reason,
        ReadErrorReason::Idx(IdxError::FileTooLarge { limit_bytes: 4096 })
    ));
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    assert!(matches!(Idx::new(vec![], vec![0]), Err(IdxError::Rank { found: 0 })));
    assert!(matches!(Idx::new(vec![2], vec![0]), Err(IdxError::ShapeMismatch { .. })));
    let huge = 1 << 32;
    assert!(
        matches!(Idx::new(vec![huge, 0], vec![]), Err(IdxError::Dimension { found }) if found == huge)
    );
}

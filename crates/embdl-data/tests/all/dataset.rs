//! Data sets in memory: consistency, normalization, batches, splits.

use embdl_data::{
    Dataset, DatasetError, DatasetParts, Normalization, NormalizationError, Split, SplitError,
    TestSet, batch,
};
use proptest::prelude::*;

fn parts(labels: Vec<u8>) -> DatasetParts {
    // Every pixel of image i is i, so that an image can be told from its content.
    let images = (0..labels.len()).flat_map(|index| [u8::try_from(index % 256).unwrap(); 6]);
    DatasetParts {
        name: "tiny".to_owned(),
        images: images.collect(),
        labels,
        height: 1,
        width: 2,
        channels: 3,
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        normalization: Normalization::new(33, 0.3081).unwrap(),
    }
}

fn dataset(labels: Vec<u8>) -> Dataset {
    Dataset::new(parts(labels)).unwrap()
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let refused = |change: &dyn Fn(&mut DatasetParts)| {
        let mut parts = parts(vec![0, 1, 2]);
        change(&mut parts);
        Dataset::new(parts).unwrap_err()
    };
    assert_eq!(
        refused(&|parts| parts.images.truncate(17)),
        DatasetError::Length { labels: 3, image_bytes: 17, image_len: 6 }
    );
    assert_eq!(
        refused(&|parts| parts.labels[1] = 3),
        DatasetError::Label { index: 1, label: 3, classes: 3 }
    );
    assert!(matches!(refused(&|parts| parts.width = 0), DatasetError::ImageSize { width: 0, .. }));
    assert!(matches!(
        refused(&|parts| parts.height = usize::MAX),
        DatasetError::ImageSize { height: usize::MAX, .. }
    ));
}

#[test]
fn normalization_is_the_exact_dequantization_of_the_byte() {
    for (zero_point, std) in [(73, 0.3530), (33, 0.3081), (0, 1.0), (255, 0.01)] {
        let normalization = Normalization::new(zero_point, std).unwrap();
        assert_eq!(normalization.input_zero_point(), zero_point);
        let scale = normalization.input_scale();
        let table = normalization.table();
        for byte in 0..=u8::MAX {
            let real = table[usize::from(byte)];
            assert_eq!(real, normalization.real(byte));
            // As embdl's integer networks dequantize: (q - zero point) as an integer, times the scale.
            let quantized = i32::from(byte) - i32::from(zero_point);
            assert_eq!(real, quantized as f32 * scale);
            // And what the usual formula gives, up to rounding.
            let usual = (f32::from(byte) / 255.0 - normalization.mean()) / normalization.std();
            assert!((real - usual).abs() <= 1e-6 / std, "{byte}: {real} {usual}");
        }
    }
    for std in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0, f32::MAX] {
        let refused = Normalization::new(1, std);
        assert!(matches!(refused, Err(NormalizationError::Std { .. })), "{std}");
    }
}

#[test]
fn a_batch_holds_the_images_asked_for() {
    let dataset = dataset(vec![0, 1, 2, 0, 1]);
    let mut bytes = vec![9; 18];
    dataset.fill_batch_bytes(&[4, 0, 4], &mut bytes);
    assert_eq!(bytes, [[4; 6], [0; 6], [4; 6]].concat());
    let mut reals = vec![9.0; 18];
    dataset.fill_batch(&[4, 0, 4], &mut reals);
    let expected: Vec<f32> = bytes.iter().map(|&byte| dataset.normalization().real(byte)).collect();
    assert_eq!(reals, expected);
    assert_eq!(dataset.batch_labels(&[4, 0, 4]).collect::<Vec<_>>(), [1, 0, 1]);
    let head = dataset.head(2);
    assert_eq!((head.len(), head.image(1), head.labels()), (2, &[1; 6][..], &[0, 1][..]));
    assert_eq!(dataset.head(100), dataset);
}

#[test]
#[should_panic(expected = "buffer for 2 images of 6 elements")]
fn a_buffer_of_another_length_is_refused() {
    dataset(vec![0, 1, 2]).fill_batch(&[0, 1], &mut [0.0; 11]);
}

#[test]
fn the_order_of_an_epoch_is_fixed_for_good() {
    // Saved results name their seed; this order must not change under them.
    assert_eq!(batch::epoch_order(8, 42, 0), ORDER_OF_SEED_42);
    assert_ne!(batch::epoch_order(8, 42, 0), batch::epoch_order(8, 42, 1));
    assert_ne!(batch::epoch_order(8, 42, 0), batch::epoch_order(8, 43, 0));
    assert!(batch::epoch_order(0, 42, 0).is_empty());
}

const ORDER_OF_SEED_42: [usize; 8] = [0, 5, 6, 7, 1, 4, 2, 3];

proptest! {
    #[test]
    fn a_split_loses_nothing_and_keeps_the_shares(
        labels in prop::collection::vec(0_u8..3, 2..200),
        share in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let training = dataset(labels);
        let wanted = share.index(training.len());
        let split = Split::from_training(&training, TestSet::new(training.head(1)), wanted, seed).unwrap();
        prop_assert_eq!(split.validation.len(), wanted);
        prop_assert_eq!(split.test.for_report(), &training.head(1));
        // Images are numbered by their first pixel: together they are all, each once, in order in each part.
        let ids = |part: &Dataset| (0..part.len()).map(|i| part.image(i)[0]).collect::<Vec<_>>();
        let (train, validation) = (ids(&split.train), ids(&split.validation));
        prop_assert!(train.is_sorted() && validation.is_sorted());
        let mut all = [train, validation].concat();
        all.sort_unstable();
        prop_assert_eq!(all, ids(&training));
        for part in [&split.train, &split.validation] {
            for index in 0..part.len() {
                prop_assert_eq!(part.label(index), training.label(usize::from(part.image(index)[0])));
            }
        }
        let exact = training.class_histogram().into_iter().map(|n| n as f64 * wanted as f64 / training.len() as f64);
        for (count, exact) in split.validation.class_histogram().into_iter().zip(exact) {
            prop_assert!((count as f64 - exact).abs() < 1.0, "{count} for {exact}");
        }
        let again = Split::from_training(&training, TestSet::new(training.head(1)), wanted, seed).unwrap();
        prop_assert_eq!(again.validation, split.validation);
    }
}

#[test]
fn another_seed_takes_other_images() {
    let training = dataset(vec![1; 100]);
    let split =
        |seed| Split::from_training(&training, TestSet::new(training.head(1)), 50, seed).unwrap();
    assert_ne!(split(1).validation, split(2).validation);
}

#[test]
fn impossible_splits_are_refused() {
    let training = dataset(vec![0, 1, 2]);
    let error = Split::from_training(&training, TestSet::new(training.clone()), 3, 0).unwrap_err();
    assert_eq!(error, SplitError::TooMany { validation: 3, training: 3 });
    let mut other = parts(vec![0]);
    (other.height, other.width) = (2, 1);
    let test = TestSet::new(Dataset::new(other).unwrap());
    let error = Split::from_training(&training, test, 1, 0).unwrap_err();
    assert_eq!(error, SplitError::Kind { test: [2, 1, 3, 3], training: [1, 2, 3, 3] });
}

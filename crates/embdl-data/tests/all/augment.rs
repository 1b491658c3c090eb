//! Augmentation: each distortion by itself, determinism, and the recipe's text form.

use embdl_data::augment::{Augmentation, AugmentationError, Augmenter, Erase};
use embdl_data::idx::Idx;
use embdl_data::{Dataset, DatasetParts, Normalization, synthetic};
use proptest::prelude::*;

/// One image of this shape with these pixels.
fn single(height: usize, width: usize, channels: usize, image: Vec<u8>) -> Dataset {
    Dataset::new(DatasetParts {
        name: "single".to_owned(),
        labels: vec![0; image.len() / (height * width * channels)],
        images: image,
        height,
        width,
        channels,
        classes: vec!["it".to_owned()],
        normalization: Normalization::new(50, 0.5).unwrap(),
    })
    .unwrap()
}

/// What becomes of image 0 in each of `epochs` epochs.
fn outcomes(dataset: &Dataset, augmentation: Augmentation, epochs: u64) -> Vec<Vec<u8>> {
    let augmenter = Augmenter::new(augmentation, 7).unwrap();
    (0..epochs)
        .map(|epoch| {
            let mut out = vec![1; dataset.image_len()];
            augmenter.distort(dataset, epoch, 0, &mut out);
            out
        })
        .collect()
}

/// The reference: pixel (y, x) of the output comes from (y - dy, x - dx) of the mirrored image, or is black.
fn moved(dataset: &Dataset, mirror: bool, dy: isize, dx: isize) -> Vec<u8> {
    let [height, width, channels] = dataset.image_shape();
    let mut out = vec![0; dataset.image_len()];
    for y in 0..height {
        for x in 0..width {
            let (sy, sx) = (y.cast_signed() - dy, x.cast_signed() - dx);
            if !(0..height.cast_signed()).contains(&sy) || !(0..width.cast_signed()).contains(&sx) {
                continue;
            }
            let sx = if mirror { width.cast_signed() - 1 - sx } else { sx };
            for channel in 0..channels {
                let from = (sy.cast_unsigned() * width + sx.cast_unsigned()) * channels + channel;
                out[(y * width + x) * channels + channel] = dataset.image(0)[from];
            }
        }
    }
    out
}

#[test]
fn shifts_and_mirrors_are_all_that_they_may_be_and_nothing_else() {
    for (height, width, channels) in [(4, 5, 1), (3, 3, 3), (1, 1, 1), (2, 7, 2)] {
        let len = height * width * channels;
        let image = (0..len).map(|i| u8::try_from(i + 1).unwrap()).collect();
        let dataset = single(height, width, channels, image);
        let shifts = || (-2..=2).flat_map(|dy| (-2..=2).map(move |dx| (dy, dx)));
        for mirror in [false, true] {
            let mut expected: Vec<Vec<u8>> = shifts()
                .flat_map(|(dy, dx)| [(false, dy, dx), (mirror, dy, dx)])
                .map(|(mirror, dy, dx)| moved(&dataset, mirror, dy, dx))
                .collect();
            let augmentation = Augmentation { mirror, shift_px: 2, ..Augmentation::default() };
            let mut found = outcomes(&dataset, augmentation, 1500);
            for set in [&mut expected, &mut found] {
                set.sort_unstable();
                set.dedup();
            }
            assert_eq!(found, expected, "{height}x{width}x{channels}, mirror {mirror}");
        }
    }
}

#[test]
fn an_affine_map_without_effect_changes_nothing() {
    // Tiny ranges go through the sampling path; the outcome must be that of a whole shift.
    let dataset = synthetic::shapes(1, 3);
    let tiny = Augmentation { scale: 1e-7, mirror: true, shift_px: 1, ..Augmentation::default() };
    let whole = Augmentation { scale: 0.0, ..tiny.clone() };
    let mut expected = outcomes(&dataset, whole, 300);
    let mut found = outcomes(&dataset, tiny, 300);
    for set in [&mut expected, &mut found] {
        set.sort_unstable();
        set.dedup();
    }
    assert_eq!(found.len(), 18);
    assert_eq!(found, expected);
}

#[test]
fn a_turn_moves_a_dot_along_its_circle() {
    // A bright blob 10 pixels above the centre of a 33x33 image.
    let mut image = vec![0; 33 * 33];
    for (y, x) in [(5, 15), (5, 16), (5, 17), (6, 15), (6, 16), (6, 17), (7, 15), (7, 16), (7, 17)]
    {
        image[y * 33 + x] = 200;
    }
    let dataset = single(33, 33, 1, image);
    let turn = Augmentation { rotate_degrees: 90.0, ..Augmentation::default() };
    let mut sides = [false; 2];
    for out in outcomes(&dataset, turn, 100) {
        let (y, x, mass) = centroid(&out, 33);
        let radius = (x * x + y * y).sqrt();
        assert!((radius - 10.0).abs() < 0.2, "radius {radius}");
        assert!((mass / 1800.0 - 1.0).abs() < 0.1, "mass {mass}");
        assert!(y < 0.2, "at most 90 degrees either way: {y}");
        sides[usize::from(x > 5.0)] |= x.abs() > 5.0;
    }
    assert_eq!(sides, [true; 2]);
}

#[test]
fn scaling_moves_a_dot_outwards_and_inwards_and_shearing_sideways() {
    let mut image = vec![0; 33 * 33];
    image[6 * 33 + 16] = 255;
    let dataset = single(33, 33, 1, image);
    let scaled = Augmentation { scale: 0.2, ..Augmentation::default() };
    let heights: Vec<f32> =
        outcomes(&dataset, scaled, 200).iter().map(|out| centroid(out, 33).0).collect();
    let (low, high) = (
        heights.iter().copied().fold(f32::MAX, f32::min),
        heights.iter().copied().fold(f32::MIN, f32::max),
    );
    assert!((-12.6..-11.2).contains(&low) && (-8.8..-7.4).contains(&high), "{low} {high}");
    let sheared = Augmentation { shear: 0.3, ..Augmentation::default() };
    let mut sides = [false; 2];
    for out in outcomes(&dataset, sheared, 100) {
        let (y, x, _) = centroid(&out, 33);
        assert!((y + 10.0).abs() < 0.1 && x.abs() < 3.1, "{y} {x}");
        sides[usize::from(x > 0.0)] |= x.abs() > 2.0;
    }
    assert_eq!(sides, [true; 2]);
}

/// Mean place of the brightness about the image's centre (y, x), and its sum.
fn centroid(image: &[u8], side: usize) -> (f32, f32, f32) {
    let centre = (side - 1) as f32 / 2.0;
    let (mut y, mut x, mut mass) = (0.0, 0.0, 0.0);
    for (at, &pixel) in image.iter().enumerate() {
        let weight = f32::from(pixel);
        y += ((at / side) as f32 - centre) * weight;
        x += ((at % side) as f32 - centre) * weight;
        mass += weight;
    }
    (y / mass, x / mass, mass)
}

#[test]
fn cutout_sets_one_square_to_the_mean() {
    let dataset = single(8, 8, 3, vec![200; 192]);
    let cutout = Augmentation { cutout_px: 4, ..Augmentation::default() };
    let mut most = 0;
    for out in outcomes(&dataset, cutout, 200) {
        let cut: Vec<usize> = (0..64).filter(|&at| out[at * 3] != 200).collect();
        assert!(out.chunks_exact(3).all(|pixel| pixel == [200; 3] || pixel == [50; 3]));
        let (rows, columns) = (cut.iter().map(|at| at / 8), cut.iter().map(|at| at % 8));
        let span = |places: &mut dyn Iterator<Item = usize>| {
            let places: Vec<usize> = places.collect();
            places.iter().max().unwrap() - places.iter().min().unwrap() + 1
        };
        let (height, width) = (span(&mut rows.into_iter()), span(&mut columns.into_iter()));
        assert_eq!(cut.len(), height * width, "one full rectangle");
        assert!((2..=4).contains(&height) && (2..=4).contains(&width), "cut off at most by half");
        most = most.max(cut.len());
    }
    assert_eq!(most, 16);
}

#[test]
fn erasing_happens_as_often_and_as_large_as_told() {
    let dataset = single(20, 20, 1, vec![7; 400]);
    let erase = Erase { probability: 0.5, min_area: 0.1, max_area: 0.3 };
    let augmentation = Augmentation { erase: Some(erase), ..Augmentation::default() };
    let changed: Vec<usize> = outcomes(&dataset, augmentation, 1000)
        .iter()
        .map(|out| out.iter().filter(|&&byte| byte != 7).count())
        .filter(|&count| count > 0)
        .collect();
    assert!((420..580).contains(&changed.len()), "{}", changed.len());
    // A random byte is 7 now and then, and sides are rounded to whole pixels: hence the slack.
    assert!(changed.iter().all(|count| (30..=140).contains(count)), "{changed:?}");
}

fn augmentations() -> impl Strategy<Value = Augmentation> {
    let erase = (0.0..=1.0_f32, 0.01..0.3_f32, 0.3..=1.0_f32)
        .prop_map(|(probability, min_area, max_area)| Erase { probability, min_area, max_area });
    let numbers = (0.0..=180.0_f32, 0.0..=0.9_f32, 0.0..=1.0_f32);
    (any::<bool>(), 0_u16..50, numbers, 0_u16..50, prop::option::of(erase)).prop_map(
        |(mirror, shift_px, (rotate_degrees, scale, shear), cutout_px, erase)| Augmentation {
            mirror,
            shift_px,
            rotate_degrees,
            scale,
            shear,
            cutout_px,
            erase,
        },
    )
}

proptest! {
    #[test]
    fn the_same_draws_for_any_grouping_and_order(augmentation in augmentations(), seed in any::<u64>(), epoch in 0_u64..9) {
        let dataset = synthetic::shapes(6, 2);
        let len = dataset.image_len();
        let augmenter = Augmenter::new(augmentation, seed).unwrap();
        let mut whole = vec![0.0; 6 * len];
        augmenter.fill_batch(&dataset, epoch, &[0, 1, 2, 3, 4, 5], &mut whole);
        for index in [5, 0, 3] {
            let mut one = vec![0.0; len];
            augmenter.fill_batch(&dataset, epoch, &[index], &mut one);
            prop_assert_eq!(&one[..], &whole[index * len..][..len]);
        }
    }

    #[test]
    fn any_size_of_image_survives_any_distortion(
        augmentation in augmentations(),
        (height, width, channels) in (1_usize..6, 1_usize..6, 1_usize..4),
    ) {
        let dataset = single(height, width, channels, vec![255; height * width * channels]);
        outcomes(&dataset, augmentation, 3);
    }

    #[test]
    fn a_recipe_reads_back_as_it_was(augmentation in augmentations()) {
        let text = toml::to_string(&augmentation).unwrap();
        prop_assert_eq!(toml::from_str::<Augmentation>(&text).unwrap(), augmentation);
    }
}

#[test]
fn other_seeds_epochs_and_images_draw_differently() {
    let dataset = single(9, 9, 1, (0..162).map(|i| i % 81).collect());
    let shift = Augmentation { shift_px: 4, ..Augmentation::default() };
    let draws = |seed, index| -> Vec<Vec<u8>> {
        let augmenter = Augmenter::new(shift.clone(), seed).unwrap();
        (0..20)
            .map(|epoch| {
                let mut out = vec![0; 81];
                augmenter.distort(&dataset, epoch, index, &mut out);
                out
            })
            .collect()
    };
    assert_eq!(draws(1, 0), draws(1, 0));
    assert_ne!(draws(1, 0), draws(2, 0));
    assert_ne!(draws(1, 0), draws(1, 1));
    assert_ne!(draws(1, 0)[0], draws(1, 0)[1]);
}

/// Runs that name their seed can be repeated on another machine: the same bytes on every architecture, for good.
#[test]
fn the_distortions_of_a_seed_are_fixed_for_good() {
    let dataset = synthetic::shapes(20, 2);
    let erase = Some(Erase { probability: 0.5, min_area: 0.1, max_area: 0.3 });
    let all =
        Augmentation { mirror: true, shear: 0.1, cutout_px: 5, erase, ..Augmentation::mnist() };
    let augmenter = Augmenter::new(all, 11).unwrap();
    let mut bytes = vec![0; dataset.images().len()];
    for (index, out) in bytes.chunks_exact_mut(784).enumerate() {
        augmenter.distort(&dataset, 4, index, out);
    }
    assert_eq!(Idx::new(vec![20, 28, 28], bytes).unwrap().sha256_hex(), SHA256_OF_DISTORTED_SHAPES);
}

const SHA256_OF_DISTORTED_SHAPES: &str =
    "aafd6b6ec20e5897e4043f1db59de8b364f908f437b0f56bbeb4b07ff122082c";

#[test]
fn nothing_is_the_default_and_leaves_images_alone() {
    let dataset = synthetic::shapes(3, 2);
    let augmenter = Augmenter::new(Augmentation::default(), 1).unwrap();
    let (mut augmented, mut plain) = (vec![0.0; 3 * 784], vec![0.0; 3 * 784]);
    augmenter.fill_batch(&dataset, 0, &[0, 1, 2], &mut augmented);
    dataset.fill_batch(&[0, 1, 2], &mut plain);
    assert_eq!(augmented, plain);
    assert_eq!(outcomes(&dataset, Augmentation::default(), 1)[0], dataset.image(0));
    assert_eq!(Augmentation::preset("synthetic"), Augmentation::default());
    assert_eq!(Augmentation::preset("mnist"), Augmentation::mnist());
    assert_eq!(Augmentation::preset("fashion-mnist"), Augmentation::fashion());
}

#[test]
fn values_out_of_range_and_unknown_keys_are_named() {
    let wrong = Augmentation { rotate_degrees: f32::NAN, ..Augmentation::default() };
    let error = Augmenter::new(wrong, 0).unwrap_err();
    assert!(matches!(error, AugmentationError::Range { field: "rotate_degrees", .. }));
    let erase = Some(Erase { probability: 0.5, min_area: 0.4, max_area: 0.3 });
    let wrong = Augmentation { erase, ..Augmentation::default() };
    let message = wrong.validate().unwrap_err().to_string();
    assert!(message.starts_with("augmentation erase.min_area = 0.4 is not in"), "{message}");
    let error = toml::from_str::<Augmentation>("miror = true").unwrap_err();
    assert!(error.to_string().contains("unknown field `miror`"), "{error}");
}

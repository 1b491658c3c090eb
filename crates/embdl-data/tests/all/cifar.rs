//! CIFAR's binary files: planes become pixels, hostile files become errors, small files load through the catalog.

use std::fs;
use std::path::Path;

use embdl_data::augment::{Augmentation, Augmenter};
use embdl_data::catalog::{
    CatalogError, CifarFile, CifarFiles, Entry, Files, SearchPath, find, load_from, locate,
};
use embdl_data::cifar::{CifarError, LabelBytes, Limits, decode};
use proptest::prelude::*;

const PIXELS: usize = 32 * 32;

/// A record whose pixel at row `y` and column `x` is `[y, x, label]`.
fn record(labels: &[u8]) -> Vec<u8> {
    let byte = |at: usize| u8::try_from(at).unwrap();
    let mut bytes = labels.to_vec();
    bytes.extend((0..PIXELS).map(|at| byte(at / 32)));
    bytes.extend((0..PIXELS).map(|at| byte(at % 32)));
    bytes.extend([*labels.last().unwrap(); PIXELS]);
    bytes
}

#[test]
fn planes_become_pixels_and_the_fine_label_counts() {
    for (labels, kind) in [(&[3][..], LabelBytes::One), (&[19, 3], LabelBytes::CoarseAndFine)] {
        let file = [record(labels), record(labels)].concat();
        let images = decode(&file, kind, 10, &Limits::default()).unwrap();
        assert_eq!(images.labels, [3, 3]);
        for (at, pixel) in images.pixels.chunks_exact(3).enumerate() {
            let at = at % PIXELS;
            let expected = [at / 32, at % 32, 3];
            assert!(pixel.iter().map(|&byte| usize::from(byte)).eq(expected), "pixel {at}");
        }
    }
}

#[test]
fn what_is_not_whole_records_of_known_classes_is_an_error() {
    let limits = Limits { max_images: 2 };
    let one = |bytes: &[u8]| decode(bytes, LabelBytes::One, 10, &limits);
    let good = record(&[9]);
    for cut in [0, 1, 3072, 3074] {
        let mut bytes = good.clone();
        bytes.resize(cut, 0);
        let error = one(&bytes).unwrap_err();
        assert_eq!(error, CifarError::Length { len_bytes: cut, record_bytes: 3073 });
    }
    let wrong = [good.clone(), record(&[10])].concat();
    let error = one(&wrong).unwrap_err();
    assert_eq!(error, CifarError::Label { index: 1, label: 10, classes: 10 });
    assert_eq!(one(&good.repeat(3)).unwrap_err(), CifarError::TooMany { max_images: 2 });
    let coarse = decode(&record(&[200, 1]), LabelBytes::CoarseAndFine, 10, &limits).unwrap();
    assert_eq!(coarse.labels, [1], "the superclass is not looked at");
}

proptest! {
    #[test]
    fn any_bytes_are_images_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..7000)) {
        for kind in [LabelBytes::One, LabelBytes::CoarseAndFine] {
            if let Ok(images) = decode(&bytes, kind, 10, &Limits { max_images: 2 }) {
                prop_assert_eq!(images.pixels.len(), images.labels.len() * 3072);
                prop_assert!(images.labels.iter().all(|&label| label < 10));
            }
        }
    }
}

fn tiny(images: [usize; 3]) -> Entry {
    let file = |name, images| CifarFile { name, images };
    Entry {
        name: "tiny-cifar",
        source: "this test",
        files: Files::Cifar(CifarFiles {
            folder: "tiny-batches-bin",
            archive: "tiny.tar.gz",
            labels: LabelBytes::One,
            train: Box::leak(Box::new([file("a.bin", images[0]), file("b.bin", images[1])])),
            test: file("t.bin", images[2]),
        }),
        classes: &["cat", "dog", "frog"],
        zero_point: 121,
        std: 0.25,
        mirrors: &[],
        system_dir: None,
        package: None,
    }
}

fn write(dir: &Path, name: &str, labels: &[u8]) {
    fs::create_dir_all(dir).unwrap();
    let bytes: Vec<u8> = labels.iter().flat_map(|&label| record(&[label])).collect();
    fs::write(dir.join(name), bytes).unwrap();
}

#[test]
fn a_folder_as_the_archive_unpacks_is_found_and_read() {
    let root = tempfile::tempdir().unwrap();
    let search = SearchPath { explicit: Some(root.path().into()), ..SearchPath::default() };
    let entry = tiny([2, 1, 2]);
    let missing = locate(&entry, &search).unwrap_err().to_string();
    for part in ["tiny-batches-bin", "unpack tiny.tar.gz", "a.bin, b.bin, t.bin", "--data"] {
        assert!(missing.contains(part), "{part:?} is not in {missing:?}");
    }
    assert!(!missing.contains("data fetch"), "{missing}");
    let dir = root.path().join("tiny-batches-bin");
    write(&dir, "a.bin", &[2, 0]);
    write(&dir, "b.bin", &[1]);
    write(&dir, "t.bin", &[0, 1]);
    assert_eq!(locate(&entry, &search).unwrap(), dir);
    let (training, test) = load_from(&entry, &dir).unwrap();
    assert_eq!((training.labels(), training.image_shape()), (&[2, 0, 1][..], [32, 32, 3]));
    assert_eq!(training.image(2)[3 * 33..][..3], [1, 1, 1]);
    assert_eq!(training.normalization().input_zero_point(), 121);
    assert_eq!(test.for_report().labels(), [0, 1]);

    let error = load_from(&tiny([3, 1, 2]), &dir).unwrap_err();
    assert!(matches!(error, CatalogError::Images { expected: 3, found: 2, .. }), "{error}");
    let error = load_from(&tiny([1, 1, 2]), &dir).unwrap_err();
    assert!(matches!(error, CatalogError::Cifar(_)), "{error}");
    assert!(error.to_string().contains("a.bin: more than 1 images"), "{error}");
    write(&dir, "b.bin", &[3]);
    let error = load_from(&entry, &dir).unwrap_err();
    assert!(error.to_string().contains("b.bin: label 3 of image 0 has no class"), "{error}");
}

#[test]
fn both_data_sets_are_in_the_catalog() {
    for (name, classes, train, record_bytes) in
        [("cifar-10", 10, 50_000, 3073), ("cifar-100", 100, 50_000, 3074)]
    {
        let entry = find(name).unwrap();
        assert_eq!(entry.classes.len(), classes);
        let Files::Cifar(files) = &entry.files else { panic!("{name} is CIFAR") };
        assert_eq!(files.train.iter().map(|file| file.images).sum::<usize>(), train);
        assert_eq!((files.test.images, files.labels.record_bytes()), (10_000, record_bytes));
    }
}

#[test]
fn colour_images_are_cropped_out_of_a_black_frame_mirrored_and_cut_out() {
    let dataset = embdl_data::synthetic::colours(1, 3);
    let (image, fill) = (dataset.image(0), dataset.normalization().input_zero_point());
    let augmentation = Augmentation { cutout_px: 8, ..Augmentation::preset("cifar-10") };
    assert!(augmentation.mirror && augmentation.shift_px == 4);
    let augmenter = Augmenter::new(augmentation, 5).unwrap();
    let mut found = vec![0; image.len()];
    let (mut shifts, mut mirrors) = (std::collections::BTreeSet::new(), [0, 0]);
    for epoch in 0..200 {
        augmenter.distort(&dataset, epoch, 0, &mut found);
        // One of the 162 crops explains every pixel that is not cut out.
        let explains = |mirror: bool, dy: usize, dx: usize| {
            (0..PIXELS).all(|at| {
                let pixel = &found[3 * at..][..3];
                let (y, x) = ((at / 32 + dy).checked_sub(4), (at % 32 + dx).checked_sub(4));
                let inside = |v: Option<usize>| v.filter(|v| *v < 32);
                let source: &[u8] = match (inside(y), inside(x)) {
                    (Some(y), Some(x)) => {
                        let x = if mirror { 31 - x } else { x };
                        &image[3 * (32 * y + x)..][..3]
                    }
                    _ => &[0; 3],
                };
                pixel == source || pixel == [fill; 3]
            })
        };
        let crop = [false, true].into_iter().find_map(|mirror| {
            let all = (0..81).map(|at| (at / 9, at % 9));
            all.into_iter().find(|&(dy, dx)| explains(mirror, dy, dx)).map(|at| (mirror, at))
        });
        let (mirror, shift) = crop.unwrap_or_else(|| panic!("epoch {epoch} is no crop"));
        mirrors[usize::from(mirror)] += 1;
        shifts.insert(shift);
        let cut = found.chunks_exact(3).filter(|pixel| *pixel == [fill; 3]).count();
        assert!(cut >= 16, "epoch {epoch}: {cut} pixels are cut out");
    }
    assert!(mirrors.iter().all(|&n| n > 60) && shifts.len() > 60, "{mirrors:?} {}", shifts.len());
}

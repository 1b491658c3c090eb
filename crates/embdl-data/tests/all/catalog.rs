//! The catalog: searching, checksums, messages; the real files where this machine has them.

use std::fs;
use std::path::{Path, PathBuf};

use embdl_data::catalog::{
    CatalogError, Entry, Files, IdxFile, IdxFiles, LoadOptions, SearchPath, entries, find, load,
    load_from, locate,
};
use embdl_data::idx::Idx;

/// A data set of 4 training and 2 test images of 2x3, and its files; names and checksums as the catalog would pin them.
pub(crate) fn tiny() -> (Entry, [(&'static str, Idx); 4]) {
    let files = [
        ("train-images", Idx::new(vec![4, 2, 3], (0..24).collect()).unwrap()),
        ("train-labels", Idx::new(vec![4], vec![0, 1, 0, 1]).unwrap()),
        ("test-images", Idx::new(vec![2, 2, 3], (100..112).collect()).unwrap()),
        ("test-labels", Idx::new(vec![2], vec![1, 0]).unwrap()),
    ];
    let pin = |(name, idx): &(&'static str, Idx)| IdxFile {
        name,
        len_bytes: idx.to_bytes().len() as u64,
        // An entry borrows for good, as the catalog's do; a test may leak 64 bytes.
        sha256: Box::leak(idx.sha256_hex().into_boxed_str()),
    };
    let entry = Entry {
        name: "tiny",
        source: "this test",
        files: Files::Idx(IdxFiles {
            train_images: pin(&files[0]),
            train_labels: pin(&files[1]),
            test_images: pin(&files[2]),
            test_labels: pin(&files[3]),
        }),
        classes: &["even", "odd"],
        zero_point: 10,
        std: 0.5,
        mirrors: &[],
        system_dir: None,
        package: Some("dataset-tiny"),
    };
    (entry, files)
}

fn write_all(files: &[(&'static str, Idx)], dir: &Path, suffix: &str) {
    fs::create_dir_all(dir).unwrap();
    for (name, idx) in files {
        idx.write(&dir.join(format!("{name}{suffix}"))).unwrap();
    }
}

#[test]
fn files_are_read_whether_packed_or_not() {
    let (entry, files) = tiny();
    for suffix in ["", ".gz"] {
        let dir = tempfile::tempdir().unwrap();
        write_all(&files, dir.path(), suffix);
        let (training, test) = load_from(&entry, dir.path()).unwrap();
        assert_eq!((training.len(), training.image_shape()), (4, [2, 3, 1]));
        assert_eq!((training.image(3), training.label(3)), (&[18, 19, 20, 21, 22, 23][..], 1));
        assert_eq!(test.for_report().labels(), [1, 0]);
        assert_eq!(training.classes(), ["even", "odd"]);
        assert_eq!(training.normalization().input_zero_point(), 10);
    }
}

#[test]
fn places_are_searched_in_their_order() {
    let (mut entry, files) = tiny();
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    entry.system_dir = Some(Box::leak(place("system").display().to_string().into_boxed_str()));
    let search = SearchPath {
        explicit: None,
        environment: Some(place("environment")),
        cache: Some(place("cache")),
        system: true,
    };
    // From last to first: each new place goes before those that were there.
    let places = ["system", "cache/tiny", "environment", "environment/tiny"].map(place);
    for dir in places {
        write_all(&files, &dir, ".gz");
        assert_eq!(locate(&entry, &search).unwrap(), dir);
    }
    let explicit = SearchPath { explicit: Some(place("system")), ..search.clone() };
    assert_eq!(locate(&entry, &explicit).unwrap(), place("system"));
    // A folder that was named and is empty is an error, not a reason to look elsewhere.
    let explicit = SearchPath { explicit: Some(place("nowhere")), ..search };
    let missing = locate(&entry, &explicit).unwrap_err();
    assert_eq!(missing.searched, [place("nowhere/tiny"), place("nowhere")]);
}

#[test]
fn a_folder_that_lacks_a_file_is_passed_over() {
    let (entry, files) = tiny();
    let dir = tempfile::tempdir().unwrap();
    write_all(&files[..3], &dir.path().join("tiny"), "");
    let search = SearchPath { cache: Some(dir.path().to_owned()), ..SearchPath::default() };
    let message = locate(&entry, &search).unwrap_err().to_string();
    let expected = [
        format!(
            "data set tiny is not on this machine; looked in:\n  {}/tiny",
            dir.path().display()
        ),
        "`embdl data fetch tiny`".to_owned(),
        "install the package dataset-tiny".to_owned(),
        "train-images, train-labels, test-images, test-labels; .gz or unpacked".to_owned(),
        "EMBDL_DATA".to_owned(),
    ];
    for part in expected {
        assert!(message.contains(&part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn another_content_is_refused_and_named() {
    let (entry, mut files) = tiny();
    let dir = tempfile::tempdir().unwrap();
    files[3].1 = Idx::new(vec![2], vec![1, 1]).unwrap();
    write_all(&files, dir.path(), ".gz");
    let error = load_from(&entry, dir.path()).unwrap_err();
    assert!(matches!(error, CatalogError::Checksum { name: "tiny", .. }), "{error}");
    assert!(error.to_string().contains("test-labels.gz is not the tiny file"), "{error}");
    // More than is pinned is not even read to its end.
    Idx::new(vec![1000], vec![0; 1000]).unwrap().write(&dir.path().join("test-labels.gz")).unwrap();
    let error = load_from(&entry, dir.path()).unwrap_err();
    assert!(matches!(error, CatalogError::Idx(_)), "{error}");
}

#[test]
fn unknown_names_are_told_what_there_is() {
    let message = find("minst").unwrap_err().to_string();
    assert!(
        message.starts_with("no data set is called \"minst\"; there are: fashion-mnist, mnist, cifar-10, cifar-100, \
         synthetic, synthetic-colour"),
        "{message}"
    );
}

#[test]
fn the_synthetic_set_loads_by_name() {
    let search = SearchPath::default();
    let split =
        load("synthetic", &LoadOptions { search, validation_len: 2000, ..LoadOptions::default() })
            .unwrap();
    assert_eq!((split.train.len(), split.validation.len()), (8000, 2000));
    assert_eq!(split.test.for_report().len(), 1000);
}

/// The pinned checksums are those of the real files. Skipped, loudly, for a data set that is not on this machine.
#[test]
fn real_files_are_what_the_catalog_pins() {
    for entry in entries() {
        let options = LoadOptions::default();
        let dir: PathBuf = match locate(entry, &options.search) {
            Ok(dir) => dir,
            Err(missing) => {
                eprintln!("SKIPPED {}: {missing}", entry.name);
                continue;
            }
        };
        eprintln!("{} from {}", entry.name, dir.display());
        let split = load(entry.name, &options).unwrap();
        let is_cifar = matches!(entry.files, Files::Cifar(_));
        let (train, shape) = if is_cifar { (45_000, [32, 32, 3]) } else { (55_000, [28, 28, 1]) };
        assert_eq!((split.train.len(), split.validation.len()), (train, 5_000));
        let test = split.test.for_report();
        assert_eq!((test.len(), test.image_shape()), (10_000, shape));
        if entry.name == "fashion-mnist" {
            assert_eq!(split.validation.class_histogram(), [500; 10]);
            assert_eq!(test.class_histogram(), [1000; 10]);
        }
        // The pinned normalization is that of the training pixels.
        let (mut sum, mut squares) = (0_u64, 0_u64);
        for &pixel in split.train.images() {
            sum += u64::from(pixel);
            squares += u64::from(pixel) * u64::from(pixel);
        }
        let count = split.train.images().len() as f64;
        let mean = sum as f64 / count;
        let std = (squares as f64 / count - mean * mean).sqrt() / 255.0;
        assert!((mean - f64::from(entry.zero_point)).abs() < 0.7, "mean {mean}");
        assert!((std - f64::from(entry.std)).abs() < 0.001, "deviation {std}");
    }
}
